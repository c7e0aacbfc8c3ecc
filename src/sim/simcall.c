/* simcall.c - the life of one simulated call: read, queued, prefilled, decoded token by token. */
#include "os/os.h"
#include "sim/answer.h"
#include "sim/script.h"
#include "sim/sim_private.h"

#include <stdlib.h>

enum {
    HOLD_BYTES = 64 << 10,   /* queued towards a slow client: its stream waits */
    GATHER_BYTES = 16 << 10, /* of an instant stream, in one write */
    OUT_CEILING = 256 << 20,
    EMBEDDING_DIMENSIONS = 1536, /* of text-embedding-3-small and ada-002, as OpenAI documents */
    LARGE_DIMENSIONS = 3072,     /* of text-embedding-3-large */
};

/* Where a choice stands. */
struct progress {
    struct str rest;  /* not yet made */
    size_t sent;      /* bytes of the text that went out */
    int64_t n_tokens; /* in all */
    bool is_finished;
};

struct call {
    struct sim *sim;
    struct exchange *x;
    struct physics_call physics;
    struct answer answer;
    struct faults faults;
    struct list stalled;
    struct buf text;  /* owned: the model's name as JSON, then the texts; of embeddings the body */
    struct buf marks; /* owned: what the prompt cache keeps once the prompt is worked out */
    struct buf frame; /* owned: see answer_put_frame */
    struct buf carry; /* owned: with FAULT_SPLIT, the rest of the event that was cut */
    struct answer_choice *choices; /* owned, n_choices of both, or `one` */
    struct progress *progress;
    struct answer_choice one_choice;
    struct progress one_progress;
    int n_open;   /* choices that are not finished */
    int64_t step; /* tokens made of the longest choice */
    int64_t start_ns;
    size_t n_queued; /* bytes that the client has not taken */
    bool is_stream, has_begun, is_held;
};

/* --- the end of a call --- */

static void leave(struct call *c) {
    struct sim *s = c->sim;
    list_remove(&c->stalled);
    physics_leave(&s->physics, &c->physics, os_now_ns());
}

static void free_call(struct call *c) {
    buf_destroy(&c->text);
    buf_destroy(&c->frame);
    buf_destroy(&c->marks);
    buf_destroy(&c->carry);
    if (c->choices != &c->one_choice)
        free(c->choices);
    if (c->progress != &c->one_progress)
        free(c->progress);
    free(c);
}

void simcall_gone(void *user) {
    struct call *c = user;
    if (!c)
        return;
    struct sim *s = c->sim;
    s->stats.cancelled++;
    s->stats.last_cancel_ms = (os_now_ns() - c->start_ns) / NS_PER_MS;
    s->stats.last_cancel_tokens = c->answer.usage.output;
    leave(c);
    free_call(c);
    simcall_pump(s); /* the slot may serve another at once */
}

static void abort_call(struct call *c) {
    struct exchange *x = c->x;
    leave(c);
    free_call(c);
    exchange_abort(x);
}

void simcall_end_stalled(struct sim *s) {
    s->is_draining = true;
    LIST_EACH (&s->stalled, it)
        abort_call(CONTAINER_OF(it, struct call, stalled));
}

/* --- sending --- */

/* Sends what stands in s->out. An instant stream gathers, since nothing lies between its events. */
static void emit(struct call *c) {
    struct sim *s = c->sim;
    if (c->faults.kinds & FAULT_SPLIT) {
        /* What was held back goes first; of the new bytes a part is held back in turn. */
        struct str all;
        buf_str(&c->carry, buf_view(&s->out));
        buf_clear(&s->out);
        all = buf_view(&c->carry);
        size_t n =
            all.n - 1 - script_mix(c->answer.id + (uint64_t)all.n + c->n_queued) % (all.n - 1);
        /* Two events may have come together: not between them either. */
        while (n < all.n - 1 && all.p[n - 1] == '\n')
            n++;
        c->n_queued = exchange_send(c->x, (struct str){all.p, n}, false);
        exchange_flush(c->x); /* or the rest may be in the same read */
        buf_consume(&c->carry, n);
        return;
    }
    if (s->options.profile.decode_mtps == 0 && s->out.len < GATHER_BYTES)
        return;
    c->n_queued = exchange_send(c->x, buf_view(&s->out), false);
    buf_clear(&s->out);
}

/* Sends what was gathered or held back, and the head if nothing took it along: it stands in memory
 * of the server that the next answer needs. */
static void flush(struct call *c) {
    struct sim *s = c->sim;
    buf_str(&c->carry, buf_view(&s->out));
    buf_clear(&s->out);
    c->n_queued = exchange_send(c->x, buf_view(&c->carry), false);
    buf_clear(&c->carry);
}

/* Sends what stands in s->out as the last piece; the call is gone then, perhaps the exchange. */
static void emit_last(struct call *c) {
    struct sim *s = c->sim;
    struct exchange *x = c->x;
    struct buf rest = c->carry;
    buf_init(&c->carry, 0);
    leave(c);
    free_call(c);
    s->stats.completed++;
    struct str piece = buf_view(&s->out);
    if (rest.len) {
        buf_str(&rest, piece);
        piece = buf_view(&rest);
    }
    /* Cleared before, since the next request of this connection may be handled during the call; the
     * bytes stay where they are until they are written. */
    buf_clear(&s->out);
    (void)exchange_send(x, piece, true);
    buf_destroy(&rest);
}

/* The body of an answer in one piece; that of embeddings was written on arrival. */
static void put_body(struct call *c) {
    if (c->answer.api == ASK_EMBEDDINGS)
        buf_str(&c->sim->out, buf_view(&c->text));
    else
        answer_put_body(&c->sim->out, &c->answer);
}

static void reply(struct call *c) {
    struct sim *s = c->sim;
    put_body(c);
    if (c->faults.kinds & FAULT_GARBAGE)
        s->out.len /= 2;
    (void)sim_begin(s, c->x, 200, (int64_t)s->out.len, STR("application/json"));
    emit_last(c);
}

/* --- tokens --- */

/* The prompt is worked out. Streams get their head and what stands in front of the text. */
static void begin(struct call *c) {
    struct sim *s = c->sim;
    c->has_begun = true;
    promptcache_keep(&s->cache, (const uint64_t *)(const void *)c->marks.p,
                     c->marks.len / sizeof(uint64_t), os_now_ns());
    if (!c->is_stream)
        return;
    struct buf *head =
        sim_begin(s, c->x, 200, LENGTH_CHUNKED, STR("text/event-stream; charset=utf-8"));
    buf_lit(head, "Cache-Control: no-cache\r\n");
    answer_put_frame(&c->frame, &c->answer);
    c->answer.frame = buf_view(&c->frame);
    for (int i = 0; answer_put_opening(&s->out, &c->answer, i); i++)
        emit(c);
    if (c->faults.kinds & FAULT_GARBAGE) {
        answer_put_garbage(&s->out, &c->answer);
        emit(c);
    }
}

/* One more token for each choice that is not finished. */
static void make_tokens(struct call *c) {
    struct sim *s = c->sim;
    int64_t burst = c->faults.kinds & FAULT_BURST ? c->faults.burst : 1;
    c->step++;
    for (int i = 0; i < c->answer.n_choices; i++) {
        struct progress *p = &c->progress[i];
        const struct answer_choice *choice = &c->choices[i];
        struct str token;
        if (p->is_finished)
            continue;
        if (c->step <= p->n_tokens) {
            s->stats.output_tokens++;
            c->answer.usage.output++;
        }
        p->is_finished = c->step >= p->n_tokens;
        if (c->is_stream) {
            (void)script_token(&p->rest, &token);
            size_t made = choice->text.n - p->rest.n;
            if (made > p->sent && (p->is_finished || c->step % burst == 0)) {
                answer_put_delta(&s->out, &c->answer, i,
                                 (struct str){choice->text.p + p->sent, made - p->sent});
                p->sent = made;
                emit(c);
            }
        }
        if (p->is_finished) {
            physics_set_width(&s->physics, &c->physics, --c->n_open);
            if (c->is_stream && c->answer.api != ASK_RESPONSES) {
                answer_put_finish(&s->out, &c->answer, i);
                emit(c);
            }
        }
    }
}

/* All tokens of all choices at once, for whoever sees only the whole. */
static void make_all_tokens(struct call *c) {
    for (int i = 0; i < c->answer.n_choices; i++)
        c->answer.usage.output += c->progress[i].n_tokens;
    c->sim->stats.output_tokens += c->answer.usage.output;
    c->n_open = 0;
    physics_set_width(&c->sim->physics, &c->physics, 0);
}

/* All choices are finished. */
static void finish(struct call *c) {
    struct sim *s = c->sim;
    if (!c->is_stream) {
        reply(c);
        return;
    }
    /* The last event goes with the end of the answer, so one is always in hand. */
    struct buf *out = &s->out;
    bool has_more = answer_put_closing(out, &c->answer, 0);
    for (int i = 1; has_more; i++) {
        struct buf next;
        buf_init(&next, OUT_CEILING);
        has_more = answer_put_closing(&next, &c->answer, i);
        if (has_more) {
            emit(c);
            buf_str(out, buf_view(&next));
        }
        buf_destroy(&next);
    }
    emit_last(c);
}

/* --- faults --- */

static const unsigned midway = FAULT_STALL | FAULT_DISCONNECT | FAULT_ERROR;

/* The fault that was ordered for this token. */
static void strike(struct call *c) {
    struct sim *s = c->sim;
    if (c->faults.kinds & FAULT_STALL) {
        if (c->is_stream)
            flush(c);
        if (s->is_draining) {
            abort_call(c);
            return;
        }
        physics_hold(&s->physics, &c->physics);
        list_append(&s->stalled, &c->stalled);
        return;
    }
    if (c->faults.kinds & FAULT_DISCONNECT) {
        if (c->is_stream) {
            flush(c);
        } else {
            put_body(c);
            (void)sim_begin(s, c->x, 200, (int64_t)s->out.len, STR("application/json"));
            (void)exchange_send(c->x, (struct str){s->out.p, s->out.len / 2}, false);
            buf_clear(&s->out);
        }
        abort_call(c);
        return;
    }
    if (c->is_stream) {
        answer_put_error(&s->out, &c->answer);
        emit_last(c);
        return;
    }
    struct exchange *x = c->x;
    struct problem why = {0};
    (void)problem_set(&why, ST_INTERNAL, STR(""), "The simulated server failed midway.");
    leave(c);
    free_call(c);
    sim_reply_error(s, x, ST_INTERNAL, &why, 0);
}

/* Faults that come instead of an answer; true when one did. */
static bool refuse_by_fault(struct sim *s, struct exchange *x, const struct faults *f) {
    struct problem why = {0};
    if (f->kinds & FAULT_RESET) {
        exchange_abort(x);
        return true;
    }
    if (f->kinds & FAULT_GARBAGE_HTTP) {
        struct buf *head = exchange_begin(x, 200, 0);
        buf_clear(head);
        buf_lit(head, "THIS IS NO HTTP\x01\x02\x03 / 9.9 simulated");
        exchange_flush(x);
        exchange_abort(x);
        return true;
    }
    enum status st = f->kinds & FAULT_429   ? ST_UPSTREAM_BUSY
                     : f->kinds & FAULT_500 ? ST_INTERNAL
                     : f->kinds & FAULT_503 ? ST_OVERLOADED
                                            : ST_OK;
    if (st == ST_OK)
        return false;
    (void)problem_set(&why, st, STR(""), "A simulated fault, as was ordered.");
    sim_reply_error(s, x, st, &why, st == ST_UPSTREAM_BUSY ? f->retry_after_ms : 0);
    return true;
}

/* --- the beginning --- */

/* What the request's own header fields order. */
struct orders {
    struct str text;       /* to answer exactly so */
    int64_t output_tokens; /* -1: not ordered */
};

static enum status read_orders(struct sim *s, struct exchange *x, struct orders *o,
                               struct faults *f, struct problem *why) {
    const struct http_head *head = exchange_head(x);
    struct fault_rules rules;
    o->text = (struct str){NULL, 0};
    o->output_tokens = -1;
    faults_draw(&s->options.faults, script_mix(++s->n_drawn), f);
    for (size_t i = 0; i < head->n_fields; i++) {
        struct str name = head->fields[i].name, value = head->fields[i].value;
        if (name.n < 6 || !str_istarts(name, STR("x-sim-")))
            continue;
        if (str_ieq(name, STR("x-sim-text"))) {
            o->text = value;
        } else if (str_ieq(name, STR("x-sim-output-tokens"))) {
            if (!str_to_i64(value, &o->output_tokens) || o->output_tokens < 0 ||
                o->output_tokens > ASK_OUTPUT_MAX)
                return problem_set(why, ST_BAD_REQUEST, name, "expects a number from 0 to %d",
                                   ASK_OUTPUT_MAX);
        } else if (str_ieq(name, STR("x-sim-fault"))) {
            TRY(faults_parse(value, &rules, why));
            faults_draw(&rules, script_mix(++s->n_drawn), f);
        }
    }
    return ST_OK;
}

/* The text of choice `i`, appended to c->text; `n_tokens` and `is_cut` of it. */
static void write_choice(struct call *c, const struct ask *a, const struct orders *o, int i) {
    struct sim *s = c->sim;
    struct answer_choice *choice = &c->choices[i];
    struct progress *p = &c->progress[i];
    const struct ask_input *in = &ask_inputs(a)[i / (int)a->n];
    uint64_t hash = script_mix(in->hash + (uint64_t)(i % (int)a->n));
    int64_t limit = a->limit < 0 ? INT64_MAX : a->limit;
    size_t at = c->text.len;
    struct str echo = o->text;
    if (echo.p || script_echo(a->last_user, &echo)) {
        int64_t whole = script_count(echo);
        p->n_tokens = i64_min(whole, limit);
        choice->is_cut = p->n_tokens < whole;
        buf_str(&c->text, script_prefix(echo, p->n_tokens));
    } else {
        int64_t natural = o->output_tokens >= 0 ? o->output_tokens
                                                : script_length(hash, s->options.output_tokens);
        p->n_tokens = i64_min(i64_min(natural, limit), ASK_OUTPUT_MAX / c->answer.n_choices);
        choice->is_plain = true;
        choice->is_cut = p->n_tokens < natural;
        script_put_words(&c->text, hash, p->n_tokens, !choice->is_cut);
    }
    if (a->n_stops) {
        struct str said = str_skip(buf_view(&c->text), at);
        struct str kept = script_stop(said, a->stops, a->n_stops);
        if (kept.n < said.n) {
            c->text.len = at + kept.n;
            p->n_tokens = script_count(kept);
            choice->is_cut = false;
        }
    }
    /* An offset until all texts are there, since the buffer may move. */
    choice->text = (struct str){NULL, c->text.len - at};
}

static void write_choices(struct call *c, const struct ask *a, const struct orders *o) {
    struct answer *answer = &c->answer;
    size_t n = (size_t)answer->n_choices, at = c->text.len;
    c->choices = n == 1 ? &c->one_choice : xcalloc(n, sizeof *c->choices);
    c->progress = n == 1 ? &c->one_progress : xcalloc(n, sizeof *c->progress);
    for (int i = 0; i < answer->n_choices; i++)
        write_choice(c, a, o, i);
    for (int i = 0; i < answer->n_choices; i++) {
        c->choices[i].text.p = c->text.p + at;
        c->progress[i].rest = c->choices[i].text;
        at += c->choices[i].text.n;
    }
    answer->choices = c->choices;
    c->n_open = answer->n_choices;
}

/* The answer to an embeddings request is written at once and waits until its time has come. */
static void write_embeddings(struct call *c, const struct ask *a, struct str model) {
    struct buf body;
    int64_t dimensions = a->dimensions;
    if (dimensions == 0)
        dimensions = str_find(model, STR("-large")) >= 0 ? LARGE_DIMENSIONS : EMBEDDING_DIMENSIONS;
    buf_init(&body, OUT_CEILING);
    answer_put_embeddings(&body, &c->answer, ask_inputs(a), ask_n_inputs(a), dimensions,
                          a->wants_floats);
    buf_destroy(&c->text);
    c->text = body;
    c->answer.model = (struct str){NULL, 0}; /* stood in the old text */
}

static bool is_listed(const char *models, struct str model) {
    struct str rest = str_of(models), name;
    while (str_cut(&rest, ',', &name)) {
        if (str_eq(str_trim(name), model))
            return true;
    }
    return false;
}

static enum status check(const struct sim *s, const struct ask *a, struct str model,
                         struct problem *why) {
    if (model.n == 0)
        return problem_set(why, ST_BAD_REQUEST, STR("model"), "model is required");
    if (s->options.is_strict && !is_listed(s->options.models, model))
        return problem_set(why, ST_NO_DEPLOYMENT, STR("model"), "The model `%.*s` does not exist.",
                           STR_ARG(model));
    for (size_t i = 0; i < ask_n_inputs(a); i++) {
        if (ask_inputs(a)[i].tokens > s->options.context_tokens)
            return problem_set(why, ST_CONTEXT_LENGTH, STR("messages"),
                               "This model's maximum context length is %lld tokens, the prompt has "
                               "%lld.",
                               (long long)s->options.context_tokens,
                               (long long)ask_inputs(a)[i].tokens);
    }
    if ((int64_t)ask_n_inputs(a) * a->n > ASK_OUTPUT_MAX / 16)
        return problem_set(why, ST_BAD_REQUEST, STR("n"), "too many prompts times choices");
    return ST_OK;
}

static struct call *call_new(struct sim *s, struct exchange *x, struct str model,
                             const struct faults *faults) {
    const struct ask *a = &s->ask;
    struct call *c = xcalloc(1, sizeof *c);
    c->sim = s;
    c->x = x;
    c->faults = *faults;
    c->start_ns = exchange_start_ns(x);
    c->is_stream = a->is_stream && a->api != ASK_EMBEDDINGS;
    buf_init(&c->text, OUT_CEILING);
    buf_init(&c->frame, OUT_CEILING);
    buf_init(&c->marks, OUT_CEILING);
    buf_init(&c->carry, OUT_CEILING);
    buf_str(&c->marks, buf_view(&a->marks));
    json_quote(&c->text, model);
    size_t n_model = c->text.len;
    bool is_every = a->wants_usage_every || (faults->kinds & FAULT_USAGE_EVERY);
    c->answer = (struct answer){
        .api = a->api,
        .id = script_mix(s->id_seed + s->n_drawn),
        .created_s = os_wall_us() / 1000000,
        .says_usage = !(faults->kinds & FAULT_NO_USAGE),
        .is_crlf = faults->kinds & FAULT_CRLF,
        .usage_field = is_every         ? ANSWER_USAGE_EVERY
                       : a->wants_usage ? ANSWER_USAGE_NULL
                                        : ANSWER_USAGE_ABSENT,
        .n_choices = a->api == ASK_EMBEDDINGS ? 0 : (int)((int64_t)ask_n_inputs(a) * a->n),
        .usage.prompt = a->prompt_tokens,
        .usage.cached = promptcache_find(&s->cache, (const uint64_t *)(const void *)a->marks.p,
                                         a->marks.len / sizeof(uint64_t), os_now_ns()),
    };
    if (!c->answer.says_usage)
        c->answer.usage_field = ANSWER_USAGE_ABSENT;
    c->answer.model = (struct str){c->text.p, n_model};
    return c;
}

void simcall_start(struct sim *s, struct exchange *x, enum ask_api api, struct str deployment) {
    struct problem why = {0};
    struct faults faults = {0};
    struct orders orders;
    s->stats.requests++;
    enum status st = read_orders(s, x, &orders, &faults, &why);
    if (faults.kinds)
        s->stats.faults++;
    if (st == ST_OK && refuse_by_fault(s, x, &faults))
        return;
    if (st == ST_OK)
        st = ask_read(&s->ask, api, exchange_body(x), &why);
    struct str model = deployment.n ? deployment : s->ask.model;
    if (st == ST_OK)
        st = check(s, &s->ask, model, &why);
    if (st != ST_OK) {
        sim_reply_error(s, x, st, &why, 0);
        return;
    }
    struct call *c = call_new(s, x, model, &faults);
    if (api == ASK_EMBEDDINGS) {
        write_embeddings(c, &s->ask, model);
    } else {
        size_t n_model = c->text.len;
        write_choices(c, &s->ask, &orders);
        c->answer.model = (struct str){c->text.p, n_model};
    }
    int64_t extra_ns = faults.kinds & FAULT_SLOW_START ? faults.slow_ms * NS_PER_MS : 0;
    const struct answer_usage *usage = &c->answer.usage;
    if (!physics_arrive(&s->physics, &c->physics, os_now_ns(), usage->prompt - usage->cached,
                        extra_ns, c->answer.n_choices)) {
        free_call(c);
        (void)problem_set(&why, ST_UPSTREAM_BUSY, STR(""),
                          "The simulated server works on all its slots and its queue is full.");
        sim_reply_error(s, x, ST_UPSTREAM_BUSY, &why, 1000);
        return;
    }
    s->stats.prompt_tokens += usage->prompt;
    s->stats.cached_tokens += usage->cached;
    exchange_set_user(x, c);
    exchange_drop_request(x);
    simcall_pump(s);
}

/* --- the course of time --- */

/* Gives the token that is due and orders the next. */
static void serve(struct sim *s, struct call *c, int64_t now_ns) {
    bool is_instant = s->options.profile.decode_mtps == 0;
    if (!c->has_begun)
        begin(c);
    if (c->answer.api == ASK_EMBEDDINGS) {
        if (c->faults.kinds & midway)
            strike(c);
        else
            reply(c);
        return;
    }
    do {
        if ((c->faults.kinds & midway) && c->step == c->faults.after) {
            strike(c);
            return;
        }
        if (is_instant && !c->is_stream && !(c->faults.kinds & midway))
            make_all_tokens(c);
        else
            make_tokens(c);
        if (c->n_open == 0) {
            finish(c);
            return;
        }
        if (c->n_queued > HOLD_BYTES) {
            flush(c);
            c->is_held = true;
            physics_hold(&s->physics, &c->physics);
            return;
        }
    } while (is_instant);
    if (c->is_stream)
        exchange_flush(c->x); /* in a burst the first token does not go out yet: see flush */
    physics_step(&s->physics, &c->physics, now_ns);
}

void simcall_pump(struct sim *s) {
    if (s->is_pumping)
        return; /* a request that came while another was served: the loop below goes on with it */
    s->is_pumping = true;
    int64_t now_ns = os_now_ns();
    struct physics_call *p;
    while ((p = physics_next(&s->physics, now_ns)) != NULL)
        serve(s, CONTAINER_OF(p, struct call, physics), now_ns);
    s->is_pumping = false;
    int64_t due_ns = physics_due_ns(&s->physics);
    if (due_ns < s->armed_ns) {
        s->armed_ns = due_ns;
        loop_alarm_set(s->alarm, due_ns);
    }
}

void simcall_drained(void *user) {
    struct call *c = user;
    if (!c)
        return;
    c->n_queued = 0;
    if (c->is_held) {
        c->is_held = false;
        physics_resume(&c->sim->physics, &c->physics, os_now_ns());
        simcall_pump(c->sim);
    }
}
