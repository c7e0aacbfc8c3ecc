/* offers_test.c - what is for sale: sizes, default quotas, the names of quotas. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "arm/offers.h"
#include "support/random.h"

static const struct siphash_key secret = {8, 9};

struct fixture {
    struct arena arena;
    struct catalog catalog;
    struct offers *offers;
};

static int set_up(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    arena_init(&f->arena, NULL, 0, 1 << 20);
    catalog_init(&f->catalog, &f->arena, &secret);
    f->offers = offers_new(&secret);
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    struct fixture *f = *state;
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

static void default_quotas_are_those_that_were_published(void **state) {
    const struct fixture *f = *state;
    /* Microsoft, quotas and limits page of 2024-11-11, default tier; PTUs are assumed. */
    static const struct {
        enum sku sku;
        const char *model;
        int64_t quota;
    } cases[] = {
        {SKU_STANDARD, "gpt-4o", 150},
        {SKU_STANDARD, "GPT-4o-mini", 450},
        {SKU_STANDARD, "gpt-35-turbo", 240},
        {SKU_DATA_ZONE_STANDARD, "gpt-4o", 300},
        {SKU_DATA_ZONE_STANDARD, "gpt-4o-mini", 1000},
        {SKU_GLOBAL_STANDARD, "gpt-4o", 450},
        {SKU_GLOBAL_STANDARD, "gpt-4o-mini", 2000},
        {SKU_GLOBAL_STANDARD, "a model of the operator's own", 450},
        {SKU_PROVISIONED, "gpt-4o", 500},
        {SKU_DATA_ZONE_PROVISIONED, "", 500},
        {SKU_GLOBAL_PROVISIONED, "gpt-35-turbo", 500},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(
            offers_default_quota(f->offers, STR("OpenAI"), str_of(cases[i].model), cases[i].sku),
            cases[i].quota);
    char longer[2 * OFFERS_NAME_MAX];
    memset(longer, 'x', sizeof longer);
    assert_int_equal(offers_default_quota(f->offers, STR("OpenAI"),
                                          (struct str){longer, sizeof longer}, SKU_STANDARD),
                     150);
}

static void sizes_are_the_models_own_up_to_the_largest(void **state) {
    const struct fixture *f = *state;
    struct offer_sizes s = offers_sizes(f->offers, model(f, "gpt-4o"), SKU_PROVISIONED);
    assert_true(s.is_offered && s.minimum == 50 && s.step == 50 && s.maximum == 100000);
    s = offers_sizes(f->offers, model(f, "gpt-4o"), SKU_STANDARD);
    assert_true(s.is_offered && s.minimum == 1 && s.step == 1 && s.maximum == 1000);
    s = offers_sizes(f->offers, model(f, "gpt-35-turbo"), SKU_PROVISIONED);
    assert_true(!s.is_offered && s.maximum == 0);
    /* The catalog's own maximum goes before the data, and is cut to a size. */
    struct model m = *model(f, "gpt-4o");
    m.sizes[SKU_PROVISIONED].maximum = 199;
    m.sizes[SKU_STANDARD].maximum = 5000;
    assert_int_equal(offers_sizes(f->offers, &m, SKU_PROVISIONED).maximum, 150);
    assert_int_equal(offers_sizes(f->offers, &m, SKU_STANDARD).maximum, 5000);
    m.sizes[SKU_PROVISIONED].maximum = 10;
    assert_int_equal(offers_sizes(f->offers, &m, SKU_PROVISIONED).maximum, 50);
    m.sizes[SKU_GLOBAL_PROVISIONED].maximum = 1; /* steps of 5 below 15 are no sizes */
    assert_int_equal(offers_sizes(f->offers, &m, SKU_GLOBAL_PROVISIONED).maximum, 15);
}

/* Against a walk over all sizes. */
static void rounding_finds_the_neighbours_that_a_walk_finds(void **state) {
    (void)state;
    struct random r = {3};
    for (int i = 0; i < 400; i++) {
        struct offer_sizes s = {true, random_between(&r, 1, 60), random_between(&r, 1, 60), 0};
        s.maximum = s.minimum + s.step * random_below(&r, 6);
        for (int64_t size = -3; size < 450; size++) {
            int64_t below = 0, above = 0;
            bool is_size = false;
            for (int64_t x = s.minimum; x <= s.maximum; x += s.step) {
                is_size = is_size || x == size;
                if (x <= size)
                    below = x;
                if (x >= size && above == 0)
                    above = x;
            }
            assert_int_equal(offer_is_size(&s, size), is_size);
            assert_int_equal(offer_size_below(&s, size), below);
            assert_int_equal(offer_size_above(&s, size), above);
        }
        s.is_offered = false;
        assert_false(offer_is_size(&s, s.minimum));
        assert_int_equal(offer_size_below(&s, INT64_MAX), 0);
        assert_int_equal(offer_size_above(&s, 1), 0);
    }
}

static void quota_of_a_size_and_size_of_a_quota_agree(void **state) {
    const struct fixture *f = *state;
    struct model m = *model(f, "gpt-4o");
    static const int64_t tpms[] = {1, 500, 1000, 1500, 6000, 10000, 1000000};
    assert_int_equal(offers_quota_units(&m, SKU_PROVISIONED, 50), 50);
    assert_int_equal(offers_size_for(&m, SKU_GLOBAL_PROVISIONED, 50), 50);
    for (size_t i = 0; i < ARRAY_LEN(tpms); i++) {
        m.standard_tpm = tpms[i];
        for (int64_t units = 0; units < 2000; units++) {
            /* The largest size that fits does, and the next one doesn't. */
            int64_t size = offers_size_for(&m, SKU_STANDARD, units);
            assert_true(offers_quota_units(&m, SKU_STANDARD, size) <= units);
            assert_true(offers_quota_units(&m, SKU_STANDARD, size + 1) > units);
        }
    }
}

static void quotas_have_the_names_that_clients_know(void **state) {
    const struct fixture *f = *state;
    /* ARM contract, section 5. */
    static const struct {
        enum sku sku;
        const char *format, *model, *name, *title;
    } cases[] = {
        {SKU_STANDARD, "OpenAI", "gpt-4o", "OpenAI.Standard.gpt-4o",
         "Tokens Per Minute (thousands) - gpt-4o"},
        {SKU_GLOBAL_STANDARD, "OpenAI", "gpt-4o-mini", "OpenAI.GlobalStandard.gpt-4o-mini",
         "Tokens Per Minute (thousands) - Global Standard - gpt-4o-mini"},
        {SKU_DATA_ZONE_STANDARD, "OpenAI", "o1", "OpenAI.DataZoneStandard.o1",
         "Tokens Per Minute (thousands) - Data Zone Standard - o1"},
        {SKU_PROVISIONED, "", "", "OpenAI.ProvisionedManaged",
         "Provisioned Managed Throughput Unit"},
        {SKU_GLOBAL_PROVISIONED, "", "", "OpenAI.GlobalProvisionedManaged",
         "Global Provisioned Managed Throughput Unit"},
        {SKU_DATA_ZONE_PROVISIONED, "", "", "OpenAI.DataZoneProvisionedManaged",
         "Data Zone Provisioned Managed Throughput Unit"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char name[OFFERS_NAME_MAX], title[OFFERS_NAME_MAX];
        struct str got =
            offers_quota_name(str_of(cases[i].format), str_of(cases[i].model), cases[i].sku, name);
        assert_true(str_eq(got, str_of(cases[i].name)));
        assert_true(str_eq(offers_quota_title(str_of(cases[i].model), cases[i].sku, title),
                           str_of(cases[i].title)));
        struct str format, of;
        enum sku sku;
        assert_true(offers_quota_of(&f->catalog, got, &sku, &format, &of));
        assert_int_equal(sku, cases[i].sku);
        assert_true(str_eq(format, str_of(cases[i].format)));
        assert_true(str_eq(of, str_of(cases[i].model)));
    }
    char name[OFFERS_NAME_MAX];
    assert_true(str_eq(offers_quota_name(STR("Meta"), STR("Llama"), SKU_STANDARD, name),
                       STR("AIServices.Standard.Llama")));
}

static void names_of_no_quota_mean_none(void **state) {
    const struct fixture *f = *state;
    static const char *const names[] = {
        "",
        "OpenAI",
        "OpenAI.Standard",
        "OpenAI.Standard.",
        "OpenAI.Standard.gpt-5000",
        "gpt-4o",
        "AIServices.Standard.gpt-4o",
        "OpenAI.ProvisionedManaged.gpt-4o",
        "AccountCount",
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct str format, of;
        enum sku sku;
        assert_false(offers_quota_of(&f->catalog, str_of(names[i]), &sku, &format, &of));
    }
    struct str format, of;
    enum sku sku;
    assert_true(offers_quota_of(&f->catalog, STR("openai.STANDARD.GPT-4O"), &sku, &format, &of));
    assert_true(str_eq(of, STR("gpt-4o")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define WITH_OFFERS(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
        WITH_OFFERS(default_quotas_are_those_that_were_published),
        WITH_OFFERS(sizes_are_the_models_own_up_to_the_largest),
        WITH_OFFERS(rounding_finds_the_neighbours_that_a_walk_finds),
        WITH_OFFERS(quota_of_a_size_and_size_of_a_quota_agree),
        WITH_OFFERS(quotas_have_the_names_that_clients_know),
        WITH_OFFERS(names_of_no_quota_mean_none),
#undef WITH_OFFERS
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
