/* config.c - `weir config`: checks and prints a configuration without serving it. */
#include "cmd/load.h"
#include "cmd/settings.h"
#include "os/os.h"
#include "json/json.h"

#include <stdio.h>

enum { PRINT_MAX = 256 << 20 };

static int check(struct settings *s, bool must_print) {
    struct problem why = {0};
    struct snapshot *snapshot;
    struct siphash_key hash = {0};
    if (!s->resources[0]) {
        fprintf(stderr, "weir config: --resources FILE or FOLDER is needed\n");
        return EXIT_USAGE;
    }
    if (load_snapshot(s->resources, &hash, &snapshot, &why) != ST_OK)
        return fail_with(&why);
    load_print_warnings(snapshot);
    size_t n_backends;
    snapshot_backends(snapshot, &n_backends);
    if (must_print) {
        struct buf out;
        struct json_writer w;
        buf_init(&out, PRINT_MAX);
        json_writer_init(&w, &out, 2);
        snapshot_print(snapshot, &w);
        buf_char(&out, '\n');
        fwrite(out.p, 1, out.len, stdout);
        buf_destroy(&out);
    } else {
        printf("the configuration is valid: %zu accounts, %zu deployments, %zu backends\n",
               snapshot_n_accounts(snapshot), snapshot_n_deployments(snapshot), n_backends);
    }
    snapshot_unref(snapshot);
    return EXIT_OK;
}

static int print_example(void) {
    struct buf out;
    buf_init(&out, 1 << 20);
    settings_put_example(&out);
    fwrite(out.p, 1, out.len, stdout);
    buf_destroy(&out);
    return EXIT_OK;
}

int cmd_config(int argc, char **argv) {
    static const char usage[] =
        "usage: weir config check --resources PATH [OPTIONS]   tell whether it is valid\n"
        "       weir config print --resources PATH [OPTIONS]   print it, defaults filled in\n"
        "       weir config example                            print every setting with its "
        "default\n\nThe options are those of `weir serve`:\n";
    const char *what = argc > 1 && argv[1][0] != '-' ? argv[1] : "";
    if (strcmp(what, "example") == 0)
        return print_example();
    bool is_check = strcmp(what, "check") == 0, is_print = strcmp(what, "print") == 0;
    struct settings s;
    settings_init(&s);
    if (is_check || is_print) {
        argc--;
        argv++;
        argv[0] = argv[-1];
        static char name[] = "config";
        argv[0] = name;
    } else if (what[0]) {
        fprintf(stderr, "weir config: \"%s\" is not one of check, print, example\n", what);
        return EXIT_USAGE;
    }
    int n = settings_parse(&s, usage, argc, argv);
    int status = n < 0 ? options_exit(n) : EXIT_USAGE;
    if (n == 0 && (is_check || is_print))
        status = check(&s, is_print);
    else if (n == 0)
        fprintf(stderr, "%s", usage);
    settings_destroy(&s);
    return status;
}
