/* errand.c - a request while it is in hand: made, answered in ARM's shape, and freed. */
#include "control/control_private.h"

#include "os/os.h"

#include <stdio.h>
#include <stdlib.h>

enum { HEALTH_TEXTS_MAX = 64 << 20 };

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
    buf_init(&e->tokenizer, ARM_BODY_MAX);
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
    tokenizer_forget(e);
    wipe(&e->secret);
    wipe(&e->bearer);
    wipe(&e->token);
    rsa_key_unref(e->key);
    struct buf *all[] = {&e->target,         &e->body,     &e->if_match,          &e->if_none_match,
                         &e->base_url,       &e->audience, &e->client_request_id, &e->resource,
                         &e->correlation_id, &e->issuer,   &e->tokenizer};
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
static void reply(struct errand *e, struct str body) {
    struct exchange *x = e->exchange;
    const struct arm_answer *a = &e->answer;
    bool has_body = body.n > 0 || (a->status != 204 && a->status != 304);
    struct buf *head = exchange_begin(x, a->status, has_body ? (int64_t)body.n : LENGTH_NONE);
    if (body.n)
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
    exchange_send(x, body, true);
    errand_free(e);
}

void errand_reply(struct errand *e) {
    if (e->exchange)
        reply(e, buf_view(&e->answer.body));
    else
        errand_free(e);
}

void errand_reply_kept(struct errand *e, const struct reads_answer *kept) {
    e->answer.status = 200;
    snprintf(e->answer.etag, sizeof e->answer.etag, "%.*s", STR_ARG(kept->etag));
    reply(e, kept->body);
}

void errand_refuse(struct errand *e, int status, const char *code, const char *text) {
    arm_refuse(&e->answer, status, str_of(code), "%s", text);
    errand_reply(e);
}

void errand_to_thread(struct errand *e) {
    if (!control_send(e->door->control, e))
        errand_refuse(e, 503, "ServiceUnavailable", "The server is shutting down.");
}

void errand_set_text(char *out, size_t size, struct str s) {
    size_t n = size_min(s.n, size - 1);
    if (n)
        memcpy(out, s.p, n);
    out[n] = '\0';
}
