/* live.h - what a deployment and a backend remember from one snapshot to the next. */
#ifndef LIVE_LIVE_H
#define LIVE_LIVE_H

#include "admit/bucket.h"
#include "admit/estimator.h"
#include "admit/minute.h"
#include "admit/reservation.h"
#include "admit/standard.h"
#include "balance/balance.h"
#include "base/list.h"
#include "live/residual.h"
#include "metrics/metrics.h"
#include "model/snapshot.h"
#include "tokens/prefix.h"

/* Counters of one deployment; each a sum since the process started. */
struct live_counters {
    metric_cell admitted, refused;
    metric_cell prompt_tokens, cached_tokens, cached_predicted, output_tokens;
    metric_cell charged_mt; /* what settled calls cost */
    metric_cell in_flight;
};

/*
 * One deployment's state. Found by id, so it survives the snapshots that name it; a deployment whose
 * id leaves the configuration and comes back later starts anew.
 */
struct live_deployment {
    struct list in_live;
    char *id;                 /* owned */
    struct bucket bucket;     /* in use when the deployment is provisioned */
    struct standard standard; /* in use when it is not */
    struct output_model output;
    struct minute_ring minutes;
    struct minute_slot minute_slots[3];
    struct live_counters counters;
    struct siphash_key prefix_key; /* of its prompts' marks; a secret */
    struct prefix_trust prefix_trust;
    struct residual residual; /* of its prompts' counts */
    bool is_provisioned;
    int n_names;     /* accounts of the newest view that name it: 1, 0 when it is leaving */
    atomic_int refs; /* struct live_account that hold it */
};

/* One account joined with the state of its deployments: shared by all views of snapshots that share
 * the account. Immutable, counted. */
struct live_account {
    const struct account *of; /* one reference */
    struct live_deployment **deployments;
    struct weights *weights; /* of each deployment, as admission wants them */
    atomic_int refs;         /* views, and the registry */
};

/* One backend's health and load, shared by all loops. */
struct live_backend {
    struct list in_live;
    char *id; /* owned */
    struct balance_backend balance;
    metric_cell attempts; /* that began; those that are not among the outcomes are in flight */
    metric_cell outcomes[BALANCE_SILENT + 1];
    /* What the last attempt that counted against it failed by: the HTTP status of its answer, or an enum
     * status below zero; 0 when none has. And when. The two may be of different ones for a moment. */
    _Atomic(int) error;
    _Atomic(int64_t) error_ns;
    metric_cell usage_capped; /* answers that claimed to have cost more than they can have */
    int64_t generation;
    atomic_int refs;
};

/* The registry of all of them; it belongs to one thread, but for what is said below. */
struct live;

/*
 * A snapshot joined with the state of what it names: what a loop reads while it serves. Immutable,
 * counted.
 */
struct live_view {
    struct snapshot *snapshot;      /* one reference */
    struct live_account **accounts; /* by slot, NULL for a free one; a reference each */
    struct live_backend **backends; /* indexed as the snapshot's are */
    size_t n_slots, n_backends;
    struct live *live;
    atomic_int refs;
    int64_t generation; /* 1 for the first */
};

/* Of a deployment of the view's snapshot. */
static inline struct live_deployment *live_of(const struct live_view *v,
                                              const struct deployment *d) {
    return v->accounts[d->account->slot]->deployments[d->index];
}

static inline const struct weights *live_weights(const struct live_view *v,
                                                 const struct deployment *d) {
    return &v->accounts[d->account->slot]->weights[d->index];
}

/* `hash` keys the tables; `clock` tells the time of changes. */
struct live *live_new(const struct siphash_key *hash, const struct clock *clock);

/* All views must be gone. */
void live_free(struct live *l);

/*
 * Binds a snapshot (taking a reference of its own): state that exists is resized to the snapshot's
 * numbers and keeps its levels (admission spec 1.8), the rest begins, at the level that was
 * recalled for it. The view has one reference. State that no view names any more is freed here.
 *
 * Only accounts that the snapshot before did not have are bound; of the others a reference is taken.
 */
struct live_view *live_bind(struct live *l, struct snapshot *s);

/* Any thread. */
struct live_view *live_view_ref(struct live_view *v);
void live_view_unref(struct live_view *v);

/* Calls `each` with every backend that a view names, those included that only calls in hand still hold;
 * several may have one id, of which at most one takes new calls (`is_named`). */
void live_each_backend(const struct live *l,
                       void (*each)(void *arg, const struct live_backend *b, bool is_named),
                       void *arg);

/* Rebases every clock and touches every word, once an hour (spec 1.3, 3.2). */
void live_housekeep(struct live *l);

/* --- levels across a restart (spec 1.8) --- */

/*
 * Writes the level of every provisioned deployment that owes work, with the wall clock, as lines of
 * JSON; the last line counts them, so that a file cut short is known for what it is.
 */
void live_save(const struct live *l, int64_t wall_us, struct buf *out);

/*
 * Recalls what live_save wrote, before the first live_bind; JSON_PADDING bytes lie behind the text.
 * A deployment that owed work then owes what is left of it at `wall_us`; one that is not named owes
 * nothing. ST_BAD_JSON when the text is damaged: what could not be read is taken as half full.
 */
enum status live_recall(struct live *l, const char *text, size_t len, int64_t wall_us,
                        struct problem *why) MUST_USE;

#endif
