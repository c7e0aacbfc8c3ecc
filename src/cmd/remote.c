#include "cmd/remote.h"

#include "client/client.h"
#include "model/url.h"
#include "os/os.h"
#include "json/json.h"

#include <stdio.h>
#include <stdlib.h>

enum { FILE_MAX = 64 << 10, BODY_MAX = 256 << 20, TOKEN_MAX = 16 << 10, WAIT_MS = 60000 };

struct remote {
    struct loop *loop;
    struct client_pool *pool;
    struct tls_context *tls;
    char host[300], authority[300], client_id[128], client_secret[256], ca_file[2048];
    struct buf token;
    /* The request under way. */
    struct remote_answer *answer;
    enum status st;
    struct problem *why;
};

/* --- one request --- */

static void on_head(void *user, const struct http_head *head) {
    struct remote *r = user;
    struct str operation = http_head_get(head, STR("azure-asyncoperation"));
    r->answer->status = head->status;
    if (operation.n && operation.n < sizeof r->answer->async_operation) {
        memcpy(r->answer->async_operation, operation.p, operation.n);
        r->answer->async_operation[operation.n] = '\0';
    }
}

static void on_body(void *user, struct str piece, bool is_last) {
    struct remote *r = user;
    buf_str(&r->answer->body, piece);
    if (is_last)
        loop_stop(r->loop);
}

static void on_pause(void *user) {
    (void)user;
}

static void on_fail(void *user, enum status st, struct str why) {
    struct remote *r = user;
    r->st = problem_set(r->why, st, str_of(r->authority), "%.*s", STR_ARG(why));
    loop_stop(r->loop);
}

static const struct client_handlers handlers = {on_head, on_body, on_pause, on_fail};

static enum status send_one(struct remote *r, const char *method, struct str target,
                            struct str content_type, struct str body, struct remote_answer *out,
                            struct problem *why) {
    struct buf head;
    buf_init(&head, 64 << 10);
    *out = (struct remote_answer){.status = 0};
    buf_init(&out->body, BODY_MAX);
    buf_printf(&head, "%s %.*s HTTP/1.1\r\nhost: %s\r\nuser-agent: weir/" WEIR_VERSION "\r\n",
               method, STR_ARG(target), r->authority);
    if (r->token.len)
        buf_printf(&head, "authorization: Bearer %.*s\r\n", STR_ARG(buf_view(&r->token)));
    if (body.n)
        buf_printf(&head, "content-type: %.*s\r\n", STR_ARG(content_type));
    buf_printf(&head, "content-length: %zu\r\n\r\n", body.n);
    r->answer = out;
    r->st = ST_OK;
    r->why = why;
    struct iovec iov[2] = {{head.p, head.len}, {(char *)(uintptr_t)body.p, body.n}};
    struct client_request *q = client_send(r->pool, iov, body.n ? 2 : 1, &handlers, r);
    assert(q);
    (void)q;
    loop_run(r->loop);
    buf_destroy(&head);
    if (r->st == ST_OK)
        r->st = buf_status(&out->body);
    buf_reserve_slack(&out->body, 0, JSON_PADDING);
    return r->st;
}

enum status remote_call(struct remote *r, const char *method, struct str target, struct str body,
                        struct remote_answer *out, struct problem *why) {
    return send_one(r, method, target, STR("application/json"), body, out, why);
}

void remote_answer_destroy(struct remote_answer *a) {
    buf_destroy(&a->body);
}

/* --- refusals --- */

enum status remote_refusal(const struct remote_answer *a, struct str target, struct problem *why) {
    struct json_doc *doc = json_doc_new();
    struct json_value root, error;
    enum status st;
    if (a->body.len && json_parse(doc, a->body.p, a->body.len, &root, NULL) == ST_OK &&
        json_get(root, STR("error"), &error) && json_type(error) == JSON_OBJECT)
        st = problem_set(why, ST_BAD_REQUEST, target, "%.*s: %.*s",
                         STR_ARG(json_get_str(error, STR("code"))),
                         STR_ARG(json_get_str(error, STR("message"))));
    else
        st = problem_set(why, ST_BAD_REQUEST, target, "the server answered %d", a->status);
    json_doc_free(doc);
    return st;
}

/* --- opening --- */

static enum status take_text(struct json_value root, const char *name, const char *file, char *out,
                             size_t size, struct problem *why) {
    struct str s = json_get_str(root, str_of(name));
    if (s.n == 0 || s.n >= size)
        return problem_set(why, ST_BAD_REQUEST, str_of(file),
                           "has no \"%s\"; the server writes the file when it starts with "
                           "--control-listen",
                           name);
    memcpy(out, s.p, s.n);
    out[s.n] = '\0';
    return ST_OK;
}

static enum status read_file(struct remote *r, const char *file, char *endpoint, size_t size,
                             struct problem *why) {
    struct buf text;
    struct json_doc *doc = json_doc_new();
    struct json_value root;
    buf_init(&text, FILE_MAX);
    enum status st = os_read_file(file, &text, JSON_PADDING, why);
    if (st == ST_OK)
        st = json_parse(doc, text.p ? text.p : "", text.len, &root, why);
    if (st == ST_OK)
        st = take_text(root, "controlEndpoint", file, endpoint, size, why);
    if (st == ST_OK)
        st = take_text(root, "caFile", file, r->ca_file, sizeof r->ca_file, why);
    if (st == ST_OK)
        st = take_text(root, "clientId", file, r->client_id, sizeof r->client_id, why);
    if (st == ST_OK)
        st = take_text(root, "clientSecret", file, r->client_secret, sizeof r->client_secret, why);
    json_doc_free(doc);
    buf_destroy(&text);
    return st;
}

static enum status fetch_token(struct remote *r, struct problem *why) {
    struct buf form;
    struct remote_answer a;
    struct json_doc *doc = json_doc_new();
    struct json_value root = {NULL, 0};
    buf_init(&form, FILE_MAX);
    buf_printf(&form,
               "grant_type=client_credentials&client_id=%s&client_secret=%s&"
               "scope=https%%3A%%2F%%2F"
               "management.azure.com%%2F.default",
               r->client_id, r->client_secret);
    enum status st = send_one(r, "POST", STR("/adfs/oauth2/token"),
                              STR("application/x-www-form-urlencoded"), buf_view(&form), &a, why);
    if (st == ST_OK && a.status == 200)
        st = json_parse(doc, a.body.p, a.body.len, &root, why);
    else if (st == ST_OK)
        st = problem_set(why, ST_BAD_REQUEST, str_of(r->authority),
                         "gives no token to client %s (%d): is the secret still the right one?",
                         r->client_id, a.status);
    if (st == ST_OK)
        buf_str(&r->token, json_get_str(root, STR("access_token")));
    json_doc_free(doc);
    remote_answer_destroy(&a);
    buf_destroy(&form);
    return st;
}

static enum status connect_to(struct remote *r, const char *endpoint, struct problem *why) {
    struct url url;
    TRY(url_parse(str_of(endpoint), &url, why));
    snprintf(r->host, sizeof r->host, "%.*s", STR_ARG(url.host));
    snprintf(r->authority, sizeof r->authority, "%.*s", STR_ARG(url.authority));
    TRY(tls_client_new(r->ca_file, true, &r->tls, why));
    struct client_target target = {.host = r->host,
                                   .port = url.port,
                                   .tls = r->tls,
                                   .max_connections = 1,
                                   .connect_ms = 5000,
                                   .first_byte_ms = 60000,
                                   .stall_ms = 60000,
                                   .idle_ms = 30000};
    r->loop = loop_new();
    r->pool = client_pool_new(r->loop, &target);
    return fetch_token(r, why);
}

enum status remote_open(const char *operator_file, struct remote **out, struct problem *why) {
    struct remote *r = xcalloc(1, sizeof *r);
    char endpoint[300];
    buf_init(&r->token, TOKEN_MAX);
    enum status st = read_file(r, operator_file, endpoint, sizeof endpoint, why);
    if (st == ST_OK)
        st = connect_to(r, endpoint, why);
    if (st != ST_OK) {
        remote_close(r);
        return st;
    }
    *out = r;
    return ST_OK;
}

void remote_close(struct remote *r) {
    if (!r)
        return;
    if (r->pool)
        client_pool_free(r->pool);
    if (r->loop)
        loop_free(r->loop);
    tls_unref(r->tls);
    buf_destroy(&r->token);
    explicit_bzero(r->client_secret, sizeof r->client_secret);
    free(r);
}

void remote_operator_file(const char *data_dir, const char *given, char *out, size_t size) {
    if (given[0])
        snprintf(out, size, "%s", given);
    else
        snprintf(out, size, "%s/operator.json", data_dir);
}

/* --- operations --- */

static void on_time(void *arg) {
    loop_stop(arg);
}

static void pause_ms(struct remote *r, int64_t ms) {
    struct loop_timer *t = loop_timer_new(r->loop, ms, 0, on_time, r->loop);
    loop_run(r->loop);
    loop_timer_close(t);
}

/* One look at an operation: true when it has ended, with how in *st. */
static bool has_ended(struct remote *r, struct str target, enum status *st, struct problem *why) {
    struct remote_answer a;
    struct json_doc *doc = json_doc_new();
    struct json_value root, error;
    *st = remote_call(r, "GET", target, STR(""), &a, why);
    if (*st == ST_OK && a.status != 200)
        *st = remote_refusal(&a, target, why);
    if (*st == ST_OK)
        *st = json_parse(doc, a.body.p, a.body.len, &root, why);
    bool is_over = *st != ST_OK;
    if (*st == ST_OK) {
        struct str word = json_get_str(root, STR("status"));
        bool is_good = str_eq(word, STR("Succeeded"));
        is_over = is_good || str_eq(word, STR("Failed")) || str_eq(word, STR("Canceled"));
        if (is_over && !is_good)
            *st = problem_set(why, ST_BAD_REQUEST, target, "%.*s",
                              STR_ARG(json_get(root, STR("error"), &error)
                                          ? json_get_str(error, STR("message"))
                                          : word));
    }
    json_doc_free(doc);
    remote_answer_destroy(&a);
    return is_over;
}

enum status remote_wait(struct remote *r, const struct remote_answer *begun, struct problem *why) {
    struct str url = str_of(begun->async_operation);
    enum status st = ST_OK;
    if (url.n == 0)
        return ST_OK;
    ptrdiff_t at = str_find(url, STR("://"));
    struct str rest = at < 0 ? url : str_skip(url, (size_t)at + 3);
    const char *slash = rest.n ? memchr(rest.p, '/', rest.n) : NULL;
    if (!slash)
        return problem_set(why, ST_UPSTREAM_GARBAGE, url, "names no operation");
    struct str target = str_skip(rest, (size_t)(slash - rest.p));
    int64_t end_ms = loop_now_ms(r->loop) + WAIT_MS;
    while (!has_ended(r, target, &st, why)) {
        if (loop_now_ms(r->loop) > end_ms)
            return problem_set(why, ST_UPSTREAM_TIMEOUT, target, "has not ended in a minute");
        pause_ms(r, 100);
    }
    return st;
}
