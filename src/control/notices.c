/* notices.c - webhooks: tells somebody outside what was decided, by POST, a few times if need be. */
#include "control/control_private.h"

#include "control/fetch.h"
#include "model/url.h"
#include "net/address.h"

#include <stdio.h>
#include <stdlib.h>

/*
 * A notice is held while its change is not on the disk yet, then queued for the loop, which sends a few
 * at a time. It is told at most TRIES times, with pauses, until the other side answers 2xx; what nobody
 * takes is dropped with a line on stderr, and so is what waits when the process ends: the decision itself is
 * kept, and can be read.
 *
 * A tenant has named the URL. So the server goes to public addresses only, looked at after the name was
 * resolved, unless the operator allows the host; it follows no redirect; it checks the certificate; and
 * nobody sees what was answered.
 */
enum {
    TRIES = 3,
    AT_ONCE = 8,
    WAITING_MAX = 1000,
    ANSWER_MS = 15000,
    BODY_MAX = 2 << 20,
};

static const int64_t pause_ms[TRIES] = {1000, 10000, 0};

struct notice {
    struct list link; /* in held, waiting or active */
    struct notices *all;
    char *url; /* owned */
    struct buf body;
    struct fetch *fetch; /* of this try; NULL between two */
    struct loop_timer *timer;
    int n_tries;
};

struct notices {
    struct loop *loop;
    struct tls_context *tls;
    char *allowed_hosts; /* owned: names with commas between them */
    struct list held;    /* the control thread's alone */
    pthread_mutex_t lock;
    struct list waiting; /* under the lock, as is the next */
    size_t n_waiting;
    struct list active; /* the loop's alone, as are the next two */
    size_t n_active;
    bool is_ended;
};

static void start(void *arg);

/* ---- one notice, on the loop ---- */

static void notice_free(struct notice *n) {
    list_remove(&n->link);
    fetch_cancel(n->fetch);
    loop_timer_close(n->timer);
    free(n->url);
    buf_destroy(&n->body);
    free(n);
}

static void try_again(void *arg);

static void on_answer(void *arg, const struct fetch_answer *a) {
    struct notice *n = arg;
    struct notices *all = n->all;
    bool is_told = a->status >= 200 && a->status < 300;
    n->fetch = NULL;
    n->n_tries = a->st == ST_FORBIDDEN ? TRIES : n->n_tries + 1;
    if (!is_told && n->n_tries < TRIES) {
        n->timer = loop_timer_new(all->loop, pause_ms[n->n_tries - 1], 0, try_again, n);
        return;
    }
    if (!is_told && a->status)
        fprintf(stderr, "weir: control plane: the webhook %s was not told: it answered %d\n",
                n->url, a->status);
    else if (!is_told)
        fprintf(stderr, "weir: control plane: the webhook %s was not told: %.*s\n", n->url,
                STR_ARG(a->why));
    notice_free(n);
    all->n_active--;
    start(all);
}

/* "hooks.example", or "*.example" for all names below it. */
static bool is_host_in(const char *list, struct str host) {
    struct str rest = str_of(list), item;
    while (str_cut(&rest, ',', &item)) {
        item = str_trim(item);
        bool is_suffix = str_starts(item, STR("*.")) && host.n > item.n - 1;
        if (is_suffix)
            item = str_skip(item, 1);
        if (item.n && str_ieq(item, is_suffix ? str_skip(host, host.n - item.n) : host))
            return true;
    }
    return false;
}

/* The names of this machine need no look-up (RFC 6761, section 6.3). */
static bool is_own_name(struct str host) {
    while (host.n && host.p[host.n - 1] == '.')
        host.n--;
    if (str_ieq(host, STR("localhost")))
        return true;
    struct str end = STR(".localhost");
    return host.n > end.n && str_ieq(str_skip(host, host.n - end.n), end);
}

bool notices_may_go_to(const char *allowed_hosts, struct str host) {
    char text[64];
    struct sockaddr_in6 address;
    if (is_host_in(allowed_hosts, host))
        return true;
    if (host.n == 0 || host.n >= sizeof text)
        return host.n > 0; /* too long for an address */
    memcpy(text, host.p, host.n);
    text[host.n] = '\0';
    return address_read(text, &address) ? address_is_public(&address) : !is_own_name(host);
}

static bool is_allowed(const struct notice *n) {
    struct url url;
    struct str text = str_of(n->url);
    ptrdiff_t mark = str_find(text, STR("?"));
    if (mark >= 0)
        text.n = (size_t)mark;
    return url_parse(text, &url, NULL) == ST_OK && is_host_in(n->all->allowed_hosts, url.host);
}

static void try_again(void *arg) {
    struct notice *n = arg;
    struct fetch_order order = {.url = str_of(n->url),
                                .tls = n->all->tls,
                                .body = buf_view(&n->body),
                                .whole_ms = ANSWER_MS,
                                .is_public_only = !is_allowed(n)};
    loop_timer_close(n->timer);
    n->timer = NULL;
    n->fetch = fetch_begin(n->all->loop, &order, on_answer, n);
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

struct notices *notices_new(struct loop *l, struct tls_context *tls, const char *allowed_hosts) {
    struct notices *all = xcalloc(1, sizeof *all);
    all->loop = l;
    all->tls = tls_ref(tls);
    all->allowed_hosts = str_dup(str_of(allowed_hosts));
    list_init(&all->held);
    list_init(&all->waiting);
    list_init(&all->active);
    pthread_mutex_init(&all->lock, NULL);
    return all;
}

void notices_set_tls(struct notices *all, struct tls_context *tls) {
    tls_unref(all->tls);
    all->tls = tls_ref(tls);
}

void notices_hold(struct notices *all, const struct arm_changes *changes) {
    for (size_t i = 0; all && i < changes->n_notices; i++) {
        const struct arm_notice *given = &changes->notices[i];
        struct notice *n = xcalloc(1, sizeof *n);
        n->all = all;
        n->url = str_dup(given->url);
        buf_init(&n->body, BODY_MAX);
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
    free(all->allowed_hosts);
    free(all);
}
