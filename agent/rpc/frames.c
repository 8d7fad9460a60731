#include "agent/rpc/frames.h"

#define PREFACE_BYTES 24
/* gRPC refuses headers of 8 KiB, once it has them all. */
#define BLOCK_BYTES_MAX   (64 << 10)
#define BLOCK_FRAME_BYTES 64
/* Window updates, pings, settings and what nobody knows: each costs gRPC about as much as a small DATA frame,
 * and an honest client sends one or two for each frame that it receives. */
#define TALK_A_MS 200
#define TALK_MAX  400000

enum { DATA = 0, HEADERS = 1, RST_STREAM = 3, CONTINUATION = 9 };
enum { END_HEADERS = 4, PADDED = 8 };

static size_t gather_head(ShFrames *frames, const uint8_t *bytes, size_t length);
static const char *begin(ShFrames *frames, const uint8_t *head, int64_t now_ms);
static const char *begin_headers(ShFrames *frames, const uint8_t *head);
static const char *add_to_block(ShFrames *frames);
static const char *count_talk(ShFrames *frames, int64_t now_ms);
static size_t take_payload(ShFrames *frames, const uint8_t *bytes, size_t length);
static size_t smaller(size_t left, size_t right);

const char *sh_frames_take(ShFrames *frames, const uint8_t *bytes, size_t length, int64_t now_ms)
{
    size_t at = smaller(PREFACE_BYTES - frames->preface_bytes, length);
    frames->preface_bytes += (uint32_t)at;
    while (at < length) {
        const uint8_t *head = bytes + at;
        if (frames->payload_left > 0) {
            at += take_payload(frames, bytes + at, length - at);
            continue;
        }
        if (frames->head_bytes == 0 && length - at >= SH_FRAME_HEAD_BYTES) {
            at += SH_FRAME_HEAD_BYTES; /* as mostly: it lies there whole */
        } else {
            at += gather_head(frames, bytes + at, length - at);
            if (frames->head_bytes < SH_FRAME_HEAD_BYTES)
                break;
            frames->head_bytes = 0;
            head = frames->head;
        }
        const char *fault = begin(frames, head, now_ms);
        if (fault != NULL)
            return fault;
    }
    return NULL;
}

static size_t gather_head(ShFrames *frames, const uint8_t *bytes, size_t length)
{
    size_t count = smaller((size_t)SH_FRAME_HEAD_BYTES - frames->head_bytes, length);
    for (size_t i = 0; i < count; i++)
        frames->head[frames->head_bytes++] = bytes[i];
    return count;
}

static const char *begin(ShFrames *frames, const uint8_t *head, int64_t now_ms)
{
    uint8_t type = head[3];
    uint8_t flags = head[4];
    frames->payload_left = (uint32_t)head[0] << 16 | (uint32_t)head[1] << 8 | head[2];
    frames->is_data = type == DATA;
    frames->wants_padding = type == DATA && (flags & PADDED) != 0;
    frames->padding_left = 0;
    if (type == DATA && frames->payload_left > 0)
        return NULL;
    const char *fault = NULL;
    if (type == HEADERS)
        fault = begin_headers(frames, head);
    else if (type == CONTINUATION && frames->in_block)
        fault = add_to_block(frames);
    else
        fault = count_talk(frames, now_ms);
    if (type == RST_STREAM)
        frames->reset++;
    if ((type == HEADERS || type == CONTINUATION) && (flags & END_HEADERS) != 0)
        frames->in_block = false;
    return fault;
}

/* A client of gRPC sends headers once for each call, and each call has a higher number than the last. */
static const char *begin_headers(ShFrames *frames, const uint8_t *head)
{
    uint32_t stream = (uint32_t)(head[5] & 0x7F) << 24 | (uint32_t)head[6] << 16 | (uint32_t)head[7] << 8 |
                      head[8];
    if (stream <= frames->last_stream)
        return "sends headers of no new call";
    frames->last_stream = stream;
    frames->opened++;
    frames->in_block = true;
    frames->block_bytes = 0;
    return add_to_block(frames);
}

static const char *add_to_block(ShFrames *frames)
{
    frames->block_bytes += frames->payload_left + BLOCK_FRAME_BYTES;
    return frames->block_bytes > BLOCK_BYTES_MAX ? "sends headers without an end" : NULL;
}

static const char *count_talk(ShFrames *frames, int64_t now_ms)
{
    if (frames->talk_spare == 0) {
        int64_t earned = (now_ms - frames->talk_ms) * TALK_A_MS;
        frames->talk_spare = frames->talk_ms == 0 || earned > TALK_MAX ? TALK_MAX : earned;
        frames->talk_ms = now_ms;
    }
    if (frames->talk_spare <= 0)
        return "sends frames that carry nothing";
    frames->talk_spare--;
    return NULL;
}

/* As much as there is of the frame under way; at least a byte. */
static size_t take_payload(ShFrames *frames, const uint8_t *bytes, size_t length)
{
    size_t count = smaller(frames->payload_left, length);
    if (!frames->is_data) {
        frames->payload_left -= (uint32_t)count;
        return count;
    }
    if (frames->wants_padding) {
        count = 1;
        frames->wants_padding = false;
        frames->padding_left = bytes[0];
    } else if (frames->payload_left > frames->padding_left) {
        count = smaller(frames->payload_left - frames->padding_left, length);
        frames->data_bytes += (int64_t)count;
    }
    frames->payload_left -= (uint32_t)count;
    return count;
}

static size_t smaller(size_t left, size_t right)
{
    return left < right ? left : right;
}
