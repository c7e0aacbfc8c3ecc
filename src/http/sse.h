/* sse.h - cuts a stream of server-sent events at event boundaries without copying what need not be. */
#ifndef HTTP_SSE_H
#define HTTP_SSE_H

#include "base/buf.h"

/* Bytes that a caller of sse_next keeps readable behind its input, and that lie behind `data`. */
enum { SSE_SLACK = 64 };

struct sse_event {
    struct str raw;  /* the event's bytes with its blank line, to be forwarded as they are */
    struct str data; /* of its `data:` lines, joined by line feeds; empty when there is none */
    bool is_whole;   /* false: a piece of an event beyond the ceiling, or is_rest; no data then */
    bool is_rest;    /* the LF of a CR LF that ended the event before, when a read parted the two */
};

/*
 * Events end at a blank line. Lines end with LF, CR LF or CR, each as it likes; nobody waits for what
 * comes behind a CR, since a LF there belongs to the same end. An event that arrives whole is a view into
 * the input; one cut by reads is gathered in `carry`. One longer than the ceiling is handed on in pieces
 * as they come, so a hostile stream costs bounded memory. Several `data:` lines, which are rare, are
 * copied together; beyond the ceiling they are not, and data is empty.
 * Source: WHATWG HTML, section 9.2.6 "Interpreting an event stream".
 */
struct sse {
    struct buf carry;       /* owned: the beginning of an event whose end has not come */
    size_t line_at;         /* in carry: where the unfinished line begins */
    struct buf joined;      /* owned: the data of an event that has several lines of it */
    size_t data_at, data_n; /* in carry: the first data line's text */
    int n_data_lines;       /* in carry */
    bool is_overlong, is_given;
    bool is_blank; /* in an overlong event: nothing stands on the unfinished line so far */
    bool after_cr; /* the last byte was a CR that ended a line: a LF next is of the same end */
};

void sse_init(struct sse *s, size_t ceiling);
void sse_destroy(struct sse *s);

/*
 * Takes the next event off the front of `in`; false when what is left is the beginning of one (it is
 * kept). The views live until the next call and until the input goes. SSE_SLACK bytes behind the
 * input must be readable.
 */
bool sse_next(struct sse *s, struct str *in, struct sse_event *event);

/* The stream ended: what is left of an unfinished event, possibly empty. */
struct str sse_rest(struct sse *s);

#endif
