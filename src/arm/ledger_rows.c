/* ledger_rows.c - grants as rows of the store, and the proof that the books balance. */
#include "arm/ledger_private.h"

#include "model/fields.h"
#include "model/resource_id.h"

void ledger_write(const struct ledger *l, struct str id, struct json_writer *w) {
    const struct grant *g = ledger_grant_find(l, id);
    if (!g) {
        json_null_value(w);
        return;
    }
    json_begin_object(w);
    json_key(w, STR("size"));
    json_i64_value(w, g->size);
    json_key(w, STR("quota"));
    json_i64_value(w, g->units);
    json_key(w, STR("pools"));
    json_begin_array(w);
    for (size_t i = 0; i < g->n_parts; i++) {
        json_begin_object(w);
        json_key(w, STR("pool"));
        json_str_value(w, ledger_text(g->parts[i].pool->name));
        json_key(w, STR("ptus"));
        json_i64_value(w, g->parts[i].ptus);
        json_end_object(w);
    }
    json_end_array(w);
    json_end_object(w);
}

enum { LOADED_MAX = 1000 * 1000 * 1000 };

/* One part of a row; its pool may come later. */
static void load_part(struct ledger *l, struct reader *r, struct json_value item, struct grant *g) {
    struct fields f;
    struct str name = STR("");
    int64_t ptus = 0;
    fields_begin(&f, r, item, "/pools");
    fields_require(&f, "pool", fields_str(&f, "pool", 1, RESOURCE_NAME_MAX, &name), "name it");
    fields_require(&f, "ptus", fields_i64(&f, "ptus", 1, LOADED_MAX, &ptus), "say how many");
    fields_end(&f);
    if (r->status == ST_OK)
        ledger_part_add(g, ledger_pool_of(l, name), ptus);
}

enum status ledger_load(struct ledger *l, const struct ledger_ask *ask, struct json_value grant,
                        bool is_held, struct problem *why) {
    struct ledger_quota_key key = ledger_quota_key_of(ask);
    struct reader r;
    struct fields f;
    struct json_iter it;
    struct json_value item;
    int64_t size = 0, units = 0;
    if (ledger_grant_find(l, ask->id))
        return problem_set(why, ST_BAD_REQUEST, ask->id, "stands in the store twice");
    reader_init(&r, ask->id, STR(""), why, NULL);
    fields_begin(&f, &r, grant, "");
    fields_require(&f, "size", fields_i64(&f, "size", 1, LOADED_MAX, &size), "say how large");
    fields_require(&f, "quota", fields_i64(&f, "quota", 0, LOADED_MAX, &units), "say how much");
    bool has_pools = fields_array(&f, "pools", &it);
    fields_require(&f, "pools", has_pools, "an empty list will do");
    fields_end(&f);
    if (r.status != ST_OK)
        return r.status;
    struct grant *g = ledger_grant_add(l, ask->id);
    ledger_grant_describe(l, g, ask);
    g->is_held = is_held;
    g->size = size;
    ledger_quota_join(g, ledger_quota_of(l, &key), units);
    while (r.status == ST_OK && json_next(&it, &item))
        load_part(l, &r, item, g);
    if (r.status == ST_OK && ledger_covered(g) > (sku_is_provisioned(g->sku) ? size : 0))
        reader_refuse(&r, "/pools", "hold more than the grant's size");
    if (r.status != ST_OK)
        ledger_release(l, ask->id);
    return r.status;
}

bool ledger_check(struct ledger *l, struct problem *why) {
    size_t at = 0;
    struct str key;
    void *value;
    while (map_next(&l->quotas, &at, &key, &value))
        ((struct quota_book *)value)->sum = ((struct quota_book *)value)->sum_held = 0;
    for (size_t i = 0; i < l->n_pools; i++)
        l->all_pools[i]->sum = 0;
    for (at = 0; map_next(&l->grants, &at, &key, &value);) {
        const struct grant *g = value;
        g->quota->sum += g->units;
        g->quota->sum_held += g->is_held ? g->units : 0;
        for (size_t i = 0; i < g->n_parts; i++)
            g->parts[i].pool->sum += g->parts[i].ptus;
    }
    for (at = 0; map_next(&l->quotas, &at, &key, &value);) {
        const struct quota_book *q = value;
        if (q->sum != q->used || q->sum_held != q->held) {
            (void)problem_set(why, ST_INTERNAL, key, "used %lld, and its grants add up to %lld",
                              (long long)q->used, (long long)q->sum);
            return false;
        }
    }
    for (size_t i = 0; i < l->n_pools; i++) {
        const struct pool_book *p = l->all_pools[i];
        if (p->sum != p->reserved) {
            (void)problem_set(why, ST_INTERNAL, ledger_text(p->name),
                              "reserved %lld, and the parts of grants add up to %lld",
                              (long long)p->reserved, (long long)p->sum);
            return false;
        }
    }
    return true;
}
