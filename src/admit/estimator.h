/*
 * estimator.h - learns how long answers are, to charge calls that name no limit.
 *
 * The learned value is the 90th percentile of the observed lengths, found online: q rises by
 * gain * tau when an observation lies above it and falls by gain * (1 - tau) otherwise, so that it
 * rests where one in ten lies above. The gain starts at 1 and settles at 0.05. Why the 90th: with
 * corrections every estimate serves the full rate, so it only decides how far running calls are
 * over-committed, and there the mean and the median do worse (admission spec 2).
 */
#ifndef ADMIT_ESTIMATOR_H
#define ADMIT_ESTIMATOR_H

#include "base/base.h"

#include <stdatomic.h>

#define ESTIMATOR_DEFAULT 512 /* tokens, before anything was observed */
#define ESTIMATOR_LO 16
#define ESTIMATOR_HI 4096
#define ESTIMATOR_TAU_MILLI 900
#define ESTIMATOR_TOKENS_MAX (INT64_C(1) << 40) /* larger arguments are taken as this */

/* One percentile. Readers load q from any thread; one writer at a time. */
struct estimator {
    _Atomic(int64_t) q16; /* tokens in Q16 */
    _Atomic(int64_t) n;   /* observations that counted */
    int64_t lo, hi;       /* tokens; lo <= hi */
    int64_t tau_milli;
};

void estimator_init(struct estimator *e, int64_t start, int64_t lo, int64_t hi, int64_t tau_milli);

/* `tokens` were generated. is_lower_bound: the call was cut by a limit or by its client, so it
 * counts only when it already lies above q. */
void estimator_observe(struct estimator *e, int64_t tokens, bool is_lower_bound);

/* Tokens, from lo to hi. */
int64_t estimator_value(const struct estimator *e);

/* Lengths follow the prompt, so each deployment learns four classes: prompts below 256, 2048, 16384
 * tokens, and longer ones. A class speaks for itself after 32 observations. */
#define OUTPUT_MODEL_CLASSES 4
#define OUTPUT_MODEL_TRUSTED 32

/*
 * What one deployment has learned.
 *
 * observe may be called from any thread: `is_busy` lets one in at a time, and whoever finds it taken
 * drops its observation. A sample that is lost costs nothing, while a spin would make a call wait
 * for a thread that may have been preempted; it guards the read-change-write of q and n, which is
 * off the path of admission.
 */
struct output_model {
    struct estimator of_class[OUTPUT_MODEL_CLASSES];
    struct estimator of_all;
    atomic_flag is_busy;
};

/* `hi` is the model's own limit of output tokens, or ESTIMATOR_HI. */
void output_model_init(struct output_model *m, int64_t hi);
void output_model_observe(struct output_model *m, int64_t prompt, int64_t generated,
                          bool is_lower_bound);

/* Expected output tokens of one choice, for a prompt of this length. */
int64_t output_model_estimate(const struct output_model *m, int64_t prompt);

#endif
