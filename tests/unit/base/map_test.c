/* map_test.c - the map behaves as a list of pairs does, only faster. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/map.h"
#include "support/random.h"

static const struct siphash_key secret = {3, 4};

static void finds_what_was_put_and_nothing_else(void **state) {
    (void)state;
    int a, b;
    struct map m;
    map_init(&m, &secret);
    assert_null(map_get(&m, STR("a")));
    assert_null(map_remove(&m, STR("a")));
    map_put(&m, STR("a"), &a);
    map_put(&m, STR(""), &b);
    assert_ptr_equal(map_get(&m, STR("a")), &a);
    assert_ptr_equal(map_get(&m, STR("")), &b);
    assert_null(map_get(&m, STR("A")));
    map_put(&m, STR("a"), &b);
    assert_ptr_equal(map_get(&m, STR("a")), &b);
    assert_int_equal(m.count, 2);
    assert_ptr_equal(map_remove(&m, STR("a")), &b);
    assert_null(map_get(&m, STR("a")));
    assert_int_equal(m.count, 1);
    map_destroy(&m);
}

/* Few keys, so that removals often meet runs of neighbours. */
enum { N_KEYS = 96 };

static void agrees_with_an_array_over_random_changes(void **state) {
    (void)state;
    static char names[N_KEYS][8];
    static int values[N_KEYS];
    int *model[N_KEYS] = {0};
    struct random r = {11};
    struct map m;
    for (int i = 0; i < N_KEYS; i++)
        snprintf(names[i], sizeof names[i], "k%d", i);
    map_init(&m, &secret);
    for (int step = 0; step < 20000; step++) {
        /* Phases of growth and of decay. */
        bool adds = random_below(&r, 100) < (step / 2000 % 2 ? 30 : 70);
        int64_t k = random_below(&r, N_KEYS);
        struct str key = str_of(names[k]);
        if (adds) {
            map_put(&m, key, &values[k]);
            model[k] = &values[k];
        } else {
            assert_ptr_equal(map_remove(&m, key), model[k]);
            model[k] = NULL;
        }
        int64_t look = random_below(&r, N_KEYS);
        assert_ptr_equal(map_get(&m, str_of(names[look])), model[look]);
    }
    size_t n = 0, n_model = 0, at = 0;
    struct str key;
    void *value;
    while (map_next(&m, &at, &key, &value)) {
        int64_t k;
        assert_true(str_to_i64(str_skip(key, 1), &k));
        assert_ptr_equal(value, model[k]);
        n++;
    }
    for (int i = 0; i < N_KEYS; i++) {
        n_model += model[i] != NULL;
        assert_ptr_equal(map_get(&m, str_of(names[i])), model[i]);
    }
    assert_int_equal(n, n_model);
    assert_int_equal(m.count, n_model);
    map_destroy(&m);
}

static void is_at_most_half_full(void **state) {
    (void)state;
    static char names[1000][8];
    struct map m;
    int value;
    map_init(&m, &secret);
    for (int i = 0; i < 1000; i++) {
        snprintf(names[i], sizeof names[i], "%d", i);
        map_put(&m, str_of(names[i]), &value);
        assert_true(m.count * 2 <= m.n_slots + 1);
    }
    map_destroy(&m);
    assert_null(map_get(&m, STR("1")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_what_was_put_and_nothing_else),
        cmocka_unit_test(agrees_with_an_array_over_random_changes),
        cmocka_unit_test(is_at_most_half_full),
    };
    return cmocka_run_group_tests_name("map", tests, NULL, NULL);
}
