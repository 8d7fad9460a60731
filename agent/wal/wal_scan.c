#include "agent/wal/wal_scan.h"

static bool take_frame(ShWalScan *scan, const ShWalFrame *frame, const uint8_t *batch);
static int64_t furthest_proof(const ShWalFileId *file, const uint8_t *bytes, size_t length, int64_t from);
static int64_t nonzero_bytes(const uint8_t *bytes, size_t length, int64_t from);

void sh_wal_scan(const ShWalFileId *file, const uint8_t *bytes, size_t length, ShWalScan *out)
{
    ShWalScan scan = {.end = SH_WAL_FILE_HEADER_BYTES};
    ShWalFrame frame;
    while (sh_wal_decode_frame(file, bytes, length, scan.end, &frame) &&
           take_frame(&scan, &frame, bytes + scan.end + SH_WAL_FRAME_HEADER_BYTES))
        ;
    if (!scan.ended) {
        int64_t proven = furthest_proof(file, bytes, length, scan.end);
        if (proven > scan.proven)
            scan.proven = proven;
        scan.torn_bytes = nonzero_bytes(bytes, length, scan.end);
    }
    *out = scan;
}

/* Count the frame at scan->end and step over it; false when the walk ends here. */
static bool take_frame(ShWalScan *scan, const ShWalFrame *frame, const uint8_t *batch)
{
    if (frame->type == SH_WAL_FRAME_BATCH && !sh_wal_batch_intact(batch, frame->batch_length))
        return false;
    if (frame->type == SH_WAL_FRAME_CUT && scan->end != SH_WAL_FILE_HEADER_BYTES)
        return false;
    if (frame->synced > scan->proven)
        scan->proven = frame->synced;

    switch (frame->type) {
    case SH_WAL_FRAME_BATCH:
        scan->last_frame = scan->end;
        scan->batches++;
        scan->batch_bytes += (int64_t)frame->batch_length;
        break;
    case SH_WAL_FRAME_CUT:
        scan->has_cut = true;
        scan->cut = *frame;
        break;
    case SH_WAL_FRAME_END:
        scan->ended = true;
        return false;
    }
    scan->end += sh_wal_frame_bytes(frame->batch_length);
    return true;
}

/* Behind damage the length of a frame cannot be trusted, so every place where one may begin is tried. */
static int64_t furthest_proof(const ShWalFileId *file, const uint8_t *bytes, size_t length, int64_t from)
{
    int64_t proven = 0;
    ShWalFrame frame;
    for (int64_t position = from; (uint64_t)position < length; position += SH_WAL_ALIGN_BYTES) {
        if (bytes[position] != 0 && sh_wal_decode_frame(file, bytes, length, position, &frame) &&
            frame.synced > proven)
            proven = frame.synced;
    }
    return proven;
}

static int64_t nonzero_bytes(const uint8_t *bytes, size_t length, int64_t from)
{
    int64_t last = (int64_t)length;
    while (last > from && bytes[last - 1] == 0)
        last--;
    return last > from ? last - from : 0;
}
