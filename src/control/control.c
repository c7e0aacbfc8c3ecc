#include "control/control_private.h"

#include "crypto/certificate.h"
#include "os/os.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { ROW_MAX = 64 << 10, DOCUMENTS_MAX = 1 << 30, NAMES_MAX = 32 };

#define META_TABLE "meta"
#define META_KEY "installation"

/* With a NUL; what does not fit is no id of ours and becomes "". */
static void copy_text(struct str s, char *out, size_t size) {
    size_t n = s.n < size ? s.n : 0;
    if (n)
        memcpy(out, s.p, n);
    out[n] = '\0';
}

/* --- names of the server certificate, audiences of tokens --- */

size_t control_names(const struct control *c, struct str *out, size_t max) {
    struct str rest = str_of(c->names), item;
    size_t n = 0;
    while (n < max && str_cut(&rest, ',', &item)) {
        item = str_trim(item);
        if (item.n)
            out[n++] = item;
    }
    return n;
}

/* Whoever holds a token for one of these may come in: the names of this
 * listener, and those that clients ask for without being told (contract for
 * clients, section 2). */
void control_publish_trust(struct control *c) {
    struct str names[NAMES_MAX], audiences[NAMES_MAX + 4];
    char texts[NAMES_MAX][300];
    size_t n = control_names(c, names, NAMES_MAX), n_audiences = 0;
    for (size_t i = 0; i < n; i++) {
        bool is_v6 = memchr(names[i].p, ':', names[i].n) != NULL;
        snprintf(texts[i], sizeof texts[i], is_v6 ? "https://[%.*s]:%d" : "https://%.*s:%d",
                 STR_ARG(names[i]), c->port);
        audiences[n_audiences++] = str_of(texts[i]);
    }
    audiences[n_audiences++] = STR("https://management.azure.com");
    audiences[n_audiences++] = STR("https://management.core.windows.net");
    audiences[n_audiences++] = STR("https://cognitiveservices.azure.com");
    /* Our tokens name the issuer that their client knows us by; the key tells that they are ours. */
    struct trust_issuer own = {.audiences = audiences, .n_audiences = n_audiences, .is_own = true};
    struct trust *next = trust_new(TOKEN_SKEW_S), *before;
    trust_add_key(next, &own, c->vault.tokens.key);
    for (size_t i = 0; i < c->vault.tokens.n_old; i++)
        trust_add_key(next, &own, c->vault.tokens.old[i].key);
    issuers_add_to(c->issuers, next);
    trust_seal(next);
    pthread_mutex_lock(&c->trust_lock);
    before = c->trust;
    c->trust = next;
    atomic_fetch_add(&c->trust_generation, 1);
    pthread_mutex_unlock(&c->trust_lock);
    trust_unref(before);
}

static void on_issuers_changed(void *arg) {
    control_publish_trust(arg);
}

/* --- the first start --- */

static enum status read_meta(struct control *c, bool *found, struct problem *why) {
    struct buf body;
    struct json_value root, v;
    buf_init(&body, ROW_MAX);
    enum status st = store_get(c->store, STR(META_TABLE), STR(META_KEY), &body, found, why);
    if (st == ST_OK && *found) {
        buf_reserve_slack(&body, 0, JSON_PADDING);
        st = json_parse(c->doc, body.p, body.len, &root, why);
    }
    if (st == ST_OK && *found) {
        if (json_get(root, STR("tenantId"), &v))
            copy_text(json_str(v), c->tenant_id, sizeof c->tenant_id);
        if (json_get(root, STR("clientId"), &v))
            copy_text(json_str(v), c->client_id, sizeof c->client_id);
    }
    buf_destroy(&body);
    return st;
}

static void make_guid(char *out) {
    uint8_t random[16];
    os_random(random, sizeof random);
    principal_guid(random, out);
}

/* The installation's own ids and its first principal, in one transaction. */
static enum status make_meta(struct control *c, struct problem *why) {
    struct principal p;
    struct buf body;
    int64_t now_ms = os_wall_us() / 1000;
    make_guid(c->tenant_id);
    make_guid(c->client_id);
    secret_make(c->client_secret);
    TRY(principal_make(str_of(c->client_id), STR("operator"), true, now_ms, &p, why));
    TRY(principal_add_secret(&p, str_of(c->client_secret), now_ms, 0, why));
    TRY(principals_put(c, &p, why));
    buf_init(&body, ROW_MAX);
    buf_printf(&body, "{\"tenantId\":\"%s\",\"clientId\":\"%s\"}", c->tenant_id, c->client_id);
    enum status st = control_put(c, STR(META_TABLE), STR(META_KEY), buf_view(&body), why);
    buf_destroy(&body);
    return st == ST_OK ? control_commit(c, why) : st;
}

/* The file is written before the row is kept, so that no secret is lost with
 * it. */
static enum status write_admin(struct control *c, const char *url, struct problem *why) {
    struct buf out;
    struct json_writer w;
    const char *const members[][2] = {{"controlEndpoint", url},
                                      {"caFile", c->vault.ca_cert_file},
                                      {"tenantId", c->tenant_id},
                                      {"clientId", c->client_id},
                                      {"clientSecret", c->client_secret}};
    buf_init(&out, ROW_MAX);
    json_writer_init(&w, &out, 2);
    json_begin_object(&w);
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        json_key(&w, str_of(members[i][0]));
        json_str_value(&w, str_of(members[i][1]));
    }
    json_end_object(&w);
    buf_char(&out, '\n');
    mode_t before = umask(0077);
    enum status st = os_replace_file(c->admin_path, buf_view(&out), why);
    umask(before);
    buf_destroy(&out);
    return st;
}

/* The secret of the first principal, when its file is still there. */
static void read_admin(struct control *c) {
    struct buf text;
    struct problem why;
    struct json_value root, v;
    buf_init(&text, ROW_MAX);
    if (os_read_file(c->admin_path, &text, JSON_PADDING, &why) == ST_OK && text.len &&
        json_parse(c->doc, text.p, text.len, &root, NULL) == ST_OK &&
        json_get(root, STR("clientSecret"), &v))
        copy_text(json_str(v), c->client_secret, sizeof c->client_secret);
    buf_destroy(&text);
}

/* --- opening --- */

static char *path_in(const char *folder, const char *name) {
    size_t n = strlen(folder) + strlen(name) + 2;
    char *path = xmalloc(n);
    snprintf(path, n, "%s/%s", folder, name);
    return path;
}

static enum status open_all(struct control *c, const struct control_settings *settings,
                            struct problem *why) {
    struct str names[NAMES_MAX];
    bool found;
    size_t n = control_names(c, names, NAMES_MAX);
    int64_t validity_s = settings->cert_validity_s ? settings->cert_validity_s
                                                   : CERTIFICATE_SERVER_DAYS * INT64_C(86400);
    TRY(vault_open(c->folder, names, n, validity_s, os_wall_us() / 1000000, &c->vault, why));
    c->has_vault = true;
    TRY(issuers_new(settings->issuers ? settings->issuers : "", c->folder, on_issuers_changed, c,
                    &c->issuers, why));
    struct store_settings store = {.folder = c->folder, .busy_ms = c->busy_ms};
    TRY(store_open(&store, &c->store, why));
    TRY(read_meta(c, &found, why));
    if (found)
        read_admin(c);
    else
        TRY(make_meta(c, why));
    bool is_own_cert = c->cert_file[0] != '\0';
    TRY(tls_server_new(is_own_cert ? c->cert_file : c->vault.server_cert_file,
                       is_own_cert ? c->key_file : c->vault.server_key_file, &c->tls, why));
    TRY(control_load_arm(c, why));
    if (!found)
        TRY(write_admin(c, "", why));
    return ST_OK;
}

enum status control_open(const struct control_settings *settings, const struct siphash_key *hash,
                         const struct control_host *host, struct control **out,
                         struct problem *why) {
    struct control *c = xcalloc(1, sizeof *c);
    pthread_condattr_t attributes;
    c->host = *host;
    c->hash = *hash;
    char *folder = realpath(settings->folder, NULL);
    c->folder = folder ? folder : str_dup(str_of(settings->folder));
    c->names = str_dup(str_of(settings->names));
    c->data_url = str_dup(str_of(settings->data_url));
    c->cert_file = str_dup(str_of(settings->cert_file));
    c->key_file = str_dup(str_of(settings->key_file));
    c->webhook_hosts = str_dup(str_of(settings->webhook_hosts ? settings->webhook_hosts : ""));
    c->token_key_s = settings->token_key_s;
    c->accounts_per_location = settings->accounts_per_location;
    c->standard_deployments_per_account = settings->standard_deployments_per_account;
    c->admin_path = path_in(c->folder, CONTROL_ADMIN_FILE);
    c->busy_ms = settings->busy_ms ? settings->busy_ms : 10000;
    c->doc = json_doc_new();
    arm_changes_init(&c->changes);
    list_init(&c->queue);
    pthread_mutex_init(&c->lock, NULL);
    pthread_mutex_init(&c->grants_lock, NULL);
    pthread_mutex_init(&c->trust_lock, NULL);
    list_init(&c->upkeep.rotating);
    buf_init(&c->principals, 4 << 20);
    buf_init(&c->operators, 1 << 20);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&c->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    enum status st = open_all(c, settings, why);
    if (st != ST_OK) {
        control_close(c);
        return st;
    }
    *out = c;
    return ST_OK;
}

/* ARM's own words, which the answer carries as JSON. */
static enum status refused(struct control *c, const struct arm_answer *a, struct str id,
                           struct problem *why) {
    struct json_value root, error, v;
    struct buf text;
    struct str message = STR("the resource was refused");
    buf_init(&text, ARM_BODY_MAX);
    buf_str(&text, buf_view(&a->body));
    buf_reserve_slack(&text, 0, JSON_PADDING);
    if (json_parse(c->doc, text.p, text.len, &root, NULL) == ST_OK &&
        json_get(root, STR("error"), &error) && json_get(error, STR("message"), &v))
        message = json_str(v);
    enum status st = problem_set(why, ST_BAD_REQUEST, id, "%.*s", STR_ARG(message));
    buf_destroy(&text);
    return st;
}

static enum status check_tokenizer(void *arg, struct str path, struct problem *why) {
    return tokenizer_ask(arg, path, why);
}

static enum status check_authorities(void *arg, struct str path, struct problem *why) {
    (void)arg;
    struct tls_context *tls = NULL;
    struct stat found;
    char *file = str_dup(path);
    /* To open a pipe would wait for somebody who writes into it. */
    bool is_file = stat(file, &found) == 0 && S_ISREG(found.st_mode);
    enum status st = is_file ? tls_client_new(file, true, &tls, why)
                             : problem_set(why, ST_BAD_REQUEST, path, "there is no such file");
    free(file);
    tls_unref(tls);
    return st;
}

static bool check_webhook(void *arg, struct str host) {
    const struct control *c = arg;
    return notices_may_go_to(c->webhook_hosts, host);
}

struct arm_outside control_outside(struct control *c) {
    return (struct arm_outside){check_tokenizer, check_authorities, check_webhook, c};
}

enum status control_import(struct control *c, struct str id, struct str body, struct problem *why) {
    struct buf target;
    struct arm_answer answer;
    buf_init(&target, ARM_TARGET_MAX);
    arm_answer_init(&answer);
    buf_str(&target, id);
    buf_lit(&target, "?api-version=2025-09-01");
    struct arm_request q = {
        .method = ARM_PUT_METHOD,
        .target = buf_view(&target),
        .body = body,
        .if_match = STR(""),
        .if_none_match = STR(""),
        .caller = {.object_id = STR("system"),
                   .app_id = STR("system"),
                   .name = STR("resource files"),
                   .is_operator = true},
        .now_ms = os_wall_us() / 1000,
        .base_url = STR("https://localhost"),
        .is_import = true,
        .outside = control_outside(c),
    };
    os_random(q.random, sizeof q.random);
    arm_handle(c->arm, &q, &answer, &c->changes);
    enum status st = answer.status < 300 ? control_keep(c, why) : refused(c, &answer, id, why);
    arm_answer_destroy(&answer);
    buf_destroy(&target);
    return st;
}

enum status control_documents(struct control *c, struct buf *out, struct problem *why) {
    uint64_t version = arm_documents(c->arm, out);
    TRY(buf_status(out));
    /* What was under way when the process ended is in force from its first call
   * on. */
    arm_acting(c->arm, version, os_wall_us() / 1000, &c->changes);
    TRY(control_keep(c, why));
    TRY(control_commit(c, why));
    buf_reserve_slack(out, 0, JSON_PADDING);
    return ST_OK;
}

void control_set_data_url(struct control *c, const char *url) {
    free(c->data_url);
    c->data_url = str_dup(str_of(url));
    arm_set_data_endpoint(c->arm, str_of(url));
}

/* --- running --- */

static void *run_thread(void *arg) {
    control_run(arg);
    return NULL;
}

enum status control_start(struct control *c, struct loop *loop, const char *host, int *port,
                          struct problem *why) {
    c->host_loop = loop;
    c->loop = loop_new();
    c->door = door_new(c);
    TRY(door_listen(c->door, host, port, c->tls, why));
    struct tls_context *outside;
    TRY(tls_client_new(NULL, true, &outside, why));
    c->notices = notices_new(c->loop, outside, c->webhook_hosts);
    tls_unref(outside);
    c->port = *port;
    control_publish_trust(c);
    TRY(guard_publish(c, why));
    int rc = pthread_create(&c->thread, NULL, run_thread, c);
    assert(rc == 0);
    c->is_running = true;
    issuers_start(c->issuers, c->loop);
    upkeep_start(c);
    host_start(c);
    return ST_OK;
}

void control_announce(struct control *c, const char *url) {
    struct problem why;
    /* Without the secret (somebody moved it to a safer place) there is nothing to
   * keep up to date. */
    if (c->client_secret[0] && write_admin(c, url, &why) != ST_OK)
        fprintf(stderr, "weir: warning: %s: %s\n", c->admin_path, why.message);
}

bool control_send(struct control *c, struct errand *e) {
    pthread_mutex_lock(&c->lock);
    bool is_taken = !c->must_end;
    if (is_taken) {
        list_append(&c->queue, &e->link);
        pthread_cond_signal(&c->wake);
    }
    pthread_mutex_unlock(&c->lock);
    return is_taken;
}

/* Off the loop, since the thread may be waiting for it. */
static void join_thread(void *arg) {
    struct control *c = arg;
    pthread_join(c->thread, NULL);
}

static void on_upkeep_ended(struct control *c) {
    slow_end(&c->door->slow, host_stop);
}

static void on_joined(void *arg) {
    struct control *c = arg;
    notices_end(c->notices);
    issuers_end(c->issuers);
    upkeep_end(c, on_upkeep_ended);
}

void control_end(struct control *c) {
    pthread_mutex_lock(&c->lock);
    c->must_end = true;
    pthread_cond_signal(&c->wake);
    pthread_mutex_unlock(&c->lock);
    loop_work(c->loop, join_thread, on_joined, c);
}

void control_close(struct control *c) {
    if (!c)
        return;
    assert(!c->is_running);
    door_free(c->door);
    notices_free(c->notices);
    issuers_free(c->issuers);
    if (c->loop)
        loop_free(c->loop);
    arm_free(c->arm);
    arm_changes_destroy(&c->changes);
    store_close(c->store);
    trust_unref(c->trust);
    tls_unref(c->tls);
    if (c->has_vault)
        vault_close(&c->vault);
    json_doc_free(c->doc);
    pthread_cond_destroy(&c->wake);
    pthread_mutex_destroy(&c->lock);
    pthread_mutex_destroy(&c->grants_lock);
    pthread_mutex_destroy(&c->trust_lock);
    guard_forget(c);
    buf_destroy(&c->principals);
    buf_destroy(&c->operators);
    explicit_bzero(c->client_secret, sizeof c->client_secret);
    free(c->folder);
    free(c->names);
    free(c->data_url);
    free(c->cert_file);
    free(c->key_file);
    free(c->webhook_hosts);
    free(c->admin_path);
    free(c);
}

struct control_facts control_facts(const struct control *c) {
    return (struct control_facts){c->vault.ca_cert_file, c->tenant_id, c->client_id,
                                  c->client_secret, c->admin_path};
}
