"""Faults by a plan that a seed decides: what, to whom, when, for how long. The plan is made before anything runs, so the same
seed gives the same plan; what the processes make of it is theirs."""
import contextlib
import dataclasses
import os
import random
import signal
import time

from chaos.attacker import Attacker

# kind: (weight, shortest and longest duration in seconds, what it occupies, what it needs)
KINDS = {
    "kill_agent": (4, (0.1, 3.0), "agent", None),
    "pause_agent": (3, (0.5, 4.0), "agent", None),
    "cut_postgres": (2, (0.3, 4.0), "agent", None),
    "silence_postgres": (2, (0.3, 4.0), "agent", None),
    "cut_clients": (2, (0.3, 2.0), "agent", None),
    "silence_clients": (1, (0.3, 2.0), "agent", None),
    "cut_store": (2, (0.3, 3.0), "agent", "s3"),
    "silence_store": (1, (0.3, 3.0), "agent", "s3"),
    "slow_store": (2, (0.5, 3.0), "agent", "s3"),
    "storm_store": (2, (0.3, 3.0), "agent", "s3"),
    "truncate_reads": (1, (0.3, 3.0), "agent", "s3"),
    "lose_puts": (2, (0.3, 2.0), "agent", "s3"),
    "wrong_answers": (2, (0.3, 3.0), "agent", "s3"),
    "flip_answers": (1, (0.3, 3.0), "agent", "s3"),
    "lose_puts_and_go": (1, (0.5, 4.0), "agent", "s3"),
    "flip_stored": (2, (0.5, 3.0), "store", "directory"),
    "attack": (2, (1.0, 4.0), "agent", None),
    "kill_backends": (2, (0.0, 0.0), "postgres", None),
    "crash_backend": (1, (1.0, 2.0), "postgres", None),
    "pause_backend": (2, (0.3, 3.0), "postgres", None),
    "pause_postgres": (1, (0.3, 3.0), "postgres", None),
    "restart_postgres": (1, (0.0, 1.0), "postgres", None),
    "lose_commits": (2, (0.5, 2.0), "postgres", None),
    "turn_server_clock": (2, (0.5, 4.0), "postgres", "clocks"),
    "change_durability": (1, (0.5, 3.0), "postgres", None),
    "drain_agent": (1, (0.5, 2.0), "agent", None),
    "force_seal": (1, (2.0, 4.0), "agent", None),
    "fill_disk": (2, (0.5, 3.0), "agent", "disks"),
    "cut_power": (3, (0.2, 2.0), "agent", "disks"),
    "turn_clock": (2, (0.5, 3.0), "agent", "clocks"),
    "kill_gateway": (1, (0.1, 1.5), "store", "s3"),
    "kill_osd": (1, (0.1, 1.0), "store", "s3"),
    "pause_osd": (1, (0.5, 3.0), "store", "s3"),
}
POSTGRES, STORE = -1, -2
_GAP_S = (0.05, 0.8)
_SQL_SECONDS = 3


@dataclasses.dataclass(frozen=True)
class Step:
    at: float
    seconds: float
    kind: str
    target: int  # an agent's number, or POSTGRES or STORE

    def __str__(self):
        return f"{self.at:6.2f} s  {self.kind:16} {'' if self.target < 0 else 'a%d' % (self.target + 1):3} for {self.seconds:.2f} s"


def plan(seed, seconds, agents, kinds=None, offered=()):
    """Steps in order of time, of kinds whose needs are offered. One target has one fault at a time; at least one agent is left
    alone at any time."""
    rng = random.Random(f"plan-{seed}")
    kinds = sorted(k for k in kinds or KINDS if KINDS[k][3] in (None, *offered))
    steps, busy, at = [], {}, 0.5
    while at < seconds:
        kind = rng.choices(kinds, [KINDS[k][0] for k in kinds])[0]
        _, (shortest, longest), occupies, _ = KINDS[kind]
        target = rng.randrange(agents) if occupies == "agent" else {"postgres": POSTGRES, "store": STORE}[occupies]
        length = rng.uniform(shortest, longest)
        free = busy.get(target, 0.0) <= at
        hurt = sum(1 for t, until in busy.items() if t >= 0 and until > at)
        if free and (target < 0 or hurt < max(1, agents - 1)):
            steps.append(Step(at, length, kind, target))
            busy[target] = at + length + 0.3
        at += rng.uniform(*_GAP_S)
    return steps


class Nemesis:
    """`topics` is {name: durability}; `alterable` are those of them whose durability may change."""

    def __init__(self, cluster, history, log, seed, topics, partitions, alterable):
        self.topics, self.partitions, self.alterable = topics, partitions, alterable
        self.rng = random.Random(f"nemesis-{seed}")
        self.cluster, self.history, self.log = cluster, history, log
        self.injected = {}
        self.paused_backend = None
        self.flipped = None
        self.changed = None
        self.attackers = {}
        self.postgres_sleeps = False

    def run(self, steps):
        """Begin and end each step at its time; returns when all are over."""
        moments = sorted([(s.at, 0, s) for s in steps] + [(s.at + s.seconds, 1, s) for s in steps], key=lambda m: m[:2])
        begun = time.monotonic()
        for at, ends, step in moments:
            time.sleep(max(0.0, begun + at - time.monotonic()))
            if not ends:
                self.log(str(step))
                self.injected[step.kind] = self.injected.get(step.kind, 0) + 1
            node = self.cluster.nodes[step.target] if step.target >= 0 else None
            getattr(self, ("end_" if ends else "begin_") + step.kind, self.nothing)(node)

    def nothing(self, node):
        """The end of a fault that ends by itself."""

    def begin_kill_agent(self, node):
        self.cluster.kill(node)

    def end_kill_agent(self, node):
        self.cluster.launch(node)

    def begin_pause_agent(self, node):
        self.cluster.pause(node)

    def end_pause_agent(self, node):
        self.cluster.resume(node)

    def begin_cut_postgres(self, node):
        node.postgres.cut()

    def begin_silence_postgres(self, node):
        node.postgres.silence()

    def end_cut_postgres(self, node):
        node.postgres.heal()

    end_silence_postgres = end_cut_postgres

    def begin_cut_clients(self, node):
        node.clients.cut()

    def begin_silence_clients(self, node):
        node.clients.silence()

    def end_cut_clients(self, node):
        node.clients.heal()

    end_silence_clients = end_cut_clients

    def begin_cut_store(self, node):
        node.store.cut()

    def begin_silence_store(self, node):
        node.store.silence()

    def begin_slow_store(self, node):
        node.store.slow(0.2)

    def end_cut_store(self, node):
        node.store.heal()

    end_silence_store = end_slow_store = end_cut_store

    # --- S3 answers, but not as it should

    def begin_storm_store(self, node):
        node.s3.fault("any", "slow_down", share=0.8)

    def begin_truncate_reads(self, node):
        node.s3.fault("get", "truncate", share=0.5)

    def begin_lose_puts(self, node):
        node.s3.fault("put", "lose_reply", share=0.5)

    def end_storm_store(self, node):
        node.s3.clear()

    def begin_wrong_answers(self, node):
        """Something between the agent and S3 answers in its place."""
        node.s3.fault("any", self.rng.choice(["page_404", "page_200", "no_bucket", "no_user"]), share=0.5)

    def begin_flip_answers(self, node):
        node.s3.fault("get", "flip", share=0.3)

    def begin_lose_puts_and_go(self, node):
        """What was stored is not known, and cannot be asked for."""
        node.s3.fault("put", "lose_reply", 2)
        node.s3.fault("any", "slow_down")

    end_truncate_reads = end_lose_puts = end_wrong_answers = end_flip_answers = end_lose_puts_and_go = end_storm_store

    def begin_flip_stored(self, _):
        """One bit of what is in the store, until it is turned back."""
        files = [p for p in self.cluster.stored_files() if p.stat().st_size > 0]
        if not files:
            return
        path = self.rng.choice(files)
        self.flipped = (path, self.rng.randrange(path.stat().st_size), 1 << self.rng.randrange(8))
        self.flip(*self.flipped)

    def end_flip_stored(self, _):
        if self.flipped:
            self.flip(*self.flipped)
        self.flipped = None

    def flip(self, path, at, bit):
        with contextlib.suppress(FileNotFoundError), path.open("r+b") as file:  # garbage may go meanwhile
            file.seek(at)
            old = file.read(1)
            file.seek(at)
            file.write(bytes([old[0] ^ bit]))

    # --- strangers

    def begin_attack(self, node):
        self.attackers[node.agent_id] = Attacker(node.clients.address, list(self.topics), self.partitions, self.rng.random()).start()

    def end_attack(self, node):
        attacker = self.attackers.pop(node.agent_id)
        attacker.stop()
        self.log(f"attack: {attacker.refused} refused, {attacker.stored} stored")

    def begin_kill_osd(self, _):
        self.cluster.s3.kill_osd()

    def end_kill_osd(self, _):
        self.cluster.s3.start_osd()

    def begin_kill_gateway(self, _):
        self.cluster.s3.kill_gateway()

    def end_kill_gateway(self, _):
        self.cluster.s3.start_gateway()

    def begin_pause_osd(self, _):
        self.cluster.s3.pause_osd()

    def end_pause_osd(self, _):
        self.cluster.s3.resume_osd()

    # --- the agent's host

    def begin_fill_disk(self, node):
        node.disk.fill()

    def end_fill_disk(self, node):
        node.disk.clear()

    def begin_cut_power(self, node):
        node.disk.lose_power()
        self.cluster.kill(node)

    def end_cut_power(self, node):
        node.disk.restore_power()
        self.cluster.launch(node)

    def begin_turn_clock(self, node):
        node.clock.turn(self.rng.choice([-86400, -60, 60, 86400]))

    def end_turn_clock(self, node):
        node.clock.turn(0)

    # --- PostgreSQL

    def sql(self, statement, *parameters):
        """One statement, on a connection of its own, since the server may have gone meanwhile."""
        if self.postgres_sleeps:
            self.log("PostgreSQL sleeps: not asked")
            return []
        try:
            self.cluster.database.reconnect()
            # An agent that only this thread can wake may hold the lock.
            self.cluster.database.execute(f"SET statement_timeout = '{_SQL_SECONDS}s'")
            return self.cluster.database.execute(statement, *parameters)
        except Exception as failure:
            self.log(f"sql failed: {str(failure).strip().splitlines()[0]}")
            return []

    def begin_kill_backends(self, _):
        self.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'streamhouse-agent%'")

    def backend(self):
        """The process of an agent's connection, or of a background worker; None when there is none."""
        found = [pid for pid, in self.sql("SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'streamhouse-agent%%'"
                                          " OR backend_type LIKE 'streamhouse%%' ORDER BY pid")]
        return self.rng.choice(found) if found else None

    def signal_backend(self, pid, number):
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def begin_crash_backend(self, _):
        """The server ends all others too, and recovers."""
        self.signal_backend(self.backend(), signal.SIGKILL)

    def begin_pause_backend(self, _):
        """It may hold locks."""
        self.paused_backend = self.backend()
        self.signal_backend(self.paused_backend, signal.SIGSTOP)

    def end_pause_backend(self, _):
        self.signal_backend(self.paused_backend, signal.SIGCONT)

    def begin_pause_postgres(self, _):
        self.postgres_sleeps = True
        self.cluster.postgres.pause()

    def end_pause_postgres(self, _):
        self.cluster.postgres.resume()
        self.postgres_sleeps = False

    def begin_restart_postgres(self, _):
        self.cluster.crash_postgres()

    def end_restart_postgres(self, _):
        self.cluster.start_postgres()

    def begin_lose_commits(self, _):
        """The server does not wait for its WAL, unless it is told to; then it crashes."""
        self.sql("ALTER SYSTEM SET synchronous_commit = off")
        self.sql("SELECT pg_reload_conf()")

    def end_lose_commits(self, _):
        self.cluster.crash_postgres()
        self.cluster.start_postgres()
        self.sql("ALTER SYSTEM RESET synchronous_commit")
        self.sql("SELECT pg_reload_conf()")

    def begin_turn_server_clock(self, _):
        self.cluster.server_clock.turn(self.rng.choice([-86400, -1800, -60, 60, 1800, 86400]))

    def end_turn_server_clock(self, _):
        self.cluster.server_clock.turn(0)

    # --- operators

    def begin_change_durability(self, _):
        self.changed = self.rng.choice(self.alterable)
        other = {"wal": "object", "object": "wal"}[self.topics[self.changed]]
        self.sql("SELECT streamhouse.alter_topic(%s, durability => %s)", self.changed, other)

    def end_change_durability(self, _):
        self.sql("SELECT streamhouse.alter_topic(%s, durability => %s)", self.changed, self.topics[self.changed])

    def begin_drain_agent(self, node):
        self.sql("SELECT streamhouse.drain_agent(%s)", node.agent_id)

    def end_drain_agent(self, node):
        self.sql("SELECT streamhouse.undrain_agent(%s)", node.agent_id)

    def begin_force_seal(self, node):
        self.cluster.kill(node)

    def end_force_seal(self, node):
        """The agent is known to be dead: seal what it left, then let it return."""
        for topic, partition, epoch in self.sql("SELECT topic, partition, epoch FROM streamhouse.epochs"
                                                " WHERE state = 'orphaned' AND agent_id = %s", node.agent_id):
            self.sql("SELECT streamhouse.force_seal(%s, %s, %s)", topic, partition, epoch)
        self.cluster.launch(node)
