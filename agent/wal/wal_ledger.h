/*
 * wal_ledger.h - which records a WAL holds: per topic, partition and epoch the ranges of offsets, so that
 * what is missing between them can be told.
 */
#ifndef SH_AGENT_WAL_WAL_LEDGER_H
#define SH_AGENT_WAL_WAL_LEDGER_H

#include <stddef.h>
#include <stdint.h>

#include "core/batch.h"
#include "core/bytes.h"
#include "core/status.h"

/* Offsets [first, end) without a hole. */
typedef struct ShWalRange {
    int64_t first;
    int64_t end;
} ShWalRange;

typedef struct ShWalAccount {
    ShUuid topic_id;
    int32_t partition;
    int64_t epoch;
    ShWalRange *ranges; /* ascending; between two of them records are missing */
    size_t range_count;
    int64_t records;
    int64_t batches;
    int64_t bytes;
} ShWalAccount;

typedef struct ShWalLedger ShWalLedger;

/* NULL when memory is short. */
ShWalLedger *sh_wal_ledger_new(void);
void sh_wal_ledger_free(ShWalLedger *ledger);

/* Count a batch, in the order of the log. One that was written twice counts once. SH_CORRUPT when its header
 * makes no sense. */
ShStatus sh_wal_ledger_add(ShWalLedger *ledger, const ShUuid *topic_id, int32_t partition, int64_t epoch,
                           const uint8_t *batch, size_t length, ShError *err) SH_MUST_CHECK;

/* The accounts by topic, partition and epoch; the array is the ledger's, until the next call. */
const ShWalAccount *const *sh_wal_ledger_list(ShWalLedger *ledger, size_t *count);

#endif
