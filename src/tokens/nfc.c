/*
 * nfc.c - Normalization Form C.
 *
 * Text falls apart into segments, each of which begins with a starter that is never joined to what stands
 * before it; whatever happens, happens inside of one. Most segments are a single character. Those that
 * may not be in the form are worked over: characters are taken apart, marks between two starters are put
 * in order, and what can be joined is joined (Unicode Standard Annex #15; chapter 3.11 of the standard).
 */
#include "tokens/nfc.h"

#include "tokens/nfc_private.h"

#include <stdlib.h>

/* --- characters --- */

/* A byte that belongs to no character: above all code points. */
enum { STRAY = 0x110000 };

static uint32_t char_at(const unsigned char *p, const unsigned char *end, size_t *n) {
    static const uint32_t least[] = {[2] = 0x80, [3] = 0x800, [4] = 0x10000};
    uint32_t lead = *p, c;
    *n = 1;
    if (lead < 0x80)
        return lead;
    size_t length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    if (lead < 0xc0 || lead >= 0xf8 || (size_t)(end - p) < length)
        return STRAY + lead;
    c = lead & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return STRAY + lead;
        c = c << 6 | (p[i] & 0x3fu);
    }
    if (c >= STRAY || c < least[length])
        return STRAY + lead;
    *n = length;
    return c;
}

static const struct nfc_char *about(uint32_t c) {
    return &nfc_chars[c < STRAY ? nfc_numbers[nfc_blocks[c >> 6] * 64 + (c & 63)] : 0];
}

static bool begins_segment(const struct nfc_char *a) {
    return a->order == 0 && !(a->flags & NFC_NOT_SURE);
}

enum { BYTES_MAX = 4 };

/* Writes the character's bytes, and gives how many. */
static size_t write_char(unsigned char *out, uint32_t c) {
    if (c < 0x80 || c >= STRAY) {
        out[0] = (unsigned char)(c < STRAY ? c : c - STRAY);
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, c >>= 6)
        out[i] = (unsigned char)(0x80 | (c & 63));
    out[0] = (unsigned char)((0xf00 >> n & 0xff) | c);
    return n;
}

/* --- what may not be in the form --- */

/* Whether the eight bytes are. */
static bool is_ascii(const unsigned char *p) {
    uint64_t eight;
    memcpy(&eight, p, sizeof eight);
    return !(eight & UINT64_C(0x8080808080808080));
}

/* The first character that makes the text unsure, or its end; and where its segment begins. */
static const unsigned char *find_unsure(const unsigned char *p, const unsigned char *end,
                                        const unsigned char **segment) {
    uint8_t order = 0;
    *segment = p;
    while (p < end) {
        if (*p < 0x80) {
            for (p++; end - p >= 8 && is_ascii(p);)
                p += 8;
            *segment = p - 1;
            order = 0;
            continue;
        }
        if (nfc_leads[*p]) {
            *segment = p++;
            while (p < end && (*p & 0xc0) == 0x80)
                p++;
            order = 0;
            continue;
        }
        size_t n;
        const struct nfc_char *a = about(char_at(p, end, &n));
        if (begins_segment(a))
            *segment = p;
        else if (a->flags & NFC_NOT_SURE || (a->order && a->order < order))
            return p;
        order = a->order;
        p += n;
    }
    return end;
}

/* --- a segment --- */

/* The syllables of Hangul, of two or three letters (chapter 3.12 of the standard). */
enum {
    SYLLABLE = 0xac00,
    LEADING = 0x1100,
    VOWEL = 0x1161,
    TRAILING = 0x11a7, /* one before the first: that stands for none */
    LEADINGS = 19,
    VOWELS = 21,
    TRAILINGS = 28,
    SYLLABLES = LEADINGS * VOWELS * TRAILINGS,
};

/* A character and its order in one number. */
enum { ORDER_SHIFT = 24 };

static uint32_t order_of(uint32_t c) {
    return c >> ORDER_SHIFT;
}
static uint32_t char_of(uint32_t c) {
    return c & ((1u << ORDER_SHIFT) - 1);
}

/* Nearly all have a letter and a mark or two; those of nonsense have no end. */
enum { FEW = 64 };

struct segment {
    uint32_t *chars; /* `few`, or owned */
    size_t n, max;
    uint32_t few[FEW];
};

static void put_part(struct segment *s, uint32_t c) {
    if (UNLIKELY(s->n == s->max)) {
        uint32_t *more = xmalloc(2 * s->max * sizeof *more);
        memcpy(more, s->chars, s->n * sizeof *more);
        if (s->chars != s->few)
            free(s->chars);
        s->chars = more;
        s->max *= 2;
    }
    s->chars[s->n++] = c | (uint32_t)about(c)->order << ORDER_SHIFT;
}

static void take_apart(struct segment *s, uint32_t c) {
    const struct nfc_char *a = about(c);
    if (c - SYLLABLE < SYLLABLES) {
        uint32_t i = c - SYLLABLE;
        put_part(s, LEADING + i / (VOWELS * TRAILINGS));
        put_part(s, VOWEL + i / TRAILINGS % VOWELS);
        if (i % TRAILINGS)
            put_part(s, TRAILING + i % TRAILINGS);
    } else if (a->n_parts == 0) {
        put_part(s, c);
    }
    for (uint32_t i = 0; i < a->n_parts; i++)
        put_part(s, nfc_parts[a->first_part + i]);
}

/* Puts n marks in order; those of the same order stay as they stand. */
static void sort_marks(uint32_t *marks, size_t n) {
    if (n <= FEW) {
        for (size_t i = 1; i < n; i++) {
            uint32_t one = marks[i];
            size_t k = i;
            for (; k > 0 && order_of(marks[k - 1]) > order_of(one); k--)
                marks[k] = marks[k - 1];
            marks[k] = one;
        }
        return;
    }
    /* A million marks on one letter say nothing, but somebody will send them. */
    size_t begin[257] = {0};
    uint32_t *sorted = xmalloc(n * sizeof *sorted);
    for (size_t i = 0; i < n; i++)
        begin[order_of(marks[i]) + 1]++;
    for (size_t order = 1; order < 257; order++)
        begin[order] += begin[order - 1];
    for (size_t i = 0; i < n; i++)
        sorted[begin[order_of(marks[i])]++] = marks[i];
    memcpy(marks, sorted, n * sizeof *marks);
    free(sorted);
}

static void put_in_order(uint32_t *chars, size_t n) {
    for (size_t i = 0; i < n;) {
        size_t begin = i;
        while (i < n && order_of(chars[i]) != 0)
            i++;
        sort_marks(chars + begin, i - begin);
        if (i < n)
            i++;
    }
}

/* What two characters make, or 0. */
static uint32_t join(uint32_t first, uint32_t second) {
    if (first - LEADING < LEADINGS && second - VOWEL < VOWELS)
        return SYLLABLE + ((first - LEADING) * VOWELS + (second - VOWEL)) * TRAILINGS;
    if (first - SYLLABLE < SYLLABLES && (first - SYLLABLE) % TRAILINGS == 0 &&
        second - TRAILING - 1 < TRAILINGS - 1)
        return first + (second - TRAILING);
    if (!(about(second)->flags & NFC_MAY_JOIN))
        return 0;
    size_t low = 0, high = nfc_n_pairs;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct nfc_pair *p = &nfc_pairs[middle];
        if (p->first == first && p->second == second)
            return p->joint;
        if (p->first < first || (p->first == first && p->second < second))
            low = middle + 1;
        else
            high = middle;
    }
    return 0;
}

/*
 * Joins each character to the last starter before it, if the two make one and none stands between that
 * keeps it away: a starter, or a mark of the same order or a higher one. Gives how many are left.
 */
static size_t join_all(uint32_t *chars, size_t n) {
    const size_t none = SIZE_MAX;
    size_t starter = none, left = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t c = chars[i], joint;
        if (starter != none && (left == starter + 1 || order_of(chars[left - 1]) < order_of(c)) &&
            (joint = join(chars[starter], char_of(c))) != 0) {
            chars[starter] = joint;
            continue;
        }
        if (order_of(c) == 0)
            starter = left;
        chars[left++] = c;
    }
    return left;
}

/* Reads the segment that begins at p, whatever it begins with, and brings it into the form; gives where
 * the next one begins. */
static const unsigned char *work_over(struct segment *s, const unsigned char *p,
                                      const unsigned char *end) {
    const unsigned char *begin = p;
    s->chars = s->few;
    s->max = FEW;
    s->n = 0;
    while (p < end) {
        size_t n;
        uint32_t c = char_at(p, end, &n);
        if (p > begin && begins_segment(about(c)))
            break;
        take_apart(s, c);
        p += n;
    }
    put_in_order(s->chars, s->n);
    s->n = join_all(s->chars, s->n);
    return p;
}

static void segment_free(struct segment *s) {
    if (s->chars != s->few)
        free(s->chars);
}

/* Whether its characters are just these bytes. */
static bool is_unchanged(const struct segment *s, const unsigned char *p,
                         const unsigned char *end) {
    for (size_t i = 0; i < s->n; i++) {
        unsigned char bytes[BYTES_MAX];
        size_t n = write_char(bytes, char_of(s->chars[i]));
        if ((size_t)(end - p) < n || memcmp(p, bytes, n) != 0)
            return false;
        p += n;
    }
    return p == end;
}

/* --- texts --- */

bool nfc_is(struct str text) {
    if (text.n == 0)
        return true;
    const unsigned char *p = (const unsigned char *)text.p, *end = p + text.n, *segment;
    bool is_so = true;
    while (is_so && find_unsure(p, end, &segment) < end) {
        struct segment s UNINITIALIZED;
        p = work_over(&s, segment, end);
        is_so = is_unchanged(&s, segment, p);
        segment_free(&s);
    }
    return is_so;
}

enum status nfc_put(struct buf *out, struct str text) {
    if (text.n == 0)
        return ST_OK;
    const unsigned char *p = (const unsigned char *)text.p, *end = p + text.n;
    while (p < end) {
        const unsigned char *segment, *unsure = find_unsure(p, end, &segment);
        const unsigned char *sure = unsure == end ? end : segment;
        buf_put(out, p, (size_t)(sure - p));
        p = sure;
        if (p == end)
            break;
        struct segment s UNINITIALIZED;
        p = work_over(&s, sure, end);
        for (size_t i = 0; i < s.n; i++) {
            unsigned char bytes[BYTES_MAX];
            buf_put(out, bytes, write_char(bytes, char_of(s.chars[i])));
        }
        segment_free(&s);
    }
    return buf_status(out);
}
