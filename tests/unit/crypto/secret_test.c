/* secret_test.c - hashes of secrets: the right secret, the wrong one, and texts that are no
 * hash. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "crypto/secret.h"

static void a_secret_has_its_hash_and_no_other_secret_does(void **state) {
    (void)state;
    char hash[SECRET_HASH_SIZE], again[SECRET_HASH_SIZE];
    secret_hash(STR("correct horse"), hash);
    assert_true(secret_verify(STR("correct horse"), str_of(hash)));
    assert_false(secret_verify(STR("correct horsf"), str_of(hash)));
    assert_false(secret_verify(STR("correct horse "), str_of(hash)));
    assert_false(secret_verify(STR(""), str_of(hash)));
    assert_true(str_starts(str_of(hash), STR("scrypt$14$8$1$")));
    secret_hash(STR("correct horse"), again);
    assert_string_not_equal(hash, again); /* salted */
}

/* RFC 7914, section 12: "pleaseletmein", "SodiumChloride", N 16384, r 8, p 1, its first 32
 * bytes. */
static void the_hash_is_scrypt(void **state) {
    (void)state;
    struct str hash =
        STR("scrypt$14$8$1$U29kaXVtQ2hsb3JpZGU$cCO9yzr9c0hGHAbNgf046_2o-7qQT44-qbVD9lRdofI");
    assert_true(secret_verify(STR("pleaseletmein"), hash));
    assert_false(secret_verify(STR("pleaseletmeout"), hash));
}

static void a_text_that_is_no_hash_fits_no_secret(void **state) {
    (void)state;
    static const char *const cases[] = {
        "",
        "x",
        "scrypt",
        "scrypt$14$8$1",
        "scrypt$14$8$1$$",
        "scrypt$14$8$1$U29kaXVtQ2hsb3JpZGU",
        "scrypt$14$8$1$U29kaXVtQ2hsb3JpZGU$",
        "scrypt$14$8$1$U29kaXVtQ2hsb3JpZGU$cCO9",
        "scrypt$14$8$1$U29kaXVtQ2hsb3JpZGU$cCO9yzr9c0hGHAbNgf046_2o-7qQT44-qbVD9lRdofI=",
        "scrypt$14$8$1$U29kaXVtQ2hsb3JpZGU$cCO9yzr9c0hGHAbNgf046_2o-7qQT44-qbVD9lRdofI$",
        "scrypt$14$8$$U29kaXVtQ2hsb3JpZGU$cCO9yzr9c0hGHAbNgf046_2o-7qQT44-qbVD9lRdofI",
        "scrypt$0$8$1$U29kaXVtQ2hsb3JpZGU$cCO9yzr9c0hGHAbNgf046_2o-7qQT44-qbVD9lRdofI",
        "bcrypt$14$8$1$U29kaXVtQ2hsb3JpZGU$cCO9yzr9c0hGHAbNgf046_2o-7qQT44-qbVD9lRdofI",
        /* more memory or time than a hash may ask for */
        "scrypt$17$8$1$U29kaXVtQ2hsb3JpZGU$cCO9yzr9c0hGHAbNgf046_2o-7qQT44-qbVD9lRdofI",
        "scrypt$63$8$1$U29kaXVtQ2hsb3JpZGU$cCO9yzr9c0hGHAbNgf046_2o-7qQT44-qbVD9lRdofI",
        "scrypt$14$8$99$U29kaXVtQ2hsb3JpZGU$cCO9yzr9c0hGHAbNgf046_2o-7qQT44-qbVD9lRdofI",
        "scrypt$14$-8$1$U29kaXVtQ2hsb3JpZGU$cCO9yzr9c0hGHAbNgf046_2o-7qQT44-qbVD9lRdofI",
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_false(secret_verify(STR("pleaseletmein"), str_of(cases[i])));
        assert_false(secret_verify(STR(""), str_of(cases[i])));
    }
}

static void a_secret_may_be_long_but_not_without_end(void **state) {
    (void)state;
    static char text[SECRET_MAX + 1];
    memset(text, 's', sizeof text);
    char hash[SECRET_HASH_SIZE];
    secret_hash((struct str){text, SECRET_MAX}, hash);
    assert_true(secret_verify((struct str){text, SECRET_MAX}, str_of(hash)));
    assert_false(secret_verify((struct str){text, SECRET_MAX + 1}, str_of(hash)));
}

static void no_two_new_secrets_are_alike(void **state) {
    (void)state;
    char a[SECRET_SIZE], b[SECRET_SIZE];
    secret_make(a);
    secret_make(b);
    assert_int_equal(strlen(a), SECRET_SIZE - 1);
    assert_string_not_equal(a, b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_secret_has_its_hash_and_no_other_secret_does),
        cmocka_unit_test(the_hash_is_scrypt),
        cmocka_unit_test(a_text_that_is_no_hash_fits_no_secret),
        cmocka_unit_test(a_secret_may_be_long_but_not_without_end),
        cmocka_unit_test(no_two_new_secrets_are_alike),
    };
    return cmocka_run_group_tests_name("secret", tests, NULL, NULL);
}
