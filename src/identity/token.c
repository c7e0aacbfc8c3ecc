/* token.c - tokens issued, taken apart, judged and remembered. */
#include "identity/token.h"

#include "crypto/ec.h"
#include "crypto/hash.h"
#include "identity/issuer.h"
#include "identity/trust_private.h"
#include "json/json.h"

#include <stdlib.h>

/* --- issuing --- */

enum { CLAIMS_MAX = 8 << 10 }; /* bytes of the JSON of a token of ours */

static void put_text(struct json_writer *w, struct str key, struct str value) {
    json_key(w, key);
    json_str_value(w, value);
}

static void put_i64(struct json_writer *w, struct str key, int64_t value) {
    json_key(w, key);
    json_i64_value(w, value);
}

static void put_claims(const struct token_grant *g, struct buf *out) {
    struct json_writer w;
    json_writer_init(&w, out, 0);
    json_begin_object(&w);
    put_text(&w, STR("aud"), g->audience);
    put_text(&w, STR("iss"), g->issuer);
    put_i64(&w, STR("iat"), g->now_s);
    put_i64(&w, STR("nbf"), g->now_s);
    put_i64(&w, STR("exp"), g->now_s + g->lifetime_s);
    put_text(&w, STR("app_displayname"), g->name);
    put_text(&w, STR("appid"), g->app_id);
    put_text(&w, STR("appidacr"), STR("1")); /* the client proved itself with a secret */
    put_text(&w, STR("idtyp"), STR("app"));
    put_text(&w, STR("oid"), g->object_id);
    put_text(&w, STR("sub"), g->object_id);
    put_text(&w, STR("tid"), g->tenant_id);
    put_text(&w, STR("uti"), g->token_id);
    put_text(&w, STR("ver"), STR("1.0"));
    json_end_object(&w);
}

void token_issue(const struct rsa_key *key, const struct token_grant *grant, struct buf *out) {
    CLEANUP(buf_destroy) struct buf part;
    CLEANUP(buf_destroy) struct buf signature;
    buf_init(&part, CLAIMS_MAX);
    buf_init(&signature, RSA_SIGNATURE_MAX);
    size_t begin = out->len;

    buf_lit(&part, "{\"alg\":\"RS256\",\"typ\":\"JWT\",\"kid\":\"");
    buf_str(&part, rsa_key_id(key));
    buf_lit(&part, "\"}");
    base64url_put(out, buf_view(&part));
    buf_char(out, '.');
    buf_clear(&part);
    put_claims(grant, &part);
    assert(!part.overflowed); /* the shell bounds names and audiences before it grants */
    base64url_put(out, buf_view(&part));
    if (out->overflowed)
        return;
    rsa_sign(key, str_skip(buf_view(out), begin), &signature);
    buf_char(out, '.');
    base64url_put(out, buf_view(&signature));
}

/* --- verdicts in words --- */

static const struct {
    struct str label, text;
} verdicts[TOKEN_N_VERDICTS] = {
    [TOKEN_GOOD] = {STR_INIT("good"), STR_INIT("The access token is valid.")},
    [TOKEN_MALFORMED] = {STR_INIT("malformed"),
                         STR_INIT("The access token is not a well-formed JSON web token.")},
    [TOKEN_UNSIGNED] = {STR_INIT("unsigned"), STR_INIT("The access token is not signed.")},
    [TOKEN_OTHER_ALGORITHM] = {STR_INIT("other_algorithm"),
                               STR_INIT("The access token is not signed with RS256 or ES256.")},
    [TOKEN_OTHER_ISSUER] = {STR_INIT("other_issuer"),
                            STR_INIT("The access token is from an issuer that is not trusted "
                                     "here.")},
    [TOKEN_UNKNOWN_KEY] = {STR_INIT("unknown_key"),
                           STR_INIT("The access token is signed with a key that its issuer does "
                                    "not publish.")},
    [TOKEN_FORGED] = {STR_INIT("forged"),
                      STR_INIT("The signature of the access token is not valid.")},
    [TOKEN_OTHER_AUDIENCE] = {STR_INIT("other_audience"),
                              STR_INIT("The access token has been obtained for another "
                                       "audience.")},
    [TOKEN_EXPIRED] = {STR_INIT("expired"), STR_INIT("The access token has expired.")},
    [TOKEN_NOT_YET] = {STR_INIT("not_yet"), STR_INIT("The access token is not valid yet.")},
    [TOKEN_NOBODY] = {STR_INIT("nobody"), STR_INIT("The access token names no principal.")},
};

struct str token_verdict_label(enum token_verdict v) {
    return verdicts[v].label;
}

struct str token_verdict_text(enum token_verdict v) {
    return verdicts[v].text;
}

/* --- the checker and its memory --- */

enum { WAYS = 4 }; /* places where a token may stand: its neighbours */

struct remembered {
    uint8_t hash[SHA256_SIZE]; /* of the whole token */
    uint64_t trust;            /* the number of the set that believed it; 0: free */
    uint64_t used;             /* when, in checks */
    struct token_claims claims;
};

struct token_checker {
    struct json_doc *doc;               /* owned */
    struct buf header, body, signature; /* of the token at hand, decoded */
    struct token_claims claims;         /* of one that is not kept */
    struct remembered *kept;            /* owned */
    size_t n_sets;                      /* of WAYS each */
    uint64_t n_checks;
    int64_t hits, misses;
};

struct token_checker *token_checker_new(size_t n_kept) {
    struct token_checker *c = xcalloc(1, sizeof *c);
    c->doc = json_doc_new();
    buf_init(&c->header, TOKEN_MAX);
    buf_init(&c->body, TOKEN_MAX);
    buf_init(&c->signature, RSA_SIGNATURE_MAX);
    c->n_sets = (n_kept + WAYS - 1) / WAYS;
    c->kept = xcalloc(size_max(c->n_sets, 1) * WAYS, sizeof *c->kept);
    return c;
}

void token_checker_free(struct token_checker *c) {
    if (!c)
        return;
    json_doc_free(c->doc);
    buf_destroy(&c->header);
    buf_destroy(&c->body);
    buf_destroy(&c->signature);
    free(c->kept);
    free(c);
}

void token_checker_counts(const struct token_checker *c, int64_t *hits, int64_t *misses) {
    *hits = c->hits;
    *misses = c->misses;
}

/* The neighbours among which a token of this hash stands; NULL when nothing is kept. */
static struct remembered *set_of(struct token_checker *c, const uint8_t hash[SHA256_SIZE]) {
    uint64_t h;
    memcpy(&h, hash, sizeof h);
    return c->n_sets > 0 ? &c->kept[h % c->n_sets * WAYS] : NULL;
}

static struct remembered *find(struct token_checker *c, const struct trust *trust,
                               const uint8_t hash[SHA256_SIZE]) {
    struct remembered *set = set_of(c, hash);
    for (int i = 0; set && i < WAYS; i++)
        if (set[i].trust == trust->number && memcmp(set[i].hash, hash, SHA256_SIZE) == 0)
            return &set[i];
    return NULL;
}

/* Keeps the claims at hand; the place is that of an entry that is void, else unused the longest. */
static void remember(struct token_checker *c, const struct trust *trust,
                     const uint8_t hash[SHA256_SIZE]) {
    struct remembered *set = set_of(c, hash), *place = set;
    if (!set)
        return;
    for (int i = 0; i < WAYS; i++) {
        if (set[i].trust != trust->number) {
            place = &set[i];
            break;
        }
        if (set[i].used < place->used)
            place = &set[i];
    }
    memcpy(place->hash, hash, SHA256_SIZE);
    place->trust = trust->number;
    place->used = c->n_checks;
    place->claims = c->claims;
}

/* --- taking a token apart --- */

struct parts {
    struct str signed_text; /* header and claims as they were sent, with the point between */
    char key_id[TOKEN_TEXT_SIZE];
    enum trust_kind kind;       /* of the key, by the algorithm */
    struct json_value audience; /* text or list */
    char subject[TOKEN_TEXT_SIZE];
};

/* Copies an id; false when it is no text or does not fit. */
static bool take_text(struct json_value v, char out[TOKEN_TEXT_SIZE]) {
    struct str s = json_str(v);
    if (json_type(v) != JSON_STRING || s.n >= TOKEN_TEXT_SIZE)
        return false;
    out[0] = '\0';
    if (s.n > 0) {
        if (memchr(s.p, '\0', s.n))
            return false;
        memcpy(out, s.p, s.n);
        out[s.n] = '\0';
    }
    return true;
}

/* A NumericDate (RFC 7519, section 2), perhaps with a fraction; within what double holds
 * exactly. */
static bool take_time(struct json_value v, int64_t *out) {
    const int64_t most = INT64_C(1) << 53;
    if (json_type(v) == JSON_DOUBLE) {
        double d = json_f64(v);
        if (!(d >= 0 && d <= (double)most))
            return false;
        *out = (int64_t)d;
        return true;
    }
    return json_i64(v, out) && *out >= 0 && *out <= most;
}

static bool parse_part(struct token_checker *c, struct str text, struct buf *out,
                       struct json_value *root) {
    buf_clear(out);
    return text.n > 0 && base64url_take(out, text) && buf_reserve_slack(out, 0, JSON_PADDING) &&
           json_parse(c->doc, out->p, out->len, root, NULL) == ST_OK &&
           json_type(*root) == JSON_OBJECT;
}

static enum token_verdict parse_header(struct token_checker *c, struct str text,
                                       struct parts *parts) {
    struct json_value root, v;
    if (!parse_part(c, text, &c->header, &root))
        return TOKEN_MALFORMED;
    char alg[TOKEN_TEXT_SIZE] = "";
    bool has_alg = false, has_key_id = false, has_crit = false;
    struct json_iter it;
    struct str key;
    json_fields(&it, root);
    while (json_next_field(&it, &key, &v)) {
        bool *seen = str_eq(key, STR("alg"))    ? &has_alg
                     : str_eq(key, STR("kid"))  ? &has_key_id
                     : str_eq(key, STR("crit")) ? &has_crit
                                                : NULL;
        if (!seen)
            continue;
        if (*seen || (seen == &has_alg && !take_text(v, alg)) ||
            (seen == &has_key_id && !take_text(v, parts->key_id)))
            return TOKEN_MALFORMED;
        *seen = true;
    }
    if (!has_alg)
        return TOKEN_MALFORMED;
    if (str_ieq(str_of(alg), STR("none")))
        return TOKEN_UNSIGNED;
    parts->kind = str_eq(str_of(alg), STR("ES256")) ? TRUST_EC : TRUST_RSA;
    bool is_ours = parts->kind == TRUST_EC || str_eq(str_of(alg), STR("RS256"));
    return has_crit || !is_ours ? TOKEN_OTHER_ALGORITHM : TOKEN_GOOD;
}

/* Every claim that we read, and each at most once: of two equal names another reader might take the
 * other one. */
enum claim {
    CLAIM_ISS,
    CLAIM_AUD,
    CLAIM_EXP,
    CLAIM_NBF,
    CLAIM_IAT,
    CLAIM_OID,
    CLAIM_SUB,
    CLAIM_TID,
    CLAIM_APPID,
    CLAIM_AZP,
    CLAIM_CLIENT_ID,
    CLAIM_APP_DISPLAYNAME,
    CLAIM_NAME,
    CLAIM_UPN,
    CLAIM_PREFERRED_USERNAME,
    CLAIM_COUNT
};

static const struct str claim_names[CLAIM_COUNT] = {
    [CLAIM_ISS] = STR_INIT("iss"),
    [CLAIM_AUD] = STR_INIT("aud"),
    [CLAIM_EXP] = STR_INIT("exp"),
    [CLAIM_NBF] = STR_INIT("nbf"),
    [CLAIM_IAT] = STR_INIT("iat"),
    [CLAIM_OID] = STR_INIT("oid"),
    [CLAIM_SUB] = STR_INIT("sub"),
    [CLAIM_TID] = STR_INIT("tid"),
    [CLAIM_APPID] = STR_INIT("appid"),
    [CLAIM_AZP] = STR_INIT("azp"),
    [CLAIM_CLIENT_ID] = STR_INIT("client_id"),
    [CLAIM_APP_DISPLAYNAME] = STR_INIT("app_displayname"),
    [CLAIM_NAME] = STR_INIT("name"),
    [CLAIM_UPN] = STR_INIT("upn"),
    [CLAIM_PREFERRED_USERNAME] = STR_INIT("preferred_username"),
};

static bool gather(struct json_value root, struct json_value found[CLAIM_COUNT],
                   bool has[CLAIM_COUNT]) {
    struct json_iter it;
    struct json_value v;
    struct str key;
    json_fields(&it, root);
    while (json_next_field(&it, &key, &v)) {
        for (int i = 0; i < CLAIM_COUNT; i++) {
            if (!str_eq(key, claim_names[i]))
                continue;
            if (has[i])
                return false;
            has[i] = true;
            found[i] = v;
        }
    }
    return true;
}

/* The first of three claims that is there, which then must be an id. */
static bool take_first(const struct json_value found[CLAIM_COUNT], const bool has[CLAIM_COUNT],
                       const enum claim names[3], char out[TOKEN_TEXT_SIZE]) {
    for (int i = 0; i < 3; i++)
        if (has[names[i]])
            return take_text(found[names[i]], out);
    return true;
}

static bool parse_claims(struct token_checker *c, struct str text, struct parts *parts) {
    struct json_value root, found[CLAIM_COUNT];
    bool has[CLAIM_COUNT] = {false};
    struct token_claims *claims = &c->claims;
    memset(claims, 0, sizeof *claims);
    if (!parse_part(c, text, &c->body, &root) || !gather(root, found, has))
        return false;
    if (!has[CLAIM_ISS] || !take_text(found[CLAIM_ISS], claims->issuer) || !has[CLAIM_EXP] ||
        !take_time(found[CLAIM_EXP], &claims->ends_s) || !has[CLAIM_AUD])
        return false;
    parts->audience = found[CLAIM_AUD];
    if ((has[CLAIM_NBF] && !take_time(found[CLAIM_NBF], &claims->begins_s)) ||
        (has[CLAIM_IAT] && !take_time(found[CLAIM_IAT], &claims->issued_s)) ||
        (has[CLAIM_TID] && !take_text(found[CLAIM_TID], claims->tenant_id)))
        return false;
    static const enum claim who[3] = {CLAIM_OID, CLAIM_SUB, CLAIM_SUB};
    static const enum claim which[3] = {CLAIM_APPID, CLAIM_AZP, CLAIM_CLIENT_ID};
    if (!take_first(found, has, who, claims->object_id) ||
        !take_first(found, has, which, claims->app_id))
        return false;
    for (int i = CLAIM_APP_DISPLAYNAME; i < CLAIM_COUNT && claims->name[0] == '\0'; i++)
        if (has[i] && !take_text(found[i], claims->name))
            claims->name[0] = '\0';
    return true;
}

/* --- judging --- */

static bool accepts_one(const struct trusted_issuer *issuer, struct json_value v,
                        struct token_claims *claims) {
    return take_text(v, claims->audience) && trust_accepts(issuer, str_of(claims->audience));
}

static bool accepts(const struct trusted_issuer *issuer, struct json_value audience,
                    struct token_claims *claims) {
    if (json_type(audience) != JSON_ARRAY)
        return accepts_one(issuer, audience, claims);
    struct json_iter it;
    struct json_value v;
    json_items(&it, audience);
    while (json_next(&it, &v))
        if (accepts_one(issuer, v, claims))
            return true;
    return false;
}

static enum token_verdict judge_time(const struct token_claims *claims, int64_t skew_s,
                                     int64_t now_s) {
    if (now_s >= claims->ends_s + skew_s)
        return TOKEN_EXPIRED;
    if (i64_max(claims->begins_s, claims->issued_s) > now_s + skew_s)
        return TOKEN_NOT_YET;
    return TOKEN_GOOD;
}

static bool is_signed_by(const struct trusted_key *key, const struct token_checker *c,
                         struct str text) {
    struct str signature = buf_view(&c->signature);
    return key->rsa ? rsa_verify(key->rsa, text, signature) : ec_verify(key->ec, text, signature);
}

/* The whole judgement, into c->claims. */
static enum token_verdict judge(struct token_checker *c, const struct trust *trust,
                                struct str token, int64_t now_s, struct str *wanted_issuer) {
    struct parts parts = {0};
    struct str rest = token, header, body;
    if (token.n > TOKEN_MAX || !str_cut(&rest, '.', &header) || !str_cut(&rest, '.', &body) ||
        (rest.n == 0 && token.p[token.n - 1] != '.'))
        return TOKEN_MALFORMED;
    parts.signed_text = (struct str){token.p, header.n + 1 + body.n};

    enum token_verdict v = parse_header(c, header, &parts);
    if (v != TOKEN_GOOD)
        return v;
    buf_clear(&c->signature);
    if (!base64url_take(&c->signature, rest) || !parse_claims(c, body, &parts))
        return TOKEN_MALFORMED;

    const struct trusted_issuer *issuer =
        trust_issuer(trust, str_of(c->claims.issuer), str_of(parts.key_id));
    if (!issuer)
        return TOKEN_OTHER_ISSUER;
    const struct trusted_key *key = trust_key(issuer, str_of(parts.key_id), parts.kind);
    if (!key) {
        *wanted_issuer = str_of(issuer->issuer);
        return TOKEN_UNKNOWN_KEY;
    }
    if (!is_signed_by(key, c, parts.signed_text))
        return TOKEN_FORGED;
    if (!accepts(issuer, parts.audience, &c->claims))
        return TOKEN_OTHER_AUDIENCE;
    v = judge_time(&c->claims, trust->skew_s, now_s);
    if (v != TOKEN_GOOD)
        return v;
    c->claims.is_own = issuer->is_own;
    if (c->claims.object_id[0] == '\0')
        return TOKEN_NOBODY;
    if (!issuer->is_own) {
        char id[PRINCIPAL_GUID_SIZE];
        issuer_principal_id(str_of(issuer->issuer), str_of(c->claims.object_id),
                            issuer->has_own_ids, id);
        memcpy(c->claims.object_id, id, sizeof id);
    }
    return TOKEN_GOOD;
}

enum token_verdict token_check(struct token_checker *c, const struct trust *trust, struct str token,
                               int64_t now_s, const struct token_claims **claims,
                               struct str *issuer) {
    assert(trust->is_sealed);
    struct str wanted_issuer = {0};
    if (issuer)
        *issuer = wanted_issuer;
    if (token.n > TOKEN_MAX)
        return TOKEN_MALFORMED;

    uint8_t hash[SHA256_SIZE];
    hash_sha256(token, hash);
    c->n_checks++;
    struct remembered *kept = find(c, trust, hash);
    enum token_verdict v;
    if (kept) {
        c->hits++;
        kept->used = c->n_checks;
        v = judge_time(&kept->claims, trust->skew_s, now_s);
        if (v == TOKEN_GOOD)
            *claims = &kept->claims;
        return v;
    }
    c->misses++;
    v = judge(c, trust, token, now_s, &wanted_issuer);
    if (issuer)
        *issuer = wanted_issuer;
    if (v == TOKEN_GOOD) {
        remember(c, trust, hash);
        *claims = &c->claims;
    }
    return v;
}

struct str token_bearer(struct str authorization) {
    struct str s = str_trim(authorization);
    if (!str_istarts(s, STR("Bearer ")))
        return (struct str){0};
    return str_trim(str_skip(s, 7));
}
