#include "os/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct piece {
    struct piece *next;
    struct buf lines; /* owned */
};

/* How long the end waits for a reader that takes nothing, and how often a writer looks up. */
enum { LAST_LINES_MS = 5000, LOOK_UP_MS = 100 };

struct log {
    char *path; /* owned */
    int fd;
    bool is_pipe;      /* or anything else but a file: somebody must read what is written */
    bool has_given_up; /* nobody did, and the process ends */
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows: buffers change hands between threads here */
    pthread_cond_t has_work, has_room;
    struct piece *first, **last;
    size_t n_waiting;
    bool is_closing, must_reopen, has_complained;
};

/* A FIFO that nobody reads would hold the process up here: it is refused (ENXIO) instead. */
static int open_file(const char *path) {
    if (strcmp(path, "-") == 0)
        return dup(STDOUT_FILENO);
    return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0640);
}

static const char *reason(void) {
    return errno == ENXIO ? "it is a pipe that nobody reads" : strerror(errno);
}

static bool is_pipe(int fd) {
    struct stat st;
    return fstat(fd, &st) == 0 && !S_ISREG(st.st_mode);
}

static bool is_closing(struct log *l) {
    pthread_mutex_lock(&l->lock);
    bool is = l->is_closing;
    pthread_mutex_unlock(&l->lock);
    return is;
}

/* Waits until the pipe has room, for as long as it takes: a line is a receipt. Only the end of the
 * process does not wait for ever. */
static bool wait_for_reader(struct log *l) {
    int left_ms = LAST_LINES_MS;
    while (left_ms > 0) {
        struct pollfd p = {.fd = l->fd, .events = POLLOUT};
        int n = poll(&p, 1, LOOK_UP_MS);
        if (n != 0)
            return true; /* room, or an error that the write will tell */
        if (is_closing(l))
            left_ms -= LOOK_UP_MS;
    }
    l->has_given_up = true;
    errno = ETIMEDOUT;
    return false;
}

/* Writes all, or complains once and goes on: a full disk must not stop the calls. */
static void write_out(struct log *l, struct str s) {
    while (s.n && !l->has_given_up) {
        /* The standard output may be shared, so that it cannot be made non-blocking; but what has room
         * for anything has room for PIPE_BUF bytes (POSIX, "pipe"). */
        ssize_t n = -1;
        if (!l->is_pipe || wait_for_reader(l))
            n = write(l->fd, s.p, l->is_pipe ? size_min(s.n, PIPE_BUF) : s.n);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n <= 0) {
            if (!l->has_complained)
                fprintf(stderr, "weir: cannot write to %s: %s; lines are lost\n", l->path,
                        strerror(errno));
            l->has_complained = true;
            return;
        }
        l->has_complained = false;
        s = str_skip(s, (size_t)n);
    }
}

static void reopen(struct log *l) {
    int fd = open_file(l->path);
    if (fd < 0) {
        fprintf(stderr, "weir: cannot reopen %s: %s; the old file stays in use\n", l->path,
                reason());
        return;
    }
    close(l->fd);
    l->fd = fd;
    l->is_pipe = is_pipe(fd);
}

static void *run(void *arg) {
    struct log *l = arg;
    pthread_mutex_lock(&l->lock);
    for (;;) {
        while (!l->first && !l->is_closing && !l->must_reopen)
            pthread_cond_wait(&l->has_work, &l->lock);
        struct piece *p = l->first;
        bool must_reopen = l->must_reopen;
        if (!p && !must_reopen)
            break; /* closing, and all is written */
        l->first = NULL;
        l->last = &l->first;
        l->must_reopen = false;
        pthread_mutex_unlock(&l->lock);
        size_t written = 0;
        while (p) {
            struct piece *next = p->next;
            write_out(l, buf_view(&p->lines));
            written += p->lines.len;
            buf_destroy(&p->lines);
            free(p);
            p = next;
        }
        if (must_reopen)
            reopen(l);
        pthread_mutex_lock(&l->lock);
        l->n_waiting -= written;
        pthread_cond_broadcast(&l->has_room);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

enum status log_open(const char *path, struct log **out, struct problem *why) {
    int fd = open_file(path);
    if (fd < 0)
        return problem_set(why, ST_IO_FAILED, str_of(path), "cannot open %s for writing: %s", path,
                           reason());
    struct log *l = xcalloc(1, sizeof *l);
    l->path = str_dup(str_of(path));
    l->fd = fd;
    l->is_pipe = is_pipe(fd);
    l->last = &l->first;
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->has_work, NULL);
    pthread_cond_init(&l->has_room, NULL);
    int rc = pthread_create(&l->thread, NULL, run, l);
    assert(rc == 0);
    *out = l;
    return ST_OK;
}

void log_write(struct log *l, struct buf *lines) {
    if (lines->len == 0)
        return;
    struct piece *p = xmalloc(sizeof *p);
    *p = (struct piece){.lines = *lines};
    size_t ceiling = lines->ceiling;
    buf_init(lines, ceiling);
    pthread_mutex_lock(&l->lock);
    while (l->n_waiting > LOG_AHEAD_MAX)
        pthread_cond_wait(&l->has_room, &l->lock);
    *l->last = p;
    l->last = &p->next;
    l->n_waiting += p->lines.len;
    pthread_cond_signal(&l->has_work);
    pthread_mutex_unlock(&l->lock);
}

void log_reopen(struct log *l) {
    pthread_mutex_lock(&l->lock);
    l->must_reopen = true;
    pthread_cond_signal(&l->has_work);
    pthread_mutex_unlock(&l->lock);
}

void log_close(struct log *l) {
    if (!l)
        return;
    pthread_mutex_lock(&l->lock);
    l->is_closing = true;
    pthread_cond_signal(&l->has_work);
    pthread_mutex_unlock(&l->lock);
    pthread_join(l->thread, NULL);
    pthread_mutex_destroy(&l->lock);
    pthread_cond_destroy(&l->has_work);
    pthread_cond_destroy(&l->has_room);
    close(l->fd);
    free(l->path);
    free(l);
}
