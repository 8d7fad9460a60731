/*
 * json_match.c - regular expressions by PCRE2, whose time has no bound but the one that it is given.
 *
 * It counts the calls of its own matching function at each place of the text where a match may begin, and
 * ends at a limit; it does not tell how many there were. So a match is tried with a small limit first, and
 * then with larger ones. One call may look at all of the text (as `a*b` does), so calls are worth more the
 * longer the text is.
 *
 * A pattern that is anchored begins in one place, and its calls are paid for before. Another one may begin
 * anywhere: it is tried in windows of so few places that each ends soon, and the time that they take is paid
 * for: the processor's, so that a busy machine decides nothing.
 */
#define PCRE2_CODE_UNIT_WIDTH 8

#include "schema/json_match.h"

#include <pcre2.h>
#include <time.h>

#define PATTERN_BYTES_MAX 4096
#define PATTERN_OPTIONS                                                                                      \
    (PCRE2_UTF | PCRE2_ALT_BSUX | PCRE2_DOLLAR_ENDONLY | PCRE2_MATCH_UNSET_BACKREF | PCRE2_USE_OFFSET_LIMIT)
#define COMPILED_BYTES_A_STEP 4

#define CALLS_FIRST      32
#define CALLS_GROWTH     4
#define CALLS_PAID_FIRST 8  /* nearly all matches take fewer */
#define BYTES_A_CALL     64 /* that are looked at in the time of a call */
#define HEAP_LIMIT_KIB   16384
#define PREPARE_STEPS    8
#define WINDOW_STEPS     500000 /* that the calls of a window may be worth */
#define NS_A_STEP        100

typedef struct Match {
    ShJsonMatcher *matcher;
    ShSchemaBudget *budget;
    const void *code;
    const char *text;
    size_t bytes;
    size_t call_steps;
} Match;

static bool prepare(ShJsonMatcher *matcher, ShSchemaBudget *budget);
static bool match_anchored(const Match *match);
static bool match_anywhere(const Match *match);
static int try(const Match *match, size_t from, uint32_t calls);
static bool is_limit(int result);

void *sh_json_pattern_new(const char *pattern, size_t length, ShSchemaBudget *budget)
{
    int fault;
    PCRE2_SIZE at;
    if (length > PATTERN_BYTES_MAX || !sh_budget_spend(budget, 64 + length))
        return NULL;
    pcre2_code *code = pcre2_compile((PCRE2_SPTR)pattern, length, PATTERN_OPTIONS, &fault, &at, NULL);
    size_t bytes = 0;
    if (code == NULL || pcre2_pattern_info(code, PCRE2_INFO_SIZE, &bytes) != 0)
        return code;
    if (sh_budget_spend(budget, bytes / COMPILED_BYTES_A_STEP) && sh_budget_hold(budget, bytes))
        return code;
    pcre2_code_free(code);
    return NULL;
}

void sh_json_pattern_free(void *code)
{
    pcre2_code_free(code);
}

bool sh_json_matches(ShJsonMatcher *matcher, const void *code, const char *text, size_t bytes,
                     ShSchemaBudget *budget)
{
    uint32_t options = 0;
    if (!prepare(matcher, budget))
        return false;
    (void)pcre2_pattern_info(code, PCRE2_INFO_ALLOPTIONS, &options);
    const Match match = {matcher, budget, code, text, bytes, 1 + bytes / BYTES_A_CALL};
    return options & PCRE2_ANCHORED ? match_anchored(&match) : match_anywhere(&match);
}

static bool prepare(ShJsonMatcher *matcher, ShSchemaBudget *budget)
{
    if (matcher->context != NULL)
        return !sh_budget_has_ended(budget);
    if (!sh_budget_spend(budget, PREPARE_STEPS))
        return false;
    matcher->data = pcre2_match_data_create(1, NULL);
    matcher->context = matcher->data == NULL ? NULL : pcre2_match_context_create(NULL);
    if (matcher->context == NULL) {
        pcre2_match_data_free(matcher->data);
        matcher->data = NULL;
        sh_budget_end(budget, SH_TOO_LARGE);
        return false;
    }
    pcre2_set_heap_limit(matcher->context, HEAP_LIMIT_KIB);
    return true;
}

/* How many calls what is left can pay for. */
static size_t affordable(const Match *match)
{
    const ShSchemaBudget *budget = match->budget;
    int64_t left = budget->steps_left > budget->floor ? budget->steps_left - budget->floor : 0;
    return (size_t)left / match->call_steps;
}

/* All that is left is not enough. */
static void give_up(const Match *match)
{
    (void)sh_budget_spend(match->budget, (affordable(match) + 1) * match->call_steps);
}

static bool match_anchored(const Match *match)
{
    size_t paid = CALLS_PAID_FIRST;
    for (size_t calls = CALLS_FIRST;; calls *= CALLS_GROWTH) {
        size_t most = affordable(match);
        if (most < CALLS_FIRST) {
            give_up(match);
            return false;
        }
        if (most < paid)
            calls = paid = most;
        if (!sh_budget_spend(match->budget, paid * match->call_steps))
            return false;
        pcre2_set_offset_limit(match->matcher->context, PCRE2_UNSET);
        int result = try(match, 0, (uint32_t)calls);
        if (!is_limit(result))
            return result >= 0;
        paid = calls * CALLS_GROWTH;
    }
}

static int64_t cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* The next place where a character begins. */
static size_t align(const Match *match, size_t at)
{
    while (at < match->bytes && (match->text[at] & 0xc0) == 0x80)
        at++;
    return at;
}

static bool match_anywhere(const Match *match)
{
    int64_t begun_ns = cpu_ns();
    size_t calls = CALLS_FIRST;
    for (size_t from = 0; from <= match->bytes;) {
        size_t most = affordable(match);
        if (most < CALLS_FIRST) {
            give_up(match);
            return false;
        }
        if (calls > most)
            calls = most;
        size_t places = WINDOW_STEPS / (calls * match->call_steps) + 1;
        size_t end = places > match->bytes - from ? match->bytes + 1 : align(match, from + places);
        pcre2_set_offset_limit(match->matcher->context, end - 1);
        int result = try(match, from, (uint32_t)calls);
        int64_t now_ns = cpu_ns();
        bool goes_on = sh_budget_spend(match->budget, 2 + (size_t)(now_ns - begun_ns) / NS_A_STEP);
        begun_ns = now_ns;
        if (result >= 0 || !goes_on || sh_budget_has_ended(match->budget))
            return result >= 0;
        if (!is_limit(result)) {
            from = end;
            calls = CALLS_FIRST;
        } else if (calls == most) {
            give_up(match);
            return false;
        } else {
            calls *= CALLS_GROWTH;
        }
    }
    return false;
}

static int try(const Match *match, size_t from, uint32_t calls)
{
    const ShJsonMatcher *matcher = match->matcher;
    pcre2_set_match_limit(matcher->context, calls);
    pcre2_set_depth_limit(matcher->context, calls);
    int result = pcre2_match(match->code, (PCRE2_SPTR)match->text, match->bytes, from, PCRE2_NO_UTF_CHECK,
                             matcher->data, matcher->context);
    if (result < 0 && result != PCRE2_ERROR_NOMATCH && !is_limit(result))
        sh_budget_end(match->budget, SH_TOO_LARGE); /* the heap's limit */
    return result;
}

static bool is_limit(int result)
{
    return result == PCRE2_ERROR_MATCHLIMIT || result == PCRE2_ERROR_DEPTHLIMIT;
}

void sh_json_matcher_free(ShJsonMatcher *matcher)
{
    pcre2_match_data_free(matcher->data);
    pcre2_match_context_free(matcher->context);
}
