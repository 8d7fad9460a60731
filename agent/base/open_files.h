/*
 * open_files.h - file descriptors, which all parts of the agent share, and what each may take of them.
 *
 * Connections from outside come by the thousand, and where they leave none, the write-ahead log cannot begin
 * a file and nobody reaches the store or PostgreSQL. So each door has its share, and a quarter stays for the
 * inside.
 */
#ifndef SH_AGENT_BASE_OPEN_FILES_H
#define SH_AGENT_BASE_OPEN_FILES_H

#include <stdint.h>

/* Raise the process' limit of open files to its hard limit. Once, at the start. */
void sh_open_files_raise(void);

/* How many files the process may have open. */
int64_t sh_open_files_max(void);

/* The shares of connections: gRPC half, the schema registry an eighth. */
int64_t sh_open_files_of_rpc(void);
int64_t sh_open_files_of_registry(void);

#endif
