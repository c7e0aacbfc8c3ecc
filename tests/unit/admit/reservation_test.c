/* reservation_test.c - every call ends at its actual cost, whatever its life was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "admit/bucket.h"
#include "admit/reservation.h"
#include "support/random.h"

#define SEED 20261123

static void all_posts_sum_to_the_actual_cost(void **state) {
    (void)state;
    struct random r = {SEED};
    for (int round = 0; round < 20000; round++) {
        struct weights w = WEIGHTS_DEFAULT;
        w.w_cached = random_below(&r, 3) * 250;
        w.block = random_once_in(&r, 2) ? 128 : random_between(&r, 1, 64);
        int64_t prompt = random_between(&r, 1, 5000);
        int64_t cap = random_once_in(&r, 2) ? -1 : random_between(&r, 1, 3000);
        int64_t estimate = cap >= 0 ? cap : random_between(&r, 1, 1000);
        struct reservation q;
        reservation_init(&q, &w, prompt, random_between(&r, 0, prompt), estimate, cap);
        assert_true(q.charged_mt >= w.min_cost);
        int64_t posted = q.charged_mt;

        int64_t cached = random_between(&r, 0, prompt), generated = 0;
        posted += reservation_prefill(&q, -1, cached);
        for (int64_t n = random_below(&r, 6); n > 0; n--) {
            generated += random_below(&r, 500);
            if (cap >= 0)
                generated = i64_min(generated, cap);
            int64_t delta = reservation_progress(&q, generated);
            assert_true(delta >= 0);
            posted += delta;
            assert_true(q.out_tokens >= generated);
            assert_true(generated <= estimate || q.out_tokens - generated < w.block);
            assert_int_equal(posted, q.charged_mt);
        }
        bool is_executed = !random_once_in(&r, 10);
        posted += reservation_finish(&q, generated, is_executed);
        int64_t actual = (prompt - cached) * 1000 + cached * w.w_cached + generated * 3000;
        assert_int_equal(posted, is_executed ? i64_max(w.min_cost, actual) : 0);
        assert_int_equal(posted, q.charged_mt);

        assert_int_equal(reservation_finish(&q, generated + 5, true), 0);
        assert_int_equal(reservation_finish(&q, 0, false), 0);
        assert_int_equal(reservation_progress(&q, 1000000), 0);
        assert_int_equal(reservation_prefill(&q, 9, 0), 0);
        assert_int_equal(posted, q.charged_mt);
    }
}

static void charges_the_estimate_and_gives_the_rest_back(void **state) {
    (void)state;
    struct weights w = WEIGHTS_DEFAULT;
    struct reservation q;
    reservation_init(&q, &w, 1000, 0, 300, 300);
    assert_int_equal(q.charged_mt, 1900000); /* 1000 in and 300 out at 3 to 1: 1900 tokens */
    assert_int_equal(reservation_progress(&q, 299), 0);
    assert_int_equal(reservation_progress(&q, 300), 0);
    assert_int_equal(reservation_finish(&q, 100, true), -600000);
    reservation_init(&q, &w, 1000, 0, 300, 300);
    assert_int_equal(reservation_finish(&q, 100, false), -1900000);
}

static void a_long_generation_is_charged_in_blocks_up_to_its_limit(void **state) {
    (void)state;
    struct weights w = WEIGHTS_DEFAULT;
    struct reservation q;
    reservation_init(&q, &w, 1, 0, 100, 300);
    assert_int_equal(reservation_progress(&q, 101), 128 * 3000);
    assert_int_equal(reservation_progress(&q, 228), 0);
    assert_int_equal(reservation_progress(&q, 229), 72 * 3000); /* to the limit, not past it */
    assert_int_equal(reservation_progress(&q, 305), 5 * 3000);  /* a backend that ignores it */
    assert_int_equal(reservation_progress(&q, 200), 0);
    reservation_init(&q, &w, 1, 0, 0, -1);
    assert_int_equal(reservation_progress(&q, 129), 256 * 3000);
    reservation_init(&q, &w, 1, 0, 0, 0);
    assert_int_equal(reservation_progress(&q, 7), 7 * 3000);
}

static void no_executed_call_is_free(void **state) {
    (void)state;
    struct weights w = WEIGHTS_DEFAULT;
    struct reservation q;
    reservation_init(&q, &w, 0, 0, 0, -1);
    assert_int_equal(q.charged_mt, 1000);
    assert_int_equal(reservation_finish(&q, 0, true), 0);
    reservation_init(&q, &w, 5000, 5000, 0, -1); /* all of it cached */
    assert_int_equal(q.charged_mt, 1000);
    assert_int_equal(reservation_finish(&q, 0, false), -1000);
}

static void the_backends_count_of_the_prompt_replaces_ours(void **state) {
    (void)state;
    struct weights w = WEIGHTS_DEFAULT;
    struct reservation q;
    reservation_init(&q, &w, 1000, 0, 10, -1);
    assert_int_equal(reservation_prefill(&q, 1200, 1024), (176 - 1000) * 1000);
    assert_int_equal(reservation_prefill(&q, 1200, 9999), -176000); /* at most all is cached */
    assert_int_equal(reservation_prefill(&q, -1, -5), 1200000);
    assert_int_equal(reservation_finish(&q, 10, true), 0);
    assert_int_equal(q.charged_mt, 1200000 + 30000);
}

static void tiers_price_the_tokens_that_lie_in_them(void **state) {
    (void)state;
    struct weights w = WEIGHTS_DEFAULT;
    w.n_tiers = 2;
    w.tiers[0] = (struct weights_tier){1000, 2000};
    w.tiers[1] = (struct weights_tier){4000, 3000};
    static const struct {
        int64_t prompt, cached, cost;
    } cases[] = {
        {0, 0, 0},          {1000, 0, 1000000},   {1001, 0, 1002000},    {4000, 0, 7000000},
        {4001, 0, 7003000}, {10000, 0, 25000000}, {5000, 4000, 1000000}, {5000, 5000, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(weights_input_mt(&w, cases[i].prompt, cases[i].cached), cases[i].cost);
    int64_t last = 0;
    for (int64_t prompt = 0; prompt < 6000; prompt++) {
        int64_t cost = weights_input_mt(&w, prompt, 0);
        int64_t each = prompt <= 1000 ? 1000 : prompt <= 4000 ? 2000 : 3000;
        assert_int_equal(cost, prompt ? last + each : 0);
        last = cost;
    }
}

/* Every combination of the numbers that a hostile caller, backend or operator may send. */
static void nothing_overflows(void **state) {
    (void)state;
    static const int64_t hostile[] = {INT64_MIN, -1, 0, 1, INT64_C(1) << 53, INT64_MAX};
    enum { N = ARRAY_LEN(hostile) };
    for (int i = 0; i < N * N * N * N; i++) {
        int64_t a = hostile[i % N], b = hostile[i / N % N], c = hostile[i / N / N % N];
        int64_t d = hostile[i / N / N / N];
        struct weights w = {.w_in = a,
                            .w_cached = d,
                            .w_out = b,
                            .min_cost = c,
                            .block = d,
                            .n_tiers = 2,
                            .tiers = {{b, c}, {a, d}}};
        struct reservation q;
        reservation_init(&q, &w, a, b, c, d);
        int64_t posted = q.charged_mt;
        assert_in_range(posted, 0, BUCKET_COST_MAX);
        posted += reservation_prefill(&q, b, a);
        posted += reservation_progress(&q, c);
        posted += reservation_progress(&q, d);
        posted += reservation_finish(&q, d, true);
        assert_in_range(posted, 0, BUCKET_COST_MAX);
        assert_int_equal(posted, q.charged_mt);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_posts_sum_to_the_actual_cost),
        cmocka_unit_test(charges_the_estimate_and_gives_the_rest_back),
        cmocka_unit_test(a_long_generation_is_charged_in_blocks_up_to_its_limit),
        cmocka_unit_test(no_executed_call_is_free),
        cmocka_unit_test(the_backends_count_of_the_prompt_replaces_ours),
        cmocka_unit_test(tiers_price_the_tokens_that_lie_in_them),
        cmocka_unit_test(nothing_overflows),
    };
    print_message("seed %d\n", SEED);
    return cmocka_run_group_tests_name("reservation", tests, NULL, NULL);
}
