/* control.h - the control plane of one process: store, identity, and the listener that ARM's clients call. */
#ifndef CONTROL_CONTROL_H
#define CONTROL_CONTROL_H

#include "arm/arm.h"
#include "base/buf.h"
#include "base/siphash.h"
#include "base/status.h"
#include "net/loop.h"

/*
 * One thread owns everything that is managed: the rows on disk (store) and the same in memory (arm).
 * Loops parse requests, check tokens and hand the rest over; what gathers while the thread waits for the
 * disk is its next batch, and a batch costs one wait for the disk however many changes it holds. An
 * answer leaves when its change is on the disk and in force on every loop of the data plane.
 *
 * The data plane never waits for this thread, and this thread never holds what the data plane needs:
 * they meet in the configuration that is handed over whole (struct control_host).
 */
struct control;

/* What the data plane is to do from now on. */
struct control_news {
    bool is_all;          /* the documents are all there are */
    struct str documents; /* JSON, JSON_PADDING readable bytes behind it */
    /* Else they are those of these accounts (keys of their ids, resource_id_key), and those that they
     * do not name are gone. */
    const struct str *accounts;
    size_t n_accounts;
};

/* The rest of the process, as this room sees it. */
struct control_host {
    /* On the control thread: puts the news in force and returns when every loop obeys them. */
    enum status (*obey)(void *arg, const struct control_news *news, struct problem *why);
    /* On the loop of control_start: tells of each backend that takes calls, or still has some. */
    void (*health)(void *arg, void (*each)(void *to, const struct arm_health *h), void *to);
    /* On a thread of the pool, one at a time, or before control_start: whether a model may name
     * this tokenizer.json (struct arm_outside). NULL: any. */
    enum status (*tokenizer)(void *arg, struct str path, struct problem *why);
    /* Called once for each file that was found good, when its change has been answered: until then models
     * of this path count by what was found good. Any thread, and quick. NULL: nobody minds. */
    void (*tokenizer_done)(void *arg, struct str path);
    void *arg;
};

struct control_settings {
    const char *folder;               /* the data folder */
    const char *names;                /* of the server certificate, separated by commas */
    const char *cert_file, *key_file; /* a certificate of one's own; "" makes one */
    int64_t cert_validity_s;          /* of the one that is made [397 days] */
    int64_t token_key_s;              /* after which another key signs tokens [never] */
    const char *issuers;       /* believed too; as identity/issuer.h, with commas between them */
    const char *webhook_hosts; /* that webhooks may name whatever their address; with commas */
    const char *data_url;      /* what accounts show as their endpoint; "{account}" is replaced */
    int64_t accounts_per_location;            /* of a kind and subscription [30] */
    int64_t standard_deployments_per_account; /* [32] */
    int busy_ms; /* how long a change waits for a locked database [10,000] */
};

/* The service principal that the first start makes: a line for the operator, and a file for scripts. */
#define CONTROL_ADMIN_FILE "operator.json"

/*
 * Opens the data folder: keys and certificates, the database, and all that stands in it. Makes what a
 * first start lacks, and one service principal that may do everything, whose secret is written to
 * CONTROL_ADMIN_FILE (mode 0600), where `weir apply` and `weir principal` find it. Synchronous.
 */
enum status control_open(const struct control_settings *settings, const struct siphash_key *hash,
                         const struct control_host *host, struct control **out,
                         struct problem *why) MUST_USE;

/*
 * Applies one resource, as an operator would who sends PUT with this body: for resource files at
 * start. `id` names it. Before control_start. ST_BAD_REQUEST with ARM's own message in `why`.
 */
enum status control_import(struct control *c, struct str id, struct str body,
                           struct problem *why) MUST_USE;

/* Makes durable what was imported, and appends the documents to be put in force first. Before
 * control_start. */
enum status control_documents(struct control *c, struct buf *out, struct problem *why) MUST_USE;

/* What accounts show as their endpoint from now on, when it is known late. Before control_start. */
void control_set_data_url(struct control *c, const char *url);

/* Listens, on a loop of its own, and starts its threads; `loop` is the host's, on which it is stopped; the first documents are in force. `*port` 0 takes a free one. */
enum status control_start(struct control *c, struct loop *loop, const char *host, int *port,
                          struct problem *why) MUST_USE;

/* Tells where it can be reached in CONTROL_ADMIN_FILE. */
void control_announce(struct control *c, const char *url);

/*
 * On the loop: reads anew what may change under a running process, off the loop: the listener's certificate
 * and the authorities that are trusted; and fetches the keys of outside issuers. `done` comes later, on the
 * loop: when a file will not do, `st` and `why` tell, and all stays as it was. No second one before that.
 */
void control_reload(struct control *c,
                    void (*done)(void *arg, enum status st, const struct problem *why), void *arg);

/* On the loop: takes no more requests, finishes the batch in hand, then calls `done` there. The loops
 * must go on running until then. */
void control_stop(struct control *c, void (*done)(void *arg), void *arg);

/* After control_stop, or without control_start. NULL is fine. */
void control_close(struct control *c);

/*
 * Bearer tokens on the data plane: one guard for each loop, which it alone uses, from control_start to
 * control_close. `control_guard_caller` is the object id of whoever holds the token, valid until its next
 * call, "" when the token is not believed. A role that is taken away counts from the moment in which its
 * deletion was answered.
 */
struct control_guard;
struct control_guard *control_guard_new(struct control *c);
void control_guard_free(struct control_guard *g); /* accepts NULL */
struct str control_guard_caller(struct control_guard *g, struct str token);
bool control_guard_may(struct control_guard *g, struct str caller, struct str data_action,
                       struct str scope);

/* For what is printed at start. Valid as long as `c`; the secret is "" unless this start made it. */
struct control_facts {
    const char *ca_file, *tenant_id, *client_id, *client_secret, *admin_file;
};
struct control_facts control_facts(const struct control *c);

#endif
