/* load_test.c - the loads run against the bench's own upstream, and see what is lost. */
#include "bench/load.h"
#include "bench/upstream.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

enum { N_EVENTS = 5 };

static struct fixture {
    struct loop *loop;
    struct upstream *upstream;
    struct requests requests;
    struct load_options options;
    struct streams_result streams;
    struct round_trips_result trips;
} f;

static int start(void **state) {
    (void)state;
    f = (struct fixture){0};
    signal(SIGPIPE, SIG_IGN);
    f.loop = loop_new();
    f.upstream = upstream_new(
        f.loop, &(struct upstream_options){.n_events = N_EVENTS, .gap_ns = NS_PER_MS / 2});
    int port;
    struct problem why;
    assert_int_equal(upstream_listen(f.upstream, "127.0.0.1", 0, &port, &why), ST_OK);
    f.options = (struct load_options){.target = {.host = "127.0.0.1",
                                                 .port = port,
                                                 .connect_ms = 2000,
                                                 .first_byte_ms = 2000,
                                                 .stall_ms = 2000,
                                                 .idle_ms = 2000},
                                      .n_at_once = 3,
                                      .is_silent = true};
    return 0;
}

static int stop(void **state) {
    (void)state;
    requests_destroy(&f.requests);
    upstream_free(f.upstream);
    loop_free(f.loop);
    return 0;
}

static void make_request(bool is_stream) {
    requests_make(&f.requests, &(struct requests_words){.authority = STR("localhost"),
                                                        .path = STR("/v1/chat/completions"),
                                                        .api_key = STR("k"),
                                                        .model = STR("m"),
                                                        .n_words = 3,
                                                        .max_tokens = 9,
                                                        .is_stream = is_stream});
}

static void counts_every_event_of_every_stream(void **state) {
    (void)state;
    make_request(true);
    f.options.expected_events = N_EVENTS + 1; /* and [DONE] */
    streams_run(f.loop, &f.options, &f.requests, &f.streams);
    assert_int_equal(f.streams.n_begun, 3);
    assert_int_equal(f.streams.n_whole, 3);
    assert_int_equal(f.streams.most_at_once, 3);
    assert_int_equal(f.streams.n_events, 3 * (N_EVENTS + 1));
    assert_int_equal(f.streams.n_events_lost + f.streams.n_events_extra, 0);
    assert_int_equal(f.streams.added.n, 3 * N_EVENTS);
    assert_int_equal(f.streams.first.n, 3);
    /* The upstream's gap is a promise: no event comes before its time. */
    assert_true(f.streams.gap.sum_ns >= (int64_t)3 * (N_EVENTS - 1) * NS_PER_MS / 4);
}

static void says_how_many_events_are_missing(void **state) {
    (void)state;
    make_request(true);
    f.options.expected_events = N_EVENTS + 3;
    streams_run(f.loop, &f.options, &f.requests, &f.streams);
    assert_int_equal(f.streams.n_whole, 3);
    assert_int_equal(f.streams.n_events_lost, 3 * 2);
}

static void begins_anew_until_the_count_is_reached(void **state) {
    (void)state;
    make_request(true);
    f.options.duration_ms = 5000;
    f.options.count = 7;
    streams_run(f.loop, &f.options, &f.requests, &f.streams);
    assert_int_equal(f.streams.n_begun, 7);
    assert_int_equal(f.streams.n_whole, 7);
}

static void begins_by_the_clock_and_skips_what_has_no_place(void **state) {
    (void)state;
    make_request(true);
    f.options.n_at_once = 1;
    f.options.rate = 1000; /* a stream takes 2.5 ms and more */
    f.options.duration_ms = 30;
    streams_run(f.loop, &f.options, &f.requests, &f.streams);
    assert_int_equal(f.streams.n_begun + f.streams.n_skipped, 30);
    assert_true(f.streams.n_skipped > 10);
    assert_int_equal(f.streams.n_whole, f.streams.n_begun);
}

static void an_answer_that_is_no_stream_is_a_lost_stream(void **state) {
    (void)state;
    make_request(false);
    streams_run(f.loop, &f.options, &f.requests, &f.streams);
    assert_int_equal(f.streams.n_whole, 0);
    assert_int_equal(f.streams.n_lost, 3);
    assert_true(f.streams.first_problem.message[0] != '\0');
}

static void counts_round_trips(void **state) {
    (void)state;
    make_request(false);
    f.options.count = 50;
    round_trips_run(f.loop, &f.options, &f.requests, &f.trips);
    assert_int_equal(f.trips.n_done, 50);
    assert_int_equal(f.trips.n_not_2xx + f.trips.n_failed, 0);
    assert_int_equal(f.trips.latency.n, 50);
}

static void a_server_that_is_not_there_fails_each_request(void **state) {
    (void)state;
    make_request(false);
    f.options.count = 4;
    f.options.target.port = 1;
    round_trips_run(f.loop, &f.options, &f.requests, &f.trips);
    assert_int_equal(f.trips.n_done, 0);
    assert_int_equal(f.trips.n_failed, 4);
}

/* --- texts --- */

static void reads_a_stamp_and_no_other_id(void **state) {
    (void)state;
    int64_t number, at_ns;
    assert_true(upstream_stamp(STR("{\"id\":\"bench-000017-0000000000000000042\",\"x\":1}"),
                               &number, &at_ns));
    assert_int_equal(number, 17);
    assert_int_equal(at_ns, 42);
    assert_false(
        upstream_stamp(STR("{\"id\":\"chatcmpl-000017-0000000000000000042\"}"), &number, &at_ns));
    assert_false(upstream_stamp(STR("{\"id\":\"bench-000017-00000000000000000"), &number, &at_ns));
    assert_false(
        upstream_stamp(STR("{\"id\":\"bench-0000x7-0000000000000000042\"}"), &number, &at_ns));
    assert_false(upstream_stamp(STR("[DONE]"), &number, &at_ns));
}

/* What requests_read makes of a file with this text. */
static enum status read_text(const char *text, struct requests *r, struct problem *why) {
    char path[] = "/tmp/weir-requests-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    enum status st = requests_read(r, path, why);
    unlink(path);
    return st;
}

static void reads_requests_by_their_lengths(void **state) {
    (void)state;
    struct requests r;
    struct problem why = {0};
    assert_int_equal(read_text("3\na\nb5\n12345", &r, &why), ST_OK);
    assert_int_equal(r.n, 2);
    assert_true(str_eq(requests_next(&r), STR("a\nb")));
    assert_true(str_eq(requests_next(&r), STR("12345")));
    assert_true(str_eq(requests_next(&r), STR("a\nb")));
    requests_destroy(&r);
}

static void refuses_files_that_are_cut_or_empty(void **state) {
    (void)state;
    static const char *const texts[] = {"", "4\nabc", "x\nabc", "0\n", "-1\na", "3\nabc3\n"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct requests r;
        struct problem why = {0};
        assert_int_equal(read_text(texts[i], &r, &why), ST_BAD_REQUEST);
        assert_true(why.message[0] != '\0');
        requests_destroy(&r);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(counts_every_event_of_every_stream, start, stop),
        cmocka_unit_test_setup_teardown(says_how_many_events_are_missing, start, stop),
        cmocka_unit_test_setup_teardown(begins_anew_until_the_count_is_reached, start, stop),
        cmocka_unit_test_setup_teardown(begins_by_the_clock_and_skips_what_has_no_place, start,
                                        stop),
        cmocka_unit_test_setup_teardown(an_answer_that_is_no_stream_is_a_lost_stream, start, stop),
        cmocka_unit_test_setup_teardown(counts_round_trips, start, stop),
        cmocka_unit_test_setup_teardown(a_server_that_is_not_there_fails_each_request, start, stop),
        cmocka_unit_test(reads_a_stamp_and_no_other_id),
        cmocka_unit_test(reads_requests_by_their_lengths),
        cmocka_unit_test(refuses_files_that_are_cut_or_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
