#include "agent/rpc/offenders.h"

static ShOffender *find(ShOffenders *offenders, const ShHost *host);
static ShOffender *add(ShOffenders *offenders, ShHost *host);

bool sh_offenders_look(ShHost *host, int64_t now_ms)
{
    int64_t passed_ms = now_ms - host->looked_ms;
    if (passed_ms <= 0)
        return false;
    uint64_t offences = atomic_load(&host->offences);
    int64_t kept = host->offences_lately - passed_ms * SH_OFFENCES_A_MS;
    host->offences_lately = (kept > 0 ? kept : 0) + (int64_t)(offences - host->offences_before);
    host->offences_before = offences;
    host->looked_ms = now_ms;
    if (host->offences_lately <= SH_OFFENCES_MAX)
        return false;
    host->offences_lately = 0;
    return true;
}

int64_t sh_offenders_bar(ShOffenders *offenders, ShHost *host, int64_t now_ms)
{
    ShOffender *offender = find(offenders, host);
    if (offender == NULL)
        offender = add(offenders, host);
    if (now_ms >= offender->until_ms) /* else it goes on with what it had begun before */
        offender->barred_ms = offender->barred_ms == 0 ? SH_BARRED_MS_MIN : 2 * offender->barred_ms;
    if (offender->barred_ms > SH_BARRED_MS_MAX)
        offender->barred_ms = SH_BARRED_MS_MAX;
    offender->until_ms = now_ms + offender->barred_ms;
    return offender->barred_ms;
}

bool sh_offenders_knew(ShOffenders *offenders, ShHost *host, int64_t now_ms)
{
    if (find(offenders, host) != NULL)
        return true;
    add(offenders, host)->until_ms = now_ms;
    return false;
}

bool sh_offenders_is_barred(const ShOffenders *offenders, const ShHost *host, int64_t now_ms)
{
    for (size_t i = 0; i < offenders->count; i++) {
        if (offenders->list[i].host == host)
            return now_ms < offenders->list[i].until_ms;
    }
    return false;
}

void sh_offenders_forget(ShOffenders *offenders, int64_t now_ms)
{
    size_t kept = 0;
    for (size_t i = 0; i < offenders->count; i++) {
        if (now_ms < offenders->list[i].until_ms + SH_OFFENDER_KNOWN_MS)
            offenders->list[kept++] = offenders->list[i];
        else
            sh_host_release(offenders->list[i].host);
    }
    offenders->count = kept;
}

static ShOffender *find(ShOffenders *offenders, const ShHost *host)
{
    for (size_t i = 0; i < offenders->count; i++) {
        if (offenders->list[i].host == host)
            return &offenders->list[i];
    }
    return NULL;
}

static ShOffender *add(ShOffenders *offenders, ShHost *host)
{
    ShOffender *place = &offenders->list[0];
    if (offenders->count < SH_OFFENDERS_MAX) {
        place = &offenders->list[offenders->count++];
    } else {
        for (size_t i = 1; i < offenders->count; i++) {
            if (offenders->list[i].until_ms < place->until_ms)
                place = &offenders->list[i];
        }
        sh_host_release(place->host);
    }
    *place = (ShOffender){.host = sh_host_ref(host)};
    return place;
}
