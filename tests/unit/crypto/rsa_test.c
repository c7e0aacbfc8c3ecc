/* rsa_test.c - keys made, saved, loaded and published; signatures that hold and those that do
 * not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "crypto/hash.h"
#include "crypto/rsa.h"

static struct rsa_key *ours;  /* made once: primes take their time */
static struct rsa_key *other; /* the public key that RFC 7638, section 3.1, shows */

static int make_keys(void **state) {
    (void)state;
    ours = rsa_key_make();
    struct str n =
        STR("0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR"
            "1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6C"
            "f0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajr"
            "n1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw"
            "0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw");
    return rsa_key_from_jwk(n, STR("AQAB"), &other, NULL) == ST_OK ? 0 : -1;
}

static int drop_keys(void **state) {
    (void)state;
    rsa_key_unref(ours);
    rsa_key_unref(other);
    return 0;
}

static void a_signature_holds_for_its_text_and_key_alone(void **state) {
    (void)state;
    struct buf signature;
    buf_init(&signature, RSA_SIGNATURE_MAX);
    rsa_sign(ours, STR("text"), &signature);
    assert_int_equal(signature.len, RSA_BITS / 8);
    assert_true(rsa_verify(ours, STR("text"), buf_view(&signature)));
    assert_false(rsa_verify(ours, STR("texu"), buf_view(&signature)));
    assert_false(rsa_verify(ours, STR(""), buf_view(&signature)));
    assert_false(rsa_verify(other, STR("text"), buf_view(&signature)));
    for (size_t i = 0; i < signature.len; i++) {
        signature.p[i] ^= 1;
        assert_false(rsa_verify(ours, STR("text"), buf_view(&signature)));
        signature.p[i] ^= 1;
    }
    for (size_t n = 0; n < signature.len; n += 17)
        assert_false(rsa_verify(ours, STR("text"), (struct str){signature.p, n}));
    assert_false(rsa_verify(ours, STR("text"), (struct str){NULL, 0}));
    buf_char(&signature, 0);
    assert_false(rsa_verify(ours, STR("text"), buf_view(&signature)));
    buf_destroy(&signature);
}

static void a_saved_key_loads_as_the_same_key(void **state) {
    (void)state;
    struct buf pem, signature;
    buf_init(&pem, 8192);
    buf_init(&signature, RSA_SIGNATURE_MAX);
    rsa_key_save(ours, &pem);
    assert_true(str_starts(buf_view(&pem), STR("-----BEGIN PRIVATE KEY-----")));
    struct rsa_key *loaded = NULL;
    assert_int_equal(rsa_key_load(buf_view(&pem), &loaded, NULL), ST_OK);
    assert_true(str_eq(rsa_key_id(loaded), rsa_key_id(ours)));
    assert_false(str_eq(rsa_key_id(loaded), rsa_key_id(other)));
    rsa_sign(loaded, STR("text"), &signature);
    assert_true(rsa_verify(ours, STR("text"), buf_view(&signature)));
    rsa_key_unref(loaded);
    buf_destroy(&pem);
    buf_destroy(&signature);
}

/* An RSA key of 1,024 bits and one on P-256, both made for this test and used nowhere. */
static const char small_key[] = "-----BEGIN PRIVATE KEY-----\n"
                                "MIICdwIBADANBgkqhkiG9w0BAQEFAASCAmEwggJdAgEAAoGBANtzng4l8yj8bLaL\n"
                                "Mb2GpTcbs5Ojd6l6AOoYlVr4gpa21htFkVwXSXPzSoTnMRlYi9+V+uxPQNOoS4G/\n"
                                "b/fUte6bhAzLDvRROoUCABSm/68OTD1KeUnXF7nIMk4w+KXau7n2HavnsvhQ3tce\n"
                                "grzd6xsYF15ywgl07EHD3WLCA9ypAgMBAAECgYAsieGZM4CPX/PcdJGqyon7jka6\n"
                                "/yFJJzbKTCT76pXuars3m73tt9gzjTwhjx5662qv/SuJDGi2zGBOvADIhsZJf8OR\n"
                                "PffiyDfxLE6+cETFNu3ENjC8KXkgRGN7wKKkuy5uEYWLEcyKMLHawP33NTafVODw\n"
                                "stMiZhzyiwaK8ss7kQJBAPaLwXqYe1ztJKSjT0iIAGJUbISTfpyYVboNYZm94yF1\n"
                                "61N5p8CZoweuFuQ+x1m2tFP1IIhzcyBYBi4kJedss7UCQQDj3eM8u4PdeyMxp6BM\n"
                                "t9J58kAilzPyFgof+LFPBxOGTeypOwOlTpHU1+s6RVdJPHSObiir5Kshm3AIVfut\n"
                                "m4WlAkBkZgUkJ3QVI30Ijnh60OdXI4oNcwLcQiym10wnj2wu9BYgqCnoBKifOAWa\n"
                                "bPZBUmWcyvW0m08GnNHneFD3LQ0BAkEA4iG7dvPoIw4mmQpvLHNobxiXyTwgkuiI\n"
                                "V74nx/OPzsLaT/9+2LgmRQGaMRPLUaSrTwXHWv7tTcbB4aPixiEG+QJBAOvV6B7D\n"
                                "yjhJnWdR/8N1e2E72mIVF5ROtAhe0+eeD1muTqQ/xcRTf7d/FIYLZmoCd42mpFRU\n"
                                "2mjjrP973kRY+bQ=\n"
                                "-----END PRIVATE KEY-----\n";
static const char curve_key[] = "-----BEGIN PRIVATE KEY-----\n"
                                "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgq2nsCWT0BI5fbsoU\n"
                                "7c9woGgfz4koj6U74yWwQJJh7EuhRANCAATTqOqaIxqiuF0SmhxoAvgV1APIOVhc\n"
                                "2iVMkKmmZtftUsY1EsSiK7gU1Ql6h1Z4GC2w4xCQXabjgApYOg4WfyBE\n"
                                "-----END PRIVATE KEY-----\n";

static void assert_no_key(struct str pem, const char *says) {
    struct rsa_key *key = NULL;
    struct problem why = {{0}, {0}};
    assert_int_equal(rsa_key_load(pem, &key, &why), ST_BAD_REQUEST);
    assert_null(key);
    assert_non_null(strstr(why.message, says));
}

static void what_is_no_usable_key_is_refused_with_the_reason(void **state) {
    (void)state;
    assert_no_key(STR(""), "no private key");
    assert_no_key((struct str){NULL, 0}, "no private key");
    assert_no_key(STR("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
                  "no private key");
    assert_no_key(str_of(small_key), "1024 bits");
    assert_no_key(str_of(curve_key), "no RSA key");
    struct buf pem;
    buf_init(&pem, 8192);
    rsa_key_save(ours, &pem);
    for (size_t n = 0; n < pem.len - 30; n += 97)
        assert_no_key((struct str){pem.p, n}, "no private key");
    buf_destroy(&pem);
}

/* A passphrase is never asked for: that would wait for a terminal. */
static void an_encrypted_key_is_refused(void **state) {
    (void)state;
    assert_no_key(STR("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"
                      "MIGTMFUGCSqGSIb3DQEFDTBIMCcGCSqGSIb3DQEFDDAaBBQ=\n"
                      "-----END ENCRYPTED PRIVATE KEY-----\n"),
                  "no private key");
}

static void a_published_key_verifies_and_has_the_same_name(void **state) {
    (void)state;
    struct buf n, e, signature;
    buf_init(&n, 1024);
    buf_init(&e, 64);
    buf_init(&signature, RSA_SIGNATURE_MAX);
    rsa_key_numbers(ours, &n, &e);
    assert_true(str_eq(buf_view(&e), STR("AQAB")));
    assert_int_equal(n.len, 342);
    struct rsa_key *key = NULL;
    assert_int_equal(rsa_key_from_jwk(buf_view(&n), buf_view(&e), &key, NULL), ST_OK);
    assert_true(str_eq(rsa_key_id(key), rsa_key_id(ours)));
    rsa_sign(ours, STR("text"), &signature);
    assert_true(rsa_verify(key, STR("text"), buf_view(&signature)));
    assert_false(rsa_verify(key, STR("other"), buf_view(&signature)));
    rsa_key_unref(key);
    buf_destroy(&n);
    buf_destroy(&e);
    buf_destroy(&signature);
}

/* RFC 7638, section 3.1, has the key and the thumbprint. */
static void the_name_is_the_thumbprint_of_the_standard(void **state) {
    (void)state;
    assert_true(str_eq(rsa_key_id(other), STR("NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs")));
}

static void numbers_that_make_no_key_are_refused(void **state) {
    (void)state;
    struct buf n, e, even, small, huge;
    buf_init(&n, 1024);
    buf_init(&e, 64);
    buf_init(&even, 1024);
    buf_init(&small, 1024);
    buf_init(&huge, 4096);
    rsa_key_numbers(ours, &n, &e);
    static char bytes[2048];
    memset(bytes, 0x7f, sizeof bytes);
    base64url_put(&small, (struct str){bytes, 128});
    base64url_put(&huge, (struct str){bytes, 2000});
    bytes[255] = 2;
    base64url_put(&even, (struct str){bytes, 256});
    const struct {
        struct str n, e;
    } cases[] = {
        {STR_INIT(""), STR_INIT("AQAB")},    {STR_INIT("!!"), STR_INIT("AQAB")},
        {buf_view(&n), STR_INIT("")},        {buf_view(&n), STR_INIT("AQ")}, /* 1 */
        {buf_view(&n), STR_INIT("AQAA")},                                    /* even */
        {buf_view(&n), STR_INIT("AQAAAAE")},                                 /* above 2^32 */
        {buf_view(&n), buf_view(&n)},        {buf_view(&small), STR_INIT("AQAB")},
        {buf_view(&huge), STR_INIT("AQAB")}, {buf_view(&even), STR_INIT("AQAB")},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct rsa_key *key = NULL;
        struct problem why = {{0}, {0}};
        assert_int_equal(rsa_key_from_jwk(cases[i].n, cases[i].e, &key, &why), ST_BAD_REQUEST);
        assert_null(key);
        assert_true(why.message[0] != '\0');
    }
    buf_destroy(&n);
    buf_destroy(&e);
    buf_destroy(&even);
    buf_destroy(&small);
    buf_destroy(&huge);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_signature_holds_for_its_text_and_key_alone),
        cmocka_unit_test(a_saved_key_loads_as_the_same_key),
        cmocka_unit_test(what_is_no_usable_key_is_refused_with_the_reason),
        cmocka_unit_test(an_encrypted_key_is_refused),
        cmocka_unit_test(a_published_key_verifies_and_has_the_same_name),
        cmocka_unit_test(the_name_is_the_thumbprint_of_the_standard),
        cmocka_unit_test(numbers_that_make_no_key_are_refused),
    };
    return cmocka_run_group_tests_name("rsa", tests, make_keys, drop_keys);
}
