"""A short run in each set-up: no guarantee may break, and the faults must have happened."""
import os
import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from chaos.cluster import Clock  # noqa: E402
from chaos.nemesis import plan  # noqa: E402
from chaos.run import SETUPS, Run, Servers  # noqa: E402


@pytest.mark.parametrize("setup", sorted(SETUPS))
def test_short_run(setup):
    seconds = 6
    summary = Run(1, seconds, setup).judge()
    assert summary["findings"] == []
    assert summary["acknowledged"] > 100 and summary["read"] > 100
    assert sum(summary["faults"].values()) >= 3


@pytest.fixture(scope="module", autouse=True)
def servers():
    yield
    Servers.stop()


def test_a_seed_gives_the_same_plan_again():
    assert plan(5, 60, 3) == plan(5, 60, 3) != plan(6, 60, 3)
    assert all(a.at <= b.at for a, b in zip(plan(5, 60, 3), plan(5, 60, 3)[1:]))


def test_what_the_clocks_of_ended_processes_leave_is_removed():
    ended = subprocess.Popen(["true"])
    ended.wait()
    left, used = (pathlib.Path(f"/dev/shm/sem.faketime_sem_{pid}") for pid in (ended.pid, os.getpid()))
    left.touch()
    used.touch()
    try:
        Clock.forget_the_dead()
        assert not left.exists() and used.exists()
    finally:
        used.unlink()
