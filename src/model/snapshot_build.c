/* snapshot_build.c - compiles resources into a snapshot, or says which of them is wrong and why. */
#include "model/snapshot_private.h"

#include <stdio.h>
#include <stdlib.h>

/* All that a build needs. Types are compiled in the order of enum resource_type, so that what a
 * resource refers to is there already. */
struct build {
    struct snapshot *s;
    const struct resource **items; /* owned; by type and key */
    size_t n, n_of_type[RESOURCE_TYPE_COUNT];
    const struct secret_reader *secrets;
    struct problem *why;
    struct map by_key;   /* key of a resource to its struct */
    struct map servings; /* see struct serving */
};

/* The backends for a model, reach and location: the same for all deployments that share them. */
struct serving {
    const struct backend **backends;
    size_t n;
    int64_t ptus; /* of their pools */
};

/* One resource while it is read. */
struct entry {
    const struct resource *res;
    struct reader r;
    struct fields top;
};

static void *alloc(struct build *b, size_t count, size_t size) {
    void *p = arena_alloc(&b->s->memory, count * size);
    assert(p); /* the arena has no ceiling: the resources' texts were bounded before */
    memset(p, 0, count * size);
    return p;
}

static struct str keep(struct build *b, struct str s) {
    return arena_str(&b->s->memory, s);
}

static void entry_begin(struct build *b, struct entry *e, const struct resource *res) {
    static const char *const ignored[] = {"id", "name", "type", "etag", "tags", "systemData"};
    e->res = res;
    reader_init(&e->r, res->file, res->pointer, b->why, &b->s->warnings);
    fields_begin(&e->top, &e->r, res->value, "");
    fields_ignore(&e->top, ignored, ARRAY_LEN(ignored));
}

static enum status entry_end(struct entry *e) {
    fields_end(&e->top);
    return e->r.status;
}

/* The struct of the resource whose key is this one's without the last two parts. */
static void *parent(const struct build *b, const struct resource *res) {
    struct str key = res->key;
    for (int slashes = 0; slashes < 2; key.n--)
        slashes += key.p[key.n - 1] == '/';
    return map_get(&b->by_key, key);
}

/* "East US" and "eastus" are one location, as in Azure. */
static const struct location *find_location(const struct build *b, struct str name) {
    char text[128] = "/providers/weir.capacity/locations/";
    size_t n = strlen(text);
    for (size_t i = 0; i < name.n && n < sizeof text; i++) {
        if (name.p[i] != ' ')
            n += lower_str((struct str){name.p + i, 1}, text + n).n;
    }
    return map_get(&b->by_key, (struct str){text, n});
}

/* The member `location`, which must be one that there is. */
static const struct location *read_location(struct build *b, struct entry *e) {
    struct str name;
    if (!fields_str(&e->top, "location", 1, RESOURCE_NAME_MAX, &name)) {
        fields_require(&e->top, "location", false, "name the location that it is in");
        return NULL;
    }
    const struct location *l = find_location(b, name);
    if (!l)
        fields_refuse(&e->top, "location",
                      "there is no location \"%.*s\"; add a resource with the id "
                      "/providers/Weir.Capacity/locations/%.*s",
                      STR_ARG(name), STR_ARG(name));
    return l;
}

/* Names under which one secret may be given: itself, the name of a file, of a variable. */
struct secret_names {
    const char *value, *file, *env;
};

/* Reads a secret of min to max printable bytes; "" when it is not given. */
static struct str read_secret(struct build *b, struct entry *e, struct fields *f,
                              const struct secret_names *names, size_t min, size_t max) {
    struct str value = STR(""), file, env;
    bool has_value = fields_str(f, names->value, 1, SIZE_MAX, &value);
    bool has_file = fields_str(f, names->file, 1, 4096, &file);
    bool has_env = fields_str(f, names->env, 1, 256, &env);
    const char *given = has_value ? names->value : has_file ? names->file : names->env;
    if (has_value + has_file + has_env > 1)
        fields_refuse(f, given, "only one of %s, %s and %s may be given", names->value, names->file,
                      names->env);
    if (e->r.status != ST_OK || has_value + has_file + has_env == 0)
        return STR("");
    struct buf text;
    buf_init(&text, 64 * 1024);
    if (!has_value) {
        struct str name = has_file ? file : env;
        enum status st = ST_BAD_REQUEST;
        if (b->secrets && b->secrets->read)
            st = b->secrets->read(b->secrets->arg, has_file ? SECRET_FILE : SECRET_ENV, name,
                                  e->res->file, &text);
        if (st != ST_OK || buf_status(&text) != ST_OK)
            fields_refuse(f, given, "the %s \"%.*s\" cannot be read",
                          has_file ? "file" : "environment variable", (int)size_min(name.n, 200),
                          name.p);
        value = str_trim(buf_view(&text));
    }
    bool is_printable = true;
    for (size_t i = 0; i < value.n; i++)
        is_printable = is_printable && value.p[i] > ' ' && value.p[i] <= '~';
    if (str_eq(value, STR("***")))
        fields_refuse(f, given, "is the mask that stands for a secret in listings, not the secret");
    else if (value.n < min || value.n > max)
        fields_refuse(f, given, "must have %zu to %zu bytes, not %zu", min, max, value.n);
    else if (!is_printable)
        fields_refuse(f, given, "must be printable ASCII without blanks");
    struct str kept = keep(b, value);
    buf_destroy(&text);
    return kept;
}

/* --- the types, in order --- */

/* Subscriptions and resource groups only group; other resources name them in their ids. */
static enum status build_group(struct build *b, const struct resource *res) {
    static const char *const ignored[] = {"displayName", "subscriptionId", "tenantId", "state",
                                          "location",    "properties",     "managedBy"};
    struct entry e;
    entry_begin(b, &e, res);
    fields_ignore(&e.top, ignored, ARRAY_LEN(ignored));
    return entry_end(&e);
}

static enum status build_model(struct build *b, const struct resource *res) {
    struct reader r;
    reader_init(&r, res->file, res->pointer, b->why, &b->s->warnings);
    catalog_add(&b->s->catalog, resource_id_name(&res->id), res->value, &r, true);
    return r.status;
}

static enum status build_location(struct build *b, const struct resource *res) {
    struct location *l = &b->s->locations[b->s->n_locations];
    struct entry e;
    struct fields p;
    entry_begin(b, &e, res);
    *l = (struct location){.index = b->s->n_locations++,
                           .id = keep(b, res->id_text),
                           .name = keep(b, resource_id_name(&res->id))};
    l->display_name = l->name;
    if (fields_object(&e.top, "properties", &p)) {
        if (fields_str(&p, "displayName", 1, 100, &l->display_name))
            l->display_name = keep(b, l->display_name);
        if (fields_str(&p, "dataZone", 1, RESOURCE_NAME_MAX, &l->data_zone))
            l->data_zone = keep(b, l->data_zone);
        fields_end(&p);
    }
    map_put(&b->by_key, res->key, l);
    return entry_end(&e);
}

static void read_pool_model(struct build *b, struct fields *pool, struct json_value v, size_t i,
                            struct pool_model *m) {
    struct fields f;
    char path[2 * FIELDS_PATH];
    snprintf(path, sizeof path, "%s/models/%zu", pool->path, i);
    fields_begin(&f, pool->r, v, path);
    *m = (struct pool_model){STR("OpenAI"), STR(""), STR("")};
    fields_str(&f, "format", 1, RESOURCE_NAME_MAX, &m->format);
    bool has_name = fields_str(&f, "name", 1, RESOURCE_NAME_MAX, &m->name);
    fields_str(&f, "version", 0, RESOURCE_NAME_MAX, &m->version);
    fields_require(&f, "name", has_name, "name a model of the catalog");
    fields_end(&f);
    if (has_name && !catalog_find(&b->s->catalog, m->format, m->name, m->version))
        fields_refuse(&f, "name",
                      "the catalog has no model \"%.*s.%.*s.%.*s\"; add a resource with the id "
                      "/providers/Weir.Capacity/models/%.*s.%.*s.%.*s",
                      STR_ARG(m->format), STR_ARG(m->name), STR_ARG(m->version), STR_ARG(m->format),
                      STR_ARG(m->name), STR_ARG(m->version));
    m->format = keep(b, m->format);
    m->name = keep(b, m->name);
    m->version = keep(b, m->version);
}

static void read_pool_models(struct build *b, struct fields *p, struct pool *pool) {
    struct json_iter it, again;
    struct json_value v;
    if (!fields_array(p, "models", &it)) {
        fields_require(p, "models", false,
                       "list what the pool serves, as in [{\"name\": \"gpt-4o\"}]");
        return;
    }
    for (again = it; json_next(&again, &v);)
        pool->n_models++;
    struct pool_model *models = alloc(b, pool->n_models, sizeof *models);
    for (size_t i = 0; json_next(&it, &v); i++)
        read_pool_model(b, p, v, i, &models[i]);
    pool->models = models;
}

static enum status build_pool(struct build *b, const struct resource *res) {
    struct pool *pool = &b->s->pools[b->s->n_pools];
    struct entry e;
    struct fields p;
    entry_begin(b, &e, res);
    *pool = (struct pool){.index = b->s->n_pools++,
                          .id = keep(b, res->id_text),
                          .name = keep(b, resource_id_name(&res->id))};
    pool->location = read_location(b, &e);
    if (fields_object(&e.top, "properties", &p)) {
        fields_i64(&p, "ptus", 0, 100 * 1000 * 1000, &pool->ptus);
        read_pool_models(b, &p, pool);
        fields_end(&p);
    } else {
        fields_require(&e.top, "properties", false, "it holds ptus and models");
    }
    map_put(&b->by_key, res->key, pool);
    return entry_end(&e);
}

static void read_url(struct build *b, struct fields *p, struct backend *be) {
    struct problem reason = {0};
    bool has_url = fields_str(p, "url", 1, 1024, &be->url_text);
    fields_require(p, "url", has_url, "give the server's base, as in http://127.0.0.1:8000");
    if (!has_url)
        return;
    be->url_text = keep(b, be->url_text);
    if (url_parse(be->url_text, &be->url, &reason) != ST_OK)
        fields_refuse(p, "url", "%s", reason.message);
}

static void read_backend_auth(struct build *b, struct entry *e, struct fields *p,
                              struct backend *be) {
    static const struct str headers[] = {STR_INIT("authorization"), STR_INIT("api-key")};
    static const struct secret_names names = {"apiKey", "apiKeyFile", "apiKeyEnv"};
    int header = be->dialect == DIALECT_AZURE;
    fields_enum(p, "apiKeyHeader", headers, ARRAY_LEN(headers), &header);
    struct str key = read_secret(b, e, p, &names, 1, 4096);
    if (key.n == 0)
        return;
    struct buf line;
    buf_init(&line, 8192);
    buf_str(&line, headers[header]);
    if (header == 0)
        buf_lit(&line, ": Bearer ");
    else
        buf_lit(&line, ": ");
    buf_str(&line, key);
    buf_lit(&line, "\r\n");
    be->auth_header = keep(b, buf_view(&line));
    buf_destroy(&line);
}

/* A text that goes into a path or a JSON body as it is. */
static struct str read_plain(struct build *b, struct fields *p, const char *name) {
    struct str s = STR("");
    fields_str(p, name, 0, 256, &s);
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] <= ' ' || s.p[i] > '~' || memchr("\"\\?#%&", s.p[i], 6)) {
            fields_refuse(p, name, "must be printable ASCII without blanks and \"\\?#%%&");
            break;
        }
    }
    return keep(b, s);
}

static void read_backend(struct build *b, struct entry *e, struct fields *p, struct backend *be) {
    static const struct str dialects[] = {STR_INIT("openai"), STR_INIT("azure")};
    static const struct str gone[] = {STR_INIT("cancel"), STR_INIT("drain")};
    int dialect = 0, on_gone = 0;
    read_url(b, p, be);
    fields_enum(p, "dialect", dialects, ARRAY_LEN(dialects), &dialect);
    be->dialect = (enum dialect)dialect;
    read_backend_auth(b, e, p, be);
    be->model_name = read_plain(b, p, "modelName");
    be->deployment_name = read_plain(b, p, "deploymentName");
    be->api_version = read_plain(b, p, "apiVersion");
    if (be->dialect == DIALECT_AZURE && be->api_version.n == 0)
        be->api_version = STR("2024-10-21"); /* the newest stable one of the data plane */
    if (be->dialect != DIALECT_AZURE && be->deployment_name.n > 0)
        fields_refuse(p, "deploymentName", "acts only with \"dialect\": \"azure\"");
    if (be->dialect != DIALECT_AZURE && be->api_version.n > 0)
        fields_refuse(p, "apiVersion", "acts only with \"dialect\": \"azure\"");
    fields_enum(p, "onClientGone", gone, ARRAY_LEN(gone), &on_gone);
    be->on_client_gone = (enum on_client_gone)on_gone;
    fields_i64(p, "weight", 1, 1000, &be->weight);
    fields_i64(p, "priority", 1, 100, &be->priority);
    bool has_ca = fields_str(p, "caFile", 1, 4096, &be->ca_file);
    bool has_verify = fields_bool(p, "insecureSkipVerify", &be->is_insecure);
    be->ca_file = keep(b, be->ca_file);
    if (!be->url.is_tls && (has_ca || (has_verify && be->is_insecure)))
        fields_refuse(p, has_ca ? "caFile" : "insecureSkipVerify", "acts only with an https url");
    fields_i64(p, "maxConnections", 0, 100000, &be->max_connections);
    fields_i64(p, "connectTimeoutMs", 10, 600000, &be->connect_timeout_ms);
    fields_i64(p, "firstByteTimeoutMs", 10, 3600000, &be->first_byte_timeout_ms);
    fields_i64(p, "idleTimeoutMs", 10, 3600000, &be->idle_timeout_ms);
}

static enum status build_backend(struct build *b, const struct resource *res) {
    struct backend *be = &b->s->backends[b->s->n_backends];
    struct pool *pool = parent(b, res);
    struct entry e;
    struct fields p;
    entry_begin(b, &e, res);
    *be = (struct backend){.index = b->s->n_backends++,
                           .id = keep(b, res->id_text),
                           .name = keep(b, resource_id_name(&res->id)),
                           .pool = pool,
                           .weight = 1,
                           .priority = 1,
                           .connect_timeout_ms = 5000,
                           /* A long prompt may wait and prefill for minutes before its first token;
                            * between two tokens a minute is an eternity. */
                           .first_byte_timeout_ms = 600000,
                           .idle_timeout_ms = 120000};
    if (!pool) {
        fields_refuse(&e.top, "id", "there is no pool \"%.*s\" for this backend; add it",
                      STR_ARG(res->id.name[0]));
        return e.r.status;
    }
    /* Keys are sorted, so the backends of a pool come one after the other. */
    if (pool->n_backends++ == 0)
        pool->backends = be;
    if (fields_object(&e.top, "properties", &p)) {
        read_backend(b, &e, &p, be);
        fields_end(&p);
    } else {
        fields_require(&e.top, "properties", false, "it holds the url");
    }
    return entry_end(&e);
}

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
    char *lower = alloc(b, text.n, 1);
    a->subdomain = lower_str(text, lower);
    const struct account *other = map_get(&b->s->by_subdomain, a->subdomain);
    if (!is_subdomain(a->subdomain))
        fields_refuse(p, "customSubDomainName",
                      "must be letters, digits and hyphens within, one letter at least");
    else if (other)
        fields_refuse(p, "customSubDomainName", "is taken by the account %.*s",
                      (int)size_min(other->id.n, 200), other->id.p);
    else
        map_put(&b->s->by_subdomain, a->subdomain, a);
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
        a->keys[k] = read_secret(b, e, &f, &names[k], 16, 256);
        if (e->r.status != ST_OK || a->keys[k].n == 0)
            continue;
        if (!snapshot_put_key(b->s, a->keys[k], a)) {
            const struct account *other = snapshot_account_by_key(b->s, a->keys[k]);
            fields_refuse(&f, names[k].value,
                          "is also a key of %.*s; a key must belong to one account only, and once",
                          (int)size_min(other->id.n, 200), other->id.p);
        }
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

static enum status build_account(struct build *b, const struct resource *res) {
    static const struct str kinds[] = {STR_INIT("OpenAI"), STR_INIT("AIServices")};
    static const struct str skus[] = {STR_INIT("S0")};
    struct account *a = &b->s->accounts[b->s->n_accounts];
    struct entry e;
    struct fields p, sku;
    int kind = 0, s0;
    entry_begin(b, &e, res);
    *a = (struct account){.index = b->s->n_accounts++,
                          .id = keep(b, res->id_text),
                          .name = keep(b, resource_id_name(&res->id)),
                          .subscription = keep(b, res->id.name[0]),
                          .resource_group = keep(b, res->id.name[1])};
    if (a->name.n < 2)
        fields_refuse(&e.top, "id", "an account's name must have 2 to 64 bytes");
    fields_enum(&e.top, "kind", kinds, ARRAY_LEN(kinds), &kind);
    a->kind = kinds[kind];
    a->location = read_location(b, &e);
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
    map_put(&b->by_key, res->key, a);
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
        d->model = catalog_find(&b->s->catalog, format, name, version);
        if (!d->model)
            fields_refuse(&f,
                          catalog_find(&b->s->catalog, format, name, STR("")) ? "version" : "name",
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

static const struct serving *find_serving(struct build *b, const struct deployment *d) {
    struct {
        const struct model *model;
        uintptr_t reach, location; /* words, so that the key has no padding */
    } key = {d->model, sku_reach(d->sku), d->account->location->index};
    if (key.reach == REACH_GLOBAL)
        key.location = 0;
    struct serving *v = map_get(&b->servings, (struct str){(const char *)&key, sizeof key});
    if (v)
        return v;
    v = alloc(b, 1, sizeof *v);
    v->backends = alloc(b, b->s->n_backends, sizeof *v->backends);
    for (size_t i = 0; i < b->s->n_pools; i++) {
        const struct pool *pool = &b->s->pools[i];
        if (!is_in_reach(d->account->location, (enum reach)key.reach, pool->location) ||
            !serves(pool, d->model))
            continue;
        for (size_t j = 0; j < pool->n_backends; j++)
            v->backends[v->n++] = &pool->backends[j];
        v->ptus += pool->ptus;
    }
    map_put(&b->servings, keep(b, (struct str){(const char *)&key, sizeof key}), v);
    return v;
}

static void set_rates(struct deployment *d) {
    const struct model *m = d->model;
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

static enum status build_deployment(struct build *b, const struct resource *res) {
    struct deployment *d = &b->s->deployments[b->s->n_deployments];
    struct account *account = parent(b, res);
    struct entry e;
    struct fields p;
    entry_begin(b, &e, res);
    if (!account) {
        fields_refuse(
            &e.top, "id",
            "there is no account \"%.*s\" in this subscription and resource group; add it",
            STR_ARG(res->id.name[2]));
        return e.r.status;
    }
    *d = (struct deployment){.index = b->s->n_deployments++,
                             .id = keep(b, res->id_text),
                             .name = keep(b, resource_id_name(&res->id)),
                             .account = account};
    /* Keys are sorted, so the deployments of an account come one after the other. */
    if (account->n_deployments++ == 0)
        account->deployments = d;
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
    char *key = alloc(b, DEPLOYMENT_KEY_MAX, 1);
    map_put(&b->s->by_deployment, deployment_key(account, d->name, key), d);
    return ST_OK;
}

/* --- all of it --- */

static int by_type_and_key(const void *a, const void *b) {
    const struct resource *x = *(const struct resource *const *)a;
    const struct resource *y = *(const struct resource *const *)b;
    return x->id.type != y->id.type ? (int)x->id.type - (int)y->id.type : str_cmp(x->key, y->key);
}

static void sort_resources(struct build *b, const struct resources *set) {
    b->n = resources_count(set);
    b->items = xcalloc(b->n, sizeof *b->items);
    for (size_t i = 0; i < b->n; i++) {
        b->items[i] = resources_at(set, i);
        b->n_of_type[b->items[i]->id.type]++;
    }
    qsort(b->items, b->n, sizeof *b->items, by_type_and_key);
}

static enum status build_all(struct build *b) {
    static enum status (*const builders[RESOURCE_TYPE_COUNT])(struct build *,
                                                              const struct resource *) = {
        [RESOURCE_SUBSCRIPTION] = build_group, [RESOURCE_RESOURCE_GROUP] = build_group,
        [RESOURCE_MODEL] = build_model,        [RESOURCE_LOCATION] = build_location,
        [RESOURCE_POOL] = build_pool,          [RESOURCE_BACKEND] = build_backend,
        [RESOURCE_ACCOUNT] = build_account,    [RESOURCE_DEPLOYMENT] = build_deployment,
    };
    struct snapshot *s = b->s;
    s->locations = alloc(b, b->n_of_type[RESOURCE_LOCATION], sizeof *s->locations);
    s->pools = alloc(b, b->n_of_type[RESOURCE_POOL], sizeof *s->pools);
    s->backends = alloc(b, b->n_of_type[RESOURCE_BACKEND], sizeof *s->backends);
    s->accounts = alloc(b, b->n_of_type[RESOURCE_ACCOUNT], sizeof *s->accounts);
    s->deployments = alloc(b, b->n_of_type[RESOURCE_DEPLOYMENT], sizeof *s->deployments);
    s->n_key_slots = 16;
    while (s->n_key_slots < 4 * b->n_of_type[RESOURCE_ACCOUNT]) /* two keys each, half full */
        s->n_key_slots *= 2;
    s->keys = xcalloc(s->n_key_slots, sizeof *s->keys);
    for (size_t i = 0; i < b->n; i++)
        TRY(builders[b->items[i]->id.type](b, b->items[i]));
    return ST_OK;
}

enum status snapshot_build(const struct resources *set, const struct secret_reader *secrets,
                           const struct siphash_key *hash, struct snapshot **out,
                           struct problem *why) {
    struct build b = {.s = xcalloc(1, sizeof *b.s), .secrets = secrets, .why = why};
    struct snapshot *s = b.s;
    atomic_init(&s->n_refs, 1);
    s->hash = *hash;
    arena_init(&s->memory, NULL, 0, SIZE_MAX);
    map_init(&s->by_subdomain, hash);
    map_init(&s->by_deployment, hash);
    map_init(&b.by_key, hash);
    map_init(&b.servings, hash);
    catalog_init(&s->catalog, &s->memory, hash);
    sort_resources(&b, set);
    enum status st = build_all(&b);
    map_destroy(&b.by_key);
    map_destroy(&b.servings);
    free(b.items);
    if (st == ST_OK)
        *out = s;
    else
        snapshot_unref(s);
    return st;
}
