"""S3 servers of several makers, each on free ports and a directory of its own, that can be killed and started again."""
import hashlib
import json
import os
import pathlib
import shutil
import subprocess

from harness.processes import ROOT, end, free_port, run, wait_until

ACCESS_KEY, SECRET_KEY, BUCKET = "streamhouse-test", "streamhouse/test+secret", "streamhouse-test"
CACHE = pathlib.Path(os.environ.get("STREAMHOUSE_STORES_CACHE", pathlib.Path.home() / ".cache/streamhouse/stores"))


class Server:
    """`endpoint`; kill() is kill -9, start() starts it again on the same data and port."""

    name = ""

    def __init__(self, directory):
        self.directory = directory
        self.port = free_port()
        self.process = None

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.port}"

    def settings(self):
        """Of an agent."""
        return {"store": "s3", "s3_endpoint": self.endpoint, "s3_bucket": BUCKET, "s3_access_key": ACCESS_KEY,
                "s3_secret_key": SECRET_KEY, "s3_path_style": "true"}

    def environment(self):
        """Of the unit tests that want a server."""
        return {"STREAMHOUSE_TEST_S3_ENDPOINT": self.endpoint, "STREAMHOUSE_TEST_S3_ACCESS_KEY": ACCESS_KEY,
                "STREAMHOUSE_TEST_S3_SECRET_KEY": SECRET_KEY, "STREAMHOUSE_TEST_S3_BUCKET": BUCKET}

    def start(self):
        with open(self.directory / "server.log", "ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.directory)
        wait_until(f"{self.name} answers and has its bucket", self.make_bucket, 120)
        return self

    def make_bucket(self):
        assert self.process.poll() is None, (self.directory / "server.log").read_text(errors="replace")[-3000:]
        made = run(["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "10", "-X", "PUT", "--aws-sigv4",
                    "aws:amz:us-east-1:s3", "--user", f"{ACCESS_KEY}:{SECRET_KEY}",
                    "-H", f"x-amz-content-sha256: {hashlib.sha256().hexdigest()}", f"{self.endpoint}/{BUCKET}"])
        return made.stdout in ("200", "409")

    def kill(self):
        end(self.process, 9)

    def close(self):
        if self.process and self.process.poll() is None:
            self.kill()


class Radosgw(Server):
    """Ceph's gateway, Debian's. The gateway alone is killed: the OSD keeps the objects in memory."""

    name = "radosgw"

    def __init__(self, directory):
        super().__init__(directory)
        self.base = directory / "ceph"
        started = run([ROOT / "tests/harness/radosgw.sh", "start", self.base])
        assert started.returncode == 0, started.stderr
        self.port = int(dict(line.split("=", 1) for line in started.stdout.split())["STREAMHOUSE_TEST_S3_ENDPOINT"].rsplit(":", 1)[1])
        self.gateway = int((self.base / "rgw.pid").read_text())

    def start(self):
        if self.gateway:
            return self
        return super().start()

    def command(self):
        return ["radosgw", "-n", "client.rgw", "-f", "-c", str(self.base / "ceph.conf")]

    def kill(self):
        if self.gateway:
            os.kill(self.gateway, 9)
            wait_until("the gateway is gone", lambda: not pathlib.Path(f"/proc/{self.gateway}/cmdline").exists()
                       or not pathlib.Path(f"/proc/{self.gateway}/cmdline").read_bytes())
            self.gateway = None
        else:
            super().kill()

    def close(self):
        super().close()
        run([ROOT / "tests/harness/radosgw.sh", "stop", self.base])


class Versitygw(Server):
    """Objects are files of a directory; attributes need a file system with xattr."""

    name = "versitygw"

    def __init__(self, directory):
        super().__init__(directory)
        (directory / "data").mkdir()

    def command(self):
        return [str(CACHE / "bin/versitygw"), "--access", ACCESS_KEY, "--secret", SECRET_KEY, "--region", "us-east-1",
                "--port", f"127.0.0.1:{self.port}", "posix", str(self.directory / "data")]


class Seaweedfs(Server):
    """Master, volume server, filer and S3 gateway in one process."""

    name = "seaweedfs"

    def __init__(self, directory):
        super().__init__(directory)
        (directory / "data").mkdir()
        (directory / "identities.json").write_text(json.dumps({"identities": [{
            "name": "test", "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"]}]}))
        self.ports = {name: (free_port(), free_port()) for name in ("master", "volume", "filer")}
        self.grpc_port = free_port()

    def command(self):
        ports = [f"-{name}.port{suffix}={port}" for name, pair in self.ports.items() for suffix, port in zip(("", ".grpc"), pair)]
        return [str(CACHE / "bin/weed"), "server", f"-dir={self.directory / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", *ports,
                "-filer", "-s3", f"-s3.port={self.port}", f"-s3.port.grpc={self.grpc_port}",
                f"-s3.config={self.directory / 'identities.json'}", "-volume.max=50", "-master.volumeSizeLimitMB=1024"]


SERVERS = {server.name: server for server in (Radosgw, Versitygw, Seaweedfs)}


def chosen():
    names = os.environ.get("STREAMHOUSE_TEST_STORES", "").split() or ["radosgw", "versitygw"]
    return [SERVERS[name] for name in names]


def make(server_class, directory):
    path = directory / server_class.name
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return server_class(path)
