#include <inttypes.h>

#include "core/crc32c.h"
#include "core/segment.h"
#include "core/segment_format.h"

static bool is_whole(const uint8_t *batch, size_t length);
static ShStatus check_batch(const uint8_t *batch, size_t length, int64_t expected, int64_t end,
                            ShBatchHeader *header, ShError *err) SH_MUST_CHECK;

ShStatus sh_segment_rebase(uint8_t *bytes, size_t length, const ShRunRange *range, size_t *usable,
                           ShError *err)
{
    if (range->base_offset < 0 || range->from_offset < range->base_offset ||
        range->end_offset <= range->from_offset)
        return sh_fail(err, SH_INVALID, "no run has the offsets %" PRId64 " to %" PRId64 " from %" PRId64,
                       range->base_offset, range->end_offset, range->from_offset);
    size_t position = 0;
    /* Relative to the run, as the batches have it. */
    int64_t expected = range->from_offset - range->base_offset;
    int64_t end = range->end_offset - range->base_offset;
    while (is_whole(bytes + position, length - position)) {
        uint8_t *batch = bytes + position;
        ShBatchHeader header;
        ShStatus status = check_batch(batch, length - position, expected, end, &header, err);
        if (status != SH_OK)
            return status;
        expected += sh_segment_batch_offsets(&header);
        sh_batch_set_base_offset(batch, range->base_offset + header.base_offset);
        sh_batch_set_leader_epoch(batch, range->leader_epoch);
        position += header.total_bytes;
    }
    if (range->is_rest && (position != length || expected != end))
        return sh_fail(err, SH_CORRUPT,
                       "stored run that ends at relative offset %" PRId64 " instead of %" PRId64
                       ", with %zu bytes left over",
                       expected, end, length - position);
    *usable = position;
    return SH_OK;
}

/* Whether the bytes hold all that the batch's length field asks for; a nonsensical length counts as whole,
 * and is found by the check. */
static bool is_whole(const uint8_t *batch, size_t length)
{
    if (length < SH_BATCH_HEADER_BYTES)
        return false;
    uint32_t batch_length = sh_get_u32(batch + 8);
    return batch_length > INT32_MAX || batch_length + (size_t)12 <= length;
}

static ShStatus check_batch(const uint8_t *batch, size_t length, int64_t expected, int64_t end,
                            ShBatchHeader *header, ShError *err)
{
    ShError problem;
    if (sh_batch_peek(batch, length, header, &problem) != SH_OK)
        return sh_fail(err, SH_CORRUPT, "stored batch is damaged: %s", problem.message);
    if (sh_crc32c(batch + SH_BATCH_UNCOVERED_BYTES, header->total_bytes - SH_BATCH_UNCOVERED_BYTES) !=
        header->crc)
        return sh_fail(err, SH_CORRUPT, "stored batch at relative offset %" PRId64 " with a wrong checksum",
                       header->base_offset);
    if (header->base_offset != expected)
        return sh_fail(err, SH_CORRUPT,
                       "stored batch at relative offset %" PRId64 " where %" PRId64 " must follow",
                       header->base_offset, expected);
    int64_t offsets = sh_segment_batch_offsets(header);
    if (offsets == 0 || offsets > end - expected)
        return sh_fail(err, SH_CORRUPT,
                       "stored batch of %" PRId64 " offsets at relative offset %" PRId64
                       " of a run of %" PRId64,
                       offsets, expected, end);
    return SH_OK;
}
