/* crash_test.c - what was acknowledged survives kill -9 and loss of power, and nothing is there by
 * half. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <inttypes.h>
#include <sys/wait.h>

#include "store/store.h"
#include "support/folder.h"
#include "unit/store/lossy.h"

/*
 * The stream of changes. Change i is a function of i alone: it writes or deletes the pair of rows
 * left/k and right/k, whose bodies name i, appends an audit row, and counts itself. So the count
 * says what everything else must be.
 */
enum { PAIRS = 40, BODY_MAX = 12000, BATCH_MAX = 5 };

struct change {
    int pair;
    bool is_delete, is_undone;
    size_t body_len;
};

static struct change change_of(int64_t i) {
    struct random r = {.state = (uint64_t)i * 7919};
    return (struct change){
        .pair = (int)random_below(&r, PAIRS),
        .is_delete = random_once_in(&r, 4),
        .is_undone = random_once_in(&r, 6),
        .body_len = (size_t)random_below(&r, BODY_MAX),
    };
}

/* How many changes the transaction has that begins with change i. */
static int64_t batch_of(int64_t i) {
    struct random r = {.state = (uint64_t)i};
    return 1 + random_below(&r, BATCH_MAX);
}

static void put_body(struct buf *out, int64_t i, size_t len) {
    buf_clear(out);
    buf_i64(out, i);
    while (out->len < len)
        buf_char(out, (char)('a' + (i + (int64_t)out->len) % 26));
}

static struct str number_text(char out[24], int64_t i) {
    return (struct str){out, (size_t)snprintf(out, 24, "%" PRId64, i)};
}

static enum status apply(struct store *s, int64_t i, struct buf *body) {
    struct change c = change_of(i);
    char key_text[24], number[24];
    struct str key = number_text(key_text, c.pair);
    put_body(body, i, c.body_len);
    TRY(store_change_begin(s, NULL));
    if (c.is_delete) {
        TRY(store_delete(s, STR("left"), key, NULL));
        TRY(store_delete(s, STR("right"), key, NULL));
    } else {
        TRY(store_put(s, STR("left"), key, buf_view(body), NULL));
        TRY(store_put(s, STR("right"), key, buf_view(body), NULL));
    }
    struct store_audit row = {.at_ms = i, .actor = STR("crash"), .target = key};
    TRY(store_audit_put(s, &row, NULL));
    TRY(c.is_undone ? store_change_undo(s, NULL) : store_change_keep(s, NULL));
    return store_put(s, STR("count"), STR("n"), number_text(number, i + 1), NULL);
}

/* The process that will be killed: acknowledges by writing the count of changes so far into the
 * pipe. */
static void write_until_killed(const char *folder, const char *vfs, int64_t i, int acks) {
    struct store_settings settings = {.folder = folder, .vfs = vfs};
    struct store *s;
    struct buf body;
    buf_init(&body, BODY_MAX + 64);
    if (store_open(&settings, &s, NULL) != ST_OK)
        _exit(3);
    for (;;) {
        int64_t end = i + batch_of(i);
        if (store_begin(s, NULL) != ST_OK)
            _exit(4);
        for (; i < end; i++)
            if (apply(s, i, &body) != ST_OK)
                _exit(5);
        if (store_commit(s, NULL) != ST_OK || write(acks, &i, sizeof i) != (ssize_t)sizeof i)
            _exit(6);
    }
}

static int64_t read_count(struct store *s) {
    struct buf text;
    buf_init(&text, 24);
    bool found = false;
    int64_t n = 0;
    assert_int_equal(store_get(s, STR("count"), STR("n"), &text, &found, NULL), ST_OK);
    if (found)
        assert_true(str_to_i64(buf_view(&text), &n));
    buf_destroy(&text);
    return n;
}

static enum status count_row(void *arg, struct str table, struct str key, struct str body,
                             struct problem *why) {
    (void)table;
    (void)key;
    (void)body;
    (void)why;
    ++*(int64_t *)arg;
    return ST_OK;
}

static enum status count_audit(void *arg, const struct store_audit *row, struct problem *why) {
    (void)row;
    (void)why;
    ++*(int64_t *)arg;
    return ST_OK;
}

static void assert_pair(struct store *s, struct str table, int pair, int64_t last,
                        struct buf *wanted, struct buf *got) {
    char key[24];
    bool found = false;
    buf_clear(got);
    assert_int_equal(store_get(s, table, number_text(key, pair), got, &found, NULL), ST_OK);
    bool is_there = last >= 0 && !change_of(last).is_delete;
    assert_int_equal(found, is_there);
    if (!is_there)
        return;
    put_body(wanted, last, change_of(last).body_len);
    assert_true(str_eq(buf_view(got), buf_view(wanted)));
}

/* Everything is as after exactly n changes. */
static void assert_state(struct store *s, int64_t n) {
    int64_t last[PAIRS], rows = 0, n_rows = n > 0, audits = 0, n_audits = 0;
    struct buf wanted, got;
    buf_init(&wanted, BODY_MAX + 64);
    buf_init(&got, BODY_MAX + 64);
    memset(last, -1, sizeof last);
    for (int64_t i = 0; i < n; i++) {
        if (change_of(i).is_undone)
            continue;
        last[change_of(i).pair] = i;
        n_audits++;
    }
    for (int k = 0; k < PAIRS; k++) {
        assert_pair(s, STR("left"), k, last[k], &wanted, &got);
        assert_pair(s, STR("right"), k, last[k], &wanted, &got);
        n_rows += last[k] >= 0 && !change_of(last[k]).is_delete ? 2 : 0;
    }
    assert_int_equal(store_each(s, STR(""), count_row, &rows, NULL), ST_OK);
    assert_int_equal(rows, n_rows);
    assert_int_equal(store_audit_each(s, STR(""), 0, INT32_MAX, count_audit, &audits, NULL), ST_OK);
    assert_int_equal(audits, n_audits);
    buf_destroy(&wanted);
    buf_destroy(&got);
}

/* What a killed process acknowledged last; `before` when nothing. */
static int64_t last_ack(int fd, int64_t before) {
    int64_t n;
    while (read(fd, &n, sizeof n) == (ssize_t)sizeof n)
        before = n;
    return before;
}

static int n_kills(void) {
    const char *text = getenv("WEIR_KILLS");
    int64_t n;
    return text && str_to_i64(str_of(text), &n) ? (int)n : 20;
}

enum manner { KILLED_FROM_OUTSIDE, POWER_LOST };

/* One life: from `count` changes on until it is killed. The count that must be there afterwards
 * lies between *acked and the batch that was under way. */
static void live_and_die(const char *folder, enum manner manner, struct random *r, int64_t count,
                         int64_t *acked) {
    int pipe_fds[2];
    assert_int_equal(pipe(pipe_fds), 0);
    /* Some live long enough to see the log written back into the database. */
    int64_t life = random_below(r, random_once_in(r, 4) ? 6000 : 600);
    int64_t patience = random_below(r, random_once_in(r, 4) ? 250 : 40);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(pipe_fds[0]);
        lossy_register((uint64_t)count + (uint64_t)life);
        if (manner == POWER_LOST)
            lossy_die_after(life);
        write_until_killed(folder, "lossy", count, pipe_fds[1]);
    }
    close(pipe_fds[1]);
    *acked = count;
    if (manner == KILLED_FROM_OUTSIDE) {
        for (int64_t i = 0; i < patience; i++) {
            int64_t n;
            assert_int_equal(read(pipe_fds[0], &n, sizeof n), sizeof n);
            *acked = n;
        }
        kill(pid, SIGKILL);
    }
    *acked = last_ack(pipe_fds[0], *acked);
    close(pipe_fds[0]);
    int how;
    assert_int_equal(waitpid(pid, &how, 0), pid);
    assert_true(WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL);
}

static void survives(void **state, enum manner manner) {
    struct folder *f = *state;
    struct random r = {.state = 20261122 + (uint64_t)manner};
    int64_t count = 0, n_lives_with_work = 0;
    for (int kill_no = 0; kill_no < n_kills(); kill_no++) {
        int64_t acked, before = count;
        live_and_die(f->path, manner, &r, count, &acked);
        struct store_settings settings = {.folder = f->path};
        struct store *s = NULL;
        struct problem why = {{0}, {0}};
        enum status st = store_open(&settings, &s, &why);
        if (st != ST_OK)
            print_error("%s: %s\n", why.target, why.message);
        assert_int_equal(st, ST_OK);
        assert_int_equal(store_check(s, NULL), ST_OK);
        count = read_count(s);
        assert_true(count == acked || count == acked + batch_of(acked));
        assert_state(s, count);
        n_lives_with_work += count > before;
        store_close(s);
    }
    assert_true(n_lives_with_work > n_kills() / 2);
}

static void acknowledged_changes_survive_kill(void **state) {
    survives(state, KILLED_FROM_OUTSIDE);
}

static void acknowledged_changes_survive_loss_of_power(void **state) {
    survives(state, POWER_LOST);
}

/* The test above could pass because the file system forgets nothing: so here is a database that
 * does not sync, and what it has after a kill. */
static void the_file_system_of_this_test_does_forget(void **state) {
    struct folder *f = *state;
    char path[128];
    snprintf(path, sizeof path, "%s/weir.db", f->path);
    pid_t pid = fork();
    if (pid == 0) {
        sqlite3 *db;
        lossy_register(1);
        if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "lossy") !=
                SQLITE_OK ||
            sqlite3_exec(db,
                         "CREATE TABLE t (x); PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;"
                         "INSERT INTO t VALUES (1)",
                         NULL, NULL, NULL) != SQLITE_OK)
            _exit(3);
        raise(SIGKILL);
    }
    int how;
    assert_int_equal(waitpid(pid, &how, 0), pid);
    assert_true(WIFSIGNALED(how));
    sqlite3 *db;
    sqlite3_stmt *statement;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "SELECT count(*) FROM t", -1, &statement, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    assert_int_equal(sqlite3_column_int(statement, 0), 0);
    sqlite3_finalize(statement);
    sqlite3_close(db);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, folder_make, folder_remove)

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(acknowledged_changes_survive_kill),
        IN_FOLDER(acknowledged_changes_survive_loss_of_power),
        IN_FOLDER(the_file_system_of_this_test_does_forget),
    };
    return cmocka_run_group_tests_name("crash", tests, NULL, NULL);
}
