/* meter.h - reads usage out of an answer while its bytes go by. */
#ifndef CALL_METER_H
#define CALL_METER_H

#include "call/route.h"
#include "http/sse.h"
#include "json/json.h"

/* What a backend says it did; absent numbers are -1. */
struct usage {
    int64_t prompt, cached, output, reasoning;
};

/*
 * Two ways to read. A stream is cut into events, each is parsed; the events pass as they are but for
 * the usage chunk, when it is to be stripped. Any other answer passes untouched and is parsed when
 * it is complete; of one longer than METER_WHOLE_MAX only the end is kept and searched, since usage
 * stands there.
 */
enum { METER_WHOLE_MAX = 256 << 10, METER_TAIL = 16 << 10, METER_EVENT_MAX = 64 << 10 };

struct meter {
    bool is_stream, must_strip;
    enum operation op;
    struct sse sse;
    struct buf body;   /* of an answer that is no stream: what was kept */
    bool is_tail_only; /* the beginning was dropped */

    /* What was found so far. */
    bool has_usage;
    struct usage usage;
    int64_t n_deltas;   /* pieces of text, of a stream */
    bool has_text;      /* the first piece of text has come */
    bool has_finished;  /* a finish reason, or [DONE] */
    bool was_cut_short; /* finish reason "length": the answer could have been longer */
    bool has_error;     /* an error event in the stream */
};

void meter_init(struct meter *m, enum operation op, bool is_stream, bool must_strip);
void meter_destroy(struct meter *m);

/* Pieces to forward: at most one from what was held back, and one from the bytes given. */
struct meter_out {
    struct str piece[8];
    int n;
};

/*
 * Takes bytes of the answer, JSON_PADDING readable ones behind them, and says which bytes to
 * forward: views into them and into the meter, until the next call. True while there is more to take
 * from `in`: send `out` and call again. is_last: the answer ends here.
 */
bool meter_take(struct meter *m, struct json_doc *doc, struct str *in, bool is_last,
                struct meter_out *out);

/* Reads a usage object of any of the interfaces; false when it is none. */
bool usage_read(struct json_value v, struct usage *out);

#endif
