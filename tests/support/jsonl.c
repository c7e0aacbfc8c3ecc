#include "support/jsonl.h"

#define DEPTH_MAX 32

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static void skip_blanks(struct str *s) {
    while (s->n && is_blank(s->p[0]))
        *s = str_skip(*s, 1);
}

static bool take(struct str *s, char c) {
    if (s->n == 0 || s->p[0] != c)
        return false;
    *s = str_skip(*s, 1);
    return true;
}

static bool take_word(struct str *s, struct str word) {
    if (!str_starts(*s, word))
        return false;
    *s = str_skip(*s, word.n);
    return true;
}

static bool take_string(struct str *s) {
    if (!take(s, '"'))
        return false;
    while (s->n) {
        unsigned char c = (unsigned char)s->p[0];
        if (c == '"')
            return take(s, '"');
        if (c < 0x20)
            return false;
        *s = str_skip(*s, c == '\\' ? 2 : 1);
    }
    return false;
}

static size_t take_digits(struct str *s) {
    size_t n = 0;
    while (n < s->n && is_digit(s->p[n]))
        n++;
    *s = str_skip(*s, n);
    return n;
}

static bool take_number(struct str *s) {
    take(s, '-');
    if (take_digits(s) == 0 || (take(s, '.') && take_digits(s) == 0))
        return false;
    if (take(s, 'e') || take(s, 'E')) {
        if (!take(s, '+'))
            take(s, '-');
        return take_digits(s) > 0;
    }
    return true;
}

static bool take_value(struct str *s, int depth) {
    skip_blanks(s);
    if (s->n == 0 || depth > DEPTH_MAX)
        return false;
    char open = s->p[0];
    if (open == '"')
        return take_string(s);
    if (open == '-' || is_digit(open))
        return take_number(s);
    if (open != '{' && open != '[')
        return take_word(s, STR("true")) || take_word(s, STR("false")) || take_word(s, STR("null"));
    char close = open == '{' ? '}' : ']';
    *s = str_skip(*s, 1);
    skip_blanks(s);
    if (take(s, close))
        return true;
    for (;;) {
        skip_blanks(s);
        if (open == '{') {
            if (!take_string(s))
                return false;
            skip_blanks(s);
            if (!take(s, ':'))
                return false;
        }
        if (!take_value(s, depth + 1))
            return false;
        skip_blanks(s);
        if (take(s, close))
            return true;
        if (!take(s, ','))
            return false;
    }
}

bool jsonl_value(struct str *text, struct str *value) {
    skip_blanks(text);
    struct str rest = *text;
    if (!take_value(&rest, 0))
        return false;
    *value = (struct str){text->p, text->n - rest.n};
    skip_blanks(&rest);
    *text = rest;
    return true;
}

/* The bracket or the comma before the next element; false at the end. */
static bool next_element(struct str *rest, char open) {
    skip_blanks(rest);
    if (!take(rest, open) && !take(rest, ','))
        return false;
    skip_blanks(rest);
    return rest->n && rest->p[0] != ']' && rest->p[0] != '}';
}

bool jsonl_item(struct str *rest, struct str *item) {
    return next_element(rest, '[') && jsonl_value(rest, item);
}

bool jsonl_pair(struct str *rest, struct str *key, struct str *value) {
    if (!next_element(rest, '{') || !jsonl_value(rest, key) || key->n < 2 || !take(rest, ':'))
        return false;
    *key = (struct str){key->p + 1, key->n - 2};
    return jsonl_value(rest, value);
}

bool jsonl_member(struct str object, const char *name, struct str *value) {
    struct str key, found;
    while (jsonl_pair(&object, &key, &found)) {
        if (str_eq(key, str_of(name))) {
            *value = found;
            return !str_eq(found, STR("null"));
        }
    }
    return false;
}

bool jsonl_i64(struct str value, int64_t *out) {
    return str_to_i64(value, out);
}

bool jsonl_u64(struct str value, uint64_t *out) {
    uint64_t v = 0;
    for (size_t i = 0; i < value.n; i++) {
        if (!is_digit(value.p[i]) || __builtin_mul_overflow(v, 10, &v) ||
            __builtin_add_overflow(v, (uint64_t)(value.p[i] - '0'), &v))
            return false;
    }
    *out = v;
    return value.n > 0;
}

bool jsonl_bool(struct str value, bool *out) {
    *out = str_eq(value, STR("true"));
    return *out || str_eq(value, STR("false"));
}

bool jsonl_text(struct str value, struct str *out) {
    if (value.n < 2 || value.p[0] != '"' || memchr(value.p, '\\', value.n))
        return false;
    *out = (struct str){value.p + 1, value.n - 2};
    return true;
}
