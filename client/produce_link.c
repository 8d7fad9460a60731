#include "client/produce_link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Link {
    struct Link *next;
    ShProduceLinks *links;
    char address[SH_CLIENT_ADDRESS_BYTES];
    ShClientCall *call;           /* NULL: broken, or not yet opened */
    ShParcel *queue, *queue_last; /* not yet written */
} Link;

struct ShProduceLinks {
    ShLoop *loop;
    ShProduceLinkEvents events;
    Link *first;
    ShScratch head; /* of the message being written */
};

static Link *find_link(ShProduceLinks *links, const char *address);
static void clear_queue(Link *link);
static ShStatus put_head(ShScratch *head, const ShParcel *parcel);
static void open_link(Link *link);
static void on_writable(void *context);
static void on_message(void *context, ShBuf *message);
static void on_closed(void *context, const ShRefusal *why);

ShProduceLinks *sh_produce_links_new(ShLoop *loop, const ShProduceLinkEvents *events)
{
    ShProduceLinks *links = calloc(1, sizeof *links);
    if (links == NULL)
        return NULL;
    links->loop = loop;
    links->events = *events;
    return links;
}

void sh_produce_links_free(ShProduceLinks *links)
{
    if (links == NULL)
        return;
    for (Link *link = links->first, *next = NULL; link != NULL; link = next) {
        next = link->next;
        clear_queue(link);
        free(link);
    }
    sh_scratch_free(&links->head);
    free(links);
}

void sh_produce_links_send(ShProduceLinks *links, ShParcel *parcel)
{
    Link *link = find_link(links, parcel->address);
    if (link == NULL) {
        link = calloc(1, sizeof *link);
        if (link == NULL) {
            if (parcel->confirms)
                free(parcel);
            return; /* the request time-out will try again */
        }
        link->links = links;
        strcpy(link->address, parcel->address);
        link->next = links->first;
        links->first = link;
    }
    parcel->next_queued = NULL;
    if (link->queue_last != NULL)
        link->queue_last->next_queued = parcel;
    else
        link->queue = parcel;
    link->queue_last = parcel;

    if (link->call == NULL)
        open_link(link);
    if (link->call != NULL && sh_client_call_writable(link->call))
        on_writable(link);
}

void sh_produce_links_drop(ShProduceLinks *links, const char *address)
{
    Link *link = find_link(links, address);
    if (link != NULL && link->call != NULL) {
        sh_client_call_cancel(link->call);
        return;
    }
    ShRefusal why = {0};
    (void)sh_fail(&why.error, SH_UNAVAILABLE, "no connection to %s could be made", address);
    if (link != NULL)
        clear_queue(link);
    links->events.lost(links->events.context, address, &why);
}

static Link *find_link(ShProduceLinks *links, const char *address)
{
    Link *link = links->first;
    while (link != NULL && strcmp(link->address, address) != 0)
        link = link->next;
    return link;
}

/* Where it cannot be opened, the parcels wait for their request's time-out, which drops the link. */
static void open_link(Link *link)
{
    ShClientCallEvents events = {on_writable, on_message, on_closed, link};
    link->call = sh_client_call_start(link->links->loop, link->address, SH_METHOD_PRODUCE_STREAM, 0, &events);
    if (link->call != NULL)
        sh_client_call_read(link->call);
}

static void on_writable(void *context)
{
    Link *link = context;
    ShParcel *parcel = link->queue;
    if (parcel == NULL)
        return;
    ShScratch *head = &link->links->head;
    if (put_head(head, parcel) != SH_OK) {
        sh_client_call_cancel(link->call);
        return;
    }
    link->queue = parcel->next_queued;
    if (link->queue == NULL)
        link->queue_last = NULL;

    _Static_assert(1 + SH_PARCEL_BATCHES_MAX <= SH_CALL_PIECES_MAX, "a parcel fits into one message");
    ShSlice pieces[1 + SH_PARCEL_BATCHES_MAX];
    pieces[0] = (ShSlice){head->data, head->length, NULL};
    for (size_t i = 0; i < parcel->batch_count; i++) {
        ShBuf *bytes = parcel->batches[i]->bytes;
        pieces[1 + i] = (ShSlice){bytes->data, bytes->length, bytes};
    }
    parcel->written = true;
    size_t piece_count = 1 + parcel->batch_count;
    if (parcel->confirms)
        free(parcel);
    sh_client_call_write(link->call, pieces, piece_count);
}

static ShStatus put_head(ShScratch *head, const ShParcel *parcel)
{
    const ShProducerTopic *topic = parcel->lane->topic;
    if (parcel->confirms)
        return sh_message_put_confirmation(head, parcel->id, topic->name, &topic->topic_id,
                                           parcel->lane->partition, parcel->producer_id,
                                           parcel->producer_epoch, parcel->first_unacked, NULL);
    return sh_message_put_produce(head, parcel->id, topic->name, &topic->topic_id, parcel->lane->partition,
                                  parcel->stamped ? parcel->first_unacked : 0, parcel->bytes, NULL);
}

/* Parcels are their lanes', confirmations the link's own. */
static void clear_queue(Link *link)
{
    while (link->queue != NULL) {
        ShParcel *parcel = link->queue;
        link->queue = parcel->next_queued;
        if (parcel->confirms)
            free(parcel);
    }
    link->queue_last = NULL;
}

static void on_message(void *context, ShBuf *message)
{
    Link *link = context;
    ShProduceAnswer answer;
    if (sh_message_get_produced(message->data, message->length, &answer, NULL) != SH_OK) {
        sh_message_free_produced(&answer);
        sh_client_call_cancel(link->call);
        return;
    }
    sh_client_call_read(link->call);
    link->links->events.answered(link->links->events.context, &answer);
    sh_message_free_produced(&answer);
}

static void on_closed(void *context, const ShRefusal *why)
{
    Link *link = context;
    link->call = NULL;
    clear_queue(link);
    link->links->events.lost(link->links->events.context, link->address, why);
}
