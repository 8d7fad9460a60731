#include <stdio.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/pg/pg_internal.h"

typedef struct Statement {
    const char *name;
    int value_count;
    const char *sql;
} Statement;

/* Columns are named, so that a later version of the extension may add some. */
static const Statement statements[SH_PG_STATEMENT_COUNT] = {
    [SH_PG_REGISTER] = {"register", 9,
                        "SELECT incarnation_id, cluster_id, term, lease_ticks, tick_interval_ms, calls "
                        "FROM streamhouse.agent_register($1, $2, $3, $4, $5, $6, $7, $8, $9)"},
    [SH_PG_HEARTBEAT] =
        {"heartbeat", 3,
         "SELECT assignment_version, metadata_version, calls FROM streamhouse.agent_heartbeat($1, $2, $3)"},
    [SH_PG_LACKS_ROOM] = {"lacks_room", 2, "SELECT streamhouse.agent_lacks_room($1, $2)"},
    [SH_PG_END] = {"end", 1, "SELECT streamhouse.agent_end($1)"},
    [SH_PG_ASSIGNMENTS] =
        {"assignments", 2,
         "SELECT version, is_whole, topic_id, topic, segment_bytes, retention_ms, batch_bytes_max, "
         "partition, action, "
         "epoch, start_offset, limit_offset, published_end, coalesce(epoch_state <> 'granted', false), "
         "orphan_timeout_ms "
         "FROM streamhouse.agent_assign_changes($1, $2)"},
    [SH_PG_GRANT] = {"grant", 3,
                     "SELECT result, epoch, start_offset, limit_offset, start_offset, orphan_timeout_ms "
                     "FROM streamhouse.agent_grant($1, $2, $3)"},
    [SH_PG_OPEN] = {"open", 4,
                    "SELECT result, epoch, 0, 0, 0, 0 FROM streamhouse.agent_open($1, $2, $3, $4)"},
    [SH_PG_SEAL] = {"seal", 6,
                    "SELECT result, epoch, 0, 0, published_end, 0 "
                    "FROM streamhouse.agent_seal($1, $2, $3, $4, $5, $6)"},
    [SH_PG_LEFTOVER] = {"leftover", 4,
                        "SELECT result, forced_end, epoch, start_offset, limit_offset, published_end "
                        "FROM streamhouse.agent_leftover($1, $2, $3, $4)"},
    [SH_PG_INIT_PRODUCER] = {"init_producer", 1,
                             "SELECT producer_id, producer_epoch FROM streamhouse.agent_init_producer($1)"},
    [SH_PG_PRODUCERS] = {"producers", 5,
                         "SELECT ordinal, unresolved, producer_id, producer_epoch, base_sequence, "
                         "sequence_count, base_offset "
                         "FROM streamhouse.agent_producer_state($1, $2, $3, $4, $5)"},
    [SH_PG_LOOKUP_PRODUCERS] = {"lookup_producers", 4,
                                "SELECT ordinal, is_known, producer_epoch, base_sequence, sequence_count, "
                                "base_offset FROM streamhouse.agent_lookup_producers($1, $2, $3, $4)"},
    [SH_PG_CLAIM] =
        {"claim", 7,
         "SELECT ordinal, is_known, claimed_from, producer_epoch, base_sequence, sequence_count, base_offset "
         "FROM streamhouse.agent_claim($1, $2, $3, $4, $5, $6, $7)"},
    [SH_PG_CLAIMS] = {"claims", 4,
                      "SELECT ordinal, producer_id, producer_epoch, first_unacked_seq "
                      "FROM streamhouse.agent_claims($1, $2, $3, $4)"},
    [SH_PG_PUBLISH] = {"publish", 24,
                       "SELECT ordinal, result, first_offset, published_end FROM streamhouse.publish_object("
                       "$1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, "
                       "$18, $19, $20, $21, $22, $23, $24)"},
    [SH_PG_READ_INDEX] =
        {"read_index", 4,
         "SELECT first_offset, base_offset, last_offset, epoch, object_key, \"position\", length, "
         "records, min_timestamp_ms, max_timestamp_ms FROM streamhouse.read_index($1, $2, $3, $4)"},
    [SH_PG_READ_BOUNDS] = {"read_bounds", 2,
                           "SELECT topic_id, partition, log_start, published_end, epoch "
                           "FROM streamhouse.read_bounds($1, $2)"},
    [SH_PG_FIND_TIMESTAMPS] =
        {"find_timestamps", 4,
         "SELECT first_offset, base_offset, last_offset, epoch, object_key, \"position\", "
         "length, records, min_timestamp_ms, max_timestamp_ms "
         "FROM streamhouse.find_timestamps($1, $2, $3, $4) WHERE first_offset IS NOT NULL"},
    [SH_PG_VERSIONS] = {"versions", 1,
                        "SELECT assignment_version, metadata_version FROM streamhouse.agent_versions($1)"},
    [SH_PG_METADATA] =
        {"metadata", 1,
         "SELECT version, is_whole, topic_id, name, durability = 'object', retention_ms, segment_bytes, "
         "batch_bytes_max, timestamp_type = 'append_time', timestamp_before_ms, timestamp_after_ms, "
         "partition_count, partition, agent_id, address, zone, epoch "
         "FROM streamhouse.agent_metadata_changes($1)"},
    [SH_PG_LIVE_AGENTS] = {"live_agents", 0,
                           "SELECT agent_id, address, zone FROM streamhouse.agent_live_agents()"},
    [SH_PG_DROP_TOPIC] = {"drop_topic", 1, "SELECT streamhouse.drop_topic($1)"},
    [SH_PG_STORE] = {"store", 2, "SELECT store_id, store_place FROM streamhouse.agent_store($1, $2)"},
    [SH_PG_TERM_TO_TAKE] = {"term_to_take", 1,
                            "SELECT number, nonce, body FROM streamhouse.agent_term_to_take($1)"},
    [SH_PG_TERM_TAKEN] = {"term_taken", 2, "SELECT streamhouse.agent_term_taken($1, $2)"},
    [SH_PG_AWAITED] = {"awaited", 1, "SELECT streamhouse.agent_awaited($1)"},
    [SH_PG_UNKNOWN_KEYS] = {"unknown_keys", 2, "SELECT k FROM streamhouse.agent_unknown_keys($1, $2) AS k"},
    [SH_PG_PRESENT_EPOCHS] = {"present_epochs", 5,
                              "SELECT result, epoch, start_offset, limit_offset, published_end "
                              "FROM streamhouse.agent_present_epochs($1, $2, $3, $4, $5)"},
    [SH_PG_PRESENT_OBJECT] =
        {"present_object", 28,
         "SELECT ordinal, result FROM streamhouse.agent_present_object($1, $2, $3, $4, $5, $6, $7, $8, $9, "
         "$10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28)"},
    [SH_PG_NEXT_TWICE] = {"next_twice", 1,
                          "SELECT topic_id, partition, void_from, void_end, first_offset, base_offset, "
                          "last_offset, epoch, object_key, \"position\", length, records "
                          "FROM streamhouse.agent_next_twice($1)"},
    [SH_PG_VOID_TWICE] =
        {"void_twice", 12,
         "SELECT streamhouse.agent_void_twice($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"},
    [SH_PG_PRESENTED] = {"presented", 2, "SELECT streamhouse.agent_presented($1, $2)"},
    [SH_PG_DESCRIBE] =
        {"describe", 1,
         "SELECT p.topic_id, p.topic, t.durability, t.retention, t.segment_bytes, p.partition, "
         "p.owner, p.epoch, p.log_start, p.published_end, p.records, p.bytes "
         "FROM streamhouse.partitions AS p JOIN streamhouse.topic AS t USING (topic_id) "
         "WHERE $1::text[] = '{}' OR p.topic = ANY ($1::text[]) "
         "ORDER BY p.topic, p.partition"},
    [SH_PG_TOPIC_SCHEMAS] = {"topic_schemas", 1,
                             "SELECT schema_version, topic_id, part, validation, strategy, record_name, "
                             "schema_ids FROM streamhouse.agent_topic_schemas($1)"},
    [SH_PG_SCHEMA_TEXTS] =
        {"schema_texts", 1,
         "SELECT s.type, s.schema, d.name, d.text FROM streamhouse.agent_schema_by_id($1) AS s "
         "LEFT JOIN LATERAL unnest(s.dependency_names, s.dependency_texts) WITH ORDINALITY "
         "AS d(name, text, ordinal) ON true ORDER BY d.ordinal"},
    [SH_PG_SCHEMAS_SEEN] = {"schemas_seen", 2, "SELECT streamhouse.agent_schemas_seen($1, $2)"},
    [SH_PG_LOG_STARTS] = {"log_starts", 1,
                          "SELECT topic_id, partition, log_start, log_start_version "
                          "FROM streamhouse.agent_log_starts($1)"},
    [SH_PG_MARKER_DUE] = {"marker_due", 1, "SELECT streamhouse.agent_marker_due($1)"},
    [SH_PG_MARKER_NEXT] = {"marker_next", 6,
                           "SELECT action, number, body "
                           "FROM streamhouse.agent_marker_next($1, $2, $3, $4, $5, $6)"},
    [SH_PG_MARKER_CONFIRM] = {"marker_confirm", 7,
                              "SELECT action, number, body "
                              "FROM streamhouse.agent_marker_confirm($1, $2, $3, $4, $5, $6, $7)"},
    [SH_PG_SNAPSHOT_CLAIM] = {"snapshot_claim", 1,
                              "SELECT number, give_up_below FROM streamhouse.agent_snapshot_claim($1)"},
    [SH_PG_SNAPSHOT_RENEW] = {"snapshot_renew", 2, "SELECT streamhouse.agent_snapshot_renew($1, $2)"},
    [SH_PG_SNAPSHOT_FAILED] = {"snapshot_failed", 3, "SELECT streamhouse.agent_snapshot_failed($1, $2, $3)"},
    [SH_PG_SNAPSHOT_DONE] = {"snapshot_done", 3, "SELECT streamhouse.agent_snapshot_done($1, $2, $3)"},
    [SH_PG_SNAPSHOTS_GONE] = {"snapshots_gone", 2, "SELECT streamhouse.agent_snapshots_gone($1, $2)"},
    [SH_PG_GARBAGE] = {"garbage", 2,
                       "SELECT object_id, object_key, bytes FROM streamhouse.agent_garbage($1, $2)"},
    [SH_PG_GARBAGE_DONE] = {"garbage_done", 2, "SELECT streamhouse.agent_garbage_done($1, $2)"},
    [SH_PG_SCAN_CLAIM] = {"scan_claim", 1, "SELECT streamhouse.agent_scan_claim($1)"},
    [SH_PG_SCAN_DONE] = {"scan_done", 1, "SELECT streamhouse.agent_scan_done($1)"},
    [SH_PG_UNKNOWN_OBJECTS] = {"unknown_objects", 3,
                               "SELECT object_key FROM streamhouse.agent_unknown_objects($1, $2, $3)"},
    [SH_PG_SCRUB_OBJECTS] = {"scrub_objects", 3,
                             "SELECT object_key, finding, bytes, stored_bytes "
                             "FROM streamhouse.scrub_objects($1, $2, $3)"},
    [SH_PG_SCRUB_SEGMENTS] = {"scrub_segments", 1,
                              "SELECT object_key, topic, partition, first_offset, last_offset, records "
                              "FROM streamhouse.scrub_segments($1)"},
    [SH_PG_COMPACTION_CLAIM] =
        {"compaction_claim", 2,
         "SELECT topic_id, partition, first_offset, base_offset, last_offset, epoch, object_id, "
         "object_key, \"position\", length FROM streamhouse.agent_compaction_claim($1, $2)"},
    [SH_PG_ANNOUNCE_OBJECT] = {"announce_object", 4,
                               "SELECT streamhouse.agent_announce_object($1, $2, $3, $4)"},
    [SH_PG_GIVE_UP_OBJECT] = {"give_up_object", 2, "SELECT streamhouse.agent_give_up_object($1, $2)"},
    [SH_PG_COMPACTION_SWAP] =
        {"compaction_swap", 14,
         "SELECT streamhouse.agent_compaction_swap($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, "
         "$13, $14)"},
};

static ShStatus prepare(ShPg *pg, ShPgStatement statement, int64_t deadline_ms, ShError *err);
static bool needs_new_connection(const ShPg *pg, ShStatus status);

ShStatus sh_pg_call(ShPg *pg, ShPgStatement statement, const char *const *values, PGresult **out,
                    ShError *err)
{
    ShStatus status = sh_pg_connect(pg, err);
    int64_t deadline_ms = sh_clock_now_ms() + pg->timeout_ms;
    if (status == SH_OK)
        status = prepare(pg, statement, deadline_ms, err);
    if (status != SH_OK)
        return status;
    int64_t seen = pg->calls != NULL ? atomic_load(pg->calls) : 0;
    if (!PQsendQueryPrepared(pg->conn, statements[statement].name, statements[statement].value_count, values,
                             NULL, NULL, 0)) {
        status = sh_pg_fail_connection(pg->conn, "cannot ask PostgreSQL", err);
        sh_pg_disconnect(pg);
        return status;
    }
    PGresult *result;
    status = sh_pg_receive(pg, deadline_ms, &result, err);
    if (status != SH_OK) {
        if (needs_new_connection(pg, status))
            sh_pg_disconnect(pg);
        return status;
    }
    status = sh_pg_note_calls(pg, seen, err);
    if (status == SH_OK)
        *out = result;
    else
        PQclear(result);
    return status;
}

ShStatus sh_pg_call_row(ShPg *pg, ShPgStatement statement, const char *const *values, PGresult **out,
                        ShError *err)
{
    PGresult *result;
    ShStatus status = sh_pg_call(pg, statement, values, &result, err);
    if (status != SH_OK)
        return status;
    status = sh_pg_expect_rows(result, 1, err);
    if (status != SH_OK)
        PQclear(result);
    else
        *out = result;
    return status;
}

ShStatus sh_pg_call_bool(ShPg *pg, ShPgStatement statement, const char *const *values, bool *out,
                         ShError *err)
{
    PGresult *result;
    ShStatus status = sh_pg_call_row(pg, statement, values, &result, err);
    if (status != SH_OK)
        return status;
    ShPgRow row = {.result = result};
    *out = sh_pg_row_bool(&row);
    status = sh_pg_row_end(&row, err);
    PQclear(result);
    return status;
}

/* Prepared statements outlive an update of the extension only in part, and another server process behind a
 * pooler knows none or another's: a new connection prepares them anew. */
static bool needs_new_connection(const ShPg *pg, ShStatus status)
{
    if (pg->conn == NULL)
        return false;
    const char *sqlstate = PQresultErrorField(pg->refused, PG_DIAG_SQLSTATE);
    return status == SH_UNSUPPORTED ||
           (sqlstate != NULL && (strcmp(sqlstate, "26000") == 0 || strcmp(sqlstate, "42P05") == 0));
}

static ShStatus prepare(ShPg *pg, ShPgStatement statement, int64_t deadline_ms, ShError *err)
{
    uint64_t bit = UINT64_C(1) << statement;
    if ((pg->prepared & bit) != 0)
        return SH_OK;
    if (!PQsendPrepare(pg->conn, statements[statement].name, statements[statement].sql, 0, NULL)) {
        ShStatus status = sh_pg_fail_connection(pg->conn, "cannot ask PostgreSQL", err);
        sh_pg_disconnect(pg);
        return status;
    }
    PGresult *result;
    ShStatus status = sh_pg_receive(pg, deadline_ms, &result, err);
    if (status != SH_OK) {
        if (needs_new_connection(pg, status))
            sh_pg_disconnect(pg);
        return status;
    }
    PQclear(result);
    pg->prepared |= bit;
    return SH_OK;
}
