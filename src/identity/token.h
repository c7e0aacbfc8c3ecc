/* token.h - JSON web tokens: issued with our key, and checked against those whom we trust. */
#ifndef IDENTITY_TOKEN_H
#define IDENTITY_TOKEN_H

#include "base/buf.h"
#include "base/status.h"
#include "base/str.h"
#include "crypto/rsa.h"
#include "identity/trust.h"

/* Time is handed in, seconds since 1970. */

/* What our own tokens say. Borrowed texts. */
struct token_grant {
    struct str issuer;         /* "iss": service_put_issuer */
    struct str audience;       /* "aud": service_audience */
    struct str tenant_id;      /* "tid" */
    struct str object_id;      /* "oid" and "sub" */
    struct str app_id;         /* "appid" */
    struct str name;           /* "app_displayname" */
    struct str token_id;       /* "uti": random, so no two tokens are alike */
    int64_t now_s, lifetime_s; /* "iat", "nbf" and "exp" */
};

enum {
    TOKEN_LIFETIME_S = 3599, /* what Entra answers as expires_in (seen, clients section 2) */
    TOKEN_SKEW_S = 300,      /* five minutes, the usual tolerance between clocks */
    TOKEN_MAX = 16 << 10,    /* the longest token that is looked at, bytes */
    TOKEN_TEXT_SIZE = 256,   /* a claim and its NUL; a token with a longer id is malformed */
};

/* Appends the signed token: header alg RS256, typ JWT, kid. About 1 ms: not on a loop's thread. */
void token_issue(const struct rsa_key *key, const struct token_grant *grant, struct buf *out);

/* What a believed token says. */
struct token_claims {
    char issuer[TOKEN_TEXT_SIZE];
    char audience[TOKEN_TEXT_SIZE];  /* the one that was accepted */
    char tenant_id[TOKEN_TEXT_SIZE]; /* "tid"; empty when the issuer does not say */
    /* "oid", else "sub": what roles are assigned to. Of an outside issuer always a GUID: issuer.h. */
    char object_id[TOKEN_TEXT_SIZE];
    char app_id[TOKEN_TEXT_SIZE]; /* "appid", else "azp", else "client_id"; may be empty */
    /* For people, never for decisions: the first of "app_displayname", "name", "upn" and
     * "preferred_username" that fits; else empty. */
    char name[TOKEN_TEXT_SIZE];
    int64_t issued_s, begins_s, ends_s; /* "iat" and "nbf" (0 when absent), "exp" */
    bool is_own;                        /* from our own token service */
};

/* Why a token is not believed. Each refusal has one reason, the first that holds in this order. */
enum token_verdict {
    TOKEN_GOOD,
    TOKEN_MALFORMED, /* no JWT: parts, encoding, JSON, types, duplicate members, or too long */
    TOKEN_UNSIGNED,  /* "alg": "none" */
    TOKEN_OTHER_ALGORITHM, /* neither none, RS256 nor ES256, or a "crit" header that asks for more */
    TOKEN_OTHER_ISSUER,    /* "iss" is nobody whom we trust, and the key is not ours */
    TOKEN_UNKNOWN_KEY, /* the issuer has no such "kid": its keys may have turned over; fetch them */
    TOKEN_FORGED,      /* the signature is not that key's */
    TOKEN_OTHER_AUDIENCE, /* meant for somebody else */
    TOKEN_EXPIRED,        /* "exp" is more than the skew ago */
    TOKEN_NOT_YET,        /* "nbf" or "iat" is further ahead than the skew */
    TOKEN_NOBODY,         /* neither "oid" nor "sub" */
    TOKEN_N_VERDICTS,
};

/* A word for metrics and logs ("expired"), and a sentence for the caller; static. */
struct str token_verdict_label(enum token_verdict v);
struct str token_verdict_text(enum token_verdict v);

/*
 * Checks tokens and remembers those that were good, so that a hot one costs a SHA-256 and no RSA
 * (measured in docs/decisions/0015-tokens.md). Belongs to one thread. Remembered are the token's
 * hash and its claims, never the token; an entry is void once it ends, or when another trust comes
 * along. Bounded: `n_kept` claims of about 1.6 KB; a new one takes the place of the one unused the
 * longest among a few neighbours.
 */
struct token_checker;

struct token_checker *token_checker_new(size_t n_kept);
void token_checker_free(struct token_checker *c); /* NULL is fine */

/* *claims is written when the verdict is TOKEN_GOOD and valid until the next call. For
 * TOKEN_UNKNOWN_KEY *issuer (may be NULL) is the trusted issuer whose keys should be fetched,
 * valid as long as the trust; else it is empty. */
enum token_verdict token_check(struct token_checker *c, const struct trust *trust, struct str token,
                               int64_t now_s, const struct token_claims **claims,
                               struct str *issuer) MUST_USE;

/* How often the answer was remembered, and how often it was not, since the checker was made. */
void token_checker_counts(const struct token_checker *c, int64_t *hits, int64_t *misses);

/* The token in an Authorization header ("Bearer …", the scheme without regard to case); empty
 * when it is another scheme. */
struct str token_bearer(struct str authorization);

#endif
