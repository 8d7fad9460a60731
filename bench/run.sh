#!/bin/bash
# Run the benchmarks, one after the other, each on a private PostgreSQL of its own: JSON lines on stdout, progress on
# stderr.   bench/run.sh [NAME]
#
# Agents are started by the programs themselves. BENCH_BYTES=1GB makes the long runs, of 5 GB, shorter.
set -euo pipefail
cd "$(dirname "$0")/.."
only=${1:-}
bin=$PWD/build/release
pg=
export SH_BENCH_AGENT=$bin/streamhouse-agent
export SH_BENCH_DIRECTORY=$PWD/build/bench-data
export SH_BENCH_BYTES=${BENCH_BYTES:-}

clean_up() {
    [ -z "$pg" ] || tests/harness/postgres.sh stop "$pg/server"
    [ -z "$pg" ] || rm -rf "$pg"
    pg=
    rm -rf "$SH_BENCH_DIRECTORY" /dev/shm/streamhouse-bench
}
trap clean_up EXIT

run_one() {
    local name=$1 begun=$SECONDS
    mkdir -p "$SH_BENCH_DIRECTORY"
    pg=$(mktemp -d /tmp/sh-bench-pg-XXXXXX)
    chmod 755 "$pg"
    SH_PG_FSYNC=on STREAMHOUSE_DATABASE=bench tests/harness/postgres.sh start "$pg/server"
    (
        . "$pg/server/env"
        createdb bench
        psql -qX -d bench -c 'CREATE EXTENSION streamhouse' 2>/dev/null
        export SH_BENCH_POSTGRES="host=$PGHOST port=$PGPORT user=$PGUSER dbname=bench"
        "$bin/bench/bench_$name"
    )
    clean_up
    echo "bench: $name took $((SECONDS - begun)) s" >&2
}

known=(machine sustained policies acknowledge produce fetch small latency publish garbage idle memory instructions hostile)
for path in "$bin"/bench/bench_*; do
    name=${path##*/bench_}
    [[ $path == *.* ]] || [[ " ${known[*]} " == *" $name "* ]] || known+=("$name")
done
if [ -n "$only" ] && [[ " ${known[*]} " != *" $only "* ]]; then
    echo "bench: there is no \"$only\": ${known[*]}" >&2
    exit 2
fi
for name in "${known[@]}"; do
    [ ! -x "$bin/bench/bench_$name" ] || [ "${only:-$name}" != "$name" ] || run_one "$name"
done
# Counted, not timed: on a PostgreSQL and an agent that it starts itself.
if [ "${only:-instructions}" = instructions ] && command -v valgrind >/dev/null; then
    bench/instructions/measure.py
elif [ "${only:-instructions}" = instructions ]; then
    echo "bench: instructions needs valgrind, which make deps-test installs" >&2
fi
# On a PostgreSQL and agents that it starts itself, too.
[ "${only:-hostile}" != hostile ] || /usr/bin/python3 bench/hostile/measure.py
