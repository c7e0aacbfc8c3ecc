/* bench.c - `weir bench`: loads for measuring a gateway, and a model server that costs next to nothing. */
#include "bench/upstream.h"
#include "cmd/cmd.h"
#include "cmd/settings.h"
#include "os/os.h"

#include <signal.h>
#include <stdio.h>

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

/* --- the command --- */

static const struct command modes[] = {
    {"upstream", "the cheapest model server: a fixed answer, paced streams", cmd_upstream},
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
        if (strcmp(modes[i].name, argv[1]) == 0)
            return modes[i].run(argc - 1, argv + 1);
    }
    fprintf(stderr, "weir bench: unknown mode \"%s\"; weir bench --help lists them\n", argv[1]);
    return EXIT_USAGE;
}
