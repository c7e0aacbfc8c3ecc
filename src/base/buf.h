/* buf.h - bytes that grow up to a ceiling given when the buffer is made. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "base/base.h"
#include "base/status.h"
#include "base/str.h"

/* Memory that runs out aborts: every size from outside was bounded before it came here. */
void *xmalloc(size_t n);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *p, size_t n);

/*
 * Always: len <= cap, and len <= ceiling. An append that would pass the ceiling appends nothing and
 * marks the buffer as overflowed, so that a writer may append many times and look once.
 * A zeroed struct may be destroyed.
 */
struct buf {
    char *p; /* owned */
    size_t len, cap, ceiling;
    bool overflowed;
};

/* Allocates nothing yet. */
void buf_init(struct buf *b, size_t ceiling);
void buf_destroy(struct buf *b);

/* Empty again, memory and ceiling kept. */
static inline void buf_clear(struct buf *b) {
    b->len = 0;
    b->overflowed = false;
}

/*
 * Room for n more bytes at p + len, to be claimed with buf_commit; NULL (and overflowed) past the
 * ceiling. `slack` bytes behind them are allocated too but never counted: for parsers that read
 * past the end.
 */
char *buf_grow(struct buf *b, size_t n, size_t slack); /* the slow half of the next function */
static inline char *buf_reserve_slack(struct buf *b, size_t n, size_t slack) {
    size_t room = b->cap - b->len;
    if (LIKELY(n <= room && slack <= room - n && n <= b->ceiling - b->len && !b->overflowed))
        return b->p + b->len;
    return buf_grow(b, n, slack);
}
static inline char *buf_reserve(struct buf *b, size_t n) {
    return buf_reserve_slack(b, n, 0);
}
static inline void buf_commit(struct buf *b, size_t n) {
    assert(n <= b->cap - b->len);
    b->len += n;
}

/* In the header, so that a literal's length is a constant: answers and log lines are hundreds of
 * short appends, and each is then a comparison and a move. */
static inline void buf_put(struct buf *b, const void *p, size_t n) {
    if (n == 0)
        return;
    char *at = buf_reserve(b, n);
    if (LIKELY(at)) {
        memcpy(at, p, n);
        b->len += n;
    }
}
static inline void buf_str(struct buf *b, struct str s) {
    buf_put(b, s.p, s.n);
}
#define buf_lit(b, lit) buf_put((b), "" lit, sizeof(lit) - 1)
static inline void buf_char(struct buf *b, char c) {
    buf_put(b, &c, 1);
}
/*
 * Many short pieces into room that was made once: each is a move, with no look at the ceiling. Past
 * its end an assertion fails. Nothing else may be appended between buf_pen and buf_pen_done.
 */
struct pen {
    char *p, *end;
};

/* Room for `most` bytes; a pen with p NULL (and overflowed) past the ceiling. */
static inline struct pen buf_pen(struct buf *b, size_t most) {
    char *at = buf_reserve(b, most);
    return (struct pen){at, at ? at + most : NULL};
}
static inline void buf_pen_done(struct buf *b, const struct pen *pen) {
    buf_commit(b, (size_t)(pen->p - (b->p + b->len)));
}
ALWAYS_INLINE void pen_put(struct pen *pen, const void *p, size_t n) {
    assert(n <= (size_t)(pen->end - pen->p));
    memcpy(pen->p, p, n);
    pen->p += n;
}
static inline void pen_str(struct pen *pen, struct str s) {
    if (s.n)
        pen_put(pen, s.p, s.n);
}
#define pen_lit(pen, lit) pen_put((pen), "" lit, sizeof(lit) - 1)
void pen_i64(struct pen *pen, int64_t v); /* up to I64_DIGITS_MAX bytes */

enum { I64_DIGITS_MAX = 20 }; /* with the sign */

void buf_i64(struct buf *b, int64_t v);
void buf_u64(struct buf *b, uint64_t v);
void buf_printf(struct buf *b, const char *format, ...) PRINTF_LIKE(2, 3);

/* Takes the first n bytes off. */
void buf_consume(struct buf *b, size_t n);

/* ST_TOO_LARGE when something did not fit. */
enum status buf_status(const struct buf *b) MUST_USE;

/* A view; valid until the next append. */
static inline struct str buf_view(const struct buf *b) {
    return (struct str){b->p, b->len};
}

/* The decimal digits of v into out, which holds at least 20 bytes; the number of digits. */
size_t u64_format(uint64_t v, char *out);

#endif
