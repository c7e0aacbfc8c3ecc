/* physics_test.c - slots, queue, prefill, decode and the knee, on a virtual clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sim/physics.h"

/* 1,000 prompt tokens/s, 100 tokens/s, 50 ms in front. */
static struct physics_profile a_profile(void) {
    return (struct physics_profile){
        .prefill_mtps = 1000 * 1000, .decode_mtps = 100 * 1000, .base_latency_ns = 50 * NS_PER_MS};
}

/* Runs one call of n tokens alone from `at`; the moment of its last token. */
static int64_t run_alone(struct physics *p, int64_t at, int64_t prompt, int64_t extra, int n) {
    struct physics_call c = {0};
    assert_true(physics_arrive(p, &c, at, prompt, extra, 1));
    int64_t now = at;
    for (int i = 0; i < n; i++) {
        now = physics_due_ns(p);
        assert_ptr_equal(physics_next(p, now), &c);
        if (i < n - 1)
            physics_step(p, &c, now);
    }
    physics_leave(p, &c, now);
    return now;
}

static void first_token_takes_latency_and_prefill_and_others_the_rate(void **state) {
    (void)state;
    struct physics p;
    struct physics_profile profile = a_profile();
    physics_init(&p, &profile);
    assert_int_equal(run_alone(&p, 0, 200, 0, 1), 250 * NS_PER_MS);
    assert_int_equal(run_alone(&p, NS_PER_S, 200, 0, 11), NS_PER_S + 350 * NS_PER_MS);
    assert_int_equal(run_alone(&p, 0, 0, 7, 1), 50 * NS_PER_MS + 7);
    assert_int_equal(physics_due_ns(&p), INT64_MAX);
    physics_destroy(&p);
}

static void nothing_comes_before_its_time(void **state) {
    (void)state;
    struct physics p;
    struct physics_profile profile = a_profile();
    physics_init(&p, &profile);
    struct physics_call c = {0};
    assert_true(physics_arrive(&p, &c, 0, 0, 0, 1));
    assert_null(physics_next(&p, 50 * NS_PER_MS - 1));
    assert_ptr_equal(physics_next(&p, 50 * NS_PER_MS), &c);
    assert_null(physics_next(&p, INT64_MAX));
    physics_leave(&p, &c, 0);
    physics_destroy(&p);
}

static void an_instant_profile_takes_no_time(void **state) {
    (void)state;
    struct physics p;
    struct physics_profile profile;
    assert_true(physics_find(STR("instant"), &profile));
    physics_init(&p, &profile);
    assert_int_equal(run_alone(&p, 5, 1000000, 0, 1000), 5);
    physics_destroy(&p);
    assert_false(physics_find(STR("instantly"), &profile));
}

static void every_named_profile_is_there(void **state) {
    (void)state;
    struct str rest = physics_names(), name;
    struct physics_profile profile;
    int n = 0;
    while (str_cut(&rest, ',', &name)) {
        assert_true(physics_find(str_trim(name), &profile));
        n++;
    }
    assert_true(n >= 4);
}

static void a_time_scale_shortens_everything_alike(void **state) {
    (void)state;
    struct physics p;
    struct physics_profile profile = a_profile();
    physics_scale(&profile, 10);
    physics_init(&p, &profile);
    assert_int_equal(run_alone(&p, 0, 200, 0, 11), 35 * NS_PER_MS);
    physics_destroy(&p);
    profile.decode_mtps = 3;
    physics_scale(&profile, 0.001);
    assert_int_equal(profile.decode_mtps, 1); /* slow, but not "no time at all" */
}

static void slots_are_given_in_order_of_arrival(void **state) {
    (void)state;
    enum { N = 6 };
    struct physics p;
    struct physics_profile profile = a_profile();
    profile.slots = 2;
    profile.queue = N;
    physics_init(&p, &profile);
    struct physics_call c[N] = {0};
    for (int i = 0; i < N; i++)
        assert_true(physics_arrive(&p, &c[i], i, 0, 0, 1));
    assert_int_equal(p.n_working, 2);
    assert_int_equal(p.n_waiting, N - 2);
    int64_t now = 0;
    for (int i = 0; i < N; i++) {
        now = physics_due_ns(&p);
        assert_ptr_equal(physics_next(&p, now), &c[i]);
        physics_leave(&p, &c[i], now);
        assert_int_equal(p.n_working, N - 1 - i < 2 ? N - 1 - i : 2);
    }
    /* Three rounds of two, each as long as the base latency. */
    assert_int_equal(now, 3 * 50 * NS_PER_MS + 1);
    physics_destroy(&p);
}

static void refuses_when_the_queue_is_full_and_takes_again_after(void **state) {
    (void)state;
    struct physics p;
    struct physics_profile profile = a_profile();
    profile.slots = 1;
    profile.queue = 1;
    physics_init(&p, &profile);
    struct physics_call c[3] = {0};
    assert_true(physics_arrive(&p, &c[0], 0, 0, 0, 1));
    assert_true(physics_arrive(&p, &c[1], 0, 0, 0, 1));
    assert_false(physics_arrive(&p, &c[2], 0, 0, 0, 1));
    assert_int_equal(c[2].state, PHYSICS_OUT);
    physics_leave(&p, &c[1], 0); /* gives up while it waits */
    assert_true(physics_arrive(&p, &c[2], 0, 0, 0, 1));
    physics_leave(&p, &c[0], 0);
    assert_int_equal(c[2].state, PHYSICS_PREFILL);
    physics_leave(&p, &c[2], 0);
    assert_int_equal(p.n_working + p.n_waiting + p.n_decoding, 0);
    physics_destroy(&p);
}

static void a_call_that_leaves_frees_its_slot_at_once(void **state) {
    (void)state;
    struct physics p;
    struct physics_profile profile = a_profile();
    profile.slots = 1;
    profile.queue = 1;
    physics_init(&p, &profile);
    struct physics_call a = {0}, b = {0};
    assert_true(physics_arrive(&p, &a, 0, 0, 0, 1));
    assert_true(physics_arrive(&p, &b, 0, 0, 0, 1));
    physics_leave(&p, &a, 10 * NS_PER_MS); /* amid its prefill */
    assert_int_equal(physics_due_ns(&p), 60 * NS_PER_MS);
    assert_ptr_equal(physics_next(&p, 60 * NS_PER_MS), &b);
    physics_leave(&p, &b, 60 * NS_PER_MS);
    physics_destroy(&p);
}

static void above_the_knee_the_total_is_shared(void **state) {
    (void)state;
    enum { KNEE = 4, N = 12, TOKENS = 30 };
    struct physics p;
    struct physics_profile profile = a_profile();
    profile.knee = KNEE;
    physics_init(&p, &profile);
    struct physics_call c[N] = {0};
    for (int i = 0; i < N; i++)
        assert_true(physics_arrive(&p, &c[i], 0, 0, 0, 1));
    int64_t now = 50 * NS_PER_MS;
    struct physics_call *one;
    for (int i = 0; i < N; i++) {
        one = physics_next(&p, now);
        assert_non_null(one);
    }
    assert_int_equal(p.n_decoding, N);
    assert_int_equal(physics_interval_ns(&p), 10 * NS_PER_MS * N / KNEE);
    for (int i = 0; i < N; i++)
        physics_step(&p, &c[i], now);
    int64_t start = now, given = 0;
    while (given < N * TOKENS) {
        now = physics_due_ns(&p);
        while ((one = physics_next(&p, now))) {
            given++;
            physics_step(&p, one, now);
        }
    }
    /* 12 streams give what 4 would give at full speed: 400 tokens a second. */
    assert_int_equal(now - start, given * NS_PER_S / (KNEE * 100));

    for (int i = KNEE; i < N; i++)
        physics_leave(&p, &c[i], now);
    assert_int_equal(physics_interval_ns(&p), 10 * NS_PER_MS);
    for (int i = 0; i < KNEE; i++)
        physics_leave(&p, &c[i], now);
    physics_destroy(&p);
}

static void the_width_of_a_call_counts(void **state) {
    (void)state;
    struct physics p;
    struct physics_profile profile = a_profile();
    profile.knee = 1;
    physics_init(&p, &profile);
    struct physics_call c = {0};
    assert_true(physics_arrive(&p, &c, 0, 0, 0, 3));
    assert_int_equal(p.n_decoding, 0); /* not before its prefill is done */
    assert_ptr_equal(physics_next(&p, NS_PER_S), &c);
    assert_int_equal(physics_interval_ns(&p), 30 * NS_PER_MS);
    physics_set_width(&p, &c, 1);
    assert_int_equal(physics_interval_ns(&p), 10 * NS_PER_MS);
    physics_leave(&p, &c, NS_PER_S);
    assert_int_equal(p.n_decoding, 0);
    physics_destroy(&p);
}

static void a_held_call_keeps_its_slot_and_slows_nobody(void **state) {
    (void)state;
    struct physics p;
    struct physics_profile profile = a_profile();
    profile.knee = 1;
    profile.slots = 2;
    physics_init(&p, &profile);
    struct physics_call a = {0}, b = {0}, c = {0};
    assert_true(physics_arrive(&p, &a, 0, 0, 0, 1));
    assert_true(physics_arrive(&p, &b, 0, 0, 0, 1));
    assert_non_null(physics_next(&p, NS_PER_S));
    assert_non_null(physics_next(&p, NS_PER_S));
    physics_hold(&p, &a);
    assert_int_equal(physics_interval_ns(&p), 10 * NS_PER_MS);
    assert_int_equal(physics_due_ns(&p), INT64_MAX);
    assert_false(physics_arrive(&p, &c, NS_PER_S, 0, 0, 1));
    physics_resume(&p, &a, 2 * NS_PER_S);
    assert_int_equal(physics_due_ns(&p), 2 * NS_PER_S + 20 * NS_PER_MS);
    physics_hold(&p, &b);
    physics_leave(&p, &b, 2 * NS_PER_S);
    physics_leave(&p, &a, 2 * NS_PER_S);
    assert_int_equal(p.n_working + p.n_decoding, 0);
    physics_destroy(&p);
}

static void late_wakeups_do_not_add_up_but_a_long_lag_is_forgotten(void **state) {
    (void)state;
    struct physics p;
    struct physics_profile profile = a_profile();
    physics_init(&p, &profile);
    struct physics_call c = {0};
    assert_true(physics_arrive(&p, &c, 0, 0, 0, 1));
    for (int i = 0; i < 100; i++) {
        int64_t due = 50 * NS_PER_MS + i * 10 * NS_PER_MS;
        assert_int_equal(physics_due_ns(&p), due);
        assert_non_null(physics_next(&p, due + NS_PER_MS)); /* always 1 ms late */
        physics_step(&p, &c, due + NS_PER_MS);
    }
    int64_t late = physics_due_ns(&p) + 500 * NS_PER_MS;
    assert_non_null(physics_next(&p, late));
    physics_step(&p, &c, late);
    assert_int_equal(physics_due_ns(&p), late + 10 * NS_PER_MS);
    physics_leave(&p, &c, late);
    physics_destroy(&p);
}

/* Whatever happens in whatever order: calls wait only while the slots are taken, and the sums agree. */
static void sums_agree_after_any_history(void **state) {
    (void)state;
    enum { N = 40, SLOTS = 8, QUEUE = 10 };
    struct physics p;
    struct physics_profile profile = a_profile();
    profile.knee = 3;
    profile.slots = SLOTS;
    profile.queue = QUEUE;
    physics_init(&p, &profile);
    struct physics_call c[N] = {0};
    uint32_t r = 1;
    int64_t now = 0;
    for (int step = 0; step < 20000; step++) {
        r = r * 1664525 + 1013904223;
        struct physics_call *one = &c[(r >> 8) % N];
        now += (r >> 16) % (20 * 1000 * 1000);
        if (one->state == PHYSICS_OUT) {
            bool is_full = p.n_working == SLOTS && p.n_waiting == QUEUE;
            assert_int_equal(physics_arrive(&p, one, now, r % 100, 0, 1 + (int)(r % 3)), !is_full);
        } else if (one->state == PHYSICS_HELD && r % 2) {
            physics_resume(&p, one, now);
        } else if (r % 5 == 0) {
            physics_leave(&p, one, now);
        }
        while ((one = physics_next(&p, now))) {
            if (r % 7 == 0)
                physics_hold(&p, one);
            else
                physics_step(&p, one, now);
            r = r * 1664525 + 1013904223;
        }
        int64_t working = 0, waiting = 0, decoding = 0;
        for (int i = 0; i < N; i++) {
            working += c[i].state != PHYSICS_OUT && c[i].state != PHYSICS_WAITING;
            waiting += c[i].state == PHYSICS_WAITING;
            decoding += c[i].state == PHYSICS_DECODING ? c[i].width : 0;
        }
        assert_int_equal(working, p.n_working);
        assert_int_equal(waiting, p.n_waiting);
        assert_int_equal(decoding, p.n_decoding);
        assert_true(waiting == 0 || working == SLOTS);
        assert_true(physics_due_ns(&p) > now);
    }
    for (int i = 0; i < N; i++)
        physics_leave(&p, &c[i], now);
    assert_int_equal(physics_due_ns(&p), INT64_MAX);
    physics_destroy(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_token_takes_latency_and_prefill_and_others_the_rate),
        cmocka_unit_test(nothing_comes_before_its_time),
        cmocka_unit_test(an_instant_profile_takes_no_time),
        cmocka_unit_test(every_named_profile_is_there),
        cmocka_unit_test(a_time_scale_shortens_everything_alike),
        cmocka_unit_test(slots_are_given_in_order_of_arrival),
        cmocka_unit_test(refuses_when_the_queue_is_full_and_takes_again_after),
        cmocka_unit_test(a_call_that_leaves_frees_its_slot_at_once),
        cmocka_unit_test(above_the_knee_the_total_is_shared),
        cmocka_unit_test(the_width_of_a_call_counts),
        cmocka_unit_test(a_held_call_keeps_its_slot_and_slows_nobody),
        cmocka_unit_test(late_wakeups_do_not_add_up_but_a_long_lag_is_forgotten),
        cmocka_unit_test(sums_agree_after_any_history),
    };
    return cmocka_run_group_tests_name("physics", tests, NULL, NULL);
}
