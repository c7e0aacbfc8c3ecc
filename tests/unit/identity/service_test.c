/* service_test.c - the documents and answers of the token service, as clients read them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "identity/service.h"
#include "json/json.h"

#define BASE STR("https://localhost:8443")

/* A text that was written, parsed. */
struct document {
    struct buf text;
    struct json_doc *doc;
    struct json_value root;
};

static void begin(struct document *d) {
    buf_init(&d->text, 64 << 10);
    d->doc = json_doc_new();
}

static void parse(struct document *d) {
    assert_int_equal(buf_status(&d->text), ST_OK);
    buf_reserve_slack(&d->text, 0, JSON_PADDING);
    assert_int_equal(json_parse(d->doc, d->text.p, d->text.len, &d->root, NULL), ST_OK);
}

static void end(struct document *d) {
    json_doc_free(d->doc);
    buf_destroy(&d->text);
}

static struct json_value member(struct json_value object, const char *key) {
    struct json_value v = {0};
    if (!json_get(object, str_of(key), &v))
        fail_msg("no member '%s'", key);
    return v;
}

static void assert_member(struct json_value object, const char *key, const char *value) {
    struct json_value v = member(object, key);
    assert_int_equal(json_type(v), JSON_STRING);
    if (!str_eq(json_str(v), str_of(value)))
        fail_msg("%s is '%.*s', not '%s'", key, STR_ARG(json_str(v)), value);
}

static struct json_value first(struct json_value list) {
    struct json_iter it;
    struct json_value v = {0};
    json_items(&it, list);
    assert_true(json_next(&it, &v));
    return v;
}

static void paths_lead_where_clients_look(void **state) {
    (void)state;
    static const struct {
        const char *path, *tenant;
        enum service_path is;
    } cases[] = {
        {"/metadata/endpoints", "", SERVICE_METADATA},
        {"/Metadata/Endpoints/", "", SERVICE_METADATA},
        {"/msi/token", "", SERVICE_MSI},
        {"/adfs/.well-known/openid-configuration", "adfs", SERVICE_DISCOVERY},
        {"/T-1/v2.0/.well-known/openid-configuration", "T-1", SERVICE_DISCOVERY},
        {"/adfs/discovery/keys", "adfs", SERVICE_JWKS},
        {"/t/discovery/v2.0/keys", "t", SERVICE_JWKS},
        {"/adfs/oauth2/token", "adfs", SERVICE_TOKEN},
        {"/adfs/oauth2/token/", "adfs", SERVICE_TOKEN},
        {"/11111111-1111-1111-1111-111111111111/oauth2/v2.0/token",
         "11111111-1111-1111-1111-111111111111", SERVICE_TOKEN},
        {"/", "", SERVICE_NOT_OURS},
        {"", "", SERVICE_NOT_OURS},
        {"/metadata", "", SERVICE_NOT_OURS},
        {"/metadata/endpoints/x", "", SERVICE_NOT_OURS},
        {"/oauth2/token", "", SERVICE_NOT_OURS},
        {"/a%20b/oauth2/token", "", SERVICE_NOT_OURS},
        {"/a\"b/oauth2/token", "", SERVICE_NOT_OURS},
        {"/t/oauth2/v2.0/token/x", "", SERVICE_NOT_OURS},
        {"/t/oauth2/v2.0", "", SERVICE_NOT_OURS},
        {"/t/oauth2/v1.0/token", "", SERVICE_NOT_OURS},
        {"/subscriptions/s/resourceGroups/g/providers/p", "", SERVICE_NOT_OURS},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str tenant = STR("unset");
        assert_int_equal(service_route(str_of(cases[i].path), &tenant), cases[i].is);
        assert_true(str_eq(tenant, str_of(cases[i].tenant)));
    }
}

/* az 2.45 registers a cloud with the oldest form (clients, section 5), az 2.91 with the newest; between
 * them the cloud stands in a list. */
static void the_metadata_is_what_az_registers_a_cloud_with(void **state) {
    (void)state;
    struct document d;
    begin(&d);
    service_put_metadata(BASE, STR("2015-01-01"), &d.text);
    parse(&d);
    assert_member(d.root, "galleryEndpoint", "https://localhost:8443/");
    assert_member(d.root, "graphEndpoint", "https://localhost:8443/graph/");
    assert_member(d.root, "portalEndpoint", "https://localhost:8443/portal/");
    struct json_value login = member(d.root, "authentication");
    assert_member(login, "loginEndpoint", "https://localhost:8443/adfs");
    assert_true(
        str_eq(json_str(first(member(login, "audiences"))), STR("https://localhost:8443/")));
    end(&d);
    static const char *const newer[] = {"2019-05-01", "2022-09-01"};
    for (size_t i = 0; i < ARRAY_LEN(newer); i++) {
        begin(&d);
        service_put_metadata(BASE, str_of(newer[i]), &d.text);
        parse(&d);
        assert_int_equal(json_type(d.root), i == 0 ? JSON_ARRAY : JSON_OBJECT);
        struct json_value cloud = i == 0 ? first(d.root) : d.root;
        assert_member(cloud, "resourceManager", "https://localhost:8443/");
        assert_member(member(cloud, "authentication"), "loginEndpoint",
                      "https://localhost:8443/adfs");
        assert_member(member(cloud, "authentication"), "identityProvider", "ADFS");
        assert_member(member(cloud, "suffixes"), "sqlServerHostname", "invalid");
        end(&d);
    }
}

static void discovery_speaks_of_the_place_where_it_was_asked(void **state) {
    (void)state;
    static const struct {
        const char *tenant, *issuer, *token, *keys;
    } cases[] = {
        {"adfs", "https://localhost:8443/adfs", "https://localhost:8443/adfs/oauth2/token",
         "https://localhost:8443/adfs/discovery/keys"},
        {"t1", "https://localhost:8443/t1/v2.0", "https://localhost:8443/t1/oauth2/v2.0/token",
         "https://localhost:8443/t1/discovery/v2.0/keys"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct document d;
        begin(&d);
        service_put_discovery(BASE, str_of(cases[i].tenant), &d.text);
        parse(&d);
        assert_member(d.root, "issuer", cases[i].issuer);
        assert_member(d.root, "token_endpoint", cases[i].token);
        assert_member(d.root, "jwks_uri", cases[i].keys);
        assert_int_equal(json_type(member(d.root, "authorization_endpoint")), JSON_STRING);
        /* Each URL leads back to us. */
        struct str tenant;
        struct str path = str_skip(str_of(cases[i].token), BASE.n);
        assert_int_equal(service_route(path, &tenant), SERVICE_TOKEN);
        path = str_skip(str_of(cases[i].keys), BASE.n);
        assert_int_equal(service_route(path, &tenant), SERVICE_JWKS);
        end(&d);
    }
}

/* --- requests --- */

static enum service_refusal read_form(const char *form, const char *authorization,
                                      struct arena *arena, struct service_request *out) {
    arena_reset(arena);
    *out = (struct service_request){0};
    return service_parse(str_of(form), str_of(authorization), arena, out);
}

/* As @azure/identity and az send it (clients, sections 2 and 5). */
static void forms_of_real_clients_are_understood(void **state) {
    (void)state;
    struct arena arena;
    arena_init(&arena, NULL, 0, 1 << 16);
    struct service_request r;
    struct str audience;
    assert_int_equal(
        read_form(
            "client_id=app1&scope=https%3A%2F%2Flocalhost%3A18443%2F.default&grant_type="
            "client_credentials&client_secret=s%2Bc%20r+t%26&x-client-SKU=msal.js.node&claims="
            "%7B%7D",
            "", &arena, &r),
        SERVICE_NONE);
    assert_true(str_eq(r.client_id, STR("app1")));
    assert_true(str_eq(r.client_secret, STR("s+c r t&")));
    assert_true(service_audience(&r, &audience));
    assert_true(str_eq(audience, STR("https://localhost:18443")));

    assert_int_equal(read_form("client_id=app1&grant_type=client_credentials&client_info=1&"
                               "client_secret=s&scope=https%3A%2F%2Flocalhost%3A18443%2F%2F."
                               "default",
                               "", &arena, &r),
                     SERVICE_NONE);
    assert_true(service_audience(&r, &audience));
    assert_true(str_eq(audience, STR("https://localhost:18443/")));

    assert_int_equal(read_form("grant_type=client_credentials&resource=https://x/&scope=openid",
                               "Basic YXBwMTpzJTJCYzpy", &arena, &r), /* app1:s%2Bc:r */
                     SERVICE_NONE);
    assert_true(str_eq(r.client_id, STR("app1")));
    assert_true(str_eq(r.client_secret, STR("s+c:r")));
    assert_true(service_audience(&r, &audience));
    assert_true(str_eq(audience, STR("https://x/")));
    arena_destroy(&arena);
}

static void each_fault_of_a_form_has_its_own_answer(void **state) {
    (void)state;
#define GRANT "grant_type=client_credentials&"
#define WHO "client_id=a&client_secret=s&"
    static const struct {
        const char *form, *authorization;
        enum service_refusal is;
    } cases[] = {
        {"", "", SERVICE_NO_GRANT_TYPE},
        {GRANT WHO "scope=%zz", "", SERVICE_MALFORMED},
        {GRANT "client_id=a%00&client_secret=s&scope=x", "", SERVICE_MALFORMED},
        {WHO "scope=x", "", SERVICE_NO_GRANT_TYPE},
        {"grant_type=password&" WHO "scope=x", "", SERVICE_OTHER_GRANT_TYPE},
        {"grant_type=CLIENT_CREDENTIALS&" WHO "scope=x", "", SERVICE_OTHER_GRANT_TYPE},
        {GRANT "client_secret=s&scope=x", "", SERVICE_NO_CLIENT_ID},
        {GRANT "client_id=&client_secret=s&scope=x", "", SERVICE_NO_CLIENT_ID},
        {GRANT "client_id=a&scope=x", "", SERVICE_NO_SECRET},
        {GRANT "client_id=a&scope=x", "Bearer x", SERVICE_NO_SECRET},
        {GRANT "client_id=a&scope=x", "Basic !", SERVICE_MALFORMED},
        {GRANT "client_id=a&scope=x", "Basic YWJj", SERVICE_MALFORMED}, /* no colon */
        {GRANT WHO, "", SERVICE_NO_SCOPE},
        {GRANT WHO "scope=", "", SERVICE_NO_SCOPE},
        {GRANT WHO "scope=openid+profile", "", SERVICE_BAD_SCOPE},
        {GRANT WHO "scope=/.default", "", SERVICE_BAD_SCOPE},
        {GRANT WHO "scope=a/.default+b/.default", "", SERVICE_BAD_SCOPE},
        {GRANT WHO "scope=a/.default+a/.default+openid", "", SERVICE_NONE},
        {GRANT WHO "scope=x", "", SERVICE_NONE},
    };
    struct arena arena;
    arena_init(&arena, NULL, 0, 1 << 16);
    struct service_request r;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(read_form(cases[i].form, cases[i].authorization, &arena, &r), cases[i].is);
    char long_scope[400] = GRANT WHO "scope=";
    size_t n = strlen(long_scope);
    memset(long_scope + n, 's', 256);
    assert_int_equal(read_form(long_scope, "", &arena, &r), SERVICE_BAD_SCOPE);
    long_scope[n + 255] = '\0';
    assert_int_equal(read_form(long_scope, "", &arena, &r), SERVICE_NONE);
    arena_destroy(&arena);
    /* A form that does not fit the arena is refused, not cut. */
    arena_init(&arena, NULL, 0, 64);
    assert_int_equal(read_form(long_scope, "", &arena, &r), SERVICE_MALFORMED);
    arena_destroy(&arena);
}

/* --- answers --- */

static void answers_have_the_form_that_was_seen(void **state) {
    (void)state;
    struct document d;
    begin(&d);
    service_put_token(STR("a.b.c"), 1000, 3599, STR(""), &d.text);
    assert_true(str_eq(buf_view(&d.text),
                       STR("{\"token_type\":\"Bearer\",\"expires_in\":3599,\"ext_expires_in\":3599,"
                           "\"access_token\":\"a.b.c\"}")));
    end(&d);
    begin(&d);
    service_put_token(STR("a.b.c"), 1000, 3599, STR("https://x/"), &d.text);
    parse(&d);
    assert_member(d.root, "expires_in", "3599");
    assert_member(d.root, "expires_on", "4599");
    assert_member(d.root, "not_before", "1000");
    assert_member(d.root, "resource", "https://x/");
    assert_member(d.root, "access_token", "a.b.c");
    end(&d);
    begin(&d);
    service_put_msi_token(STR("a.b.c"), STR("app1"), STR("https://x"), 4599, &d.text);
    parse(&d);
    assert_member(d.root, "access_token", "a.b.c");
    assert_member(d.root, "expires_on", "4599");
    assert_member(d.root, "resource", "https://x");
    assert_member(d.root, "token_type", "Bearer");
    end(&d);
    begin(&d);
    service_put_msi_refusal(400, STR("The resource is missing."), STR("c-1"), &d.text);
    parse(&d);
    assert_member(d.root, "message", "The resource is missing.");
    end(&d);
}

static void refusals_carry_the_numbers_that_clients_know(void **state) {
    (void)state;
    static const struct {
        enum service_refusal why;
        int http, number;
        const char *error;
    } cases[] = {
        {SERVICE_UNKNOWN_CLIENT, 400, 700016, "unauthorized_client"},
        {SERVICE_WRONG_SECRET, 401, 7000215, "invalid_client"},
        {SERVICE_EXPIRED_SECRET, 401, 7000222, "invalid_client"},
        {SERVICE_OTHER_GRANT_TYPE, 400, 70003, "unsupported_grant_type"},
        {SERVICE_BAD_SCOPE, 400, 70011, "invalid_scope"},
        {SERVICE_NO_TENANT, 400, 90002, "invalid_request"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct document d;
        begin(&d);
        service_put_refusal(cases[i].why, STR("app\"1"), STR("trace-1"), STR("corr-1"),
                            INT64_C(1795305600123), &d.text);
        parse(&d);
        int64_t number;
        char begins[32];
        snprintf(begins, sizeof begins, "AADSTS%d: ", cases[i].number);
        assert_int_equal(service_refusal_http(cases[i].why), cases[i].http);
        assert_member(d.root, "error", cases[i].error);
        assert_true(json_i64(first(member(d.root, "error_codes")), &number));
        assert_int_equal(number, cases[i].number);
        struct str text = json_str(member(d.root, "error_description"));
        assert_true(str_starts(text, str_of(begins)));
        assert_true(str_find(text, STR("'app\"1'")) > 0);
        assert_true(str_ends(text, STR("Trace ID: trace-1 Correlation ID: corr-1 Timestamp: "
                                       "2026-11-22 00:00:00Z")));
        assert_member(d.root, "timestamp", "2026-11-22 00:00:00Z");
        assert_member(d.root, "trace_id", "trace-1");
        assert_member(d.root, "correlation_id", "corr-1");
        end(&d);
    }
}

static void a_challenge_cannot_be_broken_out_of(void **state) {
    (void)state;
    struct buf out;
    buf_init(&out, 4096);
    service_put_challenge(BASE, STR("adfs"), STR(""), STR(""), &out);
    assert_true(
        str_eq(buf_view(&out), STR("Bearer authorization_uri=\"https://localhost:8443/adfs\"")));
    buf_clear(&out);
    service_put_challenge(BASE, STR("adfs"), STR("invalid_token"), STR("a\"b\\c\r\nX: y"), &out);
    assert_true(
        str_eq(buf_view(&out), STR("Bearer authorization_uri=\"https://localhost:8443/adfs\", "
                                   "error=\"invalid_token\", error_description=\"a'b'c  X: y\"")));
    buf_destroy(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_lead_where_clients_look),
        cmocka_unit_test(the_metadata_is_what_az_registers_a_cloud_with),
        cmocka_unit_test(discovery_speaks_of_the_place_where_it_was_asked),
        cmocka_unit_test(forms_of_real_clients_are_understood),
        cmocka_unit_test(each_fault_of_a_form_has_its_own_answer),
        cmocka_unit_test(answers_have_the_form_that_was_seen),
        cmocka_unit_test(refusals_carry_the_numbers_that_clients_know),
        cmocka_unit_test(a_challenge_cannot_be_broken_out_of),
    };
    return cmocka_run_group_tests_name("service", tests, NULL, NULL);
}
