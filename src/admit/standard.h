/*
 * standard.h - the standard word: tokens a minute and requests a window, counted.
 *
 * The state is one word, changed by compare-and-swap:
 *
 *     minute:16 | window:6 | requests:14 | tokens:28
 *
 * `minute` counts whole minutes of (clock + phase), so that deployments do not all reset together;
 * `window` is the part of the minute, 1 s or 10 s long, in which requests are counted. A word of an
 * earlier minute stands for zero, a word of an earlier window for zero requests; so nothing needs a
 * timer (admission spec 3).
 *
 * Always: the allowances of the windows of a minute sum to the requests a minute exactly; a refused
 * request is not counted, since else a client that retries would starve itself; tokens are an
 * estimate made on arrival and are never corrected, since the count of a rate limit is not the
 * count of a bill.
 *
 * Threads: everything from any thread.
 */
#ifndef ADMIT_STANDARD_H
#define ADMIT_STANDARD_H

#include "base/base.h"
#include "base/clock.h"

#include <stdatomic.h>

/* The fields of the word saturate here; a limit above never refuses. */
#define STANDARD_REQUESTS_MAX 16383   /* in one window */
#define STANDARD_TOKENS_MAX 268435455 /* in one minute */

struct standard {
    _Atomic(uint64_t) word;
    _Atomic(int64_t) rpm, tpm; /* requests and tokens a minute; not negative */
    int64_t phase_ns;          /* constant, at least 0: a hash of the deployment's id */
    int64_t window_s;          /* constant; 0: 1 s when that means 10 requests or more, else 10 s */
    /* Constant. False: refused when the count has been reached, so that one estimate may overshoot.
     * True: refused when the estimate would pass the limit, except for the minute's first. */
    bool is_strict;
};

enum standard_why {
    STANDARD_ADMITTED,
    STANDARD_NO_TOKENS, /* tested first */
    STANDARD_NO_REQUESTS,
};

/* What became of one request, and the numbers of the x-ratelimit headers after it. */
struct standard_verdict {
    bool admitted;
    enum standard_why why;
    int64_t limit_requests, limit_tokens; /* a minute */
    int64_t remaining_requests;           /* in this window and in the later ones of the minute */
    int64_t remaining_tokens;
    int64_t reset_requests_s; /* to the next window, rounded up */
    int64_t reset_tokens_s;   /* to the next minute, rounded up */
    int64_t retry_after_ms;   /* 0 when admitted, else at least 1 */
};

void standard_init(struct standard *s, int64_t rpm, int64_t tpm, int64_t window_s, bool is_strict,
                   int64_t phase_ns);

/* Counts of this minute stay: a larger limit opens at once, a smaller one may already be reached. */
void standard_resize(struct standard *s, int64_t rpm, int64_t tpm);

/* Counts one request of est_tokens if both limits have room. Lock-free. */
struct standard_verdict standard_admit(struct standard *s, int64_t est_tokens,
                                       const struct clock *clock) MUST_USE;

/* The headers at time t without a request; `admitted` is true and retry_after_ms 0. */
struct standard_verdict standard_peek(const struct standard *s, int64_t t_ns);

/* Once a day for each deployment: a word that nobody used for 45 days would else look current
 * again, since its minute has 16 bits. */
void standard_touch(struct standard *s, const struct clock *clock);

/*
 * The rate-limit count of a request: ceil(chars / 4) + max_tokens * max(best_of, n) * prompts.
 * Without max_tokens the caller passes the learned value. Saturates; absent is 0 for best_of and n.
 */
int64_t standard_estimate_tokens(int64_t chars, int64_t max_tokens, int64_t best_of, int64_t n,
                                 int64_t prompts);

#endif
