/* spread_test.c - percentiles of counted durations are right to within one percent, and never invented. */
#include "bench/spread.h"
#include "support/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static struct spread s;

static int empty(void **state) {
    (void)state;
    s = (struct spread){0};
    return 0;
}

static void has_no_percentile_when_nothing_was_counted(void **state) {
    (void)state;
    assert_int_equal(spread_at(&s, 0.5), 0);
    assert_int_equal(spread_at(&s, 1), 0);
}

static void tells_small_values_exactly(void **state) {
    (void)state;
    for (int64_t v = 0; v < SPREAD_STEPS; v++)
        spread_add(&s, v);
    for (int64_t v = 0; v < SPREAD_STEPS; v++)
        assert_int_equal(spread_at(&s, (double)(v + 1) / SPREAD_STEPS), v);
}

/* The value at that share in a sorted list, as the definition says it. */
static int compare(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void is_off_by_less_than_one_percent_anywhere(void **state) {
    (void)state;
    enum { N = 20000 };
    static int64_t values[N];
    struct random r = {7};
    for (int i = 0; i < N; i++) {
        /* As many of each order of magnitude. */
        values[i] = (int64_t)(random_next(&r) >> 22 >> random_below(&r, 42));
        spread_add(&s, values[i]);
    }
    qsort(values, N, sizeof *values, compare);
    for (int i = 1; i <= 1000; i++) {
        int64_t truth = values[(size_t)i * N / 1000 - 1];
        int64_t told = spread_at(&s, (double)i / 1000);
        int64_t off = told > truth ? told - truth : truth - told;
        assert_true(off * 100 <= truth);
    }
}

static void never_tells_more_than_the_largest(void **state) {
    (void)state;
    spread_add(&s, 1000000);
    assert_true(spread_at(&s, 1) <= 1000000);
    assert_int_equal(s.max_ns, 1000000);
}

static void counts_impossible_durations_at_the_ends(void **state) {
    (void)state;
    spread_add(&s, -5);
    spread_add(&s, INT64_MAX);
    assert_int_equal(s.n, 2);
    assert_int_equal(spread_at(&s, 0.5), 0);
    assert_int_equal(s.max_ns, SPREAD_MAX_NS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(has_no_percentile_when_nothing_was_counted, empty),
        cmocka_unit_test_setup(tells_small_values_exactly, empty),
        cmocka_unit_test_setup(is_off_by_less_than_one_percent_anywhere, empty),
        cmocka_unit_test_setup(never_tells_more_than_the_largest, empty),
        cmocka_unit_test_setup(counts_impossible_durations_at_the_ends, empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
