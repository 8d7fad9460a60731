/*
 * wal_format.h - the bytes of a WAL file: pure encoding and decoding, no I/O.
 *
 * All integers are big-endian. A file is a header, frames one after the other, each on a multiple of 8 bytes,
 * and up to its preallocated size zeros, or what it held under a former number. A file that was filled,
 * closed or repaired ends with an END frame.
 *
 *   file header
 *   offset  bytes  field
 *        0      8  magic "SHWAL\r\n\0"
 *        8      4  version (1)
 *       12      4  CRC-32C of bytes 16 to 47
 *       16     16  WAL uuid
 *       32      8  file number: incarnation number << 32 | a number that rises by one
 *       40      8  the number under which the file was filled before; 0: zeros lie behind its frames
 *
 *   frame
 *   offset  bytes  field
 *        0      4  magic "SHFR"
 *        4      4  CRC-32C of: WAL uuid, file number, position of the frame, its bytes 8 to 55, and the first
 *                  21 bytes of the batch, which the batch's own CRC does not cover
 *        8      1  type: 1 BATCH, 2 END, 3 CUT
 *        9      3  zero
 *       12      4  batch length (BATCH; else 0)
 *       16     16  topic id     (BATCH)   | CUT: number of the dead file (8), position at which it ends (8)
 *       32      4  partition    (BATCH)
 *       36      4  zero
 *       40      8  epoch        (BATCH)   | CUT: position in this file behind the last rewritten frame
 *       48      8  synced: everything of this file before that position was synced when the frame was written
 *       56      -  the batch, then zeros up to a multiple of 8
 *
 * The WAL uuid, the file number and the position are in the CRC and not in the frame, so what the file held
 * under a former number, or another file left in the same disk blocks, never passes for a frame of this one.
 */
#ifndef SH_AGENT_WAL_WAL_FORMAT_H
#define SH_AGENT_WAL_WAL_FORMAT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/batch.h"
#include "core/bytes.h"
#include "core/status.h"

#define SH_WAL_FILE_HEADER_BYTES  48
#define SH_WAL_FRAME_HEADER_BYTES 56
#define SH_WAL_ALIGN_BYTES        8
#define SH_WAL_BATCH_BYTES_MAX    ((size_t)1 << 30)

typedef enum ShWalFrameType {
    SH_WAL_FRAME_BATCH = 1,
    SH_WAL_FRAME_END = 2,
    SH_WAL_FRAME_CUT = 3
} ShWalFrameType;

/* What tells one WAL file from all others. */
typedef struct ShWalFileId {
    ShUuid wal_uuid;
    uint64_t file_no;
} ShWalFileId;

typedef struct ShWalFileHeader {
    ShWalFileId id;
    uint64_t former_no; /* of a recycled file: what follows its frames is of that number; else 0 */
} ShWalFileHeader;

typedef struct ShWalFrame {
    ShWalFrameType type;
    int64_t synced;

    /* BATCH */
    ShUuid topic_id;
    int32_t partition;
    int64_t epoch;
    size_t batch_length;

    /* CUT: the file `cut_file_no` ended at `cut_position` when a write or sync of it failed; what followed
     * there was written again to this file and is whole if this file is whole up to `cut_through`. */
    uint64_t cut_file_no;
    int64_t cut_position;
    int64_t cut_through;
} ShWalFrame;

/* The zeros that follow a batch of that length. */
static inline size_t sh_wal_padding(size_t batch_length)
{
    return (0 - batch_length) % SH_WAL_ALIGN_BYTES;
}

/* The bytes that a frame takes in the file; batch_length 0 for END and CUT. */
static inline int64_t sh_wal_frame_bytes(size_t batch_length)
{
    return (int64_t)(SH_WAL_FRAME_HEADER_BYTES + batch_length + sh_wal_padding(batch_length));
}

void sh_wal_encode_file_header(const ShWalFileHeader *header, uint8_t out[SH_WAL_FILE_HEADER_BYTES]);

/* SH_CORRUPT when the bytes are no WAL file's, SH_UNSUPPORTED when a newer version wrote them. */
ShStatus sh_wal_decode_file_header(const uint8_t *bytes, size_t length, ShWalFileHeader *out,
                                   ShError *err) SH_MUST_CHECK;

/* Encode the header of a frame at `position`. `batch` (NULL unless BATCH) is read for its first 21 bytes
 * only. */
void sh_wal_encode_frame(const ShWalFileId *file, int64_t position, const ShWalFrame *frame,
                         const uint8_t *batch, uint8_t out[SH_WAL_FRAME_HEADER_BYTES]);

/* Decode the frame at `position` of the file whose first `length` bytes are `bytes`. False when there is
 * none, or when it does not end within them. The batch, at position + SH_WAL_FRAME_HEADER_BYTES, is not
 * looked at beyond its first 21 bytes: see sh_wal_batch_intact. */
bool sh_wal_decode_frame(const ShWalFileId *file, const uint8_t *bytes, size_t length, int64_t position,
                         ShWalFrame *out);

/* Whether a batch matches its own CRC and length. */
bool sh_wal_batch_intact(const uint8_t *batch, size_t length);

#endif
