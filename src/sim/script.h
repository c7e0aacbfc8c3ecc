/* script.h - what a simulated model says: text, length and end, all from the prompt's hash. */
#ifndef SIM_SCRIPT_H
#define SIM_SCRIPT_H

#include "base/buf.h"

/*
 * The simulator's own token, exact by its own rule: a run of blanks and the word behind it. So
 * " river" is one token, and " two words" are two. Blanks at the very end are a token of their own.
 * Only U+0020 is a blank; every other byte belongs to words.
 */

/* A good mixer of 64 bits (the finisher of splitmix64, Steele, Lea and Flood 2014). */
uint64_t script_mix(uint64_t x);

/* Hash of a text that continues `seed`; fast, and no defence against anybody. */
uint64_t script_hash(uint64_t seed, struct str text);

/* Appends `n` tokens of plausible words, the same for the same hash. They need no escaping in
 * JSON. The first has no blank in front. `is_complete` puts a full stop behind the last. */
void script_put_words(struct buf *out, uint64_t hash, int64_t n, bool is_complete);

/* How long an answer gets when nothing limits it: one of 32 quantiles of a lognormal
 * distribution (sigma 0.5) whose mean is `mean`; at least 1. */
int64_t script_length(uint64_t hash, int64_t mean);

/* The iterator over tokens: takes the first off the front of `rest`. */
bool script_token(struct str *rest, struct str *token);

int64_t script_count(struct str text);

/* The first `n` tokens of a text. */
struct str script_prefix(struct str text, int64_t n);

/* The text before the stop sequence that is complete first, as a model that generates meets it;
 * all of it when none occurs. Empty ones never occur. */
struct str script_stop(struct str text, const struct str *stops, size_t n);

/* "[[echo:TEXT]]" in a message: TEXT, up to the last "]]" of the message. */
bool script_echo(struct str message, struct str *text);

#endif
