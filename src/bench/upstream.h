/* upstream.h - the cheapest possible model server, for measuring what stands in front of it. */
#ifndef BENCH_UPSTREAM_H
#define BENCH_UPSTREAM_H

#include "base/status.h"
#include "net/loop.h"

/*
 * Every POST gets the same JSON answer of about 1 KB, or, when its body says "stream":true, a stream
 * of chat completion chunks. A GET gets {"requests","streams","events","late"}. It checks nothing: room
 * sim is the server to test with, this one only has to cost less than any proxy.
 *
 * The chunks' ids are "bench-NNNNNN-T": the chunk's number in its stream from 0, and os_now_ns() when
 * it was written, 19 digits; a receiver on the same machine sees what was lost and how long it took
 * (upstream_stamp). A caller that asks for include_usage gets a chunk with usage at the end.
 */
struct upstream_options {
    int64_t n_events; /* content chunks of a stream, at least 1 */
    int64_t gap_ns;   /* between two chunks of a stream, at least; the first comes after one gap */
};

/* Belongs to one loop. */
struct upstream;

struct upstream *upstream_new(struct loop *l, const struct upstream_options *options);

enum status upstream_listen(struct upstream *u, const char *host, int port, int *bound_port,
                            struct problem *why) MUST_USE;

/* Ends everything at once. */
void upstream_free(struct upstream *u);

/* Reads a chunk's stamp out of an event's data; false when it has none. */
bool upstream_stamp(struct str data, int64_t *number, int64_t *at_ns) MUST_USE;

#endif
