/* shape_read.c - rows from the JSON that the store keeps, and any JSON value written anew. */
#include "arm/arm_private.h"

enum { COPY_DEPTH = 16, COPY_MAX = ARM_BODY_MAX };

static bool copy_without(struct json_writer *w, struct json_value v, const char *const *without) {
    struct json_iter it;
    struct str key;
    struct json_value item;
    json_begin_object(w);
    json_fields(&it, v);
    while (json_next_field(&it, &key, &item)) {
        bool is_left_out = false;
        for (size_t i = 0; without[i]; i++)
            is_left_out = is_left_out || str_eq(key, str_of(without[i]));
        if (is_left_out)
            continue;
        json_key(w, key);
        if (!json_copy(w, item, COPY_DEPTH - 1))
            return false;
    }
    json_end_object(w);
    return true;
}

bool shape_copy(struct arena *memory, struct json_value v, const char *const *without,
                struct str *out) {
    struct buf text;
    struct json_writer w;
    buf_init(&text, COPY_MAX);
    json_writer_init(&w, &text, 0);
    bool ok = without && json_type(v) == JSON_OBJECT ? copy_without(&w, v, without)
                                                     : json_copy(&w, v, COPY_DEPTH);
    ok = ok && buf_status(&text) == ST_OK;
    if (ok)
        *out = arena_str(memory, buf_view(&text));
    buf_destroy(&text);
    return ok;
}

/*
 * Reading what FORM_STORE wrote. A member that is missing reads as nothing; ids and what else must be
 * there are checked by arm_load.
 */
static bool get(struct json_value v, const char *path, struct json_value *out) {
    struct str rest = str_of(path), key;
    while (str_cut(&rest, '.', &key)) {
        if (json_type(v) != JSON_OBJECT || !json_get(v, key, &v))
            return false;
    }
    *out = v;
    return true;
}

static struct str get_str(struct json_value v, const char *path) {
    return get(v, path, &v) && json_type(v) == JSON_STRING ? json_str(v) : STR("");
}

static int64_t get_i64(struct json_value v, const char *path) {
    int64_t n = 0;
    return get(v, path, &v) && json_i64(v, &n) ? n : 0;
}

static int64_t get_time(struct json_value v, const char *path) {
    int64_t ms = 0;
    return time_read(get_str(v, path), &ms) ? ms : 0;
}

static bool get_sku(struct json_value v, const char *path, enum sku *out) {
    struct str name = get_str(v, path);
    for (int s = 0; s < SKU_COUNT; s++) {
        if (str_ieq(name, sku_names[s])) {
            *out = (enum sku)s;
            return true;
        }
    }
    return false;
}

static bool get_copy(struct json_value v, const char *path, struct arena *memory, struct str *out) {
    *out = STR("");
    return !get(v, path, &v) || shape_copy(memory, v, NULL, out);
}

static void read_stamps(struct json_value v, struct row *r) {
    r->created = (struct stamp){get_str(v, "systemData.createdBy"),
                                str_eq(get_str(v, "systemData.createdByType"), STR("User")),
                                get_time(v, "systemData.createdAt")};
    r->changed = (struct stamp){get_str(v, "systemData.lastModifiedBy"),
                                str_eq(get_str(v, "systemData.lastModifiedByType"), STR("User")),
                                get_time(v, "systemData.lastModifiedAt")};
}

static bool read_account(struct json_value v, struct account_row *a) {
    struct str rest, part;
    struct str parts[16];
    size_t n = 0;
    a->kind = get_str(v, "kind");
    a->location = get_str(v, "location");
    a->identity = get_str(v, "identity.type");
    a->subdomain = get_str(v, "properties.customSubDomainName");
    a->internal_id = get_str(v, "properties.internalId");
    a->keys[0] = get_str(v, "properties.keys.key1");
    a->keys[1] = get_str(v, "properties.keys.key2");
    a->deleted_ms = get_time(v, "properties.deletionDate");
    a->purge_ms = get_time(v, "properties.scheduledPurgeDate");
    for (rest = a->row.id; n < ARRAY_LEN(parts) && str_cut(&rest, '/', &part);)
        parts[n++] = part;
    if (n != 9) /* "", subscriptions, S, resourceGroups, G, providers, P, accounts, A */
        return false;
    a->subscription = parts[2];
    a->group = parts[4];
    a->name = parts[8];
    return a->location.n > 0;
}

static bool read_deployment(struct json_value v, struct arena *memory, struct deployment_row *d) {
    d->name = get_str(v, "name");
    d->format = get_str(v, "properties.model.format");
    d->model = get_str(v, "properties.model.name");
    d->version = get_str(v, "properties.model.version");
    d->upgrade = get_str(v, "properties.versionUpgradeOption");
    d->policy = get_str(v, "properties.raiPolicyName");
    d->depth_window_ms = get_i64(v, "properties.weir.depthWindowMs");
    d->is_strict = str_eq(get_str(v, "properties.weir.standardMode"), STR("strict"));
    d->size = get_i64(v, "sku.capacity");
    ptrdiff_t at = str_find(d->row.key, STR("/deployments/"));
    if (at < 0)
        return false;
    d->account = (struct str){d->row.key.p, (size_t)at};
    return get_copy(v, "grant", memory, &d->grant) && get_sku(v, "sku.name", &d->sku) &&
           d->size > 0 && d->model.n;
}

bool shape_read(enum row_type type, struct json_value v, struct arena *memory, union any_row *out) {
    *out = (union any_row){.row = {.type = type}};
    struct row *r = &out->row;
    if (json_type(v) != JSON_OBJECT)
        return false;
    r->id = get_str(v, "id");
    if (r->id.n == 0)
        return false;
    char *lower = arena_alloc(memory, r->id.n);
    if (!lower)
        return false;
    r->key = text_lower(r->id, lower);
    r->etag = get_str(v, "etag");
    read_stamps(v, r);
    if (!get_copy(v, "tags", memory, &r->tags))
        return false;
    switch (type) {
    case ROW_SUBSCRIPTION:
        out->subscription.name = get_str(v, "name");
        out->subscription.display_name = get_str(v, "displayName");
        return true;
    case ROW_GROUP:
        out->group.name = get_str(v, "name");
        out->group.location = get_str(v, "location");
        return true;
    case ROW_LOCATION:
    case ROW_POOL:
    case ROW_BACKEND:
    case ROW_MODEL: {
        struct json_value draining;
        out->capacity.name = get_str(v, "name");
        out->capacity.location = get_str(v, "location");
        out->capacity.is_draining = get(v, "isDraining", &draining) && json_bool(draining);
        return get_copy(v, "properties", memory, &out->capacity.properties);
    }
    case ROW_QUOTA:
        out->quota.name = get_str(v, "name");
        out->quota.subscription = get_str(v, "properties.subscription");
        out->quota.location = get_str(v, "properties.location");
        out->quota.format = get_str(v, "properties.modelFormat");
        out->quota.model = get_str(v, "properties.modelName");
        out->quota.limit = get_i64(v, "properties.limit");
        return get_sku(v, "properties.skuName", &out->quota.sku);
    case ROW_ACCOUNT:
        return read_account(v, &out->account);
    case ROW_DEPLOYMENT:
        return read_deployment(v, memory, &out->deployment);
    case ROW_ASSIGNMENT:
        out->assignment.name = get_str(v, "name");
        out->assignment.scope = get_str(v, "properties.scope");
        out->assignment.role = get_str(v, "properties.roleDefinitionId");
        out->assignment.principal = get_str(v, "properties.principalId");
        out->assignment.principal_type = get_str(v, "properties.principalType");
        r->created = (struct stamp){get_str(v, "properties.createdBy"), false,
                                    get_time(v, "properties.createdOn")};
        r->changed = (struct stamp){get_str(v, "properties.updatedBy"), false,
                                    get_time(v, "properties.updatedOn")};
        return true;
    case ROW_OPERATION:
        out->operation.name = get_str(v, "name");
        out->operation.subscription = get_str(v, "subscription");
        out->operation.location = get_str(v, "location");
        out->operation.target = get_str(v, "target");
        out->operation.is_running = str_eq(get_str(v, "status"), STR("Running"));
        out->operation.ended_ms = get_time(v, "endTime");
        r->created = (struct stamp){get_str(v, "createdBy"), false, get_time(v, "startTime")};
        return true;
    case ROW_QUOTA_REQUEST: {
        struct quota_request *q = &out->quota_request;
        q->name = get_str(v, "name");
        q->subscription = get_str(v, "properties.subscription");
        q->location = get_str(v, "properties.location");
        q->quota_name = get_str(v, "properties.quotaName");
        q->format = get_str(v, "properties.modelFormat");
        q->model = get_str(v, "properties.modelName");
        q->reason = get_str(v, "properties.reason");
        q->webhook = get_str(v, "properties.webhook");
        q->answer = get_str(v, "properties.answer");
        q->status = get_str(v, "properties.status");
        q->limit = get_i64(v, "properties.limit");
        q->decided_ms = get_time(v, "properties.decidedAt");
        return get_sku(v, "properties.skuName", &q->sku);
    }
    case ROW_TYPE_COUNT:
        break;
    }
    return false;
}
