/* early_end_test.c - every way in which a call can end early, and what it then costs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "scenario/ledger.h"
#include "tokens/estimate.h"

/* --- the call that all scenarios make --- */

#define PROMPT "tell me a short story"
#define MAX_TOKENS 100
#define BODY(stream)                                                                               \
    "{\"stream\":" stream                                                                          \
    ",\"max_tokens\":100,\"messages\":[{\"role\":\"user\",\"content\":\"" PROMPT "\"}]}"

/* Each message 3 and its role 1, and 3 for the reply. */
static int64_t prompt_estimate(void) {
    return tokens_estimate(STR(PROMPT)) + 3 + 1 + 3;
}

/* The backend's answer: five pieces of text, which it counts as seven tokens. */
#define DELTA "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"word \"}}]}\n\n"
#define ROLE                                                                                       \
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n"
#define FINISH "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
#define USAGE                                                                                      \
    "{\"prompt_tokens\":40,\"completion_tokens\":7,\"prompt_tokens_details\":{\"cached_tokens\":"  \
    "15}}"
#define USAGE_CHUNK "data: {\"choices\":[],\"usage\":" USAGE "}\n\n"
#define DONE "data: [DONE]\n\n"
#define WHOLE "{\"choices\":[{\"message\":{\"content\":\"word\"}}],\"usage\":" USAGE "}"
#define CHARGE_REPORTED ((40 - 15) * 1000 + 7 * 3000)

struct scene {
    bool is_stream, is_provisioned, drains;
    size_t n_backends;
    const char *deployment;
    struct rig rig;
    struct rig_call rc;
    struct ledger before;
};

static int64_t estimate_mt(void) {
    return cost_mt(prompt_estimate(), 0, MAX_TOKENS);
}

/* Up to the first CALL_SEND. */
static void begin(struct scene *s) {
    rig_init_same(&s->rig, s->n_backends, s->drains ? "'onClientGone':'drain'" : "");
    s->deployment = s->is_provisioned ? "ptu" : "std";
    ledger_preload(&s->rig, "ptu", 50000000);
    s->before = ledger_read(&s->rig, s->deployment);
    rig_call_init(&s->rc, &s->rig);
    enum call_action a =
        rig_submit(&s->rc, s->deployment, s->is_stream ? STR(BODY("true")) : STR(BODY("false")));
    assert_int_equal(a, CALL_SEND);
    struct ledger now = ledger_read(&s->rig, s->deployment);
    assert_int_equal(now.in_flight, 1);
    assert_int_equal(now.admitted - s->before.admitted, 1);
    assert_int_equal(now.mark - s->before.mark, s->is_provisioned ? estimate_mt() : 0);
    assert_true(now.inflight > 0);
    rig_pass_ms(&s->rig, 3);
}

/* What a provisioned deployment is charged; a standard one is not charged, and its count of tokens
 * stays as it was on arrival (admission spec 3.1). */
struct expected {
    int64_t charge_mt;
    enum status outcome;
    int http_status;
    int64_t prompt, cached, output; /* -1: the backend never executed it */
};

static void check_end(struct scene *s, const struct expected *want) {
    struct call *c = &s->rc.call;
    const struct receipt *r = &c->receipt;
    int64_t charge = s->is_provisioned ? want->charge_mt : 0;
    assert_int_equal(c->state, CALL_SETTLED);
    struct ledger now = ledger_read(&s->rig, s->deployment);
    if (now.mark - s->before.mark != charge)
        fail_msg("charged %lld, not %lld", (long long)(now.mark - s->before.mark),
                 (long long)charge);
    assert_int_equal(now.minute - s->before.minute, charge);
    assert_int_equal(now.charged - s->before.charged, charge);
    assert_int_equal(r->charge_mt, charge);
    assert_int_equal(now.in_flight, 0);
    assert_int_equal(now.inflight, 0);
    assert_int_equal(now.n_outcomes - s->before.n_outcomes, r->n_attempts);
    assert_int_equal(now.admitted - s->before.admitted, 1);
    assert_int_equal(now.refused - s->before.refused, 0);
    assert_int_equal(r->outcome, want->outcome);
    assert_int_equal(r->http_status, want->http_status);
    assert_true(r->end_ns == s->rig.now_ns);
    assert_int_equal(r->prompt_tokens, want->prompt);
    assert_int_equal(r->output_tokens, want->output);
    bool is_executed = want->prompt >= 0;
    assert_int_equal(now.prompt - s->before.prompt, is_executed ? want->prompt : 0);
    assert_int_equal(now.cached - s->before.cached, is_executed ? want->cached : 0);
    assert_int_equal(now.output - s->before.output, is_executed ? want->output : 0);
    if (s->is_provisioned)
        assert_int_equal(r->level_end_mt,
                         bucket_level_mt(&rig_live(&s->rig, "ptu")->bucket, s->rig.now_ns));
    /* Nothing can settle it again. */
    call_abandon(c, &s->rig.env);
    struct ledger again = ledger_read(&s->rig, s->deployment);
    assert_memory_equal(&now, &again, sizeof now);
}

static void end(struct scene *s) {
    rig_call_destroy(&s->rc);
    rig_destroy(&s->rig);
}

static void answer_rest(struct scene *s, const char *rest) {
    rig_bytes(&s->rc, str_of(rest), true);
}

/* --- the client leaves --- */

enum moment {
    GONE_UNSENT,       /* the request has not gone out */
    GONE_WAITING,      /* it has; no answer yet */
    GONE_AFTER_HEAD,   /* the answer's head is there, no body */
    GONE_MID_ANSWER,   /* three deltas, or half of the body */
    GONE_BEFORE_USAGE, /* the last delta and the finish reason */
    GONE_BEFORE_DONE,  /* the usage chunk too */
    N_MOMENTS,
};

/* Brings the call to that moment; the rest of what the backend sends. */
static const char *bring_to(struct scene *s, enum moment m) {
    if (m <= GONE_WAITING)
        return NULL;
    assert_int_equal(rig_answer(&s->rc, 200, s->is_stream ? RIG_STREAM : RIG_JSON), CALL_FORWARD);
    if (m == GONE_AFTER_HEAD)
        return s->is_stream ? ROLE DELTA DELTA DELTA DELTA DELTA FINISH USAGE_CHUNK DONE : WHOLE;
    if (!s->is_stream) {
        rig_bytes(&s->rc, (struct str){WHOLE, sizeof WHOLE / 2}, false);
        return &WHOLE[sizeof WHOLE / 2];
    }
    if (m == GONE_MID_ANSWER) {
        rig_bytes(&s->rc, STR(ROLE DELTA DELTA DELTA), false);
        return DELTA DELTA FINISH USAGE_CHUNK DONE;
    }
    rig_bytes(&s->rc, STR(ROLE DELTA DELTA DELTA DELTA DELTA FINISH), false);
    if (m == GONE_BEFORE_USAGE)
        return USAGE_CHUNK DONE;
    rig_bytes(&s->rc, STR(USAGE_CHUNK), false);
    return DONE;
}

/* What the call costs when the backend is cancelled at that moment (admission spec 1.6). */
static struct expected when_cancelled(const struct scene *s, enum moment m) {
    int64_t p = prompt_estimate();
    struct expected e = {.outcome = ST_CLIENT_GONE, .http_status = m <= GONE_WAITING ? 499 : 200};
    if (m == GONE_UNSENT) {
        e.prompt = e.output = -1; /* no backend has seen it */
        return e;
    }
    e.prompt = p;
    if (!s->is_stream)
        e.output = MAX_TOKENS; /* nobody counted: the estimate stands */
    else if (m == GONE_MID_ANSWER)
        e.output = 3;
    else if (m == GONE_BEFORE_USAGE)
        e.output = 5;
    if (s->is_stream && m == GONE_BEFORE_DONE) {
        e.prompt = 40;
        e.cached = 15;
        e.output = 7;
    }
    e.charge_mt = cost_mt(e.prompt, e.cached, e.output);
    return e;
}

static void a_client_that_leaves_pays_for_what_was_done_until_then(void **state) {
    (void)state;
    for (int m = 0; m < N_MOMENTS; m++) {
        for (int bits = 0; bits < 16; bits++) {
            struct scene s = {.is_stream = bits & 1,
                              .is_provisioned = bits & 2,
                              .drains = bits & 4,
                              .n_backends = bits & 8 ? 2 : 1};
            if (!s.is_stream && m > GONE_MID_ANSWER)
                continue;
            begin(&s);
            const char *rest = bring_to(&s, (enum moment)m);
            enum call_action a = rig_gone(&s.rc, m != GONE_UNSENT);
            if (!s.drains || m == GONE_UNSENT) {
                struct expected want = when_cancelled(&s, (enum moment)m);
                assert_int_equal(a, CALL_CANCEL);
                check_end(&s, &want);
                end(&s);
                continue;
            }
            assert_int_equal(a, CALL_DRAIN);
            assert_int_equal(s.rc.call.state, CALL_DRAINING);
            if (m == GONE_WAITING) {
                rig_answer(&s.rc, 200, s.is_stream ? RIG_STREAM : RIG_JSON);
                rest = s.is_stream ? ROLE DELTA DELTA DELTA DELTA DELTA FINISH USAGE_CHUNK DONE
                                   : WHOLE;
            }
            rig_pass_ms(&s.rig, 5);
            answer_rest(&s, rest);
            check_end(&s, &(struct expected){CHARGE_REPORTED, ST_CLIENT_GONE,
                                             m == GONE_WAITING ? 499 : 200, 40, 15, 7});
            end(&s);
        }
    }
}

/* Before the body is complete there is no call: nothing is counted. */
static void a_client_that_leaves_before_its_body_is_complete_changes_nothing(void **state) {
    (void)state;
    struct rig g;
    struct rig_call rc;
    struct http_reader r;
    struct problem why;
    rig_init_same(&g, 1, "");
    struct ledger before = ledger_read(&g, "ptu");
    rig_call_init(&rc, &g);
    const struct http_head *head =
        rig_head(&r, true,
                 STR("POST /openai/deployments/ptu/chat/completions?api-version=1 HTTP/1.1\r\n"
                     "Host: h\r\napi-key: " RIG_KEY "\r\nContent-Length: 100\r\n\r\n"));
    assert_int_equal(call_open(&rc.call, &g.env, head, &why), ST_OK);
    struct ledger after = ledger_read(&g, "ptu");
    assert_memory_equal(&before, &after, sizeof before);
    call_abandon(&rc.call, &g.env);
    assert_int_equal(rc.call.state, CALL_NEW);
    http_reader_destroy(&r);
    rig_call_destroy(&rc);
    rig_destroy(&g);
}

/* A drained backend that fails still ends the call, and once. */
static void draining_ends_with_the_backend_however_that_ends(void **state) {
    (void)state;
    static const struct {
        enum moment moment;
        int status; /* of the head that comes while draining, 0: none */
        bool fails;
        int64_t output; /* -1: nothing is charged */
        int http_status;
    } cases[] = {
        {GONE_WAITING, 0, true, -1, 499},    {GONE_WAITING, 429, false, -1, 499},
        {GONE_WAITING, 500, false, -1, 499}, {GONE_WAITING, 400, false, -1, 499},
        {GONE_WAITING, 200, true, 0, 499},   {GONE_AFTER_HEAD, 0, true, 0, 200},
        {GONE_MID_ANSWER, 0, true, 3, 200},  {GONE_BEFORE_USAGE, 0, true, 5, 200},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct scene s = {
            .is_stream = true, .is_provisioned = true, .drains = true, .n_backends = 2};
        begin(&s);
        bring_to(&s, cases[i].moment);
        assert_int_equal(rig_gone(&s.rc, true), CALL_DRAIN);
        /* Nobody waits for the answer, so a refusal is not taken elsewhere. */
        if (cases[i].status)
            assert_int_equal(
                rig_answer(&s.rc, cases[i].status, cases[i].status == 200 ? RIG_STREAM : RIG_JSON),
                CALL_FORWARD);
        if (cases[i].fails)
            assert_int_equal(rig_fail(&s.rc, ST_UPSTREAM_FAILED, "reset"), CALL_CANCEL);
        else
            answer_rest(&s, "{}");
        int64_t p = cases[i].output < 0 ? -1 : prompt_estimate();
        check_end(&s, &(struct expected){p < 0 ? 0 : cost_mt(p, 0, cases[i].output), ST_CLIENT_GONE,
                                         cases[i].http_status, p, 0, cases[i].output});
        assert_int_equal(s.rc.n_tried, 1);
        end(&s);
    }
}

/* --- the backend fails before its answer --- */

struct fault {
    const char *name;
    enum status st; /* given to call_on_fail; ST_OK: a head comes */
    int status;
    const char *fields;
    /* The reply when no other backend is left. */
    enum status outcome;
    int64_t retry_ms; /* of a 429 */
    enum balance_outcome balance;
};

static const struct fault faults[] = {
    {"refuses the connection", ST_UPSTREAM_FAILED, 0, "", ST_UPSTREAM_FAILED, 0, BALANCE_FAILED},
    {"does not answer", ST_UPSTREAM_TIMEOUT, 0, "", ST_UPSTREAM_TIMEOUT, 0, BALANCE_FAILED},
    {"speaks no HTTP", ST_UPSTREAM_GARBAGE, 0, "", ST_UPSTREAM_GARBAGE, 0, BALANCE_FAILED},
    {"has no free connection", ST_UPSTREAM_BUSY, 0, "", ST_UPSTREAM_BUSY, 1, BALANCE_SILENT},
    {"429", ST_OK, 429, "", ST_UPSTREAM_BUSY, 1, BALANCE_BUSY},
    {"429 and seconds", ST_OK, 429, "Retry-After: 7\r\n", ST_UPSTREAM_BUSY, 7000, BALANCE_BUSY},
    {"429 and ms", ST_OK, 429, "retry-after-ms: 1500\r\nretry-after: 9\r\n", ST_UPSTREAM_BUSY, 1500,
     BALANCE_BUSY},
    {"429 and an hour", ST_OK, 429, "retry-after: 3600\r\n", ST_UPSTREAM_BUSY, 60000, BALANCE_BUSY},
    {"429 and nonsense", ST_OK, 429, "retry-after: Fri, 31 Dec\r\nretry-after-ms: -5\r\n",
     ST_UPSTREAM_BUSY, 1, BALANCE_BUSY},
    {"429 and 2^63", ST_OK, 429, "retry-after: 9223372036854775807\r\n", ST_UPSTREAM_BUSY, 60000,
     BALANCE_BUSY},
    {"401: it refuses our key", ST_OK, 401, "", ST_UPSTREAM_FAILED, 0, BALANCE_FAILED},
    {"403: it refuses our key", ST_OK, 403, "", ST_UPSTREAM_FAILED, 0, BALANCE_FAILED},
    {"500", ST_OK, 500, "", ST_UPSTREAM_FAILED, 0, BALANCE_FAILED},
    {"503", ST_OK, 503, "retry-after: 1\r\n", ST_UPSTREAM_FAILED, 0, BALANCE_FAILED},
    {"599", ST_OK, 599, "", ST_UPSTREAM_FAILED, 0, BALANCE_FAILED},
};

static enum call_action commit(struct scene *s, const struct fault *f) {
    return f->st != ST_OK ? rig_fail(&s->rc, f->st, "the reason")
                          : rig_answer(&s->rc, f->status, f->fields);
}

/* The reply's body is an error of the contract's shape with this code. */
static void check_error_body(const struct rig_call *rc, enum status st) {
    struct json_doc *doc = json_doc_new();
    struct json_value root, error, v;
    char *padded = rig_padded(buf_view(&rc->call.reply_body));
    assert_int_equal(json_parse(doc, padded, rc->call.reply_body.len, &root, NULL), ST_OK);
    assert_true(json_get(root, STR("error"), &error));
    assert_true(json_get(error, STR("code"), &v) && str_eq(json_str(v), status_info(st)->code));
    assert_true(json_get(error, STR("message"), &v) && json_str(v).n > 10);
    assert_true(json_get(error, STR("type"), &v) && json_get(error, STR("param"), &v));
    assert_int_equal(rc->call.reply_status, status_info(st)->http);
    free(padded);
    json_doc_free(doc);
}

static void one_backend_that_fails_costs_nothing_and_is_told(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
        for (int bits = 0; bits < 4; bits++) {
            struct scene s = {.is_stream = bits & 1, .is_provisioned = bits & 2, .n_backends = 1};
            struct buf fields;
            buf_init(&fields, 4096);
            begin(&s);
            assert_int_equal(commit(&s, &faults[i]), CALL_REPLY);
            const struct status_info *info = status_info(faults[i].outcome);
            check_end(&s, &(struct expected){0, faults[i].outcome, info->http, -1, 0, -1});
            check_error_body(&s.rc, faults[i].outcome);
            rig_reply_fields(&s.rc, &fields);
            int64_t ms = rig_field_i64(buf_view(&fields), "retry-after-ms");
            int64_t seconds = rig_field_i64(buf_view(&fields), "retry-after");
            if (info->http == 429) {
                if (ms != faults[i].retry_ms)
                    fail_msg("%s: %lld ms", faults[i].name, (long long)ms);
                assert_int_equal(seconds, (ms + 999) / 1000);
            } else {
                assert_true(ms == -1 && seconds == -1);
            }
            struct live_backend *b = s.rig.view->backends[s.rc.tried[0]];
            assert_int_equal(metric_read(&b->outcomes[faults[i].balance]), 1);
            buf_destroy(&fields);
            end(&s);
        }
    }
}

static void a_second_backend_answers_for_the_first_and_the_caller_sees_one_answer(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
        for (int bits = 0; bits < 4; bits++) {
            struct scene s = {.is_stream = bits & 1, .is_provisioned = bits & 2, .n_backends = 2};
            begin(&s);
            assert_int_equal(commit(&s, &faults[i]), CALL_SEND);
            assert_int_equal(ledger_read(&s.rig, s.deployment).in_flight, 1);
            assert_int_equal(rig_answer(&s.rc, 200, s.is_stream ? RIG_STREAM : RIG_JSON),
                             CALL_FORWARD);
            answer_rest(&s, s.is_stream ? ROLE DELTA FINISH USAGE_CHUNK DONE : WHOLE);
            check_end(&s, &(struct expected){CHARGE_REPORTED, ST_OK, 200, 40, 15, 7});
            assert_true(str_eq(buf_view(&s.rc.got),
                               s.is_stream ? STR(ROLE DELTA FINISH DONE) : STR(WHOLE)));
            assert_int_equal(s.rc.n_tried, 2);
            end(&s);
        }
    }
}

static void when_all_fail_the_last_one_is_told_but_429_above_all(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
        for (size_t k = 0; k < ARRAY_LEN(faults); k++) {
            struct scene s = {.is_stream = true, .is_provisioned = true, .n_backends = 2};
            begin(&s);
            assert_int_equal(commit(&s, &faults[i]), CALL_SEND);
            assert_int_equal(commit(&s, &faults[k]), CALL_REPLY);
            bool is_busy = faults[i].outcome == ST_UPSTREAM_BUSY;
            enum status told = is_busy ? ST_UPSTREAM_BUSY : faults[k].outcome;
            check_end(&s, &(struct expected){0, told, status_info(told)->http, -1, 0, -1});
            check_error_body(&s.rc, told);
            assert_int_equal(s.rc.call.receipt.retry_after_ms > 0, told == ST_UPSTREAM_BUSY);
            end(&s);
        }
    }
}

static void a_backend_that_waits_makes_it_429_even_if_this_call_never_asked_it(void **state) {
    (void)state;
    struct scene s = {.is_provisioned = true, .n_backends = 2};
    begin(&s);
    const struct balance_answer wait = {BALANCE_BUSY, 5000, -1, 0};
    size_t other = 1 - s.rc.call.backend->index;
    balance_done(&s.rig.view->backends[other]->balance, s.rig.now_ns, 0, &wait);
    assert_int_equal(rig_answer(&s.rc, 500, ""), CALL_REPLY);
    check_error_body(&s.rc, ST_UPSTREAM_BUSY);
    /* The one that failed once is not open: it may be asked again at once. */
    assert_int_equal(s.rc.call.receipt.retry_after_ms, 1);
    assert_int_equal(s.rc.n_tried, 1);
    end(&s);
}

/* --- the backend fails in its answer --- */

static void a_stream_that_breaks_off_ends_with_an_error_event_and_is_not_repeated(void **state) {
    (void)state;
    static const enum status sts[] = {ST_UPSTREAM_FAILED, ST_UPSTREAM_TIMEOUT, ST_UPSTREAM_GARBAGE};
    for (size_t i = 0; i < ARRAY_LEN(sts); i++) {
        for (int m = GONE_AFTER_HEAD; m < N_MOMENTS; m++) {
            struct scene s = {.is_stream = true, .is_provisioned = true, .n_backends = 2};
            begin(&s);
            bring_to(&s, (enum moment)m);
            assert_int_equal(rig_fail(&s.rc, sts[i], "connection reset"), CALL_CUT);
            struct expected want = when_cancelled(&s, (enum moment)m);
            want.outcome = sts[i];
            check_end(&s, &want);
            assert_int_equal(s.rc.n_tried, 1);
            struct str event = buf_view(&s.rc.call.reply_body);
            assert_true(str_starts(event, STR("data: {\"error\":{")));
            assert_true(str_ends(event, STR("}\n\n")));
            assert_true(str_find(event, STR("connection reset")) > 0);
            assert_true(str_find(event, STR("[DONE]")) < 0);
            end(&s);
        }
    }
}

static void an_answer_of_which_nothing_was_seen_becomes_an_error_and_costs_nothing(void **state) {
    (void)state;
    for (int bits = 0; bits < 4; bits++) {
        struct scene s = {.is_stream = bits & 1, .is_provisioned = bits & 2, .n_backends = 2};
        begin(&s);
        rig_answer(&s.rc, 200, s.is_stream ? RIG_STREAM : RIG_JSON);
        enum call_action a =
            call_on_fail_unseen(&s.rc.call, &s.rig.env, ST_UPSTREAM_GARBAGE, STR("chunk size"));
        assert_int_equal(a, CALL_REPLY);
        check_end(&s, &(struct expected){0, ST_UPSTREAM_GARBAGE, 502, -1, 0, -1});
        check_error_body(&s.rc, ST_UPSTREAM_GARBAGE);
        assert_int_equal(s.rc.n_tried, 1); /* the request is gone: no other backend */
        end(&s);
    }
}

static void any_other_answer_that_breaks_off_has_nothing_put_behind_it(void **state) {
    (void)state;
    for (int m = GONE_AFTER_HEAD; m <= GONE_MID_ANSWER; m++) {
        struct scene s = {.is_provisioned = true, .n_backends = 2};
        begin(&s);
        bring_to(&s, (enum moment)m);
        assert_int_equal(rig_fail(&s.rc, ST_UPSTREAM_FAILED, "reset"), CALL_CUT);
        struct expected want = when_cancelled(&s, (enum moment)m);
        want.outcome = ST_UPSTREAM_FAILED;
        check_end(&s, &want);
        assert_int_equal(s.rc.call.reply_body.len, 0);
        end(&s);
    }
}

/* --- the backend lies, or is silent about what it did --- */

static void what_a_backend_says_it_did_is_believed_as_far_as_it_can_be_true(void **state) {
    (void)state;
    int64_t p = prompt_estimate();
    static const char five[] = ROLE DELTA DELTA DELTA DELTA DELTA FINISH;
    const struct {
        bool is_stream;
        const char *rest; /* behind `five` when it is a stream */
        int64_t prompt, cached, output;
    } cases[] = {
        {true, USAGE_CHUNK DONE, 40, 15, 7},
        {true, USAGE_CHUNK, 40, 15, 7},
        {true, DONE, p, 0, 5},
        {true, "", p, 0, 5},
        {true, "data: garbage\n\ngarbage\n\n\n", p, 0, 5},
        {true, "data: {\"choices\":[],\"usage\":null}\n\n" DONE, p, 0, 5},
        {true,
         "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":-4,\"completion_tokens\":-9}}\n\n", p,
         0, 5},
        {true,
         "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":\"4\",\"completion_tokens\":\"9\"}}\n\n",
         p, 0, 5},
        {true,
         "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":4611686018427387904,"
         "\"completion_tokens\":4611686018427387904}}\n\n",
         p, 0, 5},
        /* Only one of the two numbers. */
        {true, "data: {\"choices\":[],\"usage\":{\"completion_tokens\":9}}\n\n" DONE, p, 0, 9},
        {true, "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":30}}\n\n" DONE, 30, 0, 5},
        /* Fewer tokens than pieces, at the end of a whole stream: it knows better than we. */
        {true,
         "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":30,\"completion_tokens\":2}}\n\n", 30,
         0, 2},
        /* More cached than there were. */
        {true,
         "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":30,\"completion_tokens\":2,"
         "\"prompt_tokens_details\":{\"cached_tokens\":99}}}\n\n",
         30, 30, 2},
        {false, WHOLE, 40, 15, 7},
        {false, "{\"usage\":{\"prompt_tokens\":0,\"completion_tokens\":0}}", 0, 0, 0},
        {false, "{\"choices\":[]}", p, 0, MAX_TOKENS},
        {false, "", p, 0, MAX_TOKENS},
        {false, "<html>hello</html>", p, 0, MAX_TOKENS},
        {false, "{\"usage\":{\"prompt_tokens\":-1,\"completion_tokens\":-1}}", p, 0, MAX_TOKENS},
        {false, "{\"usage\":{\"prompt_tokens\":30}}", 30, 0, MAX_TOKENS},
        {false, "{\"usage\":{\"completion_tokens\":3}}", p, 0, 3},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (int is_provisioned = 0; is_provisioned < 2; is_provisioned++) {
            struct scene s = {
                .is_stream = cases[i].is_stream, .is_provisioned = is_provisioned, .n_backends = 1};
            begin(&s);
            assert_int_equal(rig_answer(&s.rc, 200, s.is_stream ? RIG_STREAM : RIG_JSON),
                             CALL_FORWARD);
            if (s.is_stream)
                rig_bytes(&s.rc, str_of(five), false);
            answer_rest(&s, cases[i].rest);
            check_end(&s, &(struct expected){
                              cost_mt(cases[i].prompt, cases[i].cached, cases[i].output), ST_OK,
                              200, cases[i].prompt, cases[i].cached, cases[i].output});
            end(&s);
        }
    }
}

/* What a call can have cost has bounds, whatever its backend claims; the line and a counter tell. */
static void usage_beyond_what_the_call_can_have_cost_is_capped_and_told(void **state) {
    (void)state;
    const int64_t context = 1 << 20; /* of a model whose own is not known */
    const struct {
        bool is_stream;
        const char *usage;
        int64_t prompt, output;
        bool is_capped;
    } cases[] = {
        {false, "1048576,\"completion_tokens\":100", context, 100, false},
        {false, "1048577,\"completion_tokens\":1", context, 1, true},
        {false, "1099511627776,\"completion_tokens\":1099511627776", context, 100, true},
        {false, "30,\"completion_tokens\":101", 30, 100, true},
        {true, "30,\"completion_tokens\":100", 30, 100, false},
        {true, "30,\"completion_tokens\":101", 30, 100, true},
        {true, "1048577,\"completion_tokens\":7", context, 7, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (int is_provisioned = 0; is_provisioned < 2; is_provisioned++) {
            struct scene s = {
                .is_stream = cases[i].is_stream, .is_provisioned = is_provisioned, .n_backends = 1};
            struct buf rest, line;
            buf_init(&rest, 4096);
            buf_init(&line, 4096);
            begin(&s);
            rig_answer(&s.rc, 200, s.is_stream ? RIG_STREAM : RIG_JSON);
            buf_printf(&rest, "%s{\"choices\":[],\"usage\":{\"prompt_tokens\":%s}}\n\n",
                       s.is_stream ? ROLE DELTA FINISH "data: " : "", cases[i].usage);
            rig_bytes(&s.rc, buf_view(&rest), true);
            int64_t prompt = cases[i].prompt, output = cases[i].output;
            check_end(
                &s, &(struct expected){cost_mt(prompt, 0, output), ST_OK, 200, prompt, 0, output});
            call_put_access_line(&s.rc.call, "2026-11-22T00:00:00.000Z", "x", &line);
            assert_int_equal(str_find(buf_view(&line), STR(",\"usageCapped\":true")) > 0,
                             cases[i].is_capped);
            assert_int_equal(metric_read(&s.rig.view->backends[0]->usage_capped),
                             cases[i].is_capped);
            buf_destroy(&rest);
            buf_destroy(&line);
            end(&s);
        }
    }
}

/* A server that does not know the caller's limit may exceed it: what was seen to come is believed. */
static void pieces_that_were_seen_are_believed_beyond_the_limit(void **state) {
    (void)state;
    struct scene s = {.is_stream = true, .is_provisioned = true, .n_backends = 1};
    begin(&s);
    rig_answer(&s.rc, 200, RIG_STREAM);
    for (int i = 0; i < MAX_TOKENS + 20; i++)
        rig_bytes(&s.rc, STR(DELTA), false);
    answer_rest(
        &s, FINISH
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":30,\"completion_tokens\":120}}\n\n");
    check_end(&s, &(struct expected){cost_mt(30, 0, 120), ST_OK, 200, 30, 0, 120});
    assert_false(s.rc.call.receipt.is_usage_capped);
    end(&s);
}

/* A chat longer than any context that we know of: its server may have one. */
static void a_chat_of_more_bytes_than_the_largest_context_may_have_as_many_tokens(void **state) {
    (void)state;
    struct buf body;
    char answer[100];
    buf_init(&body, 4 << 20);
    buf_lit(&body, "{\"messages\":[{\"role\":\"user\",\"content\":\"");
    for (int i = 0; i < 2 << 20; i++)
        buf_char(&body, 'x');
    buf_lit(&body, "\"}]}");
    for (int64_t more = 0; more < 2; more++) {
        struct rig rig;
        struct rig_call rc;
        rig_init_same(&rig, 1, "");
        rig_call_init(&rc, &rig);
        assert_int_equal(rig_submit(&rc, "ptu", buf_view(&body)), CALL_SEND);
        rig_answer(&rc, 200, RIG_JSON);
        int64_t most = (int64_t)body.len + 1024;
        snprintf(answer, sizeof answer,
                 "{\"usage\":{\"prompt_tokens\":%lld,\"completion_tokens\":1}}",
                 (long long)(most + more));
        rig_bytes(&rc, str_of(answer), true);
        assert_int_equal(rc.call.receipt.prompt_tokens, most);
        assert_int_equal(rc.call.receipt.is_usage_capped, more > 0);
        rig_call_destroy(&rc);
        rig_destroy(&rig);
    }
    buf_destroy(&body);
}

/* An embedding's tokens come out of its text: a byte makes at most one. */
static void the_tokens_of_a_plain_text_are_bounded_by_its_bytes(void **state) {
    (void)state;
    static const char body[] = "{\"input\":\"where does this river end?\"}";
    for (int64_t more = 0; more < 2; more++) {
        struct rig rig;
        struct rig_call rc;
        char answer[100];
        rig_init_same(&rig, 1, "");
        rig_call_init(&rc, &rig);
        assert_int_equal(
            rig_submit_at(&rc, "POST /openai/deployments/emb/embeddings?api-version=2024-10-21",
                          "api-key: " RIG_KEY "\r\n", str_of(body)),
            CALL_SEND);
        rig_answer(&rc, 200, RIG_JSON);
        int64_t most = (int64_t)sizeof body - 1 + 1024;
        snprintf(answer, sizeof answer, "{\"usage\":{\"prompt_tokens\":%lld}}",
                 (long long)(most + more));
        rig_bytes(&rc, str_of(answer), true);
        assert_int_equal(rc.call.receipt.prompt_tokens, most);
        assert_int_equal(rc.call.receipt.is_usage_capped, more > 0);
        rig_call_destroy(&rc);
        rig_destroy(&rig);
    }
}

/* Usage that comes along with a stream lags behind it: at an early end the pieces seen count. */
static void an_early_end_costs_what_was_seen_even_when_usage_lags_behind(void **state) {
    (void)state;
    static const char lagging[] =
        "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"usage\":{\"prompt_tokens\":40,"
        "\"completion_tokens\":1}}\n\n" DELTA DELTA DELTA;
    static const char leading[] =
        "data: {\"choices\":[{\"delta\":{\"content\":\"a b c\"}}],\"usage\":{\"prompt_tokens\":40,"
        "\"completion_tokens\":6}}\n\n" DELTA;
    for (int i = 0; i < 2; i++) {
        struct scene s = {.is_stream = true, .is_provisioned = true, .n_backends = 1};
        begin(&s);
        rig_answer(&s.rc, 200, RIG_STREAM);
        rig_bytes(&s.rc, str_of(i ? leading : lagging), false);
        assert_int_equal(rig_gone(&s.rc, true), CALL_CANCEL);
        int64_t output = i ? 6 : 4;
        check_end(&s,
                  &(struct expected){cost_mt(40, 0, output), ST_CLIENT_GONE, 200, 40, 0, output});
        end(&s);
    }
}

/* Answers that are neither good nor a reason to go elsewhere: the caller's own mistakes. */
static void other_statuses_pass_through_and_cost_nothing(void **state) {
    (void)state;
    static const int statuses[] = {302, 400, 404, 408, 413, 422, 499};
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        for (int is_stream = 0; is_stream < 2; is_stream++) {
            struct scene s = {.is_stream = is_stream, .is_provisioned = true, .n_backends = 2};
            begin(&s);
            assert_int_equal(rig_answer(&s.rc, statuses[i], RIG_JSON), CALL_FORWARD);
            static const char body[] =
                "{\"error\":{\"code\":\"x\"},\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":5}}";
            answer_rest(&s, body);
            check_end(&s, &(struct expected){0, ST_BAD_REQUEST, statuses[i], -1, 0, -1});
            assert_true(str_eq(buf_view(&s.rc.got), str_of(body)));
            struct live_backend *b = s.rig.view->backends[s.rc.tried[0]];
            assert_int_equal(metric_read(&b->outcomes[BALANCE_SERVED]), 1);
            end(&s);
        }
    }
}

/* --- the process ends --- */

static void a_call_that_is_abandoned_is_settled_as_if_its_caller_had_left(void **state) {
    (void)state;
    for (int m = GONE_WAITING; m < N_MOMENTS; m++) {
        for (int drains = 0; drains < 2; drains++) {
            struct scene s = {
                .is_stream = true, .is_provisioned = true, .drains = drains, .n_backends = 1};
            begin(&s);
            bring_to(&s, (enum moment)m);
            if (drains)
                rig_gone(&s.rc, true);
            call_abandon(&s.rc.call, &s.rig.env);
            struct expected want =
                when_cancelled(&s, m == GONE_WAITING ? GONE_UNSENT : (enum moment)m);
            want.outcome = ST_SHUTTING_DOWN;
            if (m == GONE_WAITING && !drains)
                want.http_status = 503;
            check_end(&s, &want);
            end(&s);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_client_that_leaves_pays_for_what_was_done_until_then),
        cmocka_unit_test(a_client_that_leaves_before_its_body_is_complete_changes_nothing),
        cmocka_unit_test(draining_ends_with_the_backend_however_that_ends),
        cmocka_unit_test(one_backend_that_fails_costs_nothing_and_is_told),
        cmocka_unit_test(a_second_backend_answers_for_the_first_and_the_caller_sees_one_answer),
        cmocka_unit_test(when_all_fail_the_last_one_is_told_but_429_above_all),
        cmocka_unit_test(a_backend_that_waits_makes_it_429_even_if_this_call_never_asked_it),
        cmocka_unit_test(a_stream_that_breaks_off_ends_with_an_error_event_and_is_not_repeated),
        cmocka_unit_test(an_answer_of_which_nothing_was_seen_becomes_an_error_and_costs_nothing),
        cmocka_unit_test(any_other_answer_that_breaks_off_has_nothing_put_behind_it),
        cmocka_unit_test(what_a_backend_says_it_did_is_believed_as_far_as_it_can_be_true),
        cmocka_unit_test(usage_beyond_what_the_call_can_have_cost_is_capped_and_told),
        cmocka_unit_test(pieces_that_were_seen_are_believed_beyond_the_limit),
        cmocka_unit_test(a_chat_of_more_bytes_than_the_largest_context_may_have_as_many_tokens),
        cmocka_unit_test(the_tokens_of_a_plain_text_are_bounded_by_its_bytes),
        cmocka_unit_test(an_early_end_costs_what_was_seen_even_when_usage_lags_behind),
        cmocka_unit_test(other_statuses_pass_through_and_cost_nothing),
        cmocka_unit_test(a_call_that_is_abandoned_is_settled_as_if_its_caller_had_left),
    };
    return cmocka_run_group_tests_name("early_end", tests, NULL, NULL);
}
