#include "call/usage.h"

#include "admit/reservation.h"

/* --- by the parser --- */

/* What is no count of tokens is as good as absent; sums of what is beyond any count could wrap. Of a
 * number that is said twice the larger one holds: servers that speak for several interfaces fill in the
 * names of one and leave those of the other at 0. */
static void read_count(struct json_value v, int64_t *out) {
    int64_t n;
    if (json_i64(v, &n) && n <= RESERVATION_TOKENS_MAX)
        *out = i64_max(*out, n);
}

/* {"cached_tokens": 1024} and {"reasoning_tokens": 0} */
static void read_details(struct json_value details, struct str name, int64_t *out) {
    struct json_value v;
    if (json_get(details, name, &v))
        read_count(v, out);
}

/* Which number a member is, or which one its details have; COUNT_OTHER when none. */
enum count { COUNT_PROMPT, COUNT_OUTPUT, COUNT_CACHED, COUNT_REASONING, COUNT_OTHER };

static enum count count_of(struct str name) {
    if (str_eq(name, STR("prompt_tokens")) || str_eq(name, STR("input_tokens")))
        return COUNT_PROMPT;
    if (str_eq(name, STR("completion_tokens")) || str_eq(name, STR("output_tokens")))
        return COUNT_OUTPUT;
    return COUNT_OTHER;
}

static enum count details_of(struct str name) {
    if (str_eq(name, STR("prompt_tokens_details")) || str_eq(name, STR("input_tokens_details")))
        return COUNT_CACHED;
    if (str_eq(name, STR("completion_tokens_details")) ||
        str_eq(name, STR("output_tokens_details")))
        return COUNT_REASONING;
    return COUNT_OTHER;
}

static struct str name_in_details(enum count which) {
    return which == COUNT_CACHED ? STR("cached_tokens") : STR("reasoning_tokens");
}

static int64_t *place_of(struct usage *u, enum count which) {
    switch (which) {
    case COUNT_PROMPT:
        return &u->prompt;
    case COUNT_OUTPUT:
        return &u->output;
    case COUNT_CACHED:
        return &u->cached;
    case COUNT_REASONING:
        return &u->reasoning;
    case COUNT_OTHER:
        break;
    }
    return NULL;
}

bool usage_read(struct json_value v, struct usage *out) {
    struct usage u = {-1, -1, -1, -1};
    struct json_iter it;
    struct str key;
    if (json_type(v) != JSON_OBJECT)
        return false;
    json_fields(&it, v);
    while (json_next_field(&it, &key, &v)) {
        enum count which = count_of(key), inside = details_of(key);
        if (which != COUNT_OTHER)
            read_count(v, place_of(&u, which));
        else if (inside != COUNT_OTHER)
            read_details(v, name_in_details(inside), place_of(&u, inside));
    }
    if (u.prompt < 0 && u.output < 0)
        return false;
    *out = u;
    return true;
}

/* --- by eye --- */

/* What is left of the text. A function that returns false may have taken some of it. */
static void skip_blanks(struct str *s) {
    while (s->n && (*s->p == ' ' || *s->p == '\n' || *s->p == '\r' || *s->p == '\t'))
        *s = str_skip(*s, 1);
}

static bool take(struct str *s, char c) {
    skip_blanks(s);
    if (s->n == 0 || *s->p != c)
        return false;
    *s = str_skip(*s, 1);
    return true;
}

/* A string without escapes; the view is what stands between its quotes. */
static bool take_string(struct str *s, struct str *out) {
    if (!take(s, '"'))
        return false;
    const char *end = memchr(s->p, '"', s->n);
    if (!end)
        return false;
    *out = (struct str){s->p, (size_t)(end - s->p)};
    *s = str_skip(*s, out->n + 1);
    return !memchr(out->p, '\\', out->n);
}

/* A number of at most 12 digits and nothing else: less than any number that would not count. */
static bool take_count(struct str *s, int64_t *out) {
    enum { DIGITS_MAX = 12 };
    static_assert(RESERVATION_TOKENS_MAX >= INT64_C(999999999999), "twelve digits always count");
    int64_t v = 0;
    size_t n = 0;
    skip_blanks(s);
    for (; n < s->n && n <= DIGITS_MAX && s->p[n] >= '0' && s->p[n] <= '9'; n++)
        v = 10 * v + (s->p[n] - '0');
    if (n == 0 || n > DIGITS_MAX || n == s->n || (n > 1 && *s->p == '0') || s->p[n] == '.' ||
        s->p[n] == 'e' || s->p[n] == 'E')
        return false;
    *out = v;
    *s = str_skip(*s, n);
    return true;
}

/* The bytes of a string with its quotes, which stand at both ends; 0 when the last one is missing. */
static size_t string_length(struct str s) {
    for (size_t i = 1; i < s.n; i += s.p[i] == '\\' ? 2 : 1) {
        if (s.p[i] == '"')
            return i + 1;
    }
    return 0;
}

/* Any value that does not count. */
static bool skip_value(struct str *s) {
    size_t depth = 0, n = 0;
    skip_blanks(s);
    while (n < s->n) {
        char c = s->p[n];
        if (depth == 0 && (c == ',' || c == '}' || c == ']'))
            break;
        if (c == '"') {
            size_t length = string_length(str_skip(*s, n));
            if (length == 0)
                return false;
            n += length;
            continue;
        }
        depth += c == '{' || c == '[';
        depth -= c == '}' || c == ']';
        n++;
    }
    *s = str_skip(*s, n);
    return n > 0;
}

/* Of a member that counts: its number, or null, which is as good as absent. */
static bool take_value(struct str *s, int64_t *out) {
    int64_t n;
    skip_blanks(s);
    if (s->n >= 4 && memcmp(s->p, "null", 4) == 0) {
        *s = str_skip(*s, 4);
        return true;
    }
    if (!take_count(s, &n))
        return false;
    *out = i64_max(*out, n);
    return true;
}

/* An object of which the member of this name counts. */
static bool take_details(struct str *s, struct str name, int64_t *out) {
    struct str key;
    bool has_counted = false;
    if (!take(s, '{'))
        return skip_value(s); /* null, most likely */
    if (take(s, '}'))
        return true;
    do {
        if (!take_string(s, &key) || !take(s, ':'))
            return false;
        bool counts = str_eq(key, name);
        if ((counts && has_counted) || !(counts ? take_value(s, out) : skip_value(s)))
            return false;
        has_counted |= counts;
    } while (take(s, ','));
    return take(s, '}');
}

static bool take_member(struct str *s, struct usage *u) {
    struct str key;
    if (!take_string(s, &key) || !take(s, ':'))
        return false;
    enum count which = count_of(key), inside = details_of(key);
    if (which != COUNT_OTHER)
        return take_value(s, place_of(u, which));
    if (inside != COUNT_OTHER)
        return take_details(s, name_in_details(inside), place_of(u, inside));
    return skip_value(s);
}

size_t usage_length(struct str text) {
    struct str s = text;
    return skip_value(&s) ? text.n - s.n : 0;
}

bool usage_scan(struct str text, struct usage *out, size_t *n) {
    struct usage u = {-1, -1, -1, -1};
    struct str s = text;
    if (!take(&s, '{'))
        return false;
    do {
        if (!take_member(&s, &u))
            return false;
    } while (take(&s, ','));
    if (!take(&s, '}') || (u.prompt < 0 && u.output < 0))
        return false;
    *out = u;
    *n = text.n - s.n;
    return true;
}
