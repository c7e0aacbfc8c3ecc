/* secret.h - secrets that callers show: made, hashed with a salt, and compared. */
#ifndef CRYPTO_SECRET_H
#define CRYPTO_SECRET_H

#include "base/buf.h"
#include "base/str.h"

/*
 * A hash is one line of text that carries its own parameters, so that they may be raised without
 * making old hashes useless (docs/decisions/0014-hashes-keys-and-certificates.md):
 *
 *     scrypt$14$8$1$SALT$HASH     log2 N, r, p; 16 and 32 bytes as base64url
 *
 * Making or verifying one takes 16 MB of memory and about 50 ms of one core: not on a loop's
 * thread.
 */
enum {
    SECRET_SIZE = 44,       /* text of a new secret and its NUL: 32 random bytes as base64url */
    SECRET_MAX = 1024,      /* the longest secret that is accepted, bytes */
    SECRET_HASH_SIZE = 128, /* holds any hash and its NUL */
};

/* A new secret that nobody can guess, as text of SECRET_SIZE - 1 characters and a NUL. */
void secret_make(char out[SECRET_SIZE]);

/* The hash of a secret of at most SECRET_MAX bytes under a new random salt. */
void secret_hash(struct str secret, char out[SECRET_HASH_SIZE]);

/*
 * Whether this secret has this hash. False too for a text that is no hash, for one that asks for
 * more than 64 MB, and for a secret longer than SECRET_MAX. The time tells nothing about where
 * texts differ.
 */
bool secret_verify(struct str secret, struct str hash) MUST_USE;

#endif
