/* str.h - a view of text: pointer and length, passed by value, never owned. */
#ifndef BASE_STR_H
#define BASE_STR_H

#include "base/base.h"

#include <string.h>

/* Valid as long as the owner of the bytes; need not end in NUL. {NULL, 0} is the empty text. */
struct str {
    const char *p;
    size_t n;
};

/* A view of a string literal; usable as a static initializer by way of STR_INIT. */
#define STR(lit) ((struct str){"" lit, sizeof(lit) - 1})
#define STR_INIT(lit)                                                                              \
    { "" lit, sizeof(lit) - 1 }

/* printf("%.*s", STR_ARG(s)) */
#define STR_ARG(s) (int)(s).n, (s).p

static inline struct str str_of(const char *z) {
    return (struct str){z, z ? strlen(z) : 0};
}

static inline bool str_eq(struct str a, struct str b) {
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool str_istarts(struct str s, struct str prefix);

/* Equality without regard to the case of ASCII letters. Most texts that differ do so in length or at
 * the front (the bit that tells the cases apart is left out there, so some look alike that aren't). */
ALWAYS_INLINE bool str_ieq(struct str a, struct str b) {
    return a.n == b.n && (a.n == 0 || (((a.p[0] ^ b.p[0]) & ~0x20) == 0 && str_istarts(a, b)));
}

/* Order by bytes, shorter first on a common prefix: for sorting and binary search. */
int str_cmp(struct str a, struct str b);

bool str_starts(struct str s, struct str prefix);
bool str_ends(struct str s, struct str suffix);

/* s without its first n bytes (all of them when it is shorter). */
static inline struct str str_skip(struct str s, size_t n) {
    return n >= s.n ? (struct str){s.p + s.n, 0} : (struct str){s.p + n, s.n - n};
}

/* Without blanks, tabs, CR and LF at both ends. */
struct str str_trim(struct str s);

/*
 * The iterator over separated items: takes the text before the next `sep` off `rest` and puts it in
 * `item`. False when `rest` is used up. "a,,b" gives "a", "", "b"; "" gives nothing.
 */
bool str_cut(struct str *rest, char sep, struct str *item);

/* Position of the first `needle`, or -1. An empty needle is at 0. */
ptrdiff_t str_find(struct str s, struct str needle);

/* The whole text as a decimal int64_t with an optional minus; false on anything else or overflow.
 * The one checked parser of numbers from outside. */
bool str_to_i64(struct str s, int64_t *out) MUST_USE;

/* The whole text as hexadecimal digits without a prefix; false on anything else or overflow. */
bool str_to_hex_u64(struct str s, uint64_t *out) MUST_USE;

/* How many characters UTF-8 text has; bytes that begin none are not counted. */
size_t str_utf8_length(struct str s);

/* A NUL-terminated copy on the heap, which the caller frees. */
char *str_dup(struct str s);

/*
 * Equality whose time does not depend on where the texts differ, for secrets. The time does depend
 * on the lengths.
 */
bool str_eq_secret(struct str a, struct str b);

#endif
