/* reads.h - answers to reads that were given before, for as long as nothing has changed since. */
#ifndef CONTROL_READS_H
#define CONTROL_READS_H

#include "base/siphash.h"
#include "base/str.h"

/*
 * What the control thread answered to a GET holds for whoever asks the same as the same principal, until
 * anything at all changes. So clients that ask again and again (for usages, or whether a deployment is
 * there) cost the listener a lookup, and neither a turn of the thread nor the rendering of the same text.
 *
 * "Anything at all" is one number, the world: the thread raises it after each batch that changed something,
 * before it answers any of that batch. An answer is found in the world it was made in, and in no other. So
 * a read that begins after a change was answered shows that change; one answered from memory while a change
 * is being made shows what was before, as if it had come a moment earlier.
 *
 * Bounded by bytes; what was asked for the longest ago goes first. Belongs to one loop.
 */
struct reads;

enum {
    READS_BYTES = 16 << 20,   /* a thousand deployments and a hundred lists of usages need 5 MB */
    READS_BODY_MAX = 1 << 20, /* a longer body is not kept */
    READS_ETAG_MAX = 40,
};

/* `secret` makes collisions unguessable. */
struct reads *reads_new(size_t bytes, const struct siphash_key *secret);
void reads_free(struct reads *r); /* NULL is fine */

/* All that an answer depends on beside the world. */
struct reads_question {
    struct str target;   /* path and query */
    struct str base_url; /* as the client reached us: it stands in links */
    struct str object_id, app_id;
    bool is_own; /* its token is from our own token service */
};

/* Views, valid until the next call. */
struct reads_answer {
    struct str body, etag;
};

bool reads_find(struct reads *r, uint64_t world, const struct reads_question *q,
                struct reads_answer *out) MUST_USE;

/* Copies the answer, made in that world, in place of an older one to the same question. */
void reads_keep(struct reads *r, uint64_t world, const struct reads_question *q,
                const struct reads_answer *answer);

#endif
