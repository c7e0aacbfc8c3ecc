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
    f->files = xrealloc(f->files, (f->n + 1) * sizeof *f->files);
    f->files[f->n] = (struct vocabulary_file){.path = str_dup(path)};
    return &f->files[f->n++];
}

/* What is in the file now, or what was there when it was last read. */
static enum status refresh(struct vocabulary_file *file, struct problem *why) {
    struct stat now;
    struct buf block;
    struct vocabulary v;
    struct shared_vocabulary *made = NULL;
    if (stat(file->path, &now) != 0)
        return problem_set(why, ST_IO_FAILED, str_of(file->path), "cannot open %s: %s", file->path,
                           strerror(errno));
    if (file->vocabulary && is_same(&now, &file->stamp))
        return ST_OK;
    enum status st = vocabulary_file_read(file->path, &block, &v, why);
    if (st == ST_OK)
        st = shared_vocabulary_new(&block, &made, why);
    buf_destroy(&block);
    if (st != ST_OK)
        return st;
    shared_vocabulary_unref(file->vocabulary);
    file->vocabulary = made;
    file->stamp = now;
    return ST_OK;
}

enum status vocabulary_files_check(struct vocabulary_files *f, struct str path,
                                   struct problem *why) {
    pthread_mutex_lock(&f->lock);
    struct vocabulary_file *file = find_file(f, path);
    enum status st = refresh(file, why);
    if (!file->vocabulary)
        take_out(f, file);
    pthread_mutex_unlock(&f->lock);
    return st;
}

static enum status load_all(struct vocabulary_files *f, const struct catalog *c, bool must,
                            struct vocabulary_set *set, struct problem *why) {
    for (size_t i = 0; i < c->n; i++) {
        struct str path = c->all[i]->tokenizer;
        struct problem wrong = {0};
        if (path.n == 0)
            continue;
        struct vocabulary_file *file = find_file(f, path);
        if (file->is_named)
            continue;
        file->is_named = true;
        enum status st = refresh(file, must ? why : &wrong);
        if (st != ST_OK && must)
            return st;
        if (st != ST_OK)
            fprintf(stderr, "weir: warning: %s: %s%s\n", wrong.target, wrong.message,
                    file->vocabulary ? "; the tokenizer that was there before stays"
                                     : "; prompts of its models are estimated");
        if (file->vocabulary)
            vocabulary_set_put(set, path, shared_vocabulary_ref(file->vocabulary));
    }
    return ST_OK;
}

enum status vocabulary_files_load(struct vocabulary_files *f, const struct catalog *c, bool must,
                                  struct vocabulary_set **out, struct problem *why) {
    struct vocabulary_set *set = vocabulary_set_new();
    pthread_mutex_lock(&f->lock);
    for (size_t i = 0; i < f->n; i++)
        f->files[i].is_named = false;
    enum status st = load_all(f, c, must, set, why);
    for (size_t i = f->n; st == ST_OK && i-- > 0;) {
        if (!f->files[i].is_named)
            take_out(f, &f->files[i]);
    }
    pthread_mutex_unlock(&f->lock);
    if (st != ST_OK || set->n == 0) {
        vocabulary_set_unref(set);
        set = NULL;
    }
    if (st == ST_OK)
        *out = set;
    return st;
}
