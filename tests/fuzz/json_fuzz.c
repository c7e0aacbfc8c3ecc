/* json_fuzz.c - arbitrary bytes as JSON: what is read is written and read again without a change. */
/* rooms: json base */
#include "json/json.h"

#include <stdlib.h>

#include "fuzz/fuzz.h"

enum { TEXT_MAX = 64 << 20 };

/* Parses a copy that has the padding, filled with what would go on with the text. */
static enum status parse(struct json_doc *doc, struct str text, char **copy,
                         struct json_value *root, struct problem *why) {
    *copy = malloc(text.n + JSON_PADDING);
    assert(*copy);
    if (text.n)
        memcpy(*copy, text.p, text.n);
    memset(*copy + text.n, ']', JSON_PADDING);
    return json_parse(doc, *copy, text.n, root, why);
}

/* Writes a value as what it was read as; numbers that are no int64_t go by a letter. */
static void write_value(struct json_writer *w, struct json_value v) {
    struct json_iter it;
    struct json_value item;
    struct str key;
    int64_t n = 0;
    if (w->depth == 60) { /* the writer nests 64 levels, the reader more */
        json_null_value(w);
        return;
    }
    switch (json_type(v)) {
    case JSON_NULL:
        json_null_value(w);
        break;
    case JSON_BOOL:
        json_bool_value(w, json_bool(v));
        break;
    case JSON_INT:
        assert(json_i64(v, &n));
        json_i64_value(w, n);
        break;
    case JSON_UINT:
        assert(!json_i64(v, &n) && json_f64(v) > 0);
        json_str_value(w, STR("u"));
        break;
    case JSON_DOUBLE:
        assert(!json_i64(v, &n));
        json_str_value(w, STR("d"));
        break;
    case JSON_STRING:
        json_str_value(w, json_str(v));
        break;
    case JSON_ARRAY:
        json_begin_array(w);
        for (json_items(&it, v); json_next(&it, &item);)
            write_value(w, item);
        json_end_array(w);
        break;
    case JSON_OBJECT:
        json_begin_object(w);
        for (json_fields(&it, v); json_next_field(&it, &key, &item);) {
            json_key(w, key);
            write_value(w, item);
        }
        json_end_object(w);
        break;
    }
}

static struct buf write_text(struct json_value v, int indent) {
    struct buf out;
    struct json_writer w;
    buf_init(&out, TEXT_MAX);
    json_writer_init(&w, &out, indent);
    write_value(&w, v);
    assert(buf_status(&out) == ST_OK && w.depth == 0);
    return out;
}

/* Each member's span, cut out, is the member's value. */
static void check_spans(struct json_doc *other, const char *text, size_t size,
                        struct json_value root) {
    struct json_iter it;
    struct json_value value, again;
    struct str key;
    struct json_span k, v;
    size_t last = 0;
    for (json_fields(&it, root); json_next_member(&it, &key, &value, &k, &v);) {
        assert(last < k.begin && k.begin < k.end && k.end < v.begin && v.begin < v.end);
        assert(v.end < size);
        last = v.end;
        char *copy;
        enum status st =
            parse(other, (struct str){text + v.begin, v.end - v.begin}, &copy, &again, NULL);
        assert(st == ST_OK && json_type(again) == json_type(value));
        struct buf a = write_text(value, 0), b = write_text(again, 0);
        assert(str_eq(buf_view(&a), buf_view(&b)));
        buf_destroy(&a);
        buf_destroy(&b);
        free(copy);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct json_doc *doc = json_doc_new(), *other = json_doc_new();
    struct json_value root, again;
    struct problem why = {0};
    char *copy, *second;
    enum status st = parse(doc, (struct str){(const char *)data, size}, &copy, &root, &why);
    if (st != ST_OK) {
        /* The slow reader must find a fault in all that the fast one refuses. */
        assert(st == ST_BAD_JSON && strncmp(why.message, "at byte ", 8) == 0);
    } else {
        check_spans(other, copy, size, root);
        for (int indent = 0; indent <= 2; indent += 2) {
            struct buf once = write_text(root, indent);
            st = parse(other, buf_view(&once), &second, &again, NULL);
            assert(st == ST_OK);
            struct buf twice = write_text(again, indent);
            assert(str_eq(buf_view(&once), buf_view(&twice)));
            buf_destroy(&once);
            buf_destroy(&twice);
            free(second);
        }
    }
    free(copy);
    json_doc_free(doc);
    json_doc_free(other);
    return 0;
}
