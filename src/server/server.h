/* server.h - connections that speak HTTP to clients: requests in, answers out, in order. */
#ifndef SERVER_SERVER_H
#define SERVER_SERVER_H

#include "http/message.h"
#include "net/conn.h"

/*
 * A server belongs to one loop. Each connection has one exchange at a time: a request and its
 * answer. Requests that are sent ahead (pipelining) wait; of what they bring at most
 * SERVER_AHEAD_MAX bytes are read, then the connection is left alone until its turn. They also wait
 * while the client has too much of earlier answers unread.
 *
 * A client that closes its sending side has left: browsers, SDKs and curl do so only when they give
 * up, and a cancelled call must not go on costing. So a half-closed client gets no answer.
 */
struct server;
struct exchange;

enum { SERVER_AHEAD_MAX = 65536 };

/* What the application does. `user` is what exchange_set_user gave. */
struct server_handler {
    /* The head is complete, the body is not there yet. May answer at once (then the body is not
     * read). May be NULL. */
    void (*on_head)(void *arg, struct exchange *x);
    /* The whole request is there. Answers now or later. */
    void (*on_request)(void *arg, struct exchange *x);
    /* The exchange ended before the application finished it: the client left, or its request was
     * refused after on_head. Comes when on_request had been called or a user is set. The exchange
     * must not be touched any more. */
    void (*on_gone)(void *user, struct exchange *x);
    /* Everything queued towards the client has been sent (see exchange_send). */
    void (*on_drained)(void *user, struct exchange *x);
    /* A request is refused before the application has all of it (bad HTTP, too large, too slow): true
     * when the application answers it here, false to leave that to the server; on_gone follows then,
     * if a user is set. `x` is NULL when a connection is turned away without an answer. May be NULL. */
    bool (*on_refused)(void *arg, struct exchange *x, enum status st, const struct problem *why);
};

/* Limits; 0 takes the default in brackets. */
struct server_limits {
    size_t head_bytes; /* [32 KiB] */
    size_t body_bytes; /* [32 MiB] */
    int64_t head_ms;   /* whole head, from its first byte; with TLS the handshake likewise [10 s] */
    int64_t body_ms;   /* whole body, from the end of the head [120 s] */
    int64_t idle_ms;   /* between requests [75 s, as nginx's keepalive_timeout] */
    int64_t stall_ms;  /* an answer of which the client takes nothing [60 s] */
    int n_connections; /* at once [20,000] */
    /* Memory for bodies, and for bytes of pipelined requests, over all connections, from their first byte
     * until exchange_drop_request or server_recycle. Its last eighth is for bodies of up to 64 KiB. A body
     * that finds no room is refused with ST_NO_ROOM; none waits for room, since those that hold it may
     * wait too. Exceeded by one growing body at most [no limit]. */
    int64_t bodies_bytes;
};

struct server *server_new(struct loop *l, const struct server_limits *limits,
                          const struct server_handler *handler, void *arg);

/* A listener of this server; several are fine. */
enum status server_listen(struct server *s, const char *host, int port, struct tls_context *tls,
                          int *bound_port, struct problem *why) MUST_USE;

/*
 * Stops accepting, closes idle connections, and lets exchanges in hand finish, each with
 * `Connection: close`. Calls `on_idle` once no connection is left.
 */
void server_drain(struct server *s, void (*on_idle)(void *arg), void *arg);

/* Closes everything at once; exchanges in hand hear on_gone. */
void server_free(struct server *s);

int server_connections(const struct server *s);

/* What counts against bodies_bytes now. */
int64_t server_bodies_bytes(const struct server *s);

/* --- an exchange --- */

const struct http_head *exchange_head(const struct exchange *x);

/* The request's body with CONN_SLACK readable bytes behind it; empty in on_head. */
struct str exchange_body(const struct exchange *x);

/* Takes the body out of the exchange: the caller owns the buffer, until he gives it to server_recycle. */
struct buf exchange_take_body(struct exchange *x);

/* Gives the memory of a body back that exchange_take_body gave, for the next request to use. An empty one
 * is fine. */
void server_recycle(struct server *s, struct buf *body);

/* Lets go of the request's head and body, once they are of no more use. */
void exchange_drop_request(struct exchange *x);

void exchange_set_user(struct exchange *x, void *user);
void *exchange_user(const struct exchange *x);
struct server *exchange_server(const struct exchange *x);

/* When the first byte of the request came, os_now_ns. */
int64_t exchange_start_ns(const struct exchange *x);
/* The client's address; lives as long as its connection. */
const char *exchange_peer(struct exchange *x);

enum { LENGTH_CHUNKED = -1, LENGTH_NONE = -2 };

/*
 * Begins the answer: its status line is in the buffer that is returned, to which the caller adds
 * fields by http_put_field. `length` is the body's, or LENGTH_CHUNKED when it is not known, or
 * LENGTH_NONE for answers that have none (204, 304). Framing, Connection and Date-like fields are
 * the server's business. exchange_send or exchange_flush follows in the same turn of the loop.
 */
struct buf *exchange_begin(struct exchange *x, int status, int64_t length);

/*
 * Sends a piece of the body (with the head, when that is still waiting). `is_last` finishes the
 * exchange: `x` may be dead after that. The bytes that had to be queued for a slow client; the
 * caller stops its source when they are many and goes on at on_drained.
 */
size_t exchange_send(struct exchange *x, struct str piece, bool is_last);

/* Takes back an answer that has begun and of which nothing went out yet: then true, and exchange_begin
 * may follow anew. */
bool exchange_take_back(struct exchange *x) MUST_USE;

/* Sends the head, if it has not gone out yet, and all that was sent before, without waiting for the end of the
 * loop's turn. */
void exchange_flush(struct exchange *x);

/* The whole answer in one step; `x` may be dead after this. */
void exchange_reply(struct exchange *x, int status, struct str content_type, struct str body);

/* An error in the shape that OpenAI's clients read:
 * {"error":{"code","message","type","param"}}; `why` may be NULL. */
void exchange_reply_error(struct exchange *x, enum status st, const struct problem *why);

/* Ends the connection without a proper end of the answer, so that the client sees that it is cut: with a
 * reset, where the end of the connection would be taken for that of the answer. */
void exchange_abort(struct exchange *x);

#endif
