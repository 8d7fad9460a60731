"""One run: a cluster, producers, consumers and faults from a seed; then everything is healed, read, and judged.

    tests/chaos/run.py [--seed N] [--seeds N | --minutes M] [--seconds S] [--setup NAME] [--kinds a,b] [--verbose]

Prints one JSON line a run and the totals, and exits with 1 when a guarantee was broken; the history then stays in
build/chaos/.
"""
import argparse
import faulthandler
import json
import os
import pathlib
import shutil
import sys
import tempfile
import threading
import time
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from chaos.checker import check  # noqa: E402
from chaos.cluster import Cluster  # noqa: E402
from chaos.history import History  # noqa: E402
from chaos.nemesis import KINDS, Nemesis, plan  # noqa: E402
from chaos.workload import Consumer, Directory, Producer  # noqa: E402
from harness.processes import PATIENCE, ROOT, wait_until  # noqa: E402
from harness.rpc import Client  # noqa: E402
from harness.s3server import S3Server  # noqa: E402

TOPICS = {"wal": ("events", "wal"), "object": ("cheap", "object")}
PARTITIONS = 3
AGENTS = 3
# A run that takes so much longer than its faults has a wait without an end.
_PATIENCE_S = 150
# What is offered to the nemesis beside processes and networks: an S3 server, disks and clocks of their own.
SETUPS = {"directory": (), "s3": ("s3",), "hosts": ("disks", "clocks")}


class Servers:
    """The S3 server that all runs share: it takes 15 s to start."""
    s3 = None

    @classmethod
    def get_s3(cls):
        cls.s3 = cls.s3 or S3Server(keep=True)
        return cls.s3

    @classmethod
    def stop(cls):
        if cls.s3:
            cls.s3.stop()
            cls.s3 = None


class Run:
    def __init__(self, seed, seconds, setup="directory", kinds=None, verbose=False):
        self.seed, self.seconds, self.setup, self.kinds, self.verbose = seed, seconds, setup, kinds, verbose
        self.offered = SETUPS[setup]
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix=f"sh-chaos-{seed}-"))
        self.history = History(self.directory / "history.jsonl")
        self.started = time.monotonic()
        self.cluster = Cluster(self.directory, AGENTS, Servers.get_s3() if "s3" in self.offered else None,
                               "disks" in self.offered, "clocks" in self.offered)
        self.nemesis = Nemesis(self.cluster, self.history, self.log, seed)
        self.directory_of_owners = Directory(self.cluster.addresses)
        self.log_lines = []

    def log(self, text):
        self.log_lines.append(f"{time.monotonic() - self.started:7.2f} {text}")
        if self.verbose:
            print(self.log_lines[-1], file=sys.stderr)

    def judge(self):
        """The summary as a dictionary, and the verdict."""
        watchdog = threading.Timer(self.seconds + _PATIENCE_S * PATIENCE, self.give_up)
        watchdog.daemon = True
        watchdog.start()
        try:
            self.cluster.start()
            for topic, durability in TOPICS.values():
                self.cluster.database.execute("SELECT streamhouse.create_topic(%s, partitions => %s, durability => %s)",
                                              topic, PARTITIONS, durability)
            self.hurt()
            final = self.read_all()
            verdict = check(self.history, final)
            summary = {"seed": self.seed, "setup": self.setup, "seconds": round(time.monotonic() - self.started, 1), "faults": self.nemesis.injected,
                       "agent_exits": self.cluster.exits, **verdict.counts,
                       "findings": [str(f) for f in verdict.findings] + self.cluster.crashes}
        except Exception as failure:
            self.log(traceback.format_exc())
            summary = {"seed": self.seed, "setup": self.setup, "faults": self.nemesis.injected,
                       "findings": [f"stuck: {failure!r}", *self.unresolved(), *self.cluster.crashes]}
        finally:
            self.cluster.close()
            self.history.close()
            watchdog.cancel()
        if summary["findings"]:
            self.keep()
        shutil.rmtree(self.directory, ignore_errors=True)
        return summary

    def unresolved(self):
        try:
            self.cluster.database.reconnect()
            return self.cluster.describe_unresolved()
        except Exception as failure:
            return [f"PostgreSQL does not tell what is unresolved: {failure!r}"]

    def give_up(self):
        """Tell where every thread stands, and end: nothing may wait for ever, whatever the cluster does."""
        print(json.dumps({"seed": self.seed, "setup": self.setup, "findings": ["hung"], "log": self.log_lines[-20:]}), flush=True)
        faulthandler.dump_traceback(file=sys.__stderr__, all_threads=True)
        self.keep()
        for node in self.cluster.nodes:
            if node.alive:
                node.agent.process.kill()
        try:
            self.cluster.postgres.stop()
            Servers.stop()
        finally:
            os._exit(1)

    def hurt(self):
        producers = [Producer(f"{topic}-p{i}", self.directory_of_owners, self.history, self.seed, topic, range(PARTITIONS),
                              idempotent=i > 0, pause_s=0.002).start() for topic, _ in TOPICS.values() for i in range(3)]
        consumers = [Consumer(f"{topic}-c{i}", self.directory_of_owners, self.history, self.seed, topic, i).start()
                     for topic, _ in TOPICS.values() for i in range(PARTITIONS)]
        self.nemesis.run(plan(self.seed, self.seconds, len(self.cluster.nodes), self.kinds, self.offered))
        self.log("heal")
        self.cluster.heal()
        for producer in producers:
            producer.stop()
        give_up = threading.Timer(30, lambda: [p.give_up.set() for p in producers])
        give_up.start()
        for producer in producers:
            producer.join(60)
        give_up.cancel()
        self.cluster.settle()
        for consumer in consumers:
            consumer.stop()
        for consumer in consumers:
            consumer.join(20)
        self.directory_of_owners.close()

    def read_all(self):
        """After a clean restart of every agent, so that all of it comes out of the store."""
        statuses = self.cluster.restart_cleanly()
        if any(statuses):
            self.cluster.crashes.append(f"agents ended with {statuses} after SIGTERM")
        self.cluster.settle()
        final = {}
        with Client(self.cluster.nodes[0].agent.address) as client:
            for topic, _ in TOPICS.values():
                for partition in range(PARTITIONS):
                    final[f"{topic}/{partition}"] = self.read_partition(topic, partition)
        return final

    def read_partition(self, topic, partition):
        """From the owner, which alone knows the end."""
        def attempt():
            try:
                owners = {p.partition: p.owner.address for t in self.ask(lambda c: c.metadata(topic)).topics for p in t.partitions}
                with Client(owners.get(partition) or self.cluster.addresses[0]) as client:
                    return [[r.offset, r.value.decode()] for r in client.read_all(topic, partition)] or [None]
            except Exception as failure:
                self.log(f"reading {topic}/{partition}: {failure}")
                return None
        return [r for r in wait_until(f"{topic}/{partition} is read", attempt, 30) if r]

    def ask(self, call):
        with Client(self.cluster.addresses[0]) as client:
            return call(client)

    def keep(self):
        kept = ROOT / "build" / "chaos" / f"seed-{self.seed}-{self.setup}"
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir(parents=True)
        (kept / "nemesis.log").write_text("\n".join(self.log_lines) + "\n")
        for path in [self.directory / "history.jsonl", *self.directory.glob("*/agent.log")]:
            shutil.copy(path, kept / "-".join(path.relative_to(self.directory).parts))


def main():
    parser = argparse.ArgumentParser(description="Hurt a cluster and judge what its clients saw.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=1, help="so many runs, from --seed on")
    parser.add_argument("--minutes", type=float, help="runs until the time is over")
    parser.add_argument("--seconds", type=float, default=30, help="how long faults are injected in one run")
    parser.add_argument("--setup", choices=sorted(SETUPS), help="one set-up; else each in turn")
    parser.add_argument("--kinds", help="only these faults: " + ", ".join(KINDS))
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    kinds = options.kinds.split(",") if options.kinds else None
    setups = [options.setup] if options.setup else list(SETUPS)
    last = float("inf") if options.minutes else options.seed + options.seeds
    until = time.monotonic() + 60 * options.minutes if options.minutes else float("inf")
    totals = {"runs": 0, "bad": 0, "faults": {}, "acknowledged": 0, "read": 0}
    seed = options.seed
    try:
        while seed < last and time.monotonic() < until:
            add_up(totals, Run(seed, options.seconds, setups[seed % len(setups)], kinds, options.verbose).judge())
            seed += 1
    finally:
        Servers.stop()
    print(json.dumps({"total": totals}))
    return 1 if totals["bad"] else 0


def add_up(totals, summary):
    print(json.dumps(summary), flush=True)
    totals["runs"] += 1
    totals["bad"] += bool(summary["findings"])
    for kind, count in summary["faults"].items():
        totals["faults"][kind] = totals["faults"].get(kind, 0) + count
    for figure in ("acknowledged", "read"):
        totals[figure] += summary.get(figure, 0)


if __name__ == "__main__":
    sys.exit(main())
