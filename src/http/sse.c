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

/* So much is searched for the one end of a line before it is for the other: few lines are longer, and what
 * lies behind a line is not looked at with each of them again. */
enum { SEARCHED = 512 };

/* Cuts the first line off `s`, without its end; false when its end is not there. `has_cr_last`: it ends with
 * a CR behind which nothing has come yet. */
static bool cut_line(struct str *s, struct str *line, bool *has_cr_last) {
    for (size_t at = 0; at < s->n; at += SEARCHED) {
        size_t n = size_min(s->n - at, SEARCHED);
        const char *from = s->p + at;
        const char *lf = memchr(from, '\n', n);
        const char *cr = memchr(from, '\r', lf ? (size_t)(lf - from) : n);
        if (!lf && !cr)
            continue;
        size_t text_n = (size_t)((cr ? cr : lf) - s->p), end_n = 1;
        if (cr && text_n + 1 < s->n && cr[1] == '\n')
            end_n = 2;
        *line = (struct str){s->p, text_n};
        *s = str_skip(*s, text_n + end_n);
        *has_cr_last = cr && end_n == 1 && s->n == 0;
        return true;
    }
    return false;
}

/* The data of an event with several lines of it. */
static struct str join_data(struct sse *s, struct str raw) {
    struct str line, data;
    bool has_cr_last;
    buf_clear(&s->joined);
    if (!buf_reserve_slack(&s->joined, raw.n, SSE_SLACK)) {
        s->joined.overflowed = false;
        return STR("");
    }
    for (int n = 0; cut_line(&raw, &line, &has_cr_last);) {
        if (!data_of(line, &data))
            continue;
        if (n++)
            buf_char(&s->joined, '\n');
        buf_str(&s->joined, data);
    }
    return buf_view(&s->joined);
}

/* The whole event at the front of `in`, which begins an event; false when its end is not there. */
static bool next_in_place(struct sse *s, struct str *in, struct sse_event *event) {
    struct str rest = *in, line;
    struct str data = {NULL, 0}, more;
    int n_data_lines = 0;
    bool has_cr_last;
    while (cut_line(&rest, &line, &has_cr_last)) {
        if (line.n == 0) {
            *event =
                (struct sse_event){.raw = {in->p, in->n - rest.n}, .data = data, .is_whole = true};
            if (n_data_lines > 1)
                event->data = join_data(s, event->raw);
            s->after_cr = has_cr_last;
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

/* `in` without the LF at its front that belongs to a CR before it. */
static struct str skip_lf(const struct sse *s, struct str in) {
    return str_skip(in, s->after_cr && in.n && in.p[0] == '\n');
}

/*
 * Moves bytes up to and including the next line end from `in` to the carry. True when a line became
 * complete, which is then at line_at of the carry, so many bytes long.
 */
static bool take_line(struct sse *s, struct str *in, size_t *line_n) {
    struct str rest = skip_lf(s, *in), line;
    size_t n_skipped = in->n - rest.n;
    bool has_cr_last = false, is_line = cut_line(&rest, &line, &has_cr_last);
    size_t n = is_line ? in->n - rest.n : in->n;
    char *at = buf_reserve_slack(&s->carry, n, SSE_SLACK);
    if (!at) {
        /* Too long to be held back: from here on the event passes in pieces. */
        s->carry.overflowed = false;
        s->is_overlong = true;
        s->is_blank = s->line_at == s->carry.len;
        return false;
    }
    memcpy(at, in->p, n);
    buf_commit(&s->carry, n);
    *in = str_skip(*in, n);
    s->line_at += n_skipped;
    s->after_cr = has_cr_last;
    if (is_line) /* of which more may lie in the carry since reads before */
        *line_n = s->carry.len - s->line_at - (n - n_skipped - line.n);
    return is_line;
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
    forget_carry(s);
    struct str rest = skip_lf(s, *in), line;
    s->after_cr = false;
    while (s->is_overlong && cut_line(&rest, &line, &s->after_cr)) {
        s->is_overlong = !s->is_blank || line.n > 0;
        s->is_blank = true;
    }
    if (s->is_overlong) {
        s->is_blank = s->is_blank && rest.n == 0;
        rest = str_skip(rest, rest.n);
    }
    *event = (struct sse_event){.raw = {in->p, in->n - rest.n}};
    *in = rest;
    return true;
}

bool sse_next(struct sse *s, struct str *in, struct sse_event *event) {
    size_t line_n = 0;
    if (s->is_given && !s->is_overlong)
        forget_carry(s);
    if (s->is_overlong)
        return next_piece(s, in, event);
    if (s->carry.len == 0 && s->after_cr && in->n) {
        struct str rest = skip_lf(s, *in);
        s->after_cr = false;
        if (rest.n < in->n) {
            *event = (struct sse_event){.raw = {in->p, 1}, .is_rest = true};
            *in = rest;
            return true;
        }
    }
    if (s->carry.len == 0 && next_in_place(s, in, event))
        return true;
    while (in->n) {
        if (!take_line(s, in, &line_n))
            return s->is_overlong ? next_piece(s, in, event) : false;
        struct str line = {s->carry.p + s->line_at, line_n};
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
