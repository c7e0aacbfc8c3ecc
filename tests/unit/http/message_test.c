/* message_test.c - HTTP messages: any cut reads the same, ambiguity is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "http/message.h"

/* Reads `text` in pieces of `step` bytes; the events as text: "H:target B:body E". */
static void read_all(struct str text, size_t step, bool is_request, struct buf *out) {
    struct http_reader r;
    http_reader_init(&r, is_request, 4096);
    buf_clear(out);
    bool in_body = false, has_failed = false;
    for (size_t at = 0; at < text.n && !has_failed; at += step) {
        /* A heap copy of each piece, so that a sanitizer sees every step past its end. */
        size_t n = size_min(step, text.n - at);
        char *copy = malloc(n);
        memcpy(copy, text.p + at, n);
        struct str in = {copy, n}, body;
        for (enum http_event e; (e = http_read(&r, &in, &body)) != HTTP_EV_MORE;) {
            if (e == HTTP_EV_ERROR) {
                buf_printf(out, "!%d", status_info(r.error)->http);
                has_failed = true;
                break;
            }
            if (e == HTTP_EV_HEAD) {
                struct str x = http_head_get(&r.head, STR("X"));
                buf_printf(out, "H:%.*s/%d:%.*s:%lld", STR_ARG(r.head.target), r.head.status,
                           STR_ARG(x), (long long)r.head.content_length);
            } else if (e == HTTP_EV_BODY) {
                if (!in_body)
                    buf_lit(out, " B:");
                buf_str(out, body);
            } else {
                buf_lit(out, " E ");
            }
            in_body = e == HTTP_EV_BODY;
        }
        free(copy);
    }
    if (!has_failed && http_read_eof(&r) == HTTP_EV_ERROR)
        buf_lit(out, "early");
    http_reader_destroy(&r);
}

static void reads_the_same_wherever_it_is_cut(void **state) {
    (void)state;
    static const struct {
        const char *text, *events;
        bool is_request;
    } cases[] = {
        {"POST /a?b HTTP/1.1\r\nHost: h\r\nX:  v w \r\nContent-Length: 5\r\n\r\nhelloGET / "
         "HTTP/1.1\r\nhost:h\r\n\r\n",
         "H:/a?b/0:v w:5 B:hello E H://0::-1 E ", true},
        {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=1\r\nde\r\n0\r\n"
         "\r\nGET /2 HTTP/1.1\r\nHost: h\r\nX: \r\n\r\n",
         "H://0::-1 B:abcde E H:/2/0::-1 E ", true},
        {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nX: 1\r\nContent-Length: 2\r\n\r\nok",
         "H:/100::-1 E H:/200:1:2 B:ok E ", false},
        {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
         "H:/200::0 E H:/204::-1 E ", false},
        /* Any byte may stand in a reason, and be the last of a read. */
        {"HTTP/1.1 200 a\x80 b\r\nX: 1\r\nContent-Length: 2\r\n\r\nok", "H:/200:1:2 B:ok E ",
         false},
        /* Some answers end with their head, whatever they say. */
        {"HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\nHTTP/1.1 204 No Content\r\n"
         "Transfer-Encoding: chunked\r\n\r\nHTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n"
         "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
         "H:/103::5 E H:/204::-1 E H:/304::7 E H:/200::2 B:ok E ", false},
    };
    struct buf out;
    buf_init(&out, 4096);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str text = str_of(cases[i].text);
        for (size_t step = 1; step <= text.n; step++) {
            read_all(text, step, cases[i].is_request, &out);
            struct str want = str_of(cases[i].events);
            /* With one byte a piece, body pieces stay adjacent, so the text is the same. */
            if (!str_eq(buf_view(&out), want))
                fail_msg("case %zu step %zu: %.*s", i, step, STR_ARG(buf_view(&out)));
        }
    }
    buf_destroy(&out);
}

static void refuses_what_two_servers_could_read_differently(void **state) {
    (void)state;
    static const char *const cases[] = {
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5, 5\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +5\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -5\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0x5\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9223372036854775807\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding : chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\n Content-Length: 5\r\n\r\n",
        "GET / HTTP/1.1\nHost: h\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n\tb\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nX: a\x01\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nX y: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nno colon\r\n\r\n",
        "GET / HTTP/1.1\r\nX: y\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/2.0\r\nHost: h\r\n\r\n",
        "GET / HTTP/1.2\r\nHost: h\r\n\r\n",
        "GET /\r\n\r\n",
        "G\x80T / HTTP/1.1\r\nHost: h\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcde\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
    };
    struct buf out;
    buf_init(&out, 4096);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str text = str_of(cases[i]);
        for (size_t step = 1; step <= text.n; step += step < 4 ? 1 : 7) {
            read_all(text, step, true, &out);
            if (str_find(buf_view(&out), STR("!400")) < 0 &&
                str_find(buf_view(&out), STR("!505")) < 0 &&
                str_find(buf_view(&out), STR("!413")) < 0)
                fail_msg("case %zu step %zu was taken: %.*s", i, step, STR_ARG(buf_view(&out)));
        }
    }
    buf_destroy(&out);
}

static void refuses_answers_that_are_none(void **state) {
    (void)state;
    static const char *const cases[] = {
        "HTTP/1.1 10 Ten\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 99 X\r\n\r\n",
        "HTTP/1.1 0 X\r\n\r\n",
        "HTTP/1.1 -200 X\r\n\r\n",
        "HTTP/1.1 2000 X\r\n\r\n",
        "HTTP/1.1 OK\r\n\r\n",
        "HTTP/1.1\r\n\r\n",
        "HTTP/1.1 200 OK\r\n: value\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "<html>hello</html>\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n",
    };
    struct buf out;
    buf_init(&out, 4096);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str text = str_of(cases[i]);
        for (size_t step = 1; step <= text.n; step++) {
            read_all(text, step, false, &out);
            if (!str_starts(buf_view(&out), STR("!")))
                fail_msg("case %zu step %zu was taken: %.*s", i, step, STR_ARG(buf_view(&out)));
        }
    }
    buf_destroy(&out);
}

static void refuses_heads_over_the_ceiling(void **state) {
    (void)state;
    struct buf text, out;
    buf_init(&text, 1 << 20);
    buf_init(&out, 4096);
    buf_lit(&text, "GET / HTTP/1.1\r\nHost: h\r\nX: ");
    for (int i = 0; i < 5000; i++)
        buf_char(&text, 'x');
    read_all(buf_view(&text), 1000, true, &out);
    assert_true(str_find(buf_view(&out), STR("!431")) >= 0);
    buf_clear(&text);
    buf_lit(&text, "GET / HTTP/1.1\r\nHost: h\r\n");
    for (int i = 0; i < 300; i++)
        buf_lit(&text, "a: b\r\n");
    read_all(buf_view(&text), 1000, true, &out);
    assert_true(str_find(buf_view(&out), STR("!431")) >= 0);
    buf_destroy(&text);
    buf_destroy(&out);
}

static void tells_a_body_that_ends_with_the_connection_from_one_cut_short(void **state) {
    (void)state;
    struct http_reader r;
    struct str body, in = STR("HTTP/1.1 200 OK\r\n\r\nabc");
    http_reader_init(&r, false, 4096);
    assert_int_equal(http_read(&r, &in, &body), HTTP_EV_HEAD);
    assert_int_equal(http_read(&r, &in, &body), HTTP_EV_BODY);
    assert_true(str_eq(body, STR("abc")));
    assert_int_equal(http_read(&r, &in, &body), HTTP_EV_MORE);
    assert_int_equal(http_read_eof(&r), HTTP_EV_END);
    http_reader_destroy(&r);

    in = STR("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc");
    http_reader_init(&r, false, 4096);
    assert_int_equal(http_read(&r, &in, &body), HTTP_EV_HEAD);
    assert_int_equal(http_read(&r, &in, &body), HTTP_EV_BODY);
    assert_int_equal(http_read(&r, &in, &body), HTTP_EV_MORE);
    assert_int_equal(http_read_eof(&r), HTTP_EV_ERROR);
    http_reader_destroy(&r);
}

/* Whoever holds the head while the body comes must not lose it to what follows the body. */
static void a_head_outlives_the_trailer_of_its_message(void **state) {
    (void)state;
    struct http_reader r;
    struct buf text;
    struct str body;
    enum http_event e;
    buf_init(&text, 1 << 16);
    buf_lit(&text, "POST /target HTTP/1.1\r\nHost: h\r\nX: value\r\n"
                   "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n");
    for (int i = 0; i < 100; i++)
        buf_lit(&text, "X: a trailer that wants to be a field\r\n");
    buf_lit(&text, "\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n");
    http_reader_init(&r, true, 8192);
    struct str in = buf_view(&text);
    assert_int_equal(http_read(&r, &in, &body), HTTP_EV_HEAD);
    assert_int_equal(http_read(&r, &in, &body), HTTP_EV_BODY);
    assert_int_equal(http_read(&r, &in, &body), HTTP_EV_END);
    assert_int_equal(r.head.n_fields, 3);
    assert_true(str_eq(r.head.target, STR("/target")));
    assert_true(str_eq(http_head_get(&r.head, STR("x")), STR("value")));
    assert_int_equal(http_read(&r, &in, &body), HTTP_EV_HEAD);
    assert_true(str_eq(r.head.target, STR("/2")));
    assert_int_equal(r.head.n_fields, 1);
    assert_int_equal(http_read(&r, &in, &body), HTTP_EV_END);
    http_reader_destroy(&r);

    /* A trailer takes no more than a head may. */
    http_reader_init(&r, true, 2048);
    in = buf_view(&text);
    while ((e = http_read(&r, &in, &body)) != HTTP_EV_MORE && e != HTTP_EV_ERROR)
        continue;
    assert_int_equal(e, HTTP_EV_ERROR);
    assert_int_equal(r.error, ST_HEAD_TOO_LARGE);
    http_reader_destroy(&r);
    buf_destroy(&text);
}

static void knows_the_fields_that_connection_names(void **state) {
    (void)state;
    struct http_reader r;
    struct str in = STR("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nConnection: X-Hop , "
                        "upgrade-insecure-requests\r\nX-Hop: 1\r\nX-Ho: 2\r\n\r\n");
    struct str plain = STR("GET / HTTP/1.1\r\nHost: h\r\nConnection: Keep-Alive\r\n\r\n"), body;
    http_reader_init(&r, true, 4096);
    assert_int_equal(http_read(&r, &in, &body), HTTP_EV_HEAD);
    assert_true(r.head.has_nominations);
    assert_true(http_is_nominated(&r.head, STR("x-hop")));
    assert_true(http_is_nominated(&r.head, STR("Upgrade-Insecure-Requests")));
    assert_false(http_is_nominated(&r.head, STR("x-ho")));
    assert_false(http_is_nominated(&r.head, STR("host")));
    assert_int_equal(http_read(&r, &in, &body), HTTP_EV_END);
    http_reader_destroy(&r);
    http_reader_init(&r, true, 4096);
    assert_int_equal(http_read(&r, &plain, &body), HTTP_EV_HEAD);
    assert_false(r.head.has_nominations);
    http_reader_destroy(&r);
}

static void writes_chunk_lines(void **state) {
    (void)state;
    char line[18], want[24];
    for (size_t n = 1; n < 100000; n = n * 3 + 1) {
        size_t len = http_chunk_line(line, n);
        int want_len = snprintf(want, sizeof want, "%zx\r\n", n);
        assert_true(str_eq((struct str){line, len}, (struct str){want, (size_t)want_len}));
    }
}

static void a_nul_is_a_byte_like_others_wherever_the_head_is_cut(void **state) {
    (void)state;
    static const char text[] = "HTTP/1.1 200 a\0\0b\r\nX: 1\r\nContent-Length: 2\r\n\r\nok";
    struct buf whole, out;
    buf_init(&whole, 4096);
    buf_init(&out, 4096);
    read_all(((struct str){text, sizeof text - 1}), sizeof text, false, &whole);
    for (size_t step = 1; step < sizeof text; step++) {
        read_all(((struct str){text, sizeof text - 1}), step, false, &out);
        assert_true(str_eq(buf_view(&out), buf_view(&whole)));
    }
    buf_destroy(&whole);
    buf_destroy(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_the_same_wherever_it_is_cut),
        cmocka_unit_test(a_nul_is_a_byte_like_others_wherever_the_head_is_cut),
        cmocka_unit_test(refuses_what_two_servers_could_read_differently),
        cmocka_unit_test(refuses_answers_that_are_none),
        cmocka_unit_test(refuses_heads_over_the_ceiling),
        cmocka_unit_test(tells_a_body_that_ends_with_the_connection_from_one_cut_short),
        cmocka_unit_test(a_head_outlives_the_trailer_of_its_message),
        cmocka_unit_test(knows_the_fields_that_connection_names),
        cmocka_unit_test(writes_chunk_lines),
    };
    return cmocka_run_group_tests_name("message", tests, NULL, NULL);
}
