/* slow.c - what takes a core for long, secrets and signatures: on the pool, few at a time, in turn. */
#include "control/control_private.h"

/*
 * To prove or make a secret takes 50 ms of a core, and whoever knows the id of an application may ask for
 * it: so few at once that calls keep their processors, and no application can fill the queue.
 */
enum { AT_ONCE = 2, WAITING_MAX = 64, WAITING_OF_ONE_MAX = 16 };

/* The application that slow work is for, as its principal spells it: whoever asks for a token may spell its
 * id in many ways. */
static struct str application_of(const struct errand *e) {
    return str_of(e->kind == ERRAND_TOKEN ? e->principal.app_id : e->app_id);
}

static int count_waiting(const struct slow *s, const struct errand *e) {
    int n = 0;
    LIST_EACH (&s->waiting, it)
        n += str_ieq(application_of(CONTAINER_OF(it, struct errand, link)), application_of(e));
    return n;
}

static void start(struct slow *s);

static void run_slow(void *arg) {
    struct errand *e = arg;
    e->slow(e);
}

static void on_slow(void *arg) {
    struct errand *e = arg;
    struct slow *s = &e->door->slow;
    s->n_running--;
    e->after_slow(e);
    if (s->ended && s->n_running == 0)
        s->ended(s->control);
    else
        start(s);
}

static void start(struct slow *s) {
    while (!s->ended && s->n_running < AT_ONCE && !list_is_empty(&s->waiting)) {
        struct errand *e = CONTAINER_OF(s->waiting.next, struct errand, link);
        list_remove(&e->link);
        s->n_waiting--;
        if (!e->exchange) {
            errand_free(e);
            continue;
        }
        s->n_running++;
        loop_work(s->control->loop, run_slow, on_slow, e);
    }
}

bool slow_begin(struct errand *e, void (*work)(void *arg), void (*after)(void *arg)) {
    struct slow *s = &e->door->slow;
    if (s->ended || s->n_waiting >= WAITING_MAX || count_waiting(s, e) >= WAITING_OF_ONE_MAX)
        return false;
    e->slow = work;
    e->after_slow = after;
    list_append(&s->waiting, &e->link);
    s->n_waiting++;
    start(s);
    return true;
}

void slow_end(struct slow *s, void (*ended)(struct control *c)) {
    s->ended = ended;
    if (s->n_running == 0)
        ended(s->control);
}

void slow_init(struct slow *s, struct control *c) {
    *s = (struct slow){.control = c};
    list_init(&s->waiting);
}

void slow_destroy(struct slow *s) {
    LIST_EACH (&s->waiting, it)
        errand_free(CONTAINER_OF(it, struct errand, link));
}
