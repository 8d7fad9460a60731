#include "postgres.h"

#include "lib/ilist.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "extension/schema_cache.h"

#define ENTRIES_MAX 4096
#define BYTES_MAX   ((size_t)128 << 20) /* of memory, together */
#define KEPT_MAX    (BYTES_MAX / 8)     /* of one that is kept */

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
    sh_schema_drop(entry->schema);
    (void)hash_search(entries, entry->digest, HASH_REMOVE, NULL);
}

/* Have a place for it, empty: nothing can fail later between memory that is not PostgreSQL's and its keeping.
 */
static Entry *new_entry(const uint8 digest[SH_SCHEMA_DIGEST_BYTES])
{
    if (entries == NULL)
        make_table();
    while (hash_get_num_entries(entries) >= ENTRIES_MAX)
        drop_entry(dlist_tail_element(Entry, by_use, &by_use));
    Entry *entry = hash_search(entries, digest, HASH_ENTER, NULL);
    entry->schema = NULL;
    entry->bytes = 0;
    dlist_push_head(&by_use, &entry->by_use);
    return entry;
}

const ShSchema *sh_schema_cache_add(const uint8 digest[SH_SCHEMA_DIGEST_BYTES], const ShSchemaSource *source,
                                    ShSchemaBudget *budget)
{
    ShSchema **place = sh_schema_place_of(source, budget);
    ShSchema *schema = *place;
    size_t bytes = sh_schema_bytes(schema);
    if (bytes > KEPT_MAX)
        return schema;
    Entry *entry = new_entry(digest);
    entry->schema = schema;
    *place = NULL;
    entry->bytes = bytes;
    bytes_kept += bytes;
    while (bytes_kept > BYTES_MAX)
        drop_entry(dlist_tail_element(Entry, by_use, &by_use));
    return schema;
}
