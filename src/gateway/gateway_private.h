/* gateway_private.h - the parts of the data plane that stand in files of their own. */
#ifndef GATEWAY_GATEWAY_PRIVATE_H
#define GATEWAY_GATEWAY_PRIVATE_H

#include "call/call.h"
#include "client/client.h"
#include "gateway/gateway.h"

struct plan {
    struct snapshot *snapshot; /* one reference */
    struct live_view *view;    /* of the snapshot, one reference; NULL until it is bound */
    struct tls_context **tls;  /* of each backend, NULL for http */
    size_t n_backends;
    atomic_int refs;
    struct vocabulary_set *vocabularies; /* one reference; NULL: none */
    struct plan_yard *yard;              /* borrowed */
    struct plan *next;                   /* in the yard */
};

/* The connections of this loop to one backend; shared by the leases that know it unchanged. */
struct gateway_pool {
    struct client_pool *pool;
    int refs;
};

/*
 * A loop's hold on a plan: the plan stays while a call of this loop goes by it. So a swap costs the
 * calls nothing, not even an atomic addition.
 */
struct lease {
    struct plan *plan;           /* one reference */
    struct gateway_pool **pools; /* of each backend, NULL until it is first used */
    struct loop *loop;
    const struct gateway_settings *settings;
    struct shelf *shelf; /* the gateway's, for heads */
    int refs;            /* the loop's own and one per call */
};

/* `before` is the lease that this one follows, or NULL: connections to backends that did not change
 * are kept. */
struct lease *lease_new(struct plan *plan, struct loop *l, const struct gateway_settings *settings,
                        struct shelf *shelf, const struct lease *before);
void lease_unref(struct lease *lease);

/* The connections to a backend of the lease's view. */
struct client_pool *lease_pool(struct lease *lease, const struct backend *b);

struct gateway {
    struct loop *loop;
    struct gateway_settings settings;
    struct server *server;
    struct lease *lease;
    struct json_doc *doc;
    struct prompt_counters *counters; /* owned; of this loop's prompts */
    const void *counted_last;         /* whose prompt was counted apart last; only compared */
    struct list uncounted; /* of struct gateway_call.in_uncounted; the first is being done */
    struct balance_rng rng;
    const struct call_guard *guard; /* borrowed, may be NULL */
    struct log *log;
    struct buf lines; /* of the access log, waiting to be handed over */
    struct loop_timer *flush_timer, *grace_timer;
    struct list calls; /* of struct gateway_call.in_gateway */
    struct list spare; /* ended calls, to be used again: their memory is warm */
    int n_spare;
    struct shelf shelf;         /* memory for heads of requests to backends, and of their answers */
    int64_t wall_minus_mono_us; /* what the wall clock has over the monotonic one, now and then */
    struct metrics_shard metrics;
    struct prompt_lookups lookups; /* of `counters` that are in the metrics */
    void (*drained)(void *arg);
    void *drained_arg;
};

/* A call and the two connections that it joins. */
struct gateway_call {
    struct list in_gateway;
    struct gateway *gateway;
    struct lease *lease;
    struct exchange *exchange;       /* NULL once the client is gone */
    struct client_request *upstream; /* NULL while there is none */
    bool is_paused, has_begun;       /* begun: the answer's head was handed to the server */
    struct list in_uncounted;        /* while its prompt is to be counted apart */
    struct count_job *job;           /* while it is being counted */
    char client[64];
    struct call call;
};

/* --- long prompts (apart.c); all on the loop of the gateway --- */

/* The prompt is counted as soon as it is its turn; then gateway_counted is called. */
void apart_count(struct gateway_call *gc);

/* The call ends before its prompt was counted. False while a thread is at it: then gateway_counted is
 * called nevertheless, as soon as that is done. */
bool apart_leave(struct gateway_call *gc) MUST_USE;

/* Waits for the thread that counts, and forgets what it found. */
void apart_stop(struct gateway *g);

/* By gateway.c: the call goes on with its prompt counted, or ends if its client has left meanwhile. */
void gateway_counted(struct gateway_call *gc, enum status st, const struct problem *why);

/* What counters looked up since `before`, which becomes now. */
struct prompt_lookups apart_lookups_since(const struct prompt_counters *c,
                                          struct prompt_lookups *before);
void apart_add_lookups(struct gateway *g, const struct prompt_lookups *l);

#endif
