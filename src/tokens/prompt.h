/* prompt.h - how many tokens a request's prompt has: the rules of each model, and a tally of its parts. */
#ifndef TOKENS_PROMPT_H
#define TOKENS_PROMPT_H

#include "tokens/memory.h"
#include "tokens/vocabulary.h"

/*
 * Rules
 *
 * What is added to the text itself. The numbers of messages and functions are those of OpenAI's
 * published recipe (Cookbook, "How to count tokens with tiktoken", 2025), which calls itself an
 * estimate that may change from model to model; it gives the numbers that the API reported for its
 * own examples. Images: OpenAI, "Images and vision: calculating costs". Which encoding a model has:
 * tiktoken 0.14.0, model.py.
 *
 * Models whose name tells nothing, and whose own vocabulary tells how they are given chats
 * (vocabulary_chat_form), have what stands around texts in the chat templates that are published
 * with them, the role being one token besides:
 *   ChatML   <|im_start|> ROLE \n TEXT <|im_end|> \n, and <|im_start|> assistant \n at the end
 *   Llama 3  <|start_header_id|> ROLE <|end_header_id|> \n\n TEXT <|eot_id|>, the same without TEXT
 *            at the end, and <|begin_of_text|> before all
 * Neither gives the model names. What a template adds of its own (the system message of Qwen 2.5 when
 * there is none, the dates of Llama 3.1) and how it writes tools is not counted so.
 */
enum prompt_encoding { ENCODING_UNKNOWN, ENCODING_CL100K, ENCODING_O200K, ENCODING_COUNT };

extern const struct str prompt_encoding_names[ENCODING_COUNT]; /* "", "cl100k_base", "o200k_base" */

struct prompt_rules {
    struct str prefix; /* of the names of the models that it is for */
    enum prompt_encoding encoding;
    int64_t per_message, per_name, per_reply; /* per_name 0: names are not given to the model */
    int64_t per_function;                     /* beginning one; its text is besides */
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
 * What one thread needs to count: for each vocabulary, once it is used, a token_cache (2.3 MB), and
 * room to remember the parts of the prompt at hand. Texts of 64 bytes or more are looked up in the
 * memory, which all threads share.
 */
struct prompt_counters;

/* Of how many vocabularies a thread remembers words; of more the one used longest ago goes. */
enum { PROMPT_VOCABULARIES_MAX = 8 };

/* The memory and the blocks of these two vocabularies outlive the counters. */
struct prompt_counters *prompt_counters_new(const struct vocabulary *o200k,
                                            const struct vocabulary *cl100k,
                                            struct text_memory *memory);
void prompt_counters_free(struct prompt_counters *c); /* accepts NULL */

/* Gives back memory that a prompt's texts took: no more are added, and its marks are made. */
void prompt_end(struct prompt_counters *c);

/* How many texts and places were looked up in the memory, and found. Only rise. */
struct prompt_lookups {
    int64_t texts, texts_found, places, places_found;
};
struct prompt_lookups prompt_counters_lookups(const struct prompt_counters *c);

/* What stands around texts, where somebody knows better than the rules; -1 where nobody does. */
struct prompt_framing {
    int64_t per_message, per_name, per_reply;
};

/*
 * The tally of one prompt, whose parts are added in the order in which the model is given them. Text
 * is counted exactly when its vocabulary is known, else estimated (estimate.h). So that a loop's other
 * calls need not wait, at most `budget` bytes are counted that are not known; what lies beyond is
 * estimated, and the tally says so. Text that must be brought into another form first (token_is_normal) costs as
 * much again, known or not.
 *
 * With marks, prompt_marks can tell afterwards which beginnings the prompt has. One tally at a time
 * uses the counters: the next prompt_begin with them ends it.
 */
struct prompt_how {
    size_t budget; /* bytes; PROMPT_BUDGET if in doubt */
    bool with_marks;
    const struct vocabulary *custom; /* NULL: `encoding` says which; its block outlives the tally */
    enum prompt_encoding encoding;   /* ENCODING_UNKNOWN: the rules know which */
    const struct prompt_framing *framing; /* NULL: that of the rules; read by prompt_begin alone */
    /* A secret of those who may learn from the time that counting takes what they have sent before. */
    uint64_t salt;
};

/* Up to a tenth of a millisecond of counting in prose and code; 1 ms of letters at random; 8 ms of the
 * worst that is known. */
enum { PROMPT_BUDGET = 16 << 10, PROMPT_PART_COST = 16 };

struct prompt_tally {
    struct prompt_counters *counters; /* borrowed; NULL: all is estimated */
    struct encoding_counter *counter; /* of the vocabulary; NULL: all is estimated */
    struct prompt_rules rules;
    int64_t tokens;
    size_t budget;   /* what is left of it; a part costs PROMPT_PART_COST, however short */
    int64_t unknown; /* bytes that are not known and were beyond it */
    bool is_exact;   /* so far */
    bool with_marks;
    bool is_opaque, is_stopped;
    uint64_t kind;       /* of texts in the memory */
    int64_t opaque_from; /* tokens before the opaque part */
    int64_t units;       /* what marks count, where it is not tokens: four bytes of text, or a token
                            that is no text */
};

/* `counters` may be NULL: then all is estimated, and there are no marks. */
void prompt_begin(struct prompt_tally *t, struct prompt_counters *counters,
                  const struct prompt_rules *rules, const struct prompt_how *how);

/* Valid UTF-8, as the JSON reader hands it out. With marks, it stays where it is until they are made. */
void prompt_add(struct prompt_tally *t, struct str text);

/* Tokens that are no text, such as the frame of a message; `what` tells them from others. With no tokens it
 * only divides what stands before from what comes. */
void prompt_add_frame(struct prompt_tally *t, int64_t tokens, struct str what);

/* What comes from here on is not known well enough to say that it is the same as in another prompt. */
void prompt_stop_marks(struct prompt_tally *t);

/* What is added between these is one part for the marks, which `identity` alone tells from others:
 * its texts need not stay, nor be those that the model is given. `tokens`: beside the texts. */
void prompt_begin_opaque(struct prompt_tally *t);
void prompt_end_opaque(struct prompt_tally *t, int64_t tokens, struct str identity);

/*
 * The marks (prefix.h) of the prompt, under a key of its deployment and tenant, appended to `out`; as
 * many as could be made, which are none when there are too many parts or `out` has no room.
 *
 * A beginning that is cached is one of so many tokens; prompt_cached makes that of what the marks
 * count, where these are not exact.
 */
void prompt_marks(struct prompt_tally *t, const struct siphash_key *key, struct buf *out);
int64_t prompt_cached(const struct prompt_tally *t, int64_t cached);

#endif
