/* residual.h - how far our count of a deployment's prompts is from what its backends report. */
#ifndef LIVE_RESIDUAL_H
#define LIVE_RESIDUAL_H

#include "metrics/metrics.h"

/*
 * Of about the last RESIDUAL_CALLS calls: when that many have come, all weigh half. Errors are kept by
 * their order of magnitude, so quantiles are upper bounds that are less than twice too large.
 */
enum { RESIDUAL_CALLS = 4096, RESIDUAL_SIZES = 24 };

struct residual {
    metric_cell calls;
    metric_cell sum; /* of counted - reported, in tokens */
    metric_cell
        sizes[RESIDUAL_SIZES]; /* 0: none; i: from 2^(i-1) to 2^i - 1 tokens; the last: more */
};

/* A zeroed one is ready. Any thread. */
void residual_observe(struct residual *r, int64_t counted, int64_t reported);

/* Thousandths of a token: more than 0 when we count too much. */
int64_t residual_mean_milli(const struct residual *r);

/* Tokens that the errors of 99 in 100 calls did not exceed. */
int64_t residual_p99(const struct residual *r);

#endif
