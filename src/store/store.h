/* store.h - the rows of the control plane on disk: generic, transactional, durable (SQLite). */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "base/buf.h"
#include "base/status.h"
#include "base/str.h"

/*
 * One database file, weir.db, in the data folder. A row is a body (JSON text, opaque here) under a
 * table's name and a key; keys are compared byte by byte. What tables and keys mean is the business
 * of whoever owns the rows.
 *
 * One thread uses a store, and every call is synchronous: it may wait for the disk. One process has
 * a folder: a second store_open of the same folder is refused while the first lives, since whoever
 * opens it keeps the rows in memory.
 *
 * Always: what store_commit acknowledged is on the disk and survives kill -9 and loss of power (WAL
 * with synchronous=FULL); a transaction is there whole or not at all.
 *
 * Errors, the same for every call:
 *   ST_STORE_BUSY     another process holds the lock for longer than busy_ms; try again
 *   ST_STORE_FULL     the disk or the folder's quota is full, or the file may not be written
 *   ST_STORE_CORRUPT  the file is damaged or not ours; only a backup helps
 *   ST_IO_FAILED      anything else the system refuses
 * `why` (may be NULL) gets SQLite's own words. After an error inside a transaction call
 * store_rollback; the store stays usable, and the next transaction may succeed.
 */
struct store;

struct store_settings {
    const char *folder; /* made when it is not there, mode 0700 */
    int busy_ms;        /* how long a call waits for another process's lock; 0 does not wait */
    const char *vfs;    /* SQLite's name of a file system layer; NULL for the system's. For tests */
};

enum {
    STORE_TABLE_MAX = 64,     /* bytes of a table's name, at least 1 */
    STORE_KEY_MAX = 2048,     /* bytes of a key, at least 1 */
    STORE_BODY_MAX = 8 << 20, /* bytes of a body */
};

/*
 * Opens or makes the database, takes the folder's lock, and brings an older schema up to date, each
 * numbered migration in a transaction of its own. A database that a newer version wrote is refused
 * with ST_STORE_CORRUPT, untouched.
 */
enum status store_open(const struct store_settings *settings, struct store **out,
                       struct problem *why) MUST_USE;

/* Rolls an open transaction back, closes, gives the folder free. NULL is fine. */
void store_close(struct store *s);

/*
 * Transactions. One at a time; writing outside of one is a defect (asserted).
 *
 *   store_begin … for each change: store_change_begin, puts and deletes, store_change_keep or
 *   store_change_undo … store_commit
 *
 * A change is a savepoint: what store_change_undo takes back leaves the rest of the batch standing,
 * so many requests share one wait for the disk.
 */
enum status store_begin(struct store *s, struct problem *why) MUST_USE;
enum status store_commit(struct store *s, struct problem *why) MUST_USE;
void store_rollback(struct store *s); /* also when none is open */

enum status store_change_begin(struct store *s, struct problem *why) MUST_USE;
enum status store_change_keep(struct store *s, struct problem *why) MUST_USE;
enum status store_change_undo(struct store *s, struct problem *why) MUST_USE;

/* Writes a row, replacing one with that key. */
enum status store_put(struct store *s, struct str table, struct str key, struct str body,
                      struct problem *why) MUST_USE;

/* Deletes a row; fine when there is none. */
enum status store_delete(struct store *s, struct str table, struct str key,
                         struct problem *why) MUST_USE;

/* Appends the row's body to `body`; *found says whether there is one. ST_TOO_LARGE past its
 * ceiling. */
enum status store_get(struct store *s, struct str table, struct str key, struct buf *body,
                      bool *found, struct problem *why) MUST_USE;

/*
 * Calls fn for each row of a table, or of all tables when `table` is empty, in the order of table
 * and key. The views are valid during the call. When fn returns another status than ST_OK the walk
 * ends with it. fn may not use the store.
 */
typedef enum status (*store_row_fn)(void *arg, struct str table, struct str key, struct str body,
                                    struct problem *why);
enum status store_each(struct store *s, struct str table, store_row_fn fn, void *arg,
                       struct problem *why) MUST_USE;

/*
 * The audit: who changed what, appended and never changed. Part of the transaction, so a change and
 * its row stand or fall together. `before` and `after` are JSON texts without secrets, empty when
 * the thing was not there.
 */
struct store_audit {
    int64_t number; /* given by the store, growing by 1 a row; ignored when writing */
    int64_t at_ms;  /* wall clock, milliseconds since 1970 */
    struct str actor, action, target, before, after;
};

enum status store_audit_put(struct store *s, const struct store_audit *row,
                            struct problem *why) MUST_USE;

/*
 * Walks the audit backwards from the row before `before_number` (0: from the newest), at most
 * `limit` rows, of one target when `target` is not empty (compared byte by byte). Rules as in
 * store_each.
 */
typedef enum status (*store_audit_fn)(void *arg, const struct store_audit *row,
                                      struct problem *why);
enum status store_audit_each(struct store *s, struct str target, int64_t before_number, int limit,
                             store_audit_fn fn, void *arg, struct problem *why) MUST_USE;

/* Deletes audit rows older than that. In a transaction. */
enum status store_audit_trim(struct store *s, int64_t before_ms, struct problem *why) MUST_USE;

/* Reads the whole file and checks it (PRAGMA quick_check): ST_STORE_CORRUPT with the first
 * fault. */
enum status store_check(struct store *s, struct problem *why) MUST_USE;

#endif
