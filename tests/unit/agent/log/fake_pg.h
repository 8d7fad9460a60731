/*
 * fake_pg.h - PostgreSQL and the extension as far as the engine can tell: every sh_pg_ function, over one
 * structure in memory. Included by one test program at a time; because it defines all of agent/pg's symbols,
 * the linker takes none of the real ones.
 */
#ifndef TESTS_LOG_FAKE_PG_H
#define TESTS_LOG_FAKE_PG_H

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/pg/pg.h"
#include "agent/pg/pg_marker.h"

#define FAKE_TOPICS_MAX   4
#define FAKE_PARTITIONS   2
#define FAKE_SEGMENTS_MAX 512

typedef struct FakePartition {
    bool owned; /* an unsealed epoch */
    bool open;
    bool inherited;
    bool orphaned;        /* another agent has taken it over */
    int64_t forced_epoch; /* sealed by force at forced_end; 0: none */
    int64_t forced_end;
    int64_t owner; /* incarnation */
    int64_t epoch;
    int64_t start;
    int64_t limit;
    int64_t log_start;
    int64_t end; /* published */
    int64_t next_offset;
    ShPgSegment segments[FAKE_SEGMENTS_MAX];
    size_t segment_count;
} FakePartition;

typedef struct FakeTopic {
    bool live;
    bool dropped;
    bool object_durability;
    char name[32];
    ShUuid id;
    FakePartition partitions[FAKE_PARTITIONS];
} FakeTopic;

typedef struct FakeCluster {
    pthread_mutex_t lock;
    FakeTopic topics[FAKE_TOPICS_MAX];
    size_t topic_count;
    int64_t incarnation;
    int64_t version;
    int64_t range;     /* offsets of an epoch */
    int64_t gap_epoch; /* of t/0, not sealed yet: readers stop at gap_end; 0: none */
    int64_t gap_end;
    int64_t orphan_timeout_ms;
    bool tells_changes;     /* assignments are told once: what has changed since a version */
    int64_t asked_after;    /* the version that assignments were last asked with */
    ShTimeRule time_rule;   /* of all topics */
    bool lose_late_replies; /* of publishes, once leftovers were asked about */
    int lose_leftovers;     /* so many answers about leftovers are lost, once they have taken effect */
    int refuse_leftovers;   /* a ShPgLeftoverResult that is the answer to all; 0: as it is */
    int leftovers_asked;
    bool loses_replies;
    bool elsewhere; /* placement wants everything at the agent "other" */
    bool away;      /* no call is answered */
    bool floods;    /* somebody sends news all the time */
    int news_told;
    int looks;
    int64_t register_timeout_ms; /* of the connection that has registered */
    bool holds_grants;           /* somebody holds the control lock: grants wait */
    int grants_held;
    int heartbeats;
    bool fenced;       /* a newer incarnation took over */
    bool abandon_next; /* the next publish finds its object abandoned */
    bool ended;
    bool lacks_room; /* what the agent said last, ... */
    int rooms_told;  /* and how many times */
    int64_t last_producer;
    bool unresolved;
    int claims;
    ShPgClaim last_claim;
    int64_t claimed_id; /* 0: none; else publishes of its sequences from claimed_from on are refused */
    int32_t claimed_from;
    int64_t claimed_epoch; /* only what is published of this one; 0: of any */
    bool builds_fail;      /* twice, once the claims were told */
    int refused;
    int lookups; /* of strangers */
    int64_t unknown_id;
    int64_t stored_id;
    ShPgStrangerAnswer stored;
    int voids;
    int publishes;
    int64_t last_publish_no;
    ShUuid last_object;
    ShPgRunResult last_results[64];
} FakeCluster;

struct ShPg {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool woken;
    int64_t timeout_ms;
};

static FakeCluster fake = {.lock = PTHREAD_MUTEX_INITIALIZER};

typedef struct FakeStore {
    ShPgStore known; /* zero: the cluster has none yet */
    bool asked_only; /* nothing was told */
} FakeStore;

static FakeStore fake_store;

static void fake_reset(void)
{
    pthread_mutex_lock(&fake.lock);
    memset((char *)&fake + sizeof fake.lock, 0, sizeof fake - sizeof fake.lock);
    fake.range = 1 << 28;
    fake.version = 1;
    fake_store = (FakeStore){.asked_only = true};
    fake.time_rule = (ShTimeRule){.before_max_ms = -1, .after_max_ms = -1};
    pthread_mutex_unlock(&fake.lock);
}

static FakeTopic *fake_topic(const char *name, bool object_durability)
{
    pthread_mutex_lock(&fake.lock);
    FakeTopic *topic = &fake.topics[fake.topic_count++];
    topic->live = true;
    topic->object_durability = object_durability;
    snprintf(topic->name, sizeof topic->name, "%s", name);
    memset(topic->id.bytes, (int)fake.topic_count, sizeof topic->id.bytes);
    fake.version++;
    pthread_mutex_unlock(&fake.lock);
    return topic;
}

/* Change the cluster; the next heartbeat tells. */
#define FAKE_CHANGE(statement)                                                                               \
    do {                                                                                                     \
        pthread_mutex_lock(&fake.lock);                                                                      \
        statement;                                                                                           \
        fake.version++;                                                                                      \
        pthread_mutex_unlock(&fake.lock);                                                                    \
    } while (0)

static ShStatus fake_enter(int64_t incarnation, ShError *err)
{
    pthread_mutex_lock(&fake.lock);
    if (fake.away) {
        pthread_mutex_unlock(&fake.lock);
        return sh_fail(err, SH_UNAVAILABLE, "the fake is away");
    }
    if (fake.fenced || (incarnation != 0 && incarnation != fake.incarnation)) {
        pthread_mutex_unlock(&fake.lock);
        return sh_fail(err, SH_FENCED, "a newer incarnation has registered");
    }
    return SH_OK;
}

static ShStatus fake_leave(void)
{
    pthread_mutex_unlock(&fake.lock);
    return SH_OK;
}

static FakePartition *fake_find(const ShUuid *id, int32_t number, FakeTopic **topic)
{
    for (size_t i = 0; i < fake.topic_count; i++)
        if (sh_uuid_equal(&fake.topics[i].id, id) && number >= 0 && number < FAKE_PARTITIONS) {
            *topic = &fake.topics[i];
            return &fake.topics[i].partitions[number];
        }
    *topic = NULL;
    return NULL;
}

ShStatus sh_pg_new(const char *conninfo, const char *application_name, int64_t timeout_ms, ShPg **out,
                   ShError *err)
{
    (void)conninfo, (void)application_name;
    ShPg *pg = calloc(1, sizeof *pg);
    if (pg == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory");
    pthread_mutex_init(&pg->lock, NULL);
    pg->timeout_ms = timeout_ms;
    *out = pg;
    return sh_cond_init(&pg->cond, err);
}

void sh_pg_free(ShPg *pg)
{
    if (pg != NULL)
        pthread_cond_destroy(&pg->cond);
    free(pg);
}

ShStatus sh_pg_check(ShPg *pg, ShError *err)
{
    (void)pg, (void)err;
    return SH_OK;
}

void sh_pg_wake(ShPg *pg)
{
    pthread_mutex_lock(&pg->lock);
    pg->woken = true;
    pthread_cond_signal(&pg->cond);
    pthread_mutex_unlock(&pg->lock);
}

void sh_pg_cancel(ShPg *pg)
{
    sh_pg_wake(pg);
}

ShStatus sh_pg_wait_news(ShPg *pg, int64_t timeout_ms, bool *news, ShError *err)
{
    (void)err;
    pthread_mutex_lock(&fake.lock);
    *news = fake.floods;
    fake.news_told += fake.floods;
    pthread_mutex_unlock(&fake.lock);
    if (*news)
        return SH_OK;
    pthread_mutex_lock(&pg->lock);
    if (!pg->woken)
        sh_cond_wait_ms(&pg->cond, &pg->lock, timeout_ms);
    pg->woken = false;
    pthread_mutex_unlock(&pg->lock);
    return SH_OK;
}

ShStatus sh_pg_register(ShPg *pg, const ShPgRegister *request, ShPgRegistered *out, ShError *err)
{
    (void)request;
    ShStatus status = fake_enter(0, err);
    if (status != SH_OK)
        return status;
    fake.register_timeout_ms = pg->timeout_ms;
    fake.incarnation++;
    for (size_t i = 0; i < fake.topic_count; i++)
        for (int p = 0; p < FAKE_PARTITIONS; p++) {
            FakePartition *partition = &fake.topics[i].partitions[p];
            partition->inherited = partition->owned && partition->open;
            partition->owned = partition->inherited;
            partition->owner = fake.incarnation;
        }
    *out = (ShPgRegistered){
        .incarnation = fake.incarnation, .term = 1, .lease_ticks = 10, .tick_interval_ms = 1000};
    return fake_leave();
}

ShStatus sh_pg_advice(ShPg *pg, const ShPgNeeds *needs, void (*tell)(const char *problem, void *arg),
                      void *arg, ShError *err)
{
    (void)pg, (void)needs, (void)tell, (void)arg, (void)err;
    return SH_OK;
}

ShStatus sh_pg_heartbeat(ShPg *pg, int64_t incarnation, int64_t calls_seen, int64_t unpublished,
                         ShPgHeartbeat *out, ShError *err)
{
    (void)pg, (void)unpublished;
    ShStatus status = fake_enter(incarnation, err);
    if (status != SH_OK)
        return status;
    fake.heartbeats++;
    *out = (ShPgHeartbeat){
        .assignment_version = fake.version, .metadata_version = fake.version, .calls = calls_seen + 1};
    return fake_leave();
}

ShStatus sh_pg_lacks_room(ShPg *pg, int64_t incarnation, bool lacks, ShError *err)
{
    (void)pg;
    ShStatus status = fake_enter(incarnation, err);
    if (status != SH_OK)
        return status;
    fake.lacks_room = lacks;
    fake.rooms_told++;
    return fake_leave();
}

ShStatus sh_pg_versions(ShPg *pg, int64_t incarnation, ShPgVersions *out, ShError *err)
{
    (void)pg;
    ShStatus status = fake_enter(incarnation, err);
    if (status != SH_OK)
        return status;
    fake.looks++;
    *out = (ShPgVersions){.assignment_version = fake.version, .metadata_version = fake.version};
    return fake_leave();
}

ShStatus sh_pg_end(ShPg *pg, int64_t incarnation, ShError *err)
{
    (void)pg;
    ShStatus status = fake_enter(incarnation, err);
    if (status != SH_OK)
        return status;
    fake.ended = true;
    return fake_leave();
}

/* The whole, each time. */
ShStatus sh_pg_assignments(ShPg *pg, int64_t incarnation, int64_t after_version, ShPgAssignments *out,
                           ShError *err)
{
    (void)pg;
    ShStatus status = fake_enter(incarnation, err);
    if (status != SH_OK)
        return status;
    fake.asked_after = after_version;
    ShPgAssignment *rows = calloc(FAKE_TOPICS_MAX * FAKE_PARTITIONS, sizeof *rows);
    size_t n = 0;
    bool whole = !fake.tells_changes || after_version == 0;
    for (size_t i = 0; i < fake.topic_count && (whole || after_version < fake.version); i++)
        for (int p = 0; p < FAKE_PARTITIONS; p++) {
            const FakeTopic *topic = &fake.topics[i];
            const FakePartition *partition = &topic->partitions[p];
            if (!topic->live || topic->object_durability || (!partition->owned && fake.elsewhere))
                continue;
            ShPgAssignment *row = &rows[n++];
            row->topic_id = topic->id;
            snprintf(row->topic, sizeof row->topic, "%s", topic->name);
            row->partition = p;
            row->action = !partition->owned                             ? SH_ACTION_GRANT
                          : partition->inherited || partition->orphaned ? SH_ACTION_RECOVER
                          : fake.elsewhere                              ? SH_ACTION_RELEASE
                                                                        : SH_ACTION_OWN;
            row->epoch = partition->epoch;
            row->start_offset = partition->start;
            row->limit_offset = partition->limit;
            row->published_end = partition->end;
            row->open = partition->open;
            row->orphan_timeout_ms = fake.orphan_timeout_ms;
        }
    *out = (ShPgAssignments){.version = fake.version, .whole = whole, .rows = rows, .count = n};
    return fake_leave();
}

ShStatus sh_pg_grant(ShPg *pg, int64_t incarnation, const ShPgPartition *partitions, size_t count,
                     ShPgEpoch *out, ShError *err)
{
    (void)pg;
    ShStatus status = fake_enter(incarnation, err);
    if (status != SH_OK)
        return status;
    fake.grants_held += fake.holds_grants;
    while (fake.holds_grants) {
        pthread_mutex_unlock(&fake.lock);
        sched_yield();
        pthread_mutex_lock(&fake.lock);
    }
    for (size_t i = 0; i < count; i++) {
        FakeTopic *topic;
        FakePartition *partition = fake_find(&partitions[i].topic_id, partitions[i].partition, &topic);
        partition->owned = true;
        partition->open = partition->inherited = partition->orphaned = false;
        partition->owner = incarnation;
        partition->epoch++;
        partition->start = partition->end = partition->next_offset;
        partition->limit = partition->start + fake.range;
        out[i] = (ShPgEpoch){.result = SH_EPOCH_GRANTED,
                             .epoch = partition->epoch,
                             .start_offset = partition->start,
                             .limit_offset = partition->limit,
                             .published_end = partition->end,
                             .orphan_timeout_ms = fake.orphan_timeout_ms};
    }
    fake.version++;
    return fake_leave();
}

ShStatus sh_pg_open(ShPg *pg, int64_t incarnation, const ShPgPartition *partitions, size_t count,
                    ShPgEpoch *out, ShError *err)
{
    (void)pg;
    ShStatus status = fake_enter(incarnation, err);
    if (status != SH_OK)
        return status;
    for (size_t i = 0; i < count; i++) {
        FakeTopic *topic;
        fake_find(&partitions[i].topic_id, partitions[i].partition, &topic)->open = true;
        out[i].result = SH_EPOCH_OPEN;
    }
    return fake_leave();
}

ShStatus sh_pg_seal(ShPg *pg, int64_t incarnation, const ShPgSeal *seals, size_t count, ShPgEpoch *out,
                    ShError *err)
{
    (void)pg;
    ShStatus status = fake_enter(incarnation, err);
    if (status != SH_OK)
        return status;
    bool changed = false;
    for (size_t i = 0; i < count; i++) {
        FakeTopic *topic;
        FakePartition *partition = fake_find(&seals[i].partition.topic_id, seals[i].partition.partition,
                                             &topic);
        bool exact = partition->end == seals[i].end_offset && partition->epoch == seals[i].partition.epoch;
        out[i].result = exact ? SH_EPOCH_SEALED : SH_EPOCH_MISMATCH;
        out[i].published_end = partition->end;
        if (!exact || partition->epoch == partition->forced_epoch)
            continue;
        partition->owned = partition->open = false;
        partition->next_offset = seals[i].lost ? partition->limit : partition->end;
        changed = true;
    }
    fake.version += changed;
    return fake_leave();
}

static void fake_publish_run(const ShPgPublish *publish, const ShPgRun *run, ShPgRunResult *result)
{
    FakeTopic *topic;
    FakePartition *partition = fake_find(&run->topic_id, run->partition, &topic);
    int64_t first = run->first_offset < 0 && partition != NULL ? partition->end : run->first_offset;
    int64_t end = first + run->offset_count;
    result->first_offset = first;
    result->published_end = partition == NULL ? 0 : partition->end;
    if (partition == NULL || topic->dropped)
        result->result = partition == NULL ? SH_PUBLISH_UNKNOWN : SH_PUBLISH_DROPPED;
    else if (partition->forced_epoch != 0 && run->epoch == partition->forced_epoch)
        result->result = end <= partition->forced_end ? SH_PUBLISH_DUPLICATE : SH_PUBLISH_FENCED;
    else if (end <= partition->end)
        result->result = SH_PUBLISH_DUPLICATE;
    else if (!topic->object_durability && (!partition->open || run->epoch != partition->epoch))
        result->result = SH_PUBLISH_FENCED;
    else if (first > partition->end)
        result->result = SH_PUBLISH_GAP;
    else if (run->is_void) {
        result->result = SH_PUBLISH_VOID;
        result->published_end = partition->end = end;
        fake.voids++;
    } else {
        ShPgSegment *segment = &partition->segments[partition->segment_count++];
        *segment = (ShPgSegment){.first_offset = partition->end,
                                 .base_offset = first,
                                 .last_offset = end - 1,
                                 .epoch = run->epoch,
                                 .position = run->position,
                                 .length = run->length,
                                 .records = run->record_count,
                                 .min_timestamp_ms = run->min_timestamp_ms,
                                 .max_timestamp_ms = run->max_timestamp_ms};
        snprintf(segment->object_key, sizeof segment->object_key, "%s", publish->object_key);
        result->result = SH_PUBLISH_PUBLISHED;
        result->published_end = partition->end = end;
    }
}

static bool fake_is_claimed(const ShPgPublish *publish)
{
    for (size_t i = 0; i < publish->stretch_count && fake.claimed_id > 0; i++) {
        const ShPgStretch *stretch = &publish->stretches[i];
        if (stretch->producer_id == fake.claimed_id &&
            stretch->base_sequence + stretch->count > fake.claimed_from &&
            (fake.claimed_epoch == 0 || publish->runs[stretch->run].epoch == fake.claimed_epoch))
            return true;
    }
    return false;
}

ShStatus sh_pg_publish(ShPg *pg, const ShPgPublish *publish, ShPgRunResult *results, ShError *err)
{
    (void)pg;
    ShStatus status = fake_enter(publish->incarnation, err);
    if (status != SH_OK)
        return status;
    if (fake.abandon_next) {
        fake.abandon_next = false;
        fake_leave();
        return sh_fail(err, SH_CANCELLED, "the object was abandoned");
    }
    for (size_t i = 0; i < publish->run_count; i++)
        if (publish->runs[i].is_void && publish->runs[i].first_offset < 0) {
            fake_leave();
            return sh_fail(err, SH_INTERNAL, "entry %zu is malformed", i + 1);
        }
    if (fake_is_claimed(publish)) {
        fake.refused++;
        fake_leave();
        return sh_fail(err, SH_OUT_OF_ORDER_SEQUENCE, "a later epoch has claimed them");
    }
    fake.publishes++;
    bool again = publish->publish_no == fake.last_publish_no &&
                 sh_uuid_equal(&publish->object_id, &fake.last_object);
    for (size_t i = 0; i < publish->run_count && !again; i++)
        fake_publish_run(publish, &publish->runs[i], &fake.last_results[i]);
    memcpy(results, fake.last_results, publish->run_count * sizeof *results);
    fake.last_publish_no = publish->publish_no;
    fake.last_object = publish->object_id;
    bool lost = fake.loses_replies;
    fake_leave();
    return lost ? sh_fail(err, SH_UNAVAILABLE, "the reply is lost") : SH_OK;
}

ShStatus sh_pg_metadata(ShPg *pg, int64_t after_version, ShPgMetadata **out, ShError *err)
{
    (void)pg, (void)after_version;
    ShStatus status = fake_enter(0, err);
    if (status != SH_OK)
        return status;
    ShPgMetadata *metadata = calloc(1, sizeof *metadata);
    metadata->version = fake.version;
    metadata->whole = true;
    metadata->partitions = calloc(FAKE_TOPICS_MAX * FAKE_PARTITIONS, sizeof *metadata->partitions);
    metadata->agents = calloc(2, sizeof *metadata->agents);
    metadata->agent_count = 2;
    snprintf(metadata->agents[0].agent_id, SH_AGENT_ID_BYTES, "a1");
    snprintf(metadata->agents[1].agent_id, SH_AGENT_ID_BYTES, "other");
    for (size_t i = 0; i < fake.topic_count; i++)
        for (int p = 0; p < FAKE_PARTITIONS && fake.topics[i].live; p++) {
            ShPgPartitionInfo *row = &metadata->partitions[metadata->partition_count++];
            const FakePartition *partition = &fake.topics[i].partitions[p];
            row->topic_id = fake.topics[i].id;
            snprintf(row->topic, sizeof row->topic, "%s", fake.topics[i].name);
            row->object_durability = fake.topics[i].object_durability;
            row->batch_bytes_max = 1 << 20;
            row->time_rule = fake.time_rule;
            row->partitions = FAKE_PARTITIONS;
            row->partition = p;
            row->epoch = partition->epoch;
            if (partition->owned || fake.elsewhere)
                snprintf(row->owner, sizeof row->owner, "%s", partition->owned ? "a1" : "other");
            snprintf(row->address, sizeof row->address, "%s", partition->owned ? "here:1" : "there:2");
        }
    *out = metadata;
    return fake_leave();
}

void sh_pg_metadata_free(ShPgMetadata *metadata)
{
    if (metadata == NULL)
        return;
    free(metadata->partitions);
    free(metadata->agents);
    free(metadata);
}

ShStatus sh_pg_create_topic(ShPg *pg, const ShPgCreateTopic *request, ShUuid *topic_id, ShError *err)
{
    (void)pg, (void)err;
    *topic_id = fake_topic(request->name, strcmp(request->durability, "object") == 0)->id;
    return SH_OK;
}

ShStatus sh_pg_drop_topic(ShPg *pg, const char *name, ShError *err)
{
    (void)pg;
    ShStatus status = SH_NOT_FOUND;
    pthread_mutex_lock(&fake.lock);
    for (size_t i = 0; i < fake.topic_count; i++)
        if (fake.topics[i].live && strcmp(fake.topics[i].name, name) == 0) {
            fake.topics[i].live = false;
            fake.topics[i].dropped = true;
            fake.version++;
            status = SH_OK;
        }
    pthread_mutex_unlock(&fake.lock);
    return status == SH_OK ? SH_OK : sh_fail(err, SH_NOT_FOUND, "there is no topic \"%s\"", name);
}

ShStatus sh_pg_describe(ShPg *pg, const char *const *topics, size_t topic_count, ShPgPartitionSize **out,
                        size_t *count, ShError *err)
{
    (void)pg, (void)topics, (void)topic_count;
    *out = calloc(1, sizeof **out);
    *count = *out != NULL;
    if (*out == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory");
    snprintf((*out)->topic, sizeof(*out)->topic, "t");
    (*out)->records = 7;
    return SH_OK;
}

#include "tests/unit/agent/log/fake_pg_garbage.h"
#include "tests/unit/agent/log/fake_pg_late.h"
#include "tests/unit/agent/log/fake_pg_present.h"
#include "tests/unit/agent/log/fake_pg_producer.h"
#include "tests/unit/agent/log/fake_pg_read.h"

#endif
