/*
 * output.h - how many output tokens a request may lead to, judged before it runs.
 *
 * Admission spec 1.2: o_est = m * n, with m the largest given of max_tokens, max_completion_tokens
 * and max_output_tokens; n = max(n, best_of, 1), since every choice is generated.
 */
#ifndef ADMIT_OUTPUT_H
#define ADMIT_OUTPUT_H

#include "base/base.h"

/* Which interface was called: decides what an absent limit means. */
enum output_api {
    OUTPUT_CHAT,        /* chat completions and responses: the learned value */
    OUTPUT_COMPLETIONS, /* 16, the default of that interface */
    OUTPUT_EMBEDDINGS,  /* 0: there is no output */
};

#define OUTPUT_COMPLETIONS_DEFAULT 16

/* As the caller sent it. Absent is -1 for the three limits, and 0 or less for n and best_of. */
struct output_request {
    enum output_api api;
    int64_t max_tokens, max_completion_tokens, max_output_tokens;
    int64_t n, best_of;
};

#define OUTPUT_REQUEST_NONE                                                                        \
    ((struct output_request){.max_tokens = -1,                                                     \
                             .max_completion_tokens = -1,                                          \
                             .max_output_tokens = -1,                                              \
                             .n = 1,                                                               \
                             .best_of = 1})

/* The limit that the caller gave, over all choices; -1 when there is none. Saturates. */
int64_t output_cap(const struct output_request *r);

/* The output tokens to charge ahead; `learned` is output_model_estimate's. Saturates. */
int64_t output_estimate(const struct output_request *r, int64_t learned);

#endif
