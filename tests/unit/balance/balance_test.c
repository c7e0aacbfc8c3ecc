/* balance_test.c - who takes a call: never one that may not, and the right one of those that may. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "balance/balance.h"
#include "base/clock.h"
#include "support/random.h"

#define SEED 20261128

enum { N_MAX = 5 };

/* Up to five backends of one priority and weight, as they come. */
struct pool {
    struct balance_backend b[N_MAX];
    struct balance_backend *at[N_MAX];
    size_t n;
    struct balance_rng rng;
};

static void pool_init(struct pool *p, size_t n) {
    p->n = n;
    p->rng.state = SEED;
    for (size_t i = 0; i < n; i++) {
        balance_backend_init(&p->b[i], 1, 1, 0);
        p->at[i] = &p->b[i];
    }
}

static int pick_tried(struct pool *p, int64_t now, int64_t est, uint64_t tried) {
    struct balance_ask ask = {.now_ns = now, .estimate = est, .tried = tried};
    return balance_pick(p->at, p->n, &ask, &p->rng);
}

static int pick(struct pool *p, int64_t now, int64_t est) {
    return pick_tried(p, now, est, 0);
}

static void done(struct pool *p, int i, int64_t now, int64_t est, enum balance_outcome outcome) {
    struct balance_answer answer = {.outcome = outcome, .remaining = -1};
    balance_done(&p->b[i], now, est, &answer);
}

static int64_t ms(int64_t n) {
    return n * NS_PER_MS;
}

static void an_empty_pool_has_nobody(void **state) {
    (void)state;
    struct pool p;
    pool_init(&p, 0);
    assert_int_equal(pick(&p, 0, 1), -1);
    assert_int_equal(balance_retry_after_ms(p.at, 0, 5), 1);
}

static void the_lowest_priority_number_is_served_while_it_can(void **state) {
    (void)state;
    struct pool p;
    pool_init(&p, 4);
    balance_backend_configure(&p.b[0], 3, 1, 0);
    balance_backend_configure(&p.b[1], 2, 1, 0);
    balance_backend_configure(&p.b[2], 2, 1, 0);
    balance_backend_configure(&p.b[3], 9, 1, 0);
    for (int i = 0; i < 100; i++)
        assert_in_range(pick(&p, 0, 1), 1, 2);
    assert_int_equal(pick_tried(&p, 0, 1, 2), 2);
    assert_int_equal(pick_tried(&p, 0, 1, 6), 0);
    assert_int_equal(pick_tried(&p, 0, 1, 7), 3);
    assert_int_equal(pick_tried(&p, 0, 1, 15), -1);
}

static void one_that_said_wait_is_left_alone_so_long(void **state) {
    (void)state;
    struct pool p;
    pool_init(&p, 1);
    assert_int_equal(pick(&p, 0, 7), 0);
    struct balance_answer busy = {BALANCE_BUSY, .retry_after_ms = 1500, .remaining = -1};
    balance_done(&p.b[0], ms(100), 7, &busy);
    assert_int_equal(pick(&p, ms(1600) - 1, 7), -1);
    assert_int_equal(balance_retry_after_ms(p.at, 1, ms(600)), 1000);
    assert_int_equal(balance_retry_after_ms(p.at, 1, ms(1600) - 1), 1);
    assert_int_equal(pick(&p, ms(1600), 7), 0);
    busy.retry_after_ms = 0; /* said nothing: one ms */
    balance_done(&p.b[0], ms(1600), 7, &busy);
    assert_int_equal(pick(&p, ms(1601) - 1, 7), -1);
    assert_int_equal(pick(&p, ms(1601), 7), 0);
    busy.retry_after_ms = 1; /* a shorter wait never shortens a longer one */
    atomic_store(&p.b[0].blocked_until_ns, ms(9000));
    balance_done(&p.b[0], ms(1602), 7, &busy);
    assert_int_equal(pick(&p, ms(8999), 7), -1);
    busy.retry_after_ms = INT64_MAX;
    balance_done(&p.b[0], ms(9000), 7, &busy);
    assert_int_equal(atomic_load(&p.b[0].blocked_until_ns), INT64_MAX);
}

static void three_failures_open_and_a_probe_decides(void **state) {
    (void)state;
    struct pool p;
    pool_init(&p, 1);
    int64_t now = 0;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pick(&p, now, 1), 0);
        done(&p, 0, now, 1, BALANCE_FAILED);
    }
    assert_int_equal(pick(&p, now, 1), 0);
    done(&p, 0, now, 1, BALANCE_SERVED); /* in a row, not in all */
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pick(&p, now, 1), 0);
        done(&p, 0, now, 1, BALANCE_FAILED);
    }
    static const int64_t open_ms[] = {1000, 2000, 4000, 8000, 16000, 30000, 30000};
    for (size_t i = 0; i < ARRAY_LEN(open_ms); i++) {
        assert_int_equal(atomic_load(&p.b[0].open_ms), open_ms[i]);
        assert_int_equal(pick(&p, now + ms(open_ms[i]) - 1, 1), -1);
        assert_int_equal(balance_retry_after_ms(p.at, 1, now), open_ms[i]);
        now += ms(open_ms[i]);
        assert_int_equal(pick(&p, now, 1), 0);
        assert_int_equal(pick(&p, now, 1), -1); /* one probe at a time */
        done(&p, 0, now, 1, BALANCE_FAILED);
    }
    now += ms(30000);
    assert_int_equal(pick(&p, now, 1), 0);
    done(&p, 0, now, 1, BALANCE_SILENT); /* the caller left: nothing is known, ask again */
    assert_int_equal(pick(&p, now, 1), 0);
    assert_int_equal(pick(&p, now, 1), -1);
    done(&p, 0, now, 1, BALANCE_SERVED);
    assert_int_equal(pick(&p, now, 1), 0);
    assert_int_equal(pick(&p, now, 1), 0);
    assert_int_equal(atomic_load(&p.b[0].open_ms), 0);
    assert_int_equal(atomic_load(&p.b[0].fails), 0);
}

/* As the model of the specification counts them. */
static void each_failure_of_calls_in_flight_lengthens_the_pause(void **state) {
    (void)state;
    static const int64_t open_ms[] = {0, 0, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000};
    struct pool p;
    pool_init(&p, 1);
    for (size_t i = 0; i < ARRAY_LEN(open_ms); i++)
        assert_int_equal(pick(&p, 0, 1), 0);
    for (size_t i = 0; i < ARRAY_LEN(open_ms); i++) {
        done(&p, 0, (int64_t)i, 1, BALANCE_FAILED);
        assert_int_equal(atomic_load(&p.b[0].open_ms), open_ms[i]);
    }
    assert_int_equal(atomic_load(&p.b[0].open_until_ns),
                     (int64_t)ARRAY_LEN(open_ms) - 1 + ms(30000)); /* from the last one on */
    assert_int_equal(atomic_load(&p.b[0].inflight), 0);
}

static void a_quota_that_is_too_small_is_kept_for_smaller_calls(void **state) {
    (void)state;
    struct pool p;
    pool_init(&p, 1);
    assert_int_equal(pick(&p, 0, 10), 0);
    struct balance_answer answer = {BALANCE_SERVED, .remaining = 400, .reset_ms = 5000};
    balance_done(&p.b[0], 0, 10, &answer);
    assert_int_equal(pick(&p, 0, 401), -1);
    assert_int_equal(balance_retry_after_ms(p.at, 1, 0), 5000);
    assert_int_equal(pick(&p, 0, 400), 0);
    assert_int_equal(pick(&p, ms(5000) - 1, 401), -1);
    assert_int_equal(pick(&p, ms(5000), 401), 0);
    done(&p, 0, 0, 1, BALANCE_SERVED); /* an answer without the header teaches nothing about it */
    assert_int_equal(atomic_load(&p.b[0].remaining), 400);
}

static void of_two_the_less_loaded_for_its_weight_wins(void **state) {
    (void)state;
    struct pool p;
    pool_init(&p, 2);
    balance_backend_configure(&p.b[1], 1, 3, 0);
    atomic_store(&p.b[0].inflight, 100);
    atomic_store(&p.b[1].inflight, 299);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(pick(&p, 0, 0), 1);
    }
    atomic_store(&p.b[1].inflight, 301);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(pick(&p, 0, 0), 0);
    }
    /* Steady calls settle in the ratio of the weights. */
    atomic_store(&p.b[0].inflight, 0);
    atomic_store(&p.b[1].inflight, 0);
    for (int i = 0; i < 4000; i++)
        pick(&p, 0, 1);
    assert_in_range(atomic_load(&p.b[0].inflight), 999, 1001);
}

static void draws_follow_the_weights(void **state) {
    (void)state;
    struct pool p;
    pool_init(&p, 3);
    balance_backend_configure(&p.b[1], 1, 2, 0);
    balance_backend_configure(&p.b[2], 1, 5, 0);
    int count[3] = {0};
    enum { N = 80000 };
    /* With equal loads and unknown quotas the first draw stays, and it is by weight. */
    for (int i = 0; i < N; i++)
        count[pick(&p, 0, 0)]++;
    assert_in_range(count[0], N / 8 - N / 100, N / 8 + N / 100);
    assert_in_range(count[1], N / 4 - N / 100, N / 4 + N / 100);
}

static void on_a_tie_the_quota_that_perishes_first_is_spent(void **state) {
    (void)state;
    struct pool p;
    pool_init(&p, 2);
    for (int i = 0; i < 2; i++) {
        atomic_store(&p.b[i].remaining, 1000);
        atomic_store(&p.b[i].remaining_until_ns, ms(i ? 2000 : 30000));
    }
    for (int i = 0; i < 20; i++)
        assert_int_equal(pick(&p, 0, 0), 1);
    balance_backend_configure(&p.b[1], 1, 1, 1000); /* unknown now: its limit over a minute */
    atomic_store(&p.b[1].remaining, -1);
    for (int i = 0; i < 20; i++)
        assert_int_equal(pick(&p, 0, 0), 0);
    balance_backend_configure(&p.b[1], 1, 1, 2001);
    for (int i = 0; i < 20; i++)
        assert_int_equal(pick(&p, 0, 0), 1);
}

static void a_cached_prompt_goes_home_unless_home_is_busy(void **state) {
    (void)state;
    struct pool p;
    pool_init(&p, 3);
    int64_t cached[] = {0, 1024, 2048};
    struct balance_ask ask = {.estimate = 10, .affinity = cached};
    atomic_store(&p.b[0].inflight, 100);
    atomic_store(&p.b[1].inflight, 400);
    atomic_store(&p.b[2].inflight, 135); /* 1.25 * 100 + 10 */
    assert_int_equal(balance_pick(p.at, 3, &ask, &p.rng), 2);
    atomic_store(&p.b[2].inflight, 136);
    atomic_store(&p.b[0].inflight, 100);
    for (int i = 0; i < 20; i++) {
        int to = balance_pick(p.at, 3, &ask, &p.rng);
        assert_true(to >= 0 && to != 1); /* by load now, which is never the busiest */
        done(&p, to, 0, 10, BALANCE_SERVED);
    }
    ask.tried = 4;
    atomic_store(&p.b[1].inflight, 0);
    assert_int_equal(balance_pick(p.at, 3, &ask, &p.rng), 1);
    /* No token cached anywhere is no affinity: the least loaded may win. */
    int64_t none[] = {0, 0, 0};
    ask = (struct balance_ask){.affinity = none};
    atomic_store(&p.b[1].inflight, 1000);
    atomic_store(&p.b[2].inflight, 1000);
    int to_first = 0;
    for (int i = 0; i < 100; i++)
        to_first += balance_pick(p.at, 3, &ask, &p.rng) == 0;
    assert_in_range(to_first, 40, 99);
}

static void an_unknown_status_is_an_answer(void **state) {
    (void)state;
    assert_int_equal(balance_outcome_of(200), BALANCE_SERVED);
    assert_int_equal(balance_outcome_of(404), BALANCE_SERVED);
    assert_int_equal(balance_outcome_of(429), BALANCE_BUSY);
    assert_int_equal(balance_outcome_of(499), BALANCE_SERVED);
    assert_int_equal(balance_outcome_of(500), BALANCE_FAILED);
    assert_int_equal(balance_outcome_of(503), BALANCE_FAILED);
}

/* What may not be picked, told without looking at how the room decides. */
static bool may_take(const struct balance_backend *b, int64_t now, int64_t est) {
    bool knows = atomic_load(&b->remaining) >= 0 && now < atomic_load(&b->remaining_until_ns);
    bool is_open = atomic_load(&b->open_ms) > 0;
    return now >= atomic_load(&b->blocked_until_ns) &&
           !(is_open && (now < atomic_load(&b->open_until_ns) || atomic_load(&b->is_probing))) &&
           !(knows && atomic_load(&b->remaining) < est);
}

static void a_long_life_never_breaks_the_rules(void **state) {
    (void)state;
    struct random r = {SEED};
    int n_none = 0, n_probes = 0;
    for (int round = 0; round < 40; round++) {
        struct pool p;
        pool_init(&p, (size_t)random_between(&r, 1, N_MAX));
        for (size_t i = 0; i < p.n; i++)
            balance_backend_configure(&p.b[i], random_between(&r, 1, 2), random_between(&r, 1, 5),
                                      random_below(&r, 2) * 30000);
        struct {
            int to;
            int64_t est;
        } live[600];
        int n_live = 0;
        int64_t now = 0, inflight[N_MAX] = {0};
        for (int step = 0; step < 600; step++) {
            now += random_below(&r, ms(200));
            if (n_live && random_once_in(&r, 2)) {
                int k = (int)random_below(&r, n_live);
                int to = live[k].to;
                struct balance_answer answer = {
                    /* The first is in bad health, so that breakers open. */
                    .outcome = random_once_in(&r, 4) ? (enum balance_outcome)random_below(&r, 4)
                               : to == 0             ? BALANCE_FAILED
                                                     : BALANCE_SERVED,
                    .retry_after_ms = random_below(&r, 2000),
                    .remaining = random_once_in(&r, 3) ? random_below(&r, 3000) : -1,
                    .reset_ms = random_below(&r, 3000),
                };
                balance_done(&p.b[to], now, live[k].est, &answer);
                inflight[to] -= live[k].est;
                assert_int_equal(atomic_load(&p.b[to].inflight), inflight[to]);
                live[k] = live[--n_live];
                continue;
            }
            int64_t est = random_between(&r, 1, 2000), cached[N_MAX];
            for (size_t i = 0; i < p.n; i++)
                cached[i] = random_below(&r, 2) * 1024;
            struct balance_ask ask = {now, est, random_next(&r) & random_next(&r) & 31,
                                      random_once_in(&r, 2) ? cached : NULL};
            bool may[N_MAX];
            int64_t lowest = INT64_MAX;
            for (size_t i = 0; i < p.n; i++) {
                may[i] = !(ask.tried >> i & 1) && may_take(&p.b[i], now, est);
                if (may[i])
                    lowest = i64_min(lowest, atomic_load(&p.b[i].priority));
            }
            int to = balance_pick(p.at, p.n, &ask, &p.rng);
            if (to < 0) {
                assert_true(lowest == INT64_MAX);
                assert_true(balance_retry_after_ms(p.at, p.n, now) >= 1);
                n_none++;
                continue;
            }
            assert_true(may[to]);
            assert_int_equal(atomic_load(&p.b[to].priority), lowest);
            n_probes += atomic_load(&p.b[to].is_probing);
            inflight[to] += est;
            live[n_live].to = to;
            live[n_live++].est = est;
        }
    }
    assert_true(n_none > 100 && n_probes > 100);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_pool_has_nobody),
        cmocka_unit_test(the_lowest_priority_number_is_served_while_it_can),
        cmocka_unit_test(one_that_said_wait_is_left_alone_so_long),
        cmocka_unit_test(three_failures_open_and_a_probe_decides),
        cmocka_unit_test(each_failure_of_calls_in_flight_lengthens_the_pause),
        cmocka_unit_test(a_quota_that_is_too_small_is_kept_for_smaller_calls),
        cmocka_unit_test(of_two_the_less_loaded_for_its_weight_wins),
        cmocka_unit_test(draws_follow_the_weights),
        cmocka_unit_test(on_a_tie_the_quota_that_perishes_first_is_spent),
        cmocka_unit_test(a_cached_prompt_goes_home_unless_home_is_busy),
        cmocka_unit_test(an_unknown_status_is_an_answer),
        cmocka_unit_test(a_long_life_never_breaks_the_rules),
    };
    print_message("seed %d\n", SEED);
    return cmocka_run_group_tests_name("balance", tests, NULL, NULL);
}
