#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static void *or_abort(void *p) {
    if (UNLIKELY(!p))
        abort();
    return p;
}

void *xmalloc(size_t n) {
    return or_abort(malloc(n ? n : 1));
}

void *xcalloc(size_t count, size_t size) {
    return or_abort(calloc(count ? count : 1, size ? size : 1));
}

void *xrealloc(void *p, size_t n) {
    return or_abort(realloc(p, n ? n : 1));
}

void buf_init(struct buf *b, size_t ceiling) {
    *b = (struct buf){.ceiling = ceiling};
}

void buf_destroy(struct buf *b) {
    free(b->p);
    *b = (struct buf){0};
}

char *buf_grow(struct buf *b, size_t n, size_t slack) {
    if (UNLIKELY(b->overflowed || n > b->ceiling - b->len)) {
        b->overflowed = true;
        return NULL;
    }
    size_t need = b->len + n + slack;
    if (need > b->cap) {
        size_t cap = size_max(b->cap + b->cap / 2, 256);
        cap = size_max(size_min(cap, b->ceiling + slack), need);
        b->p = xrealloc(b->p, cap);
        b->cap = cap;
    }
    return b->p + b->len;
}

/* How many bits a number above 0 has tells how many digits, but for one. */
static size_t digits_of(uint64_t v) {
    static const uint64_t powers[] = {1,
                                      10,
                                      100,
                                      1000,
                                      10000,
                                      100000,
                                      1000000,
                                      10000000,
                                      100000000,
                                      1000000000,
                                      10000000000,
                                      100000000000,
                                      1000000000000,
                                      10000000000000,
                                      100000000000000,
                                      1000000000000000,
                                      10000000000000000,
                                      100000000000000000,
                                      1000000000000000000,
                                      10000000000000000000u};
    size_t bits = (size_t)(64 - __builtin_clzll(v | 1));
    size_t n = bits * 1233 >> 12; /* 1233 / 4096 is log10(2) and a ten-thousandth more */
    return n + (v >= powers[n]);
}

size_t u64_format(uint64_t v, char *out) {
    /* Two digits at a time, from the end: half the divisions, and nothing to move. */
    static const char pairs[] = "00010203040506070809101112131415161718192021222324"
                                "25262728293031323334353637383940414243444546474849"
                                "50515253545556575859606162636465666768697071727374"
                                "75767778798081828384858687888990919293949596979899";
    if (v < 10) {
        out[0] = (char)('0' + v);
        return 1;
    }
    size_t n = digits_of(v), at = n;
    for (; v >= 100; v /= 100) {
        const char *pair = pairs + v % 100 * 2;
        out[--at] = pair[1];
        out[--at] = pair[0];
    }
    if (v >= 10) {
        out[--at] = pairs[v * 2 + 1];
        out[--at] = pairs[v * 2];
    } else {
        out[--at] = (char)('0' + v);
    }
    return n;
}

void pen_i64(struct pen *pen, int64_t v) {
    assert(pen->end - pen->p >= I64_DIGITS_MAX);
    if (v < 0)
        *pen->p++ = '-';
    pen->p += u64_format(v < 0 ? -(uint64_t)v : (uint64_t)v, pen->p);
}

void buf_u64(struct buf *b, uint64_t v) {
    char *at = buf_reserve(b, 20);
    if (LIKELY(at))
        b->len += u64_format(v, at);
}

void buf_i64(struct buf *b, int64_t v) {
    if (v < 0)
        buf_char(b, '-');
    buf_u64(b, v < 0 ? -(uint64_t)v : (uint64_t)v);
}

void buf_printf(struct buf *b, const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    assert(n >= 0);
    /* The terminating NUL is slack: written, not counted. */
    char *at = buf_reserve_slack(b, (size_t)n, 1);
    if (at) {
        vsnprintf(at, (size_t)n + 1, format, again);
        b->len += (size_t)n;
    }
    va_end(again);
}

void buf_consume(struct buf *b, size_t n) {
    assert(n <= b->len);
    if (n == 0)
        return;
    b->len -= n;
    memmove(b->p, b->p + n, b->len);
}

enum status buf_status(const struct buf *b) {
    return b->overflowed ? ST_TOO_LARGE : ST_OK;
}
