/* receipt.c - the access log's line: one per call, numbers only, never content or keys. */
#include "call/call_private.h"

/* `,"key":` in front of a value; the key is a literal. */
#define KEY(out, key) pen_lit(out, ",\"" key "\":")

/* A text that needs no escapes: a name out of a table of ours, a resource's name or id (letters,
 * digits, '_', '.', '-' and slashes, see model/resource_id.h), an address. */
static void put_plain(struct pen *out, struct str value) {
    pen_lit(out, "\"");
    pen_str(out, value);
    pen_lit(out, "\"");
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

/* More than all keys, numbers and words of our tables take together. */
enum { FIXED_MAX = 1600 };

static size_t texts_length(const struct call *c) {
    size_t n = 0;
    if (c->account)
        n += c->account->name.n;
    if (c->deployment)
        n += c->deployment->name.n + c->deployment->model->full_name.n;
    if (c->backend)
        n += c->backend->id.n;
    return n;
}

/* A long prompt for which there was no room was not counted; whatever was counted costs something. */
static bool was_counted(const struct receipt *r) {
    return r->outcome != ST_DEPLOYMENT_FULL || r->estimate_mt > 0;
}

void call_put_access_line(const struct call *c, const char *time, const char *client,
                          struct buf *line) {
    const struct receipt *r = &c->receipt;
    struct str who = str_of(client), when = str_of(time);
    struct pen pen = buf_pen(line, FIXED_MAX + when.n + who.n + texts_length(c));
    struct pen *out = &pen;
    if (!pen.p)
        return;
    pen_lit(out, "{\"time\":\"");
    pen_str(out, when);
    pen_lit(out, "\",\"event\":\"call\"");
    KEY(out, "id");
    put_plain(out, (struct str){c->id, CALL_ID_LEN});
    KEY(out, "client");
    put_plain(out, who);
    if (c->account) {
        KEY(out, "account");
        put_plain(out, c->account->name);
    }
    if (c->deployment) {
        KEY(out, "deployment");
        put_plain(out, c->deployment->name);
        KEY(out, "model");
        put_plain(out, c->deployment->model->full_name);
        KEY(out, "sku");
        put_plain(out, sku_names[c->deployment->sku]);
    }
    KEY(out, "operation");
    put_plain(out, operation_name(c->route.op));
    pen_lit(out, ",\"stream\":");
    pen_str(out, c->request.is_stream ? STR("true") : STR("false"));
    KEY(out, "status");
    pen_i64(out, r->http_status);
    KEY(out, "outcome");
    put_plain(out, status_info(r->outcome)->label);
    if (c->deployment && c->deployment->is_provisioned && r->admitted_ns) {
        KEY(out, "estimateMt");
        pen_i64(out, r->estimate_mt);
        KEY(out, "chargeMt");
        pen_i64(out, r->charge_mt);
        KEY(out, "correctionMt");
        pen_i64(out, c->is_admitted ? r->charge_mt - r->estimate_mt : 0);
        KEY(out, "levelBeforeMt");
        pen_i64(out, r->level_before_mt);
        KEY(out, "levelAfterMt");
        pen_i64(out, r->level_after_mt);
        KEY(out, "levelEndMt");
        pen_i64(out, r->level_end_mt);
        KEY(out, "utilizationPpm");
        pen_i64(out, r->util_ppm);
    } else if (c->deployment && r->admitted_ns) {
        KEY(out, "countedTokens");
        pen_i64(out, c->is_admitted ? r->estimate_mt / 1000 : 0);
        KEY(out, "remainingTokens");
        pen_i64(out, c->limits.remaining_tokens);
        KEY(out, "remainingRequests");
        pen_i64(out, c->limits.remaining_requests);
    }
    if (r->retry_after_ms) {
        KEY(out, "retryAfterMs");
        pen_i64(out, r->retry_after_ms);
    }
    if (r->admitted_ns && was_counted(r)) {
        KEY(out, "promptEstimate");
        pen_i64(out, r->prompt_estimate);
        KEY(out, "cachedPredicted");
        pen_i64(out, r->cached_predicted);
        KEY(out, "outputEstimate");
        pen_i64(out, r->output_estimate);
    }
    if (r->prompt_tokens >= 0) {
        KEY(out, "promptTokens");
        pen_i64(out, r->prompt_tokens);
        KEY(out, "cachedTokens");
        pen_i64(out, r->cached_tokens);
        KEY(out, "outputTokens");
        pen_i64(out, r->output_tokens);
        KEY(out, "counts");
        put_plain(out, source_name(r->count_source));
        if (r->is_usage_capped)
            pen_lit(out, ",\"usageCapped\":true");
    }
    if (c->backend) {
        KEY(out, "backend");
        put_plain(out, c->backend->id);
        KEY(out, "retries");
        pen_i64(out, i64_max(0, r->n_attempts - 1));
        pen_lit(out, ",\"reused\":");
        pen_str(out, r->is_reused ? STR("true") : STR("false"));
    }
    if (r->admitted_ns) {
        KEY(out, "admissionUs");
        pen_i64(out, since_start(r, r->admitted_ns));
    }
    if (r->first_byte_ns) {
        KEY(out, "firstByteUs");
        pen_i64(out, since_start(r, r->first_byte_ns));
    }
    KEY(out, "durationUs");
    pen_i64(out, since_start(r, r->end_ns));
    KEY(out, "bytesIn");
    pen_i64(out, r->bytes_in);
    KEY(out, "bytesOut");
    pen_i64(out, r->bytes_out);
    pen_lit(out, "}\n");
    buf_pen_done(line, out);
}
