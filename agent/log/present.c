#include "agent/log/present.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/log/engine_internal.h"
#include "agent/log/last_results.h"
#include "agent/log/present_claims.h"
#include "agent/log/present_origins.h"
#include "agent/log/present_twice.h"
#include "agent/log/start_wait.h"
#include "agent/pg/pg_present.h"

#define KEYS_MAX          500 /* of one question */
#define WAIT_MS           50
#define CLAIMED_TRIES_MAX 10 /* claims go on while the object is presented */

/* An object that the index does not know, or not all of. */
typedef struct Found {
    char key[SH_STORE_KEY_BYTES_MAX + 1];
    char agent_id[SH_AGENT_ID_BYTES];
    uint64_t bytes;
    ShSegmentWriterId writer;
    ShPresentRuns what;
    ShPresentRuns rest; /* of it, when part was claimed; else empty */
    bool done;
} Found;

/* What one publish decided about one run, as an object of the same writer tells. */
typedef struct Result {
    ShSegmentResult told;
    int64_t carrier_no; /* publish number of the object that tells */
    size_t place;       /* in it */
    bool taken;
} Result;

typedef struct Scan {
    ShEngine *engine;
    ShPg *pg;
    char *keys[KEYS_MAX];
    size_t key_count;
    Found *found;
    size_t count;
    size_t capacity;
    size_t placed;
    Result *results; /* that the objects carry of earlier publishes */
    size_t result_count;
    size_t result_capacity;
    bool store_failed; /* and not the database */
    ShStatus status;
    ShError *err;
} Scan;

/* Of the last engine of this process that was registered. Engines follow each other, so nothing guards it. */
static struct {
    int64_t incarnation;
    int64_t answered_no;
} last_engine;

static ShStatus read_store_patiently(Scan *scan);
static ShStatus read_store(Scan *scan);
static bool on_listed(void *arg, const char *key, uint64_t bytes);
static void ask(Scan *scan);
static ShStatus load(Scan *scan, const char *key);
static ShStatus read_object(Scan *scan, const char *key, Found *found);
static ShStatus confirm_gone(Scan *scan, const char *key);
static bool note_listed(void *arg, const char *key, uint64_t bytes);
static ShStatus note_results(Scan *scan, const ShSegmentIndex *index);
static ShStatus give_offsets(Scan *scan);
static ShStatus apply_results(Found *found, Result *results, size_t count, ShError *err);
static const ShSegmentResult *take_result(Result *results, size_t count, const ShPgRun *run);
static int compare_objects(const Result *result, const ShUuid *object_id);
static int compare_results(const void *a, const void *b);
static ShStatus find_origins(Scan *scan);
static int compare_found(const void *a, const void *b);
static ShStatus present_all(Scan *scan);
static ShStatus present_pass(Scan *scan, bool is_last, bool *progress);
static ShStatus present_object(Scan *scan, const Found *found, bool is_last, bool *placed, bool *waits);
static ShStatus leave_claimed_out(Scan *scan, Found *found);
static bool may_be_acknowledged(const Scan *scan, const Found *found);
static ShStatus stay_alive(Scan *scan);
static void scan_free(Scan *scan);

ShStatus sh_present(ShEngine *engine, ShError *err)
{
    bool awaited = false;
    ShStatus status = sh_pg_awaited(engine->control.pg, engine->registered.incarnation, &awaited, err);
    if (status != SH_OK || !awaited)
        return status;
    atomic_store(&engine->presenting, true);
    sh_log_warn("presenting", "term=%" PRId64 " reason=\"the database may have lost history\"",
                engine->registered.term);
    Scan scan = {.engine = engine, .pg = engine->control.pg, .err = err};
    status = read_store_patiently(&scan);
    if (status == SH_OK)
        status = give_offsets(&scan);
    if (status == SH_OK)
        status = find_origins(&scan);
    if (status == SH_OK)
        status = present_all(&scan);
    if (status == SH_OK)
        sh_log_info("presented", "term=%" PRId64 " objects=%zu placed=%zu unreadable=%" PRId64,
                    engine->registered.term, scan.count, scan.placed, engine->unreadable);
    scan_free(&scan);
    return status;
}

ShStatus sh_present_epoch(ShEngine *engine, ShPartition *partition, const ShWalEntry *entry,
                          int64_t base_offset, ShError *err)
{
    bool is_open = partition->state == SH_PARTITION_RECOVERING && partition->epoch == entry->epoch;
    if (!atomic_load(&engine->presenting) || (is_open && base_offset >= partition->start_offset))
        return SH_OK;
    ShPgEpoch answer;
    ShPgPartition name = {.topic_id = entry->topic_id, .partition = entry->partition, .epoch = entry->epoch};
    ShStatus status = sh_pg_present_epoch(engine->control.pg, engine->registered.incarnation, &name,
                                          base_offset, &answer, err);
    if (status != SH_OK || answer.result != SH_EPOCH_OPEN || (is_open && answer.start_offset > base_offset))
        return status; /* the publish decides what becomes of the batch */
    pthread_mutex_lock(&partition->mutex);
    sh_partition_open(partition, answer.epoch, answer.start_offset, answer.limit_offset,
                      answer.published_end);
    partition->state = SH_PARTITION_RECOVERING;
    pthread_mutex_unlock(&partition->mutex);
    return SH_OK;
}

ShStatus sh_present_end(ShEngine *engine, ShError *err)
{
    if (!atomic_load(&engine->presenting))
        return SH_OK;
    atomic_store(&engine->presenting, false);
    int64_t unresolved = 0;
    ShStatus status = sh_present_void_twice(engine, err);
    if (status == SH_OK)
        status = sh_pg_presented(engine->control.pg, engine->registered.incarnation, engine->unreadable,
                                 &unresolved, err);
    if (status == SH_OK && unresolved > 0)
        sh_log_warn("records_unresolved",
                    "term=%" PRId64 " records=%" PRId64
                    " reason=\"the store holds them, and the index has no place for them\"",
                    engine->registered.term, unresolved);
    return status;
}

void sh_present_note_end(const ShEngine *engine)
{
    if (engine->registered.incarnation == 0)
        return;
    last_engine.incarnation = engine->registered.incarnation;
    last_engine.answered_no = engine->pipeline.answered_no;
}

/* Nothing is presented before all is read, so what a store that failed in between leaves undone is begun
 * anew. */
static ShStatus read_store_patiently(Scan *scan)
{
    int64_t unreadable = scan->engine->unreadable;
    ShStatus status;
    for (int attempt = 0; (status = read_store(scan)) != SH_OK && scan->store_failed && scan->err->retriable;
         attempt++) {
        sh_start_wait_note("store", scan->err);
        int64_t again_ms = sh_clock_now_ms() + sh_engine_backoff_ms(attempt);
        scan_free(scan);
        *scan = (Scan){.engine = scan->engine, .pg = scan->pg, .err = scan->err};
        scan->engine->unreadable = unreadable;
        while (status != SH_OK && sh_clock_now_ms() < again_ms) {
            ShStatus alive = stay_alive(scan);
            if (alive != SH_OK || !sh_engine_pause(scan->engine, WAIT_MS)) {
                sh_start_wait_over();
                return alive != SH_OK ? alive : status;
            }
        }
    }
    sh_start_wait_over();
    return status;
}

static ShStatus read_store(Scan *scan)
{
    ShStatus status = sh_last_results_send(scan->engine, scan->err);
    if (status == SH_OK)
        status = sh_store_list(scan->engine->store, "", on_listed, scan, scan->err);
    scan->store_failed |= status != SH_OK;
    if (scan->status == SH_OK && status == SH_OK)
        ask(scan);
    return status == SH_OK ? scan->status : status;
}

static bool on_listed(void *arg, const char *key, uint64_t bytes)
{
    Scan *scan = arg;
    (void)bytes;
    size_t length = strlen(key);
    if (length < 4 || strcmp(key + length - 4, ".seg") != 0)
        return true;
    char *copy = strdup(key);
    if (copy == NULL) {
        scan->status = sh_fail(scan->err, SH_NO_MEMORY, "no memory to look through the store");
        return false;
    }
    scan->keys[scan->key_count++] = copy;
    if (scan->key_count == KEYS_MAX)
        ask(scan);
    return scan->status == SH_OK && !atomic_load(&scan->engine->stopping);
}

static void ask(Scan *scan)
{
    bool unknown[KEYS_MAX] = {false};
    if (scan->key_count > 0)
        scan->status = sh_pg_unknown_keys(scan->pg, scan->engine->registered.incarnation,
                                          (const char *const *)scan->keys, scan->key_count, unknown,
                                          scan->err);
    for (size_t i = 0; i < scan->key_count; i++) {
        if (unknown[i] && scan->status == SH_OK)
            scan->status = stay_alive(scan);
        if (unknown[i] && scan->status == SH_OK)
            scan->status = load(scan, scan->keys[i]);
        free(scan->keys[i]);
    }
    scan->key_count = 0;
    if (scan->status == SH_OK)
        scan->status = stay_alive(scan);
}

static ShStatus load(Scan *scan, const char *key)
{
    if (scan->count == scan->capacity) {
        size_t capacity = scan->capacity == 0 ? 64 : 2 * scan->capacity;
        Found *grown = realloc(scan->found, capacity * sizeof *grown);
        if (grown == NULL)
            return sh_fail(scan->err, SH_NO_MEMORY, "no memory for %zu objects", capacity);
        scan->found = grown;
        scan->capacity = capacity;
    }
    Found *found = &scan->found[scan->count];
    *found = (Found){.done = false};
    ShStatus status = read_object(scan, key, found);
    scan->count++;
    if (status == SH_CORRUPT || status == SH_UNSUPPORTED) {
        sh_log_warn("object_not_presented", "key=\"%s\" status=%s", key, sh_status_name(status));
        found->done = true;
        scan->engine->unreadable++;
        sh_error_clear(scan->err);
        return SH_OK;
    }
    return status;
}

static ShStatus read_object(Scan *scan, const char *key, Found *found)
{
    ShSegmentIndex *index = NULL;
    ShBuf *buffer = NULL;
    snprintf(found->key, sizeof found->key, "%s", key);
    ShStatus status = sh_store_size(scan->engine->store, key, &found->bytes, scan->err);
    if (status == SH_NOT_FOUND) {
        found->done = true; /* deleted meanwhile */
        sh_error_clear(scan->err);
        return confirm_gone(scan, key);
    }
    if (status == SH_OK)
        status = sh_store_get(scan->engine->store, key, 0, found->bytes, &buffer, scan->err);
    scan->store_failed = status != SH_OK || buffer->length != found->bytes;
    if (status == SH_OK && buffer->length != found->bytes)
        status = sh_fail(scan->err, SH_UNAVAILABLE, "object %s: the store gave %zu of its %" PRIu64 " bytes",
                         key, buffer->length, found->bytes);
    if (status == SH_OK)
        status = sh_segment_parse(buffer->data, buffer->length, &index, scan->err);
    if (status != SH_OK)
        goto done;
    /* What a compaction has merged is not its writer's: an older index has other objects for it. */
    if (sscanf(key, "%*2[0-9a-f]/%249[a-zA-Z0-9._-]/", found->agent_id) != 1 ||
        strstr(key, "/compact-") != NULL) {
        status = sh_fail(scan->err, SH_UNSUPPORTED, "object %s was not published by an agent", key);
        goto done;
    }
    found->writer = index->writer;
    for (size_t i = 0; i < index->run_count && status == SH_OK; i++)
        status = sh_present_add_run(&found->what, &index->runs[i], buffer->data, scan->err);
    if (status == SH_OK)
        status = note_results(scan, index);
done:
    sh_segment_index_free(index);
    sh_buf_unref(buffer);
    return status;
}

/* An object that was listed and is absent when it is read: a second list must miss it too, or what it holds
 * would be taken for lost. */
static ShStatus confirm_gone(Scan *scan, const char *key)
{
    bool is_listed = false;
    ShStatus status = sh_store_list(scan->engine->store, key, note_listed, &is_listed, scan->err);
    scan->store_failed = status != SH_OK || is_listed;
    if (status == SH_OK && is_listed)
        status = sh_fail(scan->err, SH_UNAVAILABLE, "the store lists object %s and does not give it", key);
    return status;
}

static bool note_listed(void *arg, const char *key, uint64_t bytes)
{
    (void)key;
    (void)bytes;
    *(bool *)arg = true;
    return false;
}

static ShStatus note_results(Scan *scan, const ShSegmentIndex *index)
{
    if (scan->result_count + index->result_count > scan->result_capacity) {
        size_t capacity = 2 * (scan->result_count + index->result_count);
        Result *grown = realloc(scan->results, capacity * sizeof *grown);
        if (grown == NULL)
            return sh_fail(scan->err, SH_NO_MEMORY, "no memory for %zu results", capacity);
        scan->results = grown;
        scan->result_capacity = capacity;
    }
    for (size_t i = 0; i < index->result_count; i++)
        scan->results[scan->result_count++] = (Result){
            .told = index->results[i], .carrier_no = index->writer.publish_no, .place = i};
    return SH_OK;
}

/* Runs of ownerless epochs have the offsets that their publish gave them: later objects of the writer say
 * which. */
static ShStatus give_offsets(Scan *scan)
{
    ShStatus status = SH_OK;
    if (scan->result_count > 1)
        qsort(scan->results, scan->result_count, sizeof *scan->results, compare_results);
    for (size_t i = 0; i < scan->count && status == SH_OK; i++) {
        Found *found = &scan->found[i];
        size_t low = 0;
        size_t high = scan->result_count;
        while (low < high) {
            size_t middle = low + (high - low) / 2;
            if (compare_objects(&scan->results[middle], &found->writer.object_id) < 0)
                low = middle + 1;
            else
                high = middle;
        }
        size_t end = low;
        while (end < scan->result_count &&
               compare_objects(&scan->results[end], &found->writer.object_id) == 0)
            end++;
        if (!found->done)
            status = apply_results(found, scan->results + low, end - low, scan->err);
    }
    return status;
}

/* Results come in the order of the object's runs, one for each. What was refused, or stored before, is left
 * out, and what was made void is presented as that: without it what follows would have no place. */
static ShStatus apply_results(Found *found, Result *results, size_t count, ShError *err)
{
    size_t *moved = calloc(found->what.count + 1, sizeof *moved); /* where a run goes; SIZE_MAX: nowhere */
    if (moved == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for the runs of object %s", found->key);
    size_t kept = 0;
    for (size_t r = 0; r < found->what.count; r++) {
        ShPgRun run = found->what.runs[r];
        const ShSegmentResult *told = run.first_offset >= 0 ? NULL : take_result(results, count, &run);
        moved[r] = told != NULL && told->disposition != SH_DISPOSITION_PUBLISHED ? SIZE_MAX : kept;
        if (moved[r] == SIZE_MAX)
            continue;
        for (size_t s = 0; told != NULL && s < found->what.stretch_count; s++)
            if (found->what.stretches[s].run == r)
                found->what.stretches[s].base_offset += told->first_offset;
        if (told != NULL)
            run.first_offset = told->first_offset;
        found->what.origins[kept] = found->what.origins[r];
        found->what.runs[kept++] = run;
    }
    found->what.count = kept;
    /* Sequences without offsets are nobody's. */
    size_t kept_stretches = 0;
    for (size_t s = 0; s < found->what.stretch_count; s++) {
        ShPgStretch stretch = found->what.stretches[s];
        stretch.run = moved[stretch.run];
        if (stretch.run != SIZE_MAX && found->what.runs[stretch.run].first_offset >= 0)
            found->what.stretches[kept_stretches++] = stretch;
    }
    found->what.stretch_count = kept_stretches;
    free(moved);
    ShStatus status = SH_OK;
    for (size_t i = 0; i < count && status == SH_OK; i++)
        if (!results[i].taken && results[i].told.disposition == SH_DISPOSITION_VOID &&
            results[i].told.first_offset >= 0)
            status = sh_present_add_void(&found->what, &results[i].told, err);
    found->done = found->what.count == 0;
    return status;
}

/* The next result of the run's partition and epoch; NULL: none is left. */
static const ShSegmentResult *take_result(Result *results, size_t count, const ShPgRun *run)
{
    for (size_t i = 0; i < count; i++) {
        const ShSegmentResult *told = &results[i].told;
        if (results[i].taken || told->partition != run->partition || told->epoch != run->epoch ||
            !sh_uuid_equal(&told->topic_id, &run->topic_id))
            continue;
        if (told->offset_count != run->offset_count)
            return NULL; /* what the run was told is missing: no other's will do */
        results[i].taken = true;
        return told;
    }
    return NULL;
}

static int compare_objects(const Result *result, const ShUuid *object_id)
{
    return memcmp(&result->told.object_id, object_id, sizeof *object_id);
}

static int compare_results(const void *a, const void *b)
{
    const Result *x = a;
    const Result *y = b;
    int order = compare_objects(x, &y->told.object_id);
    if (order == 0)
        order = (x->carrier_no > y->carrier_no) - (x->carrier_no < y->carrier_no);
    return order != 0 ? order : (x->place > y->place) - (x->place < y->place);
}

static ShStatus find_origins(Scan *scan)
{
    ShPresentOrigins origins = {0};
    ShStatus status = SH_OK;
    for (size_t i = 0; i < scan->count && status == SH_OK; i++)
        status = sh_present_origins_add(&origins, &scan->found[i].what, scan->err);
    for (size_t i = 0; i < scan->count && status == SH_OK; i++)
        sh_present_origins_give(&origins, &scan->found[i].what);
    sh_present_origins_free(&origins);
    return status;
}

/* In the order in which each writer has published. */
static int compare_found(const void *a, const void *b)
{
    const ShSegmentWriterId *x = &((const Found *)a)->writer;
    const ShSegmentWriterId *y = &((const Found *)b)->writer;
    int order = (x->incarnation > y->incarnation) - (x->incarnation < y->incarnation);
    return order != 0 ? order : (x->publish_no > y->publish_no) - (x->publish_no < y->publish_no);
}

/* Objects that have to wait for others come again, until no pass places any; of the rest then goes what can,
 * which may be what others wait for. What has no place in the end, another agent may know more of. */
static ShStatus present_all(Scan *scan)
{
    bool progress = true;
    ShStatus status = SH_OK;
    if (scan->count > 1)
        qsort(scan->found, scan->count, sizeof *scan->found, compare_found);
    while (progress && status == SH_OK)
        status = present_pass(scan, false, &progress);
    for (progress = true; progress && status == SH_OK;)
        status = present_pass(scan, true, &progress);
    return status;
}

static ShStatus present_pass(Scan *scan, bool is_last, bool *progress)
{
    *progress = false;
    for (size_t i = 0; i < scan->count; i++) {
        Found *found = &scan->found[i];
        if (found->done)
            continue;
        bool placed = false;
        bool waits = false;
        ShStatus status = present_object(scan, found, is_last, &placed, &waits);
        for (int tries = 1; status == SH_OUT_OF_ORDER_SEQUENCE && tries < CLAIMED_TRIES_MAX; tries++) {
            status = leave_claimed_out(scan, found);
            if (status == SH_OK)
                status = present_object(scan, found, is_last, &placed, &waits);
        }
        if (status != SH_OK)
            return status;
        found->done = !waits;
        *progress |= is_last ? placed : found->done;
        scan->placed += found->done;
        status = stay_alive(scan);
        if (status != SH_OK)
            return status;
    }
    return SH_OK;
}

static ShStatus present_object(Scan *scan, const Found *found, bool is_last, bool *placed, bool *waits)
{
    const ShPresentRuns *runs = found->rest.count > 0 ? &found->rest : &found->what;
    ShPgPublish object = {.incarnation = scan->engine->registered.incarnation,
                          .object_id = found->writer.object_id,
                          .object_key = found->key,
                          .object_bytes = found->bytes,
                          .runs = runs->runs,
                          .run_count = runs->count,
                          .stretches = runs->stretches,
                          .stretch_count = runs->stretch_count};
    ShPgPresented presented = {.writer_wal = found->writer.wal_uuid,
                               .writer_agent = found->agent_id,
                               .origins = runs->origins,
                               .is_last = is_last,
                               .acknowledged = may_be_acknowledged(scan, found),
                               .left_out = found->rest.unplaced};
    return sh_pg_present_object(scan->pg, &object, &presented, placed, waits, scan->err);
}

/* Later epochs have claimed some of the object's sequences since it was uploaded. */
static ShStatus leave_claimed_out(Scan *scan, Found *found)
{
    ShBuf *buffer = NULL;
    sh_log_warn("object_claimed", "key=\"%s\" reason=\"%s\"", found->key, scan->err->message);
    sh_error_clear(scan->err);
    ShStatus status = sh_store_get(scan->engine->store, found->key, 0, found->bytes, &buffer, scan->err);
    if (status == SH_OK && buffer->length != found->bytes)
        status = sh_fail(scan->err, SH_UNAVAILABLE, "object %s: the store gave %zu of its %" PRIu64 " bytes",
                         found->key, buffer->length, found->bytes);
    if (status == SH_OK)
        status = sh_present_ask_claims(scan->pg, scan->engine->registered.incarnation, &found->what,
                                       buffer->data, &found->rest, scan->err);
    sh_buf_unref(buffer);
    return status;
}

/* Of what this process uploaded it knows whether producers had an answer. A database that was restored gives
 * out numbers of incarnations again. */
static bool may_be_acknowledged(const Scan *scan, const Found *found)
{
    return !sh_uuid_equal(&found->writer.wal_uuid, &scan->engine->identity.wal_uuid) ||
           found->writer.incarnation != last_engine.incarnation ||
           found->writer.publish_no <= last_engine.answered_no;
}

/* A long look through the store is no silence. */
static ShStatus stay_alive(Scan *scan)
{
    ShEngine *engine = scan->engine;
    ShControl *control = &engine->control;
    int64_t now_ms = sh_clock_now_ms();
    if (now_ms - atomic_load(&control->renewed_ms) < engine->config->heartbeat_interval_ms)
        return SH_OK;
    ShPgHeartbeat answer;
    ShStatus status = sh_pg_heartbeat(scan->pg, engine->registered.incarnation, atomic_load(&control->calls),
                                      0, &answer, scan->err);
    if (status == SH_OK)
        atomic_store(&control->renewed_ms, now_ms);
    return status;
}

static void scan_free(Scan *scan)
{
    for (size_t i = 0; i < scan->count; i++) {
        sh_present_runs_free(&scan->found[i].what);
        sh_present_runs_free(&scan->found[i].rest);
    }
    for (size_t i = 0; i < scan->key_count; i++)
        free(scan->keys[i]);
    free(scan->found);
    free(scan->results);
}
