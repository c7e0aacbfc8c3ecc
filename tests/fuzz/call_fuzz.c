/* call_fuzz.c - bytes as a program of events for two calls: whatever comes, the books balance. */
/* rooms: call live model balance admit json http metrics base */
#include "fuzz/fuzz.h"
#include "support/rig.h"

enum { SLOTS = 2, EVENTS_MAX = 400, LEVEL_MT = 120000000, TIME_MAX_MS = 30000 };

/* --- the program --- */

struct program {
    const uint8_t *p;
    size_t n;
};

static unsigned next(struct program *g) {
    if (g->n == 0)
        return 0;
    g->n--;
    return *g->p++;
}

/* A length, and as many bytes. */
static struct str next_bytes(struct program *g) {
    size_t n = next(g);
    n = size_min(n, g->n);
    struct str s = {(const char *)g->p, n};
    g->p += n;
    g->n -= n;
    return s;
}

/* --- the world --- */

struct slot {
    struct rig_call rc;
    bool is_used, has_sent;
};

struct world {
    struct rig rig;
    struct slot slots[SLOTS];
    int64_t start_mark, settled_mt, passed_ms;
};

/* Made once; each input finds it as new. */
static struct world *world_get(void) {
    static struct world *w;
    if (!w) {
        static const struct rig_backend backends[] = {
            {""}, {"'onClientGone':'drain'"}, {"'priority':2,'dialect':'azure'"}};
        w = xcalloc(1, sizeof *w);
        rig_init(&w->rig, backends, ARRAY_LEN(backends));
        rig_count_prompts(&w->rig);
    }
    struct rig *g = &w->rig;
    g->now_ns = RIG_START_NS;
    g->rng.state = 7;
    g->n_calls = 0;
    w->settled_mt = w->passed_ms = 0;
    for (size_t i = 0; i < g->view->n_backends; i++)
        balance_backend_init(&g->view->backends[i]->balance, i == 2 ? 2 : 1, 1, 0);
    const struct account *a = snapshot_account_by_key(g->view->snapshot, STR(RIG_KEY));
    for (size_t i = 0; i < a->n_deployments; i++) {
        struct live_deployment *d = live_of(g->view, &a->deployments[i]);
        int64_t rate = bucket_rate(&d->bucket);
        bucket_init(&d->bucket, rate, d->bucket.window_ms, g->now_ns);
        atomic_store(&d->standard.word, 0);
        output_model_init(&d->output, ESTIMATOR_HI);
    }
    bucket_restore(&rig_live(g, "ptu")->bucket, g->now_ns, LEVEL_MT);
    w->start_mark = rig_finish_mark(g, "ptu");
    return w;
}

static bool is_on_ptu(const struct slot *s) {
    return s->rc.call.deployment == rig_deployment(s->rc.rig, "ptu");
}

static void check(const struct world *w) {
    int64_t inflight = 0, running_mt = 0, n_ptu = 0;
    for (int i = 0; i < SLOTS; i++) {
        const struct slot *s = &w->slots[i];
        if (!s->is_used)
            continue;
        const struct call *c = &s->rc.call;
        assert(c->is_admitted && c->has_attempt && c->state != CALL_SETTLED);
        assert(c->balance_estimate >= 0);
        inflight += c->balance_estimate;
        if (is_on_ptu(s)) {
            running_mt += c->reservation.charged_mt;
            n_ptu++;
        }
    }
    const struct rig *g = &w->rig;
    assert(rig_inflight(g) == inflight);
    assert(metric_read(&rig_live(g, "ptu")->counters.in_flight) == n_ptu);
    assert(rig_finish_mark(g, "ptu") == w->start_mark + w->settled_mt + running_mt);
}

/* The call has come to its end: its reply or its log line can be made, and nothing settles again. */
static void end(struct world *w, struct slot *s) {
    struct call *c = &s->rc.call;
    struct buf out;
    assert(rig_call_is_over(&s->rc) && !c->has_attempt);
    if (c->state == CALL_SETTLED && is_on_ptu(s)) {
        assert(c->receipt.charge_mt >= 0);
        w->settled_mt += c->receipt.charge_mt;
    }
    if (c->state == CALL_NEW)
        assert(!c->is_admitted && s->rc.action == CALL_REPLY);
    buf_init(&out, 1 << 20);
    if (s->rc.action == CALL_REPLY) {
        assert(c->reply_status >= 200 && c->reply_status < 600 && c->reply_body.len > 0);
        call_put_reply_fields(c, &out);
        if (c->reply_status == 429)
            assert(rig_field_i64(buf_view(&out), "retry-after-ms") >= 1);
    }
    buf_clear(&out);
    call_put_access_line(c, "2026-11-22T00:00:00.000Z", "client", &out);
    struct json_value root;
    char *padded = rig_padded(buf_view(&out));
    enum status st = json_parse(w->rig.doc, padded, out.len, &root, NULL);
    assert(st == ST_OK && json_type(root) == JSON_OBJECT);
    free(padded);
    buf_destroy(&out);
    call_abandon(c, &w->rig.env);
    rig_call_destroy(&s->rc);
    s->is_used = false;
}

/* What must be true after an action. */
static void follow(struct world *w, struct slot *s, enum call_action a, bool had_answer) {
    switch (a) {
    case CALL_SEND:
        assert(!had_answer && s->rc.call.state == CALL_WAITING && s->rc.call.n_send > 2);
        s->is_used = true;
        s->has_sent = false;
        break;
    case CALL_COUNT: /* the rig has done it */
        assert(false);
        break;
    case CALL_FORWARD:
        assert(!had_answer);
        break;
    case CALL_DRAIN:
        assert(s->rc.call.state == CALL_DRAINING);
        break;
    case CALL_REPLY:
        assert(!had_answer);
        end(w, s);
        break;
    case CALL_CUT:
        assert(had_answer);
        end(w, s);
        break;
    case CALL_CANCEL:
        end(w, s);
        break;
    }
}

/* --- events --- */

static void submit(struct world *w, struct slot *s, struct program *g) {
    static const char *const lines[] = {
        "POST /openai/deployments/ptu/chat/completions?api-version=2024-10-21",
        "POST /openai/deployments/std/chat/completions?api-version=2024-10-21",
        "POST /v1/completions",
        "POST /v1/chat/completions",
        "POST /openai/v1/responses",
        "POST /v1/embeddings",
        "GET /v1/models",
        "POST /openai/deployments/tiny/completions?api-version=1",
    };
    static const char *const bodies[] = {
        "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"stream\":true}",
        "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"model\":\"ptu\",\"max_tokens\":9}",
        "{\"model\":\"std\",\"prompt\":[\"a\",\"b\"],\"stream\":true,\"n\":3}",
        "{\"model\":\"ptu\",\"input\":\"x\",\"stream\":true}",
        "{\"model\":\"emb\",\"input\":[[1,2],[3]]}",
        "{\"model\":\"ptu\",\"prompt\":\"x\",\"best_of\":20,\"max_tokens\":1099511627776}",
    };
    unsigned line = next(g) % ARRAY_LEN(lines), body = next(g);
    struct str text = body < ARRAY_LEN(bodies) ? str_of(bodies[body]) : next_bytes(g);
    rig_call_init(&s->rc, &w->rig);
    follow(w, s, rig_submit_at(&s->rc, lines[line], "api-key: " RIG_KEY "\r\n", text), false);
}

static void answer(struct world *w, struct slot *s, struct program *g) {
    static const int statuses[] = {200, 200, 200, 429, 500, 503, 400, 404, 201, 301, 599, 204};
    static const char *const fields[] = {RIG_STREAM,
                                         RIG_JSON,
                                         "",
                                         "retry-after: 2\r\n",
                                         "retry-after-ms: 99999999999999999999\r\n",
                                         "retry-after: 9223372036854775807\r\n",
                                         "x-ratelimit-remaining-tokens: 0\r\n"
                                         "x-ratelimit-reset-tokens: 5\r\n",
                                         "x-ratelimit-remaining-tokens: 9223372036854775807\r\n"
                                         "x-ratelimit-reset-tokens: 9223372036854775807\r\n"};
    int status = statuses[next(g) % ARRAY_LEN(statuses)];
    follow(w, s, rig_answer(&s->rc, status, fields[next(g) % ARRAY_LEN(fields)]), false);
}

static void bytes(struct world *w, struct slot *s, struct program *g, bool is_last) {
    static const char *const pieces[] = {
        "",
        "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":3}}\n\n",
        "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}],\"usage\":{\"completion_tokens\":700}}\n\n",
        "data: {\"usage\":{\"prompt_tokens\":1099511627776,\"completion_tokens\":1099511627776}}\n\n",
        "data: {\"usage\":{\"prompt_tokens\":-1,\"completion_tokens\":4611686018427387904}}\n\n",
        "data: [DONE]\n\n",
        "{\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":3}}",
        "data: {\"type\":\"response.completed\",\"response\":{\"usage\":{\"output_tokens\":5}}}\n\n",
        "data: {\"choices\":[{\"del",
        "ta\":{\"content\":\"y\"}}]}\r\n\r\n",
    };
    unsigned piece = next(g);
    struct str text = piece < ARRAY_LEN(pieces) ? str_of(pieces[piece]) : next_bytes(g);
    size_t before = s->rc.got.len;
    rig_bytes(&s->rc, text, is_last);
    /* Never more than what came, be it now or what was held back. */
    assert(s->rc.got.len - before <= text.n + METER_EVENT_MAX);
    if (is_last)
        end(w, s);
}

static void event(struct world *w, struct slot *s, struct program *g) {
    static const enum status faults[] = {ST_UPSTREAM_FAILED, ST_UPSTREAM_TIMEOUT,
                                         ST_UPSTREAM_GARBAGE, ST_UPSTREAM_BUSY};
    unsigned op = next(g) % 8;
    if (op == 0) {
        int64_t ms = (int64_t)next(g) * 8;
        ms = i64_min(ms, TIME_MAX_MS - w->passed_ms);
        w->passed_ms += ms;
        rig_pass_ms(&w->rig, ms);
        return;
    }
    if (!s->is_used) {
        submit(w, s, g);
        return;
    }
    struct call *c = &s->rc.call;
    bool had_answer = c->attempt_status != 0 && c->state != CALL_WAITING;
    if (op == 1 && c->state != CALL_DRAINING) {
        follow(w, s, rig_gone(&s->rc, had_answer || s->has_sent), had_answer);
    } else if (op == 2) {
        enum call_action a = rig_fail(&s->rc, faults[next(g) % (had_answer ? 3 : 4)], "reason");
        follow(w, s, a, had_answer);
    } else if (op == 3) {
        call_abandon(c, &w->rig.env);
        s->rc.action = CALL_CANCEL;
        end(w, s);
    } else if (!had_answer && !s->has_sent) {
        s->has_sent = true;
    } else if (!had_answer) {
        answer(w, s, g);
    } else {
        bytes(w, s, g, op == 4);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct world *w = world_get();
    struct program g = {data, size};
    for (int i = 0; i < EVENTS_MAX && g.n > 0; i++) {
        unsigned at = next(&g);
        event(w, &w->slots[at % SLOTS], &g);
        check(w);
    }
    for (int i = 0; i < SLOTS; i++) {
        if (!w->slots[i].is_used)
            continue;
        call_abandon(&w->slots[i].rc.call, &w->rig.env);
        w->slots[i].rc.action = CALL_CANCEL;
        end(w, &w->slots[i]);
    }
    check(w);
    assert(rig_inflight(&w->rig) == 0);
    return 0;
}
