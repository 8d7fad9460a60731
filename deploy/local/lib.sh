# lib.sh - what up.sh, down.sh and quickstart.sh share: the private instance in .streamhouse/ of the checkout.
# shellcheck shell=bash

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
HOME_DIR=${SH_INSTANCE_DIR:-$ROOT/.streamhouse}
BIN=$ROOT/build/release
PG_BIN=$(pg_config --bindir 2>/dev/null || true)

say() { printf '%s\n' "$*"; }
fail() { printf 'streamhouse: %s\n' "$*" >&2; exit 1; }

# PostgreSQL refuses to run as root: root hands it to the user postgres.
as_postgres() {
    if [ "$(id -u)" = 0 ]; then (cd / && runuser -u postgres -- "$@"); else "$@"; fi
}

# Where PostgreSQL keeps its files: in the checkout, or, where the user postgres cannot reach that, beside /var/tmp.
choose_pg_dir() {
    PG_DIR=$HOME_DIR/pg
    if [ "$(id -u)" = 0 ] && ! as_postgres test -x "$HOME_DIR"; then
        PG_DIR=/var/tmp/streamhouse-$(printf %s "$HOME_DIR" | md5sum | cut -c1-12)
    fi
}

port_is_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# The first free port from $1 on.
free_port() {
    local port=$1
    until port_is_free "$port"; do port=$((port + 1)); done
    echo "$port"
}

alive() { [ -s "$1" ] && kill -0 "$(head -1 "$1")" 2>/dev/null; }

# Wait up to $1 seconds until the rest of the command succeeds.
wait_for() {
    local deadline=$((SECONDS + $1)); shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        sleep 0.05
    done
}

# The ports of the instance, chosen by up.sh.
load_env() { [ -f "$HOME_DIR/env" ] && . "$HOME_DIR/env"; }

psql_admin() {
    PGPASSFILE=$HOME_DIR/pgpass psql -X -q -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$PG_PORT" -U streamhouse -d streamhouse "$@"
}
