/* tokenizer.c - the tokenizer.json that a model names is read on the pool, not on the control thread. */
#include "control/control_private.h"

enum status tokenizer_ask(struct control *c, struct str path, struct problem *why) {
    struct errand *e = c->in_hand;
    if (!c->host.tokenizer)
        return ST_OK;
    if (!e) /* resources of files, before anybody can be kept waiting */
        return c->host.tokenizer(c->host.arg, path, why);
    if (e->has_read_tokenizer && str_eq(buf_view(&e->tokenizer), path)) {
        if (e->tokenizer_st != ST_OK && why)
            *why = e->tokenizer_why;
        return e->tokenizer_st;
    }
    buf_clear(&e->tokenizer);
    buf_str(&e->tokenizer, path);
    e->must_read_tokenizer = true;
    return problem_set(why, ST_STORE_BUSY, path, "is read first");
}

/* On the pool. */
static void read_file(void *arg) {
    struct errand *e = arg;
    const struct control_host *host = &e->door->control->host;
    e->tokenizer_st = host->tokenizer(host->arg, buf_view(&e->tokenizer), &e->tokenizer_why);
}

static void on_read(void *arg) {
    struct errand *e = arg;
    e->has_read_tokenizer = true;
    errand_to_thread(e);
}

void tokenizer_begin(struct errand *e) {
    e->must_read_tokenizer = false;
    if (!slow_begin(e, read_file, on_read))
        errand_refuse(e, 503, "ServiceUnavailable",
                      "Too many tokenizers are being read; try again.");
}
