/* resource_id_test.c - paths of resources, and base URLs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "model/resource_id.h"
#include "model/url.h"

static void reads_each_type_whatever_its_case_and_slashes(void **state) {
    (void)state;
    static const struct {
        struct str text;
        enum resource_type type;
        struct str name;
        int n_names;
    } cases[] = {
        {STR_INIT("/subscriptions/s1"), RESOURCE_SUBSCRIPTION, STR_INIT("s1"), 1},
        {STR_INIT("//Subscriptions/s1/resourcegroups/G/"), RESOURCE_RESOURCE_GROUP, STR_INIT("G"),
         2},
        {STR_INIT("/subscriptions/s/resourceGroups/g/providers/microsoft.cognitiveservices/"
                  "Accounts/A.b-c_d"),
         RESOURCE_ACCOUNT, STR_INIT("A.b-c_d"), 3},
        {STR_INIT("/subscriptions/s/resourceGroups/g/providers/Microsoft.CognitiveServices/"
                  "accounts/a/deployments/d"),
         RESOURCE_DEPLOYMENT, STR_INIT("d"), 4},
        {STR_INIT("/providers/Weir.Capacity/locations/eastus"), RESOURCE_LOCATION,
         STR_INIT("eastus"), 1},
        {STR_INIT("/providers/Weir.Capacity/pools/p"), RESOURCE_POOL, STR_INIT("p"), 1},
        {STR_INIT("/providers/Weir.Capacity/pools/p//backends/b"), RESOURCE_BACKEND, STR_INIT("b"),
         2},
        {STR_INIT("/providers/Weir.Capacity/models/OpenAI.gpt-4.1.2025-04-14"), RESOURCE_MODEL,
         STR_INIT("OpenAI.gpt-4.1.2025-04-14"), 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct resource_id id;
        enum resource_type type;
        assert_int_equal(resource_id_parse(cases[i].text, &id, NULL), ST_OK);
        assert_int_equal(id.type, cases[i].type);
        assert_int_equal(id.n_names, cases[i].n_names);
        assert_true(str_eq(resource_id_name(&id), cases[i].name));
        assert_true(resource_type_of(resource_type_name(id.type), &type) && type == id.type);
    }
}

static void refuses_what_is_no_path_of_a_resource(void **state) {
    (void)state;
    static const struct str cases[] = {
        STR_INIT(""),
        STR_INIT("/"),
        STR_INIT("/subscriptions"),
        STR_INIT("/subscriptions/"),
        STR_INIT("subscriptions/s"),
        STR_INIT("/subscriptions/s/x"),
        STR_INIT("/subscriptions/a b"),
        STR_INIT("/subscriptions/\xc3\xa9"),
        STR_INIT("/subscriptions/.s"),
        STR_INIT("/subscriptions/s/resourceGroups/g/providers/Weir.Capacity/pools/p"),
        STR_INIT("/providers/Weir.Capacity/pools/p/backends"),
        STR_INIT("/providers/Weir.Capacity/pools/"
                 "0123456789012345678901234567890123456789012345678901234567890123x"),
    };
    enum resource_type type;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct resource_id id;
        struct problem why = {0};
        assert_int_equal(resource_id_parse(cases[i], &id, &why), ST_BAD_REQUEST);
        assert_true(why.message[0] != '\0');
    }
    assert_false(resource_type_of(STR("Weir.Capacity"), &type));
}

static void gives_equal_keys_to_one_resource(void **state) {
    (void)state;
    char a[RESOURCE_ID_MAX + 1], b[RESOURCE_ID_MAX + 1];
    assert_true(str_eq(resource_id_key(STR("/Providers//WEIR.capacity/pools/P/"), a),
                       resource_id_key(STR("/providers/Weir.Capacity/pools/p"), b)));
    assert_true(str_eq(resource_id_key(STR("/a/B"), a), STR("/a/b")));
    assert_false(str_eq(resource_id_key(STR("/a/b"), a), resource_id_key(STR("/a/c"), b)));
}

static void takes_urls_apart(void **state) {
    (void)state;
    static const struct {
        const char *text, *host, *authority, *path;
        int port;
        bool is_tls, is_ipv6;
    } cases[] = {
        {"http://h", "h", "h", "", 80, false, false},
        {"HTTPS://H.example:8443/v1/", "H.example", "H.example:8443", "/v1", 8443, true, false},
        {"https://[::1]/", "::1", "[::1]", "", 443, true, true},
        {"http://[fe80::1]:9/a/b", "fe80::1", "[fe80::1]:9", "/a/b", 9, false, true},
        {"http://my_host-1:65535//", "my_host-1", "my_host-1:65535", "", 65535, false, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct url u;
        assert_int_equal(url_parse(str_of(cases[i].text), &u, NULL), ST_OK);
        assert_true(str_eq(u.host, str_of(cases[i].host)));
        assert_true(str_eq(u.authority, str_of(cases[i].authority)));
        assert_true(str_eq(u.path, str_of(cases[i].path)));
        assert_true(u.port == cases[i].port && u.is_tls == cases[i].is_tls);
        assert_int_equal(u.is_ipv6, cases[i].is_ipv6);
    }
}

static void refuses_urls_that_are_no_base(void **state) {
    (void)state;
    static const char *const cases[] = {
        "",
        "h",
        "ftp://h",
        "http:/h",
        "http://",
        "http:///x",
        "http://:80",
        "http://h:",
        "http://h:x",
        "http://h:-1",
        "http://[::1",
        "http://[]",
        "http://h#a",
        "http://h?",
        "http://u@h",
        "http://h /",
        "http://h/\n",
        "http://h:123456",
        "http://a:b:c",
        "http://[::1]x",
        "http://\xc3\xa9",
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct url u = {.port = -7};
        if (url_parse(str_of(cases[i]), &u, NULL) != ST_BAD_REQUEST || u.port != -7)
            fail_msg("%s", cases[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_each_type_whatever_its_case_and_slashes),
        cmocka_unit_test(refuses_what_is_no_path_of_a_resource),
        cmocka_unit_test(gives_equal_keys_to_one_resource),
        cmocka_unit_test(takes_urls_apart),
        cmocka_unit_test(refuses_urls_that_are_no_base),
    };
    return cmocka_run_group_tests_name("resource_id", tests, NULL, NULL);
}
