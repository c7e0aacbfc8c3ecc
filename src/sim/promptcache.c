/* promptcache.c - a table of fixed size: four places for each hash, the oldest gives way. */
#include "sim/promptcache.h"

#include "base/buf.h"

#include <stdlib.h>

enum { WAYS = 4 };

struct promptcache_entry {
    uint64_t hash;
    int64_t until_ns; /* 0: free */
};

void promptcache_init(struct promptcache *c, int64_t ttl_ns) {
    c->entries = xcalloc(PROMPTCACHE_ENTRIES, sizeof *c->entries);
    c->ttl_ns = ttl_ns;
}

void promptcache_destroy(struct promptcache *c) {
    free(c->entries);
    *c = (struct promptcache){0};
}

static struct promptcache_entry *ways_of(const struct promptcache *c, uint64_t hash) {
    return c->entries + hash % (PROMPTCACHE_ENTRIES / WAYS) * WAYS;
}

int64_t promptcache_find(const struct promptcache *c, const uint64_t *marks, size_t n,
                         int64_t now_ns) {
    size_t found = 0;
    for (; c->entries && found < n; found++) {
        const struct promptcache_entry *e = ways_of(c, marks[found]);
        int i = 0;
        while (i < WAYS && (e[i].hash != marks[found] || e[i].until_ns <= now_ns))
            i++;
        if (i == WAYS)
            break;
    }
    return found ? PROMPTCACHE_FIRST + ((int64_t)found - 1) * PROMPTCACHE_STEP : 0;
}

void promptcache_keep(struct promptcache *c, const uint64_t *marks, size_t n, int64_t now_ns) {
    for (size_t k = 0; c->entries && k < n; k++) {
        struct promptcache_entry *e = ways_of(c, marks[k]), *at = e;
        for (int i = 0; i < WAYS; i++) {
            if (e[i].hash == marks[k]) {
                at = e + i;
                break;
            }
            if (e[i].until_ns < at->until_ns)
                at = e + i;
        }
        *at = (struct promptcache_entry){marks[k], now_ns + c->ttl_ns};
    }
}
