/*
 * s3_error.h - what an S3 server's refusal means: which ShStatus, whether a retry helps, which setting to
 * look at.
 */
#ifndef SH_AGENT_STORE_S3_ERROR_H
#define SH_AGENT_STORE_S3_ERROR_H

#include "agent/store/s3_xml.h"
#include "core/status.h"

/* The classes that streamhouse_s3_errors_total counts. */
typedef enum ShS3ErrorClass {
    SH_S3_ERROR_NONE,      /* not a failure of S3: no such object, or it exists */
    SH_S3_ERROR_TRANSPORT, /* no answer: not reached, cut off */
    SH_S3_ERROR_TIMEOUT,   /* no answer in time */
    SH_S3_ERROR_THROTTLED, /* 503 SlowDown and the like */
    SH_S3_ERROR_SERVER,    /* 5xx */
    SH_S3_ERROR_DENIED,    /* credentials or rights */
    SH_S3_ERROR_REQUEST,   /* the request is wrong and will stay wrong */
    SH_S3_ERROR_CLASS_COUNT
} ShS3ErrorClass;

const char *sh_s3_error_class_name(ShS3ErrorClass class);

/* Judge an answer that is not 2xx (or a 200 whose body is a complaint). Returns the status with the words in
 * `err`, whose `retriable` says whether the same request may succeed later. `region` is where the server says
 * that the bucket is, or "".
 *
 * SH_NOT_FOUND is given for 404 with S3's own word for a missing object (NoSuchKey) and for nothing else:
 * records are given up on it. */
ShStatus sh_s3_judge(long http_code, const ShS3Complaint *complaint, const char *region,
                     ShS3ErrorClass *class, ShError *err);

/* The class of an exchange that brought no answer. */
ShS3ErrorClass sh_s3_judge_transport(ShStatus status);

#endif
