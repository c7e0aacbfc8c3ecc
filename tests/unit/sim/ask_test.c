/* ask_test.c - bodies of the four APIs: fields, prompt tokens, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "sim/ask.h"
#include "sim/promptcache.h"

static struct ask ask;

static enum status read_body(enum ask_api api, const char *body, struct problem *why) {
    static char padded[1 << 16];
    size_t n = strlen(body);
    assert_true(n + JSON_PADDING < sizeof padded);
    memset(padded, 0, sizeof padded);
    memcpy(padded, body, n);
    return ask_read(&ask, api, (struct str){padded, n}, why);
}

static void counts_prompt_tokens_by_its_rule(void **state) {
    (void)state;
    static const struct {
        enum ask_api api;
        const char *body;
        int64_t tokens;
    } cases[] = {
        /* 3 for the prompt, 4 for the message, a token for each four bytes begun */
        {ASK_CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":\"\"}]}", 7},
        {ASK_CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":\"abcd\"}]}", 8},
        {ASK_CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":\"abcde\"}]}", 9},
        {ASK_CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":null},{\"role\":\"x\"}]}", 11},
        /* by the encoding of the model, wherever it is named */
        {ASK_CHAT,
         "{\"messages\":[{\"role\":\"user\",\"content\":\"antidisestablishmentarianism\"}],"
         "\"model\":\"gpt-4o\"}",
         3 + 4 + 6},
        {ASK_COMPLETIONS, "{\"model\":\"gpt-35-turbo\",\"prompt\":\"Hello, world\"}", 3},
        {ASK_CHAT,
         "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"ab\"},"
         "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:long\"}}]}]}",
         3 + 4 + 1 + 85},
        {ASK_CHAT,
         "{\"tools\":[1, 2],\"messages\":[{\"role\":\"assistant\",\"name\":\"bob\",\"tool_calls\":"
         "[{\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]}]}",
         3 + 2 + 4 + 1 + 1 + 1},
        {ASK_COMPLETIONS, "{\"prompt\":\"abcdefgh\"}", 2},
        {ASK_COMPLETIONS, "{\"prompt\":[\"abcde\",\"f\"]}", 3},
        {ASK_COMPLETIONS, "{\"prompt\":[1,2,3]}", 3},
        {ASK_EMBEDDINGS, "{\"input\":[[1,2],[3]]}", 3},
        {ASK_EMBEDDINGS, "{\"input\":\"\"}", 0},
        {ASK_RESPONSES, "{\"input\":\"abcd\"}", 8},
        {ASK_RESPONSES, "{\"input\":\"abcd\",\"instructions\":\"be kind\"}", 14},
        {ASK_RESPONSES,
         "{\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_text\",\"text\":\"abcd\"}]}]}",
         8},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(read_body(cases[i].api, cases[i].body, NULL), ST_OK);
        assert_int_equal(ask.prompt_tokens, cases[i].tokens);
    }
}

static void reads_the_fields(void **state) {
    (void)state;
    assert_int_equal(
        read_body(ASK_CHAT,
                  "{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":true},"
                  "\"max_tokens\":9,\"max_completion_tokens\":7,\"n\":3,\"stop\":[\"a\",\"b\"],"
                  "\"messages\":[{\"role\":\"user\",\"content\":\"one\"},"
                  "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"t\"},"
                  "{\"type\":\"text\",\"text\":\"wo\"}]},{\"role\":\"tool\",\"content\":\"x\"}]}",
                  NULL),
        ST_OK);
    assert_true(str_eq(ask.model, STR("m")) && ask.is_stream && ask.wants_usage);
    assert_int_equal(ask.limit, 7);
    assert_int_equal(ask.n, 3);
    assert_true(ask.n_stops == 2 && str_eq(ask.stops[1], STR("b")));
    assert_true(str_eq(ask.last_user, STR("two")));
    /* Nothing of it is left for the next. */
    assert_int_equal(read_body(ASK_CHAT, "{\"messages\":[{\"role\":\"user\"}]}", NULL), ST_OK);
    assert_true(ask.model.n == 0 && !ask.is_stream && !ask.wants_usage && ask.limit == -1);
    assert_true(ask.n == 1 && ask.n_stops == 0 && ask.last_user.n == 0);
    assert_int_equal(read_body(ASK_COMPLETIONS, "{\"prompt\":\"x\"}", NULL), ST_OK);
    assert_int_equal(ask.limit, 16);
    assert_int_equal(
        read_body(ASK_EMBEDDINGS, "{\"input\":\"x\",\"encoding_format\":\"base64\"}", NULL), ST_OK);
    assert_false(ask.wants_floats);
}

static void refuses_and_names_the_field(void **state) {
    (void)state;
    static const struct {
        enum ask_api api;
        const char *body;
        enum status st;
        const char *field;
    } cases[] = {
        {ASK_CHAT, "{", ST_BAD_JSON, ""},
        {ASK_CHAT, "[]", ST_BAD_REQUEST, ""},
        {ASK_CHAT, "{}", ST_BAD_REQUEST, "messages"},
        {ASK_CHAT, "{\"messages\":[]}", ST_BAD_REQUEST, "messages"},
        {ASK_CHAT, "{\"messages\":\"hi\"}", ST_BAD_REQUEST, "messages"},
        {ASK_CHAT, "{\"messages\":[1]}", ST_BAD_REQUEST, "messages"},
        {ASK_CHAT, "{\"messages\":[{\"content\":1}]}", ST_BAD_REQUEST, "messages"},
        {ASK_CHAT, "{\"messages\":[{\"content\":[1]}]}", ST_BAD_REQUEST, "messages"},
        {ASK_CHAT, "{\"model\":1,\"messages\":[{}]}", ST_BAD_REQUEST, "model"},
        {ASK_CHAT, "{\"stream\":\"yes\",\"messages\":[{}]}", ST_BAD_REQUEST, "stream"},
        {ASK_CHAT, "{\"max_tokens\":0,\"messages\":[{}]}", ST_BAD_REQUEST, "max_tokens"},
        {ASK_CHAT, "{\"max_tokens\":1.5,\"messages\":[{}]}", ST_BAD_REQUEST, "max_tokens"},
        {ASK_CHAT, "{\"n\":129,\"messages\":[{}]}", ST_BAD_REQUEST, "n"},
        {ASK_CHAT, "{\"stop\":[1],\"messages\":[{}]}", ST_BAD_REQUEST, "stop"},
        {ASK_CHAT, "{\"stop\":[\"1\",\"2\",\"3\",\"4\",\"5\"],\"messages\":[{}]}", ST_BAD_REQUEST,
         "stop"},
        {ASK_COMPLETIONS, "{\"prompt\":{}}", ST_BAD_REQUEST, "prompt"},
        {ASK_COMPLETIONS, "{\"prompt\":[1,\"a\"]}", ST_BAD_REQUEST, "prompt"},
        {ASK_EMBEDDINGS, "{\"input\":[]}", ST_BAD_REQUEST, "input"},
        {ASK_EMBEDDINGS, "{\"input\":\"a\",\"dimensions\":0}", ST_BAD_REQUEST, "dimensions"},
        {ASK_EMBEDDINGS, "{\"input\":\"a\",\"encoding_format\":\"hex\"}", ST_BAD_REQUEST,
         "encoding_format"},
        {ASK_RESPONSES, "{\"input\":1}", ST_BAD_REQUEST, "input"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct problem why = {0};
        assert_int_equal(read_body(cases[i].api, cases[i].body, &why), cases[i].st);
        assert_string_equal(why.target, cases[i].field);
        assert_true(why.message[0] != '\0');
    }
}

static uint64_t hash_of(const char *body) {
    assert_int_equal(read_body(ASK_CHAT, body, NULL), ST_OK);
    return ask_inputs(&ask)[0].hash;
}

static void the_hash_depends_on_what_is_said_and_on_the_seed_alone(void **state) {
    (void)state;
    uint64_t h = hash_of("{\"messages\":[{\"role\":\"user\",\"content\":\"abc\"}]}");
    assert_true(h == hash_of("{\"stream\":true,\"max_tokens\":5,\"messages\":"
                             "[{\"content\":\"abc\",\"role\":\"user\"}]}"));
    assert_true(h != hash_of("{\"messages\":[{\"role\":\"user\",\"content\":\"abd\"}]}"));
    assert_true(h != hash_of("{\"messages\":[{\"role\":\"system\",\"content\":\"abc\"}]}"));
    assert_true(h !=
                hash_of("{\"seed\":1,\"messages\":[{\"role\":\"user\",\"content\":\"abc\"}]}"));
}

/* A prompt of `n` tokens: 3 and 2 times 4 of frames, the rest text in two messages. */
static size_t marks_of(char *body, size_t size, int n, char last) {
    int text = (n - 11) * 4;
    snprintf(body, size,
             "{\"messages\":[{\"role\":\"system\",\"content\":\"%0*d\"},"
             "{\"role\":\"user\",\"content\":\"%03d%c\"}]}",
             text - 4, 0, 0, last);
    assert_int_equal(read_body(ASK_CHAT, body, NULL), ST_OK);
    assert_int_equal(ask.prompt_tokens, n);
    return ask.marks.len / sizeof(uint64_t);
}

static void marks_come_at_1024_tokens_and_every_128_after(void **state) {
    (void)state;
    static char body[1 << 15];
    ask.wants_marks = true;
    assert_int_equal(marks_of(body, sizeof body, 1023, 'x'), 0);
    assert_int_equal(marks_of(body, sizeof body, 1024, 'x'), 1);
    assert_int_equal(marks_of(body, sizeof body, 1151, 'x'), 1);
    assert_int_equal(marks_of(body, sizeof body, 1152, 'x'), 2);
    assert_int_equal(marks_of(body, sizeof body, 1024 + 3 * 128, 'x'), 4);
    uint64_t a[4], b[4];
    memcpy(a, ask.marks.p, sizeof a);
    assert_int_equal(marks_of(body, sizeof body, 1024 + 3 * 128, 'y'), 4);
    memcpy(b, ask.marks.p, sizeof b);
    assert_memory_equal(a, b, 3 * sizeof *a); /* only the end differs */
    assert_true(a[3] != b[3]);
    ask.wants_marks = false;
    assert_int_equal(marks_of(body, sizeof body, 1024, 'x'), 0);
}

static int set_up(void **state) {
    (void)state;
    ask_init(&ask, false);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    ask_destroy(&ask);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_prompt_tokens_by_its_rule),
        cmocka_unit_test(reads_the_fields),
        cmocka_unit_test(refuses_and_names_the_field),
        cmocka_unit_test(the_hash_depends_on_what_is_said_and_on_the_seed_alone),
        cmocka_unit_test(marks_come_at_1024_tokens_and_every_128_after),
    };
    return cmocka_run_group_tests_name("ask", tests, set_up, tear_down);
}
