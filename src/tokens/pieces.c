#include "tokens/pieces.h"

#include "tokens/unicode_private.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

/*
 * What the expressions of one family differ in. Known when compiling, so that each pattern gets code
 * of its own without what it has not.
 */
struct style {
    bool is_cased;         /* words are in one case, as o200k's */
    bool has_contractions; /* cased: at the end of words; else pieces of their own */
    bool with_slashes;     /* slashes are among the line ends behind punctuation */
    bool with_marks;       /* marks are letters; where words are cased they are always */
    int n_digits;          /* in one piece, at most */
};

#define STYLE_CL100K ((struct style){false, true, false, false, 3})
#define STYLE_O200K ((struct style){true, true, true, false, 3})
#define STYLE_QWEN2 ((struct style){false, true, false, false, 1})
#define STYLE_QWEN35 ((struct style){false, true, false, true, 1})
#define STYLE_TEKKEN ((struct style){true, false, true, false, 1})

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

static inline bool is_letter(enum char_class c, bool with_marks) {
    return c == CHAR_UPPER || c == CHAR_LOWER || c == CHAR_LETTER || (with_marks && c == CHAR_MARK);
}
/* A mark is punctuation where it is no letter. */
static inline bool is_punctuation(enum char_class c, bool with_marks) {
    return c == CHAR_OTHER || (!with_marks && c == CHAR_MARK);
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
static const uint8_t *word(const uint8_t *p, const uint8_t *end, bool has_contractions) {
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
        /* Up to the last one of those that are loaded: each step begins at a lower one. */
        while (end - at > LANES && letter_bits(at).lower == 0xffff)
            at += LANES - 1;
        do {
            at += len;
            if (at == end)
                return at;
            c = class_at(at, end, &len);
        } while (c == CHAR_LOWER || c == CHAR_LETTER || c == CHAR_MARK);
    } else if (behind_both && behind_both < at) {
        return behind_both; /* an upper one follows, so no contraction */
    }
    if (at == p)
        return NULL;
    return has_contractions ? at + contraction(at, end) : at;
}

static const uint8_t *letters(const uint8_t *p, const uint8_t *end, bool with_marks) {
    size_t len;
    while (p < end && is_letter(class_at(p, end, &len), with_marks))
        p += len;
    return p;
}

static const uint8_t *numbers(const uint8_t *p, const uint8_t *end, int most) {
    size_t len;
    for (int i = 0; i < most && p < end && class_at(p, end, &len) == CHAR_NUMBER; i++)
        p += len;
    return p;
}

static inline const uint8_t *line_ends(const uint8_t *p, const uint8_t *end, bool with_slashes) {
    while (p < end && (*p == '\r' || *p == '\n' || (with_slashes && *p == '/')))
        p++;
    return p;
}

static const uint8_t *punctuation(const uint8_t *p, const uint8_t *end, bool with_marks) {
    size_t len;
    while (p < end && is_punctuation(class_at(p, end, &len), with_marks))
        p += len;
    return p;
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

static inline const uint8_t *any_uncased_word(const uint8_t *p, const uint8_t *end,
                                              struct style style, enum char_class c, size_t len) {
    const uint8_t *first = is_letter(c, style.with_marks) ? p : p + len;
    const uint8_t *at = letters(first, end, style.with_marks);
    return at > first ? at : NULL;
}

static inline __attribute__((always_inline)) const uint8_t *
any_piece(const uint8_t *p, const uint8_t *end, struct style style) {
    size_t len;
    const uint8_t *at;
    if (!style.is_cased && style.has_contractions && (len = contraction(p, end)) > 0)
        return p + len;
    enum char_class c = class_at(p, end, &len);
    if (c == CHAR_NUMBER)
        return numbers(p, end, style.n_digits);
    if (c == CHAR_NEWLINE)
        return blanks(p, end);
    if (!style.is_cased)
        at = any_uncased_word(p, end, style, c, len);
    else if (c == CHAR_OTHER || c == CHAR_BLANK)
        at = word(p + len, end, style.has_contractions);
    else /* a mark might also be the one before a word, which would then end at the same place */
        at = word(p, end, style.has_contractions);
    if (at)
        return at;
    at = p + (*p == ' ');
    if (at < end && is_punctuation(class_at(at, end, &len), style.with_marks))
        return line_ends(punctuation(at, end, style.with_marks), end, style.with_slashes);
    return blanks(p, end);
}

/*
 * GPT-2's expression has no line ends of its own, and a blank may also stand before numbers. Where each
 * number is cut off before the expression is tried, the text before it ends there.
 */
static inline __attribute__((always_inline)) const uint8_t *
any_gpt2(const uint8_t *p, const uint8_t *end, bool numbers_alone) {
    size_t len;
    /* Unlike the others' it is for lower case alone, and for no long s. */
    if ((len = contraction(p, end)) > 0 && p[1] < 0x80 && (p[1] & 0x20) && (len < 3 || p[2] & 0x20))
        return p + len;
    const uint8_t *at = p + (*p == ' ' && end - p > 1);
    enum char_class c = class_at(at, end, &len);
    if (c == CHAR_NUMBER) {
        if (numbers_alone)
            return at > p ? at : at + len;
        return numbers(at, end, INT32_MAX);
    }
    if (is_letter(c, false))
        return letters(at, end, false);
    if (!is_blank(c))
        return punctuation(at, end, false);
    const uint8_t *last = p;
    for (at = p; at < end; at += len) {
        c = class_at(at, end, &len);
        if (!is_blank(c))
            break;
        last = at;
    }
    bool is_last = at == end || (numbers_alone && c == CHAR_NUMBER);
    return is_last || last == p ? at : last;
}

/* Apart, so that the short way has no registers to save for it. */
#define DEFINE_ANY(NAME, STYLE)                                                                    \
    static __attribute__((noinline))                                                               \
    const uint8_t *any_##NAME(const uint8_t *p, const uint8_t *end) {                              \
        return any_piece(p, end, STYLE);                                                           \
    }
DEFINE_ANY(cl100k, STYLE_CL100K)
DEFINE_ANY(o200k, STYLE_O200K)
DEFINE_ANY(qwen2, STYLE_QWEN2)
DEFINE_ANY(qwen35, STYLE_QWEN35)
DEFINE_ANY(tekken, STYLE_TEKKEN)

/* --- pieces of ASCII, by far the most --- */

/* Bit i: whether byte i is a blank or the end of a line, and whether it is the latter. */
struct blank_bits {
    uint32_t blank, newline;
};

static inline struct blank_bits blank_bits(const uint8_t *p) {
#ifdef __SSE2__
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)p);
    __m128i newline = _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('\n')),
                                   _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\r')));
    __m128i control = _mm_cmplt_epi8(_mm_add_epi8(bytes, _mm_set1_epi8(-128 - '\t' + 256)),
                                     _mm_set1_epi8(-128 + 5)); /* up to \r */
    __m128i blank = _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(' ')), control);
    return (struct blank_bits){(uint32_t)_mm_movemask_epi8(blank),
                               (uint32_t)_mm_movemask_epi8(newline)};
#else
    struct blank_bits bits = {0, 0};
    for (unsigned i = 0; i < LANES; i++) {
        bits.newline |= (uint32_t)(p[i] == '\n' || p[i] == '\r') << i;
        bits.blank |= (uint32_t)(p[i] == ' ' || (uint8_t)(p[i] - '\t') < 5) << i;
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
    struct blank_bits bits = blank_bits(p);
    unsigned n = ones(bits.blank);
    if (LIKELY(n < LANES)) {
        bits.newline &= (1u << n) - 1;
        if (p[n] >= 0x80)
            return NULL;
        if (bits.newline)
            return p + 32 - __builtin_clz(bits.newline);
        return p + n - (n > 1);
    }
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

static inline const uint8_t *ascii_numbers(const uint8_t *p, int most) {
    int n = 1;
    while (n < most && (uint8_t)(p[n] - '0') < 10)
        n++;
    return n < most && p[n] >= 0x80 ? NULL : p + n;
}

static inline __attribute__((always_inline)) const uint8_t *
ascii_piece(const uint8_t *p, const uint8_t *end, struct style style) {
    enum char_class c = ascii_class(*p);
    if (c == CHAR_NUMBER)
        return ascii_numbers(p, style.n_digits);
    if (c == CHAR_NEWLINE)
        return ascii_blanks(p, end);
    bool has_first = c == CHAR_OTHER || c == CHAR_BLANK;
    if (!style.is_cased && *p == '\'') {
        size_t n = contraction(p, end);
        if (n)
            return p + n;
    }
    const uint8_t *at = p + has_first;
    struct letter_bits bits = letter_bits(at);
    unsigned n;
    if (style.is_cased) {
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
        if (style.is_cased && style.has_contractions && UNLIKELY(*at == '\''))
            at += contraction(at, end);
        return at;
    }
    if (*at >= 0x80)
        return NULL;
    if (c == CHAR_OTHER)
        return ascii_punctuation(p, end, style.with_slashes);
    if (*p == ' ' && ascii_class(*at) == CHAR_OTHER)
        return ascii_punctuation(at, end, style.with_slashes);
    return ascii_blanks(p, end);
}

/* Where the quick look is not enough, the whole rules are tried. */
#define DEFINE_PIECES_END(NAME, STYLE)                                                             \
    const char *pieces_end_##NAME(const char *p, const char *end) {                                \
        const uint8_t *at = (const uint8_t *)p, *stop = (const uint8_t *)end, *found = NULL;       \
        if (LIKELY(*at < 0x80 && stop - at > LANES))                                               \
            found = ascii_piece(at, stop, STYLE);                                                  \
        return (const char *)(found ? found : any_##NAME(at, stop));                               \
    }
DEFINE_PIECES_END(o200k, STYLE_O200K)
DEFINE_PIECES_END(cl100k, STYLE_CL100K)
DEFINE_PIECES_END(qwen2, STYLE_QWEN2)
DEFINE_PIECES_END(qwen35, STYLE_QWEN35)
DEFINE_PIECES_END(tekken, STYLE_TEKKEN)

const char *pieces_end_gpt2(const char *p, const char *end) {
    return (const char *)any_gpt2((const uint8_t *)p, (const uint8_t *)end, false);
}

const char *pieces_end_gpt2_digits(const char *p, const char *end) {
    return (const char *)any_gpt2((const uint8_t *)p, (const uint8_t *)end, true);
}

pieces_end_fn *pieces_end_of(enum token_pattern pattern) {
    static pieces_end_fn *const all[PATTERN_COUNT] = {
        [PATTERN_CL100K] = pieces_end_cl100k,
        [PATTERN_O200K] = pieces_end_o200k,
        [PATTERN_QWEN2] = pieces_end_qwen2,
        [PATTERN_QWEN35] = pieces_end_qwen35,
        [PATTERN_TEKKEN] = pieces_end_tekken,
        [PATTERN_GPT2] = pieces_end_gpt2,
        [PATTERN_GPT2_DIGITS] = pieces_end_gpt2_digits,
    };
    return all[pattern];
}

size_t pieces_blanks(const char *p, const char *end) {
    const uint8_t *at = (const uint8_t *)p, *stop = (const uint8_t *)end;
    size_t len;
    while (at < stop && is_blank(class_at(at, stop, &len)))
        at += len;
    return (size_t)((const char *)at - p);
}

size_t pieces_blanks_before(const char *p, const char *end) {
    const uint8_t *at = (const uint8_t *)end, *start = (const uint8_t *)p, *stop = at;
    size_t len;
    while (at > start) {
        const uint8_t *before = at - 1;
        while (before > start && (*before & 0xc0) == 0x80)
            before--;
        if (!is_blank(class_at(before, stop, &len)) || before + len != at)
            break;
        at = before;
    }
    return (size_t)(stop - at);
}
