#include "schema/utf8.h"

#include <string.h>

bool sh_utf8_valid(const uint8_t *bytes, size_t length)
{
    size_t i = 0;
    while (i < length) {
        uint64_t eight;
        if (length - i >= sizeof eight) { /* mostly ASCII */
            memcpy(&eight, bytes + i, sizeof eight);
            if ((eight & UINT64_C(0x8080808080808080)) == 0) {
                i += sizeof eight;
                continue;
            }
        }
        uint8_t first = bytes[i];
        if (first < 0x80) {
            i++;
            continue;
        }
        size_t more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
        if (first < 0xc2 || first > 0xf4 || length - i <= more)
            return false;
        uint8_t low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
        uint8_t high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
        if (bytes[i + 1] < low || bytes[i + 1] > high)
            return false;
        for (size_t j = 2; j <= more; j++)
            if ((bytes[i + j] & 0xc0) != 0x80)
                return false;
        i += more + 1;
    }
    return true;
}
