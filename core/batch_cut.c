#include "core/batch.h"
#include "core/batch_internal.h"
#include "core/crc32c.h"

static ShStatus copy_first(ShBatchReader *reader, ShBatchBuilder *builder, int32_t count, ShError *err);

ShStatus sh_batch_cut(const uint8_t *data, size_t length, int32_t count, size_t decompressed_bytes_max,
                      ShBuf **out, ShError *err)
{
    ShScratch scratch = {0};
    ShBatchReader reader;
    ShBuf *cut = NULL;
    ShBatchBuilder *builder = NULL;
    ShStatus status = sh_batch_reader_init(&reader, data, length, decompressed_bytes_max, &scratch, err);
    if (status == SH_OK) {
        builder = sh_batch_builder_new((ShCodec)(reader.header.attributes & SH_BATCH_ATTR_CODEC_MASK));
        if (builder == NULL)
            status = sh_fail(err, SH_NO_MEMORY, "no memory for a batch");
    }
    if (status == SH_OK)
        status = copy_first(&reader, builder, count, err);
    if (status == SH_OK)
        status = sh_batch_builder_finish(builder, &cut, err);
    if (status == SH_OK) {
        sh_batch_set_base_offset(cut->data, reader.header.base_offset);
        sh_batch_set_leader_epoch(cut->data, reader.header.leader_epoch);
        sh_put_u16(cut->data + 21, sh_get_u16(cut->data + 21) |
                                       (reader.header.attributes & SH_BATCH_ATTR_LOG_APPEND_TIME));
        sh_put_u32(cut->data + 23, (uint32_t)reader.header.last_offset_delta);
        sh_put_u32(cut->data + 17,
                   sh_crc32c(cut->data + SH_BATCH_UNCOVERED_BYTES, cut->length - SH_BATCH_UNCOVERED_BYTES));
        *out = cut;
    }
    sh_batch_builder_free(builder);
    sh_scratch_free(&scratch);
    return status;
}

static ShStatus copy_first(ShBatchReader *reader, ShBatchBuilder *builder, int32_t count, ShError *err)
{
    for (int32_t i = 0; i < count; i++) {
        ShRecord record;
        bool more;
        ShStatus status = sh_batch_reader_next(reader, &record, &more, err);
        if (status != SH_OK)
            return status;
        if (!more)
            return sh_fail(err, SH_INVALID, "a batch of %d records cannot be cut behind %d", i, count);
        status = sh_batch_builder_copy(builder, &record, err);
        if (status != SH_OK)
            return status;
    }
    return SH_OK;
}
