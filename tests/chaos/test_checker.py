"""The checker itself: a good history passes, and each way of breaking a guarantee is found by its name."""
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from chaos.checker import check  # noqa: E402
from chaos.history import FAILED, UNKNOWN, Fetch, Forced, History, PowerCut, Produce, Refusal  # noqa: E402

P = "t/0"


def history(*events):
    made = History()
    for i, event in enumerate(events):
        if isinstance(event, Produce) and event.started == 0.0:
            event.started, event.ended = float(i), i + 0.5
        made.add(event)
    return made


def produced(values, base=0, outcome="ok", producer="p1", epoch=1, **fields):
    return Produce(producer, P, values.split(), outcome, base if outcome == "ok" else -1, epoch, **fields)


def fetched(start, records, next_offset, consumer="c1"):
    return Fetch(consumer, P, start, [[o, v] for o, v in records], next_offset)


def log(text, first=0):
    return {P: [[first + i, v] for i, v in enumerate(text.split()) if v != "-"]}


def kinds(verdict):
    return sorted({f.kind for f in verdict.findings})


def test_a_good_history_passes_and_is_counted():
    verdict = check(history(
        produced("a b"), produced("c", 2), produced("d", outcome=UNKNOWN), produced("x", outcome=FAILED),
        produced("z", outcome=UNKNOWN), fetched(0, [(0, "a"), (1, "b")], 2), fetched(2, [(2, "c"), (3, "d")], 4)), log("a b c d"))
    assert verdict.good, verdict.findings
    assert verdict.counts == {"acknowledged": 3, "unknown": 2, "read": 4, "stored": 4, "forced_ends": 0}


def test_a_cut_off_owner_may_go_on_below_the_next_epoch():
    verdict = check(history(produced("a", 100, epoch=2), produced("b", 0, epoch=1, producer="p2")), {P: [[0, "b"], [100, "a"]]})
    assert verdict.good, verdict.findings


def test_holes_are_normal():
    verdict = check(history(produced("a"), produced("b", 100), fetched(0, [(0, "a"), (100, "b")], 101), fetched(5, [], 90)),
                    {P: [[0, "a"], [100, "b"]]})
    assert verdict.good, verdict.findings


@pytest.mark.parametrize("what, events, final", [
    ("lost", [produced("a b")], "a"),
    ("lost", [produced("a"), produced("b", 1)], "- b"),
    ("moved", [produced("a", 0), produced("b", 0, producer="p2")], "a - b"),
    ("moved", [produced("a"), produced("b", outcome=UNKNOWN), fetched(0, [(0, "b")], 1)], "a"),
    ("moved", [produced("a", 0), produced("b", 1)], "b a"),
    ("vanished", [produced("a"), produced("b", outcome=UNKNOWN), fetched(0, [(0, "a"), (1, "b")], 2)], "a"),
    ("unordered", [produced("a b"), fetched(0, [(1, "b"), (0, "a")], 2)], "a b"),
    ("unordered", [produced("a b"), fetched(1, [(0, "a"), (1, "b")], 2)], "a b"),
    ("unordered", [produced("a b"), fetched(0, [(0, "a"), (1, "b")], 1)], "a b"),
    ("skipped", [produced("a b c"), fetched(0, [(0, "a"), (2, "c")], 3)], "a b c"),
    ("skipped", [produced("a b c"), fetched(0, [(0, "a")], 2)], "a b c"),
    ("skipped", [produced("a b c"), fetched(0, [], 1)], "a b c"),
    ("duplicated", [produced("a", 0)], "a a"),
    ("duplicated", [produced("a", outcome=UNKNOWN)], "a a"),
    ("duplicated", [produced("a", 0, idempotent=False)], "a a"),
    ("reordered", [produced("a", outcome=UNKNOWN), produced("b", 0)], "b a"),
    ("turned", [produced("a", 1, producer="p1"), produced("b", 0, producer="p2")], "b a"),
    ("forgotten", [produced("a"), Refusal("p1", P, "OUT_OF_ORDER_SEQUENCE", "a", "expected 7")], "a"),
    ("resurrected", [produced("a", outcome=FAILED)], "a"),
    ("foreign", [produced("a")], "a x"),
])
def test_each_broken_guarantee_is_found(what, events, final):
    verdict = check(history(*events), log(final))
    assert what in kinds(verdict), verdict.findings


def test_a_producer_without_sequence_numbers_may_repeat_what_it_does_not_know():
    verdict = check(history(produced("a", outcome=UNKNOWN, idempotent=False), produced("b", 1, idempotent=False)), log("a b a"))
    assert verdict.good, verdict.findings


def test_a_forced_seal_may_move_a_record_once():
    acknowledged = produced("a", 10, epoch=3)
    seal = Forced(P, 3, 10, 20)
    assert check(history(acknowledged, seal), log("a", 50)).good
    assert kinds(check(history(acknowledged, seal), log("-"))) == ["lost"]
    assert "duplicated" in kinds(check(history(acknowledged, seal), log("a a", 50)))
    assert check(history(acknowledged, Forced(P, 3, 10, 20, disk_returned=False)), log("-")).good
    assert kinds(check(history(acknowledged, Forced(P, 4, 10, 20)), log("a", 50))) == ["lost"], "another epoch"
    assert kinds(check(history(acknowledged, Forced(P, 3, 11, 20)), log("a", 50))) == ["lost"], "another range"


def test_what_was_read_before_a_forced_seal_may_move_once():
    seal, read = Forced(P, 3, 10, 20), fetched(10, [(10, "a")], 11)
    moved = produced("a", 10, epoch=3)
    assert check(history(moved, seal, read), log("a", 50)).good
    assert "vanished" in kinds(check(history(moved, seal, read), log("-"))), "it was acknowledged"
    assert check(history(produced("a", outcome=UNKNOWN), seal, read), log("-")).good, "it was not"
    assert "vanished" in kinds(check(history(moved, seal, read), log("a a", 50))), "twice"
    assert "vanished" in kinds(check(history(moved, Forced(P, 3, 11, 20), read), log("a", 50))), "another range"


def test_nothing_is_acknowledged_in_an_epoch_that_was_ended():
    seal = Forced(P, 3, 10, 20, since=5.0)
    before, after = Produce("p1", P, ["a"], "ok", 10, 3, started=4.0, ended=6.0), Produce("p2", P, ["b"], "ok", 11, 3, started=5.5, ended=6.0)
    assert check(history(before, seal), log("a", 50)).good, "it was under way"
    assert kinds(check(history(after, seal), log("b", 50))) == ["undead"]
    later = Produce("p2", P, ["b"], "ok", 30, 4, started=5.5, ended=6.0)
    assert check(history(later, seal), log("b", 30)).good, "another epoch"


def test_a_power_cut_may_lose_its_window_and_no_more():
    early, late = produced("a", 0, epoch=3), produced("b", 1, epoch=3)
    cut = PowerCut(P, 3, since=1.0, until=2.0)
    assert check(history(early, late, cut), log("a")).good
    assert kinds(check(history(early, late, cut), log("- b"))) == ["lost"], "acknowledged before the window"
    assert kinds(check(history(early, late, cut), log("a c"))) == ["foreign", "moved"], "its offset holds another"


def test_a_history_survives_its_file(tmp_path):
    made = History(tmp_path / "h")
    for event in (produced("a"), fetched(0, [(0, "a")], 1), Refusal("p1", P, "X", "a", ""), Forced(P, 1, 0, 5), PowerCut(P, 1, 0.0, 1.0)):
        made.add(event)
    made.close()
    assert History.load(tmp_path / "h").events == made.events
