/* What calls hold together: who waits, who is refused, who has to go. */
#include <poll.h>

#include "agent/rpc/call.h"
#include "agent/rpc/fetch_request.h"
#include "agent/rpc/server.h"
#include "tests/unit/agent/rpc/rpc_fixture.h"

#define SMALL_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_set_up_small, fixture_tear_down)

/* A request that takes a megabyte of memory while it waits is refused beside another, to be sent again. */
static void long_polls_of_many_partitions_are_bounded(void **state)
{
    enum { PARTITIONS = 2000 };
    Fixture *fixture = *state;
    Streamhouse__V1__FetchPartition part = STREAMHOUSE__V1__FETCH_PARTITION__INIT;
    Streamhouse__V1__FetchPartition *list[PARTITIONS];
    part.topic = (char *)(uintptr_t) "orders";
    for (int i = 0; i < PARTITIONS; i++)
        list[i] = &part;
    Streamhouse__V1__FetchRequest request = STREAMHOUSE__V1__FETCH_REQUEST__INIT;
    request.partitions = list;
    request.n_partitions = PARTITIONS;
    request.max_wait_ms = CLIENT_TIMEOUT_MS;
    ClientCall calls[2];
    for (int i = 0; i < 2; i++) {
        client_open(&calls[i], fixture->channel, "/streamhouse.v1.StreamHouse/Fetch", CLIENT_TIMEOUT_MS);
        client_send(&calls[i], &request.base);
        client_close(&calls[i]);
        if (i == 0)
            WAIT_UNTIL(fake_read(fixture->engine, &fixture->engine->fetches_begun) == 1);
    }
    assert_int_equal(client_wait(&calls[1]), GRPC_STATUS_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(calls[1].text, "no memory for the request"));
    grpc_call_cancel(calls[0].call, NULL);
    for (int i = 0; i < 2; i++)
        client_free(&calls[i]);
}

/* --- answers that are not taken: a quarter of the budget is 4 MB, and a record has six */

enum { WIDE_RECORD_BYTES = 6 << 20 };

static int room_set_up(void **state)
{
    ShConfig config = fixture_config();
    config.batch_decompressed_bytes_max = 64 << 20;
    config.memory_budget_bytes = 16 << 20;
    return fixture_start(state, config);
}

#define ROOM_TEST(name) cmocka_unit_test_setup_teardown(name, room_set_up, fixture_tear_down)

static void produce_wide(Fixture *fixture)
{
    produce_batch(fixture, 0, make_bomb(WIDE_RECORD_BYTES));
}

/* Ask for records of partition 0, and take nothing. */
static void ask_for_records(ClientCall *client, grpc_channel *channel, const char *path)
{
    Streamhouse__V1__FetchPartition part = STREAMHOUSE__V1__FETCH_PARTITION__INIT;
    Streamhouse__V1__FetchPartition *list[1] = {&part};
    Streamhouse__V1__FetchRequest request = STREAMHOUSE__V1__FETCH_REQUEST__INIT;
    part.topic = (char *)(uintptr_t) "orders";
    request.partitions = list;
    request.n_partitions = 1;
    request.decode = true;
    request.min_bytes = 2;
    request.max_bytes = 1000;
    client_open(client, channel, path, 2 * CLIENT_TIMEOUT_MS);
    client_send(client, &request.base);
    client_close(client);
}

static bool takes_the_record(ClientCall *client)
{
    Streamhouse__V1__FetchResponse *response = client_receive(client,
                                                              &streamhouse__v1__fetch_response__descriptor);
    bool taken = response != NULL && response->results[0]->n_records == 1 &&
                 response->results[0]->records[0]->value.len == WIDE_RECORD_BYTES;
    if (response != NULL)
        streamhouse__v1__fetch_response__free_unpacked(response, NULL);
    return taken;
}

/* What had come of the answer stands before the status. */
static void expect_cut_off(ClientCall *client)
{
    size_t length;
    assert_null(client_receive_raw(client, &length));
    assert_int_equal(client_wait(client), GRPC_STATUS_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(client->text, "others need the memory"));
}

/* One answer goes on, however large; the others wait for it. When its reader stalls it has to go. Who is
 * given room fetches what there is, and lets the room not lie idle. */
static void streams_wait_for_room(void **state)
{
    enum { STALLED = 3 };
    static const char path[] = "/streamhouse.v1.StreamHouse/FetchStream";
    Fixture *fixture = *state;
    produce_wide(fixture);
    ClientCall stalled[STALLED];
    for (int i = 0; i < STALLED; i++)
        ask_for_records(&stalled[i], fixture->channel, path);
    WAIT_UNTIL(fake_read(fixture->engine, &fixture->engine->fetches_begun) >= STALLED);
    WAIT_UNTIL(fake_held_bytes(fixture->engine) >= WIDE_RECORD_BYTES);

    grpc_channel *other = client_connect(fixture->address);
    ClientCall reader;
    ask_for_records(&reader, other, path);
    assert_true(takes_the_record(&reader));
    assert_true(fake_read(fixture->engine, &fixture->engine->fetches_of_any) > 0);
    assert_in_range(fake_held_bytes(fixture->engine), 0, 2 * WIDE_RECORD_BYTES);
    expect_cut_off(&stalled[0]);
    grpc_call_cancel(reader.call, NULL);
    client_free(&reader);
    for (int i = 0; i < STALLED; i++) {
        grpc_call_cancel(stalled[i].call, NULL);
        client_free(&stalled[i]);
    }
    grpc_channel_destroy(other);
}

/* What an answer unfolds to is counted, not what it had been; small answers pass beside those that are not
 * taken, and a large one when they have stalled for long enough. */
static void answers_that_stall_make_room(void **state)
{
    enum { STALLED = 5 };
    static const char path[] = "/streamhouse.v1.StreamHouse/Fetch";
    Fixture *fixture = *state;
    produce_wide(fixture);
    ClientCall stalled[STALLED];
    for (int i = 0; i < STALLED; i++) {
        ask_for_records(&stalled[i], fixture->channel, path);
        if (i == 0)
            WAIT_UNTIL(fake_held_bytes(fixture->engine) >= WIDE_RECORD_BYTES);
        else
            assert_int_equal(client_wait(&stalled[i]), GRPC_STATUS_RESOURCE_EXHAUSTED);
    }
    grpc_channel *other = client_connect(fixture->address);
    produce(fixture, 1, 1, "v", 1);
    ClientCall reader;
    Streamhouse__V1__FetchPartition part = STREAMHOUSE__V1__FETCH_PARTITION__INIT;
    Streamhouse__V1__FetchPartition *list[1] = {&part};
    Streamhouse__V1__FetchRequest small = STREAMHOUSE__V1__FETCH_REQUEST__INIT;
    part.topic = (char *)(uintptr_t) "orders";
    part.partition = 1;
    small.partitions = list;
    small.n_partitions = 1;
    Streamhouse__V1__FetchResponse *response = client_call(&reader, other, path, &small.base,
                                                           &streamhouse__v1__fetch_response__descriptor);
    assert_non_null(response);
    streamhouse__v1__fetch_response__free_unpacked(response, NULL);
    client_free(&reader);

    bool taken = false;
    int64_t deadline_ms = sh_clock_now_ms() + WAIT_MS;
    while (!taken && sh_clock_now_ms() < deadline_ms) {
        ask_for_records(&reader, other, path);
        taken = takes_the_record(&reader);
        client_wait(&reader);
        client_free(&reader);
    }
    assert_true(taken);
    expect_cut_off(&stalled[0]);
    for (int i = 0; i < STALLED; i++)
        client_free(&stalled[i]);
    grpc_channel_destroy(other);
}

/* Room is taken for all of an answer before it is made, not for its payload alone. */
static void an_answer_is_no_larger_than_its_room(void **state)
{
    (void)state;
    ShFetchPart parts[2] = {
        {.log_start = INT64_MAX, .high_watermark = INT64_MAX, .next_offset = INT64_MAX, .epoch = INT64_MAX},
    };
    parts[0].target = (ShTarget){.topic = "orders", .topic_length = 6, .partition = INT32_MAX};
    parts[0].target.topic_id = fake_topic_id;
    parts[1] = parts[0];
    (void)sh_fail(&parts[1].error, SH_NOT_OWNER, "partition orders-3 is not owned by this agent");
    fake_redirect(&parts[1].redirect);
    ShFetchRequest request = {.fetch = {.parts = parts, .part_count = 2}};
    int64_t bytes = sh_fetch_request_bytes(&request, false);
    grpc_byte_buffer *answer = sh_fetch_request_answer(&request, false);
    assert_in_range(grpc_byte_buffer_length(answer), 100, bytes);
    grpc_byte_buffer_destroy(answer);
}

/* --- ProduceStreams whose answers are not taken */

enum { NAMELESS = 2000 };

/* A request of parts that name nothing: two bytes each, and some hundred of the answer. */
static void send_nameless(ClientCall *client)
{
    static char request[2 * NAMELESS];
    for (size_t i = 0; i < sizeof request; i += 2)
        memcpy(request + i, "\x12\x00", 2);
    assert_true(client_send_raw(client, request, sizeof request));
}

static void open_produce_stream(ClientCall *client, Fixture *fixture)
{
    client_open(client, fixture->channel, "/streamhouse.v1.StreamHouse/ProduceStream", 2 * CLIENT_TIMEOUT_MS);
}

static int64_t answers_bytes(Fixture *fixture)
{
    ShRoom *room = &fixture->rpc->answers_room;
    pthread_mutex_lock(&room->mutex);
    int64_t bytes = room->bytes;
    pthread_mutex_unlock(&room->mutex);
    return bytes;
}

static void answers_of_produce_streams_are_bounded(void **state)
{
    enum { STREAMS = 40 };
    Fixture *fixture = *state;
    ClientCall clients[STREAMS];
    for (unsigned i = 0; i < STREAMS; i++) {
        open_produce_stream(&clients[i], fixture);
        send_nameless(&clients[i]);
        WAIT_UNTIL(atomic_load(&fixture->rpc->answers) > i);
    }
    WAIT_UNTIL(answers_bytes(fixture) > 1 << 20);
    assert_in_range(answers_bytes(fixture), 1 << 20, fixture->config.memory_budget_bytes / 4);
    for (int i = 0; i < STREAMS; i++) {
        grpc_call_cancel(clients[i].call, NULL);
        client_free(&clients[i]);
    }
    WAIT_UNTIL(answers_bytes(fixture) == 0);
}

typedef struct Clock {
    ShWake wake;
    atomic_bool done;
} Clock;

static void let_time_pass(ShWake *wake)
{
    Clock *clock = (Clock *)wake;
    ShWorker *worker = wake->call->worker;
    int64_t now_us = sh_clock_now_us();
    for (int minutes = 1; minutes <= 3; minutes++) {
        ShCall *next;
        for (ShCall *call = TAILQ_FIRST(&worker->timed); call != NULL; call = next) {
            next = TAILQ_NEXT(call, timed_link);
            sh_call_check_time(call, now_us + minutes * SH_CALL_ANSWER_TIMEOUT_US + 1);
        }
    }
    atomic_store(&clock->done, true);
}

/* NULL: it has none. */
static ShCall *a_stream_of(ShWorker *worker)
{
    pthread_mutex_lock(&worker->listeners_mutex);
    ShCall *call = TAILQ_FIRST(&worker->listeners);
    pthread_mutex_unlock(&worker->listeners_mutex);
    return call;
}

/* Minutes pass: who has taken no answer since is ended, who has taken all is not. */
static void a_produce_stream_that_stalls_is_ended(void **state)
{
    Fixture *fixture = *state;
    ClientCall stalls, takes;
    size_t length;
    open_produce_stream(&takes, fixture);
    send_nameless(&takes);
    gpr_free(client_receive_raw(&takes, &length));
    WAIT_UNTIL(answers_bytes(fixture) == 0);
    open_produce_stream(&stalls, fixture);
    send_nameless(&stalls);
    WAIT_UNTIL(answers_bytes(fixture) > 100 * NAMELESS / 2);
    for (size_t i = 0; i < fixture->rpc->worker_count; i++) {
        Clock clock = {.wake = {.run = let_time_pass, .call = a_stream_of(&fixture->rpc->workers[i])}};
        if (clock.wake.call != NULL) {
            sh_worker_post(&clock.wake);
            WAIT_UNTIL(atomic_load(&clock.done));
        }
    }
    WAIT_UNTIL(answers_bytes(fixture) == 0);
    assert_null(client_receive_raw(&stalls, &length));
    assert_int_equal(client_wait(&stalls), GRPC_STATUS_CANCELLED);
    send_nameless(&takes);
    uint8_t *answer = client_receive_raw(&takes, &length);
    assert_non_null(answer);
    gpr_free(answer);
    client_close(&takes);
    assert_int_equal(client_wait(&takes), GRPC_STATUS_OK);
    client_free(&takes);
    client_free(&stalls);
}

static atomic_llong kept_bytes;

static void note_kept_bytes(ShCheckJob *job, ShCheckTools *tools)
{
    (void)job;
    atomic_store(&kept_bytes, (long long)(tools->scratch.capacity + tools->encoded.capacity));
}

/* A thread gives the memory for large records back when it has unfolded them. */
static void large_records_leave_nothing_behind(void **state)
{
    Fixture *fixture = *state;
    ClientCall reader;
    produce_wide(fixture);
    ask_for_records(&reader, fixture->channel, "/streamhouse.v1.StreamHouse/Fetch");
    assert_true(takes_the_record(&reader));
    assert_int_equal(client_wait(&reader), GRPC_STATUS_OK);
    client_free(&reader);
    ShCheckJob job = {.run = note_kept_bytes};
    atomic_store(&kept_bytes, -1);
    sh_checker_submit(fixture->rpc->checker, &job, NULL);
    WAIT_UNTIL(atomic_load(&kept_bytes) >= 0);
    assert_in_range(atomic_load(&kept_bytes), 0, 1 << 20);
}

/* --- who waits for whom, without a server */

enum { HOSTS = 4, MEGABYTE = 1 << 20 };

/* A room of 128 MB, and some hosts that want something of it. */
typedef struct Hall {
    ShRoom room;
    ShWorker worker; /* does not run: its inbox holds whom the room has woken, and `stopper` */
    ShWake stopper;
    ShHost hosts[HOSTS];
    ShConnection connections[HOSTS];
    ShCall calls[HOSTS];
} Hall;

typedef struct Guest {
    ShRoomShare share;
    ShWake wake;
    ShCall *call;
} Guest;

static int hall_set_up(void **state)
{
    Hall *hall = calloc(1, sizeof *hall);
    sh_room_init(&hall->room, "hall", 128 * MEGABYTE, true);
    atomic_init(&hall->worker.inbox, &hall->stopper);
    for (int i = 0; i < HOSTS; i++) {
        hall->hosts[i].key[15] = (uint8_t)i;
        hall->connections[i].host = &hall->hosts[i];
        hall->calls[i].connection = &hall->connections[i];
        hall->calls[i].worker = &hall->worker;
    }
    *state = hall;
    return 0;
}

static int hall_tear_down(void **state)
{
    Hall *hall = *state;
    assert_int_equal(hall->room.bytes, 0);
    assert_int_equal(hall->room.waiting, 0);
    sh_room_destroy(&hall->room);
    free(hall);
    return 0;
}

#define HALL_TEST(name) cmocka_unit_test_setup_teardown(name, hall_set_up, hall_tear_down)

static bool take(Hall *hall, Guest *guest, int host, int64_t megabytes)
{
    guest->call = &hall->calls[host];
    return sh_room_take(&hall->room, &guest->share, guest->call, megabytes * MEGABYTE, false);
}

/* As one who has waited for so long already. */
static void wait_for_room(Hall *hall, Guest *guest, int host, int64_t megabytes, int64_t seconds)
{
    guest->call = &hall->calls[host];
    guest->wake.call = guest->call;
    sh_room_wait(&hall->room, &guest->share, guest->call, megabytes * MEGABYTE, &guest->wake);
    guest->share.waits_since_us -= seconds * 1000000;
}

static bool waits(const Guest *guest)
{
    return guest->share.wake != NULL;
}

static void leave(Hall *hall, Guest *guest)
{
    sh_room_release(&hall->room, &guest->share);
}

/* The first host has something, so it may have no more while half is taken; another may. */
static void who_holds_itself_back_holds_no_other_back(void **state)
{
    Hall *hall = *state;
    Guest first = {0}, large = {0}, greedy = {0}, other = {0}, last = {0};
    assert_true(take(hall, &first, 0, 3));
    assert_true(take(hall, &large, 1, 67));
    assert_false(take(hall, &greedy, 0, 1));
    wait_for_room(hall, &greedy, 0, 1, 0);
    assert_true(waits(&greedy));
    assert_true(take(hall, &other, 2, 50));
    leave(hall, &other);
    wait_for_room(hall, &last, 3, 50, 0);
    assert_false(waits(&last));
    assert_true(waits(&greedy));
    leave(hall, &large);
    assert_false(waits(&greedy));
    leave(hall, &greedy);
    leave(hall, &first);
    leave(hall, &last);
}

/* Small answers go before a large one, but not for ever. */
static void who_has_waited_for_long_is_next(void **state)
{
    Hall *hall = *state;
    Guest holder = {0}, large = {0}, small = {0}, next = {0}, another = {0};
    assert_true(take(hall, &holder, 0, 70));
    wait_for_room(hall, &large, 1, 60, 4);
    assert_true(take(hall, &small, 2, 10));
    leave(hall, &small);
    large.share.waits_since_us -= 1000000;
    assert_false(take(hall, &small, 2, 10));
    wait_for_room(hall, &small, 2, 10, 0);
    assert_true(waits(&small));
    assert_true(waits(&large));
    leave(hall, &holder);
    assert_false(waits(&small));
    assert_false(waits(&large));

    /* Another of its host has waited for as long, but the host has had something just now. */
    wait_for_room(hall, &next, 1, 120, 6);
    leave(hall, &large);
    assert_true(waits(&next));
    assert_true(take(hall, &another, 3, 10));
    leave(hall, &another);
    leave(hall, &small);
    assert_false(waits(&next));
    leave(hall, &next);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SMALL_TEST(long_polls_of_many_partitions_are_bounded),
        ROOM_TEST(streams_wait_for_room),
        ROOM_TEST(answers_that_stall_make_room),
        ROOM_TEST(an_answer_is_no_larger_than_its_room),
        ROOM_TEST(answers_of_produce_streams_are_bounded),
        ROOM_TEST(a_produce_stream_that_stalls_is_ended),
        ROOM_TEST(large_records_leave_nothing_behind),
        HALL_TEST(who_holds_itself_back_holds_no_other_back),
        HALL_TEST(who_has_waited_for_long_is_next),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
