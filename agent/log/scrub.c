#include "agent/log/scrub.h"

#include <inttypes.h>
#include <stdlib.h>

#include "agent/log/store_identity.h"
#include "agent/pg/pg_scrub.h"
#include "agent/store/store.h"

#define PREFIX_COUNT  256
#define PG_TIMEOUT_MS 60000

typedef struct Scrub {
    FILE *out;
    ShStore *store;
    ShPg *pg;
    ShPgStored *stored; /* what one prefix holds */
    size_t stored_count;
    size_t stored_capacity;
    bool short_of_memory;
    int64_t objects;
    int64_t bytes;
    int64_t missing;
    int64_t wrong_size;
    int64_t unknown;
    int64_t records_lost;
} Scrub;

static ShStatus scrub_prefix(Scrub *scrub, int number, ShError *err);
static bool on_listed(void *arg, const char *key, uint64_t bytes);
static ShStatus look_again(Scrub *scrub, ShPgScrubbed *row, bool *good, ShError *err);
static ShStatus report(Scrub *scrub, const ShPgScrubbed *row, ShError *err);

ShStatus sh_scrub(const ShConfig *config, FILE *out, bool *damaged, ShError *err)
{
    Scrub scrub = {.out = out};
    ShStatus status = sh_store_open(config, &scrub.store, err);
    if (status == SH_OK)
        status = sh_pg_new(config->postgres, "streamhouse-agent scrub", PG_TIMEOUT_MS, &scrub.pg, err);
    if (status == SH_OK)
        status = sh_pg_check(scrub.pg, err);
    if (status == SH_OK)
        status = sh_store_identity_check(scrub.store, scrub.pg, err);
    for (int i = 0; i < PREFIX_COUNT && status == SH_OK; i++)
        status = scrub_prefix(&scrub, i, err);
    if (status == SH_OK) {
        fprintf(out,
                "scrubbed objects=%" PRId64 " bytes=%" PRId64 " missing=%" PRId64 " size=%" PRId64
                " unknown=%" PRId64 " records_lost=%" PRId64 "\n",
                scrub.objects, scrub.bytes, scrub.missing, scrub.wrong_size, scrub.unknown,
                scrub.records_lost);
        *damaged = scrub.missing + scrub.wrong_size > 0;
    }
    free(scrub.stored);
    sh_pg_free(scrub.pg);
    sh_store_close(scrub.store);
    return status;
}

static ShStatus scrub_prefix(Scrub *scrub, int number, ShError *err)
{
    char digits[3], prefix[4];
    snprintf(digits, sizeof digits, "%02x", (unsigned)number & 0xFF);
    snprintf(prefix, sizeof prefix, "%s/", digits);
    scrub->stored_count = 0;
    ShStatus status = sh_store_list(scrub->store, prefix, on_listed, scrub, err);
    if (status == SH_OK && scrub->short_of_memory)
        status = sh_fail(err, SH_NO_MEMORY, "no memory for the objects of prefix %s", prefix);
    ShPgScrubbed *rows = NULL;
    size_t count = 0;
    if (status == SH_OK)
        status = sh_pg_scrub_objects(scrub->pg, digits, scrub->stored, scrub->stored_count, &rows, &count,
                                     err);
    for (size_t i = 0; i < count && status == SH_OK; i++) {
        bool good = false;
        status = look_again(scrub, &rows[i], &good, err);
        if (status == SH_OK && !good)
            status = report(scrub, &rows[i], err);
    }
    free(rows);
    return status;
}

static bool on_listed(void *arg, const char *key, uint64_t bytes)
{
    Scrub *scrub = arg;
    if (scrub->stored_count == scrub->stored_capacity) {
        size_t capacity = scrub->stored_capacity == 0 ? 256 : 2 * scrub->stored_capacity;
        ShPgStored *larger = reallocarray(scrub->stored, capacity, sizeof *larger);
        scrub->short_of_memory = larger == NULL;
        if (larger == NULL)
            return false;
        scrub->stored = larger;
        scrub->stored_capacity = capacity;
    }
    ShPgStored *stored = &scrub->stored[scrub->stored_count];
    int length = snprintf(stored->object_key, sizeof stored->object_key, "%s", key);
    if ((size_t)length >= sizeof stored->object_key)
        return true; /* no key of ours is so long */
    stored->bytes = bytes;
    scrub->stored_count++;
    scrub->objects++;
    scrub->bytes += (int64_t)bytes;
    return true;
}

/* What was published after the store was listed is missing in the list alone; and what compaction has
 * replaced since, no segment refers to any more. */
static ShStatus look_again(Scrub *scrub, ShPgScrubbed *row, bool *good, ShError *err)
{
    if (row->finding != SH_SCRUB_MISSING)
        return SH_OK;
    uint64_t bytes = 0;
    ShStatus status = sh_store_size(scrub->store, row->object_key, &bytes, err);
    if (status == SH_NOT_FOUND)
        return SH_OK;
    if (status != SH_OK)
        return status;
    row->stored_bytes = (int64_t)bytes;
    *good = row->stored_bytes == row->bytes;
    if (!*good)
        row->finding = SH_SCRUB_SIZE;
    return SH_OK;
}

static ShStatus report(Scrub *scrub, const ShPgScrubbed *row, ShError *err)
{
    if (row->finding == SH_SCRUB_UNKNOWN) {
        scrub->unknown++;
        fprintf(scrub->out, "unknown object=%s bytes=%" PRId64 "\n", row->object_key, row->stored_bytes);
        return SH_OK;
    }
    const char *const keys[] = {row->object_key};
    ShPgScrubbedSegment *segments = NULL;
    size_t count = 0;
    ShStatus status = sh_pg_scrub_segments(scrub->pg, keys, 1, &segments, &count, err);
    if (status != SH_OK)
        return status;
    if (count > 0 && row->finding == SH_SCRUB_MISSING) {
        scrub->missing++;
        fprintf(scrub->out, "missing object=%s bytes=%" PRId64 "\n", row->object_key, row->bytes);
    } else if (count > 0) {
        scrub->wrong_size++;
        fprintf(scrub->out, "size object=%s bytes=%" PRId64 " published_bytes=%" PRId64 "\n", row->object_key,
                row->stored_bytes, row->bytes);
    }
    for (size_t i = 0; i < count; i++) {
        const ShPgScrubbedSegment *segment = &segments[i];
        fprintf(scrub->out, "  lost partition=%s/%d from=%" PRId64 " to=%" PRId64 " records=%" PRId64 "\n",
                segment->topic, (int)segment->partition, segment->first_offset, segment->last_offset,
                segment->records);
        scrub->records_lost += segment->records;
    }
    free(segments);
    return SH_OK;
}
