#include "agent/store/s3_answer.h"

#include <stdio.h>

static ShStatus check_stored(const ShS3HttpReply *reply, ShError *err);
static ShStatus check_read(const ShS3Request *request, const ShS3HttpReply *reply, uint64_t *total_bytes,
                           ShError *err);
static ShStatus check_deleted(const ShS3HttpReply *reply, ShError *err);
static ShStatus check_list(const ShS3HttpReply *reply, ShError *err);
static ShStatus check_upload_list(const ShS3HttpReply *reply, ShError *err);
static ShStatus no_s3_answer(ShError *err, const ShS3HttpReply *reply, const char *why);

ShStatus sh_s3_answer_check(const ShS3Request *request, const ShS3HttpReply *reply, uint64_t *total_bytes,
                            ShError *err)
{
    char upload_id[SH_S3_TEXT_BYTES_MAX];
    switch (request->operation) {
    case SH_S3_PUT:
    case SH_S3_UPLOAD_PART:
        return check_stored(reply, err);
    case SH_S3_GET:
        return check_read(request, reply, total_bytes, err);
    case SH_S3_DELETE:
    case SH_S3_UPLOAD_ABORT:
        return check_deleted(reply, err);
    case SH_S3_LIST:
        return check_list(reply, err);
    case SH_S3_UPLOAD_CREATE:
        return sh_s3_xml_upload_id(reply->body, upload_id, NULL) == SH_OK
                   ? SH_OK
                   : no_s3_answer(err, reply, "names no multipart upload");
    case SH_S3_UPLOAD_COMPLETE:
        return sh_s3_xml_is_completion(reply->body)
                   ? SH_OK
                   : no_s3_answer(err, reply, "does not say that the upload is complete");
    case SH_S3_UPLOAD_LIST:
        return check_upload_list(reply, err);
    case SH_S3_OPERATION_COUNT:
        break;
    }
    return sh_fail(err, SH_INTERNAL, "there is no such operation");
}

/* An ETag goes back to the server inside XML as it came, so it must hold nothing that XML would read. */
static ShStatus check_stored(const ShS3HttpReply *reply, ShError *err)
{
    static const char plain[] = "\"-_+/=ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    bool is_plain = reply->etag[0] != '\0' && reply->etag[strspn(reply->etag, plain)] == '\0';
    return is_plain ? SH_OK : no_s3_answer(err, reply, "has no usable ETag, so nothing was stored");
}

/* The bytes must be the ones that were asked for, and fewer only where the object ends. An empty object has
 * no ranges: some servers answer with all of it. */
static ShStatus check_read(const ShS3Request *request, const ShS3HttpReply *reply, uint64_t *total_bytes,
                           ShError *err)
{
    unsigned long long first;
    unsigned long long last;
    unsigned long long total;
    uint64_t got = reply->body != NULL ? reply->body->length : 0;
    if (reply->code == 200 && got == 0 && reply->has_length && reply->content_length == 0 &&
        reply->etag[0] != '\0') {
        *total_bytes = 0;
        return SH_OK;
    }
    if (reply->code != 206)
        return no_s3_answer(err, reply, "is no part of an object, although a range was asked for");
    if (sscanf(reply->content_range, "bytes %llu-%llu/%llu", &first, &last, &total) != 3 ||
        first != request->position || last < first || last >= total || last - first + 1 != got ||
        got > request->length || (got < request->length && last + 1 != total))
        return sh_fail(err, SH_UNAVAILABLE,
                       "the server sent %llu bytes, Content-Range \"%s\", for %llu at %llu",
                       (unsigned long long)got, reply->content_range, (unsigned long long)request->length,
                       (unsigned long long)request->position);
    *total_bytes = total;
    return SH_OK;
}

static ShStatus check_deleted(const ShS3HttpReply *reply, ShError *err)
{
    return reply->code == 204 || reply->body == NULL
               ? SH_OK
               : no_s3_answer(err, reply, "has a body, so nothing was deleted");
}

static ShStatus check_list(const ShS3HttpReply *reply, ShError *err)
{
    char token[SH_S3_TEXT_BYTES_MAX];
    ShError why = {0};
    if (sh_s3_xml_list(reply->body, NULL, NULL, token, &why) == SH_OK)
        return SH_OK;
    return no_s3_answer(err, reply, why.message);
}

static ShStatus check_upload_list(const ShS3HttpReply *reply, ShError *err)
{
    ShError why = {0};
    if (sh_s3_xml_upload_list(reply->body, NULL, NULL, &why) == SH_OK)
        return SH_OK;
    return no_s3_answer(err, reply, why.message);
}

static ShStatus no_s3_answer(ShError *err, const ShS3HttpReply *reply, const char *why)
{
    return sh_fail(
        err, SH_UNAVAILABLE,
        "what answers there (HTTP %ld) is no S3 server: the answer %s; see the setting s3_endpoint",
        reply->code, why);
}
