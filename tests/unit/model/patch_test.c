/* patch_test.c - a snapshot that is patched says what one that is built from all says, and shares the rest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "config.h"

#include "support/random.h"

enum { ACCOUNTS = 6, DEPLOYMENTS = 4, ROUNDS = 400 };

/* What one account is to be; all zero when there is none. */
struct wish {
    bool exists;
    int host;                  /* 0: no subdomain */
    int keys[2];               /* 0: none */
    int capacity[DEPLOYMENTS]; /* 0: no such deployment */
    bool is_provisioned[DEPLOYMENTS];
};

static struct random dice = {2026};

/* Few enough values that accounts often want the same host or key, which is refused. */
static struct wish any_wish(int account) {
    struct wish w = {.exists = random_below(&dice, 5) > 0};
    w.host = (int)random_below(&dice, 3) ? account + 1 : (int)random_below(&dice, ACCOUNTS + 1);
    for (int k = 0; k < 2; k++)
        w.keys[k] = random_below(&dice, 9) ? 2 * account + k + 1
                                           : (int)random_below(&dice, 2 * ACCOUNTS + 3);
    for (int d = 0; d < DEPLOYMENTS; d++) {
        w.capacity[d] = random_below(&dice, 3) ? 50 * (int)random_between(&dice, 1, 3) : 0;
        w.is_provisioned[d] = random_below(&dice, 2);
    }
    return w;
}

#define GROUND LOCATION "," POOL "," BACKEND

static void put_account(struct buf *out, int i, const struct wish *w) {
    buf_printf(out, ",{'id':'" GROUP "/accounts/Acct%d','location':'eastus','properties':{", i);
    if (w->host)
        buf_printf(out, "'customSubDomainName':'host-%d',", w->host);
    buf_lit(out, "'keys':{");
    for (int k = 0; k < 2; k++) {
        if (w->keys[k])
            buf_printf(out, "%s'key%d':'key-with-the-number-%d'", k && w->keys[0] ? "," : "", k + 1,
                       w->keys[k]);
    }
    buf_lit(out, "}}}");
    for (int d = DEPLOYMENTS - 1; d >= 0; d--) {
        if (w->capacity[d])
            buf_printf(out,
                       ",{'id':'" GROUP "/accounts/acct%d/deployments/%c%d','sku':{'name':'%s',"
                       "'capacity':%d},'properties':{'model':{'name':'%s'}}}",
                       i, d % 2 ? 'D' : 'd', d,
                       w->is_provisioned[d] ? "ProvisionedManaged" : "Standard", w->capacity[d],
                       d % 2 ? "gpt-4o" : "gpt-4o-mini");
    }
}

/* The resources of those that `is_in` names (NULL: all, and what the operator has). */
static struct resources *set_of(const struct wish *wishes, const bool *is_in) {
    struct buf text;
    buf_init(&text, 1 << 20);
    buf_lit(&text, "[");
    if (!is_in)
        buf_lit(&text, "," GROUND);
    for (int i = 0; i < ACCOUNTS; i++) {
        if (wishes[i].exists && (!is_in || is_in[i]))
            put_account(&text, i, &wishes[i]);
    }
    buf_put(&text, "]", 2);
    if (text.p[1] == ',')
        text.p[1] = ' ';
    struct resources *set = resources_new();
    assert_int_equal(add_text(set, "w.json", text.p, NULL), ST_OK);
    buf_destroy(&text);
    return set;
}

static enum status build(const struct wish *wishes, struct snapshot **out, struct problem *why) {
    struct resources *set = set_of(wishes, NULL);
    enum status st = snapshot_build(set, NULL, &test_hash, out, why);
    resources_free(set);
    return st;
}

static struct str key_of(int account, char out[RESOURCE_ID_MAX + 1]) {
    char id[RESOURCE_ID_MAX];
    snprintf(id, sizeof id, GROUP "/accounts/acct%d", account);
    return resource_id_key(str_of(id), out);
}

static enum status patch(struct snapshot *before, const struct wish *wishes, const bool *is_changed,
                         struct snapshot **out, struct problem *why) {
    char texts[ACCOUNTS][RESOURCE_ID_MAX + 1];
    struct str gone[ACCOUNTS];
    size_t n_gone = 0;
    for (int i = 0; i < ACCOUNTS; i++) {
        if (is_changed[i])
            gone[n_gone++] = key_of(i, texts[i]);
    }
    struct resources *set = set_of(wishes, is_changed);
    enum status st = snapshot_patch(before, gone, n_gone, set, NULL, out, why);
    resources_free(set);
    return st;
}

static char *printed(const struct snapshot *s) {
    struct buf out;
    struct json_writer w;
    buf_init(&out, 1 << 20);
    json_writer_init(&w, &out, 2);
    snapshot_print(s, &w);
    char *z = str_dup(buf_view(&out));
    buf_destroy(&out);
    return z;
}

static const struct account *named(const struct snapshot *s, struct str name) {
    const struct account *a;
    for (size_t at = 0; snapshot_next_account(s, &at, &a);) {
        if (str_ieq(a->name, name))
            return a;
    }
    return NULL;
}

/* Every question has the same answer. */
static void check_same(const struct snapshot *x, const struct snapshot *y) {
    char *left = printed(x), *right = printed(y);
    assert_string_equal(left, right);
    free(left);
    free(right);
    assert_int_equal(snapshot_n_accounts(x), snapshot_n_accounts(y));
    assert_int_equal(snapshot_n_deployments(x), snapshot_n_deployments(y));
    for (int i = 0; i < 2 * ACCOUNTS + 3; i++) {
        char key[64], host[64];
        snprintf(key, sizeof key, "key-with-the-number-%d", i);
        snprintf(host, sizeof host, "Host-%d.example", i);
        const struct account *a[2][2] = {
            {snapshot_account_by_key(x, str_of(key)), snapshot_account_by_key(y, str_of(key))},
            {snapshot_account_by_host(x, str_of(host)), snapshot_account_by_host(y, str_of(host))}};
        for (int k = 0; k < 2; k++) {
            assert_int_equal(!a[k][0], !a[k][1]);
            assert_true(!a[k][0] || str_eq(a[k][0]->id, a[k][1]->id));
        }
    }
}

/* Slots and indexes are what views and calls go by. */
static void check_places(const struct snapshot *s) {
    const struct account *a;
    size_t n = 0, n_backends;
    const struct backend *b = snapshot_backends(s, &n_backends);
    for (size_t at = 0; snapshot_next_account(s, &at, &a); n++) {
        assert_ptr_equal(snapshot_account_at(s, a->slot), a);
        for (size_t i = 0; i < a->n_deployments; i++) {
            const struct deployment *d = &a->deployments[i];
            assert_true(d->index == i && d->account == a && account_deployment(a, d->name) == d);
            /* The pool serves one of the two models. */
            assert_int_equal(d->n_backends, str_eq(d->model->name, STR("gpt-4o")) ? 1 : 0);
            assert_true(d->n_backends == 0 || d->backends[0] == b);
        }
    }
    assert_int_equal(n, snapshot_n_accounts(s));
}

static void check_shares(const struct snapshot *before, const struct snapshot *after,
                         const bool *is_changed) {
    assert_true(snapshot_is_patch_of(after, before));
    for (int i = 0; i < ACCOUNTS; i++) {
        char name[16];
        snprintf(name, sizeof name, "acct%d", i);
        const struct account *x = named(before, str_of(name)), *y = named(after, str_of(name));
        if (!is_changed[i])
            assert_ptr_equal(x, y);
        else
            assert_true(!y || x != y);
    }
}

static void says_what_a_snapshot_of_all_says_after_any_changes(void **state) {
    (void)state;
    struct wish wishes[ACCOUNTS] = {0};
    struct snapshot *now = NULL;
    struct problem why = {0};
    int n_done = 0, n_refused = 0;
    assert_int_equal(build(wishes, &now, &why), ST_OK);
    for (int round = 0; round < ROUNDS; round++) {
        struct wish next[ACCOUNTS];
        bool is_changed[ACCOUNTS] = {false};
        memcpy(next, wishes, sizeof next);
        for (int64_t n = random_between(&dice, 1, 3); n > 0; n--) {
            int i = (int)random_below(&dice, ACCOUNTS);
            next[i] = any_wish(i);
            is_changed[i] = true;
        }
        struct snapshot *patched = NULL, *whole = NULL;
        struct problem of_patch = {0}, of_build = {0};
        enum status st = patch(now, next, is_changed, &patched, &of_patch);
        assert_int_equal(st, build(next, &whole, &of_build));
        if (st != ST_OK) {
            assert_null(patched);
            assert_true(strstr(of_patch.message, "taken by") ||
                        strstr(of_patch.message, "also a key"));
            n_refused++;
            continue;
        }
        check_same(patched, whole);
        check_places(patched);
        check_shares(now, patched, is_changed);
        snapshot_unref(whole);
        /* What is shared outlives the one that it came from. */
        snapshot_unref(now);
        now = patched;
        memcpy(wishes, next, sizeof wishes);
        n_done++;
    }
    assert_true(n_done > ROUNDS / 4 && n_refused > ROUNDS / 20);
    snapshot_unref(now);
}

static void keeps_an_account_beyond_its_snapshots(void **state) {
    (void)state;
    struct snapshot *s = build_text("[" GROUND "," ACCOUNT "," DEPLOYMENT "]");
    size_t at = 0;
    const struct account *a = NULL;
    assert_true(snapshot_next_account(s, &at, &a));
    account_ref(a);
    snapshot_unref(s);
    assert_true(str_eq(a->name, STR("acct")) && str_eq(a->deployments[0].name, STR("d")));
    account_unref(a);
    account_unref(NULL);
}

static void refuses_what_is_not_sold_and_deployments_without_their_account(void **state) {
    (void)state;
    static const struct {
        const char *text, *target, *message;
    } cases[] = {
        {"[" ACCOUNT "," LOCATION "]", "w.json:/1/id", "one by one"},
        {"[" POOL "]", "w.json:/0/id", "one by one"},
        /* It is there, but all of its deployments would have to be named with it. */
        {"[" DEPLOYMENT_OF("e", PTU_50, GPT_4O) "]", "w.json:/0/id", "no account"},
        {"[" ACCOUNT_OF("acct", "'keys':{'key1':'short'}") "]", "w.json:/0/properties/keys/key1",
         "must have 16"},
    };
    struct snapshot *before = build_text("[" GROUND "," ACCOUNT "," DEPLOYMENT "]");
    char *was = printed(before);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct resources *set = resources_new();
        struct snapshot *after = NULL;
        struct problem why = {0};
        assert_int_equal(add_text(set, "w.json", cases[i].text, NULL), ST_OK);
        assert_int_equal(snapshot_patch(before, NULL, 0, set, NULL, &after, &why), ST_BAD_REQUEST);
        assert_null(after);
        assert_string_equal(why.target, cases[i].target);
        assert_non_null(strstr(why.message, cases[i].message));
        resources_free(set);
    }
    char *is = printed(before);
    assert_string_equal(was, is);
    free(was);
    free(is);
    snapshot_unref(before);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_what_a_snapshot_of_all_says_after_any_changes),
        cmocka_unit_test(keeps_an_account_beyond_its_snapshots),
        cmocka_unit_test(refuses_what_is_not_sold_and_deployments_without_their_account),
    };
    return cmocka_run_group_tests_name("patch", tests, NULL, NULL);
}
