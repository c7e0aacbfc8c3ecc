/* deployments.c - a model under a name with a size: judged by form, quota and capacity, then granted. */
#include "arm/arm_private.h"

#include <stdio.h>

enum { PLACES_MAX = 12, ACCOUNTS_MAX = 10, SIZES_MAX = 100 };

static struct str deployment_key(struct ask *a, const struct account_row *acc) {
    return ask_lower(
        a, ask_format(a, "%.*s/deployments/%.*s", STR_ARG(acc->row.id), STR_ARG(a->name[3])));
}

static struct deployment_row *find_deployment(struct ask *a, const struct account_row *acc) {
    return (struct deployment_row *)(void *)table_find(&a->arm->tables[ROW_DEPLOYMENT],
                                                       deployment_key(a, acc));
}

static void not_found(struct ask *a) {
    ask_fault(a, FAULT_DEPLOYMENT_NOT_FOUND, "",
              "The deployment '%.*s' of account '%.*s' was not found.", STR_ARG(a->name[3]),
              STR_ARG(a->name[2]));
}

void deployments_get(struct ask *a) {
    const struct account_row *acc = accounts_find(a);
    const struct deployment_row *d = acc ? find_deployment(a, acc) : NULL;
    if (acc && !d)
        not_found(a);
    else if (d && ask_preconditions(a, &d->row))
        ask_answer_row(a, 200, &d->row);
}

static bool is_shown(struct ask *a, const struct row *r) {
    return ask_may(a, a->route->action, r->id);
}

void deployments_list(struct ask *a) {
    const struct account_row *acc = accounts_find(a);
    if (acc)
        ask_answer_rows(a, ROW_DEPLOYMENT,
                        ask_format(a, "%.*s/deployments/", STR_ARG(acc->row.key)), is_shown);
}

/*
 * Reading
 */

/* Since 2023-05-01 a size is a SKU; before, it was properties.scaleSettings (ARM contract, section 4). */
static bool is_old_version(const struct ask *a) {
    return str_cmp(a->api_version, STR("2023-05-01")) < 0;
}

static bool read_scale_settings(struct ask *a, struct fields *p, struct deployment_row *d) {
    static const struct str types[] = {STR_INIT("Standard"), STR_INIT("Manual")};
    struct fields scale;
    int any;
    if (!fields_object(p, "scaleSettings", &scale))
        return true;
    if (!is_old_version(a))
        return ask_fault(a, FAULT_INVALID_PROPERTIES, "properties.scaleSettings",
                         "The scale settings are deprecated since api-version 2023-05-01. Please "
                         "use 'sku' with name and capacity instead.");
    fields_enum(&scale, "scaleType", types, ARRAY_LEN(types), &any);
    d->sku = SKU_STANDARD;
    fields_i64_or_text(&scale, "capacity", INT64_MIN, INT64_MAX, &d->size);
    return true;
}

static void read_sku(struct fields *f, struct deployment_row *d, bool is_new) {
    struct fields sku;
    int name = (int)d->sku;
    int64_t size = 0;
    if (!fields_object(f, "sku", &sku))
        return;
    bool has_name = fields_enum(&sku, "name", sku_names, SKU_COUNT, &name);
    if (is_new)
        fields_require(&sku, "name", has_name, "one of the six SKUs, as in GlobalStandard");
    /* As a text too: so says the command line of az (2.91), and the service takes it. */
    if (fields_i64_or_text(&sku, "capacity", INT64_MIN, INT64_MAX, &size))
        d->size = size;
    else if (name != (int)d->sku)
        d->size = sku_is_provisioned((enum sku)name) ? 0 : 1;
    d->sku = (enum sku)name;
}

static void read_model(struct fields *p, struct deployment_row *d, bool is_new) {
    struct fields model;
    if (!fields_object(p, "model", &model)) {
        if (is_new)
            fields_require(
                p, "model", false,
                "as in {\"format\": \"OpenAI\", \"name\": \"gpt-4o\", \"version\": \"2024-08-06\"}");
        return;
    }
    struct str name = STR("");
    bool has_name = fields_str(&model, "name", 1, RESOURCE_NAME_MAX, &name);
    fields_require(&model, "name", has_name, "name a model of the catalog");
    /* Without a version the newest is meant, but for the model that is there already. */
    if (is_new || !str_ieq(name, d->model))
        d->version = STR("");
    d->model = name;
    if (!fields_str(&model, "format", 1, RESOURCE_NAME_MAX, &d->format) && d->format.n == 0)
        d->format = STR("OpenAI");
    fields_str(&model, "version", 0, RESOURCE_NAME_MAX, &d->version);
}

static void read_own_properties(struct fields *p, struct deployment_row *d) {
    static const struct str modes[] = {STR_INIT("reach"), STR_INIT("strict")};
    struct fields f;
    int mode = 0;
    if (!fields_object(p, "weir", &f))
        return;
    bool is_provisioned = sku_is_provisioned(d->sku);
    bool has_window = fields_i64(&f, "depthWindowMs", 1000, 3600000, &d->depth_window_ms);
    bool has_mode = fields_enum(&f, "standardMode", modes, ARRAY_LEN(modes), &mode);
    if (has_window && !is_provisioned)
        fields_refuse(&f, "depthWindowMs", "acts only on provisioned deployments");
    if (has_mode && is_provisioned)
        fields_refuse(&f, "standardMode", "acts only on standard deployments");
    if (has_mode)
        d->is_strict = mode == 1;
}

static void read_policies(struct fields *p, struct deployment_row *d) {
    static const struct str upgrades[] = {STR_INIT("OnceNewDefaultVersionAvailable"),
                                          STR_INIT("OnceCurrentVersionExpired"),
                                          STR_INIT("NoAutoUpgrade")};
    static const struct str policies[] = {STR_INIT("Microsoft.DefaultV2"),
                                          STR_INIT("Microsoft.Default")};
    static const char *const idle[] = {"capacitySettings", "parentDeploymentName"};
    struct str text = STR("");
    struct json_value v;
    int i;
    if (fields_enum(p, "versionUpgradeOption", upgrades, ARRAY_LEN(upgrades), &i))
        d->upgrade = upgrades[i];
    if (fields_enum(p, "raiPolicyName", policies, ARRAY_LEN(policies), &i))
        d->policy = policies[i];
    if (fields_str(p, "spilloverDeploymentName", 0, 256, &text) && text.n)
        fields_refuse(p, "spilloverDeploymentName", "spillover does not act yet; leave it out");
    for (size_t k = 0; k < ARRAY_LEN(idle); k++) {
        if (fields_value(p, idle[k], &v))
            fields_refuse(p, idle[k], "does not act here; leave it out");
    }
}

/* The body over `d`, which holds what it does not mention. */
static bool read_deployment(struct ask *a, const struct deployment_row *old,
                            struct deployment_row *d) {
    struct reader r;
    struct problem why;
    struct fields f, p;
    struct json_value v;
    bool is_put = a->req->method == ARM_PUT_METHOD;
    if (!ask_needs_body(a, &f, &r, &why))
        return false;
    if (is_put) {
        d->row.tags = STR("");
        d->depth_window_ms = 0;
        d->is_strict = false;
    }
    read_sku(&f, d, !old);
    ask_tags(a, &f, &d->row.tags);
    if (fields_object(&f, "properties", &p)) {
        read_model(&p, d, !old);
        if (!read_scale_settings(a, &p, d))
            return false;
        read_own_properties(&p, d);
        read_policies(&p, d);
    } else if (!old && !fields_value(&f, "properties", &v)) {
        fields_require(&f, "properties", false, "it holds the model");
    }
    if (sku_is_provisioned(d->sku))
        d->is_strict = false;
    else
        d->depth_window_ms = 0;
    return ask_reader_ok(a, &r, FAULT_INVALID_PROPERTIES);
}

/* Writes the model's names as the catalog spells them; the version that was meant by none. */
static bool find_model(struct ask *a, struct deployment_row *d) {
    const struct model *m = world_model(a->arm, d);
    if (!m)
        return ask_fault(a, FAULT_MODEL_NOT_SUPPORTED, "properties.model",
                         "The model 'Format: %.*s, Name: %.*s, Version: %.*s' of account "
                         "deployment is not supported.",
                         STR_ARG(d->format), STR_ARG(d->model), STR_ARG(d->version));
    d->format = m->format;
    d->model = m->name;
    d->version = m->version;
    return true;
}

/*
 * Refusals of the ledger
 */
static void refuse_size(struct ask *a, const struct deployment_row *d,
                        const struct ledger_answer *ans) {
    const struct offer_sizes *s = &ans->sizes;
    if (d->size < 1 || d->size > s->maximum) {
        ask_fault(
            a, FAULT_INVALID_CAPACITY, "sku.capacity",
            "The specified capacity '%lld' of account deployment should be greater than 0 and "
            "no more than %lld.",
            (long long)d->size, (long long)s->maximum);
        return;
    }
    int64_t below = offer_size_below(s, d->size);
    ask_fault(
        a, FAULT_INVALID_CAPACITY, "sku.capacity",
        "The specified capacity '%lld' of account deployment is not valid for SKU '%s' of "
        "model '%.*s': the minimum is %lld, the step %lld, the maximum %lld. The nearest "
        "valid sizes are %lld and %lld.",
        (long long)d->size, sku_names[d->sku].p, STR_ARG(d->model), (long long)s->minimum,
        (long long)s->step, (long long)s->maximum, (long long)(below ? below : s->minimum),
        (long long)(below ? offer_size_above(s, d->size) : offer_size_above(s, s->minimum + 1)));
}

static void refuse_quota(struct ask *a, const struct deployment_row *d,
                         const struct ledger_answer *ans) {
    char title[OFFERS_NAME_MAX];
    struct str name = offers_quota_title(d->model, d->sku, title);
    ask_fault(a, FAULT_INSUFFICIENT_QUOTA, "sku.capacity",
              "This operation require %lld new capacity in quota %.*s, which is bigger than the "
              "current available capacity %lld. The current quota usage is %lld and the quota "
              "limit is %lld for quota %.*s.",
              (long long)ans->quota_needed, STR_ARG(name), (long long)ans->quota.left,
              (long long)ans->quota.used, (long long)ans->quota.limit, STR_ARG(name));
}

/* Accounts of the subscription in that place which the caller may deploy to. */
static void write_accounts(struct ask *a, struct json_writer *w, const struct account_row *own,
                           struct str location) {
    struct str prefix =
        ask_lower(a, ask_format(a, "/subscriptions/%.*s/", STR_ARG(own->subscription)));
    const struct table *t = &a->arm->tables[ROW_ACCOUNT];
    const struct row *r;
    int n = 0;
    json_key(w, STR("accounts"));
    json_begin_array(w);
    for (size_t at = table_seek(t, prefix); n < ACCOUNTS_MAX && (r = table_next(t, prefix, &at));) {
        const struct account_row *acc = (const struct account_row *)(const void *)r;
        if (acc->deleted_ms || !str_ieq(acc->location, location) ||
            !ask_may(a, a->route->action, r->id))
            continue;
        json_str_value(w, r->id);
        n++;
    }
    json_end_array(w);
}

static void write_places(struct ask *a, struct json_writer *w, const struct account_row *acc,
                         const struct ledger_place *places, size_t n) {
    json_begin_array(w);
    for (size_t i = 0; i < n; i++) {
        json_begin_object(w);
        shape_key_str(w, "location", places[i].location);
        shape_key_str(w, "skuName", sku_names[places[i].sku]);
        shape_key_i64(w, "capacity", places[i].largest);
        shape_key_bool(w, "isEnough", places[i].is_enough);
        write_accounts(a, w, acc, places[i].location);
        json_end_object(w);
    }
    json_end_array(w);
}

static struct str capacity_details(struct ask *a, const struct ledger_place *places, size_t n) {
    struct buf text;
    struct json_writer w;
    buf_init(&text, ARM_BODY_MAX);
    json_writer_init(&w, &text, 0);
    json_begin_array(&w);
    for (size_t i = 0; i < n; i++) {
        json_begin_object(&w);
        shape_key_str(&w, "code", STR("AlternativeCapacity"));
        shape_key_str(&w, "target", places[i].location);
        shape_key_str(&w, "message",
                      ask_format(a, "Up to %lld of SKU '%s' can be deployed in location '%.*s'.",
                                 (long long)places[i].largest, sku_names[places[i].sku].p,
                                 STR_ARG(places[i].location)));
        json_end_object(&w);
    }
    json_end_array(&w);
    struct str out = arena_str(a->memory, buf_view(&text));
    buf_destroy(&text);
    return out;
}

static struct str capacity_info(struct ask *a, const struct deployment_row *d,
                                const struct account_row *acc, const struct ledger_answer *ans,
                                const struct ledger_place *places, size_t n) {
    struct buf text;
    struct json_writer w;
    buf_init(&text, ARM_BODY_MAX);
    json_writer_init(&w, &text, 0);
    json_begin_array(&w);
    json_begin_object(&w);
    shape_key_str(&w, "type", STR("CapacityAlternatives"));
    shape_begin(&w, "info");
    shape_key_str(&w, "location", acc->location);
    shape_key_str(&w, "skuName", sku_names[d->sku]);
    shape_key_i64(&w, "requested", d->size);
    shape_key_i64(&w, "quotaAllows", ans->largest_by_quota);
    shape_key_i64(&w, "deployableNow", ans->largest);
    shape_key_i64(&w, "capacityLeft", ans->capacity_left);
    json_key(&w, STR("alternatives"));
    write_places(a, &w, acc, places, n);
    json_end_object(&w);
    json_end_object(&w);
    json_end_array(&w);
    struct str out = arena_str(a->memory, buf_view(&text));
    buf_destroy(&text);
    return out;
}

/* What the deployment dialogue of the service shows under "see other regions", as data. */
static void refuse_capacity(struct ask *a, const struct deployment_row *d,
                            const struct account_row *acc, const struct ledger_ask *ask,
                            const struct ledger_answer *ans) {
    struct ledger_place places[PLACES_MAX];
    size_t n = ledger_elsewhere(a->arm->ledger, ask, places, PLACES_MAX);
    struct fault_extra extra = {.target = STR("sku.capacity"),
                                .details = capacity_details(a, places, n),
                                .additional_info = capacity_info(a, d, acc, ans, places, n)};
    fault_set(
        a->out, FAULT_INSUFFICIENT_CAPACITY, &extra,
        "The quota allows a deployment of %lld PTUs of SKU '%s' in location '%.*s', but there "
        "is not enough capacity for %lld PTUs of model '%.*s' at the moment: up to %lld PTUs "
        "can be deployed here now. %s",
        (long long)ans->largest_by_quota, sku_names[d->sku].p, STR_ARG(acc->location),
        (long long)d->size, STR_ARG(d->model), (long long)ans->largest,
        n ? "See details for other locations, accounts and sizes that would fit."
          : "No other location has capacity either.");
}

static void refuse(struct ask *a, enum ledger_outcome outcome, const struct deployment_row *d,
                   const struct account_row *acc, const struct ledger_ask *ask,
                   const struct ledger_answer *ans) {
    switch (outcome) {
    case LEDGER_NOT_OFFERED:
        ask_fault(a, FAULT_INVALID_PROPERTIES, "sku.name",
                  "The specified SKU '%s' for model '%.*s %.*s' is not supported in this region "
                  "'%.*s'.",
                  sku_names[d->sku].p, STR_ARG(d->model), STR_ARG(d->version),
                  STR_ARG(acc->location));
        break;
    case LEDGER_BAD_SIZE:
        refuse_size(a, d, ans);
        break;
    case LEDGER_NO_QUOTA:
        refuse_quota(a, d, ans);
        break;
    case LEDGER_NO_CAPACITY:
        refuse_capacity(a, d, acc, ask, ans);
        break;
    case LEDGER_HELD:
    case LEDGER_DONE:
    case LEDGER_OUTCOME_COUNT:
        ask_fault(a, FAULT_CONFLICT, "", "The deployment belongs to a deleted account.");
        break;
    }
}

/*
 * Granting
 */
static int64_t count_standard(const struct arm *arm, struct ask *a, const struct account_row *acc,
                              struct str but) {
    struct str prefix = ask_format(a, "%.*s/deployments/", STR_ARG(acc->row.key));
    const struct table *t = &arm->tables[ROW_DEPLOYMENT];
    const struct row *r;
    int64_t n = 0;
    for (size_t at = table_seek(t, prefix); (r = table_next(t, prefix, &at));)
        n += !str_eq(r->key, but) &&
             !sku_is_provisioned(((const struct deployment_row *)(const void *)r)->sku);
    return n;
}

/* The limit that an import raised becomes a quota that the operator set. */
static void keep_limit(struct ask *a, const struct deployment_row *d, const struct account_row *acc,
                       int64_t limit) {
    char name[OFFERS_NAME_MAX];
    bool is_provisioned = sku_is_provisioned(d->sku);
    struct quota q = {.row = {.type = ROW_QUOTA, .created = ask_stamp(a), .changed = ask_stamp(a)},
                      .subscription = acc->subscription,
                      .location = acc->location,
                      .name = offers_quota_name(d->format, d->model, d->sku, name),
                      .format = is_provisioned ? STR("") : d->format,
                      .model = is_provisioned ? STR("") : d->model,
                      .sku = d->sku,
                      .limit = limit};
    q.row.id =
        ask_format(a, "/subscriptions/%.*s/providers/Weir.Capacity/locations/%.*s/quotas/%.*s",
                   STR_ARG(q.subscription), STR_ARG(q.location), STR_ARG(q.name));
    q.row.key = ask_lower(a, q.row.id);
    q.row.etag = STR("\"imported\"");
    ask_put(a, &q.row);
}

static bool import(struct ask *a, const struct deployment_row *d, const struct account_row *acc,
                   const struct ledger_ask *ask, const struct ledger_answer *ans) {
    struct ledger_import got;
    const struct sku_sizes *sizes = &ask->model->sizes[d->sku];
    if (d->size < sizes->minimum || (d->size - sizes->minimum) % sizes->step != 0 ||
        d->size > 100 * 1000) {
        refuse_size(a, d, ans);
        return false;
    }
    ledger_import(a->arm->ledger, ask, &got);
    if (got.limit_after != got.limit_before)
        keep_limit(a, d, acc, got.limit_after);
    return true;
}

/* Quota and capacity for `d`, or the refusal. */
static bool grant(struct ask *a, const struct deployment_row *d, const struct account_row *acc) {
    struct ledger_ask ask;
    struct ledger_answer ans;
    world_ledger_ask(a->arm, d, acc, &ask);
    int64_t limit = a->arm->settings.standard_deployments_per_account;
    bool is_import = a->req->is_import && a->req->caller.is_operator;
    if (!sku_is_provisioned(d->sku) && !is_import &&
        count_standard(a->arm, a, acc, d->row.key) >= limit)
        return ask_fault(a, FAULT_TOO_MANY_DEPLOYMENTS, "",
                         "The account '%.*s' has %lld standard deployments already, which is the "
                         "limit.",
                         STR_ARG(acc->name), (long long)limit);
    enum ledger_outcome outcome = is_import ? ledger_judge(a->arm->ledger, &ask, &ans)
                                            : ledger_take(a->arm->ledger, &ask, &ans);
    if (is_import && outcome != LEDGER_NOT_OFFERED && outcome != LEDGER_HELD)
        return import(a, d, acc, &ask, &ans);
    if (outcome == LEDGER_DONE)
        return true;
    refuse(a, outcome, d, acc, &ask, &ans);
    return false;
}

static bool is_same(const struct deployment_row *x, const struct deployment_row *y) {
    return x->sku == y->sku && x->size == y->size && str_eq(x->format, y->format) &&
           str_eq(x->model, y->model) && str_eq(x->version, y->version) &&
           x->depth_window_ms == y->depth_window_ms && x->is_strict == y->is_strict;
}

static void put_deployment(struct ask *a, const struct account_row *acc,
                           const struct deployment_row *old, struct deployment_row *d) {
    if (!read_deployment(a, old, d) || !find_model(a, d))
        return;
    bool moves = !old || !is_same(old, d);
    if (!moves && str_eq(old->row.tags, d->row.tags) && str_eq(old->upgrade, d->upgrade) &&
        str_eq(old->policy, d->policy)) {
        ask_answer_row(a, 200, &old->row);
        return;
    }
    if (moves && !grant(a, d, acc))
        return;
    if (moves) {
        d->row.version = ask_moves_account(a, acc->row.key);
        d->row.state = old ? ROW_UPDATING : ROW_CREATING;
    }
    int status = old ? 200 : 201;
    d->row.etag = ask_etag(a);
    d->row.changed = ask_stamp(a);
    const struct row *now = ask_put(a, &d->row);
    if (moves)
        ask_begin_operation(a, acc->subscription, acc->location, now->key, true);
    ask_answer_row(a, status, now);
}

void deployments_put(struct ask *a) {
    const struct account_row *acc = accounts_find(a);
    if (!acc)
        return;
    const struct deployment_row *old = find_deployment(a, acc);
    if (!ask_preconditions(a, old ? &old->row : NULL))
        return;
    struct deployment_row d = {
        .row = {.type = ROW_DEPLOYMENT,
                .created = ask_stamp(a),
                .id = ask_format(a, "%.*s/deployments/%.*s", STR_ARG(acc->row.id),
                                 STR_ARG(a->name[3])),
                .key = deployment_key(a, acc)},
        .name = a->name[3],
        .account = acc->row.key,
        .upgrade = STR("OnceNewDefaultVersionAvailable"),
        .sku = SKU_STANDARD, /* as the service has it when none is given */
        .size = 1,
    };
    if (old)
        d = *old;
    put_deployment(a, acc, old, &d);
}

void deployments_patch(struct ask *a) {
    const struct account_row *acc = accounts_find(a);
    const struct deployment_row *old = acc ? find_deployment(a, acc) : NULL;
    if (acc && !old)
        not_found(a);
    if (!old || !ask_preconditions(a, &old->row))
        return;
    struct deployment_row d = *old;
    put_deployment(a, acc, old, &d);
}

void deployments_delete(struct ask *a) {
    struct str account =
        ask_lower(a, ask_format(a,
                                "/subscriptions/%.*s/resourceGroups/%.*s/providers/"
                                "Microsoft.CognitiveServices/accounts/%.*s",
                                STR_ARG(a->name[0]), STR_ARG(a->name[1]), STR_ARG(a->name[2])));
    const struct account_row *acc = world_account(a->arm, account);
    const struct deployment_row *old = acc && !acc->deleted_ms ? find_deployment(a, acc) : NULL;
    if (!ask_preconditions(a, old ? &old->row : NULL))
        return;
    if (!old) {
        a->out->status = 204;
        return;
    }
    struct str key = arena_str(a->memory, old->row.key), id = arena_str(a->memory, old->row.id);
    bool had_grant = ledger_release(a->arm->ledger, key);
    assert(had_grant);
    ask_forget_assignments(a, id);
    ask_delete(a, ROW_DEPLOYMENT, key);
    ask_moves_account(a, acc->row.key);
    ask_begin_operation(a, acc->subscription, acc->location, key, true);
    a->out->status = 202;
}

/* Which sizes the deployment may have, under its own SKU and the others. */
void deployments_skus(struct ask *a) {
    const struct account_row *acc = accounts_find(a);
    const struct deployment_row *d = acc ? find_deployment(a, acc) : NULL;
    if (acc && !d)
        not_found(a);
    if (!d)
        return;
    struct ledger_ask ask;
    world_ledger_ask(a->arm, d, acc, &ask);
    struct json_writer w = ask_answer(a, 200);
    json_begin_object(&w);
    json_key(&w, STR("value"));
    json_begin_array(&w);
    for (int s = 0; s < SKU_COUNT; s++) {
        struct offer_sizes sizes = offers_sizes(a->arm->offers, ask.model, (enum sku)s);
        struct ledger_answer ans;
        if (!sizes.is_offered)
            continue;
        ask.sku = (enum sku)s;
        ask.size = sizes.minimum;
        ledger_judge(a->arm->ledger, &ask, &ans);
        json_begin_object(&w);
        shape_key_str(&w, "resourceType", shape_type_name(ROW_DEPLOYMENT));
        shape_begin(&w, "sku");
        shape_key_str(&w, "name", sku_names[s]);
        shape_key_i64(&w, "capacity", d->sku == (enum sku)s ? d->size : sizes.minimum);
        json_end_object(&w);
        shape_begin(&w, "capacity");
        shape_key_i64(&w, "minimum", sizes.minimum);
        shape_key_i64(&w, "maximum", sizes.maximum);
        shape_key_i64(&w, "step", sizes.step);
        shape_key_i64(&w, "default", sizes.minimum);
        json_key(&w, STR("allowedValues"));
        json_begin_array(&w);
        int64_t size = sizes.minimum;
        for (int n = 0; n < SIZES_MAX && size <= ans.largest; n++, size += sizes.step)
            json_i64_value(&w, size);
        json_end_array(&w);
        json_end_object(&w);
        json_end_object(&w);
    }
    json_end_array(&w);
    json_end_object(&w);
}
