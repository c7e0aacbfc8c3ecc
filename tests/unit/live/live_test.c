/* live_test.c - state that outlives snapshots, and levels that outlive the process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "live/live.h"
#include "json/json.h"

static int64_t now_ns;
static int64_t read_now(void *arg) {
    (void)arg;
    return now_ns;
}
static const struct clock fake_clock = {read_now, NULL};
static const struct siphash_key hash = {1, 2};

static void put_deployment(struct buf *text, const char *account, int ptus) {
    buf_printf(text,
               "{\"id\":\"/subscriptions/s/resourceGroups/g/providers/"
               "Microsoft.CognitiveServices/accounts/%s/deployments/d\",\"sku\":{\"name\":"
               "\"ProvisionedManaged\",\"capacity\":%d},\"properties\":{\"model\":{\"format\":"
               "\"OpenAI\",\"name\":\"gpt-4o\",\"version\":\"2024-08-06\"}}}",
               account, ptus);
}

static void put_other_account(struct buf *text, int ptus) {
    buf_lit(text, "{\"id\":\"/subscriptions/s/resourceGroups/g/providers/"
                  "Microsoft.CognitiveServices/accounts/other\",\"location\":\"l\"},");
    put_deployment(text, "other", ptus);
}

/* Parses a list of resources, to which padding is added. */
static struct resources *set_of(struct buf *text) {
    size_t len = text->len;
    for (int i = 0; i < JSON_PADDING; i++)
        buf_char(text, ' ');
    struct resources *set = resources_new();
    struct problem why = {0};
    if (resources_add(set, STR("t.json"), text->p, len, &why) != ST_OK)
        fail_msg("%s: %s", why.target, why.message);
    buf_destroy(text);
    return set;
}

/* A configuration with one provisioned deployment of so many PTUs, or none; and, when `other` is not
 * 0, a second account with one of that size. */
static struct snapshot *snapshot_with(int ptus, int other) {
    struct buf text;
    buf_init(&text, 8192);
    buf_lit(&text,
            "[{\"id\":\"/subscriptions/s\"},"
            "{\"id\":\"/providers/Weir.Capacity/locations/l\",\"properties\":{}},"
            "{\"id\":\"/providers/Weir.Capacity/pools/p\",\"location\":\"l\",\"properties\":"
            "{\"ptus\":1000,\"models\":[{\"name\":\"gpt-4o\"}]}},"
            "{\"id\":\"/providers/Weir.Capacity/pools/p/backends/b\",\"properties\":"
            "{\"url\":\"http://127.0.0.1:1\"}},"
            "{\"id\":\"/subscriptions/s/resourceGroups/g/providers/Microsoft.CognitiveServices/"
            "accounts/acct\",\"kind\":\"OpenAI\",\"location\":\"l\",\"sku\":{\"name\":\"S0\"},"
            "\"properties\":{\"keys\":{\"key1\":\"0123456789abcdef\"}}}");
    if (ptus) {
        buf_char(&text, ',');
        put_deployment(&text, "acct", ptus);
    }
    if (other) {
        buf_char(&text, ',');
        put_other_account(&text, other);
    }
    buf_char(&text, ']');
    struct resources *set = set_of(&text);
    struct problem why = {0};
    struct snapshot *s = NULL;
    if (snapshot_build(set, NULL, &hash, &s, &why) != ST_OK)
        fail_msg("%s: %s", why.target, why.message);
    resources_free(set);
    return s;
}

static struct snapshot *snapshot_of(int ptus) {
    return snapshot_with(ptus, 0);
}

/* The same with another size of the other account's deployment; 0: without that account. */
static struct snapshot *patch_other(struct snapshot *before, int ptus) {
    struct buf text;
    buf_init(&text, 8192);
    buf_char(&text, '[');
    if (ptus)
        put_other_account(&text, ptus);
    buf_char(&text, ']');
    struct resources *set = set_of(&text);
    struct problem why = {0};
    struct str gone = STR("/subscriptions/s/resourcegroups/g/providers/"
                          "microsoft.cognitiveservices/accounts/other");
    struct snapshot *s = NULL;
    if (snapshot_patch(before, &gone, 1, set, NULL, &s, &why) != ST_OK)
        fail_msg("%s: %s", why.target, why.message);
    resources_free(set);
    snapshot_unref(before);
    return s;
}

static struct live_view *bind(struct live *l, int ptus) {
    struct snapshot *s = snapshot_of(ptus);
    struct live_view *v = live_bind(l, s);
    snapshot_unref(s);
    return v;
}

/* The only deployment. */
static struct live_deployment *deployment_of(const struct live_view *v) {
    return v->accounts[0]->deployments[0];
}

static void a_resize_keeps_the_level_and_a_deletion_forgets_it(void **state) {
    (void)state;
    now_ns = 5;
    struct live *l = live_new(&hash, &fake_clock);
    struct live_view *v50 = bind(l, 50);
    struct bucket *b = &deployment_of(v50)->bucket;
    assert_true(bucket_admit(b, 1000000, &fake_clock).admitted);
    struct live_view *v100 = bind(l, 100);
    assert_ptr_equal(deployment_of(v100), deployment_of(v50));
    assert_int_equal(bucket_level_mt(b, now_ns), 1000000);
    assert_int_equal(bucket_rate(b), INT64_C(100) * 2500 * 1000);
    /* The old view may go while the new one serves. */
    live_view_unref(v50);
    assert_int_equal(bucket_level_mt(b, now_ns), 1000000);
    struct live_view *none = bind(l, 0);
    live_view_unref(v100);
    struct live_view *again = bind(l, 100);
    assert_int_equal(bucket_level_mt(&deployment_of(again)->bucket, now_ns), 0);
    live_view_unref(none);
    live_view_unref(again);
    live_free(l);
}

static void a_patch_binds_the_accounts_that_changed_and_shares_the_others(void **state) {
    (void)state;
    struct live *l = live_new(&hash, &fake_clock);
    struct snapshot *s = snapshot_with(50, 100);
    struct live_view *before = live_bind(l, s);
    struct live_account *mine = before->accounts[0], *other = before->accounts[1];
    struct live_deployment *d = mine->deployments[0], *e = other->deployments[0];
    assert_true(bucket_admit(&e->bucket, 1000000, &fake_clock).admitted);

    s = patch_other(s, 150);
    struct live_view *after = live_bind(l, s);
    assert_ptr_equal(after->accounts[0], mine);
    assert_ptr_not_equal(after->accounts[1], other);
    assert_ptr_equal(after->accounts[1]->deployments[0], e);
    assert_int_equal(bucket_rate(&e->bucket), INT64_C(150) * 2500 * 1000);
    assert_int_equal(bucket_level_mt(&e->bucket, now_ns), 1000000);
    live_view_unref(before);
    assert_int_equal(bucket_level_mt(&e->bucket, now_ns), 1000000);

    /* Gone while a view still names it: it stays for that one, and its id begins anew. */
    s = patch_other(s, 0);
    struct live_view *without = live_bind(l, s);
    assert_int_equal(without->n_slots, 1);
    assert_int_equal(bucket_level_mt(&e->bucket, now_ns), 1000000);
    s = patch_other(s, 150);
    struct live_view *again = live_bind(l, s);
    assert_ptr_not_equal(again->accounts[1]->deployments[0], e);
    assert_int_equal(bucket_level_mt(&again->accounts[1]->deployments[0]->bucket, now_ns), 0);
    assert_ptr_equal(again->accounts[0]->deployments[0], d);
    live_housekeep(l);

    live_view_unref(after);
    live_view_unref(without);
    live_view_unref(again);
    snapshot_unref(s);
    live_free(l);
}

static int64_t level_after_restart(struct str saved, int64_t wall_us, bool want_damaged) {
    struct buf text;
    buf_init(&text, 8192);
    buf_str(&text, saved);
    size_t len = text.len;
    for (int i = 0; i < JSON_PADDING; i++)
        buf_char(&text, ' ');
    struct live *l = live_new(&hash, &fake_clock);
    struct problem why;
    assert_int_equal(live_recall(l, text.p, len, wall_us, &why) != ST_OK, want_damaged);
    struct live_view *v = bind(l, 50);
    int64_t level = bucket_level_mt(&deployment_of(v)->bucket, now_ns);
    live_view_unref(v);
    live_free(l);
    buf_destroy(&text);
    return level;
}

static void levels_survive_a_restart_less_what_was_served_meanwhile(void **state) {
    (void)state;
    now_ns = 77;
    struct live *l = live_new(&hash, &fake_clock);
    struct live_view *v = bind(l, 50);
    assert_true(bucket_admit(&deployment_of(v)->bucket, 90000000, &fake_clock).admitted);
    struct buf saved;
    buf_init(&saved, 8192);
    live_save(l, 1000000, &saved);
    live_view_unref(v);
    live_free(l);

    struct str text = buf_view(&saved);
    now_ns = 123456789; /* another process has another monotonic clock */
    assert_int_equal(level_after_restart(text, 1000000, false), 90000000);
    /* 125,000,000 mt a minute serve 31,250,000 in 15 s. */
    assert_int_equal(level_after_restart(text, 16000000, false), 90000000 - 31250000);
    assert_int_equal(level_after_restart(text, INT64_C(3600000000), false), 0);
    /* A wall clock that went back serves nothing. */
    assert_int_equal(level_after_restart(text, 0, false), 90000000);

    /* Cut anywhere, it is half full or what was saved, never empty. */
    for (size_t n = 0; n + 1 < text.n; n++) {
        int64_t level = level_after_restart((struct str){text.p, n}, 1000000, true);
        assert_true(level == 90000000 || level == 125000000 / 2);
    }
    buf_destroy(&saved);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_resize_keeps_the_level_and_a_deletion_forgets_it),
        cmocka_unit_test(a_patch_binds_the_accounts_that_changed_and_shares_the_others),
        cmocka_unit_test(levels_survive_a_restart_less_what_was_served_meanwhile),
    };
    return cmocka_run_group_tests_name("live", tests, NULL, NULL);
}
