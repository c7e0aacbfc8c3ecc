/* build_capacity.c - compiles what the operator has: locations, pools and their backends. */
#include "model/build_private.h"

#include <stdio.h>

enum status build_location(struct build *b, const struct resource *res) {
    struct location *l = &b->g->locations[b->g->n_locations];
    struct entry e;
    struct fields p;
    entry_begin(b, &e, res);
    *l = (struct location){.index = b->g->n_locations++,
                           .id = build_keep(b, res->id_text),
                           .name = build_keep(b, resource_id_name(&res->id))};
    l->display_name = l->name;
    if (fields_object(&e.top, "properties", &p)) {
        if (fields_str(&p, "displayName", 1, 100, &l->display_name))
            l->display_name = build_keep(b, l->display_name);
        if (fields_str(&p, "dataZone", 1, RESOURCE_NAME_MAX, &l->data_zone))
            l->data_zone = build_keep(b, l->data_zone);
        fields_end(&p);
    }
    map_put(&b->g->by_key, build_keep(b, res->key), l);
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
    if (has_name && !catalog_find(&b->g->catalog, m->format, m->name, m->version))
        fields_refuse(&f, "name",
                      "the catalog has no model \"%.*s.%.*s.%.*s\"; add a resource with the id "
                      "/providers/Weir.Capacity/models/%.*s.%.*s.%.*s",
                      STR_ARG(m->format), STR_ARG(m->name), STR_ARG(m->version), STR_ARG(m->format),
                      STR_ARG(m->name), STR_ARG(m->version));
    m->format = build_keep(b, m->format);
    m->name = build_keep(b, m->name);
    m->version = build_keep(b, m->version);
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
    struct pool_model *models = build_alloc(b, pool->n_models, sizeof *models);
    for (size_t i = 0; json_next(&it, &v); i++)
        read_pool_model(b, p, v, i, &models[i]);
    pool->models = models;
}

enum status build_pool(struct build *b, const struct resource *res) {
    struct pool *pool = &b->g->pools[b->g->n_pools];
    struct entry e;
    struct fields p;
    entry_begin(b, &e, res);
    *pool = (struct pool){.index = b->g->n_pools++,
                          .id = build_keep(b, res->id_text),
                          .name = build_keep(b, resource_id_name(&res->id))};
    pool->location = entry_location(b, &e);
    if (fields_object(&e.top, "properties", &p)) {
        fields_i64(&p, "ptus", 0, 100 * 1000 * 1000, &pool->ptus);
        read_pool_models(b, &p, pool);
        fields_end(&p);
    } else {
        fields_require(&e.top, "properties", false, "it holds ptus and models");
    }
    map_put(&b->g->by_key, build_keep(b, res->key), pool);
    return entry_end(&e);
}

static void read_url(struct build *b, struct fields *p, struct backend *be) {
    struct problem reason = {0};
    bool has_url = fields_str(p, "url", 1, 1024, &be->url_text);
    fields_require(p, "url", has_url, "give the server's base, as in http://127.0.0.1:8000");
    if (!has_url)
        return;
    be->url_text = build_keep(b, be->url_text);
    if (url_parse(be->url_text, &be->url, &reason) != ST_OK)
        fields_refuse(p, "url", "%s", reason.message);
}

static void read_backend_auth(struct build *b, struct entry *e, struct fields *p,
                              struct backend *be) {
    static const struct str headers[] = {STR_INIT("authorization"), STR_INIT("api-key")};
    static const struct secret_names names = {"apiKey", "apiKeyFile", "apiKeyEnv"};
    int header = be->dialect == DIALECT_AZURE;
    fields_enum(p, "apiKeyHeader", headers, ARRAY_LEN(headers), &header);
    struct str key = entry_secret(b, e, p, &names, 1, 4096);
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
    be->auth_header = build_keep(b, buf_view(&line));
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
    return build_keep(b, s);
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
    be->ca_file = build_keep(b, be->ca_file);
    if (!be->url.is_tls && (has_ca || (has_verify && be->is_insecure)))
        fields_refuse(p, has_ca ? "caFile" : "insecureSkipVerify", "acts only with an https url");
    fields_i64(p, "maxConnections", 0, 100000, &be->max_connections);
    fields_i64(p, "connectTimeoutMs", 10, 600000, &be->connect_timeout_ms);
    fields_i64(p, "firstByteTimeoutMs", 10, 3600000, &be->first_byte_timeout_ms);
    fields_i64(p, "idleTimeoutMs", 10, 3600000, &be->idle_timeout_ms);
}

enum status build_backend(struct build *b, const struct resource *res) {
    struct backend *be = &b->g->backends[b->g->n_backends];
    struct pool *pool = map_get(&b->g->by_key, build_parent_key(res));
    struct entry e;
    struct fields p;
    entry_begin(b, &e, res);
    *be = (struct backend){.index = b->g->n_backends++,
                           .id = build_keep(b, res->id_text),
                           .name = build_keep(b, resource_id_name(&res->id)),
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
