/* vault.c - the key files of the data folder, made once, read at each start. */
#include "identity/vault.h"

#include "crypto/certificate.h"
#include "os/os.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FILE_MAX = 64 << 10 }; /* bytes of a key or certificate file */

/* folder/name on the heap. */
static char *path_of(const char *folder, const char *name) {
    size_t n = strlen(folder) + 1 + strlen(name) + 1;
    char *path = xmalloc(n);
    snprintf(path, n, "%s/%s", folder, name);
    return path;
}

static void free_path(char **path) {
    free(*path);
}

/* Empties key material before its memory is given back. */
static void wipe(struct buf *b) {
    if (b->p)
        explicit_bzero(b->p, b->cap);
    buf_destroy(b);
}

/* What a file holds; nothing when it is not there. */
static enum status read_file(const char *path, struct buf *out, bool *is_there,
                             struct problem *why) {
    *is_there = access(path, F_OK) == 0;
    return *is_there ? os_read_file(path, out, 0, why) : ST_OK;
}

/* --- seal.key --- */

static enum status parse_seal(const char *path, struct str text, struct seal_key *out,
                              struct problem *why) {
    text = str_trim(text);
    uint64_t words[SEAL_KEY_SIZE / 8];
    bool ok = text.n == SEAL_KEY_SIZE * 2;
    for (size_t i = 0; ok && i < ARRAY_LEN(words); i++)
        ok = str_to_hex_u64((struct str){text.p + i * 16, 16}, &words[i]);
    if (!ok)
        return problem_set(why, ST_BAD_REQUEST, str_of(path),
                           "A seal key has %d hexadecimal digits.", SEAL_KEY_SIZE * 2);
    for (size_t i = 0; i < SEAL_KEY_SIZE; i++)
        out->bytes[i] = (uint8_t)(words[i / 8] >> (56 - 8 * (i % 8)));
    explicit_bzero(words, sizeof words);
    return ST_OK;
}

static enum status open_seal(const char *folder, struct seal_key *out, struct problem *why) {
    CLEANUP(free_path) char *path = path_of(folder, "seal.key");
    CLEANUP(wipe) struct buf text;
    buf_init(&text, FILE_MAX);
    bool is_there;
    TRY(read_file(path, &text, &is_there, why));
    if (is_there)
        return parse_seal(path, buf_view(&text), out, why);
    os_random(out->bytes, sizeof out->bytes);
    for (size_t i = 0; i < SEAL_KEY_SIZE; i++)
        buf_printf(&text, "%02x", out->bytes[i]);
    buf_char(&text, '\n');
    return os_replace_file(path, buf_view(&text), why);
}

/* --- token.pem --- */

static enum status open_token_key(const char *folder, struct rsa_key **out, struct problem *why) {
    CLEANUP(free_path) char *path = path_of(folder, "token.pem");
    CLEANUP(wipe) struct buf pem;
    buf_init(&pem, FILE_MAX);
    bool is_there;
    TRY(read_file(path, &pem, &is_there, why));
    if (is_there) {
        struct problem inner;
        enum status st = rsa_key_load(buf_view(&pem), out, &inner);
        return st == ST_OK ? st : problem_set(why, st, str_of(path), "%s", inner.message);
    }
    struct rsa_key *key = rsa_key_make();
    rsa_key_save(key, &pem);
    enum status st = os_replace_file(path, buf_view(&pem), why);
    if (st == ST_OK)
        *out = key;
    else
        rsa_key_unref(key);
    return st;
}

/* --- certificates --- */

/* A certificate and its key: read, or empty. */
struct pair {
    struct buf cert, key;
};

static void pair_init(struct pair *p) {
    buf_init(&p->cert, FILE_MAX);
    buf_init(&p->key, FILE_MAX);
}

static void pair_destroy(struct pair *p) {
    wipe(&p->cert);
    wipe(&p->key);
}

static enum status write_pair(const char *cert_file, const char *key_file, const struct pair *p,
                              struct problem *why) {
    /* The key first: after a crash between the two the pair does not match and is made anew (the
     * server's), or the certificate is missing and is made anew together with the key (the
     * CA's). */
    TRY(os_replace_file(key_file, buf_view(&p->key), why));
    return os_replace_file(cert_file, buf_view(&p->cert), why);
}

static enum status open_ca(const char *cert_file, const char *key_file, int64_t now_s,
                           struct pair *ca, bool *made, struct problem *why) {
    bool has_cert, has_key;
    TRY(read_file(cert_file, &ca->cert, &has_cert, why));
    TRY(read_file(key_file, &ca->key, &has_key, why));
    if (has_cert) {
        if (certificate_ca_is_good(buf_view(&ca->cert), buf_view(&ca->key), now_s))
            return ST_OK;
        return problem_set(
            why, ST_BAD_REQUEST, str_of(cert_file),
            "The authority has ended, is no authority, or its key (ca.key) is "
            "missing or another's. Without ca.pem and ca.key a new one is made, which "
            "clients must be told to trust.");
    }
    buf_clear(&ca->key);
    char name[64];
    uint32_t random;
    os_random(&random, sizeof random);
    /* Names of authorities should differ: clients look for the issuer by its name. */
    snprintf(name, sizeof name, "Weir private CA %08x", random);
    certificate_make_ca(str_of(name), now_s, &ca->cert, &ca->key);
    *made = true;
    return write_pair(cert_file, key_file, ca, why);
}

/* The server's pair; made anew when the one that is there will not do. */
static enum status open_server(const char *cert_file, const char *key_file, const struct pair *ca,
                               const struct str *names, size_t n_names, int64_t now_s, bool *made,
                               int64_t *ends_s, struct problem *why) {
    CLEANUP(pair_destroy) struct pair server;
    pair_init(&server);
    bool is_there;
    int64_t begins_s;
    TRY(read_file(cert_file, &server.cert, &is_there, why));
    TRY(read_file(key_file, &server.key, &is_there, why));
    if (certificate_judge(buf_view(&ca->cert), buf_view(&server.cert), buf_view(&server.key), names,
                          n_names, now_s) != CERTIFICATE_GOOD) {
        buf_clear(&server.cert);
        buf_clear(&server.key);
        TRY(certificate_make_server(buf_view(&ca->cert), buf_view(&ca->key), names, n_names, now_s,
                                    &server.cert, &server.key, why));
        TRY(write_pair(cert_file, key_file, &server, why));
        *made = true;
    }
    bool is_valid = certificate_validity(buf_view(&server.cert), &begins_s, ends_s);
    assert(is_valid);
    return ST_OK;
}

static enum status open_certificates(struct vault *v, const char *ca_key_file,
                                     const struct str *names, size_t n_names, int64_t now_s,
                                     struct problem *why) {
    CLEANUP(pair_destroy) struct pair ca;
    pair_init(&ca);
    TRY(open_ca(v->ca_cert_file, ca_key_file, now_s, &ca, &v->made_ca, why));
    return open_server(v->server_cert_file, v->server_key_file, &ca, names, n_names, now_s,
                       &v->made_server, &v->server_ends_s, why);
}

/* --- the vault --- */

static enum status open_all(struct vault *v, const char *folder, const struct str *names,
                            size_t n_names, int64_t now_s, struct problem *why) {
    TRY(os_make_folder(folder, why));
    TRY(open_seal(folder, &v->seal, why));
    TRY(open_token_key(folder, &v->token_key, why));
    v->ca_cert_file = path_of(folder, "ca.pem");
    v->ca_key_file = path_of(folder, "ca.key");
    v->server_cert_file = path_of(folder, "server.pem");
    v->server_key_file = path_of(folder, "server.key");
    return open_certificates(v, v->ca_key_file, names, n_names, now_s, why);
}

enum status vault_open(const char *folder, const struct str *names, size_t n_names, int64_t now_s,
                       struct vault *out, struct problem *why) {
    struct vault v = {0};
    enum status st = open_all(&v, folder, names, n_names, now_s, why);
    if (st != ST_OK) {
        vault_close(&v);
        memset(out, 0, sizeof *out);
        return st;
    }
    *out = v;
    explicit_bzero(&v.seal, sizeof v.seal);
    return ST_OK;
}

enum status vault_renew(struct vault *v, const struct str *names, size_t n_names, int64_t now_s,
                        bool *renewed, struct problem *why) {
    v->made_server = false;
    TRY(open_certificates(v, v->ca_key_file, names, n_names, now_s, why));
    *renewed = v->made_server;
    return ST_OK;
}

void vault_close(struct vault *v) {
    rsa_key_unref(v->token_key);
    free(v->ca_cert_file);
    free(v->ca_key_file);
    free(v->server_cert_file);
    free(v->server_key_file);
    explicit_bzero(v, sizeof *v);
}
