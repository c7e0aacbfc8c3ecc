/* hash_test.c - digests against published vectors, and base64url that has one spelling. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "crypto/hash.h"
#include "support/random.h"

static void assert_hex(const uint8_t digest[SHA256_SIZE], const char *hex) {
    char text[2 * SHA256_SIZE + 1];
    for (int i = 0; i < SHA256_SIZE; i++) {
        text[2 * i] = "0123456789abcdef"[digest[i] >> 4];
        text[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
    }
    text[2 * SHA256_SIZE] = '\0';
    assert_string_equal(text, hex);
}

/* FIPS 180-4's examples, as published by NIST. */
static void sha256_is_that_of_the_standard(void **state) {
    (void)state;
    uint8_t digest[SHA256_SIZE];
    hash_sha256(STR("abc"), digest);
    assert_hex(digest, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    hash_sha256((struct str){NULL, 0}, digest);
    assert_hex(digest, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

/* RFC 4231, test case 2; and an empty key, which must not mean the key of the call before. */
static void hmac_is_that_of_the_standard(void **state) {
    (void)state;
    uint8_t digest[SHA256_SIZE];
    hash_hmac_sha256(STR("Jefe"), STR("what do ya want for nothing?"), digest);
    assert_hex(digest, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    hash_hmac_sha256((struct str){NULL, 0}, (struct str){NULL, 0}, digest);
    assert_hex(digest, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

static void assert_text(struct str bytes, const char *text) {
    struct buf out;
    buf_init(&out, 1024);
    base64url_put(&out, bytes);
    assert_true(str_eq(buf_view(&out), str_of(text)));
    buf_clear(&out);
    assert_true(base64url_take(&out, str_of(text)));
    assert_true(str_eq(buf_view(&out), bytes));
    buf_destroy(&out);
}

/* RFC 4648, section 10, without the padding; and the two characters that differ from base64. */
static void base64url_is_that_of_the_standard(void **state) {
    (void)state;
    assert_text(STR(""), "");
    assert_text(STR("f"), "Zg");
    assert_text(STR("fo"), "Zm8");
    assert_text(STR("foo"), "Zm9v");
    assert_text(STR("foob"), "Zm9vYg");
    assert_text(STR("\xfb\xff\xbf"), "-_-_");
}

static void base64url_refuses_every_other_spelling(void **state) {
    (void)state;
    static const char *const cases[] = {
        "Zg==", "Zg=", "Z",   "Zm9vY",  "Zh",    "Zm9", /* bits left over */
        "+/+/", "Zg ", " Zg", "Zm\n9v", "Zm9v.", "Z\x80",
    };
    struct buf out;
    buf_init(&out, 64);
    buf_lit(&out, "kept");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_false(base64url_take(&out, str_of(cases[i])));
        assert_true(str_eq(buf_view(&out), STR("kept")));
    }
    buf_destroy(&out);
}

static void base64url_returns_what_went_in_up_to_the_last_byte_of_room(void **state) {
    (void)state;
    struct random r = {.state = 4648};
    for (size_t n = 0; n < 200; n++) {
        char bytes[200];
        for (size_t i = 0; i < n; i++)
            bytes[i] = (char)random_next(&r);
        struct buf text, back, small;
        buf_init(&text, (n * 4 + 2) / 3);
        buf_init(&back, n);
        buf_init(&small, n - 1);
        base64url_put(&text, (struct str){bytes, n});
        assert_int_equal(buf_status(&text), ST_OK);
        assert_true(base64url_take(&back, buf_view(&text)));
        assert_true(str_eq(buf_view(&back), (struct str){bytes, n}));
        if (n > 0)
            assert_false(base64url_take(&small, buf_view(&text)));
        buf_destroy(&text);
        buf_destroy(&back);
        buf_destroy(&small);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256_is_that_of_the_standard),
        cmocka_unit_test(hmac_is_that_of_the_standard),
        cmocka_unit_test(base64url_is_that_of_the_standard),
        cmocka_unit_test(base64url_refuses_every_other_spelling),
        cmocka_unit_test(base64url_returns_what_went_in_up_to_the_last_byte_of_room),
    };
    return cmocka_run_group_tests_name("hash", tests, NULL, NULL);
}
