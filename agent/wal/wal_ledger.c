#include "agent/wal/wal_ledger.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

typedef struct Key {
    ShUuid topic_id;
    int32_t partition;
    int32_t unused; /* zero: the key is hashed byte by byte */
    int64_t epoch;
} Key;

typedef struct Entry {
    Key key;
    ShWalAccount account;
    size_t range_capacity;
    UT_hash_handle hh;
} Entry;

struct ShWalLedger {
    Entry *entries;
    Entry *last; /* batches of one partition often follow each other */
    const ShWalAccount **list;
};

static Entry *find(ShWalLedger *ledger, const Key *key);
static ShStatus add_offsets(Entry *entry, int64_t first, int64_t end, ShError *err);
static int compare(const void *a, const void *b);

ShWalLedger *sh_wal_ledger_new(void)
{
    return calloc(1, sizeof(ShWalLedger));
}

void sh_wal_ledger_free(ShWalLedger *ledger)
{
    if (ledger == NULL)
        return;
    Entry *entry, *next;
    HASH_ITER(hh, ledger->entries, entry, next)
    {
        HASH_DEL(ledger->entries, entry);
        free(entry->account.ranges);
        free(entry);
    }
    free(ledger->list);
    free(ledger);
}

ShStatus sh_wal_ledger_add(ShWalLedger *ledger, const ShUuid *topic_id, int32_t partition, int64_t epoch,
                           const uint8_t *batch, size_t length, ShError *err)
{
    ShBatchHeader header;
    ShStatus status = sh_batch_peek(batch, length, &header, err);
    if (status != SH_OK)
        return status;
    Key key = {.topic_id = *topic_id, .partition = partition, .epoch = epoch};
    Entry *entry = find(ledger, &key);
    if (entry == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory to count what the WAL holds");

    ShWalAccount *account = &entry->account;
    int64_t first = header.base_offset;
    int64_t end = first + (header.last_offset_delta < 0 ? 0 : header.last_offset_delta) + 1;
    if (account->range_count > 0 && end <= account->ranges[account->range_count - 1].end)
        return SH_OK;
    account->records += header.record_count;
    account->batches++;
    account->bytes += (int64_t)length;
    return add_offsets(entry, first, end, err);
}

const ShWalAccount *const *sh_wal_ledger_list(ShWalLedger *ledger, size_t *count)
{
    size_t used = 0;
    free(ledger->list);
    ledger->list = calloc(HASH_COUNT(ledger->entries) + 1, sizeof *ledger->list);
    if (ledger->list == NULL) {
        *count = 0;
        return NULL;
    }
    for (const Entry *entry = ledger->entries; entry != NULL; entry = entry->hh.next)
        ledger->list[used++] = &entry->account;
    if (used > 0)
        qsort(ledger->list, used, sizeof *ledger->list, compare);
    *count = used;
    return ledger->list;
}

/* The entry of that key, made if there is none; NULL when memory is short. */
static Entry *find(ShWalLedger *ledger, const Key *key)
{
    Entry *entry = ledger->last;
    if (entry != NULL && memcmp(&entry->key, key, sizeof *key) == 0)
        return entry;
    HASH_FIND(hh, ledger->entries, key, sizeof *key, entry);
    if (entry == NULL && (entry = calloc(1, sizeof *entry)) != NULL) {
        entry->key = *key;
        entry->account = (ShWalAccount){
            .topic_id = key->topic_id, .partition = key->partition, .epoch = key->epoch};
        HASH_ADD(hh, ledger->entries, key, sizeof entry->key, entry);
        if (entry->hh.tbl == NULL) {
            free(entry);
            return NULL;
        }
    }
    if (entry != NULL)
        ledger->last = entry;
    return entry;
}

static ShStatus add_offsets(Entry *entry, int64_t first, int64_t end, ShError *err)
{
    ShWalAccount *account = &entry->account;
    if (account->range_count > 0 && first <= account->ranges[account->range_count - 1].end) {
        account->ranges[account->range_count - 1].end = end;
        return SH_OK;
    }
    if (account->range_count == entry->range_capacity) {
        size_t capacity = entry->range_capacity == 0 ? 1 : 2 * entry->range_capacity;
        ShWalRange *ranges = reallocarray(account->ranges, capacity, sizeof *ranges);
        if (ranges == NULL)
            return sh_fail(err, SH_NO_MEMORY, "no memory to count what the WAL holds");
        account->ranges = ranges;
        entry->range_capacity = capacity;
    }
    account->ranges[account->range_count++] = (ShWalRange){first, end};
    return SH_OK;
}

static int compare(const void *a, const void *b)
{
    const ShWalAccount *x = *(const ShWalAccount *const *)a;
    const ShWalAccount *y = *(const ShWalAccount *const *)b;
    int order = memcmp(x->topic_id.bytes, y->topic_id.bytes, sizeof x->topic_id.bytes);
    if (order != 0)
        return order;
    if (x->partition != y->partition)
        return x->partition < y->partition ? -1 : 1;
    return (x->epoch > y->epoch) - (x->epoch < y->epoch);
}
