/* snapshot_build.c - compiles resources into a snapshot, or says which of them is wrong and why. */
#include "model/build_private.h"

#include <stdlib.h>

void *build_alloc(struct build *b, size_t count, size_t size) {
    void *p = arena_alloc(b->memory, count * size);
    assert(p); /* the arena has no ceiling: the resources' texts were bounded before */
    memset(p, 0, count * size);
    return p;
}

struct str build_keep(struct build *b, struct str s) {
    return arena_str(b->memory, s);
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

struct str build_parent_key(const struct resource *res) {
    struct str key = res->key;
    for (int slashes = 0; slashes < 2; key.n--)
        slashes += key.p[key.n - 1] == '/';
    return key;
}

/* "East US" and "eastus" are one location, as in Azure. */
static const struct location *find_location(const struct build *b, struct str name) {
    char text[128] = "/providers/weir.capacity/locations/";
    size_t n = strlen(text);
    for (size_t i = 0; i < name.n && n < sizeof text; i++) {
        if (name.p[i] != ' ')
            n += lower_str((struct str){name.p + i, 1}, text + n).n;
    }
    return map_get(&b->g->by_key, (struct str){text, n});
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
    catalog_add(&b->g->catalog, resource_id_name(&res->id), res->value, &r, true);
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
    struct ground *g = b->g;
    if (!b->is_patch) {
        g->locations = build_alloc(b, b->n_of_type[RESOURCE_LOCATION], sizeof *g->locations);
        g->pools = build_alloc(b, b->n_of_type[RESOURCE_POOL], sizeof *g->pools);
        g->backends = build_alloc(b, b->n_of_type[RESOURCE_BACKEND], sizeof *g->backends);
    }
    for (b->at = 0; b->at < b->n; b->at++)
        TRY(builders[b->items[b->at]->id.type](b, b->items[b->at]));
    return ST_OK;
}

static enum status build_snapshot(struct build *b, const struct resources *set,
                                  struct snapshot **out) {
    b->g = b->s->ground;
    b->memory = &b->g->memory;
    sort_resources(b, set);
    enum status st = build_all(b);
    free(b->items);
    if (st == ST_OK)
        *out = b->s;
    else
        snapshot_unref(b->s);
    return st;
}

static struct snapshot *snapshot_new(struct ground *g) {
    struct snapshot *s = xcalloc(1, sizeof *s);
    atomic_init(&s->n_refs, 1);
    s->ground = g;
    return s;
}

enum status snapshot_build(const struct resources *set, const struct secret_reader *secrets,
                           const struct siphash_key *hash, struct snapshot **out,
                           struct problem *why) {
    struct build b = {.s = snapshot_new(ground_new(hash)), .secrets = secrets, .why = why};
    return build_snapshot(&b, set, out);
}

/* All accounts of `before`, shared. */
static struct snapshot *snapshot_copy(const struct snapshot *before) {
    struct snapshot *s = snapshot_new(ground_ref(before->ground));
    s->n_slots = s->slots_capacity = before->n_slots;
    s->n_accounts = before->n_accounts;
    s->n_deployments = before->n_deployments;
    s->blocks = xcalloc(s->n_slots, sizeof(struct account_block *));
    for (size_t i = 0; i < s->n_slots; i++) {
        s->blocks[i] = before->blocks[i];
        if (s->blocks[i])
            account_ref(&s->blocks[i]->account);
    }
    account_index_copy(&s->index, &before->index);
    return s;
}

static void forget_account(struct snapshot *s, struct str key) {
    const struct account *a = snapshot_find(s, ACCOUNT_ID, key);
    if (!a)
        return;
    snapshot_index_take(s, a);
    s->blocks[a->slot] = NULL;
    s->n_accounts--;
    s->n_deployments -= a->n_deployments;
    account_unref(a);
}

/* What is sold stands on what the operator has, never the other way round. */
static enum status refuse_ground(const struct resource *res, struct problem *why) {
    struct reader r;
    reader_init(&r, res->file, res->pointer, why, NULL);
    reader_refuse(&r, "/id", "only accounts and deployments can be changed one by one");
    return r.status;
}

enum status snapshot_patch(struct snapshot *before, const struct str *gone, size_t n_gone,
                           const struct resources *set, const struct secret_reader *secrets,
                           struct snapshot **out, struct problem *why) {
    for (size_t i = 0; i < resources_count(set); i++) {
        const struct resource *res = resources_at(set, i);
        if (res->id.type != RESOURCE_ACCOUNT && res->id.type != RESOURCE_DEPLOYMENT)
            return refuse_ground(res, why);
    }
    struct build b = {.s = snapshot_copy(before), .is_patch = true, .secrets = secrets, .why = why};
    for (size_t i = 0; i < n_gone; i++)
        forget_account(b.s, gone[i]);
    for (size_t i = 0; i < resources_count(set); i++) {
        if (resources_at(set, i)->id.type == RESOURCE_ACCOUNT)
            forget_account(b.s, resources_at(set, i)->key);
    }
    TRY(build_snapshot(&b, set, out));
    struct snapshot *s = *out;
    while (s->n_slots > 0 && !s->blocks[s->n_slots - 1])
        s->n_slots--;
    return ST_OK;
}
