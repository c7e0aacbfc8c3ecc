/* faults.h - what a simulated model server does wrong on demand. */
#ifndef SIM_FAULTS_H
#define SIM_FAULTS_H

#include "base/status.h"

/*
 * In words, as options and headers have them, separated by commas:
 *
 *   429[;retry-after-ms=N][;retry=none]  refuses; says when to come back (1000 ms), or not at all
 *   500, 503                             refuses
 *   slow-start[;ms=N]                    the first token comes so much later (2000)
 *   stall[;after=N]                      falls silent after N tokens (3), connection open
 *   disconnect[;after=N]                 the connection ends after N tokens (3)
 *   error[;after=N]                      an error event after N tokens (3), and no [DONE]
 *   reset                                the connection ends before the first byte of an answer
 *   garbage                              invalid JSON where an event or a body belongs
 *   garbage;http                         bytes that are no HTTP
 *   no-usage                             never says what was used
 *   usage-every                          says it in every event
 *   burst[;n=K]                          K tokens an event (8)
 *   split                                each write ends within an event
 *   crlf                                 lines of events end in CR LF
 */
enum fault_kind {
    FAULT_429 = 1 << 0,
    FAULT_500 = 1 << 1,
    FAULT_503 = 1 << 2,
    FAULT_SLOW_START = 1 << 3,
    FAULT_STALL = 1 << 4,
    FAULT_DISCONNECT = 1 << 5,
    FAULT_ERROR = 1 << 6,
    FAULT_RESET = 1 << 7,
    FAULT_GARBAGE = 1 << 8,
    FAULT_GARBAGE_HTTP = 1 << 9,
    FAULT_NO_USAGE = 1 << 10,
    FAULT_USAGE_EVERY = 1 << 11,
    FAULT_BURST = 1 << 12,
    FAULT_SPLIT = 1 << 13,
    FAULT_CRLF = 1 << 14,
};

/* What one call suffers. A zeroed one: nothing. */
struct faults {
    unsigned kinds;         /* of enum fault_kind */
    int64_t retry_after_ms; /* of 429; 0: not said */
    int64_t slow_ms, after, burst;
};

struct fault_rule {
    struct faults faults; /* one kind */
    int64_t rate_ppm;     /* of calls, in millionths */
};

enum { FAULT_RULES_MAX = 16 };

struct fault_rules {
    struct fault_rule rules[FAULT_RULES_MAX];
    size_t count;
};

/* Reads "KIND[;PARAMETER...][:RATE],..." (rate 0..1, 1 when not given). ST_BAD_REQUEST names the
 * word that is no fault. */
enum status faults_parse(struct str text, struct fault_rules *out, struct problem *why) MUST_USE;

/* Adds those that strike a call; `draw` is a fresh random number for each call. Rules are drawn
 * independently of each other. */
void faults_draw(const struct fault_rules *rules, uint64_t draw, struct faults *out);

#endif
