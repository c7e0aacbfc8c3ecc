/* access_test.c - the built-in roles, and that what is assigned above holds below, never beside. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "arm/access.h"
#include "support/random.h"

static const struct siphash_key secret = {1, 8};

static int set_up(void **state) {
    *state = access_new(&secret);
    return 0;
}

static int tear_down(void **state) {
    access_free(*state);
    return 0;
}

#define SUB "/subscriptions/s1"
#define GROUP SUB "/resourceGroups/g1"
#define ACCOUNT GROUP "/providers/Microsoft.CognitiveServices/accounts/a1"

static enum access_outcome assign(struct access *a, const char *id, const char *who,
                                  const char *role, const char *scope) {
    const struct access_role *r = access_role_named(str_of(role));
    assert_non_null(r);
    return access_assign(a, &(struct access_assignment){str_of(id), str_of(who), r, str_of(scope)});
}

static bool may(const struct access *a, const char *who, const char *action, const char *scope) {
    return access_allows(a, str_of(who), str_of(action), str_of(scope));
}

static void roles_have_the_ids_that_azure_gives_them(void **state) {
    (void)state;
    /* ARM contract, section 8. */
    static const char *const known[][2] = {
        {"8e3af657-a8ff-443c-a75c-2fe8c4bcb635", "Owner"},
        {"b24988ac-6180-42a0-ab88-20f7382dd24c", "Contributor"},
        {"acdd72a7-3385-48ef-bd42-f606fba81ae7", "Reader"},
        {"25fbc0a9-bd7c-42a3-aa1a-3b75d497ee68", "Cognitive Services Contributor"},
        {"a97b65f3-24c7-4388-baec-2e87135dc908", "Cognitive Services User"},
        {"5e0bd9bd-7b93-4f28-af87-19fc36ad61bd", "Cognitive Services OpenAI User"},
        {"a001fd3d-188f-4b5d-821b-7da978bf7442", "Cognitive Services OpenAI Contributor"},
        {"bba48692-92b0-4667-a9ad-c31c7b334ac2", "Cognitive Services Usages Reader"},
    };
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        char id[200];
        const struct access_role *r = access_role_at(i);
        assert_non_null(r);
        assert_true(str_eq(r->id, str_of(known[i][0])) && str_eq(r->name, str_of(known[i][1])));
        assert_ptr_equal(access_role_find(r->id), r);
        snprintf(id, sizeof id, "%s/providers/Microsoft.Authorization/ROLEdefinitions/%s", SUB,
                 known[i][0]);
        assert_ptr_equal(access_role_find(str_of(id)), r);
        assert_ptr_equal(access_role_named(r->name), r);
    }
    assert_null(access_role_at(ARRAY_LEN(known)));
    assert_null(access_role_find(STR("")));
    assert_null(access_role_find(STR("8e3af657-a8ff-443c-a75c-2fe8c4bcb63")));
    assert_null(access_role_find(STR("/x/8e3af657-a8ff-443c-a75c-2fe8c4bcb635")));
    assert_null(access_role_named(STR("Own")));
}

/* Rows: actions; columns: the roles in their order. */
static void each_role_allows_what_it_is_for_and_no_more(void **state) {
    (void)state;
    static const struct {
        const char *action, *allowed; /* O owner, C contributor, R reader, c service contributor,
                                         u user, o OpenAI user, p OpenAI contributor, q usages */
    } cases[] = {
        {"Microsoft.CognitiveServices/accounts/read", "OCRcuop"},
        {"microsoft.cognitiveservices/ACCOUNTS/write", "OCc"},
        {"Microsoft.CognitiveServices/accounts/delete", "OCc"},
        {"Microsoft.CognitiveServices/accounts/listKeys/action", "OCcu"},
        {"Microsoft.CognitiveServices/accounts/regenerateKey/action", "OCc"},
        {"Microsoft.CognitiveServices/accounts/deployments/read", "OCRcuop"},
        {"Microsoft.CognitiveServices/accounts/deployments/write", "OCcp"},
        {"Microsoft.CognitiveServices/accounts/deployments/delete", "OCcp"},
        {"Microsoft.CognitiveServices/locations/usages/read", "OCRcuopq"},
        {"Microsoft.CognitiveServices/locations/modelCapacities/read", "OCRcuop"},
        {"Microsoft.CognitiveServices/deletedAccounts/read", "OCRcuop"},
        {"Microsoft.CognitiveServices/locations/resourceGroups/deletedAccounts/delete", "OCc"},
        {"Microsoft.CognitiveServices/calculateModelCapacity/action", "OCc"},
        {"Microsoft.Authorization/roleAssignments/read", "OCRcop"},
        {"Microsoft.Authorization/roleAssignments/write", "O"},
        {"Microsoft.Authorization/roleAssignments/delete", "O"},
        {"Microsoft.Resources/subscriptions/read", "OCRcu"},
        {"Microsoft.Resources/subscriptions/resourceGroups/read", "OCRcu"},
        {"Microsoft.Resources/subscriptions/resourceGroups/write", "OC"},
        {"Microsoft.Resources/subscriptions/resourceGroups/delete", "OC"},
        {"Weir.Capacity/quotaRequests/write", "OCcp"},
        {"Weir.Capacity/locations/quotas/read", "OCRcpq"},
        {"Microsoft.CognitiveServices/read", "OCRc"}, /* a star is something, between its slashes */
        {"", "OC"},
    };
    static const char letters[] = "OCRcuopq";
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (size_t k = 0; letters[k]; k++) {
            bool want = strchr(cases[i].allowed, letters[k]) != NULL;
            if (access_role_allows(access_role_at(k), str_of(cases[i].action), false) != want)
                fail_msg("%c %s %s", letters[k], want ? "may not" : "may", cases[i].action);
        }
    }
    static const struct {
        const char *action, *allowed;
    } data[] = {
        {"Microsoft.CognitiveServices/accounts/OpenAI/deployments/chat/completions/action", "uop"},
        {"Microsoft.CognitiveServices/accounts/OpenAI/deployments/embeddings/action", "uop"},
        {"Microsoft.CognitiveServices/accounts/OpenAI/models/read", "uop"},
        {"Microsoft.CognitiveServices/accounts/OpenAI/fine-tunes/write", "up"},
        {"Microsoft.CognitiveServices/accounts/SpeechServices/read", "u"},
        {"Microsoft.CognitiveServices/accounts/read", "u"},
    };
    for (size_t i = 0; i < ARRAY_LEN(data); i++) {
        for (size_t k = 0; letters[k]; k++) {
            bool want = strchr(data[i].allowed, letters[k]) != NULL;
            if (access_role_allows(access_role_at(k), str_of(data[i].action), true) != want)
                fail_msg("%c %s %s", letters[k], want ? "may not" : "may", data[i].action);
        }
    }
}

static void what_is_assigned_holds_below_and_nowhere_else(void **state) {
    struct access *a = *state;
    static const char read[] = "Microsoft.CognitiveServices/accounts/read";
    assert_int_equal(assign(a, "/x/1", "ann", "Reader", GROUP), ACCESS_DONE);
    assert_true(may(a, "ann", read, ACCOUNT));
    assert_true(may(a, "ANN", read, "/SUBSCRIPTIONS/S1/RESOURCEGROUPS/G1"));
    assert_true(may(a, "ann", read, GROUP "/"));
    assert_false(may(a, "ann", read, SUB));
    assert_false(may(a, "ann", read, "/"));
    assert_false(may(a, "ann", read, ""));
    /* A name that begins alike is another one. */
    assert_false(may(a, "ann", read, SUB "/resourceGroups/g12"));
    assert_false(may(a, "ann", read, "/subscriptions/s2/resourceGroups/g1"));
    assert_false(may(a, "bob", read, ACCOUNT));
    assert_false(may(a, "", read, ACCOUNT));
    assert_false(may(a, "ann", "Microsoft.CognitiveServices/accounts/write", ACCOUNT));
    assert_true(access_allows_below(a, STR("ann"), str_of(read), STR(SUB)));
    assert_true(access_allows_below(a, STR("ann"), str_of(read), STR(ACCOUNT)));
    assert_false(access_allows_below(a, STR("ann"), str_of(read), STR("/subscriptions/s2")));
    assert_true(access_is_member(a, STR("ann"), STR(SUB)));
    assert_true(access_is_member(a, STR("ANN"), STR(ACCOUNT "/")));
    assert_false(access_is_member(a, STR("ann"), STR("/subscriptions/s2")));
    assert_false(access_is_member(a, STR("nobody"), STR(SUB)));
    /* Data actions are not actions. */
    assert_int_equal(assign(a, "/x/2", "ann", "Owner", "/"), ACCESS_DONE);
    assert_true(may(a, "ann", "any/thing", "/subscriptions/s2"));
    static const char chat[] =
        "Microsoft.CognitiveServices/accounts/OpenAI/deployments/chat/completions/action";
    assert_false(access_allows_data(a, STR("ann"), str_of(chat), STR(ACCOUNT)));
    assert_int_equal(assign(a, "/x/3", "ann", "Cognitive Services OpenAI User", ACCOUNT),
                     ACCESS_DONE);
    assert_true(access_allows_data(a, STR("ann"), str_of(chat), STR(ACCOUNT)));
    assert_false(access_allows_data(a, STR("ann"), str_of(chat), STR(GROUP)));
}

static void roles_add_up(void **state) {
    struct access *a = *state;
    assert_int_equal(assign(a, "/x/1", "ann", "Contributor", SUB), ACCESS_DONE);
    assert_false(may(a, "ann", "Microsoft.Authorization/roleAssignments/write", GROUP));
    assert_int_equal(assign(a, "/x/2", "ann", "Owner", GROUP), ACCESS_DONE);
    assert_true(may(a, "ann", "Microsoft.Authorization/roleAssignments/write", GROUP));
    assert_false(may(a, "ann", "Microsoft.Authorization/roleAssignments/write", SUB));
    assert_true(access_unassign(a, STR("/X/2")));
    assert_false(may(a, "ann", "Microsoft.Authorization/roleAssignments/write", GROUP));
    assert_false(access_unassign(a, STR("/x/2")));
}

static void an_assignment_is_made_once_and_never_changes(void **state) {
    struct access *a = *state;
    assert_int_equal(assign(a, "/x/1", "ann", "Reader", GROUP), ACCESS_DONE);
    assert_int_equal(assign(a, "/X/1", "Ann", "Reader", GROUP "/"), ACCESS_DONE);
    assert_int_equal(assign(a, "/x/2", "ANN", "Reader", GROUP), ACCESS_EXISTS);
    assert_int_equal(assign(a, "/x/1", "bob", "Reader", GROUP), ACCESS_CHANGED);
    assert_int_equal(assign(a, "/x/1", "ann", "Owner", GROUP), ACCESS_CHANGED);
    assert_int_equal(assign(a, "/x/1", "ann", "Reader", SUB), ACCESS_CHANGED);
    assert_false(may(a, "ann", "Microsoft.CognitiveServices/accounts/write", GROUP));
    const struct access_assignment *found = access_find(a, STR("/X/1"));
    assert_non_null(found);
    assert_true(str_eq(found->scope, STR(GROUP)) && str_eq(found->principal, STR("ann")));
    assert_null(access_find(a, STR("/x/2")));
    char longer[2000];
    memset(longer, 'x', sizeof longer);
    assert_null(access_find(a, (struct str){longer, sizeof longer}));
    assert_false(may(a, "nobody", "a/read", "/"));
}

static void count(void *arg, struct str id) {
    assert_true(str_istarts(id, STR("/x/")));
    ++*(int *)arg;
}

static void a_scope_that_goes_takes_what_is_assigned_there_and_below(void **state) {
    struct access *a = *state;
    int n = 0;
    assert_int_equal(assign(a, "/x/1", "ann", "Reader", SUB), ACCESS_DONE);
    assert_int_equal(assign(a, "/x/2", "ann", "Reader", GROUP), ACCESS_DONE);
    assert_int_equal(assign(a, "/x/3", "bob", "Owner", ACCOUNT), ACCESS_DONE);
    assert_int_equal(assign(a, "/x/4", "bob", "Owner", SUB "/resourceGroups/g12"), ACCESS_DONE);
    assert_int_equal(access_forget(a, STR(GROUP), count, &n), 2);
    assert_int_equal(n, 2);
    assert_non_null(access_find(a, STR("/x/1")));
    assert_null(access_find(a, STR("/x/2")));
    assert_null(access_find(a, STR("/x/3")));
    assert_non_null(access_find(a, STR("/x/4")));
    assert_int_equal(access_forget(a, STR("/subscriptions/s2"), NULL, NULL), 0);
    assert_int_equal(access_forget(a, STR("/"), NULL, NULL), 2);
}

/* Few names, so that assignments meet; the slow model is an array. */
enum { N_WHO = 4, N_ROLES = 8, N_SCOPES = 5, N_IDS = 40 };
static const char *const scopes[N_SCOPES] = {"/", SUB, GROUP, ACCOUNT, "/subscriptions/s10"};

static void agrees_with_an_array_over_random_changes(void **state) {
    struct access *a = *state;
    struct random r = {44};
    struct {
        bool exists;
        int64_t who, role, scope;
    } slow[N_IDS] = {0};
    static const char *const actions[] = {"Microsoft.CognitiveServices/accounts/write",
                                          "Microsoft.CognitiveServices/locations/usages/read",
                                          "Microsoft.Authorization/roleAssignments/write"};
    for (int step = 0; step < 20000; step++) {
        char id[16], who[16];
        int64_t i = random_below(&r, N_IDS), w = random_below(&r, N_WHO);
        int64_t role = random_below(&r, N_ROLES), scope = random_below(&r, N_SCOPES);
        snprintf(id, sizeof id, "/x/%d", (int)i);
        snprintf(who, sizeof who, "who%d", (int)w);
        if (random_once_in(&r, 3)) {
            assert_int_equal(access_unassign(a, str_of(id)), slow[i].exists);
            slow[i].exists = false;
        } else {
            bool is_same = slow[i].who == w && slow[i].role == role && slow[i].scope == scope;
            enum access_outcome want = ACCESS_DONE;
            for (int k = 0; k < N_IDS; k++) {
                if (slow[k].exists && slow[k].who == w && slow[k].role == role &&
                    slow[k].scope == scope)
                    want = ACCESS_EXISTS;
            }
            if (slow[i].exists)
                want = is_same ? ACCESS_DONE : ACCESS_CHANGED;
            struct access_assignment x = {str_of(id), str_of(who), access_role_at((size_t)role),
                                          str_of(scopes[scope])};
            assert_int_equal(access_assign(a, &x), want);
            if (want == ACCESS_DONE) {
                slow[i].exists = true;
                slow[i].who = w;
                slow[i].role = role;
                slow[i].scope = scope;
            }
        }
        const char *action = actions[random_below(&r, ARRAY_LEN(actions))];
        bool want = false;
        for (int k = 0; k < N_IDS; k++) {
            if (slow[k].exists && slow[k].who == w &&
                access_is_within(str_of(scopes[scope]), str_of(scopes[slow[k].scope])) &&
                access_role_allows(access_role_at((size_t)slow[k].role), str_of(action), false))
                want = true;
        }
        assert_int_equal(may(a, who, action, scopes[scope]), want);
        if (step % 100 == 0) {
            size_t at = 0, n = 0;
            struct str last = STR("");
            const struct access_assignment *x;
            while ((x = access_next(a, &at))) {
                assert_true(n++ == 0 || str_cmp(last, x->id) < 0);
                last = x->id;
            }
            size_t expected = 0;
            for (int k = 0; k < N_IDS; k++)
                expected += slow[k].exists;
            assert_int_equal(n, expected);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define WITH_ACCESS(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
        cmocka_unit_test(roles_have_the_ids_that_azure_gives_them),
        cmocka_unit_test(each_role_allows_what_it_is_for_and_no_more),
        WITH_ACCESS(what_is_assigned_holds_below_and_nowhere_else),
        WITH_ACCESS(roles_add_up),
        WITH_ACCESS(an_assignment_is_made_once_and_never_changes),
        WITH_ACCESS(a_scope_that_goes_takes_what_is_assigned_there_and_below),
        WITH_ACCESS(agrees_with_an_array_over_random_changes),
#undef WITH_ACCESS
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
