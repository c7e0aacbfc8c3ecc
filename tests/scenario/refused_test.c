/* refused_test.c - a refusal changes nothing, and says truly when to come back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "scenario/ledger.h"
#include "support/random.h"

#define HI "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"

/* One chat call with a limit; what became of it. One that was sent is finished at once: refused by
 * its backend with 400, so that it costs nothing, or served. */
struct attempt {
    enum call_action action;
    int http_status;
    int64_t retry_ms, retry_s; /* of the headers; -1: none */
};

static struct attempt attempt(struct rig *g, const char *deployment, int64_t max_tokens,
                              bool is_served) {
    struct rig_call rc;
    struct buf body, fields;
    struct attempt a = {.retry_ms = -1, .retry_s = -1};
    buf_init(&body, 4096);
    buf_init(&fields, 4096);
    buf_printf(&body, "{" HI ",\"max_tokens\":%lld}", (long long)max_tokens);
    rig_call_init(&rc, g);
    a.action = rig_submit(&rc, deployment, buf_view(&body));
    if (a.action == CALL_REPLY) {
        a.http_status = rc.call.reply_status;
        rig_reply_fields(&rc, &fields);
        a.retry_ms = rig_field_i64(buf_view(&fields), "retry-after-ms");
        a.retry_s = rig_field_i64(buf_view(&fields), "retry-after");
    } else {
        rig_answer(&rc, is_served ? 200 : 400, RIG_JSON);
        rig_bytes(&rc, STR("{\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}"), true);
        a.http_status = rc.call.receipt.http_status;
    }
    rig_call_destroy(&rc);
    buf_destroy(&fields);
    buf_destroy(&body);
    return a;
}

/* A refusal, which changes nothing but the count of refusals; the wait that it names. */
static int64_t must_refuse(struct rig *g, const char *deployment, int64_t max_tokens) {
    struct ledger before = ledger_read(g, deployment);
    struct attempt a = attempt(g, deployment, max_tokens, true);
    struct ledger after = ledger_read(g, deployment);
    assert_int_equal(a.action, CALL_REPLY);
    assert_int_equal(a.http_status, 429);
    assert_true(a.retry_ms >= 1);
    assert_int_equal(a.retry_s, (a.retry_ms + 999) / 1000);
    before.refused++;
    assert_memory_equal(&before, &after, sizeof before);
    return a.retry_ms;
}

/* Waits as long as it was told: 1 ms before it is refused still, then it is taken. */
static void check_wait(struct rig *g, const char *deployment, int64_t max_tokens) {
    int64_t ms = must_refuse(g, deployment, max_tokens);
    int64_t start_ns = g->now_ns;
    g->now_ns = start_ns + (ms - 1) * NS_PER_MS;
    if (ms > 1)
        assert_int_equal(must_refuse(g, deployment, max_tokens), 1);
    g->now_ns = start_ns + ms * NS_PER_MS;
    struct attempt a = attempt(g, deployment, max_tokens, true);
    if (a.action != CALL_SEND)
        fail_msg("%s: refused after %lld ms", deployment, (long long)ms);
}

static void a_full_provisioned_deployment_tells_the_true_wait(void **state) {
    (void)state;
    struct rig g;
    struct random r = {1};
    rig_init_same(&g, 1, "");
    static const char *const names[] = {"ptu", "tiny"};
    for (int round = 0; round < 600; round++) {
        const char *name = names[round % 2];
        int64_t depth = bucket_depth_mt(&rig_live(&g, name)->bucket);
        g.now_ns += random_below(&r, 1000000007);
        ledger_preload(&g, name, depth + (round % 3 ? random_below(&r, 90000000) : round % 5));
        check_wait(&g, name, 10);
    }
    /* One mt less is room for a call of any size. */
    ledger_preload(&g, "tiny", bucket_depth_mt(&rig_live(&g, "tiny")->bucket) - 1);
    assert_int_equal(attempt(&g, "tiny", 1000000, false).action, CALL_SEND);
    rig_destroy(&g);
}

static void the_call_that_crosses_the_line_is_taken_and_the_next_is_not(void **state) {
    (void)state;
    struct rig g;
    struct rig_call rc;
    rig_init_same(&g, 1, "");
    rig_call_init(&rc, &g);
    assert_int_equal(rig_submit(&rc, "tiny", STR("{" HI ",\"max_tokens\":10000}")), CALL_SEND);
    struct buf fields;
    buf_init(&fields, 4096);
    int64_t ms = must_refuse(&g, "tiny", 1);
    /* 30 million mt and a few of the prompt; 2,083,333 mt may stay: at 125 million a minute. */
    assert_true(ms > (30000000 - 2083333) / (RIG_RATE / 60000) && ms < 13500);
    call_put_reply_fields(&rc.call, &fields);
    /* 100 % is the depth: the first call put it at 1,440 %, rounded down to a decimal. */
    assert_true(str_find(buf_view(&fields), STR("azure-openai-deployment-utilization: 14")) >= 0);
    rig_answer(&rc, 400, RIG_JSON);
    rig_bytes(&rc, STR("{}"), true);
    /* Refunded: there is room at once. */
    assert_int_equal(attempt(&g, "tiny", 1, false).action, CALL_SEND);
    rig_call_destroy(&rc);
    buf_destroy(&fields);
    rig_destroy(&g);
}

static void standard_limits_tell_the_true_wait(void **state) {
    (void)state;
    struct random r = {2};
    for (int round = 0; round < 60; round++) {
        struct rig g;
        rig_init_same(&g, 1, "");
        g.now_ns += random_below(&r, 600 * NS_PER_S);
        /* By tokens: 10,000 a minute; the call that reaches them is the last. */
        int64_t n = 0;
        while (attempt(&g, "std", 3000, false).action == CALL_SEND)
            n++;
        assert_int_equal(n, 4);
        check_wait(&g, "std", 3000);
        /* Strict: the one that would cross is refused, a smaller one is not. */
        assert_int_equal(attempt(&g, "strict", 6000, false).action, CALL_SEND);
        must_refuse(&g, "strict", 6000);
        assert_int_equal(attempt(&g, "strict", 1000, false).action, CALL_SEND);
        check_wait(&g, "strict", 6000);
        rig_destroy(&g);
        /* By calls: 60 a minute are 10 in each 10 s. */
        rig_init_same(&g, 1, "");
        g.now_ns += random_below(&r, 600 * NS_PER_S);
        n = 0;
        while (attempt(&g, "std", 1, false).action == CALL_SEND)
            n++;
        assert_int_equal(n, 10);
        check_wait(&g, "std", 1);
        rig_destroy(&g);
    }
}

/* Several backends answer 429, each with a time of its own: the earliest is told. */
static void when_all_backends_are_busy_the_wait_is_that_of_the_first_to_return(void **state) {
    (void)state;
    struct random r = {3};
    for (int round = 0; round < 300; round++) {
        struct rig g;
        struct rig_call rc;
        size_t n = (size_t)random_between(&r, 1, 4);
        int64_t waits[RIG_BACKENDS_MAX], least = INT64_MAX;
        const char *name = round % 2 ? "ptu" : "std";
        rig_init_same(&g, n, "");
        if (round % 2)
            ledger_preload(&g, "ptu", 1000000);
        struct ledger before = ledger_read(&g, name);
        rig_call_init(&rc, &g);
        assert_int_equal(rig_submit(&rc, name, STR("{" HI ",\"max_tokens\":5}")), CALL_SEND);
        for (size_t i = 0; i < n; i++) {
            char field[64];
            waits[i] = random_between(&r, 1, 4000);
            least = i64_min(least, waits[i]);
            snprintf(field, sizeof field, "retry-after-ms: %lld\r\n", (long long)waits[i]);
            assert_int_equal(rig_answer(&rc, 429, field), i + 1 < n ? CALL_SEND : CALL_REPLY);
        }
        assert_int_equal(rc.call.reply_status, 429);
        struct ledger after = ledger_read(&g, name);
        assert_int_equal(after.mark, before.mark);
        assert_int_equal(after.minute, before.minute);
        assert_int_equal(after.inflight, 0);
        struct buf fields;
        buf_init(&fields, 4096);
        rig_reply_fields(&rc, &fields);
        assert_int_equal(rig_field_i64(buf_view(&fields), "retry-after-ms"), least);
        buf_destroy(&fields);
        rig_call_destroy(&rc);
        /* The same holds for a call that comes meanwhile and finds nobody. */
        int64_t pass = random_below(&r, least);
        rig_pass_ms(&g, pass);
        struct attempt a = attempt(&g, name, 5, true);
        assert_int_equal(a.action, CALL_REPLY);
        assert_int_equal(a.retry_ms, least - pass);
        rig_pass_ms(&g, least - pass - 1);
        if (pass < least - 1)
            assert_int_equal(attempt(&g, name, 5, true).action, CALL_REPLY);
        rig_pass_ms(&g, 1);
        assert_int_equal(attempt(&g, name, 5, true).action, CALL_SEND);
        rig_destroy(&g);
    }
}

/* Three failures in a row open the breaker for a second (admission spec 6.4). */
static void an_open_breaker_tells_when_it_is_tried_again(void **state) {
    (void)state;
    struct rig g;
    struct rig_call probe;
    rig_init_same(&g, 1, "");
    for (int i = 0; i < 3; i++) {
        struct rig_call rc;
        rig_call_init(&rc, &g);
        assert_int_equal(rig_submit(&rc, "ptu", STR("{" HI "}")), CALL_SEND);
        assert_int_equal(rig_fail(&rc, ST_UPSTREAM_FAILED, "refused"), CALL_REPLY);
        assert_int_equal(rc.call.reply_status, 502);
        rig_call_destroy(&rc);
    }
    struct attempt a = attempt(&g, "ptu", 5, true);
    assert_true(a.action == CALL_REPLY && a.http_status == 429 && a.retry_ms == 1000);
    rig_pass_ms(&g, 999);
    assert_int_equal(attempt(&g, "ptu", 5, true).retry_ms, 1);
    rig_pass_ms(&g, 1);
    /* Half open: one call is out to see, the next one must wait for it. */
    rig_call_init(&probe, &g);
    assert_int_equal(rig_submit(&probe, "ptu", STR("{" HI "}")), CALL_SEND);
    assert_int_equal(attempt(&g, "ptu", 5, true).http_status, 429);
    rig_answer(&probe, 200, RIG_JSON);
    rig_bytes(&probe, STR("{}"), true);
    rig_call_destroy(&probe);
    assert_int_equal(attempt(&g, "ptu", 5, true).action, CALL_SEND);
    rig_destroy(&g);
}

/* A backend with a quota of its own says how many tokens are left of it: it gets the calls that fit,
 * and the others wait until it is full again (admission spec 6.4). */
static void a_backend_with_tokens_left_gets_the_calls_that_fit(void **state) {
    (void)state;
    static const char *const names[] = {"ptu", "std"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct rig g;
        struct rig_call rc;
        rig_init_same(&g, 1, "");
        rig_call_init(&rc, &g);
        assert_int_equal(rig_submit(&rc, names[i], STR("{" HI "}")), CALL_SEND);
        rig_answer(&rc, 200,
                   RIG_JSON
                   "x-ratelimit-remaining-tokens: 1000\r\nx-ratelimit-reset-tokens: 30\r\n");
        rig_bytes(&rc, STR("{}"), true);
        rig_call_destroy(&rc);
        assert_int_equal(attempt(&g, names[i], 100, true).action, CALL_SEND);
        struct attempt a = attempt(&g, names[i], 2000, true);
        assert_int_equal(a.action, CALL_REPLY);
        assert_int_equal(a.http_status, 429);
        assert_int_equal(a.retry_ms, 30000);
        rig_pass_ms(&g, 29999);
        assert_int_equal(attempt(&g, names[i], 2000, true).action, CALL_REPLY);
        rig_pass_ms(&g, 1);
        assert_int_equal(attempt(&g, names[i], 2000, true).action, CALL_SEND);
        rig_destroy(&g);
    }
}

/* What is refused before admission is in no book at all. */
static void what_is_no_valid_call_is_not_counted(void **state) {
    (void)state;
    static const struct {
        const char *line, *fields, *body;
        int status;
    } cases[] = {
        {"POST /v1/chat/completions", "api-key: " RIG_KEY "\r\n", "{\"model\":\"ptu\"}", 400},
        {"POST /v1/chat/completions", "api-key: " RIG_KEY "\r\n", "{\"model\":\"ptu\",", 400},
        {"POST /v1/chat/completions", "api-key: " RIG_KEY "\r\n", "{" HI "}", 400},
        {"POST /v1/chat/completions", "api-key: " RIG_KEY "\r\n", "{\"model\":\"none\"," HI "}",
         404},
        {"POST /v1/chat/completions", "api-key: " RIG_KEY "\r\n", "{\"model\":\"emb\"," HI "}",
         400},
        {"POST /v1/chat/completions", "api-key: " RIG_KEY "\r\n", "{\"model\":\"nobody\"," HI "}",
         503},
        {"POST /v1/embeddings", "api-key: " RIG_KEY "\r\n", "{\"model\":\"ptu\",\"input\":\"x\"}",
         400},
        {"POST /v1/chat/completions", "", "{\"model\":\"ptu\"," HI "}", 401},
        {"POST /v1/chat/completions", "api-key: wrong-key-wrong-key\r\n",
         "{\"model\":\"ptu\"," HI "}", 401},
        {"GET /v1/chat/completions", "api-key: " RIG_KEY "\r\n", "", 405},
        {"POST /v1/nothing", "api-key: " RIG_KEY "\r\n", "{}", 404},
    };
    static const char *const names[] = {"ptu", "std", "emb", "nobody"};
    struct rig g;
    rig_init_same(&g, 1, "");
    struct ledger before[ARRAY_LEN(names)];
    for (size_t k = 0; k < ARRAY_LEN(names); k++)
        before[k] = ledger_read(&g, names[k]);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct rig_call rc;
        rig_call_init(&rc, &g);
        assert_int_equal(rig_submit_at(&rc, cases[i].line, cases[i].fields, str_of(cases[i].body)),
                         CALL_REPLY);
        if (rc.call.reply_status != cases[i].status)
            fail_msg("case %zu: %d, %.*s", i, rc.call.reply_status,
                     STR_ARG(buf_view(&rc.call.reply_body)));
        assert_int_equal(rc.call.receipt.http_status, cases[i].status);
        assert_int_equal(rc.call.state, CALL_NEW);
        rig_call_destroy(&rc);
        for (size_t k = 0; k < ARRAY_LEN(names); k++) {
            struct ledger after = ledger_read(&g, names[k]);
            assert_memory_equal(&before[k], &after, sizeof after);
        }
    }
    rig_destroy(&g);
}

/* The largest numbers that a request may hold, times the most choices and prompts. */
static void no_estimate_overflows(void **state) {
    (void)state;
    struct rig g;
    struct rig_call rc;
    struct buf body;
    rig_init_same(&g, 2, "");
    buf_init(&body, 1 << 20);
    static const char *const names[] = {"std", "strict", "ptu", "tiny"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        buf_clear(&body);
        buf_printf(&body,
                   "{\"model\":\"%s\",\"max_tokens\":1099511627776,\"n\":128,\"prompt\":[\"a\"",
                   names[i]);
        for (int k = 0; k < 20000; k++)
            buf_lit(&body, ",\"a\"");
        buf_lit(&body, "]}");
        rig_call_init(&rc, &g);
        assert_int_equal(
            rig_submit_at(&rc, "POST /v1/completions", "api-key: " RIG_KEY "\r\n", buf_view(&body)),
            CALL_SEND);
        assert_true(rc.call.receipt.estimate_mt > 0 && rc.call.balance_estimate > 0);
        assert_true(rig_inflight(&g) > 0);
        must_refuse(&g, names[i], 1);
        assert_int_equal(rig_fail(&rc, ST_UPSTREAM_FAILED, "x"), CALL_SEND);
        assert_true(rig_inflight(&g) > 0);
        assert_int_equal(rig_answer(&rc, 400, RIG_JSON), CALL_FORWARD);
        rig_bytes(&rc, STR("{}"), true);
        assert_int_equal(rig_inflight(&g), 0);
        rig_call_destroy(&rc);
        /* A provisioned deployment is as free as before; the count of a standard one stays. */
        assert_int_equal(attempt(&g, names[i], 1, false).action, i < 2 ? CALL_REPLY : CALL_SEND);
    }
    buf_destroy(&body);
    rig_destroy(&g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_provisioned_deployment_tells_the_true_wait),
        cmocka_unit_test(the_call_that_crosses_the_line_is_taken_and_the_next_is_not),
        cmocka_unit_test(standard_limits_tell_the_true_wait),
        cmocka_unit_test(when_all_backends_are_busy_the_wait_is_that_of_the_first_to_return),
        cmocka_unit_test(an_open_breaker_tells_when_it_is_tried_again),
        cmocka_unit_test(a_backend_with_tokens_left_gets_the_calls_that_fit),
        cmocka_unit_test(what_is_no_valid_call_is_not_counted),
        cmocka_unit_test(no_estimate_overflows),
    };
    return cmocka_run_group_tests_name("refused", tests, NULL, NULL);
}
