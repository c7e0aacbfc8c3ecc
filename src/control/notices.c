/* notices.c - webhooks: tells somebody outside what was decided, by POST, a few times if need be. */
#include "control/control_private.h"

#include "client/client.h"
#include "model/url.h"

#include <stdio.h>
#include <stdlib.h>

/*
 * A notice is held while its change is not on the disk yet, then queued for the loop, which sends a few
 * at a time. It is told at most TRIES times, with pauses, until the other side answers 2xx; what nobody
 * takes is dropped with a line on stderr, and so is what waits when the process ends: the decision itself is
 * kept, and can be read.
 */
enum {
    TRIES = 3,
    AT_ONCE = 8,
    WAITING_MAX = 1000,
    CONNECT_MS = 5000,
    ANSWER_MS = 10000,
    REQUEST_MAX = 2 << 20,
};

static const int64_t pause_ms[TRIES] = {1000, 10000, 0};

struct notice {
    struct list link; /* in held, waiting or active */
    struct notices *all;
    char *url; /* owned */
    struct buf body, request;
    struct client_pool *pool; /* of this try */
    struct client_request *sent;
    struct loop_timer *timer;
    int status; /* of this try's answer; 0 before */
    int n_tries;
};

struct notices {
    struct loop *loop;
    struct tls_context *tls;
    struct list held; /* the control thread's alone */
    pthread_mutex_t lock;
    struct list waiting; /* under the lock, as is the next */
    size_t n_waiting;
    struct list active; /* the loop's alone, as are the next two */
    size_t n_active;
    bool is_ended;
};

static void start(void *arg);

/* ---- one notice, on the loop ---- */

static void end_try(struct notice *n) {
    if (n->sent)
        client_cancel(n->sent);
    client_pool_free(n->pool);
    loop_timer_close(n->timer);
    n->sent = NULL;
    n->pool = NULL;
    n->timer = NULL;
}

static void notice_free(struct notice *n) {
    list_remove(&n->link);
    end_try(n);
    free(n->url);
    buf_destroy(&n->body);
    buf_destroy(&n->request);
    free(n);
}

static void try_again(void *arg);

/* Off the client's stack: what its handlers stand on may go. */
static void after_try(void *arg) {
    struct notice *n = arg;
    struct notices *all = n->all;
    int status = n->status;
    end_try(n);
    bool is_told = status >= 200 && status < 300;
    if (!is_told && ++n->n_tries < TRIES) {
        n->timer = loop_timer_new(all->loop, pause_ms[n->n_tries - 1], 0, try_again, n);
        return;
    }
    if (!is_told)
        fprintf(stderr,
                "weir: control plane: the webhook %s was not told, %d times; last status %d\n",
                n->url, TRIES, status);
    notice_free(n);
    all->n_active--;
    start(all);
}

static void try_has_ended(struct notice *n) {
    n->sent = NULL;
    n->timer = loop_timer_new(n->all->loop, 0, 0, after_try, n);
}

static void on_head(void *user, const struct http_head *head) {
    struct notice *n = user;
    n->status = head->status;
}

static void on_body(void *user, struct str piece, bool is_last) {
    (void)piece; /* what the other side has to say to it is nobody's concern */
    if (is_last)
        try_has_ended(user);
}

static void on_pause(void *user) {
    (void)user;
}

static void on_fail(void *user, enum status st, struct str why) {
    struct notice *n = user;
    (void)st;
    (void)why;
    n->status = 0;
    try_has_ended(n);
}

static const struct client_handlers handlers = {on_head, on_body, on_pause, on_fail};

/* Parts the URL, whose query url_parse does not take. */
static bool read_url(const struct notice *n, struct url *url, struct str *query) {
    struct str text = str_of(n->url);
    ptrdiff_t mark = str_find(text, STR("?"));
    *query = mark < 0 ? STR("") : str_skip(text, (size_t)mark);
    text.n -= query->n;
    return url_parse(text, url, NULL) == ST_OK;
}

static void try_again(void *arg) {
    struct notice *n = arg;
    struct url url;
    struct str query;
    end_try(n);
    n->status = 0;
    if (!read_url(n, &url, &query)) { /* it was looked at before it was kept */
        n->n_tries = TRIES;
        try_has_ended(n);
        return;
    }
    char *host = str_dup(url.host);
    struct client_target target = {.host = host,
                                   .port = url.port,
                                   .tls = url.is_tls ? n->all->tls : NULL,
                                   .max_connections = 1,
                                   .connect_ms = CONNECT_MS,
                                   .first_byte_ms = ANSWER_MS,
                                   .stall_ms = ANSWER_MS,
                                   .idle_ms = 1};
    n->pool = client_pool_new(n->all->loop, &target);
    free(host);
    buf_clear(&n->request);
    buf_printf(&n->request,
               "POST %.*s%.*s HTTP/1.1\r\nhost: %.*s\r\nuser-agent: weir\r\n"
               "content-type: application/json\r\ncontent-length: %zu\r\nconnection: close\r\n\r\n",
               STR_ARG(url.path.n ? url.path : STR("/")), STR_ARG(query), STR_ARG(url.authority),
               n->body.len);
    buf_str(&n->request, buf_view(&n->body));
    struct iovec iov = {n->request.p, n->request.len};
    n->sent = client_send(n->pool, &iov, 1, &handlers, n);
    assert(n->sent); /* the pool is new */
}

/* Begins as many of those that wait as may run at once. */
static void start(void *arg) {
    struct notices *all = arg;
    while (!all->is_ended && all->n_active < AT_ONCE) {
        struct notice *n = NULL;
        pthread_mutex_lock(&all->lock);
        if (!list_is_empty(&all->waiting)) {
            n = CONTAINER_OF(all->waiting.next, struct notice, link);
            list_remove(&n->link);
            all->n_waiting--;
        }
        pthread_mutex_unlock(&all->lock);
        if (!n)
            return;
        list_append(&all->active, &n->link);
        all->n_active++;
        try_again(n);
    }
}

/* ---- all of them ---- */

struct notices *notices_new(struct loop *l, struct tls_context *tls) {
    struct notices *all = xcalloc(1, sizeof *all);
    all->loop = l;
    all->tls = tls_ref(tls);
    list_init(&all->held);
    list_init(&all->waiting);
    list_init(&all->active);
    pthread_mutex_init(&all->lock, NULL);
    return all;
}

void notices_hold(struct notices *all, const struct arm_changes *changes) {
    for (size_t i = 0; all && i < changes->n_notices; i++) {
        const struct arm_notice *given = &changes->notices[i];
        struct notice *n = xcalloc(1, sizeof *n);
        n->all = all;
        n->url = str_dup(given->url);
        buf_init(&n->body, REQUEST_MAX);
        buf_init(&n->request, REQUEST_MAX);
        buf_str(&n->body, given->body);
        list_append(&all->held, &n->link);
    }
}

void notices_drop(struct notices *all) {
    if (!all)
        return;
    LIST_EACH (&all->held, it)
        notice_free(CONTAINER_OF(it, struct notice, link));
}

void notices_send(struct notices *all) {
    if (!all || list_is_empty(&all->held))
        return;
    size_t n_dropped = 0;
    LIST_EACH (&all->held, it) {
        struct notice *n = CONTAINER_OF(it, struct notice, link);
        list_remove(&n->link);
        pthread_mutex_lock(&all->lock);
        bool is_taken = all->n_waiting < WAITING_MAX;
        if (is_taken) {
            list_append(&all->waiting, &n->link);
            all->n_waiting++;
        }
        pthread_mutex_unlock(&all->lock);
        if (!is_taken) {
            notice_free(n);
            n_dropped++;
        }
    }
    if (n_dropped > 0)
        fprintf(stderr, "weir: control plane: %zu webhooks were not told: %d wait already\n",
                n_dropped, WAITING_MAX);
    loop_post(all->loop, start, all);
}

void notices_end(struct notices *all) {
    if (!all)
        return;
    all->is_ended = true;
    LIST_EACH (&all->active, it)
        notice_free(CONTAINER_OF(it, struct notice, link));
}

void notices_free(struct notices *all) {
    if (!all)
        return;
    assert(list_is_empty(&all->active));
    notices_drop(all);
    LIST_EACH (&all->waiting, it)
        notice_free(CONTAINER_OF(it, struct notice, link));
    pthread_mutex_destroy(&all->lock);
    tls_unref(all->tls);
    free(all);
}
