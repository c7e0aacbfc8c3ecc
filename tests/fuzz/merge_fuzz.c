/* merge_fuzz.c - a vocabulary made of arbitrary joints merges arbitrary text as the definition says. */
/* rooms: base tokens */
#include "fuzz/fuzz.h"
#include "support/slow_bpe.h"
#include "tokens/count.h"
#include "tokens/merge.h"
#include "tokens/utf8.h"

static struct slow_bpe slow;

/* The first byte is a number of joints; each is two bytes: a token below 256, or counted from the
 * newest. The rest is text. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    enum { LONGEST = 300 };
    size_t ends[LONGEST];
    if (size == 0)
        return 0;
    size_t n_joints = data[0], at = 1;
    slow_init(&slow);
    for (; n_joints > 0 && at + 3 <= size; n_joints--, at += 3) {
        size_t left = data[at], right = data[at + 1];
        if (data[at + 2] & 1)
            left = slow.n - 1 - left % slow.n;
        if (data[at + 2] & 2)
            right = slow.n - 1 - right % slow.n;
        slow_add(&slow, left, right);
    }
    struct str text = {(const char *)data + at, size_min(size - at, LONGEST)};
    struct problem why;
    struct vocabulary v;
    struct buf block, ids;
    buf_init(&block, 32 << 20);
    buf_init(&ids, sizeof(uint32_t) * 3 * LONGEST);
    enum status st = vocabulary_build(&block, data[0] & 1 ? PATTERN_O200K : PATTERN_CL100K,
                                      slow.tokens, slow.n, &why);
    assert(st == ST_OK);
    st = vocabulary_open(&v, block.p, block.len, &why);
    assert(st == ST_OK);

    struct merge m = {0};
    size_t n = slow_encode(&slow, text, ends);
    assert(merge_count(&m, &v, text) == n);
    st = merge_ids(&m, &v, text, &ids);
    assert(st == ST_OK && ids.len == n * sizeof(uint32_t));
    for (size_t i = 0, start = 0; i < n; start = ends[i++]) {
        uint32_t rank;
        memcpy(&rank, ids.p + i * sizeof rank, sizeof rank);
        assert(str_eq(slow.tokens[rank], (struct str){text.p + start, ends[i] - start}));
    }
    merge_destroy(&m);

    /* With the pieces, the caches and the tables of seams and runs: as many as there are ids, of text
     * that is valid. */
    struct token_cache *cache = token_cache_new(&v);
    struct buf valid;
    buf_init(&valid, 3 * LONGEST);
    st = utf8_repair(&valid, text);
    assert(st == ST_OK);
    buf_clear(&ids);
    st = token_ids(cache, buf_view(&valid), &ids);
    assert(st == ST_OK);
    int64_t count = (int64_t)(ids.len / sizeof(uint32_t));
    assert(token_count(cache, buf_view(&valid)) == count);
    assert(token_count(cache, buf_view(&valid)) == count);
    buf_destroy(&valid);
    token_cache_free(cache);
    buf_destroy(&ids);
    buf_destroy(&block);
    return 0;
}
