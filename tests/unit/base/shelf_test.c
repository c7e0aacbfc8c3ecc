/* shelf_test.c - memory kept for the next buffer: it comes back, within bounds, and without a trace. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/shelf.h"

static void gives_memory_that_was_given_back(void **state) {
    (void)state;
    struct shelf s = {0};
    struct buf a, b;
    buf_init(&a, 1 << 20);
    buf_init(&b, 5000);
    shelf_take(&s, &a);
    assert_true(a.cap >= SHELF_PIECE && a.len == 0);
    buf_lit(&a, "a secret");
    shelf_give(&s, &a);
    assert_true(!a.p && a.cap == 0 && a.len == 0 && a.ceiling == 1 << 20);
    shelf_take(&s, &b);
    assert_true(b.cap >= SHELF_PIECE && b.len == 0 && b.ceiling == 5000);
    assert_int_equal(s.n, 0);
    buf_destroy(&b);
    shelf_destroy(&s);
}

static void keeps_neither_too_much_nor_too_large_nor_too_small(void **state) {
    (void)state;
    struct shelf s = {0};
    struct buf many[SHELF_PIECES + 1], large, small;
    for (size_t i = 0; i < ARRAY_LEN(many); i++) {
        buf_init(&many[i], 4096);
        shelf_take(&s, &many[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(many); i++)
        shelf_give(&s, &many[i]);
    assert_true(s.n <= SHELF_PIECES);
    shelf_destroy(&s);
    assert_int_equal(s.n, 0);
    buf_init(&large, 1 << 20);
    (void)buf_reserve(&large, SHELF_PIECE_MAX + 1);
    shelf_give(&s, &large);
    buf_init(&small, 100);
    shelf_take(&s, &small);
    assert_true(small.cap >= 100);
    shelf_give(&s, &small);
    shelf_give(&s, &small); /* which has none */
    assert_int_equal(s.n, 0);
    shelf_destroy(&s);
}

static void without_a_shelf_memory_is_the_heaps(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b, 4096);
    shelf_take(NULL, &b);
    assert_true(b.cap >= SHELF_PIECE);
    shelf_give(NULL, &b);
    assert_null(b.p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_memory_that_was_given_back),
        cmocka_unit_test(keeps_neither_too_much_nor_too_large_nor_too_small),
        cmocka_unit_test(without_a_shelf_memory_is_the_heaps),
    };
    return cmocka_run_group_tests_name("shelf", tests, NULL, NULL);
}
