/*
 * replay.c - runs recorded decisions through the product's own admission, balancing, sizing and cache table.
 *
 *     replay FILE...
 *
 * A trace is JSON lines. Line 1 is {"kind", "cfg"}; every further line is one event with its inputs
 * and, under "r", the results that the law gives (tests/traces/README.md). Each result that differs
 * is printed with its file and line, and the last line counts them. Exit status: 0 all equal; 1 a
 * difference, or no event at all; 2 an input that cannot be read.
 */
#include "admit/bucket.h"
#include "admit/estimator.h"
#include "admit/minute.h"
#include "admit/reservation.h"
#include "admit/standard.h"
#include "balance/balance.h"
#include "base/buf.h"
#include "base/map.h"
#include "sizing/sizing.h"
#include "support/jsonl.h"
#include "tokens/prefix.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* Enough minutes for every time below 2^53 ns, so that the ring never wraps. */
#define MINUTES 151000
/* Of one "metric" event; a year. */
#define REPORT_MAX 527040

/* Where we are in a file, and how the current event is doing. */
struct trace {
    const char *path;
    int line;
    struct str event;   /* the line's object */
    struct str results; /* its "r" */
    int n_compared;     /* results looked at in this event */
    bool is_different;
};

/* What cannot be read ends the program: a replay that guesses proves nothing. */
static _Noreturn void unreadable(const struct trace *t, const char *what, const char *name) {
    fflush(stdout);
    fprintf(stderr, "%s:%d: %s%s%s\n", t->path, t->line, what, name[0] ? " " : "", name);
    exit(2);
}

static int64_t number_of(const struct trace *t, struct str value, const char *name) {
    int64_t v;
    if (!jsonl_i64(value, &v))
        unreadable(t, "not a whole number:", name);
    return v;
}

static int64_t number(const struct trace *t, struct str object, const char *name) {
    struct str value;
    if (!jsonl_member(object, name, &value))
        unreadable(t, "missing:", name);
    return number_of(t, value, name);
}

static int64_t number_or(const struct trace *t, struct str object, const char *name,
                         int64_t absent) {
    struct str value;
    return jsonl_member(object, name, &value) ? number_of(t, value, name) : absent;
}

static bool truth(const struct trace *t, struct str object, const char *name) {
    struct str value;
    bool v;
    if (!jsonl_member(object, name, &value) || !jsonl_bool(value, &v))
        unreadable(t, "missing, or neither true nor false:", name);
    return v;
}

static struct str text(const struct trace *t, struct str object, const char *name) {
    struct str value, v;
    if (!jsonl_member(object, name, &value) || !jsonl_text(value, &v))
        unreadable(t, "missing, or not a plain text:", name);
    return v;
}

/* Compares one result in its JSON form; a result that the trace does not list is not judged. */
static void compare(struct trace *t, const char *name, struct str got) {
    struct str rest = t->results, key, want;
    while (jsonl_pair(&rest, &key, &want)) {
        if (!str_eq(key, str_of(name)))
            continue;
        t->n_compared++;
        if (!str_eq(want, got)) {
            t->is_different = true;
            printf("%s:%d: %s: want %.*s, got %.*s\n", t->path, t->line, name, STR_ARG(want),
                   STR_ARG(got));
        }
    }
}

static void compare_number(struct trace *t, const char *name, int64_t got) {
    char digits[32];
    snprintf(digits, sizeof digits, "%" PRId64, got);
    compare(t, name, str_of(digits));
}

static void compare_truth(struct trace *t, const char *name, bool got) {
    compare(t, name, got ? STR("true") : STR("false"));
}

static void compare_text(struct trace *t, const char *name, struct str got) {
    char quoted[128];
    snprintf(quoted, sizeof quoted, "\"%.*s\"", STR_ARG(got));
    compare(t, name, str_of(quoted));
}

/* A clock that shows the time of the event. */
static int64_t event_time(void *arg) {
    return *(int64_t *)arg;
}

/* ---- provisioned ---- */

struct provisioned {
    struct bucket bucket;
    struct minute_ring minutes;
    struct minute_slot *slots; /* owned */
    struct weights weights;
    int64_t unit_mt;         /* mt a minute and unit */
    struct map reservations; /* text of the id -> struct booking, owned */
};

struct booking {
    struct reservation reservation;
    char *id; /* owned; the map's key */
};

static int64_t rate_of(const struct trace *t, int64_t units, int64_t unit_mt) {
    int64_t rate;
    if (__builtin_mul_overflow(units, unit_mt, &rate))
        unreadable(t, "out of range:", "ptu");
    return rate;
}

static void *provisioned_new(const struct trace *t, struct str cfg) {
    struct provisioned *p = xcalloc(1, sizeof *p);
    struct str w;
    p->weights = WEIGHTS_DEFAULT;
    if (jsonl_member(cfg, "weights", &w)) {
        p->weights.w_in = number_or(t, w, "w_in", p->weights.w_in);
        p->weights.w_cached = number_or(t, w, "w_cached", p->weights.w_cached);
        p->weights.w_out = number_or(t, w, "w_out", p->weights.w_out);
        p->weights.min_cost = number_or(t, w, "min_cost", p->weights.min_cost);
        p->weights.block = number_or(t, w, "block", p->weights.block);
    }
    p->unit_mt = rate_of(t, number(t, cfg, "tpm_per_ptu"), 1000);
    bucket_init(&p->bucket, rate_of(t, number(t, cfg, "ptu"), p->unit_mt),
                number(t, cfg, "window_ms"), number_or(t, cfg, "t0", 0));
    p->slots = xcalloc(MINUTES, sizeof *p->slots);
    minute_init(&p->minutes, p->slots, MINUTES);
    map_init(&p->reservations, &(struct siphash_key){0});
    return p;
}

static void provisioned_free(void *state) {
    struct provisioned *p = state;
    size_t at = 0;
    struct str key;
    void *value;
    while (map_next(&p->reservations, &at, &key, &value)) {
        struct booking *b = value;
        free(b->id);
        free(b);
    }
    map_destroy(&p->reservations);
    free(p->slots);
    free(p);
}

static struct str id_of(const struct trace *t) {
    struct str id;
    if (!jsonl_member(t->event, "id", &id))
        unreadable(t, "missing:", "id");
    return id;
}

static void provisioned_admit(struct provisioned *p, struct trace *t, int64_t now,
                              const struct clock *clock) {
    struct reservation r;
    reservation_init(&r, &p->weights, number(t, t->event, "prompt"),
                     number_or(t, t->event, "cached", 0), number(t, t->event, "out"),
                     number_or(t, t->event, "cap", -1));
    int64_t level_before = bucket_level_mt(&p->bucket, now);
    struct bucket_verdict v = bucket_admit(&p->bucket, r.charged_mt, clock);
    if (v.level_before_mt != level_before || (!v.admitted && v.level_mt != level_before)) {
        t->is_different = true;
        printf("%s:%d: the verdict saw another level than the bucket had\n", t->path, t->line);
    }
    if (v.admitted) {
        struct str id = id_of(t);
        struct booking *b = map_get(&p->reservations, id);
        if (!b) {
            b = xcalloc(1, sizeof *b);
            b->id = str_dup(id);
            map_put(&p->reservations, str_of(b->id), b);
        }
        b->reservation = r;
        minute_post(&p->minutes, now, r.charged_mt);
    }
    compare_truth(t, "ok", v.admitted);
    compare_number(t, "cost", r.charged_mt);
    compare_number(t, "level", v.level_mt);
    compare_number(t, "util", v.util_ppm);
    compare_number(t, "retry", v.retry_after_ms);
}

static void provisioned_metric(struct provisioned *p, struct trace *t) {
    int64_t first = number(t, t->event, "a"), end = number(t, t->event, "b");
    if (first < 0 || end < first || end - first > REPORT_MAX)
        unreadable(t, "out of range:", "b");
    size_t n = (size_t)(end - first);
    int64_t *ppm = xcalloc(n + 1, sizeof *ppm);
    minute_report(&p->minutes, first, n, 0, bucket_rate(&p->bucket), ppm);
    struct buf list;
    buf_init(&list, 2 + n * 21);
    buf_char(&list, '[');
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_char(&list, ',');
        buf_i64(&list, ppm[i]);
    }
    buf_char(&list, ']');
    compare(t, "ppm", buf_view(&list));
    buf_destroy(&list);
    free(ppm);
}

/* The correction that an event of a running call posts. */
static int64_t provisioned_delta(struct provisioned *p, const struct trace *t, struct str what) {
    struct booking *b = map_get(&p->reservations, id_of(t));
    if (!b)
        unreadable(t, "no admitted call of this id:", "id");
    struct reservation *r = &b->reservation;
    if (str_eq(what, STR("prefill")))
        return reservation_prefill(r, number_or(t, t->event, "prompt", -1),
                                   number(t, t->event, "cached"));
    if (str_eq(what, STR("progress")))
        return reservation_progress(r, number(t, t->event, "gen"));
    if (str_eq(what, STR("done")) || str_eq(what, STR("abort")))
        return reservation_finish(r, number(t, t->event, "gen"), true);
    if (str_eq(what, STR("fail")))
        return reservation_finish(r, 0, false);
    unreadable(t, "unknown event:", "ev");
}

static void provisioned_step(void *state, struct trace *t) {
    struct provisioned *p = state;
    struct bucket *b = &p->bucket;
    int64_t now = number(t, t->event, "t");
    struct clock clock = {event_time, &now};
    struct str what = text(t, t->event, "ev");
    if (str_eq(what, STR("admit"))) {
        provisioned_admit(p, t, now, &clock);
        return;
    }
    if (str_eq(what, STR("metric"))) {
        provisioned_metric(p, t);
        return;
    }
    if (str_eq(what, STR("resize"))) {
        bucket_resize(b, now, rate_of(t, number(t, t->event, "ptu"), p->unit_mt));
        compare_number(t, "depth", bucket_depth_mt(b));
    } else if (str_eq(what, STR("rebase"))) {
        bucket_rebase(b, now);
    } else if (str_eq(what, STR("peek"))) {
        compare_number(t, "retry", bucket_retry_after_ms(b, now));
    } else {
        int64_t delta = provisioned_delta(p, t, what);
        bucket_adjust(b, delta, &clock);
        minute_post(&p->minutes, now, delta);
        compare_number(t, "delta", delta);
    }
    compare_number(t, "level", bucket_level_mt(b, now));
    compare_number(t, "util", bucket_util_ppm(b, now));
}

/* ---- standard ---- */

static void *standard_new(const struct trace *t, struct str cfg) {
    struct standard *s = xcalloc(1, sizeof *s);
    standard_init(s, number(t, cfg, "rpm"), number(t, cfg, "tpm"), number_or(t, cfg, "window_s", 0),
                  truth(t, cfg, "strict"), number_or(t, cfg, "phase", 0));
    return s;
}

static void standard_step(void *state, struct trace *t) {
    static const char *const why[] = {
        [STANDARD_ADMITTED] = "",
        [STANDARD_NO_TOKENS] = "tokens",
        [STANDARD_NO_REQUESTS] = "requests",
    };
    struct standard *s = state;
    int64_t now = number(t, t->event, "t");
    struct clock clock = {event_time, &now};
    int64_t est = standard_estimate_tokens(number(t, t->event, "chars"), number(t, t->event, "max"),
                                           number_or(t, t->event, "best_of", 1),
                                           number_or(t, t->event, "n", 1),
                                           number_or(t, t->event, "prompts", 1));
    struct standard_verdict v = standard_admit(s, est, &clock);
    char word[17];
    snprintf(word, sizeof word, "%016" PRIx64, atomic_load(&s->word));
    compare_number(t, "est", est);
    compare_truth(t, "ok", v.admitted);
    compare_text(t, "why", str_of(why[v.why]));
    compare_number(t, "rem_req", v.remaining_requests);
    compare_number(t, "rem_tok", v.remaining_tokens);
    compare_number(t, "reset_req", v.reset_requests_s);
    compare_number(t, "reset_tok", v.reset_tokens_s);
    compare_number(t, "retry", v.retry_after_ms);
    compare_text(t, "word", str_of(word));
}

/* ---- estimator ---- */

static void *estimator_new(const struct trace *t, struct str cfg) {
    struct estimator *e = xcalloc(1, sizeof *e);
    estimator_init(e, number_or(t, cfg, "default", ESTIMATOR_DEFAULT),
                   number_or(t, cfg, "lo", ESTIMATOR_LO), number_or(t, cfg, "hi", ESTIMATOR_HI),
                   number_or(t, cfg, "tau_milli", ESTIMATOR_TAU_MILLI));
    return e;
}

static void estimator_step(void *state, struct trace *t) {
    struct estimator *e = state;
    struct str what = text(t, t->event, "ev");
    if (str_eq(what, STR("observe"))) {
        estimator_observe(e, number(t, t->event, "tokens"), truth(t, t->event, "censored"));
        compare_number(t, "q", atomic_load(&e->q16));
        compare_number(t, "n", atomic_load(&e->n));
    } else if (str_eq(what, STR("estimate"))) {
        compare_number(t, "est", estimator_value(e));
    } else {
        unreadable(t, "unknown event:", "ev");
    }
}

/* ---- router ---- */

struct router {
    struct balance_backend backends[BALANCE_BACKENDS_MAX];
    struct balance_backend *candidates[BALANCE_BACKENDS_MAX]; /* borrowed from backends */
    char *names[BALANCE_BACKENDS_MAX];                        /* owned */
    size_t n;
    struct balance_rng rng;
};

static void *router_new(const struct trace *t, struct str cfg) {
    struct router *r = xcalloc(1, sizeof *r);
    struct str list, row, seed;
    if (!jsonl_member(cfg, "rng", &seed) || !jsonl_u64(seed, &r->rng.state))
        unreadable(t, "missing, or not a number of 64 bits:", "rng");
    if (!jsonl_member(cfg, "backends", &list))
        unreadable(t, "missing:", "backends");
    while (jsonl_item(&list, &row)) {
        struct str name, priority, weight, limit;
        if (r->n == BALANCE_BACKENDS_MAX)
            unreadable(t, "too many:", "backends");
        if (!jsonl_item(&row, &name) || !jsonl_text(name, &name) || !jsonl_item(&row, &priority) ||
            !jsonl_item(&row, &weight) || !jsonl_item(&row, &limit))
            unreadable(t, "not [name, priority, weight, limit]:", "backends");
        balance_backend_init(&r->backends[r->n], number_of(t, priority, "priority"),
                             number_of(t, weight, "weight"), number_of(t, limit, "limit"));
        r->candidates[r->n] = &r->backends[r->n];
        r->names[r->n++] = str_dup(name);
    }
    return r;
}

static void router_free(void *state) {
    struct router *r = state;
    for (size_t i = 0; i < r->n; i++)
        free(r->names[i]);
    free(r);
}

static size_t router_index(const struct router *r, const struct trace *t, struct str name) {
    for (size_t i = 0; i < r->n; i++) {
        if (str_eq(name, str_of(r->names[i])))
            return i;
    }
    unreadable(t, "no backend of this name", "");
}

static void router_pick(struct router *r, struct trace *t, int64_t now) {
    int64_t affinity[BALANCE_BACKENDS_MAX] = {0};
    struct balance_ask ask = {.now_ns = now, .estimate = number(t, t->event, "est")};
    struct str list, item, key;
    if (jsonl_member(t->event, "tried", &list)) {
        while (jsonl_item(&list, &item)) {
            if (!jsonl_text(item, &item))
                unreadable(t, "not a plain text:", "tried");
            ask.tried |= UINT64_C(1) << router_index(r, t, item);
        }
    }
    if (jsonl_member(t->event, "aff", &list)) {
        ask.affinity = affinity;
        while (jsonl_pair(&list, &key, &item))
            affinity[router_index(r, t, key)] = number_of(t, item, "aff");
    }
    int to = balance_pick(r->candidates, r->n, &ask, &r->rng);
    if (to >= 0) {
        compare_text(t, "to", str_of(r->names[to]));
        compare_number(t, "retry", 0);
    } else {
        compare(t, "to", STR("null"));
        compare_number(t, "retry", balance_retry_after_ms(r->candidates, r->n, now));
    }
}

static void router_step(void *state, struct trace *t) {
    struct router *r = state;
    int64_t now = number(t, t->event, "t");
    struct str what = text(t, t->event, "ev");
    if (str_eq(what, STR("pick"))) {
        router_pick(r, t, now);
    } else if (str_eq(what, STR("done"))) {
        struct balance_backend *b = &r->backends[router_index(r, t, text(t, t->event, "b"))];
        int64_t status = number(t, t->event, "status");
        struct balance_answer answer = {
            .outcome = balance_outcome_of((int)i64_min(i64_max(status, 0), 999)),
            .retry_after_ms = number_or(t, t->event, "ra", 0),
            .remaining = number_or(t, t->event, "rem", -1),
            .reset_ms = number_or(t, t->event, "reset", 0),
        };
        balance_done(b, now, number(t, t->event, "est"), &answer);
        compare_number(t, "inflight", atomic_load(&b->inflight));
        compare_number(t, "blocked", atomic_load(&b->blocked_until_ns));
        compare_number(t, "open", atomic_load(&b->open_ms));
    } else {
        unreadable(t, "unknown event:", "ev");
    }
}

/* ---- sizing ---- */

/* Nothing is set up and nothing is remembered; the pointer is only freed. */
static void *sizing_new(const struct trace *t, struct str cfg) {
    (void)t;
    (void)cfg;
    return NULL;
}

static void sizing_step(void *state, struct trace *t) {
    (void)state;
    struct sizing_load load = {
        .rpm_milli = number(t, t->event, "rpm_milli"),
        .prompt_tokens = number(t, t->event, "prompt"),
        .output_tokens = number(t, t->event, "output"),
        .cached_ppm = number(t, t->event, "cached_ppm"),
    };
    struct sizing_model model = {
        .input_tpm_per_ptu = number(t, t->event, "tpm_per_ptu"),
        .output_weight_milli = number(t, t->event, "ratio_milli"),
        .discount_ppm = number(t, t->event, "discount_ppm"),
    };
    int64_t tpm_milli = sizing_tpm_milli(&load, &model);
    int64_t raw = sizing_ptus(tpm_milli, &model, number(t, t->event, "util_ppm"));
    compare_number(t, "tpm_milli", tpm_milli);
    compare_number(t, "ptus",
                   sizing_deployable(raw, number(t, t->event, "min"), number(t, t->event, "inc")));
}

/* ---- promptcache ---- */

enum { MARKS_MAX = 1 << 20 };

struct promptcache {
    struct prefix_table table;
    int64_t ttl_ns;
    struct siphash_key key;
    struct buf marks; /* of the event's prompt */
};

static uint64_t word(const struct trace *t, struct str object, const char *name) {
    uint64_t v;
    if (!str_to_hex_u64(text(t, object, name), &v))
        unreadable(t, "not a word in hexadecimal:", name);
    return v;
}

static void *promptcache_new(const struct trace *t, struct str cfg) {
    struct promptcache *p = xcalloc(1, sizeof *p);
    p->key = (struct siphash_key){word(t, cfg, "k0"), word(t, cfg, "k1")};
    int64_t capacity = number(t, cfg, "capacity");
    if (capacity < 1 || capacity > 1 << 24)
        unreadable(t, "out of range:", "capacity");
    prefix_init(&p->table, (uint32_t)capacity);
    p->ttl_ns = number(t, cfg, "ttl_ns");
    buf_init(&p->marks, MARKS_MAX);
    return p;
}

static void promptcache_free(void *state) {
    struct promptcache *p = state;
    prefix_destroy(&p->table);
    buf_destroy(&p->marks);
    free(p);
}

/* Token ids as [a, b, n]: (a i + b) mod 100,003 for i from 0 to n - 1. */
static void read_tokens(struct promptcache *p, const struct trace *t) {
    struct prefix_chain chain;
    struct str segments, segment, item;
    prefix_chain_init(&chain, &p->key);
    buf_clear(&p->marks);
    if (!jsonl_member(t->event, "tok", &segments))
        unreadable(t, "missing:", "tok");
    while (jsonl_item(&segments, &segment)) {
        int64_t abn[3] = {0};
        for (int i = 0; i < 3 && jsonl_item(&segment, &item); i++)
            abn[i] = number_of(t, item, "tok");
        for (int64_t i = 0; i < abn[2]; i++) {
            uint32_t id = (uint32_t)((uint64_t)(abn[0] * i + abn[1]) % 100003);
            struct str bytes = {(const char *)&id, sizeof id};
            if (prefix_chain_add(&chain, bytes, 1, &p->marks) != ST_OK)
                unreadable(t, "too long:", "tok");
        }
    }
}

static void promptcache_step(void *state, struct trace *t) {
    struct promptcache *p = state;
    struct str what = text(t, t->event, "ev");
    read_tokens(p, t);
    const uint64_t *marks = (const void *)p->marks.p;
    size_t n = p->marks.len / sizeof *marks;
    int64_t now = number(t, t->event, "t");
    if (str_eq(what, STR("predict"))) {
        char last[17] = "";
        if (n)
            snprintf(last, sizeof last, "%016" PRIx64, marks[n - 1]);
        compare_number(t, "cached", prefix_predict(&p->table, marks, n, now, p->ttl_ns));
        compare_text(t, "last", str_of(last));
    } else if (str_eq(what, STR("commit"))) {
        prefix_commit(&p->table, marks, n, now, -1);
        compare_number(t, "size", p->table.n_used);
    } else {
        unreadable(t, "unknown event:", "ev");
    }
}

/* ---- files ---- */

static const struct kind {
    const char *name;
    void *(*make)(const struct trace *t, struct str cfg);
    void (*step)(void *state, struct trace *t);
    void (*free)(void *state);
} kinds[] = {
    {"provisioned", provisioned_new, provisioned_step, provisioned_free},
    {"standard", standard_new, standard_step, free},
    {"estimator", estimator_new, estimator_step, free},
    {"router", router_new, router_step, router_free},
    {"sizing", sizing_new, sizing_step, free},
    {"promptcache", promptcache_new, promptcache_step, promptcache_free},
};

static const struct kind *kind_of(const struct trace *t) {
    struct str name = text(t, t->event, "kind");
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (str_eq(name, str_of(kinds[i].name)))
            return &kinds[i];
    }
    unreadable(
        t,
        "unknown kind; known are provisioned, standard, estimator, router, sizing and promptcache",
        "");
}

/* One event: every result that the trace lists must be one that we compared. */
static bool replay_event(const struct kind *kind, void *state, struct trace *t) {
    t->n_compared = 0;
    t->is_different = false;
    if (!jsonl_member(t->event, "r", &t->results))
        unreadable(t, "missing:", "r");
    kind->step(state, t);
    int n_listed = 0;
    struct str rest = t->results, key, value;
    while (jsonl_pair(&rest, &key, &value))
        n_listed++;
    if (n_listed == 0 || n_listed != t->n_compared) {
        t->is_different = true;
        printf("%s:%d: %d results listed, %d known\n", t->path, t->line, n_listed, t->n_compared);
    }
    return t->is_different;
}

static void replay_file(const char *path, int64_t *n_events, int64_t *n_mismatches) {
    struct trace t = {.path = path};
    FILE *file = fopen(path, "r");
    if (!file)
        unreadable(&t, "cannot be opened:", strerror(errno));
    const struct kind *kind = NULL;
    void *state = NULL;
    char *line = NULL;
    size_t cap = 0;
    ssize_t len;
    while ((len = getline(&line, &cap, file)) >= 0) {
        t.line++;
        struct str rest = str_trim((struct str){line, (size_t)len});
        if (rest.n == 0)
            continue;
        if (!jsonl_value(&rest, &t.event) || rest.n || t.event.p[0] != '{')
            unreadable(&t, "not one JSON object", "");
        if (!kind) {
            struct str cfg;
            kind = kind_of(&t);
            if (!jsonl_member(t.event, "cfg", &cfg))
                unreadable(&t, "missing:", "cfg");
            state = kind->make(&t, cfg);
            continue;
        }
        ++*n_events;
        *n_mismatches += replay_event(kind, state, &t);
    }
    if (ferror(file))
        unreadable(&t, "cannot be read:", strerror(errno));
    if (!kind)
        unreadable(&t, "no line of kind and cfg", "");
    kind->free(state);
    free(line);
    fclose(file);
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: replay FILE...\n");
        return 2;
    }
    int64_t n_events = 0, n_mismatches = 0;
    for (int i = 1; i < argc; i++)
        replay_file(argv[i], &n_events, &n_mismatches);
    printf("%" PRId64 " events, %" PRId64 " mismatches\n", n_events, n_mismatches);
    return n_mismatches > 0 || n_events == 0;
}
