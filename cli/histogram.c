#include "cli/histogram.h"

#define SUB_BITS 5 /* 32 slots to each power of two */

void sh_histogram_add(ShHistogram *histogram, int64_t value)
{
    uint64_t v = value > 0 ? (uint64_t)value : 0;
    unsigned top = v >> SUB_BITS == 0 ? 0 : (unsigned)(63 - __builtin_clzll(v)) - SUB_BITS + 1;
    uint64_t sub = top == 0 ? v : (v >> (top - 1)) & ((1u << SUB_BITS) - 1);
    histogram->slots[((uint64_t)top << SUB_BITS) + sub]++;
    histogram->count++;
    if (value > histogram->max)
        histogram->max = value;
}

int64_t sh_histogram_percentile(const ShHistogram *histogram, double percent)
{
    double wanted = (double)histogram->count * percent / 100;
    int64_t seen = 0;
    for (uint64_t slot = 0; slot < SH_HISTOGRAM_SLOTS; slot++) {
        seen += histogram->slots[slot];
        if (histogram->slots[slot] == 0 || (double)seen < wanted)
            continue;
        unsigned top = (unsigned)(slot >> SUB_BITS);
        uint64_t sub = slot & ((1u << SUB_BITS) - 1);
        uint64_t end = top == 0 ? sub : (((1ull << SUB_BITS) | sub) + 1) << (top - 1);
        return (int64_t)end < histogram->max ? (int64_t)end : histogram->max;
    }
    return histogram->max;
}
