/*
 * s3_uploads.c - uploads in parts that nobody will complete: their parts cost room, and no list of objects
 * shows them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "agent/base/clock.h"
#include "agent/base/log.h"
#include "agent/store/s3_store.h"

#define REPLY_BYTES_MAX (4 * 1024 * 1024)

typedef struct Left {
    ShS3Client *client;
    int64_t before_ms;
    size_t count;
    ShStatus status;
    ShError *err;
} Left;

static void on_upload(void *arg, const char *key, const char *upload_id, const char *initiated);
static bool read_time(const char *text, int64_t *wall_ms);

ShStatus sh_s3_end_uploads(ShStore *base, int64_t age_ms, size_t *count, ShError *err)
{
    ShS3Client *client = ((ShS3Store *)base)->client;
    ShS3Reply reply;
    const ShS3Parameter parameters[] = {{"prefix", client->address.key_prefix}, {"uploads", ""}};
    const ShS3Request request = {.operation = SH_S3_UPLOAD_LIST,
                                 .parameters = parameters,
                                 .parameter_count = 2,
                                 .reply_bytes_max = REPLY_BYTES_MAX};
    Left left = {.client = client, .before_ms = sh_clock_wall_ms() - age_ms, .err = err};
    ShStatus status = sh_s3_request(client, &request, &reply, err);
    if (status == SH_OK)
        status = sh_s3_xml_upload_list(reply.http.body, on_upload, &left, err);
    if (status == SH_OK)
        status = left.status;
    sh_s3_reply_clear(&reply);
    *count = left.count;
    return status;
}

static void on_upload(void *arg, const char *key, const char *upload_id, const char *initiated)
{
    Left *left = arg;
    int64_t initiated_ms;
    size_t prefix_length = strlen(left->client->address.key_prefix);
    if (left->status != SH_OK || strncmp(key, left->client->address.key_prefix, prefix_length) != 0 ||
        !read_time(initiated, &initiated_ms) || initiated_ms > left->before_ms)
        return;
    ShS3Reply reply;
    const ShS3Parameter parameter = {"uploadId", upload_id};
    const ShS3Request request = {.operation = SH_S3_UPLOAD_ABORT,
                                 .key = key + prefix_length,
                                 .parameters = &parameter,
                                 .parameter_count = 1};
    ShStatus status = sh_s3_request(left->client, &request, &reply, left->err);
    if (status != SH_OK && strcmp(reply.complaint.code, "NoSuchUpload") == 0)
        status = SH_OK;
    if (status == SH_OK)
        left->count++;
    left->status = status;
    sh_s3_reply_clear(&reply);
}

/* "2026-11-30T01:02:03.000Z" */
static bool read_time(const char *text, int64_t *wall_ms)
{
    struct tm tm = {0};
    if (strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) == NULL)
        return false;
    *wall_ms = (int64_t)timegm(&tm) * 1000;
    return true;
}
