/* sse_fuzz.c - arbitrary bytes as an event stream: none is lost, and cuts change nothing. */
/* rooms: http base */
#include "http/sse.h"

#include <stdlib.h>

#include "fuzz/fuzz.h"

enum { STREAM_MAX = 64 << 20 };

/* All raw bytes that come out, and the data of whole events. */
struct reading {
    struct buf raw, data;
};

static void read_stream(struct str text, size_t ceiling, size_t step, struct reading *g) {
    struct sse s;
    buf_init(&g->raw, STREAM_MAX);
    buf_init(&g->data, STREAM_MAX);
    sse_init(&s, ceiling);
    for (size_t at = 0; at < text.n; at += step) {
        size_t n = size_min(step, text.n - at);
        char *copy = malloc(n + SSE_SLACK);
        assert(copy);
        memcpy(copy, text.p + at, n);
        memset(copy + n, '\n', SSE_SLACK);
        struct str in = {copy, n};
        struct sse_event e;
        while (sse_next(&s, &in, &e)) {
            assert(e.raw.n > 0 && (e.is_whole || e.data.n == 0));
            buf_str(&g->raw, e.raw);
            if (e.is_whole)
                buf_printf(&g->data, "%zu:%.*s;", e.data.n, STR_ARG(e.data));
        }
        assert(in.n == 0 && s.carry.len <= ceiling);
        free(copy);
    }
    buf_str(&g->raw, sse_rest(&s));
    assert(str_eq(buf_view(&g->raw), text));
    sse_destroy(&s);
}

static void reading_destroy(struct reading *g) {
    buf_destroy(&g->raw);
    buf_destroy(&g->data);
}

/* The first byte chooses the size of the pieces and a ceiling. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct reading whole, cut, pieces;
    if (size == 0)
        return 0;
    struct str text = {(const char *)data + 1, size - 1};
    size_t step = (size_t)(data[0] & 15) + 1, ceiling = (size_t)(data[0] >> 4) * 8 + 1;
    read_stream(text, size, size, &whole);
    read_stream(text, size, step, &cut);
    assert(str_eq(buf_view(&whole.data), buf_view(&cut.data)));
    read_stream(text, ceiling, step, &pieces);
    reading_destroy(&whole);
    reading_destroy(&cut);
    reading_destroy(&pieces);
    return 0;
}
