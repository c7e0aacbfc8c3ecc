/* merge_test.c - vocabularies made from tokens, and merging by them as the definition says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "support/random.h"
#include "support/slow_bpe.h"
#include "tokens/merge.h"
#include "tokens/vocabulary_private.h"

enum { BLOCK_MAX = 32 << 20 };

static struct slow_bpe slow;

/* Random joints over few letters, so that tokens overlap, repeat and contain each other. */
static void draw_vocabulary(struct random *dice, int n_joints) {
    static const unsigned char letters[] = {'a', 'a', 'b', 'c', 0xe4, 0xb8, 0xad};
    slow_init(&slow);
    for (int i = 0; i < n_joints; i++) {
        size_t parts[2];
        for (int k = 0; k < 2; k++) {
            size_t joints = slow.n - 256;
            parts[k] = joints && random_below(dice, 3)
                           ? 256 + (size_t)random_below(dice, (int64_t)joints)
                           : letters[random_below(dice, ARRAY_LEN(letters))];
        }
        slow_add(&slow, parts[0], parts[1]);
    }
}

static size_t draw_text(struct random *dice, char *text, size_t max) {
    size_t n = 0;
    while (n < max) {
        struct str t = slow.tokens[random_below(dice, 4)
                                       ? 256 + (size_t)random_below(dice, (int64_t)(slow.n - 256))
                                       : (size_t)random_between(dice, 'a', 'd')];
        if (n + t.n > max)
            break;
        memcpy(text + n, t.p, t.n);
        n += t.n;
    }
    return n;
}

/* Texts are some bytes to several times what is merged at once. */
static void merges_as_the_definition_says(void **state) {
    (void)state;
    struct random dice = {1};
    struct merge m = {0};
    struct buf block, ids;
    char text[260];
    size_t ends[sizeof text];
    buf_init(&block, BLOCK_MAX);
    buf_init(&ids, sizeof text * 4);
    for (int round = 0; round < 20; round++) {
        draw_vocabulary(&dice, 1 + round * 5);
        if (slow.n == 256)
            continue;
        struct problem why;
        struct vocabulary v;
        assert_int_equal(vocabulary_build(&block, PATTERN_O200K, slow.tokens, slow.n, &why), ST_OK);
        assert_int_equal(vocabulary_open(&v, block.p, block.len, &why), ST_OK);
        assert_int_equal(vocabulary_size(&v), slow.n);
        for (int i = 0; i < 10; i++) {
            size_t n = draw_text(&dice, text, (size_t)random_between(&dice, 1, sizeof text));
            struct str piece = {text, n};
            size_t expected = slow_encode(&slow, piece, ends);
            assert_int_equal(merge_count(&m, &v, piece), expected);
            buf_clear(&ids);
            assert_int_equal(merge_ids(&m, &v, piece, &ids), ST_OK);
            assert_int_equal(ids.len, expected * sizeof(uint32_t));
            for (size_t k = 0, at = 0; k < expected; at = ends[k++]) {
                uint32_t rank;
                memcpy(&rank, ids.p + k * sizeof rank, sizeof rank);
                assert_true(str_eq(slow.tokens[rank], (struct str){text + at, ends[k] - at}));
                assert_int_equal(vocabulary_token_length(&v, rank), ends[k] - at);
            }
        }
    }
    merge_destroy(&m);
    buf_destroy(&block);
    buf_destroy(&ids);
}

/* One long word, which needs more memory than others, and a short one after it. */
static void takes_long_words_and_gives_their_memory_back(void **state) {
    (void)state;
    enum { N = 1 << 20 };
    struct vocabulary v = vocabulary_o200k();
    struct merge m = {0};
    struct buf text;
    buf_init(&text, N);
    struct random dice = {2};
    while (text.len < N)
        buf_char(&text, (char)random_between(&dice, 'a', 'z'));
    size_t whole = merge_count(&m, &v, buf_view(&text));
    assert_true(whole > N / 4 && whole < N);
    assert_true(m.n_words >= N / 64);
    assert_int_equal(merge_count(&m, &v, STR("abcxyzabc")) > 1, true);
    assert_true(m.n_words < N / 64);
    merge_destroy(&m);
    buf_destroy(&text);
}

static void says_when_ids_have_no_room(void **state) {
    (void)state;
    struct vocabulary v = vocabulary_cl100k();
    struct merge m = {0};
    struct buf ids;
    buf_init(&ids, 3);
    assert_int_equal(merge_ids(&m, &v, STR("a"), &ids), ST_TOO_LARGE);
    assert_int_equal(merge_ids(&m, &v, STR(""), &ids), ST_OK);
    assert_int_equal(ids.len, 0);
    merge_destroy(&m);
    buf_destroy(&ids);
}

static int by_number(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void knows_each_pair_that_merges_and_no_other(void **state) {
    (void)state;
    struct vocabulary v = vocabulary_o200k();
    struct random dice = {3};
    size_t n = vocabulary_size(&v), n_keys = 0;
    uint64_t *keys = xmalloc(n * sizeof *keys);
    for (uint32_t rank = 0; rank < n; rank++) {
        uint32_t left = token_left(v.tokens[rank]), right = token_right(v.tokens[rank]);
        if (left == rank)
            continue;
        keys[n_keys++] = pair_key(left, right);
        assert_true(pair_merges_below(&v, left, right, TOKEN_NONE));
        assert_true(pair_merges_below(&v, left, right, rank + 1));
        assert_false(pair_merges_below(&v, left, right, rank));
    }
    qsort(keys, n_keys, sizeof *keys, by_number);
    for (int i = 0; i < 300000; i++) {
        /* Low ranks: there, many merge. */
        int64_t most = i % 2 ? (int64_t)n : 600;
        uint32_t left = (uint32_t)random_below(&dice, most);
        uint32_t right = (uint32_t)random_below(&dice, most);
        uint64_t key = pair_key(left, right);
        bool merges = bsearch(&key, keys, n_keys, sizeof key, by_number) != NULL;
        assert_int_equal(pair_merges_below(&v, left, right, TOKEN_NONE), merges);
    }
    free(keys);
}

/* --- what makes no vocabulary --- */

static enum status build(struct problem *why) {
    struct buf block;
    buf_init(&block, BLOCK_MAX);
    enum status st = vocabulary_build(&block, PATTERN_CL100K, slow.tokens, slow.n, why);
    buf_destroy(&block);
    return st;
}

static void refuses_tokens_that_no_merging_makes(void **state) {
    (void)state;
    struct problem why;
    slow_init(&slow);
    assert_true(slow_add(&slow, 'a', 'b'));
    assert_int_equal(build(&why), ST_OK);
    slow.tokens[slow.n++] = STR("xyz"); /* neither "xy" nor "yz" is one */
    assert_int_equal(build(&why), ST_BAD_REQUEST);
    assert_string_equal(why.message, "token 257 cannot be made by merging");
    slow.tokens[257] = STR("ab");
    assert_int_equal(build(&why), ST_BAD_REQUEST);
    assert_string_equal(why.message, "token 257 occurs twice");
    slow.tokens[257] = STR("a");
    assert_int_equal(build(&why), ST_BAD_REQUEST);
    assert_string_equal(why.message, "token 97 occurs twice");
    slow.tokens[257] = STR("");
    assert_int_equal(build(&why), ST_BAD_REQUEST);
    slow.tokens[257] = STR("cd");
    assert_int_equal(build(&why), ST_OK);
    slow.tokens['q'] = STR("ef");
    assert_int_equal(build(&why), ST_BAD_REQUEST);
    assert_string_equal(why.message, "there is no token for the byte 113");
    slow.n = 255;
    assert_int_equal(build(&why), ST_BAD_REQUEST);
    assert_string_equal(why.message, "there must be 256 to 262143 tokens, not 255");
}

static void opens_only_what_it_made(void **state) {
    (void)state;
    struct problem why;
    struct vocabulary v;
    struct buf block;
    slow_init(&slow);
    buf_init(&block, BLOCK_MAX);
    assert_int_equal(vocabulary_build(&block, PATTERN_CL100K, slow.tokens, slow.n, &why), ST_OK);
    assert_int_equal(vocabulary_open(&v, block.p, block.len, &why), ST_OK);
    assert_int_equal(vocabulary_pattern(&v), PATTERN_CL100K);
    assert_int_equal(vocabulary_open(&v, block.p, block.len - 1, &why), ST_BAD_REQUEST);
    assert_int_equal(vocabulary_open(&v, block.p, 7, &why), ST_BAD_REQUEST);
    block.p[7]++;
    assert_int_equal(vocabulary_open(&v, block.p, block.len, &why), ST_BAD_REQUEST);
    buf_destroy(&block);
}

static void says_when_the_block_has_no_room(void **state) {
    (void)state;
    struct problem why;
    struct buf block;
    slow_init(&slow);
    buf_init(&block, 1 << 10);
    assert_int_equal(vocabulary_build(&block, PATTERN_O200K, slow.tokens, slow.n, &why),
                     ST_TOO_LARGE);
    buf_destroy(&block);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merges_as_the_definition_says),
        cmocka_unit_test(takes_long_words_and_gives_their_memory_back),
        cmocka_unit_test(says_when_ids_have_no_room),
        cmocka_unit_test(knows_each_pair_that_merges_and_no_other),
        cmocka_unit_test(refuses_tokens_that_no_merging_makes),
        cmocka_unit_test(opens_only_what_it_made),
        cmocka_unit_test(says_when_the_block_has_no_room),
    };
    return cmocka_run_group_tests_name("merge", tests, NULL, NULL);
}
