/* script_test.c - words, tokens, lengths, stop sequences and echoes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sim/script.h"

static struct str words(struct buf *b, uint64_t hash, int64_t n, bool is_complete) {
    buf_clear(b);
    script_put_words(b, hash, n, is_complete);
    return buf_view(b);
}

static void words_are_as_many_tokens_as_ordered_and_need_no_escape(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b, 1 << 20);
    for (int64_t n = 0; n < 300; n++) {
        struct str text = words(&b, (uint64_t)n, n, n % 2);
        assert_int_equal(script_count(text), n);
        for (size_t i = 0; i < text.n; i++) {
            char c = text.p[i];
            assert_true(c == ' ' || c == '.' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'));
        }
        if (n) {
            assert_true(text.p[0] >= 'A' && text.p[0] <= 'Z');
            assert_true(n % 2 == 0 || text.p[text.n - 1] == '.');
        }
    }
    buf_destroy(&b);
}

static void the_same_hash_says_the_same_and_a_shorter_answer_begins_alike(void **state) {
    (void)state;
    struct buf a, b;
    buf_init(&a, 1 << 20);
    buf_init(&b, 1 << 20);
    assert_true(str_eq(words(&a, 42, 100, false), words(&b, 42, 100, false)));
    assert_true(str_starts(buf_view(&a), words(&b, 42, 30, false)));
    assert_false(str_eq(words(&a, 42, 100, false), words(&b, 43, 100, false)));
    buf_destroy(&a);
    buf_destroy(&b);
}

static void lengths_have_the_mean_that_was_ordered(void **state) {
    (void)state;
    int64_t sum = 0, least = INT64_MAX, most = 0;
    enum { N = 100000 };
    for (uint64_t i = 0; i < N; i++) {
        int64_t n = script_length(i, 1000);
        sum += n;
        least = i64_min(least, n);
        most = i64_max(most, n);
    }
    assert_in_range(sum / N, 990, 1010);
    assert_in_range(least, 200, 400);
    assert_in_range(most, 2500, 3000);
    assert_int_equal(script_length(1, 0), 1);
}

static void tokens_put_together_are_the_text(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t n;
    } cases[] = {
        {"", 0},    {"a", 1},     {" ", 1},       {"  a", 1},
        {"a b", 2}, {"a  b ", 3}, {"a\nb\tc", 1}, {"gr\xc3\xbc\xc3\x9f \xf0\x9f\x8c\x8a!", 2},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str text = str_of(cases[i].text), rest = text, token;
        size_t at = 0;
        int64_t n = 0;
        while (script_token(&rest, &token)) {
            assert_ptr_equal(token.p, text.p + at);
            assert_true(token.n > 0);
            at += token.n;
            n++;
            assert_true(str_eq(script_prefix(text, n), (struct str){text.p, at}));
        }
        assert_int_equal(at, text.n);
        assert_int_equal(n, cases[i].n);
        assert_int_equal(script_count(text), n);
    }
}

static void stops_before_the_sequence_that_is_complete_first(void **state) {
    (void)state;
    const struct str none[] = {STR("xyz"), STR("")};
    assert_true(str_eq(script_stop(STR("abcdef"), none, 2), STR("abcdef")));
    const struct str one[] = {STR("cd")};
    assert_true(str_eq(script_stop(STR("abcdcd"), one, 1), STR("ab")));
    const struct str tie[] = {STR("cd"), STR("bcd")};
    assert_true(str_eq(script_stop(STR("abcdef"), tie, 2), STR("a")));
    const struct str late[] = {STR("bcdef"), STR("cd")};
    assert_true(str_eq(script_stop(STR("abcdef"), late, 2), STR("ab")));
    const struct str all[] = {STR("abc")};
    assert_true(str_eq(script_stop(STR("abc"), all, 1), STR("")));
}

static void echoes_what_stands_between_the_marks_and_nothing_else(void **state) {
    (void)state;
    struct str text;
    assert_true(script_echo(STR("please [[echo:a ] b]] now"), &text));
    assert_true(str_eq(text, STR("a ] b")));
    assert_true(script_echo(STR("[[echo:]]"), &text) && text.n == 0);
    assert_true(script_echo(STR("[[echo:a]]b]]"), &text) && str_eq(text, STR("a]]b")));
    assert_false(script_echo(STR("[[echo:a]"), &text));
    assert_false(script_echo(STR("[echo:a]]"), &text));
    assert_false(script_echo(STR(""), &text));
}

static void a_hash_depends_on_every_byte(void **state) {
    (void)state;
    char text[40] = {0};
    for (size_t n = 1; n <= sizeof text; n++) {
        uint64_t h = script_hash(1, (struct str){text, n});
        assert_true(h != script_hash(2, (struct str){text, n}));
        assert_true(h != script_hash(1, (struct str){text, n - 1}));
        for (size_t i = 0; i < n; i++) {
            text[i] ^= 1;
            assert_true(h != script_hash(1, (struct str){text, n}));
            text[i] ^= 1;
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_as_many_tokens_as_ordered_and_need_no_escape),
        cmocka_unit_test(the_same_hash_says_the_same_and_a_shorter_answer_begins_alike),
        cmocka_unit_test(lengths_have_the_mean_that_was_ordered),
        cmocka_unit_test(tokens_put_together_are_the_text),
        cmocka_unit_test(stops_before_the_sequence_that_is_complete_first),
        cmocka_unit_test(echoes_what_stands_between_the_marks_and_nothing_else),
        cmocka_unit_test(a_hash_depends_on_every_byte),
    };
    return cmocka_run_group_tests_name("script", tests, NULL, NULL);
}
