/* tokenizer.c - the tokenizer.json that a model names is read on the pool, not on the control thread. */
#include "control/control_private.h"

/*
 * A change whose file is being read is made, whether its client stays for the answer or leaves: as all
 * other changes are, which nobody can take back by leaving. One that still waits its turn when the process
 * ends is not.
 */

static void let_go(struct control *c, struct str path) {
    if (c->host.tokenizer_done)
        c->host.tokenizer_done(c->host.arg, path);
}

void tokenizer_forget(struct errand *e) {
    if (e->has_read_tokenizer && e->tokenizer_st == ST_OK)
        let_go(e->door->control, buf_view(&e->tokenizer));
    e->has_read_tokenizer = false;
    buf_clear(&e->tokenizer);
}

enum status tokenizer_ask(struct control *c, struct str path, struct problem *why) {
    struct errand *e = c->in_hand;
    if (!c->host.tokenizer)
        return ST_OK;
    if (!e) { /* resources of files, before anybody can be kept waiting */
        TRY(c->host.tokenizer(c->host.arg, path, why));
        let_go(c, path);
        return ST_OK;
    }
    if (e->has_read_tokenizer && str_eq(buf_view(&e->tokenizer), path)) {
        if (e->tokenizer_st != ST_OK && why)
            *why = e->tokenizer_why;
        return e->tokenizer_st;
    }
    tokenizer_forget(e);
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
    if (!slow_begin(e, SLOW_TOKENIZERS, read_file, on_read))
        slow_refuse(e, "Too many tokenizers are being read; try again.");
}
