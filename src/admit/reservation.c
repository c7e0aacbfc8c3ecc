#include "admit/reservation.h"

static int64_t clamp(int64_t x, int64_t lo, int64_t hi) {
    return i64_min(i64_max(x, lo), hi);
}

static int64_t tokens_of(int64_t claimed) {
    return clamp(claimed, 0, RESERVATION_TOKENS_MAX);
}

/* tokens * weight is at most 2^60, so a prompt and its output make at most 2^61. */
static int64_t price(int64_t tokens, int64_t weight) {
    return tokens_of(tokens) * clamp(weight, 0, RESERVATION_WEIGHT_MAX);
}

/* Each tier prices the tokens that lie in it, so a longer prompt never costs less. */
static int64_t uncached_mt(const struct weights *w, int64_t tokens) {
    int64_t total = 0, weight = w->w_in, from = 0;
    for (int i = 0; i < w->n_tiers && i < WEIGHTS_TIERS_MAX; i++) {
        int64_t until = clamp(w->tiers[i].from_tokens, from, i64_max(from, tokens));
        total += price(until - from, weight);
        from = until;
        weight = w->tiers[i].w_in;
    }
    return total + price(tokens - from, weight);
}

int64_t weights_input_mt(const struct weights *w, int64_t prompt, int64_t cached) {
    prompt = tokens_of(prompt);
    cached = clamp(cached, 0, prompt);
    return uncached_mt(w, prompt - cached) + price(cached, w->w_cached);
}

/* At least the floor, for an input that is priced already. */
static int64_t total_mt(const struct weights *w, int64_t in_mt, int64_t output) {
    int64_t least = clamp(w->min_cost, 0, RESERVATION_TOKENS_MAX);
    return i64_max(least, in_mt + price(output, w->w_out));
}

int64_t weights_estimate_mt(const struct weights *w, int64_t prompt, int64_t cached,
                            int64_t output) {
    return total_mt(w, weights_input_mt(w, prompt, cached), output);
}

void reservation_init(struct reservation *r, const struct weights *w, int64_t prompt,
                      int64_t cached_pred, int64_t out_est, int64_t out_cap) {
    *r = (struct reservation){
        .weights = *w,
        .prompt = tokens_of(prompt),
        .in_mt = weights_input_mt(w, prompt, cached_pred),
        .out_tokens = tokens_of(out_est),
        .out_cap = out_cap < 0 ? -1 : tokens_of(out_cap),
    };
    r->charged_mt = total_mt(w, r->in_mt, r->out_tokens);
}

int64_t reservation_prefill(struct reservation *r, int64_t prompt_tokens, int64_t cached) {
    if (r->is_final)
        return 0;
    if (prompt_tokens >= 0)
        r->prompt = tokens_of(prompt_tokens);
    int64_t in_mt = weights_input_mt(&r->weights, r->prompt, cached);
    int64_t delta = in_mt - r->in_mt;
    r->in_mt = in_mt;
    r->charged_mt += delta;
    return delta;
}

int64_t reservation_progress(struct reservation *r, int64_t generated) {
    generated = tokens_of(generated);
    if (r->is_final || generated <= r->out_tokens)
        return 0;
    int64_t block = clamp(r->weights.block, 1, RESERVATION_TOKENS_MAX);
    int64_t n_blocks = (generated - r->out_tokens + block - 1) / block;
    int64_t want = r->out_tokens + n_blocks * block;
    if (r->out_cap >= 0)
        want = i64_max(i64_min(want, r->out_cap), generated);
    want = tokens_of(want);
    int64_t delta = price(want - r->out_tokens, r->weights.w_out);
    r->out_tokens = want;
    r->charged_mt += delta;
    return delta;
}

int64_t reservation_finish(struct reservation *r, int64_t generated, bool is_executed) {
    if (r->is_final)
        return 0;
    r->is_final = true;
    int64_t actual = is_executed ? total_mt(&r->weights, r->in_mt, generated) : 0;
    int64_t delta = actual - r->charged_mt;
    r->charged_mt = actual;
    return delta;
}
