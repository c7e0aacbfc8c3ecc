/* rsa.c - RSA keys by libcrypto's EVP_PKEY. */
#include "crypto/rsa.h"

#include "crypto/crypto_private.h"
#include "crypto/hash.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <stdatomic.h>
#include <stdlib.h>

struct rsa_key {
    EVP_PKEY *pkey; /* owned */
    bool is_private;
    char id[RSA_ID_SIZE];
    atomic_int refs;
};

/* Appends one number of the key, big-endian without leading zeroes, base64url. */
static void put_number(const EVP_PKEY *pkey, const char *name, struct buf *out) {
    BIGNUM *n = NULL;
    uint8_t bytes[RSA_BITS_MAX / 8];
    crypto_must(EVP_PKEY_get_bn_param(pkey, name, &n) == 1, "EVP_PKEY_get_bn_param");
    int len = BN_bn2bin(n, bytes);
    BN_free(n);
    base64url_put(out, (struct str){(char *)bytes, (size_t)len});
}

/* Takes the key over. */
static struct rsa_key *wrap(EVP_PKEY *pkey, bool is_private) {
    struct rsa_key *key = xcalloc(1, sizeof *key);
    key->pkey = pkey;
    key->is_private = is_private;
    atomic_init(&key->refs, 1);

    /* RFC 7638: the members that make the key, in the order of the alphabet, without blanks. */
    struct buf jwk, id;
    buf_init(&jwk, RSA_BITS_MAX);
    buf_init(&id, RSA_ID_SIZE - 1);
    buf_lit(&jwk, "{\"e\":\"");
    put_number(pkey, OSSL_PKEY_PARAM_RSA_E, &jwk);
    buf_lit(&jwk, "\",\"kty\":\"RSA\",\"n\":\"");
    put_number(pkey, OSSL_PKEY_PARAM_RSA_N, &jwk);
    buf_lit(&jwk, "\"}");
    assert(!jwk.overflowed);
    uint8_t digest[SHA256_SIZE];
    hash_sha256(buf_view(&jwk), digest);
    base64url_put(&id, (struct str){(char *)digest, sizeof digest});
    assert(id.len == RSA_ID_SIZE - 1);
    memcpy(key->id, id.p, id.len);
    buf_destroy(&jwk);
    buf_destroy(&id);
    return key;
}

struct rsa_key *rsa_key_make(void) {
    EVP_PKEY *pkey = EVP_RSA_gen(RSA_BITS);
    crypto_must(pkey, "EVP_RSA_gen");
    return wrap(pkey, true);
}

static enum status check_size(const EVP_PKEY *pkey, struct problem *why) {
    int bits = EVP_PKEY_get_bits(pkey);
    if (bits < RSA_BITS_MIN || bits > RSA_BITS_MAX)
        return problem_set(why, ST_BAD_REQUEST, STR("key"),
                           "The key has %d bits; between %d and %d are allowed.", bits,
                           RSA_BITS_MIN, RSA_BITS_MAX);
    return ST_OK;
}

enum status rsa_key_load(struct str pem, struct rsa_key **out, struct problem *why) {
    EVP_PKEY *pkey = crypto_read_key(pem);
    if (!pkey)
        return crypto_refuse(why, STR("key"), "The text holds no private key");
    enum status st = ST_OK;
    if (EVP_PKEY_get_base_id(pkey) != EVP_PKEY_RSA)
        st = problem_set(why, ST_BAD_REQUEST, STR("key"), "The key is no RSA key.");
    if (st == ST_OK)
        st = check_size(pkey, why);
    if (st == ST_OK) {
        EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);
        crypto_must(ctx, "EVP_PKEY_CTX_new_from_pkey");
        if (EVP_PKEY_pairwise_check(ctx) != 1)
            st = crypto_refuse(why, STR("key"), "The halves of the key do not belong together");
        EVP_PKEY_CTX_free(ctx);
    }
    if (st != ST_OK) {
        EVP_PKEY_free(pkey);
        return st;
    }
    *out = wrap(pkey, true);
    return ST_OK;
}

void rsa_key_save(const struct rsa_key *key, struct buf *pem) {
    assert(key->is_private);
    crypto_write_key(key->pkey, pem);
}

/* A number from its base64url text; NULL when it is none or has more than `most` bytes. */
static BIGNUM *read_number(struct str text, size_t most) {
    struct buf bytes;
    buf_init(&bytes, most);
    BIGNUM *n = NULL;
    if (base64url_take(&bytes, text) && bytes.len > 0)
        n = BN_bin2bn((const uint8_t *)bytes.p, (int)bytes.len, NULL);
    buf_destroy(&bytes);
    return n;
}

static EVP_PKEY *public_key(const BIGNUM *n, const BIGNUM *e) {
    EVP_PKEY *pkey = NULL;
    OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    crypto_must(bld && ctx && OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
                    OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_E, e) == 1,
                "OSSL_PARAM_BLD_push_BN");
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(bld);
    crypto_must(params && EVP_PKEY_fromdata_init(ctx) == 1, "EVP_PKEY_fromdata_init");
    if (EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1)
        pkey = NULL;
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(bld);
    EVP_PKEY_CTX_free(ctx);
    return pkey;
}

enum status rsa_key_from_jwk(struct str n_text, struct str e_text, struct rsa_key **out,
                             struct problem *why) {
    BIGNUM *n = read_number(n_text, RSA_BITS_MAX / 8 + 1);
    BIGNUM *e = read_number(e_text, 8);
    EVP_PKEY *pkey = NULL;
    enum status st = ST_OK;
    if (!n || !e)
        st = problem_set(why, ST_BAD_REQUEST, STR("n"), "'n' and 'e' must be base64url numbers.");
    else if (!BN_is_odd(e) || BN_is_one(e) || BN_num_bits(e) > 32)
        st = problem_set(why, ST_BAD_REQUEST, STR("e"), "The exponent must be odd, 3 to 2^32.");
    else if (!BN_is_odd(n))
        st = problem_set(why, ST_BAD_REQUEST, STR("n"), "The modulus must be odd.");
    else if (!(pkey = public_key(n, e)))
        st = crypto_refuse(why, STR("n"), "The numbers make no key");
    else
        st = check_size(pkey, why);
    BN_free(n);
    BN_free(e);
    if (st != ST_OK) {
        EVP_PKEY_free(pkey);
        return st;
    }
    *out = wrap(pkey, false);
    return ST_OK;
}

void rsa_key_numbers(const struct rsa_key *key, struct buf *n, struct buf *e) {
    put_number(key->pkey, OSSL_PKEY_PARAM_RSA_N, n);
    put_number(key->pkey, OSSL_PKEY_PARAM_RSA_E, e);
}

struct str rsa_key_id(const struct rsa_key *key) {
    return (struct str){key->id, RSA_ID_SIZE - 1};
}

struct rsa_key *rsa_key_ref(struct rsa_key *key) {
    if (key)
        atomic_fetch_add(&key->refs, 1);
    return key;
}

void rsa_key_unref(struct rsa_key *key) {
    if (key && atomic_fetch_sub(&key->refs, 1) == 1) {
        EVP_PKEY_free(key->pkey);
        free(key);
    }
}

void rsa_sign(const struct rsa_key *key, struct str data, struct buf *signature) {
    assert(key->is_private);
    uint8_t bytes[RSA_SIGNATURE_MAX];
    size_t n = sizeof bytes;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    crypto_must(ctx && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key->pkey) == 1 &&
                    EVP_DigestSign(ctx, bytes, &n, (const uint8_t *)data.p, data.n) == 1,
                "EVP_DigestSign");
    EVP_MD_CTX_free(ctx);
    buf_put(signature, bytes, n);
}

bool rsa_verify(const struct rsa_key *key, struct str data, struct str signature) {
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    crypto_must(ctx && EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key->pkey) == 1,
                "EVP_DigestVerifyInit");
    int rc = EVP_DigestVerify(ctx, (const uint8_t *)signature.p, signature.n,
                              (const uint8_t *)data.p, data.n);
    EVP_MD_CTX_free(ctx);
    if (rc != 1)
        ERR_clear_error(); /* else the next failure in this thread would tell this one's reason */
    return rc == 1;
}
