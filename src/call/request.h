/* request.h - what admission and forwarding need to know of a request's body. */
#ifndef CALL_REQUEST_H
#define CALL_REQUEST_H

#include "admit/output.h"
#include "call/route.h"
#include "json/json.h"

struct request {
    struct str model;          /* a view into the document; {NULL, 0} when absent */
    struct json_span model_at; /* its value's bytes in the body; empty when absent */
    size_t open_at;            /* just behind the body's first brace */
    size_t close_at;           /* of its last one */
    bool is_empty_object;
    bool is_stream;
    bool wants_usage; /* stream_options.include_usage is true */
    /* The change of the body that sets it: these bytes (none: an insertion) become this text. */
    struct json_span ask_at;
    struct str ask_text; /* static */
    struct output_request output;
    int64_t prompt_tokens; /* estimated */
    int64_t prompt_chars;  /* of text, as the standard limits count it */
    int64_t n_prompts;     /* a completion's prompts are as many calls */
};

/*
 * Parses and checks the body of `len` bytes, JSON_PADDING readable ones behind it. Only members that
 * matter here are checked: wrong types are refused, and so is a member given twice, since the
 * backend might believe the other one. All else is the backend's to judge.
 */
enum status request_read(struct json_doc *doc, const char *text, size_t len, enum operation op,
                         struct request *out, struct problem *why) MUST_USE;

#endif
