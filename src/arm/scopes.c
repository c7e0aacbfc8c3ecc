/* scopes.c - what holds the rest: subscriptions, resource groups, providers, the tenant. */
#include "arm/arm_private.h"

#include <stdio.h>

/* Groups of a subscription, as in Azure (from memory of its limits). */
enum { GROUPS_MAX = 980 };

/*
 * Subscriptions
 */

/* The list has those in which the caller has any role, as ARM's has: clients log in by it (`az login`
 * fails without one), also as somebody who may only call a model. It shows no more than names. */
static bool sees_subscription(struct ask *a, const struct row *r) {
    return a->req->caller.is_operator ||
           access_is_member(a->arm->access, a->req->caller.object_id, r->id);
}

void scopes_subscriptions(struct ask *a) {
    ask_answer_rows(a, ROW_SUBSCRIPTION, STR("/subscriptions/"), sees_subscription);
}

void scopes_subscription_get(struct ask *a) {
    const struct subscription *s = world_subscription(a->arm, a->name[0]);
    if (ask_preconditions(a, &s->row))
        ask_answer_row(a, 200, &s->row);
}

void scopes_subscription_put(struct ask *a) {
    const struct subscription *old = world_subscription(a->arm, a->name[0]);
    struct reader r;
    struct problem why;
    struct fields f, p;
    if (!ask_preconditions(a, old ? &old->row : NULL) || !ask_needs_body(a, &f, &r, &why))
        return;
    struct subscription s = {.row = {.type = ROW_SUBSCRIPTION, .created = ask_stamp(a)},
                             .name = a->name[0],
                             .display_name = a->name[0]};
    if (old)
        s = *old;
    fields_str(&f, "displayName", 1, 100, &s.display_name);
    if (fields_object(&f, "properties", &p))
        fields_str(&p, "displayName", 1, 100, &s.display_name);
    if (!ask_tags(a, &f, &s.row.tags) || !ask_reader_ok(a, &r, FAULT_INVALID_CONTENT)) {
        ask_reader_ok(a, &r, FAULT_INVALID_CONTENT);
        return;
    }
    if (old && str_eq(old->display_name, s.display_name) && str_eq(old->row.tags, s.row.tags)) {
        ask_answer_row(a, 200, &old->row);
        return;
    }
    if (!old) {
        s.row.id = ask_format(a, "/subscriptions/%.*s", STR_ARG(s.name));
        s.row.key = ask_lower(a, s.row.id);
    }
    int status = old ? 200 : 201;
    s.row.etag = ask_etag(a);
    s.row.changed = ask_stamp(a);
    ask_answer_row(a, status, ask_put(a, &s.row));
}

void scopes_subscription_delete(struct ask *a) {
    struct str key = ask_lower(a, ask_format(a, "/subscriptions/%.*s", STR_ARG(a->name[0])));
    struct str below = ask_format(a, "%.*s/", STR_ARG(key));
    for (int t = ROW_GROUP; t < ROW_TYPE_COUNT; t++) {
        const struct table *table = &a->arm->tables[t];
        size_t at = table_seek(table, below);
        if (t != ROW_OPERATION && table_next(table, below, &at)) {
            ask_fault(a, FAULT_IN_USE, "",
                      "The subscription still has resources, role assignments or quotas; the first "
                      "is %.*s.",
                      (int)size_min(table->rows[at - 1]->id.n, 300), table->rows[at - 1]->id.p);
            return;
        }
    }
    ask_delete(a, ROW_SUBSCRIPTION, key);
    a->out->status = 200;
}

void scopes_locations(struct ask *a) {
    size_t n;
    const struct location *l = snapshot_locations(a->arm->capacity, &n);
    struct json_writer w = ask_answer(a, 200);
    json_begin_object(&w);
    json_key(&w, STR("value"));
    json_begin_array(&w);
    for (size_t i = 0; i < n; i++) {
        json_begin_object(&w);
        shape_key_str(&w, "id",
                      ask_format(a, "/subscriptions/%.*s/locations/%.*s", STR_ARG(a->name[0]),
                                 STR_ARG(l[i].name)));
        shape_key_str(&w, "subscriptionId", a->name[0]);
        shape_key_str(&w, "name", l[i].name);
        shape_key_str(&w, "displayName", l[i].display_name);
        shape_key_str(&w, "regionalDisplayName", l[i].display_name);
        shape_begin(&w, "metadata");
        shape_key_str(&w, "regionType", STR("Physical"));
        if (l[i].data_zone.n)
            shape_key_str(&w, "geographyGroup", l[i].data_zone);
        json_end_object(&w);
        json_end_object(&w);
    }
    json_end_array(&w);
    json_end_object(&w);
}

void scopes_tenants(struct ask *a) {
    struct str tenant = a->arm->settings.tenant_id;
    struct json_writer w = ask_answer(a, 200);
    json_begin_object(&w);
    json_key(&w, STR("value"));
    json_begin_array(&w);
    json_begin_object(&w);
    shape_key_str(&w, "id", ask_format(a, "/tenants/%.*s", STR_ARG(tenant)));
    shape_key_str(&w, "tenantId", tenant);
    shape_key_str(&w, "displayName", STR("Weir"));
    shape_key_str(&w, "tenantCategory", STR("Home"));
    json_end_object(&w);
    json_end_array(&w);
    json_end_object(&w);
}

/*
 * Resource groups
 */
static bool sees_group(struct ask *a, const struct row *r) {
    return a->req->caller.is_operator ||
           access_allows_below(a->arm->access, a->req->caller.object_id,
                               STR("Microsoft.Resources/subscriptions/resourceGroups/read"), r->id);
}

void scopes_groups(struct ask *a) {
    struct str prefix = ask_format(a, "/subscriptions/%.*s/resourcegroups/", STR_ARG(a->name[0]));
    ask_answer_rows(a, ROW_GROUP, ask_lower(a, prefix), sees_group);
}

void scopes_import_subscription(struct ask *a, struct str name) {
    struct subscription s = {
        .row = {.type = ROW_SUBSCRIPTION, .created = ask_stamp(a), .changed = ask_stamp(a)},
        .name = name,
        .display_name = name};
    s.row.id = ask_format(a, "/subscriptions/%.*s", STR_ARG(name));
    s.row.key = ask_lower(a, s.row.id);
    s.row.etag = ask_etag(a);
    ask_put(a, &s.row);
}

/* Where the resource of the request is; NULL when its body does not say. */
static const struct location *asked_location(const struct ask *a) {
    struct json_value v;
    if (!a->has_body || !json_get(a->body, STR("location"), &v))
        return NULL;
    return world_location(a->arm, json_str(v));
}

void scopes_import_group(struct ask *a, struct str subscription, struct str name) {
    const struct subscription *s = world_subscription(a->arm, subscription);
    const struct location *l = asked_location(a);
    if (!l || !name_is_valid(name, 1, RESOURCE_NAME_MAX))
        return;
    struct group g = {.row = {.type = ROW_GROUP, .created = ask_stamp(a), .changed = ask_stamp(a)},
                      .name = name,
                      .location = l->name};
    g.row.id =
        ask_format(a, "/subscriptions/%.*s/resourceGroups/%.*s", STR_ARG(s->name), STR_ARG(name));
    g.row.key = ask_lower(a, g.row.id);
    g.row.etag = ask_etag(a);
    ask_put(a, &g.row);
}

static const struct group *find_group(struct ask *a) {
    const struct group *g = world_group(a->arm, a->name[0], a->name[1]);
    if (!g)
        ask_fault(a, FAULT_GROUP_NOT_FOUND, "", "Resource group '%.*s' could not be found.",
                  STR_ARG(a->name[1]));
    return g;
}

void scopes_group_get(struct ask *a) {
    const struct group *g = find_group(a);
    if (!g || !ask_preconditions(a, &g->row))
        return;
    ask_answer_row(a, a->req->method == ARM_HEAD ? 204 : 200, &g->row);
}

static void put_group(struct ask *a, const struct group *old) {
    struct reader r;
    struct problem why;
    struct fields f;
    struct str location = STR("");
    const struct subscription *s = world_subscription(a->arm, a->name[0]);
    if (!ask_needs_body(a, &f, &r, &why))
        return;
    struct group g = {.row = {.type = ROW_GROUP, .created = ask_stamp(a)}, .name = a->name[1]};
    if (old)
        g = *old;
    bool has_location = fields_str(&f, "location", 1, RESOURCE_NAME_MAX, &location);
    if (a->req->method == ARM_PUT_METHOD)
        g.row.tags = STR("");
    ask_tags(a, &f, &g.row.tags);
    if (!ask_reader_ok(a, &r, FAULT_INVALID_CONTENT))
        return;
    const struct location *l = world_location(a->arm, location);
    if (!old && !has_location && a->req->is_import) {
        /* A file need not say where a group is; then it is anywhere. */
        size_t n;
        l = snapshot_locations(a->arm->capacity, &n);
        has_location = n > 0;
    }
    if (!old && !has_location) {
        ask_fault(a, FAULT_LOCATION_REQUIRED, "location",
                  "The location property is required for this definition.");
        return;
    }
    if (has_location && !l) {
        ask_fault(a, FAULT_LOCATION_NOT_AVAILABLE, "location",
                  "The provided location '%.*s' is not available for resource group.",
                  STR_ARG(location));
        return;
    }
    if (old && l && !str_ieq(l->name, old->location)) {
        ask_fault(a, FAULT_INVALID_LOCATION, "location",
                  "Invalid resource group location '%.*s'. The Resource group already exists in "
                  "location '%.*s'.",
                  STR_ARG(l->name), STR_ARG(old->location));
        return;
    }
    if (old && str_eq(old->row.tags, g.row.tags)) {
        ask_answer_row(a, 200, &old->row);
        return;
    }
    if (!old) {
        g.location = l->name;
        g.row.id = ask_format(a, "/subscriptions/%.*s/resourceGroups/%.*s", STR_ARG(s->name),
                              STR_ARG(g.name));
        g.row.key = ask_lower(a, g.row.id);
    }
    struct str all = ask_lower(a, ask_format(a, "%.*s/resourceGroups/", STR_ARG(s->row.id)));
    if (!old && table_count(&a->arm->tables[ROW_GROUP], all) >= GROUPS_MAX) {
        ask_fault(a, FAULT_TOO_MANY_GROUPS, "",
                  "The subscription has %d resource groups already, which is the limit.",
                  GROUPS_MAX);
        return;
    }
    int status = old ? 200 : 201;
    g.row.etag = ask_etag(a);
    g.row.changed = ask_stamp(a);
    ask_answer_row(a, status, ask_put(a, &g.row));
}

void scopes_group_put(struct ask *a) {
    const struct group *old = world_group(a->arm, a->name[0], a->name[1]);
    if (ask_preconditions(a, old ? &old->row : NULL))
        put_group(a, old);
}

void scopes_group_patch(struct ask *a) {
    const struct group *old = find_group(a);
    if (old && ask_preconditions(a, &old->row))
        put_group(a, old);
}

/* Its accounts are soft-deleted, as each would be on its own. */
void scopes_group_delete(struct ask *a) {
    const struct group *g = find_group(a);
    if (!g || !ask_preconditions(a, &g->row))
        return;
    struct str key = arena_str(a->memory, g->row.key), id = arena_str(a->memory, g->row.id);
    struct str below =
        ask_format(a, "%.*s/providers/microsoft.cognitiveservices/accounts/", STR_ARG(key));
    const struct table *t = &a->arm->tables[ROW_ACCOUNT];
    const struct row *r;
    for (size_t at = table_seek(t, below); (r = table_next(t, below, &at));) {
        const struct account_row *acc = (const struct account_row *)(const void *)r;
        if (acc->deleted_ms == 0)
            accounts_soft_delete(a, acc);
    }
    ask_forget_assignments(a, id);
    ask_delete(a, ROW_GROUP, key);
    a->out->status = 200;
}

/*
 * Generic lists of resources: accounts are all there is.
 */
static bool sees_account(struct ask *a, const struct row *r) {
    const struct account_row *acc = (const struct account_row *)(const void *)r;
    return acc->deleted_ms == 0 && ask_may(a, "Microsoft.CognitiveServices/accounts/read", r->id);
}

void scopes_group_resources(struct ask *a) {
    struct str prefix = ask_format(a, "/subscriptions/%.*s/resourcegroups/%.*s/",
                                   STR_ARG(a->name[0]), STR_ARG(a->name[1]));
    ask_answer_rows(a, ROW_ACCOUNT, ask_lower(a, prefix), sees_account);
}

void scopes_resources(struct ask *a) {
    struct str prefix = ask_format(a, "/subscriptions/%.*s/", STR_ARG(a->name[0]));
    ask_answer_rows(a, ROW_ACCOUNT, ask_lower(a, prefix), sees_account);
}

/*
 * Providers: all are registered with every subscription from its beginning.
 */
static const struct {
    const char *name;
    const char *types[8];
} providers[] = {
    {"Microsoft.CognitiveServices",
     {"accounts", "accounts/deployments", "deletedAccounts", "locations/models",
      "locations/modelCapacities", "locations/usages", "operations"}},
    {"Microsoft.Authorization", {"roleAssignments", "roleDefinitions"}},
    {"Microsoft.Resources", {"subscriptions", "resourceGroups", "tenants"}},
    {"Weir.Capacity", {"locations/quotas", "quotaRequests"}},
};

/* Those that clients are known to send (ARM contract, section 1), newest first; any other date will do. */
static const char *const api_versions[] = {"2025-09-01", "2025-06-01", "2024-10-01", "2023-05-01",
                                           "2022-12-01", "2022-04-01", "2021-04-01", "2019-11-01"};

static void write_provider(struct ask *a, struct json_writer *w, size_t i) {
    size_t n;
    const struct location *l = snapshot_locations(a->arm->capacity, &n);
    json_begin_object(w);
    shape_key_str(
        w, "id",
        ask_format(a, "/subscriptions/%.*s/providers/%s", STR_ARG(a->name[0]), providers[i].name));
    shape_key_str(w, "namespace", str_of(providers[i].name));
    shape_key_str(w, "registrationState", STR("Registered"));
    shape_key_str(w, "registrationPolicy", STR("RegistrationFree"));
    json_key(w, STR("resourceTypes"));
    json_begin_array(w);
    for (size_t t = 0; t < ARRAY_LEN(providers[i].types) && providers[i].types[t]; t++) {
        json_begin_object(w);
        shape_key_str(w, "resourceType", str_of(providers[i].types[t]));
        json_key(w, STR("locations"));
        json_begin_array(w);
        for (size_t k = 0; k < n; k++)
            json_str_value(w, l[k].display_name);
        json_end_array(w);
        json_key(w, STR("apiVersions"));
        json_begin_array(w);
        for (size_t k = 0; k < ARRAY_LEN(api_versions); k++)
            json_str_value(w, str_of(api_versions[k]));
        json_end_array(w);
        json_end_object(w);
    }
    json_end_array(w);
    json_end_object(w);
}

void scopes_providers(struct ask *a) {
    struct json_writer w = ask_answer(a, 200);
    json_begin_object(&w);
    json_key(&w, STR("value"));
    json_begin_array(&w);
    for (size_t i = 0; i < ARRAY_LEN(providers); i++)
        write_provider(a, &w, i);
    json_end_array(&w);
    json_end_object(&w);
}

void scopes_provider_get(struct ask *a) {
    for (size_t i = 0; i < ARRAY_LEN(providers); i++) {
        if (str_ieq(a->name[1], str_of(providers[i].name))) {
            struct json_writer w = ask_answer(a, 200);
            write_provider(a, &w, i);
            return;
        }
    }
    ask_fault(a, FAULT_INVALID_NAMESPACE, "", "The resource namespace '%.*s' is invalid.",
              STR_ARG(a->name[1]));
}
