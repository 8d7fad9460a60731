/*
 * scripted_peer.h - a listener on 127.0.0.1 that plays a PostgreSQL server from a script of bytes.
 */
#ifndef SH_TESTS_UNIT_AGENT_PG_SCRIPTED_PEER_H
#define SH_TESTS_UNIT_AGENT_PG_SCRIPTED_PEER_H

#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>

#include "tests/unit/agent/pg/pg_fixture.h"

typedef struct ScriptedPeer {
    int listener;
    const uint8_t *script; /* sent once the client has said something; NULL: stay silent */
    size_t script_bytes;
    char conninfo[128];
    pthread_t thread;
} ScriptedPeer;

/* Serves one client until it hangs up. */
static void *scripted_peer_run(void *arg)
{
    ScriptedPeer *peer = arg;
    uint8_t bytes[4096];
    int client = accept(peer->listener, NULL, NULL);
    if (client < 0)
        return NULL;
    if (peer->script != NULL && read(client, bytes, sizeof bytes) > 0)
        send(client, peer->script, peer->script_bytes, MSG_NOSIGNAL);
    while (read(client, bytes, sizeof bytes) > 0)
        continue;
    close(client);
    return NULL;
}

static inline void scripted_peer_start(ScriptedPeer *peer, const uint8_t *script, size_t script_bytes)
{
    struct sockaddr_in place = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof place;
    peer->script = script;
    peer->script_bytes = script_bytes;
    peer->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(peer->listener, (struct sockaddr *)&place, sizeof place), 0);
    assert_int_equal(listen(peer->listener, 4), 0);
    assert_int_equal(getsockname(peer->listener, (struct sockaddr *)&place, &length), 0);
    snprintf(
        peer->conninfo, sizeof peer->conninfo,
        "hostaddr=127.0.0.1 port=%d user=u dbname=d password=opensesame sslmode=disable gssencmode=disable",
        ntohs(place.sin_port));
    assert_int_equal(pthread_create(&peer->thread, NULL, scripted_peer_run, peer), 0);
}

/* The client must have hung up, or never come. */
static inline void scripted_peer_stop(ScriptedPeer *peer)
{
    shutdown(peer->listener, SHUT_RDWR);
    pthread_join(peer->thread, NULL);
    close(peer->listener);
}

#endif
