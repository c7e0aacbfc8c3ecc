/*
 * bucket.h - the provisioned word: decides whether a deployment has room for one more call.
 *
 * The unit of work is the mt, one thousandth of an input-equivalent token. A deployment of R mt a
 * minute serves work at exactly that pace; the service clock S(t) is the work that it could have
 * served since the bucket was made. The state is one number, the finish mark V: the value of S at
 * which everything admitted so far will be done. So the outstanding work is
 *
 *     W(t) = max(0, V - S(t))
 *
 * and a call is admitted when W < depth. This is the virtual scheduling form of a leaky bucket,
 * measured in work instead of seconds, for three reasons: a refund is exact (no cost is ever turned
 * into time, so nothing is rounded), a change of rate keeps W, and the state is one word
 * (admission spec 1.1 to 1.4).
 *
 *           V ---------------------------- finish mark
 *           |  W: the owed work
 *     S(t)  |
 *      ^    v
 *      /------------------------- at S = V the bucket is empty; S walks on, V stays
 *
 * Always:
 * - The size of the call does not enter the test: the call that crosses the line is admitted. So W
 *   stays below depth + one cost, for any number of threads, and as much again as positive
 *   corrections add (spec 1.5).
 * - A refund may take V below S. That reads as empty and banks no credit: the next charge starts
 *   at S.
 * - A refused call changes nothing.
 * - A clock that steps back stands still.
 *
 * Threads: admit, adjust and all readers from any thread at any time. resize, rebase and restore
 * from one thread at a time: the owner of the deployment's capacity serializes them.
 */
#ifndef ADMIT_BUCKET_H
#define ADMIT_BUCKET_H

#include "base/base.h"
#include "base/clock.h"

#include <stdatomic.h>

/* 100 % stands for the work of one minute (spec 1.7: then as many calls fit below 100 % as the
 * calculator gives calls a minute). */
#define BUCKET_WINDOW_MS_DEFAULT INT64_C(60000)

/*
 * Ceilings; larger arguments are taken as these. They keep every sum in 63 bits. The largest
 * deployment that the spec considers, 100 000 units of 59 400 tokens, has a rate below 2^43.
 */
#define BUCKET_RATE_MAX (INT64_C(1) << 50)   /* mt a minute */
#define BUCKET_DEPTH_MAX (INT64_C(1) << 60)  /* mt */
#define BUCKET_COST_MAX (INT64_C(1) << 61)   /* mt, of one charge or correction */
#define BUCKET_SERVED_MAX (INT64_C(1) << 62) /* mt; S stops here, after years (spec 1.4) */

/* How many epochs are kept, so that a reader need not hold one: see `epoch` below. */
#define BUCKET_EPOCHS 16

/*
 * A stretch of constant rate: S(t) = s0 + floor((rate * (t - t0) + rem) / 60e9). `rem` carries the
 * fraction of one mt from epoch to epoch, so that a new epoch at the same rate cannot be observed
 * (spec 1.3). Every field is atomic since a writer may reuse the slot under a slow reader.
 */
struct bucket_epoch {
    _Atomic(int64_t) t0_ns;
    _Atomic(int64_t) s0_mt;
    _Atomic(int64_t) rem;      /* in mt * ns / minute, below 60e9 */
    _Atomic(int64_t) rate;     /* mt a minute */
    _Atomic(int64_t) depth_mt; /* what 100 % stands for, at least 1 */
};

/*
 * Lives in the caller's memory, owns nothing and needs no destroy. The pads keep V alone on its
 * cache line, wherever the struct lies; an _Alignas would do the same but only in memory that the
 * plain allocator does not give.
 */
struct bucket {
    char pad_before[64];
    _Atomic(int64_t) finish_mt; /* V */
    char pad_after[64];
    int64_t window_ms; /* constant */
    /*
     * The number of epochs published so far, minus one. Epoch i lies in slot i % 16. A reader
     * copies the slot and looks at the number again: while it moved by less than 15, nobody has
     * begun to overwrite what was copied. No reader ever waits, and nothing is allocated or freed.
     */
    _Atomic(uint64_t) epoch;
    struct bucket_epoch epochs[BUCKET_EPOCHS];
};

/* What became of one call. level and util are those after the decision, at its own time. */
struct bucket_verdict {
    bool admitted;
    int64_t level_mt;        /* W */
    int64_t util_ppm;        /* floor(W * 1e6 / depth): 1 000 000 is 100 % */
    int64_t retry_after_ms;  /* 0 when admitted, else at least 1 */
    int64_t level_before_mt; /* W that the decision saw */
};

/*
 * An empty bucket at time t0_ns: `rate` mt a minute (units * tokens a minute and unit * 1000),
 * depth = max(1, floor(rate * window_ms / 60000)). A rate of 0 is legal and never drains; a
 * deployment without units is answered before it comes here (spec 1.8).
 */
void bucket_init(struct bucket *b, int64_t rate_mt_min, int64_t window_ms, int64_t t0_ns);

/* Charges cost_mt if W < depth. Lock-free; reads the clock anew in every pass. */
struct bucket_verdict bucket_admit(struct bucket *b, int64_t cost_mt,
                                   const struct clock *clock) MUST_USE;

/* Posts a correction of either sign to a charge and returns the level after it. A refund is
 * wait-free. */
int64_t bucket_adjust(struct bucket *b, int64_t delta_mt, const struct clock *clock);

/* Observations at time t. retry_after_ms: the smallest whole number of ms after which a call is
 * admitted if nothing else happens; 0 when it would be now, some 146 years at rate 0. */
int64_t bucket_level_mt(const struct bucket *b, int64_t t_ns);
int64_t bucket_util_ppm(const struct bucket *b, int64_t t_ns);
int64_t bucket_retry_after_ms(const struct bucket *b, int64_t t_ns);
int64_t bucket_depth_mt(const struct bucket *b);
int64_t bucket_rate(const struct bucket *b);

/* S(t): work that could have been served since bucket_init; for tests of the law. */
int64_t bucket_served_mt(const struct bucket *b, int64_t t_ns);

/* A new rate from t on. The owed work stays, since the backend really owes it; so utilization
 * changes by old rate / new rate at once. There and back in one instant is the identity. */
void bucket_resize(struct bucket *b, int64_t t_ns, int64_t rate_mt_min);

/* A new epoch at the same rate, which nobody can observe. Once an hour keeps the products small;
 * they would hold for years without. */
void bucket_rebase(struct bucket *b, int64_t t_ns);

/* Sets the owed work, after a restart and before the first call: what was saved minus what was
 * served meanwhile, or half the depth when the record is lost (spec 1.8). */
void bucket_restore(struct bucket *b, int64_t t_ns, int64_t level_mt);

#endif
