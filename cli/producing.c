#include "cli/producing.h"

#include <string.h>

#include "cli/cli.h"
#include "cli/parse.h"

int sh_cli_take_producing(ShProducerOptions *options, int option, const char *value)
{
    int64_t number = 0;
    ShError error;
    switch (option) {
    case SH_OPT_COMPRESSION:
        if (sh_codec_parse(value, &options->codec, &error) != SH_OK)
            return sh_cli_misuse("--compression is none, gzip, snappy, lz4 or zstd, not %s", value);
        return -1;
    case SH_OPT_LINGER:
        if (!sh_parse_duration_ms(value, &number) || number > 60000)
            return sh_cli_misuse("--linger %s is not a duration such as 5ms, up to 60s", value);
        options->linger_ms = (int)number;
        return -1;
    case SH_OPT_BATCH_SIZE:
        if (!sh_parse_bytes(value, &number) || number < 1024 || number > 16 << 20)
            return sh_cli_misuse("--batch-size %s is not a size such as 64kB, from 1kB to 16MB", value);
        options->batch_bytes = (size_t)number;
        if (options->request_bytes < options->batch_bytes)
            options->request_bytes = options->batch_bytes;
        return -1;
    case SH_OPT_RETRY:
        if (strcmp(value, "always") != 0 && strcmp(value, "safe") != 0)
            return sh_cli_misuse("--retry is always or safe, not %s", value);
        options->retry = strcmp(value, "safe") == 0 ? SH_RETRY_SAFE : SH_RETRY_ALWAYS;
        return -1;
    case SH_OPT_TIMEOUT:
        if (!sh_parse_duration_ms(value, &number) || number < 1 || number > 86400 * 1000)
            return sh_cli_misuse("--timeout %s is not a duration such as 120s, up to 1d", value);
        options->delivery_timeout_ms = (int)number;
        if (options->request_timeout_ms > options->delivery_timeout_ms)
            options->request_timeout_ms = options->delivery_timeout_ms;
        return -1;
    case SH_OPT_IN_FLIGHT:
        if (!sh_parse_number(value, 1, 1000, &number))
            return sh_cli_misuse("--in-flight %s is not a number from 1 to 1000", value);
        options->in_flight_max = (int)number;
        return -1;
    case SH_OPT_IDEMPOTENCE:
        if (strcmp(value, "on") != 0 && strcmp(value, "off") != 0)
            return sh_cli_misuse("--idempotence is on or off, not %s", value);
        options->idempotence = strcmp(value, "on") == 0;
        return -1;
    default:
        return -2;
    }
}
