/* text.h - the small texts of ARM: times, GUIDs, names, ids in one spelling. */
#ifndef ARM_TEXT_H
#define ARM_TEXT_H

#include "base/buf.h"

enum { TIME_TEXT = 32, GUID_TEXT = 40 };

/* Milliseconds since 1970 as "2026-11-22T05:30:00.123Z" (years 0000 to 9999), and back. `out` holds
 * TIME_TEXT bytes; fractions of any length are read, and cut to milliseconds. */
struct str time_text(int64_t ms, char *out);
bool time_read(struct str text, int64_t *ms) MUST_USE;

/* A random GUID (version 4) of 122 of the 128 bits. `out` holds GUID_TEXT bytes. */
struct str guid_text(uint64_t high, uint64_t low, char *out);
bool guid_is_valid(struct str text);

/* ASCII letters in lower case; `out` holds s.n bytes. */
struct str text_lower(struct str s, char *out);

/* What ARM takes for a name, and what a snapshot can hold: letters, digits, '_', '.', '-', the first a letter
 * or digit. */
bool name_is_valid(struct str s, size_t min, size_t max);

/* "2024-10-01", "2025-10-01-preview". */
bool api_version_is_valid(struct str s);

/* Percent-encodes all but unreserved characters, for a value in a query. */
void text_put_escaped(struct buf *out, struct str s);

#endif
