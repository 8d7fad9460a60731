#include "agent/base/rounds.h"

#include <stdlib.h>

typedef struct Turn {
    STAILQ_ENTRY(Turn) link;
    const void *asker;
    STAILQ_HEAD(, ShRoundJob) jobs;
} Turn;

typedef struct ShRoundGroup {
    STAILQ_ENTRY(ShRoundGroup) link;
    const void *key;
    STAILQ_HEAD(, Turn) turns;
} Group;

static Group *group_of(ShRounds *rounds, const void *key);
static Turn *turn_of(Group *group, const void *asker);
static void remove_group(ShRounds *rounds, Group *group);

void sh_rounds_init(ShRounds *rounds)
{
    STAILQ_INIT(&rounds->groups);
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
    STAILQ_FOREACH(group, &rounds->groups, link)
    if (group->key == key)
        return group;
    if ((group = calloc(1, sizeof *group)) == NULL)
        return NULL;
    group->key = key;
    STAILQ_INIT(&group->turns);
    STAILQ_INSERT_TAIL(&rounds->groups, group, link);
    return group;
}

static Turn *turn_of(Group *group, const void *asker)
{
    Turn *turn;
    STAILQ_FOREACH(turn, &group->turns, link)
    if (turn->asker == asker)
        return turn;
    if ((turn = calloc(1, sizeof *turn)) == NULL)
        return NULL;
    turn->asker = asker;
    STAILQ_INIT(&turn->jobs);
    STAILQ_INSERT_TAIL(&group->turns, turn, link);
    return turn;
}

static void remove_group(ShRounds *rounds, Group *group)
{
    STAILQ_REMOVE(&rounds->groups, group, ShRoundGroup, link);
    free(group);
}
