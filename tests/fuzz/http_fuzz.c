/* http_fuzz.c - arbitrary bytes as HTTP: read in one piece and byte by byte they say the same. */
/* rooms: http base */
#include "http/message.h"

#include <stdlib.h>

#include "fuzz/fuzz.h"

enum { TRANSCRIPT_MAX = 64 << 20 };

static void put_head(const struct http_head *h, struct buf *out) {
    buf_printf(out, "HEAD %.*s %.*s %d %d %lld %d %d %d %d %.*s\n", STR_ARG(h->method),
               STR_ARG(h->target), h->status, h->minor, (long long)h->content_length, h->is_chunked,
               h->keep_alive, h->expects_continue, h->has_other_expectation, STR_ARG(h->reason));
    for (size_t i = 0; i < h->n_fields; i++) {
        struct str name = h->fields[i].name, value = h->fields[i].value;
        assert(name.n > 0 && str_eq(value, str_trim(value)));
        assert(!memchr(name.p, ':', name.n) && !memchr(name.p, ' ', name.n));
        if (value.n)
            assert(!memchr(value.p, '\n', value.n) && !memchr(value.p, '\r', value.n));
        buf_printf(out, "%.*s: %.*s\n", STR_ARG(name), STR_ARG(value));
    }
}

/* What a head lets pass must leave no two ways to read it (RFC 9112, section 6.3). */
static void check_head(const struct http_head *h, bool is_request) {
    size_t n_length = http_head_count(h, STR("content-length"));
    size_t n_encoding = http_head_count(h, STR("transfer-encoding"));
    assert(n_length + n_encoding <= 1);
    assert((h->content_length >= 0) == (n_length == 1) && h->content_length <= INT64_MAX / 2);
    assert(h->is_chunked == (n_encoding == 1));
    if (!is_request)
        return;
    assert(http_head_count(h, STR("host")) <= 1);
    assert(h->minor == 0 || http_head_count(h, STR("host")) == 1);
    assert(h->method.n > 0 && h->target.n > 0);
}

/* The events as a text: heads in full, bodies without regard to their pieces. */
static void read_all(struct str text, size_t step, bool is_request, size_t ceiling,
                     struct buf *out) {
    struct http_reader r;
    struct buf head; /* a copy: the views must live to the end of the message */
    bool in_body = false;
    buf_init(out, TRANSCRIPT_MAX);
    buf_init(&head, TRANSCRIPT_MAX);
    http_reader_init(&r, is_request, ceiling);
    enum http_event e = HTTP_EV_MORE;
    for (size_t at = 0; at < text.n && e != HTTP_EV_ERROR; at += step) {
        size_t n = size_min(step, text.n - at);
        char *copy = malloc(n);
        assert(copy);
        memcpy(copy, text.p + at, n);
        struct str in = {copy, n}, body;
        while ((e = http_read(&r, &in, &body)) != HTTP_EV_MORE && e != HTTP_EV_ERROR) {
            if (e == HTTP_EV_HEAD) {
                check_head(&r.head, is_request);
                buf_clear(&head);
                put_head(&r.head, &head);
                buf_str(out, buf_view(&head));
            } else if (e == HTTP_EV_BODY) {
                assert(body.n > 0 && body.p >= copy && body.p + body.n <= copy + n);
                if (!in_body)
                    buf_lit(out, "BODY ");
                buf_str(out, body);
            } else {
                struct buf again;
                buf_init(&again, TRANSCRIPT_MAX);
                put_head(&r.head, &again);
                assert(str_eq(buf_view(&head), buf_view(&again)));
                buf_destroy(&again);
                buf_lit(out, "\nEND\n");
            }
            in_body = e == HTTP_EV_BODY;
        }
        assert(e == HTTP_EV_ERROR || in.n == 0);
        free(copy);
    }
    if (e != HTTP_EV_ERROR)
        e = http_read_eof(&r);
    if (e == HTTP_EV_ERROR)
        assert(r.error != ST_OK && r.error_text);
    /* One error is as good as another: which is seen first depends on the pieces. */
    buf_str(out, e == HTTP_EV_ERROR ? STR("\nERROR") : STR("\nEOF"));
    buf_destroy(&head);
    http_reader_destroy(&r);
}

/* The first byte: whether it is a request, how large a head may be, and the size of pieces. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0)
        return 0;
    struct buf whole, bytes, pieces;
    struct str text = {(const char *)data + 1, size - 1};
    bool is_request = data[0] & 1;
    size_t ceiling = data[0] & 2 ? 64 : 4096, step = (size_t)(data[0] >> 2) + 2;
    read_all(text, size_max(text.n, 1), is_request, ceiling, &whole);
    read_all(text, 1, is_request, ceiling, &bytes);
    read_all(text, step, is_request, ceiling, &pieces);
    assert(str_eq(buf_view(&whole), buf_view(&bytes)));
    assert(str_eq(buf_view(&whole), buf_view(&pieces)));
    buf_destroy(&whole);
    buf_destroy(&bytes);
    buf_destroy(&pieces);
    return 0;
}
