/* tokenize_test.c - the answers of POST /tokenize. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "call/tokenize.h"
#include "support/slow_merges.h"

static struct tokenize_env env;
static struct arena arena;
static struct catalog catalog;
static struct vocabulary_set *own;
static struct text_memory *memory;
static struct slow_merges slow;
static struct problem why;
static struct buf out;

/* A model whose tokens are bytes, and one that nobody can count. */
static void add_models(void) {
    static const char *const members[][2] = {
        {"Own.bytes.1",
         "{\"properties\":{\"tokenizer\":\"bytes.json\",\"maxContextTokens\":4096}}"},
        {"Own.guess.1", "{\"properties\":{}}"},
        {"Own.told.1",
         "{\"properties\":{\"encoding\":\"cl100k_base\",\"framing\":{\"tokensPerMessage\":5,"
         "\"tokensPerName\":0,\"tokensPerReply\":2}}}"},
        {"Own.bytes-told.1",
         "{\"properties\":{\"tokenizer\":\"bytes.json\",\"framing\":{\"tokensPerReply\":0}}}"},
    };
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        struct json_value value;
        struct reader r;
        char text[400] = {0};
        size_t n = strlen(members[i][1]);
        memcpy(text, members[i][1], n);
        assert_int_equal(json_parse(env.doc, text, n, &value, &why), ST_OK);
        reader_init(&r, STR("t"), STR(""), &why, NULL);
        catalog_add(&catalog, str_of(members[i][0]), value, &r, true);
        assert_int_equal(r.status, ST_OK);
    }
}

static int make_all(void **state) {
    (void)state;
    static const unsigned char secret[16] = "sixteen bytes...";
    static const struct siphash_key key = {1, 2};
    struct vocabulary o = vocabulary_o200k(), c = vocabulary_cl100k();
    struct vocabulary_fault fault;
    struct shared_vocabulary *bytes = NULL;
    struct buf block;
    memory = text_memory_new(64, 64, secret);
    env.doc = json_doc_new();
    env.counters = prompt_counters_new(&o, &c, memory);
    arena_init(&arena, NULL, 0, 1 << 20);
    catalog_init(&catalog, &arena, &key);
    env.catalog = &catalog;
    add_models();
    merges_init(&slow);
    struct vocabulary_source source = {
        .tokens = slow.tokens, .ids = slow.ids, .n_tokens = slow.n_tokens, .merges = slow.merges};
    buf_init(&block, 64 << 20);
    assert_int_equal(vocabulary_compile(&block, &source, &fault, &why), ST_OK);
    assert_int_equal(shared_vocabulary_new(&block, &bytes, &why), ST_OK);
    own = vocabulary_set_new();
    vocabulary_set_put(own, STR("bytes.json"), bytes);
    env.vocabularies = own;
    buf_init(&out, 1 << 16);
    return 0;
}

static int free_all(void **state) {
    (void)state;
    prompt_counters_free(env.counters);
    text_memory_free(memory);
    json_doc_free(env.doc);
    catalog_destroy(&catalog);
    arena_destroy(&arena);
    vocabulary_set_unref(own);
    buf_destroy(&out);
    return 0;
}

/* The body of single quotes for double ones. */
static enum status ask(const char *json) {
    static char body[1000];
    size_t n = strlen(json);
    assert_true(n + JSON_PADDING < sizeof body);
    memset(body, 0, sizeof body);
    for (size_t i = 0; i < n; i++)
        body[i] = json[i] == '\'' ? '"' : json[i];
    buf_clear(&out);
    problem_clear(&why);
    enum status st = tokenize_answer(&env, (struct str){body, n}, &out, &why);
    buf_char(&out, '\0');
    return st;
}

static void gives_count_and_ids_of_a_text(void **state) {
    (void)state;
    assert_int_equal(ask("{'model':'GPT-4o','prompt':'Hello, world'}"), ST_OK);
    assert_non_null(strstr(out.p, "{\"count\":3,\"max_model_len\":"));
    assert_non_null(strstr(out.p, "\"tokens\":[13225,11,2375],\"exact\":true}"));
    assert_int_equal(ask("{'prompt':'Hello, world','model':'gpt-4o-2024-08-06'}"), ST_OK);
    assert_non_null(strstr(out.p, "\"tokens\":[13225,11,2375],\"exact\":true}"));
    /* Not in the catalog, but known. */
    assert_int_equal(ask("{'model':'gpt-35-turbo','prompt':'Hello, world'}"), ST_OK);
    assert_non_null(strstr(out.p, "\"tokens\":[9906,11,1917],\"exact\":true}"));
    assert_int_equal(ask("{'model':'gpt-4o','prompt':''}"), ST_OK);
    assert_non_null(strstr(out.p, "{\"count\":0,"));
}

static void counts_by_a_model_s_own_tokenizer(void **state) {
    (void)state;
    assert_int_equal(ask("{'model':'bytes','prompt':'ab'}"), ST_OK);
    assert_string_equal(
        out.p, "{\"count\":2,\"max_model_len\":4096,\"tokens\":[1097,1098],\"exact\":true}");
    assert_int_equal(ask("{'model':'bytes','messages':[{'role':'user','content':'abcd'}]}"), ST_OK);
    assert_string_equal(out.p, "{\"count\":11,\"max_model_len\":4096,\"exact\":true}");
}

static void counts_a_chat_as_the_gateway_does(void **state) {
    (void)state;
    assert_int_equal(ask("{'messages':[{'role':'user','content':'Hello, world'}],'model':'gpt-4o',"
                         "'temperature':1}"),
                     ST_OK);
    assert_non_null(strstr(out.p, "{\"count\":10,"));
    assert_null(strstr(out.p, "tokens\""));
    assert_int_equal(ask("{'messages':7,'model':'gpt-4o'}"), ST_BAD_REQUEST);
}

/* Of which the operator says more than its name does. */
static void counts_by_the_encoding_and_framing_of_the_catalog(void **state) {
    (void)state;
    assert_int_equal(ask("{'model':'told','prompt':'Hello, world'}"), ST_OK);
    assert_non_null(strstr(out.p, "\"tokens\":[9906,11,1917],\"exact\":true}"));
    /* 5 and the role, three of text, no name, 2 behind it. */
    assert_int_equal(ask("{'model':'told','messages':[{'role':'user','name':'Bob',"
                         "'content':'Hello, world'}]}"),
                     ST_OK);
    assert_non_null(strstr(out.p, "{\"count\":11,"));
    assert_non_null(strstr(out.p, "\"exact\":true}"));
    /* 3 and the role, four of text; what is not said stays. */
    assert_int_equal(ask("{'model':'bytes-told','messages':[{'role':'user','content':'abcd'}]}"),
                     ST_OK);
    assert_non_null(strstr(out.p, "{\"count\":8,"));
}

static void estimates_where_nobody_knows_and_says_so(void **state) {
    (void)state;
    assert_int_equal(ask("{'model':'guess','prompt':'Hello, world'}"), ST_OK);
    assert_non_null(strstr(out.p, "\"max_model_len\":null,\"exact\":false}"));
}

static void refuses_what_it_cannot_answer(void **state) {
    (void)state;
    static const struct {
        const char *body;
        enum status st;
        const char *target;
    } cases[] = {
        {"{", ST_BAD_JSON, ""},
        {"[]", ST_BAD_REQUEST, "model"},
        {"{'prompt':'x'}", ST_BAD_REQUEST, "model"},
        {"{'model':7,'prompt':'x'}", ST_BAD_REQUEST, "model"},
        {"{'model':'nobody','prompt':'x'}", ST_NOT_FOUND, "model"},
        {"{'model':'gpt-4o'}", ST_BAD_REQUEST, "prompt"},
        {"{'model':'gpt-4o','prompt':'x','messages':[]}", ST_BAD_REQUEST, "prompt"},
        {"{'model':'gpt-4o','prompt':['x']}", ST_BAD_REQUEST, "prompt"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(ask(cases[i].body), cases[i].st);
        assert_string_equal(why.target, cases[i].target);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_count_and_ids_of_a_text),
        cmocka_unit_test(counts_by_a_model_s_own_tokenizer),
        cmocka_unit_test(counts_a_chat_as_the_gateway_does),
        cmocka_unit_test(counts_by_the_encoding_and_framing_of_the_catalog),
        cmocka_unit_test(estimates_where_nobody_knows_and_says_so),
        cmocka_unit_test(refuses_what_it_cannot_answer),
    };
    return cmocka_run_group_tests_name("tokenize", tests, make_all, free_all);
}
