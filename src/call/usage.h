/* usage.h - what a backend says that a call used, read out of its JSON. */
#ifndef CALL_USAGE_H
#define CALL_USAGE_H

#include "json/json.h"

/* Tokens; absent numbers are -1. */
struct usage {
    int64_t prompt, cached, output, reasoning;
};

/* Reads a `usage` object, of /responses too; false when it has no number of prompt or output. Of a number
 * that is there under two names the larger one holds. */
bool usage_read(struct json_value v, struct usage *out);

/*
 * The same from the text of an object that `text` begins with, in one pass and without the parser. True
 * when it is sure of what usage_read would say, which was true; the object's length is in *n then. It is
 * not sure of what few servers send: escapes in names, a number that counts with a sign, a fraction or
 * more than 12 digits, the same member twice in details. Of text that is no JSON it may be sure, too.
 */
bool usage_scan(struct str text, struct usage *out, size_t *n);

/* The length of the JSON value that `text` begins with, as brackets and quotes tell; 0 when it does not end. */
size_t usage_length(struct str text);

#endif
