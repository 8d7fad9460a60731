/*
 * status.h - how a function says that it failed.
 *
 * Every function that can fail returns a ShStatus, which the caller must look at, and takes an optional
 * ShError for the words. A ShError is data: it can be copied, stored and sent to a client. It never holds a
 * secret.
 */
#ifndef SH_CORE_STATUS_H
#define SH_CORE_STATUS_H

#include <stdbool.h>
#include <stddef.h>

#define SH_MUST_CHECK        __attribute__((warn_unused_result))
#define SH_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/* The kinds of failure, by what the caller can do about them. The comment names the gRPC status. */
typedef enum ShStatus {
    SH_OK = 0,
    SH_INVALID,      /* the input is wrong and will stay wrong: INVALID_ARGUMENT */
    SH_CORRUPT,      /* bytes do not match their checksum or format: DATA_LOSS; INVALID_ARGUMENT for input */
    SH_TOO_LARGE,    /* the input exceeds a stated bound: INVALID_ARGUMENT */
    SH_UNSUPPORTED,  /* a version or feature this build does not have: UNIMPLEMENTED */
    SH_NOT_FOUND,    /* no such topic, partition, object: NOT_FOUND */
    SH_EXISTS,       /* the name is taken: ALREADY_EXISTS */
    SH_OUT_OF_RANGE, /* an offset below the log start or above the end: OUT_OF_RANGE */
    SH_NOT_OWNER,    /* another agent owns the partition: FAILED_PRECONDITION, with the owner */
    SH_FENCED,       /* a newer incarnation or epoch has superseded the caller: FAILED_PRECONDITION */
    /* What a partition says to an idempotent producer, all FAILED_PRECONDITION but the second. */
    SH_OUT_OF_ORDER_SEQUENCE,  /* a batch does not follow the producer's last one: nothing is stored */
    SH_DUPLICATE_SEQUENCE,     /* stored long ago, at an offset that is forgotten: ALREADY_EXISTS */
    SH_INVALID_PRODUCER_EPOCH, /* a newer epoch of the producer has written here */
    SH_UNKNOWN_PRODUCER_ID,    /* nothing is known of the producer, and this is not its first batch */
    SH_OUTDATED,               /* the agent is of an older term, or the database lost history: UNAVAILABLE */
    SH_DENIED,                 /* credentials or rights are missing: PERMISSION_DENIED */
    SH_EXHAUSTED,              /* a memory, disk or rate bound is reached: RESOURCE_EXHAUSTED, retry later */
    SH_UNAVAILABLE,            /* a peer is away or the agent is not ready: UNAVAILABLE, retry later */
    SH_TIMEOUT,                /* a deadline passed: DEADLINE_EXCEEDED */
    SH_CANCELLED,              /* given up before the outcome was known: UNAVAILABLE */
    SH_IO,                     /* a disk or socket operation failed: INTERNAL */
    SH_NO_MEMORY,              /* malloc failed: RESOURCE_EXHAUSTED */
    SH_INTERNAL                /* a broken invariant: INTERNAL */
} ShStatus;

#define SH_ERROR_MESSAGE_BYTES 512

/* An error in words. `retriable` says whether the same call may succeed later, unchanged. */
typedef struct ShError {
    ShStatus status;
    bool retriable;
    int retry_after_ms; /* 0: the caller chooses */
    char message[SH_ERROR_MESSAGE_BYTES];
} ShError;

/* Fill `err` (may be NULL) and return `status`, so that a failing function ends in `return sh_fail(...)`.
 * SH_EXHAUSTED, SH_UNAVAILABLE and SH_TIMEOUT are marked retriable. The message names the thing and the
 * remedy; it is cut, at a character's edge, to fit. */
ShStatus sh_fail(ShError *err, ShStatus status, const char *fmt, ...) SH_PRINTF(3, 4);

/* Put "prefix: " before the message of `err` (may be NULL); returns err's status, or `status` if NULL. */
ShStatus sh_fail_prefix(ShError *err, ShStatus status, const char *fmt, ...) SH_PRINTF(3, 4);

/* Set the delay after which the caller should retry; returns `status` for use in a return statement. */
ShStatus sh_fail_retry_after(ShError *err, ShStatus status, int retry_after_ms);

/* Make `err` (may be NULL) say SH_OK and nothing. */
void sh_error_clear(ShError *err);

/* A stable upper-case name such as "NOT_OWNER", for logs, metrics and the wire. */
const char *sh_status_name(ShStatus status);

#endif
