/* listen.c - listening for connections. */
#include "net/conn_private.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { BACKLOG = 4096 };

struct listener {
    uv_tcp_t tcp;
    struct loop *loop;
    struct tls_context *tls; /* a reference */
    void (*on_accept)(void *arg, struct conn *c);
    void *arg;
    int port;
};

static void on_connection(uv_stream_t *s, int status) {
    struct listener *l = s->data;
    if (status < 0)
        return; /* the peer left before we looked, or no file handle is free; the next one may do */
    struct conn *c = conn_new(l->loop, l->tls);
    if (uv_accept(s, (uv_stream_t *)&c->tcp) != 0) {
        conn_close(c);
        return;
    }
    conn_accepted(c);
    l->on_accept(l->arg, c);
}

static void free_listener(uv_handle_t *h) {
    struct listener *l = h->data;
    tls_unref(l->tls);
    free(l);
}

static void free_addresses(struct addrinfo **found) {
    if (*found)
        freeaddrinfo(*found);
}

static enum status cannot_listen(struct problem *why, const char *host, int port,
                                 const char *reason) {
    char address[300];
    snprintf(address, sizeof address, "%s:%d", host, port);
    return problem_set(why, ST_IO_FAILED, str_of(address), "cannot listen on %s: %s", address,
                       reason);
}

static void close_socket(const int *fd) {
    if (*fd >= 0)
        close(*fd);
}

/* A bound socket in *out, owned by the caller. */
static enum status bind_address(const char *host, int port, bool is_shared, int *out,
                                struct problem *why) {
    char service[12];
    snprintf(service, sizeof service, "%d", port);
    CLEANUP(free_addresses) struct addrinfo *found = NULL;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    int rc = getaddrinfo(host, service, &hints, &found);
    if (rc != 0)
        return cannot_listen(why, host, port, gai_strerror(rc));
    CLEANUP(close_socket)
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1;
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        (is_shared && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0) ||
        bind(fd, found->ai_addr, found->ai_addrlen) != 0)
        return cannot_listen(why, host, port, strerror(errno));
    *out = fd;
    fd = -1;
    return ST_OK;
}

enum status listener_probe(const char *host, int port, struct problem *why) {
    int fd = -1;
    TRY(bind_address(host, port, false, &fd, why));
    close(fd);
    return ST_OK;
}

enum status listener_open(struct loop *loop, const char *host, int port, struct tls_context *tls,
                          void (*on_accept)(void *arg, struct conn *c), void *arg,
                          struct listener **out, struct problem *why) {
    int fd = -1;
    TRY(bind_address(host, port, true, &fd, why));
    struct sockaddr_storage bound;
    socklen_t n = sizeof bound;
    getsockname(fd, (struct sockaddr *)&bound, &n);
    struct listener *l = xcalloc(1, sizeof *l);
    l->loop = loop;
    l->tls = tls_ref(tls);
    l->on_accept = on_accept;
    l->arg = arg;
    /* NOLINTNEXTLINE(clang-analyzer-core.*): written by getsockname under another type */
    l->port = ntohs(bound.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&bound)->sin6_port
                                                : ((struct sockaddr_in *)&bound)->sin_port);
    uv_tcp_init(&loop->uv, &l->tcp);
    l->tcp.data = l;
    int rc = uv_tcp_open(&l->tcp, fd);
    if (rc == 0)
        rc = uv_listen((uv_stream_t *)&l->tcp, BACKLOG, on_connection);
    if (rc != 0) {
        listener_close(l);
        return cannot_listen(why, host, port, uv_strerror(rc));
    }
    *out = l;
    return ST_OK;
}

int listener_port(const struct listener *l) {
    return l->port;
}

void listener_close(struct listener *l) {
    if (l)
        uv_close((uv_handle_t *)&l->tcp, free_listener);
}
