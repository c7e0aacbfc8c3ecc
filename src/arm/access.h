/* access.h - who may do what where: the built-in roles, their assignments, inheritance. */
#ifndef ARM_ACCESS_H
#define ARM_ACCESS_H

#include "base/map.h"
#include "base/str.h"

/*
 * Actions are named as in Azure, "Microsoft.CognitiveServices/accounts/deployments/write"; data
 * actions are what a bearer token may do on the data plane. A scope is a path without a slash at its
 * end, "/subscriptions/S/resourceGroups/G"; what is assigned there holds for all below. Actions, scopes
 * and ids compare without regard to the case of ASCII letters.
 *
 * Nothing is allowed unless a role says so. Roles add up: what one role leaves out of its own grant
 * (notActions), another may still give.
 */

/* Built in; static (ARM contract, section 8). */
struct access_role {
    struct str id; /* the GUID */
    struct str name, description;
    const struct str *actions, *not_actions, *data_actions, *not_data_actions;
    size_t n_actions, n_not_actions, n_data_actions, n_not_data_actions;
};

/* The role at a position; NULL past the last. */
const struct access_role *access_role_at(size_t position);

/* By GUID, or by an id that ends in ".../roleDefinitions/{guid}"; NULL when there is none. */
const struct access_role *access_role_find(struct str id);

/* By name, without regard to case, as $filter=roleName eq '...' needs it. */
const struct access_role *access_role_named(struct str name);

/* What a role alone says of an action or data action. */
bool access_role_allows(const struct access_role *role, struct str action, bool is_data);

/* All assignments. One thread. */
struct access;

struct access *access_new(const struct siphash_key *key);
void access_free(struct access *a); /* accepts NULL */

struct access_assignment {
    struct str id;        /* the assignment's resource id; names it */
    struct str principal; /* object id of a person, an application or a group */
    const struct access_role *role;
    struct str scope;
};

enum access_outcome {
    ACCESS_DONE,
    ACCESS_EXISTS,  /* the same principal has the same role at the same scope under another id */
    ACCESS_CHANGED, /* this id belongs to another principal, role or scope, which may not change */
};

/* Adds; ACCESS_DONE too when the very same assignment is there. Texts are copied. */
enum access_outcome access_assign(struct access *a, const struct access_assignment *what) MUST_USE;

/* False when there is none of this id. */
bool access_unassign(struct access *a, struct str id);

/* Takes out all at this scope and below it: the scope is deleted. Returns how many; calls `each`
 * (may be NULL) with the id of each, before it goes. */
size_t access_forget(struct access *a, struct str scope, void (*each)(void *arg, struct str id),
                     void *arg);

/* The same of all that the principal has, at whatever scope: it is deleted. */
size_t access_forget_principal(struct access *a, struct str principal,
                               void (*each)(void *arg, struct str id), void *arg);

/* NULL when there is none. The answer lives until the assignment goes. */
const struct access_assignment *access_find(const struct access *a, struct str id);

/* The iterator over all, in the order of their ids; *at starts at 0. NULL past the last. */
const struct access_assignment *access_next(const struct access *a, size_t *at);

/* All assignments again, for readers on other threads: what only `const` functions are asked of may be
 * asked by any number of threads at once. */
struct access *access_copy(const struct access *a, const struct siphash_key *key);

/* Whether one of the principal's roles, at `scope` or above, has the action. */
bool access_allows(const struct access *a, struct str principal, struct str action,
                   struct str scope);
bool access_allows_data(const struct access *a, struct str principal, struct str action,
                        struct str scope);

/* Whether a role gives the action somewhere below `scope` (or there, or above): for lists, of which each
 * caller sees a part. */
bool access_allows_below(const struct access *a, struct str principal, struct str action,
                         struct str scope);

/* Whether the principal has any role there, above or below, whatever it allows. */
bool access_is_member(const struct access *a, struct str principal, struct str scope);

/* Whether `scope` is `above` or below it. */
bool access_is_within(struct str scope, struct str above);

#endif
