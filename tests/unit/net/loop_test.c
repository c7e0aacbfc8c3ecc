/* loop_test.c - deadlines whose handlers take away what the loop is walking over. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "net/loop.h"

#include <pthread.h>
#include <stdlib.h>

/* Two classes that live and die together, as those of a pool of connections do. */
struct pair {
    struct loop *loop;
    struct deadline_class first, second;
    struct deadline deadline;
    int n_fired;
};

static void end_loop(void *arg) {
    struct pair *p = arg;
    p->n_fired++;
    loop_stop(p->loop);
}

static void never(void *arg) {
    (void)arg;
    fail_msg("a deadline fired that nobody set");
}

static void close_pair(void *arg) {
    struct pair *p = arg;
    deadline_class_close(&p->first);
    deadline_class_close(&p->second);
    free(p);
}

/* The last call of a backend that was taken out of the configuration times out: its connections go,
 * and with them the deadlines that are being walked. */
static void a_handler_may_close_its_own_class_and_the_next(void **state) {
    (void)state;
    struct loop *l = loop_new();
    struct pair *dying = xcalloc(1, sizeof *dying);
    struct pair after = {.loop = l};
    deadline_class_init(&dying->first, l, 1, close_pair);
    deadline_class_init(&dying->second, l, 1, never);
    deadline_class_init(&after.first, l, 1, end_loop);
    deadline_set(&dying->first, l, &dying->deadline, dying);
    deadline_set(&after.first, l, &after.deadline, &after);
    loop_run(l);
    assert_int_equal(after.n_fired, 1);
    deadline_class_close(&after.first);
    loop_free(l);
}

static void a_cleared_deadline_does_not_fire_and_the_others_do_in_order(void **state) {
    (void)state;
    struct loop *l = loop_new();
    struct pair p = {.loop = l};
    struct deadline cleared = {0};
    deadline_class_init(&p.first, l, 1, never);
    deadline_class_init(&p.second, l, 60, end_loop);
    deadline_set(&p.first, l, &cleared, &p);
    deadline_set(&p.second, l, &p.deadline, &p);
    deadline_clear(&cleared);
    int64_t begin = loop_now_ms(l);
    loop_run(l);
    assert_int_equal(p.n_fired, 1);
    assert_true(loop_now_ms(l) - begin >= 60);
    deadline_class_close(&p.first);
    deadline_class_close(&p.second);
    loop_free(l);
}

/* Two threads that post while the loop runs what they posted before. */
enum { POSTS = 5000 };

struct poster {
    struct loop *loop;
    struct poster *all; /* two of them */
    int n_done;
};

struct post {
    struct poster *from;
    int number;
};

static void take_post(void *arg) {
    struct post *m = arg;
    struct poster *p = m->from;
    assert_int_equal(m->number, p->n_done);
    p->n_done++;
    free(m);
    if (p->all[0].n_done + p->all[1].n_done == 2 * POSTS)
        loop_stop(p->loop);
}

static void *post_all(void *arg) {
    struct poster *p = arg;
    for (int i = 0; i < POSTS; i++) {
        struct post *m = xmalloc(sizeof *m);
        *m = (struct post){p, i};
        loop_post(p->loop, take_post, m);
    }
    return NULL;
}

static void messages_of_other_threads_all_come_and_in_order(void **state) {
    (void)state;
    struct poster posters[2];
    pthread_t threads[2];
    struct loop *l = loop_new();
    for (int i = 0; i < 2; i++) {
        posters[i] = (struct poster){.loop = l, .all = posters};
        assert_int_equal(pthread_create(&threads[i], NULL, post_all, &posters[i]), 0);
    }
    loop_run(l);
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(posters[i].n_done, POSTS);
    }
    loop_free(l);
}

static void a_message_that_comes_too_late_runs_when_the_loop_is_freed(void **state) {
    (void)state;
    struct pair p = {.loop = loop_new()};
    loop_stop(p.loop);
    loop_run(p.loop);
    loop_post(p.loop, end_loop, &p);
    assert_int_equal(p.n_fired, 0);
    loop_free(p.loop);
    assert_int_equal(p.n_fired, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_of_other_threads_all_come_and_in_order),
        cmocka_unit_test(a_message_that_comes_too_late_runs_when_the_loop_is_freed),
        cmocka_unit_test(a_handler_may_close_its_own_class_and_the_next),
        cmocka_unit_test(a_cleared_deadline_does_not_fire_and_the_others_do_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
