#!/usr/bin/python3
"""Run benchmarks and commit what they say: results.json, from which docs/internals/performance.md has its figures.

    record.py              all of BENCHES
    record.py NAME...      those; the others stay as they are

Of each bench: when it ran, on what machine, how busy that was before, and its figures as `make bench` prints them. Build
first (make programs benches, and install the extension); afterwards figures.py writes the document anew.
"""
import datetime
import json
import os
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
RESULTS = HERE / "results.json"
BENCHES = ("machine", "sustained", "policies", "acknowledge", "produce", "fetch", "small", "latency", "publish", "garbage",
           "idle", "memory", "recover", "registry", "schema", "snapshot", "throttle", "placement", "herd")
KEPT = ("figure", "value", "unit", "reference", "reference_value", "ratio")


def machine():
    def first(pattern, path):
        found = re.search(pattern, pathlib.Path(path).read_text(), re.MULTILINE)
        return found.group(1) if found else "unknown"
    processor = first(r"^model name\s*: (.*)$", "/proc/cpuinfo")
    memory_kib = int(first(r"^MemTotal:\s*(\d+)", "/proc/meminfo"))
    return f"{processor}, {os.cpu_count()} cores, {memory_kib / 2**20:.0f} GiB"


def run(name):
    """What the bench says, with the load of the machine before it began: that of others."""
    load = os.getloadavg()[0]
    began = datetime.datetime.now(datetime.timezone.utc)
    said = subprocess.run([HERE / "run.sh", name], check=True, stdout=subprocess.PIPE, text=True).stdout
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    return {"bench": name, "date": began.strftime("%Y-%m-%d %H:%M"), "machine": machine(), "load_before": round(load, 1),
            "bytes": os.environ.get("BENCH_BYTES", "5GB"),
            "figures": [{key: line[key] for key in KEPT if key in line} for line in lines]}


def read():
    if not RESULTS.exists():
        return {}
    return {bench["bench"]: bench for bench in json.loads(RESULTS.read_text())}


def write(results):
    ordered = [results[name] for name in BENCHES if name in results]
    RESULTS.write_text(json.dumps(ordered, indent=1) + "\n")


def main():
    names = sys.argv[1:] or BENCHES
    unknown = [name for name in names if name not in BENCHES]
    if unknown:
        sys.exit(f"there is no {', '.join(unknown)}: {' '.join(BENCHES)}")
    failed = []
    for name in names:
        try:
            write(read() | {name: run(name)})
        except subprocess.CalledProcessError as error:
            failed.append(f"{name} (status {error.returncode})")
    if failed:
        sys.exit(f"these failed, and stay as they were: {', '.join(failed)}")


if __name__ == "__main__":
    main()
