"""One run: a cluster, producers, consumers and faults from a seed; then everything is healed, read, and judged.

    tests/chaos/run.py [--seed N] [--seeds N | --minutes M] [--seconds S] [--setup NAME] [--kinds a,b] [--jobs N]
                       [--verbose]

Prints one JSON line a run and the totals, and exits with 1 when a guarantee was broken; the history then stays in
build/chaos/.
"""
import argparse
import faulthandler
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import traceback

import psycopg2

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from chaos.checker import check  # noqa: E402
from chaos.cluster import Cluster  # noqa: E402
from chaos.history import Forced, History  # noqa: E402
from chaos.nemesis import KINDS, Nemesis, plan  # noqa: E402
from chaos.workload import Consumer, Directory, Producer  # noqa: E402
from harness.processes import PATIENCE, ROOT, wait_until  # noqa: E402
from harness.rpc import Client  # noqa: E402
from harness.s3server import S3Server  # noqa: E402

# What is special: settings of create_topic; how many producers write, of which the first has no producer id, and the third
# cuts its batches anew when it sends them again.
TOPICS = {"events": ({"durability": "wal"}, 3), "cheap": ({"durability": "object"}, 3),
          "brief": ({"durability": "wal", "orphan_timeout": "3 s"}, 2)}
PARTITIONS = 3
AGENTS = 3
# A run that takes so much longer than its faults has a wait without an end.
_PATIENCE_S = 150
# What is offered to the nemesis beside processes and networks: a store's files or an S3 server, disks and clocks of their own.
SETUPS = {"directory": ("directory",), "s3": ("s3",), "hosts": ("directory", "disks", "clocks")}


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


class ForcedEnds:
    """Notes the epochs that were ended by force, by an operator or an orphan_timeout, and when that was known."""

    def __init__(self, cluster, history):
        self.cluster, self.history = cluster, history
        self.seen = set()
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run, name="forced-ends", daemon=True)
        self.thread.start()

    def run(self):
        database = None
        while not self.stopping.wait(0.1):
            try:
                database = database or self.cluster.database.connect()
                self.note(database)
            except psycopg2.Error:  # the server is away
                database = None

    def note(self, database):
        cursor = database.cursor()
        cursor.execute("SELECT topic, partition, epoch, published_end, limit_offset FROM streamhouse.epochs WHERE forced")
        since = time.monotonic()
        for topic, partition, epoch, end, limit in cursor.fetchall():
            if (topic, partition, epoch) not in self.seen:
                self.seen.add((topic, partition, epoch))
                self.history.add(Forced(f"{topic}/{partition}", epoch, end, limit, since=since))

    def stop(self):
        self.stopping.set()
        self.thread.join(30)
        self.note(self.cluster.database.connect())


class Run:
    def __init__(self, seed, seconds, setup="directory", kinds=None, verbose=False):
        self.seed, self.seconds, self.setup, self.kinds, self.verbose = seed, seconds, setup, kinds, verbose
        self.offered = SETUPS[setup]
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix=f"sh-chaos-{seed}-"))
        self.history = History(self.directory / "history.jsonl")
        self.started = time.monotonic()
        self.cluster = Cluster(self.directory, AGENTS, Servers.get_s3() if "s3" in self.offered else None,
                               "disks" in self.offered, "clocks" in self.offered)
        durabilities = {topic: settings["durability"] for topic, (settings, _) in TOPICS.items()}
        self.nemesis = Nemesis(self.cluster, self.history, self.log, seed, durabilities, PARTITIONS,
                               [topic for topic, (settings, _) in TOPICS.items() if "orphan_timeout" not in settings])
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
            for topic, (settings, _) in TOPICS.items():
                self.cluster.database.execute(
                    f"SELECT streamhouse.create_topic(%s, partitions => %s, {', '.join(f'{name} => %s' for name in settings)})",
                    topic, PARTITIONS, *settings.values())
            watcher = ForcedEnds(self.cluster, self.history)
            self.hurt()
            final = self.read_all()
            watcher.stop()
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
                              idempotent=i > 0, recuts=i > 1, pause_s=0.002).start() for topic, (_, count) in TOPICS.items() for i in range(count)]
        consumers = [Consumer(f"{topic}-c{i}", self.directory_of_owners, self.history, self.seed, topic, i).start()
                     for topic in TOPICS for i in range(PARTITIONS)]
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
            for topic in TOPICS:
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
    parser.add_argument("--jobs", type=int, default=1, help="so many runs side by side")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    kinds = options.kinds.split(",") if options.kinds else None
    setups = [options.setup] if options.setup else list(SETUPS)
    last = float("inf") if options.minutes else options.seed + options.seeds
    until = time.monotonic() + 60 * options.minutes if options.minutes else float("inf")
    totals = {"runs": 0, "bad": 0, "faults": {}, "acknowledged": 0, "checked": 0}
    if options.jobs > 1 and options.seeds > 1:
        run_side_by_side(options, totals)
        print(json.dumps({"total": totals}))
        return 1 if totals["bad"] else 0
    seed = options.seed
    try:
        while seed < last and time.monotonic() < until:
            add_up(totals, Run(seed, options.seconds, setups[seed % len(setups)], kinds, options.verbose).judge())
            seed += 1
    finally:
        Servers.stop()
    print(json.dumps({"total": totals}))
    return 1 if totals["bad"] else 0


def run_side_by_side(options, totals):
    """Every process takes its share of the seeds, from its first one on."""
    share = -(-options.seeds // options.jobs)
    passed_on = [f for name in ("seconds", "setup", "kinds") if getattr(options, name) for f in (f"--{name}", str(getattr(options, name)))]
    processes = []
    for first in range(options.seed, options.seed + options.seeds, share):
        seeds = min(share, options.seed + options.seeds - first)
        processes.append(subprocess.Popen([sys.executable, __file__, "--seed", str(first), "--seeds", str(seeds), *passed_on],
                                          stdout=subprocess.PIPE, text=True))
    lock = threading.Lock()

    def follow(process):
        for line in process.stdout:
            summary = json.loads(line)
            with lock:
                if "total" not in summary:
                    add_up(totals, summary)

    followers = [threading.Thread(target=follow, args=(p,)) for p in processes]
    for follower in followers:
        follower.start()
    for follower in followers:
        follower.join()
    for process in processes:
        if process.wait() < 0 or process.returncode > 1:
            totals["bad"] += 1


def add_up(totals, summary):
    print(json.dumps(summary), flush=True)
    totals["runs"] += 1
    totals["bad"] += bool(summary["findings"])
    for kind, count in summary.get("faults", {}).items():
        totals["faults"][kind] = totals["faults"].get(kind, 0) + count
    totals["acknowledged"] += summary.get("acknowledged", 0)
    totals["checked"] += summary.get("read", 0) + summary.get("stored", 0)


if __name__ == "__main__":
    sys.exit(main())
