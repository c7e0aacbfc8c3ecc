/* fuzz.h - the one function that each fuzz target defines. */
#ifndef FUZZ_FUZZ_H
#define FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/*
 * Feeds `size` bytes at `data` to what is under test and asserts what must hold of any input. The
 * bytes are readable exactly that far, and gone afterwards. Returns 0. libFuzzer calls it in a build
 * with -Dfuzz=true, seed_main.c in all others.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
