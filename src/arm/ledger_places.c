/* ledger_places.c - what would fit where: the largest sizes, and the way out of a refusal. */
#include "arm/ledger_private.h"

#include "base/buf.h"

#include <stdlib.h>

bool ledger_is_served(const struct ledger *l, struct str location, const struct model *m,
                      enum sku sku) {
    struct change c = {.wanted = ledger_wanted_of(l, m), .place = ledger_place_find(l, location)};
    for (size_t i = 0; i < l->n_pools; i++) {
        if (ledger_is_eligible(&c, sku, l->all_pools[i]))
            return true;
    }
    return false;
}

int64_t ledger_capacity_left(const struct ledger *l, struct str location, const struct model *m,
                             enum sku sku) {
    struct change c = {.wanted = ledger_wanted_of(l, m), .place = ledger_place_find(l, location)};
    if (sku_is_provisioned(sku))
        return ledger_free_ptus(l, &c, sku);
    return ledger_is_served(l, location, m, sku) ? INT64_MAX : 0;
}

/* One place with one SKU, given what the pools can grant there. */
static struct ledger_place look_at(const struct ledger *l, struct str subscription,
                                   struct str location, const struct model *m, enum sku sku,
                                   int64_t capacity_left) {
    struct ledger_quota_key key = {subscription, location, sku, m->format, m->name};
    struct offer_sizes sizes = offers_sizes(l->offers, m, sku);
    struct ledger_place p = {.location = location,
                             .sku = sku,
                             .quota_left = ledger_quota(l, &key).left,
                             .capacity_left = capacity_left};
    p.largest =
        offer_size_below(&sizes, i64_min(offers_size_for(m, sku, p.quota_left), capacity_left));
    return p;
}

int64_t ledger_largest(const struct ledger *l, struct str subscription, struct str location,
                       const struct model *m, enum sku sku) {
    const struct place *place = ledger_place_find(l, location);
    if (sku_reach(sku) == REACH_DATA_ZONE && !(place && place->zone))
        return 0;
    return look_at(l, subscription, location, m, sku, ledger_capacity_left(l, location, m, sku))
        .largest;
}

/* What pools can do for one model, by place, from one walk over them. */
struct sums {
    struct place_sum {
        int64_t free;
        bool is_served;
    } * by_place; /* owned */
    struct place_sum all;
};

static void sums_of(const struct ledger *l, const struct model *m, struct sums *s) {
    struct wanted w = ledger_wanted_of(l, m);
    *s = (struct sums){.by_place = xcalloc(size_max(l->places.count, 1), sizeof *s->by_place)};
    for (size_t i = 0; i < l->n_pools; i++) {
        const struct pool_book *p = l->all_pools[i];
        if (!ledger_pool_serves(p, w))
            continue;
        struct place_sum *here = &s->by_place[p->place->index];
        here->free += ledger_pool_free(p);
        here->is_served = true;
        s->all.free += ledger_pool_free(p);
        s->all.is_served = true;
    }
}

static struct place_sum sums_in_reach(const struct ledger *l, const struct sums *s,
                                      const struct place *from, enum sku sku) {
    switch (sku_reach(sku)) {
    case REACH_LOCATION:
        return s->by_place[from->index];
    case REACH_GLOBAL:
        return s->all;
    case REACH_DATA_ZONE:
        break;
    }
    struct place_sum sum = {0};
    for (size_t i = 0; from->zone && i < l->n_by_name; i++) {
        const struct place_sum *there = &s->by_place[l->by_name[i]->index];
        if (l->by_name[i]->zone == from->zone) {
            sum.free += there->free;
            sum.is_served = sum.is_served || there->is_served;
        }
    }
    return sum;
}

/* As ledger_capacity_left has it. */
static int64_t capacity_of(struct place_sum sum, enum sku sku) {
    if (sku_is_provisioned(sku))
        return sum.free;
    return sum.is_served ? INT64_MAX : 0;
}

size_t ledger_places(const struct ledger *l, struct str subscription, struct str location,
                     const struct model *m, struct ledger_place *out, size_t max) {
    struct sums sums;
    size_t n = 0;
    sums_of(l, m, &sums);
    for (size_t i = 0; i < l->n_by_name; i++) {
        const struct place *p = l->by_name[i];
        if (location.n > 0 && !str_ieq(location, ledger_text(p->name)))
            continue;
        for (int sku = 0; sku < SKU_COUNT; sku++) {
            if (!m->sizes[sku].is_offered ||
                (sku_reach((enum sku)sku) == REACH_DATA_ZONE && !p->zone))
                continue;
            if (n < max)
                out[n] =
                    look_at(l, subscription, ledger_text(p->name), m, (enum sku)sku,
                            capacity_of(sums_in_reach(l, &sums, p, (enum sku)sku), (enum sku)sku));
            n++;
        }
    }
    free(sums.by_place);
    return n;
}

/* What ledger_elsewhere sorts: the place, and whether it is of the SKU that was asked for. */
struct choice {
    struct ledger_place place;
    bool is_same_sku;
};

static int order_of_choices(const void *va, const void *vb) {
    const struct choice *a = va, *b = vb;
    if (a->place.is_enough != b->place.is_enough)
        return a->place.is_enough ? -1 : 1;
    if (a->is_same_sku != b->is_same_sku)
        return a->is_same_sku ? -1 : 1;
    if (a->place.largest != b->place.largest)
        return a->place.largest > b->place.largest ? -1 : 1;
    int by_name = str_cmp(a->place.location, b->place.location);
    return by_name ? by_name : (int)a->place.sku - (int)b->place.sku;
}

size_t ledger_elsewhere(const struct ledger *l, const struct ledger_ask *ask,
                        struct ledger_place *out, size_t max) {
    size_t room = l->n_by_name * SKU_COUNT, n = 0;
    struct ledger_place *all = xcalloc(size_max(room, 1), sizeof *all);
    struct choice *found = xcalloc(size_max(room, 1), sizeof *found);
    size_t n_all = ledger_places(l, ask->subscription, STR(""), ask->model, all, room);
    for (size_t i = 0; i < n_all; i++) {
        struct offer_sizes sizes = offers_sizes(l->offers, ask->model, all[i].sku);
        bool is_same = all[i].sku == ask->sku;
        if (all[i].largest == 0 || sku_is_provisioned(all[i].sku) != sku_is_provisioned(ask->sku) ||
            (is_same && str_ieq(all[i].location, ask->location)))
            continue;
        all[i].is_enough = ask->size <= all[i].largest && offer_is_size(&sizes, ask->size);
        found[n++] = (struct choice){all[i], is_same};
    }
    qsort(found, n, sizeof *found, order_of_choices);
    n = size_min(n, max);
    for (size_t i = 0; i < n; i++)
        out[i] = found[i].place;
    free(found);
    free(all);
    return n;
}
