#include "http/message.h"

#include <llhttp.h>
#include <stdlib.h>

_Static_assert(sizeof(llhttp_t) <= HTTP_PARSER_SIZE, "the parser fits in its reader");

enum { MAX_FIELDS = 128 };

static llhttp_t *parser_of(struct http_reader *r) {
    return (llhttp_t *)(void *)r->parser;
}

static struct http_reader *reader_of(llhttp_t *p) {
    return p->data;
}

/* --- callbacks: while a head is read, they see the reader's own text --- */

static int refuse(struct http_reader *r, enum status st, const char *text) {
    if (r->error == ST_OK) {
        r->error = st;
        r->error_text = text;
    }
    return -1;
}

/* A view into the text, which has moved. */
static void move(struct str *view, const char *from, const char *to) {
    if (view->p)
        view->p = to + (view->p - from);
}

static void move_views(struct http_reader *r, const char *from) {
    struct http_head *h = &r->head;
    const char *to = r->text.p;
    move(&h->method, from, to);
    move(&h->target, from, to);
    move(&h->reason, from, to);
    for (size_t i = 0; i < h->n_fields; i++) {
        move(&h->fields[i].name, from, to);
        move(&h->fields[i].value, from, to);
    }
}

/*
 * Fields behind a chunked body are dropped, as RFC 9110 section 6.5.1 allows: nothing that we need
 * may come so late, and the text that the head's views point into must not move.
 */
static int drop_trailer(struct http_reader *r, size_t n) {
    r->trailer_bytes += n;
    if (r->trailer_bytes > r->text.ceiling)
        return refuse(r, ST_HEAD_TOO_LARGE, "the trailer is too large");
    return 0;
}

/* A text that may come in several pieces, which follow each other. */
static int extend(struct str *view, const char *at, size_t n) {
    if (!view->p)
        view->p = at;
    view->n += n;
    return 0;
}

static int on_method(llhttp_t *p, const char *at, size_t n) {
    return extend(&reader_of(p)->head.method, at, n);
}

static int on_target(llhttp_t *p, const char *at, size_t n) {
    return extend(&reader_of(p)->head.target, at, n);
}

static int on_reason(llhttp_t *p, const char *at, size_t n) {
    return extend(&reader_of(p)->head.reason, at, n);
}

static struct http_field *last_field(struct http_reader *r) {
    return &r->head.fields[r->head.n_fields - 1];
}

/* What does not follow the last name's bytes begins a name of its own. */
static int on_name(llhttp_t *p, const char *at, size_t n) {
    struct http_reader *r = reader_of(p);
    struct http_head *h = &r->head;
    if (!r->in_head)
        return drop_trailer(r, n);
    if (h->n_fields == 0 || last_field(r)->name.p + last_field(r)->name.n != at) {
        if (h->n_fields == MAX_FIELDS)
            return refuse(r, ST_HEAD_TOO_LARGE, "too many header fields");
        struct http_field *field = (void *)buf_reserve(&r->fields, sizeof *field);
        assert(field);
        h->fields = (void *)r->fields.p;
        h->n_fields++;
        buf_commit(&r->fields, sizeof *field);
        *field = (struct http_field){.name = {at, 0}};
    }
    last_field(r)->name.n += n;
    return 0;
}

static int on_value(llhttp_t *p, const char *at, size_t n) {
    struct http_reader *r = reader_of(p);
    if (!r->in_head)
        return drop_trailer(r, n);
    return extend(&last_field(r)->value, at, n);
}

/* What the parser lets pass and we don't. */
static int judge_head(struct http_reader *r) {
    struct http_head *h = &r->head;
    size_t n_length = 0, n_encoding = 0, n_host = 0;
    for (size_t i = 0; i < h->n_fields; i++) {
        struct http_field *f = &h->fields[i];
        struct str value = f->value.p ? str_trim(f->value) : str_skip(f->name, f->name.n);
        if (f->name.n == 0)
            return refuse(r, ST_BAD_HTTP, "a header field has no name");
        f->value = value;
        f->id = http_name_of(f->name);
        h->has |= HTTP_SET(f->id);
        if (f->id == HTTP_HOST) {
            n_host++;
        } else if (f->id == HTTP_CONTENT_LENGTH) {
            n_length++;
        } else if (f->id == HTTP_EXPECT) {
            bool is_continue = str_ieq(value, STR("100-continue"));
            h->expects_continue |= is_continue;
            h->has_other_expectation |= !is_continue;
        } else if (f->id == HTTP_CONNECTION) {
            h->has_nominations |=
                !str_ieq(value, STR("keep-alive")) && !str_ieq(value, STR("close"));
        } else if (f->id == HTTP_TRANSFER_ENCODING) {
            n_encoding++;
            if (!str_ieq(value, STR("chunked")))
                return refuse(r, ST_BAD_HTTP, "the only transfer encoding understood is chunked");
        }
    }
    if (n_length && n_encoding)
        return refuse(r, ST_BAD_HTTP, "both Content-Length and Transfer-Encoding");
    if (n_length > 1 || n_encoding > 1)
        return refuse(r, ST_BAD_HTTP, "the body's length is given twice");
    if (r->is_request && h->minor == 0 && n_encoding)
        return refuse(r, ST_BAD_HTTP, "Transfer-Encoding in HTTP/1.0");
    if (r->is_request && (n_host > 1 || (h->minor == 1 && n_host == 0)))
        return refuse(r, ST_BAD_HTTP, "exactly one Host header is required");
    return 0;
}

static int on_head(llhttp_t *p) {
    struct http_reader *r = reader_of(p);
    struct http_head *h = &r->head;
    h->status = p->status_code;
    h->minor = p->http_minor;
    h->content_length = p->flags & F_CONTENT_LENGTH ? (int64_t)p->content_length : -1;
    h->is_chunked = (p->flags & F_CHUNKED) != 0;
    h->keep_alive = llhttp_should_keep_alive(p) != 0;
    if (p->http_major != 1 || p->http_minor > 1)
        return refuse(r, ST_VERSION_NOT_SUPPORTED, "only HTTP/1.1 and HTTP/1.0 are spoken here");
    if (p->flags & F_CONTENT_LENGTH && p->content_length > INT64_MAX / 2)
        return refuse(r, ST_TOO_LARGE, "Content-Length is beyond any limit");
    if (!r->is_request) {
        if (p->status_code < 100 || p->status_code > 999)
            return refuse(r, ST_BAD_HTTP, "a status has three digits");
        /* These end with their head, whatever length it claims (RFC 9112, section 6.3); the parser
         * would read on, and take what follows for a body. */
        if (p->status_code < 200 || p->status_code == 204 || p->status_code == 304)
            p->flags |= F_SKIPBODY;
    }
    if (judge_head(r) != 0)
        return -1;
    r->in_head = false;
    r->event = HTTP_EV_HEAD;
    return HPE_PAUSED;
}

static int on_body(llhttp_t *p, const char *at, size_t n) {
    struct http_reader *r = reader_of(p);
    if (n == 0)
        return 0;
    r->piece = (struct str){at, n};
    r->event = HTTP_EV_BODY;
    return HPE_PAUSED;
}

static int on_end(llhttp_t *p) {
    struct http_reader *r = reader_of(p);
    r->event = HTTP_EV_END;
    r->in_head = true;
    r->has_begun = false;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings_request = {
    .on_method = on_method,
    .on_url = on_target,
    .on_header_field = on_name,
    .on_header_value = on_value,
    .on_headers_complete = on_head,
    .on_body = on_body,
    .on_message_complete = on_end,
};

static const llhttp_settings_t settings_response = {
    .on_status = on_reason,
    .on_header_field = on_name,
    .on_header_value = on_value,
    .on_headers_complete = on_head,
    .on_body = on_body,
    .on_message_complete = on_end,
};

/* --- the reader --- */

void http_reader_init(struct http_reader *r, bool is_request, size_t head_ceiling) {
    *r = (struct http_reader){.is_request = is_request, .in_head = true};
    buf_init(&r->text, head_ceiling);
    buf_init(&r->fields, MAX_FIELDS * sizeof(struct http_field));
    llhttp_init(parser_of(r), is_request ? HTTP_REQUEST : HTTP_RESPONSE,
                is_request ? &settings_request : &settings_response);
    parser_of(r)->data = r;
}

void http_reader_destroy(struct http_reader *r) {
    http_reader_drop_head(r);
    *r = (struct http_reader){0};
}

void http_reader_drop_head(struct http_reader *r) {
    struct http_head *h = &r->head;
    *h = (struct http_head){.status = h->status,
                            .minor = h->minor,
                            .content_length = h->content_length,
                            .is_chunked = h->is_chunked,
                            .keep_alive = h->keep_alive};
    shelf_give(r->shelf, &r->text);
    shelf_give(r->shelf, &r->fields);
}

static enum http_event fail(struct http_reader *r, enum status st, const char *text) {
    refuse(r, st, text);
    return HTTP_EV_ERROR;
}

/* Lets the parser at n bytes; how many of them it took is in *n. */
static enum http_event run(struct http_reader *r, const char *at, size_t *n) {
    llhttp_t *p = parser_of(r);
    if (r->is_paused) {
        llhttp_resume(p);
        r->is_paused = false;
    }
    r->event = HTTP_EV_MORE;
    enum llhttp_errno e = llhttp_execute(p, at, *n);
    if (LIKELY(e == HPE_PAUSED)) {
        r->is_paused = true;
        *n = (size_t)(llhttp_get_error_pos(p) - at);
        return (enum http_event)r->event;
    }
    if (LIKELY(e == HPE_OK))
        return (enum http_event)r->event;
    if (e == HPE_INVALID_VERSION)
        return fail(r, ST_VERSION_NOT_SUPPORTED, "only HTTP/1.1 and HTTP/1.0 are spoken here");
    if (e == HPE_PAUSED_UPGRADE || e == HPE_PAUSED_H2_UPGRADE)
        return fail(r, ST_BAD_HTTP, "protocol upgrades are not offered here");
    const char *reason = llhttp_get_error_reason(p);
    return fail(r, ST_BAD_HTTP, reason && *reason ? reason : "the message is malformed");
}

/*
 * How many of the bytes belong to the head: up to and including its blank line, or all. False for bare
 * line feeds and folded lines: the parser takes both for line ends, other servers may not. Looks at
 * line feeds only, so it costs one memchr a line.
 */
static bool measure_head(struct http_reader *r, struct str bytes, size_t *n) {
    const char *line = bytes.p, *end = bytes.p + bytes.n;
    while (line < end) {
        if (r->last_byte == '\n' && r->has_line && (*line == ' ' || *line == '\t'))
            return false;
        const char *lf = memchr(line, '\n', (size_t)(end - line));
        if (!lf) {
            r->line_bytes += (size_t)(end - line);
            r->last_byte = end[-1];
            line = end;
            break;
        }
        if ((lf > line ? lf[-1] : r->last_byte) != '\r')
            return false;
        bool is_blank = r->line_bytes + (size_t)(lf - line) == 1;
        line = lf + 1;
        r->line_bytes = 0;
        r->last_byte = '\n';
        if (is_blank && r->has_line)
            break;
        r->has_line |= !is_blank; /* blank lines in front of a message are not of it */
    }
    *n = (size_t)(line - bytes.p);
    return true;
}

static void begin_head(struct http_reader *r) {
    if (!r->text.p)
        shelf_take(r->shelf, &r->text);
    if (!r->fields.p)
        shelf_take(r->shelf, &r->fields);
    buf_clear(&r->text);
    buf_clear(&r->fields);
    r->head = (struct http_head){.fields = (void *)r->fields.p};
    r->trailer_bytes = r->line_bytes = 0;
    r->last_byte = '\0';
    r->has_line = false;
    r->has_begun = true;
}

/* The head is copied first and parsed from the copy, so that all views stand in one place. */
static enum http_event read_head(struct http_reader *r, struct str *in) {
    enum http_event event = HTTP_EV_MORE;
    while (event == HTTP_EV_MORE && in->n) {
        size_t n;
        if (!r->has_begun)
            begin_head(r);
        if (!measure_head(r, *in, &n))
            return fail(r, ST_BAD_HTTP, "a header line ends without CR LF or is folded");
        size_t fits = size_min(n, r->text.ceiling - r->text.len), taken = fits;
        const char *before = r->text.p;
        char *at = buf_reserve(&r->text, fits);
        if (UNLIKELY(r->text.p != before))
            move_views(r, before);
        memcpy(at, in->p, fits);
        buf_commit(&r->text, fits);
        event = run(r, at, &taken);
        if (event == HTTP_EV_MORE && fits < n)
            return fail(r, ST_HEAD_TOO_LARGE, "the head is too large");
        *in = str_skip(*in, event == HTTP_EV_MORE ? n : taken);
    }
    return event;
}

enum http_event http_read(struct http_reader *r, struct str *in, struct str *body) {
    if (r->error != ST_OK)
        return HTTP_EV_ERROR;
    if (r->in_head)
        return read_head(r, in);
    size_t n = in->n;
    enum http_event event = run(r, in->p, &n);
    *in = str_skip(*in, n);
    if (event == HTTP_EV_BODY)
        *body = r->piece;
    return event;
}

enum http_event http_read_eof(struct http_reader *r) {
    if (r->error != ST_OK)
        return HTTP_EV_ERROR;
    llhttp_t *p = parser_of(r);
    if (r->is_paused) {
        llhttp_resume(p);
        r->is_paused = false;
    }
    if (http_reader_is_idle(r))
        return HTTP_EV_MORE;
    r->event = HTTP_EV_MORE;
    enum llhttp_errno e = llhttp_finish(p);
    if ((e == HPE_OK || e == HPE_PAUSED) && r->event == HTTP_EV_END) {
        r->is_paused = e == HPE_PAUSED;
        return HTTP_EV_END;
    }
    return fail(r, ST_BAD_HTTP, "the message ended early");
}

bool http_reader_is_idle(const struct http_reader *r) {
    return r->in_head && !r->has_begun && r->error == ST_OK;
}

struct str http_head_find(const struct http_head *h, enum http_name id) {
    assert(id != HTTP_OTHER);
    if (http_set_has(h->has, id)) {
        for (size_t i = 0; i < h->n_fields; i++) {
            if (h->fields[i].id == id)
                return h->fields[i].value;
        }
    }
    return (struct str){NULL, 0};
}

struct str http_head_get(const struct http_head *h, struct str name) {
    for (size_t i = 0; i < h->n_fields; i++) {
        if (str_ieq(h->fields[i].name, name))
            return h->fields[i].value;
    }
    return (struct str){NULL, 0};
}

size_t http_head_count(const struct http_head *h, struct str name) {
    size_t n = 0;
    for (size_t i = 0; i < h->n_fields; i++)
        n += str_ieq(h->fields[i].name, name);
    return n;
}

bool http_is_nominated(const struct http_head *h, struct str name) {
    for (size_t i = 0; h->has_nominations && i < h->n_fields; i++) {
        if (h->fields[i].id != HTTP_CONNECTION)
            continue;
        struct str rest = h->fields[i].value, option;
        while (str_cut(&rest, ',', &option)) {
            if (str_ieq(str_trim(option), name))
                return true;
        }
    }
    return false;
}

void http_put_status_line(struct buf *out, int status) {
    buf_lit(out, "HTTP/1.1 ");
    buf_i64(out, status);
    buf_char(out, ' ');
    buf_str(out, http_reason(status));
    buf_lit(out, "\r\n");
}

/* Whether a byte below 0x20 is among them; exact enough, since it is asked only for a slow path. */
static bool may_have_control(struct str s) {
    const uint64_t ones = UINT64_C(0x0101010101010101);
    size_t i = 0;
    for (; s.n - i >= 8; i += 8) {
        uint64_t x;
        memcpy(&x, s.p + i, 8);
        if ((x - ones * 0x20) & ~x & ones << 7)
            return true;
    }
    for (; i < s.n; i++) {
        if ((unsigned char)s.p[i] < 0x20)
            return true;
    }
    return false;
}

void http_put_field(struct buf *out, struct str name, struct str value) {
    char *at = buf_reserve(out, name.n + value.n + 4);
    if (!at)
        return;
    memcpy(at, name.p, name.n);
    at += name.n;
    *at++ = ':';
    *at++ = ' ';
    if (value.n)
        memcpy(at, value.p, value.n);
    if (UNLIKELY(may_have_control(value))) {
        for (size_t i = 0; i < value.n; i++)
            at[i] = (unsigned char)at[i] < 0x20 && at[i] != '\t' ? ' ' : at[i];
    }
    at += value.n;
    *at++ = '\r';
    *at++ = '\n';
    buf_commit(out, name.n + value.n + 4);
}

void http_put_field_i64(struct buf *out, struct str name, int64_t value) {
    char digits[21];
    size_t n = 0;
    if (value < 0)
        digits[n++] = '-';
    n += u64_format(value < 0 ? -(uint64_t)value : (uint64_t)value, digits + n);
    http_put_field(out, name, (struct str){digits, n});
}

size_t http_chunk_line(char *line, size_t n) {
    assert(n > 0);
    size_t digits = ((size_t)(63 - __builtin_clzll(n)) / 4) + 1;
    for (size_t i = digits; i-- > 0; n >>= 4)
        line[i] = "0123456789abcdef"[n & 15];
    line[digits] = '\r';
    line[digits + 1] = '\n';
    return digits + 2;
}
