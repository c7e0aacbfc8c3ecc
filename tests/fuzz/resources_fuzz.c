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

static void check_account(const struct snapshot *s, const struct account *a) {
    size_t n;
    const struct backend *b = snapshot_backends(s, &n);
    assert(snapshot_account_at(s, a->slot) == a && a->location);
    for (int k = 0; k < 2; k++)
        assert(a->keys[k].n == 0 || snapshot_account_by_key(s, a->keys[k]) == a);
    for (size_t i = 0; i < a->n_deployments; i++) {
        const struct deployment *d = &a->deployments[i];
        assert(d->index == i && d->account == a && d->model && d->capacity > 0);
        assert(account_deployment(a, d->name) == d);
        assert((d->rate_mt_per_min > 0) == d->is_provisioned);
        assert((d->tpm > 0 && d->rpm > 0) != d->is_provisioned);
        assert(d->model->sizes[d->sku].is_offered);
        for (size_t j = 0; j < d->n_backends; j++)
            assert(d->backends[j] == &b[d->backends[j]->index]);
    }
}

static void check(const struct snapshot *s) {
    size_t n_accounts = 0, n_deployments = 0, n_backends, n_pools, n;
    const struct account *a;
    const struct backend *b = snapshot_backends(s, &n_backends);
    const struct pool *p = snapshot_pools(s, &n_pools);
    for (size_t at = 0; snapshot_next_account(s, &at, &a); n_accounts++) {
        check_account(s, a);
        n_deployments += a->n_deployments;
    }
    assert(n_accounts == snapshot_n_accounts(s) && n_deployments == snapshot_n_deployments(s));
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
