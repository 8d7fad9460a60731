"""The S3 server of radosgw.sh as an object: one that a test may start, kill and pause."""
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import urllib.error
import urllib.request

from harness.processes import ROOT, wait_until

_SCRIPT = ROOT / "tests" / "harness" / "radosgw.sh"


class S3Server:
    """`keep` puts the objects on the disk, so that they survive the daemons."""

    def __init__(self, keep=False):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="sh-s3-", dir="/tmp"))
        self._gateway = None  # once it was started again: our own child
        self._osd = None
        environment = {**os.environ, **({"RADOSGW_STORE": "bluestore"} if keep else {})}
        subprocess.run([_SCRIPT, "start", self.directory], check=True, stdout=subprocess.DEVNULL, env=environment)
        lines = (self.directory / "env").read_text().splitlines()
        self.environment = dict(line.split("=", 1) for line in lines)

    def settings(self):
        """An agent's settings for it."""
        value = {name.removeprefix("STREAMHOUSE_TEST_S3_").lower(): v for name, v in self.environment.items()}
        return {"store": "s3", "s3_path_style": "true", **{f"s3_{name}": v for name, v in value.items()}}

    def kill_gateway(self):
        if self._gateway:
            self._gateway.kill()
            self._gateway.wait()
            self._gateway = None
            return
        pid = self._pid("rgw")
        os.kill(pid, signal.SIGKILL)
        wait_until("the gateway is gone", lambda: not pathlib.Path(f"/proc/{pid}").exists())

    def start_gateway(self):
        configuration = self.directory / "ceph.conf"
        with open(self.directory / "log" / "rgw.out", "ab") as log:
            self._gateway = subprocess.Popen(["radosgw", "-n", "client.rgw", "-f", "-c", str(configuration)],
                                             stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        (self.directory / "rgw.pid").write_text(f"{self._gateway.pid}\n")
        wait_until("the gateway answers", self._answers, 60)

    def pause_osd(self):
        os.kill(self._pid("osd"), signal.SIGSTOP)

    def resume_osd(self):
        os.kill(self._pid("osd"), signal.SIGCONT)

    def kill_osd(self):
        """Objects survive with `keep` alone."""
        os.kill(self._pid("osd"), signal.SIGKILL)
        if self._osd:
            self._osd.wait()

    def start_osd(self):
        """It is up, and answers, some seconds later."""
        with open(self.directory / "log" / "osd.out", "ab") as log:
            self._osd = subprocess.Popen(["ceph-osd", "-i", "0", "-f", "-c", str(self.directory / "ceph.conf")],
                                         stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        (self.directory / "osd.pid").write_text(f"{self._osd.pid}\n")

    def stop(self):
        self.resume_osd()
        self.kill_gateway()
        if self._osd:  # the script cannot wait for a child of ours
            self.kill_osd()
        subprocess.run([_SCRIPT, "stop", self.directory], check=True)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _pid(self, name):
        return int((self.directory / f"{name}.pid").read_text())

    def _answers(self):
        try:
            urllib.request.urlopen(self.environment["STREAMHOUSE_TEST_S3_ENDPOINT"], timeout=5)
        except urllib.error.HTTPError:
            return True  # it wants a signature: it is there
        except OSError:
            return False
        return True

