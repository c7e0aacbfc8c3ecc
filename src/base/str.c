#include "base/str.h"

#include "base/buf.h"

static char lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

int str_cmp(struct str a, struct str b) {
    size_t n = size_min(a.n, b.n);
    int order = n ? memcmp(a.p, b.p, n) : 0;
    if (order != 0)
        return order;
    return a.n < b.n ? -1 : a.n > b.n;
}

bool str_starts(struct str s, struct str prefix) {
    return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}

/* Whether eight bytes are the same but for the case of ASCII letters: they may differ in the bit of
 * case, and only where that makes a letter of another case. */
static bool is_same_word(uint64_t x, uint64_t y) {
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t differing = x ^ y, small = (x | ones * 0x20) & ones * 0x7f;
    uint64_t letters = (small + ones * (0x80 - 'a')) & ~(small + ones * (0x7f - 'z')) & ~x;
    return (differing & ~(letters >> 2 & ones * 0x20)) == 0;
}

bool str_istarts(struct str s, struct str prefix) {
    if (s.n < prefix.n)
        return false;
    size_t i = 0;
    for (; prefix.n - i >= 8; i += 8) {
        uint64_t x, y;
        memcpy(&x, s.p + i, 8);
        memcpy(&y, prefix.p + i, 8);
        if (!is_same_word(x, y))
            return false;
    }
    for (; i < prefix.n; i++) {
        if (s.p[i] != prefix.p[i] && lower(s.p[i]) != lower(prefix.p[i]))
            return false;
    }
    return true;
}

bool str_ends(struct str s, struct str suffix) {
    return s.n >= suffix.n && str_eq(str_skip(s, s.n - suffix.n), suffix);
}

struct str str_trim(struct str s) {
    while (s.n && is_blank(s.p[0]))
        s = str_skip(s, 1);
    while (s.n && is_blank(s.p[s.n - 1]))
        s.n--;
    return s;
}

bool str_cut(struct str *rest, char sep, struct str *item) {
    if (!rest->p)
        return false;
    const char *at = rest->n ? memchr(rest->p, sep, rest->n) : NULL;
    if (at) {
        *item = (struct str){rest->p, (size_t)(at - rest->p)};
        *rest = str_skip(*rest, item->n + 1);
    } else {
        if (rest->n == 0) {
            rest->p = NULL;
            return false;
        }
        *item = *rest;
        *rest = (struct str){NULL, 0};
    }
    return true;
}

ptrdiff_t str_find(struct str s, struct str needle) {
    if (needle.n == 0)
        return 0;
    const char *at = s.n ? memmem(s.p, s.n, needle.p, needle.n) : NULL;
    return at ? at - s.p : -1;
}

bool str_to_i64(struct str s, int64_t *out) {
    bool is_negative = s.n && s.p[0] == '-';
    if (is_negative)
        s = str_skip(s, 1);
    if (s.n == 0)
        return false;
    int64_t v = 0;
    for (size_t i = 0; i < s.n; i++) {
        int digit = s.p[i] - '0';
        /* Built up below zero, since INT64_MIN has no positive twin. */
        if (digit < 0 || digit > 9 || __builtin_mul_overflow(v, 10, &v) ||
            __builtin_sub_overflow(v, digit, &v))
            return false;
    }
    if (!is_negative && __builtin_sub_overflow(0, v, &v))
        return false;
    *out = v;
    return true;
}

bool str_to_hex_u64(struct str s, uint64_t *out) {
    if (s.n == 0 || s.n > 16)
        return false;
    uint64_t v = 0;
    for (size_t i = 0; i < s.n; i++) {
        char c = lower(s.p[i]);
        uint64_t digit;
        if (c >= '0' && c <= '9')
            digit = (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            digit = (uint64_t)(c - 'a') + 10;
        else
            return false;
        v = v << 4 | digit;
    }
    *out = v;
    return true;
}

/* Sixteen bytes side by side, which any processor with vectors adds and compares at once. */
typedef signed char lanes __attribute__((vector_size(16)));

size_t str_utf8_length(struct str s) {
    /* A continuation byte is 10xxxxxx: as a signed number below -64. A comparison gives -1 where it
     * holds; the counters of the lanes are added up before the first could pass 127. */
    size_t later = 0, i = 0;
    while (s.n - i >= sizeof(lanes)) {
        size_t rounds = size_min((s.n - i) / sizeof(lanes), 127);
        lanes counters = {0};
        for (size_t k = 0; k < rounds; k++, i += sizeof(lanes)) {
            lanes bytes;
            memcpy(&bytes, s.p + i, sizeof bytes);
            counters -= bytes < -64;
        }
        for (size_t k = 0; k < sizeof(lanes); k++)
            later += (size_t)counters[k];
    }
    for (; i < s.n; i++)
        later += (signed char)s.p[i] < -64;
    return s.n - later;
}

char *str_dup(struct str s) {
    char *z = xmalloc(s.n + 1);
    if (s.n)
        memcpy(z, s.p, s.n);
    z[s.n] = '\0';
    return z;
}

bool str_eq_secret(struct str a, struct str b) {
    if (a.n != b.n)
        return false;
    volatile uint64_t differs = 0; /* volatile, so that nobody ends the walk early */
    size_t i = 0;
    for (; a.n - i >= 8; i += 8) {
        uint64_t x, y;
        memcpy(&x, a.p + i, 8);
        memcpy(&y, b.p + i, 8);
        differs = differs | (x ^ y);
    }
    for (; i < a.n; i++)
        differs = differs | (unsigned char)(a.p[i] ^ b.p[i]);
    return differs == 0;
}
