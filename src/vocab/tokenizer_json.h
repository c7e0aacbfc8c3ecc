/* tokenizer_json.h - a model's published tokenizer.json, compiled into a vocabulary. */
#ifndef VOCAB_TOKENIZER_JSON_H
#define VOCAB_TOKENIZER_JSON_H

#include "base/buf.h"
#include "base/status.h"

/*
 * Hugging Face's library `tokenizers` writes such a file for each model (its crate's source, 0.23, is
 * what the format is known from). Of the many things that it can say, these are understood:
 *
 *   model           BPE, with merges as texts or pairs, with or without ignore_merges; without
 *                   dropout, prefixes and suffixes of words
 *   pre_tokenizer   ByteLevel; or a Sequence of a Split by one of the expressions of vocabulary.h, or of
 *                   Digits one by one, and ByteLevel; without add_prefix_space
 *   normalizer      none, or NFC
 *   added_tokens    all, but for single_word
 *
 * That is GPT-2, Llama 3 and 4, Qwen 2 to 3.5, Mistral Nemo and newer, Phi-4, gpt-oss, StarCoder 2,
 * SmolLM and what is made of them. SentencePiece's kind (Llama 2, Gemma) and DeepSeek's are refused.
 * The post_processor, which puts tokens around a text, and the decoder don't matter here.
 */
enum {
    TOKENIZER_JSON_MAX = 64 << 20,       /* the longest file, bytes; gpt-oss has 28 MB */
    TOKENIZER_JSON_BLOCK_MAX = 64 << 20, /* the largest block made of it */
};

/*
 * Makes a block for vocabulary_open of the text, which JSON_PADDING readable bytes follow, into `out`,
 * which is emptied and has the ceiling TOKENIZER_JSON_BLOCK_MAX. ST_BAD_JSON, ST_BAD_REQUEST or
 * ST_TOO_LARGE with "FILE:LINE" and, in the message, the member that is at fault and what is
 * understood. Takes up to a second, and 20 times the text's memory meanwhile.
 */
enum status tokenizer_json_compile(struct buf *out, struct str file, struct str text,
                                   struct problem *why) MUST_USE;

#endif
