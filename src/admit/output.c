#include "admit/output.h"

/* Both factors come from outside; a product that does not fit is as good as endless. */
static int64_t times_choices(const struct output_request *r, int64_t tokens) {
    int64_t choices = i64_max(1, i64_max(r->n, r->best_of));
    int64_t product;
    return __builtin_mul_overflow(tokens, choices, &product) ? INT64_MAX : product;
}

int64_t output_cap(const struct output_request *r) {
    int64_t given = i64_max(r->max_tokens, i64_max(r->max_completion_tokens, r->max_output_tokens));
    return given < 0 ? -1 : times_choices(r, given);
}

int64_t output_estimate(const struct output_request *r, int64_t learned) {
    int64_t cap = output_cap(r);
    if (cap >= 0)
        return cap;
    switch (r->api) {
    case OUTPUT_CHAT:
        return times_choices(r, i64_max(0, learned));
    case OUTPUT_COMPLETIONS:
        return times_choices(r, OUTPUT_COMPLETIONS_DEFAULT);
    case OUTPUT_EMBEDDINGS:
        break;
    }
    return 0;
}
