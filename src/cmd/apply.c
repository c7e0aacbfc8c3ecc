/* apply.c - `weir apply`: resource files to a running server, after a look at
 * what they would change. */
#include "cmd/cmd.h"
#include "cmd/load.h"
#include "cmd/remote.h"
#include "os/os.h"
#include "json/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define API_VERSION "?api-version=2025-09-01"

enum { DIFFERENCES_MAX = 2000, DEPTH_MAX = 32 };

struct apply {
    struct remote *remote;
    bool is_dry;
    struct json_doc *wanted, *there;
    int n_new, n_changed, n_same;
    bool is_terminal;
};

/* --- what differs --- */

/* Members that are never read back, or that the server completes: no difference
 * when they are only written. */
static bool is_write_only(struct str name) {
    return str_eq(name, STR("keys")) || str_eq(name, STR("apiKey")) || str_eq(name, STR("id")) ||
           str_eq(name, STR("name")) || str_eq(name, STR("type"));
}

static void put_value(struct buf *out, struct json_value v) {
    struct json_writer w;
    json_writer_init(&w, out, 0);
    if (!json_copy(&w, v, DEPTH_MAX))
        buf_lit(out, "...");
}

static bool is_equal(struct json_value a, struct json_value b) {
    struct buf x, y;
    buf_init(&x, 1 << 20);
    buf_init(&y, 1 << 20);
    put_value(&x, a);
    put_value(&y, b);
    /* Places and names of models are written in either case. */
    bool same = json_type(a) == JSON_STRING ? str_ieq(buf_view(&x), buf_view(&y))
                                            : str_eq(buf_view(&x), buf_view(&y));
    buf_destroy(&x);
    buf_destroy(&y);
    return same;
}

/* Appends "path: old -> new" for each member of `wanted` that `there` has
 * otherwise. */
static void differ(struct json_value wanted, struct json_value there, const char *path,
                   struct buf *out) {
    struct json_iter it;
    struct str key;
    struct json_value v, old;
    json_fields(&it, wanted);
    while (json_next_field(&it, &key, &v)) {
        char below[256];
        if (is_write_only(key))
            continue;
        snprintf(below, sizeof below, "%s%s%.*s", path, path[0] ? "." : "", STR_ARG(key));
        bool is_there = json_get(there, key, &old);
        if (is_there && json_type(v) == JSON_OBJECT) {
            differ(v, old, below, out);
        } else if (!is_there || !is_equal(v, old)) {
            buf_printf(out, "      %s: ", below);
            if (is_there) {
                put_value(out, old);
                buf_lit(out, " -> ");
            }
            put_value(out, v);
            buf_char(out, '\n');
        }
    }
}

/* --- one resource --- */

static void say(const struct apply *a, const char *sign, const char *colour, struct str id) {
    if (a->is_terminal)
        printf("  %s%s\033[0m %.*s\n", colour, sign, STR_ARG(id));
    else
        printf("  %s %.*s\n", sign, STR_ARG(id));
}

static enum status put(struct apply *a, struct str id, struct str target, struct str body,
                       struct problem *why) {
    struct remote_answer answer;
    if (a->is_dry)
        return ST_OK;
    enum status st = remote_call(a->remote, "PUT", target, body, &answer, why);
    if (st == ST_OK && answer.status >= 300)
        st = remote_refusal(&answer, id, why);
    if (st == ST_OK)
        st = remote_wait(a->remote, &answer, why);
    remote_answer_destroy(&answer);
    return st;
}

static enum status compare(struct apply *a, struct str id, struct str target, struct str body,
                           const struct remote_answer *found, struct problem *why) {
    struct json_value wanted, there;
    struct buf text, differences;
    buf_init(&text, 64 << 20);
    buf_init(&differences, 1 << 20);
    buf_str(&text, body);
    buf_reserve_slack(&text, 0, JSON_PADDING);
    enum status st = json_parse(a->wanted, text.p, text.len, &wanted, why);
    if (st == ST_OK)
        st = json_parse(a->there, found->body.p, found->body.len, &there, why);
    if (st == ST_OK) {
        differ(wanted, there, "", &differences);
        bool is_same = differences.len == 0;
        a->n_same += is_same;
        a->n_changed += !is_same;
        say(a, is_same ? "=" : "~", is_same ? "\033[2m" : "\033[33m", id);
        printf("%.*s", STR_ARG(buf_view(&differences)));
        if (!is_same)
            st = put(a, id, target, body, why);
    }
    buf_destroy(&text);
    buf_destroy(&differences);
    return st;
}

static enum status apply_one(void *arg, struct str id, struct str body, struct problem *why) {
    struct apply *a = arg;
    struct buf target;
    struct remote_answer found;
    buf_init(&target, 8 << 10);
    buf_str(&target, id);
    buf_lit(&target, API_VERSION);
    enum status st = remote_call(a->remote, "GET", buf_view(&target), STR(""), &found, why);
    if (st == ST_OK && found.status == 200) {
        st = compare(a, id, buf_view(&target), body, &found, why);
    } else if (st == ST_OK && found.status == 404) {
        a->n_new++;
        say(a, "+", "\033[32m", id);
        st = put(a, id, buf_view(&target), body, why);
    } else if (st == ST_OK) {
        st = remote_refusal(&found, id, why);
    }
    fflush(stdout);
    remote_answer_destroy(&found);
    buf_destroy(&target);
    return st;
}

int cmd_apply(int argc, char **argv) {
    struct apply a = {.is_dry = false, .is_terminal = isatty(STDOUT_FILENO)};
    const char *file = "", *data_dir = "weir-data", *operator_file = "";
    char path[4096];
    struct problem why = {0};
    const struct option_row rows[] = {
        {"file", OPTION_TEXT, &file, 0, 0, "PATH",
         "a resource file, or a folder of *.json files; -f does too"},
        {"dry-run", OPTION_FLAG, &a.is_dry, 0, 0, NULL,
         "show what would change, and change nothing"},
        {"data-dir", OPTION_TEXT, &data_dir, 0, 0, "FOLDER",
         "the server's data folder, which tells where it is [weir-data]"},
        {"operator", OPTION_TEXT, &operator_file, 0, 0, "FILE",
         "an operator.json from elsewhere than the data folder"},
        {.name = NULL},
    };
    for (int i = 1; i < argc; i++) {
        static char long_form[] = "--file";
        if (strcmp(argv[i], "-f") == 0)
            argv[i] = long_form;
    }
    int n = options_parse(rows,
                          "usage: weir apply -f PATH [OPTIONS]\n\n"
                          "Sends resource files to a running server: + is new, ~ changes, = is as "
                          "wanted already.\nNothing is deleted. The same files applied again "
                          "change "
                          "nothing.\n",
                          argc, argv);
    if (n < 0)
        return options_exit(n);
    if (!file[0] && n == 1)
        file = argv[1];
    else if (!file[0] || n > 0) {
        fprintf(stderr, "weir apply: one -f PATH is needed\n");
        return EXIT_USAGE;
    }
    remote_operator_file(data_dir, operator_file, path, sizeof path);
    a.wanted = json_doc_new();
    a.there = json_doc_new();
    enum status st = remote_open(path, &a.remote, &why);
    if (st == ST_OK)
        st = load_each(file, apply_one, &a, &why);
    if (st == ST_OK)
        printf("%d new, %d changed, %d as wanted%s\n", a.n_new, a.n_changed, a.n_same,
               a.is_dry ? " (nothing was done)" : "");
    remote_close(a.remote);
    json_doc_free(a.wanted);
    json_doc_free(a.there);
    return st == ST_OK ? EXIT_OK : fail_with(&why);
}
