/* lossy.h - a file system for SQLite that forgets what was not synced when its process dies. */
#ifndef TESTS_STORE_LOSSY_H
#define TESTS_STORE_LOSSY_H

#include <signal.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "support/random.h"

/*
 * Reads and writes go to an image of the file in memory; xSync carries the writes since the last
 * one to the real file. So whoever is killed leaves what a machine leaves that lost its power:
 * everything synced, nothing of the rest. With lossy_die_after the process also kills itself in the
 * middle of things, after a random part of the unsynced writes, some of them torn between sectors,
 * has reached the files: disks may write early, and in any order.
 *
 * The real files are never synced: that the process is killed and not the machine is enough here.
 */
enum { LOSSY_SECTOR = 512, LOSSY_FILES = 4 };

struct lossy_write {
    sqlite3_int64 at;
    size_t n;
    uint8_t *bytes; /* NULL: the file is cut to length `at` */
};

struct lossy_file {
    sqlite3_file base;
    sqlite3_file *real; /* behind this struct */
    uint8_t *image;
    size_t size, cap;
    struct lossy_write *unsynced;
    size_t n_unsynced, cap_unsynced;
};

static sqlite3_vfs *lossy_system;
static struct lossy_file *lossy_files[LOSSY_FILES]; /* those that are open */
static struct random lossy_random;
static int64_t lossy_life = -1; /* writes and syncs until death; -1: none */

/* Kills this process in the middle of the n-th write or sync from now. */
static inline void lossy_die_after(int64_t n) {
    lossy_life = n;
}

static inline struct lossy_file *lossy_of(sqlite3_file *file) {
    return (struct lossy_file *)(void *)file;
}

static inline void lossy_apply(struct lossy_file *f, const struct lossy_write *w, size_t n) {
    const sqlite3_io_methods *m = f->real->pMethods;
    if (w->bytes)
        m->xWrite(f->real, w->bytes, (int)n, w->at);
    else
        m->xTruncate(f->real, w->at);
}

static inline void lossy_spend_life(void) {
    if (lossy_life < 0 || lossy_life-- > 0)
        return;
    for (int i = 0; i < LOSSY_FILES; i++) {
        struct lossy_file *f = lossy_files[i];
        for (size_t k = 0; f && k < f->n_unsynced; k++) {
            struct lossy_write *w = &f->unsynced[k];
            size_t sectors = w->n / LOSSY_SECTOR;
            if (random_once_in(&lossy_random, 2))
                continue;
            if (random_once_in(&lossy_random, 4) && sectors > 0) /* torn */
                lossy_apply(f, w,
                            (size_t)random_below(&lossy_random, (int64_t)sectors) * LOSSY_SECTOR);
            else
                lossy_apply(f, w, w->n);
        }
    }
    raise(SIGKILL);
}

static inline void lossy_remember(struct lossy_file *f, sqlite3_int64 at, const void *bytes,
                                  size_t n) {
    if (f->n_unsynced == f->cap_unsynced) {
        f->cap_unsynced = f->cap_unsynced ? f->cap_unsynced * 2 : 64;
        f->unsynced = realloc(f->unsynced, f->cap_unsynced * sizeof *f->unsynced);
    }
    struct lossy_write *w = &f->unsynced[f->n_unsynced++];
    *w = (struct lossy_write){.at = at, .n = n};
    if (bytes) {
        w->bytes = malloc(n);
        memcpy(w->bytes, bytes, n);
    }
}

static inline void lossy_resize(struct lossy_file *f, size_t size) {
    if (size > f->cap) {
        f->cap = size * 2;
        f->image = realloc(f->image, f->cap);
    }
    if (size > f->size)
        memset(f->image + f->size, 0, size - f->size);
    f->size = size;
}

static inline int lossy_close(sqlite3_file *file) {
    struct lossy_file *f = lossy_of(file);
    for (int i = 0; i < LOSSY_FILES; i++)
        if (lossy_files[i] == f)
            lossy_files[i] = NULL;
    for (size_t k = 0; k < f->n_unsynced; k++) /* a file that is closed is written sometime */
        lossy_apply(f, &f->unsynced[k], f->unsynced[k].n);
    for (size_t k = 0; k < f->n_unsynced; k++)
        free(f->unsynced[k].bytes);
    free(f->unsynced);
    free(f->image);
    return f->real->pMethods->xClose(f->real);
}

static inline int lossy_read(sqlite3_file *file, void *out, int n, sqlite3_int64 at) {
    struct lossy_file *f = lossy_of(file);
    size_t begin = (size_t)at, want = (size_t)n;
    size_t have = begin < f->size ? f->size - begin : 0;
    if (have >= want) {
        memcpy(out, f->image + begin, want);
        return SQLITE_OK;
    }
    memset(out, 0, want);
    if (have > 0)
        memcpy(out, f->image + begin, have);
    return SQLITE_IOERR_SHORT_READ;
}

static inline int lossy_write_bytes(sqlite3_file *file, const void *in, int n, sqlite3_int64 at) {
    struct lossy_file *f = lossy_of(file);
    size_t end = (size_t)at + (size_t)n;
    lossy_remember(f, at, in, (size_t)n);
    if (end > f->size)
        lossy_resize(f, end);
    memcpy(f->image + at, in, (size_t)n);
    lossy_spend_life();
    return SQLITE_OK;
}

static inline int lossy_truncate(sqlite3_file *file, sqlite3_int64 size) {
    struct lossy_file *f = lossy_of(file);
    lossy_remember(f, size, NULL, 0);
    lossy_resize(f, (size_t)size);
    lossy_spend_life();
    return SQLITE_OK;
}

static inline int lossy_sync(sqlite3_file *file, int flags) {
    (void)flags;
    struct lossy_file *f = lossy_of(file);
    lossy_spend_life();
    for (size_t k = 0; k < f->n_unsynced; k++) {
        lossy_apply(f, &f->unsynced[k], f->unsynced[k].n);
        free(f->unsynced[k].bytes);
    }
    f->n_unsynced = 0;
    return SQLITE_OK;
}

static inline int lossy_size(sqlite3_file *file, sqlite3_int64 *out) {
    *out = (sqlite3_int64)lossy_of(file)->size;
    return SQLITE_OK;
}

/* The rest is the system's. */
#define LOSSY_REAL(file) lossy_of(file)->real->pMethods
static inline int lossy_lock(sqlite3_file *file, int level) {
    return LOSSY_REAL(file)->xLock(lossy_of(file)->real, level);
}
static inline int lossy_unlock(sqlite3_file *file, int level) {
    return LOSSY_REAL(file)->xUnlock(lossy_of(file)->real, level);
}
static inline int lossy_check_lock(sqlite3_file *file, int *out) {
    return LOSSY_REAL(file)->xCheckReservedLock(lossy_of(file)->real, out);
}
static inline int lossy_control(sqlite3_file *file, int op, void *arg) {
    return op == SQLITE_FCNTL_SIZE_HINT
               ? SQLITE_OK
               : LOSSY_REAL(file)->xFileControl(lossy_of(file)->real, op, arg);
}
static inline int lossy_sector_size(sqlite3_file *file) {
    return LOSSY_REAL(file)->xSectorSize(lossy_of(file)->real);
}
static inline int lossy_characteristics(sqlite3_file *file) {
    return LOSSY_REAL(file)->xDeviceCharacteristics(lossy_of(file)->real);
}
static inline int lossy_shm_map(sqlite3_file *file, int page, int size, int extend,
                                void volatile **out) {
    return LOSSY_REAL(file)->xShmMap(lossy_of(file)->real, page, size, extend, out);
}
static inline int lossy_shm_lock(sqlite3_file *file, int at, int n, int flags) {
    return LOSSY_REAL(file)->xShmLock(lossy_of(file)->real, at, n, flags);
}
static inline void lossy_shm_barrier(sqlite3_file *file) {
    LOSSY_REAL(file)->xShmBarrier(lossy_of(file)->real);
}
static inline int lossy_shm_unmap(sqlite3_file *file, int is_delete) {
    return LOSSY_REAL(file)->xShmUnmap(lossy_of(file)->real, is_delete);
}

static const sqlite3_io_methods lossy_methods = {
    .iVersion = 2,
    .xClose = lossy_close,
    .xRead = lossy_read,
    .xWrite = lossy_write_bytes,
    .xTruncate = lossy_truncate,
    .xSync = lossy_sync,
    .xFileSize = lossy_size,
    .xLock = lossy_lock,
    .xUnlock = lossy_unlock,
    .xCheckReservedLock = lossy_check_lock,
    .xFileControl = lossy_control,
    .xSectorSize = lossy_sector_size,
    .xDeviceCharacteristics = lossy_characteristics,
    .xShmMap = lossy_shm_map,
    .xShmLock = lossy_shm_lock,
    .xShmBarrier = lossy_shm_barrier,
    .xShmUnmap = lossy_shm_unmap,
};

static inline int lossy_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *file, int flags,
                             int *out_flags) {
    (void)vfs;
    struct lossy_file *f = lossy_of(file);
    memset(f, 0, sizeof *f);
    f->real = (sqlite3_file *)(void *)(f + 1);
    int code = lossy_system->xOpen(lossy_system, path, f->real, flags, out_flags);
    if (code != SQLITE_OK)
        return code;
    f->base.pMethods = &lossy_methods;
    sqlite3_int64 size = 0;
    f->real->pMethods->xFileSize(f->real, &size);
    lossy_resize(f, (size_t)size);
    if (size > 0)
        f->real->pMethods->xRead(f->real, f->image, (int)size, 0);
    for (int i = 0; i < LOSSY_FILES; i++) {
        if (!lossy_files[i]) {
            lossy_files[i] = f;
            break;
        }
    }
    return SQLITE_OK;
}

/* From now on "lossy" names this file system. Once a process. */
static inline void lossy_register(uint64_t seed) {
    static sqlite3_vfs vfs;
    lossy_system = sqlite3_vfs_find(NULL);
    lossy_random.state = seed;
    vfs = *lossy_system;
    vfs.zName = "lossy";
    vfs.szOsFile = (int)sizeof(struct lossy_file) + lossy_system->szOsFile;
    vfs.xOpen = lossy_open;
    sqlite3_vfs_register(&vfs, 0);
}

#endif
