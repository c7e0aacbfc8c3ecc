/* sizing_test.c - the calculator gives what is published, and never too little. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "sizing/sizing.h"
#include "support/random.h"

static const struct sizing_model gpt_4o = {2500, 3000, SIZING_PPM};
static const struct sizing_model gpt_52 = {3400, 8000, SIZING_PPM};

static int64_t tpm(int64_t rpm, int64_t prompt, int64_t output, int64_t cached_ppm,
                   const struct sizing_model *m) {
    return sizing_tpm_milli(&(struct sizing_load){rpm * 1000, prompt, output, cached_ppm}, m);
}

static void gives_the_published_examples(void **state) {
    (void)state;
    /* admission spec 7.1: 60 calls of 1,000 in and 300 out are 114,000 tokens a minute, 46 PTUs, 50
     * to deploy. */
    assert_int_equal(tpm(60, 1000, 300, 0, &gpt_4o), 114000 * 1000);
    assert_int_equal(sizing_ptus(114000 * 1000, &gpt_4o, SIZING_PPM), 46);
    assert_int_equal(sizing_deployable(46, 15, 5), 50);
    /* Microsoft, PTU requirements page: 360,000 tokens a minute are 105.88 PTUs, 150 regional; half of
     * the prompt cached, 260,000 are 76.47 and 100; the other split of 500,000 is 147.06 and 150. */
    static const struct {
        int64_t prompt, output, cached_ppm, tpm, raw, regional;
    } cases[] = {
        {200, 20, 0, 360000, 106, 150},
        {200, 20, 500000, 260000, 77, 100},
        {100, 50, 0, 500000, 148, 150},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t need = tpm(1000, cases[i].prompt, cases[i].output, cases[i].cached_ppm, &gpt_52);
        int64_t raw = sizing_ptus(need, &gpt_52, SIZING_PPM);
        assert_int_equal(need, cases[i].tpm * 1000);
        assert_int_equal(raw, cases[i].raw);
        assert_int_equal(sizing_deployable(raw, 50, 50), cases[i].regional);
    }
}

static void a_load_of_nothing_needs_the_minimum(void **state) {
    (void)state;
    assert_int_equal(tpm(0, 1000, 1000, 0, &gpt_4o), 0);
    assert_int_equal(tpm(1000, 0, 0, 0, &gpt_4o), 0);
    assert_int_equal(sizing_ptus(0, &gpt_4o, SIZING_PPM), 0);
    assert_int_equal(sizing_deployable(0, 15, 5), 15);
}

static void rounds_up_at_the_very_edge_of_a_step(void **state) {
    (void)state;
    assert_int_equal(sizing_ptus(2500 * 1000, &gpt_4o, SIZING_PPM), 1);
    assert_int_equal(sizing_ptus(2500 * 1000 + 1, &gpt_4o, SIZING_PPM), 2);
    assert_int_equal(sizing_ptus(2000 * 1000, &gpt_4o, 800000), 1);
    assert_int_equal(sizing_ptus(2000 * 1000 + 1, &gpt_4o, 800000), 2);
    assert_int_equal(sizing_deployable(15, 15, 5), 15);
    assert_int_equal(sizing_deployable(16, 15, 5), 20);
    assert_int_equal(sizing_deployable(20, 15, 5), 20);
    assert_int_equal(sizing_deployable(21, 15, 5), 25);
}

static void the_largest_workload_does_not_overflow(void **state) {
    (void)state;
    struct sizing_load load = {SIZING_RPM_MAX * 1000, SIZING_TOKENS_MAX, SIZING_TOKENS_MAX, 0};
    struct sizing_model dear = {1, 1000 * 1000, SIZING_PPM};
    /* 10^8 calls of 10^8 and 10^11 input tokens: more than 64 bits hold, so the most that they hold. */
    assert_int_equal(sizing_tpm_milli(&load, &dear), INT64_MAX);
    assert_true(sizing_ptus(INT64_MAX, &dear, 1) == INT64_MAX);
    assert_true(sizing_deployable(INT64_MAX, 15, 5) == INT64_MAX);
}

/* The need lies above the size one step below, and not above the size itself. */
static void is_the_smallest_size_that_carries_the_load(void **state) {
    (void)state;
    struct random r = {7};
    for (int i = 0; i < 20000; i++) {
        struct sizing_load load = {random_between(&r, 0, 5000000), random_between(&r, 0, 20000),
                                   random_between(&r, 0, 4000), random_between(&r, 0, SIZING_PPM)};
        struct sizing_model m = {random_between(&r, 1, 60000), random_between(&r, 0, 10000),
                                 random_between(&r, 0, SIZING_PPM)};
        int64_t minimum = random_between(&r, 1, 100), step = random_between(&r, 1, 100);
        int64_t need = sizing_tpm_milli(&load, &m);
        int64_t raw = sizing_ptus(need, &m, SIZING_PPM);
        int64_t size = sizing_deployable(raw, minimum, step);
        assert_true(raw * m.input_tpm_per_ptu * 1000 >= need);
        assert_true(raw == 0 || (raw - 1) * m.input_tpm_per_ptu * 1000 < need);
        assert_true(size >= raw && size >= minimum && (size - minimum) % step == 0);
        assert_true(size == minimum || size - step < raw);
        /* Cached tokens never make a load dearer, whatever they are let off. */
        struct sizing_load uncached = load;
        uncached.cached_ppm = 0;
        assert_true(need <= sizing_tpm_milli(&uncached, &m));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_the_published_examples),
        cmocka_unit_test(a_load_of_nothing_needs_the_minimum),
        cmocka_unit_test(rounds_up_at_the_very_edge_of_a_step),
        cmocka_unit_test(the_largest_workload_does_not_overflow),
        cmocka_unit_test(is_the_smallest_size_that_carries_the_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
