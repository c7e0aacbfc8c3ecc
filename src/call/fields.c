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
static bool is_backends_own(struct str name) {
    if (str_istarts(name, STR("x-ratelimit-")))
        return true;
    switch (name.n) {
    case 4:
        return str_ieq(name, STR("date")) || http_is_hop_by_hop(name);
    case 6:
        return str_ieq(name, STR("server")) || http_is_hop_by_hop(name);
    case 7:
        return str_ieq(name, STR("alt-svc")) || http_is_hop_by_hop(name);
    case 10:
        return str_ieq(name, STR("set-cookie")) || http_is_hop_by_hop(name);
    case 11:
        return str_ieq(name, STR("retry-after")) || str_ieq(name, STR("x-ms-region"));
    case 12:
        return str_ieq(name, STR("x-request-id"));
    case 14:
        return str_ieq(name, STR("retry-after-ms")) || http_is_hop_by_hop(name);
    case 15:
        return str_ieq(name, STR("apim-request-id"));
    case 20:
        return str_ieq(name, STR("x-ms-deployment-name"));
    case 22:
        return str_ieq(name, STR("x-content-type-options")) ||
               str_ieq(name, STR("x-ms-client-request-id"));
    case 25:
        return str_ieq(name, STR("strict-transport-security"));
    case 35:
        return str_ieq(name, STR("azure-openai-deployment-utilization"));
    default:
        return http_is_hop_by_hop(name);
    }
}

void call_put_answer_fields(const struct call *c, const struct http_head *head, struct buf *out) {
    for (size_t i = 0; i < head->n_fields; i++) {
        struct str name = head->fields[i].name;
        if (!is_backends_own(name) && !http_is_nominated(head, name))
            http_put_field(out, name, head->fields[i].value);
    }
    put_common_fields(c, out);
}
