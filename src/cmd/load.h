/* load.h - resource files from the disk into a snapshot. */
#ifndef CMD_LOAD_H
#define CMD_LOAD_H

#include "model/snapshot.h"

/*
 * Reads a file, or every *.json of a folder, and compiles it. Secrets in files are looked for beside
 * the resource file that names them. `why` names file, place and cure. Any thread.
 */
enum status load_snapshot(const char *path, const struct siphash_key *hash, struct snapshot **out,
                          struct problem *why) MUST_USE;

/* The same for a text of resources that is in memory, JSON_PADDING readable bytes behind it; `name` is for
 * messages. */
enum status load_documents(const char *name, struct str text, const struct siphash_key *hash,
                           struct snapshot **out, struct problem *why) MUST_USE;

/* The same of a text that tells about some accounts: see snapshot_patch. */
enum status load_patch(const char *name, struct str text, struct snapshot *before,
                       const struct str *accounts, size_t n_accounts, struct snapshot **out,
                       struct problem *why) MUST_USE;

/* One resource of a file, as it is sent to a server. The texts live as long as the call. */
struct load_resource {
    struct str id;
    struct str body;   /* JSON; secrets that stand in files or variables are in it */
    const char *place; /* "more.json:/1" */
};

/*
 * Calls `each` with every resource of a file or folder, those first that others refer to. Stops at the first
 * status other than ST_OK, and returns it with the resource's place in `why`.
 */
enum status load_each(const char *path,
                      enum status (*each)(void *arg, const struct load_resource *r,
                                          struct problem *why),
                      void *arg, struct problem *why) MUST_USE;

/* Prints the warnings of a snapshot to stderr. */
void load_print_warnings(const struct snapshot *s);

#endif
