/*
 * frames.h - what a client sends over HTTP/2, frame by frame, as its bytes pass (RFC 9113, sections 4 to 6).
 *
 * gRPC gathers a block of headers until it ends, whatever it comes to and at a cost by the square of its
 * length; it reads headers of calls that are over; and it tells nobody what it holds of messages that are not
 * whole. So frames are counted here, and those that gRPC should not read are found. All else is gRPC's to
 * check. A few instructions for each frame; nothing is kept but a frame's head.
 */
#ifndef SH_AGENT_RPC_FRAMES_H
#define SH_AGENT_RPC_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SH_FRAME_HEAD_BYTES 9

/* Zero-initialise it: a connection begins. */
typedef struct ShFrames {
    uint32_t preface_bytes; /* seen of the client's first words, which are no frame */
    bool is_other;          /* they are not HTTP/2's: gRPC says so, and here nothing is looked at */
    uint8_t head[SH_FRAME_HEAD_BYTES];
    uint8_t head_bytes;    /* seen of the next frame's head */
    uint32_t payload_left; /* of the frame under way */
    uint32_t padding_left; /* of it, at its end */
    bool is_data;          /* the frame under way */
    bool wants_padding;    /* its next byte says how much there is */
    bool in_block;         /* a block of headers has begun and not ended */
    uint32_t block_bytes;  /* of it, and something for each of its frames */
    uint32_t last_stream;  /* the highest that the client has opened */
    int64_t talk_spare;    /* frames that may yet come and carry nothing for a call */
    int64_t talk_ms;       /* when that was reckoned */
    int64_t data_bytes;    /* of messages, with their prefixes */
    int64_t opened;        /* calls that the client has begun */
    int64_t trailers;      /* headers that end one */
    int64_t reset;         /* frames that give one up */
} ShFrames;

/* Take in what came next. NULL, or what is wrong with it: then the connection is to be ended. */
const char *sh_frames_take(ShFrames *frames, const uint8_t *bytes, size_t length, int64_t now_ms);

#endif
