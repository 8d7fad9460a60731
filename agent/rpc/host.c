#include "agent/rpc/host.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct ShHosts {
    pthread_mutex_t mutex;
    ShHost *by_key;
};

static void set_key(uint8_t key[16], const struct sockaddr_storage *peer);

ShHosts *sh_hosts_new(void)
{
    ShHosts *hosts = calloc(1, sizeof *hosts);
    if (hosts != NULL)
        pthread_mutex_init(&hosts->mutex, NULL);
    return hosts;
}

void sh_hosts_free(ShHosts *hosts)
{
    if (hosts == NULL)
        return;
    pthread_mutex_destroy(&hosts->mutex);
    free(hosts);
}

ShHost *sh_host_of(ShHosts *hosts, const struct sockaddr_storage *peer)
{
    uint8_t key[16] = {0};
    ShHost *host = NULL;
    set_key(key, peer);
    pthread_mutex_lock(&hosts->mutex);
    HASH_FIND(hh, hosts->by_key, key, sizeof key, host);
    if (host == NULL && (host = calloc(1, sizeof *host)) != NULL) {
        host->hosts = hosts;
        memcpy(host->key, key, sizeof key);
        HASH_ADD(hh, hosts->by_key, key, sizeof host->key, host);
    }
    if (host != NULL)
        host->refs++;
    pthread_mutex_unlock(&hosts->mutex);
    return host;
}

void sh_host_release(ShHost *host)
{
    ShHosts *hosts = host->hosts;
    pthread_mutex_lock(&hosts->mutex);
    if (--host->refs == 0) {
        HASH_DEL(hosts->by_key, host);
        free(host);
    }
    pthread_mutex_unlock(&hosts->mutex);
}

static void set_key(uint8_t key[16], const struct sockaddr_storage *peer)
{
    if (peer->ss_family == AF_INET6) {
        struct sockaddr_in6 place;
        memcpy(&place, peer, sizeof place);
        memcpy(key, &place.sin6_addr, IN6_IS_ADDR_V4MAPPED(&place.sin6_addr) ? 16 : 8);
    } else if (peer->ss_family == AF_INET) {
        struct sockaddr_in place;
        memcpy(&place, peer, sizeof place);
        key[10] = key[11] = 0xFF;
        memcpy(key + 12, &place.sin_addr, sizeof place.sin_addr);
    }
}
