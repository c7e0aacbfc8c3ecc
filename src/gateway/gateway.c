#include "gateway/gateway.h"

#include "gateway/counting.h"
#include "gateway/gateway_private.h"
#include "os/os.h"

#include <stdlib.h>

enum {
    /* A client that does not read: its backend is stopped above the first mark. */
    HIGH_WATER = 256 << 10,
    LOG_FLUSH_BYTES = 128 << 10,
    LOG_LINES_MAX = 1 << 20,
    LOG_FLUSH_MS = 100,
    SPARE_CALLS = 128,
    BACKEND_IDLE_MS = 4000, /* below the 5 s after which uvicorn, and so vLLM, closes */
};

static const struct client_handlers upstream_handlers;
static void finish_draining(void *arg);

static struct call_env env_with(struct gateway *g, const struct plan *plan) {
    return (struct call_env){
        .view = plan->view,
        .clock = &os_clock,
        .doc = g->doc,
        .rng = &g->rng,
        .guard = g->guard,
        .counters = g->counters,
        .prefixes = counting_prefixes(g->settings.counting),
        .prompt_budget = PROMPT_BUDGET,
        .shelf = &g->shelf,
        .vocabularies = plan->vocabularies,
    };
}

static struct call_env env_of(struct gateway_call *gc) {
    return env_with(gc->gateway, gc->lease->plan);
}

/* --- the log --- */

void gateway_flush_log(struct gateway *g) {
    if (g->log)
        log_write(g->log, &g->lines);
}

static void set_wall_clock(struct gateway *g) {
    g->wall_minus_mono_us = os_wall_us() - os_now_ns() / NS_PER_US;
}

static void on_flush(void *arg) {
    struct gateway *g = arg;
    struct prompt_lookups new_ones = apart_lookups_since(g->counters, &g->lookups);
    apart_add_lookups(g, &new_ones);
    gateway_flush_log(g);
    if (g->log)
        metric_add_own(&g->metrics.log_lost, log_take_lost(g->log));
    set_wall_clock(g);
    metric_add_own(&g->metrics.connections,
                   server_connections(g->server) - metric_read(&g->metrics.connections));
    metric_add_own(&g->metrics.body_bytes,
                   server_bodies_bytes(g->server) - metric_read(&g->metrics.body_bytes));
}

static void write_line(struct gateway *g, const struct gateway_call *gc) {
    char time[25];
    if (!g->log)
        return;
    if (g->lines.cap == 0)
        buf_reserve(&g->lines, LOG_FLUSH_BYTES + 4096);
    os_format_time(gc->call.receipt.end_ns / NS_PER_US + g->wall_minus_mono_us, time);
    call_put_access_line(&gc->call, time, gc->client, &g->lines);
    metric_add_own(&g->metrics.log_lines, 1);
    if (g->lines.len >= LOG_FLUSH_BYTES)
        log_write(g->log, &g->lines);
}

/* --- a call's beginning and end --- */

static struct gateway_call *take_spare(struct gateway *g) {
    struct gateway_call *gc;
    if (list_is_empty(&g->spare)) {
        gc = xmalloc(sizeof *gc);
        gc->in_gateway = (struct list){NULL, NULL};
        return gc;
    }
    gc = CONTAINER_OF(g->spare.prev, struct gateway_call, in_gateway);
    list_remove(&gc->in_gateway);
    g->n_spare--;
    return gc;
}

static void give_spare(struct gateway *g, struct gateway_call *gc) {
    if (g->n_spare >= SPARE_CALLS) {
        free(gc);
        return;
    }
    g->n_spare++;
    list_append(&g->spare, &gc->in_gateway);
}

static struct gateway_call *begin(struct gateway *g, struct exchange *x) {
    struct gateway_call *gc = take_spare(g);
    gc->gateway = g;
    gc->lease = g->lease;
    gc->lease->refs++;
    gc->exchange = x;
    gc->upstream = NULL;
    gc->is_paused = gc->has_begun = false;
    gc->in_uncounted = (struct list){NULL, NULL};
    gc->job = NULL;
    memcpy(gc->client, exchange_peer(x), sizeof gc->client);
    list_append(&g->calls, &gc->in_gateway);
    metric_add_own(&g->metrics.in_flight, 1);
    uint64_t id[2] = {balance_rng_next(&g->rng), balance_rng_next(&g->rng)};
    struct call_env env = env_of(gc);
    call_init(&gc->call, &env, exchange_start_ns(x), (const unsigned char *)id);
    exchange_set_user(x, gc);
    return gc;
}

/* The one place where a call leaves: counted, logged, freed. */
static void end(struct gateway_call *gc) {
    struct gateway *g = gc->gateway;
    struct receipt *r = &gc->call.receipt;
    struct metrics_shard *m = &g->metrics;
    if (!r->end_ns)
        r->end_ns = os_now_ns();
    metric_add_own(&m->calls[r->outcome], 1);
    metric_add_own(&m->in_flight, -1);
    if (r->n_attempts > 1)
        metric_add_own(&m->retries, r->n_attempts - 1);
    if (r->admitted_ns)
        histogram_observe(&m->admission, (r->admitted_ns - r->start_ns) / NS_PER_US);
    if (r->first_byte_ns)
        histogram_observe(&m->first_byte, (r->first_byte_ns - r->start_ns) / NS_PER_US);
    histogram_observe(&m->duration, (r->end_ns - r->start_ns) / NS_PER_US);
    write_line(g, gc);
    list_remove(&gc->in_gateway);
    server_recycle(g->server, &gc->call.body);
    shelf_give(&g->shelf, &gc->call.sent);
    call_destroy(&gc->call);
    lease_unref(gc->lease);
    give_spare(g, gc);
    if (g->drained && list_is_empty(&g->calls) && server_connections(g->server) == 0)
        finish_draining(g);
}

/* --- actions --- */

static void send_reply(struct gateway_call *gc) {
    struct call *c = &gc->call;
    struct exchange *x = gc->exchange;
    struct buf *head = exchange_begin(x, c->reply_status, (int64_t)c->reply_body.len);
    call_put_reply_fields(c, head);
    (void)exchange_send(x, buf_view(&c->reply_body), true);
    end(gc);
}

/* The answer cannot go on. A stream gets its error event and a proper end, so that the client reads
 * the event before it hears of the end; any other answer is cut off, so that nobody takes a part for
 * the whole. */
static void cut(struct gateway_call *gc) {
    struct exchange *x = gc->exchange;
    if (gc->call.meter.is_stream)
        (void)exchange_send(x, buf_view(&gc->call.reply_body), true);
    else
        exchange_abort(x);
    end(gc);
}

static void cancel_upstream(struct gateway_call *gc) {
    if (!gc->upstream)
        return;
    client_cancel(gc->upstream);
    gc->upstream = NULL;
    metric_add_own(&gc->gateway->metrics.cancelled, 1);
}

/* A backend said no and is done in a moment: its connection is worth keeping. */
static void let_go_of_upstream(struct gateway_call *gc) {
    if (gc->upstream)
        client_discard(gc->upstream);
    gc->upstream = NULL;
}

/* Carries out an action; a backend without a free connection makes the call think again. */
static void perform(struct gateway_call *gc, enum call_action action) {
    struct call *c = &gc->call;
    while (action == CALL_SEND) {
        let_go_of_upstream(gc);
        struct client_pool *pool = lease_pool(gc->lease, c->backend);
        gc->upstream = client_send(pool, c->send, c->n_send, &upstream_handlers, gc);
        if (gc->upstream) {
            c->receipt.is_reused = client_is_reused(gc->upstream);
            return;
        }
        struct call_env env = env_of(gc);
        action = call_on_fail(c, &env, ST_UPSTREAM_BUSY, STR("all its connections are busy"));
    }
    switch (action) {
    case CALL_COUNT:
        apart_count(gc);
        break;
    case CALL_REPLY:
        let_go_of_upstream(gc);
        send_reply(gc);
        break;
    case CALL_CUT:
        cut(gc);
        break;
    case CALL_CANCEL:
        cancel_upstream(gc);
        end(gc);
        break;
    case CALL_DRAIN:
    case CALL_FORWARD:
    case CALL_SEND:
        break;
    }
}

void gateway_counted(struct gateway_call *gc, enum status st, const struct problem *why) {
    if (!gc->exchange) {
        end(gc);
        return;
    }
    struct call_env env = env_of(gc);
    perform(gc, call_counted(&gc->call, &env, exchange_head(gc->exchange), st, why));
}

/* --- the client's side --- */

static void reply_options(struct exchange *x) {
    struct buf *out = exchange_begin(x, 204, LENGTH_NONE);
    http_put_field(out, STR("Allow"), STR("GET, HEAD, OPTIONS, POST"));
    (void)exchange_send(x, STR(""), true);
}

static void on_head(void *arg, struct exchange *x) {
    struct gateway *g = arg;
    const struct http_head *head = exchange_head(x);
    if (str_eq(head->method, STR("OPTIONS"))) {
        /* A body would be for nothing, and nobody has shown a key for it. */
        if (head->content_length > 0 || head->is_chunked)
            reply_options(x);
        return;
    }
    struct gateway_call *gc = begin(g, x);
    struct call_env env = env_of(gc);
    struct problem why = {0};
    enum status st = call_open(&gc->call, &env, head, &why);
    /* A request without a body is answered in on_request, so that its connection may go on. */
    if (st != ST_OK && (head->content_length > 0 || head->is_chunked)) {
        call_refuse(&gc->call, st, &why);
        send_reply(gc);
    } else if (st != ST_OK) {
        call_refuse(&gc->call, st, &why);
    }
}

static void on_request(void *arg, struct exchange *x) {
    (void)arg;
    struct gateway_call *gc = exchange_user(x);
    if (!gc) {
        reply_options(x);
        return;
    }
    struct call *c = &gc->call;
    if (c->reply_status) {
        send_reply(gc);
        return;
    }
    if (operation_is_list(c->route.op)) {
        perform(gc, call_list(c));
        return;
    }
    struct call_env env = env_of(gc);
    perform(gc, call_submit(c, &env, exchange_head(x), exchange_take_body(x)));
}

static void on_gone(void *user, struct exchange *x) {
    (void)x;
    struct gateway_call *gc = user;
    struct call *c = &gc->call;
    gc->exchange = NULL;
    if (c->state == CALL_NEW) {
        /* It left before its request was complete. */
        c->receipt.outcome = ST_CLIENT_GONE;
        c->receipt.http_status = status_info(ST_CLIENT_GONE)->http;
        if (apart_leave(gc))
            end(gc);
        return;
    }
    struct call_env env = env_of(gc);
    enum call_action action = call_on_gone(c, &env, gc->upstream && client_has_sent(gc->upstream));
    if (action == CALL_DRAIN && gc->is_paused) {
        gc->is_paused = false;
        client_resume(gc->upstream);
    }
    perform(gc, action);
}

static void on_drained(void *user, struct exchange *x) {
    (void)x;
    struct gateway_call *gc = user;
    if (gc && gc->is_paused && gc->upstream) {
        gc->is_paused = false;
        client_resume(gc->upstream);
    }
}

/* Answers with the fields that every error has. What never became a call has no line in the log. */
static bool on_refused(void *arg, struct exchange *x, enum status st, const struct problem *why) {
    struct gateway *g = arg;
    struct gateway_call *gc = x ? exchange_user(x) : NULL;
    metric_add_own(&g->metrics.refused[st], 1);
    if (!x)
        return false;
    if (gc) {
        call_refuse(&gc->call, st, why);
        send_reply(gc);
        return true;
    }
    struct call c;
    struct call_env env = env_with(g, g->lease->plan);
    uint64_t id[2] = {balance_rng_next(&g->rng), balance_rng_next(&g->rng)};
    call_init(&c, &env, exchange_start_ns(x), (const unsigned char *)id);
    call_refuse(&c, st, why);
    call_put_reply_fields(&c, exchange_begin(x, c.reply_status, (int64_t)c.reply_body.len));
    (void)exchange_send(x, buf_view(&c.reply_body), true);
    call_destroy(&c);
    return true;
}

static const struct server_handler server_handler = {on_head, on_request, on_gone, on_drained,
                                                     on_refused};

/* --- the backend's side --- */

static void upstream_head(void *user, const struct http_head *head) {
    struct gateway_call *gc = user;
    struct call *c = &gc->call;
    struct call_env env = env_of(gc);
    enum call_action action = call_on_head(c, &env, head);
    if (action != CALL_FORWARD) {
        perform(gc, action);
        return;
    }
    server_recycle(gc->gateway->server, &c->body);
    if (!gc->exchange)
        return; /* draining */
    exchange_drop_request(gc->exchange);
    int64_t length =
        c->meter.is_stream || head->content_length < 0 ? LENGTH_CHUNKED : head->content_length;
    if (head->status == 204 || head->status == 304)
        length = LENGTH_NONE;
    call_put_answer_fields(c, head, exchange_begin(gc->exchange, head->status, length));
    gc->has_begun = true;
}

static void upstream_body(void *user, struct str piece, bool is_last) {
    struct gateway_call *gc = user;
    struct exchange *x = gc->exchange;
    struct call_env env = env_of(gc);
    struct meter_out out;
    bool has_more;
    size_t queued = 0;
    if (is_last)
        gc->upstream = NULL;
    do {
        has_more = call_on_body(&gc->call, &env, &piece, is_last, &out);
        bool is_end = is_last && !has_more;
        if (!x)
            continue;
        for (int i = 0; i < out.n; i++)
            queued = exchange_send(x, out.piece[i], is_end && i == out.n - 1);
        if (is_end && out.n == 0)
            queued = exchange_send(x, STR(""), true);
    } while (has_more);
    if (is_last) {
        end(gc);
        return;
    }
    /* The head must not wait for bytes that may be long in coming. */
    if (x)
        exchange_flush(x);
    if (queued > HIGH_WATER && !gc->is_paused) {
        gc->is_paused = true;
        client_pause(gc->upstream);
    }
}

static void upstream_pause(void *user) {
    struct gateway_call *gc = user;
    if (gc->exchange && gc->has_begun)
        exchange_flush(gc->exchange);
}

static void upstream_fail(void *user, enum status st, struct str why) {
    struct gateway_call *gc = user;
    struct call_env env = env_of(gc);
    gc->upstream = NULL;
    if (gc->has_begun && gc->exchange && exchange_take_back(gc->exchange)) {
        gc->has_begun = false;
        perform(gc, call_on_fail_unseen(&gc->call, &env, st, why));
        return;
    }
    perform(gc, call_on_fail(&gc->call, &env, st, why));
}

static const struct client_handlers upstream_handlers = {upstream_head, upstream_body,
                                                         upstream_pause, upstream_fail};

/* --- the gateway --- */

struct gateway *gateway_new(struct loop *l, const struct gateway_settings *settings,
                            struct plan *plan, struct log *log) {
    struct gateway *g = xcalloc(1, sizeof *g);
    g->loop = l;
    g->settings = *settings;
    if (!g->settings.backend_idle_ms)
        g->settings.backend_idle_ms = BACKEND_IDLE_MS;
    g->log = log;
    g->doc = json_doc_new();
    g->counters = counting_counters(settings->counting);
    list_init(&g->uncounted);
    os_random(&g->rng.state, sizeof g->rng.state);
    list_init(&g->calls);
    list_init(&g->spare);
    set_wall_clock(g);
    buf_init(&g->lines, LOG_LINES_MAX);
    g->lease = lease_new(plan, l, &g->settings, &g->shelf, NULL);
    g->server = server_new(l, &settings->limits, &server_handler, g);
    g->flush_timer = loop_timer_new(l, LOG_FLUSH_MS, LOG_FLUSH_MS, on_flush, g);
    return g;
}

void gateway_set_guard(struct gateway *g, const struct call_guard *guard) {
    g->guard = guard;
}

struct server *gateway_server(struct gateway *g) {
    return g->server;
}

const struct metrics_shard *gateway_metrics(const struct gateway *g) {
    return &g->metrics;
}

void gateway_swap(struct gateway *g, struct plan *plan) {
    struct lease *before = g->lease;
    g->lease = lease_new(plan, g->loop, &g->settings, &g->shelf, before);
    lease_unref(before);
}

/*
 * Ends every call that is left and settles it. A client that has nothing of its answer yet gets a
 * proper refusal, which it may take elsewhere at once; an answer that has begun is cut off, so that
 * nobody takes a part for the whole.
 */
static void abandon_all(struct gateway *g) {
    LIST_EACH (&g->calls, it) {
        struct gateway_call *gc = CONTAINER_OF(it, struct gateway_call, in_gateway);
        struct call_env env = env_of(gc);
        if (!apart_leave(gc)) {
            if (gc->exchange)
                exchange_reply_error(gc->exchange, ST_SHUTTING_DOWN, NULL);
            gc->exchange = NULL;
            gc->call.receipt.outcome = ST_SHUTTING_DOWN;
            gc->call.receipt.http_status = status_info(ST_SHUTTING_DOWN)->http;
            continue;
        }
        call_abandon(&gc->call, &env);
        cancel_upstream(gc);
        if (gc->exchange && !gc->has_begun) {
            call_refuse(&gc->call, ST_SHUTTING_DOWN, NULL);
            send_reply(gc);
            continue;
        }
        if (gc->exchange)
            exchange_abort(gc->exchange);
        end(gc);
    }
}

static void finish_draining(void *arg) {
    struct gateway *g = arg;
    if (!g->drained)
        return;
    /* Calls whose client has left may still drain their backend. */
    if (!list_is_empty(&g->calls) && (g->grace_timer || !list_is_empty(&g->uncounted)))
        return;
    void (*done)(void *) = g->drained;
    g->drained = NULL;
    loop_timer_close(g->grace_timer);
    g->grace_timer = NULL;
    gateway_flush_log(g);
    done(g->drained_arg);
}

static void on_grace_over(void *arg) {
    struct gateway *g = arg;
    abandon_all(g); /* with its last call it may finish the draining, and close the timer */
    loop_timer_close(g->grace_timer);
    g->grace_timer = NULL;
    finish_draining(g);
}

void gateway_drain(struct gateway *g, int64_t grace_ms, void (*done)(void *arg), void *arg) {
    g->drained = done;
    g->drained_arg = arg;
    g->grace_timer = loop_timer_new(g->loop, grace_ms, 0, on_grace_over, g);
    server_drain(g->server, finish_draining, g);
}

void gateway_free(struct gateway *g) {
    if (!g)
        return;
    g->drained = NULL;
    server_drain(g->server, finish_draining, g); /* no refusal below may begin another call */
    apart_stop(g);
    abandon_all(g);
    server_free(g->server);
    loop_timer_close(g->flush_timer);
    loop_timer_close(g->grace_timer);
    gateway_flush_log(g);
    LIST_EACH (&g->spare, it)
        free(CONTAINER_OF(it, struct gateway_call, in_gateway));
    lease_unref(g->lease);
    shelf_destroy(&g->shelf);
    json_doc_free(g->doc);
    prompt_counters_free(g->counters);
    buf_destroy(&g->lines);
    free(g);
}
