/* resource_id.h - the ids of resources: which type a path names, and its parts. */
#ifndef MODEL_RESOURCE_ID_H
#define MODEL_RESOURCE_ID_H

#include "base/status.h"
#include "base/str.h"

/* In the order in which they are compiled: each type refers only to types above it. */
enum resource_type {
    RESOURCE_SUBSCRIPTION,   /* /subscriptions/{} */
    RESOURCE_RESOURCE_GROUP, /* .../resourceGroups/{} */
    RESOURCE_MODEL,          /* /providers/Weir.Capacity/models/{} */
    RESOURCE_LOCATION,       /* /providers/Weir.Capacity/locations/{} */
    RESOURCE_POOL,           /* /providers/Weir.Capacity/pools/{} */
    RESOURCE_BACKEND,        /* .../pools/{}/backends/{} */
    RESOURCE_ACCOUNT,        /* .../providers/Microsoft.CognitiveServices/accounts/{} */
    RESOURCE_DEPLOYMENT,     /* .../accounts/{}/deployments/{} */
    RESOURCE_TYPE_COUNT
};

enum {
    RESOURCE_ID_MAX = 512,  /* bytes of a whole id */
    RESOURCE_NAME_MAX = 64, /* bytes of one name; ARM contract, section 3 */
    RESOURCE_PARTS = 4,     /* the most names in one id */
};

/* Views into the id's text. Names are in the order of the path; the last is the resource's own. */
struct resource_id {
    enum resource_type type;
    struct str name[RESOURCE_PARTS];
    int n_names;
};

/* As in "Microsoft.CognitiveServices/accounts/deployments". Compared without regard to case. */
struct str resource_type_name(enum resource_type type);
bool resource_type_of(struct str name, enum resource_type *type) MUST_USE;

/*
 * Reads a path. Type names and providers compare without regard to case, repeated slashes count as
 * one. ST_BAD_REQUEST with a message (its target left to the caller) when no type has such a path or
 * a name has a form that ARM refuses.
 */
enum status resource_id_parse(struct str text, struct resource_id *id,
                              struct problem *why) MUST_USE;

/* The same path in one spelling: all lower case, single slashes. Two ids are the same resource when
 * these texts are equal. `out` holds RESOURCE_ID_MAX + 1 bytes. */
struct str resource_id_key(struct str text, char *out);

static inline struct str resource_id_name(const struct resource_id *id) {
    return id->name[id->n_names - 1];
}

#endif
