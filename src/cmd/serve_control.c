/* serve_control.c - joins the control plane to the data plane: resources, judgement of tokens, health of backends. */
#include "cmd/serve_private.h"

#include "os/os.h"

#include <stdio.h>
#include <stdlib.h>

enum { DOCUMENTS_MAX = 1 << 30 };

static struct str caller_of(void *arg, struct str token) {
    return control_guard_caller(arg, token);
}

/* The roles' names for what each operation does (Azure's list of data actions). */
static bool may_call(void *arg, struct str caller, enum operation op, struct str account_id) {
    static const struct str actions[] = {
        [OP_CHAT] = STR_INIT(
            "Microsoft.CognitiveServices/accounts/OpenAI/deployments/chat/completions/action"),
        [OP_COMPLETIONS] =
            STR_INIT("Microsoft.CognitiveServices/accounts/OpenAI/deployments/completions/action"),
        [OP_EMBEDDINGS] =
            STR_INIT("Microsoft.CognitiveServices/accounts/OpenAI/deployments/embeddings/action"),
        [OP_RESPONSES] = STR_INIT("Microsoft.CognitiveServices/accounts/OpenAI/responses/write"),
        [OP_MODELS] = STR_INIT("Microsoft.CognitiveServices/accounts/OpenAI/models/read"),
        [OP_DEPLOYMENTS] = STR_INIT("Microsoft.CognitiveServices/accounts/OpenAI/deployments/read"),
    };
    return control_guard_may(arg, caller, actions[op], account_id);
}

/* What one backend is like now, for the control plane. */
struct health_teller {
    void (*each)(void *to, const struct arm_health *h);
    void *to;
    int64_t now_ns, now_ms;
};

static void tell_health(void *arg, const struct live_backend *b, bool is_named) {
    const struct health_teller *t = arg;
    int error = atomic_load(&b->error);
    int64_t in_flight = metric_read(&b->attempts);
    for (size_t i = 0; i < ARRAY_LEN(b->outcomes); i++)
        in_flight -= metric_read(&b->outcomes[i]);
    int64_t open_ns = atomic_load(&b->balance.open_until_ns) - t->now_ns;
    int64_t busy_ns = atomic_load(&b->balance.blocked_until_ns) - t->now_ns;
    struct arm_health h = {.id = str_of(b->id),
                           .in_flight = i64_max(in_flight, 0),
                           .error_status = error > 0 ? error : 0,
                           .state = !is_named                              ? ARM_LEAVING
                                    : open_ns > 0                          ? ARM_EJECTED
                                    : atomic_load(&b->balance.open_ms) > 0 ? ARM_PROBING
                                    : busy_ns > 0                          ? ARM_BUSY
                                                                           : ARM_HEALTHY};
    if (h.state == ARM_EJECTED || h.state == ARM_BUSY)
        h.until_ms = t->now_ms + (h.state == ARM_EJECTED ? open_ns : busy_ns) / 1000000;
    if (error) {
        h.error = error > 0 ? STR("It answered with this status.")
                            : status_info((enum status) - error)->text;
        h.error_at_ms = t->now_ms - (t->now_ns - atomic_load(&b->error_ns)) / 1000000;
    }
    t->each(t->to, &h);
}

/* On the first loop. */
static void health(void *arg, void (*each)(void *to, const struct arm_health *h), void *to) {
    struct app *a = arg;
    struct health_teller t = {each, to, os_now_ns(), os_wall_us() / 1000};
    live_each_backend(a->live, tell_health, &t);
}

static enum status check_tokenizer(void *arg, struct str path, struct problem *why) {
    struct app *a = arg;
    return vocabulary_files_check(&a->tokenizers, path, why);
}

static void tokenizer_done(void *arg, struct str path) {
    struct app *a = arg;
    vocabulary_files_release(&a->tokenizers, path);
}

static enum status import(void *arg, const struct load_resource *r, struct problem *why) {
    return control_import(arg, r->id, r->body, why);
}

/* The control plane's own resources, and the files' in front of them. */
enum status serve_control_load(struct app *a, struct snapshot **out, struct problem *why) {
    const struct settings *s = a->settings;
    struct control_host host = {serve_config_obey, health, check_tokenizer, tokenizer_done, a};
    struct control_settings settings = {.folder = s->data_dir,
                                        .names = s->control_names,
                                        .cert_file = s->control_cert,
                                        .key_file = s->control_key,
                                        .cert_validity_s = s->control_cert_validity_ms / 1000,
                                        .token_key_s = s->token_key_age_ms / 1000,
                                        .issuers = "",
                                        .webhook_hosts = s->webhook_hosts,
                                        .accounts_per_location = s->accounts_per_location,
                                        .standard_deployments_per_account =
                                            s->standard_deployments_per_account,
                                        .data_url = s->data_url};
    struct buf documents;
    if (serve_is_none(s->data_dir))
        return problem_set(why, ST_BAD_REQUEST, STR("data-dir"),
                           "a control plane needs a folder for what it keeps");
    char *issuers = str_dup(buf_view(&s->oidc_issuers));
    settings.issuers = issuers;
    enum status st = control_open(&settings, &a->hash, &host, &a->control, why);
    free(issuers);
    if (st != ST_OK)
        return st;
    if (s->resources[0])
        TRY(load_each(s->resources, import, a->control, why));
    buf_init(&documents, DOCUMENTS_MAX);
    st = control_documents(a->control, &documents, why);
    if (st == ST_OK)
        st = load_documents("control plane", buf_view(&documents), &a->hash, out, why);
    buf_destroy(&documents);
    return st;
}

enum status serve_control_open(struct app *a, struct serve_ports *ports, struct problem *why) {
    const struct settings *s = a->settings;
    char url[300];
    if (!s->data_url[0]) {
        snprintf(url, sizeof url, "%s://%s:%d/", ports->http ? "http" : "https",
                 ports->http ? ports->http_host : ports->https_host,
                 ports->http ? ports->http : ports->https);
        control_set_data_url(a->control, url);
    }
    TRY(serve_split(s->control_listen, "control-listen", ports->control_host, &ports->control,
                    why));
    TRY(control_start(a->control, a->workers[0].loop, ports->control_host, &ports->control, why));
    a->is_control_running = true;
    for (int i = 0; i < a->n_workers; i++) {
        struct worker *w = &a->workers[i];
        w->guard = control_guard_new(a->control);
        w->call_guard = (struct call_guard){caller_of, may_call, w->guard};
        gateway_set_guard(w->gateway, &w->call_guard);
    }
    snprintf(url, sizeof url, "https://%s:%d",
             strcmp(ports->control_host, "127.0.0.1") == 0 ? "localhost" : ports->control_host,
             ports->control);
    control_announce(a->control, url);
    ports->facts = control_facts(a->control);
    return ST_OK;
}
