/* ec_test.c - ES256 as others compute it, and what is no signature or no key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "crypto/ec.h"
#include "crypto/hash.h"

/* RFC 7515, appendix A.3. */
static const struct str x = STR_INIT("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU");
static const struct str y = STR_INIT("x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0");
static const struct str data =
    STR_INIT("eyJhbGciOiJFUzI1NiJ9."
             "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt"
             "cGxlLmNvbS9pc19yb290Ijp0cnVlfQ");
static const struct str signed_by =
    STR_INIT("DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSA"
             "pmWQxfKTUJqPP3-Kg6NU1Q");

static struct ec_key *key_of(struct str kx, struct str ky) {
    struct ec_key *key;
    struct problem why = {0};
    return ec_key_from_jwk(kx, ky, &key, &why) == ST_OK ? key : NULL;
}

static void the_example_of_the_rfc_is_believed_and_nothing_near_it(void **state) {
    (void)state;
    struct ec_key *key = key_of(x, y);
    assert_non_null(key);
    struct buf signature;
    buf_init(&signature, 128);
    assert_true(base64url_take(&signature, signed_by));
    assert_int_equal(signature.len, EC_SIGNATURE_SIZE);
    assert_true(ec_verify(key, data, buf_view(&signature)));
    assert_false(ec_verify(key, str_skip(data, 1), buf_view(&signature)));
    for (size_t i = 0; i < EC_SIGNATURE_SIZE; i++) {
        signature.p[i] = (char)(signature.p[i] ^ 1);
        assert_false(ec_verify(key, data, buf_view(&signature)));
        signature.p[i] = (char)(signature.p[i] ^ 1);
    }
    for (size_t n = 0; n < EC_SIGNATURE_SIZE; n++)
        assert_false(ec_verify(key, data, (struct str){signature.p, n}));
    buf_char(&signature, '\0');
    assert_false(ec_verify(key, data, buf_view(&signature)));
    /* R and S of zero fit every key where nobody looks (CVE-2022-21449). */
    char zeroes[EC_SIGNATURE_SIZE] = {0};
    assert_false(ec_verify(key, data, (struct str){zeroes, sizeof zeroes}));
    buf_destroy(&signature);
    struct ec_key *same = ec_key_ref(key);
    ec_key_unref(key);
    ec_key_unref(same);
    ec_key_unref(NULL);
}

static void what_is_no_point_of_the_curve_is_no_key(void **state) {
    (void)state;
    static const struct str zero = STR_INIT("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    assert_null(key_of(y, x));
    assert_null(key_of(x, x));
    assert_null(key_of(zero, zero));
    assert_null(key_of(STR(""), y));
    assert_null(key_of(x, STR("")));
    assert_null(key_of(x, str_skip(y, 2)));
    assert_null(key_of(x, STR("x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0AA")));
    assert_null(key_of(x, STR("x/FEzRu9m36HLN+tue659LNpXW6pCyStikYjKIWI5a0")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_example_of_the_rfc_is_believed_and_nothing_near_it),
        cmocka_unit_test(what_is_no_point_of_the_curve_is_no_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
