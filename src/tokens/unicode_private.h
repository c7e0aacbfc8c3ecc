/* unicode_private.h - the classes of characters by which text is cut into pieces. */
#ifndef TOKENS_UNICODE_PRIVATE_H
#define TOKENS_UNICODE_PRIVATE_H

#include "base/base.h"

/*
 * By general category, of Unicode 16.0, the version that tiktoken's regular expressions know. The
 * order is known to tools/unicode_classes.py, which makes the tables while building.
 */
enum char_class {
    CHAR_OTHER,
    CHAR_UPPER,   /* Lu, Lt */
    CHAR_LOWER,   /* Ll */
    CHAR_LETTER,  /* Lm, Lo: letters without case */
    CHAR_MARK,    /* M */
    CHAR_NUMBER,  /* N */
    CHAR_BLANK,   /* White_Space, but for the next */
    CHAR_NEWLINE, /* CR and LF */
};

/* Two steps: the block of a code point's upper bits, then the class within the block of 64. */
extern const uint16_t unicode_blocks[0x110000 / 64];
extern const uint8_t unicode_classes[];

/* The first blocks are those of ASCII. */
static inline enum char_class ascii_class(uint8_t byte) {
    return (enum char_class)unicode_classes[byte];
}

static inline enum char_class unicode_class(uint32_t code_point) {
    return (
        enum char_class)unicode_classes[unicode_blocks[code_point >> 6] * 64 + (code_point & 63)];
}

#endif
