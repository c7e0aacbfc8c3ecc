/* docs.c - `weir docs`: the reference pages that come from the binary's own tables. */
#include "cmd/settings.h"
#include "metrics/metrics.h"

#include <stdio.h>

enum { PAGE_MAX = 1 << 20 };

/* A cell of a table in Markdown: a bar would end it. */
static void put_cell(struct buf *out, struct str text) {
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '|')
            buf_char(out, '\\');
        buf_char(out, text.p[i]);
    }
}

static void put_code(struct buf *out, struct str text) {
    if (text.n == 0)
        return;
    buf_char(out, '`');
    put_cell(out, text);
    buf_char(out, '`');
}

static void put_errors(struct buf *out) {
    buf_lit(out,
            "# Errors\n\n"
            "Printed by `weir docs errors`. Every error that Weir makes itself has this body, and "
            "`Content-Type:\napplication/json`:\n\n"
            "    {\"error\": {\"code\": \"429\", \"message\": \"...\", \"type\": "
            "\"too_many_requests\", \"param\": null}}\n\n"
            "`param` names the field that is wrong, or is null. The message below is the one "
            "when nothing more exact is known;\nmost errors say more. A 429 always has "
            "`retry-after-ms`, and `retry-after` in whole seconds, rounded up.\n"
            "What a model server answers with 3xx or 4xx (but 429) passes as it came.\n\n"
            "The label is the `outcome` in the access log and the `status` of "
            "`weir_calls_total` and\n`weir_refused_requests_total`. ARCHITECTURE.md, section 4, "
            "says at which step each comes.\n\n"
            "| HTTP | label | `code` | `type` | message |\n|---|---|---|---|---|\n");
    for (int st = ST_OK + 1; st < ST_COUNT; st++) {
        const struct status_info *info = status_info((enum status)st);
        buf_lit(out, "| ");
        buf_i64(out, info->http);
        buf_lit(out, " | ");
        put_code(out, info->label);
        buf_lit(out, " | ");
        put_code(out, info->code);
        buf_lit(out, " | ");
        put_code(out, info->type);
        buf_lit(out, " | ");
        put_cell(out, info->text);
        buf_lit(out, " |\n");
    }
}

static void put_metrics(struct buf *out) {
    static const struct str kinds[] = {[METRIC_counter] = STR_INIT("counter"),
                                       [METRIC_gauge] = STR_INIT("gauge"),
                                       [METRIC_histogram] = STR_INIT("histogram")};
    buf_lit(
        out,
        "# Metrics\n\n"
        "Printed by `weir docs metrics`. They are at `/metrics` of the operations listener "
        "(`--ops-listen`), in\nPrometheus' text format. Counters begin at 0 with the process. ");
    buf_printf(out,
               "Histograms have %d buckets, from 50 us to 400 s.\n"
               "A sample with the label `status` is there once that status has occurred; "
               "docs/errors.md lists them.\n\n",
               HISTOGRAM_BUCKETS);
    buf_lit(out, "| metric | kind | labels | |\n|---|---|---|---|\n");
    for (int m = 0; m < METRIC_COUNT; m++) {
        const struct metric_info *info = metric_info((enum metric)m);
        struct str rest = info->labels, label;
        buf_lit(out, "| ");
        put_code(out, info->name);
        buf_lit(out, " | ");
        buf_str(out, kinds[info->kind]);
        buf_lit(out, " | ");
        for (bool is_first = true; rest.n && str_cut(&rest, ',', &label); is_first = false) {
            if (!is_first)
                buf_lit(out, ", ");
            put_code(out, label);
        }
        buf_lit(out, " | ");
        put_cell(out, info->help);
        buf_lit(out, " |\n");
    }
}

static const struct {
    const char *name;
    void (*put)(struct buf *out);
} pages[] = {{"errors", put_errors}, {"metrics", put_metrics}, {"settings", settings_put_docs}};

int cmd_docs(int argc, char **argv) {
    bool is_help = argc == 2 && strcmp(argv[1], "--help") == 0;
    for (size_t i = 0; i < ARRAY_LEN(pages) && argc == 2; i++) {
        struct buf out;
        if (strcmp(argv[1], pages[i].name) != 0)
            continue;
        buf_init(&out, PAGE_MAX);
        pages[i].put(&out);
        fwrite(out.p, 1, out.len, stdout);
        buf_destroy(&out);
        return EXIT_OK;
    }
    fprintf(is_help ? stdout : stderr,
            "usage: weir docs errors|metrics|settings\n\n"
            "Prints a page of the reference, in Markdown, from the tables that the binary works "
            "by:\ndocs/errors.md, docs/metrics.md and docs/settings.md are its output.\n");
    return is_help ? EXIT_OK : EXIT_USAGE;
}
