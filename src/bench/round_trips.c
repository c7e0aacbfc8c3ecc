/* round_trips.c - a load of requests with plain answers, each connection one after another. */
#include "bench/load.h"
#include "os/os.h"

#include <stdio.h>
#include <stdlib.h>

struct run {
    struct loop *loop;
    const struct load_options *options;
    struct requests *requests;
    struct round_trips_result *result;
    struct client_pool *pool;
    struct loop_timer *progress;
    struct lane *lanes;
    int64_t start_ns, end_ns, n_begun, n_under_way, done_before;
};

/* One request after another. */
struct lane {
    struct run *run;
    int64_t begin_ns;
    int status;
};

static const struct client_handlers handlers;

static void begin(struct lane *n) {
    struct run *r = n->run;
    struct str request = requests_next(r->requests);
    struct iovec iov = {(char *)(uintptr_t)request.p, request.n};
    n->status = 0;
    r->n_begun++;
    r->n_under_way++;
    n->begin_ns = os_now_ns();
    struct client_request *under_way = client_send(r->pool, &iov, 1, &handlers, n);
    assert(under_way); /* the pool holds a connection for every lane */
    (void)under_way;
}

static void go_on(struct lane *n, int64_t now_ns) {
    struct run *r = n->run;
    const struct load_options *o = r->options;
    r->n_under_way--;
    bool may_begin =
        (o->count == 0 || r->n_begun < o->count) && (o->duration_ms == 0 || now_ns < r->end_ns);
    if (may_begin) {
        begin(n);
    } else if (r->n_under_way == 0) {
        r->result->elapsed_ns = now_ns - r->start_ns;
        loop_stop(r->loop);
    }
}

static void on_head(void *user, const struct http_head *head) {
    struct lane *n = user;
    n->status = head->status;
}

static void note_problem(struct lane *n, enum status st, struct str why) {
    struct problem *first = &n->run->result->first_problem;
    if (!first->message[0])
        (void)problem_set(first, st, STR("request"), "status %d: %.*s", n->status, STR_ARG(why));
}

static void on_body(void *user, struct str piece, bool is_last) {
    struct lane *n = user;
    struct round_trips_result *out = n->run->result;
    if (n->status / 100 != 2 && piece.n)
        note_problem(n, ST_UPSTREAM_FAILED, piece);
    if (!is_last)
        return;
    int64_t now = os_now_ns();
    out->n_done++;
    if (n->status / 100 != 2)
        out->n_not_2xx++;
    spread_add(&out->latency, now - n->begin_ns);
    go_on(n, now);
}

static void on_pause(void *user) {
    (void)user;
}

static void on_fail(void *user, enum status st, struct str why) {
    struct lane *n = user;
    n->run->result->n_failed++;
    note_problem(n, st, why);
    go_on(n, os_now_ns());
}

static const struct client_handlers handlers = {on_head, on_body, on_pause, on_fail};

static void on_progress(void *arg) {
    struct run *r = arg;
    const struct round_trips_result *out = r->result;
    int64_t seconds = (os_now_ns() - r->start_ns + NS_PER_S / 2) / NS_PER_S;
    int64_t n_new = out->n_done - r->done_before, n_failed = out->n_failed + out->n_not_2xx;
    fprintf(stderr, "%4lld s: %lld requests a second, %lld failed\n", (long long)seconds,
            (long long)n_new, (long long)n_failed);
    r->done_before = out->n_done;
}

void round_trips_run(struct loop *l, const struct load_options *options, struct requests *requests,
                     struct round_trips_result *out) {
    struct run r = {.loop = l, .options = options, .requests = requests, .result = out};
    struct client_target target = options->target;
    /* One more: a connection that failed counts until on_fail returns, and there the next begins. */
    target.max_connections = (int)options->n_at_once + 1;
    r.pool = client_pool_new(l, &target);
    r.lanes = xcalloc((size_t)options->n_at_once, sizeof *r.lanes);
    r.start_ns = os_now_ns();
    r.end_ns = r.start_ns + options->duration_ms * NS_PER_MS;
    for (int64_t i = 0; i < options->n_at_once; i++) {
        r.lanes[i].run = &r;
        if (options->count == 0 || i < options->count)
            begin(&r.lanes[i]);
    }
    if (!options->is_silent)
        r.progress = loop_timer_new(l, 1000, 1000, on_progress, &r);
    loop_run(l);
    loop_timer_close(r.progress);
    client_pool_free(r.pool);
    free(r.lanes);
}

void round_trips_put_json(const struct round_trips_result *r, struct json_writer *w) {
    json_begin_object(w);
    json_key(w, STR("done"));
    json_i64_value(w, r->n_done);
    json_key(w, STR("not_2xx"));
    json_i64_value(w, r->n_not_2xx);
    json_key(w, STR("failed"));
    json_i64_value(w, r->n_failed);
    json_key(w, STR("elapsed_us"));
    json_i64_value(w, r->elapsed_ns / 1000);
    json_key(w, STR("latency"));
    spread_put_json(&r->latency, w);
    json_key(w, STR("problem"));
    json_str_value(w, str_of(r->first_problem.message));
    json_end_object(w);
}

void round_trips_put_text(const struct round_trips_result *r, struct buf *out) {
    double s = (double)r->elapsed_ns / 1e9;
    buf_printf(out, "requests %lld, %.0f a second, %lld not 2xx, %lld failed\nlatency  ",
               (long long)r->n_done, s > 0 ? (double)r->n_done / s : 0.0, (long long)r->n_not_2xx,
               (long long)r->n_failed);
    spread_put_text(&r->latency, out);
    buf_char(out, '\n');
    if (r->first_problem.message[0])
        buf_printf(out, "problem  %s\n", r->first_problem.message);
}
