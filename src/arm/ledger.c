#include "arm/ledger_private.h"

#include "base/buf.h"
#include "model/resource_id.h"

#include <stdio.h>
#include <stdlib.h>

/* Sums stay far below 2^63: a pool is worth at most 10^8 PTUs, a size is at most 10^5 (room model). */
enum { KEY_MAX = RESOURCE_ID_MAX + 64 };

static struct str lower(struct str s, char *out) {
    assert(s.n <= KEY_MAX);
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        out[i] = c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
    }
    return (struct str){out, s.n};
}

struct str ledger_text(const struct word *w) {
    return w ? (struct str){w->text, w->n} : STR("");
}

/* Keys of maps are owned by whoever owns the value, or freed with the map. */
static void map_free_all(struct map *m, bool owns_keys) {
    size_t at = 0;
    struct str key;
    void *value;
    while (map_next(m, &at, &key, &value)) {
        free(value);
        if (owns_keys)
            free((char *)key.p);
    }
    map_destroy(m);
}

static const struct word *word_find(const struct ledger *l, struct str text) {
    char low[KEY_MAX];
    return map_get(&l->words, lower(text, low));
}

static const struct word *word_of(struct ledger *l, struct str text) {
    char low[KEY_MAX];
    struct str key = lower(text, low);
    struct word *w = map_get(&l->words, key);
    if (w)
        return w;
    w = xmalloc(sizeof *w + text.n + 1);
    w->n = text.n;
    memcpy(w->text, text.p, text.n);
    w->text[text.n] = '\0';
    map_put(&l->words, (struct str){str_dup(key), key.n}, w);
    return w;
}

static struct str model_text(struct str format, struct str name, char *out) {
    int n = snprintf(out, KEY_MAX, "%.*s.%.*s", STR_ARG(format), STR_ARG(name));
    assert(n < KEY_MAX);
    return (struct str){out, (size_t)n};
}

static int order_of_names(const struct word *a, const struct word *b) {
    char low_a[KEY_MAX], low_b[KEY_MAX];
    return str_cmp(lower(ledger_text(a), low_a), lower(ledger_text(b), low_b));
}

struct ledger *ledger_new(const struct offers *offers, const struct siphash_key *key) {
    struct ledger *l = xcalloc(1, sizeof *l);
    l->offers = offers;
    l->key = *key;
    map_init(&l->words, key);
    map_init(&l->places, key);
    map_init(&l->pools, key);
    map_init(&l->quotas, key);
    map_init(&l->grants, key);
    return l;
}

static void grant_free(struct grant *g) {
    free(g->id);
    free(g->parts);
    free(g);
}

void ledger_free(struct ledger *l) {
    if (!l)
        return;
    size_t at = 0;
    struct str key;
    void *value;
    while (map_next(&l->grants, &at, &key, &value))
        grant_free(value);
    map_destroy(&l->grants);
    for (size_t i = 0; i < l->n_pools; i++)
        free(l->all_pools[i]->models);
    map_free_all(&l->pools, true);
    map_free_all(&l->quotas, true);
    map_free_all(&l->places, true);
    map_free_all(&l->words, true);
    free(l->by_name);
    free(l->all_pools);
    free(l);
}

/* ---- capacity: places and pools ---- */

struct place *ledger_place_find(const struct ledger *l, struct str name) {
    char low[KEY_MAX];
    return map_get(&l->places, lower(name, low));
}

static struct place *place_of(struct ledger *l, struct str name) {
    struct place *p = ledger_place_find(l, name);
    if (p)
        return p;
    char low[KEY_MAX];
    struct str key = lower(name, low);
    p = xcalloc(1, sizeof *p);
    p->name = word_of(l, name);
    p->index = l->places.count;
    map_put(&l->places, (struct str){str_dup(key), key.n}, p);
    return p;
}

void ledger_location_put(struct ledger *l, struct str name, struct str data_zone) {
    struct place *p = place_of(l, name);
    p->zone = data_zone.n > 0 ? word_of(l, data_zone) : NULL;
    if (p->is_listed)
        return;
    p->is_listed = true;
    l->by_name = xrealloc(l->by_name, (l->n_by_name + 1) * sizeof(struct place *));
    size_t at = l->n_by_name++;
    for (; at > 0 && order_of_names(l->by_name[at - 1]->name, p->name) > 0; at--)
        l->by_name[at] = l->by_name[at - 1];
    l->by_name[at] = p;
}

void ledger_location_remove(struct ledger *l, struct str name) {
    struct place *p = ledger_place_find(l, name);
    if (!p || !p->is_listed)
        return;
    size_t at = 0;
    while (l->by_name[at] != p)
        at++;
    memmove(&l->by_name[at], &l->by_name[at + 1], (l->n_by_name - at - 1) * sizeof(struct place *));
    l->n_by_name--;
    p->is_listed = false;
    p->zone = NULL;
}

bool ledger_location_at(const struct ledger *l, size_t position, struct str *name,
                        struct str *data_zone) {
    if (position >= l->n_by_name)
        return false;
    *name = ledger_text(l->by_name[position]->name);
    *data_zone = ledger_text(l->by_name[position]->zone);
    return true;
}

static struct pool_book *pool_find(const struct ledger *l, struct str name) {
    char low[KEY_MAX];
    return map_get(&l->pools, lower(name, low));
}

struct pool_book *ledger_pool_of(struct ledger *l, struct str name) {
    struct pool_book *p = pool_find(l, name);
    if (p)
        return p;
    char low[KEY_MAX];
    struct str key = lower(name, low);
    p = xcalloc(1, sizeof *p);
    p->name = word_of(l, name);
    p->place = place_of(l, STR("")); /* until ledger_pool_put tells */
    p->key = str_dup(key);
    map_put(&l->pools, (struct str){p->key, key.n}, p);
    l->all_pools = xrealloc(l->all_pools, (l->n_pools + 1) * sizeof(struct pool_book *));
    size_t at = l->n_pools++;
    for (; at > 0 && order_of_names(l->all_pools[at - 1]->name, p->name) > 0; at--)
        l->all_pools[at] = l->all_pools[at - 1];
    l->all_pools[at] = p;
    return p;
}

void ledger_pool_put(struct ledger *l, const struct ledger_pool *pool) {
    char text[KEY_MAX];
    assert(pool->ptus >= 0);
    struct pool_book *p = ledger_pool_of(l, pool->name);
    p->place = place_of(l, pool->location);
    p->ptus = pool->ptus;
    p->is_draining = pool->is_draining;
    free(p->models);
    p->models = xcalloc(size_max(pool->n_models, 1), sizeof *p->models);
    p->n_models = pool->n_models;
    for (size_t i = 0; i < pool->n_models; i++) {
        const struct ledger_model *m = &pool->models[i];
        p->models[i].model = word_of(l, model_text(m->format, m->name, text));
        p->models[i].version = m->version.n > 0 ? word_of(l, m->version) : NULL;
    }
}

bool ledger_pool_remove(struct ledger *l, struct str name) {
    struct pool_book *p = pool_find(l, name);
    if (!p)
        return true;
    if (p->reserved > 0)
        return false;
    size_t at = 0;
    while (l->all_pools[at] != p)
        at++;
    memmove(&l->all_pools[at], &l->all_pools[at + 1],
            (l->n_pools - at - 1) * sizeof(struct pool_book *));
    l->n_pools--;
    map_remove(&l->pools, str_of(p->key));
    free(p->key);
    free(p->models);
    free(p);
    return true;
}

int64_t ledger_pool_free(const struct pool_book *p) {
    return p->is_draining ? 0 : i64_max(p->ptus - p->reserved, 0);
}

struct ledger_pool_sum ledger_pool(const struct ledger *l, struct str name) {
    const struct pool_book *p = pool_find(l, name);
    if (!p)
        return (struct ledger_pool_sum){0};
    return (struct ledger_pool_sum){p->ptus, p->reserved, ledger_pool_free(p)};
}

struct wanted ledger_wanted_of(const struct ledger *l, const struct model *m) {
    char text[KEY_MAX];
    return (struct wanted){word_find(l, model_text(m->format, m->name, text)),
                           word_find(l, m->version)};
}

bool ledger_pool_serves(const struct pool_book *p, struct wanted w) {
    if (!w.model)
        return false;
    for (size_t i = 0; i < p->n_models; i++) {
        if (p->models[i].model == w.model &&
            (!p->models[i].version || p->models[i].version == w.version))
            return true;
    }
    return false;
}

static bool is_in_reach(const struct place *from, enum reach reach, const struct place *to) {
    switch (reach) {
    case REACH_LOCATION:
        return from == to;
    case REACH_DATA_ZONE:
        return from->zone && from->zone == to->zone;
    case REACH_GLOBAL:
        return true;
    }
    return false;
}

/* ---- quota ---- */

/* "subscription/location/sku/format.model" in lower case, or without the last part. */
static struct str quota_text(const struct ledger_quota_key *k, char *out) {
    const char digit = (char)('0' + (int)k->sku);
    const struct str parts[] = {k->subscription, STR("/"),  k->location, STR("/"), {&digit, 1},
                                STR("/"),        k->format, STR("."),    k->model};
    size_t n_parts = sku_is_provisioned(k->sku) ? 5 : ARRAY_LEN(parts), n = 0;
    for (size_t i = 0; i < n_parts; i++) {
        assert(parts[i].n <= KEY_MAX - n);
        n += lower(parts[i], out + n).n;
    }
    return (struct str){out, n};
}

static struct quota_book *quota_find(const struct ledger *l, const struct ledger_quota_key *k) {
    char text[KEY_MAX];
    return map_get(&l->quotas, quota_text(k, text));
}

struct quota_book *ledger_quota_of(struct ledger *l, const struct ledger_quota_key *k) {
    char text[KEY_MAX];
    struct str key = quota_text(k, text);
    struct quota_book *q = map_get(&l->quotas, key);
    if (q)
        return q;
    q = xcalloc(1, sizeof *q);
    q->key = str_dup(key);
    q->limit = -1;
    q->default_limit = offers_default_quota(l->offers, k->format, k->model, k->sku);
    map_put(&l->quotas, (struct str){q->key, key.n}, q);
    return q;
}

static int64_t quota_limit(const struct quota_book *q) {
    return q->limit >= 0 ? q->limit : q->default_limit;
}

struct ledger_quota ledger_quota(const struct ledger *l, const struct ledger_quota_key *key) {
    const struct quota_book *q = quota_find(l, key);
    struct ledger_quota out = {.is_default = true};
    if (q) {
        out = (struct ledger_quota){
            .limit = quota_limit(q), .used = q->used, .held = q->held, .is_default = q->limit < 0};
    } else {
        out.limit = offers_default_quota(l->offers, key->format, key->model, key->sku);
    }
    out.left = i64_max(out.limit - out.used, 0);
    return out;
}

void ledger_quota_set(struct ledger *l, const struct ledger_quota_key *key, int64_t limit) {
    ledger_quota_of(l, key)->limit = limit < 0 ? -1 : limit;
}

/* ---- grants ---- */

struct grant *ledger_grant_find(const struct ledger *l, struct str id) {
    char low[KEY_MAX];
    return map_get(&l->grants, lower(id, low));
}

struct ledger_quota_key ledger_quota_key_of(const struct ledger_ask *ask) {
    return (struct ledger_quota_key){ask->subscription, ask->location, ask->sku, ask->model->format,
                                     ask->model->name};
}

int64_t ledger_covered(const struct grant *g) {
    int64_t sum = 0;
    for (size_t i = 0; i < g->n_parts; i++)
        sum += g->parts[i].ptus;
    return sum;
}

static struct change change_of(const struct ledger *l, const struct ledger_ask *ask) {
    struct ledger_quota_key key = ledger_quota_key_of(ask);
    const struct quota_book *q = quota_find(l, &key);
    struct change c = {.g = ledger_grant_find(l, ask->id),
                       .wanted = ledger_wanted_of(l, ask->model),
                       .place = ledger_place_find(l, ask->location)};
    c.is_same_quota = c.g && c.g->quota == q;
    /* One quota is one subscription, location and SKU. */
    c.is_resize =
        c.is_same_quota && c.g->model == c.wanted.model && c.g->version == c.wanted.version;
    return c;
}

bool ledger_is_eligible(const struct change *c, enum sku sku, const struct pool_book *p) {
    return c->place && is_in_reach(c->place, sku_reach(sku), p->place) &&
           ledger_pool_serves(p, c->wanted);
}

/* What the grant has already of what the ask needs, in PTUs. */
static int64_t kept_ptus(const struct change *c, enum sku sku) {
    if (!c->g)
        return 0;
    /* An uncovered rest of an import counts too: it stays uncovered, whatever else happens. */
    if (c->is_resize)
        return c->g->size;
    int64_t sum = 0;
    for (size_t i = 0; i < c->g->n_parts; i++) {
        if (ledger_is_eligible(c, sku, c->g->parts[i].pool))
            sum += c->g->parts[i].ptus;
    }
    return sum;
}

int64_t ledger_free_ptus(const struct ledger *l, const struct change *c, enum sku sku) {
    int64_t sum = 0;
    for (size_t i = 0; i < l->n_pools; i++) {
        if (ledger_is_eligible(c, sku, l->all_pools[i]))
            sum += ledger_pool_free(l->all_pools[i]);
    }
    return sum;
}

static enum ledger_outcome outcome_of(const struct ledger_ask *ask, const struct change *c,
                                      const struct ledger_answer *a) {
    bool stays = c->is_resize && c->g->size == ask->size;
    if (c->g && c->g->is_held)
        return LEDGER_HELD;
    if (stays)
        return LEDGER_DONE;
    if (!a->sizes.is_offered ||
        (sku_reach(ask->sku) == REACH_DATA_ZONE && !(c->place && c->place->zone)))
        return LEDGER_NOT_OFFERED;
    if (!offer_is_size(&a->sizes, ask->size))
        return LEDGER_BAD_SIZE;
    if (a->quota_needed > a->quota.left)
        return LEDGER_NO_QUOTA;
    if (a->capacity_needed > a->capacity_left)
        return LEDGER_NO_CAPACITY;
    return LEDGER_DONE;
}

static enum ledger_outcome judge(const struct ledger *l, const struct ledger_ask *ask,
                                 const struct change *c, struct ledger_answer *a) {
    struct ledger_quota_key key = ledger_quota_key_of(ask);
    int64_t own_units = c->is_same_quota ? c->g->units : 0;
    int64_t kept = sku_is_provisioned(ask->sku) ? kept_ptus(c, ask->sku) : 0;
    *a = (struct ledger_answer){.sizes = offers_sizes(l->offers, ask->model, ask->sku),
                                .quota = ledger_quota(l, &key),
                                .capacity_left = INT64_MAX};
    /* A size that is none is refused by its form; its products are not to overflow before. */
    int64_t size = i64_max(i64_min(ask->size, INT32_MAX), 0);
    a->quota_needed = i64_max(offers_quota_units(ask->model, ask->sku, size) - own_units, 0);
    a->largest_by_quota = offer_size_below(
        &a->sizes, offers_size_for(ask->model, ask->sku,
                                   i64_max(a->quota.limit - a->quota.used + own_units, 0)));
    a->largest_by_capacity = offer_size_below(&a->sizes, INT64_MAX);
    if (sku_is_provisioned(ask->sku)) {
        a->capacity_left = ledger_free_ptus(l, c, ask->sku);
        a->capacity_needed = i64_max(size - kept, 0);
        a->largest_by_capacity = offer_size_below(&a->sizes, kept + a->capacity_left);
    }
    if (c->is_resize) { /* what it has is never taken away */
        a->largest_by_quota = i64_max(a->largest_by_quota, c->g->size);
        a->largest_by_capacity = i64_max(a->largest_by_capacity, c->g->size);
    }
    a->largest = i64_min(a->largest_by_quota, a->largest_by_capacity);
    return outcome_of(ask, c, a);
}

enum ledger_outcome ledger_judge(const struct ledger *l, const struct ledger_ask *ask,
                                 struct ledger_answer *answer) {
    struct ledger_answer ignored;
    struct change c = change_of(l, ask);
    return judge(l, ask, &c, answer ? answer : &ignored);
}

/* ---- placing ---- */

void ledger_part_add(struct grant *g, struct pool_book *p, int64_t ptus) {
    p->reserved += ptus;
    for (size_t i = 0; i < g->n_parts; i++) {
        if (g->parts[i].pool == p) {
            g->parts[i].ptus += ptus;
            return;
        }
    }
    g->parts = xrealloc(g->parts, (g->n_parts + 1) * sizeof *g->parts);
    g->parts[g->n_parts++] = (struct part){p, ptus};
}

static void part_take(struct grant *g, size_t i, int64_t ptus) {
    struct part *part = &g->parts[i];
    assert(ptus <= part->ptus && ptus <= part->pool->reserved);
    part->pool->reserved -= ptus;
    part->ptus -= ptus;
    if (part->ptus == 0) {
        memmove(part, part + 1, (g->n_parts - i - 1) * sizeof *part);
        g->n_parts--;
    }
}

/* Gives back until no more than `ptus` are reserved, the newest part first. */
static void parts_trim(struct grant *g, int64_t ptus) {
    int64_t over = ledger_covered(g) - ptus;
    while (over > 0) {
        size_t last = g->n_parts - 1;
        int64_t take = i64_min(over, g->parts[last].ptus);
        part_take(g, last, take);
        over -= take;
    }
}

struct candidate {
    struct pool_book *pool;
    bool is_used, is_near; /* the grant is there already; it is where the account is */
    bool is_enough;        /* for all that is needed */
    size_t rank;           /* by name */
};

/*
 * Where growth goes: beside what the grant has; near the account; into pools that serve few models,
 * so that those which serve many stay free for what else may come; into one pool rather than several,
 * and there into the fullest that takes it all, so that large holes stay whole.
 */
static int order_of_candidates(const void *va, const void *vb) {
    const struct candidate *a = va, *b = vb;
    if (a->is_used != b->is_used)
        return a->is_used ? -1 : 1;
    if (a->is_near != b->is_near)
        return a->is_near ? -1 : 1;
    if (a->is_enough != b->is_enough)
        return a->is_enough ? -1 : 1;
    if (a->pool->n_models != b->pool->n_models)
        return a->pool->n_models < b->pool->n_models ? -1 : 1;
    int64_t free_a = ledger_pool_free(a->pool), free_b = ledger_pool_free(b->pool);
    if (free_a != free_b)
        return (free_a < free_b) == a->is_enough ? -1 : 1;
    return a->rank < b->rank ? -1 : 1;
}

/* Reserves `ptus` more, or as much as there is. */
static void parts_grow(struct ledger *l, struct grant *g, const struct change *c, int64_t ptus) {
    struct candidate *list = xcalloc(size_max(l->n_pools, 1), sizeof *list);
    size_t n = 0;
    for (size_t i = 0; i < l->n_pools; i++) {
        struct pool_book *p = l->all_pools[i];
        if (ledger_pool_free(p) == 0 || !ledger_is_eligible(c, g->sku, p))
            continue;
        list[n] = (struct candidate){.pool = p,
                                     .is_near = p->place == g->place,
                                     .is_enough = ledger_pool_free(p) >= ptus,
                                     .rank = i};
        for (size_t j = 0; j < g->n_parts; j++)
            list[n].is_used = list[n].is_used || g->parts[j].pool == p;
        n++;
    }
    qsort(list, n, sizeof *list, order_of_candidates);
    for (size_t i = 0; i < n && ptus > 0; i++) {
        int64_t take = i64_min(ptus, ledger_pool_free(list[i].pool));
        ledger_part_add(g, list[i].pool, take);
        ptus -= take;
    }
    free(list);
}

static void quota_leave(struct grant *g) {
    g->quota->used -= g->units;
    g->quota->held -= g->is_held ? g->units : 0;
}

void ledger_quota_join(struct grant *g, struct quota_book *q, int64_t units) {
    g->quota = q;
    g->units = units;
    q->used += units;
    q->held += g->is_held ? units : 0;
}

struct grant *ledger_grant_add(struct ledger *l, struct str id) {
    char low[KEY_MAX];
    struct grant *g = xcalloc(1, sizeof *g);
    struct str key = lower(id, low);
    g->id = str_dup(key);
    map_put(&l->grants, (struct str){g->id, key.n}, g);
    return g;
}

void ledger_grant_describe(struct ledger *l, struct grant *g, const struct ledger_ask *ask) {
    char text[KEY_MAX];
    g->place = place_of(l, ask->location);
    g->model = word_of(l, model_text(ask->model->format, ask->model->name, text));
    g->version = word_of(l, ask->model->version);
    g->sku = ask->sku;
}

/* Carries a judged ask out; what no pool has room for stays uncovered. */
static void apply(struct ledger *l, const struct ledger_ask *ask, struct change *c) {
    struct ledger_quota_key key = ledger_quota_key_of(ask);
    struct grant *g = ledger_grant_find(l, ask->id);
    if (c->is_resize && g->size == ask->size)
        return; /* what a unit takes of the quota may have changed meanwhile; the grant has not */
    if (!g)
        g = ledger_grant_add(l, ask->id);
    ledger_grant_describe(l, g, ask);
    c->place = g->place;
    if (g->quota)
        quota_leave(g);
    ledger_quota_join(g, ledger_quota_of(l, &key),
                      offers_quota_units(ask->model, ask->sku, ask->size));
    for (size_t i = g->n_parts; !c->is_resize && i-- > 0;) {
        if (!sku_is_provisioned(ask->sku) || !ledger_is_eligible(c, ask->sku, g->parts[i].pool))
            part_take(g, i, g->parts[i].ptus);
    }
    int64_t kept = c->is_resize ? g->size : ledger_covered(g);
    if (sku_is_provisioned(ask->sku) && ask->size > kept)
        parts_grow(l, g, c, ask->size - kept);
    parts_trim(g, ask->size);
    g->size = ask->size;
}

enum ledger_outcome ledger_take(struct ledger *l, const struct ledger_ask *ask,
                                struct ledger_answer *answer) {
    struct ledger_answer ignored;
    struct change c = change_of(l, ask);
    enum ledger_outcome outcome = judge(l, ask, &c, answer ? answer : &ignored);
    if (outcome == LEDGER_DONE)
        apply(l, ask, &c);
    return outcome;
}

bool ledger_release(struct ledger *l, struct str id) {
    struct grant *g = ledger_grant_find(l, id);
    if (!g)
        return false;
    parts_trim(g, 0);
    quota_leave(g);
    map_remove(&l->grants, str_of(g->id));
    grant_free(g);
    return true;
}

static bool set_held(struct ledger *l, struct str id, bool is_held) {
    struct grant *g = ledger_grant_find(l, id);
    if (!g)
        return false;
    if (g->is_held != is_held)
        g->quota->held += is_held ? g->units : -g->units;
    g->is_held = is_held;
    return true;
}

bool ledger_hold(struct ledger *l, struct str id) {
    return set_held(l, id, true);
}

bool ledger_restore(struct ledger *l, struct str id) {
    return set_held(l, id, false);
}

void ledger_import(struct ledger *l, const struct ledger_ask *ask, struct ledger_import *out) {
    struct ledger_quota_key key = ledger_quota_key_of(ask);
    struct change c = change_of(l, ask);
    struct quota_book *q = ledger_quota_of(l, &key);
    int64_t used_before = q->used;
    *out = (struct ledger_import){.limit_before = quota_limit(q)};
    apply(l, ask, &c);
    /* An operator may have set a limit below what is used; only further use raises it. */
    if (q->used > quota_limit(q) && q->used > used_before)
        q->limit = q->used;
    out->limit_after = quota_limit(q);
    if (sku_is_provisioned(ask->sku))
        out->uncovered = ask->size - ledger_covered(ledger_grant_find(l, ask->id));
}
