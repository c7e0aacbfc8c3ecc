#include "balance/balance.h"

#include "base/clock.h"
#include "base/wide.h"

/* One reading of an eligible candidate, so that a pick argues with itself about equal numbers. */
struct view {
    size_t index;
    int64_t priority, weight, limit, inflight, open_ms, remaining, remaining_until_ns;
};

static int64_t get(const _Atomic(int64_t) *field) {
    return atomic_load_explicit(field, memory_order_relaxed);
}

static void set(_Atomic(int64_t) *field, int64_t value) {
    atomic_store_explicit(field, value, memory_order_relaxed);
}

static int64_t after_ms(int64_t now_ns, int64_t ms) {
    return i128_to_i64(now_ns + (i128)ms * NS_PER_MS);
}

uint64_t balance_rng_next(struct balance_rng *rng) {
    uint64_t z = rng->state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

void balance_backend_init(struct balance_backend *b, int64_t priority, int64_t weight,
                          int64_t limit) {
    atomic_init(&b->inflight, 0);
    atomic_init(&b->blocked_until_ns, 0);
    atomic_init(&b->fails, 0);
    atomic_init(&b->open_until_ns, 0);
    atomic_init(&b->open_ms, 0);
    atomic_init(&b->is_probing, false);
    atomic_init(&b->remaining, -1);
    atomic_init(&b->remaining_until_ns, 0);
    balance_backend_configure(b, priority, weight, limit);
}

void balance_backend_configure(struct balance_backend *b, int64_t priority, int64_t weight,
                               int64_t limit) {
    set(&b->priority, priority);
    set(&b->weight, i64_min(i64_max(1, weight), INT64_C(1) << 32));
    set(&b->limit, i64_max(0, limit));
}

static bool knows_remaining(int64_t remaining, int64_t until_ns, int64_t now_ns) {
    return remaining >= 0 && now_ns < until_ns;
}

/* Reads one candidate; false when it may not take this call. */
static bool view_eligible(const struct balance_backend *b, const struct balance_ask *ask,
                          struct view *v) {
    int64_t now = ask->now_ns;
    if (now < get(&b->blocked_until_ns))
        return false;
    v->open_ms = get(&b->open_ms);
    if (v->open_ms && (now < get(&b->open_until_ns) ||
                       atomic_load_explicit(&b->is_probing, memory_order_relaxed)))
        return false;
    v->remaining = get(&b->remaining);
    v->remaining_until_ns = get(&b->remaining_until_ns);
    if (knows_remaining(v->remaining, v->remaining_until_ns, now) && v->remaining < ask->estimate)
        return false;
    v->priority = get(&b->priority);
    v->weight = get(&b->weight);
    v->limit = get(&b->limit);
    v->inflight = get(&b->inflight);
    return true;
}

/* The candidates that may take the call, of the lowest priority number among them, in order. */
static size_t view_all(struct balance_backend *const *candidates, size_t n,
                       const struct balance_ask *ask, struct view *ok) {
    size_t n_ok = 0;
    for (size_t i = 0; i < n; i++) {
        struct view v = {.index = i};
        if (ask->tried >> i & 1 || !view_eligible(candidates[i], ask, &v))
            continue;
        if (n_ok && v.priority > ok[0].priority)
            continue;
        if (n_ok && v.priority < ok[0].priority)
            n_ok = 0;
        ok[n_ok++] = v;
    }
    return n_ok;
}

/* Load in thousandths of (unit of inflight / weight). */
static i128 load_of(const struct view *v) {
    return (i128)v->inflight * 1000 / v->weight;
}

/* The one that has most of the prompt cached, unless it is much busier than the least busy. */
static const struct view *pick_affine(const struct view *ok, size_t n,
                                      const struct balance_ask *ask) {
    const struct view *best = &ok[0];
    i128 least = load_of(&ok[0]);
    for (size_t i = 1; i < n; i++) {
        if (ask->affinity[ok[i].index] > ask->affinity[best->index])
            best = &ok[i];
        if (load_of(&ok[i]) < least)
            least = load_of(&ok[i]);
    }
    if (ask->affinity[best->index] <= 0)
        return NULL;
    i128 most =
        least + least * BALANCE_AFFINITY_SLACK / 1000 + (i128)ask->estimate * 1000 / best->weight;
    return load_of(best) <= most ? best : NULL;
}

/* One of ok by weight, leaving out `skip`, beside which there is another. */
static const struct view *draw(const struct view *ok, size_t n, const struct view *skip,
                               struct balance_rng *rng) {
    uint64_t total = 0;
    for (size_t i = 0; i < n; i++)
        total += &ok[i] == skip ? 0 : (uint64_t)ok[i].weight;
    assert(total > 0);
    uint64_t r = balance_rng_next(rng) % total;
    const struct view *chosen = NULL;
    for (size_t i = 0; i < n; i++) {
        if (&ok[i] == skip)
            continue;
        chosen = &ok[i];
        if (r < (uint64_t)chosen->weight)
            break;
        r -= (uint64_t)chosen->weight;
    }
    return chosen;
}

/* Quota that is lost unless it is spent before it resets, as a fraction of tokens over ns. Where
 * nothing is known, a full minute of the limit. */
static void burn_of(const struct view *v, int64_t now_ns, i128 *tokens, i128 *ns) {
    if (knows_remaining(v->remaining, v->remaining_until_ns, now_ns)) {
        *tokens = v->remaining;
        *ns = (i128)v->remaining_until_ns - now_ns;
    } else {
        *tokens = v->limit;
        *ns = NS_PER_MIN;
    }
}

/* Power of two choices: the less loaded of two draws; on a tie the one whose quota perishes
 * faster. The first drawn keeps what is still equal. */
static const struct view *pick_of_two(const struct view *ok, size_t n, int64_t now_ns,
                                      struct balance_rng *rng) {
    if (n == 1)
        return &ok[0];
    const struct view *a = draw(ok, n, NULL, rng);
    const struct view *c = draw(ok, n, a, rng);
    i128 load_a = (i128)a->inflight * c->weight, load_c = (i128)c->inflight * a->weight;
    if (load_a != load_c)
        return load_c < load_a ? c : a;
    i128 tokens_a, ns_a, tokens_c, ns_c;
    burn_of(a, now_ns, &tokens_a, &ns_a);
    burn_of(c, now_ns, &tokens_c, &ns_c);
    return tokens_c * ns_a > tokens_a * ns_c ? c : a;
}

int balance_pick(struct balance_backend *const *candidates, size_t n, const struct balance_ask *ask,
                 struct balance_rng *rng) {
    assert(n <= BALANCE_BACKENDS_MAX);
    struct balance_ask now = *ask;
    for (;;) {
        struct view ok[BALANCE_BACKENDS_MAX] UNINITIALIZED;
        size_t n_ok = view_all(candidates, n, &now, ok);
        if (n_ok == 0)
            return -1;
        const struct view *chosen = now.affinity ? pick_affine(ok, n_ok, &now) : NULL;
        if (!chosen)
            chosen = pick_of_two(ok, n_ok, now.now_ns, rng);
        struct balance_backend *b = candidates[chosen->index];
        bool none = false;
        if (chosen->open_ms &&
            !atomic_compare_exchange_strong_explicit(&b->is_probing, &none, true,
                                                     memory_order_acq_rel, memory_order_relaxed)) {
            /* Another thread sent the probe a moment ago: this one is not eligible after all. */
            now.tried |= UINT64_C(1) << chosen->index;
            continue;
        }
        atomic_fetch_add_explicit(&b->inflight, now.estimate, memory_order_relaxed);
        return (int)chosen->index;
    }
}

enum balance_outcome balance_outcome_of(int http_status) {
    if (http_status == 429)
        return BALANCE_BUSY;
    return http_status >= 500 ? BALANCE_FAILED : BALANCE_SERVED;
}

static void take_off_inflight(struct balance_backend *b, int64_t estimate) {
    int64_t old = get(&b->inflight);
    while (!atomic_compare_exchange_weak_explicit(&b->inflight, &old, i64_max(0, old - estimate),
                                                  memory_order_relaxed, memory_order_relaxed))
        continue;
}

static void count_failure(struct balance_backend *b, int64_t now_ns, bool was_probe) {
    int64_t fails = 1 + atomic_fetch_add_explicit(&b->fails, 1, memory_order_relaxed);
    if (!was_probe && fails < BALANCE_FAILS_TO_OPEN)
        return;
    int64_t last = get(&b->open_ms);
    int64_t open_ms = last ? i64_min(BALANCE_OPEN_MS_MAX, last * 2) : BALANCE_OPEN_MS_MIN;
    set(&b->open_until_ns, after_ms(now_ns, open_ms));
    set(&b->open_ms, open_ms);
}

void balance_done(struct balance_backend *b, int64_t now_ns, int64_t estimate,
                  const struct balance_answer *answer) {
    take_off_inflight(b, estimate);
    if (answer->remaining >= 0) {
        set(&b->remaining, answer->remaining);
        set(&b->remaining_until_ns, after_ms(now_ns, answer->reset_ms));
    }
    bool was_probe = atomic_load_explicit(&b->is_probing, memory_order_acquire);
    switch (answer->outcome) {
    case BALANCE_SERVED:
        set(&b->fails, 0);
        set(&b->open_ms, 0);
        set(&b->open_until_ns, 0);
        break;
    case BALANCE_BUSY:
        set(&b->blocked_until_ns, i64_max(get(&b->blocked_until_ns),
                                          after_ms(now_ns, i64_max(1, answer->retry_after_ms))));
        break;
    case BALANCE_FAILED:
        count_failure(b, now_ns, was_probe);
        break;
    case BALANCE_SILENT:
        break;
    }
    /* Last, so that the next probe sees what this one has learned. */
    atomic_store_explicit(&b->is_probing, false, memory_order_release);
}

bool balance_is_waiting(const struct balance_backend *b, int64_t now_ns, int64_t estimate) {
    int64_t remaining = get(&b->remaining);
    return now_ns < get(&b->blocked_until_ns) ||
           (knows_remaining(remaining, get(&b->remaining_until_ns), now_ns) &&
            remaining < estimate);
}

int64_t balance_retry_after_ms(struct balance_backend *const *candidates, size_t n,
                               int64_t now_ns) {
    int64_t first = n ? INT64_MAX : now_ns;
    for (size_t i = 0; i < n; i++) {
        const struct balance_backend *b = candidates[i];
        int64_t t = get(&b->blocked_until_ns);
        if (get(&b->open_ms))
            t = i64_max(t, get(&b->open_until_ns));
        int64_t until = get(&b->remaining_until_ns);
        if (t <= now_ns && knows_remaining(get(&b->remaining), until, now_ns))
            t = until;
        first = i64_min(first, t);
    }
    i128 wait = i128_div_ceil((i128)first - now_ns, NS_PER_MS);
    return i64_max(1, i128_to_i64(wait));
}
