#include "cmd/serve.h"

#include "call/call.h"
#include "call/tokenize.h"
#include "cmd/load.h"
#include "cmd/vocabularies.h"
#include "gateway/counting.h"
#include "gateway/gateway.h"
#include "ops/ops.h"
#include "os/os.h"
#include "json/json.h"

#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

enum { LEVELS_MAX = 64 << 20, DOCUMENTS_MAX = 1 << 30, SAVE_MS = 1000, HOUSEKEEP_MS = 3600000 };

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

/*
 * Ends the loops, once nothing is under way off them: a file that is still being loaded would be
 * handed to data planes that are gone, and levels still being written would go over the last ones.
 */
static void on_control_stopped(void *arg);

static void stop_all(struct app *a) {
    bool is_first = !a->is_ending;
    a->is_ending = true;
    if (is_first && a->is_control_running)
        control_stop(a->control, on_control_stopped, a);
    if (a->is_saving || a->is_loading || a->is_control_running)
        return; /* their ends call this again */
    for (int i = 0; i < a->n_workers; i++)
        loop_stop(a->workers[i].loop);
}

static void on_control_stopped(void *arg) {
    struct app *a = arg;
    a->is_control_running = false;
    stop_all(a);
}

static void stop_if_ending(struct app *a) {
    if (a->is_ending)
        stop_all(a);
}

/* --- levels that survive a restart --- */

static void recall_levels(struct app *a) {
    struct buf text;
    struct problem why = {0};
    if (!a->levels_path)
        return;
    buf_init(&text, LEVELS_MAX);
    /* A folder without the file is new: all deployments begin empty. */
    if (os_read_file(a->levels_path, &text, JSON_PADDING, &why) == ST_OK &&
        live_recall(a->live, text.p ? text.p : "", text.len, os_wall_us(), &why) != ST_OK)
        fprintf(stderr, "weir: warning: %s: %s\n", a->levels_path, why.message);
    buf_destroy(&text);
}

struct save {
    struct app *app;
    struct buf text;
    struct problem why;
    enum status st;
};

static void save_work(void *arg) {
    struct save *s = arg;
    plan_yard_clear(&s->app->yard); /* not its own business, but it is off the loops, and often */
    s->st = os_replace_file(s->app->levels_path, buf_view(&s->text), &s->why);
}

static void save_free(struct save *s) {
    /* Once, not every second, until it works again. */
    if (s->st != ST_OK && !s->app->has_complained)
        fprintf(stderr, "weir: warning: levels are not saved: %s\n", s->why.message);
    s->app->has_complained = s->st != ST_OK;
    buf_destroy(&s->text);
    free(s);
}

static void save_done(void *arg) {
    struct save *s = arg;
    s->app->is_saving = false;
    stop_if_ending(s->app);
    save_free(s);
}

static struct save *save_new(struct app *a) {
    struct save *s = xcalloc(1, sizeof *s);
    s->app = a;
    buf_init(&s->text, LEVELS_MAX);
    live_save(a->live, os_wall_us(), &s->text);
    return s;
}

/* Every second, off the loop: a slow disk must not delay a call. */
static void on_save(void *arg) {
    struct app *a = arg;
    if (a->is_saving || a->is_ending)
        return;
    a->is_saving = true;
    loop_work(a->workers[0].loop, save_work, save_done, save_new(a));
}

static void save_now(struct app *a) {
    if (!a->levels_path)
        return;
    struct save *s = save_new(a);
    save_work(s);
    save_free(s);
}

static void on_housekeep(void *arg) {
    struct app *a = arg;
    live_housekeep(a->live);
}

/* --- configuration --- */

/* Makes a snapshot the one that is served: binds it to the levels, then hands it to every loop. */
static enum status make_plan(struct app *a, struct snapshot *s, struct vocabulary_set *vocabularies,
                             struct plan **out, struct problem *why) {
    enum status st = plan_new(s, NULL, &a->yard, out, why);
    if (st == ST_OK) {
        plan_count_by(*out, vocabularies);
        plan_bind(*out, live_bind(a->live, s));
    } else {
        vocabulary_set_unref(vocabularies);
    }
    snapshot_unref(s);
    return st;
}

/* What models name as their tokenizers. What files say must be right; what the control plane has may
 * have been right once. */
static enum status load_vocabularies(struct app *a, const struct snapshot *s,
                                     struct vocabulary_set **out, struct problem *why) {
    return vocabulary_files_load(&a->tokenizers, snapshot_catalog(s), !a->control, out, why);
}

/* Both, where waiting for the disk keeps nobody. */
static enum status make_first_plan(struct app *a, struct snapshot *s, struct problem *why) {
    struct vocabulary_set *vocabularies;
    enum status st = load_vocabularies(a, s, &vocabularies, why);
    if (st != ST_OK) {
        snapshot_unref(s);
        return st;
    }
    return make_plan(a, s, vocabularies, &a->plan, why);
}

/* One configuration on its way to all loops, and who waits for it. */
struct obeying {
    struct app *app;
    struct snapshot *snapshot;
    struct plan *plan; /* NULL for a patch, which has the backends of the plan that is in force */
    int n_left;        /* loops */
    pthread_mutex_t lock;
    pthread_cond_t done;
};

static void obeyed(struct obeying *o, int n) {
    pthread_mutex_lock(&o->lock);
    o->n_left -= n;
    if (o->n_left == 0)
        pthread_cond_signal(&o->done);
    pthread_mutex_unlock(&o->lock); /* `o` may be gone now */
}

struct swap {
    struct worker *worker;
    struct plan *plan;
    struct obeying *obeying; /* NULL: nobody waits */
};

static void swap_on_loop(void *arg) {
    struct swap *s = arg;
    gateway_swap(s->worker->gateway, s->plan);
    plan_unref(s->plan);
    if (s->obeying)
        obeyed(s->obeying, 1);
    free(s);
}

static void publish(struct app *a, struct plan *plan, struct obeying *obeying) {
    for (int i = 0; i < a->n_workers; i++) {
        struct swap *s = xcalloc(1, sizeof *s);
        *s = (struct swap){&a->workers[i], plan_ref(plan), obeying};
        loop_post(a->workers[i].loop, swap_on_loop, s);
    }
    plan_unref(a->plan);
    a->plan = plan;
}

/* On the first loop, where levels are bound. */
static void adopt(void *arg) {
    struct obeying *o = arg;
    struct app *a = o->app;
    if (!o->plan) {
        enum status st = plan_new(o->snapshot, a->plan, &a->yard, &o->plan, NULL);
        assert(st == ST_OK); /* nothing is read */
    }
    plan_bind(o->plan, live_bind(a->live, o->snapshot));
    publish(a, o->plan, o);
}

/* All that takes time, and all that may fail. */
static enum status prepare(struct obeying *o, const struct control_news *news,
                           struct problem *why) {
    struct app *a = o->app;
    if (!news->is_all)
        return load_patch("control plane", news->documents, a->obeyed, news->accounts,
                          news->n_accounts, &o->snapshot, why);
    TRY(load_documents("control plane", news->documents, &a->hash, &o->snapshot, why));
    struct vocabulary_set *vocabularies = NULL;
    enum status st = load_vocabularies(a, o->snapshot, &vocabularies, why);
    if (st == ST_OK)
        st = plan_new(o->snapshot, NULL, &a->yard, &o->plan, why);
    if (st == ST_OK) {
        plan_count_by(o->plan, vocabularies);
    } else {
        vocabulary_set_unref(vocabularies);
        snapshot_unref(o->snapshot);
    }
    return st;
}

/* On the control thread: what the control plane says is what every loop does when this returns. */
static enum status obey(void *arg, const struct control_news *news, struct problem *why) {
    struct app *a = arg;
    struct obeying o = {.app = a, .n_left = a->n_workers};
    TRY(prepare(&o, news, why));
    pthread_mutex_init(&o.lock, NULL);
    pthread_cond_init(&o.done, NULL);
    loop_post(a->workers[0].loop, adopt, &o);
    pthread_mutex_lock(&o.lock);
    while (o.n_left > 0)
        pthread_cond_wait(&o.done, &o.lock);
    pthread_mutex_unlock(&o.lock);
    pthread_cond_destroy(&o.done);
    pthread_mutex_destroy(&o.lock);
    snapshot_unref(a->obeyed);
    a->obeyed = o.snapshot;
    plan_yard_clear(&a->yard);
    return ST_OK;
}

/* Files read anew: the data plane's certificate, and resources where they are files. */
struct load {
    struct app *app;
    struct snapshot *snapshot; /* with a control plane the one that is served */
    struct vocabulary_set *vocabularies;
    struct problem why;
    enum status st;
};

static void load_work(void *arg) {
    struct load *l = arg;
    const struct settings *s = l->app->settings;
    plan_yard_clear(&l->app->yard);
    l->st = ST_OK;
    if (!l->app->control)
        l->st = load_snapshot(s->resources, &l->app->hash, &l->snapshot, &l->why);
    if (l->st != ST_OK)
        return;
    l->st = load_vocabularies(l->app, l->snapshot, &l->vocabularies, &l->why);
    if (l->st == ST_OK && l->app->tls)
        l->st = tls_server_reload(l->app->tls, s->tls_cert, s->tls_key, &l->why);
    if (l->st != ST_OK) {
        vocabulary_set_unref(l->vocabularies);
        snapshot_unref(l->snapshot);
    }
}

static void begin_load(struct app *a);

static void end_load(struct app *a, enum status st, const struct problem *why) {
    if (st == ST_OK)
        fprintf(stderr, "weir: configuration reloaded%s\n",
                a->control ? ": certificates, authorities and issuers' keys; resources are the "
                             "control plane's, change them there or with `weir apply`"
                           : "");
    else
        fprintf(stderr, "weir: configuration not reloaded, the old one stays: %s: %s\n",
                why->target, why->message);
    a->is_loading = false;
    if (a->must_load_again)
        begin_load(a);
    stop_if_ending(a);
}

static void on_control_reloaded(void *arg, enum status st, const struct problem *why) {
    end_load(arg, st, why);
}

static void load_done(void *arg) {
    struct load *l = arg;
    struct app *a = l->app;
    struct plan *plan;
    if (l->st == ST_OK) {
        /* With a control plane the same resources once more: what their backends trust is read anew. */
        struct snapshot *now = plan_view(a->plan)->snapshot;
        if (!a->control) {
            load_print_warnings(l->snapshot);
        } else if (now != l->snapshot) {
            snapshot_unref(l->snapshot); /* changed meanwhile; perhaps it names other tokenizers */
            l->snapshot = snapshot_ref(now);
            a->must_load_again = true;
        }
        l->st = make_plan(a, l->snapshot, l->vocabularies, &plan, &l->why);
        if (l->st == ST_OK)
            publish(a, plan, NULL);
    }
    if (l->st == ST_OK && a->control && !a->is_ending)
        control_reload(a->control, on_control_reloaded, a);
    else
        end_load(a, l->st, &l->why);
    free(l);
}

static void begin_load(struct app *a) {
    a->must_load_again = a->is_loading;
    if (a->is_loading || a->is_draining)
        return;
    a->is_loading = true;
    struct load *l = xcalloc(1, sizeof *l);
    l->app = a;
    if (a->control)
        l->snapshot = snapshot_ref(plan_view(a->plan)->snapshot);
    loop_work(a->workers[0].loop, load_work, load_done, l);
}

/* --- signals --- */

static void on_hangup(void *arg) {
    begin_load(arg);
}

static void flush_on_loop(void *arg) {
    struct worker *w = arg;
    gateway_flush_log(w->gateway);
}

static void on_user1(void *arg) {
    struct app *a = arg;
    if (a->is_ending)
        return; /* all is flushed anyway, and the loops may not come to it any more */
    for (int i = 0; i < a->n_workers; i++)
        loop_post(a->workers[i].loop, flush_on_loop, &a->workers[i]);
    if (a->log)
        log_reopen(a->log);
}

/* On the first loop: one more loop has nothing left to do. */
static void on_worker_drained(void *arg) {
    struct app *a = arg;
    if (--a->n_draining == 0)
        stop_all(a);
}

/* On the worker's own loop. */
static void tell_drained(void *arg) {
    struct worker *w = arg;
    loop_post(w->app->workers[0].loop, on_worker_drained, w->app);
}

static void drain_on_loop(void *arg) {
    struct worker *w = arg;
    gateway_drain(w->gateway, w->app->settings->drain_grace_ms, tell_drained, w);
}

static void on_terminate(void *arg) {
    struct app *a = arg;
    if (a->is_draining) {
        stop_all(a); /* asked twice: at once */
        return;
    }
    a->is_draining = true;
    a->n_draining = a->n_workers;
    fprintf(stderr, "weir: finishing the calls in hand\n");
    for (int i = 0; i < a->n_workers; i++)
        loop_post(a->workers[i].loop, drain_on_loop, &a->workers[i]);
}

/* --- operations --- */

static struct live_view *ops_view(void *arg) {
    struct app *a = arg;
    return plan_view(a->plan);
}

static enum status ops_tokenize(void *arg, struct str body, struct buf *out, struct problem *why) {
    struct app *a = arg;
    struct tokenize_env env = {
        .doc = json_doc_new(),
        .counters = counting_borrow(a->counting),
        .catalog = snapshot_catalog(plan_view(a->plan)->snapshot),
        .vocabularies = plan_vocabularies(a->plan),
    };
    enum status st = tokenize_answer(&env, body, out, why);
    counting_give_back(a->counting, env.counters);
    json_doc_free(env.doc);
    return st;
}

static const char *ops_not_ready(void *arg) {
    struct app *a = arg;
    if (a->is_draining)
        return "draining";
    return a->is_ready ? NULL : "starting";
}

/* --- listeners --- */

static bool is_none(const char *address) {
    return strcmp(address, "none") == 0 || address[0] == '\0';
}

static enum status split(const char *text, const char *setting, char *host, int *port,
                         struct problem *why) {
    if (address_split(text, host, port))
        return ST_OK;
    return problem_set(why, ST_BAD_REQUEST, str_of(setting),
                       "\"%s\" is not an address; expected HOST:PORT", text);
}

/* Opens one address on every loop. The first takes it alone, so that a second process on the same
 * address fails instead of sharing its connections. */
static enum status listen_all(struct app *a, const char *host, int *port, struct tls_context *tls,
                              struct problem *why) {
    if (*port)
        TRY(listener_probe(host, *port, why));
    for (int i = 0; i < a->n_workers; i++)
        TRY(server_listen(gateway_server(a->workers[i].gateway), host, *port, tls, port, why));
    return ST_OK;
}

static struct str caller_of(void *arg, struct str token) {
    return control_guard_caller(arg, token);
}

/* The roles' names for what each operation does (Azure's list of data actions). */
static bool may_call(void *arg, struct str caller, enum operation op, struct str account_id) {
    static const struct str actions[] = {
        [OP_CHAT] = STR_INIT(
            "Microsoft.CognitiveServices/accounts/OpenAI/deployments/chat/completions/action"),
        [OP_COMPLETIONS] =
            STR_INIT("Microsoft.CognitiveServices/accounts/OpenAI/deployments/completions/action"),
        [OP_EMBEDDINGS] =
            STR_INIT("Microsoft.CognitiveServices/accounts/OpenAI/deployments/embeddings/action"),
        [OP_RESPONSES] = STR_INIT("Microsoft.CognitiveServices/accounts/OpenAI/responses/write"),
        [OP_MODELS] = STR_INIT("Microsoft.CognitiveServices/accounts/OpenAI/models/read"),
        [OP_DEPLOYMENTS] = STR_INIT("Microsoft.CognitiveServices/accounts/OpenAI/deployments/read"),
    };
    return control_guard_may(arg, caller, actions[op], account_id);
}

/* What one backend is like now, for the control plane. */
struct health_teller {
    void (*each)(void *to, const struct arm_health *h);
    void *to;
    int64_t now_ns, now_ms;
};

static void tell_health(void *arg, const struct live_backend *b, bool is_named) {
    const struct health_teller *t = arg;
    int error = atomic_load(&b->error);
    int64_t in_flight = metric_read(&b->attempts);
    for (size_t i = 0; i < ARRAY_LEN(b->outcomes); i++)
        in_flight -= metric_read(&b->outcomes[i]);
    int64_t open_ns = atomic_load(&b->balance.open_until_ns) - t->now_ns;
    int64_t busy_ns = atomic_load(&b->balance.blocked_until_ns) - t->now_ns;
    struct arm_health h = {.id = str_of(b->id),
                           .in_flight = i64_max(in_flight, 0),
                           .error_status = error > 0 ? error : 0,
                           .state = !is_named                              ? ARM_LEAVING
                                    : open_ns > 0                          ? ARM_EJECTED
                                    : atomic_load(&b->balance.open_ms) > 0 ? ARM_PROBING
                                    : busy_ns > 0                          ? ARM_BUSY
                                                                           : ARM_HEALTHY};
    if (h.state == ARM_EJECTED || h.state == ARM_BUSY)
        h.until_ms = t->now_ms + (h.state == ARM_EJECTED ? open_ns : busy_ns) / 1000000;
    if (error) {
        h.error = error > 0 ? STR("It answered with this status.")
                            : status_info((enum status) - error)->text;
        h.error_at_ms = t->now_ms - (t->now_ns - atomic_load(&b->error_ns)) / 1000000;
    }
    t->each(t->to, &h);
}

/* On the first loop. */
static void health(void *arg, void (*each)(void *to, const struct arm_health *h), void *to) {
    struct app *a = arg;
    struct health_teller t = {each, to, os_now_ns(), os_wall_us() / 1000};
    live_each_backend(a->live, tell_health, &t);
}

static enum status check_tokenizer(void *arg, struct str path, struct problem *why) {
    struct app *a = arg;
    return vocabulary_files_check(&a->tokenizers, path, why);
}

static enum status open_control(struct app *a, struct serve_ports *ports, struct problem *why) {
    const struct settings *s = a->settings;
    char url[300];
    if (!s->data_url[0]) {
        snprintf(url, sizeof url, "%s://%s:%d/", ports->http ? "http" : "https",
                 ports->http ? ports->http_host : ports->https_host,
                 ports->http ? ports->http : ports->https);
        control_set_data_url(a->control, url);
    }
    TRY(split(s->control_listen, "control-listen", ports->control_host, &ports->control, why));
    TRY(control_start(a->control, a->workers[0].loop, ports->control_host, &ports->control, why));
    a->is_control_running = true;
    for (int i = 0; i < a->n_workers; i++) {
        struct worker *w = &a->workers[i];
        w->guard = control_guard_new(a->control);
        w->call_guard = (struct call_guard){caller_of, may_call, w->guard};
        gateway_set_guard(w->gateway, &w->call_guard);
    }
    snprintf(url, sizeof url, "https://%s:%d",
             strcmp(ports->control_host, "127.0.0.1") == 0 ? "localhost" : ports->control_host,
             ports->control);
    control_announce(a->control, url);
    ports->facts = control_facts(a->control);
    return ST_OK;
}

static enum status open_listeners(struct app *a, struct serve_ports *ports, struct problem *why) {
    const struct settings *s = a->settings;
    *ports = (struct serve_ports){0};
    if (!is_none(s->listen)) {
        TRY(split(s->listen, "listen", ports->http_host, &ports->http, why));
        TRY(listen_all(a, ports->http_host, &ports->http, NULL, why));
    }
    if (!is_none(s->tls_listen)) {
        if (!s->tls_cert[0] || !s->tls_key[0])
            return problem_set(
                why, ST_BAD_REQUEST, STR("tls-listen"),
                "needs tls-cert and tls-key: the files of a certificate and its key");
        TRY(tls_server_new(s->tls_cert, s->tls_key, &a->tls, why));
        TRY(split(s->tls_listen, "tls-listen", ports->https_host, &ports->https, why));
        TRY(listen_all(a, ports->https_host, &ports->https, a->tls, why));
    }
    if (!is_none(s->ops_listen)) {
        TRY(split(s->ops_listen, "ops-listen", ports->ops_host, &ports->ops, why));
        if (ports->ops)
            TRY(listener_probe(ports->ops_host, ports->ops, why));
        TRY(server_listen(ops_server(a->ops), ports->ops_host, ports->ops, NULL, &ports->ops, why));
    }
    if (!ports->http && !ports->https)
        return problem_set(why, ST_BAD_REQUEST, STR("listen"),
                           "neither listen nor tls-listen names an address");
    return a->control ? open_control(a, ports, why) : ST_OK;
}

/* --- the process --- */

static enum status open_data(struct app *a, struct problem *why) {
    const struct settings *s = a->settings;
    bool has_folder = !is_none(s->data_dir);
    if (has_folder) {
        TRY(os_make_folder(s->data_dir, why));
        size_t size = strlen(s->data_dir) + 20;
        a->levels_path = xmalloc(size);
        snprintf(a->levels_path, size, "%s/levels.jsonl", s->data_dir);
    }
    if (strcmp(s->access_log, "none") == 0)
        return ST_OK;
    if (s->access_log[0])
        return log_open(s->access_log, &a->log, why);
    if (!has_folder)
        return ST_OK;
    char path[4096];
    snprintf(path, sizeof path, "%s/access.log", s->data_dir);
    return log_open(path, &a->log, why);
}

static enum status import(void *arg, struct str id, struct str body, struct problem *why) {
    return control_import(arg, id, body, why);
}

/* The control plane's own resources, and the files' in front of them. */
static enum status load_control(struct app *a, struct snapshot **out, struct problem *why) {
    const struct settings *s = a->settings;
    struct control_host host = {obey, health, check_tokenizer, a};
    struct control_settings settings = {.folder = s->data_dir,
                                        .names = s->control_names,
                                        .cert_file = s->control_cert,
                                        .key_file = s->control_key,
                                        .cert_validity_s = s->control_cert_validity_ms / 1000,
                                        .token_key_s = s->token_key_age_ms / 1000,
                                        .issuers = "",
                                        .webhook_hosts = s->webhook_hosts,
                                        .data_url = s->data_url};
    struct buf documents;
    if (is_none(s->data_dir))
        return problem_set(why, ST_BAD_REQUEST, STR("data-dir"),
                           "a control plane needs a folder for what it keeps");
    char *issuers = str_dup(buf_view(&s->oidc_issuers));
    settings.issuers = issuers;
    enum status st = control_open(&settings, &a->hash, &host, &a->control, why);
    free(issuers);
    if (st != ST_OK)
        return st;
    if (s->resources[0])
        TRY(load_each(s->resources, import, a->control, why));
    buf_init(&documents, DOCUMENTS_MAX);
    st = control_documents(a->control, &documents, why);
    if (st == ST_OK)
        st = load_documents("control plane", buf_view(&documents), &a->hash, out, why);
    buf_destroy(&documents);
    return st;
}

static enum status load_first(struct app *a, struct problem *why) {
    struct snapshot *s = NULL;
    if (!is_none(a->settings->control_listen)) {
        TRY(load_control(a, &s, why));
        a->obeyed = snapshot_ref(s);
        recall_levels(a);
        return make_first_plan(a, s, why);
    }
    if (!a->settings->resources[0])
        return problem_set(why, ST_BAD_REQUEST, STR("resources"),
                           "--resources FILE or FOLDER is needed; `weir demo` runs an example");
    TRY(load_snapshot(a->settings->resources, &a->hash, &s, why));
    load_print_warnings(s);
    recall_levels(a);
    return make_first_plan(a, s, why);
}

static void make_workers(struct app *a) {
    const struct settings *s = a->settings;
    a->n_workers = s->loops ? (int)s->loops : os_processors();
    a->workers = xcalloc((size_t)a->n_workers, sizeof *a->workers);
    a->shards = xcalloc((size_t)a->n_workers, sizeof *a->shards);
    a->counting = counting_new();
    a->gateway_settings = (struct gateway_settings){
        .limits = {.head_bytes = (size_t)s->head_limit,
                   .body_bytes = (size_t)s->body_limit,
                   .head_ms = s->head_timeout_ms,
                   .body_ms = s->body_timeout_ms,
                   .idle_ms = s->idle_timeout_ms,
                   .stall_ms = s->stall_timeout_ms,
                   /* One body must fit, and double on the way there. */
                   .bodies_bytes = i64_max(s->body_memory / a->n_workers, 2 * s->body_limit),
                   .n_connections = (int)(s->max_connections + a->n_workers - 1) / a->n_workers},
        .n_loops = a->n_workers,
        .counting = a->counting,
    };
    for (int i = 0; i < a->n_workers; i++) {
        struct worker *w = &a->workers[i];
        w->app = a;
        w->loop = loop_new();
        loop_keep_names(w->loop, s->name_ttl_ms);
        w->gateway = gateway_new(w->loop, &a->gateway_settings, a->plan, a->log);
        a->shards[i] = gateway_metrics(w->gateway);
    }
    struct ops_source source = {.view = ops_view,
                                .not_ready = ops_not_ready,
                                .tokenize = ops_tokenize,
                                .shards = a->shards,
                                .n_shards = (size_t)a->n_workers,
                                .started_s = os_wall_us() / 1000000,
                                .arg = a};
    a->ops = ops_new(a->workers[0].loop, &source);
}

static void *run_worker(void *arg) {
    struct worker *w = arg;
    loop_run(w->loop);
    return NULL;
}

static void run_loops(struct app *a) {
    struct loop *first = a->workers[0].loop;
    loop_on_signal(first, SIGTERM, on_terminate, a);
    loop_on_signal(first, SIGINT, on_terminate, a);
    loop_on_signal(first, SIGHUP, on_hangup, a);
    loop_on_signal(first, SIGUSR1, on_user1, a);
    if (a->levels_path)
        a->save_timer = loop_timer_new(first, SAVE_MS, SAVE_MS, on_save, a);
    a->housekeep_timer = loop_timer_new(first, HOUSEKEEP_MS, HOUSEKEEP_MS, on_housekeep, a);
    for (int i = 1; i < a->n_workers; i++) {
        int rc = pthread_create(&a->workers[i].thread, NULL, run_worker, &a->workers[i]);
        assert(rc == 0);
    }
    loop_run(first);
    for (int i = 1; i < a->n_workers; i++)
        pthread_join(a->workers[i].thread, NULL);
    loop_timer_close(a->save_timer);
    loop_timer_close(a->housekeep_timer);
}

/* Frees what there is, whatever was reached. The loops have stopped, so this thread may touch all. */
static void app_destroy(struct app *a) {
    ops_free(a->ops);
    for (int i = 0; i < a->n_workers; i++) {
        gateway_free(a->workers[i].gateway);
        control_guard_free(a->workers[i].guard);
    }
    control_close(a->control);
    if (a->is_ready)
        save_now(a); /* after every call is settled */
    /* Before the loops go, and with them our ears for signals: one more SIGTERM would end the process
     * with lines unwritten. */
    log_close(a->log);
    for (int i = 0; i < a->n_workers; i++)
        loop_free(a->workers[i].loop);
    counting_free(a->counting);
    plan_unref(a->plan);
    snapshot_unref(a->obeyed);
    plan_yard_clear(&a->yard);
    vocabulary_files_destroy(&a->tokenizers);
    live_free(a->live);
    tls_unref(a->tls);
    free(a->workers);
    free(a->shards);
    free(a->levels_path);
}

/*
 * Freed memory is kept: without this, glibc gives the top of the heap back and takes it again with
 * every large body, at two page faults a time (measured on the HTTP engine's prototype, 22 November
 * 2026: 8 KB calls cost 22 to 25 us instead of 16 to 17).
 */
static void keep_freed_memory(void) {
    mallopt(M_TRIM_THRESHOLD, 256 << 20);
    mallopt(M_MMAP_THRESHOLD, 64 << 20);
    mallopt(M_TOP_PAD, 1 << 20);
    mallopt(M_ARENA_MAX, 8);
}

int serve_run(const struct settings *s,
              void (*on_ready)(void *arg, const struct serve_ports *ports), void *arg) {
    struct app a = {.settings = s};
    pthread_mutex_init(&a.tokenizers.lock, NULL);
    struct problem why = {0};
    struct serve_ports ports;
    signal(SIGPIPE, SIG_IGN);
    keep_freed_memory();
    os_raise_file_limit();
    a.hash = os_random_key();
    a.live = live_new(&a.hash, &os_clock);
    enum status st = open_data(&a, &why);
    if (st == ST_OK)
        st = load_first(&a, &why);
    if (st == ST_OK) {
        make_workers(&a);
        st = open_listeners(&a, &ports, &why);
    }
    if (st == ST_OK) {
        a.is_ready = true;
        if (on_ready)
            on_ready(arg, &ports);
        run_loops(&a);
    }
    app_destroy(&a);
    return st == ST_OK ? EXIT_OK : fail_with(&why);
}

/* --- the command --- */

static void print_ready(void *arg, const struct serve_ports *p) {
    (void)arg;
    if (p->http)
        fprintf(stderr, "weir: calls on http://%s:%d\n", p->http_host, p->http);
    if (p->https)
        fprintf(stderr, "weir: calls on https://%s:%d\n", p->https_host, p->https);
    if (p->ops)
        fprintf(stderr, "weir: operations on http://%s:%d (/healthz /readyz /metrics)\n",
                p->ops_host, p->ops);
    if (p->control)
        fprintf(stderr,
                "weir: control plane on https://%s:%d (Azure Resource Manager's API); its operator "
                "is in %s\n"
                "weir: so that clients trust it:\n"
                "  export NODE_EXTRA_CA_CERTS=%s   # Node\n"
                "  export REQUESTS_CA_BUNDLE=%s    # az\n",
                p->control_host, p->control, p->facts.admin_file, p->facts.ca_file,
                p->facts.ca_file);
}

int cmd_serve(int argc, char **argv) {
    struct settings s;
    settings_init(&s);
    int n = settings_parse(&s,
                           "usage: weir serve --resources PATH [OPTIONS]\n\n"
                           "Serves the deployments that the resource files describe. SIGHUP reads "
                           "them anew,\nSIGUSR1 reopens the access log, SIGTERM finishes the calls "
                           "in hand and ends.\n",
                           argc, argv);
    int status = n < 0 ? options_exit(n) : serve_run(&s, print_ready, NULL);
    settings_destroy(&s);
    return status;
}
