#include "admit/estimator.h"

#include "base/wide.h"

/* Q16 numbers: 1 is 65536. */
#define ONE INT64_C(65536)
#define GAIN_MIN INT64_C(3277) /* 0.05: about the last sixty observations count */
#define GAIN_HALF INT64_C(8)   /* the gain is 1/2 after eight */
#define N_MAX (INT64_C(1) << 30)

static int64_t clamp(int64_t x, int64_t lo, int64_t hi) {
    return i64_min(i64_max(x, lo), hi);
}

void estimator_init(struct estimator *e, int64_t start, int64_t lo, int64_t hi, int64_t tau_milli) {
    atomic_init(&e->q16, clamp(start, 0, ESTIMATOR_TOKENS_MAX) * ONE);
    atomic_init(&e->n, 0);
    e->lo = clamp(lo, 0, ESTIMATOR_TOKENS_MAX);
    e->hi = clamp(hi, e->lo, ESTIMATOR_TOKENS_MAX);
    e->tau_milli = clamp(tau_milli, 0, 1000);
}

void estimator_observe(struct estimator *e, int64_t tokens, bool is_lower_bound) {
    int64_t q = atomic_load_explicit(&e->q16, memory_order_relaxed);
    int64_t n = atomic_load_explicit(&e->n, memory_order_relaxed);
    bool is_above = clamp(tokens, 0, ESTIMATOR_TOKENS_MAX) * ONE > q;
    if (is_lower_bound && !is_above)
        return;
    int64_t gain = i64_max(GAIN_MIN, ONE * GAIN_HALF / (GAIN_HALF + n));
    int64_t share = is_above ? e->tau_milli : 1000 - e->tau_milli;
    /* q below 2^56, gain at most 2^16, share below 2^10: wider than 63 bits. */
    int64_t step = (int64_t)((i128)q * gain * share / (ONE * 1000));
    q = clamp(is_above ? q + step : q - step, e->lo * ONE, e->hi * ONE);
    atomic_store_explicit(&e->q16, q, memory_order_relaxed);
    atomic_store_explicit(&e->n, i64_min(n + 1, N_MAX), memory_order_relaxed);
}

int64_t estimator_value(const struct estimator *e) {
    int64_t q = atomic_load_explicit(&e->q16, memory_order_relaxed);
    return clamp((q + ONE - 1) / ONE, e->lo, e->hi);
}

static int class_of(int64_t prompt) {
    if (prompt < 256)
        return 0;
    if (prompt < 2048)
        return 1;
    return prompt < 16384 ? 2 : 3;
}

void output_model_init(struct output_model *m, int64_t hi) {
    for (int i = 0; i < OUTPUT_MODEL_CLASSES; i++)
        estimator_init(&m->of_class[i], ESTIMATOR_DEFAULT, ESTIMATOR_LO, hi, ESTIMATOR_TAU_MILLI);
    estimator_init(&m->of_all, ESTIMATOR_DEFAULT, ESTIMATOR_LO, hi, ESTIMATOR_TAU_MILLI);
    atomic_flag_clear_explicit(&m->is_busy, memory_order_release);
}

void output_model_observe(struct output_model *m, int64_t prompt, int64_t generated,
                          bool is_lower_bound) {
    if (atomic_flag_test_and_set_explicit(&m->is_busy, memory_order_acquire))
        return;
    estimator_observe(&m->of_class[class_of(prompt)], generated, is_lower_bound);
    estimator_observe(&m->of_all, generated, is_lower_bound);
    atomic_flag_clear_explicit(&m->is_busy, memory_order_release);
}

int64_t output_model_estimate(const struct output_model *m, int64_t prompt) {
    const struct estimator *own = &m->of_class[class_of(prompt)];
    int64_t n = atomic_load_explicit(&own->n, memory_order_relaxed);
    return estimator_value(n >= OUTPUT_MODEL_TRUSTED ? own : &m->of_all);
}
