/* net_private.h - what the files of room net share: the loop's inside. */
#ifndef NET_NET_PRIVATE_H
#define NET_NET_PRIVATE_H

#include "net/loop.h"

#include <netinet/in.h>
#include <pthread.h>
#include <uv.h>

/* One read buffer serves all connections of a loop: a handler sees its bytes only during its call.
 * The slack behind lets parsers read past the end. */
enum { READ_SIZE = 65536, READ_SLACK = 64 };

enum { RECORD_SIZE = 16384 }; /* what one TLS record can hold (RFC 8446, section 5.1) */

/*
 * What connections have to send when the loop's turn ends. A turn serves all who have something to be
 * read; their answers, and the requests that they lead to, go out together behind that. So the
 * processor runs the same code for one connection after the other, and whoever receives wakes up
 * once for all (docs/performance.md has what that saves). In a crowd the first one waits for what is done
 * for the others, until OUTBOX_ENTRIES of them have something to send, too. After a turn in which at most one had something to send, the first one does not
 * wait at all: most likely it is alone again, and what is still to be done for its call need not delay it.
 */
enum { OUTBOX_ENTRIES = 32, OUTBOX_BYTES = 65536, OUTBOX_PIECE_MAX = RECORD_SIZE + 1024 };

struct outbox_entry {
    struct conn *conn; /* NULL once it has been sent, or closed */
    size_t at, n;      /* its bytes */
};

struct outbox {
    struct outbox_entry entries[OUTBOX_ENTRIES];
    int n;
    int n_turn, n_turn_before; /* entries made in this turn, and in the one before */
    size_t n_bytes;
    char bytes[OUTBOX_BYTES];
};

struct loop_message {
    struct loop_message *next;
    void (*fn)(void *arg);
    void *arg;
};

/* The addresses of a host, without ports; those of IPv4 take the front of their place. */
enum { NAME_ADDRESSES_MAX = 8 };
struct name_addresses {
    struct sockaddr_in6 at[NAME_ADDRESSES_MAX];
    int n;
};

struct loop {
    uv_loop_t uv;
    int wake; /* an eventfd that says that there are messages */
    uv_poll_t wake_poll;
    uv_timer_t tick;
    struct list deadlines; /* of struct deadline_class.in_loop */
    /* While deadlines fire: the class in hand, NULL once it has gone, and the one after it. */
    struct deadline_class *firing;
    struct list *next_class;
    struct list finishing; /* of struct conn_finishing.in_loop: no owner ends them any more */
    /* An epoll set of the held connections (conn_hold), watched by the loop as one handle: it tells
     * of their ends without a byte being read, and costs nothing for a connection that is read. */
    int held;
    uv_poll_t held_poll;
    struct list names; /* of struct name, see names.c */
    int64_t name_ttl_ms;
    pthread_mutex_t lock; /* guards the messages and is_stopping: they come from other threads */
    struct loop_message *first, **last;
    bool is_stopping;
    uv_prepare_t before_waiting;
    uv_check_t after_events;
    struct outbox outbox;
    char read_buffer[READ_SIZE + READ_SLACK];
    char tls_buffer[READ_SIZE + READ_SLACK]; /* decrypted bytes, likewise */
    char record_buffer[RECORD_SIZE];         /* bytes to be encrypted */
};

/* Sends what stands in the outbox. conn_end_turn: behind the last event of a turn. */
void conn_send_posted(struct loop *l);
void conn_end_turn(struct loop *l);

/* Drops the finishing connections that have sent everything, or all of them; true while one still has
 * bytes. */
bool conn_end_finishing(struct loop *l, bool at_once);

/* The ends of held connections, as far as they have come. */
void conn_end_held(struct loop *l);

/* --- names.c --- */

/* Whoever waits for addresses; taken out of its list (list_remove) it hears nothing more. `found` is
 * empty when `error`, a number of libuv's, says why; it lives until fn returns. */
struct name_wait {
    struct list link;
    void (*fn)(void *arg, const struct name_addresses *found, int error);
    void *arg;
};

/* The addresses that are known, until the loop turns; or NULL, and w->fn is called later. One lookup
 * serves all who ask meanwhile, so slow names hold at most one thread each, and all names together
 * never more than half of the pool: libuv keeps the others for work on files (uv_getaddrinfo is what it
 * calls slow work). */
const struct name_addresses *names_find(struct loop *l, const char *host, struct name_wait *w);

/* A connection to `address` came about when those before it did not. */
void names_prefer(struct loop *l, const char *host, const struct sockaddr_in6 *address);

void names_init(struct loop *l);
void names_destroy(struct loop *l);

#endif
