/* guard.c - bearer tokens on the data plane: who shows one, and what roles let him call. */
#include "control/control_private.h"

#include "arm/access.h"
#include "os/os.h"

#include <stdlib.h>

enum { KEPT_TOKENS = 1024 };

/* Who may do what, as all loops see it. Immutable, counted. */
struct grants {
    atomic_int refs;
    struct access *access; /* owned */
    /* Owned: object ids of our principals, and of those who may do everything; a line feed behind each. */
    struct buf principals, operators;
};

/* One loop's view. */
struct control_guard {
    struct control *control;
    struct token_checker *checker;
    struct grants *grants; /* one reference */
    int64_t generation;
    struct trust *trust; /* likewise */
    int64_t trust_generation;
};

static void grants_unref(struct grants *g) {
    if (!g || atomic_fetch_sub(&g->refs, 1) != 1)
        return;
    access_free(g->access);
    buf_destroy(&g->principals);
    buf_destroy(&g->operators);
    free(g);
}

static enum status note_principal(void *arg, struct str table, struct str key, struct str body,
                                  struct problem *why) {
    struct control *c = arg;
    struct principal p;
    struct buf text;
    (void)table;
    (void)key;
    buf_init(&text, STORE_BODY_MAX);
    buf_str(&text, body);
    buf_reserve_slack(&text, 0, JSON_PADDING);
    enum status st = principal_parse(c->doc, buf_view(&text), &p, why);
    for (int i = 0; st == ST_OK && i < 1 + p.is_operator; i++) {
        struct buf *list = i == 0 ? &c->principals : &c->operators;
        buf_str(list, str_of(p.object_id));
        buf_char(list, '\n');
    }
    buf_destroy(&text);
    return st;
}

enum status guard_publish(struct control *c, struct problem *why) {
    buf_clear(&c->principals);
    buf_clear(&c->operators);
    TRY(store_each(c->store, STR(PRINCIPAL_TABLE), note_principal, c, why));
    struct grants *g = xcalloc(1, sizeof *g), *old;
    atomic_init(&g->refs, 1);
    g->access = arm_copy_access(c->arm);
    buf_init(&g->principals, c->principals.ceiling);
    buf_str(&g->principals, buf_view(&c->principals));
    buf_init(&g->operators, c->operators.ceiling);
    buf_str(&g->operators, buf_view(&c->operators));
    pthread_mutex_lock(&c->grants_lock);
    old = c->grants;
    c->grants = g;
    atomic_fetch_add(&c->grants_generation, 1);
    pthread_mutex_unlock(&c->grants_lock);
    grants_unref(old);
    return ST_OK;
}

void guard_forget(struct control *c) {
    grants_unref(c->grants);
    c->grants = NULL;
}

struct control_guard *control_guard_new(struct control *c) {
    struct control_guard *g = xcalloc(1, sizeof *g);
    g->control = c;
    g->checker = token_checker_new(KEPT_TOKENS);
    g->generation = g->trust_generation = -1;
    return g;
}

void control_guard_free(struct control_guard *g) {
    if (!g)
        return;
    token_checker_free(g->checker);
    grants_unref(g->grants);
    trust_unref(g->trust);
    free(g);
}

/* A lock only after something changed. */
static const struct grants *newest(struct control_guard *g) {
    struct control *c = g->control;
    if (atomic_load(&c->grants_generation) != g->generation) {
        grants_unref(g->grants);
        pthread_mutex_lock(&c->grants_lock);
        g->grants = c->grants;
        atomic_fetch_add(&g->grants->refs, 1);
        g->generation = atomic_load(&c->grants_generation);
        pthread_mutex_unlock(&c->grants_lock);
    }
    return g->grants;
}

static const struct trust *newest_trust(struct control_guard *g) {
    struct control *c = g->control;
    if (atomic_load(&c->trust_generation) != g->trust_generation) {
        trust_unref(g->trust);
        pthread_mutex_lock(&c->trust_lock);
        g->trust = trust_ref(c->trust);
        g->trust_generation = atomic_load(&c->trust_generation);
        pthread_mutex_unlock(&c->trust_lock);
    }
    return g->trust;
}

static bool is_listed(const struct buf *list, struct str id) {
    struct str rest = buf_view(list), item;
    while (str_cut(&rest, '\n', &item)) {
        if (str_ieq(item, id))
            return true;
    }
    return false;
}

bool guard_is_ours(const struct control *c, struct str object_id) {
    return is_listed(&c->grants->principals, object_id);
}

struct str control_guard_caller(struct control_guard *g, struct str token) {
    const struct token_claims *claims;
    struct str issuer;
    enum token_verdict v =
        token_check(g->checker, newest_trust(g), token, os_wall_us() / 1000000, &claims, &issuer);
    if (v == TOKEN_UNKNOWN_KEY)
        issuers_ask_later(g->control->issuers, issuer);
    if (v != TOKEN_GOOD)
        return STR("");
    /* A token of ours outlives its principal; what it may do does not. And no other issuer speaks for our
     * principals, operators among them, whatever object id it puts in its tokens. */
    struct str id = str_of(claims->object_id);
    return claims->is_own == is_listed(&newest(g)->principals, id) ? id : STR("");
}

bool control_guard_may(struct control_guard *g, struct str caller, struct str data_action,
                       struct str scope) {
    const struct grants *now = newest(g);
    if (is_listed(&now->operators, caller))
        return true;
    return access_allows_data(now->access, caller, data_action, scope);
}
