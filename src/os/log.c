#include "os/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct piece {
    struct piece *next;
    struct buf lines; /* owned */
};

struct log {
    char *path; /* owned */
    int fd;
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows: buffers change hands between threads here */
    pthread_cond_t has_work, has_room;
    struct piece *first, **last;
    size_t n_waiting;
    bool is_closing, must_reopen, has_complained;
};

static int open_file(const char *path) {
    if (strcmp(path, "-") == 0)
        return dup(STDOUT_FILENO);
    return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
}

/* Writes all, or complains once and goes on: a full disk must not stop the calls. */
static void write_out(struct log *l, struct str s) {
    while (s.n) {
        ssize_t n = write(l->fd, s.p, s.n);
        if (n < 0 && errno == EINTR)
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
                strerror(errno));
        return;
    }
    close(l->fd);
    l->fd = fd;
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
                           strerror(errno));
    struct log *l = xcalloc(1, sizeof *l);
    l->path = str_dup(str_of(path));
    l->fd = fd;
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
