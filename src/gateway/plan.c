/* plan.c - what all loops serve by: the view, and the TLS settings of its backends. */
#include "gateway/gateway_private.h"

#include <stdio.h>
#include <stdlib.h>

enum status plan_new(struct snapshot *s, struct plan **out, struct problem *why) {
    struct plan *p = xcalloc(1, sizeof *p);
    size_t n;
    const struct backend *backends = snapshot_backends(s, &n);
    p->n_backends = n;
    p->tls = xcalloc(n, sizeof(struct tls_context *));
    atomic_init(&p->refs, 1);
    for (size_t i = 0; i < n; i++) {
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
        if (st != ST_OK) {
            plan_unref(p);
            return st;
        }
    }
    *out = p;
    return ST_OK;
}

void plan_bind(struct plan *p, struct live_view *view) {
    assert(!p->view && view->n_backends == p->n_backends);
    p->view = view;
}

struct plan *plan_ref(struct plan *p) {
    atomic_fetch_add(&p->refs, 1);
    return p;
}

void plan_unref(struct plan *p) {
    if (!p || atomic_fetch_sub(&p->refs, 1) != 1)
        return;
    for (size_t i = 0; i < p->n_backends; i++)
        tls_unref(p->tls[i]);
    free(p->tls);
    live_view_unref(p->view);
    free(p);
}

struct live_view *plan_view(const struct plan *p) {
    return p->view;
}
