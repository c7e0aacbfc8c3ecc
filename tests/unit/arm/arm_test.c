/* arm_test.c - requests and their answers: resources, refusals, preconditions, pages, access. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "support/arm_rig.h"

#define GPT_4O(sku, size)                                                                          \
    "{\"sku\":{\"name\":\"" sku "\",\"capacity\":" #size "},\"properties\":{\"model\":{"           \
    "\"format\":\"OpenAI\",\"name\":\"GPT-4o\",\"version\":\"2024-08-06\"}}}"

static int setup(void **state) {
    struct rig *g = malloc(sizeof *g);
    rig_init(g);
    *state = g;
    return g->answer.status == 201 ? 0 : -1;
}

static int teardown(void **state) {
    rig_destroy(*state);
    free(*state);
    return 0;
}

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

static void bad_bodies_are_refused_with_their_place(void **state) {
    struct rig *g = *state;
#define NEW_ACCOUNT GROUP_1 "/providers/Microsoft.CognitiveServices/accounts/new1" V
    static const struct {
        const char *target, *body, *code, *about;
    } cases[] = {
        {NEW_ACCOUNT, "", "InvalidRequestContent", ""},
        {NEW_ACCOUNT, "{", "InvalidRequestContent", "byte"},
        {NEW_ACCOUNT, "[]", "InvalidRequestContent", "object"},
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
        {DEPLOYMENT_1 V, GPT_4O("ProvisionedManaged", 5e1), "InvalidResourceProperties",
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

static const char *usage(struct rig *g, const char *name, const char *member) {
    char target[512], path[64];
    snprintf(target, sizeof target,
             SUB "/providers/Microsoft.CognitiveServices/locations/eastus/usages" V
                 "&$filter=name.value%%20eq%%20%%27%s%%27",
             name);
    assert_int_equal(GET(g, target), 200);
    snprintf(path, sizeof path, "value.0.%s", member);
    return rig_str(g, path);
}

static void quota_comes_before_capacity_and_both_say_their_numbers(void **state) {
    struct rig *g = *state;
#define QUOTA SUB "/providers/Weir.Capacity/locations/eastus/quotas/OpenAI.ProvisionedManaged" V
    assert_int_equal(PUT(g, QUOTA, "{\"properties\":{\"limit\":300}}"), 201);
    assert_int_equal(PUT(g, DEPLOYMENT_1 V, GPT_4O("ProvisionedManaged", 150)), 201);
    assert_string_equal(usage(g, "OpenAI.ProvisionedManaged", "currentValue"), "150");
    assert_string_equal(usage(g, "OpenAI.ProvisionedManaged", "limit"), "300");

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
    assert_string_equal(usage(g, "OpenAI.ProvisionedManaged", "currentValue"), "150");

    assert_int_equal(PUT(g, ACCOUNT_1 "/deployments/d2" V, GPT_4O("ProvisionedManaged", 50)), 201);
    assert_int_equal(DELETE(g, DEPLOYMENT_1 V), 202);
    assert_string_equal(usage(g, "OpenAI.ProvisionedManaged", "currentValue"), "50");
}

static void a_deleted_account_keeps_its_quota_until_it_is_purged(void **state) {
    struct rig *g = *state;
#define DELETED_1                                                                                  \
    SUB "/providers/Microsoft.CognitiveServices/locations/eastus/resourceGroups/rg1/"              \
        "deletedAccounts/acct1" V
    assert_int_equal(PUT(g, DEPLOYMENT_1 V, GPT_4O("ProvisionedManaged", 100)), 201);
    assert_int_equal(DELETE(g, ACCOUNT_1 V), 202);
    assert_int_equal(GET(g, ACCOUNT_1 V), 404);
    assert_int_equal(GET(g, DEPLOYMENT_1 V), 404);
    assert_int_equal(DELETE(g, ACCOUNT_1 V), 204);
    assert_string_equal(usage(g, "OpenAI.ProvisionedManaged", "currentValue"), "100");
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
    assert_string_equal(usage(g, "OpenAI.ProvisionedManaged", "currentValue"), "0");
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
    assert_string_equal(usage(g, "OpenAI.ProvisionedManaged", "currentValue"), "0");
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

static void assign(struct rig *g, const char *scope, const char *role, const char *guid) {
    char target[1024], body[512];
    snprintf(target, sizeof target, "%s/providers/Microsoft.Authorization/roleAssignments/%s" V,
             scope, guid);
    snprintf(body, sizeof body,
             "{\"properties\":{\"roleDefinitionId\":\"" SUB
             "/providers/Microsoft.Authorization/roleDefinitions/%s\",\"principalId\":\"" ALICE
             "\",\"principalType\":\"ServicePrincipal\"}}",
             role);
    assert_int_equal(PUT(g, target, body), 201);
}

#define READER "acdd72a7-3385-48ef-bd42-f606fba81ae7"
#define OWNER "8e3af657-a8ff-443c-a75c-2fe8c4bcb635"
#define CONTRIBUTOR "b24988ac-6180-42a0-ab88-20f7382dd24c"
#define OPENAI_USER "5e0bd9bd-7b93-4f28-af87-19fc36ad61bd"
#define USAGES_READER "bba48692-92b0-4667-a9ad-c31c7b334ac2"

static void act_as_alice(struct rig *g) {
    g->caller =
        (struct arm_caller){.object_id = STR(ALICE), .app_id = STR("app1"), .name = STR("alice")};
}

static void without_a_role_everything_is_forbidden(void **state) {
    struct rig *g = *state;
    act_as_alice(g);
    static const struct {
        enum arm_method method;
        const char *target;
    } cases[] = {
        {ARM_GET, ACCOUNT_1 V},
        {ARM_GET, SUB V},
        {ARM_GET, "/subscriptions/22222222-1111-1111-1111-111111111111" V},
        {ARM_GET, SUB "/resourceGroups" V},
        {ARM_PUT_METHOD, DEPLOYMENT_1 V},
        {ARM_POST, ACCOUNT_1 "/listKeys" V},
        {ARM_DELETE_METHOD, GROUP_1 V},
        {ARM_GET, "/providers/Weir.Capacity/pools" V},
        {ARM_PUT_METHOD, QUOTA},
        {ARM_GET, SUB "/providers/Microsoft.Authorization/roleAssignments" V},
        {ARM_GET, SUB "/providers/Microsoft.CognitiveServices/locations/eastus/usages" V},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(rig_ask(g, cases[i].method, cases[i].target, NULL), 403);
        assert_string_equal(rig_str(g, "error.code"), "AuthorizationFailed");
    }
    assert_int_equal(GET(g, "/subscriptions" V), 200);
    assert_int_equal(rig_count(g, "value"), 0);
}

static void a_reader_of_one_group_sees_that_group(void **state) {
    struct rig *g = *state;
    PUT(g, SUB "/resourceGroups/rg2" V, "{\"location\":\"eastus\"}");
    PUT(g, SUB "/resourceGroups/rg2/providers/Microsoft.CognitiveServices/accounts/acct2" V,
        "{\"kind\":\"OpenAI\",\"location\":\"eastus\"}");
    assign(g, GROUP_1, READER, "aaaaaaaa-1111-1111-1111-111111111111");
    act_as_alice(g);
    assert_int_equal(GET(g, ACCOUNT_1 V), 200);
    assert_int_equal(GET(g, SUB "/providers/Microsoft.CognitiveServices/accounts" V), 200);
    assert_int_equal(rig_count(g, "value"), 1);
    assert_int_equal(GET(g, SUB "/resourceGroups" V), 200);
    assert_int_equal(rig_count(g, "value"), 1);
    assert_int_equal(GET(g, "/subscriptions" V), 200);
    assert_int_equal(rig_count(g, "value"), 1);
    assert_int_equal(PATCH(g, ACCOUNT_1 V, "{\"tags\":{}}"), 403);
    assert_int_equal(POST(g, ACCOUNT_1 "/listKeys" V, NULL), 403);
    assert_int_equal(
        GET(g, SUB "/resourceGroups/rg2/providers/Microsoft.CognitiveServices/accounts/acct2" V),
        403);
}

static void assignments_go_with_their_principal(void **state) {
    struct rig *g = *state;
    const struct arm_caller bob = {.object_id = STR("bob"), .is_operator = true};
    static const struct str upper = STR_INIT("AAAAAAAA-0000-0000-0000-000000000001");
    static const char bobs[] = GROUP_1 "/providers/Microsoft.Authorization/roleAssignments/"
                                       "aaaaaaaa-3333-1111-1111-111111111111" V;
    assign(g, GROUP_1, READER, "aaaaaaaa-1111-1111-1111-111111111111");
    assign(g, SUB, OPENAI_USER, "aaaaaaaa-2222-1111-1111-111111111111");
    assert_int_equal(PUT(g, bobs,
                         "{\"properties\":{\"roleDefinitionId\":\"" SUB
                         "/providers/Microsoft.Authorization/roleDefinitions/" READER
                         "\",\"principalId\":\"aaaaaaaa-0000-0000-0000-000000000002\"}}"),
                     201);
    arm_changes_clear(&g->changes);
    arm_forget_principal(g->arm, STR("nobody"), &bob, g->now_ms, &g->changes);
    assert_int_equal(g->changes.n + g->changes.n_audits, 0);
    arm_forget_principal(g->arm, upper, &bob, g->now_ms, &g->changes);
    assert_int_equal(g->changes.n, 2);
    assert_int_equal(g->changes.n_audits, 2);
    assert_true(str_eq(g->changes.audits[0].actor, STR("bob")));
    assert_true(str_ends(g->changes.audits[0].action, STR("roleAssignments/delete")));
    assert_true(g->changes.audits[0].before.n > 0);
    rig_commit(g);
    for (int i = 0; i < 2; i++) {
        struct arm_caller before = g->caller;
        assert_int_equal(GET(g, bobs), 200); /* others keep theirs */
        act_as_alice(g);
        assert_int_equal(GET(g, GROUP_1 V), 403);
        assert_int_equal(GET(g, ACCOUNT_1 V), 403);
        g->caller = before;
        struct problem why;
        struct arm *restarted = rig_replay(g, false, &why);
        assert_non_null(restarted);
        arm_free(g->arm);
        g->arm = restarted;
    }
}

static void a_usages_reader_sees_quota_and_nothing_else(void **state) {
    struct rig *g = *state;
    assign(g, SUB, USAGES_READER, "aaaaaaaa-1111-1111-1111-111111111111");
    act_as_alice(g);
    assert_int_equal(GET(g, SUB "/providers/Microsoft.CognitiveServices/locations/eastus/usages" V),
                     200);
    assert_int_equal(GET(g, ACCOUNT_1 V), 403);
    assert_int_equal(PUT(g, DEPLOYMENT_1 V, "{}"), 403);
    assert_int_equal(GET(g, SUB V), 403);
    assert_int_equal(GET(g, SUB "/resourceGroups" V), 403);
    assert_int_equal(GET(g, SUB "/resources" V), 403);
    assert_int_equal(GET(g, SUB "/providers/Microsoft.CognitiveServices/accounts" V), 403);
    assert_int_equal(GET(g, "/subscriptions" V), 200); /* or nobody could log in as one */
    assert_int_equal(rig_count(g, "value"), 1);
}

static void
whoever_has_a_role_in_a_subscription_finds_it_in_the_list_and_nobody_else(void **state) {
    struct rig *g = *state;
    static const char *const scopes[] = {SUB, GROUP_1, ACCOUNT_1};
    static const char *const roles[] = {USAGES_READER, OPENAI_USER};
    struct arm_caller operator= g->caller;
    assert_int_equal(PUT(g, "/subscriptions/22222222-1111-1111-1111-111111111111" V, "{}"), 201);
    for (size_t i = 0; i < ARRAY_LEN(scopes) * ARRAY_LEN(roles); i++) {
        char id[300];
        g->caller = operator;
        assign(g, scopes[i / 2], roles[i % 2], "aaaaaaaa-1111-1111-1111-111111111111");
        act_as_alice(g);
        assert_int_equal(GET(g, "/subscriptions" V), 200);
        assert_int_equal(rig_count(g, "value"), 1); /* not the other subscription */
        assert_int_equal(GET(g, "/tenants" V), 200);
        assert_int_equal(rig_count(g, "value"), 1);
        g->caller = operator;
        snprintf(id, sizeof id, "%s/providers/Microsoft.Authorization/roleAssignments/%s" V,
                 scopes[i / 2], "aaaaaaaa-1111-1111-1111-111111111111");
        assert_int_equal(DELETE(g, id), 200);
        act_as_alice(g);
        assert_int_equal(GET(g, "/subscriptions" V), 200);
        assert_int_equal(rig_count(g, "value"), 0);
    }
}

static void an_owner_rules_his_scope_but_not_his_quota(void **state) {
    struct rig *g = *state;
    assign(g, SUB, OWNER, "aaaaaaaa-1111-1111-1111-111111111111");
    act_as_alice(g);
    assert_int_equal(PUT(g, DEPLOYMENT_1 V, GPT_4O("GlobalStandard", 5)), 201);
    assert_int_equal(PUT(g, QUOTA, "{\"properties\":{\"limit\":100000}}"), 403);
    assert_int_equal(PUT(g, SUB V, "{\"displayName\":\"mine\"}"), 403);
    assert_int_equal(GET(g, "/providers/Weir.Capacity/pools" V), 403);
    assert_int_equal(DELETE(g, SUB "/providers/Microsoft.Authorization/roleAssignments/"
                                   "aaaaaaaa-1111-1111-1111-111111111111" V),
                     200);
    assert_int_equal(GET(g, DEPLOYMENT_1 V), 403);
}

static void a_contributor_may_not_hand_out_roles(void **state) {
    struct rig *g = *state;
    assign(g, SUB, CONTRIBUTOR, "aaaaaaaa-1111-1111-1111-111111111111");
    act_as_alice(g);
    assert_int_equal(PUT(g,
                         SUB "/providers/Microsoft.Authorization/roleAssignments/"
                             "aaaaaaaa-2222-1111-1111-111111111111" V,
                         "{\"properties\":{\"roleDefinitionId\":\"" OWNER
                         "\",\"principalId\":\"" ALICE "\"}}"),
                     403);
    assert_int_equal(POST(g, ACCOUNT_1 "/listKeys" V, NULL), 200);
}

static void role_assignments_are_resources(void **state) {
    struct rig *g = *state;
#define ASSIGNMENTS SUB "/providers/Microsoft.Authorization/roleAssignments"
    assign(g, "/" SUB, READER, "aaaaaaaa-1111-1111-1111-111111111111");
    assert_int_equal(GET(g, ASSIGNMENTS "/aaaaaaaa-1111-1111-1111-111111111111" V), 200);
    assert_string_equal(rig_str(g, "properties.scope"), SUB);
    assert_string_equal(rig_str(g, "properties.principalId"), ALICE);
    const char *same =
        "{\"properties\":{\"roleDefinitionId\":\"" READER "\",\"principalId\":\"" ALICE "\"}}";
    assert_int_equal(PUT(g, ASSIGNMENTS "/aaaaaaaa-1111-1111-1111-111111111111" V, same), 200);
    assert_int_equal(PUT(g, ASSIGNMENTS "/bbbbbbbb-1111-1111-1111-111111111111" V, same), 409);
    assert_string_equal(rig_str(g, "error.code"), "RoleAssignmentExists");
    assert_int_equal(PUT(g, ASSIGNMENTS "/not-a-guid" V, same), 400);
    assert_int_equal(GET(g, ASSIGNMENTS V "&$filter=principalId%20eq%20%27" ALICE "%27"), 200);
    assert_int_equal(rig_count(g, "value"), 1);
    assert_int_equal(GET(g, ACCOUNT_1 "/providers/Microsoft.Authorization/roleAssignments" V), 200);
    assert_int_equal(rig_count(g, "value"), 1);
    assert_int_equal(GET(g, SUB "/providers/Microsoft.Authorization/roleDefinitions" V
                                "&$filter=roleName%20eq%20%27Reader%27"),
                     200);
    assert_string_equal(rig_str(g, "value.0.name"), READER);
    assert_int_equal(DELETE(g, ASSIGNMENTS "/aaaaaaaa-1111-1111-1111-111111111111" V), 200);
    assert_int_equal(DELETE(g, ASSIGNMENTS "/aaaaaaaa-1111-1111-1111-111111111111" V), 204);
}

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

static void a_stranger_is_not_told_of_operations(void **state) {
    struct rig *g = *state;
    char poll[ARM_URL_MAX];
    assert_int_equal(PUT(g, DEPLOYMENT_1 V, GPT_4O("GlobalStandard", 1)), 201);
    snprintf(poll, sizeof poll, "%s", g->answer.async_operation + strlen("https://arm.test:8443"));
    struct arm_caller operator= g->caller;
    act_as_alice(g);
    assert_int_equal(GET(g, poll), 404);
    g->caller = operator;
    assign(g, ACCOUNT_1, READER, "aaaaaaaa-1111-1111-1111-111111111111");
    act_as_alice(g);
    assert_int_equal(GET(g, poll), 200);
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
    assert_string_equal(usage(g, "OpenAI.ProvisionedManaged", "limit"), "500");
    assert_string_equal(usage(g, "OpenAI.ProvisionedManaged", "currentValue"), "500");
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
    act_as_alice(g);
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
    assign(g, SUB, OWNER, "aaaaaaaa-1111-1111-1111-111111111111");
    struct arm_caller operator= g->caller;
    act_as_alice(g);
    assert_int_equal(POST(g, target, NULL), 403);
    g->caller = operator;
    assert_int_equal(POST(g, target, NULL), 200);
    assert_string_equal(rig_str(g, "properties.status"), "Approved");
    assert_int_equal(g->changes.n_notices, 1);
    assert_true(str_eq(g->changes.notices[0].url, STR("https://hooks.test/x")));
    assert_string_equal(usage(g, "OpenAI.ProvisionedManaged", "limit"), "900");
    assert_int_equal(POST(g, target, NULL), 409);
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
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(an_account_reads_as_it_was_written),
        T(nothing_is_found_where_nothing_is),
        T(urls_are_taken_as_real_clients_write_them),
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
        T(without_a_role_everything_is_forbidden),
        T(a_reader_of_one_group_sees_that_group),
        T(assignments_go_with_their_principal),
        T(a_usages_reader_sees_quota_and_nothing_else),
        T(whoever_has_a_role_in_a_subscription_finds_it_in_the_list_and_nobody_else),
        T(an_owner_rules_his_scope_but_not_his_quota),
        T(a_contributor_may_not_hand_out_roles),
        T(role_assignments_are_resources),
        T(the_operators_resources_are_judged_with_all_that_is_sold),
        T(a_model_cannot_leave_what_is_sold_behind),
        T(operations_are_forgotten_after_a_day),
        T(a_stranger_is_not_told_of_operations),
        T(a_drained_backend_leaves_the_data_plane_and_keeps_its_secret),
        T(limits_of_accounts_and_deployments_hold),
        T(what_tenants_can_make_has_an_end),
        T(imports_raise_the_quota_that_is_too_small),
        T(imports_need_no_parents_and_bring_back_what_was_deleted),
        T(quota_requests_queue_and_are_answered),
        T(deleting_a_group_deletes_its_accounts_softly),
        T(questions_are_answered),
        T(every_documented_operation_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
