/* base_test.h - what the tests of base/ share. */
#ifndef SH_TESTS_UNIT_AGENT_BASE_BASE_TEST_H
#define SH_TESTS_UNIT_AGENT_BASE_BASE_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/status.h"

#define assert_contains(text, part)                                                                          \
    do {                                                                                                     \
        if (strstr((text), (part)) == NULL)                                                                  \
            fail_msg("\"%s\" does not hold \"%s\"", (text), (part));                                         \
    } while (0)

#define assert_lacks(text, part)                                                                             \
    do {                                                                                                     \
        if (strstr((text), (part)) != NULL)                                                                  \
            fail_msg("\"%s\" holds \"%s\"", (text), (part));                                                 \
    } while (0)

#endif
