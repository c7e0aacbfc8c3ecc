/* prefix_test.c - beginnings of prompts: marks, what is predicted, what goes first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "support/random.h"
#include "tokens/prefix.h"

static const struct siphash_key key = {1, 2}, other_key = {1, 3};

#define TTL_NS (300 * NS_PER_S)

/* The marks of a prompt of n tokens that goes on as `seed` says; they stay valid until the next. */
static const uint64_t *marks_of(const struct siphash_key *k, uint64_t seed, size_t n,
                                size_t *count) {
    static uint64_t marks[1000];
    struct prefix_chain c;
    struct random dice = {seed};
    struct buf out;
    buf_init(&out, sizeof marks);
    prefix_chain_init(&c, k);
    for (size_t i = 0; i < n; i++) {
        uint32_t id = (uint32_t)random_below(&dice, 200000);
        assert_int_equal(prefix_chain_add(&c, &id, 1, &out), ST_OK);
    }
    *count = out.len / sizeof *marks;
    if (out.len)
        memcpy(marks, out.p, out.len);
    buf_destroy(&out);
    return marks;
}

static void marks_come_with_1024_tokens_and_each_128_more(void **state) {
    (void)state;
    static const struct {
        size_t tokens, marks;
    } cases[] = {{0, 0}, {1023, 0}, {1024, 1}, {1151, 1}, {1152, 2}, {2048, 9}};
    size_t n;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        marks_of(&key, 1, cases[i].tokens, &n);
        assert_int_equal(n, cases[i].marks);
    }
}

static void marks_depend_on_key_and_all_tokens_before(void **state) {
    (void)state;
    size_t n;
    uint64_t first = marks_of(&key, 1, 1024, &n)[0];
    assert_true(marks_of(&key, 1, 3000, &n)[0] == first);
    assert_true(marks_of(&key, 2, 1024, &n)[0] != first);
    assert_true(marks_of(&other_key, 1, 1024, &n)[0] != first);
    /* However the tokens come. */
    struct prefix_chain c;
    struct buf out;
    uint32_t ids[1500];
    struct random dice = {1};
    buf_init(&out, 1 << 10);
    prefix_chain_init(&c, &key);
    for (size_t i = 0; i < ARRAY_LEN(ids); i++)
        ids[i] = (uint32_t)random_below(&dice, 200000);
    for (size_t at = 0, step; at < ARRAY_LEN(ids); at += step) {
        step = size_min((size_t)random_between(&dice, 1, 400), ARRAY_LEN(ids) - at);
        assert_int_equal(prefix_chain_add(&c, ids + at, step, &out), ST_OK);
    }
    const uint64_t *whole = marks_of(&key, 1, 1500, &n);
    assert_int_equal(out.len, n * sizeof *whole);
    assert_memory_equal(out.p, whole, out.len);
    buf_clear(&out);
    out.ceiling = 0;
    prefix_chain_init(&c, &key);
    assert_int_equal(prefix_chain_add(&c, ids, 1500, &out), ST_TOO_LARGE);
    buf_destroy(&out);
}

static void predicts_what_was_committed_until_it_is_too_old(void **state) {
    (void)state;
    struct prefix_table t;
    size_t n;
    prefix_init(&t, 100, TTL_NS);
    const uint64_t *marks = marks_of(&key, 1, 1024 + 3 * 128 + 5, &n);
    assert_int_equal(prefix_predict(&t, marks, n, 0), 0);
    prefix_commit(&t, marks, 2, 10, 3);
    assert_int_equal(prefix_predict(&t, marks, n, 10), 1024 + 128);
    assert_int_equal(prefix_predict(&t, marks, 1, 10), 1024);
    assert_int_equal(prefix_predict(&t, marks, n, 10 + TTL_NS - 1), 1024 + 128);
    assert_int_equal(prefix_predict(&t, marks, n, 10 + TTL_NS), 0);
    prefix_commit(&t, marks, 1, 20, 3); /* the beginning is seen again, the end is not */
    assert_int_equal(prefix_predict(&t, marks, n, 10 + TTL_NS), 1024);
    prefix_destroy(&t);
}

static void tells_backends_apart(void **state) {
    (void)state;
    struct prefix_table t;
    size_t n;
    int64_t affinity[PREFIX_BACKENDS];
    prefix_init(&t, 100, TTL_NS);
    const uint64_t *marks = marks_of(&key, 1, 1024 + 2 * 128, &n);
    prefix_commit(&t, marks, 1, 0, 2);
    prefix_commit(&t, marks, 3, 0, 5);
    prefix_commit(&t, marks, 3, 0, -1);
    prefix_commit(&t, marks, 3, 0, PREFIX_BACKENDS);
    prefix_affinity(&t, marks, n, 1, affinity);
    for (int i = 0; i < PREFIX_BACKENDS; i++)
        assert_int_equal(affinity[i], i == 2 ? 1024 : i == 5 ? 1024 + 256 : 0);
    prefix_affinity(&t, marks, n, TTL_NS, affinity);
    assert_int_equal(affinity[5], 0);
    prefix_destroy(&t);
}

/* Against a table that is a plain list: the same predictions, whatever comes and goes. */
static void keeps_the_latest_and_never_more_than_it_may(void **state) {
    (void)state;
    enum { CAPACITY = 37, ROUNDS = 3000 };
    struct {
        uint64_t mark;
        int64_t seen_ns, order;
    } slow[CAPACITY];
    size_t n_slow = 0;
    int64_t order = 0;
    struct prefix_table t;
    struct random dice = {7};
    prefix_init(&t, CAPACITY, TTL_NS);
    for (int64_t now = 0; now < ROUNDS * NS_PER_S; now += NS_PER_S * random_between(&dice, 1, 9)) {
        size_t n;
        const uint64_t *marks = marks_of(&key, (uint64_t)random_between(&dice, 1, 6),
                                         (size_t)random_between(&dice, 900, 2300), &n);
        size_t hit = 0;
        for (; hit < n; hit++) {
            size_t i = 0;
            while (i < n_slow && slow[i].mark != marks[hit])
                i++;
            if (i == n_slow || now - slow[i].seen_ns >= TTL_NS)
                break;
        }
        assert_int_equal(prefix_predict(&t, marks, n, now),
                         hit ? 1024 + 128 * ((int64_t)hit - 1) : 0);
        if (random_once_in(&dice, 3))
            continue;
        prefix_commit(&t, marks, n, now, 0);
        for (size_t k = n; k-- > 0;) {
            size_t i = 0, oldest = 0;
            while (i < n_slow && slow[i].mark != marks[k])
                i++;
            for (size_t j = 1; j < n_slow; j++)
                oldest = slow[j].order < slow[oldest].order ? j : oldest;
            if (i == n_slow && n_slow == CAPACITY)
                i = oldest;
            n_slow += i == n_slow;
            slow[i].mark = marks[k];
            slow[i].seen_ns = now;
            slow[i].order = order++;
        }
        assert_int_equal(t.n_used, n_slow);
    }
    assert_int_equal(t.n_used, CAPACITY);
    prefix_destroy(&t);
    prefix_destroy(&t); /* zeroed by now */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(marks_come_with_1024_tokens_and_each_128_more),
        cmocka_unit_test(marks_depend_on_key_and_all_tokens_before),
        cmocka_unit_test(predicts_what_was_committed_until_it_is_too_old),
        cmocka_unit_test(tells_backends_apart),
        cmocka_unit_test(keeps_the_latest_and_never_more_than_it_may),
    };
    return cmocka_run_group_tests_name("prefix", tests, NULL, NULL);
}
