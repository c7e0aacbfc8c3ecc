#!/usr/bin/env python3
"""Turns a file into a C array.

    embed.py NAME FILE OUT     OUT defines `const char NAME[]`, followed by 64 zero bytes that
                               `const size_t NAME_len` does not count
"""
import sys

PADDING = 64  # what the JSON parser may read behind a text


def main():
    name, source, out = sys.argv[1:]
    with open(source, "rb") as f:
        data = f.read()
    with open(out, "w") as f:
        f.write(f"/* Made by tools/embed.py. */\n#include <stddef.h>\n\n"
                f"extern const char {name}[];\nextern const size_t {name}_len;\n\n"
                f"const size_t {name}_len = {len(data)};\nconst char {name}[{len(data) + PADDING}] = {{\n")
        for at in range(0, len(data), 20):
            # Bytes above 127 are written as negative numbers, since char is signed here.
            f.write("".join(f"{b - 256 if b > 127 else b}," for b in data[at:at + 20]) + "\n")
        f.write("};\n")


main()
