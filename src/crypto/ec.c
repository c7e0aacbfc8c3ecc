/* ec.c - keys on P-256 by libcrypto's EVP_PKEY. */
#include "crypto/ec.h"

#include "crypto/crypto_private.h"
#include "crypto/hash.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { HALF = EC_SIGNATURE_SIZE / 2, POINT_SIZE = 1 + EC_SIGNATURE_SIZE };

struct ec_key {
    EVP_PKEY *pkey; /* owned */
    atomic_int refs;
};

/* A number of exactly 32 bytes. */
static bool read_half(struct str text, uint8_t out[HALF]) {
    struct buf bytes;
    buf_init(&bytes, HALF);
    bool ok = base64url_take(&bytes, text) && bytes.len == HALF;
    if (ok)
        memcpy(out, bytes.p, HALF);
    buf_destroy(&bytes);
    return ok;
}

/* NULL when the point is not on the curve. */
static EVP_PKEY *public_key(uint8_t point[POINT_SIZE]) {
    char group[] = "prime256v1";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, POINT_SIZE),
        OSSL_PARAM_construct_end(),
    };
    EVP_PKEY *pkey = NULL;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    crypto_must(ctx && EVP_PKEY_fromdata_init(ctx) == 1, "EVP_PKEY_fromdata_init");
    if (EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1)
        pkey = NULL;
    EVP_PKEY_CTX_free(ctx);
    if (!pkey)
        return NULL;
    ctx = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);
    crypto_must(ctx, "EVP_PKEY_CTX_new_from_pkey");
    if (EVP_PKEY_public_check(ctx) != 1) {
        EVP_PKEY_free(pkey);
        pkey = NULL;
    }
    EVP_PKEY_CTX_free(ctx);
    return pkey;
}

enum status ec_key_from_jwk(struct str x, struct str y, struct ec_key **out, struct problem *why) {
    uint8_t point[POINT_SIZE] = {0x04}; /* both coordinates follow (SEC 1, section 2.3.3) */
    if (!read_half(x, point + 1) || !read_half(y, point + 1 + HALF))
        return problem_set(why, ST_BAD_REQUEST, STR("x"),
                           "'x' and 'y' must be base64url numbers of %d bytes.", HALF);
    EVP_PKEY *pkey = public_key(point);
    if (!pkey)
        return crypto_refuse(why, STR("x"), "The coordinates are no point of P-256");
    struct ec_key *key = xcalloc(1, sizeof *key);
    key->pkey = pkey;
    atomic_init(&key->refs, 1);
    *out = key;
    return ST_OK;
}

struct ec_key *ec_key_ref(struct ec_key *key) {
    if (key)
        atomic_fetch_add(&key->refs, 1);
    return key;
}

void ec_key_unref(struct ec_key *key) {
    if (key && atomic_fetch_sub(&key->refs, 1) == 1) {
        EVP_PKEY_free(key->pkey);
        free(key);
    }
}

/* The signature as libcrypto reads it: a sequence of two numbers in DER. Its length; *der is for
 * OPENSSL_free. */
static int put_der(const uint8_t *bytes, uint8_t **der) {
    ECDSA_SIG *s = ECDSA_SIG_new();
    BIGNUM *first = BN_bin2bn(bytes, HALF, NULL), *second = BN_bin2bn(bytes + HALF, HALF, NULL);
    crypto_must(s && first && second && ECDSA_SIG_set0(s, first, second) == 1, "ECDSA_SIG_set0");
    *der = NULL;
    int n = i2d_ECDSA_SIG(s, der);
    crypto_must(n > 0, "i2d_ECDSA_SIG");
    ECDSA_SIG_free(s);
    return n;
}

bool ec_verify(const struct ec_key *key, struct str data, struct str signature) {
    uint8_t *der;
    if (signature.n != EC_SIGNATURE_SIZE)
        return false;
    int n = put_der((const uint8_t *)signature.p, &der);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    crypto_must(ctx && EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key->pkey) == 1,
                "EVP_DigestVerifyInit");
    int rc = EVP_DigestVerify(ctx, der, (size_t)n, (const uint8_t *)data.p, data.n);
    EVP_MD_CTX_free(ctx);
    OPENSSL_free(der);
    if (rc != 1)
        ERR_clear_error(); /* else the next failure in this thread would tell this one's reason */
    return rc == 1;
}
