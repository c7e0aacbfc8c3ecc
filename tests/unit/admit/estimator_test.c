/* estimator_test.c - the learned length settles where it should and stays in its bounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "admit/estimator.h"
#include "support/random.h"

#define SEED 20261124

/* Skewed like lengths of answers: a product of even draws, from 1 to about 8000. */
static int64_t any_length(struct random *r) {
    return 1 + random_below(r, 20) * random_below(r, 20) * random_below(r, 20);
}

static void settles_at_its_quantile(void **state) {
    (void)state;
    static const int64_t taus[] = {500, 750, 900};
    for (size_t k = 0; k < ARRAY_LEN(taus); k++) {
        struct random r = {SEED + k};
        struct estimator e;
        estimator_init(&e, 2000, 16, 20000, taus[k]);
        int64_t above = 0;
        enum { N = 20000, WARM = 1000 };
        for (int i = 0; i < WARM + N; i++) {
            int64_t x = any_length(&r);
            if (i >= WARM)
                above += x > estimator_value(&e);
            estimator_observe(&e, x, false);
            assert_in_range(estimator_value(&e), 16, 20000);
        }
        int64_t want = N * (1000 - taus[k]) / 1000;
        assert_in_range(above, want - N / 50, want + N / 50);
    }
}

static void stays_in_its_bounds(void **state) {
    (void)state;
    struct estimator e;
    estimator_init(&e, 512, 16, 4096, 900);
    assert_int_equal(estimator_value(&e), 512);
    for (int i = 0; i < 2000; i++)
        estimator_observe(&e, INT64_MAX, false);
    assert_int_equal(estimator_value(&e), 4096);
    for (int i = 0; i < 2000; i++)
        estimator_observe(&e, -7, false);
    assert_int_equal(estimator_value(&e), 16);
    estimator_init(&e, INT64_MAX, INT64_MIN, INT64_MAX, 5000);
    for (int i = 0; i < 100; i++)
        estimator_observe(&e, INT64_MAX, i % 2);
    assert_in_range(estimator_value(&e), 0, ESTIMATOR_TOKENS_MAX);
}

static void a_lower_bound_counts_only_above(void **state) {
    (void)state;
    struct estimator e;
    estimator_init(&e, 512, 16, 4096, 900);
    estimator_observe(&e, 512, true);
    assert_int_equal(estimator_value(&e), 512);
    assert_int_equal(atomic_load(&e.n), 0);
    estimator_observe(&e, 513, true);
    assert_true(estimator_value(&e) > 512);
    assert_int_equal(atomic_load(&e.n), 1);
    estimator_observe(&e, 1, false);
    assert_int_equal(atomic_load(&e.n), 2);
}

static void a_class_speaks_after_32_observations(void **state) {
    (void)state;
    struct output_model m;
    output_model_init(&m, ESTIMATOR_HI);
    assert_int_equal(output_model_estimate(&m, 10), ESTIMATOR_DEFAULT);
    for (int i = 0; i < 31; i++)
        output_model_observe(&m, 5000, 40, false); /* the third class learns 40 */
    for (int i = 0; i < 300; i++)
        output_model_observe(&m, 100, 3000, false); /* the first 3000 */
    int64_t all = estimator_value(&m.of_all);
    assert_true(all > 1000);
    assert_int_equal(output_model_estimate(&m, 5000), all); /* 31 are not enough */
    output_model_observe(&m, 5000, 40, false);
    assert_true(output_model_estimate(&m, 5000) < 512);
    assert_true(output_model_estimate(&m, 100) > 2000);
}

static void classes_part_at_256_2k_and_16k(void **state) {
    (void)state;
    static const struct {
        int64_t prompt;
        int class;
    } cases[] = {{-1, 0},   {0, 0},     {255, 0},   {256, 1},      {2047, 1},
                 {2048, 2}, {16383, 2}, {16384, 3}, {INT64_MAX, 3}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct output_model m;
        output_model_init(&m, ESTIMATOR_HI);
        output_model_observe(&m, cases[i].prompt, 9, false);
        for (int k = 0; k < OUTPUT_MODEL_CLASSES; k++)
            assert_int_equal(atomic_load(&m.of_class[k].n), k == cases[i].class);
        assert_int_equal(atomic_load(&m.of_all.n), 1);
    }
}

static void an_observation_that_finds_the_model_busy_is_dropped(void **state) {
    (void)state;
    struct output_model m;
    output_model_init(&m, ESTIMATOR_HI);
    assert_false(atomic_flag_test_and_set(&m.is_busy));
    output_model_observe(&m, 9, 9, false);
    assert_int_equal(atomic_load(&m.of_all.n), 0);
    atomic_flag_clear(&m.is_busy);
    output_model_observe(&m, 9, 9, false);
    assert_int_equal(atomic_load(&m.of_all.n), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(settles_at_its_quantile),
        cmocka_unit_test(stays_in_its_bounds),
        cmocka_unit_test(a_lower_bound_counts_only_above),
        cmocka_unit_test(a_class_speaks_after_32_observations),
        cmocka_unit_test(classes_part_at_256_2k_and_16k),
        cmocka_unit_test(an_observation_that_finds_the_model_busy_is_dropped),
    };
    print_message("seed %d\n", SEED);
    return cmocka_run_group_tests_name("estimator", tests, NULL, NULL);
}
