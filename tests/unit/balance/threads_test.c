/* threads_test.c - loops that share backends: one probe at a time, and nothing stays in flight. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "balance/balance.h"
#include "base/clock.h"

#include <pthread.h>
#include <sched.h>

enum { N_THREADS = 4, N_CALLS = 4000, N_BACKENDS = 2 };

static struct balance_backend backends[N_BACKENDS];
static struct balance_backend *candidates[N_BACKENDS] = {&backends[0], &backends[1]};
static atomic_int n_out[N_BACKENDS], n_wrong, n_probes;

/* Both breakers are half open all the time, since a silent end teaches nothing. */
static void *probe(void *arg) {
    struct balance_rng rng = {(uint64_t)(intptr_t)arg};
    for (int i = 0; i < N_CALLS; i++) {
        struct balance_ask ask = {.now_ns = 10 * NS_PER_S, .estimate = 3};
        int to = balance_pick(candidates, N_BACKENDS, &ask, &rng);
        if (to < 0) {
            sched_yield();
            continue;
        }
        atomic_fetch_add(&n_probes, 1);
        if (atomic_fetch_add(&n_out[to], 1) != 0)
            atomic_fetch_add(&n_wrong, 1);
        if (i % 16 == 0)
            sched_yield();
        atomic_fetch_sub(&n_out[to], 1);
        struct balance_answer silent = {.outcome = BALANCE_SILENT, .remaining = -1};
        balance_done(&backends[to], ask.now_ns, 3, &silent);
    }
    return NULL;
}

/* Anything may happen; the sums must hold. */
static void *live(void *arg) {
    struct balance_rng rng = {(uint64_t)(intptr_t)arg};
    for (int i = 0; i < N_CALLS; i++) {
        struct balance_ask ask = {.now_ns = i * NS_PER_MS, .estimate = 1 + i % 7};
        int to = balance_pick(candidates, N_BACKENDS, &ask, &rng);
        if (to < 0)
            continue;
        struct balance_answer answer = {
            .outcome = (enum balance_outcome)(balance_rng_next(&rng) % 4),
            .retry_after_ms = 1,
            .remaining = (int64_t)(balance_rng_next(&rng) % 100),
            .reset_ms = 2,
        };
        balance_done(&backends[to], ask.now_ns, ask.estimate, &answer);
    }
    return NULL;
}

static void run(void *(*work)(void *)) {
    pthread_t threads[N_THREADS];
    for (intptr_t i = 0; i < N_THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work, (void *)i), 0);
    for (int i = 0; i < N_THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < N_BACKENDS; i++)
        assert_int_equal(atomic_load(&backends[i].inflight), 0);
}

static void a_half_open_breaker_has_one_probe_at_a_time(void **state) {
    (void)state;
    struct balance_answer failed = {.outcome = BALANCE_FAILED, .remaining = -1};
    for (int i = 0; i < N_BACKENDS; i++) {
        balance_backend_init(&backends[i], 1, 1, 0);
        for (int k = 0; k < BALANCE_FAILS_TO_OPEN; k++)
            balance_done(&backends[i], 0, 0, &failed);
    }
    run(probe);
    assert_int_equal(atomic_load(&n_wrong), 0);
    assert_true(atomic_load(&n_probes) > 100);
}

static void what_was_picked_and_ended_is_no_longer_in_flight(void **state) {
    (void)state;
    for (int i = 0; i < N_BACKENDS; i++)
        balance_backend_init(&backends[i], 1, 1, 0);
    run(live);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_half_open_breaker_has_one_probe_at_a_time),
        cmocka_unit_test(what_was_picked_and_ended_is_no_longer_in_flight),
    };
    return cmocka_run_group_tests_name("balance threads", tests, NULL, NULL);
}
