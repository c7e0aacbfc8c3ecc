/* route_test.c - every path of the inference contract, and what is no path of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "call/route.h"

#define V "?api-version=2024-10-21"

static void knows_every_path_of_the_contract(void **state) {
    (void)state;
    static const struct {
        const char *method, *target;
        enum operation op;
        enum api_style style;
        const char *deployment; /* NULL: the body's model */
    } cases[] = {
        {"POST", "/openai/deployments/d/chat/completions" V, OP_CHAT, API_AZURE_CLASSIC, "d"},
        {"POST", "/openai/deployments/d/completions" V, OP_COMPLETIONS, API_AZURE_CLASSIC, "d"},
        {"POST", "/openai/deployments/d/embeddings" V, OP_EMBEDDINGS, API_AZURE_CLASSIC, "d"},
        {"POST", "/openai/responses" V, OP_RESPONSES, API_AZURE_CLASSIC, NULL},
        {"POST", "/openai/v1/chat/completions", OP_CHAT, API_AZURE_V1, NULL},
        {"POST", "/openai/v1/chat/completions?api-version=preview", OP_CHAT, API_AZURE_V1, NULL},
        {"POST", "/openai/v1/completions", OP_COMPLETIONS, API_AZURE_V1, NULL},
        {"POST", "/openai/v1/embeddings", OP_EMBEDDINGS, API_AZURE_V1, NULL},
        {"POST", "/openai/v1/responses", OP_RESPONSES, API_AZURE_V1, NULL},
        {"POST", "/openai/v1/deployments/d/chat/completions?api-version=preview", OP_CHAT,
         API_AZURE_V1, "d"},
        {"POST", "/v1/chat/completions", OP_CHAT, API_OPENAI, NULL},
        {"POST", "/v1/completions", OP_COMPLETIONS, API_OPENAI, NULL},
        {"POST", "/v1/embeddings", OP_EMBEDDINGS, API_OPENAI, NULL},
        {"POST", "/v1/responses", OP_RESPONSES, API_OPENAI, NULL},
        {"GET", "/openai/models" V, OP_MODELS, API_AZURE_CLASSIC, NULL},
        {"GET", "/openai/v1/models", OP_MODELS, API_AZURE_V1, NULL},
        {"GET", "/v1/models", OP_MODELS, API_OPENAI, NULL},
        {"HEAD", "/v1/models", OP_MODELS, API_OPENAI, NULL},
        {"GET", "/openai/deployments?api-version=2022-12-01", OP_DEPLOYMENTS, API_AZURE_CLASSIC,
         NULL},
        /* Behind the name of an account. */
        {"POST", "/accounts/a/openai/deployments/d/chat/completions" V, OP_CHAT, API_AZURE_CLASSIC,
         "d"},
        {"POST", "/accounts/a/openai/v1/responses", OP_RESPONSES, API_AZURE_V1, NULL},
        {"POST", "/accounts/a/v1/embeddings", OP_EMBEDDINGS, API_OPENAI, NULL},
        /* Spellings. */
        {"POST", "http://host:80/openai/deployments/d/chat/completions" V, OP_CHAT,
         API_AZURE_CLASSIC, "d"},
        {"POST", "//openai//deployments/d/chat//completions/" V, OP_CHAT, API_AZURE_CLASSIC, "d"},
        {"POST", "/openai/deployments/my%20gpt%2D4/chat/completions" V, OP_CHAT, API_AZURE_CLASSIC,
         "my gpt-4"},
        {"POST", "/openai/deployments/a%2Fb/chat/completions" V, OP_CHAT, API_AZURE_CLASSIC, "a/b"},
        {"POST", "/openai/deployments/a+b/chat/completions" V, OP_CHAT, API_AZURE_CLASSIC, "a+b"},
        {"POST", "/openai/deployments/chat/chat/completions?x=1&API-VERSION=2024-10-21", OP_CHAT,
         API_AZURE_CLASSIC, "chat"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct route r = {0};
        struct problem why = {0};
        if (route_parse(str_of(cases[i].method), str_of(cases[i].target), &r, &why) != ST_OK)
            fail_msg("%s: %s", cases[i].target, why.message);
        assert_int_equal(r.op, cases[i].op);
        assert_int_equal(r.style, cases[i].style);
        assert_int_equal(r.deployment.p != NULL, cases[i].deployment != NULL);
        assert_true(str_eq(r.deployment, str_of(cases[i].deployment)));
        assert_int_equal(operation_is_list(r.op), str_of(cases[i].method).p[0] != 'P');
    }
}

static void refuses_what_the_service_does_not_have(void **state) {
    (void)state;
    static const struct {
        const char *method, *target;
        enum status st;
    } cases[] = {
        {"POST", "", ST_NOT_FOUND},
        {"POST", "/", ST_NOT_FOUND},
        {"POST", "*", ST_NOT_FOUND},
        {"POST", "/openai", ST_NOT_FOUND},
        {"POST", "/v1", ST_NOT_FOUND},
        {"POST", "/openai/v1", ST_NOT_FOUND},
        {"POST", "/v2/chat/completions", ST_NOT_FOUND},
        {"POST", "/accounts/a", ST_NOT_FOUND},
        {"POST", "/accounts/a/v1", ST_NOT_FOUND},
        {"POST", "/accounts/v1/chat/completions", ST_NOT_FOUND},
        {"POST", "/chat/completions", ST_NOT_FOUND},
        {"POST", "/OpenAI/v1/chat/completions", ST_NOT_FOUND},
        {"POST", "/v1/chat", ST_NOT_FOUND},
        {"POST", "/v1/chat/completions/x", ST_NOT_FOUND},
        {"POST", "/v1/chat%2Fcompletions", ST_NOT_FOUND},
        {"POST", "/v1/images/generations", ST_NOT_FOUND},
        {"POST", "/openai/chat/completions" V, ST_NOT_FOUND},
        {"POST", "/openai/completions" V, ST_NOT_FOUND},
        {"POST", "/openai/embeddings" V, ST_NOT_FOUND},
        {"POST", "/openai/deployments/d" V, ST_NOT_FOUND},
        {"POST", "/openai/deployments/d/responses" V, ST_NOT_FOUND},
        {"POST", "/openai/deployments/d/models" V, ST_NOT_FOUND},
        {"POST", "/openai/deployments/d/e/chat/completions" V, ST_NOT_FOUND},
        {"POST", "/openai/v1/deployments/d/chat/completions/x", ST_NOT_FOUND},
        /* Classic paths need a version (inference contract, section 1). */
        {"POST", "/openai/deployments/d/chat/completions", ST_NOT_FOUND},
        {"POST", "/openai/deployments/d/chat/completions?api-version=", ST_NOT_FOUND},
        {"POST", "/openai/deployments/d/chat/completions?version=2024-10-21", ST_NOT_FOUND},
        {"POST", "/openai/responses", ST_NOT_FOUND},
        {"GET", "/openai/models", ST_NOT_FOUND},
        {"GET", "/openai/deployments", ST_NOT_FOUND},
        /* Names that cannot be. */
        {"POST", "/openai/deployments/%/chat/completions" V, ST_NO_DEPLOYMENT},
        {"POST", "/openai/deployments/a%00b/chat/completions" V, ST_NO_DEPLOYMENT},
        {"POST", "/openai/deployments/a%zz/chat/completions" V, ST_NO_DEPLOYMENT},
        /* Methods. */
        {"GET", "/v1/chat/completions", ST_METHOD_NOT_ALLOWED},
        {"PUT", "/v1/chat/completions", ST_METHOD_NOT_ALLOWED},
        {"post", "/v1/chat/completions", ST_METHOD_NOT_ALLOWED},
        {"GET", "/openai/deployments/d/embeddings" V, ST_METHOD_NOT_ALLOWED},
        {"POST", "/v1/models", ST_METHOD_NOT_ALLOWED},
        {"DELETE", "/openai/deployments" V, ST_METHOD_NOT_ALLOWED},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct route r = {0};
        struct problem why = {0};
        enum status st = route_parse(str_of(cases[i].method), str_of(cases[i].target), &r, &why);
        if (st != cases[i].st)
            fail_msg("%s %s: %d", cases[i].method, cases[i].target, (int)st);
        assert_true(why.message[0]);
        assert_true(st != ST_NOT_FOUND ||
                    str_starts(str_of(why.message), STR("Resource not found")));
    }
}

static void a_name_outlives_its_target_and_has_a_limit(void **state) {
    (void)state;
    char target[400] = "/openai/deployments/";
    size_t at = strlen(target);
    for (size_t n = 1; n < 200; n++) {
        memset(target + at, 'd', n);
        memcpy(target + at + n, "/embeddings" V, sizeof "/embeddings" V);
        struct route r = {0};
        enum status st = route_parse(STR("POST"), str_of(target), &r, NULL);
        assert_int_equal(st, n <= ROUTE_NAME_MAX ? ST_OK : ST_NO_DEPLOYMENT);
        if (st != ST_OK)
            continue;
        memset(target + at, 'x', n);
        assert_int_equal(r.deployment.n, n);
        assert_true(r.deployment.p[0] == 'd' && r.deployment.p[n - 1] == 'd');
    }
}

static void operations_have_the_names_of_the_service(void **state) {
    (void)state;
    assert_true(str_eq(operation_title(OP_CHAT), STR("ChatCompletions_Create")));
    assert_true(str_eq(operation_title(OP_COMPLETIONS), STR("Completions_Create")));
    assert_true(str_eq(operation_title(OP_EMBEDDINGS), STR("Embeddings_Create")));
    for (int op = OP_CHAT; op <= OP_DEPLOYMENTS; op++) {
        assert_true(operation_name((enum operation)op).n > 0);
        assert_true(str_starts(operation_path((enum operation)op), STR("/")));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_every_path_of_the_contract),
        cmocka_unit_test(refuses_what_the_service_does_not_have),
        cmocka_unit_test(a_name_outlives_its_target_and_has_a_limit),
        cmocka_unit_test(operations_have_the_names_of_the_service),
    };
    return cmocka_run_group_tests_name("route", tests, NULL, NULL);
}
