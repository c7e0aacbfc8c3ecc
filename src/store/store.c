/* store.c - rows, audit, transactions and migrations on SQLite. */
#include "store/store.h"

#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

/* --- the schema --- */

extern const char schema_0001[];

/* Migration i + 1; made from schema/NNNN_name.sql by tools/embed.py, so each text ends in NUL.
 * Forward only: a file that has been released is never changed. */
static const char *const migrations[] = {schema_0001};

enum { APPLICATION_ID = 0x57454952 };

/* --- statements, prepared once --- */

/* clang-format off */
#define SQL_TABLE(X)                                                                               \
    X(BEGIN,        "BEGIN IMMEDIATE") /* takes the lock now: later none can be refused */         \
    X(COMMIT,       "COMMIT")                                                                      \
    X(ROLLBACK,     "ROLLBACK")                                                                    \
    X(CHANGE_BEGIN, "SAVEPOINT change")                                                            \
    X(CHANGE_KEEP,  "RELEASE change")                                                              \
    X(CHANGE_UNDO,  "ROLLBACK TO change")                                                          \
    X(PUT,          "INSERT INTO rows (tbl, key, body) VALUES (?1, ?2, ?3) "                       \
                    "ON CONFLICT (tbl, key) DO UPDATE SET body = ?3")                              \
    X(DELETE,       "DELETE FROM rows WHERE tbl = ?1 AND key = ?2")                                \
    X(GET,          "SELECT body FROM rows WHERE tbl = ?1 AND key = ?2")                           \
    X(EACH,         "SELECT tbl, key, body FROM rows WHERE tbl = ?1 ORDER BY key")                 \
    X(EACH_ALL,     "SELECT tbl, key, body FROM rows ORDER BY tbl, key")                           \
    X(AUDIT_PUT,    "INSERT INTO audit (at_ms, actor, action, target, before, after) "             \
                    "VALUES (?1, ?2, ?3, ?4, ?5, ?6)")                                             \
    X(AUDIT,        "SELECT number, at_ms, actor, action, target, before, after FROM audit "       \
                    "WHERE number < ?1 ORDER BY number DESC LIMIT ?2")                             \
    X(AUDIT_OF,     "SELECT number, at_ms, actor, action, target, before, after FROM audit "       \
                    "WHERE target = ?3 AND number < ?1 ORDER BY number DESC LIMIT ?2")             \
    X(AUDIT_TRIM,   "DELETE FROM audit WHERE at_ms < ?1")                                          \
    X(CHECK,        "PRAGMA quick_check(1)")
/* clang-format on */

enum sql {
#define SQL_ENUM(id, text) SQL_##id,
    SQL_TABLE(SQL_ENUM)
#undef SQL_ENUM
        SQL_COUNT
};

struct store {
    sqlite3 *db; /* owned */
    sqlite3_stmt *statements[SQL_COUNT];
    int lock_fd; /* holds the folder; -1 when not open */
    bool in_change, is_walking;
    enum status failed; /* of the open transaction: nothing more of it may succeed */
    char path[PATH_MAX];
};

/* --- errors --- */

static bool is_no_room(int e) {
    return e == ENOSPC || e == EDQUOT || e == EFBIG;
}

/*
 * Whether the system refused a write of the database or its log for want of room. SQLite knows ENOSPC
 * itself; a quota or a limit of the file size is to it any failure, and the number stays with the
 * file.
 */
static bool has_no_room(sqlite3 *db) {
    static const int files[] = {SQLITE_FCNTL_FILE_POINTER, SQLITE_FCNTL_JOURNAL_POINTER};
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        sqlite3_file *file = NULL;
        int e = 0;
        if (sqlite3_file_control(db, "main", files[i], &file) == SQLITE_OK && file &&
            file->pMethods &&
            file->pMethods->xFileControl(file, SQLITE_FCNTL_LAST_ERRNO, &e) == SQLITE_OK &&
            is_no_room(e))
            return true;
    }
    return false;
}

static enum status status_of(sqlite3 *db, int code) {
    switch (code & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return ST_OK;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return ST_STORE_BUSY;
    case SQLITE_FULL:
    case SQLITE_READONLY:
        return ST_STORE_FULL;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return ST_STORE_CORRUPT;
    case SQLITE_TOOBIG:
        return ST_TOO_LARGE;
    case SQLITE_NOMEM:
        abort(); /* as everywhere: sizes were bounded before */
    default:
        break;
    }
    return code == SQLITE_IOERR_WRITE && has_no_room(db) ? ST_STORE_FULL : ST_IO_FAILED;
}

/* ST_OK for a code that is no error; else `why` is filled, and an open transaction is lost. */
static enum status judge(struct store *s, int code, struct problem *why) {
    enum status st = status_of(s->db, code);
    if (st == ST_OK)
        return st;
    if (s->failed == ST_OK)
        s->failed = st;
    return problem_set(why, st, str_of(s->path), "%s: %s", sqlite3_errstr(code),
                       sqlite3_errmsg(s->db));
}

static enum status system_failed(const char *path, const char *what, struct problem *why) {
    int e = errno;
    return problem_set(why, is_no_room(e) ? ST_STORE_FULL : ST_IO_FAILED, str_of(path),
                       "cannot %s: %s", what, strerror(e));
}

/* --- running a statement --- */

static void bind_text(sqlite3_stmt *statement, int at, struct str text) {
    /* The texts outlive the step; an empty view may be NULL, which would be SQL's null. */
    int code = sqlite3_bind_text64(statement, at, text.p ? text.p : "", text.n, SQLITE_STATIC,
                                   SQLITE_UTF8);
    assert(code == SQLITE_OK || code == SQLITE_TOOBIG);
}

static void bind_i64(sqlite3_stmt *statement, int at, int64_t v) {
    int code = sqlite3_bind_int64(statement, at, v);
    assert(code == SQLITE_OK);
}

static struct str column(sqlite3_stmt *statement, int at) {
    const char *p = (const char *)sqlite3_column_text(statement, at);
    return (struct str){p, (size_t)sqlite3_column_bytes(statement, at)};
}

static sqlite3_stmt *statement_of(struct store *s, enum sql which) {
    assert(!s->is_walking);
    return s->statements[which];
}

static void finish(sqlite3_stmt *statement) {
    sqlite3_reset(statement); /* repeats the step's error, which was judged */
    sqlite3_clear_bindings(statement);
}

/* Runs a statement without rows whose parameters are bound. */
static enum status run(struct store *s, sqlite3_stmt *statement, struct problem *why) {
    enum status st = judge(s, sqlite3_step(statement), why);
    finish(statement);
    return st;
}

/* Statements without parameters, outside of the table: pragmas and migrations. */
static enum status execute(struct store *s, const char *sql, struct problem *why) {
    return judge(s, sqlite3_exec(s->db, sql, NULL, NULL, NULL), why);
}

/* The first column of a statement's first row, as a number. */
static enum status query_i64(struct store *s, const char *sql, int64_t *out, struct problem *why) {
    sqlite3_stmt *statement = NULL;
    enum status st = judge(s, sqlite3_prepare_v2(s->db, sql, -1, &statement, NULL), why);
    if (st == ST_OK)
        st = judge(s, sqlite3_step(statement), why);
    if (st == ST_OK)
        *out = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return st;
}

/* --- opening --- */

/* An empty file is an empty database. Made here, so that its mode is ours, which SQLite then
 * gives to the files beside it too. */
static enum status make_file(const char *path, struct problem *why) {
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return system_failed(path, "open", why);
    close(fd);
    return ST_OK;
}

static enum status take_folder(struct store *s, const char *folder, struct problem *why) {
    char path[PATH_MAX];
    if (snprintf(s->path, sizeof s->path, "%s/weir.db", folder) >= (int)sizeof s->path ||
        snprintf(path, sizeof path, "%s/weir.lock", folder) >= (int)sizeof path) {
        errno = ENAMETOOLONG;
        return system_failed(folder, "open", why);
    }
    TRY(os_make_folder(folder, why));
    s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (s->lock_fd < 0)
        return system_failed(path, "open", why);
    if (flock(s->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return make_file(s->path, why);
    if (errno == EWOULDBLOCK)
        return problem_set(why, ST_STORE_BUSY, str_of(path), "Another process uses this folder.");
    return system_failed(path, "lock", why);
}

/* Every setting that durability and defence rest on (docs/decisions/0016-the-store.md). */
static enum status configure(struct store *s, int busy_ms, struct problem *why) {
    TRY(judge(s, sqlite3_extended_result_codes(s->db, 1), why));
    TRY(judge(s, sqlite3_busy_timeout(s->db, busy_ms), why));
    TRY(judge(s, sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL), why));
    TRY(execute(s,
                "PRAGMA trusted_schema = OFF;"
                "PRAGMA cell_size_check = ON;"
                "PRAGMA temp_store = MEMORY;"
                "PRAGMA synchronous = FULL;"
                "PRAGMA journal_size_limit = 16777216",
                why));
    return ST_OK;
}

static enum status use_wal(struct store *s, struct problem *why) {
    TRY(execute(s, "PRAGMA journal_mode = WAL", why));
    sqlite3_stmt *statement = NULL;
    TRY(judge(s, sqlite3_prepare_v2(s->db, "PRAGMA journal_mode", -1, &statement, NULL), why));
    bool is_wal = sqlite3_step(statement) == SQLITE_ROW && str_eq(column(statement, 0), STR("wal"));
    sqlite3_finalize(statement);
    if (!is_wal)
        return problem_set(why, ST_IO_FAILED, str_of(s->path),
                           "The file system of the data folder has no shared memory, which the "
                           "database's log needs. Use a local disk.");
    return ST_OK;
}

static enum status refuse_foreign(struct store *s, int64_t version, struct problem *why) {
    int64_t id, n_tables;
    TRY(query_i64(s, "PRAGMA application_id", &id, why));
    TRY(query_i64(s, "SELECT count(*) FROM sqlite_schema", &n_tables, why));
    if (id != APPLICATION_ID && (n_tables > 0 || version > 0))
        return problem_set(why, ST_STORE_CORRUPT, str_of(s->path),
                           "This database is another program's.");
    if (version > (int64_t)ARRAY_LEN(migrations))
        return problem_set(why, ST_STORE_CORRUPT, str_of(s->path),
                           "A newer version wrote this database: its schema is %d, this version "
                           "knows %d.",
                           (int)version, (int)ARRAY_LEN(migrations));
    return ST_OK;
}

static enum status migrate_one(struct store *s, size_t i, struct problem *why) {
    char set_version[64];
    snprintf(set_version, sizeof set_version, "PRAGMA user_version = %zu", i + 1);
    TRY(execute(s, "BEGIN IMMEDIATE", why));
    TRY(execute(s, migrations[i], why));
    TRY(execute(s, set_version, why));
    return execute(s, "COMMIT", why);
}

static enum status migrate(struct store *s, struct problem *why) {
    int64_t version;
    TRY(query_i64(s, "PRAGMA user_version", &version, why));
    TRY(refuse_foreign(s, version, why));
    TRY(use_wal(s, why));
    for (size_t i = (size_t)i64_max(version, 0); i < ARRAY_LEN(migrations); i++)
        TRY(migrate_one(s, i, why));
    return ST_OK;
}

static enum status prepare(struct store *s, struct problem *why) {
    static const char *const texts[] = {
#define SQL_TEXT(id, text) text,
        SQL_TABLE(SQL_TEXT)
#undef SQL_TEXT
    };
    for (int i = 0; i < SQL_COUNT; i++)
        TRY(judge(s,
                  sqlite3_prepare_v3(s->db, texts[i], -1, SQLITE_PREPARE_PERSISTENT,
                                     &s->statements[i], NULL),
                  why));
    return ST_OK;
}

static enum status open_all(struct store *s, const struct store_settings *settings,
                            struct problem *why) {
    TRY(take_folder(s, settings->folder, why));
    int code = sqlite3_open_v2(s->path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX,
                               settings->vfs);
    TRY(judge(s, code, why));
    TRY(configure(s, settings->busy_ms, why));
    TRY(migrate(s, why));
    return prepare(s, why);
}

enum status store_open(const struct store_settings *settings, struct store **out,
                       struct problem *why) {
    struct store *s = xcalloc(1, sizeof *s);
    s->lock_fd = -1;
    enum status st = open_all(s, settings, why);
    if (st != ST_OK) {
        store_close(s);
        return st;
    }
    *out = s;
    return ST_OK;
}

void store_close(struct store *s) {
    if (!s)
        return;
    assert(!s->is_walking);
    for (int i = 0; i < SQL_COUNT; i++)
        sqlite3_finalize(s->statements[i]);
    int code = sqlite3_close(s->db); /* rolls back what is open */
    assert(code == SQLITE_OK);
    if (s->lock_fd >= 0)
        close(s->lock_fd);
    free(s);
}

/* --- transactions --- */

static bool is_open(const struct store *s) {
    return !sqlite3_get_autocommit(s->db);
}

/*
 * Before each step of a transaction: after a failure nothing more of it goes through, even when
 * SQLite would let it. Some failures (a full disk) roll the whole transaction back by themselves;
 * what followed would then be written outside of it.
 */
static enum status go_on(const struct store *s, struct problem *why) {
    if (s->failed != ST_OK)
        return problem_set(why, s->failed, str_of(s->path),
                           "An earlier step of this transaction failed.");
    assert(is_open(s));
    return ST_OK;
}

enum status store_begin(struct store *s, struct problem *why) {
    assert(!is_open(s));
    s->failed = ST_OK;
    s->in_change = false;
    return run(s, statement_of(s, SQL_BEGIN), why);
}

enum status store_commit(struct store *s, struct problem *why) {
    assert(!s->in_change);
    TRY(go_on(s, why));
    return run(s, statement_of(s, SQL_COMMIT), why);
}

void store_rollback(struct store *s) {
    if (is_open(s)) {
        enum status st = run(s, statement_of(s, SQL_ROLLBACK), NULL);
        assert(st == ST_OK || !is_open(s)); /* a rollback that fails still ends the transaction */
    }
    s->in_change = false;
    s->failed = ST_OK;
}

enum status store_change_begin(struct store *s, struct problem *why) {
    TRY(go_on(s, why));
    assert(!s->in_change);
    TRY(run(s, statement_of(s, SQL_CHANGE_BEGIN), why));
    s->in_change = true;
    return ST_OK;
}

enum status store_change_keep(struct store *s, struct problem *why) {
    assert(s->in_change);
    s->in_change = false;
    TRY(go_on(s, why));
    return run(s, statement_of(s, SQL_CHANGE_KEEP), why);
}

enum status store_change_undo(struct store *s, struct problem *why) {
    assert(s->in_change);
    s->in_change = false;
    TRY(go_on(s, why));
    TRY(run(s, statement_of(s, SQL_CHANGE_UNDO), why));
    /* The savepoint itself is still there. */
    return run(s, statement_of(s, SQL_CHANGE_KEEP), why);
}

/* --- rows --- */

static enum status check_sizes(struct str table, struct str key, size_t body_len,
                               struct problem *why) {
    assert(table.n > 0 && key.n > 0);
    if (table.n > STORE_TABLE_MAX || key.n > STORE_KEY_MAX || body_len > STORE_BODY_MAX)
        return problem_set(why, ST_TOO_LARGE, str_of("row"),
                           "A row's key may have %d bytes and its body %d.", STORE_KEY_MAX,
                           STORE_BODY_MAX);
    return ST_OK;
}

enum status store_put(struct store *s, struct str table, struct str key, struct str body,
                      struct problem *why) {
    TRY(go_on(s, why));
    TRY(check_sizes(table, key, body.n, why));
    sqlite3_stmt *statement = statement_of(s, SQL_PUT);
    bind_text(statement, 1, table);
    bind_text(statement, 2, key);
    bind_text(statement, 3, body);
    return run(s, statement, why);
}

enum status store_delete(struct store *s, struct str table, struct str key, struct problem *why) {
    TRY(go_on(s, why));
    TRY(check_sizes(table, key, 0, why));
    sqlite3_stmt *statement = statement_of(s, SQL_DELETE);
    bind_text(statement, 1, table);
    bind_text(statement, 2, key);
    return run(s, statement, why);
}

enum status store_get(struct store *s, struct str table, struct str key, struct buf *body,
                      bool *found, struct problem *why) {
    TRY(check_sizes(table, key, 0, why));
    sqlite3_stmt *statement = statement_of(s, SQL_GET);
    bind_text(statement, 1, table);
    bind_text(statement, 2, key);
    int code = sqlite3_step(statement);
    enum status st = judge(s, code, why);
    if (code == SQLITE_ROW) {
        buf_str(body, column(statement, 0));
        st = buf_status(body);
    }
    finish(statement);
    if (st == ST_OK)
        *found = code == SQLITE_ROW;
    return st;
}

enum status store_each(struct store *s, struct str table, store_row_fn fn, void *arg,
                       struct problem *why) {
    sqlite3_stmt *statement = statement_of(s, table.n > 0 ? SQL_EACH : SQL_EACH_ALL);
    if (table.n > 0)
        bind_text(statement, 1, table);
    enum status st = ST_OK;
    s->is_walking = true;
    while (st == ST_OK) {
        int code = sqlite3_step(statement);
        st = judge(s, code, why);
        if (code != SQLITE_ROW)
            break;
        st = fn(arg, column(statement, 0), column(statement, 1), column(statement, 2), why);
    }
    s->is_walking = false;
    finish(statement);
    return st;
}

/* --- the audit --- */

enum status store_audit_put(struct store *s, const struct store_audit *row, struct problem *why) {
    TRY(go_on(s, why));
    sqlite3_stmt *statement = statement_of(s, SQL_AUDIT_PUT);
    bind_i64(statement, 1, row->at_ms);
    bind_text(statement, 2, row->actor);
    bind_text(statement, 3, row->action);
    bind_text(statement, 4, row->target);
    bind_text(statement, 5, row->before);
    bind_text(statement, 6, row->after);
    return run(s, statement, why);
}

enum status store_audit_each(struct store *s, struct str target, int64_t before_number, int limit,
                             store_audit_fn fn, void *arg, struct problem *why) {
    sqlite3_stmt *statement = statement_of(s, target.n > 0 ? SQL_AUDIT_OF : SQL_AUDIT);
    bind_i64(statement, 1, before_number > 0 ? before_number : INT64_MAX);
    bind_i64(statement, 2, limit);
    if (target.n > 0)
        bind_text(statement, 3, target);
    enum status st = ST_OK;
    s->is_walking = true;
    while (st == ST_OK) {
        int code = sqlite3_step(statement);
        st = judge(s, code, why);
        if (code != SQLITE_ROW)
            break;
        struct store_audit row = {
            .number = sqlite3_column_int64(statement, 0),
            .at_ms = sqlite3_column_int64(statement, 1),
            .actor = column(statement, 2),
            .action = column(statement, 3),
            .target = column(statement, 4),
            .before = column(statement, 5),
            .after = column(statement, 6),
        };
        st = fn(arg, &row, why);
    }
    s->is_walking = false;
    finish(statement);
    return st;
}

enum status store_audit_trim(struct store *s, int64_t before_ms, struct problem *why) {
    TRY(go_on(s, why));
    sqlite3_stmt *statement = statement_of(s, SQL_AUDIT_TRIM);
    bind_i64(statement, 1, before_ms);
    return run(s, statement, why);
}

static enum status first_fault(struct store *s, sqlite3_stmt *statement, struct problem *why) {
    TRY(judge(s, sqlite3_step(statement), why));
    struct str said = column(statement, 0);
    if (str_eq(said, STR("ok")))
        return ST_OK;
    return problem_set(why, ST_STORE_CORRUPT, str_of(s->path), "%.*s", STR_ARG(said));
}

enum status store_check(struct store *s, struct problem *why) {
    sqlite3_stmt *statement = statement_of(s, SQL_CHECK);
    enum status st = first_fault(s, statement, why);
    finish(statement);
    return st;
}
