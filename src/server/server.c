#include "server/server.h"

#include "os/os.h"
#include "json/error.h"

#include <stdlib.h>

/* Holds the largest head that an application may pass on from elsewhere, 64 KiB of names and values,
 * with what stands between them and the fields of our own. */
enum { HEAD_SCRATCH = 96 << 10, SPARE_BODIES = 16, SPARE_BODY_MAX = 64 << 10 };

/* Bodies of up to this size are served while large ones find no room any more. */
enum { SMALL_BODY = 64 << 10, SMALL_BODIES_SHARE = 8 };

/* A client that has left more than this of its answers unread gets its next request begun later. */
enum { UNREAD_MAX = 256 << 10 };

/* States of a connection; being in one means being in that state's list. */
enum state {
    STATE_IDLE,      /* between requests; also a new connection before its first byte */
    STATE_READING,   /* a request has begun and is not complete */
    STATE_ANSWERING, /* the application has the request */
    N_STATES,
};

struct server {
    struct loop *loop;
    struct server_limits limits;
    const struct server_handler *handler;
    void *arg;
    struct list exchanges[N_STATES];
    int n_exchanges;
    struct listener *listeners[8];
    int n_listeners;
    struct deadline_class head_deadline, body_deadline, idle_deadline, stall_deadline;
    struct buf head; /* the answer's head that waits for its first piece; one at a time */
    const struct exchange *head_owner;
    void (*on_idle)(void *arg);
    void *on_idle_arg;
    bool is_draining;
    struct buf spare[SPARE_BODIES]; /* memory for bodies, kept from one request to the next */
    int n_spare;
    struct shelf shelf; /* for heads */
    int64_t held; /* bytes of memory of bodies and of what was sent ahead; the application's too */
};

struct exchange {
    struct list in_state;
    struct server *server;
    struct conn *conn;
    struct http_reader reader;
    struct deadline deadline;
    struct buf body;
    struct buf ahead; /* bytes of later requests */
    void *user;
    int64_t start_ns;
    uint64_t sent_before; /* what the client had taken when we last looked */
    enum state state;
    bool is_parsing, is_dead; /* dead: freed when the parse loop on the stack returns */
    bool has_answered, is_head_request, is_http10, wants_close, is_chunked, is_ahead_paused;
    bool is_finished, ends_with_connection; /* the latter: the answer has no other end */
    char peer[64];                          /* filled when somebody asks */
};

static void parse(struct exchange *x, struct str in);

static void set_state(struct exchange *x, enum state next) {
    list_remove(&x->in_state);
    x->state = next;
    list_append(&x->server->exchanges[next], &x->in_state);
}

/* --- memory of requests --- */

/* Frees what counted as held. */
static void drop_bytes(struct server *s, struct buf *b) {
    s->held -= (int64_t)b->cap;
    buf_destroy(b);
}

/* Room for n more bytes of b, counted as held; NULL past b's ceiling. */
static char *hold_bytes(struct server *s, struct buf *b, size_t n, size_t slack) {
    int64_t before = (int64_t)b->cap;
    char *at = buf_reserve_slack(b, n, slack);
    s->held += (int64_t)b->cap - before;
    return at;
}

static bool has_room(const struct server *s, size_t n, bool is_small) {
    int64_t limit = s->limits.bodies_bytes;
    return s->held + (int64_t)n <= limit - (is_small ? 0 : limit / SMALL_BODIES_SHARE);
}

/* --- the end of a connection --- */

/* Takes the exchange out of the server; `how` ends the connection. */
static void release(struct exchange *x, void (*how)(struct conn *c)) {
    struct server *s = x->server;
    assert(!x->is_dead);
    x->is_dead = true;
    deadline_clear(&x->deadline);
    list_remove(&x->in_state);
    s->n_exchanges--;
    if (s->head_owner == x)
        s->head_owner = NULL;
    how(x->conn);
    http_reader_destroy(&x->reader);
    drop_bytes(s, &x->body);
    drop_bytes(s, &x->ahead);
    if (!x->is_parsing)
        free(x);
    if (s->n_exchanges == 0 && s->on_idle) {
        void (*fn)(void *) = s->on_idle;
        s->on_idle = NULL;
        fn(s->on_idle_arg);
    }
}

/* The application hears that its exchange is over, unless it ended it itself. */
static void tell_gone(struct exchange *x) {
    if (x->is_finished || (x->state != STATE_ANSWERING && !x->user))
        return;
    void *user = x->user;
    x->is_finished = true;
    x->user = NULL;
    x->server->handler->on_gone(user, x);
}

/* The client is gone, or must go, while the application may hold the exchange. */
static void lose(struct exchange *x) {
    tell_gone(x);
    conn_push(x->conn); /* answers that were complete before the client's end was seen */
    release(x, conn_close);
}

void exchange_abort(struct exchange *x) {
    conn_push(x->conn); /* what there was of the answer */
    release(x, x->ends_with_connection ? conn_reset : conn_close);
}

/* --- answers --- */

struct buf *exchange_begin(struct exchange *x, int status, int64_t length) {
    struct server *s = x->server;
    assert(!s->head_owner && !x->has_answered);
    s->head_owner = x;
    x->has_answered = true;
    buf_clear(&s->head);
    http_put_status_line(&s->head, status);
    if (x->state != STATE_ANSWERING || s->is_draining)
        x->wants_close = true; /* the body was not read, or we are leaving */
    x->is_chunked = x->ends_with_connection = false;
    if (length >= 0) {
        http_put_field_i64(&s->head, STR("Content-Length"), length);
    } else if (length == LENGTH_CHUNKED) {
        if (x->is_http10)
            x->wants_close = x->ends_with_connection = true;
        else
            x->is_chunked = true;
        if (x->is_chunked)
            buf_lit(&s->head, "Transfer-Encoding: chunked\r\n");
    }
    if (x->wants_close)
        buf_lit(&s->head, "Connection: close\r\n");
    else if (x->is_http10)
        buf_lit(&s->head, "Connection: keep-alive\r\n");
    return &s->head;
}

bool exchange_take_back(struct exchange *x) {
    if (x->server->head_owner != x)
        return false;
    x->server->head_owner = NULL;
    x->has_answered = x->ends_with_connection = false;
    return true;
}

/* Turns to what was sent ahead. */
static void go_on(struct exchange *x) {
    struct server *s = x->server; /* the exchange may be gone in the end */
    if (x->is_ahead_paused) {
        x->is_ahead_paused = false;
        conn_resume(x->conn);
    }
    if (x->ahead.len && !x->is_parsing) {
        struct buf ahead = x->ahead;
        buf_init(&x->ahead, SERVER_AHEAD_MAX + 65536);
        parse(x, buf_view(&ahead));
        drop_bytes(s, &ahead);
    }
}

/* The answer is complete: on to the next request, or the end. */
static void finish(struct exchange *x) {
    struct server *s = x->server;
    x->is_finished = true;
    x->user = NULL;
    deadline_clear(&x->deadline);
    if (x->wants_close || s->is_draining) {
        release(x, conn_finish);
        return;
    }
    assert(x->state == STATE_ANSWERING);
    http_reader_drop_head(&x->reader);
    server_recycle(s, &x->body);
    buf_init(&x->body, s->limits.body_bytes);
    set_state(x, STATE_IDLE);
    /* The next request may be refused before its head is known. */
    x->has_answered = x->is_head_request = x->is_http10 = false;
    deadline_set(&s->idle_deadline, s->loop, &x->deadline, x);
    go_on(x);
}

/* Begins to watch whether a slow client goes on reading. */
static void watch_reader(struct exchange *x) {
    struct server *s = x->server;
    x->sent_before = conn_sent(x->conn);
    deadline_set(&s->stall_deadline, s->loop, &x->deadline, x);
}

size_t exchange_send(struct exchange *x, struct str piece, bool is_last) {
    struct server *s = x->server;
    struct iovec iov[5];
    int n = 0;
    char chunk_line[18];
    if (s->head_owner == x) {
        buf_lit(&s->head, "\r\n");
        assert(!s->head.overflowed);
        iov[n++] = (struct iovec){s->head.p, s->head.len};
        s->head_owner = NULL;
    }
    if (piece.n && !x->is_head_request) {
        if (x->is_chunked)
            iov[n++] = (struct iovec){chunk_line, http_chunk_line(chunk_line, piece.n)};
        iov[n++] = (struct iovec){(char *)(uintptr_t)piece.p, piece.n};
        if (x->is_chunked && !is_last)
            iov[n++] = (struct iovec){(char *)(uintptr_t) "\r\n", 2};
    }
    if (is_last && x->is_chunked && !x->is_head_request)
        iov[n++] = piece.n ? (struct iovec){(char *)(uintptr_t) "\r\n0\r\n\r\n", 7}
                           : (struct iovec){(char *)(uintptr_t) "0\r\n\r\n", 5};
    size_t queued = n ? conn_write(x->conn, iov, n) : conn_queued(x->conn);
    if (is_last) {
        finish(x);
        return 0;
    }
    if (queued && x->state == STATE_ANSWERING && !list_is_linked(&x->deadline.link))
        watch_reader(x);
    return queued;
}

void exchange_flush(struct exchange *x) {
    (void)exchange_send(x, STR(""), false);
    conn_push(x->conn);
}

void exchange_reply(struct exchange *x, int status, struct str content_type, struct str body) {
    struct buf *head = exchange_begin(x, status, status == 204 ? LENGTH_NONE : (int64_t)body.n);
    if (content_type.n)
        http_put_field(head, STR("Content-Type"), content_type);
    (void)exchange_send(x, body, true);
}

void exchange_reply_error(struct exchange *x, enum status st, const struct problem *why) {
    struct buf body;
    buf_init(&body, 4096);
    json_put_error(&body, st, why);
    exchange_reply(x, status_info(st)->http, STR("application/json"), buf_view(&body));
    buf_destroy(&body);
}

/* --- requests --- */

/* Refuses what the application has not seen, or not all of; the connection ends with it. */
static void refuse(struct exchange *x, enum status st, const char *text) {
    const struct server *s = x->server;
    struct problem why = {0};
    if (text)
        (void)problem_set(&why, st, STR(""), "%s (%s)", status_info(st)->text.p, text);
    x->wants_close = true;
    if (s->handler->on_refused && s->handler->on_refused(s->arg, x, st, text ? &why : NULL))
        return;
    tell_gone(x);
    exchange_reply_error(x, st, text ? &why : NULL);
}

/* Empty memory of an earlier body, if there is some. */
static void take_spare(struct server *s, struct buf *body) {
    if (s->n_spare && !body->p) {
        *body = s->spare[--s->n_spare];
        s->held += (int64_t)body->cap;
        body->ceiling = s->limits.body_bytes;
    }
}

void server_recycle(struct server *s, struct buf *body) {
    s->held -= (int64_t)body->cap;
    if (body->p && s->n_spare < SPARE_BODIES && body->cap <= SPARE_BODY_MAX) {
        buf_clear(body);
        s->spare[s->n_spare++] = *body;
        *body = (struct buf){0};
    } else {
        buf_destroy(body);
    }
}

static void on_head(struct exchange *x) {
    struct server *s = x->server;
    const struct http_head *h = &x->reader.head;
    x->is_http10 = h->minor == 0;
    x->wants_close = !h->keep_alive;
    x->is_head_request = str_eq(h->method, STR("HEAD"));
    x->has_answered = x->is_finished = false;
    if (h->has_other_expectation) {
        refuse(x, ST_EXPECTATION_FAILED, NULL);
        return;
    }
    if (h->content_length > (int64_t)s->limits.body_bytes) {
        refuse(x, ST_TOO_LARGE, NULL);
        return;
    }
    bool is_small = h->content_length >= 0 && h->content_length <= SMALL_BODY;
    size_t at_once = size_min((size_t)i64_max(0, h->content_length), 65536);
    if ((h->content_length > 0 || h->is_chunked) && !has_room(s, at_once, is_small)) {
        refuse(x, ST_NO_ROOM, NULL);
        return;
    }
    deadline_set(&s->body_deadline, s->loop, &x->deadline, x);
    if (s->handler->on_head)
        s->handler->on_head(s->arg, x);
    if (x->is_dead || x->has_answered)
        return;
    if (h->expects_continue && !x->is_http10 && (h->content_length > 0 || h->is_chunked)) {
        struct iovec go_on = {(char *)(uintptr_t) "HTTP/1.1 100 Continue\r\n\r\n", 25};
        conn_write(x->conn, &go_on, 1);
    }
    /* Known lengths get their buffer at once, but not more than has a chance to come soon: the rest
     * grows as it arrives, so a claim of 32 MiB alone costs nothing. */
    take_spare(s, &x->body);
    if (h->content_length > 0)
        (void)hold_bytes(s, &x->body, at_once, CONN_SLACK);
}

static void on_body(struct exchange *x, struct str piece) {
    struct server *s = x->server;
    size_t len = x->body.len + piece.n;
    if (len + CONN_SLACK > x->body.cap && !has_room(s, piece.n, len <= SMALL_BODY)) {
        refuse(x, ST_NO_ROOM, NULL);
        return;
    }
    char *at = hold_bytes(s, &x->body, piece.n, CONN_SLACK);
    if (!at) {
        refuse(x, ST_TOO_LARGE, NULL);
        return;
    }
    memcpy(at, piece.p, piece.n);
    buf_commit(&x->body, piece.n);
}

static void on_complete(struct exchange *x) {
    set_state(x, STATE_ANSWERING);
    deadline_clear(&x->deadline);
    x->server->handler->on_request(x->server->arg, x);
}

/* Keeps what belongs to later requests; stops reading when that is too much. */
static void keep_ahead(struct exchange *x, struct str in) {
    struct server *s = x->server;
    if (in.n && hold_bytes(s, &x->ahead, in.n, 0))
        buf_put(&x->ahead, in.p, in.n);
    bool is_too_much = x->ahead.len > SERVER_AHEAD_MAX || (x->ahead.len && !has_room(s, 0, true));
    if (is_too_much && !x->is_ahead_paused) {
        x->is_ahead_paused = true;
        conn_hold(x->conn);
    }
}

static void parse(struct exchange *x, struct str in) {
    struct server *s = x->server;
    x->is_parsing = true;
    while (!x->is_dead) {
        /* What waits already keeps its place in front of what has come now. */
        bool must_wait =
            x->state == STATE_ANSWERING ||
            (x->state == STATE_IDLE && (x->ahead.len > 0 || conn_queued(x->conn) > UNREAD_MAX));
        if (must_wait) {
            keep_ahead(x, in);
            break;
        }
        if (in.n == 0)
            break;
        if (x->state == STATE_IDLE) {
            set_state(x, STATE_READING);
            x->start_ns = os_now_ns();
            deadline_set(&s->head_deadline, s->loop, &x->deadline, x);
        }
        struct str body;
        switch (http_read(&x->reader, &in, &body)) {
        case HTTP_EV_MORE:
            break;
        case HTTP_EV_HEAD:
            on_head(x);
            /* A request without body is complete at once; its end needs no more input. */
            if (!x->is_dead && in.n == 0 && !x->has_answered &&
                http_read(&x->reader, &in, &body) == HTTP_EV_END)
                on_complete(x);
            break;
        case HTTP_EV_BODY:
            on_body(x, body);
            if (!x->is_dead && in.n == 0 && http_read(&x->reader, &in, &body) == HTTP_EV_END)
                on_complete(x);
            break;
        case HTTP_EV_END:
            on_complete(x);
            break;
        case HTTP_EV_ERROR:
            refuse(x, x->reader.error, x->reader.error_text);
            break;
        }
    }
    x->is_parsing = false;
    if (x->is_dead)
        free(x);
}

/* --- what the connection says --- */

static void on_open(void *owner) {
    struct exchange *x = owner;
    deadline_set(&x->server->idle_deadline, x->server->loop, &x->deadline, x);
}

static void on_data(void *owner, struct str bytes) {
    parse(owner, bytes);
}

static void on_drained(void *owner) {
    struct exchange *x = owner;
    if (x->state == STATE_IDLE) {
        go_on(x);
        return;
    }
    if (x->state != STATE_ANSWERING)
        return;
    deadline_clear(&x->deadline);
    x->server->handler->on_drained(x->user, x);
}

static void on_end(void *owner, enum status st, struct str why) {
    (void)why;
    struct exchange *x = owner;
    if (st == ST_OK && x->state == STATE_READING && !http_reader_is_idle(&x->reader)) {
        tell_gone(
            x); /* whoever closes in the middle has left; the answer is for one that half-closed */
        refuse(x, ST_BAD_HTTP, "the request ended early");
        return;
    }
    lose(x);
}

static const struct conn_handlers conn_handlers = {on_open, on_data, on_drained, on_end};

static void on_accept(void *arg, struct conn *c) {
    struct server *s = arg;
    if (s->n_exchanges >= s->limits.n_connections || s->is_draining) {
        if (s->handler->on_refused)
            (void)s->handler->on_refused(s->arg, NULL,
                                         s->is_draining ? ST_SHUTTING_DOWN : ST_OVERLOADED, NULL);
        conn_close(c);
        return;
    }
    struct exchange *x = xcalloc(1, sizeof *x);
    x->server = s;
    x->conn = c;
    http_reader_init(&x->reader, true, s->limits.head_bytes);
    x->reader.shelf = &s->shelf;
    buf_init(&x->body, s->limits.body_bytes);
    buf_init(&x->ahead, SERVER_AHEAD_MAX + 65536);
    s->n_exchanges++;
    set_state(x, STATE_IDLE);
    /* A handshake that does not end is no idle client: it has as long as a head. */
    deadline_set(conn_is_open(c) ? &s->idle_deadline : &s->head_deadline, s->loop, &x->deadline, x);
    conn_start(c, &conn_handlers, x);
}

static void on_too_slow(void *arg) {
    struct exchange *x = arg;
    refuse(x, ST_REQUEST_TIMEOUT, NULL);
}

static void on_idle_too_long(void *arg) {
    lose(arg);
}

/* The client has bytes waiting: it has taken some since we looked, or it is dropped. */
static void on_stall(void *arg) {
    struct exchange *x = arg;
    if (conn_sent(x->conn) == x->sent_before)
        lose(x);
    else
        watch_reader(x);
}

/* --- the server --- */

static int64_t or_default(int64_t value, int64_t otherwise) {
    return value ? value : otherwise;
}

struct server *server_new(struct loop *l, const struct server_limits *limits,
                          const struct server_handler *handler, void *arg) {
    struct server *s = xcalloc(1, sizeof *s);
    s->loop = l;
    s->handler = handler;
    s->arg = arg;
    s->limits = (struct server_limits){
        .head_bytes = (size_t)or_default((int64_t)limits->head_bytes, 32 << 10),
        .body_bytes = (size_t)or_default((int64_t)limits->body_bytes, 32 << 20),
        .head_ms = or_default(limits->head_ms, 10000),
        .body_ms = or_default(limits->body_ms, 120000),
        .idle_ms = or_default(limits->idle_ms, 75000),
        .stall_ms = or_default(limits->stall_ms, 60000),
        .n_connections = (int)or_default(limits->n_connections, 20000),
        .bodies_bytes = or_default(limits->bodies_bytes, INT64_MAX),
    };
    for (int i = 0; i < N_STATES; i++)
        list_init(&s->exchanges[i]);
    buf_init(&s->head, HEAD_SCRATCH);
    deadline_class_init(&s->head_deadline, l, s->limits.head_ms, on_too_slow);
    deadline_class_init(&s->body_deadline, l, s->limits.body_ms, on_too_slow);
    deadline_class_init(&s->idle_deadline, l, s->limits.idle_ms, on_idle_too_long);
    deadline_class_init(&s->stall_deadline, l, s->limits.stall_ms, on_stall);
    return s;
}

enum status server_listen(struct server *s, const char *host, int port, struct tls_context *tls,
                          int *bound_port, struct problem *why) {
    assert(s->n_listeners < (int)ARRAY_LEN(s->listeners));
    struct listener *l;
    TRY(listener_open(s->loop, host, port, tls, on_accept, s, &l, why));
    s->listeners[s->n_listeners++] = l;
    *bound_port = listener_port(l);
    return ST_OK;
}

static void stop_listening(struct server *s) {
    for (int i = 0; i < s->n_listeners; i++)
        listener_close(s->listeners[i]);
    s->n_listeners = 0;
}

void server_drain(struct server *s, void (*on_idle)(void *arg), void *arg) {
    stop_listening(s);
    s->is_draining = true;
    LIST_EACH (&s->exchanges[STATE_IDLE], it)
        release(CONTAINER_OF(it, struct exchange, in_state), conn_finish);
    if (s->n_exchanges == 0) {
        on_idle(arg);
        return;
    }
    s->on_idle = on_idle;
    s->on_idle_arg = arg;
}

void server_free(struct server *s) {
    if (!s)
        return;
    stop_listening(s);
    s->on_idle = NULL;
    for (int i = 0; i < N_STATES; i++) {
        while (!list_is_empty(&s->exchanges[i]))
            lose(CONTAINER_OF(s->exchanges[i].next, struct exchange, in_state));
    }
    deadline_class_close(&s->head_deadline);
    deadline_class_close(&s->body_deadline);
    deadline_class_close(&s->idle_deadline);
    deadline_class_close(&s->stall_deadline);
    buf_destroy(&s->head);
    for (int i = 0; i < s->n_spare; i++)
        buf_destroy(&s->spare[i]);
    shelf_destroy(&s->shelf);
    free(s);
}

int server_connections(const struct server *s) {
    return s->n_exchanges;
}

int64_t server_bodies_bytes(const struct server *s) {
    return s->held;
}

/* --- looking at an exchange --- */

const struct http_head *exchange_head(const struct exchange *x) {
    return &x->reader.head;
}

struct str exchange_body(const struct exchange *x) {
    return buf_view(&x->body);
}

struct buf exchange_take_body(struct exchange *x) {
    struct buf b = x->body;
    buf_init(&x->body, x->server->limits.body_bytes);
    return b;
}

void exchange_drop_request(struct exchange *x) {
    http_reader_drop_head(&x->reader);
    drop_bytes(x->server, &x->body);
    buf_init(&x->body, x->server->limits.body_bytes);
}

void exchange_set_user(struct exchange *x, void *user) {
    x->user = user;
}

void *exchange_user(const struct exchange *x) {
    return x->user;
}

struct server *exchange_server(const struct exchange *x) {
    return x->server;
}

int64_t exchange_start_ns(const struct exchange *x) {
    return x->start_ns;
}

const char *exchange_peer(struct exchange *x) {
    if (!x->peer[0])
        conn_peer(x->conn, x->peer);
    return x->peer;
}
