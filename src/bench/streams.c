/* streams.c - a load of streams of server-sent events, begun by the clock; sees what is lost and late. */
#include "bench/load.h"
#include "bench/upstream.h"
#include "http/sse.h"
#include "os/os.h"

#include <stdio.h>
#include <stdlib.h>

enum { EVENT_CEILING = 1 << 20, PROGRESS_MS = 1000 };

struct run {
    struct loop *loop;
    const struct load_options *options;
    struct requests *requests;
    struct streams_result *result;
    struct client_pool *pool;
    struct loop_alarm *alarm;
    struct loop_timer *progress;
    struct place *places;
    struct list idle; /* places without a stream, with a rate */
    int64_t start_ns, end_ns;
    int64_t n_scheduled, n_under_way, events_before;
    bool is_over;
};

/* Where one stream at a time runs. */
struct place {
    struct list in_idle;
    struct run *run;
    struct sse sse;
    int64_t due_ns, last_ns, n_events, n_stamped;
    int status;
    bool has_done;
};

static const struct client_handlers handlers;

/* --- beginning --- */

static void finish_when_done(struct run *r) {
    if (!r->is_over || r->n_under_way)
        return;
    r->result->elapsed_ns = os_now_ns() - r->start_ns;
    loop_stop(r->loop);
}

static bool may_begin(const struct run *r, int64_t due_ns) {
    const struct load_options *o = r->options;
    if (o->count && r->result->n_begun >= o->count)
        return false;
    return o->duration_ms == 0 || due_ns < r->end_ns;
}

static void begin(struct place *p, int64_t due_ns) {
    struct run *r = p->run;
    struct str request = requests_next(r->requests);
    struct iovec iov = {(char *)(uintptr_t)request.p, request.n};
    p->due_ns = due_ns;
    p->last_ns = p->n_events = p->n_stamped = 0;
    p->status = 0;
    p->has_done = false;
    sse_init(&p->sse, EVENT_CEILING);
    r->result->n_begun++;
    r->n_under_way++;
    r->result->most_at_once = i64_max(r->result->most_at_once, r->n_under_way);
    /* Never NULL: the pool holds as many connections as there are places. */
    struct client_request *request_under_way = client_send(r->pool, &iov, 1, &handlers, p);
    assert(request_under_way);
    (void)request_under_way;
}

/* When stream number i is to begin. */
static int64_t due_of(const struct run *r, int64_t i) {
    const struct load_options *o = r->options;
    if (o->rate > 0)
        return r->start_ns + (int64_t)((double)i * 1e9 / o->rate);
    return r->start_ns + o->ramp_ms * NS_PER_MS * i / o->n_at_once;
}

static bool is_all_scheduled(const struct run *r) {
    const struct load_options *o = r->options;
    if (o->rate > 0)
        return !may_begin(r, due_of(r, r->n_scheduled));
    return r->n_scheduled >= o->n_at_once;
}

static void on_schedule(void *arg) {
    struct run *r = arg;
    int64_t now = os_now_ns();
    while (!is_all_scheduled(r)) {
        int64_t due = due_of(r, r->n_scheduled);
        if (due > now) {
            loop_alarm_set(r->alarm, due);
            return;
        }
        if (r->options->rate <= 0) {
            begin(&r->places[r->n_scheduled], due);
        } else if (list_is_empty(&r->idle)) {
            r->result->n_skipped++;
        } else {
            struct place *p = CONTAINER_OF(r->idle.next, struct place, in_idle);
            list_remove(&p->in_idle);
            begin(p, due);
        }
        r->n_scheduled++;
    }
    if (r->options->rate > 0 || r->options->duration_ms == 0)
        r->is_over = true;
    finish_when_done(r);
}

/* --- the end of a stream --- */

static void end(struct place *p) {
    struct run *r = p->run;
    struct streams_result *out = r->result;
    int64_t expected = r->options->expected_events;
    if (expected && p->status == 200) {
        out->n_events_lost += i64_max(expected - p->n_events, 0);
        out->n_events_extra += i64_max(p->n_events - expected, 0);
    }
    sse_destroy(&p->sse);
    r->n_under_way--;
    if (r->options->rate > 0) {
        list_append(&r->idle, &p->in_idle);
    } else if (r->options->duration_ms) {
        int64_t now = os_now_ns();
        if (may_begin(r, now))
            begin(p, now);
        else
            r->is_over = true;
    }
    finish_when_done(r);
}

static void note_problem(struct place *p, enum status st, struct str why) {
    struct problem *first = &p->run->result->first_problem;
    if (!first->message[0])
        (void)problem_set(first, st, STR("stream"), "after %lld events: %.*s",
                          (long long)p->n_events, STR_ARG(why));
}

/* --- what comes --- */

static void on_head(void *user, const struct http_head *head) {
    struct place *p = user;
    p->status = head->status;
}

static void on_event(struct place *p, const struct sse_event *event, int64_t now_ns) {
    struct streams_result *out = p->run->result;
    int64_t number, at_ns;
    if (p->last_ns == 0)
        spread_add(&out->first, now_ns - p->due_ns);
    else
        spread_add(&out->gap, now_ns - p->last_ns);
    p->last_ns = now_ns;
    p->n_events++;
    out->n_events++;
    if (str_eq(event->data, STR("[DONE]"))) {
        p->has_done = true;
    } else if (upstream_stamp(event->data, &number, &at_ns)) {
        spread_add(&out->added, now_ns - at_ns);
        if (!p->run->options->expected_events)
            out->n_events_lost += i64_max(number - p->n_stamped, 0);
        p->n_stamped = number + 1;
    }
}

static void on_body(void *user, struct str piece, bool is_last) {
    struct place *p = user;
    struct streams_result *out = p->run->result;
    if (piece.n)
        out->n_reads++;
    if (p->status == 200) {
        struct sse_event event;
        int64_t now = os_now_ns();
        while (sse_next(&p->sse, &piece, &event))
            on_event(p, &event, now);
    } else if (piece.n) {
        note_problem(p, ST_UPSTREAM_FAILED, piece);
    }
    if (!is_last)
        return;
    if (p->status != 200) {
        out->n_refused++;
    } else if (p->has_done) {
        out->n_whole++;
    } else {
        out->n_lost++;
        note_problem(p, ST_UPSTREAM_FAILED, STR("it ended without [DONE]"));
    }
    end(p);
}

static void on_pause(void *user) {
    (void)user;
}

static void on_fail(void *user, enum status st, struct str why) {
    struct place *p = user;
    p->run->result->n_lost++;
    note_problem(p, st, why);
    end(p);
}

static const struct client_handlers handlers = {on_head, on_body, on_pause, on_fail};

/* --- the whole --- */

static void on_progress(void *arg) {
    struct run *r = arg;
    const struct streams_result *out = r->result;
    int64_t seconds = (os_now_ns() - r->start_ns + NS_PER_S / 2) / NS_PER_S;
    int64_t n_lost = out->n_lost + out->n_refused, n_new = out->n_events - r->events_before;
    fprintf(stderr,
            "%4lld s: %lld streams under way, %lld whole, %lld lost, %lld events a second\n",
            (long long)seconds, (long long)r->n_under_way, (long long)out->n_whole,
            (long long)n_lost, (long long)n_new);
    r->events_before = out->n_events;
}

void streams_run(struct loop *l, const struct load_options *options, struct requests *requests,
                 struct streams_result *out) {
    struct run r = {.loop = l, .options = options, .requests = requests, .result = out};
    struct client_target target = options->target;
    /* One more: a connection that failed counts until on_fail returns, and there the next begins. */
    target.max_connections = (int)options->n_at_once + 1;
    list_init(&r.idle);
    r.pool = client_pool_new(l, &target);
    r.places = xcalloc((size_t)options->n_at_once, sizeof *r.places);
    for (int64_t i = 0; i < options->n_at_once; i++) {
        r.places[i].run = &r;
        if (options->rate > 0)
            list_append(&r.idle, &r.places[i].in_idle);
    }
    r.start_ns = os_now_ns();
    r.end_ns = r.start_ns + options->duration_ms * NS_PER_MS;
    r.alarm = loop_alarm_new(l, on_schedule, &r);
    loop_alarm_set(r.alarm, r.start_ns);
    if (!options->is_silent)
        r.progress = loop_timer_new(l, PROGRESS_MS, PROGRESS_MS, on_progress, &r);
    loop_run(l);
    loop_timer_close(r.progress);
    loop_alarm_close(r.alarm);
    client_pool_free(r.pool);
    free(r.places);
}

/* --- the report --- */

static void put_count(struct json_writer *w, struct str key, int64_t n) {
    json_key(w, key);
    json_i64_value(w, n);
}

void streams_put_json(const struct streams_result *r, struct json_writer *w) {
    json_begin_object(w);
    put_count(w, STR("begun"), r->n_begun);
    put_count(w, STR("whole"), r->n_whole);
    put_count(w, STR("refused"), r->n_refused);
    put_count(w, STR("lost"), r->n_lost);
    put_count(w, STR("skipped"), r->n_skipped);
    put_count(w, STR("most_at_once"), r->most_at_once);
    put_count(w, STR("events"), r->n_events);
    put_count(w, STR("reads"), r->n_reads);
    put_count(w, STR("events_lost"), r->n_events_lost);
    put_count(w, STR("events_extra"), r->n_events_extra);
    put_count(w, STR("elapsed_us"), r->elapsed_ns / NS_PER_US);
    json_key(w, STR("first"));
    spread_put_json(&r->first, w);
    json_key(w, STR("gap"));
    spread_put_json(&r->gap, w);
    json_key(w, STR("added"));
    spread_put_json(&r->added, w);
    json_key(w, STR("problem"));
    json_str_value(w, str_of(r->first_problem.message));
    json_end_object(w);
}

void streams_put_text(const struct streams_result *r, struct buf *out) {
    double s = (double)r->elapsed_ns / 1e9;
    buf_printf(out, "streams  %lld begun, %lld whole, %lld refused, %lld lost, %lld at once\n",
               (long long)r->n_begun, (long long)r->n_whole, (long long)r->n_refused,
               (long long)r->n_lost, (long long)r->most_at_once);
    if (r->n_skipped)
        buf_printf(out, "         %lld not begun: all places were taken\n",
                   (long long)r->n_skipped);
    buf_printf(out, "events   %lld, %.0f a second, %lld lost, %lld too many; %.2f a read\n",
               (long long)r->n_events, s > 0 ? (double)r->n_events / s : 0.0,
               (long long)r->n_events_lost, (long long)r->n_events_extra,
               r->n_reads ? (double)r->n_events / (double)r->n_reads : 0.0);
    buf_lit(out, "first    ");
    spread_put_text(&r->first, out);
    buf_lit(out, "\ngap      ");
    spread_put_text(&r->gap, out);
    if (r->added.n) {
        buf_lit(out, "\nadded    ");
        spread_put_text(&r->added, out);
    }
    buf_char(out, '\n');
    if (r->first_problem.message[0])
        buf_printf(out, "problem  %s\n", r->first_problem.message);
}
