/* vocabulary_set_test.c - vocabularies that threads share by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "support/slow_merges.h"
#include "tokens/vocabulary_set.h"

static struct slow_merges slow;

static struct shared_vocabulary *make(void) {
    struct buf block;
    struct vocabulary_fault fault;
    struct problem why;
    struct shared_vocabulary *s = NULL;
    buf_init(&block, 64 << 20);
    merges_init(&slow);
    struct vocabulary_source source = {
        .tokens = slow.tokens, .ids = slow.ids, .n_tokens = slow.n_tokens, .merges = slow.merges};
    assert_int_equal(vocabulary_compile(&block, &source, &fault, &why), ST_OK);
    assert_int_equal(shared_vocabulary_new(&block, &s, &why), ST_OK);
    assert_null(block.p);
    return s;
}

static void finds_by_name(void **state) {
    (void)state;
    struct vocabulary_set *s = vocabulary_set_new();
    struct shared_vocabulary *a = make(), *b = make();
    assert_null(vocabulary_set_find(s, STR("a")));
    assert_null(vocabulary_set_find(NULL, STR("a")));
    vocabulary_set_put(s, STR("a"), a);
    vocabulary_set_put(s, STR("b"), b);
    assert_ptr_equal(vocabulary_set_find(s, STR("a")), a);
    assert_ptr_equal(vocabulary_set_find(s, STR("b")), b);
    assert_null(vocabulary_set_find(s, STR("ab")));
    vocabulary_set_unref(s);
}

/* ASan tells when it is freed too early, or never. */
static void lives_as_long_as_somebody_refers_to_it(void **state) {
    (void)state;
    struct vocabulary_set *first = vocabulary_set_new(), *second = vocabulary_set_new();
    struct shared_vocabulary *a = make();
    vocabulary_set_put(first, STR("a"), shared_vocabulary_ref(a));
    vocabulary_set_put(second, STR("a"), a);
    struct vocabulary_set *again = vocabulary_set_ref(second);
    vocabulary_set_unref(first);
    vocabulary_set_unref(second);
    assert_int_equal(vocabulary_size(&vocabulary_set_find(again, STR("a"))->v), 256);
    vocabulary_set_unref(again);
    vocabulary_set_unref(NULL);
    shared_vocabulary_unref(NULL);
    assert_null(vocabulary_set_ref(NULL));
    assert_null(shared_vocabulary_ref(NULL));
}

static void refuses_what_is_no_block(void **state) {
    (void)state;
    struct buf block;
    struct problem why;
    struct shared_vocabulary *s = NULL;
    buf_init(&block, 100);
    buf_lit(&block, "no block, and not long enough for one");
    assert_int_equal(shared_vocabulary_new(&block, &s, &why), ST_BAD_REQUEST);
    assert_null(s);
    buf_destroy(&block);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_by_name),
        cmocka_unit_test(lives_as_long_as_somebody_refers_to_it),
        cmocka_unit_test(refuses_what_is_no_block),
    };
    return cmocka_run_group_tests_name("vocabulary_set", tests, NULL, NULL);
}
