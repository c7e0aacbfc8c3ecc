/* seal.c - AES-256-GCM by libcrypto. */
#include "crypto/seal.h"

#include "crypto/crypto_private.h"
#include "crypto/hash.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <stdlib.h>

enum { NONCE_SIZE = 12, TAG_SIZE = 16 };

static const struct str version = STR_INIT("v1.");

static const uint8_t *bytes_of(struct str s) {
    return (const uint8_t *)(s.p ? s.p : "");
}

void seal_close(const struct seal_key *key, struct str context, struct str secret,
                struct buf *out) {
    assert(secret.n <= SEAL_MAX && context.n <= SEAL_MAX);
    size_t n = NONCE_SIZE + secret.n + TAG_SIZE;
    uint8_t *raw = xmalloc(n);
    crypto_random(raw, NONCE_SIZE);
    int len = 0, last = 0;
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    crypto_must(
        ctx && EVP_EncryptInit_ex2(ctx, EVP_aes_256_gcm(), key->bytes, raw, NULL) == 1 &&
            EVP_EncryptUpdate(ctx, NULL, &len, bytes_of(context), (int)context.n) == 1 &&
            EVP_EncryptUpdate(ctx, raw + NONCE_SIZE, &len, bytes_of(secret), (int)secret.n) == 1 &&
            EVP_EncryptFinal_ex(ctx, raw + NONCE_SIZE + len, &last) == 1 &&
            (size_t)len + (size_t)last == secret.n &&
            EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG_SIZE,
                                raw + NONCE_SIZE + secret.n) == 1,
        "AES-256-GCM");
    EVP_CIPHER_CTX_free(ctx);
    buf_str(out, version);
    base64url_put(out, (struct str){(char *)raw, n});
    free(raw);
}

/* The plain text replaces the ciphertext in `raw`, which holds nonce, ciphertext and tag. */
static bool decrypt(const struct seal_key *key, struct str context, uint8_t *raw, size_t secret_n) {
    int len = 0, last = 0;
    uint8_t *text = raw + NONCE_SIZE;
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    crypto_must(ctx && EVP_DecryptInit_ex2(ctx, EVP_aes_256_gcm(), key->bytes, raw, NULL) == 1 &&
                    EVP_DecryptUpdate(ctx, NULL, &len, bytes_of(context), (int)context.n) == 1,
                "AES-256-GCM");
    bool ok = EVP_DecryptUpdate(ctx, text, &len, text, (int)secret_n) == 1 &&
              EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG_SIZE, text + secret_n) == 1 &&
              EVP_DecryptFinal_ex(ctx, text + len, &last) == 1;
    EVP_CIPHER_CTX_free(ctx);
    if (!ok)
        ERR_clear_error();
    return ok;
}

bool seal_open(const struct seal_key *key, struct str context, struct str sealed, struct buf *out) {
    if (!str_starts(sealed, version) || context.n > SEAL_MAX)
        return false;
    struct buf raw;
    buf_init(&raw, NONCE_SIZE + SEAL_MAX + TAG_SIZE + 3);
    bool ok = base64url_take(&raw, str_skip(sealed, version.n)) &&
              raw.len >= NONCE_SIZE + TAG_SIZE &&
              decrypt(key, context, (uint8_t *)raw.p, raw.len - NONCE_SIZE - TAG_SIZE);
    if (ok)
        buf_put(out, raw.p + NONCE_SIZE, raw.len - NONCE_SIZE - TAG_SIZE);
    if (raw.p)
        OPENSSL_cleanse(raw.p, raw.len);
    buf_destroy(&raw);
    return ok && buf_status(out) == ST_OK;
}
