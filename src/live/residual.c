#include "live/residual.h"

static size_t size_of(int64_t error) {
    size_t size = 0;
    for (; error > 0 && size < RESIDUAL_SIZES - 1; error >>= 1)
        size++;
    return size;
}

/* Others may add meanwhile: what they add is not lost, and weighs a little more or less. */
static void halve(metric_cell *cell) {
    metric_add(cell, -(metric_read(cell) / 2));
}

void residual_observe(struct residual *r, int64_t counted, int64_t reported) {
    int64_t error = counted - reported;
    metric_add(&r->sum, error);
    metric_add(&r->sizes[size_of(error < 0 ? -error : error)], 1);
    if (atomic_fetch_add_explicit(&r->calls, 1, memory_order_relaxed) + 1 != RESIDUAL_CALLS)
        return;
    halve(&r->sum);
    halve(&r->calls);
    for (size_t i = 0; i < RESIDUAL_SIZES; i++)
        halve(&r->sizes[i]);
}

int64_t residual_mean_milli(const struct residual *r) {
    int64_t calls = metric_read(&r->calls);
    return calls ? metric_read(&r->sum) * 1000 / calls : 0;
}

int64_t residual_p99(const struct residual *r) {
    int64_t all = 0, seen = 0;
    for (size_t i = 0; i < RESIDUAL_SIZES; i++)
        all += metric_read(&r->sizes[i]);
    for (size_t i = 0; i < RESIDUAL_SIZES; i++) {
        seen += metric_read(&r->sizes[i]);
        if (seen * 100 >= all * 99)
            return i ? (INT64_C(1) << i) - 1 : 0;
    }
    return 0;
}
