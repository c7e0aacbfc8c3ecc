/* refusals_test.c - configurations that are wrong: each is refused at its place, with the cure. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "config.h"

/* A good configuration around one wrong resource. */
#define REST_OF_DEPLOYMENT LOCATION "," ACCOUNT ","
#define REST_OF_BACKEND LOCATION "," POOL ","
#define BAD_DEPLOYMENT(sku, properties)                                                            \
    "[" REST_OF_DEPLOYMENT DEPLOYMENT_OF("d", sku, properties) "]"
#define BAD_BACKEND(properties) "[" REST_OF_BACKEND BACKEND_OF(properties) "]"
#define BAD_ACCOUNT(properties) "[" LOCATION "," ACCOUNT_OF("acct", properties) "]"
#define BAD_MODEL(name, properties)                                                                \
    "{'id':'/providers/Weir.Capacity/models/" name "','properties':{" properties "}}"
#define URL "'url':'https://h'"

static const struct {
    const char *text, *target, *message;
} cases[] = {
    /* Files and ids. */
    {"{", "c.json", "key in double quotes"},
    {"7", "c.json:", "must be an object"},
    {"[1]", "c.json:/0", "must be an object, not a number"},
    {"{'value':[{},{}]}", "c.json:/value/0/id", "is missing"},
    {"[{'id':7}]", "c.json:/0/id", "must be a text"},
    {"[{'id':'/subscriptions/s/accounts/a'}]", "c.json:/0/id", "no resource has an id like"},
    {"[{'id':'subscriptions/s'}]", "c.json:/0/id", "no resource has an id like"},
    {"[{'id':'/subscriptions/-s'}]", "c.json:/0/id", "is no name"},
    {"[{'id':'/subscriptions/s%20'}]", "c.json:/0/id", "is no name"},
    {"[{'type':'Weir.Capacity/pols','name':'p'}]", "c.json:/0/type", "no type of resource"},
    {"[{'type':'Weir.Capacity/pools/backends','name':'p'}]", "c.json:/0/name", "as many parts"},
    {"[{'type':'Microsoft.CognitiveServices/accounts','name':'a'}]", "c.json:/0/id", "is missing"},
    {"[{'id':'" POOL_ID "','type':'Weir.Capacity/locations'}]", "c.json:/0/type",
     "Weir.Capacity/pools"},
    {"[{'id':'" POOL_ID "','name':'q'}]", "c.json:/0/name", "does not agree with the id"},
    {"[" LOCATION ",{'id':'//providers/WEIR.capacity/locations/EastUS'}]", "c.json:/1/id",
     "the first is at c.json:/0"},
    {"[{'id':'/providers/Weir.Capacity/locations/a','properties':7}]", "c.json:/0/properties",
     "must be an object"},
    {"[{'id':'/providers/Weir.Capacity/locations/a','properties':{},'properties':{}}]",
     "c.json:/0/properties", "given twice"},
    /* Pools and backends. */
    {"[" POOL "]", "c.json:/0/location", "/providers/Weir.Capacity/locations/eastus"},
    {"[{'id':'" POOL_ID "'}]", "c.json:/0/location", "is missing"},
    {"[" LOCATION ",{'id':'" POOL_ID "','location':'eastus'}]", "c.json:/1/properties",
     "is missing"},
    {"[" LOCATION ",{'id':'" POOL_ID "','location':'eastus','properties':{'ptus':-1}}]",
     "c.json:/1/properties/ptus", "whole number from 0"},
    {"[" LOCATION ",{'id':'" POOL_ID "','location':'eastus','properties':{}}]",
     "c.json:/1/properties/models", "list what the pool serves"},
    {"[" LOCATION ",{'id':'" POOL_ID
     "','location':'eastus','properties':{'models':[{'name':'gpt-4o'},"
     "{'name':'gpt-4p'}]}}]",
     "c.json:/1/properties/models/1/name", "/providers/Weir.Capacity/models/OpenAI.gpt-4p."},
    {"[" LOCATION "," BACKEND "]", "c.json:/1/id", "there is no pool \"p\""},
    {BAD_BACKEND(""), "c.json:/2/properties/url", "is missing"},
    {BAD_BACKEND("'url':'h:80'"), "c.json:/2/properties/url", "http://"},
    {BAD_BACKEND("'url':'http://u:p@h'"), "c.json:/2/properties/url", "no user"},
    {BAD_BACKEND("'url':'http://h?key=1'"), "c.json:/2/properties/url", "query"},
    {BAD_BACKEND("'url':'http://h:0'"), "c.json:/2/properties/url", "host and port"},
    {BAD_BACKEND("'url':'http://h:65536'"), "c.json:/2/properties/url", "host and port"},
    {BAD_BACKEND("'url':'http://:80'"), "c.json:/2/properties/url", "host and port"},
    {BAD_BACKEND(URL ",'dialect':'vllm'"), "c.json:/2/properties/dialect",
     "must be one of openai, azure, not \"vllm\""},
    {BAD_BACKEND(URL ",'apiKey':'a b'"), "c.json:/2/properties/apiKey", "printable"},
    {BAD_BACKEND(URL ",'apiKey':'***'"), "c.json:/2/properties/apiKey", "mask"},
    {BAD_BACKEND(URL ",'apiKey':'a','apiKeyEnv':'A'"), "c.json:/2/properties/apiKey",
     "only one of"},
    {BAD_BACKEND(URL ",'apiKeyFile':'/no'"), "c.json:/2/properties/apiKeyFile", "cannot be read"},
    {BAD_BACKEND(URL ",'apiVersion':'2024-10-21'"), "c.json:/2/properties/apiVersion", "azure"},
    {BAD_BACKEND("'url':'http://h','caFile':'/ca'"), "c.json:/2/properties/caFile", "https"},
    {BAD_BACKEND("'url':'http://h','insecureSkipVerify':true"),
     "c.json:/2/properties/insecureSkipVerify", "https"},
    {BAD_BACKEND(URL ",'modelName':'a\\'b'"), "c.json:/2/properties/modelName", "printable"},
    {BAD_BACKEND(URL ",'weight':0"), "c.json:/2/properties/weight", "from 1 to 1000"},
    {BAD_BACKEND(URL ",'weight':1.5"), "c.json:/2/properties/weight", "whole number"},
    {BAD_BACKEND(URL ",'weight':'1'"), "c.json:/2/properties/weight", "not a text"},
    {BAD_BACKEND(URL ",'insecureSkipVerify':1"), "c.json:/2/properties/insecureSkipVerify",
     "true or false"},
    {BAD_BACKEND(URL ",'idleTimeoutMs':1"), "c.json:/2/properties/idleTimeoutMs", "from 10"},
    /* Accounts. */
    {"[" ACCOUNT "]", "c.json:/0/location", "there is no location \"eastus\""},
    {"[" LOCATION ",{'id':'" GROUP "/accounts/a1','location':'eastus','kind':'Speech'}]",
     "c.json:/1/kind", "OpenAI, AIServices"},
    {"[" LOCATION ",{'id':'" GROUP "/accounts/a1','location':'eastus','sku':{'name':'F0'}}]",
     "c.json:/1/sku/name", "must be S0"},
    {"[" LOCATION "," ACCOUNT_OF("a", "") "]", "c.json:/1/id", "2 to 64"},
    {BAD_ACCOUNT("'customSubDomainName':'a_b'"), "c.json:/1/properties/customSubDomainName",
     "hyphens"},
    {BAD_ACCOUNT("'customSubDomainName':'127'"), "c.json:/1/properties/customSubDomainName",
     "letter"},
    {"[" LOCATION "," ACCOUNT "," ACCOUNT_OF("b2", "'customSubDomainName':'ACCT'") "]",
     "c.json:/2/properties/customSubDomainName", "accounts/acct"},
    {BAD_ACCOUNT("'keys':{'key1':'short'}"), "c.json:/1/properties/keys/key1",
     "16 to 256 bytes, not 5"},
    {BAD_ACCOUNT("'keys':{'key1':'same-key-same-key','key2':'same-key-same-key'}"),
     "c.json:/1/properties/keys/key2", "one account only"},
    {"[" LOCATION "," ACCOUNT "," ACCOUNT_OF("b2", "'keys':{'key2':'key-number-one-1'}") "]",
     "c.json:/2/properties/keys/key2", "is also a key of"},
    {BAD_ACCOUNT("'publicNetworkAccess':'Disabled'"), "c.json:/1/properties/publicNetworkAccess",
     "must be Enabled"},
    {BAD_ACCOUNT("'disableLocalAuth':true"), "c.json:/1/properties/disableLocalAuth",
     "switched off"},
    {BAD_ACCOUNT("'networkAcls':{}"), "c.json:/1/properties/networkAcls", "does not act"},
    /* Deployments. */
    {"[" LOCATION "," DEPLOYMENT "]", "c.json:/1/id", "there is no account \"acct\""},
    {"[" REST_OF_DEPLOYMENT "{'id':'" GROUP "/accounts/acct/deployments/d'}]",
     "c.json:/2/properties", "is missing"},
    {BAD_DEPLOYMENT(PTU_50, ""), "c.json:/2/properties/model", "is missing"},
    {BAD_DEPLOYMENT(PTU_50, "'model':{'name':'gpt-9'}"), "c.json:/2/properties/model/name",
     "add a resource"},
    {BAD_DEPLOYMENT(PTU_50, "'model':{'name':'gpt-4o','version':'1'}"),
     "c.json:/2/properties/model/version", "OpenAI.gpt-4o.1"},
    {"[" REST_OF_DEPLOYMENT "{'id':'" GROUP "/accounts/acct/deployments/d','properties':{" GPT_4O
     "}}]",
     "c.json:/2/sku", "as in"},
    {BAD_DEPLOYMENT("'name':'ProvisionedManaged'", GPT_4O), "c.json:/2/sku/capacity", "is missing"},
    {BAD_DEPLOYMENT("'name':'Provisioned','capacity':50", GPT_4O), "c.json:/2/sku/name",
     "Standard, DataZoneStandard, GlobalStandard, ProvisionedManaged, DataZoneProvisionedManaged, "
     "GlobalProvisionedManaged"},
    {BAD_DEPLOYMENT("'name':'ProvisionedManaged','capacity':49", GPT_4O), "c.json:/2/sku/capacity",
     "50 and 100"},
    {BAD_DEPLOYMENT("'name':'ProvisionedManaged','capacity':120", GPT_4O), "c.json:/2/sku/capacity",
     "100 and 150"},
    {BAD_DEPLOYMENT("'name':'GlobalProvisionedManaged','capacity':16", GPT_4O),
     "c.json:/2/sku/capacity", "15 and 20"},
    {BAD_DEPLOYMENT("'name':'Standard','capacity':0", GPT_4O), "c.json:/2/sku/capacity", "from 1"},
    {BAD_DEPLOYMENT(PTU_50, "'model':{'name':'text-embedding-3-small'}"), "c.json:/2/sku/name",
     "is not sold as ProvisionedManaged, only as Standard, DataZoneStandard, GlobalStandard"},
    {"[{'id':'/providers/Weir.Capacity/locations/eastus'}," ACCOUNT
     "," DEPLOYMENT_OF("d", "'name':'DataZoneStandard','capacity':1", GPT_4O) "]",
     "c.json:/2/sku/name", "properties.dataZone"},
    {BAD_DEPLOYMENT(PTU_50, GPT_4O ",'weir':{'depthWindowMs':999}"),
     "c.json:/2/properties/weir/depthWindowMs", "from 1000 to 3600000"},
    {BAD_DEPLOYMENT(PTU_50, GPT_4O ",'weir':{'standardMode':'reach'}"),
     "c.json:/2/properties/weir/standardMode", "only on standard"},
    {BAD_DEPLOYMENT(STANDARD_10, GPT_4O ",'weir':{'depthWindowMs':60000}"),
     "c.json:/2/properties/weir/depthWindowMs", "only on provisioned"},
    {BAD_DEPLOYMENT(STANDARD_10, GPT_4O ",'weir':{'standardMode':'lax'}"),
     "c.json:/2/properties/weir/standardMode", "reach, strict"},
    {BAD_DEPLOYMENT(PTU_50, GPT_4O ",'spilloverDeploymentName':'std'"),
     "c.json:/2/properties/spilloverDeploymentName", "does not act yet"},
    {BAD_DEPLOYMENT(PTU_50, GPT_4O ",'raiPolicyName':'Mine'"), "c.json:/2/properties/raiPolicyName",
     "Microsoft.DefaultV2"},
    {BAD_DEPLOYMENT(PTU_50, GPT_4O ",'versionUpgradeOption':'Always'"),
     "c.json:/2/properties/versionUpgradeOption", "NoAutoUpgrade"},
    {BAD_DEPLOYMENT(PTU_50, GPT_4O ",'scaleSettings':{'scaleType':'Standard'}"),
     "c.json:/2/properties/scaleSettings", "use sku"},
    /* Models. */
    {BAD_MODEL("gpt-4o", ""), "c.json:/id", "format.name.version"},
    {BAD_MODEL("OpenAI.x.1", "'model':{'name':'y','version':'1'}"), "c.json:/properties/model",
     "does not agree"},
    {BAD_MODEL("OpenAI.x.1", "'inputTpmPerPtu':0"), "c.json:/properties/inputTpmPerPtu", "from 1"},
    {BAD_MODEL("OpenAI.x.1", "'inputTpmPerPtu':100"), "c.json:/properties/outputWeight",
     "is missing"},
    {BAD_MODEL("OpenAI.x.1", "'outputWeight':1.0005"), "c.json:/properties/outputWeight",
     "three decimals"},
    {BAD_MODEL("OpenAI.x.1", "'cachedWeight':1.5"), "c.json:/properties/cachedWeight",
     "from 0 to 1"},
    {BAD_MODEL("OpenAI.x.1", "'kind':'image'"), "c.json:/properties/kind",
     "chat, completion, embedding"},
    {BAD_MODEL("OpenAI.x.1", "'skus':{'ProvisionedManaged':{}}"),
     "c.json:/properties/inputTpmPerPtu", "cannot be sold without it"},
    {BAD_MODEL("OpenAI.x.1", "'skus':{'Standard':{'minimum':0}}"),
     "c.json:/properties/skus/Standard/minimum", "from 1"},
    {BAD_MODEL("OpenAI.x.1", "'encoding':'p50k_base'"), "c.json:/properties/encoding",
     "o200k_base"},
    {BAD_MODEL("OpenAI.x.1", "'framing':{'tokensPerMessage':-1}"),
     "c.json:/properties/framing/tokensPerMessage", "0"},
    {BAD_MODEL("OpenAI.x.1", "'framing':7"), "c.json:/properties/framing", "object"},
    {BAD_MODEL("OpenAI.x.1", "'inputTiers':[{'fromTokens':5,'weight':1}]"),
     "c.json:/properties/inputTiers", "first begins at 0"},
    {BAD_MODEL("OpenAI.x.1",
               "'inputTiers':[{'fromTokens':0,'weight':1},{'fromTokens':0,'weight':2}]"),
     "c.json:/properties/inputTiers", "rises"},
};

/* Nothing may be half built, and the reader of secrets may refuse. */
static enum status no_secrets(void *arg, enum secret_source source, struct str name,
                              struct str from, struct buf *out) {
    (void)arg, (void)source, (void)name, (void)from, (void)out;
    return ST_IO_FAILED;
}

static void refuses_each_with_its_place_and_the_cure(void **state) {
    (void)state;
    static const struct secret_reader secrets = {no_secrets, NULL};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct resources *set = resources_new();
        struct snapshot *s = NULL;
        struct problem why = {0};
        enum status st = add_text(set, "c.json", cases[i].text, &why);
        if (st == ST_OK)
            st = snapshot_build(set, &secrets, &test_hash, &s, &why);
        if (st == ST_OK || s || strcmp(why.target, cases[i].target) != 0 ||
            !strstr(why.message, cases[i].message))
            fail_msg("%s\n  at %s: %s", cases[i].text, why.target, why.message);
        resources_free(set);
    }
}

static void names_both_files_that_hold_one_id(void **state) {
    (void)state;
    struct resources *set = resources_new();
    struct problem why = {0};
    assert_int_equal(add_text(set, "a.json", "[" LOCATION "," POOL "]", &why), ST_OK);
    assert_int_equal(add_text(set, "b.json", "{'value':[" POOL "]}", &why), ST_BAD_REQUEST);
    assert_string_equal(why.target, "b.json:/value/0/id");
    assert_non_null(strstr(why.message, "the first is at a.json:/1"));
    resources_free(set);
}

static void remarks_unknown_fields_and_guesses_what_was_meant(void **state) {
    (void)state;
    static const struct {
        const char *text, *target, *message;
    } remarks[] = {
        {BAD_BACKEND(URL ",'wieght':2"), "c.json:/2/properties/wieght", "did you mean \"weight\"?"},
        {BAD_BACKEND(URL ",'APIKEY':'x'"), "c.json:/2/properties/APIKEY",
         "did you mean \"apiKey\"?"},
        {BAD_BACKEND(URL ",'colour':'x'"), "c.json:/2/properties/colour", "no effect"},
        {BAD_DEPLOYMENT(STANDARD_10, GPT_4O ",'wier':{}"), "c.json:/2/properties/wier",
         "\"weir\"?"},
        {"[" LOCATION ",{'id':'" GROUP "/accounts/a1','location':'eastus'}]",
         "c.json:/1/properties", "nobody can call"},
    };
    for (size_t i = 0; i < ARRAY_LEN(remarks); i++) {
        struct snapshot *s = build_text(remarks[i].text);
        const struct warnings *w = snapshot_warnings(s);
        assert_true(w->n >= 1);
        if (strcmp(w->items[0].target, remarks[i].target) != 0 ||
            !strstr(w->items[0].message, remarks[i].message))
            fail_msg("%s: %s", w->items[0].target, w->items[0].message);
        assert_int_equal(strstr(w->items[0].message, "mean") != NULL,
                         strstr(remarks[i].message, "\"?") != NULL);
        snapshot_unref(s);
    }
}

static void keeps_a_hundred_remarks_and_counts_the_others(void **state) {
    (void)state;
    struct buf text;
    buf_init(&text, 1 << 16);
    buf_lit(&text, "{'id':'/providers/Weir.Capacity/locations/a'");
    for (int i = 0; i < 130; i++)
        buf_printf(&text, ",'x%d':1", i);
    buf_put(&text, "}", 2);
    struct snapshot *s = build_text(text.p);
    assert_int_equal(snapshot_warnings(s)->n, 100);
    assert_int_equal(snapshot_warnings(s)->n_dropped, 30);
    snapshot_unref(s);
    buf_destroy(&text);
}

/* What an ARM client reads it may send back. */
static void passes_over_what_the_server_itself_writes(void **state) {
    (void)state;
    struct snapshot *s = build_text(
        "[" LOCATION "," POOL "," BACKEND ",{'id':'" GROUP "/accounts/acct','name':'acct','type':"
        "'Microsoft.CognitiveServices/accounts','etag':'x','tags':{},'systemData':{},'kind':'OpenAI',"
        "'location':'East US','sku':{'name':'S0'},'properties':{'endpoint':'https://a/',"
        "'provisioningState':'Succeeded','capabilities':[],'publicNetworkAccess':'Enabled',"
        "'keys':{'key1':'key-number-one-1'}}},"
        "{'id':'" GROUP "/accounts/acct/deployments/d','name':'d','sku':{'name':'Standard',"
        "'capacity':1},'properties':{" GPT_4O ",'provisioningState':'Succeeded','rateLimits':[],"
        "'versionUpgradeOption':'OnceNewDefaultVersionAvailable','raiPolicyName':"
        "'Microsoft.DefaultV2','spilloverDeploymentName':null,'currentCapacity':1}}]");
    const struct warnings *w = snapshot_warnings(s);
    if (w->n > 0)
        fail_msg("%s: %s", w->items[0].target, w->items[0].message);
    snapshot_unref(s);
}

/* A call can tell no more apart, and those beyond would never be asked. */
static void refuses_more_backends_than_a_call_can_choose_among(void **state) {
    (void)state;
    for (int n = DEPLOYMENT_BACKENDS_MAX; n <= DEPLOYMENT_BACKENDS_MAX + 1; n++) {
        struct buf text;
        buf_init(&text, 1 << 20);
        buf_lit(&text, "[" LOCATION "," ACCOUNT "," POOL);
        for (int i = 0; i < n; i++)
            buf_printf(&text, ",{'id':'" POOL_ID "/backends/b%d','properties':{'url':'http://h'}}",
                       i);
        buf_lit(&text, "," DEPLOYMENT "]");
        buf_char(&text, '\0');
        struct resources *set = resources_new();
        struct problem why = {0};
        struct snapshot *s = NULL;
        enum status st = add_text(set, "c.json", text.p, &why);
        assert_int_equal(st, ST_OK);
        st = snapshot_build(set, NULL, &test_hash, &s, &why);
        if (n == DEPLOYMENT_BACKENDS_MAX) {
            assert_int_equal(st, ST_OK);
            snapshot_unref(s);
        } else {
            assert_int_equal(st, ST_BAD_REQUEST);
            assert_non_null(strstr(why.target, "/properties/model"));
            assert_non_null(strstr(why.message, "65 backends"));
            assert_non_null(strstr(why.message, "among 64"));
        }
        resources_free(set);
        buf_destroy(&text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_more_backends_than_a_call_can_choose_among),
        cmocka_unit_test(refuses_each_with_its_place_and_the_cure),
        cmocka_unit_test(names_both_files_that_hold_one_id),
        cmocka_unit_test(remarks_unknown_fields_and_guesses_what_was_meant),
        cmocka_unit_test(keeps_a_hundred_remarks_and_counts_the_others),
        cmocka_unit_test(passes_over_what_the_server_itself_writes),
    };
    return cmocka_run_group_tests_name("refusals", tests, NULL, NULL);
}
