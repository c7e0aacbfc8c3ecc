/* memory_test.c - texts and places remembered: found as they were told, bounded, and never mixed up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <pthread.h>

#include <cmocka.h>

#include "support/random.h"
#include "tokens/memory.h"

static const unsigned char secret[16] = "sixteen bytes...";

static struct text_hash hash(struct text_memory *m, uint64_t n, uint64_t kind) {
    return text_memory_hash(m, (struct str){(const char *)&n, sizeof n}, kind);
}

static void knows_a_text_by_its_bytes_length_and_kind(void **state) {
    (void)state;
    struct text_memory *m = text_memory_new(64, 4, secret);
    struct text_hash h = hash(m, 1, 7);
    assert_int_equal(text_memory_tokens(m, h, 100), -1);
    text_memory_keep_tokens(m, h, 100, 25);
    assert_int_equal(text_memory_tokens(m, h, 100), 25);
    assert_int_equal(text_memory_tokens(m, h, 101), -1);
    assert_int_equal(text_memory_tokens(m, hash(m, 1, 8), 100), -1);
    assert_int_equal(text_memory_tokens(m, hash(m, 2, 7), 100), -1);
    text_memory_keep_tokens(m, hash(m, 3, 7), (size_t)1 << 32, 5); /* not kept */
    assert_int_equal(text_memory_tokens(m, hash(m, 3, 7), (size_t)1 << 32), -1);
    text_memory_free(m);
    text_memory_free(NULL);
}

/* Far more than there is room for: what is found is right, and what was told last is found. */
static void forgets_and_never_errs(void **state) {
    (void)state;
    struct text_memory *m = text_memory_new(256, 4, secret);
    struct random dice = {1};
    int64_t found = 0;
    for (int i = 0; i < 20000; i++) {
        uint64_t n = (uint64_t)random_below(&dice, 1000);
        struct text_hash h = hash(m, n, 0);
        int64_t tokens = text_memory_tokens(m, h, 64 + n);
        found += tokens >= 0;
        if (tokens >= 0)
            assert_int_equal(tokens, 3 * n);
        else
            text_memory_keep_tokens(m, h, 64 + n, (int64_t)(3 * n));
        assert_int_equal(text_memory_tokens(m, h, 64 + n), 3 * n);
    }
    assert_in_range(found, 2000, 8000);
    text_memory_free(m);
}

/* A chain and marks that both follow from a number. */
static struct prefix_chain chain_of(uint64_t n) {
    struct prefix_chain c;
    prefix_chain_init(&c, &(struct siphash_key){1, 2});
    siphash_add(&c.hash, &n, 1 + n % 7);
    c.n_wanted = n % 3 ? PREFIX_STEP : PREFIX_FIRST;
    c.n_waiting = (uint32_t)(n % c.n_wanted);
    return c;
}

static size_t marks_of(uint64_t n, uint64_t marks[30]) {
    size_t count = n % 30;
    for (size_t i = 0; i < count; i++)
        marks[i] = n * 1000 + i + 1;
    return count;
}

static struct text_hash place_of(struct text_memory *m, uint64_t n) {
    return text_memory_step(m, hash(m, n, 1), hash(m, n + 1, 1));
}

static void keep(struct text_memory *m, uint64_t n) {
    uint64_t marks[30];
    struct prefix_chain c = chain_of(n);
    text_memory_keep_place(m, place_of(m, n), &c, marks, marks_of(n, marks));
}

/* Whether it is known; false, too, when what is known is wrong: then *is_right. */
static bool find(struct text_memory *m, uint64_t n, struct buf *got, bool *is_right) {
    uint64_t marks[30];
    struct prefix_chain c = {.key = {1, 2}}, right = chain_of(n);
    buf_clear(got);
    if (!text_memory_place(m, place_of(m, n), &c, got))
        return false;
    size_t count = marks_of(n, marks);
    *is_right = got->len == count * 8 && (count == 0 || memcmp(got->p, marks, got->len) == 0) &&
                memcmp(&c, &right, sizeof c) == 0;
    return true;
}

static void knows_places_with_any_number_of_marks(void **state) {
    (void)state;
    struct text_memory *m = text_memory_new(4, 512, secret);
    struct buf got;
    bool is_right;
    buf_init(&got, 1 << 10);
    for (uint64_t n = 0; n < 60; n++) {
        assert_false(find(m, n, &got, &is_right));
        keep(m, n);
        assert_true(find(m, n, &got, &is_right));
        assert_true(is_right);
    }
    /* The same text elsewhere is another place. */
    assert_true(text_memory_step(m, hash(m, 1, 1), hash(m, 9, 1)).low !=
                text_memory_step(m, hash(m, 2, 1), hash(m, 9, 1)).low);
    buf_destroy(&got);
    text_memory_free(m);
}

static void *keep_and_find(void *arg) {
    struct text_memory *m = arg;
    struct random dice = {3};
    struct buf got;
    bool is_right = true;
    int64_t n_found = 0;
    buf_init(&got, 1 << 10);
    for (int i = 0; i < 20000 && is_right; i++) {
        uint64_t n = (uint64_t)random_below(&dice, 200);
        if (find(m, n, &got, &is_right))
            n_found++;
        else
            keep(m, n);
    }
    buf_destroy(&got);
    return is_right && n_found > 100 ? NULL : m;
}

/* They write the same entries all the time, since there is room for few. */
static void threads_never_read_what_is_half_written(void **state) {
    (void)state;
    struct text_memory *m = text_memory_new(4, 64, secret);
    pthread_t threads[3];
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, keep_and_find, m), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        void *complaint;
        pthread_join(threads[i], &complaint);
        assert_null(complaint);
    }
    text_memory_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_a_text_by_its_bytes_length_and_kind),
        cmocka_unit_test(forgets_and_never_errs),
        cmocka_unit_test(knows_places_with_any_number_of_marks),
        cmocka_unit_test(threads_never_read_what_is_half_written),
    };
    return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
