"""Processes, ports and waiting: every wait polls with a deadline, every process ends by its pid."""
import os
import pathlib
import random
import signal
import socket
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
VARIANT = os.environ.get("STREAMHOUSE_TEST_VARIANT", "release")
BUILD = ROOT / "build" / VARIANT
# Instrumented programs are slower: deadlines stretch with them.
PATIENCE = {"release": 1, "asan": 3, "tsan": 6}[VARIANT]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def lasting_port():
    """A free port that no outgoing connection is given while its server is away for a while."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as limits:
        lowest_given = int(limits.read().split()[0])
    while True:
        port = random.randrange(10000, lowest_given)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def wait_until(what, condition, seconds=10):
    """Poll until condition() is true and return its value; fail naming `what` after the deadline."""
    deadline = time.monotonic() + seconds * PATIENCE
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds * PATIENCE} s in vain until {what}")
        time.sleep(0.02)


def run(command, **options):
    """Run to the end; stdout and stderr as text."""
    options.setdefault("timeout", 60 * PATIENCE)
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, **options)


def end(process, sig=signal.SIGKILL, seconds=40):
    """Send a signal to a Popen and wait for its exit status."""
    if process.poll() is None:
        process.send_signal(sig)
    try:
        return process.wait(timeout=seconds * PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise AssertionError(f"process {process.pid} did not end within {seconds * PATIENCE} s of {sig!r}")


def set_sanitizer_options():
    """For every program that the tests start: a report ends it with status 66."""
    os.environ["ASAN_OPTIONS"] = "exitcode=66:detect_leaks=1"
    os.environ["UBSAN_OPTIONS"] = "print_stacktrace=1:halt_on_error=1:exitcode=66"
    os.environ["TSAN_OPTIONS"] = "ignore_noninstrumented_modules=1:exitcode=66"
