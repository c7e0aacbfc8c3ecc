/* arm_test.c - requests and their answers: resources, refusals, quota, preconditions, pages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "support/arm_rig.h"

static void an_account_reads_as_it_was_written(void **state) {
    struct rig *g = *state;
    assert_int_equal(GET(g, ACCOUNT_1 V), 200);
    assert_string_equal(rig_str(g, "id"), ACCOUNT_1);
    assert_string_equal(rig_str(g, "name"), "acct1");
    assert_string_equal(rig_str(g, "type"), "Microsoft.CognitiveServices/accounts");
    assert_string_equal(rig_str(g, "location"), "eastus");
    assert_string_equal(rig_str(g, "properties.provisioningState"), "Succeeded");
    assert_string_equal(rig_str(g, "properties.endpoint"), "http://acct1.localhost:8080/");
    assert_string_equal(rig_str(g, "systemData.createdBy"), "operator");
    assert_string_equal(rig_str(g, "systemData.createdAt"), "2026-09-21T14:13:20.000Z");
    assert_string_equal(rig_str(g, "etag"), g->answer.etag);
    assert_true(str_find(buf_view(&g->answer.body), STR("keys")) < 0);
}

static void nothing_is_found_where_nothing_is(void **state) {
    struct rig *g = *state;
    static const struct {
        const char *target;
        int status;
        const char *code;
    } cases[] = {
        {GROUP_1 "/providers/Microsoft.CognitiveServices/accounts/nope" V, 404, "ResourceNotFound"},
        {ACCOUNT_1 "/deployments/nope" V, 404, "DeploymentNotFound"},
        {SUB "/resourceGroups/nope" V, 404, "ResourceGroupNotFound"},
        {SUB "/resourceGroups/nope/providers/Microsoft.CognitiveServices/accounts/a1" V, 404,
         "ResourceGroupNotFound"},
        {"/subscriptions/22222222-1111-1111-1111-111111111111" V, 404, "SubscriptionNotFound"},
        {ACCOUNT_1, 400, "MissingApiVersionParameter"},
        {ACCOUNT_1 "?api-version=yesterday", 400, "InvalidApiVersionParameter"},
        {ACCOUNT_1 "?api-version=2024-13-01", 400, "InvalidApiVersionParameter"},
        {GROUP_1 "/providers/Microsoft.CognitiveServices/accounts/a%27%20OR%201=1" V, 400,
         "InvalidResourceName"},
        {GROUP_1 "/providers/Microsoft.CognitiveServices/accounts/..%2f..%2fx" V, 400,
         "InvalidResourceName"},
        {GROUP_1 "/providers/Microsoft.CognitiveServices/accounts/%00" V, 400, "BadRequest"},
        {GROUP_1 "/providers/Microsoft.CognitiveServices/bananas" V, 404, "InvalidResourceType"},
        {GROUP_1 "/providers/Microsoft.Compute/virtualMachines" V, 404, "InvalidResourceNamespace"},
        {ACCOUNT_1 "/listKeys" V, 405, "MethodNotAllowed"},
        {"/" V, 404, "NotFound"},
        {SUB "/providers/Microsoft.CognitiveServices/locations/atlantis/usages" V, 400,
         "LocationNotAvailableForResourceType"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(GET(g, cases[i].target), cases[i].status);
        assert_string_equal(rig_str(g, "error.code"), cases[i].code);
        assert_true(strlen(rig_str(g, "error.message")) > 10);
        assert_int_equal(g->changes.n, 0);
    }
}

static void urls_are_taken_as_real_clients_write_them(void **state) {
    struct rig *g = *state;
    assert_int_equal(GET(g, ACCOUNT_1 "?api%2Dversion=2025-09-01-preview"), 200);
    assert_int_equal(GET(g, "/" ACCOUNT_1 V), 200);
    assert_int_equal(GET(g, SUB "/resourcegroups/RG1/PROVIDERS/microsoft.cognitiveservices/"
                                "Accounts/ACCT1" V),
                     200);
    assert_string_equal(rig_str(g, "name"), "acct1");
    assert_int_equal(rig_ask(g, ARM_HEAD, SUB "/resourcegroups/rg1" V, NULL), 204);
    assert_int_equal(rig_ask(g, ARM_HEAD, SUB "/resourcegroups/rg2" V, NULL), 404);
}

/* Members m0, m1, ... of which the one at `again` (-1: none) has the name of the one at `first`. */
static void put_members(struct buf *out, int n, int first, int again) {
    buf_clear(out);
    buf_lit(out, "{\"tags\":[1,{\"deep\":{\"");
    for (int i = 0; i < n; i++)
        buf_printf(out, "%sm%d\":%d", i ? ",\"" : "", i == again ? first : i, i);
    buf_lit(out, "}}]}");
    buf_char(out, '\0');
}

static void a_name_given_twice_is_found_wherever_it_stands(void **state) {
    struct rig *g = *state;
    struct buf body;
    buf_init(&body, ARM_BODY_MAX);
    const char *target = GROUP_1 "/providers/Microsoft.CognitiveServices/accounts/new1" V;
    for (int n = 1; n <= 20; n++) {
        put_members(&body, n, 0, -1);
        assert_int_equal(PUT(g, target, body.p), 400);
        assert_null(strstr(rig_str(g, "error.message"), "given twice"));
        for (int first = 0; first < n; first++) {
            for (int again = first + 1; again < n; again++) {
                char says[40];
                put_members(&body, n, first, again);
                assert_int_equal(PUT(g, target, body.p), 400);
                snprintf(says, sizeof says, "'m%d' is given twice", first);
                assert_non_null(strstr(rig_str(g, "error.message"), says));
            }
        }
    }
    put_members(&body, 50000, 7, 49999);
    assert_int_equal(PUT(g, target, body.p), 400);
    assert_non_null(strstr(rig_str(g, "error.message"), "'m7' is given twice"));
    buf_destroy(&body);
}

/* As serializers of some languages write whole numbers. */
static void a_whole_number_may_be_written_with_a_point(void **state) {
    struct rig *g = *state;
    assert_int_equal(PUT(g, DEPLOYMENT_1 V, GPT_4O("ProvisionedManaged", 50.0)), 201);
    assert_string_equal(rig_str(g, "sku.capacity"), "50");
    assert_int_equal(PUT(g, DEPLOYMENT_1 V, GPT_4O("ProvisionedManaged", 1e2)), 200);
    assert_string_equal(rig_str(g, "sku.capacity"), "100");
    assert_int_equal(PUT(g, QUOTA, "{\"properties\":{\"limit\":500.0}}"), 201);
    assert_string_equal(rig_str(g, "properties.limit"), "500");
    assert_int_equal(PUT(g, QUOTA, "{\"properties\":{\"limit\":500.5}}"), 400);
    assert_non_null(strstr(rig_str(g, "error.message"), "properties.limit must be a whole number"));
}

static void bad_bodies_are_refused_with_their_place(void **state) {
    struct rig *g = *state;
#define NEW_ACCOUNT GROUP_1 "/providers/Microsoft.CognitiveServices/accounts/new1" V
    static const struct {
        const char *target, *body, *code, *about;
    } cases[] = {
        {NEW_ACCOUNT, "", "InvalidRequestContent", ""},
        {NEW_ACCOUNT, "{", "InvalidRequestContent", "byte"},
        {NEW_ACCOUNT, "[]", "InvalidRequestContent", "object"},
        {NEW_ACCOUNT, "{\"kind\":\"OpenAI\",\"tags\":{},\"kind\":\"OpenAI\"}",
         "InvalidRequestContent", "'kind' is given twice"},
        {NEW_ACCOUNT, "{\"tags\":{\"a\":\"1\",\"\\u0061\":\"2\"}}", "InvalidRequestContent",
         "'a' is given twice"},
        {NEW_ACCOUNT, "{\"\":1,\"\":2}", "InvalidRequestContent", "'' is given twice"},
        {NEW_ACCOUNT, "{\"kind\":\"OpenAI\"}", "LocationRequired", "location"},
        {NEW_ACCOUNT, "{\"location\":\"eastus\"}", "InvalidResourceProperties", "kind"},
        {NEW_ACCOUNT, "{\"location\":\"eastus\",\"kind\":\"Face\"}", "InvalidResourceProperties",
         "OpenAI, AIServices"},
        {NEW_ACCOUNT, "{\"location\":\"mars\",\"kind\":\"OpenAI\"}",
         "LocationNotAvailableForResourceType", "mars"},
        {NEW_ACCOUNT, "{\"location\":7,\"kind\":\"OpenAI\"}", "InvalidResourceProperties",
         "location must be a text"},
        {NEW_ACCOUNT, "{\"location\":\"eastus\",\"kind\":\"OpenAI\",\"tags\":{\"a\":1}}",
         "InvalidResourceProperties", "tags"},
        {NEW_ACCOUNT,
         "{\"location\":\"eastus\",\"kind\":\"OpenAI\",\"properties\":{\"customSubDomainName\":"
         "\"acct1\"}}",
         "CustomDomainInUse", "acct1"},
        {NEW_ACCOUNT,
         "{\"location\":\"eastus\",\"kind\":\"OpenAI\",\"properties\":{\"disableLocalAuth\":true}}",
         "InvalidResourceProperties", "properties.disableLocalAuth"},
        {DEPLOYMENT_1 V, "{}", "InvalidResourceProperties", "properties"},
        {DEPLOYMENT_1 V, GPT_4O("Gold", 50), "InvalidResourceProperties", "DataZoneStandard"},
        {DEPLOYMENT_1 V, GPT_4O("ProvisionedManaged", 55), "InvalidCapacity", "50 and 100"},
        {DEPLOYMENT_1 V, GPT_4O("ProvisionedManaged", 10), "InvalidCapacity", "minimum is 50"},
        {DEPLOYMENT_1 V, GPT_4O("ProvisionedManaged", 0), "InvalidCapacity",
         "should be greater than 0 and no more than"},
        {DEPLOYMENT_1 V, GPT_4O("ProvisionedManaged", -50), "InvalidCapacity", "'-50'"},
        {DEPLOYMENT_1 V, GPT_4O("ProvisionedManaged", 50.5), "InvalidResourceProperties",
         "sku.capacity must be a whole number"},
        {DEPLOYMENT_1 V, GPT_4O("ProvisionedManaged", 1e300), "InvalidResourceProperties",
         "sku.capacity must be a whole number"},
        {DEPLOYMENT_1 V, GPT_4O("ProvisionedManaged", "1e2"), "InvalidResourceProperties",
         "sku.capacity must be a whole number, not a text"},
        {DEPLOYMENT_1 V, GPT_4O("ProvisionedManaged", 99999999999999999999),
         "InvalidRequestContent", "a number out of range"},
        {DEPLOYMENT_1 V,
         "{\"sku\":{\"name\":\"Standard\",\"capacity\":1},\"properties\":{\"model\":{\"name\":"
         "\"gpt-99\"}}}",
         "DeploymentModelNotSupported", "gpt-99"},
        {DEPLOYMENT_1 V,
         "{\"properties\":{\"model\":{\"name\":\"gpt-4o\"},\"scaleSettings\":{\"scaleType\":"
         "\"Standard\",\"capacity\":3}},\"sku\":{\"name\":\"Standard\"}}",
         "InvalidResourceProperties", "deprecated since api-version 2023-05-01"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int status = PUT(g, cases[i].target, cases[i].body);
        if (status / 100 != 4 || strcmp(rig_str(g, "error.code"), cases[i].code) != 0 ||
            !strstr(rig_str(g, "error.message"), cases[i].about))
            fail_msg("%s: %d %.*s", cases[i].body, status, STR_ARG(buf_view(&g->answer.body)));
        assert_int_equal(g->changes.n, 0);
        assert_int_equal(g->changes.n_audits, 0);
    }
    assert_int_equal(GET(g, DEPLOYMENT_1 V), 404);
    assert_int_equal(GET(g, NEW_ACCOUNT), 404);
}

static void a_body_of_more_than_a_megabyte_is_refused(void **state) {
    struct rig *g = *state;
    char *body = malloc(ARM_BODY_MAX + 2);
    memset(body, ' ', ARM_BODY_MAX + 1);
    body[ARM_BODY_MAX + 1] = '\0';
    assert_int_equal(PUT(g, DEPLOYMENT_1 V, body), 413);
    body[ARM_BODY_MAX] = '\0';
    assert_int_equal(PUT(g, DEPLOYMENT_1 V, body), 400);
    free(body);
}

static void a_deployment_is_created_grown_and_deleted(void **state) {
    struct rig *g = *state;
    char poll[ARM_URL_MAX];
    assert_int_equal(PUT(g, DEPLOYMENT_1 V, GPT_4O("ProvisionedManaged", 100)), 201);
    assert_true(g->answer.needs_snapshot);
    assert_string_equal(rig_str(g, "properties.provisioningState"), "Creating");
    assert_string_equal(rig_str(g, "properties.model.name"), "gpt-4o");
    assert_string_equal(rig_str(g, "sku.capacity"), "100");
    assert_true(strncmp(g->answer.async_operation, "https://arm.test:8443" SUB, 60) == 0);
    snprintf(poll, sizeof poll, "%s", g->answer.async_operation + strlen("https://arm.test:8443"));
    assert_int_equal(GET(g, poll), 200);
    assert_string_equal(rig_str(g, "status"), "Running");
    rig_obey(g);
    assert_int_equal(GET(g, poll), 200);
    assert_string_equal(rig_str(g, "status"), "Succeeded");
    assert_int_equal(GET(g, DEPLOYMENT_1 V), 200);
    assert_string_equal(rig_str(g, "properties.provisioningState"), "Succeeded");

    /* az 2.91 sends the size as a text. */
    assert_int_equal(PATCH(g, DEPLOYMENT_1 V, "{\"sku\":{\"capacity\":\"150\"}}"), 200);
    assert_string_equal(rig_str(g, "sku.capacity"), "150");
    assert_string_equal(rig_str(g, "properties.provisioningState"), "Accepted");
    rig_obey(g);

    assert_int_equal(DELETE(g, DEPLOYMENT_1 V), 202);
    assert_true(g->answer.async_operation[0]);
    assert_int_equal(GET(g, DEPLOYMENT_1 V), 404);
    assert_int_equal(DELETE(g, DEPLOYMENT_1 V), 204);
    assert_int_equal(PATCH(g, DEPLOYMENT_1 V, "{}"), 404);
}

static void the_same_put_again_changes_nothing(void **state) {
    struct rig *g = *state;
    assert_int_equal(PUT(g, DEPLOYMENT_1 V, GPT_4O("GlobalStandard", 10)), 201);
    rig_obey(g);
    assert_int_equal(PUT(g, DEPLOYMENT_1 V, GPT_4O("GlobalStandard", 10)), 200);
    assert_int_equal(g->changes.n, 0);
    assert_false(g->answer.needs_snapshot);
    assert_string_equal(g->answer.async_operation, "");
    assert_int_equal(PUT(g, DEPLOYMENT_1 V, GPT_4O("GlobalStandard", 11)), 200);
    assert_int_not_equal(g->changes.n, 0);
}

static void the_old_form_of_sizes_is_mapped(void **state) {
    struct rig *g = *state;
    const char *body = "{\"properties\":{\"model\":{\"format\":\"OpenAI\",\"name\":\"gpt-4o\","
                       "\"version\":\"2024-08-06\"},\"scaleSettings\":{\"scaleType\":\"Standard\","
                       "\"capacity\":7}}}";
    assert_int_equal(PUT(g, DEPLOYMENT_1 "?api-version=2022-12-01", body), 201);
    assert_string_equal(rig_str(g, "sku.name"), "Standard");
    assert_string_equal(rig_str(g, "sku.capacity"), "7");
}

static void quota_comes_before_capacity_and_both_say_their_numbers(void **state) {
    struct rig *g = *state;
    assert_int_equal(PUT(g, QUOTA, "{\"properties\":{\"limit\":300}}"), 201);
    assert_int_equal(PUT(g, DEPLOYMENT_1 V, GPT_4O("ProvisionedManaged", 150)), 201);
    assert_string_equal(rig_usage(g, "OpenAI.ProvisionedManaged", "currentValue"), "150");
    assert_string_equal(rig_usage(g, "OpenAI.ProvisionedManaged", "limit"), "300");

    assert_int_equal(PUT(g, ACCOUNT_1 "/deployments/d2" V, GPT_4O("ProvisionedManaged", 200)), 400);
    assert_string_equal(rig_str(g, "error.code"), "InsufficientQuota");
    assert_string_equal(
        rig_str(g, "error.message"),
        "This operation require 200 new capacity in quota Provisioned Managed Throughput Unit, "
        "which is bigger than the current available capacity 150. The current quota usage is 150 "
        "and the quota limit is 300 for quota Provisioned Managed Throughput Unit.");

    assert_int_equal(PUT(g, ACCOUNT_1 "/deployments/d2" V, GPT_4O("ProvisionedManaged", 100)), 400);
    assert_string_equal(rig_str(g, "error.code"), "InsufficientCapacity");
    assert_non_null(strstr(rig_str(g, "error.message"), "allows a deployment of 150 PTUs"));
    assert_non_null(strstr(rig_str(g, "error.message"), "up to 50 PTUs can be deployed here now"));
    assert_string_equal(rig_str(g, "error.additionalInfo.0.info.quotaAllows"), "150");
    assert_string_equal(rig_str(g, "error.additionalInfo.0.info.deployableNow"), "50");
    assert_true(rig_count(g, "error.additionalInfo.0.info.alternatives") >= 1);
    assert_true(rig_count(g, "error.details") >= 1);
    assert_string_equal(rig_usage(g, "OpenAI.ProvisionedManaged", "currentValue"), "150");

    assert_int_equal(PUT(g, ACCOUNT_1 "/deployments/d2" V, GPT_4O("ProvisionedManaged", 50)), 201);
    assert_int_equal(DELETE(g, DEPLOYMENT_1 V), 202);
    assert_string_equal(rig_usage(g, "OpenAI.ProvisionedManaged", "currentValue"), "50");
}

static void a_deleted_account_keeps_its_quota_until_it_is_purged(void **state) {
    struct rig *g = *state;
    assert_int_equal(PUT(g, DEPLOYMENT_1 V, GPT_4O("ProvisionedManaged", 100)), 201);
    assert_int_equal(DELETE(g, ACCOUNT_1 V), 202);
    assert_int_equal(GET(g, ACCOUNT_1 V), 404);
    assert_int_equal(GET(g, DEPLOYMENT_1 V), 404);
    assert_int_equal(DELETE(g, ACCOUNT_1 V), 204);
    assert_string_equal(rig_usage(g, "OpenAI.ProvisionedManaged", "currentValue"), "100");
    assert_int_equal(GET(g, SUB "/providers/Microsoft.CognitiveServices/deletedAccounts" V), 200);
    assert_int_equal(rig_count(g, "value"), 1);
    assert_int_equal(GET(g, DELETED_1), 200);
    assert_non_null(
        strstr(rig_str(g, "id"), "/locations/eastus/resourceGroups/rg1/deletedAccounts/"));
    assert_string_equal(rig_str(g, "properties.scheduledPurgeDate"), "2026-09-23T14:13:20.000Z");

    const char *again = "{\"kind\":\"OpenAI\",\"location\":\"eastus\"}";
    assert_int_equal(PUT(g, ACCOUNT_1 V, again), 409);
    assert_string_equal(rig_str(g, "error.code"), "FlagMustBeSetForRestore");
    assert_int_equal(PUT(g, ACCOUNT_1 V,
                         "{\"kind\":\"OpenAI\",\"location\":\"eastus\",\"properties\":{"
                         "\"restore\":true}}"),
                     201);
    rig_obey(g);
    assert_int_equal(GET(g, DEPLOYMENT_1 V), 200);
    assert_string_equal(rig_str(g, "sku.capacity"), "100");
    assert_int_equal(PATCH(g, DEPLOYMENT_1 V, "{\"sku\":{\"capacity\":50}}"), 200);

    assert_int_equal(DELETE(g, ACCOUNT_1 V), 202);
    assert_int_equal(DELETE(g, DELETED_1), 202);
    assert_string_equal(rig_usage(g, "OpenAI.ProvisionedManaged", "currentValue"), "0");
    assert_int_equal(GET(g, DELETED_1), 404);
    assert_int_equal(DELETE(g, DELETED_1), 204);
    assert_int_equal(PUT(g, ACCOUNT_1 V, again), 201);
}

static void a_deleted_account_expires_after_48_hours(void **state) {
    struct rig *g = *state;
    assert_int_equal(PUT(g, DEPLOYMENT_1 V, GPT_4O("ProvisionedManaged", 100)), 201);
    assert_int_equal(DELETE(g, ACCOUNT_1 V), 202);
    rig_obey(g);
    int64_t due = g->now_ms + INT64_C(48) * 3600 * 1000;
    arm_changes_clear(&g->changes);
    assert_true(arm_tick(g->arm, due - 1, &g->changes) <= due);
    assert_int_equal(GET(g, DELETED_1), 200);
    arm_changes_clear(&g->changes);
    arm_tick(g->arm, due, &g->changes);
    assert_true(g->changes.n >= 2);
    assert_int_equal(g->changes.n_audits, 1);
    assert_int_equal(GET(g, DELETED_1), 404);
    assert_string_equal(rig_usage(g, "OpenAI.ProvisionedManaged", "currentValue"), "0");
}

static void preconditions_are_kept(void **state) {
    struct rig *g = *state;
    char etag[40];
    assert_int_equal(GET(g, ACCOUNT_1 V), 200);
    snprintf(etag, sizeof etag, "%s", g->answer.etag);
    g->if_none_match = etag;
    assert_int_equal(GET(g, ACCOUNT_1 V), 304);
    assert_int_equal(g->answer.body.len, 0);
    g->if_none_match = "*";
    assert_int_equal(PATCH(g, ACCOUNT_1 V, "{\"tags\":{\"a\":\"b\"}}"), 412);
    g->if_none_match = NULL;
    g->if_match = "\"other\"";
    assert_int_equal(PATCH(g, ACCOUNT_1 V, "{\"tags\":{\"a\":\"b\"}}"), 412);
    assert_string_equal(rig_str(g, "error.code"), "PreconditionFailed");
    assert_int_equal(DELETE(g, ACCOUNT_1 V), 412);
    assert_int_equal(PUT(g, DEPLOYMENT_1 V, GPT_4O("Standard", 1)), 412);
    g->if_match = etag;
    assert_int_equal(PATCH(g, ACCOUNT_1 V, "{\"tags\":{\"a\":\"b\"}}"), 200);
    assert_string_not_equal(g->answer.etag, etag);
    assert_int_equal(PATCH(g, ACCOUNT_1 V, "{\"tags\":{\"a\":\"c\"}}"), 412);
    g->if_match = NULL;
    assert_int_equal(GET(g, ACCOUNT_1 V), 200);
    assert_string_equal(rig_str(g, "tags.a"), "b");
}

static void keys_are_listed_and_made_anew(void **state) {
    struct rig *g = *state;
    char key1[64], key2[64];
    assert_int_equal(POST(g, ACCOUNT_1 "/listKeys" V, NULL), 200);
    snprintf(key1, sizeof key1, "%s", rig_str(g, "key1"));
    snprintf(key2, sizeof key2, "%s", rig_str(g, "key2"));
    assert_int_equal(strlen(key1), 32);
    assert_string_not_equal(key1, key2);
    assert_int_equal(POST(g, ACCOUNT_1 "/regenerateKey" V, "{\"keyName\":\"Key2\"}"), 200);
    assert_true(g->answer.needs_snapshot);
    assert_string_equal(rig_str(g, "key1"), key1);
    assert_string_not_equal(rig_str(g, "key2"), key2);
    assert_int_equal(POST(g, ACCOUNT_1 "/regenerateKey" V, "{\"keyName\":\"Key3\"}"), 400);
    assert_int_equal(POST(g, ACCOUNT_1 "/regenerateKey" V, NULL), 400);
    for (size_t i = 0; i < g->changes.n_audits; i++)
        assert_true(str_find(g->changes.audits[i].after, str_of(key1)) < 0);
}

/* Follows nextLink to the end: each item comes once, in order. */
static void lists_come_in_pages(void **state) {
    struct rig *g = *state;
    char target[ARM_URL_MAX], last[300] = "";
    int n = 0, n_pages = 0;
    for (int i = 0; i < 10; i++) {
        snprintf(target, sizeof target, SUB "/resourceGroups/g%d" V, i);
        assert_int_equal(PUT(g, target, "{\"location\":\"eastus\"}"), 201);
    }
    snprintf(target, sizeof target, "%s", SUB "/resourceGroups" V);
    for (;;) {
        assert_int_equal(GET(g, target), 200);
        n_pages++;
        for (int i = 0; i < rig_count(g, "value"); i++, n++) {
            char path[32];
            snprintf(path, sizeof path, "value.%d.id", i);
            assert_true(strcmp(last, rig_str(g, path)) < 0);
            snprintf(last, sizeof last, "%s", rig_str(g, path));
        }
        const char *next = rig_str(g, "nextLink");
        if (strcmp(next, "(absent)") == 0)
            break;
        assert_true(strncmp(next, "https://arm.test:8443/", 22) == 0);
        snprintf(target, sizeof target, "%s", next + strlen("https://arm.test:8443"));
    }
    assert_int_equal(n, 11);
    assert_int_equal(n_pages, 4);
}

static void operations_are_forgotten_after_a_day(void **state) {
    struct rig *g = *state;
    char poll[ARM_URL_MAX];
    assert_int_equal(PUT(g, DEPLOYMENT_1 V, GPT_4O("GlobalStandard", 1)), 201);
    snprintf(poll, sizeof poll, "%s", g->answer.async_operation + strlen("https://arm.test:8443"));
    int64_t day = INT64_C(24) * 3600 * 1000;
    arm_changes_clear(&g->changes);
    arm_tick(g->arm, g->now_ms + 10 * day, &g->changes); /* it runs still */
    assert_int_equal(GET(g, poll), 200);
    rig_obey(g);
    arm_changes_clear(&g->changes);
    assert_true(arm_tick(g->arm, g->now_ms + day - 1, &g->changes) <= g->now_ms + day);
    assert_int_equal(GET(g, poll), 200);
    arm_changes_clear(&g->changes);
    arm_tick(g->arm, g->now_ms + day, &g->changes);
    assert_int_not_equal(g->changes.n, 0);
    assert_int_equal(GET(g, poll), 404);
}

static void deleting_a_group_deletes_its_accounts_softly(void **state) {
    struct rig *g = *state;
    assert_int_equal(PUT(g, DEPLOYMENT_1 V, GPT_4O("ProvisionedManaged", 100)), 201);
    assert_int_equal(DELETE(g, GROUP_1 V), 200);
    assert_int_equal(GET(g, ACCOUNT_1 V), 404);
    assert_int_equal(GET(g, DELETED_1), 200);
    assert_int_equal(PUT(g, GROUP_1 V, "{\"location\":\"eastus\"}"), 201);
    assert_int_equal(
        PUT(g, ACCOUNT_1 V, "{\"location\":\"eastus\",\"properties\":{\"restore\":true}}"), 201);
    assert_int_equal(GET(g, DEPLOYMENT_1 V), 200);
}

static void questions_are_answered(void **state) {
    struct rig *g = *state;
#define SERVICES_1 SUB "/providers/Microsoft.CognitiveServices"
    assert_int_equal(POST(g, SERVICES_1 "/checkDomainAvailability" V,
                          "{\"subdomainName\":\"ACCT1\",\"type\":"
                          "\"Microsoft.CognitiveServices/accounts\",\"kind\":\"OpenAI\"}"),
                     200);
    assert_string_equal(rig_str(g, "isSubdomainAvailable"), "false");
    assert_int_equal(
        POST(g, SERVICES_1 "/checkDomainAvailability" V, "{\"subdomainName\":\"free\"}"), 200);
    assert_string_equal(rig_str(g, "isSubdomainAvailable"), "true");
    assert_int_equal(POST(g, SERVICES_1 "/locations/eastus/checkSkuAvailability" V,
                          "{\"skus\":[\"S0\",\"F0\"],\"kind\":\"OpenAI\",\"type\":"
                          "\"Microsoft.CognitiveServices/accounts\"}"),
                     200);
    assert_string_equal(rig_str(g, "value.0.skuAvailable"), "true");
    assert_string_equal(rig_str(g, "value.1.skuAvailable"), "false");
    assert_int_equal(GET(g, SERVICES_1 "/locations/eastus/modelCapacities" V
                                       "&modelFormat=OpenAI&modelName=gpt-4o&modelVersion="
                                       "2024-08-06"),
                     200);
    assert_true(rig_count(g, "value") >= 3);
    assert_int_equal(GET(g, SERVICES_1 "/modelCapacities" V), 400);
    assert_int_equal(GET(g, SERVICES_1 "/locations/eastus/models" V), 200);
    assert_true(rig_count(g, "value") > 3);
    assert_int_equal(GET(g, SERVICES_1 "/skus" V), 200);
    assert_int_equal(rig_count(g, "value"), 6);
    assert_int_equal(GET(g, SUB "/providers/Microsoft.CognitiveServices" V), 200);
    assert_string_equal(rig_str(g, "registrationState"), "Registered");
    assert_int_equal(POST(g, SUB "/providers/Microsoft.CognitiveServices/register" V, NULL), 200);
    assert_int_equal(GET(g, "/tenants" V), 200);
    assert_int_equal(GET(g, SUB "/locations" V), 200);
    assert_int_equal(rig_count(g, "value"), 3);
    assert_int_equal(POST(g, SERVICES_1 "/calculateModelCapacity" V,
                          "{\"model\":{\"format\":\"OpenAI\",\"name\":\"gpt-4o\",\"version\":"
                          "\"2024-08-06\"},\"skuName\":\"GlobalProvisionedManaged\",\"workloads\":"
                          "[{\"requestPerMinute\":60,\"requestParameters\":{\"avgPromptTokens\":"
                          "1000,\"avgGeneratedTokens\":300}}]}"),
                     200);
    assert_string_equal(rig_str(g, "estimatedCapacity.value"), "46");
    assert_string_equal(rig_str(g, "estimatedCapacity.deployableValue"), "50");
    assert_int_equal(POST(g, SERVICES_1 "/calculateModelCapacity" V, "{\"model\":{}}"), 400);
    assert_int_equal(PUT(g, DEPLOYMENT_1 V, GPT_4O("ProvisionedManaged", 50)), 201);
    assert_int_equal(GET(g, DEPLOYMENT_1 "/skus" V), 200);
    assert_true(rig_count(g, "value") >= 6);
    assert_int_equal(GET(g, ACCOUNT_1 "/skus" V), 200);
    assert_int_equal(GET(g, ACCOUNT_1 "/models" V), 200);
    assert_int_equal(GET(g, ACCOUNT_1 "/usages" V), 200);
}

/* "{g}/accounts/{a}" as this test's own path; false when a line holds none. */
static bool expand_documented(const char *line, enum arm_method *method, struct buf *out) {
    static const struct {
        const char *mark, *text;
    } marks[] = {{"{s}", SUB "/providers/Microsoft.CognitiveServices"},
                 {"{g}", GROUP_1 "/providers/Microsoft.CognitiveServices"},
                 {"{a}", "acct1"},
                 {"{d}", "d1"},
                 {"{l}", "eastus"},
                 {"{group}", "rg1"}};
    static const char *const methods[] = {"GET", "HEAD", "PUT", "PATCH", "POST", "DELETE"};
    const char *cell = strstr(line, "` | ");
    if (strncmp(line, "| `", 3) != 0 || !cell)
        return false;
    cell += 4;
    for (size_t m = 0; m < ARRAY_LEN(methods); m++) {
        size_t n = strlen(methods[m]);
        if (strncmp(cell, methods[m], n) != 0 || strncmp(cell + n, " `", 2) != 0)
            continue;
        *method = (enum arm_method)m;
        for (cell += n + 2; *cell && *cell != '`'; cell++) {
            size_t i = 0;
            while (i < ARRAY_LEN(marks) && strncmp(cell, marks[i].mark, strlen(marks[i].mark)) != 0)
                i++;
            if (i < ARRAY_LEN(marks)) {
                buf_str(out, str_of(marks[i].text));
                cell += strlen(marks[i].mark) - 1;
            } else {
                buf_char(out, *cell);
            }
        }
        buf_lit(out, V "\0");
        return true;
    }
    return false;
}

static void every_documented_operation_is_there(void **state) {
    struct rig *g = *state;
    char line[2048];
    int n = 0;
    FILE *page = fopen(SOURCE_ROOT "/docs/api.md", "r");
    assert_non_null(page);
    while (fgets(line, sizeof line, page)) {
        enum arm_method method;
        struct buf target;
        buf_init(&target, 4096);
        if (expand_documented(line, &method, &target)) {
            n++;
            rig_ask(g, method, target.p, "{}");
            const char *code = g->answer.status >= 400 ? rig_str(g, "error.code") : "";
            if (strcmp(code, "InvalidResourceType") == 0 || g->answer.status == 405)
                fail_msg("docs/api.md names what is not there: %s", line);
        }
        buf_destroy(&target);
    }
    fclose(page);
    assert_int_equal(n, 29);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, rig_set_up, rig_tear_down)
    const struct CMUnitTest tests[] = {
        T(an_account_reads_as_it_was_written),
        T(nothing_is_found_where_nothing_is),
        T(urls_are_taken_as_real_clients_write_them),
        T(a_whole_number_may_be_written_with_a_point),
        T(a_name_given_twice_is_found_wherever_it_stands),
        T(bad_bodies_are_refused_with_their_place),
        T(a_body_of_more_than_a_megabyte_is_refused),
        T(a_deployment_is_created_grown_and_deleted),
        T(the_same_put_again_changes_nothing),
        T(the_old_form_of_sizes_is_mapped),
        T(quota_comes_before_capacity_and_both_say_their_numbers),
        T(a_deleted_account_keeps_its_quota_until_it_is_purged),
        T(a_deleted_account_expires_after_48_hours),
        T(preconditions_are_kept),
        T(keys_are_listed_and_made_anew),
        T(lists_come_in_pages),
        T(operations_are_forgotten_after_a_day),
        T(deleting_a_group_deletes_its_accounts_softly),
        T(questions_are_answered),
        T(every_documented_operation_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
