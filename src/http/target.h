/* target.h - the request target: path segments and query, percent-decoding. */
#ifndef HTTP_TARGET_H
#define HTTP_TARGET_H

#include "base/buf.h"

/*
 * Splits "/a/b?x=1" or "http://host/a/b?x=1" at the question mark; a fragment is cut off. False when
 * it is neither form. Views into the target.
 */
bool target_split(struct str target, struct str *path, struct str *query) MUST_USE;

/* The iterator over path segments; repeated slashes count as one. */
bool target_segment(struct str *path, struct str *segment);

/* Decodes %XX (and + as a blank when `is_query`) into `out`, which holds at least s.n bytes. False on
 * a broken escape or an encoded NUL. `decoded` views `out`, or `s` itself when nothing was escaped. */
bool target_decode(struct str s, bool is_query, char *out, struct str *decoded) MUST_USE;

/* The raw value of the first query parameter of that name, names compared after decoding and without
 * regard to case; {NULL, 0} when there is none. */
struct str query_get(struct str query, struct str name);

#endif
