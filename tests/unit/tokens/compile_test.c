/* compile_test.c - vocabularies made from lists of merges, whole pieces and added tokens. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "support/random.h"
#include "support/slow_merges.h"
#include "tokens/count.h"
#include "tokens/pieces.h"
#include "tokens/utf8.h"

enum { BLOCK_MAX = 64 << 20, TEXT_MAX = 200 };

static struct slow_merges slow;
static struct vocabulary_fault fault;
static struct problem why;

static struct vocabulary_source source_of(enum token_pattern pattern) {
    return (struct vocabulary_source){.pattern = pattern,
                                      .tokens = slow.tokens,
                                      .ids = slow.ids,
                                      .n_tokens = slow.n_tokens,
                                      .merges = slow.merges,
                                      .n_merges = slow.n_merges};
}

/* Merges of what is there already, over few letters: tokens with several merges, and tokens that merging
 * never makes since others come before. */
static void draw_merges(struct random *dice, int n) {
    static const unsigned char letters[] = {'a', 'a', 'b', 'c', 0xe4, 0xb8, 0xad};
    merges_init(&slow);
    for (int i = 0; i < n; i++) {
        size_t parts[2];
        for (int k = 0; k < 2; k++) {
            size_t joints = slow.n_tokens - 256;
            parts[k] = joints && random_below(dice, 3)
                           ? 256 + (size_t)random_below(dice, (int64_t)joints)
                           : letters[random_below(dice, ARRAY_LEN(letters))];
        }
        merges_add(&slow, parts[0], parts[1]);
    }
}

/* Random joints of tokens, so that merges have much to do, made valid; characters of Chinese besides. */
static struct str draw_text(struct random *dice, struct buf *text, size_t max) {
    struct buf raw;
    size_t joints = slow.n_tokens - 256;
    buf_init(&raw, TEXT_MAX);
    while (raw.len < max) {
        size_t token = (size_t)random_between(dice, 'a', 'd');
        if (joints && random_below(dice, 4))
            token = 256 + (size_t)random_below(dice, (int64_t)joints);
        buf_str(&raw, random_once_in(dice, 4) ? STR("\xe4\xb8\xad") : slow.tokens[token]);
    }
    buf_clear(text);
    assert_int_equal(utf8_repair(text, buf_view(&raw)), ST_OK);
    buf_destroy(&raw);
    return buf_view(text);
}

/* Each piece by the definition; a piece that is all of a token first, when `is_whole_first`. */
static size_t expect_ids(enum token_pattern pattern, bool is_whole_first, struct str text,
                         uint32_t *ids) {
    size_t n = 0, parts[3 * TEXT_MAX];
    for (const char *p = text.p, *end = p + text.n, *next; p < end; p = next) {
        next = pieces_end(pattern, p, end);
        struct str piece = {p, (size_t)(next - p)};
        size_t token = 0, n_parts = 1;
        while (token < slow.n_tokens && !str_eq(slow.tokens[token], piece))
            token++;
        parts[0] = token;
        if (!is_whole_first || token == slow.n_tokens)
            n_parts = merges_encode(&slow, piece, parts);
        for (size_t i = 0; i < n_parts; i++)
            ids[n++] = slow.ids[parts[i]];
    }
    return n;
}

static void check_text(struct token_cache *c, struct str text, const uint32_t *expected,
                       size_t n_expected) {
    struct buf ids;
    buf_init(&ids, sizeof(uint32_t) * 3 * TEXT_MAX);
    assert_int_equal(token_ids(c, text, &ids), ST_OK);
    assert_int_equal(ids.len, n_expected * sizeof *expected);
    if (n_expected)
        assert_memory_equal(ids.p, expected, ids.len);
    for (int again = 0; again < 2; again++)
        assert_int_equal(token_count(c, text), n_expected);
    buf_destroy(&ids);
}

static void merges_as_the_list_says(void **state) {
    (void)state;
    struct random dice = {3};
    struct buf block;
    struct buf text;
    uint32_t ids[3 * TEXT_MAX];
    int n_built = 0, n_dead = 0;
    buf_init(&block, BLOCK_MAX);
    buf_init(&text, 3 * TEXT_MAX);
    for (int round = 0; round < 40; round++) {
        struct vocabulary v;
        enum token_pattern pattern = (enum token_pattern)(round % PATTERN_COUNT);
        draw_merges(&dice, 1 + round * 3);
        struct vocabulary_source source = source_of(pattern);
        source.is_whole_first = round & 1;
        if (vocabulary_compile(&block, &source, &fault, &why) != ST_OK) {
            assert_non_null(strstr(why.message, "comes before one that makes a part of it"));
            continue;
        }
        n_built++;
        assert_int_equal(vocabulary_open(&v, block.p, block.len, &why), ST_OK);
        n_dead += vocabulary_size(&v) < slow.n_tokens;
        struct token_cache *c = token_cache_new(&v);
        for (int i = 0; i < 20; i++) {
            struct str t = draw_text(&dice, &text, (size_t)random_between(&dice, 1, TEXT_MAX / 2));
            check_text(c, t, ids, expect_ids(pattern, source.is_whole_first, t, ids));
        }
        token_cache_free(c);
    }
    assert_true(n_built > 20 && n_dead > 10);
    buf_destroy(&text);
    buf_destroy(&block);
}

/* Every half of the lists can come too early: then nobody would know what they mean. */
static void refuses_a_merge_before_its_parts(void **state) {
    (void)state;
    struct buf block;
    buf_init(&block, BLOCK_MAX);
    merges_init(&slow);
    merges_add(&slow, 'a', 'b');
    merges_add(&slow, 256, 'c');
    struct vocabulary_source source = source_of(PATTERN_GPT2);
    assert_int_equal(vocabulary_compile(&block, &source, &fault, &why), ST_OK);
    struct vocabulary_merge first = slow.merges[0];
    slow.merges[0] = slow.merges[1];
    slow.merges[1] = first;
    assert_int_equal(vocabulary_compile(&block, &source, &fault, &why), ST_BAD_REQUEST);
    assert_int_equal(fault.part, FAULT_MERGE);
    assert_int_equal(fault.number, 0);
    buf_destroy(&block);
}

static void refuses_what_is_no_list_of_merges(void **state) {
    (void)state;
    struct buf block;
    buf_init(&block, BLOCK_MAX);
    merges_init(&slow);
    merges_add(&slow, 'a', 'b');
    merges_add(&slow, 'a', 'c');
    struct vocabulary_source source = source_of(PATTERN_GPT2);
    slow.merges[1] = slow.merges[0];
    assert_int_equal(vocabulary_compile(&block, &source, &fault, &why), ST_BAD_REQUEST);
    assert_string_equal(why.message, "merge 1 occurs twice");
    slow.merges[1] = (struct vocabulary_merge){'a', 'd', 257};
    assert_int_equal(vocabulary_compile(&block, &source, &fault, &why), ST_BAD_REQUEST);
    assert_string_equal(why.message, "merge 1 does not make a token of its two");
    slow.merges[1] = (struct vocabulary_merge){'a', 4000, 257};
    assert_int_equal(vocabulary_compile(&block, &source, &fault, &why), ST_BAD_REQUEST);
    assert_int_equal(fault.number, 1);
    source.n_merges = 1;
    slow.tokens['q'] = STR("qq");
    assert_int_equal(vocabulary_compile(&block, &source, &fault, &why), ST_BAD_REQUEST);
    assert_string_equal(why.message, "there is no token for the byte 113");
    assert_int_equal(fault.part, FAULT_ALL);
    slow.tokens['q'] = STR("q");
    char longest[300];
    memset(longest, 'x', sizeof longest);
    slow.tokens[257] = (struct str){longest, sizeof longest};
    assert_int_equal(vocabulary_compile(&block, &source, &fault, &why), ST_BAD_REQUEST);
    assert_int_equal(fault.part, FAULT_TOKEN);
    assert_int_equal(fault.number, 257);
    source.n_tokens = 257;
    assert_int_equal(vocabulary_compile(&block, &source, &fault, &why), ST_OK);
    source.n_tokens = VOCABULARY_MAX_TOKENS + 1;
    assert_int_equal(vocabulary_compile(&block, &source, &fault, &why), ST_BAD_REQUEST);
    buf_destroy(&block);
}

static void finds_added_tokens_before_text_is_cut(void **state) {
    (void)state;
    static const struct vocabulary_added added[] = {
        {STR_INIT("<e>"), 1, false, false, false}, {STR_INIT("<end>"), 2, false, false, false},
        {STR_INIT("<b>"), 3, false, true, true},   {STR_INIT("x<"), 4, true, false, false},
        {STR_INIT("<"), 5, true, false, false},    {STR_INIT("<e>>"), 6, false, false, false},
    };
    /* Bytes that are in no added token are their value plus 1,000. */
    static const struct {
        const char *text;
        uint32_t ids[12]; /* ended by 0 */
    } cases[] = {
        {"<e>", {1}},
        {"a<e>b<end>", {1097, 1, 1098, 2}},
        {"<en", {5, 1101, 1110}},
        {"<e>>>", {6, 1062}},
        {"a \n<b>\t b", {1097, 3, 1098}},
        {"<b>  <b>", {3, 3}},
        {"x<e>", {1120, 1}},
        {"x<<e>", {4, 1}},
        {"xx<x", {1120, 4, 1120}},
        {"a  <e>  a", {1097, 1032, 1032, 1, 1032, 1032, 1097}},
        {"", {0}},
    };
    struct buf block;
    struct vocabulary v;
    buf_init(&block, BLOCK_MAX);
    merges_init(&slow);
    struct vocabulary_source source = source_of(PATTERN_GPT2);
    source.added = added;
    source.n_added = ARRAY_LEN(added);
    assert_int_equal(vocabulary_compile(&block, &source, &fault, &why), ST_OK);
    assert_int_equal(vocabulary_open(&v, block.p, block.len, &why), ST_OK);
    struct token_cache *c = token_cache_new(&v);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        size_t n = 0;
        while (n < ARRAY_LEN(cases[i].ids) && cases[i].ids[n])
            n++;
        check_text(c, str_of(cases[i].text), cases[i].ids, n);
    }
    token_cache_free(c);
    buf_destroy(&block);
}

/* In steps of any size a text has as many tokens as in one, whatever was counted in between. */
static void counts_the_same_in_steps(void **state) {
    (void)state;
    static const struct vocabulary_added added[] = {{STR_INIT("ab"), 1, false, false, false},
                                                    {STR_INIT("cc"), 2, true, true, false}};
    struct random dice = {5};
    struct buf block, text;
    struct vocabulary v;
    buf_init(&block, BLOCK_MAX);
    buf_init(&text, 4000);
    draw_merges(&dice, 20);
    struct vocabulary_source source = source_of(PATTERN_QWEN2);
    source.is_whole_first = true;
    source.added = added;
    source.n_added = ARRAY_LEN(added);
    while (vocabulary_compile(&block, &source, &fault, &why) != ST_OK) {
        draw_merges(&dice, 20);
        source.n_tokens = slow.n_tokens;
        source.n_merges = slow.n_merges;
    }
    assert_int_equal(vocabulary_open(&v, block.p, block.len, &why), ST_OK);
    struct token_cache *c = token_cache_new(&v);
    for (int round = 0; round < 50; round++) {
        buf_clear(&text);
        while (text.len < 2000)
            buf_char(&text, "abcd  1,"[random_below(&dice, 8)]);
        struct str all = buf_view(&text);
        int64_t whole = token_count(c, all), steps = 0;
        for (size_t at = 0; at < all.n;) {
            steps += token_count_some(c, all, (size_t)random_between(&dice, 1, 300), &at);
            if (random_once_in(&dice, 3))
                assert_int_equal(token_count(c, STR("abab")), 2);
        }
        assert_int_equal(steps, whole);
    }
    token_cache_free(c);
    buf_destroy(&text);
    buf_destroy(&block);
}

static void tells_equal_vocabularies_from_others(void **state) {
    (void)state;
    struct buf a, b;
    struct vocabulary v, w;
    buf_init(&a, BLOCK_MAX);
    buf_init(&b, BLOCK_MAX);
    merges_init(&slow);
    merges_add(&slow, 'a', 'b');
    struct vocabulary_source source = source_of(PATTERN_GPT2);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(vocabulary_compile(i ? &b : &a, &source, &fault, &why), ST_OK);
        assert_int_equal(vocabulary_open(&v, a.p, a.len, &why), ST_OK);
        if (i)
            assert_int_equal(vocabulary_open(&w, b.p, b.len, &why), ST_OK);
        if (i == 1) {
            assert_true(vocabulary_identity(&v) == vocabulary_identity(&w));
            source.pattern = PATTERN_QWEN2;
        }
    }
    assert_true(vocabulary_identity(&v) != vocabulary_identity(&w));
    assert_int_equal(vocabulary_id(&v, 'a'), 1000 + 'a');
    v = vocabulary_o200k();
    assert_int_equal(vocabulary_id(&v, 'a'), 'a');
    buf_destroy(&a);
    buf_destroy(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merges_as_the_list_says),
        cmocka_unit_test(refuses_a_merge_before_its_parts),
        cmocka_unit_test(refuses_what_is_no_list_of_merges),
        cmocka_unit_test(finds_added_tokens_before_text_is_cut),
        cmocka_unit_test(counts_the_same_in_steps),
        cmocka_unit_test(tells_equal_vocabularies_from_others),
    };
    return cmocka_run_group_tests_name("compile", tests, NULL, NULL);
}
