/* quota_requests_test.c - tenants ask, operators decide, and the quota is what was decided. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "arm/arm.h"
#include "json/json.h"

static const struct siphash_key secret = {12, 13};

#define SUB "/subscriptions/s1"
#define REQUESTS SUB "/providers/Weir.Capacity/quotaRequests"
#define TENANT_ID "44444444-4444-4444-8444-444444444444"
#define VERSION "?api-version=2025-09-01"

struct world {
    struct arm *arm;
    struct arm_answer answer;
    struct arm_changes changes;
    struct json_doc *doc;
    char *text; /* of the last answer, padded for the parser */
    struct json_value body;
    int64_t now_ms;
    uint64_t n_random;
};

enum who { OPERATOR, TENANT, STRANGER };

/* Sends a request; the status. */
static int call(struct world *w, enum who who, enum arm_method method, const char *target,
                const char *body) {
    struct arm_request q = {.method = method,
                            .target = str_of(target),
                            .body = str_of(body),
                            .now_ms = w->now_ms,
                            .base_url = STR("https://localhost:8443")};
    q.caller.object_id = who == TENANT ? STR(TENANT_ID) : STR("someone");
    q.caller.is_operator = who == OPERATOR;
    for (size_t i = 0; i < ARM_RANDOM_WORDS; i++)
        q.random[i] = ++w->n_random * UINT64_C(0x9E3779B97F4A7C15);
    arm_handle(w->arm, &q, &w->answer, &w->changes);
    free(w->text);
    w->text = calloc(1, w->answer.body.len + JSON_PADDING);
    if (w->answer.body.len > 0) {
        memcpy(w->text, w->answer.body.p, w->answer.body.len);
        assert_int_equal(json_parse(w->doc, w->text, w->answer.body.len, &w->body, NULL), ST_OK);
    }
    return w->answer.status;
}

/* A value by its names, parted by dots; numbers are positions in arrays. */
static struct json_value at(const struct world *w, const char *path) {
    struct json_value v = w->body;
    struct str rest = str_of(path), name;
    while (str_cut(&rest, '.', &name)) {
        int64_t position;
        if (json_type(v) == JSON_ARRAY && str_to_i64(name, &position)) {
            struct json_iter it;
            json_items(&it, v);
            for (int64_t i = 0; i <= position; i++)
                assert_true(json_next(&it, &v));
        } else {
            assert_true(json_get(v, name, &v));
        }
    }
    return v;
}

static int64_t number_at(const struct world *w, const char *path) {
    int64_t n = 0;
    assert_true(json_i64(at(w, path), &n));
    return n;
}

static void assert_text(const struct world *w, const char *path, const char *want) {
    struct str got = json_str(at(w, path));
    if (!str_eq(got, str_of(want)))
        fail_msg("%s: %.*s, wanted %s", path, STR_ARG(got), want);
}

static int set_up(void **state) {
    struct world *w = calloc(1, sizeof *w);
    struct arm_settings settings = {.tenant_id = STR("11111111-1111-1111-1111-111111111111"),
                                    .data_endpoint = STR("http://127.0.0.1:8080/")};
    struct problem why = {0};
    w->now_ms = INT64_C(1795000000000);
    w->arm = arm_new(&settings, &secret);
    w->doc = json_doc_new();
    arm_answer_init(&w->answer);
    arm_changes_init(&w->changes);
    assert_int_equal(arm_loaded(w->arm, &why), ST_OK);
    assert_int_equal(call(w, OPERATOR, ARM_PUT_METHOD,
                          "/providers/Weir.Capacity/locations/eastus" VERSION, "{}"),
                     201);
    assert_int_equal(call(w, OPERATOR, ARM_PUT_METHOD, SUB VERSION, "{}"), 201);
    assert_int_equal(call(w, OPERATOR, ARM_PUT_METHOD,
                          SUB "/providers/Microsoft.Authorization/roleAssignments/"
                              "22222222-2222-4222-8222-222222222222" VERSION,
                          "{\"properties\":{\"roleDefinitionId\":\"" SUB
                          "/providers/Microsoft.Authorization/roleDefinitions/"
                          "8e3af657-a8ff-443c-a75c-2fe8c4bcb635\",\"principalId\":\"" TENANT_ID
                          "\"}}"),
                     201);
    arm_changes_clear(&w->changes);
    *state = w;
    return 0;
}

static int tear_down(void **state) {
    struct world *w = *state;
    arm_answer_destroy(&w->answer);
    arm_changes_destroy(&w->changes);
    json_doc_free(w->doc);
    arm_free(w->arm);
    free(w->text);
    free(w);
    return 0;
}

static const char more_ptus[] = "{\"properties\":{\"location\":\"East US\",\"quotaName\":"
                                "\"openai.provisionedmanaged\",\"limit\":800,\"reason\":\"launch\","
                                "\"webhook\":\"https://example.com/told\"}}";
static const char more_tokens[] =
    "{\"properties\":{\"location\":\"eastus\",\"quotaName\":\"OpenAI.Standard.gpt-4o\","
    "\"limit\":300}}";

/* Asks, and returns the path of the new request; the caller frees. */
static char *ask(struct world *w, const char *body) {
    assert_int_equal(call(w, TENANT, ARM_POST, REQUESTS VERSION, body), 201);
    struct str id = json_str(at(w, "id"));
    char *copy = malloc(id.n + 200);
    snprintf(copy, id.n + 200, "%.*s", STR_ARG(id));
    return copy;
}

static int decide(struct world *w, enum who who, const char *id, const char *how,
                  const char *body) {
    char target[600];
    snprintf(target, sizeof target, "%s/%s%s", id, how, VERSION);
    return call(w, who, ARM_POST, target, body);
}

static void an_approved_request_raises_the_quota_and_tells_the_asker(void **state) {
    struct world *w = *state;
    char *id = ask(w, more_ptus);
    assert_text(w, "properties.status", "Queued");
    assert_text(w, "properties.quotaName", "OpenAI.ProvisionedManaged");
    assert_text(w, "properties.location", "eastus");
    assert_int_equal(number_at(w, "properties.limit"), 800);
    assert_int_equal(number_at(w, "properties.currentLimit"), 500);
    assert_int_equal(number_at(w, "properties.currentValue"), 0);
    assert_int_equal(w->changes.n, 1);
    assert_int_equal(w->changes.n_audits, 1);
    assert_int_equal(w->changes.n_notices, 0);
    arm_changes_clear(&w->changes);
    w->now_ms += 5000;
    assert_int_equal(decide(w, OPERATOR, id, "approve", ""), 200);
    assert_text(w, "properties.status", "Approved");
    assert_int_equal(number_at(w, "properties.currentLimit"), 800);
    assert_int_equal(w->changes.n, 2);
    assert_int_equal(w->changes.n_audits, 2);
    assert_int_equal(w->changes.n_notices, 1);
    assert_true(str_eq(w->changes.notices[0].url, STR("https://example.com/told")));
    assert_true(str_find(w->changes.notices[0].body, STR("\"Approved\"")) > 0);
    assert_int_equal(
        call(w, TENANT, ARM_GET,
             SUB
             "/providers/Weir.Capacity/locations/eastus/quotas/OpenAI.ProvisionedManaged" VERSION,
             ""),
        200);
    assert_int_equal(number_at(w, "properties.limit"), 800);
    free(id);
}

static void a_refused_request_changes_nothing_but_itself(void **state) {
    struct world *w = *state;
    char *id = ask(w, more_tokens);
    assert_int_equal(
        decide(w, OPERATOR, id, "refuse", "{\"properties\":{\"answer\":\"no room\",\"limit\":9}}"),
        200);
    assert_text(w, "properties.status", "Refused");
    assert_text(w, "properties.answer", "no room");
    assert_int_equal(number_at(w, "properties.limit"), 300);
    assert_int_equal(number_at(w, "properties.currentLimit"), 150);
    assert_int_equal(w->changes.n_notices, 0);
    /* Decided is decided. */
    assert_int_equal(decide(w, OPERATOR, id, "approve", ""), 409);
    assert_int_equal(decide(w, OPERATOR, id, "refuse", ""), 409);
    free(id);
}

static void an_operator_may_grant_another_limit(void **state) {
    struct world *w = *state;
    char *id = ask(w, more_ptus);
    assert_int_equal(decide(w, OPERATOR, id, "approve", "{\"properties\":{\"limit\":\"600\"}}"),
                     400);
    assert_int_equal(decide(w, OPERATOR, id, "approve", "{\"properties\":{\"limit\":600}}"), 200);
    assert_int_equal(number_at(w, "properties.limit"), 600);
    assert_int_equal(number_at(w, "properties.currentLimit"), 600);
    free(id);
}

static void only_operators_decide_and_strangers_see_nothing(void **state) {
    struct world *w = *state;
    char *id = ask(w, more_ptus), target[600];
    assert_int_equal(decide(w, TENANT, id, "approve", ""), 403);
    assert_int_equal(decide(w, TENANT, id, "refuse", ""), 403);
    assert_int_equal(call(w, TENANT, ARM_GET, "/providers/Weir.Capacity/quotaRequests" VERSION, ""),
                     403);
    snprintf(target, sizeof target, "%s%s", id, VERSION);
    assert_int_equal(call(w, TENANT, ARM_GET, target, ""), 200);
    assert_text(w, "properties.status", "Queued");
    assert_int_equal(call(w, STRANGER, ARM_GET, target, ""), 403);
    assert_int_equal(call(w, STRANGER, ARM_POST, REQUESTS VERSION, more_tokens), 403);
    assert_int_equal(
        decide(w, OPERATOR, REQUESTS "/33333333-3333-4333-8333-333333333333", "approve", ""), 404);
    free(id);
}

static void the_queue_is_in_order_of_arrival(void **state) {
    struct world *w = *state;
    static const char *const names[] = {"OpenAI.GlobalProvisionedManaged", "OpenAI.Standard.o1",
                                        "OpenAI.ProvisionedManaged", "OpenAI.Standard.gpt-4o"};
    char *ids[ARRAY_LEN(names)], body[300], path[64];
    /* All in one millisecond, and one from a clock that went back. */
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(body, sizeof body,
                 "{\"properties\":{\"location\":\"eastus\",\"quotaName\":\"%s\",\"limit\":9000}}",
                 names[i]);
        ids[i] = ask(w, body);
        w->now_ms -= i == 2 ? 1000 : 0;
    }
    for (int mine = 0; mine < 2; mine++) {
        assert_int_equal(
            call(w, OPERATOR, ARM_GET,
                 mine ? REQUESTS VERSION : "/providers/Weir.Capacity/quotaRequests" VERSION, ""),
            200);
        for (size_t i = 0; i < ARRAY_LEN(names); i++) {
            snprintf(path, sizeof path, "value.%zu.properties.quotaName", i);
            assert_text(w, path, names[i]);
        }
    }
    /* What is decided leaves the queue and stays on record. */
    assert_int_equal(decide(w, OPERATOR, ids[0], "refuse", ""), 200);
    assert_int_equal(
        call(w, OPERATOR, ARM_GET, "/providers/Weir.Capacity/quotaRequests" VERSION, ""), 200);
    assert_text(w, "value.0.properties.quotaName", names[1]);
    assert_int_equal(call(w, TENANT, ARM_GET, REQUESTS VERSION, ""), 200);
    assert_text(w, "value.0.properties.status", "Refused");
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        free(ids[i]);
}

static void one_request_a_quota_waits_at_a_time(void **state) {
    struct world *w = *state;
    char *id = ask(w, more_ptus);
    assert_int_equal(call(w, TENANT, ARM_POST, REQUESTS VERSION, more_ptus), 409);
    free(ask(w, more_tokens));
    assert_int_equal(decide(w, OPERATOR, id, "refuse", ""), 200);
    free(id);
    free(ask(w, more_ptus));
}

static void what_is_no_request_is_refused(void **state) {
    struct world *w = *state;
    static const char *const bodies[] = {
        "",
        "{}",
        "{\"properties\":[]}",
        "{\"properties\":{\"quotaName\":\"OpenAI.ProvisionedManaged\",\"limit\":800}}",
        "{\"properties\":{\"location\":\"eastus\",\"limit\":800}}",
        "{\"properties\":{\"location\":\"eastus\",\"quotaName\":\"OpenAI.ProvisionedManaged\"}}",
        "{\"properties\":{\"location\":\"mars\",\"quotaName\":\"OpenAI.ProvisionedManaged\","
        "\"limit\":800}}",
        /* No more than there is. */
        "{\"properties\":{\"location\":\"eastus\",\"quotaName\":\"OpenAI.ProvisionedManaged\","
        "\"limit\":500}}",
        "{\"properties\":{\"location\":\"eastus\",\"quotaName\":\"OpenAI.ProvisionedManaged\","
        "\"limit\":-1}}",
        "{\"properties\":{\"location\":\"eastus\",\"quotaName\":\"OpenAI.ProvisionedManaged\","
        "\"limit\":1e12}}",
        /* Only over TLS, and only a URL. */
        "{\"properties\":{\"location\":\"eastus\",\"quotaName\":\"OpenAI.ProvisionedManaged\","
        "\"limit\":800,\"webhook\":\"http://127.0.0.1/\"}}",
        "{\"properties\":{\"location\":\"eastus\",\"quotaName\":\"OpenAI.ProvisionedManaged\","
        "\"limit\":800,\"webhook\":\"file:///etc/passwd\"}}",
    };
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        int status = call(w, TENANT, ARM_POST, REQUESTS VERSION, bodies[i]);
        if (status != 400)
            fail_msg("%d for %s", status, bodies[i]);
    }
    assert_int_equal(
        call(w, TENANT, ARM_POST, REQUESTS VERSION,
             "{\"properties\":{\"location\":\"eastus\",\"quotaName\":\"OpenAI.Standard.gpt-99\","
             "\"limit\":800}}"),
        404);
    assert_int_equal(w->changes.n, 0);
    assert_int_equal(w->changes.n_audits, 0);
}

static void decided_requests_are_not_kept_for_ever(void **state) {
    struct world *w = *state;
    for (int i = 0; i < 130; i++) {
        w->now_ms += 1000;
        char *id = ask(w, more_ptus);
        assert_int_equal(decide(w, OPERATOR, id, "refuse", ""), 200);
        free(id);
    }
    int n_put = 0, n_deleted = 0;
    for (size_t i = 0; i < w->changes.n; i++) {
        n_put += w->changes.items[i].kind == ARM_PUT;
        n_deleted += w->changes.items[i].kind == ARM_DELETE;
    }
    assert_int_equal(n_put, 2 * 130);
    assert_int_equal(n_deleted, 30);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define WITH_WORLD(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
        WITH_WORLD(an_approved_request_raises_the_quota_and_tells_the_asker),
        WITH_WORLD(a_refused_request_changes_nothing_but_itself),
        WITH_WORLD(an_operator_may_grant_another_limit),
        WITH_WORLD(only_operators_decide_and_strangers_see_nothing),
        WITH_WORLD(the_queue_is_in_order_of_arrival),
        WITH_WORLD(one_request_a_quota_waits_at_a_time),
        WITH_WORLD(what_is_no_request_is_refused),
        WITH_WORLD(decided_requests_are_not_kept_for_ever),
#undef WITH_WORLD
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
