/*
 * decode.h - fetched batches as structured records, for readers that decode none.
 */
#ifndef SH_AGENT_RPC_DECODE_H
#define SH_AGENT_RPC_DECODE_H

#include "agent/log/engine.h"
#include "agent/rpc/checker.h"

/* What the batches of one answer may unfold to, beside the one that passes it: a request may name parts
 * without end of which each unfolds to much and gives little. */
#define SH_DECODE_UNFOLDED_BYTES_MAX ((size_t)256 << 20)

/* One answer on its way from batches to records, part by part. */
typedef struct ShDecoding {
    ShCheckTools *tools;
    uint32_t number;   /* of the field that a record becomes */
    size_t bytes_left; /* of the answer's bound */
    bool is_inline; /* it keeps a worker: batches unfold to SH_CHECK_INLINE_BYTES_MAX, each and about all */
    /* sh_decode_records' own; zeros at first */
    size_t unfolded_bytes;
    bool is_some; /* a record has come */
    bool is_full; /* no more will */
} ShDecoding;

/* Encode the part's records from its offset on as fields of type Record into tools->encoded, until the answer
 * has all that it may have: then this part and those behind it perhaps give none. The first record of an
 * answer comes however large it is. part->next_offset then says where to continue: a batch that unfolds to
 * more than one answer's bytes is read on from its middle. Damage is put into part->error if nothing was
 * decoded before it. What was accepted is read, whatever the settings say by now. False: what comes before
 * the first record unfolds to too much `is_inline`; the part is left as it was. */
bool sh_decode_records(ShDecoding *decoding, ShFetchPart *part);

#endif
