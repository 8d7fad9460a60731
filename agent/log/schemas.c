#include "agent/log/schemas.h"

#include <stdlib.h>

#include "agent/log/engine_internal.h"

#define MISSED_MS  5000 /* so long an id that PostgreSQL did not have is not asked about again */
#define REFRESH_MS 50   /* PostgreSQL is asked about missing ids at most so often */
#define SEEN_MS    2000 /* what was seen is told so often */
#define SEEN_ROOM  1000

static bool lacks(void *arg, int32_t id, int64_t as_of_ms);
static void replace_table(ShSchemas *schemas, ShSchemaTable *fresh);
static ShSchemaTable *borrow_table(ShSchemas *schemas);
static ShStatus tell_seen(ShEngine *engine, ShSchemaTable *table, ShError *err);

ShStatus sh_schemas_init(ShSchemas *schemas, ShError *err)
{
    pthread_mutex_init(&schemas->lock, NULL);
    schemas->store = sh_schema_store_new();
    return schemas->store != NULL ? SH_OK
                                  : sh_fail(err, SH_NO_MEMORY, "no memory for the schemas of records");
}

void sh_schemas_destroy(ShSchemas *schemas)
{
    if (schemas->store == NULL)
        return;
    sh_schema_table_unref(schemas->table);
    sh_schema_store_free(schemas->store);
    pthread_mutex_destroy(&schemas->lock);
}

ShStatus sh_schemas_load(ShEngine *engine, ShError *err)
{
    ShSchemas *schemas = &engine->schemas;
    ShPgTopicSchemas *news = NULL;
    ShStatus status = sh_pg_topic_schemas(engine->control.pg, schemas->version, &news, err);
    if (status != SH_OK)
        return status;
    if (news->changed) {
        ShSchemaTable *fresh = NULL;
        if (news->row_count > 0 && (fresh = sh_schema_table_new(news)) == NULL)
            status = sh_fail(err, SH_NO_MEMORY, "no memory for the schemas of the topics");
        if (status == SH_OK) {
            schemas->seen_due_ms = 0; /* with the old table goes what was seen */
            status = sh_schemas_step(engine, err);
        }
        if (status == SH_OK) {
            if (fresh != NULL)
                sh_schema_table_wish(fresh, schemas->store);
            replace_table(schemas, fresh);
            schemas->version = news->version;
        } else {
            sh_schema_table_unref(fresh);
        }
    }
    sh_pg_topic_schemas_free(news);
    if (status == SH_OK)
        status = sh_schemas_step(engine, err);
    return status;
}

ShStatus sh_schemas_step(ShEngine *engine, ShError *err)
{
    ShSchemas *schemas = &engine->schemas;
    if (!atomic_load(&schemas->validates) && !sh_schema_store_has_wishes(schemas->store))
        return SH_OK;
    ShStatus status = sh_schema_store_fetch(schemas->store, engine->control.pg, err);
    int64_t now_ms = sh_clock_now_ms();
    if (status != SH_OK || now_ms < schemas->seen_due_ms)
        return status;
    schemas->seen_due_ms = now_ms + SEEN_MS;
    ShSchemaTable *table = borrow_table(schemas);
    if (table != NULL)
        status = tell_seen(engine, table, err);
    sh_schema_table_unref(table);
    return status;
}

void sh_schemas_note_fresh(ShEngine *engine, int64_t as_of_ms)
{
    atomic_store(&engine->schemas.as_of_ms, as_of_ms);
}

bool sh_schemas_validates(ShEngine *engine, const ShUuid *topic_id)
{
    ShSchemas *schemas = &engine->schemas;
    if (!atomic_load_explicit(&schemas->validates, memory_order_acquire))
        return false;
    ShSchemaTable *table = borrow_table(schemas);
    bool validates = table != NULL && sh_schema_table_find(table, topic_id) != NULL;
    sh_schema_table_unref(table);
    return validates;
}

bool sh_engine_check_begin(ShEngine *engine, const ShTarget *target, ShSchemaBudget *budget,
                           ShRecordCheck *check)
{
    ShSchemas *schemas = &engine->schemas;
    if (!atomic_load_explicit(&schemas->validates, memory_order_acquire))
        return false;
    int64_t as_of_ms = atomic_load(&schemas->as_of_ms); /* before the table, which may be newer */
    ShSchemaTable *table = borrow_table(schemas);
    ShUuid topic_id;
    const ShTopicSchemas *topic = NULL;
    if (table != NULL && sh_meta_topic_id(&engine->meta, target, &topic_id))
        topic = sh_schema_table_find(table, &topic_id);
    if (topic == NULL) {
        sh_schema_table_unref(table);
        return false;
    }
    sh_record_check_begin(check, table, topic, schemas->store, budget);
    check->lacks = lacks;
    check->arg = engine;
    check->as_of_ms = as_of_ms;
    return true;
}

ShStatus sh_engine_check_end(ShEngine *engine, ShRecordCheck *check, ShError *err)
{
    ShStatus status = sh_record_check_end(check, err);
    if (status == SH_UNAVAILABLE && sh_schema_store_has_wishes(engine->schemas.store))
        sh_control_wake(engine);
    if (check->errors != NULL)
        sh_metric_add(engine->metrics.misfits, (int64_t)check->errors->count);
    return status;
}

static bool lacks(void *arg, int32_t id, int64_t as_of_ms)
{
    ShEngine *engine = arg;
    ShSchemas *schemas = &engine->schemas;
    int64_t now_ms = sh_clock_now_ms();
    atomic_uint_fast64_t *place = &schemas->missed[(uint32_t)id % SH_SCHEMAS_MISSED];
    uint64_t missed = atomic_load(place);
    uint32_t age_ms = (uint32_t)now_ms - (uint32_t)missed;
    if (missed >> 32 == (uint32_t)id && age_ms < MISSED_MS) {
        if (as_of_ms > now_ms - (int64_t)age_ms)
            return true;
    } else {
        atomic_store(place, (uint64_t)(uint32_t)id << 32 | (uint32_t)now_ms);
    }
    int64_t last_ms = atomic_load(&schemas->refresh_ms);
    if (now_ms - last_ms >= REFRESH_MS &&
        atomic_compare_exchange_strong(&schemas->refresh_ms, &last_ms, now_ms))
        sh_control_refresh(engine);
    return false;
}

static void replace_table(ShSchemas *schemas, ShSchemaTable *fresh)
{
    pthread_mutex_lock(&schemas->lock);
    ShSchemaTable *old = schemas->table;
    schemas->table = fresh;
    atomic_store(&schemas->validates, fresh != NULL);
    pthread_mutex_unlock(&schemas->lock);
    sh_schema_table_unref(old);
}

/* To be given back; NULL when there is none. */
static ShSchemaTable *borrow_table(ShSchemas *schemas)
{
    pthread_mutex_lock(&schemas->lock);
    ShSchemaTable *table = schemas->table;
    if (table != NULL)
        sh_schema_table_ref(table);
    pthread_mutex_unlock(&schemas->lock);
    return table;
}

static ShStatus tell_seen(ShEngine *engine, ShSchemaTable *table, ShError *err)
{
    ShPgSchemaSeen *seen = calloc(SEEN_ROOM, sizeof *seen);
    if (seen == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory to tell which schemas were seen");
    ShStatus status = SH_OK;
    size_t count;
    do {
        count = sh_schema_table_take_seen(table, seen, SEEN_ROOM);
        if (count > 0)
            status = sh_pg_schemas_seen(engine->control.pg, seen, count, err);
    } while (status == SH_OK && count == SEEN_ROOM);
    free(seen);
    return status;
}
