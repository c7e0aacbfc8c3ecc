/* json_private.h - what json_read.cpp and json_fault.c share: where and why a text is no JSON. */
#ifndef JSON_JSON_PRIVATE_H
#define JSON_JSON_PRIVATE_H

#include "base/str.h"

struct json_fault {
    size_t at;          /* byte offset of the first wrong byte */
    const char *reason; /* static; a clause that follows "at byte 7: " */
};

/* Reads the text anew, slowly and byte by byte, up to the first fault. False when it has none. */
bool json_find_fault(struct str text, struct json_fault *fault);

/* Length of the valid UTF-8 sequence at the front of s, or 0. */
size_t json_utf8_length(struct str s);

#endif
