/* sim_private.h - what the server and the life of a call share. */
#ifndef SIM_SIM_PRIVATE_H
#define SIM_SIM_PRIVATE_H

#include "server/server.h"
#include "sim/ask.h"
#include "sim/promptcache.h"
#include "sim/sim.h"

/* Since the start, or since POST /sim/reset; GET /sim/stats shows them. */
struct sim_stats {
    int64_t requests;  /* of the four APIs, refused ones too */
    int64_t refused;   /* answered with an error */
    int64_t completed; /* answered to the end */
    int64_t cancelled; /* the client left before the end */
    int64_t faults;    /* calls that suffered one */
    int64_t prompt_tokens, cached_tokens, output_tokens;
    int64_t last_cancel_ms;     /* how long the last cancelled call had run */
    int64_t last_cancel_tokens; /* and how many tokens it had made */
};

struct sim {
    struct loop *loop;
    struct server *server;
    struct loop_alarm *alarm;
    int64_t armed_ns; /* when the alarm goes off; INT64_MAX: not set */
    struct physics physics;
    struct promptcache cache;
    struct sim_options options;
    struct sim_stats stats;
    struct ask ask;      /* the request in hand; one at a time */
    struct buf out;      /* scratch: what is about to be sent; empty between calls of this room */
    struct list stalled; /* of struct call, those that play dead */
    uint64_t n_drawn;    /* requests so far: the source of ids and of chance */
    uint64_t id_seed;
    bool is_pumping, is_draining;
};

/* Answers an error in OpenAI's shape; `retry_ms` > 0 says when to come back. */
void sim_reply_error(struct sim *s, struct exchange *x, enum status st, const struct problem *why,
                     int64_t retry_ms);

/* Begins an answer with the fields that all have. */
struct buf *sim_begin(const struct sim *s, struct exchange *x, int status, int64_t length,
                      struct str content_type);

/* A call of one of the four APIs. `deployment` is from the path, empty when there is none. */
void simcall_start(struct sim *s, struct exchange *x, enum ask_api api, struct str deployment);
/* What the server tells of the exchange whose user is this call; NULL is fine. */
void simcall_gone(void *user);
void simcall_drained(void *user);

/* Gives all tokens that are due and sets the alarm for the next. */
void simcall_pump(struct sim *s);

/* Cuts off the calls that play dead, those of the future too. */
void simcall_end_stalled(struct sim *s);

#endif
