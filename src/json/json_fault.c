/* json_fault.c - says where and why a text is no JSON; runs only once the fast parser has refused. */
#include "json/json.h"
#include "json/json_private.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

size_t json_utf8_length(struct str s) {
    if (s.n == 0)
        return 0;
    const unsigned char *p = (const unsigned char *)s.p;
    unsigned char c = p[0];
    if (c < 0x80)
        return 1;
    /* RFC 3629 section 4: the second byte's range depends on the first. */
    size_t n = c >= 0xc2 && c <= 0xdf ? 2 : (c & 0xf0) == 0xe0 ? 3 : c >= 0xf0 && c <= 0xf4 ? 4 : 0;
    if (n == 0 || s.n < n)
        return 0;
    unsigned char low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
    unsigned char high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    }
    return n;
}

/* The reader: a text, a place in it, and the first fault. */
struct reader {
    struct str text;
    size_t at;
    const char *reason; /* NULL while all is well */
};

static bool fail(struct reader *r, const char *reason) {
    r->reason = reason;
    return false;
}

/* The byte here, or -1 at the end. */
static int peek(const struct reader *r) {
    return r->at < r->text.n ? (unsigned char)r->text.p[r->at] : -1;
}

static void skip_blanks(struct reader *r) {
    for (int c = peek(r); c == ' ' || c == '\n' || c == '\t' || c == '\r'; c = peek(r))
        r->at++;
}

static bool read_hex4(struct reader *r, unsigned *out) {
    uint64_t value;
    if (r->text.n - r->at < 4 || !str_to_hex_u64((struct str){r->text.p + r->at, 4}, &value))
        return fail(r, "\\u must be followed by four hexadecimal digits");
    *out = (unsigned)value;
    r->at += 4;
    return true;
}

static bool read_escape(struct reader *r) {
    size_t begin = r->at++;
    int c = peek(r);
    if (c < 0)
        return fail(r, "the text ends inside a string");
    if (c != 'u') {
        if (!memchr("\"\\/bfnrt", c, 8))
            return fail(r, "a backslash must be followed by one of \"\\/bfnrtu");
        r->at++;
        return true;
    }
    r->at++;
    unsigned unit, low;
    if (!read_hex4(r, &unit))
        return false;
    if (unit < 0xd800 || unit > 0xdfff)
        return true;
    bool has_pair = unit < 0xdc00 && r->text.n - r->at >= 6 && r->text.p[r->at] == '\\' &&
                    r->text.p[r->at + 1] == 'u';
    if (has_pair) {
        r->at += 2;
        if (!read_hex4(r, &low))
            return false;
        if (low >= 0xdc00 && low <= 0xdfff)
            return true;
    }
    r->at = begin;
    return fail(r, "half of a surrogate pair; characters above U+FFFF take two \\u escapes");
}

static bool read_string(struct reader *r) {
    for (r->at++;;) {
        int c = peek(r);
        if (c < 0)
            return fail(r, "the text ends inside a string");
        if (c == '"') {
            r->at++;
            return true;
        }
        if (c < 0x20)
            return fail(r, "a control byte inside a string must be escaped");
        if (c == '\\') {
            if (!read_escape(r))
                return false;
            continue;
        }
        size_t n = json_utf8_length(str_skip(r->text, r->at));
        if (n == 0)
            return fail(r, "not valid UTF-8");
        r->at += n;
    }
}

static size_t read_digits(struct reader *r) {
    size_t begin = r->at;
    for (int c = peek(r); c >= '0' && c <= '9'; c = peek(r))
        r->at++;
    return r->at - begin;
}

/* Ranges as the fast parser has them: whole numbers of 64 bits, else finite doubles. */
static bool number_fits(struct str number, bool is_whole) {
    char *copy = str_dup(number); /* strtod wants a NUL behind it */
    errno = 0;
    bool fits;
    if (!is_whole) {
        fits = isfinite(strtod(copy, NULL));
    } else if (copy[0] == '-') {
        int64_t value;
        fits = str_to_i64(number, &value);
    } else {
        strtoull(copy, NULL, 10);
        fits = errno != ERANGE;
    }
    free(copy);
    return fits;
}

static bool read_number(struct reader *r) {
    size_t begin = r->at;
    if (peek(r) == '-')
        r->at++;
    size_t first = r->at, n = read_digits(r);
    if (n == 0)
        return fail(r, "a minus must be followed by a digit");
    if (n > 1 && r->text.p[first] == '0') {
        r->at = first;
        return fail(r, "a number must not begin with a zero");
    }
    bool is_whole = true;
    if (peek(r) == '.') {
        r->at++;
        is_whole = false;
        if (read_digits(r) == 0)
            return fail(r, "a digit must follow the decimal point");
    }
    if (peek(r) == 'e' || peek(r) == 'E') {
        r->at++;
        is_whole = false;
        if (peek(r) == '+' || peek(r) == '-')
            r->at++;
        if (read_digits(r) == 0)
            return fail(r, "a digit must follow the exponent's e");
    }
    if (number_fits((struct str){r->text.p + begin, r->at - begin}, is_whole))
        return true;
    r->at = begin;
    return fail(r, "a number out of range");
}

static bool read_scalar(struct reader *r) {
    int c = peek(r);
    if (c == '"')
        return read_string(r);
    if (c == '-' || (c >= '0' && c <= '9'))
        return read_number(r);
    static const struct str words[] = {STR_INIT("true"), STR_INIT("false"), STR_INIT("null")};
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (str_starts(str_skip(r->text, r->at), words[i])) {
            r->at += words[i].n;
            return true;
        }
    }
    return fail(r, c < 0 ? "the text ends where a value must stand" : "a value must stand here");
}

/* "key": of the member at hand. */
static bool read_key(struct reader *r) {
    skip_blanks(r);
    if (peek(r) != '"')
        return fail(r, "a key in double quotes must stand here");
    if (!read_string(r))
        return false;
    skip_blanks(r);
    if (peek(r) != ':')
        return fail(r, "a colon must follow the key");
    r->at++;
    return true;
}

/* One value with all that it holds; `is_object` remembers what is open, so there is no recursion. */
static bool read_value(struct reader *r) {
    bool is_object[JSON_DEPTH];
    size_t depth = 0;
    for (;;) {
        skip_blanks(r);
        int c = peek(r);
        if (c == '{' || c == '[') {
            r->at++;
            skip_blanks(r);
            if (peek(r) != (c == '{' ? '}' : ']')) {
                if (depth == JSON_DEPTH)
                    return fail(r, "nested too deeply (512 levels are allowed)");
                is_object[depth++] = c == '{';
                if (c == '{' && !read_key(r))
                    return false;
                continue;
            }
            r->at++;
        } else if (!read_scalar(r)) {
            return false;
        }
        /* A value is complete: close what ends here, then go on behind the comma. */
        for (;;) {
            if (depth == 0)
                return true;
            skip_blanks(r);
            c = peek(r);
            if (c != (is_object[depth - 1] ? '}' : ']'))
                break;
            r->at++;
            depth--;
        }
        if (c != ',')
            return fail(r, c < 0                  ? "the text ends inside an array or object"
                           : is_object[depth - 1] ? "a comma or } must stand here"
                                                  : "a comma or ] must stand here");
        r->at++;
        if (is_object[depth - 1] && !read_key(r))
            return false;
    }
}

bool json_find_fault(struct str text, struct json_fault *fault) {
    struct reader r = {.text = text};
    skip_blanks(&r);
    if (peek(&r) < 0)
        fail(&r, "the text is empty");
    else if (str_starts(text, STR("\xef\xbb\xbf")))
        fail(&r, "a byte order mark; save the text without one");
    else if (read_value(&r)) {
        skip_blanks(&r);
        if (peek(&r) >= 0)
            fail(&r, "something follows the end of the value");
    }
    if (!r.reason)
        return false;
    *fault = (struct json_fault){r.at, r.reason};
    return true;
}
