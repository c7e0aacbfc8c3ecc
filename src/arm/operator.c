/* operator.c - what the operator has and sets: locations, models, pools, backends, quotas. */
#include "arm/arm_private.h"

#include <stdio.h>

/* The type that the path names: its third segment, or the fifth for backends. */
static enum row_type type_of(const struct ask *a) {
    struct str kind = a->segment[2];
    if (a->n_segments >= 5 && str_ieq(a->segment[4], STR("backends")))
        return ROW_BACKEND;
    if (str_ieq(kind, STR("locations")))
        return ROW_LOCATION;
    return str_ieq(kind, STR("models")) ? ROW_MODEL : ROW_POOL;
}

static struct str id_of(struct ask *a, enum row_type type) {
    static const char *const folders[ROW_TYPE_COUNT] = {
        [ROW_LOCATION] = "locations", [ROW_MODEL] = "models", [ROW_POOL] = "pools"};
    if (type != ROW_BACKEND)
        return ask_format(a, "/providers/Weir.Capacity/%s/%.*s", folders[type],
                          STR_ARG(a->name[0]));
    return ask_format(a, "/providers/Weir.Capacity/pools/%.*s/backends/%.*s", STR_ARG(a->name[0]),
                      STR_ARG(a->name[1]));
}

static struct capacity *find(struct ask *a) {
    enum row_type type = type_of(a);
    return (struct capacity *)(void *)table_find(&a->arm->tables[type],
                                                 ask_lower(a, id_of(a, type)));
}

static struct capacity *find_or_refuse(struct ask *a) {
    struct capacity *c = find(a);
    if (!c)
        ask_fault(a, FAULT_RESOURCE_NOT_FOUND, "", "The resource '%.*s' was not found.",
                  (int)size_min(a->path.n, 300), a->path.p);
    return c;
}

void operator_list(struct ask *a) {
    enum row_type type = type_of(a);
    struct str prefix = STR("/providers/weir.capacity/");
    if (type == ROW_BACKEND)
        prefix = ask_lower(
            a, ask_format(a, "/providers/Weir.Capacity/pools/%.*s/backends/", STR_ARG(a->name[0])));
    ask_answer_rows(a, type, prefix, NULL);
}

void operator_get(struct ask *a) {
    const struct capacity *c = find_or_refuse(a);
    if (c && ask_preconditions(a, &c->row))
        ask_answer_row(a, 200, &c->row);
}

/* The properties of a row as it stands, into `padded`, which the caller makes and destroys, and whose
 * bytes the value needs. */
static bool parse_kept(struct ask *a, const struct capacity *c, struct buf *padded,
                       struct json_value *out) {
    buf_str(padded, c->properties);
    char *padding = buf_reserve_slack(padded, 0, JSON_PADDING);
    return padding && json_parse(a->arm->row_doc, padded->p, padded->len, out, NULL) == ST_OK;
}

/* The secret of a backend is never shown; who sends a backend back without one keeps it. */
static bool keep_secret(struct ask *a, const struct capacity *old, struct str *properties) {
    struct json_value v, key;
    struct buf padded;
    if (!old || old->row.type != ROW_BACKEND || str_find(old->properties, STR("\"apiKey\"")) < 0)
        return true;
    struct json_value p;
    if (json_get(a->body, STR("properties"), &p) && json_type(p) == JSON_OBJECT &&
        json_get(p, STR("apiKey"), &key))
        return true;
    buf_init(&padded, 2 * ARM_BODY_MAX);
    if (parse_kept(a, old, &padded, &v) && json_get(v, STR("apiKey"), &key) &&
        json_type(key) == JSON_STRING) {
        struct buf text;
        buf_init(&text, 2 * ARM_BODY_MAX);
        buf_put(&text, properties->p, properties->n - 1);
        if (properties->n > 2)
            buf_char(&text, ',');
        buf_lit(&text, "\"apiKey\":");
        json_quote(&text, json_str(key));
        buf_char(&text, '}');
        *properties = arena_str(a->memory, buf_view(&text));
        buf_destroy(&text);
    }
    buf_destroy(&padded);
    return true;
}

/* The body as it is to be kept; what it says is judged by world_compile. */
static bool read_capacity(struct ask *a, const struct capacity *old, struct capacity *c) {
    static const char *const ours[] = {"provisioningState", "reservedPtus", "freePtus",
                                       "isDraining",        "health",       NULL};
    static const char *const elsewhere[] = {"apiKeyFile", "apiKeyEnv"};
    struct reader r;
    struct problem why;
    struct fields f, p;
    struct json_value v;
    if (!ask_needs_body(a, &f, &r, &why))
        return false;
    c->row.tags = STR("");
    c->location = STR("");
    c->properties = STR("{}");
    c->is_draining = false;
    if (c->row.type == ROW_POOL)
        fields_str(&f, "location", 1, RESOURCE_NAME_MAX, &c->location);
    ask_tags(a, &f, &c->row.tags);
    if (fields_object(&f, "properties", &p)) {
        if (c->row.type == ROW_POOL || c->row.type == ROW_BACKEND)
            fields_bool(&p, "isDraining", &c->is_draining);
        for (size_t i = 0; i < ARRAY_LEN(elsewhere); i++) {
            if (fields_value(&p, elsewhere[i], &v))
                fields_refuse(&p, elsewhere[i],
                              "names something on the client's side; give the key as apiKey");
        }
        if (r.status == ST_OK && !shape_copy(a->memory, p.object, ours, &c->properties))
            fields_refuse(&f, "properties", "is nested too deeply");
    }
    return ask_reader_ok(a, &r, FAULT_INVALID_CONTENT) && keep_secret(a, old, &c->properties);
}

/*
 * Puts the row in place and compiles; a refusal puts things back as they were. Returns the row, or
 * NULL after a refusal.
 */
static struct row *try_put(struct ask *a, const struct capacity *c) {
    struct table *t = &a->arm->tables[c->row.type];
    struct problem why = {0};
    struct str before = ask_shown(a, table_find(t, c->row.key));
    struct row *r = row_new(&c->row);
    struct row *old = table_put(t, r);
    if (world_compile(a->arm, r, &why) != ST_OK) {
        if (old)
            r = table_put(t, old);
        else
            r = table_take(t, c->row.key);
        row_free(r);
        /* Faults elsewhere mean that what stands cannot stand beside this. */
        bool is_here = strncmp(why.target, "request:", 8) == 0;
        struct reader reader = {.status = ST_BAD_REQUEST, .why = &why};
        ask_reader_ok(a, &reader, is_here ? FAULT_INVALID_PROPERTIES : FAULT_IN_USE);
        return NULL;
    }
    row_free(old);
    world_write_row(a->arm, r, a->changes);
    ask_audit(a, r->id, before, ask_shown(a, r));
    return r;
}

static bool is_same(const struct capacity *x, const struct capacity *y) {
    return str_eq(x->properties, y->properties) && str_eq(x->location, y->location) &&
           str_eq(x->row.tags, y->row.tags) && x->is_draining == y->is_draining;
}

/* The file that properties name and that must be usable; empty when there is none, or when nothing is
 * checked by it. */
static struct str file_of(enum row_type type, struct json_value properties) {
    struct json_value v;
    if (type == ROW_MODEL)
        return json_get_str(properties, STR("tokenizer"));
    if (json_get(properties, STR("insecureSkipVerify"), &v) && json_bool(v))
        return STR("");
    return json_get_str(properties, STR("caFile"));
}

/* Whether a backend goes on naming its file of authorities. */
static bool is_file_kept(struct ask *a, const struct capacity *old, struct str path) {
    struct buf padded;
    struct json_value v;
    if (!old || old->row.type != ROW_BACKEND)
        return false;
    buf_init(&padded, 2 * ARM_BODY_MAX);
    bool is_kept = parse_kept(a, old, &padded, &v) && str_eq(file_of(old->row.type, v), path);
    buf_destroy(&padded);
    return is_kept;
}

/*
 * Files must be there, and be what they should, when a resource names them: a model's tokenizer, the
 * authorities that a backend's certificate is checked by. Later they may go: then prompts are counted by
 * what was read last, or what changes is not in force until they are back. A backend that goes on naming
 * its file is not refused for it, whatever else of it changes, since somebody may have to take it out of
 * service just then; and the same resource sent once more changes nothing and is not refused.
 */
static bool check_files(struct ask *a, const struct capacity *old, const struct capacity *c) {
    const struct arm_outside *o = &a->req->outside;
    bool is_model = c->row.type == ROW_MODEL;
    const char *target = is_model ? "properties.tokenizer" : "properties.caFile";
    struct json_value properties;
    struct problem why = {0};
    enum status (*check)(void *, struct str, struct problem *) =
        is_model ? o->tokenizer : o->authorities;
    /* Who drains a backend sends no body. */
    if ((!is_model && c->row.type != ROW_BACKEND) || !check || !a->has_body ||
        !json_get(a->body, STR("properties"), &properties))
        return true;
    struct str path = file_of(c->row.type, properties);
    if (path.n && memchr(path.p, '\0', path.n)) /* the check would take a part of it for all */
        return ask_fault(a, FAULT_INVALID_PROPERTIES, target, "%s must not hold U+0000.", target);
    if (path.n == 0 || is_file_kept(a, old, path) || check(o->arg, path, &why) == ST_OK)
        return true;
    return ask_fault(a, FAULT_INVALID_PROPERTIES, target, "%s cannot be used: %s: %s", target,
                     why.target, why.message);
}

static void put(struct ask *a, const struct capacity *old, struct capacity *c) {
    if (old && is_same(old, c)) {
        ask_answer_row(a, 200, &old->row);
        return;
    }
    if (!check_files(a, old, c))
        return;
    int status = old ? 200 : 201;
    c->row.etag = ask_etag(a);
    c->row.changed = ask_stamp(a);
    c->row.version = a->arm->version + 1;
    c->row.state = old ? ROW_UPDATING : ROW_CREATING;
    struct row *r = try_put(a, c);
    if (!r)
        return;
    ask_moves_all(a);
    ask_answer_row(a, status, r);
}

void operator_put(struct ask *a) {
    enum row_type type = type_of(a);
    const struct capacity *old = find(a);
    struct capacity c = {.row = {.type = type, .created = ask_stamp(a), .id = id_of(a, type)},
                         .name = a->name[type == ROW_BACKEND]};
    c.row.key = ask_lower(a, c.row.id);
    if (old)
        c = *old;
    if (ask_preconditions(a, old ? &old->row : NULL) && read_capacity(a, old, &c))
        put(a, old, &c);
}

/* Soft-deleted accounts and quotas are no part of what world_compile looks at. */
static bool is_location_used(struct ask *a, struct str name) {
    const struct table *groups = &a->arm->tables[ROW_GROUP];
    const struct table *quotas = &a->arm->tables[ROW_QUOTA];
    for (size_t i = 0; i < groups->n; i++) {
        if (str_ieq(((const struct group *)(const void *)groups->rows[i])->location, name))
            return !ask_fault(a, FAULT_IN_USE, "", "The resource group %.*s is there.",
                              (int)size_min(groups->rows[i]->id.n, 300), groups->rows[i]->id.p);
    }
    for (size_t i = 0; i < quotas->n; i++) {
        if (str_ieq(((const struct quota *)(const void *)quotas->rows[i])->location, name))
            return !ask_fault(a, FAULT_IN_USE, "", "The quota %.*s is for it.",
                              (int)size_min(quotas->rows[i]->id.n, 300), quotas->rows[i]->id.p);
    }
    return false;
}

static bool is_pool_used(struct ask *a, const struct capacity *c) {
    struct ledger_pool_sum sum = ledger_pool(a->arm->ledger, c->name);
    if (sum.reserved == 0)
        return false;
    return !ask_fault(
        a, FAULT_IN_USE, "",
        "Deployments have reserved %lld PTUs of the pool '%.*s'. Drain it, and delete "
        "it when they are gone.",
        (long long)sum.reserved, STR_ARG(c->name));
}

void operator_delete(struct ask *a) {
    struct capacity *c = find(a);
    struct problem why = {0};
    if (!ask_preconditions(a, c ? &c->row : NULL))
        return;
    if (!c) {
        a->out->status = 204;
        return;
    }
    enum row_type type = c->row.type;
    if ((type == ROW_LOCATION && is_location_used(a, c->name)) ||
        (type == ROW_POOL && is_pool_used(a, c)))
        return;
    struct table *t = &a->arm->tables[type];
    struct str before = ask_shown(a, &c->row), id = arena_str(a->memory, c->row.id);
    struct row *r = table_take(t, c->row.key);
    if (world_compile(a->arm, NULL, &why) != ST_OK) {
        struct row *none = table_put(t, r);
        assert(!none);
        ask_fault(a, FAULT_IN_USE, "", "The resource '%.*s' is still needed: %s",
                  (int)size_min(id.n, 300), id.p, why.message);
        return;
    }
    if (type == ROW_LOCATION)
        ledger_location_remove(a->arm->ledger, c->name);
    if (type == ROW_POOL) {
        bool was_free = ledger_pool_remove(a->arm->ledger, c->name);
        assert(was_free); /* looked at above */
    }
    changes_put(a->changes, ARM_DELETE, str_of(row_table_name(type)), r->key, STR(""));
    ask_audit(a, id, before, STR(""));
    row_free(r);
    ask_moves_all(a);
    a->out->status = 200;
}

static void set_draining(struct ask *a, bool is_draining) {
    const struct capacity *old = find_or_refuse(a);
    if (!old || !ask_preconditions(a, &old->row))
        return;
    struct capacity c = *old;
    c.is_draining = is_draining;
    put(a, old, &c);
}

void operator_drain(struct ask *a) {
    set_draining(a, true);
}

void operator_resume(struct ask *a) {
    set_draining(a, false);
}

/*
 * Quotas. The name tells which: "OpenAI.ProvisionedManaged", "OpenAI.Standard.gpt-4o".
 */
bool quota_of_name(struct ask *a, struct str name, struct quota *out) {
    const struct catalog *c = snapshot_catalog(a->arm->capacity);
    char text[OFFERS_NAME_MAX];
    for (int s = SKU_PROVISIONED; s < SKU_COUNT; s++) {
        if (str_ieq(name, offers_quota_name(STR("OpenAI"), STR(""), (enum sku)s, text))) {
            out->sku = (enum sku)s;
            out->format = out->model = STR("");
            out->name = arena_str(a->memory, (struct str){text, name.n});
            return true;
        }
    }
    for (size_t i = 0; i < c->n; i++) {
        for (int s = 0; s < SKU_PROVISIONED; s++) {
            if (!str_ieq(name,
                         offers_quota_name(c->all[i]->format, c->all[i]->name, (enum sku)s, text)))
                continue;
            out->sku = (enum sku)s;
            out->format = arena_str(a->memory, c->all[i]->format);
            out->model = arena_str(a->memory, c->all[i]->name);
            out->name = arena_str(a->memory, (struct str){text, name.n});
            return true;
        }
    }
    return ask_fault(a, FAULT_RESOURCE_NOT_FOUND, "name",
                     "There is no quota '%.*s'; usages lists their names.",
                     (int)size_min(name.n, 200), name.p);
}

/* The quota that the path names, as it is when nobody has set it. Names: subscription, location,
 * quota. */
static bool read_quota_path(struct ask *a, struct quota *q) {
    const struct location *l = world_location(a->arm, a->name[1]);
    *q = (struct quota){.row = {.type = ROW_QUOTA, .created = ask_stamp(a)}};
    if (!l)
        return ask_fault(a, FAULT_LOCATION_NOT_AVAILABLE, "location",
                         "The provided location '%.*s' is not available.",
                         (int)size_min(a->name[1].n, 80), a->name[1].p);
    q->subscription = world_subscription(a->arm, a->name[0])->name;
    q->location = arena_str(a->memory, l->name);
    return a->n_names < 3 || quota_of_name(a, a->name[2], q);
}

void quota_put(struct ask *a, struct quota *q, int64_t limit) {
    q->row.id =
        ask_format(a, "/subscriptions/%.*s/providers/Weir.Capacity/locations/%.*s/quotas/%.*s",
                   STR_ARG(q->subscription), STR_ARG(q->location), STR_ARG(q->name));
    q->row.key = ask_lower(a, q->row.id);
    const struct row *old = table_find(&a->arm->tables[ROW_QUOTA], q->row.key);
    if (old)
        q->row.created = old->created;
    struct ledger_quota_key key = {q->subscription, q->location, q->sku, q->format, q->model};
    q->limit = limit;
    q->row.etag = ask_etag(a);
    q->row.changed = ask_stamp(a);
    ledger_quota_set(a->arm->ledger, &key, limit);
    ask_put(a, &q->row);
}

static const struct row *find_quota(struct ask *a, struct quota *q) {
    q->row.id =
        ask_format(a, "/subscriptions/%.*s/providers/Weir.Capacity/locations/%.*s/quotas/%.*s",
                   STR_ARG(q->subscription), STR_ARG(q->location), STR_ARG(q->name));
    q->row.key = ask_lower(a, q->row.id);
    return table_find(&a->arm->tables[ROW_QUOTA], q->row.key);
}

void operator_quota_get(struct ask *a) {
    struct quota q;
    if (!read_quota_path(a, &q))
        return;
    const struct row *r = find_quota(a, &q);
    struct ledger_quota_key key = {q.subscription, q.location, q.sku, q.format, q.model};
    q.limit = ledger_quota(a->arm->ledger, &key).limit;
    if (ask_preconditions(a, r))
        ask_answer_row(a, 200, r ? r : &q.row);
}

/* Those that the operator has set; usages shows all. */
void operator_quotas(struct ask *a) {
    struct quota q;
    if (!read_quota_path(a, &q))
        return;
    struct str prefix =
        ask_format(a, "/subscriptions/%.*s/providers/Weir.Capacity/locations/%.*s/quotas/",
                   STR_ARG(q.subscription), STR_ARG(q.location));
    ask_answer_rows(a, ROW_QUOTA, ask_lower(a, prefix), NULL);
}

void operator_quota_put(struct ask *a) {
    struct quota q;
    struct reader r;
    struct problem why;
    struct fields f, p;
    int64_t limit = 0;
    if (!read_quota_path(a, &q))
        return;
    const struct row *old = find_quota(a, &q);
    if (!ask_preconditions(a, old) || !ask_needs_body(a, &f, &r, &why))
        return;
    if (fields_object(&f, "properties", &p)) {
        bool has_limit = fields_i64(&p, "limit", 0, INT64_C(1000000000), &limit);
        fields_require(&p, "limit", has_limit, "PTUs, or thousands of tokens a minute");
    } else {
        fields_require(&f, "properties", false, "it holds the limit");
    }
    if (!ask_reader_ok(a, &r, FAULT_INVALID_CONTENT))
        return;
    if (old && ((const struct quota *)(const void *)old)->limit == limit) {
        ask_answer_row(a, 200, old);
        return;
    }
    int status = old ? 200 : 201;
    quota_put(a, &q, limit);
    ask_answer_row(a, status, table_find(&a->arm->tables[ROW_QUOTA], q.row.key));
}

void operator_quota_delete(struct ask *a) {
    struct quota q;
    if (!read_quota_path(a, &q))
        return;
    const struct row *old = find_quota(a, &q);
    if (!ask_preconditions(a, old))
        return;
    if (!old) {
        a->out->status = 204;
        return;
    }
    struct ledger_quota_key key = {q.subscription, q.location, q.sku, q.format, q.model};
    ledger_quota_set(a->arm->ledger, &key, -1);
    ask_delete(a, ROW_QUOTA, q.row.key);
    a->out->status = 200;
}
