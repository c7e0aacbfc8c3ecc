/* hash.h - SHA-256 and its keyed form, and bytes as text without padding. */
#ifndef CRYPTO_HASH_H
#define CRYPTO_HASH_H

#include "base/buf.h"
#include "base/str.h"

/* Secrets and digests are compared with str_eq_secret; random bytes come from os_random. */

enum { SHA256_SIZE = 32 };

void hash_sha256(struct str data, uint8_t out[SHA256_SIZE]);

/* HMAC-SHA-256 (RFC 2104); a key of any length. */
void hash_hmac_sha256(struct str key, struct str data, uint8_t out[SHA256_SIZE]);

/* Appends base64url without padding (RFC 4648, section 5; RFC 7515, section 2). */
void base64url_put(struct buf *out, struct str bytes);

/*
 * Appends the bytes that `text` encodes. False, with nothing appended, unless `text` is exactly
 * what base64url_put writes: no padding, no blanks, no bits left over in the last character. So one
 * value has one spelling, and a token cannot be respelled.
 */
bool base64url_take(struct buf *out, struct str text) MUST_USE;

#endif
