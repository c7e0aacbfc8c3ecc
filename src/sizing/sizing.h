/* sizing.h - the calculator: how many PTUs a workload needs. */
#ifndef SIZING_SIZING_H
#define SIZING_SIZING_H

#include "base/base.h"

/*
 * Whole numbers only (admission spec 7.1): calls a minute in thousandths, shares in parts per million,
 * tokens whole. Each field is at least 0; those marked positive must be. Ceilings, which the caller
 * checks: SIZING_TOKENS_MAX tokens, SIZING_RPM_MAX calls a minute. Within them nothing overflows.
 */
#define SIZING_TOKENS_MAX INT64_C(100000000)
#define SIZING_RPM_MAX INT64_C(100000000)
#define SIZING_PPM INT64_C(1000000)

/* One kind of call at its peak. */
struct sizing_load {
    int64_t rpm_milli;     /* calls a minute, in thousandths */
    int64_t prompt_tokens; /* of one call, cached ones included */
    int64_t output_tokens; /* of one call */
    int64_t cached_ppm;    /* share of the prompt that comes from the cache, up to SIZING_PPM */
};

/* What a model costs. */
struct sizing_model {
    int64_t input_tpm_per_ptu;   /* positive */
    int64_t output_weight_milli; /* input tokens that one output token counts as, in thousandths */
    int64_t discount_ppm;        /* what a cached token is let off: SIZING_PPM when it is free */
};

/* Input-equivalent tokens a minute of one load, in thousandths, rounded up. */
int64_t sizing_tpm_milli(const struct sizing_load *load, const struct sizing_model *m);

/* PTUs that carry so much at a utilization of `target_ppm` (positive; SIZING_PPM is 100 %), rounded up to a whole one. */
int64_t sizing_ptus(int64_t tpm_milli, const struct sizing_model *m, int64_t target_ppm);

/* The smallest size, minimum + k * step, that is at least `ptus`. Both positive. */
int64_t sizing_deployable(int64_t ptus, int64_t minimum, int64_t step);

#endif
