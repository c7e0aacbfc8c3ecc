/* count_test.c - exact counts: known ones, and what must hold of any text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "support/random.h"
#include "tokens/count.h"
#include "tokens/pieces.h"
#include "tokens/utf8.h"
#include "tokens/vocabulary_private.h"

static struct token_cache *o200k, *cl100k;

static int make_caches(void **state) {
    (void)state;
    struct vocabulary v = vocabulary_o200k();
    o200k = token_cache_new(&v);
    v = vocabulary_cl100k();
    cl100k = token_cache_new(&v);
    return 0;
}

static int free_caches(void **state) {
    (void)state;
    token_cache_free(o200k);
    token_cache_free(cl100k);
    return 0;
}

/* More than 62 bytes of one: there, cuts stand only about right. */
static bool has_long_run(struct str text) {
    size_t run = 1;
    for (size_t i = 1; i < text.n; i++) {
        run = text.p[i] == text.p[i - 1] ? run + 1 : 1;
        if (run > 62)
            return true;
    }
    return false;
}

/* Ids as tiktoken 1.0.22 gives them. */
static void gives_the_ids_of_known_texts(void **state) {
    (void)state;
    static const struct {
        struct str text;
        uint32_t o200k[8], cl100k[8]; /* ended by 0 */
    } cases[] = {
        {STR_INIT("a"), {64}, {64}},
        {STR_INIT("Hello, world"), {13225, 11, 2375}, {9906, 11, 1917}},
        {STR_INIT("<|endoftext|>"),
         {27, 91, 419, 1440, 919, 91, 29},
         {27, 91, 8862, 728, 428, 91, 29}},
        {STR_INIT("  indented\n"), {220, 1383, 23537, 198}, {220, 1280, 16243, 198}},
        {STR_INIT("don't"), {91418}, {15357, 956}},
        {STR_INIT("\xe4\xb8\xad\xe5\x9b\xbd\xe4\xba\xba"), {11372, 1995}, {59795, 17792}},
        {STR_INIT("\xf0\x9f\x9a\x80"), {112927, 222}, {9468, 248, 222}},
        {STR_INIT("x\x00y"), {87, 188, 88}, {87, 188, 88}},
    };
    struct buf ids;
    buf_init(&ids, 1 << 10);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (int k = 0; k < 2; k++) {
            const uint32_t *expected = k ? cases[i].cl100k : cases[i].o200k;
            struct token_cache *c = k ? cl100k : o200k;
            size_t n = 0;
            while (expected[n])
                n++;
            buf_clear(&ids);
            assert_int_equal(token_ids(c, cases[i].text, &ids), ST_OK);
            assert_int_equal(ids.len, n * sizeof(uint32_t));
            assert_memory_equal(ids.p, expected, ids.len);
            assert_int_equal(token_count(c, cases[i].text), n);
        }
    }
    buf_destroy(&ids);
}

/* What is not counted anew must be right from the beginning; and be found, or it is of no use. */
static void begins_with_tokens_where_they_are_looked_for(void **state) {
    (void)state;
    struct vocabulary both[] = {vocabulary_o200k(), vocabulary_cl100k()};
    for (size_t k = 0; k < ARRAY_LEN(both); k++) {
        struct vocabulary bare = both[k]; /* whose cache begins empty */
        bare.seeds = NULL;
        struct token_cache *c = token_cache_new(&bare);
        size_t n = 0;
        for (size_t i = 0; i < SHORT_UNITS; i++) {
            struct short_unit unit = both[k].seeds[i];
            char bytes[sizeof unit];
            uint32_t length = (uint32_t)(unit.high >> SHORT_LENGTH_SHIFT);
            if (length == 0)
                continue;
            memcpy(bytes, &unit, sizeof unit);
            struct short_unit key = short_unit_of(bytes, length, length);
            assert_int_equal(short_unit_set(key), i / WAYS);
            assert_int_equal(key.low, unit.low);
            assert_int_equal(key.high | UINT64_C(1) << SHORT_TOKENS_SHIFT, unit.high);
            if (n++ % 64 == 0 &&
                pieces_end_of(vocabulary_pattern(&bare))(bytes, bytes + length) == bytes + length)
                assert_int_equal(token_count(c, (struct str){bytes, length}), 1);
        }
        assert_true(n > 80000 && n < vocabulary_size(&bare));
        token_cache_free(c);
    }
}

static void knows_the_empty_text(void **state) {
    (void)state;
    struct buf ids;
    buf_init(&ids, 0);
    assert_int_equal(token_count(o200k, STR("")), 0);
    assert_int_equal(token_count(o200k, (struct str){NULL, 0}), 0);
    assert_int_equal(token_ids(o200k, STR(""), &ids), ST_OK);
    assert_int_equal(ids.len, 0);
}

/* A text of many kinds of characters, some of them long runs of one. */
static void draw(struct random *dice, struct buf *text, size_t n) {
    static const struct str parts[] = {
        STR_INIT("the "),
        STR_INIT("Word"),
        STR_INIT("ing"),
        STR_INIT("'s "),
        STR_INIT("123"),
        STR_INIT(" "),
        STR_INIT("\n"),
        STR_INIT("--"),
        STR_INIT("=/"),
        STR_INIT("\xc3\xa9"),
        STR_INIT("\xd0\xb6"),
        STR_INIT("\xe4\xb8\xad\xe5\x9b\xbd"),
        STR_INIT("\xea\xb0\x80"),
        STR_INIT("\xe3\x81\xae"),
        STR_INIT("\xf0\x9f\x98\x80"),
        STR_INIT("\xcc\x81"),
        STR_INIT("Q"),
        STR_INIT("zx"),
    };
    buf_clear(text);
    while (text->len < n) {
        struct str part = parts[random_below(dice, ARRAY_LEN(parts))];
        int64_t times = random_once_in(dice, 12) ? random_between(dice, 1, 300) : 1;
        while (times-- > 0)
            buf_str(text, part);
    }
}

/* Ids are made without the caches and without the tables of runs and seams, so they judge them. */
static void counts_as_many_as_there_are_ids(void **state) {
    (void)state;
    struct random dice = {1};
    struct buf text, ids;
    buf_init(&text, 1 << 20);
    buf_init(&ids, 1 << 22);
    for (int i = 0; i < 300; i++) {
        struct token_cache *c = i % 2 ? o200k : cl100k;
        draw(&dice, &text, (size_t)random_between(&dice, 1, 1500));
        buf_clear(&ids);
        assert_int_equal(token_ids(c, buf_view(&text), &ids), ST_OK);
        int64_t n = (int64_t)(ids.len / sizeof(uint32_t));
        assert_int_equal(token_count(c, buf_view(&text)), n);
        assert_int_equal(token_count(c, buf_view(&text)), n); /* by what it remembers now */
    }
    buf_destroy(&text);
    buf_destroy(&ids);
}

static void counts_runs_of_any_byte_and_length(void **state) {
    (void)state;
    static const char bytes[] = "-=*#/~_ aAz0.\n\t!";
    char *text = malloc(4000);
    struct buf ids;
    assert_non_null(text);
    buf_init(&ids, 1 << 20);
    for (size_t b = 0; b < sizeof bytes - 1; b++) {
        memset(text, bytes[b], 4000);
        for (size_t n = 1; n < 4000; n += n < 600 ? 7 : 401) {
            struct str run = {text, n};
            buf_clear(&ids);
            assert_int_equal(token_ids(o200k, run, &ids), ST_OK);
            assert_int_equal(token_count(o200k, run), ids.len / sizeof(uint32_t));
        }
    }
    free(text);
    buf_destroy(&ids);
}

static void counts_in_steps(void **state) {
    (void)state;
    struct random dice = {3};
    struct buf text;
    buf_init(&text, 1 << 20);
    for (int i = 0; i < 50; i++) {
        draw(&dice, &text, 3000);
        int64_t sum = 0, steps = 0;
        size_t at = 0, before;
        size_t budget = (size_t)random_between(&dice, 1, 500);
        do {
            before = at;
            sum += token_count_some(o200k, buf_view(&text), budget, &at);
            steps++;
            assert_true(at > before);
        } while (at < text.len);
        assert_int_equal(at, text.len);
        assert_int_equal(sum, token_count(o200k, buf_view(&text)));
        assert_true(steps > 1);
    }
    buf_destroy(&text);
}

/* Against the ids: a cut stands behind each token whose number is due, in one text after another. */
static void cuts_where_tokens_end(void **state) {
    (void)state;
    struct random dice = {11};
    struct buf text, ids;
    struct token_cutter cutter = {.missing = 40, .step = 16};
    int64_t total = 0, next = 40;
    buf_init(&text, 1 << 16);
    buf_init(&ids, 1 << 18);
    buf_init(&cutter.cuts, 1 << 16);
    for (int round = 0; round < 400; round++) {
        struct token_cache *c = round & 1 ? cl100k : o200k;
        size_t at = 0, n_cuts = 0;
        buf_clear(&text);
        buf_clear(&ids);
        buf_clear(&cutter.cuts);
        draw(&dice, &text, (size_t)random_below(&dice, 60));
        assert_int_equal(token_ids(c, buf_view(&text), &ids), ST_OK);
        int64_t tokens = token_count_cutting(c, buf_view(&text), text.len, &at, &cutter);
        assert_int_equal(tokens, ids.len / sizeof(uint32_t));
        /* Each cut divides the text into parts that have as many tokens as it says, when they are
         * counted as their ids are: token by token. */
        const uint32_t *cuts = (const void *)cutter.cuts.p, *id = (const void *)ids.p;
        const struct vocabulary *v = token_cache_vocabulary(c);
        size_t end = 0;
        bool has_run = false;
        for (int64_t i = 0; i < tokens; i++) {
            end += vocabulary_token_length(v, id[i]);
            if (total + i + 1 < next)
                continue;
            assert_true(n_cuts < cutter.cuts.len / sizeof *cuts);
            if (cuts[n_cuts] != end)
                has_run = true;
            n_cuts++;
            next += 16;
        }
        assert_int_equal(n_cuts, cutter.cuts.len / sizeof *cuts);
        assert_int_equal(end, text.len);
        if (has_run)
            assert_true(has_long_run(buf_view(&text)));
        total += tokens;
    }
    assert_int_equal(cutter.missing, next - total);
    buf_destroy(&text);
    buf_destroy(&ids);
    buf_destroy(&cutter.cuts);
}

static void leaves_a_word_that_is_too_long_for_the_budget(void **state) {
    (void)state;
    enum { N = 20000 };
    struct random dice = {5};
    struct buf text;
    buf_init(&text, 1 << 16);
    buf_lit(&text, "one two ");
    while (text.len < N)
        buf_char(&text, (char)random_between(&dice, 'a', 'z'));
    size_t at = 0;
    assert_int_equal(token_count_some(o200k, buf_view(&text), 10000, &at), 2);
    assert_int_equal(at, 7); /* the blank belongs to the word */
    assert_int_equal(token_count_some(o200k, buf_view(&text), 10000, &at), 0);
    assert_int_equal(at, 7);
    assert_int_equal(2 + token_count_some(o200k, buf_view(&text), N, &at),
                     token_count(o200k, buf_view(&text)));
    assert_int_equal(at, N);
    /* A run is counted at any length: that takes no time. */
    buf_clear(&text);
    while (text.len < N)
        buf_char(&text, '-');
    at = 0;
    assert_int_equal(token_count_some(o200k, buf_view(&text), 1, &at),
                     token_count(o200k, buf_view(&text)));
    assert_int_equal(at, N);
    buf_destroy(&text);
}

static void says_when_ids_have_no_room(void **state) {
    (void)state;
    struct buf ids;
    buf_init(&ids, 4);
    assert_int_equal(token_ids(o200k, STR("one two"), &ids), ST_TOO_LARGE);
    buf_destroy(&ids);
}

static void counts_what_is_no_utf8_without_harm(void **state) {
    (void)state;
    struct random dice = {4};
    for (int i = 0; i < 2000; i++) {
        size_t n = (size_t)random_between(&dice, 1, 80);
        char *text = malloc(n); /* exactly: ASan sees who reads on */
        assert_non_null(text);
        for (size_t k = 0; k < n; k++)
            text[k] = (char)(random_once_in(&dice, 3) ? 'a' : random_between(&dice, 0x70, 0xff));
        int64_t count = token_count(i % 2 ? o200k : cl100k, (struct str){text, n});
        assert_true(count > 0 && count <= (int64_t)n);
        free(text);
    }
}

static void repairs_text_as_decoders_do(void **state) {
    (void)state;
#define FFFD "\xef\xbf\xbd"
    static const struct {
        struct str text, repaired;
    } cases[] = {
        {STR_INIT(""), STR_INIT("")},
        {STR_INIT("plain \xc3\xa9 \xf0\x9f\x98\x80"), STR_INIT("plain \xc3\xa9 \xf0\x9f\x98\x80")},
        {STR_INIT("a\xff"
                  "b"),
         STR_INIT("a" FFFD "b")},
        {STR_INIT("\xe4\xb8"), STR_INIT(FFFD)},
        {STR_INIT("\xe4\xb8x"), STR_INIT(FFFD "x")},
        {STR_INIT("\xf0\x9f\x98z"), STR_INIT(FFFD "z")},
        {STR_INIT("\xc0\xaf"), STR_INIT(FFFD FFFD)},
        {STR_INIT("\xed\xa0\x80"), STR_INIT(FFFD FFFD FFFD)}, /* a surrogate */
        {STR_INIT("\xf4\x90\x80\x80"), STR_INIT(FFFD FFFD FFFD FFFD)},
        {STR_INIT("\xe0\x80\x80"), STR_INIT(FFFD FFFD FFFD)},
        {STR_INIT("12345678\x80"
                  "12345678"),
         STR_INIT("12345678" FFFD "12345678")},
    };
    struct buf out;
    buf_init(&out, 100);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        buf_clear(&out);
        assert_int_equal(utf8_repair(&out, cases[i].text), ST_OK);
        assert_true(str_eq(buf_view(&out), cases[i].repaired));
        assert_int_equal(utf8_valid_prefix(cases[i].repaired), cases[i].repaired.n);
        assert_int_equal(utf8_valid_prefix(cases[i].text) == cases[i].text.n,
                         str_eq(cases[i].text, cases[i].repaired));
    }
    out.ceiling = out.len = 0;
    assert_int_equal(utf8_repair(&out, STR("\x80")), ST_TOO_LARGE);
    buf_destroy(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_the_ids_of_known_texts),
        cmocka_unit_test(begins_with_tokens_where_they_are_looked_for),
        cmocka_unit_test(knows_the_empty_text),
        cmocka_unit_test(counts_as_many_as_there_are_ids),
        cmocka_unit_test(counts_runs_of_any_byte_and_length),
        cmocka_unit_test(counts_in_steps),
        cmocka_unit_test(cuts_where_tokens_end),
        cmocka_unit_test(leaves_a_word_that_is_too_long_for_the_budget),
        cmocka_unit_test(says_when_ids_have_no_room),
        cmocka_unit_test(counts_what_is_no_utf8_without_harm),
        cmocka_unit_test(repairs_text_as_decoders_do),
    };
    return cmocka_run_group_tests_name("count", tests, make_caches, free_caches);
}
