/* str_test.c - views of text: comparing, cutting, numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/str.h"

static void cuts_items_and_keeps_empty_ones(void **state) {
    (void)state;
    struct str rest = STR("a,,b"), item;
    assert_true(str_cut(&rest, ',', &item) && str_eq(item, STR("a")));
    assert_true(str_cut(&rest, ',', &item) && item.n == 0);
    assert_true(str_cut(&rest, ',', &item) && str_eq(item, STR("b")));
    assert_false(str_cut(&rest, ',', &item));
    rest = STR("");
    assert_false(str_cut(&rest, ',', &item));
}

static void reads_numbers_and_refuses_the_rest(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool ok;
        int64_t value;
    } cases[] = {
        {"0", true, 0},
        {"-1", true, -1},
        {"9223372036854775807", true, INT64_MAX},
        {"-9223372036854775808", true, INT64_MIN},
        {"9223372036854775808", false, 0},
        {"-9223372036854775809", false, 0},
        {"", false, 0},
        {"-", false, 0},
        {"1 ", false, 0},
        {"+1", false, 0},
        {"0x1", false, 0},
        {"1e3", false, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t v = 77;
        assert_int_equal(str_to_i64(str_of(cases[i].text), &v), cases[i].ok);
        assert_true(v == (cases[i].ok ? cases[i].value : 77));
    }
}

static void compares_without_case_and_in_order(void **state) {
    (void)state;
    assert_true(str_ieq(STR("GPT-4o"), STR("gpt-4O")));
    assert_false(str_ieq(STR("gpt"), STR("gpt4")));
    assert_true(str_cmp(STR("a"), STR("ab")) < 0);
    assert_true(str_cmp(STR("b"), STR("ab")) > 0);
    assert_true(str_ends(STR("x.json"), STR(".json")));
    assert_int_equal(str_find(STR("abcabc"), STR("ca")), 2);
    assert_int_equal(str_find(STR("abc"), STR("x")), -1);
    assert_true(str_eq(str_trim(STR(" \t a b \r\n")), STR("a b")));
}

static void compares_secrets(void **state) {
    (void)state;
    assert_true(str_eq_secret(STR("abc"), STR("abc")));
    assert_false(str_eq_secret(STR("abc"), STR("abd")));
    assert_false(str_eq_secret(STR("abc"), STR("ab")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cuts_items_and_keeps_empty_ones),
        cmocka_unit_test(reads_numbers_and_refuses_the_rest),
        cmocka_unit_test(compares_without_case_and_in_order),
        cmocka_unit_test(compares_secrets),
    };
    return cmocka_run_group_tests_name("str", tests, NULL, NULL);
}
