/* catalog_test.c - the models that are built into the binary. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "model/catalog.h"

struct fixture {
    struct arena arena;
    struct catalog catalog;
};

static int set_up(void **state) {
    static struct fixture f;
    arena_init(&f.arena, NULL, 0, 1 << 20);
    catalog_init(&f.catalog, &f.arena, &(struct siphash_key){1, 2});
    *state = &f;
    return 0;
}

static int tear_down(void **state) {
    struct fixture *f = *state;
    catalog_destroy(&f->catalog);
    arena_destroy(&f->arena);
    return 0;
}

static const struct model *find(void **state, const char *name, const char *version) {
    struct fixture *f = *state;
    return catalog_find(&f->catalog, STR("openai"), str_of(name), str_of(version));
}

static void knows_the_numbers_that_were_published(void **state) {
    static const struct {
        const char *name, *version;
        int64_t tpm, weight_milli, regional, global, tps;
    } cases[] = {
        /* admission spec 7.1 */
        {"gpt-4o", "2024-05-13", 2500, 3000, 50, 15, 25},
        {"gpt-4o", "2024-08-06", 2500, 3000, 50, 15, 25},
        {"gpt-4o", "2024-11-20", 2500, 3000, 50, 15, 25},
        {"gpt-4o-mini", "2024-07-18", 37000, 3000, 25, 15, 33},
        {"gpt-4.1", "2025-04-14", 3000, 4000, 50, 15, 80},
        {"gpt-4.1-mini", "2025-04-14", 14900, 4000, 25, 15, 90},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct model *m = find(state, cases[i].name, cases[i].version);
        assert_non_null(m);
        assert_int_equal(m->input_tpm_per_ptu, cases[i].tpm);
        assert_int_equal(m->output_weight_milli, cases[i].weight_milli);
        assert_int_equal(m->cached_weight_milli, 0);
        assert_int_equal(m->sizes[SKU_PROVISIONED].minimum, cases[i].regional);
        assert_int_equal(m->sizes[SKU_PROVISIONED].step, cases[i].regional);
        assert_int_equal(m->sizes[SKU_GLOBAL_PROVISIONED].minimum, cases[i].global);
        assert_int_equal(m->sizes[SKU_DATA_ZONE_PROVISIONED].step, 5);
        assert_int_equal(m->latency_target_tps, cases[i].tps);
        assert_int_equal(m->kind, MODEL_CHAT);
    }
}

static void offers_standard_everywhere_and_provisioned_with_a_capacity(void **state) {
    struct fixture *f = *state;
    assert_true(f->catalog.n > 20);
    for (size_t i = 0; i < f->catalog.n; i++) {
        const struct model *m = f->catalog.all[i];
        for (int s = 0; s < SKU_COUNT; s++) {
            if (!sku_is_provisioned((enum sku)s))
                assert_true(m->sizes[s].is_offered && m->sizes[s].minimum == 1);
            else if (m->sizes[s].is_offered)
                assert_true(m->input_tpm_per_ptu > 0 && m->output_weight_milli > 0 &&
                            m->kind != MODEL_EMBEDDING);
        }
        assert_true(m->standard_tpm > 0 && m->standard_rpm > 0 && !m->is_own);
        assert_true(m->source.n > 0 && m->date.n == 10);
    }
}

static void finds_without_regard_to_case_and_the_newest_without_a_version(void **state) {
    assert_ptr_equal(find(state, "GPT-4O", "2024-08-06"), find(state, "gpt-4o", "2024-08-06"));
    assert_ptr_equal(find(state, "gpt-4o", ""), find(state, "gpt-4o", "2024-11-20"));
    assert_true(str_eq(find(state, "gpt-5.5", "")->full_name, STR("gpt-5.5")));
    assert_null(find(state, "gpt-4o", "2024"));
    assert_null(find(state, "gpt-4", "o.2024-08-06"));
    assert_null(find(state, "", ""));
    assert_null(find(state, "a-name-that-is-longer-than-sixty-four-bytes-is-not-looked-up-at-all",
                     "2024-08-06"));
    struct fixture *f = *state;
    assert_null(catalog_find(&f->catalog, STR("Meta"), STR("gpt-4o"), STR("2024-08-06")));
}

static void says_how_far_a_sku_reaches(void **state) {
    (void)state;
    assert_int_equal(sku_reach(SKU_STANDARD), REACH_LOCATION);
    assert_int_equal(sku_reach(SKU_PROVISIONED), REACH_LOCATION);
    assert_int_equal(sku_reach(SKU_DATA_ZONE_STANDARD), REACH_DATA_ZONE);
    assert_int_equal(sku_reach(SKU_DATA_ZONE_PROVISIONED), REACH_DATA_ZONE);
    assert_int_equal(sku_reach(SKU_GLOBAL_STANDARD), REACH_GLOBAL);
    assert_int_equal(sku_reach(SKU_GLOBAL_PROVISIONED), REACH_GLOBAL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_the_numbers_that_were_published),
        cmocka_unit_test(offers_standard_everywhere_and_provisioned_with_a_capacity),
        cmocka_unit_test(finds_without_regard_to_case_and_the_newest_without_a_version),
        cmocka_unit_test(says_how_far_a_sku_reaches),
    };
    return cmocka_run_group_tests_name("catalog", tests, set_up, tear_down);
}
