/* vault.c - the key files of the data folder, made once, read at each start. */
#include "identity/vault.h"

#include "crypto/certificate.h"
#include "os/os.h"
#include "json/json.h"

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

/* --- token.pem and token-keys.json --- */

static void tokens_destroy(struct vault_tokens *t) {
    rsa_key_unref(t->key);
    for (size_t i = 0; i < t->n_old; i++)
        rsa_key_unref(t->old[i].key);
    *t = (struct vault_tokens){0};
}

static void put_old_key(struct json_writer *w, const struct rsa_key *key, int64_t until_s) {
    CLEANUP(buf_destroy) struct buf n;
    CLEANUP(buf_destroy) struct buf e;
    buf_init(&n, FILE_MAX);
    buf_init(&e, FILE_MAX);
    rsa_key_numbers(key, &n, &e);
    json_begin_object(w);
    json_key(w, STR("n"));
    json_str_value(w, buf_view(&n));
    json_key(w, STR("e"));
    json_str_value(w, buf_view(&e));
    json_key(w, STR("untilS"));
    json_i64_value(w, until_s);
    json_end_object(w);
}

static enum status write_list(const char *path, const struct vault_tokens *t, struct problem *why) {
    CLEANUP(buf_destroy) struct buf text;
    struct json_writer w;
    buf_init(&text, FILE_MAX);
    json_writer_init(&w, &text, 2);
    json_begin_object(&w);
    json_key(&w, STR("madeS"));
    json_i64_value(&w, t->made_s);
    json_key(&w, STR("old"));
    json_begin_array(&w);
    for (size_t i = 0; i < t->n_old; i++)
        put_old_key(&w, t->old[i].key, t->old[i].until_s);
    json_end_array(&w);
    json_end_object(&w);
    buf_char(&text, '\n');
    TRY(buf_status(&text));
    return os_replace_file(path, buf_view(&text), why);
}

static enum status read_old_keys(struct json_value list, int64_t now_s, struct vault_tokens *t,
                                 struct problem *why) {
    struct json_iter it;
    struct json_value item, n, e, until;
    int64_t until_s;
    json_items(&it, list);
    while (json_next(&it, &item)) {
        if (!json_get(item, STR("n"), &n) || !json_get(item, STR("e"), &e) ||
            !json_get(item, STR("untilS"), &until) || !json_i64(until, &until_s) ||
            t->n_old == VAULT_OLD_KEYS_MAX)
            return problem_set(why, ST_BAD_REQUEST, STR("old"), "is no list of at most %d keys",
                               VAULT_OLD_KEYS_MAX);
        if (until_s <= now_s)
            continue;
        TRY(rsa_key_from_jwk(json_str(n), json_str(e), &t->old[t->n_old].key, why));
        t->old[t->n_old++].until_s = until_s;
    }
    return ST_OK;
}

static enum status parse_list(struct json_doc *doc, struct buf *text, int64_t now_s,
                              struct vault_tokens *t, struct problem *why) {
    struct json_value root, v;
    buf_reserve_slack(text, 0, JSON_PADDING);
    TRY(json_parse(doc, text->p, text->len, &root, why));
    if (!json_get(root, STR("madeS"), &v) || !json_i64(v, &t->made_s))
        return problem_set(why, ST_BAD_REQUEST, STR("madeS"), "is missing");
    if (!json_get(root, STR("old"), &v) || json_type(v) != JSON_ARRAY)
        return problem_set(why, ST_BAD_REQUEST, STR("old"), "is missing");
    return read_old_keys(v, now_s, t, why);
}

/* A folder of a version that did not rotate has no list: its key counts as made now. */
static enum status open_list(const char *path, int64_t now_s, struct vault_tokens *t,
                             struct problem *why) {
    CLEANUP(buf_destroy) struct buf text;
    struct problem inner = {0};
    bool is_there;
    buf_init(&text, FILE_MAX);
    TRY(read_file(path, &text, &is_there, why));
    if (!is_there) {
        t->made_s = now_s;
        return write_list(path, t, why);
    }
    struct json_doc *doc = json_doc_new();
    enum status st = parse_list(doc, &text, now_s, t, &inner);
    json_doc_free(doc);
    return st == ST_OK ? st
                       : problem_set(why, ST_BAD_REQUEST, str_of(path), "%s %s", inner.target,
                                     inner.message);
}

static enum status write_key(const char *path, const struct rsa_key *key, struct problem *why) {
    CLEANUP(wipe) struct buf pem;
    buf_init(&pem, FILE_MAX);
    rsa_key_save(key, &pem);
    return os_replace_file(path, buf_view(&pem), why);
}

static enum status open_tokens(struct vault *v, int64_t now_s, struct problem *why) {
    CLEANUP(wipe) struct buf pem;
    buf_init(&pem, FILE_MAX);
    bool is_there;
    TRY(read_file(v->tokens_file, &pem, &is_there, why));
    if (is_there) {
        struct problem inner;
        enum status st = rsa_key_load(buf_view(&pem), &v->tokens.key, &inner);
        if (st != ST_OK)
            return problem_set(why, st, str_of(v->tokens_file), "%s", inner.message);
    } else {
        v->tokens.key = rsa_key_make();
        TRY(write_key(v->tokens_file, v->tokens.key, why));
    }
    return open_list(v->tokens_list_file, now_s, &v->tokens, why);
}

enum status vault_rotate_tokens(const struct vault *v, int64_t keep_s, int64_t now_s,
                                struct vault_tokens *next, struct problem *why) {
    struct vault_tokens t = {.made_s = now_s};
    const struct vault_tokens *now = &v->tokens;
    t.old[t.n_old++] = (struct vault_old_key){rsa_key_ref(now->key), now_s + keep_s};
    enum status st = ST_OK;
    for (size_t i = 0; i < now->n_old && st == ST_OK; i++) {
        if (now->old[i].until_s <= now_s)
            continue;
        if (t.n_old == VAULT_OLD_KEYS_MAX)
            st = problem_set(why, ST_OVERLOADED, STR("keys"),
                             "%d keys that signed before are still good; rotate again when their "
                             "tokens have ended.",
                             VAULT_OLD_KEYS_MAX);
        else
            t.old[t.n_old++] =
                (struct vault_old_key){rsa_key_ref(now->old[i].key), now->old[i].until_s};
    }
    if (st == ST_OK)
        t.key = rsa_key_make();
    /* The list first: after a crash between the two the key that signs stands in it as an old one too,
     * which harms nobody. The other way round its tokens would be lost. */
    if (st == ST_OK)
        st = write_list(v->tokens_list_file, &t, why);
    if (st == ST_OK)
        st = write_key(v->tokens_file, t.key, why);
    if (st == ST_OK)
        *next = t;
    else
        tokens_destroy(&t);
    return st;
}

void vault_adopt_tokens(struct vault *v, struct vault_tokens *next) {
    tokens_destroy(&v->tokens);
    v->tokens = *next;
    *next = (struct vault_tokens){0};
}

bool vault_forget_tokens(struct vault *v, int64_t now_s) {
    struct vault_tokens *t = &v->tokens;
    size_t n = 0;
    for (size_t i = 0; i < t->n_old; i++) {
        if (t->old[i].until_s > now_s)
            t->old[n++] = t->old[i];
        else
            rsa_key_unref(t->old[i].key);
    }
    bool has_changed = n < t->n_old;
    t->n_old = n;
    return has_changed;
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
                               const struct str *names, size_t n_names, int64_t now_s,
                               struct vault *v, struct problem *why) {
    CLEANUP(pair_destroy) struct pair server;
    pair_init(&server);
    bool is_there;
    int64_t begins_s, ends_s;
    TRY(read_file(cert_file, &server.cert, &is_there, why));
    TRY(read_file(key_file, &server.key, &is_there, why));
    if (certificate_judge(buf_view(&ca->cert), buf_view(&server.cert), buf_view(&server.key), names,
                          n_names, now_s) != CERTIFICATE_GOOD) {
        buf_clear(&server.cert);
        buf_clear(&server.key);
        TRY(certificate_make_server(buf_view(&ca->cert), buf_view(&ca->key), names, n_names,
                                    v->server_validity_s, now_s, &server.cert, &server.key, why));
        TRY(write_pair(cert_file, key_file, &server, why));
        v->made_server = true;
    }
    bool is_valid = certificate_validity(buf_view(&server.cert), &begins_s, &ends_s);
    assert(is_valid);
    v->server_renew_s = certificate_renew_s(begins_s, ends_s);
    v->server_ends_s = ends_s;
    return ST_OK;
}

static enum status open_certificates(struct vault *v, const char *ca_key_file,
                                     const struct str *names, size_t n_names, int64_t now_s,
                                     struct problem *why) {
    CLEANUP(pair_destroy) struct pair ca;
    pair_init(&ca);
    TRY(open_ca(v->ca_cert_file, ca_key_file, now_s, &ca, &v->made_ca, why));
    return open_server(v->server_cert_file, v->server_key_file, &ca, names, n_names, now_s, v, why);
}

/* --- the vault --- */

static enum status open_all(struct vault *v, const char *folder, const struct str *names,
                            size_t n_names, int64_t now_s, struct problem *why) {
    TRY(os_make_folder(folder, why));
    TRY(open_seal(folder, &v->seal, why));
    v->tokens_file = path_of(folder, "token.pem");
    v->tokens_list_file = path_of(folder, "token-keys.json");
    TRY(open_tokens(v, now_s, why));
    v->ca_cert_file = path_of(folder, "ca.pem");
    v->ca_key_file = path_of(folder, "ca.key");
    v->server_cert_file = path_of(folder, "server.pem");
    v->server_key_file = path_of(folder, "server.key");
    return open_certificates(v, v->ca_key_file, names, n_names, now_s, why);
}

enum status vault_open(const char *folder, const struct str *names, size_t n_names,
                       int64_t validity_s, int64_t now_s, struct vault *out, struct problem *why) {
    struct vault v = {.server_validity_s = validity_s};
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
    tokens_destroy(&v->tokens);
    free(v->tokens_file);
    free(v->tokens_list_file);
    free(v->ca_cert_file);
    free(v->ca_key_file);
    free(v->server_cert_file);
    free(v->server_key_file);
    explicit_bzero(v, sizeof *v);
}
