/* promptcache.h - which beginnings of prompts a simulated server still has worked out. */
#ifndef SIM_PROMPTCACHE_H
#define SIM_PROMPTCACHE_H

#include "base/base.h"
#include "base/clock.h"

/*
 * As Azure OpenAI does (inference contract, section 4): a hit is 1,024 tokens or more and grows in
 * steps of 128. A prompt is given as marks: hash i stands for its first 1024 + 128 i tokens, so a
 * longer prefix is there only if all shorter ones are. Bounded: the table never grows, the entry
 * that would go first makes room.
 */
enum {
    PROMPTCACHE_FIRST = 1024, /* tokens */
    PROMPTCACHE_STEP = 128,
    PROMPTCACHE_ENTRIES = 1 << 16,
};

#define PROMPTCACHE_TTL_NS                                                                         \
    (5 * NS_PER_MIN) /* without use; ours, in the range that Azure documents */

struct promptcache {
    struct promptcache_entry *entries; /* owned; NULL: caching is off */
    int64_t ttl_ns;
};

void promptcache_init(struct promptcache *c, int64_t ttl_ns);
void promptcache_destroy(struct promptcache *c);

/* Tokens at the front that are there; 0 or PROMPTCACHE_FIRST + k * PROMPTCACHE_STEP. */
int64_t promptcache_find(const struct promptcache *c, const uint64_t *marks, size_t n,
                         int64_t now_ns);

/* The prompt has been worked out: all its prefixes are there from now on. */
void promptcache_keep(struct promptcache *c, const uint64_t *marks, size_t n, int64_t now_ns);

#endif
