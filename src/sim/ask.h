/* ask.h - what a client asks of the simulated model server: the bodies of the four APIs. */
#ifndef SIM_ASK_H
#define SIM_ASK_H

#include "base/buf.h"
#include "json/json.h"

enum ask_api { ASK_CHAT, ASK_COMPLETIONS, ASK_EMBEDDINGS, ASK_RESPONSES };

enum {
    ASK_STOPS_MAX = 4,
    ASK_CHOICES_MAX = 128,    /* as OpenAI's `n` */
    ASK_INPUTS_MAX = 2048,    /* as OpenAI's embeddings */
    ASK_OUTPUT_MAX = 1 << 20, /* tokens of one call, all choices together */
    ASK_DIMENSIONS_MAX = 4096,
};

/* One text to answer or to embed. */
struct ask_input {
    uint64_t hash;
    int64_t tokens;
};

/*
 * Prompt tokens as the model that the body names would count them: text by OpenAI's encoding of that
 * model, or, of a model that is not theirs, one for each four bytes begun; each message 3 and its role
 * 1 more, and a prompt of messages 3 more (the chat framing of OpenAI's models); a part of a message
 * that is no text 85 (what OpenAI charges for an image in low detail); tools and response formats
 * count as the text of their JSON; token ids count themselves.
 *
 * The texts are views into the body and the parser, valid until the next ask_read.
 */
struct ask {
    enum ask_api api;
    struct str model; /* empty when the body names none */
    bool is_stream, wants_usage, wants_usage_every, wants_floats, wants_echo;
    int64_t limit;      /* the most output tokens; -1: not limited */
    int64_t n;          /* choices for each input */
    int64_t dimensions; /* of an embedding; 0: the model's own */
    struct str stops[ASK_STOPS_MAX];
    size_t n_stops;
    struct str last_user;  /* the text of the last message of a user, or the only prompt */
    int64_t prompt_tokens; /* of all inputs */
    struct buf inputs;     /* owned: struct ask_input, one for each input; a chat is one */
    struct buf marks;      /* owned: uint64_t, see promptcache.h; filled when wants_marks */
    struct buf text;       /* owned: last_user, when it had to be put together */
    bool wants_marks;      /* set by the owner */
    struct json_doc *doc;  /* owned */
    uint64_t hash, chain;  /* of the input in hand: all its text; its blocks of tokens */
    int64_t units;         /* tokens in chain and block */
    char block[512];       /* 128 tokens of four bytes: bytes of text, or the token's id */
    struct token_cache *encodings[2]; /* owned; made when first used */
    struct token_cache *encoding; /* one of them: of the body's model; NULL: four bytes a token */
    struct buf ids;               /* owned: of the text at hand */
};

void ask_init(struct ask *a, bool wants_marks);
void ask_destroy(struct ask *a);

/* Reads a body, behind which JSON_PADDING bytes are readable. What is wrong is told in the words of
 * `why`, its target being the field. */
enum status ask_read(struct ask *a, enum ask_api api, struct str body,
                     struct problem *why) MUST_USE;

size_t ask_n_inputs(const struct ask *a);
const struct ask_input *ask_inputs(const struct ask *a);

#endif
