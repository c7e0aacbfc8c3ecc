/* arena_test.c - memory of one call: aligned, apart from each other, bounded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "support/random.h"

static void pieces_are_aligned_and_do_not_overlap(void **state) {
    (void)state;
    struct random r = {9};
    char first[700];
    for (int round = 0; round < 60; round++) {
        struct arena a;
        unsigned char *piece[100];
        size_t size[100];
        /* Lent memory of any alignment, or none. */
        size_t shift = (size_t)random_below(&r, 16);
        bool is_lent = round % 3 != 0;
        arena_init(&a, is_lent ? first + shift : NULL, is_lent ? sizeof first - shift : 0, 1 << 20);
        for (int i = 0; i < 100; i++) {
            size[i] = (size_t)random_below(&r, random_once_in(&r, 10) ? 9000 : 60);
            piece[i] = arena_alloc(&a, size[i]);
            assert_non_null(piece[i]);
            assert_int_equal((uintptr_t)piece[i] % 16, 0);
            memset(piece[i], i, size[i]);
        }
        for (int i = 0; i < 100; i++) {
            for (size_t k = 0; k < size[i]; k++)
                assert_int_equal(piece[i][k], i);
        }
        arena_destroy(&a);
    }
}

static void gives_its_ceiling_and_no_byte_more(void **state) {
    (void)state;
    struct arena a;
    arena_init(&a, NULL, 0, 1000);
    assert_non_null(arena_alloc(&a, 600));
    assert_null(arena_alloc(&a, 401));
    assert_null(arena_alloc(&a, SIZE_MAX));
    assert_non_null(arena_alloc(&a, 400));
    assert_null(arena_alloc(&a, 1));
    assert_int_equal(arena_str(&a, STR("x")).n, 0);
    arena_reset(&a);
    assert_non_null(arena_alloc(&a, 1000));
    arena_destroy(&a);
}

static void small_calls_live_in_what_was_lent(void **state) {
    (void)state;
    _Alignas(16) char first[64];
    struct arena a;
    arena_init(&a, first, sizeof first, 4096);
    for (int round = 0; round < 3; round++) {
        assert_ptr_equal(arena_alloc(&a, 32), first);
        assert_ptr_equal(arena_alloc(&a, 32), first + 32);
        assert_null(a.blocks);
        char *more = arena_alloc(&a, 1);
        assert_true(more < first || more >= first + sizeof first);
        arena_reset(&a);
    }
    arena_destroy(&a);
}

static void copies_texts_with_an_end(void **state) {
    (void)state;
    struct arena a;
    arena_init(&a, NULL, 0, 4096);
    char text[] = "abc";
    struct str copy = arena_str(&a, str_of(text));
    text[0] = 'x';
    assert_string_equal(copy.p, "abc");
    assert_int_equal(copy.n, 3);
    assert_string_equal(arena_str(&a, (struct str){NULL, 0}).p, "");
    arena_destroy(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_are_aligned_and_do_not_overlap),
        cmocka_unit_test(gives_its_ceiling_and_no_byte_more),
        cmocka_unit_test(small_calls_live_in_what_was_lent),
        cmocka_unit_test(copies_texts_with_an_end),
    };
    return cmocka_run_group_tests_name("arena", tests, NULL, NULL);
}
