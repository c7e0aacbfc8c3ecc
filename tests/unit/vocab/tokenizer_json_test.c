/* tokenizer_json_test.c - published tokenizer.json files: what is understood, and what is refused and how. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "support/tokenizer_text.h"
#include "tokens/count.h"
#include "vocab/tokenizer_json.h"
#include "json/json.h"

static struct problem why;
static struct buf text, block;

static int make_buffers(void **state) {
    (void)state;
    buf_init(&text, 1 << 20);
    buf_init(&block, TOKENIZER_JSON_BLOCK_MAX);
    return 0;
}

static int free_buffers(void **state) {
    (void)state;
    buf_destroy(&text);
    buf_destroy(&block);
    return 0;
}

static enum status compile(const char *json) {
    buf_clear(&text);
    problem_clear(&why);
    tokenizer_text(&text, str_of(json));
    assert_non_null(buf_reserve_slack(&text, 1, JSON_PADDING));
    return tokenizer_json_compile(&block, STR("dir/t.json"), buf_view(&text), &why);
}

#define BYTE_LEVEL "{\"type\":\"ByteLevel\",\"add_prefix_space\":false}"
#define NO_REGEX "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}"
#define SPLIT(REGEX, BEHAVIOR)                                                                      \
    "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" REGEX \
    "\"},\"behavior\":\"" BEHAVIOR "\",\"invert\":true}," NO_REGEX "]}"
#define QWEN2                                                                                      \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}| "              \
    "?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+"
#define MODEL "\"model\":{\"type\":\"BPE\",\"vocab\":{\"BYTES\":0},\"merges\":[]}"

static void assert_ids(struct str what, const uint32_t *expected, size_t n) {
    struct vocabulary v;
    struct buf ids;
    buf_init(&ids, 1 << 10);
    assert_int_equal(vocabulary_open(&v, block.p, block.len, &why), ST_OK);
    struct token_cache *c = token_cache_new(&v);
    assert_int_equal(token_ids(c, what, &ids), ST_OK);
    assert_int_equal(ids.len, n * sizeof *expected);
    assert_memory_equal(ids.p, expected, ids.len);
    assert_int_equal(token_count(c, what), n);
    token_cache_free(c);
    buf_destroy(&ids);
}

static void reads_tokens_merges_and_added_tokens(void **state) {
    (void)state;
    assert_int_equal(
        compile(
            "{\"version\":\"1.0\",\"truncation\":null,\"post_processor\":{\"type\":\"any\"},"
            "\"added_tokens\":[{\"id\":900,\"content\":\"<end>\",\"special\":true},"
            "{\"id\":901,\"content\":\"\",\"special\":true}],\"normalizer\":{\"type\":"
            "\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"}]},"
            "\"pre_tokenizer\":" SPLIT(
                QWEN2,
                "Isolated") ",\"model\":{\"type\":\"BPE\","
                            "\"dropout\":null,\"unk_token\":null,\"fuse_unk\":false,\"ignore_merges\":true,"
                            "\"vocab\":{\"BYTES\":0,\"\\u0120a\":500,\"\\u0120ab\":501,\"\\u00c3\\u00a9\":502,"
                            "\"whole\":503,\"no\\u2581token\":504},"
                            "\"merges\":[\"\\u0120 a\",[\"\\u0120a\",\"b\"],\"\\u00c3 \\u00a9\"]}}"),
        ST_OK);
    static const uint32_t ids[] = {501, 900, 503, '1', '2', 500, 502, 'x'};
    assert_ids(STR(" ab<end>whole12 a\xc3\xa9x"), ids, ARRAY_LEN(ids));
}

static void knows_how_models_cut_text(void **state) {
    (void)state;
    static const struct {
        const char *pre_tokenizer;
        enum token_pattern pattern;
    } cases[] = {
        {BYTE_LEVEL, PATTERN_GPT2},
        {SPLIT(QWEN2, "Isolated"), PATTERN_QWEN2},
        {SPLIT(QWEN2, "Removed"), PATTERN_QWEN2},
        {"{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\",\"individual_digits\":"
         "true}," BYTE_LEVEL "]}",
         PATTERN_GPT2_DIGITS},
        {"{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":"
         "\"\\\\p{N}\"},\"behavior\":\"Isolated\"}," BYTE_LEVEL "]}",
         PATTERN_GPT2_DIGITS},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char json[2000];
        struct vocabulary v;
        snprintf(json, sizeof json, "{\"pre_tokenizer\":%s," MODEL "}", cases[i].pre_tokenizer);
        assert_int_equal(compile(json), ST_OK);
        assert_int_equal(vocabulary_open(&v, block.p, block.len, &why), ST_OK);
        assert_int_equal(vocabulary_pattern(&v), cases[i].pattern);
    }
}

/* Each with the place and the beginning of what is said of it. */
static void refuses_what_it_does_not_understand(void **state) {
    (void)state;
#define WITH_MODEL(MEMBERS) "{\"pre_tokenizer\":" BYTE_LEVEL ",\n\"model\":{\n" MEMBERS "}}"
#define VOCAB "\"vocab\":{\"BYTES\":0},"
    static const struct {
        const char *json, *place, *message;
    } cases[] = {
        {"{\"a\":\n1", "dir/t.json", "at byte 7 (line 2, column 2)"},
        {"[]", "dir/t.json:1", "has no object \"model\""},
        {"{\"model\":[]}", "dir/t.json:1", "has no object \"model\""},
        {"{" MODEL "}", "dir/t.json:1", "has no pre_tokenizer"},
        {"{\n\"pre_tokenizer\":null," MODEL "}", "dir/t.json:2",
         "pre_tokenizer is of another kind"},
        {"{\n\"pre_tokenizer\":{\"type\":\"Metaspace\"}," MODEL "}", "dir/t.json:2",
         "pre_tokenizer is of another kind"},
        {"{\n\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true}," MODEL "}",
         "dir/t.json:2", "pre_tokenizer is of another kind"},
        {"{\n\"pre_tokenizer\":" NO_REGEX "," MODEL "}", "dir/t.json:2",
         "pre_tokenizer leaves text uncut"},
        {"{\n\"pre_tokenizer\":" SPLIT("\\\\s", "Isolated") "," MODEL "}", "dir/t.json:2",
         "pre_tokenizer.pretokenizers[0] cuts text by an expression that is not known"},
        {"{\n\"pre_tokenizer\":" SPLIT(QWEN2, "MergedWithNext") "," MODEL "}", "dir/t.json:2",
         "pre_tokenizer.pretokenizers[0] cuts text by an expression that is not known"},
        {"{\n\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\","
         "\"individual_digits\":true},\n" NO_REGEX "]}," MODEL "}",
         "dir/t.json:3", "pre_tokenizer.pretokenizers[1] must have \"use_regex\": true"},
        {"{\n\n\"normalizer\":{\"type\":\"NFKC\"},\"pre_tokenizer\":" BYTE_LEVEL "," MODEL "}",
         "dir/t.json:3", "normalizer changes the text"},
        {WITH_MODEL("\"type\":\"Unigram\"," VOCAB "\"merges\":[]"), "dir/t.json:3",
         "model.type is \"Unigram\"; only byte-level BPE"},
        {WITH_MODEL("\"dropout\":0.1," VOCAB "\"merges\":[]"), "dir/t.json:3",
         "model.dropout is not supported"},
        {WITH_MODEL("\"end_of_word_suffix\":\"</w>\"," VOCAB "\"merges\":[]"), "dir/t.json:3",
         "model.end_of_word_suffix is not supported"},
        {WITH_MODEL("\"merges\":[]"), "dir/t.json:2", "model has no object \"vocab\""},
        {WITH_MODEL("\"vocab\":{\"a\":0},\"merges\":[]"), "dir/t.json:3",
         "model.vocab cannot be used: there is no token for the byte 0"},
        {WITH_MODEL("\"vocab\":{\"BYTES\":0,\n\"ab\":-1},\"merges\":[]"), "dir/t.json:4",
         "model.vocab[256] has no whole number for an id"},
        {WITH_MODEL("\"vocab\":{\"BYTES\":0,\n\"a\":7},\"merges\":[]"), "dir/t.json:4",
         "model.vocab[256] occurs twice"},
        {WITH_MODEL(VOCAB "\"merges\":{}"), "dir/t.json:2", "model has no array \"merges\""},
        {WITH_MODEL(VOCAB "\"merges\":[\n\"ab\"]"), "dir/t.json:4",
         "model.merges[0] is neither \"LEFT RIGHT\" nor"},
        {WITH_MODEL(VOCAB "\"merges\":[\n\"a b c\"]"), "dir/t.json:4",
         "model.merges[0] is neither"},
        {WITH_MODEL(VOCAB "\"merges\":[\n[\"a\"]]"), "dir/t.json:4", "model.merges[0] is neither"},
        {WITH_MODEL(VOCAB "\"merges\":[\n7]"), "dir/t.json:4", "model.merges[0] is neither"},
        {WITH_MODEL(VOCAB "\"merges\":[\n\"a xyz\"]"), "dir/t.json:4",
         "model.merges[0] names a token that model.vocab has not"},
        {WITH_MODEL(VOCAB "\"merges\":[\n\"a b\"]"), "dir/t.json:4",
         "model.merges[0] makes a token that model.vocab has not"},
        {WITH_MODEL("\"vocab\":{\"BYTES\":0,\"ab\":256},\"merges\":[\"a b\",\n\"a b\"]"),
         "dir/t.json:4", "model.merges[1] (merge 1 occurs twice)"},
        {"{\"added_tokens\":{},"
         "\"pre_tokenizer\":" BYTE_LEVEL "," MODEL "}",
         "dir/t.json:1", "added_tokens must be an array"},
        {"{\"added_tokens\":[{\"id\":1,\"content\":\"x\"},\n{\"id\":2}],\"pre_tokenizer\":" BYTE_LEVEL
         "," MODEL "}",
         "dir/t.json:2", "added_tokens[1] has no content"},
        {"{\"added_tokens\":[\n{\"id\":1,\"content\":\"x\",\"single_word\":true}],"
         "\"pre_tokenizer\":" BYTE_LEVEL "," MODEL "}",
         "dir/t.json:2", "added_tokens[0] has \"single_word\""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_not_equal(compile(cases[i].json), ST_OK);
        assert_string_equal(why.target, cases[i].place);
        if (strncmp(why.message, cases[i].message, strlen(cases[i].message)) != 0)
            assert_string_equal(why.message, cases[i].message);
    }
}

static void refuses_files_that_are_too_long(void **state) {
    (void)state;
    struct str huge = {"", (size_t)TOKENIZER_JSON_MAX + 1};
    assert_int_equal(tokenizer_json_compile(&block, STR("t.json"), huge, &why), ST_TOO_LARGE);
    assert_string_equal(why.target, "t.json");
}

/* A path that is longer than there is room for keeps its end, and the line. */
static void names_files_with_long_paths(void **state) {
    (void)state;
    char path[300];
    memset(path, 'd', sizeof path);
    memcpy(path + sizeof path - 7, "/t.json", 7);
    buf_clear(&text);
    buf_lit(&text, "{}");
    assert_non_null(buf_reserve_slack(&text, 1, JSON_PADDING));
    struct str file = {path, sizeof path};
    assert_int_equal(tokenizer_json_compile(&block, file, buf_view(&text), &why), ST_BAD_REQUEST);
    assert_non_null(strstr(why.target, "ddd/t.json:1"));
    assert_int_equal(tokenizer_json_compile(&block, file, buf_view(&text), NULL), ST_BAD_REQUEST);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_tokens_merges_and_added_tokens),
        cmocka_unit_test(knows_how_models_cut_text),
        cmocka_unit_test(refuses_what_it_does_not_understand),
        cmocka_unit_test(refuses_files_that_are_too_long),
        cmocka_unit_test(names_files_with_long_paths),
    };
    return cmocka_run_group_tests_name("tokenizer_json", tests, make_buffers, free_buffers);
}
