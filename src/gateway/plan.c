/* plan.c - what all loops serve by: the view, and the TLS settings of its backends. */
#include "gateway/gateway_private.h"

#include <stdio.h>
#include <stdlib.h>

static enum status read_trust(struct plan *p, const struct backend *backends, struct problem *why) {
    for (size_t i = 0; i < p->n_backends; i++) {
        const struct backend *b = &backends[i];
        if (!b->url.is_tls)
            continue;
        /* Those of one pool mostly trust the same: then one context serves them all. */
        const struct backend *last = i ? &backends[i - 1] : NULL;
        if (last && p->tls[i - 1] && str_eq(last->ca_file, b->ca_file) &&
            last->is_insecure == b->is_insecure) {
            p->tls[i] = tls_ref(p->tls[i - 1]);
            continue;
        }
        char *ca = b->ca_file.n ? str_dup(b->ca_file) : NULL;
        enum status st = tls_client_new(ca, !b->is_insecure, &p->tls[i], why);
        free(ca);
        TRY(st);
    }
    return ST_OK;
}

static void plan_free(struct plan *p) {
    for (size_t i = 0; i < p->n_backends; i++)
        tls_unref(p->tls[i]);
    free(p->tls);
    vocabulary_set_unref(p->vocabularies);
    live_view_unref(p->view);
    snapshot_unref(p->snapshot);
    free(p);
}

enum status plan_new(struct snapshot *s, const struct plan *before, struct plan_yard *yard,
                     struct plan **out, struct problem *why) {
    struct plan *p = xcalloc(1, sizeof *p);
    const struct backend *backends = snapshot_backends(s, &p->n_backends);
    p->tls = xcalloc(p->n_backends, sizeof(struct tls_context *));
    p->snapshot = snapshot_ref(s);
    p->yard = yard;
    atomic_init(&p->refs, 1);
    enum status st = ST_OK;
    if (before && snapshot_is_patch_of(s, before->snapshot)) {
        for (size_t i = 0; i < p->n_backends; i++)
            p->tls[i] = before->tls[i] ? tls_ref(before->tls[i]) : NULL;
        p->vocabularies = vocabulary_set_ref(before->vocabularies);
    } else {
        st = read_trust(p, backends, why);
    }
    if (st == ST_OK)
        *out = p;
    else
        plan_free(p);
    return st;
}

void plan_count_by(struct plan *p, struct vocabulary_set *vocabularies) {
    vocabulary_set_unref(p->vocabularies);
    p->vocabularies = vocabularies;
}

void plan_bind(struct plan *p, struct live_view *view) {
    assert(!p->view && view->snapshot == p->snapshot);
    p->view = view;
}

struct plan *plan_ref(struct plan *p) {
    atomic_fetch_add(&p->refs, 1);
    return p;
}

void plan_unref(struct plan *p) {
    if (!p || atomic_fetch_sub(&p->refs, 1) != 1)
        return;
    p->next = atomic_load(&p->yard->first);
    while (!atomic_compare_exchange_weak(&p->yard->first, &p->next, p))
        continue;
}

void plan_yard_clear(struct plan_yard *yard) {
    struct plan *next;
    /* All at once: nobody takes single ones out, so no address can come back in between. */
    for (struct plan *p = atomic_exchange(&yard->first, NULL); p; p = next) {
        next = p->next;
        plan_free(p);
    }
}

struct live_view *plan_view(const struct plan *p) {
    return p->view;
}

struct vocabulary_set *plan_vocabularies(const struct plan *p) {
    return p->vocabularies;
}
