#include "os/log.h"

#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct piece {
    struct piece *next;
    struct buf lines; /* owned */
};

/* How long the end waits for a reader that takes nothing, and how often a writer looks up.
 * PIECE: bytes of one write to a file. While the kernel copies, no loop gets its processor back where the kernel is not
 * preemptible: with whole buffers calls waited for 70 to 110 us, 60 times a second at 12,000 calls
 * a second on one core (22 November 2026). */
enum { LAST_LINES_MS = 5000, LOOK_UP_MS = 100, PIECE = 8192 };

struct log {
    char *path; /* owned */
    int fd;
    bool is_pipe;        /* or anything else but a file: somebody must read what is written */
    bool has_given_up;   /* nobody did, and the process ends */
    bool has_complained; /* that lines are lost; the writer's own */
    int64_t n_told;      /* `n_lost` when lines were last taken again; the writer's own */
    pthread_t thread;
    _Atomic(int64_t) n_lost, n_untold; /* lines; those of them that log_take_lost has not told */
    pthread_mutex_t lock; /* guards what follows: buffers change hands between threads here */
    pthread_cond_t has_work;
    struct piece *first, **last;
    size_t n_waiting;
    bool is_closing, must_reopen;
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

/* Far from losing lines; not just below the mark, or each line that fits would be told of. */
static bool has_room(struct log *l) {
    pthread_mutex_lock(&l->lock);
    bool is = l->n_waiting < LOG_AHEAD_MAX / 2;
    pthread_mutex_unlock(&l->lock);
    return is;
}

static void lose(struct log *l, struct str lines) {
    int64_t n = 0;
    for (const char *p = lines.p, *end = lines.p + lines.n; p < end; n++) {
        p = memchr(p, '\n', (size_t)(end - p));
        if (!p)
            break;
        p++;
    }
    atomic_fetch_add(&l->n_lost, n);
    atomic_fetch_add(&l->n_untold, n);
}

/* By the writer alone: a loop must not wait for whoever reads standard error either. */
static void complain(struct log *l, const char *why) {
    if (!l->has_complained)
        fprintf(stderr, "weir: cannot write to %s: %s; lines are lost\n", l->path, why);
    l->has_complained = true;
}

static void be_well_again(struct log *l) {
    int64_t n = atomic_load(&l->n_lost);
    if (n > l->n_told)
        fprintf(stderr, "weir: %s takes lines again; %lld were lost\n", l->path,
                (long long)(n - l->n_told));
    l->has_complained = false;
    l->n_told = n;
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
        if (atomic_load(&l->n_lost) > l->n_told)
            complain(l, "its reader takes nothing");
        if (is_closing(l))
            left_ms -= LOOK_UP_MS;
    }
    l->has_given_up = true;
    errno = ETIMEDOUT;
    return false;
}

/* Writes all, or complains once and goes on: a full disk must not stop the calls. */
static void write_out(struct log *l, struct str s) {
    if (l->has_given_up)
        lose(l, s);
    while (s.n && !l->has_given_up) {
        /* The standard output may be shared, so that it cannot be made non-blocking; but what has room
         * for anything has room for PIPE_BUF bytes (POSIX, "pipe"). */
        ssize_t n = -1;
        if (!l->is_pipe || wait_for_reader(l))
            n = write(l->fd, s.p, size_min(s.n, l->is_pipe ? (size_t)PIPE_BUF : (size_t)PIECE));
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n <= 0) {
            complain(l, strerror(errno));
            lose(l, s);
            return;
        }
        s = str_skip(s, (size_t)n);
    }
    if (!l->has_given_up && has_room(l))
        be_well_again(l);
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
    os_thread_give_way(OS_GIVES_WAY);
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
        while (p) {
            struct piece *next = p->next;
            write_out(l, buf_view(&p->lines));
            pthread_mutex_lock(&l->lock);
            l->n_waiting -= p->lines.len;
            pthread_mutex_unlock(&l->lock);
            buf_destroy(&p->lines);
            free(p);
            p = next;
        }
        if (must_reopen)
            reopen(l);
        pthread_mutex_lock(&l->lock);
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
    bool is_lost = l->n_waiting > LOG_AHEAD_MAX;
    if (!is_lost) {
        *l->last = p;
        l->last = &p->next;
        l->n_waiting += p->lines.len;
        pthread_cond_signal(&l->has_work);
    }
    pthread_mutex_unlock(&l->lock);
    if (is_lost) {
        lose(l, buf_view(&p->lines));
        buf_destroy(&p->lines);
        free(p);
    }
}

int64_t log_take_lost(struct log *l) {
    return atomic_exchange(&l->n_untold, 0);
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
    close(l->fd);
    free(l->path);
    free(l);
}
