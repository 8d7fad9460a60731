/*
 * sequencer.h - the sequences of an idempotent producer: what its parcels carry, so that the server stores
 * each batch once however often it is sent. Pure; the sender's.
 *
 * A lane counts its sequences from 0 in an epoch of the producer. When they have lost their meaning (a parcel
 * was given up, so that the later ones follow nothing) the lane begins a newer epoch of its own and numbers
 * what is left anew; where the server has forgotten the producer, as another producer. Before that the fate
 * of every parcel that may be stored must be known: such parcels are sent once more as they were, which
 * tells.
 */
#ifndef SH_CLIENT_SEQUENCER_H
#define SH_CLIENT_SEQUENCER_H

#include "client/lane.h"
#include "core/status.h"

/* Requests in flight per partition: the server remembers at least so many. */
#define SH_IDEMPOTENT_IN_FLIGHT_MAX 5

typedef struct ShSequencer {
    bool on;     /* false: off, or the server does not offer it */
    bool has_id; /* else one has to be asked for */
    int64_t producer_id;
    int16_t producer_epoch;
} ShSequencer;

typedef enum ShSequenceState {
    SH_SEQUENCE_READY,  /* the next parcel may be sent */
    SH_SEQUENCE_NO_ID,  /* not before a producer id is there */
    SH_SEQUENCE_WAIT,   /* not before what is under way is answered */
    SH_SEQUENCE_RESOLVE /* only parcels whose fate is unknown */
} ShSequenceState;

/* What the lane may send; numbers its parcels anew where that is due and possible. */
ShSequenceState sh_sequencer_prepare(ShSequencer *sequencer, ShLane *lane);

/* Put the next sequences into the batches of a new parcel. The lane is ready. */
void sh_sequencer_stamp(ShLane *lane, ShParcel *parcel);

/* The lane's first sequence behind all that are acknowledged and all that were given up: nothing from it on
 * is acknowledged. What an heir takes in begins there, and what another server has of it is void. */
int32_t sh_sequencer_first_unacked(const ShLane *lane);

/* The server has acknowledged the parcel, and with it all before it: a partition stores a batch only behind
 * its predecessor. */
void sh_sequencer_acked(ShParcel *parcel);

/* Is the parcel stored, as a later one is acknowledged, whatever its own tries were answered? */
bool sh_sequencer_is_stored(const ShParcel *parcel);

/* Does this refusal speak of the producer's sequences or epoch? */
bool sh_sequencer_is_refusal(ShStatus status);

/* The server refused a parcel so: begin anew unless an earlier parcel is the reason. The parcel stays. */
void sh_sequencer_refused(ShSequencer *sequencer, ShParcel *parcel, ShStatus status);

/* A parcel was given up. */
void sh_sequencer_gave_up(ShParcel *parcel);

#endif
