/* accounts.c - accounts and their keys: created, changed, deleted for a while, recovered, purged. */
#include "arm/arm_private.h"

#include <stdio.h>

static const struct str account_type = STR_INIT("Microsoft.CognitiveServices/accounts");
static const struct str kinds[] = {STR_INIT("OpenAI"), STR_INIT("AIServices")};

static struct str account_key(struct ask *a, struct str subscription, struct str group,
                              struct str name) {
    return ask_lower(a, ask_format(a,
                                   "/subscriptions/%.*s/resourceGroups/%.*s/providers/"
                                   "Microsoft.CognitiveServices/accounts/%.*s",
                                   STR_ARG(subscription), STR_ARG(group), STR_ARG(name)));
}

void accounts_not_found(struct ask *a) {
    ask_fault(a, FAULT_RESOURCE_NOT_FOUND, "",
              "The Resource 'Microsoft.CognitiveServices/accounts/%.*s' under resource group "
              "'%.*s' was not found.",
              STR_ARG(a->name[2]), STR_ARG(a->name[1]));
}

struct account_row *accounts_find(struct ask *a) {
    struct account_row *acc =
        world_account(a->arm, account_key(a, a->name[0], a->name[1], a->name[2]));
    if (acc && acc->deleted_ms == 0)
        return acc;
    accounts_not_found(a);
    return NULL;
}

void accounts_get(struct ask *a) {
    const struct account_row *acc = accounts_find(a);
    if (acc && ask_preconditions(a, &acc->row))
        ask_answer_row(a, 200, &acc->row);
}

/* To lists comes what lives and what the caller may read. */
static bool is_shown(struct ask *a, const struct row *r) {
    const struct account_row *acc = (const struct account_row *)(const void *)r;
    return acc->deleted_ms == 0 && ask_may(a, a->route->action, r->id);
}

void accounts_list_group(struct ask *a) {
    ask_answer_rows(a, ROW_ACCOUNT, account_key(a, a->name[0], a->name[1], STR("")), is_shown);
}

void accounts_list_subscription(struct ask *a) {
    struct str prefix = ask_format(a, "/subscriptions/%.*s/resourcegroups/", STR_ARG(a->name[0]));
    ask_answer_rows(a, ROW_ACCOUNT, ask_lower(a, prefix), is_shown);
}

/*
 * Creating and changing
 */
static bool is_subdomain(struct str s) {
    bool has_letter = false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!is_letter && !(c >= '0' && c <= '9') && (c != '-' || i == 0 || i == s.n - 1))
            return false;
        has_letter = has_letter || is_letter;
    }
    return has_letter && s.n >= 2 && s.n < RESOURCE_NAME_MAX;
}

/* Deleted accounts keep their subdomains: they may come back. */
static const struct account_row *holder_of(const struct arm *arm, struct str subdomain) {
    const struct table *t = &arm->tables[ROW_ACCOUNT];
    for (size_t i = 0; i < t->n; i++) {
        const struct account_row *acc = (const struct account_row *)(const void *)t->rows[i];
        if (acc->subdomain.n && str_ieq(acc->subdomain, subdomain))
            return acc;
    }
    return NULL;
}

static bool is_key_taken(const struct arm *arm, struct str key, struct str own) {
    const struct table *t = &arm->tables[ROW_ACCOUNT];
    for (size_t i = 0; i < t->n; i++) {
        const struct account_row *acc = (const struct account_row *)(const void *)t->rows[i];
        if (!str_eq(acc->row.key, own) &&
            (str_eq_secret(acc->keys[0], key) || str_eq_secret(acc->keys[1], key)))
            return true;
    }
    return false;
}

/* Deleted accounts are kept for two days, so that these too must have an end: as many for each of the
 * limit's accounts. */
enum { DELETED_PER_ACCOUNT = 3 };

static int64_t count_accounts(const struct arm *arm, const struct account_row *like,
                              bool is_deleted) {
    const struct table *t = &arm->tables[ROW_ACCOUNT];
    int64_t n = 0;
    for (size_t i = 0; i < t->n; i++) {
        const struct account_row *acc = (const struct account_row *)(const void *)t->rows[i];
        n += (acc->deleted_ms != 0) == is_deleted &&
             str_ieq(acc->subscription, like->subscription) &&
             str_ieq(acc->location, like->location) && str_ieq(acc->kind, like->kind);
    }
    return n;
}

/* 32 hexadecimal digits: 128 bits, as the service's keys have. */
static struct str new_key(struct ask *a) {
    uint64_t high = ask_random(a), low = ask_random(a);
    return ask_format(a, "%016llx%016llx", (unsigned long long)high, (unsigned long long)low);
}

static bool is_printable(struct str s) {
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] <= ' ' || s.p[i] > '~')
            return false;
    }
    return true;
}

/* Keys that the operator brings along, in a resource file. */
static void read_keys(struct ask *a, struct fields *p, struct account_row *acc) {
    static const char *const names[2] = {"key1", "key2"};
    static const char *const elsewhere[] = {"key1File", "key1Env", "key2File", "key2Env"};
    struct fields f;
    struct json_value v;
    if (!fields_object(p, "keys", &f))
        return;
    if (!a->req->caller.is_operator) {
        fields_refuse(p, "keys", "can be given by an operator only; use regenerateKey");
        return;
    }
    for (int k = 0; k < 2; k++) {
        if (!fields_str(&f, names[k], 16, 256, &acc->keys[k]))
            continue;
        if (!is_printable(acc->keys[k]))
            fields_refuse(&f, names[k], "must be printable ASCII without blanks");
        else if (is_key_taken(a->arm, acc->keys[k], acc->row.key))
            fields_refuse(&f, names[k], "is a key of another account");
    }
    if (str_eq(acc->keys[0], acc->keys[1]))
        fields_refuse(&f, "key2", "must differ from key1");
    for (size_t i = 0; i < ARRAY_LEN(elsewhere); i++) {
        if (fields_value(&f, elsewhere[i], &v))
            fields_refuse(&f, elsewhere[i], "names something on the client's side; give the key");
    }
}

/* What has no effect here is refused, unless it says what is the case anyway. */
static void refuse_idle(struct fields *p) {
    static const struct str enabled[] = {STR_INIT("Enabled")};
    static const char *const idle[] = {"encryption", "userOwnedStorage", "allowedFqdnList",
                                       "locations", "raiMonitorConfig"};
    struct fields acls;
    struct json_value v;
    struct str action = STR("Allow");
    bool flag = false;
    int any;
    fields_enum(p, "publicNetworkAccess", enabled, ARRAY_LEN(enabled), &any);
    if (fields_bool(p, "disableLocalAuth", &flag) && flag)
        fields_refuse(p, "disableLocalAuth", "keys cannot be switched off here; leave it out");
    if (fields_bool(p, "restrictOutboundNetworkAccess", &flag) && flag)
        fields_refuse(p, "restrictOutboundNetworkAccess", "does not act here; leave it out");
    if (fields_object(p, "networkAcls", &acls)) {
        struct json_iter it;
        fields_str(&acls, "defaultAction", 0, 16, &action);
        if (!str_ieq(action, STR("Allow")))
            fields_refuse(&acls, "defaultAction", "does not act here; only \"Allow\" is true");
        if ((fields_array(&acls, "ipRules", &it) && json_next(&it, &v)) ||
            (fields_array(&acls, "virtualNetworkRules", &it) && json_next(&it, &v)))
            fields_refuse(p, "networkAcls", "rules do not act here; use the firewall");
    }
    for (size_t i = 0; i < ARRAY_LEN(idle); i++) {
        struct json_iter it;
        struct json_value item;
        if (!fields_value(p, idle[i], &v))
            continue;
        json_items(&it, v);
        if (json_type(v) != JSON_ARRAY || json_next(&it, &item))
            fields_refuse(p, idle[i], "does not act here; leave it out");
    }
}

static bool read_subdomain(struct ask *a, struct fields *p, const struct account_row *old,
                           struct account_row *acc) {
    struct str s = STR("");
    if (!fields_str(p, "customSubDomainName", 0, 256, &s) || s.n == 0)
        return true;
    if (!is_subdomain(s)) {
        fields_refuse(p, "customSubDomainName",
                      "must be letters, digits and hyphens within, one letter at least");
        return true;
    }
    if (old && str_ieq(old->subdomain, s))
        return true;
    if (old && old->subdomain.n) {
        fields_refuse(p, "customSubDomainName", "is \"%.*s\" and cannot change",
                      STR_ARG(old->subdomain));
        return true;
    }
    if (holder_of(a->arm, s))
        return ask_fault(a, FAULT_SUBDOMAIN_IN_USE, "properties.customSubDomainName",
                         "The subdomain name '%.*s' is already used. Please pick a different name.",
                         STR_ARG(s));
    acc->subdomain = s;
    return true;
}

static bool read_location(struct ask *a, struct fields *f, const struct account_row *old,
                          struct account_row *acc) {
    struct str name = STR("");
    if (!fields_str(f, "location", 1, 256, &name)) {
        if (f->r->status != ST_OK || old)
            return true;
        return ask_fault(a, FAULT_LOCATION_REQUIRED, "location",
                         "The location property is required for this definition.");
    }
    const struct location *l = world_location(a->arm, name);
    if (!l)
        return ask_fault(a, FAULT_LOCATION_NOT_AVAILABLE, "location",
                         "The provided location '%.*s' is not available for resource type '%s'.",
                         (int)size_min(name.n, 80), name.p, account_type.p);
    if (old && !str_ieq(l->name, old->location))
        return ask_fault(a, FAULT_INVALID_LOCATION, "location",
                         "The resource '%.*s' already exists in location '%.*s' in resource group "
                         "'%.*s'. A resource with the same name cannot be created in location "
                         "'%.*s'. Please select a new resource name.",
                         STR_ARG(old->name), STR_ARG(old->location), STR_ARG(old->group),
                         STR_ARG(l->name));
    acc->location = old ? old->location : l->name;
    return true;
}

/* A resource file tells what there is, whatever was limited or deleted since. */
static bool is_import(const struct ask *a) {
    return a->req->is_import && a->req->caller.is_operator;
}

/* The body over `acc`, which holds what it does not mention. */
static bool read_account(struct ask *a, const struct account_row *old, struct account_row *acc) {
    static const struct str skus[] = {STR_INIT("S0")};
    static const struct str identities[] = {STR_INIT("None"), STR_INIT("SystemAssigned"),
                                            STR_INIT("UserAssigned"),
                                            STR_INIT("SystemAssigned, UserAssigned")};
    struct reader r;
    struct problem why;
    struct fields f, p, sub;
    int kind = 0, any = 0;
    if (!ask_needs_body(a, &f, &r, &why) || !read_location(a, &f, old, acc))
        return false;
    bool has_kind = fields_enum(&f, "kind", kinds, ARRAY_LEN(kinds), &kind);
    if (has_kind && old && !str_ieq(old->kind, kinds[kind]))
        fields_refuse(&f, "kind", "is %.*s and cannot change", STR_ARG(old->kind));
    /* A resource file need not say it (docs/resources.md), with a control plane as without one. */
    if (!old && !is_import(a))
        fields_require(&f, "kind", has_kind, "\"OpenAI\" or \"AIServices\"");
    if (!old)
        acc->kind = kinds[kind];
    if (fields_object(&f, "sku", &sub))
        fields_enum(&sub, "name", skus, ARRAY_LEN(skus), &any);
    if (fields_object(&f, "identity", &sub) &&
        fields_enum(&sub, "type", identities, ARRAY_LEN(identities), &any))
        acc->identity = identities[any];
    if (a->req->method == ARM_PUT_METHOD)
        acc->row.tags = STR("");
    ask_tags(a, &f, &acc->row.tags);
    if (fields_object(&f, "properties", &p)) {
        if (!read_subdomain(a, &p, old, acc))
            return false;
        read_keys(a, &p, acc);
        refuse_idle(&p);
    }
    return ask_reader_ok(a, &r, FAULT_INVALID_PROPERTIES);
}

static bool is_same(const struct account_row *x, const struct account_row *y) {
    return str_eq(x->subdomain, y->subdomain) && str_eq(x->row.tags, y->row.tags) &&
           str_eq(x->identity, y->identity) && str_eq(x->keys[0], y->keys[0]) &&
           str_eq(x->keys[1], y->keys[1]);
}

/* Puts the account into the world and answers; `old` is what it replaces. */
static void put_account(struct ask *a, struct account_row *acc, const struct account_row *old) {
    bool moves = !old || old->deleted_ms || !str_eq(old->subdomain, acc->subdomain) ||
                 !str_eq(old->keys[0], acc->keys[0]) || !str_eq(old->keys[1], acc->keys[1]);
    int status = old && !old->deleted_ms ? 200 : 201;
    if (moves) {
        acc->row.version = ask_moves_account(a, acc->row.key);
        acc->row.state = status == 201 ? ROW_CREATING : ROW_UPDATING;
    }
    acc->row.etag = ask_etag(a);
    acc->row.changed = ask_stamp(a);
    const struct account_row *now = (const struct account_row *)(void *)ask_put(a, &acc->row);
    if (moves)
        ask_begin_operation(a, now->subscription, now->location, now->row.key, true);
    ask_answer_row(a, status, &now->row);
}

static bool is_within_limit(struct ask *a, const struct account_row *acc) {
    int64_t limit = a->arm->settings.accounts_per_location;
    if (count_accounts(a->arm, acc, false) >= limit)
        return ask_fault(a, FAULT_TOO_MANY_ACCOUNTS, "",
                         "The subscription has %lld accounts of kind '%.*s' in location '%.*s' "
                         "already, which is the limit.",
                         (long long)limit, STR_ARG(acc->kind), STR_ARG(acc->location));
    int64_t deleted_limit = DELETED_PER_ACCOUNT * limit;
    if (count_accounts(a->arm, acc, true) >= deleted_limit)
        return ask_fault(a, FAULT_TOO_MANY_ACCOUNTS, "",
                         "The subscription has %lld soft-deleted accounts of kind '%.*s' in "
                         "location '%.*s'. Purge some of them.",
                         (long long)deleted_limit, STR_ARG(acc->kind), STR_ARG(acc->location));
    return true;
}

static void create(struct ask *a, const struct account_row *blank) {
    struct account_row acc = *blank;
    if (acc.name.n < 2) {
        ask_fault(a, FAULT_INVALID_NAME, "name", "The account name '%.*s' must have 2 to 64 bytes.",
                  STR_ARG(acc.name));
        return;
    }
    if (!read_account(a, NULL, &acc))
        return;
    if (!is_import(a) && !is_within_limit(a, &acc))
        return;
    for (int k = 0; k < 2; k++) {
        if (acc.keys[k].n == 0)
            acc.keys[k] = new_key(a);
    }
    char guid[GUID_TEXT];
    uint64_t high = ask_random(a), low = ask_random(a);
    acc.internal_id = guid_text(high, low, guid);
    put_account(a, &acc, NULL);
}

static void each_deployment(struct ask *a, struct str account_key_text,
                            bool (*what)(struct ledger *, struct str)) {
    struct str prefix = ask_format(a, "%.*s/deployments/", STR_ARG(account_key_text));
    const struct table *t = &a->arm->tables[ROW_DEPLOYMENT];
    const struct row *r;
    for (size_t at = table_seek(t, prefix); (r = table_next(t, prefix, &at));) {
        bool ok = what(a->arm->ledger, r->key);
        assert(ok); /* each deployment has its grant */
    }
}

static void restore(struct ask *a, const struct account_row *old) {
    struct account_row acc = *old;
    struct reader r;
    struct problem why;
    struct fields f;
    if (!ask_needs_body(a, &f, &r, &why) || !read_location(a, &f, old, &acc) ||
        !ask_reader_ok(a, &r, FAULT_INVALID_CONTENT))
        return;
    if (is_import(a) && !read_account(a, old, &acc))
        return;
    acc.deleted_ms = acc.purge_ms = 0;
    each_deployment(a, old->row.key, ledger_restore);
    put_account(a, &acc, old);
}

/* Whether the body asks for a deleted account to come back. */
static bool asks_to_restore(const struct ask *a) {
    struct json_value p, v;
    return a->has_body && json_get(a->body, STR("properties"), &p) && json_type(p) == JSON_OBJECT &&
           json_get(p, STR("restore"), &v) && json_bool(v);
}

static void change(struct ask *a, const struct account_row *old) {
    struct account_row acc = *old;
    if (!read_account(a, old, &acc))
        return;
    if (is_same(&acc, old))
        ask_answer_row(a, 200, &old->row);
    else
        put_account(a, &acc, old);
}

void accounts_put(struct ask *a) {
    const struct group *g = world_group(a->arm, a->name[0], a->name[1]);
    const struct subscription *s = world_subscription(a->arm, a->name[0]);
    struct account_row blank = {
        .row = {.type = ROW_ACCOUNT,
                .created = ask_stamp(a),
                .id = ask_format(a, "%.*s/providers/Microsoft.CognitiveServices/accounts/%.*s",
                                 STR_ARG(g->row.id), STR_ARG(a->name[2]))},
        .name = a->name[2],
        .subscription = s->name,
        .group = g->name};
    blank.row.key = ask_lower(a, blank.row.id);
    const struct account_row *old = world_account(a->arm, blank.row.key);
    bool is_alive = old && old->deleted_ms == 0;
    if (!ask_preconditions(a, is_alive ? &old->row : NULL))
        return;
    if (old && !is_alive && !asks_to_restore(a) && !is_import(a))
        ask_fault(a, FAULT_MUST_RESTORE, "properties.restore",
                  "An existing resource with ID '%.*s' has been soft-deleted. To restore the "
                  "resource, you must specify 'restore' to be 'true' in the property. If you don't "
                  "want to restore existing resource, please purge it first.",
                  STR_ARG(old->row.id));
    else if (!old && asks_to_restore(a))
        ask_fault(a, FAULT_RESOURCE_NOT_FOUND, "properties.restore",
                  "There is no soft-deleted resource '%.*s' to restore.", STR_ARG(blank.row.id));
    else if (is_alive)
        change(a, old);
    else if (old)
        restore(a, old);
    else
        create(a, &blank);
}

void accounts_patch(struct ask *a) {
    const struct account_row *old = accounts_find(a);
    if (old && ask_preconditions(a, &old->row))
        change(a, old);
}

/*
 * Keys
 */
static void answer_keys(struct ask *a, const struct account_row *acc) {
    struct json_writer w = ask_answer(a, 200);
    json_begin_object(&w);
    shape_key_str(&w, "key1", acc->keys[0]);
    shape_key_str(&w, "key2", acc->keys[1]);
    json_end_object(&w);
}

void accounts_list_keys(struct ask *a) {
    const struct account_row *acc = accounts_find(a);
    if (acc)
        answer_keys(a, acc);
}

void accounts_regenerate_key(struct ask *a) {
    static const struct str names[] = {STR_INIT("Key1"), STR_INIT("Key2")};
    const struct account_row *old = accounts_find(a);
    struct reader r;
    struct problem why;
    struct fields f;
    int which = 0;
    if (!old || !ask_needs_body(a, &f, &r, &why))
        return;
    bool has_name = fields_enum(&f, "keyName", names, ARRAY_LEN(names), &which);
    fields_require(&f, "keyName", has_name, "\"Key1\" or \"Key2\"");
    if (!ask_reader_ok(a, &r, FAULT_INVALID_CONTENT))
        return;
    struct account_row acc = *old;
    acc.keys[which] = new_key(a);
    acc.row.etag = ask_etag(a);
    acc.row.changed = ask_stamp(a);
    acc.row.version = ask_moves_account(a, acc.row.key);
    answer_keys(a, (const struct account_row *)(void *)ask_put(a, &acc.row));
}

/*
 * Deleting
 */
void accounts_soft_delete(struct ask *a, const struct account_row *old) {
    struct account_row acc = *old;
    each_deployment(a, old->row.key, ledger_hold);
    acc.deleted_ms = a->req->now_ms;
    acc.purge_ms = a->req->now_ms + a->arm->settings.soft_delete_ms;
    acc.row.state = ROW_SETTLED;
    acc.row.version = ask_moves_account(a, acc.row.key);
    acc.row.etag = STR("");
    ask_put(a, &acc.row);
}

void accounts_delete(struct ask *a) {
    struct str key = account_key(a, a->name[0], a->name[1], a->name[2]);
    const struct account_row *old = world_account(a->arm, key);
    if (!old || old->deleted_ms) {
        if (ask_preconditions(a, NULL))
            a->out->status = 204;
        return;
    }
    if (!ask_preconditions(a, &old->row))
        return;
    accounts_soft_delete(a, old);
    const struct account_row *now = world_account(a->arm, key);
    ask_begin_operation(a, now->subscription, now->location, key, true);
    a->out->status = 202;
}

static bool is_deleted(struct ask *a, const struct row *r) {
    const struct account_row *acc = (const struct account_row *)(const void *)r;
    return acc->deleted_ms != 0 && ask_may(a, a->route->action, r->id);
}

void accounts_deleted_list(struct ask *a) {
    struct str prefix = ask_format(a, "/subscriptions/%.*s/resourcegroups/", STR_ARG(a->name[0]));
    ask_answer_rows(a, ROW_ACCOUNT, ask_lower(a, prefix), is_deleted);
}

/* Names: subscription, location, group, account. */
static struct account_row *find_deleted(struct ask *a) {
    struct account_row *acc =
        world_account(a->arm, account_key(a, a->name[0], a->name[2], a->name[3]));
    const struct location *l = world_location(a->arm, a->name[1]);
    bool is_it = acc && acc->deleted_ms && l && str_ieq(l->name, acc->location);
    return is_it ? acc : NULL;
}

void accounts_deleted_get(struct ask *a) {
    const struct account_row *acc = find_deleted(a);
    if (acc)
        ask_answer_row(a, 200, &acc->row);
    else
        ask_fault(a, FAULT_RESOURCE_NOT_FOUND, "",
                  "There is no soft-deleted account '%.*s' of resource group '%.*s' in location "
                  "'%.*s'.",
                  STR_ARG(a->name[3]), STR_ARG(a->name[2]), STR_ARG(a->name[1]));
}

void accounts_purge(struct ask *a) {
    struct account_row *acc = find_deleted(a);
    if (!acc) {
        a->out->status = 204;
        return;
    }
    struct str before = ask_shown(a, &acc->row), id = arena_str(a->memory, acc->row.id);
    struct str location = arena_str(a->memory, acc->location);
    struct str subscription = arena_str(a->memory, acc->subscription);
    world_forget_account(a->arm, acc, a->changes);
    ask_audit(a, id, before, STR(""));
    ask_begin_operation(a, subscription, location, ask_lower(a, id), false);
    a->out->status = 202;
}

/*
 * Questions
 */
void accounts_skus(struct ask *a) {
    if (!accounts_find(a))
        return;
    struct json_writer w = ask_answer(a, 200);
    json_begin_object(&w);
    json_key(&w, STR("value"));
    json_begin_array(&w);
    json_begin_object(&w);
    shape_key_str(&w, "resourceType", account_type);
    shape_begin(&w, "sku");
    shape_key_str(&w, "name", STR("S0"));
    shape_key_str(&w, "tier", STR("Standard"));
    json_end_object(&w);
    json_end_object(&w);
    json_end_array(&w);
    json_end_object(&w);
}

/* What an account itself limits: its standard deployments. */
void accounts_usages(struct ask *a) {
    const struct account_row *acc = accounts_find(a);
    if (!acc)
        return;
    struct str prefix = ask_format(a, "%.*s/deployments/", STR_ARG(acc->row.key));
    const struct table *t = &a->arm->tables[ROW_DEPLOYMENT];
    const struct row *r;
    int64_t n = 0;
    for (size_t at = table_seek(t, prefix); (r = table_next(t, prefix, &at));)
        n += !sku_is_provisioned(((const struct deployment_row *)(const void *)r)->sku);
    struct json_writer w = ask_answer(a, 200);
    json_begin_object(&w);
    json_key(&w, STR("value"));
    json_begin_array(&w);
    json_begin_object(&w);
    shape_begin(&w, "name");
    shape_key_str(&w, "value", STR("OpenAI.StandardDeployments"));
    shape_key_str(&w, "localizedValue", STR("Standard deployments of this resource"));
    json_end_object(&w);
    shape_key_str(&w, "unit", STR("Count"));
    shape_key_i64(&w, "currentValue", n);
    shape_key_i64(&w, "limit", a->arm->settings.standard_deployments_per_account);
    json_end_object(&w);
    json_end_array(&w);
    json_end_object(&w);
}

void accounts_models(struct ask *a) {
    const struct account_row *acc = accounts_find(a);
    if (!acc)
        return;
    const struct catalog *c = snapshot_catalog(a->arm->capacity);
    struct json_writer w = ask_answer(a, 200);
    json_begin_object(&w);
    json_key(&w, STR("value"));
    json_begin_array(&w);
    for (size_t i = 0; i < c->n; i++) {
        json_begin_object(&w);
        shape_write_model(a->arm, &w, c->all[i]);
        json_end_object(&w);
    }
    json_end_array(&w);
    json_end_object(&w);
}

void accounts_check_domain(struct ask *a) {
    struct reader r;
    struct problem why;
    struct fields f;
    struct str name = STR(""), type = account_type, kind = STR("");
    if (!ask_needs_body(a, &f, &r, &why))
        return;
    bool has_name = fields_str(&f, "subdomainName", 1, 256, &name);
    fields_require(&f, "subdomainName", has_name, "give the name to look up");
    fields_str(&f, "type", 0, 128, &type);
    fields_str(&f, "kind", 0, 64, &kind);
    if (!ask_reader_ok(a, &r, FAULT_INVALID_CONTENT))
        return;
    bool is_valid = is_subdomain(name);
    bool is_free = is_valid && !holder_of(a->arm, name);
    struct json_writer w = ask_answer(a, 200);
    json_begin_object(&w);
    shape_key_bool(&w, "isSubdomainAvailable", is_free);
    if (!is_free)
        shape_key_str(&w, "reason",
                      is_valid
                          ? STR("Sub domain name is already used. Please pick a different one.")
                          : STR("Sub domain name is not valid: letters, digits and hyphens."));
    shape_key_str(&w, "subdomainName", name);
    shape_key_str(&w, "type", type);
    if (kind.n)
        shape_key_str(&w, "kind", kind);
    json_end_object(&w);
}

static bool is_sold(struct str kind, struct str sku) {
    return (str_ieq(kind, kinds[0]) || str_ieq(kind, kinds[1])) && str_ieq(sku, STR("S0"));
}

void accounts_check_sku(struct ask *a) {
    struct reader r;
    struct problem why;
    struct fields f;
    struct str kind = STR(""), type = account_type;
    struct json_iter it;
    struct json_value v;
    if (!ask_needs_body(a, &f, &r, &why))
        return;
    bool has_skus = fields_array(&f, "skus", &it);
    fields_require(&f, "skus", has_skus, "as in [\"S0\"]");
    bool has_kind = fields_str(&f, "kind", 1, 64, &kind);
    fields_require(&f, "kind", has_kind, "as in \"OpenAI\"");
    fields_str(&f, "type", 0, 128, &type);
    if (!ask_reader_ok(a, &r, FAULT_INVALID_CONTENT))
        return;
    bool is_here = world_location(a->arm, a->name[1]);
    struct json_writer w = ask_answer(a, 200);
    json_begin_object(&w);
    json_key(&w, STR("value"));
    json_begin_array(&w);
    for (int n = 0; json_next(&it, &v) && n < 100; n++) {
        bool is_available = is_here && is_sold(kind, json_str(v));
        json_begin_object(&w);
        shape_key_str(&w, "kind", kind);
        shape_key_str(&w, "type", type);
        shape_key_str(&w, "skuName", json_str(v));
        shape_key_bool(&w, "skuAvailable", is_available);
        if (!is_available) {
            shape_key_str(&w, "reason", STR("NotAvailableForSubscription"));
            shape_key_str(&w, "message",
                          STR("This SKU is not sold for this kind in this location."));
        }
        json_end_object(&w);
    }
    json_end_array(&w);
    json_end_object(&w);
}
