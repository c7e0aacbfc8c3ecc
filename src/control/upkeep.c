/* upkeep.c - what a running control plane renews: its certificate, the key of its tokens, what files say. */
#include "control/control_private.h"

#include "os/os.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    LATEST_MS = 3600000, /* the clock may be set, and files may be replaced */
    EARLIEST_MS = 1000,  /* whatever is due */
    AFTER_FAULT_MS = 60000,
    NAMES_MAX = 32,
};

/* One round: prepared off the loop, since it waits for files and makes keys, then put in force on it. */
struct round {
    struct control *control;
    bool is_reload, must_rotate;
    int64_t now_s;
    enum status st;
    struct problem why;
    bool is_renewed, is_rotated;
    struct tls_context *outside; /* owned, NULL when not read; as is the next */
    struct issuers_authorities *authorities;
    struct vault_tokens tokens; /* owned when is_rotated */
};

/* --- off the loop --- */

/* One's own certificate is read again when that is asked for; the one that is made here, when it is due. */
static enum status renew_certificate(struct round *r) {
    struct control *c = r->control;
    struct str names[NAMES_MAX];
    if (c->cert_file[0])
        return r->is_reload ? tls_server_reload(c->tls, c->cert_file, c->key_file, &r->why) : ST_OK;
    size_t n = control_names(c, names, NAMES_MAX);
    TRY(vault_renew(&c->vault, names, n, r->now_s, &r->is_renewed, &r->why));
    if (!r->is_renewed && !r->is_reload)
        return ST_OK;
    return tls_server_reload(c->tls, c->vault.server_cert_file, c->vault.server_key_file, &r->why);
}

static enum status prepare(struct round *r) {
    struct control *c = r->control;
    if (r->is_reload) {
        TRY(tls_client_new(NULL, true, &r->outside, &r->why));
        TRY(issuers_read(c->issuers, &r->authorities, &r->why));
    }
    TRY(renew_certificate(r));
    if (!r->must_rotate)
        return ST_OK;
    TRY(vault_rotate_tokens(&c->vault, TOKEN_LIFETIME_S + TOKEN_SKEW_S, r->now_s, &r->tokens,
                            &r->why));
    r->is_rotated = true;
    return ST_OK;
}

static void work(void *arg) {
    struct round *r = arg;
    r->st = prepare(r);
}

/* --- on the loop --- */

static void begin(struct control *c, bool is_reload);

static void on_due(void *arg) {
    begin(arg, false);
}

/* When something is due next. */
static int64_t wait_ms(const struct control *c, const struct round *r) {
    const struct vault *v = &c->vault;
    int64_t now_s = os_wall_us() / 1000000, due_s = now_s + LATEST_MS / 1000;
    if (r && r->st != ST_OK)
        return AFTER_FAULT_MS;
    /* What is over already was looked at just now: a certificate that ends with its authority cannot be
     * made to last longer. */
    if (!c->cert_file[0] && v->server_renew_s >= now_s)
        due_s = i64_min(due_s, v->server_renew_s + 1);
    if (c->token_key_s)
        due_s = i64_min(due_s, v->tokens.made_s + c->token_key_s);
    for (size_t i = 0; i < v->tokens.n_old; i++)
        due_s = i64_min(due_s, v->tokens.old[i].until_s);
    return i64_max((due_s - now_s) * 1000, EARLIEST_MS);
}

static void answer_rotation(struct errand *e, const struct round *r) {
    if (r->st == ST_OK) {
        buf_printf(&e->answer.body, "{\"keyId\":\"%.*s\"}",
                   STR_ARG(rsa_key_id(r->control->vault.tokens.key)));
        e->answer.status = 200;
    } else {
        arm_refuse(&e->answer, r->st == ST_OVERLOADED ? 409 : 503,
                   r->st == ST_OVERLOADED ? STR("Conflict") : STR("ServiceUnavailable"),
                   "The key was not replaced: %s", r->why.message);
    }
    errand_reply(e);
}

static void tell(struct control *c, const struct round *r) {
    struct upkeep *u = &c->upkeep;
    if (r->is_reload)
        u->reloaded(u->reloaded_arg, r->st, &r->why);
    else if (r->st != ST_OK)
        fprintf(stderr, "weir: control plane: upkeep failed: %s: %s\n", r->why.target,
                r->why.message);
    if (r->is_renewed)
        fprintf(stderr, "weir: control plane: its certificate was made anew\n");
    if (r->is_rotated)
        fprintf(stderr, "weir: control plane: another key signs tokens now\n");
}

static void adopt(struct control *c, struct round *r) {
    if (r->is_rotated)
        vault_adopt_tokens(&c->vault, &r->tokens);
    if (vault_forget_tokens(&c->vault, r->now_s) || r->is_rotated)
        control_publish_trust(c);
    if (r->st == ST_OK && r->is_reload) {
        notices_set_tls(c->notices, r->outside);
        if (!c->upkeep.has_ended) {
            issuers_adopt(c->issuers, r->authorities);
            r->authorities = NULL;
        }
    }
}

static const struct problem ending = {.message = "the server is shutting down"};

/* Whoever still waits for a round waits in vain. */
static void end(struct control *c) {
    struct upkeep *u = &c->upkeep;
    LIST_EACH (&u->rotating, it) {
        struct errand *e = CONTAINER_OF(it, struct errand, link);
        list_remove(it);
        arm_refuse(&e->answer, 503, STR("ServiceUnavailable"), "%s", ending.message);
        errand_reply(e);
    }
    if (u->must_reload)
        u->reloaded(u->reloaded_arg, ST_SHUTTING_DOWN, &ending);
    u->ended(c);
}

static void on_worked(void *arg) {
    struct round *r = arg;
    struct control *c = r->control;
    struct upkeep *u = &c->upkeep;
    u->is_running = false;
    adopt(c, r);
    tell(c, r);
    LIST_EACH (&u->rotating, it) {
        struct errand *e = CONTAINER_OF(it, struct errand, link);
        /* One that came while the round ran waits for the next. */
        if (e->is_rotating) {
            list_remove(it);
            answer_rotation(e, r);
        }
    }
    if (u->has_ended)
        end(c);
    else if (u->must_reload || !list_is_empty(&u->rotating))
        begin(c, u->must_reload);
    else
        u->timer = loop_timer_new(c->loop, wait_ms(c, r), 0, on_due, c);
    tls_unref(r->outside);
    issuers_drop(r->authorities);
    free(r);
}

static void begin(struct control *c, bool is_reload) {
    struct upkeep *u = &c->upkeep;
    loop_timer_close(u->timer);
    u->timer = NULL;
    struct round *r = xcalloc(1, sizeof *r);
    r->control = c;
    r->is_reload = is_reload;
    r->now_s = os_wall_us() / 1000000;
    r->must_rotate = c->token_key_s && r->now_s >= c->vault.tokens.made_s + c->token_key_s;
    LIST_EACH (&u->rotating, it) {
        CONTAINER_OF(it, struct errand, link)->is_rotating = true;
        r->must_rotate = true;
    }
    u->must_reload = false;
    u->is_running = true;
    loop_work(c->loop, work, on_worked, r);
}

void upkeep_start(struct control *c) {
    c->upkeep.timer = loop_timer_new(c->loop, wait_ms(c, NULL), 0, on_due, c);
}

void upkeep_rotate(struct control *c, struct errand *e) {
    struct upkeep *u = &c->upkeep;
    if (u->has_ended) {
        arm_refuse(&e->answer, 503, STR("ServiceUnavailable"), "%s", ending.message);
        errand_reply(e);
        return;
    }
    list_append(&u->rotating, &e->link);
    if (!u->is_running)
        begin(c, false);
}

void upkeep_reload(struct control *c,
                   void (*done)(void *arg, enum status st, const struct problem *why), void *arg) {
    struct upkeep *u = &c->upkeep;
    u->reloaded = done;
    u->reloaded_arg = arg;
    if (u->is_running)
        u->must_reload = true;
    else
        begin(c, true);
}

void upkeep_end(struct control *c, void (*ended)(struct control *c)) {
    struct upkeep *u = &c->upkeep;
    u->has_ended = true;
    u->ended = ended;
    loop_timer_close(u->timer);
    u->timer = NULL;
    if (!u->is_running)
        end(c);
}
