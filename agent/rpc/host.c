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

bool sh_host_may_keep_worker(const ShHost *host, int64_t now_us)
{
    int64_t until_us = atomic_load_explicit(&host->kept_until_us, memory_order_relaxed);
    return until_us - now_us < SH_HOST_KEEPS_MAX_US * SH_HOST_KEEPS_RATIO;
}

void sh_host_kept_worker(ShHost *host, int64_t now_us, int64_t us)
{
    int64_t until_us = atomic_load_explicit(&host->kept_until_us, memory_order_relaxed);
    int64_t from_us = until_us > now_us ? until_us : now_us;
    atomic_store_explicit(&host->kept_until_us, from_us + us * SH_HOST_KEEPS_RATIO, memory_order_relaxed);
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
