/* principal.c - principals made, proved, printed and read. */
#include "identity/principal.h"

#include "crypto/secret.h"
#include "os/os.h"

#include <stdio.h>
#include <string.h>

_Static_assert((int)PRINCIPAL_HASH_SIZE >= (int)SECRET_HASH_SIZE, "a hash fits");

enum {
    SECRET_LENGTH_MIN = 16,
    BODY_MAX = 16 << 10, /* bytes of a row: eight secrets take 2 KB */
};

void principal_guid(const uint8_t random[16], char out[PRINCIPAL_GUID_SIZE]) {
    uint8_t b[16];
    memcpy(b, random, sizeof b);
    b[6] = (uint8_t)(b[6] & 0x0f) | 0x40; /* version 4: random */
    b[8] = (uint8_t)(b[8] & 0x3f) | 0x80; /* the variant of RFC 9562 */
    /* By hand: each answer of the control plane has an id, and printf took a twentieth of a read. */
    for (size_t i = 0; i < sizeof b; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *out++ = '-';
        *out++ = "0123456789abcdef"[b[i] >> 4];
        *out++ = "0123456789abcdef"[b[i] & 15];
    }
    *out = '\0';
}

static void draw_guid(char out[PRINCIPAL_GUID_SIZE]) {
    uint8_t random[16];
    os_random(random, sizeof random);
    principal_guid(random, out);
}

static bool is_id(struct str s) {
    if (s.n == 0 || s.n >= PRINCIPAL_ID_SIZE)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
            c != '-' && c != '_' && c != '.')
            return false;
    }
    return true;
}

static bool is_name(struct str s) {
    if (s.n == 0 || s.n >= PRINCIPAL_NAME_SIZE)
        return false;
    for (size_t i = 0; i < s.n; i++)
        if ((uint8_t)s.p[i] < 0x20 || s.p[i] == 0x7f)
            return false;
    return true;
}

static void copy(char *out, struct str s) {
    if (s.n > 0)
        memcpy(out, s.p, s.n);
    out[s.n] = '\0';
}

static enum status check_id(struct str id, struct str target, struct problem *why) {
    if (is_id(id))
        return ST_OK;
    return problem_set(why, ST_BAD_REQUEST, target,
                       "An id has 1 to %d letters, digits, hyphens, underscores and dots.",
                       PRINCIPAL_ID_SIZE - 1);
}

static enum status check_name(struct str name, struct problem *why) {
    if (is_name(name))
        return ST_OK;
    return problem_set(why, ST_BAD_REQUEST, STR("name"),
                       "A name has 1 to %d bytes and no control characters.",
                       PRINCIPAL_NAME_SIZE - 1);
}

enum status principal_make(struct str app_id, struct str name, bool is_operator, int64_t now_ms,
                           struct principal *out, struct problem *why) {
    char guid[PRINCIPAL_GUID_SIZE];
    draw_guid(guid);
    if (app_id.n == 0)
        app_id = str_of(guid);
    TRY(check_id(app_id, STR("appId"), why));
    if (name.n == 0)
        name = app_id;
    TRY(check_name(name, why));
    memset(out, 0, sizeof *out);
    copy(out->app_id, app_id);
    copy(out->name, name);
    draw_guid(out->object_id);
    out->is_operator = is_operator;
    out->created_ms = now_ms;
    return ST_OK;
}

enum status principal_add_secret(struct principal *p, struct str secret, int64_t now_ms,
                                 int64_t expires_ms, struct problem *why) {
    if (secret.n < SECRET_LENGTH_MIN || secret.n > SECRET_MAX)
        return problem_set(why, ST_BAD_REQUEST, STR("secret"), "A secret has %d to %d bytes.",
                           SECRET_LENGTH_MIN, SECRET_MAX);
    if (p->n_secrets == PRINCIPAL_SECRETS_MAX)
        return problem_set(why, ST_BAD_REQUEST, STR("secrets"),
                           "A principal has at most %d secrets; delete one first.",
                           PRINCIPAL_SECRETS_MAX);
    struct principal_secret *s = &p->secrets[p->n_secrets++];
    secret_hash(secret, s->hash);
    s->created_ms = now_ms;
    s->expires_ms = expires_ms;
    return ST_OK;
}

enum principal_proof principal_prove(const struct principal *p, struct str secret, int64_t now_ms) {
    enum principal_proof proof = PRINCIPAL_WRONG_SECRET;
    for (int i = 0; i < p->n_secrets; i++) {
        const struct principal_secret *s = &p->secrets[i];
        if (!secret_verify(secret, str_of(s->hash)))
            continue;
        if (s->expires_ms == 0 || now_ms < s->expires_ms)
            return PRINCIPAL_PROVED;
        proof = PRINCIPAL_EXPIRED_SECRET;
    }
    return proof;
}

bool principal_key(struct str app_id, char out[PRINCIPAL_ID_SIZE]) {
    if (!is_id(app_id))
        return false;
    copy(out, app_id);
    for (char *c = out; *c; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c - 'A' + 'a');
    return true;
}

/* --- rows --- */

static void put_text(struct json_writer *w, struct str key, const char *value) {
    json_key(w, key);
    json_str_value(w, str_of(value));
}

static void put_i64(struct json_writer *w, struct str key, int64_t value) {
    json_key(w, key);
    json_i64_value(w, value);
}

void principal_print(const struct principal *p, struct buf *body) {
    struct json_writer w;
    json_writer_init(&w, body, 0);
    json_begin_object(&w);
    put_text(&w, STR("appId"), p->app_id);
    put_text(&w, STR("objectId"), p->object_id);
    put_text(&w, STR("name"), p->name);
    json_key(&w, STR("isOperator"));
    json_bool_value(&w, p->is_operator);
    put_i64(&w, STR("createdMs"), p->created_ms);
    json_key(&w, STR("secrets"));
    json_begin_array(&w);
    for (int i = 0; i < p->n_secrets; i++) {
        json_begin_object(&w);
        put_text(&w, STR("hash"), p->secrets[i].hash);
        put_i64(&w, STR("createdMs"), p->secrets[i].created_ms);
        put_i64(&w, STR("expiresMs"), p->secrets[i].expires_ms);
        json_end_object(&w);
    }
    json_end_array(&w);
    json_end_object(&w);
}

static struct str get_text(struct json_value object, struct str key) {
    struct json_value v;
    return json_get(object, key, &v) ? json_str(v) : (struct str){0};
}

static enum status get_i64(struct json_value object, struct str key, int64_t *out,
                           struct problem *why) {
    struct json_value v;
    if (!json_get(object, key, &v) || !json_i64(v, out))
        return problem_set(why, ST_BAD_REQUEST, key, "A whole number is missing.");
    return ST_OK;
}

static enum status parse_secret(struct json_value v, struct principal_secret *out,
                                struct problem *why) {
    struct str hash = get_text(v, STR("hash"));
    if (hash.n == 0 || hash.n >= PRINCIPAL_HASH_SIZE)
        return problem_set(why, ST_BAD_REQUEST, STR("hash"), "The hash of a secret is missing.");
    copy(out->hash, hash);
    TRY(get_i64(v, STR("createdMs"), &out->created_ms, why));
    return get_i64(v, STR("expiresMs"), &out->expires_ms, why);
}

static enum status parse_object(struct json_value root, struct principal *p, struct problem *why) {
    struct str app_id = get_text(root, STR("appId")), object_id = get_text(root, STR("objectId"));
    struct str name = get_text(root, STR("name"));
    TRY(check_id(app_id, STR("appId"), why));
    TRY(check_id(object_id, STR("objectId"), why));
    TRY(check_name(name, why));
    copy(p->app_id, app_id);
    copy(p->object_id, object_id);
    copy(p->name, name);
    struct json_value v;
    p->is_operator = json_get(root, STR("isOperator"), &v) && json_bool(v);
    TRY(get_i64(root, STR("createdMs"), &p->created_ms, why));
    if (!json_get(root, STR("secrets"), &v) || json_type(v) != JSON_ARRAY)
        return problem_set(why, ST_BAD_REQUEST, STR("secrets"), "The list of secrets is missing.");
    struct json_iter it;
    struct json_value item;
    json_items(&it, v);
    while (json_next(&it, &item)) {
        if (p->n_secrets == PRINCIPAL_SECRETS_MAX)
            return problem_set(why, ST_BAD_REQUEST, STR("secrets"), "There are more than %d.",
                               PRINCIPAL_SECRETS_MAX);
        TRY(parse_secret(item, &p->secrets[p->n_secrets], why));
        p->n_secrets++;
    }
    return ST_OK;
}

enum status principal_parse(struct json_doc *doc, struct str body, struct principal *out,
                            struct problem *why) {
    CLEANUP(buf_destroy) struct buf padded;
    buf_init(&padded, BODY_MAX);
    buf_str(&padded, body);
    /* The parser reads past the end of what it is given. */
    if (!buf_reserve_slack(&padded, 0, JSON_PADDING))
        return problem_set(why, ST_TOO_LARGE, STR("principal"), "A principal has at most %d bytes.",
                           BODY_MAX);
    struct json_value root;
    TRY(json_parse(doc, padded.p, padded.len, &root, why));
    struct principal p = {0};
    TRY(parse_object(root, &p, why));
    *out = p;
    return ST_OK;
}
