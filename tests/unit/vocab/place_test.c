/* place_test.c - values are found in the text that they stand in, line by line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/base.h"
#include "vocab/place.h"

static const char text[] = "\n{ \"a\" : 1,\n"
                           "  \"b{\\\"\" : [ \"]\\\\\",\n"
                           "    {}, [],\n"
                           "    -1.5e3 , true\n"
                           "    ,{\"x\":\n"
                           "null} ],\n"
                           "\"c\":\n"
                           "\n"
                           "\"last\"\n"
                           "}\n";

static void finds_the_line_of_each_value(void **state) {
    (void)state;
    static const struct {
        struct place_step steps[3];
        size_t n, line;
    } cases[] = {
        {{{STR_INIT(""), 0}}, 0, 2},
        {{{STR_INIT("a"), 0}}, 1, 2},
        {{{STR_INIT("b{\\\""), 0}}, 1, 3},
        {{{STR_INIT(""), 1}}, 1, 3},
        {{{STR_INIT(""), 1}, {STR_INIT(""), 0}}, 2, 3},
        {{{STR_INIT(""), 1}, {STR_INIT(""), 1}}, 2, 4},
        {{{STR_INIT(""), 1}, {STR_INIT(""), 2}}, 2, 4},
        {{{STR_INIT(""), 1}, {STR_INIT(""), 3}}, 2, 5},
        {{{STR_INIT(""), 1}, {STR_INIT(""), 4}}, 2, 5},
        {{{STR_INIT(""), 1}, {STR_INIT(""), 5}}, 2, 6},
        {{{STR_INIT(""), 1}, {STR_INIT(""), 5}, {STR_INIT("x"), 0}}, 3, 7},
        {{{STR_INIT("c"), 0}}, 1, 10},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(place_line(str_of(text), cases[i].steps, cases[i].n), cases[i].line);
}

static void stays_where_a_step_leads_nowhere(void **state) {
    (void)state;
    static const struct place_step steps[] = {{STR_INIT(""), 1}, {STR_INIT("x"), 0}};
    static const struct place_step none[] = {{STR_INIT("nobody"), 0}};
    static const struct place_step into[] = {{STR_INIT("a"), 0}, {STR_INIT(""), 0}};
    assert_int_equal(place_line(str_of(text), steps, 2), 3);
    assert_int_equal(place_line(str_of(text), none, 1), 2);
    assert_int_equal(place_line(str_of(text), into, 2), 2);
    assert_int_equal(place_line(STR(""), into, 2), 1);
}

/* What is no JSON leads somewhere, but not beyond its end. */
static void takes_texts_that_break_off(void **state) {
    (void)state;
    static const struct place_step steps[] = {
        {STR_INIT(""), 1}, {STR_INIT(""), 5}, {STR_INIT("x"), 0}};
    for (size_t n = 0; n < sizeof text; n++) {
        size_t line = place_line((struct str){text, n}, steps, ARRAY_LEN(steps));
        assert_true(line >= 1 && line <= 12);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_line_of_each_value),
        cmocka_unit_test(stays_where_a_step_leads_nowhere),
        cmocka_unit_test(takes_texts_that_break_off),
    };
    return cmocka_run_group_tests_name("place", tests, NULL, NULL);
}
