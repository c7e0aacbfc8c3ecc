/* seed_main.c - runs a fuzz target over its seeds, so that each seed is a test in every build. */
#include "fuzz/fuzz.h"

#include <assert.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SEED_MAX = 1 << 20, /* bytes of a seed; they are meant to be small */
    CUT_MAX = 512,      /* the seed is also cut off at each of its first so many bytes */
};

/* The bytes stand in a block of just their size, so that a sanitizer sees the first one past it. */
static void run(const uint8_t *data, size_t size) {
    uint8_t *exact = malloc(size ? size : 1);
    if (!exact)
        abort();
    memcpy(exact, data, size);
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
}

static void run_seed(const char *folder, const char *name) {
    static uint8_t data[SEED_MAX];
    char path[4096];
    int n = snprintf(path, sizeof path, "%s/%s", folder, name);
    assert(n > 0 && (size_t)n < sizeof path);
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        exit(1);
    }
    size_t size = fread(data, 1, sizeof data, file);
    assert(size < sizeof data && !ferror(file));
    fclose(file);
    printf("%s, %zu bytes\n", name, size);
    fflush(stdout); /* names the seed when the target aborts */
    for (size_t cut = 0; cut < size && cut < CUT_MAX; cut++)
        run(data, cut);
    run(data, size);
}

int main(int argc, char **argv) {
    assert(argc == 2);
    DIR *folder = opendir(argv[1]);
    if (!folder) {
        perror(argv[1]);
        return 1;
    }
    int n_seeds = 0;
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (entry->d_name[0] == '.')
            continue;
        run_seed(argv[1], entry->d_name);
        n_seeds++;
    }
    closedir(folder);
    printf("%d passed, %d failed\n", n_seeds, n_seeds == 0);
    return n_seeds == 0;
}
