#include "agent/rpc/adopt.h"

#include <grpc/grpc_posix.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/base/rounds.h"

/* What is on its way at the stop has so long. */
#define STOP_MS 1000
/* Where no descriptor is left to end it by, it is tried again. */
#define END_AGAIN_MS 100

typedef struct Adopter {
    struct ShAdopters *adopters;
    pthread_t thread;
    ShConnection *current; /* by the mutex */
} Adopter;

struct ShAdopters {
    grpc_server *server;
    grpc_server_credentials *plain;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    ShRounds waiting; /* hosts in turn, and the agent's own look as if it came from another one */
    int busy;
    bool stopping;
    Adopter threads[SH_ADOPTERS];
    size_t started;
};

static const void *whose_turn(const ShConnection *connection);
static void *run(void *arg);
static ShConnection *next(ShAdopters *adopters);
static void drop(ShConnection *connection);
static void adopt(const ShAdopters *adopters, const ShConnection *connection);
static void end_current(ShAdopters *adopters);

ShStatus sh_adopters_start(ShAdopters **out, grpc_server *server, ShError *err)
{
    ShAdopters *adopters = calloc(1, sizeof *adopters);
    if (adopters == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory to accept connections");
    ShStatus status = sh_cond_init(&adopters->changed, err);
    if (status != SH_OK) {
        free(adopters);
        return status;
    }
    pthread_mutex_init(&adopters->mutex, NULL);
    sh_rounds_init(&adopters->waiting);
    adopters->server = server;
    adopters->plain = grpc_insecure_server_credentials_create();
    while (adopters->started < SH_ADOPTERS && status == SH_OK) {
        Adopter *adopter = &adopters->threads[adopters->started];
        char name[16];
        snprintf(name, sizeof name, "rpc-adopt-%zu", adopters->started);
        adopter->adopters = adopters;
        status = sh_thread_start(&adopter->thread, name, run, adopter, err);
        adopters->started += status == SH_OK;
    }
    if (status == SH_OK)
        *out = adopters;
    else
        sh_adopters_stop(adopters);
    return status;
}

void sh_adopters_take(ShAdopters *adopters, ShConnection *connection)
{
    const void *whose = whose_turn(connection);
    sh_connection_ref(connection);
    pthread_mutex_lock(&adopters->mutex);
    connection->waits_for_adoption = sh_rounds_put(&adopters->waiting, whose, whose, &connection->adopt_turn);
    bool waits = connection->waits_for_adoption;
    pthread_cond_signal(&adopters->changed);
    pthread_mutex_unlock(&adopters->mutex);
    if (!waits)
        drop(connection);
}

bool sh_adopters_withdraw(ShAdopters *adopters, ShConnection *connection)
{
    const void *whose = whose_turn(connection);
    pthread_mutex_lock(&adopters->mutex);
    bool waits = connection->waits_for_adoption;
    if (waits)
        sh_rounds_remove(&adopters->waiting, whose, whose, &connection->adopt_turn);
    connection->waits_for_adoption = false;
    pthread_mutex_unlock(&adopters->mutex);
    if (waits)
        drop(connection);
    return waits;
}

static const void *whose_turn(const ShConnection *connection)
{
    return connection->is_own ? (const void *)connection : connection->host;
}

void sh_adopters_stop(ShAdopters *adopters)
{
    if (adopters == NULL)
        return;
    int64_t deadline_ms = sh_clock_now_ms() + STOP_MS;
    pthread_mutex_lock(&adopters->mutex);
    adopters->stopping = true;
    pthread_cond_broadcast(&adopters->changed);
    while (adopters->busy > 0) {
        int64_t left_ms = deadline_ms - sh_clock_now_ms();
        sh_cond_wait_ms(&adopters->changed, &adopters->mutex,
                        left_ms > END_AGAIN_MS ? left_ms : END_AGAIN_MS);
        if (sh_clock_now_ms() >= deadline_ms)
            end_current(adopters);
    }
    pthread_mutex_unlock(&adopters->mutex);
    for (size_t i = 0; i < adopters->started; i++)
        pthread_join(adopters->threads[i].thread, NULL);
    ShConnection *connection;
    while ((connection = next(adopters)) != NULL)
        drop(connection);
    grpc_server_credentials_release(adopters->plain);
    pthread_cond_destroy(&adopters->changed);
    pthread_mutex_destroy(&adopters->mutex);
    free(adopters);
}

static void *run(void *arg)
{
    Adopter *adopter = arg;
    ShAdopters *adopters = adopter->adopters;
    pthread_mutex_lock(&adopters->mutex);
    while (!adopters->stopping) {
        ShConnection *connection = next(adopters);
        if (connection == NULL) {
            pthread_cond_wait(&adopters->changed, &adopters->mutex);
            continue;
        }
        adopter->current = connection;
        adopters->busy++;
        pthread_mutex_unlock(&adopters->mutex);
        adopt(adopters, connection);
        atomic_store(&connection->is_adopted, true);
        pthread_mutex_lock(&adopters->mutex);
        adopter->current = NULL;
        adopters->busy--;
        if (adopters->stopping)
            pthread_cond_broadcast(&adopters->changed);
        sh_connection_unref(connection);
    }
    pthread_mutex_unlock(&adopters->mutex);
    return NULL;
}

/* With the mutex held, or no thread there: whose turn it is, with its reference; NULL: nobody waits. */
static ShConnection *next(ShAdopters *adopters)
{
    ShRoundJob *turn = sh_rounds_take(&adopters->waiting);
    if (turn == NULL)
        return NULL;
    ShConnection *connection = (ShConnection *)((char *)turn - offsetof(ShConnection, adopt_turn));
    connection->waits_for_adoption = false;
    return connection;
}

/* The looks find it closed. */
static void drop(ShConnection *connection)
{
    close(connection->fd);
    sh_connection_unref(connection);
}

/* What was ended meanwhile costs gRPC nothing. */
static void adopt(const ShAdopters *adopters, const ShConnection *connection)
{
    if (atomic_load(&connection->is_over))
        close(connection->fd);
    else
        grpc_server_add_channel_from_fd(adopters->server, connection->fd, adopters->plain);
}

static void end_current(ShAdopters *adopters)
{
    for (size_t i = 0; i < adopters->started; i++) {
        if (adopters->threads[i].current != NULL)
            (void)sh_connection_end(adopters->threads[i].current);
    }
}
