#include "cmd/vocabularies.h"

#include "os/os.h"
#include "vocab/tokenizer_json.h"
#include "json/json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum status vocabulary_file_read(const char *path, struct buf *block, struct vocabulary *out,
                                 struct problem *why) {
    struct buf text;
    struct stat st_file;
    buf_init(block, TOKENIZER_JSON_BLOCK_MAX);
    buf_init(&text, TOKENIZER_JSON_MAX);
    enum status st = ST_OK;
    /* A pipe would have us wait for whoever writes into it. */
    if (stat(path, &st_file) == 0 && !S_ISREG(st_file.st_mode) && !S_ISDIR(st_file.st_mode))
        st = problem_set(why, ST_IO_FAILED, str_of(path), "%s is no regular file", path);
    if (st == ST_OK)
        st = os_read_file(path, &text, JSON_PADDING, why);
    if (st == ST_OK && text.len == 0)
        st = problem_set(why, ST_BAD_JSON, str_of(path), "the file is empty");
    if (st == ST_OK)
        st = tokenizer_json_compile(block, str_of(path), buf_view(&text), why);
    buf_destroy(&text);
    if (st == ST_OK)
        st = vocabulary_open(out, block->p, block->len, why);
    return st;
}

static void forget(struct vocabulary_file *file) {
    free(file->path);
    shared_vocabulary_unref(file->vocabulary);
}

void vocabulary_files_destroy(struct vocabulary_files *f) {
    for (size_t i = 0; i < f->n; i++)
        forget(&f->files[i]);
    free(f->files);
    f->files = NULL;
    f->n = 0;
}

/* The last one takes its place. */
static void take_out(struct vocabulary_files *f, struct vocabulary_file *file) {
    forget(file);
    *file = f->files[--f->n];
}

static bool is_same(const struct stat *a, const struct stat *b) {
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static struct vocabulary_file *find_file(struct vocabulary_files *f, struct str path) {
    for (size_t i = 0; i < f->n; i++) {
        if (str_eq(str_of(f->files[i].path), path))
            return &f->files[i];
    }
    return NULL;
}

static enum status compile(const char *path, struct shared_vocabulary **out, struct problem *why) {
    struct buf block;
    struct vocabulary v;
    enum status st = vocabulary_file_read(path, &block, &v, why);
    if (st == ST_OK)
        st = shared_vocabulary_new(&block, out, why);
    buf_destroy(&block);
    return st;
}

/* What was made of the file when it was as it is `now` (NULL: it is not there); NULL when nothing was.
 * Who only loads gets what a change was found good by, whatever has become of the file since. */
static struct shared_vocabulary *take_made(struct vocabulary_files *f, const char *path,
                                           const struct stat *now, bool is_check) {
    struct shared_vocabulary *v = NULL;
    pthread_mutex_lock(&f->lock);
    struct vocabulary_file *file = find_file(f, str_of(path));
    if (file && ((now && is_same(now, &file->stamp)) || (file->n_claims > 0 && !is_check))) {
        v = shared_vocabulary_ref(file->vocabulary);
        file->n_claims += is_check;
    }
    pthread_mutex_unlock(&f->lock);
    return v;
}

static void keep(struct vocabulary_files *f, const char *path, const struct stat *stamp,
                 struct shared_vocabulary *v, bool is_check) {
    pthread_mutex_lock(&f->lock);
    struct vocabulary_file *file = find_file(f, str_of(path));
    if (!file) {
        f->files = xrealloc(f->files, (f->n + 1) * sizeof *f->files);
        file = &f->files[f->n++];
        *file = (struct vocabulary_file){.path = str_dup(str_of(path))};
    }
    if (is_check || file->n_claims == 0) { /* a check that came in between goes first */
        shared_vocabulary_unref(file->vocabulary);
        file->vocabulary = shared_vocabulary_ref(v);
        file->stamp = *stamp;
    }
    file->n_claims += is_check;
    pthread_mutex_unlock(&f->lock);
}

/*
 * A reference to what the file holds now. The lock is not held while it is compiled: two that come for
 * one file at once both compile it, and what the last one made stays. A check that ends well is a claim.
 */
static enum status get(struct vocabulary_files *f, const char *path, bool is_check,
                       struct shared_vocabulary **out, struct problem *why) {
    struct stat now;
    bool is_there = stat(path, &now) == 0;
    int error = errno;
    *out = take_made(f, path, is_there ? &now : NULL, is_check);
    if (*out)
        return ST_OK;
    if (!is_there)
        return problem_set(why, ST_IO_FAILED, str_of(path), "cannot open %s: %s", path,
                           strerror(error));
    TRY(compile(path, out, why));
    keep(f, path, &now, *out, is_check);
    return ST_OK;
}

enum status vocabulary_files_check(struct vocabulary_files *f, struct str path,
                                   struct problem *why) {
    struct shared_vocabulary *v;
    char *name = str_dup(path);
    enum status st = get(f, name, true, &v, why);
    free(name);
    if (st == ST_OK)
        shared_vocabulary_unref(v);
    return st;
}

void vocabulary_files_release(struct vocabulary_files *f, struct str path) {
    pthread_mutex_lock(&f->lock);
    struct vocabulary_file *file = find_file(f, path);
    assert(file && file->n_claims > 0);
    if (--file->n_claims == 0 && f->has_loaded && !file->is_named)
        take_out(f, file);
    pthread_mutex_unlock(&f->lock);
}

/* As it was when it could be read last; NULL when it never could. */
static struct shared_vocabulary *find_last(struct vocabulary_files *f, struct str path) {
    pthread_mutex_lock(&f->lock);
    struct vocabulary_file *file = find_file(f, path);
    struct shared_vocabulary *v = file ? shared_vocabulary_ref(file->vocabulary) : NULL;
    pthread_mutex_unlock(&f->lock);
    return v;
}

static bool is_named_before(const struct catalog *c, size_t i) {
    for (size_t k = 0; k < i; k++) {
        if (str_eq(c->all[k]->tokenizer, c->all[i]->tokenizer))
            return true;
    }
    return false;
}

static enum status load_one(struct vocabulary_files *f, const char *path, bool must,
                            struct vocabulary_set *set, struct problem *why) {
    struct shared_vocabulary *v;
    struct problem wrong = {0};
    enum status st = get(f, path, false, &v, must ? why : &wrong);
    if (st != ST_OK && must)
        return st;
    if (st != ST_OK) {
        v = find_last(f, str_of(path));
        fprintf(stderr, "weir: warning: %s: %s%s\n", wrong.target, wrong.message,
                v ? "; the tokenizer that was there before stays"
                  : "; prompts of its models are estimated");
    }
    if (v)
        vocabulary_set_put(set, str_of(path), v);
    return ST_OK;
}

/* What the catalog no longer names goes, unless a change is about to name it. */
static void sweep(struct vocabulary_files *f, const struct vocabulary_set *set) {
    pthread_mutex_lock(&f->lock);
    f->has_loaded = true;
    for (size_t i = f->n; i-- > 0;) {
        struct vocabulary_file *file = &f->files[i];
        file->is_named = vocabulary_set_find(set, str_of(file->path));
        if (!file->is_named && file->n_claims == 0)
            take_out(f, file);
    }
    pthread_mutex_unlock(&f->lock);
}

enum status vocabulary_files_load(struct vocabulary_files *f, const struct catalog *c, bool must,
                                  struct vocabulary_set **out, struct problem *why) {
    struct vocabulary_set *set = vocabulary_set_new();
    enum status st = ST_OK;
    for (size_t i = 0; st == ST_OK && i < c->n; i++) {
        if (c->all[i]->tokenizer.n == 0 || is_named_before(c, i))
            continue;
        char *path = str_dup(c->all[i]->tokenizer);
        st = load_one(f, path, must, set, why);
        free(path);
    }
    if (st == ST_OK)
        sweep(f, set);
    if (st != ST_OK || set->n == 0) {
        vocabulary_set_unref(set);
        set = NULL;
    }
    if (st == ST_OK)
        *out = set;
    return st;
}
