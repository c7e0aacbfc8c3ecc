#include "call/call.h"

#include "base/wide.h"
#include "call/call_private.h"
#include "json/error.h"

enum {
    REPLY_MAX = 1 << 20,
    MARKS_MAX = 64 << 10,    /* a million tokens */
    NO_ROOM_RETRY_MS = 1000, /* nobody knows; in a second most bodies have been answered */
};

/* --- beginning and end --- */

/* 16 random bytes as a GUID, version 4 (RFC 9562, section 5.4). */
static void format_id(const unsigned char bytes[16], char *out) {
    static const char hex[] = "0123456789abcdef";
    for (int i = 0; i < 16; i++) {
        unsigned byte = bytes[i];
        if (i == 6)
            byte = (byte & 0x0f) | 0x40;
        if (i == 8)
            byte = (byte & 0x3f) | 0x80;
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *out++ = '-';
        *out++ = hex[byte >> 4];
        *out++ = hex[byte & 15];
    }
    *out = '\0';
}

void call_init(struct call *c, const struct call_env *env, int64_t start_ns,
               const unsigned char id_bytes[16]) {
    memset(c, 0, sizeof *c);
    c->view = env->view;
    c->receipt.start_ns = start_ns;
    c->receipt.prompt_tokens = c->receipt.cached_tokens = c->receipt.output_tokens = -1;
    format_id(id_bytes, c->id);
    memcpy(c->client_id, "Not-Set", sizeof "Not-Set"); /* until its head says otherwise */
    buf_init(&c->reply_body, REPLY_MAX);
    buf_init(&c->marks, MARKS_MAX);
    meter_init(&c->meter, OP_CHAT, false, false);
}

void call_destroy(struct call *c) {
    assert(c->state == CALL_NEW || c->state == CALL_SETTLED);
    buf_destroy(&c->body);
    buf_destroy(&c->sent);
    buf_destroy(&c->marks);
    buf_destroy(&c->reply_body);
    meter_destroy(&c->meter);
}

/* What was kept to send the request again; not needed once an answer has begun. The body is the
 * gateway's to take. */
static void drop_request(struct call *c, const struct call_env *env) {
    shelf_give(env->shelf, &c->sent);
    c->n_send = 0;
}

/* Every event that needs the time begins here: it is read once, since an event takes microseconds. Only
 * admission reads the clock itself, anew in each of its passes. */
static void begin_event(struct call *c, const struct call_env *env) {
    c->now_ns = clock_now_ns(env->clock);
}

/* --- money: every post to the bucket is made here --- */

static void post(struct call *c, const struct call_env *env, int64_t delta_mt) {
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

static int64_t reported_prompt(struct call *c) {
    return c->meter.has_usage ? believe(c, c->meter.usage.prompt, prompt_ceiling(c)) : -1;
}

static int64_t reported_output(struct call *c) {
    return c->meter.has_usage ? believe(c, c->meter.usage.output, output_ceiling(c)) : -1;
}

/*
 * Tokens generated, of a call that was executed (admission spec 1.6): what the backend reports, else
 * the pieces of a stream, else, since nobody counted, what was estimated.
 */
static int64_t count_generated(struct call *c, enum call_count_source *source) {
    const struct meter *m = &c->meter;
    bool is_stream = c->attempt_status ? m->is_stream : c->request.is_stream;
    int64_t reported = reported_output(c);
    if (reported >= 0) {
        *source = COUNT_REPORTED;
        /* Usage that comes along with a stream may lag behind it; the last one knows all. */
        return m->has_finished ? reported : i64_max(reported, m->n_deltas);
    }
    if (m->has_usage && c->route.op == OP_EMBEDDINGS) {
        *source = COUNT_REPORTED;
        return 0;
    }
    *source = is_stream ? COUNT_COUNTED : COUNT_ESTIMATED;
    return is_stream ? m->n_deltas : c->reservation.out_tokens;
}

/*
 * The one exit of every admitted call: the charge becomes the actual cost, or nothing when no
 * backend executed it.
 */
static void settle(struct call *c, const struct call_env *env, enum status outcome,
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
        int64_t prompt = reported_prompt(c);
        /* Without usage what was predicted stays the truth, of the prompt and of what was cached. */
        int64_t cached = m->has_usage ? i64_max(0, m->usage.cached) : r->cached_predicted;
        generated = count_generated(c, &r->count_source);
        if (m->has_usage)
            post(c, env, reservation_prefill(&c->reservation, prompt, cached));
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
    post(c, env, reservation_finish(&c->reservation, generated, is_executed));
    r->charge_mt = c->deployment->is_provisioned ? c->reservation.charged_mt : 0;
    metric_add(&n->charged_mt, r->charge_mt);
    metric_add(&n->in_flight, -1);
}

/* Ends the attempt on the backend at hand, if there is one. `st` is why, when it counts against the backend. */
static void end_attempt(struct call *c, enum balance_outcome outcome, enum status st) {
    if (!c->has_attempt)
        return;
    c->has_attempt = false;
    struct live_backend *b = c->view->backends[c->backend->index];
    struct balance_answer a = {
        .outcome = outcome,
        .retry_after_ms = i64_min(c->attempt_retry_ms, BALANCE_RETRY_AFTER_MS_MAX),
        .remaining = c->attempt_remaining,
        .reset_ms = c->attempt_reset_ms,
    };
    balance_done(&b->balance, c->now_ns, c->balance_estimate, &a);
    metric_add(&b->outcomes[outcome], 1);
    if (outcome == BALANCE_FAILED || outcome == BALANCE_BUSY) {
        int error = c->attempt_status >= 400 ? c->attempt_status : -(int)st;
        atomic_store_explicit(&b->error, error, memory_order_relaxed);
        atomic_store_explicit(&b->error_ns, c->now_ns, memory_order_relaxed);
    }
}

/* --- replies --- */

enum call_action call_refuse(struct call *c, enum status st, const struct problem *why) {
    const struct status_info *info = status_info(st);
    c->reply_status = info->http;
    c->receipt.outcome = st;
    c->receipt.http_status = info->http;
    if (st == ST_NO_ROOM)
        c->receipt.retry_after_ms = NO_ROOM_RETRY_MS;
    buf_clear(&c->reply_body);
    json_put_error(&c->reply_body, st, why);
    return CALL_REPLY;
}

/* A refusal of a call that had been admitted: nothing is charged. */
static enum call_action give_up(struct call *c, const struct call_env *env, enum status st,
                                const struct problem *why) {
    settle(c, env, st, false);
    drop_request(c, env);
    return call_refuse(c, st, why);
}

enum call_action call_list(struct call *c) {
    struct json_writer w;
    json_writer_init(&w, &c->reply_body, 0);
    json_begin_object(&w);
    json_key(&w, STR("object"));
    json_str_value(&w, STR("list"));
    json_key(&w, STR("data"));
    json_begin_array(&w);
    for (size_t i = 0; i < c->account->n_deployments; i++) {
        const struct deployment *d = &c->account->deployments[i];
        json_begin_object(&w);
        json_key(&w, STR("id"));
        json_str_value(&w, d->name);
        json_key(&w, STR("object"));
        json_str_value(&w, c->route.op == OP_MODELS ? STR("model") : STR("deployment"));
        if (c->route.op == OP_MODELS) {
            json_key(&w, STR("owned_by"));
            json_str_value(&w, c->account->name);
            json_key(&w, STR("created"));
            json_i64_value(&w, 0);
        } else {
            json_key(&w, STR("model"));
            json_str_value(&w, d->model->name);
            json_key(&w, STR("status"));
            json_str_value(&w, STR("succeeded"));
        }
        json_end_object(&w);
    }
    json_end_array(&w);
    json_end_object(&w);
    c->reply_status = c->receipt.http_status = 200;
    c->receipt.outcome = ST_OK;
    return CALL_REPLY;
}

/* --- open --- */

/* The host without its port. */
static struct str host_name(struct str host) {
    const char *colon = host.n ? memrchr(host.p, ':', host.n) : NULL;
    if (colon && host.p[host.n - 1] != ']')
        host.n = (size_t)(colon - host.p);
    return host;
}

static struct str bearer_of(const struct http_head *head) {
    struct str field = http_head_find(head, HTTP_AUTHORIZATION);
    return str_istarts(field, STR("bearer ")) ? str_trim(str_skip(field, 7)) : STR("");
}

/* The account that the caller names by host or path, NULL when by neither; ST_NOT_FOUND for a path that
 * names none. */
static enum status named_account(const struct call *c, const struct http_head *head,
                                 const struct account **out) {
    const struct snapshot *s = c->view->snapshot;
    struct str name = c->route.account;
    const struct account *a;
    *out = snapshot_account_by_host(s, host_name(http_head_find(head, HTTP_HOST)));
    if (!name.p)
        return ST_OK;
    for (size_t at = 0; snapshot_next_account(s, &at, &a);) {
        if (str_ieq(a->name, name) && (!*out || *out == a)) {
            *out = a;
            return ST_OK;
        }
    }
    return ST_NOT_FOUND;
}

/* Of the accounts that have the deployment (when the path names one) the only one that the caller may
 * call. */
static enum status only_account(struct call *c, const struct call_guard *g, struct str caller,
                                struct problem *why) {
    const struct account *a;
    struct str wanted = c->route.deployment;
    for (size_t at = 0; snapshot_next_account(c->view->snapshot, &at, &a);) {
        if ((wanted.p && !account_deployment(a, wanted)) ||
            !g->may_call(g->arg, caller, c->route.op, a->id))
            continue;
        if (c->account)
            return problem_set(why, ST_BAD_REQUEST, STR(""),
                               "This token may call several accounts: name one by its host, or by "
                               "/accounts/NAME before the path.");
        c->account = a;
    }
    return c->account ? ST_OK : ST_FORBIDDEN;
}

static enum status authenticate_token(struct call *c, const struct call_guard *g,
                                      const struct account *named, struct str token,
                                      struct problem *why) {
    struct str caller = g->caller(g->arg, token);
    if (caller.n == 0)
        return ST_UNAUTHORIZED;
    if (!named)
        return only_account(c, g, caller, why);
    c->account = named;
    return g->may_call(g->arg, caller, c->route.op, named->id) ? ST_OK : ST_FORBIDDEN;
}

/*
 * The key comes as `api-key`, or as a bearer token from clients that know no other way; other bearer
 * tokens are the guard's to judge. A host or path that names an account must agree with the key:
 * another account's key does not open it.
 */
static enum status authenticate(struct call *c, const struct call_env *env,
                                const struct http_head *head, struct problem *why) {
    struct str key = http_head_find(head, HTTP_API_KEY);
    struct str bearer = key.n ? STR("") : bearer_of(head);
    const struct account *named;
    TRY(named_account(c, head, &named));
    if (bearer.n)
        key = bearer;
    const struct account *by_key = key.n ? snapshot_account_by_key(c->view->snapshot, key) : NULL;
    if (!by_key && bearer.n && env->guard)
        return authenticate_token(c, env->guard, named, bearer, why);
    c->account = by_key;
    return by_key && (!named || named == by_key) ? ST_OK : ST_UNAUTHORIZED;
}

static void keep_client_id(struct call *c, const struct http_head *head) {
    struct str id = http_head_find(head, HTTP_X_MS_CLIENT_REQUEST_ID);
    if (id.n == 0)
        return;
    size_t n = size_min(id.n, CALL_CLIENT_ID_MAX);
    memcpy(c->client_id, id.p, n);
    c->client_id[n] = '\0';
}

static enum status find_deployment(struct call *c, struct str name) {
    c->deployment = account_deployment(c->account, name);
    if (!c->deployment)
        return ST_NO_DEPLOYMENT;
    c->live = live_of(c->view, c->deployment);
    /* Of a thousand deployments this one's numbers are rarely near. They come while the body is read. */
    __builtin_prefetch(c->deployment->model);
    __builtin_prefetch(&c->live->bucket, 1);
    __builtin_prefetch(&c->live->standard, 1);
    __builtin_prefetch(&c->live->output);
    __builtin_prefetch(&c->live->minutes);
    __builtin_prefetch(c->live->minute_slots, 1);
    return ST_OK;
}

enum status call_open(struct call *c, const struct call_env *env, const struct http_head *head,
                      struct problem *why) {
    keep_client_id(c, head);
    TRY(route_parse(head->method, head->target, &c->route, why));
    TRY(authenticate(c, env, head, why));
    if (c->route.deployment.p)
        TRY(find_deployment(c, c->route.deployment));
    return ST_OK;
}

/* --- admission --- */

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

/* The marks of the prompt at hand. */
static const uint64_t *marks_of(const struct call *c, size_t *n) {
    *n = c->marks.len / sizeof(uint64_t);
    return (const uint64_t *)(const void *)c->marks.p;
}

/* How many tokens of the prompt its backend will find in its cache (admission spec 4). */
static int64_t predict_cached(struct call *c, const struct call_env *env) {
    size_t n;
    const uint64_t *marks = marks_of(c, &n);
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

/* Reads the request and counts its prompt. */
static enum status judge(struct call *c, const struct call_env *env, struct problem *why) {
    struct request *q = &c->request;
    TRY(request_parse(env->doc, c->body.p, c->body.len, c->route.op, q, why));
    if (!c->deployment) {
        if (!q->model.p)
            return problem_set(why, ST_BAD_REQUEST, STR("model"),
                               "Missing required parameter: model, the name of a deployment.");
        TRY(find_deployment(c, q->model));
    }
    const struct model *m = c->deployment->model;
    if (!is_operation_of(m->kind, c->route.op))
        return problem_set(why, ST_OPERATION_NOT_SUPPORTED, STR("model"),
                           "The %.*s operation does not work with the specified model, %.*s. "
                           "Please choose a different model and try again.",
                           STR_ARG(operation_name(c->route.op)), STR_ARG(m->full_name));
    const struct shared_vocabulary *own =
        m->tokenizer.n ? vocabulary_set_find(env->vocabularies, m->tokenizer) : NULL;
    struct request_how how = {
        .counters = env->counters,
        .prompt = {.budget = env->prompt_budget,
                   .with_marks = wants_marks(c, env),
                   .custom = own ? &own->v : NULL},
        .with_chars = !c->deployment->is_provisioned,
    };
    TRY(request_count(q, c->body.p, c->route.op, m->name, &how, why));
    buf_clear(&c->marks);
    request_marks(q, &c->live->prefix_key, &c->marks);
    if (c->deployment->n_backends == 0)
        return ST_NO_BACKEND;
    return ST_OK;
}

/* --- attempts --- */

_Static_assert(DEPLOYMENT_BACKENDS_MAX <= BALANCE_BACKENDS_MAX,
               "a configuration has no more backends than a pick can tell apart");

/* The backends of the deployment, in its order. */
static size_t list_candidates(const struct call *c, struct balance_backend **candidates) {
    const struct deployment *d = c->deployment;
    for (size_t i = 0; i < d->n_backends; i++)
        candidates[i] = &c->view->backends[d->backends[i]->index]->balance;
    return d->n_backends;
}

/* How many tokens of the prompt each backend has in its cache, as far as we can know. */
static void find_affinity(const struct call *c, const struct call_env *env,
                          int64_t affinity[BALANCE_BACKENDS_MAX]) {
    size_t n;
    const uint64_t *marks = marks_of(c, &n);
    static_assert(PREFIX_BACKENDS <= BALANCE_BACKENDS_MAX, "each of them has a place");
    memset(affinity, 0, BALANCE_BACKENDS_MAX * sizeof *affinity);
    prefix_affinity(env->prefixes, marks, n, c->now_ns, PREFIX_TTL_MAX_NS, affinity);
}

/* Chooses a backend among those not tried yet. */
static bool choose(struct call *c, const struct call_env *env) {
    const struct deployment *d = c->deployment;
    struct balance_backend *candidates[BALANCE_BACKENDS_MAX] UNINITIALIZED;
    size_t n = list_candidates(c, candidates);
    int64_t affinity[BALANCE_BACKENDS_MAX] UNINITIALIZED;
    struct balance_ask ask = {
        .now_ns = c->now_ns, .estimate = c->balance_estimate, .tried = c->tried};
    if (n > 1 && c->marks.len) {
        find_affinity(c, env, affinity);
        ask.affinity = affinity;
    }
    int at = balance_pick(candidates, n, &ask, env->rng);
    if (at < 0)
        return false;
    c->backend_position = at;
    c->backend = d->backends[at];
    c->tried |= UINT64_C(1) << at;
    c->has_attempt = true;
    metric_add(&c->view->backends[c->backend->index]->attempts, 1);
    c->attempt_status = 0;
    c->attempt_retry_ms = c->attempt_reset_ms = 0;
    c->attempt_remaining = -1;
    c->receipt.n_attempts++;
    return true;
}

/* When the first of all backends may take calls again. */
static int64_t earliest_retry_ms(const struct call *c) {
    struct balance_backend *candidates[BALANCE_BACKENDS_MAX] UNINITIALIZED;
    size_t n = list_candidates(c, candidates);
    return balance_retry_after_ms(candidates, n, c->now_ns);
}

/* Whether a backend asked earlier calls to wait, and that time is not over. */
static bool is_any_waiting(const struct call *c) {
    struct balance_backend *candidates[BALANCE_BACKENDS_MAX] UNINITIALIZED;
    size_t n = list_candidates(c, candidates);
    for (size_t i = 0; i < n; i++) {
        if (balance_is_waiting(candidates[i], c->now_ns, c->balance_estimate))
            return true;
    }
    return false;
}

/*
 * The attempt is over without an answer: another backend, or `st` for the caller. Once one of them had
 * only asked to wait, that is what the caller is told, whatever became of the others (admission spec 6.4:
 * "none left: 429 with retry-after = earliest re-entry over all"): coming back then is of use, and a 502
 * says nothing of when. Where none asked to wait, the caller learns what is wrong.
 */
static enum call_action try_another(struct call *c, const struct call_env *env, enum status st,
                                    enum balance_outcome outcome, struct str why_text) {
    struct problem why = {0};
    end_attempt(c, outcome, st);
    c->was_busy |= st == ST_UPSTREAM_BUSY;
    if (choose(c, env)) {
        forward_prepare(c, env, NULL);
        return CALL_SEND;
    }
    if (c->was_busy || is_any_waiting(c))
        st = ST_UPSTREAM_BUSY;
    if (st == ST_UPSTREAM_BUSY) {
        c->receipt.retry_after_ms = earliest_retry_ms(c);
        refusal_describe(c, st, &why);
    } else if (why_text.n) {
        (void)problem_set(&why, st, STR(""), "%s (%.*s)", status_info(st)->text.p,
                          STR_ARG(why_text));
    }
    return give_up(c, env, st, &why);
}

/* The request was judged: it is admitted and sent, or refused. */
static enum call_action admit(struct call *c, const struct call_env *env,
                              const struct http_head *head, enum status st, struct problem *why) {
    struct receipt *r = &c->receipt;
    begin_event(c, env); /* how long it took to judge counts too */
    r->admitted_ns = c->now_ns;
    if (st == ST_OK) {
        st = c->deployment->is_provisioned ? admit_provisioned(c, env) : admit_standard(c, env);
        if (st != ST_OK) {
            metric_add(&c->live->counters.refused, 1);
            refusal_describe(c, st, why);
        }
    }
    if (st != ST_OK) {
        if (c->deployment && c->deployment->is_provisioned && st != ST_DEPLOYMENT_FULL)
            r->util_ppm = bucket_util_ppm(&c->live->bucket, r->admitted_ns);
        /* The limits stand on every answer of a standard deployment (admission spec 3.3). */
        if (c->deployment && !c->deployment->is_provisioned && !c->limits.limit_tokens)
            c->limits = standard_peek(&c->live->standard, r->admitted_ns);
        return call_refuse(c, st, why);
    }
    metric_add(&c->live->counters.admitted, 1);
    metric_add(&c->live->counters.in_flight, 1);
    c->is_admitted = true;
    c->state = CALL_WAITING;
    if (!choose(c, env)) {
        r->retry_after_ms = earliest_retry_ms(c);
        refusal_describe(c, ST_UPSTREAM_BUSY, why);
        return give_up(c, env, ST_UPSTREAM_BUSY, why);
    }
    forward_prepare(c, env, head);
    return CALL_SEND;
}

enum call_action call_submit(struct call *c, const struct call_env *env,
                             const struct http_head *head, struct buf body) {
    struct problem why UNINITIALIZED;
    assert(c->state == CALL_NEW);
    problem_clear(&why);
    c->body = body;
    c->receipt.bytes_in = (int64_t)body.len;
    if (env->counters && body.len > CALL_BODY_INLINE)
        return CALL_COUNT;
    enum status st = judge(c, env, &why);
    if (st == ST_OK && c->request.tally.unknown > 0)
        return CALL_COUNT;
    return admit(c, env, head, st, &why);
}

enum status call_count(struct call *c, const struct call_env *env, struct problem *why) {
    assert(c->state == CALL_NEW);
    return judge(c, env, why);
}

enum call_action call_counted(struct call *c, const struct call_env *env,
                              const struct http_head *head, enum status st,
                              const struct problem *judged) {
    struct problem why = *judged;
    assert(c->state == CALL_NEW);
    return admit(c, env, head, st, &why);
}

/* --- the answer --- */

static int64_t field_i64(const struct http_head *head, enum http_name id, int64_t otherwise) {
    int64_t n;
    struct str value = http_head_find(head, id);
    return value.n && str_to_i64(value, &n) && n >= 0 ? n : otherwise;
}

/* What the backend says about its own limits, for the balancer. */
static void read_limits(struct call *c, const struct http_head *head) {
    int64_t seconds = field_i64(head, HTTP_RETRY_AFTER, 0);
    c->attempt_retry_ms =
        field_i64(head, HTTP_RETRY_AFTER_MS, i64_min(seconds, INT64_C(86400)) * 1000);
    int64_t tokens = field_i64(head, HTTP_REMAINING_TOKENS, -1);
    /* In the unit of the estimate that it is compared with. */
    c->attempt_remaining = tokens < 0 ? -1 : i64_min(tokens, RESERVATION_TOKENS_MAX) * 1000;
    c->attempt_reset_ms = i64_min(field_i64(head, HTTP_RESET_TOKENS, 0), INT64_C(86400)) * 1000;
}

static bool is_event_stream(const struct http_head *head) {
    return str_istarts(http_head_find(head, HTTP_CONTENT_TYPE), STR("text/event-stream"));
}

enum call_action call_on_head(struct call *c, const struct call_env *env,
                              const struct http_head *head) {
    assert(c->state == CALL_WAITING || c->state == CALL_DRAINING);
    begin_event(c, env);
    c->attempt_status = head->status;
    read_limits(c, head);
    enum balance_outcome outcome = balance_outcome_of(head->status);
    /* It refuses our credentials, not the caller's, who would look for the fault in his own. */
    if (head->status == 401 || head->status == 403)
        outcome = BALANCE_FAILED;
    bool is_draining = c->state == CALL_DRAINING;
    if (!is_draining && outcome == BALANCE_BUSY)
        return try_another(c, env, ST_UPSTREAM_BUSY, outcome, STR(""));
    if (!is_draining && outcome == BALANCE_FAILED) {
        char text[40];
        size_t n = u64_format((uint64_t)head->status, text);
        memcpy(text + n, " from the model server", 22);
        return try_another(c, env, ST_UPSTREAM_FAILED, outcome, (struct str){text, n + 22});
    }
    c->receipt.first_byte_ns = c->now_ns;
    if (!is_draining)
        c->receipt.http_status = head->status;
    bool strips = c->request.is_stream && !c->request.wants_usage;
    meter_destroy(&c->meter);
    meter_init(&c->meter, c->route.op, is_event_stream(head), strips);
    drop_request(c, env);
    if (!is_draining)
        c->state = CALL_ANSWERING;
    return CALL_FORWARD;
}

/* A change of the charge while the answer runs. Only here does a piece of an answer need the time, unless
 * it is the last. */
static void charge_more(struct call *c, const struct call_env *env, int64_t delta_mt) {
    if (delta_mt == 0)
        return;
    begin_event(c, env);
    post(c, env, delta_mt);
}

/* A generation that outruns its estimate is charged while it runs (admission spec 1.6). */
static void charge_progress(struct call *c, const struct call_env *env) {
    if (!c->deployment->is_provisioned || !c->meter.is_stream)
        return;
    int64_t generated = i64_max(reported_output(c), c->meter.n_deltas);
    charge_more(c, env, reservation_progress(&c->reservation, generated));
}

/* The answer is complete. */
static void complete(struct call *c, const struct call_env *env) {
    bool is_executed = c->attempt_status / 100 == 2;
    end_attempt(c, balance_outcome_of(c->attempt_status), ST_UPSTREAM_FAILED);
    enum status outcome = c->state == CALL_DRAINING ? ST_CLIENT_GONE
                          : is_executed             ? ST_OK
                                                    : ST_BAD_REQUEST;
    settle(c, env, outcome, is_executed);
}

/* The prompt was worked out: its backend will find its beginnings for a while (admission spec 4.2). */
static void commit_prefixes(struct call *c, const struct call_env *env) {
    size_t n;
    const uint64_t *marks = marks_of(c, &n);
    if (n > 0)
        prefix_commit(env->prefixes, marks, n, c->now_ns, c->backend_position);
    buf_destroy(&c->marks);
}

bool call_on_body(struct call *c, const struct call_env *env, struct str *in, bool is_last,
                  struct meter_out *out) {
    size_t before = in->n;
    bool had_usage = c->meter.has_usage;
    bool has_more = meter_take(&c->meter, env->doc, in, is_last, out);
    c->receipt.bytes_out += (int64_t)(before - in->n);
    /* Usage that comes with the first pieces corrects the prompt's share at once. */
    if (c->meter.has_usage && !had_usage && c->meter.is_stream && !is_last) {
        int64_t cached = i64_max(0, c->meter.usage.cached);
        charge_more(c, env, reservation_prefill(&c->reservation, reported_prompt(c), cached));
    }
    charge_progress(c, env);
    bool is_end = is_last && !has_more;
    bool was_worked_out =
        c->marks.len && c->attempt_status / 100 == 2 && (c->meter.n_deltas > 0 || is_last);
    if (is_end || was_worked_out)
        begin_event(c, env);
    if (was_worked_out)
        commit_prefixes(c, env);
    if (is_end)
        complete(c, env);
    return has_more;
}

/* --- early ends --- */

static enum balance_outcome outcome_of_failure(enum status st) {
    return st == ST_UPSTREAM_BUSY ? BALANCE_SILENT : BALANCE_FAILED;
}

enum call_action call_on_fail(struct call *c, const struct call_env *env, enum status st,
                              struct str why) {
    begin_event(c, env);
    if (c->state == CALL_WAITING)
        return try_another(c, env, st, outcome_of_failure(st), why);
    end_attempt(c, BALANCE_FAILED, st);
    bool was_draining = c->state == CALL_DRAINING;
    bool is_executed = c->attempt_status / 100 == 2;
    settle(c, env, was_draining ? ST_CLIENT_GONE : st, is_executed);
    if (was_draining)
        return CALL_CANCEL;
    /* The stream ends with an error event and without [DONE]; any other answer just breaks off. */
    if (c->meter.is_stream) {
        struct problem p = {0};
        int http_status = c->receipt.http_status;
        (void)problem_set(&p, st, STR(""), "%s (%.*s)", status_info(st)->text.p, STR_ARG(why));
        call_refuse(c, st, &p);
        c->receipt.http_status = http_status; /* the head has long gone out */
        struct buf event;
        buf_init(&event, REPLY_MAX);
        buf_lit(&event, "data: ");
        buf_str(&event, buf_view(&c->reply_body));
        buf_lit(&event, "\n\n");
        buf_destroy(&c->reply_body);
        c->reply_body = event;
    }
    return CALL_CUT;
}

enum call_action call_on_fail_unseen(struct call *c, const struct call_env *env, enum status st,
                                     struct str why) {
    struct problem p = {0};
    assert(c->state == CALL_ANSWERING);
    begin_event(c, env);
    end_attempt(c, BALANCE_FAILED, st);
    (void)problem_set(&p, st, STR(""), "%s (%.*s)", status_info(st)->text.p, STR_ARG(why));
    return give_up(c, env, st, &p);
}

enum call_action call_on_gone(struct call *c, const struct call_env *env, bool has_sent) {
    assert(c->state == CALL_WAITING || c->state == CALL_ANSWERING);
    begin_event(c, env);
    bool was_answered = c->state == CALL_ANSWERING;
    if (!was_answered)
        c->receipt.http_status = status_info(ST_CLIENT_GONE)->http;
    if (has_sent && c->backend->on_client_gone == CLIENT_GONE_DRAIN) {
        c->state = CALL_DRAINING;
        return CALL_DRAIN;
    }
    end_attempt(c, was_answered ? BALANCE_SERVED : BALANCE_SILENT, ST_OK);
    settle(c, env, ST_CLIENT_GONE, was_answered ? c->attempt_status / 100 == 2 : has_sent);
    return CALL_CANCEL;
}

void call_abandon(struct call *c, const struct call_env *env) {
    if (c->state == CALL_NEW || c->state == CALL_SETTLED)
        return;
    begin_event(c, env);
    if (!c->receipt.http_status)
        c->receipt.http_status = status_info(ST_SHUTTING_DOWN)->http;
    end_attempt(c, BALANCE_SILENT, ST_OK);
    settle(c, env, ST_SHUTTING_DOWN, c->attempt_status / 100 == 2);
}
