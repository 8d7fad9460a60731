/*
 * s3_xml.h - the few XML documents that an S3 server answers with. The input is foreign: its depth, the
 * length of each text and document type declarations (entities) are bounded or refused.
 */
#ifndef SH_AGENT_STORE_S3_XML_H
#define SH_AGENT_STORE_S3_XML_H

#include <stdbool.h>
#include <stdint.h>

#include "core/bytes.h"
#include "core/status.h"

#define SH_S3_TEXT_BYTES_MAX 2048 /* of one element; longer is damage */

/* What an <Error> document says; "" where it says nothing. */
typedef struct ShS3Complaint {
    char code[64];
    char message[256];
} ShS3Complaint;

/* False, and an empty complaint, when `body` (may be NULL) is no <Error> document. Control characters in the
 * message are replaced, so that it can stand in a log line. */
bool sh_s3_xml_complaint(const ShBuf *body, ShS3Complaint *out);

/* The UploadId of an <InitiateMultipartUploadResult>; SH_CORRUPT when there is none. */
ShStatus sh_s3_xml_upload_id(const ShBuf *body, char out[SH_S3_TEXT_BYTES_MAX], ShError *err) SH_MUST_CHECK;

/* True for a <CompleteMultipartUploadResult>. */
bool sh_s3_xml_is_completion(const ShBuf *body);

/* Call `fn` (NULL: only look) for each object of a <ListBucketResult>, until it returns false. `next_token`
 * is
 * "" on the last page. SH_CORRUPT, before any call, when the document is no such result, damaged, does not
 * say whether it is all, or holds another number of objects than it says. */
typedef bool (*ShS3ListedFn)(void *arg, const char *key, uint64_t bytes);
ShStatus sh_s3_xml_list(const ShBuf *body, ShS3ListedFn fn, void *arg, char next_token[SH_S3_TEXT_BYTES_MAX],
                        ShError *err) SH_MUST_CHECK;

/* Call `fn` (NULL: only look) for each upload of a <ListMultipartUploadsResult>; `initiated` is its time as
 * the server writes it. One page is read: what does not fit comes when those before are gone. SH_CORRUPT,
 * before any call, when the document is no such result, or damaged. */
typedef void (*ShS3UploadFn)(void *arg, const char *key, const char *upload_id, const char *initiated);
ShStatus sh_s3_xml_upload_list(const ShBuf *body, ShS3UploadFn fn, void *arg, ShError *err) SH_MUST_CHECK;

#endif
