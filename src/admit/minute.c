#include "admit/minute.h"

#include "base/wide.h"

/* Of a slot that no minute has used; no clock shows it. */
#define NO_MINUTE INT64_MIN

static struct minute_slot *slot_of(const struct minute_ring *m, int64_t minute) {
    int64_t n = (int64_t)m->n;
    int64_t i = minute % n;
    return &m->slots[i < 0 ? i + n : i];
}

void minute_init(struct minute_ring *m, struct minute_slot *slots, size_t n) {
    m->slots = slots;
    m->n = n;
    for (size_t i = 0; i < n; i++) {
        atomic_init(&slots[i].minute, NO_MINUTE);
        atomic_init(&slots[i].net_mt, 0);
    }
}

int64_t minute_of(int64_t t_ns) {
    return i128_to_i64(i128_div_floor(t_ns, NS_PER_MIN));
}

void minute_post(struct minute_ring *m, int64_t t_ns, int64_t delta_mt) {
    if (m->n == 0)
        return;
    int64_t minute = minute_of(t_ns);
    struct minute_slot *s = slot_of(m, minute);
    int64_t held = atomic_load_explicit(&s->minute, memory_order_acquire);
    if (held < minute) {
        /* The first post of a minute takes the slot and subtracts what the old minute left. It does
         * not store zero: another thread's post may already be in between and would be lost. */
        int64_t old = atomic_load_explicit(&s->net_mt, memory_order_relaxed);
        if (atomic_compare_exchange_strong_explicit(&s->minute, &held, minute, memory_order_acq_rel,
                                                    memory_order_relaxed))
            delta_mt -= old;
    }
    atomic_fetch_add_explicit(&s->net_mt, delta_mt, memory_order_release);
}

int64_t minute_net_mt(const struct minute_ring *m, int64_t minute) {
    if (m->n == 0)
        return 0;
    const struct minute_slot *s = slot_of(m, minute);
    if (atomic_load_explicit(&s->minute, memory_order_acquire) != minute)
        return 0;
    return atomic_load_explicit(&s->net_mt, memory_order_acquire);
}

int64_t minute_report(const struct minute_ring *m, int64_t first, size_t n, int64_t carry_mt,
                      int64_t rate_mt_min, int64_t *ppm) {
    for (size_t i = 0; i < n; i++) {
        int64_t net = minute_net_mt(m, first + (int64_t)i) + carry_mt;
        carry_mt = i64_min(0, net);
        i128 share = (i128)i64_max(0, net) * 1000000;
        ppm[i] = rate_mt_min > 0 ? i128_to_i64(share / rate_mt_min) : 0;
    }
    return carry_mt;
}
