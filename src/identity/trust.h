/* trust.h - whose tokens are believed: issuers, the audiences they must name, and their keys. */
#ifndef IDENTITY_TRUST_H
#define IDENTITY_TRUST_H

#include "base/buf.h"
#include "base/status.h"
#include "base/str.h"
#include "crypto/rsa.h"

/*
 * A set of issuers, filled by one thread and then only read: after trust_seal any number of threads
 * may check tokens against it. When an issuer turns its keys over, a new set is made and published
 * in place of the old one; caches notice by the set's number (token.h). The control plane and the
 * data plane may have sets of their own, since they accept different audiences.
 */
struct trust;

struct trust_issuer {
    /* Must equal the token's "iss", byte by byte. Not looked at when is_own: our key alone is proof
     * enough, and our name is whatever name a client reached us by (service.h). */
    struct str issuer;
    /* A token's "aud" must be one of these, without regard to case and to slashes at the end. */
    const struct str *audiences;
    size_t n_audiences; /* at least 1 */
    bool is_own;        /* our own token service: reported with the claims */
    /* No object id of this issuer's is one of another's: GUIDs too are made into ids of its own (issuer.h). */
    bool has_own_ids;
};

enum {
    TRUST_ISSUERS_MAX = 64,
    TRUST_KEYS_MAX = 64, /* of an issuer */
};

/* `skew_s`: how far an issuer's clock may be off; 300 s is usual. */
struct trust *trust_new(int64_t skew_s);

/* Adds our own issuer, which signs with this key; call it again for older keys. There is one own
 * issuer, with the audiences of the first call. The key is counted, all texts are copied. */
void trust_add_key(struct trust *t, const struct trust_issuer *issuer, struct rsa_key *key);

/*
 * Adds an issuer with the keys of a JWK set (RFC 7517, section 5) as its jwks_uri answers it. Keys
 * of other types than RSA and EC on P-256, other uses than "sig" and other algorithms than RS256 and ES256
 * are left out, as are certificates beside them. ST_BAD_JSON when it is none, ST_BAD_REQUEST when no usable key is left
 * or there are too many issuers or keys. With an empty text the issuer is known but none of its
 * tokens is believed yet: TOKEN_UNKNOWN_KEY, the sign to fetch.
 */
enum status trust_add_jwks(struct trust *t, const struct trust_issuer *issuer, struct str jwks,
                           struct problem *why) MUST_USE;

/* From now on the set is only read. */
void trust_seal(struct trust *t);

struct trust *trust_ref(struct trust *t); /* any thread */
void trust_unref(struct trust *t);        /* any thread; NULL is fine */

#endif
