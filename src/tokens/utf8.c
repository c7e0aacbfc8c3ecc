#include "tokens/utf8.h"

/* The character at p: its bytes in *len. When it breaks off or begins with a wrong byte: false, and
 * how many bytes belong to it all the same. */
static bool character(const unsigned char *p, size_t n, size_t *len) {
    unsigned b = p[0];
    *len = 1;
    if (b < 0x80)
        return true;
    if (b < 0xc2 || b > 0xf4)
        return false;
    size_t want = b < 0xe0 ? 2 : b < 0xf0 ? 3 : 4;
    /* The second byte's range keeps out what is too long, surrogates and what lies above U+10FFFF. */
    unsigned low = b == 0xe0 ? 0xa0 : b == 0xf0 ? 0x90 : 0x80;
    unsigned high = b == 0xed ? 0x9f : b == 0xf4 ? 0x8f : 0xbf;
    while (*len < want) {
        if (*len == n || p[*len] < low || p[*len] > high)
            return false;
        low = 0x80;
        high = 0xbf;
        ++*len;
    }
    return true;
}

size_t utf8_valid_prefix(struct str text) {
    const unsigned char *p = (const unsigned char *)text.p;
    size_t at = 0, len;
    while (at < text.n) {
        uint64_t eight;
        if (text.n - at >= sizeof eight) {
            memcpy(&eight, p + at, sizeof eight);
            if (!(eight & UINT64_C(0x8080808080808080))) {
                at += sizeof eight;
                continue;
            }
        }
        if (!character(p + at, text.n - at, &len))
            return at;
        at += len;
    }
    return at;
}

enum status utf8_repair(struct buf *out, struct str text) {
    while (text.n > 0) {
        size_t valid = utf8_valid_prefix(text), len;
        buf_put(out, text.p, valid);
        text = str_skip(text, valid);
        if (text.n == 0)
            break;
        (void)character((const unsigned char *)text.p, text.n, &len);
        buf_lit(out, "\xef\xbf\xbd");
        text = str_skip(text, len);
    }
    return buf_status(out);
}
