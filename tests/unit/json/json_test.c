/* json_test.c - JSON read, its refusals, the spans of members, and the writer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "support/random.h"
#include "json/json.h"

/* A text with the padding that the parser asks for; what lies there must not matter, so: quotes. */
struct padded {
    char *p;
    size_t n;
};

static struct padded pad(struct str text) {
    struct padded out = {xmalloc(text.n + JSON_PADDING), text.n};
    if (text.n)
        memcpy(out.p, text.p, text.n);
    memset(out.p + text.n, '"', JSON_PADDING);
    return out;
}

static enum status parse(struct json_doc *doc, struct padded text, struct json_value *root,
                         struct problem *why) {
    return json_parse(doc, text.p, text.n, root, why);
}

/* Draws that are the same in each run. */
static struct random draws = {1};
static size_t dice(size_t sides) {
    return (size_t)random_below(&draws, (int64_t)sides);
}

static void put_blanks(struct buf *out) {
    for (size_t n = dice(8); n > 5; n--)
        buf_char(out, " \t\r\n"[dice(4)]);
}

static void put_string(struct buf *out) {
    static const struct str pieces[] = {
        STR_INIT("a"),        STR_INIT("{"),       STR_INIT("}"),
        STR_INIT("["),        STR_INIT("]"),       STR_INIT(","),
        STR_INIT(":"),        STR_INIT("\\\""),    STR_INIT("\\\\"),
        STR_INIT("\\n"),      STR_INIT("\\u0000"), STR_INIT("\\ud83d\\ude00"),
        STR_INIT("\xc3\xa9"), STR_INIT("model"),   STR_INIT("stream_options"),
        STR_INIT(" "),
    };
    buf_char(out, '"');
    for (size_t n = dice(7); n > 0; n--)
        buf_str(out, pieces[dice(ARRAY_LEN(pieces))]);
    buf_char(out, '"');
}

static void put_value(struct buf *out, int depth) {
    static const struct str scalars[] = {
        STR_INIT("0"),
        STR_INIT("-7"),
        STR_INIT("12.5e3"),
        STR_INIT("true"),
        STR_INIT("false"),
        STR_INIT("null"),
        STR_INIT("18446744073709551615"),
    };
    size_t kind = dice(depth > 0 ? 4 : 2);
    if (kind == 0) {
        buf_str(out, scalars[dice(ARRAY_LEN(scalars))]);
    } else if (kind == 1) {
        put_string(out);
    } else {
        bool is_object = kind == 2;
        buf_char(out, is_object ? '{' : '[');
        put_blanks(out);
        for (size_t i = 0, n = dice(5); i < n; i++) {
            if (i > 0)
                buf_char(out, ',');
            put_blanks(out);
            if (is_object) {
                put_string(out);
                put_blanks(out);
                buf_char(out, ':');
                put_blanks(out);
            }
            put_value(out, depth - 1);
            put_blanks(out);
        }
        buf_char(out, is_object ? '}' : ']');
    }
}

static void assert_same(struct json_value a, struct json_value b) {
    assert_int_equal(json_type(a), json_type(b));
    int64_t ia = 1, ib = 2;
    struct json_iter ita, itb;
    struct str ka, kb;
    struct json_value va, vb;
    switch (json_type(a)) {
    case JSON_NULL:
        break;
    case JSON_BOOL:
        assert_int_equal(json_bool(a), json_bool(b));
        break;
    case JSON_INT:
        assert_true(json_i64(a, &ia) && json_i64(b, &ib) && ia == ib);
        break;
    case JSON_UINT:
    case JSON_DOUBLE:
        assert_true(json_f64(a) >= json_f64(b) && json_f64(a) <= json_f64(b));
        break;
    case JSON_STRING:
        assert_true(str_eq(json_str(a), json_str(b)));
        break;
    case JSON_ARRAY:
        json_items(&ita, a);
        json_items(&itb, b);
        while (json_next(&ita, &va)) {
            assert_true(json_next(&itb, &vb));
            assert_same(va, vb);
        }
        assert_false(json_next(&itb, &vb));
        break;
    case JSON_OBJECT:
        json_fields(&ita, a);
        json_fields(&itb, b);
        while (json_next_field(&ita, &ka, &va)) {
            assert_true(json_next_field(&itb, &kb, &vb) && str_eq(ka, kb));
            assert_same(va, vb);
        }
        assert_false(json_next_field(&itb, &kb, &vb));
        break;
    }
}

static void reads_every_type(void **state) {
    (void)state;
    struct json_doc *doc = json_doc_new();
    struct padded text = pad(STR("{\"n\":null,\"t\":true,\"f\":false,\"i\":-9223372036854775808,"
                                 "\"u\":18446744073709551615,\"d\":1.0,\"s\":\"a\\u0000\\u00e9\","
                                 "\"a\":[1,[],{}],\"o\":{\"x\":{\"y\":2}}}"));
    struct json_value root, v;
    assert_int_equal(parse(doc, text, &root, NULL), ST_OK);
    static const struct {
        const char *key;
        enum json_type type;
    } cases[] = {{"n", JSON_NULL},   {"t", JSON_BOOL},  {"f", JSON_BOOL},
                 {"i", JSON_INT},    {"u", JSON_UINT},  {"d", JSON_DOUBLE},
                 {"s", JSON_STRING}, {"a", JSON_ARRAY}, {"o", JSON_OBJECT}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_true(json_get(root, str_of(cases[i].key), &v));
        assert_int_equal(json_type(v), cases[i].type);
    }
    assert_false(json_get(root, STR("absent"), &v));
    assert_true(str_eq(json_get_str(root, STR("s")), STR("a\0\xc3\xa9")));
    assert_true(str_eq(json_get_str(root, STR("i")), STR("")));
    assert_true(str_eq(json_get_str(root, STR("absent")), STR("")));
    int64_t n = 7;
    assert_true(json_get(root, STR("i"), &v) && json_i64(v, &n) && n == INT64_MIN);
    assert_true(json_get(root, STR("u"), &v) && !json_i64(v, &n) && json_f64(v) > 1.8e19);
    assert_true(json_get(root, STR("d"), &v) && !json_i64(v, &n) && json_f64(v) > 0.5);
    assert_true(json_get(root, STR("t"), &v) && json_bool(v));
    assert_true(json_get(root, STR("f"), &v) && !json_bool(v));
    assert_true(json_get(root, STR("s"), &v) && str_eq(json_str(v), STR("a\0\xc3\xa9")));
    assert_true(json_get(root, STR("o"), &v) && json_get(v, STR("x"), &v) &&
                json_get(v, STR("y"), &v) && json_i64(v, &n) && n == 2);
    json_doc_free(doc);
    free(text.p);
}

static void answers_with_nothing_for_the_wrong_type(void **state) {
    (void)state;
    struct json_doc *doc = json_doc_new();
    struct padded text = pad(STR("[1,\"a\",true]"));
    struct json_value root, v, w;
    assert_int_equal(parse(doc, text, &root, NULL), ST_OK);
    assert_false(json_get(root, STR("a"), &v));
    struct json_iter it, inner;
    struct str key;
    json_fields(&it, root);
    assert_false(json_next_field(&it, &key, &v));
    size_t n = 0;
    int64_t i;
    json_items(&it, root);
    while (json_next(&it, &v)) {
        json_items(&inner, v);
        assert_false(json_next(&inner, &w));
        assert_int_equal(json_str(v).n, n == 1);
        assert_int_equal(json_i64(v, &i), n == 0);
        assert_int_equal(json_bool(v), n == 2);
        assert_true(json_f64(v) <= (n == 0 ? 1 : 0));
        n++;
    }
    assert_int_equal(n, 3);
    json_doc_free(doc);
    free(text.p);
}

static void keeps_members_of_equal_names(void **state) {
    (void)state;
    struct json_doc *doc = json_doc_new();
    struct padded text = pad(STR("{\"a\":1,\"b\":2,\"a\":3}"));
    struct json_value root, v;
    struct json_iter it;
    struct str key;
    int64_t n, sum = 0;
    assert_int_equal(parse(doc, text, &root, NULL), ST_OK);
    assert_true(json_get(root, STR("a"), &v) && json_i64(v, &n) && n == 1);
    json_fields(&it, root);
    while (json_next_field(&it, &key, &v))
        sum = sum * 10 + (json_i64(v, &n) ? n : 9);
    assert_int_equal(sum, 123);
    json_doc_free(doc);
    free(text.p);
}

static void refuses_what_is_no_json_and_says_where(void **state) {
    (void)state;
    static const struct {
        struct str text;
        const char *place, *reason;
    } cases[] = {
        {STR_INIT(""), "at byte 0 ", "empty"},
        {STR_INIT(" \n"), "at byte 2 ", "empty"},
        {STR_INIT("\xef\xbb\xbf{}"), "at byte 0 ", "byte order mark"},
        {STR_INIT("{}x"), "at byte 2 ", "follows the end"},
        {STR_INIT("{} {}"), "at byte 3 ", "follows the end"},
        {STR_INIT("[1,]"), "at byte 3 ", "a value must stand here"},
        {STR_INIT("[1 2]"), "at byte 3 ", "a comma or ]"},
        {STR_INIT("{\"a\" 1}"), "at byte 5 ", "colon"},
        {STR_INIT("{\"a\":1,}"), "at byte 7 ", "key in double quotes"},
        {STR_INIT("{a:1}"), "at byte 1 ", "key in double quotes"},
        {STR_INIT("{\"a\":1]"), "at byte 6 ", "a comma or }"},
        {STR_INIT("[1}"), "at byte 2 ", "a comma or ]"},
        {STR_INIT("[1,\n  tru]"), "line 2, column 3", "a value must stand here"},
        {STR_INIT("nulll"), "at byte 4 ", "follows the end"},
        {STR_INIT("'a'"), "at byte 0 ", "a value must stand here"},
        {STR_INIT("\"a"), "at byte 2 ", "ends inside a string"},
        {STR_INIT("\"\\x\""), "at byte 2 ", "backslash"},
        {STR_INIT("\"\\u12g4\""), "at byte 3 ", "hexadecimal"},
        {STR_INIT("\"a\nb\""), "at byte 2 ", "control byte"},
        {STR_INIT("\"a\0b\""), "at byte 2 ", "control byte"},
        {STR_INIT("[1\0]"), "at byte 2 ", "a comma or ]"},
        {STR_INIT("\"\\ud800\""), "at byte 1 ", "surrogate"},
        {STR_INIT("\"\\udc00\""), "at byte 1 ", "surrogate"},
        {STR_INIT("\"\\ud800\\u0041\""), "at byte 1 ", "surrogate"},
        {STR_INIT("\"\\ud800\\ud800\""), "at byte 1 ", "surrogate"},
        {STR_INIT("\"\xff\""), "at byte 1 ", "UTF-8"},
        {STR_INIT("\"\xc0\x80\""), "at byte 1 ", "UTF-8"},
        {STR_INIT("\"\xe0\x9f\xbf\""), "at byte 1 ", "UTF-8"},
        {STR_INIT("\"\xed\xa0\x80\""), "at byte 1 ", "UTF-8"},
        {STR_INIT("\"\xf4\x90\x80\x80\""), "at byte 1 ", "UTF-8"},
        {STR_INIT("\"\xe2\x82\""), "at byte 1 ", "UTF-8"},
        {STR_INIT("1e999"), "at byte 0 ", "out of range"},
        {STR_INIT("[-1e999]"), "at byte 1 ", "out of range"},
        {STR_INIT("18446744073709551616"), "at byte 0 ", "out of range"},
        {STR_INIT("-9223372036854775809"), "at byte 0 ", "out of range"},
        {STR_INIT("01"), "at byte 0 ", "begin with a zero"},
        {STR_INIT("-"), "at byte 1 ", "minus"},
        {STR_INIT("1."), "at byte 2 ", "decimal point"},
        {STR_INIT("1e+"), "at byte 3 ", "exponent"},
        {STR_INIT("+1"), "at byte 0 ", "a value must stand here"},
        {STR_INIT("NaN"), "at byte 0 ", "a value must stand here"},
        {STR_INIT("[1] // note"), "at byte 4 ", "follows the end"},
    };
    struct json_doc *doc = json_doc_new();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct padded text = pad(cases[i].text);
        struct json_value root = {NULL, 77};
        struct problem why = {0};
        assert_int_equal(parse(doc, text, &root, &why), ST_BAD_JSON);
        assert_true(root.doc == NULL && root.at == 77);
        if (!strstr(why.message, cases[i].place) || !strstr(why.message, cases[i].reason))
            fail_msg("%s: %s", cases[i].text.p, why.message);
        assert_int_equal(parse(doc, text, &root, NULL), ST_BAD_JSON);
        free(text.p);
    }
    json_doc_free(doc);
}

static void accepts_512_levels_and_refuses_more(void **state) {
    (void)state;
    static const struct {
        size_t levels;
        enum status st;
    } cases[] = {{511, ST_OK}, {512, ST_OK}, {513, ST_BAD_JSON}, {100000, ST_BAD_JSON}};
    struct json_doc *doc = json_doc_new();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (int is_object = 0; is_object < 2; is_object++) {
            struct buf b;
            buf_init(&b, 1 << 20);
            for (size_t d = 0; d < cases[i].levels; d++)
                buf_str(&b, is_object ? STR("{\"a\":") : STR("["));
            buf_lit(&b, "1");
            for (size_t d = 0; d < cases[i].levels; d++)
                buf_char(&b, is_object ? '}' : ']');
            struct padded text = pad(buf_view(&b));
            struct json_value root;
            struct problem why = {0};
            assert_int_equal(parse(doc, text, &root, &why), cases[i].st);
            assert_int_equal(strstr(why.message, "too deeply") != NULL, cases[i].st != ST_OK);
            free(text.p);
            buf_destroy(&b);
        }
    }
    json_doc_free(doc);
}

static void refuses_every_proper_prefix_of_an_object(void **state) {
    (void)state;
    struct json_doc *doc = json_doc_new();
    struct buf b;
    buf_init(&b, 1 << 20);
    for (int round = 0; round < 20; round++) {
        buf_clear(&b);
        buf_lit(&b, "{\"k\":");
        put_value(&b, 4);
        buf_lit(&b, "}");
        for (size_t n = 0; n <= b.len; n++) {
            struct padded text = pad((struct str){b.p, n});
            struct json_value root;
            struct problem why = {0};
            assert_int_equal(parse(doc, text, &root, &why), n == b.len ? ST_OK : ST_BAD_JSON);
            assert_int_equal(strncmp(why.message, "at byte ", 8) == 0, n < b.len);
            free(text.p);
        }
    }
    buf_destroy(&b);
    json_doc_free(doc);
}

/* The two readers must agree on what JSON is, else a refusal would come without a reason. */
static void finds_a_fault_in_whatever_the_fast_parser_refuses(void **state) {
    (void)state;
    struct json_doc *doc = json_doc_new();
    struct buf b;
    buf_init(&b, 1 << 20);
    size_t n_refused = 0;
    for (int round = 0; round < 20000; round++) {
        buf_clear(&b);
        put_value(&b, 3);
        for (size_t n = 1 + dice(2); n > 0; n--)
            b.p[dice(b.len)] = "\"\\{}[],:0e-. u\xc3\xa9\n"[dice(17)];
        struct padded text = pad(buf_view(&b));
        struct json_value root;
        struct problem why = {0};
        if (parse(doc, text, &root, &why) != ST_OK) {
            n_refused++;
            if (strncmp(why.message, "at byte ", 8) != 0)
                fail_msg("%s: %.*s", why.message, STR_ARG(buf_view(&b)));
        }
        free(text.p);
    }
    assert_true(n_refused > 5000 && n_refused < 20000);
    buf_destroy(&b);
    json_doc_free(doc);
}

static void spans_cut_exactly_the_values_of_the_roots_members(void **state) {
    (void)state;
    struct json_doc *doc = json_doc_new(), *other = json_doc_new();
    struct buf b;
    buf_init(&b, 1 << 20);
    size_t n_members = 0;
    for (int round = 0; round < 3000; round++) {
        buf_clear(&b);
        put_blanks(&b);
        buf_char(&b, '{');
        for (size_t i = 0, n = dice(6); i < n; i++) {
            if (i > 0)
                buf_char(&b, ',');
            put_blanks(&b);
            put_string(&b);
            put_blanks(&b);
            buf_char(&b, ':');
            put_blanks(&b);
            put_value(&b, 3);
            put_blanks(&b);
        }
        buf_char(&b, '}');
        put_blanks(&b);
        struct padded text = pad(buf_view(&b));
        struct json_value root, value, again, plain;
        assert_int_equal(parse(doc, text, &root, NULL), ST_OK);
        struct json_iter it, fields;
        struct str key, same_key;
        struct json_span k, v;
        size_t last = 0;
        json_fields(&it, root);
        json_fields(&fields, root);
        while (json_next_member(&it, &key, &value, &k, &v)) {
            assert_true(last < k.begin && k.end < v.begin && v.end < text.n);
            last = v.end;
            assert_true(json_next_field(&fields, &same_key, &plain) && plain.at == value.at);
            struct padded cut = pad((struct str){text.p + v.begin, v.end - v.begin});
            struct str trimmed = str_trim((struct str){cut.p, cut.n});
            assert_int_equal(trimmed.n, cut.n);
            assert_int_equal(parse(other, cut, &again, NULL), ST_OK);
            assert_same(value, again);
            free(cut.p);
            cut = pad((struct str){text.p + k.begin, k.end - k.begin});
            assert_int_equal(parse(other, cut, &again, NULL), ST_OK);
            assert_true(str_eq(json_str(again), key) && cut.p[0] == '"');
            free(cut.p);
            n_members++;
        }
        assert_false(json_next_field(&fields, &same_key, &plain));
        free(text.p);
    }
    assert_true(n_members > 5000);
    buf_destroy(&b);
    json_doc_free(doc);
    json_doc_free(other);
}

static void reads_on_after_a_huge_text_and_after_a_broken_one(void **state) {
    (void)state;
    struct json_doc *doc = json_doc_new();
    struct buf b;
    buf_init(&b, 8 << 20);
    buf_char(&b, '[');
    for (int i = 0; i < 300000; i++)
        buf_lit(&b, "[1,\"a\"],");
    buf_lit(&b, "{}]");
    struct padded huge = pad(buf_view(&b)), small = pad(STR("{\"a\":[1,2]}")), bad = pad(STR("{"));
    for (int round = 0; round < 3; round++) {
        struct json_value root, v, item;
        struct json_iter it;
        size_t n = 0;
        assert_int_equal(parse(doc, huge, &root, NULL), ST_OK);
        json_items(&it, root);
        while (json_next(&it, &v))
            n++;
        assert_int_equal(n, 300001);
        assert_int_equal(parse(doc, bad, &root, NULL), ST_BAD_JSON);
        assert_int_equal(parse(doc, small, &root, NULL), ST_OK);
        assert_true(json_get(root, STR("a"), &v));
        json_items(&it, v);
        assert_true(json_next(&it, &item) && json_next(&it, &item) && !json_next(&it, &item));
    }
    free(huge.p);
    free(small.p);
    free(bad.p);
    buf_destroy(&b);
    json_doc_free(doc);
}

static void writes_one_line_or_indented(void **state) {
    (void)state;
    static const struct str want[] = {
        STR_INIT("{\"a\":[1,-2,[],{}],\"b\":{\"c\":true,\"d\":null},\"e\":\"x\",\"f\":[0.5]}"),
        STR_INIT("{\n  \"a\": [\n    1,\n    -2,\n    [],\n    {}\n  ],\n  \"b\": {\n"
                 "    \"c\": true,\n    \"d\": null\n  },\n  \"e\": \"x\",\n  \"f\": [0.5]\n}"),
    };
    for (int indent = 0; indent <= 2; indent += 2) {
        struct buf b;
        struct json_writer w;
        buf_init(&b, 4096);
        json_writer_init(&w, &b, indent);
        json_begin_object(&w);
        json_key(&w, STR("a"));
        json_begin_array(&w);
        json_i64_value(&w, 1);
        json_i64_value(&w, -2);
        json_begin_array(&w);
        json_end_array(&w);
        json_begin_object(&w);
        json_end_object(&w);
        json_end_array(&w);
        json_key(&w, STR("b"));
        json_begin_object(&w);
        json_key(&w, STR("c"));
        json_bool_value(&w, true);
        json_key(&w, STR("d"));
        json_null_value(&w);
        json_end_object(&w);
        json_key(&w, STR("e"));
        json_str_value(&w, STR("x"));
        json_key(&w, STR("f"));
        json_raw(&w, STR("[0.5]"));
        json_end_object(&w);
        assert_int_equal(w.depth, 0);
        assert_true(str_eq(buf_view(&b), want[indent / 2]));
        buf_destroy(&b);
    }
}

static void escapes_and_replaces_what_is_not_utf8(void **state) {
    (void)state;
    static const struct {
        struct str in, out;
    } cases[] = {
        {STR_INIT(""), STR_INIT("\"\"")},
        {STR_INIT("a\"b\\c/"), STR_INIT("\"a\\\"b\\\\c/\"")},
        {STR_INIT("\b\f\n\r\t"), STR_INIT("\"\\b\\f\\n\\r\\t\"")},
        {STR_INIT("\0\x1f\x7f"), STR_INIT("\"\\u0000\\u001f\\u007f\"")},
        {STR_INIT("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"),
         STR_INIT("\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"")},
        {STR_INIT("a\xff"
                  "b"),
         STR_INIT("\"a\xef\xbf\xbd"
                  "b\"")},
        {STR_INIT("\xe2\x82"), STR_INIT("\"\xef\xbf\xbd\xef\xbf\xbd\"")},
        {STR_INIT("\xed\xa0\x80"), STR_INIT("\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"")},
    };
    struct buf b;
    buf_init(&b, 4096);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        buf_clear(&b);
        json_quote(&b, cases[i].in);
        assert_true(str_eq(buf_view(&b), cases[i].out));
    }
    buf_destroy(&b);
}

static void reads_back_any_bytes_that_it_wrote(void **state) {
    (void)state;
    struct json_doc *doc = json_doc_new();
    struct buf b;
    buf_init(&b, 1 << 16);
    for (int round = 0; round < 5000; round++) {
        char bytes[24];
        size_t n = dice(sizeof bytes);
        for (size_t i = 0; i < n; i++)
            bytes[i] = (char)(dice(3) ? dice(128) : dice(256));
        buf_clear(&b);
        json_quote(&b, (struct str){bytes, n});
        struct padded text = pad(buf_view(&b));
        struct json_value root;
        assert_int_equal(parse(doc, text, &root, NULL), ST_OK);
        /* What came back is UTF-8, so it is written and read without change. */
        struct buf once;
        buf_init(&once, 1 << 16);
        json_quote(&once, json_str(root));
        assert_true(str_eq(buf_view(&once), buf_view(&b)));
        buf_destroy(&once);
        free(text.p);
    }
    buf_destroy(&b);
    json_doc_free(doc);
}

static void marks_the_buffer_when_the_ceiling_is_reached(void **state) {
    (void)state;
    struct buf b;
    struct json_writer w;
    buf_init(&b, 8);
    json_writer_init(&w, &b, 0);
    json_begin_array(&w);
    json_str_value(&w, STR("abcdefgh"));
    json_end_array(&w);
    assert_int_equal(buf_status(&b), ST_TOO_LARGE);
    buf_destroy(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_type),
        cmocka_unit_test(answers_with_nothing_for_the_wrong_type),
        cmocka_unit_test(keeps_members_of_equal_names),
        cmocka_unit_test(refuses_what_is_no_json_and_says_where),
        cmocka_unit_test(accepts_512_levels_and_refuses_more),
        cmocka_unit_test(refuses_every_proper_prefix_of_an_object),
        cmocka_unit_test(finds_a_fault_in_whatever_the_fast_parser_refuses),
        cmocka_unit_test(spans_cut_exactly_the_values_of_the_roots_members),
        cmocka_unit_test(reads_on_after_a_huge_text_and_after_a_broken_one),
        cmocka_unit_test(writes_one_line_or_indented),
        cmocka_unit_test(escapes_and_replaces_what_is_not_utf8),
        cmocka_unit_test(reads_back_any_bytes_that_it_wrote),
        cmocka_unit_test(marks_the_buffer_when_the_ceiling_is_reached),
    };
    return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
