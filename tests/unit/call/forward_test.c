/* forward_test.c - what a backend gets: the caller's bytes, but for model and stream_options. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/random.h"
#include "support/rig.h"

static struct str head_of(const struct rig_call *rc) {
    struct str sent = buf_view(&rc->sent);
    ptrdiff_t end = str_find(sent, STR("\r\n\r\n"));
    assert_true(end > 0);
    return (struct str){sent.p, (size_t)end + 4};
}

static struct str body_of(const struct rig_call *rc) {
    return str_skip(buf_view(&rc->sent), head_of(rc).n);
}

static bool has(struct str text, const char *part) {
    return str_find(text, str_of(part)) >= 0;
}

/* --- members of an object, as texts --- */

enum { MEMBERS_MAX = 64 };

struct members {
    struct str key[MEMBERS_MAX]; /* unescaped, on the heap */
    struct str raw[MEMBERS_MAX]; /* the value's bytes in the text that was parsed */
    int n;
};

static struct members members_of(struct str text) {
    struct members m = {.n = 0};
    struct json_doc *doc = json_doc_new();
    char *padded = rig_padded(text);
    struct json_value root, v;
    struct problem why = {0};
    struct json_iter it;
    struct json_span k, at;
    struct str key;
    if (json_parse(doc, padded, text.n, &root, &why) != ST_OK)
        fail_msg("%s: %.*s", why.message, STR_ARG(text));
    assert_int_equal(json_type(root), JSON_OBJECT);
    json_fields(&it, root);
    while (json_next_member(&it, &key, &v, &k, &at)) {
        assert_true(m.n < MEMBERS_MAX);
        m.key[m.n] = str_of(str_dup(key));
        m.raw[m.n++] = (struct str){text.p + at.begin, at.end - at.begin};
    }
    free(padded);
    json_doc_free(doc);
    return m;
}

static void members_free(struct members *m) {
    for (int i = 0; i < m->n; i++)
        free((char *)(uintptr_t)m->key[i].p);
}

/* Takes the member of that name out; its value's text, or {NULL, 0}. */
static struct str take(struct members *m, const char *name) {
    for (int i = 0; i < m->n; i++) {
        if (!str_eq(m->key[i], str_of(name)))
            continue;
        struct str raw = m->raw[i];
        free((char *)(uintptr_t)m->key[i].p);
        m->n--;
        for (int k = i; k < m->n; k++) {
            m->key[k] = m->key[k + 1];
            m->raw[k] = m->raw[k + 1];
        }
        return raw;
    }
    return (struct str){NULL, 0};
}

static bool same_members(const struct members *a, const struct members *b) {
    bool is_same = a->n == b->n;
    for (int i = 0; is_same && i < a->n; i++)
        is_same = str_eq(a->key[i], b->key[i]) && str_eq(a->raw[i], b->raw[i]);
    return is_same;
}

/* What must hold of the body that was sent for this one of the caller's. */
static void check_body(struct str given, struct str sent, const char *model, bool asks_for_usage) {
    struct members a = members_of(given), b = members_of(sent);
    struct str options_a, options_b;
    take(&a, "model");
    assert_true(str_eq(take(&b, "model"), str_of(model)));
    assert_null(take(&b, "model").p);
    options_a = take(&a, "stream_options");
    options_b = take(&b, "stream_options");
    assert_null(take(&b, "stream_options").p);
    if (!same_members(&a, &b))
        fail_msg("%.*s\nbecame %.*s", STR_ARG(given), STR_ARG(sent));
    members_free(&a);
    members_free(&b);
    if (!asks_for_usage) {
        assert_true(str_eq(options_a, options_b));
        return;
    }
    b = members_of(options_b);
    assert_true(str_eq(take(&b, "include_usage"), STR("true")));
    a = options_a.n && options_a.p[0] == '{' ? members_of(options_a) : (struct members){.n = 0};
    take(&a, "include_usage");
    if (!same_members(&a, &b))
        fail_msg("%.*s\nbecame %.*s", STR_ARG(options_a), STR_ARG(options_b));
    members_free(&a);
    members_free(&b);
}

/* Submits a chat body to `ptu` and gives what was sent. */
static void submit(struct rig *g, struct rig_call *rc, struct str body) {
    rig_call_init(rc, g);
    if (rig_submit(rc, "ptu", body) != CALL_SEND)
        fail_msg("%.*s\nfor %.*s", STR_ARG(buf_view(&rc->call.reply_body)), STR_ARG(body));
}

static void finish(struct rig_call *rc) {
    while (rc->call.state != CALL_SETTLED)
        rig_fail(rc, ST_UPSTREAM_FAILED, "enough seen");
    rig_call_destroy(rc);
    /* One failure after another must not open the breaker: the next test call needs a backend. */
    struct rig *g = rc->rig;
    for (size_t i = 0; i < g->view->n_backends; i++)
        balance_backend_init(&g->view->backends[i]->balance, 1, 1, 0);
}

#define HI "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"

static void splices_model_and_stream_options_wherever_they_stand(void **state) {
    (void)state;
    static const struct {
        const char *body;
        bool asks_for_usage;
    } cases[] = {
        {"{\"model\":\"x\"," HI "}", false},
        {"{" HI ",\"model\":\"x\"}", false},
        {"{" HI "}", false},
        {" \n{ " HI "\t} \r\n", false},
        {"{\"mod\\u0065l\" : \"x\\u0000}\" ," HI "}", false},
        {"{\"metadata\":{\"model\":\"m\",\"stream_options\":{}}," HI "}", false},
        {"{\"stream\":true," HI "}", true},
        {"{\"stream\":true," HI ",\"stream_options\":null}", true},
        {"{\"stream\":true," HI ",\"stream_options\":{}}", true},
        {"{\"stream_options\": { } ,\"stream\":true," HI "}", true},
        {"{\"stream_options\":{\"include_usage\":false},\"stream\":true," HI ",\"model\":\"x\"}",
         true},
        {"{\"model\":\"x\",\"stream_options\":{\"include_usage\":null},\"stream\":true," HI "}",
         true},
        {"{\"stream\":true," HI ",\"stream_options\":{\"include_usage\":true}}", false},
        {"{\"stream_options\":{\"incl\\u0075de_usage\" : false , \"b\":true},\"stream\":true," HI
         "}",
         true},
        {"{\"stream_options\":{\"a\":[{\"include_usage\":false}],\"b\":1.50,\"c\":null,\"d\":{},"
         "\"e\":-1e40,\"f\":\"\\u00e9\\\"}{\",\"include_usage\":false,\"g\":[]},\"stream\":true," HI
         "}",
         true},
        {"{\"stream_options\":{\"b\":\"include_usage\",\"c\":18446744073709551615},\"stream\":"
         "true," HI "}",
         true},
        /* Not a stream: the options are the caller's and the backend's affair. */
        {"{\"stream\":false," HI ",\"stream_options\":{\"include_usage\":false}}", false},
        {"{\"stream\":null," HI ",\"stream_options\":null}", false},
    };
    struct rig g;
    rig_init_same(&g, 1, "");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct rig_call rc;
        struct str body = str_of(cases[i].body);
        submit(&g, &rc, body);
        check_body(body, body_of(&rc), "\"gpt-4o\"", cases[i].asks_for_usage);
        finish(&rc);
    }
    rig_destroy(&g);
}

static void an_empty_object_gets_a_model_and_no_comma(void **state) {
    (void)state;
    static const char *const bodies[] = {"{}", " {\n} ", "{\"prompt\":\"p\"}"};
    struct rig g;
    rig_init_same(&g, 1, "");
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        struct rig_call rc;
        rig_call_init(&rc, &g);
        assert_int_equal(rig_submit_at(&rc, "POST /v1/deployments/ptu/completions",
                                       "api-key: " RIG_KEY "\r\n", str_of(bodies[i])),
                         CALL_SEND);
        check_body(str_of(bodies[i]), body_of(&rc), "\"gpt-4o\"", false);
        finish(&rc);
    }
    rig_destroy(&g);
}

/* Longer than any buffer that somebody might think large enough. */
static void long_stream_options_pass_whole(void **state) {
    (void)state;
    struct rig g;
    struct rig_call rc;
    struct buf body;
    rig_init_same(&g, 1, "");
    for (size_t n = 1000; n < 40000; n *= 3) {
        buf_init(&body, 1 << 20);
        buf_lit(&body, "{\"stream\":true,\"stream_options\":{\"x\":\"");
        for (size_t i = 0; i < n; i++)
            buf_char(&body, 'x');
        buf_lit(&body, "\",\"include_usage\":false,\"y\":\"\"}," HI "}");
        submit(&g, &rc, buf_view(&body));
        check_body(buf_view(&body), body_of(&rc), "\"gpt-4o\"", true);
        finish(&rc);
        buf_destroy(&body);
    }
    rig_destroy(&g);
}

/* --- random objects --- */

static void put_blanks(struct buf *b, struct random *r) {
    static const char blanks[] = " \t\r\n";
    while (random_once_in(r, 3))
        buf_char(b, blanks[random_below(r, 4)]);
}

static void put_value(struct buf *b, struct random *r, int depth) {
    static const char *const scalars[] = {"null",
                                          "true",
                                          "false",
                                          "0",
                                          "-1",
                                          "1.5e-3",
                                          "9223372036854775807",
                                          "\"\"",
                                          "\"text\"",
                                          "\"\\\"}],{[\\\\\"",
                                          "\"model\"",
                                          "\"\\ud83d\\ude00 \xc3\xa9\""};
    int64_t kind = random_below(r, depth > 3 ? 8 : 10);
    if (kind < 8) {
        buf_str(b, str_of(scalars[random_below(r, ARRAY_LEN(scalars))]));
        return;
    }
    buf_char(b, kind == 8 ? '[' : '{');
    int64_t n = random_below(r, 4);
    for (int64_t i = 0; i < n; i++) {
        if (i)
            buf_char(b, ',');
        put_blanks(b, r);
        if (kind == 9) {
            static const char *const keys[] = {"model", "stream_options", "a", "include_usage"};
            buf_printf(b, "\"%s\"", keys[random_below(r, ARRAY_LEN(keys))]);
            put_blanks(b, r);
            buf_char(b, ':');
            put_blanks(b, r);
        }
        put_value(b, r, depth + 1);
        put_blanks(b, r);
    }
    buf_char(b, kind == 8 ? ']' : '}');
}

/* A name with some of its letters escaped. */
static void put_name(struct buf *b, struct random *r, const char *name) {
    bool escapes = random_once_in(r, 4);
    buf_char(b, '"');
    for (; *name; name++) {
        if (escapes && random_once_in(r, 3))
            buf_printf(b, "\\u%04x", (unsigned)*name);
        else
            buf_char(b, *name);
    }
    buf_char(b, '"');
}

/* The options of a stream; tells whether they ask for usage. */
static bool put_options(struct buf *b, struct random *r) {
    if (random_once_in(r, 4)) {
        buf_lit(b, "null");
        return false;
    }
    int64_t n = random_below(r, 4), at = random_below(r, 6);
    bool wants = false;
    buf_char(b, '{');
    put_blanks(b, r);
    for (int64_t i = 0; i < n; i++) {
        if (i)
            buf_char(b, ',');
        put_blanks(b, r);
        put_name(b, r, i == at ? "include_usage" : "other");
        put_blanks(b, r);
        buf_char(b, ':');
        put_blanks(b, r);
        if (i == at) {
            wants = random_once_in(r, 3);
            buf_str(b, wants ? STR("true") : random_once_in(r, 2) ? STR("false") : STR("null"));
        } else {
            put_value(b, r, 1);
        }
        put_blanks(b, r);
    }
    buf_char(b, '}');
    return wants;
}

/* A chat body; tells whether the gateway has to ask for usage. */
static bool put_body(struct buf *b, struct random *r) {
    enum { MESSAGES, STREAM, MODEL, OPTIONS, FIRST_OTHER };
    int order[10], n = (int)random_between(r, 1, 10);
    bool is_stream = false, wants = false;
    for (int i = 0; i < n; i++)
        order[i] = i;
    for (int i = n - 1; i > 0; i--) {
        int k = (int)random_below(r, i + 1), t = order[i];
        order[i] = order[k];
        order[k] = t;
    }
    put_blanks(b, r);
    buf_char(b, '{');
    for (int i = 0; i < n; i++) {
        static const char *const names[] = {"messages", "stream", "model", "stream_options"};
        if (i)
            buf_char(b, ',');
        put_blanks(b, r);
        put_name(b, r, order[i] < FIRST_OTHER ? names[order[i]] : "other");
        put_blanks(b, r);
        buf_char(b, ':');
        put_blanks(b, r);
        if (order[i] == MESSAGES) {
            buf_lit(b, "[{\"role\":\"user\",\"content\":\"hi\"}]");
        } else if (order[i] == STREAM) {
            is_stream = !random_once_in(r, 4);
            buf_str(b, is_stream ? STR("true") : STR("false"));
        } else if (order[i] == MODEL) {
            buf_lit(b, "\"some model\\n\"");
        } else if (order[i] == OPTIONS) {
            wants = put_options(b, r);
        } else {
            put_value(b, r, 0);
        }
        put_blanks(b, r);
    }
    buf_char(b, '}');
    put_blanks(b, r);
    return is_stream && !wants;
}

static void any_object_arrives_as_it_was_but_for_the_two(void **state) {
    (void)state;
    struct rig g;
    struct random r = {77};
    struct buf body;
    rig_init_same(&g, 1, "");
    buf_init(&body, 1 << 20);
    for (int round = 0; round < 4000; round++) {
        struct rig_call rc;
        buf_clear(&body);
        bool asks_for_usage = put_body(&body, &r);
        submit(&g, &rc, buf_view(&body));
        check_body(buf_view(&body), body_of(&rc), "\"gpt-4o\"", asks_for_usage);
        char length[48];
        snprintf(length, sizeof length, "\r\nContent-Length: %zu\r\n", body_of(&rc).n);
        assert_true(str_find(head_of(&rc), str_of(length)) > 0);
        finish(&rc);
    }
    buf_destroy(&body);
    rig_destroy(&g);
}

/* --- heads --- */

static void the_head_names_the_backend_and_hides_the_caller(void **state) {
    (void)state;
    struct rig g;
    struct rig_call rc;
    rig_init(&g, (struct rig_backend[]){{"'apiKey':'secret-of-backend','modelName':'served'"}}, 1);
    rig_call_init(&rc, &g);
    assert_int_equal(
        rig_submit_at(&rc, "POST /openai/deployments/ptu/chat/completions?api-version=2024-10-21",
                      "api-key: " RIG_KEY "\r\nAuthorization: Bearer of-somebody\r\n"
                      "Cookie: c=1\r\nAccept-Encoding: gzip\r\nConnection: keep-alive\r\nTE: x\r\n"
                      "Expect: 100-continue\r\nContent-Type: text/plain\r\nKeep-Alive: 5\r\n"
                      "Proxy-Authorization: p\r\nUpgrade: h2c\r\nx-ms-spillover-deployment: std\r\n"
                      "Traceparent: 00-1\r\nX-Any:  a value \r\n",
                      STR("{" HI "}")),
        CALL_SEND);
    struct str head = head_of(&rc);
    assert_true(str_starts(head, STR("POST /base/v1/chat/completions HTTP/1.1\r\n")));
    assert_true(has(head, "\r\nHost: 10.0.0.1:8000\r\n"));
    assert_true(has(head, "\r\nContent-Type: application/json\r\n"));
    assert_true(has(head, "\r\nauthorization: Bearer secret-of-backend\r\n"));
    assert_true(has(head, "\r\nTraceparent: 00-1\r\n") && has(head, "\r\nX-Any: a value\r\n"));
    static const char *const hidden[] = {
        RIG_KEY,      "of-somebody", "Cookie",     "gzip", "keep-alive", "TE:",      "100-continue",
        "text/plain", "Keep-Alive",  "Proxy-Auth", "h2c",  "spillover",  "localhost"};
    for (size_t i = 0; i < ARRAY_LEN(hidden); i++) {
        if (has(head, hidden[i]))
            fail_msg("%s went to the backend", hidden[i]);
    }
    check_body(STR("{" HI "}"), body_of(&rc), "\"served\"", false);
    /* What the backend sees is one request, to the last byte. */
    struct http_reader r;
    struct str in = buf_view(&rc.sent), piece;
    http_reader_init(&r, true, 64 << 10);
    assert_int_equal(http_read(&r, &in, &piece), HTTP_EV_HEAD);
    assert_int_equal(http_read(&r, &in, &piece), HTTP_EV_BODY);
    assert_int_equal(http_read(&r, &in, &piece), HTTP_EV_END);
    assert_int_equal(in.n, 0);
    http_reader_destroy(&r);
    finish(&rc);
    rig_destroy(&g);
}

static void paths_and_models_follow_the_dialect(void **state) {
    (void)state;
    static const struct {
        const char *backend, *line, *fields, *body, *path, *model;
    } cases[] = {
        {"", "POST /v1/chat/completions", "", "{\"model\":\"ptu\"," HI "}",
         "/base/v1/chat/completions", "\"gpt-4o\""},
        {"", "POST /v1/completions", "", "{\"model\":\"ptu\",\"prompt\":\"p\"}",
         "/base/v1/completions", "\"gpt-4o\""},
        {"", "POST /v1/embeddings", "", "{\"model\":\"emb\",\"input\":\"p\"}",
         "/base/v1/embeddings", "\"text-embedding-3-large\""},
        {"", "POST /openai/v1/responses", "", "{\"model\":\"ptu\",\"input\":\"p\"}",
         "/base/v1/responses", "\"gpt-4o\""},
        {"'dialect':'azure'", "POST /v1/chat/completions", "", "{\"model\":\"ptu\"," HI "}",
         "/base/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21", "\"gpt-4o\""},
        {"'dialect':'azure','deploymentName':'far','apiVersion':'2025-01-01-preview'",
         "POST /v1/chat/completions", "", "{\"model\":\"ptu\"," HI "}",
         "/base/openai/deployments/far/chat/completions?api-version=2025-01-01-preview", "\"far\""},
        {"'dialect':'azure','deploymentName':'far','modelName':'m'", "POST /v1/responses", "",
         "{\"model\":\"ptu\",\"input\":\"p\"}", "/base/openai/responses?api-version=2024-10-21",
         "\"m\""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct rig g;
        struct rig_call rc;
        char path[200];
        rig_init_same(&g, 1, cases[i].backend);
        rig_call_init(&rc, &g);
        assert_int_equal(rig_submit_at(&rc, cases[i].line, "Authorization: bearer  " RIG_KEY "\r\n",
                                       str_of(cases[i].body)),
                         CALL_SEND);
        snprintf(path, sizeof path, "POST %s HTTP/1.1\r\n", cases[i].path);
        if (!str_starts(head_of(&rc), str_of(path)))
            fail_msg("case %zu: %.*s", i, STR_ARG(head_of(&rc)));
        check_body(str_of(cases[i].body), body_of(&rc), cases[i].model, false);
        finish(&rc);
        rig_destroy(&g);
    }
}

/* The second backend has another name for the model; all else is the same request. */
static void a_further_attempt_is_written_for_its_own_backend(void **state) {
    (void)state;
    static const char *const bodies[] = {
        "{\"stream\":true," HI "}",
        "{\"model\":\"x\",\"stream\":true,\"stream_options\":{\"include_usage\":false}," HI "}",
        "{" HI ",\"model\":\"x\"}",
    };
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        struct rig g;
        struct rig_call rc;
        struct str body = str_of(bodies[i]);
        bool asks_for_usage = has(body, "\"stream\"");
        rig_init(&g,
                 (struct rig_backend[]){{"'modelName':'first','apiKey':'key-of-first'"},
                                        {"'modelName':'another-and-longer-name','priority':2,"
                                         "'dialect':'azure','apiKey':'key-of-second'"}},
                 2);
        rig_call_init(&rc, &g);
        assert_int_equal(rig_submit_at(&rc, "POST /v1/deployments/ptu/chat/completions",
                                       "api-key: " RIG_KEY "\r\nX-Any: kept\r\n", body),
                         CALL_SEND);
        check_body(body, body_of(&rc), "\"first\"", asks_for_usage);
        /* The loop's parser serves others meanwhile. */
        struct rig_call other;
        submit(&g, &other, STR("{\"messages\":[{\"content\":\"something else entirely\"}]}"));
        assert_int_equal(rig_answer(&rc, 503, ""), CALL_SEND);
        check_body(body, body_of(&rc), "\"another-and-longer-name\"", asks_for_usage);
        struct str head = head_of(&rc);
        assert_true(
            has(head, "POST /base/openai/deployments/gpt-4o/chat/completions?api-version="));
        assert_true(has(head, "\r\napi-key: key-of-second\r\n") && has(head, "X-Any: kept"));
        assert_false(has(head, "key-of-first"));
        finish(&other);
        finish(&rc);
        rig_destroy(&g);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(splices_model_and_stream_options_wherever_they_stand),
        cmocka_unit_test(an_empty_object_gets_a_model_and_no_comma),
        cmocka_unit_test(long_stream_options_pass_whole),
        cmocka_unit_test(any_object_arrives_as_it_was_but_for_the_two),
        cmocka_unit_test(the_head_names_the_backend_and_hides_the_caller),
        cmocka_unit_test(paths_and_models_follow_the_dialect),
        cmocka_unit_test(a_further_attempt_is_written_for_its_own_backend),
    };
    return cmocka_run_group_tests_name("forward", tests, NULL, NULL);
}
