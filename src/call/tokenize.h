/* tokenize.h - how many tokens a text or a chat has for a model, as vLLM's POST /tokenize says it. */
#ifndef CALL_TOKENIZE_H
#define CALL_TOKENIZE_H

#include "call/request.h"
#include "model/snapshot.h"
#include "tokens/vocabulary_set.h"

/* What is counted with; all borrowed. */
struct tokenize_env {
    struct json_doc *doc;
    struct prompt_counters *counters;
    const struct catalog *catalog;
    const struct vocabulary_set *vocabularies; /* by the models' `tokenizer`; NULL: none */
};

/*
 * Answers {"model": NAME, "prompt": TEXT} and {"model": NAME, "messages": [...]} (with tools and whatever
 * else a chat has) with {"count", "max_model_len", "exact"}, and for a text its ids as "tokens": the
 * framing of chats has none that are published. NAME is a model of the catalog, without regard to
 * case, with its version or not, or one whose encoding its name tells. `max_model_len` is null when
 * nobody knows it; `exact` is false, and there are no ids, where no vocabulary is known and the count is
 * an estimate. Other members are passed over.
 *
 * The body has JSON_PADDING readable bytes behind it. Takes as long as counting does, so long
 * ones do not belong on a loop. ST_BAD_JSON, ST_BAD_REQUEST or ST_NOT_FOUND with the member in `why`.
 */
enum status tokenize_answer(const struct tokenize_env *env, struct str body, struct buf *out,
                            struct problem *why) MUST_USE;

#endif
