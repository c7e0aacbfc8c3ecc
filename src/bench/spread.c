#include "bench/spread.h"

#include "base/clock.h"

#include <stdio.h>

/* Values below SPREAD_STEPS have a place each; above, the highest bits name the doubling and the next
 * six the step. */
static size_t place_of(int64_t ns) {
    if (ns < SPREAD_STEPS)
        return (size_t)ns;
    int doubling = 63 - __builtin_clzll((unsigned long long)ns) - 5;
    return (size_t)doubling * SPREAD_STEPS + (size_t)((ns >> (doubling - 1)) - SPREAD_STEPS);
}

/* The middle of a place. */
static int64_t value_of(size_t place) {
    if (place < SPREAD_STEPS)
        return (int64_t)place;
    size_t doubling = place / SPREAD_STEPS;
    int64_t low = (int64_t)(place % SPREAD_STEPS + SPREAD_STEPS) << (doubling - 1);
    return low + ((INT64_C(1) << (doubling - 1)) >> 1);
}

void spread_add(struct spread *s, int64_t ns) {
    ns = i64_min(i64_max(ns, 0), SPREAD_MAX_NS);
    s->n++;
    s->sum_ns += ns;
    s->max_ns = i64_max(s->max_ns, ns);
    s->count[place_of(ns)]++;
}

int64_t spread_at(const struct spread *s, double share) {
    if (s->n == 0)
        return 0;
    /* 0.007 of 1,000 are 7, and not the eighth because of 7.000000000000001. */
    double wanted = share * (double)s->n - 1e-6;
    uint64_t seen = 0;
    for (size_t i = 0; i < ARRAY_LEN(s->count); i++) {
        seen += s->count[i];
        if (seen && (double)seen >= wanted)
            return i64_min(value_of(i), s->max_ns);
    }
    return s->max_ns;
}

static const struct {
    struct str name;
    double share;
} shares[] = {
    {STR_INIT("p50_us"), 0.5},
    {STR_INIT("p90_us"), 0.9},
    {STR_INIT("p99_us"), 0.99},
    {STR_INIT("p999_us"), 0.999},
};

static void put_us(struct json_writer *w, struct str key, int64_t ns) {
    char text[48];
    snprintf(text, sizeof text, "%lld.%03lld", (long long)(ns / NS_PER_US),
             (long long)(ns % NS_PER_US));
    json_key(w, key);
    json_raw(w, str_of(text));
}

void spread_put_json(const struct spread *s, struct json_writer *w) {
    json_begin_object(w);
    json_key(w, STR("n"));
    json_i64_value(w, s->n);
    put_us(w, STR("mean_us"), s->n ? s->sum_ns / s->n : 0);
    for (size_t i = 0; i < ARRAY_LEN(shares); i++)
        put_us(w, shares[i].name, spread_at(s, shares[i].share));
    put_us(w, STR("max_us"), s->max_ns);
    json_end_object(w);
}

void spread_put_text(const struct spread *s, struct buf *out) {
    buf_printf(out, "p50 %.3f ms, p99 %.3f ms, max %.3f ms", (double)spread_at(s, 0.5) / 1e6,
               (double)spread_at(s, 0.99) / 1e6, (double)s->max_ns / 1e6);
}
