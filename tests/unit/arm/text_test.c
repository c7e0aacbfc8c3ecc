/* text_test.c - times, GUIDs, names and versions: what is written is read, and the rest refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "arm/text.h"
#include "support/random.h"

static void times_are_written_and_read(void **state) {
    (void)state;
    static const struct {
        int64_t ms;
        const char *text;
    } cases[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {951782400000, "2000-02-29T00:00:00.000Z"},
        {1709164799999, "2024-02-28T23:59:59.999Z"},
        {1709251199000, "2024-02-29T23:59:59.000Z"},
        {1709251200000, "2024-03-01T00:00:00.000Z"},
        {4102444800000, "2100-01-01T00:00:00.000Z"},
        {4107542400000, "2100-03-01T00:00:00.000Z"},
        {-1, "1969-12-31T23:59:59.999Z"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char out[TIME_TEXT];
        int64_t ms = 77;
        assert_true(str_eq(time_text(cases[i].ms, out), str_of(cases[i].text)));
        assert_true(time_read(str_of(cases[i].text), &ms));
        assert_true(ms == cases[i].ms);
    }
    struct random r = {7};
    for (int i = 0; i < 10000; i++) {
        char out[TIME_TEXT];
        int64_t ms = random_between(&r, 0, INT64_C(253402300799999)), again;
        assert_true(time_read(time_text(ms, out), &again) && again == ms);
    }
    char out[TIME_TEXT];
    assert_true(str_starts(time_text(INT64_MAX, out), STR("9999-12-31T")));
    assert_true(str_starts(time_text(INT64_MIN, out), STR("0000-01-01T")));
}

static void other_texts_are_no_times(void **state) {
    (void)state;
    static const char *const wrong[] = {"",
                                        "2024-01-01",
                                        "2024-01-01T00:00:00",
                                        "2024-01-01T00:00:00+00:00",
                                        "2024-13-01T00:00:00Z",
                                        "2024-00-01T00:00:00Z",
                                        "2024-01-32T00:00:00Z",
                                        "2024-01-01T24:00:00Z",
                                        "2024-01-01T00:60:00Z",
                                        "20240101T000000Z",
                                        "x024-01-01T00:00:00Z"};
    int64_t ms = 77;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        assert_false(time_read(str_of(wrong[i]), &ms));
    assert_true(ms == 77);
    assert_true(time_read(STR("1970-01-01T00:00:01.5Z"), &ms) && ms == 1500);
    assert_true(time_read(STR("1970-01-01T00:00:01.1234567Z"), &ms) && ms == 1123);
}

static void guids_are_of_version_four(void **state) {
    (void)state;
    char out[GUID_TEXT];
    assert_true(str_eq(guid_text(0, 0, out), STR("00000000-0000-4000-8000-000000000000")));
    assert_true(str_eq(guid_text(UINT64_MAX, UINT64_MAX, out),
                       STR("ffffffff-ffff-4fff-bfff-ffffffffffff")));
    assert_true(guid_is_valid(guid_text(1, 2, out)));
    assert_true(guid_is_valid(STR("AAAAAAAA-0000-0000-0000-00000000000F")));
    assert_false(guid_is_valid(STR("")));
    assert_false(guid_is_valid(STR("aaaaaaaa-0000-0000-0000-00000000000")));
    assert_false(guid_is_valid(STR("aaaaaaaa-0000-0000-0000-00000000000g")));
    assert_false(guid_is_valid(STR("aaaaaaaa00000-0000-0000-000000000001")));
}

static void names_and_versions_keep_to_their_form(void **state) {
    (void)state;
    assert_true(name_is_valid(STR("a"), 1, 64) && name_is_valid(STR("0.a_b-C"), 2, 64));
    static const char *const names[] = {"", "-a", ".a", "a b", "a/b", "a'", "a\xc3\xa4", "a%"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        assert_false(name_is_valid(str_of(names[i]), 0, 64));
    assert_false(name_is_valid(STR("abc"), 1, 2));
    assert_false(name_is_valid(STR("a"), 2, 64));
    assert_true(api_version_is_valid(STR("2024-10-01")));
    assert_true(api_version_is_valid(STR("2024-10-01-Preview")));
    static const char *const versions[] = {"",           "2024",         "2024-10-01-",
                                           "2024-10-1",  "2024-10-01-x", "24-10-01",
                                           "2024-00-01", "2024-10-01 ",  "latest"};
    for (size_t i = 0; i < ARRAY_LEN(versions); i++)
        assert_false(api_version_is_valid(str_of(versions[i])));
}

static void queries_are_escaped(void **state) {
    (void)state;
    struct buf out;
    buf_init(&out, 100);
    text_put_escaped(&out, STR("a-b_c.~/ &\xff"));
    assert_true(str_eq(buf_view(&out), STR("a-b_c.~%2F%20%26%FF")));
    buf_destroy(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_are_written_and_read),
        cmocka_unit_test(other_texts_are_no_times),
        cmocka_unit_test(guids_are_of_version_four),
        cmocka_unit_test(names_and_versions_keep_to_their_form),
        cmocka_unit_test(queries_are_escaped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
