#include "agent/wal/wal_survey.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/wal/wal_internal.h"

/* What a running agent is writing may look damaged for a moment. */
#define ATTEMPTS_MAX 4

/* The bytes of one file. */
typedef struct Mapped {
    const uint8_t *bytes;
    size_t length;
} Mapped;

static ShStatus load_identity(ShWalSurvey *survey, ShError *err);
static ShStatus scan_file(const ShWalSurvey *survey, ShWalSurveyFile *file, ShError *err);
static ShStatus check_header(const ShWalSurvey *survey, ShWalSurveyFile *file, const Mapped *mapped,
                             ShWalFileHeader *header, ShError *err);
static ShStatus map_file(const ShWalSurvey *survey, uint64_t no, Mapped *out, ShError *err);
static void unmap_file(Mapped *mapped);
static void judge_all(ShWalSurvey *survey);
static void apply_cut(ShWalSurvey *survey, ShWalSurveyFile *file);
static ShStatus read_whole(const ShWalSurvey *survey, const Mapped *mapped, const ShWalSurveyFile *file,
                           const ShWalReading *reading, ShError *err);
static ShStatus read_damaged(const ShWalSurvey *survey, const Mapped *mapped, const ShWalSurveyFile *file,
                             const ShWalReading *reading, ShError *err);
static bool find_frame(const ShWalFileId *id, const Mapped *mapped, int64_t limit, int64_t *position,
                       ShWalFrame *frame);

ShStatus sh_wal_survey_open(const char *dir, ShWalSurvey **out, ShError *err)
{
    ShWalSurvey *survey = calloc(1, sizeof *survey);
    if (survey == NULL || (survey->dir = strdup(dir)) == NULL) {
        free(survey);
        return sh_fail(err, SH_NO_MEMORY, "no memory to look at WAL directory %s", dir);
    }
    survey->dir_fd = -1;
    ShStatus status = sh_wal_dir_open(dir, &survey->dir_fd, err);
    if (status == SH_OK)
        status = load_identity(survey, err);
    for (int attempt = 0; status == SH_OK && attempt < ATTEMPTS_MAX; attempt++) {
        free(survey->files);
        survey->files = NULL;
        status = sh_wal_survey_scan(survey, false, err);
        if (status == SH_OK && sh_wal_survey_check(survey, NULL) == SH_OK)
            break;
    }
    if (status == SH_OK)
        *out = survey;
    else
        sh_wal_survey_free(survey);
    return status;
}

void sh_wal_survey_free(ShWalSurvey *survey)
{
    if (survey == NULL)
        return;
    if (survey->dir_fd >= 0)
        close(survey->dir_fd);
    free(survey->files);
    free(survey->dir);
    free(survey);
}

ShStatus sh_wal_survey_scan(ShWalSurvey *survey, bool clean, ShError *err)
{
    uint64_t *numbers = NULL;
    size_t count = 0;
    survey->count = 0;
    ShStatus status = sh_wal_dir_list(survey->dir, survey->dir_fd, clean, &numbers, &count, err);
    if (status != SH_OK)
        return status;
    survey->files = calloc(count + 1, sizeof *survey->files);
    if (survey->files == NULL)
        status = sh_fail(err, SH_NO_MEMORY, "no memory to look at %zu WAL files", count);
    for (size_t i = 0; status == SH_OK && i < count; i++) {
        ShWalSurveyFile *file = &survey->files[survey->count];
        *file = (ShWalSurveyFile){.no = numbers[i]};
        status = scan_file(survey, file, err);
        if (status == SH_OK)
            survey->count++;
        else if (status == SH_NOT_FOUND)
            status = SH_OK; /* a running agent has released it */
    }
    free(numbers);
    if (status == SH_OK)
        judge_all(survey);
    return status;
}

ShStatus sh_wal_survey_check(const ShWalSurvey *survey, ShError *err)
{
    for (size_t i = 0; i < survey->count; i++) {
        const ShWalSurveyFile *file = &survey->files[i];
        if (!file->damaged)
            continue;
        if (file->header_damaged) {
            if (err != NULL)
                *err = file->header_error;
            return SH_CORRUPT;
        }
        return sh_fail(err, SH_CORRUPT,
                       "WAL file %s/%016" PRIx64 ".wal is damaged at position %" PRId64
                       ", which was synced; its last good "
                       "batch stands at %" PRId64
                       ". Nothing was changed: restore the file from the disk's redundancy, or set "
                       "wal_corruption to skip and lose the acknowledged batches there",
                       survey->dir, file->no, file->scan.end, file->scan.last_frame);
    }
    return SH_OK;
}

ShStatus sh_wal_survey_read(const ShWalSurvey *survey, const ShWalSurveyFile *file,
                            const ShWalReading *reading, ShError *err)
{
    Mapped mapped;
    ShStatus status = map_file(survey, file->no, &mapped, err);
    if (status != SH_OK)
        return status;
    if (file->damaged)
        status = read_damaged(survey, &mapped, file, reading, err);
    else
        status = read_whole(survey, &mapped, file, reading, err);
    unmap_file(&mapped);
    return status;
}

static ShStatus load_identity(ShWalSurvey *survey, ShError *err)
{
    ShWalIdentityFile identity;
    ShStatus status = sh_wal_identity_load(survey->dir, survey->dir_fd, &identity, err);
    if (status != SH_OK)
        return status;
    survey->identity = (ShWalSurveyIdentity){.wal_uuid = identity.wal_uuid,
                                             .incarnation_no = identity.incarnation_no,
                                             .calls = identity.calls,
                                             .clean = identity.clean,
                                             .damaged = identity.damaged,
                                             .sync = identity.sync};
    memcpy(survey->identity.boot_id, identity.boot_id, sizeof identity.boot_id);
    return SH_OK;
}

static ShStatus scan_file(const ShWalSurvey *survey, ShWalSurveyFile *file, ShError *err)
{
    Mapped mapped;
    ShStatus status = map_file(survey, file->no, &mapped, err);
    if (status != SH_OK)
        return status;
    ShWalFileHeader header = {0};
    status = check_header(survey, file, &mapped, &header, err);
    if (status == SH_OK) {
        sh_wal_scan(&header, mapped.bytes, mapped.length, &file->scan);
        file->size_bytes = (int64_t)mapped.length;
        file->end = file->scan.end;
    }
    unmap_file(&mapped);
    return status;
}

/* A header that is damaged is no reason to give up the frames: the name says which file it was. */
static ShStatus check_header(const ShWalSurvey *survey, ShWalSurveyFile *file, const Mapped *mapped,
                             ShWalFileHeader *header, ShError *err)
{
    const ShUuid *wal_uuid = &survey->identity.wal_uuid;
    ShError why = {0};
    ShStatus status = sh_wal_decode_file_header(mapped->bytes, mapped->length, header, &why);
    bool damaged = status == SH_CORRUPT;
    if (damaged)
        *header = (ShWalFileHeader){.id = {*wal_uuid, file->no}};
    else if (status == SH_OK && !sh_uuid_equal(&header->id.wal_uuid, wal_uuid))
        status = sh_fail(&why, SH_CORRUPT,
                         "the file belongs to another WAL; move it to that one's directory");
    else if (status == SH_OK && header->id.file_no != file->no)
        status = sh_fail(&why, SH_CORRUPT, "the file has the name of another: its number is %016" PRIx64,
                         header->id.file_no);
    if (status == SH_OK)
        return SH_OK;
    sh_fail_prefix(&why, status, "WAL file %s/%016" PRIx64 ".wal", survey->dir, file->no);
    if (damaged) {
        file->header_damaged = true;
        file->header_error = why;
        return SH_OK;
    }
    if (err != NULL)
        *err = why;
    return status;
}

/* Map the file's pages rather than copy them: reading is as fast as the checksums. All pages are fetched
 * here, so that a disk that cannot read them is an error and not a signal later. */
static ShStatus map_file(const ShWalSurvey *survey, uint64_t no, Mapped *out, ShError *err)
{
    char name[SH_WAL_FILE_NAME_BYTES];
    struct stat info;
    sh_wal_file_name(no, name);
    ShStatus status = SH_OK;
    Mapped mapped = {0};
    int fd = sh_wal_open_regular(survey->dir_fd, name, O_RDONLY);
    if (fd < 0 || fstat(fd, &info) != 0) {
        status = sh_fail(err, fd < 0 && errno == ENOENT ? SH_NOT_FOUND : SH_IO,
                         "WAL file %s/%s cannot be opened: %s", survey->dir, name, strerror(errno));
        goto done;
    }
    mapped.length = (size_t)info.st_size;
    if (mapped.length > 0) {
        void *bytes = mmap(NULL, mapped.length, PROT_READ, MAP_PRIVATE, fd, 0);
        /* Kernels before 5.14 do not know the advice; there the pages come as they are touched. */
        if (bytes == MAP_FAILED ||
            (madvise(bytes, mapped.length, MADV_POPULATE_READ) != 0 && errno != EINVAL)) {
            status = sh_fail(err, SH_IO, "WAL file %s/%s cannot be read: %s", survey->dir, name,
                             strerror(errno));
            if (bytes != MAP_FAILED)
                munmap(bytes, mapped.length);
            goto done;
        }
        mapped.bytes = bytes;
    }
    *out = mapped;

done:
    if (fd >= 0)
        close(fd);
    return status;
}

static void unmap_file(Mapped *mapped)
{
    if (mapped->bytes != NULL)
        munmap((void *)mapped->bytes, mapped->length);
    *mapped = (Mapped){0};
}

/* Decide what each file holds, from the last one back: a frame of a later file proves that the earlier ones
 * were whole, except where a CUT frame says that one died. */
static void judge_all(ShWalSurvey *survey)
{
    bool followed = false;
    for (size_t i = survey->count; i-- > 0;) {
        ShWalSurveyFile *file = &survey->files[i];
        file->followed = followed;
        if (file->dead) {
            file->damaged = file->header_damaged || file->scan.end < file->end;
            followed = true;
            continue;
        }
        file->damaged = file->header_damaged || sh_wal_scan_is_corrupt(&file->scan) ||
                        (followed && !file->scan.ended);
        if (file->scan.has_cut)
            apply_cut(survey, file);
        if (!file->dropped && (file->scan.batches > 0 || file->scan.ended))
            followed = true;
    }
}

static void apply_cut(ShWalSurvey *survey, ShWalSurveyFile *file)
{
    const ShWalFrame *cut = &file->scan.cut;
    if (file->scan.end < cut->cut_through) {
        /* What is damaged was finished once: what both files still have is read. */
        file->dropped = !file->damaged;
        if (file->dropped)
            file->end = SH_WAL_FILE_HEADER_BYTES;
        return;
    }
    for (size_t i = 0; i < survey->count; i++) {
        ShWalSurveyFile *dead = &survey->files[i];
        if (dead->no == cut->cut_file_no && dead < file) {
            dead->dead = true;
            dead->end = cut->cut_position;
        }
    }
}

static ShStatus read_whole(const ShWalSurvey *survey, const Mapped *mapped, const ShWalSurveyFile *file,
                           const ShWalReading *reading, ShError *err)
{
    ShWalFileId id = {survey->identity.wal_uuid, file->no};
    ShStatus status = SH_OK;
    ShWalFrame frame;
    for (int64_t position = SH_WAL_FILE_HEADER_BYTES; status == SH_OK && position < file->end;
         position += sh_wal_frame_bytes(frame.batch_length)) {
        if (!sh_wal_decode_frame(&id, mapped->bytes, mapped->length, position, &frame))
            return sh_fail(err, SH_IO, "WAL file %s/%016" PRIx64 ".wal changed while it was read",
                           survey->dir, file->no);
        if (frame.type == SH_WAL_FRAME_BATCH)
            status = reading->on_batch(reading->arg, file, position, &frame,
                                       mapped->bytes + position + SH_WAL_FRAME_HEADER_BYTES, err);
    }
    return status;
}

/* Step from one whole frame to the next, over whatever lies between them. */
static ShStatus read_damaged(const ShWalSurvey *survey, const Mapped *mapped, const ShWalSurveyFile *file,
                             const ShWalReading *reading, ShError *err)
{
    ShWalFileId id = {survey->identity.wal_uuid, file->no};
    int64_t limit = (int64_t)mapped->length;
    if (file->dead && file->end < limit)
        limit = file->end;
    int64_t done = SH_WAL_FILE_HEADER_BYTES;
    int64_t proven = file->scan.proven;
    bool ended = false;
    ShStatus status = SH_OK;
    ShWalFrame frame;
    int64_t position = done;
    while (status == SH_OK && !ended && find_frame(&id, mapped, limit, &position, &frame)) {
        if (position > done)
            status = reading->on_hole(reading->arg, file, done, position, err);
        if (status == SH_OK && frame.type == SH_WAL_FRAME_BATCH)
            status = reading->on_batch(reading->arg, file, position, &frame,
                                       mapped->bytes + position + SH_WAL_FRAME_HEADER_BYTES, err);
        ended = frame.type == SH_WAL_FRAME_END;
        done = position += sh_wal_frame_bytes(frame.batch_length);
    }
    bool tail_missing = !ended &&
                        (file->dead ? done < file->end : done < limit && (file->followed || proven > done));
    if (status == SH_OK && tail_missing)
        status = reading->on_hole(reading->arg, file, done, file->dead ? file->end : limit, err);
    return status;
}

/* The first whole frame at `*position` or behind it. */
static bool find_frame(const ShWalFileId *id, const Mapped *mapped, int64_t limit, int64_t *position,
                       ShWalFrame *frame)
{
    for (int64_t at = *position; at < limit; at += SH_WAL_ALIGN_BYTES) {
        if (mapped->bytes[at] == 0 || !sh_wal_decode_frame(id, mapped->bytes, mapped->length, at, frame))
            continue;
        if (frame->type == SH_WAL_FRAME_BATCH &&
            !sh_wal_batch_intact(mapped->bytes + at + SH_WAL_FRAME_HEADER_BYTES, frame->batch_length))
            continue;
        *position = at;
        return true;
    }
    return false;
}
