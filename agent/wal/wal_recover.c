#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/base/log.h"
#include "agent/wal/wal_internal.h"
#include "agent/wal/wal_ledger.h"

/* Of what is missing, so many ranges are logged one by one. */
#define MISSING_LOGGED_MAX 1000

/* One file on its way to the caller. */
typedef struct Delivery {
    ShWal *wal;
    ShWalFile *file;
    ShWalRecoverFn fn;
    void *arg;
    ShWalRecovery *stats;
} Delivery;

static ShStatus meet_damage(ShWal *wal, const ShWalSurvey *survey, ShError *err);
static ShStatus log_missing(const ShWalSurvey *survey, ShError *err);
static ShStatus count_batch(void *arg, const ShWalSurveyFile *found, int64_t position,
                            const ShWalFrame *frame, const uint8_t *batch, ShError *err);
static ShStatus log_hole(void *arg, const ShWalSurveyFile *found, int64_t from, int64_t to, ShError *err);
static ShStatus mend(const ShWal *wal, ShWalSurveyFile *file, ShWalRecovery *stats, ShError *err);
static ShStatus end_at(const ShWal *wal, const ShWalSurveyFile *file, int fd, ShError *err);
static ShStatus deliver(const ShWalSurvey *survey, const ShWalSurveyFile *found, Delivery *delivery,
                        ShError *err);
static ShStatus adopt(ShWal *wal, const ShWalSurveyFile *found, ShWalFile **out, ShError *err);
static ShStatus deliver_batch(void *arg, const ShWalSurveyFile *found, int64_t position,
                              const ShWalFrame *frame, const uint8_t *batch, ShError *err);
static ShStatus note_hole(void *arg, const ShWalSurveyFile *found, int64_t from, int64_t to, ShError *err);

ShStatus sh_wal_recover(ShWal *wal, ShWalRecoverFn fn, void *arg, ShWalRecovery *stats, ShError *err)
{
    ShWalSurvey survey = {.dir = wal->dir, .dir_fd = wal->dir_fd, .identity.wal_uuid = wal->wal_uuid};
    ShWalRecovery sums = {0};
    Delivery delivery = {.wal = wal, .fn = fn, .arg = arg, .stats = &sums};
    ShStatus status = sh_wal_survey_scan(&survey, true, err);
    if (status == SH_OK)
        status = meet_damage(wal, &survey, err);
    for (size_t i = 0; status == SH_OK && i < survey.count; i++)
        status = mend(wal, &survey.files[i], &sums, err);
    for (size_t i = 0; status == SH_OK && i < survey.count; i++)
        status = deliver(&survey, &survey.files[i], &delivery, err);
    if (status == SH_OK) {
        sh_metric_add(wal->metrics.batches_recovered, sums.batches);
        sh_log_info("wal_recovered",
                    "dir=\"%s\" files=%" PRId64 " batches=%" PRId64 " bytes=%" PRId64 " torn_bytes=%" PRId64,
                    wal->dir, sums.files, sums.batches, sums.bytes, sums.torn_bytes);
        *stats = sums;
    }
    free(survey.files);
    return status;
}

/* Tell what is missing, then refuse to go on or not. That something may be lost is remembered first: whatever
 * ends this start, and whoever takes the damaged file away, the epochs that this log had open are sealed past
 * their range. */
static ShStatus meet_damage(ShWal *wal, const ShWalSurvey *survey, ShError *err)
{
    ShError why = {0};
    if (sh_wal_survey_check(survey, &why) == SH_OK)
        return SH_OK;
    ShStatus status = sh_wal_note_damage(wal, err);
    if (status == SH_OK)
        status = log_missing(survey, err);
    if (status != SH_OK)
        return status;
    if (wal->skip_corruption) {
        sh_log_error("wal_corruption_skipped", "reason=\"%s\"", why.message);
        return SH_OK;
    }
    if (err != NULL)
        *err = why;
    return SH_CORRUPT;
}

/* Where a partition and epoch goes on behind a hole, the offsets tell what was in it; what had nothing behind
 * it may have lost more. */
static ShStatus log_missing(const ShWalSurvey *survey, ShError *err)
{
    ShWalLedger *ledger = sh_wal_ledger_new();
    if (ledger == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory to tell what is missing in the WAL");
    ShWalReading reading = {count_batch, log_hole, ledger};
    ShStatus status = SH_OK;
    for (size_t i = 0; i < survey->count && status == SH_OK; i++)
        status = sh_wal_survey_read(survey, &survey->files[i], &reading, err);
    size_t count = 0, logged = 0;
    const ShWalAccount *const *accounts = sh_wal_ledger_list(ledger, &count);
    for (size_t i = 0; i < count && status == SH_OK; i++) {
        const ShWalAccount *account = accounts[i];
        char topic_id[SH_UUID_TEXT_BYTES];
        sh_uuid_format(&account->topic_id, topic_id);
        for (size_t k = 1; k < account->range_count && logged < MISSING_LOGGED_MAX; k++, logged++)
            sh_log_error("wal_records_missing",
                         "topic_id=%s partition=%d epoch=%" PRId64 " from=%" PRId64 " to=%" PRId64, topic_id,
                         (int)account->partition, account->epoch, account->ranges[k - 1].end,
                         account->ranges[k].first - 1);
    }
    sh_wal_ledger_free(ledger);
    return status;
}

static ShStatus count_batch(void *arg, const ShWalSurveyFile *found, int64_t position,
                            const ShWalFrame *frame, const uint8_t *batch, ShError *err)
{
    (void)found;
    (void)position;
    return sh_wal_ledger_add(arg, &frame->topic_id, frame->partition, frame->epoch, batch,
                             frame->batch_length, err);
}

static ShStatus log_hole(void *arg, const ShWalSurveyFile *found, int64_t from, int64_t to, ShError *err)
{
    (void)arg;
    (void)err;
    sh_log_error("wal_hole", "file=%016" PRIx64 ".wal from=%" PRId64 " to=%" PRId64, found->no, from, to);
    return SH_OK;
}

/* Give the file a clean end, so that it is whole when later files follow. */
static ShStatus mend(const ShWal *wal, ShWalSurveyFile *file, ShWalRecovery *stats, ShError *err)
{
    char name[SH_WAL_FILE_NAME_BYTES];
    sh_wal_file_name(file->no, name);
    if (file->damaged)
        return SH_OK; /* it stays as it is until what it still holds is published */
    bool torn = !file->dead && file->scan.torn_bytes > 0;
    if (torn) {
        stats->torn_bytes += file->scan.torn_bytes;
        sh_log_warn("wal_torn_tail", "dir=\"%s\" file=%s position=%" PRId64 " bytes=%" PRId64, wal->dir, name,
                    file->end, file->scan.torn_bytes);
    }
    if (file->end == SH_WAL_FILE_HEADER_BYTES || file->scan.batches == 0) {
        if (unlinkat(wal->dir_fd, name, 0) != 0)
            return sh_fail(err, SH_IO, "WAL file %s/%s cannot be deleted: %s", wal->dir, name,
                           strerror(errno));
        file->end = SH_WAL_FILE_HEADER_BYTES;
        return SH_OK;
    }
    if (file->scan.ended && !file->dead)
        return SH_OK;

    int fd = sh_wal_open_regular(wal->dir_fd, name, O_RDWR);
    if (fd < 0)
        return sh_fail(err, SH_IO, "WAL file %s/%s cannot be opened for writing: %s", wal->dir, name,
                       strerror(errno));
    ShStatus status = end_at(wal, file, fd, err);
    close(fd);
    file->size_bytes = file->end + sh_wal_frame_bytes(0);
    return status;
}

static ShStatus end_at(const ShWal *wal, const ShWalSurveyFile *file, int fd, ShError *err)
{
    ShWalFile open = {.no = file->no, .fd = fd, .position = file->end};
    ShStatus status = sh_wal_file_write_end(wal, &open, file->end, err);
    if (status == SH_OK && (ftruncate(fd, file->end + sh_wal_frame_bytes(0)) != 0 || fsync(fd) != 0))
        status = sh_fail(err, SH_IO, "WAL file %s/%016" PRIx64 ".wal cannot be cut: %s", wal->dir, file->no,
                         strerror(errno));
    return status;
}

static ShStatus deliver(const ShWalSurvey *survey, const ShWalSurveyFile *found, Delivery *delivery,
                        ShError *err)
{
    ShWal *wal = delivery->wal;
    if (!found->damaged && found->end == SH_WAL_FILE_HEADER_BYTES)
        return SH_OK;
    ShStatus status = adopt(wal, found, &delivery->file, err);
    if (status != SH_OK)
        return status;
    ShWalReading reading = {deliver_batch, note_hole, delivery};
    status = sh_wal_survey_read(survey, found, &reading, err);
    delivery->stats->files++;
    /* The reading's own hold stays after a failure: batches that nobody was given must not be deleted. */
    if (status == SH_OK) {
        pthread_mutex_lock(&wal->lock);
        delivery->file->held--;
        pthread_mutex_unlock(&wal->lock);
    }
    return status;
}

/* Count the file among those of the log, held once by its reader. */
static ShStatus adopt(ShWal *wal, const ShWalSurveyFile *found, ShWalFile **out, ShError *err)
{
    ShWalFile *file = calloc(1, sizeof *file);
    if (file == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory to recover a WAL file");
    *file = (ShWalFile){.no = found->no,
                        .fd = -1,
                        .size_bytes = found->size_bytes,
                        .position = found->end,
                        .synced = found->end,
                        .held = 1,
                        .sealed = true};
    pthread_mutex_lock(&wal->lock);
    file->next = wal->files;
    wal->files = file;
    wal->sealed_bytes += file->size_bytes;
    pthread_mutex_unlock(&wal->lock);
    atomic_fetch_add(&wal->disk_bytes, file->size_bytes);
    *out = file;
    return SH_OK;
}

static ShStatus deliver_batch(void *arg, const ShWalSurveyFile *found, int64_t position,
                              const ShWalFrame *frame, const uint8_t *batch, ShError *err)
{
    (void)found;
    (void)position;
    Delivery *delivery = arg;
    ShWal *wal = delivery->wal;
    ShBuf *buf = sh_buf_copy(batch, frame->batch_length);
    if (buf == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for a recovered batch of %zu bytes",
                       frame->batch_length);
    ShWalEntry entry = {.topic_id = frame->topic_id,
                        .partition = frame->partition,
                        .epoch = frame->epoch,
                        .batch = {buf->data, buf->length, buf},
                        .file_no = delivery->file->no};
    pthread_mutex_lock(&wal->lock);
    delivery->file->held++;
    pthread_mutex_unlock(&wal->lock);
    atomic_fetch_add(&wal->batches_held, 1);
    ShStatus status = delivery->fn(delivery->arg, &entry, err);
    sh_buf_unref(buf);
    delivery->stats->batches++;
    delivery->stats->bytes += (int64_t)frame->batch_length;
    return status;
}

static ShStatus note_hole(void *arg, const ShWalSurveyFile *found, int64_t from, int64_t to, ShError *err)
{
    (void)found;
    (void)from;
    (void)to;
    (void)err;
    Delivery *delivery = arg;
    delivery->stats->holes++;
    return SH_OK;
}
