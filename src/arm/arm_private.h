/* arm_private.h - the inside of the control plane, for the files that answer its requests. */
#ifndef ARM_ARM_PRIVATE_H
#define ARM_ARM_PRIVATE_H

#include "arm/access.h"
#include "arm/arm.h"
#include "arm/fault.h"
#include "arm/ledger.h"
#include "arm/rows.h"
#include "arm/text.h"
#include "base/map.h"
#include "model/fields.h"
#include "model/snapshot.h"
#include "json/json.h"

struct arm {
    struct arm_settings settings; /* texts owned */
    struct siphash_key hash;
    struct table tables[ROW_TYPE_COUNT];
    /* Compiled from the operator's rows alone: the catalog, locations and pools; replaced whole. */
    struct snapshot *capacity; /* owned */
    struct offers *offers;     /* owned, as are the next four */
    struct ledger *ledger;
    struct access *access;
    struct json_doc *doc; /* of the request, or of the row that is loaded */
    struct json_doc *row_doc;
    struct buf padded;  /* what `doc` parses */
    struct buf scratch; /* bodies of rows while they are written */
    uint64_t version;   /* rises with every change that the data plane must obey */
    /* What it does not obey yet: all, or these accounts. */
    bool is_all_news;
    struct map is_news; /* keys of accounts, owned by `news` */
    struct str *news;   /* owned, and so are the texts */
    size_t n_news, news_capacity;
    struct list by_age; /* all operations, oldest first */
    uint64_t n_changes; /* rises with every row that is written or deleted */
    /* The last list of usages that was asked for whole, and of what; true while n_changes stays. It
     * has a hundred names, and clients ask for it again and again. */
    struct buf usages, usages_of;
    uint64_t usages_at;
    size_t n_running;
    const struct arm_request *request; /* while one is handled */
};

enum {
    SEGMENTS_MAX = 24, /* of a path; an id has 12 at most, a scope before it as many */
    NAMES_MAX = 6,
};

struct route;

/* One request while it is answered. Texts live as long as the call. */
struct ask {
    struct arm *arm;
    const struct arm_request *req;
    struct arm_answer *out;
    struct arm_changes *changes;
    const struct route *route;
    struct arena *memory; /* borrowed */
    struct str segment[SEGMENTS_MAX];
    int n_segments;
    struct str query;
    struct str name[NAMES_MAX]; /* what the {} of the route's pattern stand for */
    int n_names;
    struct str api_version;
    bool has_body;
    struct json_value body; /* an object, when there is one */
    int n_random;           /* words used */
    struct str path;        /* all segments, decoded */
};

/* Who may come through. */
enum guard {
    GUARD_ROLE,     /* whose roles allow the action on this path */
    GUARD_LIST,     /* ... on something below it; the answer shows no more than that */
    GUARD_OPERATOR, /* operators alone */
    GUARD_OPEN,     /* whoever is known; the answer shows what his roles allow */
};

struct route {
    enum arm_method method;
    enum guard guard;
    /* {} is a name, {l} a location, {x} a name that may be long. */
    const char *pattern;
    const char *action;
    void (*answer)(struct ask *);
};

/* Which of its rows' members a text shows. */
enum form {
    FORM_WIRE,       /* what clients see: no secrets */
    FORM_STORE,      /* all that must survive a restart */
    FORM_DATA_PLANE, /* what snapshot_build reads: with secrets */
};

/* health.c: what the request knows of the health of a backend, or of those of a pool; members of the
 * object that is open, or nothing. */
void health_write(const struct arm *arm, struct json_writer *w, const struct capacity *c);

/* shape.c, shape_read.c: rows as JSON */
void shape_write(const struct arm *arm, struct json_writer *w, const struct row *r, enum form form);
/* Texts of `out` are views into the document and into `memory`. */
bool shape_read(enum row_type type, struct json_value v, struct arena *memory,
                union any_row *out) MUST_USE;
/* The value as canonical JSON without the members named in `without` (NULL at its end; only of the
 * value itself). False when it is nested deeper than anything that we keep. */
bool shape_copy(struct arena *memory, struct json_value v, const char *const *without,
                struct str *out) MUST_USE;
struct str shape_type_name(enum row_type type);
void shape_key_str(struct json_writer *w, const char *key, struct str value);
void shape_key_i64(struct json_writer *w, const char *key, int64_t value);
void shape_key_bool(struct json_writer *w, const char *key, bool value);
void shape_begin(struct json_writer *w, const char *key);
void shape_write_model(const struct arm *arm, struct json_writer *w, const struct model *m);
void shape_write_rate_limits(struct json_writer *w, const struct model *m, enum sku sku,
                             int64_t size);

/* ask.c: what every answer needs */
struct str ask_format(struct ask *a, const char *format, ...) PRINTF_LIKE(2, 3);
struct str ask_lower(struct ask *a, struct str s);
/* The value of a query parameter, decoded; "" when absent. */
struct str ask_query(struct ask *a, struct str name);
uint64_t ask_random(struct ask *a);
struct stamp ask_stamp(const struct ask *a);
struct str ask_etag(struct ask *a);
bool ask_may(const struct ask *a, const char *action, struct str scope);

bool ask_fault(struct ask *a, enum fault f, const char *target, const char *format, ...)
    PRINTF_LIKE(4, 5);
/* The first fault of a reader, as an answer; true when there was none. */
bool ask_reader_ok(struct ask *a, const struct reader *r, enum fault f);
bool ask_needs_body(struct ask *a, struct fields *f, struct reader *r, struct problem *why);
/* Reads `tags` of a body: text to text, at most 50. */
bool ask_tags(struct ask *a, struct fields *top, struct str *out);
/* If-Match and If-None-Match against what is there, NULL for nothing. */
bool ask_preconditions(struct ask *a, const struct row *r);

/* body.c: the request's body, once it is known that the caller may ask for what it asks; refuses what is
 * no object, too long, or of two minds. */
bool body_read(struct ask *a);

/* Answers with one row, or with any JSON. */
void ask_answer_row(struct ask *a, int status, const struct row *r);
struct json_writer ask_answer(struct ask *a, int status);
/* A list: the rows of a table below `prefix` that `is_shown` keeps, a page of them. */
void ask_answer_rows(struct ask *a, enum row_type type, struct str prefix,
                     bool (*is_shown)(struct ask *a, const struct row *r));

/* Puts a row into the world, the changes and the audit; returns it as it stands in its table. What
 * stood there before is freed. */
struct row *ask_put(struct ask *a, const struct row *value);
void ask_delete(struct ask *a, enum row_type type, struct str key);
/* The role assignments at a scope that is deleted, and below it. */
void ask_forget_assignments(struct ask *a, struct str scope);
void ask_forget_principal(struct ask *a, struct str principal); /* likewise all that it has */
void ask_audit(struct ask *a, struct str target, struct str before, struct str after);
/* A row in wire form, for the audit. "" for NULL. */
struct str ask_shown(struct ask *a, const struct row *r);

/* The data plane must obey what follows: about the account of this key, or what the operator has.
 * Rows that are put wait for the version that these return. */
uint64_t ask_moves_account(struct ask *a, struct str key);
uint64_t ask_moves_all(struct ask *a);

/* The answer names an operation that tells when the change is done: at once, or when the loops hold
 * the world's version. */
void ask_begin_operation(struct ask *a, struct str subscription, struct str location,
                         struct str target_key, bool needs_snapshot);

/* changes.c */
void changes_put(struct arm_changes *c, enum arm_change_kind kind, struct str table, struct str key,
                 struct str body);
void changes_audit(struct arm_changes *c, const struct arm_audit *audit);
void changes_notice(struct arm_changes *c, struct str url, struct str body);
void world_write_row(struct arm *arm, const struct row *r, struct arm_changes *c);

/* world.c: the tables */
struct subscription *world_subscription(const struct arm *arm, struct str name);
struct group *world_group(const struct arm *arm, struct str subscription, struct str name);
/* Dead or alive. */
struct account_row *world_account(const struct arm *arm, struct str key);
/* "East US" and "eastus" are one; NULL when there is none. */
const struct location *world_location(const struct arm *arm, struct str name);
bool world_is_alive(const struct arm *arm, const struct deployment_row *d);
const struct model *world_model(const struct arm *arm, const struct deployment_row *d);
void world_ledger_ask(const struct arm *arm, const struct deployment_row *d,
                      const struct account_row *a, struct ledger_ask *out);
/* Compiles the operator's rows, together with all that is sold: what is sold must still hold. The
 * row `changed` (may be NULL) is named "request" in `why`. */
enum status world_compile(struct arm *arm, const struct row *changed, struct problem *why) MUST_USE;
/* The data plane must hear of this account. */
void world_add_news(struct arm *arm, struct str account_key);
void world_forget_account(struct arm *arm, struct account_row *acc, struct arm_changes *c);
void world_documents(const struct arm *arm, struct buf *out, const struct row *without,
                     bool is_for_check);

/* accounts.c */
void accounts_put(struct ask *a);
void accounts_patch(struct ask *a);
void accounts_get(struct ask *a);
void accounts_list_group(struct ask *a);
void accounts_list_subscription(struct ask *a);
void accounts_delete(struct ask *a);
void accounts_list_keys(struct ask *a);
void accounts_regenerate_key(struct ask *a);
void accounts_skus(struct ask *a);
void accounts_usages(struct ask *a);
void accounts_models(struct ask *a);
void accounts_deleted_list(struct ask *a);
void accounts_deleted_get(struct ask *a);
void accounts_purge(struct ask *a);
void accounts_check_domain(struct ask *a);
void accounts_check_sku(struct ask *a);
void accounts_soft_delete(struct ask *a, const struct account_row *acc);
void accounts_not_found(struct ask *a);
/* The account that names 0 to 2 of the path name, alive; a refusal and NULL when there is none. */
struct account_row *accounts_find(struct ask *a);

/* deployments.c */
void deployments_put(struct ask *a);
void deployments_patch(struct ask *a);
void deployments_get(struct ask *a);
void deployments_list(struct ask *a);
void deployments_delete(struct ask *a);
void deployments_skus(struct ask *a);

/* places.c: what is sold where */
void places_usages(struct ask *a);
void places_models(struct ask *a);
void places_skus(struct ask *a);
void places_model_capacities(struct ask *a);
void places_model_capacities_everywhere(struct ask *a);
void places_calculate(struct ask *a);
void places_operation(struct ask *a);
void places_operations(struct ask *a);

/* scopes.c: subscriptions, groups, providers, tenants */
void scopes_subscriptions(struct ask *a);
void scopes_subscription_get(struct ask *a);
void scopes_subscription_put(struct ask *a);
void scopes_subscription_delete(struct ask *a);
void scopes_locations(struct ask *a);
void scopes_tenants(struct ask *a);
void scopes_groups(struct ask *a);
void scopes_group_get(struct ask *a);
void scopes_group_put(struct ask *a);
void scopes_group_patch(struct ask *a);
void scopes_group_delete(struct ask *a);
void scopes_group_resources(struct ask *a);
void scopes_resources(struct ask *a);
/* What a resource file leaves out: the parents of an account, each in a row of its own. The group comes
 * to be where the account is; nothing happens when that is no location. */
void scopes_import_subscription(struct ask *a, struct str name);
void scopes_import_group(struct ask *a, struct str subscription, struct str name);
void scopes_providers(struct ask *a);
void scopes_provider_get(struct ask *a);

/* roles.c */
bool roles_route(struct ask *a);

/* operator.c: below /providers/Weir.Capacity */
void operator_list(struct ask *a);
void operator_get(struct ask *a);
void operator_put(struct ask *a);
void operator_delete(struct ask *a);
void operator_drain(struct ask *a);
void operator_resume(struct ask *a);
void operator_quotas(struct ask *a);
void operator_quota_get(struct ask *a);
void operator_quota_put(struct ask *a);
void operator_quota_delete(struct ask *a);
/* Which quota a name means: fills sku, format, model and name. A refusal when it means none. */
bool quota_of_name(struct ask *a, struct str name, struct quota *out);
void quota_put(struct ask *a, struct quota *q, int64_t limit);

/* quota_requests.c */
void quota_requests_create(struct ask *a);
void quota_requests_list(struct ask *a);
void quota_requests_list_all(struct ask *a);
void quota_requests_get(struct ask *a);
void quota_requests_approve(struct ask *a);
void quota_requests_refuse(struct ask *a);

#endif
