/* rig.h - the data plane without sockets: a snapshot from text, a clock set by hand, calls by hand. */
#ifndef SUPPORT_RIG_H
#define SUPPORT_RIG_H

#include "call/call.h"

#include <stdio.h>
#include <stdlib.h>

/*
 * What the tests of room call, the scenarios and the fuzzing of calls stand on. It knows no test
 * library: what cannot be is an assertion.
 *
 * One account, "acct" at the host acct.example, with the key RIG_KEY, and its deployments:
 *
 *     ptu     gpt-4o, provisioned, 50 PTU: 125,000,000 mt a minute, and as much depth
 *     tiny    the same with a depth of 1 s: 2,083,333 mt
 *     std     gpt-4o, standard, 10 units: 10,000 tokens and 60 requests a minute
 *     strict  the same, strict
 *     emb     text-embedding-3-large, standard, 10 units
 *     nobody  gpt-4o-mini, which no pool serves
 *
 * A second account, "other", of kind AIServices with the key RIG_OTHER_KEY, has one deployment, "std"
 * of 1 unit.
 */
#define RIG_KEY "key-of-acct-000001"
#define RIG_OTHER_KEY "key-of-other-00001"
#define RIG_RATE INT64_C(125000000) /* mt a minute of `ptu` and `tiny` */
#define RIG_START_NS (INT64_C(1000) * 1000000000)

enum { RIG_BACKENDS_MAX = 8 };

struct rig {
    int64_t now_ns;
    struct clock clock;
    struct json_doc *doc;
    struct balance_rng rng;
    struct live *live;
    struct live_view *view;
    struct call_env env;
    uint64_t n_calls;
    struct text_memory *memory; /* of rig_count_prompts */
    struct prefix_table prefixes;
};

/* One backend as the members of its `properties` behind the url, with ' for ". */
struct rig_backend {
    const char *properties;
};

static inline int64_t rig_now(void *arg) {
    return ((struct rig *)arg)->now_ns;
}

static inline void rig_put_deployment(struct buf *b, const char *account, const char *name,
                                      const char *sku, const char *model, const char *weir) {
    buf_printf(b,
               ",{'id':'/subscriptions/s/resourceGroups/g/providers/Microsoft.CognitiveServices/"
               "accounts/%s/deployments/%s','sku':{%s},'properties':{'model':{'format':'OpenAI',"
               "'name':%s},'weir':{%s}}}",
               account, name, sku, model, weir);
}

static inline void rig_put_account(struct buf *b, const char *name, const char *kind,
                                   const char *key) {
    buf_printf(b,
               ",{'id':'/subscriptions/s/resourceGroups/g/providers/Microsoft.CognitiveServices/"
               "accounts/%s','kind':'%s','location':'eastus','properties':{'customSubDomainName':"
               "'%s','keys':{'key1':'%s'}}}",
               name, kind, name, key);
}

static inline void rig_put_resources(struct buf *b, const struct rig_backend *backends,
                                     size_t n_backends) {
    buf_lit(b, "[{'id':'/providers/Weir.Capacity/locations/eastus','properties':{'displayName':"
               "'East US'}},{'id':'/providers/Weir.Capacity/pools/p','location':'eastus',"
               "'properties':{'ptus':1000,'models':[{'name':'gpt-4o'},"
               "{'name':'text-embedding-3-large'}]}}");
    for (size_t i = 0; i < n_backends; i++)
        buf_printf(b,
                   ",{'id':'/providers/Weir.Capacity/pools/p/backends/b%zu','properties':{"
                   "'url':'http://10.0.0.%zu:8000/base'%s%s}}",
                   i, i + 1, *backends[i].properties ? "," : "", backends[i].properties);
    static const char gpt4o[] = "'gpt-4o','version':'2024-08-06'";
    rig_put_account(b, "acct", "OpenAI", RIG_KEY);
    rig_put_deployment(b, "acct", "ptu", "'name':'ProvisionedManaged','capacity':50", gpt4o, "");
    rig_put_deployment(b, "acct", "tiny", "'name':'ProvisionedManaged','capacity':50", gpt4o,
                       "'depthWindowMs':1000");
    rig_put_deployment(b, "acct", "std", "'name':'Standard','capacity':10", gpt4o, "");
    rig_put_deployment(b, "acct", "strict", "'name':'Standard','capacity':10", gpt4o,
                       "'standardMode':'strict'");
    rig_put_deployment(b, "acct", "emb", "'name':'Standard','capacity':10",
                       "'text-embedding-3-large'", "");
    rig_put_deployment(b, "acct", "nobody", "'name':'Standard','capacity':10", "'gpt-4o-mini'", "");
    rig_put_account(b, "other", "AIServices", RIG_OTHER_KEY);
    rig_put_deployment(b, "other", "std", "'name':'Standard','capacity':1", gpt4o, "");
    buf_char(b, ']');
}

/* Of resources with ' for ". */
static inline struct snapshot *rig_snapshot_of(struct buf *text) {
    static const struct siphash_key hash = {1, 2};
    struct problem why = {0};
    struct snapshot *s;
    size_t len = text->len;
    for (int i = 0; i < JSON_PADDING; i++)
        buf_char(text, ' ');
    for (size_t i = 0; i < len; i++)
        text->p[i] = text->p[i] == '\'' ? '"' : text->p[i];
    struct resources *set = resources_new();
    enum status st = resources_add(set, STR("rig.json"), text->p, len, &why);
    if (st == ST_OK)
        st = snapshot_build(set, NULL, &hash, &s, &why);
    if (st != ST_OK)
        fprintf(stderr, "%s: %s\n", why.target, why.message);
    assert(st == ST_OK);
    resources_free(set);
    return s;
}

static inline struct snapshot *rig_snapshot(const struct rig_backend *backends, size_t n_backends) {
    struct buf text;
    buf_init(&text, 1 << 20);
    rig_put_resources(&text, backends, n_backends);
    struct snapshot *s = rig_snapshot_of(&text);
    buf_destroy(&text);
    return s;
}

/* Takes the snapshot over. The rig must not move afterwards. */
static inline void rig_init_with(struct rig *g, struct snapshot *s) {
    static const struct siphash_key hash = {1, 2};
    *g = (struct rig){.now_ns = RIG_START_NS, .doc = json_doc_new(), .rng = {42}};
    g->clock = (struct clock){rig_now, g};
    g->live = live_new(&hash, &g->clock);
    g->view = live_bind(g->live, s);
    snapshot_unref(s);
    g->env = (struct call_env){.view = g->view, .clock = &g->clock, .doc = g->doc, .rng = &g->rng};
}

static inline void rig_init(struct rig *g, const struct rig_backend *backends, size_t n_backends) {
    rig_init_with(g, rig_snapshot(backends, n_backends));
}

/* From now on prompts are counted, and beginnings of them predicted; hardly any on the loop. */
static inline void rig_count_prompts(struct rig *g) {
    static const unsigned char secret[16] = "sixteen bytes...";
    struct vocabulary o200k = vocabulary_o200k(), cl100k = vocabulary_cl100k();
    g->memory = text_memory_new(64, 64, secret);
    prefix_init(&g->prefixes, 256);
    g->env.counters = prompt_counters_new(&o200k, &cl100k, g->memory);
    g->env.prefixes = &g->prefixes;
    g->env.prompt_budget = 16;
}

/* n backends, all with the same properties. */
static inline void rig_init_same(struct rig *g, size_t n_backends, const char *properties) {
    struct rig_backend backends[RIG_BACKENDS_MAX];
    assert(n_backends <= RIG_BACKENDS_MAX);
    for (size_t i = 0; i < n_backends; i++)
        backends[i].properties = properties;
    rig_init(g, backends, n_backends);
}

static inline void rig_destroy(struct rig *g) {
    prompt_counters_free(g->env.counters);
    prefix_destroy(&g->prefixes);
    text_memory_free(g->memory);
    live_view_unref(g->view);
    live_free(g->live);
    json_doc_free(g->doc);
}

static inline void rig_pass_ms(struct rig *g, int64_t ms) {
    g->now_ns += ms * NS_PER_MS;
}

/* A deployment of `acct`. */
static inline const struct deployment *rig_deployment(const struct rig *g, const char *name) {
    const struct account *a = snapshot_account_by_key(g->view->snapshot, STR(RIG_KEY));
    const struct deployment *d = account_deployment(a, str_of(name));
    assert(d);
    return d;
}

static inline struct live_deployment *rig_live(const struct rig *g, const char *name) {
    return live_of(g->view, rig_deployment(g, name));
}

/* V of the bucket. It moves by exactly what is posted, as long as the bucket is not empty. */
static inline int64_t rig_finish_mark(const struct rig *g, const char *name) {
    return atomic_load(&rig_live(g, name)->bucket.finish_mt);
}

static inline int64_t rig_inflight(const struct rig *g) {
    int64_t sum = 0;
    for (size_t i = 0; i < g->view->n_backends; i++)
        sum += atomic_load(&g->view->backends[i]->balance.inflight);
    return sum;
}

/* --- heads and bodies --- */

/* Reads the head in `text`, which must be whole; it lives as long as the reader. */
static inline const struct http_head *rig_head(struct http_reader *r, bool is_request,
                                               struct str text) {
    struct str body;
    http_reader_init(r, is_request, 64 << 10);
    enum http_event e = http_read(r, &text, &body);
    assert(e == HTTP_EV_HEAD);
    return &r->head;
}

/* Bytes in a block of their own, with hostile padding behind them; freed by the caller. */
static inline char *rig_padded(struct str s) {
    static const char hostile[] = "}\"]\n\n,data: [DONE]\n\n";
    char *p = xmalloc(s.n + JSON_PADDING);
    if (s.n)
        memcpy(p, s.p, s.n);
    for (size_t i = 0; i < JSON_PADDING; i++)
        p[s.n + i] = hostile[i % (sizeof hostile - 1)];
    return p;
}

static inline struct buf rig_body(struct str text) {
    struct buf b;
    buf_init(&b, size_max(text.n, 1));
    char *at = buf_reserve_slack(&b, text.n, JSON_PADDING);
    assert(at);
    if (text.n)
        memcpy(at, text.p, text.n);
    memset(at + text.n, '}', JSON_PADDING);
    buf_commit(&b, text.n);
    return b;
}

/* --- calls --- */

/* One call and what became visible of it. */
struct rig_call {
    struct rig *rig;
    struct call call;
    struct buf sent;                    /* head and body as they last went to a backend */
    struct buf got;                     /* bytes of the answer that were forwarded */
    size_t tried[BALANCE_BACKENDS_MAX]; /* indexes of the backends, in order */
    int n_tried;
    enum call_action action; /* the last one */
};

/* Whether the call takes no further events. */
static inline bool rig_call_is_over(const struct rig_call *rc) {
    return rc->call.state == CALL_SETTLED || rc->call.state == CALL_NEW;
}

static inline enum call_action rig_note(struct rig_call *rc, enum call_action action) {
    struct call *c = &rc->call;
    rc->action = action;
    if (action != CALL_SEND)
        return action;
    buf_clear(&rc->sent);
    for (int i = 0; i < c->n_send; i++)
        buf_put(&rc->sent, c->send[i].iov_base, c->send[i].iov_len);
    assert(buf_status(&rc->sent) == ST_OK);
    for (int i = 0; i < rc->n_tried; i++)
        assert(rc->tried[i] != c->backend->index); /* none twice */
    assert(rc->n_tried < BALANCE_BACKENDS_MAX);
    rc->tried[rc->n_tried++] = c->backend->index;
    assert(c->receipt.n_attempts == rc->n_tried);
    return action;
}

static inline void rig_call_init(struct rig_call *rc, struct rig *g) {
    unsigned char id[16] = {0};
    uint64_t n = ++g->n_calls;
    memcpy(id, &n, sizeof n);
    *rc = (struct rig_call){.rig = g};
    buf_init(&rc->sent, 64 << 20);
    buf_init(&rc->got, 64 << 20);
    call_init(&rc->call, &g->env, g->now_ns, id);
}

static inline void rig_call_destroy(struct rig_call *rc) {
    call_destroy(&rc->call);
    buf_destroy(&rc->sent);
    buf_destroy(&rc->got);
}

/* What another thread does for a call whose prompt is long. */
static inline void rig_count(struct rig_call *rc, const struct http_head *head) {
    struct problem why = {0};
    struct call_env patient = rc->rig->env;
    patient.prompt_budget = SIZE_MAX;
    enum status st = call_count(&rc->call, &patient, &why);
    rig_note(rc, call_counted(&rc->call, &rc->rig->env, head, st, &why));
}

/* Opens and submits with this request line and these further fields, each ended by CR LF. */
static inline enum call_action rig_submit_at(struct rig_call *rc, const char *line,
                                             const char *fields, struct str body) {
    struct http_reader r;
    struct buf text;
    struct problem why = {0};
    buf_init(&text, 1 << 20);
    buf_printf(&text, "%s HTTP/1.1\r\nHost: localhost:8080\r\n%sContent-Length: %zu\r\n\r\n", line,
               fields, body.n);
    const struct http_head *head = rig_head(&r, true, buf_view(&text));
    enum status st = call_open(&rc->call, &rc->rig->env, head, &why);
    if (st != ST_OK)
        rig_note(rc, call_refuse(&rc->call, st, &why));
    else if (operation_is_list(rc->call.route.op))
        rig_note(rc, call_list(&rc->call));
    else if (rig_note(rc, call_submit(&rc->call, &rc->rig->env, head, rig_body(body))) ==
             CALL_COUNT)
        rig_count(rc, head);
    http_reader_destroy(&r);
    buf_destroy(&text);
    return rc->action;
}

/* A chat call to a deployment of acct. */
static inline enum call_action rig_submit(struct rig_call *rc, const char *deployment,
                                          struct str body) {
    char line[200];
    snprintf(line, sizeof line,
             "POST /openai/deployments/%s/chat/completions?api-version=2024-10-21", deployment);
    return rig_submit_at(rc, line, "api-key: " RIG_KEY "\r\n", body);
}

/* The backend's head: a status and further fields, each ended by CR LF. */
static inline enum call_action rig_answer(struct rig_call *rc, int status, const char *fields) {
    struct http_reader r;
    struct buf text;
    buf_init(&text, 1 << 20);
    buf_printf(&text, "HTTP/1.1 %d X\r\n%s\r\n", status, fields);
    const struct http_head *head = rig_head(&r, false, buf_view(&text));
    rig_note(rc, call_on_head(&rc->call, &rc->rig->env, head));
    http_reader_destroy(&r);
    buf_destroy(&text);
    return rc->action;
}

#define RIG_STREAM "Content-Type: text/event-stream; charset=utf-8\r\n"
#define RIG_JSON "Content-Type: application/json\r\n"

/* A piece of the backend's body. */
static inline void rig_bytes(struct rig_call *rc, struct str piece, bool is_last) {
    char *copy = rig_padded(piece);
    struct str in = {copy, piece.n};
    struct meter_out out;
    bool has_more;
    do {
        has_more = call_on_body(&rc->call, &rc->rig->env, &in, is_last, &out);
        for (int i = 0; i < out.n; i++)
            buf_str(&rc->got, out.piece[i]);
    } while (has_more);
    assert(in.n == 0);
    free(copy);
}

static inline enum call_action rig_fail(struct rig_call *rc, enum status st, const char *why) {
    return rig_note(rc, call_on_fail(&rc->call, &rc->rig->env, st, str_of(why)));
}

static inline enum call_action rig_gone(struct rig_call *rc, bool has_sent) {
    return rig_note(rc, call_on_gone(&rc->call, &rc->rig->env, has_sent));
}

/* The fields of our reply as a text. */
static inline void rig_reply_fields(const struct rig_call *rc, struct buf *out) {
    buf_clear(out);
    call_put_reply_fields(&rc->call, out);
}

/* The number behind "name: " in a text of fields, or -1. */
static inline int64_t rig_field_i64(struct str fields, const char *name) {
    struct str line;
    size_t n = strlen(name);
    while (str_cut(&fields, '\n', &line)) {
        int64_t value;
        if (str_istarts(line, str_of(name)) && line.n > n && line.p[n] == ':' &&
            str_to_i64(str_trim(str_skip(line, n + 1)), &value))
            return value;
    }
    return -1;
}

#endif
