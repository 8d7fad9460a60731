#include "client/misfits.h"

#include <stdlib.h>
#include <string.h>

#define DECOMPRESSED_BYTES_MAX ((size_t)1 << 30) /* the producer's own bounds are far below */

/* Where in the answer we are. */
typedef struct Walk {
    const ShProduceAnswer *answer;
    size_t next;        /* misfit */
    size_t first_index; /* of the batch that is looked at */
} Walk;

static bool walk(ShParcel *parcel, const ShProduceAnswer *answer, bool rebuild);
static bool mark(ShPendingBatch *batch, Walk *walk, ShBatchBuilder *builder);
static bool keep_record(ShBatchReader *reader, ShBatchBuilder *builder, bool is_misfit);
static bool replace_bytes(ShPendingBatch *batch, ShBatchBuilder *builder);

bool sh_misfits_mark(ShParcel *parcel, const ShProduceAnswer *answer)
{
    return walk(parcel, answer, false);
}

bool sh_misfits_take_out(ShParcel *parcel, const ShProduceAnswer *answer)
{
    return walk(parcel, answer, true);
}

void sh_misfits_free(ShPendingBatch *batch)
{
    for (int32_t i = 0; batch->misfits != NULL && i < batch->given; i++)
        free(batch->misfits[i]);
    free(batch->misfits);
    batch->misfits = NULL;
}

static bool walk(ShParcel *parcel, const ShProduceAnswer *answer, bool rebuild)
{
    Walk place = {.answer = answer};
    for (size_t i = 0; i < parcel->batch_count; i++) {
        ShPendingBatch *batch = parcel->batches[i];
        size_t count = (size_t)batch->count;
        if (place.next < answer->misfit_count &&
            answer->misfits[place.next].index < place.first_index + count) {
            ShBatchHeader header;
            ShBatchBuilder *builder = NULL;
            if (rebuild && (sh_batch_peek(batch->bytes->data, batch->bytes->length, &header, NULL) != SH_OK ||
                            (builder = sh_batch_builder_new(
                                 (ShCodec)(header.attributes & SH_BATCH_ATTR_CODEC_MASK))) == NULL))
                return false;
            bool done = mark(batch, &place, builder);
            if (done && rebuild)
                done = replace_bytes(batch, builder);
            sh_batch_builder_free(builder);
            if (!done)
                return false;
        }
        place.first_index += count;
    }
    return true;
}

/* Mark the batch's misfits, and add the other records to the builder, if there is one. */
static bool mark(ShPendingBatch *batch, Walk *walk, ShBatchBuilder *builder)
{
    ShBatchReader reader;
    ShScratch scratch = {0};
    int32_t count = batch->count;
    if (batch->misfits == NULL) {
        batch->misfits = calloc((size_t)count, sizeof batch->misfits[0]);
        batch->given = count;
    }
    bool done = batch->misfits != NULL;
    if (done && builder != NULL)
        done = sh_batch_reader_init(&reader, batch->bytes->data, batch->bytes->length, DECOMPRESSED_BYTES_MAX,
                                    &scratch, NULL) == SH_OK;
    int32_t given = -1; /* the record's place among those that were given */
    for (int32_t i = 0; i < count && done; i++) {
        do
            given++;
        while (batch->misfits[given] != NULL);
        const ShMisfit *misfit = &walk->answer->misfits[walk->next];
        bool is_misfit = walk->next < walk->answer->misfit_count &&
                         misfit->index == walk->first_index + (size_t)i;
        if (builder != NULL)
            done = keep_record(&reader, builder, is_misfit);
        if (!is_misfit)
            continue;
        walk->next++;
        batch->count--;
        batch->misfits[given] = strndup((const char *)misfit->reason, misfit->reason_length);
        done &= batch->misfits[given] != NULL;
    }
    sh_scratch_free(&scratch);
    return done;
}

/* The next record, into the builder unless it is a misfit. */
static bool keep_record(ShBatchReader *reader, ShBatchBuilder *builder, bool is_misfit)
{
    ShRecord record;
    bool more;
    if (sh_batch_reader_next(reader, &record, &more, NULL) != SH_OK || !more)
        return false;
    if (is_misfit)
        return true;
    return sh_batch_builder_copy(builder, &record, NULL) == SH_OK;
}

static bool replace_bytes(ShPendingBatch *batch, ShBatchBuilder *builder)
{
    ShBuf *bytes = NULL;
    if (batch->count == 0)
        bytes = sh_buf_new(1);
    else if (sh_batch_builder_finish(builder, &bytes, NULL) != SH_OK)
        bytes = NULL;
    if (bytes == NULL)
        return false;
    sh_buf_unref(batch->bytes);
    batch->bytes = bytes;
    return true;
}
