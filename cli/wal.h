/*
 * wal.h - what the commands that look into a write-ahead log share.
 */
#ifndef SH_CLI_WAL_H
#define SH_CLI_WAL_H

#include "agent/wal/wal_ledger.h"
#include "agent/wal/wal_survey.h"

/* What the log holds, and where it has holes. */
typedef struct ShWalHole {
    uint64_t file_no;
    int64_t from;
    int64_t to;
} ShWalHole;

typedef struct ShWalContent {
    ShWalLedger *ledger;
    ShWalHole *holes;
    size_t hole_count;
} ShWalContent;

/* sh_wal_survey_open, with words for who looks for a log where there is none. */
ShStatus sh_wal_open(const char *dir, ShWalSurvey **out, ShError *err) SH_MUST_CHECK;

/* Read all files into `out`, which sh_wal_content_free empties. Files that a running agent released meanwhile
 * are left out. */
ShStatus sh_wal_content_read(const ShWalSurvey *survey, ShWalContent *out, ShError *err) SH_MUST_CHECK;
void sh_wal_content_free(ShWalContent *content);

/* The one argument that is not an option: the directory. NULL after having said what is wrong. */
const char *sh_wal_directory_argument(int argc, char **argv);

#endif
