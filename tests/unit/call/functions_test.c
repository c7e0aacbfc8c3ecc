/* functions_test.c - functions in the form that models are given them, and what their prompts then have. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "call/functions.h"
#include "call/request.h"

static struct json_doc *doc;

/* Texts are written with ' for ". The last one is kept, since values view it. */
static char text[1 << 14];

static size_t keep(const char *json) {
    size_t n = strlen(json);
    assert_true(n + JSON_PADDING < sizeof text);
    for (size_t i = 0; i < n; i++)
        text[i] = json[i] == '\'' ? '"' : json[i];
    memset(text + n, 0, JSON_PADDING);
    return n;
}

static bool put(struct buf *out, const char *list) {
    struct json_value root;
    struct problem why;
    buf_clear(out);
    assert_int_equal(json_parse(doc, text, keep(list), &root, &why), ST_OK);
    return functions_put(out, root);
}

static void writes_types_as_the_source_has_them(void **state) {
    (void)state;
    struct buf out;
    buf_init(&out, 1 << 14);
    assert_true(
        put(&out, "[{'type':'function','function':{'name':'find','description':'Finds recipes',"
                  "'parameters':{'type':'object','required':['list','how'],'properties':{"
                  "'list':{'type':'array','description':'At home','items':{'type':'object',"
                  "'required':['name'],'additionalProperties':false,'properties':{"
                  "'name':{'type':'string','description':'not told'},"
                  "'unit':{'type':'string','enum':['g','ml']},"
                  "'of':{'type':'object','properties':{'x':{'type':'null'}}}}}},"
                  "'how':{'anyOf':[{'type':'integer','enum':[1,2]},{'type':'boolean'}]},"
                  "'more':{'type':'array'},'most':{'type':'number','maximum':5}}}}},"
                  "{'name':'stop'},{'name':'go','parameters':{'type':'object','properties':{}}}]"));
    assert_true(str_eq(buf_view(&out), STR("namespace functions {\n\n"
                                           "// Finds recipes\n"
                                           "type find = (_: {\n"
                                           "// At home\n"
                                           "list: {\n"
                                           "  name: string,\n"
                                           "  unit?: \"g\" | \"ml\",\n"
                                           "  of?: {\n"
                                           "    x?: null,\n"
                                           "},\n"
                                           "}[],\n"
                                           "how: 1 | 2 | boolean,\n"
                                           "more?: any[],\n"
                                           "most?: number,\n"
                                           "}) => any;\n\n"
                                           "type stop = () => any;\n\n"
                                           "type go = () => any;\n\n"
                                           "} // namespace functions")));
    buf_destroy(&out);
}

static void says_what_it_knows_no_form_of(void **state) {
    (void)state;
    static const char *const schemas[] = {
        "{'$ref':'#/x'}",
        "{'type':['string','null']}",
        "{'type':'string','enum':[1.5]}",
        "{'type':'string','enum':[]}",
        "{'type':'string','format':'date'}",
        "{'type':'array','items':{'type':'tuple'}}",
        "{'type':'object','properties':{'x':{}}}",
        "{'anyOf':[]}",
        "{'anyOf':[{'type':'string'},{'const':1}]}",
        "true",
    };
    struct buf out;
    char list[400];
    buf_init(&out, 1 << 14);
    for (size_t i = 0; i < ARRAY_LEN(schemas); i++) {
        snprintf(list, sizeof list,
                 "[{'name':'f','parameters':{'type':'object','properties':{'p':%s}}}]", schemas[i]);
        assert_false(put(&out, list));
    }
    assert_false(put(&out, "[{'type':'web_search'}]"));
    assert_false(put(&out, "[7]"));
    assert_true(put(&out, "[{'name':'f','parameters':{'type':'object'}}]"));
    buf_destroy(&out);
}

/* Every member is looked for among the required ones: a long list of both would take long. */
static void knows_no_object_that_requires_very_many(void **state) {
    (void)state;
    struct buf list, out;
    buf_init(&list, 1 << 14);
    buf_init(&out, 1 << 14);
    for (int n = 100; n <= 101; n++) {
        buf_clear(&list);
        buf_lit(&list, "[{'name':'f','parameters':{'type':'object','properties':"
                       "{'x':{'type':'string'}},'required':[");
        for (int i = 0; i < n; i++)
            buf_str(&list, i ? STR(",'x'") : STR("'x'"));
        buf_lit(&list, "]}}]");
        buf_char(&list, '\0');
        assert_int_equal(buf_status(&list), ST_OK);
        assert_int_equal(put(&out, list.p), n == 100);
    }
    buf_destroy(&list);
    buf_destroy(&out);
}

static void goes_no_deeper_than_it_says(void **state) {
    (void)state;
    struct buf out, list;
    buf_init(&out, 1 << 14);
    buf_init(&list, 1 << 14);
    for (int depth = FUNCTIONS_DEPTH - 1; depth <= FUNCTIONS_DEPTH; depth++) {
        buf_clear(&list);
        buf_str(&list, STR("[{'name':'f','parameters':{'type':'object','properties':{'p':"));
        for (int i = 0; i < depth; i++)
            buf_str(&list, STR("{'type':'array','items':"));
        buf_str(&list, STR("{'type':'string'}"));
        for (int i = 0; i < depth; i++)
            buf_char(&list, '}');
        buf_str(&list, STR("}}}]"));
        buf_char(&list, '\0');
        assert_int_equal(put(&out, list.p), depth < FUNCTIONS_DEPTH);
    }
    buf_destroy(&list);
    buf_destroy(&out);
}

static int64_t prompt_tokens(struct prompt_counters *counters, const struct vocabulary *custom,
                             const char *json, bool *is_exact) {
    struct request r;
    struct problem why;
    struct request_how how = {.counters = counters,
                              .prompt = {.budget = SIZE_MAX, .custom = custom}};
    size_t n = keep(json);
    assert_int_equal(request_parse(doc, text, n, OP_CHAT, &r, &why), ST_OK);
    assert_int_equal(request_count(&r, text, OP_CHAT, STR("gpt-3.5-turbo"), &how, &why), ST_OK);
    *is_exact = r.tally.is_exact;
    return r.prompt_tokens;
}

/* Prompts whose tokens the API reported (openai-chat-tokens, tests/token-counts.test.ts, 2023). */
static void counts_nested_parameters_as_the_api_reported(void **state) {
    (void)state;
    static const struct {
        const char *json;
        int64_t tokens;
    } cases[] = {
        {"{'messages':[{'role':'user','content':'hello'}],'functions':[{'name':'bing_bong',"
         "'description':'Do a bing bong','parameters':{'type':'object','properties':{'foo':{"
         "'type':'object','properties':{'bar':{'type':'string','enum':['a','b','c']},"
         "'baz':{'type':'boolean'}}}}}}]}",
         68},
        {"{'messages':[{'role':'user','content':'hello'}],'functions':[{'name':'get_recipe',"
         "'parameters':{'type':'object','required':['ingredients','instructions','time_to_cook'],"
         "'properties':{'ingredients':{'type':'array','items':{'type':'object','required':['name',"
         "'unit','amount'],'properties':{'name':{'type':'string'},'unit':{'enum':['grams','ml',"
         "'cups','pieces','teaspoons'],'type':'string'},'amount':{'type':'number'}}}},"
         "'instructions':{'type':'array','items':{'type':'string'},'description':"
         "'Steps to prepare the recipe (no numbering)'},'time_to_cook':{'type':'number',"
         "'description':'Total time to prepare the recipe in minutes'}}}}]}",
         106},
    };
    static const unsigned char secret[16] = {1};
    struct vocabulary o200k = vocabulary_o200k(), cl100k = vocabulary_cl100k();
    struct text_memory *memory = text_memory_new(1024, 1024, secret);
    struct prompt_counters *counters = prompt_counters_new(&o200k, &cl100k, memory);
    bool is_exact;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(prompt_tokens(counters, NULL, cases[i].json, &is_exact), cases[i].tokens);
        assert_false(is_exact);
        /* Models of others are told their functions in other ways: by JSON, for all that is known. */
        assert_int_not_equal(prompt_tokens(counters, &cl100k, cases[i].json, &is_exact),
                             cases[i].tokens);
        assert_false(is_exact);
    }
    prompt_counters_free(counters);
    text_memory_free(memory);
}

static int make_doc(void **state) {
    (void)state;
    doc = json_doc_new();
    return 0;
}

static int free_doc(void **state) {
    (void)state;
    json_doc_free(doc);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_types_as_the_source_has_them),
        cmocka_unit_test(says_what_it_knows_no_form_of),
        cmocka_unit_test(knows_no_object_that_requires_very_many),
        cmocka_unit_test(goes_no_deeper_than_it_says),
        cmocka_unit_test(counts_nested_parameters_as_the_api_reported),
    };
    return cmocka_run_group_tests_name("functions", tests, make_doc, free_doc);
}
