/*
 * grpc_internal.h - the gRPC objects that transport.c, loop.c and call.c share. Nobody else includes it.
 */
#ifndef SH_CLIENT_GRPC_INTERNAL_H
#define SH_CLIENT_GRPC_INTERNAL_H

#include <grpc/grpc.h>

#include "client/transport.h"

/* The tag of every operation: who is told when it is done. */
typedef struct ShLoopTag {
    void (*on_done)(void *subject, bool succeeded);
    void *subject;
} ShLoopTag;

/* The channel to an address, made when it is first asked for; the transport's own. NULL when
 * memory is short. */
grpc_channel *sh_transport_channel(ShTransport *transport, const char *address);

/* A buffer for a message that came, used again when its last holder lets go; NULL when memory is short. */
ShBuf *sh_transport_buf(ShTransport *transport, size_t bytes);

grpc_completion_queue *sh_loop_queue(ShLoop *loop);
ShTransport *sh_loop_transport(ShLoop *loop);

/* The calls of a loop that are not yet closed, from which sh_loop_free cancels what is left. */
ShClientCall **sh_loop_calls(ShLoop *loop);

#endif
