/* lease.c - a loop's hold on a plan, with its connections to the plan's backends. */
#include "gateway/gateway_private.h"

#include <stdlib.h>

/* Of one loop, when the configuration sets no limit. */
enum { CONNECTIONS_MAX = 16384 };

/* Whether connections made for one may serve the other. */
static bool is_same_destination(const struct backend *a, const struct backend *b) {
    return a == b || (str_eq(a->id, b->id) && str_eq(a->url_text, b->url_text) &&
                      str_eq(a->ca_file, b->ca_file) && a->is_insecure == b->is_insecure &&
                      a->max_connections == b->max_connections &&
                      a->connect_timeout_ms == b->connect_timeout_ms &&
                      a->first_byte_timeout_ms == b->first_byte_timeout_ms &&
                      a->idle_timeout_ms == b->idle_timeout_ms);
}

struct lease *lease_new(struct plan *plan, struct loop *l, const struct gateway_settings *settings,
                        struct shelf *shelf, const struct lease *before) {
    struct lease *lease = xcalloc(1, sizeof *lease);
    lease->plan = plan_ref(plan);
    lease->loop = l;
    lease->settings = settings;
    lease->shelf = shelf;
    lease->refs = 1;
    lease->pools = xcalloc(plan->n_backends, sizeof(struct gateway_pool *));
    if (!before)
        return lease;
    size_t n, n_before;
    const struct backend *now = snapshot_backends(plan->view->snapshot, &n);
    const struct backend *old = snapshot_backends(before->plan->view->snapshot, &n_before);
    /* Backends lie in order of their ids, so one walk over both finds the pairs. */
    for (size_t i = 0, k = 0; i < n && k < n_before;) {
        int order = str_cmp(now[i].id, old[k].id);
        /* The file of trusted certificates may have another content under the same name. */
        if (order == 0 && before->pools[k] && is_same_destination(&now[i], &old[k]) &&
            tls_trusts_same(plan->tls[i], before->plan->tls[k])) {
            lease->pools[i] = before->pools[k];
            lease->pools[i]->refs++;
        }
        i += order <= 0;
        k += order >= 0;
    }
    return lease;
}

void lease_unref(struct lease *lease) {
    if (--lease->refs)
        return;
    for (size_t i = 0; i < lease->plan->n_backends; i++) {
        struct gateway_pool *p = lease->pools[i];
        if (p && --p->refs == 0) {
            client_pool_free(p->pool);
            free(p);
        }
    }
    free(lease->pools);
    plan_unref(lease->plan);
    free(lease);
}

struct client_pool *lease_pool(struct lease *lease, const struct backend *b) {
    struct gateway_pool *p = lease->pools[b->index];
    if (p)
        return p->pool;
    p = xcalloc(1, sizeof *p);
    p->refs = 1;
    int n_loops = lease->settings->n_loops;
    char *host = str_dup(b->url.host);
    struct client_target target = {
        .host = host,
        .port = b->url.port,
        .tls = lease->plan->tls[b->index],
        .max_connections = b->max_connections ? (int)((b->max_connections + n_loops - 1) / n_loops)
                                              : CONNECTIONS_MAX,
        .connect_ms = b->connect_timeout_ms,
        .first_byte_ms = b->first_byte_timeout_ms,
        .stall_ms = b->idle_timeout_ms,
        .idle_ms = lease->settings->backend_idle_ms,
        .shelf = lease->shelf,
    };
    p->pool = client_pool_new(lease->loop, &target);
    free(host);
    lease->pools[b->index] = p;
    return p->pool;
}
