/*
 * demo.c - `weir demo`: simulated model servers and a gateway before them, in
 * one command.
 *
 * Nothing here that a user could not do by hand: it starts `weir simulate`
 * twice, writes resource files, and runs what `weir serve` runs.
 */
#include "cmd/serve.h"
#include "os/os.h"
#include "json/json.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { N_SIMULATORS = 2, READY_LINE_MAX = 4096 };

struct demo {
    pid_t simulators[N_SIMULATORS];
    int ports[N_SIMULATORS];
    char folder[64]; /* made for this run, removed after it */
    char key[41];
    bool as_json;
};

static const char *const deployments[] = {"gpt-4o", "gpt-4o-standard", "text-embedding-3-small"};

/* --- model servers --- */

/* Runs in the child: becomes `weir simulate`, which ends when we do. */
static void become_simulator(int out) {
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    /* A terminal's Ctrl-C reaches the whole group; the gateway must drain against
   * a live server. */
    setpgid(0, 0);
    dup2(out, STDOUT_FILENO);
    char self[] = "/proc/self/exe", name[] = "weir", command[] = "simulate", json[] = "--json",
         listen[] = "--listen", address[] = "127.0.0.1:0", profile[] = "--profile",
         gpt[] = "gpt-4o", cache[] = "--prompt-cache";
    char *argv[] = {name, command, json, listen, address, profile, gpt, cache, NULL};
    execv(self, argv);
    _exit(127);
}

/* The port that a simulator prints when it is ready; 0 when it ended before. */
static int read_port(int in) {
    struct buf line;
    int64_t port = 0;
    char c;
    buf_init(&line, READY_LINE_MAX);
    for (ssize_t n; (n = read(in, &c, 1)) != 0 && c != '\n';) {
        if (n < 0 && errno != EINTR)
            break;
        if (n > 0)
            buf_char(&line, c);
    }
    ptrdiff_t at = str_find(buf_view(&line), STR("127.0.0.1:"));
    if (at >= 0) {
        struct str rest = str_skip(buf_view(&line), (size_t)at + 10), digits;
        if (!str_cut(&rest, '"', &digits) || !str_to_i64(digits, &port))
            port = 0;
    }
    buf_destroy(&line);
    return (int)port;
}

static enum status start_simulators(struct demo *d, struct problem *why) {
    for (int i = 0; i < N_SIMULATORS; i++) {
        int ends[2];
        if (pipe(ends) != 0)
            return problem_set(why, ST_IO_FAILED, STR("demo"), "cannot make a pipe: %s",
                               strerror(errno));
        fflush(NULL);
        d->simulators[i] = fork();
        if (d->simulators[i] == 0) {
            close(ends[0]);
            become_simulator(ends[1]);
        }
        close(ends[1]);
        d->ports[i] = d->simulators[i] > 0 ? read_port(ends[0]) : 0;
        close(ends[0]);
        if (!d->ports[i])
            return problem_set(why, ST_IO_FAILED, STR("demo"),
                               "the simulated model server did not start");
    }
    return ST_OK;
}

static void stop_simulators(struct demo *d) {
    for (int i = 0; i < N_SIMULATORS; i++) {
        if (d->simulators[i] <= 0)
            continue;
        kill(d->simulators[i], SIGTERM);
        waitpid(d->simulators[i], NULL, 0);
    }
}

/* --- resources --- */

#define DEMO_SUBSCRIPTION "00000000-0000-0000-0000-000000000001"
#define DEMO_GROUP "/subscriptions/" DEMO_SUBSCRIPTION "/resourceGroups/demo"
#define DEMO_ACCOUNT DEMO_GROUP "/providers/Microsoft.CognitiveServices/accounts/demo"

static void put_deployment(struct buf *out, const char *name, const char *model,
                           const char *version, const char *sku, int capacity) {
    buf_printf(out,
               ",\n {\"id\": \"" DEMO_ACCOUNT "/deployments/%s\",\n"
               "  \"sku\": {\"name\": \"%s\", \"capacity\": %d},\n"
               "  \"properties\": {\"model\": {\"format\": \"OpenAI\", \"name\": "
               "\"%s\", "
               "\"version\": \"%s\"}}}",
               name, sku, capacity, model, version);
}

static void put_resources(const struct demo *d, struct buf *out) {
    buf_printf(out,
               "[{\"id\": \"/subscriptions/00000000-0000-0000-0000-000000000001\", "
               "\"displayName\": "
               "\"Demo\"},\n"
               " {\"id\": \"/providers/Weir.Capacity/locations/eastus\", "
               "\"properties\": {\"displayName\": "
               "\"East US\"}},\n"
               " {\"id\": \"/providers/Weir.Capacity/pools/simulated\", \"location\": "
               "\"eastus\",\n"
               "  \"properties\": {\"ptus\": 500, \"models\": [{\"name\": \"gpt-4o\"}, "
               "{\"name\": "
               "\"text-embedding-3-small\"}]}},\n"
               " {\"id\": \"" DEMO_GROUP "\", \"location\": \"eastus\"},\n"
               " {\"id\": \"" DEMO_ACCOUNT
               "\", \"kind\": \"OpenAI\", \"location\": \"eastus\", \"sku\": "
               "{\"name\": \"S0\"},\n"
               "  \"properties\": {\"customSubDomainName\": \"demo\", \"keys\": "
               "{\"key1\": \"%s\"}}}",
               d->key);
    for (int i = 0; i < N_SIMULATORS; i++)
        buf_printf(out,
                   ",\n {\"id\": "
                   "\"/providers/Weir.Capacity/pools/simulated/backends/sim%d\",\n"
                   "  \"properties\": {\"url\": \"http://127.0.0.1:%d\"}}",
                   i + 1, d->ports[i]);
    put_deployment(out, deployments[0], "gpt-4o", "2024-08-06", "ProvisionedManaged", 50);
    put_deployment(out, deployments[1], "gpt-4o", "2024-08-06", "Standard", 30);
    put_deployment(out, deployments[2], "text-embedding-3-small", "1", "Standard", 30);
    buf_lit(out, "]\n");
}

/* --- what the user sees --- */

static void put_text(struct json_writer *w, const char *key, const char *value) {
    json_key(w, str_of(key));
    json_str_value(w, str_of(value));
}

static void print_json(const struct demo *d, const struct serve_ports *p) {
    struct buf out;
    struct json_writer w;
    char url[300];
    buf_init(&out, 1 << 16);
    json_writer_init(&w, &out, 0);
    json_begin_object(&w);
    snprintf(url, sizeof url, "http://%s:%d", p->http_host, p->http);
    put_text(&w, "endpoint", url);
    put_text(&w, "apiKey", d->key);
    snprintf(url, sizeof url, "http://%s:%d", p->ops_host, p->ops);
    put_text(&w, "opsEndpoint", url);
    snprintf(url, sizeof url, "https://localhost:%d", p->control);
    put_text(&w, "controlEndpoint", url);
    put_text(&w, "caFile", p->facts.ca_file);
    put_text(&w, "tenantId", p->facts.tenant_id);
    put_text(&w, "clientId", p->facts.client_id);
    put_text(&w, "clientSecret", p->facts.client_secret);
    put_text(&w, "subscriptionId", DEMO_SUBSCRIPTION);
    put_text(&w, "resourceGroup", "demo");
    put_text(&w, "account", "demo");
    put_text(&w, "location", "eastus");
    json_key(&w, STR("deployments"));
    json_begin_array(&w);
    for (size_t i = 0; i < ARRAY_LEN(deployments); i++)
        json_str_value(&w, str_of(deployments[i]));
    json_end_array(&w);
    json_end_object(&w);
    printf("%.*s\n", STR_ARG(buf_view(&out)));
    fflush(stdout);
    buf_destroy(&out);
}

static void print_ready(void *arg, const struct serve_ports *p) {
    const struct demo *d = arg;
    const struct control_facts *f = &p->facts;
    if (d->as_json) {
        print_json(d, p);
        return;
    }
    printf("Weir is running, with two simulated model servers behind it (made-up "
           "text, honest "
           "timing).\n\n"
           "  endpoint     http://%s:%d\n"
           "  key          %s\n"
           "  deployments  gpt-4o (50 PTUs), gpt-4o-standard (30,000 tokens a "
           "minute),\n"
           "               text-embedding-3-small\n"
           "  operations   http://%s:%d/metrics\n"
           "  files        %s (resources.json, access.log)\n\n"
           "Call it:\n\n"
           "  curl -N "
           "'http://%s:%d/openai/deployments/gpt-4o/chat/"
           "completions?api-version=2024-10-21' "
           "\\\n"
           "    -H 'api-key: %s' -H 'content-type: application/json' \\\n"
           "    -d '{\"stream\": true, \"messages\": [{\"role\": \"user\", "
           "\"content\": "
           "\"Hello\"}]}'\n\n"
           "  import { AzureOpenAI } from 'openai';\n"
           "  const client = new AzureOpenAI({ endpoint: 'http://%s:%d', "
           "apiVersion: '2024-10-21',\n"
           "    apiKey: '%s' });\n\n"
           "Manage it as Azure is managed (Azure Resource Manager's API):\n\n"
           "  endpoint     https://localhost:%d\n"
           "  az, once     export REQUESTS_CA_BUNDLE=%s\n"
           "               az cloud register -n Weir --endpoint-resource-manager "
           "https://localhost:%d\n"
           "               az cloud set -n Weir\n"
           "               az login --service-principal --tenant %s \\\n"
           "                 -u %s -p %s\n"
           "  az           az rest --method put --url "
           "'" DEMO_ACCOUNT "/deployments/mine?api-version=2024-10-01' \\\n"
           "                 --body "
           "'{\"sku\":{\"name\":\"ProvisionedManaged\",\"capacity\":100},"
           "\"properties\":{\"model\":{\"format\":\"OpenAI\",\"name\":\"gpt-4o\","
           "\"version\":\"2024-08-06\"}}}'\n"
           "  curl         token=$(curl -s --cacert %s "
           "https://localhost:%d/adfs/oauth2/token \\\n"
           "                 -d grant_type=client_credentials -d client_id=%s \\\n"
           "                 -d client_secret=%s \\\n"
           "                 -d scope=https://localhost:%d/.default |\n"
           "                 sed 's/.*access_token\":\"//; s/\".*//')\n"
           "               curl --cacert %s -H \"authorization: Bearer $token\" \\\n"
           "                 'https://localhost:%d" DEMO_ACCOUNT
           "/deployments?api-version=2024-10-01'\n"
           "  JavaScript   export NODE_EXTRA_CA_CERTS=%s \\\n"
           "                 AZURE_AUTHORITY_HOST=https://localhost:%d "
           "AZURE_TENANT_ID=adfs \\\n"
           "                 AZURE_CLIENT_ID=%s AZURE_CLIENT_SECRET=%s\n"
           "               new CognitiveServicesManagementClient(new "
           "DefaultAzureCredential(),\n"
           "                 '" DEMO_SUBSCRIPTION "', { endpoint: 'https://localhost:%d' })\n"
           "  afterwards   az cloud set -n AzureCloud; az cloud unregister -n Weir\n\n"
           "Fill it up: ask for \"max_tokens\": 50000 and the next call is refused, "
           "with the time "
           "to wait.\n"
           "Ctrl-C ends it.\n",
           p->http_host, p->http, d->key, p->ops_host, p->ops, d->folder, p->http_host, p->http,
           d->key, p->http_host, p->http, d->key, p->control, f->ca_file, p->control, f->tenant_id,
           f->client_id, f->client_secret, f->ca_file, p->control, f->client_id, f->client_secret,
           p->control, f->ca_file, p->control, f->ca_file, p->control, f->client_id,
           f->client_secret, p->control);
    fflush(stdout);
}

/* --- the command --- */

static void make_key(char *out) {
    static const char hex[] = "0123456789abcdef";
    unsigned char bytes[20];
    os_random(bytes, sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++) {
        *out++ = hex[bytes[i] >> 4];
        *out++ = hex[bytes[i] & 15];
    }
    *out = '\0';
}

static void remove_files(const struct demo *d) {
    struct os_paths files;
    struct problem why;
    if (os_list_folder(d->folder, STR(""), &files, &why) == ST_OK) {
        for (size_t i = 0; i < files.count; i++)
            unlink(files.path[i]);
        os_free_paths(&files);
    }
    rmdir(d->folder);
}

static int run(struct demo *d, struct settings *s) {
    struct problem why = {0};
    struct buf text;
    char path[128];
    buf_init(&text, 1 << 16);
    enum status st = start_simulators(d, &why);
    put_resources(d, &text);
    snprintf(path, sizeof path, "%s/resources.json", d->folder);
    if (st == ST_OK)
        st = os_replace_file(path, buf_view(&text), &why);
    buf_destroy(&text);
    if (st != ST_OK)
        return fail_with(&why);
    s->resources = path;
    s->data_dir = d->folder;
    return serve_run(s, print_ready, d);
}

int cmd_demo(int argc, char **argv) {
    struct demo d = {.as_json = false};
    struct settings s;
    settings_init(&s);
    s.ops_listen = "127.0.0.1:0";
    s.control_listen = "127.0.0.1:0";
    s.max_connections = 1000; /* which need no more files than a laptop allows */
    const struct option_row rows[] = {
        {"json", OPTION_FLAG, &d.as_json, 0, 0, NULL, "print one JSON line when ready"},
        {"listen", OPTION_TEXT, &s.listen, 0, 0, "HOST:PORT",
         "where calls arrive [127.0.0.1:8080]"},
        {"ops-listen", OPTION_TEXT, &s.ops_listen, 0, 0, "HOST:PORT",
         "where /metrics is [a free port]"},
        {"control-listen", OPTION_TEXT, &s.control_listen, 0, 0, "HOST:PORT",
         "where the control plane is [a free port]"},
        {"loops", OPTION_NUMBER, &s.loops, 0, 64, "N", "event loops; 0 takes one per processor"},
        {.name = NULL},
    };
    int n = options_parse(rows,
                          "usage: weir demo [OPTIONS]\n\n"
                          "Runs a gateway and two simulated model servers, with an account and "
                          "three deployments\nto try it on. Nothing is left behind.\n",
                          argc, argv);
    if (n != 0)
        return n < 0 ? options_exit(n) : EXIT_USAGE;
    snprintf(d.folder, sizeof d.folder, "/tmp/weir-demo-XXXXXX");
    if (!mkdtemp(d.folder)) {
        fprintf(stderr, "weir demo: cannot make a folder in /tmp: %s\n", strerror(errno));
        return EXIT_FAILED;
    }
    make_key(d.key);
    int status = run(&d, &s);
    stop_simulators(&d);
    remove_files(&d);
    return status;
}
