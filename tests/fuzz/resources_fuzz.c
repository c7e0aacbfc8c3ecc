/* resources_fuzz.c - arbitrary bytes as a configuration: refused with a reason, or whole and sound. */
/* rooms: model json base */
#include "model/snapshot.h"

#include <stdlib.h>

#include "fuzz/fuzz.h"

/* Some secrets can be read, others cannot, and some are no good. */
static enum status read_secret(void *arg, enum secret_source source, struct str name,
                               struct str from, struct buf *out) {
    (void)arg, (void)from;
    if (name.n % 5 == 0)
        return ST_IO_FAILED;
    buf_printf(out, "secret-%d-%.*s", (int)source, STR_ARG(name));
    return ST_OK;
}

static void check(const struct snapshot *s) {
    size_t n_deployments, n_accounts, n_backends, n_pools, n;
    const struct deployment *d = snapshot_deployments(s, &n_deployments);
    const struct account *a = snapshot_accounts(s, &n_accounts);
    const struct backend *b = snapshot_backends(s, &n_backends);
    const struct pool *p = snapshot_pools(s, &n_pools);
    n = 0;
    for (size_t i = 0; i < n_accounts; i++) {
        assert(a[i].index == i && a[i].location);
        n += a[i].n_deployments;
        for (int k = 0; k < 2; k++)
            assert(a[i].keys[k].n == 0 || snapshot_account_by_key(s, a[i].keys[k]) == &a[i]);
        assert(a[i].subdomain.n == 0 || snapshot_account_by_host(s, a[i].subdomain) == &a[i]);
    }
    assert(n == n_deployments);
    for (size_t i = 0; i < n_deployments; i++) {
        assert(d[i].index == i && d[i].model && d[i].capacity > 0);
        assert(&d[i] >= d[i].account->deployments);
        assert(&d[i] < d[i].account->deployments + d[i].account->n_deployments);
        assert(snapshot_deployment(s, d[i].account, d[i].name) == &d[i]);
        assert((d[i].rate_mt_per_min > 0) == d[i].is_provisioned);
        assert((d[i].tpm > 0 && d[i].rpm > 0) != d[i].is_provisioned);
        assert(d[i].model->sizes[d[i].sku].is_offered);
        for (size_t j = 0; j < d[i].n_backends; j++)
            assert(d[i].backends[j] == &b[d[i].backends[j]->index]);
    }
    n = 0;
    for (size_t i = 0; i < n_pools; i++)
        n += p[i].n_backends;
    assert(n == n_backends);
    for (size_t i = 0; i < n_backends; i++)
        assert(b[i].index == i && b[i].url.host.n > 0 && b[i].url.port > 0 && b[i].pool);
}

/* What is printed is JSON of the shape that is read, and shows no secret. */
static void check_print(const struct snapshot *s) {
    struct buf out;
    struct json_writer w;
    buf_init(&out, 64 << 20);
    json_writer_init(&w, &out, 2);
    snapshot_print(s, &w);
    assert(buf_status(&out) == ST_OK);
    assert(str_find(buf_view(&out), STR("\"secret-")) < 0);
    size_t n = out.len;
    char *padding = buf_reserve(&out, JSON_PADDING);
    assert(padding);
    memset(padding, 0, JSON_PADDING);
    struct resources *again = resources_new();
    enum status st = resources_add(again, STR("printed.json"), out.p, n, NULL);
    assert(st == ST_OK);
    resources_free(again);
    buf_destroy(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const struct secret_reader secrets = {read_secret, NULL};
    static const struct siphash_key hash = {1, 2};
    struct resources *set = resources_new();
    struct snapshot *s = NULL;
    struct problem why = {0};
    char *text = calloc(1, size + JSON_PADDING);
    assert(text);
    if (size)
        memcpy(text, data, size);
    enum status st = resources_add(set, STR("f.json"), text, size, &why);
    free(text); /* the set keeps nothing of it */
    if (st == ST_OK)
        st = snapshot_build(set, &secrets, &hash, &s, &why);
    resources_free(set); /* and the snapshot nothing of the set */
    if (st == ST_OK) {
        check(s);
        check_print(s);
    } else {
        assert(!s && why.message[0] && strncmp(why.target, "f.json", 6) == 0);
    }
    snapshot_unref(s);
    return 0;
}
