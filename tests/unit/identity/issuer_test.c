/* issuer_test.c - issuers as settings and as their own descriptions; whom their tokens are about. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "identity/issuer.h"

static void a_setting_names_issuer_audiences_keys_and_authority(void **state) {
    (void)state;
    struct issuer_setting s;
    struct problem why;
    assert_int_equal(
        issuer_read_setting(STR("  https://login.example/t/v2.0  audience=api://weir "
                                "ca=/etc/ca.pem audience=a=b jwks=https://k.example/j?x "),
                            &s, &why),
        ST_OK);
    assert_true(str_eq(s.issuer, STR("https://login.example/t/v2.0")));
    assert_int_equal(s.n_audiences, 2);
    assert_true(str_eq(s.audiences[0], STR("api://weir")));
    assert_true(str_eq(s.audiences[1], STR("a=b")));
    assert_true(str_eq(s.ca_file, STR("/etc/ca.pem")));
    assert_true(str_eq(s.jwks_url, STR("https://k.example/j?x")));
    assert_int_equal(issuer_read_setting(STR("https://a/ audience=x"), &s, &why), ST_OK);
    assert_true(str_eq(s.issuer, STR("https://a/")) && s.jwks_url.n == 0 && s.ca_file.n == 0);
}

static void a_setting_that_leaves_something_open_is_refused(void **state) {
    (void)state;
    static const struct str bad[] = {
        STR_INIT(""),
        STR_INIT("   "),
        STR_INIT("http://login.example audience=x"),
        STR_INIT("https:// audience=x"),
        STR_INIT("https:///path audience=x"),
        STR_INIT("https://a#b audience=x"),
        STR_INIT("https://login.example"),
        STR_INIT("https://login.example audience="),
        STR_INIT("https://login.example audience=x jwks=http://k"),
        STR_INIT("https://login.example audience=x ca="),
        STR_INIT("https://login.example audience=x secret=1"),
        STR_INIT("https://login.example audience=x more"),
        STR_INIT("audience=x https://login.example"),
    };
    struct issuer_setting s;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct problem why = {0};
        if (issuer_read_setting(bad[i], &s, &why) != ST_BAD_REQUEST || why.message[0] == '\0')
            fail_msg("%.*s was taken", STR_ARG(bad[i]));
    }
    struct buf text;
    buf_init(&text, 4096);
    buf_lit(&text, "https://a");
    for (int i = 0; i <= ISSUER_AUDIENCES_MAX; i++)
        buf_printf(&text, " audience=%d", i);
    assert_int_equal(issuer_read_setting(buf_view(&text), &s, NULL), ST_BAD_REQUEST);
    buf_clear(&text);
    buf_lit(&text, "https://");
    for (int i = 0; i < ISSUER_NAME_MAX; i++)
        buf_char(&text, 'a');
    buf_lit(&text, " audience=x");
    assert_int_equal(issuer_read_setting(buf_view(&text), &s, NULL), ST_BAD_REQUEST);
    buf_destroy(&text);
}

static void the_description_stands_below_the_issuers_name(void **state) {
    (void)state;
    struct buf out;
    buf_init(&out, 256);
    issuer_put_discovery_url(STR("https://a.example/t/"), &out);
    assert_true(
        str_eq(buf_view(&out), STR("https://a.example/t/.well-known/openid-configuration")));
    buf_destroy(&out);
}

static enum status read_discovery(const char *text, struct buf *out) {
    buf_clear(out);
    return issuer_read_discovery(str_of(text), STR("https://a"), out, NULL);
}

static void a_description_is_believed_for_its_own_issuer_alone(void **state) {
    (void)state;
    struct buf out;
    buf_init(&out, 256);
    assert_int_equal(
        read_discovery("{\"x\":[1],\"jwks_uri\":\"https://k/j?a\",\"issuer\":\"https://a\"}", &out),
        ST_OK);
    assert_true(str_eq(buf_view(&out), STR("https://k/j?a")));
    static const char *const others[] = {
        "{\"issuer\":\"https://b\",\"jwks_uri\":\"https://k\"}",
        "{\"issuer\":\"https://a/\",\"jwks_uri\":\"https://k\"}",
        "{\"issuer\":[\"https://a\"],\"jwks_uri\":\"https://k\"}",
        "{\"jwks_uri\":\"https://k\"}",
        "{\"issuer\":\"https://a\"}",
        "{\"issuer\":\"https://a\",\"jwks_uri\":7}",
        "{\"issuer\":\"https://a\",\"jwks_uri\":\"http://k\"}",
        "{\"issuer\":\"https://a\",\"jwks_uri\":\"https://k\\r\\nx: y\"}",
        "[]",
        "7",
    };
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        if (read_discovery(others[i], &out) != ST_BAD_REQUEST || out.len)
            fail_msg("%s was believed", others[i]);
    }
    assert_int_equal(read_discovery("{", &out), ST_BAD_JSON);
    assert_int_equal(read_discovery("", &out), ST_BAD_JSON);
    buf_destroy(&out);
}

static void a_subject_that_is_a_guid_stays_and_another_becomes_one(void **state) {
    (void)state;
    char one[PRINCIPAL_GUID_SIZE], other[PRINCIPAL_GUID_SIZE];
    static const struct str guid = STR_INIT("0F8FAD5B-d9cb-469f-a165-70867728950e");
    issuer_principal_id(STR("https://a"), guid, false, one);
    assert_true(str_eq(str_of(one), guid));
    static const struct str subjects[] = {
        STR_INIT("auth0|1"),
        STR_INIT("auth0|2"),
        STR_INIT("AUTH0|1"),
        STR_INIT("a\nb"),
        STR_INIT("0f8fad5b-d9cb-469f-a165-70867728950"),
        STR_INIT("0f8fad5b-d9cb-469f-a165-70867728950g"),
        STR_INIT("0f8fad5b+d9cb-469f-a165-70867728950e"),
    };
    for (size_t i = 0; i < ARRAY_LEN(subjects); i++) {
        issuer_principal_id(STR("https://a"), subjects[i], false, one);
        assert_int_equal(strlen(one), PRINCIPAL_GUID_SIZE - 1);
        assert_true(one[14] == '8' && one[8] == '-' && strchr("89ab", one[19]));
        issuer_principal_id(STR("https://a"), subjects[i], false, other);
        assert_string_equal(one, other);
        issuer_principal_id(STR("https://b"), subjects[i], false, other);
        assert_string_not_equal(one, other);
        for (size_t k = 0; k < i; k++) {
            issuer_principal_id(STR("https://a"), subjects[k], false, other);
            assert_string_not_equal(one, other);
        }
    }
    /* The first half of `printf 'https://a\nauth0|1' | sha256sum`, so that an operator can work it out. */
    issuer_principal_id(STR("https://a"), STR("auth0|1"), false, one);
    assert_string_equal(one, "ea779d41-3786-8a27-838a-88c2038c36ac");
    issuer_principal_id(STR("https://a"), STR("auth0|1"), true, other);
    assert_string_equal(one, other);
}

static void an_issuer_with_ids_of_its_own_cannot_say_anothers_guid(void **state) {
    (void)state;
    char a[PRINCIPAL_GUID_SIZE], b[PRINCIPAL_GUID_SIZE];
    static const struct str guid = STR_INIT("0f8fad5b-d9cb-469f-a165-70867728950e");
    issuer_principal_id(STR("https://a"), guid, true, a);
    issuer_principal_id(STR("https://b"), guid, true, b);
    assert_string_not_equal(a, b);
    assert_false(str_ieq(str_of(a), guid));
    assert_true(a[14] == '8' && b[14] == '8');
    /* Nor can it say the id that another issuer's subject was given. */
    issuer_principal_id(STR("https://a"), str_of(b), true, a);
    assert_string_not_equal(a, b);
}

static void whose_the_ids_are_may_be_said(void **state) {
    (void)state;
    struct issuer_setting s;
    struct problem why = {0};
    assert_int_equal(issuer_read_setting(STR("https://a audience=x"), &s, &why), ST_OK);
    assert_int_equal(s.ids, ISSUER_IDS_UNSAID);
    assert_int_equal(issuer_read_setting(STR("https://a audience=x ids=own"), &s, &why), ST_OK);
    assert_int_equal(s.ids, ISSUER_IDS_OWN);
    assert_int_equal(issuer_read_setting(STR("https://a ids=guid audience=x"), &s, &why), ST_OK);
    assert_int_equal(s.ids, ISSUER_IDS_GUID);
    assert_int_equal(issuer_read_setting(STR("https://a audience=x ids=mine"), &s, &why),
                     ST_BAD_REQUEST);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_issuer_with_ids_of_its_own_cannot_say_anothers_guid),
        cmocka_unit_test(whose_the_ids_are_may_be_said),
        cmocka_unit_test(a_setting_names_issuer_audiences_keys_and_authority),
        cmocka_unit_test(a_setting_that_leaves_something_open_is_refused),
        cmocka_unit_test(the_description_stands_below_the_issuers_name),
        cmocka_unit_test(a_description_is_believed_for_its_own_issuer_alone),
        cmocka_unit_test(a_subject_that_is_a_guid_stays_and_another_becomes_one),
    };
    return cmocka_run_group_tests_name("issuer", tests, NULL, NULL);
}
