/* fields.c - the header fields of answers: what we add to each, and what of a backend's goes on. */
#include "call/call_private.h"

/* "42.5%": one decimal, rounded down, since 100.0% means refused. */
static void put_utilization(struct buf *out, int64_t ppm) {
    buf_lit(out, "azure-openai-deployment-utilization: ");
    buf_i64(out, ppm / 10000);
    buf_char(out, '.');
    buf_i64(out, ppm / 1000 % 10);
    buf_lit(out, "%\r\n");
}

static void put_limits(const struct standard_verdict *v, struct buf *out) {
    http_put_field_i64(out, STR("x-ratelimit-limit-requests"), v->limit_requests);
    http_put_field_i64(out, STR("x-ratelimit-limit-tokens"), v->limit_tokens);
    http_put_field_i64(out, STR("x-ratelimit-remaining-requests"), v->remaining_requests);
    http_put_field_i64(out, STR("x-ratelimit-remaining-tokens"), v->remaining_tokens);
    http_put_field_i64(out, STR("x-ratelimit-reset-requests"), v->reset_requests_s);
    http_put_field_i64(out, STR("x-ratelimit-reset-tokens"), v->reset_tokens_s);
}

/* Fields of every answer (inference contract, section 5). */
static void put_common_fields(const struct call *c, struct buf *out) {
    struct str id = {c->id, CALL_ID_LEN};
    http_put_field(out, STR("apim-request-id"), id);
    http_put_field(out, STR("x-request-id"), id);
    http_put_field(out, STR("x-ms-client-request-id"), str_of(c->client_id));
    buf_lit(out, "x-content-type-options: nosniff\r\n"
                 "strict-transport-security: max-age=31536000; includeSubDomains\r\n");
    if (c->account)
        http_put_field(out, STR("x-ms-region"), c->account->location->display_name);
    if (!c->deployment)
        return;
    http_put_field(out, STR("x-ms-deployment-name"), c->deployment->name);
    /* Nobody looked at the level for a request that was refused before it was whole. */
    if (c->deployment->is_provisioned && c->receipt.admitted_ns)
        put_utilization(out, c->receipt.util_ppm);
    else if (c->limits.limit_tokens)
        put_limits(&c->limits, out);
}

void call_put_reply_fields(const struct call *c, struct buf *out) {
    put_common_fields(c, out);
    buf_lit(out, "Content-Type: application/json\r\n");
    if (c->reply_status == 429 || c->receipt.outcome == ST_NO_ROOM) {
        http_put_field_i64(out, STR("retry-after-ms"), i64_max(1, c->receipt.retry_after_ms));
        http_put_field_i64(out, STR("retry-after"),
                           i64_max(1, (c->receipt.retry_after_ms + 999) / 1000));
    }
}

/* The backend's fields that the caller must not take for ours, or that we write ourselves. */
static bool is_backends_own(const struct http_field *f) {
    static const uint64_t own =
        HTTP_HOP_BY_HOP | HTTP_SET(HTTP_DATE) | HTTP_SET(HTTP_SERVER) | HTTP_SET(HTTP_ALT_SVC) |
        HTTP_SET(HTTP_SET_COOKIE) | HTTP_SET(HTTP_RETRY_AFTER) | HTTP_SET(HTTP_RETRY_AFTER_MS) |
        HTTP_SET(HTTP_X_MS_REGION) | HTTP_SET(HTTP_X_REQUEST_ID) | HTTP_SET(HTTP_APIM_REQUEST_ID) |
        HTTP_SET(HTTP_DEPLOYMENT_NAME) | HTTP_SET(HTTP_X_CONTENT_TYPE_OPTIONS) |
        HTTP_SET(HTTP_X_MS_CLIENT_REQUEST_ID) | HTTP_SET(HTTP_STRICT_TRANSPORT_SECURITY) |
        HTTP_SET(HTTP_DEPLOYMENT_UTILIZATION);
    return http_set_has(own, f->id) || str_istarts(f->name, STR("x-ratelimit-"));
}

void call_put_answer_fields(const struct call *c, const struct http_head *head, struct buf *out) {
    for (size_t i = 0; i < head->n_fields; i++) {
        const struct http_field *f = &head->fields[i];
        if (!is_backends_own(f) && !http_is_nominated(head, f->name))
            http_put_field(out, f->name, f->value);
    }
    put_common_fields(c, out);
}
