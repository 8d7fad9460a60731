/*
 * flight.h - one object on its way to the store and into the index, and the pipeline of those under way.
 *
 * A flight names ranges of batches in the partitions' rings, one for each run of the object. The batches stay
 * in their rings until the publish has decided about them, so that the object can be built again.
 *
 * The pipeline holds the flights in the order of their publish numbers. Upload threads take any that is
 * ready; the publisher takes the first one only, once it is uploaded.
 */
#ifndef SH_AGENT_LOG_FLIGHT_H
#define SH_AGENT_LOG_FLIGHT_H

#include <pthread.h>
#include <stdbool.h>

#include "agent/log/partition.h"
#include "agent/pg/pg.h"
#include "agent/store/store.h"
#include "core/segment.h"

struct ShEngine;

typedef enum ShFlightState { SH_FLIGHT_READY, SH_FLIGHT_UPLOADING, SH_FLIGHT_UPLOADED } ShFlightState;

/* The batches of one run: [first, end) of the partition's ring. */
typedef struct ShFlightRange {
    ShPartition *partition; /* a reference */
    int64_t epoch;
    uint64_t first;
    uint64_t end;
    bool idempotent; /* some batch has a producer id */
    bool is_void;    /* its offsets are left out: it is no run of the object */
    /* Set when the object is built. */
    int64_t first_offset;
    int64_t offset_count;
    bool is_untold; /* void, and it has no offsets to leave out: the publish is not told of it */
    size_t run;     /* of the object, unless it is void */
    size_t place;   /* among the runs that the publish is told of, unless it is untold */
} ShFlightRange;

typedef struct ShFlight {
    struct ShFlight *next;
    ShFlightState state; /* guarded by the pipeline's lock */
    ShSegmentWriterId id;
    char key[SH_STORE_KEY_BYTES_MAX];
    ShFlightRange *ranges;
    size_t range_count;
    size_t range_capacity;
    size_t told_count; /* runs that the publish is told of */
    int64_t cost;      /* of the batches, as the memory budget counts it */
    ShSegmentResult *results;
    size_t result_count;
    ShSegmentResult *notes; /* what its own publish decided, until an object can tell it */
    size_t note_count;
    ShPgStretch *stretches; /* of idempotent producers */
    size_t stretch_count;
    ShSegmentWriter *writer;
    ShSegmentObject object; /* borrows from writer */
    bool is_stale;          /* the object is not what the ranges say */
    int64_t started_us;
} ShFlight;

/* An empty flight; NULL when memory is short. */
ShFlight *sh_flight_new(void);
void sh_flight_free(ShFlight *flight);

/* Take up to about `cost_max` of the partition's batches that wait for an object, at least one; `*more` tells
 * whether others are left. */
ShStatus sh_flight_collect(ShFlight *flight, ShPartition *partition, int64_t cost_max, bool *more,
                           ShError *err) SH_MUST_CHECK;

/* Build the object under a new id and key. May be done again after the object was abandoned; where that
 * fails, the flight is as it was. */
ShStatus sh_flight_build(struct ShEngine *engine, ShFlight *flight, ShError *err) SH_MUST_CHECK;

/* Part the ranges anew after batches of them became void. The object is stale then: it has to be built and
 * uploaded anew. */
ShStatus sh_flight_split(ShFlight *flight, ShError *err) SH_MUST_CHECK;

/* Note what the ranges hold of idempotent producers (stretches.c). */
ShStatus sh_flight_note_stretches(ShFlight *flight, ShError *err) SH_MUST_CHECK;

typedef struct ShPipeline {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* guarded by lock */
    ShFlight *first;
    ShFlight *last;
    int count;
    int count_max;
    int64_t confirmed_no; /* results of publishes up to this one were taken in */
    uint64_t stored;      /* objects that were put into the store */
    bool stopping;
    int64_t answered_no; /* the publisher's own: the last publish that was answered */
    pthread_t *uploaders;
    size_t uploader_count;
    ShPg *publish_pg; /* the publisher's */
    pthread_t publisher;
    bool publisher_started;
} ShPipeline;

/* What PostgreSQL is told of a run of an object. */
ShPgRun sh_flight_pg_run(const ShSegmentRun *run);

ShStatus sh_pipeline_init(ShPipeline *pipeline, int count_max, ShError *err) SH_MUST_CHECK;
/* Start the upload threads and the publisher. */
ShStatus sh_pipeline_start(struct ShEngine *engine, ShError *err) SH_MUST_CHECK;
/* End the threads; flights that are not published are given up (their batches are in the WAL). */
void sh_pipeline_stop(struct ShEngine *engine);
void sh_pipeline_destroy(ShPipeline *pipeline);

/* Wait until there is room for one more flight; false when stopping. */
bool sh_pipeline_wait_room(ShPipeline *pipeline);
/* Append a built flight, which becomes the pipeline's. */
void sh_pipeline_push(ShPipeline *pipeline, ShFlight *flight);
bool sh_pipeline_is_empty(ShPipeline *pipeline);

/* For the threads: NULL when stopping. */
ShFlight *sh_pipeline_take_ready(ShPipeline *pipeline);
void sh_pipeline_set_uploaded(ShPipeline *pipeline, ShFlight *flight);
ShFlight *sh_pipeline_wait_uploaded(ShPipeline *pipeline);
/* How many objects were put into the store so far. */
uint64_t sh_pipeline_stored(ShPipeline *pipeline);
void sh_pipeline_note_stored(ShPipeline *pipeline);
/* Wait `ms`, or until more than `stored` objects were put into the store; false when stopping. */
bool sh_pipeline_pause(ShPipeline *pipeline, uint64_t stored, int64_t ms);
/* The first flight is decided: remove and free it. */
void sh_pipeline_finish_first(ShPipeline *pipeline);

/* Put a flight's object into the store, trying for as long as it takes; false when the engine is stopping. */
bool sh_upload_flight(struct ShEngine *engine, ShFlight *flight);
void *sh_upload_run(void *engine);
void *sh_publish_run(void *engine);

#endif
