/* tokens.c - the token service's paths: its documents, and tokens for whoever proves who he is. */
#include "control/control_private.h"

#include "http/target.h"
#include "os/os.h"

enum { FORM_MAX = 64 << 10 };

/* A document that needs no thread: JSON from the token service. */
static void reply_document(struct errand *e, int status) {
    e->answer.status = status;
    errand_reply(e);
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

/* --- the thread finds the principal, the pool proves and signs --- */

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

void tokens_answer(struct errand *e) {
    if (e->refusal == SERVICE_NONE && !e->is_found)
        e->refusal = SERVICE_UNKNOWN_CLIENT;
    if (e->refusal != SERVICE_NONE) {
        refuse_token(e, e->refusal);
        return;
    }
    e->key = rsa_key_ref(e->door->control->vault.tokens.key); /* it may be replaced meanwhile */
    if (!slow_begin(e, SLOW_SECRETS, prove_and_sign, on_signed))
        refuse_token(e, SERVICE_BUSY);
}

/* --- requests --- */

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
        errand_set_text(e->app_id, sizeof e->app_id, q.client_id);
        buf_str(&e->secret, q.client_secret);
        buf_str(&e->audience, audience);
        buf_str(&e->resource, q.resource);
    }
    arena_destroy(&memory);
    if (e->refusal != SERVICE_NONE)
        refuse_token(e, e->refusal);
    else
        errand_to_thread(e);
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
    errand_set_text(e->app_id, sizeof e->app_id, app_id);
    buf_str(&e->secret, rest);
    buf_str(&e->audience, resource);
    service_put_issuer(buf_view(&e->base_url), str_of(e->door->control->tenant_id), &e->issuer);
    errand_to_thread(e);
}

static void put_own_keys(const struct control *c, struct buf *out) {
    struct rsa_key *keys[1 + VAULT_OLD_KEYS_MAX] = {c->vault.tokens.key};
    size_t n = 1;
    for (size_t i = 0; i < c->vault.tokens.n_old; i++)
        keys[n++] = c->vault.tokens.old[i].key;
    service_put_jwks(keys, n, out);
}

bool tokens_serve(struct errand *e, const struct http_head *head, struct str path,
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
            errand_refuse(e, 405, "MethodNotAllowed", "Tokens are asked for by POST.");
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
