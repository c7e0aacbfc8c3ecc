/* clock.h - a clock as a value, so that pure code can read time anew without owning one. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

#define NS_PER_US INT64_C(1000)
#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S INT64_C(1000000000)
#define NS_PER_MIN INT64_C(60000000000)

/* now_ns is monotonic and may be called from any thread that holds the clock. */
struct clock {
    int64_t (*now_ns)(void *arg);
    void *arg;
};

static inline int64_t clock_now_ns(const struct clock *c) {
    return c->now_ns(c->arg);
}

#endif
