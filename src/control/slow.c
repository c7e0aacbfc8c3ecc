/* slow.c - what takes a core for long, secrets, signatures and tokenizers: on the pool, few at a time, in turn. */
#include "control/control_private.h"

/*
 * To prove or make a secret takes 50 ms of a core, and whoever knows the id of an application may ask for
 * it: so few at once that calls keep their processors, and no application can fill the queue. A tokenizer
 * takes up to a second: one at a time, in a lane of its own, so that nobody waits for a token meanwhile.
 */
enum { WAITING_MAX = 64, WAITING_OF_ONE_MAX = 16 };
static const int at_once[SLOW_LANE_COUNT] = {[SLOW_SECRETS] = 2, [SLOW_TOKENIZERS] = 1};

/* The application that slow work is for, as its principal spells it: whoever asks for a token may spell its
 * id in many ways. */
static struct str application_of(const struct errand *e) {
    return str_of(e->kind == ERRAND_TOKEN ? e->principal.app_id : e->app_id);
}

static int count_waiting(const struct slow_lane *l, const struct errand *e) {
    int n = 0;
    LIST_EACH (&l->waiting, it)
        n += str_ieq(application_of(CONTAINER_OF(it, struct errand, link)), application_of(e));
    return n;
}

static void start(struct slow *s, enum slow_lane_name name);

static void run_slow(void *arg) {
    struct errand *e = arg;
    e->slow(e);
}

static bool is_idle(const struct slow *s) {
    int n_running = 0;
    for (int i = 0; i < SLOW_LANE_COUNT; i++)
        n_running += s->lanes[i].n_running;
    return n_running == 0;
}

static void on_slow(void *arg) {
    struct errand *e = arg;
    struct slow *s = &e->door->slow;
    enum slow_lane_name name = e->lane;
    s->lanes[name].n_running--;
    e->after_slow(e);
    if (s->ended && is_idle(s))
        s->ended(s->control);
    else
        start(s, name);
}

static void start(struct slow *s, enum slow_lane_name name) {
    struct slow_lane *l = &s->lanes[name];
    while (!s->ended && l->n_running < at_once[name] && !list_is_empty(&l->waiting)) {
        struct errand *e = CONTAINER_OF(l->waiting.next, struct errand, link);
        list_remove(&e->link);
        l->n_waiting--;
        if (!e->exchange && name == SLOW_SECRETS) {
            errand_free(e); /* nobody would learn the secret */
            continue;
        }
        l->n_running++;
        loop_work(s->control->loop, run_slow, on_slow, e);
    }
}

bool slow_begin(struct errand *e, enum slow_lane_name name, void (*work)(void *arg),
                void (*after)(void *arg)) {
    struct slow *s = &e->door->slow;
    struct slow_lane *l = &s->lanes[name];
    if (s->ended || l->n_waiting >= WAITING_MAX || count_waiting(l, e) >= WAITING_OF_ONE_MAX)
        return false;
    e->lane = name;
    e->slow = work;
    e->after_slow = after;
    list_append(&l->waiting, &e->link);
    l->n_waiting++;
    start(s, name);
    return true;
}

void slow_refuse(struct errand *e, const char *text) {
    errand_refuse(e, 503, "ServiceUnavailable",
                  e->door->slow.ended ? "The server is shutting down." : text);
}

void slow_end(struct slow *s, void (*ended)(struct control *c)) {
    s->ended = ended;
    if (is_idle(s))
        ended(s->control);
}

void slow_init(struct slow *s, struct control *c) {
    *s = (struct slow){.control = c};
    for (int i = 0; i < SLOW_LANE_COUNT; i++)
        list_init(&s->lanes[i].waiting);
}

void slow_destroy(struct slow *s) {
    for (int i = 0; i < SLOW_LANE_COUNT; i++) {
        LIST_EACH (&s->lanes[i].waiting, it)
            errand_free(CONTAINER_OF(it, struct errand, link));
    }
}
