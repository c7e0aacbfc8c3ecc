/* trust_private.h - the inside of a set of issuers, for whoever checks tokens against it. */
#ifndef IDENTITY_TRUST_PRIVATE_H
#define IDENTITY_TRUST_PRIVATE_H

#include "identity/trust.h"

#include <stdatomic.h>

struct trusted_key {
    char *id;            /* owned: "kid"; empty when the issuer gives it none */
    struct rsa_key *rsa; /* counted; of the two one is there */
    struct ec_key *ec;
};

struct trusted_issuer {
    char *issuer;     /* owned; empty for our own */
    char **audiences; /* owned, each without slashes at the end */
    size_t n_audiences;
    bool is_own, has_own_ids;
    struct trusted_key keys[TRUST_KEYS_MAX];
    size_t n_keys;
};

struct trust {
    uint64_t number; /* no other set of this process has it */
    int64_t skew_s;
    bool is_sealed;
    atomic_int refs;
    size_t n_issuers;
    struct trusted_issuer issuers[TRUST_ISSUERS_MAX];
};

/* The outside issuer of that name, else our own if it has a key of that id. NULL when there is
 * neither. */
const struct trusted_issuer *trust_issuer(const struct trust *t, struct str issuer,
                                          struct str key_id);

/* What the key of an algorithm is. */
enum trust_kind { TRUST_RSA, TRUST_EC };

/* The key of that id and kind; an empty id finds the only key of an issuer that has one of the kind. NULL
 * when there is none: a key checks signatures of its own algorithm alone. */
const struct trusted_key *trust_key(const struct trusted_issuer *i, struct str id,
                                    enum trust_kind kind);

/* Whether the issuer's tokens may name this audience. */
bool trust_accepts(const struct trusted_issuer *i, struct str audience);

#endif
