/*
 * s3_multipart.c - an object that is too large for one request goes up in parts, one after the other.
 *
 * The object appears when the upload is completed, and not at all otherwise. The key is looked up before the
 * first byte is sent; If-None-Match at the completion closes the gap until then where the server knows it.
 */
#include "agent/store/s3_store.h"

#include <stdio.h>
#include <stdlib.h>

#include "agent/base/log.h"

#define PARTS_MAX       10000 /* what S3 takes */
#define REPLY_BYTES_MAX (64 * 1024)

/* An upload under way. */
typedef struct Upload {
    ShS3Store *store;
    const char *key;
    const struct iovec *pieces;
    size_t piece_count;
    uint64_t total_bytes;
    uint64_t part_bytes;
    size_t part_count;
    struct iovec *slice; /* the pieces of the part at hand */
    char (*etags)[SH_S3_ETAG_BYTES];
    char (*checksums)[SH_S3_CHECKSUM_BYTES]; /* of the parts, where the completion names them */
    char id[SH_S3_TEXT_BYTES_MAX];
} Upload;

static ShStatus create_upload(Upload *upload, ShError *err);
static ShStatus put_part(Upload *upload, size_t part, ShError *err);
static size_t slice_pieces(const Upload *upload, uint64_t position, uint64_t length);
static ShStatus complete_upload(Upload *upload, ShError *err);
static ShStatus request_completion(Upload *upload, const struct iovec *body, bool if_none_match,
                                   ShError *err);
static bool is_upload_gone(const ShS3Reply *reply);
static char *build_completion(const Upload *upload, size_t *length);
static void abort_upload(Upload *upload);

ShStatus sh_s3_multipart_put(ShS3Store *store, const char *key, const struct iovec *pieces,
                             size_t piece_count, uint64_t total_bytes, ShError *err)
{
    Upload upload = {.store = store,
                     .key = key,
                     .pieces = pieces,
                     .piece_count = piece_count,
                     .total_bytes = total_bytes,
                     .part_bytes = (uint64_t)store->part_bytes};
    uint64_t least_part_bytes = (total_bytes + PARTS_MAX - 1) / PARTS_MAX;
    if (upload.part_bytes < least_part_bytes)
        upload.part_bytes = least_part_bytes;
    upload.part_count = (size_t)((total_bytes + upload.part_bytes - 1) / upload.part_bytes);

    ShStatus status = sh_s3_refuse_existing(store, key, err);
    if (status != SH_OK)
        return status;
    upload.slice = calloc(piece_count, sizeof *upload.slice);
    upload.etags = calloc(upload.part_count, sizeof *upload.etags);
    upload.checksums = calloc(upload.part_count, sizeof *upload.checksums);
    if (upload.slice == NULL || upload.etags == NULL || upload.checksums == NULL) {
        status = sh_fail(err, SH_NO_MEMORY, "no memory to upload object %s", key);
        goto done;
    }

    status = create_upload(&upload, err);
    for (size_t part = 0; status == SH_OK && part < upload.part_count; part++)
        status = put_part(&upload, part, err);
    if (status == SH_OK)
        status = complete_upload(&upload, err);
    if (status != SH_OK && upload.id[0] != '\0')
        abort_upload(&upload);

done:
    free(upload.slice);
    free(upload.etags);
    free(upload.checksums);
    return status;
}

static ShStatus create_upload(Upload *upload, ShError *err)
{
    ShS3Reply reply;
    const ShS3Parameter parameter = {"uploads", ""};
    const ShS3Request request = {.operation = SH_S3_UPLOAD_CREATE,
                                 .key = upload->key,
                                 .parameters = &parameter,
                                 .parameter_count = 1,
                                 .reply_bytes_max = REPLY_BYTES_MAX};
    ShStatus status = sh_s3_request(upload->store->client, &request, &reply, err);
    if (status == SH_OK)
        status = sh_s3_xml_upload_id(reply.http.body, upload->id, err);
    sh_s3_reply_clear(&reply);
    return status;
}

static ShStatus put_part(Upload *upload, size_t part, ShError *err)
{
    ShS3Reply reply;
    char number[24];
    uint64_t position = part * upload->part_bytes;
    uint64_t left = upload->total_bytes - position;
    uint64_t length = left < upload->part_bytes ? left : upload->part_bytes;
    snprintf(number, sizeof number, "%zu", part + 1);

    const ShS3Parameter parameters[] = {{"partNumber", number}, {"uploadId", upload->id}};
    const ShS3Request request = {.operation = SH_S3_UPLOAD_PART,
                                 .key = upload->key,
                                 .parameters = parameters,
                                 .parameter_count = 2,
                                 .body = upload->slice,
                                 .body_count = slice_pieces(upload, position, length),
                                 .body_bytes = length};
    ShStatus status = sh_s3_request(upload->store->client, &request, &reply, err);
    if (status == SH_OK && upload->store->client->checksum == SH_S3_CHECKSUM_CRC32C)
        status = sh_s3_checksum(SH_S3_CHECKSUM_CRC32C, request.body, request.body_count,
                                upload->checksums[part], err);
    if (status == SH_OK)
        snprintf(upload->etags[part], SH_S3_ETAG_BYTES, "%s", reply.http.etag);
    sh_s3_reply_clear(&reply);
    return status;
}

/* Fill upload->slice with the pieces' bytes from `position` on; returns how many pieces that takes. */
static size_t slice_pieces(const Upload *upload, uint64_t position, uint64_t length)
{
    size_t count = 0;
    for (size_t i = 0; i < upload->piece_count && length > 0; i++) {
        const struct iovec *piece = &upload->pieces[i];
        if (position >= piece->iov_len) {
            position -= piece->iov_len;
            continue;
        }
        uint64_t left = piece->iov_len - position;
        size_t taken = (size_t)(left < length ? left : length);
        upload->slice[count++] = (struct iovec){.iov_base = (uint8_t *)piece->iov_base + position,
                                                .iov_len = taken};
        position = 0;
        length -= taken;
    }
    return count;
}

static ShStatus complete_upload(Upload *upload, ShError *err)
{
    size_t length = 0;
    char *text = build_completion(upload, &length);
    if (text == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory to upload object %s", upload->key);
    const struct iovec body = {.iov_base = text, .iov_len = length};

    /* Servers may know conditions of puts and none here. The key was looked up before. */
    bool conditional = !atomic_load(&upload->store->conditions_refused) &&
                       !atomic_load(&upload->store->completion_conditions_refused);
    ShStatus status = request_completion(upload, &body, conditional, err);
    if (status == SH_UNSUPPORTED && conditional) {
        atomic_store(&upload->store->completion_conditions_refused, true);
        status = request_completion(upload, &body, false, err);
    }
    free(text);
    return status;
}

/* A completion whose answer was lost meets its own object, or finds the upload gone: whose object is there,
 * sh_store_put finds out. */
static ShStatus request_completion(Upload *upload, const struct iovec *body, bool if_none_match, ShError *err)
{
    ShS3Reply reply;
    const ShS3Parameter parameter = {"uploadId", upload->id};
    const ShS3Request request = {.operation = SH_S3_UPLOAD_COMPLETE,
                                 .key = upload->key,
                                 .parameters = &parameter,
                                 .parameter_count = 1,
                                 .if_none_match = if_none_match,
                                 .body = body,
                                 .body_count = 1,
                                 .body_bytes = body->iov_len,
                                 .reply_bytes_max = REPLY_BYTES_MAX};
    ShStatus status = sh_s3_request(upload->store->client, &request, &reply, err);
    bool is_gone = status != SH_OK && is_upload_gone(&reply);
    sh_s3_reply_clear(&reply);
    if (!is_gone)
        return status;
    upload->id[0] = '\0';
    status = sh_s3_refuse_existing(upload->store, upload->key, err);
    if (status == SH_OK)
        status = sh_fail(err, SH_UNAVAILABLE, "object %s did not arrive in %s", upload->key,
                         upload->store->base.description);
    return status;
}

static bool is_upload_gone(const ShS3Reply *reply)
{
    return reply->http.code == 404 && strcmp(reply->complaint.code, "NoSuchUpload") == 0;
}

/* NULL when memory is short. */
static char *build_completion(const Upload *upload, size_t *length)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, length);
    if (out == NULL)
        return NULL;
    fputs("<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">", out);
    for (size_t i = 0; i < upload->part_count; i++)
        fprintf(out, "<Part>%s%s%s<PartNumber>%zu</PartNumber><ETag>%s</ETag></Part>",
                upload->checksums[i][0] != '\0' ? "<ChecksumCRC32C>" : "", upload->checksums[i],
                upload->checksums[i][0] != '\0' ? "</ChecksumCRC32C>" : "", i + 1, upload->etags[i]);
    fputs("</CompleteMultipartUpload>", out);
    if (fclose(out) == 0)
        return text;
    free(text);
    return NULL;
}

/* The put has failed already; parts that cannot be removed either cost room, so the log says so. */
static void abort_upload(Upload *upload)
{
    ShS3Reply reply;
    ShError err = {0};
    const ShS3Parameter parameter = {"uploadId", upload->id};
    const ShS3Request request = {.operation = SH_S3_UPLOAD_ABORT,
                                 .key = upload->key,
                                 .parameters = &parameter,
                                 .parameter_count = 1,
                                 .fail_fast = true};
    ShStatus status = sh_s3_request(upload->store->client, &request, &reply, &err);
    if (status != SH_OK && !is_upload_gone(&reply))
        sh_log_warn("s3_upload_left_behind", "key=\"%s\" upload_id=\"%s\" reason=\"%s\"", upload->key,
                    upload->id, err.message);
    sh_s3_reply_clear(&reply);
}
