/* ledger.h - who has how much: quota per subscription and capacity per pool, never more than there is. */
#ifndef ARM_LEDGER_H
#define ARM_LEDGER_H

#include "arm/offers.h"
#include "json/json.h"

/*
 * Two books kept as one. Quota is a promise of how much a subscription may deploy: one sum a
 * subscription, location and provisioned SKU, whatever the model, in PTUs; and one a subscription,
 * location, standard SKU and model, in thousands of tokens a minute. Capacity is what the operator's
 * pools are worth: a pool that serves several models has one capacity for all of them.
 *
 * A grant is what one deployment has: so much of one quota and, when it is provisioned, so many PTUs
 * in each of a few pools. It keeps both for life: a grant moves only by its own resize.
 *
 * Always, and ledger_check proves it from scratch:
 *   - a quota's `used` is the sum of its grants, a pool's `reserved` the sum of their parts in it;
 *   - an operation that answers anything but LEDGER_DONE has changed nothing;
 *   - no operation takes used past limit, or reserved past a pool's worth. An operator may lower a
 *     limit or a pool below what is taken: what is taken stays, and nothing is granted until it fits.
 *     Only ledger_import passes the limit, by raising it.
 *   - the books do not depend on the order in which rows were loaded.
 *
 * Names compare without regard to the case of ASCII letters. All texts are copied; those in answers
 * live as long as the ledger. One thread. Lookups are by hash; placing a grant walks the pools.
 */
struct ledger;

/* `offers` is borrowed. */
struct ledger *ledger_new(const struct offers *offers, const struct siphash_key *key);
void ledger_free(struct ledger *l); /* accepts NULL */

/*
 * Capacity: the operator's side
 */

/* Adds or changes. A location in no zone ("") reaches only itself. */
void ledger_location_put(struct ledger *l, struct str name, struct str data_zone);

/* Takes it out of the lists of places; what is granted there stays. */
void ledger_location_remove(struct ledger *l, struct str name);

/* One model that a pool serves; an empty version stands for all. */
struct ledger_model {
    struct str format, name, version;
};

struct ledger_pool {
    struct str name, location;
    int64_t ptus;     /* 0: for standard deployments only */
    bool is_draining; /* grants nothing new; what it has granted stays */
    const struct ledger_model *models;
    size_t n_models;
};

/* Adds or changes; `ptus` may be below what is reserved. Grants stay in a pool that no longer serves
 * their model or has moved. */
void ledger_pool_put(struct ledger *l, const struct ledger_pool *pool);

/* False, and nothing changed, while anything is reserved in it: drain it first. True for a pool that
 * is not there. */
bool ledger_pool_remove(struct ledger *l, struct str name) MUST_USE;

struct ledger_pool_sum {
    int64_t ptus, reserved;
    int64_t free; /* what can still be granted: never below 0, and 0 while it drains */
};

/* Zeroes for a pool that is not there. */
struct ledger_pool_sum ledger_pool(const struct ledger *l, struct str name);

/*
 * Quota
 */

/* Which quota: for a provisioned SKU format and model are not looked at and may be empty. */
struct ledger_quota_key {
    struct str subscription, location;
    enum sku sku;
    struct str format, model;
};

/* In PTUs, or thousands of tokens a minute. */
struct ledger_quota {
    int64_t limit, used;
    int64_t held;    /* the part of used that belongs to soft-deleted accounts */
    int64_t left;    /* limit - used, never below 0 */
    bool is_default; /* nobody has set the limit */
};

struct ledger_quota ledger_quota(const struct ledger *l, const struct ledger_quota_key *key);

/* A negative limit goes back to the default. */
void ledger_quota_set(struct ledger *l, const struct ledger_quota_key *key, int64_t limit);

/*
 * Grants
 */

/* What a deployment asks for. `model` need not outlive the call. */
struct ledger_ask {
    struct str id; /* of the deployment; any text that names it and nothing else */
    struct str subscription, location;
    const struct model *model;
    enum sku sku;
    int64_t size; /* PTUs, or standard units */
};

/* In the order in which a size is judged (decision: form, then quota, then capacity). */
enum ledger_outcome {
    LEDGER_DONE,
    LEDGER_HELD,        /* the grant belongs to a soft-deleted account */
    LEDGER_NOT_OFFERED, /* the model is not sold under this SKU; or the location is in no data zone */
    LEDGER_BAD_SIZE,    /* below the minimum, above the maximum, or off the step */
    LEDGER_NO_QUOTA,
    LEDGER_NO_CAPACITY,
    LEDGER_OUTCOME_COUNT
};

/*
 * All numbers for the error's text, for each outcome, as the books stood before the call. What the
 * deployment itself has counts as free for itself in the three `largest`, since it is for them that
 * one asks again.
 */
struct ledger_answer {
    struct offer_sizes sizes;
    struct ledger_quota quota;
    int64_t quota_needed; /* further quota that the request would take; 0 when it shrinks */
    int64_t
        capacity_left; /* PTUs that the pools in reach can still grant; INT64_MAX for a standard SKU */
    int64_t capacity_needed;     /* further PTUs that the request would reserve */
    int64_t largest_by_quota;    /* the largest valid size that the quota allows, or 0 */
    int64_t largest_by_capacity; /* ... that the pools allow */
    int64_t largest;             /* ... that both allow: the largest that ledger_take would grant */
};

/*
 * Creates the grant of `id`, or changes it to this size (or another SKU, model, location). All or
 * nothing. A grant may always shrink or stay, whatever limits and pools have become meanwhile. A
 * change of size alone keeps the parts that stand: growth is placed beside them, shrinking gives back
 * the newest part first. `answer` may be NULL.
 */
enum ledger_outcome ledger_take(struct ledger *l, const struct ledger_ask *ask,
                                struct ledger_answer *answer) MUST_USE;

/* The same judgement, and nothing changes. */
enum ledger_outcome ledger_judge(const struct ledger *l, const struct ledger_ask *ask,
                                 struct ledger_answer *answer);

/* Gives all back, held or not: the deployment is deleted, or its account purged or expired. False
 * when there is no such grant. */
bool ledger_release(struct ledger *l, struct str id);

/* The account is soft-deleted, or recovered. A held grant keeps quota and capacity, so that recovery
 * cannot fail for want of either, and cannot be resized. False when there is no such grant. */
bool ledger_hold(struct ledger *l, struct str id);
bool ledger_restore(struct ledger *l, struct str id);

struct ledger_import {
    int64_t limit_before, limit_after; /* of its quota; equal when it was enough */
    int64_t uncovered; /* PTUs of the deployment that no pool had room for; it runs all the same */
};

/*
 * A deployment that exists already, from a resource file: never refused. When its quota is too small
 * the limit is raised to fit, which the caller stores and audits. Capacity is reserved as far as there is any.
 */
void ledger_import(struct ledger *l, const struct ledger_ask *ask, struct ledger_import *out);

/*
 * Rows
 */

/* The grant as one JSON object, which is stored in the deployment's row and is all that is needed to
 * restore it: {"size": 100, "quota": 100, "pools": [{"pool": "h100", "ptus": 100}]}. Writes null when there is none. */
void ledger_write(const struct ledger *l, struct str id, struct json_writer *w);

/*
 * Restores a grant from a row, without judging it. `size` of the ask is not looked at; pools and
 * locations may come later than the grants. ST_BAD_REQUEST when the row is not one of ledger_write's,
 * or the grant is there already.
 */
enum status ledger_load(struct ledger *l, const struct ledger_ask *ask, struct json_value grant,
                        bool is_held, struct problem *why) MUST_USE;

/* The books added up anew. False, with what differs in `why`, when they don't balance: our defect. */
bool ledger_check(struct ledger *l, struct problem *why);

/*
 * What would fit
 */

/* Whether any pool within the SKU's reach of the location serves the model, full or not. */
bool ledger_is_served(const struct ledger *l, struct str location, const struct model *m,
                      enum sku sku);

/* PTUs that a new deployment could reserve. Standard SKUs reserve nothing: INT64_MAX when a pool serves
 * the model, else 0, though ledger_take would grant it. */
int64_t ledger_capacity_left(const struct ledger *l, struct str location, const struct model *m,
                             enum sku sku);

/* The largest valid size of a new deployment, min(quota left, capacity left) rounded down to minimum +
 * k * step, else 0: what modelCapacities tells. */
int64_t ledger_largest(const struct ledger *l, struct str subscription, struct str location,
                       const struct model *m, enum sku sku);

struct ledger_place {
    struct str location;
    enum sku sku;
    bool is_enough;        /* the size that was asked for is valid and fits there */
    int64_t quota_left;    /* in units of quota */
    int64_t capacity_left; /* as ledger_capacity_left */
    int64_t largest;       /* as ledger_largest */
};

/*
 * What a new deployment of the model could have in each location under each SKU that it is sold
 * under, in the order of locations and then SKUs; one walk over the pools for all. `location` narrows
 * it to one, "" takes all. Writes at most `max` and returns how many there are.
 */
size_t ledger_places(const struct ledger *l, struct str subscription, struct str location,
                     const struct model *m, struct ledger_place *out, size_t max);

/*
 * Where else the ask would find room: each location and SKU of the same kind (provisioned or
 * standard) with a `largest` above 0, but for the place that was asked. Those that are enough come
 * first, then those of the same SKU, then the larger ones. Writes at most `max` and returns how many
 * it wrote.
 */
size_t ledger_elsewhere(const struct ledger *l, const struct ledger_ask *ask,
                        struct ledger_place *out, size_t max);

/* The locations in the order of their names. False past the last. */
bool ledger_location_at(const struct ledger *l, size_t position, struct str *name,
                        struct str *data_zone);

#endif
