/* serve_private.h - the process of `weir serve`, for the files that its parts stand in. */
#ifndef CMD_SERVE_PRIVATE_H
#define CMD_SERVE_PRIVATE_H

#include "call/call.h"
#include "cmd/load.h"
#include "cmd/serve.h"
#include "cmd/vocabularies.h"
#include "gateway/counting.h"
#include "gateway/gateway.h"
#include "ops/ops.h"

#include <pthread.h>

/* One loop with its data plane; the first runs on the main thread and has the control of all. */
struct worker {
    struct app *app;
    struct loop *loop;
    struct gateway *gateway;
    struct control_guard *guard; /* owned; NULL without a control plane */
    struct call_guard call_guard;
    pthread_t thread;
};

/* The process. Everything here belongs to the first loop. */
struct app {
    const struct settings *settings;
    struct gateway_settings gateway_settings;
    struct counting *counting; /* owned */
    struct siphash_key hash;
    struct live *live;
    struct plan *plan;
    struct plan_yard yard;              /* any thread */
    struct vocabulary_files tokenizers; /* any thread */
    struct snapshot *obeyed; /* one reference; the control thread's alone, while it runs */
    struct log *log;
    struct tls_context *tls;
    struct ops *ops;
    struct control *control; /* NULL: resource files alone */
    struct worker *workers;
    int n_workers, n_draining;
    struct loop_timer *save_timer, *housekeep_timer;
    char *levels_path; /* owned; NULL without a data folder */
    const struct metrics_shard **shards;
    bool is_ready, is_draining, is_ending, is_saving, is_loading, must_load_again;
    bool has_complained; /* that levels are not saved */
    bool is_control_running;
};

/* Whether a setting says that there is no such thing. */
bool serve_is_none(const char *setting);

/* HOST:PORT of a setting, whose name goes into `why`. */
enum status serve_split(const char *text, const char *setting, char *host, int *port,
                        struct problem *why) MUST_USE;

/* On the first loop: something that the end of the process waits for is over. */
void serve_end_if_due(struct app *a);

/* --- levels that survive a restart (serve_levels.c) --- */

/* Before the first configuration is bound to them. Complains on stderr, and goes on. */
void serve_levels_recall(struct app *a);

/* A timer's, on the first loop: saves them off the loop, since a slow disk must not delay a call. */
void serve_levels_save(void *app);

/* After every call is settled; waits for the disk. */
void serve_levels_save_last(struct app *a);

/* --- what the loops serve by (serve_config.c) --- */

/* The first configuration, before the loops run; takes over the reference to `s`. */
enum status serve_config_first(struct app *a, struct snapshot *s, struct problem *why) MUST_USE;

/* For struct control_host: what the control plane says is what every loop does when this returns. On
 * the control thread. */
enum status serve_config_obey(void *app, const struct control_news *news,
                              struct problem *why) MUST_USE;

/* Reads files anew and tells on stderr what came of it. On the first loop; a second time while it is
 * at work is remembered once. */
void serve_config_reload(struct app *a);

/* --- what joins data plane and control plane (serve_control.c) --- */

/* Opens the control plane's database; what it has is the first configuration. */
enum status serve_control_load(struct app *a, struct snapshot **out, struct problem *why) MUST_USE;

/* Its listener, once those of the data plane are open; from then on tokens are good for calls. */
enum status serve_control_open(struct app *a, struct serve_ports *ports,
                               struct problem *why) MUST_USE;

#endif
