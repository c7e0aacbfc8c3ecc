/* store_test.c - rows, transactions, the audit, and every way the database may refuse. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/resource.h>

#include "store/store.h"
#include "support/folder.h"

static struct store *open_store(void **state) {
    struct folder *f = *state;
    struct store_settings settings = {.folder = f->path};
    struct store *s = NULL;
    struct problem why = {{0}, {0}};
    enum status st = store_open(&settings, &s, &why);
    if (st != ST_OK)
        print_error("%s: %s\n", why.target, why.message);
    assert_int_equal(st, ST_OK);
    return s;
}

static enum status refusal_to_open(void **state, struct problem *why) {
    struct folder *f = *state;
    struct store_settings settings = {.folder = f->path};
    struct store *s = NULL;
    enum status st = store_open(&settings, &s, why);
    assert_null(s);
    return st;
}

/* The same file by SQLite alone. */
static sqlite3 *open_raw(void **state) {
    struct folder *f = *state;
    char path[128];
    snprintf(path, sizeof path, "%s/weir.db", f->path);
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    return db;
}

static void raw(sqlite3 *db, const char *sql) {
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
}

static void put(struct store *s, struct str table, struct str key, struct str body) {
    assert_int_equal(store_begin(s, NULL), ST_OK);
    assert_int_equal(store_put(s, table, key, body, NULL), ST_OK);
    assert_int_equal(store_commit(s, NULL), ST_OK);
}

static void assert_row(struct store *s, struct str table, struct str key, struct str body) {
    struct buf got;
    buf_init(&got, STORE_BODY_MAX);
    bool found = false;
    assert_int_equal(store_get(s, table, key, &got, &found, NULL), ST_OK);
    assert_int_equal(found, body.p != NULL);
    assert_true(str_eq(buf_view(&got), body));
    buf_destroy(&got);
}

static const struct str nothing = {NULL, 0};

static enum status append_row(void *arg, struct str table, struct str key, struct str body,
                              struct problem *why) {
    (void)why;
    buf_printf(arg, "%.*s/%.*s=%.*s;", STR_ARG(table), STR_ARG(key), STR_ARG(body));
    return ST_OK;
}

static void assert_rows(struct store *s, struct str table, struct str wanted) {
    struct buf got;
    buf_init(&got, 4096);
    assert_int_equal(store_each(s, table, append_row, &got, NULL), ST_OK);
    assert_int_equal(got.len, wanted.n);
    assert_true(str_eq(buf_view(&got), wanted));
    buf_destroy(&got);
}

static void keeps_rows_across_openings(void **state) {
    struct store *s = open_store(state);
    put(s, STR("b"), STR("2"), STR("old"));
    put(s, STR("b"), STR("2"), STR("new"));
    put(s, STR("b"), STR("1"), STR("{}"));
    put(s, STR("a"), STR("9"), STR(""));
    store_close(s);
    s = open_store(state);
    assert_rows(s, nothing, STR("a/9=;b/1={};b/2=new;"));
    assert_rows(s, STR("b"), STR("b/1={};b/2=new;"));
    assert_rows(s, STR("c"), STR(""));
    assert_int_equal(store_begin(s, NULL), ST_OK);
    assert_int_equal(store_delete(s, STR("b"), STR("2"), NULL), ST_OK);
    assert_int_equal(store_delete(s, STR("b"), STR("never there"), NULL), ST_OK);
    assert_int_equal(store_commit(s, NULL), ST_OK);
    assert_row(s, STR("b"), STR("2"), nothing);
    assert_row(s, STR("b"), STR("1"), STR("{}"));
    assert_int_equal(store_check(s, NULL), ST_OK);
    store_close(s);
}

static void an_undone_change_leaves_the_rest_of_the_batch(void **state) {
    struct store *s = open_store(state);
    assert_int_equal(store_begin(s, NULL), ST_OK);
    for (int i = 0; i < 3; i++) {
        char key[2] = {(char)('a' + i), 0};
        assert_int_equal(store_change_begin(s, NULL), ST_OK);
        assert_int_equal(store_put(s, STR("t"), str_of(key), STR("x"), NULL), ST_OK);
        assert_int_equal(store_delete(s, STR("t"), STR("a"), NULL), ST_OK);
        assert_int_equal(i == 1 ? store_change_undo(s, NULL) : store_change_keep(s, NULL), ST_OK);
    }
    assert_int_equal(store_commit(s, NULL), ST_OK);
    assert_rows(s, STR("t"), STR("t/c=x;"));
    store_close(s);
}

static void what_is_not_committed_never_was(void **state) {
    struct store *s = open_store(state);
    put(s, STR("t"), STR("k"), STR("kept"));
    assert_int_equal(store_begin(s, NULL), ST_OK);
    assert_int_equal(store_put(s, STR("t"), STR("k"), STR("lost"), NULL), ST_OK);
    store_rollback(s);
    store_rollback(s); /* nothing is open: fine */
    assert_row(s, STR("t"), STR("k"), STR("kept"));
    assert_int_equal(store_begin(s, NULL), ST_OK);
    assert_int_equal(store_put(s, STR("t"), STR("k"), STR("lost"), NULL), ST_OK);
    store_close(s);
    s = open_store(state);
    assert_row(s, STR("t"), STR("k"), STR("kept"));
    store_close(s);
}

static void texts_are_data_whatever_they_hold(void **state) {
    static const struct str texts[] = {
        STR_INIT("'; DROP TABLE rows; --"),
        STR_INIT("\" OR 1=1"),
        STR_INIT("a\0b"),
        STR_INIT("a\0c"),
        STR_INIT("%_?1:key"),
        STR_INIT("\xff\xfe broken"),
        STR_INIT("K"),
        STR_INIT("k"),
    };
    struct store *s = open_store(state);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        put(s, texts[i], texts[i], texts[i]);
    store_close(s);
    s = open_store(state);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        assert_row(s, texts[i], texts[i], texts[i]);
    store_close(s);
}

static void refuses_what_is_too_large_and_goes_on_with_the_rest(void **state) {
    struct store *s = open_store(state);
    char *big = calloc(STORE_BODY_MAX + 1, 1);
    memset(big, 'x', STORE_BODY_MAX + 1);
    assert_int_equal(store_begin(s, NULL), ST_OK);
    assert_int_equal(store_put(s, STR("t"), STR("k"), (struct str){big, STORE_BODY_MAX + 1}, NULL),
                     ST_TOO_LARGE);
    assert_int_equal(store_put(s, STR("t"), (struct str){big, STORE_KEY_MAX + 1}, STR("x"), NULL),
                     ST_TOO_LARGE);
    assert_int_equal(store_put(s, (struct str){big, STORE_TABLE_MAX + 1}, STR("k"), STR("x"), NULL),
                     ST_TOO_LARGE);
    struct str longest = {big, STORE_BODY_MAX};
    assert_int_equal(store_put(s, (struct str){big, STORE_TABLE_MAX},
                               (struct str){big, STORE_KEY_MAX}, longest, NULL),
                     ST_OK);
    assert_int_equal(store_commit(s, NULL), ST_OK);
    assert_row(s, (struct str){big, STORE_TABLE_MAX}, (struct str){big, STORE_KEY_MAX}, longest);
    struct buf small;
    buf_init(&small, STORE_BODY_MAX - 1);
    bool found = false;
    assert_int_equal(store_get(s, (struct str){big, STORE_TABLE_MAX},
                               (struct str){big, STORE_KEY_MAX}, &small, &found, NULL),
                     ST_TOO_LARGE);
    assert_false(found);
    buf_destroy(&small);
    free(big);
    store_close(s);
}

static enum status stop_at_b(void *arg, struct str table, struct str key, struct str body,
                             struct problem *why) {
    (void)table;
    (void)body;
    ++*(int *)arg;
    return str_eq(key, STR("b")) ? problem_set(why, ST_BAD_JSON, STR("b"), "no") : ST_OK;
}

static void a_walk_ends_with_the_first_refusal(void **state) {
    struct store *s = open_store(state);
    put(s, STR("t"), STR("a"), STR(""));
    put(s, STR("t"), STR("b"), STR(""));
    put(s, STR("t"), STR("c"), STR(""));
    int calls = 0;
    struct problem why = {{0}, {0}};
    assert_int_equal(store_each(s, STR("t"), stop_at_b, &calls, &why), ST_BAD_JSON);
    assert_int_equal(calls, 2);
    assert_string_equal(why.target, "b");
    put(s, STR("t"), STR("d"), STR("")); /* the walk holds nothing back */
    store_close(s);
}

/* --- the audit --- */

static enum status append_audit(void *arg, const struct store_audit *row, struct problem *why) {
    (void)why;
    buf_printf(arg, "%d@%d %.*s %.*s %.*s %.*s>%.*s;", (int)row->number, (int)row->at_ms,
               STR_ARG(row->actor), STR_ARG(row->action), STR_ARG(row->target),
               STR_ARG(row->before), STR_ARG(row->after));
    return ST_OK;
}

static void assert_audit(struct store *s, struct str target, int64_t before, int limit,
                         const char *wanted) {
    struct buf got;
    buf_init(&got, 4096);
    assert_int_equal(store_audit_each(s, target, before, limit, append_audit, &got, NULL), ST_OK);
    buf_char(&got, '\0');
    assert_string_equal(got.p, wanted);
    buf_destroy(&got);
}

static void audit(struct store *s, int64_t at_ms, const char *target, const char *after) {
    struct store_audit row = {.number = 99, /* ignored */
                              .at_ms = at_ms,
                              .actor = STR("ann"),
                              .action = STR("put"),
                              .target = str_of(target),
                              .after = str_of(after)};
    assert_int_equal(store_audit_put(s, &row, NULL), ST_OK);
}

static void the_audit_stands_and_falls_with_its_change(void **state) {
    struct store *s = open_store(state);
    assert_int_equal(store_begin(s, NULL), ST_OK);
    audit(s, 10, "/a", "1");
    assert_int_equal(store_change_begin(s, NULL), ST_OK);
    audit(s, 11, "/a", "undone");
    assert_int_equal(store_change_undo(s, NULL), ST_OK);
    audit(s, 12, "/b", "2");
    audit(s, 13, "/a", "3");
    assert_int_equal(store_commit(s, NULL), ST_OK);
    assert_int_equal(store_begin(s, NULL), ST_OK);
    audit(s, 14, "/a", "rolled back");
    store_rollback(s);
    assert_audit(s, nothing, 0, 9, "3@13 ann put /a >3;2@12 ann put /b >2;1@10 ann put /a >1;");
    assert_audit(s, nothing, 0, 1, "3@13 ann put /a >3;");
    assert_audit(s, nothing, 3, 1, "2@12 ann put /b >2;");
    assert_audit(s, STR("/a"), 0, 9, "3@13 ann put /a >3;1@10 ann put /a >1;");
    assert_audit(s, STR("/A"), 0, 9, "");
    store_close(s);
}

static void trimmed_numbers_are_never_given_again(void **state) {
    struct store *s = open_store(state);
    assert_int_equal(store_begin(s, NULL), ST_OK);
    audit(s, 10, "/a", "1");
    audit(s, 20, "/a", "2");
    assert_int_equal(store_audit_trim(s, 20, NULL), ST_OK);
    assert_int_equal(store_commit(s, NULL), ST_OK);
    assert_audit(s, nothing, 0, 9, "2@20 ann put /a >2;");
    assert_int_equal(store_begin(s, NULL), ST_OK);
    assert_int_equal(store_audit_trim(s, 21, NULL), ST_OK);
    audit(s, 30, "/a", "3");
    assert_int_equal(store_commit(s, NULL), ST_OK);
    assert_audit(s, nothing, 0, 9, "3@30 ann put /a >3;");
    store_close(s);
}

/* --- refusals --- */

static void a_folder_has_one_store(void **state) {
    struct store *s = open_store(state);
    struct problem why = {{0}, {0}};
    assert_int_equal(refusal_to_open(state, &why), ST_STORE_BUSY);
    assert_non_null(strstr(why.target, "weir.lock"));
    put(s, STR("t"), STR("k"), STR("still works"));
    store_close(s);
    store_close(open_store(state));
}

static void a_database_locked_by_others_is_busy_and_then_works(void **state) {
    struct store *s = open_store(state);
    sqlite3 *other = open_raw(state);
    raw(other, "BEGIN IMMEDIATE");
    struct problem why = {{0}, {0}};
    assert_int_equal(store_begin(s, &why), ST_STORE_BUSY);
    assert_true(why.message[0] != '\0');
    store_rollback(s);
    assert_row(s, STR("t"), STR("k"), nothing); /* reading goes on */
    raw(other, "COMMIT");
    put(s, STR("t"), STR("k"), STR("x"));
    sqlite3_close(other);
    store_close(s);
}

static void a_full_disk_refuses_the_batch_whole_and_then_works(void **state) {
    struct store *s = open_store(state);
    put(s, STR("t"), STR("k"), STR("kept"));
    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_IGN);
    small = before;
    small.rlim_cur = 100000; /* bytes a file may have: the log outgrows it */
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    static char body[60000];
    memset(body, 'x', sizeof body);
    enum status st = store_begin(s, NULL);
    assert_int_equal(st, ST_OK);
    assert_int_equal(store_change_begin(s, NULL), ST_OK);
    assert_int_equal(store_put(s, STR("t"), STR("k"), STR("lost"), NULL), ST_OK);
    assert_int_equal(store_change_keep(s, NULL), ST_OK);
    struct problem why = {{0}, {0}};
    for (int i = 0; i < 4 && st == ST_OK; i++) {
        char key[2] = {(char)('a' + i), 0};
        st = store_put(s, STR("t"), str_of(key), (struct str){body, sizeof body}, &why);
    }
    if (st == ST_OK)
        st = store_commit(s, &why);
    assert_int_equal(st, ST_STORE_FULL);
    assert_non_null(strstr(why.target, "weir.db"));
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    /* Even with room again, nothing more of that transaction goes through. */
    assert_int_equal(store_put(s, STR("t"), STR("z"), STR("late"), NULL), ST_STORE_FULL);
    assert_int_equal(store_commit(s, NULL), ST_STORE_FULL);
    store_rollback(s);
    assert_rows(s, STR("t"), STR("t/k=kept;"));
    put(s, STR("t"), STR("k"), STR("new"));
    store_close(s);
    s = open_store(state);
    assert_rows(s, STR("t"), STR("t/k=new;"));
    store_close(s);
}

static void write_into(void **state, off_t at, const char *bytes, size_t n) {
    struct folder *f = *state;
    char path[128];
    snprintf(path, sizeof path, "%s/weir.db", f->path);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, n, at), (ssize_t)n);
    close(fd);
}

static void a_file_that_is_no_database_is_refused_untouched(void **state) {
    char garbage[4096];
    memset(garbage, 'g', sizeof garbage);
    write_into(state, 0, garbage, sizeof garbage);
    struct problem why = {{0}, {0}};
    assert_int_equal(refusal_to_open(state, &why), ST_STORE_CORRUPT);
    struct folder *f = *state;
    char path[128], now[4096] = "";
    snprintf(path, sizeof path, "%s/weir.db", f->path);
    FILE *file = fopen(path, "r");
    assert_int_equal(fread(now, 1, sizeof now, file), sizeof now);
    assert_int_equal(fgetc(file), EOF);
    fclose(file);
    assert_memory_equal(now, garbage, sizeof now);
}

static void damage_is_found(void **state) {
    struct store *s = open_store(state);
    char key[16];
    static char body[3000];
    memset(body, 'x', sizeof body);
    assert_int_equal(store_begin(s, NULL), ST_OK);
    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof key, "k%02d", i);
        assert_int_equal(store_put(s, STR("t"), str_of(key), (struct str){body, sizeof body}, NULL),
                         ST_OK);
    }
    assert_int_equal(store_commit(s, NULL), ST_OK);
    store_close(s);
    static const char zeros[4096];
    for (off_t page = 8; page < 40; page++)
        write_into(state, page * 4096, zeros, sizeof zeros);
    s = open_store(state);
    struct problem why = {{0}, {0}};
    assert_int_equal(store_check(s, &why), ST_STORE_CORRUPT);
    assert_true(why.message[0] != '\0');
    struct buf rows;
    buf_init(&rows, 1 << 20);
    assert_int_equal(store_each(s, STR("t"), append_row, &rows, &why), ST_STORE_CORRUPT);
    buf_destroy(&rows);
    store_close(s);
}

static void another_programs_database_is_refused(void **state) {
    sqlite3 *db = open_raw(state);
    raw(db, "CREATE TABLE theirs (x)");
    sqlite3_close(db);
    struct problem why = {{0}, {0}};
    assert_int_equal(refusal_to_open(state, &why), ST_STORE_CORRUPT);
    assert_non_null(strstr(why.message, "another program"));
}

static void a_newer_versions_database_is_refused(void **state) {
    store_close(open_store(state));
    sqlite3 *db = open_raw(state);
    raw(db, "PRAGMA user_version = 1000");
    sqlite3_close(db);
    struct problem why = {{0}, {0}};
    assert_int_equal(refusal_to_open(state, &why), ST_STORE_CORRUPT);
    assert_non_null(strstr(why.message, "1000"));
    db = open_raw(state);
    raw(db, "PRAGMA user_version = 1");
    sqlite3_close(db);
    store_close(open_store(state));
}

static void a_folder_that_cannot_be_made_is_named(void **state) {
    (void)state;
    struct store_settings settings = {.folder = "/dev/null/below"};
    struct store *s = NULL;
    struct problem why = {{0}, {0}};
    assert_int_equal(store_open(&settings, &s, &why), ST_IO_FAILED);
    assert_non_null(strstr(why.target, "/dev/null"));
    store_close(NULL);
}

static int mode_of(void **state, const char *name) {
    struct folder *f = *state;
    char path[128];
    snprintf(path, sizeof path, "%s/%s", f->path, name);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return st.st_mode & 0777;
}

static void only_its_user_may_read_the_files(void **state) {
    mode_t before = umask(0);
    struct store *s = open_store(state);
    put(s, STR("t"), STR("k"), STR("x"));
    assert_int_equal(mode_of(state, "weir.db"), 0600);
    assert_int_equal(mode_of(state, "weir.db-wal"), 0600);
    assert_int_equal(mode_of(state, "weir.lock"), 0600);
    store_close(s);
    umask(before);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, folder_make, folder_remove)

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(keeps_rows_across_openings),
        IN_FOLDER(an_undone_change_leaves_the_rest_of_the_batch),
        IN_FOLDER(what_is_not_committed_never_was),
        IN_FOLDER(texts_are_data_whatever_they_hold),
        IN_FOLDER(refuses_what_is_too_large_and_goes_on_with_the_rest),
        IN_FOLDER(a_walk_ends_with_the_first_refusal),
        IN_FOLDER(the_audit_stands_and_falls_with_its_change),
        IN_FOLDER(trimmed_numbers_are_never_given_again),
        IN_FOLDER(a_folder_has_one_store),
        IN_FOLDER(a_database_locked_by_others_is_busy_and_then_works),
        IN_FOLDER(a_full_disk_refuses_the_batch_whole_and_then_works),
        IN_FOLDER(a_file_that_is_no_database_is_refused_untouched),
        IN_FOLDER(damage_is_found),
        IN_FOLDER(another_programs_database_is_refused),
        IN_FOLDER(a_newer_versions_database_is_refused),
        IN_FOLDER(a_folder_that_cannot_be_made_is_named),
        IN_FOLDER(only_its_user_may_read_the_files),
    };
    return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
