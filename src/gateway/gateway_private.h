/* gateway_private.h - the parts of the data plane that stand in files of their own. */
#ifndef GATEWAY_GATEWAY_PRIVATE_H
#define GATEWAY_GATEWAY_PRIVATE_H

#include "client/client.h"
#include "gateway/gateway.h"

struct plan {
    struct live_view *view;   /* one reference */
    struct tls_context **tls; /* of each backend, NULL for http */
    size_t n_backends;
    atomic_int refs;
    struct vocabulary_set *vocabularies; /* one reference; NULL: none */
    struct plan_yard *yard;              /* borrowed */
    struct plan *next;                   /* in the yard */
};

/* The connections of this loop to one backend; shared by the leases that know it unchanged. */
struct gateway_pool {
    struct client_pool *pool;
    int refs;
};

/*
 * A loop's hold on a plan: the plan stays while a call of this loop goes by it. So a swap costs the
 * calls nothing, not even an atomic addition.
 */
struct lease {
    struct plan *plan;           /* one reference */
    struct gateway_pool **pools; /* of each backend, NULL until it is first used */
    struct loop *loop;
    const struct gateway_settings *settings;
    struct shelf *shelf; /* the gateway's, for heads */
    int refs;            /* the loop's own and one per call */
};

/* `before` is the lease that this one follows, or NULL: connections to backends that did not change
 * are kept. */
struct lease *lease_new(struct plan *plan, struct loop *l, const struct gateway_settings *settings,
                        struct shelf *shelf, const struct lease *before);
void lease_unref(struct lease *lease);

/* The connections to a backend of the lease's view. */
struct client_pool *lease_pool(struct lease *lease, const struct backend *b);

#endif
