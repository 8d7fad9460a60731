#include "postgres.h"

#include "lib/ilist.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "extension/schema_cache.h"

#define ENTRIES_MAX 4096
#define BYTES_MAX   (4u << 20) /* parsed, they take about thirty times as much */

/* The key comes first, as dynahash wants it. */
typedef struct Entry {
    uint8 digest[SH_SCHEMA_DIGEST_BYTES];
    dlist_node by_use; /* the head was used last */
    ShSchema *schema;
    size_t bytes;
} Entry;

static HTAB *entries;
static dlist_head by_use = DLIST_STATIC_INIT(by_use);
static size_t bytes_kept;

const ShSchema *sh_schema_cache_get(const uint8 digest[SH_SCHEMA_DIGEST_BYTES])
{
    if (entries == NULL)
        return NULL;
    Entry *entry = hash_search(entries, digest, HASH_FIND, NULL);
    if (entry == NULL)
        return NULL;
    dlist_move_head(&by_use, &entry->by_use);
    return entry->schema;
}

static void make_table(void)
{
    HASHCTL control = {
        .keysize = SH_SCHEMA_DIGEST_BYTES, .entrysize = sizeof(Entry), .hcxt = TopMemoryContext};
    entries = hash_create("streamhouse schemas", 256, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static void drop_entry(Entry *entry)
{
    dlist_delete(&entry->by_use);
    bytes_kept -= entry->bytes;
    sh_schema_free(entry->schema);
    (void)hash_search(entries, entry->digest, HASH_REMOVE, NULL);
}

const ShSchema *sh_schema_cache_add(const uint8 digest[SH_SCHEMA_DIGEST_BYTES], const ShSchemaSource *source)
{
    size_t bytes = source->text_bytes;
    for (size_t i = 0; i < source->reference_count; i++)
        bytes += source->references[i].text_bytes;
    if (entries == NULL)
        make_table();
    while (!dlist_is_empty(&by_use) &&
           (hash_get_num_entries(entries) >= ENTRIES_MAX || bytes_kept + bytes > BYTES_MAX))
        drop_entry(dlist_tail_element(Entry, by_use, &by_use));

    /* The entry is there before the schema is: nothing can fail once memory that is not PostgreSQL's is held.
     */
    bool is_known;
    Entry *entry = hash_search(entries, digest, HASH_ENTER, &is_known);
    if (is_known)
        return entry->schema;
    entry->schema = NULL;
    entry->bytes = bytes;
    bytes_kept += bytes;
    dlist_push_head(&by_use, &entry->by_use);

    ShError err = {0};
    if (sh_schema_parse(source->type, source->text, source->text_bytes, source->references,
                        source->reference_count, &entry->schema, &err) != SH_OK) {
        entry->schema = NULL;
        drop_entry(entry);
        sh_schema_raise(source->type, &err);
    }
    return entry->schema;
}
