/* request.h - what admission and forwarding need to know of a request's body. */
#ifndef CALL_REQUEST_H
#define CALL_REQUEST_H

#include "admit/output.h"
#include "call/route.h"
#include "model/catalog.h"
#include "tokens/prompt.h"
#include "tokens/vocabulary_set.h"
#include "json/json.h"

/* Members of a body that belong to its prompt. */
enum { REQUEST_PARTS = 8 };

/* What request_count is to find out, and by what means. */
struct request_how {
    struct prompt_counters *counters; /* NULL: all is estimated */
    struct prompt_how prompt;
    bool with_chars; /* the standard limits count characters; others need not know them */
};

/* How prompts of this model are counted, where its catalog entry says so; `own` is the vocabulary of its
 * tokenizer.json, NULL: it has none. *framing is the caller's memory, for as long as the answer. */
struct prompt_how request_how_of(const struct model *m, const struct shared_vocabulary *own,
                                 struct prompt_framing *framing);

struct request {
    struct str model;          /* a view into the document; {NULL, 0} when absent */
    struct json_span model_at; /* its value's bytes in the body; empty when absent */
    size_t open_at;            /* just behind the body's first brace */
    size_t close_at;           /* of its last one */
    bool is_empty_object;
    bool is_altered; /* by a member that is not looked into: no marks can be made of its prompt */
    bool may_be_cut; /* a prompt that is too long is to be cut (`truncation`), not refused */
    bool
        is_guessed; /* parts of the prompt may have far fewer tokens, or not reach the model at all */
    bool is_stream;
    bool wants_usage; /* stream_options.include_usage is true */
    /* The change of the body that sets it: these bytes (none: an insertion) become this text. */
    struct json_span ask_at;
    struct str ask_text; /* static */
    struct output_request output;
    int64_t prompt_tokens; /* how sure: tally.is_exact */
    int64_t prompt_chars;  /* of text, as the standard limits count it; see with_chars */
    int64_t n_prompts;     /* a completion's prompts are as many calls */

    /* What makes the prompt, from request_parse to request_count; by the room's own numbers. */
    struct request_part {
        struct json_value value;
        struct json_span at;
    } parts[REQUEST_PARTS];
    uint32_t has_part; /* bit i: parts[i] is there */
    struct request_how how;
    struct prompt_tally tally;
};

/*
 * Reading a request takes two steps, since the model's name may stand behind the prompt, and tells how
 * its tokens are counted.
 *
 * request_parse parses and checks the body of `len` bytes, JSON_PADDING readable ones behind it. Only
 * members that matter here are checked: wrong types are refused, and so is a member given twice,
 * since the backend might believe the other one. All else is the backend's to judge.
 *
 * request_count checks the prompt and counts its tokens by the rules of `model`; with the same
 * document and text, unchanged. request_marks may follow at once: it appends the marks of the prompt
 * to `out` (prompt_marks in tokens/prompt.h), if it is one and `how` said that they are wanted.
 *
 * A refusal leaves *out half filled.
 */
enum status request_parse(struct json_doc *doc, const char *text, size_t len, enum operation op,
                          struct request *out, struct problem *why) MUST_USE;
enum status request_count(struct request *r, const char *text, enum operation op, struct str model,
                          const struct request_how *how, struct problem *why) MUST_USE;
void request_marks(struct request *r, const struct siphash_key *key, struct buf *out);

/* Both, for a model that nobody knows. */
enum status request_read(struct json_doc *doc, const char *text, size_t len, enum operation op,
                         struct request *out, struct problem *why) MUST_USE;

#endif
