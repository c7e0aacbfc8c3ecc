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

/* GATHER_SIZE: what one TLS record can hold (RFC 8446, section 5.1). SEALED_SIZE: some records, each with
 * what encryption adds. */
enum { GATHER_SIZE = 16384, SEALED_SIZE = 65536 + 4096 };

struct conn;

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
    char read_buffer[READ_SIZE + READ_SLACK];
    char gather_buffer[GATHER_SIZE];
    char tls_buffer[READ_SIZE + READ_SLACK]; /* decrypted bytes, likewise */
    struct conn *sealing; /* whose write is being encrypted; NULL between writes */
    size_t n_sealed;
    char sealed_buffer[SEALED_SIZE]; /* its records, until they are sent together */
};

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
