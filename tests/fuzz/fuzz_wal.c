/*
 * fuzz_wal.c - the reading of a WAL file from arbitrary bytes. Each input is scanned as it is, and once more
 * with the checksums of everything that looks like a frame made right, so that the fuzzer gets behind them;
 * and each time as a new file and as a recycled one.
 */
// link: agent/wal/wal_format.c agent/wal/wal_scan.c
#include <stdlib.h>

#include "agent/wal/wal_scan.h"
#include "core/crc32c.h"

#define REQUIRE(condition)                                                                                   \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            abort();                                                                                         \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
static void scan(const ShWalFileId *id, const uint8_t *bytes, size_t size);
static void repair_frames(const ShWalFileId *id, uint8_t *bytes, size_t size);
static void repair_frame(const ShWalFileId *id, uint8_t *bytes, size_t size, size_t position);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ShWalFileHeader header;
    if (sh_wal_decode_file_header(data, size, &header, NULL) != SH_OK)
        header = (ShWalFileHeader){.id.file_no = 1};
    scan(&header.id, data, size);

    uint8_t *repaired = malloc(size + 1);
    REQUIRE(repaired != NULL);
    memcpy(repaired, data, size);
    repair_frames(&header.id, repaired, size);
    scan(&header.id, repaired, size);
    free(repaired);
    return 0;
}

static void scan(const ShWalFileId *id, const uint8_t *bytes, size_t size)
{
    ShWalScan found, again, recycled;
    ShWalFileHeader header = {.id = *id};
    sh_wal_scan(&header, bytes, size, &found);
    REQUIRE(found.end == SH_WAL_FILE_HEADER_BYTES || (uint64_t)found.end <= size);
    REQUIRE(found.end % SH_WAL_ALIGN_BYTES == 0);
    REQUIRE(found.batch_bytes >= found.batches * SH_BATCH_HEADER_BYTES && found.batch_bytes <= found.end);
    REQUIRE((found.batches > 0) == (found.last_frame > 0) && found.last_frame < found.end);
    REQUIRE(found.proven >= 0 && (uint64_t)found.proven <= size);
    REQUIRE(found.torn_bytes >= 0 && (uint64_t)found.torn_bytes <= size);

    /* What the file held before changes no judgement, and counts for nothing. */
    header.former_no = 7;
    sh_wal_scan(&header, bytes, size, &recycled);
    REQUIRE(recycled.end == found.end && recycled.proven == found.proven);
    REQUIRE(recycled.torn_bytes >= 0 && (uint64_t)recycled.torn_bytes <= size);

    /* What was found whole stands on its own: without the bytes behind it the same is found. */
    if ((uint64_t)found.end <= size) {
        sh_wal_scan(&header, bytes, (size_t)found.end, &again);
        REQUIRE(again.end == found.end && again.batches == found.batches && again.torn_bytes == 0);
        REQUIRE(!sh_wal_scan_is_corrupt(&again) && again.has_cut == found.has_cut);
    }
}

static void repair_frames(const ShWalFileId *id, uint8_t *bytes, size_t size)
{
    for (size_t position = SH_WAL_FILE_HEADER_BYTES; position + SH_WAL_FRAME_HEADER_BYTES <= size;
         position += SH_WAL_ALIGN_BYTES) {
        if (memcmp(bytes + position, "SHFR", 4) == 0)
            repair_frame(id, bytes, size, position);
    }
}

static void repair_frame(const ShWalFileId *id, uint8_t *bytes, size_t size, size_t position)
{
    uint8_t *header = bytes + position;
    uint8_t *batch = header + SH_WAL_FRAME_HEADER_BYTES;
    size_t room = size - position - SH_WAL_FRAME_HEADER_BYTES;
    size_t length = sh_get_u32(header + 12);
    bool is_batch = header[8] == SH_WAL_FRAME_BATCH;
    if (is_batch && (length < SH_BATCH_HEADER_BYTES || length > room))
        return;
    if (is_batch && header[9] == 0) { /* the fuzzer may leave the batch itself damaged */
        sh_put_u32(batch + 8, (uint32_t)(length - 12));
        sh_put_u32(batch + 17,
                   sh_crc32c(batch + SH_BATCH_UNCOVERED_BYTES, length - SH_BATCH_UNCOVERED_BYTES));
    }

    ShWalFrame frame = {.type = (ShWalFrameType)header[8],
                        .synced = (int64_t)sh_get_u64(header + 48),
                        .partition = (int32_t)sh_get_u32(header + 32),
                        .epoch = (int64_t)sh_get_u64(header + 40),
                        .batch_length = length,
                        .cut_file_no = sh_get_u64(header + 16),
                        .cut_position = (int64_t)sh_get_u64(header + 24),
                        .cut_through = (int64_t)sh_get_u64(header + 40)};
    memcpy(frame.topic_id.bytes, header + 16, sizeof frame.topic_id.bytes);
    uint8_t encoded[SH_WAL_FRAME_HEADER_BYTES];
    sh_wal_encode_frame(id, (int64_t)position, &frame, is_batch ? batch : NULL, encoded);
    memcpy(header, encoded, sizeof encoded);
}
