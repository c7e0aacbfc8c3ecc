/* world.c - everything that is known, held in memory: loading it, looking it up, compiling it. */
#include "arm/arm_private.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    DOCUMENTS_MAX = 1 << 30,
    ROW_MAX = 4 << 20,
    USAGES_MAX = 1 << 20, /* a list of usages that is kept */
    OPERATIONS_MAX = 10000,
};

static const int64_t operation_kept_ms = INT64_C(24) * 3600 * 1000;

struct arm *arm_new(const struct arm_settings *settings, const struct siphash_key *hash) {
    struct arm *arm = xcalloc(1, sizeof *arm);
    arm->settings = *settings;
    arm->settings.tenant_id = str_of(str_dup(settings->tenant_id));
    arm->settings.data_endpoint = str_of(str_dup(settings->data_endpoint));
    if (!arm->settings.accounts_per_location)
        arm->settings.accounts_per_location = 30;
    if (!arm->settings.standard_deployments_per_account)
        arm->settings.standard_deployments_per_account = 32;
    if (!arm->settings.soft_delete_ms)
        arm->settings.soft_delete_ms = INT64_C(48) * 3600 * 1000;
    if (!arm->settings.page_size)
        arm->settings.page_size = 100;
    arm->hash = *hash;
    arm->offers = offers_new(hash);
    arm->ledger = ledger_new(arm->offers, hash);
    arm->access = access_new(hash);
    arm->doc = json_doc_new();
    arm->row_doc = json_doc_new();
    buf_init(&arm->padded, ROW_MAX);
    buf_init(&arm->scratch, ROW_MAX);
    buf_init(&arm->usages, USAGES_MAX);
    buf_init(&arm->usages_of, RESOURCE_ID_MAX);
    list_init(&arm->by_age);
    arm->version = 1;
    arm->is_all_news = true; /* nobody obeys anything yet */
    map_init(&arm->is_news, hash);
    enum status st = world_compile(arm, NULL, NULL);
    assert(st == ST_OK); /* nothing but the built-in catalog */
    return arm;
}

struct access *arm_copy_access(const struct arm *arm) {
    return access_copy(arm->access, &arm->hash);
}

void arm_set_data_endpoint(struct arm *arm, struct str url) {
    free((char *)(uintptr_t)arm->settings.data_endpoint.p);
    arm->settings.data_endpoint = str_of(str_dup(url));
}

/*
 * News for the data plane
 */
void world_add_news(struct arm *arm, struct str account_key) {
    if (map_get(&arm->is_news, account_key))
        return;
    if (arm->n_news == arm->news_capacity) {
        arm->news_capacity = arm->news_capacity ? 2 * arm->news_capacity : 16;
        arm->news = xrealloc(arm->news, arm->news_capacity * sizeof *arm->news);
    }
    struct str *kept = &arm->news[arm->n_news++];
    *kept = str_of(str_dup(account_key));
    map_put(&arm->is_news, *kept, arm);
}

static void forget_news(struct arm *arm) {
    map_destroy(&arm->is_news);
    map_init(&arm->is_news, &arm->hash);
    for (size_t i = 0; i < arm->n_news; i++)
        free((char *)(uintptr_t)arm->news[i].p);
    arm->n_news = 0;
    arm->is_all_news = false;
}

void arm_free(struct arm *arm) {
    if (!arm)
        return;
    forget_news(arm);
    map_destroy(&arm->is_news);
    free(arm->news);
    for (int t = 0; t < ROW_TYPE_COUNT; t++)
        table_destroy(&arm->tables[t]);
    snapshot_unref(arm->capacity);
    ledger_free(arm->ledger);
    offers_free(arm->offers);
    access_free(arm->access);
    json_doc_free(arm->doc);
    json_doc_free(arm->row_doc);
    buf_destroy(&arm->padded);
    buf_destroy(&arm->scratch);
    buf_destroy(&arm->usages);
    buf_destroy(&arm->usages_of);
    free((char *)(uintptr_t)arm->settings.tenant_id.p);
    free((char *)(uintptr_t)arm->settings.data_endpoint.p);
    free(arm);
}

/*
 * Looking up
 */
static struct row *find(const struct arm *arm, enum row_type type, struct str key) {
    return table_find(&arm->tables[type], key);
}

struct subscription *world_subscription(const struct arm *arm, struct str name) {
    char key[32 + RESOURCE_NAME_MAX];
    struct buf text;
    if (name.n > RESOURCE_NAME_MAX)
        return NULL;
    buf_init(&text, sizeof key);
    buf_lit(&text, "/subscriptions/");
    buf_str(&text, name);
    struct row *r = find(arm, ROW_SUBSCRIPTION, text_lower(buf_view(&text), key));
    buf_destroy(&text);
    return (struct subscription *)(void *)r;
}

struct group *world_group(const struct arm *arm, struct str subscription, struct str name) {
    char key[64 + 2 * RESOURCE_NAME_MAX];
    struct buf text;
    if (subscription.n > RESOURCE_NAME_MAX || name.n > RESOURCE_NAME_MAX)
        return NULL;
    buf_init(&text, sizeof key);
    buf_lit(&text, "/subscriptions/");
    buf_str(&text, subscription);
    buf_lit(&text, "/resourceGroups/");
    buf_str(&text, name);
    struct row *r = find(arm, ROW_GROUP, text_lower(buf_view(&text), key));
    buf_destroy(&text);
    return (struct group *)(void *)r;
}

struct account_row *world_account(const struct arm *arm, struct str key) {
    return (struct account_row *)(void *)find(arm, ROW_ACCOUNT, key);
}

const struct location *world_location(const struct arm *arm, struct str name) {
    char squeezed[RESOURCE_NAME_MAX];
    size_t n_locations, n = 0;
    for (size_t i = 0; i < name.n; i++) {
        if (name.p[i] == ' ')
            continue;
        if (n == sizeof squeezed)
            return NULL;
        squeezed[n++] = name.p[i];
    }
    const struct location *l = snapshot_locations(arm->capacity, &n_locations);
    for (size_t i = 0; i < n_locations; i++) {
        if (str_ieq(l[i].name, (struct str){squeezed, n}))
            return &l[i];
    }
    return NULL;
}

bool world_is_alive(const struct arm *arm, const struct deployment_row *d) {
    const struct account_row *a = world_account(arm, d->account);
    return a && a->deleted_ms == 0;
}

const struct model *world_model(const struct arm *arm, const struct deployment_row *d) {
    return catalog_find(snapshot_catalog(arm->capacity), d->format, d->model, d->version);
}

void world_ledger_ask(const struct arm *arm, const struct deployment_row *d,
                      const struct account_row *a, struct ledger_ask *out) {
    *out = (struct ledger_ask){.id = d->row.key,
                               .subscription = a->subscription,
                               .location = a->location,
                               .model = world_model(arm, d),
                               .sku = d->sku,
                               .size = d->size};
}

/*
 * Compiling
 */
static void put_document(const struct arm *arm, struct buf *out, const struct row *r) {
    struct json_writer w;
    buf_lit(out, ",\n");
    json_writer_init(&w, out, 0);
    shape_write(arm, &w, r, FORM_DATA_PLANE);
}

/* Documents since `begin` become an array. */
static void end_documents(struct buf *out, size_t begin) {
    if (out->len == begin)
        buf_lit(out, "[");
    else
        out->p[begin] = '['; /* the first comma */
    buf_lit(out, "]");
}

void world_documents(const struct arm *arm, struct buf *out, const struct row *without,
                     bool is_for_check) {
    static const enum row_type types[] = {ROW_MODEL,   ROW_LOCATION, ROW_POOL,
                                          ROW_BACKEND, ROW_ACCOUNT,  ROW_DEPLOYMENT};
    size_t begin = out->len;
    for (size_t t = 0; t < ARRAY_LEN(types); t++) {
        const struct table *table = &arm->tables[types[t]];
        for (size_t i = 0; i < table->n; i++) {
            const union any_row *x = (const union any_row *)(const void *)table->rows[i];
            bool is_out = types[t] == ROW_BACKEND      ? x->capacity.is_draining
                          : types[t] == ROW_ACCOUNT    ? x->account.deleted_ms != 0
                          : types[t] == ROW_DEPLOYMENT ? !world_is_alive(arm, &x->deployment)
                                                       : false;
            if (&x->row != without && (is_for_check || !is_out))
                put_document(arm, out, &x->row);
        }
    }
    end_documents(out, begin);
}

uint64_t arm_documents(const struct arm *arm, struct buf *out) {
    world_documents(arm, out, NULL, false);
    return arm->version;
}

/* An account that lives, and all that is deployed there. */
static void put_account_documents(const struct arm *arm, struct buf *out, struct str key) {
    const struct account_row *a = world_account(arm, key);
    const struct table *t = &arm->tables[ROW_DEPLOYMENT];
    char text[RESOURCE_ID_MAX + 32];
    const struct row *r;
    if (!a || a->deleted_ms != 0)
        return;
    put_document(arm, out, &a->row);
    int n = snprintf(text, sizeof text, "%.*s/deployments/", STR_ARG(key));
    assert(n > 0 && (size_t)n < sizeof text);
    struct str prefix = {text, (size_t)n};
    for (size_t at = table_seek(t, prefix); (r = table_next(t, prefix, &at));)
        put_document(arm, out, r);
}

uint64_t arm_news(const struct arm *arm, struct buf *out, struct arm_news *news) {
    *news = (struct arm_news){.is_all = arm->is_all_news};
    if (arm->is_all_news)
        return arm_documents(arm, out);
    news->accounts = arm->news;
    news->n_accounts = arm->n_news;
    size_t begin = out->len;
    for (size_t i = 0; i < arm->n_news; i++)
        put_account_documents(arm, out, arm->news[i]);
    end_documents(out, begin);
    return arm->version;
}

static enum status add(struct resources *set, struct str name, struct buf *text,
                       struct problem *why) {
    TRY(buf_status(text));
    size_t n = text->len;
    char *padding = buf_reserve(text, JSON_PADDING);
    if (!padding)
        return ST_TOO_LARGE;
    memset(padding, 0, JSON_PADDING);
    return resources_add(set, name, text->p, n, why);
}

/* What the operator has, without what is sold, for keeps. */
static enum status compile_capacity(struct arm *arm, struct snapshot **out, struct problem *why) {
    static const enum row_type types[] = {ROW_MODEL, ROW_LOCATION, ROW_POOL, ROW_BACKEND};
    struct resources *set = resources_new();
    struct buf text;
    buf_init(&text, DOCUMENTS_MAX);
    for (size_t t = 0; t < ARRAY_LEN(types); t++) {
        for (size_t i = 0; i < arm->tables[types[t]].n; i++)
            put_document(arm, &text, arm->tables[types[t]].rows[i]);
    }
    end_documents(&text, 0);
    enum status st = add(set, STR("operator"), &text, why);
    if (st == ST_OK)
        st = snapshot_build(set, NULL, &arm->hash, out, why);
    resources_free(set);
    buf_destroy(&text);
    return st;
}

/* All of it; good for keeps too, as long as nothing is sold. */
static enum status check_all(struct arm *arm, const struct row *changed, struct snapshot **out,
                             struct problem *why) {
    struct resources *set = resources_new();
    struct buf text, request;
    buf_init(&text, DOCUMENTS_MAX);
    buf_init(&request, ROW_MAX);
    world_documents(arm, &text, changed, true);
    enum status st = ST_OK;
    if (changed) {
        struct json_writer w;
        json_writer_init(&w, &request, 0);
        shape_write(arm, &w, changed, FORM_DATA_PLANE);
        st = add(set, STR("request"), &request, why);
    }
    if (st == ST_OK)
        st = add(set, STR("world"), &text, why);
    if (st == ST_OK)
        st = snapshot_build(set, NULL, &arm->hash, out, why);
    resources_free(set);
    buf_destroy(&text);
    buf_destroy(&request);
    return st;
}

static void tell_ledger(struct arm *arm) {
    size_t n_locations, n_pools;
    const struct location *l = snapshot_locations(arm->capacity, &n_locations);
    const struct pool *p = snapshot_pools(arm->capacity, &n_pools);
    for (size_t i = 0; i < n_locations; i++)
        ledger_location_put(arm->ledger, l[i].name, l[i].data_zone);
    for (size_t i = 0; i < n_pools; i++) {
        char key[RESOURCE_ID_MAX + 1];
        struct ledger_model *models = xcalloc(p[i].n_models + 1, sizeof *models);
        for (size_t j = 0; j < p[i].n_models; j++) {
            const struct pool_model *m = &p[i].models[j];
            models[j] = (struct ledger_model){m->format, m->name, m->version};
        }
        const struct row *r = find(arm, ROW_POOL, resource_id_key(p[i].id, key));
        assert(r);
        ledger_pool_put(arm->ledger,
                        &(struct ledger_pool){
                            .name = p[i].name,
                            .location = p[i].location->name,
                            .ptus = p[i].ptus,
                            .is_draining = ((const struct capacity *)(const void *)r)->is_draining,
                            .models = models,
                            .n_models = p[i].n_models,
                        });
        free(models);
    }
}

enum status world_compile(struct arm *arm, const struct row *changed, struct problem *why) {
    struct snapshot *all = NULL, *s = NULL;
    TRY(check_all(arm, changed, &all, why));
    if (arm->tables[ROW_ACCOUNT].n == 0) {
        s = all;
    } else {
        snapshot_unref(all);
        TRY(compile_capacity(arm, &s, why));
    }
    snapshot_unref(arm->capacity);
    arm->capacity = s;
    tell_ledger(arm);
    return ST_OK;
}

/*
 * Rows
 */
const char *const *arm_tables(void) {
    static const char *names[ROW_TYPE_COUNT + 1];
    for (int t = 0; t < ROW_TYPE_COUNT; t++)
        names[t] = row_table_name((enum row_type)t);
    return names;
}

bool arm_table_is_secret(struct str table) {
    return str_eq(table, str_of(row_table_name(ROW_ACCOUNT))) ||
           str_eq(table, str_of(row_table_name(ROW_BACKEND)));
}

void world_write_row(struct arm *arm, const struct row *r, struct arm_changes *c) {
    struct json_writer w;
    buf_clear(&arm->scratch);
    json_writer_init(&w, &arm->scratch, 0);
    shape_write(arm, &w, r, FORM_STORE);
    assert(buf_status(&arm->scratch) == ST_OK); /* requests are smaller, and bounded */
    changes_put(c, ARM_PUT, str_of(row_table_name(r->type)), r->key, buf_view(&arm->scratch));
}

enum status arm_load(struct arm *arm, struct str table, struct str key, struct str body,
                     struct problem *why) {
    enum row_type type;
    union any_row row;
    struct json_value v;
    struct arena memory;
    if (!row_table_of(table, &type))
        return problem_set(why, ST_BAD_REQUEST, table, "is no table of this version");
    buf_clear(&arm->padded);
    buf_str(&arm->padded, body);
    if (!buf_reserve_slack(&arm->padded, 0, JSON_PADDING))
        return problem_set(why, ST_TOO_LARGE, key, "a row of %zu bytes", body.n);
    TRY(json_parse(arm->doc, arm->padded.p, body.n, &v, why));
    arena_init(&memory, NULL, 0, ROW_MAX);
    enum status st = ST_OK;
    if (!shape_read(type, v, &memory, &row) || !str_eq(row.row.key, key)) {
        st = problem_set(why, ST_BAD_REQUEST, table, "the row %.*s is damaged",
                         (int)size_min(key.n, 300), key.p);
    } else {
        row_free(table_put(&arm->tables[type], row_new(&row.row)));
    }
    arena_destroy(&memory);
    return st;
}

static int older(const void *a, const void *b) {
    const struct operation *x = *(const struct operation *const *)a;
    const struct operation *y = *(const struct operation *const *)b;
    if (x->row.created.at_ms != y->row.created.at_ms)
        return x->row.created.at_ms < y->row.created.at_ms ? -1 : 1;
    return str_cmp(x->row.key, y->row.key);
}

/* Operations in order of age; what runs still waits for the first snapshot. */
static void loaded_operations(struct arm *arm) {
    struct table *t = &arm->tables[ROW_OPERATION];
    struct operation **sorted = xcalloc(t->n + 1, sizeof *sorted);
    for (size_t i = 0; i < t->n; i++)
        sorted[i] = (struct operation *)(void *)t->rows[i];
    qsort(sorted, t->n, sizeof *sorted, older);
    for (size_t i = 0; i < t->n; i++) {
        struct operation *o = sorted[i];
        o->by_age = (struct list){0};
        list_append(&arm->by_age, &o->by_age);
        if (!o->is_running)
            continue;
        arm->n_running++;
        for (int type = ROW_ACCOUNT; type <= ROW_DEPLOYMENT; type++) {
            struct row *r = find(arm, (enum row_type)type, o->target);
            if (r)
                r->state = ROW_UPDATING;
        }
    }
    free(sorted);
}

static enum status loaded_deployments(struct arm *arm, struct problem *why) {
    const struct table *t = &arm->tables[ROW_DEPLOYMENT];
    for (size_t i = 0; i < t->n; i++) {
        struct deployment_row *d = (struct deployment_row *)(void *)t->rows[i];
        const struct account_row *a = world_account(arm, d->account);
        struct ledger_ask ask;
        struct json_value grant;
        if (!a || !world_model(arm, d))
            return problem_set(why, ST_BAD_REQUEST, STR("deployments"), "the row %.*s has no %s",
                               (int)size_min(d->row.key.n, 300), d->row.key.p,
                               a ? "model" : "account");
        world_ledger_ask(arm, d, a, &ask);
        buf_clear(&arm->padded);
        buf_str(&arm->padded, d->grant.n ? d->grant : STR("null"));
        if (!buf_reserve_slack(&arm->padded, 0, JSON_PADDING))
            return ST_TOO_LARGE;
        TRY(json_parse(arm->doc, arm->padded.p, arm->padded.len, &grant, why));
        TRY(ledger_load(arm->ledger, &ask, grant, a->deleted_ms != 0, why));
        d->grant = STR(""); /* the ledger knows from here on */
    }
    return ST_OK;
}

static enum status loaded_assignments(struct arm *arm, struct problem *why) {
    const struct table *t = &arm->tables[ROW_ASSIGNMENT];
    for (size_t i = 0; i < t->n; i++) {
        struct assignment *s = (struct assignment *)(void *)t->rows[i];
        const struct access_role *role = access_role_find(s->role);
        if (!role ||
            access_assign(arm->access, &(struct access_assignment){s->row.id, s->principal, role,
                                                                   s->scope}) != ACCESS_DONE)
            return problem_set(why, ST_BAD_REQUEST, STR("roleAssignments"),
                               "the row %.*s is damaged", (int)size_min(s->row.key.n, 300),
                               s->row.key.p);
        s->role = role->id; /* static; the row said it with a path */
    }
    return ST_OK;
}

enum status arm_loaded(struct arm *arm, struct problem *why) {
    TRY(world_compile(arm, NULL, why));
    TRY(loaded_deployments(arm, why));
    const struct table *quotas = &arm->tables[ROW_QUOTA];
    for (size_t i = 0; i < quotas->n; i++) {
        const struct quota *q = (const struct quota *)(const void *)quotas->rows[i];
        struct ledger_quota_key key = {q->subscription, q->location, q->sku, q->format, q->model};
        ledger_quota_set(arm->ledger, &key, q->limit);
    }
    TRY(loaded_assignments(arm, why));
    loaded_operations(arm);
    return ledger_check(arm->ledger, why) ? ST_OK : ST_BAD_REQUEST;
}

/*
 * What happens by itself
 */
static void settle(struct arm *arm, enum row_type type, struct str key, uint64_t version) {
    struct row *r = find(arm, type, key);
    if (r && r->version <= version)
        r->state = ROW_SETTLED;
}

void arm_acting(struct arm *arm, uint64_t version, int64_t now_ms, struct arm_changes *changes) {
    for (int t = ROW_LOCATION; t <= ROW_MODEL; t++) {
        for (size_t i = 0; i < arm->tables[t].n; i++)
            settle(arm, (enum row_type)t, arm->tables[t].rows[i]->key, version);
    }
    if (version == arm->version)
        forget_news(arm);
    size_t n_left = arm->n_running;
    for (struct list *at = arm->by_age.prev; n_left > 0 && at != &arm->by_age; at = at->prev) {
        struct operation *o = CONTAINER_OF(at, struct operation, by_age);
        if (!o->is_running)
            continue;
        n_left--;
        if (o->row.version > version)
            continue;
        o->is_running = false;
        o->ended_ms = now_ms;
        arm->n_running--;
        settle(arm, ROW_ACCOUNT, o->target, version);
        settle(arm, ROW_DEPLOYMENT, o->target, version);
        world_write_row(arm, &o->row, changes);
    }
}

static void forget_operation(struct arm *arm, struct operation *o, struct arm_changes *c) {
    changes_put(c, ARM_DELETE, str_of(row_table_name(ROW_OPERATION)), o->row.key, STR(""));
    list_remove(&o->by_age);
    row_free(table_take(&arm->tables[ROW_OPERATION], o->row.key));
}

/* Long enough for any client to ask; never so many that they weigh. */
static int64_t forget_operations(struct arm *arm, int64_t now_ms, struct arm_changes *c) {
    LIST_EACH (&arm->by_age, at) {
        struct operation *o = CONTAINER_OF(at, struct operation, by_age);
        if (o->is_running)
            continue;
        bool is_old = now_ms - o->ended_ms >= operation_kept_ms;
        if (!is_old && arm->tables[ROW_OPERATION].n <= OPERATIONS_MAX)
            return o->ended_ms + operation_kept_ms;
        forget_operation(arm, o, c);
    }
    return INT64_MAX;
}

struct forget {
    struct arm *arm;
    struct arm_changes *changes;
};

static void forget_assignment(void *arg, struct str id) {
    struct forget *f = arg;
    char key[2 * RESOURCE_ID_MAX];
    if (id.n > sizeof key)
        return;
    struct row *r = table_take(&f->arm->tables[ROW_ASSIGNMENT], text_lower(id, key));
    if (r)
        changes_put(f->changes, ARM_DELETE, str_of(row_table_name(ROW_ASSIGNMENT)), r->key,
                    STR(""));
    row_free(r);
}

void world_forget_account(struct arm *arm, struct account_row *acc, struct arm_changes *c) {
    struct buf prefix;
    struct row *r;
    size_t at;
    buf_init(&prefix, RESOURCE_ID_MAX + 16);
    buf_str(&prefix, acc->row.key);
    buf_lit(&prefix, "/deployments/");
    struct table *t = &arm->tables[ROW_DEPLOYMENT];
    while (at = table_seek(t, buf_view(&prefix)), r = table_next(t, buf_view(&prefix), &at)) {
        ledger_release(arm->ledger, r->key);
        changes_put(c, ARM_DELETE, str_of(row_table_name(ROW_DEPLOYMENT)), r->key, STR(""));
        row_free(table_take(t, r->key));
    }
    buf_destroy(&prefix);
    access_forget(arm->access, acc->row.id, forget_assignment, &(struct forget){arm, c});
    changes_put(c, ARM_DELETE, str_of(row_table_name(ROW_ACCOUNT)), acc->row.key, STR(""));
    row_free(table_take(&arm->tables[ROW_ACCOUNT], acc->row.key));
}

int64_t arm_tick(struct arm *arm, int64_t now_ms, struct arm_changes *changes) {
    size_t n_changes = changes->n;
    int64_t next = forget_operations(arm, now_ms, changes);
    struct table *t = &arm->tables[ROW_ACCOUNT];
    for (size_t i = 0; i < t->n;) {
        struct account_row *a = (struct account_row *)(void *)t->rows[i];
        if (a->deleted_ms == 0 || a->purge_ms > now_ms) {
            if (a->deleted_ms)
                next = i64_min(next, a->purge_ms);
            i++;
            continue;
        }
        changes_audit(changes,
                      &(struct arm_audit){
                          .actor = STR("system"),
                          .action = STR("Microsoft.CognitiveServices/locations/resourceGroups/"
                                        "deletedAccounts/delete"),
                          .target = a->row.id,
                          .at_ms = now_ms});
        world_forget_account(arm, a, changes);
    }
    arm->n_changes += changes->n - n_changes;
    return next;
}

bool arm_may(const struct arm *arm, const struct arm_caller *caller, struct str action,
             bool is_data_action, struct str scope) {
    if (caller->is_operator)
        return true;
    return is_data_action ? access_allows_data(arm->access, caller->object_id, action, scope)
                          : access_allows(arm->access, caller->object_id, action, scope);
}
