/*
 * room.h - a bound of memory that many calls share, and who has to go when it is reached.
 *
 * What an answer takes is held by the client that does not take it, and a client may open as many connections
 * as it likes. So shares are counted by the host that they are for (host.h). While half of the room is
 * free whoever comes gets what it asks for, however large when nobody has anything; after that it is for
 * addresses that have nothing yet, or little (sh_connection_may_take). Of those that wait, who would have
 * least comes first, so that nobody's large answer keeps the small ones waiting; but who has waited for long
 * and whose address has had nothing meanwhile comes before all, and whom only its own address holds back
 * keeps no other waiting. Where that is not enough, room is made by cancelling calls: the largest of the
 * address that has most.
 */
#ifndef SH_AGENT_RPC_ROOM_H
#define SH_AGENT_RPC_ROOM_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "agent/base/metrics.h"
#include "agent/rpc/worker.h"

struct ShCall;
struct ShRoomAddress;

/* Less than this is not worth counting. */
#define SH_ROOM_COUNTED_BYTES 4096
#define SH_ROOM_HASH_BITS     6

/* What one call has of a room, or waits for. Zeroed, it is out of use. */
typedef struct ShRoomShare {
    bool in_use; /* the call's thread's, whatever others have made of it */
    /* by the room's mutex */
    struct ShCall *call;
    struct ShRoomAddress *address; /* NULL: has nothing */
    int64_t bytes;
    int64_t since_us; /* when the client was given the answer; INT64_MAX: it has nothing to take yet */
    ShWake *wake;     /* of a share that waits, as the next */
    int64_t waits_since_us;
    bool is_cancelled;
    TAILQ_ENTRY(ShRoomShare) link;
} ShRoomShare;

typedef struct ShRoom {
    const char *name; /* of log lines */
    int64_t bytes_max;
    bool waits; /* who finds no room waits for it */
    ShMetric *cancelled;
    pthread_mutex_t mutex;
    /* by mutex */
    int64_t bytes;
    size_t waiting; /* shares that wait */
    LIST_HEAD(ShRoomAddresses, ShRoomAddress) addresses[1 << SH_ROOM_HASH_BITS];
    size_t address_count;
} ShRoom;

/* `name` is static. With `waits` a call is only cancelled when its client has not taken its answer for some
 * time, else also at once for one of an address that has less. */
void sh_room_init(ShRoom *room, const char *name, int64_t bytes_max, bool waits);
void sh_room_destroy(ShRoom *room);

/* Have so many bytes, in place of what the share had. False: there is no room, and none could be made; the
 * share then has nothing. `is_answered`: from now on it is the client that keeps the call from its end. */
bool sh_room_take(ShRoom *room, ShRoomShare *share, struct ShCall *call, int64_t bytes, bool is_answered);

/* Wait until the share, which has nothing, is given so many bytes: then `wake` is posted. The call is alive
 * until then. */
void sh_room_wait(ShRoom *room, ShRoomShare *share, struct ShCall *call, int64_t bytes, ShWake *wake);
/* Wait no longer. False: the wake is on its way. */
bool sh_room_stop_waiting(ShRoom *room, ShRoomShare *share);
/* Make room for those that wait, from those that have not taken theirs for some time. */
void sh_room_press(ShRoom *room);

/* Was the call cancelled for others? */
bool sh_room_has_cancelled(ShRoom *room, const ShRoomShare *share);

/* Give back what the share has, if it is in use and does not wait. */
void sh_room_release(ShRoom *room, ShRoomShare *share);

#endif
