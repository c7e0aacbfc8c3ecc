/* standard_test.c - the standard word counts to its limits, no further, and says when to return. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "admit/standard.h"
#include "support/random.h"

#define SEED 20261126

static int64_t time_of(void *arg) {
    return *(int64_t *)arg;
}

static struct standard_verdict admit_at(struct standard *s, int64_t t, int64_t est) {
    return standard_admit(s, est, &(struct clock){time_of, &t});
}

static uint64_t word(const struct standard *s) {
    return atomic_load(&s->word);
}

static void the_windows_of_a_minute_take_exactly_its_requests(void **state) {
    (void)state;
    static const int64_t rpms[] = {0, 1, 2, 5, 6, 7, 59, 60, 61, 599, 600, 601, 3000};
    for (size_t i = 0; i < ARRAY_LEN(rpms); i++) {
        struct standard s;
        standard_init(&s, rpms[i], 1000000, 0, false, 0);
        int64_t width = rpms[i] >= 600 ? NS_PER_S : 10 * NS_PER_S, total = 0;
        for (int64_t t = 0; t < NS_PER_MIN; t += width) {
            int64_t left = standard_peek(&s, t).remaining_requests, taken = 0;
            while (admit_at(&s, t, 1).admitted)
                taken++;
            /* What is left is this window's and all later windows'. */
            assert_int_equal(left, rpms[i] - total);
            assert_in_range(taken, rpms[i] * width / NS_PER_MIN, rpms[i] * width / NS_PER_MIN + 1);
            total += taken;
        }
        assert_int_equal(total, rpms[i]);
    }
}

static void a_refused_request_is_not_counted_and_returns_on_time(void **state) {
    (void)state;
    struct random r = {SEED};
    int n_tokens = 0, n_requests = 0;
    for (int round = 0; round < 3000; round++) {
        struct standard s;
        standard_init(&s, random_between(&r, 1, 2000), random_between(&r, 1000, 300000), 0,
                      random_once_in(&r, 2), random_below(&r, NS_PER_MIN));
        int64_t t = random_below(&r, 1000000000000);
        for (int i = 0; i < 40; i++) {
            int64_t est = random_between(&r, 1, 900);
            uint64_t before = word(&s);
            struct standard_verdict v = admit_at(&s, t, est);
            assert_int_equal(v.admitted, v.why == STANDARD_ADMITTED);
            assert_int_equal(v.admitted, v.retry_after_ms == 0);
            if (!v.admitted) {
                n_tokens += v.why == STANDARD_NO_TOKENS;
                n_requests += v.why == STANDARD_NO_REQUESTS;
                assert_int_equal(word(&s), before);
                assert_false(admit_at(&s, t + (v.retry_after_ms - 1) * NS_PER_MS, est).admitted);
                assert_int_equal(word(&s), before);
                assert_true(admit_at(&s, t + v.retry_after_ms * NS_PER_MS, est).admitted);
                t += v.retry_after_ms * NS_PER_MS;
            }
            t += random_below(&r, NS_PER_S);
        }
    }
    assert_true(n_tokens > 100 && n_requests > 100);
}

/* Counts what was admitted minute by minute and window by window, beside the word. */
static void tokens_overshoot_by_one_estimate_or_not_at_all(void **state) {
    (void)state;
    struct random r = {SEED + 1};
    for (int round = 0; round < 400; round++) {
        bool is_strict = round % 2;
        int64_t tpm = random_between(&r, 1000, 20000), phase = random_below(&r, NS_PER_MIN);
        struct standard s;
        standard_init(&s, 600, tpm, 0, is_strict, phase);
        int64_t t = random_below(&r, NS_PER_MIN), minute = -1, tokens = 0, last = 0;
        for (int i = 0; i < 300; i++) {
            t += random_below(&r, 2 * NS_PER_S);
            if ((t + phase) / NS_PER_MIN != minute) {
                minute = (t + phase) / NS_PER_MIN;
                tokens = 0;
            }
            int64_t est = random_between(&r, 1, 2000);
            struct standard_verdict v = admit_at(&s, t, est);
            if (v.admitted) {
                tokens += est;
                last = est;
            } else if (v.why == STANDARD_NO_TOKENS) {
                assert_true(is_strict ? tokens > 0 && tokens + est > tpm : tokens >= tpm);
            }
            if (is_strict)
                assert_true(tokens <= tpm || tokens == last); /* an oversize one passes alone */
            else
                assert_true(tokens < tpm + last);
            assert_int_equal(v.remaining_tokens, i64_max(0, tpm - tokens));
        }
    }
}

static void headers_count_down_to_the_resets(void **state) {
    (void)state;
    struct standard s;
    standard_init(&s, 60, 10000, 0, false, 0);
    int64_t t = 12 * NS_PER_S + 300 * NS_PER_MS;
    struct standard_verdict v = admit_at(&s, t, 400);
    assert_true(v.admitted);
    assert_int_equal(v.limit_requests, 60);
    assert_int_equal(v.limit_tokens, 10000);
    assert_int_equal(v.remaining_requests, 49); /* 10 + 4 * 10 - 1; the first window is past */
    assert_int_equal(v.remaining_tokens, 9600);
    assert_int_equal(v.reset_requests_s, 8);
    assert_int_equal(v.reset_tokens_s, 48);
    uint64_t before = word(&s);
    struct standard_verdict peek = standard_peek(&s, t);
    assert_int_equal(word(&s), before);
    assert_int_equal(peek.remaining_requests, 49);
    assert_int_equal(peek.remaining_tokens, 9600);
    assert_int_equal(peek.retry_after_ms, 0);
    assert_int_equal(standard_peek(&s, 60 * NS_PER_S).remaining_tokens, 10000);
    assert_int_equal(standard_peek(&s, 60 * NS_PER_S).remaining_requests, 60);
}

static void tokens_are_tested_before_requests(void **state) {
    (void)state;
    struct standard s;
    standard_init(&s, 6, 100, 0, false, 0); /* one request in ten seconds */
    assert_true(admit_at(&s, 0, 100).admitted);
    struct standard_verdict v = admit_at(&s, 1, 1);
    assert_int_equal(v.why, STANDARD_NO_TOKENS);
    assert_int_equal(v.retry_after_ms, 60000);
    standard_resize(&s, 6, 200);
    v = admit_at(&s, 1, 1);
    assert_int_equal(v.why, STANDARD_NO_REQUESTS);
    assert_int_equal(v.retry_after_ms, 10000);
    standard_resize(&s, 12, 200);
    assert_true(admit_at(&s, 1, 1).admitted);
    standard_resize(&s, 12, 50); /* below what is counted already */
    assert_int_equal(admit_at(&s, 2, 1).remaining_tokens, 0);
}

static void a_window_without_an_allowance_is_skipped(void **state) {
    (void)state;
    struct standard s;
    standard_init(&s, 2, 100000, 0, false, 0); /* allowances 1 0 0 1 0 0 */
    assert_true(admit_at(&s, 0, 1).admitted);
    assert_int_equal(admit_at(&s, 0, 1).retry_after_ms, 30000);
    assert_int_equal(admit_at(&s, 10 * NS_PER_S, 1).retry_after_ms, 20000);
    assert_true(admit_at(&s, 30 * NS_PER_S, 1).admitted);
    assert_int_equal(admit_at(&s, 40 * NS_PER_S, 1).retry_after_ms, 20000);
}

static void phases_part_the_minutes_of_deployments(void **state) {
    (void)state;
    struct standard s;
    standard_init(&s, 600, 100, 0, false, 59 * NS_PER_S);
    assert_true(admit_at(&s, 0, 100).admitted);
    assert_int_equal(admit_at(&s, 0, 1).retry_after_ms, 1000);
    assert_true(admit_at(&s, NS_PER_S, 1).admitted);
}

/* 65536 minutes later the word would look current again. */
static void a_touch_forgets_an_old_minute(void **state) {
    (void)state;
    struct standard s;
    int64_t days = NS_PER_MIN * 65536, t = days / 2;
    standard_init(&s, 600, 100, 0, false, 0);
    assert_true(admit_at(&s, 0, 100).admitted);
    assert_false(admit_at(&s, days, 1).admitted); /* the fault that the touch is for */
    standard_touch(&s, &(struct clock){time_of, &t});
    assert_true(admit_at(&s, days, 100).admitted);
    t = days;
    standard_touch(&s, &(struct clock){time_of, &t}); /* of the same minute: nothing is lost */
    assert_false(admit_at(&s, days, 1).admitted);
    assert_int_equal(standard_peek(&s, days).remaining_requests, 599);
}

/* A clock that lets another thread's request in at its first reading, as if ours had been held up
 * there; then it shows `later`. */
struct held_up {
    struct standard *s;
    int64_t at, other_at, later;
    int n_readings;
};

static int64_t held_up_now(void *arg) {
    struct held_up *h = arg;
    if (h->n_readings++)
        return h->later;
    assert_true(admit_at(h->s, h->other_at, 70).admitted);
    return h->at;
}

static void a_request_that_loses_the_race_asks_the_clock_again(void **state) {
    (void)state;
    struct standard s;
    standard_init(&s, 600, 100, 0, false, 0);
    /* The other one's minute began meanwhile: its count must stay. */
    struct held_up h = {&s, NS_PER_MIN - 1, NS_PER_MIN + 1, NS_PER_MIN + 2, 0};
    struct standard_verdict v = standard_admit(&s, 20, &(struct clock){held_up_now, &h});
    assert_true(v.admitted);
    assert_int_equal(h.n_readings, 2);
    assert_int_equal(v.remaining_tokens, 10);
    assert_int_equal(v.remaining_requests, 598);
    /* The other one took the last tokens. */
    h = (struct held_up){&s, 2 * NS_PER_MIN, 2 * NS_PER_MIN, 2 * NS_PER_MIN + 1, 0};
    standard_resize(&s, 600, 70);
    assert_false(standard_admit(&s, 20, &(struct clock){held_up_now, &h}).admitted);
    assert_int_equal(standard_peek(&s, 2 * NS_PER_MIN).remaining_requests, 599);
}

static void fields_saturate_instead_of_spilling(void **state) {
    (void)state;
    struct standard s;
    standard_init(&s, 6000000, INT64_MAX, 0, false, 0);
    assert_true(admit_at(&s, 0, INT64_MAX).admitted);
    assert_true(admit_at(&s, 0, INT64_MAX).admitted);
    assert_int_equal(word(&s) & STANDARD_TOKENS_MAX, STANDARD_TOKENS_MAX);
    for (int i = 0; i < 20000; i++)
        assert_true(admit_at(&s, 0, 1).admitted);
    assert_int_equal(word(&s) >> 28 & 16383, STANDARD_REQUESTS_MAX);
    assert_int_equal(word(&s) >> 42, 0);
    standard_init(&s, -1, -1, -1, true, -1);
    assert_false(admit_at(&s, 0, 1).admitted);
    assert_true(admit_at(&s, INT64_MAX, 1).retry_after_ms > 0);
    assert_true(admit_at(&s, INT64_MIN, 1).retry_after_ms > 0);
}

static void estimates_characters_and_choices(void **state) {
    (void)state;
    assert_int_equal(standard_estimate_tokens(973, 231, 1, 1, 1), 475);
    assert_int_equal(standard_estimate_tokens(0, 16, 0, 0, 1), 16);
    assert_int_equal(standard_estimate_tokens(1, 10, 3, 2, 2), 61);
    assert_int_equal(standard_estimate_tokens(8, 10, 2, 3, 2), 62);
    assert_int_equal(standard_estimate_tokens(4, INT64_C(1) << 53, 128, 1, 2048), INT64_MAX);
    assert_int_equal(standard_estimate_tokens(INT64_MAX, INT64_MAX, 1, 1, 1), INT64_MAX);
    assert_int_equal(standard_estimate_tokens(-4, -5, 1, 1, 1), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_windows_of_a_minute_take_exactly_its_requests),
        cmocka_unit_test(a_refused_request_is_not_counted_and_returns_on_time),
        cmocka_unit_test(tokens_overshoot_by_one_estimate_or_not_at_all),
        cmocka_unit_test(headers_count_down_to_the_resets),
        cmocka_unit_test(tokens_are_tested_before_requests),
        cmocka_unit_test(a_window_without_an_allowance_is_skipped),
        cmocka_unit_test(phases_part_the_minutes_of_deployments),
        cmocka_unit_test(a_touch_forgets_an_old_minute),
        cmocka_unit_test(a_request_that_loses_the_race_asks_the_clock_again),
        cmocka_unit_test(fields_saturate_instead_of_spilling),
        cmocka_unit_test(estimates_characters_and_choices),
    };
    print_message("seed %d\n", SEED);
    return cmocka_run_group_tests_name("standard", tests, NULL, NULL);
}
