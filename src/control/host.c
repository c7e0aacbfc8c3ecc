/* host.c - the way between our own loop and the first of the data plane, on which we are started and ended. */
#include "control/control_private.h"

#include "base/buf.h"
#include "os/os.h"

#include <stdlib.h>

/*
 * The listener has a thread of its own beside the control thread: to decrypt a request, to check its
 * token and to encrypt the answer takes a quarter of a millisecond (two cores, 22 November 2026), for
 * which no call should wait.
 */

static void *run_loop(void *arg) {
    struct control *c = arg;
    os_thread_give_way(OS_GIVES_WAY);
    loop_run(c->loop);
    return NULL;
}

void host_start(struct control *c) {
    int rc = pthread_create(&c->loop_thread, NULL, run_loop, c);
    assert(rc == 0);
}

/* --- the end --- */

static void begin_end(void *arg) {
    control_end(arg);
}

void control_stop(struct control *c, void (*done)(void *arg), void *arg) {
    c->stopped = done;
    c->stopped_arg = arg;
    loop_post(c->loop, begin_end, c);
}

/* On the host's loop. Ours has nothing to do but what was posted to it before, so this is short. */
static void on_ended(void *arg) {
    struct control *c = arg;
    loop_stop(c->loop);
    pthread_join(c->loop_thread, NULL);
    c->is_running = false;
    c->stopped(c->stopped_arg);
}

void host_stop(struct control *c) {
    loop_post(c->host_loop, on_ended, c);
}

/* --- reading files anew --- */

/* An order to do so, on its way there and back. */
struct reload {
    struct control *control;
    void (*done)(void *arg, enum status st, const struct problem *why);
    void *arg;
    enum status st;
    struct problem why;
};

/* On the host's loop. */
static void tell_reloaded(void *arg) {
    struct reload *r = arg;
    r->done(r->arg, r->st, &r->why);
    free(r);
}

static void on_reloaded(void *arg, enum status st, const struct problem *why) {
    struct reload *r = arg;
    r->st = st;
    if (why)
        r->why = *why;
    loop_post(r->control->host_loop, tell_reloaded, r);
}

static void begin_reload(void *arg) {
    struct reload *r = arg;
    upkeep_reload(r->control, on_reloaded, r);
}

void control_reload(struct control *c,
                    void (*done)(void *arg, enum status st, const struct problem *why), void *arg) {
    struct reload *r = xcalloc(1, sizeof *r);
    *r = (struct reload){.control = c, .done = done, .arg = arg};
    loop_post(c->loop, begin_reload, r);
}

/* --- the health of backends --- */

static void add_health(void *to, const struct arm_health *h) {
    struct errand *e = to;
    if (e->n_health == e->health_capacity) {
        e->health_capacity = e->health_capacity ? 2 * e->health_capacity : 16;
        e->health = xrealloc(e->health, e->health_capacity * sizeof *e->health);
    }
    struct arm_health *kept = &e->health[e->n_health++];
    *kept = *h;
    kept->id = arena_str(&e->health_texts, h->id);
    kept->error = arena_str(&e->health_texts, h->error);
}

static void on_health(void *arg) {
    struct errand *e = arg;
    if (e->exchange)
        errand_to_thread(e);
    else
        errand_free(e);
}

/* On the host's loop, where its registry lives. */
static void gather_health(void *arg) {
    struct errand *e = arg;
    struct control *c = e->door->control;
    c->host.health(c->host.arg, add_health, e);
    loop_post(c->loop, on_health, e);
}

void host_ask_health(struct errand *e) {
    if (e->door->slow.ended) { /* nobody would wait for the way back */
        errand_to_thread(e);
        return;
    }
    e->health_capacity = 16;
    e->health = xcalloc(e->health_capacity, sizeof *e->health);
    loop_post(e->door->control->host_loop, gather_health, e);
}
