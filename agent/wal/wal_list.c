#include <stdlib.h>

#include "agent/wal/wal_internal.h"

void sh_wal_list_push(ShWalList *list, ShWalNode *node)
{
    node->next = NULL;
    if (list->last == NULL)
        list->first = node;
    else
        list->last->next = node;
    list->last = node;
    list->count++;
    list->frame_bytes += sh_wal_frame_bytes(node->batch.length);
}

void sh_wal_list_join(ShWalList *to, ShWalList *from)
{
    if (from->first == NULL)
        return;
    if (to->last == NULL)
        to->first = from->first;
    else
        to->last->next = from->first;
    to->last = from->last;
    to->count += from->count;
    to->frame_bytes += from->frame_bytes;
    *from = (ShWalList){0};
}

ShWalList sh_wal_list_take(ShWalList *list, int64_t count)
{
    ShWalList taken = {0};
    while (list->first != NULL && taken.count < count) {
        ShWalNode *node = list->first;
        list->first = node->next;
        sh_wal_list_push(&taken, node);
    }
    if (list->first == NULL)
        list->last = NULL;
    list->count -= taken.count;
    list->frame_bytes -= taken.frame_bytes;
    return taken;
}

ShWalList sh_wal_list_take_fitting(ShWalList *list, int64_t enough_bytes, int64_t room_bytes)
{
    int64_t count = 0;
    int64_t bytes = 0;
    for (const ShWalNode *node = list->first; node != NULL && bytes < enough_bytes; node = node->next) {
        bytes += sh_wal_frame_bytes(node->batch.length);
        if (bytes > room_bytes)
            break;
        count++;
    }
    return sh_wal_list_take(list, count);
}

void sh_wal_list_free(ShWalList *list)
{
    while (list->first != NULL) {
        ShWalNode *node = list->first;
        list->first = node->next;
        sh_buf_unref(node->batch.owner);
        free(node);
    }
    *list = (ShWalList){0};
}
