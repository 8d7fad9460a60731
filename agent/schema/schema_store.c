#include "agent/schema/schema_store.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

typedef struct Entry {
    ShStoredSchema stored; /* first: what is handed out is cast back */
    atomic_int refs;
    ShSchema *schema;
    size_t bytes; /* of memory */
    ShError problem;
    UT_hash_handle hh;
} Entry;

struct ShSchemaStore {
    pthread_mutex_t lock;
    /* guarded by lock */
    Entry *by_id; /* in the order in which they came */
    size_t bytes;
    int32_t wishes[SH_SCHEMA_WISHES_MAX];
    size_t wish_count;
};

static void release(Entry *entry);
static void drop(ShSchemaStore *store, Entry *entry);
static void wish(ShSchemaStore *store, int32_t id);
static ShStatus parse(const ShPgSchema *from, ShSchema **out, ShError *err);

ShSchemaStore *sh_schema_store_new(void)
{
    ShSchemaStore *store = calloc(1, sizeof *store);
    if (store != NULL)
        pthread_mutex_init(&store->lock, NULL);
    return store;
}

void sh_schema_store_free(ShSchemaStore *store)
{
    if (store == NULL)
        return;
    Entry *entry, *next;
    HASH_ITER(hh, store->by_id, entry, next)
    {
        drop(store, entry);
    }
    pthread_mutex_destroy(&store->lock);
    free(store);
}

const ShStoredSchema *sh_schema_store_find(ShSchemaStore *store, int32_t id)
{
    Entry *entry;
    pthread_mutex_lock(&store->lock);
    HASH_FIND(hh, store->by_id, &id, sizeof id, entry);
    if (entry != NULL)
        atomic_fetch_add(&entry->refs, 1);
    else
        wish(store, id);
    pthread_mutex_unlock(&store->lock);
    return entry == NULL ? NULL : &entry->stored;
}

void sh_schema_store_release(const ShStoredSchema *schema)
{
    if (schema != NULL)
        release((Entry *)(uintptr_t)schema);
}

void sh_schema_store_wish(ShSchemaStore *store, int32_t id)
{
    Entry *entry;
    pthread_mutex_lock(&store->lock);
    HASH_FIND(hh, store->by_id, &id, sizeof id, entry);
    if (entry == NULL)
        wish(store, id);
    pthread_mutex_unlock(&store->lock);
}

bool sh_schema_store_has_wishes(ShSchemaStore *store)
{
    pthread_mutex_lock(&store->lock);
    bool has = store->wish_count > 0;
    pthread_mutex_unlock(&store->lock);
    return has;
}

ShStatus sh_schema_store_fetch(ShSchemaStore *store, ShPg *pg, ShError *err)
{
    int32_t wishes[SH_SCHEMA_WISHES_MAX];
    pthread_mutex_lock(&store->lock);
    size_t count = store->wish_count;
    memcpy(wishes, store->wishes, count * sizeof wishes[0]);
    store->wish_count = 0;
    pthread_mutex_unlock(&store->lock);
    for (size_t i = 0; i < count; i++) {
        ShPgSchema schema = {0};
        ShStatus status = sh_pg_schema_by_id(pg, wishes[i], &schema, err);
        if (status != SH_OK && status != SH_NOT_FOUND)
            return status; /* who still wants the others wishes again */
        sh_schema_store_put(store, wishes[i], &schema, status == SH_OK ? NULL : err->message);
        sh_pg_schema_free(&schema);
    }
    return SH_OK;
}

void sh_schema_store_put(ShSchemaStore *store, int32_t id, const ShPgSchema *schema, const char *problem)
{
    Entry *fresh = calloc(1, sizeof *fresh);
    if (fresh == NULL)
        return;
    atomic_init(&fresh->refs, 1);
    fresh->stored.id = id;
    ShStatus status = problem != NULL ? sh_fail(&fresh->problem, SH_NOT_FOUND, "%s", problem)
                                      : parse(schema, &fresh->schema, &fresh->problem);
    if (status == SH_NO_MEMORY) {
        release(fresh);
        return;
    }
    fresh->bytes = sizeof *fresh + (fresh->schema == NULL ? 0 : sh_schema_bytes(fresh->schema));
    fresh->stored.schema = fresh->schema;
    fresh->stored.problem = status == SH_OK ? NULL : fresh->problem.message;

    Entry *old;
    pthread_mutex_lock(&store->lock);
    HASH_FIND(hh, store->by_id, &id, sizeof id, old);
    if (old != NULL)
        drop(store, old);
    while (store->by_id != NULL && (HASH_COUNT(store->by_id) >= SH_SCHEMA_STORE_MAX ||
                                    store->bytes + fresh->bytes > SH_SCHEMA_STORE_BYTES_MAX))
        drop(store, store->by_id);
    HASH_ADD(hh, store->by_id, stored.id, sizeof id, fresh);
    bool is_kept = fresh->hh.tbl != NULL;
    if (is_kept)
        store->bytes += fresh->bytes;
    pthread_mutex_unlock(&store->lock);
    if (!is_kept)
        release(fresh);
}

/* With the lock held. Who has found it keeps it. */
static void drop(ShSchemaStore *store, Entry *entry)
{
    store->bytes -= entry->bytes;
    HASH_DEL(store->by_id, entry);
    release(entry);
}

static void release(Entry *entry)
{
    if (atomic_fetch_sub(&entry->refs, 1) != 1)
        return;
    sh_schema_free(entry->schema);
    free(entry);
}

/* With the lock held. */
static void wish(ShSchemaStore *store, int32_t id)
{
    for (size_t i = 0; i < store->wish_count; i++)
        if (store->wishes[i] == id)
            return;
    if (store->wish_count < SH_SCHEMA_WISHES_MAX)
        store->wishes[store->wish_count++] = id;
}

static ShStatus parse(const ShPgSchema *from, ShSchema **out, ShError *err)
{
    ShSchemaType type = strcmp(from->type, "AVRO") == 0   ? SH_SCHEMA_AVRO
                        : strcmp(from->type, "JSON") == 0 ? SH_SCHEMA_JSON
                                                          : SH_SCHEMA_PROTOBUF;
    ShSchemaReference *references = calloc(from->reference_count + 1, sizeof references[0]);
    if (references == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for a schema's references");
    for (size_t i = 0; i < from->reference_count; i++)
        references[i] = (ShSchemaReference){.name = from->references[i].name,
                                            .text = from->references[i].text,
                                            .text_bytes = strlen(from->references[i].text)};
    ShStatus status = sh_schema_parse(type, from->text, strlen(from->text), references, from->reference_count,
                                      NULL, out, err);
    free(references);
    return status;
}
