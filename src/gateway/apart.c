/* apart.c - long prompts are counted on another thread, one at a time for each loop, accounts in turn. */
#include "gateway/counting.h"
#include "gateway/gateway_private.h"
#include "os/os.h"

#include <pthread.h>
#include <stdlib.h>

/* Of one prompt: 20 ms of prose. No model takes more. */
enum { APART_BUDGET = 4 << 20 };

void apart_add_lookups(struct gateway *g, const struct prompt_lookups *l) {
    metric_add(&g->metrics.texts, l->texts);
    metric_add(&g->metrics.texts_found, l->texts_found);
    metric_add(&g->metrics.places, l->places);
    metric_add(&g->metrics.places_found, l->places_found);
}

struct prompt_lookups apart_lookups_since(const struct prompt_counters *c,
                                          struct prompt_lookups *before) {
    struct prompt_lookups now = prompt_counters_lookups(c), old = *before;
    *before = now;
    return (struct prompt_lookups){now.texts - old.texts, now.texts_found - old.texts_found,
                                   now.places - old.places, now.places_found - old.places_found};
}

/* One at a time for each loop, so that none can fill the pool of threads. */
struct count_job {
    struct gateway_call *call; /* NULL when the gateway is gone */
    struct gateway *gateway;
    struct counting *counting;
    struct prompt_lookups lookups;
    enum status st;
    struct problem why;
    pthread_mutex_t lock;
    pthread_cond_t is_done_changed;
    bool is_done; /* under the lock: the thread has let go of the call */
};

static void count_work(void *arg) {
    struct count_job *j = arg;
    struct gateway_call *gc = j->call;
    struct prompt_counters *counters = counting_borrow(j->counting);
    struct prompt_lookups before = prompt_counters_lookups(counters);
    struct call_env env = {
        .view = gc->lease->plan->view,
        .vocabularies = gc->lease->plan->vocabularies,
        .clock = &os_clock,
        .doc = json_doc_new(),
        .counters = counters,
        .prefixes = counting_prefixes(j->counting),
        .prompt_budget = APART_BUDGET,
    };
    problem_clear(&j->why);
    j->st = call_count(&gc->call, &env, &j->why);
    json_doc_free(env.doc);
    j->lookups = apart_lookups_since(counters, &before);
    counting_give_back(j->counting, counters);
    pthread_mutex_lock(&j->lock);
    j->is_done = true;
    pthread_cond_signal(&j->is_done_changed);
    pthread_mutex_unlock(&j->lock);
}

static void free_job(struct count_job *j) {
    pthread_mutex_destroy(&j->lock);
    pthread_cond_destroy(&j->is_done_changed);
    free(j);
}

static void count_done(void *arg);

/* The next whose prompt is counted, now the first of those that wait: one of another account than the last
 * one's, if there is any, so that whoever sends many long prompts waits for himself. */
static struct gateway_call *next_uncounted(struct gateway *g) {
    struct list *first = g->uncounted.next;
    LIST_EACH (&g->uncounted, it) {
        struct gateway_call *gc = CONTAINER_OF(it, struct gateway_call, in_uncounted);
        if (gc->call.account == g->counted_last)
            continue;
        if (it != first) {
            list_remove(it);
            list_append(first, it);
        }
        return gc;
    }
    return CONTAINER_OF(first, struct gateway_call, in_uncounted);
}

static void count_first(struct gateway *g) {
    if (list_is_empty(&g->uncounted))
        return;
    struct gateway_call *gc = next_uncounted(g);
    g->counted_last = gc->call.account;
    struct count_job *j = xcalloc(1, sizeof *j);
    *j = (struct count_job){.call = gc, .gateway = g, .counting = g->settings.counting};
    pthread_mutex_init(&j->lock, NULL);
    pthread_cond_init(&j->is_done_changed, NULL);
    gc->job = j;
    metric_add(&g->metrics.prompts_apart, 1);
    loop_work(g->loop, count_work, count_done, j);
}

static void count_done(void *arg) {
    struct count_job *j = arg;
    struct gateway_call *gc = j->call;
    if (!gc) {
        free_job(j);
        return;
    }
    struct gateway *g = j->gateway;
    enum status st = j->st;
    struct problem why = j->why;
    apart_add_lookups(g, &j->lookups);
    free_job(j);
    gc->job = NULL;
    list_remove(&gc->in_uncounted);
    count_first(g);
    gateway_counted(gc, st, &why);
}

void apart_count(struct gateway_call *gc) {
    struct gateway *g = gc->gateway;
    bool is_first = list_is_empty(&g->uncounted);
    list_append(&g->uncounted, &gc->in_uncounted);
    if (is_first)
        count_first(g);
}

bool apart_leave(struct gateway_call *gc) {
    if (gc->job)
        return false;
    list_remove(&gc->in_uncounted);
    return true;
}

void apart_stop(struct gateway *g) {
    if (list_is_empty(&g->uncounted))
        return;
    struct gateway_call *gc = CONTAINER_OF(g->uncounted.next, struct gateway_call, in_uncounted);
    struct count_job *j = gc->job;
    pthread_mutex_lock(&j->lock);
    while (!j->is_done)
        pthread_cond_wait(&j->is_done_changed, &j->lock);
    pthread_mutex_unlock(&j->lock);
    j->call = NULL;
    gc->job = NULL;
}
