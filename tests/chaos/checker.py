"""Decide from a history and the logs as they stand at the end whether the guarantees held.

    lost        G1  acknowledged, and not at that offset at the end
    moved       G2  an offset had another record at another time: in an acknowledgement, in a reader's hands, at the end
    vanished    G1  a reader was given a record that is not there at the end
    unordered   G3  a reader was given offsets that do not rise
    skipped     G3  a reader was led past a record
    duplicated  G8  one record of an idempotent producer stands twice; or any record that was never sent twice
    reordered   G8  records of one idempotent producer stand in another order than it sent them
    turned      G2  of two batches of one epoch the one sent after the other's acknowledgement got the lower offset
    forgotten   G8  a producer with one batch in flight was told that its sequence number does not fit
    undead      G4  a batch was sent after an epoch had been ended by force, and acknowledged in that epoch
    resurrected     a refused record is there
    foreign         a record is there that nobody sent

What the design gives up by choice is told by the history: Forced and PowerCut events.
"""
import bisect
import collections
import dataclasses

from chaos.history import FAILED, OK, Fetch, Forced, PowerCut, Produce, Refusal


@dataclasses.dataclass(frozen=True)
class Finding:
    kind: str
    partition: str
    text: str

    def __str__(self):
        return f"{self.kind}: {self.partition}: {self.text}"


@dataclasses.dataclass
class Verdict:
    findings: list
    counts: dict

    @property
    def good(self):
        return not self.findings


def check(history, final):
    """`final`: for each partition the list of [offset, value] that a reader from the log's start got at the end."""
    run = _Check(history, final)
    for rule in (run.acknowledged, run.readers, run.stored_once, run.producers_order, run.real_time,
                 run.forgotten, run.undead, run.sent_at_all):
        rule()
    return Verdict(run.findings, run.counts())


class _Check:
    def __init__(self, history, final):
        self.history = history
        self.final = {p: {offset: value for offset, value in records} for p, records in final.items()}
        self.places = {p: _places(records) for p, records in final.items()}
        self.final_lists = final
        self.produced = history.of(Produce)
        self.fetched = history.of(Fetch)
        self.forced = history.of(Forced)
        self.cuts = history.of(PowerCut)
        self.findings = []

    def counts(self):
        return {"acknowledged": sum(len(p.values) for p in self.produced if p.outcome == OK),
                "unknown": sum(len(p.values) for p in self.produced if p.outcome not in (OK, FAILED)),
                "read": sum(len(f.records) for f in self.fetched),
                "stored": sum(len(r) for r in self.final_lists.values()),
                "forced_ends": len(self.forced)}

    def find(self, kind, partition, text):
        self.findings.append(Finding(kind, partition, text))

    # --- G1, G2: what was acknowledged

    def acknowledged(self):
        given = {}
        for produce in self.produced:
            if produce.outcome != OK:
                continue
            for i, value in enumerate(produce.values):
                offset = produce.base_offset + i
                self.acknowledged_record(produce, offset, value)
                before = given.setdefault((produce.partition, offset), value)
                if before != value:
                    self.find("moved", produce.partition, f"offset {offset} was acknowledged for {before} and for {value}")

    def acknowledged_record(self, produce, offset, value):
        stands = self.final.get(produce.partition, {}).get(offset)
        if stands == value:
            return
        elsewhere = self.places.get(produce.partition, {}).get(value, [])
        forced = next((f for f in self.forced if f.partition == produce.partition and f.epoch == produce.epoch
                       and f.first <= offset < f.limit), None)
        if forced and stands is None and (len(elsewhere) == 1 or not elsewhere and not forced.disk_returned):
            return
        if stands is None and not elsewhere and any(
                c.partition == produce.partition and c.epoch == produce.epoch and c.since <= produce.ended <= c.until
                for c in self.cuts):
            return
        at_end = f"offset {offset} holds {stands}" if stands is not None else f"nothing stands at offset {offset}"
        where = f", it stands at {elsewhere}" if elsewhere else ""
        self.find("lost" if stands is None else "moved", produce.partition, f"{value} was acknowledged; {at_end}{where}")

    # --- G2, G3: what readers saw

    def readers(self):
        for fetch in self.fetched:
            final = self.final.get(fetch.partition, {})
            last = fetch.start - 1
            for offset, value in fetch.records:
                if offset <= last:
                    self.find("unordered", fetch.partition,
                              f"{fetch.consumer} was given offset {offset} behind {last} (asked from {fetch.start})")
                last = max(last, offset)
                if offset not in final:
                    if not self.may_have_moved(fetch.partition, offset, value):
                        self.find("vanished", fetch.partition, f"{fetch.consumer} read {value} at offset {offset}")
                elif final[offset] != value:
                    self.find("moved", fetch.partition,
                              f"{fetch.consumer} read {value} at offset {offset}, which holds {final[offset]} at the end")
            if fetch.next_offset <= last:
                self.find("unordered", fetch.partition, f"{fetch.consumer} was told to go on at {fetch.next_offset} behind {last}")
        self.skipped()

    def may_have_moved(self, partition, offset, value):
        """A force_seal moves, once, what was not published yet: the owner had served that from its memory. What nobody was
        told of may be void instead."""
        places = self.places.get(partition, {}).get(value, [])
        if not hasattr(self, "_acknowledged"):
            self._acknowledged = {v for p in self.produced if p.outcome == OK for v in p.values}
        return any(f.partition == partition and f.first <= offset < f.limit
                   and (len(places) == 1 or not places and (value not in self._acknowledged or not f.disk_returned))
                   for f in self.forced)

    def skipped(self):
        for fetch in self.fetched:
            seen = {offset for offset, _ in fetch.records}
            offsets = self.offsets(fetch.partition)
            missed = [o for o in offsets[bisect.bisect_left(offsets, fetch.start):bisect.bisect_left(offsets, fetch.next_offset)] if o not in seen]
            if missed:
                self.find("skipped", fetch.partition,
                          f"{fetch.consumer} was led from {fetch.start} to {fetch.next_offset} past {len(missed)} records, "
                          f"the first at offset {missed[0]} ({self.final[fetch.partition][missed[0]]})")

    def offsets(self, partition):
        if not hasattr(self, "_offsets"):
            self._offsets = {p: sorted(log) for p, log in self.final.items()}
        return self._offsets.get(partition, [])

    # --- G8: once, and in order

    def stored_once(self):
        careless = {v for p in self.produced if not p.idempotent and p.outcome != OK for v in p.values}
        for partition, places in self.places.items():
            for value, offsets in places.items():
                if len(offsets) > 1 and value not in careless:
                    self.find("duplicated", partition, f"{value} stands at offsets {offsets}")

    def producers_order(self):
        sent = collections.defaultdict(list)
        for produce in sorted(self.produced, key=lambda p: p.started):
            if produce.idempotent:
                sent[produce.producer, produce.partition].extend(produce.values)
        moved = {v for f in self.forced for p in self.produced
                 if p.partition == f.partition and p.epoch in (f.epoch, -1) for v in p.values}
        for (producer, partition), values in sent.items():
            last = -1
            for value in values:
                at = self.places.get(partition, {}).get(value)
                if not at or value in moved:
                    continue
                if at[0] < last:
                    self.find("reordered", partition, f"{value} of {producer} stands at offset {at[0]}, before what it sent earlier")
                last = max(last, at[0])

    def real_time(self):
        """Within an epoch one owner gives the offsets, so they rise with time. Epochs have ranges of their own: an owner
        that is cut off may go on below the offsets of the next one."""
        epochs = collections.defaultdict(list)
        for produce in self.produced:
            if produce.outcome == OK:
                epochs[produce.partition, produce.epoch].append(produce)
        for (partition, epoch), batches in epochs.items():
            ended = sorted(batches, key=lambda p: p.ended)
            passed, highest = 0, None
            for produce in sorted(batches, key=lambda p: p.started):
                while passed < len(ended) and ended[passed].ended < produce.started:
                    if highest is None or ended[passed].base_offset > highest.base_offset:
                        highest = ended[passed]
                    passed += 1
                if highest is not None and produce.base_offset < highest.base_offset:
                    self.find("turned", partition, f"epoch {epoch}: {produce.values[0]} was sent after {highest.values[0]} was "
                              f"acknowledged at offset {highest.base_offset}, and got offset {produce.base_offset}")

    def forgotten(self):
        for refusal in self.history.of(Refusal):
            self.find("forgotten", refusal.partition, f"{refusal.value} of {refusal.producer}: {refusal.reason}: {refusal.message}")

    def undead(self):
        ended = {(f.partition, f.epoch): f.since for f in self.forced}
        for produce in self.produced:
            since = ended.get((produce.partition, produce.epoch), float("inf"))
            if produce.outcome == OK and produce.started > since:
                self.find("undead", produce.partition, f"{produce.values[0]} was sent {produce.started - since:.3f} s after epoch "
                          f"{produce.epoch} had been ended by force, and acknowledged in it")

    # --- nothing that should not be there

    def sent_at_all(self):
        sent, refused = set(), set()
        for produce in self.produced:
            (refused if produce.outcome == FAILED else sent).update((produce.partition, v) for v in produce.values)
        for partition, places in self.places.items():
            for value, offsets in places.items():
                if (partition, value) in sent:
                    continue
                if (partition, value) in refused:
                    self.find("resurrected", partition, f"{value} was refused and stands at {offsets}")
                else:
                    self.find("foreign", partition, f"{value} at {offsets} was sent by nobody")


def _places(records):
    places = collections.defaultdict(list)
    for offset, value in records:
        places[value].append(offset)
    return places
