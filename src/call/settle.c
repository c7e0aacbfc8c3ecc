/* settle.c - what a call costs in the end: every post to its bucket is made here. */
#include "base/wide.h"
#include "call/call_private.h"

void settle_post(struct call *c, const struct call_env *env, int64_t delta_mt) {
    if (!c->deployment->is_provisioned)
        return;
    if (delta_mt != 0) {
        c->receipt.level_end_mt = bucket_adjust(&c->live->bucket, delta_mt, env->clock);
        minute_post(&c->live->minutes, c->now_ns, delta_mt);
    } else {
        c->receipt.level_end_mt = bucket_level_mt(&c->live->bucket, c->now_ns);
    }
}

/* Whether the answer could have been longer: its length is then a lower bound of what the model had
 * to say. */
static bool was_cut_short(const struct call *c, int64_t generated) {
    int64_t cap = c->reservation.out_cap;
    return c->meter.was_cut_short || (cap >= 0 && generated >= cap);
}

/*
 * The most that the call can have cost, whatever its backend says of it. A prompt of plain text has at
 * most a token for each byte of the request, and a few that the server adds. A chat may name pictures
 * and earlier answers, so only the model's context bounds it; as long as that is not known, the largest
 * on sale does (gpt-4.1: 1,047,576 tokens; Microsoft's list of models, 2026), or the bytes, if those are
 * more.
 */
enum { CONTEXT_UNKNOWN = 1 << 20, PROMPT_ADDED_MAX = 1024 };

static int64_t prompt_ceiling(const struct call *c) {
    int64_t context = c->deployment->model->max_context_tokens;
    int64_t bytes = c->receipt.bytes_in + PROMPT_ADDED_MAX;
    if (c->route.op == OP_COMPLETIONS || c->route.op == OP_EMBEDDINGS)
        return bytes;
    return context ? context : i64_max(CONTEXT_UNKNOWN, bytes);
}

/* The caller's own limit and the context hold for each choice of each prompt. What was seen of a
 * stream is beyond doubt, even from a server that does not know the caller's limit. */
static int64_t output_ceiling(const struct call *c) {
    const struct output_request *o = &c->request.output;
    int64_t prompts = i64_max(1, c->request.n_prompts);
    int64_t context = c->deployment->model->max_context_tokens;
    i128 most = (i128)(context ? context : CONTEXT_UNKNOWN) *
                i64_max(1, i64_max(o->n, o->best_of)) * prompts;
    if (c->reservation.out_cap >= 0 && (i128)c->reservation.out_cap * prompts < most)
        most = (i128)c->reservation.out_cap * prompts;
    return i64_max(i128_to_i64(most), c->meter.n_deltas);
}

/* Of a count that the backend reports, what can be believed; -1 stays "not said". */
static int64_t believe(struct call *c, int64_t reported, int64_t ceiling) {
    if (reported <= ceiling)
        return reported;
    c->receipt.is_usage_capped = true;
    return ceiling;
}

int64_t settle_reported_prompt(struct call *c) {
    return c->meter.has_usage ? believe(c, c->meter.usage.prompt, prompt_ceiling(c)) : -1;
}

int64_t settle_reported_output(struct call *c) {
    return c->meter.has_usage ? believe(c, c->meter.usage.output, output_ceiling(c)) : -1;
}

/*
 * Tokens generated, of a call that was executed (admission spec 1.6): what the backend reports, else
 * the pieces of a stream, else, since nobody counted, what was estimated.
 */
static int64_t count_generated(struct call *c, enum call_count_source *source) {
    const struct meter *m = &c->meter;
    bool is_stream = c->attempt_status ? m->is_stream : c->request.is_stream;
    int64_t reported = settle_reported_output(c);
    if (reported >= 0) {
        *source = COUNT_REPORTED;
        /* Usage that comes along with a stream may lag behind it; the last one knows all, when no text
         * came after it. */
        return m->has_finished && m->n_deltas == m->n_deltas_at_usage
                   ? reported
                   : i64_max(reported, m->n_deltas);
    }
    if (m->has_usage && c->route.op == OP_EMBEDDINGS) {
        *source = COUNT_REPORTED;
        return 0;
    }
    /* A whole stream of which nothing could be read has not said that nothing was generated. */
    if (is_stream && m->has_ended && c->receipt.bytes_out > 0 && !m->has_chunk)
        is_stream = false;
    *source = is_stream ? COUNT_COUNTED : COUNT_ESTIMATED;
    return is_stream ? m->n_deltas : c->reservation.out_tokens;
}

void settle_call(struct call *c, const struct call_env *env, enum status outcome,
                 bool is_executed) {
    assert(c->state != CALL_SETTLED && c->is_admitted);
    c->state = CALL_SETTLED;
    struct receipt *r = &c->receipt;
    struct live_counters *n = &c->live->counters;
    r->outcome = outcome;
    r->end_ns = c->now_ns;
    int64_t generated = 0;
    if (is_executed) {
        const struct meter *m = &c->meter;
        int64_t prompt = settle_reported_prompt(c);
        /* Without usage what was predicted stays the truth, of the prompt and of what was cached. */
        int64_t cached = m->has_usage ? i64_max(0, m->usage.cached) : r->cached_predicted;
        generated = count_generated(c, &r->count_source);
        if (m->has_usage)
            settle_post(c, env, reservation_prefill(&c->reservation, prompt, cached));
        r->prompt_tokens = prompt >= 0 ? prompt : r->prompt_estimate;
        if (prompt >= 0)
            residual_observe(&c->live->residual, r->prompt_estimate, prompt);
        if (m->has_usage && c->is_predicted)
            prefix_trust_learn(&c->live->prefix_trust, r->cached_predicted, m->usage.cached);
        cached = i64_min(cached, r->prompt_tokens);
        r->cached_tokens = cached;
        r->output_tokens = generated;
        metric_add(&n->prompt_tokens, r->prompt_tokens);
        metric_add(&n->cached_tokens, cached);
        metric_add(&n->cached_predicted, r->cached_predicted);
        metric_add(&n->output_tokens, generated);
        if (r->is_usage_capped)
            metric_add(&c->view->backends[c->backend->index]->usage_capped, 1);
        else if (outcome == ST_OK && r->count_source != COUNT_ESTIMATED &&
                 c->route.op != OP_EMBEDDINGS)
            output_model_observe(&c->live->output, r->prompt_tokens,
                                 generated / i64_max(1, c->request.output.n),
                                 was_cut_short(c, generated));
    }
    settle_post(c, env, reservation_finish(&c->reservation, generated, is_executed));
    r->charge_mt = c->deployment->is_provisioned ? c->reservation.charged_mt : 0;
    metric_add(&n->charged_mt, r->charge_mt);
    metric_add(&n->in_flight, -1);
}
