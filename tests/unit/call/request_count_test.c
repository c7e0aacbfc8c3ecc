/* request_count_test.c - prompts of models whose encoding is known are counted, not estimated. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "call/request.h"
#include "tokens/count.h"
#include "tokens/estimate.h"

static struct json_doc *doc;
static struct text_memory *memory;
static struct prompt_counters *counters;
static struct token_cache *o200k;
static char body[1 << 16];
static size_t body_len;

static int make_all(void **state) {
    (void)state;
    static const unsigned char secret[16] = "sixteen bytes...";
    struct vocabulary o = vocabulary_o200k(), c = vocabulary_cl100k();
    doc = json_doc_new();
    memory = text_memory_new(1024, 64, secret);
    counters = prompt_counters_new(&o, &c, memory);
    o200k = token_cache_new(&o);
    return 0;
}

static int free_all(void **state) {
    (void)state;
    json_doc_free(doc);
    prompt_counters_free(counters);
    text_memory_free(memory);
    token_cache_free(o200k);
    return 0;
}

static int64_t tokens(const char *text) {
    return token_count(o200k, str_of(text));
}

/* The body of single quotes for double ones, by the rules of a model. */
static enum status count(const char *json, enum operation op, const char *model,
                         struct request *r) {
    struct problem why;
    body_len = strlen(json);
    assert_true(body_len + JSON_PADDING < sizeof body);
    memset(body, 0, sizeof body);
    for (size_t i = 0; i < body_len; i++)
        body[i] = json[i] == '\'' ? '"' : json[i];
    assert_int_equal(request_parse(doc, body, body_len, op, r, &why), ST_OK);
    struct request_how how = {.counters = counters, .prompt.budget = PROMPT_BUDGET};
    return request_count(r, body, op, str_of(model), &how, &why);
}

static int64_t must_count(const char *json, enum operation op, const char *model, bool is_exact) {
    struct request r;
    assert_int_equal(count(json, op, model, &r), ST_OK);
    assert_int_equal(r.tally.is_exact, is_exact);
    return r.prompt_tokens;
}

/* OpenAI Cookbook, "How to count tokens with tiktoken": the API reported these numbers. */
static void counts_what_the_service_reported(void **state) {
    (void)state;
    static const char chat[] =
        "{'messages':[{'role':'system','content':'You are a helpful, pattern-following assistant that"
        " translates corporate jargon into plain English.'},"
        "{'role':'system','name':'example_user','content':'New synergies will help drive top-line"
        " growth.'},"
        "{'role':'system','name':'example_assistant','content':'Things working well together will"
        " increase revenue.'},"
        "{'role':'system','name':'example_user','content':'Let\\u0027s circle back when we have more"
        " bandwidth to touch base on opportunities for increased leverage.'},"
        "{'role':'system','name':'example_assistant','content':'Let\\u0027s talk later when"
        " we\\u0027re less busy about how to do better.'},"
        "{'role':'user','content':'This late pivot means we don\\u0027t have time to boil the ocean"
        " for the client deliverable.'}]}";
    static const char weather[] =
        "{'tools':[{'type':'function','function':{'name':'get_current_weather','description':'Get the"
        " current weather in a given location','parameters':{'type':'object','properties':{"
        "'location':{'type':'string','description':'The city and state, e.g. San Francisco, CA'},"
        "'unit':{'type':'string','description':'The unit of temperature to return','enum':['celsius',"
        "'fahrenheit']}},'required':['location']}}}],"
        "'messages':[{'role':'system','content':'You are a helpful assistant that can answer to"
        " questions about the weather.'},{'role':'user','content':'What\\u0027s the weather like in"
        " San Francisco?'}]}";
    assert_int_equal(must_count(chat, OP_CHAT, "gpt-4o", true), 124);
    assert_int_equal(must_count(chat, OP_CHAT, "gpt-4o-mini", true), 124);
    assert_int_equal(must_count(chat, OP_CHAT, "gpt-4", true), 129);
    assert_int_equal(must_count(chat, OP_CHAT, "gpt-35-turbo", true), 129);
    assert_int_equal(must_count(weather, OP_CHAT, "gpt-4o", true), 101);
    assert_int_equal(must_count(weather, OP_CHAT, "gpt-4", true), 105);
}

static void counts_alike_wherever_the_model_stands(void **state) {
    (void)state;
    int64_t before =
        must_count("{'model':'x','messages':[{'role':'user','content':'Gr\\u00fc\\u00df"
                   " Gott, \\ud83d\\ude00!'}]}",
                   OP_CHAT, "gpt-4o", true);
    assert_int_equal(before, must_count("{'messages':[{'content':'Gr\\u00fc\\u00df Gott, "
                                        "\\ud83d\\ude00!','role':'user'}],'model':'x'}",
                                        OP_CHAT, "gpt-4o", true));
    assert_int_equal(before, 3 + 3 + 1 + tokens("Gr\xc3\xbc\xc3\x9f Gott, \xf0\x9f\x98\x80!"));
}

static void counts_each_operation(void **state) {
    (void)state;
    assert_int_equal(must_count("{'prompt':['one two','three']}", OP_COMPLETIONS, "gpt-4o", true),
                     tokens("one two") + tokens("three"));
    assert_int_equal(must_count("{'input':'one two'}", OP_EMBEDDINGS, "gpt-4o", true),
                     tokens("one two"));
    assert_int_equal(
        must_count("{'input':'one two','instructions':'Be brief.'}", OP_RESPONSES, "gpt-4o", true),
        3 + 3 + 1 + tokens("one two") + 3 + 1 + tokens("Be brief."));
    assert_int_equal(
        must_count("{'messages':[{'role':'user','content':[{'type':'text','text':'see'},"
                   "{'type':'image_url','image_url':{'url':'x','detail':'low'}}]}]}",
                   OP_CHAT, "gpt-4o-mini", true),
        3 + 3 + 1 + tokens("see") + 2833);
}

/* Nobody knows in which form models are given references: the JSON stands for it. Nested schemas of a known
 * form have their own test (functions_test.c). */
static void takes_functions_of_unknown_form_as_their_json(void **state) {
    (void)state;
#define TOOLS                                                                                      \
    "[{'type':'function','function':{'name':'f','parameters':{'type':'object',"                    \
    "'properties':{'a':{'type':'array','items':{'$ref':'#/x'}}}}}}]"
    char json[] = TOOLS;
    for (char *p = json; *p; p++)
        *p = *p == '\'' ? '"' : *p;
    assert_int_equal(must_count("{'messages':[{'role':'user','content':'x'}],'tools':" TOOLS "}",
                                OP_CHAT, "gpt-4o", false),
                     3 + 3 + 1 + 1 + tokens(json));
    static const char *const odd[] = {
        "[]", "{}", "7", "[1]", "[{}]", "['f',{}]", "[{'name':7}]", "[{'function':7}]"};
    for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
        char text[200];
        struct request r;
        snprintf(text, sizeof text, "{'messages':[{'role':'user','content':'x'}],'tools':%s}",
                 odd[i]);
        assert_int_equal(count(text, OP_CHAT, "gpt-4o", &r), ST_OK);
        assert_in_range(r.prompt_tokens, 8, 40);
    }
}

static void estimates_what_nobody_can_count(void **state) {
    (void)state;
    assert_int_equal(must_count("{'messages':[{'role':'user','content':'one two three'}]}", OP_CHAT,
                                "llama-3", false),
                     3 + 3 + 1 + tokens_estimate(STR("one two three")));
}

static void refuses_prompts_of_wrong_types(void **state) {
    (void)state;
    struct request r;
    assert_int_equal(count("{'messages':{}}", OP_CHAT, "gpt-4o", &r), ST_BAD_REQUEST);
    assert_int_equal(count("{'messages':[]}", OP_CHAT, "gpt-4o", &r), ST_BAD_REQUEST);
    assert_int_equal(count("{'prompt':7}", OP_COMPLETIONS, "gpt-4o", &r), ST_BAD_REQUEST);
    assert_int_equal(count("{'input':7}", OP_EMBEDDINGS, "gpt-4o", &r), ST_BAD_REQUEST);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_what_the_service_reported),
        cmocka_unit_test(counts_alike_wherever_the_model_stands),
        cmocka_unit_test(counts_each_operation),
        cmocka_unit_test(takes_functions_of_unknown_form_as_their_json),
        cmocka_unit_test(estimates_what_nobody_can_count),
        cmocka_unit_test(refuses_prompts_of_wrong_types),
    };
    return cmocka_run_group_tests_name("request_count", tests, make_all, free_all);
}
