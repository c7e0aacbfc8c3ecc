/*
 * minute.h - the minute metric, "Provisioned-managed Utilization V2": net charges of each minute.
 *
 *     V2(m) = posts of minute m / rate of that minute
 *
 * Posts are estimates on arrival and all corrections at their own time, so a minute may be
 * negative: it reports 0 and carries the rest into the next. So the sum over all minutes, plus the
 * last carry, is the sum of all posts (admission spec 1.9).
 *
 * Threads: post and read from any thread, without a lock. A minute that is over keeps its value,
 * except for posts of threads that were held up across its end.
 */
#ifndef ADMIT_MINUTE_H
#define ADMIT_MINUTE_H

#include "base/base.h"
#include "base/clock.h"

#include <stdatomic.h>

/* One minute's posts; slot k % n of the ring. */
struct minute_slot {
    _Atomic(int64_t) minute;
    _Atomic(int64_t) net_mt;
};

/* The last n minutes. A zeroed ring holds nothing and takes no posts. */
struct minute_ring {
    struct minute_slot *slots; /* borrowed, n of them */
    size_t n;
};

/* `slots` are the caller's and outlive the ring; two are enough for a report at each minute's end. */
void minute_init(struct minute_ring *m, struct minute_slot *slots, size_t n);

/* The minute of a time: floor(t / 60 s). */
int64_t minute_of(int64_t t_ns);

/* Adds to the minute of t. A post that is older than the whole ring goes to the minute that took
 * its slot: late, but never lost. */
void minute_post(struct minute_ring *m, int64_t t_ns, int64_t delta_mt);

/* Net posts of one minute in mt; 0 for one that had none or is no longer kept. */
int64_t minute_net_mt(const struct minute_ring *m, int64_t minute);

/*
 * Reports the n minutes from `first` on at one rate: ppm[i] = floor(1e6 * max(0, net + carry) /
 * rate), 0 when the rate is. `carry_mt` is what the minutes before left (0 or less); returns what
 * these leave. One minute at a time serves minutes of different rates.
 */
int64_t minute_report(const struct minute_ring *m, int64_t first, size_t n, int64_t carry_mt,
                      int64_t rate_mt_min, int64_t *ppm);

#endif
