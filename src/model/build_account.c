/* build_account.c - compiles what is sold: accounts with their keys, deployments with their rates. */
#include "model/build_private.h"

/* The backends for a model, reach and location: the same for all deployments that share them. */
struct serving {
    const struct backend **backends;
    size_t n;
    int64_t ptus; /* of their pools */
};

/* A label of a host name: letters, digits and hyphens; with a letter, so that it is no address. */
static bool is_subdomain(struct str s) {
    bool has_letter = false;
    for (size_t i = 0; i < s.n; i++) {
        bool is_letter = s.p[i] >= 'a' && s.p[i] <= 'z';
        bool is_digit = s.p[i] >= '0' && s.p[i] <= '9';
        if (!is_letter && !is_digit && (s.p[i] != '-' || i == 0 || i == s.n - 1))
            return false;
        has_letter = has_letter || is_letter;
    }
    return has_letter;
}

static void read_subdomain(struct build *b, struct fields *p, struct account *a) {
    struct str text;
    if (!fields_str(p, "customSubDomainName", 2, RESOURCE_NAME_MAX - 1, &text))
        return;
    char *lower = build_alloc(b, text.n, 1);
    a->subdomain = lower_str(text, lower);
    const struct account *other = snapshot_find(b->s, ACCOUNT_SUBDOMAIN, a->subdomain);
    if (!is_subdomain(a->subdomain))
        fields_refuse(p, "customSubDomainName",
                      "must be letters, digits and hyphens within, one letter at least");
    else if (other)
        fields_refuse(p, "customSubDomainName", "is taken by the account %.*s",
                      (int)size_min(other->id.n, 200), other->id.p);
    else
        snapshot_index_put(b->s, ACCOUNT_SUBDOMAIN, a);
}

static void read_keys(struct build *b, struct entry *e, struct fields *p, struct account *a) {
    static const struct secret_names names[2] = {{"key1", "key1File", "key1Env"},
                                                 {"key2", "key2File", "key2Env"}};
    struct fields f;
    if (!fields_object(p, "keys", &f)) {
        fields_warn(p, "keys", "is missing, so nobody can call this account");
        return;
    }
    for (int k = 0; k < 2; k++) {
        /* 16 bytes: what is shorter can be guessed. */
        a->keys[k] = entry_secret(b, e, &f, &names[k], 16, 256);
        if (e->r.status != ST_OK || a->keys[k].n == 0)
            continue;
        const struct account *other = snapshot_account_by_key(b->s, a->keys[k]);
        if (other)
            fields_refuse(&f, names[k].value,
                          "is also a key of %.*s; a key must belong to one account only, and once",
                          (int)size_min(other->id.n, 200), other->id.p);
        else
            snapshot_index_put(b->s, k == 0 ? ACCOUNT_KEY1 : ACCOUNT_KEY2, a);
    }
    fields_end(&f);
}

/* What ARM has and this server doesn't act on: refused unless it says what happens anyway. */
static void refuse_idle_account_properties(struct fields *p) {
    static const struct str enabled[] = {STR_INIT("Enabled")};
    static const char *const ignored[] = {"endpoint",
                                          "provisioningState",
                                          "internalId",
                                          "dateCreated",
                                          "capabilities",
                                          "endpoints",
                                          "isMigrated",
                                          "callRateLimit",
                                          "apiProperties",
                                          "deletionDate",
                                          "skuChangeInfo",
                                          "scheduledPurgeDate",
                                          "allowProjectManagement",
                                          "restore"};
    struct json_value v;
    int access;
    bool is_key_auth_off = false;
    fields_ignore(p, ignored, ARRAY_LEN(ignored));
    fields_enum(p, "publicNetworkAccess", enabled, ARRAY_LEN(enabled), &access);
    if (fields_bool(p, "disableLocalAuth", &is_key_auth_off) && is_key_auth_off)
        fields_refuse(p, "disableLocalAuth", "keys cannot be switched off; leave them out instead");
    if (fields_value(p, "networkAcls", &v))
        fields_refuse(p, "networkAcls", "does not act here; use the firewall, and leave it out");
    if (fields_value(p, "encryption", &v))
        fields_refuse(p, "encryption", "does not act here; leave it out");
}

/* An empty account in the lowest slot that is free; what is compiled from here on is its own. */
static struct account *add_account(struct build *b, const struct resource *res) {
    struct snapshot *s = b->s;
    size_t slot = b->first_free_slot;
    while (slot < s->n_slots && s->blocks[slot])
        slot++;
    if (slot == s->slots_capacity) {
        s->slots_capacity = slot ? 2 * slot : 16;
        s->blocks = xrealloc(s->blocks, s->slots_capacity * sizeof(struct account_block *));
    }
    s->n_slots = size_max(s->n_slots, slot + 1);
    s->blocks[slot] = account_block_new();
    s->n_accounts++;
    b->first_free_slot = slot + 1;
    b->memory = &s->blocks[slot]->memory;
    struct account *a = &s->blocks[slot]->account;
    *a = (struct account){.slot = slot,
                          .key = build_keep(b, res->key),
                          .id = build_keep(b, res->id_text),
                          .name = build_keep(b, resource_id_name(&res->id)),
                          .subscription = build_keep(b, res->id.name[0]),
                          .resource_group = build_keep(b, res->id.name[1])};
    snapshot_index_put(s, ACCOUNT_ID, a);
    return a;
}

enum status build_account(struct build *b, const struct resource *res) {
    static const struct str kinds[] = {STR_INIT("OpenAI"), STR_INIT("AIServices")};
    static const struct str skus[] = {STR_INIT("S0")};
    struct account *a = add_account(b, res);
    struct entry e;
    struct fields p, sku;
    int kind = 0, s0;
    entry_begin(b, &e, res);
    if (a->name.n < 2)
        fields_refuse(&e.top, "id", "an account's name must have 2 to 64 bytes");
    fields_enum(&e.top, "kind", kinds, ARRAY_LEN(kinds), &kind);
    a->kind = kinds[kind];
    a->location = entry_location(b, &e);
    static const char *const ignored[] = {"identity"};
    fields_ignore(&e.top, ignored, ARRAY_LEN(ignored));
    if (fields_object(&e.top, "sku", &sku)) {
        fields_enum(&sku, "name", skus, ARRAY_LEN(skus), &s0);
        fields_end(&sku);
    }
    if (fields_object(&e.top, "properties", &p)) {
        read_subdomain(b, &p, a);
        read_keys(b, &e, &p, a);
        refuse_idle_account_properties(&p);
        fields_end(&p);
    } else {
        fields_warn(&e.top, "properties", "has no keys, so nobody can call this account");
    }
    return entry_end(&e);
}

static void read_deployment_model(struct build *b, struct fields *p, struct deployment *d) {
    struct fields f;
    struct str format = STR("OpenAI"), name, version = STR("");
    if (!fields_object(p, "model", &f)) {
        fields_require(
            p, "model", false,
            "as in {\"format\": \"OpenAI\", \"name\": \"gpt-4o\", \"version\": \"2024-08-06\"}");
        return;
    }
    static const char *const ignored[] = {"callRateLimit"};
    fields_ignore(&f, ignored, ARRAY_LEN(ignored));
    fields_str(&f, "format", 1, RESOURCE_NAME_MAX, &format);
    fields_str(&f, "version", 0, RESOURCE_NAME_MAX, &version);
    if (fields_str(&f, "name", 1, RESOURCE_NAME_MAX, &name)) {
        d->model = catalog_find(&b->g->catalog, format, name, version);
        if (!d->model)
            fields_refuse(&f,
                          catalog_find(&b->g->catalog, format, name, STR("")) ? "version" : "name",
                          "the catalog has no model \"%.*s.%.*s.%.*s\"; add a resource with the id "
                          "/providers/Weir.Capacity/models/%.*s.%.*s.%.*s",
                          STR_ARG(format), STR_ARG(name), STR_ARG(version), STR_ARG(format),
                          STR_ARG(name), STR_ARG(version));
    } else {
        fields_require(&f, "name", false, "name a model of the catalog");
    }
    fields_end(&f);
}

static void refuse_sku(struct fields *f, const struct deployment *d) {
    struct buf list;
    buf_init(&list, 256);
    for (int s = 0; s < SKU_COUNT; s++) {
        if (d->model->sizes[s].is_offered)
            buf_printf(&list, "%s%s", list.len ? ", " : "", sku_names[s].p);
    }
    buf_char(&list, '\0');
    fields_refuse(f, "name", "%.*s %.*s is not sold as %s, only as %s", STR_ARG(d->model->name),
                  STR_ARG(d->model->version), sku_names[d->sku].p, list.p);
    buf_destroy(&list);
}

static void check_size(struct fields *f, const struct deployment *d) {
    const struct sku_sizes *sizes = &d->model->sizes[d->sku];
    int64_t over = d->capacity - sizes->minimum;
    if (over >= 0 && over % sizes->step == 0)
        return;
    int64_t below = over < 0 ? sizes->minimum : d->capacity - over % sizes->step;
    int64_t above = over < 0 ? sizes->minimum + sizes->step : below + sizes->step;
    fields_refuse(f, "capacity",
                  "%lld is no size of %.*s as %s: sizes begin at %lld in steps of %lld; the next "
                  "ones are %lld and %lld",
                  (long long)d->capacity, STR_ARG(d->model->name), sku_names[d->sku].p,
                  (long long)sizes->minimum, (long long)sizes->step, (long long)below,
                  (long long)above);
}

static void read_deployment_sku(struct fields *top, struct deployment *d) {
    struct fields f;
    int sku = 0;
    if (!fields_object(top, "sku", &f)) {
        fields_require(top, "sku", false, "as in {\"name\": \"GlobalStandard\", \"capacity\": 10}");
        return;
    }
    static const char *const ignored[] = {"tier", "size", "family"};
    fields_ignore(&f, ignored, ARRAY_LEN(ignored));
    bool has_name = fields_enum(&f, "name", sku_names, SKU_COUNT, &sku);
    bool has_capacity = fields_i64(&f, "capacity", 1, 100 * 1000, &d->capacity);
    fields_require(&f, "name", has_name, "name one of the six SKUs, as in GlobalStandard");
    fields_require(&f, "capacity", has_capacity, "give PTUs, or units of 1,000 tokens a minute");
    fields_end(&f);
    d->sku = (enum sku)sku;
    d->is_provisioned = sku_is_provisioned(d->sku);
    if (!has_name || !has_capacity || !d->model)
        return;
    if (!d->model->sizes[sku].is_offered)
        refuse_sku(&f, d);
    else
        check_size(&f, d);
    if (sku_reach(d->sku) == REACH_DATA_ZONE && d->account->location->data_zone.n == 0)
        fields_refuse(&f, "name",
                      "the location %.*s belongs to no data zone; give it properties.dataZone",
                      STR_ARG(d->account->location->name));
}

/* Ours: properties.weir, which clients of ARM pass over. */
static void read_own_properties(struct fields *p, struct deployment *d) {
    static const struct str modes[] = {STR_INIT("reach"), STR_INIT("strict")};
    struct fields f;
    int mode = 0;
    d->depth_window_ms = 60000; /* admission spec 1.7 */
    if (fields_object(p, "weir", &f)) {
        bool has_window = fields_i64(&f, "depthWindowMs", 1000, 3600000, &d->depth_window_ms);
        bool has_mode = fields_enum(&f, "standardMode", modes, ARRAY_LEN(modes), &mode);
        if (has_window && !d->is_provisioned)
            fields_refuse(&f, "depthWindowMs", "acts only on provisioned deployments");
        if (has_mode && d->is_provisioned)
            fields_refuse(&f, "standardMode", "acts only on standard deployments");
        fields_end(&f);
    }
    d->is_strict = mode == 1;
    if (!d->is_provisioned)
        d->depth_window_ms = 0;
}

static void refuse_idle_deployment_properties(struct fields *p) {
    /* Models are never exchanged behind the operator's back, so each of these is kept. */
    static const struct str upgrades[] = {STR_INIT("OnceNewDefaultVersionAvailable"),
                                          STR_INIT("OnceCurrentVersionExpired"),
                                          STR_INIT("NoAutoUpgrade")};
    static const struct str policies[] = {STR_INIT("Microsoft.DefaultV2"),
                                          STR_INIT("Microsoft.Default")};
    static const char *const ignored[] = {"provisioningState", "capabilities",
                                          "callRateLimit",     "rateLimits",
                                          "currentCapacity",   "dynamicThrottlingEnabled"};
    struct json_value v;
    struct str text;
    int any;
    fields_ignore(p, ignored, ARRAY_LEN(ignored));
    fields_enum(p, "versionUpgradeOption", upgrades, ARRAY_LEN(upgrades), &any);
    fields_enum(p, "raiPolicyName", policies, ARRAY_LEN(policies), &any);
    if (fields_str(p, "spilloverDeploymentName", 0, SIZE_MAX, &text) && text.n > 0)
        fields_refuse(p, "spilloverDeploymentName", "spillover does not act yet; leave it out");
    if (fields_value(p, "scaleSettings", &v))
        fields_refuse(p, "scaleSettings", "is the old form; use sku with name and capacity");
    if (fields_value(p, "capacitySettings", &v))
        fields_refuse(p, "capacitySettings", "does not act here; leave it out");
    if (fields_value(p, "parentDeploymentName", &v))
        fields_refuse(p, "parentDeploymentName", "does not act here; leave it out");
}

static bool is_in_reach(const struct location *from, enum reach reach, const struct location *to) {
    switch (reach) {
    case REACH_LOCATION:
        return from == to;
    case REACH_DATA_ZONE:
        return from->data_zone.n > 0 && str_ieq(from->data_zone, to->data_zone);
    case REACH_GLOBAL:
        return true;
    }
    return false;
}

static bool serves(const struct pool *pool, const struct model *m) {
    for (size_t i = 0; i < pool->n_models; i++) {
        const struct pool_model *pm = &pool->models[i];
        if (str_ieq(pm->format, m->format) && str_ieq(pm->name, m->name) &&
            (pm->version.n == 0 || str_ieq(pm->version, m->version)))
            return true;
    }
    return false;
}

static struct serving *make_serving(struct build *b, struct arena *memory,
                                    const struct deployment *d, enum reach reach) {
    struct arena *before = b->memory;
    b->memory = memory;
    struct serving *v = build_alloc(b, 1, sizeof *v);
    v->backends = build_alloc(b, b->g->n_backends, sizeof *v->backends);
    b->memory = before;
    for (size_t i = 0; i < b->g->n_pools; i++) {
        const struct pool *pool = &b->g->pools[i];
        if (!is_in_reach(d->account->location, reach, pool->location) || !serves(pool, d->model))
            continue;
        for (size_t j = 0; j < pool->n_backends; j++)
            v->backends[v->n++] = &pool->backends[j];
        v->ptus += pool->ptus;
    }
    return v;
}

/* What a build finds is kept with the ground. A patch, when others read the ground already, looks
 * there, and keeps what is not there with the account. */
static const struct serving *find_serving(struct build *b, const struct deployment *d) {
    struct {
        const struct model *model;
        uintptr_t reach, location; /* words, so that the key has no padding */
    } key = {d->model, sku_reach(d->sku), d->account->location->index};
    enum reach reach = sku_reach(d->sku);
    if (reach == REACH_GLOBAL)
        key.location = 0;
    struct str text = {(const char *)&key, sizeof key};
    struct serving *v = map_get(&b->g->servings, text);
    if (v)
        return v;
    if (b->is_patch)
        return make_serving(b, b->memory, d, reach);
    v = make_serving(b, &b->g->memory, d, reach);
    map_put(&b->g->servings, arena_str(&b->g->memory, text), v);
    return v;
}

static void set_rates(struct deployment *d) {
    const struct model *m = d->model;
    assert(m); /* a deployment without one was refused */
    d->input_weight_milli = 1000;
    d->cached_weight_milli = m->cached_weight_milli;
    d->output_weight_milli = m->output_weight_milli;
    if (d->is_provisioned) {
        d->rate_mt_per_min = d->capacity * m->input_tpm_per_ptu * 1000;
    } else {
        d->tpm = d->capacity * m->standard_tpm;
        d->rpm = d->capacity * m->standard_rpm;
    }
}

static void set_backends(struct build *b, struct entry *e, struct deployment *d) {
    const struct serving *v = find_serving(b, d);
    d->backends = v->backends;
    d->n_backends = v->n;
    if (v->n == 0)
        fields_warn(
            &e->top, "properties/model",
            "no pool within reach of %.*s serves %.*s %.*s, so calls will be answered with 503",
            STR_ARG(d->account->location->name), STR_ARG(d->model->name),
            STR_ARG(d->model->version));
    else if (d->is_provisioned && v->ptus < d->capacity)
        fields_warn(&e->top, "sku/capacity", "the pools that may serve it are worth %lld PTUs only",
                    (long long)v->ptus);
}

/* Keys are sorted, so the deployments of an account come one after the other. */
static size_t count_siblings(const struct build *b, const struct resource *res) {
    struct str parent = build_parent_key(res);
    size_t n = 1;
    while (b->at + n < b->n && str_eq(build_parent_key(b->items[b->at + n]), parent))
        n++;
    return n;
}

/* Its place behind its siblings, in memory of the account. */
static struct deployment *add_deployment(struct build *b, const struct resource *res,
                                         struct account_block *block) {
    struct account *a = &block->account;
    b->memory = &block->memory;
    if (a->n_deployments == 0)
        a->deployments = build_alloc(b, count_siblings(b, res), sizeof *a->deployments);
    struct deployment *d = (struct deployment *)(uintptr_t)&a->deployments[a->n_deployments];
    *d = (struct deployment){.index = a->n_deployments++,
                             .id = build_keep(b, res->id_text),
                             .name = build_keep(b, resource_id_name(&res->id)),
                             .account = a};
    b->s->n_deployments++;
    return d;
}

enum status build_deployment(struct build *b, const struct resource *res) {
    const struct account *account = snapshot_find(b->s, ACCOUNT_ID, build_parent_key(res));
    struct entry e;
    struct fields p;
    entry_begin(b, &e, res);
    if (!account || atomic_load(&b->s->blocks[account->slot]->n_refs) > 1) {
        fields_refuse(
            &e.top, "id",
            "there is no account \"%.*s\" in this subscription and resource group; add it",
            STR_ARG(res->id.name[2]));
        return e.r.status;
    }
    struct deployment *d = add_deployment(b, res, b->s->blocks[account->slot]);
    if (fields_object(&e.top, "properties", &p)) {
        read_deployment_model(b, &p, d);
        read_deployment_sku(&e.top, d);
        read_own_properties(&p, d);
        refuse_idle_deployment_properties(&p);
        fields_end(&p);
    } else {
        fields_require(&e.top, "properties", false, "it holds the model");
    }
    TRY(entry_end(&e));
    set_rates(d);
    set_backends(b, &e, d);
    if (d->n_backends > DEPLOYMENT_BACKENDS_MAX)
        fields_refuse(
            &e.top, "properties/model",
            "%zu backends within reach may serve it, of which a call can choose among %d; "
            "let some of the pools serve other models, or put servers behind one url",
            d->n_backends, DEPLOYMENT_BACKENDS_MAX);
    return e.r.status;
}
