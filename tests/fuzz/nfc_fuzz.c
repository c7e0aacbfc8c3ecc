/* nfc_fuzz.c - arbitrary text in Normalization Form C, as the standard defines it and as nfc.c makes it. */
/* rooms: base tokens */
#include "fuzz/fuzz.h"
#include "tokens/nfc.h"
#include "tokens/nfc_private.h"
#include "tokens/utf8.h"

/*
 * The judge does to the whole text, one after the other, what the standard says (sections 3.11 and 3.12):
 * takes each character apart, exchanges neighbours until no mark stands before one of a lower order (D109), and joins
 * each character to the last starter unless it is blocked (D115, D117). It knows no segments.
 */
enum { MAX_CHARS = 300, MAX_PARTS = 4 * MAX_CHARS };
static uint32_t chars[MAX_PARTS];
static size_t n_chars;

static const struct nfc_char *about(uint32_t c) {
    return &nfc_chars[nfc_numbers[nfc_blocks[c / 64] * 64 + c % 64]];
}

static void take_apart(uint32_t c) {
    if (c >= 0xac00 && c < 0xac00 + 11172) {
        uint32_t i = c - 0xac00;
        chars[n_chars++] = 0x1100 + i / 588;
        chars[n_chars++] = 0x1161 + i % 588 / 28;
        if (i % 28)
            chars[n_chars++] = 0x11a7 + i % 28;
        return;
    }
    const struct nfc_char *a = about(c);
    if (a->n_parts == 0)
        chars[n_chars++] = c;
    for (int i = 0; i < a->n_parts; i++)
        chars[n_chars++] = nfc_parts[a->first_part + i];
}

/* The character at p, which is all there. */
static uint32_t char_at(const char *at, size_t *n) {
    const unsigned char *p = (const unsigned char *)at;
    *n = *p < 0x80 ? 1 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : 4;
    uint32_t c = *n == 1 ? *p : *p & (0x7fu >> *n);
    for (size_t i = 1; i < *n; i++)
        c = c << 6 | (p[i] & 0x3fu);
    return c;
}

static void read_text(struct str text) {
    n_chars = 0;
    for (size_t at = 0, n; at < text.n; at += n)
        take_apart(char_at(text.p + at, &n));
}

static void put_in_order(void) {
    for (bool is_changed = true; is_changed;) {
        is_changed = false;
        for (size_t i = 1; i < n_chars; i++) {
            uint32_t a = chars[i - 1], b = chars[i];
            if (about(b)->order != 0 && about(a)->order > about(b)->order) {
                chars[i - 1] = b;
                chars[i] = a;
                is_changed = true;
            }
        }
    }
}

static uint32_t join(uint32_t a, uint32_t b) {
    if (a >= 0x1100 && a < 0x1100 + 19 && b >= 0x1161 && b < 0x1161 + 21)
        return 0xac00 + (a - 0x1100) * 588 + (b - 0x1161) * 28;
    if (a >= 0xac00 && a < 0xac00 + 11172 && (a - 0xac00) % 28 == 0 && b > 0x11a7 &&
        b < 0x11a7 + 28)
        return a + (b - 0x11a7);
    for (size_t i = 0; i < nfc_n_pairs; i++) {
        if (nfc_pairs[i].first == a && nfc_pairs[i].second == b)
            return nfc_pairs[i].joint;
    }
    return 0;
}

static bool is_blocked(size_t starter, size_t i) {
    for (size_t k = starter + 1; k < i; k++) {
        if (about(chars[k])->order == 0 || about(chars[k])->order >= about(chars[i])->order)
            return true;
    }
    return false;
}

static void join_all(void) {
    for (size_t i = 1; i < n_chars; i++) {
        size_t starter = i;
        while (starter > 0 && about(chars[--starter])->order != 0)
            ;
        uint32_t joint = 0;
        if (about(chars[starter])->order == 0 && !is_blocked(starter, i))
            joint = join(chars[starter], chars[i]);
        if (joint) {
            chars[starter] = joint;
            memmove(chars + i, chars + i + 1, (--n_chars - i) * sizeof *chars);
            i--;
        }
    }
}

/* Reads the answer back and compares. */
static bool is_judged_so(struct str answer) {
    size_t at = 0, n, i = 0;
    for (; at < answer.n && i < n_chars; at += n, i++) {
        if (char_at(answer.p + at, &n) != chars[i])
            return false;
    }
    return at == answer.n && i == n_chars;
}

static struct buf made_of(struct str text) {
    struct buf out;
    buf_init(&out, NFC_GROWTH * text.n);
    enum status st = nfc_put(&out, text);
    assert(st == ST_OK);
    return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct str bytes = {(const char *)data, size};
    struct buf text, out = made_of(bytes), again;
    /* What is no text is no matter, as long as it harms nobody. */
    buf_destroy(&out);

    bytes.n = size_min(size, MAX_CHARS / 3);
    buf_init(&text, MAX_CHARS);
    enum status st = utf8_repair(&text, bytes);
    assert(st == ST_OK);
    out = made_of(buf_view(&text));
    read_text(buf_view(&text));
    put_in_order();
    join_all();
    assert(is_judged_so(buf_view(&out)));
    assert(nfc_is(buf_view(&text)) == str_eq(buf_view(&text), buf_view(&out)));

    again = made_of(buf_view(&out));
    assert(str_eq(buf_view(&again), buf_view(&out)));
    buf_destroy(&again);
    buf_destroy(&out);
    buf_destroy(&text);
    return 0;
}
