/* pieces_test.c - where text is cut, by each pattern. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "tokens/pieces.h"

/* The text with bars where it is cut. */
static void cut(enum token_pattern pattern, struct str text, struct buf *out) {
    const char *p = text.p, *end = text.p + text.n;
    buf_clear(out);
    while (p < end) {
        const char *next = pieces_end(pattern, p, end);
        assert_true(next > p && next <= end);
        if (out->len)
            buf_char(out, '|');
        buf_put(out, p, (size_t)(next - p));
        p = next;
    }
}

/*
 * Expected cuts, as the regular expressions make them. Each text is tried twice: as it is, and with so
 * much behind it that the way for long ASCII texts is taken; digits there, which join nothing here.
 */
static void cuts_where_the_expressions_do(void **state) {
    (void)state;
    static const struct {
        const char *o200k, *cl100k; /* the second NULL: the same */
    } cases[] = {
        {"Hello|,| world|!", NULL},
        {"don't| DON'T| I'll| they're", "don|'t| DON|'T| I|'ll| they|'re"},
        {"a's|x", "a|'s|x"},
        {"camel|Case|Word| XMLHttp|Request", "camelCaseWord| XMLHttpRequest"},
        {"123|456|7| |890", NULL},
        {"x|  | y", "x|  | y"},
        {"a| \n\n| | b", NULL},
        {"a|\t|\tb", NULL},
        {"f|(x|);\n\n|g", NULL},
        {"http|://|x|/y|/\n/|z", "http|://|x|/y|/\n|/z"},
        {"../\r\n/|x", "../\r\n|/x"},
        {"\xe4\xb8\xad|ABC", "\xe4\xb8\xad"
                             "ABC"},
        {"AB\xe4\xb8\xad"
         "c|D",
         "AB\xe4\xb8\xad"
         "cD"},
        {" \xd0\x9f\xd1\x80\xd0\xb8|\xd0\x9f", " \xd0\x9f\xd1\x80\xd0\xb8\xd0\x9f"},
        {"e\xcc\x81t| \xcc\x81", "e|\xcc\x81t| \xcc\x81"},
        {"\xcc\x81|ABC", "\xcc\x81"
                         "ABC"},
        {"\xe2\x82\xac|555", "\xe2\x82\xac|555"},
        {"\xd9\xa1\xd9\xa2\xd9\xa3|\xd9\xa4\xd9\xa5\xd9\xa6", NULL},
        {"a|\xc2\xa0\xc2\xa0|\xc2\xa0"
         "b",
         "a|\xc2\xa0\xc2\xa0|\xc2\xa0"
         "b"},
        {"it'\xc5\xbf", "it|'\xc5\xbf"},
        {"it|'\xc5\xbe", "it|'\xc5\xbe"},
    };
    struct buf plain, out;
    buf_init(&plain, 1 << 10);
    buf_init(&out, 1 << 10);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (int pattern = PATTERN_CL100K; pattern <= PATTERN_O200K; pattern++) {
            const char *cuts = cases[i].cl100k;
            if (pattern == PATTERN_O200K || !cuts)
                cuts = cases[i].o200k;
            for (int is_long = 0; is_long < 2; is_long++) {
                static const char behind[] = "|123| more| text| behind| it";
                struct buf expected;
                buf_init(&expected, 1 << 10);
                buf_str(&expected, str_of(cuts));
                buf_clear(&plain);
                if (is_long)
                    buf_str(&expected, str_of(behind));
                for (size_t k = 0; k < expected.len; k++) {
                    if (expected.p[k] != '|')
                        buf_char(&plain, expected.p[k]);
                }
                cut((enum token_pattern)pattern, buf_view(&plain), &out);
                if (!str_eq(buf_view(&out), buf_view(&expected)))
                    print_message("expected %.*s\n     got %.*s\n", STR_ARG(buf_view(&expected)),
                                  STR_ARG(buf_view(&out)));
                assert_true(str_eq(buf_view(&out), buf_view(&expected)));
                buf_destroy(&expected);
            }
        }
    }
    buf_destroy(&plain);
    buf_destroy(&out);
}

/* The expressions of other models, where they differ from those two. */
static void cuts_as_other_models_do(void **state) {
    (void)state;
    static const struct {
        enum token_pattern pattern;
        const char *cuts;
    } cases[] = {
        {PATTERN_QWEN2, "don|'T| |1|2|3| |4"},
        {PATTERN_QWEN2, "e|\xcc\x81t| x|/y|/\n|/z"},
        {PATTERN_QWEN35, "e\xcc\x81t|,\xcc\x81x| \xcc\x81"},
        {PATTERN_QWEN35, "1|\xcc\x81| \xcc\x81\xcc\x81|!\xcc\x81"},
        {PATTERN_TEKKEN, "camel|Case|'s| don|'t| XMLHttp|/\n/|1|2"},
        {PATTERN_GPT2, "don|'t| DON|'|T| 12345| \n\n| x|(\xcc\x81/|\n|/|z"},
        {PATTERN_GPT2, "it|'|\xc5\xbf|  | 12\xc2\xbd|  "},
        {PATTERN_GPT2_DIGITS, "x|1|2| |3|  |4|a|  | b|  |5| '|ll"},
    };
    struct buf plain, out;
    buf_init(&plain, 1 << 10);
    buf_init(&out, 1 << 10);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str expected = str_of(cases[i].cuts);
        buf_clear(&plain);
        for (size_t k = 0; k < expected.n; k++) {
            if (expected.p[k] != '|')
                buf_char(&plain, expected.p[k]);
        }
        cut(cases[i].pattern, buf_view(&plain), &out);
        buf_char(&out, '\0');
        assert_string_equal(out.p, cases[i].cuts);
    }
    buf_destroy(&plain);
    buf_destroy(&out);
}

static void counts_the_blanks_at_both_ends(void **state) {
    (void)state;
    static const struct {
        struct str text;
        size_t at_begin, at_end;
    } cases[] = {
        {STR_INIT(""), 0, 0},
        {STR_INIT("x"), 0, 0},
        {STR_INIT(" \t\r\n"), 4, 4},
        {STR_INIT("\xc2\xa0 x\xe3\x80\x80"), 3, 3},
        {STR_INIT("  \xa0x \x80"), 2, 0},
        {STR_INIT("\x80\x80"), 0, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *p = cases[i].text.p, *end = p + cases[i].text.n;
        assert_int_equal(pieces_blanks(p, end), cases[i].at_begin);
        assert_int_equal(pieces_blanks_before(p, end), cases[i].at_end);
    }
}

/* Whatever the bytes: pieces are not empty, and nothing behind the end is read (ASan looks). */
static void takes_any_bytes(void **state) {
    (void)state;
    for (unsigned first = 0; first < 256; first++) {
        for (unsigned n = 1; n < 24; n++) {
            struct buf text;
            buf_init(&text, 64);
            for (unsigned i = 0; i < n; i++)
                buf_char(&text, (char)(i == n - 1 ? first : first * 7 + i * 31));
            char *exact = xmalloc(text.len);
            memcpy(exact, text.p, text.len);
            for (int pattern = 0; pattern < PATTERN_COUNT; pattern++) {
                for (const char *p = exact, *next; p < exact + n; p = next) {
                    next = pieces_end((enum token_pattern)pattern, p, exact + n);
                    assert_true(next > p && next <= exact + n);
                }
            }
            free(exact);
            buf_destroy(&text);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cuts_where_the_expressions_do),
        cmocka_unit_test(cuts_as_other_models_do),
        cmocka_unit_test(counts_the_blanks_at_both_ends),
        cmocka_unit_test(takes_any_bytes),
    };
    return cmocka_run_group_tests_name("pieces", tests, NULL, NULL);
}
