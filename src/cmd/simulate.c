/* simulate.c - `weir simulate`: a model server that answers with simulated text and honest timing. */
#include "cmd/cmd.h"
#include "net/loop.h"
#include "os/os.h"
#include "sim/promptcache.h"
#include "sim/sim.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

struct simulate {
    struct loop *loop;
    struct sim *sim;
    bool is_draining;
};

/* What the command line says; -1 and 0 mean "as the profile has it". */
struct words {
    const char *listen, *profile, *models, *api_key;
    struct buf faults;
    double prefill_tps, decode_tps, time_scale;
    int64_t base_latency_ms, knee, slots, queue, output_tokens, context;
    bool has_prompt_cache, is_strict, is_json;
};

static void on_idle(void *arg) {
    struct simulate *s = arg;
    loop_stop(s->loop);
}

/* The first signal lets calls in hand finish, the second does not. */
static void on_signal(void *arg) {
    struct simulate *s = arg;
    if (s->is_draining) {
        loop_stop(s->loop);
        return;
    }
    s->is_draining = true;
    sim_drain(s->sim, on_idle, s);
}

/* "HOST:PORT", "[::1]:PORT" or ":PORT"; `host` holds 256 bytes. */
static enum status split_address(struct str text, char *host, int64_t *port, struct problem *why) {
    const char *colon = text.n ? memrchr(text.p, ':', text.n) : NULL;
    size_t n = colon ? (size_t)(colon - text.p) : 0;
    if (!colon || n > 255 || !str_to_i64(str_skip(text, n + 1), port) || *port < 0 || *port > 65535)
        return problem_set(why, ST_BAD_REQUEST, STR("--listen"), "expects HOST:PORT, not \"%.*s\"",
                           STR_ARG(text));
    struct str name = {text.p, n};
    if (n > 2 && name.p[0] == '[' && name.p[n - 1] == ']')
        name = (struct str){name.p + 1, n - 2};
    if (n == 0)
        name = STR("0.0.0.0");
    memcpy(host, name.p, name.n);
    host[name.n] = '\0';
    return ST_OK;
}

/* The profile by name, with what the other options change of it. */
static enum status read_profile(const struct words *w, struct physics_profile *p,
                                struct problem *why) {
    if (!physics_find(str_of(w->profile), p))
        return problem_set(why, ST_BAD_REQUEST, STR("--profile"), "is one of %s, not \"%s\"",
                           physics_names().p, w->profile);
    if (w->prefill_tps >= 0)
        p->prefill_mtps = (int64_t)(w->prefill_tps * 1000);
    if (w->decode_tps >= 0)
        p->decode_mtps = (int64_t)(w->decode_tps * 1000);
    if (w->base_latency_ms >= 0)
        p->base_latency_ns = w->base_latency_ms * NS_PER_MS;
    if (w->knee >= 0)
        p->knee = w->knee;
    if (w->slots >= 0)
        p->slots = w->slots;
    if (w->queue >= 0)
        p->queue = w->queue;
    if (!(w->time_scale > 0))
        return problem_set(why, ST_BAD_REQUEST, STR("--time-scale"), "must be above 0");
    physics_scale(p, w->time_scale);
    return ST_OK;
}

static enum status read_options(const struct words *w, struct sim_options *o, struct problem *why) {
    *o = (struct sim_options){
        .output_tokens = w->output_tokens,
        .context_tokens = w->context,
        .models = w->models,
        .is_strict = w->is_strict,
        .api_key = w->api_key,
        .cache_ttl_ns =
            w->has_prompt_cache ? (int64_t)((double)PROMPTCACHE_TTL_NS / w->time_scale) + 1 : 0,
    };
    TRY(read_profile(w, &o->profile, why));
    return faults_parse(buf_view(&w->faults), &o->faults, why);
}

static enum status run(const struct words *w, struct problem *why) {
    struct sim_options options;
    struct simulate s = {0};
    char host[256];
    int64_t port = 0;
    int bound;
    TRY(read_options(w, &options, why));
    TRY(split_address(str_of(w->listen), host, &port, why));
    (void)os_raise_file_limit();
    s.loop = loop_new();
    s.sim = sim_new(s.loop, &options);
    enum status st = sim_listen(s.sim, host, (int)port, &bound, why);
    if (st == ST_OK) {
        loop_on_signal(s.loop, SIGTERM, on_signal, &s);
        loop_on_signal(s.loop, SIGINT, on_signal, &s);
        bool is_v6 = strchr(host, ':') != NULL;
        char endpoint[300];
        snprintf(endpoint, sizeof endpoint, is_v6 ? "http://[%s]:%d" : "http://%s:%d", host, bound);
        fprintf(stderr, "weir simulate: a simulation, no model answers here; profile %s on %s\n",
                w->profile, endpoint);
        if (w->is_json)
            printf("{\"endpoint\":\"%s\"}\n", endpoint);
        fflush(stdout);
        loop_run(s.loop);
    }
    sim_free(s.sim);
    loop_free(s.loop);
    return st;
}

int cmd_simulate(int argc, char **argv) {
    struct words w = {
        .listen = "127.0.0.1:9001",
        .profile = "gpt-4o",
        .models = "gpt-4o,gpt-4o-mini,text-embedding-3-small",
        .prefill_tps = -1,
        .decode_tps = -1,
        .time_scale = 1,
        .base_latency_ms = -1,
        .knee = -1,
        .slots = -1,
        .queue = -1,
        .output_tokens = 150,
        .context = 131072,
    };
    buf_init(&w.faults, 4096);
    /* clang-format off */
    const struct option_row table[] = {
        {"listen", OPTION_TEXT, &w.listen, 0, 0, "HOST:PORT", "where to answer [127.0.0.1:9001]; port 0 takes a free one"},
        {"json", OPTION_FLAG, &w.is_json, 0, 0, NULL, "print {\"endpoint\":...} on stdout when ready"},
        {"profile", OPTION_TEXT, &w.profile, 0, 0, "NAME", "gpt-4o (default), h100-70b, fast, or instant: no waiting at all"},
        {"prefill-tps", OPTION_DECIMAL, &w.prefill_tps, 0, 1000000000, "N", "prompt tokens per second; 0: no time"},
        {"decode-tps", OPTION_DECIMAL, &w.decode_tps, 0, 1000000000, "N", "tokens per second of one stream; 0: no time"},
        {"knee", OPTION_NUMBER, &w.knee, 0, INT32_MAX, "N", "streams above which each becomes slower; 0: never"},
        {"slots", OPTION_NUMBER, &w.slots, 0, INT32_MAX, "N", "calls worked on at once; 0: no limit"},
        {"queue", OPTION_NUMBER, &w.queue, 0, INT32_MAX, "N", "calls that wait for a slot; those beyond get 429"},
        {"base-latency", OPTION_DURATION, &w.base_latency_ms, 0, 3600000, "TIME", "before every first token"},
        {"time-scale", OPTION_DECIMAL, &w.time_scale, 0, 1000000, "X", "run X times faster than life [1]"},
        {"output-tokens", OPTION_NUMBER, &w.output_tokens, 1, 100000, "N", "mean length of answers that nothing limits [150]"},
        {"context", OPTION_NUMBER, &w.context, 1, 100000000, "N", "longest prompt, tokens [131072]"},
        {"prompt-cache", OPTION_FLAG, &w.has_prompt_cache, 0, 0, NULL, "remember beginnings of prompts for 5 minutes: 1,024 + 128 k tokens"},
        {"models", OPTION_TEXT, &w.models, 0, 0, "A,B", "names that GET /v1/models lists"},
        {"strict-models", OPTION_FLAG, &w.is_strict, 0, 0, NULL, "refuse other models"},
        {"api-key", OPTION_TEXT, &w.api_key, 0, 0, "KEY", "refuse callers without it"},
        {"fault", OPTION_LIST, &w.faults, 0, 0, "KIND[:RATE],...", "fail that part of the calls so: 429, 500, 503, slow-start, stall, disconnect, error, reset, garbage, no-usage, usage-every, burst, split, crlf"},
        {NULL, OPTION_FLAG, NULL, 0, 0, NULL, NULL},
    };
    /* clang-format on */
    int n = options_parse(
        table,
        "usage: weir simulate [OPTIONS]\n\n"
        "A server with OpenAI's API whose answers are made up and whose timing is\n"
        "that of a model. Requests may order an answer or a fault by x-sim-* fields.\n",
        argc, argv);
    struct problem why = {0};
    int code = options_exit(n);
    if (n > 0)
        fprintf(stderr, "weir simulate: unexpected word \"%s\"\n", argv[1]);
    else if (n == 0)
        code = run(&w, &why) == ST_OK ? EXIT_OK : fail_with(&why);
    buf_destroy(&w.faults);
    return code;
}
