"""The ranges of options that docs/reference/cli.md tells, against the `streamhouse` command. No agent is asked: what the
command takes it misses its own argument after."""
import re

import check_reference
import pytest
from harness.agent import PROGRAM
from harness.processes import run

STREAMHOUSE = PROGRAM.with_name("streamhouse")
TYPES = {"a size": "64Mb", "a UUID": "1-2", "one character": "ab", "a start": "yesterday"}
FREE = {"", "a file", "a name", "a pattern", "an interval"}  # nothing is no such value, or the server judges


def above_and_below(bounds):
    """Values just outside, and the bounds themselves: "1kB to 16MB" or "from 1"."""
    low, high = (bounds.split(" to ") + [None])[:2] if " to " in bounds else (bounds.removeprefix("from "), None)
    outside, inside = [], [low]
    for bound, step in ((low, -1), (high, 1)):
        if bound:
            number, unit = re.fullmatch(r"(\d+)(\w*)", bound).groups()
            outside.append(f"{int(number) + step}{unit}")
    return outside, inside + ([high] if high else [])


def values(told):
    if told in FREE:
        return [], []
    if told in TYPES:
        return [TYPES[told]], []
    if re.fullmatch(r"from \d+|\w+ to \w+", told):
        return above_and_below(told)
    words = check_reference.names_in(told)
    assert words, f"what is the range {told}?"
    return ["nonsense", words[0].upper()], words


CASES = [(command, re.match(r"`(--[a-z-]+)", row[0])[1], row[2])
         for command, table in check_reference.cli_tables().items() if command != "streamhouse-agent"
         for row in table if row[2] not in FREE]


@pytest.mark.parametrize("command,option,told", CASES)
def test_a_range_is_as_told(command, option, told):
    refused, taken = values(told)
    for value in refused:
        result = run([STREAMHOUSE, *command.split(), f"{option}={value}"])
        assert result.returncode == 2 and result.stderr.startswith(f"streamhouse: {option} "), (value, result.stderr)
    for value in taken:
        # Too many arguments: the options before them were good.
        result = run([STREAMHOUSE, *command.split(), f"{option}={value}", "one", "two"])
        assert result.returncode == 2 and "unexpected argument" in result.stderr, (value, result.stderr)
