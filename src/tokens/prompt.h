/* prompt.h - how many tokens a request's prompt has: the rules of each model, and a tally of its parts. */
#ifndef TOKENS_PROMPT_H
#define TOKENS_PROMPT_H

#include "tokens/vocabulary.h"

/*
 * Rules
 *
 * What is added to the text itself. The numbers of messages and functions are those of OpenAI's
 * published recipe (Cookbook, "How to count tokens with tiktoken", 2025), which calls itself an
 * estimate that may change from model to model; it gives the numbers that the API reported for its
 * own examples. Images: OpenAI, "Images and vision: calculating costs". Which encoding a model has:
 * tiktoken 0.14.0, model.py.
 */
enum prompt_encoding { ENCODING_UNKNOWN, ENCODING_CL100K, ENCODING_O200K, ENCODING_COUNT };

extern const struct str prompt_encoding_names[ENCODING_COUNT]; /* "", "cl100k_base", "o200k_base" */

struct prompt_rules {
    struct str prefix; /* of the names of the models that it is for */
    enum prompt_encoding encoding;
    int64_t per_message, per_name, per_reply;
    int64_t per_function; /* beginning one; its text is besides */
    /* An image of low detail; and per tile of 512 x 512 in one of high detail. When the model counts
     * patches of 32 x 32 instead: no tiles, and thousandths of a token for each patch. */
    int64_t image_base, image_tile, image_patch_milli;
};

/* The rules of the model with this name, by the longest prefix; those of gpt-4o with an unknown
 * encoding when nobody knows better. Never NULL. */
const struct prompt_rules *prompt_rules_find(struct str model);

/* What all functions together cost beyond each of them. */
enum { PROMPT_PER_FUNCTIONS = 12 };

enum image_detail { IMAGE_AUTO, IMAGE_LOW, IMAGE_HIGH };

/* An image of this size; of 1024 x 1024 when it is not known (0). Auto is high: the most that it may
 * be. */
int64_t prompt_image_tokens(const struct prompt_rules *rules, enum image_detail detail,
                            int64_t width, int64_t height);

/*
 * Counters
 *
 * What one thread needs to count: for each encoding, once it is used, a token_cache and a table of
 * whole texts, 2.4 MB together. The table knows the count of a text of 64 bytes or more again by its
 * hash (XXH3, 128 bits, under a secret of the process, of which 110 are compared), so the messages
 * of a conversation that come again with each turn cost a hash instead of a count. It keeps 8,192
 * texts; of those with like hashes the one seen longest ago goes.
 */
struct prompt_counters;

/* The vocabularies' blocks outlive the counters. `secret` are random bytes. */
struct prompt_counters *prompt_counters_new(const struct vocabulary *o200k,
                                            const struct vocabulary *cl100k,
                                            const unsigned char secret[16]);
void prompt_counters_free(struct prompt_counters *c); /* accepts NULL */

/* How many texts were looked up in the tables of whole texts, and found. Only rise. */
struct prompt_lookups {
    int64_t asked, found;
};
struct prompt_lookups prompt_counters_lookups(const struct prompt_counters *c);

/*
 * The tally of one prompt. Text is counted exactly when the counters know the encoding, else
 * estimated (estimate.h). To keep a loop's other calls from waiting, a tally counts at most
 * PROMPT_FRESH_MAX bytes that no table knows; what lies beyond is estimated, in proportion to how the
 * estimate did on what was counted.
 */
enum { PROMPT_FRESH_MAX = 32 << 10 };

struct prompt_tally {
    struct prompt_counters *counters; /* borrowed; NULL: all is estimated */
    const struct prompt_rules *rules;
    int64_t tokens;
    int64_t fresh_left;                /* bytes that may still be counted anew */
    int64_t fresh_tokens, fresh_guess; /* what was counted anew, and what the estimate says of it */
    bool is_exact;                     /* so far */
};

void prompt_begin(struct prompt_tally *t, struct prompt_counters *counters,
                  const struct prompt_rules *rules);

/* Valid UTF-8, as the JSON reader hands it out. */
void prompt_add(struct prompt_tally *t, struct str text);

#endif
