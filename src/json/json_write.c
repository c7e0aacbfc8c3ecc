/* json_write.c - the writer of json.h: commas, escapes and indentation into a struct buf. */
#include "json/json.h"
#include "json/json_private.h"

void json_writer_init(struct json_writer *w, struct buf *out, int indent) {
    *w = (struct json_writer){.out = out, .indent = indent};
}

static void new_line(struct json_writer *w) {
    if (w->indent == 0)
        return;
    buf_char(w->out, '\n');
    for (int i = 0; i < w->indent * w->depth; i++)
        buf_char(w->out, ' ');
}

static bool in_object(const struct json_writer *w) {
    return w->depth > 0 && (w->is_object >> (w->depth - 1) & 1);
}

/* What stands before an item of a list. */
static void next_item(struct json_writer *w) {
    if (w->has_item)
        buf_char(w->out, ',');
    if (w->depth > 0)
        new_line(w);
    w->has_item = true;
}

static void before_value(struct json_writer *w) {
    assert(w->has_key == in_object(w));
    assert(w->depth > 0 || !w->has_item);
    if (!w->has_key)
        next_item(w);
    w->has_key = false;
}

static void open_level(struct json_writer *w, bool is_object) {
    before_value(w);
    assert(w->depth < 64);
    uint64_t bit = UINT64_C(1) << w->depth;
    w->is_object = is_object ? w->is_object | bit : w->is_object & ~bit;
    w->depth++;
    w->has_item = false;
    buf_char(w->out, is_object ? '{' : '[');
}

static void close_level(struct json_writer *w, bool is_object) {
    assert(w->depth > 0 && in_object(w) == is_object && !w->has_key);
    w->depth--;
    if (w->has_item)
        new_line(w);
    w->has_item = true; /* the level above now holds this one */
    buf_char(w->out, is_object ? '}' : ']');
}

void json_begin_object(struct json_writer *w) {
    open_level(w, true);
}

void json_end_object(struct json_writer *w) {
    close_level(w, true);
}

void json_begin_array(struct json_writer *w) {
    open_level(w, false);
}

void json_end_array(struct json_writer *w) {
    close_level(w, false);
}

/* A byte that stands for itself between quotes: printable ASCII but for the quote and backslash. */
static bool is_plain(char c) {
    return (unsigned char)c >= 0x20 && (unsigned char)c < 0x7f && c != '"' && c != '\\';
}

/* How many such bytes stand at the front: eight at a time. Per byte, the top bit of `odd` is set when
 * it is below 0x20, above 0x7e, a quote or a backslash; the first such bit is exact, and only the
 * first is used ("Bit Twiddling Hacks", hasless and haszero). */
static size_t plain_length(struct str s) {
    const uint64_t ones = UINT64_C(0x0101010101010101), tops = ones << 7;
    size_t n = 0;
    for (; s.n - n >= 8; n += 8) {
        uint64_t x;
        memcpy(&x, s.p + n, 8);
        uint64_t quote = x ^ ones * '"', backslash = x ^ ones * '\\', del = x ^ ones * 0x7f;
        uint64_t odd = (x - ones * 0x20) & ~x;
        odd |= x | ((quote - ones) & ~quote) | ((backslash - ones) & ~backslash) |
               ((del - ones) & ~del);
        if (odd & tops)
            break;
    }
    while (n < s.n && is_plain(s.p[n]))
        n++;
    return n;
}

static void put_escape(struct buf *out, char c) {
    static const char hex[] = "0123456789abcdef";
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
    const char *known = memchr(from, c, sizeof from - 1);
    if (known) {
        char pair[2] = {'\\', to[known - from]};
        buf_put(out, pair, sizeof pair);
    } else {
        char unit[6] = {
            '\\', 'u', '0', '0', hex[(unsigned char)c >> 4], hex[(unsigned char)c & 15]};
        buf_put(out, unit, sizeof unit);
    }
}

void json_quote(struct buf *out, struct str value) {
    buf_char(out, '"');
    while (value.n) {
        size_t n = plain_length(value);
        buf_put(out, value.p, n);
        value = str_skip(value, n);
        if (value.n == 0)
            break;
        if ((unsigned char)value.p[0] < 0x80) {
            put_escape(out, value.p[0]);
            n = 1;
        } else if ((n = json_utf8_length(value)) > 0) {
            buf_put(out, value.p, n);
        } else {
            buf_lit(out, "\xef\xbf\xbd"); /* U+FFFD */
            n = 1;
        }
        value = str_skip(value, n);
    }
    buf_char(out, '"');
}

void json_key(struct json_writer *w, struct str key) {
    assert(in_object(w) && !w->has_key);
    next_item(w);
    json_quote(w->out, key);
    buf_char(w->out, ':');
    if (w->indent)
        buf_char(w->out, ' ');
    w->has_key = true;
}

void json_str_value(struct json_writer *w, struct str value) {
    before_value(w);
    json_quote(w->out, value);
}

void json_i64_value(struct json_writer *w, int64_t value) {
    before_value(w);
    buf_i64(w->out, value);
}

void json_bool_value(struct json_writer *w, bool value) {
    before_value(w);
    if (value)
        buf_lit(w->out, "true");
    else
        buf_lit(w->out, "false");
}

void json_null_value(struct json_writer *w) {
    before_value(w);
    buf_lit(w->out, "null");
}

void json_raw(struct json_writer *w, struct str json) {
    before_value(w);
    buf_str(w->out, json);
}
