#include "agent/base/rounds.h"

#include <stdlib.h>
#include <uthash.h>

typedef struct Turn {
    STAILQ_ENTRY(Turn) link;
    UT_hash_handle hh;
    const void *asker;
    STAILQ_HEAD(, ShRoundJob) jobs;
} Turn;

typedef struct ShRoundGroup {
    STAILQ_ENTRY(ShRoundGroup) link;
    UT_hash_handle hh;
    const void *key;
    STAILQ_HEAD(, Turn) turns;
    Turn *by_asker;
} Group;

static Group *group_of(ShRounds *rounds, const void *key);
static Turn *turn_of(Group *group, const void *asker);
static void remove_group(ShRounds *rounds, Group *group);

void sh_rounds_init(ShRounds *rounds)
{
    STAILQ_INIT(&rounds->groups);
    rounds->by_key = NULL;
}

bool sh_rounds_put(ShRounds *rounds, const void *group, const void *asker, ShRoundJob *job)
{
    Group *of_group = group_of(rounds, group);
    Turn *turn = of_group != NULL ? turn_of(of_group, asker) : NULL;
    if (turn != NULL)
        STAILQ_INSERT_TAIL(&turn->jobs, job, link);
    else if (of_group != NULL && STAILQ_EMPTY(&of_group->turns))
        remove_group(rounds, of_group);
    return turn != NULL;
}

ShRoundJob *sh_rounds_take(ShRounds *rounds)
{
    Group *group = STAILQ_FIRST(&rounds->groups);
    if (group == NULL)
        return NULL;
    Turn *turn = STAILQ_FIRST(&group->turns);
    ShRoundJob *job = STAILQ_FIRST(&turn->jobs);
    STAILQ_REMOVE_HEAD(&turn->jobs, link);
    STAILQ_REMOVE_HEAD(&group->turns, link);
    if (STAILQ_EMPTY(&turn->jobs)) {
        HASH_DEL(group->by_asker, turn);
        free(turn);
    } else {
        STAILQ_INSERT_TAIL(&group->turns, turn, link);
    }
    if (STAILQ_EMPTY(&group->turns)) {
        remove_group(rounds, group);
    } else {
        STAILQ_REMOVE_HEAD(&rounds->groups, link);
        STAILQ_INSERT_TAIL(&rounds->groups, group, link);
    }
    return job;
}

/* NULL when memory is short, as the next. */
static Group *group_of(ShRounds *rounds, const void *key)
{
    Group *group;
    HASH_FIND_PTR(rounds->by_key, &key, group);
    if (group != NULL || (group = calloc(1, sizeof *group)) == NULL)
        return group;
    group->key = key;
    STAILQ_INIT(&group->turns);
    HASH_ADD_PTR(rounds->by_key, key, group);
    if (group->hh.tbl == NULL) {
        free(group);
        return NULL;
    }
    STAILQ_INSERT_TAIL(&rounds->groups, group, link);
    return group;
}

static Turn *turn_of(Group *group, const void *asker)
{
    Turn *turn;
    HASH_FIND_PTR(group->by_asker, &asker, turn);
    if (turn != NULL || (turn = calloc(1, sizeof *turn)) == NULL)
        return turn;
    turn->asker = asker;
    STAILQ_INIT(&turn->jobs);
    HASH_ADD_PTR(group->by_asker, asker, turn);
    if (turn->hh.tbl == NULL) {
        free(turn);
        return NULL;
    }
    STAILQ_INSERT_TAIL(&group->turns, turn, link);
    return turn;
}

static void remove_group(ShRounds *rounds, Group *group)
{
    STAILQ_REMOVE(&rounds->groups, group, ShRoundGroup, link);
    HASH_DEL(rounds->by_key, group);
    free(group);
}
