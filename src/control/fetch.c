#include "control/fetch.h"

#include "base/buf.h"
#include "client/client.h"
#include "model/url.h"
#include "json/json.h"

#include <stdlib.h>

enum { REQUEST_MAX = 2 << 20, CONNECT_MS = 5000 };

struct fetch {
    struct loop *loop;
    struct client_pool *pool;    /* owned; NULL when the URL was none */
    struct client_request *sent; /* NULL when it is over */
    struct loop_timer *timer;    /* owned: the deadline, then the way off the client's stack */
    struct buf request, body;
    size_t answer_max;
    struct fetch_answer answer;
    char why[160];
    int http_status; /* as the head said; it counts when the body is there */
    void (*done)(void *arg, const struct fetch_answer *answer);
    void *arg;
};

static void release(struct fetch *f) {
    if (f->sent)
        client_cancel(f->sent);
    client_pool_free(f->pool);
    loop_timer_close(f->timer);
    buf_destroy(&f->request);
    buf_destroy(&f->body);
    free(f);
}

void fetch_cancel(struct fetch *f) {
    if (f)
        release(f);
}

static void tell(void *arg) {
    struct fetch *f = arg;
    f->answer.body = buf_view(&f->body);
    f->answer.why = str_of(f->why);
    f->done(f->arg, &f->answer);
    release(f);
}

/* What the client's handlers stand on may not go under them, so it is told on a turn of its own. */
static void end(struct fetch *f, int http, enum status st, struct str why) {
    f->sent = NULL;
    f->answer = (struct fetch_answer){.status = http, .st = st};
    size_t n = size_min(why.n, sizeof f->why - 1);
    if (n)
        memcpy(f->why, why.p, n);
    f->why[n] = '\0';
    loop_timer_close(f->timer);
    f->timer = loop_timer_new(f->loop, 0, 0, tell, f);
}

static void on_deadline(void *arg) {
    struct fetch *f = arg;
    client_cancel(f->sent);
    end(f, 0, ST_UPSTREAM_TIMEOUT, STR("no whole answer came in time"));
}

static void on_head(void *user, const struct http_head *head) {
    struct fetch *f = user;
    f->http_status = head->status;
}

static void on_body(void *user, struct str piece, bool is_last) {
    struct fetch *f = user;
    if (f->answer_max)
        buf_str(&f->body, piece);
    if (f->body.overflowed) {
        if (!is_last)
            client_cancel(f->sent);
        end(f, 0, ST_TOO_LARGE, STR("the answer is too long"));
        return;
    }
    if (is_last) {
        buf_reserve_slack(&f->body, 0, JSON_PADDING);
        end(f, f->http_status, ST_OK, STR(""));
    }
}

static void on_pause(void *user) {
    (void)user;
}

static void on_fail(void *user, enum status st, struct str why) {
    end(user, 0, st, why);
}

static const struct client_handlers handlers = {on_head, on_body, on_pause, on_fail};

/* Parts the URL, whose query url_parse does not take. */
static bool read_url(struct str text, struct url *url, struct str *query) {
    ptrdiff_t mark = str_find(text, STR("?"));
    *query = mark < 0 ? STR("") : str_skip(text, (size_t)mark);
    text.n -= query->n;
    for (size_t i = 0; i < query->n; i++) {
        if (query->p[i] <= ' ' || query->p[i] > '~')
            return false;
    }
    return url_parse(text, url, NULL) == ST_OK && url->is_tls;
}

static void put_request(struct fetch *f, const struct url *url, struct str query, struct str body) {
    buf_printf(&f->request,
               "%s %.*s%.*s HTTP/1.1\r\nhost: %.*s\r\nuser-agent: weir\r\n"
               "accept: application/json\r\nconnection: close\r\n",
               body.n ? "POST" : "GET", STR_ARG(url->path.n ? url->path : STR("/")), STR_ARG(query),
               STR_ARG(url->authority));
    if (body.n)
        buf_printf(&f->request, "content-type: application/json\r\ncontent-length: %zu\r\n",
                   body.n);
    buf_lit(&f->request, "\r\n");
    buf_str(&f->request, body);
}

struct fetch *fetch_begin(struct loop *l, const struct fetch_order *order,
                          void (*done)(void *arg, const struct fetch_answer *answer), void *arg) {
    struct fetch *f = xcalloc(1, sizeof *f);
    struct url url;
    struct str query;
    f->loop = l;
    f->done = done;
    f->arg = arg;
    f->answer_max = order->answer_max;
    buf_init(&f->request, REQUEST_MAX);
    buf_init(&f->body, order->answer_max);
    if (!read_url(order->url, &url, &query)) {
        end(f, 0, ST_BAD_REQUEST, STR("the URL is none of https"));
        return f;
    }
    char *host = str_dup(url.host);
    struct client_target target = {.host = host,
                                   .port = url.port,
                                   .tls = order->tls,
                                   .max_connections = 1,
                                   .connect_ms = CONNECT_MS,
                                   .first_byte_ms = order->whole_ms,
                                   .stall_ms = order->whole_ms,
                                   .idle_ms = 1,
                                   .is_public_only = order->is_public_only};
    f->pool = client_pool_new(l, &target);
    free(host);
    put_request(f, &url, query, order->body);
    struct iovec iov = {f->request.p, f->request.len};
    f->sent = client_send(f->pool, &iov, 1, &handlers, f);
    assert(f->sent); /* the pool is new */
    f->timer = loop_timer_new(l, order->whole_ms, 0, on_deadline, f);
    return f;
}
