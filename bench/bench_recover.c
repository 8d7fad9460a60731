/*
 * bench_recover.c - how fast a WAL of 2 GB in the page cache is scanned and verified, as recovery does before
 * it hands anything out, against a CRC-32C over the same bytes in memory.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/wal/wal_survey.h"
#include "bench/agent.h"
#include "bench/json_line.h"
#include "core/crc32c.h"

#define FILE_BYTES  (64ll << 20)
#define TOTAL_BYTES (2ll << 30)
#define ROUNDS      5

static const char uuid_text[] = "6f1a34a2-2f51-4a3e-9a77-0c2d1a5b7e10";

static void die(const char *what)
{
    fprintf(stderr, "bench_recover: %s\n", what);
    exit(1);
}

static void write_bytes(const char *path, const void *bytes, size_t length)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0640);
    if (fd < 0 || write(fd, bytes, length) != (ssize_t)length)
        die("cannot write a file");
    close(fd);
}

static void write_identity(const char *directory)
{
    char path[SH_BENCH_PATH_BYTES + 64], text[512];
    int length = snprintf(text, sizeof text,
                          "streamhouse wal 1\nwal_uuid=%s\nincarnation=1\ncalls=0\nclean=no\ndamaged=no\n"
                          "boot_id=\nsync=always\n",
                          uuid_text);
    length += snprintf(text + length, sizeof text - (size_t)length, "crc32c=%08" PRIx32 "\n",
                       sh_crc32c(text, (size_t)length));
    snprintf(path, sizeof path, "%s/identity", directory);
    write_bytes(path, text, (size_t)length);
}

/* A file full of batches of that size, as the writer leaves it. */
static void fill(uint8_t *bytes, const ShWalFileId *id, size_t batch_bytes)
{
    memset(bytes, 0, FILE_BYTES);
    sh_wal_encode_file_header(&(ShWalFileHeader){.id = *id}, bytes);
    int64_t position = SH_WAL_FILE_HEADER_BYTES;
    while (position + sh_wal_frame_bytes(batch_bytes) + SH_WAL_FRAME_HEADER_BYTES <= FILE_BYTES) {
        uint8_t *batch = bytes + position + SH_WAL_FRAME_HEADER_BYTES;
        for (size_t i = SH_BATCH_HEADER_BYTES; i < batch_bytes; i++)
            batch[i] = (uint8_t)(i * 7);
        sh_put_u32(batch + 8, (uint32_t)(batch_bytes - 12));
        batch[16] = SH_BATCH_MAGIC;
        sh_put_u32(batch + 17, sh_crc32c(batch + 21, batch_bytes - 21));
        ShWalFrame frame = {.type = SH_WAL_FRAME_BATCH, .synced = position, .batch_length = batch_bytes};
        sh_wal_encode_frame(id, position, &frame, batch, bytes + position);
        position += sh_wal_frame_bytes(batch_bytes);
    }
    ShWalFrame end = {.type = SH_WAL_FRAME_END, .synced = position};
    sh_wal_encode_frame(id, position, &end, NULL, bytes + position);
}

/* Best of some rounds: what the code can do, whoever else is at work. */
static double survey_seconds(const char *directory, int64_t *batches)
{
    double best = 0;
    for (int round = 0; round < ROUNDS; round++) {
        ShError err;
        ShWalSurvey *survey = NULL;
        int64_t begun_us = sh_bench_now_us();
        if (sh_wal_survey_open(directory, &survey, &err) != SH_OK)
            die(err.message);
        double took = (double)(sh_bench_now_us() - begun_us) / 1e6;
        *batches = 0;
        for (size_t i = 0; i < survey->count; i++)
            *batches += survey->files[i].scan.batches;
        if (sh_wal_survey_check(survey, &err) != SH_OK)
            die(err.message);
        sh_wal_survey_free(survey);
        best = round == 0 || took < best ? took : best;
    }
    return best;
}

/* A plain pass over the same bytes: the files mapped one after the other, one CRC over each. */
static double crc_seconds(const char *directory, int files)
{
    volatile uint32_t sink = 0;
    double best = 0;
    for (int round = 0; round < ROUNDS; round++) {
        int64_t begun_us = sh_bench_now_us();
        for (int i = 1; i <= files; i++) {
            char path[SH_BENCH_PATH_BYTES + 64];
            snprintf(path, sizeof path, "%s/00000001%08x.wal", directory, (unsigned)i);
            int fd = open(path, O_RDONLY);
            void *bytes = mmap(NULL, FILE_BYTES, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
            if (fd < 0 || bytes == MAP_FAILED)
                die("cannot map a file");
            sink = sh_crc32c(bytes, FILE_BYTES);
            munmap(bytes, FILE_BYTES);
            close(fd);
        }
        double took = (double)(sh_bench_now_us() - begun_us) / 1e6;
        best = round == 0 || took < best ? took : best;
    }
    (void)sink;
    return best;
}

static void measure(const char *directory, uint8_t *bytes, size_t batch_bytes)
{
    ShWalFileId id = {.file_no = 0};
    if (sh_uuid_parse(uuid_text, &id.wal_uuid, NULL) != SH_OK)
        die("bad uuid");
    int files = (int)(TOTAL_BYTES / FILE_BYTES);
    for (int i = 1; i <= files; i++) {
        char path[SH_BENCH_PATH_BYTES + 64];
        id.file_no = 1ull << 32 | (unsigned)i;
        snprintf(path, sizeof path, "%s/%016" PRIx64 ".wal", directory, id.file_no);
        fill(bytes, &id, batch_bytes);
        write_bytes(path, bytes, FILE_BYTES);
    }
    int64_t batches = 0;
    double survey = survey_seconds(directory, &batches);
    double crc = crc_seconds(directory, files);
    char figure[96];
    snprintf(figure, sizeof figure, "scan and verification of 2 GB of WAL, batches of %zu bytes",
             batch_bytes);
    sh_bench_line_against("recover", figure, (double)TOTAL_BYTES / survey / 1e6, "MB/s",
                          "CRC-32C of the same files", (double)TOTAL_BYTES / crc / 1e6);
    snprintf(figure, sizeof figure, "time a batch of %zu bytes", batch_bytes);
    sh_bench_line("recover", figure, survey / (double)batches * 1e9, "ns");
}

int main(void)
{
    static const size_t sizes[] = {100, 1000, 16 * 1024, 128 * 1024};
    char directory[SH_BENCH_PATH_BYTES];
    sh_bench_directory("recover", directory);
    write_identity(directory);
    uint8_t *bytes = malloc(FILE_BYTES);
    if (bytes == NULL)
        die("no memory");
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        measure(directory, bytes, sizes[i]);
    free(bytes);
    return 0;
}
