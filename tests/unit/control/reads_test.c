/* reads_test.c - answers that are kept: for the same question, in the same world, within their bound. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "control/reads.h"

#include <stdio.h>
#include <stdlib.h>

static const struct siphash_key key = {1, 2};

static struct reads_question question(const char *target) {
    return (struct reads_question){.target = str_of(target),
                                   .base_url = STR("https://localhost:1"),
                                   .object_id = STR("o1"),
                                   .app_id = STR("a1"),
                                   .is_own = true};
}

static struct reads_answer answer(const char *body) {
    return (struct reads_answer){str_of(body), STR("\"e1\"")};
}

static void an_answer_is_found_in_the_world_that_it_was_made_in_alone(void **state) {
    (void)state;
    struct reads *r = reads_new(1 << 20, &key);
    struct reads_question q = question("/a");
    struct reads_answer a = answer("{}"), found;
    assert_false(reads_find(r, 7, &q, &found));
    reads_keep(r, 7, &q, &a);
    assert_true(reads_find(r, 7, &q, &found));
    assert_true(str_eq(found.body, STR("{}")) && str_eq(found.etag, STR("\"e1\"")));
    assert_false(reads_find(r, 8, &q, &found));
    assert_false(reads_find(r, 6, &q, &found));
    a = answer("{\"n\":2}");
    reads_keep(r, 8, &q, &a);
    assert_true(reads_find(r, 8, &q, &found));
    assert_true(str_eq(found.body, STR("{\"n\":2}")));
    assert_false(reads_find(r, 7, &q, &found));
    reads_free(r);
}

/* Each part of a question counts, and where one ends and the next begins. */
static void whoever_asks_anything_else_gets_nothing_of_it(void **state) {
    (void)state;
    struct reads *r = reads_new(1 << 20, &key);
    struct reads_question q = question("/a"), others[7];
    struct reads_answer a = answer("{}"), found;
    reads_keep(r, 1, &q, &a);
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        others[i] = q;
    others[0].target = STR("/b");
    others[1].base_url = STR("https://localhost:2");
    others[2].object_id = STR("o2");
    others[3].app_id = STR("a2");
    others[4].is_own = false;
    others[5].object_id = STR("o1a1");
    others[5].app_id = STR("");
    others[6].target = STR("/ahttps://localhost:1");
    others[6].base_url = STR("");
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        assert_false(reads_find(r, 1, &others[i], &found));
    assert_true(reads_find(r, 1, &q, &found));
    reads_free(r);
}

static void what_was_asked_for_the_longest_ago_makes_room(void **state) {
    (void)state;
    enum { N = 100, BODY = 1000 };
    struct reads *r = reads_new(10 * (BODY + 300), &key);
    char body[BODY + 1], target[20];
    struct reads_question first = question("/first");
    struct reads_answer found;
    memset(body, 'x', BODY);
    body[BODY] = '\0';
    struct reads_answer a = answer(body);
    reads_keep(r, 1, &first, &a);
    for (int i = 0; i < N; i++) {
        snprintf(target, sizeof target, "/%d", i);
        struct reads_question q = question(target);
        reads_keep(r, 1, &q, &a);
        assert_true(reads_find(r, 1, &q, &found));
        assert_true(reads_find(r, 1, &first, &found)); /* in use, so it stays */
    }
    int n_found = 0;
    for (int i = 0; i < N; i++) {
        snprintf(target, sizeof target, "/%d", i);
        struct reads_question q = question(target);
        bool is_kept = reads_find(r, 1, &q, &found);
        assert_false(is_kept && i < N - 11);
        n_found += is_kept;
    }
    assert_in_range(n_found, 7, 10);
    reads_free(r);
}

static void what_is_too_long_is_not_kept_and_takes_nothing_along(void **state) {
    (void)state;
    struct reads *r = reads_new(4 << 20, &key);
    char *body = calloc(1, READS_BODY_MAX + 2);
    struct reads_question q = question("/a"), large = question("/large");
    struct reads_answer a = answer("{}"), found;
    reads_keep(r, 1, &q, &a);
    memset(body, 'x', READS_BODY_MAX + 1);
    a.body = (struct str){body, READS_BODY_MAX + 1};
    reads_keep(r, 1, &large, &a);
    assert_false(reads_find(r, 1, &large, &found));
    a.body.n--;
    reads_keep(r, 1, &large, &a);
    assert_true(reads_find(r, 1, &large, &found));
    large.target = (struct str){body, 64 << 10}; /* longer than any target that comes here */
    reads_keep(r, 1, &large, &a);
    assert_false(reads_find(r, 1, &large, &found));
    assert_true(reads_find(r, 1, &q, &found));
    reads_free(r);
    free(body);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_is_found_in_the_world_that_it_was_made_in_alone),
        cmocka_unit_test(whoever_asks_anything_else_gets_nothing_of_it),
        cmocka_unit_test(what_was_asked_for_the_longest_ago_makes_room),
        cmocka_unit_test(what_is_too_long_is_not_kept_and_takes_nothing_along),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
