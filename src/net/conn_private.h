/* conn_private.h - what the files about connections share: a connection's inside. */
#ifndef NET_CONN_PRIVATE_H
#define NET_CONN_PRIVATE_H

#include "base/buf.h"
#include "net/conn.h"
#include "net/net_private.h"
#include "net/tls_private.h"

/*
 * Life: connecting -> open -> (finishing) -> closing -> freed in the close callback. Nothing is
 * freed under a caller's feet: conn_close only marks, the loop frees.
 */
struct conn {
    uv_tcp_t tcp;
    struct loop *loop;
    const struct conn_handlers *handlers; /* NULL once the owner has let go */
    void *owner;
    struct tls_context *tls;     /* a reference; NULL for plain TCP */
    struct tls_session *session; /* owned; NULL until there is one */
    struct buf queue;            /* bytes to send after those in flight */
    char *in_flight;             /* owned by the pending write; NULL when there is none */
    size_t n_in_flight;
    int posted;         /* its entry in the outbox, counted from 1; 0: none */
    uint64_t n_written; /* bytes handed to us, sent or not */
    uv_write_t *write;  /* allocated with the first byte that has to wait */
    struct conn_opening *opening;
    struct conn_finishing *finishing; /* owned; NULL until conn_finish */
    bool is_open, is_closing, is_finishing, is_shut, is_paused, is_held, has_queued;
    bool is_switching; /* from one address to the next: its handle is being closed for that */
};

/* What only a connection that is being made needs: its addresses, tried in order. */
struct conn_opening {
    uv_connect_t connect;
    struct name_wait wait;
    struct name_addresses to;
    int at, error;            /* the address in hand; why the one before it failed */
    struct loop_timer *timer; /* owned; of the address in hand, NULL for the last one */
    char *host;               /* owned */
    int port;
    bool is_public_only; /* addresses of private networks are passed over */
};

/* What only a connection needs whose owner has let go while bytes were left to send. */
struct conn_finishing {
    struct list in_loop;
    struct conn *conn;
    struct loop_timer *tick;
    size_t left;      /* bytes to send at the last tick */
    int64_t until_ms; /* it is closed then, unless there is progress */
};

/* A connection without a socket. */
struct conn *conn_new(struct loop *l, struct tls_context *tls);

/* Its socket is connected, to a server of this name: from here on bytes flow. */
void conn_connected(struct conn *c, const char *server_name);

/* Its socket came from a listener: conn_start may follow. */
void conn_accepted(struct conn *c);

/* The connection is over, by the peer's will or by accident; the owner hears why and closes. */
void conn_end(struct conn *c, enum status st, struct str why);

/* The handle is closed: frees the connection. */
void conn_free(uv_handle_t *h);

/* --- connect.c --- */

/* No address is tried any more, and no owner hears of one. */
void opening_stop(struct conn *c);
/* Nothing is under way for it any more: its handle is closed or connected. Fine when there is none. */
void opening_free(struct conn *c);

#endif
