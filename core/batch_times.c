#include <inttypes.h>

#include "core/batch.h"

#define NO_TIMESTAMP (-1) /* a record that has none is no older than any bound */

static ShStatus check_record(int64_t timestamp_ms, const ShTimeRule *rule, int64_t now_ms, ShError *err);
static uint64_t distance_ms(int64_t from_ms, int64_t to_ms);

ShStatus sh_batch_check_times(const uint8_t *batch, const ShBatchHeader *header, const ShTimeRule *rule,
                              int64_t now_ms, size_t decompressed_bytes_max, ShScratch *scratch, ShError *err)
{
    /* The header has the newest time; the oldest only the records have. */
    if (rule->is_append_time ||
        (rule->before_max_ms < 0 && check_record(header->max_timestamp_ms, rule, now_ms, NULL) == SH_OK))
        return SH_OK;
    ShBatchReader reader;
    ShStatus status = sh_batch_reader_init(&reader, batch, header->total_bytes, decompressed_bytes_max,
                                           scratch, err);
    bool more = status == SH_OK;
    for (int32_t i = 0; more; i++) {
        ShRecord record;
        status = sh_batch_reader_next(&reader, &record, &more, err);
        if (status != SH_OK || !more)
            break;
        status = check_record(record.timestamp_ms, rule, now_ms, err);
        if (status != SH_OK)
            return sh_fail_prefix(err, status, "record %" PRId32, i);
    }
    return status;
}

static ShStatus check_record(int64_t timestamp_ms, const ShTimeRule *rule, int64_t now_ms, ShError *err)
{
    if (rule->after_max_ms >= 0 && timestamp_ms > now_ms &&
        distance_ms(now_ms, timestamp_ms) > (uint64_t)rule->after_max_ms)
        return sh_fail(
            err, SH_INVALID,
            "its time %lld is %llu ms after the agent's: the topic allows %lld (timestamp_after_max)",
            (long long)timestamp_ms, (unsigned long long)distance_ms(now_ms, timestamp_ms),
            (long long)rule->after_max_ms);
    if (rule->before_max_ms >= 0 && timestamp_ms < now_ms && timestamp_ms != NO_TIMESTAMP &&
        distance_ms(timestamp_ms, now_ms) > (uint64_t)rule->before_max_ms)
        return sh_fail(
            err, SH_INVALID,
            "its time %lld is %llu ms before the agent's: the topic allows %lld (timestamp_before_max)",
            (long long)timestamp_ms, (unsigned long long)distance_ms(timestamp_ms, now_ms),
            (long long)rule->before_max_ms);
    return SH_OK;
}

/* Of two times in their order; what lies between can be more than a signed number holds. */
static uint64_t distance_ms(int64_t from_ms, int64_t to_ms)
{
    return (uint64_t)to_ms - (uint64_t)from_ms;
}
