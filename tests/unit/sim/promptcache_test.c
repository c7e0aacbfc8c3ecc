/* promptcache_test.c - prefixes are found in steps of 128 tokens, for their time, in a bounded table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sim/promptcache.h"
#include "sim/script.h"

static void finds_the_longest_common_beginning(void **state) {
    (void)state;
    struct promptcache c;
    promptcache_init(&c, 100);
    const uint64_t kept[] = {11, 12, 13}, longer[] = {11, 12, 13, 14}, other[] = {11, 99, 13};
    assert_int_equal(promptcache_find(&c, kept, 3, 0), 0);
    promptcache_keep(&c, kept, 3, 0);
    assert_int_equal(promptcache_find(&c, kept, 3, 1), 1024 + 2 * 128);
    assert_int_equal(promptcache_find(&c, longer, 4, 1), 1024 + 2 * 128);
    assert_int_equal(promptcache_find(&c, other, 3, 1), 1024);
    assert_int_equal(promptcache_find(&c, other + 1, 1, 1), 0);
    assert_int_equal(promptcache_find(&c, kept, 0, 1), 0);
    promptcache_destroy(&c);
}

static void forgets_what_is_not_used_for_its_time(void **state) {
    (void)state;
    struct promptcache c;
    promptcache_init(&c, 100);
    const uint64_t marks[] = {5, 6};
    promptcache_keep(&c, marks, 2, 0);
    assert_int_equal(promptcache_find(&c, marks, 2, 99), 1024 + 128);
    promptcache_keep(&c, marks, 1, 99);
    assert_int_equal(promptcache_find(&c, marks, 2, 100), 1024); /* the second went at 100 */
    assert_int_equal(promptcache_find(&c, marks, 2, 199), 0);
    promptcache_destroy(&c);
}

static void the_oldest_makes_room_and_the_newest_stays(void **state) {
    (void)state;
    struct promptcache c;
    promptcache_init(&c, INT64_MAX / 2);
    for (uint64_t i = 0; i < 4 * PROMPTCACHE_ENTRIES; i++) {
        uint64_t mark = script_mix(i);
        promptcache_keep(&c, &mark, 1, (int64_t)i);
        assert_int_equal(promptcache_find(&c, &mark, 1, (int64_t)i), 1024);
    }
    uint64_t first = script_mix(0);
    assert_int_equal(promptcache_find(&c, &first, 1, 4 * PROMPTCACHE_ENTRIES), 0);
    promptcache_destroy(&c);
}

static void a_cache_that_is_off_finds_nothing(void **state) {
    (void)state;
    struct promptcache c = {0};
    const uint64_t mark = 1;
    promptcache_keep(&c, &mark, 1, 0);
    assert_int_equal(promptcache_find(&c, &mark, 1, 0), 0);
    promptcache_destroy(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_longest_common_beginning),
        cmocka_unit_test(forgets_what_is_not_used_for_its_time),
        cmocka_unit_test(the_oldest_makes_room_and_the_newest_stays),
        cmocka_unit_test(a_cache_that_is_off_finds_nothing),
    };
    return cmocka_run_group_tests_name("promptcache", tests, NULL, NULL);
}
