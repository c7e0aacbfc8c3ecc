/* sim.c - the simulated model server: paths, keys, listings, statistics. */
#include "http/target.h"
#include "os/os.h"
#include "sim/script.h"
#include "sim/sim_private.h"
#include "json/error.h"

#include <stdlib.h>

enum { SEGMENTS_MAX = 8, OUT_CEILING = 256 << 20 };

/* --- answers that are no calls --- */

struct buf *sim_begin(const struct sim *s, struct exchange *x, int status, int64_t length,
                      struct str content_type) {
    struct buf *head = exchange_begin(x, status, length);
    buf_lit(head, "Content-Type: ");
    buf_str(head, content_type);
    buf_lit(head, "\r\nx-weir-simulated: true\r\nx-request-id: req_");
    buf_u64(head, script_mix(s->id_seed ^ s->n_drawn));
    buf_lit(head, "\r\n");
    return head;
}

static void reply_out(struct sim *s, struct exchange *x, int status) {
    struct str body = buf_view(&s->out);
    (void)sim_begin(s, x, status, (int64_t)body.n, STR("application/json"));
    buf_clear(&s->out); /* the bytes stay; the next request may be handled during the call below */
    (void)exchange_send(x, body, true);
}

void sim_reply_error(struct sim *s, struct exchange *x, enum status st, const struct problem *why,
                     int64_t retry_ms) {
    s->stats.refused++;
    json_put_error(&s->out, st, why);
    struct str body = buf_view(&s->out);
    struct buf *head =
        sim_begin(s, x, status_info(st)->http, (int64_t)body.n, STR("application/json"));
    if (retry_ms > 0) {
        http_put_field_i64(head, STR("retry-after-ms"), retry_ms);
        http_put_field_i64(head, STR("retry-after"), (retry_ms + 999) / 1000);
    }
    buf_clear(&s->out);
    (void)exchange_send(x, body, true);
}

static void put_model(struct json_writer *w, struct str name) {
    json_begin_object(w);
    json_key(w, STR("id"));
    json_str_value(w, name);
    json_key(w, STR("object"));
    json_str_value(w, STR("model"));
    json_key(w, STR("created"));
    json_i64_value(w, 0);
    json_key(w, STR("owned_by"));
    json_str_value(w, STR("weir-simulated"));
    json_end_object(w);
}

/* All models, or the one that is asked for. */
static void reply_models(struct sim *s, struct exchange *x, struct str wanted) {
    struct json_writer w;
    struct str rest = str_of(s->options.models), name;
    bool has_found = false;
    json_writer_init(&w, &s->out, 0);
    if (wanted.n == 0) {
        json_begin_object(&w);
        json_key(&w, STR("object"));
        json_str_value(&w, STR("list"));
        json_key(&w, STR("data"));
        json_begin_array(&w);
    }
    while (str_cut(&rest, ',', &name)) {
        name = str_trim(name);
        if (name.n && !has_found && (wanted.n == 0 || str_eq(name, wanted))) {
            put_model(&w, name);
            has_found = wanted.n > 0;
        }
    }
    if (wanted.n == 0) {
        json_end_array(&w);
        json_end_object(&w);
    } else if (!has_found) {
        struct problem why = {0};
        (void)problem_set(&why, ST_NOT_FOUND, STR("model"), "The model `%.*s` does not exist.",
                          STR_ARG(wanted));
        sim_reply_error(s, x, ST_NOT_FOUND, &why, 0);
        return;
    }
    reply_out(s, x, 200);
}

static void reply_stats(struct sim *s, struct exchange *x) {
    const struct sim_stats *t = &s->stats;
    const struct {
        struct str name;
        int64_t value;
    } rows[] = {
        {STR("requests"), t->requests},
        {STR("refused"), t->refused},
        {STR("completed"), t->completed},
        {STR("cancelled"), t->cancelled},
        {STR("faults"), t->faults},
        {STR("active"), s->physics.n_working},
        {STR("queued"), s->physics.n_waiting},
        {STR("decoding"), s->physics.n_decoding},
        {STR("prompt_tokens"), t->prompt_tokens},
        {STR("cached_tokens"), t->cached_tokens},
        {STR("output_tokens"), t->output_tokens},
        {STR("last_cancel_ms"), t->last_cancel_ms},
        {STR("last_cancel_tokens"), t->last_cancel_tokens},
        {STR("connections"), server_connections(s->server)},
    };
    struct json_writer w;
    json_writer_init(&w, &s->out, 0);
    json_begin_object(&w);
    json_key(&w, STR("simulated"));
    json_bool_value(&w, true);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        json_key(&w, rows[i].name);
        json_i64_value(&w, rows[i].value);
    }
    json_end_object(&w);
    reply_out(s, x, 200);
}

/* --- paths --- */

enum place {
    PLACE_NOWHERE,
    PLACE_CALL,   /* api and perhaps deployment */
    PLACE_MODELS, /* perhaps deployment: the name that is asked for */
    PLACE_HEALTH,
    PLACE_STATS,
    PLACE_RESET,
};

struct route {
    enum place place;
    enum ask_api api;
    struct str deployment; /* still percent-encoded */
};

static bool is_path(const struct str *segments, int n, const char *path) {
    struct str rest = str_of(path), word;
    int i = 0;
    while (str_cut(&rest, '/', &word)) {
        if (i >= n || !str_eq(segments[i++], word))
            return false;
    }
    return i == n;
}

static struct route find_route(struct str path) {
    static const struct {
        const char *path;
        enum ask_api api;
    } apis[] = {
        {"chat/completions", ASK_CHAT},
        {"completions", ASK_COMPLETIONS},
        {"embeddings", ASK_EMBEDDINGS},
        {"responses", ASK_RESPONSES},
    };
    struct route r = {.place = PLACE_NOWHERE};
    struct str all[SEGMENTS_MAX], *at = all;
    int n = 0;
    while (n < SEGMENTS_MAX && target_segment(&path, &all[n]))
        n++;
    if (is_path(all, n, "healthz"))
        r.place = PLACE_HEALTH;
    else if (is_path(all, n, "sim/stats"))
        r.place = PLACE_STATS;
    else if (is_path(all, n, "sim/reset"))
        r.place = PLACE_RESET;
    if (r.place != PLACE_NOWHERE)
        return r;

    /* The front: openai, v1, or both, and then perhaps a deployment. */
    if (n && str_eq(*at, STR("openai")))
        at++, n--;
    if (n && str_eq(*at, STR("v1")))
        at++, n--;
    if (at == all)
        return r;
    if (n > 2 && str_eq(*at, STR("deployments"))) {
        r.deployment = at[1];
        at += 2;
        n -= 2;
    }
    for (size_t i = 0; i < ARRAY_LEN(apis); i++) {
        if (is_path(at, n, apis[i].path)) {
            r.place = PLACE_CALL;
            r.api = apis[i].api;
        }
    }
    if (n && n <= 2 && str_eq(*at, STR("models"))) {
        r.place = PLACE_MODELS;
        r.deployment = n == 2 ? at[1] : STR("");
    }
    return r;
}

static bool has_key(const struct sim *s, const struct http_head *h) {
    if (!s->options.api_key)
        return true;
    struct str key = str_of(s->options.api_key), bearer = STR("bearer ");
    struct str given = http_head_get(h, STR("authorization"));
    if (str_istarts(given, bearer) && str_eq_secret(str_trim(str_skip(given, bearer.n)), key))
        return true;
    return str_eq_secret(http_head_get(h, STR("api-key")), key);
}

static void on_request(void *arg, struct exchange *x) {
    struct sim *s = arg;
    const struct http_head *h = exchange_head(x);
    struct str path, query, deployment = {NULL, 0};
    char name[256];
    if (!target_split(h->target, &path, &query)) {
        sim_reply_error(s, x, ST_BAD_HTTP, NULL, 0);
        return;
    }
    struct route r = find_route(path);
    bool is_post = str_eq(h->method, STR("POST"));
    if (r.place == PLACE_NOWHERE || r.deployment.n > sizeof name ||
        (r.deployment.n && !target_decode(r.deployment, false, name, &deployment))) {
        sim_reply_error(s, x, ST_NOT_FOUND, NULL, 0);
        return;
    }
    if (is_post != (r.place == PLACE_CALL || r.place == PLACE_RESET)) {
        sim_reply_error(s, x, ST_METHOD_NOT_ALLOWED, NULL, 0);
        return;
    }
    if ((r.place == PLACE_CALL || r.place == PLACE_MODELS) && !has_key(s, h)) {
        sim_reply_error(s, x, ST_UNAUTHORIZED, NULL, 0);
        return;
    }
    switch (r.place) {
    case PLACE_CALL:
        simcall_start(s, x, r.api, deployment);
        break;
    case PLACE_MODELS:
        reply_models(s, x, deployment);
        break;
    case PLACE_RESET:
        s->stats = (struct sim_stats){0};
        reply_stats(s, x);
        break;
    case PLACE_STATS:
        reply_stats(s, x);
        break;
    case PLACE_HEALTH:
    case PLACE_NOWHERE:
        buf_lit(&s->out, "{\"status\":\"ok\",\"simulated\":true}");
        reply_out(s, x, 200);
        break;
    }
}

static void on_gone(void *user, struct exchange *x) {
    (void)x;
    simcall_gone(user);
}

static void on_drained(void *user, struct exchange *x) {
    (void)x;
    simcall_drained(user);
}

static const struct server_handler handler = {
    .on_request = on_request,
    .on_gone = on_gone,
    .on_drained = on_drained,
};

static void on_alarm(void *arg) {
    struct sim *s = arg;
    s->armed_ns = INT64_MAX;
    simcall_pump(s);
}

/* --- the server --- */

struct sim *sim_new(struct loop *l, const struct sim_options *options) {
    const struct server_limits limits = {0};
    struct sim *s = xcalloc(1, sizeof *s);
    s->loop = l;
    s->options = *options;
    s->armed_ns = INT64_MAX;
    s->server = server_new(l, &limits, &handler, s);
    s->alarm = loop_alarm_new(l, on_alarm, s);
    physics_init(&s->physics, &options->profile);
    if (options->cache_ttl_ns)
        promptcache_init(&s->cache, options->cache_ttl_ns);
    ask_init(&s->ask, options->cache_ttl_ns != 0);
    buf_init(&s->out, OUT_CEILING);
    list_init(&s->stalled);
    os_random(&s->id_seed, sizeof s->id_seed);
    return s;
}

enum status sim_listen(struct sim *s, const char *host, int port, int *bound_port,
                       struct problem *why) {
    return server_listen(s->server, host, port, NULL, bound_port, why);
}

void sim_drain(struct sim *s, void (*on_idle)(void *arg), void *arg) {
    server_drain(s->server, on_idle, arg);
    simcall_end_stalled(s);
}

void sim_free(struct sim *s) {
    if (!s)
        return;
    server_free(s->server);
    loop_alarm_close(s->alarm);
    physics_destroy(&s->physics);
    promptcache_destroy(&s->cache);
    ask_destroy(&s->ask);
    buf_destroy(&s->out);
    free(s);
}
