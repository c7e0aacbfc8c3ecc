/* lists_test.c - usages, capacities and the calculator's answer, as clients read them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "arm/lists.h"

static const struct siphash_key secret = {21, 22};

struct fixture {
    struct arena arena;
    struct catalog catalog;
    struct offers *offers;
    struct ledger *ledger;
    struct lists from;
    struct buf text;
    struct json_doc *doc;
};

static int set_up(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    struct ledger_model models[] = {{STR("OpenAI"), STR("gpt-4o"), STR("")}};
    arena_init(&f->arena, NULL, 0, 1 << 20);
    catalog_init(&f->catalog, &f->arena, &secret);
    f->offers = offers_new(&secret);
    f->ledger = ledger_new(f->offers, &secret);
    f->from = (struct lists){f->ledger, f->offers, &f->catalog};
    f->doc = json_doc_new();
    buf_init(&f->text, 1 << 20);
    ledger_location_put(f->ledger, STR("eastus"), STR("us"));
    ledger_location_put(f->ledger, STR("westus"), STR(""));
    ledger_pool_put(f->ledger, &(struct ledger_pool){.name = STR("p"),
                                                     .location = STR("eastus"),
                                                     .ptus = 370,
                                                     .models = models,
                                                     .n_models = 1});
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    struct fixture *f = *state;
    json_doc_free(f->doc);
    buf_destroy(&f->text);
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

static struct json_writer begin(struct fixture *f) {
    struct json_writer w;
    buf_clear(&f->text);
    json_writer_init(&w, &f->text, 0);
    return w;
}

static struct json_value parse(struct fixture *f) {
    struct json_value v;
    char *padding = buf_reserve_slack(&f->text, 0, JSON_PADDING);
    assert_non_null(padding);
    assert_int_equal(json_parse(f->doc, f->text.p, f->text.len, &v, NULL), ST_OK);
    return v;
}

static struct str text_of(struct json_value v, const char *name) {
    assert_true(json_get(v, str_of(name), &v));
    return json_str(v);
}

static int64_t number_of(struct json_value v, const char *name) {
    int64_t n = -1;
    assert_true(json_get(v, str_of(name), &v) && json_i64(v, &n));
    return n;
}

static int count(struct json_value list) {
    struct json_iter it;
    struct json_value v;
    int n = 0;
    for (json_items(&it, list); json_next(&it, &v);)
        n++;
    return n;
}

/* ---- usages ---- */

static struct json_value usages(struct fixture *f, const char *filter) {
    struct json_writer w = begin(f);
    json_begin_array(&w);
    lists_usages(&f->from, STR("s"), STR("eastus"), str_of(filter), &w);
    json_end_array(&w);
    return parse(f);
}

static struct json_value usage(struct json_value list, const char *name) {
    struct json_iter it;
    struct json_value v, of, found = {0};
    int n = 0;
    for (json_items(&it, list); json_next(&it, &v);) {
        assert_true(json_get(v, STR("name"), &of));
        if (str_eq(text_of(of, "value"), str_of(name))) {
            found = v;
            n++;
        }
    }
    assert_int_equal(n, 1);
    return found;
}

static void usages_tell_what_is_used_of_every_quota(void **state) {
    struct fixture *f = *state;
    struct ledger_ask ask = {
        STR("a"), STR("s"), STR("eastus"), model(f, "gpt-4o"), SKU_GLOBAL_PROVISIONED, 100};
    assert_int_equal(ledger_take(f->ledger, &ask, NULL), LEDGER_DONE);
    assert_true(ledger_hold(f->ledger, STR("a"))); /* held quota is used */
    ask.id = STR("b");
    ask.sku = SKU_STANDARD;
    ask.size = 30;
    assert_int_equal(ledger_take(f->ledger, &ask, NULL), LEDGER_DONE);
    struct json_value all = usages(f, ""), v = usage(all, "OpenAI.GlobalProvisionedManaged"), name;
    assert_int_equal(number_of(v, "currentValue"), 100);
    assert_int_equal(number_of(v, "limit"), 500);
    assert_true(str_eq(text_of(v, "unit"), STR("Count")));
    assert_true(json_get(v, STR("name"), &name));
    assert_true(
        str_eq(text_of(name, "localizedValue"), STR("Global Provisioned Managed Throughput Unit")));
    assert_int_equal(number_of(usage(all, "OpenAI.ProvisionedManaged"), "currentValue"), 0);
    /* Three versions of gpt-4o, one quota. */
    v = usage(all, "OpenAI.Standard.gpt-4o");
    assert_int_equal(number_of(v, "currentValue"), 30);
    assert_int_equal(number_of(v, "limit"), 150);
    usage(all, "OpenAI.DataZoneStandard.text-embedding-3-small");
    int n_names = 0;
    for (size_t i = 0; i < f->catalog.n; i++) {
        bool is_first = true;
        for (size_t k = 0; k < i; k++)
            is_first = is_first && !str_ieq(f->catalog.all[k]->name, f->catalog.all[i]->name);
        n_names += is_first;
    }
    assert_int_equal(count(all), 3 + 3 * n_names);
}

static void a_filter_narrows_the_list_to_names(void **state) {
    struct fixture *f = *state;
    assert_int_equal(count(usages(f, "name.value eq 'openai.provisionedmanaged'")), 1);
    assert_int_equal(count(usages(f, " Name.Value EQ 'OpenAI.Standard.o1' or "
                                     "name.value eq  'OpenAI.Standard.o3'")),
                     2);
    assert_int_equal(count(usages(f, "name.value eq 'nothing'")), 0);
    static const char *const good[] = {"", "  ", "name.value eq ''",
                                       "name.value eq 'a' or name.value eq 'b'"};
    static const char *const bad[] = {"name.value",
                                      "name.value eq",
                                      "name.value eq 'a",
                                      "name.value eq a",
                                      "name.value ne 'a'",
                                      "name.value eq 'a' or",
                                      "name.value eq 'a' or ",
                                      "name.value eq 'a' and name.value eq 'b'",
                                      "name.value eq 'a' name.value eq 'b'",
                                      "unit eq 'Count'",
                                      "' or 1 eq 1"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_true(lists_filter_check(str_of(good[i])));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(lists_filter_check(str_of(bad[i])));
}

/* ---- modelCapacities ---- */

static struct json_value capacities(struct fixture *f, const char *location) {
    struct json_writer w = begin(f);
    json_begin_array(&w);
    lists_capacities(&f->from, STR("s"), str_of(location), model(f, "gpt-4o"), &w);
    json_end_array(&w);
    return parse(f);
}

static void capacities_are_the_largest_valid_sizes(void **state) {
    struct fixture *f = *state;
    /* 370 PTUs in eastus, 500 of quota: regional in steps of 50, the others of 5 from 15 on. Standard
     * ones have what the quota allows where a pool serves the model. */
    static const struct {
        const char *location, *sku;
        int64_t size;
    } want[] = {
        {"eastus", "Standard", 150},
        {"eastus", "DataZoneStandard", 300},
        {"eastus", "GlobalStandard", 450},
        {"eastus", "ProvisionedManaged", 350},
        {"eastus", "DataZoneProvisionedManaged", 370},
        {"eastus", "GlobalProvisionedManaged", 370},
        {"westus", "Standard", 0},
        {"westus", "GlobalStandard", 450},
        {"westus", "ProvisionedManaged", 0},
        {"westus", "GlobalProvisionedManaged", 370},
    };
    struct json_iter it;
    struct json_value v, p, list = capacities(f, "");
    size_t i = 0;
    for (json_items(&it, list); json_next(&it, &v); i++) {
        assert_true(i < ARRAY_LEN(want));
        assert_true(str_eq(text_of(v, "location"), str_of(want[i].location)));
        assert_true(str_eq(text_of(v, "name"), str_of(want[i].sku)));
        assert_true(json_get(v, STR("properties"), &p));
        assert_true(str_eq(text_of(p, "skuName"), str_of(want[i].sku)));
        assert_int_equal(number_of(p, "availableCapacity"), want[i].size);
        assert_true(str_ends(text_of(v, "id"), str_of(want[i].sku)));
        assert_true(json_get(p, STR("model"), &p));
        assert_true(str_eq(text_of(p, "version"), STR("2024-11-20")));
    }
    assert_int_equal(i, ARRAY_LEN(want));
    assert_int_equal(count(capacities(f, "WestUS")), 4);
    assert_int_equal(count(capacities(f, "mars")), 0);
}

/* ---- calculateModelCapacity ---- */

static enum status calculate(struct fixture *f, const char *body, struct json_value *answer,
                             struct problem *why) {
    struct json_doc *doc = json_doc_new();
    struct json_value v;
    size_t n = strlen(body);
    char *text = calloc(1, n + JSON_PADDING);
    memcpy(text, body, n);
    assert_int_equal(json_parse(doc, text, n, &v, NULL), ST_OK);
    struct json_writer w = begin(f);
    enum status st = lists_calculate(&f->from, v, &w, why);
    json_doc_free(doc);
    free(text);
    if (st == ST_OK)
        *answer = parse(f);
    else
        assert_int_equal(f->text.len, 0);
    return st;
}

static void the_calculator_adds_workloads_up_before_it_rounds(void **state) {
    struct fixture *f = *state;
    static const struct {
        const char *model, *sku, *workloads;
        int64_t value, deployable;
    } cases[] = {
        /* admission spec 7.1: 45.6 PTUs. */
        {"gpt-4o", "GlobalProvisionedManaged",
         "{\"requestPerMinute\":60,\"requestParameters\":{\"avgPromptTokens\":1000,"
         "\"avgGeneratedTokens\":300}}",
         46, 50},
        {"GPT-4o", "provisionedmanaged",
         "{\"requestPerMinute\":60,\"requestParameters\":{\"avgPromptTokens\":1000,"
         "\"avgGeneratedTokens\":300}}",
         46, 50},
        /* Four of 11.4 PTUs each are 45.6, not four times 12. */
        {"gpt-4o", "GlobalProvisionedManaged",
         "{\"requestPerMinute\":15,\"requestParameters\":{\"avgPromptTokens\":1000,"
         "\"avgGeneratedTokens\":300}},"
         "{\"requestPerMinute\":15,\"requestParameters\":{\"avgPromptTokens\":1000,"
         "\"avgGeneratedTokens\":300}},"
         "{\"requestPerMinute\":15,\"requestParameters\":{\"avgPromptTokens\":1000,"
         "\"avgGeneratedTokens\":300}},"
         "{\"requestPerMinute\":15,\"requestParameters\":{\"avgPromptTokens\":1000,"
         "\"avgGeneratedTokens\":300}}",
         46, 50},
        /* Microsoft, PTU requirements page: 360,000 tokens a minute are 105.88 PTUs; 76.47 with half of
         * the prompt cached. */
        {"gpt-5.2", "ProvisionedManaged",
         "{\"requestPerMinute\":1000,\"requestParameters\":{\"avgPromptTokens\":200,"
         "\"avgGeneratedTokens\":20}}",
         106, 150},
        {"gpt-5.2", "ProvisionedManaged",
         "{\"requestPerMinute\":1000,\"requestParameters\":{\"avgPromptTokens\":200,"
         "\"avgGeneratedTokens\":20,\"avgCachedTokens\":100}}",
         77, 100},
        {"gpt-4o", "DataZoneProvisionedManaged",
         "{\"requestPerMinute\":0,\"requestParameters\":{}}", 0, 15},
        {"gpt-4o", "DataZoneProvisionedManaged", "", 0, 15},
        {"gpt-4o", "DataZoneProvisionedManaged",
         "{\"requestPerMinute\":0.5,\"requestParameters\":{\"avgPromptTokens\":5000}}", 1, 15},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char body[1200];
        struct problem why = {0};
        struct json_value v, estimate;
        snprintf(body, sizeof body,
                 "{\"model\":{\"format\":\"OpenAI\",\"name\":\"%s\",\"version\":\"\"},"
                 "\"skuName\":\"%s\",\"workloads\":[%s]}",
                 cases[i].model, cases[i].sku, cases[i].workloads);
        assert_int_equal(calculate(f, body, &v, &why), ST_OK);
        assert_true(str_ieq(text_of(v, "skuName"), str_of(cases[i].sku)));
        assert_true(json_get(v, STR("estimatedCapacity"), &estimate));
        assert_int_equal(number_of(estimate, "value"), cases[i].value);
        assert_int_equal(number_of(estimate, "deployableValue"), cases[i].deployable);
    }
}

static void what_cannot_be_calculated_is_refused_with_the_field(void **state) {
    struct fixture *f = *state;
    static const struct {
        const char *body, *target;
    } cases[] = {
        {"{}", "model"},
        {"{\"model\":{},\"skuName\":\"ProvisionedManaged\",\"workloads\":[]}", "name"},
        {"{\"model\":{\"name\":\"gpt-4o\"},\"workloads\":[]}", "skuName"},
        {"{\"model\":{\"name\":\"gpt-4o\"},\"skuName\":\"Best\",\"workloads\":[]}", "skuName"},
        {"{\"model\":{\"name\":\"gpt-4o\"},\"skuName\":\"Standard\",\"workloads\":[]}", "skuName"},
        {"{\"model\":{\"name\":\"gpt-35-turbo\"},\"skuName\":\"ProvisionedManaged\","
         "\"workloads\":[]}",
         "skuName"},
        {"{\"model\":{\"name\":\"gpt-99\"},\"skuName\":\"ProvisionedManaged\",\"workloads\":[]}",
         "model"},
        {"{\"model\":{\"name\":\"gpt-4o\"},\"skuName\":\"ProvisionedManaged\"}", "workloads"},
        {"{\"model\":{\"name\":\"gpt-4o\"},\"skuName\":\"ProvisionedManaged\",\"workloads\":[7]}",
         "workloads/0"},
        {"{\"model\":{\"name\":\"gpt-4o\"},\"skuName\":\"ProvisionedManaged\",\"workloads\":"
         "[{\"requestParameters\":{}}]}",
         "requestPerMinute"},
        {"{\"model\":{\"name\":\"gpt-4o\"},\"skuName\":\"ProvisionedManaged\",\"workloads\":"
         "[{\"requestPerMinute\":-1,\"requestParameters\":{}}]}",
         "requestPerMinute"},
        {"{\"model\":{\"name\":\"gpt-4o\"},\"skuName\":\"ProvisionedManaged\",\"workloads\":"
         "[{\"requestPerMinute\":1}]}",
         "requestParameters"},
        {"{\"model\":{\"name\":\"gpt-4o\"},\"skuName\":\"ProvisionedManaged\",\"workloads\":"
         "[{\"requestPerMinute\":1,\"requestParameters\":{\"avgPromptTokens\":1e300}}]}",
         "avgPromptTokens"},
        {"{\"model\":{\"name\":\"gpt-4o\"},\"skuName\":\"ProvisionedManaged\",\"workloads\":"
         "[{\"requestPerMinute\":1,\"requestParameters\":{\"avgPromptTokens\":5,"
         "\"avgCachedTokens\":6}}]}",
         "avgCachedTokens"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct problem why = {0};
        struct json_value v;
        assert_int_equal(calculate(f, cases[i].body, &v, &why), ST_BAD_REQUEST);
        if (!strstr(why.target, cases[i].target))
            fail_msg("%s: %s: %s", cases[i].body, why.target, why.message);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define WITH_LISTS(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
        WITH_LISTS(usages_tell_what_is_used_of_every_quota),
        WITH_LISTS(a_filter_narrows_the_list_to_names),
        WITH_LISTS(capacities_are_the_largest_valid_sizes),
        WITH_LISTS(the_calculator_adds_workloads_up_before_it_rounds),
        WITH_LISTS(what_cannot_be_calculated_is_refused_with_the_field),
#undef WITH_LISTS
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
