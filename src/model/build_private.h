/* build_private.h - what the files that build a snapshot share: one file a layer of resources. */
#ifndef MODEL_BUILD_PRIVATE_H
#define MODEL_BUILD_PRIVATE_H

#include "model/snapshot_private.h"

/* All that a build needs. Types are compiled in the order of enum resource_type, so that what a
 * resource refers to is there already. */
struct build {
    struct snapshot *s;
    struct ground *g;              /* of the snapshot */
    struct arena *memory;          /* of what is being compiled: the ground's or an account's */
    bool is_patch;                 /* the ground is done, and others read it */
    const struct resource **items; /* owned; by type and key */
    size_t n, n_of_type[RESOURCE_TYPE_COUNT];
    size_t at; /* the position of the item that is being compiled */
    size_t first_free_slot;
    const struct secret_reader *secrets;
    struct problem *why;
};

/* One resource while it is read. */
struct entry {
    const struct resource *res;
    struct reader r;
    struct fields top;
};

/* Zeroed memory and copies of texts that live as long as what is being compiled. */
void *build_alloc(struct build *b, size_t count, size_t size);
struct str build_keep(struct build *b, struct str s);

/* The key of the resource that this one belongs to: its own without the last two parts. */
struct str build_parent_key(const struct resource *res);

/* Begins to read a resource: the members that each may have are known already. */
void entry_begin(struct build *b, struct entry *e, const struct resource *res);
enum status entry_end(struct entry *e) MUST_USE;

/* The member `location`, which must be one that there is; NULL after a fault. */
const struct location *entry_location(struct build *b, struct entry *e);

/* Names under which one secret may be given: itself, the name of a file, of a variable. */
struct secret_names {
    const char *value, *file, *env;
};

/* Reads a secret of min to max printable bytes; "" when it is not given, or after a fault. */
struct str entry_secret(struct build *b, struct entry *e, struct fields *f,
                        const struct secret_names *names, size_t min, size_t max);

/* One resource each: build_capacity.c */
enum status build_location(struct build *b, const struct resource *res) MUST_USE;
enum status build_pool(struct build *b, const struct resource *res) MUST_USE;
enum status build_backend(struct build *b, const struct resource *res) MUST_USE;

/* build_account.c */
enum status build_account(struct build *b, const struct resource *res) MUST_USE;
enum status build_deployment(struct build *b, const struct resource *res) MUST_USE;

#endif
