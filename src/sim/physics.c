/* physics.c - the states of a call in a simulated model server and how long each lasts. */
#include "sim/physics.h"

#include "base/wide.h"

/*
 * The presets. `gpt-4o` and `h100-70b` have the order of magnitude that users of such services
 * report, in round numbers of our choice; whoever has measured his own gives the numbers by option.
 * `fast` is for tests that want to see pacing without waiting for it.
 */
/* clang-format off */
static const struct {
    struct str name;
    struct physics_profile profile;
} presets[] = {
    /*                        prefill/s      decode/s    base latency      knee slots queue */
    {STR_INIT("gpt-4o"),   {10000 * 1000,   80 * 1000, 250 * NS_PER_MS,  64, 256, 256}},
    {STR_INIT("h100-70b"), { 8000 * 1000,   40 * 1000,  40 * NS_PER_MS,  64, 256, 256}},
    {STR_INIT("fast"),     {50000 * 1000,  500 * 1000,   5 * NS_PER_MS, 256, 1024, 1024}},
    {STR_INIT("instant"),  {           0,           0,               0,   0,   0, 256}},
};
/* clang-format on */

bool physics_find(struct str name, struct physics_profile *out) {
    for (size_t i = 0; i < ARRAY_LEN(presets); i++) {
        if (str_eq(presets[i].name, name)) {
            *out = presets[i].profile;
            return true;
        }
    }
    return false;
}

struct str physics_names(void) {
    return STR("gpt-4o, h100-70b, fast, instant");
}

static int64_t scaled(int64_t value, double factor) {
    double v = (double)value * factor;
    return v >= 9e18 ? INT64_MAX : (int64_t)v;
}

void physics_scale(struct physics_profile *p, double factor) {
    assert(factor > 0);
    /* A rate that becomes less than one stays one: 0 would mean no time at all. */
    if (p->prefill_mtps)
        p->prefill_mtps = i64_max(scaled(p->prefill_mtps, factor), 1);
    if (p->decode_mtps)
        p->decode_mtps = i64_max(scaled(p->decode_mtps, factor), 1);
    p->base_latency_ns = scaled(p->base_latency_ns, 1 / factor);
}

/* How long `tokens` take at a rate in tokens per 1,000 s. */
static int64_t time_ns(int64_t tokens, int64_t mtps) {
    return mtps ? i128_to_i64((i128)tokens * 1000 * NS_PER_S / mtps) : 0;
}

void physics_init(struct physics *p, const struct physics_profile *profile) {
    *p = (struct physics){.profile = *profile};
    list_init(&p->waiting);
}

void physics_destroy(struct physics *p) {
    agenda_destroy(&p->agenda);
}

int64_t physics_interval_ns(const struct physics *p) {
    int64_t alone = time_ns(1, p->profile.decode_mtps);
    int64_t knee = p->profile.knee;
    if (knee == 0 || p->n_decoding <= knee)
        return alone;
    return i128_to_i64((i128)alone * p->n_decoding / knee);
}

static void start(struct physics *p, struct physics_call *c, int64_t now_ns) {
    p->n_working++;
    c->state = PHYSICS_PREFILL;
    agenda_set(&p->agenda, &c->due, now_ns + c->first_token_ns);
}

bool physics_arrive(struct physics *p, struct physics_call *c, int64_t now_ns,
                    int64_t prefill_tokens, int64_t extra_ns, int width) {
    assert(c->state == PHYSICS_OUT);
    c->first_token_ns =
        p->profile.base_latency_ns + time_ns(prefill_tokens, p->profile.prefill_mtps) + extra_ns;
    c->width = width;
    if (p->profile.slots == 0 || p->n_working < p->profile.slots) {
        start(p, c, now_ns);
        return true;
    }
    if (p->n_waiting >= p->profile.queue)
        return false;
    c->state = PHYSICS_WAITING;
    list_append(&p->waiting, &c->waiting);
    p->n_waiting++;
    return true;
}

struct physics_call *physics_next(struct physics *p, int64_t now_ns) {
    struct agenda_entry *e = agenda_first(&p->agenda);
    if (!e || e->at_ns > now_ns)
        return NULL;
    agenda_remove(&p->agenda, e);
    struct physics_call *c = CONTAINER_OF(e, struct physics_call, due);
    if (c->state == PHYSICS_PREFILL) {
        c->state = PHYSICS_DECODING;
        p->n_decoding += c->width;
    }
    return c;
}

void physics_step(struct physics *p, struct physics_call *c, int64_t now_ns) {
    enum { CATCH_UP_NS = 10 * NS_PER_MS };
    assert(c->state == PHYSICS_DECODING && !c->due.place);
    /* Counted from when the last token was due, so that late wake-ups do not add up. But who lags
     * far behind, since the machine is too slow for the rate, does not catch up in a burst. */
    int64_t from_ns = now_ns - c->due.at_ns > CATCH_UP_NS ? now_ns : c->due.at_ns;
    agenda_set(&p->agenda, &c->due, from_ns + physics_interval_ns(p));
}

void physics_hold(struct physics *p, struct physics_call *c) {
    assert(c->state == PHYSICS_DECODING);
    agenda_remove(&p->agenda, &c->due);
    p->n_decoding -= c->width;
    c->state = PHYSICS_HELD;
}

void physics_resume(struct physics *p, struct physics_call *c, int64_t now_ns) {
    assert(c->state == PHYSICS_HELD);
    c->state = PHYSICS_DECODING;
    p->n_decoding += c->width;
    agenda_set(&p->agenda, &c->due, now_ns + physics_interval_ns(p));
}

void physics_leave(struct physics *p, struct physics_call *c, int64_t now_ns) {
    if (c->state == PHYSICS_WAITING) {
        list_remove(&c->waiting);
        p->n_waiting--;
    } else if (c->state != PHYSICS_OUT) {
        agenda_remove(&p->agenda, &c->due);
        if (c->state == PHYSICS_DECODING)
            p->n_decoding -= c->width;
        p->n_working--;
    }
    c->state = PHYSICS_OUT;
    while (!list_is_empty(&p->waiting) && p->n_working < p->profile.slots) {
        struct physics_call *next = CONTAINER_OF(p->waiting.next, struct physics_call, waiting);
        list_remove(&next->waiting);
        p->n_waiting--;
        start(p, next, now_ns);
    }
}

void physics_set_width(struct physics *p, struct physics_call *c, int width) {
    if (c->state == PHYSICS_DECODING)
        p->n_decoding += width - c->width;
    c->width = width;
}

int64_t physics_due_ns(const struct physics *p) {
    const struct agenda_entry *e = agenda_first(&p->agenda);
    return e ? e->at_ns : INT64_MAX;
}
