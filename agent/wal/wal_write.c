#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "agent/base/fault.h"
#include "agent/wal/wal_internal.h"

/* Of the kernel's cache, commonly. */
#define PAGE_BYTES 4096

/* A chunk being put together: `iov_count` areas that go to `start`, and where the next frame will stand. */
typedef struct Gather {
    ShWalChunk *chunk;
    ShWalFileId file;
    int64_t size_bytes;
    int64_t start;
    int64_t position;
    int64_t synced;
    int frames;
    int iov_count;
    size_t padding; /* that the last frame still needs */
} Gather;

static void add_frame(Gather *gather, const ShWalFrame *frame, const ShSlice *batch);
static ShStatus write_chunk(Gather *gather, int fd, ShError *err);
static size_t rest_of_page(const Gather *gather);
static int skip_written(struct iovec *iov, int count, size_t written);

ShStatus sh_wal_write_frames(ShWal *wal, const ShWalFile *file, int64_t synced, const ShWalFrame *cut,
                             const ShWalList *list, ShError *err)
{
    Gather gather = {.chunk = &wal->chunk,
                     .file = {wal->wal_uuid, file->no},
                     .size_bytes = file->size_bytes,
                     .start = file->position,
                     .position = file->position,
                     .synced = synced};
    if (cut != NULL)
        add_frame(&gather, cut, NULL);
    for (const ShWalNode *node = list->first; node != NULL; node = node->next) {
        if (gather.frames == SH_WAL_CHUNK_FRAMES) {
            ShStatus status = write_chunk(&gather, file->fd, err);
            if (status != SH_OK)
                return status;
        }
        ShWalFrame frame = {.type = SH_WAL_FRAME_BATCH,
                            .topic_id = node->topic_id,
                            .partition = node->partition,
                            .epoch = node->epoch,
                            .batch_length = node->batch.length};
        add_frame(&gather, &frame, &node->batch);
    }
    return gather.frames == 0 ? SH_OK : write_chunk(&gather, file->fd, err);
}

/* Each frame's area begins with the padding of the one before it, so that a frame costs two areas and not
 * three. */
static void add_frame(Gather *gather, const ShWalFrame *frame, const ShSlice *batch)
{
    uint8_t *head = gather->chunk->heads[gather->frames++];
    uint8_t *header = head + SH_WAL_ALIGN_BYTES;
    ShWalFrame stamped = *frame;
    stamped.synced = gather->synced;
    memset(head, 0, SH_WAL_ALIGN_BYTES);
    sh_wal_encode_frame(&gather->file, gather->position, &stamped, batch == NULL ? NULL : batch->data,
                        header);

    struct iovec *iov = gather->chunk->iov + gather->iov_count;
    iov[0] = (struct iovec){header - gather->padding, SH_WAL_FRAME_HEADER_BYTES + gather->padding};
    gather->iov_count++;
    gather->padding = 0;
    if (batch != NULL) {
        iov[1] = (struct iovec){(void *)batch->data, batch->length}; /* pwritev only reads it */
        gather->iov_count++;
        gather->padding = sh_wal_padding(batch->length);
    }
    gather->position += sh_wal_frame_bytes(frame->batch_length);
}

static ShStatus write_chunk(Gather *gather, int fd, ShError *err)
{
    static const uint8_t zeros[SH_WAL_ALIGN_BYTES + PAGE_BYTES];
    struct iovec *iov = gather->chunk->iov;
    int count = gather->iov_count;
    size_t behind = gather->padding + rest_of_page(gather);
    if (behind > 0)
        iov[count++] = (struct iovec){(void *)zeros, behind};

    int64_t position = gather->start;
    while (count > 0) {
        ssize_t written = -1;
        errno = EIO;
        if (!sh_fault_hit("wal.write"))
            written = pwritev(fd, iov, count, position);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return sh_fail(err, SH_IO, "WAL file %016" PRIx64 " cannot be written at %" PRId64 ": %s",
                           gather->file.file_no, position, strerror(written < 0 ? errno : EIO));
        position += written;
        int skipped = skip_written(iov, count, (size_t)written);
        iov += skipped;
        count -= skipped;
    }

    gather->start = gather->position;
    gather->frames = 0;
    gather->iov_count = 0;
    gather->padding = 0;
    return SH_OK;
}

/* A write that ends inside a page which the kernel no longer has, as those of a recycled file under memory
 * pressure, would wait for it to be read. So the zeros go on to its end, where nothing stands yet. */
static size_t rest_of_page(const Gather *gather)
{
    int64_t page_end = (gather->position + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    return page_end <= gather->size_bytes ? (size_t)(page_end - gather->position) : 0;
}

/* Step over the written bytes; returns the number of areas that are done and shortens the next one. */
static int skip_written(struct iovec *iov, int count, size_t written)
{
    int done = 0;
    while (done < count && written >= iov[done].iov_len)
        written -= iov[done++].iov_len;
    if (done < count) {
        iov[done].iov_base = (uint8_t *)iov[done].iov_base + written;
        iov[done].iov_len -= written;
    }
    return done;
}
