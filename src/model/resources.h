/* resources.h - the set of resources that a configuration consists of, as they were written. */
#ifndef MODEL_RESOURCES_H
#define MODEL_RESOURCES_H

#include "model/resource_id.h"
#include "json/json.h"

/*
 * A file holds one resource, an array of them, or {"value": [...]}, in the shapes of Azure Resource
 * Manager. A resource names itself by "id"; those of Weir.Capacity may have "type" and "name"
 * instead, as in {"type": "Weir.Capacity/pools/backends", "name": "h100/gpu1"}. Nothing but ids is
 * checked here; snapshot_build reads the rest. One id may stand in one place only.
 */
struct resources;

/* One resource; lives as long as the set. */
struct resource {
    struct resource_id id;
    struct str id_text;      /* as written, or put together from type and name */
    struct str key;          /* the same in lower case: equal keys are equal resources */
    struct json_value value; /* the whole object */
    struct str file;         /* where it stands, for a person: a file's name ... */
    struct str pointer;      /* ... and the place in it, "" or "/value/3" */
};

struct resources *resources_new(void);
void resources_free(struct resources *set); /* accepts NULL */

/*
 * Adds all resources of one text, which need not outlive the call but must be followed by
 * JSON_PADDING readable bytes. `file_name` is for messages. ST_BAD_JSON or ST_BAD_REQUEST with the
 * place and the reason in `why`; the set then holds a part of the file and is good for nothing but
 * resources_free.
 */
enum status resources_add(struct resources *set, struct str file_name, const char *text, size_t len,
                          struct problem *why) MUST_USE;

size_t resources_count(const struct resources *set);

/* The resource at a position below resources_count, in the order in which they were added. */
const struct resource *resources_at(const struct resources *set, size_t position);

/* NULL when there is none. The key is one of resource_id_key. */
const struct resource *resources_find(const struct resources *set, struct str key);

#endif
