/* forward.c - the request as the backend gets it: its own head, and the body with members spliced. */
#include "call/call_private.h"

enum { SEND_HEAD_MAX = 96 << 10 };

/* The caller's fields that go no further: those of its connection, its credentials, and what would
 * make the answer unreadable here. */
static bool stays_here(struct str name) {
    switch (name.n) {
    case 6:
        return http_is_hop_by_hop(name) || str_ieq(name, STR("cookie"));
    case 7:
        return http_is_hop_by_hop(name) || str_ieq(name, STR("api-key"));
    case 12:
        return str_ieq(name, STR("content-type"));
    case 13:
        return str_ieq(name, STR("authorization"));
    case 15:
        return str_ieq(name, STR("accept-encoding"));
    default:
        return http_is_hop_by_hop(name) || str_istarts(name, STR("x-ms-spillover-"));
    }
}

/* "/v1/chat/completions", or Azure's path with its api-version. */
static void put_path(struct buf *out, const struct call *c) {
    const struct backend *b = c->backend;
    buf_str(out, b->url.path);
    if (b->dialect == DIALECT_OPENAI) {
        buf_lit(out, "/v1");
        buf_str(out, operation_path(c->route.op));
        return;
    }
    if (c->route.op == OP_RESPONSES) {
        buf_lit(out, "/openai/responses");
    } else {
        buf_lit(out, "/openai/deployments/");
        buf_str(out, b->deployment_name.n ? b->deployment_name : c->deployment->model->name);
        buf_str(out, operation_path(c->route.op));
    }
    buf_lit(out, "?api-version=");
    buf_str(out, b->api_version);
}

static void put_caller_fields(struct buf *out, const struct http_head *head) {
    for (size_t i = 0; i < head->n_fields; i++) {
        struct str name = head->fields[i].name;
        if (!stays_here(name) && !http_is_nominated(head, name))
            http_put_field(out, name, head->fields[i].value);
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

/* Lays out the body as slices of the caller's bytes with replacements between, in their order. */
static void lay_out_body(struct call *c, struct str model_text) {
    const struct request *r = &c->request;
    struct edit edits[2];
    int n = 0;
    if (r->model_at.end)
        edits[n++] = (struct edit){r->model_at.begin, r->model_at.end, model_text};
    else
        edits[n++] = (struct edit){r->open_at, r->open_at, model_text};
    if (must_ask_for_usage(c)) {
        struct edit e = {r->ask_at.begin, r->ask_at.end, r->ask_text};
        if (e.begin < edits[0].begin) {
            edits[n++] = edits[0];
            edits[0] = e;
        } else {
            edits[n++] = e;
        }
    }
    size_t at = 0;
    for (int i = 0; i < n; i++) {
        c->send[c->n_send++] = (struct iovec){c->body.p + at, edits[i].begin - at};
        c->send[c->n_send++] = (struct iovec){(char *)(uintptr_t)edits[i].text.p, edits[i].text.n};
        at = edits[i].end;
    }
    c->send[c->n_send++] = (struct iovec){c->body.p + at, c->body.len - at};
}

void forward_prepare(struct call *c, const struct http_head *head) {
    const struct request *r = &c->request;
    const struct backend *b = c->backend;
    if (head) {
        buf_init(&c->caller_fields, SEND_HEAD_MAX);
        buf_init(&c->send_head, SEND_HEAD_MAX);
        buf_init(&c->model_text, 4096);
        buf_reserve(&c->caller_fields, 512);
        put_caller_fields(&c->caller_fields, head);
        buf_lit(&c->caller_fields, "\r\n");
    }
    buf_clear(&c->model_text);
    if (!r->model_at.end)
        buf_lit(&c->model_text, "\"model\":");
    json_quote(&c->model_text, model_for(c));
    if (!r->model_at.end && !r->is_empty_object)
        buf_char(&c->model_text, ',');

    c->n_send = 2; /* the head comes first; its bytes are known last */
    lay_out_body(c, buf_view(&c->model_text));
    size_t length = 0;
    for (int i = 2; i < c->n_send; i++)
        length += c->send[i].iov_len;

    struct buf *out = &c->send_head;
    buf_clear(out);
    buf_reserve(out, 512);
    buf_lit(out, "POST ");
    put_path(out, c);
    buf_lit(out, " HTTP/1.1\r\nHost: ");
    buf_str(out, b->url.authority);
    buf_lit(out, "\r\nContent-Type: application/json\r\nContent-Length: ");
    buf_u64(out, length);
    buf_lit(out, "\r\n");
    buf_str(out, b->auth_header);
    c->send[0] = (struct iovec){out->p, out->len};
    c->send[1] = (struct iovec){c->caller_fields.p, c->caller_fields.len};
}
