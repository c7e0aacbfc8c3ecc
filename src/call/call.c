#include "call/call.h"

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
    settle_call(c, env, st, false);
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
    const uint64_t *marks = call_marks(c, &n);
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
    bool is_judged = st == ST_OK;
    if (is_judged)
        st = admission_try(c, env);
    else if (st == ST_DEPLOYMENT_FULL)
        admission_note_full(c); /* a long one, which was not counted for that */
    if (st != ST_OK && (is_judged || st == ST_DEPLOYMENT_FULL)) {
        metric_add(&c->live->counters.refused, 1);
        refusal_describe(c, st, why);
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
    c->is_long = env->counters && body.len > CALL_BODY_INLINE;
    if (c->is_long && c->deployment && admission_is_full(c, clock_now_ns(env->clock)))
        return admit(c, env, head, ST_DEPLOYMENT_FULL, &why);
    if (c->is_long)
        return CALL_COUNT;
    enum status st = admission_judge(c, env, &why);
    /* That it is too long is only guessed while some of it is not counted. */
    c->is_long = (st == ST_OK || st == ST_CONTEXT_LENGTH) && c->request.tally.unknown > 0;
    return c->is_long ? CALL_COUNT : admit(c, env, head, st, &why);
}

enum status call_count(struct call *c, const struct call_env *env, struct problem *why) {
    assert(c->state == CALL_NEW);
    return admission_judge(c, env, why);
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

/* One whose bytes are compressed, although no encoding was asked for, passes like any answer that cannot
 * be read. */
static bool is_event_stream(const struct http_head *head) {
    struct str encoding;
    if (!str_istarts(http_head_find(head, HTTP_CONTENT_TYPE), STR("text/event-stream")))
        return false;
    encoding = http_head_get(head, STR("content-encoding"));
    return encoding.n == 0 || str_ieq(encoding, STR("identity"));
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
    settle_post(c, env, delta_mt);
}

/* A generation that outruns its estimate is charged while it runs (admission spec 1.6). */
static void charge_progress(struct call *c, const struct call_env *env) {
    if (!c->deployment->is_provisioned || !c->meter.is_stream)
        return;
    int64_t generated = i64_max(settle_reported_output(c), c->meter.n_deltas);
    charge_more(c, env, reservation_progress(&c->reservation, generated));
}

/* The answer is complete. */
static void complete(struct call *c, const struct call_env *env) {
    bool is_executed = c->attempt_status / 100 == 2;
    end_attempt(c, balance_outcome_of(c->attempt_status), ST_UPSTREAM_FAILED);
    enum status outcome = c->state == CALL_DRAINING ? ST_CLIENT_GONE
                          : is_executed             ? ST_OK
                                                    : ST_BAD_REQUEST;
    settle_call(c, env, outcome, is_executed);
}

/* The prompt was worked out: its backend will find its beginnings for a while (admission spec 4.2). */
static void commit_prefixes(struct call *c, const struct call_env *env) {
    size_t n;
    const uint64_t *marks = call_marks(c, &n);
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
        charge_more(c, env,
                    reservation_prefill(&c->reservation, settle_reported_prompt(c), cached));
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
    settle_call(c, env, was_draining ? ST_CLIENT_GONE : st, is_executed);
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
    settle_call(c, env, ST_CLIENT_GONE, was_answered ? c->attempt_status / 100 == 2 : has_sent);
    return CALL_CANCEL;
}

void call_abandon(struct call *c, const struct call_env *env) {
    if (c->state == CALL_NEW || c->state == CALL_SETTLED)
        return;
    begin_event(c, env);
    if (!c->receipt.http_status)
        c->receipt.http_status = status_info(ST_SHUTTING_DOWN)->http;
    end_attempt(c, BALANCE_SILENT, ST_OK);
    settle_call(c, env, ST_SHUTTING_DOWN, c->attempt_status / 100 == 2);
}
