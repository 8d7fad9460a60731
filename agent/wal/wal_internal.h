/*
 * wal_internal.h - what the files of agent/wal share. Nobody else includes it.
 *
 * Threads: callers append and release; the writer (wal_writer.c) owns the current file and acknowledges; the
 * syncer (wal_sync.c, not under `never`) syncs that file while the writer goes on; the keeper (wal_keeper.c)
 * prepares the next file, and recycles or deletes released ones.
 * One mutex guards what they share; it is never held across I/O.
 */
#ifndef SH_AGENT_WAL_WAL_INTERNAL_H
#define SH_AGENT_WAL_WAL_INTERNAL_H

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/uio.h>

#include "agent/base/metrics.h"
#include "agent/wal/wal.h"
#include "agent/wal/wal_format.h"
#include "agent/wal/wal_survey.h"

#define SH_WAL_FILE_NAME_BYTES 32 /* "0000000100000001.wal.spare" and the NUL */
#define SH_WAL_LOG_SUFFIX      ".wal"
#define SH_WAL_SPARE_SUFFIX    ".wal.spare"
#define SH_WAL_RETRY_MS        500  /* between attempts to get space on a full disk */
#define SH_WAL_WAIT_MS_MAX     1000 /* no wait is longer, so that a lost wake-up costs a second at most */

/* An entry while the WAL needs it: queued, written and not yet synced, or synced and not yet acknowledged.
 * Holds a reference on the batch. */
typedef struct ShWalNode {
    struct ShWalNode *next;
    ShWalEntry *entry; /* the caller's; NULL once it is on its way to on_written */
    ShUuid topic_id;
    int32_t partition;
    int64_t epoch;
    ShSlice batch;
} ShWalNode;

typedef struct ShWalList {
    ShWalNode *first;
    ShWalNode *last;
    int64_t count;
    int64_t frame_bytes; /* what the nodes take in a file */
} ShWalList;

/* A file of the log. Fields are guarded by the WAL's lock, but the writer alone changes `position`. */
typedef struct ShWalFile {
    struct ShWalFile *next;
    uint64_t no;
    int fd;                 /* -1 once sealed */
    int64_t size_bytes;     /* on disk */
    int64_t position;       /* where the next frame goes */
    int64_t synced;         /* everything before it is on disk for good */
    int64_t held;           /* batches without a disposition, and one for each dead file that points here */
    bool sealed;            /* nothing will be written to it; may be deleted when nothing is held */
    bool failed;            /* a write or sync of it failed: its place on the disk is not trusted again */
    struct ShWalFile *rest; /* of a dead file: where its unsynced batches went, kept until it is deleted */
} ShWalFile;

/* The text file `identity`. */
typedef struct ShWalIdentityFile {
    ShUuid wal_uuid;
    int64_t incarnation_no;
    int64_t calls;
    bool clean;
    bool damaged;
    char boot_id[37];
    ShWalSync sync;
} ShWalIdentityFile;

/* Room for the gathered write of one chunk of frames: each takes an area for the padding of the frame before
 * it and its own header, and its batch. */
#define SH_WAL_CHUNK_FRAMES ((IOV_MAX - 1) / 2)
typedef struct ShWalChunk {
    struct iovec iov[IOV_MAX];
    uint8_t heads[SH_WAL_CHUNK_FRAMES][SH_WAL_ALIGN_BYTES + SH_WAL_FRAME_HEADER_BYTES];
} ShWalChunk;

typedef struct ShWalMetrics {
    ShMetric *append_bytes;
    ShMetric *append_batches;
    ShMetric *groups;
    ShMetric *sync_duration;
    ShMetric *size_bytes;
    ShMetric *batches_held;
    ShMetric *batches_recovered;
    ShMetric *files_dead;
    ShMetric *files_recycled;
} ShWalMetrics;

struct ShWal {
    /* constant once open */
    char *dir;
    int dir_fd;
    int lock_fd;
    ShWalSync sync;
    bool skip_corruption;
    int64_t sync_interval_ms;
    int64_t file_bytes;
    int64_t data_bytes_max; /* what may be held: the budget less the unfilled file and the prepared one */
    ShWalWrittenFn on_written;
    void *arg;
    ShUuid wal_uuid;
    ShWalMetrics metrics;

    pthread_t writer, syncer, keeper;
    bool writer_started, syncer_started, keeper_started;
    ShWalChunk chunk;  /* the writer's */
    ShWalFile *spares; /* the keeper's: released files that wait to become the next ones */
    int spare_count;

    atomic_llong disk_bytes;
    atomic_llong batches_held;

    pthread_mutex_t lock;
    pthread_cond_t writer_wake; /* entries, a prepared file, the end of a sync, the end */
    pthread_cond_t syncer_wake; /* the first unsynced batch, the end */
    pthread_cond_t keeper_wake; /* a file to prepare or to delete, the end */
    pthread_cond_t sync_done;   /* sync_busy became false */
    /* guarded by lock */
    ShWalIdentityFile identity;
    bool identity_dirty;
    ShWalList queue;
    int64_t unwritten_bytes;   /* accepted frames that no file holds yet */
    int64_t gather_bytes;      /* the waiting writer is woken when the queue's frames take as many */
    ShWalList unsynced;        /* in the current file, in its order */
    int64_t unsynced_since_ms; /* the oldest of them */
    ShWalList durable;         /* synced, and for the writer to acknowledge; in the order of the appends */
    bool sync_busy;            /* somebody syncs the current file, or writes it again */
    bool current_failed;       /* a write or sync of the current file failed: it is dead */
    ShWalFile *files;          /* the current one and all that may hold batches */
    ShWalFile *current;
    ShWalFile *prepared;
    uint64_t next_file_no;
    int64_t sealed_bytes;     /* sizes of the sealed files */
    int64_t wanted_bytes;     /* size of the file to prepare */
    bool file_awaited;        /* the writer cannot go on without it */
    int64_t prepare_after_ms; /* do not try to prepare a file before that time */
    bool space_lacking;       /* the last attempt to prepare a file failed, with space_error */
    ShError space_error;
    bool room_refused; /* since then a batch was refused, as the current file has no room for it */
    bool turn_wanted;  /* for the writer: end the current file, of which nothing is held, to be used again */
    bool closing;      /* the writer ends when the queue is empty, the syncer at once */
    bool keeper_closing;
    bool dead;
    ShError dead_error;
};

/* wal_list.c */
void sh_wal_list_push(ShWalList *list, ShWalNode *node);
/* Move everything of `from` behind `to`. */
void sh_wal_list_join(ShWalList *to, ShWalList *from);
/* Take the first `count` nodes off the list. */
ShWalList sh_wal_list_take(ShWalList *list, int64_t count);
/* Take nodes until they have `enough_bytes`, as long as they fit into `room_bytes`. */
ShWalList sh_wal_list_take_fitting(ShWalList *list, int64_t enough_bytes, int64_t room_bytes);
/* Give up the nodes and their references. */
void sh_wal_list_free(ShWalList *list);

/* wal_identity.c: pure */
#define SH_WAL_IDENTITY_BYTES_MAX 512
size_t sh_wal_identity_format(const ShWalIdentityFile *identity, char out[SH_WAL_IDENTITY_BYTES_MAX]);
/* SH_CORRUPT when the text is not exactly what sh_wal_identity_format writes. */
ShStatus sh_wal_identity_parse(const char *text, size_t length, ShWalIdentityFile *out,
                               ShError *err) SH_MUST_CHECK;

/* wal_dir.c: the directory, its lock, the identity on disk */
ShStatus sh_wal_dir_open(const char *dir, int *fd, ShError *err) SH_MUST_CHECK;
/* A file of the directory, which must be a regular one: a link, or a pipe that blocks, is somebody else's. A
 * descriptor, or -1 and errno (ELOOP for these). */
int sh_wal_open_regular(int dir_fd, const char *name, int flags);
/* A new file to write under a temporary name: what a crash, or somebody else, has left there goes. */
int sh_wal_create_regular(int dir_fd, const char *name);
/* Lock the directory for this process, or say which process has it. */
ShStatus sh_wal_dir_lock(ShWal *wal, ShError *err) SH_MUST_CHECK;
ShStatus sh_wal_dir_sync(const ShWal *wal, ShError *err) SH_MUST_CHECK;
/* SH_NOT_FOUND when there is none. */
ShStatus sh_wal_identity_load(const char *dir, int dir_fd, ShWalIdentityFile *out,
                              ShError *err) SH_MUST_CHECK;
/* Remember on disk, until the next sh_wal_start, that the log was found damaged. Before any thread of the WAL
 * runs. */
ShStatus sh_wal_note_damage(ShWal *wal, ShError *err);
ShStatus sh_wal_identity_store(const ShWal *wal, const ShWalIdentityFile *identity,
                               ShError *err) SH_MUST_CHECK;
/* The numbers of all log files in a new array, ascending, which the caller frees. With `clean`, unfinished
 * files and spares that a crash left are removed. */
ShStatus sh_wal_dir_list(const char *dir, int dir_fd, bool clean, uint64_t **out, size_t *count,
                         ShError *err) SH_MUST_CHECK;

/* wal_file.c: one file on disk */
void sh_wal_file_name(uint64_t no, char out[SH_WAL_FILE_NAME_BYTES]);
void sh_wal_spare_name(uint64_t no, char out[SH_WAL_FILE_NAME_BYTES]);
/* A file of that number that has its header, synced, and no frame. */
ShWalFile sh_wal_file_fresh(uint64_t no, int fd, int64_t size_bytes);
/* A file of `size_bytes`, zeros behind its header, synced with its directory entry. SH_EXHAUSTED when the
 * disk has no room. */
ShStatus sh_wal_file_create(ShWal *wal, uint64_t no, int64_t size_bytes, ShWalFile **out,
                            ShError *err) SH_MUST_CHECK;
/* Could such a file be made? Nothing stays of it. */
ShStatus sh_wal_file_try(const ShWal *wal, uint64_t no, int64_t size_bytes, ShError *err) SH_MUST_CHECK;
/* Write an END frame at the file's position, which does not move. */
ShStatus sh_wal_file_write_end(const ShWal *wal, const ShWalFile *file, int64_t synced,
                               ShError *err) SH_MUST_CHECK;
ShStatus sh_wal_file_sync(const ShWal *wal, const ShWalFile *file, ShError *err) SH_MUST_CHECK;
/* Unlink and forget. A failure is logged: the next start finds the file, and its batches, again. */
void sh_wal_file_delete(ShWal *wal, ShWalFile *file);
void sh_wal_file_close(ShWalFile *file);
/* The bytes for frames and the END frame in a file of that size. */
static inline int64_t sh_wal_file_room(const ShWalFile *file)
{
    return file->size_bytes - file->position - SH_WAL_FRAME_HEADER_BYTES;
}

/* wal_survey.c: list, scan and judge the files of `survey`, whose dir, dir_fd and identity are set; with
 * `clean`, leftovers of a crash are removed. The caller frees `files`. */
ShStatus sh_wal_survey_scan(ShWalSurvey *survey, bool clean, ShError *err) SH_MUST_CHECK;

/* wal_write.c: write the nodes' frames at the file's position, in order, behind a CUT frame if `cut` is
 * given. Does not move the position. */
ShStatus sh_wal_write_frames(ShWal *wal, const ShWalFile *file, int64_t synced, const ShWalFrame *cut,
                             const ShWalList *list, ShError *err) SH_MUST_CHECK;

/* wal_sync.c */
/* Sync what the current file holds now; the batches that are safe by it become `durable`, for the writer to
 * acknowledge. With the lock held, which is left meanwhile. On failure the file is marked as failed: the
 * writer replaces it. */
ShStatus sh_wal_sync_current(ShWal *wal, ShError *err) SH_MUST_CHECK;
/* Wait until nobody else syncs and keep others from it, with the lock held; and let them again. */
void sh_wal_sync_claim(ShWal *wal);
void sh_wal_sync_yield(ShWal *wal);
void *sh_wal_run_syncer(void *wal);

/* wal_writer.c, wal_keeper.c */
void *sh_wal_run_writer(void *wal);
void *sh_wal_run_keeper(void *wal);
/* Take one file that is sealed and holds nothing out of the log, to be recycled or deleted; false when there
 * is none. With the lock held, left meanwhile. */
bool sh_wal_remove_one_released(ShWal *wal);

/* wal_recycle.c: the keeper's */
/* Whether a released file may become a later one. With the lock held. */
bool sh_wal_recyclable(const ShWal *wal, const ShWalFile *file);
/* Take the file among the spares; false when it cannot be renamed, and is the caller's still. */
bool sh_wal_set_aside(ShWal *wal, ShWalFile *file);
/* Make a spare of that size the file `no`, ready for frames and durable; NULL when there is none. Spares that
 * fail or have another size are deleted, so that the budget has room for a new file. */
ShWalFile *sh_wal_recycle(ShWal *wal, uint64_t no, int64_t size_bytes);
void sh_wal_delete_spares(ShWal *wal);

#endif
