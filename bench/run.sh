#!/bin/bash
# Run the benchmarks against a private PostgreSQL and agent: JSON lines on stdout.   bench/run.sh [NAME]
#
# The machine's own limits are measured first, in the directory where WAL and store will be: build/bench-data.
set -euo pipefail
cd "$(dirname "$0")/.."
only=${1:-}
bin=$PWD/build/release
data=$PWD/build/bench-data
pg=$(mktemp -d /tmp/sh-bench-pg-XXXXXX)
chmod 755 "$pg"
agent_pid=

clean_up() {
    [ -z "$agent_pid" ] || { kill "$agent_pid" && wait "$agent_pid" || true; }
    tests/harness/postgres.sh stop "$pg"
    rm -rf "$data"
}
trap clean_up EXIT

rm -rf "$data"
mkdir -p "$data/wal" "$data/store"
"$bin/bench/bench_machine" "$data"

SH_PG_FSYNC=on STREAMHOUSE_DATABASE=bench tests/harness/postgres.sh start "$pg/server"
pg=$pg/server
. "$pg/env"
createdb bench
psql -qX -d bench -c 'CREATE EXTENSION streamhouse' 2>/dev/null
unset STREAMHOUSE_TEST_PG
cat >"$data/agent.yaml" <<CONF
agent_id: bench
data_dir: $data
listen_address: 127.0.0.1:0
http_address: 127.0.0.1:0
postgres: host=$PGHOST port=$PGPORT user=$PGUSER dbname=bench
port_file: $data/ports
CONF
"$bin/streamhouse-agent" --config "$data/agent.yaml" 2>"$data/agent.log" &
agent_pid=$!
deadline=$((SECONDS + 30))
until [ -s "$data/ports" ]; do
    kill -0 "$agent_pid" 2>/dev/null && [ "$SECONDS" -lt "$deadline" ] || { cat "$data/agent.log" >&2; exit 1; }
    sleep 0.05
done
address=$(sed -n 's/^grpc=//p' "$data/ports")

for name in produce fetch; do
    [ -z "$only" ] || [ "$only" = "$name" ] || continue
    "$bin/bench/bench_$name" "$address"
done
