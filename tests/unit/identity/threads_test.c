/* threads_test.c - loops that check tokens against one set of issuers, while it is replaced. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "identity/token.h"

#include <pthread.h>
#include <stdatomic.h>

enum { N_THREADS = 4, N_CHECKS = 200, N_TOKENS = 3 };

static const int64_t now = INT64_C(1795305600);
static struct rsa_key *key;
static struct buf tokens[N_TOKENS];
static struct trust *newest; /* counted; behind the lock */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_int n_wrong;

static struct trust *make_trust(void) {
    static const struct str audiences[] = {STR_INIT("https://x")};
    struct trust_issuer own = {.audiences = audiences, .n_audiences = 1, .is_own = true};
    struct trust *t = trust_new(TOKEN_SKEW_S);
    trust_add_key(t, &own, key);
    trust_seal(t);
    return t;
}

static struct trust *take_newest(void) {
    pthread_mutex_lock(&lock);
    struct trust *t = trust_ref(newest);
    pthread_mutex_unlock(&lock);
    return t;
}

static void *check_tokens(void *arg) {
    (void)arg;
    struct token_checker *c = token_checker_new(4);
    for (int i = 0; i < N_CHECKS; i++) {
        struct trust *t = take_newest();
        const struct token_claims *claims = NULL;
        struct str token = buf_view(&tokens[i % N_TOKENS]);
        if (token_check(c, t, token, now, &claims, NULL) != TOKEN_GOOD ||
            !str_eq(str_of(claims->object_id), STR("object")))
            atomic_fetch_add(&n_wrong, 1);
        trust_unref(t);
    }
    token_checker_free(c);
    return NULL;
}

static void *replace_trust(void *arg) {
    (void)arg;
    for (int i = 0; i < 50; i++) {
        struct trust *t = make_trust();
        pthread_mutex_lock(&lock);
        struct trust *old = newest;
        newest = t;
        pthread_mutex_unlock(&lock);
        trust_unref(old);
    }
    return NULL;
}

static void many_threads_share_keys_and_issuers(void **state) {
    (void)state;
    key = rsa_key_make();
    for (int i = 0; i < N_TOKENS; i++) {
        struct token_grant grant = {.audience = STR("https://x"),
                                    .object_id = STR("object"),
                                    .now_s = now - i,
                                    .lifetime_s = TOKEN_LIFETIME_S};
        buf_init(&tokens[i], TOKEN_MAX);
        token_issue(key, &grant, &tokens[i]);
    }
    newest = make_trust();
    pthread_t threads[N_THREADS + 1];
    for (int i = 0; i <= N_THREADS; i++)
        assert_int_equal(
            pthread_create(&threads[i], NULL, i < N_THREADS ? check_tokens : replace_trust, NULL),
            0);
    for (int i = 0; i <= N_THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&n_wrong), 0);
    trust_unref(newest);
    rsa_key_unref(key);
    for (int i = 0; i < N_TOKENS; i++)
        buf_destroy(&tokens[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_threads_share_keys_and_issuers),
    };
    return cmocka_run_group_tests_name("threads", tests, NULL, NULL);
}
