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

/* --- callbacks: each appends to the reader's text --- */

static int refuse(struct http_reader *r, enum status st, const char *text) {
    if (r->error == ST_OK) {
        r->error = st;
        r->error_text = text;
    }
    return -1;
}

/* The text has moved, and the views into it move along. */
static void move_fields(struct http_reader *r, const char *from) {
    struct http_head *h = &r->head;
    for (size_t i = 0; i < h->n_fields; i++) {
        h->fields[i].name.p = r->text.p + (h->fields[i].name.p - from);
        if (h->fields[i].value.p)
            h->fields[i].value.p = r->text.p + (h->fields[i].value.p - from);
    }
}

static int append(struct http_reader *r, const char *p, size_t n) {
    const char *before = r->text.p;
    if (LIKELY(n <= r->text.cap - r->text.len && r->text.cap <= r->text.ceiling)) {
        memcpy(r->text.p + r->text.len, p, n);
        r->text.len += n;
        return 0;
    }
    buf_put(&r->text, p, n);
    if (UNLIKELY(r->text.overflowed))
        return refuse(r, ST_HEAD_TOO_LARGE, "the head is too large");
    if (UNLIKELY(r->text.p != before))
        move_fields(r, before);
    return 0;
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

static int on_begin(llhttp_t *p) {
    struct http_reader *r = reader_of(p);
    buf_clear(&r->text);
    /* Most heads fit, so that they are not moved while they grow. */
    buf_reserve(&r->text, size_min(1024, r->text.ceiling));
    r->head.n_fields = 0;
    r->method_end = r->target_end = 0;
    r->trailer_bytes = 0;
    return 0;
}

static int on_text(llhttp_t *p, const char *at, size_t n) {
    return append(reader_of(p), at, n);
}

static int on_method_done(llhttp_t *p) {
    struct http_reader *r = reader_of(p);
    r->method_end = r->text.len;
    return 0;
}

static int on_target_done(llhttp_t *p) {
    struct http_reader *r = reader_of(p);
    r->target_end = r->text.len;
    return 0;
}

static struct http_field *last_field(struct http_reader *r) {
    return &r->head.fields[r->head.n_fields - 1];
}

/* A name may come in several pieces; the field is complete enough for the next when it has a value. */
static int on_name(llhttp_t *p, const char *at, size_t n) {
    struct http_reader *r = reader_of(p);
    struct http_head *h = &r->head;
    if (!r->in_head)
        return drop_trailer(r, n);
    if (h->n_fields == 0 || last_field(r)->value.p) {
        if (h->n_fields == MAX_FIELDS)
            return refuse(r, ST_HEAD_TOO_LARGE, "too many header fields");
        if (h->n_fields == r->cap_fields) {
            r->cap_fields = r->cap_fields ? r->cap_fields * 2 : 20;
            h->fields = xrealloc(h->fields, r->cap_fields * sizeof *h->fields);
        }
        h->fields[h->n_fields++] = (struct http_field){{r->text.p + r->text.len, 0}, {NULL, 0}};
    }
    last_field(r)->name.n += n;
    return append(r, at, n);
}

static int on_name_done(llhttp_t *p) {
    struct http_reader *r = reader_of(p);
    if (r->in_head)
        last_field(r)->value.p = r->text.p + r->text.len;
    return 0;
}

static int on_value(llhttp_t *p, const char *at, size_t n) {
    struct http_reader *r = reader_of(p);
    if (!r->in_head)
        return drop_trailer(r, n);
    last_field(r)->value.n += n;
    return append(r, at, n);
}

/* What the parser lets pass and we don't. */
static int judge_head(struct http_reader *r) {
    struct http_head *h = &r->head;
    size_t n_length = 0, n_encoding = 0, n_host = 0;
    for (size_t i = 0; i < h->n_fields; i++) {
        struct str name = h->fields[i].name, value = str_trim(h->fields[i].value);
        h->fields[i].value = value;
        switch (name.n) {
        case 0:
            return refuse(r, ST_BAD_HTTP, "a header field has no name");
        case 4:
            n_host += str_ieq(name, STR("host"));
            break;
        case 6:
            if (str_ieq(name, STR("expect"))) {
                h->expects_continue |= str_ieq(value, STR("100-continue"));
                h->has_other_expectation |= !str_ieq(value, STR("100-continue"));
            }
            break;
        case 10:
            if (str_ieq(name, STR("connection")))
                h->has_nominations |=
                    !str_ieq(value, STR("keep-alive")) && !str_ieq(value, STR("close"));
            break;
        case 14:
            n_length += str_ieq(name, STR("content-length"));
            break;
        case 17:
            if (str_ieq(name, STR("transfer-encoding"))) {
                n_encoding++;
                if (!str_ieq(value, STR("chunked")))
                    return refuse(r, ST_BAD_HTTP,
                                  "the only transfer encoding understood is chunked");
            }
            break;
        default:
            break;
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
    struct http_field *fields = r->head.fields;
    size_t n_fields = r->head.n_fields;
    r->head = (struct http_head){
        .fields = fields,
        .n_fields = n_fields,
        .status = p->status_code,
        .minor = p->http_minor,
        .content_length = p->flags & F_CONTENT_LENGTH ? (int64_t)p->content_length : -1,
        .is_chunked = (p->flags & F_CHUNKED) != 0,
        .keep_alive = llhttp_should_keep_alive(p) != 0,
    };
    if (p->http_major != 1 || p->http_minor > 1)
        return refuse(r, ST_VERSION_NOT_SUPPORTED, "only HTTP/1.1 and HTTP/1.0 are spoken here");
    if (p->flags & F_CONTENT_LENGTH && p->content_length > INT64_MAX / 2)
        return refuse(r, ST_TOO_LARGE, "Content-Length is beyond any limit");
    if (!r->is_request && (p->status_code < 100 || p->status_code > 999))
        return refuse(r, ST_BAD_HTTP, "a status has three digits");
    if (r->is_request) {
        r->head.method = (struct str){r->text.p, r->method_end};
        r->head.target = (struct str){r->text.p + r->method_end, r->target_end - r->method_end};
    } else {
        r->head.reason = (struct str){r->text.p, r->target_end};
        if (p->status_code < 100)
            return refuse(r, ST_BAD_HTTP, "the status is below 100");
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
    r->before_lf = 0;
    r->is_fold_possible = false;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings_request = {
    .on_message_begin = on_begin,
    .on_method = on_text,
    .on_method_complete = on_method_done,
    .on_url = on_text,
    .on_url_complete = on_target_done,
    .on_header_field = on_name,
    .on_header_field_complete = on_name_done,
    .on_header_value = on_value,
    .on_headers_complete = on_head,
    .on_body = on_body,
    .on_message_complete = on_end,
};

static const llhttp_settings_t settings_response = {
    .on_message_begin = on_begin,
    .on_status = on_text,
    .on_status_complete = on_target_done,
    .on_header_field = on_name,
    .on_header_field_complete = on_name_done,
    .on_header_value = on_value,
    .on_headers_complete = on_head,
    .on_body = on_body,
    .on_message_complete = on_end,
};

/* --- the reader --- */

void http_reader_init(struct http_reader *r, bool is_request, size_t head_ceiling) {
    *r = (struct http_reader){.is_request = is_request, .in_head = true};
    buf_init(&r->text, head_ceiling);
    llhttp_init(parser_of(r), is_request ? HTTP_REQUEST : HTTP_RESPONSE,
                is_request ? &settings_request : &settings_response);
    parser_of(r)->data = r;
}

void http_reader_destroy(struct http_reader *r) {
    http_reader_drop_head(r);
    *r = (struct http_reader){0};
}

void http_reader_drop_head(struct http_reader *r) {
    free(r->head.fields);
    r->head = (struct http_head){.status = r->head.status,
                                 .minor = r->head.minor,
                                 .content_length = r->head.content_length,
                                 .is_chunked = r->head.is_chunked,
                                 .keep_alive = r->head.keep_alive};
    r->cap_fields = 0;
    size_t ceiling = r->text.ceiling;
    buf_destroy(&r->text);
    buf_init(&r->text, ceiling);
}

/*
 * Refuses bare line feeds and folded lines in the head's bytes: the parser takes both for line
 * ends, other servers may not. Looks at line feeds only, so it costs one memchr a line.
 */
static bool has_strict_lines(struct http_reader *r, struct str bytes) {
    if (bytes.n == 0)
        return true;
    if (r->is_fold_possible && (bytes.p[0] == ' ' || bytes.p[0] == '\t'))
        return false;
    const char *end = bytes.p + bytes.n;
    for (const char *p = bytes.p; (p = memchr(p, '\n', (size_t)(end - p))) != NULL; p++) {
        char before = p > bytes.p ? p[-1] : r->before_lf;
        if (before != '\r')
            return false;
        if (p + 1 < end && (p[1] == ' ' || p[1] == '\t'))
            return false;
    }
    r->before_lf = end[-1];
    r->is_fold_possible = end[-1] == '\n';
    return true;
}

static enum http_event fail(struct http_reader *r, enum status st, const char *text) {
    refuse(r, st, text);
    return HTTP_EV_ERROR;
}

enum http_event http_read(struct http_reader *r, struct str *in, struct str *body) {
    if (r->error != ST_OK)
        return HTTP_EV_ERROR;
    llhttp_t *p = parser_of(r);
    if (r->is_paused) {
        llhttp_resume(p);
        r->is_paused = false;
    }
    r->event = HTTP_EV_MORE;
    bool was_in_head = r->in_head;
    const char *start = in->p;
    size_t n = in->n;
    enum llhttp_errno e = llhttp_execute(p, start, n);
    if (e == HPE_PAUSED) {
        r->is_paused = true;
        *in = str_skip(*in, (size_t)(llhttp_get_error_pos(p) - start));
    } else {
        *in = str_skip(*in, n);
    }
    if (was_in_head && !has_strict_lines(r, (struct str){start, n - in->n}))
        return fail(r, ST_BAD_HTTP, "a header line ends without CR LF or is folded");
    if (e != HPE_OK && e != HPE_PAUSED) {
        if (e == HPE_INVALID_VERSION)
            return fail(r, ST_VERSION_NOT_SUPPORTED, "only HTTP/1.1 and HTTP/1.0 are spoken here");
        if (e == HPE_PAUSED_UPGRADE || e == HPE_PAUSED_H2_UPGRADE)
            return fail(r, ST_BAD_HTTP, "protocol upgrades are not offered here");
        const char *reason = llhttp_get_error_reason(p);
        return fail(r, ST_BAD_HTTP, reason && *reason ? reason : "the message is malformed");
    }
    if (r->event == HTTP_EV_BODY)
        *body = r->piece;
    return (enum http_event)r->event;
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
    return r->in_head && r->before_lf == 0 && r->error == ST_OK;
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

bool http_is_hop_by_hop(struct str name) {
    switch (name.n) {
    case 2:
        return str_ieq(name, STR("te"));
    case 4:
        return str_ieq(name, STR("host"));
    case 6:
        return str_ieq(name, STR("expect"));
    case 7:
        return str_ieq(name, STR("trailer")) || str_ieq(name, STR("upgrade"));
    case 10:
        return str_ieq(name, STR("connection")) || str_ieq(name, STR("keep-alive"));
    case 14:
        return str_ieq(name, STR("content-length"));
    case 16:
        return str_ieq(name, STR("proxy-connection"));
    case 17:
        return str_ieq(name, STR("transfer-encoding"));
    case 18:
        return str_ieq(name, STR("proxy-authenticate"));
    case 19:
        return str_ieq(name, STR("proxy-authorization"));
    default:
        return false;
    }
}

bool http_is_nominated(const struct http_head *h, struct str name) {
    for (size_t i = 0; h->has_nominations && i < h->n_fields; i++) {
        if (!str_ieq(h->fields[i].name, STR("connection")))
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
