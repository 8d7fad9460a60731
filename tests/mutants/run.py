#!/usr/bin/python3
"""make mutants: change decisions, bounds and comparisons one at a time, and see that a test fails for each.

    run.py [--count 150] [--seed 1] [--jobs 2] [--only PATH] [--known FILE] [--list]

Mutations are drawn by the seed from core, schema, the agent's WAL, log, store, RPC and registry, and the extension's SQL, as
many from each; those of named.txt are always there. Each is tried in a checkout of its own in build/mutants, which has its own
PostgreSQL libraries and servers: needs root, and what is to be tried committed. One JSON line for each mutation, then a sum;
exits with 1 when fewer than 95 % are killed. Those that equivalent.txt explains are not tried, nor those of which FILE, the
output of an earlier run, says what killed them: a run can be broken off, and survivors be tried again.
"""
import argparse
import collections
import concurrent.futures
import contextlib
import hashlib
import json
import os
import pathlib
import signal
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from mutants import c_sites, sql_sites  # noqa: E402
from mutants.killers import INTEGRATION, all_stages, stages  # noqa: E402
from mutants.site import Site  # noqa: E402

HERE = ROOT / "tests" / "mutants"
TREES = ROOT / "build" / "mutants"
KILLED_PERCENT = 95
NOT_DECISIONS = ("92_", "90_views", "/00_")  # comments, views


def candidates(only):
    """{area: sites}"""
    found = collections.defaultdict(list)
    for folder in INTEGRATION:
        for path in sorted((ROOT / folder).iterdir()):
            path = path.relative_to(ROOT)
            if only and not str(path).startswith(only) or any(part in str(path) for part in NOT_DECISIONS):
                continue
            if path.suffix == ".c":
                found[folder] += c_sites.sites(path)
            elif path.suffix == ".sql":
                found[folder] += sql_sites.sites(path)
    return found


def lines_of(name):
    for line in (HERE / name).read_text().splitlines():
        if line and not line.startswith("#"):
            yield [field.strip() for field in line.split(" | ")]


def named():
    for path, old, new, what in lines_of("named.txt"):
        text = (ROOT / path).read_text()
        assert text.count(old) == 1, f"named.txt: {path} holds {text.count(old)} times: {old}"
        start = len(text[:text.index(old)].encode())
        yield Site(pathlib.Path(path), start, start + len(old.encode()), new, what)


def draw(count, seed, only):
    """The named ones, and as many of each area as there is room for. A site's turn depends on itself alone: of changed code the
    same ones are drawn again, but for what was changed, and what an earlier run found out about them still holds."""
    chosen = [] if only else list(named())
    known = {" | ".join(line[:3]) for line in lines_of("equivalent.txt")}
    pools = {name: sorted(pool, key=lambda site: hashlib.sha256(f"{seed} {site.key(ROOT)}".encode()).digest(), reverse=True)
             for name, pool in candidates(only).items() if pool}
    while len(chosen) < count and any(pools.values()):
        for pool in pools.values():
            while pool and len(chosen) < count:
                site = pool.pop()
                if site.key(ROOT) not in known:
                    known.add(site.key(ROOT))  # once, however often the line stands there
                    chosen.append(site)
                    break
    return chosen


def outcomes_of(path):
    """{(file, text, what): outcome} of what an earlier run has settled."""
    found = {}
    if path:
        for line in pathlib.Path(path).read_text().splitlines():
            if line.startswith("{"):
                said = json.loads(line)
                if said["outcome"] != "alive":
                    found[said["file"], said["text"], said["what"]] = said["outcome"]
    return found


# --- one worker: a checkout and servers of its own, in a mount namespace of its own

class Tree:
    """Where one worker tries its mutations."""

    def __init__(self, number):
        self.root = TREES / f"tree-{number}"
        self.log = TREES / f"tree-{number}.log"
        self.env = dict(os.environ)
        if not self.root.exists():
            subprocess.run(["git", "worktree", "add", "-q", "--detach", str(self.root), "HEAD"], cwd=ROOT, check=True)
        subprocess.run(["git", "checkout", "-q", "--detach", "-f", subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()],
            cwd=self.root, check=True)
        for directory in (self.shell_output("pg_config --sharedir"), self.shell_output("pg_config --pkglibdir")):
            self.overlay(pathlib.Path(directory))
        assert self.run("make -s -j2 programs unit-tests CFLAGS=-Wno-error && make -s install", 1800), f"does not build; see {self.log}"
        self.services = pathlib.Path(f"/tmp/sh-mutants-{os.getpid()}")
        self.services.mkdir(mode=0o755)
        assert self.run(f"STREAMHOUSE_DATABASE='' tests/harness/postgres.sh start {self.services}/pg && "
                        f"tests/harness/radosgw.sh start {self.services}/rgw", 300), f"no servers; see {self.log}"
        for name in ("pg", "rgw"):
            self.env.update(line.split("=", 1) for line in self.shell_output(
                f"set -a; . {self.services}/{name}/env; env").splitlines() if line.startswith(("PG", "STREAMHOUSE_TEST_")))
        self.programs = self.shell_output("make -s print-unit-tests").split()

    def overlay(self, directory):
        upper, work = (TREES / "overlay" / self.root.name / directory.name / kind for kind in ("upper", "work"))
        for path in (upper, work):
            path.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o",
                        f"lowerdir={directory},upperdir={upper},workdir={work}", str(directory)], check=True)

    def shell_output(self, command):
        return subprocess.run(["bash", "-c", command], cwd=self.root, env=self.env, check=True, capture_output=True,
                              text=True).stdout.strip()

    def run(self, command, seconds):
        """True when it succeeds in time. What it started ends with it."""
        with self.log.open("a") as log:
            log.write(f"--- {command}\n")
            log.flush()
            process = subprocess.Popen(["timeout", "-k", "10", str(seconds), "bash", "-c", command], cwd=self.root,
                                       env=self.env, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
            return process.wait() == 0

    def is_valid(self, path):
        """It compiles; that is no test's merit."""
        if path.suffix == ".c":
            return self.run(f"make -s CFLAGS=-Wno-error build/release/{path.with_suffix('.o')}", 300)
        return self.run("make -s -f pgxs.mk install >/dev/null && createdb tried && psql -qXd tried -v ON_ERROR_STOP=1 "
                        "-c 'CREATE EXTENSION streamhouse'; status=$?; dropdb --if-exists tried; exit $status", 120)

    def outcome(self, site):
        before = site.apply(self.root)
        try:
            if not self.is_valid(site.path):
                return "invalid"
            for name, command, seconds in stages(site.path, self.programs):
                if not self.run(command, seconds):
                    return name
            return "alive"
        finally:
            (self.root / site.path).write_bytes(before)

    def baseline(self):
        """Without a mutation all stages succeed."""
        for name, command, seconds in all_stages(self.programs):
            if not self.run(command, seconds):
                sys.exit(f"run.py: {name} fails without a mutation; see {self.log}")

    def close(self):
        for name, script in (("pg", "postgres"), ("rgw", "radosgw")):
            self.run(f"tests/harness/{script}.sh stop {self.services}/{name}", 60)
        subprocess.run(["rm", "-rf", str(self.services)], check=False)


def work(number, sites):
    """Tries those whose places come in, a line each. The first worker sees before that all is well without a mutation."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # its servers end with it
    tree = Tree(number)
    try:
        if number == 0:
            tree.baseline()
        for asked in sys.stdin:
            site = sites[int(asked)]
            line, text = site.line(ROOT)
            print(json.dumps({"file": str(site.path), "line": line, "text": text, "what": site.what,
                              "outcome": tree.outcome(site)}), flush=True)
    finally:
        tree.close()


# --- the whole

def tell(worker, places):
    """Has a worker try one after the other, and prints what it finds; returns how many of each outcome."""
    counted = collections.Counter()
    with contextlib.suppress(IndexError, BrokenPipeError):  # none is left; the worker has ended, and said why
        while True:
            worker.stdin.write(f"{places.popleft()}\n")
            worker.stdin.flush()
            line = worker.stdout.readline()
            if not line:
                break
            print(line, end="", flush=True)
            counted[json.loads(line)["outcome"]] += 1
    with contextlib.suppress(BrokenPipeError):
        worker.stdin.close()
    return counted


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=150)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="")
    parser.add_argument("--known", default="")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    os.chdir(ROOT)
    sites = draw(chosen.count, chosen.seed, chosen.only)
    if chosen.worker is not None:
        work(chosen.worker, sites)
        return
    known = outcomes_of(chosen.known)
    outcomes = collections.Counter()
    places = collections.deque()
    for place, site in enumerate(sites):
        outcome = known.get((str(site.path), site.line(ROOT)[1], site.what))
        if outcome is None:
            places.append(place)
        else:
            outcomes[outcome] += 1
    if chosen.list:
        for site in (sites[place] for place in places):
            print(f"{site.path}:{site.line(ROOT)[0]}: {site.what}: {site.line(ROOT)[1]}")
        return
    TREES.mkdir(parents=True, exist_ok=True)
    workers = [subprocess.Popen(["unshare", "-m", sys.executable, __file__, "--worker", str(number), "--count", str(chosen.count),
                                 "--seed", str(chosen.seed), "--only", chosen.only],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for number in range(chosen.jobs)]
    signal.signal(signal.SIGTERM, lambda *_: [worker.terminate() for worker in workers])
    with concurrent.futures.ThreadPoolExecutor(len(workers)) as tellers:
        for counted in tellers.map(tell, workers, [places] * len(workers)):
            outcomes += counted
    failed = any([worker.wait() != 0 for worker in workers])
    alive, invalid = outcomes.pop("alive", 0), outcomes.pop("invalid", 0)
    killed = sum(outcomes.values())
    for name, number in outcomes.most_common():
        print(f"{number:5d} killed by {name}")
    print(f"{killed} killed, {alive} alive, {invalid} do not compile, of {killed + alive + invalid}")
    sys.exit(failed or killed + alive == 0 or killed < KILLED_PERCENT / 100 * (killed + alive))


if __name__ == "__main__":
    main()
