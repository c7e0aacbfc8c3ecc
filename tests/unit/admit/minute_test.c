/* minute_test.c - the minute metric loses nothing and never reports below zero. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "admit/minute.h"
#include "support/random.h"

#define SEED 20261125

/* At a rate of one million, ppm are mt, so that sums of reports are sums of posts. */
#define PPM_IS_MT 1000000

static void reports_and_the_last_carry_sum_to_the_posts(void **state) {
    (void)state;
    struct random r = {SEED};
    for (int round = 0; round < 50; round++) {
        struct minute_slot slots[4];
        struct minute_ring m;
        minute_init(&m, slots, ARRAY_LEN(slots));
        int64_t posted = 0, reported = 0, carry = 0, next = 0;
        for (int64_t t = 0; t < 200 * NS_PER_MIN; t += random_below(&r, 40 * NS_PER_S)) {
            for (; next < minute_of(t); next++) {
                int64_t ppm;
                carry = minute_report(&m, next, 1, carry, PPM_IS_MT, &ppm);
                assert_true(ppm >= 0 && carry <= 0);
                reported += ppm;
            }
            int64_t delta = random_between(&r, -7000, 8000);
            minute_post(&m, t, delta);
            posted += delta;
        }
        int64_t last;
        carry = minute_report(&m, next, 1, carry, PPM_IS_MT, &last);
        assert_int_equal(reported + last + carry, posted);
    }
}

static void a_negative_minute_reports_zero_and_carries(void **state) {
    (void)state;
    struct minute_slot slots[8];
    struct minute_ring m;
    minute_init(&m, slots, ARRAY_LEN(slots));
    minute_post(&m, 0, 500);
    minute_post(&m, NS_PER_MIN - 1, 200);
    minute_post(&m, NS_PER_MIN, -400);
    minute_post(&m, 3 * NS_PER_MIN, 1000);
    int64_t ppm[4];
    assert_int_equal(minute_report(&m, 0, 4, 0, 1000, ppm), 0);
    assert_int_equal(ppm[0], 700000);
    assert_int_equal(ppm[1], 0);
    assert_int_equal(ppm[2], 0); /* no posts; the debt of 400 goes on */
    assert_int_equal(ppm[3], 600000);
    assert_int_equal(minute_report(&m, 1, 2, -50, 1000, ppm), -450);
    assert_int_equal(minute_report(&m, 0, 1, 0, 0, ppm), 0);
    assert_int_equal(ppm[0], 0); /* without units there is no share */
}

static void a_slot_is_taken_over_by_its_next_minute(void **state) {
    (void)state;
    struct minute_slot slots[3];
    struct minute_ring m;
    minute_init(&m, slots, ARRAY_LEN(slots));
    minute_post(&m, 5 * NS_PER_MIN, 70);
    minute_post(&m, 8 * NS_PER_MIN, 3);
    assert_int_equal(minute_net_mt(&m, 5), 0);
    assert_int_equal(minute_net_mt(&m, 8), 3);
    minute_post(&m, 5 * NS_PER_MIN, 4); /* far too late: counted where it can be */
    assert_int_equal(minute_net_mt(&m, 8), 7);
    minute_post(&m, -1, 9); /* a clock may begin below zero */
    assert_int_equal(minute_of(-1), -1);
    assert_int_equal(minute_net_mt(&m, 2), 0);
    struct minute_ring none = {0};
    minute_post(&none, 0, 1);
    assert_int_equal(minute_net_mt(&none, 0), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reports_and_the_last_carry_sum_to_the_posts),
        cmocka_unit_test(a_negative_minute_reports_zero_and_carries),
        cmocka_unit_test(a_slot_is_taken_over_by_its_next_minute),
    };
    print_message("seed %d\n", SEED);
    return cmocka_run_group_tests_name("minute", tests, NULL, NULL);
}
