#include "agent/wal/wal_scan.h"

static bool take_frame(ShWalScan *scan, const ShWalFrame *frame, const uint8_t *batch);
static int64_t look_behind(const ShWalFileId *file, const uint8_t *bytes, size_t length, ShWalScan *scan);
static int64_t last_nonzero(const uint8_t *bytes, size_t length, int64_t from);

void sh_wal_scan(const ShWalFileHeader *header, const uint8_t *bytes, size_t length, ShWalScan *out)
{
    const ShWalFileId *file = &header->id;
    ShWalScan scan = {.end = SH_WAL_FILE_HEADER_BYTES};
    ShWalFrame frame;
    while (sh_wal_decode_frame(file, bytes, length, scan.end, &frame) &&
           take_frame(&scan, &frame, bytes + scan.end + SH_WAL_FRAME_HEADER_BYTES))
        ;
    if (!scan.ended) {
        /* Behind the frames of a recycled file lies what it held before: there only a frame tells how far
         * this one was written. */
        int64_t written = look_behind(file, bytes, length, &scan);
        if (header->former_no == 0)
            written = last_nonzero(bytes, length, scan.end);
        scan.torn_bytes = written - scan.end;
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

/* Behind damage the length of a frame cannot be trusted, so every place where one may begin is tried. Notes
 * the furthest synced point that such frames state; returns where the last of them ends. */
static int64_t look_behind(const ShWalFileId *file, const uint8_t *bytes, size_t length, ShWalScan *scan)
{
    int64_t last = scan->end;
    ShWalFrame frame;
    for (int64_t position = scan->end; (uint64_t)position < length; position += SH_WAL_ALIGN_BYTES) {
        if (bytes[position] == 0 || !sh_wal_decode_frame(file, bytes, length, position, &frame))
            continue;
        if (frame.synced > scan->proven)
            scan->proven = frame.synced;
        int64_t end = position + sh_wal_frame_bytes(frame.batch_length);
        if (end > last)
            last = end;
    }
    return last;
}

/* Where the last byte that is not zero ends; `from` when all are. */
static int64_t last_nonzero(const uint8_t *bytes, size_t length, int64_t from)
{
    int64_t last = (int64_t)length;
    while (last > from && bytes[last - 1] == 0)
        last--;
    return last > from ? last : from;
}
