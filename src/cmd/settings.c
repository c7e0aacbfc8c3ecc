#include "cmd/settings.h"

#include "os/os.h"

#include <stdio.h>
#include <stdlib.h>

enum { N_ROWS = 31, FILE_MAX = 1 << 20 };

#define MINUTE_MS INT64_C(60000)
#define HOUR_MS INT64_C(3600000)

/* One row per setting; `values` is where they go. */
static void fill_rows(struct settings *s, struct option_row rows[N_ROWS + 1]) {
    /* clang-format off */
    const struct option_row table[N_ROWS + 1] = {
        {"config", OPTION_TEXT, &s->config, 0, 0, "FILE", "read settings from a file; options given here go over it"},
        {"resources", OPTION_TEXT, &s->resources, 0, 0, "PATH", "a resource file, or a folder of *.json files"},
        {"listen", OPTION_TEXT, &s->listen, 0, 0, "HOST:PORT", "where calls arrive over http; port 0 takes a free one; \"none\""},
        {"tls-listen", OPTION_TEXT, &s->tls_listen, 0, 0, "HOST:PORT", "where calls arrive over https; \"none\""},
        {"tls-cert", OPTION_TEXT, &s->tls_cert, 0, 0, "FILE", "certificate chain of the https listener, PEM"},
        {"tls-key", OPTION_TEXT, &s->tls_key, 0, 0, "FILE", "its private key, PEM"},
        {"ops-listen", OPTION_TEXT, &s->ops_listen, 0, 0, "HOST:PORT", "where /healthz, /readyz and /metrics are; \"none\""},
        {"control-listen", OPTION_TEXT, &s->control_listen, 0, 0, "HOST:PORT", "where the control plane (Azure Resource Manager's API) is, over https; \"none\""},
        {"control-names", OPTION_TEXT, &s->control_names, 0, 0, "NAMES", "names and addresses, with commas between them, by which clients reach the control plane"},
        {"control-cert", OPTION_TEXT, &s->control_cert, 0, 0, "FILE", "certificate chain of the control plane, PEM; made in the data folder when not given"},
        {"control-key", OPTION_TEXT, &s->control_key, 0, 0, "FILE", "its private key, PEM"},
        {"control-cert-validity", OPTION_DURATION, &s->control_cert_validity_ms, 3000, 9528 * HOUR_MS, "TIME", "how long the certificate that is made is good; it is made anew, while the process runs, 30 days before its end or when two thirds are over"},
        {"token-key-age", OPTION_DURATION, &s->token_key_age_ms, 0, 87600 * HOUR_MS, "TIME", "another key signs tokens after this long; 0: never"},
        {"oidc-issuer", OPTION_LIST, &s->oidc_issuers, 0, 0, "ISSUER", "whose tokens are believed too: \"https://ISSUER audience=NAME\", perhaps with more audiences, jwks=URL, ca=FILE and ids=guid or ids=own, blanks between; may be given several times"},
        {"webhook-hosts", OPTION_TEXT, &s->webhook_hosts, 0, 0, "NAMES", "hosts, with commas between them, that webhooks may name although their addresses are not public; \"*.NAME\" is all below"},
        {"accounts-per-location", OPTION_NUMBER, &s->accounts_per_location, 1, 100000, "N", "accounts of one kind that a subscription may have in one location"},
        {"standard-deployments-per-account", OPTION_NUMBER, &s->standard_deployments_per_account, 1, 100000, "N", "standard deployments that an account may have"},
        {"data-url", OPTION_TEXT, &s->data_url, 0, 0, "URL", "what accounts show as their endpoint, \"{account}\" replaced; default: the address of listen"},
        {"data-dir", OPTION_TEXT, &s->data_dir, 0, 0, "FOLDER", "where levels, the access log and what the control plane keeps are"},
        {"access-log", OPTION_TEXT, &s->access_log, 0, 0, "FILE", "one JSON line a call; \"-\" is standard output, \"none\" is none; default: access.log in the data folder"},
        {"loops", OPTION_NUMBER, &s->loops, 0, 64, "N", "event loops; 0 takes one per processor"},
        {"drain-grace", OPTION_DURATION, &s->drain_grace_ms, 0, 24 * HOUR_MS, "TIME", "at SIGTERM, calls in hand may go on for this long"},
        {"body-limit", OPTION_SIZE, &s->body_limit, 1024, INT64_C(1) << 28, "SIZE", "the largest request body"},
        {"body-memory", OPTION_SIZE, &s->body_memory, 1 << 20, INT64_C(1) << 40, "SIZE", "memory for request bodies, over all connections; more are refused with 503"},
        {"head-limit", OPTION_SIZE, &s->head_limit, 1024, 64 << 10, "SIZE", "the largest request head"},
        {"max-connections", OPTION_NUMBER, &s->max_connections, 1, 1000000, "N", "client connections at once, over all loops; fewer where the limit of open files has not two for each"},
        {"head-timeout", OPTION_DURATION, &s->head_timeout_ms, 100, HOUR_MS, "TIME", "a request's head must be complete this long after its first byte"},
        {"body-timeout", OPTION_DURATION, &s->body_timeout_ms, 100, HOUR_MS, "TIME", "a request's body must be complete this long after its head"},
        {"idle-timeout", OPTION_DURATION, &s->idle_timeout_ms, 100, 24 * HOUR_MS, "TIME", "an unused client connection is kept this long"},
        {"stall-timeout", OPTION_DURATION, &s->stall_timeout_ms, 100, 24 * HOUR_MS, "TIME", "a client that takes nothing of its answer is dropped after this long"},
        {"name-ttl", OPTION_DURATION, &s->name_ttl_ms, 0, HOUR_MS, "TIME", "the addresses of a backend's name are looked up again after this long"},
        {.name = NULL},
    };
    /* clang-format on */
    memcpy(rows, table, sizeof table);
}

void settings_init(struct settings *s) {
    *s = (struct settings){
        .config = "",
        .listen = "127.0.0.1:8080",
        .tls_listen = "none",
        .tls_cert = "",
        .tls_key = "",
        .ops_listen = "127.0.0.1:8081",
        .resources = "",
        .control_listen = "none",
        .control_names = "localhost,127.0.0.1,::1",
        .control_cert = "",
        .control_key = "",
        .control_cert_validity_ms = 9528 * HOUR_MS,
        .token_key_age_ms = 2160 * HOUR_MS,
        .webhook_hosts = "",
        .accounts_per_location = 30,            /* Azure's limits: ARM contract 3 */
        .standard_deployments_per_account = 32, /* the same */
        .data_url = "",
        .data_dir = "weir-data",
        .access_log = "",
        .drain_grace_ms = 30000,
        .body_limit = 32 << 20,
        .body_memory = 1 << 30,
        .head_limit = 32 << 10,
        .max_connections = SETTINGS_CONNECTIONS,
        .head_timeout_ms = 10000,
        .body_timeout_ms = 2 * MINUTE_MS,
        .idle_timeout_ms = 75000,
        .stall_timeout_ms = MINUTE_MS,
        .name_ttl_ms = 5000,
    };
    buf_init(&s->oidc_issuers, FILE_MAX);
}

void settings_destroy(struct settings *s) {
    free(s->file_text);
    s->file_text = NULL;
    buf_destroy(&s->oidc_issuers);
}

static const struct option_row *row_of(const struct option_row *rows, struct str name) {
    for (const struct option_row *row = rows; row->name; row++) {
        if (str_eq(str_of(row->name), name) && strcmp(row->name, "config") != 0)
            return row;
    }
    return NULL;
}

/* Reads `key = value` lines; # begins a comment. The values stay in s->file_text. */
static enum status read_file(struct settings *s, const struct option_row *rows, const char *path,
                             struct problem *why) {
    struct buf text;
    buf_init(&text, FILE_MAX);
    enum status st = os_read_file(path, &text, 1, why);
    if (st != ST_OK) {
        buf_destroy(&text);
        return st;
    }
    buf_char(&text, '\0');
    s->file_text = text.p;
    int number = 0;
    char *line = text.p;
    while (line && *line) {
        char *end = strchr(line, '\n');
        if (end)
            *end = '\0';
        number++;
        char place[300];
        snprintf(place, sizeof place, "%s:%d", path, number);
        char *comment = strchr(line, '#');
        if (comment)
            *comment = '\0';
        struct str content = str_trim(str_of(line)), name;
        line = end ? end + 1 : NULL;
        if (content.n == 0)
            continue;
        struct str value = content;
        if (!str_cut(&value, '=', &name) || !value.p)
            return problem_set(why, ST_BAD_REQUEST, str_of(place),
                               "expected \"setting = value\", not \"%.*s\"", STR_ARG(content));
        name = str_trim(name);
        value = str_trim(value);
        const struct option_row *row = row_of(rows, name);
        if (!row)
            return problem_set(why, ST_BAD_REQUEST, str_of(place),
                               "there is no setting \"%.*s\"; `weir config example` lists them",
                               STR_ARG(name));
        ((char *)(uintptr_t)value.p)[value.n] = '\0'; /* inside the text that is ours */
        struct problem inner = {0};
        if (!option_read(row, value.p, &inner))
            return problem_set(why, ST_BAD_REQUEST, str_of(place), "%s %s", inner.target,
                               inner.message);
    }
    return ST_OK;
}

int settings_parse(struct settings *s, const char *usage, int argc, char **argv) {
    struct option_row rows[N_ROWS + 1];
    struct problem why = {0};
    fill_rows(s, rows);
    /* The file's name is an option itself, so options are read twice: once to find it, once over
     * what the file says. */
    char **copy = xcalloc((size_t)argc + 1, sizeof *copy);
    memcpy(copy, argv, (size_t)argc * sizeof *copy);
    int n = options_parse(rows, usage, argc, copy);
    if (n > 0)
        fprintf(stderr, "weir %s: unexpected word \"%s\"; weir %s --help tells more\n", argv[0],
                copy[1], argv[0]);
    free(copy);
    if (n != 0)
        return n < 0 ? n : -1;
    if (!s->config[0])
        return 0;
    const char *path = s->config;
    settings_destroy(s);
    settings_init(s);
    if (read_file(s, rows, path, &why) != ST_OK) {
        fail_with(&why);
        return -1;
    }
    return options_parse(rows, usage, argc, argv);
}

static void put_value(struct buf *out, const struct option_row *row) {
    int64_t n;
    switch (row->kind) {
    case OPTION_FLAG:
        buf_str(out, *(bool *)row->value ? STR("true") : STR("false"));
        return;
    case OPTION_TEXT:
        buf_str(out, str_of(*(const char **)row->value));
        return;
    case OPTION_LIST:
        buf_str(out, buf_view(row->value));
        return;
    case OPTION_DECIMAL:
        buf_printf(out, "%g", *(double *)row->value);
        return;
    case OPTION_DURATION:
        n = *(int64_t *)row->value;
        if (n && n % HOUR_MS == 0)
            buf_printf(out, "%lldh", (long long)(n / HOUR_MS));
        else if (n && n % MINUTE_MS == 0)
            buf_printf(out, "%lldm", (long long)(n / MINUTE_MS));
        else if (n % 1000 == 0)
            buf_printf(out, "%llds", (long long)(n / 1000));
        else
            buf_printf(out, "%lldms", (long long)n);
        return;
    case OPTION_SIZE:
        n = *(int64_t *)row->value;
        if (n % (1 << 20) == 0)
            buf_printf(out, "%lldM", (long long)(n >> 20));
        else
            buf_printf(out, "%lldk", (long long)(n >> 10));
        return;
    case OPTION_NUMBER:
        buf_i64(out, *(int64_t *)row->value);
        return;
    }
}

void settings_put_example(struct buf *out) {
    struct settings s;
    struct option_row rows[N_ROWS + 1];
    settings_init(&s);
    fill_rows(&s, rows);
    buf_lit(out, "# Every setting of Weir with its default, as `weir config example` prints them.\n"
                 "# The same names are options of `weir serve`, with two dashes before them.\n");
    for (const struct option_row *row = rows; row->name; row++) {
        if (strcmp(row->name, "config") == 0)
            continue;
        buf_printf(out, "\n# %s\n#%s = ", row->help, row->name);
        size_t before = out->len;
        put_value(out, row);
        if (out->len == before)
            out->len--; /* no value, no blank at the line's end */
        buf_char(out, '\n');
    }
}

/* A number as the file would have it, in the unit of its kind. */
static void put_bound(struct buf *out, const struct option_row *row, int64_t bound) {
    struct option_row one = *row;
    one.value = &bound;
    put_value(out, &one);
}

void settings_put_docs(struct buf *out) {
    struct settings s;
    struct option_row rows[N_ROWS + 1];
    settings_init(&s);
    fill_rows(&s, rows);
    buf_lit(out, "# Settings\n\n"
                 "Printed by `weir docs settings`. A setting is an option of `weir serve` "
                 "(`--body-limit 64M`) or a line of the\nfile that `--config` names "
                 "(`body-limit = 64M`); options go over the file, `#` begins a comment.\n"
                 "`weir.conf.example` is such a file with every default. They are read once, at "
                 "start; SIGHUP reads anew what is in the\nfiles that they name: certificates, "
                 "authorities, resources (docs/operating.md).\n\n"
                 "A TIME is a number with `ms`, `s`, `m` or `h`, without a unit seconds; a SIZE is "
                 "one with `k`, `M` or `G`, powers\nof 1,024, without a unit bytes.\n\n"
                 "| setting | value | default | bounds | |\n|---|---|---|---|---|\n");
    for (const struct option_row *row = rows; row->name; row++) {
        if (strcmp(row->name, "config") == 0)
            continue;
        buf_printf(out, "| `%s` | %s | ", row->name, row->argument ? row->argument : "");
        size_t before = out->len;
        buf_char(out, '`');
        put_value(out, row);
        buf_char(out, '`');
        if (out->len == before + 2)
            out->len = before; /* no default */
        buf_lit(out, " | ");
        if (row->max > row->min) {
            put_bound(out, row, row->min);
            buf_lit(out, " to ");
            put_bound(out, row, row->max);
        }
        buf_printf(out, " | %s |\n", row->help);
    }
}

bool address_split(const char *text, char *host, int *port) {
    struct str s = str_of(text), h = STR("127.0.0.1");
    int64_t n;
    const char *colon = s.n ? memrchr(s.p, ':', s.n) : NULL;
    if (colon) {
        h = (struct str){s.p, (size_t)(colon - s.p)};
        s = str_skip(s, h.n + 1);
    }
    if (h.n > 1 && h.p[0] == '[' && h.p[h.n - 1] == ']')
        h = (struct str){h.p + 1, h.n - 2};
    if (h.n == 0 || h.n > 255 || !str_to_i64(s, &n) || n < 0 || n > 65535)
        return false;
    memcpy(host, h.p, h.n);
    host[h.n] = '\0';
    *port = (int)n;
    return true;
}
