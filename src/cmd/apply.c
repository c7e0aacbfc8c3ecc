/* apply.c - `weir apply`: resource files to a running server, after a look at what they would change. */
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

/* What became of a resource. */
enum outcome {
    WAITS,
    IS_SAME,
    IS_NEW,
    IS_CHANGED,
    IS_REFUSED,   /* and from here on: not as it is wanted */
    IS_UNKNOWN,   /* it was sent, and no answer came */
    IS_NOT_TRIED, /* since what it lies in was refused, or the server no longer answers */
    OUTCOME_COUNT,
};

struct wanted {
    char *id, *body, *place; /* owned */
    enum outcome outcome;
};

struct apply {
    struct remote *remote;
    bool is_dry;
    struct json_doc *wanted, *there;
    bool is_terminal;
    bool is_gone;         /* the server; what is left is not tried */
    struct wanted *items; /* owned; what lies in another comes after it */
    size_t n;
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

static bool is_number(struct json_value v) {
    enum json_type type = json_type(v);
    return type == JSON_INT || type == JSON_UINT || type == JSON_DOUBLE;
}

static bool is_equal(struct json_value a, struct json_value b) {
    struct buf x, y;
    if (is_number(a) && is_number(b)) /* 50 and 50.0 are one */
        return json_f64(a) == json_f64(b);
    buf_init(&x, 1 << 20);
    buf_init(&y, 1 << 20);
    put_value(&x, a);
    put_value(&y, b);
    assert(x.p && y.p); /* no value is without a text */
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

static void say(const struct apply *a, const struct wanted *w) {
    static const struct {
        const char *sign, *colour;
    } shown[OUTCOME_COUNT] = {
        [IS_SAME] = {"=", "\033[2m"},     [IS_NEW] = {"+", "\033[32m"},
        [IS_CHANGED] = {"~", "\033[33m"}, [IS_REFUSED] = {"!", "\033[31m"},
        [IS_UNKNOWN] = {"?", "\033[31m"}, [IS_NOT_TRIED] = {"!", "\033[31m"},
    };
    const char *more = w->outcome == IS_REFUSED     ? ": refused"
                       : w->outcome == IS_UNKNOWN   ? ": sent, and no answer came"
                       : w->outcome == IS_NOT_TRIED ? ": not tried"
                                                    : "";
    if (a->is_terminal)
        printf("  %s%s\033[0m %s%s\n", shown[w->outcome].colour, shown[w->outcome].sign, w->id,
               more);
    else
        printf("  %s %s%s\n", shown[w->outcome].sign, w->id, more);
}

/* One request. A refusal is the resource's; where there is no answer there will be none to others. */
static enum status ask(struct apply *a, const char *method, struct str target, struct str body,
                       struct remote_answer *answer, struct problem *why) {
    enum status st = remote_call(a->remote, method, target, body, answer, why);
    a->is_gone = st != ST_OK;
    return st;
}

/* `refusal` becomes IS_UNKNOWN where it was sent and nobody knows what became of it. */
static enum status put(struct apply *a, const struct wanted *w, struct str target,
                       enum outcome *refusal, struct problem *why) {
    struct remote_answer answer;
    if (a->is_dry)
        return ST_OK;
    enum status st = ask(a, "PUT", target, str_of(w->body), &answer, why);
    if (st == ST_OK && answer.status >= 300)
        st = remote_refusal(&answer, str_of(w->id), why);
    if (st == ST_OK)
        st = remote_wait(a->remote, &answer, why);
    if (st != ST_OK && st != ST_BAD_REQUEST) /* which is what refusals are */
        *refusal = IS_UNKNOWN;
    remote_answer_destroy(&answer);
    return st;
}

/* What PUT would change, into `differences`. */
static enum status compare(struct apply *a, const struct wanted *w,
                           const struct remote_answer *found, struct buf *differences,
                           struct problem *why) {
    struct json_value wanted, there;
    struct buf text;
    buf_init(&text, 64 << 20);
    buf_str(&text, str_of(w->body));
    buf_reserve_slack(&text, 0, JSON_PADDING);
    enum status st = json_parse(a->wanted, text.p, text.len, &wanted, why);
    if (st == ST_OK)
        st = json_parse(a->there, found->body.p, found->body.len, &there, why);
    if (st == ST_OK)
        differ(wanted, there, "", differences);
    buf_destroy(&text);
    return st;
}

static enum status send_one(struct apply *a, struct wanted *w, struct buf *differences,
                            struct problem *why) {
    struct buf target;
    struct remote_answer found;
    enum outcome done = IS_NEW, refusal = IS_REFUSED;
    buf_init(&target, 8 << 10);
    buf_str(&target, str_of(w->id));
    buf_lit(&target, API_VERSION);
    enum status st = ask(a, "GET", buf_view(&target), STR(""), &found, why);
    if (a->is_gone)
        refusal = IS_NOT_TRIED;
    if (st == ST_OK && found.status == 200) {
        st = compare(a, w, &found, differences, why);
        done = differences->len ? IS_CHANGED : IS_SAME;
    } else if (st == ST_OK && found.status != 404) {
        st = remote_refusal(&found, str_of(w->id), why);
    }
    if (st == ST_OK && done != IS_SAME)
        st = put(a, w, buf_view(&target), &refusal, why);
    remote_answer_destroy(&found);
    buf_destroy(&target);
    w->outcome = st == ST_OK ? done : refusal;
    return st;
}

/* --- all of them --- */

/* What it lies in by its id and that did not come about; NULL when there is none. What else it refers
 * to, a location or a model, the server knows better. */
static const struct wanted *find_obstacle(const struct apply *a, const struct wanted *w) {
    for (const struct wanted *o = a->items; o < w; o++) {
        struct str id = str_of(w->id), above = str_of(o->id);
        if (o->outcome >= IS_REFUSED && str_istarts(id, above) &&
            str_starts(str_skip(id, above.n), STR("/")))
            return o;
    }
    return NULL;
}

static void apply_one(struct apply *a, struct wanted *w) {
    struct buf differences;
    struct problem why = {0};
    const struct wanted *obstacle = find_obstacle(a, w);
    buf_init(&differences, 1 << 20);
    enum status st = ST_OK;
    if (obstacle || a->is_gone)
        w->outcome = IS_NOT_TRIED;
    else
        st = send_one(a, w, &differences, &why);
    say(a, w);
    printf("%.*s", STR_ARG(buf_view(&differences)));
    fflush(stdout);
    if (st != ST_OK)
        fprintf(stderr, "weir: %s: %s\n", w->place, why.message);
    buf_destroy(&differences);
}

static enum status add(void *arg, const struct load_resource *r, struct problem *why) {
    struct apply *a = arg;
    (void)why;
    a->items = xrealloc(a->items, (a->n + 1) * sizeof *a->items);
    a->items[a->n++] = (struct wanted){
        .id = str_dup(r->id), .body = str_dup(r->body), .place = str_dup(str_of(r->place))};
    return ST_OK;
}

/* Sends all, and tells what became of them; whether each is as it is wanted. */
static bool apply_all(struct apply *a) {
    int n[OUTCOME_COUNT] = {0};
    for (size_t i = 0; i < a->n; i++) {
        apply_one(a, &a->items[i]);
        n[a->items[i].outcome]++;
    }
    printf("%d new, %d changed, %d as wanted", n[IS_NEW], n[IS_CHANGED], n[IS_SAME]);
    bool is_done = n[IS_REFUSED] + n[IS_UNKNOWN] + n[IS_NOT_TRIED] == 0;
    if (!is_done)
        printf(", %d refused, %d without an answer, %d not tried", n[IS_REFUSED], n[IS_UNKNOWN],
               n[IS_NOT_TRIED]);
    printf("%s\n", a->is_dry ? " (nothing was done)" : "");
    return is_done;
}

static void forget(struct apply *a) {
    for (size_t i = 0; i < a->n; i++) {
        explicit_bzero(a->items[i].body, strlen(a->items[i].body)); /* it may hold keys */
        free(a->items[i].id);
        free(a->items[i].body);
        free(a->items[i].place);
    }
    free(a->items);
    json_doc_free(a->wanted);
    json_doc_free(a->there);
    remote_close(a->remote);
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
    int n =
        options_parse(rows,
                      "usage: weir apply -f PATH [OPTIONS]\n\n"
                      "Sends resource files to a running server: + is new, ~ changes, = is as "
                      "wanted already.\nNothing is deleted. The same files applied again "
                      "change nothing.\n\n"
                      "Files and secrets are read before anything is sent. A resource that the "
                      "server refuses\nis marked with !, and its reason is on standard error; "
                      "those that lie in it by their\nids are not tried, all others are. Of one "
                      "marked with ? no answer came: it may have\nbeen done. The last line "
                      "counts them; the exit status is 0 when all was done.\n",
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
        st = load_each(file, add, &a, &why);
    int code = st != ST_OK ? fail_with(&why) : apply_all(&a) ? EXIT_OK : EXIT_FAILED;
    forget(&a);
    return code;
}
