/* receipt.c - the access log's line: one per call, numbers only, never content or keys. */
#include "call/call_private.h"

static void put_str(struct buf *out, struct str key, struct str value) {
    buf_lit(out, ",\"");
    buf_str(out, key);
    buf_lit(out, "\":");
    json_quote(out, value);
}

static void put_i64(struct buf *out, struct str key, int64_t value) {
    buf_lit(out, ",\"");
    buf_str(out, key);
    buf_lit(out, "\":");
    buf_i64(out, value);
}

/* Microseconds from the call's beginning; left out when the moment never came. */
static void put_since_start(struct buf *out, struct str key, const struct receipt *r, int64_t at) {
    if (at)
        put_i64(out, key, (at - r->start_ns) / NS_PER_US);
}

static struct str source_name(enum call_count_source s) {
    static const struct str names[] = {
        [COUNT_NONE] = STR_INIT("none"),
        [COUNT_REPORTED] = STR_INIT("reported"),
        [COUNT_COUNTED] = STR_INIT("counted"),
        [COUNT_ESTIMATED] = STR_INIT("estimated"),
    };
    return names[s];
}

void call_put_access_line(const struct call *c, const char *time, const char *client,
                          struct buf *out) {
    const struct receipt *r = &c->receipt;
    buf_lit(out, "{\"time\":\"");
    buf_str(out, str_of(time));
    buf_lit(out, "\",\"event\":\"call\"");
    put_str(out, STR("id"), (struct str){c->id, CALL_ID_LEN});
    put_str(out, STR("client"), str_of(client));
    if (c->account)
        put_str(out, STR("account"), c->account->name);
    if (c->deployment) {
        put_str(out, STR("deployment"), c->deployment->name);
        put_str(out, STR("model"), c->deployment->model->full_name);
        put_str(out, STR("sku"), sku_names[c->deployment->sku]);
    }
    put_str(out, STR("operation"), operation_name(c->route.op));
    buf_lit(out, ",\"stream\":");
    buf_str(out, c->request.is_stream ? STR("true") : STR("false"));
    put_i64(out, STR("status"), r->http_status);
    put_str(out, STR("outcome"), status_info(r->outcome)->label);
    if (c->deployment && c->deployment->is_provisioned && r->admitted_ns) {
        put_i64(out, STR("estimateMt"), r->estimate_mt);
        put_i64(out, STR("chargeMt"), r->charge_mt);
        put_i64(out, STR("correctionMt"), c->is_admitted ? r->charge_mt - r->estimate_mt : 0);
        put_i64(out, STR("levelBeforeMt"), r->level_before_mt);
        put_i64(out, STR("levelAfterMt"), r->level_after_mt);
        put_i64(out, STR("levelEndMt"), r->level_end_mt);
        put_i64(out, STR("utilizationPpm"), r->util_ppm);
    } else if (c->deployment && r->admitted_ns) {
        put_i64(out, STR("countedTokens"), c->is_admitted ? r->estimate_mt / 1000 : 0);
        put_i64(out, STR("remainingTokens"), c->limits.remaining_tokens);
        put_i64(out, STR("remainingRequests"), c->limits.remaining_requests);
    }
    if (r->retry_after_ms)
        put_i64(out, STR("retryAfterMs"), r->retry_after_ms);
    if (r->admitted_ns) {
        put_i64(out, STR("promptEstimate"), r->prompt_estimate);
        put_i64(out, STR("cachedPredicted"), r->cached_predicted);
        put_i64(out, STR("outputEstimate"), r->output_estimate);
    }
    if (r->prompt_tokens >= 0) {
        put_i64(out, STR("promptTokens"), r->prompt_tokens);
        put_i64(out, STR("cachedTokens"), r->cached_tokens);
        put_i64(out, STR("outputTokens"), r->output_tokens);
        put_str(out, STR("counts"), source_name(r->count_source));
    }
    if (c->backend) {
        put_str(out, STR("backend"), c->backend->id);
        put_i64(out, STR("retries"), i64_max(0, r->n_attempts - 1));
        buf_lit(out, ",\"reused\":");
        buf_str(out, r->is_reused ? STR("true") : STR("false"));
    }
    put_since_start(out, STR("admissionUs"), r, r->admitted_ns);
    put_since_start(out, STR("firstByteUs"), r, r->first_byte_ns);
    put_since_start(out, STR("durationUs"), r, r->end_ns);
    put_i64(out, STR("bytesIn"), r->bytes_in);
    put_i64(out, STR("bytesOut"), r->bytes_out);
    buf_lit(out, "}\n");
}
