/* list_test.c - the intrusive list: order, and removal while it is walked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/list.h"

struct item {
    int value;
    struct list in_list;
};

static int digits_of(struct list *head) {
    int digits = 0;
    LIST_EACH (head, it)
        digits = digits * 10 + CONTAINER_OF(it, struct item, in_list)->value;
    return digits;
}

static void keeps_order_and_forgets_what_is_removed(void **state) {
    (void)state;
    struct list head;
    struct item items[5] = {{.value = 1}, {.value = 2}, {.value = 3}, {.value = 4}, {.value = 5}};
    list_init(&head);
    assert_true(list_is_empty(&head));
    for (size_t i = 0; i < ARRAY_LEN(items); i++) {
        assert_false(list_is_linked(&items[i].in_list));
        list_append(&head, &items[i].in_list);
    }
    assert_int_equal(digits_of(&head), 12345);
    list_remove(&items[2].in_list);
    list_remove(&items[2].in_list); /* in no list: nothing happens */
    assert_int_equal(digits_of(&head), 1245);
    list_append(&head, &items[2].in_list);
    list_remove(&items[0].in_list);
    assert_int_equal(digits_of(&head), 2453);
    LIST_EACH (&head, it) {
        assert_true(list_is_linked(it));
        list_remove(it);
    }
    assert_true(list_is_empty(&head));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_order_and_forgets_what_is_removed),
    };
    return cmocka_run_group_tests_name("list", tests, NULL, NULL);
}
