/* config.h - small configurations as text, for the tests of room model. */
#ifndef MODEL_CONFIG_H
#define MODEL_CONFIG_H

#include <stdio.h>
#include <stdlib.h>

#include "model/snapshot.h"

/* Texts are written with ' for ", so that JSON can be read in C. */
#define LOCATION "{'id':'/providers/Weir.Capacity/locations/eastus','properties':{'dataZone':'us'}}"
#define POOL_ID "/providers/Weir.Capacity/pools/p"
#define POOL                                                                                       \
    "{'id':'" POOL_ID "','location':'eastus',"                                                     \
    "'properties':{'ptus':100,'models':[{'name':'gpt-4o'}]}}"
#define BACKEND_OF(properties) "{'id':'" POOL_ID "/backends/b','properties':{" properties "}}"
#define BACKEND BACKEND_OF("'url':'http://127.0.0.1:9001'")
#define GROUP "/subscriptions/s/resourceGroups/g/providers/Microsoft.CognitiveServices"
#define ACCOUNT_OF(name, properties)                                                               \
    "{'id':'" GROUP "/accounts/" name                                                              \
    "','location':'eastus','kind':'OpenAI','properties':{" properties "}}"
#define ACCOUNT                                                                                    \
    ACCOUNT_OF("acct", "'customSubDomainName':'acct','keys':{'key1':'key-number-one-1','key2':"    \
                       "'key-number-two-2'}")
#define DEPLOYMENT_OF(name, sku, properties)                                                       \
    "{'id':'" GROUP "/accounts/acct/deployments/" name "','sku':{" sku                             \
    "},'properties':{" properties "}}"
#define PTU_50 "'name':'ProvisionedManaged','capacity':50"
#define STANDARD_10 "'name':'Standard','capacity':10"
#define GPT_4O "'model':{'format':'OpenAI','name':'gpt-4o','version':'2024-08-06'}"
#define DEPLOYMENT DEPLOYMENT_OF("d", PTU_50, GPT_4O)

static const struct siphash_key test_hash = {1, 2};

/* Adds a text as a file: quotes put right, padding behind it that is no JSON. */
static inline enum status add_text(struct resources *set, const char *file, const char *text,
                                   struct problem *why) {
    size_t n = strlen(text);
    char *padded = xmalloc(n + JSON_PADDING);
    for (size_t i = 0; i < n; i++)
        padded[i] = text[i];
    for (size_t i = 0; i < n; i++)
        padded[i] = padded[i] == '\'' ? '"' : padded[i];
    memset(padded + n, '}', JSON_PADDING);
    enum status st = resources_add(set, str_of(file), padded, n, why);
    free(padded);
    return st;
}

/* Builds one text, or fails the test with the reason. */
static inline struct snapshot *build_text(const char *text) {
    struct resources *set = resources_new();
    struct problem why = {0};
    struct snapshot *s = NULL;
    enum status st = add_text(set, "c.json", text, &why);
    if (st == ST_OK)
        st = snapshot_build(set, NULL, &test_hash, &s, &why);
    resources_free(set);
    if (st != ST_OK)
        fail_msg("%s: %s", why.target, why.message);
    return s;
}

/* The first account's: for configurations with one. */
static inline const struct deployment *deployments_of(const struct snapshot *s, size_t *n) {
    const struct account *a = NULL;
    size_t at = 0;
    bool has_account = snapshot_next_account(s, &at, &a);
    *n = has_account ? a->n_deployments : 0;
    return has_account ? a->deployments : NULL;
}

#endif
