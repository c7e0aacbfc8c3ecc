/* answer.h - writes what the simulated model server answers: bodies and events of the four APIs. */
#ifndef SIM_ANSWER_H
#define SIM_ANSWER_H

#include "base/buf.h"
#include "sim/ask.h"

struct answer_usage {
    int64_t prompt, cached, output; /* tokens; cached ones are part of prompt */
};

enum answer_usage_field {
    ANSWER_USAGE_ABSENT, /* events do not mention it */
    ANSWER_USAGE_NULL,   /* "usage":null in all but the last: what include_usage brings */
    ANSWER_USAGE_EVERY,  /* the count so far in each event */
};

struct answer_choice {
    struct str text;
    bool is_plain; /* the text needs no escaping in JSON */
    bool is_cut;   /* finish_reason "length", else "stop" */
};

/* What all bodies and events of one answer have in common. The shapes are those of the inference
 * contract, section 4. Views are borrowed. */
struct answer {
    enum ask_api api;
    struct str model; /* as JSON, with its quotes */
    struct str frame; /* what answer_put_frame wrote, for a stream of many events; or empty */
    uint64_t id;
    int64_t created_s; /* Unix time */
    struct answer_usage usage;
    enum answer_usage_field usage_field;
    bool says_usage; /* in bodies, and at the end of streams */
    bool is_crlf;
    const struct answer_choice *choices;
    int n_choices;
    int64_t sequence; /* of the next event, in Responses */
};

/* The id as clients see it: "chatcmpl-0123456789abcdef". */
void answer_put_id(struct buf *out, const struct answer *a);

/* The whole answer as one body. */
void answer_put_body(struct buf *out, const struct answer *a);

/* What each event of this answer begins with; worth keeping in a.frame for a stream of many. */
void answer_put_frame(struct buf *out, const struct answer *a);

/* Event `i` of the opening, in front of the first token; false when there is no such number. */
bool answer_put_opening(struct buf *out, struct answer *a, int i);

/* A piece of the text of a choice. */
void answer_put_delta(struct buf *out, struct answer *a, int choice, struct str text);

/* A choice has ended. Writes nothing for Responses, whose only choice ends with the closing. */
void answer_put_finish(struct buf *out, struct answer *a, int choice);

/* Event `i` of the closing, behind the last token; false when there is none with that number. */
bool answer_put_closing(struct buf *out, struct answer *a, int i);

/* An event that is no JSON, and one that reports an error after which nothing comes. */
void answer_put_garbage(struct buf *out, const struct answer *a);
void answer_put_error(struct buf *out, const struct answer *a);

/* The answer to an embeddings request: for each input a unit vector made of its hash alone. */
void answer_put_embeddings(struct buf *out, const struct answer *a, const struct ask_input *inputs,
                           size_t n, int64_t dimensions, bool is_floats);

#endif
