/* forward.c - the request as the backend gets it: its own head, and the body with members spliced. */
#include "call/call_private.h"

enum { SENT_MAX = 128 << 10 };

/* The caller's fields that go no further: those of its connection, its credentials, and what would
 * make the answer unreadable here. */
static bool stays_here(const struct http_field *f) {
    static const uint64_t staying = HTTP_HOP_BY_HOP | HTTP_SET(HTTP_COOKIE) |
                                    HTTP_SET(HTTP_API_KEY) | HTTP_SET(HTTP_CONTENT_TYPE) |
                                    HTTP_SET(HTTP_AUTHORIZATION) | HTTP_SET(HTTP_ACCEPT_ENCODING);
    return http_set_has(staying, f->id) ||
           (f->id == HTTP_OTHER && str_istarts(f->name, STR("x-ms-spillover-")));
}

/* "/v1/chat/completions", or Azure's path with its api-version. */
static void put_path(struct pen *out, const struct call *c) {
    const struct backend *b = c->backend;
    pen_str(out, b->url.path);
    if (b->dialect == DIALECT_OPENAI) {
        pen_lit(out, "/v1");
        pen_str(out, operation_path(c->route.op));
        return;
    }
    if (c->route.op == OP_RESPONSES) {
        pen_lit(out, "/openai/responses");
    } else {
        pen_lit(out, "/openai/deployments/");
        pen_str(out, b->deployment_name.n ? b->deployment_name : c->deployment->model->name);
        pen_str(out, operation_path(c->route.op));
    }
    pen_lit(out, "?api-version=");
    pen_str(out, b->api_version);
}

/* More than the words of ours in a request's head, and its length, take. */
enum { FIXED_MAX = 400 };

static void put_head(struct buf *out, const struct call *c, size_t body_length) {
    const struct backend *b = c->backend;
    struct pen pen = buf_pen(out, FIXED_MAX + b->url.path.n + b->deployment_name.n +
                                      c->deployment->model->name.n + b->api_version.n +
                                      b->url.authority.n + b->auth_header.n);
    if (!pen.p)
        return;
    pen_lit(&pen, "POST ");
    put_path(&pen, c);
    pen_lit(&pen, " HTTP/1.1\r\nHost: ");
    pen_str(&pen, b->url.authority);
    pen_lit(&pen, "\r\nContent-Type: application/json\r\nContent-Length: ");
    pen_i64(&pen, (int64_t)body_length);
    pen_lit(&pen, "\r\n");
    pen_str(&pen, b->auth_header);
    buf_pen_done(out, &pen);
}

static void put_caller_fields(struct buf *out, const struct http_head *head) {
    for (size_t i = 0; i < head->n_fields; i++) {
        const struct http_field *f = &head->fields[i];
        if (!stays_here(f) && !http_is_nominated(head, f->name))
            http_put_field(out, f->name, f->value);
    }
}

/* The name that the backend knows the model by. */
static struct str model_for(const struct call *c) {
    if (c->backend->dialect == DIALECT_AZURE && c->backend->deployment_name.n &&
        !c->backend->model_name.n)
        return c->backend->deployment_name;
    return c->backend->model_name.n ? c->backend->model_name : c->deployment->model->name;
}

static bool must_ask_for_usage(const struct call *c) {
    return c->request.is_stream && !c->request.wants_usage &&
           (c->route.op == OP_CHAT || c->route.op == OP_COMPLETIONS);
}

/* A stretch of the body that is replaced; an empty one is an insertion. */
struct edit {
    size_t begin, end;
    struct str text;
};

enum { EDITS = 2 };

/* What changes in the body, in its order; how many edits. */
static int list_edits(const struct call *c, struct str model_text, struct edit *edits) {
    const struct request *r = &c->request;
    edits[0] = r->model_at.end ? (struct edit){r->model_at.begin, r->model_at.end, model_text}
                               : (struct edit){r->open_at, r->open_at, model_text};
    if (!must_ask_for_usage(c))
        return 1;
    edits[1] = (struct edit){r->ask_at.begin, r->ask_at.end, r->ask_text};
    if (edits[1].begin < edits[0].begin) {
        struct edit first = edits[1];
        edits[1] = edits[0];
        edits[0] = first;
    }
    return 2;
}

static void add_slice(struct call *c, const char *p, size_t n) {
    c->send[c->n_send++] = (struct iovec){(char *)(uintptr_t)p, n};
}

/* `sent` holds the caller's fields, which every attempt sends, then the text that replaces `model`, then
 * the request's head. It may move while it grows, so the slices are laid out last. */
void forward_prepare(struct call *c, const struct call_env *env, const struct http_head *head) {
    const struct request *r = &c->request;
    struct buf *out = &c->sent;
    struct edit edits[EDITS] UNINITIALIZED;
    if (head) {
        buf_init(out, SENT_MAX);
        shelf_take(env->shelf, out);
        put_caller_fields(out, head);
        buf_lit(out, "\r\n");
        c->n_caller_fields = out->len;
    }
    out->len = c->n_caller_fields;
    if (!r->model_at.end)
        buf_lit(out, "\"model\":");
    json_quote(out, model_for(c));
    if (!r->model_at.end && !r->is_empty_object)
        buf_char(out, ',');
    size_t head_at = out->len;
    struct str model_text = {NULL, head_at - c->n_caller_fields};
    int n = list_edits(c, model_text, edits);
    size_t length = c->body.len;
    for (int i = 0; i < n; i++)
        length += edits[i].text.n - (edits[i].end - edits[i].begin);

    put_head(out, c, length);

    c->n_send = 0;
    add_slice(c, out->p + head_at, out->len - head_at);
    add_slice(c, out->p, c->n_caller_fields);
    size_t at = 0;
    for (int i = 0; i < n; i++) {
        add_slice(c, c->body.p + at, edits[i].begin - at);
        add_slice(c, edits[i].text.p ? edits[i].text.p : out->p + c->n_caller_fields,
                  edits[i].text.n);
        at = edits[i].end;
    }
    add_slice(c, c->body.p + at, c->body.len - at);
}
