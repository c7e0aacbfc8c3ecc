/* health.c - how backends fare on the data plane, as their resources show it. */
#include "arm/arm_private.h"

#include <stdio.h>

enum shown { HEALTHY, EJECTED, PROBING, BUSY, DRAINING, DRAINED, N_SHOWN };

static const struct str names[N_SHOWN] = {
    [HEALTHY] = STR_INIT("Healthy"),   [EJECTED] = STR_INIT("Ejected"),
    [PROBING] = STR_INIT("Probing"),   [BUSY] = STR_INIT("Busy"),
    [DRAINING] = STR_INIT("Draining"), [DRAINED] = STR_INIT("Drained"),
};

/* What is known of a backend: the state that takes new calls, and the calls of all that have its id.
 * False when the data plane does not know it (yet). */
static bool find(const struct arm *arm, struct str id, struct arm_health *out) {
    const struct arm_request *q = arm->request;
    bool is_found = false;
    *out = (struct arm_health){.state = ARM_LEAVING};
    for (size_t i = 0; i < q->n_health; i++) {
        const struct arm_health *h = &q->health[i];
        if (!str_ieq(h->id, id))
            continue;
        int64_t in_flight = out->in_flight + h->in_flight;
        if (!is_found || h->state != ARM_LEAVING)
            *out = *h;
        out->in_flight = in_flight;
        is_found = true;
    }
    return is_found;
}

static enum shown state_of(const struct capacity *c, const struct arm_health *h) {
    static const enum shown states[] = {[ARM_HEALTHY] = HEALTHY,
                                        [ARM_EJECTED] = EJECTED,
                                        [ARM_PROBING] = PROBING,
                                        [ARM_BUSY] = BUSY,
                                        [ARM_LEAVING] = HEALTHY};
    if (c->is_draining)
        return h->in_flight > 0 ? DRAINING : DRAINED;
    return states[h->state];
}

static void put_time(struct json_writer *w, const char *key, int64_t ms) {
    char text[TIME_TEXT];
    shape_key_str(w, key, time_text(ms, text));
}

static void write_backend(const struct arm *arm, struct json_writer *w, const struct capacity *c) {
    struct arm_health h;
    if (!find(arm, c->row.id, &h) && !c->is_draining)
        return; /* the data plane is about to hear of it */
    shape_begin(w, "health");
    shape_key_str(w, "state", names[state_of(c, &h)]);
    shape_key_i64(w, "inFlight", h.in_flight);
    if (h.until_ms && !c->is_draining)
        put_time(w, "until", h.until_ms);
    if (h.error.n) {
        shape_begin(w, "lastError");
        if (h.error_status)
            shape_key_i64(w, "status", h.error_status);
        shape_key_str(w, "message", h.error);
        put_time(w, "at", h.error_at_ms);
        json_end_object(w);
    }
    json_end_object(w);
}

/* How many of its backends are in which state. */
static void write_pool(const struct arm *arm, struct json_writer *w, const struct capacity *pool) {
    const struct table *t = &arm->tables[ROW_BACKEND];
    char text[RESOURCE_ID_MAX + 16], name[16];
    int64_t n[N_SHOWN] = {0};
    const struct row *r;
    int length = snprintf(text, sizeof text, "%.*s/backends/", STR_ARG(pool->row.key));
    assert(length > 0 && (size_t)length < sizeof text);
    struct str prefix = {text, (size_t)length};
    for (size_t at = table_seek(t, prefix); (r = table_next(t, prefix, &at));) {
        const struct capacity *c = (const struct capacity *)(const void *)r;
        struct arm_health h;
        if (find(arm, c->row.id, &h) || c->is_draining)
            n[state_of(c, &h)]++;
    }
    shape_begin(w, "health");
    for (int i = 0; i < N_SHOWN; i++) {
        struct str lower = text_lower(names[i], name);
        json_key(w, lower);
        json_i64_value(w, n[i]);
    }
    json_end_object(w);
}

void health_write(const struct arm *arm, struct json_writer *w, const struct capacity *c) {
    if (!arm->request || !arm->request->health)
        return;
    if (c->row.type == ROW_BACKEND)
        write_backend(arm, w, c);
    else if (c->row.type == ROW_POOL)
        write_pool(arm, w, c);
}
