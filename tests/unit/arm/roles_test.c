/* roles_test.c - what a caller may see and do goes by his roles, in every answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "support/arm_rig.h"

static void without_a_role_everything_is_forbidden(void **state) {
    struct rig *g = *state;
    rig_act_as_alice(g);
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
    rig_assign(g, GROUP_1, READER, "aaaaaaaa-1111-1111-1111-111111111111");
    rig_act_as_alice(g);
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
    rig_assign(g, GROUP_1, READER, "aaaaaaaa-1111-1111-1111-111111111111");
    rig_assign(g, SUB, OPENAI_USER, "aaaaaaaa-2222-1111-1111-111111111111");
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
        rig_act_as_alice(g);
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
    rig_assign(g, SUB, USAGES_READER, "aaaaaaaa-1111-1111-1111-111111111111");
    rig_act_as_alice(g);
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
        rig_assign(g, scopes[i / 2], roles[i % 2], "aaaaaaaa-1111-1111-1111-111111111111");
        rig_act_as_alice(g);
        assert_int_equal(GET(g, "/subscriptions" V), 200);
        assert_int_equal(rig_count(g, "value"), 1); /* not the other subscription */
        assert_int_equal(GET(g, "/tenants" V), 200);
        assert_int_equal(rig_count(g, "value"), 1);
        g->caller = operator;
        snprintf(id, sizeof id, "%s/providers/Microsoft.Authorization/roleAssignments/%s" V,
                 scopes[i / 2], "aaaaaaaa-1111-1111-1111-111111111111");
        assert_int_equal(DELETE(g, id), 200);
        rig_act_as_alice(g);
        assert_int_equal(GET(g, "/subscriptions" V), 200);
        assert_int_equal(rig_count(g, "value"), 0);
    }
}

static void an_owner_rules_his_scope_but_not_his_quota(void **state) {
    struct rig *g = *state;
    rig_assign(g, SUB, OWNER, "aaaaaaaa-1111-1111-1111-111111111111");
    rig_act_as_alice(g);
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
    rig_assign(g, SUB, CONTRIBUTOR, "aaaaaaaa-1111-1111-1111-111111111111");
    rig_act_as_alice(g);
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
    rig_assign(g, "/" SUB, READER, "aaaaaaaa-1111-1111-1111-111111111111");
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

static void a_stranger_is_not_told_of_operations(void **state) {
    struct rig *g = *state;
    char poll[ARM_URL_MAX];
    assert_int_equal(PUT(g, DEPLOYMENT_1 V, GPT_4O("GlobalStandard", 1)), 201);
    snprintf(poll, sizeof poll, "%s", g->answer.async_operation + strlen("https://arm.test:8443"));
    struct arm_caller operator= g->caller;
    rig_act_as_alice(g);
    assert_int_equal(GET(g, poll), 404);
    g->caller = operator;
    rig_assign(g, ACCOUNT_1, READER, "aaaaaaaa-1111-1111-1111-111111111111");
    rig_act_as_alice(g);
    assert_int_equal(GET(g, poll), 200);
}

/* Whatever it says, and however long it takes to read. */
static void who_may_not_write_is_told_so_before_the_body_is_looked_at(void **state) {
    static const char *const bodies[] = {"", "{", "[]", "{\"a\":1,\"a\":2}"};
    static const char *const targets[] = {
        DEPLOYMENT_1 V, "/providers/Weir.Capacity/locations/eastus" V,
        GROUP_1 "/providers/Microsoft.Authorization/roleAssignments/"
                "7b0f0c1e-9f33-4c1d-8d5e-000000000001" V};
    struct rig *g = *state;
    struct arm_caller operator= g->caller;
    for (size_t t = 0; t < ARRAY_LEN(targets); t++) {
        for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
            rig_act_as_alice(g);
            assert_int_equal(PUT(g, targets[t], bodies[i]), 403);
            g->caller = operator;
            assert_int_equal(PUT(g, targets[t], bodies[i]), 400);
        }
    }
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, rig_set_up, rig_tear_down)
    const struct CMUnitTest tests[] = {
        T(without_a_role_everything_is_forbidden),
        T(a_reader_of_one_group_sees_that_group),
        T(assignments_go_with_their_principal),
        T(a_usages_reader_sees_quota_and_nothing_else),
        T(whoever_has_a_role_in_a_subscription_finds_it_in_the_list_and_nobody_else),
        T(an_owner_rules_his_scope_but_not_his_quota),
        T(a_contributor_may_not_hand_out_roles),
        T(role_assignments_are_resources),
        T(a_stranger_is_not_told_of_operations),
        T(who_may_not_write_is_told_so_before_the_body_is_looked_at),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
