/*
 * produce_link.h - a producer's ProduceStreams, one per agent: parcels go out in order, answers come back.
 *
 * A stream is opened with the first parcel for its agent, and again with the first one after it broke.
 * Everything here belongs to the producer's thread.
 */
#ifndef SH_CLIENT_PRODUCE_LINK_H
#define SH_CLIENT_PRODUCE_LINK_H

#include "client/sender.h"
#include "client/transport.h"

typedef struct ShProduceLinks ShProduceLinks;

/* `answered` and `lost` are told with `context`, from sh_loop_run. NULL when memory is short. */
typedef struct ShProduceLinkEvents {
    void (*answered)(void *context, const ShProduceAnswer *answer);
    void (*lost)(void *context, const char *address, const ShRefusal *why);
    void *context;
} ShProduceLinkEvents;
ShProduceLinks *sh_produce_links_new(ShLoop *loop, const ShProduceLinkEvents *events);
/* After the loop, whose end closes the streams. NULL allowed. */
void sh_produce_links_free(ShProduceLinks *links);

/* Send a parcel to parcel->address. */
void sh_produce_links_send(ShProduceLinks *links, ShParcel *parcel);
/* Break the stream to an address; `lost` follows. */
void sh_produce_links_drop(ShProduceLinks *links, const char *address);

#endif
