/* vocabulary_linked.c - the two vocabularies that were made while building and lie in the binary. */
#include "tokens/vocabulary.h"

/* By tools/tokgen.c and the assembler: a C array of this size would take a minute to compile. */
extern const unsigned char vocabulary_o200k_block[], vocabulary_cl100k_block[];
extern const uint64_t vocabulary_o200k_size, vocabulary_cl100k_size;

static struct vocabulary open_linked(const unsigned char *block, uint64_t size) {
    struct vocabulary v = {0};
    enum status st = vocabulary_open(&v, block, size, NULL);
    assert(st == ST_OK); /* made by the same sources */
    (void)st;
    return v;
}

struct vocabulary vocabulary_o200k(void) {
    return open_linked(vocabulary_o200k_block, vocabulary_o200k_size);
}

struct vocabulary vocabulary_cl100k(void) {
    return open_linked(vocabulary_cl100k_block, vocabulary_cl100k_size);
}
