/*
 * bench_memory.c - memory stays in its budget: under full load with a store that takes half a second for each
 * object, and with 1,000 readers that ask for everything and take nothing. Peaks are sampled.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "bench/agent.h"
#include "bench/json_line.h"
#include "bench/pump.h"
#include "bench/session.h"
#include "client/transport.h"
#include "proto/streamhouse.pb-c.h"

#define KIB        1024
#define MIB        (1024.0 * KIB)
#define BUDGET_MIB 256.0
#define WAL_MIB    1024.0
#define SETTINGS   "memory_budget: 256MB\nwal_budget: 1GB\n"
#define SLOW_STORE "store.put=stall:500"
#define LOAD_BYTES (600ll * 1000 * 1000)
#define READ_BYTES (100ll * 1000 * 1000)
#define READERS    1000
#define OPEN_MS    30000
#define SAMPLE_MS  20
#define FILES_MIN  4096

/* What was the most of each while it was watched. */
typedef struct Watch {
    const ShBenchAgent *agent;
    pthread_t thread;
    atomic_bool stopping;
    double budget_used, process, wal; /* MiB; read once the thread has ended */
} Watch;

static void raise_to(double *peak, const ShBenchAgent *agent, const char *metric)
{
    double mib = sh_bench_agent_metric(agent, metric) / MIB;
    *peak = mib > *peak ? mib : *peak;
}

static void *watch(void *arg)
{
    Watch *peaks = arg;
    while (!atomic_load(&peaks->stopping)) {
        raise_to(&peaks->budget_used, peaks->agent, "streamhouse_memory_budget_used_bytes");
        raise_to(&peaks->process, peaks->agent, "streamhouse_agent_memory_bytes");
        raise_to(&peaks->wal, peaks->agent, "streamhouse_wal_size_bytes");
        nanosleep(&(struct timespec){.tv_nsec = SAMPLE_MS * 1000000}, NULL);
    }
    return NULL;
}

static void start_watch(Watch *peaks, const ShBenchAgent *agent)
{
    *peaks = (Watch){.agent = agent};
    if (pthread_create(&peaks->thread, NULL, watch, peaks) != 0)
        exit(1);
    pthread_setname_np(peaks->thread, "bench-watch");
}

static void end_watch(Watch *peaks, const char *what)
{
    char figure[96];
    atomic_store(&peaks->stopping, true);
    pthread_join(peaks->thread, NULL);
    snprintf(figure, sizeof figure, "%s: budget used, most", what);
    sh_bench_line_against("memory", figure, peaks->budget_used, "MiB", "memory_budget", BUDGET_MIB);
    snprintf(figure, sizeof figure, "%s: memory of the process, most", what);
    sh_bench_line_against("memory", figure, peaks->process, "MiB", "memory_budget", BUDGET_MIB);
    snprintf(figure, sizeof figure, "%s: WAL, most", what);
    sh_bench_line_against("memory", figure, peaks->wal, "MiB", "wal_budget", WAL_MIB);
}

static void produce(ShClient *client, const ShBenchAgent *agent, const char *topic, int64_t bytes,
                    ShBenchPumped *pumped)
{
    ShBenchLoad load = {.topic = topic,
                        .partitions = SH_BENCH_PARTITIONS,
                        .record_bytes = 100,
                        .batch_records = sh_bench_batch_records(100, 64 * KIB),
                        .connections = 2,
                        .in_flight = 64,
                        .requests = bytes / (64 * KIB)};
    sh_bench_pump(client, agent->address, &load, pumped);
}

static void measure_slow_store(const char *directory)
{
    ShBenchAgent agent;
    ShBenchPumped pumped;
    Watch peaks;
    sh_bench_agent_start(&agent, directory, SETTINGS, SLOW_STORE);
    ShClient *client = sh_bench_connect(agent.address);
    sh_bench_topic(client, "memory-slow", SH_BENCH_PARTITIONS);
    start_watch(&peaks, &agent);
    produce(client, &agent, "memory-slow", LOAD_BYTES, &pumped);
    end_watch(&peaks, "slow store");
    sh_bench_line("memory", "slow store: acknowledged", (double)pumped.records / pumped.seconds, "records/s");
    sh_bench_line("memory", "slow store: asked to come later", (double)pumped.pushed_back, "requests");
    sh_client_free(client);
    sh_bench_agent_discard(&agent);
}

/* One reader: the request is written, no message is ever taken. */
typedef struct Reader {
    ShClientCall *call;
    ShSlice request;
    bool written;
} Reader;

static void ask(void *context)
{
    Reader *reader = context;
    if (!reader->written)
        sh_client_call_write(reader->call, &reader->request, 1);
    reader->written = true;
}

/* Open the streams on a topic without records, and let them be: nobody polls their sockets afterwards, so
 * each stalls when the records come. The loop is the caller's. */
static void stall_readers(const ShBenchAgent *agent, const char *topic, ShLoop *loop)
{
    static Reader readers[READERS];
    char own[SH_CLIENT_ADDRESS_BYTES];
    uint8_t packed[256];
    Streamhouse__V1__FetchPartition parts[SH_BENCH_PARTITIONS];
    Streamhouse__V1__FetchPartition *pointers[SH_BENCH_PARTITIONS];
    for (int i = 0; i < SH_BENCH_PARTITIONS; i++) {
        streamhouse__v1__fetch_partition__init(&parts[i]);
        parts[i].topic = (char *)(uintptr_t)topic; /* only read */
        parts[i].partition = i;
        pointers[i] = &parts[i];
    }
    Streamhouse__V1__FetchRequest request = STREAMHOUSE__V1__FETCH_REQUEST__INIT;
    request.n_partitions = SH_BENCH_PARTITIONS;
    request.partitions = pointers;
    size_t length = streamhouse__v1__fetch_request__pack(&request, packed);

    for (int i = 0; i < READERS; i++) {
        ShClientCallEvents events = {.on_writable = ask, .context = &readers[i]};
        readers[i].request = (ShSlice){.data = packed, .length = length};
        snprintf(own, sizeof own, "ipv4:%s?reader=%d", agent->address, i);
        readers[i].call = sh_client_call_start(loop, own, SH_METHOD_FETCH_STREAM, 0, &events);
    }
    int64_t until_ms = sh_client_now_ms() + OPEN_MS;
    for (int i = 0; i < READERS; i++) {
        while (!readers[i].written && sh_client_now_ms() < until_ms)
            sh_loop_run(loop, until_ms);
    }
    sh_bench_line("memory", "stalled readers: streams open",
                  sh_bench_agent_metric(agent, "streamhouse_rpc_streams{method=\"FetchStream\"}"), "streams");
}

static void measure_stalled_readers(const char *directory)
{
    ShBenchAgent agent;
    ShBenchPumped pumped;
    Watch peaks;
    sh_bench_agent_start(&agent, directory, SETTINGS, NULL);
    ShClient *client = sh_bench_connect(agent.address);
    sh_bench_topic(client, "memory-read", SH_BENCH_PARTITIONS);
    ShTransport *transport = sh_transport_new();
    ShLoop *loop = transport != NULL ? sh_loop_new(transport) : NULL;
    if (loop == NULL)
        exit(1);
    start_watch(&peaks, &agent);
    stall_readers(&agent, "memory-read", loop);
    produce(client, &agent, "memory-read", READ_BYTES, &pumped);
    sh_bench_agent_settle(&agent);
    sh_bench_line("memory", "stalled readers: acknowledged beside them",
                  (double)pumped.records / pumped.seconds, "records/s");
    sh_loop_free(loop);
    sh_transport_free(transport);
    end_watch(&peaks, "1,000 stalled readers");
    sh_client_free(client);
    sh_bench_agent_discard(&agent);
}

int main(void)
{
    char directory[SH_BENCH_PATH_BYTES];
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < FILES_MIN) {
        files.rlim_cur = files.rlim_max < FILES_MIN ? files.rlim_max : FILES_MIN;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    sh_bench_directory("memory", directory);
    measure_slow_store(directory);
    sh_bench_directory("memory", directory);
    measure_stalled_readers(directory);
    return 0;
}
