/* spread.h - durations counted so that any percentile can be told to within one percent. */
#ifndef BENCH_SPREAD_H
#define BENCH_SPREAD_H

#include "base/base.h"
#include "json/json.h"

/*
 * Each doubling is cut into SPREAD_STEPS equal steps, so a value is off by less than half a step,
 * 0.8 %; values below SPREAD_STEPS are exact. Durations above SPREAD_MAX_NS count as that long.
 */
enum { SPREAD_STEPS = 64, SPREAD_DOUBLINGS = 36 };
#define SPREAD_MAX_NS ((INT64_C(1) << 42) - 1)

/* A zeroed one is empty. 19 KB. */
struct spread {
    int64_t n, sum_ns, max_ns;
    uint64_t count[(SPREAD_DOUBLINGS + 1) * SPREAD_STEPS];
};

/* Negative durations count as 0. */
void spread_add(struct spread *s, int64_t ns);

/* The duration that this share of the values does not pass, 0 <= share <= 1; 0 when there are none. */
int64_t spread_at(const struct spread *s, double share);

/* {"n","mean_us","p50_us","p90_us","p99_us","p999_us","max_us"}, whole numbers of nanoseconds as
 * decimals. */
void spread_put_json(const struct spread *s, struct json_writer *w);

/* "p50 1.234 ms, p99 2.345 ms, max 3.456 ms" */
void spread_put_text(const struct spread *s, struct buf *out);

#endif
