/* net_private.h - what the files of room net share: the loop's inside. */
#ifndef NET_NET_PRIVATE_H
#define NET_NET_PRIVATE_H

#include "net/loop.h"

#include <pthread.h>
#include <uv.h>

/* One read buffer serves all connections of a loop: a handler sees its bytes only during its call.
 * The slack behind lets parsers read past the end. */
enum { READ_SIZE = 65536, READ_SLACK = 64, GATHER_SIZE = 16384 };

struct loop_message {
    struct loop_message *next;
    void (*fn)(void *arg);
    void *arg;
};

struct loop {
    uv_loop_t uv;
    uv_async_t wake;
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
    pthread_mutex_t lock; /* guards the messages and is_stopping: they come from other threads */
    struct loop_message *first, **last;
    bool is_stopping;
    char read_buffer[READ_SIZE + READ_SLACK];
    char gather_buffer[GATHER_SIZE];
    char tls_buffer[READ_SIZE + READ_SLACK]; /* decrypted bytes, likewise */
};

/* Drops the finishing connections that have sent everything, or all of them; true while one still has
 * bytes. */
bool conn_end_finishing(struct loop *l, bool at_once);

/* The ends of held connections, as far as they have come. */
void conn_end_held(struct loop *l);

#endif
