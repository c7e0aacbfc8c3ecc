/* crypto_private.h - what the files of this room share: views as OpenSSL's streams, and its
 * reasons. */
#ifndef CRYPTO_CRYPTO_PRIVATE_H
#define CRYPTO_CRYPTO_PRIVATE_H

#include "base/buf.h"
#include "base/status.h"

#include <openssl/bio.h>
#include <openssl/evp.h>

/* What can only fail when memory is gone or the library is broken: a defect, as in base. */
void crypto_must(bool ok, const char *what);

/* n bytes that nobody can guess. */
void crypto_random(void *out, size_t n);

/* A stream that reads a text, borrowed; and one that collects. Freed with BIO_free. */
BIO *crypto_reader(struct str text);
BIO *crypto_collector(void);
void crypto_take(BIO *collector, struct buf *out); /* appends all, frees the collector */

/* The private key in a PEM text, or NULL. Never asks a terminal for a passphrase. */
EVP_PKEY *crypto_read_key(struct str pem);
void crypto_write_key(EVP_PKEY *key, struct buf *pem);

/* Fills `why` with the library's own reason, and empties its list of errors. ST_BAD_REQUEST. */
enum status crypto_refuse(struct problem *why, struct str target, const char *what);

#endif
