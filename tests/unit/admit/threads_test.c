/*
 * threads_test.c - the lock-free words under real threads: what was decided, put in order, is a run
 * of the law, and nothing is lost. Meant to run under the thread sanitizer too.
 *
 * Checks inside a thread only count; the test looks at the counts when all have ended, since cmocka
 * leaves a failed test by a long jump.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "admit/bucket.h"
#include "admit/estimator.h"
#include "admit/minute.h"
#include "admit/standard.h"
#include "base/buf.h"
#include "base/wide.h"
#include "support/random.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#define SEED 20261127

enum { N_THREADS = 4, N_CALLS = 40000 };

static atomic_int n_wrong, n_waiting;
static atomic_bool is_over;

static void expect(bool is_right) {
    if (!is_right)
        atomic_fetch_add(&n_wrong, 1);
}

/* A clock that all threads share and that moves with every reading, as a real one does. */
struct ticking {
    _Atomic(int64_t) *now;
    int64_t step;
    int64_t last; /* what this thread read last, so what its decision used */
};

static int64_t tick(void *arg) {
    struct ticking *c = arg;
    c->last = atomic_fetch_add(c->now, c->step);
    return c->last;
}

/* Lets all threads begin together: a thread takes longer to start than many a test to run. */
static void wait_for_all(void) {
    atomic_fetch_sub(&n_waiting, 1);
    while (atomic_load(&n_waiting) > 0)
        sched_yield();
}

/* Runs `work` with the arguments 0 to N_THREADS - 1, and `beside` until they are done. */
static void run(void *(*work)(void *), void *(*beside)(void *)) {
    pthread_t threads[N_THREADS], extra;
    atomic_store(&n_wrong, 0);
    atomic_store(&n_waiting, N_THREADS);
    atomic_store(&is_over, false);
    if (beside)
        assert_int_equal(pthread_create(&extra, NULL, beside, NULL), 0);
    for (intptr_t i = 0; i < N_THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work, (void *)i), 0);
    for (int i = 0; i < N_THREADS; i++)
        pthread_join(threads[i], NULL);
    atomic_store(&is_over, true);
    if (beside)
        pthread_join(extra, NULL);
    assert_int_equal(atomic_load(&n_wrong), 0);
}

static struct bucket bucket;
static _Atomic(int64_t) now_ns;

/* ---- every decision at its own moment ---- */

/* About one mt a ns, and no divisor of anything. */
#define RATE INT64_C(59999999999)
#define COST_MAX 3000

struct charge {
    int64_t mark; /* V right after it */
    int64_t t, cost, level_before, level;
};
static struct charge *charges[N_THREADS];
static int n_charges[N_THREADS];

static void *charge_and_log(void *arg) {
    intptr_t me = (intptr_t)arg;
    struct random r = {SEED + (uint64_t)me};
    struct ticking ticking = {&now_ns, 1000, 0};
    struct clock clock = {tick, &ticking};
    wait_for_all();
    for (int i = 0; i < N_CALLS; i++) {
        /* Now and then everything drains, so that charges also meet an empty bucket. */
        if (random_once_in(&r, 10000))
            atomic_fetch_add(&now_ns, 20 * NS_PER_MS);
        int64_t cost = random_between(&r, 1, COST_MAX);
        struct bucket_verdict v = bucket_admit(&bucket, cost, &clock);
        int64_t depth = bucket_depth_mt(&bucket);
        expect(v.admitted == (v.level_before_mt < depth));
        expect(v.admitted == (v.retry_after_ms == 0));
        if (!v.admitted) {
            expect(v.level_mt == v.level_before_mt);
            continue;
        }
        int64_t served = (int64_t)((i128)RATE * ticking.last / NS_PER_MIN);
        charges[me][n_charges[me]++] =
            (struct charge){served + v.level_mt, ticking.last, cost, v.level_before_mt, v.level_mt};
    }
    return NULL;
}

/* Epochs change all the time, and nobody may notice: the check above knows no epochs. */
static void *rebase_all_the_time(void *arg) {
    (void)arg;
    while (!atomic_load(&is_over)) {
        bucket_rebase(&bucket, atomic_load(&now_ns));
        sched_yield();
    }
    return NULL;
}

static int by_mark(const void *a, const void *b) {
    int64_t x = ((const struct charge *)a)->mark, y = ((const struct charge *)b)->mark;
    return x < y ? -1 : x > y;
}

/* Without refunds the mark only rises, so the marks that the verdicts imply order all charges as
 * they happened. Each must follow from the one before it by the law, to the last unit. */
static void charges_of_all_threads_form_one_run_of_the_law(void **state) {
    (void)state;
    atomic_store(&now_ns, 0);
    bucket_init(&bucket, RATE, 2, 0);
    for (int i = 0; i < N_THREADS; i++) {
        charges[i] = xcalloc(N_CALLS, sizeof **charges);
        n_charges[i] = 0;
    }
    run(charge_and_log, rebase_all_the_time);

    struct charge *all = xcalloc(N_THREADS * N_CALLS, sizeof *all);
    size_t n = 0;
    for (int i = 0; i < N_THREADS; i++) {
        for (int k = 0; k < n_charges[i]; k++)
            all[n++] = charges[i][k];
        free(charges[i]);
    }
    qsort(all, n, sizeof *all, by_mark);
    int64_t depth = bucket_depth_mt(&bucket), mark = 0, sum = 0, lifts = 0;
    for (size_t i = 0; i < n; i++) {
        int64_t served = all[i].mark - all[i].level;
        assert_int_equal(all[i].level_before, i64_max(0, mark - served));
        assert_true(mark - served < depth);
        assert_true(all[i].level < depth + COST_MAX);
        lifts += i64_max(0, served - mark);
        mark = i64_max(mark, served) + all[i].cost;
        assert_int_equal(all[i].mark, mark);
        sum += all[i].cost;
    }
    assert_int_equal(atomic_load(&bucket.finish_mt), mark);
    assert_int_equal(mark, sum + lifts);
    assert_true(sum <= bucket_served_mt(&bucket, atomic_load(&now_ns)) + depth + COST_MAX);
    assert_true(lifts > 0);
    assert_true(n > N_CALLS && n < N_THREADS * N_CALLS); /* some were refused */
    free(all);
}

/* ---- nothing is lost while the size changes ---- */

static const int64_t sizes[] = {50000, 75000, 110000};
#define SIZE_MAX_MT 110000
static _Atomic(int64_t) sum_posted;

static void *charge_and_refund(void *arg) {
    struct random r = {SEED + 10 + (uint64_t)(intptr_t)arg};
    struct ticking frozen = {&now_ns, 0, 0};
    struct clock clock = {tick, &frozen};
    int64_t posted = 0;
    wait_for_all();
    for (int i = 0; i < N_CALLS; i++) {
        int64_t cost = random_between(&r, 1, COST_MAX);
        struct bucket_verdict v = bucket_admit(&bucket, cost, &clock);
        /* Rate, depth and level of one epoch: the share must fit one of the sizes. */
        bool fits = false;
        for (size_t k = 0; k < ARRAY_LEN(sizes); k++)
            fits |= v.util_ppm == v.level_mt * 1000000 / sizes[k] &&
                    v.admitted == (v.level_before_mt < sizes[k]);
        expect(fits);
        expect(v.level_mt < SIZE_MAX_MT + COST_MAX);
        if (!v.admitted)
            continue;
        posted += cost;
        if (random_once_in(&r, 10)) {
            expect(bucket_adjust(&bucket, 500, &clock) >= 500);
            expect(bucket_adjust(&bucket, -500, &clock) >= 0);
        }
        if (!random_once_in(&r, 50)) {
            bucket_adjust(&bucket, -cost, &clock);
            posted -= cost;
        }
    }
    atomic_fetch_add(&sum_posted, posted);
    return NULL;
}

static void *resize_all_the_time(void *arg) {
    (void)arg;
    int64_t t = atomic_load(&now_ns);
    for (size_t i = 0; !atomic_load(&is_over); i++) {
        bucket_resize(&bucket, t, sizes[i % ARRAY_LEN(sizes)]);
        expect(bucket_level_mt(&bucket, t) < SIZE_MAX_MT + COST_MAX + 500 * N_THREADS);
        expect(bucket_util_ppm(&bucket, t) >= 0);
        sched_yield();
    }
    return NULL;
}

static void the_word_is_the_sum_of_all_posts_while_the_size_changes(void **state) {
    (void)state;
    int64_t t = 77777 * NS_PER_S;
    atomic_store(&now_ns, t);
    atomic_store(&sum_posted, 0);
    bucket_init(&bucket, sizes[0], 60000, 0);
    bucket_restore(&bucket, t, 0);
    int64_t start = atomic_load(&bucket.finish_mt);
    run(charge_and_refund, resize_all_the_time);
    assert_int_equal(atomic_load(&bucket.finish_mt) - start, atomic_load(&sum_posted));
    assert_true(atomic_load(&sum_posted) > sizes[0]);
}

/* ---- the standard word ---- */

enum { MINUTES = 8, RPM = 600, TPM = 20000, EST_MAX = 300 };
static struct standard standard;
static _Atomic(int64_t) tokens_of[MINUTES + 1], requests_of[(MINUTES + 1) * 60];

static void *request_and_count(void *arg) {
    struct random r = {SEED + 20 + (uint64_t)(intptr_t)arg};
    struct ticking ticking = {&now_ns, 10 * NS_PER_MS, 0};
    struct clock clock = {tick, &ticking};
    wait_for_all();
    while (atomic_load(&now_ns) < MINUTES * NS_PER_MIN) {
        int64_t est = random_between(&r, 1, EST_MAX);
        struct standard_verdict v = standard_admit(&standard, est, &clock);
        expect(v.admitted == (v.retry_after_ms == 0));
        expect(v.remaining_requests >= 0 && v.remaining_tokens >= 0);
        if (v.admitted) {
            atomic_fetch_add(&tokens_of[ticking.last / NS_PER_MIN], est);
            atomic_fetch_add(&requests_of[ticking.last / NS_PER_S], 1);
        }
        if (random_once_in(&r, 100))
            standard_touch(&standard, &clock);
    }
    return NULL;
}

static void no_minute_and_no_window_takes_more_than_its_limit(void **state) {
    (void)state;
    for (int is_strict = 0; is_strict < 2; is_strict++) {
        atomic_store(&now_ns, 0);
        for (size_t i = 0; i < ARRAY_LEN(tokens_of); i++)
            atomic_store(&tokens_of[i], 0);
        for (size_t i = 0; i < ARRAY_LEN(requests_of); i++)
            atomic_store(&requests_of[i], 0);
        standard_init(&standard, RPM, TPM, 0, is_strict, 0);
        run(request_and_count, NULL);
        for (int m = 0; m < MINUTES; m++) {
            int64_t tokens = atomic_load(&tokens_of[m]);
            if (is_strict)
                assert_in_range(tokens, TPM - EST_MAX, TPM);
            else
                assert_in_range(tokens, TPM, TPM + EST_MAX - 1);
            /* 20000 tokens are at least 66 requests, so the first six windows are full. */
            for (int w = 0; w < 60; w++)
                assert_in_range(atomic_load(&requests_of[m * 60 + w]), w < 6 ? 10 : 0, 10);
        }
    }
}

/* ---- the minute metric ---- */

enum { KEPT = 64 };
static struct minute_ring minutes;

static void *post_minutes(void *arg) {
    struct random r = {SEED + 30 + (uint64_t)(intptr_t)arg};
    int64_t posted = 0;
    wait_for_all();
    for (int i = 0; i < N_CALLS; i++) {
        int64_t delta = random_between(&r, -500, 900);
        minute_post(&minutes, (KEPT + i * KEPT / N_CALLS) * NS_PER_MIN, delta);
        posted += delta;
    }
    atomic_fetch_add(&sum_posted, posted);
    return NULL;
}

/* The slots hold other minutes before, so that each new minute takes one over in the open. */
static void no_post_is_lost_when_a_minute_begins(void **state) {
    (void)state;
    struct minute_slot slots[KEPT];
    for (int round = 0; round < 5; round++) {
        minute_init(&minutes, slots, KEPT);
        for (int i = 0; i < KEPT; i++)
            minute_post(&minutes, i * NS_PER_MIN, 1000000 + i);
        atomic_store(&sum_posted, 0);
        run(post_minutes, NULL);
        int64_t sum = 0;
        for (int i = 0; i < KEPT; i++) {
            assert_int_equal(minute_net_mt(&minutes, i), 0);
            sum += minute_net_mt(&minutes, KEPT + i);
        }
        assert_int_equal(sum, atomic_load(&sum_posted));
    }
}

/* ---- the learned lengths ---- */

static struct output_model model;

static void *observe_and_ask(void *arg) {
    struct random r = {SEED + 40 + (uint64_t)(intptr_t)arg};
    wait_for_all();
    for (int i = 0; i < N_CALLS; i++) {
        int64_t prompt = random_below(&r, 40000);
        output_model_observe(&model, prompt, random_below(&r, 5000), false);
        int64_t tokens = output_model_estimate(&model, prompt);
        expect(tokens >= ESTIMATOR_LO && tokens <= ESTIMATOR_HI);
    }
    return NULL;
}

static void observations_of_all_threads_count_once_or_not_at_all(void **state) {
    (void)state;
    output_model_init(&model, ESTIMATOR_HI);
    run(observe_and_ask, NULL);
    int64_t sum = 0;
    for (int i = 0; i < OUTPUT_MODEL_CLASSES; i++)
        sum += atomic_load(&model.of_class[i].n);
    assert_int_equal(sum, atomic_load(&model.of_all.n));
    assert_in_range(sum, N_CALLS / 10, N_THREADS * N_CALLS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(charges_of_all_threads_form_one_run_of_the_law),
        cmocka_unit_test(the_word_is_the_sum_of_all_posts_while_the_size_changes),
        cmocka_unit_test(no_minute_and_no_window_takes_more_than_its_limit),
        cmocka_unit_test(no_post_is_lost_when_a_minute_begins),
        cmocka_unit_test(observations_of_all_threads_count_once_or_not_at_all),
    };
    print_message("seed %d\n", SEED);
    return cmocka_run_group_tests_name("threads", tests, NULL, NULL);
}
