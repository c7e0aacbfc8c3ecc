/* utf8.h - text that is no valid UTF-8 made valid, as tokenizers see it. */
#ifndef TOKENS_UTF8_H
#define TOKENS_UTF8_H

#include "base/buf.h"

/* How many bytes of the text are valid UTF-8 before the first that are not. */
size_t utf8_valid_prefix(struct str text);

/*
 * Appends the text to `out` with U+FFFD for what is no UTF-8: one for each longest beginning of a
 * character that breaks off, and one for each byte that can begin none. (Unicode 16.0, section 3.9,
 * "substitution of maximal subparts"; the Encoding Standard of browsers says the same, and tiktoken
 * works on texts that went through such a decoder.) Up to three times as long as the text.
 */
enum status utf8_repair(struct buf *out, struct str text) MUST_USE;

#endif
