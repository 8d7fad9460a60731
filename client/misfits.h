/*
 * misfits.h - records that the server refused one by one, because they do not fit their topic's schemas.
 *
 * They are marked in their batch, and told with the others when the batch is done, so that a partition's
 * records keep their order. Pure.
 */
#ifndef SH_CLIENT_MISFITS_H
#define SH_CLIENT_MISFITS_H

#include "client/lane.h"

/* Mark the records that the answer names. The batches' bytes stay as they are: all else is stored, or nothing
 * is. False when memory is short. */
bool sh_misfits_mark(ShParcel *parcel, const ShProduceAnswer *answer);

/* The same, and build the batches anew without them, so that the rest can be sent again; a batch of which
 * nothing is left has no bytes. When memory is short what is left is of no use. */
bool sh_misfits_take_out(ShParcel *parcel, const ShProduceAnswer *answer);

void sh_misfits_free(ShPendingBatch *batch);

#endif
