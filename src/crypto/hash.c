/* hash.c - SHA-256 and HMAC by libcrypto, base64url by hand: the library's base64 pads and
 * wraps. */
#include "crypto/hash.h"

#include "crypto/crypto_private.h"

#include <limits.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

void hash_sha256(struct str data, uint8_t out[SHA256_SIZE]) {
    crypto_must(SHA256((const uint8_t *)data.p, data.n, out), "SHA256");
}

void hash_hmac_sha256(struct str key, struct str data, uint8_t out[SHA256_SIZE]) {
    unsigned n = SHA256_SIZE;
    assert(key.n <= INT_MAX);
    /* An empty key must still be a pointer: NULL would mean the key of the call before. */
    crypto_must(HMAC(EVP_sha256(), key.p ? key.p : "", (int)key.n, (const uint8_t *)data.p, data.n,
                     out, &n) &&
                    n == SHA256_SIZE,
                "HMAC");
}

void base64url_put(struct buf *out, struct str bytes) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    if (bytes.n == 0) /* an empty buffer may have no memory to point to */
        return;
    char *at = buf_reserve(out, (bytes.n * 4 + 2) / 3);
    if (!at)
        return;
    char *begin = at;
    uint32_t bits = 0;
    int n_bits = 0;
    for (size_t i = 0; i < bytes.n; i++) {
        bits = bits << 8 | (uint8_t)bytes.p[i];
        n_bits += 8;
        while (n_bits >= 6) {
            n_bits -= 6;
            *at++ = digits[bits >> n_bits & 63];
        }
    }
    if (n_bits > 0)
        *at++ = digits[bits << (6 - n_bits) & 63];
    buf_commit(out, (size_t)(at - begin));
}

static int digit_value(char c) {
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

bool base64url_take(struct buf *out, struct str text) {
    if (text.n == 0)
        return true;
    if (text.n % 4 == 1)
        return false;
    size_t before = out->len;
    char *at = buf_reserve(out, text.n / 4 * 3 + (text.n % 4 ? text.n % 4 - 1 : 0));
    if (!at)
        return false;
    char *begin = at;
    uint32_t bits = 0;
    int n_bits = 0;
    for (size_t i = 0; i < text.n; i++) {
        int v = digit_value(text.p[i]);
        if (v < 0)
            return false;
        bits = bits << 6 | (uint32_t)v;
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            *at++ = (char)(bits >> n_bits & 255);
        }
    }
    if (bits & ((1U << n_bits) - 1))
        return false;
    assert(out->len == before);
    buf_commit(out, (size_t)(at - begin));
    return true;
}
