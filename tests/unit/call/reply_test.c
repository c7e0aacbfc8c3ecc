/* reply_test.c - what a caller reads: texts of refusals, fields of answers; and the access log. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/random.h"
#include "support/rig.h"

#define HI "\"messages\":[{\"role\":\"user\",\"content\":\"the secret prompt\"}]"

static bool has(struct str text, const char *part) {
    return str_find(text, str_of(part)) >= 0;
}

static void must_say(const struct rig_call *rc, const char *message) {
    struct buf want;
    buf_init(&want, 4096);
    buf_lit(&want, "\"message\":");
    json_quote(&want, str_of(message));
    if (str_find(buf_view(&rc->call.reply_body), buf_view(&want)) < 0)
        fail_msg("%.*s\nnot %s", STR_ARG(buf_view(&rc->call.reply_body)), message);
    buf_destroy(&want);
}

/* --- texts --- */

/* Sends calls to a standard deployment until one is refused, which is left in rc. */
static void fill(struct rig *g, struct rig_call *rc, const char *line, const char *key,
                 const char *body) {
    char fields[100];
    snprintf(fields, sizeof fields, "api-key: %s\r\n", key);
    for (int i = 0;; i++) {
        assert_true(i < 100);
        rig_call_init(rc, g);
        if (rig_submit_at(rc, line, fields, str_of(body)) == CALL_REPLY)
            return;
        rig_answer(rc, 400, RIG_JSON);
        rig_bytes(rc, STR("{}"), true);
        rig_call_destroy(rc);
    }
}

/* The texts of real samples (inference contract, section 6); scripts read the seconds out of them. */
static void standard_limits_speak_with_the_service_s_words(void **state) {
    (void)state;
    static const char many[] = "{\"model\":\"std\",\"max_tokens\":6000," HI "}";
    static const char few[] = "{\"model\":\"std\",\"max_tokens\":1," HI "}";
    static const struct {
        const char *line, *key, *body, *operation, *limit, *tier;
    } cases[] = {
        {"POST /openai/deployments/std/chat/completions?api-version=2024-05-01-preview", RIG_KEY,
         many, "ChatCompletions_Create Operation under Azure OpenAI API version 2024-05-01-preview",
         "token", "OpenAI S0"},
        {"POST /openai/deployments/std/chat/completions?api-version=2024-10-21", RIG_KEY, few,
         "ChatCompletions_Create Operation under Azure OpenAI API version 2024-10-21", "call",
         "OpenAI S0"},
        {"POST /openai/deployments/std/chat/completions?api-version=2024-10-21", RIG_OTHER_KEY,
         many, "ChatCompletions_Create Operation under Azure OpenAI API version 2024-10-21",
         "token", "AIServices S0"},
        {"POST /openai/v1/chat/completions?api-version=preview", RIG_KEY, many,
         "ChatCompletions_Create Operation under OpenAI Language Model Instance API", "token",
         "OpenAI S0"},
        {"POST /v1/completions", RIG_KEY,
         "{\"model\":\"std\",\"prompt\":\"p\",\"max_tokens\":6000}",
         "Completions_Create Operation under OpenAI Language Model Instance API", "token",
         "OpenAI S0"},
        {"POST /openai/deployments/emb/embeddings?api-version=2023-05-15", RIG_KEY,
         "{\"input\":\"p\"}",
         "Embeddings_Create Operation under Azure OpenAI API version 2023-05-15", "call",
         "OpenAI S0"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct rig g;
        struct rig_call rc;
        struct buf fields, want;
        buf_init(&fields, 8192);
        buf_init(&want, 8192);
        rig_init_same(&g, 1, "");
        fill(&g, &rc, cases[i].line, cases[i].key, cases[i].body);
        assert_int_equal(rc.call.reply_status, 429);
        rig_reply_fields(&rc, &fields);
        int64_t seconds = rig_field_i64(buf_view(&fields), "retry-after");
        assert_true(seconds >= 1 && seconds <= 60);
        buf_printf(&want,
                   "Requests to the %s have exceeded %s rate limit of your current %s pricing "
                   "tier. Please retry after %lld seconds. Please go here: "
                   "https://aka.ms/oai/quotaincrease if you would like to further increase the "
                   "default rate limit.",
                   cases[i].operation, cases[i].limit, cases[i].tier, (long long)seconds);
        buf_char(&want, '\0');
        must_say(&rc, want.p);
        assert_true(
            str_starts(buf_view(&rc.call.reply_body), STR("{\"error\":{\"code\":\"429\",")));
        rig_call_destroy(&rc);
        rig_destroy(&g);
        buf_destroy(&want);
        buf_destroy(&fields);
    }
}

static void other_refusals_say_what_is_wrong_and_where(void **state) {
    (void)state;
    static const struct {
        const char *line, *body, *code, *message, *param;
    } cases[] = {
        {"POST /openai/deployments/none/chat/completions?api-version=1", "{" HI "}",
         "DeploymentNotFound",
         "The API deployment for this resource does not exist. If you created the deployment "
         "within the last 5 minutes, please wait a moment and try again.",
         "null"},
        {"POST /openai/nothing", "{}", "404", "Resource not found", "null"},
        {"POST /v1/chat/completions", "{\"model\":\"ptu\"}", "invalid_request",
         "Missing required parameter: messages.", "\"messages\""},
        {"POST /v1/chat/completions", "{" HI "}", "invalid_request",
         "Missing required parameter: model, the name of a deployment.", "\"model\""},
        {"POST /v1/chat/completions", "{\"model\":\"ptu\",\"n\":0," HI "}", "invalid_request",
         "n must be from 1 to 128, not 0.", "\"n\""},
        {"POST /v1/chat/completions", "{\"model\":\"nobody\"," HI "}", "NoBackend",
         "No model server is configured or available for this deployment.", "null"},
    };
    struct rig g;
    rig_init_same(&g, 1, "");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct rig_call rc;
        char code[64], param[64];
        rig_call_init(&rc, &g);
        assert_int_equal(
            rig_submit_at(&rc, cases[i].line, "api-key: " RIG_KEY "\r\n", str_of(cases[i].body)),
            CALL_REPLY);
        must_say(&rc, cases[i].message);
        snprintf(code, sizeof code, "\"code\":\"%s\"", cases[i].code);
        snprintf(param, sizeof param, "\"param\":%s", cases[i].param);
        assert_true(has(buf_view(&rc.call.reply_body), code));
        assert_true(has(buf_view(&rc.call.reply_body), param));
        rig_call_destroy(&rc);
    }
    rig_destroy(&g);
}

static void a_full_provisioned_deployment_says_how_full(void **state) {
    (void)state;
    struct rig g;
    struct rig_call rc;
    struct buf fields;
    rig_init_same(&g, 1, "");
    buf_init(&fields, 8192);
    bucket_restore(&rig_live(&g, "ptu")->bucket, g.now_ns, RIG_RATE + RIG_RATE / 80);
    rig_call_init(&rc, &g);
    assert_int_equal(rig_submit(&rc, "ptu", STR("{" HI "}")), CALL_REPLY);
    /* 1/80 of a minute is 750 ms, and 1 mt more to get below. */
    must_say(&rc, "The provisioned deployment 'ptu' is at 101.2% utilization. Please retry after 1 "
                  "seconds; the header retry-after-ms has the exact time.");
    rig_reply_fields(&rc, &fields);
    assert_int_equal(rig_field_i64(buf_view(&fields), "retry-after-ms"), 751);
    assert_int_equal(rig_field_i64(buf_view(&fields), "retry-after"), 1);
    assert_true(has(buf_view(&fields), "azure-openai-deployment-utilization: 101.2%\r\n"));
    rig_call_destroy(&rc);
    buf_destroy(&fields);
    rig_destroy(&g);
}

/* --- fields --- */

static void every_answer_has_the_fields_of_the_contract(void **state) {
    (void)state;
    static const char *const names[] = {"ptu", "std"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct rig g;
        struct rig_call rc;
        struct http_reader r;
        struct buf fields;
        bool is_ptu = i == 0;
        rig_init_same(&g, 1, "");
        buf_init(&fields, 8192);
        rig_call_init(&rc, &g);
        char line[100];
        snprintf(line, sizeof line, "POST /v1/deployments/%s/chat/completions", names[i]);
        assert_int_equal(rig_submit_at(&rc, line,
                                       "api-key: " RIG_KEY "\r\nx-ms-client-request-id: mine\r\n",
                                       STR("{\"max_tokens\":1000," HI "}")),
                         CALL_SEND);
        rig_answer(&rc, 200, RIG_JSON);
        const struct http_head *head = rig_head(
            &r, false,
            STR("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nServer: uvicorn\r\n"
                "Date: today\r\nSet-Cookie: a=b\r\nAlt-Svc: h3\r\nConnection: close\r\n"
                "Content-Length: 2\r\nX-Request-Id: theirs\r\napim-request-id: theirs\r\n"
                "x-ratelimit-remaining-tokens: 7\r\nx-ratelimit-any: 7\r\n"
                "retry-after: 7\r\nretry-after-ms: 7\r\nx-ms-region: theirs\r\n"
                "azure-openai-deployment-utilization: 7%\r\nx-ms-deployment-name: theirs\r\n"
                "x-ms-client-request-id: theirs\r\nstrict-transport-security: theirs\r\n"
                "x-content-type-options: theirs\r\nKeep-Alive: 7\r\nTrailer: x\r\n"
                "openai-processing-ms: 12\r\nX-Any: thing\r\n\r\n"));
        call_put_answer_fields(&rc.call, head, &fields);
        struct str text = buf_view(&fields);
        static const char *const absent[] = {"theirs", "uvicorn",    "today",         "a=b",
                                             "h3",     "retry-",     "close",         "Trailer",
                                             "-any",   "Keep-Alive", "Content-Length"};
        for (size_t k = 0; k < ARRAY_LEN(absent); k++) {
            if (has(text, absent[k]))
                fail_msg("%s got through: %.*s", absent[k], STR_ARG(text));
        }
        assert_true(has(text, "Content-Type: application/json\r\n"));
        assert_true(has(text, "openai-processing-ms: 12\r\n") && has(text, "X-Any: thing\r\n"));
        assert_true(has(text, "x-ms-region: East US\r\n"));
        assert_true(has(text, "x-ms-client-request-id: mine\r\n"));
        assert_true(has(text, "x-content-type-options: nosniff\r\n"));
        assert_true(has(text, "strict-transport-security: max-age="));
        char id[100];
        snprintf(id, sizeof id, "apim-request-id: %s\r\nx-request-id: %s\r\n", rc.call.id,
                 rc.call.id);
        assert_true(has(text, id));
        snprintf(id, sizeof id, "x-ms-deployment-name: %s\r\n", names[i]);
        assert_true(has(text, id));
        /* Provisioned: utilization, one decimal; standard: limits in whole numbers. */
        assert_int_equal(has(text, "azure-openai-deployment-utilization: 2.4%\r\n"), is_ptu);
        static const struct {
            const char *name;
            int64_t value; /* -1: anything from 1 to 60 */
        } limits[] = {
            {"x-ratelimit-limit-requests", 60},     {"x-ratelimit-limit-tokens", 10000},
            {"x-ratelimit-remaining-requests", -2}, {"x-ratelimit-remaining-tokens", 8994},
            {"x-ratelimit-reset-requests", -1},     {"x-ratelimit-reset-tokens", -1}};
        for (size_t k = 0; k < ARRAY_LEN(limits); k++) {
            int64_t value = rig_field_i64(text, limits[k].name);
            if (is_ptu)
                assert_int_equal(value, -1);
            else if (limits[k].value >= 0)
                assert_int_equal(value, limits[k].value);
            else
                assert_true(value >= 1 && value <= 60);
        }
        http_reader_destroy(&r);
        rig_bytes(&rc, STR("{}"), true);
        rig_call_destroy(&rc);
        buf_destroy(&fields);
        rig_destroy(&g);
    }
}

static void hostile_values_cannot_add_fields(void **state) {
    (void)state;
    struct rig g;
    struct rig_call rc;
    struct buf fields;
    char id[300];
    rig_init_same(&g, 1, "");
    buf_init(&fields, 8192);
    rig_call_init(&rc, &g);
    memset(id, 'i', sizeof id);
    snprintf(id + 250, 50, "\r\napi-key: " RIG_KEY "\r\n");
    memcpy(id, "x-ms-client-request-id: \t", 25);
    assert_int_equal(rig_submit_at(&rc, "POST /v1/chat/completions", id, STR("{}")), CALL_REPLY);
    rig_reply_fields(&rc, &fields);
    struct str rest = buf_view(&fields), item;
    while (str_cut(&rest, '\n', &item))
        assert_true(item.n < 100 && str_ends(item, STR("\r")));
    assert_true(has(buf_view(&fields), "x-ms-client-request-id: iii"));
    rig_call_destroy(&rc);
    rig_call_init(&rc, &g);
    rig_submit_at(&rc, "POST /v1/chat/completions", "", STR("{}"));
    rig_reply_fields(&rc, &fields);
    assert_true(has(buf_view(&fields), "x-ms-client-request-id: Not-Set\r\n"));
    assert_true(has(buf_view(&fields), "Content-Type: application/json\r\n"));
    rig_call_destroy(&rc);
    buf_destroy(&fields);
    rig_destroy(&g);
}

static void ids_are_guids_of_version_4(void **state) {
    (void)state;
    struct rig g;
    struct random r = {8};
    rig_init_same(&g, 1, "");
    for (int i = 0; i < 200; i++) {
        struct call c;
        unsigned char id[16];
        for (size_t k = 0; k < sizeof id; k++)
            id[k] = (unsigned char)random_next(&r);
        call_init(&c, &g.env, 0, id);
        assert_int_equal(strlen(c.id), 36);
        for (int k = 0; k < 36; k++) {
            bool is_dash = k == 8 || k == 13 || k == 18 || k == 23;
            assert_true(is_dash ? c.id[k] == '-' : strchr("0123456789abcdef", c.id[k]) != NULL);
        }
        assert_true(c.id[14] == '4' && strchr("89ab", c.id[19]));
        call_destroy(&c);
    }
    rig_destroy(&g);
}

/* --- the access log --- */

/* Whatever became of the call, its line is one line of JSON, without content and without keys. */
static void check_line(struct rig *g, struct rig_call *rc, enum status outcome, int http_status) {
    struct buf line;
    struct json_value root, v;
    int64_t n = -1;
    buf_init(&line, 1 << 16);
    call_put_access_line(&rc->call, "2026-11-22T00:00:00.000Z", "10.1.2.3:4567", &line);
    assert_int_equal(buf_status(&line), ST_OK);
    assert_true(str_ends(buf_view(&line), STR("}\n")));
    assert_true(memchr(line.p, '\n', line.len) == line.p + line.len - 1);
    char *padded = rig_padded(buf_view(&line));
    struct problem why;
    if (json_parse(g->doc, padded, line.len, &root, &why) != ST_OK)
        fail_msg("%s: %.*s", why.message, STR_ARG(buf_view(&line)));
    assert_true(json_get(root, STR("status"), &v) && json_i64(v, &n));
    assert_int_equal(n, http_status);
    assert_true(json_get(root, STR("outcome"), &v));
    assert_true(str_eq(json_str(v), status_info(outcome)->label));
    assert_true(json_get(root, STR("id"), &v) && str_eq(json_str(v), str_of(rc->call.id)));
    static const char *const secrets[] = {RIG_KEY, "secret", "completion-text", "\\u0000"};
    for (size_t i = 0; i < ARRAY_LEN(secrets); i++)
        assert_false(has(buf_view(&line), secrets[i]));
    /* Every name once, so that no reader can see another value than we. */
    struct json_iter it, other;
    struct str key, again;
    json_fields(&it, root);
    while (json_next_field(&it, &key, &v)) {
        int n_same = 0;
        json_fields(&other, root);
        while (json_next_field(&other, &again, &v))
            n_same += str_eq(key, again);
        assert_int_equal(n_same, 1);
    }
    free(padded);
    buf_destroy(&line);
}

static void the_access_log_has_one_line_of_numbers_for_every_end(void **state) {
    (void)state;
    struct rig g;
    struct rig_call rc;
    static const char *const names[] = {"ptu", "std"};
    rig_init_same(&g, 1, "'apiKey':'secret-of-backend'");
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        rig_call_init(&rc, &g);
        rig_submit(&rc, names[i], STR("{\"max_tokens\":9,\"user\":\"secret user\"," HI "}"));
        rig_pass_ms(&g, 5);
        rig_answer(&rc, 200, RIG_JSON);
        rig_bytes(&rc,
                  STR("{\"choices\":[{\"message\":{\"content\":\"completion-text\"}}],\"usage\":{"
                      "\"prompt_tokens\":5,\"completion_tokens\":2}}"),
                  true);
        check_line(&g, &rc, ST_OK, 200);
        rig_call_destroy(&rc);

        rig_call_init(&rc, &g);
        rig_submit(&rc, names[i], STR("{" HI "}"));
        rig_fail(&rc, ST_UPSTREAM_TIMEOUT, "no answer \"in\" time\n");
        check_line(&g, &rc, ST_UPSTREAM_TIMEOUT, 504);
        rig_call_destroy(&rc);

        rig_call_init(&rc, &g);
        rig_submit(&rc, names[i], STR("{" HI "}"));
        rig_gone(&rc, true);
        check_line(&g, &rc, ST_CLIENT_GONE, 499);
        rig_call_destroy(&rc);

        rig_call_init(&rc, &g);
        rig_submit(&rc, names[i], STR("{\"n\":\"secret\"," HI "}"));
        check_line(&g, &rc, ST_BAD_REQUEST, 400);
        rig_call_destroy(&rc);
    }
    rig_call_init(&rc, &g);
    rig_submit_at(&rc, "POST /v1/chat/completions", "api-key: secret\r\n", STR("{}"));
    check_line(&g, &rc, ST_UNAUTHORIZED, 401);
    rig_call_destroy(&rc);
    rig_call_init(&rc, &g);
    rig_submit_at(&rc, "GET /v1/models", "api-key: " RIG_KEY "\r\n", STR(""));
    check_line(&g, &rc, ST_OK, 200);
    rig_call_destroy(&rc);
    rig_call_init(&rc, &g);
    rig_submit_at(&rc, "POST /secret", "", STR(""));
    check_line(&g, &rc, ST_NOT_FOUND, 404);
    rig_call_destroy(&rc);
    bucket_restore(&rig_live(&g, "ptu")->bucket, g.now_ns, 2 * RIG_RATE);
    rig_call_init(&rc, &g);
    rig_submit(&rc, "ptu", STR("{" HI "}"));
    check_line(&g, &rc, ST_DEPLOYMENT_FULL, 429);
    rig_call_destroy(&rc);
    rig_destroy(&g);
}

/* --- charges while a generation runs --- */

/* 600 pieces of an answer whose length was taken for 512: charged ahead in blocks of 128, and at the
 * end what it was (admission spec 1.6). */
static void a_generation_that_outruns_its_estimate_is_charged_as_it_runs(void **state) {
    (void)state;
    struct rig g;
    struct rig_call rc;
    rig_init_same(&g, 1, "");
    bucket_restore(&rig_live(&g, "ptu")->bucket, g.now_ns, 50000000);
    int64_t mark = rig_finish_mark(&g, "ptu");
    rig_call_init(&rc, &g);
    assert_int_equal(rig_submit(&rc, "ptu", STR("{\"stream\":true," HI "}")), CALL_SEND);
    int64_t prompt = rc.call.receipt.prompt_estimate;
    assert_int_equal(rig_finish_mark(&g, "ptu") - mark, (prompt + 512 * 3) * 1000);
    rig_answer(&rc, 200, RIG_STREAM);
    for (int64_t n = 1; n <= 600; n++) {
        rig_bytes(&rc, STR("data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n"), false);
        assert_int_equal(rig_finish_mark(&g, "ptu") - mark,
                         (prompt + (n <= 512 ? 512 : 640) * 3) * 1000);
    }
    rig_bytes(&rc, STR("data: [DONE]\n\n"), true);
    assert_int_equal(rig_finish_mark(&g, "ptu") - mark, (prompt + 600 * 3) * 1000);
    rig_call_destroy(&rc);
    rig_destroy(&g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(standard_limits_speak_with_the_service_s_words),
        cmocka_unit_test(other_refusals_say_what_is_wrong_and_where),
        cmocka_unit_test(a_full_provisioned_deployment_says_how_full),
        cmocka_unit_test(every_answer_has_the_fields_of_the_contract),
        cmocka_unit_test(hostile_values_cannot_add_fields),
        cmocka_unit_test(ids_are_guids_of_version_4),
        cmocka_unit_test(the_access_log_has_one_line_of_numbers_for_every_end),
        cmocka_unit_test(a_generation_that_outruns_its_estimate_is_charged_as_it_runs),
    };
    return cmocka_run_group_tests_name("reply", tests, NULL, NULL);
}
