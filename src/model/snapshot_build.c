/* snapshot_build.c - compiles resources into a snapshot, or says which of them is wrong and why. */
#include "model/build_private.h"

#include <stdlib.h>

void *build_alloc(struct build *b, size_t count, size_t size) {
    void *p = arena_alloc(&b->s->memory, count * size);
    assert(p); /* the arena has no ceiling: the resources' texts were bounded before */
    memset(p, 0, count * size);
    return p;
}

struct str build_keep(struct build *b, struct str s) {
    return arena_str(&b->s->memory, s);
}

void entry_begin(struct build *b, struct entry *e, const struct resource *res) {
    static const char *const ignored[] = {"id", "name", "type", "etag", "tags", "systemData"};
    e->res = res;
    reader_init(&e->r, res->file, res->pointer, b->why, &b->s->warnings);
    fields_begin(&e->top, &e->r, res->value, "");
    fields_ignore(&e->top, ignored, ARRAY_LEN(ignored));
}

enum status entry_end(struct entry *e) {
    fields_end(&e->top);
    return e->r.status;
}

void *build_parent(const struct build *b, const struct resource *res) {
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

const struct location *entry_location(struct build *b, struct entry *e) {
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

struct str entry_secret(struct build *b, struct entry *e, struct fields *f,
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
    struct str kept = build_keep(b, value);
    buf_destroy(&text);
    return kept;
}

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
    s->locations = build_alloc(b, b->n_of_type[RESOURCE_LOCATION], sizeof *s->locations);
    s->pools = build_alloc(b, b->n_of_type[RESOURCE_POOL], sizeof *s->pools);
    s->backends = build_alloc(b, b->n_of_type[RESOURCE_BACKEND], sizeof *s->backends);
    s->accounts = build_alloc(b, b->n_of_type[RESOURCE_ACCOUNT], sizeof *s->accounts);
    s->deployments = build_alloc(b, b->n_of_type[RESOURCE_DEPLOYMENT], sizeof *s->deployments);
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
