"""The fixtures of tests/integration, for clients that no one here wrote."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from integration.conftest import *  # noqa: E402,F401,F403
