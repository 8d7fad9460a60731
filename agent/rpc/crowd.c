#include "agent/rpc/crowd.h"

#include <stdlib.h>
#include <string.h>

typedef struct Candidate {
    ShConnection *connection;
    int64_t has;
    int64_t host_has;
} Candidate;

static size_t collect(const ShCrowd *crowd, ShCrowdMeasure measure, Candidate **out);
static bool may_go(const ShConnection *connection);
static int64_t share_of(const Candidate *candidates, size_t count, const ShConnection *connection);
static int64_t idleness(const ShConnection *connection);
static int by_host(const void *left, const void *right);
static int by_wealth(const void *left, const void *right);
static int by_has(const void *left, const void *right);
static int compare_hosts(const ShConnection *left, const ShConnection *right);
static int compare(int64_t left, int64_t right);

bool sh_crowd_same_host(const ShConnection *left, const ShConnection *right)
{
    return compare_hosts(left, right) == 0;
}

int64_t sh_crowd_one(const ShConnection *connection)
{
    (void)connection;
    return 1;
}

int64_t sh_crowd_calls(const ShConnection *connection)
{
    return atomic_load(&connection->admitted);
}

int64_t sh_crowd_waiting(const ShConnection *connection)
{
    return connection->waiting_bytes;
}

int64_t sh_crowd_torn(const ShConnection *connection)
{
    return connection->torn_lately;
}

ShConnection *sh_crowd_most(const ShCrowd *crowd, ShCrowdMeasure measure)
{
    ShConnection *most = NULL;
    int64_t most_has = 0;
    for (int fd = 0; fd < crowd->fd_end; fd++) {
        ShConnection *connection = crowd->by_fd[fd];
        int64_t has = may_go(connection) ? measure(connection) : 0;
        if (has > most_has) {
            most = connection;
            most_has = has;
        }
    }
    return most;
}

size_t sh_crowd_idle(const ShCrowd *crowd, const ShConnection *newcomer, ShConnection **out, size_t wanted)
{
    Candidate *candidates;
    size_t count = collect(crowd, sh_crowd_one, &candidates);
    int64_t newcomer_has = newcomer != NULL ? share_of(candidates, count, newcomer) : 0;
    size_t idle = 0;
    for (size_t i = 0; i < count; i++) {
        int64_t score = idleness(candidates[i].connection);
        bool has_spoken = score < INT64_MAX / 4;
        if (score < 0 || (has_spoken && candidates[i].host_has < newcomer_has))
            continue;
        candidates[idle] = candidates[i];
        candidates[idle++].has = score;
    }
    if (idle > 1)
        qsort(candidates, idle, sizeof *candidates, by_has);
    size_t chosen = idle < wanted ? idle : wanted;
    for (size_t i = 0; i < chosen; i++)
        out[i] = candidates[i].connection;
    free(candidates);
    return chosen;
}

size_t sh_crowd_richest(const ShCrowd *crowd, ShCrowdMeasure measure, const ShConnection *newcomer,
                        ShConnection **out, size_t wanted)
{
    Candidate *candidates;
    size_t count = collect(crowd, measure, &candidates);
    int64_t newcomer_has = newcomer != NULL ? share_of(candidates, count, newcomer) : 0;
    if (count > 1)
        qsort(candidates, count, sizeof *candidates, by_wealth);
    int64_t left = count > 0 ? candidates[0].host_has : 0;
    size_t chosen = 0;
    while (chosen < count && chosen < wanted && candidates[chosen].has > 0 && left > 1 &&
           left > 2 * newcomer_has &&
           sh_crowd_same_host(candidates[0].connection, candidates[chosen].connection)) {
        left -= candidates[chosen].has;
        out[chosen] = candidates[chosen].connection;
        chosen++;
    }
    free(candidates);
    return chosen;
}

const ShConnection *sh_crowd_poorest(const ShCrowd *crowd, ShCrowdMeasure measure, ShConnection *const *some,
                                     size_t some_count)
{
    Candidate *candidates;
    size_t count = collect(crowd, measure, &candidates);
    const ShConnection *poorest = NULL;
    int64_t least = INT64_MAX;
    for (size_t i = 0; i < some_count; i++) {
        int64_t has = share_of(candidates, count, some[i]);
        if (has < least) {
            least = has;
            poorest = some[i];
        }
    }
    free(candidates);
    return poorest;
}

/* All connections but the agent's own, by their hosts, with what they and their hosts have. Without
 * memory there are none. */
static size_t collect(const ShCrowd *crowd, ShCrowdMeasure measure, Candidate **out)
{
    Candidate *candidates = malloc((size_t)(crowd->fd_end + 1) * sizeof *candidates);
    size_t count = 0;
    for (int fd = 0; candidates != NULL && fd < crowd->fd_end; fd++) {
        ShConnection *connection = crowd->by_fd[fd];
        if (may_go(connection))
            candidates[count++] = (Candidate){.connection = connection, .has = measure(connection)};
    }
    if (count > 1)
        qsort(candidates, count, sizeof *candidates, by_host);
    for (size_t begin = 0, end = 0; begin < count; begin = end) {
        int64_t sum = 0;
        while (end < count && by_host(&candidates[begin], &candidates[end]) == 0)
            sum += candidates[end++].has;
        for (size_t i = begin; i < end; i++)
            candidates[i].host_has = sum;
    }
    *out = candidates;
    return count;
}

static bool may_go(const ShConnection *connection)
{
    return connection != NULL && !connection->is_own && !atomic_load(&connection->is_over);
}

/* What the host of a connection has, which need not be among the candidates. */
static int64_t share_of(const Candidate *candidates, size_t count, const ShConnection *connection)
{
    for (size_t i = 0; i < count; i++) {
        if (sh_crowd_same_host(candidates[i].connection, connection))
            return candidates[i].host_has;
    }
    return 0;
}

/* The milliseconds of its silence, and far more for one that has never spoken; -1 when it has a call. */
static int64_t idleness(const ShConnection *connection)
{
    ShTraffic traffic;
    if (atomic_load(&connection->calls) > 0 || !sh_connection_traffic(connection, &traffic))
        return -1;
    return traffic.received_bytes >= SH_FIRST_WORD_BYTES ? traffic.idle_ms
                                                         : INT64_MAX / 2 - connection->accepted_ms;
}

static int by_host(const void *left, const void *right)
{
    const Candidate *a = left;
    const Candidate *b = right;
    return compare_hosts(a->connection, b->connection);
}

/* Those of the host that has most first. */
static int by_wealth(const void *left, const void *right)
{
    const Candidate *a = left;
    const Candidate *b = right;
    int order = compare(b->host_has, a->host_has);
    if (order == 0)
        order = compare_hosts(a->connection, b->connection);
    if (order == 0)
        order = compare(b->has, a->has);
    if (order == 0)
        order = compare(sh_crowd_calls(a->connection), sh_crowd_calls(b->connection));
    return order != 0 ? order : compare(b->connection->accepted_ms, a->connection->accepted_ms);
}

static int by_has(const void *left, const void *right)
{
    const Candidate *a = left;
    const Candidate *b = right;
    return compare(b->has, a->has);
}

static int compare_hosts(const ShConnection *left, const ShConnection *right)
{
    return memcmp(left->host->key, right->host->key, sizeof left->host->key);
}

static int compare(int64_t left, int64_t right)
{
    return (left > right) - (left < right);
}
