/* client.h - HTTP requests to backends over pooled connections. */
#ifndef CLIENT_CLIENT_H
#define CLIENT_CLIENT_H

#include "http/message.h"
#include "net/conn.h"

/* Where a pool connects to, and how long it waits. Copied by client_pool_new. */
struct client_target {
    const char *host;
    int port;
    struct tls_context *tls; /* NULL for http; a reference is taken */
    int max_connections;     /* at once, idle ones included */
    int64_t connect_ms;      /* until the connection (with TLS) stands */
    int64_t first_byte_ms;   /* from the request to the end of the answer's head, 1xx not counted */
    int64_t stall_ms;        /* between two pieces of the answer */
    int64_t idle_ms;         /* an unused connection is kept this long */
    bool is_public_only;     /* a stranger has named the host: conn_connect_public */
    struct shelf *shelf;     /* for heads; borrowed until the pool is gone, may be NULL */
};

/* The connections of one loop to one backend. */
struct client_pool;

/* One request under way. Dead after on_body with is_last, after on_fail, and after client_cancel. */
struct client_request;

struct client_handlers {
    /* The answer's head; its views die with the call. */
    void (*on_head)(void *user, const struct http_head *head);
    /* A piece of the body, with CONN_SLACK readable bytes behind it, possibly empty at the end.
     * is_last: the answer is complete. */
    void (*on_body)(void *user, struct str piece, bool is_last);
    /* The head has been handed over and no piece of the body came with it: time to flush. */
    void (*on_pause)(void *user);
    /*
     * No (whole) answer will come. ST_UPSTREAM_FAILED: refused, reset, or closed too early;
     * ST_UPSTREAM_TIMEOUT; ST_UPSTREAM_GARBAGE: not HTTP; ST_FORBIDDEN: no address of the host may be
     * connected to. `why` is for the log.
     */
    void (*on_fail)(void *user, enum status st, struct str why);
};

struct client_pool *client_pool_new(struct loop *l, const struct client_target *target);

/* Closes connections without a request, or with one that was discarded, at once, and the pool with its
 * last request. */
void client_pool_free(struct client_pool *p);

/*
 * Sends a request: `iov` holds head and body. The bytes stay the caller's and must live until
 * on_head, on_fail or client_cancel. NULL when all connections of the pool are busy. Handlers are
 * never called during this call.
 *
 * Servers close idle connections when they like (RFC 9112, section 9.3.1). One that has ended is not
 * used; one that ends while the request is on its way is replaced by a new one, once and unseen, as
 * long as the kernel knows that no byte of the request had reached the server when it closed. A request
 * that the server may have read fails: sending it again is not for this room to decide.
 */
struct client_request *client_send(struct client_pool *p, const struct iovec *iov, int n,
                                   const struct client_handlers *handlers, void *user) MUST_USE;

/* Gives up: the connection is closed, which tells the backend to stop. No handler is called. */
void client_cancel(struct client_request *r);

/* Nobody wants the rest of the answer, but its end is near: it is read and thrown away, so that the
 * connection can serve again. When more than 64 KiB follow, or the end does not come before the time
 * for the next piece is over, the connection is closed. No handler is called. */
void client_discard(struct client_request *r);

/* The request has gone out: the backend may be working on it. */
bool client_has_sent(const struct client_request *r);

/* Back-pressure towards the backend. */
void client_pause(struct client_request *r);
void client_resume(struct client_request *r);

/* For the log: whether the request runs over a kept connection. */
bool client_is_reused(const struct client_request *r);

int client_pool_connections(const struct client_pool *p);

#endif
