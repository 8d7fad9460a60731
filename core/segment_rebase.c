#include <inttypes.h>

#include "core/crc32c.h"
#include "core/segment.h"
#include "core/segment_format.h"

static bool is_whole(const uint8_t *batch, size_t length);
static ShStatus check_batch(const uint8_t *batch, size_t length, int64_t first_offset, ShBatchHeader *header,
                            ShError *err) SH_MUST_CHECK;

ShStatus sh_segment_rebase(uint8_t *run, size_t length, int64_t first_offset, int32_t leader_epoch,
                           size_t *usable, ShError *err)
{
    if (first_offset < 0)
        return sh_fail(err, SH_INVALID, "a run cannot start at offset %" PRId64, first_offset);
    size_t position = 0;
    int64_t expected = 0; /* relative offset of the next batch, known from the second one on */
    while (is_whole(run + position, length - position)) {
        uint8_t *batch = run + position;
        ShBatchHeader header;
        ShStatus status = check_batch(batch, length - position, first_offset, &header, err);
        if (status != SH_OK)
            return status;
        if (position > 0 && header.base_offset != expected)
            return sh_fail(err, SH_CORRUPT,
                           "stored batch at relative offset %" PRId64 " where %" PRId64 " must follow",
                           header.base_offset, expected);
        expected = header.base_offset + sh_segment_batch_offsets(&header);

        sh_batch_set_base_offset(batch, first_offset + header.base_offset);
        sh_batch_set_leader_epoch(batch, leader_epoch);
        position += header.total_bytes;
    }
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

static ShStatus check_batch(const uint8_t *batch, size_t length, int64_t first_offset, ShBatchHeader *header,
                            ShError *err)
{
    ShError problem;
    if (sh_batch_peek(batch, length, header, &problem) != SH_OK)
        return sh_fail(err, SH_CORRUPT, "stored batch is damaged: %s", problem.message);
    if (sh_crc32c(batch + SH_BATCH_UNCOVERED_BYTES, header->total_bytes - SH_BATCH_UNCOVERED_BYTES) !=
        header->crc)
        return sh_fail(err, SH_CORRUPT, "stored batch at relative offset %" PRId64 " with a wrong checksum",
                       header->base_offset);
    int64_t offsets = sh_segment_batch_offsets(header);
    if (offsets == 0 || header->base_offset < 0 || header->base_offset > INT64_MAX - first_offset - offsets)
        return sh_fail(err, SH_CORRUPT, "stored batch with a relative offset of %" PRId64,
                       header->base_offset);
    return SH_OK;
}
