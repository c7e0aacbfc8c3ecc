#include "http/sse.h"

void sse_init(struct sse *s, size_t ceiling) {
    *s = (struct sse){0};
    buf_init(&s->carry, ceiling);
    buf_init(&s->joined, ceiling);
}

void sse_destroy(struct sse *s) {
    buf_destroy(&s->carry);
    buf_destroy(&s->joined);
}

/* The text of a `data:` line without its name and one blank; false for any other line. */
static bool data_of(struct str line, struct str *data) {
    if (!str_starts(line, STR("data:"))) {
        *data = str_skip(line, line.n);
        return str_eq(line, STR("data")); /* a name alone is a field without text */
    }
    line = str_skip(line, 5);
    *data = str_skip(line, line.n && line.p[0] == ' ');
    return true;
}

/* A line without the CR at its end. */
static struct str chomp(struct str line) {
    if (line.n && line.p[line.n - 1] == '\r')
        line.n--;
    return line;
}

/* The data of an event with several lines of it. */
static struct str join_data(struct sse *s, struct str raw) {
    struct str line, data;
    buf_clear(&s->joined);
    if (!buf_reserve_slack(&s->joined, raw.n, SSE_SLACK)) {
        s->joined.overflowed = false;
        return STR("");
    }
    for (int n = 0; str_cut(&raw, '\n', &line);) {
        if (!data_of(chomp(line), &data))
            continue;
        if (n++)
            buf_char(&s->joined, '\n');
        buf_str(&s->joined, data);
    }
    return buf_view(&s->joined);
}

/* The whole event at the front of `in`, which begins an event; false when its end is not there. */
static bool next_in_place(struct sse *s, struct str *in, struct sse_event *event) {
    struct str rest = *in;
    struct str data = {NULL, 0}, more;
    int n_data_lines = 0;
    while (rest.n) {
        const char *lf = memchr(rest.p, '\n', rest.n);
        if (!lf)
            return false;
        struct str line = chomp((struct str){rest.p, (size_t)(lf - rest.p)});
        rest = str_skip(rest, (size_t)(lf - rest.p) + 1);
        if (line.n == 0) {
            *event =
                (struct sse_event){.raw = {in->p, in->n - rest.n}, .data = data, .is_whole = true};
            if (n_data_lines > 1)
                event->data = join_data(s, event->raw);
            *in = rest;
            return true;
        }
        if (data_of(line, &more) && n_data_lines++ == 0)
            data = more;
    }
    return false;
}

static void forget_carry(struct sse *s) {
    buf_clear(&s->carry);
    s->line_at = s->data_at = s->data_n = 0;
    s->n_data_lines = 0;
    s->is_given = false;
}

/* Moves bytes up to the next line end from `in` to the carry. True when a line became complete. */
static bool take_line(struct sse *s, struct str *in) {
    const char *lf = memchr(in->p, '\n', in->n);
    size_t n = lf ? (size_t)(lf - in->p) + 1 : in->n;
    char *at = buf_reserve_slack(&s->carry, n, SSE_SLACK);
    if (!at) {
        /* Too long to be held back: from here on the event passes in pieces. */
        s->carry.overflowed = false;
        s->is_overlong = true;
        return false;
    }
    memcpy(at, in->p, n);
    buf_commit(&s->carry, n);
    *in = str_skip(*in, n);
    return lf != NULL;
}

/* In an overlong event: passes on everything up to and including the blank line that ends it. */
static bool next_piece(struct sse *s, struct str *in, struct sse_event *event) {
    if (s->carry.len && !s->is_given) {
        *event = (struct sse_event){.raw = buf_view(&s->carry)};
        s->is_given = true;
        return true;
    }
    if (in->n == 0)
        return false;
    /* Only the last line's text so far matters, and of it only whether it is blank: CR or nothing. */
    bool is_blank_so_far =
        s->is_given ? s->line_at == s->carry.len ||
                          (s->line_at + 1 == s->carry.len && s->carry.p[s->line_at] == '\r')
                    : s->line_at == 0;
    struct str rest = *in;
    bool has_ended = false;
    while (rest.n && !has_ended) {
        const char *lf = memchr(rest.p, '\n', rest.n);
        struct str line = {rest.p, lf ? (size_t)(lf - rest.p) : rest.n};
        bool is_blank = is_blank_so_far && chomp(line).n == 0;
        rest = str_skip(rest, lf ? line.n + 1 : line.n);
        has_ended = lf && is_blank;
        is_blank_so_far = lf ? true : is_blank;
    }
    *event = (struct sse_event){.raw = {in->p, in->n - rest.n}};
    *in = rest;
    forget_carry(s);
    s->line_at = is_blank_so_far ? 0 : 1;
    if (has_ended) {
        s->is_overlong = false;
        s->line_at = 0;
    }
    return true;
}

bool sse_next(struct sse *s, struct str *in, struct sse_event *event) {
    if (s->is_given && !s->is_overlong)
        forget_carry(s);
    if (s->is_overlong)
        return next_piece(s, in, event);
    if (s->carry.len == 0 && next_in_place(s, in, event))
        return true;
    while (in->n) {
        if (!take_line(s, in))
            return s->is_overlong ? next_piece(s, in, event) : false;
        struct str line =
            chomp((struct str){s->carry.p + s->line_at, s->carry.len - 1 - s->line_at});
        struct str data;
        if (line.n == 0) {
            *event = (struct sse_event){.raw = buf_view(&s->carry), .is_whole = true};
            if (s->n_data_lines == 1)
                event->data = (struct str){s->carry.p + s->data_at, s->data_n};
            else if (s->n_data_lines > 1)
                event->data = join_data(s, event->raw);
            s->is_given = true;
            return true;
        }
        if (data_of(line, &data) && s->n_data_lines++ == 0) {
            s->data_at = (size_t)(data.p - s->carry.p);
            s->data_n = data.n;
        }
        s->line_at = s->carry.len;
    }
    return false;
}

struct str sse_rest(struct sse *s) {
    if (s->is_given)
        forget_carry(s);
    return buf_view(&s->carry);
}
