/* wide.h - 128-bit integers for products of a rate and a time, and the way back to 64 bits. */
#ifndef BASE_WIDE_H
#define BASE_WIDE_H

#include "base/base.h"

/* The compiler's own type; __extension__ because ISO C has no name for it. */
__extension__ typedef __int128 i128;

/* The nearest int64_t: what does not fit becomes INT64_MAX or INT64_MIN. */
static inline int64_t i128_to_i64(i128 x) {
    if (x > INT64_MAX)
        return INT64_MAX;
    return x < INT64_MIN ? INT64_MIN : (int64_t)x;
}

/* Quotient towards minus infinity and towards plus infinity; b > 0. C's own rounds towards zero. */
static inline i128 i128_div_floor(i128 a, i128 b) {
    assert(b > 0);
    return a / b - (a % b < 0);
}
static inline i128 i128_div_ceil(i128 a, i128 b) {
    assert(b > 0);
    return a / b + (a % b > 0);
}

#endif
