/* door.c - the control plane's listener: who asks, what the thread is to do,
 * and the answer's way back. */
#include "control/control_private.h"

#include "http/target.h"
#include "os/os.h"

#include <stdio.h>
#include <stdlib.h>

enum { KEPT_TOKENS = 1024, FORM_MAX = 64 << 10, HEALTH_TEXTS_MAX = 64 << 20 };

/*
 * To prove or make a secret takes 50 ms of a core, and whoever knows the id of an application may ask for
 * it: so few at once that calls keep their processors, and no application can fill the queue.
 */
enum { SLOW_AT_ONCE = 2, WAITING_MAX = 64, WAITING_OF_ONE_MAX = 16 };

struct door {
    struct control *control;
    struct loop *loop;
    struct server *server;
    struct token_checker *checker;
    struct list waiting; /* of struct errand: for slow work */
    int n_waiting, n_slow;
    void (*ended)(struct control *c);
};

/* --- errands --- */

struct errand *errand_new(struct door *d, struct exchange *x, enum errand_kind kind) {
    struct errand *e = xcalloc(1, sizeof *e);
    uint8_t random[16];
    e->door = d;
    e->exchange = x;
    e->kind = kind;
    buf_init(&e->target, ARM_TARGET_MAX);
    buf_init(&e->if_match, 1024);
    buf_init(&e->if_none_match, 1024);
    buf_init(&e->base_url, 600);
    buf_init(&e->client_request_id, 128);
    buf_init(&e->correlation_id, 128);
    buf_init(&e->secret, SECRET_MAX);
    buf_init(&e->bearer, TOKEN_MAX + 1); /* one byte more tells that it is too long */
    buf_init(&e->audience, 1024);
    buf_init(&e->resource, 1024);
    buf_init(&e->issuer, 1024);
    buf_init(&e->token, 64 << 10);
    arm_answer_init(&e->answer);
    arena_init(&e->health_texts, NULL, 0, HEALTH_TEXTS_MAX);
    os_random(random, sizeof random);
    principal_guid(random, e->request_id);
    exchange_set_user(x, e);
    return e;
}

static void wipe(struct buf *b) {
    if (b->p)
        explicit_bzero(b->p, b->cap);
    buf_destroy(b);
}

void errand_free(struct errand *e) {
    wipe(&e->secret);
    wipe(&e->bearer);
    wipe(&e->token);
    rsa_key_unref(e->key);
    struct buf *all[] = {&e->target,         &e->body,     &e->if_match,          &e->if_none_match,
                         &e->base_url,       &e->audience, &e->client_request_id, &e->resource,
                         &e->correlation_id, &e->issuer};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        buf_destroy(all[i]);
    arm_answer_destroy(&e->answer);
    arena_destroy(&e->health_texts);
    free(e->health);
    free(e);
}

/* --- answers --- */

static void put_field(struct buf *head, const char *name, struct str value) {
    if (value.n)
        http_put_field(head, str_of(name), value);
}

/* What ARM's clients look for in every answer (ARM contract, section 1). */
static void reply(struct errand *e) {
    struct exchange *x = e->exchange;
    const struct arm_answer *a = &e->answer;
    bool has_body = a->body.len > 0 || (a->status != 204 && a->status != 304);
    struct buf *head = exchange_begin(x, a->status, has_body ? (int64_t)a->body.len : LENGTH_NONE);
    if (a->body.len)
        http_put_field(head, STR("content-type"), STR("application/json; charset=utf-8"));
    put_field(head, "x-ms-request-id", str_of(e->request_id));
    put_field(head, "x-ms-correlation-request-id",
              e->correlation_id.len ? buf_view(&e->correlation_id) : str_of(e->request_id));
    if (e->returns_client_id)
        put_field(head, "x-ms-client-request-id", buf_view(&e->client_request_id));
    put_field(head, "etag", str_of(a->etag));
    put_field(head, "location", str_of(a->location));
    put_field(head, "azure-asyncoperation", str_of(a->async_operation));
    if (a->retry_after_s)
        http_put_field_i64(head, STR("retry-after"), a->retry_after_s);
    if (a->status == 401) {
        struct buf challenge;
        buf_init(&challenge, 4096);
        service_put_challenge(buf_view(&e->base_url), str_of(e->door->control->tenant_id),
                              STR("invalid_token"), STR(""), &challenge);
        put_field(head, "www-authenticate", buf_view(&challenge));
        buf_destroy(&challenge);
    }
    http_put_field(head, STR("cache-control"), STR("no-cache"));
    exchange_set_user(x, NULL);
    exchange_send(x, buf_view(&a->body), true);
    errand_free(e);
}

/* A document that needs no thread: JSON from the token service. */
static void reply_document(struct errand *e, int status) {
    e->answer.status = status;
    reply(e);
}

static void refuse_token(struct errand *e, enum service_refusal why) {
    int status = e->is_msi && why != SERVICE_BUSY ? 400 : service_refusal_http(why);
    if (why == SERVICE_BUSY)
        e->answer.retry_after_s = 1;
    if (e->is_msi)
        service_put_msi_refusal(
            status,
            why == SERVICE_BUSY ? STR("The token service is busy; try again.")
                                : STR("No such identity: X-IDENTITY-HEADER is APPID:SECRET of a "
                                      "service principal."),
            str_of(e->request_id), &e->answer.body);
    else
        service_put_refusal(why, str_of(e->app_id), str_of(e->request_id), str_of(e->request_id),
                            os_wall_us() / 1000, &e->answer.body);
    reply_document(e, status);
}

/* --- slow work --- */

/* The application that slow work is for, as its principal spells it: whoever asks for a token may spell its
 * id in many ways. */
static struct str application_of(const struct errand *e) {
    return str_of(e->kind == ERRAND_TOKEN ? e->principal.app_id : e->app_id);
}

static int count_waiting(const struct door *d, const struct errand *e) {
    int n = 0;
    LIST_EACH (&d->waiting, it)
        n += str_ieq(application_of(CONTAINER_OF(it, struct errand, link)), application_of(e));
    return n;
}

static void start_slow(struct door *d);

static void run_slow(void *arg) {
    struct errand *e = arg;
    e->slow(e);
}

static void on_slow(void *arg) {
    struct errand *e = arg;
    struct door *d = e->door;
    d->n_slow--;
    e->after_slow(e);
    if (d->ended && d->n_slow == 0)
        d->ended(d->control);
    else
        start_slow(d);
}

static void start_slow(struct door *d) {
    while (!d->ended && d->n_slow < SLOW_AT_ONCE && !list_is_empty(&d->waiting)) {
        struct errand *e = CONTAINER_OF(d->waiting.next, struct errand, link);
        list_remove(&e->link);
        d->n_waiting--;
        if (!e->exchange) {
            errand_free(e);
            continue;
        }
        d->n_slow++;
        loop_work(d->loop, run_slow, on_slow, e);
    }
}

/* `work` on the pool when it is its turn, then `after` on the loop. False when too many wait. */
static bool begin_slow(struct errand *e, void (*work)(void *arg), void (*after)(void *arg)) {
    struct door *d = e->door;
    if (d->ended || d->n_waiting >= WAITING_MAX || count_waiting(d, e) >= WAITING_OF_ONE_MAX)
        return false;
    e->slow = work;
    e->after_slow = after;
    list_append(&d->waiting, &e->link);
    d->n_waiting++;
    start_slow(d);
    return true;
}

void door_end(struct door *d, void (*ended)(struct control *c)) {
    d->ended = ended;
    if (d->n_slow == 0)
        ended(d->control);
}

/* --- tokens: the thread finds the principal, the pool proves and signs --- */

static void prove_and_sign(void *arg) {
    struct errand *e = arg;
    struct control *c = e->door->control;
    int64_t now_us = os_wall_us();
    enum principal_proof proof =
        principal_prove(&e->principal, buf_view(&e->secret), now_us / 1000);
    if (proof != PRINCIPAL_PROVED) {
        e->refusal =
            proof == PRINCIPAL_EXPIRED_SECRET ? SERVICE_EXPIRED_SECRET : SERVICE_WRONG_SECRET;
        return;
    }
    struct token_grant grant = {.issuer = buf_view(&e->issuer),
                                .audience = buf_view(&e->audience),
                                .tenant_id = str_of(c->tenant_id),
                                .object_id = str_of(e->principal.object_id),
                                .app_id = str_of(e->principal.app_id),
                                .name = str_of(e->principal.name),
                                .token_id = str_of(e->request_id),
                                .now_s = now_us / 1000000,
                                .lifetime_s = TOKEN_LIFETIME_S};
    token_issue(e->key, &grant, &e->token);
}

static void on_signed(void *arg) {
    struct errand *e = arg;
    if (!e->exchange) {
        errand_free(e);
        return;
    }
    if (e->refusal != SERVICE_NONE) {
        refuse_token(e, e->refusal);
        return;
    }
    int64_t now_s = os_wall_us() / 1000000;
    if (e->is_msi)
        service_put_msi_token(buf_view(&e->token), str_of(e->principal.app_id),
                              buf_view(&e->audience), now_s + TOKEN_LIFETIME_S, &e->answer.body);
    else
        service_put_token(buf_view(&e->token), now_s, TOKEN_LIFETIME_S, buf_view(&e->resource),
                          &e->answer.body);
    reply_document(e, 200);
}

/* --- the way back from the thread --- */

static void on_answer(void *arg) {
    struct errand *e = arg;
    if (!e->exchange) {
        errand_free(e); /* the client has left; what it asked for is done all the same */
        return;
    }
    if (e->kind == ERRAND_ROTATE && e->answer.status == 200) {
        arm_answer_clear(&e->answer);
        upkeep_rotate(e->door->control, e);
        return;
    }
    if (e->kind != ERRAND_TOKEN) {
        reply(e);
        return;
    }
    if (e->refusal == SERVICE_NONE && !e->is_found)
        e->refusal = SERVICE_UNKNOWN_CLIENT;
    if (e->refusal != SERVICE_NONE) {
        refuse_token(e, e->refusal);
        return;
    }
    e->key = rsa_key_ref(e->door->control->vault.tokens.key); /* it may be replaced meanwhile */
    if (!begin_slow(e, prove_and_sign, on_signed))
        refuse_token(e, SERVICE_BUSY);
}

void door_reply(struct errand *e) {
    if (e->exchange)
        reply(e);
    else
        errand_free(e);
}

void door_answer(struct errand *e) {
    loop_post(e->door->loop, on_answer, e);
}

static void refuse(struct errand *e, int status, const char *code, const char *text) {
    arm_refuse(&e->answer, status, str_of(code), "%s", text);
    reply(e);
}

static void send_to_thread(struct errand *e) {
    if (!control_send(e->door->control, e))
        refuse(e, 503, "ServiceUnavailable", "The server is shutting down.");
}

/* --- requests --- */

static void set_text(char *out, size_t size, struct str s) {
    size_t n = size_min(s.n, size - 1);
    if (n)
        memcpy(out, s.p, n);
    out[n] = '\0';
}

/* Whose tenant is asked for: ours by its id, or as an ADFS. */
static bool is_our_tenant(const struct errand *e, struct str tenant) {
    return str_ieq(tenant, STR("adfs")) || str_ieq(tenant, str_of(e->door->control->tenant_id));
}

static void begin_token(struct errand *e, struct str tenant, struct str authorization) {
    struct service_request q;
    struct arena memory;
    struct str audience;
    arena_init(&memory, NULL, 0, FORM_MAX);
    e->refusal = service_parse(buf_view(&e->body), authorization, &memory, &q);
    if (e->refusal == SERVICE_NONE && !is_our_tenant(e, tenant))
        e->refusal = SERVICE_NO_TENANT;
    service_put_issuer(buf_view(&e->base_url), tenant, &e->issuer);
    if (e->refusal == SERVICE_NONE && !service_audience(&q, &audience))
        e->refusal = SERVICE_BAD_SCOPE;
    if (e->refusal == SERVICE_NONE) {
        set_text(e->app_id, sizeof e->app_id, q.client_id);
        buf_str(&e->secret, q.client_secret);
        buf_str(&e->audience, audience);
        buf_str(&e->resource, q.resource);
    }
    arena_destroy(&memory);
    if (e->refusal != SERVICE_NONE)
        refuse_token(e, e->refusal);
    else
        send_to_thread(e);
}

/* As a managed identity's endpoint is asked: the header holds what Azure's
 * agents would hold, here the principal's id and secret. */
static void begin_msi(struct errand *e, struct str query, struct str header) {
    struct str rest = header, app_id, resource;
    char text[1024];
    struct str raw = query_get(query, STR("resource"));
    e->is_msi = true;
    if (raw.n > sizeof text || !target_decode(raw, true, text, &resource) || !resource.n ||
        !str_cut(&rest, ':', &app_id) || !rest.n || rest.n > SECRET_MAX) {
        refuse_token(e, SERVICE_MALFORMED);
        return;
    }
    set_text(e->app_id, sizeof e->app_id, app_id);
    buf_str(&e->secret, rest);
    buf_str(&e->audience, resource);
    service_put_issuer(buf_view(&e->base_url), str_of(e->door->control->tenant_id), &e->issuer);
    send_to_thread(e);
}

static void put_base_url(struct errand *e, const struct http_head *head) {
    struct str host = http_head_get(head, STR("host"));
    buf_lit(&e->base_url, "https://");
    buf_str(&e->base_url, host);
}

static void put_own_keys(const struct control *c, struct buf *out) {
    struct rsa_key *keys[1 + VAULT_OLD_KEYS_MAX] = {c->vault.tokens.key};
    size_t n = 1;
    for (size_t i = 0; i < c->vault.tokens.n_old; i++)
        keys[n++] = c->vault.tokens.old[i].key;
    service_put_jwks(keys, n, out);
}

/* True when the path was one of the token service's, and is answered. */
static bool serve_token_path(struct errand *e, const struct http_head *head, struct str path,
                             struct str query) {
    struct control *c = e->door->control;
    struct str tenant;
    bool is_post = str_eq(head->method, STR("POST"));
    struct buf *out = &e->answer.body;
    switch (service_route(path, &tenant)) {
    case SERVICE_NOT_OURS:
        return false;
    case SERVICE_METADATA:
        service_put_metadata(buf_view(&e->base_url), query_get(query, STR("api-version")), out);
        break;
    case SERVICE_DISCOVERY:
        service_put_discovery(buf_view(&e->base_url), tenant, out);
        break;
    case SERVICE_JWKS:
        put_own_keys(c, out);
        break;
    case SERVICE_TOKEN:
        e->kind = ERRAND_TOKEN;
        if (!is_post) {
            refuse(e, 405, "MethodNotAllowed", "Tokens are asked for by POST.");
            return true;
        }
        begin_token(e, tenant, http_head_get(head, STR("authorization")));
        return true;
    case SERVICE_MSI:
        e->kind = ERRAND_TOKEN;
        begin_msi(e, query, http_head_get(head, STR("x-identity-header")));
        return true;
    }
    reply_document(e, 200);
    return true;
}

static bool read_method(struct str s, enum arm_method *out) {
    static const struct str names[] = {
        [ARM_GET] = STR_INIT("GET"),        [ARM_HEAD] = STR_INIT("HEAD"),
        [ARM_PUT_METHOD] = STR_INIT("PUT"), [ARM_PATCH] = STR_INIT("PATCH"),
        [ARM_POST] = STR_INIT("POST"),      [ARM_DELETE_METHOD] = STR_INIT("DELETE"),
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (str_eq(s, names[i])) {
            *out = (enum arm_method)i;
            return true;
        }
    }
    return false;
}

/* /providers/Weir.Capacity/principals[/APPID]; the target becomes the app id.
 */
static bool is_principal_path(struct str path, struct str *app_id) {
    struct str segment;
    static const struct str want[] = {STR_INIT("providers"), STR_INIT("Weir.Capacity"),
                                      STR_INIT("principals")};
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        if (!target_segment(&path, &segment) || !str_ieq(segment, want[i]))
            return false;
    }
    *app_id = STR("");
    return !target_segment(&path, app_id) || !target_segment(&path, &segment);
}

/* /providers/Weir.Capacity/tokenKeys/rotate */
static bool is_rotate_path(struct str path) {
    struct str segment;
    static const struct str want[] = {STR_INIT("providers"), STR_INIT("Weir.Capacity"),
                                      STR_INIT("tokenKeys"), STR_INIT("rotate")};
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        if (!target_segment(&path, &segment) || !str_ieq(segment, want[i]))
            return false;
    }
    return !target_segment(&path, &segment);
}

/* A new secret and its hash, off the loop. */
static void make_secret(void *arg) {
    struct errand *e = arg;
    struct problem why;
    char secret[SECRET_SIZE];
    secret_make(secret);
    buf_str(&e->secret, str_of(secret));
    if (principal_add_secret(&e->principal, buf_view(&e->secret), os_wall_us() / 1000, 0, &why) !=
        ST_OK)
        buf_clear(&e->secret);
    explicit_bzero(secret, sizeof secret);
}

static void on_secret_made(void *arg) {
    struct errand *e = arg;
    /* Whoever left before it was kept has no use for a secret that nobody will
   * see. */
    if (!e->exchange)
        errand_free(e);
    else
        send_to_thread(e);
}

static void begin_principal(struct errand *e, struct str app_id) {
    struct problem why;
    struct json_doc *doc = json_doc_new();
    struct json_value root, properties, v;
    struct str name = app_id;
    bool is_operator = false;
    e->kind = ERRAND_PRINCIPAL;
    buf_str(&e->target, app_id);
    if (e->method != ARM_PUT_METHOD) {
        json_doc_free(doc);
        send_to_thread(e);
        return;
    }
    bool is_json = true;
    if (e->body.len) {
        buf_reserve_slack(&e->body, 0, JSON_PADDING);
        is_json = json_parse(doc, e->body.p, e->body.len, &root, NULL) == ST_OK;
        if (is_json && json_get(root, STR("properties"), &properties)) {
            if (json_get(properties, STR("displayName"), &v) && json_str(v).n)
                name = json_str(v);
            if (json_get(properties, STR("isOperator"), &v))
                is_operator = json_bool(v);
        }
    }
    enum status st = is_json ? principal_make(app_id, name, is_operator, os_wall_us() / 1000,
                                              &e->principal, &why)
                             : problem_set(&why, ST_BAD_JSON, STR(""), "The body is no JSON.");
    json_doc_free(doc);
    if (st != ST_OK)
        refuse(e, 400, "BadRequest", why.message);
    else if (!begin_slow(e, make_secret, on_secret_made))
        refuse(e, 503, "ServiceUnavailable", "Too many secrets are being made; try again.");
}

/* /providers/Weir.Capacity/pools… */
static bool is_pool_path(struct str path) {
    struct str segment;
    static const struct str want[] = {STR_INIT("providers"), STR_INIT("Weir.Capacity"),
                                      STR_INIT("pools")};
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        if (!target_segment(&path, &segment) || !str_ieq(segment, want[i]))
            return false;
    }
    return true;
}

static void add_health(void *to, const struct arm_health *h) {
    struct errand *e = to;
    if (e->n_health == e->health_capacity) {
        e->health_capacity = e->health_capacity ? 2 * e->health_capacity : 16;
        e->health = xrealloc(e->health, e->health_capacity * sizeof *e->health);
    }
    struct arm_health *kept = &e->health[e->n_health++];
    *kept = *h;
    kept->id = arena_str(&e->health_texts, h->id);
    kept->error = arena_str(&e->health_texts, h->error);
}

static void on_health(void *arg) {
    struct errand *e = arg;
    if (e->exchange)
        send_to_thread(e);
    else
        errand_free(e);
}

/* On the host's loop, where its registry lives. */
static void gather_health(void *arg) {
    struct errand *e = arg;
    struct control *c = e->door->control;
    c->host.health(c->host.arg, add_health, e);
    loop_post(c->loop, on_health, e);
}

/* What the data plane's loops know is asked for there, and goes along to the thread. */
static void send_with_health(struct errand *e) {
    if (e->door->ended) { /* nobody would wait for the way back */
        send_to_thread(e);
        return;
    }
    e->health_capacity = 16;
    e->health = xcalloc(e->health_capacity, sizeof *e->health);
    loop_post(e->door->control->host_loop, gather_health, e);
}

/* The caller is known: to whoever answers it. */
static void dispatch(struct errand *e) {
    struct str path, query, app_id;
    bool is_split = target_split(buf_view(&e->target), &path, &query);
    assert(is_split); /* on_request looked */
    if (is_rotate_path(path)) {
        e->kind = ERRAND_ROTATE;
        if (e->method == ARM_POST)
            send_to_thread(e);
        else
            refuse(e, 405, "MethodNotAllowed", "A key is replaced by POST.");
        return;
    }
    if (is_principal_path(path, &app_id)) {
        char text[PRINCIPAL_ID_SIZE + 1]; /* a longer one is no id, and stays none when cut */
        set_text(text, sizeof text, app_id);
        buf_clear(&e->target);
        begin_principal(e, str_of(text));
        return;
    }
    if (e->method == ARM_GET && is_pool_path(path))
        send_with_health(e);
    else
        send_to_thread(e);
}

static void authenticate(struct errand *e);

static void on_keys(struct issuers_waiter *w) {
    struct errand *e = CONTAINER_OF(w, struct errand, waiter);
    authenticate(e);
}

/* Who asks, by the token. One whose issuer may have turned its keys over waits until they are fetched. */
static void authenticate(struct errand *e) {
    struct control *c = e->door->control;
    const struct token_claims *claims;
    struct str issuer;
    enum token_verdict verdict = token_check(e->door->checker, c->trust, buf_view(&e->bearer),
                                             os_wall_us() / 1000000, &claims, &issuer);
    if (verdict == TOKEN_UNKNOWN_KEY && !e->has_waited) {
        e->has_waited = true;
        e->waiter.fn = on_keys;
        if (issuers_ask(c->issuers, issuer, &e->waiter))
            return;
    }
    if (verdict != TOKEN_GOOD) {
        arm_refuse(&e->answer, 401,
                   verdict == TOKEN_EXPIRED ? STR("ExpiredAuthenticationToken")
                                            : STR("InvalidAuthenticationToken"),
                   "%.*s", STR_ARG(token_verdict_text(verdict)));
        reply(e);
        return;
    }
    set_text(e->app_id, sizeof e->app_id, str_of(claims->app_id));
    set_text(e->object_id, sizeof e->object_id, str_of(claims->object_id));
    set_text(e->name, sizeof e->name, str_of(claims->name));
    e->is_own = claims->is_own;
    dispatch(e);
}

static void on_request(void *arg, struct exchange *x) {
    struct door *d = arg;
    const struct http_head *head = exchange_head(x);
    struct errand *e = errand_new(d, x, ERRAND_ARM);
    struct str path, query, token;
    put_base_url(e, head);
    buf_str(&e->target, head->target);
    buf_str(&e->if_match, http_head_get(head, STR("if-match")));
    buf_str(&e->if_none_match, http_head_get(head, STR("if-none-match")));
    buf_str(&e->client_request_id, http_head_get(head, STR("x-ms-client-request-id")));
    buf_str(&e->correlation_id, http_head_get(head, STR("x-ms-correlation-request-id")));
    e->returns_client_id =
        str_ieq(http_head_get(head, STR("x-ms-return-client-request-id")), STR("true"));
    e->body = exchange_take_body(x);
    if (buf_status(&e->target) != ST_OK || !target_split(head->target, &path, &query)) {
        refuse(e, 414, "UriTooLong", "The request's target is too long or malformed.");
        return;
    }
    if (serve_token_path(e, head, path, query))
        return;
    if (!read_method(head->method, &e->method)) {
        refuse(e, 405, "MethodNotAllowed", "This method is not known here.");
        return;
    }
    token = token_bearer(http_head_get(head, STR("authorization")));
    if (token.n == 0) {
        refuse(e, 401, "AuthenticationFailed",
               "Authentication failed. The 'Authorization' header is missing.");
        return;
    }
    buf_str(&e->bearer, (struct str){token.p, size_min(token.n, TOKEN_MAX + 1)});
    authenticate(e);
}

static void on_gone(void *user, struct exchange *x) {
    (void)x;
    struct errand *e = user;
    e->exchange = NULL;
    if (list_is_linked(&e->waiter.link)) { /* in no other hands */
        list_remove(&e->waiter.link);
        errand_free(e);
    }
}

static void on_drained(void *user, struct exchange *x) {
    (void)user;
    (void)x;
}

/* Refusals of the server itself, in ARM's shape. */
static bool on_refused(void *arg, struct exchange *x, enum status st, const struct problem *why) {
    if (!x || exchange_user(x))
        return false;
    struct errand *e = errand_new(arg, x, ERRAND_ARM);
    bool is_large = st == ST_TOO_LARGE;
    arm_refuse(&e->answer, status_info(st)->http,
               is_large ? STR("RequestContentTooLarge") : STR("BadRequest"), "%s",
               is_large ? "A request's body may have 1 MB."
                        : (why && why->message[0] ? why->message : "The request is malformed."));
    reply(e);
    return true;
}

static const struct server_handler handler = {NULL, on_request, on_gone, on_drained, on_refused};

struct door *door_new(struct control *c, struct loop *l) {
    struct door *d = xcalloc(1, sizeof *d);
    struct server_limits limits = {.body_bytes = ARM_BODY_MAX, .n_connections = 2000};
    d->control = c;
    d->loop = l;
    d->server = server_new(l, &limits, &handler, d);
    d->checker = token_checker_new(KEPT_TOKENS);
    list_init(&d->waiting);
    return d;
}

enum status door_listen(struct door *d, const char *host, int *port, struct tls_context *tls,
                        struct problem *why) {
    if (*port)
        TRY(listener_probe(host, *port, why));
    return server_listen(d->server, host, *port, tls, port, why);
}

void door_free(struct door *d) {
    if (!d)
        return;
    server_free(d->server);
    LIST_EACH (&d->waiting, it)
        errand_free(CONTAINER_OF(it, struct errand, link));
    token_checker_free(d->checker);
    free(d);
}
