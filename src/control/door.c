/* door.c - the control plane's listener: who asks, whom it is for, and the answer's way back. */
#include "control/control_private.h"

#include "http/target.h"
#include "os/os.h"

#include <stdlib.h>

enum { KEPT_TOKENS = 1024 };

/* --- paths --- */

static bool read_method(struct str s, enum arm_method *out) {
    static const struct str names[] = {
        [ARM_GET] = STR_INIT("GET"),        [ARM_HEAD] = STR_INIT("HEAD"),
        [ARM_PUT_METHOD] = STR_INIT("PUT"), [ARM_PATCH] = STR_INIT("PATCH"),
        [ARM_POST] = STR_INIT("POST"),      [ARM_DELETE_METHOD] = STR_INIT("DELETE"),
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (str_eq(s, names[i])) {
            *out = (enum arm_method)i;
            return true;
        }
    }
    return false;
}

/* /providers/Weir.Capacity/principals[/APPID]; the target becomes the app id. */
static bool is_principal_path(struct str path, struct str *app_id) {
    struct str segment;
    static const struct str want[] = {STR_INIT("providers"), STR_INIT("Weir.Capacity"),
                                      STR_INIT("principals")};
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        if (!target_segment(&path, &segment) || !str_ieq(segment, want[i]))
            return false;
    }
    *app_id = STR("");
    return !target_segment(&path, app_id) || !target_segment(&path, &segment);
}

/* /providers/Weir.Capacity/tokenKeys/rotate */
static bool is_rotate_path(struct str path) {
    struct str segment;
    static const struct str want[] = {STR_INIT("providers"), STR_INIT("Weir.Capacity"),
                                      STR_INIT("tokenKeys"), STR_INIT("rotate")};
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        if (!target_segment(&path, &segment) || !str_ieq(segment, want[i]))
            return false;
    }
    return !target_segment(&path, &segment);
}

/* /providers/Weir.Capacity/pools… */
static bool is_pool_path(struct str path) {
    struct str segment;
    static const struct str want[] = {STR_INIT("providers"), STR_INIT("Weir.Capacity"),
                                      STR_INIT("pools")};
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        if (!target_segment(&path, &segment) || !str_ieq(segment, want[i]))
            return false;
    }
    return true;
}

/* --- reads --- */

/* All that the answer to a read depends on. */
static struct reads_question question_of(const struct errand *e) {
    return (struct reads_question){.target = buf_view(&e->target),
                                   .base_url = buf_view(&e->base_url),
                                   .object_id = str_of(e->object_id),
                                   .app_id = str_of(e->app_id),
                                   .is_own = e->is_own};
}

/* From memory when nothing has changed since, else by the thread. */
static void answer_read(struct errand *e) {
    struct door *d = e->door;
    struct reads_question q = question_of(e);
    struct reads_answer kept;
    e->is_keepable = e->if_match.len == 0 && e->if_none_match.len == 0;
    if (e->is_keepable && reads_find(d->reads, atomic_load(&d->control->world), &q, &kept))
        errand_reply_kept(e, &kept);
    else
        errand_to_thread(e);
}

/* Keeps an answer that has no more to it than a body. */
static void keep_read(const struct errand *e) {
    const struct arm_answer *a = &e->answer;
    if (!e->is_keepable || a->status != 200 || a->location[0] || a->async_operation[0] ||
        a->retry_after_s || e->world != atomic_load(&e->door->control->world))
        return;
    struct reads_question q = question_of(e);
    struct reads_answer answer = {buf_view(&a->body), str_of(a->etag)};
    reads_keep(e->door->reads, e->world, &q, &answer);
}

/* --- the way back from the thread --- */

static void on_answer(void *arg) {
    struct errand *e = arg;
    if (e->must_read_tokenizer) {
        tokenizer_begin(e);
    } else if (!e->exchange) {
        errand_free(e); /* the client has left; what it wanted is done */
    } else if (e->kind == ERRAND_ROTATE && e->answer.status == 200) {
        arm_answer_clear(&e->answer);
        upkeep_rotate(e->door->control, e);
    } else if (e->kind == ERRAND_TOKEN) {
        tokens_answer(e);
    } else {
        keep_read(e);
        errand_reply(e);
    }
}

void door_answer(struct errand *e) {
    loop_post(e->door->control->loop, on_answer, e);
}

/* --- who asks --- */

/* The caller is known: to whoever answers it. */
static void dispatch(struct errand *e) {
    struct str path, query, app_id;
    bool is_split = target_split(buf_view(&e->target), &path, &query);
    assert(is_split); /* on_request looked */
    if (is_rotate_path(path)) {
        e->kind = ERRAND_ROTATE;
        if (e->method == ARM_POST)
            errand_to_thread(e);
        else
            errand_refuse(e, 405, "MethodNotAllowed", "A key is replaced by POST.");
        return;
    }
    if (is_principal_path(path, &app_id)) {
        char text[PRINCIPAL_ID_SIZE + 1]; /* a longer one is no id, and stays none when cut */
        errand_set_text(text, sizeof text, app_id);
        buf_clear(&e->target);
        principals_begin(e, str_of(text));
        return;
    }
    if (e->method != ARM_GET)
        errand_to_thread(e);
    else if (is_pool_path(path))
        host_ask_health(e);
    else
        answer_read(e);
}

static void authenticate(struct errand *e);

static void on_keys(struct issuers_waiter *w) {
    struct errand *e = CONTAINER_OF(w, struct errand, waiter);
    authenticate(e);
}

/* Who asks, by the token. One whose issuer may have turned its keys over waits until they are fetched. */
static void authenticate(struct errand *e) {
    struct control *c = e->door->control;
    const struct token_claims *claims;
    struct str issuer;
    enum token_verdict verdict = token_check(e->door->checker, c->trust, buf_view(&e->bearer),
                                             os_wall_us() / 1000000, &claims, &issuer);
    if (verdict == TOKEN_UNKNOWN_KEY && !e->has_waited) {
        e->has_waited = true;
        e->waiter.fn = on_keys;
        if (issuers_ask(c->issuers, issuer, &e->waiter))
            return;
    }
    if (verdict != TOKEN_GOOD) {
        arm_refuse(&e->answer, 401,
                   verdict == TOKEN_EXPIRED ? STR("ExpiredAuthenticationToken")
                                            : STR("InvalidAuthenticationToken"),
                   "%.*s", STR_ARG(token_verdict_text(verdict)));
        errand_reply(e);
        return;
    }
    errand_set_text(e->app_id, sizeof e->app_id, str_of(claims->app_id));
    errand_set_text(e->object_id, sizeof e->object_id, str_of(claims->object_id));
    errand_set_text(e->name, sizeof e->name, str_of(claims->name));
    e->is_own = claims->is_own;
    dispatch(e);
}

static void put_base_url(struct errand *e, const struct http_head *head) {
    struct str host = http_head_get(head, STR("host"));
    buf_lit(&e->base_url, "https://");
    buf_str(&e->base_url, host);
}

static void on_request(void *arg, struct exchange *x) {
    struct door *d = arg;
    const struct http_head *head = exchange_head(x);
    struct errand *e = errand_new(d, x, ERRAND_ARM);
    struct str path, query, token;
    put_base_url(e, head);
    buf_str(&e->target, head->target);
    buf_str(&e->if_match, http_head_get(head, STR("if-match")));
    buf_str(&e->if_none_match, http_head_get(head, STR("if-none-match")));
    buf_str(&e->client_request_id, http_head_get(head, STR("x-ms-client-request-id")));
    buf_str(&e->correlation_id, http_head_get(head, STR("x-ms-correlation-request-id")));
    e->returns_client_id =
        str_ieq(http_head_get(head, STR("x-ms-return-client-request-id")), STR("true"));
    e->body = exchange_take_body(x);
    if (buf_status(&e->target) != ST_OK || !target_split(head->target, &path, &query)) {
        errand_refuse(e, 414, "UriTooLong", "The request's target is too long or malformed.");
        return;
    }
    if (tokens_serve(e, head, path, query))
        return;
    if (!read_method(head->method, &e->method)) {
        errand_refuse(e, 405, "MethodNotAllowed", "This method is not known here.");
        return;
    }
    token = token_bearer(http_head_get(head, STR("authorization")));
    if (token.n == 0) {
        errand_refuse(e, 401, "AuthenticationFailed",
                      "Authentication failed. The 'Authorization' header is missing.");
        return;
    }
    buf_str(&e->bearer, (struct str){token.p, size_min(token.n, TOKEN_MAX + 1)});
    authenticate(e);
}

static void on_gone(void *user, struct exchange *x) {
    (void)x;
    struct errand *e = user;
    e->exchange = NULL;
    if (list_is_linked(&e->waiter.link)) { /* in no other hands */
        list_remove(&e->waiter.link);
        errand_free(e);
    }
}

static void on_drained(void *user, struct exchange *x) {
    (void)user;
    (void)x;
}

/* Refusals of the server itself, in ARM's shape. */
static bool on_refused(void *arg, struct exchange *x, enum status st, const struct problem *why) {
    if (!x || exchange_user(x))
        return false;
    struct errand *e = errand_new(arg, x, ERRAND_ARM);
    bool is_large = st == ST_TOO_LARGE;
    arm_refuse(&e->answer, status_info(st)->http,
               is_large ? STR("RequestContentTooLarge") : STR("BadRequest"), "%s",
               is_large ? "A request's body may have 1 MB."
                        : (why && why->message[0] ? why->message : "The request is malformed."));
    errand_reply(e);
    return true;
}

static const struct server_handler handler = {NULL, on_request, on_gone, on_drained, on_refused};

struct door *door_new(struct control *c) {
    struct door *d = xcalloc(1, sizeof *d);
    struct server_limits limits = {.body_bytes = ARM_BODY_MAX, .n_connections = 2000};
    d->control = c;
    d->server = server_new(c->loop, &limits, &handler, d);
    d->checker = token_checker_new(KEPT_TOKENS);
    d->reads = reads_new(READS_BYTES, &c->hash);
    slow_init(&d->slow, c);
    return d;
}

enum status door_listen(struct door *d, const char *host, int *port, struct tls_context *tls,
                        struct problem *why) {
    if (*port)
        TRY(listener_probe(host, *port, why));
    return server_listen(d->server, host, *port, tls, port, why);
}

void door_free(struct door *d) {
    if (!d)
        return;
    server_free(d->server);
    slow_destroy(&d->slow);
    reads_free(d->reads);
    token_checker_free(d->checker);
    free(d);
}
