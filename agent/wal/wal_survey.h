/*
 * wal_survey.h - what the files of a WAL hold, judged together and read without changing anything: for
 * recovery, and for tools that look at a directory, beside a running agent too.
 */
#ifndef SH_AGENT_WAL_WAL_SURVEY_H
#define SH_AGENT_WAL_WAL_SURVEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/base/config.h"
#include "agent/wal/wal_format.h"
#include "agent/wal/wal_scan.h"

typedef struct ShWalSurveyFile {
    uint64_t no;
    int64_t size_bytes;
    ShWalScan scan;
    int64_t end;   /* its frames count up to here, if it is not damaged */
    bool dead;     /* a write to it failed: a later file holds what followed `end` */
    bool dropped;  /* rewriting to it was not finished: the dead file has what was acknowledged */
    bool followed; /* a later file has frames, which proves that this one was whole */
    bool damaged;  /* bytes are missing that had been synced */
    bool
        header_damaged; /* ... those of its header, as `header_error` tells; its name says which file it is */
    ShError header_error;
} ShWalSurveyFile;

/* The identity file, as tools show it. */
typedef struct ShWalSurveyIdentity {
    ShUuid wal_uuid;
    int64_t incarnation_no;
    int64_t calls;
    bool clean;
    bool damaged; /* met by a start, and none has completed since */
    char boot_id[37];
    ShWalSync sync;
} ShWalSurveyIdentity;

typedef struct ShWalSurvey {
    char *dir;
    int dir_fd; /* the survey's own; -1: none */
    ShWalSurveyIdentity identity;
    ShWalSurveyFile *files; /* oldest first */
    size_t count;
} ShWalSurvey;

/* Scan and judge all files of a directory. Takes no lock and changes nothing: beside a running agent it finds
 * what stood there at some moment, and looks again before it calls a file damaged that is being written.
 * Fails with SH_NOT_FOUND without directory or identity, SH_CORRUPT when the identity is damaged or a file is
 * another WAL's, SH_IO when the disk does not read. Damage inside files is no failure: see
 * sh_wal_survey_check. Blocks. */
ShStatus sh_wal_survey_open(const char *dir, ShWalSurvey **out, ShError *err) SH_MUST_CHECK;
void sh_wal_survey_free(ShWalSurvey *survey);

/* SH_OK, or SH_CORRUPT naming the oldest damaged file, the position and the last good batch. */
ShStatus sh_wal_survey_check(const ShWalSurvey *survey, ShError *err) SH_MUST_CHECK;

/* What sh_wal_survey_read brings, in the order of the file. A batch's bytes are borrowed for the call. A hole
 * is the part of a damaged file between two whole frames, or behind the last one. */
typedef struct ShWalReading {
    ShStatus (*on_batch)(void *arg, const ShWalSurveyFile *file, int64_t position, const ShWalFrame *frame,
                         const uint8_t *batch, ShError *err);
    ShStatus (*on_hole)(void *arg, const ShWalSurveyFile *file, int64_t from, int64_t to, ShError *err);
    void *arg;
} ShWalReading;

/* Read the whole batches of a file; of a damaged one those behind the damage too. Stops at the first failure
 * of a callback and returns it. SH_NOT_FOUND when the file is gone, released by a running agent; SH_IO when
 * it changed. */
ShStatus sh_wal_survey_read(const ShWalSurvey *survey, const ShWalSurveyFile *file,
                            const ShWalReading *reading, ShError *err) SH_MUST_CHECK;

#endif
