/* str_test.c - views of text: comparing, cutting, numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/str.h"
#include "support/random.h"

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

/* The case of ASCII letters as a table would say it. */
static bool is_same_letter(int a, int b) {
    const char *lower = "abcdefghijklmnopqrstuvwxyz", *upper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    const char *x = a ? strchr(upper, a) : NULL, *y = b ? strchr(upper, b) : NULL;
    return (x ? lower[x - upper] : a) == (y ? lower[y - upper] : b);
}

static void case_is_that_of_ascii_letters_wherever_they_stand(void **state) {
    (void)state;
    char one[19], other[19];
    for (size_t at = 0; at < sizeof one; at++) {
        memset(one, 'x', sizeof one);
        memset(other, 'X', sizeof other);
        for (int a = 0; a < 256; a++) {
            for (int b = 0; b < 256; b++) {
                one[at] = (char)a;
                other[at] = (char)b;
                bool same = str_ieq((struct str){one, sizeof one}, (struct str){other, sizeof one});
                if (same != is_same_letter(a, b))
                    fail_msg("bytes %d and %d at %zu: %d", a, b, at, same);
            }
        }
    }
}

static void characters_are_counted_by_their_first_bytes(void **state) {
    (void)state;
    static char text[5000];
    struct random r = {7};
    for (int round = 0; round < 300; round++) {
        size_t n = (size_t)random_below(&r, round < 200 ? 200 : (int64_t)sizeof text),
               characters = 0;
        bool is_all_later = random_once_in(&r, 5); /* the most that a counter must hold */
        for (size_t i = 0; i < n; i++) {
            text[i] = is_all_later ? (char)0x80 : (char)random_next(&r);
            characters += ((unsigned char)text[i] & 0xc0) != 0x80;
        }
        assert_int_equal(str_utf8_length((struct str){text, n}), characters);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cuts_items_and_keeps_empty_ones),
        cmocka_unit_test(reads_numbers_and_refuses_the_rest),
        cmocka_unit_test(compares_without_case_and_in_order),
        cmocka_unit_test(compares_secrets),
        cmocka_unit_test(case_is_that_of_ascii_letters_wherever_they_stand),
        cmocka_unit_test(characters_are_counted_by_their_first_bytes),
    };
    return cmocka_run_group_tests_name("str", tests, NULL, NULL);
}
