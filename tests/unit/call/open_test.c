/* open_test.c - who may call which account, and the lists of what it has. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/rig.h"

/* *whose: the id of the account that opens, "" when none does; NULL: it does not matter. */
static enum status open_whose(struct rig *g, const char *target, const char *host,
                              const char *fields, char (*whose)[200]) {
    struct http_reader r;
    struct buf text;
    struct call c;
    struct problem why = {0};
    static const unsigned char id[16] = {0};
    buf_init(&text, 8192);
    buf_printf(&text, "POST %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", target, host, fields);
    call_init(&c, &g->env, g->now_ns, id);
    enum status st = call_open(&c, &g->env, rig_head(&r, true, buf_view(&text)), &why);
    if (whose) {
        struct str opened = st == ST_OK ? c.account->id : STR("");
        snprintf(*whose, sizeof *whose, "%.*s", STR_ARG(opened));
    }
    http_reader_destroy(&r);
    buf_destroy(&text);
    call_destroy(&c);
    return st;
}

static enum status open_with(struct rig *g, const char *target, const char *host,
                             const char *fields) {
    return open_whose(g, target, host, fields, NULL);
}

static void a_key_opens_its_account_and_no_other(void **state) {
    (void)state;
    static const struct {
        const char *host, *fields;
        enum status st;
    } cases[] = {
        {"localhost:8080", "api-key: " RIG_KEY "\r\n", ST_OK},
        {"127.0.0.1", "API-KEY: " RIG_KEY "\r\n", ST_OK},
        {"[::1]:8080", "api-key: " RIG_KEY "\r\n", ST_OK},
        {"localhost", "Authorization: Bearer " RIG_KEY "\r\n", ST_OK},
        {"localhost", "authorization: bearer   " RIG_KEY "\r\n", ST_OK},
        {"acct.openai.azure.com", "api-key: " RIG_KEY "\r\n", ST_OK},
        {"ACCT.localhost:8080", "api-key: " RIG_KEY "\r\n", ST_OK},
        {"unknown.openai.azure.com", "api-key: " RIG_KEY "\r\n", ST_OK},
        /* The key that comes as such goes before a bearer token. */
        {"localhost", "api-key: " RIG_KEY "\r\nAuthorization: Bearer x\r\n", ST_OK},
        {"localhost", "api-key: x\r\nAuthorization: Bearer " RIG_KEY "\r\n", ST_UNAUTHORIZED},
        {"localhost", "", ST_UNAUTHORIZED},
        {"localhost", "api-key:\r\n", ST_UNAUTHORIZED},
        {"localhost", "Authorization: Bearer\r\n", ST_UNAUTHORIZED},
        {"localhost", "Authorization: Basic " RIG_KEY "\r\n", ST_UNAUTHORIZED},
        {"localhost", "api-key: " RIG_KEY "x\r\n", ST_UNAUTHORIZED},
        {"localhost", "x-api-key: " RIG_KEY "\r\n", ST_UNAUTHORIZED},
        /* Another account's host: the key is good, but not here. */
        {"other.openai.azure.com", "api-key: " RIG_KEY "\r\n", ST_UNAUTHORIZED},
        {"acct.openai.azure.com:443", "api-key: " RIG_OTHER_KEY "\r\n", ST_UNAUTHORIZED},
    };
    struct rig g;
    rig_init_same(&g, 1, "");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        enum status st = open_with(&g, "/v1/chat/completions", cases[i].host, cases[i].fields);
        if (st != cases[i].st)
            fail_msg("case %zu: %d", i, (int)st);
    }
    rig_destroy(&g);
}

/* A token is its holder's name here; "both" may call every account, "acct" the one of that name. */
static struct str caller_of(void *arg, struct str token) {
    (void)arg;
    return str_eq(token, STR("forged")) ? STR("") : token;
}

static bool may_call(void *arg, struct str caller, enum operation op, struct str account_id) {
    (void)arg;
    (void)op;
    return str_eq(caller, STR("both")) || str_ends(account_id, caller);
}

static void a_bearer_token_opens_what_its_holder_may_call(void **state) {
    (void)state;
    static const char *const ptu = "/openai/deployments/ptu/chat/completions?api-version=1";
    static const char *const std = "/openai/deployments/std/chat/completions?api-version=1";
    static const char *const v1 = "/v1/chat/completions";
    static const struct call_guard guard = {caller_of, may_call, NULL};
    const struct {
        const char *target, *host, *token;
        enum status st;
    } cases[] = {
        {v1, "acct.openai.azure.com", "acct", ST_OK},
        {v1, "acct.openai.azure.com", "both", ST_OK},
        {v1, "acct.openai.azure.com", "other", ST_FORBIDDEN},
        {v1, "acct.openai.azure.com", "forged", ST_UNAUTHORIZED},
        /* Without a name: the only account that the holder may call, and that has the deployment. */
        {v1, "localhost", "acct", ST_OK},
        {v1, "localhost", "nobody", ST_FORBIDDEN},
        {v1, "localhost", "both", ST_BAD_REQUEST},
        {ptu, "localhost", "both", ST_OK},
        {ptu, "localhost", "other", ST_FORBIDDEN},
        {std, "localhost", "other", ST_OK},
        /* By the path. */
        {"/accounts/acct/v1/chat/completions", "localhost", "both", ST_OK},
        {"/accounts/OTHER/openai/v1/chat/completions", "localhost", "both", ST_OK},
        {"/accounts/other/openai/v1/chat/completions", "localhost", "acct", ST_FORBIDDEN},
        {"/accounts/nowhere/v1/chat/completions", "localhost", "both", ST_NOT_FOUND},
        {"/accounts/other/v1/chat/completions", "acct.openai.azure.com", "both", ST_NOT_FOUND},
        /* A key is a key, whoever guards. */
        {v1, "localhost", RIG_KEY, ST_OK},
        {"/accounts/acct/v1/chat/completions", "localhost", RIG_KEY, ST_OK},
        {"/accounts/other/v1/chat/completions", "localhost", RIG_KEY, ST_UNAUTHORIZED},
    };
    struct rig g;
    rig_init_same(&g, 1, "");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char fields[100];
        snprintf(fields, sizeof fields, "Authorization: Bearer %s\r\n", cases[i].token);
        g.env.guard = &guard;
        enum status st = open_with(&g, cases[i].target, cases[i].host, fields);
        if (st != cases[i].st)
            fail_msg("case %zu: %d", i, (int)st);
        /* Nobody guards: no token opens anything. */
        g.env.guard = NULL;
        st = open_with(&g, cases[i].target, cases[i].host, fields);
        if ((st == ST_OK) != (cases[i].st == ST_OK && str_eq(str_of(cases[i].token), STR(RIG_KEY))))
            fail_msg("case %zu unguarded: %d", i, (int)st);
    }
    rig_destroy(&g);
}

/* Three accounts named twin, in the order of `groups`; the key of each is key-of-GROUP, and that in group
 * c has a host of its own. Alone the one in group b has the deployment d. */
static void init_twins(struct rig *g, const char *groups) {
    struct buf text;
    buf_init(&text, 1 << 20);
    buf_lit(&text, "[{'id':'/providers/Weir.Capacity/locations/eastus','properties':{}}");
    for (const char *group = groups; *group; group++) {
        buf_printf(&text,
                   ",{'id':'/subscriptions/s/resourceGroups/%c/providers/"
                   "Microsoft.CognitiveServices/accounts/twin','kind':'OpenAI','location':'eastus',"
                   "'properties':{%s'keys':{'key1':'key-of-%c-0000000001'}}}",
                   *group, *group == 'c' ? "'customSubDomainName':'charly'," : "", *group);
        if (*group == 'b')
            buf_lit(&text, ",{'id':'/subscriptions/s/resourceGroups/b/providers/"
                           "Microsoft.CognitiveServices/accounts/twin/deployments/d','sku':{'name':"
                           "'Standard','capacity':1},'properties':{'model':{'format':'OpenAI',"
                           "'name':'gpt-4o','version':'2024-08-06'}}}");
    }
    buf_char(&text, ']');
    rig_init_with(g, rig_snapshot_of(&text));
    buf_destroy(&text);
}

static bool is_letter_of_group(void *arg, struct str caller, enum operation op,
                               struct str account_id) {
    (void)arg;
    (void)op;
    char group[40];
    for (size_t i = 0; i < caller.n; i++) {
        snprintf(group, sizeof group, "/resourceGroups/%c/", caller.p[i]);
        if (str_find(account_id, str_of(group)) >= 0)
            return true;
    }
    return false;
}

/* Names are unique in a group alone; which of its namesakes stands first is no matter. */
static void the_key_decides_among_accounts_of_one_name(void **state) {
    (void)state;
    static const struct call_guard guard = {caller_of, is_letter_of_group, NULL};
    static const char *const orders[] = {"abc", "acb", "bac", "bca", "cab", "cba"};
    static const char *const chat = "/accounts/TWIN/v1/chat/completions";
    static const char *const d =
        "/accounts/twin/openai/deployments/d/chat/completions?api-version=1";
    static const struct {
        const char *const *target;
        const char *host, *fields;
        enum status st;
        char group; /* whose account is opened */
    } cases[] = {
        {&chat, "localhost", "api-key: key-of-a-0000000001", ST_OK, 'a'},
        {&chat, "localhost", "api-key: key-of-b-0000000001", ST_OK, 'b'},
        {&chat, "localhost", "api-key: key-of-c-0000000001", ST_OK, 'c'},
        {&chat, "localhost", "authorization: Bearer key-of-b-0000000001", ST_OK, 'b'},
        {&chat, "charly.openai.azure.com", "api-key: key-of-c-0000000001", ST_OK, 'c'},
        {&chat, "charly.openai.azure.com", "api-key: key-of-a-0000000001", ST_UNAUTHORIZED, 0},
        {&chat, "localhost", "api-key: key-of-x-0000000001", ST_UNAUTHORIZED, 0},
        {&chat, "localhost", "x: y", ST_UNAUTHORIZED, 0},
        /* A token opens the one that its holder may call. */
        {&chat, "localhost", "authorization: Bearer a", ST_OK, 'a'},
        {&chat, "localhost", "authorization: Bearer b", ST_OK, 'b'},
        {&chat, "charly.openai.azure.com", "authorization: Bearer abc", ST_OK, 'c'},
        {&chat, "charly.openai.azure.com", "authorization: Bearer ab", ST_FORBIDDEN, 0},
        {&chat, "localhost", "authorization: Bearer ab", ST_BAD_REQUEST, 0},
        {&d, "localhost", "authorization: Bearer ab", ST_OK, 'b'},
        {&d, "localhost", "authorization: Bearer ac", ST_FORBIDDEN, 0},
        {&chat, "localhost", "authorization: Bearer x", ST_FORBIDDEN, 0},
        {&chat, "localhost", "authorization: Bearer forged", ST_UNAUTHORIZED, 0},
    };
    for (size_t o = 0; o < ARRAY_LEN(orders); o++) {
        struct rig g;
        init_twins(&g, orders[o]);
        g.env.guard = &guard;
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
            char fields[100], whose[200], group[40];
            snprintf(fields, sizeof fields, "%s\r\n", cases[i].fields);
            snprintf(group, sizeof group, "/resourceGroups/%c/", cases[i].group);
            enum status st = open_whose(&g, *cases[i].target, cases[i].host, fields, &whose);
            bool is_right = !cases[i].group || strstr(whose, group);
            if (st != cases[i].st || !is_right)
                fail_msg("order %s, case %zu: %d %s", orders[o], i, (int)st, whose);
        }
        rig_destroy(&g);
    }
}

static void a_deployment_is_found_in_the_account_of_the_key_only(void **state) {
    (void)state;
    static const struct {
        const char *target, *key;
        enum status st;
    } cases[] = {
        {"/openai/deployments/ptu/chat/completions?api-version=1", RIG_KEY, ST_OK},
        {"/openai/deployments/PTU/chat/completions?api-version=1", RIG_KEY, ST_OK},
        {"/openai/deployments/p%74u/chat/completions?api-version=1", RIG_KEY, ST_OK},
        {"/openai/deployments/std/chat/completions?api-version=1", RIG_OTHER_KEY, ST_OK},
        {"/openai/deployments/ptu/chat/completions?api-version=1", RIG_OTHER_KEY, ST_NO_DEPLOYMENT},
        {"/openai/deployments/gpt-4o/chat/completions?api-version=1", RIG_KEY, ST_NO_DEPLOYMENT},
        {"/openai/deployments/.../chat/completions?api-version=1", RIG_KEY, ST_NO_DEPLOYMENT},
        {"/openai/deployments/ptu/chat/completions", RIG_KEY, ST_NOT_FOUND},
    };
    struct rig g;
    rig_init_same(&g, 1, "");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char fields[100];
        snprintf(fields, sizeof fields, "api-key: %s\r\n", cases[i].key);
        if (open_with(&g, cases[i].target, "localhost", fields) != cases[i].st)
            fail_msg("case %zu", i);
    }
    rig_destroy(&g);
}

static void lists_name_the_deployments_of_the_account(void **state) {
    (void)state;
    static const struct {
        const char *line, *first;
        int n;
        const char *key;
    } cases[] = {
        {"GET /v1/models", "model", 6, RIG_KEY},
        {"GET /openai/models?api-version=1", "model", 6, RIG_KEY},
        {"GET /openai/v1/models", "model", 1, RIG_OTHER_KEY},
        {"GET /openai/deployments?api-version=2022-12-01", "deployment", 6, RIG_KEY},
    };
    struct rig g;
    rig_init_same(&g, 1, "");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct rig_call rc;
        struct json_value root, v, data, item;
        struct json_iter it;
        char fields[100];
        int n = 0;
        snprintf(fields, sizeof fields, "api-key: %s\r\n", cases[i].key);
        rig_call_init(&rc, &g);
        assert_int_equal(rig_submit_at(&rc, cases[i].line, fields, STR("")), CALL_REPLY);
        assert_int_equal(rc.call.reply_status, 200);
        char *padded = rig_padded(buf_view(&rc.call.reply_body));
        assert_int_equal(json_parse(g.doc, padded, rc.call.reply_body.len, &root, NULL), ST_OK);
        assert_true(json_get(root, STR("object"), &v) && str_eq(json_str(v), STR("list")));
        assert_true(json_get(root, STR("data"), &data));
        json_items(&it, data);
        while (json_next(&it, &item)) {
            assert_true(json_get(item, STR("object"), &v));
            assert_true(str_eq(json_str(v), str_of(cases[i].first)));
            assert_true(json_get(item, STR("id"), &v) && json_str(v).n > 0);
            n++;
        }
        assert_int_equal(n, cases[i].n);
        free(padded);
        rig_call_destroy(&rc);
    }
    rig_destroy(&g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_opens_its_account_and_no_other),
        cmocka_unit_test(a_bearer_token_opens_what_its_holder_may_call),
        cmocka_unit_test(the_key_decides_among_accounts_of_one_name),
        cmocka_unit_test(a_deployment_is_found_in_the_account_of_the_key_only),
        cmocka_unit_test(lists_name_the_deployments_of_the_account),
    };
    return cmocka_run_group_tests_name("open", tests, NULL, NULL);
}
