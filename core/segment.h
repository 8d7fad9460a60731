/*
 * segment.h - the segment object: what one flush of one agent stores, the only form in which records rest.
 *
 * The byte table stands in segment_format.h and docs/reference/segment-format.md. In short:
 *
 *   header   magic, version, writer (agent incarnation, WAL uuid), publish number, results of earlier
 *            publishes; CRC
 *   data     runs: the batches of one partition and epoch one after the other, base offsets relative
 *   footer   one entry per run (ShSegmentRun), with a CRC over its batches' uncovered header bytes, and the
 *            (producer id, producer epoch) pairs of its transactional batches
 *   trailer  fixed size: position, length and CRC of the footer, CRC of the header, version, magic
 *
 * This module has no I/O: the writer produces pieces for a gathered PUT, the reader parses fetched bytes.
 */
#ifndef SH_CORE_SEGMENT_H
#define SH_CORE_SEGMENT_H

#include <stdint.h>
#include <sys/uio.h>

#include "core/batch.h"
#include "core/bytes.h"
#include "core/status.h"

#define SH_SEGMENT_TRAILER_BYTES 64

/* First offset of a run whose offsets the publish assigns (`object` topics). */
#define SH_OFFSET_UNASSIGNED (-1)

/* Who wrote the object, and as which of its publishes. */
typedef struct ShSegmentWriterId {
    ShUuid object_id;
    ShUuid wal_uuid;
    int64_t incarnation; /* the id that registration gave */
    int64_t publish_no;  /* rises by one with each object of the incarnation */
    int64_t created_ms;
} ShSegmentWriterId;

/* The batches of one partition and epoch that stand together, offsets without a hole. */
typedef struct ShSegmentRun {
    ShUuid topic_id;
    int32_t partition;
    int64_t epoch;
    int64_t first_offset; /* of the relative offset 0; SH_OFFSET_UNASSIGNED: the publish decides */
    int64_t offset_count; /* offsets the run covers: last offset = first_offset + offset_count - 1 */
    int64_t record_count;
    uint64_t position;        /* of the first batch in the object */
    uint64_t length;          /* bytes of the run's batches */
    int64_t min_timestamp_ms; /* the smallest base timestamp: later records of a batch may be older */
    int64_t max_timestamp_ms;
    int32_t batch_count;
    uint32_t headers_crc;       /* CRC-32C of the batches' first 21 bytes, as they stand in the object */
    uint32_t first_transaction; /* index of the run's first pair in the footer's list */
    uint32_t transaction_count;
} ShSegmentRun;

typedef struct ShSegmentTransaction {
    int64_t producer_id;
    int16_t producer_epoch;
} ShSegmentTransaction;

/* What an earlier publish decided for one run, carried so that the bucket alone can rebuild the index. */
typedef enum ShDisposition {
    SH_DISPOSITION_PUBLISHED = 1,
    SH_DISPOSITION_DUPLICATE = 2,
    SH_DISPOSITION_VOID = 3,
    SH_DISPOSITION_REFUSED = 4,
    SH_DISPOSITION_DROPPED = 5
} ShDisposition;

typedef struct ShSegmentResult {
    ShUuid object_id;
    int64_t publish_no;
    ShUuid topic_id;
    int32_t partition;
    int64_t epoch;
    int64_t first_offset;
    int64_t offset_count;
    ShDisposition disposition;
} ShSegmentResult;

/* --- writing -------------------------------------------------------------------------------------------- */

typedef struct ShSegmentWriter ShSegmentWriter;

/* Start an object. `results` (may be NULL with count 0) are copied. NULL when memory is short. */
ShSegmentWriter *sh_segment_writer_new(const ShSegmentWriterId *id, const ShSegmentResult *results,
                                       size_t result_count);
void sh_segment_writer_free(ShSegmentWriter *writer);

/* Start the next run. Its first_offset is that of its first batch, or SH_OFFSET_UNASSIGNED. Each run must get
 * a batch before the next one starts: an object without any run is fine, a run without any batch is
 * SH_INVALID. */
ShStatus sh_segment_writer_begin_run(ShSegmentWriter *writer, const ShUuid *topic_id, int32_t partition,
                                     int64_t epoch, int64_t first_offset, ShError *err) SH_MUST_CHECK;

/* Add a batch to the current run. Takes a reference on `batch.owner` until the writer is freed; the bytes are
 * not copied or changed (only the 8 bytes of the base offset are replaced in what is written). In a run with
 * offsets the header's base_offset must continue the run, else SH_INVALID. */
ShStatus sh_segment_writer_add(ShSegmentWriter *writer, ShSlice batch, const ShBatchHeader *header,
                               ShError *err) SH_MUST_CHECK;

/* Bytes of batches added so far. */
uint64_t sh_segment_writer_bytes(const ShSegmentWriter *writer);

/* The finished object, in pieces to be written in order. */
typedef struct ShSegmentObject {
    const struct iovec *pieces;
    size_t piece_count;
    uint64_t total_bytes;
    const ShSegmentRun *runs;
    size_t run_count;
} ShSegmentObject;

/* End the object: `*out` borrows from the writer and is valid until the writer is freed. */
ShStatus sh_segment_writer_finish(ShSegmentWriter *writer, ShSegmentObject *out, ShError *err) SH_MUST_CHECK;

/* --- reading -------------------------------------------------------------------------------------------- */

/* Where the footer is, from the object's last SH_SEGMENT_TRAILER_BYTES. */
typedef struct ShSegmentTrailer {
    uint64_t footer_position;
    uint64_t footer_length;
    uint32_t footer_crc;
    uint32_t header_crc;
    uint32_t header_length;
    ShUuid object_id;
    uint32_t version;
} ShSegmentTrailer;

/* Parse the trailer; `object_bytes` is the object's whole size, against which positions are checked. */
ShStatus sh_segment_parse_trailer(const uint8_t *trailer, uint64_t object_bytes, ShSegmentTrailer *out,
                                  ShError *err) SH_MUST_CHECK;

/* An object's index: header and footer, decoded. */
typedef struct ShSegmentIndex {
    ShSegmentWriterId writer;
    ShSegmentResult *results;
    size_t result_count;
    ShSegmentRun *runs;
    size_t run_count;
    ShSegmentTransaction *transactions;
    size_t transaction_count;
} ShSegmentIndex;

/* Parse and verify a whole object in memory: header, footer, trailer, every run's place and headers_crc, and
 * every batch's CRC. `*out` is freed with sh_segment_index_free. Foreign bytes are safe: any damage is
 * SH_CORRUPT, an undamaged object of another version SH_UNSUPPORTED. */
ShStatus sh_segment_parse(const uint8_t *object, uint64_t object_bytes, ShSegmentIndex **out,
                          ShError *err) SH_MUST_CHECK;
void sh_segment_index_free(ShSegmentIndex *index);

/* What the index says of bytes that are read from a run. */
typedef struct ShRunRange {
    int64_t base_offset;  /* of the run's first batch */
    int64_t from_offset;  /* of the first batch of the bytes */
    int64_t end_offset;   /* where the run's last batch ends */
    bool is_rest;         /* the bytes are the run's last: they end with its last batch */
    int32_t leader_epoch; /* written into each batch */
} ShRunRange;

/* Turn `length` bytes of a run, read from the store, into batches with absolute offsets, in place. Each batch
 * is checked: its bounds and CRC, and that its offset, which no CRC of its own covers, is the one that must
 * follow, from `from_offset` to `end_offset`. So a damaged byte is an error, never another record or offset.
 * `*usable` is the length of the whole batches (a range read may end inside one; the rest of a run may not).
 * On failure the batches before the damage are rebased already. */
ShStatus sh_segment_rebase(uint8_t *bytes, size_t length, const ShRunRange *range, size_t *usable,
                           ShError *err) SH_MUST_CHECK;

#endif
