/* seal.h - small secrets encrypted for the disk: AES-256-GCM under one key. */
#ifndef CRYPTO_SEAL_H
#define CRYPTO_SEAL_H

#include "base/buf.h"
#include "base/str.h"

enum {
    SEAL_KEY_SIZE = 32,
    SEAL_MAX = 1 << 20, /* the longest secret, bytes */
};

/* Drawn at random, kept apart from what it seals. */
struct seal_key {
    uint8_t bytes[SEAL_KEY_SIZE];
};

/*
 * Appends a text without blanks that only the key's holder can read: "v1." and base64url of nonce
 * (12 random bytes), ciphertext and tag (16 bytes). `context` is not in it but must be the same
 * when it is opened: the place where the text stands ("accounts/x/key1"), so that a sealed text
 * copied to another place does not open there. With random nonces of 96 bits one key is good for
 * 2^32 texts (NIST SP 800-38D, section 8.3).
 */
void seal_close(const struct seal_key *key, struct str context, struct str secret, struct buf *out);

/* Appends the secret. False, with nothing appended, when the text was not sealed with this key
 * in this context, or was changed. */
bool seal_open(const struct seal_key *key, struct str context, struct str sealed,
               struct buf *out) MUST_USE;

#endif
