/* principal_test.c - principals made, proved, written as rows and read again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "crypto/secret.h"
#include "identity/principal.h"

static const int64_t now_ms = INT64_C(1795305600000);

static struct principal make(const char *app_id, const char *name) {
    struct principal p;
    struct problem why = {{0}, {0}};
    enum status st = principal_make(str_of(app_id), str_of(name), false, now_ms, &p, &why);
    if (st != ST_OK)
        print_error("%s: %s\n", why.target, why.message);
    assert_int_equal(st, ST_OK);
    return p;
}

static void ids_are_drawn_when_none_is_given(void **state) {
    (void)state;
    struct principal a = make("", "ci robot"), b = make("", ""), c = make("app1", "");
    assert_int_equal(strlen(a.app_id), PRINCIPAL_GUID_SIZE - 1);
    assert_int_equal(strlen(a.object_id), PRINCIPAL_GUID_SIZE - 1);
    assert_string_not_equal(a.app_id, a.object_id);
    assert_string_not_equal(a.app_id, b.app_id);
    assert_string_equal(a.name, "ci robot");
    assert_string_equal(b.name, b.app_id);
    assert_string_equal(c.app_id, "app1");
    assert_string_equal(c.name, "app1");
}

static void a_guid_is_of_version_4(void **state) {
    (void)state;
    static const uint8_t zeros[16];
    uint8_t ones[16];
    memset(ones, 0xff, sizeof ones);
    char text[PRINCIPAL_GUID_SIZE];
    principal_guid(zeros, text);
    assert_string_equal(text, "00000000-0000-4000-8000-000000000000");
    principal_guid(ones, text);
    assert_string_equal(text, "ffffffff-ffff-4fff-bfff-ffffffffffff");
}

static void ids_and_names_out_of_pattern_are_refused(void **state) {
    (void)state;
    static const struct {
        struct str app_id, name;
        const char *target;
    } cases[] = {
        {STR_INIT("a b"), STR_INIT("x"), "appId"},
        {STR_INIT("a/b"), STR_INIT("x"), "appId"},
        {STR_INIT("a\0b"), STR_INIT("x"), "appId"},
        {STR_INIT("'; DROP TABLE rows; --"), STR_INIT("x"), "appId"},
        {STR_INIT("0123456789012345678901234567890123456789012345678901234567890123"),
         STR_INIT("x"), "appId"},
        {STR_INIT("a"), STR_INIT("line\nbreak"), "name"},
        {STR_INIT("a"), STR_INIT("nul\0"), "name"},
        {STR_INIT("a"), STR_INIT("\x7f"), "name"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct principal p;
        struct problem why = {{0}, {0}};
        assert_int_equal(principal_make(cases[i].app_id, cases[i].name, true, now_ms, &p, &why),
                         ST_BAD_REQUEST);
        assert_string_equal(why.target, cases[i].target);
        char key[PRINCIPAL_ID_SIZE];
        assert_int_equal(principal_key(cases[i].app_id, key), i >= 5);
    }
}

static void keys_of_rows_have_one_case(void **state) {
    (void)state;
    char a[PRINCIPAL_ID_SIZE], b[PRINCIPAL_ID_SIZE];
    assert_true(principal_key(STR("App-1_x.Z"), a) && principal_key(STR("aPP-1_X.z"), b));
    assert_string_equal(a, "app-1_x.z");
    assert_string_equal(a, b);
    assert_false(principal_key(STR(""), a));
}

static void a_secret_proves_until_it_expires(void **state) {
    (void)state;
    struct principal p = make("app1", "");
    struct str first = STR("first secret 0123"), second = STR("second secret 0123");
    assert_int_equal(principal_prove(&p, first, now_ms), PRINCIPAL_WRONG_SECRET);
    assert_int_equal(principal_add_secret(&p, first, now_ms, now_ms + 10, NULL), ST_OK);
    assert_int_equal(principal_add_secret(&p, second, now_ms, 0, NULL), ST_OK);
    assert_int_equal(principal_prove(&p, first, now_ms + 9), PRINCIPAL_PROVED);
    assert_int_equal(principal_prove(&p, first, now_ms + 10), PRINCIPAL_EXPIRED_SECRET);
    assert_int_equal(principal_prove(&p, second, now_ms + 10), PRINCIPAL_PROVED);
    assert_int_equal(principal_prove(&p, STR("third secret 0123"), now_ms), PRINCIPAL_WRONG_SECRET);
    /* The secret itself is nowhere in the record. */
    struct buf body;
    buf_init(&body, 8192);
    principal_print(&p, &body);
    assert_int_equal(str_find(buf_view(&body), first), -1);
    buf_destroy(&body);
}

static void secrets_too_short_too_long_or_too_many_are_refused(void **state) {
    (void)state;
    struct principal p = make("app1", "");
    static char text[SECRET_MAX + 1];
    memset(text, 's', sizeof text);
    assert_int_equal(principal_add_secret(&p, (struct str){text, 15}, now_ms, 0, NULL),
                     ST_BAD_REQUEST);
    assert_int_equal(principal_add_secret(&p, (struct str){text, sizeof text}, now_ms, 0, NULL),
                     ST_BAD_REQUEST);
    assert_int_equal(p.n_secrets, 0);
    assert_int_equal(principal_add_secret(&p, (struct str){text, 16}, now_ms, 0, NULL), ST_OK);
    p.n_secrets = PRINCIPAL_SECRETS_MAX;
    assert_int_equal(principal_add_secret(&p, (struct str){text, 16}, now_ms, 0, NULL),
                     ST_BAD_REQUEST);
}

static void a_row_reads_as_what_was_written(void **state) {
    (void)state;
    struct json_doc *doc = json_doc_new();
    struct principal p = make("App1", "J\xc3\xb6rg \"the\" \\robot"), back;
    p.is_operator = true;
    for (int i = 0; i < PRINCIPAL_SECRETS_MAX; i++) {
        snprintf(p.secrets[i].hash, sizeof p.secrets[i].hash, "scrypt$14$8$1$%d$x", i);
        p.secrets[i].created_ms = now_ms + i;
        p.secrets[i].expires_ms = i;
    }
    for (p.n_secrets = 0; p.n_secrets <= PRINCIPAL_SECRETS_MAX; p.n_secrets += 4) {
        struct buf body, again;
        buf_init(&body, 8192);
        buf_init(&again, 8192);
        principal_print(&p, &body);
        struct problem why = {{0}, {0}};
        assert_int_equal(principal_parse(doc, buf_view(&body), &back, &why), ST_OK);
        principal_print(&back, &again);
        assert_true(str_eq(buf_view(&body), buf_view(&again)));
        assert_string_equal(back.name, p.name);
        assert_true(back.is_operator);
        assert_int_equal(back.n_secrets, p.n_secrets);
        buf_destroy(&body);
        buf_destroy(&again);
    }
    json_doc_free(doc);
}

static void a_row_that_is_no_principal_is_refused(void **state) {
    (void)state;
#define IDS "\"appId\":\"a\",\"objectId\":\"o\",\"name\":\"n\",\"isOperator\":false,"
    static const struct {
        const char *body, *target;
    } cases[] = {
        {"", ""},
        {"{", ""},
        {"[]", "appId"},
        {"{}", "appId"},
        {"{\"appId\":1,\"objectId\":\"o\",\"name\":\"n\",\"createdMs\":1,\"secrets\":[]}", "appId"},
        {"{\"appId\":\"a\",\"name\":\"n\",\"createdMs\":1,\"secrets\":[]}", "objectId"},
        {"{\"appId\":\"a\",\"objectId\":\"o\",\"createdMs\":1,\"secrets\":[]}", "name"},
        {"{" IDS "\"secrets\":[]}", "createdMs"},
        {"{" IDS "\"createdMs\":\"1\",\"secrets\":[]}", "createdMs"},
        {"{" IDS "\"createdMs\":1}", "secrets"},
        {"{" IDS "\"createdMs\":1,\"secrets\":{}}", "secrets"},
        {"{" IDS "\"createdMs\":1,\"secrets\":[{}]}", "hash"},
        {"{" IDS "\"createdMs\":1,\"secrets\":[{\"hash\":\"h\",\"createdMs\":1}]}", "expiresMs"},
        {"{" IDS "\"createdMs\":1,\"secrets\":[1,1,1,1,1,1,1,1,1]}", "hash"},
    };
    struct json_doc *doc = json_doc_new();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct principal p = {.created_ms = 77};
        struct problem why = {{0}, {0}};
        assert_int_not_equal(principal_parse(doc, str_of(cases[i].body), &p, &why), ST_OK);
        assert_string_equal(why.target, cases[i].target);
        assert_int_equal(p.created_ms, 77); /* written only on success */
    }
    json_doc_free(doc);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_are_drawn_when_none_is_given),
        cmocka_unit_test(a_guid_is_of_version_4),
        cmocka_unit_test(ids_and_names_out_of_pattern_are_refused),
        cmocka_unit_test(keys_of_rows_have_one_case),
        cmocka_unit_test(a_secret_proves_until_it_expires),
        cmocka_unit_test(secrets_too_short_too_long_or_too_many_are_refused),
        cmocka_unit_test(a_row_reads_as_what_was_written),
        cmocka_unit_test(a_row_that_is_no_principal_is_refused),
    };
    return cmocka_run_group_tests_name("principal", tests, NULL, NULL);
}
