/*
 * framing.h - requests of which two readers could think differently: where they end, and whom they are for.
 *
 * A proxy in front may go by the one header and this server by the other: what the proxy takes for a body is
 * then a request here, which nobody has looked at. RFC 9112 lets such requests be answered with 400.
 */
#ifndef SH_AGENT_HTTP_FRAMING_H
#define SH_AGENT_HTTP_FRAMING_H

#include <microhttpd.h>

/* What is wrong with the target and the headers of a request of this version ("HTTP/1.1"): NULL, or words for
 * its client, a line of static text. The answer to a faulty one must be queued before its body is read, and
 * end the connection. */
const char *sh_framing_fault(struct MHD_Connection *connection, const char *target, const char *version);

#endif
