/* bucket_test.c - the provisioned word against slow and obvious models of the same law. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "admit/bucket.h"
#include "base/wide.h"
#include "support/random.h"

#define SEED 20261122

static int64_t time_of(void *arg) {
    return *(int64_t *)arg;
}

static struct bucket_verdict admit_at(struct bucket *b, int64_t t, int64_t cost) {
    return bucket_admit(b, cost, &(struct clock){time_of, &t});
}

static int64_t adjust_at(struct bucket *b, int64_t t, int64_t delta) {
    return bucket_adjust(b, delta, &(struct clock){time_of, &t});
}

static int64_t mark(const struct bucket *b) {
    return atomic_load(&b->finish_mt);
}

/* Rates from one mt a minute to the largest of the spec, most of which divide nothing. */
static int64_t any_rate(struct random *r) {
    static const int64_t rates[] = {1, 37, 999983, 37500000, 5940000000000};
    if (random_once_in(r, 2))
        return rates[random_below(r, (int64_t)ARRAY_LEN(rates))];
    return random_between(r, 1, 100000000000);
}

/* A span of anything from one ns to `most`, each order of magnitude as likely. */
static int64_t any_span(struct random *r, int64_t most) {
    int64_t limit = 10;
    while (limit < most && !random_once_in(r, 8))
        limit *= 10;
    return random_below(r, i64_min(limit, most));
}

static void a_rebase_is_never_noticed_and_service_never_falls(void **state) {
    (void)state;
    struct random r = {SEED};
    for (int round = 0; round < 300; round++) {
        int64_t rate = any_rate(&r), t0 = any_span(&r, 1000000000000), t = t0, last = 0;
        struct bucket plain, rebased;
        bucket_init(&plain, rate, 60000, t0);
        bucket_init(&rebased, rate, 60000, t0);
        for (int i = 0; i < 40; i++) {
            t += any_span(&r, 10000000000000);
            bucket_rebase(&rebased, t);
            int64_t exact = (int64_t)((i128)rate * (t - t0) / NS_PER_MIN);
            assert_int_equal(bucket_served_mt(&plain, t), exact);
            assert_int_equal(bucket_served_mt(&rebased, t), exact);
            assert_true(exact >= last);
            last = exact;
        }
    }
}

static void refuses_one_ms_early_and_admits_on_time(void **state) {
    (void)state;
    struct random r = {SEED + 1};
    static const int64_t windows[] = {137, 1000, 10000, 60000};
    int n_refused = 0;
    for (int round = 0; round < 20000; round++) {
        struct bucket b;
        bucket_init(&b, any_rate(&r), windows[random_below(&r, 4)], 0);
        int64_t t = any_span(&r, 1000000000000), depth = bucket_depth_mt(&b);
        assert_true(admit_at(&b, t, depth + random_below(&r, 5 * depth + 1)).admitted);
        t += any_span(&r, 10000000);
        if (random_once_in(&r, 4))
            bucket_rebase(&b, t);
        int64_t before = mark(&b);
        struct bucket_verdict v = admit_at(&b, t, 1);
        if (v.admitted)
            continue;
        n_refused++;
        assert_int_equal(mark(&b), before);
        assert_int_equal(v.level_mt, bucket_level_mt(&b, t));
        assert_int_equal(v.level_before_mt, v.level_mt);
        assert_int_equal(v.retry_after_ms, bucket_retry_after_ms(&b, t));
        assert_true(v.retry_after_ms >= 1);
        if (v.retry_after_ms > 1)
            assert_false(admit_at(&b, t + (v.retry_after_ms - 1) * NS_PER_MS, 1).admitted);
        else
            assert_false(admit_at(&b, t, 1).admitted);
        assert_true(admit_at(&b, t + v.retry_after_ms * NS_PER_MS, 1).admitted);
    }
    assert_true(n_refused > 10000);
}

static void the_call_that_crosses_the_line_is_the_last(void **state) {
    (void)state;
    struct bucket b;
    bucket_init(&b, 60000, 60000, 0); /* one mt a ms, depth 60000 */
    assert_true(admit_at(&b, 0, 59999).admitted);
    struct bucket_verdict v = admit_at(&b, 0, 100000); /* below 100 % by one mt */
    assert_true(v.admitted);
    assert_int_equal(v.level_before_mt, 59999);
    assert_int_equal(v.level_mt, 159999);
    assert_int_equal(v.util_ppm, 2666650);
    v = admit_at(&b, 0, 1);
    assert_false(v.admitted);
    assert_int_equal(v.util_ppm, 2666650);
    assert_int_equal(v.retry_after_ms, 100000); /* at exactly 60000 it is still full */
    struct bucket full;
    bucket_init(&full, 60000, 60000, 0);
    assert_true(admit_at(&full, 0, 60000).admitted);
    assert_false(admit_at(&full, 0, 1).admitted);
    assert_true(admit_at(&full, NS_PER_MS, 1).admitted);
}

static void work_stays_below_depth_and_one_cost(void **state) {
    (void)state;
    struct random r = {SEED + 2};
    for (int round = 0; round < 200; round++) {
        struct bucket b;
        bucket_init(&b, 37500000, 10000, 0);
        int64_t depth = bucket_depth_mt(&b), t = 0, most = 0;
        for (int i = 0; i < 200; i++) {
            t += random_below(&r, NS_PER_S);
            int64_t cost = random_between(&r, 1, 3 * depth);
            struct bucket_verdict v = admit_at(&b, t, cost);
            assert_int_equal(v.admitted, v.level_before_mt < depth);
            if (v.admitted)
                most = i64_max(most, cost);
            if (random_once_in(&r, 3))
                adjust_at(&b, t, -random_below(&r, cost));
            assert_true(bucket_level_mt(&b, t) < depth + most);
        }
    }
}

static void no_interval_admits_more_than_rate_depth_and_one_cost(void **state) {
    (void)state;
    struct random r = {SEED + 3};
    enum { N = 300 };
    const int64_t rate = 10000000;
    for (int round = 0; round < 60; round++) {
        struct bucket b;
        bucket_init(&b, rate, 5000, 0);
        int64_t times[N], costs[N], t = 0, most = 0;
        int n = 0;
        for (int i = 0; i < N; i++) {
            t += random_below(&r, 4 * 100 * NS_PER_MS);
            int64_t cost = random_between(&r, 1, 2000000);
            if (!admit_at(&b, t, cost).admitted)
                continue;
            times[n] = t;
            costs[n++] = cost;
            most = i64_max(most, cost);
        }
        for (int from = 0; from < n; from++) {
            int64_t sum = 0;
            for (int to = from; to < n; to++) {
                sum += costs[to];
                i128 served = (i128)rate * (times[to] - times[from]) / NS_PER_MIN;
                assert_true(sum <= served + 1 + bucket_depth_mt(&b) + most);
            }
        }
    }
}

static void a_debit_and_its_refund_leave_the_same_word(void **state) {
    (void)state;
    struct random r = {SEED + 4};
    for (int round = 0; round < 3000; round++) {
        struct bucket b;
        bucket_init(&b, 37500000, 60000, 0);
        int64_t t = random_below(&r, NS_PER_S);
        assert_true(admit_at(&b, t, 40000000).admitted);
        int64_t before = mark(&b), x = random_between(&r, 1, 1000000);
        assert_int_equal(adjust_at(&b, t, x), before + x - bucket_served_mt(&b, t));
        adjust_at(&b, t + 5, -x);
        assert_int_equal(mark(&b), before);
    }
}

/* Were the mark pulled up to the service clock by a refund, the work in between would be lost when
 * a later refund meets it: the sum of charges would no longer be in the word. */
static void a_refund_is_never_cut_off(void **state) {
    (void)state;
    struct bucket b;
    bucket_init(&b, 60000000, 1000, 0);
    assert_true(admit_at(&b, 0, 500000).admitted);
    assert_int_equal(adjust_at(&b, NS_PER_S, -300000), 0);
    assert_int_equal(mark(&b), 200000);
    assert_int_equal(adjust_at(&b, NS_PER_S, 0), 0);
    assert_int_equal(mark(&b), 200000);
}

static void idle_time_and_refunds_bank_nothing(void **state) {
    (void)state;
    struct bucket b;
    bucket_init(&b, 60000000, 1000, 0);
    assert_true(admit_at(&b, 0, 1000000).admitted);
    assert_int_equal(adjust_at(&b, NS_PER_S, -50000000), 0);
    assert_int_equal(bucket_util_ppm(&b, NS_PER_S), 0);
    struct bucket_verdict v = admit_at(&b, NS_PER_S, 700000);
    assert_true(v.admitted);
    assert_int_equal(v.level_mt, 700000);
    assert_int_equal(v.level_before_mt, 0);
    int64_t later = 3600 * NS_PER_S;
    assert_int_equal(admit_at(&b, later, 900000).level_mt, 900000);
    assert_int_equal(adjust_at(&b, later + 3600 * NS_PER_S, 5), 5);
}

static void level_and_wait_only_fall_with_time(void **state) {
    (void)state;
    struct random r = {SEED + 5};
    for (int round = 0; round < 5000; round++) {
        struct bucket b, dearer;
        int64_t rate = any_rate(&r), cost = random_below(&r, 1000000000);
        bucket_init(&b, rate, 1000, 0);
        bucket_init(&dearer, rate, 1000, 0);
        assert_true(admit_at(&b, 0, cost).admitted);
        assert_true(admit_at(&dearer, 0, cost + random_below(&r, 1000000)).admitted);
        int64_t t1 = random_below(&r, 100 * NS_PER_S);
        int64_t t2 = t1 + random_below(&r, 100 * NS_PER_S);
        assert_true(bucket_level_mt(&b, t1) >= bucket_level_mt(&b, t2));
        assert_true(bucket_retry_after_ms(&b, t1) >= bucket_retry_after_ms(&b, t2));
        assert_true(bucket_level_mt(&dearer, t1) >= bucket_level_mt(&b, t1));
        assert_true(bucket_retry_after_ms(&dearer, t1) >= bucket_retry_after_ms(&b, t1));
    }
}

/* The model holds the owed work as an exact fraction of one minute's nanoseconds. */
static void never_drifts_from_the_exact_fraction(void **state) {
    (void)state;
    struct random r = {SEED + 6};
    struct bucket b;
    int64_t rate = 37499987, t = 0;
    i128 owed = 0;
    int n_idle = 0, n_full = 0;
    bucket_init(&b, rate, 60000, 0);
    for (int i = 0; i < 300000; i++) {
        int64_t dt = random_between(&r, 1, 100 * NS_PER_MS);
        t += dt;
        owed -= (i128)rate * dt;
        if (owed < 0) {
            owed = 0;
            n_idle++;
        }
        if (i % 1000 == 0)
            bucket_rebase(&b, t);
        if (i % 30000 == 29999) {
            rate = random_between(&r, 30000000, 50000000);
            bucket_resize(&b, t, rate);
        }
        /* Busy and quiet stretches, so that both ends of the range are met. */
        int64_t cost = random_between(&r, 1, i / 20000 % 2 ? 150000 : 60000);
        if (admit_at(&b, t, cost).admitted) {
            owed += (i128)cost * NS_PER_MIN;
            adjust_at(&b, t, -(cost / 3));
            owed -= (i128)(cost / 3) * NS_PER_MIN;
            if (owed < 0)
                owed = 0;
        } else {
            n_full++;
        }
        i128 gap = (i128)bucket_level_mt(&b, t) * NS_PER_MIN - owed;
        assert_true(gap <= 2 * NS_PER_MIN && gap >= -2 * NS_PER_MIN);
    }
    assert_true(n_idle > 100 && n_full > 100);
}

static void a_resize_keeps_the_owed_work(void **state) {
    (void)state;
    struct random r = {SEED + 7};
    for (int round = 0; round < 3000; round++) {
        struct bucket b;
        int64_t rate = random_between(&r, 1000000, 1000000000);
        bucket_init(&b, rate, 10000, 0);
        assert_true(admit_at(&b, 5, random_below(&r, 1000000000)).admitted);
        int64_t t = random_below(&r, 10 * NS_PER_S), level = bucket_level_mt(&b, t);
        int64_t util = bucket_util_ppm(&b, t), wait = bucket_retry_after_ms(&b, t);
        int64_t later = t + random_below(&r, 100 * NS_PER_S);
        int64_t level_later = bucket_level_mt(&b, later);
        bucket_resize(&b, t, random_between(&r, 100000, 10000000000));
        assert_int_equal(bucket_level_mt(&b, t), level);
        bucket_resize(&b, t, rate);
        assert_int_equal(bucket_level_mt(&b, t), level);
        assert_int_equal(bucket_util_ppm(&b, t), util);
        assert_int_equal(bucket_retry_after_ms(&b, t), wait);
        assert_int_equal(bucket_level_mt(&b, later), level_later);
    }
}

static void half_the_units_double_the_utilization(void **state) {
    (void)state;
    struct bucket b;
    bucket_init(&b, 100000000, 60000, 0);
    assert_true(admit_at(&b, 0, 80000000).admitted);
    assert_int_equal(bucket_util_ppm(&b, 0), 800000);
    bucket_resize(&b, 0, 50000000);
    assert_int_equal(bucket_depth_mt(&b), 50000000);
    assert_int_equal(bucket_rate(&b), 50000000);
    assert_int_equal(bucket_util_ppm(&b, 0), 1600000);
    /* 30 000 001 mt at 50 000 000 a minute, at the new rate. */
    assert_int_equal(admit_at(&b, 0, 1).retry_after_ms, 36001);
}

static void a_clock_that_steps_back_stands_still(void **state) {
    (void)state;
    struct bucket b;
    int64_t t = 100 * NS_PER_S;
    bucket_init(&b, 60000000, 1000, t);
    assert_true(admit_at(&b, t, 900000).admitted);
    assert_int_equal(bucket_level_mt(&b, t - 50 * NS_PER_S), 900000);
    struct bucket_verdict v = admit_at(&b, t - 50 * NS_PER_S, 600000);
    assert_true(v.admitted);
    assert_int_equal(v.level_mt, 1500000);
    v = admit_at(&b, t - 50 * NS_PER_S, 1);
    assert_false(v.admitted);
    /* Counted from the reading that it was given, since that is the clock it will be asked with. */
    assert_int_equal(v.retry_after_ms, 50501);
    bucket_rebase(&b, t - 50 * NS_PER_S);
    assert_int_equal(bucket_level_mt(&b, t), 1500000);
    bucket_resize(&b, t - 70 * NS_PER_S, 30000000);
    assert_int_equal(bucket_level_mt(&b, t + NS_PER_S), 1000000);
    assert_int_equal(bucket_served_mt(&b, INT64_MIN), 0);
}

static void holds_for_extreme_numbers(void **state) {
    (void)state;
    struct bucket b;
    bucket_init(&b, INT64_MAX, INT64_MAX, INT64_MIN);
    assert_int_equal(bucket_rate(&b), BUCKET_RATE_MAX);
    assert_int_equal(bucket_depth_mt(&b), BUCKET_DEPTH_MAX);
    assert_int_equal(bucket_served_mt(&b, INT64_MAX), BUCKET_SERVED_MAX);
    assert_true(admit_at(&b, INT64_MAX, INT64_MAX).admitted);
    assert_int_equal(bucket_level_mt(&b, INT64_MAX), BUCKET_COST_MAX);
    assert_false(admit_at(&b, INT64_MAX, INT64_MAX).admitted);
    assert_true(adjust_at(&b, INT64_MAX, INT64_MAX) > BUCKET_COST_MAX);
    assert_true(adjust_at(&b, INT64_MAX, INT64_MAX) > BUCKET_COST_MAX);
    assert_true(bucket_retry_after_ms(&b, 0) > 0);
    bucket_init(&b, 5940000000000, 60000, 0); /* 100 000 units of 59 400 tokens */
    int64_t day = 86400 * NS_PER_S;
    assert_int_equal(bucket_served_mt(&b, 400 * day), INT64_C(5940000000000) * 1440 * 400);
    bucket_init(&b, 1, 1, 0);
    assert_int_equal(bucket_depth_mt(&b), 1);
    assert_true(admit_at(&b, 0, BUCKET_COST_MAX).admitted);
    assert_true(bucket_retry_after_ms(&b, 0) > INT64_MAX / 1000000); /* stopped, not wrapped */
    assert_true(bucket_util_ppm(&b, 0) == INT64_MAX);
}

static void without_units_nothing_drains_and_nothing_divides(void **state) {
    (void)state;
    struct bucket b;
    bucket_init(&b, 0, 60000, 7);
    assert_int_equal(bucket_depth_mt(&b), 1);
    assert_true(admit_at(&b, 7, 1000).admitted);
    struct bucket_verdict v = admit_at(&b, 3600 * NS_PER_S, 1000);
    assert_false(v.admitted);
    assert_int_equal(v.level_mt, 1000);
    assert_true(v.retry_after_ms > INT64_C(365) * 86400 * 1000);
    bucket_resize(&b, 3600 * NS_PER_S, 60000);
    assert_int_equal(bucket_level_mt(&b, 3600 * NS_PER_S), 1000);
    assert_int_equal(bucket_level_mt(&b, 3601 * NS_PER_S), 0);
    bucket_resize(&b, 3601 * NS_PER_S, -5);
    assert_int_equal(bucket_rate(&b), 0);
}

static void a_restart_takes_up_the_saved_level(void **state) {
    (void)state;
    struct bucket b;
    bucket_init(&b, 60000, 60000, 50);
    bucket_restore(&b, NS_PER_S + 50, 30000);
    assert_int_equal(bucket_level_mt(&b, NS_PER_S + 50), 30000);
    assert_int_equal(bucket_level_mt(&b, 2 * NS_PER_S + 50), 29000);
    assert_true(admit_at(&b, 2 * NS_PER_S + 50, 1).admitted);
    bucket_restore(&b, 2 * NS_PER_S + 50, -1);
    assert_int_equal(bucket_level_mt(&b, 2 * NS_PER_S + 50), 0);
}

static void reading_never_changes_the_word(void **state) {
    (void)state;
    struct bucket b;
    bucket_init(&b, 60000, 60000, 0);
    assert_true(admit_at(&b, 0, 90000).admitted);
    int64_t before = mark(&b);
    for (int64_t t = 0; t < 100 * NS_PER_S; t += NS_PER_S) {
        bucket_level_mt(&b, t);
        bucket_util_ppm(&b, t);
        bucket_retry_after_ms(&b, t);
        bucket_rebase(&b, t);
        bucket_resize(&b, t, 60000);
        assert_int_equal(mark(&b), before);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rebase_is_never_noticed_and_service_never_falls),
        cmocka_unit_test(refuses_one_ms_early_and_admits_on_time),
        cmocka_unit_test(the_call_that_crosses_the_line_is_the_last),
        cmocka_unit_test(work_stays_below_depth_and_one_cost),
        cmocka_unit_test(no_interval_admits_more_than_rate_depth_and_one_cost),
        cmocka_unit_test(a_debit_and_its_refund_leave_the_same_word),
        cmocka_unit_test(a_refund_is_never_cut_off),
        cmocka_unit_test(idle_time_and_refunds_bank_nothing),
        cmocka_unit_test(level_and_wait_only_fall_with_time),
        cmocka_unit_test(never_drifts_from_the_exact_fraction),
        cmocka_unit_test(a_resize_keeps_the_owed_work),
        cmocka_unit_test(half_the_units_double_the_utilization),
        cmocka_unit_test(a_clock_that_steps_back_stands_still),
        cmocka_unit_test(holds_for_extreme_numbers),
        cmocka_unit_test(without_units_nothing_drains_and_nothing_divides),
        cmocka_unit_test(a_restart_takes_up_the_saved_level),
        cmocka_unit_test(reading_never_changes_the_word),
    };
    print_message("seed %d\n", SEED);
    return cmocka_run_group_tests_name("bucket", tests, NULL, NULL);
}
