/* connect_test.c - names with several addresses: which is tried when, and how often a name is looked up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "net/conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

/* --- the resolver: ours stands before the system's, which only the loop's helpers would call --- */

static _Atomic(int) n_lookups, lookup_ms;
static const char *_Atomic answers[4]; /* the addresses of every name; none: it is not known */

static struct addrinfo *address_new(const char *text) {
    struct addrinfo *a = xcalloc(1, sizeof *a);
    struct sockaddr_in *in = xcalloc(1, sizeof *in);
    in->sin_family = AF_INET;
    inet_pton(AF_INET, text, &in->sin_addr);
    *a = (struct addrinfo){.ai_family = AF_INET,
                           .ai_socktype = SOCK_STREAM,
                           .ai_addrlen = sizeof *in,
                           .ai_addr = (struct sockaddr *)in};
    return a;
}

int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                struct addrinfo **out) {
    (void)service;
    (void)hints;
    struct addrinfo **at = out;
    struct in_addr literal;
    *out = NULL;
    if (host && inet_pton(AF_INET, host, &literal) == 1) { /* of a listener */
        *out = address_new(host);
        return 0;
    }
    atomic_fetch_add(&n_lookups, 1);
    usleep((useconds_t)lookup_ms * 1000);
    for (size_t i = 0; i < ARRAY_LEN(answers) && answers[i]; i++) {
        *at = address_new(answers[i]);
        at = &(*at)->ai_next;
    }
    return *out ? 0 : EAI_NONAME;
}

void freeaddrinfo(struct addrinfo *a) {
    while (a) {
        struct addrinfo *next = a->ai_next;
        free(a->ai_addr);
        free(a);
        a = next;
    }
}

static void resolve_to(const char *a, const char *b, const char *c) {
    answers[0] = a;
    answers[1] = a ? b : NULL;
    answers[2] = a && b ? c : NULL;
    atomic_store(&n_lookups, 0);
    lookup_ms = 0;
}

/* --- a server on one of the loopback's addresses, and connections to it --- */

struct scene {
    struct loop *loop;
    struct listener *listener;
    int port, n_accepted, n_open, n_failed, n_forbidden, n_awaited;
    struct conn *conns[8];
    int n_conns;
};

static void tell(struct scene *s) {
    if (s->n_open + s->n_failed >= s->n_awaited)
        loop_stop(s->loop);
}

static void on_open(void *owner) {
    struct scene *s = owner;
    s->n_open++;
    tell(s);
}

static void on_data(void *owner, struct str bytes) {
    (void)owner;
    (void)bytes;
}

static void on_drained(void *owner) {
    (void)owner;
}

static void on_end(void *owner, enum status st, struct str why) {
    struct scene *s = owner;
    if (st != ST_UPSTREAM_FAILED && st != ST_FORBIDDEN)
        return; /* it stood, and the server closed it */
    s->n_forbidden += st == ST_FORBIDDEN;
    assert_true(why.n > 0);
    s->n_failed++;
    tell(s);
}

static const struct conn_handlers handlers = {on_open, on_data, on_drained, on_end};

static void on_accept(void *arg, struct conn *c) {
    struct scene *s = arg;
    s->n_accepted++;
    conn_close(c);
}

static void begin(struct scene *s, const char *address) {
    struct problem why = {0};
    *s = (struct scene){.loop = loop_new()};
    enum status st = listener_open(s->loop, address, 0, NULL, on_accept, s, &s->listener, &why);
    if (st != ST_OK)
        fail_msg("%s", why.message);
    s->port = listener_port(s->listener);
}

static void close_all(struct scene *s) {
    for (int i = 0; i < s->n_conns; i++)
        conn_close(s->conns[i]);
    s->n_conns = s->n_open = s->n_failed = s->n_forbidden = 0;
}

static void end(struct scene *s) {
    close_all(s);
    listener_close(s->listener);
    loop_free(s->loop);
}

/* n connections at once; waits until each has come about or failed. */
static void connect_all(struct scene *s, const char *host, int n) {
    close_all(s);
    s->n_awaited = n;
    for (int i = 0; i < n; i++)
        s->conns[s->n_conns++] = conn_connect(s->loop, host, s->port, NULL, &handlers, s);
    loop_run(s->loop);
    assert_int_equal(s->n_open + s->n_failed, n);
}

static void the_next_address_is_tried_when_one_refuses(void **state) {
    (void)state;
    struct scene s;
    begin(&s, "127.0.0.1");
    resolve_to("127.0.0.2", "127.0.0.3", "127.0.0.1");
    connect_all(&s, "several.test", 1);
    assert_int_equal(s.n_open, 1);
    end(&s);
}

static void when_all_refuse_that_is_told_once(void **state) {
    (void)state;
    struct scene s;
    begin(&s, "127.0.0.1");
    resolve_to("127.0.0.2", "127.0.0.3", NULL);
    connect_all(&s, "several.test", 2);
    assert_int_equal(s.n_failed, 2);
    end(&s);
}

static int listen_at(const struct sockaddr_in *a, int backlog) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)a, sizeof *a), 0);
    assert_int_equal(listen(fd, backlog), 0);
    return fd;
}

/* A full backlog drops what comes, as a machine does that is gone. */
static void
the_next_address_is_tried_when_one_is_silent_and_comes_first_from_then_on(void **state) {
    (void)state;
    struct scene s;
    int fillers[8];
    begin(&s, "127.0.0.1");
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)s.port)};
    inet_pton(AF_INET, "127.0.0.2", &a.sin_addr);
    int silent = listen_at(&a, 0);
    for (size_t i = 0; i < ARRAY_LEN(fillers); i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(fillers[i], (struct sockaddr *)&a, sizeof a);
    }
    resolve_to("127.0.0.2", "127.0.0.1", NULL);
    int64_t start = loop_now_ms(s.loop);
    connect_all(&s, "several.test", 1);
    assert_int_equal(s.n_open, 1);
    assert_true(loop_now_ms(s.loop) - start >= 1000);
    /* Whoever tried the first address now would be answered there. */
    for (size_t i = 0; i < ARRAY_LEN(fillers); i++)
        close(fillers[i]);
    close(silent);
    int answering = listen_at(&a, 1);
    connect_all(&s, "several.test", 1);
    assert_int_equal(s.n_open, 1);
    assert_int_equal(accept(answering, NULL, NULL), -1);
    assert_int_equal(errno, EAGAIN);
    close(answering);
    end(&s);
}

static void one_lookup_serves_all_who_ask_and_is_kept(void **state) {
    (void)state;
    struct scene s;
    begin(&s, "127.0.0.1");
    resolve_to("127.0.0.1", NULL, NULL);
    lookup_ms = 20;
    connect_all(&s, "one.test", 8);
    assert_int_equal(s.n_open, 8);
    assert_int_equal(n_lookups, 1);
    connect_all(&s, "one.test", 8);
    assert_int_equal(n_lookups, 1);
    connect_all(&s, "other.test", 1);
    assert_int_equal(n_lookups, 2);
    end(&s);
}

static void a_name_that_is_kept_for_no_time_is_asked_for_each_time(void **state) {
    (void)state;
    struct scene s;
    begin(&s, "127.0.0.1");
    loop_keep_names(s.loop, 0);
    resolve_to("127.0.0.1", NULL, NULL);
    connect_all(&s, "one.test", 1);
    connect_all(&s, "one.test", 1);
    assert_int_equal(n_lookups, 2);
    end(&s);
}

static void a_name_that_is_lost_later_keeps_its_addresses_and_an_unknown_one_fails(void **state) {
    (void)state;
    struct scene s;
    begin(&s, "127.0.0.1");
    loop_keep_names(s.loop, 0);
    resolve_to(NULL, NULL, NULL);
    connect_all(&s, "one.test", 2);
    assert_int_equal(s.n_failed, 2);
    resolve_to("127.0.0.1", NULL, NULL);
    connect_all(&s, "one.test", 1);
    assert_int_equal(s.n_open, 1);
    resolve_to(NULL, NULL, NULL);
    connect_all(&s, "one.test", 1);
    assert_int_equal(s.n_open, 1);
    assert_int_equal(n_lookups, 1);
    end(&s);
}

static void what_can_be_no_name_fails(void **state) {
    (void)state;
    struct scene s;
    char host[400];
    memset(host, 'a', sizeof host - 1);
    host[sizeof host - 1] = '\0';
    begin(&s, "127.0.0.1");
    resolve_to(NULL, NULL, NULL);
    connect_all(&s, host, 2);
    assert_int_equal(s.n_failed, 2);
    connect_all(&s, "\xff\xfe", 1);
    assert_int_equal(s.n_failed, 1);
    end(&s);
}

static void stop(void *arg) {
    loop_stop(arg);
}

/* While it looks, while it connects, while it goes on to the next address. */
static void a_connection_may_be_closed_at_any_moment_before_it_stands(void **state) {
    (void)state;
    for (int ms = 0; ms < 12; ms++) {
        struct scene s;
        begin(&s, "127.0.0.1");
        resolve_to("127.0.0.2", "127.0.0.3", "127.0.0.4");
        lookup_ms = ms % 4;
        s.n_awaited = 1000;
        for (int i = 0; i < 8; i++)
            s.conns[s.n_conns++] =
                conn_connect(s.loop, i % 2 ? "one.test" : "127.0.0.2", s.port, NULL, &handlers, &s);
        if (ms % 3) {
            struct loop_timer *t = loop_timer_new(s.loop, ms / 3, 0, stop, s.loop);
            loop_run(s.loop);
            loop_timer_close(t);
        }
        end(&s);
    }
}

static void connect_public(struct scene *s, const char *host) {
    close_all(s);
    s->n_awaited = 1;
    s->conns[s->n_conns++] = conn_connect_public(s->loop, host, s->port, NULL, &handlers, s);
    loop_run(s->loop);
}

static void what_a_stranger_names_is_not_looked_for_in_private_networks(void **state) {
    (void)state;
    struct scene s;
    begin(&s, "127.0.0.1");
    resolve_to("127.0.0.1", NULL, NULL);
    connect_all(&s, "one.test", 1); /* whoever names it himself gets there */
    assert_int_equal(s.n_open, 1);
    connect_public(&s, "one.test");
    assert_int_equal(s.n_forbidden, 1);
    connect_public(&s, "127.0.0.1");
    assert_int_equal(s.n_forbidden, 1);
    resolve_to("10.0.0.1", "127.0.0.1", "169.254.169.254");
    connect_public(&s, "several.test");
    assert_int_equal(s.n_forbidden, 1);
    resolve_to(NULL, NULL, NULL);
    connect_public(&s, "unknown.test");
    assert_int_equal(s.n_forbidden, 0);
    assert_int_equal(s.n_failed, 1);
    assert_true(s.n_accepted <= 1);
    end(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_next_address_is_tried_when_one_refuses),
        cmocka_unit_test(when_all_refuse_that_is_told_once),
        cmocka_unit_test(the_next_address_is_tried_when_one_is_silent_and_comes_first_from_then_on),
        cmocka_unit_test(one_lookup_serves_all_who_ask_and_is_kept),
        cmocka_unit_test(a_name_that_is_kept_for_no_time_is_asked_for_each_time),
        cmocka_unit_test(a_name_that_is_lost_later_keeps_its_addresses_and_an_unknown_one_fails),
        cmocka_unit_test(what_can_be_no_name_fails),
        cmocka_unit_test(what_a_stranger_names_is_not_looked_for_in_private_networks),
        cmocka_unit_test(a_connection_may_be_closed_at_any_moment_before_it_stands),
    };
    return cmocka_run_group_tests_name("connect", tests, NULL, NULL);
}
