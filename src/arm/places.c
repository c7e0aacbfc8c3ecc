/* places.c - what is sold where, how much of it is left, and how operations went. */
#include "arm/arm_private.h"

#include "arm/lists.h"

static const struct location *find_location(struct ask *a) {
    const struct location *l = world_location(a->arm, a->name[1]);
    if (!l)
        ask_fault(a, FAULT_LOCATION_NOT_AVAILABLE, "location",
                  "The provided location '%.*s' is not available.", (int)size_min(a->name[1].n, 80),
                  a->name[1].p);
    return l;
}

static struct json_writer begin_list(struct ask *a) {
    struct json_writer w = ask_answer(a, 200);
    json_begin_object(&w);
    json_key(&w, STR("value"));
    json_begin_array(&w);
    return w;
}

static void end_list(struct json_writer *w) {
    json_end_array(w);
    json_end_object(w);
}

/*
 * Usages
 */
static int64_t count_accounts(struct ask *a, struct str location) {
    struct str prefix = ask_lower(a, ask_format(a, "/subscriptions/%.*s/", STR_ARG(a->name[0])));
    const struct table *t = &a->arm->tables[ROW_ACCOUNT];
    const struct row *r;
    int64_t n = 0;
    for (size_t at = table_seek(t, prefix); (r = table_next(t, prefix, &at));) {
        const struct account_row *acc = (const struct account_row *)(const void *)r;
        n += acc->deleted_ms == 0 && str_ieq(acc->location, location);
    }
    return n;
}

static struct lists lists_of(const struct ask *a) {
    return (struct lists){a->arm->ledger, a->arm->offers, snapshot_catalog(a->arm->capacity)};
}

void places_usages(struct ask *a) {
    const struct location *l = find_location(a);
    struct str filter = ask_query(a, STR("$filter"));
    struct str accounts = STR("AccountCount");
    if (!l)
        return;
    if (!lists_filter_check(filter)) {
        ask_fault(a, FAULT_INVALID_FILTER, "$filter",
                  "The filter '%.*s' is not supported; use name.value eq '...'.",
                  (int)size_min(filter.n, 100), filter.p);
        return;
    }
    struct arm *arm = a->arm;
    struct str of = ask_format(a, "%.*s %.*s", STR_ARG(a->name[0]), STR_ARG(l->name));
    if (!filter.n && arm->usages_at == arm->n_changes && str_eq(buf_view(&arm->usages_of), of)) {
        (void)ask_answer(a, 200);
        buf_str(&a->out->body, buf_view(&arm->usages));
        return;
    }
    struct lists from = lists_of(a);
    struct json_writer w = begin_list(a);
    lists_usages(&from, a->name[0], l->name, filter, &w);
    /* Two kinds, each with its own limit. */
    if (lists_filter_passes(filter, accounts))
        lists_usage(&w, accounts, STR("Cognitive Services total account limit"),
                    count_accounts(a, l->name), 2 * a->arm->settings.accounts_per_location);
    end_list(&w);
    if (filter.n)
        return;
    buf_clear(&arm->usages);
    buf_clear(&arm->usages_of);
    buf_str(&arm->usages, buf_view(&a->out->body));
    buf_str(&arm->usages_of, of);
    /* What does not fit is not kept: nothing is ever asked for under no name. */
    if (buf_status(&arm->usages) != ST_OK || buf_status(&arm->usages_of) != ST_OK)
        buf_clear(&arm->usages_of);
    arm->usages_at = arm->n_changes;
}

/*
 * Models
 */
void places_models(struct ask *a) {
    if (!find_location(a))
        return;
    const struct catalog *c = snapshot_catalog(a->arm->capacity);
    struct json_writer w = begin_list(a);
    for (size_t i = 0; i < c->n; i++) {
        json_begin_object(&w);
        shape_key_str(&w, "kind",
                      str_ieq(c->all[i]->format, STR("OpenAI")) ? STR("OpenAI")
                                                                : STR("AIServices"));
        shape_key_str(&w, "skuName", STR("S0"));
        shape_begin(&w, "model");
        shape_write_model(a->arm, &w, c->all[i]);
        json_end_object(&w);
        json_end_object(&w);
    }
    end_list(&w);
}

void places_skus(struct ask *a) {
    static const char *const kinds[] = {"OpenAI", "AIServices"};
    size_t n;
    const struct location *l = snapshot_locations(a->arm->capacity, &n);
    struct json_writer w = begin_list(a);
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
            json_begin_object(&w);
            shape_key_str(&w, "resourceType", STR("accounts"));
            shape_key_str(&w, "name", STR("S0"));
            shape_key_str(&w, "tier", STR("Standard"));
            shape_key_str(&w, "kind", str_of(kinds[k]));
            json_key(&w, STR("locations"));
            json_begin_array(&w);
            json_str_value(&w, l[i].name);
            json_end_array(&w);
            json_key(&w, STR("restrictions"));
            json_begin_array(&w);
            json_end_array(&w);
            json_end_object(&w);
        }
    }
    end_list(&w);
}

/*
 * Capacities
 */
static const struct model *asked_model(struct ask *a) {
    struct str format = ask_query(a, STR("modelFormat")), name = ask_query(a, STR("modelName")),
               version = ask_query(a, STR("modelVersion"));
    const char *missing = !format.n ? "modelFormat" : !name.n ? "modelName" : NULL;
    if (missing) {
        ask_fault(a, FAULT_BAD_REQUEST, missing,
                  "The query parameters modelFormat, modelName and modelVersion are required.");
        return NULL;
    }
    const struct model *m = catalog_find(snapshot_catalog(a->arm->capacity), format, name, version);
    if (!m)
        ask_fault(a, FAULT_MODEL_NOT_SUPPORTED, "modelName",
                  "The model 'Format: %.*s, Name: %.*s, Version: %.*s' is not supported.",
                  (int)size_min(format.n, 64), format.p, (int)size_min(name.n, 64), name.p,
                  (int)size_min(version.n, 64), version.n ? version.p : "");
    return m;
}

static void answer_capacities(struct ask *a, struct str location) {
    const struct model *m = asked_model(a);
    struct lists from = lists_of(a);
    if (!m)
        return;
    struct json_writer w = begin_list(a);
    lists_capacities(&from, a->name[0], location, m, &w);
    end_list(&w);
}

void places_model_capacities(struct ask *a) {
    const struct location *l = find_location(a);
    if (l)
        answer_capacities(a, l->name);
}

void places_model_capacities_everywhere(struct ask *a) {
    answer_capacities(a, STR(""));
}

void places_calculate(struct ask *a) {
    struct reader r;
    struct problem why;
    struct fields f;
    struct lists from = lists_of(a);
    if (!ask_needs_body(a, &f, &r, &why))
        return;
    struct json_writer w = ask_answer(a, 200);
    if (lists_calculate(&from, a->body, &w, &why) != ST_OK) {
        r.status = ST_BAD_REQUEST;
        ask_reader_ok(a, &r, FAULT_INVALID_CONTENT);
    }
}

/*
 * Operations
 */

/* Shown to whoever began it, and to those who may read the resource that it is about. */
void places_operation(struct ask *a) {
    struct str id = ask_format(
        a,
        "/subscriptions/%.*s/providers/microsoft.cognitiveservices/locations/%.*s/operations/%.*s",
        STR_ARG(a->name[0]), STR_ARG(a->name[1]), STR_ARG(a->name[2]));
    const struct row *r = table_find(&a->arm->tables[ROW_OPERATION], ask_lower(a, id));
    const struct operation *o = (const struct operation *)(const void *)r;
    if (!o || (!str_eq(o->row.created.by, a->req->caller.object_id) &&
               !ask_may(a, "Microsoft.CognitiveServices/accounts/read", o->target))) {
        ask_fault(a, FAULT_NOT_FOUND, "", "The operation '%.*s' was not found.",
                  STR_ARG(a->name[2]));
        return;
    }
    ask_answer_row(a, 200, &o->row);
    if (o->is_running)
        a->out->retry_after_s = 1;
}

/* What the service calls operations too: what a role may allow. */
void places_operations(struct ask *a) {
    static const struct {
        const char *name, *resource, *operation;
    } all[] = {
        {"Microsoft.CognitiveServices/accounts/read", "Accounts", "Read account"},
        {"Microsoft.CognitiveServices/accounts/write", "Accounts", "Write account"},
        {"Microsoft.CognitiveServices/accounts/delete", "Accounts", "Delete account"},
        {"Microsoft.CognitiveServices/accounts/listKeys/action", "Accounts", "List keys"},
        {"Microsoft.CognitiveServices/accounts/regenerateKey/action", "Accounts", "Regenerate key"},
        {"Microsoft.CognitiveServices/accounts/deployments/read", "Deployments", "Read deployment"},
        {"Microsoft.CognitiveServices/accounts/deployments/write", "Deployments",
         "Write deployment"},
        {"Microsoft.CognitiveServices/accounts/deployments/delete", "Deployments",
         "Delete deployment"},
        {"Microsoft.CognitiveServices/deletedAccounts/read", "Deleted accounts",
         "List deleted accounts"},
        {"Microsoft.CognitiveServices/locations/usages/read", "Usages", "Read usages and quotas"},
        {"Microsoft.CognitiveServices/locations/models/read", "Models", "Read models"},
        {"Microsoft.CognitiveServices/locations/modelCapacities/read", "Model capacities",
         "Read model capacities"},
    };
    struct json_writer w = begin_list(a);
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        json_begin_object(&w);
        shape_key_str(&w, "name", str_of(all[i].name));
        shape_key_bool(&w, "isDataAction", false);
        shape_begin(&w, "display");
        shape_key_str(&w, "provider", STR("Microsoft Cognitive Services"));
        shape_key_str(&w, "resource", str_of(all[i].resource));
        shape_key_str(&w, "operation", str_of(all[i].operation));
        shape_key_str(&w, "description", str_of(all[i].operation));
        json_end_object(&w);
        shape_key_str(&w, "origin", STR("user,system"));
        json_end_object(&w);
    }
    end_list(&w);
}
