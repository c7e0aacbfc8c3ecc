/* error.h - the body of an error, in the one shape that OpenAI's and Azure's clients read. */
#ifndef JSON_ERROR_H
#define JSON_ERROR_H

#include "base/buf.h"
#include "base/status.h"

/*
 * Appends {"error":{"code","message","type","param"}} (inference contract, section 6). The message is
 * that of `why`, else the table's; `param` is what `why` aims at, else null. `why` may be NULL.
 */
void json_put_error(struct buf *out, enum status st, const struct problem *why);

#endif
