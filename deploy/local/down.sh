#!/bin/bash
# Stop the agent and the PostgreSQL of this checkout. With --purge their data goes too.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

load_env || { say "Nothing to stop."; exit 0; }

gone() { ! alive "$1"; }

if alive "$HOME_DIR/agent.pid"; then
    kill -TERM "$(cat "$HOME_DIR/agent.pid")"
    wait_for 40 gone "$HOME_DIR/agent.pid" || fail "the agent (pid $(cat "$HOME_DIR/agent.pid")) does not stop"
    say "Agent stopped; its log is $HOME_DIR/agent.log"
fi
rm -f "$HOME_DIR/agent.pid"
if alive "$PG_DIR/data/postmaster.pid"; then
    as_postgres "$PG_BIN/pg_ctl" -D "$PG_DIR/data" -m fast -w stop >/dev/null
    say "PostgreSQL stopped."
fi
if [ "${1:-}" = --purge ]; then
    rm -rf "$PG_DIR" "$HOME_DIR"
    say "Data removed."
fi
