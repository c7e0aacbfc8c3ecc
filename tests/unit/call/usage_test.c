/* usage_test.c - usage read by eye is what the parser reads, or is not read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "call/usage.h"
#include "support/random.h"

#include <string.h>

static struct json_doc *doc;

static bool by_parser(struct str text, struct usage *out) {
    struct json_value v;
    struct buf padded;
    buf_init(&padded, 1 << 16);
    buf_str(&padded, text);
    (void)buf_reserve_slack(&padded, 0, JSON_PADDING);
    bool is_read = json_parse(doc, padded.p, padded.len, &v, NULL) == ST_OK && usage_read(v, out);
    buf_destroy(&padded);
    return is_read;
}

static void assert_same(const struct usage *a, const struct usage *b, struct str text) {
    if (memcmp(a, b, sizeof *a) != 0)
        fail_msg("%.*s", (int)text.n, text.p);
}

/* What servers send, from their sources and documentation (2026): all of it is read by eye. */
static void what_servers_send_is_read(void **state) {
    (void)state;
    static const struct {
        const char *text;
        struct usage usage;
    } cases[] = {
        {"{\"prompt_tokens\":9,\"total_tokens\":13,\"completion_tokens\":4,"
         "\"prompt_tokens_details\":null}",
         {9, -1, 4, -1}},
        {"{\"completion_tokens\": 12, \"completion_tokens_details\": {\"accepted_prediction_tokens\": 0, "
         "\"audio_tokens\": 0, \"reasoning_tokens\": 5, \"rejected_prediction_tokens\": 0},\n"
         "\"prompt_tokens\": 1500, \"prompt_tokens_details\": {\"audio_tokens\": 0, "
         "\"cached_tokens\": 1408}, \"total_tokens\": 1512 }",
         {1500, 1408, 12, 5}},
        {"{\"input_tokens\":10,\"input_tokens_details\":{\"cached_tokens\":4},\"output_tokens\":2,"
         "\"output_tokens_details\":{\"reasoning_tokens\":1},\"total_tokens\":12}",
         {10, 4, 2, 1}},
        {"{\"queue_time\":0.018,\"prompt_tokens\":7,\"prompt_time\":1.5e-3,\"completion_tokens\":0,"
         "\"details\":[{\"x\":\"}\\\"]\"}],\"ok\":true}",
         {7, -1, 0, -1}},
        {"{\"prompt_tokens\":5,\"prompt_tokens_details\":{}}", {5, -1, -1, -1}},
        {"{\"prompt_tokens\":700,\"completion_tokens\":300,\"total_tokens\":1000,"
         "\"prompt_tokens_details\":{\"cached_tokens\":64},\"input_tokens\":0,"
         "\"output_tokens\":0,\"input_tokens_details\":{\"cached_tokens\":0}}",
         {700, 64, 300, -1}},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str text = str_of(cases[i].text);
        struct usage scanned, parsed;
        size_t n = 0;
        assert_true(by_parser(text, &parsed));
        assert_same(&parsed, &cases[i].usage, text);
        assert_true(usage_scan(text, &scanned, &n));
        assert_same(&scanned, &cases[i].usage, text);
        assert_int_equal(n, text.n);
    }
}

static void what_is_not_sure_is_left_to_the_parser(void **state) {
    (void)state;
    static const char *const cases[] = {
        "",
        "{",
        "{}",
        "[]",
        "7",
        "{\"prompt_tokens\":",
        "{\"prompt_tokens\":7",
        "{\"prompt_tokens\":7,",
        "{\"prompt_tokens\":7,}",
        "{\"prompt_tokens\":-1}",
        "{\"prompt_tokens\":1.0}",
        "{\"prompt_tokens\":1e3}",
        "{\"prompt_tokens\":07}",
        "{\"prompt_tokens\":1234567890123}",
        "{\"prompt_tokens\":\"7\"}",
        "{\"prompt_tokens\":{}}",
        "{\"prompt\\u005ftokens\":7}",
        "{\"prompt_tokens\":7,\"prompt_tokens_details\":{\"cached_tokens\":null,\"cached_tokens\":1}}",
        "{\"total_tokens\":7}",
        "{\"prompt_tokens\":null}",
        "{\"prompt_tokens\":7 8}",
        "{\"prompt_tokens\":7,\"x\":\"\\\"}",
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct usage u;
        size_t n;
        if (usage_scan(str_of(cases[i]), &u, &n))
            fail_msg("%s", cases[i]);
    }
}

/* Valid JSON of names and values that matter, and blanks anywhere. */
static void put_value(struct buf *b, struct random *r, int depth) {
    static const char *const words[] = {
        "0",   "7",    "1024", "999999999999", "1099511627776", "-1", "2.5",
        "1e2", "null", "true", "\"}\"",        "\"\\\"\"",      "[]", "[{\"a\":\"]\"},2]",
        "{}"};
    static const char *const names[] = {"prompt_tokens",
                                        "completion_tokens",
                                        "input_tokens",
                                        "output_tokens",
                                        "total_tokens",
                                        "prompt_tokens_details",
                                        "completion_tokens_details",
                                        "input_tokens_details",
                                        "cached_tokens",
                                        "reasoning_tokens",
                                        "cached\\u005ftokens",
                                        "x"};
    static const char *const blanks[] = {"", "", "", " ", "\n\t"};
    if (depth > 0 && random_below(r, 3) > 0) {
        buf_str(b,
                str_of(words[random_below(r, random_below(r, 2) ? 4 : (int64_t)ARRAY_LEN(words))]));
        return;
    }
    int64_t n = random_below(r, 5);
    buf_char(b, '{');
    for (int64_t i = 0; i < n; i++) {
        if (i)
            buf_char(b, ',');
        buf_str(b, str_of(blanks[random_below(r, ARRAY_LEN(blanks))]));
        buf_printf(b, "\"%s\"", names[random_below(r, ARRAY_LEN(names))]);
        buf_str(b, str_of(blanks[random_below(r, ARRAY_LEN(blanks))]));
        buf_char(b, ':');
        buf_str(b, str_of(blanks[random_below(r, ARRAY_LEN(blanks))]));
        if (depth < 3)
            put_value(b, r, depth + 1);
        else
            buf_char(b, '1');
        buf_str(b, str_of(blanks[random_below(r, ARRAY_LEN(blanks))]));
    }
    buf_char(b, '}');
}

static void what_is_read_is_what_the_parser_reads(void **state) {
    (void)state;
    struct random r = {7};
    struct buf text;
    int n_sure = 0, n_unsure = 0;
    buf_init(&text, 1 << 16);
    for (int i = 0; i < 200000; i++) {
        struct usage scanned, parsed;
        size_t n;
        buf_clear(&text);
        put_value(&text, &r, 0);
        size_t length = text.len;
        buf_lit(&text, ",\"more\":1}");
        struct str all = buf_view(&text), object = {text.p, length};
        if (!usage_scan(all, &scanned, &n)) {
            n_unsure += by_parser(object, &parsed);
            continue;
        }
        n_sure++;
        assert_int_equal(n, length);
        assert_true(by_parser(object, &parsed));
        assert_same(&scanned, &parsed, object);
    }
    assert_true(n_sure > 20000 && n_unsure > 1000);
    buf_destroy(&text);
}

int main(void) {
    doc = json_doc_new();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_servers_send_is_read),
        cmocka_unit_test(what_is_not_sure_is_left_to_the_parser),
        cmocka_unit_test(what_is_read_is_what_the_parser_reads),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    json_doc_free(doc);
    return failed;
}
