#include "bench/agent.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench/json_line.h"

#define READY_S      60
#define SETTLE_S     120
#define POLL_MS      5
#define PAGE_BYTES   (1024 * 1024)
#define OPEN_FDS_MAX 16

static void die(const char *what)
{
    fprintf(stderr, "bench: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void make_directory(const char *parent, const char *name)
{
    char path[SH_BENCH_PATH_BYTES + 16];
    snprintf(path, sizeof path, "%s%s", parent, name);
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        die(path);
}

static void pause_ms(long ms)
{
    struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
}

static void write_config(const ShBenchAgent *agent, const char *settings);
static void execute(const ShBenchAgent *agent, const char *faults);
static bool read_ports(ShBenchAgent *agent);
static void show_log(const ShBenchAgent *agent);
static char *get_metrics(const ShBenchAgent *agent);
static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *where);
static int count_entry(const char *path, const struct stat *status, int type, struct FTW *where);

const char *sh_bench_environment(const char *name)
{
    const char *value = getenv(name);
    if (value == NULL || *value == '\0') {
        fprintf(stderr, "bench: %s is not set; bench/run.sh sets it\n", name);
        exit(1);
    }
    return value;
}

void sh_bench_directory(const char *name, char path[SH_BENCH_PATH_BYTES])
{
    snprintf(path, SH_BENCH_PATH_BYTES, "%s/%s", sh_bench_environment("SH_BENCH_DIRECTORY"), name);
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        die(path);
}

void sh_bench_agent_start(ShBenchAgent *agent, const char *directory, const char *settings,
                          const char *faults)
{
    *agent = (ShBenchAgent){0};
    snprintf(agent->directory, sizeof agent->directory, "%s", directory);
    make_directory(directory, "");
    make_directory(directory, "/wal");
    make_directory(directory, "/store");
    write_config(agent, settings);

    int64_t begun = sh_bench_now_us();
    agent->pid = fork();
    if (agent->pid < 0)
        die("fork");
    if (agent->pid == 0)
        execute(agent, faults);
    while (!read_ports(agent)) {
        if (waitpid(agent->pid, NULL, WNOHANG) != 0 || sh_bench_now_us() - begun > READY_S * 1000000ll) {
            fprintf(stderr, "bench: the agent did not start:\n");
            show_log(agent);
            exit(1);
        }
        pause_ms(POLL_MS);
    }
    agent->start_seconds = (double)(sh_bench_now_us() - begun) / 1e6;
}

void sh_bench_agent_stop(ShBenchAgent *agent)
{
    kill(agent->pid, SIGTERM);
    waitpid(agent->pid, NULL, 0);
    agent->pid = 0;
}

void sh_bench_agent_discard(ShBenchAgent *agent)
{
    sh_bench_agent_stop(agent);
    nftw(agent->directory, remove_entry, OPEN_FDS_MAX, FTW_DEPTH | FTW_PHYS);
}

double sh_bench_agent_metric(const ShBenchAgent *agent, const char *name)
{
    char *page = get_metrics(agent);
    size_t length = strlen(name);
    double sum = 0;
    bool found = false;
    for (char *rest = NULL, *line = strtok_r(page, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        if (strncmp(line, name, length) != 0 || (line[length] != ' ' && line[length] != '{'))
            continue;
        found = true;
        sum += strtod(strrchr(line, ' '), NULL);
    }
    free(page);
    if (!found) {
        fprintf(stderr, "bench: the agent has no metric %s\n", name);
        exit(1);
    }
    return sum;
}

void sh_bench_agent_settle(const ShBenchAgent *agent)
{
    int64_t begun = sh_bench_now_us();
    while (sh_bench_agent_metric(agent, "streamhouse_unpublished_bytes") > 0) {
        if (sh_bench_now_us() - begun > SETTLE_S * 1000000ll) {
            fprintf(stderr, "bench: not all was published within %d s\n", SETTLE_S);
            exit(1);
        }
        pause_ms(POLL_MS);
    }
}

/* What count_entry gathers; nftw has no argument of one's own. */
static struct {
    int64_t bytes;
    int64_t objects;
} counted;

int64_t sh_bench_agent_store_bytes(const ShBenchAgent *agent, int64_t *objects)
{
    char store[SH_BENCH_PATH_BYTES + 8];
    snprintf(store, sizeof store, "%s/store", agent->directory);
    counted.bytes = counted.objects = 0;
    nftw(store, count_entry, OPEN_FDS_MAX, FTW_PHYS);
    if (objects != NULL)
        *objects = counted.objects;
    return counted.bytes;
}

static void write_config(const ShBenchAgent *agent, const char *settings)
{
    char path[SH_BENCH_PATH_BYTES + 16];
    snprintf(path, sizeof path, "%s/ports", agent->directory);
    unlink(path);
    snprintf(path, sizeof path, "%s/agent.yaml", agent->directory);
    FILE *file = fopen(path, "w");
    if (file == NULL)
        die(path);
    fprintf(file,
            "agent_id: bench\ndata_dir: %s\nlisten_address: 127.0.0.1:0\nhttp_address: 127.0.0.1:0\n"
            "schema_registry_address: 127.0.0.1:0\n"
            "postgres: %s\nport_file: %s/ports\n%s",
            agent->directory, sh_bench_environment("SH_BENCH_POSTGRES"), agent->directory, settings);
    fclose(file);
}

/* In the child: become the agent, which ends with the benchmark. */
static void execute(const ShBenchAgent *agent, const char *faults)
{
    char path[SH_BENCH_PATH_BYTES + 16];
    const char *program = sh_bench_environment("SH_BENCH_AGENT");
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (faults != NULL)
        setenv("STREAMHOUSE_FAULTS", faults, 1);
    snprintf(path, sizeof path, "%s/agent.log", agent->directory);
    int log = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (log < 0 || dup2(log, STDERR_FILENO) < 0 || dup2(log, STDOUT_FILENO) < 0)
        _exit(1);
    snprintf(path, sizeof path, "%s/agent.yaml", agent->directory);
    execl(program, program, "--config", path, (char *)NULL);
    _exit(1);
}

static bool read_ports(ShBenchAgent *agent)
{
    char path[SH_BENCH_PATH_BYTES + 16];
    char line[128];
    snprintf(path, sizeof path, "%s/ports", agent->directory);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return false;
    while (fgets(line, sizeof line, file) != NULL) {
        sscanf(line, "grpc=%63s", agent->address);
        sscanf(line, "http=%63s", agent->http_address);
        sscanf(line, "registry=%63s", agent->registry_address);
    }
    fclose(file);
    return agent->address[0] != '\0' && agent->http_address[0] != '\0';
}

static void show_log(const ShBenchAgent *agent)
{
    char path[SH_BENCH_PATH_BYTES + 16];
    char line[1024];
    snprintf(path, sizeof path, "%s/agent.log", agent->directory);
    FILE *file = fopen(path, "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        fputs(line, stderr);
    if (file != NULL)
        fclose(file);
}

/* The text of /metrics, over HTTP/1.0 so that it ends with the connection. */
static char *get_metrics(const ShBenchAgent *agent)
{
    static const char request[] = "GET /metrics HTTP/1.0\r\n\r\n";
    char host[64];
    int port = 0;
    if (sscanf(agent->http_address, "%63[^:]:%d", host, &port) != 2)
        die("the agent's HTTP address");
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    inet_pton(AF_INET, host, &address.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        write(fd, request, strlen(request)) < 0)
        die("the agent's metrics");

    char *page = calloc(1, PAGE_BYTES);
    if (page == NULL)
        die("memory");
    size_t length = 0;
    for (ssize_t got; (got = read(fd, page + length, PAGE_BYTES - 1 - length)) > 0;)
        length += (size_t)got;
    close(fd);
    return page;
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status, (void)type, (void)where;
    return remove(path);
}

static int count_entry(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)path, (void)where;
    if (type == FTW_F) {
        counted.bytes += status->st_size;
        counted.objects++;
    }
    return 0;
}
