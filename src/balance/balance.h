/*
 * balance.h - which backend takes a call, and what its answer teaches us about it.
 *
 * A backend is data here: weights, what is in flight, and until when it wants no more. Nothing in
 * this room connects, waits or reads a clock. One attempt is
 *
 *     pick -> send -> done          on a failure before the first byte: add to `tried`, pick again
 *
 * (admission spec 6.4). Always: a backend that may not take the call is never picked, none is
 * picked twice for one call, a backend whose breaker is half open has one probe at a time, and
 * `inflight` is never below zero.
 *
 * Threads: several loops may share a backend. Every field is atomic and read relaxed: a choice made
 * on numbers that are a moment old is as good a choice; only the probe is taken by compare-and-swap.
 */
#ifndef BALANCE_BALANCE_H
#define BALANCE_BALANCE_H

#include "base/base.h"

#include <stdatomic.h>

#define BALANCE_BACKENDS_MAX 64 /* of one pick: the bits of `tried` */

/*
 * Spec 6.4. A breaker opens after three failures in a row (or a failed probe) for 1 s, and twice as long
 * with each further failure up to 30 s. Calls that were in flight when it opened count too, as in the
 * model that the golden traces come from: a backend that takes eight calls or more down with it is left
 * alone for 30 s at once, and whoever has one call in flight at a time sees the doubling alone.
 */
#define BALANCE_FAILS_TO_OPEN 3
#define BALANCE_OPEN_MS_MIN 1000
#define BALANCE_OPEN_MS_MAX 30000
/* Affinity holds while the backend's load is at most this much above the least, in thousandths. */
#define BALANCE_AFFINITY_SLACK 250
/* A refusal blocks no longer than this, whatever the backend says; the reader of its headers clips,
 * since balance_done takes what it is given. */
#define BALANCE_RETRY_AFTER_MS_MAX 60000

/* Draws: SplitMix64, one for each thread. Any seed will do. */
struct balance_rng {
    uint64_t state;
};
uint64_t balance_rng_next(struct balance_rng *rng);

/* Lives in the caller's memory; owns nothing. Open for reading by tests and debug listings. */
struct balance_backend {
    _Atomic(int64_t) priority; /* the lowest number among the eligible is served first */
    _Atomic(int64_t) weight;   /* share of calls within a priority; at least 1 */
    _Atomic(int64_t) limit;    /* its tokens a minute, 0 when unknown */
    _Atomic(int64_t) inflight; /* estimated work that it has now: mt, or tokens of a quota */
    _Atomic(int64_t) blocked_until_ns;   /* it answered 429 */
    _Atomic(int64_t) fails;              /* in a row */
    _Atomic(int64_t) open_until_ns;      /* breaker: no calls before; from then on half open */
    _Atomic(int64_t) open_ms;            /* how long it opened last; 0 when closed */
    _Atomic(bool) is_probing;            /* half open, and one call is out to see */
    _Atomic(int64_t) remaining;          /* quota that its last answer left, -1 when unknown */
    _Atomic(int64_t) remaining_until_ns; /* when that quota is full again */
};

/* A closed, unknown backend. */
void balance_backend_init(struct balance_backend *b, int64_t priority, int64_t weight,
                          int64_t limit);

/* New settings for a backend in use; what was learned about it stays. */
void balance_backend_configure(struct balance_backend *b, int64_t priority, int64_t weight,
                               int64_t limit);

/* One call that looks for a backend. */
struct balance_ask {
    int64_t now_ns;
    int64_t estimate;        /* in the unit of inflight and remaining */
    uint64_t tried;          /* bit i: candidate i had its attempt */
    const int64_t *affinity; /* borrowed: cached tokens on each candidate; NULL for none */
};

/*
 * The index of the chosen candidate, or -1 when none is eligible. The estimate is then in flight
 * there until balance_done. n is at most BALANCE_BACKENDS_MAX.
 */
int balance_pick(struct balance_backend *const *candidates, size_t n, const struct balance_ask *ask,
                 struct balance_rng *rng);

/* How an attempt ended, as far as the backend's health goes. */
enum balance_outcome {
    BALANCE_SERVED, /* any answer that is neither of the next two: it works */
    BALANCE_BUSY,   /* 429 */
    BALANCE_FAILED, /* 5xx, connect error, time-out */
    BALANCE_SILENT, /* the call was given up before the backend answered: teaches nothing */
};

/* The outcome of an HTTP status. */
enum balance_outcome balance_outcome_of(int http_status);

/* What the answer said; absent is 0 for retry_after_ms, and -1 for remaining. */
struct balance_answer {
    enum balance_outcome outcome;
    int64_t retry_after_ms; /* of BALANCE_BUSY; at least 1 is taken */
    int64_t remaining;      /* x-ratelimit-remaining-tokens */
    int64_t reset_ms;       /* from now until it is void; goes with remaining */
};

/* Ends the attempt that balance_pick began with this estimate; exactly once for each pick. */
void balance_done(struct balance_backend *b, int64_t now_ns, int64_t estimate,
                  const struct balance_answer *answer);

/* Whether it asked to be left alone for a while that is not over, by a 429 or for want of quota for this
 * estimate. An open breaker is no such wish. */
bool balance_is_waiting(const struct balance_backend *b, int64_t now_ns, int64_t estimate);

/* When none is eligible: ms until the first of all candidates may be, tried or not; at least 1. */
int64_t balance_retry_after_ms(struct balance_backend *const *candidates, size_t n, int64_t now_ns);

#endif
