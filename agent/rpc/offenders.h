/*
 * offenders.h - hosts that begin calls much faster than the agent may take them, and may not connect for a
 * while.
 *
 * Whoever is refused is told to wait, which costs the agent about as much as a call that it serves; a host
 * that does not listen would keep it busy with nothing else. So such a host is barred: for a second, and for
 * twice as long each time that it begins anew. All of it is the acceptor's thread's, but for the counting.
 */
#ifndef SH_AGENT_RPC_OFFENDERS_H
#define SH_AGENT_RPC_OFFENDERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/rpc/host.h"

/* What a call counts that is refused while no other host has far more; while one has, a quarter of it. And
 * how much may come at once, 2,000 calls as two connections may have, and is forgotten each millisecond. */
#define SH_OFFENCE       4
#define SH_OFFENCES_MAX  (2000 * SH_OFFENCE)
#define SH_OFFENCES_A_MS SH_OFFENCE
#define SH_OFFENDERS_MAX 1024
#define SH_BARRED_MS_MIN 1000
#define SH_BARRED_MS_MAX 10000
/* For how long a host is remembered after its bar has ended. */
#define SH_OFFENDER_KNOWN_MS 30000

typedef struct ShOffender {
    ShHost *host; /* a reference */
    int64_t until_ms;
    int64_t barred_ms;
} ShOffender;

typedef struct ShOffenders {
    ShOffender list[SH_OFFENDERS_MAX];
    size_t count;
} ShOffenders;

/* Look at what a host has been refused since the last look, at most once at a time `now_ms`: true when it is
 * too much. The count then begins anew. */
bool sh_offenders_look(ShHost *host, int64_t now_ms);

/* Bar the host; for how many milliseconds from now on: one that is barred for as long as before. Where there
 * are too many, who would be let in first makes room. */
int64_t sh_offenders_bar(ShOffenders *offenders, ShHost *host, int64_t now_ms);
/* Is the host remembered? Else it is from now on, as one whose bar ends now. */
bool sh_offenders_knew(ShOffenders *offenders, ShHost *host, int64_t now_ms);
bool sh_offenders_is_barred(const ShOffenders *offenders, const ShHost *host, int64_t now_ms);
/* Forget those whose bar ended long ago; with INT64_MAX all. */
void sh_offenders_forget(ShOffenders *offenders, int64_t now_ms);

#endif
