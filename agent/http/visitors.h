/*
 * visitors.h - the connections of a server of HTTP, and the time that each has for a request.
 *
 * libmicrohttpd ends a connection on which nothing moves; one that sends a byte now and then it keeps for
 * ever, and when all places are taken nobody comes in. So each connection has a deadline: from its begin, or
 * from the end of its last request, to the end of the next. When three quarters of the places are taken, or
 * half of them by one address (sh_address_key), the newcomer takes the place of one of the address that has
 * most: the one that is at it for the longest, of those that the agent does not work for, and if that is the
 * newcomer it has to go. So whoever asks and goes is served, however many others hang about. The kernel keeps
 * little of what is sent to each, so that nearly all of an answer that is not taken is in the memory which
 * its server counts.
 */
#ifndef SH_AGENT_HTTP_VISITORS_H
#define SH_AGENT_HTTP_VISITORS_H

#include <microhttpd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

typedef struct ShVisitors ShVisitors;

/* For a server that takes at most `places` connections; a request has to end within `request_ms`. */
ShStatus sh_visitors_start(size_t places, int64_t request_ms, ShVisitors **out, ShError *err) SH_MUST_CHECK;
/* When the server has stopped. NULL allowed. */
void sh_visitors_stop(ShVisitors *visitors);

/* For MHD_OPTION_NOTIFY_CONNECTION, with the visitors as its argument. */
void sh_visitors_notify(void *arg, struct MHD_Connection *connection, void **context,
                        enum MHD_ConnectionNotificationCode code);

/* A request of the connection has ended: the next has its time from now on. */
void sh_visitors_request_ended(ShVisitors *visitors, struct MHD_Connection *connection);
/* The agent works on the request, or does so no more: meanwhile the client cannot be late, and then it has
 * its time to take the answer. */
void sh_visitors_set_busy(ShVisitors *visitors, struct MHD_Connection *connection, bool busy);
/* The connection holds so many bytes of a body that has not ended. */
void sh_visitors_hold(ShVisitors *visitors, struct MHD_Connection *connection, size_t bytes);
/* The connection holds an answer of so many bytes, until its request has ended. */
void sh_visitors_hold_answer(ShVisitors *visitors, struct MHD_Connection *connection, size_t bytes);
/* End some that hold answers of `bytes` together, so that `connection` can have its own, of which it has
 * told: the largest first, of the address that has most. One goes at once if it is larger and of the same
 * address, or if its address has more than that of `connection`; when it was made `age_ms` ago at least, also
 * if its address has as much as that of `connection` has beside this answer. False: there are not so many. */
bool sh_visitors_end_largest_answers(ShVisitors *visitors, struct MHD_Connection *connection, size_t bytes,
                                     int64_t age_ms);
/* End one that sends its body for `age_ms` at least, but not `connection`: the one that is at it for the
 * longest of the address that has most. The address has as much as that of `connection` has in other bodies.
 * False: there is none. */
bool sh_visitors_end_slowest_body(ShVisitors *visitors, struct MHD_Connection *connection, int64_t age_ms);

#endif
