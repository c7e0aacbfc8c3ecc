#include "admit/bucket.h"

#include "base/wide.h"

/* "Never": what a rate of 0 answers to when. As in the reference model of the spec. */
#define NEVER_NS ((i128)1 << 62)

/* A reader's own copy of one epoch: plain numbers. */
struct epoch {
    int64_t t0_ns, s0_mt, rem, rate, depth_mt;
};

static int64_t clamp(int64_t x, int64_t lo, int64_t hi) {
    return i64_min(i64_max(x, lo), hi);
}

/*
 * Fields are stored with release and loaded with acquire: whoever reads a field of the epoch 16
 * later thereby also sees the number that was published before that slot was reused, and tries
 * again. Fences would do with relaxed fields, but the thread sanitizer does not know fences; on
 * x86 both are plain moves.
 */
static struct epoch epoch_read(const struct bucket *b) {
    for (;;) {
        uint64_t i = atomic_load_explicit(&b->epoch, memory_order_acquire);
        const struct bucket_epoch *slot = &b->epochs[i % BUCKET_EPOCHS];
        struct epoch e = {
            .t0_ns = atomic_load_explicit(&slot->t0_ns, memory_order_acquire),
            .s0_mt = atomic_load_explicit(&slot->s0_mt, memory_order_acquire),
            .rem = atomic_load_explicit(&slot->rem, memory_order_acquire),
            .rate = atomic_load_explicit(&slot->rate, memory_order_acquire),
            .depth_mt = atomic_load_explicit(&slot->depth_mt, memory_order_acquire),
        };
        uint64_t now = atomic_load_explicit(&b->epoch, memory_order_relaxed);
        if (LIKELY(now - i < BUCKET_EPOCHS - 1))
            return e;
    }
}

static void epoch_write(struct bucket *b, uint64_t i, const struct epoch *e) {
    struct bucket_epoch *slot = &b->epochs[i % BUCKET_EPOCHS];
    atomic_store_explicit(&slot->t0_ns, e->t0_ns, memory_order_release);
    atomic_store_explicit(&slot->s0_mt, e->s0_mt, memory_order_release);
    atomic_store_explicit(&slot->rem, e->rem, memory_order_release);
    atomic_store_explicit(&slot->rate, e->rate, memory_order_release);
    atomic_store_explicit(&slot->depth_mt, e->depth_mt, memory_order_release);
    atomic_store_explicit(&b->epoch, i, memory_order_release);
}

static int64_t depth_of(int64_t rate, int64_t window_ms) {
    i128 depth = (i128)rate * window_ms / 60000;
    return clamp(i128_to_i64(depth), 1, BUCKET_DEPTH_MAX);
}

/* The work of an epoch up to t, as a numerator over one minute. Below 2^50 * 2^64 + 2^36. */
static i128 epoch_work(const struct epoch *e, int64_t t_ns) {
    i128 dt = (i128)t_ns - e->t0_ns;
    return dt <= 0 ? e->rem : e->rate * dt + e->rem;
}

/* S(t). */
static int64_t epoch_served(const struct epoch *e, int64_t t_ns) {
    i128 s = e->s0_mt + epoch_work(e, t_ns) / NS_PER_MIN;
    return i64_min(i128_to_i64(s), BUCKET_SERVED_MAX);
}

/* The earliest time at which S is `s` or more. */
static i128 epoch_reach(const struct epoch *e, int64_t s_mt) {
    if (s_mt <= e->s0_mt)
        return e->t0_ns;
    if (e->rate == 0)
        return NEVER_NS;
    i128 wait = i128_div_ceil((i128)(s_mt - e->s0_mt) * NS_PER_MIN - e->rem, e->rate);
    return e->t0_ns + (wait > 0 ? wait : 0);
}

/* V is at most 2^63 - 1 and S at least 0, so the difference fits. */
static int64_t level_of(int64_t v, int64_t s) {
    return v <= s ? 0 : v - s;
}

static int64_t util_of(const struct epoch *e, int64_t level_mt) {
    return i128_to_i64((i128)level_mt * 1000000 / e->depth_mt);
}

/* Rounded up: one ms early would be refused again. */
static int64_t retry_of(const struct epoch *e, int64_t v, int64_t t_ns) {
    i128 wait = epoch_reach(e, v - e->depth_mt + 1) - t_ns;
    return i64_max(1, i128_to_i64(i128_div_ceil(wait, NS_PER_MS)));
}

/* Sums of V and one cost stay in range unless debits pile up past 2^62, which the reservations
 * cannot; should they, V stops instead of wrapping. */
static int64_t add_to_mark(int64_t v, int64_t s, int64_t cost_mt) {
    int64_t sum;
    return __builtin_add_overflow(i64_max(v, s), cost_mt, &sum) ? INT64_MAX : sum;
}

void bucket_init(struct bucket *b, int64_t rate_mt_min, int64_t window_ms, int64_t t0_ns) {
    int64_t rate = clamp(rate_mt_min, 0, BUCKET_RATE_MAX);
    b->window_ms = i64_max(1, window_ms);
    atomic_init(&b->finish_mt, 0);
    struct epoch e = {.t0_ns = t0_ns, .rate = rate, .depth_mt = depth_of(rate, b->window_ms)};
    epoch_write(b, 0, &e);
}

struct bucket_verdict bucket_admit(struct bucket *b, int64_t cost_mt, const struct clock *clock) {
    cost_mt = clamp(cost_mt, 0, BUCKET_COST_MAX);
    for (;;) {
        struct epoch e = epoch_read(b);
        /* Anew in every pass: a stale reading is safe for the test, but charges a bucket that was
         * empty from too early a time (spec 1.5, 3). */
        int64_t t = clock_now_ns(clock);
        int64_t s = epoch_served(&e, t);
        int64_t v = atomic_load_explicit(&b->finish_mt, memory_order_relaxed);
        int64_t level = level_of(v, s);
        if (level >= e.depth_mt) {
            return (struct bucket_verdict){
                .level_mt = level,
                .util_ppm = util_of(&e, level),
                .retry_after_ms = retry_of(&e, v, t),
                .level_before_mt = level,
            };
        }
        int64_t next = add_to_mark(v, s, cost_mt);
        if (atomic_compare_exchange_weak_explicit(&b->finish_mt, &v, next, memory_order_acq_rel,
                                                  memory_order_relaxed)) {
            int64_t after = level_of(next, s);
            return (struct bucket_verdict){
                .admitted = true,
                .level_mt = after,
                .util_ppm = util_of(&e, after),
                .level_before_mt = level,
            };
        }
    }
}

int64_t bucket_adjust(struct bucket *b, int64_t delta_mt, const struct clock *clock) {
    delta_mt = clamp(delta_mt, -BUCKET_COST_MAX, BUCKET_COST_MAX);
    if (delta_mt <= 0) {
        /* No clamp to S: a clamp would forget how far below S the mark is, and a debit that
         * follows at once could not undo this refund. */
        int64_t v = atomic_fetch_add_explicit(&b->finish_mt, delta_mt, memory_order_acq_rel);
        struct epoch e = epoch_read(b);
        return level_of(v + delta_mt, epoch_served(&e, clock_now_ns(clock)));
    }
    for (;;) {
        struct epoch e = epoch_read(b);
        int64_t s = epoch_served(&e, clock_now_ns(clock));
        int64_t v = atomic_load_explicit(&b->finish_mt, memory_order_relaxed);
        int64_t next = add_to_mark(v, s, delta_mt);
        if (atomic_compare_exchange_weak_explicit(&b->finish_mt, &v, next, memory_order_acq_rel,
                                                  memory_order_relaxed))
            return level_of(next, s);
    }
}

int64_t bucket_level_mt(const struct bucket *b, int64_t t_ns) {
    struct epoch e = epoch_read(b);
    return level_of(atomic_load_explicit(&b->finish_mt, memory_order_relaxed),
                    epoch_served(&e, t_ns));
}

int64_t bucket_util_ppm(const struct bucket *b, int64_t t_ns) {
    struct epoch e = epoch_read(b);
    int64_t v = atomic_load_explicit(&b->finish_mt, memory_order_relaxed);
    return util_of(&e, level_of(v, epoch_served(&e, t_ns)));
}

int64_t bucket_retry_after_ms(const struct bucket *b, int64_t t_ns) {
    struct epoch e = epoch_read(b);
    int64_t v = atomic_load_explicit(&b->finish_mt, memory_order_relaxed);
    if (level_of(v, epoch_served(&e, t_ns)) < e.depth_mt)
        return 0;
    return retry_of(&e, v, t_ns);
}

int64_t bucket_depth_mt(const struct bucket *b) {
    return epoch_read(b).depth_mt;
}

int64_t bucket_rate(const struct bucket *b) {
    return epoch_read(b).rate;
}

int64_t bucket_served_mt(const struct bucket *b, int64_t t_ns) {
    struct epoch e = epoch_read(b);
    return epoch_served(&e, t_ns);
}

void bucket_resize(struct bucket *b, int64_t t_ns, int64_t rate_mt_min) {
    struct epoch e = epoch_read(b);
    i128 work = epoch_work(&e, t_ns);
    int64_t rate = clamp(rate_mt_min, 0, BUCKET_RATE_MAX);
    struct epoch next = {
        .t0_ns = i64_max(e.t0_ns, t_ns),
        .s0_mt = epoch_served(&e, t_ns),
        .rem = (int64_t)(work % NS_PER_MIN),
        .rate = rate,
        .depth_mt = depth_of(rate, b->window_ms),
    };
    /* Only the writer moves the number, so its own reading of it is current. */
    epoch_write(b, atomic_load_explicit(&b->epoch, memory_order_relaxed) + 1, &next);
}

void bucket_rebase(struct bucket *b, int64_t t_ns) {
    bucket_resize(b, t_ns, bucket_rate(b));
}

void bucket_restore(struct bucket *b, int64_t t_ns, int64_t level_mt) {
    struct epoch e = epoch_read(b);
    level_mt = clamp(level_mt, 0, BUCKET_COST_MAX);
    atomic_store_explicit(&b->finish_mt, epoch_served(&e, t_ns) + level_mt, memory_order_release);
}
