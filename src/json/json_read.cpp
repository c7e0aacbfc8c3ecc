/*
 * json_read.cpp - json.h over simdjson's DOM parser; the only C++ file of the program.
 *
 * simdjson 3.0 works in two stages. The first finds the offset of each bracket, comma, colon and the
 * first byte of each scalar (structural_indexes); the second writes the "tape", one or two 64-bit
 * words a value. Values here are positions on the tape, read through simdjson's own tape_ref. The
 * kernel (AVX-512, AVX2, SSE4.2, plain) is picked when the program starts.
 */
#include <cassert>
#include <cstdlib>
#include <cstring>
#include <new>

#include <simdjson.h>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic" /* our headers are C17: compound literals, */
#pragma GCC diagnostic ignored "-Wshadow"   /* and functions named like the struct they return */
extern "C" {
#include "json/json.h"
#include "json/json_private.h"
}
#pragma GCC diagnostic pop

using simdjson::error_code;
using simdjson::dom::document;
using simdjson::internal::dom_parser_implementation;
using simdjson::internal::tape_ref;
using simdjson::internal::tape_type;

static_assert(JSON_PADDING >= simdjson::SIMDJSON_PADDING,
              "the parser reads further than we promise");

struct json_doc {
    document tape;
    std::unique_ptr<dom_parser_implementation> parser;
    const char *text; /* borrowed from the caller */
    size_t capacity;  /* bytes of text for which memory is there */
};

extern "C" {

struct json_doc *json_doc_new(void) {
    json_doc *doc = new (std::nothrow) json_doc();
    if (!doc)
        abort();
    return doc;
}

void json_doc_free(struct json_doc *doc) {
    delete doc;
}

/* Memory for a text of len bytes: grown in doubling steps, given back after an unusual text. */
static void fit(json_doc *doc, size_t len) {
    size_t capacity = doc->capacity;
    if (capacity > JSON_KEEP && len <= JSON_KEEP)
        capacity = 0;
    if (capacity == 0)
        capacity = 4096;
    while (capacity < len)
        capacity *= 2;
    if (LIKELY(capacity == doc->capacity))
        return;
    size_t levels = JSON_DEPTH + 1; /* the parser counts the document itself as one */
    error_code failed =
        doc->parser ? doc->parser->allocate(capacity, levels)
                    : simdjson::get_active_implementation()->create_dom_parser_implementation(
                          capacity, levels, doc->parser);
    if (failed || doc->tape.allocate(capacity))
        abort();
    doc->capacity = capacity;
}

/* What the parser says, when the slow reader finds nothing to add. */
static enum status refuse(struct str text, error_code code, struct problem *why) {
    struct json_fault fault;
    if (!why)
        return ST_BAD_JSON;
    if (!json_find_fault(text, &fault))
        return problem_set(why, ST_BAD_JSON, str_of(""), "%s", simdjson::error_message(code));
    size_t line = 1, column = 1;
    for (size_t i = 0; i < fault.at; i++) {
        column++;
        if (text.p[i] == '\n') {
            line++;
            column = 1;
        }
    }
    return problem_set(why, ST_BAD_JSON, str_of(""), "at byte %zu (line %zu, column %zu): %s",
                       fault.at, line, column, fault.reason);
}

enum status json_parse(struct json_doc *doc, const char *text, size_t len, struct json_value *root,
                       struct problem *why) {
    if (len > JSON_TEXT_MAX)
        return problem_set(why, ST_TOO_LARGE, str_of(""), "longer than %d bytes", JSON_TEXT_MAX);
    fit(doc, len);
    doc->text = text;
    error_code code = error_code::EMPTY;
    if (LIKELY(len > 0))
        code = doc->parser->parse(reinterpret_cast<const uint8_t *>(text), len, doc->tape);
    if (UNLIKELY(code))
        return refuse(str{text, len}, code, why);
    root->doc = doc;
    root->at = 1; /* word 0 is the tape's own head */
    return ST_OK;
}

static tape_ref ref(struct json_value v) {
    return tape_ref(&v.doc->tape, v.at);
}

enum json_type json_type(struct json_value v) {
    switch (ref(v).tape_ref_type()) {
    case tape_type::START_ARRAY:
        return JSON_ARRAY;
    case tape_type::START_OBJECT:
        return JSON_OBJECT;
    case tape_type::STRING:
        return JSON_STRING;
    case tape_type::INT64:
        return JSON_INT;
    case tape_type::UINT64:
        return JSON_UINT;
    case tape_type::DOUBLE:
        return JSON_DOUBLE;
    case tape_type::TRUE_VALUE:
    case tape_type::FALSE_VALUE:
        return JSON_BOOL;
    case tape_type::NULL_VALUE:
        return JSON_NULL;
    case tape_type::ROOT:
    case tape_type::END_ARRAY:
    case tape_type::END_OBJECT:
        break;
    }
    assert(!"a position on the tape that is no value");
    return JSON_NULL;
}

bool json_bool(struct json_value v) {
    return ref(v).is_true();
}

bool json_i64(struct json_value v, int64_t *out) {
    if (!ref(v).is_int64())
        return false;
    *out = ref(v).next_tape_value<int64_t>();
    return true;
}

double json_f64(struct json_value v) {
    tape_ref r = ref(v);
    if (r.is_double())
        return r.next_tape_value<double>();
    if (r.is_int64())
        return static_cast<double>(r.next_tape_value<int64_t>());
    if (r.is_uint64())
        return static_cast<double>(r.next_tape_value<uint64_t>());
    return 0;
}

static struct str text_at(const json_doc *doc, size_t at) {
    tape_ref r(&doc->tape, at);
    return str{r.get_c_str(), r.get_string_length()};
}

struct str json_str(struct json_value v) {
    return ref(v).tape_ref_type() == tape_type::STRING ? text_at(v.doc, v.at) : str{nullptr, 0};
}

bool json_get(struct json_value object, struct str key, struct json_value *out) {
    struct json_iter it;
    struct str name;
    struct json_value value;
    json_fields(&it, object);
    while (json_next_field(&it, &name, &value)) {
        if (str_eq(name, key)) {
            *out = value;
            return true;
        }
    }
    return false;
}

struct str json_get_str(struct json_value object, struct str key) {
    struct json_value v;
    bool is_text = json_get(object, key, &v) && json_type(v) == JSON_STRING;
    return is_text ? json_str(v) : str{"", 0};
}

static void begin(struct json_iter *it, struct json_value v, tape_type type) {
    it->doc = v.doc;
    it->at = it->end = v.at;
    it->mark = 0;
    if (ref(v).tape_ref_type() == type) {
        it->at = v.at + 1;
        it->end = ref(v).after_element() - 1; /* the closing bracket */
    }
}

void json_items(struct json_iter *it, struct json_value array) {
    begin(it, array, tape_type::START_ARRAY);
}

bool json_next(struct json_iter *it, struct json_value *value) {
    if (it->at == it->end)
        return false;
    *value = json_value{it->doc, it->at};
    it->at = ref(*value).after_element();
    return true;
}

void json_fields(struct json_iter *it, struct json_value object) {
    begin(it, object, tape_type::START_OBJECT);
    if (object.at == 1)
        it->mark = 1; /* mark 0 is the root's own bracket */
}

bool json_next_field(struct json_iter *it, struct str *key, struct json_value *value) {
    if (it->at == it->end)
        return false;
    *key = text_at(it->doc, it->at);
    it->at++;
    return json_next(it, value);
}

static bool is_blank(char c) {
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

/* Where what ends before `end` really ends. */
static size_t trim_end(const char *text, size_t end) {
    while (is_blank(text[end - 1]))
        end--;
    return end;
}

/* +1 for an opening bracket, -1 for a closing one, else 0; no branches, since none is predictable. */
static int bracket_step(char c) {
    unsigned u = static_cast<unsigned char>(c) & 0xdfu; /* the two kinds differ in this bit only */
    return (u == '[') - (u == ']');
}

bool json_next_member(struct json_iter *it, struct str *key, struct json_value *value,
                      struct json_span *key_span, struct json_span *value_span) {
    assert(it->at == it->end || it->mark > 0);
    if (!json_next_field(it, key, value))
        return false;
    const char *text = it->doc->text;
    const uint32_t *marks = it->doc->parser->structural_indexes.get();
    size_t m = it->mark; /* key, colon, value ..., then comma or the root's closing bracket */
    *key_span = json_span{marks[m], trim_end(text, marks[m + 1])};
    m += 2;
    size_t begin_at = marks[m], end_at;
    if (text[begin_at] == '{' || text[begin_at] == '[') {
        /* The text is valid, so brackets need counting only, not matching. The marks of strings are
         * their opening quotes: brackets inside of them have none. */
        int depth = 0;
        do
            depth += bracket_step(text[marks[m++]]);
        while (depth > 0);
        end_at = marks[m - 1] + 1;
    } else {
        m++;
        end_at = trim_end(text, marks[m]);
    }
    *value_span = json_span{begin_at, end_at};
    it->mark = m + 1;
    return true;
}

} /* extern "C" */
