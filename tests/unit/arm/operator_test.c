/* operator_test.c - what is the operator's: pools, backends and models, imports, limits, quota requests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "support/arm_rig.h"

static void the_operators_resources_are_judged_with_all_that_is_sold(void **state) {
    struct rig *g = *state;
#define POOL "/providers/Weir.Capacity/pools/h100"
    assert_int_equal(GET(g, POOL "/backends/b1" V), 200);
    assert_true(str_find(buf_view(&g->answer.body), STR("topsecret")) < 0);
    assert_int_equal(PUT(g, POOL "/backends/b2" V, "{\"properties\":{\"url\":\"ftp://x\"}}"), 400);
    assert_string_equal(rig_str(g, "error.target"), "properties.url");
    assert_int_equal(GET(g, POOL "/backends/b2" V), 404);
    assert_int_equal(PUT(g, "/providers/Weir.Capacity/pools/p2" V,
                         "{\"location\":\"mars\",\"properties\":{\"models\":[]}}"),
                     400);
    assert_int_equal(DELETE(g, "/providers/Weir.Capacity/locations/eastus" V), 409);
    assert_string_equal(rig_str(g, "error.code"), "ResourceInUse");
    assert_int_equal(DELETE(g, POOL V), 409);
    assert_int_equal(PUT(g, DEPLOYMENT_1 V, GPT_4O("ProvisionedManaged", 50)), 201);
    assert_int_equal(DELETE(g, POOL "/backends/b1" V), 200);
    assert_int_equal(DELETE(g, POOL V), 409);
    assert_non_null(strstr(rig_str(g, "error.message"), "50 PTUs"));
    assert_int_equal(GET(g, POOL V), 200);
    assert_string_equal(rig_str(g, "properties.reservedPtus"), "50");
    assert_int_equal(DELETE(g, DEPLOYMENT_1 V), 202);
    assert_int_equal(DELETE(g, POOL V), 200);
    assert_int_equal(DELETE(g, POOL V), 204);
}

static void a_model_cannot_leave_what_is_sold_behind(void **state) {
    struct rig *g = *state;
#define MODEL "/providers/Weir.Capacity/models/OpenAI.gpt-4o.2024-08-06"
    assert_int_equal(PUT(g, DEPLOYMENT_1 V, GPT_4O("ProvisionedManaged", 50)), 201);
    assert_int_equal(
        PUT(g, MODEL V,
            "{\"properties\":{\"skus\":{\"ProvisionedManaged\":{\"minimum\":60,\"step\":7}}}}"),
        409);
    assert_string_equal(rig_str(g, "error.code"), "ResourceInUse");
    assert_int_equal(PUT(g, MODEL V, "{\"properties\":{\"kind\":\"poem\"}}"), 400);
    assert_string_equal(rig_str(g, "error.target"), "properties.kind");
    assert_int_equal(GET(g, MODEL V), 404);
    assert_int_equal(PUT(g, MODEL V, "{\"properties\":{\"inputTpmPerPtu\":2600}}"), 201);
    assert_true(g->answer.needs_snapshot);
    assert_int_equal(DELETE(g, MODEL V), 200);

    /* One that only a soft-deleted account has sold: it may come back. */
#define OWN "/providers/Weir.Capacity/models/Own.llama.1"
    assert_int_equal(PUT(g, OWN V, "{\"properties\":{\"kind\":\"chat\"}}"), 201);
    assert_int_equal(
        PUT(g, ACCOUNT_1 "/deployments/l" V,
            "{\"sku\":{\"name\":\"Standard\",\"capacity\":1},\"properties\":{\"model\":"
            "{\"format\":\"Own\",\"name\":\"llama\",\"version\":\"1\"}}}"),
        201);
    assert_int_equal(DELETE(g, ACCOUNT_1 V), 202);
    assert_int_equal(DELETE(g, OWN V), 409);
    assert_int_equal(DELETE(g, DELETED_1), 202);
    assert_int_equal(DELETE(g, OWN V), 200);
}

static bool has_document(struct rig *g, const char *text) {
    struct buf documents;
    buf_init(&documents, 64 << 20);
    arm_documents(g->arm, &documents);
    bool found = str_find(buf_view(&documents), str_of(text)) >= 0;
    buf_destroy(&documents);
    return found;
}

static void a_drained_backend_leaves_the_data_plane_and_keeps_its_secret(void **state) {
    struct rig *g = *state;
    assert_true(has_document(g, "topsecret"));
    assert_int_equal(POST(g, POOL "/backends/b1/drain" V, NULL), 200);
    assert_true(g->answer.needs_snapshot);
    assert_string_equal(rig_str(g, "properties.isDraining"), "true");
    assert_false(has_document(g, "topsecret"));
    assert_int_equal(POST(g, POOL "/backends/b1/resume" V, NULL), 200);
    assert_true(has_document(g, "topsecret"));
    assert_int_equal(PUT(g, POOL "/backends/b1" V,
                         "{\"properties\":{\"url\":\"http://127.0.0.1:9002\",\"isDraining\":false,"
                         "\"provisioningState\":\"Succeeded\"}}"),
                     200);
    assert_true(has_document(g, "topsecret"));
    assert_true(has_document(g, ":9002"));
    assert_int_equal(PUT(g, POOL "/backends/b1" V,
                         "{\"properties\":{\"url\":\"http://127.0.0.1:9002\",\"apiKey\":null}}"),
                     200);
    assert_false(has_document(g, "topsecret"));
    assert_int_equal(POST(g, POOL "/backends/b9/drain" V, NULL), 404);
}

/* What is on the disk: one file that can be used. */
struct disk {
    const char *good;
    int n_checked;
};

static enum status check_file(void *arg, struct str path, struct problem *why) {
    struct disk *d = arg;
    d->n_checked++;
    if (d->good && str_eq(path, str_of(d->good)))
        return ST_OK;
    return problem_set(why, ST_IO_FAILED, path, "is not there");
}

#define SECURE(rest) "{\"properties\":{\"url\":\"https://backend.test\"" rest "}}"

static void
a_file_is_looked_at_when_a_backend_comes_to_name_it_and_not_while_it_goes_on(void **state) {
    struct rig *g = *state;
    struct disk disk = {0};
    const char *target = POOL "/backends/b2" V;
    g->outside = (struct arm_outside){.authorities = check_file, .arg = &disk};
    assert_int_equal(PUT(g, target, SECURE(",\"caFile\":\"/ca.pem\"")), 400);
    assert_string_equal(rig_str(g, "error.target"), "properties.caFile");
    disk.good = "/ca.pem";
    assert_int_equal(PUT(g, target, SECURE(",\"caFile\":\"/ca.pem\"")), 201);
    /* Now it goes: what else there is of the backend may change, its file only to one that is there. */
    disk = (struct disk){0};
    assert_int_equal(
        PUT(g, target, SECURE(",\"caFile\":\"/ca.pem\",\"priority\":2,\"isDraining\":true")), 200);
    assert_int_equal(disk.n_checked, 0);
    assert_int_equal(PUT(g, target, SECURE(",\"caFile\":\"/other.pem\"")), 400);
    assert_int_equal(PUT(g, target, SECURE("")), 200);
    assert_int_equal(PUT(g, target, SECURE(",\"caFile\":\"/ca.pem\"")), 400);
    /* One that nothing was checked by is named anew when something is. */
    assert_int_equal(PUT(g, target, SECURE(",\"caFile\":\"/ca.pem\",\"insecureSkipVerify\":true")),
                     200);
    assert_int_equal(PUT(g, target, SECURE(",\"caFile\":\"/ca.pem\",\"insecureSkipVerify\":false")),
                     400);
}

static void a_models_tokenizer_is_looked_at_whatever_stands_beside_it(void **state) {
    struct rig *g = *state;
    struct disk disk = {0};
    g->outside = (struct arm_outside){.tokenizer = check_file, .arg = &disk};
    assert_int_equal(
        PUT(g, MODEL V, "{\"properties\":{\"tokenizer\":\"/t.json\",\"insecureSkipVerify\":true}}"),
        400);
    assert_string_equal(rig_str(g, "error.target"), "properties.tokenizer");
    disk.good = "/t.json";
    assert_int_equal(PUT(g, MODEL V, "{\"properties\":{\"tokenizer\":\"/t.json\"}}"), 201);
    /* Gone or spoilt since: the same once more changes nothing, a change is refused. */
    disk = (struct disk){0};
    assert_int_equal(PUT(g, MODEL V, "{\"properties\":{\"tokenizer\":\"/t.json\"}}"), 200);
    assert_int_equal(
        PUT(g, MODEL V, "{\"properties\":{\"tokenizer\":\"/t.json\",\"inputTpmPerPtu\":2600}}"),
        400);
    assert_string_equal(rig_str(g, "error.target"), "properties.tokenizer");
}

static void a_path_that_goes_on_behind_a_zero_byte_is_no_path(void **state) {
    struct rig *g = *state;
    struct disk disk = {.good = "/t.json"};
    g->outside =
        (struct arm_outside){.tokenizer = check_file, .authorities = check_file, .arg = &disk};
    assert_int_equal(PUT(g, MODEL V, "{\"properties\":{\"tokenizer\":\"/t.json\\u0000x\"}}"), 400);
    assert_string_equal(rig_str(g, "error.target"), "properties.tokenizer");
    assert_int_equal(PUT(g, POOL "/backends/b2" V, SECURE(",\"caFile\":\"/t.json\\u0000\"")), 400);
    assert_string_equal(rig_str(g, "error.target"), "properties.caFile");
    assert_int_equal(disk.n_checked, 0);
}

static void limits_of_accounts_and_deployments_hold(void **state) {
    struct rig *g = *state;
    char target[512];
    for (int i = 2; i <= 5; i++) {
        snprintf(target, sizeof target,
                 GROUP_1 "/providers/Microsoft.CognitiveServices/accounts/acct%d" V, i);
        assert_int_equal(PUT(g, target, "{\"kind\":\"OpenAI\",\"location\":\"eastus\"}"), 201);
    }
    const char *one_more = GROUP_1 "/providers/Microsoft.CognitiveServices/accounts/acct6" V;
    assert_int_equal(PUT(g, one_more, "{\"kind\":\"OpenAI\",\"location\":\"eastus\"}"), 400);
    assert_string_equal(rig_str(g, "error.code"), "AccountLimitReached");
    assert_int_equal(PUT(g, one_more, "{\"kind\":\"OpenAI\",\"location\":\"westus\"}"), 201);
    for (int i = 1; i <= 4; i++) {
        snprintf(target, sizeof target, ACCOUNT_1 "/deployments/s%d" V, i);
        assert_int_equal(PUT(g, target, GPT_4O("GlobalStandard", 1)), 201);
    }
    assert_int_equal(PUT(g, DEPLOYMENT_1 V, GPT_4O("GlobalStandard", 1)), 400);
    assert_string_equal(rig_str(g, "error.code"), "StandardDeploymentLimitReached");
    assert_int_equal(PUT(g, ACCOUNT_1 "/deployments/s4" V, GPT_4O("GlobalStandard", 2)), 200);
    assert_int_equal(PUT(g, DEPLOYMENT_1 V, GPT_4O("ProvisionedManaged", 50)), 201);
}

static void what_tenants_can_make_has_an_end(void **state) {
    struct rig *g = *state;
    char target[512], body[512];
    int status = 201, n;
    g->keeps_no_rows = true;
    for (n = 1; status == 201; n++) {
        snprintf(target, sizeof target, SUB "/resourceGroups/many%d" V, n);
        status = PUT(g, target, "{\"location\":\"eastus\"}");
    }
    assert_string_equal(rig_str(g, "error.code"), "ResourceGroupQuotaExceeded");
    assert_int_equal(n, 981); /* rg1 is there already */
    status = 201;
    for (n = 1; status == 201; n++) {
        snprintf(target, sizeof target,
                 GROUP_1 "/providers/Microsoft.Authorization/roleAssignments/"
                         "aaaaaaaa-1111-1111-1111-%012d" V,
                 n);
        snprintf(body, sizeof body,
                 "{\"properties\":{\"roleDefinitionId\":\"" READER "\",\"principalId\":"
                 "\"aaaaaaaa-1111-1111-1111-%012d\"}}",
                 n);
        status = PUT(g, target, body);
    }
    assert_string_equal(rig_str(g, "error.code"), "RoleAssignmentLimitExceeded");
    assert_int_equal(n, 4002);
    status = 201;
    for (n = 1; status == 201; n++) {
        snprintf(target, sizeof target,
                 GROUP_1 "/providers/Microsoft.CognitiveServices/accounts/gone%d" V, n);
        status = PUT(g, target, "{\"kind\":\"OpenAI\",\"location\":\"eastus\"}");
        if (status == 201)
            assert_int_equal(DELETE(g, target), 202);
    }
    assert_string_equal(rig_str(g, "error.code"), "AccountLimitReached");
    assert_int_equal(n, 17); /* three for each of five */
}

static void imports_raise_the_quota_that_is_too_small(void **state) {
    struct rig *g = *state;
    assert_int_equal(PUT(g, QUOTA, "{\"properties\":{\"limit\":50}}"), 201);
    assert_int_equal(PUT(g, DEPLOYMENT_1 V, GPT_4O("ProvisionedManaged", 500)), 400);
    g->is_import = true;
    assert_int_equal(PUT(g, DEPLOYMENT_1 V, GPT_4O("ProvisionedManaged", 500)), 201);
    assert_int_equal(g->changes.n_audits, 2);
    g->is_import = false;
    assert_string_equal(rig_usage(g, "OpenAI.ProvisionedManaged", "limit"), "500");
    assert_string_equal(rig_usage(g, "OpenAI.ProvisionedManaged", "currentValue"), "500");
    g->is_import = true;
    assert_int_equal(PUT(g, ACCOUNT_1 "/deployments/d2" V, GPT_4O("ProvisionedManaged", 55)), 400);
}

static void imports_need_no_parents_and_bring_back_what_was_deleted(void **state) {
    struct rig *g = *state;
#define OTHER                                                                                      \
    "/subscriptions/other/resourceGroups/deep/providers/Microsoft.CognitiveServices/accounts/a1"
    const char *body = "{\"kind\":\"OpenAI\",\"location\":\"westus\",\"properties\":{\"keys\":{"
                       "\"key1\":\"0123456789abcdef\"}}}";
    assert_int_equal(PUT(g, OTHER V, body), 404);
    g->is_import = true;
    assert_int_equal(PUT(g, OTHER V, "{\"kind\":\"Face\",\"location\":\"westus\"}"), 400);
    assert_int_equal(g->changes.n + g->changes.n_audits, 0);
    assert_int_equal(GET(g, "/subscriptions/other" V), 404);
    assert_int_equal(PUT(g, "/subscriptions/other/resourceGroups/bare" V, "{}"), 201);
    assert_int_equal(PUT(g, OTHER V, body), 201);
    assert_int_equal(PUT(g, OTHER V, body), 200);
    assert_int_equal(g->changes.n, 0);
    g->is_import = false;
    assert_int_equal(GET(g, "/subscriptions/other/resourceGroups/deep" V), 200);
    assert_string_equal(rig_str(g, "location"), "westus");
    assert_int_equal(DELETE(g, OTHER V), 202);
    assert_int_equal(PUT(g, OTHER V, body), 409);
    g->is_import = true;
    assert_int_equal(PUT(g, OTHER V, body), 201);
    assert_int_equal(POST(g, OTHER "/listKeys" V, NULL), 200);
    assert_string_equal(rig_str(g, "key1"), "0123456789abcdef");
    assert_int_equal(PUT(g, ACCOUNT_1 V, body), 409); /* another location */
    assert_int_equal(PATCH(g, ACCOUNT_1 V,
                           "{\"properties\":{\"keys\":{\"key1\":"
                           "\"0123456789abcdef\"}}}"),
                     400);
    assert_non_null(strstr(rig_str(g, "error.message"), "key of another account"));
    rig_act_as_alice(g);
    assert_int_equal(PUT(g,
                         "/subscriptions/third/resourceGroups/g/providers/"
                         "Microsoft.CognitiveServices/accounts/a1" V,
                         body),
                     403);
}

static void quota_requests_queue_and_are_answered(void **state) {
    struct rig *g = *state;
    char target[512];
#define REQUESTS SUB "/providers/Weir.Capacity/quotaRequests"
    assert_int_equal(POST(g, REQUESTS V,
                          "{\"properties\":{\"location\":\"eastus\",\"quotaName\":"
                          "\"openai.provisionedmanaged\",\"limit\":900,\"reason\":\"launch\","
                          "\"webhook\":\"https://hooks.test/x\"}}"),
                     201);
    assert_string_equal(rig_str(g, "properties.status"), "Queued");
    assert_string_equal(rig_str(g, "properties.quotaName"), "OpenAI.ProvisionedManaged");
    snprintf(target, sizeof target, REQUESTS "/%s/approve" V, rig_str(g, "name"));
    assert_int_equal(POST(g, REQUESTS V, "{\"properties\":{\"location\":\"eastus\"}}"), 400);
    assert_int_equal(GET(g, "/providers/Weir.Capacity/quotaRequests" V), 200);
    assert_int_equal(rig_count(g, "value"), 1);
    rig_assign(g, SUB, OWNER, "aaaaaaaa-1111-1111-1111-111111111111");
    struct arm_caller operator= g->caller;
    rig_act_as_alice(g);
    assert_int_equal(POST(g, target, NULL), 403);
    g->caller = operator;
    assert_int_equal(POST(g, target, NULL), 200);
    assert_string_equal(rig_str(g, "properties.status"), "Approved");
    assert_int_equal(g->changes.n_notices, 1);
    assert_true(str_eq(g->changes.notices[0].url, STR("https://hooks.test/x")));
    assert_string_equal(rig_usage(g, "OpenAI.ProvisionedManaged", "limit"), "900");
    assert_int_equal(POST(g, target, NULL), 409);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, rig_set_up, rig_tear_down)
    const struct CMUnitTest tests[] = {
        T(the_operators_resources_are_judged_with_all_that_is_sold),
        T(a_model_cannot_leave_what_is_sold_behind),
        T(a_drained_backend_leaves_the_data_plane_and_keeps_its_secret),
        T(a_file_is_looked_at_when_a_backend_comes_to_name_it_and_not_while_it_goes_on),
        T(a_path_that_goes_on_behind_a_zero_byte_is_no_path),
        T(a_models_tokenizer_is_looked_at_whatever_stands_beside_it),
        T(limits_of_accounts_and_deployments_hold),
        T(what_tenants_can_make_has_an_end),
        T(imports_raise_the_quota_that_is_too_small),
        T(imports_need_no_parents_and_bring_back_what_was_deleted),
        T(quota_requests_queue_and_are_answered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
