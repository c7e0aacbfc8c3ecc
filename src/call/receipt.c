/* receipt.c - the access log's line: one per call, numbers only, never content or keys. */
#include "call/call_private.h"

/* `,"key":` in front of a value; the key is a literal. */
#define KEY(out, key) buf_lit(out, ",\"" key "\":")

/* A text that needs no escapes: a name out of a table of ours, an id. */
static void put_plain(struct buf *out, struct str value) {
    buf_char(out, '"');
    buf_str(out, value);
    buf_char(out, '"');
}

/* Microseconds from the call's beginning. */
static int64_t since_start(const struct receipt *r, int64_t at) {
    return (at - r->start_ns) / NS_PER_US;
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
    KEY(out, "id");
    put_plain(out, (struct str){c->id, CALL_ID_LEN});
    KEY(out, "client");
    json_quote(out, str_of(client));
    if (c->account) {
        KEY(out, "account");
        json_quote(out, c->account->name);
    }
    if (c->deployment) {
        KEY(out, "deployment");
        json_quote(out, c->deployment->name);
        KEY(out, "model");
        json_quote(out, c->deployment->model->full_name);
        KEY(out, "sku");
        put_plain(out, sku_names[c->deployment->sku]);
    }
    KEY(out, "operation");
    put_plain(out, operation_name(c->route.op));
    buf_lit(out, ",\"stream\":");
    buf_str(out, c->request.is_stream ? STR("true") : STR("false"));
    KEY(out, "status");
    buf_i64(out, r->http_status);
    KEY(out, "outcome");
    put_plain(out, status_info(r->outcome)->label);
    if (c->deployment && c->deployment->is_provisioned && r->admitted_ns) {
        KEY(out, "estimateMt");
        buf_i64(out, r->estimate_mt);
        KEY(out, "chargeMt");
        buf_i64(out, r->charge_mt);
        KEY(out, "correctionMt");
        buf_i64(out, c->is_admitted ? r->charge_mt - r->estimate_mt : 0);
        KEY(out, "levelBeforeMt");
        buf_i64(out, r->level_before_mt);
        KEY(out, "levelAfterMt");
        buf_i64(out, r->level_after_mt);
        KEY(out, "levelEndMt");
        buf_i64(out, r->level_end_mt);
        KEY(out, "utilizationPpm");
        buf_i64(out, r->util_ppm);
    } else if (c->deployment && r->admitted_ns) {
        KEY(out, "countedTokens");
        buf_i64(out, c->is_admitted ? r->estimate_mt / 1000 : 0);
        KEY(out, "remainingTokens");
        buf_i64(out, c->limits.remaining_tokens);
        KEY(out, "remainingRequests");
        buf_i64(out, c->limits.remaining_requests);
    }
    if (r->retry_after_ms) {
        KEY(out, "retryAfterMs");
        buf_i64(out, r->retry_after_ms);
    }
    if (r->admitted_ns) {
        KEY(out, "promptEstimate");
        buf_i64(out, r->prompt_estimate);
        KEY(out, "cachedPredicted");
        buf_i64(out, r->cached_predicted);
        KEY(out, "outputEstimate");
        buf_i64(out, r->output_estimate);
    }
    if (r->prompt_tokens >= 0) {
        KEY(out, "promptTokens");
        buf_i64(out, r->prompt_tokens);
        KEY(out, "cachedTokens");
        buf_i64(out, r->cached_tokens);
        KEY(out, "outputTokens");
        buf_i64(out, r->output_tokens);
        KEY(out, "counts");
        put_plain(out, source_name(r->count_source));
    }
    if (c->backend) {
        KEY(out, "backend");
        json_quote(out, c->backend->id);
        KEY(out, "retries");
        buf_i64(out, i64_max(0, r->n_attempts - 1));
        buf_lit(out, ",\"reused\":");
        buf_str(out, r->is_reused ? STR("true") : STR("false"));
    }
    if (r->admitted_ns) {
        KEY(out, "admissionUs");
        buf_i64(out, since_start(r, r->admitted_ns));
    }
    if (r->first_byte_ns) {
        KEY(out, "firstByteUs");
        buf_i64(out, since_start(r, r->first_byte_ns));
    }
    KEY(out, "durationUs");
    buf_i64(out, since_start(r, r->end_ns));
    KEY(out, "bytesIn");
    buf_i64(out, r->bytes_in);
    KEY(out, "bytesOut");
    buf_i64(out, r->bytes_out);
    buf_lit(out, "}\n");
}
