/* utf8.h - are bytes UTF-8, as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef SH_SCHEMA_UTF8_H
#define SH_SCHEMA_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool sh_utf8_valid(const uint8_t *bytes, size_t length);

#endif
