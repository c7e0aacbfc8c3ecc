/* secret.c - scrypt with its parameters in the text. */
#include "crypto/secret.h"

#include "crypto/crypto_private.h"
#include "crypto/hash.h"

#include <openssl/crypto.h>
#include <stdio.h>

enum {
    LOG2_N = 14,
    BLOCK = 8, /* r */
    LANES = 1, /* p */
    SALT_SIZE = 16,
    DIGEST_SIZE = 32,
    MEMORY_MAX = 64 << 20, /* bytes that a hash may ask for: 128 r N */
    LANES_MAX = 4,
};

void secret_make(char out[SECRET_SIZE]) {
    char random[32];
    crypto_random(random, sizeof random);
    struct buf text;
    buf_init(&text, SECRET_SIZE - 1);
    base64url_put(&text, (struct str){random, sizeof random});
    assert(text.len == SECRET_SIZE - 1);
    memcpy(out, text.p, text.len);
    out[text.len] = '\0';
    OPENSSL_cleanse(random, sizeof random);
    OPENSSL_cleanse(text.p, text.len);
    buf_destroy(&text);
}

static bool derive(struct str secret, struct str salt, int64_t log2_n, int64_t r, int64_t p,
                   uint8_t out[DIGEST_SIZE]) {
    /* The library's bound counts a few blocks beside the table. */
    return EVP_PBE_scrypt(secret.p ? secret.p : "", secret.n, (const uint8_t *)salt.p, salt.n,
                          UINT64_C(1) << log2_n, (uint64_t)r, (uint64_t)p, MEMORY_MAX + (1 << 20),
                          out, DIGEST_SIZE) == 1;
}

void secret_hash(struct str secret, char out[SECRET_HASH_SIZE]) {
    assert(secret.n <= SECRET_MAX);
    char salt[SALT_SIZE];
    uint8_t digest[DIGEST_SIZE];
    crypto_random(salt, sizeof salt);
    crypto_must(derive(secret, (struct str){salt, sizeof salt}, LOG2_N, BLOCK, LANES, digest),
                "EVP_PBE_scrypt");
    struct buf text;
    buf_init(&text, SECRET_HASH_SIZE - 1);
    buf_printf(&text, "scrypt$%d$%d$%d$", LOG2_N, BLOCK, LANES);
    base64url_put(&text, (struct str){salt, sizeof salt});
    buf_char(&text, '$');
    base64url_put(&text, (struct str){(char *)digest, sizeof digest});
    assert(!text.overflowed);
    memcpy(out, text.p, text.len);
    out[text.len] = '\0';
    buf_destroy(&text);
}

/* Takes a number between 1 and `most` off the front. */
static bool take_number(struct str *rest, int64_t most, int64_t *out) {
    struct str item;
    return str_cut(rest, '$', &item) && str_to_i64(item, out) && *out >= 1 && *out <= most;
}

static bool verify(struct str secret, struct str rest, struct buf *salt, struct buf *wanted) {
    struct str item;
    int64_t log2_n, r, p;
    if (!str_cut(&rest, '$', &item) || !str_eq(item, STR("scrypt")) ||
        !take_number(&rest, 20, &log2_n) || !take_number(&rest, 32, &r) ||
        !take_number(&rest, LANES_MAX, &p) || (INT64_C(128) * r << log2_n) > MEMORY_MAX)
        return false;
    if (!str_cut(&rest, '$', &item) || !base64url_take(salt, item) || salt->len == 0)
        return false;
    if (!base64url_take(wanted, rest) || wanted->len != DIGEST_SIZE)
        return false;
    uint8_t digest[DIGEST_SIZE];
    return derive(secret, buf_view(salt), log2_n, r, p, digest) &&
           str_eq_secret((struct str){(char *)digest, sizeof digest}, buf_view(wanted));
}

bool secret_verify(struct str secret, struct str hash) {
    if (secret.n > SECRET_MAX || hash.n >= SECRET_HASH_SIZE)
        return false;
    CLEANUP(buf_destroy) struct buf salt;
    CLEANUP(buf_destroy) struct buf wanted;
    buf_init(&salt, SECRET_HASH_SIZE);
    buf_init(&wanted, SECRET_HASH_SIZE);
    return verify(secret, hash, &salt, &wanted);
}
