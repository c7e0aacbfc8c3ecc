/* meter.h - reads usage out of an answer while its bytes go by. */
#ifndef CALL_METER_H
#define CALL_METER_H

#include "call/route.h"
#include "call/usage.h"
#include "http/sse.h"
#include "json/json.h"

/*
 * Two ways to read. A stream is cut into events, each is parsed; the events pass as they are but for
 * the usage chunk, when it is to be stripped. Any other answer passes untouched and is parsed when
 * it is complete; of one longer than METER_WHOLE_MAX only the end is kept and searched, since usage
 * stands there.
 */
enum { METER_WHOLE_MAX = 256 << 10, METER_TAIL = 16 << 10, METER_EVENT_MAX = 64 << 10 };

/*
 * Most chunks of a stream differ in the text that they bring, some in an id or in OpenAI's `obfuscation`
 * (letters by chance that hide the text's length), and in nothing else. So the bytes around these
 * strings of one that was parsed are kept, and a chunk with the same bytes around other strings says the same
 * without being parsed: it counts as many deltas, and no more. Exact whatever a backend sends, since what
 * is read of a chunk depends on no such string's content but for whether it is empty (see is_like in meter.c).
 */
enum { METER_LIKE_MAX = 2048, METER_LIKE_TRIES = 16, METER_LIKE_GAPS = 3 };
struct meter_like {
    struct buf around;              /* owned; the chunk without those strings' contents */
    size_t gap_at[METER_LIKE_GAPS]; /* where in it these stood, in order */
    int n_gaps;
    int64_t n_deltas;  /* of such a chunk; 0 while none is known */
    int n_tries;       /* chunks learned since the last one that was like the one before */
    bool is_forbidden; /* for tests: every chunk is parsed */
};

struct meter {
    bool is_stream, must_strip;
    bool is_stripped; /* the event that came last */
    enum operation op;
    struct sse sse;
    struct buf body;   /* of an answer that is no stream: what was kept */
    bool is_tail_only; /* the beginning was dropped */
    struct meter_like like;

    /* What was found so far. */
    bool has_usage;
    struct usage usage;
    int64_t n_deltas;          /* pieces of text, of a stream */
    int64_t n_deltas_at_usage; /* of these, those that had come when usage was said last */
    bool has_chunk;            /* of a stream: one event at least could be read */
    bool has_ended;            /* all of the answer has come */
    bool has_text;             /* the first piece of text has come */
    bool has_finished;         /* a finish reason, or [DONE] */
    bool was_cut_short;        /* finish reason "length": the answer could have been longer */
    bool has_error;            /* an error event in the stream */
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

#endif
