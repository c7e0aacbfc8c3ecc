/* buf_test.c - bytes that grow up to a ceiling and not beyond it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "support/random.h"

static void holds_what_was_put_in_order(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b, 1000);
    buf_lit(&b, "a");
    buf_str(&b, STR("bc"));
    buf_str(&b, STR(""));
    buf_char(&b, 'd');
    buf_i64(&b, INT64_MIN);
    buf_char(&b, ' ');
    buf_u64(&b, UINT64_MAX);
    buf_char(&b, ' ');
    buf_i64(&b, 0);
    buf_printf(&b, "%s-%d", "x", 7);
    assert_true(str_eq(buf_view(&b), STR("abcd-9223372036854775808 18446744073709551615 0x-7")));
    assert_int_equal(buf_status(&b), ST_OK);
    buf_consume(&b, 4);
    assert_true(str_starts(buf_view(&b), STR("-9223")));
    buf_consume(&b, b.len);
    assert_int_equal(b.len, 0);
    buf_destroy(&b);
}

static void writes_numbers_of_every_length(void **state) {
    (void)state;
    uint64_t power = 1;
    for (int i = 0; i < 20; i++, power *= 10) {
        for (uint64_t v = power - 2; v != power + 2; v++) {
            char made[20], wanted[24];
            size_t n = u64_format(v, made);
            snprintf(wanted, sizeof wanted, "%llu", (unsigned long long)v);
            assert_true(str_eq((struct str){made, n}, str_of(wanted)));
        }
    }
    for (int bits = 0; bits < 64; bits++) {
        char made[20], wanted[24];
        size_t n = u64_format(UINT64_MAX >> bits, made);
        snprintf(wanted, sizeof wanted, "%llu", (unsigned long long)(UINT64_MAX >> bits));
        assert_true(str_eq((struct str){made, n}, str_of(wanted)));
    }
}

static void fills_to_its_ceiling_and_says_when_something_did_not_fit(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b, 4);
    buf_lit(&b, "1234");
    assert_int_equal(buf_status(&b), ST_OK);
    buf_lit(&b, "5");
    assert_int_equal(buf_status(&b), ST_TOO_LARGE);
    assert_true(str_eq(buf_view(&b), STR("1234")));
    /* After a gap nothing may follow, or the text would look whole. */
    buf_consume(&b, 4);
    buf_lit(&b, "6");
    assert_int_equal(b.len, 0);
    buf_clear(&b);
    assert_int_equal(buf_status(&b), ST_OK);
    buf_printf(&b, "%d", 12345);
    assert_int_equal(b.len, 0);
    buf_clear(&b);
    buf_printf(&b, "%d", 1234);
    assert_true(str_eq(buf_view(&b), STR("1234")));
    buf_destroy(&b);
    buf_init(&b, 0);
    assert_null(buf_reserve(&b, 1));
    assert_true(b.overflowed);
    buf_destroy(&b);
}

static void slack_is_there_but_does_not_count(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b, 10);
    for (int round = 0; round < 10; round++) {
        char *at = buf_reserve_slack(&b, 1, 64);
        assert_non_null(at);
        memset(at, 'x', 1 + 64); /* a sanitizer sees it when it is not there */
        buf_commit(&b, 1);
    }
    assert_int_equal(b.len, 10);
    assert_null(buf_reserve_slack(&b, 1, 64));
    buf_destroy(&b);
}

static void never_passes_its_ceiling_whatever_is_put(void **state) {
    (void)state;
    struct random r = {5};
    for (int round = 0; round < 300; round++) {
        struct buf b;
        size_t ceiling = (size_t)random_below(&r, 2000), want = 0;
        bool is_over = false;
        buf_init(&b, ceiling);
        for (int step = 0; step < 50; step++) {
            char bytes[300];
            size_t n = (size_t)random_below(&r, sizeof bytes);
            memset(bytes, step, sizeof bytes);
            buf_put(&b, bytes, n);
            is_over |= n > ceiling - want;
            want += is_over ? 0 : n;
            assert_int_equal(b.len, want);
            assert_true(b.len <= b.cap || b.cap == 0);
            assert_int_equal(buf_status(&b) != ST_OK, is_over);
        }
        buf_destroy(&b);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(holds_what_was_put_in_order),
        cmocka_unit_test(writes_numbers_of_every_length),
        cmocka_unit_test(fills_to_its_ceiling_and_says_when_something_did_not_fit),
        cmocka_unit_test(slack_is_there_but_does_not_count),
        cmocka_unit_test(never_passes_its_ceiling_whatever_is_put),
    };
    return cmocka_run_group_tests_name("buf", tests, NULL, NULL);
}
