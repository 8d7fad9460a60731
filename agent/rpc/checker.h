/*
 * checker.h - a few threads for checks of requests that take long, and for answers that do, so that those who
 * serve everybody do not wait.
 *
 * A request is checked where it comes in, on its worker, as long as that takes little (produce_request.c).
 * What takes longer goes on here: batches that unfold to much, many small records, schemas that cost. So do
 * batches that are read as records and unfold to much (fetch_request.c).
 * Hosts take turns, one request each, as at each host its connections do; and the threads have a lower
 * priority than those that serve.
 */
#ifndef SH_AGENT_RPC_CHECKER_H
#define SH_AGENT_RPC_CHECKER_H

#include "agent/base/rounds.h"
#include "agent/rpc/connection.h"
#include "core/batch.h"
#include "core/codec.h"
#include "core/status.h"

/* What the check of a request may take on a worker, and what a batch may unfold to there. */
#define SH_CHECK_INLINE_US        2000
#define SH_CHECK_INLINE_BYTES_MAX ((size_t)4 << 20)

/* What a thread that checks reuses from request to request. */
typedef struct ShCheckTools {
    ShScratch scratch;
    ShScratch encoded; /* records of an answer */
    ShBatchBuilder *builders[SH_CODEC_ZSTD + 1];
} ShCheckTools;

/* The builder for a codec; NULL when memory is short. */
ShBatchBuilder *sh_check_tools_builder(ShCheckTools *tools, ShCodec codec);
void sh_check_tools_free(ShCheckTools *tools);
/* Behind a request: give the memory back if it is more than a thread keeps. */
void sh_check_scratch_shrink(ShScratch *scratch);

typedef struct ShChecker ShChecker;

/* Lives in the request; `run` is called once, on a thread of the checker, and may free it. */
typedef struct ShCheckJob {
    ShRoundJob turn; /* first */
    void (*run)(struct ShCheckJob *job, ShCheckTools *tools);
} ShCheckJob;

ShStatus sh_checker_start(size_t threads, ShChecker **out, ShError *err) SH_MUST_CHECK;
/* When no job is left. NULL allowed. */
void sh_checker_stop(ShChecker *checker);

/* Have the job run in the turn of `connection` (NULL: of all that are unknown). Any thread. */
void sh_checker_submit(ShChecker *checker, ShCheckJob *job, ShConnection *connection);

#endif
