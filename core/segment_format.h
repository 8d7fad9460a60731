/*
 * segment_format.h - the bytes of a segment object, version 1. Only core/segment_*.c include it.
 *
 * All integers are big-endian, all CRCs are CRC-32C, all times are milliseconds since 1970-01-01 UTC. The
 * parts follow each other without a gap.
 *
 * header
 *   offset  bytes  field
 *        0      8  magic "SHSEGHDR"
 *        8      4  version (1)
 *       12      4  header length H, with results and CRC
 *       16     16  object id
 *       32     16  WAL uuid of the writer
 *       48      8  incarnation of the writer
 *       56      8  publish number
 *       64      8  creation time
 *       72      4  result count R
 *       76   69*R  results: object id 16, publish number 8, topic id 16, partition 4, epoch 8,
 *                  first offset 8, offset count 8, disposition 1
 *      H-4      4  CRC of the header before this field
 *
 * data, from H on
 *   Runs, one after the other, each one or more record batches (batch.h). A batch's baseOffset is relative:
 *   the run's first batch has 0, each next one continues behind the lastOffsetDelta of the one before.
 *
 * footer
 *        0      4  run count N
 *        4      4  transaction count T
 *        8  100*N  runs, in the order of the data:
 *                     0  16  topic id                       60  8  length of the run's batches
 *                    16   4  partition                      68  8  smallest baseTimestamp of the batches
 *                    20   8  epoch                          76  8  greatest maxTimestamp of the batches
 *                    28   8  first offset, -1: the publish  84  4  batch count
 *                            assigns it                     88  4  CRC of the first 21 bytes of each batch
 *                    36   8  offset count                   92  4  first transaction, an index into the list
 *                    44   8  record count                   96  4  transaction count
 *                    52   8  position in the object
 *    8+100N   10*T  transactions: producer id 8, producer epoch 2; run by run, sorted, each once
 *
 * trailer, the last 64 bytes; magic, CRC and version keep their places in every version
 *        0      8  footer position
 *        8      8  footer length
 *       16      4  CRC of the footer
 *       20      4  CRC of the header, as it stands there
 *       24      4  header length H
 *       28     16  object id
 *       44      4  zero
 *       48      4  version (1)
 *       52      4  CRC of the trailer before this field
 *       56      8  magic "SHSEGEND"
 */
#ifndef SH_CORE_SEGMENT_FORMAT_H
#define SH_CORE_SEGMENT_FORMAT_H

#include "core/segment.h"

#define SH_SEGMENT_VERSION       1
#define SH_SEGMENT_MAGIC_BYTES   8
#define SH_SEGMENT_HEADER_MAGIC  "SHSEGHDR"
#define SH_SEGMENT_TRAILER_MAGIC "SHSEGEND"

#define SH_SEGMENT_CRC_BYTES            4
#define SH_SEGMENT_HEADER_FIXED_BYTES   76
#define SH_SEGMENT_HEADER_BYTES_MIN     (SH_SEGMENT_HEADER_FIXED_BYTES + SH_SEGMENT_CRC_BYTES)
#define SH_SEGMENT_RESULT_BYTES         69
#define SH_SEGMENT_FOOTER_FIXED_BYTES   8
#define SH_SEGMENT_RUN_BYTES            100
#define SH_SEGMENT_TRANSACTION_BYTES    10
#define SH_SEGMENT_TRAILER_CRC_POSITION 52

/* The base offset field at the start of each batch, which is replaced in the object. */
#define SH_SEGMENT_BASE_OFFSET_BYTES 8

/* Offsets that a batch covers; 0 when its header makes no sense. */
static inline int64_t sh_segment_batch_offsets(const ShBatchHeader *header)
{
    if (header->last_offset_delta < 0 || header->record_count < 1 ||
        header->record_count - 1 > header->last_offset_delta)
        return 0;
    return (int64_t)header->last_offset_delta + 1;
}

#endif
