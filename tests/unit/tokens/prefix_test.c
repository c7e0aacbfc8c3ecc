/* prefix_test.c - beginnings of prompts: marks, what is predicted, what goes first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <pthread.h>

#include <cmocka.h>

#include "base/clock.h"
#include "support/random.h"
#include "tokens/prefix.h"

static const struct siphash_key key = {1, 2}, other_key = {1, 3};

#define TTL_NS (300 * NS_PER_S)

static struct str bytes_of(const uint32_t *id) {
    return (struct str){(const char *)id, sizeof *id};
}

/* The marks of a prompt of n tokens that goes on as `seed` says; they stay valid until the next. */
static const uint64_t *marks_of(const struct siphash_key *k, uint64_t seed, size_t n,
                                size_t *count) {
    static uint64_t marks[1000];
    struct prefix_chain c;
    struct random dice = {seed};
    struct buf out;
    buf_init(&out, sizeof marks);
    prefix_chain_init(&c, k);
    for (size_t i = 0; i < n; i++) {
        uint32_t id = (uint32_t)random_below(&dice, 200000);
        assert_int_equal(prefix_chain_add(&c, bytes_of(&id), 1, &out), ST_OK);
    }
    *count = out.len / sizeof *marks;
    if (out.len)
        memcpy(marks, out.p, out.len);
    buf_destroy(&out);
    return marks;
}

static void marks_come_with_1024_tokens_and_each_128_more(void **state) {
    (void)state;
    static const struct {
        size_t tokens, marks;
    } cases[] = {{0, 0}, {1023, 0}, {1024, 1}, {1151, 1}, {1152, 2}, {2048, 9}};
    size_t n;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        marks_of(&key, 1, cases[i].tokens, &n);
        assert_int_equal(n, cases[i].marks);
    }
}

static void marks_depend_on_key_and_all_tokens_before(void **state) {
    (void)state;
    size_t n;
    uint64_t first = marks_of(&key, 1, 1024, &n)[0];
    assert_true(marks_of(&key, 1, 3000, &n)[0] == first);
    assert_true(marks_of(&key, 2, 1024, &n)[0] != first);
    assert_true(marks_of(&other_key, 1, 1024, &n)[0] != first);
    /* However the tokens come. */
    struct prefix_chain c;
    struct buf out;
    uint32_t ids[1500];
    struct random dice = {1};
    buf_init(&out, 1 << 10);
    prefix_chain_init(&c, &key);
    for (size_t i = 0; i < ARRAY_LEN(ids); i++)
        ids[i] = (uint32_t)random_below(&dice, 200000);
    for (size_t at = 0, step; at < ARRAY_LEN(ids); at += step) {
        step = size_min((size_t)random_between(&dice, 1, 400), ARRAY_LEN(ids) - at);
        step = size_min(step, prefix_chain_wants(&c));
        struct str bytes = {(const char *)(ids + at), step * sizeof *ids};
        assert_int_equal(prefix_chain_add(&c, bytes, (uint32_t)step, &out), ST_OK);
    }
    const uint64_t *whole = marks_of(&key, 1, 1500, &n);
    assert_int_equal(out.len, n * sizeof *whole);
    assert_memory_equal(out.p, whole, out.len);
    buf_clear(&out);
    out.ceiling = 0;
    prefix_chain_init(&c, &key);
    struct str bytes = {(const char *)ids, PREFIX_FIRST * sizeof *ids};
    assert_int_equal(prefix_chain_add(&c, bytes, PREFIX_FIRST, &out), ST_TOO_LARGE);
    buf_destroy(&out);
}

static void predicts_what_was_committed_until_it_is_too_old(void **state) {
    (void)state;
    struct prefix_table t;
    size_t n;
    prefix_init(&t, 100);
    const uint64_t *marks = marks_of(&key, 1, 1024 + 3 * 128 + 5, &n);
    assert_int_equal(prefix_predict(&t, marks, n, 0, TTL_NS), 0);
    prefix_commit(&t, marks, 2, 10, 3);
    assert_int_equal(prefix_predict(&t, marks, n, 10, TTL_NS), 1024 + 128);
    assert_int_equal(prefix_predict(&t, marks, 1, 10, TTL_NS), 1024);
    assert_int_equal(prefix_predict(&t, marks, n, 10 + TTL_NS - 1, TTL_NS), 1024 + 128);
    assert_int_equal(prefix_predict(&t, marks, n, 10 + TTL_NS, TTL_NS), 0);
    prefix_commit(&t, marks, 1, 20, 3); /* the beginning is seen again, the end is not */
    assert_int_equal(prefix_predict(&t, marks, n, 10 + TTL_NS, TTL_NS), 1024);
    prefix_destroy(&t);
}

static void tells_backends_apart(void **state) {
    (void)state;
    struct prefix_table t;
    size_t n;
    int64_t affinity[PREFIX_BACKENDS];
    prefix_init(&t, 100);
    const uint64_t *marks = marks_of(&key, 1, 1024 + 2 * 128, &n);
    prefix_commit(&t, marks, 1, 0, 2);
    prefix_commit(&t, marks, 3, 0, 5);
    prefix_commit(&t, marks, 3, 0, -1);
    prefix_commit(&t, marks, 3, 0, PREFIX_BACKENDS);
    prefix_affinity(&t, marks, n, 1, TTL_NS, affinity);
    for (int i = 0; i < PREFIX_BACKENDS; i++)
        assert_int_equal(affinity[i], i == 2 ? 1024 : i == 5 ? 1024 + 256 : 0);
    prefix_affinity(&t, marks, n, TTL_NS, TTL_NS, affinity);
    assert_int_equal(affinity[5], 0);
    prefix_destroy(&t);
}

/* Against a table that is a plain list: the same predictions, whatever comes and goes. */
static void keeps_the_latest_and_never_more_than_it_may(void **state) {
    (void)state;
    enum { CAPACITY = 37, ROUNDS = 3000 };
    struct {
        uint64_t mark;
        int64_t seen_ns, order;
    } slow[CAPACITY];
    size_t n_slow = 0;
    int64_t order = 0;
    struct prefix_table t;
    struct random dice = {7};
    prefix_init(&t, CAPACITY);
    for (int64_t now = 0; now < ROUNDS * NS_PER_S; now += NS_PER_S * random_between(&dice, 1, 9)) {
        size_t n;
        const uint64_t *marks = marks_of(&key, (uint64_t)random_between(&dice, 1, 6),
                                         (size_t)random_between(&dice, 900, 2300), &n);
        size_t hit = 0;
        for (; hit < n; hit++) {
            size_t i = 0;
            while (i < n_slow && slow[i].mark != marks[hit])
                i++;
            if (i == n_slow || now - slow[i].seen_ns >= TTL_NS)
                break;
        }
        assert_int_equal(prefix_predict(&t, marks, n, now, TTL_NS),
                         hit ? 1024 + 128 * ((int64_t)hit - 1) : 0);
        if (random_once_in(&dice, 3))
            continue;
        prefix_commit(&t, marks, n, now, 0);
        for (size_t k = n; k-- > 0;) {
            size_t i = 0, oldest = 0;
            while (i < n_slow && slow[i].mark != marks[k])
                i++;
            for (size_t j = 1; j < n_slow; j++)
                oldest = slow[j].order < slow[oldest].order ? j : oldest;
            if (i == n_slow && n_slow == CAPACITY)
                i = oldest;
            n_slow += i == n_slow;
            slow[i].mark = marks[k];
            slow[i].seen_ns = now;
            slow[i].order = order++;
        }
        assert_int_equal(t.n_used, n_slow);
    }
    assert_int_equal(t.n_used, CAPACITY);
    prefix_destroy(&t);
    prefix_destroy(&t); /* zeroed by now */
}

/* Threads that ask and commit at once: what two of them commit again and again stays known, what nobody
 * committed is never found, and no commit is lost. */
enum { SHARED_ROUNDS = 2000, SHARED_PROMPTS = 4, SHARED_MARKS = 12 };

struct shared {
    struct prefix_table table;
    uint64_t marks[SHARED_PROMPTS][SHARED_MARKS];
};

static char complaints[2];
#define FOUND_STRANGER (&complaints[0])
#define FOUND_TOO_MUCH (&complaints[1])

static void *commit_and_ask(void *arg) {
    struct shared *s = arg;
    uint64_t stranger = 12345;
    for (int i = 0; i < SHARED_ROUNDS; i++) {
        const uint64_t *marks = s->marks[i % SHARED_PROMPTS];
        prefix_commit(&s->table, marks, SHARED_MARKS, i, i % 3);
        if (prefix_predict(&s->table, &stranger, 1, i, TTL_NS) != 0)
            return FOUND_STRANGER;
        int64_t cached = prefix_predict(&s->table, marks, SHARED_MARKS, i, TTL_NS);
        if (cached < 0 || cached > PREFIX_FIRST + (SHARED_MARKS - 1) * PREFIX_STEP)
            return FOUND_TOO_MUCH;
    }
    return NULL;
}

static void serves_several_threads(void **state) {
    (void)state;
    static struct shared s;
    /* Room for half of them, so that entries come and go all the time; then for all. */
    for (int all = 0; all < 2; all++) {
        pthread_t threads[3];
        prefix_init(&s.table, all ? SHARED_MARKS * SHARED_PROMPTS : SHARED_MARKS * 2);
        for (int p = 0; p < SHARED_PROMPTS; p++) {
            size_t n;
            memcpy(s.marks[p], marks_of(&key, (uint64_t)p + 1, 1024 + 128 * (SHARED_MARKS - 1), &n),
                   sizeof s.marks[p]);
        }
        for (size_t i = 0; i < ARRAY_LEN(threads); i++)
            assert_int_equal(pthread_create(&threads[i], NULL, commit_and_ask, &s), 0);
        for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
            void *complaint;
            pthread_join(threads[i], &complaint);
            assert_null(complaint);
        }
        for (int p = 0; all && p < SHARED_PROMPTS; p++)
            assert_int_equal(
                prefix_predict(&s.table, s.marks[p], SHARED_MARKS, SHARED_ROUNDS, TTL_NS),
                1024 + 128 * (SHARED_MARKS - 1));
        assert_null(atomic_load(&s.table.jobs));
        prefix_destroy(&s.table);
    }
}

static void trust_grows_and_shrinks_with_what_was_wrong(void **state) {
    (void)state;
    struct prefix_trust t;
    prefix_trust_init(&t);
    assert_int_equal(prefix_trust_ttl_ns(&t), 300 * NS_PER_S);
    /* 3 % were wrong: half as long, and never less than a minute. */
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 1000; i++)
            prefix_trust_learn(&t, 1024, i % 100 < 3 ? 0 : 1024);
        assert_int_equal(prefix_trust_ttl_ns(&t) / NS_PER_S, round == 0   ? 150
                                                             : round == 1 ? 75
                                                                          : 60);
    }
    /* 1 %: as it is. None: a tenth longer, and never more than ten minutes. */
    for (int i = 0; i < 1000; i++)
        prefix_trust_learn(&t, 1024, i % 100 == 0 ? 0 : 2048);
    assert_int_equal(prefix_trust_ttl_ns(&t), 60 * NS_PER_S);
    for (int i = 0; i < 1000; i++)
        prefix_trust_learn(&t, 1024, 1024);
    assert_int_equal(prefix_trust_ttl_ns(&t), 66 * NS_PER_S);
    for (int i = 0; i < 100000; i++)
        prefix_trust_learn(&t, 1024, 1024);
    assert_int_equal(prefix_trust_ttl_ns(&t), PREFIX_TTL_MAX_NS);
    /* What was not predicted teaches nothing. */
    for (int i = 0; i < 5000; i++)
        prefix_trust_learn(&t, 0, 0);
    assert_int_equal(prefix_trust_ttl_ns(&t), PREFIX_TTL_MAX_NS);
    /* Who never says what was cached is not believed to have anything, until he says. */
    for (int i = 0; i < PREFIX_SILENT_MAX; i++) {
        assert_int_equal(prefix_trust_ttl_ns(&t), PREFIX_TTL_MAX_NS);
        prefix_trust_learn(&t, 1024, -1);
    }
    assert_int_equal(prefix_trust_ttl_ns(&t), 0);
    struct prefix_table table;
    uint64_t mark = 7;
    prefix_init(&table, 10);
    prefix_commit(&table, &mark, 1, 1000, 0);
    assert_int_equal(prefix_predict(&table, &mark, 1, 0, 0), 0); /* even one seen later than now */
    prefix_destroy(&table);
    prefix_trust_learn(&t, 0, 0);
    assert_int_equal(prefix_trust_ttl_ns(&t), PREFIX_TTL_MAX_NS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(marks_come_with_1024_tokens_and_each_128_more),
        cmocka_unit_test(marks_depend_on_key_and_all_tokens_before),
        cmocka_unit_test(predicts_what_was_committed_until_it_is_too_old),
        cmocka_unit_test(tells_backends_apart),
        cmocka_unit_test(keeps_the_latest_and_never_more_than_it_may),
        cmocka_unit_test(serves_several_threads),
        cmocka_unit_test(trust_grows_and_shrinks_with_what_was_wrong),
    };
    return cmocka_run_group_tests_name("prefix", tests, NULL, NULL);
}
