/* answer_test.c - everything written is JSON, and events put together are the body. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sim/answer.h"
#include "sim/script.h"

static const struct answer_choice choices[] = {
    {.text = STR_INIT("Say \"hi\" \xf0\x9f\x8c\x8a\n"), .is_cut = true},
    {.text = STR_INIT("Plain words."), .is_plain = true},
};

static struct answer an_answer(enum ask_api api) {
    return (struct answer){.api = api,
                           .model = STR("\"m\\\"\""),
                           .id = 7,
                           .created_s = 1,
                           .usage = {10, 4, 5},
                           .says_usage = true,
                           .choices = choices,
                           .n_choices = api == ASK_RESPONSES ? 1 : 2};
}

static struct json_value parse(struct json_doc *doc, struct buf *b) {
    struct json_value root;
    (void)buf_reserve_slack(b, 0, JSON_PADDING);
    assert_int_equal(json_parse(doc, b->p, b->len, &root, NULL), ST_OK);
    return root;
}

static int64_t number_at(struct json_value v, const char *path) {
    struct str rest = str_of(path), key;
    int64_t n = -1;
    while (str_cut(&rest, '.', &key))
        assert_true(json_get(v, key, &v));
    assert_true(json_i64(v, &n));
    return n;
}

static void bodies_are_json_and_tell_the_usage(void **state) {
    (void)state;
    struct json_doc *doc = json_doc_new();
    for (int api = ASK_CHAT; api <= ASK_RESPONSES; api++) {
        if (api == ASK_EMBEDDINGS)
            continue;
        struct answer a = an_answer((enum ask_api)api);
        bool is_new = api == ASK_RESPONSES;
        struct json_value v;
        struct buf b;
        buf_init(&b, 1 << 20);
        answer_put_body(&b, &a);
        v = parse(doc, &b);
        assert_int_equal(number_at(v, is_new ? "usage.input_tokens" : "usage.prompt_tokens"), 10);
        assert_int_equal(number_at(v, is_new ? "usage.output_tokens" : "usage.completion_tokens"),
                         5);
        assert_int_equal(number_at(v, "usage.total_tokens"), 15);
        assert_int_equal(number_at(v, is_new ? "usage.input_tokens_details.cached_tokens"
                                             : "usage.prompt_tokens_details.cached_tokens"),
                         4);
        struct json_value model;
        assert_true(json_get(v, STR("model"), &model) && str_eq(json_str(model), STR("m\"")));
        a.says_usage = false;
        buf_clear(&b);
        answer_put_body(&b, &a);
        v = parse(doc, &b);
        struct json_value usage;
        assert_true(!json_get(v, STR("usage"), &usage) || json_type(usage) == JSON_NULL);
        buf_destroy(&b);
    }
    json_doc_free(doc);
}

/* Takes the text behind "data: " of one event out; checks how it ends. */
static struct str data_of(struct buf *b, bool is_crlf) {
    struct str all = buf_view(b), end = is_crlf ? STR("\r\n\r\n") : STR("\n\n");
    assert_true(str_ends(all, end));
    assert_int_equal(str_find(all, end), all.n - end.n);
    ptrdiff_t at = str_find(all, STR("data: "));
    assert_true(at >= 0);
    struct str data = str_skip(all, (size_t)at + 6);
    data.n -= end.n;
    return data;
}

static struct json_value event_of(struct json_doc *doc, struct buf *b, bool is_crlf) {
    struct json_value root;
    struct str data = data_of(b, is_crlf);
    (void)buf_reserve_slack(b, 0, JSON_PADDING);
    data = data_of(b, is_crlf);
    assert_int_equal(json_parse(doc, data.p, data.n, &root, NULL), ST_OK);
    buf_clear(b);
    return root;
}

static void every_event_is_json_in_the_line_ends_that_were_ordered(void **state) {
    (void)state;
    struct json_doc *doc = json_doc_new();
    struct buf b;
    buf_init(&b, 1 << 20);
    for (int api = ASK_CHAT; api <= ASK_RESPONSES; api++) {
        for (int is_crlf = 0; api != ASK_EMBEDDINGS && is_crlf < 2; is_crlf++) {
            struct answer a = an_answer((enum ask_api)api);
            a.is_crlf = is_crlf;
            a.usage_field = ANSWER_USAGE_NULL;
            int n = 0;
            for (int i = 0; answer_put_opening(&b, &a, i); i++, n++)
                (void)event_of(doc, &b, is_crlf);
            assert_int_equal(n, api == ASK_CHAT ? 2 : api == ASK_RESPONSES ? 4 : 0);
            for (int i = 0; i < a.n_choices; i++, n++) {
                answer_put_delta(&b, &a, i, choices[i].text);
                (void)event_of(doc, &b, is_crlf);
                answer_put_finish(&b, &a, i);
                if (api != ASK_RESPONSES)
                    (void)event_of(doc, &b, is_crlf);
            }
            bool has_usage = false, has_done = false;
            for (int i = 0; answer_put_closing(&b, &a, i); i++) {
                if (str_eq(data_of(&b, is_crlf), STR("[DONE]"))) {
                    has_done = true;
                    buf_clear(&b);
                    continue;
                }
                struct json_value v = event_of(doc, &b, is_crlf);
                if (api == ASK_RESPONSES)
                    assert_int_equal(number_at(v, "sequence_number"), n++);
                else
                    has_usage = number_at(v, "usage.total_tokens") == 15;
            }
            assert_true(api == ASK_RESPONSES || (has_usage && has_done));
            answer_put_error(&b, &a);
            (void)event_of(doc, &b, is_crlf);
        }
    }
    buf_destroy(&b);
    json_doc_free(doc);
}

static void usage_stands_where_it_was_ordered_and_only_there(void **state) {
    (void)state;
    static const struct {
        enum answer_usage_field field;
        const char *in_delta;
        int n_closing;
    } cases[] = {
        {ANSWER_USAGE_ABSENT, NULL, 1},
        {ANSWER_USAGE_NULL, "\"usage\":null", 2},
        {ANSWER_USAGE_EVERY, "\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":5,", 2}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct answer a = an_answer(ASK_CHAT);
        struct buf b;
        buf_init(&b, 1 << 20);
        a.usage_field = cases[i].field;
        answer_put_delta(&b, &a, 0, STR("x"));
        assert_int_equal(str_find(buf_view(&b), STR("usage")) >= 0, cases[i].in_delta != NULL);
        if (cases[i].in_delta)
            assert_true(str_find(buf_view(&b), str_of(cases[i].in_delta)) >= 0);
        int n = 0;
        while (answer_put_closing(&b, &a, n))
            n++;
        assert_int_equal(n, cases[i].n_closing);
        buf_destroy(&b);
    }
}

static void garbage_is_an_event_and_no_json(void **state) {
    (void)state;
    struct answer a = an_answer(ASK_CHAT);
    struct json_doc *doc = json_doc_new();
    struct json_value root;
    struct buf b;
    buf_init(&b, 1 << 20);
    answer_put_garbage(&b, &a);
    (void)buf_reserve_slack(&b, 0, JSON_PADDING);
    struct str data = data_of(&b, false);
    assert_int_equal(json_parse(doc, data.p, data.n, &root, NULL), ST_BAD_JSON);
    buf_destroy(&b);
    json_doc_free(doc);
}

static void vectors_have_length_one_and_follow_the_hash(void **state) {
    (void)state;
    struct answer a = an_answer(ASK_EMBEDDINGS);
    const struct ask_input inputs[] = {{1, 2}, {9, 3}, {1, 2}};
    struct json_doc *doc = json_doc_new();
    struct buf b;
    buf_init(&b, 1 << 20);
    answer_put_embeddings(&b, &a, inputs, 3, 64, true);
    struct json_value v = parse(doc, &b), item, vector, number;
    double all[3][64];
    struct json_iter it, numbers;
    assert_true(json_get(v, STR("data"), &v));
    json_items(&it, v);
    for (int i = 0; i < 3; i++) {
        double sum = 0;
        int n = 0;
        assert_true(json_next(&it, &item) && json_get(item, STR("embedding"), &vector));
        json_items(&numbers, vector);
        while (json_next(&numbers, &number)) {
            assert_true(n < 64);
            all[i][n] = json_f64(number);
            sum += all[i][n] * all[i][n];
            n++;
        }
        assert_int_equal(n, 64);
        assert_true(sum > 0.99999 && sum < 1.00001);
    }
    assert_memory_equal(all[0], all[2], sizeof all[0]);
    assert_memory_not_equal(all[0], all[1], sizeof all[0]);
    buf_destroy(&b);
    json_doc_free(doc);
}

static void base64_pads_as_the_length_asks(void **state) {
    (void)state;
    struct answer a = an_answer(ASK_EMBEDDINGS);
    const struct ask_input input = {1, 1};
    /* Vectors of length one in one dimension are 1.0 or -1.0: bytes 00 00 80 3f or bf. */
    struct buf b;
    buf_init(&b, 1 << 20);
    answer_put_embeddings(&b, &a, &input, 1, 1, false);
    assert_true(str_find(buf_view(&b), STR("\"AACAPw==\"")) >= 0 ||
                str_find(buf_view(&b), STR("\"AACAvw==\"")) >= 0);
    static const size_t lengths[] = {0, 8, 12, 16, 24};
    for (int64_t n = 1; n <= 4; n++) {
        buf_clear(&b);
        answer_put_embeddings(&b, &a, &input, 1, n, false);
        struct str key = STR("\"embedding\":\"");
        struct str text = str_skip(buf_view(&b), (size_t)str_find(buf_view(&b), key) + key.n);
        assert_int_equal(str_find(text, STR("\"")), lengths[n]);
    }
    buf_destroy(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_are_json_and_tell_the_usage),
        cmocka_unit_test(every_event_is_json_in_the_line_ends_that_were_ordered),
        cmocka_unit_test(usage_stands_where_it_was_ordered_and_only_there),
        cmocka_unit_test(garbage_is_an_event_and_no_json),
        cmocka_unit_test(vectors_have_length_one_and_follow_the_hash),
        cmocka_unit_test(base64_pads_as_the_length_asks),
    };
    return cmocka_run_group_tests_name("answer", tests, NULL, NULL);
}
