/* json.h - JSON: texts parsed into views, spans of their members, and a writer into a buffer. */
#ifndef JSON_JSON_H
#define JSON_JSON_H

#include "base/buf.h"
#include "base/status.h"
#include "base/str.h"

/*
 * Reading
 *
 * A document is parsed whole: afterwards it is known to be valid JSON in valid UTF-8, and walking it
 * cannot fail. Nothing is copied but the texts of strings, which are unescaped into the parser's own
 * memory. A struct json_doc belongs to one thread and serves text after text.
 *
 * Functions that take a value of the wrong type answer with nothing (false, 0, an empty text, an
 * iteration without items), so optional members need no branch. Whoever minds asks json_type first.
 *
 * Limits: numbers without fraction and exponent must fit int64_t or uint64_t, all others a finite
 * double; escaped surrogates must come in pairs; a byte order mark is refused. Of members with equal
 * names all are kept: json_get finds the first, iteration shows each.
 */
enum {
    /* Readable bytes that must lie behind each text that is parsed, whatever they hold: the parser
     * loads whole vectors. */
    JSON_PADDING = 64,
    /* The most that arrays and objects may be nested; empty ones do not count. Tool schemas, the
     * deepest that clients send, stay far below 100. */
    JSON_DEPTH = 512,
    /* The longest text, bytes. Parsing takes up to 14 bytes of memory per byte of text. */
    JSON_TEXT_MAX = 1 << 28,
    /* After a text longer than this the parser's memory is given back with the next shorter one. */
    JSON_KEEP = 1 << 20,
};

struct json_doc; /* the parser and its memory */

struct json_doc *json_doc_new(void);
void json_doc_free(struct json_doc *doc); /* accepts NULL */

/* A value inside a parsed text; valid until the next json_parse with the same document. */
struct json_value {
    const struct json_doc *doc;
    size_t at; /* position in the parser's own notation */
};

enum json_type {
    JSON_NULL,
    JSON_BOOL,
    JSON_INT,    /* a whole number that fits int64_t; 1.0 and 1e3 are JSON_DOUBLE */
    JSON_UINT,   /* a whole number above that */
    JSON_DOUBLE, /* finite */
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT,
};

/*
 * Parses len bytes at text, which the caller keeps, followed by JSON_PADDING readable bytes, as long
 * as spans or values are used. ST_BAD_JSON with the place and the reason in `why` (which may be
 * NULL; its target is left empty), ST_TOO_LARGE above JSON_TEXT_MAX.
 */
enum status json_parse(struct json_doc *doc, const char *text, size_t len, struct json_value *root,
                       struct problem *why) MUST_USE;

enum json_type json_type(struct json_value v);

bool json_bool(struct json_value v);                       /* only `true` is true */
bool json_i64(struct json_value v, int64_t *out) MUST_USE; /* only JSON_INT */
double json_f64(struct json_value v);                      /* any number; else 0 */
struct str json_str(struct json_value v);                  /* unescaped; may hold NUL bytes */

/* The first member with this name. The time is linear in the number of members. */
bool json_get(struct json_value object, struct str key, struct json_value *out) MUST_USE;

/* The text of that member; empty when there is none, or when it is no text. */
struct str json_get_str(struct json_value object, struct str key);

/* Iteration over an array or an object, in the order of the text. */
struct json_iter {
    const struct json_doc *doc;
    size_t at, end;
    size_t mark; /* of json_next_member: the next entry in the parser's list of marks */
};

/* if (...) { struct json_iter it; json_items(&it, array); while (json_next(&it, &value)) ... } */
void json_items(struct json_iter *it, struct json_value array);
bool json_next(struct json_iter *it, struct json_value *value) MUST_USE;

void json_fields(struct json_iter *it, struct json_value object);
bool json_next_field(struct json_iter *it, struct str *key, struct json_value *value) MUST_USE;

/* Bytes [begin, end) of the parsed text. */
struct json_span {
    size_t begin, end;
};

/*
 * Iteration over the root object that also tells where each member's value stands in the text,
 * without the blanks around it, and the key with its quotes. For replacing a value without writing
 * the text anew. An iteration begun with json_fields uses either this or json_next_field throughout.
 * Only for the root: the parser's list of marks is walked in step, one look per comma, colon,
 * bracket and scalar, so it costs about as much as a tenth of the parse.
 */
bool json_next_member(struct json_iter *it, struct str *key, struct json_value *value,
                      struct json_span *key_span, struct json_span *value_span) MUST_USE;

/*
 * Writing
 *
 * The caller says what comes, the writer puts commas, quotes, escapes and blanks. What makes no JSON
 * (a value in an object without a key, an end without a begin) fails an assertion. Ceilings are those
 * of the buffer: look at buf_status(out) once at the end.
 */
struct json_writer {
    struct buf *out;    /* borrowed */
    int indent;         /* blanks a level; 0 writes one line without blanks */
    int depth;          /* 0..63 */
    uint64_t is_object; /* bit d: level d + 1 is an object */
    bool has_item;      /* something stands on this level, so a comma comes first */
    bool has_key;       /* a key waits for its value */
};

void json_writer_init(struct json_writer *w, struct buf *out, int indent);

void json_begin_object(struct json_writer *w);
void json_end_object(struct json_writer *w);
void json_begin_array(struct json_writer *w);
void json_end_array(struct json_writer *w);

void json_key(struct json_writer *w, struct str key);

/* Bytes that are no valid UTF-8 become U+FFFD, one for each byte. */
void json_str_value(struct json_writer *w, struct str value);
void json_i64_value(struct json_writer *w, int64_t value);
void json_bool_value(struct json_writer *w, bool value);
void json_null_value(struct json_writer *w);
void json_raw(struct json_writer *w, struct str json); /* one value, written as it stands */

/*
 * Writes a value that was read, texts and numbers unchanged in meaning. False when it is nested deeper
 * than `depth_max` (at most 63 less the writer's own depth); what was written is then no JSON.
 */
bool json_copy(struct json_writer *w, struct json_value v, int depth_max) MUST_USE;

/* The text as a JSON string with its quotes, for whoever writes without a writer. */
void json_quote(struct buf *out, struct str value);

#endif
