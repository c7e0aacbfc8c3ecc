#include "ops/ops.h"

#include "os/os.h"
#include "json/json.h"

#include <stdlib.h>

enum { PAGE_MAX = 64 << 20 };

struct ops {
    struct ops_source source;
    struct loop *loop;
    struct server *server;
    struct list asks; /* of struct ask, in the order of their coming; the first is worked on */
};

/* --- /metrics --- */

static void put_sum(const struct ops_source *s, enum metric m, size_t offset, struct buf *out) {
    int64_t sum = 0;
    for (size_t i = 0; i < s->n_shards; i++)
        sum +=
            metric_read((const metric_cell *)(const void *)((const char *)s->shards[i] + offset));
    metrics_put_header(out, m);
    metrics_put_sample(out, m, NULL, 0, sum, 1);
}

static void put_lookups(const struct ops_source *s, struct buf *out) {
    int64_t texts = 0, texts_found = 0, places = 0, places_found = 0;
    for (size_t i = 0; i < s->n_shards; i++) {
        texts += metric_read(&s->shards[i]->texts);
        texts_found += metric_read(&s->shards[i]->texts_found);
        places += metric_read(&s->shards[i]->places);
        places_found += metric_read(&s->shards[i]->places_found);
    }
    const struct {
        struct str kind, outcome;
        int64_t value;
    } samples[] = {{STR("text"), STR("hit"), texts_found},
                   {STR("text"), STR("miss"), texts - texts_found},
                   {STR("place"), STR("hit"), places_found},
                   {STR("place"), STR("miss"), places - places_found}};
    metrics_put_header(out, M_PROMPT_LOOKUPS);
    for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
        struct metric_label labels[2] = {{STR("kind"), samples[i].kind},
                                         {STR("outcome"), samples[i].outcome}};
        metrics_put_sample(out, M_PROMPT_LOOKUPS, labels, 2, samples[i].value, 1);
    }
}

/* One sample per status that has occurred. */
static void put_by_status(const struct ops_source *s, enum metric m, size_t offset,
                          struct buf *out) {
    metrics_put_header(out, m);
    for (int st = 0; st < ST_COUNT; st++) {
        int64_t sum = 0;
        for (size_t i = 0; i < s->n_shards; i++)
            sum += metric_read(
                &((const metric_cell *)(const void *)((const char *)s->shards[i] + offset))[st]);
        struct metric_label label = {STR("status"), status_info((enum status)st)->label};
        if (sum)
            metrics_put_sample(out, m, &label, 1, sum, 1);
    }
}

static void put_histogram(const struct ops_source *s, enum metric m, size_t offset,
                          struct buf *out) {
    const struct histogram *parts[64];
    size_t n = size_min(s->n_shards, ARRAY_LEN(parts));
    for (size_t i = 0; i < n; i++)
        parts[i] = (const struct histogram *)(const void *)((const char *)s->shards[i] + offset);
    metrics_put_header(out, m);
    metrics_put_histogram(out, m, parts, n);
}

/* One metric of one deployment; `counter` is where it stands, or -1 for those that are computed. */
static void put_deployment(const struct live_deployment *live, const struct deployment *d,
                           enum metric m, size_t counter, int64_t denominator, int64_t now_ns,
                           struct buf *out) {
    struct metric_label labels[3] = {{STR("account"), d->account->name},
                                     {STR("deployment"), d->name},
                                     {STR("sku"), sku_names[d->sku]}};
    if (m == M_UTILIZATION) {
        if (d->is_provisioned)
            metrics_put_sample(out, m, labels, 2, bucket_util_ppm(&live->bucket, now_ns), 1000000);
    } else if (m == M_CAPACITY) {
        metrics_put_sample(out, m, labels, 3, d->capacity, 1);
    } else if (m == M_DEPLOYMENT_CALLS) {
        labels[2] = (struct metric_label){STR("outcome"), STR("admitted")};
        metrics_put_sample(out, m, labels, 3, metric_read(&live->counters.admitted), 1);
        labels[2].value = STR("refused");
        metrics_put_sample(out, m, labels, 3, metric_read(&live->counters.refused), 1);
    } else if (m == M_PROMPT_RESIDUAL) {
        metrics_put_sample(out, m, labels, 2, residual_mean_milli(&live->residual), denominator);
    } else if (m == M_PROMPT_RESIDUAL_P99) {
        metrics_put_sample(out, m, labels, 2, residual_p99(&live->residual), 1);
    } else if (m == M_PREFIX_TTL) {
        metrics_put_sample(out, m, labels, 2, prefix_trust_ttl_ns(&live->prefix_trust),
                           denominator);
    } else {
        const metric_cell *cell =
            (const metric_cell *)(const void *)((const char *)&live->counters + counter);
        metrics_put_sample(out, m, labels, 2, metric_read(cell), denominator);
    }
}

static void put_deployments(const struct live_view *v, enum metric m, size_t counter,
                            int64_t denominator, int64_t now_ns, struct buf *out) {
    const struct account *a;
    metrics_put_header(out, m);
    for (size_t at = 0; snapshot_next_account(v->snapshot, &at, &a);) {
        for (size_t i = 0; i < a->n_deployments; i++) {
            const struct deployment *d = &a->deployments[i];
            put_deployment(live_of(v, d), d, m, counter, denominator, now_ns, out);
        }
    }
}

static void put_backends(const struct live_view *v, int64_t now_ns, struct buf *out) {
    static const struct str outcomes[] = {
        [BALANCE_SERVED] = STR_INIT("served"),
        [BALANCE_BUSY] = STR_INIT("busy"),
        [BALANCE_FAILED] = STR_INIT("failed"),
        [BALANCE_SILENT] = STR_INIT("silent"),
    };
    metrics_put_header(out, M_BACKEND_CALLS);
    for (size_t i = 0; i < v->n_backends; i++) {
        for (size_t k = 0; k < ARRAY_LEN(outcomes); k++) {
            struct metric_label labels[2] = {{STR("backend"), str_of(v->backends[i]->id)},
                                             {STR("outcome"), outcomes[k]}};
            metrics_put_sample(out, M_BACKEND_CALLS, labels, 2,
                               metric_read(&v->backends[i]->outcomes[k]), 1);
        }
    }
    metrics_put_header(out, M_BACKEND_USAGE_CAPPED);
    for (size_t i = 0; i < v->n_backends; i++) {
        struct metric_label label = {STR("backend"), str_of(v->backends[i]->id)};
        metrics_put_sample(out, M_BACKEND_USAGE_CAPPED, &label, 1,
                           metric_read(&v->backends[i]->usage_capped), 1);
    }
    metrics_put_header(out, M_BACKEND_UP);
    for (size_t i = 0; i < v->n_backends; i++) {
        struct metric_label label = {STR("backend"), str_of(v->backends[i]->id)};
        const struct balance_backend *b = &v->backends[i]->balance;
        metrics_put_sample(out, M_BACKEND_UP, &label, 1, atomic_load(&b->open_until_ns) <= now_ns,
                           1);
    }
}

void ops_put_metrics(const struct ops_source *s, int64_t now_ns, struct buf *out) {
    const struct live_view *v = s->view(s->arg);
#define SHARD(member) offsetof(struct metrics_shard, member)
#define COUNTER(member) offsetof(struct live_counters, member)
    put_by_status(s, M_CALLS, SHARD(calls), out);
    put_by_status(s, M_REFUSED_REQUESTS, SHARD(refused), out);
    put_histogram(s, M_TIME_TO_ADMISSION, SHARD(admission), out);
    put_histogram(s, M_TIME_TO_FIRST_BYTE, SHARD(first_byte), out);
    put_histogram(s, M_CALL_DURATION, SHARD(duration), out);
    put_sum(s, M_RETRIES, SHARD(retries), out);
    put_sum(s, M_CANCELLED, SHARD(cancelled), out);
    put_sum(s, M_LOG_LINES, SHARD(log_lines), out);
    put_sum(s, M_LOG_LOST, SHARD(log_lost), out);
    put_sum(s, M_CONNECTIONS, SHARD(connections), out);
    put_sum(s, M_BODY_BYTES, SHARD(body_bytes), out);
    put_lookups(s, out);
    put_sum(s, M_PROMPTS_APART, SHARD(prompts_apart), out);
    put_sum(s, M_CALLS_IN_FLIGHT, SHARD(in_flight), out);
    metrics_put_header(out, M_START_TIME);
    metrics_put_sample(out, M_START_TIME, NULL, 0, s->started_s, 1);
    metrics_put_header(out, M_SNAPSHOT);
    metrics_put_sample(out, M_SNAPSHOT, NULL, 0, v->generation, 1);
    put_deployments(v, M_UTILIZATION, 0, 1, now_ns, out);
    put_deployments(v, M_CAPACITY, 0, 1, now_ns, out);
    put_deployments(v, M_DEPLOYMENT_CALLS, 0, 1, now_ns, out);
    put_deployments(v, M_PROMPT_TOKENS, COUNTER(prompt_tokens), 1, now_ns, out);
    put_deployments(v, M_CACHED_TOKENS, COUNTER(cached_tokens), 1, now_ns, out);
    put_deployments(v, M_CACHED_PREDICTED, COUNTER(cached_predicted), 1, now_ns, out);
    put_deployments(v, M_PROMPT_RESIDUAL, 0, 1000, now_ns, out);
    put_deployments(v, M_PROMPT_RESIDUAL_P99, 0, 1, now_ns, out);
    put_deployments(v, M_PREFIX_TTL, 0, NS_PER_S, now_ns, out);
    put_deployments(v, M_OUTPUT_TOKENS, COUNTER(output_tokens), 1, now_ns, out);
    put_deployments(v, M_CHARGED, COUNTER(charged_mt), 1000, now_ns, out);
    put_backends(v, now_ns, out);
#undef SHARD
#undef COUNTER
}

/* --- /debug/deployments --- */

static void put_number(struct json_writer *w, struct str key, int64_t value) {
    json_key(w, key);
    json_i64_value(w, value);
}

static void put_debug_one(const struct live_deployment *live, const struct deployment *d,
                          int64_t now_ns, struct json_writer *w) {
    json_begin_object(w);
    json_key(w, STR("id"));
    json_str_value(w, d->id);
    put_number(w, STR("capacity"), d->capacity);
    put_number(w, STR("admitted"), metric_read(&live->counters.admitted));
    put_number(w, STR("refused"), metric_read(&live->counters.refused));
    put_number(w, STR("inFlight"), metric_read(&live->counters.in_flight));
    put_number(w, STR("promptTokens"), metric_read(&live->counters.prompt_tokens));
    put_number(w, STR("outputTokens"), metric_read(&live->counters.output_tokens));
    if (d->is_provisioned) {
        /* Calls go on meanwhile: the level is that of the two numbers beside it. */
        int64_t finish = atomic_load(&live->bucket.finish_mt);
        int64_t served = bucket_served_mt(&live->bucket, now_ns);
        put_number(w, STR("chargedMt"), metric_read(&live->counters.charged_mt));
        put_number(w, STR("levelMt"), i64_max(0, finish - served));
        put_number(w, STR("finishMt"), finish);
        put_number(w, STR("servedMt"), served);
        put_number(w, STR("depthMt"), bucket_depth_mt(&live->bucket));
        put_number(w, STR("rateMtPerMinute"), bucket_rate(&live->bucket));
    }
    json_end_object(w);
}

static void put_debug(const struct live_view *v, int64_t now_ns, struct buf *out) {
    const struct account *a;
    struct json_writer w;
    json_writer_init(&w, out, 0);
    json_begin_object(&w);
    put_number(&w, STR("generation"), v->generation);
    json_key(&w, STR("value"));
    json_begin_array(&w);
    for (size_t at = 0; snapshot_next_account(v->snapshot, &at, &a);) {
        for (size_t i = 0; i < a->n_deployments; i++)
            put_debug_one(live_of(v, &a->deployments[i]), &a->deployments[i], now_ns, &w);
    }
    json_end_array(&w);
    json_end_object(&w);
}

/* --- the listener --- */

/* A POST /tokenize. A long text takes long to count, so another thread does, one text after another. */
struct ask {
    struct list in_asks;
    struct ops *ops;    /* NULL when the listener is gone */
    struct exchange *x; /* NULL when the client is gone */
    struct ops_source source;
    void *begun; /* NULL: it waits */
    struct buf body, page;
    enum status st;
    struct problem why;
};

static void ask_free(struct ask *a) {
    buf_destroy(&a->body);
    buf_destroy(&a->page);
    free(a);
}

static void ask_work(void *arg) {
    struct ask *a = arg;
    a->st = a->source.tokenize(a->begun, buf_view(&a->body), &a->page, &a->why);
}

static void ask_done(void *arg);

static void ask_first(struct ops *o) {
    if (list_is_empty(&o->asks))
        return;
    struct ask *a = CONTAINER_OF(o->asks.next, struct ask, in_asks);
    a->begun = a->source.tokenize_begin(a->source.arg);
    loop_work(o->loop, ask_work, ask_done, a);
}

static void ask_done(void *arg) {
    struct ask *a = arg;
    a->source.tokenize_end(a->begun);
    if (a->ops) {
        list_remove(&a->in_asks);
        ask_first(a->ops);
    }
    if (a->x) {
        exchange_set_user(a->x, NULL);
        if (a->st == ST_OK)
            exchange_reply(a->x, 200, STR("application/json"), buf_view(&a->page));
        else
            exchange_reply_error(a->x, a->st, a->why.message[0] ? &a->why : NULL);
    }
    ask_free(a);
}

static void tokenize(struct ops *o, struct exchange *x) {
    if (!str_eq(exchange_head(x)->method, STR("POST"))) {
        exchange_reply_error(x, ST_METHOD_NOT_ALLOWED, NULL);
        return;
    }
    struct ask *a = xcalloc(1, sizeof *a);
    a->ops = o;
    a->x = x;
    a->source = o->source;
    a->body = exchange_take_body(x);
    buf_init(&a->page, PAGE_MAX);
    exchange_set_user(x, a);
    bool is_first = list_is_empty(&o->asks);
    list_append(&o->asks, &a->in_asks);
    if (is_first)
        ask_first(o);
}

static void on_request(void *arg, struct exchange *x) {
    struct ops *o = arg;
    const struct http_head *head = exchange_head(x);
    struct str path = head->target;
    if (memchr(path.p, '?', path.n))
        path.n = (size_t)((const char *)memchr(path.p, '?', path.n) - path.p);
    if (str_eq(path, STR("/tokenize"))) {
        tokenize(o, x);
        return;
    }
    if (!str_eq(head->method, STR("GET")) && !str_eq(head->method, STR("HEAD"))) {
        exchange_reply_error(x, ST_METHOD_NOT_ALLOWED, NULL);
        return;
    }
    struct buf page;
    buf_init(&page, PAGE_MAX);
    if (str_eq(path, STR("/healthz"))) {
        exchange_reply(x, 200, STR("text/plain"), STR("ok\n"));
    } else if (str_eq(path, STR("/readyz"))) {
        const char *why = o->source.not_ready(o->source.arg);
        buf_str(&page, why ? str_of(why) : STR("ready"));
        buf_char(&page, '\n');
        exchange_reply(x, why ? 503 : 200, STR("text/plain"), buf_view(&page));
    } else if (str_eq(path, STR("/metrics"))) {
        ops_put_metrics(&o->source, os_now_ns(), &page);
        exchange_reply(x, 200, STR("text/plain; version=0.0.4"), buf_view(&page));
    } else if (str_eq(path, STR("/debug/deployments"))) {
        put_debug(o->source.view(o->source.arg), os_now_ns(), &page);
        exchange_reply(x, 200, STR("application/json"), buf_view(&page));
    } else {
        struct problem why;
        enum status st = problem_set(&why, ST_NOT_FOUND, STR(""),
                                     "This listener has /healthz, /readyz, /metrics, "
                                     "/debug/deployments and /tokenize.");
        exchange_reply_error(x, st, &why);
    }
    buf_destroy(&page);
}

static void on_gone(void *user, struct exchange *x) {
    (void)x;
    struct ask *a = user;
    if (!a)
        return;
    a->x = NULL;
    if (!a->begun) {
        list_remove(&a->in_asks);
        ask_free(a);
    }
}

static void on_drained(void *user, struct exchange *x) {
    (void)user;
    (void)x;
}

static const struct server_handler handler = {NULL, on_request, on_gone, on_drained, NULL};

struct ops *ops_new(struct loop *l, const struct ops_source *source) {
    enum { BODIES = 4 }; /* of the longest at once */
    struct ops *o = xcalloc(1, sizeof *o);
    o->source = *source;
    o->loop = l;
    list_init(&o->asks);
    struct server_limits limits = {.n_connections = 200,
                                   .body_bytes = source->body_bytes,
                                   .bodies_bytes = BODIES * (int64_t)source->body_bytes};
    o->server = server_new(l, &limits, &handler, o);
    return o;
}

struct server *ops_server(struct ops *o) {
    return o->server;
}

void ops_free(struct ops *o) {
    if (!o)
        return;
    server_free(o->server);
    /* All that waited went with their clients; the one that is worked on ends before the loop does. */
    if (!list_is_empty(&o->asks)) {
        struct ask *a = CONTAINER_OF(o->asks.next, struct ask, in_asks);
        list_remove(&a->in_asks);
        a->ops = NULL;
    }
    free(o);
}
