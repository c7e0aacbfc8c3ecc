/* serve_config.c - how a configuration becomes what every loop serves by: the first, the control plane's, SIGHUP's. */
#include "cmd/serve_private.h"

#include <stdio.h>
#include <stdlib.h>

/*
 * Reads what a snapshot names: tokenizers, and the certificates that backends trust. Not on a loop.
 * Tokenizers that files name must be right; those that the control plane has may have been right once.
 */
static enum status read_plan(struct app *a, struct snapshot *s, struct plan **out,
                             struct problem *why) {
    struct vocabulary_set *vocabularies;
    TRY(vocabulary_files_load(&a->tokenizers, snapshot_catalog(s), !a->control, &vocabularies,
                              why));
    enum status st = plan_new(s, NULL, &a->yard, out, why);
    if (st == ST_OK)
        plan_count_by(*out, vocabularies);
    else
        vocabulary_set_unref(vocabularies);
    return st;
}

enum status serve_config_first(struct app *a, struct snapshot *s, struct problem *why) {
    enum status st = read_plan(a, s, &a->plan, why);
    if (st == ST_OK)
        plan_bind(a->plan, live_bind(a->live, s));
    snapshot_unref(s);
    return st;
}

/* --- what the control plane says --- */

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
    enum status st = read_plan(a, o->snapshot, &o->plan, why);
    if (st != ST_OK)
        snapshot_unref(o->snapshot);
    return st;
}

enum status serve_config_obey(void *app, const struct control_news *news, struct problem *why) {
    struct app *a = app;
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

/* --- SIGHUP --- */

/* Files read anew: the data plane's certificate, what backends trust, and resources where they are files. */
struct load {
    struct app *app;
    struct snapshot *snapshot; /* with a control plane the one that is served */
    struct plan *plan;
    struct problem why;
    enum status st;
};

/* On the pool: whatever is read, no call waits for it. */
static void load_work(void *arg) {
    struct load *l = arg;
    struct app *a = l->app;
    const struct settings *s = a->settings;
    plan_yard_clear(&a->yard);
    l->st = ST_OK;
    if (!a->control)
        l->st = load_snapshot(s->resources, &a->hash, &l->snapshot, &l->why);
    if (l->st != ST_OK)
        return;
    l->st = read_plan(a, l->snapshot, &l->plan, &l->why);
    /* The last that may fail, since it acts at once. */
    if (l->st == ST_OK && a->tls)
        l->st = tls_server_reload(a->tls, s->tls_cert, s->tls_key, &l->why);
    if (l->st != ST_OK) {
        plan_unref(l->plan);
        snapshot_unref(l->snapshot);
    }
}

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
        a->is_loading = false;
    if (a->must_load_again)
        serve_config_reload(a);
    serve_end_if_due(a);
}

static void on_control_reloaded(void *arg, enum status st, const struct problem *why) {
    end_load(arg, st, why);
}

/* The control plane has changed something while files were read. What they say goes for that too,
 * unless its backends are others: then they are read once more. */
static void catch_up(struct load *l) {
    struct app *a = l->app;
    struct snapshot *now = plan_view(a->plan)->snapshot;
    struct plan *read = l->plan;
    if (now == l->snapshot)
        return;
    l->plan = NULL;
    if (snapshot_is_patch_of(now, l->snapshot)) {
        enum status st = plan_new(now, read, &a->yard, &l->plan, NULL);
        assert(st == ST_OK); /* nothing is read */
    } else {
        a->must_load_again = true;
    }
    plan_unref(read);
    snapshot_unref(l->snapshot);
    l->snapshot = snapshot_ref(now);
}

static void load_done(void *arg) {
    struct load *l = arg;
    struct app *a = l->app;
    if (l->st == ST_OK) {
        if (a->control)
            catch_up(l);
        else
            load_print_warnings(l->snapshot);
        if (l->plan) {
            plan_bind(l->plan, live_bind(a->live, l->snapshot));
            publish(a, l->plan, NULL);
        }
        snapshot_unref(l->snapshot);
    }
    if (l->st == ST_OK && a->control && !a->is_ending)
        control_reload(a->control, on_control_reloaded, a);
    else
        end_load(a, l->st, &l->why);
    free(l);
}

void serve_config_reload(struct app *a) {
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
