/* random_requests_test.c - random requests, good and bad: the books balance and a restart changes nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "model/snapshot.h"
#include "support/arm_rig.h"
#include "support/random.h"

/* The documents as text; the caller frees. */
static char *documents_of(const struct arm *arm) {
    struct buf documents;
    buf_init(&documents, 64 << 20);
    arm_documents(arm, &documents);
    assert_int_equal(buf_status(&documents), ST_OK);
    char *z = str_dup(buf_view(&documents));
    buf_destroy(&documents);
    return z;
}

static struct resources *set_of(char *text) {
    struct problem why = {0};
    size_t n = strlen(text);
    char *padded = realloc(text, n + JSON_PADDING);
    memset(padded + n, 0, JSON_PADDING);
    struct resources *set = resources_new();
    if (resources_add(set, STR("documents"), padded, n, &why) != ST_OK)
        fail_msg("%s: %s", why.target, why.message);
    free(padded);
    return set;
}

/* Room model takes whatever the control plane has accepted. */
static struct snapshot *snapshot_of_all(const struct arm *arm) {
    struct problem why = {0};
    struct snapshot *s = NULL;
    struct resources *set = set_of(documents_of(arm));
    if (snapshot_build(set, NULL, &rig_key, &s, &why) != ST_OK)
        fail_msg("%s: %s", why.target, why.message);
    resources_free(set);
    return s;
}

static void check_documents(const struct arm *arm) {
    snapshot_unref(snapshot_of_all(arm));
}

static char *printed(const struct snapshot *s) {
    struct buf out;
    struct json_writer w;
    buf_init(&out, 64 << 20);
    json_writer_init(&w, &out, 0);
    snapshot_print(s, &w);
    char *z = str_dup(buf_view(&out));
    buf_destroy(&out);
    return z;
}

/* The loops obey: the news make of what they had what all documents make. `*held` is that. */
static void obey_news(struct rig *g, struct snapshot **held, int *n_patches) {
    struct arm_news news;
    struct buf documents;
    struct problem why = {0};
    struct snapshot *all = snapshot_of_all(g->arm), *next = NULL;
    buf_init(&documents, 64 << 20);
    arm_news(g->arm, &documents, &news);
    struct resources *set = set_of(str_dup(buf_view(&documents)));
    enum status st =
        news.is_all ? snapshot_build(set, NULL, &rig_key, &next, &why)
                    : snapshot_patch(*held, news.accounts, news.n_accounts, set, NULL, &next, &why);
    if (st != ST_OK)
        fail_msg("%s: %s", why.target, why.message);
    *n_patches += !news.is_all && news.n_accounts > 0;
    char *mine = printed(next), *theirs = printed(all);
    assert_string_equal(mine, theirs);
    free(mine);
    free(theirs);
    snapshot_unref(*held);
    *held = next;
    snapshot_unref(all);
    resources_free(set);
    buf_destroy(&documents);
    rig_obey(g);
    arm_news(g->arm, &documents, &news);
    assert_true(!news.is_all && news.n_accounts == 0);
    buf_destroy(&documents);
}

static char *answer_of(struct arm *arm, const char *target) {
    struct arm_answer answer;
    struct arm_changes changes;
    arm_answer_init(&answer);
    arm_changes_init(&changes);
    arm_handle(arm,
               &(struct arm_request){.method = ARM_GET,
                                     .target = str_of(target),
                                     .caller = {.is_operator = true},
                                     .base_url = STR("https://x")},
               &answer, &changes);
    char *z = str_dup(buf_view(&answer.body));
    arm_answer_destroy(&answer);
    arm_changes_destroy(&changes);
    return z;
}

/* A fresh arm that reads the store says the same of everything. */
static void check_replay(struct rig *g, bool is_backwards) {
    static const char *const targets[] = {
        "/subscriptions" V,
        SUB "/resourceGroups" V,
        SUB "/providers/Microsoft.CognitiveServices/accounts" V,
        SUB "/providers/Microsoft.CognitiveServices/deletedAccounts" V,
        SUB "/providers/Microsoft.CognitiveServices/locations/eastus/usages" V,
        SUB "/providers/Microsoft.CognitiveServices/locations/westus/usages" V,
        SUB "/providers/Weir.Capacity/locations/eastus/quotas" V,
        SUB "/providers/Weir.Capacity/quotaRequests" V,
        SUB "/providers/Microsoft.Authorization/roleAssignments" V,
        "/providers/Weir.Capacity/pools" V,
        "/providers/Weir.Capacity/models" V,
        "/providers/Weir.Capacity/pools/h100/backends" V,
        ACCOUNT_1 V,
        ACCOUNT_1 "/deployments" V,
        GROUP_1 "/providers/Microsoft.CognitiveServices/accounts/acct2/deployments" V,
        SUB "/providers/Microsoft.CognitiveServices/locations/eastus/modelCapacities" V
            "&modelFormat=OpenAI&modelName=gpt-4o&modelVersion=2024-08-06",
    };
    struct problem why = {0};
    struct arm *other = rig_replay(g, is_backwards, &why);
    if (!other)
        fail_msg("%s: %s", why.target, why.message);
    char *mine = documents_of(g->arm), *theirs = documents_of(other);
    assert_string_equal(mine, theirs);
    free(mine);
    free(theirs);
    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        mine = answer_of(g->arm, targets[i]);
        theirs = answer_of(other, targets[i]);
        assert_string_equal(mine, theirs);
        free(mine);
        free(theirs);
    }
    arm_free(other);
}

/* No pool has more reserved than it is worth, no quota more used than its limit: neither is ever
 * lowered here. */
static void check_sums(struct rig *g) {
    static const char *const pools[] = {"h100", "west"};
    char target[256], path[64];
    for (size_t i = 0; i < ARRAY_LEN(pools); i++) {
        snprintf(target, sizeof target, "/providers/Weir.Capacity/pools/%s" V, pools[i]);
        if (GET(g, target) == 200)
            assert_true(atoll(rig_str(g, "properties.reservedPtus")) <=
                        atoll(rig_str(g, "properties.ptus")));
    }
    GET(g, SUB "/providers/Microsoft.CognitiveServices/locations/eastus/usages" V);
    for (int i = 0; i < 6; i++) {
        snprintf(path, sizeof path, "value.%d.currentValue", i);
        int64_t used = atoll(rig_str(g, path));
        snprintf(path, sizeof path, "value.%d.limit", i);
        assert_true(used <= atoll(rig_str(g, path)));
    }
}

static const char *pick(struct random *r, const char *const *from, size_t n) {
    return from[random_below(r, (int64_t)n)];
}
#define PICK(r, ...)                                                                               \
    pick((r), (const char *const[]){__VA_ARGS__},                                                  \
         sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

/* One request: mostly sound, sometimes with the method or body of another. */
struct step {
    enum arm_method method;
    char target[1024], body[2048];
};

static void scramble(struct random *r, struct step *s) {
    static const char *const wrong[] = {"",   "{}",           "[]",
                                        "{",  "null",         "{\"properties\":7}",
                                        "\"", "{\"sku\":[]}", "{\"tags\":{\"a\":[]}}"};
    static const enum arm_method methods[] = {ARM_GET,   ARM_HEAD, ARM_PUT_METHOD,
                                              ARM_PATCH, ARM_POST, ARM_DELETE_METHOD};
    if (random_once_in(r, 12))
        s->method = methods[random_below(r, ARRAY_LEN(methods))];
    if (random_once_in(r, 8))
        snprintf(s->body, sizeof s->body, "%s", pick(r, wrong, ARRAY_LEN(wrong)));
}

static enum arm_method write_method(struct random *r) {
    static const enum arm_method methods[] = {ARM_PUT_METHOD, ARM_PUT_METHOD, ARM_PUT_METHOD,
                                              ARM_PATCH, ARM_DELETE_METHOD};
    return methods[random_below(r, ARRAY_LEN(methods))];
}

static void step_account(struct random *r, struct step *s) {
    long long n = (long long)random_between(r, 1, 3);
    switch (random_below(r, 6)) {
    case 0: /* the deleted one */
        s->method = ARM_DELETE_METHOD;
        snprintf(s->target, sizeof s->target,
                 SUB "/providers/Microsoft.CognitiveServices/locations/%s/resourceGroups/rg1/"
                     "deletedAccounts/acct%lld" V,
                 PICK(r, "eastus", "westus"), n);
        return;
    case 1:
        s->method = ARM_POST;
        snprintf(s->target, sizeof s->target,
                 GROUP_1 "/providers/Microsoft.CognitiveServices/accounts/acct%lld/%s" V, n,
                 PICK(r, "listKeys", "regenerateKey"));
        snprintf(s->body, sizeof s->body, "{\"keyName\":\"%s\"}", PICK(r, "Key1", "key2", "3"));
        return;
    default:
        s->method = random_once_in(r, 12)  ? ARM_DELETE_METHOD
                    : random_once_in(r, 4) ? ARM_PATCH
                                           : ARM_PUT_METHOD;
        snprintf(s->target, sizeof s->target,
                 GROUP_1 "/providers/Microsoft.CognitiveServices/accounts/%s%lld" V,
                 PICK(r, "acct", "ACCT"), n);
        snprintf(s->body, sizeof s->body,
                 "{\"kind\":\"%s\",\"location\":\"%s\",\"tags\":{\"n\":\"%lld\"},\"properties\":{"
                 "\"restore\":%s%s}}",
                 PICK(r, "OpenAI", "OpenAI", "OpenAI", "Face"),
                 n == 3 ? "westus" : PICK(r, "eastus", "East US", "eastus", "mars"),
                 (long long)random_below(r, 3), PICK(r, "true", "false"),
                 PICK(r, "", ",\"customSubDomainName\":\"same\""));
    }
}

static void step_deployment(struct random *r, struct step *s) {
    s->method = write_method(r);
    snprintf(
        s->target, sizeof s->target,
        GROUP_1 "/providers/Microsoft.CognitiveServices/accounts/acct%lld/deployments/%s%lld" V,
        (long long)random_between(r, 1, 3), PICK(r, "d", "D"), (long long)random_between(r, 1, 4));
    snprintf(s->body, sizeof s->body,
             "{\"sku\":{\"name\":\"%s\",\"capacity\":%lld},\"tags\":{\"n\":\"%lld\"},"
             "\"properties\":{\"model\":{\"name\":\"%s\",\"version\":\"%s\"}%s}}",
             PICK(r, "ProvisionedManaged", "GlobalProvisionedManaged", "DataZoneProvisionedManaged",
                  "GlobalStandard", "Standard"),
             (long long)(random_once_in(r, 6) ? random_between(r, -5, 400)
                                              : 50 * random_between(r, 1, 5)),
             (long long)random_below(r, 3), PICK(r, "gpt-4o", "GPT-4o", "gpt-4o-mini", "gpt-9"),
             PICK(r, "", "2024-08-06"),
             PICK(r, "", "", ",\"weir\":{\"depthWindowMs\":30000}",
                  ",\"weir\":{\"standardMode\":\"strict\"}"));
}

static void step_operator(struct random *r, struct step *s) {
    static const struct {
        enum arm_method method;
        const char *target, *body;
    } all[] = {
        {ARM_PUT_METHOD, "/providers/Weir.Capacity/pools/h100",
         "{\"location\":\"eastus\",\"properties\":{\"ptus\":1200,\"models\":[{\"name\":\"gpt-4o\"}"
         "]}}"},
        {ARM_DELETE_METHOD, "/providers/Weir.Capacity/pools/west", ""},
        {ARM_PUT_METHOD, "/providers/Weir.Capacity/pools/west",
         "{\"location\":\"westus\",\"properties\":{\"ptus\":1000,\"models\":[{\"name\":\"gpt-4o\"}"
         "]}}"},
        {ARM_PUT_METHOD, "/providers/Weir.Capacity/pools/h100/backends/b2",
         "{\"properties\":{\"url\":\"http://h2:80\",\"apiKey\":\"secret-2\"}}"},
        {ARM_DELETE_METHOD, "/providers/Weir.Capacity/pools/h100/backends/b2", ""},
        {ARM_POST, "/providers/Weir.Capacity/pools/h100/backends/b1/drain", ""},
        {ARM_POST, "/providers/Weir.Capacity/pools/h100/backends/b1/resume", ""},
        {ARM_POST, "/providers/Weir.Capacity/pools/west/drain", ""},
        {ARM_POST, "/providers/Weir.Capacity/pools/west/resume", ""},
        {ARM_DELETE_METHOD, "/providers/Weir.Capacity/locations/sweden", ""},
        {ARM_PUT_METHOD, "/providers/Weir.Capacity/locations/sweden", "{}"},
        {ARM_DELETE_METHOD, "/providers/Weir.Capacity/locations/eastus", ""},
        {ARM_PUT_METHOD, "/providers/Weir.Capacity/models/OpenAI.gpt-4o.2024-08-06",
         "{\"properties\":{\"inputTpmPerPtu\":2600}}"},
        {ARM_DELETE_METHOD, "/providers/Weir.Capacity/models/OpenAI.gpt-4o.2024-08-06", ""},
        {ARM_PUT_METHOD, "/providers/Weir.Capacity/models/Own.llama.1",
         "{\"properties\":{\"kind\":\"chat\",\"inputTpmPerPtu\":1000,\"outputWeight\":2.5}}"},
        {ARM_PUT_METHOD,
         SUB "/providers/Weir.Capacity/locations/eastus/quotas/OpenAI.ProvisionedManaged",
         "{\"properties\":{\"limit\":5000}}"},
        {ARM_POST, SUB "/providers/Weir.Capacity/quotaRequests",
         "{\"properties\":{\"location\":\"westus\",\"quotaName\":\"OpenAI.Standard.gpt-4o\","
         "\"limit\":77}}"},
        {ARM_PUT_METHOD, SUB "/resourceGroups/rg2", "{\"location\":\"westus\"}"},
        {ARM_DELETE_METHOD, SUB "/resourceGroups/rg2", ""},
        {ARM_PUT_METHOD, SUB "/resourceGroups/rg1", "{\"location\":\"eastus\"}"},
        {ARM_GET, SUB "/providers/Microsoft.CognitiveServices/deletedAccounts", ""},
    };
    size_t i = (size_t)random_below(r, ARRAY_LEN(all));
    s->method = all[i].method;
    snprintf(s->target, sizeof s->target, "%s" V, all[i].target);
    snprintf(s->body, sizeof s->body, "%s", all[i].body);
    if (random_once_in(r, 150)) {
        s->method = ARM_DELETE_METHOD;
        snprintf(s->target, sizeof s->target, "%s", GROUP_1 V);
    }
}

static void step_assignment(struct random *r, struct step *s) {
    s->method = random_once_in(r, 4) ? ARM_DELETE_METHOD : ARM_PUT_METHOD;
    snprintf(s->target, sizeof s->target,
             "%s/providers/Microsoft.Authorization/roleAssignments/"
             "aaaaaaaa-1111-1111-1111-11111111111%lld" V,
             PICK(r, SUB, GROUP_1, ACCOUNT_1, DEPLOYMENT_1), (long long)random_below(r, 4));
    snprintf(s->body, sizeof s->body,
             "{\"properties\":{\"principalId\":\"" ALICE "\",\"roleDefinitionId\":\"%s\"}}",
             PICK(r, "acdd72a7-3385-48ef-bd42-f606fba81ae7", "8e3af657-a8ff-443c-a75c-2fe8c4bcb635",
                  "nobody"));
}

static void random_step(struct random *r, struct step *s) {
    s->body[0] = '\0';
    switch (random_below(r, 8)) {
    case 0:
    case 1:
        step_account(r, s);
        break;
    case 2:
        step_operator(r, s);
        break;
    case 3:
        step_assignment(r, s);
        break;
    default:
        step_deployment(r, s);
        break;
    }
    scramble(r, s);
}

static void random_requests_leave_a_world_that_a_restart_finds_again(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct random r = {seed};
        struct rig g;
        int n_of[6] = {0}, n_patches = 0;
        rig_init(&g);
        struct snapshot *held = snapshot_of_all(g.arm); /* obeyed already */
        for (int i = 0; i < 400; i++) {
            struct step step;
            random_step(&r, &step);
            g.is_import = random_once_in(&r, 30);
            int status = rig_ask(&g, step.method, step.target, step.body);
            n_of[status / 100]++;
            /* What is refused has changed nothing. */
            if (status >= 300 && (g.changes.n || g.changes.n_audits || g.answer.needs_snapshot))
                fail_msg("%d %s left changes", status, step.target);
            if (random_once_in(&r, 10))
                obey_news(&g, &held, &n_patches);
            g.now_ms += random_below(&r, 3600 * 1000);
            if (random_once_in(&r, 20)) {
                arm_changes_clear(&g.changes);
                arm_tick(g.arm, g.now_ms, &g.changes);
                rig_commit(&g);
            }
            if (i % 40 == 39) {
                obey_news(&g, &held, &n_patches); /* a restart settles what was under way */
                check_replay(&g, i % 80 == 79);
                check_documents(g.arm);
                check_sums(&g);
            }
        }
        assert_true(n_of[2] > 100 && n_of[4] > 50 && n_of[5] == 0 && n_patches > 5);
        snapshot_unref(held);
        rig_destroy(&g);
    }
}

static void operations_resume_after_a_restart(void **state) {
    (void)state;
    struct rig g;
    char poll[ARM_URL_MAX];
    struct problem why = {0};
    rig_init(&g);
    assert_int_equal(PUT(&g, DEPLOYMENT_1 V,
                         "{\"sku\":{\"name\":\"GlobalStandard\",\"capacity\":1},\"properties\":{"
                         "\"model\":{\"name\":\"gpt-4o\"}}}"),
                     201);
    snprintf(poll, sizeof poll, "%s", g.answer.async_operation + strlen("https://arm.test:8443"));
    struct arm *again = rig_replay(&g, false, &why);
    assert_non_null(again);
    arm_free(g.arm);
    g.arm = again;
    assert_int_equal(GET(&g, poll), 200);
    assert_string_equal(rig_str(&g, "status"), "Running");
    GET(&g, DEPLOYMENT_1 V);
    assert_string_equal(rig_str(&g, "properties.provisioningState"), "Accepted");
    rig_obey(&g);
    GET(&g, poll);
    assert_string_equal(rig_str(&g, "status"), "Succeeded");
    GET(&g, DEPLOYMENT_1 V);
    assert_string_equal(rig_str(&g, "properties.provisioningState"), "Succeeded");
    rig_destroy(&g);
}

static void damaged_rows_are_refused_with_their_place(void **state) {
    (void)state;
    struct rig g;
    rig_init(&g);
    for (size_t i = 0; i < g.n_rows; i++) {
        struct problem why = {0};
        char *body = g.rows[i].body;
        g.rows[i].body = strdup("{\"id\":\"/nothing\"}");
        assert_null(rig_replay(&g, false, &why));
        assert_true(strlen(why.message) > 0);
        free(g.rows[i].body);
        g.rows[i].body = body;
    }
    rig_destroy(&g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_requests_leave_a_world_that_a_restart_finds_again),
        cmocka_unit_test(operations_resume_after_a_restart),
        cmocka_unit_test(damaged_rows_are_refused_with_their_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
