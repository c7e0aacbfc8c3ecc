/* ledger_test.c - the books of quota and capacity, by cases and against sums made the slow way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "arm/ledger_private.h"
#include "support/random.h"

static const struct siphash_key secret = {5, 6};

struct fixture {
    struct arena arena;
    struct catalog catalog;
    struct offers *offers;
    struct ledger *ledger;
};

static int set_up(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    arena_init(&f->arena, NULL, 0, 1 << 20);
    catalog_init(&f->catalog, &f->arena, &secret);
    f->offers = offers_new(&secret);
    f->ledger = ledger_new(f->offers, &secret);
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    struct fixture *f = *state;
    ledger_free(f->ledger);
    offers_free(f->offers);
    catalog_destroy(&f->catalog);
    arena_destroy(&f->arena);
    free(f);
    return 0;
}

static const struct model *model(const struct fixture *f, const char *name) {
    const struct model *m = catalog_find(&f->catalog, STR("OpenAI"), str_of(name), STR(""));
    assert_non_null(m);
    return m;
}

/* A pool that serves up to three models, NULL for fewer. */
static void put_pool(struct ledger *l, const char *name, const char *location, int64_t ptus,
                     const char *a, const char *b) {
    struct ledger_model models[2] = {{STR("OpenAI"), str_of(a), STR("")},
                                     {STR("OpenAI"), str_of(b), STR("")}};
    ledger_pool_put(l, &(struct ledger_pool){.name = str_of(name),
                                             .location = str_of(location),
                                             .ptus = ptus,
                                             .models = models,
                                             .n_models = b ? 2 : 1});
}

static struct ledger_ask ask_of(const struct fixture *f, const char *id, const char *location,
                                const char *name, enum sku sku, int64_t size) {
    return (struct ledger_ask){str_of(id), STR("sub"), str_of(location), model(f, name), sku, size};
}

static enum ledger_outcome take(const struct fixture *f, const char *id, const char *location,
                                const char *name, enum sku sku, int64_t size) {
    struct ledger_ask ask = ask_of(f, id, location, name, sku, size);
    return ledger_take(f->ledger, &ask, NULL);
}

static struct ledger_quota quota(const struct fixture *f, const char *location, enum sku sku,
                                 const char *name) {
    struct ledger_quota_key key = {STR("sub"), str_of(location), sku, STR("OpenAI"), str_of(name)};
    return ledger_quota(f->ledger, &key);
}

static void set_quota(const struct fixture *f, const char *location, enum sku sku, const char *name,
                      int64_t limit) {
    struct ledger_quota_key key = {STR("sub"), str_of(location), sku, STR("OpenAI"), str_of(name)};
    ledger_quota_set(f->ledger, &key, limit);
}

static int64_t reserved(const struct fixture *f, const char *pool) {
    return ledger_pool(f->ledger, str_of(pool)).reserved;
}

/* The row of a grant, NUL-terminated and padded for the parser; the caller frees. */
static char *row_of(const struct ledger *l, struct str id, size_t *n) {
    struct buf out;
    struct json_writer w;
    buf_init(&out, 1 << 16);
    json_writer_init(&w, &out, 0);
    ledger_write(l, id, &w);
    *n = out.len;
    char *text = calloc(1, out.len + JSON_PADDING + 1);
    memcpy(text, out.p, out.len);
    buf_destroy(&out);
    return text;
}

static void assert_row(const struct fixture *f, const char *id, const char *want) {
    size_t n;
    char *row = row_of(f->ledger, str_of(id), &n);
    assert_string_equal(row, want);
    free(row);
}

static void assert_balanced(struct ledger *l) {
    struct problem why = {0};
    if (!ledger_check(l, &why))
        fail_msg("%s: %s", why.target, why.message);
}

/* Two locations of one zone and one of none. */
static void put_places(struct ledger *l) {
    ledger_location_put(l, STR("eastus"), STR("us"));
    ledger_location_put(l, STR("westus"), STR("US"));
    ledger_location_put(l, STR("island"), STR(""));
}

/* ---- quota ---- */

static void provisioned_quota_is_one_sum_for_all_models(void **state) {
    struct fixture *f = *state;
    put_places(f->ledger);
    put_pool(f->ledger, "p", "eastus", 10000, "gpt-4o", "gpt-4o-mini");
    assert_int_equal(take(f, "a", "eastus", "gpt-4o", SKU_PROVISIONED, 300), LEDGER_DONE);
    assert_int_equal(take(f, "b", "eastus", "gpt-4o-mini", SKU_PROVISIONED, 200), LEDGER_DONE);
    assert_int_equal(quota(f, "eastus", SKU_PROVISIONED, "").used, 500);
    assert_int_equal(quota(f, "eastus", SKU_PROVISIONED, "").left, 0);
    assert_int_equal(take(f, "c", "eastus", "gpt-4o-mini", SKU_PROVISIONED, 25), LEDGER_NO_QUOTA);
    /* Another SKU, and another location, have sums of their own. */
    assert_int_equal(take(f, "c", "eastus", "gpt-4o", SKU_GLOBAL_PROVISIONED, 15), LEDGER_DONE);
    assert_int_equal(take(f, "d", "westus", "gpt-4o", SKU_GLOBAL_PROVISIONED, 500), LEDGER_DONE);
    assert_int_equal(quota(f, "westus", SKU_PROVISIONED, "").used, 0);
    assert_balanced(f->ledger);
}

static void standard_quota_is_a_sum_per_model_in_thousands_of_tokens(void **state) {
    struct fixture *f = *state;
    put_places(f->ledger);
    assert_int_equal(take(f, "a", "eastus", "gpt-4o", SKU_STANDARD, 150), LEDGER_DONE);
    assert_int_equal(take(f, "b", "eastus", "gpt-4o", SKU_STANDARD, 1), LEDGER_NO_QUOTA);
    assert_int_equal(take(f, "b", "eastus", "gpt-4o-mini", SKU_STANDARD, 450), LEDGER_DONE);
    /* One unit of o3-mini is 10,000 tokens a minute. */
    assert_int_equal(take(f, "c", "eastus", "o3-mini", SKU_STANDARD, 15), LEDGER_DONE);
    assert_int_equal(quota(f, "eastus", SKU_STANDARD, "o3-mini").used, 150);
    assert_int_equal(take(f, "d", "eastus", "o3-mini", SKU_STANDARD, 1), LEDGER_NO_QUOTA);
    /* Standard deployments reserve nothing, so no pool is needed. */
    assert_row(f, "a", "{\"size\":150,\"quota\":150,\"pools\":[]}");
    assert_balanced(f->ledger);
}

static void a_size_is_judged_by_form_then_quota_then_capacity(void **state) {
    struct fixture *f = *state;
    put_places(f->ledger);
    put_pool(f->ledger, "p", "eastus", 120, "gpt-4o", NULL);
    set_quota(f, "eastus", SKU_PROVISIONED, "", 200);
    struct ledger_answer a;
    struct ledger_ask ask = ask_of(f, "a", "eastus", "gpt-4o", SKU_PROVISIONED, 275);
    assert_int_equal(ledger_take(f->ledger, &ask, &a), LEDGER_BAD_SIZE);
    assert_int_equal(a.sizes.minimum, 50);
    assert_int_equal(a.sizes.step, 50);
    assert_int_equal(a.sizes.maximum, 100000);
    ask.size = 300;
    assert_int_equal(ledger_take(f->ledger, &ask, &a), LEDGER_NO_QUOTA);
    assert_int_equal(a.quota.limit, 200);
    assert_int_equal(a.quota.used, 0);
    assert_int_equal(a.quota_needed, 300);
    ask.size = 200;
    assert_int_equal(ledger_take(f->ledger, &ask, &a), LEDGER_NO_CAPACITY);
    assert_int_equal(a.capacity_left, 120);
    assert_int_equal(a.capacity_needed, 200);
    assert_int_equal(a.largest_by_quota, 200);
    assert_int_equal(a.largest_by_capacity, 100);
    assert_int_equal(a.largest, 100);
    assert_row(f, "a", "null");
    ask.size = 100;
    assert_int_equal(ledger_take(f->ledger, &ask, &a), LEDGER_DONE);
    assert_row(f, "a", "{\"size\":100,\"quota\":100,\"pools\":[{\"pool\":\"p\",\"ptus\":100}]}");
    /* Growing asks for the difference only. */
    ask.size = 150;
    assert_int_equal(ledger_take(f->ledger, &ask, &a), LEDGER_NO_CAPACITY);
    assert_int_equal(a.quota_needed, 50);
    assert_int_equal(a.capacity_needed, 50);
    assert_int_equal(a.largest, 100);
    assert_balanced(f->ledger);
}

static void sizes_that_are_none_are_refused(void **state) {
    struct fixture *f = *state;
    put_places(f->ledger);
    put_pool(f->ledger, "p", "eastus", 10000000, "gpt-4o", NULL);
    set_quota(f, "eastus", SKU_PROVISIONED, "", 1000000);
    static const int64_t sizes[] = {0, -50, 49, 51, 100050, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
        assert_int_equal(take(f, "a", "eastus", "gpt-4o", SKU_PROVISIONED, sizes[i]),
                         LEDGER_BAD_SIZE);
    assert_int_equal(take(f, "a", "eastus", "gpt-4o", SKU_PROVISIONED, 100000), LEDGER_DONE);
    /* Not sold so, and a data zone where there is none. */
    assert_int_equal(take(f, "b", "eastus", "text-embedding-3-small", SKU_PROVISIONED, 50),
                     LEDGER_NOT_OFFERED);
    assert_int_equal(take(f, "b", "island", "gpt-4o", SKU_DATA_ZONE_STANDARD, 1),
                     LEDGER_NOT_OFFERED);
    assert_int_equal(take(f, "b", "eastus", "gpt-4o", SKU_DATA_ZONE_STANDARD, 1), LEDGER_DONE);
}

static void a_lowered_limit_takes_nothing_away_and_grants_nothing(void **state) {
    struct fixture *f = *state;
    put_places(f->ledger);
    put_pool(f->ledger, "p", "eastus", 10000, "gpt-4o", NULL);
    assert_true(quota(f, "eastus", SKU_PROVISIONED, "").is_default);
    assert_int_equal(take(f, "a", "eastus", "gpt-4o", SKU_PROVISIONED, 300), LEDGER_DONE);
    set_quota(f, "eastus", SKU_PROVISIONED, "", 100);
    assert_false(quota(f, "eastus", SKU_PROVISIONED, "").is_default);
    assert_int_equal(quota(f, "eastus", SKU_PROVISIONED, "").left, 0);
    assert_int_equal(take(f, "b", "eastus", "gpt-4o", SKU_PROVISIONED, 50), LEDGER_NO_QUOTA);
    assert_int_equal(take(f, "a", "eastus", "gpt-4o", SKU_PROVISIONED, 350), LEDGER_NO_QUOTA);
    /* Staying and shrinking are always granted, and the answer says so. */
    struct ledger_answer a;
    struct ledger_ask ask = ask_of(f, "a", "eastus", "gpt-4o", SKU_PROVISIONED, 350);
    assert_int_equal(ledger_judge(f->ledger, &ask, &a), LEDGER_NO_QUOTA);
    assert_int_equal(a.largest_by_quota, 300);
    assert_int_equal(a.largest, 300);
    assert_int_equal(take(f, "a", "eastus", "gpt-4o", SKU_PROVISIONED, 300), LEDGER_DONE);
    assert_int_equal(take(f, "a", "eastus", "gpt-4o", SKU_PROVISIONED, 150), LEDGER_DONE);
    assert_int_equal(quota(f, "eastus", SKU_PROVISIONED, "").used, 150);
    set_quota(f, "eastus", SKU_PROVISIONED, "", -1);
    assert_int_equal(quota(f, "eastus", SKU_PROVISIONED, "").limit, 500);
}

static void a_soft_deleted_account_keeps_quota_and_capacity_until_it_is_purged(void **state) {
    struct fixture *f = *state;
    put_places(f->ledger);
    put_pool(f->ledger, "p", "eastus", 300, "gpt-4o", NULL);
    assert_int_equal(take(f, "a", "eastus", "gpt-4o", SKU_PROVISIONED, 300), LEDGER_DONE);
    assert_true(ledger_hold(f->ledger, STR("A")));
    assert_true(ledger_hold(f->ledger, STR("a"))); /* twice is once */
    assert_int_equal(quota(f, "eastus", SKU_PROVISIONED, "").used, 300);
    assert_int_equal(quota(f, "eastus", SKU_PROVISIONED, "").held, 300);
    assert_int_equal(take(f, "b", "eastus", "gpt-4o", SKU_PROVISIONED, 50), LEDGER_NO_CAPACITY);
    assert_int_equal(take(f, "a", "eastus", "gpt-4o", SKU_PROVISIONED, 50), LEDGER_HELD);
    assert_balanced(f->ledger);
    assert_true(ledger_restore(f->ledger, STR("a")));
    assert_int_equal(quota(f, "eastus", SKU_PROVISIONED, "").held, 0);
    assert_int_equal(take(f, "a", "eastus", "gpt-4o", SKU_PROVISIONED, 250), LEDGER_DONE);
    assert_true(ledger_hold(f->ledger, STR("a")));
    assert_true(ledger_release(f->ledger, STR("a")));
    assert_int_equal(quota(f, "eastus", SKU_PROVISIONED, "").used, 0);
    assert_int_equal(quota(f, "eastus", SKU_PROVISIONED, "").held, 0);
    assert_int_equal(reserved(f, "p"), 0);
    assert_false(ledger_release(f->ledger, STR("a")));
    assert_false(ledger_hold(f->ledger, STR("a")));
    assert_false(ledger_restore(f->ledger, STR("a")));
}

static void importing_raises_the_quota_to_fit_and_reserves_what_there_is(void **state) {
    struct fixture *f = *state;
    struct ledger_import got;
    put_places(f->ledger);
    put_pool(f->ledger, "p", "eastus", 600, "gpt-4o", NULL);
    struct ledger_ask ask = ask_of(f, "a", "eastus", "gpt-4o", SKU_PROVISIONED, 400);
    ledger_import(f->ledger, &ask, &got);
    assert_int_equal(got.limit_before, 500);
    assert_int_equal(got.limit_after, 500);
    assert_int_equal(got.uncovered, 0);
    ask = ask_of(f, "b", "eastus", "gpt-4o", SKU_PROVISIONED, 400);
    ledger_import(f->ledger, &ask, &got);
    assert_int_equal(got.limit_before, 500);
    assert_int_equal(got.limit_after, 800);
    assert_int_equal(got.uncovered, 200);
    assert_int_equal(quota(f, "eastus", SKU_PROVISIONED, "").left, 0);
    assert_int_equal(reserved(f, "p"), 600);
    /* The same again changes nothing. */
    ledger_import(f->ledger, &ask, &got);
    assert_int_equal(got.limit_before, 800);
    assert_int_equal(got.limit_after, 800);
    assert_int_equal(got.uncovered, 200);
    /* What is not covered is not asked for by a resize, and shrinks first. */
    assert_int_equal(take(f, "b", "eastus", "gpt-4o", SKU_PROVISIONED, 300), LEDGER_DONE);
    assert_int_equal(reserved(f, "p"), 600);
    assert_int_equal(take(f, "b", "eastus", "gpt-4o", SKU_PROVISIONED, 150), LEDGER_DONE);
    assert_int_equal(reserved(f, "p"), 550);
    assert_balanced(f->ledger);
}

static void growing_what_is_not_covered_asks_for_the_growth_alone(void **state) {
    struct fixture *f = *state;
    struct ledger_import got;
    put_places(f->ledger);
    put_pool(f->ledger, "p", "eastus", 100, "gpt-4o", NULL);
    struct ledger_ask ask = ask_of(f, "a", "eastus", "gpt-4o", SKU_PROVISIONED, 300);
    ledger_import(f->ledger, &ask, &got);
    assert_int_equal(got.uncovered, 200);
    put_pool(f->ledger, "p", "eastus", 1000, "gpt-4o", NULL);
    assert_int_equal(take(f, "a", "eastus", "gpt-4o", SKU_PROVISIONED, 350), LEDGER_DONE);
    assert_int_equal(reserved(f, "p"), 150);
}

static void importing_what_is_there_does_not_undo_a_lowered_limit(void **state) {
    struct fixture *f = *state;
    struct ledger_import got;
    put_places(f->ledger);
    put_pool(f->ledger, "p", "eastus", 1000, "gpt-4o", NULL);
    assert_int_equal(take(f, "a", "eastus", "gpt-4o", SKU_PROVISIONED, 300), LEDGER_DONE);
    set_quota(f, "eastus", SKU_PROVISIONED, "", 100);
    struct ledger_ask ask = ask_of(f, "a", "eastus", "gpt-4o", SKU_PROVISIONED, 300);
    ledger_import(f->ledger, &ask, &got);
    assert_int_equal(got.limit_after, 100);
    ask.size = 200;
    ledger_import(f->ledger, &ask, &got);
    assert_int_equal(got.limit_after, 100);
    ask.size = 250;
    ledger_import(f->ledger, &ask, &got);
    assert_int_equal(got.limit_after, 250);
}

/* ---- capacity ---- */

static void a_pool_of_several_models_has_one_capacity(void **state) {
    struct fixture *f = *state;
    put_places(f->ledger);
    put_pool(f->ledger, "p", "eastus", 200, "gpt-4o", "gpt-4o-mini");
    assert_int_equal(take(f, "a", "eastus", "gpt-4o", SKU_PROVISIONED, 150), LEDGER_DONE);
    assert_int_equal(take(f, "b", "eastus", "gpt-4o-mini", SKU_PROVISIONED, 75),
                     LEDGER_NO_CAPACITY);
    assert_int_equal(take(f, "b", "eastus", "gpt-4o-mini", SKU_PROVISIONED, 50), LEDGER_DONE);
    assert_int_equal(
        ledger_capacity_left(f->ledger, STR("eastus"), model(f, "gpt-4o"), SKU_PROVISIONED), 0);
    /* A model that no pool serves has none at all. */
    assert_int_equal(take(f, "c", "eastus", "gpt-4.1", SKU_PROVISIONED, 50), LEDGER_NO_CAPACITY);
    assert_false(ledger_is_served(f->ledger, STR("eastus"), model(f, "gpt-4.1"), SKU_PROVISIONED));
    assert_true(ledger_is_served(f->ledger, STR("eastus"), model(f, "gpt-4o"), SKU_PROVISIONED));
}

static void reach_is_the_location_its_zone_or_the_world(void **state) {
    struct fixture *f = *state;
    put_places(f->ledger);
    put_pool(f->ledger, "e", "eastus", 100, "gpt-4o", NULL);
    put_pool(f->ledger, "w", "westus", 100, "gpt-4o", NULL);
    put_pool(f->ledger, "i", "island", 100, "gpt-4o", NULL);
    const struct model *m = model(f, "gpt-4o");
    struct ledger *l = f->ledger;
    assert_int_equal(ledger_capacity_left(l, STR("eastus"), m, SKU_PROVISIONED), 100);
    assert_int_equal(ledger_capacity_left(l, STR("eastus"), m, SKU_DATA_ZONE_PROVISIONED), 200);
    assert_int_equal(ledger_capacity_left(l, STR("island"), m, SKU_DATA_ZONE_PROVISIONED), 0);
    assert_int_equal(ledger_capacity_left(l, STR("island"), m, SKU_GLOBAL_PROVISIONED), 300);
    assert_int_equal(ledger_capacity_left(l, STR("nowhere"), m, SKU_PROVISIONED), 0);
    assert_true(ledger_capacity_left(l, STR("eastus"), m, SKU_STANDARD) == INT64_MAX);
    /* What is near is taken first. */
    assert_int_equal(take(f, "g", "westus", "gpt-4o", SKU_GLOBAL_PROVISIONED, 150), LEDGER_DONE);
    assert_row(f, "g",
               "{\"size\":150,\"quota\":150,\"pools\":[{\"pool\":\"w\",\"ptus\":100},"
               "{\"pool\":\"e\",\"ptus\":50}]}");
    assert_int_equal(take(f, "z", "westus", "gpt-4o", SKU_DATA_ZONE_PROVISIONED, 55),
                     LEDGER_NO_CAPACITY);
    assert_int_equal(take(f, "z", "westus", "gpt-4o", SKU_DATA_ZONE_PROVISIONED, 50), LEDGER_DONE);
    assert_int_equal(reserved(f, "i"), 0);
    assert_balanced(l);
}

static void growth_goes_beside_what_is_there_and_shrinking_gives_back_the_newest(void **state) {
    struct fixture *f = *state;
    put_places(f->ledger);
    put_pool(f->ledger, "big", "eastus", 1000, "gpt-4o", NULL);
    put_pool(f->ledger, "small", "eastus", 150, "gpt-4o", NULL);
    /* The fullest that takes it whole. */
    assert_int_equal(take(f, "a", "eastus", "gpt-4o", SKU_PROVISIONED, 100), LEDGER_DONE);
    assert_int_equal(reserved(f, "small"), 100);
    assert_int_equal(take(f, "a", "eastus", "gpt-4o", SKU_PROVISIONED, 250), LEDGER_DONE);
    assert_row(f, "a",
               "{\"size\":250,\"quota\":250,\"pools\":[{\"pool\":\"small\",\"ptus\":150},"
               "{\"pool\":\"big\",\"ptus\":100}]}");
    assert_int_equal(take(f, "a", "eastus", "gpt-4o", SKU_PROVISIONED, 100), LEDGER_DONE);
    assert_row(f, "a",
               "{\"size\":100,\"quota\":100,\"pools\":[{\"pool\":\"small\",\"ptus\":100}]}");
    assert_balanced(f->ledger);
}

static void one_pool_is_better_than_two(void **state) {
    struct fixture *f = *state;
    put_places(f->ledger);
    put_pool(f->ledger, "a", "eastus", 60, "gpt-4o", NULL);
    put_pool(f->ledger, "b", "eastus", 400, "gpt-4o", NULL);
    put_pool(f->ledger, "c", "eastus", 110, "gpt-4o", "gpt-4.1");
    put_pool(f->ledger, "d", "eastus", 200, "gpt-4o", NULL);
    put_pool(f->ledger, "e", "eastus", 90, "gpt-4o", NULL);
    assert_int_equal(take(f, "x", "eastus", "gpt-4o", SKU_PROVISIONED, 100), LEDGER_DONE);
    assert_row(f, "x", "{\"size\":100,\"quota\":100,\"pools\":[{\"pool\":\"d\",\"ptus\":100}]}");
    /* None takes it whole: the largest first, so that the parts are few. */
    set_quota(f, "eastus", SKU_PROVISIONED, "", 1000);
    assert_int_equal(take(f, "y", "eastus", "gpt-4o", SKU_PROVISIONED, 500), LEDGER_DONE);
    assert_row(f, "y",
               "{\"size\":500,\"quota\":500,\"pools\":[{\"pool\":\"b\",\"ptus\":400},"
               "{\"pool\":\"d\",\"ptus\":100}]}");
}

static void pools_of_few_models_are_filled_before_those_of_many(void **state) {
    struct fixture *f = *state;
    put_places(f->ledger);
    put_pool(f->ledger, "both", "eastus", 100, "gpt-4o", "gpt-4.1");
    put_pool(f->ledger, "one", "eastus", 300, "gpt-4o", NULL);
    assert_int_equal(take(f, "a", "eastus", "gpt-4o", SKU_PROVISIONED, 100), LEDGER_DONE);
    assert_int_equal(reserved(f, "one"), 100);
    assert_int_equal(take(f, "b", "eastus", "gpt-4.1", SKU_PROVISIONED, 100), LEDGER_DONE);
}

static void a_pool_that_shrinks_keeps_what_it_gave_and_gives_no_more(void **state) {
    struct fixture *f = *state;
    put_places(f->ledger);
    put_pool(f->ledger, "p", "eastus", 300, "gpt-4o", NULL);
    assert_int_equal(take(f, "a", "eastus", "gpt-4o", SKU_PROVISIONED, 200), LEDGER_DONE);
    put_pool(f->ledger, "P", "eastus", 100, "gpt-4o", NULL);
    struct ledger_pool_sum sum = ledger_pool(f->ledger, STR("p"));
    assert_int_equal(sum.ptus, 100);
    assert_int_equal(sum.reserved, 200);
    assert_int_equal(sum.free, 0);
    assert_int_equal(take(f, "b", "eastus", "gpt-4o", SKU_PROVISIONED, 50), LEDGER_NO_CAPACITY);
    assert_int_equal(take(f, "a", "eastus", "gpt-4o", SKU_PROVISIONED, 250), LEDGER_NO_CAPACITY);
    assert_int_equal(take(f, "a", "eastus", "gpt-4o", SKU_PROVISIONED, 50), LEDGER_DONE);
    assert_int_equal(take(f, "b", "eastus", "gpt-4o", SKU_PROVISIONED, 50), LEDGER_DONE);
    /* A pool that stops serving the model keeps what it gave as well. */
    put_pool(f->ledger, "p", "westus", 1000, "gpt-4.1", NULL);
    assert_int_equal(take(f, "b", "eastus", "gpt-4o", SKU_PROVISIONED, 50), LEDGER_DONE);
    assert_int_equal(take(f, "b", "eastus", "gpt-4o", SKU_PROVISIONED, 100), LEDGER_NO_CAPACITY);
    assert_int_equal(reserved(f, "p"), 100);
    assert_int_equal(take(f, "c", "eastus", "gpt-4o-mini", SKU_STANDARD, 5), LEDGER_DONE);
    put_pool(f->ledger, "q", "eastus", 500, "gpt-4o", NULL);
    assert_int_equal(take(f, "b", "eastus", "gpt-4o", SKU_PROVISIONED, 100), LEDGER_DONE);
    assert_row(f, "b",
               "{\"size\":100,\"quota\":100,\"pools\":[{\"pool\":\"p\",\"ptus\":50},"
               "{\"pool\":\"q\",\"ptus\":50}]}");
    assert_int_equal(take(f, "b", "eastus", "gpt-4o", SKU_PROVISIONED, 50), LEDGER_DONE);
    assert_int_equal(reserved(f, "p"), 100);
    assert_balanced(f->ledger);
}

static void a_draining_pool_grants_nothing_and_goes_when_it_is_empty(void **state) {
    struct fixture *f = *state;
    struct ledger_model m = {STR("OpenAI"), STR("gpt-4o"), STR("")};
    struct ledger_pool pool = {STR("p"), STR("eastus"), 300, false, &m, 1};
    put_places(f->ledger);
    ledger_pool_put(f->ledger, &pool);
    assert_int_equal(take(f, "a", "eastus", "gpt-4o", SKU_PROVISIONED, 100), LEDGER_DONE);
    pool.is_draining = true;
    ledger_pool_put(f->ledger, &pool);
    assert_int_equal(ledger_pool(f->ledger, STR("p")).free, 0);
    assert_int_equal(take(f, "b", "eastus", "gpt-4o", SKU_PROVISIONED, 50), LEDGER_NO_CAPACITY);
    assert_false(ledger_pool_remove(f->ledger, STR("P")));
    assert_true(ledger_release(f->ledger, STR("a")));
    assert_true(ledger_pool_remove(f->ledger, STR("P")));
    assert_int_equal(ledger_pool(f->ledger, STR("p")).ptus, 0);
    assert_true(ledger_pool_remove(f->ledger, STR("p")));
    assert_balanced(f->ledger);
}

static void a_pool_may_serve_one_version_only(void **state) {
    struct fixture *f = *state;
    struct ledger_model m = {STR("openai"), STR("GPT-4o"), STR("2024-08-06")};
    put_places(f->ledger);
    ledger_pool_put(f->ledger, &(struct ledger_pool){STR("p"), STR("eastus"), 300, false, &m, 1});
    struct ledger_ask ask = ask_of(f, "a", "EastUS", "gpt-4o", SKU_PROVISIONED, 50);
    ask.model = catalog_find(&f->catalog, STR("OpenAI"), STR("gpt-4o"), STR("2024-05-13"));
    assert_int_equal(ledger_take(f->ledger, &ask, NULL), LEDGER_NO_CAPACITY);
    ask.model = catalog_find(&f->catalog, STR("OpenAI"), STR("gpt-4o"), STR("2024-08-06"));
    assert_int_equal(ledger_take(f->ledger, &ask, NULL), LEDGER_DONE);
    /* Another version is another placing, though the size stays. */
    ask.model = catalog_find(&f->catalog, STR("OpenAI"), STR("gpt-4o"), STR("2024-05-13"));
    assert_int_equal(ledger_take(f->ledger, &ask, NULL), LEDGER_NO_CAPACITY);
    put_pool(f->ledger, "q", "eastus", 50, "gpt-4o", NULL);
    assert_int_equal(ledger_take(f->ledger, &ask, NULL), LEDGER_DONE);
    assert_int_equal(reserved(f, "p"), 0);
    assert_int_equal(reserved(f, "q"), 50);
}

static void a_size_that_was_valid_once_may_stay(void **state) {
    struct fixture *f = *state;
    put_places(f->ledger);
    put_pool(f->ledger, "p", "eastus", 1000, "gpt-4o", NULL);
    assert_int_equal(take(f, "a", "eastus", "gpt-4o", SKU_PROVISIONED, 50), LEDGER_DONE);
    struct model m = *model(f, "gpt-4o");
    m.sizes[SKU_PROVISIONED].minimum = 60;
    struct ledger_ask ask = ask_of(f, "a", "eastus", "gpt-4o", SKU_PROVISIONED, 50);
    ask.model = &m;
    assert_int_equal(ledger_take(f->ledger, &ask, NULL), LEDGER_DONE);
    ask.size = 55;
    assert_int_equal(ledger_take(f->ledger, &ask, NULL), LEDGER_BAD_SIZE);
    m.sizes[SKU_PROVISIONED].is_offered = false;
    ask.size = 50;
    assert_int_equal(ledger_take(f->ledger, &ask, NULL), LEDGER_DONE);
    ask.size = 110;
    assert_int_equal(ledger_take(f->ledger, &ask, NULL), LEDGER_NOT_OFFERED);
}

/* Another SKU or model in place of the old one, in one step. */
static void a_change_of_kind_gives_back_the_old_only_when_the_new_is_granted(void **state) {
    struct fixture *f = *state;
    put_places(f->ledger);
    put_pool(f->ledger, "e", "eastus", 100, "gpt-4o", "gpt-4.1");
    put_pool(f->ledger, "w", "westus", 100, "gpt-4o", NULL);
    assert_int_equal(take(f, "a", "eastus", "gpt-4o", SKU_GLOBAL_PROVISIONED, 150), LEDGER_DONE);
    assert_int_equal(take(f, "a", "eastus", "gpt-4o", SKU_PROVISIONED, 150), LEDGER_NO_CAPACITY);
    assert_int_equal(quota(f, "eastus", SKU_GLOBAL_PROVISIONED, "").used, 150);
    assert_int_equal(reserved(f, "w"), 50);
    /* Regional: the part in the other location goes. */
    assert_int_equal(take(f, "a", "eastus", "gpt-4o", SKU_PROVISIONED, 100), LEDGER_DONE);
    assert_int_equal(quota(f, "eastus", SKU_GLOBAL_PROVISIONED, "").used, 0);
    assert_int_equal(quota(f, "eastus", SKU_PROVISIONED, "").used, 100);
    assert_int_equal(reserved(f, "w"), 0);
    assert_int_equal(reserved(f, "e"), 100);
    /* What is out of reach goes first, though it was the first to come. */
    assert_int_equal(take(f, "b", "westus", "gpt-4o", SKU_GLOBAL_PROVISIONED, 100), LEDGER_DONE);
    assert_int_equal(reserved(f, "w"), 100);
    put_pool(f->ledger, "e", "eastus", 300, "gpt-4o", "gpt-4.1");
    assert_int_equal(take(f, "b", "westus", "gpt-4o", SKU_GLOBAL_PROVISIONED, 150), LEDGER_DONE);
    assert_int_equal(take(f, "b", "westus", "gpt-4.1", SKU_GLOBAL_PROVISIONED, 50), LEDGER_DONE);
    assert_row(f, "b", "{\"size\":50,\"quota\":50,\"pools\":[{\"pool\":\"e\",\"ptus\":50}]}");
    assert_true(ledger_release(f->ledger, STR("b")));
    /* The other model that the same pool serves needs no room but its own. */
    assert_int_equal(take(f, "a", "eastus", "gpt-4.1", SKU_PROVISIONED, 100), LEDGER_DONE);
    assert_int_equal(reserved(f, "e"), 100);
    assert_int_equal(take(f, "a", "eastus", "gpt-4.1", SKU_STANDARD, 10), LEDGER_DONE);
    assert_int_equal(reserved(f, "e"), 0);
    assert_int_equal(quota(f, "eastus", SKU_PROVISIONED, "").used, 0);
    assert_balanced(f->ledger);
}

/* ---- what would fit ---- */

static void tells_the_largest_valid_size(void **state) {
    struct fixture *f = *state;
    static const struct {
        int64_t ptus, limit, regional, global;
    } cases[] = {{0, 500, 0, 0},        {49, 500, 0, 45}, {50, 500, 50, 50}, {149, 500, 100, 145},
                 {1000, 130, 100, 130}, {1000, 14, 0, 0}, {1000, 15, 0, 15}, {1000, 500, 500, 500}};
    put_places(f->ledger);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        put_pool(f->ledger, "p", "eastus", cases[i].ptus, "gpt-4o", NULL);
        set_quota(f, "eastus", SKU_PROVISIONED, "", cases[i].limit);
        set_quota(f, "eastus", SKU_GLOBAL_PROVISIONED, "", cases[i].limit);
        assert_int_equal(ledger_largest(f->ledger, STR("sub"), STR("eastus"), model(f, "gpt-4o"),
                                        SKU_PROVISIONED),
                         cases[i].regional);
        assert_int_equal(ledger_largest(f->ledger, STR("sub"), STR("eastus"), model(f, "gpt-4o"),
                                        SKU_GLOBAL_PROVISIONED),
                         cases[i].global);
    }
    /* What no pool serves has no size, though quota is left. */
    assert_int_equal(
        ledger_largest(f->ledger, STR("sub"), STR("eastus"), model(f, "o3-mini"), SKU_STANDARD), 0);
    put_pool(f->ledger, "q", "eastus", 0, "o3-mini", NULL);
    /* 150 thousand tokens a minute are 15 units of a model whose unit has ten. */
    assert_int_equal(
        ledger_largest(f->ledger, STR("sub"), STR("eastus"), model(f, "o3-mini"), SKU_STANDARD),
        15);
    assert_int_equal(ledger_largest(f->ledger, STR("sub"), STR("island"), model(f, "o3-mini"),
                                    SKU_DATA_ZONE_STANDARD),
                     0);
}

static void lists_where_else_it_would_fit_what_is_enough_first(void **state) {
    struct fixture *f = *state;
    struct ledger_place out[16];
    put_places(f->ledger);
    put_pool(f->ledger, "e", "eastus", 50, "gpt-4o", NULL);
    put_pool(f->ledger, "w", "westus", 200, "gpt-4o", NULL);
    put_pool(f->ledger, "i", "island", 75, "gpt-4o", NULL);
    struct ledger_ask ask = ask_of(f, "a", "EASTUS", "gpt-4o", SKU_PROVISIONED, 100);
    assert_int_equal(ledger_take(f->ledger, &ask, NULL), LEDGER_NO_CAPACITY);
    size_t n = ledger_elsewhere(f->ledger, &ask, out, ARRAY_LEN(out));
    /* Enough: regional in westus; global in three, zone in two. Not enough: island, regional 50. */
    assert_int_equal(n, 7);
    assert_true(str_eq(out[0].location, STR("westus")));
    assert_int_equal(out[0].sku, SKU_PROVISIONED);
    assert_int_equal(out[0].largest, 200);
    assert_true(out[0].is_enough);
    for (size_t i = 1; i < 6; i++) {
        assert_true(out[i].is_enough && out[i].sku != SKU_PROVISIONED);
        assert_true(out[i].largest <= out[i - 1].largest || i == 1);
    }
    assert_int_equal(out[1].largest, 325);
    assert_int_equal(out[1].sku, SKU_GLOBAL_PROVISIONED);
    assert_true(str_eq(out[6].location, STR("island")));
    assert_int_equal(out[6].largest, 50);
    assert_false(out[6].is_enough);
    assert_int_equal(ledger_elsewhere(f->ledger, &ask, out, 2), 2);
    /* Every place of the model in one walk: three locations, each with its SKUs. */
    assert_int_equal(
        ledger_places(f->ledger, STR("sub"), STR(""), model(f, "gpt-4o"), out, ARRAY_LEN(out)),
        6 + 6 + 4);
    assert_int_equal(
        ledger_places(f->ledger, STR("sub"), STR("Island"), model(f, "gpt-4o"), out, 16), 4);
    /* Valid there is not valid here: 60 is no regional size. */
    ask = ask_of(f, "a", "eastus", "gpt-4o", SKU_GLOBAL_PROVISIONED, 60);
    n = ledger_elsewhere(f->ledger, &ask, out, ARRAY_LEN(out));
    for (size_t i = 0; i < n; i++)
        assert_int_equal(out[i].is_enough, out[i].sku != SKU_PROVISIONED);
    assert_int_equal(ledger_capacity_left(f->ledger, STR("eastus"), model(f, "gpt-4o"),
                                          SKU_DATA_ZONE_PROVISIONED),
                     250);
    ledger_location_remove(f->ledger, STR("westus"));
    assert_int_equal(ledger_capacity_left(f->ledger, STR("eastus"), model(f, "gpt-4o"),
                                          SKU_DATA_ZONE_PROVISIONED),
                     50);
    assert_int_equal(
        ledger_places(f->ledger, STR("sub"), STR(""), model(f, "gpt-4o"), out, ARRAY_LEN(out)), 10);
    struct str name, zone;
    assert_true(ledger_location_at(f->ledger, 0, &name, &zone));
    assert_true(str_eq(name, STR("eastus")) && str_eq(zone, STR("us")));
    assert_true(ledger_location_at(f->ledger, 1, &name, &zone));
    assert_true(str_eq(name, STR("island")) && zone.n == 0);
    assert_false(ledger_location_at(f->ledger, 2, &name, &zone));
}

/* ---- rows ---- */

static enum status load(const struct fixture *f, const char *id, enum sku sku, const char *row,
                        struct problem *why) {
    struct json_doc *doc = json_doc_new();
    struct json_value v;
    char text[512] = {0};
    snprintf(text, sizeof text - JSON_PADDING, "%s", row);
    assert_int_equal(json_parse(doc, text, strlen(text), &v, why), ST_OK);
    struct ledger_ask ask = ask_of(f, id, "eastus", "gpt-4o", sku, 0);
    enum status st = ledger_load(f->ledger, &ask, v, false, why);
    json_doc_free(doc);
    return st;
}

static void rows_come_back_before_their_pools_do(void **state) {
    struct fixture *f = *state;
    struct problem why = {0};
    static const char row[] =
        "{\"size\":150,\"quota\":150,\"pools\":[{\"pool\":\"P\",\"ptus\":100},"
        "{\"pool\":\"q\",\"ptus\":50}]}";
    assert_int_equal(load(f, "a", SKU_PROVISIONED, row, &why), ST_OK);
    assert_row(f, "a", row);
    assert_int_equal(quota(f, "eastus", SKU_PROVISIONED, "").used, 150);
    assert_int_equal(reserved(f, "p"), 100);
    put_places(f->ledger);
    put_pool(f->ledger, "p", "eastus", 150, "gpt-4o", NULL);
    assert_int_equal(take(f, "b", "eastus", "gpt-4o", SKU_PROVISIONED, 100), LEDGER_NO_CAPACITY);
    assert_int_equal(take(f, "b", "eastus", "gpt-4o", SKU_PROVISIONED, 50), LEDGER_DONE);
    assert_balanced(f->ledger);
    /* One that is there already is no row to load. */
    assert_int_equal(load(f, "A", SKU_PROVISIONED, row, &why), ST_BAD_REQUEST);
}

static void rows_that_are_none_are_refused_and_leave_nothing(void **state) {
    struct fixture *f = *state;
    static const char *const rows[] = {
        "null",
        "[]",
        "{}",
        "{\"size\":100,\"quota\":100}",
        "{\"size\":0,\"quota\":100,\"pools\":[]}",
        "{\"size\":100,\"quota\":-1,\"pools\":[]}",
        "{\"size\":\"100\",\"quota\":100,\"pools\":[]}",
        "{\"size\":100,\"quota\":100,\"pools\":[{\"pool\":\"p\",\"ptus\":101}]}",
        "{\"size\":100,\"quota\":100,\"pools\":[{\"pool\":\"p\",\"ptus\":0}]}",
        "{\"size\":100,\"quota\":100,\"pools\":[{\"pool\":\"p\"}]}",
        "{\"size\":100,\"quota\":100,\"pools\":[{\"pool\":\"p\",\"ptus\":50},{\"pool\":7}]}",
        "{\"size\":100,\"quota\":100,\"pools\":[{\"pool\":\"p\",\"ptus\":1e30}]}",
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct problem why = {0};
        assert_int_equal(load(f, "a", SKU_PROVISIONED, rows[i], &why), ST_BAD_REQUEST);
        assert_true(why.message[0] != '\0');
        assert_row(f, "a", "null");
        assert_int_equal(reserved(f, "p"), 0);
        assert_int_equal(quota(f, "eastus", SKU_PROVISIONED, "").used, 0);
        assert_balanced(f->ledger);
    }
    struct problem why = {0};
    assert_int_equal(load(f, "a", SKU_STANDARD,
                          "{\"size\":100,\"quota\":100,\"pools\":[{\"pool\":\"p\",\"ptus\":1}]}",
                          &why),
                     ST_BAD_REQUEST);
}

static void books_that_do_not_balance_are_told(void **state) {
    struct fixture *f = *state;
    struct problem why = {0};
    put_places(f->ledger);
    put_pool(f->ledger, "p", "eastus", 300, "gpt-4o", NULL);
    assert_int_equal(take(f, "a", "eastus", "gpt-4o", SKU_PROVISIONED, 100), LEDGER_DONE);
    struct grant *g = ledger_grant_find(f->ledger, STR("a"));
    int64_t *const books[] = {&g->quota->used, &g->quota->held, &g->parts[0].pool->reserved};
    for (size_t i = 0; i < ARRAY_LEN(books); i++) {
        assert_true(ledger_check(f->ledger, &why));
        ++*books[i];
        assert_false(ledger_check(f->ledger, &why));
        assert_true(why.message[0] != '\0');
        --*books[i];
    }
}

/* ---- against sums made the slow way ---- */

enum { N_DEPLOYMENTS = 24, N_POOLS = 6, N_SUBS = 2, N_MODELS = 3, N_ACCOUNTS = 6 };

static const char *const places[] = {"eastus", "westus", "island"};
static const char *const subs[N_SUBS] = {"sub", "other"};
static const char *const model_names[N_MODELS] = {"gpt-4o", "gpt-4o-mini", "o3-mini"};
static const struct {
    int place;
    bool serves[N_MODELS];
} pool_facts[N_POOLS] = {
    {0, {true, false, false}}, {0, {true, true, false}},  {1, {true, true, true}},
    {1, {false, false, true}}, {2, {true, false, false}}, {2, {false, true, true}},
};

/* A deployment as the slow model has it; account = index % N_ACCOUNTS, which fixes the place. */
struct slow {
    bool exists;
    int model;
    enum sku sku;
    int64_t size, units;
    int64_t parts[N_POOLS];
};

struct world {
    struct fixture *f;
    struct random r;
    struct slow d[N_DEPLOYMENTS];
    int64_t ptus[N_POOLS];
    bool is_draining[N_POOLS];
    int64_t limit[N_SUBS][3][SKU_COUNT][N_MODELS]; /* provisioned ones at model 0 */
    int64_t deleted_at[N_ACCOUNTS];                /* hours; -1: not deleted */
    int64_t now;
};

static int sub_of(int d) {
    return d % N_ACCOUNTS % N_SUBS;
}
static int place_of(int d) {
    return d % N_ACCOUNTS % 3;
}

static struct ledger_ask slow_ask(const struct world *w, int d, int m, enum sku sku, int64_t size,
                                  char *id) {
    snprintf(id, 16, "d%d", d);
    return (struct ledger_ask){str_of(id),
                               str_of(subs[sub_of(d)]),
                               str_of(places[place_of(d)]),
                               model(w->f, model_names[m]),
                               sku,
                               size};
}

static int64_t slow_used(const struct world *w, int sub, int place, enum sku sku, int m) {
    int64_t sum = 0;
    for (int d = 0; d < N_DEPLOYMENTS; d++) {
        const struct slow *s = &w->d[d];
        if (s->exists && sub_of(d) == sub && place_of(d) == place && s->sku == sku &&
            (sku_is_provisioned(sku) || s->model == m))
            sum += s->units;
    }
    return sum;
}

static int64_t slow_reserved(const struct world *w, int p) {
    int64_t sum = 0;
    for (int d = 0; d < N_DEPLOYMENTS; d++)
        sum += w->d[d].exists ? w->d[d].parts[p] : 0;
    return sum;
}

static bool slow_reaches(int from, enum sku sku, int m, int p) {
    bool is_near = sku_reach(sku) == REACH_GLOBAL || from == pool_facts[p].place ||
                   (sku_reach(sku) == REACH_DATA_ZONE && from < 2 && pool_facts[p].place < 2);
    return is_near && pool_facts[p].serves[m];
}

static enum ledger_outcome slow_judge(const struct world *w, int d, int m, enum sku sku,
                                      int64_t size) {
    const struct slow *s = &w->d[d];
    const struct model *facts = model(w->f, model_names[m]);
    bool is_resize = s->exists && s->model == m && s->sku == sku;
    bool is_same_quota = s->exists && s->sku == sku && (sku_is_provisioned(sku) || s->model == m);
    if (s->exists && w->deleted_at[d % N_ACCOUNTS] >= 0)
        return LEDGER_HELD;
    if (is_resize && size == s->size)
        return LEDGER_DONE;
    if (sku_reach(sku) == REACH_DATA_ZONE && place_of(d) == 2)
        return LEDGER_NOT_OFFERED;
    const struct sku_sizes *sizes = &facts->sizes[sku];
    if (size < sizes->minimum || (size - sizes->minimum) % sizes->step != 0)
        return LEDGER_BAD_SIZE;
    int64_t units = sku_is_provisioned(sku) ? size : size * facts->standard_tpm / 1000;
    int64_t more = units - (is_same_quota ? s->units : 0);
    int q = sku_is_provisioned(sku) ? 0 : m;
    int64_t left =
        w->limit[sub_of(d)][place_of(d)][sku][q] - slow_used(w, sub_of(d), place_of(d), sku, m);
    if (more > 0 && more > left)
        return LEDGER_NO_QUOTA;
    if (!sku_is_provisioned(sku))
        return LEDGER_DONE;
    int64_t kept = 0, room = 0;
    for (int p = 0; p < N_POOLS; p++) {
        if (!slow_reaches(place_of(d), sku, m, p))
            continue;
        kept += s->exists ? s->parts[p] : 0;
        room += w->is_draining[p] ? 0 : i64_max(w->ptus[p] - slow_reserved(w, p), 0);
    }
    if (is_resize)
        kept = s->size;
    return size - kept > room && size > kept ? LEDGER_NO_CAPACITY : LEDGER_DONE;
}

/* Reads the parts of a grant from its row. */
static void read_parts(const struct ledger *l, const char *id, int64_t *parts) {
    struct json_doc *doc = json_doc_new();
    struct json_value v, list, item, name, ptus;
    struct json_iter it;
    size_t n;
    char *row = row_of(l, str_of(id), &n);
    memset(parts, 0, N_POOLS * sizeof *parts);
    assert_int_equal(json_parse(doc, row, n, &v, NULL), ST_OK);
    assert_true(json_get(v, STR("pools"), &list));
    for (json_items(&it, list); json_next(&it, &item);) {
        assert_true(json_get(item, STR("pool"), &name) && json_get(item, STR("ptus"), &ptus));
        int p = json_str(name).p[1] - '0';
        assert_true(p >= 0 && p < N_POOLS && parts[p] == 0);
        assert_true(json_i64(ptus, &parts[p]));
    }
    json_doc_free(doc);
    free(row);
}

/* The parts after a granted change: whole, in pools that may, and never moved by a resize. */
static void check_parts(const struct world *w, int d, const struct slow *was,
                        const struct slow *is) {
    bool is_resize = was->exists && was->model == is->model && was->sku == is->sku;
    int64_t sum = 0;
    for (int p = 0; p < N_POOLS; p++) {
        sum += is->parts[p];
        int64_t before = was->exists ? was->parts[p] : 0;
        if (is->parts[p] > before) {
            assert_true(slow_reaches(place_of(d), is->sku, is->model, p));
            assert_false(w->is_draining[p]);
            assert_true(slow_reserved(w, p) <= w->ptus[p]);
        }
        if (is_resize && is->size >= was->size)
            assert_true(is->parts[p] >= before);
        if (is_resize && is->size <= was->size)
            assert_true(is->parts[p] <= before);
    }
    assert_int_equal(sum, sku_is_provisioned(is->sku) ? is->size : 0);
}

static void check_world(const struct world *w) {
    assert_balanced(w->f->ledger);
    for (int p = 0; p < N_POOLS; p++) {
        char name[] = {'p', (char)('0' + p), '\0'};
        struct ledger_pool_sum sum = ledger_pool(w->f->ledger, str_of(name));
        assert_int_equal(sum.reserved, slow_reserved(w, p));
        assert_int_equal(sum.ptus, w->ptus[p]);
    }
    for (int sub = 0; sub < N_SUBS; sub++) {
        for (int place = 0; place < 3; place++) {
            for (int sku = 0; sku < SKU_COUNT; sku++) {
                for (int m = 0; m < (sku >= SKU_PROVISIONED ? 1 : N_MODELS); m++) {
                    struct ledger_quota_key key = {str_of(subs[sub]), str_of(places[place]),
                                                   (enum sku)sku, STR("OpenAI"),
                                                   str_of(model_names[m])};
                    struct ledger_quota q = ledger_quota(w->f->ledger, &key);
                    assert_int_equal(q.used, slow_used(w, sub, place, (enum sku)sku, m));
                    assert_int_equal(q.limit, w->limit[sub][place][sku][m]);
                    assert_true(q.held >= 0 && q.held <= q.used);
                }
            }
        }
    }
}

static int64_t any_size(struct random *r, const struct model *m, enum sku sku) {
    const struct sku_sizes *sizes = &m->sizes[sku];
    if (random_once_in(r, 10))
        return random_between(r, -5, 300);
    return sizes->minimum + sizes->step * random_below(r, sku_is_provisioned(sku) ? 8 : 120);
}

/* The largest size that the slow model grants must be the one that the answer names. */
static void check_largest(const struct world *w, int d, int m, enum sku sku,
                          const struct ledger_answer *a) {
    int64_t largest = 0;
    for (int64_t size = 1; size <= 2500; size++) {
        if (slow_judge(w, d, m, sku, size) == LEDGER_DONE)
            largest = size;
    }
    if (a->sizes.is_offered && largest <= a->sizes.maximum)
        assert_int_equal(a->largest, largest);
}

static void step_take(struct world *w) {
    char id[16];
    int d = (int)random_below(&w->r, N_DEPLOYMENTS);
    struct slow was = w->d[d], is = was;
    bool keeps = was.exists && !random_once_in(&w->r, 4);
    is.exists = true;
    is.model = keeps ? was.model : (int)random_below(&w->r, N_MODELS);
    is.sku = keeps ? was.sku : (enum sku)random_below(&w->r, SKU_COUNT);
    const struct model *m = model(w->f, model_names[is.model]);
    is.size = any_size(&w->r, m, is.sku);
    /* A deleted account has no deployments to create; its own may not change. */
    if (!was.exists && w->deleted_at[d % N_ACCOUNTS] >= 0)
        return;
    struct ledger_ask ask = slow_ask(w, d, is.model, is.sku, is.size, id);
    struct ledger_answer answer;
    enum ledger_outcome want = slow_judge(w, d, is.model, is.sku, is.size);
    assert_int_equal(ledger_judge(w->f->ledger, &ask, &answer), want);
    if (want != LEDGER_HELD && want != LEDGER_NOT_OFFERED && random_once_in(&w->r, 10))
        check_largest(w, d, is.model, is.sku, &answer);
    assert_int_equal(ledger_take(w->f->ledger, &ask, &answer), want);
    if (want != LEDGER_DONE)
        return;
    is.units = sku_is_provisioned(is.sku) ? is.size : is.size * m->standard_tpm / 1000;
    read_parts(w->f->ledger, id, is.parts);
    w->d[d] = is;
    check_parts(w, d, &was, &is);
    int q = sku_is_provisioned(is.sku) ? 0 : is.model;
    int64_t used = slow_used(w, sub_of(d), place_of(d), is.sku, is.model);
    bool shrinks = was.exists && was.sku == is.sku && is.units <= was.units;
    assert_true(shrinks || used <= w->limit[sub_of(d)][place_of(d)][is.sku][q]);
}

static void step_delete(struct world *w) {
    char id[16];
    int d = (int)random_below(&w->r, N_DEPLOYMENTS);
    snprintf(id, sizeof id, "D%d", d);
    if (w->deleted_at[d % N_ACCOUNTS] >= 0)
        return;
    assert_int_equal(ledger_release(w->f->ledger, str_of(id)), w->d[d].exists);
    w->d[d].exists = false;
}

/* All deployments of one account: soft-deleted, recovered, purged, or expired after 48 hours. */
static void step_account(struct world *w) {
    int a = (int)random_below(&w->r, N_ACCOUNTS);
    bool was_deleted = w->deleted_at[a] >= 0;
    bool is_expired = was_deleted && w->now - w->deleted_at[a] >= 48;
    bool is_gone = was_deleted && (is_expired || random_once_in(&w->r, 3));
    for (int d = a; d < N_DEPLOYMENTS; d += N_ACCOUNTS) {
        char id[16];
        snprintf(id, sizeof id, "d%d", d);
        bool had = is_gone       ? ledger_release(w->f->ledger, str_of(id))
                   : was_deleted ? ledger_restore(w->f->ledger, str_of(id))
                                 : ledger_hold(w->f->ledger, str_of(id));
        assert_int_equal(had, w->d[d].exists);
        w->d[d].exists = w->d[d].exists && !is_gone;
    }
    w->deleted_at[a] = was_deleted ? -1 : w->now;
}

static void put_slow_pool(const struct world *w, int p) {
    char name[] = {'p', (char)('0' + p), '\0'};
    struct ledger_model models[N_MODELS];
    size_t n = 0;
    for (int m = 0; m < N_MODELS; m++) {
        if (pool_facts[p].serves[m])
            models[n++] = (struct ledger_model){STR("OpenAI"), str_of(model_names[m]), STR("")};
    }
    ledger_pool_put(w->f->ledger,
                    &(struct ledger_pool){str_of(name), str_of(places[pool_facts[p].place]),
                                          w->ptus[p], w->is_draining[p], models, n});
}

static void step_operator(struct world *w) {
    int p = (int)random_below(&w->r, N_POOLS);
    if (random_once_in(&w->r, 2)) {
        w->ptus[p] = random_below(&w->r, 900);
        w->is_draining[p] = random_once_in(&w->r, 6);
        put_slow_pool(w, p);
        return;
    }
    int sub = (int)random_below(&w->r, N_SUBS), place = (int)random_below(&w->r, 3);
    int sku = (int)random_below(&w->r, SKU_COUNT);
    int m = sku >= SKU_PROVISIONED ? 0 : (int)random_below(&w->r, N_MODELS);
    int64_t limit = random_below(&w->r, 1200);
    w->limit[sub][place][sku][m] = limit;
    struct ledger_quota_key key = {str_of(subs[sub]), str_of(places[place]), (enum sku)sku,
                                   STR("OpenAI"), str_of(model_names[m])};
    ledger_quota_set(w->f->ledger, &key, limit);
}

static void put_limits(const struct world *w) {
    for (int sub = 0; sub < N_SUBS; sub++) {
        for (int place = 0; place < 3; place++) {
            for (int sku = 0; sku < SKU_COUNT; sku++) {
                for (int m = 0; m < (sku >= SKU_PROVISIONED ? 1 : N_MODELS); m++) {
                    struct ledger_quota_key key = {str_of(subs[sub]), str_of(places[place]),
                                                   (enum sku)sku, STR("OpenAI"),
                                                   str_of(model_names[m])};
                    ledger_quota_set(w->f->ledger, &key, w->limit[sub][place][sku][m]);
                }
            }
        }
    }
}

/* A restart: all rows into new books, in another order, pools and limits at the end. */
static void step_restart(struct world *w) {
    struct ledger *old = w->f->ledger;
    w->f->ledger = ledger_new(w->f->offers, &secret);
    int first = (int)random_below(&w->r, N_DEPLOYMENTS);
    for (int i = 0; i < N_DEPLOYMENTS; i++) {
        int d = (first + i * 7) % N_DEPLOYMENTS;
        char id[16];
        if (!w->d[d].exists)
            continue;
        struct ledger_ask ask = slow_ask(w, d, w->d[d].model, w->d[d].sku, 0, id);
        struct json_doc *doc = json_doc_new();
        struct json_value v;
        struct problem why = {0};
        size_t n, n_again;
        char *row = row_of(old, str_of(id), &n);
        assert_int_equal(json_parse(doc, row, n, &v, NULL), ST_OK);
        assert_int_equal(
            ledger_load(w->f->ledger, &ask, v, w->deleted_at[d % N_ACCOUNTS] >= 0, &why), ST_OK);
        char *again = row_of(w->f->ledger, str_of(id), &n_again);
        assert_string_equal(row, again);
        free(again);
        free(row);
        json_doc_free(doc);
    }
    put_places(w->f->ledger);
    for (int p = 0; p < N_POOLS; p++)
        put_slow_pool(w, p);
    put_limits(w);
    ledger_free(old);
}

static void agrees_with_the_slow_sums_over_random_operations(void **state) {
    static struct world w;
    int n_outcomes[LEDGER_OUTCOME_COUNT] = {0};
    w = (struct world){.f = *state, .r = {2026}};
    put_places(w.f->ledger);
    for (int p = 0; p < N_POOLS; p++) {
        w.ptus[p] = 500;
        put_slow_pool(&w, p);
    }
    for (int a = 0; a < N_ACCOUNTS; a++)
        w.deleted_at[a] = -1;
    for (int sub = 0; sub < N_SUBS; sub++)
        for (int place = 0; place < 3; place++)
            for (int sku = 0; sku < SKU_COUNT; sku++)
                for (int m = 0; m < N_MODELS; m++)
                    w.limit[sub][place][sku][m] = 600;
    put_limits(&w);
    for (int step = 0; step < 8000; step++) {
        int64_t what = random_below(&w.r, 100);
        w.now += random_below(&w.r, 3);
        if (what < 65)
            step_take(&w);
        else if (what < 78)
            step_delete(&w);
        else if (what < 88)
            step_account(&w);
        else if (what < 98)
            step_operator(&w);
        else
            step_restart(&w);
        check_world(&w);
        /* Count what a further ask would meet, so that a run that meets little shows. */
        char id[16];
        struct ledger_ask ask =
            slow_ask(&w, (int)random_below(&w.r, N_DEPLOYMENTS), 0, SKU_PROVISIONED,
                     any_size(&w.r, model(w.f, "gpt-4o"), SKU_PROVISIONED), id);
        n_outcomes[ledger_judge(w.f->ledger, &ask, NULL)]++;
    }
    for (int i = 0; i < LEDGER_OUTCOME_COUNT; i++)
        assert_true(i == LEDGER_NOT_OFFERED || n_outcomes[i] > 50);
    for (int d = 0; d < N_DEPLOYMENTS; d++) {
        char id[16];
        snprintf(id, sizeof id, "d%d", d);
        ledger_release(w.f->ledger, str_of(id));
        w.d[d].exists = false;
    }
    check_world(&w);
    for (int p = 0; p < N_POOLS; p++)
        assert_int_equal(slow_reserved(&w, p), 0);
}

static void ten_thousand_deployments_are_normal(void **state) {
    struct fixture *f = *state;
    char id[32];
    put_places(f->ledger);
    put_pool(f->ledger, "p", "eastus", 10000 * 50, "gpt-4o", NULL);
    set_quota(f, "eastus", SKU_PROVISIONED, "", 10000 * 50);
    for (int i = 0; i < 10000; i++) {
        snprintf(id, sizeof id, "account%d/deployment%d", i % 30, i);
        assert_int_equal(take(f, id, "eastus", "gpt-4o", SKU_PROVISIONED, 50), LEDGER_DONE);
    }
    assert_int_equal(take(f, "one more", "eastus", "gpt-4o", SKU_PROVISIONED, 50), LEDGER_NO_QUOTA);
    assert_int_equal(reserved(f, "p"), 500000);
    assert_balanced(f->ledger);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define WITH_LEDGER(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
        WITH_LEDGER(provisioned_quota_is_one_sum_for_all_models),
        WITH_LEDGER(standard_quota_is_a_sum_per_model_in_thousands_of_tokens),
        WITH_LEDGER(a_size_is_judged_by_form_then_quota_then_capacity),
        WITH_LEDGER(sizes_that_are_none_are_refused),
        WITH_LEDGER(a_lowered_limit_takes_nothing_away_and_grants_nothing),
        WITH_LEDGER(a_soft_deleted_account_keeps_quota_and_capacity_until_it_is_purged),
        WITH_LEDGER(importing_raises_the_quota_to_fit_and_reserves_what_there_is),
        WITH_LEDGER(growing_what_is_not_covered_asks_for_the_growth_alone),
        WITH_LEDGER(importing_what_is_there_does_not_undo_a_lowered_limit),
        WITH_LEDGER(a_pool_of_several_models_has_one_capacity),
        WITH_LEDGER(reach_is_the_location_its_zone_or_the_world),
        WITH_LEDGER(growth_goes_beside_what_is_there_and_shrinking_gives_back_the_newest),
        WITH_LEDGER(one_pool_is_better_than_two),
        WITH_LEDGER(pools_of_few_models_are_filled_before_those_of_many),
        WITH_LEDGER(a_pool_that_shrinks_keeps_what_it_gave_and_gives_no_more),
        WITH_LEDGER(a_draining_pool_grants_nothing_and_goes_when_it_is_empty),
        WITH_LEDGER(a_pool_may_serve_one_version_only),
        WITH_LEDGER(a_size_that_was_valid_once_may_stay),
        WITH_LEDGER(a_change_of_kind_gives_back_the_old_only_when_the_new_is_granted),
        WITH_LEDGER(tells_the_largest_valid_size),
        WITH_LEDGER(lists_where_else_it_would_fit_what_is_enough_first),
        WITH_LEDGER(rows_come_back_before_their_pools_do),
        WITH_LEDGER(rows_that_are_none_are_refused_and_leave_nothing),
        WITH_LEDGER(books_that_do_not_balance_are_told),
        WITH_LEDGER(agrees_with_the_slow_sums_over_random_operations),
        WITH_LEDGER(ten_thousand_deployments_are_normal),
#undef WITH_LEDGER
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
