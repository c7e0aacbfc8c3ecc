/* shape.c - rows as JSON: on the wire, in the store, for the data plane; one shape, more or less of it. */
#include "arm/arm_private.h"

#include <stdio.h>

void shape_key_str(struct json_writer *w, const char *key, struct str value) {
    json_key(w, str_of(key));
    json_str_value(w, value);
}

void shape_key_i64(struct json_writer *w, const char *key, int64_t value) {
    json_key(w, str_of(key));
    json_i64_value(w, value);
}

void shape_key_bool(struct json_writer *w, const char *key, bool value) {
    json_key(w, str_of(key));
    json_bool_value(w, value);
}

void shape_begin(struct json_writer *w, const char *key) {
    json_key(w, str_of(key));
    json_begin_object(w);
}

static void key_time(struct json_writer *w, const char *key, int64_t ms) {
    char text[TIME_TEXT];
    shape_key_str(w, key, time_text(ms, text));
}

static void key_str_if(struct json_writer *w, const char *key, struct str value) {
    if (value.n)
        shape_key_str(w, key, value);
}

/*
 * Writing
 */
static const struct str type_names[ROW_TYPE_COUNT] = {
    [ROW_SUBSCRIPTION] = STR_INIT("Microsoft.Resources/subscriptions"),
    [ROW_GROUP] = STR_INIT("Microsoft.Resources/resourceGroups"),
    [ROW_LOCATION] = STR_INIT("Weir.Capacity/locations"),
    [ROW_POOL] = STR_INIT("Weir.Capacity/pools"),
    [ROW_BACKEND] = STR_INIT("Weir.Capacity/pools/backends"),
    [ROW_MODEL] = STR_INIT("Weir.Capacity/models"),
    [ROW_QUOTA] = STR_INIT("Weir.Capacity/locations/quotas"),
    [ROW_ACCOUNT] = STR_INIT("Microsoft.CognitiveServices/accounts"),
    [ROW_DEPLOYMENT] = STR_INIT("Microsoft.CognitiveServices/accounts/deployments"),
    [ROW_ASSIGNMENT] = STR_INIT("Microsoft.Authorization/roleAssignments"),
    [ROW_OPERATION] = STR_INIT("Microsoft.CognitiveServices/locations/operations"),
    [ROW_QUOTA_REQUEST] = STR_INIT("Weir.Capacity/quotaRequests"),
};

struct str shape_type_name(enum row_type type) {
    assert((unsigned)type < ROW_TYPE_COUNT);
    return type_names[type];
}

static void write_stamps(struct json_writer *w, const struct row *r) {
    shape_begin(w, "systemData");
    key_str_if(w, "createdBy", r->created.by);
    shape_key_str(w, "createdByType", r->created.is_user ? STR("User") : STR("Application"));
    key_time(w, "createdAt", r->created.at_ms);
    key_str_if(w, "lastModifiedBy", r->changed.by);
    shape_key_str(w, "lastModifiedByType", r->changed.is_user ? STR("User") : STR("Application"));
    key_time(w, "lastModifiedAt", r->changed.at_ms);
    json_end_object(w);
}

static void write_head(struct json_writer *w, const struct row *r, struct str name,
                       enum form form) {
    json_begin_object(w);
    shape_key_str(w, "id", r->id);
    if (form == FORM_DATA_PLANE)
        return;
    shape_key_str(w, "name", name);
    shape_key_str(w, "type", type_names[r->type]);
    key_str_if(w, "etag", r->etag);
    if (r->tags.n) {
        json_key(w, STR("tags"));
        json_raw(w, r->tags);
    }
    write_stamps(w, r);
}

static struct str state_name(enum row_state s) {
    switch (s) {
    case ROW_CREATING:
        return STR("Creating");
    case ROW_UPDATING:
        return STR("Accepted");
    case ROW_SETTLED:
        break;
    }
    return STR("Succeeded");
}

static void write_subscription(const struct arm *arm, struct json_writer *w,
                               const struct subscription *s, enum form form) {
    write_head(w, &s->row, s->name, form);
    if (form == FORM_WIRE) {
        shape_key_str(w, "subscriptionId", s->name);
        shape_key_str(w, "tenantId", arm->settings.tenant_id);
        shape_key_str(w, "state", STR("Enabled"));
        shape_key_str(w, "authorizationSource", STR("RoleBased"));
    }
    if (form != FORM_DATA_PLANE)
        shape_key_str(w, "displayName", s->display_name);
    json_end_object(w);
}

static void write_group(struct json_writer *w, const struct group *g, enum form form) {
    write_head(w, &g->row, g->name, form);
    if (form != FORM_DATA_PLANE)
        shape_key_str(w, "location", g->location);
    if (form == FORM_WIRE) {
        shape_begin(w, "properties");
        shape_key_str(w, "provisioningState", STR("Succeeded"));
        json_end_object(w);
    }
    json_end_object(w);
}

/* The operator's own properties without the secret, and what we know beside them. */
static void write_shown_properties(const struct arm *arm, struct json_writer *w,
                                   const struct capacity *c) {
    static const char *const secret[] = {"apiKey", NULL};
    struct arena memory;
    struct json_value v;
    struct json_iter it;
    struct str key, text = STR("");
    struct json_value item;
    struct buf padded;
    struct json_doc *doc = arm->row_doc;
    arena_init(&memory, NULL, 0, (size_t)4 * ARM_BODY_MAX);
    buf_init(&padded, (size_t)2 * ARM_BODY_MAX);
    buf_str(&padded, c->properties);
    buf_reserve_slack(&padded, 0, JSON_PADDING);
    enum status st = json_parse(doc, padded.p, c->properties.n, &v, NULL);
    assert(st == ST_OK); /* we wrote it */
    json_begin_object(w);
    json_fields(&it, v);
    while (json_next_field(&it, &key, &item)) {
        if (str_eq(key, str_of(secret[0])) || !shape_copy(&memory, item, NULL, &text))
            continue;
        json_key(w, key);
        json_raw(w, text);
    }
    if (c->row.type == ROW_POOL) {
        struct ledger_pool_sum sum = ledger_pool(arm->ledger, c->name);
        shape_key_i64(w, "reservedPtus", sum.reserved);
        shape_key_i64(w, "freePtus", sum.free);
    }
    if (c->row.type == ROW_POOL || c->row.type == ROW_BACKEND)
        shape_key_bool(w, "isDraining", c->is_draining);
    health_write(arm, w, c);
    shape_key_str(w, "provisioningState", state_name(c->row.state));
    json_end_object(w);
    buf_destroy(&padded);
    arena_destroy(&memory);
}

static void write_capacity(const struct arm *arm, struct json_writer *w, const struct capacity *c,
                           enum form form) {
    write_head(w, &c->row, c->name, form);
    key_str_if(w, "location", c->location);
    if (form == FORM_STORE)
        shape_key_bool(w, "isDraining", c->is_draining);
    if (form == FORM_WIRE) {
        json_key(w, STR("properties"));
        write_shown_properties(arm, w, c);
    } else if (c->properties.n) {
        json_key(w, STR("properties"));
        json_raw(w, c->properties);
    }
    json_end_object(w);
}

static void write_quota(const struct arm *arm, struct json_writer *w, const struct quota *q,
                        enum form form) {
    write_head(w, &q->row, q->name, form);
    shape_begin(w, "properties");
    shape_key_i64(w, "limit", q->limit);
    if (form == FORM_WIRE) {
        struct ledger_quota_key key = {q->subscription, q->location, q->sku, q->format, q->model};
        struct ledger_quota sum = ledger_quota(arm->ledger, &key);
        shape_key_i64(w, "currentValue", sum.used);
        shape_key_i64(w, "heldValue", sum.held);
        shape_key_bool(w, "isDefault", sum.is_default);
    }
    if (form == FORM_STORE) {
        shape_key_str(w, "subscription", q->subscription);
        shape_key_str(w, "location", q->location);
    }
    shape_key_str(w, "skuName", sku_names[q->sku]);
    key_str_if(w, "modelFormat", q->format);
    key_str_if(w, "modelName", q->model);
    json_end_object(w);
    json_end_object(w);
}

/* What a client copies into its settings: the data plane's URL for this account. */
static void write_endpoint(const struct arm *arm, struct json_writer *w,
                           const struct account_row *a) {
    struct buf url;
    char lower[RESOURCE_NAME_MAX];
    struct str rest = arm->settings.data_endpoint;
    buf_init(&url, ARM_URL_MAX);
    for (ptrdiff_t at; (at = str_find(rest, STR("{account}"))) >= 0;) {
        buf_put(&url, rest.p, (size_t)at);
        buf_str(&url, text_lower(a->subdomain.n ? a->subdomain : a->name, lower));
        rest = str_skip(rest, (size_t)at + strlen("{account}"));
    }
    buf_str(&url, rest);
    shape_key_str(w, "endpoint", buf_view(&url));
    shape_begin(w, "endpoints");
    shape_key_str(w, "OpenAI Language Model Instance API", buf_view(&url));
    json_end_object(w);
    buf_destroy(&url);
}

static void write_account_properties(const struct arm *arm, struct json_writer *w,
                                     const struct account_row *a, enum form form) {
    key_str_if(w, "customSubDomainName", a->subdomain);
    if (form != FORM_WIRE && (a->keys[0].n || a->keys[1].n)) {
        shape_begin(w, "keys");
        key_str_if(w, "key1", a->keys[0]);
        key_str_if(w, "key2", a->keys[1]);
        json_end_object(w);
    }
    if (form == FORM_DATA_PLANE)
        return;
    shape_key_str(w, "internalId", a->internal_id);
    key_time(w, "dateCreated", a->row.created.at_ms);
    shape_key_str(w, "publicNetworkAccess", STR("Enabled"));
    if (a->deleted_ms) {
        key_time(w, "deletionDate", a->deleted_ms);
        key_time(w, "scheduledPurgeDate", a->purge_ms);
    }
    if (form != FORM_WIRE)
        return;
    write_endpoint(arm, w, a);
    shape_key_str(w, "provisioningState", state_name(a->row.state));
    json_key(w, STR("capabilities"));
    json_begin_array(w);
    json_end_array(w);
    shape_key_bool(w, "isMigrated", false);
    shape_begin(w, "callRateLimit");
    json_key(w, STR("rules"));
    json_begin_array(w);
    json_end_array(w);
    json_end_object(w);
}

static void write_account(const struct arm *arm, struct json_writer *w, const struct account_row *a,
                          enum form form) {
    if (form == FORM_WIRE && a->deleted_ms) {
        struct account_row shown = *a;
        char id[RESOURCE_ID_MAX + 128];
        int n = snprintf(id, sizeof id,
                         "/subscriptions/%.*s/providers/Microsoft.CognitiveServices/locations/"
                         "%.*s/resourceGroups/%.*s/deletedAccounts/%.*s",
                         STR_ARG(a->subscription), STR_ARG(a->location), STR_ARG(a->group),
                         STR_ARG(a->name));
        shown.row.id = (struct str){id, (size_t)n};
        write_head(w, &shown.row, a->name, form);
    } else {
        write_head(w, &a->row, a->name, form);
    }
    shape_key_str(w, "kind", a->kind);
    shape_key_str(w, "location", a->location);
    shape_begin(w, "sku");
    shape_key_str(w, "name", STR("S0"));
    json_end_object(w);
    if (a->identity.n && form != FORM_DATA_PLANE) {
        shape_begin(w, "identity");
        shape_key_str(w, "type", a->identity);
        json_end_object(w);
    }
    if (form == FORM_WIRE && !a->row.tags.n) {
        shape_begin(w, "tags");
        json_end_object(w);
    }
    shape_begin(w, "properties");
    write_account_properties(arm, w, a, form);
    json_end_object(w);
    json_end_object(w);
}

static void write_rate_limit(struct json_writer *w, struct str key, int64_t count) {
    json_begin_object(w);
    shape_key_str(w, "key", key);
    shape_key_i64(w, "renewalPeriod", 60);
    shape_key_i64(w, "count", count);
    json_end_object(w);
}

void shape_write_rate_limits(struct json_writer *w, const struct model *m, enum sku sku,
                             int64_t size) {
    if (sku_is_provisioned(sku))
        return;
    json_key(w, STR("rateLimits"));
    json_begin_array(w);
    write_rate_limit(w, STR("request"), size * m->standard_rpm);
    write_rate_limit(w, STR("token"), size * m->standard_tpm);
    json_end_array(w);
}

static void write_capabilities(struct json_writer *w, const struct model *m) {
    static const char *const names[MODEL_KIND_COUNT] = {
        [MODEL_CHAT] = "chatCompletion",
        [MODEL_COMPLETION] = "completion",
        [MODEL_EMBEDDING] = "embeddings",
    };
    shape_begin(w, "capabilities");
    shape_key_str(w, names[m->kind], STR("true"));
    if (m->max_context_tokens) {
        char number[24];
        int n = snprintf(number, sizeof number, "%lld", (long long)m->max_context_tokens);
        shape_key_str(w, "maxContextToken", (struct str){number, (size_t)n});
    }
    json_end_object(w);
}

static void write_model_name(struct json_writer *w, struct str format, struct str name,
                             struct str version) {
    shape_key_str(w, "format", format);
    shape_key_str(w, "name", name);
    shape_key_str(w, "version", version);
}

static void write_deployment_properties(const struct arm *arm, struct json_writer *w,
                                        const struct deployment_row *d, enum form form) {
    shape_begin(w, "model");
    write_model_name(w, d->format, d->model, d->version);
    json_end_object(w);
    if (d->depth_window_ms || d->is_strict) {
        shape_begin(w, "weir");
        if (d->depth_window_ms)
            shape_key_i64(w, "depthWindowMs", d->depth_window_ms);
        if (d->is_strict)
            shape_key_str(w, "standardMode", STR("strict"));
        json_end_object(w);
    }
    if (form == FORM_DATA_PLANE)
        return;
    shape_key_str(w, "versionUpgradeOption", d->upgrade);
    key_str_if(w, "raiPolicyName", d->policy);
    if (form != FORM_WIRE)
        return;
    shape_key_str(w, "provisioningState", state_name(d->row.state));
    shape_key_i64(w, "currentCapacity", d->size);
    const struct model *m = world_model(arm, d);
    if (!m)
        return;
    write_capabilities(w, m);
    shape_write_rate_limits(w, m, d->sku, d->size);
}

static void write_deployment(const struct arm *arm, struct json_writer *w,
                             const struct deployment_row *d, enum form form) {
    write_head(w, &d->row, d->name, form);
    shape_begin(w, "sku");
    shape_key_str(w, "name", sku_names[d->sku]);
    shape_key_i64(w, "capacity", d->size);
    json_end_object(w);
    shape_begin(w, "properties");
    write_deployment_properties(arm, w, d, form);
    json_end_object(w);
    if (form == FORM_STORE) {
        json_key(w, STR("grant"));
        ledger_write(arm->ledger, d->row.key, w);
    }
    json_end_object(w);
}

static void write_assignment(struct json_writer *w, const struct assignment *s) {
    char time[TIME_TEXT];
    json_begin_object(w);
    shape_key_str(w, "id", s->row.id);
    shape_key_str(w, "name", s->name);
    shape_key_str(w, "type", type_names[ROW_ASSIGNMENT]);
    shape_begin(w, "properties");
    json_key(w, STR("roleDefinitionId"));
    struct buf id;
    buf_init(&id, RESOURCE_ID_MAX);
    struct str rest = s->scope, first, second;
    if (str_cut(&rest, '/', &first) && str_cut(&rest, '/', &first) &&
        str_cut(&rest, '/', &second) && str_ieq(first, STR("subscriptions")))
        buf_printf(&id, "/subscriptions/%.*s", STR_ARG(second));
    buf_printf(&id, "/providers/Microsoft.Authorization/roleDefinitions/%.*s", STR_ARG(s->role));
    json_str_value(w, buf_view(&id));
    buf_destroy(&id);
    shape_key_str(w, "principalId", s->principal);
    shape_key_str(w, "principalType", s->principal_type);
    shape_key_str(w, "scope", s->scope);
    shape_key_str(w, "createdOn", time_text(s->row.created.at_ms, time));
    shape_key_str(w, "updatedOn", time_text(s->row.changed.at_ms, time));
    shape_key_str(w, "createdBy", s->row.created.by);
    shape_key_str(w, "updatedBy", s->row.changed.by);
    json_end_object(w);
    json_end_object(w);
}

static void write_operation(struct json_writer *w, const struct operation *o, enum form form) {
    json_begin_object(w);
    shape_key_str(w, "id", o->row.id);
    shape_key_str(w, "name", o->name);
    shape_key_str(w, "status", o->is_running ? STR("Running") : STR("Succeeded"));
    key_time(w, "startTime", o->row.created.at_ms);
    if (!o->is_running)
        key_time(w, "endTime", o->ended_ms);
    if (form == FORM_STORE) {
        shape_key_str(w, "createdBy", o->row.created.by);
        shape_key_str(w, "subscription", o->subscription);
        shape_key_str(w, "location", o->location);
        shape_key_str(w, "target", o->target);
    }
    json_end_object(w);
}

static void write_quota_request(const struct arm *arm, struct json_writer *w,
                                const struct quota_request *q, enum form form) {
    write_head(w, &q->row, q->name, form);
    shape_begin(w, "properties");
    shape_key_str(w, "location", q->location);
    shape_key_str(w, "quotaName", q->quota_name);
    shape_key_str(w, "skuName", sku_names[q->sku]);
    key_str_if(w, "modelFormat", q->format);
    key_str_if(w, "modelName", q->model);
    shape_key_i64(w, "limit", q->limit);
    shape_key_str(w, "status", q->status);
    key_str_if(w, "reason", q->reason);
    key_str_if(w, "webhook", q->webhook);
    key_str_if(w, "answer", q->answer);
    if (q->decided_ms)
        key_time(w, "decidedAt", q->decided_ms);
    if (form == FORM_WIRE) { /* beside the wish, what is there now */
        struct ledger_quota_key key = {q->subscription, q->location, q->sku, q->format, q->model};
        struct ledger_quota sum = ledger_quota(arm->ledger, &key);
        shape_key_i64(w, "currentLimit", sum.limit);
        shape_key_i64(w, "currentValue", sum.used);
    }
    if (form == FORM_STORE)
        shape_key_str(w, "subscription", q->subscription);
    json_end_object(w);
    json_end_object(w);
}

void shape_write(const struct arm *arm, struct json_writer *w, const struct row *r,
                 enum form form) {
    const union any_row *x = (const union any_row *)(const void *)r;
    switch (r->type) {
    case ROW_SUBSCRIPTION:
        write_subscription(arm, w, &x->subscription, form);
        break;
    case ROW_GROUP:
        write_group(w, &x->group, form);
        break;
    case ROW_LOCATION:
    case ROW_POOL:
    case ROW_BACKEND:
    case ROW_MODEL:
        write_capacity(arm, w, &x->capacity, form);
        break;
    case ROW_QUOTA:
        write_quota(arm, w, &x->quota, form);
        break;
    case ROW_ACCOUNT:
        write_account(arm, w, &x->account, form);
        break;
    case ROW_DEPLOYMENT:
        write_deployment(arm, w, &x->deployment, form);
        break;
    case ROW_ASSIGNMENT:
        write_assignment(w, &x->assignment);
        break;
    case ROW_OPERATION:
        write_operation(w, &x->operation, form);
        break;
    case ROW_QUOTA_REQUEST:
        write_quota_request(arm, w, &x->quota_request, form);
        break;
    case ROW_TYPE_COUNT:
        break;
    }
}

/* The catalog's entry as lists of models show it; the caller begins and ends the object. */
void shape_write_model(const struct arm *arm, struct json_writer *w, const struct model *m) {
    write_model_name(w, m->format, m->name, m->version);
    int64_t largest = 0;
    for (int s = 0; s < SKU_COUNT; s++)
        largest = i64_max(largest, offers_sizes(arm->offers, m, (enum sku)s).maximum);
    shape_key_i64(w, "maxCapacity", largest);
    shape_key_str(w, "lifecycleStatus", STR("GenerallyAvailable"));
    shape_key_bool(w, "isDefaultVersion",
                   catalog_find(snapshot_catalog(arm->capacity), m->format, m->name, STR("")) == m);
    write_capabilities(w, m);
    json_key(w, STR("skus"));
    json_begin_array(w);
    for (int s = 0; s < SKU_COUNT; s++) {
        struct offer_sizes sizes = offers_sizes(arm->offers, m, (enum sku)s);
        char name[OFFERS_NAME_MAX];
        if (!sizes.is_offered)
            continue;
        json_begin_object(w);
        shape_key_str(w, "name", sku_names[s]);
        shape_key_str(w, "usageName", offers_quota_name(m->format, m->name, (enum sku)s, name));
        shape_begin(w, "capacity");
        shape_key_i64(w, "minimum", sizes.minimum);
        shape_key_i64(w, "maximum", sizes.maximum);
        shape_key_i64(w, "step", sizes.step);
        shape_key_i64(w, "default", sizes.minimum);
        json_end_object(w);
        shape_write_rate_limits(w, m, (enum sku)s, 1);
        json_end_object(w);
    }
    json_end_array(w);
}
