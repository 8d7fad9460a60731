#!/bin/bash
# Stream real data through a private instance and show what became of it.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

"$ROOT/deploy/local/up.sh"
load_env

TOPIC=earthquakes
DATA=$ROOT/examples/earthquakes.ndjson
SH=("$BIN/streamhouse" --server "127.0.0.1:$GRPC_PORT")
TMP=$(mktemp -d)
trap 'rm -rf "$TMP"' EXIT

# Each run begins with an empty topic, so that what is read back is what this run sent.
if psql_admin -tAc "SELECT 1 FROM streamhouse.topics WHERE topic = '$TOPIC'" | grep -q 1; then
    psql_admin -tAc "SELECT streamhouse.drop_topic('$TOPIC')" >/dev/null
fi
psql_admin -tAc "SELECT streamhouse.create_topic('$TOPIC', partitions => 4, retention => '7 days')" >/dev/null
say "Created topic $TOPIC with 4 partitions."

# The agent hears of it in a moment. Until then the name may stand for the topic that was dropped.
TOPIC_ID=$(psql_admin -tAc "SELECT topic_id FROM streamhouse.topics WHERE topic = '$TOPIC'")
heard() { "${SH[@]}" topic describe "$TOPIC" --output json | grep -qF "$TOPIC_ID"; }
wait_for 10 heard || fail "the agent did not hear of the new topic within 10 s; see $HOME_DIR/agent.log"

"${SH[@]}" produce "$TOPIC" --file "$DATA" --key-json net
"${SH[@]}" consume "$TOPIC" --from earliest --output value >"$TMP/read"

# Byte for byte: the same lines, and for each key the same lines in the same order.
cmp <(sort "$DATA") <(sort "$TMP/read") || fail "what was read differs from what was sent"
by_key() { awk 'match($0, /"net":"[^"]*"/) { print substr($0, RSTART, RLENGTH) "\t" $0 }' "$1" | sort -s -t "$(printf '\t')" -k1,1; }
cmp <(by_key "$DATA") <(by_key "$TMP/read") || fail "records of one key came back in another order"
say "Read back $(wc -l <"$TMP/read") records: byte for byte what was sent, each key in its order."

# The last records are published within the flush interval.
published() { [ "$(psql_admin -tAc "SELECT sum(records) FROM streamhouse.partitions WHERE topic = '$TOPIC'")" = "$(wc -l <"$DATA")" ]; }
wait_for 10 published || fail "the records were not published within 10 s; see $HOME_DIR/agent.log"
psql_admin -c "SELECT * FROM streamhouse.topics WHERE topic = '$TOPIC'" -P expanded=on
psql_admin -c "SELECT partition, owner, records, bytes, published_end FROM streamhouse.partitions WHERE topic = '$TOPIC'"

cat <<INFO
What runs where
  PostgreSQL  127.0.0.1:$PG_PORT, data in $PG_DIR
  agent       gRPC 127.0.0.1:$GRPC_PORT, HTTP http://127.0.0.1:$HTTP_PORT/metrics (pid $(cat "$HOME_DIR/agent.pid"))
  schemas     http://127.0.0.1:$REGISTRY_PORT/subjects
  records     $HOME_DIR/agent/store
  WAL         $HOME_DIR/agent/wal
Try
  make psql                                     then SELECT * FROM streamhouse.partitions;
  build/release/streamhouse --server 127.0.0.1:$GRPC_PORT consume $TOPIC --from earliest --max 3
Stop with
  make down                                     (make purge also removes the data)
INFO
