#include "cmd/bench_swaps.h"

#include "cmd/cmd.h"
#include "cmd/settings.h"
#include "gateway/counting.h"
#include "gateway/gateway.h"
#include "os/os.h"
#include "json/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { EACH = 10, TEXT_MAX = 1 << 30 }; /* deployments an account */

/* A data plane of one loop, without listeners and calls: what a swap does to it is the same. */
struct swaps {
    struct siphash_key hash;
    struct loop *loop;
    struct live *live;
    struct gateway *gateway;
    struct plan *plan;
    struct plan_yard yard;
    struct snapshot *snapshot; /* one reference */
    int64_t n_accounts;
};

/* Times of one kind of change, in nanoseconds. */
struct times {
    int64_t *prepare; /* off the loop */
    int64_t *swap; /* on it: processor time, so that what else runs on the machine is not in it */
    size_t n;
};

static int64_t thread_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* --- configurations --- */

static const char ground[] =
    "{\"id\":\"/providers/Weir.Capacity/locations/here\",\"properties\":{}},"
    "{\"id\":\"/providers/Weir.Capacity/pools/p\",\"location\":\"here\",\"properties\":{"
    "\"ptus\":100000000,\"models\":[{\"name\":\"gpt-4o-mini\"}]}},"
    "{\"id\":\"/providers/Weir.Capacity/pools/p/backends/b\",\"properties\":{"
    "\"url\":\"http://127.0.0.1:9\"}}";

static void put_account(struct buf *out, int64_t account, int64_t units) {
    char id[200];
    snprintf(id, sizeof id,
             "/subscriptions/s/resourceGroups/bench/providers/Microsoft.CognitiveServices/accounts/"
             "bench-%06lld",
             (long long)account);
    buf_printf(out,
               ",{\"id\":\"%s\",\"location\":\"here\",\"properties\":{\"customSubDomainName\":"
               "\"bench-%06lld\",\"keys\":{\"key1\":\"the-key-number-%06lld\"}}}",
               id, (long long)account, (long long)account);
    for (int d = 0; d < EACH; d++)
        buf_printf(
            out,
            ",{\"id\":\"%s/deployments/chat-%d\",\"sku\":{\"name\":\"%s\",\"capacity\":%lld},"
            "\"properties\":{\"model\":{\"name\":\"gpt-4o-mini\"}}}",
            id, d, d % 2 ? "ProvisionedManaged" : "Standard", 100 * (long long)units);
}

static struct resources *end_set(struct buf *text) {
    struct problem why;
    text->p[0] = '[';
    buf_char(text, ']');
    buf_reserve_slack(text, 0, JSON_PADDING);
    struct resources *set = resources_new();
    enum status st = resources_add(set, STR("bench"), text->p, text->len, &why);
    assert(st == ST_OK);
    buf_destroy(text);
    return set;
}

static struct resources *whole_set(const struct swaps *s, int64_t units) {
    struct buf text;
    buf_init(&text, TEXT_MAX);
    buf_char(&text, '[');
    buf_put(&text, ground, sizeof ground - 1);
    for (int64_t a = 0; a < s->n_accounts; a++)
        put_account(&text, a, units);
    return end_set(&text);
}

static struct snapshot *make_whole(const struct swaps *s, int64_t units) {
    struct resources *set = whole_set(s, units);
    struct snapshot *made;
    struct problem why;
    enum status st = snapshot_build(set, NULL, &s->hash, &made, &why);
    assert(st == ST_OK);
    resources_free(set);
    return made;
}

static struct snapshot *make_patch(const struct swaps *s, int64_t account, int64_t units) {
    struct buf text;
    struct snapshot *made;
    struct problem why;
    buf_init(&text, TEXT_MAX);
    put_account(&text, account, units);
    struct resources *set = end_set(&text);
    enum status st = snapshot_patch(s->snapshot, NULL, 0, set, NULL, &made, &why);
    assert(st == ST_OK);
    resources_free(set);
    return made;
}

/* --- a swap --- */

/* What serve.c does on the first loop, and each loop with what that one hands it. */
static void swap(struct swaps *s, struct snapshot *next) {
    struct plan *plan;
    struct problem why;
    enum status st = plan_new(next, s->plan, &s->yard, &plan, &why);
    assert(st == ST_OK);
    plan_bind(plan, live_bind(s->live, next));
    if (s->gateway)
        gateway_swap(s->gateway, plan);
    plan_unref(s->plan);
    s->plan = plan;
}

static void measure(struct swaps *s, struct times *t, bool is_patch) {
    for (size_t i = 0; i < t->n; i++) {
        int64_t units = 1 + (int64_t)i % 2;
        int64_t begin = thread_ns();
        struct snapshot *next =
            is_patch ? make_patch(s, (int64_t)i % s->n_accounts, units) : make_whole(s, units);
        t->prepare[i] = thread_ns() - begin;
        begin = thread_ns();
        swap(s, next);
        t->swap[i] = thread_ns() - begin;
        snapshot_unref(s->snapshot);
        s->snapshot = next;
        plan_yard_clear(&s->yard); /* another thread's part */
    }
}

/* --- the command --- */

static int by_size(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static void put_times(struct json_writer *w, const char *name, struct times *t) {
    const struct {
        const char *name;
        int64_t *of;
    } both[] = {{"prepareUs", t->prepare}, {"stallUs", t->swap}};
    json_key(w, str_of(name));
    json_begin_object(w);
    for (size_t i = 0; i < ARRAY_LEN(both); i++) {
        qsort(both[i].of, t->n, sizeof(int64_t), by_size);
        json_key(w, str_of(both[i].name));
        json_begin_object(w);
        json_key(w, STR("median"));
        json_i64_value(w, both[i].of[t->n / 2] / 1000);
        json_key(w, STR("longest"));
        json_i64_value(w, both[i].of[t->n - 1] / 1000);
        json_end_object(w);
    }
    json_end_object(w);
    free(t->prepare);
    free(t->swap);
}

static struct times times_of(int64_t n) {
    return (struct times){xcalloc((size_t)n, sizeof(int64_t)), xcalloc((size_t)n, sizeof(int64_t)),
                          (size_t)n};
}

static void run(int64_t n_deployments, int64_t n_swaps) {
    struct gateway_settings settings = {
        .counting = counting_new(),
        .limits = {.head_bytes = 65536, .body_bytes = 1 << 20, .n_connections = 10},
        .n_loops = 1};
    struct swaps s = {.hash = os_random_key(),
                      .loop = loop_new(),
                      .n_accounts = (n_deployments + EACH - 1) / EACH};
    struct times patches = times_of(n_swaps), wholes = times_of(n_swaps);
    struct buf out;
    struct json_writer w;
    s.live = live_new(&s.hash, &os_clock);
    s.snapshot = make_whole(&s, 1);
    swap(&s, s.snapshot);
    s.gateway = gateway_new(s.loop, &settings, s.plan, NULL);
    measure(&s, &patches, true);
    measure(&s, &wholes, false);
    buf_init(&out, 1 << 16);
    json_writer_init(&w, &out, 0);
    json_begin_object(&w);
    json_key(&w, STR("deployments"));
    json_i64_value(&w, (int64_t)snapshot_n_deployments(s.snapshot));
    json_key(&w, STR("swaps"));
    json_i64_value(&w, n_swaps);
    put_times(&w, "oneAccount", &patches);
    put_times(&w, "everything", &wholes);
    json_end_object(&w);
    printf("%.*s\n", (int)out.len, out.p);
    buf_destroy(&out);
    gateway_free(s.gateway);
    loop_free(s.loop);
    plan_unref(s.plan);
    plan_yard_clear(&s.yard);
    snapshot_unref(s.snapshot);
    live_free(s.live);
    counting_free(settings.counting);
}

int cmd_bench_swaps(int argc, char **argv) {
    int64_t n_deployments = 1000, n_swaps = 200;
    const struct option_row rows[] = {
        {"deployments", OPTION_NUMBER, &n_deployments, 1, 1000000, "N",
         "in accounts of ten [1,000]"},
        {"swaps", OPTION_NUMBER, &n_swaps, 1, 1000000, "N", "of each kind [200]"},
        {.name = NULL},
    };
    int n = options_parse(rows,
                          "usage: weir bench swaps [OPTIONS]\n\n"
                          "Exchanges configurations that differ in one account, and in all, and "
                          "prints how long a loop\nstands still meanwhile, in microseconds of its "
                          "processor time, and what is prepared off it.\n",
                          argc, argv);
    if (n != 0)
        return n < 0 ? options_exit(n) : EXIT_USAGE;
    run(n_deployments, n_swaps);
    return EXIT_OK;
}
