/*
 * call.h - the life of one inference call as a state machine: events in, actions out.
 *
 *     open       the head is there: route, authenticate                 -> a status
 *     submit     the body is there: judge, admit, choose a backend      -> CALL_SEND | CALL_REPLY | CALL_COUNT
 *     counted    what CALL_COUNT asked for is done: admit, choose       -> CALL_SEND | CALL_REPLY
 *     on_head    the backend's head                                     -> CALL_FORWARD | CALL_SEND | CALL_REPLY
 *     on_body    a piece of its body                                    -> bytes to forward
 *     on_fail    the attempt failed                                     -> CALL_SEND | CALL_REPLY | CALL_CUT
 *     on_gone    the caller left                                        -> CALL_CANCEL | CALL_DRAIN
 *
 * Nothing here touches a socket or a clock. Always: an admitted call settles exactly once, on every
 * way out; before the first byte of an answer a failed attempt may move to another backend, after it
 * never; a refused call has changed nothing.
 */
#ifndef CALL_CALL_H
#define CALL_CALL_H

#include "call/meter.h"
#include "call/request.h"
#include "http/message.h"
#include "live/live.h"
#include "tokens/vocabulary_set.h"

#include <sys/uio.h>

/*
 * Bearer tokens that are no keys (inference contract, section 2). Handed in, since tokens are checked with
 * the keys of their issuers, and roles are the control plane's.
 */
struct call_guard {
    /* The object id of the token's holder, valid until the next call; "" when it is not believed. */
    struct str (*caller)(void *arg, struct str token);
    /* Whether a role lets the holder call this operation of the account. */
    bool (*may_call)(void *arg, struct str caller, enum operation op, struct str account_id);
    void *arg;
};

/* What a loop hands to each call; all borrowed. */
struct call_env {
    struct live_view *view;
    const struct clock *clock;
    struct json_doc *doc; /* the loop's parser */
    struct balance_rng *rng;
    const struct call_guard *guard;   /* NULL: keys alone */
    struct prompt_counters *counters; /* the thread's; NULL: prompts are estimated */
    struct prefix_table *prefixes;    /* NULL: no cached tokens are predicted */
    size_t prompt_budget;             /* bytes of a prompt that may be counted here and now */
    struct shelf *shelf;              /* the loop's memory for short texts; NULL: the heap */
    const struct vocabulary_set *vocabularies; /* by the models' `tokenizer`; NULL: none */
};

enum call_action {
    CALL_COUNT, /* to count the prompt takes long: call_count on another thread, then call_counted */
    CALL_REPLY, /* answer with reply_status, call_put_reply_fields and reply_body; all is settled */
    CALL_SEND,  /* send `send` to `backend` (giving up an attempt that still runs) */
    CALL_FORWARD, /* begin the answer with the backend's status and call_put_answer_fields */
    CALL_CUT,    /* the answer has begun and cannot go on: send reply_body and end the connection */
    CALL_CANCEL, /* give up the attempt; all is settled */
    CALL_DRAIN,  /* let the attempt run to its end and throw its bytes away; settled then */
};

enum call_state {
    CALL_NEW,       /* not admitted */
    CALL_WAITING,   /* sent, no head yet */
    CALL_ANSWERING, /* the backend's head was forwarded */
    CALL_DRAINING,  /* the caller left */
    CALL_SETTLED,
};

/* How sure the numbers of a settled call are. */
enum call_count_source { COUNT_NONE, COUNT_REPORTED, COUNT_COUNTED, COUNT_ESTIMATED };

/* What the access log tells of a call. Times in ns of the monotonic clock, 0 when they never came. */
struct receipt {
    int64_t start_ns, admitted_ns, first_byte_ns, end_ns;
    enum status outcome;
    int http_status;
    int64_t estimate_mt, charge_mt, level_before_mt, level_after_mt, level_end_mt, util_ppm;
    int64_t retry_after_ms;
    int64_t prompt_estimate, output_estimate, cached_predicted;
    int64_t prompt_tokens, cached_tokens, output_tokens;
    enum call_count_source count_source;
    int n_attempts;
    bool is_reused, is_usage_capped; /* capped: the backend claimed more than the call could cost */
    int64_t bytes_in, bytes_out;
};

/* Larger bodies are read on another thread, whatever is in them: to parse this much takes a tenth of a
 * millisecond. */
enum { CALL_BODY_INLINE = 64 << 10 };

enum { CALL_IOV = 8, CALL_ID_LEN = 36, CALL_CLIENT_ID_MAX = 64 };

struct call {
    enum call_state state;
    struct live_view *view; /* borrowed from the loop's lease, which outlives the call */
    int64_t now_ns;         /* the time of the event at hand */
    struct route route;
    const struct account *account;
    const struct deployment *deployment;
    struct live_deployment *live; /* of the deployment */
    struct request request;
    struct reservation reservation;
    struct standard_verdict limits; /* of a standard deployment, for the headers */
    bool is_long;                   /* to be counted on another thread */
    bool is_admitted, is_predicted; /* predicted: its receipt says what, and that may be nothing */

    /* The attempt. */
    const struct backend *backend;
    int64_t balance_estimate;
    uint64_t tried;
    int backend_position;
    bool was_busy;      /* an attempt ended with "come back later" */
    bool has_attempt;   /* balance_pick has no balance_done yet */
    int attempt_status; /* the backend's HTTP status, 0 before its head */
    int64_t attempt_retry_ms, attempt_remaining, attempt_reset_ms;

    struct buf body; /* the caller's request body, owned; of no use once an answer has begun */
    struct buf
        marks;       /* of the prompt (tokens/prefix.h), uint64_t, until it was worked out; owned */
    struct buf sent; /* our part of what goes to the backend, owned; likewise */
    size_t n_caller_fields;
    struct iovec send[CALL_IOV];
    int n_send;
    struct meter meter;

    struct buf reply_body; /* owned */
    int reply_status;

    char id[CALL_ID_LEN + 1]; /* of this call: apim-request-id and x-request-id */
    char client_id[CALL_CLIENT_ID_MAX + 1];
    struct receipt receipt;
};

/* A zeroed call may be destroyed. `id_bytes` are 16 random bytes. */
void call_init(struct call *c, const struct call_env *env, int64_t start_ns,
               const unsigned char id_bytes[16]);
void call_destroy(struct call *c);

/*
 * Routes and authenticates by the request's head. On any other status than ST_OK the call is over:
 * reply with call_refuse. For a list operation (operation_is_list) call_list makes the answer.
 */
enum status call_open(struct call *c, const struct call_env *env, const struct http_head *head,
                      struct problem *why) MUST_USE;

/* Makes the answer to a refusal: reply_status and reply_body. Returns CALL_REPLY. */
enum call_action call_refuse(struct call *c, enum status st, const struct problem *why);

/* Makes the answer to a list operation. */
enum call_action call_list(struct call *c);

/*
 * The body is complete: `body`, which the call takes over, with JSON_PADDING readable bytes behind
 * it. `head` is the request's, for the fields that go to the backend.
 */
enum call_action call_submit(struct call *c, const struct call_env *env,
                             const struct http_head *head, struct buf body);

/*
 * After CALL_COUNT: reads the body and counts its prompt, on any thread, with a document, counters and
 * a budget of that thread in `env`; nothing else may touch the call meanwhile. Then, on the loop,
 * call_counted goes on with what it returned. In between the call may also end as one that was never
 * admitted.
 */
enum status call_count(struct call *c, const struct call_env *env, struct problem *why) MUST_USE;
enum call_action call_counted(struct call *c, const struct call_env *env,
                              const struct http_head *head, enum status st,
                              const struct problem *why);

enum call_action call_on_head(struct call *c, const struct call_env *env,
                              const struct http_head *head);

/* Forward `out` and call again while it returns true, as meter_take. Settles at is_last. */
bool call_on_body(struct call *c, const struct call_env *env, struct str *in, bool is_last,
                  struct meter_out *out);

/* ST_UPSTREAM_BUSY: no connection could be had. */
enum call_action call_on_fail(struct call *c, const struct call_env *env, enum status st,
                              struct str why);

/* As call_on_fail, after CALL_FORWARD, when nothing of the answer has reached the caller yet: he gets an
 * error in its place, and pays nothing. */
enum call_action call_on_fail_unseen(struct call *c, const struct call_env *env, enum status st,
                                     struct str why);

/* has_sent: the request had gone out to the backend. */
enum call_action call_on_gone(struct call *c, const struct call_env *env, bool has_sent);

/* The process is going down before the call ended: what an answer brought so far is charged, a call
 * without one is not. */
void call_abandon(struct call *c, const struct call_env *env);

/* Fields of our own answers, and of those forwarded from a backend. */
void call_put_reply_fields(const struct call *c, struct buf *out);
void call_put_answer_fields(const struct call *c, const struct http_head *head, struct buf *out);

/* One line of JSON with a line feed; of a call that ended. `client` is its address. */
void call_put_access_line(const struct call *c, const char *time, const char *client,
                          struct buf *out);

#endif
