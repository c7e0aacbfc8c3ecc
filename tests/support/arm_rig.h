/* arm_rig.h - a control plane with a store beside it, for tests: asks, keeps rows, replays them. */
#ifndef SUPPORT_ARM_RIG_H
#define SUPPORT_ARM_RIG_H

#include "arm/arm.h"
#include "json/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The store: rows as the last commit left them. */
struct rig_row {
    char *table, *key, *body;
};

struct rig {
    struct arm *arm;
    struct arm_answer answer;
    struct arm_changes changes; /* of the last request */
    struct rig_row *rows;
    size_t n_rows;
    size_t n_changed; /* rows that were ever written or deleted */
    int64_t now_ms;
    uint64_t random;
    bool is_import, keeps_no_rows;
    const char *if_match, *if_none_match;
    struct arm_caller caller;
    struct arm_outside outside;
    struct json_doc *doc;
    struct buf padded;
};

#define SUB "/subscriptions/11111111-1111-1111-1111-111111111111"
#define GROUP_1 SUB "/resourceGroups/rg1"
#define ACCOUNT_1 GROUP_1 "/providers/Microsoft.CognitiveServices/accounts/acct1"
#define DEPLOYMENT_1 ACCOUNT_1 "/deployments/d1"
#define V "?api-version=2025-09-01"
/* The same account once it is deleted, and a quota. */
#define DELETED_1                                                                                  \
    SUB "/providers/Microsoft.CognitiveServices/locations/eastus/resourceGroups/rg1/"              \
        "deletedAccounts/acct1" V
#define QUOTA SUB "/providers/Weir.Capacity/locations/eastus/quotas/OpenAI.ProvisionedManaged" V
#define ALICE "aaaaaaaa-0000-0000-0000-000000000001"

static const struct siphash_key rig_key = {1, 2};

static struct arm *rig_new_arm(void) {
    static const struct arm_settings settings = {
        .tenant_id = STR_INIT("99999999-9999-9999-9999-999999999999"),
        .data_endpoint = STR_INIT("http://{account}.localhost:8080/"),
        .accounts_per_location = 5,
        .standard_deployments_per_account = 4,
        .page_size = 3};
    return arm_new(&settings, &rig_key);
}

static inline void rig_store(struct rig *g, const struct arm_change *c) {
    size_t i = 0;
    while (i < g->n_rows &&
           !(str_eq(str_of(g->rows[i].table), c->table) && str_eq(str_of(g->rows[i].key), c->key)))
        i++;
    if (i < g->n_rows) {
        free(g->rows[i].table);
        free(g->rows[i].key);
        free(g->rows[i].body);
        g->rows[i] = g->rows[--g->n_rows];
    }
    if (c->kind == ARM_DELETE)
        return;
    g->rows = realloc(g->rows, (g->n_rows + 1) * sizeof *g->rows);
    g->rows[g->n_rows++] = (struct rig_row){str_dup(c->table), str_dup(c->key), str_dup(c->body)};
}

static inline void rig_commit(struct rig *g) {
    g->n_changed += g->changes.n;
    for (size_t i = 0; i < g->changes.n && !g->keeps_no_rows; i++)
        rig_store(g, &g->changes.items[i]);
}

static inline int rig_ask(struct rig *g, enum arm_method method, const char *target,
                          const char *body) {
    struct arm_request q = {.method = method,
                            .target = str_of(target),
                            .body = str_of(body ? body : ""),
                            .if_match = str_of(g->if_match ? g->if_match : ""),
                            .if_none_match = str_of(g->if_none_match ? g->if_none_match : ""),
                            .caller = g->caller,
                            .now_ms = g->now_ms,
                            .base_url = STR("https://arm.test:8443"),
                            .is_import = g->is_import,
                            .outside = g->outside};
    for (size_t i = 0; i < ARM_RANDOM_WORDS; i++)
        q.random[i] = g->random += UINT64_C(0x9e3779b97f4a7c15);
    arm_changes_clear(&g->changes);
    arm_handle(g->arm, &q, &g->answer, &g->changes);
    rig_commit(g);
    return g->answer.status;
}

#define GET(g, target) rig_ask((g), ARM_GET, (target), NULL)
#define PUT(g, target, body) rig_ask((g), ARM_PUT_METHOD, (target), (body))
#define PATCH(g, target, body) rig_ask((g), ARM_PATCH, (target), (body))
#define POST(g, target, body) rig_ask((g), ARM_POST, (target), (body))
#define DELETE(g, target) rig_ask((g), ARM_DELETE_METHOD, (target), NULL)

/* The loops hold the newest snapshot. */
static inline void rig_obey(struct rig *g) {
    struct buf documents;
    buf_init(&documents, 64 << 20);
    uint64_t version = arm_documents(g->arm, &documents);
    buf_destroy(&documents);
    arm_changes_clear(&g->changes);
    arm_acting(g->arm, version, g->now_ms, &g->changes);
    rig_commit(g);
}

/* The member at "a.b.0.c" of the last answer. */
static inline bool rig_member(struct rig *g, const char *path, struct json_value *v) {
    struct str rest = str_of(path), key;
    buf_clear(&g->padded);
    buf_str(&g->padded, buf_view(&g->answer.body));
    buf_reserve_slack(&g->padded, 0, JSON_PADDING);
    if (json_parse(g->doc, g->padded.p, g->padded.len, v, NULL) != ST_OK)
        return false;
    while (str_cut(&rest, '.', &key)) {
        struct json_iter it;
        int64_t n;
        if (json_type(*v) == JSON_ARRAY && str_to_i64(key, &n)) {
            json_items(&it, *v);
            do {
                if (!json_next(&it, v))
                    return false;
            } while (n-- > 0);
        } else if (!json_get(*v, key, v)) {
            return false;
        }
    }
    return true;
}

static inline const char *rig_str(struct rig *g, const char *path) {
    static char text[4][2048];
    static int turn;
    struct json_value v;
    char *out = text[turn++ % 4];
    if (!rig_member(g, path, &v))
        return "(absent)";
    int64_t n;
    if (json_i64(v, &n))
        snprintf(out, sizeof text[0], "%lld", (long long)n);
    else if (json_type(v) == JSON_BOOL)
        snprintf(out, sizeof text[0], "%s", json_bool(v) ? "true" : "false");
    else
        snprintf(out, sizeof text[0], "%.*s", STR_ARG(json_str(v)));
    return out;
}

static inline int rig_count(struct rig *g, const char *path) {
    struct json_value v, item;
    struct json_iter it;
    int n = 0;
    if (!rig_member(g, path, &v))
        return -1;
    json_items(&it, v);
    while (json_next(&it, &item))
        n++;
    return n;
}

/* A fresh arm from the store's rows, in an order of its own. */
static inline struct arm *rig_replay(const struct rig *g, bool is_backwards, struct problem *why) {
    struct arm *arm = rig_new_arm();
    enum status st = ST_OK;
    for (size_t i = 0; i < g->n_rows && st == ST_OK; i++) {
        const struct rig_row *r = &g->rows[is_backwards ? g->n_rows - 1 - i : i];
        st = arm_load(arm, str_of(r->table), str_of(r->key), str_of(r->body), why);
    }
    if (st == ST_OK)
        st = arm_loaded(arm, why);
    if (st == ST_OK)
        return arm;
    arm_free(arm);
    return NULL;
}

static inline void rig_init_empty(struct rig *g, struct arm *arm) {
    *g = (struct rig){.arm = arm,
                      .now_ms = INT64_C(1790000000000),
                      .caller = {.object_id = STR("00000000-0000-0000-0000-00000000000f"),
                                 .name = STR("operator"),
                                 .is_operator = true},
                      .doc = json_doc_new()};
    buf_init(&g->padded, 64 << 20);
    arm_answer_init(&g->answer);
    arm_changes_init(&g->changes);
}

/* With the rows of another, which `arm` has loaded. */
static inline void rig_init_from(struct rig *g, const struct rig *base, struct arm *arm) {
    rig_init_empty(g, arm);
    g->random = base->random;
    g->rows = malloc((base->n_rows + 1) * sizeof *g->rows);
    for (size_t i = 0; i < base->n_rows; i++)
        g->rows[g->n_rows++] = (struct rig_row){
            strdup(base->rows[i].table), strdup(base->rows[i].key), strdup(base->rows[i].body)};
}

/* Operator, with two locations in a zone and one without, and a pool of 1,000 PTUs in eastus. */
static inline void rig_init(struct rig *g) {
    rig_init_empty(g, rig_new_arm());
    PUT(g, "/providers/Weir.Capacity/locations/eastus" V,
        "{\"properties\":{\"displayName\":\"East US\",\"dataZone\":\"us\"}}");
    PUT(g, "/providers/Weir.Capacity/locations/westus" V, "{\"properties\":{\"dataZone\":\"us\"}}");
    PUT(g, "/providers/Weir.Capacity/locations/sweden" V, "{}");
    PUT(g, "/providers/Weir.Capacity/pools/h100" V,
        "{\"location\":\"eastus\",\"properties\":{\"ptus\":200,\"models\":[{\"name\":\"gpt-4o\"},"
        "{\"name\":\"gpt-4o-mini\"}]}}");
    PUT(g, "/providers/Weir.Capacity/pools/h100/backends/b1" V,
        "{\"properties\":{\"url\":\"http://127.0.0.1:9001\",\"apiKey\":\"topsecret\"}}");
    PUT(g, "/providers/Weir.Capacity/pools/west" V,
        "{\"location\":\"westus\",\"properties\":{\"ptus\":1000,\"models\":[{\"name\":\"gpt-4o\"}]"
        "}}");
    PUT(g, SUB V, "{\"displayName\":\"One\"}");
    PUT(g, GROUP_1 V, "{\"location\":\"eastus\"}");
    PUT(g, ACCOUNT_1 V,
        "{\"kind\":\"OpenAI\",\"location\":\"East US\",\"sku\":{\"name\":\"S0\"},"
        "\"properties\":{\"customSubDomainName\":\"Acct1\"}}");
    rig_obey(g);
}

static inline void rig_destroy(struct rig *g) {
    arm_free(g->arm);
    arm_answer_destroy(&g->answer);
    arm_changes_destroy(&g->changes);
    for (size_t i = 0; i < g->n_rows; i++) {
        free(g->rows[i].table);
        free(g->rows[i].key);
        free(g->rows[i].body);
    }
    free(g->rows);
    json_doc_free(g->doc);
    buf_destroy(&g->padded);
}

/* For cmocka: every test has a rig of its own. */
static inline int rig_set_up(void **state) {
    struct rig *g = malloc(sizeof *g);
    rig_init(g);
    *state = g;
    return g->answer.status == 201 ? 0 : -1;
}

static inline int rig_tear_down(void **state) {
    rig_destroy(*state);
    free(*state);
    return 0;
}

/* The body of a deployment. */
#define GPT_4O(sku, size)                                                                          \
    "{\"sku\":{\"name\":\"" sku "\",\"capacity\":" #size "},\"properties\":{\"model\":{"           \
    "\"format\":\"OpenAI\",\"name\":\"GPT-4o\",\"version\":\"2024-08-06\"}}}"

/* A number of the usage `name` of eastus; the answer of the next request ends it. */
static inline const char *rig_usage(struct rig *g, const char *name, const char *member) {
    char target[512], path[64];
    snprintf(target, sizeof target,
             SUB "/providers/Microsoft.CognitiveServices/locations/eastus/usages" V
                 "&$filter=name.value%%20eq%%20%%27%s%%27",
             name);
    int status = GET(g, target);
    assert(status == 200);
    snprintf(path, sizeof path, "value.0.%s", member);
    return rig_str(g, path);
}

/* The ids of roles. */
#define READER "acdd72a7-3385-48ef-bd42-f606fba81ae7"
#define OWNER "8e3af657-a8ff-443c-a75c-2fe8c4bcb635"
#define CONTRIBUTOR "b24988ac-6180-42a0-ab88-20f7382dd24c"
#define OPENAI_USER "5e0bd9bd-7b93-4f28-af87-19fc36ad61bd"
#define USAGES_READER "bba48692-92b0-4667-a9ad-c31c7b334ac2"

/* Gives Alice a role. */
static inline void rig_assign(struct rig *g, const char *scope, const char *role,
                              const char *guid) {
    char target[1024], body[512];
    snprintf(target, sizeof target, "%s/providers/Microsoft.Authorization/roleAssignments/%s" V,
             scope, guid);
    snprintf(body, sizeof body,
             "{\"properties\":{\"roleDefinitionId\":\"" SUB
             "/providers/Microsoft.Authorization/roleDefinitions/%s\",\"principalId\":\"" ALICE
             "\",\"principalType\":\"ServicePrincipal\"}}",
             role);
    int status = PUT(g, target, body);
    assert(status == 201);
}

/* From now on it is she who asks. */
static inline void rig_act_as_alice(struct rig *g) {
    g->caller =
        (struct arm_caller){.object_id = STR(ALICE), .app_id = STR("app1"), .name = STR("alice")};
}

#endif
