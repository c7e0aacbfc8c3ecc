/* rows.h - what the control plane keeps: one struct a type, in sorted tables, immutable once made. */
#ifndef ARM_ROWS_H
#define ARM_ROWS_H

#include "base/list.h"
#include "base/str.h"
#include "model/catalog.h"

enum row_type {
    ROW_SUBSCRIPTION,
    ROW_GROUP,
    ROW_LOCATION,
    ROW_POOL,
    ROW_BACKEND,
    ROW_MODEL,
    ROW_QUOTA,
    ROW_ACCOUNT,
    ROW_DEPLOYMENT,
    ROW_ASSIGNMENT,
    ROW_OPERATION,
    ROW_QUOTA_REQUEST,
    ROW_TYPE_COUNT
};

struct stamp {
    struct str by; /* "" when nobody knows */
    bool is_user;
    int64_t at_ms;
};

/* Whether the data plane obeys already; not stored. */
enum row_state { ROW_SETTLED, ROW_CREATING, ROW_UPDATING };

/*
 * The head of every row. All texts of a row lie in one block, which is made by row_new and never
 * changes: a change makes a new row that takes the old one's place.
 */
struct row {
    enum row_type type;
    char *block;     /* owned */
    struct str key;  /* the id in lower case; unique within the table */
    struct str id;   /* as first written */
    struct str etag; /* with its quotes */
    struct str tags; /* a JSON object, or "" */
    struct stamp created, changed;
    enum row_state state; /* of the last change */
    uint64_t version;     /* of the world, that this row came with */
};

struct subscription {
    struct row row;
    struct str name, display_name;
};

struct group {
    struct row row;
    struct str name, location;
};

/* A location, pool, backend or model: what the operator wrote, which room model reads. */
struct capacity {
    struct row row;
    struct str name, location;
    struct str properties; /* a JSON object, with secrets */
    bool is_draining;      /* a backend that gets no new calls, or a pool that grants nothing new */
};

/* A limit that the operator set. */
struct quota {
    struct row row;
    struct str subscription, location;
    struct str name; /* "OpenAI.Standard.gpt-4o" */
    struct str format, model;
    enum sku sku;
    int64_t limit;
};

struct account_row {
    struct row row;
    struct str name, subscription, group, location, kind, subdomain, internal_id, identity;
    struct str keys[2]; /* secret */
    int64_t deleted_ms; /* 0: alive */
    int64_t purge_ms;   /* when a deleted one is forgotten */
};

struct deployment_row {
    struct row row;
    struct str name;
    struct str account; /* the account's key */
    struct str format, model, version;
    struct str upgrade, policy;
    struct str grant; /* the ledger's JSON, while a row is read; else "" */
    enum sku sku;
    int64_t size;
    int64_t depth_window_ms; /* 0: the default */
    bool is_strict;
};

struct assignment {
    struct row row;
    struct str name, scope, role, principal, principal_type;
};

struct operation {
    struct row row;
    struct list by_age;
    struct str name;
    struct str subscription, location;
    struct str target; /* key of the row that it is about */
    bool is_running;
    int64_t ended_ms;
};

/* A tenant's wish for more quota. */
struct quota_request {
    struct row row;
    struct str name, subscription, location, quota_name;
    struct str format, model, reason, webhook, answer;
    struct str status; /* "Queued", "Approved", "Refused" */
    enum sku sku;
    int64_t limit;
    int64_t decided_ms;
};

/* Room for a row of any type. */
union any_row {
    struct row row;
    struct subscription subscription;
    struct group group;
    struct capacity capacity;
    struct quota quota;
    struct account_row account;
    struct deployment_row deployment;
    struct assignment assignment;
    struct operation operation;
    struct quota_request quota_request;
};

/* A copy on the heap whose texts are its own. */
struct row *row_new(const struct row *value);
void row_free(struct row *r); /* accepts NULL */

/* As the store knows it: "accounts". */
const char *row_table_name(enum row_type type);
bool row_table_of(struct str name, enum row_type *type) MUST_USE;

/* Rows sorted by key, so that what lies below a key is one stretch. */
struct table {
    struct row **rows; /* owned, and so are the rows */
    size_t n, capacity;
};

void table_destroy(struct table *t);

/* NULL when there is none. */
struct row *table_find(const struct table *t, struct str key);

/* Position of the first row whose key is not below this one. */
size_t table_seek(const struct table *t, struct str key);

/* Adds; returns the row of this key that it replaces, which then belongs to the caller, or NULL. */
struct row *table_put(struct table *t, struct row *r) MUST_USE;

/* Takes the row out; it belongs to the caller. NULL when there is none. */
struct row *table_take(struct table *t, struct str key) MUST_USE;

/* The iterator over rows whose keys begin with `prefix`: *at starts at table_seek. */
struct row *table_next(const struct table *t, struct str prefix, size_t *at);

/* How many those are. */
size_t table_count(const struct table *t, struct str prefix);

#endif
