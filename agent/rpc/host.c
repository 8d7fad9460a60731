#include "agent/rpc/host.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct ShHosts {
    pthread_mutex_t mutex;
    ShHost *by_key;
};

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
    uint8_t key[SH_ADDRESS_KEY_BYTES];
    ShHost *host = NULL;
    sh_address_key((const struct sockaddr *)peer, key);
    pthread_mutex_lock(&hosts->mutex);
    HASH_FIND(hh, hosts->by_key, key, sizeof key, host);
    if (host == NULL && (host = calloc(1, sizeof *host)) != NULL) {
        host->hosts = hosts;
        memcpy(host->key, key, sizeof key);
        HASH_ADD(hh, hosts->by_key, key, sizeof host->key, host);
        if (host->hh.tbl == NULL) {
            free(host);
            host = NULL;
        }
    }
    if (host != NULL)
        host->refs++;
    pthread_mutex_unlock(&hosts->mutex);
    return host;
}

ShHost *sh_host_ref(ShHost *host)
{
    pthread_mutex_lock(&host->hosts->mutex);
    host->refs++;
    pthread_mutex_unlock(&host->hosts->mutex);
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
