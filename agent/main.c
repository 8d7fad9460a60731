/*
 * main.c - streamhouse-agent: puts the parts together, waits for a signal, takes them apart.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/base/config.h"
#include "agent/base/fault.h"
#include "agent/base/log.h"
#include "agent/base/open_files.h"
#include "agent/base/process_metrics.h"
#include "agent/http/http.h"
#include "agent/log/engine.h"
#include "agent/log/rebuild.h"
#include "agent/log/scrub.h"
#include "agent/registry/registry.h"
#include "agent/rpc/rpc.h"

#ifndef SH_VERSION
#define SH_VERSION "0.1.0"
#endif

#define EXIT_FAILED 1
#define EXIT_USAGE  2
/* How often the main thread looks whether the agent can go on. */
#define WATCH_INTERVAL_MS 200
#define RPC_GRACE_MS      2000
/* After so many looks at its own port in a row that failed (rpc.h), the agent gives its partitions to others.
 */
#define UNREACHABLE_LOOKS_MAX 10

extern char **environ;

typedef enum Mode { MODE_RUN, MODE_CHECK, MODE_SCRUB, MODE_REBUILD } Mode;

/* The parts, as far as they are there. */
typedef struct Agent {
    ShConfig *config;
    ShRpc *rpc; /* set and cleared under door_lock, which others take to ask it */
    pthread_mutex_t door_lock;
    const char *rpc_address;
    ShHttp *http;
    char http_address[SH_ADDRESS_TEXT_BYTES];
    ShRegistry *registry;
    char registry_address[SH_ADDRESS_TEXT_BYTES]; /* "" : not served */
    ShEngine *_Atomic engine;                     /* asked by the HTTP server's thread */
    /* Of the start before: another one listens at the same ports. "" at first. */
    char last_rpc_address[SH_ADDRESS_TEXT_BYTES];
    char last_http_address[SH_ADDRESS_TEXT_BYTES];
    char last_registry_address[SH_ADDRESS_TEXT_BYTES];
    bool has_begun;      /* a start was made */
    bool has_served;     /* one has succeeded */
    bool is_cut_off;     /* the last one lost PostgreSQL or the store on its way */
    bool is_outdated;    /* the last one that got anywhere ended because the database lost history */
    bool is_unreachable; /* ... because no client reached it */
    bool is_drained;     /* somebody ends it, and means it */
} Agent;

/* Set when the start is over, for better or worse; when the parts are taken apart. */
static atomic_bool started;
static atomic_bool stopped;

static int parse_options(int argc, char **argv, Mode *mode, const char **config_path);
static void print_help(FILE *to);
static int check_config(const char *config_path);
static int scrub(const char *config_path);
static int rebuild(const char *config_path);
static int run(const char *config_path);
static ShStatus run_once(Agent *agent, const char *config_path, const sigset_t *signals, int *code,
                         ShError *err);
static bool starts_over(Agent *agent, ShStatus status, const ShError *err);
static void block_signals(sigset_t *signals);
static ShStatus start(Agent *agent, const char *config_path, ShError *err);
static ShStatus keep_address(char **setting, const char *last, ShError *err);
static bool is_ready(void *arg, char *why, size_t why_bytes);
static void warn_of_root(void);
static ShStatus write_port_file(const Agent *agent, ShError *err);
static void *watch_start(void *arg);
static ShStatus watch(Agent *agent, const sigset_t *signals, ShError *err);
static ShStatus check_reachable(Agent *agent, ShError *err);
static void hand_over(Agent *agent, const sigset_t *signals);
static ShStatus drain(Agent *agent, const sigset_t *signals, ShError *err);
static void *wait_second_signal(void *arg);
static void stop(Agent *agent, const sigset_t *signals);
static void *watch_stop(void *arg);

int main(int argc, char **argv)
{
    Mode mode = MODE_RUN;
    const char *config_path = NULL;
    int code = parse_options(argc, argv, &mode, &config_path);
    if (code >= 0)
        return code;
    if (config_path == NULL)
        config_path = getenv("STREAMHOUSE_CONFIG");
    if (mode == MODE_SCRUB)
        return scrub(config_path);
    if (mode == MODE_REBUILD)
        return rebuild(config_path);
    return mode == MODE_CHECK ? check_config(config_path) : run(config_path);
}

/* The exit code, or -1 to go on. */
static int parse_options(int argc, char **argv, Mode *mode, const char **config_path)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"check-config", no_argument, NULL, 'k'},
                                            {"scrub", no_argument, NULL, 's'},
                                            {"rebuild", no_argument, NULL, 'b'},
                                            {"print-settings-reference", no_argument, NULL, 'r'},
                                            {"version", no_argument, NULL, 'v'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    int option;
    while ((option = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
        switch (option) {
        case 'c':
            *config_path = optarg;
            break;
        case 'k':
            *mode = MODE_CHECK;
            break;
        case 's':
            *mode = MODE_SCRUB;
            break;
        case 'b':
            *mode = MODE_REBUILD;
            break;
        case 'r':
            sh_config_print_reference(stdout);
            return EXIT_SUCCESS;
        case 'v':
            puts("streamhouse-agent " SH_VERSION);
            return EXIT_SUCCESS;
        case 'h':
            print_help(stdout);
            return EXIT_SUCCESS;
        default:
            print_help(stderr);
            return EXIT_USAGE;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "streamhouse-agent: unexpected argument \"%s\"; see --help\n", argv[optind]);
        return EXIT_USAGE;
    }
    return -1;
}

static void print_help(FILE *to)
{
    fputs("Usage: streamhouse-agent [--config FILE]\n"
          "\n"
          "  -c, --config FILE           read settings from this YAML file, by default the one that "
          "STREAMHOUSE_CONFIG\n"
          "                              names; STREAMHOUSE_<NAME> variables override it\n"
          "      --check-config          print the settings and exit: 0 when they are good, 2 when not\n"
          "      --scrub                 compare the store with the index, print what differs and exit: 0 "
          "when\n"
          "                              nothing published is lost, 1 when something is\n"
          "      --rebuild               put the newest snapshot of the index in the store into an empty "
          "database, "
          "and exit\n"
          "      --print-settings-reference  print all settings with unit, default and range, as Markdown\n"
          "      --version               print the version\n"
          "  -h, --help                  print this\n"
          "\n"
          "SIGTERM and SIGINT drain: new records are refused, what is there is handed over, and the exit "
          "code is 0.\n"
          "A second signal exits at once; the write-ahead log keeps what was acknowledged.\n",
          to);
}

static int check_config(const char *config_path)
{
    ShError err = {0};
    ShConfig *config = NULL;
    if (sh_config_load(config_path, environ, &config, &err) != SH_OK) {
        fprintf(stderr, "streamhouse-agent: %s\n", err.message);
        return EXIT_USAGE;
    }
    sh_config_print(config, stdout);
    sh_config_free(config);
    return EXIT_SUCCESS;
}

static int scrub(const char *config_path)
{
    ShError err = {0};
    ShConfig *config = NULL;
    bool damaged = false;
    ShStatus status = sh_config_load(config_path, environ, &config, &err);
    int code = status == SH_OK ? EXIT_FAILED : EXIT_USAGE;
    if (status == SH_OK) {
        sh_log_setup(config->log_level, config->log_format);
        status = sh_scrub(config, stdout, &damaged, &err);
    }
    if (status != SH_OK)
        fprintf(stderr, "streamhouse-agent: %s\n", err.message);
    sh_config_free(config);
    return status != SH_OK ? code : damaged ? EXIT_FAILED : EXIT_SUCCESS;
}

static int rebuild(const char *config_path)
{
    ShError err = {0};
    ShConfig *config = NULL;
    ShStatus status = sh_config_load(config_path, environ, &config, &err);
    int code = status == SH_OK ? EXIT_FAILED : EXIT_USAGE;
    if (status == SH_OK) {
        sh_log_setup(config->log_level, config->log_format);
        status = sh_rebuild(config, stdout, &err);
    }
    if (status != SH_OK)
        fprintf(stderr, "streamhouse-agent: %s\n", err.message);
    sh_config_free(config);
    return status != SH_OK ? code : EXIT_SUCCESS;
}

static int run(const char *config_path)
{
    Agent agent = {.door_lock = PTHREAD_MUTEX_INITIALIZER};
    ShError err = {0};
    static sigset_t signals; /* the thread that waits for a second signal outlives this function */
    block_signals(&signals);
    sh_open_files_raise();
    ShStatus status;
    int code;
    do {
        sh_error_clear(&err);
        status = run_once(&agent, config_path, &signals, &code, &err);
    } while (starts_over(&agent, status, &err));
    if (status == SH_OK)
        return EXIT_SUCCESS;
    fprintf(stderr, "streamhouse-agent: %s\n", err.message);
    return code;
}

static ShStatus run_once(Agent *agent, const char *config_path, const sigset_t *signals, int *code,
                         ShError *err)
{
    pthread_t watcher;
    started = false;
    agent->is_cut_off = false;
    ShStatus status = sh_thread_start(&watcher, "sh-signal", watch_start, (void *)(uintptr_t)signals, err);
    if (status == SH_OK) {
        status = start(agent, config_path, err);
        started = true;
        pthread_join(watcher, NULL);
    }
    *code = status == SH_INVALID && agent->rpc == NULL ? EXIT_USAGE : EXIT_FAILED;
    if (status == SH_OK) {
        agent->has_served = true;
        agent->is_outdated = false;
        status = watch(agent, signals, err);
    }
    if (agent->is_unreachable)
        hand_over(agent, signals);
    if (status == SH_OK) {
        agent->is_drained = true;
        status = drain(agent, signals, err);
    }
    agent->is_outdated |= status == SH_OUTDATED;
    stop(agent, signals);
    return status;
}

/* A database that lost history, or a new term: the agent begins anew, as after a crash, and presents what it
 * knows. So it does while PostgreSQL or the store do not answer on the way there, or to the first start. */
static bool starts_over(Agent *agent, ShStatus status, const ShError *err)
{
    bool again = status == SH_OUTDATED || agent->is_cut_off ||
                 (status != SH_OK && agent->is_outdated && err->retriable);
    if (!again || agent->is_drained)
        return false;
    sh_log_warn("starting_over", "status=%s reason=\"%s\"", sh_status_name(status), err->message);
    const struct timespec pause = {.tv_nsec = WATCH_INTERVAL_MS * 1000000L};
    nanosleep(&pause, NULL);
    return true;
}

/* Threads inherit the mask, so that signals reach only those who wait for them. */
static void block_signals(sigset_t *signals)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigaction(SIGPIPE, &ignore, NULL);
    sigemptyset(signals);
    sigaddset(signals, SIGTERM);
    sigaddset(signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, signals, NULL);
}

static ShStatus start(Agent *agent, const char *config_path, ShError *err)
{
    ShStatus status = sh_config_load(config_path, environ, &agent->config, err);
    if (status != SH_OK)
        return status;
    const ShConfig *config = agent->config;
    sh_log_setup(config->log_level, config->log_format);
    if (!agent->has_begun) {
        sh_process_metrics_start();
        status = sh_fault_arm(getenv("STREAMHOUSE_FAULTS"), err);
    }
    agent->has_begun = true;
    if (status == SH_OK)
        status = keep_address(&agent->config->listen_address, agent->last_rpc_address, err);
    if (status == SH_OK)
        status = keep_address(&agent->config->http_address, agent->last_http_address, err);
    if (status == SH_OK)
        status = keep_address(&agent->config->schema_registry_address, agent->last_registry_address, err);
    ShRpc *rpc = NULL;
    if (status == SH_OK)
        status = sh_rpc_bind(config, &rpc, &agent->rpc_address, err);
    pthread_mutex_lock(&agent->door_lock);
    agent->rpc = rpc;
    pthread_mutex_unlock(&agent->door_lock);
    if (status == SH_OK)
        status = sh_http_start(config->http_address, is_ready, agent, &agent->http, agent->http_address, err);
    if (status == SH_OK && config->schema_registry_enabled)
        status = sh_registry_start(config, &agent->registry, agent->registry_address, err);
    if (status != SH_OK)
        return status;
    const char *advertised = config->advertised_address[0] != '\0' ? config->advertised_address
                                                                   : agent->rpc_address;
    ShEngine *engine = NULL;
    status = sh_engine_start(config, advertised, agent->http_address, &engine, err);
    agent->is_cut_off = status == SH_UNAVAILABLE && err->retriable;
    if (status != SH_OK)
        return status;
    agent->engine = engine;
    status = sh_rpc_serve(agent->rpc, engine, err);
    if (status == SH_OK && config->port_file[0] != '\0')
        status = write_port_file(agent, err);
    if (status == SH_OK && !agent->has_served)
        warn_of_root();
    if (status == SH_OK)
        sh_log_info("started", "agent=%s grpc=%s http=%s schema_registry=%s version=%s", config->agent_id,
                    agent->rpc_address, agent->http_address,
                    agent->registry_address[0] != '\0' ? agent->registry_address : "off", SH_VERSION);
    return status;
}

static ShStatus keep_address(char **setting, const char *last, ShError *err)
{
    if (last[0] == '\0')
        return SH_OK;
    char *copy = strdup(last);
    if (copy == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for an address");
    free(*setting);
    *setting = copy;
    return SH_OK;
}

static bool is_ready(void *arg, char *why, size_t why_bytes)
{
    Agent *agent = arg;
    ShEngine *engine = agent->engine;
    if (engine == NULL) {
        if (!sh_engine_start_waits(why, why_bytes))
            snprintf(why, why_bytes, "the agent is starting or stopping");
        return false;
    }
    if (!sh_engine_ready(engine, why, why_bytes))
        return false;
    pthread_mutex_lock(&agent->door_lock);
    bool reachable = agent->rpc == NULL || sh_rpc_reachable(agent->rpc, NULL, why, why_bytes);
    pthread_mutex_unlock(&agent->door_lock);
    return reachable;
}

static void warn_of_root(void)
{
    if (geteuid() == 0)
        sh_log_warn("runs_as_root",
                    "reason=\"a fault of the agent could do anything to this host: run it as a user of its "
                    "own, who may write wal_dir\"");
}

/* Whole or not at all, so that a script never reads half of it. */
static ShStatus write_port_file(const Agent *agent, ShError *err)
{
    const char *path = agent->config->port_file;
    char temporary[1100];
    snprintf(temporary, sizeof temporary, "%s.%d", path, (int)getpid());
    /* Others may write where it lies: what they have put there under this name is not written through. */
    unlink(temporary);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (file == NULL) {
        ShStatus status = sh_fail(err, SH_IO, "port_file %s cannot be written: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return status;
    }
    int written = fprintf(file, "grpc=%s\nhttp=%s\nregistry=%s\npid=%d\n", agent->rpc_address,
                          agent->http_address, agent->registry_address, (int)getpid());
    if (fclose(file) != 0 || written < 0 || rename(temporary, path) != 0) {
        ShStatus status = sh_fail(err, SH_IO, "port_file %s cannot be written: %s", path, strerror(errno));
        unlink(temporary);
        return status;
    }
    return SH_OK;
}

/* A start may wait for PostgreSQL or the store for long. Who ends it then loses nothing: the write-ahead log
 * is as it would be after a crash. */
static void *watch_start(void *arg)
{
    static const char message[] = "streamhouse-agent: stopped by a signal before it was ready\n";
    const struct timespec interval = {.tv_nsec = WATCH_INTERVAL_MS / 4 * 1000000L};
    while (!started) {
        int signal = sigtimedwait(arg, NULL, &interval);
        if (signal > 0 && started)
            kill(getpid(), signal); /* it was meant for the main thread */
        else if (signal > 0 && write(STDERR_FILENO, message, sizeof message - 1) != 0)
            _exit(EXIT_FAILED);
    }
    return NULL;
}

/* Returns SH_OK on the first signal; else why the agent cannot go on. */
static ShStatus watch(Agent *agent, const sigset_t *signals, ShError *err)
{
    const struct timespec interval = {.tv_nsec = WATCH_INTERVAL_MS * 1000000L};
    for (;;) {
        int signal = sigtimedwait(signals, NULL, &interval);
        if (signal > 0) {
            sh_log_info("signal", "name=%s", signal == SIGTERM ? "SIGTERM" : "SIGINT");
            return SH_OK;
        }
        ShStatus status = sh_engine_fatal(agent->engine, err);
        if (status == SH_OK)
            status = check_reachable(agent, err);
        if (status != SH_OK)
            return status;
    }
}

/* SH_UNAVAILABLE when no client has reached the agent for long. */
static ShStatus check_reachable(Agent *agent, ShError *err)
{
    char why[256];
    int64_t failures;
    if (sh_rpc_reachable(agent->rpc, &failures, why, sizeof why) || failures < UNREACHABLE_LOOKS_MAX)
        return SH_OK;
    agent->is_unreachable = true;
    return sh_fail(err, SH_UNAVAILABLE, "the agent ends, so that others serve its partitions: %s", why);
}

/* An agent that cannot be reached holds its lease all the same: what it owns goes to others before it ends.
 */
static void hand_over(Agent *agent, const sigset_t *signals)
{
    ShError err;
    agent->is_drained = true;
    sh_log_error("unreachable", "looks=%d", UNREACHABLE_LOOKS_MAX);
    if (drain(agent, signals, &err) != SH_OK)
        sh_log_error("drain_failed", "reason=\"%s\"", err.message);
}

static ShStatus drain(Agent *agent, const sigset_t *signals, ShError *err)
{
    pthread_t watcher;
    ShStatus status = sh_thread_start(&watcher, "sh-signal", wait_second_signal, (void *)(uintptr_t)signals,
                                      err);
    if (status != SH_OK)
        return status;
    pthread_detach(watcher);
    sh_rpc_drain(agent->rpc);
    return sh_engine_drain(agent->engine, err);
}

/* Who signals twice does not want to wait. */
static void *wait_second_signal(void *arg)
{
    static const char message[] =
        "streamhouse-agent: stopped by a second signal before the drain was over; the "
        "write-ahead log keeps what is left\n";
    int signal;
    sigwait(arg, &signal);
    ssize_t written = write(STDERR_FILENO, message, sizeof message - 1);
    _exit(written < 0 ? EXIT_USAGE : EXIT_FAILED);
}

/* The servers wait for their calls, and these for the engine: it answers them first. */
static void stop(Agent *agent, const sigset_t *signals)
{
    ShEngine *engine = agent->engine;
    pthread_t watcher;
    stopped = false;
    bool is_watched = sh_thread_start(&watcher, "sh-signal", watch_stop, (void *)(uintptr_t)signals, NULL) ==
                      SH_OK;
    if (engine != NULL)
        sh_engine_end_calls(engine);
    if (agent->config != NULL && agent->config->port_file[0] != '\0' && engine != NULL)
        unlink(agent->config->port_file);
    if (engine != NULL) {
        snprintf(agent->last_rpc_address, sizeof agent->last_rpc_address, "%s", agent->rpc_address);
        snprintf(agent->last_http_address, sizeof agent->last_http_address, "%s", agent->http_address);
        snprintf(agent->last_registry_address, sizeof agent->last_registry_address, "%s",
                 agent->registry_address);
    }
    ShRpc *rpc = agent->rpc;
    pthread_mutex_lock(&agent->door_lock);
    agent->rpc = NULL;
    pthread_mutex_unlock(&agent->door_lock);
    sh_rpc_stop(rpc, RPC_GRACE_MS);
    agent->engine = NULL;
    sh_registry_stop(agent->registry);
    agent->registry = NULL;
    agent->registry_address[0] = '\0';
    sh_http_stop(agent->http);
    agent->http = NULL;
    sh_engine_stop(engine);
    sh_config_free(agent->config);
    agent->config = NULL;
    stopped = true;
    if (is_watched)
        pthread_join(watcher, NULL);
}

/* Whatever keeps the parts from coming apart, a signal and the time end the process: the write-ahead log is
 * as it would be after a crash. */
static void *watch_stop(void *arg)
{
    static const char on_signal[] = "streamhouse-agent: stopped by a signal while it was stopping\n";
    static const char on_time[] = "streamhouse-agent: it does not come to an end, and exits as it is\n";
    const struct timespec interval = {.tv_nsec = WATCH_INTERVAL_MS / 4 * 1000000L};
    int64_t deadline_ms = sh_clock_now_ms() + SH_ENGINE_STOP_MAX_MS;
    while (!stopped) {
        int signal = sigtimedwait(arg, NULL, &interval);
        bool is_late = sh_clock_now_ms() >= deadline_ms;
        const char *why = signal > 0 ? on_signal : on_time;
        if (!stopped && (signal > 0 || is_late) && write(STDERR_FILENO, why, strlen(why)) != 0)
            _exit(EXIT_FAILED);
        if (signal > 0)
            kill(getpid(), signal); /* the next start is to be ended by it */
    }
    return NULL;
}
