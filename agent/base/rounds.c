#include "agent/base/rounds.h"

#include <stdlib.h>

/* A group with its askers, or an asker with its jobs. */
typedef struct ShRoundNode {
    STAILQ_ENTRY(ShRoundNode) link;
    const void *key;
    ShRoundNodes askers;
    STAILQ_HEAD(, ShRoundJob) jobs;
} Node;

static Node *find(const ShRoundNodes *nodes, const void *key);
static Node *node_of(ShRoundNodes *nodes, const void *key);
static void end_turn(ShRoundNodes *nodes, bool is_done);

void sh_rounds_init(ShRounds *rounds)
{
    STAILQ_INIT(&rounds->groups);
}

bool sh_rounds_put(ShRounds *rounds, const void *group_key, const void *asker_key, ShRoundJob *job)
{
    Node *group = node_of(&rounds->groups, group_key);
    Node *asker = group != NULL ? node_of(&group->askers, asker_key) : NULL;
    if (asker != NULL) {
        STAILQ_INSERT_TAIL(&asker->jobs, job, link);
    } else if (group != NULL && STAILQ_EMPTY(&group->askers)) {
        STAILQ_REMOVE(&rounds->groups, group, ShRoundNode, link);
        free(group);
    }
    return asker != NULL;
}

ShRoundJob *sh_rounds_take(ShRounds *rounds)
{
    Node *group = STAILQ_FIRST(&rounds->groups);
    if (group == NULL)
        return NULL;
    Node *asker = STAILQ_FIRST(&group->askers);
    ShRoundJob *job = STAILQ_FIRST(&asker->jobs);
    STAILQ_REMOVE_HEAD(&asker->jobs, link);
    end_turn(&group->askers, STAILQ_EMPTY(&asker->jobs));
    end_turn(&rounds->groups, STAILQ_EMPTY(&group->askers));
    return job;
}

void sh_rounds_remove(ShRounds *rounds, const void *group_key, const void *asker_key, ShRoundJob *job)
{
    Node *group = find(&rounds->groups, group_key);
    Node *asker = find(&group->askers, asker_key);
    STAILQ_REMOVE(&asker->jobs, job, ShRoundJob, link);
    if (STAILQ_EMPTY(&asker->jobs)) {
        STAILQ_REMOVE(&group->askers, asker, ShRoundNode, link);
        free(asker);
    }
    if (STAILQ_EMPTY(&group->askers)) {
        STAILQ_REMOVE(&rounds->groups, group, ShRoundNode, link);
        free(group);
    }
}

/* NULL: there is none. */
static Node *find(const ShRoundNodes *nodes, const void *key)
{
    Node *node = STAILQ_FIRST(nodes);
    while (node != NULL && node->key != key)
        node = STAILQ_NEXT(node, link);
    return node;
}

/* The node of that key, made if there is none; NULL when memory is short. */
static Node *node_of(ShRoundNodes *nodes, const void *key)
{
    Node *node = find(nodes, key);
    if (node != NULL)
        return node;
    if ((node = calloc(1, sizeof *node)) == NULL)
        return NULL;
    node->key = key;
    STAILQ_INIT(&node->askers);
    STAILQ_INIT(&node->jobs);
    STAILQ_INSERT_TAIL(nodes, node, link);
    return node;
}

/* The first waits behind the others, unless it has nothing left to wait for. */
static void end_turn(ShRoundNodes *nodes, bool is_done)
{
    Node *first = STAILQ_FIRST(nodes);
    STAILQ_REMOVE_HEAD(nodes, link);
    if (is_done)
        free(first);
    else
        STAILQ_INSERT_TAIL(nodes, first, link);
}
