/* ops.h - the operations listener: health, readiness, metrics, and what each deployment owes. */
#ifndef OPS_OPS_H
#define OPS_OPS_H

#include "live/live.h"
#include "metrics/metrics.h"
#include "server/server.h"

/*
 * GET /healthz            200 while the process answers at all
 * GET /readyz             200 while it takes calls, else 503 with the reason
 * GET /metrics            Prometheus text
 * GET /debug/deployments  JSON: level, finish mark and counters of each deployment, exact
 * POST /tokenize          JSON: the tokens of a text or a chat, for a model; see call/tokenize.h
 */
struct ops;

/* Where the numbers come from; called on the loop of the listener where nothing else is said. */
struct ops_source {
    struct live_view *(*view)(void *arg); /* borrowed */
    const char *(*not_ready)(void *arg);  /* NULL when ready */
    /* POST /tokenize: takes what the next text is counted with; appends the answer, on a thread of the pool,
     * one at a time, perhaps while the listener ends; gives back what was taken. */
    void *(*tokenize_begin)(void *arg);
    enum status (*tokenize)(void *begun, struct str body, struct buf *out, struct problem *why);
    void (*tokenize_end)(void *begun);
    size_t body_bytes;                         /* the longest body */
    const struct metrics_shard *const *shards; /* borrowed, one per loop */
    size_t n_shards;
    int64_t started_s; /* wall clock */
    void *arg;
};

struct ops *ops_new(struct loop *l, const struct ops_source *source);
struct server *ops_server(struct ops *o);
void ops_free(struct ops *o);

/* The page of /metrics, also for tests. */
void ops_put_metrics(const struct ops_source *source, int64_t now_ns, struct buf *out);

#endif
