"""A short run in each set-up: no guarantee may break, and the faults must have happened."""
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

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
