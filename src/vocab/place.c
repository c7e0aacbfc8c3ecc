#include "vocab/place.h"

static size_t skip_blanks(struct str text, size_t at) {
    while (at < text.n &&
           (text.p[at] == ' ' || text.p[at] == '\n' || text.p[at] == '\t' || text.p[at] == '\r'))
        at++;
    return at;
}

/* Behind the string that begins at `at`. */
static size_t skip_string(struct str text, size_t at) {
    for (at++; at < text.n && text.p[at] != '"'; at++)
        at += text.p[at] == '\\';
    return at < text.n ? at + 1 : text.n;
}

/* Behind the value that begins at `at`. */
static size_t skip_value(struct str text, size_t at) {
    size_t depth = 0;
    while (at < text.n) {
        char c = text.p[at];
        if (c == '"') {
            at = skip_string(text, at);
        } else if (c == '{' || c == '[') {
            depth++;
            at++;
            continue;
        } else if (c == '}' || c == ']') {
            if (depth == 0)
                return at; /* the end of what holds a scalar */
            depth--;
            at++;
        } else if (depth == 0 && (c == ',' || c == ' ' || c == '\n' || c == '\t' || c == '\r')) {
            return at;
        } else {
            at++;
            continue;
        }
        if (depth == 0)
            return at;
    }
    return at;
}

/* The value that the step leads to from the one at `at`; `at` itself when it leads nowhere. */
static size_t take_step(struct str text, size_t at, const struct place_step *step) {
    bool is_object = at < text.n && text.p[at] == '{';
    if (at >= text.n || (!is_object && text.p[at] != '['))
        return at;
    size_t here = skip_blanks(text, at + 1);
    for (size_t number = 0; here < text.n && text.p[here] != '}' && text.p[here] != ']'; number++) {
        struct str name = STR("");
        if (is_object) {
            size_t end = skip_string(text, here);
            if (end - here >= 2)
                name = (struct str){text.p + here + 1, end - here - 2};
            here = skip_blanks(text, skip_blanks(text, end) + 1); /* the colon */
        }
        if (step->name.n ? str_eq(name, step->name) : number == step->number)
            return here;
        here = skip_blanks(text, skip_value(text, here));
        if (here < text.n && text.p[here] == ',')
            here = skip_blanks(text, here + 1);
    }
    return at;
}

size_t place_line(struct str text, const struct place_step *steps, size_t n_steps) {
    size_t at = skip_blanks(text, 0), line = 1;
    for (size_t i = 0; i < n_steps; i++)
        at = take_step(text, at, &steps[i]);
    for (size_t i = 0; i < at && i < text.n; i++)
        line += text.p[i] == '\n';
    return line;
}
