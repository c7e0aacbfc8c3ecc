/* connect.c - connections that are being made: the addresses behind a name are tried in order. */
#include "net/address.h"
#include "net/conn_private.h"

#include <stdlib.h>

enum {
    ATTEMPT_MS = 1100, /* for an address, as long as there is another */
    NOT_PUBLIC = 1,    /* beside libuv's errors, which are negative */
};

void opening_stop(struct conn *c) {
    if (!c->opening)
        return;
    list_remove(&c->opening->wait.link);
    loop_timer_close(c->opening->timer);
    c->opening->timer = NULL;
}

void opening_free(struct conn *c) {
    struct conn_opening *o = c->opening;
    if (!o)
        return;
    opening_stop(c);
    c->opening = NULL;
    free(o->host);
    free(o);
}

static void try_address(struct conn *c);

/* The handle of the address that failed is gone. */
static void on_switched(uv_handle_t *h) {
    struct conn *c = h->data;
    c->is_switching = false;
    if (c->is_closing) {
        conn_free(h);
        return;
    }
    int rc = uv_tcp_init(&c->loop->uv, &c->tcp);
    assert(rc == 0);
    c->tcp.data = c;
    try_address(c);
}

/* The address in hand does not answer: on to the next, or the end. */
static void try_next_address(struct conn *c, int error) {
    struct conn_opening *o = c->opening;
    loop_timer_close(o->timer);
    o->timer = NULL;
    if (++o->at >= o->to.n) {
        if (error == NOT_PUBLIC)
            conn_end(c, ST_FORBIDDEN, STR("the address is not a public one"));
        else
            conn_end(c, ST_UPSTREAM_FAILED, str_of(uv_strerror(error)));
        return;
    }
    c->is_switching = true;
    uv_close((uv_handle_t *)&c->tcp, on_switched);
}

static void on_attempt_over(void *arg) {
    struct conn *c = arg;
    try_next_address(c, c->opening->error);
}

static void on_connected(uv_connect_t *r, int status) {
    struct conn *c = r->data;
    struct conn_opening *o = c->opening;
    if (c->is_closing || c->is_switching)
        return; /* given up: the handle is on its way */
    if (status < 0) {
        try_next_address(c, status);
        return;
    }
    if (o->at > 0)
        names_prefer(c->loop, o->host, &o->to.at[o->at]);
    char *host = o->host;
    o->host = NULL;
    opening_free(c);
    conn_connected(c, host);
    free(host);
}

/* Begins with the address in hand. The last one has as long as the owner waits; the others have
 * ATTEMPT_MS, in which the first repetition of a lost packet would have come (RFC 6298, section 2). */
static void try_address(struct conn *c) {
    struct conn_opening *o = c->opening;
    struct sockaddr_in6 a = o->to.at[o->at];
    a.sin6_port = htons((uint16_t)o->port); /* where it stands in an IPv4 address too */
    int rc = NOT_PUBLIC;
    if (!o->is_public_only || address_is_public(&a))
        rc = uv_tcp_connect(&o->connect, &c->tcp, (struct sockaddr *)&a, on_connected);
    o->error = rc != 0 ? rc : UV_ETIMEDOUT;
    if (rc != 0) /* told later, as all failures are */
        o->timer = loop_timer_new(c->loop, 0, 0, on_attempt_over, c);
    else if (o->at + 1 < o->to.n)
        o->timer = loop_timer_new(c->loop, ATTEMPT_MS, 0, on_attempt_over, c);
}

_Static_assert(offsetof(struct sockaddr_in, sin_port) == offsetof(struct sockaddr_in6, sin6_port),
               "try_address sets one for the other");

static void on_addresses(void *arg, const struct name_addresses *found, int error) {
    struct conn *c = arg;
    if (error) {
        conn_end(c, ST_UPSTREAM_FAILED, str_of(uv_strerror(error)));
        return;
    }
    c->opening->to = *found;
    try_address(c);
}

static struct conn *begin(struct loop *l, const char *host, int port, struct tls_context *tls,
                          bool is_public_only, const struct conn_handlers *handlers, void *owner) {
    struct conn *c = conn_new(l, tls);
    c->handlers = handlers;
    c->owner = owner;
    struct conn_opening *o = xcalloc(1, sizeof *o);
    o->host = str_dup(str_of(host));
    o->port = port;
    o->is_public_only = is_public_only;
    o->connect.data = c;
    o->wait = (struct name_wait){.fn = on_addresses, .arg = c};
    c->opening = o;
    const struct name_addresses *known = NULL;
    if (uv_ip4_addr(host, port, (struct sockaddr_in *)&o->to.at[0]) == 0 ||
        uv_ip6_addr(host, port, &o->to.at[0]) == 0)
        o->to.n = 1;
    else if ((known = names_find(l, host, &o->wait)) != NULL)
        o->to = *known;
    if (o->to.n)
        try_address(c);
    return c;
}

struct conn *conn_connect(struct loop *l, const char *host, int port, struct tls_context *tls,
                          const struct conn_handlers *handlers, void *owner) {
    return begin(l, host, port, tls, false, handlers, owner);
}

struct conn *conn_connect_public(struct loop *l, const char *host, int port,
                                 struct tls_context *tls, const struct conn_handlers *handlers,
                                 void *owner) {
    return begin(l, host, port, tls, true, handlers, owner);
}
