/* physics.h - when a simulated model server gives each token: slots, queue, prefill, decode. */
#ifndef SIM_PHYSICS_H
#define SIM_PHYSICS_H

#include "base/clock.h"
#include "base/list.h"
#include "base/str.h"
#include "sim/agenda.h"

/*
 * The model of a server with continuous batching:
 *
 *   time to first token = wait for a slot + base latency + prompt tokens / prefill rate
 *   time between tokens = 1 / decode rate               while at most `knee` sequences decode,
 *                         sequences / knee / decode rate above that: the total is shared
 *
 * A token takes as long as the number of decoding sequences at its beginning says, as a batch step
 * does. Prefill is not slowed by decoding, nor decoding by prefill: a simplification.
 */
struct physics_profile {
    int64_t prefill_mtps; /* prompt tokens per 1,000 s; 0: no time at all */
    int64_t decode_mtps;  /* tokens per 1,000 s of one sequence up to the knee; 0: no time at all */
    int64_t base_latency_ns; /* before every first token */
    int64_t knee;            /* decoding sequences; 0: never slower */
    int64_t slots;           /* calls worked on at once; 0: no limit */
    int64_t queue;           /* calls that may wait for a slot; those beyond are refused */
};

/* The profile of that name, false when there is none. */
bool physics_find(struct str name, struct physics_profile *out) MUST_USE;

/* "fast, gpt-4o, ...": the names, for messages. */
struct str physics_names(void);

/* Makes everything happen `factor` times faster; factor > 0. */
void physics_scale(struct physics_profile *p, double factor);

enum physics_state {
    PHYSICS_OUT,      /* not here, or no more */
    PHYSICS_WAITING,  /* for a slot, in order of arrival */
    PHYSICS_PREFILL,  /* has a slot; its first token is on the agenda */
    PHYSICS_DECODING, /* its next token is on the agenda, or in the hands of the owner */
    PHYSICS_HELD,     /* keeps its slot and makes no tokens: its client is slow, or it plays dead */
};

/* Lives inside the owner's call. A zeroed one is out. */
struct physics_call {
    struct agenda_entry
        due; /* due.at_ns: when the last token was due, while none is on the agenda */
    struct list waiting;
    int64_t first_token_ns; /* from getting a slot to the first token */
    int width;              /* sequences that it decodes: the choices that are not finished */
    enum physics_state state;
};

/*
 * Time is handed in; it may not run backwards. Always: calls wait only while every slot is taken;
 * n_decoding is the sum of the widths of decoding calls.
 */
struct physics {
    struct physics_profile profile;
    struct agenda agenda;
    struct list waiting;
    int64_t n_working, n_waiting, n_decoding;
};

void physics_init(struct physics *p, const struct physics_profile *profile);
/* The calls in hand are forgotten. */
void physics_destroy(struct physics *p);

/* A call comes, with so many prompt tokens to work through and `extra_ns` on top. False when the
 * queue is full; the call is then out. */
bool physics_arrive(struct physics *p, struct physics_call *c, int64_t now_ns,
                    int64_t prefill_tokens, int64_t extra_ns, int width) MUST_USE;

/* The next call that has a token by now, taken off the agenda; NULL when none has. The owner
 * gives the token and says how it goes on, by one of the four below. */
struct physics_call *physics_next(struct physics *p, int64_t now_ns);

/* It makes another token. */
void physics_step(struct physics *p, struct physics_call *c, int64_t now_ns);

/* It pauses, and goes on: as long as it is held it slows nobody. */
void physics_hold(struct physics *p, struct physics_call *c);
void physics_resume(struct physics *p, struct physics_call *c, int64_t now_ns);

/* It ends, from any state; the first in the queue gets its slot. */
void physics_leave(struct physics *p, struct physics_call *c, int64_t now_ns);

/* So many of its sequences still decode. */
void physics_set_width(struct physics *p, struct physics_call *c, int width);

/* From one token to the next, as things are now. */
int64_t physics_interval_ns(const struct physics *p);

/* When physics_next has something to give; INT64_MAX when nothing is on its way. */
int64_t physics_due_ns(const struct physics *p);

#endif
