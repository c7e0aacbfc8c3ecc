/* call_private.h - the parts of a call's life that stand in files of their own. */
#ifndef CALL_CALL_PRIVATE_H
#define CALL_CALL_PRIVATE_H

#include "call/call.h"

/* forward.c: lays out `send` for the backend at hand. `head` is NULL on a further attempt: what the
 * caller's head gives was kept from the first, since the parsed body is gone by then. */
void forward_prepare(struct call *c, const struct call_env *env, const struct http_head *head);

/* refusal.c: the text of a refusal by a limit. */
void refusal_describe(const struct call *c, enum status st, struct problem *why);

#endif
