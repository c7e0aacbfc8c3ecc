#include "live/live.h"

#include "base/wide.h"
#include "json/json.h"

#include <stdlib.h>

/* What one deployment owed when the process ended. */
struct recalled {
    char *id; /* owned */
    int64_t level_mt, rate;
};

struct live {
    struct siphash_key hash;
    const struct clock *clock;
    struct list deployments; /* that the newest view names */
    struct list leaving;     /* deployments that only older views and their calls know */
    struct list backends;
    struct map deployment_by_id, backend_by_id; /* keys are the entries' ids */
    struct live_account **accounts;             /* of the newest view, by slot; a reference each */
    size_t n_slots;
    struct recalled *recalled; /* owned */
    size_t n_recalled;
    int64_t recalled_after_us; /* how long the process was away */
    bool is_record_damaged;
    int64_t generation;
};

struct live *live_new(const struct siphash_key *hash, const struct clock *clock) {
    struct live *l = xcalloc(1, sizeof *l);
    l->hash = *hash;
    l->clock = clock;
    list_init(&l->deployments);
    list_init(&l->leaving);
    list_init(&l->backends);
    map_init(&l->deployment_by_id, hash);
    map_init(&l->backend_by_id, hash);
    return l;
}

static void forget_recalled(struct live *l) {
    for (size_t i = 0; i < l->n_recalled; i++)
        free(l->recalled[i].id);
    free(l->recalled);
    l->recalled = NULL;
    l->n_recalled = 0;
}

/* Takes it out of the table, unless its id has been taken over by another. */
static void unlist(struct map *m, const char *id, const void *entry) {
    if (map_get(m, str_of(id)) == entry)
        map_remove(m, str_of(id));
}

/*
 * What the newest view does not name can no longer be found; calls that started with an older view
 * still settle with it, and it is freed once no view holds it.
 */
static void sweep(struct live *l) {
    LIST_EACH (&l->leaving, it) {
        struct live_deployment *d = CONTAINER_OF(it, struct live_deployment, in_live);
        if (atomic_load(&d->refs) > 0)
            continue;
        list_remove(&d->in_live);
        free(d->id);
        free(d);
    }
    LIST_EACH (&l->backends, it) {
        struct live_backend *b = CONTAINER_OF(it, struct live_backend, in_live);
        if (b->generation != l->generation)
            unlist(&l->backend_by_id, b->id, b);
        if (atomic_load(&b->refs) > 0)
            continue;
        unlist(&l->backend_by_id, b->id, b);
        list_remove(&b->in_live);
        free(b->id);
        free(b);
    }
}

static void account_drop(struct live *l, struct live_account *a);

void live_free(struct live *l) {
    if (!l)
        return;
    for (size_t i = 0; i < l->n_slots; i++)
        account_drop(l, l->accounts[i]);
    free(l->accounts);
    sweep(l);
    assert(list_is_empty(&l->deployments) && list_is_empty(&l->leaving));
    assert(list_is_empty(&l->backends));
    map_destroy(&l->deployment_by_id);
    map_destroy(&l->backend_by_id);
    forget_recalled(l);
    free(l);
}

/* --- deployments --- */

/* What is left of the recalled debt: the old rate went on serving while the process was away. */
static int64_t recalled_level_mt(const struct live *l, const struct live_deployment *d) {
    for (size_t i = 0; i < l->n_recalled; i++) {
        const struct recalled *r = &l->recalled[i];
        if (strcmp(r->id, d->id) != 0)
            continue;
        i128 served = (i128)r->rate * i64_max(0, l->recalled_after_us) / 60000000;
        return i64_max(0, i128_to_i64(r->level_mt - served));
    }
    return l->is_record_damaged ? bucket_depth_mt(&d->bucket) / 2 : 0;
}

/* Deployments do not all reset at the same instant: each has its own place in the minute (admission
 * spec 3.2). The same after a restart, but for the key of the hash, which nobody can tell. */
static int64_t phase_ns(const struct live *l, const struct deployment *d) {
    return (int64_t)(siphash(&l->hash, d->id.p, d->id.n) % (uint64_t)NS_PER_MIN);
}

/* A secret of this process, for one use by one deployment. */
static uint64_t derive(const struct live *l, const char *use, const char *id) {
    struct siphash_state s;
    siphash_begin(&s, &l->hash);
    siphash_add(&s, use, strlen(use));
    siphash_add(&s, id, strlen(id));
    return siphash_end(s);
}

static void begin(struct live *l, struct live_deployment *d, const struct deployment *config) {
    int64_t now = clock_now_ns(l->clock);
    d->is_provisioned = config->is_provisioned;
    bucket_init(&d->bucket, config->rate_mt_per_min, i64_max(config->depth_window_ms, 1), now);
    if (config->is_provisioned)
        bucket_restore(&d->bucket, now, recalled_level_mt(l, d));
    standard_init(&d->standard, config->rpm, config->tpm, 0, config->is_strict,
                  phase_ns(l, config));
    minute_init(&d->minutes, d->minute_slots, ARRAY_LEN(d->minute_slots));
    output_model_init(&d->output, ESTIMATOR_HI);
    d->prefix_key = (struct siphash_key){derive(l, "marks 0", d->id), derive(l, "marks 1", d->id)};
    prefix_trust_init(&d->prefix_trust);
}

/* The depth's window and `strict` are constants of their words; a deployment in which they change,
 * or which turns from one kind into the other, is a new one. */
static bool is_same_kind(const struct live_deployment *d, const struct deployment *config) {
    if (d->is_provisioned != config->is_provisioned)
        return false;
    return config->is_provisioned ? d->bucket.window_ms == config->depth_window_ms
                                  : d->standard.is_strict == config->is_strict;
}

static struct live_deployment *bind_deployment(struct live *l, const struct deployment *config) {
    struct live_deployment *d = map_get(&l->deployment_by_id, config->id);
    if (d && !is_same_kind(d, config)) {
        /* Calls in flight settle with the old one, which is freed when their view goes. */
        map_remove(&l->deployment_by_id, config->id);
        d = NULL;
    }
    if (!d) {
        d = xcalloc(1, sizeof *d);
        d->id = str_dup(config->id);
        begin(l, d, config);
        list_append(&l->deployments, &d->in_live);
        map_put(&l->deployment_by_id, str_of(d->id), d);
    } else if (d->is_provisioned) {
        if (bucket_rate(&d->bucket) != config->rate_mt_per_min)
            bucket_resize(&d->bucket, clock_now_ns(l->clock), config->rate_mt_per_min);
    } else {
        standard_resize(&d->standard, config->rpm, config->tpm);
    }
    d->n_names++;
    atomic_fetch_add(&d->refs, 1);
    return d;
}

static struct live_backend *bind_backend(struct live *l, const struct backend *config) {
    struct live_backend *b = map_get(&l->backend_by_id, config->id);
    if (b) {
        balance_backend_configure(&b->balance, config->priority, config->weight, 0);
    } else {
        b = xcalloc(1, sizeof *b);
        b->id = str_dup(config->id);
        balance_backend_init(&b->balance, config->priority, config->weight, 0);
        list_append(&l->backends, &b->in_live);
        map_put(&l->backend_by_id, str_of(b->id), b);
    }
    b->generation = l->generation;
    atomic_fetch_add(&b->refs, 1);
    return b;
}

static struct weights weights_of(const struct deployment *d) {
    struct weights w = WEIGHTS_DEFAULT;
    w.w_in = d->input_weight_milli;
    w.w_cached = d->cached_weight_milli;
    w.w_out = d->output_weight_milli;
    for (int i = 0; i < d->model->n_tiers && w.n_tiers < WEIGHTS_TIERS_MAX; i++)
        w.tiers[w.n_tiers++] =
            (struct weights_tier){d->model->tiers[i].from_tokens, d->model->tiers[i].weight_milli};
    return w;
}

/* --- accounts --- */

static struct live_account *account_new(struct live *l, const struct account *config) {
    struct live_account *a = xcalloc(1, sizeof *a);
    size_t n = config->n_deployments;
    a->of = account_ref(config);
    atomic_init(&a->refs, 1);
    a->deployments = xcalloc(n, sizeof(struct live_deployment *));
    a->weights = xcalloc(n, sizeof *a->weights);
    for (size_t i = 0; i < n; i++) {
        a->deployments[i] = bind_deployment(l, &config->deployments[i]);
        a->weights[i] = weights_of(&config->deployments[i]);
    }
    return a;
}

static struct live_account *account_hold(struct live_account *a) {
    if (a)
        atomic_fetch_add(&a->refs, 1);
    return a;
}

/* Any thread. */
static void account_release(struct live_account *a) {
    if (!a || atomic_fetch_sub(&a->refs, 1) != 1)
        return;
    for (size_t i = 0; i < a->of->n_deployments; i++)
        atomic_fetch_sub(&a->deployments[i]->refs, 1);
    account_unref(a->of);
    free(a->deployments);
    free(a->weights);
    free(a);
}

/* The newest view has another in its place. */
static void account_drop(struct live *l, struct live_account *a) {
    for (size_t i = 0; a && i < a->of->n_deployments; i++) {
        struct live_deployment *d = a->deployments[i];
        if (--d->n_names > 0)
            continue;
        unlist(&l->deployment_by_id, d->id, d);
        list_remove(&d->in_live);
        list_append(&l->leaving, &d->in_live);
    }
    account_release(a);
}

/* Those that stay are known by the struct, which is the same; those of the old that do not are dropped
 * last, so that a deployment which both name is never without a name. */
static void bind_accounts(struct live *l, const struct snapshot *s) {
    struct live_account **before = l->accounts;
    size_t n_before = l->n_slots;
    l->n_slots = snapshot_n_slots(s);
    l->accounts = xcalloc(l->n_slots, sizeof(struct live_account *));
    for (size_t i = 0; i < l->n_slots; i++) {
        const struct account *a = snapshot_account_at(s, i);
        if (a && i < n_before && before[i] && before[i]->of == a) {
            l->accounts[i] = before[i];
            before[i] = NULL;
        } else if (a) {
            l->accounts[i] = account_new(l, a);
        }
    }
    for (size_t i = 0; i < n_before; i++)
        account_drop(l, before[i]);
    free(before);
}

/* --- views --- */

struct live_view *live_bind(struct live *l, struct snapshot *s) {
    struct live_view *v = xcalloc(1, sizeof *v);
    v->snapshot = snapshot_ref(s);
    v->live = l;
    atomic_init(&v->refs, 1);
    v->generation = ++l->generation;
    bind_accounts(l, s);
    v->n_slots = l->n_slots;
    v->accounts = xcalloc(v->n_slots, sizeof(struct live_account *));
    for (size_t i = 0; i < v->n_slots; i++)
        v->accounts[i] = account_hold(l->accounts[i]);
    const struct backend *backends = snapshot_backends(s, &v->n_backends);
    v->backends = xcalloc(v->n_backends, sizeof(struct live_backend *));
    for (size_t i = 0; i < v->n_backends; i++)
        v->backends[i] = bind_backend(l, &backends[i]);
    forget_recalled(l); /* told once: who comes later is new */
    l->is_record_damaged = false;
    sweep(l);
    return v;
}

struct live_view *live_view_ref(struct live_view *v) {
    atomic_fetch_add(&v->refs, 1);
    return v;
}

void live_view_unref(struct live_view *v) {
    if (!v || atomic_fetch_sub(&v->refs, 1) != 1)
        return;
    for (size_t i = 0; i < v->n_slots; i++)
        account_release(v->accounts[i]);
    for (size_t i = 0; i < v->n_backends; i++)
        atomic_fetch_sub(&v->backends[i]->refs, 1);
    snapshot_unref(v->snapshot);
    free(v->accounts);
    free(v->backends);
    free(v);
}

static void touch_all(struct list *deployments, const struct clock *clock) {
    int64_t now = clock_now_ns(clock);
    LIST_EACH (deployments, it) {
        struct live_deployment *d = CONTAINER_OF(it, struct live_deployment, in_live);
        bucket_rebase(&d->bucket, now);
        standard_touch(&d->standard, clock);
    }
}

void live_each_backend(const struct live *l,
                       void (*each)(void *arg, const struct live_backend *b, bool is_named),
                       void *arg) {
    LIST_EACH (&l->backends, it) {
        const struct live_backend *b = CONTAINER_OF(it, struct live_backend, in_live);
        each(arg, b, b->generation == l->generation);
    }
}

void live_housekeep(struct live *l) {
    touch_all(&l->deployments, l->clock);
    touch_all(&l->leaving, l->clock);
}

/* --- across a restart --- */

void live_save(const struct live *l, int64_t wall_us, struct buf *out) {
    int64_t now = clock_now_ns(l->clock);
    int64_t n = 0;
    struct json_writer w;
    LIST_EACH (&l->deployments, it) {
        struct live_deployment *d = CONTAINER_OF(it, struct live_deployment, in_live);
        int64_t level = d->is_provisioned ? bucket_level_mt(&d->bucket, now) : 0;
        if (level == 0)
            continue;
        json_writer_init(&w, out, 0);
        json_begin_object(&w);
        json_key(&w, STR("id"));
        json_str_value(&w, str_of(d->id));
        json_key(&w, STR("levelMt"));
        json_i64_value(&w, level);
        json_key(&w, STR("rateMtPerMinute"));
        json_i64_value(&w, bucket_rate(&d->bucket));
        json_end_object(&w);
        buf_char(out, '\n');
        n++;
    }
    json_writer_init(&w, out, 0);
    json_begin_object(&w);
    json_key(&w, STR("savedAtUs"));
    json_i64_value(&w, wall_us);
    json_key(&w, STR("levels"));
    json_i64_value(&w, n);
    json_end_object(&w);
    buf_char(out, '\n');
}

static bool member_i64(struct json_value object, struct str key, int64_t *out) {
    struct json_value v;
    return json_get(object, key, &v) && json_i64(v, out);
}

static void recall_level(struct live *l, struct json_value line) {
    struct json_value id;
    struct recalled r = {0};
    if (!json_get(line, STR("id"), &id) || json_str(id).n == 0 ||
        !member_i64(line, STR("levelMt"), &r.level_mt) ||
        !member_i64(line, STR("rateMtPerMinute"), &r.rate) || r.level_mt < 0 || r.rate < 0)
        return;
    r.id = str_dup(json_str(id));
    l->recalled = xrealloc(l->recalled, (l->n_recalled + 1) * sizeof *l->recalled);
    l->recalled[l->n_recalled++] = r;
}

static void free_doc(struct json_doc **doc) {
    json_doc_free(*doc);
}

enum status live_recall(struct live *l, const char *text, size_t len, int64_t wall_us,
                        struct problem *why) {
    CLEANUP(free_doc) struct json_doc *doc = json_doc_new();
    struct str rest = {text, len}, line;
    int64_t saved_at = 0, n = -1;
    bool is_damaged = false;
    while (str_cut(&rest, '\n', &line)) {
        struct json_value root;
        /* What lies behind a line is the next one or the caller's padding: readable. */
        if (json_parse(doc, line.p, line.n, &root, NULL) != ST_OK) {
            is_damaged = true;
            continue;
        }
        if (member_i64(root, STR("savedAtUs"), &saved_at)) {
            if (!member_i64(root, STR("levels"), &n))
                n = -1;
        } else {
            recall_level(l, root);
        }
    }
    l->recalled_after_us = i64_max(0, wall_us - saved_at);
    l->is_record_damaged = is_damaged || n != (int64_t)l->n_recalled;
    if (!l->is_record_damaged)
        return ST_OK;
    if (n < 0)
        l->recalled_after_us = 0; /* nobody knows how long it was: all that was owed is owed */
    return problem_set(why, ST_BAD_JSON, STR("levels"),
                       "the record of levels is damaged: %zu were read; provisioned deployments "
                       "that it does not name begin half full",
                       l->n_recalled);
}
