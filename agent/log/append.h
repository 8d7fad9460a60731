/*
 * append.h - taking in batches: checks, offsets, the hand-over to the WAL, and the answers once they are
 * durable.
 */
#ifndef SH_AGENT_LOG_APPEND_H
#define SH_AGENT_LOG_APPEND_H

#include "agent/log/engine.h"
#include "agent/wal/wal.h"

struct ShLogBatch;

/* A part of a call that waits until its batches are durable (durability `object`: published). */
typedef struct ShAppendWait {
    struct ShAppendWait *next;
    ShAppend *append;
    ShAppendPart *part;
    int64_t offset_count; /* of the whole part */
    int64_t started_us;
} ShAppendWait;

/* Take the waits off a batch, to the end of a chain. With the partition's mutex held. */
void sh_append_take_waits(struct ShLogBatch *batch, ShAppendWait ***waits_end);

/* Try to take in one part. SH_OK: it will be answered, perhaps is already. Else part->error says why, and the
 * caller finishes it. */
ShStatus sh_append_try(ShEngine *engine, ShAppend *append, ShAppendPart *part) SH_MUST_CHECK;

/* One part of the call is answered. */
void sh_append_finish(ShAppend *append);

/* Answer a chain of waits: all with success, or all with `err`. No lock may be held. */
void sh_append_answer(ShEngine *engine, ShAppendWait *waits, const ShError *err);

/* What the WAL calls when a group of batches is written (ShWalWrittenFn; `arg` is the engine). */
void sh_append_on_written(void *arg, ShWalEntry *entries, ShStatus status, const ShError *err);

/* Hand over what the WAL had refused in the middle of a call; to be called now and then, and after WAL space
 * became free. */
void sh_append_retry_stalled(ShEngine *engine);

#endif
