#!/usr/bin/python3
"""Instructions that a record costs the agent, counted by callgrind on a fixed input: JSON lines on stdout.

    measure.py                 measure
    measure.py --check         and fail when a figure is over the committed one by more than twice what runs differ
    measure.py --commit N      measure N times, and commit the medians and how far the runs lie apart
    measure.py --functions N   and list the N dearest functions of each figure

A real agent runs under callgrind against a private PostgreSQL. After a warm-up it counts: 100-byte records in
uncompressed batches of 64 KiB, sent over one ProduceStream, until the last of them is acknowledged, uploaded and
published, to a plain topic and to ones whose values are held against a schema, by id and in full; then all of them over
FetchStreams, from memory several times and, after a restart, from the store; and such records with a request for each,
which shows what a request costs. A figure is the agent's program and the library that computes its CRCs; the reference
beside it counts gRPC, libc and all else too.

The machine's speed and load do not change the counts, but for how many batches happen to share an answer, a write or
an object, and for what the agent does by the clock meanwhile. How much that is differs from figure to figure, so
`committed.json` has it beside each: `spread` is the greatest of its runs less the least, and a figure is worse when it is
more than twice that over the median.
"""
import argparse
import collections
import json
import pathlib
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "tests"))

from harness import batch as batches  # noqa: E402
from harness.agent import Agent  # noqa: E402
from harness.postgres import Postgres  # noqa: E402
from harness.processes import wait_until  # noqa: E402
from harness.rpc import Client, pb  # noqa: E402

COMMITTED = HERE / "committed.json"
VALUE_BYTES = 100
BATCH_RECORDS = 592  # make 64 KiB
BATCHES = 600
SINGLE_BATCHES = 3000
WARM_UP_SHARE = 10  # a tenth of all goes before what counts
IN_FLIGHT = 32
PROGRAM, CRC = "streamhouse-agent", "libisal"
STORE_BYTES = 'streamhouse_fetch_bytes_total{source="store"}'
SPREADS_MAX = 2  # so many spreads may a figure lie over the committed one
FETCHES = 5  # from memory, counted as one: beside them the agent works by the clock
SETTLED_S = 0.5
WAL_COST_MAX = 0.05
ID_COST_MAX = 15  # instructions that the check of a record's schema id may cost
FIELD_COST_MAX = 25  # and that of a field of its payload


class CountedAgent(Agent):
    """An agent under callgrind that counts only inside `count`."""

    def command(self, *options):
        return ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--dump-line=no", "--compress-strings=no",
                "--compress-pos=no", f"--callgrind-out-file={self.directory}/callgrind.out.%p", *super().command(*options)]

    def count(self, work):
        """Run work(): the instructions of each (object, function) of the agent meanwhile."""
        self._control("--instr=on")
        work()
        self._control("--instr=off")
        older = self._dumps()
        self._control("--dump")
        dump, = self._dumps() - older
        return read_dump(dump)

    def _control(self, option):
        subprocess.run(["callgrind_control", option, str(self.process.pid)], check=True, capture_output=True)

    def _dumps(self):
        return set(self.directory.glob(f"callgrind.out.{self.process.pid}.*"))


def read_dump(path):
    """The costs of each function without its callees', whose line follows one that begins with "calls="."""
    costs = collections.Counter()
    library = function = None
    is_callee = False
    for line in path.read_text().splitlines():
        if line.startswith("ob="):
            library = pathlib.Path(line[3:]).name
        elif line.startswith("fn="):
            function = line[3:]
        elif line.startswith("calls="):
            is_callee = True
        elif line[:1].isdigit():
            if not is_callee:
                costs[library, function] += int(line.split()[1])
            is_callee = False
    return costs


# A line of examples/earthquakes.ndjson.
SCHEMA = """{"type": "record", "name": "Earthquake", "fields": [
    {"name": "id", "type": "string"}, {"name": "time", "type": "long"}, {"name": "mag", "type": ["null", "double"]},
    {"name": "mag_type", "type": "string"}, {"name": "place", "type": "string"}, {"name": "net", "type": "string"},
    {"name": "status", "type": {"type": "enum", "name": "Status", "symbols": ["automatic", "reviewed"]}},
    {"name": "sig", "type": "int"},
    {"name": "type", "type": {"type": "enum", "name": "Type", "symbols": ["earthquake", "explosion", "other"]}},
    {"name": "lon", "type": "double"}, {"name": "lat", "type": "double"}, {"name": "depth_km", "type": "double"}]}"""
FIELDS = 12


def earthquake(length):
    """What the schema describes, in so many bytes: the place's name fills them."""
    def text(content):
        return batches.varint(len(content)) + content
    head = (text(b"us2000crkq") + batches.varint(1517364031800) + batches.varint(1) + struct.pack("<d", 5.3) + text(b"mb"))
    tail = (text(b"us") + batches.varint(1) + batches.varint(436) + batches.varint(0)
            + struct.pack("<3d", 118.7906, -7.8628, 15.18))
    place = b"50km NNW of Sangiang, Indonesia"
    return head + text(place.ljust(length - len(head) - len(tail) - 1)) + tail


class Load:
    """`count` times the same batch, of `records` records whose timestamps rise. With a schema's id their values are its."""

    def __init__(self, records, count, schema_id=None):
        value = bytes(i * 7 % 256 for i in range(VALUE_BYTES))
        if schema_id is not None:
            value = struct.pack(">BI", 0, schema_id) + earthquake(VALUE_BYTES - 5)
        encoded = bytearray()
        for i in range(records):
            body = (b"\0" + batches.varint(i // 4) + batches.varint(i) + batches.varint(-1)
                    + batches.varint(VALUE_BYTES) + value + batches.varint(0))
            encoded += batches.varint(len(body)) + body
        self.batch = batches.batch([], records=bytes(encoded), count=records, newest_delta_ms=(records - 1) // 4)
        self.batches, self.records = count, records * count
        self.warm_up_batches = count // WARM_UP_SHARE
        self.warm_up_records = records * self.warm_up_batches


def produce(client, topic, batch, count):
    """Send `batch` `count` times, IN_FLIGHT requests under way, until all are acknowledged."""
    room = threading.Semaphore(IN_FLIGHT)

    def requests():
        part = pb.ProducePartition(topic=topic, batches=batch)
        for number in range(count):
            room.acquire()
            yield pb.ProduceRequest(request_id=number + 1, partitions=[part])

    answered = 0
    for response in client.produce_stream(requests()):
        assert not response.results[0].HasField("error"), response.results[0].error
        answered += 1
        room.release()
    assert answered == count, f"{answered} of {count} requests answered"


def fetch(client, topic, from_offset, to_offset):
    """Read raw batches over one FetchStream."""
    request = pb.FetchRequest(max_wait_ms=1000)
    request.partitions.add(topic=topic, offset=from_offset)
    stream = client.fetch_stream(request)
    for response in stream:
        if response.results and response.results[0].next_offset >= to_offset:
            break
    stream.cancel()


class Measurement:
    """Each method gives the costs of one piece of work by (object, function)."""

    def __init__(self, agent, database):
        self.agent, self.database = agent, database

    def produce(self, topic, durability, load, validation="none"):
        self.database.execute("SELECT streamhouse.create_topic(%s, 1, durability => %s, value_validation => %s)",
                              topic, durability, validation)
        with self._client() as client:
            client.produce(topic, batches=load.batch)  # waits for the partition to open
            produce(client, topic, load.batch, load.warm_up_batches - 1)
            self._wait_published(topic, load.warm_up_records)

            def work():
                produce(client, topic, load.batch, load.batches)
                self._wait_published(topic, load.warm_up_records + load.records)

            return self.agent.count(work)

    def fetch(self, topic, load, warm_up_topic, times=1):
        """Also the bytes that the agent has read from the store meanwhile. The warm-up is read ahead of, which takes its
        time: from the store it must be of another topic, and over before what counts."""
        first, end = load.warm_up_records, load.warm_up_records + load.records
        with self._client() as client:
            fetch(client, warm_up_topic, 0, first)
            before = self._settled_store_bytes()

            def work():
                for _ in range(times):
                    fetch(client, topic, first, end)

            costs = self.agent.count(work)
            return costs, self.agent.metric(STORE_BYTES) - before

    def restart(self):
        self.agent.terminate()
        self.agent.start()

    def _client(self):
        return Client(self.agent.address, deadline=120)

    def _settled_store_bytes(self):
        last = -1
        while (now := self.agent.metric(STORE_BYTES)) != last:
            last = now
            time.sleep(SETTLED_S)
        return now

    def _wait_published(self, topic, records):
        query = "SELECT records FROM streamhouse.topics WHERE topic = %s"
        wait_until(f"{records} records of {topic} are published",
                   lambda: self.database.value(query, topic) == records, 60)


def per_record(costs, load, times=1):
    return {function: cost / (load.records * times) for function, cost in costs.items()}


def measure():
    """Instructions a record of each (object, function), by the figure's name."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="sh-instructions-"))
    (directory / "store").mkdir()
    postgres = Postgres()
    agent = None
    try:
        database = postgres.database()
        agent = CountedAgent(directory / "agent", database.conninfo, wal_sync="interval", flush_interval="1s",
                             object_flush_interval="250ms", heartbeat_interval="1s", store_dir=str(directory / "store"))
        agent.start()
        full, single = Load(BATCH_RECORDS, BATCHES), Load(1, SINGLE_BATCHES)
        work = Measurement(agent, database)
        costs = {"produce": per_record(work.produce("full", "wal", full), full),
                 "fetch from memory": per_record(work.fetch("full", full, "full", FETCHES)[0], full, FETCHES),
                 "produce without the WAL": per_record(work.produce("object", "object", full), full),
                 "produce, a request for each record": per_record(work.produce("single", "wal", single), single)}
        for validation in ("id", "full"):
            topic = f"checked-{validation}"
            schema_id = database.value("SELECT streamhouse.register_schema(%s, %s)", topic + "-value", SCHEMA)
            checked = Load(BATCH_RECORDS, BATCHES, schema_id)
            costs[f"produce, validated by {validation}"] = per_record(work.produce(topic, "wal", checked, validation), checked)
        work.restart()
        counted, store_bytes = work.fetch("full", full, "object")
        records_read = store_bytes / len(full.batch) * BATCH_RECORDS
        assert records_read >= full.records, "the reader was served from the store"
        costs["fetch from the store"] = {function: cost / records_read for function, cost in counted.items()}
        return costs
    finally:
        if agent is not None:
            agent.close()
        postgres.stop()
        shutil.rmtree(directory, ignore_errors=True)


def share(costs, libraries):
    return sum(cost for (library, _), cost in costs.items() if library.startswith(libraries))


def print_line(figure, value, reference, reference_value):
    print(json.dumps({"bench": "instructions", "figure": figure, "value": round(value, 2), "unit": "instructions/record",
                      "reference": reference, "reference_value": round(reference_value, 2),
                      "ratio": round(value / reference_value, 3)}), flush=True)


def print_verdict(good, words):
    print("ok" if good else "not ok", "-", words, flush=True)
    return good


def check(own):
    """Hold the figures against the committed ones; whether all are good."""
    verdicts = [
        print_verdict(own[name] <= committed["value"] + SPREADS_MAX * committed["spread"],
                      f"{name}: {own[name]:.2f} instructions a record, {committed['value']:.2f} committed, "
                      f"whose runs differ by {committed['spread']:.2f}")
        for name, committed in json.loads(COMMITTED.read_text()).items()]
    with_wal, without = own["produce"], own["produce without the WAL"]
    verdicts.append(print_verdict(with_wal <= without * (1 + WAL_COST_MAX),
                                  f"the WAL costs {with_wal - without:.2f} instructions a record"))
    by_id, full = own["produce, validated by id"] - with_wal, own["produce, validated by full"] - with_wal
    verdicts.append(print_verdict(by_id <= ID_COST_MAX, f"a schema's id costs {by_id:.2f} instructions a record"))
    verdicts.append(print_verdict((full - by_id) / FIELDS <= FIELD_COST_MAX,
                                  f"the payload costs {(full - by_id) / FIELDS:.2f} instructions a field"))
    return all(verdicts)


def commit(runs):
    """Of several runs, each the figures by their names: own and in all."""
    def middle(name, place):
        return round(statistics.median(run[name][place] for run in runs), 2)

    committed = {}
    for name in runs[0]:
        own = [run[name][0] for run in runs]
        committed[name] = {"value": middle(name, 0), "spread": round(max(own) - min(own), 2), "in_all": middle(name, 1)}
    COMMITTED.write_text(json.dumps(committed, indent=4) + "\n")


def run(functions):
    """Measure once and print: the figures that are held, by their names, own and with what is not the agent's."""
    figures = {}
    costs = measure()
    for name, counted in costs.items():
        figures[name] = own, in_all = share(counted, (PROGRAM, CRC)), share(counted, "")
        print_line(name, own, "with gRPC, libc and all", in_all)
        for (library, function), cost in sorted(counted.items(), key=lambda item: -item[1])[:functions]:
            print(f"{cost:10.2f}  {library}  {function}", file=sys.stderr)
    for name, reference in (("produce, validated by id", "produce"), ("produce, validated by full", "produce"),
                            ("produce", "produce without the WAL")):
        print_line(name, figures[name][0], reference, figures[reference][0])
    store = costs["fetch from the store"]
    figures["fetch from the store, CRC aside"] = own, in_all = share(store, PROGRAM), share(store, "") - share(store, CRC)
    print_line("fetch from the store, CRC aside", own, "with gRPC, libc and all", in_all)
    return figures


def main():
    parser = argparse.ArgumentParser(description="Instructions that a record costs the agent, by callgrind.")
    parser.add_argument("--check", action="store_true", help=f"hold the figures against {COMMITTED.name}")
    parser.add_argument("--commit", metavar="N", type=int, default=0, help=f"write those of N runs to {COMMITTED.name}")
    parser.add_argument("--functions", metavar="N", type=int, default=0, help="list the N dearest functions of each")
    options = parser.parse_args()

    runs = [run(options.functions) for _ in range(max(options.commit, 1))]
    if options.commit:
        commit(runs)
    return 0 if not options.check or check({name: own for name, (own, _) in runs[-1].items()}) else 1


if __name__ == "__main__":
    sys.exit(main())
