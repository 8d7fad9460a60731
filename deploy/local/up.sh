#!/bin/bash
# Start the private PostgreSQL and one agent of this checkout; what runs already is left alone.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

[ -n "$PG_BIN" ] || fail "no pg_config found; run make deps"
[ -x "$BIN/streamhouse-agent" ] || fail "$BIN/streamhouse-agent is missing; run make all"

first_time() {
    PG_PORT=$(free_port 15432)
    local password
    password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
    (umask 077; printf '127.0.0.1:*:*:streamhouse:%s\n' "$password" >"$HOME_DIR/pgpass.tmp")
    mv "$HOME_DIR/pgpass.tmp" "$HOME_DIR/pgpass"
    cat >"$HOME_DIR/env" <<ENV
PG_DIR=$PG_DIR
PG_PORT=$PG_PORT
ENV
}

# The agent's: those of the last time, or others when somebody has taken one of them meanwhile.
choose_agent_ports() {
    if [ -n "${REGISTRY_PORT:-}" ] && port_is_free "$GRPC_PORT" && port_is_free "$HTTP_PORT" && port_is_free "$REGISTRY_PORT"; then
        return
    fi
    GRPC_PORT=$(free_port 50051)
    HTTP_PORT=$(free_port 8080)
    REGISTRY_PORT=$(free_port $((HTTP_PORT + 1)))
    sed -i '/^\(GRPC\|HTTP\|REGISTRY\)_PORT=/d' "$HOME_DIR/env"
    printf '%s\n' "GRPC_PORT=$GRPC_PORT" "HTTP_PORT=$HTTP_PORT" "REGISTRY_PORT=$REGISTRY_PORT" >>"$HOME_DIR/env"
}

init_postgres() {
    mkdir -p "$PG_DIR"
    [ "$(id -u)" != 0 ] || chown postgres "$PG_DIR"
    local pwfile=$PG_DIR/.pw
    install -m 600 /dev/null "$pwfile"
    [ "$(id -u)" != 0 ] || chown postgres "$pwfile"
    cut -d: -f5 "$HOME_DIR/pgpass" >"$pwfile"
    as_postgres "$PG_BIN/initdb" -D "$PG_DIR/data" -U streamhouse --pwfile="$pwfile" --auth=scram-sha-256 \
        -E UTF8 --no-locale >/dev/null
    rm -f "$pwfile"
    as_postgres tee -a "$PG_DIR/data/postgresql.conf" >/dev/null <<CONF
listen_addresses = '127.0.0.1'
port = $PG_PORT
unix_socket_directories = ''
shared_preload_libraries = 'streamhouse'
streamhouse.database = 'streamhouse'
CONF
}

start_postgres() {
    as_postgres "$PG_BIN/pg_ctl" -D "$PG_DIR/data" -l "$PG_DIR/log" -w -t 30 start >/dev/null \
        || fail "PostgreSQL did not start; see $PG_DIR/log"
}

create_extension() {
    PGPASSFILE=$HOME_DIR/pgpass psql -X -q -h 127.0.0.1 -p "$PG_PORT" -U streamhouse -d postgres -tAc \
        "SELECT 1 FROM pg_database WHERE datname = 'streamhouse'" | grep -q 1 \
        || PGPASSFILE=$HOME_DIR/pgpass createdb -h 127.0.0.1 -p "$PG_PORT" -U streamhouse streamhouse
    psql_admin -c "SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS streamhouse"
}

start_agent() {
    choose_agent_ports
    mkdir -p "$HOME_DIR/agent/wal" "$HOME_DIR/agent/store"
    cat >"$HOME_DIR/agent.yaml" <<CONF
agent_id: local
data_dir: $HOME_DIR/agent
listen_address: 127.0.0.1:$GRPC_PORT
http_address: 127.0.0.1:$HTTP_PORT
schema_registry_address: 127.0.0.1:$REGISTRY_PORT
postgres: host=127.0.0.1 port=$PG_PORT dbname=streamhouse user=streamhouse passfile=$HOME_DIR/pgpass
port_file: $HOME_DIR/agent.ports
CONF
    rm -f "$HOME_DIR/agent.ports"
    setsid "$BIN/streamhouse-agent" --config "$HOME_DIR/agent.yaml" >>"$HOME_DIR/agent.log" 2>&1 </dev/null &
    echo $! >"$HOME_DIR/agent.pid"
    agent_decided() { [ -s "$HOME_DIR/agent.ports" ] || ! alive "$HOME_DIR/agent.pid"; }
    wait_for 30 agent_decided || true
    [ -s "$HOME_DIR/agent.ports" ] \
        || fail "the agent did not become ready; its log ends: $(tail -2 "$HOME_DIR/agent.log")"
}

# An agent that was built anew takes the place of the running one.
stop_outdated_agent() {
    alive "$HOME_DIR/agent.pid" && [ "$BIN/streamhouse-agent" -nt "$HOME_DIR/agent.pid" ] || return 0
    local pid
    pid=$(cat "$HOME_DIR/agent.pid")
    kill -TERM "$pid"
    agent_gone() { ! kill -0 "$pid"; }
    wait_for 40 agent_gone || fail "the agent (pid $pid) does not stop"
}

mkdir -p "$HOME_DIR"
choose_pg_dir
load_env || first_time
[ -d "$PG_DIR/data" ] || init_postgres
alive "$PG_DIR/data/postmaster.pid" || start_postgres
create_extension
stop_outdated_agent
alive "$HOME_DIR/agent.pid" || start_agent
