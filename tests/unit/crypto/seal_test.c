/* seal_test.c - sealed secrets open with their key in their place, unchanged, and nowhere else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "crypto/seal.h"

static const struct seal_key key = {{1, 2, 3}};

static void close_into(struct buf *out, struct str context, struct str secret) {
    buf_init(out, 4096);
    seal_close(&key, context, secret, out);
    assert_int_equal(buf_status(out), ST_OK);
}

static void what_was_sealed_opens(void **state) {
    (void)state;
    static const struct str secrets[] = {STR_INIT(""), STR_INIT("k"),
                                         STR_INIT("0123456789abcdef0123456789abcdef"),
                                         STR_INIT("with\0nul and \xff")};
    for (size_t i = 0; i < ARRAY_LEN(secrets); i++) {
        struct buf sealed, opened;
        close_into(&sealed, STR("accounts/a/key1"), secrets[i]);
        buf_init(&opened, 4096);
        buf_lit(&opened, "before ");
        assert_true(seal_open(&key, STR("accounts/a/key1"), buf_view(&sealed), &opened));
        assert_true(str_eq(str_skip(buf_view(&opened), 7), secrets[i]));
        if (secrets[i].n > 1)
            assert_int_equal(str_find(buf_view(&sealed), secrets[i]), -1);
        buf_destroy(&sealed);
        buf_destroy(&opened);
    }
}

static void the_same_secret_never_looks_the_same(void **state) {
    (void)state;
    struct buf a, b;
    close_into(&a, STR("c"), STR("secret"));
    close_into(&b, STR("c"), STR("secret"));
    assert_false(str_eq(buf_view(&a), buf_view(&b)));
    buf_destroy(&a);
    buf_destroy(&b);
}

static void assert_shut(const struct seal_key *with, struct str context, struct str sealed) {
    struct buf opened;
    buf_init(&opened, 4096);
    buf_lit(&opened, "kept");
    assert_false(seal_open(with, context, sealed, &opened));
    assert_true(str_eq(buf_view(&opened), STR("kept")));
    buf_destroy(&opened);
}

static void another_key_place_or_text_opens_nothing(void **state) {
    (void)state;
    struct buf sealed;
    close_into(&sealed, STR("accounts/a/key1"), STR("secret"));
    struct seal_key other = key;
    other.bytes[31] = 1;
    assert_shut(&other, STR("accounts/a/key1"), buf_view(&sealed));
    assert_shut(&key, STR("accounts/a/key2"), buf_view(&sealed));
    assert_shut(&key, STR(""), buf_view(&sealed));
    for (size_t i = 0; i < sealed.len; i++) {
        char was = sealed.p[i];
        sealed.p[i] = was == 'A' ? 'B' : 'A';
        assert_shut(&key, STR("accounts/a/key1"), buf_view(&sealed));
        sealed.p[i] = was;
        assert_shut(&key, STR("accounts/a/key1"), (struct str){sealed.p, i});
    }
    assert_shut(&key, STR("accounts/a/key1"), (struct str){NULL, 0});
    buf_destroy(&sealed);
}

static void room_for_less_than_the_secret_is_no_opening(void **state) {
    (void)state;
    struct buf sealed, opened;
    close_into(&sealed, STR("c"), STR("secret"));
    buf_init(&opened, 5);
    assert_false(seal_open(&key, STR("c"), buf_view(&sealed), &opened));
    assert_int_equal(opened.len, 0);
    buf_destroy(&sealed);
    buf_destroy(&opened);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_sealed_opens),
        cmocka_unit_test(the_same_secret_never_looks_the_same),
        cmocka_unit_test(another_key_place_or_text_opens_nothing),
        cmocka_unit_test(room_for_less_than_the_secret_is_no_opening),
    };
    return cmocka_run_group_tests_name("seal", tests, NULL, NULL);
}
