/* nfc.h - text in Unicode's Normalization Form C, which some models' tokenizers bring it into first. */
#ifndef TOKENS_NFC_H
#define TOKENS_NFC_H

#include "base/buf.h"

/*
 * In that form, what one character can say is one character: an e and an acute accent behind it become
 * an e with acute, and accents on one letter have one order (Unicode Standard Annex #15). Nearly all
 * text is in it already, so the first function is the one that matters.
 *
 * Texts are valid UTF-8; bytes of others stay as they are. Time is linear in the length; memory is
 * taken only where more than a few marks stand on one letter, up to 16 bytes for each byte of them.
 */

/* Whether the text is in that form. One pass; ASCII is skipped eight bytes at a time, and only
 * characters that could be joined to those before them are looked at closely. */
bool nfc_is(struct str text);

/* Appends the text in that form. ST_TOO_LARGE past the ceiling: NFC_GROWTH times the text's length
 * always suffices (UAX #15, section 9: the most that UTF-8 grows by). */
enum { NFC_GROWTH = 3 };
enum status nfc_put(struct buf *out, struct str text) MUST_USE;

#endif
