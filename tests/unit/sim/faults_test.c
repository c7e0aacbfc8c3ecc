/* faults_test.c - the words that order faults, and whom they strike. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sim/faults.h"
#include "sim/script.h"

static struct faults parse_one(const char *text) {
    struct fault_rules rules;
    struct faults f = {0};
    assert_int_equal(faults_parse(str_of(text), &rules, NULL), ST_OK);
    faults_draw(&rules, 0, &f);
    return f;
}

static void reads_each_kind_with_its_parameters(void **state) {
    (void)state;
    assert_int_equal(parse_one("").kinds, 0);
    assert_int_equal(parse_one("429").retry_after_ms, 1000);
    assert_int_equal(parse_one("429;retry-after-ms=43").retry_after_ms, 43);
    assert_int_equal(parse_one("429;retry=none").retry_after_ms, 0);
    assert_int_equal(parse_one("slow-start;ms=7").slow_ms, 7);
    assert_int_equal(parse_one("stall; after=9").after, 9);
    assert_int_equal(parse_one("garbage").kinds, FAULT_GARBAGE);
    assert_int_equal(parse_one("garbage;http").kinds, FAULT_GARBAGE_HTTP);
    struct faults f = parse_one("burst;n=4, crlf ,split,,no-usage");
    assert_int_equal(f.kinds, FAULT_BURST | FAULT_CRLF | FAULT_SPLIT | FAULT_NO_USAGE);
    assert_int_equal(f.burst, 4);
}

static void refuses_what_is_no_fault_and_names_it(void **state) {
    (void)state;
    static const char *const wrong[] = {
        "428",
        "stal",
        "stall;after",
        "stall;after=x",
        "stall;after=-1",
        "burst;n=0",
        "burst;after=1",
        "429:1.5",
        "429:-0.5",
        "429:0.1234567",
        "429:",
        "429:0.-1",
        "stall;http",
        "500;retry=none",
        ":0.5",
        "429;retry-after-ms=0",
    };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct fault_rules rules = {.count = 77};
        struct problem why = {0};
        assert_int_equal(faults_parse(str_of(wrong[i]), &rules, &why), ST_BAD_REQUEST);
        assert_true(str_find(str_of(why.message), str_of(wrong[i])) >= 0);
        assert_int_equal(rules.count, 77);
    }
}

static void strikes_as_many_calls_as_the_rate_says(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int least, most;
    } cases[] = {{"500:0", 0, 0}, {"500:0.25", 2300, 2700}, {"500:1", 10000, 10000}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fault_rules rules;
        assert_int_equal(faults_parse(str_of(cases[i].text), &rules, NULL), ST_OK);
        int n = 0;
        for (uint64_t k = 0; k < 10000; k++) {
            struct faults f = {0};
            faults_draw(&rules, script_mix(k), &f);
            n += f.kinds != 0;
        }
        assert_in_range(n, cases[i].least, cases[i].most);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_each_kind_with_its_parameters),
        cmocka_unit_test(refuses_what_is_no_fault_and_names_it),
        cmocka_unit_test(strikes_as_many_calls_as_the_rate_says),
    };
    return cmocka_run_group_tests_name("faults", tests, NULL, NULL);
}
