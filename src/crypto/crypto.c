/* crypto.c - views as OpenSSL's streams, its reasons, and its randomness. */
#include "crypto/crypto_private.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>

void crypto_must(bool ok, const char *what) {
    if (ok)
        return;
    fprintf(stderr, "crypto: %s failed\n", what);
    ERR_print_errors_fp(stderr);
    abort();
}

void crypto_random(void *out, size_t n) {
    crypto_must(RAND_bytes(out, (int)n) == 1, "RAND_bytes");
}

BIO *crypto_reader(struct str text) {
    /* A NULL pointer would be taken for an error, whatever the length. */
    BIO *b = BIO_new_mem_buf(text.p ? text.p : "", (int)text.n);
    crypto_must(b, "BIO_new_mem_buf");
    return b;
}

BIO *crypto_collector(void) {
    BIO *b = BIO_new(BIO_s_secmem());
    crypto_must(b, "BIO_new");
    return b;
}

void crypto_take(BIO *collector, struct buf *out) {
    char *p = NULL;
    long n = BIO_get_mem_data(collector, &p);
    buf_put(out, p, (size_t)n);
    BIO_free(collector);
}

/* The library's own answer to a missing callback is to ask the terminal. */
static int no_passphrase(char *out, int size, int is_writing, void *arg) {
    (void)out;
    (void)size;
    (void)is_writing;
    (void)arg;
    return -1;
}

EVP_PKEY *crypto_read_key(struct str pem) {
    BIO *b = crypto_reader(pem);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(b, NULL, no_passphrase, NULL);
    BIO_free(b);
    return key;
}

void crypto_write_key(EVP_PKEY *key, struct buf *pem) {
    BIO *b = crypto_collector();
    crypto_must(PEM_write_bio_PKCS8PrivateKey(b, key, NULL, NULL, 0, NULL, NULL) == 1,
                "PEM_write_bio_PKCS8PrivateKey");
    crypto_take(b, pem);
}

enum status crypto_refuse(struct problem *why, struct str target, const char *what) {
    unsigned long code = ERR_peek_last_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    ERR_clear_error();
    return problem_set(why, ST_BAD_REQUEST, target, reason ? "%s: %s" : "%s", what, reason);
}
