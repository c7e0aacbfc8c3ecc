/* meter_fuzz.c - arbitrary bytes as an answer: they pass as they are, and neither cuts nor short cuts change a number. */
/* rooms: call json http base */
#include "call/meter.h"

#include <stdlib.h>

#include "fuzz/fuzz.h"

enum { ANSWER_MAX = 64 << 20 };

static void read_answer(struct json_doc *doc, struct meter *m, struct str text, size_t step,
                        struct buf *out) {
    buf_init(out, ANSWER_MAX);
    for (size_t at = 0;; at += step) {
        size_t n = at < text.n ? size_min(step, text.n - at) : 0;
        bool is_last = at + n >= text.n, has_more;
        char *copy = malloc(n + JSON_PADDING);
        assert(copy);
        if (n)
            memcpy(copy, text.p + at, n);
        memset(copy + n, '\n', JSON_PADDING);
        struct str in = {copy, n};
        struct meter_out o;
        do {
            has_more = meter_take(m, doc, &in, is_last, &o);
            assert(o.n >= 0 && o.n <= (int)ARRAY_LEN(o.piece));
            for (int i = 0; i < o.n; i++)
                buf_str(out, o.piece[i]);
        } while (has_more);
        assert(in.n == 0);
        free(copy);
        if (is_last)
            break;
    }
}

static void check_numbers(const struct meter *m) {
    const struct usage *u = &m->usage;
    assert(u->prompt >= -1 && u->cached >= -1 && u->output >= -1 && u->reasoning >= -1);
    assert(m->has_usage == (u->prompt >= 0 || u->output >= 0));
    assert(m->n_deltas >= 0 && m->has_text == (m->n_deltas > 0));
}

/* The first byte says what kind of answer it is, the second how it is cut. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct json_doc *doc;
    if (size < 2)
        return 0;
    if (!doc)
        doc = json_doc_new();
    struct str text = {(const char *)data + 2, size - 2};
    bool is_stream = data[0] & 1, must_strip = data[0] & 2;
    enum operation op = (enum operation)(data[0] >> 2 & 3);
    size_t step = (size_t)data[1] + 1;
    struct meter whole, cut;
    struct buf a, b;
    meter_init(&whole, op, is_stream, must_strip);
    meter_init(&cut, op, is_stream, must_strip);
    whole.like.is_forbidden = true; /* so the other's short cut is held against what is parsed */
    read_answer(doc, &whole, text, size, &a);
    read_answer(doc, &cut, text, step, &b);
    check_numbers(&whole);
    assert(str_eq(buf_view(&a), buf_view(&b)));
    assert(memcmp(&whole.usage, &cut.usage, sizeof whole.usage) == 0);
    assert(whole.n_deltas == cut.n_deltas && whole.has_finished == cut.has_finished);
    assert(whole.was_cut_short == cut.was_cut_short && whole.has_error == cut.has_error);
    if (!is_stream || !must_strip)
        assert(str_eq(buf_view(&a), text));
    assert(a.len <= text.n);
    meter_destroy(&whole);
    meter_destroy(&cut);
    buf_destroy(&a);
    buf_destroy(&b);
    return 0;
}
