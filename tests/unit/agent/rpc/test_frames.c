/* Frames as their bytes pass: what is counted, and what gRPC should not read. However the bytes are cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/rpc/frames.h"

#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

enum { DATA = 0, HEADERS = 1, PRIORITY = 2, RST_STREAM = 3, SETTINGS = 4, PING = 6, WINDOW_UPDATE = 8 };
enum { CONTINUATION = 9, UNKNOWN = 77 };
enum { END_STREAM = 1, END_HEADERS = 4, PADDED = 8 };

typedef struct Frame {
    uint8_t type, flags;
    uint32_t stream, length;
    uint32_t times;  /* 0: once */
    uint8_t padding; /* the first byte of the payload, with PADDED */
} Frame;

#define CALL(stream)                                                                                         \
    {                                                                                                        \
        HEADERS, END_HEADERS, stream, 100, 0, 0                                                              \
    }

#define TRAILERS(stream)                                                                                     \
    {                                                                                                        \
        HEADERS, END_HEADERS | END_STREAM, stream, 20, 0, 0                                                  \
    }

static const struct {
    const char *what;
    Frame frames[6];
    const char *fault; /* words of it; NULL: none */
    int64_t data_bytes, opened, reset;
} cases[] = {
    {"nothing", {{0}}, NULL, 0, 0, 0},
    {"a call", {{SETTINGS, 0, 0, 36, 0, 0}, CALL(1), {DATA, END_STREAM, 1, 1000, 0, 0}}, NULL, 1000, 1, 0},
    {"calls, and one given up",
     {CALL(1), CALL(3), {DATA, 0, 1, 5, 0, 0}, {DATA, 0, 3, 7, 0, 0}, {RST_STREAM, 0, 1, 4, 0, 0}, CALL(5)},
     NULL,
     12,
     3,
     1},
    {"padding is no data", {CALL(1), {DATA, PADDED, 1, 100, 0, 20}}, NULL, 79, 1, 0},
    {"nothing but padding", {CALL(1), {DATA, PADDED, 1, 21, 0, 20}}, NULL, 0, 1, 0},
    {"more padding than there is room", {CALL(1), {DATA, PADDED, 1, 10, 0, 200}}, NULL, 0, 1, 0},
    {"an end without a message", {CALL(1), {DATA, END_STREAM, 1, 0, 0, 0}}, NULL, 0, 1, 0},
    {"a large message", {CALL(1), {DATA, 0, 1, 16384, 1024, 0}}, NULL, 16 << 20, 1, 0},
    {"headers in parts",
     {{HEADERS, 0, 1, 1000, 0, 0},
      {CONTINUATION, 0, 1, 1000, 8, 0},
      {CONTINUATION, END_HEADERS, 1, 10, 0, 0}},
     NULL,
     0,
     1,
     0},
    {"and again",
     {{HEADERS, 0, 1, 16000, 0, 0}, {CONTINUATION, END_HEADERS, 1, 16000, 2, 0}, CALL(3)},
     NULL,
     0,
     2,
     0},
    {"talk",
     {{WINDOW_UPDATE, 0, 0, 4, 1000, 0}, {PING, 0, 0, 8, 1000, 0}, {UNKNOWN, 0, 0, 16384, 1000, 0}},
     NULL,
     0,
     0,
     0},
    {"headers without an end",
     {{HEADERS, 0, 1, 100, 0, 0}, {CONTINUATION, 0, 1, 16000, 5, 0}},
     "without an end",
     0,
     1,
     0},
    {"... in small parts",
     {{HEADERS, 0, 1, 1, 0, 0}, {CONTINUATION, 0, 1, 1, 1100, 0}},
     "without an end",
     0,
     1,
     0},
    {"... in empty ones",
     {{HEADERS, 0, 1, 1, 0, 0}, {CONTINUATION, 0, 1, 0, 1100, 0}},
     "without an end",
     0,
     1,
     0},
    {"one frame of them", {{HEADERS, END_HEADERS, 1, 70000, 0, 0}}, "without an end", 0, 1, 0},
    {"headers of a call that is there", {CALL(3), CALL(3)}, "of no new call", 0, 1, 0},
    {"headers of one before", {CALL(3), CALL(1)}, "of no new call", 0, 1, 0},
    {"headers of the connection", {CALL(0)}, "of no new call", 0, 0, 0},
    {"headers of an even number", {CALL(2)}, "of no new call", 0, 0, 0},
    {"trailers, as proxies may send", {CALL(1), CALL(3), TRAILERS(1), TRAILERS(3), CALL(5)}, NULL, 0, 3, 0},
    {"more trailers than calls", {CALL(1), TRAILERS(1), TRAILERS(1)}, "of no new call", 0, 1, 0},
    {"data by the byte", {CALL(1), {DATA, 0, 1, 1, 400001, 0}}, "carry nothing", 399998, 1, 0},
    {"data by 64 bytes", {CALL(1), {DATA, 0, 1, 64, 200000, 0}}, NULL, 12800000, 1, 0},
    {"large headers without an end",
     {CALL(1), {UNKNOWN, 0, 0, 0, 399900, 0}, {HEADERS, END_HEADERS, 3, 8000, 0, 0}},
     "carry nothing",
     0,
     1,
     0},
    {"talk without an end", {{WINDOW_UPDATE, 0, 0, 4, 400001, 0}}, "carry nothing", 0, 0, 0},
    {"empty messages without an end", {CALL(1), {DATA, 0, 1, 0, 400001, 0}}, "carry nothing", 0, 1, 0},
    {"parts of no headers, likewise", {{CONTINUATION, 0, 1, 0, 400001, 0}}, "carry nothing", 0, 0, 0},
};

static uint8_t bytes[24 + (20 << 20)];

static size_t put_frames(const Frame *frames, size_t count)
{
    size_t length = 24;
    memcpy(bytes, PREFACE, length);
    for (size_t i = 0; i < count; i++) {
        const Frame *frame = &frames[i];
        bool is_none = frame->type == 0 && frame->stream == 0;
        for (uint32_t n = 0; !is_none && n < (frame->times == 0 ? 1 : frame->times); n++) {
            uint8_t head[SH_FRAME_HEAD_BYTES] = {(uint8_t)(frame->length >> 16),
                                                 (uint8_t)(frame->length >> 8),
                                                 (uint8_t)frame->length,
                                                 frame->type,
                                                 frame->flags,
                                                 0,
                                                 0,
                                                 (uint8_t)(frame->stream >> 8),
                                                 (uint8_t)frame->stream};
            assert_true(length + sizeof head + frame->length <= sizeof bytes);
            memcpy(bytes + length, head, sizeof head);
            memset(bytes + length + sizeof head, 0, frame->length);
            if ((frame->flags & PADDED) != 0 && frame->type == DATA)
                bytes[length + sizeof head] = frame->padding;
            length += sizeof head + frame->length;
        }
    }
    return length;
}

static const char *take_in_pieces(ShFrames *frames, size_t length, size_t piece)
{
    const char *fault = NULL;
    for (size_t at = 0; at < length && fault == NULL; at += piece)
        fault = sh_frames_take(frames, bytes + at, length - at < piece ? length - at : piece, 1000);
    return fault;
}

static void test_cases(void **state)
{
    static const size_t pieces[] = {1, 3, 10, 1000, 8192, sizeof bytes};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t length = put_frames(cases[i].frames, sizeof cases[i].frames / sizeof(Frame));
        for (size_t p = 0; p < sizeof pieces / sizeof pieces[0]; p++) {
            ShFrames frames = {0};
            const char *fault = take_in_pieces(&frames, length, pieces[p]);
            bool right = cases[i].fault == NULL ? fault == NULL
                                                : fault != NULL && strstr(fault, cases[i].fault) != NULL;
            if (!right || frames.data_bytes != cases[i].data_bytes || frames.opened != cases[i].opened ||
                frames.reset != cases[i].reset)
                fail_msg("%s, by %zu: \"%s\", %lld bytes, %lld calls, %lld given up", cases[i].what,
                         pieces[p], fault != NULL ? fault : "", (long long)frames.data_bytes,
                         (long long)frames.opened, (long long)frames.reset);
        }
    }
}

/* gRPC says so; it may be TLS, whose bytes mean nothing here. */
static void test_what_is_not_http_2_is_not_looked_at(void **state)
{
    (void)state;
    size_t length = put_frames(&(Frame){HEADERS, 0, 0, 70000, 0, 0}, 1);
    ShFrames frames = {0};
    bytes[20] ^= 1;
    assert_null(take_in_pieces(&frames, length, 7));
    frames = (ShFrames){0};
    assert_null(take_in_pieces(&frames, length, length));
    assert_int_equal(frames.opened, 0);
}

/* As much talk as there may be in each millisecond goes on for ever. */
static void test_talk_is_earned_with_time(void **state)
{
    (void)state;
    static const Frame updates[] = {{WINDOW_UPDATE, 0, 0, 4, 20000, 0}};
    ShFrames frames = {.preface_bytes = 24};
    size_t length = put_frames(updates, 1) - 24;
    for (int64_t now_ms = 1000; now_ms < 100000; now_ms += 101)
        assert_null(sh_frames_take(&frames, bytes + 24, length, now_ms));
    for (int64_t now_ms = 200000; now_ms < 300000; now_ms += 50)
        if (sh_frames_take(&frames, bytes + 24, length, now_ms) != NULL)
            return;
    fail_msg("twice as much goes on for ever, too");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_what_is_not_http_2_is_not_looked_at),
        cmocka_unit_test(test_talk_is_earned_with_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
