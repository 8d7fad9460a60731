#include "agent/rpc/frames.h"

#include <string.h>

#define PREFACE_BYTES 24
static const char preface[PREFACE_BYTES + 1] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/* gRPC refuses headers of 8 KiB, once it has them all. */
#define BLOCK_BYTES_MAX   (64 << 10)
#define BLOCK_FRAME_BYTES 64
/* Window updates, pings, settings and what nobody knows: each costs gRPC about as much as a small DATA frame,
 * and an honest client sends one or two for each frame that it receives. Of these small ones there are few,
 * and headers cost for each field, which may be a byte. */
#define TALK_A_MS          200
#define TALK_MAX           400000
#define SMALL_DATA_BYTES   64
#define HEADERS_TALK_BYTES 64

enum { DATA = 0, HEADERS = 1, RST_STREAM = 3, CONTINUATION = 9 };
enum { END_STREAM = 1, END_HEADERS = 4, PADDED = 8 };

static size_t gather_head(ShFrames *frames, const uint8_t *bytes, size_t length);
static const char *begin(ShFrames *frames, const uint8_t *head, int64_t now_ms);
static const char *begin_headers(ShFrames *frames, const uint8_t *head);
static const char *add_to_block(ShFrames *frames);
static const char *count_talk(ShFrames *frames, int64_t cost, int64_t now_ms);
static size_t take_payload(ShFrames *frames, const uint8_t *bytes, size_t length);
static size_t smaller(size_t left, size_t right);

const char *sh_frames_take(ShFrames *frames, const uint8_t *bytes, size_t length, int64_t now_ms)
{
    size_t at = smaller(PREFACE_BYTES - frames->preface_bytes, length);
    if (at > 0)
        frames->is_other |= memcmp(bytes, preface + frames->preface_bytes, at) != 0;
    frames->preface_bytes += (uint32_t)at;
    while (at < length && !frames->is_other) {
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
    if (type == DATA && frames->payload_left >= SMALL_DATA_BYTES)
        return NULL;
    bool is_headers = type == HEADERS || (type == CONTINUATION && frames->in_block);
    const char *fault = count_talk(frames, is_headers ? 1 + frames->payload_left / HEADERS_TALK_BYTES : 1,
                                   now_ms);
    if (fault == NULL && type == HEADERS)
        fault = begin_headers(frames, head);
    else if (fault == NULL && is_headers)
        fault = add_to_block(frames);
    if (type == RST_STREAM)
        frames->reset++;
    if (is_headers && (flags & END_HEADERS) != 0)
        frames->in_block = false;
    return fault;
}

/* A client's calls have odd numbers, each higher than the last. Headers of one that is there end it, if they
 * are anything: no client of gRPC sends such, but proxies may pass them on. */
static const char *begin_headers(ShFrames *frames, const uint8_t *head)
{
    uint32_t stream = (uint32_t)(head[5] & 0x7F) << 24 | (uint32_t)head[6] << 16 | (uint32_t)head[7] << 8 |
                      head[8];
    bool is_new = stream > frames->last_stream;
    bool may_end = (head[4] & END_STREAM) != 0 && frames->trailers < frames->opened;
    if (stream % 2 == 0 || !(is_new || may_end))
        return "sends headers of no new call";
    if (is_new)
        frames->last_stream = stream;
    frames->opened += is_new;
    frames->trailers += !is_new;
    frames->in_block = true;
    frames->block_bytes = 0;
    return add_to_block(frames);
}

static const char *add_to_block(ShFrames *frames)
{
    frames->block_bytes += frames->payload_left + BLOCK_FRAME_BYTES;
    return frames->block_bytes > BLOCK_BYTES_MAX ? "sends headers without an end" : NULL;
}

static const char *count_talk(ShFrames *frames, int64_t cost, int64_t now_ms)
{
    if (frames->talk_spare < cost) {
        int64_t earned = frames->talk_spare + (now_ms - frames->talk_ms) * TALK_A_MS;
        frames->talk_spare = frames->talk_ms == 0 || earned > TALK_MAX ? TALK_MAX : earned;
        frames->talk_ms = now_ms;
    }
    if (frames->talk_spare < cost)
        return "sends frames that carry nothing";
    frames->talk_spare -= cost;
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
