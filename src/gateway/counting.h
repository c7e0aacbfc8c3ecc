/* counting.h - what all loops share to count prompts. */
#ifndef GATEWAY_COUNTING_H
#define GATEWAY_COUNTING_H

#include "tokens/prompt.h"

/*
 * The memory of texts and places, the table of beginnings that are cached, and counters for threads
 * that count prompts which would keep a loop too long. Any thread.
 *
 * Their sizes: 64 Ki texts (1 MB), 32 Ki places (4 MB; 768 tokens of a conversation each), a million
 * beginnings (36 MB, which stand for 128 million tokens). Memory that was never used takes no room.
 */
struct counting;

struct counting *counting_new(void);

/* All counters must have been freed or given back. */
void counting_free(struct counting *c); /* accepts NULL */

/* For one thread; freed by the caller with prompt_counters_free. */
struct prompt_counters *counting_counters(struct counting *c);

/* For one prompt on a thread of the pool: a pair that was given back, or a new one. Loops come first: the
 * thread gives way to them from then on. */
struct prompt_counters *counting_borrow(struct counting *c);
void counting_give_back(struct counting *c, struct prompt_counters *counters);

struct prefix_table *counting_prefixes(struct counting *c);

#endif
