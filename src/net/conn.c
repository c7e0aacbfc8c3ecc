#include "net/conn_private.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

enum {
    LINGER_MS = 2000,      /* for the peer to close its side, once all is sent */
    LAST_BYTES_MS = 30000, /* for the peer to take some of what is left to send */
    FINISH_TICK_MS = 500,
    QUEUE_CEILING = 256 << 20, /* owners stop long before; past it the connection is closed */
    IOV_MAX_USED = 16,
};

static void start_reading(struct conn *c);
static void flush(struct conn *c);
static size_t posted(const struct conn *c);
static void forget_posted(struct conn *c);

/* --- connections that are held: not read, but watched for their end --- */

static void watch_end(struct conn *c) {
    uv_os_fd_t fd;
    /* Of a peer's close, half-close and reset; the last two of these need not be asked for. */
    struct epoll_event e = {.events = EPOLLRDHUP | EPOLLHUP | EPOLLERR, .data.ptr = c};
    if (!c->is_held && uv_fileno((uv_handle_t *)&c->tcp, &fd) == 0)
        c->is_held = epoll_ctl(c->loop->held, EPOLL_CTL_ADD, fd, &e) == 0;
}

static void unwatch_end(struct conn *c) {
    uv_os_fd_t fd;
    if (c->is_held && uv_fileno((uv_handle_t *)&c->tcp, &fd) == 0)
        epoll_ctl(c->loop->held, EPOLL_CTL_DEL, fd, NULL);
    c->is_held = false;
}

/* --- the end --- */

void conn_free(uv_handle_t *h) {
    struct conn *c = h->data;
    opening_free(c); /* not before: the attempt under way ends with its handle */
    buf_destroy(&c->queue);
    free(c->in_flight);
    free(c->write);
    tls_session_free(c->session);
    tls_unref(c->tls);
    free(c);
}

static void drop(struct conn *c) {
    if (c->is_closing)
        return;
    forget_posted(c);
    c->is_closing = true;
    c->handlers = NULL;
    if (c->finishing) {
        loop_timer_close(c->finishing->tick);
        list_remove(&c->finishing->in_loop);
        free(c->finishing);
        c->finishing = NULL;
    }
    opening_stop(c);
    unwatch_end(c);
    if (!c->is_switching)
        uv_close((uv_handle_t *)&c->tcp, conn_free);
}

void conn_end(struct conn *c, enum status st, struct str why) {
    if (c->is_closing)
        return;
    uv_read_stop((uv_stream_t *)&c->tcp);
    if (c->is_finishing || !c->handlers) {
        drop(c);
        return;
    }
    c->handlers->on_end(c->owner, st, why);
}

void conn_close(struct conn *c) {
    drop(c);
}

void conn_reset(struct conn *c) {
    uv_os_fd_t fd;
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    if (!c->is_closing && uv_fileno((uv_handle_t *)&c->tcp, &fd) == 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    drop(c);
}

size_t conn_unsent(const struct conn *c) {
    return posted(c) + c->queue.len + uv_stream_get_write_queue_size((const uv_stream_t *)&c->tcp);
}

static void on_finish_tick(void *arg) {
    struct conn_finishing *f = arg;
    size_t left = conn_unsent(f->conn);
    if (left != f->left) {
        f->left = left;
        f->until_ms = loop_now_ms(f->conn->loop) + (left ? LAST_BYTES_MS : LINGER_MS);
    } else if (loop_now_ms(f->conn->loop) >= f->until_ms) {
        drop(f->conn);
    }
}

static void on_shutdown(uv_shutdown_t *r, int status) {
    (void)status;
    free(r);
}

/* Everything is out: closes our side and waits for the peer to close its own. */
static void finish_now(struct conn *c) {
    if (c->is_shut)
        return;
    c->is_shut = true;
    if (c->session) {
        tls_session_shutdown(c->session);
        conn_push(c);
        if (c->n_in_flight || c->queue.len) { /* goodbye had to wait */
            c->is_shut = false;
            return;
        }
    }
    uv_shutdown_t *r = xcalloc(1, sizeof *r);
    if (uv_shutdown(r, (uv_stream_t *)&c->tcp, on_shutdown) != 0) {
        free(r);
        drop(c);
    }
}

void conn_finish(struct conn *c) {
    if (c->is_closing)
        return;
    if (!c->is_open) {
        drop(c);
        return;
    }
    conn_push(c);
    c->is_finishing = true;
    c->handlers = NULL;
    struct conn_finishing *f = xcalloc(1, sizeof *f);
    f->conn = c;
    f->left = conn_unsent(c);
    f->until_ms = loop_now_ms(c->loop) + (f->left ? LAST_BYTES_MS : LINGER_MS);
    f->tick = loop_timer_new(c->loop, FINISH_TICK_MS, FINISH_TICK_MS, on_finish_tick, f);
    list_append(&c->loop->finishing, &f->in_loop);
    c->finishing = f;
    if (c->is_paused)
        conn_resume(c);
    if (c->n_in_flight == 0)
        finish_now(c);
}

bool conn_end_finishing(struct loop *l, bool at_once) {
    LIST_EACH (&l->finishing, it) {
        struct conn *c = CONTAINER_OF(it, struct conn_finishing, in_loop)->conn;
        if (at_once || conn_queued(c) == 0)
            drop(c);
    }
    return !list_is_empty(&l->finishing);
}

/* --- writing --- */

static void on_written(uv_write_t *w, int status) {
    struct conn *c = w->data;
    free(c->in_flight);
    c->in_flight = NULL;
    c->n_in_flight = 0;
    if (c->is_closing)
        return;
    if (status < 0) {
        conn_end(c, ST_IO_FAILED, str_of(uv_strerror(status)));
        return;
    }
    if (c->queue.len) {
        flush(c);
    } else if (c->is_finishing) {
        finish_now(c);
    } else if (c->has_queued) {
        c->has_queued = false;
        c->handlers->on_drained(c->owner);
    }
}

/* Hands the queue to the loop as one write. */
static void flush(struct conn *c) {
    if (c->n_in_flight || c->queue.len == 0)
        return;
    if (!c->write)
        c->write = xcalloc(1, sizeof *c->write);
    c->write->data = c;
    c->in_flight = c->queue.p;
    c->n_in_flight = c->queue.len;
    buf_init(&c->queue, QUEUE_CEILING);
    uv_buf_t b = uv_buf_init(c->in_flight, (unsigned)c->n_in_flight);
    int rc = uv_write(c->write, (uv_stream_t *)&c->tcp, &b, 1, on_written);
    if (rc != 0) {
        free(c->in_flight);
        c->in_flight = NULL;
        c->n_in_flight = 0; /* reading tells the owner what happened */
    }
}

/* What the kernel takes at once; -1 with errno. By number, since send() is a point where a thread may be
 * cancelled, and telling so takes two atomic exchanges a call in a process with threads (glibc 2.36);
 * and a socket's own call, since write() first asks what kind of file it has. */
static ssize_t send_now(struct conn *c, const struct iovec *iov, int n) {
    uv_os_fd_t fd;
    struct msghdr all = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)n};
    if (uv_fileno((uv_handle_t *)&c->tcp, &fd) != 0)
        return -1;
    if (n > 1)
        return sendmsg(fd, &all, MSG_DONTWAIT | MSG_NOSIGNAL);
    return syscall(SYS_sendto, fd, iov->iov_base, iov->iov_len, MSG_DONTWAIT | MSG_NOSIGNAL, NULL,
                   0);
}

static size_t length_of(const struct iovec *iov, int n) {
    size_t total = 0;
    for (int i = 0; i < n; i++)
        total += iov[i].iov_len;
    return total;
}

static void copy_pieces(char *to, const struct iovec *iov, int n) {
    for (int i = 0; i < n; i++) {
        memcpy(to, iov[i].iov_base, iov[i].iov_len);
        to += iov[i].iov_len;
    }
}

/* Of bytes that the kernel is offered now, queues those that it does not take. */
static void send_or_queue(struct conn *c, const struct iovec *iov, int n, size_t total) {
    size_t sent = 0;
    if (c->n_in_flight == 0 && c->queue.len == 0) {
        ssize_t rc = send_now(c, iov, n);
        if (LIKELY(rc == (ssize_t)total))
            return;
        if (rc < 0 && errno != EAGAIN && errno != EINTR && errno != ENOBUFS) {
            c->n_written -= total; /* none of it was taken; the reading side reports the error */
            return;
        }
        sent = rc > 0 ? (size_t)rc : 0;
    }
    for (int i = 0; i < n; i++) {
        size_t skip = size_min(sent, iov[i].iov_len);
        sent -= skip;
        buf_put(&c->queue, (const char *)iov[i].iov_base + skip, iov[i].iov_len - skip);
    }
    c->has_queued = true;
    bool is_too_much = c->queue.overflowed;
    flush(c);
    if (UNLIKELY(is_too_much)) {
        /* Bytes are missing from here on, so nothing more may go out: the write under way fails, and
         * the owner hears of it. */
        uv_os_fd_t fd;
        if (uv_fileno((uv_handle_t *)&c->tcp, &fd) == 0)
            shutdown(fd, SHUT_RDWR);
    }
}

static struct outbox_entry *entry_of(struct conn *c) {
    return c->posted ? &c->loop->outbox.entries[c->posted - 1] : NULL;
}

/* Bytes that stand in the outbox. */
static size_t posted(const struct conn *c) {
    return c->posted ? c->loop->outbox.entries[c->posted - 1].n : 0;
}

/* The bytes will not be sent. */
static void forget_posted(struct conn *c) {
    if (!c->posted)
        return;
    c->n_written -= posted(c);
    entry_of(c)->conn = NULL;
    c->posted = 0;
}

void conn_push(struct conn *c) {
    struct outbox_entry *e = entry_of(c);
    if (!e)
        return;
    struct iovec bytes = {c->loop->outbox.bytes + e->at, e->n};
    e->conn = NULL;
    c->posted = 0;
    send_or_queue(c, &bytes, 1, e->n);
}

void conn_send_posted(struct loop *l) {
    struct outbox *o = &l->outbox;
    for (int i = 0; i < o->n; i++) {
        if (o->entries[i].conn)
            conn_push(o->entries[i].conn);
    }
    o->n = 0;
    o->n_bytes = 0;
}

void conn_end_turn(struct loop *l) {
    struct outbox *o = &l->outbox;
    conn_send_posted(l);
    o->n_turn_before = o->n_turn;
    o->n_turn = 0;
}

/* Adds bytes to the outbox, behind those of this connection that are there. */
static void post(struct conn *c, const struct iovec *iov, int n, size_t total) {
    struct outbox *o = &c->loop->outbox;
    if (c->posted && c->posted != o->n)
        conn_push(c); /* others stand behind it */
    if (o->n_bytes + total > OUTBOX_BYTES || (!c->posted && o->n == OUTBOX_ENTRIES))
        conn_send_posted(c->loop);
    if (!c->posted) {
        o->entries[o->n++] = (struct outbox_entry){.conn = c, .at = o->n_bytes};
        c->posted = o->n;
        o->n_turn++;
    }
    copy_pieces(o->bytes + o->n_bytes, iov, n);
    o->n_bytes += total;
    entry_of(c)->n += total;
    if (o->n_turn <= 1 && o->n_turn_before <= 1)
        conn_push(c);
}

/* Sends as they are, without TLS. */
static void write_raw(struct conn *c, const struct iovec *iov, int n) {
    size_t total = length_of(iov, n);
    c->n_written += total;
    if (total <= OUTBOX_PIECE_MAX && c->n_in_flight == 0 && c->queue.len == 0) {
        post(c, iov, n, total);
        return;
    }
    conn_push(c);
    send_or_queue(c, iov, n, total);
}

static void emit_encrypted(void *arg, struct str bytes) {
    struct conn *c = arg;
    struct iovec iov = {(char *)(uintptr_t)bytes.p, bytes.n};
    if (!c->is_closing)
        write_raw(c, &iov, 1);
}

/* An answer's head and a short body become one record: each costs its encryption a fixed part. */
static void write_encrypted(struct conn *c, const struct iovec *iov, int n) {
    struct iovec one = {c->loop->record_buffer, length_of(iov, n)};
    if (n > 1 && one.iov_len <= RECORD_SIZE) {
        copy_pieces(c->loop->record_buffer, iov, n);
        iov = &one;
        n = 1;
    }
    (void)tls_session_write(c->session, iov, n); /* a failed session ends by its reading side */
}

size_t conn_write(struct conn *c, const struct iovec *iov, int n) {
    assert(n <= IOV_MAX_USED);
    if (c->is_closing || c->is_finishing || !c->is_open)
        return 0;
    if (c->session)
        write_encrypted(c, iov, n);
    else
        write_raw(c, iov, n);
    return conn_queued(c);
}

bool conn_is_open(const struct conn *c) {
    return c->is_open;
}

uint64_t conn_sent(const struct conn *c) {
    return c->n_written - conn_unsent(c);
}

uint64_t conn_unconfirmed(const struct conn *c) {
    uv_os_fd_t fd;
    int n;
    if (uv_fileno((const uv_handle_t *)&c->tcp, &fd) != 0 || ioctl(fd, SIOCOUTQ, &n) != 0 || n < 0)
        return 0;
    return (uint64_t)n;
}

bool conn_has_ended(const struct conn *c) {
    uv_os_fd_t fd;
    char byte;
    if (uv_fileno((const uv_handle_t *)&c->tcp, &fd) != 0)
        return true;
    ssize_t n = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n < 0 ? errno != EAGAIN && errno != EINTR : n == 0 || !c->session;
}

size_t conn_queued(const struct conn *c) {
    return c->n_in_flight + c->queue.len;
}

/* --- reading --- */

static void on_alloc(uv_handle_t *h, size_t size, uv_buf_t *b) {
    (void)size;
    struct conn *c = h->data;
    *b = uv_buf_init(c->loop->read_buffer, READ_SIZE);
}

/* Decrypts what has come and hands it on, until more input is needed or the owner has closed. */
static void read_encrypted(struct conn *c, struct str bytes) {
    tls_session_feed(c->session, bytes);
    if (!c->is_open) {
        enum tls_result r = tls_session_handshake(c->session);
        if (r == TLS_AGAIN)
            return;
        if (r != TLS_OK) {
            conn_push(c); /* the alert that tells the peer why */
            conn_end(c, ST_IO_FAILED, tls_session_error(c->session));
            return;
        }
        c->is_open = true;
        if (c->handlers)
            c->handlers->on_open(c->owner);
    }
    while (!c->is_closing) {
        size_t n;
        enum tls_result r = tls_session_read(c->session, c->loop->tls_buffer, READ_SIZE, &n);
        if (r == TLS_AGAIN)
            return;
        if (r != TLS_OK) {
            conn_end(c, r == TLS_CLOSED ? ST_OK : ST_IO_FAILED, tls_session_error(c->session));
            return;
        }
        if (c->handlers)
            c->handlers->on_data(c->owner, (struct str){c->loop->tls_buffer, n});
    }
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *b) {
    struct conn *c = s->data;
    if (n == 0 || c->is_closing)
        return;
    if (n < 0) {
        if (n != UV_EOF)
            conn_end(c, ST_IO_FAILED, str_of(uv_strerror((int)n)));
        else if (c->session)
            /* Anybody on the way can close a TCP connection; only the peer can say that it has said
             * all (RFC 8446, section 6.1). */
            conn_end(c, ST_IO_FAILED, STR("the connection was closed without TLS saying so"));
        else
            conn_end(c, ST_OK, STR("the peer closed the connection"));
        return;
    }
    struct str bytes = {b->base, (size_t)n};
    if (c->is_finishing)
        return; /* swallowed */
    if (c->session)
        read_encrypted(c, bytes);
    else
        c->handlers->on_data(c->owner, bytes);
}

static void start_reading(struct conn *c) {
    int rc = uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
    if (rc != 0)
        conn_end(c, ST_IO_FAILED, str_of(uv_strerror(rc)));
}

void conn_pause(struct conn *c) {
    if (!c->is_closing && !c->is_paused) {
        c->is_paused = true;
        uv_read_stop((uv_stream_t *)&c->tcp);
    }
}

void conn_hold(struct conn *c) {
    conn_pause(c);
    if (!c->is_closing)
        watch_end(c);
}

void conn_resume(struct conn *c) {
    if (!c->is_closing && c->is_paused) {
        c->is_paused = false;
        unwatch_end(c);
        start_reading(c);
    }
}

void conn_end_held(struct loop *l) {
    struct epoll_event events[64];
    int n = epoll_wait(l->held, events, ARRAY_LEN(events), 0);
    for (int i = 0; i < n; i++) {
        /* An owner may close any connection while another one's end is told; its memory lives until
         * the loop turns. */
        struct conn *c = events[i].data.ptr;
        if (!c->is_held)
            continue;
        unwatch_end(c);
        if (events[i].events & (EPOLLERR | EPOLLHUP))
            conn_end(c, ST_IO_FAILED, STR("the connection was reset"));
        else
            conn_end(c, c->session ? ST_IO_FAILED : ST_OK, STR("the peer closed the connection"));
    }
}

/* --- the beginning --- */

struct conn *conn_new(struct loop *l, struct tls_context *tls) {
    struct conn *c = xcalloc(1, sizeof *c);
    c->loop = l;
    c->tls = tls_ref(tls);
    buf_init(&c->queue, QUEUE_CEILING);
    int rc = uv_tcp_init(&l->uv, &c->tcp);
    assert(rc == 0);
    c->tcp.data = c;
    return c;
}

void conn_connected(struct conn *c, const char *server_name) {
    uv_tcp_nodelay(&c->tcp, 1);
    if (c->tls) {
        c->session = tls_session_new(c->tls, server_name, emit_encrypted, c);
        start_reading(c);
        if (!c->is_closing)
            (void)tls_session_handshake(c->session); /* says hello; answers come by reading */
        return;
    }
    c->is_open = true;
    c->handlers->on_open(c->owner);
    if (!c->is_closing && !c->is_paused)
        start_reading(c);
}

void conn_accepted(struct conn *c) {
    uv_tcp_nodelay(&c->tcp, 1);
    if (c->tls)
        c->session = tls_session_new(c->tls, NULL, emit_encrypted, c);
    else
        c->is_open = true;
}

void conn_start(struct conn *c, const struct conn_handlers *handlers, void *owner) {
    c->handlers = handlers;
    c->owner = owner;
    start_reading(c);
}

void conn_peer(const struct conn *c, char *out) {
    struct sockaddr_storage a;
    int n = sizeof a;
    char host[48] = "?", port[8] = "?";
    if (uv_tcp_getpeername(&c->tcp, (struct sockaddr *)&a, &n) == 0)
        getnameinfo((struct sockaddr *)&a, (socklen_t)n, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV);
    snprintf(out, 64, a.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}
