#!/usr/bin/env python3
"""Makes the tables of Normalization Form C that src/tokens/nfc_private.h describes.

    unicode_nfc.py OUT

They come from Python's own unicodedata, without what came after Unicode 9.0: that is the version which Hugging
Face's `tokenizers` knows here (0.23, by its crate unicode-normalization-alignments), and so what models were trained
with. To it, later marks are characters like others.
"""
import sys
import unicodedata

CODE_POINTS = 0x110000
BLOCK = 64
HANGUL = range(0xAC00, 0xAC00 + 11172)  # made and taken apart by arithmetic
NOT_SURE, MAY_JOIN = 1, 2
# Those of later versions that have an order or stand for others (DerivedAge.txt), up to Unicode 16.0, whatever version Python knows.
LATER = """7fd 898-89f 8ca-8d3 9fe c3c eba 1715 1abf-1ace 1df6-1dfa a82c 10d24-10d27 10eab-10eac 10f46-10f50 10f82-10f85
11070 d3b-d3c 1133b 1145e 11839-1183a 11938 1193d-1193e 11943 119e0 11a34 11a47 11a99 11d42 11d44-11d45 11d97 16ff0-16ff1
1e130-1e136 1e2ae 1e2ec-1e2ef 1e08f 1e4ec-1e4ef 10efd-10eff 11f41-11f42 ece 897 10d69-10d6d 105c9 105e4 11383 11385
1138e 11391 113b8-113d0 113e1-113e2 1612f 16121-16128 16d63-16d6a 1e5ee-1e5ef"""


def later():
    for part in LATER.split():
        first, _, last = part.partition("-")
        yield from range(int(first, 16), int(last or first, 16) + 1)


def decomposition(c):
    """The code points that `c` canonically stands for, one step down; none for itself."""
    text = unicodedata.decomposition(c)
    return [] if not text or text.startswith("<") else [int(x, 16) for x in text.split()]


def main():
    left_out = set(later()) | set(range(0xD800, 0xE000)) | set(HANGUL)
    alone = [chr(n) for n in range(CODE_POINTS) if n not in left_out]
    pairs = {}
    for c in alone:
        parts = decomposition(c)
        if len(parts) == 2 and unicodedata.normalize("NFC", c) == c:
            pairs[tuple(parts)] = ord(c)
    joins = {second for _, second in pairs} | set(range(0x1161, 0x1176)) | set(range(0x11A8, 0x11C3))

    parts_of, chars, numbers = [], {(0, 0, 0, 0): 0}, [0] * CODE_POINTS
    for c in alone:
        n = ord(c)
        whole = unicodedata.normalize("NFD", c)
        parts = [] if whole == c else [ord(x) for x in whole]
        flags = (NOT_SURE if n in joins or unicodedata.normalize("NFC", c) != c else 0) | (MAY_JOIN if n in joins else 0)
        entry = (len(parts_of) if parts else 0, unicodedata.combining(c), len(parts), flags)
        parts_of += parts
        numbers[n] = chars.setdefault(entry, len(chars))

    entries = list(chars)
    begins = [entries[number][1] == 0 and not entries[number][3] & NOT_SURE for number in numbers]
    leads = [1] * 256
    for n in range(CODE_POINTS):
        if not begins[n]:
            leads[chr(n).encode("utf-8", "surrogatepass")[0]] = 0

    blocks, index = {}, []
    for at in range(0, CODE_POINTS, BLOCK):
        index.append(blocks.setdefault(tuple(numbers[at:at + BLOCK]), len(blocks)))
    flat = [n for block in blocks for n in block]
    with open(sys.argv[1], "w") as f:
        f.write(f'/* Made by tools/unicode_nfc.py of Unicode {unicodedata.unidata_version}. */\n#include "tokens/nfc_private.h"\n\n')

        def table(declaration, values):
            f.write(f"const {declaration} = {{\n")
            for at in range(0, len(values), 16):
                f.write(",".join(map(str, values[at:at + 16])) + ",\n")
            f.write("};\n")

        table("uint8_t nfc_leads[256]", leads)
        table(f"uint16_t nfc_blocks[{len(index)}]", index)
        table(f"uint16_t nfc_numbers[{len(flat)}]", flat)
        table(f"struct nfc_char nfc_chars[{len(chars)}]", ["{%d,%d,%d,%d}" % entry for entry in chars])
        table(f"uint32_t nfc_parts[{len(parts_of)}]", parts_of)
        table(f"struct nfc_pair nfc_pairs[{len(pairs)}]", ["{%d,%d,%d}" % (*k, pairs[k]) for k in sorted(pairs)])
        f.write(f"const size_t nfc_n_pairs = {len(pairs)};\n")


main()
