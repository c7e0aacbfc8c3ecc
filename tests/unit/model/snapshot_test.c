/* snapshot_test.c - what a configuration compiles to, how it is looked up, printed and shared. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "config.h"

#include <time.h>

#include "support/random.h"

static void compiles_a_small_configuration(void **state) {
    (void)state;
    struct snapshot *s =
        build_text("[" DEPLOYMENT "," BACKEND "," POOL "," ACCOUNT "," LOCATION "]");
    size_t n;
    const struct deployment *d = deployments_of(s, &n);
    assert_int_equal(n, 1);
    assert_true(str_eq(d->name, STR("d")) && d->is_provisioned && d->sku == SKU_PROVISIONED);
    assert_true(str_eq(d->model->full_name, STR("gpt-4o-2024-08-06")));
    assert_int_equal(d->capacity, 50);
    /* 50 PTUs of 2,500 tokens a minute, in thousandths. */
    assert_int_equal(d->rate_mt_per_min, 50 * 2500 * 1000);
    assert_int_equal(d->depth_window_ms, 60000);
    assert_int_equal(d->input_weight_milli, 1000);
    assert_int_equal(d->cached_weight_milli, 0);
    assert_int_equal(d->output_weight_milli, 3000);
    assert_int_equal(d->tpm, 0);
    assert_int_equal(d->n_backends, 1);
    const struct backend *b = d->backends[0];
    assert_true(!b->url.is_tls && str_eq(b->url.host, STR("127.0.0.1")) && b->url.port == 9001);
    assert_true(b->auth_header.n == 0 && b->weight == 1 && b->priority == 1);
    assert_int_equal(b->on_client_gone, CLIENT_GONE_CANCEL);
    assert_true(b->pool->n_backends == 1 && b->pool->backends == b && b->pool->ptus == 100);
    assert_true(d->account->n_deployments == 1 && d->account->deployments == d);
    assert_true(str_eq(d->account->location->data_zone, STR("us")));
    assert_int_equal(snapshot_warnings(s)->n, 0);
    snapshot_unref(s);
}

static void compiles_standard_deployments(void **state) {
    (void)state;
    struct snapshot *s = build_text(
        "[" LOCATION "," POOL "," BACKEND "," ACCOUNT
        "," DEPLOYMENT_OF("a", STANDARD_10, GPT_4O ",'weir':{'standardMode':'strict'}") "," DEPLOYMENT_OF(
            "b", "'name':'globalstandard','capacity':7",
            "'model':{'name':'GPT-4O'}") "," DEPLOYMENT_OF("c", STANDARD_10,
                                                           "'model':{'name':'text-embedding-3-small'}") "]");
    const struct account *a = snapshot_account_by_host(s, STR("acct.example"));
    const struct deployment *d = account_deployment(a, STR("a"));
    assert_true(!d->is_provisioned && d->is_strict);
    assert_int_equal(d->tpm, 10000);
    assert_int_equal(d->rpm, 60);
    assert_int_equal(d->rate_mt_per_min, 0);
    assert_int_equal(d->depth_window_ms, 0);
    d = account_deployment(a, STR("b"));
    assert_true(d->sku == SKU_GLOBAL_STANDARD && d->tpm == 7000 && !d->is_strict);
    /* No version asked for: the newest. */
    assert_true(str_eq(d->model->version, STR("2024-11-20")) && d->n_backends == 1);
    d = account_deployment(a, STR("c"));
    assert_true(d->model->kind == MODEL_EMBEDDING && d->n_backends == 0);
    assert_true(str_eq(d->model->full_name, STR("text-embedding-3-small")));
    /* Nobody serves it, which is allowed but worth a word. */
    assert_int_equal(snapshot_warnings(s)->n, 1);
    assert_non_null(strstr(snapshot_warnings(s)->items[0].message, "503"));
    snapshot_unref(s);
}

#define PLACE(name, zone)                                                                          \
    "{'id':'/providers/Weir.Capacity/locations/" name "','properties':{" zone "}},"                \
    "{'id':'/providers/Weir.Capacity/pools/" name "','location':'" name "','properties':{"         \
    "'models':[{'name':'gpt-4o','version':'2024-08-06'},{'name':'gpt-4o-mini'}]}},"                \
    "{'type':'Weir.Capacity/pools/backends','name':'" name                                         \
    "/b1','properties':{'url':'http://h'}},"                                                       \
    "{'type':'Weir.Capacity/pools/backends','name':'" name "/b2','properties':{'url':'http://h'}}"

static void reaches_the_pools_that_the_sku_allows(void **state) {
    (void)state;
    static const struct {
        const char *sku, *model;
        size_t n_backends;
    } cases[] = {
        {"Standard", "'name':'gpt-4o','version':'2024-08-06'", 2},
        {"DataZoneStandard", "'name':'gpt-4o','version':'2024-08-06'", 4},
        {"GlobalStandard", "'name':'gpt-4o','version':'2024-08-06'", 6},
        {"GlobalStandard", "'name':'gpt-4o','version':'2024-05-13'", 0},
        {"GlobalStandard", "'name':'gpt-4o-mini'", 6},
        {"GlobalStandard", "'name':'gpt-4.1'", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[4096];
        snprintf(text, sizeof text,
                 "[" PLACE("east", "'dataZone':'us'") "," PLACE("north", "") "," PLACE(
                     "west", "'dataZone':'US'") ",{'id':'" GROUP "/accounts/acct','location':"
                                                "'East'}," DEPLOYMENT_OF("d",
                                                                         "'name':'%s','capacity':1",
                                                                         "'model':{%s}") "]",
                 cases[i].sku, cases[i].model);
        struct snapshot *s = build_text(text);
        size_t n;
        const struct deployment *d = deployments_of(s, &n);
        assert_int_equal(d->n_backends, cases[i].n_backends);
        for (size_t j = 1; j < d->n_backends; j++)
            assert_true(d->backends[j - 1]->index < d->backends[j]->index);
        snapshot_unref(s);
    }
}

static void finds_accounts_and_deployments(void **state) {
    (void)state;
    struct snapshot *s = build_text("[" LOCATION "," ACCOUNT "," ACCOUNT_OF(
        "other",
        "'customSubDomainName':'Oth-er',"
        "'keys':{'key2':'key-number-three-3'}") "," DEPLOYMENT_OF("Chat", STANDARD_10, GPT_4O) "]");
    const struct account *a = snapshot_account_by_key(s, STR("key-number-one-1"));
    assert_true(a && str_eq(a->name, STR("acct")));
    assert_ptr_equal(snapshot_account_by_key(s, STR("key-number-two-2")), a);
    const struct account *other = snapshot_account_by_key(s, STR("key-number-three-3"));
    assert_true(other && str_eq(other->name, STR("other")));
    assert_null(snapshot_account_by_key(s, STR("key-number-one-2")));
    assert_null(snapshot_account_by_key(s, STR("")));
    assert_ptr_equal(snapshot_account_by_host(s, STR("ACCT.openai.azure.com")), a);
    assert_ptr_equal(snapshot_account_by_host(s, STR("acct")), a);
    assert_ptr_equal(snapshot_account_by_host(s, STR("oth-ER.localhost")), other);
    assert_null(snapshot_account_by_host(s, STR("127.0.0.1")));
    assert_null(snapshot_account_by_host(s, STR("")));
    assert_null(snapshot_account_by_host(s, STR(".acct")));
    assert_null(snapshot_account_by_host(s, STR("a-label-that-is-longer-than-any-that-dns-would-"
                                                "ever-take-from-anybody-at-all.example")));
    const struct deployment *d = account_deployment(a, STR("chat"));
    assert_true(d && str_eq(d->name, STR("Chat")));
    assert_ptr_equal(account_deployment(a, STR("CHAT")), d);
    assert_null(account_deployment(a, STR("chat2")));
    assert_null(account_deployment(a, STR("")));
    assert_null(account_deployment(other, STR("chat")));
    snapshot_unref(s);
}

static void readies_the_header_that_a_backend_wants(void **state) {
    (void)state;
    static const struct {
        const char *properties, *header, *api_version;
    } cases[] = {
        {"'apiKey':'abc'", "authorization: Bearer abc\r\n", ""},
        {"'apiKey':'abc','apiKeyHeader':'api-key'", "api-key: abc\r\n", ""},
        {"'apiKey':'abc','dialect':'azure'", "api-key: abc\r\n", "2024-10-21"},
        {"'apiKey':'abc','dialect':'azure','apiKeyHeader':'authorization','apiVersion':'2025-01-01'",
         "authorization: Bearer abc\r\n", "2025-01-01"},
        {"'weight':3", "", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[2048];
        snprintf(text, sizeof text,
                 "[" LOCATION "," POOL "," BACKEND_OF("'url':'https://h/x/',%s") "]",
                 cases[i].properties);
        struct snapshot *s = build_text(text);
        size_t n;
        const struct backend *b = snapshot_backends(s, &n);
        assert_true(str_eq(b->auth_header, str_of(cases[i].header)));
        assert_true(str_eq(b->api_version, str_of(cases[i].api_version)));
        assert_true(b->url.is_tls && b->url.port == 443 && str_eq(b->url.path, STR("/x")));
        snapshot_unref(s);
    }
}

/* Answers "file NAME from FILE" or "env NAME", one name excepted. */
static enum status tell_secret(void *arg, enum secret_source source, struct str name,
                               struct str from, struct buf *out) {
    (*(int *)arg)++;
    if (str_eq(name, STR("MISSING")))
        return ST_IO_FAILED;
    buf_printf(out, " %s-%.*s-from-%.*s\n", source == SECRET_FILE ? "file" : "env", STR_ARG(name),
               STR_ARG(from));
    return ST_OK;
}

static void asks_for_secrets_that_are_elsewhere(void **state) {
    (void)state;
    static const struct {
        const char *keys;
        enum status st;
    } cases[] = {
        {"'key1File':'a','key2Env':'NAME'", ST_OK},
        {"'key1File':'a','key2Env':'MISSING'", ST_BAD_REQUEST},
        {"'key1File':'a','key1Env':'NAME'", ST_BAD_REQUEST},
        {"'key1Env':'NAME','key2Env':'NAME'", ST_BAD_REQUEST},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[2048];
        snprintf(text, sizeof text, "[" LOCATION "," ACCOUNT_OF("acct", "'keys':{%s}") "]",
                 cases[i].keys);
        struct resources *set = resources_new();
        struct snapshot *s = NULL;
        int n_asked = 0;
        struct secret_reader secrets = {tell_secret, &n_asked};
        assert_int_equal(add_text(set, "conf.json", text, NULL), ST_OK);
        assert_int_equal(snapshot_build(set, &secrets, &test_hash, &s, NULL), cases[i].st);
        if (s) {
            assert_int_equal(n_asked, 2);
            assert_non_null(snapshot_account_by_key(s, STR("file-a-from-conf.json")));
            assert_non_null(snapshot_account_by_key(s, STR("env-NAME-from-conf.json")));
        }
        snapshot_unref(s);
        /* Without a reader nobody can know them. */
        struct snapshot *none = NULL;
        assert_int_equal(snapshot_build(set, NULL, &test_hash, &none, NULL), ST_BAD_REQUEST);
        assert_null(none);
        resources_free(set);
    }
}

static void print_into(const struct snapshot *s, struct buf *out) {
    struct json_writer w;
    buf_init(out, 1 << 20);
    json_writer_init(&w, out, 2);
    snapshot_print(s, &w);
    assert_int_equal(buf_status(out), ST_OK);
}

#define OWN_MODEL                                                                                  \
    "{'id':'/providers/Weir.Capacity/models/Meta.llama-3.3-70b.1','properties':{"                  \
    "'inputTpmPerPtu':8450,'outputWeight':7.3,'cachedWeight':0.25,'maxContextTokens':131072,"      \
    "'tokenizer':'llama/tokenizer.json','encoding':'O200K_base',"                                  \
    "'framing':{'tokensPerMessage':4,'tokensPerReply':0},"                                         \
    "'inputTiers':[{'fromTokens':0,'weight':1},{'fromTokens':32000,'weight':1.5}]}}"

static void adds_and_changes_models(void **state) {
    (void)state;
    struct snapshot *s = build_text(
        "[" LOCATION "," OWN_MODEL
        ",{'id':'/providers/weir.capacity/models/openai.GPT-4o.2024-08-06',"
        "'properties':{'outputWeight':4,'skus':{'GlobalStandard':null,'ProvisionedManaged':"
        "{'minimum':5,'step':5}}}}," ACCOUNT "," DEPLOYMENT_OF(
            "l", "'name':'GlobalProvisionedManaged','capacity':3",
            "'model':{'format':'meta','name':'LLAMA-3.3-70b'}") "," DEPLOYMENT_OF("g",
                                                                                  "'name':'ProvisionedManaged','capacity':15",
                                                                                  GPT_4O) "]");
    size_t n;
    const struct deployment *d = deployments_of(s, &n);
    assert_true(n == 2 && str_eq(d[0].name, STR("g")));
    assert_int_equal(d[0].output_weight_milli, 4000);
    assert_int_equal(d[0].rate_mt_per_min, 15 * 2500 * 1000);
    assert_false(d[0].model->sizes[SKU_GLOBAL_STANDARD].is_offered);
    assert_true(d[0].model->sizes[SKU_STANDARD].is_offered);
    assert_int_equal(d[0].model->sizes[SKU_GLOBAL_PROVISIONED].minimum, 15);
    assert_int_equal(d[1].output_weight_milli, 7300);
    assert_int_equal(d[1].cached_weight_milli, 250);
    assert_int_equal(d[1].rate_mt_per_min, 3 * 8450 * 1000);
    assert_int_equal(d[1].model->n_tiers, 2);
    assert_true(str_eq(d[1].model->tokenizer, STR("llama/tokenizer.json")));
    assert_int_equal(d[0].model->tokenizer.n, 0);
    assert_int_equal(d[1].model->encoding, MODEL_O200K);
    assert_int_equal(d[0].model->encoding, MODEL_ENCODING_BY_NAME);
    assert_int_equal(d[1].model->framing.per_message, 4);
    assert_int_equal(d[1].model->framing.per_name, -1);
    assert_int_equal(d[1].model->framing.per_reply, 0);
    assert_int_equal(d[0].model->framing.per_message, -1);
    assert_int_equal(d[1].model->tiers[1].weight_milli, 1500);
    assert_true(str_eq(d[1].model->full_name, STR("llama-3.3-70b")));
    snapshot_unref(s);
}

static void prints_what_would_make_it_again_but_for_the_secrets(void **state) {
    (void)state;
    struct snapshot *s = build_text("[" LOCATION "," OWN_MODEL "," POOL "," BACKEND_OF(
        "'url':'https://h:1','apiKey':'very-secret',"
        "'dialect':'azure','deploymentName':'x','caFile':'/ca','onClientGone':'drain'") "," ACCOUNT
                                                                                        "," DEPLOYMENT
                                                                                        "," DEPLOYMENT_OF(
                                                                                            "e",
                                                                                            STANDARD_10,
                                                                                            GPT_4O
                                                                                            ",'weir':{'standardMode':'strict'}") "]");
    struct buf first, second;
    print_into(s, &first);
    assert_true(str_find(buf_view(&first), STR("very-secret")) < 0);
    assert_true(str_find(buf_view(&first), STR("key-number")) < 0);
    snapshot_unref(s);
    /* With something in place of the masks it is a configuration, and prints as itself. */
    char *text = str_dup(buf_view(&first));
    struct resources *set = resources_new();
    struct problem why = {0};
    assert_int_equal(add_text(set, "p.json", text, NULL), ST_OK);
    assert_int_equal(snapshot_build(set, NULL, &test_hash, &s, &why), ST_BAD_REQUEST);
    assert_non_null(strstr(why.message, "mask"));
    resources_free(set);
    struct buf unmasked;
    buf_init(&unmasked, 1 << 20);
    int n_masks = 0;
    for (const char *at = text; *at;) {
        if (strncmp(at, "***", 3) == 0) {
            buf_printf(&unmasked, "secret-number-%d-x", n_masks++);
            at += 3;
        } else {
            buf_char(&unmasked, *at++);
        }
    }
    assert_int_equal(n_masks, 3);
    buf_char(&unmasked, '\0');
    s = build_text(unmasked.p);
    print_into(s, &second);
    assert_true(str_eq(buf_view(&first), buf_view(&second)));
    snapshot_unref(s);
    buf_destroy(&first);
    buf_destroy(&second);
    buf_destroy(&unmasked);
    free(text);
}

static void does_not_depend_on_the_order_of_anything(void **state) {
    (void)state;
    struct random dice = {7};
    struct buf want = {0};
    for (int round = 0; round < 30; round++) {
        const char *parts[] = {
            LOCATION,
            POOL,
            BACKEND,
            ACCOUNT,
            DEPLOYMENT,
            OWN_MODEL,
            DEPLOYMENT_OF("e", STANDARD_10, GPT_4O),
            DEPLOYMENT_OF("c", STANDARD_10, GPT_4O),
            PLACE("west", ""),
            /* The same resource with its members the other way round, and with blanks. */
            round % 2 ? "{'id':'/providers/Weir.Capacity/pools/p/backends/z','properties':"
                        "{'url':'http://a','weight':2}}"
                      : " { 'properties' :\n{ 'weight' : 2 , 'url' : 'http://a' } ,\t"
                        "'id' : '/providers/Weir.Capacity/pools/p/backends/z' } ",
        };
        for (size_t i = ARRAY_LEN(parts) - 1; i > 0; i--) {
            size_t j = (size_t)random_below(&dice, (int64_t)i + 1);
            const char *swap = parts[i];
            parts[i] = parts[j];
            parts[j] = swap;
        }
        struct resources *set = resources_new();
        struct problem why = {0};
        for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
            char text[2048];
            snprintf(text, sizeof text, "{'value':[%s]}", parts[i]);
            assert_int_equal(add_text(set, "c.json", text, &why), ST_OK);
        }
        struct snapshot *s = NULL;
        assert_int_equal(snapshot_build(set, NULL, &test_hash, &s, &why), ST_OK);
        resources_free(set);
        struct buf got;
        print_into(s, &got);
        snapshot_unref(s);
        if (round == 0)
            want = got;
        else
            assert_true(str_eq(buf_view(&got), buf_view(&want)));
        if (round > 0)
            buf_destroy(&got);
    }
    buf_destroy(&want);
}

/* Reads a file of the repository into a padded text that the caller frees. */
static char *read_example(const char *name, size_t *n) {
    char path[512];
    snprintf(path, sizeof path, "%s/examples/resources/%s", SOURCE_ROOT, name);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    char *text = xcalloc(1, 65536 + JSON_PADDING);
    *n = fread(text, 1, 65536, f);
    fclose(f);
    return text;
}

static void builds_the_examples_without_a_remark(void **state) {
    (void)state;
    static const char *const files[] = {"capacity.json", "demo.json"};
    struct resources *set = resources_new();
    struct problem why = {0};
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        size_t n;
        char *text = read_example(files[i], &n);
        assert_int_equal(resources_add(set, str_of(files[i]), text, n, &why), ST_OK);
        free(text);
    }
    struct snapshot *s = NULL;
    if (snapshot_build(set, NULL, &test_hash, &s, &why) != ST_OK)
        fail_msg("%s: %s", why.target, why.message);
    resources_free(set);
    assert_int_equal(snapshot_warnings(s)->n, 0);
    const struct account *a = snapshot_account_by_key(s, STR("demo-key-number-1"));
    assert_ptr_equal(snapshot_account_by_host(s, STR("demo.localhost")), a);
    assert_true(a && a->n_deployments == 3);
    for (size_t i = 0; i < a->n_deployments; i++)
        assert_int_equal(a->deployments[i].n_backends, 1);
    snapshot_unref(s);
}

static void builds_a_thousand_deployments_in_no_time(void **state) {
    (void)state;
    struct buf text;
    buf_init(&text, 8 << 20);
    buf_lit(&text, "[" LOCATION);
    for (int p = 0; p < 16; p++) {
        buf_printf(&text,
                   ",{'id':'/providers/Weir.Capacity/pools/p%d','location':'eastus',"
                   "'properties':{'ptus':100,'models':[{'name':'gpt-4o'}]}}",
                   p);
        for (int b = 0; b < 4; b++)
            buf_printf(&text,
                       ",{'id':'/providers/Weir.Capacity/pools/p%d/backends/b%d',"
                       "'properties':{'url':'http://10.0.0.1:80'}}",
                       p, b);
    }
    for (int a = 0; a < 100; a++) {
        buf_printf(&text,
                   ",{'id':'" GROUP "/accounts/a%d','location':'eastus','properties':"
                   "{'keys':{'key1':'key-one-number-%04d','key2':'key-two-number-%04d'}}}",
                   a, a, a);
        for (int d = 0; d < 10; d++)
            buf_printf(&text,
                       ",{'id':'" GROUP "/accounts/a%d/deployments/d%d','sku':{" PTU_50 "},"
                       "'properties':{" GPT_4O "}}",
                       a, d);
    }
    buf_put(&text, "]", 2);
    struct resources *set = resources_new();
    struct snapshot *s = NULL;
    clock_t begin = clock();
    assert_int_equal(add_text(set, "c.json", text.p, NULL), ST_OK);
    assert_int_equal(snapshot_build(set, NULL, &test_hash, &s, NULL), ST_OK);
    double ms = (double)(clock() - begin) * 1000 / CLOCKS_PER_SEC;
    /* About 12 ms without sanitizers, on a slow machine. */
    assert_true(ms < 1000);
    const struct account *a;
    size_t n = 0;
    for (size_t at = 0; snapshot_next_account(s, &at, &a);) {
        for (int k = 0; k < 2; k++)
            assert_ptr_equal(snapshot_account_by_key(s, a->keys[k]), a);
        for (size_t i = 0; i < a->n_deployments; i++, n++)
            assert_true(a->deployments[i].n_backends == DEPLOYMENT_BACKENDS_MAX &&
                        account_deployment(a, a->deployments[i].name) == &a->deployments[i]);
    }
    assert_int_equal(n, 1000);
    assert_int_equal(snapshot_n_deployments(s), 1000);
    resources_free(set);
    snapshot_unref(s);
    buf_destroy(&text);
}

static void lives_until_the_last_reference_is_given_back(void **state) {
    (void)state;
    struct snapshot *s = build_text("[" LOCATION "," ACCOUNT "]");
    assert_ptr_equal(snapshot_ref(s), s);
    snapshot_unref(s);
    assert_non_null(snapshot_account_by_host(s, STR("acct.x")));
    snapshot_unref(s);
    snapshot_unref(NULL);
    assert_null(snapshot_ref(NULL));
}

static void builds_nothing_from_nothing(void **state) {
    (void)state;
    struct snapshot *s = build_text("[]");
    const struct account *a;
    size_t at = 0;
    assert_false(snapshot_next_account(s, &at, &a));
    assert_int_equal(snapshot_n_accounts(s), 0);
    assert_int_equal(snapshot_n_deployments(s), 0);
    assert_null(snapshot_account_by_key(s, STR("x")));
    assert_null(snapshot_account_by_host(s, STR("x")));
    snapshot_unref(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compiles_a_small_configuration),
        cmocka_unit_test(compiles_standard_deployments),
        cmocka_unit_test(reaches_the_pools_that_the_sku_allows),
        cmocka_unit_test(finds_accounts_and_deployments),
        cmocka_unit_test(readies_the_header_that_a_backend_wants),
        cmocka_unit_test(asks_for_secrets_that_are_elsewhere),
        cmocka_unit_test(adds_and_changes_models),
        cmocka_unit_test(prints_what_would_make_it_again_but_for_the_secrets),
        cmocka_unit_test(does_not_depend_on_the_order_of_anything),
        cmocka_unit_test(builds_the_examples_without_a_remark),
        cmocka_unit_test(builds_a_thousand_deployments_in_no_time),
        cmocka_unit_test(lives_until_the_last_reference_is_given_back),
        cmocka_unit_test(builds_nothing_from_nothing),
    };
    return cmocka_run_group_tests_name("snapshot", tests, NULL, NULL);
}
