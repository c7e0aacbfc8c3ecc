/* control_private.h - what the thread, the listener and the token service share. */
#ifndef CONTROL_CONTROL_PRIVATE_H
#define CONTROL_CONTROL_PRIVATE_H

#include "arm/arm.h"
#include "control/control.h"
#include "control/issuers.h"
#include "control/reads.h"
#include "crypto/secret.h"
#include "identity/principal.h"
#include "identity/service.h"
#include "identity/token.h"
#include "identity/vault.h"
#include "server/server.h"
#include "store/store.h"
#include "json/json.h"

#include <pthread.h>
#include <stdatomic.h>

/* What the control thread is asked. */
enum errand_kind {
    ERRAND_ARM,       /* a request of ARM's */
    ERRAND_PRINCIPAL, /* a request about service principals: the operator's */
    ERRAND_TOKEN,     /* the record of a principal that wants a token */
    ERRAND_ROTATE,    /* whether this caller may have the tokens' key replaced */
};

/* slow.c: what the pool does, each in turn with its like. */
enum slow_lane_name {
    SLOW_SECRETS, /* proving and making them, and the signatures of tokens */
    SLOW_TOKENIZERS,
    SLOW_LANE_COUNT,
};

/*
 * One request on its way to the control thread and back. Owned by whoever has it in hand: the loop,
 * the queue, the thread, the loop again. The exchange belongs to the loop and may go meanwhile; then it
 * is NULL, and the answer is dropped.
 */
struct errand {
    struct list link;
    struct door *door;
    struct exchange *exchange; /* the loop's alone */
    enum errand_kind kind;
    enum arm_method method;
    struct buf target, body;
    struct buf if_match, if_none_match, base_url; /* texts of headers */
    struct buf client_request_id, correlation_id;
    char app_id[PRINCIPAL_ID_SIZE], object_id[PRINCIPAL_ID_SIZE]; /* who asks */
    char name[TOKEN_TEXT_SIZE];
    bool is_own; /* its token is from our own token service */
    bool returns_client_id;
    char request_id[PRINCIPAL_GUID_SIZE];
    struct arm_health *health; /* owned; its texts are of the next. NULL when it does not matter */
    size_t n_health, health_capacity;
    struct arena health_texts;
    struct arm_answer answer;
    struct buf bearer; /* the token that was shown, as long as it is to be judged; wiped */
    struct issuers_waiter waiter; /* for the keys of the token's issuer */
    bool has_waited;
    /* A read whose answer others may get too, and the world it was answered in (reads.h) */
    bool is_keepable;
    uint64_t world;
    /* ERRAND_TOKEN, and ERRAND_PRINCIPAL on its way to the thread */
    struct principal principal;
    bool is_found;
    struct buf secret; /* shown by the caller, or made for it; wiped */
    struct buf audience, resource, issuer;
    bool is_msi;
    enum service_refusal refusal;
    enum slow_lane_name lane; /* slow.c: what the pool does for it */
    void (*slow)(void *arg), (*after_slow)(void *arg);
    struct rsa_key *key; /* counted: it signs the token */
    bool is_rotating;    /* the round that runs is for it too (upkeep.c) */
    struct buf token;
    /* tokenizer.c: the file that a model names, and how it was found; one that is good is the host's to
     * keep as it was found until the errand is done */
    struct buf tokenizer;
    bool must_read_tokenizer, has_read_tokenizer;
    enum status tokenizer_st;
    struct problem tokenizer_why;
};

/* notices.c: whether a webhook may go to this host, as far as the host alone tells: what is no public
 * address, or a name of this machine, only when `allowed_hosts` (control_settings.webhook_hosts) has it.
 * Any thread. */
bool notices_may_go_to(const char *allowed_hosts, struct str host);

/* notices.c: webhooks. All accept NULL for `n`, which keeps nothing. */
struct notices;
struct notices *notices_new(struct loop *l, struct tls_context *tls,
                            const char *allowed_hosts);           /* takes a reference */
void notices_set_tls(struct notices *n, struct tls_context *tls); /* on the loop; likewise */
/* The control thread: those of the changes wait for notices_send, once the changes are on the disk, or
 * for notices_drop. */
void notices_hold(struct notices *n, const struct arm_changes *changes);
void notices_send(struct notices *n);
void notices_drop(struct notices *n);
void notices_end(struct notices *n);  /* on the loop, when the thread has ended */
void notices_free(struct notices *n); /* when the loop no longer runs */

/* errand.c, on the loop. Those that answer free the errand, at once when the client has left. */
struct errand *errand_new(struct door *d, struct exchange *x, enum errand_kind kind);
void errand_free(struct errand *e);
void errand_reply(struct errand *e); /* its answer */
void errand_reply_kept(struct errand *e, const struct reads_answer *kept);
void errand_refuse(struct errand *e, int status, const char *code, const char *text);
/* Hands it over, or refuses when we are leaving. */
void errand_to_thread(struct errand *e);
/* A text that may be cut, into `size` bytes with its NUL. */
void errand_set_text(char *out, size_t size, struct str s);

/* slow.c: what takes long, on the pool. On the loop. */
struct slow {
    struct control *control;
    struct slow_lane {
        struct list waiting; /* of struct errand */
        int n_waiting, n_running;
    } lanes[SLOW_LANE_COUNT];
    void (*ended)(struct control *c); /* once nothing more begins */
};
void slow_init(struct slow *s, struct control *c);
void slow_destroy(struct slow *s); /* nothing runs */
/* `work` on the pool when it is its turn, then `after` on the loop. False when too many wait, or we are
 * leaving. */
bool slow_begin(struct errand *e, enum slow_lane_name lane, void (*work)(void *arg),
                void (*after)(void *arg)) MUST_USE;
/* Refuses what slow_begin did not take: with `text` when too many wait. */
void slow_refuse(struct errand *e, const char *text);
/* Begins no more slow work, and tells when none is under way: perhaps at once. */
void slow_end(struct slow *s, void (*ended)(struct control *c));

/* tokens.c: the token service, on the loop. */
/* True when the path was one of the token service's, and is answered. */
bool tokens_serve(struct errand *e, const struct http_head *head, struct str path,
                  struct str query) MUST_USE;
/* The thread has looked for the principal that wants a token. */
void tokens_answer(struct errand *e);

/*
 * tokenizer.c: a model may name a tokenizer.json, and to read one takes up to a second. On the thread `ask`
 * tells what is known of it; when nothing is, it refuses and marks the errand in hand, which then does not leave
 * but goes to the pool with `begin` (on the loop), and to the thread once more. Only who may make models gets so far.
 */
enum status tokenizer_ask(struct control *c, struct str path, struct problem *why) MUST_USE;
void tokenizer_begin(struct errand *e);
void tokenizer_forget(struct errand *e); /* what was read for it; any thread that has the errand */

/* The listener: on one loop. */
struct door {
    struct control *control;
    struct server *server;
    struct token_checker *checker;
    struct reads *reads;
    struct slow slow;
};
struct door *door_new(struct control *c); /* on c->loop */
enum status door_listen(struct door *d, const char *host, int *port, struct tls_context *tls,
                        struct problem *why) MUST_USE;
void door_free(struct door *d); /* NULL is fine */

/* Any thread: the control thread is done with it. */
void door_answer(struct errand *e);

/* upkeep.c: what is renewed while the process runs. All on the loop. */
struct upkeep {
    struct loop_timer *timer;
    struct list rotating; /* of struct errand: they wait for another key */
    bool is_running, must_reload, has_ended;
    void (*reloaded)(void *arg, enum status st, const struct problem *why);
    void *reloaded_arg;
    void (*ended)(struct control *c);
};
void upkeep_start(struct control *c);
void upkeep_rotate(struct control *c, struct errand *e); /* takes the errand over, and answers it */
void upkeep_end(struct control *c, void (*ended)(struct control *c)); /* perhaps at once */

/* The names in a setting; how many. */
size_t control_names(const struct control *c, struct str *out, size_t max);

/* Makes the set of those whose tokens are believed anew, and hands it to all. On the loop. */
void control_publish_trust(struct control *c);

/* The queue, any thread; false (and the errand stays the caller's) when the thread takes no more. */
bool control_send(struct control *c, struct errand *e) MUST_USE;

struct control {
    struct control_host host;
    struct siphash_key hash;
    char *folder, *names, *data_url, *cert_file, *key_file, *admin_path; /* owned */
    struct vault vault;
    struct tls_context *tls;
    char tenant_id[PRINCIPAL_GUID_SIZE], client_id[PRINCIPAL_GUID_SIZE];
    char client_secret[SECRET_SIZE];
    struct issuers *issuers;
    char *webhook_hosts; /* owned */
    int64_t token_key_s;
    int64_t accounts_per_location, standard_deployments_per_account; /* as struct arm_settings */
    struct upkeep upkeep;
    int port, busy_ms;
    bool has_vault, is_running;

    pthread_mutex_t trust_lock; /* of the next, which the first loop alone replaces */
    struct trust *trust;
    _Atomic(int64_t) trust_generation; /* changes with it */

    struct loop *loop;      /* owned; our own */
    struct loop *host_loop; /* of control_start; see host.c */
    pthread_t loop_thread;
    struct door *door;
    struct notices *notices;
    pthread_t thread;
    void (*stopped)(void *arg);
    void *stopped_arg;

    pthread_mutex_t lock; /* of the queue below */
    pthread_cond_t wake;
    struct list queue; /* of struct errand */
    bool must_end;

    pthread_mutex_t grants_lock;
    struct grants *grants;              /* one reference; see guard.c */
    _Atomic(int64_t) grants_generation; /* changes with it */

    _Atomic(uint64_t) world; /* raised by the thread when anything has changed (reads.h) */

    /* The thread's alone, from control_start on. */
    struct store *store;
    struct arm *arm;
    struct errand *in_hand; /* whose request arm has; NULL at the start */
    struct json_doc *doc;
    struct arm_changes changes;
    struct buf principals, operators; /* scratch */
    struct principal known;           /* who asked last, as long as no principal changes */
    bool is_known;
    int64_t keep_by_ms;  /* when the rows in `changes` are kept at the latest */
    bool is_store_open;  /* a transaction is */
    bool has_new_grants; /* roles or principals have changed */
    bool has_changed;    /* anything has, since `world` was raised */
};

/* control.c: what requests may ask of the process. */
struct arm_outside control_outside(struct control *c);

/* thread.c */
void control_run(struct control *c);
enum status control_load_arm(struct control *c, struct problem *why) MUST_USE;
enum status control_keep(struct control *c, struct problem *why) MUST_USE;  /* rows of `changes` */
enum status control_begin(struct control *c, struct problem *why) MUST_USE; /* once is enough */
enum status control_commit(struct control *c, struct problem *why) MUST_USE;

/* Writes one row outside of arm's tables, or deletes it when the body is empty; control_commit follows. */
enum status control_put(struct control *c, struct str table, struct str key, struct str body,
                        struct problem *why) MUST_USE;

/* guard.c: hands what roles say now to the data plane; and lets go of it. */
enum status guard_publish(struct control *c, struct problem *why) MUST_USE;
void guard_forget(struct control *c);

/* On the thread: whether this is the object id of one of our own principals. Nobody else's token may say
 * so. */
bool guard_is_ours(const struct control *c, struct str object_id);

/* principals.c: ERRAND_PRINCIPAL and ERRAND_TOKEN, on the thread. */
enum status principals_find(struct control *c, struct str app_id, struct principal *out,
                            bool *found, struct problem *why) MUST_USE;
enum status principals_put(struct control *c, const struct principal *p,
                           struct problem *why) MUST_USE;
void principals_answer(struct control *c, struct errand *a);

/* On the loop: an ERRAND_PRINCIPAL about this one, or about all when it is "", and for a new one its secret. */
void principals_begin(struct errand *e, struct str app_id);

/* host.c: between our own loop and the host's. */
void host_start(struct control *c); /* a thread runs our loop from here on */
void host_stop(struct control *c);  /* on our loop: nothing is left to do; tells who stopped us */
/* Sends it to the thread with what the data plane's loops know of backends. */
void host_ask_health(struct errand *e);

/* control.c: on our loop, what control_stop and control_reload order. */
void control_end(struct control *c);
void upkeep_reload(struct control *c,
                   void (*done)(void *arg, enum status st, const struct problem *why), void *arg);

#endif
