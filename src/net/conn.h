/* conn.h - one TCP connection, with TLS or without: bytes in, bytes out, one owner. */
#ifndef NET_CONN_H
#define NET_CONN_H

#include "base/status.h"
#include "net/loop.h"
#include "net/tls.h"

#include <sys/uio.h>

struct conn;

/* What the owner hears. After conn_close or conn_finish it hears nothing more. */
struct conn_handlers {
    /* The connection stands (with TLS: the handshake is done, the peer verified). */
    void (*on_open)(void *owner);
    /* Bytes, with CONN_SLACK readable bytes behind them; gone after the call. */
    void (*on_data)(void *owner, struct str bytes);
    /* Everything queued has been handed to the kernel. Only after bytes had to be queued. */
    void (*on_drained)(void *owner);
    /* ST_OK: the peer closed its side, and with TLS said so. Else why the connection failed; `why`
     * says more. The owner closes. */
    void (*on_end)(void *owner, enum status st, struct str why);
};

enum { CONN_SLACK = 64 };

/* Begins a connection to `host` (a name or address) and `port`. The addresses behind a name are tried in
 * the system's order, the next one when one refuses or says nothing for 1.1 s; then the one that answered
 * comes first, as long as the name is kept (loop_keep_names). `tls` is NULL for plain TCP; with it
 * the peer's name is checked against `host`. Failures come by on_end, never during this call. */
struct conn *conn_connect(struct loop *l, const char *host, int port, struct tls_context *tls,
                          const struct conn_handlers *handlers, void *owner);

/* The same for a host that a stranger has named: addresses that are not public (net/address.h) are not
 * tried, whatever name stands for them. When none is left it ends with ST_FORBIDDEN. */
struct conn *conn_connect_public(struct loop *l, const char *host, int port,
                                 struct tls_context *tls, const struct conn_handlers *handlers,
                                 void *owner);

/* Gives an accepted connection its owner; reading begins. on_open comes when TLS stands, for plain
 * TCP not at all. */
void conn_start(struct conn *c, const struct conn_handlers *handlers, void *owner);

/*
 * Writes: up to 16 KiB at the end of the loop's turn, together with what other connections have to
 * write; at once more than that, or when there are hardly others. What the kernel does not take is queued. Returns the bytes in the queue: the owner
 * stops its source when they are too many and goes on at on_drained. A failed connection swallows the
 * bytes; on_end tells.
 */
size_t conn_write(struct conn *c, const struct iovec *iov, int n);

/* Offers the kernel at once what waits for the end of the turn. */
void conn_push(struct conn *c);

/* Whether it stands: on_open has come, or, for an accepted connection without TLS, will not come. */
bool conn_is_open(const struct conn *c);

/* Bytes in the queue: the kernel had no room for them. */
size_t conn_queued(const struct conn *c);

/* Those, and what waits for the end of the turn: all that the kernel has not taken. */
size_t conn_unsent(const struct conn *c);

/* Bytes that the kernel has taken since the connection began: it grows while the peer reads. */
uint64_t conn_sent(const struct conn *c);

/*
 * Of those, the bytes whose arrival the peer's system has not confirmed; fewer when that is not known. As
 * every segment of the peer confirms what had come before it, a peer that closed its side while all bytes
 * of a message were unconfirmed had closed before any of them came: nobody can have read them. (After a
 * reset they say nothing, since a reset confirms nothing.)
 */
uint64_t conn_unconfirmed(const struct conn *c);

/* Whether an unused connection has ended, or brought bytes that nobody asked for, since the loop last
 * looked: one system call. With TLS bytes may be the session's own and mean nothing. */
bool conn_has_ended(const struct conn *c);

/*
 * Stop and resume reading: back-pressure towards the peer. A paused peer may close: what it sent
 * before is still to be read, so on_end waits for conn_resume. The end of a held one comes by on_end
 * at once, and what it had sent is lost: for peers whose leaving matters more than their bytes. (It
 * cannot come as long as the peer's own system still has bytes that ours has no room for.)
 */
void conn_pause(struct conn *c);
void conn_hold(struct conn *c);
void conn_resume(struct conn *c);

/* Ends it at once; what the kernel has not taken (conn_unsent) is dropped. The pointer is dead after
 * this. */
void conn_close(struct conn *c);

/* The same with a reset, so that the peer cannot take what it has for all there was. */
void conn_reset(struct conn *c);

/* Ends it after what is queued has gone out, unless the peer takes nothing of it for 30 seconds: then
 * closes the sending side and swallows what still comes, for at most two seconds, so that the peer
 * reads our last bytes before it meets a reset. The pointer is dead after this. */
void conn_finish(struct conn *c);

/* The peer's address as text, "127.0.0.1:4711"; out holds 64 bytes. */
void conn_peer(const struct conn *c, char *out);

/* --- listening --- */

struct listener;

/*
 * Listens on host:port with SO_REUSEPORT, so that several loops may listen on one address and the
 * kernel spreads connections. Port 0 takes a free one. With `tls` connections are TLS servers.
 * `why` names the address and the system's reason.
 */
enum status listener_open(struct loop *l, const char *host, int port, struct tls_context *tls,
                          void (*on_accept)(void *arg, struct conn *c), void *arg,
                          struct listener **out, struct problem *why) MUST_USE;
/* Whether nobody listens there yet. SO_REUSEPORT would let a second process share the address. */
enum status listener_probe(const char *host, int port, struct problem *why) MUST_USE;

int listener_port(const struct listener *l);
/* No more connections are accepted; NULL is fine. */
void listener_close(struct listener *l);

#endif
