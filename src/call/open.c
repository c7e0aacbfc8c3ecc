/* open.c - by a request's head: what it asks for, and whose it is. */
#include "call/call_private.h"

/* The host without its port. */
static struct str host_name(struct str host) {
    const char *colon = host.n ? memrchr(host.p, ':', host.n) : NULL;
    if (colon && host.p[host.n - 1] != ']')
        host.n = (size_t)(colon - host.p);
    return host;
}

static struct str bearer_of(const struct http_head *head) {
    struct str field = http_head_find(head, HTTP_AUTHORIZATION);
    return str_istarts(field, STR("bearer ")) ? str_trim(str_skip(field, 7)) : STR("");
}

/* How many accounts the caller names by host or path, and the last of them: two resource groups may each
 * have one of the same name, and the key tells which is meant. ST_NOT_FOUND for a path that names none. */
static enum status named_account(const struct call *c, const struct account *by_host,
                                 const struct account *by_key, const struct account **out,
                                 size_t *n) {
    struct str name = c->route.account;
    const struct account *a;
    *out = by_host;
    *n = by_host ? 1 : 0;
    if (!name.p)
        return ST_OK;
    *n = 0;
    for (size_t at = 0; snapshot_next_account(c->view->snapshot, &at, &a);) {
        if (!str_ieq(a->name, name) || (by_host && by_host != a))
            continue;
        *out = a;
        if (a == by_key) {
            *n = 1;
            return ST_OK;
        }
        ++*n;
    }
    return *n ? ST_OK : ST_NOT_FOUND;
}

/* Of the accounts that have the name and the deployment (as far as the path tells them) the only one that
 * the caller may call. */
static enum status only_account(struct call *c, const struct call_guard *g, struct str caller,
                                struct problem *why) {
    const struct account *a;
    struct str name = c->route.account, wanted = c->route.deployment;
    for (size_t at = 0; snapshot_next_account(c->view->snapshot, &at, &a);) {
        if ((name.p && !str_ieq(a->name, name)) || (wanted.p && !account_deployment(a, wanted)) ||
            !g->may_call(g->arg, caller, c->route.op, a->id))
            continue;
        if (c->account)
            return problem_set(why, ST_BAD_REQUEST, STR(""),
                               name.p
                                   ? "Several accounts of this name may be called by this token: "
                                     "name one by its host, or show its key."
                                   : "This token may call several accounts: name one by its host, "
                                     "or by /accounts/NAME before the path.");
        c->account = a;
    }
    return c->account ? ST_OK : ST_FORBIDDEN;
}

static enum status authenticate_token(struct call *c, const struct call_guard *g,
                                      const struct account *named, struct str token,
                                      struct problem *why) {
    struct str caller = g->caller(g->arg, token);
    if (caller.n == 0)
        return ST_UNAUTHORIZED;
    if (!named)
        return only_account(c, g, caller, why);
    c->account = named;
    return g->may_call(g->arg, caller, c->route.op, named->id) ? ST_OK : ST_FORBIDDEN;
}

/*
 * The key comes as `api-key`, or as a bearer token from clients that know no other way; other bearer
 * tokens are the guard's to judge. A host or path that names an account must agree with the key:
 * another account's key does not open it.
 */
static enum status authenticate(struct call *c, const struct call_env *env,
                                const struct http_head *head, struct problem *why) {
    struct str key = http_head_find(head, HTTP_API_KEY);
    struct str bearer = key.n ? STR("") : bearer_of(head);
    const struct snapshot *s = c->view->snapshot;
    const struct account *named;
    size_t n_named;
    if (bearer.n)
        key = bearer;
    const struct account *by_key = key.n ? snapshot_account_by_key(s, key) : NULL;
    const struct account *by_host =
        snapshot_account_by_host(s, host_name(http_head_find(head, HTTP_HOST)));
    TRY(named_account(c, by_host, by_key, &named, &n_named));
    if (!by_key && bearer.n && env->guard)
        return authenticate_token(c, env->guard, n_named == 1 ? named : NULL, bearer, why);
    c->account = by_key;
    return by_key && (!named || named == by_key) ? ST_OK : ST_UNAUTHORIZED;
}

static void keep_client_id(struct call *c, const struct http_head *head) {
    struct str id = http_head_find(head, HTTP_X_MS_CLIENT_REQUEST_ID);
    if (id.n == 0)
        return;
    size_t n = size_min(id.n, CALL_CLIENT_ID_MAX);
    memcpy(c->client_id, id.p, n);
    c->client_id[n] = '\0';
}

enum status call_find_deployment(struct call *c, struct str name) {
    c->deployment = account_deployment(c->account, name);
    if (!c->deployment)
        return ST_NO_DEPLOYMENT;
    c->live = live_of(c->view, c->deployment);
    /* Of a thousand deployments this one's numbers are rarely near. They come while the body is read. */
    __builtin_prefetch(c->deployment->model);
    __builtin_prefetch(&c->live->bucket, 1);
    __builtin_prefetch(&c->live->standard, 1);
    __builtin_prefetch(&c->live->output);
    __builtin_prefetch(&c->live->minutes);
    __builtin_prefetch(c->live->minute_slots, 1);
    return ST_OK;
}

enum status call_open(struct call *c, const struct call_env *env, const struct http_head *head,
                      struct problem *why) {
    keep_client_id(c, head);
    TRY(route_parse(head->method, head->target, &c->route, why));
    TRY(authenticate(c, env, head, why));
    if (c->route.deployment.p)
        TRY(call_find_deployment(c, c->route.deployment));
    return ST_OK;
}
