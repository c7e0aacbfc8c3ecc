/* nfc_test.c - text in Normalization Form C; tests/fuzz/nfc_fuzz.c compares it with the standard's definition. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <time.h>

#include <cmocka.h>

#include "support/random.h"
#include "tokens/nfc.h"

static struct buf out;

static struct str nfc(struct str text) {
    buf_clear(&out);
    out.ceiling = NFC_GROWTH * text.n;
    assert_int_equal(nfc_put(&out, text), ST_OK);
    return buf_view(&out);
}

static void assert_nfc(struct str text, struct str expected) {
    struct str got = nfc(text);
    assert_int_equal(got.n, expected.n);
    assert_memory_equal(got.p, expected.p, got.n);
}

/* Unicode Standard Annex #15, figures 3 to 6, and the standard's chapter 3.12. */
static void joins_what_makes_one_character(void **state) {
    (void)state;
    assert_nfc(STR("cafe\u0301"), STR("caf\u00e9"));
    assert_nfc(STR("\u212b A\u030a"), STR("\u00c5 \u00c5"));
    assert_nfc(STR("\u2126"), STR("\u03a9"));
    assert_nfc(STR("s\u0323\u0307 s\u0307\u0323 \u1e0b\u0323"), STR("\u1e69 \u1e69 \u1e0d\u0307"));
    assert_nfc(STR("\u1e9b\u0323"), STR("\u1e9b\u0323"));
    assert_nfc(STR("\u1112\u1161\u11ab \ud55c \ud558\u11ab"), STR("\ud55c \ud55c \ud55c"));
    assert_nfc(STR("\u304b\u3099"), STR("\u304c"));
}

static void leaves_what_is_left_out_of_joining(void **state) {
    (void)state;
    assert_nfc(STR("\ufb01 2\u2075"),
               STR("\ufb01 2\u2075"));                    /* only of the same look: that is NFKC */
    assert_nfc(STR("\u0958"), STR("\u0915\u093c"));       /* excluded from composition */
    assert_nfc(STR("\ud55c\u11ab"), STR("\ud55c\u11ab")); /* has its last letter already */
    assert_nfc(STR("e\u0323\u0334\u0323"), STR("\u1eb9\u0334\u0323"));
    assert_nfc(STR("\u0301e"), STR("\u0301e"));
    assert_nfc(STR(""), STR(""));
}

static void a_mark_of_the_same_order_keeps_another_away(void **state) {
    (void)state;
    assert_nfc(STR("a\u0305\u0301"), STR("a\u0305\u0301"));
    assert_nfc(STR("a\u0323\u0301"), STR("\u1ea1\u0301"));
    assert_nfc(STR("a\u0301\u0323"), STR("\u1ea1\u0301"));
}

static void bytes_that_are_no_text_stay(void **state) {
    (void)state;
    static const char *const broken[] = {
        "\xc1\x81\xcc\x81", "\xe0\x81\x81\xcc\x81", "\xf8\xcc\x81",     "\xcc",     "a\xcc\x41",
        "\x81\x81",         "\xed\xa0\x80",         "\xf4\x90\x80\x80", "\xff\xfe", "\xf0\x9d\x85"};
    for (size_t i = 0; i < ARRAY_LEN(broken); i++)
        assert_nfc(str_of(broken[i]), str_of(broken[i]));
    assert_nfc(STR("\xcc"
                   "e\u0301\xcc"),
               STR("\xcc"
                   "\u00e9\xcc"));
}

static void knows_text_in_the_form_and_only_that(void **state) {
    (void)state;
    static const char *const sure[] = {
        "",
        "plain words, 8 at a time",
        "Zürich",
        "中文字符 한국어 です 😀",
        "\u0939\u093f\u0928\u094d\u0926\u0940 \u0932\u0921\u093c\u0915\u093e",
        "বাংলা",
        "தமிழ் மொ",
        "ಕನ್ನಡ ಕೋ",
        "\u1eb9\u0315",
        "\u1ea1\u0305\u0315 x"};
    static const char *const unsure[] = {"eight letters e\u0301", "\u0344",       "x\u0345\u0301",
                                         "\u0301\u0323",          "\u1100\u1161", "\uf900"};
    for (size_t i = 0; i < ARRAY_LEN(sure); i++)
        assert_true(nfc_is(str_of(sure[i])));
    for (size_t i = 0; i < ARRAY_LEN(unsure); i++)
        assert_false(nfc_is(str_of(unsure[i])));
}

static void the_most_that_text_grows_is_three_times(void **state) {
    (void)state;
    /* U+1D160 takes 4 bytes, and 12 in this form. */
    assert_nfc(STR("\U0001d160"), STR("\U0001d158\U0001d165\U0001d16e"));
    buf_clear(&out);
    out.ceiling = 11;
    assert_int_equal(nfc_put(&out, STR("\U0001d160")), ST_TOO_LARGE);
}

/* Orders that fall are the worst for sorting by exchange: a million would take hours. */
static void a_million_marks_on_one_letter_take_no_time(void **state) {
    (void)state;
    enum { MARKS = 1 << 20 };
    struct buf text;
    buf_init(&text, 2 * MARKS + 2);
    buf_char(&text, 'x');
    for (int i = 0; i < MARKS; i++)
        buf_str(&text, i % 2 ? STR("\u0323") : STR("\u0301"));
    buf_char(&text, 'y');
    clock_t begin = clock();
    struct str got = nfc(buf_view(&text));
    assert_true((double)(clock() - begin) / CLOCKS_PER_SEC < 5);
    assert_int_equal(got.n, text.len);
    for (size_t i = 0; i < MARKS; i++)
        assert_memory_equal(got.p + 1 + 2 * i, i < MARKS / 2 ? "\u0323" : "\u0301", 2);
    buf_destroy(&text);
}

/* A text is that of its segments: what came before changes nothing. */
static void segments_stand_alone(void **state) {
    (void)state;
    static const char *const parts[] = {"e",      "\u0301", "\u0323", "\u0345", "\u1161", "\u1100",
                                        "\uac00", "\u11a8", "\u304b", "\u3099", "\u0344", "\u0958"};
    struct random dice = {1};
    struct buf text, whole;
    buf_init(&text, 1000);
    buf_init(&whole, 3000);
    for (int round = 0; round < 20000; round++) {
        buf_clear(&text);
        for (int64_t n = random_below(&dice, 12); n >= 0; n--)
            buf_str(&text, str_of(parts[random_below(&dice, ARRAY_LEN(parts))]));
        buf_clear(&whole);
        buf_str(&whole, nfc(buf_view(&text)));
        struct str alone = buf_view(&whole);
        (void)buf_reserve(&text, text.len + 1);
        struct str once = buf_view(&text);
        buf_char(&text, '\n'); /* which nothing is joined to */
        buf_str(&text, once);
        struct str twice = nfc(buf_view(&text));
        assert_true(twice.n > alone.n);
        assert_memory_equal(twice.p, alone.p, alone.n);
        assert_int_equal(twice.p[alone.n], '\n');
    }
    buf_destroy(&text);
    buf_destroy(&whole);
}

static int tear_down(void **state) {
    (void)state;
    buf_destroy(&out);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(joins_what_makes_one_character),
        cmocka_unit_test(leaves_what_is_left_out_of_joining),
        cmocka_unit_test(a_mark_of_the_same_order_keeps_another_away),
        cmocka_unit_test(bytes_that_are_no_text_stay),
        cmocka_unit_test(knows_text_in_the_form_and_only_that),
        cmocka_unit_test(the_most_that_text_grows_is_three_times),
        cmocka_unit_test(a_million_marks_on_one_letter_take_no_time),
        cmocka_unit_test(segments_stand_alone),
    };
    return cmocka_run_group_tests(tests, NULL, tear_down);
}
