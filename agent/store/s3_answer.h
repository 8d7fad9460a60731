/*
 * s3_answer.h - whether an answer that says "done" is one that an S3 server gives to that request.
 *
 * Proxies, captive portals and load balancers answer too: 200 with a page of HTML, or with nothing. What is
 * taken for stored, read, listed or deleted must look like it.
 */
#ifndef SH_AGENT_STORE_S3_ANSWER_H
#define SH_AGENT_STORE_S3_ANSWER_H

#include "agent/store/s3_client.h"

/* Judge a 2xx answer. SH_OK, and for a read `*total_bytes` is the object's whole size; else SH_UNAVAILABLE,
 * retriable, with the words in `err`. */
ShStatus sh_s3_answer_check(const ShS3Request *request, const ShS3HttpReply *reply, uint64_t *total_bytes,
                            ShError *err) SH_MUST_CHECK;

#endif
