/*
 * jsonl.h - reads one line of JSON as views, for the programs that replay recorded lines.
 *
 * A value is its own text: a number is "42", a string "\"abc\"", an object "{...}". jsonl_value
 * checks the whole text once; all others take a text that it accepted. Nothing is allocated, and
 * a view is valid as long as the line. Small on purpose: the product reads JSON with its own room,
 * which a test of two other rooms should not need.
 */
#ifndef SUPPORT_JSONL_H
#define SUPPORT_JSONL_H

#include "base/base.h"
#include "base/str.h"

/* Takes one value off the front of `text`, with the blanks around it. False on anything that is not
 * JSON, or nested deeper than 32. */
bool jsonl_value(struct str *text, struct str *value) MUST_USE;

/* The value of an object's member. False when it is absent, null, or `object` is not an object. */
bool jsonl_member(struct str object, const char *name, struct str *value) MUST_USE;

/* The iterators: `rest` starts as the array or the object. False at the end, and at once on any
 * other value. Keys are views without quotes, escapes left as they are. */
bool jsonl_item(struct str *rest, struct str *item);
bool jsonl_pair(struct str *rest, struct str *key, struct str *value);

/* False when the value is of another type, does not fit, or (for text) has an escape. */
bool jsonl_i64(struct str value, int64_t *out) MUST_USE;
bool jsonl_u64(struct str value, uint64_t *out) MUST_USE;
bool jsonl_bool(struct str value, bool *out) MUST_USE;
bool jsonl_text(struct str value, struct str *out) MUST_USE;

#endif
