/* folder.h - a folder for one test, gone when it ends. */
#ifndef SUPPORT_FOLDER_H
#define SUPPORT_FOLDER_H

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct folder {
    char path[64];
};

static inline int folder_remove_one(const char *path, const struct stat *st, int type,
                                    struct FTW *at) {
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

/* For cmocka: *state is a struct folder. */
static inline int folder_make(void **state) {
    struct folder *f = calloc(1, sizeof *f);
    snprintf(f->path, sizeof f->path, "/tmp/weir-test-XXXXXX");
    *state = f;
    return mkdtemp(f->path) ? 0 : -1;
}

static inline int folder_remove(void **state) {
    struct folder *f = *state;
    nftw(f->path, folder_remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(f);
    return 0;
}

#endif
