/* issuer.c - settings and descriptions of issuers, taken apart. */
#include "identity/issuer.h"

#include "crypto/hash.h"
#include "json/json.h"

#include <stdlib.h>

enum { SCHEME_SIZE = 8 }; /* "https://" */

/* No blanks or control characters, nothing that is no ASCII, no fragment; a host behind the scheme. */
static bool is_https(struct str url) {
    if (!str_istarts(url, STR("https://")) || url.n == SCHEME_SIZE || url.p[SCHEME_SIZE] == '/')
        return false;
    for (size_t i = 0; i < url.n; i++) {
        if (url.p[i] <= ' ' || url.p[i] > '~' || url.p[i] == '#' || url.p[i] == '\\')
            return false;
    }
    return true;
}

/* The next word; false when there is none. */
static bool next_word(struct str *rest, struct str *word) {
    *rest = str_trim(*rest);
    return rest->n > 0 && str_cut(rest, ' ', word);
}

static enum status add_audience(struct issuer_setting *s, struct str value, struct problem *why) {
    if (value.n == 0 || s->n_audiences == ISSUER_AUDIENCES_MAX)
        return problem_set(why, ST_BAD_REQUEST, STR(""), "takes 1 to %d audiences, none empty",
                           ISSUER_AUDIENCES_MAX);
    s->audiences[s->n_audiences++] = value;
    return ST_OK;
}

static enum status add_word(struct issuer_setting *s, struct str word, struct problem *why) {
    struct str value = word, name;
    bool has_value = str_find(word, STR("=")) >= 0 && str_cut(&value, '=', &name);
    if (has_value && str_eq(name, STR("audience")))
        return add_audience(s, value, why);
    if (has_value && str_eq(name, STR("jwks")) && is_https(value)) {
        s->jwks_url = value;
        return ST_OK;
    }
    if (has_value && str_eq(name, STR("ids")) &&
        (str_eq(value, STR("guid")) || str_eq(value, STR("own")))) {
        s->ids = str_eq(value, STR("own")) ? ISSUER_IDS_OWN : ISSUER_IDS_GUID;
        return ST_OK;
    }
    if (has_value && str_eq(name, STR("ca")) && value.n) {
        s->ca_file = value;
        return ST_OK;
    }
    return problem_set(
        why, ST_BAD_REQUEST, STR(""),
        "\"%.*s\" is none of audience=NAME, jwks=https://…, ca=FILE, ids=guid, ids=own",
        STR_ARG(word));
}

enum status issuer_read_setting(struct str text, struct issuer_setting *out, struct problem *why) {
    struct issuer_setting s = {.n_audiences = 0};
    struct str rest = text, word;
    if (!next_word(&rest, &s.issuer) || !is_https(s.issuer) || s.issuer.n > ISSUER_NAME_MAX)
        return problem_set(
            why, ST_BAD_REQUEST, STR(""),
            "\"%.*s\" does not begin with the issuer's https URL, of at most %d bytes",
            (int)size_min(text.n, 200), text.p, ISSUER_NAME_MAX);
    while (next_word(&rest, &word))
        TRY(add_word(&s, word, why));
    if (s.n_audiences == 0)
        return problem_set(why, ST_BAD_REQUEST, STR(""),
                           "needs audience=NAME: for whom this issuer's tokens must be");
    *out = s;
    return ST_OK;
}

void issuer_put_discovery_url(struct str issuer, struct buf *out) {
    while (issuer.n > 0 && issuer.p[issuer.n - 1] == '/')
        issuer.n--;
    buf_str(out, issuer);
    buf_lit(out, "/.well-known/openid-configuration");
}

static enum status read_discovery(struct json_value root, struct str issuer, struct buf *jwks_url,
                                  struct problem *why) {
    struct json_value v;
    if (!json_get(root, STR("issuer"), &v) || !str_eq(json_str(v), issuer))
        return problem_set(why, ST_BAD_REQUEST, STR("issuer"),
                           "the description names another issuer than %.*s", STR_ARG(issuer));
    if (!json_get(root, STR("jwks_uri"), &v) || !is_https(json_str(v)))
        return problem_set(why, ST_BAD_REQUEST, STR("jwks_uri"),
                           "the description names no https URL of keys");
    buf_str(jwks_url, json_str(v));
    return buf_status(jwks_url);
}

enum status issuer_read_discovery(struct str text, struct str issuer, struct buf *jwks_url,
                                  struct problem *why) {
    struct buf padded;
    struct json_value root;
    struct json_doc *doc = json_doc_new();
    buf_init(&padded, ISSUER_DOCUMENT_MAX);
    buf_str(&padded, text);
    enum status st = buf_status(&padded);
    if (st == ST_OK) {
        buf_reserve_slack(&padded, 0, JSON_PADDING);
        st = json_parse(doc, padded.p, padded.len, &root, why);
    }
    if (st == ST_OK)
        st = read_discovery(root, issuer, jwks_url, why);
    buf_destroy(&padded);
    json_doc_free(doc);
    return st;
}

static bool is_guid(struct str s) {
    if (s.n != PRINCIPAL_GUID_SIZE - 1)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool is_dash = i == 8 || i == 13 || i == 18 || i == 23;
        bool is_hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
        if (is_dash ? c != '-' : !is_hex)
            return false;
    }
    return true;
}

void issuer_principal_id(struct str issuer, struct str subject, bool is_own,
                         char out[PRINCIPAL_GUID_SIZE]) {
    if (!is_own && is_guid(subject)) {
        memcpy(out, subject.p, subject.n);
        out[subject.n] = '\0';
        return;
    }
    struct buf text;
    uint8_t hash[SHA256_SIZE];
    buf_init(&text, issuer.n + subject.n + 1);
    buf_str(&text, issuer);
    buf_char(&text, '\n');
    buf_str(&text, subject);
    hash_sha256(buf_view(&text), hash);
    buf_destroy(&text);
    principal_guid(hash, out);
    out[14] = '8'; /* the version's digit */
}
