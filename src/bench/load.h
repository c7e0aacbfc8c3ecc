/* load.h - what both loads share: where to send, what to send, and how long. */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include "bench/spread.h"
#include "client/client.h"

/* Requests ready to be sent, head and body; sent in turn. A zeroed one is empty. */
struct requests {
    struct str *at; /* owned; views into text */
    size_t n, next;
    struct buf text; /* owned */
};

/* Reads a file of requests: before each a line with its length in bytes. */
enum status requests_read(struct requests *r, const char *path, struct problem *why) MUST_USE;

/* Makes one chat request with `n_words` words of prompt. `authority` and `path` are those of the URL;
 * an api_key that is not empty is sent both ways, as `api-key` and as a bearer token. */
struct requests_words {
    struct str authority, path, api_key, model;
    int64_t n_words, max_tokens;
    bool is_stream;
};
void requests_make(struct requests *r, const struct requests_words *words);

void requests_destroy(struct requests *r);

static inline struct str requests_next(struct requests *r) {
    struct str s = r->at[r->next];
    r->next = r->next + 1 == r->n ? 0 : r->next + 1;
    return s;
}

struct load_options {
    struct client_target target; /* max_connections is what the load needs */
    int64_t n_at_once;           /* streams or requests */
    int64_t ramp_ms;             /* their beginnings are spread over this time */
    int64_t duration_ms;         /* places begin anew until then; 0: one turn each */
    int64_t count;               /* so many in all, then it ends; 0: no limit */
    double rate; /* streams a second, begun by the clock whatever the earlier ones do; 0: off */
    int64_t expected_events; /* of each stream, [DONE] included; 0: not known */
    bool is_silent;          /* no progress */
};

/*
 * Streams of server-sent events. Latencies count from the moment a stream was to begin by the
 * schedule, not from when it did, so a stalled server cannot hide its stall (open loop).
 */
struct streams_result {
    int64_t n_begun, n_whole;
    int64_t n_refused; /* another status than 200 */
    int64_t n_lost;    /* failed, cut, or without [DONE] */
    int64_t n_skipped; /* with a rate: not begun, for n_at_once were under way */
    int64_t most_at_once;
    int64_t n_events, n_reads;
    int64_t n_events_lost; /* by their stamps, or those missing in `expected_events` */
    int64_t n_events_extra;
    int64_t elapsed_ns;
    struct spread first; /* from the scheduled beginning to the first event */
    struct spread gap;   /* between two events of a stream */
    struct spread added; /* from the upstream's stamp to the event's arrival */
    struct problem first_problem;
};

/* Runs on the loop until all is done; the loop is stopped then. */
void streams_run(struct loop *l, const struct load_options *options, struct requests *requests,
                 struct streams_result *out);

void streams_put_json(const struct streams_result *r, struct json_writer *w);
void streams_put_text(const struct streams_result *r, struct buf *out);

/* Requests with plain answers, the next on a connection when the last is done (closed loop). */
struct round_trips_result {
    int64_t n_done, n_not_2xx, n_failed;
    int64_t elapsed_ns;
    struct spread latency;
    struct problem first_problem;
};

void round_trips_run(struct loop *l, const struct load_options *options, struct requests *requests,
                     struct round_trips_result *out);

void round_trips_put_json(const struct round_trips_result *r, struct json_writer *w);
void round_trips_put_text(const struct round_trips_result *r, struct buf *out);

#endif
