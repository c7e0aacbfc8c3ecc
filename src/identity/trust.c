/* trust.c - issuers gathered, and keys read from JWK sets. */
#include "identity/trust.h"

#include "crypto/ec.h"
#include "identity/trust_private.h"
#include "json/json.h"

#include <stdlib.h>

enum { JWKS_MAX = 1 << 20 }; /* bytes of a JWK set */

struct trust *trust_new(int64_t skew_s) {
    static _Atomic uint64_t last;
    struct trust *t = xcalloc(1, sizeof *t);
    t->number = atomic_fetch_add(&last, 1) + 1;
    t->skew_s = skew_s;
    atomic_init(&t->refs, 1);
    return t;
}

static struct str without_slashes(struct str s) {
    while (s.n > 0 && s.p[s.n - 1] == '/')
        s.n--;
    return s;
}

static bool is_kind(const struct trusted_key *k, enum trust_kind kind) {
    return kind == TRUST_RSA ? k->rsa != NULL : k->ec != NULL;
}

const struct trusted_key *trust_key(const struct trusted_issuer *i, struct str id,
                                    enum trust_kind kind) {
    const struct trusted_key *found = NULL;
    for (size_t k = 0; k < i->n_keys; k++) {
        if (!is_kind(&i->keys[k], kind) || (id.n > 0 && !str_eq(str_of(i->keys[k].id), id)))
            continue;
        if (id.n > 0)
            return &i->keys[k];
        if (found)
            return NULL;
        found = &i->keys[k];
    }
    return found;
}

static bool is_same(const struct trusted_issuer *i, bool is_own, struct str issuer) {
    return i->is_own == is_own && (is_own || str_eq(str_of(i->issuer), issuer));
}

const struct trusted_issuer *trust_issuer(const struct trust *t, struct str issuer,
                                          struct str key_id) {
    for (size_t i = 0; i < t->n_issuers; i++)
        if (is_same(&t->issuers[i], false, issuer))
            return &t->issuers[i];
    for (size_t i = 0; i < t->n_issuers; i++)
        if (t->issuers[i].is_own && key_id.n > 0 && trust_key(&t->issuers[i], key_id, TRUST_RSA))
            return &t->issuers[i];
    return NULL;
}

bool trust_accepts(const struct trusted_issuer *i, struct str audience) {
    audience = without_slashes(audience);
    for (size_t a = 0; a < i->n_audiences; a++)
        if (str_ieq(str_of(i->audiences[a]), audience))
            return true;
    return false;
}

/* The issuer's place, made when it is new. */
static enum status place_of(struct trust *t, const struct trust_issuer *issuer,
                            struct trusted_issuer **out, struct problem *why) {
    assert(!t->is_sealed && issuer->n_audiences > 0);
    assert(issuer->is_own || issuer->issuer.n > 0);
    for (size_t i = 0; i < t->n_issuers; i++) {
        if (is_same(&t->issuers[i], issuer->is_own, issuer->issuer)) {
            *out = &t->issuers[i];
            return ST_OK;
        }
    }
    if (t->n_issuers == TRUST_ISSUERS_MAX)
        return problem_set(why, ST_BAD_REQUEST, STR("issuer"), "At most %d issuers are trusted.",
                           TRUST_ISSUERS_MAX);
    struct trusted_issuer *i = &t->issuers[t->n_issuers++];
    i->issuer = str_dup(issuer->is_own ? STR("") : issuer->issuer);
    i->is_own = issuer->is_own;
    i->has_own_ids = issuer->has_own_ids;
    i->n_audiences = issuer->n_audiences;
    i->audiences = xcalloc(i->n_audiences, sizeof *i->audiences);
    for (size_t a = 0; a < i->n_audiences; a++)
        i->audiences[a] = str_dup(without_slashes(issuer->audiences[a]));
    *out = i;
    return ST_OK;
}

static void drop_key(const struct trusted_key *k) {
    rsa_key_unref(k->rsa);
    ec_key_unref(k->ec);
}

/* Takes over one count of the key. The first key of an id and kind stays. */
static enum status add_key(struct trusted_issuer *i, struct str id, struct trusted_key key,
                           struct problem *why) {
    for (size_t k = 0; k < i->n_keys; k++) {
        if (is_kind(&i->keys[k], key.rsa ? TRUST_RSA : TRUST_EC) &&
            str_eq(str_of(i->keys[k].id), id)) {
            drop_key(&key);
            return ST_OK;
        }
    }
    if (i->n_keys == TRUST_KEYS_MAX) {
        drop_key(&key);
        return problem_set(why, ST_BAD_REQUEST, STR("keys"), "An issuer has at most %d keys.",
                           TRUST_KEYS_MAX);
    }
    key.id = str_dup(id);
    i->keys[i->n_keys++] = key;
    return ST_OK;
}

void trust_add_key(struct trust *t, const struct trust_issuer *issuer, struct rsa_key *key) {
    struct trusted_issuer *i = NULL;
    assert(issuer->is_own);
    enum status st = place_of(t, issuer, &i, NULL);
    assert(st == ST_OK);
    st = add_key(i, rsa_key_id(key), (struct trusted_key){.rsa = rsa_key_ref(key)}, NULL);
    assert(st == ST_OK);
}

static struct str get_text(struct json_value object, struct str key) {
    struct json_value v;
    return json_get(object, key, &v) ? json_str(v) : (struct str){0};
}

static bool is_for(struct json_value jwk, const char *type, const char *algorithm) {
    struct str alg = get_text(jwk, STR("alg"));
    return str_eq(get_text(jwk, STR("kty")), str_of(type)) &&
           (alg.n == 0 || str_eq(alg, str_of(algorithm)));
}

static bool read_key(struct json_value jwk, struct trusted_key *out, struct problem *why) {
    struct str use = get_text(jwk, STR("use"));
    *out = (struct trusted_key){.rsa = NULL};
    if (use.n > 0 && !str_eq(use, STR("sig")))
        return false;
    if (is_for(jwk, "RSA", "RS256"))
        return rsa_key_from_jwk(get_text(jwk, STR("n")), get_text(jwk, STR("e")), &out->rsa, why) ==
               ST_OK;
    return is_for(jwk, "EC", "ES256") && str_eq(get_text(jwk, STR("crv")), STR("P-256")) &&
           ec_key_from_jwk(get_text(jwk, STR("x")), get_text(jwk, STR("y")), &out->ec, why) ==
               ST_OK;
}

/* One that cannot be understood is left out: it must not take the good ones along. */
static enum status add_keys(struct trusted_issuer *i, struct json_value keys, struct problem *why) {
    struct json_iter it;
    struct json_value jwk;
    json_items(&it, keys);
    while (json_next(&it, &jwk)) {
        struct trusted_key key;
        if (read_key(jwk, &key, why))
            TRY(add_key(i, get_text(jwk, STR("kid")), key, why));
    }
    if (i->n_keys > 0)
        return ST_OK;
    return problem_set(why, ST_BAD_REQUEST, STR("keys"),
                       "The key set has no key for signatures that can be used: RSA of at least %d "
                       "bits, or EC on P-256.",
                       RSA_BITS_MIN);
}

static enum status read_jwks(struct json_doc *doc, struct trusted_issuer *i, struct str jwks,
                             struct problem *why) {
    CLEANUP(buf_destroy) struct buf padded;
    buf_init(&padded, JWKS_MAX);
    buf_str(&padded, jwks);
    if (!buf_reserve_slack(&padded, 0, JSON_PADDING))
        return problem_set(why, ST_TOO_LARGE, STR("keys"), "A key set has at most %d bytes.",
                           JWKS_MAX);
    struct json_value root, keys;
    TRY(json_parse(doc, padded.p, padded.len, &root, why));
    if (!json_get(root, STR("keys"), &keys) || json_type(keys) != JSON_ARRAY)
        return problem_set(why, ST_BAD_JSON, STR("keys"), "A key set has a list named 'keys'.");
    return add_keys(i, keys, why);
}

enum status trust_add_jwks(struct trust *t, const struct trust_issuer *issuer, struct str jwks,
                           struct problem *why) {
    struct trusted_issuer *i = NULL;
    assert(!issuer->is_own);
    TRY(place_of(t, issuer, &i, why));
    if (jwks.n == 0)
        return ST_OK;
    struct json_doc *doc = json_doc_new();
    enum status st = read_jwks(doc, i, jwks, why);
    json_doc_free(doc);
    return st;
}

void trust_seal(struct trust *t) {
    t->is_sealed = true;
}

struct trust *trust_ref(struct trust *t) {
    atomic_fetch_add(&t->refs, 1);
    return t;
}

void trust_unref(struct trust *t) {
    if (!t || atomic_fetch_sub(&t->refs, 1) != 1)
        return;
    for (size_t n = 0; n < t->n_issuers; n++) {
        struct trusted_issuer *i = &t->issuers[n];
        for (size_t a = 0; a < i->n_audiences; a++)
            free(i->audiences[a]);
        free(i->audiences);
        for (size_t k = 0; k < i->n_keys; k++) {
            free(i->keys[k].id);
            drop_key(&i->keys[k]);
        }
        free(i->issuer);
    }
    free(t);
}
