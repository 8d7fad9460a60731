/*
 * pump.h - load over ProduceStream from batches built beforehand, so that what is measured is the agent and
 * not the building: any number of connections, each with a window of requests in flight.
 */
#ifndef SH_BENCH_PUMP_H
#define SH_BENCH_PUMP_H

#include <stdint.h>

#include "client/client.h"

typedef struct ShBenchLoad {
    const char *topic;
    int partitions;
    int record_bytes;           /* the value's */
    int batch_records;          /* in one batch, which is one request */
    int connections;            /* one stream each; 1 unless told */
    int in_flight;              /* requests of each */
    int64_t requests;           /* to be acknowledged in all */
    double requests_per_second; /* 0: as fast as the windows let them */
} ShBenchLoad;

typedef struct ShBenchPumped {
    double seconds;
    int64_t records;
    int64_t bytes;       /* of the batches */
    int64_t pushed_back; /* answers that asked to come again later, which was done */
    double ack_p50_ms, ack_p99_ms;
} ShBenchPumped;

/* Send the load to the agent at `address` and wait for the last acknowledgement. Exits on an error that
 * retrying does not mend. Any thread. */
void sh_bench_pump(ShClient *client, const char *address, const ShBenchLoad *load, ShBenchPumped *out);

/* As many records as surely fit into a batch of `batch_bytes`. */
int sh_bench_batch_records(int record_bytes, int batch_bytes);

/* A built batch; the caller releases it. */
ShBuf *sh_bench_batch(int record_bytes, int records);

#endif
