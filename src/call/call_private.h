/* call_private.h - the parts of a call's life that stand in files of their own. */
#ifndef CALL_CALL_PRIVATE_H
#define CALL_CALL_PRIVATE_H

#include "call/call.h"

/* open.c: sets the deployment of this name in the call's account, and its state. */
enum status call_find_deployment(struct call *c, struct str name) MUST_USE;

/* admission.c: reads the request and counts its prompt, on any thread. Then, on the loop: asks the
 * bucket, or the limits; what they say is in the receipt. */
enum status admission_judge(struct call *c, const struct call_env *env,
                            struct problem *why) MUST_USE;
enum status admission_try(struct call *c, const struct call_env *env) MUST_USE;

/* Whether the deployment would refuse any call, whatever it costs; the receipt of one that is refused for
 * that, before it was counted. */
bool admission_is_full(const struct call *c, int64_t now_ns);
void admission_note_full(struct call *c);

/* settle.c: posts a correction, in mt; of a standard deployment nothing. */
void settle_post(struct call *c, const struct call_env *env, int64_t delta_mt);

/* The backend's own count, as far as it can be believed; -1 when it said nothing. */
int64_t settle_reported_prompt(struct call *c);
int64_t settle_reported_output(struct call *c);

/* The one exit of every admitted call: the charge becomes the actual cost, or nothing when no backend
 * executed it. */
void settle_call(struct call *c, const struct call_env *env, enum status outcome, bool is_executed);

/* The marks of the prompt at hand; none when there are none. */
static inline const uint64_t *call_marks(const struct call *c, size_t *n) {
    *n = c->marks.len / sizeof(uint64_t);
    return (const uint64_t *)(const void *)c->marks.p;
}

/* forward.c: lays out `send` for the backend at hand. `head` is NULL on a further attempt: what the
 * caller's head gives was kept from the first, since the parsed body is gone by then. */
void forward_prepare(struct call *c, const struct call_env *env, const struct http_head *head);

/* refusal.c: the text of a refusal by a limit. */
void refusal_describe(const struct call *c, enum status st, struct problem *why);

#endif
