#include "model/resources.h"

#include "base/arena.h"
#include "base/map.h"
#include "model/fields.h"

#include <stdio.h>
#include <stdlib.h>

/* A document a file, since the values of its resources live in it. */
struct resource_file {
    struct resource_file *next;
    struct json_doc *doc; /* owned */
    struct str name;
};

struct resources {
    struct arena texts;
    struct resource_file *files; /* the structs are in `texts` */
    struct resource **items;     /* the pointers owned, the structs in `texts` */
    size_t n, capacity;
    struct map by_key;
};

/* Configurations of 100,000 resources take some 30 MB here. */
enum { TEXTS_MAX = 1 << 30 };

struct resources *resources_new(void) {
    struct resources *set = xcalloc(1, sizeof *set);
    arena_init(&set->texts, NULL, 0, TEXTS_MAX);
    /* The operator writes the ids, so nobody is there whom a secret hash would stop. */
    map_init(&set->by_key, &(struct siphash_key){0, 0});
    return set;
}

void resources_free(struct resources *set) {
    if (!set)
        return;
    for (struct resource_file *f = set->files; f; f = f->next)
        json_doc_free(f->doc);
    map_destroy(&set->by_key);
    arena_destroy(&set->texts);
    free(set->items);
    free(set);
}

size_t resources_count(const struct resources *set) {
    return set->n;
}

const struct resource *resources_at(const struct resources *set, size_t position) {
    assert(position < set->n);
    return set->items[position];
}

const struct resource *resources_find(const struct resources *set, struct str key) {
    return map_get(&set->by_key, key);
}

/* The path of type "Weir.Capacity/pools/backends" and name "p/b". False when they do not match. */
static bool path_of(enum resource_type type, struct str name, char *out, size_t *n) {
    struct str rest = resource_type_name(type), segment, part;
    struct buf path;
    buf_init(&path, RESOURCE_ID_MAX);
    bool ok = str_cut(&rest, '/', &segment);
    buf_lit(&path, "/providers/");
    buf_str(&path, segment);
    while (ok && str_cut(&rest, '/', &segment)) {
        ok = str_cut(&name, '/', &part);
        buf_char(&path, '/');
        buf_str(&path, segment);
        buf_char(&path, '/');
        if (ok)
            buf_str(&path, part);
    }
    ok = ok && !str_cut(&name, '/', &part) && buf_status(&path) == ST_OK;
    if (ok)
        memcpy(out, path.p, path.len);
    *n = path.len;
    buf_destroy(&path);
    return ok;
}

/* The id of a resource that has type and name instead. */
static struct str id_from_type(struct fields *f, char *out) {
    struct str type_name = STR(""), name = STR("");
    enum resource_type type;
    size_t n;
    bool has_type = fields_str(f, "type", 1, RESOURCE_ID_MAX, &type_name);
    bool has_name = fields_str(f, "name", 1, RESOURCE_ID_MAX, &name);
    if (!has_type || !has_name)
        fields_refuse(f, "id", "is missing; give the resource's whole path");
    else if (!resource_type_of(type_name, &type))
        fields_refuse(f, "type", "\"%.*s\" is no type of resource that is known here",
                      (int)size_min(type_name.n, 80), type_name.p);
    else if (!str_istarts(type_name, STR("Weir.Capacity/")))
        fields_refuse(f, "id", "is missing; only resources of Weir.Capacity can do without");
    else if (!path_of(type, name, out, &n))
        fields_refuse(f, "name", "must have as many parts between slashes as the type");
    else
        return (struct str){out, n};
    return STR("");
}

/* What is said twice must agree. */
static void check_type_and_name(struct fields *f, const struct resource_id *id) {
    struct str type, name;
    if (fields_str(f, "type", 0, RESOURCE_ID_MAX, &type) &&
        !str_ieq(type, resource_type_name(id->type)))
        fields_refuse(f, "type", "does not agree with the id, whose type is %s",
                      resource_type_name(id->type).p);
    if (fields_str(f, "name", 0, RESOURCE_ID_MAX, &name)) {
        while (str_find(name, STR("/")) >= 0) /* "pool/backend" is as good as "backend" */
            name = str_skip(name, (size_t)str_find(name, STR("/")) + 1);
        if (!str_ieq(name, resource_id_name(id)))
            fields_refuse(f, "name", "does not agree with the id, which ends in \"%.*s\"",
                          STR_ARG(resource_id_name(id)));
    }
}

static void append(struct resources *set, struct resource *r) {
    if (set->n == set->capacity) {
        set->capacity = set->capacity ? 2 * set->capacity : 64;
        set->items = xrealloc(set->items, set->capacity * sizeof(struct resource *));
    }
    set->items[set->n++] = r;
    map_put(&set->by_key, r->key, r);
}

static enum status add_one(struct resources *set, struct str file, const char *pointer,
                           struct json_value value, struct problem *why) {
    struct reader reader;
    struct fields f;
    struct str id_text;
    char path[RESOURCE_ID_MAX], key[RESOURCE_ID_MAX + 1];
    reader_init(&reader, file, str_of(pointer), why, NULL);
    fields_begin(&f, &reader, value, "");
    bool has_id = fields_str(&f, "id", 1, RESOURCE_ID_MAX, &id_text);
    if (!has_id)
        id_text = id_from_type(&f, path);
    if (reader.status != ST_OK)
        return reader.status;
    id_text = arena_str(&set->texts, id_text);
    struct resource *r = arena_alloc(&set->texts, sizeof *r);
    assert(r);
    *r = (struct resource){.id_text = id_text, .value = value, .file = file};
    struct problem reason = {0};
    if (resource_id_parse(id_text, &r->id, &reason) != ST_OK)
        fields_refuse(&f, has_id ? "id" : "name", "%s", reason.message);
    else if (has_id)
        check_type_and_name(&f, &r->id);
    if (reader.status != ST_OK)
        return reader.status;
    r->key = arena_str(&set->texts, resource_id_key(id_text, key));
    r->pointer = arena_str(&set->texts, str_of(pointer));
    const struct resource *other = resources_find(set, r->key);
    if (other) {
        fields_refuse(&f, "id", "%.*s is given a second time; the first is at %.*s:%.*s",
                      (int)size_min(id_text.n, 180), id_text.p, (int)size_min(other->file.n, 80),
                      other->file.p, STR_ARG(other->pointer));
        return reader.status;
    }
    append(set, r);
    return ST_OK;
}

static enum status add_all(struct resources *set, struct str file, struct json_value root,
                           struct problem *why) {
    struct json_value list = root, item, id;
    struct json_iter it;
    const char *prefix = "";
    /* {"value": [...]}, unless it is a resource that has a member of this name. */
    if (json_get(root, STR("value"), &list) && !json_get(root, STR("id"), &id) &&
        !json_get(root, STR("type"), &id))
        prefix = "/value";
    else
        list = root;
    if (json_type(list) != JSON_ARRAY)
        return add_one(set, file, prefix, list, why);
    json_items(&it, list);
    for (size_t i = 0; json_next(&it, &item); i++) {
        char pointer[32];
        snprintf(pointer, sizeof pointer, "%s/%zu", prefix, i);
        TRY(add_one(set, file, pointer, item, why));
    }
    return ST_OK;
}

enum status resources_add(struct resources *set, struct str file_name, const char *text, size_t len,
                          struct problem *why) {
    struct resource_file *file = arena_alloc(&set->texts, sizeof *file);
    assert(file);
    *file = (struct resource_file){set->files, json_doc_new(), arena_str(&set->texts, file_name)};
    set->files = file;
    struct json_value root;
    enum status st = json_parse(file->doc, text, len, &root, why);
    if (st != ST_OK) {
        if (why)
            snprintf(why->target, sizeof why->target, "%.*s", STR_ARG(file_name));
        return st;
    }
    return add_all(set, file->name, root, why);
}
