/* request_test.c - what admission reads of a body: members, their refusals, and the prompt. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "call/request.h"
#include "support/random.h"
#include "tokens/estimate.h"

static struct json_doc *doc;

/* Texts are written with ' for ". The last text that was read is kept, since requests view it. */
static char text[1 << 16];
static size_t text_len;

static enum status read(enum operation op, const char *json, struct request *r,
                        struct problem *why) {
    text_len = strlen(json);
    assert_true(text_len + JSON_PADDING < sizeof text);
    for (size_t i = 0; i < text_len; i++)
        text[i] = json[i] == '\'' ? '"' : json[i];
    memset(text + text_len, '}', JSON_PADDING);
    *why = (struct problem){0};
    return request_read(doc, text, text_len, op, r, why);
}

static struct request must_read(enum operation op, const char *json) {
    struct request r = {0};
    struct problem why;
    if (read(op, json, &r, &why) != ST_OK)
        fail_msg("%s: %s", json, why.message);
    return r;
}

#define HI "'messages':[{'role':'user','content':'hi'}]"

static void reads_the_members_of_accounting(void **state) {
    (void)state;
    struct request r = must_read(
        OP_CHAT, "{'model':'m','max_tokens':7,'max_completion_tokens':9,'max_output_tokens':8,"
                 "'n':3,'best_of':2,'stream':true,'stream_options':{'include_usage':true}," HI "}");
    assert_true(str_eq(r.model, STR("m")));
    assert_int_equal(r.output.max_tokens, 7);
    assert_int_equal(r.output.max_completion_tokens, 9);
    assert_int_equal(r.output.max_output_tokens, 8);
    assert_int_equal(r.output.n, 3);
    assert_int_equal(r.output.best_of, 2);
    assert_true(r.is_stream && r.wants_usage);
    assert_int_equal(output_cap(&r.output), 27);

    r = must_read(OP_CHAT, "{" HI "}");
    assert_null(r.model.p);
    assert_int_equal(r.model_at.end, 0);
    assert_int_equal(output_cap(&r.output), -1);
    assert_int_equal(r.output.n, 1);
    assert_false(r.is_stream || r.wants_usage || r.is_empty_object);

    /* null is as good as absent. */
    r = must_read(OP_CHAT, "{" HI ",'max_tokens':null,'n':null,'best_of':null,'stream':null,"
                           "'stream_options':null,'max_completion_tokens':null}");
    assert_int_equal(output_cap(&r.output), -1);
    assert_int_equal(r.output.n, 1);
    assert_false(r.is_stream || r.wants_usage);
    r = must_read(OP_CHAT, "{" HI ",'stream':true,'stream_options':{'include_usage':null,'x':1}}");
    assert_true(r.is_stream && !r.wants_usage);
    assert_int_equal(must_read(OP_COMPLETIONS, "{}").is_empty_object, true);
    assert_int_equal(must_read(OP_COMPLETIONS, " { } ").is_empty_object, true);
    assert_int_equal(must_read(OP_CHAT, "{'max_tokens':0," HI "}").output.max_tokens, 0);
}

static void each_interface_has_its_own_default_length(void **state) {
    (void)state;
    struct request r = must_read(OP_CHAT, "{" HI ",'n':2}");
    assert_int_equal(output_estimate(&r.output, 100), 200);
    r = must_read(OP_COMPLETIONS, "{'prompt':'p','best_of':3}");
    assert_int_equal(output_estimate(&r.output, 100), 48);
    r = must_read(OP_EMBEDDINGS, "{'input':'p'}");
    assert_int_equal(output_estimate(&r.output, 100), 0);
    r = must_read(OP_RESPONSES, "{'input':'p','model':'m'}");
    assert_int_equal(output_estimate(&r.output, 100), 100);
}

static void refuses_wrong_types_and_ranges_and_names_the_member(void **state) {
    (void)state;
    static const struct {
        enum operation op;
        const char *json, *target;
    } cases[] = {
        {OP_CHAT, "[]", ""},
        {OP_CHAT, "'x'", ""},
        {OP_CHAT, "{}", "messages"},
        {OP_CHAT, "{'messages':null}", "messages"},
        {OP_CHAT, "{'messages':'hi'}", "messages"},
        {OP_CHAT, "{'messages':{}}", "messages"},
        {OP_CHAT, "{'messages':[]}", "messages"},
        {OP_CHAT, "{'messages':['hi']}", "messages"},
        {OP_CHAT, "{'messages':[{},1]}", "messages"},
        {OP_CHAT, "{'prompt':'p'}", "messages"},
        {OP_CHAT, "{" HI ",'model':1}", "model"},
        {OP_CHAT, "{" HI ",'model':null}", "model"},
        {OP_CHAT, "{" HI ",'stream':1}", "stream"},
        {OP_CHAT, "{" HI ",'stream':'true'}", "stream"},
        {OP_CHAT, "{" HI ",'stream_options':true}", "stream_options"},
        {OP_CHAT, "{" HI ",'stream_options':[]}", "stream_options"},
        {OP_CHAT, "{" HI ",'stream_options':{'include_usage':1}}", "stream_options.include_usage"},
        {OP_CHAT, "{" HI ",'stream_options':{'include_usage':true,'include_usage':false}}",
         "stream_options.include_usage"},
        {OP_CHAT, "{" HI ",'max_tokens':-1}", "max_tokens"},
        {OP_CHAT, "{" HI ",'max_tokens':'5'}", "max_tokens"},
        {OP_CHAT, "{" HI ",'max_tokens':1.5}", "max_tokens"},
        {OP_CHAT, "{" HI ",'max_tokens':1e3}", "max_tokens"},
        {OP_CHAT, "{" HI ",'max_tokens':1099511627777}", "max_tokens"},
        {OP_CHAT, "{" HI ",'max_tokens':9223372036854775807}", "max_tokens"},
        {OP_CHAT, "{" HI ",'max_tokens':18446744073709551615}", "max_tokens"},
        {OP_CHAT, "{" HI ",'max_completion_tokens':-1}", "max_completion_tokens"},
        {OP_CHAT, "{" HI ",'max_output_tokens':[]}", "max_output_tokens"},
        {OP_CHAT, "{" HI ",'n':0}", "n"},
        {OP_CHAT, "{" HI ",'n':129}", "n"},
        {OP_CHAT, "{" HI ",'n':-9223372036854775808}", "n"},
        {OP_CHAT, "{" HI ",'n':'1'}", "n"},
        {OP_COMPLETIONS, "{'prompt':'p','best_of':0}", "best_of"},
        {OP_COMPLETIONS, "{'prompt':'p','best_of':21}", "best_of"},
        {OP_COMPLETIONS, "{'prompt':5}", "prompt"},
        {OP_COMPLETIONS, "{'prompt':{}}", "prompt"},
        {OP_COMPLETIONS, "{'prompt':[]}", "prompt"},
        {OP_COMPLETIONS, "{'prompt':['a',{}]}", "prompt"},
        {OP_COMPLETIONS, "{'prompt':[1.5]}", "prompt"},
        {OP_EMBEDDINGS, "{}", "input"},
        {OP_EMBEDDINGS, "{'input':null}", "input"},
        {OP_EMBEDDINGS, "{'input':[]}", "input"},
        {OP_EMBEDDINGS, "{'input':[true]}", "input"},
        {OP_RESPONSES, "{'input':5}", "input"},
        {OP_RESPONSES, "{'input':{}}", "input"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct request r = {0};
        struct problem why;
        enum status st = read(cases[i].op, cases[i].json, &r, &why);
        if (st != ST_BAD_REQUEST)
            fail_msg("%s: %d", cases[i].json, (int)st);
        assert_string_equal(why.target, cases[i].target);
        assert_true(why.message[0]);
    }
    static const char *const garbage[] = {"", "{", "{'a':1,}", "{'a' 1}", "nul", "{'n':1}{}"};
    for (size_t i = 0; i < ARRAY_LEN(garbage); i++) {
        struct request r;
        struct problem why;
        assert_int_equal(read(OP_CHAT, garbage[i], &r, &why), ST_BAD_JSON);
    }
}

static void a_member_that_counts_may_not_come_twice_and_others_may(void **state) {
    (void)state;
    static const char *const members[] = {
        "'model':'m'",
        "'stream':true",
        "'stream_options':null",
        "'max_tokens':1",
        "'max_completion_tokens':1",
        "'max_output_tokens':1",
        "'n':1",
        "'best_of':1",
        "'prompt':'p'",
        "'input':'p'",
        "'instructions':'p'",
        "'tools':[]",
        "'functions':[]",
        "'response_format':{}",
        "'text':{}",
    };
    char json[400];
    struct request r;
    struct problem why;
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        snprintf(json, sizeof json, "{%s," HI ",%s}", members[i], members[i]);
        assert_int_equal(read(OP_CHAT, json, &r, &why), ST_BAD_REQUEST);
        assert_non_null(strstr(why.message, "given twice"));
        snprintf(json, sizeof json, "{%s," HI "}", members[i]);
        assert_int_equal(read(OP_CHAT, json, &r, &why), ST_OK);
    }
    assert_int_equal(read(OP_CHAT, "{" HI "," HI "}", &r, &why), ST_BAD_REQUEST);
    /* An escaped spelling is the same name. */
    assert_int_equal(read(OP_CHAT, "{" HI ",'n':1,'\\u006e':128}", &r, &why), ST_BAD_REQUEST);
    assert_int_equal(read(OP_CHAT, "{" HI ",'user':'a','user':'b'}", &r, &why), ST_OK);
    assert_int_equal(read(OP_CHAT, "{" HI ",'metadata':{'n':1,'n':2}}", &r, &why), ST_OK);
}

static void spans_show_where_members_stand(void **state) {
    (void)state;
    static const char *const cases[] = {
        "{'model':'m'," HI "}",
        "  {\n 'model' :\t'm' ,\n" HI " } \n",
        "{" HI ",'model':'m'}",
        "{'mod\\u0065l':'\\u006d'," HI "}",
        "{'a':{'model':'x}'},'b':['model'],'model':'m'," HI "}",
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct request r = must_read(OP_CHAT, cases[i]);
        assert_true(str_eq(r.model, STR("m")));
        struct str at = {text + r.model_at.begin, r.model_at.end - r.model_at.begin};
        assert_true(str_eq(at, STR("\"m\"")) || str_eq(at, STR("\"\\u006d\"")));
        assert_true(text[r.open_at - 1] == '{' && text[r.close_at] == '}');
        assert_true(str_trim((struct str){text, r.open_at}).n == 1);
        assert_true(str_trim(str_skip((struct str){text, text_len}, r.close_at)).n == 1);
    }
}

/* --- prompts --- */

static int64_t tokens(const char *s) {
    return tokens_estimate(str_of(s));
}

static void counts_the_parts_of_a_chat(void **state) {
    (void)state;
    /* Each message 3 and its role 1, and 3 for the reply (the published recipe for gpt-4o). */
    int64_t frame = 3 + 1 + 3;
    struct request r = must_read(OP_CHAT, "{'messages':[{'role':'user','content':'hello world'}]}");
    assert_int_equal(r.prompt_tokens, frame + tokens("hello world"));
    assert_int_equal(r.prompt_chars, 4 + 11);
    assert_int_equal(r.n_prompts, 1);

    r = must_read(OP_CHAT, "{'messages':[{'role':'user','name':'joe','content':'hi'},"
                           "{'role':'assistant','content':null,'refusal':'x'}]}");
    assert_int_equal(r.prompt_tokens, 3 + 2 * (3 + 1) + 1 + tokens("joe") + tokens("hi"));

    r = must_read(OP_CHAT, "{'messages':[{'role':'user','content':[{'type':'text','text':'one'},"
                           "{'type':'text','text':'two'},{'type':'refusal','refusal':'no'},7,"
                           "{'type':'image_url','image_url':{'url':'data:...'}},"
                           "{'type':'image_url','image_url':{'url':'u','detail':'low'}},"
                           "{'type':'image_url','image_url':{'url':'u','detail':'high'}}]}]}");
    assert_int_equal(r.prompt_tokens,
                     frame + tokens("one") + tokens("two") + tokens("no") + 765 + 85 + 765);

    r = must_read(OP_CHAT, "{'messages':[{'role':'assistant','tool_calls':[{'function':{'name':"
                           "'get','arguments':'{}'}},{}]},{'role':'tool','content':'x'},"
                           "{'role':'assistant','function_call':{'name':'f','arguments':'[]'}}]}");
    assert_int_equal(r.prompt_tokens, 3 + 3 * (3 + 1) + tokens("get") + tokens("{}") + tokens("x") +
                                          tokens("f") + tokens("[]"));

    /* Tools and schemas count by their text in the body. */
    r = must_read(OP_CHAT, "{" HI ",'tools':[{'type':'function'}],'functions':[1],"
                           "'response_format':{'type':'json_schema'}}");
    assert_int_equal(r.prompt_tokens, frame + tokens("hi") + tokens("[{\"type\":\"function\"}]") +
                                          tokens("[1]") + tokens("{\"type\":\"json_schema\"}"));

    /* Characters, not bytes. */
    r = must_read(OP_CHAT, "{'messages':[{'role':'user','content':'\xc3\xa9\xe4\xb8\xad'}]}");
    assert_int_equal(r.prompt_chars, 4 + 2);
    /* What is no text costs nothing and refuses nothing: the backend judges it. */
    r = must_read(OP_CHAT, "{'messages':[{'role':5,'content':7,'tool_calls':'x','name':null}]}");
    assert_int_equal(r.prompt_tokens, frame + 1);
}

static void counts_prompts_inputs_and_token_ids(void **state) {
    (void)state;
    static const struct {
        enum operation op;
        const char *json;
        const char *texts[3];
        int64_t further, n_prompts;
    } cases[] = {
        {OP_COMPLETIONS, "{'prompt':'one'}", {"one"}, 0, 1},
        {OP_COMPLETIONS, "{'prompt':['one','two']}", {"one", "two"}, 0, 2},
        {OP_COMPLETIONS, "{'prompt':[1,2,3,4,5]}", {0}, 5, 1},
        {OP_COMPLETIONS, "{'prompt':[[1,2],[3]]}", {0}, 3, 2},
        {OP_COMPLETIONS, "{'prompt':[[]]}", {0}, 0, 1},
        {OP_COMPLETIONS, "{}", {0}, 0, 1},
        {OP_EMBEDDINGS, "{'input':'one'}", {"one"}, 0, 1},
        {OP_EMBEDDINGS, "{'input':['one','two','three']}", {"one", "two", "three"}, 0, 3},
        {OP_EMBEDDINGS, "{'input':[7]}", {0}, 1, 1},
        {OP_EMBEDDINGS, "{'input':[[7],[8,9]]}", {0}, 3, 2},
        {OP_RESPONSES, "{'input':'one'}", {"one"}, 7, 1},
        {OP_RESPONSES, "{'input':'one','instructions':'two'}", {"one", "two"}, 11, 1},
        {OP_RESPONSES, "{'instructions':'two'}", {"two"}, 4, 1},
        {OP_RESPONSES, "{'input':[{'role':'user','content':'one'}]}", {"one"}, 7, 1},
        {OP_RESPONSES,
         "{'input':[{'role':'user','content':[{'type':'input_text','text':'one'},"
         "{'type':'input_image','image_url':'u','detail':'low'},{'type':'input_image'}]}]}",
         {"one"},
         7 + 85 + 765,
         1},
        {OP_RESPONSES, "{'input':[{'type':'function_call_output','output':'one'}]}", {"one"}, 6, 1},
        {OP_RESPONSES, "{'input':[],'prompt':'not mine','messages':5}", {0}, 3, 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct request r = must_read(cases[i].op, cases[i].json);
        int64_t want = cases[i].further;
        for (size_t k = 0; k < 3 && cases[i].texts[k]; k++)
            want += tokens(cases[i].texts[k]);
        if (r.prompt_tokens != want || r.n_prompts != cases[i].n_prompts)
            fail_msg("%s: %lld tokens, %lld prompts", cases[i].json, (long long)r.prompt_tokens,
                     (long long)r.n_prompts);
    }
    /* A token counts as four characters in the limits of standard deployments. */
    assert_int_equal(must_read(OP_EMBEDDINGS, "{'input':[[7],[8,9]]}").prompt_chars, 12);
    assert_int_equal(must_read(OP_EMBEDDINGS, "{'input':[7,8]}").prompt_chars, 8);
}

/* Whatever is given, the numbers that admission works with stay in range. */
static void no_request_makes_numbers_overflow(void **state) {
    (void)state;
    struct request r =
        must_read(OP_COMPLETIONS, "{'prompt':['a','b'],'max_tokens':1099511627776,'n':128}");
    assert_true(output_cap(&r.output) == INT64_C(1099511627776) * 128);
    assert_true(output_estimate(&r.output, INT64_MAX) == output_cap(&r.output));
    assert_int_equal(r.n_prompts, 2);
}

static int set_up(void **state) {
    (void)state;
    doc = json_doc_new();
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    json_doc_free(doc);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_the_members_of_accounting),
        cmocka_unit_test(each_interface_has_its_own_default_length),
        cmocka_unit_test(refuses_wrong_types_and_ranges_and_names_the_member),
        cmocka_unit_test(a_member_that_counts_may_not_come_twice_and_others_may),
        cmocka_unit_test(spans_show_where_members_stand),
        cmocka_unit_test(counts_the_parts_of_a_chat),
        cmocka_unit_test(counts_prompts_inputs_and_token_ids),
        cmocka_unit_test(no_request_makes_numbers_overflow),
    };
    return cmocka_run_group_tests_name("request", tests, set_up, tear_down);
}
