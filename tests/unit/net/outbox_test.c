/* outbox_test.c - what connections write in one turn of the loop leaves at its end: whole, in order, or not at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/conn.h"

#include <string.h>

enum { CONNS = 80, BIGGEST = 70000 };

/* Both ends of a connection. The bytes of each are its number, and then what follows from number and place. */
struct end {
    struct scene *scene;
    struct conn *client, *peer;
    size_t n_written, n_come;
    int number; /* of the peer: as its first byte says */
    bool is_open, has_ended;
};

struct scene {
    struct loop *loop;
    struct listener *listener;
    struct end clients[CONNS], peers[CONNS];
    int n_clients, n_open, n_peers;
    bool has_closed; /* the clients; else they stay */
    void (*when_open)(struct scene *s);
};

static char byte_at(int number, size_t at) {
    return (char)(at == 0 ? (size_t)number : (size_t)number * 7 + at * 31 + at / 256);
}

static void stop_when_all_has_come(struct scene *s) {
    size_t written = 0, come = 0;
    int n_ended = 0;
    for (int i = 0; i < s->n_clients; i++) {
        written += s->clients[i].n_written;
        come += s->peers[i].n_come;
        n_ended += s->peers[i].has_ended;
    }
    if (come == written && (!s->has_closed || n_ended == s->n_clients))
        loop_stop(s->loop);
}

static void on_peer_data(void *owner, struct str bytes) {
    struct end *e = owner;
    if (e->n_come == 0)
        e->number = (unsigned char)bytes.p[0];
    for (size_t i = 0; i < bytes.n; i++)
        assert_int_equal(bytes.p[i], byte_at(e->number, e->n_come + i));
    e->n_come += bytes.n;
    stop_when_all_has_come(e->scene);
}

static void on_peer_end(void *owner, enum status st, struct str why) {
    (void)st;
    (void)why;
    struct end *e = owner;
    e->has_ended = true;
    stop_when_all_has_come(e->scene);
}

static void on_drained(void *owner) {
    (void)owner;
}

static void on_open(void *owner) {
    struct end *e = owner;
    e->is_open = true;
    if (++e->scene->n_open == e->scene->n_clients)
        e->scene->when_open(e->scene);
}

static void on_client_data(void *owner, struct str bytes) {
    (void)owner;
    fail_msg("%zu bytes that nobody sent", bytes.n);
}

static void on_client_end(void *owner, enum status st, struct str why) {
    (void)owner;
    fail_msg("%d: %.*s", st, (int)why.n, why.p);
}

static const struct conn_handlers peer_handlers = {on_open, on_peer_data, on_drained, on_peer_end};
static const struct conn_handlers client_handlers = {on_open, on_client_data, on_drained,
                                                     on_client_end};

static void on_accept(void *arg, struct conn *c) {
    struct scene *s = arg;
    struct end *e = &s->peers[s->n_peers++];
    *e = (struct end){.scene = s, .peer = c};
    conn_start(c, &peer_handlers, e);
}

/* Connects so many clients, runs until all that they wrote has come, or all have gone, and ends. */
static void play(int n_clients, void (*when_open)(struct scene *s), struct scene *s) {
    struct problem why = {0};
    *s = (struct scene){.loop = loop_new(), .n_clients = n_clients, .when_open = when_open};
    assert_int_equal(listener_open(s->loop, "127.0.0.1", 0, NULL, on_accept, s, &s->listener, &why),
                     ST_OK);
    for (int i = 0; i < n_clients; i++) {
        struct end *e = &s->clients[i];
        *e = (struct end){.scene = s, .number = i};
        e->client = conn_connect(s->loop, "127.0.0.1", listener_port(s->listener), NULL,
                                 &client_handlers, e);
    }
    loop_run(s->loop);
    for (int i = 0; i < n_clients; i++) {
        if (s->clients[i].client)
            conn_close(s->clients[i].client);
        if (s->peers[i].peer)
            conn_close(s->peers[i].peer);
    }
    listener_close(s->listener);
    loop_free(s->loop);
}

/* Writes the client's next n bytes, in two pieces. */
static void write_next(struct end *e, size_t n) {
    static char bytes[BIGGEST];
    for (size_t i = 0; i < n; i++)
        bytes[i] = byte_at(e->number, e->n_written + i);
    struct iovec iov[2] = {{bytes, n / 3}, {bytes + n / 3, n - n / 3}};
    e->n_written += n;
    (void)conn_write(e->client, iov, 2);
}

/* Few bytes and many, to one connection again and again and to all in turn, and some at once. */
static void write_at_random(struct scene *s) {
    uint64_t x = 42;
    for (int i = 0; i < 1500; i++) {
        x = x * UINT64_C(6364136223846793005) + 1442695040888963407;
        uint32_t r = (uint32_t)(x >> 33);
        struct end *e = &s->clients[r % 3 ? i % CONNS : (int)(r / 3 % 4)];
        size_t n = r % 50 == 0   ? 1 + r / 50 % BIGGEST
                   : r % 10 == 0 ? 15000 + r % 2000
                                 : 1 + r % 300;
        write_next(e, n);
        if (r % 40 == 7)
            conn_push(e->client);
    }
}

static void all_bytes_come_in_order_whatever_was_written_between(void **state) {
    (void)state;
    static struct scene s;
    play(CONNS, write_at_random, &s);
    for (int i = 0; i < CONNS; i++)
        assert_int_equal(s.peers[i].n_come, s.clients[s.peers[i].number].n_written);
}

/* The first one of a turn need not wait, as there was no other in the turn before; the others do. */
static void write_and_close(struct scene *s) {
    for (int i = 0; i < s->n_clients; i++) {
        struct end *e = &s->clients[i];
        size_t waiting = i == 0 ? 0 : 100;
        write_next(e, 100);
        assert_int_equal(conn_unsent(e->client), waiting);
        assert_int_equal(conn_sent(e->client), 100 - waiting);
        assert_int_equal(conn_queued(e->client), 0);
        conn_close(e->client);
        s->has_closed = true;
        e->client = NULL;
        e->n_written -= waiting;
    }
}

static void what_waits_is_dropped_with_its_connection(void **state) {
    (void)state;
    static struct scene s;
    play(3, write_and_close, &s);
    size_t n_come = 0;
    for (int i = 0; i < 3; i++) {
        assert_true(s.peers[i].has_ended);
        assert_true(s.peers[i].n_come == 0 || s.peers[i].number == 0);
        n_come += s.peers[i].n_come;
    }
    assert_int_equal(n_come, 100);
}

static void write_push_and_close(struct scene *s) {
    for (int i = 0; i < s->n_clients; i++) {
        struct end *e = &s->clients[i];
        write_next(e, 100);
        conn_push(e->client);
        assert_int_equal(conn_unsent(e->client), 0);
        assert_int_equal(conn_sent(e->client), 100);
        conn_close(e->client);
        e->client = NULL;
    }
}

static void what_was_pushed_is_not(void **state) {
    (void)state;
    static struct scene s;
    play(3, write_push_and_close, &s);
    for (int i = 0; i < 3; i++)
        assert_int_equal(s.peers[i].n_come, 100);
}

static void write_and_finish(struct scene *s) {
    for (int i = 0; i < s->n_clients; i++) {
        struct end *e = &s->clients[i];
        write_next(e, 10000);
        write_next(e, 100);
        conn_finish(e->client);
        e->client = NULL;
    }
}

static void an_end_in_order_sends_all_first(void **state) {
    (void)state;
    static struct scene s;
    play(40, write_and_finish, &s);
    for (int i = 0; i < 40; i++)
        assert_int_equal(s.peers[i].n_come, 10100);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_bytes_come_in_order_whatever_was_written_between),
        cmocka_unit_test(what_waits_is_dropped_with_its_connection),
        cmocka_unit_test(what_was_pushed_is_not),
        cmocka_unit_test(an_end_in_order_sends_all_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
