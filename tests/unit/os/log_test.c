/* log_test.c - lines that nobody takes keep nobody waiting, and every one is either written or counted as lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "os/log.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/folder.h"

enum { LINE = 1024, PIECE = 1 << 20, AHEAD = LOG_AHEAD_MAX / PIECE };

/* Hands over 1 MiB of lines, which begin with their number. */
static void hand_over(struct log *l, int64_t *n_lines) {
    struct buf lines;
    buf_init(&lines, PIECE);
    for (int i = 0; i < PIECE / LINE; i++) {
        char line[LINE + 1];
        snprintf(line, sizeof line, "%-*lld\n", LINE - 1, (long long)(*n_lines)++);
        buf_put(&lines, line, LINE);
    }
    log_write(l, &lines);
    assert_int_equal(lines.len, 0);
    buf_destroy(&lines);
}

/* Reads lines until the writer has closed; each has a greater number than the one before it. */
struct reader {
    int fd;
    int64_t n, last, n_gaps;
};

static void *read_all(void *arg) {
    struct reader *r = arg;
    char bytes[64 << 10];
    size_t have = 0;
    for (;;) {
        ssize_t got = read(r->fd, bytes + have, sizeof bytes - have);
        if (got <= 0)
            return NULL;
        have += (size_t)got;
        size_t at = 0;
        for (; have - at >= LINE; at += LINE, r->n++) {
            char digits[24];
            snprintf(digits, sizeof digits, "%.*s", (int)sizeof digits - 1, bytes + at);
            int64_t number = strtoll(digits, NULL, 10);
            assert_true(number > r->last);
            assert_int_equal(bytes[at + LINE - 1], '\n');
            r->n_gaps += number != r->last + 1;
            r->last = number;
        }
        memmove(bytes, bytes + at, have - at);
        have -= at;
    }
}

static pthread_t begin_to_read(struct reader *r) {
    pthread_t thread;
    assert_int_equal(fcntl(r->fd, F_SETFL, 0), 0);
    (void)fcntl(r->fd, F_SETPIPE_SZ, 1 << 20); /* spares many turns of both threads */
    assert_int_equal(pthread_create(&thread, NULL, read_all, r), 0);
    return thread;
}

static void path_in(const struct folder *f, const char *name, char *out, size_t size) {
    snprintf(out, size, "%s/%s", f->path, name);
}

/* A log whose lines go to a pipe, from which nobody reads yet. */
static struct log *log_to_pipe(const struct folder *f, struct reader *r) {
    char path[300];
    struct log *l;
    struct problem why = {0};
    path_in(f, "pipe", path, sizeof path);
    assert_int_equal(mkfifo(path, 0600), 0);
    *r = (struct reader){.fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC), .last = -1};
    assert_int_equal(log_open(path, &l, &why), ST_OK);
    return l;
}

static void a_reader_that_takes_nothing_keeps_nobody_waiting(void **state) {
    struct reader r;
    struct log *l = log_to_pipe(*state, &r);
    int64_t n_lines = 0;
    for (int i = 0; i < AHEAD + 10; i++)
        hand_over(l, &n_lines);
    /* What is handed over when no more than the mark waits is kept: one piece goes beyond it. */
    int64_t n_lost = log_take_lost(l);
    assert_int_equal(n_lost, (AHEAD + 10 - (AHEAD + 1)) * (PIECE / LINE));
    assert_int_equal(log_take_lost(l), 0);

    /* It reads again: what was kept comes first and whole, and what is handed over then is kept too. */
    pthread_t thread = begin_to_read(&r);
    log_close(l);
    pthread_join(thread, NULL);
    assert_int_equal(r.n + n_lost, n_lines);
    assert_int_equal(r.n_gaps, 0);
    close(r.fd);
}

static void lines_are_taken_again_when_there_is_room(void **state) {
    struct reader r;
    struct log *l = log_to_pipe(*state, &r);
    int64_t n_lines = 0, n_lost = 0;
    for (int i = 0; i < AHEAD + 3; i++)
        hand_over(l, &n_lines);
    pthread_t thread = begin_to_read(&r);
    /* However fast the reader is, at some time a piece is not lost. */
    do {
        n_lost += log_take_lost(l);
        hand_over(l, &n_lines);
    } while (log_take_lost(l) > 0 && (n_lost += PIECE / LINE) > 0);
    log_close(l);
    pthread_join(thread, NULL);
    assert_int_equal(r.n + n_lost, n_lines);
    assert_int_equal(r.n_gaps, 1);
    assert_int_equal(r.last, n_lines - 1);
    close(r.fd);
}

static void a_disk_that_is_full_loses_lines_and_counts_them(void **state) {
    (void)state;
    struct log *l;
    struct problem why = {0};
    assert_int_equal(log_open("/dev/full", &l, &why), ST_OK);
    int64_t n_lines = 0, n_lost = 0;
    hand_over(l, &n_lines);
    while (n_lost < n_lines) {
        n_lost += log_take_lost(l);
        poll(NULL, 0, 1); /* the writer's turn */
    }
    assert_int_equal(n_lost, n_lines);
    log_close(l);
}

static void a_file_gets_every_line_in_order(void **state) {
    char path[300];
    path_in(*state, "log", path, sizeof path);
    struct log *l;
    struct problem why = {0};
    assert_int_equal(log_open(path, &l, &why), ST_OK);
    int64_t n_lines = 0;
    for (int i = 0; i < 5; i++)
        hand_over(l, &n_lines);
    log_close(l);
    struct reader r = {.fd = open(path, O_RDONLY | O_CLOEXEC), .last = -1};
    read_all(&r);
    assert_int_equal(r.n, n_lines);
    assert_int_equal(r.n_gaps, 0);
    close(r.fd);
}

static void a_file_that_cannot_be_opened_is_told_by_name(void **state) {
    (void)state;
    struct log *l;
    struct problem why = {0};
    assert_int_equal(log_open("/nowhere/access.log", &l, &why), ST_IO_FAILED);
    assert_non_null(strstr(why.message, "/nowhere/access.log"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_reader_that_takes_nothing_keeps_nobody_waiting,
                                        folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(lines_are_taken_again_when_there_is_room, folder_make,
                                        folder_remove),
        cmocka_unit_test(a_disk_that_is_full_loses_lines_and_counts_them),
        cmocka_unit_test_setup_teardown(a_file_gets_every_line_in_order, folder_make,
                                        folder_remove),
        cmocka_unit_test(a_file_that_cannot_be_opened_is_told_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
