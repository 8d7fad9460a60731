#!/bin/bash
# A private PostgreSQL for tests, with the extension's library preloaded.
#
#   postgres.sh start DIR     initdb and start in DIR, on a free port of 127.0.0.1; writes DIR/env
#   postgres.sh stop DIR
#
# DIR/env sets PGHOST, PGPORT, PGUSER (a superuser, no password) and STREAMHOUSE_TEST_PG, a libpq connection string for a
# database of its own. SH_PG_FSYNC=on keeps fsync on, as benchmarks want it. DIR must be reachable by the user postgres, to whom root hands the server.
set -euo pipefail
action=${1:?start or stop}
dir=${2:?an empty directory}
bin=$(pg_config --bindir)

as_postgres() { if [ "$(id -u)" = 0 ]; then (cd / && runuser -u postgres -- "$@"); else "$@"; fi; }

case $action in
start)
    # It must still be free when a test restarts the server.
    port=$(cd "$(dirname "$0")/.." && /usr/bin/python3 -c 'from harness.processes import lasting_port; print(lasting_port())')
    mkdir -p "$dir"
    [ "$(id -u)" != 0 ] || chown postgres "$dir"
    as_postgres "$bin/initdb" -D "$dir/data" -U postgres --auth=trust -E UTF8 --no-locale --no-sync >/dev/null
    as_postgres tee -a "$dir/data/postgresql.conf" >/dev/null <<CONF
listen_addresses = '127.0.0.1'
port = $port
unix_socket_directories = ''
shared_preload_libraries = 'streamhouse'
streamhouse.database = '${STREAMHOUSE_DATABASE-streamhouse}'
streamhouse.tick_interval = 200
streamhouse.marker_interval = 200
streamhouse.snapshot_interval = ${SH_PG_SNAPSHOT_INTERVAL:-0}
fsync = ${SH_PG_FSYNC:-off}
streamhouse.allow_drop = on
max_connections = 300
max_worker_processes = 16
CONF
    as_postgres "$bin/pg_ctl" -D "$dir/data" -l "$dir/log" -w -t 30 start >/dev/null || { cat "$dir/log" >&2; exit 1; }
    cat >"$dir/env" <<ENV
export PGHOST=127.0.0.1 PGPORT=$port PGUSER=postgres
export STREAMHOUSE_TEST_PG="host=127.0.0.1 port=$port user=postgres dbname=unit"
ENV
    . "$dir/env"
    createdb unit
    ;;
stop)
    [ ! -f "$dir/data/postmaster.pid" ] || as_postgres "$bin/pg_ctl" -D "$dir/data" -m immediate -w stop >/dev/null
    rm -rf "$dir"
    ;;
*)
    echo "usage: $0 start|stop DIR" >&2
    exit 2
    ;;
esac
