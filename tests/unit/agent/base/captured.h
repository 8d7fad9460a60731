/*
 * captured.h - what the program under test writes to stderr: its log.
 */
#ifndef TESTS_BASE_CAPTURED_H
#define TESTS_BASE_CAPTURED_H

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

static int pipe_ends[2];
static int saved_stderr;
static char captured[65536];

static inline void capture_lines(void)
{
    assert_int_equal(pipe(pipe_ends), 0);
    assert_true(fcntl(pipe_ends[0], F_SETFL, O_NONBLOCK) == 0);
    saved_stderr = dup(STDERR_FILENO);
    dup2(pipe_ends[1], STDERR_FILENO);
}

/* What was written since capture_lines(). */
static inline const char *captured_lines(void)
{
    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
    close(pipe_ends[1]);
    size_t length = 0;
    ssize_t got;
    while ((got = read(pipe_ends[0], captured + length, sizeof captured - 1 - length)) > 0)
        length += (size_t)got;
    close(pipe_ends[0]);
    captured[length] = '\0';
    return captured;
}

#endif
