/* compile_fuzz.c - arbitrary lists of merges make vocabularies that encode arbitrary text as the lists say. */
/* rooms: base tokens */
#include "fuzz/fuzz.h"
#include "support/slow_merges.h"
#include "tokens/count.h"
#include "tokens/pieces.h"
#include "tokens/utf8.h"

enum { LONGEST = 200, BLOCK_MAX = 64 << 20 };

static struct slow_merges slow;

/* The ids of each piece by the definition; a piece that is all of a token first, when wanted. */
static size_t expect(enum token_pattern pattern, bool is_whole_first, struct str text,
                     uint32_t *ids) {
    size_t n = 0, parts[3 * LONGEST];
    if (text.n == 0)
        return 0;
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

static void check(const struct vocabulary *v, enum token_pattern pattern, bool is_whole_first,
                  struct str text) {
    uint32_t expected[3 * LONGEST];
    struct buf ids;
    struct token_cache *c = token_cache_new(v);
    size_t n = expect(pattern, is_whole_first, text, expected);
    buf_init(&ids, sizeof expected);
    enum status st = token_ids(c, text, &ids);
    assert(st == ST_OK && ids.len == n * sizeof *expected);
    assert(n == 0 || memcmp(ids.p, expected, ids.len) == 0);
    for (int again = 0; again < 2; again++)
        assert(token_count(c, text) == (int64_t)n);
    token_cache_free(c);
    buf_destroy(&ids);
}

/* The first byte says how text is cut, and whether whole pieces come first; the second is a number of
 * merges, each of two tokens: below 256, or counted from the newest. The rest is text. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2)
        return 0;
    enum token_pattern pattern = (enum token_pattern)(data[0] % PATTERN_COUNT);
    size_t n_merges = data[1], at = 2;
    merges_init(&slow);
    for (; n_merges > 0 && at + 3 <= size; n_merges--, at += 3) {
        size_t left = data[at], right = data[at + 1];
        if (data[at + 2] & 1)
            left = slow.n_tokens - 1 - left % slow.n_tokens;
        if (data[at + 2] & 2)
            right = slow.n_tokens - 1 - right % slow.n_tokens;
        merges_add(&slow, left, right);
    }
    struct vocabulary_source source = {.pattern = pattern,
                                       .tokens = slow.tokens,
                                       .ids = slow.ids,
                                       .n_tokens = slow.n_tokens,
                                       .merges = slow.merges,
                                       .n_merges = slow.n_merges,
                                       .is_whole_first = data[0] & 0x80};
    struct vocabulary_fault fault;
    struct vocabulary v;
    struct problem why;
    struct buf block, text;
    buf_init(&block, BLOCK_MAX);
    buf_init(&text, 3 * LONGEST);
    enum status st = vocabulary_compile(&block, &source, &fault, &why);
    /* Merges of tokens that nobody has made yet are the one thing that can be wrong here. */
    assert(st == ST_OK || (fault.part == FAULT_MERGE && fault.number < slow.n_merges));
    if (st == ST_OK) {
        st = vocabulary_open(&v, block.p, block.len, &why);
        assert(st == ST_OK);
        st =
            utf8_repair(&text, (struct str){(const char *)data + at, size_min(size - at, LONGEST)});
        assert(st == ST_OK);
        check(&v, pattern, source.is_whole_first, buf_view(&text));
    }
    buf_destroy(&block);
    buf_destroy(&text);
    return 0;
}
