/* agenda_test.c - the heap gives moments in order, whatever was moved or taken out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sim/agenda.h"

static uint32_t next(uint32_t *r) {
    *r = *r * 1664525 + 1013904223;
    return *r >> 8;
}

static void gives_the_earliest_after_any_history(void **state) {
    (void)state;
    enum { N = 300 };
    struct agenda a = {0};
    struct agenda_entry e[N] = {0};
    uint32_t r = 7;
    for (int step = 0; step < 20000; step++) {
        struct agenda_entry *one = &e[next(&r) % N];
        if (next(&r) % 3 == 0)
            agenda_remove(&a, one);
        else
            agenda_set(&a, one, (int64_t)(next(&r) % 1000));
        const struct agenda_entry *first = agenda_first(&a);
        size_t count = 0;
        for (int i = 0; i < N; i++) {
            if (!e[i].place)
                continue;
            count++;
            assert_true(first->at_ns <= e[i].at_ns);
        }
        assert_true(count == a.count && (count == 0) == (first == NULL));
    }
    int64_t last = -1;
    struct agenda_entry *first;
    while ((first = agenda_first(&a))) {
        assert_true(first->at_ns >= last);
        last = first->at_ns;
        agenda_remove(&a, first);
        assert_int_equal(first->place, 0);
    }
    agenda_destroy(&a);
}

static void taking_out_what_is_not_in_does_nothing(void **state) {
    (void)state;
    struct agenda a = {0};
    struct agenda_entry e = {0}, other = {0};
    agenda_remove(&a, &e);
    agenda_set(&a, &e, 1);
    agenda_remove(&a, &other);
    assert_ptr_equal(agenda_first(&a), &e);
    agenda_remove(&a, &e);
    assert_null(agenda_first(&a));
    agenda_destroy(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_the_earliest_after_any_history),
        cmocka_unit_test(taking_out_what_is_not_in_does_nothing),
    };
    return cmocka_run_group_tests_name("agenda", tests, NULL, NULL);
}
