/* ledger.h - what a call may leave behind: the books before it and after it, compared. */
#ifndef SCENARIO_LEDGER_H
#define SCENARIO_LEDGER_H

#include "support/rig.h"

/*
 * The formula of the admission specification, 1.2, for gpt-4o, written down once more: what the
 * program says is compared with this, never with itself.
 */
static inline int64_t cost_mt(int64_t prompt, int64_t cached, int64_t output) {
    if (cached < 0)
        cached = 0;
    if (cached > prompt)
        cached = prompt;
    int64_t mt = (prompt - cached) * 1000 + output * 3000;
    return mt < 1000 ? 1000 : mt;
}

/* The books of one deployment and of all backends. */
struct ledger {
    int64_t mark;   /* V of the bucket */
    int64_t minute; /* posts of this minute and the two before */
    uint64_t word;  /* of the standard law */
    int64_t admitted, refused, in_flight;
    int64_t prompt, cached, output, charged;
    int64_t inflight; /* of all backends */
    int64_t n_outcomes, learned;
};

static inline struct ledger ledger_read(const struct rig *g, const char *name) {
    struct live_deployment *d = rig_live(g, name);
    struct live_counters *n = &d->counters;
    struct ledger l = {
        .mark = rig_finish_mark(g, name),
        .word = atomic_load(&d->standard.word),
        .admitted = metric_read(&n->admitted),
        .refused = metric_read(&n->refused),
        .in_flight = metric_read(&n->in_flight),
        .prompt = metric_read(&n->prompt_tokens),
        .cached = metric_read(&n->cached_tokens),
        .output = metric_read(&n->output_tokens),
        .charged = metric_read(&n->charged_mt),
        .inflight = rig_inflight(g),
        .learned = output_model_estimate(&d->output, 10),
    };
    for (int64_t m = 0; m < 3; m++)
        l.minute += minute_net_mt(&d->minutes, minute_of(g->now_ns) - m);
    for (size_t i = 0; i < g->view->n_backends; i++) {
        for (int o = 0; o <= BALANCE_SILENT; o++)
            l.n_outcomes += metric_read(&g->view->backends[i]->outcomes[o]);
    }
    return l;
}

/* So much work that the bucket does not run empty while a test looks: then V moves by what is posted
 * and by nothing else. */
static inline void ledger_preload(const struct rig *g, const char *name, int64_t level_mt) {
    bucket_restore(&rig_live(g, name)->bucket, g->now_ns, level_mt);
}

#endif
