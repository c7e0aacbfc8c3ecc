#include "admit/standard.h"

#include "base/wide.h"

/* One reading of the word, the clock and the limits. */
struct view {
    int64_t rpm, tpm;
    int64_t width_s;   /* of a window */
    int64_t n_windows; /* whole ones in a minute */
    int64_t minute;
    int64_t in_minute_ns;
    int64_t window;
    int64_t requests, tokens;
};

static int64_t div_ceil(int64_t a, int64_t b) {
    return i128_to_i64(i128_div_ceil(a, b));
}

/* Requests that the first k windows of a minute may take together. */
static int64_t allowed_before(const struct view *v, int64_t k) {
    return i128_to_i64(i128_div_ceil((i128)k * v->rpm * v->width_s, 60));
}

static int64_t allowance(const struct view *v, int64_t k) {
    return allowed_before(v, k + 1) - allowed_before(v, k);
}

static uint64_t word_of(int64_t minute, int64_t window, int64_t requests, int64_t tokens) {
    return ((uint64_t)minute & 0xffff) << 48 | ((uint64_t)window & 63) << 42 |
           (uint64_t)requests << 28 | (uint64_t)tokens;
}

static struct view view_at(const struct standard *s, uint64_t word, int64_t t_ns) {
    struct view v = {
        .rpm = atomic_load_explicit(&s->rpm, memory_order_relaxed),
        .tpm = atomic_load_explicit(&s->tpm, memory_order_relaxed),
    };
    v.width_s = s->window_s ? s->window_s : v.rpm >= 600 ? 1 : 10;
    v.n_windows = 60 / v.width_s;

    i128 t = (i128)t_ns + s->phase_ns;
    v.minute = i128_to_i64(i128_div_floor(t, NS_PER_MIN));
    v.in_minute_ns = i128_to_i64(t - (i128)v.minute * NS_PER_MIN);
    v.window = v.in_minute_ns / (v.width_s * NS_PER_S);

    if (word >> 48 == ((uint64_t)v.minute & 0xffff)) {
        v.tokens = (int64_t)(word & STANDARD_TOKENS_MAX);
        if ((word >> 42 & 63) == (uint64_t)v.window)
            v.requests = (int64_t)(word >> 28 & STANDARD_REQUESTS_MAX);
    }
    return v;
}

/* To the next window that allows a request: with few requests a minute, some allow none. */
static int64_t wait_for_requests(const struct view *v) {
    int64_t k = v->window + 1;
    while (k < v->n_windows && allowance(v, k) == 0)
        k++;
    return k * v->width_s * NS_PER_S - v->in_minute_ns;
}

static struct standard_verdict verdict_of(const struct view *v, enum standard_why why) {
    int64_t to_minute = NS_PER_MIN - v->in_minute_ns;
    int64_t to_window = (v->window + 1) * v->width_s * NS_PER_S - v->in_minute_ns;
    int64_t wait = 0;
    if (why == STANDARD_NO_TOKENS)
        wait = to_minute;
    else if (why == STANDARD_NO_REQUESTS)
        wait = wait_for_requests(v);
    int64_t later = allowed_before(v, v->n_windows) - allowed_before(v, v->window + 1);
    return (struct standard_verdict){
        .admitted = why == STANDARD_ADMITTED,
        .why = why,
        .limit_requests = v->rpm,
        .limit_tokens = v->tpm,
        .remaining_requests = i64_max(0, allowance(v, v->window) - v->requests) + later,
        .remaining_tokens = i64_max(0, v->tpm - v->tokens),
        .reset_requests_s = div_ceil(to_window, NS_PER_S),
        .reset_tokens_s = div_ceil(to_minute, NS_PER_S),
        .retry_after_ms = div_ceil(wait, NS_PER_MS),
    };
}

static enum standard_why judge(const struct standard *s, const struct view *v, int64_t est_tokens) {
    if (v->tokens >= v->tpm)
        return STANDARD_NO_TOKENS;
    /* The first of a minute passes even when it is larger than the limit: else it never would. */
    if (s->is_strict && v->tokens > 0 && est_tokens > v->tpm - v->tokens)
        return STANDARD_NO_TOKENS;
    if (v->requests >= allowance(v, v->window))
        return STANDARD_NO_REQUESTS;
    return STANDARD_ADMITTED;
}

void standard_init(struct standard *s, int64_t rpm, int64_t tpm, int64_t window_s, bool is_strict,
                   int64_t phase_ns) {
    atomic_init(&s->word, 0);
    s->phase_ns = i64_max(0, phase_ns);
    s->window_s = i64_min(i64_max(0, window_s), 3600);
    s->is_strict = is_strict;
    standard_resize(s, rpm, tpm);
}

void standard_resize(struct standard *s, int64_t rpm, int64_t tpm) {
    atomic_store_explicit(&s->rpm, i64_max(0, rpm), memory_order_relaxed);
    atomic_store_explicit(&s->tpm, i64_max(0, tpm), memory_order_relaxed);
}

struct standard_verdict standard_admit(struct standard *s, int64_t est_tokens,
                                       const struct clock *clock) {
    est_tokens = i64_max(0, est_tokens);
    for (;;) {
        /* The word before the clock: the other way round, a thread that was held up between the
         * two would take a word of the next minute for one of another and clear its counts. */
        uint64_t word = atomic_load_explicit(&s->word, memory_order_acquire);
        struct view v = view_at(s, word, clock_now_ns(clock));
        enum standard_why why = judge(s, &v, est_tokens);
        if (why != STANDARD_ADMITTED)
            return verdict_of(&v, why);
        v.requests = i64_min(STANDARD_REQUESTS_MAX, v.requests + 1);
        v.tokens =
            i64_min(STANDARD_TOKENS_MAX, v.tokens + i64_min(est_tokens, STANDARD_TOKENS_MAX));
        uint64_t next = word_of(v.minute, v.window, v.requests, v.tokens);
        if (atomic_compare_exchange_weak_explicit(&s->word, &word, next, memory_order_acq_rel,
                                                  memory_order_relaxed))
            return verdict_of(&v, STANDARD_ADMITTED);
    }
}

struct standard_verdict standard_peek(const struct standard *s, int64_t t_ns) {
    uint64_t word = atomic_load_explicit(&s->word, memory_order_relaxed);
    struct view v = view_at(s, word, t_ns);
    return verdict_of(&v, STANDARD_ADMITTED);
}

void standard_touch(struct standard *s, const struct clock *clock) {
    uint64_t word = atomic_load_explicit(&s->word, memory_order_acquire);
    struct view v = view_at(s, word, clock_now_ns(clock));
    /* When this fails somebody just used the word, which is all that is wanted. */
    atomic_compare_exchange_strong_explicit(&s->word, &word,
                                            word_of(v.minute, v.window, v.requests, v.tokens),
                                            memory_order_acq_rel, memory_order_relaxed);
}

int64_t standard_estimate_tokens(int64_t chars, int64_t max_tokens, int64_t best_of, int64_t n,
                                 int64_t prompts) {
    int64_t choices = i64_max(1, i64_max(best_of, n));
    int64_t output, total;
    if (__builtin_mul_overflow(i64_max(0, max_tokens), choices, &output) ||
        __builtin_mul_overflow(output, i64_max(0, prompts), &output) ||
        __builtin_add_overflow(div_ceil(i64_max(0, chars), 4), output, &total))
        return INT64_MAX;
    return total;
}
