/*
 * wal_scan.h - what the bytes of one WAL file say: how far it is whole, and what proves that more was there.
 */
#ifndef SH_AGENT_WAL_WAL_SCAN_H
#define SH_AGENT_WAL_WAL_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/wal/wal_format.h"

typedef struct ShWalScan {
    int64_t end;         /* behind the last whole frame; of an END frame, before it */
    int64_t last_frame;  /* position of the last whole BATCH frame; 0: none */
    int64_t batches;     /* whole BATCH frames before `end` */
    int64_t batch_bytes; /* of them */
    int64_t proven;      /* the furthest synced point that any frame states, those behind `end` included */
    int64_t torn_bytes;  /* from `end` to the last byte that is this file's own, as far as can be told */
    bool ended;          /* an END frame stands at `end` */
    bool has_cut;        /* the file begins with a CUT frame, `cut` */
    ShWalFrame cut;
} ShWalScan;

/* Read a whole file. Reports damage, never fails: damage at `end` is corruption when `proven` lies behind it,
 * else a torn tail. Every batch before `end` was checked against its CRC. */
void sh_wal_scan(const ShWalFileHeader *header, const uint8_t *bytes, size_t length, ShWalScan *out);

/* Whether that scan found bytes missing that had been synced. */
static inline bool sh_wal_scan_is_corrupt(const ShWalScan *scan)
{
    return scan->proven > scan->end;
}

#endif
