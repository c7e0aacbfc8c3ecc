/* place.h - in which line of a JSON text a value stands, for messages to whoever wrote the text. */
#ifndef VOCAB_PLACE_H
#define VOCAB_PLACE_H

#include "base/str.h"

/* One step from a value into it: to the member with this name, or, where the name is "", to the item or
 * the member's value with this number, from 0. */
struct place_step {
    struct str name;
    size_t number;
};

/*
 * The line, from 1, in which the value begins that the steps lead to; that of the last value on the way
 * when a step leads nowhere. `text` is valid JSON; names are compared as they stand there, escapes and
 * all. The time is linear in the text.
 */
size_t place_line(struct str text, const struct place_step *steps, size_t n_steps);

#endif
