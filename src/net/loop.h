/* loop.h - an event loop: one thread that owns connections and timers. */
#ifndef NET_LOOP_H
#define NET_LOOP_H

#include "base/base.h"
#include "base/clock.h"
#include "base/list.h"

/* Everything here belongs to the loop's thread, but for loop_post and loop_stop. */
struct loop;

/* The process ignores SIGPIPE from then on. */
struct loop *loop_new(void);

/* Runs until loop_stop, then until everything that was closed is gone. */
void loop_run(struct loop *l);

/* Any thread. Ends loop_run after the events in hand. */
void loop_stop(struct loop *l);

/* After loop_run returned, or instead of it: closes what is still open and frees the loop. */
void loop_free(struct loop *l);

/* Any thread: runs fn(arg) on the loop, in the order posted. False after loop_free began. */
void loop_post(struct loop *l, void (*fn)(void *arg), void *arg);

/* For how long the addresses of a name that conn_connect looked up are used [5 s]; 0: each connection asks
 * anew. Before the loop runs. */
void loop_keep_names(struct loop *l, int64_t ttl_ms);

/* The loop's idea of now, read once a turn: monotonic milliseconds; for deadlines. */
int64_t loop_now_ms(const struct loop *l);

/* --- timers --- */

struct loop_timer;

/* Calls fn after `after_ms` and then every `repeat_ms` (0: once). Freed by loop_timer_close. */
struct loop_timer *loop_timer_new(struct loop *l, int64_t after_ms, int64_t repeat_ms,
                                  void (*fn)(void *arg), void *arg);
/* No call comes after this. NULL is fine. */
void loop_timer_close(struct loop_timer *t);

/* A timer with nanoseconds instead of milliseconds, for pacing streams. Not armed at first. */
struct loop_alarm;
struct loop_alarm *loop_alarm_new(struct loop *l, void (*fn)(void *arg), void *arg);
/* Calls fn once when os_now_ns() reaches `at_ns`; replaces what was set. */
void loop_alarm_set(struct loop_alarm *a, int64_t at_ns);
void loop_alarm_close(struct loop_alarm *a);

/* --- signals --- */

/* Calls fn on this loop when the process gets the signal. Lives as long as the loop. */
void loop_on_signal(struct loop *l, int signal, void (*fn)(void *arg), void *arg);

/* --- work off the loop --- */

/* Runs work(arg) on a pool thread, then done(arg) on the loop. */
void loop_work(struct loop *l, void (*work)(void *arg), void (*done)(void *arg), void *arg);

/* --- deadlines: many, coarse, cheap --- */

/*
 * All deadlines of a class are equally long, so the class is a list in order of time: setting one
 * is a move to the list's end. They fire up to DEADLINE_TICK_MS late, never early.
 */
enum { DEADLINE_TICK_MS = 50 };

struct deadline_class {
    struct list waiting; /* of struct deadline, the next to fire first */
    int64_t after_ms;
    void (*fn)(void *arg);
    struct loop *loop;
    struct list in_loop;
};

/* A zeroed one is not set. Lives inside what it watches, which removes it before it goes. */
struct deadline {
    struct list link;
    int64_t at_ms;
    void *arg;
};

/* fn(arg of the deadline) runs on the loop; it may set and clear any deadline. The class lives as
 * long as the loop. */
void deadline_class_init(struct deadline_class *c, struct loop *l, int64_t after_ms,
                         void (*fn)(void *arg));

/* Before the class goes while its loop lives on; its own handler may do so. No deadline of it may be
 * set. */
void deadline_class_close(struct deadline_class *c);

/* (Re)starts it: it fires after_ms from now. */
void deadline_set(struct deadline_class *c, struct loop *l, struct deadline *d, void *arg);
void deadline_clear(struct deadline *d);

#endif
