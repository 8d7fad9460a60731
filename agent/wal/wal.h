/*
 * wal.h - the write-ahead log: acknowledged batches that are not yet in the store.
 *
 * One directory per agent, one writer thread. The file format stands in wal_format.h. The directory is locked
 * by the process, holds the WAL's UUID and the incarnation number, and files that are deleted or used again
 * when every batch in them has a disposition.
 */
#ifndef SH_AGENT_WAL_WAL_H
#define SH_AGENT_WAL_WAL_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/base/config.h"
#include "core/bytes.h"
#include "core/status.h"

typedef struct ShWal ShWal;

/* One batch on its way into the log, embedded in the caller's own structure, which must live until
 * `on_written` has been called for it. */
typedef struct ShWalEntry {
    struct ShWalEntry *next; /* the WAL's, and the list given to on_written */
    ShUuid topic_id;
    int32_t partition;
    int64_t epoch;
    ShSlice batch;    /* with its absolute base offset; the WAL holds a reference while it needs the bytes */
    uint64_t file_no; /* set by the WAL: give it to sh_wal_release */
} ShWalEntry;

/* What the WAL calls back, on its writer thread, in the order of the appends, with the list of the entries
 * that satisfy the sync policy now (`status` SH_OK). On failure the WAL is dead (SH_IO): nothing that follows
 * will be accepted, and the agent must stop. Must not block. */
typedef void (*ShWalWrittenFn)(void *arg, ShWalEntry *entries, ShStatus status, const ShError *err);

typedef struct ShWalOptions {
    const char *dir;
    ShWalSync sync;
    int64_t sync_interval_ms;
    int64_t file_bytes;   /* files are preallocated to this size, at most a quarter of the budget */
    int64_t budget_bytes; /* of all files together */
    bool skip_corruption; /* recovery goes past damage to what had been synced, instead of refusing it */
    ShWalWrittenFn on_written;
    void *arg;
} ShWalOptions;

typedef struct ShWalIdentity {
    ShUuid wal_uuid;
    int64_t incarnation_no; /* raised and fsynced by this open */
    int64_t calls_seen;     /* highest PostgreSQL call counter that was noted here */
    bool clean;             /* the log was closed by sh_wal_close with nothing left in it */
    bool damaged;           /* a start met damage, and none has completed since: records may be lost */
    /* Of the last incarnation that was started, that is, may have acknowledged anything. */
    char boot_id[37]; /* "" when there was none */
    ShWalSync previous_sync;
} ShWalIdentity;

/* Open the directory (it must exist), lock it, raise the incarnation number. Errors name the directory and
 * the remedy: SH_NOT_FOUND missing, SH_DENIED not writable, SH_EXISTS in use by another process (its
 * pid), SH_CORRUPT identity file damaged. No thread is started and nothing is written to the log yet. */
ShStatus sh_wal_open(const ShWalOptions *options, ShWal **out, ShWalIdentity *identity,
                     ShError *err) SH_MUST_CHECK;

/* Before sh_wal_recover: has the disk room for a file? SH_EXHAUSTED, retriable, when not. A log that holds
 * files needs none yet: what they hold may be published, which makes room. */
ShStatus sh_wal_check_room(ShWal *wal, ShError *err) SH_MUST_CHECK;

/* One surviving batch. The slice's owner may be referenced to keep the bytes. */
typedef ShStatus (*ShWalRecoverFn)(void *arg, const ShWalEntry *entry, ShError *err);

typedef struct ShWalRecovery {
    int64_t files;
    int64_t batches;
    int64_t bytes;
    int64_t torn_bytes; /* cut off behind the last whole frame of the log */
    int64_t holes;      /* parts of damaged files that were gone past: acknowledged batches may be missing */
} ShWalRecovery;

/* Read what earlier incarnations left, oldest first, in append order. Each batch handed over counts as held:
 * call sh_wal_release(file_no) once it has a disposition. A torn tail is cut off and logged; damage before a
 * point that was synced is logged with the records that it took, and is SH_CORRUPT naming file, position and
 * the last good batch, with nothing changed; or, with `skip_corruption`, what can be read behind it is handed
 * over, and `holes` tells that batches are missing. To be called once, before sh_wal_start. */
ShStatus sh_wal_recover(ShWal *wal, ShWalRecoverFn fn, void *arg, ShWalRecovery *stats,
                        ShError *err) SH_MUST_CHECK;

/* Start the threads; new entries go to a new file. Call it once what was recovered has its disposition, and
 * its epochs their ends: from then on the identity tells the boot id and policy of this incarnation, under
 * which alone records can be missing. */
ShStatus sh_wal_start(ShWal *wal, ShError *err) SH_MUST_CHECK;

/* Hand an entry to the writer. Any thread, never blocks. Entries are written in the order of the calls.
 * Fails, and does not keep the entry, with SH_EXHAUSTED when the budget is reached or the disk is full
 * (retry_after_ms set), SH_IO when the WAL is dead, SH_UNAVAILABLE when it is being closed, SH_TOO_LARGE when
 * the batch exceeds the whole budget, SH_INVALID when it is shorter than a batch's header. */
ShStatus sh_wal_append(ShWal *wal, ShWalEntry *entry, ShError *err) SH_MUST_CHECK;

/* Are batches refused because no other file can be made, most likely as the disk is full? Then `why` says so.
 * Any thread. */
bool sh_wal_lacks_room(ShWal *wal, char *why, size_t why_bytes);

/* A batch of that file has a committed disposition. Any thread; a thread of the WAL deletes the file, or uses
 * it again, when it was the last one. */
void sh_wal_release(ShWal *wal, uint64_t file_no, int64_t batches);

/* Note, durably but lazily (with the next sync), the highest PostgreSQL call counter seen. */
void sh_wal_note_calls(ShWal *wal, int64_t calls);

int64_t sh_wal_bytes(const ShWal *wal);   /* on disk, all files, spares included */
int64_t sh_wal_batches(const ShWal *wal); /* without a disposition */

/* Write and sync what is queued, stop the threads, mark the log clean if nothing is held, unlock. Entries
 * that find no space any more go to on_written with SH_IO. No other call may be under way. NULL allowed. */
void sh_wal_close(ShWal *wal);

#endif
