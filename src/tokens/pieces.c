#include "tokens/pieces.h"

#include "tokens/unicode_private.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* --- characters --- */

/* The class of the character at p, and how many bytes it has. */
static inline enum char_class class_at(const uint8_t *p, const uint8_t *end, size_t *len) {
    uint32_t b = p[0];
    *len = 1;
    if (b < 0x80)
        return ascii_class((uint8_t)b);
    size_t n = b < 0xe0 ? 2 : b < 0xf0 ? 3 : 4;
    if (UNLIKELY((size_t)(end - p) < n))
        return CHAR_OTHER;
    uint32_t code_point;
    if (n == 3)
        code_point = (b & 15) << 12 | (p[1] & 63u) << 6 | (p[2] & 63u);
    else if (n == 2)
        code_point = (b & 31) << 6 | (p[1] & 63u);
    else
        code_point = (b & 7) << 18 | (p[1] & 63u) << 12 | (p[2] & 63u) << 6 | (p[3] & 63u);
    if (UNLIKELY(code_point > 0x10ffff))
        return CHAR_OTHER;
    *len = n;
    return unicode_class(code_point);
}

static inline bool is_letter(enum char_class c) {
    return c == CHAR_UPPER || c == CHAR_LOWER || c == CHAR_LETTER;
}
static inline bool is_mark_or_other(enum char_class c) {
    return c == CHAR_OTHER || c == CHAR_MARK;
}
static inline bool is_blank(enum char_class c) {
    return c == CHAR_BLANK || c == CHAR_NEWLINE;
}

/*
 * The length of 's, 't, 're, 've, 'm, 'll or 'd at p in either case, or 0. The long s (U+017F) folds
 * to s, too.
 */
static __attribute__((noinline)) size_t contraction(const uint8_t *p, const uint8_t *end) {
    if (end - p < 2 || p[0] != '\'')
        return 0;
    switch (p[1] | 0x20) {
    case 's':
    case 't':
    case 'm':
    case 'd':
        return p[1] < 0x80 ? 2 : 0;
    case 'r':
    case 'v':
        return end - p > 2 && (p[2] | 0x20) == 'e' ? 3 : 0;
    case 'l':
        return end - p > 2 && (p[2] | 0x20) == 'l' ? 3 : 0;
    default:
        return end - p > 2 && p[1] == 0xc5 && p[2] == 0xbf ? 3 : 0;
    }
}

/* --- runs of one kind, whatever the characters --- */

/*
 * A word of o200k at p: upper ones, then lower ones, where those without case and marks are both, or
 * only upper ones; then a contraction. NULL when there is none.
 *
 * The expression takes all it can as upper, then needs one lower. Where the next is none, it gives
 * back what it took until the next is: so the word ends behind the last one that is both.
 */
static const uint8_t *word(const uint8_t *p, const uint8_t *end) {
    const uint8_t *at = p, *behind_both = NULL;
    enum char_class c = CHAR_OTHER;
    size_t len = 0;
    for (; at < end; at += len) {
        c = class_at(at, end, &len);
        if (c == CHAR_LETTER || c == CHAR_MARK)
            behind_both = at + len;
        else if (c != CHAR_UPPER)
            break;
    }
    if (at < end && c == CHAR_LOWER) {
        do {
            at += len;
            if (at == end)
                return at;
            c = class_at(at, end, &len);
        } while (c == CHAR_LOWER || c == CHAR_LETTER || c == CHAR_MARK);
    } else if (behind_both && behind_both < at) {
        return behind_both; /* an upper one follows, so no contraction */
    }
    return at > p ? at + contraction(at, end) : NULL;
}

static const uint8_t *letters(const uint8_t *p, const uint8_t *end) {
    size_t len;
    while (p < end && is_letter(class_at(p, end, &len)))
        p += len;
    return p;
}

static const uint8_t *numbers(const uint8_t *p, const uint8_t *end) {
    size_t len;
    for (int i = 0; i < 3 && p < end && class_at(p, end, &len) == CHAR_NUMBER; i++)
        p += len;
    return p;
}

static inline const uint8_t *line_ends(const uint8_t *p, const uint8_t *end, bool with_slashes) {
    while (p < end && (*p == '\r' || *p == '\n' || (with_slashes && *p == '/')))
        p++;
    return p;
}

static const uint8_t *punctuation(const uint8_t *p, const uint8_t *end, bool with_slashes) {
    size_t len;
    while (p < end && is_mark_or_other(class_at(p, end, &len)))
        p += len;
    return line_ends(p, end, with_slashes);
}

static const uint8_t *blanks(const uint8_t *p, const uint8_t *end) {
    const uint8_t *at = p, *last = p, *behind_newline = NULL;
    size_t len;
    while (at < end) {
        enum char_class c = class_at(at, end, &len);
        if (!is_blank(c))
            break;
        last = at;
        at += len;
        if (c == CHAR_NEWLINE)
            behind_newline = at;
    }
    if (behind_newline)
        return behind_newline;
    return at == end || last == p ? at : last;
}

/* --- a piece, whatever the characters --- */

/* Apart, so that the short way has no registers to save for it. */
static __attribute__((noinline)) const uint8_t *any_o200k(const uint8_t *p, const uint8_t *end) {
    size_t len;
    enum char_class c = class_at(p, end, &len);
    const uint8_t *at;
    switch (c) {
    case CHAR_OTHER:
    case CHAR_BLANK:
        if ((at = word(p + len, end)))
            return at;
        break;
    case CHAR_MARK: /* might also be the one before a word, which would then end at the same place */
    case CHAR_UPPER:
    case CHAR_LOWER:
    case CHAR_LETTER:
        return word(p, end);
    case CHAR_NUMBER:
        return numbers(p, end);
    case CHAR_NEWLINE:
        return blanks(p, end);
    }
    at = p + (*p == ' ');
    if (at < end && is_mark_or_other(class_at(at, end, &len)))
        return punctuation(at, end, true);
    return blanks(p, end);
}

static __attribute__((noinline)) const uint8_t *any_cl100k(const uint8_t *p, const uint8_t *end) {
    size_t len, n = contraction(p, end);
    if (n)
        return p + n;
    enum char_class c = class_at(p, end, &len);
    if (c == CHAR_NUMBER)
        return numbers(p, end);
    if (c == CHAR_NEWLINE)
        return blanks(p, end);
    const uint8_t *first = is_letter(c) ? p : p + len;
    const uint8_t *at = letters(first, end);
    if (at > first)
        return at;
    at = p + (*p == ' ');
    if (at < end && is_mark_or_other(class_at(at, end, &len)))
        return punctuation(at, end, false);
    return blanks(p, end);
}

/* --- pieces of ASCII, by far the most --- */

enum { LANES = 16 };

/* Bit i: whether byte i is from `low` to `low` + 25, as letters are. */
struct letter_bits {
    uint32_t upper, lower;
};

static inline struct letter_bits letter_bits(const uint8_t *p) {
#ifdef __SSE2__
    /* Signed comparison is all there is: the range is moved down to the lowest values. */
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)p);
    __m128i limit = _mm_set1_epi8(-128 + 26);
    __m128i upper = _mm_cmplt_epi8(_mm_add_epi8(bytes, _mm_set1_epi8(-128 - 'A' + 256)), limit);
    __m128i lower = _mm_cmplt_epi8(_mm_add_epi8(bytes, _mm_set1_epi8(-128 - 'a' + 256)), limit);
    return (struct letter_bits){(uint32_t)_mm_movemask_epi8(upper),
                                (uint32_t)_mm_movemask_epi8(lower)};
#else
    struct letter_bits bits = {0, 0};
    for (unsigned i = 0; i < LANES; i++) {
        bits.upper |= (uint32_t)((uint8_t)(p[i] - 'A') < 26) << i;
        bits.lower |= (uint32_t)((uint8_t)(p[i] - 'a') < 26) << i;
    }
    return bits;
#endif
}

static inline unsigned ones(uint32_t bits) {
    return (unsigned)__builtin_ctz(~bits);
}

/*
 * The same for a piece that is ASCII up to and with the byte behind it, or NULL: then the general way
 * must be gone. At least LANES + 1 bytes are left.
 */
static inline const uint8_t *ascii_blanks(const uint8_t *p, const uint8_t *end) {
    const uint8_t *at = p, *behind_newline = NULL;
    for (; at < end; at++) {
        if (*at == '\n' || *at == '\r')
            behind_newline = at + 1;
        else if (*at != ' ' && (uint8_t)(*at - '\t') > '\r' - '\t')
            break;
    }
    if (at == end || *at >= 0x80)
        return NULL;
    if (behind_newline)
        return behind_newline;
    return at - p > 1 ? at - 1 : at;
}

static inline const uint8_t *ascii_punctuation(const uint8_t *at, const uint8_t *end,
                                               bool with_slashes) {
    while (at < end && *at < 0x80 && ascii_class(*at) == CHAR_OTHER)
        at++;
    if (at == end || *at >= 0x80)
        return NULL;
    return line_ends(at, end, with_slashes);
}

static inline const uint8_t *ascii_numbers(const uint8_t *p) {
    int n = 1;
    while (n < 3 && (uint8_t)(p[n] - '0') < 10)
        n++;
    return n < 3 && p[n] >= 0x80 ? NULL : p + n;
}

static inline const uint8_t *ascii_piece(const uint8_t *p, const uint8_t *end, bool is_o200k) {
    enum char_class c = ascii_class(*p);
    if (c == CHAR_NUMBER)
        return ascii_numbers(p);
    if (c == CHAR_NEWLINE)
        return ascii_blanks(p, end);
    bool has_first = c == CHAR_OTHER || c == CHAR_BLANK;
    if (!is_o200k && *p == '\'') {
        size_t n = contraction(p, end);
        if (n)
            return p + n;
    }
    const uint8_t *at = p + has_first;
    struct letter_bits bits = letter_bits(at);
    unsigned n;
    if (is_o200k) {
        n = ones(bits.upper);
        n += ones(bits.lower >> n);
    } else {
        n = ones(bits.upper | bits.lower);
    }
    if (n > 0) {
        at += n;
        /* The word may go on beyond what was loaded, or in other scripts. */
        if (n == LANES || at >= end || *at >= 0x80)
            return NULL;
        return is_o200k && UNLIKELY(*at == '\'') ? at + contraction(at, end) : at;
    }
    if (*at >= 0x80)
        return NULL;
    if (c == CHAR_OTHER)
        return ascii_punctuation(p, end, is_o200k);
    if (*p == ' ' && ascii_class(*at) == CHAR_OTHER)
        return ascii_punctuation(at, end, is_o200k);
    return ascii_blanks(p, end);
}

const char *pieces_end_o200k(const char *p, const char *end) {
    const uint8_t *at = (const uint8_t *)p, *stop = (const uint8_t *)end, *found = NULL;
    if (LIKELY(*at < 0x80 && stop - at > LANES))
        found = ascii_piece(at, stop, true);
    return (const char *)(found ? found : any_o200k(at, stop));
}

const char *pieces_end_cl100k(const char *p, const char *end) {
    const uint8_t *at = (const uint8_t *)p, *stop = (const uint8_t *)end, *found = NULL;
    if (LIKELY(*at < 0x80 && stop - at > LANES))
        found = ascii_piece(at, stop, false);
    return (const char *)(found ? found : any_cl100k(at, stop));
}
