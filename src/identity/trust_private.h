/* trust_private.h - the inside of a set of issuers, for whoever checks tokens against it. */
#ifndef IDENTITY_TRUST_PRIVATE_H
#define IDENTITY_TRUST_PRIVATE_H

#include "identity/trust.h"

#include <stdatomic.h>

struct trusted_key {
    char *id;            /* owned: "kid"; empty when the issuer gives it none */
    struct rsa_key *key; /* counted */
};

struct trusted_issuer {
    char *issuer;     /* owned; empty for our own */
    char **audiences; /* owned, each without slashes at the end */
    size_t n_audiences;
    bool is_own;
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

/* The key of that id; an empty id finds the only key of an issuer that has one. NULL when there
 * is none. */
const struct rsa_key *trust_key(const struct trusted_issuer *i, struct str id);

/* Whether the issuer's tokens may name this audience. */
bool trust_accepts(const struct trusted_issuer *i, struct str audience);

#endif
