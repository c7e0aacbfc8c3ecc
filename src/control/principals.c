/* principals.c - service principals: on the control thread looked up, listed, made and deleted; on the
 * listener's loop, what a new one needs before. */
#include "control/control_private.h"

#include "os/os.h"

#include <stdio.h>
#include <string.h>

enum { BODY_MAX = 64 << 10, LIST_MAX = 16 << 20 };

#define PRINCIPALS_PATH "/providers/Weir.Capacity/principals"

enum status principals_find(struct control *c, struct str app_id, struct principal *out,
                            bool *found, struct problem *why) {
    char key[PRINCIPAL_ID_SIZE];
    struct buf body;
    *found = false;
    if (!principal_key(app_id, key))
        return ST_OK;
    buf_init(&body, BODY_MAX);
    enum status st = store_get(c->store, STR(PRINCIPAL_TABLE), str_of(key), &body, found, why);
    if (st == ST_OK && *found) {
        buf_reserve_slack(&body, 0, JSON_PADDING);
        st = principal_parse(c->doc, buf_view(&body), out, why);
    }
    buf_destroy(&body);
    return st;
}

enum status principals_put(struct control *c, const struct principal *p, struct problem *why) {
    char key[PRINCIPAL_ID_SIZE];
    struct buf body;
    buf_init(&body, BODY_MAX);
    principal_print(p, &body);
    bool is_key = principal_key(str_of(p->app_id), key);
    assert(is_key);
    enum status st = control_put(c, STR(PRINCIPAL_TABLE), str_of(key), buf_view(&body), why);
    buf_destroy(&body);
    return st;
}

/* --- answers --- */

/* Without the hashes; the secret only in the answer that made it. */
static void put_principal(struct json_writer *w, const struct principal *p, struct str secret) {
    char id[sizeof PRINCIPALS_PATH + PRINCIPAL_ID_SIZE], when[32];
    snprintf(id, sizeof id, PRINCIPALS_PATH "/%s", p->app_id);
    os_format_time(p->created_ms * 1000, when);
    json_begin_object(w);
    json_key(w, STR("id"));
    json_str_value(w, str_of(id));
    json_key(w, STR("name"));
    json_str_value(w, str_of(p->app_id));
    json_key(w, STR("type"));
    json_str_value(w, STR("Weir.Capacity/principals"));
    json_key(w, STR("properties"));
    json_begin_object(w);
    json_key(w, STR("appId"));
    json_str_value(w, str_of(p->app_id));
    json_key(w, STR("objectId"));
    json_str_value(w, str_of(p->object_id));
    json_key(w, STR("displayName"));
    json_str_value(w, str_of(p->name));
    json_key(w, STR("isOperator"));
    json_bool_value(w, p->is_operator);
    json_key(w, STR("createdAt"));
    json_str_value(w, str_of(when));
    if (secret.n) {
        json_key(w, STR("secret"));
        json_str_value(w, secret);
    }
    json_end_object(w);
    json_end_object(w);
}

struct listing {
    struct control *control;
    struct json_writer *w;
};

static enum status list_one(void *arg, struct str table, struct str key, struct str body,
                            struct problem *why) {
    struct listing *l = arg;
    struct principal p;
    struct buf text;
    (void)table;
    (void)key;
    buf_init(&text, BODY_MAX);
    buf_str(&text, body);
    buf_reserve_slack(&text, 0, JSON_PADDING);
    enum status st = principal_parse(l->control->doc, buf_view(&text), &p, why);
    if (st == ST_OK)
        put_principal(l->w, &p, STR(""));
    buf_destroy(&text);
    return st;
}

static enum status list_all(struct control *c, struct errand *e, struct problem *why) {
    struct json_writer w;
    struct listing l = {c, &w};
    json_writer_init(&w, &e->answer.body, 0);
    json_begin_object(&w);
    json_key(&w, STR("value"));
    json_begin_array(&w);
    TRY(store_each(c->store, STR(PRINCIPAL_TABLE), list_one, &l, why));
    json_end_array(&w);
    json_end_object(&w);
    e->answer.status = 200;
    return ST_OK;
}

static enum status audit(struct control *c, const struct errand *e, const char *action,
                         struct str app_id, struct problem *why) {
    char target[sizeof PRINCIPALS_PATH + PRINCIPAL_ID_SIZE];
    snprintf(target, sizeof target, PRINCIPALS_PATH "/%.*s", STR_ARG(app_id));
    struct store_audit row = {.at_ms = os_wall_us() / 1000,
                              .actor = str_of(e->object_id),
                              .action = str_of(action),
                              .target = str_of(target)};
    return store_audit_put(c->store, &row, why);
}

static void show(struct errand *e, int status, const struct principal *p, struct str secret) {
    struct json_writer w;
    json_writer_init(&w, &e->answer.body, 0);
    put_principal(&w, p, secret);
    e->answer.status = status;
}

/* Its secret was made and hashed by the listener, in `principal`. An existing
 * one keeps its object id and roles, and gets the new secret beside the old
 * ones, or in place of the oldest. */
static enum status put_one(struct control *c, struct errand *e, struct problem *why) {
    struct principal old;
    bool found;
    TRY(principals_find(c, str_of(e->principal.app_id), &old, &found, why));
    if (found) {
        if (old.n_secrets == PRINCIPAL_SECRETS_MAX) {
            memmove(old.secrets, old.secrets + 1, sizeof old.secrets - sizeof old.secrets[0]);
            old.n_secrets--;
        }
        old.secrets[old.n_secrets++] = e->principal.secrets[0];
        e->principal = old;
    }
    TRY(principals_put(c, &e->principal, why));
    TRY(audit(c, e, "Weir.Capacity/principals/write", str_of(e->principal.app_id), why));
    show(e, found ? 200 : 201, &e->principal, buf_view(&e->secret));
    return ST_OK;
}

/* Its role assignments go with it: an outside issuer may put any object id into its tokens but those of
 * principals that are there. */
static enum status delete_one(struct control *c, struct errand *e, const struct principal *p,
                              bool found, struct problem *why) {
    char key[PRINCIPAL_ID_SIZE];
    struct str app_id = buf_view(&e->target);
    e->answer.status = found ? 200 : 204;
    if (!found)
        return ST_OK;
    if (str_ieq(app_id, str_of(e->app_id))) {
        arm_refuse(&e->answer, 409, STR("Conflict"),
                   "A principal cannot delete itself; ask with another one.");
        return ST_OK;
    }
    bool is_key = principal_key(app_id, key);
    assert(is_key);
    TRY(control_put(c, STR(PRINCIPAL_TABLE), str_of(key), STR(""), why));
    struct arm_caller caller = {.object_id = str_of(e->object_id),
                                .app_id = str_of(e->app_id),
                                .name = str_of(e->name),
                                .is_operator = true};
    arm_forget_principal(c->arm, str_of(p->object_id), &caller, os_wall_us() / 1000, &c->changes);
    return audit(c, e, "Weir.Capacity/principals/delete", app_id, why);
}

static enum status answer(struct control *c, struct errand *e, struct problem *why) {
    struct principal caller, p;
    bool found = false;
    TRY(principals_find(c, str_of(e->app_id), &caller, &found, why));
    if (!e->is_own || !found || !caller.is_operator) {
        arm_refuse(&e->answer, 403, STR("AuthorizationFailed"),
                   "Only an operator may manage service principals.");
        return ST_OK;
    }
    if (e->kind == ERRAND_ROTATE) {
        e->answer.status = 200;
        TRY(control_begin(c, why));
        return audit(c, e, "Weir.Capacity/tokenKeys/rotate/action", STR("token key"), why);
    }
    struct str app_id = buf_view(&e->target);
    if (app_id.n == 0)
        return list_all(c, e, why);
    if (e->method == ARM_PUT_METHOD)
        return put_one(c, e, why);
    TRY(principals_find(c, app_id, &p, &found, why));
    if (e->method == ARM_DELETE_METHOD)
        return delete_one(c, e, &p, found, why);
    if (found)
        show(e, 200, &p, STR(""));
    else
        arm_refuse(&e->answer, 404, STR("ResourceNotFound"), "There is no principal '%.*s'.",
                   STR_ARG(app_id));
    return ST_OK;
}

void principals_answer(struct control *c, struct errand *e) {
    struct problem why = {0};
    enum status st = e->kind == ERRAND_TOKEN
                         ? principals_find(c, str_of(e->app_id), &e->principal, &e->is_found, &why)
                         : answer(c, e, &why);
    if (st != ST_OK) {
        e->refusal = SERVICE_BUSY;
        arm_refuse(&e->answer, 503, STR("ServiceUnavailable"), "The database did not answer: %s",
                   why.message);
    }
}

/* --- on the loop --- */

/* A new secret and its hash, off the loop. */
static void make_secret(void *arg) {
    struct errand *e = arg;
    struct problem why;
    char secret[SECRET_SIZE];
    secret_make(secret);
    buf_str(&e->secret, str_of(secret));
    if (principal_add_secret(&e->principal, buf_view(&e->secret), os_wall_us() / 1000, 0, &why) !=
        ST_OK)
        buf_clear(&e->secret);
    explicit_bzero(secret, sizeof secret);
}

static void on_secret_made(void *arg) {
    struct errand *e = arg;
    /* Whoever left before it was kept has no use for a secret that nobody will see. */
    if (!e->exchange)
        errand_free(e);
    else
        errand_to_thread(e);
}

void principals_begin(struct errand *e, struct str app_id) {
    struct problem why;
    struct json_doc *doc = json_doc_new();
    struct json_value root, properties, v;
    struct str name = app_id;
    bool is_operator = false;
    e->kind = ERRAND_PRINCIPAL;
    buf_str(&e->target, app_id);
    if (e->method != ARM_PUT_METHOD) {
        json_doc_free(doc);
        errand_to_thread(e);
        return;
    }
    bool is_json = true;
    if (e->body.len) {
        buf_reserve_slack(&e->body, 0, JSON_PADDING);
        is_json = json_parse(doc, e->body.p, e->body.len, &root, NULL) == ST_OK;
        if (is_json && json_get(root, STR("properties"), &properties)) {
            if (json_get(properties, STR("displayName"), &v) && json_str(v).n)
                name = json_str(v);
            if (json_get(properties, STR("isOperator"), &v))
                is_operator = json_bool(v);
        }
    }
    enum status st = is_json ? principal_make(app_id, name, is_operator, os_wall_us() / 1000,
                                              &e->principal, &why)
                             : problem_set(&why, ST_BAD_JSON, STR(""), "The body is no JSON.");
    json_doc_free(doc);
    if (st != ST_OK)
        errand_refuse(e, 400, "BadRequest", why.message);
    else if (!slow_begin(e, SLOW_SECRETS, make_secret, on_secret_made))
        slow_refuse(e, "Too many secrets are being made; try again.");
}
