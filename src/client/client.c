#include "client/client.h"

#include <stdlib.h>

enum {
    HEAD_CEILING = 64 << 10,
    MAX_IOV = 8,
    DISCARD_MAX = 64 << 10, /* more of an unwanted answer costs more than a new connection */
    SPARE_REQUESTS = 128,
};

struct client_pool {
    struct loop *loop;
    char *host; /* owned */
    int port;
    struct tls_context *tls;
    struct shelf *shelf; /* borrowed */
    int max_connections, n_connections;
    struct list idle; /* of struct link.in_idle, the freshest last */
    struct list busy;
    struct deadline_class connect_deadline, first_byte_deadline, stall_deadline, idle_deadline;
    struct client_request
        *spare; /* owned; ended requests, to be used again: their memory is warm */
    int n_spare;
    bool is_closing, is_public_only;
};

/* One connection to the backend. */
struct link {
    struct list in_pool;
    struct client_pool *pool;
    struct conn *conn;
    struct http_reader reader;
    struct deadline deadline;
    struct client_request *request; /* NULL when idle */
    uint64_t sent_before;           /* bytes that had gone out when the request began */
    int64_t idle_since_ms;
    size_t n_discarded; /* bytes of an answer that nobody wants */
    bool is_open, is_reused, has_bytes, is_dead, is_parsing;
};

struct client_request {
    union {
        struct link *link;
        struct client_request *next_spare; /* once it has ended */
    };
    const struct client_handlers *handlers;
    void *user;
    struct iovec iov[MAX_IOV];
    int n_iov;
    bool has_head, has_retried;
};

static const struct conn_handlers conn_handlers;
static const struct client_handlers ignore;

/* --- memory of requests --- */

static struct client_request *take_request(struct client_pool *p) {
    struct client_request *r = p->spare;
    if (!r)
        return xmalloc(sizeof *r);
    p->spare = r->next_spare;
    p->n_spare--;
    return r;
}

static void give_request(struct client_pool *p, struct client_request *r) {
    if (p->n_spare == SPARE_REQUESTS) {
        free(r);
        return;
    }
    r->next_spare = p->spare;
    p->spare = r;
    p->n_spare++;
}

/* --- links --- */

static void free_pool_when_unused(struct client_pool *p) {
    if (!p->is_closing || p->n_connections)
        return;
    deadline_class_close(&p->connect_deadline);
    deadline_class_close(&p->first_byte_deadline);
    deadline_class_close(&p->stall_deadline);
    deadline_class_close(&p->idle_deadline);
    tls_unref(p->tls);
    while (p->spare)
        free(take_request(p));
    free(p->host);
    free(p);
}

static void close_link(struct link *k) {
    struct client_pool *p = k->pool;
    assert(!k->is_dead);
    k->is_dead = true;
    deadline_clear(&k->deadline);
    list_remove(&k->in_pool);
    conn_close(k->conn);
    http_reader_destroy(&k->reader);
    p->n_connections--;
    if (!k->is_parsing)
        free(k);
    free_pool_when_unused(p);
}

static struct link *open_link(struct client_pool *p) {
    struct link *k = xcalloc(1, sizeof *k);
    k->pool = p;
    http_reader_init(&k->reader, false, HEAD_CEILING);
    k->reader.shelf = p->shelf;
    p->n_connections++;
    list_append(&p->busy, &k->in_pool);
    k->conn = p->is_public_only
                  ? conn_connect_public(p->loop, p->host, p->port, p->tls, &conn_handlers, k)
                  : conn_connect(p->loop, p->host, p->port, p->tls, &conn_handlers, k);
    deadline_set(&p->connect_deadline, p->loop, &k->deadline, k);
    return k;
}

static void write_request(struct link *k) {
    struct client_request *r = k->request;
    k->sent_before = conn_sent(k->conn);
    conn_write(k->conn, r->iov, r->n_iov);
    deadline_set(&k->pool->first_byte_deadline, k->pool->loop, &k->deadline, k);
}

/* Back among the unused connections, or closed when it cannot serve again. */
static void give_back(struct link *k, bool is_reusable) {
    struct client_pool *p = k->pool;
    k->request = NULL;
    if (!is_reusable || p->is_closing) {
        close_link(k);
        return;
    }
    http_reader_drop_head(&k->reader);
    conn_resume(k->conn); /* the answer may have ended while its reader was slow */
    k->is_reused = true;
    k->idle_since_ms = loop_now_ms(p->loop);
    list_remove(&k->in_pool);
    list_append(&p->idle, &k->in_pool);
    deadline_set(&p->idle_deadline, p->loop, &k->deadline, k);
}

/*
 * Whether the connection was over before a byte of the request reached the backend: the backend closed
 * it, as it may at any time, while the request was on its way (RFC 9112, section 9.3.1). A request that
 * may have been read is never sent twice to one backend.
 */
static bool was_too_late(const struct link *k, bool has_closed) {
    if (!k->is_reused || k->has_bytes)
        return false;
    uint64_t sent = conn_sent(k->conn) - k->sent_before;
    return sent == 0 || (has_closed && conn_unconfirmed(k->conn) >= sent);
}

/* The request on this link has failed; the link goes too. is_stale: the backend has not seen it. */
static void fail(struct link *k, bool is_stale, enum status st, struct str why) {
    struct client_request *r = k->request;
    k->request = NULL;
    struct client_pool *p = k->pool;
    if (!r) {
        close_link(k);
        return;
    }
    if (is_stale && !r->has_retried && !p->is_closing) {
        close_link(k);
        r->has_retried = true;
        r->link = open_link(p);
        r->link->request = r;
        return;
    }
    /* `why` may live in the connection, so it is told before the link goes; the caller may start
     * another request meanwhile, for which this connection no longer counts. */
    const struct client_handlers *handlers = r->handlers;
    void *user = r->user;
    give_request(p, r);
    handlers->on_fail(user, st, why);
    close_link(k);
}

/* --- what the connection says --- */

static void on_open(void *owner) {
    struct link *k = owner;
    k->is_open = true;
    write_request(k);
}

/* Hands on one whole answer or what there is of it. A body piece is held back until it is known
 * whether it is the last, which costs nothing: it is a view into the bytes at hand. */
static void parse(struct link *k, struct str in) {
    struct str held = {NULL, 0};
    bool had_head_before = k->request->has_head;
    bool has_sent_body = false;
    for (;;) {
        struct client_request *r = k->request;
        struct str piece;
        switch (http_read(&k->reader, &in, &piece)) {
        case HTTP_EV_MORE:
            if (held.p)
                r->handlers->on_body(r->user, held, false);
            else if (r->has_head && !had_head_before && !has_sent_body)
                r->handlers->on_pause(r->user);
            return;
        case HTTP_EV_HEAD:
            if (k->reader.head.status == 101) {
                fail(k, false, ST_UPSTREAM_GARBAGE,
                     STR("it switched to another protocol, which nobody asked for"));
                return;
            }
            if (k->reader.head.status < 200)
                break; /* 100 Continue and its like: the real answer follows */
            r->has_head = true;
            deadline_set(&k->pool->stall_deadline, k->pool->loop, &k->deadline, k);
            r->handlers->on_head(r->user, &k->reader.head);
            break;
        case HTTP_EV_BODY:
            if (held.p) {
                has_sent_body = true;
                r->handlers->on_body(r->user, held, false);
                if (k->is_dead)
                    return;
            }
            held = piece;
            break;
        case HTTP_EV_END: {
            if (!r->has_head)
                break; /* of a 1xx */
            const struct client_handlers *handlers = r->handlers;
            void *user = r->user;
            give_request(k->pool, r);
            /* Given back first: the next request of this turn may use it at once. Bytes beyond the
             * end are nobody's answer, and after an answer to half a request the other half is
             * still to come. */
            give_back(k, k->reader.head.keep_alive && in.n == 0 && conn_unsent(k->conn) == 0);
            handlers->on_body(user, held.p ? held : STR(""), true);
            return;
        }
        case HTTP_EV_ERROR:
            if (held.p) {
                r->handlers->on_body(r->user, held, false);
                if (k->is_dead)
                    return;
            }
            fail(k, false, ST_UPSTREAM_GARBAGE, str_of(k->reader.error_text));
            return;
        }
        if (k->is_dead)
            return;
    }
}

static void on_data(void *owner, struct str bytes) {
    struct link *k = owner;
    k->has_bytes = true;
    if (!k->request) {
        close_link(k); /* nobody asked */
        return;
    }
    if (k->request->handlers != &ignore) {
        /* Until the answer's own head is whole, it has not begun: no interim answers, however many, and
         * no head that comes in crumbs take longer than its time. */
        if (k->request->has_head)
            deadline_set(&k->pool->stall_deadline, k->pool->loop, &k->deadline, k);
    } else if ((k->n_discarded += bytes.n) > DISCARD_MAX) {
        client_cancel(k->request);
        return;
    }
    k->is_parsing = true;
    parse(k, bytes);
    k->is_parsing = false;
    if (k->is_dead)
        free(k);
}

static void on_drained(void *owner) {
    (void)owner;
}

static void on_end(void *owner, enum status st, struct str why) {
    struct link *k = owner;
    struct client_request *r = k->request;
    if (r && st == ST_OK && r->has_head && http_read_eof(&k->reader) == HTTP_EV_END) {
        /* A body that ends with its connection. */
        const struct client_handlers *handlers = r->handlers;
        void *user = r->user;
        give_request(k->pool, r);
        give_back(k, false);
        handlers->on_body(user, STR(""), true);
        return;
    }
    fail(k, r && was_too_late(k, st == ST_OK), st == ST_FORBIDDEN ? st : ST_UPSTREAM_FAILED, why);
}

static const struct conn_handlers conn_handlers = {on_open, on_data, on_drained, on_end};

static void on_connect_timeout(void *arg) {
    fail(arg, false, ST_UPSTREAM_TIMEOUT, STR("the connection did not come about in time"));
}

static void on_first_byte_timeout(void *arg) {
    fail(arg, false, ST_UPSTREAM_TIMEOUT, STR("no answer came in time"));
}

static void on_stall(void *arg) {
    fail(arg, false, ST_UPSTREAM_TIMEOUT, STR("the answer stopped coming"));
}

static void on_unused(void *arg) {
    close_link(arg);
}

/* --- pools and requests --- */

struct client_pool *client_pool_new(struct loop *l, const struct client_target *target) {
    struct client_pool *p = xcalloc(1, sizeof *p);
    p->loop = l;
    p->host = str_dup(str_of(target->host));
    p->port = target->port;
    p->tls = tls_ref(target->tls);
    p->shelf = target->shelf;
    p->max_connections = target->max_connections;
    p->is_public_only = target->is_public_only;
    list_init(&p->idle);
    list_init(&p->busy);
    deadline_class_init(&p->connect_deadline, l, target->connect_ms, on_connect_timeout);
    deadline_class_init(&p->first_byte_deadline, l, target->first_byte_ms, on_first_byte_timeout);
    deadline_class_init(&p->stall_deadline, l, target->stall_ms, on_stall);
    deadline_class_init(&p->idle_deadline, l, target->idle_ms, on_unused);
    return p;
}

void client_pool_free(struct client_pool *p) {
    if (!p)
        return;
    p->n_connections++; /* keeps the pool while the idle ones go */
    LIST_EACH (&p->idle, it)
        close_link(CONTAINER_OF(it, struct link, in_pool));
    LIST_EACH (&p->busy, it) {
        struct link *k = CONTAINER_OF(it, struct link, in_pool);
        if (k->request && k->request->handlers == &ignore)
            client_cancel(k->request);
    }
    p->n_connections--;
    p->is_closing = true;
    free_pool_when_unused(p);
}

/*
 * The connection used last: its window is open, and the others may grow old and close. The backend may
 * have closed it since the loop last asked the kernel; one that was unused for less than a millisecond
 * is not worth the question, since was_too_late knows the rest.
 */
static struct link *take_idle(struct client_pool *p) {
    while (!list_is_empty(&p->idle)) {
        struct link *k = CONTAINER_OF(p->idle.prev, struct link, in_pool);
        if (loop_now_ms(p->loop) == k->idle_since_ms || !conn_has_ended(k->conn))
            return k;
        close_link(k);
    }
    return NULL;
}

struct client_request *client_send(struct client_pool *p, const struct iovec *iov, int n,
                                   const struct client_handlers *handlers, void *user) {
    assert(n <= MAX_IOV && !p->is_closing);
    struct link *k = take_idle(p);
    if (k) {
        list_remove(&k->in_pool);
        list_append(&p->busy, &k->in_pool);
        k->has_bytes = false;
    } else if (p->n_connections < p->max_connections) {
        k = open_link(p);
    } else {
        return NULL;
    }
    struct client_request *r = take_request(p);
    r->link = k;
    r->handlers = handlers;
    r->user = user;
    memcpy(r->iov, iov, (size_t)n * sizeof *iov);
    r->n_iov = n;
    r->has_head = r->has_retried = false;
    k->request = r;
    if (k->is_open)
        write_request(k);
    return r;
}

void client_cancel(struct client_request *r) {
    struct link *k = r->link;
    k->request = NULL;
    give_request(k->pool, r);
    close_link(k);
}

static void ignore_head(void *user, const struct http_head *head) {
    (void)user;
    (void)head;
}
static void ignore_body(void *user, struct str piece, bool is_last) {
    (void)user;
    (void)piece;
    (void)is_last;
}
static void ignore_pause(void *user) {
    (void)user;
}
static void ignore_failure(void *user, enum status st, struct str why) {
    (void)user;
    (void)st;
    (void)why;
}
static const struct client_handlers ignore = {ignore_head, ignore_body, ignore_pause,
                                              ignore_failure};

void client_discard(struct client_request *r) {
    r->handlers = &ignore;
    r->user = NULL;
    /* A repeat would need the caller's bytes, which go now. */
    r->has_retried = true;
    r->link->n_discarded = 0;
    conn_resume(r->link->conn);
}

bool client_has_sent(const struct client_request *r) {
    return r->link->is_open;
}

void client_pause(struct client_request *r) {
    struct link *k = r->link;
    /* The backend is not to blame while nobody reads. */
    deadline_clear(&k->deadline);
    conn_pause(k->conn);
}

void client_resume(struct client_request *r) {
    struct link *k = r->link;
    deadline_set(&k->pool->stall_deadline, k->pool->loop, &k->deadline, k);
    conn_resume(k->conn);
}

bool client_is_reused(const struct client_request *r) {
    return r->link->is_reused;
}

int client_pool_connections(const struct client_pool *p) {
    return p->n_connections;
}
