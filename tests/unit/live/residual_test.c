/* residual_test.c - how far counts are from reports: mean, 99 in 100, and that old calls fade. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "live/residual.h"

static void knows_nothing_at_first(void **state) {
    (void)state;
    struct residual r = {0};
    assert_int_equal(residual_mean_milli(&r), 0);
    assert_int_equal(residual_p99(&r), 0);
}

static void tells_mean_and_the_error_of_99_in_100(void **state) {
    (void)state;
    struct residual r = {0};
    for (int i = 0; i < 1000; i++)
        residual_observe(&r, 100, i % 2 ? 97 : 101); /* 3 too much, 1 too few */
    assert_int_equal(residual_mean_milli(&r), 1000);
    assert_int_equal(residual_p99(&r), 3);
    /* 1 in 200 is far off: still 3; 1 in 50 is not. */
    for (int i = 0; i < 5; i++)
        residual_observe(&r, 100, 1100);
    assert_int_equal(residual_p99(&r), 3);
    for (int i = 0; i < 15; i++)
        residual_observe(&r, 100, 1100);
    assert_in_range(residual_p99(&r), 1000, 1999);
}

static void old_calls_fade(void **state) {
    (void)state;
    struct residual r = {0};
    for (int i = 0; i < RESIDUAL_CALLS; i++)
        residual_observe(&r, 0, 1000);
    for (int i = 0; i < 20 * RESIDUAL_CALLS; i++)
        residual_observe(&r, 7, 7);
    assert_in_range(-residual_mean_milli(&r), 0, 10);
    assert_int_equal(residual_p99(&r), 0);
    /* Whatever comes, nothing overflows in the sizes. */
    residual_observe(&r, INT64_C(1) << 40, 0);
    assert_int_equal(metric_read(&r.sizes[RESIDUAL_SIZES - 1]), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_nothing_at_first),
        cmocka_unit_test(tells_mean_and_the_error_of_99_in_100),
        cmocka_unit_test(old_calls_fade),
    };
    return cmocka_run_group_tests_name("residual", tests, NULL, NULL);
}
