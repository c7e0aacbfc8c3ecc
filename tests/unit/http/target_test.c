/* target_test.c - request targets: paths, segments, percent-decoding and queries. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http/target.h"
#include "support/random.h"

static void splits_both_forms_and_refuses_the_rest(void **state) {
    (void)state;
    static const struct {
        const char *target, *path, *query; /* path NULL: refused; query NULL: none */
    } cases[] = {
        {"/a/b?x=1", "/a/b", "x=1"},
        {"/", "/", NULL},
        {"/a?", "/a", ""},
        {"/a?b?c", "/a", "b?c"},
        {"/a#f?x", "/a", NULL},
        {"/a?x=1#f", "/a", "x=1"},
        {"http://h:1/a?x=1", "/a", "x=1"},
        {"https://h/", "/", NULL},
        {"", NULL, NULL},
        {"*", NULL, NULL},
        {"a/b", NULL, NULL},
        {"h:443", NULL, NULL},
        {"http://h", NULL, NULL},
        {"://h/a", NULL, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str path, query = STR("?");
        bool ok = target_split(str_of(cases[i].target), &path, &query);
        assert_int_equal(ok, cases[i].path != NULL);
        if (!ok)
            continue;
        assert_true(str_eq(path, str_of(cases[i].path)));
        assert_int_equal(query.p != NULL, cases[i].query != NULL);
        assert_true(str_eq(query, str_of(cases[i].query)));
    }
}

static void walks_segments_and_takes_many_slashes_for_one(void **state) {
    (void)state;
    struct str path = STR("//a///b%2Fc/d/"), segment;
    assert_true(target_segment(&path, &segment) && str_eq(segment, STR("a")));
    assert_true(target_segment(&path, &segment) && str_eq(segment, STR("b%2Fc")));
    assert_true(target_segment(&path, &segment) && str_eq(segment, STR("d")));
    assert_false(target_segment(&path, &segment));
    path = STR("///");
    assert_false(target_segment(&path, &segment));
}

static void decodes_escapes_and_refuses_broken_ones(void **state) {
    (void)state;
    static const struct {
        const char *text, *plain; /* NULL: refused */
        bool is_query;
    } cases[] = {
        {"my%20model", "my model", false},
        {"a+b", "a+b", false},
        {"a+b", "a b", true},
        {"%41%6a%6A", "Ajj", false},
        {"", "", false},
        {"%C3%A9", "\xc3\xa9", false},
        {"%2525", "%25", false}, /* once only */
        {"%", NULL, false},
        {"a%4", NULL, false},
        {"%g1", NULL, false},
        {"%00", NULL, false},
        {"%+1", NULL, true},
        {"%%41", NULL, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char out[32];
        struct str plain;
        bool ok = target_decode(str_of(cases[i].text), cases[i].is_query, out, &plain);
        assert_int_equal(ok, cases[i].plain != NULL);
        assert_true(!ok || str_eq(plain, str_of(cases[i].plain)));
    }
}

static void whatever_is_encoded_is_decoded_to_itself(void **state) {
    (void)state;
    static const char hex[] = "0123456789aBcDeF";
    struct random r = {21};
    for (int round = 0; round < 2000; round++) {
        char plain[40], text[120], out[120];
        size_t n = (size_t)random_below(&r, sizeof plain), n_text = 0;
        for (size_t i = 0; i < n; i++) {
            plain[i] = (char)random_between(&r, 1, 255);
            unsigned char c = (unsigned char)plain[i];
            if (c == '%' || random_once_in(&r, 2)) {
                text[n_text++] = '%';
                text[n_text++] = hex[c >> 4];
                text[n_text++] = hex[c & 15];
            } else {
                text[n_text++] = (char)c;
            }
        }
        struct str got;
        assert_true(target_decode((struct str){text, n_text}, false, out, &got));
        assert_true(str_eq(got, (struct str){plain, n}));
    }
}

static void finds_the_first_query_parameter_of_a_name(void **state) {
    (void)state;
    static const struct {
        const char *query, *value; /* NULL: none */
    } cases[] = {
        {"api-version=2024-10-21", "2024-10-21"},
        {"x=1&api-version=a&api-version=b", "a"},
        {"API-Version=a", "a"},
        {"api%2Dversion=a%20b", "a%20b"},
        {"api-version=", ""},
        {"api-version", ""},
        {"&&api-version=a=b", "a=b"},
        {"", NULL},
        {"api-versions=1", NULL},
        {"x=api-version", NULL},
        {"%zz=1&api-version=a", "a"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str value = query_get(str_of(cases[i].query), STR("api-version"));
        assert_int_equal(value.p != NULL, cases[i].value != NULL);
        assert_true(!value.p || str_eq(value, str_of(cases[i].value)));
    }
    assert_null(query_get((struct str){NULL, 0}, STR("x")).p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(splits_both_forms_and_refuses_the_rest),
        cmocka_unit_test(walks_segments_and_takes_many_slashes_for_one),
        cmocka_unit_test(decodes_escapes_and_refuses_broken_ones),
        cmocka_unit_test(whatever_is_encoded_is_decoded_to_itself),
        cmocka_unit_test(finds_the_first_query_parameter_of_a_name),
    };
    return cmocka_run_group_tests_name("target", tests, NULL, NULL);
}
