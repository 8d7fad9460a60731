/*
 * fetcher.h - the consumer's thread: one FetchStream per owner, filling a bounded queue of chunks.
 *
 * The fetcher follows owners and reconnects; what it cannot decide (an offset out of range, a topic that is
 * gone) it puts into the queue as a chunk with an error, and the partition rests until it is started again.
 */
#ifndef SH_CLIENT_FETCHER_H
#define SH_CLIENT_FETCHER_H

#include "client/client.h"
#include "client/streamhouse.h"

typedef struct ShFetcher ShFetcher;
typedef struct ShFetchTarget ShFetchTarget; /* one partition; lives as long as the fetcher */

/* Part of an answer: whole batches of one partition, or why there are none. */
typedef struct ShChunk {
    struct ShChunk *next;
    ShFetchTarget *target;
    unsigned generation; /* of the target when it was fetched */
    ShBuf *owner;
    const uint8_t *data;
    size_t length;
    int64_t next_offset;
    ShError error; /* status SH_OK: batches */
} ShChunk;

/* `options` are copied. */
ShStatus sh_fetcher_new(ShClient *client, const ShConsumerOptions *options, ShFetcher **out,
                        ShError *err) SH_MUST_CHECK;
/* NULL allowed. */
void sh_fetcher_free(ShFetcher *fetcher);

/* The target of a partition, made when it is new. Its names stay valid with it. */
ShStatus sh_fetcher_target(ShFetcher *fetcher, const char *topic, const ShUuid *topic_id, int32_t partition,
                           ShFetchTarget **out, ShError *err) SH_MUST_CHECK;
const char *sh_fetch_target_topic(const ShFetchTarget *target);
int32_t sh_fetch_target_partition(const ShFetchTarget *target);

/* Fetch from this offset on. What was fetched before is dropped. */
void sh_fetcher_start(ShFetcher *fetcher, ShFetchTarget *target, int64_t offset);
/* Fetch no more, and drop what was fetched. */
void sh_fetcher_rest(ShFetcher *fetcher, ShFetchTarget *target);

/* The next chunk, handed over; NULL when none came in time. */
ShChunk *sh_fetcher_next(ShFetcher *fetcher, int64_t deadline_ms);
/* Whether a chunk that was handed over is still wanted: its target was neither started anew
 * nor laid to rest. */
bool sh_fetcher_is_current(ShFetcher *fetcher, const ShChunk *chunk);
void sh_chunk_free(ShChunk *chunk);

#endif
