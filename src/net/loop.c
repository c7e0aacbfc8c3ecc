#include "net/net_private.h"

#include "base/buf.h"
#include "os/os.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

/* How long the end waits for clients to take the last bytes of their answers. */
enum { LAST_BYTES_AT_END_MS = 2000 };

/* --- messages from other threads --- */

/*
 * An eventfd of our own, not libuv's uv_async_t: there the loop, once woken, spins until the sender
 * has come out of uv_async_send. On a processor that they share the sender is the one who was put
 * aside for the loop, most of all one with a higher nice value, and calls waited half a millisecond
 * for each change of the configuration (libuv 1.44.2, 22 November 2026).
 */
static void run_messages(struct loop *l) {
    pthread_mutex_lock(&l->lock);
    struct loop_message *m = l->first;
    l->first = NULL;
    l->last = &l->first;
    bool is_stopping = l->is_stopping;
    pthread_mutex_unlock(&l->lock);
    while (m) {
        struct loop_message *next = m->next;
        m->fn(m->arg);
        free(m);
        m = next;
    }
    if (is_stopping)
        uv_stop(&l->uv);
}

static void on_wake(uv_poll_t *p, int status, int events) {
    struct loop *l = p->data;
    uint64_t count;
    (void)status;
    (void)events;
    /* Before the messages are taken: who posts from here on wakes the loop once more. */
    ssize_t n = read(l->wake, &count, sizeof count);
    (void)n;
    run_messages(l);
}

static void wake(struct loop *l) {
    ssize_t n = write(l->wake, &(uint64_t){1}, sizeof(uint64_t));
    assert(n == sizeof(uint64_t)); /* it never comes near the most that it can count */
}

void loop_post(struct loop *l, void (*fn)(void *arg), void *arg) {
    struct loop_message *m = xmalloc(sizeof *m);
    *m = (struct loop_message){.fn = fn, .arg = arg};
    pthread_mutex_lock(&l->lock);
    bool is_first = !l->first; /* else the loop is being woken already */
    *l->last = m;
    l->last = &m->next;
    pthread_mutex_unlock(&l->lock);
    if (is_first)
        wake(l);
}

void loop_stop(struct loop *l) {
    pthread_mutex_lock(&l->lock);
    l->is_stopping = true;
    pthread_mutex_unlock(&l->lock);
    wake(l);
}

/* --- deadlines --- */

/* A handler may remove any deadline, the next one too, and with its last call close any class: so
 * neither walk trusts what it saw before the call. */
static void on_tick(uv_timer_t *t) {
    struct loop *l = t->data;
    int64_t now = loop_now_ms(l);
    for (struct list *it = l->deadlines.next; it != &l->deadlines; it = l->next_class) {
        struct deadline_class *c = CONTAINER_OF(it, struct deadline_class, in_loop);
        l->firing = c;
        l->next_class = it->next;
        while (l->firing && !list_is_empty(&c->waiting)) {
            struct deadline *d = CONTAINER_OF(c->waiting.next, struct deadline, link);
            if (d->at_ms > now)
                break;
            deadline_clear(d);
            c->fn(d->arg);
        }
    }
    l->firing = NULL;
    l->next_class = NULL;
}

void deadline_class_init(struct deadline_class *c, struct loop *l, int64_t after_ms,
                         void (*fn)(void *arg)) {
    *c = (struct deadline_class){.after_ms = after_ms, .fn = fn, .loop = l};
    list_init(&c->waiting);
    list_append(&l->deadlines, &c->in_loop);
}

void deadline_class_close(struct deadline_class *c) {
    struct loop *l = c->loop;
    assert(list_is_empty(&c->waiting));
    if (l->firing == c)
        l->firing = NULL;
    if (l->next_class == &c->in_loop)
        l->next_class = c->in_loop.next;
    list_remove(&c->in_loop);
}

void deadline_set(struct deadline_class *c, struct loop *l, struct deadline *d, void *arg) {
    list_remove(&d->link);
    d->at_ms = loop_now_ms(l) + c->after_ms;
    d->arg = arg;
    list_append(&c->waiting, &d->link);
}

void deadline_clear(struct deadline *d) {
    list_remove(&d->link);
}

/* --- the loop --- */

static void on_held(uv_poll_t *p, int status, int events) {
    (void)status;
    (void)events;
    conn_end_held(p->data);
}

/* Behind the events of a turn, and once more before the loop waits: timers come between. */
static void on_events_done(uv_check_t *h) {
    conn_end_turn(h->data);
}

static void on_waiting(uv_prepare_t *h) {
    conn_send_posted(h->data);
}

static void watch_turns(struct loop *l) {
    uv_check_init(&l->uv, &l->after_events);
    l->after_events.data = l;
    uv_check_start(&l->after_events, on_events_done);
    uv_prepare_init(&l->uv, &l->before_waiting);
    l->before_waiting.data = l;
    uv_prepare_start(&l->before_waiting, on_waiting);
}

struct loop *loop_new(void) {
    signal(SIGPIPE, SIG_IGN); /* the write that finds its peer gone reports it */
    struct loop *l = xcalloc(1, sizeof *l);
    int rc = uv_loop_init(&l->uv);
    assert(rc == 0);
    l->uv.data = l;
    pthread_mutex_init(&l->lock, NULL);
    l->last = &l->first;
    list_init(&l->deadlines);
    list_init(&l->finishing);
    names_init(l);
    l->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    assert(l->wake >= 0);
    rc = uv_poll_init(&l->uv, &l->wake_poll, l->wake);
    assert(rc == 0);
    l->wake_poll.data = l;
    uv_poll_start(&l->wake_poll, UV_READABLE, on_wake);
    watch_turns(l);
    uv_timer_init(&l->uv, &l->tick);
    l->tick.data = l;
    uv_timer_start(&l->tick, on_tick, DEADLINE_TICK_MS, DEADLINE_TICK_MS);
    l->held = epoll_create1(EPOLL_CLOEXEC);
    assert(l->held >= 0);
    rc = uv_poll_init(&l->uv, &l->held_poll, l->held);
    assert(rc == 0);
    l->held_poll.data = l;
    uv_poll_start(&l->held_poll, UV_READABLE, on_held);
    return l;
}

void loop_run(struct loop *l) {
    uv_run(&l->uv, UV_RUN_DEFAULT);
}

static void free_signal(uv_handle_t *h) {
    free(h->data);
}

/* Signals belong to the loop; all else was closed by its owner, or is a leak that stays visible. */
static void close_handle(uv_handle_t *h, void *arg) {
    (void)arg;
    if (!uv_is_closing(h))
        uv_close(h, h->type == UV_SIGNAL ? free_signal : NULL);
}

void loop_free(struct loop *l) {
    run_messages(l); /* that nobody ran yet */
    /* Last bytes of answers may still wait for slow clients. The ticks end each turn. */
    uv_update_time(&l->uv);
    int64_t until_ms = loop_now_ms(l) + LAST_BYTES_AT_END_MS;
    while (conn_end_finishing(l, loop_now_ms(l) >= until_ms))
        uv_run(&l->uv, UV_RUN_ONCE);
    uv_walk(&l->uv, close_handle, NULL);
    while (uv_run(&l->uv, UV_RUN_DEFAULT) != 0)
        uv_walk(&l->uv, close_handle, NULL);
    int rc = uv_loop_close(&l->uv);
    assert(rc == 0);
    names_destroy(l);
    close(l->held);
    close(l->wake);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

int64_t loop_now_ms(const struct loop *l) {
    return (int64_t)uv_now(&l->uv);
}

/* --- timers --- */

struct loop_timer {
    uv_timer_t uv;
    void (*fn)(void *arg);
    void *arg;
};

static void on_timer(uv_timer_t *t) {
    struct loop_timer *timer = t->data;
    timer->fn(timer->arg);
}

struct loop_timer *loop_timer_new(struct loop *l, int64_t after_ms, int64_t repeat_ms,
                                  void (*fn)(void *arg), void *arg) {
    struct loop_timer *t = xcalloc(1, sizeof *t);
    t->fn = fn;
    t->arg = arg;
    uv_timer_init(&l->uv, &t->uv);
    t->uv.data = t;
    uv_timer_start(&t->uv, on_timer, (uint64_t)after_ms, (uint64_t)repeat_ms);
    return t;
}

static void free_timer(uv_handle_t *h) {
    free(h->data);
}

void loop_timer_close(struct loop_timer *t) {
    if (t)
        uv_close((uv_handle_t *)&t->uv, free_timer);
}

struct loop_alarm {
    uv_poll_t uv;
    int fd;
    void (*fn)(void *arg);
    void *arg;
};

static void on_alarm(uv_poll_t *p, int status, int events) {
    (void)status;
    (void)events;
    struct loop_alarm *a = p->data;
    uint64_t count;
    if (read(a->fd, &count, sizeof count) == (ssize_t)sizeof count)
        a->fn(a->arg);
}

struct loop_alarm *loop_alarm_new(struct loop *l, void (*fn)(void *arg), void *arg) {
    struct loop_alarm *a = xcalloc(1, sizeof *a);
    a->fn = fn;
    a->arg = arg;
    a->fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    assert(a->fd >= 0);
    uv_poll_init(&l->uv, &a->uv, a->fd);
    a->uv.data = a;
    uv_poll_start(&a->uv, UV_READABLE, on_alarm);
    return a;
}

void loop_alarm_set(struct loop_alarm *a, int64_t at_ns) {
    /* A zero time would disarm it. */
    at_ns = i64_max(at_ns, 1);
    struct itimerspec when = {
        .it_value = {.tv_sec = (time_t)(at_ns / NS_PER_S), .tv_nsec = (long)(at_ns % NS_PER_S)}};
    int rc = timerfd_settime(a->fd, TFD_TIMER_ABSTIME, &when, NULL);
    assert(rc == 0);
}

static void free_alarm(uv_handle_t *h) {
    struct loop_alarm *a = h->data;
    close(a->fd);
    free(a);
}

void loop_alarm_close(struct loop_alarm *a) {
    if (a)
        uv_close((uv_handle_t *)&a->uv, free_alarm);
}

/* --- signals --- */

struct signal_watch {
    uv_signal_t uv;
    void (*fn)(void *arg);
    void *arg;
};

static void on_signal(uv_signal_t *s, int number) {
    (void)number;
    struct signal_watch *w = s->data;
    w->fn(w->arg);
}

void loop_on_signal(struct loop *l, int signal, void (*fn)(void *arg), void *arg) {
    struct signal_watch *w = xcalloc(1, sizeof *w);
    w->fn = fn;
    w->arg = arg;
    uv_signal_init(&l->uv, &w->uv);
    w->uv.data = w;
    uv_signal_start(&w->uv, on_signal, signal);
    uv_unref((uv_handle_t *)&w->uv);
}

/* --- work --- */

struct work {
    uv_work_t uv;
    void (*work)(void *arg);
    void (*done)(void *arg);
    void *arg;
};

static void do_work(uv_work_t *u) {
    struct work *w = u->data;
    os_thread_give_way(
        1); /* pool threads inherit the turns of the loop that was first to need one */
    w->work(w->arg);
}

static void work_done(uv_work_t *u, int status) {
    (void)status;
    struct work *w = u->data;
    if (w->done)
        w->done(w->arg);
    free(w);
}

void loop_work(struct loop *l, void (*work)(void *arg), void (*done)(void *arg), void *arg) {
    struct work *w = xcalloc(1, sizeof *w);
    *w = (struct work){.work = work, .done = done, .arg = arg};
    w->uv.data = w;
    int rc = uv_queue_work(&l->uv, &w->uv, do_work, work_done);
    assert(rc == 0);
}
