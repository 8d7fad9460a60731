"""The fixtures of tests/integration, for clients that no one here wrote."""
import pathlib
import shutil
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from integration.conftest import *  # noqa: E402,F401,F403
from harness.processes import run  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent


@pytest.fixture(scope="session")
def node_modules():
    """The pinned packages; npm is asked only when they are not there yet."""
    installed, wanted = HERE / "node_modules" / ".package-lock.json", HERE / "package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < wanted.stat().st_mtime:
        # Not `npm ci`: it refuses a lock file that lacks buf's binaries for other machines than this one.
        result = run(["npm", "install", "--no-save", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=HERE, timeout=300)
        assert result.returncode == 0, result.stderr
    assert shutil.which("node")
    return HERE / "node_modules"
