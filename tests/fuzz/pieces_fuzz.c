/* pieces_fuzz.c - arbitrary text is cut where the regular expressions, tried letter by letter, cut it. */
/* rooms: base tokens */
#include "fuzz/fuzz.h"
#include "tokens/pieces.h"
#include "tokens/unicode_private.h"
#include "tokens/utf8.h"

/*
 * The judge: each alternative of the expressions as they stand, with what a matcher of regular
 * expressions does: of each repetition as many as possible first, then fewer, until the rest fits.
 * Over characters, each as its class and code point.
 */
enum { MAX_CHARS = 400 };

static struct {
    uint32_t code;
    enum char_class class;
    size_t end; /* in bytes */
} chars[MAX_CHARS];
static size_t n_chars;

static void read_chars(struct str text) {
    const unsigned char *p = (const unsigned char *)text.p;
    size_t at = 0;
    for (n_chars = 0; at < text.n && n_chars < MAX_CHARS; n_chars++) {
        size_t len = p[at] < 0x80 ? 1 : p[at] < 0xe0 ? 2 : p[at] < 0xf0 ? 3 : 4;
        uint32_t code = len == 1 ? p[at] : p[at] & (0x7fu >> len);
        for (size_t i = 1; i < len; i++)
            code = code << 6 | (p[at + i] & 0x3fu);
        at += len;
        chars[n_chars].code = code;
        chars[n_chars].class = unicode_class(code);
        chars[n_chars].end = at;
    }
}

#define SET(c) (1u << CHAR_##c)
enum {
    ANY_LETTER = SET(UPPER) | SET(LOWER) | SET(LETTER),
    UPPER_SIDE = SET(UPPER) | SET(LETTER) | SET(MARK),
    LOWER_SIDE = SET(LOWER) | SET(LETTER) | SET(MARK),
    FIRST = SET(OTHER) | SET(MARK) | SET(BLANK),
    PUNCTUATION = SET(OTHER) | SET(MARK),
    WHITE = SET(BLANK) | SET(NEWLINE),
};

static bool is_in(size_t i, unsigned set) {
    return i < n_chars && set >> chars[i].class & 1;
}
static bool is_code(size_t i, uint32_t code) {
    return i < n_chars && chars[i].code == code;
}
static bool is_folded(size_t i, uint32_t code) {
    return is_code(i, code) || is_code(i, code - 'a' + 'A') || (code == 's' && is_code(i, 0x17f));
}

/* How many characters from i on are in the set. */
static size_t run(size_t i, unsigned set) {
    size_t n = 0;
    while (is_in(i + n, set))
        n++;
    return n;
}

/* Each of the next gives the index behind what matches at i, or i. */
static size_t contraction(size_t i) {
    static const char *const all[] = {"s", "t", "re", "ve", "m", "ll", "d"};
    for (size_t k = 0; is_code(i, '\'') && k < ARRAY_LEN(all); k++) {
        size_t n = 0;
        while (all[k][n] && is_folded(i + 1 + n, (uint32_t)all[k][n]))
            n++;
        if (!all[k][n])
            return i + 1 + n;
    }
    return i;
}

static size_t cased_word(size_t i, bool is_lower_needed, bool has_contractions) {
    for (size_t first = is_in(i, FIRST) + 1; first-- > 0;) {
        size_t from = i + first;
        for (size_t upper = run(from, UPPER_SIDE) + 1; upper-- > 0;) {
            size_t lower = run(from + upper, LOWER_SIDE), at = from + upper + lower;
            if (is_lower_needed ? lower > 0 : upper > 0)
                return has_contractions ? contraction(at) : at;
        }
    }
    return i;
}

static size_t uncased_word(size_t i, unsigned letter) {
    size_t first = is_in(i, FIRST), letters = run(i + first, letter);
    if (letters)
        return i + first + letters;
    return i + run(i, letter);
}

static size_t after_blank(size_t i, unsigned set) {
    for (size_t blank = is_code(i, ' ') + 1; blank-- > 0;) {
        size_t n = run(i + blank, set);
        if (n > 0)
            return i + blank + n;
    }
    return i;
}

static size_t punctuation(size_t i, unsigned set, bool with_slash) {
    size_t at = after_blank(i, set);
    while (at > i && (is_code(at, '\r') || is_code(at, '\n') || (with_slash && is_code(at, '/'))))
        at++;
    return at;
}

static size_t white(size_t i, bool has_lines) {
    size_t n = run(i, WHITE);
    for (size_t k = n + 1; has_lines && k-- > 0;) {
        if (is_in(i + k, SET(NEWLINE)))
            return i + k + run(i + k, SET(NEWLINE));
    }
    if (n > 1 && i + n < n_chars)
        return i + n - 1; /* not before a word */
    return i + n;
}

/* Its contractions are those of lower case, and have no long s. */
static size_t gpt2_end(size_t i) {
    size_t at = contraction(i);
    bool is_lower = at > i;
    for (size_t k = i + 1; k < at; k++)
        is_lower = is_lower && chars[k].code >= 'a' && chars[k].code <= 'z';
    if (is_lower)
        return at;
    if ((at = after_blank(i, ANY_LETTER)) > i || (at = after_blank(i, SET(NUMBER))) > i ||
        (at = after_blank(i, PUNCTUATION)) > i)
        return at;
    return white(i, false);
}

/* Numbers are taken out first, and the text before one ends there. */
static size_t gpt2_digits_end(size_t i) {
    size_t all = n_chars, end = i, at;
    if (is_in(i, SET(NUMBER)))
        return i + 1;
    while (end < n_chars && !is_in(end, SET(NUMBER)))
        end++;
    n_chars = end;
    at = gpt2_end(i);
    n_chars = all;
    return at;
}

static size_t slow_end(size_t i, enum token_pattern pattern) {
    bool is_cased = pattern == PATTERN_O200K || pattern == PATTERN_TEKKEN;
    bool has_short_numbers = pattern == PATTERN_CL100K || pattern == PATTERN_O200K;
    unsigned marks = pattern == PATTERN_QWEN35 ? SET(MARK) : 0;
    size_t at;
    if (pattern == PATTERN_GPT2)
        return gpt2_end(i);
    if (pattern == PATTERN_GPT2_DIGITS)
        return gpt2_digits_end(i);
    if (is_cased) {
        bool has_contractions = pattern == PATTERN_O200K;
        if ((at = cased_word(i, true, has_contractions)) > i ||
            (at = cased_word(i, false, has_contractions)) > i)
            return at;
    } else if ((at = contraction(i)) > i || (at = uncased_word(i, ANY_LETTER | marks)) > i) {
        return at;
    }
    if ((at = i + size_min(run(i, SET(NUMBER)), has_short_numbers ? 3 : 1)) > i)
        return at;
    if ((at = punctuation(i, PUNCTUATION & ~marks, is_cased)) > i)
        return at;
    return white(i, true);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct buf text;
    buf_init(&text, 3 * size + 1);
    enum status st = utf8_repair(&text, (struct str){(const char *)data, size});
    assert(st == ST_OK && utf8_valid_prefix(buf_view(&text)) == text.len);
    if (text.len == 0) {
        buf_destroy(&text);
        return 0;
    }
    read_chars(buf_view(&text));
    size_t n = n_chars ? chars[n_chars - 1].end : 0;
    for (int pattern = PATTERN_CL100K; pattern < PATTERN_COUNT; pattern++) {
        const char *p = text.p, *end = text.p + n;
        for (size_t i = 0; i < n_chars;) {
            size_t next = slow_end(i, (enum token_pattern)pattern);
            assert(next > i);
            p = pieces_end((enum token_pattern)pattern, p, end);
            assert(p == text.p + chars[next - 1].end);
            i = next;
        }
    }
    /* Bytes that are no text are cut somewhere, and nothing behind them is read. */
    const char *raw = (const char *)data, *raw_end = raw + size;
    for (int pattern = 0; pattern < PATTERN_COUNT; pattern++) {
        for (const char *p = raw; p < raw_end;) {
            const char *next = pieces_end((enum token_pattern)pattern, p, raw_end);
            assert(next > p && next <= raw_end);
            p = next;
        }
    }
    size_t blanks = pieces_blanks(raw, raw_end), before = pieces_blanks_before(raw, raw_end);
    assert(blanks <= size && before <= size);
    buf_destroy(&text);
    return 0;
}
