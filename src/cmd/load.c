#include "cmd/load.h"

#include "os/os.h"
#include "json/json.h"

#include <stdio.h>
#include <stdlib.h>

enum { FILE_MAX = 64 << 20, SECRET_MAX = 16 << 10 };

static enum status add_file(struct resources *set, const char *path, struct problem *why) {
    struct buf text;
    buf_init(&text, FILE_MAX);
    enum status st = os_read_file(path, &text, JSON_PADDING, why);
    if (st == ST_OK)
        st = resources_add(set, str_of(path), text.p ? text.p : "", text.len, why);
    buf_destroy(&text);
    return st;
}

static enum status add_path(struct resources *set, const char *path, struct problem *why) {
    struct os_paths files;
    if (!os_is_folder(path))
        return add_file(set, path, why);
    TRY(os_list_folder(path, STR(".json"), &files, why));
    enum status st = files.count ? ST_OK
                                 : problem_set(why, ST_BAD_REQUEST, str_of(path),
                                               "%s has no *.json files", path);
    for (size_t i = 0; i < files.count && st == ST_OK; i++)
        st = add_file(set, files.path[i], why);
    os_free_paths(&files);
    return st;
}

/* A secret's file is named relative to the file that speaks of it. */
static enum status read_secret_file(struct str name, struct str from, struct buf *out) {
    struct buf path;
    struct problem why;
    buf_init(&path, 4096);
    const char *slash = from.n ? memrchr(from.p, '/', from.n) : NULL;
    if (name.n && name.p[0] != '/' && slash)
        buf_put(&path, from.p, (size_t)(slash - from.p) + 1);
    buf_str(&path, name);
    buf_char(&path, '\0');
    enum status st = buf_status(&path);
    if (st == ST_OK)
        st = os_read_file(path.p, out, 1, &why);
    buf_destroy(&path);
    return st;
}

static enum status read_secret(void *arg, enum secret_source source, struct str name,
                               struct str from, struct buf *out) {
    (void)arg;
    if (source == SECRET_FILE)
        return read_secret_file(name, from, out);
    char *z = str_dup(name);
    const char *value = getenv(z);
    free(z);
    if (!value)
        return ST_NOT_FOUND;
    buf_str(out, str_of(value));
    return buf_status(out);
}

enum status load_snapshot(const char *path, const struct siphash_key *hash, struct snapshot **out,
                          struct problem *why) {
    struct resources *set = resources_new();
    enum status st = add_path(set, path, why);
    if (st == ST_OK) {
        struct secret_reader secrets = {read_secret, NULL};
        st = snapshot_build(set, &secrets, hash, out, why);
    }
    resources_free(set);
    return st;
}

enum status load_documents(const char *name, struct str text, const struct siphash_key *hash,
                           struct snapshot **out, struct problem *why) {
    struct resources *set = resources_new();
    struct secret_reader secrets = {read_secret, NULL};
    enum status st = resources_add(set, str_of(name), text.p, text.n, why);
    if (st == ST_OK)
        st = snapshot_build(set, &secrets, hash, out, why);
    resources_free(set);
    return st;
}

enum status load_patch(const char *name, struct str text, struct snapshot *before,
                       const struct str *accounts, size_t n_accounts, struct snapshot **out,
                       struct problem *why) {
    struct resources *set = resources_new();
    struct secret_reader secrets = {read_secret, NULL};
    enum status st = resources_add(set, str_of(name), text.p, text.n, why);
    if (st == ST_OK)
        st = snapshot_patch(before, accounts, n_accounts, set, &secrets, out, why);
    resources_free(set);
    return st;
}

enum { COPY_DEPTH = 32 };

/* "key1" when `name` says that the secret of this name stands elsewhere: in a file or a variable. */
static bool is_secret_elsewhere(struct str name, struct str *secret, enum secret_source *source) {
    static const struct str secrets[] = {STR_INIT("key1"), STR_INIT("key2"), STR_INIT("apiKey")};
    for (size_t i = 0; i < ARRAY_LEN(secrets); i++) {
        if (!str_starts(name, secrets[i]))
            continue;
        struct str rest = str_skip(name, secrets[i].n);
        *secret = secrets[i];
        *source = str_eq(rest, STR("File")) ? SECRET_FILE : SECRET_ENV;
        return str_eq(rest, STR("File")) || str_eq(rest, STR("Env"));
    }
    return false;
}

static enum status put_secret(struct json_writer *w, struct str name, enum secret_source source,
                              struct str place, struct str file, struct problem *why) {
    struct buf value;
    buf_init(&value, SECRET_MAX);
    enum status st = read_secret(NULL, source, place, file, &value);
    if (st == ST_OK) {
        json_key(w, name);
        json_str_value(w, str_trim(buf_view(&value)));
    } else {
        st = problem_set(why, ST_BAD_REQUEST, name, "the secret in %s \"%.*s\" cannot be read",
                         source == SECRET_FILE ? "file" : "variable", STR_ARG(place));
    }
    buf_destroy(&value);
    return st;
}

/* The object as it stands, but for secrets: a server is sent what they are, not where. */
static enum status put_resolved(struct json_writer *w, struct json_value object, int depth,
                                struct str file, struct problem *why) {
    struct json_iter it;
    struct str key, secret;
    struct json_value v;
    enum secret_source source;
    json_begin_object(w);
    json_fields(&it, object);
    while (json_next_field(&it, &key, &v)) {
        if (json_type(v) == JSON_STRING && is_secret_elsewhere(key, &secret, &source)) {
            TRY(put_secret(w, secret, source, json_str(v), file, why));
            continue;
        }
        json_key(w, key);
        if (json_type(v) == JSON_OBJECT && depth > 1)
            TRY(put_resolved(w, v, depth - 1, file, why));
        else if (!json_copy(w, v, depth))
            return problem_set(why, ST_BAD_REQUEST, key, "is nested too deeply");
    }
    json_end_object(w);
    return ST_OK;
}

static enum status hand_over(const struct resource *r,
                             enum status (*each)(void *arg, const struct load_resource *r,
                                                 struct problem *why),
                             void *arg, struct problem *why) {
    struct buf body;
    struct json_writer w;
    char place[400];
    snprintf(place, sizeof place, "%.*s%s%.*s", STR_ARG(r->file), r->pointer.n ? ":" : "",
             STR_ARG(r->pointer));
    buf_init(&body, FILE_MAX);
    json_writer_init(&w, &body, 0);
    enum status st = put_resolved(&w, r->value, COPY_DEPTH, r->file, why);
    if (st == ST_OK)
        st = buf_status(&body);
    struct load_resource found = {r->id_text, buf_view(&body), place};
    if (st == ST_OK)
        st = each(arg, &found, why);
    buf_destroy(&body);
    if (st != ST_OK) {
        struct problem inner = *why;
        (void)problem_set(why, st, str_of(place), "%s", inner.message);
    }
    return st;
}

enum status load_each(const char *path,
                      enum status (*each)(void *arg, const struct load_resource *r,
                                          struct problem *why),
                      void *arg, struct problem *why) {
    /* What a resource refers to comes before it. */
    static const enum resource_type order[] = {
        RESOURCE_SUBSCRIPTION, RESOURCE_MODEL,          RESOURCE_LOCATION, RESOURCE_POOL,
        RESOURCE_BACKEND,      RESOURCE_RESOURCE_GROUP, RESOURCE_ACCOUNT,  RESOURCE_DEPLOYMENT,
    };
    _Static_assert(ARRAY_LEN(order) == RESOURCE_TYPE_COUNT, "every type has its turn");
    struct resources *set = resources_new();
    enum status st = add_path(set, path, why);
    for (size_t t = 0; t < ARRAY_LEN(order); t++) {
        for (size_t i = 0; i < resources_count(set) && st == ST_OK; i++) {
            const struct resource *r = resources_at(set, i);
            if (r->id.type == order[t])
                st = hand_over(r, each, arg, why);
        }
    }
    resources_free(set);
    return st;
}

void load_print_warnings(const struct snapshot *s) {
    const struct warnings *w = snapshot_warnings(s);
    for (size_t i = 0; i < w->n; i++)
        fprintf(stderr, "weir: warning: %s: %s\n", w->items[i].target, w->items[i].message);
    if (w->n_dropped)
        fprintf(stderr, "weir: warning: and %zu more\n", w->n_dropped);
}
