/* ec.h - public keys on the curve P-256 that check tokens (ES256), from JWK coordinates. */
#ifndef CRYPTO_EC_H
#define CRYPTO_EC_H

#include "base/status.h"
#include "base/str.h"

/*
 * ECDSA on P-256 with SHA-256 (RFC 7518, section 3.4). We sign with RSA (rsa.h); issuers of others may
 * sign so. A key never changes after it was made, so any number of threads may verify with it at once.
 * Counted, since verifiers on several threads outlive each other.
 */
struct ec_key;

enum { EC_SIGNATURE_SIZE = 64 }; /* R and S, 32 bytes each (RFC 7518, section 3.4) */

/*
 * From the members "x" and "y" of a JWK (RFC 7518, section 6.2.1), base64url as they stand there.
 * ST_BAD_REQUEST when they are not 32 bytes each, or no point of the curve.
 */
enum status ec_key_from_jwk(struct str x, struct str y, struct ec_key **out,
                            struct problem *why) MUST_USE;

struct ec_key *ec_key_ref(struct ec_key *key); /* NULL is fine */
void ec_key_unref(struct ec_key *key);         /* NULL is fine */

/* Whether `signature`, R and S one behind the other, is that of `data` by this key. About 0.1 ms. */
bool ec_verify(const struct ec_key *key, struct str data, struct str signature) MUST_USE;

#endif
