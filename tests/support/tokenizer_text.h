/* tokenizer_text.h - short tokenizer.json texts made whole: with the 256 tokens that every one must have. */
#ifndef SUPPORT_TOKENIZER_TEXT_H
#define SUPPORT_TOKENIZER_TEXT_H

#include "base/buf.h"

/* Appends the text, with all single bytes, whose ids are their values, in place of its first
 * "BYTES":0. */
static inline void tokenizer_text(struct buf *out, struct str from) {
    static const char mark[] = "\"BYTES\":0";
    const char *at = from.n ? memmem(from.p, from.n, mark, sizeof mark - 1) : NULL;
    if (!at) {
        buf_str(out, from);
        return;
    }
    buf_put(out, from.p, (size_t)(at - from.p));
    for (unsigned i = 0, next = 256; i < 256; i++) {
        bool is_seen = (i >= 0x21 && i <= 0x7e) || (i >= 0xa1 && i != 0xad);
        unsigned c = is_seen ? i : next++;
        buf_printf(out, "%s\"\\u%04x\":%u", i ? "," : "", c, i);
    }
    buf_str(out, str_skip(from, (size_t)(at - from.p) + sizeof mark - 1));
}

#endif
