/* The markers in the store: what an agent finds there, makes, objects to and deletes. */
#include "tests/unit/agent/log/log_fixture.h"

#define BODY                                                                                                 \
    "streamhouse marker %d 00000000-0000-0000-0000-00000000000c 3 00000000-0000-0000-0000-0000000000%02x\n"

static int setup_fast(void **state)
{
    int status = setup(state);
    snprintf(((Fixture *)*state)->extra[0], sizeof((Fixture *)*state)->extra[0],
             "STREAMHOUSE_GARBAGE_INTERVAL=50ms");
    memset(&fake_marker, 0, sizeof fake_marker);
    return status;
}

static void put_text(Fixture *fixture, const char *key, const char *text)
{
    struct iovec piece = {.iov_base = (void *)(uintptr_t)text, .iov_len = strlen(text)};
    assert_ok(sh_store_put(fixture->engine->store, key, &piece, 1, piece.iov_len, err));
}

static void put_marker(Fixture *fixture, int number, int nonce)
{
    char key[64];
    char text[200];
    snprintf(key, sizeof key, "marker/%019d", number);
    snprintf(text, sizeof text, BODY, number, nonce);
    put_text(fixture, key, text);
}

static bool is_there(Fixture *fixture, const char *key)
{
    uint64_t bytes;
    return sh_store_size(fixture->engine->store, key, &bytes, NULL) == SH_OK;
}

/* One renewal, which is told to do `step`. */
static void renew(ShMarkerAction action, int64_t number, const char *body)
{
    ShPgMarkerStep step = {.action = action, .number = number};
    snprintf(step.body, sizeof step.body, "%s", body);
    int looks = FAKE_GET(fake_marker.looks);
    FAKE_CHANGE(fake_marker.step = step);
    FAKE_CHANGE(fake_marker.due = true);
    wait_until(FAKE_GET(fake_marker.looks) > looks);
}

static void test_the_first_marker(void **state)
{
    Fixture *fixture = *state;
    char body[200];
    snprintf(body, sizeof body, BODY, 1, 5);
    start(fixture);
    renew(SH_MARKER_PUT, 1, body);
    assert_int_equal(FAKE_GET(fake_marker.found.highest), 0);
    assert_int_equal(FAKE_GET(fake_marker.found.contested), -1);
    wait_until(FAKE_GET(fake_marker.confirmations) == 1);
    assert_int_equal(FAKE_GET(fake_marker.confirmed), 1);
    assert_int_equal(FAKE_GET(fake_marker.after.highest), 1);
    assert_int_equal(FAKE_GET(fake_marker.after.nonce.bytes[15]), 5);
    assert_int_equal(FAKE_GET(fake_marker.after.cluster_id.bytes[15]), 12);
    assert_int_equal(FAKE_GET(fake_marker.after.term), 3);
}

static void test_the_highest_counts_and_old_ones_go(void **state)
{
    Fixture *fixture = *state;
    char body[200];
    snprintf(body, sizeof body, BODY, 11, 7);
    start(fixture);
    put_marker(fixture, 9, 1);
    put_marker(fixture, 10, 2);
    put_marker(fixture, 8, 3);
    put_text(fixture, "marker/0000000000000000009.contested", "somebody");
    put_text(fixture, "marker/readme", "not a marker");
    renew(SH_MARKER_PUT, 11, body);
    assert_int_equal(FAKE_GET(fake_marker.found.highest), 10);
    assert_int_equal(FAKE_GET(fake_marker.found.contested), 9);
    assert_int_equal(FAKE_GET(fake_marker.found.nonce.bytes[15]), 2);
    wait_until(!is_there(fixture, "marker/0000000000000000008") &&
               !is_there(fixture, "marker/0000000000000000009") &&
               !is_there(fixture, "marker/0000000000000000009.contested"));
    assert_true(is_there(fixture, "marker/0000000000000000010"));
    assert_true(is_there(fixture, "marker/0000000000000000011"));
    assert_true(is_there(fixture, "marker/readme"));
}

static void test_a_marker_that_somebody_made_first_stays(void **state)
{
    Fixture *fixture = *state;
    char body[200];
    snprintf(body, sizeof body, BODY, 2, 7);
    start(fixture);
    put_marker(fixture, 1, 1);
    put_marker(fixture, 2, 99);
    FAKE_CHANGE(fake_marker.refuse = true);
    renew(SH_MARKER_PUT, 2, body); /* as if the look had come before the other's put */
    wait_until(FAKE_GET(fake_marker.confirmations) == 1);
    assert_int_equal(FAKE_GET(fake_marker.after.nonce.bytes[15]), 0x63);
    wait_until(is_there(fixture, "marker/0000000000000000002.contested"));
    assert_true(is_there(fixture, "marker/0000000000000000001")); /* nothing is deleted by who lost */
}

static void test_an_objection_is_left(void **state)
{
    Fixture *fixture = *state;
    start(fixture);
    put_text(fixture, "marker/0000000000000000004", "what is this?");
    renew(SH_MARKER_CONTEST, 4, "marker 4 of somebody");
    wait_until(is_there(fixture, "marker/0000000000000000004.contested"));
    assert_true(sh_uuid_is_zero(&fake_marker.found.nonce));
    renew(SH_MARKER_CONTESTED, 4, "marker 4 of somebody");
    renew(SH_MARKER_NONE, 0, "");
    assert_int_equal(FAKE_GET(fake_marker.found.contested), 4);
    assert_int_equal(FAKE_GET(fake_marker.confirmations), 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup_fast, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_the_first_marker),
        TEST(test_the_highest_counts_and_old_ones_go),
        TEST(test_a_marker_that_somebody_made_first_stays),
        TEST(test_an_objection_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
