#include "agent/wal/wal_format.h"

#include <string.h>

#include "core/crc32c.h"

#define FORMAT_VERSION  1
#define FRAME_MAGIC     0x53484652u
#define BATCH_LENGTH_AT 8
#define BATCH_CRC_AT    17
#define CRC_END         8 /* a frame's CRC covers its place, its header from here on, and its batch's */
#define PLACE_BYTES     32

#define COVERED_HEADER_BYTES (SH_WAL_FRAME_HEADER_BYTES - CRC_END)

static const uint8_t file_magic[8] = {'S', 'H', 'W', 'A', 'L', '\r', '\n', '\0'};

static uint32_t frame_crc(const ShWalFileId *file, int64_t position, const uint8_t *header,
                          const uint8_t *batch);
static bool decode_batch_fields(const uint8_t *header, size_t room, ShWalFrame *out);
static bool decode_cut_fields(const uint8_t *header, ShWalFrame *out);

void sh_wal_encode_file_header(const ShWalFileHeader *header, uint8_t out[SH_WAL_FILE_HEADER_BYTES])
{
    memset(out, 0, SH_WAL_FILE_HEADER_BYTES);
    memcpy(out, file_magic, sizeof file_magic);
    sh_put_u32(out + 8, FORMAT_VERSION);
    memcpy(out + 16, header->id.wal_uuid.bytes, sizeof header->id.wal_uuid.bytes);
    sh_put_u64(out + 32, header->id.file_no);
    sh_put_u64(out + 40, header->former_no);
    sh_put_u32(out + 12, sh_crc32c(out + 16, SH_WAL_FILE_HEADER_BYTES - 16));
}

ShStatus sh_wal_decode_file_header(const uint8_t *bytes, size_t length, ShWalFileHeader *out, ShError *err)
{
    if (length < SH_WAL_FILE_HEADER_BYTES)
        return sh_fail(err, SH_CORRUPT, "the file header is cut off at %zu bytes", length);
    if (memcmp(bytes, file_magic, sizeof file_magic) != 0)
        return sh_fail(err, SH_CORRUPT, "the file header does not begin with a WAL file's magic");
    uint32_t version = sh_get_u32(bytes + 8);
    if (version != FORMAT_VERSION)
        return sh_fail(err, SH_UNSUPPORTED, "the file is of format version %u, this build reads version %d",
                       version, FORMAT_VERSION);
    if (sh_get_u32(bytes + 12) != sh_crc32c(bytes + 16, SH_WAL_FILE_HEADER_BYTES - 16))
        return sh_fail(err, SH_CORRUPT, "the file header does not match its checksum");
    memcpy(out->id.wal_uuid.bytes, bytes + 16, sizeof out->id.wal_uuid.bytes);
    out->id.file_no = sh_get_u64(bytes + 32);
    out->former_no = sh_get_u64(bytes + 40);
    return SH_OK;
}

void sh_wal_encode_frame(const ShWalFileId *file, int64_t position, const ShWalFrame *frame,
                         const uint8_t *batch, uint8_t out[SH_WAL_FRAME_HEADER_BYTES])
{
    memset(out, 0, SH_WAL_FRAME_HEADER_BYTES);
    sh_put_u32(out, FRAME_MAGIC);
    out[8] = (uint8_t)frame->type;
    if (frame->type == SH_WAL_FRAME_BATCH) {
        sh_put_u32(out + 12, (uint32_t)frame->batch_length);
        memcpy(out + 16, frame->topic_id.bytes, sizeof frame->topic_id.bytes);
        sh_put_u32(out + 32, (uint32_t)frame->partition);
        sh_put_u64(out + 40, (uint64_t)frame->epoch);
    } else if (frame->type == SH_WAL_FRAME_CUT) {
        sh_put_u64(out + 16, frame->cut_file_no);
        sh_put_u64(out + 24, (uint64_t)frame->cut_position);
        sh_put_u64(out + 40, (uint64_t)frame->cut_through);
    }
    sh_put_u64(out + 48, (uint64_t)frame->synced);
    sh_put_u32(out + 4, frame_crc(file, position, out, batch));
}

bool sh_wal_decode_frame(const ShWalFileId *file, const uint8_t *bytes, size_t length, int64_t position,
                         ShWalFrame *out)
{
    if (position < 0 || (uint64_t)position > length || length - (size_t)position < SH_WAL_FRAME_HEADER_BYTES)
        return false;
    const uint8_t *header = bytes + position;
    if (sh_get_u32(header) != FRAME_MAGIC)
        return false;

    size_t room = length - (size_t)position - SH_WAL_FRAME_HEADER_BYTES;
    ShWalFrame frame = {.type = (ShWalFrameType)header[8], .synced = (int64_t)sh_get_u64(header + 48)};
    bool valid;
    switch (frame.type) {
    case SH_WAL_FRAME_BATCH:
        valid = decode_batch_fields(header, room, &frame);
        break;
    case SH_WAL_FRAME_CUT:
        valid = decode_cut_fields(header, &frame);
        break;
    case SH_WAL_FRAME_END:
        valid = true;
        break;
    default:
        valid = false;
    }
    if (!valid || frame.synced < 0 || frame.synced > position)
        return false;

    const uint8_t *batch = frame.type == SH_WAL_FRAME_BATCH ? header + SH_WAL_FRAME_HEADER_BYTES : NULL;
    if (sh_get_u32(header + 4) != frame_crc(file, position, header, batch))
        return false;
    *out = frame;
    return true;
}

bool sh_wal_batch_intact(const uint8_t *batch, size_t length)
{
    /* The batch's own length counts from behind its length field. */
    return length >= SH_BATCH_HEADER_BYTES &&
           sh_get_u32(batch + BATCH_LENGTH_AT) == length - BATCH_LENGTH_AT - 4 &&
           sh_get_u32(batch + BATCH_CRC_AT) ==
               sh_crc32c(batch + SH_BATCH_UNCOVERED_BYTES, length - SH_BATCH_UNCOVERED_BYTES);
}

static uint32_t frame_crc(const ShWalFileId *file, int64_t position, const uint8_t *header,
                          const uint8_t *batch)
{
    /* Side by side: for so few bytes three calls cost more than the copies. */
    uint8_t covered[PLACE_BYTES + COVERED_HEADER_BYTES + SH_BATCH_UNCOVERED_BYTES];
    memcpy(covered, file->wal_uuid.bytes, 16);
    sh_put_u64(covered + 16, file->file_no);
    sh_put_u64(covered + 24, (uint64_t)position);
    memcpy(covered + PLACE_BYTES, header + CRC_END, COVERED_HEADER_BYTES);
    if (batch != NULL)
        memcpy(covered + PLACE_BYTES + COVERED_HEADER_BYTES, batch, SH_BATCH_UNCOVERED_BYTES);
    return sh_crc32c(covered, batch != NULL ? sizeof covered : PLACE_BYTES + COVERED_HEADER_BYTES);
}

static bool decode_batch_fields(const uint8_t *header, size_t room, ShWalFrame *out)
{
    out->batch_length = sh_get_u32(header + 12);
    if (out->batch_length < SH_BATCH_HEADER_BYTES || out->batch_length > room ||
        sh_wal_padding(out->batch_length) > room - out->batch_length)
        return false;
    memcpy(out->topic_id.bytes, header + 16, sizeof out->topic_id.bytes);
    out->partition = (int32_t)sh_get_u32(header + 32);
    out->epoch = (int64_t)sh_get_u64(header + 40);
    return true;
}

static bool decode_cut_fields(const uint8_t *header, ShWalFrame *out)
{
    out->cut_file_no = sh_get_u64(header + 16);
    out->cut_position = (int64_t)sh_get_u64(header + 24);
    out->cut_through = (int64_t)sh_get_u64(header + 40);
    return out->cut_position >= SH_WAL_FILE_HEADER_BYTES && out->cut_through >= SH_WAL_FILE_HEADER_BYTES;
}
