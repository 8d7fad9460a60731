// link: agent/rpc/frames.c
/* What a client may send: however it is cut, the counts are the same, and what is found wrong is too. */
#include "agent/rpc/frames.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ShFrames whole = {.preface_bytes = size > 0 && data[0] % 2 == 0 ? 24 : 0}; /* mostly past it */
    ShFrames parted = whole;
    size_t piece = size > 0 ? 1 + data[0] % 32U : 1;
    const char *fault = sh_frames_take(&whole, data, size, 1000);
    const char *other = NULL;
    for (size_t at = 0; at < size && other == NULL; at += piece)
        other = sh_frames_take(&parted, data + at, size - at < piece ? size - at : piece, 1000);
    if (fault != other || whole.data_bytes != parted.data_bytes || whole.opened != parted.opened ||
        whole.reset != parted.reset || whole.data_bytes > (int64_t)size)
        __builtin_trap();
    return 0;
}
