/* serve.c - `weir serve` as a process: its loops and listeners, signals, the end, the command. */
#include "cmd/serve.h"

#include "call/tokenize.h"
#include "cmd/serve_private.h"
#include "os/os.h"
#include "json/json.h"

#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

enum { SAVE_MS = 1000, HOUSEKEEP_MS = 3600000, FEW_CONNECTIONS = 1000 };

static void on_control_stopped(void *arg);

/*
 * Ends the loops, once nothing is under way off them: a file that is still being loaded would be
 * handed to data planes that are gone, and levels still being written would go over the last ones.
 */
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

void serve_end_if_due(struct app *a) {
    if (a->is_ending)
        stop_all(a);
}

static void on_housekeep(void *arg) {
    struct app *a = arg;
    live_housekeep(a->live);
}

/* --- signals --- */

static void on_hangup(void *arg) {
    serve_config_reload(arg);
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

/* What a text of POST /tokenize is counted with, however the configuration changes meanwhile. */
struct tokenizing {
    struct counting *counting;           /* borrowed; outlives the loops */
    struct snapshot *snapshot;           /* one reference */
    struct vocabulary_set *vocabularies; /* one reference; may be NULL */
};

static void *ops_tokenize_begin(void *arg) {
    struct app *a = arg;
    struct tokenizing *t = xcalloc(1, sizeof *t);
    t->counting = a->counting;
    t->snapshot = snapshot_ref(plan_view(a->plan)->snapshot);
    t->vocabularies = vocabulary_set_ref(plan_vocabularies(a->plan));
    return t;
}

static enum status ops_tokenize(void *begun, struct str body, struct buf *out,
                                struct problem *why) {
    struct tokenizing *t = begun;
    struct tokenize_env env = {
        .doc = json_doc_new(),
        .counters = counting_borrow(t->counting),
        .catalog = snapshot_catalog(t->snapshot),
        .vocabularies = t->vocabularies,
    };
    enum status st = tokenize_answer(&env, body, out, why);
    counting_give_back(t->counting, env.counters);
    json_doc_free(env.doc);
    return st;
}

static void ops_tokenize_end(void *begun) {
    struct tokenizing *t = begun;
    snapshot_unref(t->snapshot);
    vocabulary_set_unref(t->vocabularies);
    free(t);
}

static const char *ops_not_ready(void *arg) {
    struct app *a = arg;
    if (a->is_draining)
        return "draining";
    return a->is_ready ? NULL : "starting";
}

/* --- listeners --- */

bool serve_is_none(const char *setting) {
    return strcmp(setting, "none") == 0 || setting[0] == '\0';
}

enum status serve_split(const char *text, const char *setting, char *host, int *port,
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

static enum status open_listeners(struct app *a, struct serve_ports *ports, struct problem *why) {
    const struct settings *s = a->settings;
    *ports = (struct serve_ports){0};
    if (!serve_is_none(s->listen)) {
        TRY(serve_split(s->listen, "listen", ports->http_host, &ports->http, why));
        TRY(listen_all(a, ports->http_host, &ports->http, NULL, why));
    }
    if (!serve_is_none(s->tls_listen)) {
        if (!s->tls_cert[0] || !s->tls_key[0])
            return problem_set(
                why, ST_BAD_REQUEST, STR("tls-listen"),
                "needs tls-cert and tls-key: the files of a certificate and its key");
        TRY(tls_server_new(s->tls_cert, s->tls_key, &a->tls, why));
        TRY(serve_split(s->tls_listen, "tls-listen", ports->https_host, &ports->https, why));
        TRY(listen_all(a, ports->https_host, &ports->https, a->tls, why));
    }
    if (!serve_is_none(s->ops_listen)) {
        TRY(serve_split(s->ops_listen, "ops-listen", ports->ops_host, &ports->ops, why));
        if (ports->ops)
            TRY(listener_probe(ports->ops_host, ports->ops, why));
        TRY(server_listen(ops_server(a->ops), ports->ops_host, ports->ops, NULL, &ports->ops, why));
    }
    if (!ports->http && !ports->https)
        return problem_set(why, ST_BAD_REQUEST, STR("listen"),
                           "neither listen nor tls-listen names an address");
    return a->control ? serve_control_open(a, ports, why) : ST_OK;
}

/* --- the process --- */

static enum status open_data(struct app *a, struct problem *why) {
    const struct settings *s = a->settings;
    bool has_folder = !serve_is_none(s->data_dir);
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

static enum status load_first(struct app *a, struct problem *why) {
    struct snapshot *s = NULL;
    if (!serve_is_none(a->settings->control_listen)) {
        TRY(serve_control_load(a, &s, why));
        a->obeyed = snapshot_ref(s);
        serve_levels_recall(a);
        return serve_config_first(a, s, why);
    }
    if (!a->settings->resources[0])
        return problem_set(why, ST_BAD_REQUEST, STR("resources"),
                           "--resources FILE or FOLDER is needed; `weir demo` runs an example");
    TRY(load_snapshot(a->settings->resources, &a->hash, &s, why));
    load_print_warnings(s);
    serve_levels_recall(a);
    return serve_config_first(a, s, why);
}

/*
 * Client connections at once. Each may be in a call, which needs a second file, its connection to the
 * backend, and the rest of the process needs some. When the process may not open as many, as many
 * connections as leave room for all that: the system would close the others without a word, and backends
 * could not be reached for those that are left.
 */
static int64_t most_connections(const struct settings *s, int n_loops) {
    int64_t fixed = 32 + 16 * (int64_t)n_loops, needed = 2 * s->max_connections + fixed;
    int64_t files = os_raise_file_limit();
    if (files >= needed)
        return s->max_connections;
    int64_t most = i64_max(n_loops, (files - fixed) / 2);
    most = i64_min(most, s->max_connections);
    /* What nobody asked for is missed only when little is left. */
    if (s->max_connections == SETTINGS_CONNECTIONS && most >= FEW_CONNECTIONS)
        return most;
    fprintf(stderr,
            "weir: warning: only %lld files may be open at once, so only %lld client connections "
            "instead of %lld (max-connections), which with one to a backend for each need %lld "
            "files; raise the limit (ulimit -n, LimitNOFILE)\n",
            (long long)files, (long long)most, (long long)s->max_connections, (long long)needed);
    return most;
}

static void make_workers(struct app *a) {
    const struct settings *s = a->settings;
    a->n_workers = s->loops ? (int)s->loops : os_processors();
    int64_t n_connections = most_connections(s, a->n_workers);
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
                   .n_connections = (int)(n_connections + a->n_workers - 1) / a->n_workers},
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
                                .tokenize_begin = ops_tokenize_begin,
                                .tokenize = ops_tokenize,
                                .tokenize_end = ops_tokenize_end,
                                .body_bytes = (size_t)a->settings->body_limit,
                                .shards = a->shards,
                                .n_shards = (size_t)a->n_workers,
                                .started_s = os_wall_us() / 1000000,
                                .arg = a};
    a->ops = ops_new(a->workers[0].loop, &source);
}

static void *run_worker(void *arg) {
    struct worker *w = arg;
    os_thread_take_short_turns();
    loop_run(w->loop);
    return NULL;
}

/* Whoever orders a reload or a new log while the process starts is heard when it has; without this
 * the signal would end it. Threads that exist by then keep these from themselves for good. */
static void put_off_signals(int how) {
    sigset_t s;
    sigemptyset(&s);
    sigaddset(&s, SIGHUP);
    sigaddset(&s, SIGUSR1);
    pthread_sigmask(how, &s, NULL);
}

/* Before anybody is told that it is ready. */
static void hear_signals(struct app *a) {
    struct loop *first = a->workers[0].loop;
    loop_on_signal(first, SIGTERM, on_terminate, a);
    loop_on_signal(first, SIGINT, on_terminate, a);
    loop_on_signal(first, SIGHUP, on_hangup, a);
    loop_on_signal(first, SIGUSR1, on_user1, a);
    put_off_signals(SIG_UNBLOCK);
}

/* All is settled and written; what remains is to free. */
static void ignore_signals(void) {
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1};
    for (size_t i = 0; i < ARRAY_LEN(signals); i++)
        signal(signals[i], SIG_IGN);
}

static void run_loops(struct app *a) {
    struct loop *first = a->workers[0].loop;
    if (a->levels_path)
        a->save_timer = loop_timer_new(first, SAVE_MS, SAVE_MS, serve_levels_save, a);
    a->housekeep_timer = loop_timer_new(first, HOUSEKEEP_MS, HOUSEKEEP_MS, on_housekeep, a);
    for (int i = 1; i < a->n_workers; i++) {
        int rc = pthread_create(&a->workers[i].thread, NULL, run_worker, &a->workers[i]);
        assert(rc == 0);
    }
    os_thread_take_short_turns();
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
        serve_levels_save_last(a); /* after every call is settled */
    /* Before the loops go, and with them our ears for signals: one more SIGTERM would end the process
     * with lines unwritten. */
    log_close(a->log);
    for (int i = 0; i < a->n_workers; i++)
        loop_free(a->workers[i].loop);
    if (a->is_ready)
        ignore_signals();
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
    put_off_signals(SIG_BLOCK);
    keep_freed_memory();
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
        hear_signals(&a);
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
    int n = settings_parse(
        &s,
        "usage: weir serve --resources PATH [OPTIONS]\n\n"
        "Serves the deployments that the resource files describe. SIGHUP reads "
        "them anew,\nSIGUSR1 reopens the access log, SIGTERM finishes the calls "
        "in hand and ends.\n`weir config example` prints every option with its default.\n",
        argc, argv);
    int status = n < 0 ? options_exit(n) : serve_run(&s, print_ready, NULL);
    settings_destroy(&s);
    return status;
}
