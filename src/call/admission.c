/* admission.c - by a request's body: what it will cost, and whether it may. */
#include "call/call_private.h"

static bool is_operation_of(enum model_kind kind, enum operation op) {
    switch (op) {
    case OP_EMBEDDINGS:
        return kind == MODEL_EMBEDDING;
    case OP_COMPLETIONS:
        return kind != MODEL_EMBEDDING;
    case OP_CHAT:
    case OP_RESPONSES:
        return kind == MODEL_CHAT;
    case OP_MODELS:
    case OP_DEPLOYMENTS:
        break;
    }
    return false;
}

/* How many tokens of the prompt its backend will find in its cache (admission spec 4). */
static int64_t predict_cached(struct call *c, const struct call_env *env) {
    size_t n;
    const uint64_t *marks = call_marks(c, &n);
    if (n == 0)
        return 0;
    c->is_predicted = true;
    int64_t ttl_ns = prefix_trust_ttl_ns(&c->live->prefix_trust);
    return prompt_cached(&c->request.tally,
                         prefix_predict(env->prefixes, marks, n, c->now_ns, ttl_ns));
}

static enum status admit_provisioned(struct call *c, const struct call_env *env) {
    const struct request *q = &c->request;
    struct receipt *r = &c->receipt;
    int64_t learned = output_model_estimate(&c->live->output, q->prompt_tokens);
    r->prompt_estimate = q->prompt_tokens;
    r->output_estimate = output_estimate(&q->output, learned);
    r->cached_predicted = predict_cached(c, env);
    reservation_init(&c->reservation, live_weights(c->view, c->deployment), q->prompt_tokens,
                     r->cached_predicted, r->output_estimate, output_cap(&q->output));
    r->estimate_mt = c->reservation.charged_mt;
    struct bucket_verdict v = bucket_admit(&c->live->bucket, c->reservation.charged_mt, env->clock);
    r->level_before_mt = v.level_before_mt;
    r->level_after_mt = r->level_end_mt = v.level_mt;
    r->util_ppm = v.util_ppm;
    r->retry_after_ms = v.retry_after_ms;
    if (!v.admitted)
        return ST_DEPLOYMENT_FULL;
    minute_post(&c->live->minutes, c->now_ns, c->reservation.charged_mt);
    c->balance_estimate = c->reservation.charged_mt;
    return ST_OK;
}

static enum status admit_standard(struct call *c, const struct call_env *env) {
    const struct request *q = &c->request;
    struct receipt *r = &c->receipt;
    int64_t learned = output_model_estimate(&c->live->output, q->prompt_tokens);
    int64_t n = i64_max(i64_max(q->output.n, q->output.best_of), 1);
    r->prompt_estimate = q->prompt_tokens;
    r->output_estimate = output_estimate(&q->output, learned);
    int64_t estimate = standard_estimate_tokens(q->prompt_chars, r->output_estimate / n,
                                                q->output.best_of, q->output.n, q->n_prompts);
    estimate = i64_min(estimate, RESERVATION_TOKENS_MAX); /* beyond any limit, and no sum wraps */
    /* Not a charge: the reservation only serves the counting of what was generated. */
    reservation_init(&c->reservation, live_weights(c->view, c->deployment), q->prompt_tokens, 0,
                     r->output_estimate, output_cap(&q->output));
    c->limits = standard_admit(&c->live->standard, estimate, env->clock);
    r->estimate_mt = estimate * 1000;
    r->retry_after_ms = c->limits.retry_after_ms;
    c->balance_estimate = r->estimate_mt;
    if (c->limits.admitted)
        return ST_OK;
    return c->limits.why == STANDARD_NO_TOKENS ? ST_TOKEN_LIMIT : ST_CALL_LIMIT;
}

/* Marks of the prompt are of use for the price of a provisioned call, and for the choice of a backend.
 * A token has a byte at least. */
static bool wants_marks(const struct call *c, const struct call_env *env) {
    return env->prefixes && c->body.len >= PREFIX_FIRST && c->route.op != OP_EMBEDDINGS &&
           (c->deployment->is_provisioned || c->deployment->n_backends > 1);
}

bool admission_is_full(const struct call *c, int64_t now_ns) {
    return c->deployment->is_provisioned && bucket_retry_after_ms(&c->live->bucket, now_ns) > 0;
}

void admission_note_full(struct call *c) {
    struct receipt *r = &c->receipt;
    const struct bucket *b = &c->live->bucket;
    r->level_before_mt = r->level_after_mt = r->level_end_mt = bucket_level_mt(b, c->now_ns);
    r->util_ppm = bucket_util_ppm(b, c->now_ns);
    r->retry_after_ms = i64_max(1, bucket_retry_after_ms(b, c->now_ns));
}

/*
 * Whether the prompt fits: into the model's context, and into what provisioned deployments of it take. To
 * refuse what would fit is worse than to pass on what does not, so only counts of plain text are taken at
 * their word, and others when they are twice as long; of pictures (a small one has a third of the tokens
 * that are assumed), tools and schemas the model server decides. Several prompts have a context each.
 */
static enum status check_length(const struct call *c, struct problem *why) {
    static const char *const members[] = {[OP_CHAT] = "messages",
                                          [OP_COMPLETIONS] = "prompt",
                                          [OP_EMBEDDINGS] = "input",
                                          [OP_RESPONSES] = "input"};
    const struct request *q = &c->request;
    const struct model *m = c->deployment->model;
    int64_t tokens = q->tally.is_exact ? q->prompt_tokens : q->prompt_tokens / 2;
    struct str target = str_of(members[c->route.op]);
    if (q->n_prompts > 1 || q->may_be_cut || q->is_guessed || q->is_altered)
        return ST_OK;
    if (m->max_context_tokens && tokens > m->max_context_tokens)
        return problem_set(why, ST_CONTEXT_LENGTH, target,
                           "This model's maximum context length is %lld tokens. However, your "
                           "%s resulted in %lld tokens. Please reduce the length of the %s.",
                           (long long)m->max_context_tokens, target.p, (long long)q->prompt_tokens,
                           target.p);
    if (c->deployment->is_provisioned && m->max_provisioned_prompt &&
        tokens > m->max_provisioned_prompt)
        return problem_set(why, ST_CONTEXT_LENGTH, target,
                           "Provisioned deployments of this model take prompts of at most %lld "
                           "tokens. However, your %s resulted in %lld tokens. Please reduce the "
                           "length of the %s, or use a standard deployment.",
                           (long long)m->max_provisioned_prompt, target.p,
                           (long long)q->prompt_tokens, target.p);
    return ST_OK;
}

/* Reads the request and counts its prompt. */
enum status admission_judge(struct call *c, const struct call_env *env, struct problem *why) {
    struct request *q = &c->request;
    TRY(request_parse(env->doc, c->body.p, c->body.len, c->route.op, q, why));
    if (!c->deployment) {
        if (!q->model.p)
            return problem_set(why, ST_BAD_REQUEST, STR("model"),
                               "Missing required parameter: model, the name of a deployment.");
        TRY(call_find_deployment(c, q->model));
    }
    const struct model *m = c->deployment->model;
    if (!is_operation_of(m->kind, c->route.op))
        return problem_set(why, ST_OPERATION_NOT_SUPPORTED, STR("model"),
                           "The %.*s operation does not work with the specified model, %.*s. "
                           "Please choose a different model and try again.",
                           STR_ARG(operation_name(c->route.op)), STR_ARG(m->full_name));
    /* To count a long prompt for nothing would take from those who are admitted. */
    if (c->is_long && admission_is_full(c, clock_now_ns(env->clock)))
        return ST_DEPLOYMENT_FULL;
    const struct shared_vocabulary *own =
        m->tokenizer.n ? vocabulary_set_find(env->vocabularies, m->tokenizer) : NULL;
    /* Nothing is taken for cached, nor known by its time, that another model or deployment was sent. */
    struct siphash_key key = c->live->prefix_key;
    key.k1 ^= siphash(&key, m->full_name.p, m->full_name.n);
    struct prompt_framing framing;
    struct request_how how = {
        .counters = env->counters,
        .prompt = request_how_of(m, own, &framing),
        .with_chars = !c->deployment->is_provisioned,
    };
    how.prompt.budget = env->prompt_budget;
    how.prompt.with_marks = wants_marks(c, env);
    how.prompt.salt = key.k0;
    TRY(request_count(q, c->body.p, c->route.op, m->name, &how, why));
    TRY(check_length(c, why));
    buf_clear(&c->marks);
    request_marks(q, &key, &c->marks);
    if (c->deployment->n_backends == 0)
        return ST_NO_BACKEND;
    return ST_OK;
}

enum status admission_try(struct call *c, const struct call_env *env) {
    return c->deployment->is_provisioned ? admit_provisioned(c, env) : admit_standard(c, env);
}
