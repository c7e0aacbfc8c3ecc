/* nfc_private.h - what characters are made of, and what they make together. */
#ifndef TOKENS_NFC_PRIVATE_H
#define TOKENS_NFC_PRIVATE_H

#include "base/base.h"

/* The tables are made while building, by tools/unicode_nfc.py, which says of which version of
 * Unicode. The syllables of Hangul are in none. */

enum {
    NFC_NOT_SURE = 1, /* a text with it may be no NFC ("NFC_Quick_Check" is no or maybe) */
    NFC_MAY_JOIN = 2, /* it makes one character with some that stand before it */
};

struct nfc_char {
    uint16_t first_part; /* in nfc_parts: what it stands for, taken apart wholly */
    uint8_t order;   /* "canonical combining class"; 0: a starter, which nothing is moved across */
    uint8_t n_parts; /* 0: only for itself */
    uint8_t flags;
};

/* Two steps: the block of a code point's upper bits, then its number within the block of 64. Number 0
 * is that of all characters that are starters, sure, and stand for themselves. */
extern const uint16_t nfc_blocks[0x110000 / 64];
extern const uint16_t nfc_numbers[];
extern const struct nfc_char nfc_chars[];
extern const uint32_t nfc_parts[];

/* By the first byte of characters: whether all that begin so are starters, and sure. */
extern const uint8_t nfc_leads[256];

/* Two characters that make one, in the order of both. */
struct nfc_pair {
    uint32_t first, second, joint;
};
extern const struct nfc_pair nfc_pairs[];
extern const size_t nfc_n_pairs;

#endif
