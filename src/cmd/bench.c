/* bench.c - `weir bench`: loads for measuring a gateway, and a model server that costs next to nothing. */
#include "bench/load.h"
#include "bench/upstream.h"
#include "cmd/bench_swaps.h"
#include "cmd/cmd.h"
#include "cmd/settings.h"
#include "model/url.h"
#include "os/os.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

/* --- weir bench upstream --- */

static void on_signal(void *arg) {
    loop_stop(arg);
}

static int run_upstream(const char *listen, const struct upstream_options *options) {
    char host[256];
    int port;
    struct problem why = {0};
    if (!address_split(listen, host, &port)) {
        fprintf(stderr, "weir bench: --listen expects HOST:PORT, not \"%s\"\n", listen);
        return EXIT_USAGE;
    }
    signal(SIGPIPE, SIG_IGN);
    (void)os_raise_file_limit();
    struct loop *l = loop_new();
    struct upstream *u = upstream_new(l, options);
    enum status st = upstream_listen(u, host, port, &port, &why);
    if (st == ST_OK) {
        loop_on_signal(l, SIGTERM, on_signal, l);
        loop_on_signal(l, SIGINT, on_signal, l);
        printf("{\"endpoint\":\"http://%s:%d\"}\n", host, port);
        fflush(stdout);
        loop_run(l);
    }
    upstream_free(u);
    loop_free(l);
    return st == ST_OK ? EXIT_OK : fail_with(&why);
}

static int cmd_upstream(int argc, char **argv) {
    const char *listen = "127.0.0.1:0";
    struct upstream_options options = {.n_events = 100};
    int64_t gap_us = 200;
    const struct option_row rows[] = {
        {"listen", OPTION_TEXT, &listen, 0, 0, "HOST:PORT",
         "where to answer [127.0.0.1, a free port]"},
        {"events", OPTION_NUMBER, &options.n_events, 1, 999999, "N", "chunks of a stream [100]"},
        {"gap-us", OPTION_NUMBER, &gap_us, 1, INT64_C(3600000000), "N",
         "microseconds between two chunks, at least [200]"},
        {.name = NULL},
    };
    int n =
        options_parse(rows,
                      "usage: weir bench upstream [OPTIONS]\n\n"
                      "A model server for benchmarks: one fixed answer, paced streams, no checks.\n"
                      "Prints {\"endpoint\":...} when ready.\n",
                      argc, argv);
    if (n != 0)
        return n < 0 ? options_exit(n) : EXIT_USAGE;
    options.gap_ns = gap_us * NS_PER_US;
    return run_upstream(listen, &options);
}

/* --- the loads --- */

struct load_words {
    const char *url, *api_key, *model, *requests;
    int64_t n_words, max_tokens, patience_ms;
    bool is_insecure, as_json;
    struct load_options load;
};

/* The rows that both loads have; `n` is how many were written. */
static size_t fill_load_rows(struct load_words *w, struct option_row *rows) {
    /* clang-format off */
    const struct option_row table[] = {
        {"url", OPTION_TEXT, &w->url, 0, 0, "URL", "what to call, with the whole path"},
        {"api-key", OPTION_TEXT, &w->api_key, 0, 0, "K", "sent as api-key and as a bearer token"},
        {"model", OPTION_TEXT, &w->model, 0, 0, "NAME", "in the body [gpt-4o]"},
        {"words", OPTION_NUMBER, &w->n_words, 0, 10000000, "N", "of the prompt [100]"},
        {"max-tokens", OPTION_NUMBER, &w->max_tokens, 1, 1000000, "N", "of the answer [120]"},
        {"requests", OPTION_TEXT, &w->requests, 0, 0, "FILE", "send these instead, in turn: each a line with its length, then its bytes"},
        {"duration", OPTION_DURATION, &w->load.duration_ms, 0, 86400000, "TIME", "begin anew until then; 0: once each"},
        {"count", OPTION_NUMBER, &w->load.count, 0, INT64_C(1) << 40, "N", "so many in all"},
        {"patience", OPTION_DURATION, &w->patience_ms, 1, 86400000, "TIME", "wait this long for a byte [30s]"},
        {"insecure", OPTION_FLAG, &w->is_insecure, 0, 0, NULL, "accept any certificate"},
        {"json", OPTION_FLAG, &w->as_json, 0, 0, NULL, "print one JSON line"},
        {"silent", OPTION_FLAG, &w->load.is_silent, 0, 0, NULL, "no line a second on stderr"},
    };
    /* clang-format on */
    memcpy(rows, table, sizeof table);
    return ARRAY_LEN(table);
}

enum { N_LOAD_ROWS = 12, N_OWN_ROWS = 4 };

static void words_init(struct load_words *w) {
    *w = (struct load_words){.url = "",
                             .api_key = "",
                             .model = "gpt-4o",
                             .requests = "",
                             .n_words = 100,
                             .max_tokens = 120,
                             .patience_ms = 30000,
                             .load = {.n_at_once = 8, .ramp_ms = 0}};
}

/* What a load runs on; destroyed whatever was reached. */
struct bench {
    struct loop *loop;
    char *host, *path; /* owned */
    struct tls_context *tls;
    struct requests requests;
};

static void bench_close(struct bench *b) {
    requests_destroy(&b->requests);
    tls_unref(b->tls);
    if (b->loop)
        loop_free(b->loop);
    free(b->host);
    free(b->path);
}

static enum status bench_open(struct bench *b, struct load_words *w, bool is_stream,
                              struct problem *why) {
    struct url url;
    struct str text = str_of(w->url), query = {NULL, 0};
    /* A base URL has no query; what is called may have one. */
    const char *mark = strchr(w->url, '?');
    if (mark) {
        query = str_of(mark);
        text.n = (size_t)(mark - w->url);
    }
    if (!text.n)
        return problem_set(why, ST_BAD_REQUEST, STR("--url"), "what shall be called?");
    if (url_parse(text, &url, why) != ST_OK) {
        snprintf(why->target, sizeof why->target, "--url");
        return ST_BAD_REQUEST;
    }
    if (url.is_tls)
        TRY(tls_client_new(NULL, !w->is_insecure, &b->tls, why));
    b->host = str_dup(url.host);
    size_t n_path = url.path.n + query.n + 2;
    b->path = xmalloc(n_path);
    snprintf(b->path, n_path, "%.*s%.*s", STR_ARG(url.path), STR_ARG(query));
    if (!b->path[0])
        snprintf(b->path, n_path, "/");
    if (w->requests[0]) {
        TRY(requests_read(&b->requests, w->requests, why));
    } else {
        requests_make(&b->requests, &(struct requests_words){.authority = url.authority,
                                                             .path = str_of(b->path),
                                                             .api_key = str_of(w->api_key),
                                                             .model = str_of(w->model),
                                                             .n_words = w->n_words,
                                                             .max_tokens = w->max_tokens,
                                                             .is_stream = is_stream});
    }
    w->load.target = (struct client_target){.host = b->host,
                                            .port = url.port,
                                            .tls = b->tls,
                                            .connect_ms = w->patience_ms,
                                            .first_byte_ms = w->patience_ms,
                                            .stall_ms = w->patience_ms,
                                            .idle_ms = w->patience_ms};
    signal(SIGPIPE, SIG_IGN);
    int64_t files = os_raise_file_limit();
    if (files < w->load.n_at_once + 32)
        return problem_set(why, ST_BAD_REQUEST, STR("bench"),
                           "%lld at once need as many files, and the limit is %lld",
                           (long long)w->load.n_at_once, (long long)files);
    b->loop = loop_new();
    return ST_OK;
}

static void print(const struct buf *out) {
    printf("%.*s", STR_ARG(buf_view(out)));
    fflush(stdout);
}

static int cmd_streams(int argc, char **argv) {
    struct load_words w;
    struct option_row rows[N_LOAD_ROWS + N_OWN_ROWS + 1] = {{.name = NULL}};
    words_init(&w);
    size_t n_rows = fill_load_rows(&w, rows);
    /* clang-format off */
    const struct option_row own[N_OWN_ROWS] = {
        {"streams", OPTION_NUMBER, &w.load.n_at_once, 1, 1000000, "N", "at once [8]"},
        {"ramp", OPTION_DURATION, &w.load.ramp_ms, 0, 86400000, "TIME", "spread the first beginnings over this time"},
        {"rate", OPTION_DECIMAL, &w.load.rate, 0, 1000000, "R", "begin R streams a second by the clock, while less than --streams are under way"},
        {"expect-events", OPTION_NUMBER, &w.load.expected_events, 0, 1000000, "N", "events of each stream, [DONE] included; fewer are lost ones"},
    };
    /* clang-format on */
    memcpy(rows + n_rows, own, sizeof own);
    int n = options_parse(rows,
                          "usage: weir bench streams --url URL [OPTIONS]\n\n"
                          "Opens streams and counts their events. Streams begin by the clock, and "
                          "times count\nfrom when a stream was to begin.\n",
                          argc, argv);
    if (n != 0)
        return n < 0 ? options_exit(n) : EXIT_USAGE;
    struct bench b = {0};
    struct problem why = {0};
    struct streams_result *r = xcalloc(1, sizeof *r);
    enum status st = bench_open(&b, &w, true, &why);
    bool is_well = false;
    if (st == ST_OK) {
        struct buf out;
        struct json_writer json;
        streams_run(b.loop, &w.load, &b.requests, r);
        buf_init(&out, 1 << 16);
        json_writer_init(&json, &out, 0);
        if (w.as_json)
            streams_put_json(r, &json);
        else
            streams_put_text(r, &out);
        if (w.as_json)
            buf_char(&out, '\n');
        print(&out);
        buf_destroy(&out);
        is_well = r->n_lost == 0 && r->n_refused == 0 && r->n_events_lost == 0;
    }
    free(r);
    bench_close(&b);
    if (st != ST_OK)
        return fail_with(&why);
    return is_well ? EXIT_OK : EXIT_FAILED;
}

static int cmd_requests(int argc, char **argv) {
    struct load_words w;
    struct option_row rows[N_LOAD_ROWS + 2] = {{.name = NULL}};
    words_init(&w);
    w.load.n_at_once = 1;
    size_t n_rows = fill_load_rows(&w, rows);
    rows[n_rows] = (struct option_row){"connections",
                                       OPTION_NUMBER,
                                       &w.load.n_at_once,
                                       1,
                                       1000000,
                                       "N",
                                       "each with one request at a time [1]"};
    int n = options_parse(rows,
                          "usage: weir bench requests --url URL [OPTIONS]\n\n"
                          "Sends requests one after another on each connection and tells how long "
                          "answers took.\n",
                          argc, argv);
    if (n != 0)
        return n < 0 ? options_exit(n) : EXIT_USAGE;
    if (w.load.duration_ms == 0 && w.load.count == 0)
        w.load.duration_ms = 10000;
    struct bench b = {0};
    struct problem why = {0};
    struct round_trips_result *r = xcalloc(1, sizeof *r);
    enum status st = bench_open(&b, &w, false, &why);
    bool is_well = false;
    if (st == ST_OK) {
        struct buf out;
        struct json_writer json;
        round_trips_run(b.loop, &w.load, &b.requests, r);
        buf_init(&out, 1 << 16);
        json_writer_init(&json, &out, 0);
        if (w.as_json)
            round_trips_put_json(r, &json);
        else
            round_trips_put_text(r, &out);
        if (w.as_json)
            buf_char(&out, '\n');
        print(&out);
        buf_destroy(&out);
        is_well = r->n_failed == 0 && r->n_not_2xx == 0;
    }
    free(r);
    bench_close(&b);
    if (st != ST_OK)
        return fail_with(&why);
    return is_well ? EXIT_OK : EXIT_FAILED;
}

/* --- the command --- */

static const struct command modes[] = {
    {"streams", "open streams by the clock and count their events", cmd_streams},
    {"requests", "one request after another on each connection: how long answers take",
     cmd_requests},
    {"upstream", "the cheapest model server: a fixed answer, paced streams", cmd_upstream},
    {"swaps", "how long a loop stands still when the configuration is exchanged", cmd_bench_swaps},
};

static void print_help(void) {
    printf("usage: weir bench MODE [OPTIONS]\n\n");
    for (size_t i = 0; i < ARRAY_LEN(modes); i++)
        printf("  %-10s %s\n", modes[i].name, modes[i].summary);
    printf("\nweir bench MODE --help tells the options of a mode.\n");
}

int cmd_bench(int argc, char **argv) {
    if (argc < 2 || strcmp(argv[1], "--help") == 0) {
        print_help();
        return argc < 2 ? EXIT_USAGE : EXIT_OK;
    }
    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        char name[32];
        if (strcmp(modes[i].name, argv[1]) != 0)
            continue;
        snprintf(name, sizeof name, "bench %s", modes[i].name);
        argv[1] = name; /* what messages call the command */
        return modes[i].run(argc - 1, argv + 1);
    }
    fprintf(stderr, "weir bench: unknown mode \"%s\"; weir bench --help lists them\n", argv[1]);
    return EXIT_USAGE;
}
