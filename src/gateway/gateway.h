/* gateway.h - the data plane of one loop: feeds calls with events and carries out their actions. */
#ifndef GATEWAY_GATEWAY_H
#define GATEWAY_GATEWAY_H

#include "live/live.h"
#include "net/conn.h"
#include "os/log.h"
#include "server/server.h"
#include "tokens/vocabulary_set.h"

/*
 * What the loops serve by: a view of the configuration and the TLS settings of its backends. Shared
 * by all loops, immutable, counted.
 */
struct plan;

/* Where plans wait to be freed whose last holder was a loop: to free a thousand deployments takes
 * longer than calls should wait. Zeroed is empty; any thread. */
struct plan_yard {
    _Atomic(struct plan *) first;
};

/* Frees what waits; for a thread that serves no calls. */
void plan_yard_clear(struct plan_yard *yard);

/*
 * Reads what the snapshot's backends need. Fails when their certificates cannot be read: before the
 * snapshot is bound, so that a configuration which is refused has changed nothing. When `before` (may
 * be NULL) is a plan of a snapshot that this one is a patch of, what it read is taken over, which
 * cannot fail. `yard` must outlive the plan.
 */
enum status plan_new(struct snapshot *s, const struct plan *before, struct plan_yard *yard,
                     struct plan **out, struct problem *why) MUST_USE;

/* Prompts of models that name a tokenizer are counted by these; takes the reference over. May be NULL,
 * and is that of `before` for a patch. Before the plan is handed to a loop. */
void plan_count_by(struct plan *p, struct vocabulary_set *vocabularies);

/* Completes it with the view of the same snapshot, whose reference it takes over. */
void plan_bind(struct plan *p, struct live_view *view);

struct plan *plan_ref(struct plan *p);
void plan_unref(struct plan *p); /* the last one puts it into its yard; accepts NULL */
struct live_view *plan_view(const struct plan *p);
struct vocabulary_set *plan_vocabularies(const struct plan *p); /* may be NULL */

struct gateway_settings {
    struct server_limits limits;
    struct counting *counting; /* borrowed; see gateway/counting.h */
    int n_loops;               /* a backend's connections are divided among them */
    int64_t backend_idle_ms;   /* an unused connection to a backend is kept this long [4 s] */
};

/* Belongs to one loop; all functions on that loop, but for what says otherwise. */
struct gateway;

/* `log` may be NULL: no access log. `plan` is shared: a reference is taken. */
struct gateway *gateway_new(struct loop *l, const struct gateway_settings *settings,
                            struct plan *plan, struct log *log);

/* Who judges bearer tokens from now on (see call/call.h); borrowed, NULL: nobody, keys alone count. */
struct call_guard;
void gateway_set_guard(struct gateway *g, const struct call_guard *guard);

/* Listeners are opened on it. */
struct server *gateway_server(struct gateway *g);

/* Calls from now on go by the new plan; calls in hand keep what they started with. */
void gateway_swap(struct gateway *g, struct plan *plan);

/*
 * Stops accepting and lets calls finish for at most `grace_ms`; of what then still runs, answers that
 * have begun are cut off, the others are 503, and all are settled. Calls `done` when nothing is left.
 * gateway_free may follow.
 */
void gateway_drain(struct gateway *g, int64_t grace_ms, void (*done)(void *arg), void *arg);

/* Settles and closes everything at once. */
void gateway_free(struct gateway *g);

/* What it counts; may be read by any thread. */
const struct metrics_shard *gateway_metrics(const struct gateway *g);

/* Hands the lines of the access log over that wait for company; before log_reopen. */
void gateway_flush_log(struct gateway *g);

#endif
