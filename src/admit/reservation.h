/*
 * reservation.h - what one admitted call owes: charged by estimate, corrected to the actual.
 *
 *     init        charged = estimate                     the cost that bucket_admit is asked for
 *     prefill     the backend knows the cached tokens:   delta of either sign
 *     progress    the generation outruns its charge:     delta >= 0, in blocks
 *     finish      once: charged becomes the actual cost, or 0 when the backend never executed it
 *
 * Every function returns the delta that the caller posts with bucket_adjust and to the minute
 * metric. Always: the sum of all posts of a reservation is the actual cost; an over-estimate is
 * released only at the end, an under-estimate is charged while it happens; after finish every
 * further call returns 0 (admission spec 1.2, 1.6).
 *
 * No arithmetic here can overflow: counts of tokens are taken as at most RESERVATION_TOKENS_MAX and
 * weights as at most RESERVATION_WEIGHT_MAX, whatever a caller or a backend claims.
 *
 * Threads: a reservation belongs to its call, which lives on one thread.
 */
#ifndef ADMIT_RESERVATION_H
#define ADMIT_RESERVATION_H

#include "base/base.h"

#define RESERVATION_TOKENS_MAX (INT64_C(1) << 40)
#define RESERVATION_WEIGHT_MAX (INT64_C(1) << 20) /* mt a token: 1048 input tokens */
#define WEIGHTS_TIERS_MAX 4

/* The price of the uncached tokens from the `from_tokens`th on (counted from 0), up to the next
 * tier. */
struct weights_tier {
    int64_t from_tokens;
    int64_t w_in;
};

/* What tokens of one model cost, in mt a token. A value; copied into each reservation, so that a
 * change of price never changes what a running call was charged. */
struct weights {
    int64_t w_in;     /* uncached prompt token: 1000 by definition of the mt */
    int64_t w_cached; /* cached prompt token: 0, since cached tokens are deducted in full */
    int64_t w_out;    /* output token: 1000 * ratio; 3000 for gpt-4o */
    int64_t min_cost; /* mt, the least that an executed call costs: 1000, so that none is free */
    int64_t block;    /* output tokens of one progressive charge: 128 */
    /* Older models whose long calls cost progressively more: w_in holds up to the first tier.
     * Ascending by from_tokens; none is the rule. */
    int n_tiers;
    struct weights_tier tiers[WEIGHTS_TIERS_MAX];
};

/* The weights of the spec for gpt-4o, and the starting point for a model of our own. */
#define WEIGHTS_DEFAULT                                                                            \
    ((struct weights){.w_in = 1000, .w_cached = 0, .w_out = 3000, .min_cost = 1000, .block = 128})

/* The cost of a prompt in mt; `cached` of its tokens are taken from a cache, and at most all. */
int64_t weights_input_mt(const struct weights *w, int64_t prompt, int64_t cached);

/* max(min_cost, cost of the prompt + output * w_out). */
int64_t weights_estimate_mt(const struct weights *w, int64_t prompt, int64_t cached,
                            int64_t output);

struct reservation {
    struct weights weights;
    int64_t prompt;     /* tokens */
    int64_t in_mt;      /* the input's share of what was posted */
    int64_t out_tokens; /* output tokens charged so far */
    int64_t out_cap;    /* the most that this call can generate, or -1 */
    int64_t charged_mt; /* sum of all posts */
    bool is_final;
};

/*
 * Sets charged_mt, the cost to ask the bucket for; if it refuses, the reservation is dropped.
 * cached_pred: predicted cached tokens. out_est: see output.h. out_cap: the call's own limit on
 * output tokens over all choices, or -1.
 */
void reservation_init(struct reservation *r, const struct weights *w, int64_t prompt,
                      int64_t cached_pred, int64_t out_est, int64_t out_cap);

/* The backend's own count of prompt tokens and how many of them were cached. A negative count of
 * prompt tokens keeps ours. May come more than once; the last holds. */
int64_t reservation_prefill(struct reservation *r, int64_t prompt_tokens, int64_t cached);

/* `generated` output tokens so far, over all choices. Past the charge, another block is charged
 * ahead: at most the cap, at least what was generated. */
int64_t reservation_progress(struct reservation *r, int64_t generated);

/*
 * The end, however it came: completed, or aborted with `generated` tokens done so far. is_executed
 * false is for a call that no backend executed (connect error, or a refusal before any token):
 * everything is given back. Returns 0 after the first time.
 */
int64_t reservation_finish(struct reservation *r, int64_t generated, bool is_executed);

#endif
