/* sse_test.c - event streams: cut anywhere, the bytes stay the same and the events too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "http/sse.h"
#include "support/random.h"

/* What a reader gave: all raw bytes, and the data of whole events, each in brackets. */
struct reading {
    struct buf raw, data;
    size_t n_whole, n_pieces, longest_held;
};

static void reading_init(struct reading *g) {
    *g = (struct reading){0};
    buf_init(&g->raw, 4 << 20);
    buf_init(&g->data, 4 << 20);
}

static void reading_destroy(struct reading *g) {
    buf_destroy(&g->raw);
    buf_destroy(&g->data);
}

/* One read of the stream, in a block of its own whose slack holds line ends to be taken for ours. */
static void feed(struct sse *s, struct str piece, struct reading *g) {
    char *copy = malloc(piece.n + SSE_SLACK);
    assert_non_null(copy);
    if (piece.n)
        memcpy(copy, piece.p, piece.n);
    memset(copy + piece.n, '\n', SSE_SLACK);
    struct str in = {copy, piece.n};
    struct sse_event e;
    while (sse_next(s, &in, &e)) {
        buf_str(&g->raw, e.raw);
        assert_true(e.raw.n > 0);
        if (e.is_whole) {
            g->n_whole++;
            buf_printf(&g->data, "[%.*s]", STR_ARG(e.data));
        } else {
            g->n_pieces += !e.is_rest;
            assert_int_equal(e.data.n, 0);
        }
    }
    assert_int_equal(in.n, 0);
    g->longest_held = size_max(g->longest_held, s->carry.len);
    free(copy);
}

/* Reads `text` in pieces of `step` bytes, or of random ones when it is 0. */
static void read_stream(struct str text, size_t step, size_t ceiling, struct random *r,
                        struct reading *g) {
    struct sse s;
    sse_init(&s, ceiling);
    for (size_t at = 0; at < text.n;) {
        size_t n = size_min(step ? step : (size_t)random_between(r, 1, 40), text.n - at);
        feed(&s, (struct str){text.p + at, n}, g);
        at += n;
    }
    buf_str(&g->raw, sse_rest(&s));
    sse_destroy(&s);
}

static void cut_anywhere_the_events_are_the_same(void **state) {
    (void)state;
    static const struct {
        const char *text, *data;
    } cases[] = {
        {"data: a\n\ndata: b\n\n", "[a][b]"},
        {"data: a\r\n\r\ndata:b\r\n\r\n", "[a][b]"},
        {"data:  two blanks\n\n", "[ two blanks]"},
        {"event: x\ndata: a\nid: 1\n\n", "[a]"},
        {"data: first\ndata: second\n\n", "[first\nsecond]"},
        {"data: a\nid: 1\ndata:b\r\n: c\ndata\n\ndata: d\n\n", "[a\nb\n][d]"},
        {"data:\ndata: a\n\n", "[\na]"},
        {": a comment\n\n\ndata: a\n\n", "[][][a]"},
        {"data\n\ndatax: a\n\n", "[][]"},
        {"data:\n\n", "[]"},
        {"data: [DONE]\n\n", "[[DONE]]"},
        {"data: a\r\n\ndata: b\n\r\n", "[a][b]"},
        {"data: a\rdata: b\n\n", "[a\nb]"},
        {"data: a\r\rdata: b\r\r", "[a][b]"},
        {"data: a\rid: 1\r\rdata\rdata:b\r\r", "[a][\nb]"},
        {"data: a\n\rdata: b\r\n\rdata: c\r\r\n", "[a][b][c]"},
        {"\r\r\n\n\n\rdata: a\r\r", "[][][][][][a]"},
        {"data: cut off\r", ""},
        {"data: cut off\n", ""},
        {"data: cut off", ""},
        {"\n\n", "[][]"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str text = str_of(cases[i].text);
        for (size_t step = 1; step <= text.n; step++) {
            struct reading g;
            reading_init(&g);
            read_stream(text, step, 1024, NULL, &g);
            assert_true(str_eq(buf_view(&g.raw), text));
            if (!str_eq(buf_view(&g.data), str_of(cases[i].data)))
                fail_msg("case %zu, pieces of %zu: %.*s", i, step, STR_ARG(buf_view(&g.data)));
            reading_destroy(&g);
        }
    }
}

/* Nobody waits for what may come behind the CR that ends an event. */
static void an_event_that_a_carriage_return_ends_is_there_at_once(void **state) {
    (void)state;
    struct sse s;
    struct reading g;
    sse_init(&s, 1024);
    reading_init(&g);
    feed(&s, STR("data: a\r"), &g);
    assert_int_equal(g.n_whole, 0);
    feed(&s, STR("\n\r"), &g);
    assert_true(str_eq(buf_view(&g.data), STR("[a]")));
    feed(&s, STR("\n"), &g); /* of the same end, and passed on */
    assert_true(str_eq(buf_view(&g.raw), STR("data: a\r\n\r\n")));
    feed(&s, STR("\n"), &g); /* an end of its own */
    assert_true(str_eq(buf_view(&g.data), STR("[a][]")));
    reading_destroy(&g);
    sse_destroy(&s);
}

/* The data are the same whatever ends each line, wherever the stream is cut. A blank line that a LF ends
 * cannot follow a line that a CR ends: together they are one end. */
static void lines_may_end_with_any_of_the_three(void **state) {
    (void)state;
    static const struct str ends[] = {STR_INIT("\n"), STR_INIT("\r\n"), STR_INIT("\r")};
    static const struct str lines[] = {STR_INIT("data: x"), STR_INIT("id: 3"), STR_INIT(""),
                                       STR_INIT("data:y"), STR_INIT(":")};
    struct random r = {33};
    for (int round = 0; round < 2000; round++) {
        struct buf plain, mixed;
        struct reading expected, read;
        buf_init(&plain, 1 << 16);
        buf_init(&mixed, 1 << 16);
        reading_init(&expected);
        reading_init(&read);
        size_t end = 0, only = (size_t)random_below(&r, 4); /* 3: all of them */
        for (int64_t n = random_below(&r, 40); n > 0; n--) {
            struct str line = lines[random_below(&r, ARRAY_LEN(lines))];
            bool is_after_cr = end == 2;
            end = only < 3 ? only : (size_t)random_below(&r, 3);
            if (line.n == 0 && is_after_cr && end == 0)
                end = 1;
            buf_str(&plain, line);
            for (int64_t k = random_once_in(&r, 9) && line.n ? 600 : 0; k > 0; k--) {
                buf_char(&plain, 'z');
                line = STR("");
            }
            buf_lit(&plain, "\n");
            size_t at = plain.len - 1;
            while (at > 0 && plain.p[at - 1] != '\n')
                at--;
            buf_put(&mixed, plain.p + at, plain.len - 1 - at);
            buf_str(&mixed, ends[end]);
        }
        read_stream(buf_view(&plain), size_max(plain.len, 1), 1 << 16, &r, &expected);
        read_stream(buf_view(&mixed), 0, 1 << 16, &r, &read);
        assert_true(str_eq(buf_view(&read.raw), buf_view(&mixed)));
        assert_true(str_eq(buf_view(&read.data), buf_view(&expected.data)));
        buf_destroy(&plain);
        buf_destroy(&mixed);
        reading_destroy(&expected);
        reading_destroy(&read);
    }
}

static void put_lines(struct buf *text, struct random *r) {
    static const char *const lines[] = {"data: x", "data: {\"a\":1}", "event: e",
                                        ":",       "data:",           "\r",
                                        "id: 3",   "data: \r",        "data: y\r",
                                        "d"};
    int64_t n = random_below(r, 30);
    for (int64_t i = 0; i < n; i++) {
        buf_str(text, str_of(lines[random_below(r, ARRAY_LEN(lines))]));
        int64_t filler = random_once_in(r, 5) ? random_below(r, 60) : 0;
        for (int64_t k = 0; k < filler; k++)
            buf_char(text, 'z');
        buf_str(text, random_once_in(r, 3) ? STR("\n\n") : STR("\n"));
    }
}

static void random_streams_read_the_same_in_one_piece_and_in_many(void **state) {
    (void)state;
    struct random r = {31};
    for (int round = 0; round < 3000; round++) {
        struct buf text;
        struct reading whole, cut;
        buf_init(&text, 1 << 16);
        reading_init(&whole);
        reading_init(&cut);
        put_lines(&text, &r);
        read_stream(buf_view(&text), size_max(text.len, 1), 1 << 16, &r, &whole);
        read_stream(buf_view(&text), 0, 1 << 16, &r, &cut);
        assert_true(str_eq(buf_view(&whole.raw), buf_view(&text)));
        assert_true(str_eq(buf_view(&cut.raw), buf_view(&text)));
        assert_true(str_eq(buf_view(&cut.data), buf_view(&whole.data)));
        assert_int_equal(whole.n_pieces + cut.n_pieces, 0);
        buf_destroy(&text);
        reading_destroy(&whole);
        reading_destroy(&cut);
    }
}

static void an_overlong_event_passes_in_pieces_and_the_next_one_is_whole(void **state) {
    (void)state;
    static const char *const ends[] = {"\n\n", "\r\n\r\n", "\n\r\n", "\r\n\n", "\r\r", "\n\r"};
    for (size_t e = 0; e < ARRAY_LEN(ends); e++) {
        for (size_t length = 1; length < 60; length++) {
            for (size_t step = 1; step < 50; step++) {
                struct buf text;
                struct reading g;
                buf_init(&text, 1 << 16);
                reading_init(&g);
                buf_lit(&text, "data: 1\n\nid: 7\ndata: ");
                for (size_t k = 0; k < length; k++)
                    buf_char(&text, 'x');
                buf_lit(&text, "\nevent: z");
                buf_str(&text, str_of(ends[e]));
                buf_lit(&text, "data: 2\n\n");
                read_stream(buf_view(&text), step, 32, NULL, &g);
                assert_true(str_eq(buf_view(&g.raw), buf_view(&text)));
                assert_true(str_starts(buf_view(&g.data), STR("[1]")));
                if (!str_ends(buf_view(&g.data), STR("[2]")))
                    fail_msg("end %zu length %zu step %zu: %.*s", e, length, step,
                             STR_ARG(buf_view(&g.data)));
                assert_true(g.longest_held <= 32);
                assert_true(g.n_whole == (g.n_pieces ? 2 : 3));
                buf_destroy(&text);
                reading_destroy(&g);
            }
        }
    }
}

static void random_streams_beyond_the_ceiling_keep_every_byte(void **state) {
    (void)state;
    struct random r = {32};
    for (int round = 0; round < 3000; round++) {
        struct buf text;
        struct reading g;
        buf_init(&text, 1 << 16);
        reading_init(&g);
        put_lines(&text, &r);
        read_stream(buf_view(&text), 0, (size_t)random_between(&r, 1, 50), &r, &g);
        assert_true(str_eq(buf_view(&g.raw), buf_view(&text)));
        assert_true(g.longest_held <= 50);
        buf_destroy(&text);
        reading_destroy(&g);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cut_anywhere_the_events_are_the_same),
        cmocka_unit_test(an_event_that_a_carriage_return_ends_is_there_at_once),
        cmocka_unit_test(lines_may_end_with_any_of_the_three),
        cmocka_unit_test(random_streams_read_the_same_in_one_piece_and_in_many),
        cmocka_unit_test(an_overlong_event_passes_in_pieces_and_the_next_one_is_whole),
        cmocka_unit_test(random_streams_beyond_the_ceiling_keep_every_byte),
    };
    return cmocka_run_group_tests_name("sse", tests, NULL, NULL);
}
