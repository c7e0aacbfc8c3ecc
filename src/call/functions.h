/* functions.h - function definitions as OpenAI's models are given them: types of TypeScript, no JSON. */
#ifndef CALL_FUNCTIONS_H
#define CALL_FUNCTIONS_H

#include "base/buf.h"
#include "json/json.h"

/*
 * OpenAI has published no such form. What is known was found by comparing texts with the prompt tokens
 * that the API reports (openai-chat-tokens by Harry Marr, 2023, whose examples with nested objects it
 * counts to the token, and LangChain, which counts by it):
 *
 *     namespace functions {
 *
 *     // Finds recipes
 *     type find = (_: {
 *     // What there is at home
 *     ingredients: {
 *       name: string,
 *       unit?: "g" | "ml",
 *     }[],
 *     }) => any;
 *
 *     } // namespace functions
 *
 * What is not required has a question mark; descriptions are of the outermost members only; bounds of numbers,
 * titles and additionalProperties are not there.
 */

/* Around the definitions, by the same source. */
enum { FUNCTIONS_FRAME = 9 };

/*
 * Appends this form of `list`, the functions or tools of a chat. False when a schema has what nobody knows
 * the form of, such as a reference, or nests deeper than FUNCTIONS_DEPTH, or requires more than a hundred members of
 * one object; then `out` holds a part. What has no room shows in buf_status, or as false. Time is linear in the list.
 */
enum { FUNCTIONS_DEPTH = 16 };
bool functions_put(struct buf *out, struct json_value list) MUST_USE;

#endif
