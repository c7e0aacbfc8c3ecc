/* rsa.h - RSA keys that sign tokens (RS256), as PEM for the disk and as JWK numbers for others. */
#ifndef CRYPTO_RSA_H
#define CRYPTO_RSA_H

#include "base/buf.h"
#include "base/status.h"
#include "base/str.h"

/*
 * RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518, section 3.3). A key never changes after it was made, so
 * any number of threads may sign and verify with it at once. Counted, since verifiers on several
 * threads outlive each other.
 */
struct rsa_key;

enum {
    RSA_BITS = 2048,     /* of keys that we make */
    RSA_BITS_MIN = 2048, /* RFC 7518, section 3.3: smaller ones must not be used */
    RSA_BITS_MAX = 8192, /* above that, verifying one token costs milliseconds */
    RSA_SIGNATURE_MAX = RSA_BITS_MAX / 8,
    RSA_ID_SIZE = 44, /* text of a key's name and its NUL */
};

/* A new private key of RSA_BITS. Takes tens to hundreds of milliseconds. */
struct rsa_key *rsa_key_make(void);

/* The private key in a PEM text (PKCS #8 or PKCS #1, not encrypted). ST_BAD_REQUEST when it is
 * none, no RSA key, or its size is out of bounds. */
enum status rsa_key_load(struct str pem, struct rsa_key **out, struct problem *why) MUST_USE;

/* Appends the private key as PEM, PKCS #8, unencrypted: for a file of mode 0600. */
void rsa_key_save(const struct rsa_key *key, struct buf *pem);

/*
 * A public key from the members "n" and "e" of a JWK (RFC 7518, section 6.3), base64url as they
 * stand there. ST_BAD_REQUEST when they are no key, the size is out of bounds or the exponent is
 * even, below 3 or above 2^32.
 */
enum status rsa_key_from_jwk(struct str n, struct str e, struct rsa_key **out,
                             struct problem *why) MUST_USE;

/* Appends "n" and "e" of the public half, base64url. */
void rsa_key_numbers(const struct rsa_key *key, struct buf *n, struct buf *e);

/* The key's name, by which tokens say who signed them: the SHA-256 thumbprint of its JWK (RFC
 * 7638). Valid as long as the key. */
struct str rsa_key_id(const struct rsa_key *key);

struct rsa_key *rsa_key_ref(struct rsa_key *key); /* NULL is fine */
void rsa_key_unref(struct rsa_key *key);          /* NULL is fine */

/* Appends the signature of `data`. The key must be a private one. About 1 ms. */
void rsa_sign(const struct rsa_key *key, struct str data, struct buf *signature);

/* Whether `signature` is that of `data` by this key. About 30 us. */
bool rsa_verify(const struct rsa_key *key, struct str data, struct str signature) MUST_USE;

#endif
