/* random_calls_test.c - thousands of random lives of calls at once; the books always balance. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "scenario/ledger.h"
#include "support/random.h"
#include "tokens/estimate.h"

enum { CALLS = 10, STEPS = 250 };

/* What the test knows of one call: enough to say what it must cost, without asking the program. */
struct life {
    struct rig_call rc;
    bool is_used;
    const char *deployment;
    bool is_stream;
    int64_t prompt, max_tokens; /* -1: none given */
    int64_t estimated_output;   /* of a call without max_tokens, as it was charged */
    /* The backend's side. */
    bool has_sent, has_head, is_drained, has_finished;
    bool has_chunk, has_bytes,
        has_ended; /* something of a stream can be read; any byte; all came */
    bool answers_with_stream;
    int status;
    int64_t deltas, deltas_at_usage;
    int64_t usage_prompt, usage_cached, usage_output; /* -1: not said */
    struct buf queue;                                 /* of the answer, not given yet */
};

static int64_t expected_output(const struct life *l) {
    bool is_stream = l->has_head ? l->answers_with_stream : l->is_stream;
    int64_t reported = l->usage_output;
    if (l->max_tokens >= 0)
        reported = i64_min(reported, i64_max(l->max_tokens, l->deltas));
    if (reported >= 0)
        return (l->has_finished && l->deltas == l->deltas_at_usage) || reported > l->deltas
                   ? reported
                   : l->deltas;
    if (l->has_ended && l->has_bytes && !l->has_chunk)
        return l->estimated_output; /* nobody can count it */
    return is_stream ? l->deltas : l->estimated_output;
}

static int64_t expected_charge(const struct life *l, bool is_executed) {
    if (!is_executed)
        return 0;
    int64_t prompt = l->usage_prompt >= 0 ? l->usage_prompt : l->prompt;
    return cost_mt(prompt, l->usage_cached, expected_output(l));
}

/* --- one world --- */

struct world {
    struct rig rig;
    struct random r;
    struct life lives[CALLS];
    struct ledger before;
    int64_t settled_mt; /* charges of the provisioned calls that ended, by the test's own count */
    int64_t n_admitted, n_refused, n_settled;
    int64_t word_calls; /* admitted standard calls */
};

static const char *words[] = {"a", "word", "and then some more", "\xe4\xb8\xad\xe6\x96\x87"};

static void start(struct world *w, struct life *l) {
    struct random *r = &w->r;
    struct buf body;
    const char *text = words[random_below(r, ARRAY_LEN(words))];
    memset(l, 0, sizeof *l);
    l->is_used = true;
    l->deployment = random_once_in(r, 3) ? "std" : "ptu";
    l->is_stream = !random_once_in(r, 3);
    l->prompt = tokens_estimate(str_of(text)) + 3 + 1 + 3;
    l->max_tokens = random_once_in(r, 3) ? -1 : random_below(r, 900);
    l->usage_prompt = l->usage_cached = l->usage_output = -1;
    buf_init(&l->queue, 1 << 20);
    buf_init(&body, 4096);
    buf_printf(&body, "{\"messages\":[{\"role\":\"user\",\"content\":\"%s\"}],\"stream\":%s", text,
               l->is_stream ? "true" : "false");
    if (l->max_tokens >= 0)
        buf_printf(&body, ",\"max_tokens\":%lld", (long long)l->max_tokens);
    buf_lit(&body, "}");
    struct ledger before = ledger_read(&w->rig, l->deployment);
    rig_call_init(&l->rc, &w->rig);
    enum call_action a = rig_submit(&l->rc, l->deployment, buf_view(&body));
    struct ledger after = ledger_read(&w->rig, l->deployment);
    struct call *c = &l->rc.call;
    buf_destroy(&body);
    if (a == CALL_SEND) {
        w->n_admitted++;
        l->estimated_output = c->receipt.output_estimate;
        if (l->max_tokens >= 0)
            assert_int_equal(l->estimated_output, l->max_tokens);
        assert_int_equal(c->receipt.prompt_estimate, l->prompt);
        if (*l->deployment == 'p')
            assert_int_equal(after.mark - before.mark, cost_mt(l->prompt, 0, l->estimated_output));
        return;
    }
    assert_int_equal(a, CALL_REPLY);
    assert_int_equal(c->reply_status, 429);
    if (c->receipt.outcome == ST_UPSTREAM_BUSY) {
        /* Admitted, but nobody could take it: settled at once, for nothing. */
        w->n_admitted++;
        w->n_settled++;
        assert_int_equal(c->state, CALL_SETTLED);
        assert_int_equal(after.mark, before.mark);
        assert_int_equal(after.inflight, before.inflight);
    } else {
        w->n_refused++;
        assert_int_equal(c->state, CALL_NEW);
        before.refused++;
        assert_memory_equal(&before, &after, sizeof after);
    }
    rig_call_destroy(&l->rc);
    buf_destroy(&l->queue);
    l->is_used = false;
}

/* The call is over: it must have cost what the test thinks. */
static void finish(struct world *w, struct life *l, bool is_executed) {
    struct call *c = &l->rc.call;
    assert_int_equal(c->state, CALL_SETTLED);
    int64_t want = *l->deployment == 'p' ? expected_charge(l, is_executed) : 0;
    if (c->receipt.charge_mt != want)
        fail_msg("cost %lld, not %lld (head %d, deltas %lld, usage %lld)",
                 (long long)c->receipt.charge_mt, (long long)want, l->has_head,
                 (long long)l->deltas, (long long)l->usage_output);
    if (is_executed)
        assert_int_equal(c->receipt.output_tokens, expected_output(l));
    w->settled_mt += want;
    w->n_settled++;
    /* A second end is no end. */
    int64_t mark = rig_finish_mark(&w->rig, l->deployment);
    call_abandon(c, &w->rig.env);
    assert_int_equal(rig_finish_mark(&w->rig, l->deployment), mark);
    rig_call_destroy(&l->rc);
    buf_destroy(&l->queue);
    l->is_used = false;
}

/* After CALL_SEND, CALL_REPLY, CALL_CUT or CALL_CANCEL. */
static void follow(struct world *w, struct life *l, enum call_action a, bool is_executed) {
    switch (a) {
    case CALL_SEND:
        assert_false(l->has_head); /* never after the first byte */
        l->has_sent = false;
        break;
    case CALL_REPLY:
        assert_false(l->has_head);
        finish(w, l, false);
        break;
    case CALL_CUT:
        assert_true(l->has_head);
        finish(w, l, is_executed);
        break;
    case CALL_CANCEL:
        finish(w, l, is_executed);
        break;
    case CALL_DRAIN:
        l->is_drained = true;
        break;
    case CALL_FORWARD:
        break;
    case CALL_COUNT: /* the rig has done it */
        fail();
    }
}

/* --- the backend's side --- */

static void answer(struct world *w, struct life *l) {
    static const int bad[] = {429, 500, 503, 400, 404, 302};
    struct random *r = &w->r;
    l->status = random_once_in(r, 3) ? bad[random_below(r, ARRAY_LEN(bad))] : 200;
    bool goes_on = l->is_drained || (l->status != 429 && l->status < 500);
    l->answers_with_stream = l->status == 200 && (l->is_stream ? !random_once_in(r, 9) : false);
    char fields[200];
    snprintf(fields, sizeof fields, "%s%s", l->answers_with_stream ? RIG_STREAM : RIG_JSON,
             random_once_in(r, 2) ? "retry-after-ms: 20\r\n" : "");
    l->has_head = goes_on;
    enum call_action a = rig_answer(&l->rc, l->status, fields);
    assert_int_equal(a == CALL_FORWARD, goes_on);
    follow(w, l, a, false);
}

static void put_usage(struct life *l, struct random *r, struct buf *out) {
    int64_t p = random_below(r, 50), o = random_below(r, 2000), c = random_below(r, 60);
    if (random_once_in(r, 6))
        p = -p - 1;
    if (random_once_in(r, 6))
        o = INT64_C(1) << 62;
    buf_printf(out,
               "\"usage\":{\"prompt_tokens\":%lld,\"completion_tokens\":%lld,"
               "\"prompt_tokens_details\":{\"cached_tokens\":%lld}}",
               (long long)p, (long long)o, (long long)c);
    if (p < 0 && o > 1 << 20)
        return; /* nothing of it can be true */
    if (p >= 0)
        l->usage_prompt = p;
    if (o <= 1 << 20) {
        l->usage_output = o;
        l->deltas_at_usage = l->deltas;
    }
    l->usage_cached = c;
}

/* One event of a stream; its effect on the numbers counts from its last byte on. */
static void stream_event(struct world *w, struct life *l, bool is_cut) {
    struct random *r = &w->r;
    struct life effect = *l;
    struct buf text;
    buf_init(&text, 4096);
    int64_t kind = random_below(r, 10);
    if (kind < 6) {
        buf_lit(&text, "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]");
        effect.deltas++;
        if (random_once_in(r, 4)) {
            buf_char(&text, ',');
            put_usage(&effect, r, &text);
        }
        buf_lit(&text, "}\n\n");
    } else if (kind == 6) {
        buf_lit(&text, "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\r\n\r\n");
        effect.has_finished = true;
    } else if (kind == 7) {
        buf_lit(&text, "data: {\"choices\":[],");
        put_usage(&effect, r, &text);
        buf_lit(&text, "}\n\n");
    } else if (kind == 8) {
        buf_lit(&text, ": a comment\nevent: x\ndata: garbage\n\n");
    } else {
        buf_lit(&text, "data: [DONE]\n\n");
        effect.has_finished = true;
    }
    effect.has_chunk |= kind != 8;
    size_t n = is_cut ? (size_t)random_below(r, (int64_t)text.len) : text.len;
    for (size_t at = 0; at < n;) {
        size_t step = (size_t)random_between(r, 1, 60);
        step = size_min(step, n - at);
        rig_bytes(&l->rc, (struct str){text.p + at, step}, false);
        at += step;
        l->has_bytes = true;
    }
    if (!is_cut) {
        l->has_chunk = effect.has_chunk;
        l->deltas_at_usage = effect.deltas_at_usage;
        l->deltas = effect.deltas;
        l->has_finished = effect.has_finished;
        l->usage_prompt = effect.usage_prompt;
        l->usage_cached = effect.usage_cached;
        l->usage_output = effect.usage_output;
    }
    buf_destroy(&text);
}

static void end_of_answer(struct world *w, struct life *l) {
    struct random *r = &w->r;
    bool is_executed = l->status == 200;
    if (l->answers_with_stream) {
        if (random_once_in(r, 3))
            stream_event(w, l, true);
        rig_bytes(&l->rc, STR(""), true);
        l->has_ended = true;
    } else {
        struct buf text;
        buf_init(&text, 4096);
        l->has_finished = true;
        buf_lit(&text, "{\"choices\":[]");
        if (random_once_in(r, 2)) {
            buf_char(&text, ',');
            put_usage(l, r, &text);
        }
        buf_lit(&text, "}");
        size_t cut = (size_t)random_below(r, (int64_t)text.len);
        rig_bytes(&l->rc, (struct str){text.p, cut}, false);
        rig_bytes(&l->rc, str_skip(buf_view(&text), cut), true);
        buf_destroy(&text);
    }
    finish(w, l, is_executed);
}

static void step(struct world *w, struct life *l) {
    static const enum status faults[] = {ST_UPSTREAM_FAILED, ST_UPSTREAM_TIMEOUT,
                                         ST_UPSTREAM_GARBAGE, ST_UPSTREAM_BUSY};
    struct random *r = &w->r;
    if (!l->is_used) {
        start(w, l);
        return;
    }
    bool is_executed = l->has_head && l->status == 200;
    if (!l->is_drained && random_once_in(r, 12)) {
        bool drains = l->has_sent && l->rc.call.backend->on_client_gone == CLIENT_GONE_DRAIN;
        enum call_action a = rig_gone(&l->rc, l->has_sent);
        assert_int_equal(a, drains ? CALL_DRAIN : CALL_CANCEL);
        follow(w, l, a, l->has_head ? is_executed : l->has_sent);
    } else if (!l->has_sent) {
        if (random_once_in(r, 6))
            follow(w, l, rig_fail(&l->rc, faults[random_below(r, 4)], "x"), false);
        else
            l->has_sent = true;
    } else if (!l->has_head) {
        if (random_once_in(r, 6))
            follow(w, l, rig_fail(&l->rc, faults[random_below(r, 3)], "x"), false);
        else
            answer(w, l);
    } else if (random_once_in(r, 15)) {
        follow(w, l, rig_fail(&l->rc, faults[random_below(r, 3)], "x"), is_executed);
    } else if (random_once_in(r, 8)) {
        end_of_answer(w, l);
    } else if (l->answers_with_stream) {
        stream_event(w, l, false);
    }
}

/* What holds at every moment. */
static void check(struct world *w) {
    int64_t running_mt = 0, n_running = 0, n_standard = 0, inflight = 0;
    for (int i = 0; i < CALLS; i++) {
        struct life *l = &w->lives[i];
        if (!l->is_used)
            continue;
        struct call *c = &l->rc.call;
        assert_true(c->is_admitted && c->has_attempt);
        inflight += c->balance_estimate;
        if (*l->deployment != 'p') {
            n_standard++;
            continue;
        }
        n_running++;
        running_mt += c->reservation.charged_mt;
        /* Never more than what is charged has been generated (admission spec 1.6). */
        if (l->answers_with_stream)
            assert_true(c->reservation.out_tokens >= l->deltas);
    }
    struct ledger ptu = ledger_read(&w->rig, "ptu"), std = ledger_read(&w->rig, "std");
    assert_int_equal(ptu.in_flight, n_running);
    assert_int_equal(std.in_flight, n_standard);
    assert_int_equal(ptu.mark - w->before.mark, w->settled_mt + running_mt);
    assert_int_equal(ptu.minute - w->before.minute, w->settled_mt + running_mt);
    assert_int_equal(ptu.charged, w->settled_mt);
    assert_int_equal(ptu.inflight, inflight);
    assert_int_equal(ptu.admitted + std.admitted, w->n_admitted);
    assert_int_equal(ptu.refused + std.refused, w->n_refused);
    assert_int_equal(std.charged, 0);
    assert_int_equal(w->n_admitted - w->n_settled, n_running + n_standard);
}

static void live(uint64_t seed, int64_t *n_refused, int64_t *n_settled) {
    struct world *w = xcalloc(1, sizeof *w);
    w->r.state = seed;
    struct rig_backend backends[4];
    for (size_t i = 0; i < 4; i++)
        backends[i].properties = random_once_in(&w->r, 3)   ? "'onClientGone':'drain'"
                                 : random_once_in(&w->r, 3) ? "'priority':2"
                                                            : "";
    rig_init(&w->rig, backends, (size_t)random_between(&w->r, 1, 4));
    w->rig.rng.state = seed;
    if (seed % 2)
        rig_count_prompts(&w->rig);
    /* Nearly full, and not empty before the end: then the mark moves by posts alone. */
    ledger_preload(&w->rig, "ptu", 123000000);
    w->before = ledger_read(&w->rig, "ptu");
    for (int i = 0; i < STEPS; i++) {
        step(w, &w->lives[random_below(&w->r, CALLS)]);
        w->rig.now_ns += random_below(&w->r, 60 * NS_PER_MS);
        check(w);
    }
    for (int i = 0; i < CALLS; i++) {
        struct life *l = &w->lives[i];
        if (!l->is_used)
            continue;
        call_abandon(&l->rc.call, &w->rig.env);
        finish(w, l, l->has_head && l->status == 200);
    }
    check(w);
    assert_int_equal(rig_inflight(&w->rig), 0);
    assert_int_equal(w->n_admitted, w->n_settled);
    /* The level is what the charges make of it, less what was served meanwhile. */
    struct bucket *b = &rig_live(&w->rig, "ptu")->bucket;
    assert_int_equal(bucket_level_mt(b, w->rig.now_ns),
                     123000000 + w->settled_mt -
                         (bucket_served_mt(b, w->rig.now_ns) - bucket_served_mt(b, RIG_START_NS)));
    *n_refused += w->n_refused;
    *n_settled += w->n_settled;
    rig_destroy(&w->rig);
    free(w);
}

static void whatever_happens_each_admitted_call_settles_once_for_what_it_did(void **state) {
    (void)state;
    int64_t n_refused = 0, n_settled = 0;
    for (uint64_t seed = 1; seed <= 300; seed++)
        live(seed, &n_refused, &n_settled);
    /* The worlds must be worth looking at. */
    assert_true(n_settled > 3000 && n_refused > 100);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whatever_happens_each_admitted_call_settles_once_for_what_it_did),
    };
    return cmocka_run_group_tests_name("random_calls", tests, NULL, NULL);
}
