#include "net/tls_private.h"

#include "base/buf.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

struct tls_context {
    pthread_mutex_t lock; /* of the next: loops take it for a connection while it is replaced */
    SSL_CTX *ssl;
    unsigned char trust[SHA256_DIGEST_LENGTH]; /* of a client: fingerprint of what it trusts */
    atomic_int refs;
};

/*
 * The session's bytes come from a view and go to a callback through a BIO of our own, so an idle
 * connection holds no buffers of ours, and of OpenSSL's only what SSL_MODE_RELEASE_BUFFERS leaves.
 */
struct tls_session {
    SSL *ssl;
    struct str input; /* borrowed; encrypted bytes not yet read by OpenSSL */
    void (*emit)(void *arg, struct str bytes);
    void *arg;
    bool is_open;
    char error[200];
};

/* --- the BIO --- */

static int bio_read(BIO *b, char *out, size_t size, size_t *n) {
    struct tls_session *s = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    *n = size_min(size, s->input.n);
    if (*n == 0) {
        BIO_set_retry_read(b);
        return 0;
    }
    memcpy(out, s->input.p, *n);
    s->input = str_skip(s->input, *n);
    return 1;
}

static int bio_write(BIO *b, const char *p, size_t size, size_t *n) {
    struct tls_session *s = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    s->emit(s->arg, (struct str){p, size});
    *n = size;
    return 1;
}

static long bio_ctrl(BIO *b, int what, long number, void *p) {
    (void)b;
    (void)number;
    (void)p;
    return what == BIO_CTRL_FLUSH ? 1 : 0;
}

static BIO_METHOD *bio_method(void) {
    static _Atomic(BIO_METHOD *) shared;
    BIO_METHOD *m = atomic_load(&shared);
    if (m)
        return m;
    m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "view");
    assert(m);
    BIO_meth_set_read_ex(m, bio_read);
    BIO_meth_set_write_ex(m, bio_write);
    BIO_meth_set_ctrl(m, bio_ctrl);
    BIO_METHOD *other = NULL;
    if (!atomic_compare_exchange_strong(&shared, &other, m)) {
        BIO_meth_free(m);
        return other;
    }
    return m;
}

/* --- contexts --- */

static enum status refuse(struct problem *why, const char *file, const char *what) {
    unsigned long code = ERR_peek_last_error();
    char text[160] = "unknown reason";
    if (code)
        ERR_error_string_n(code, text, sizeof text);
    ERR_clear_error();
    return problem_set(why, ST_IO_FAILED, str_of(file ? file : "tls"), "%s: %s", what, text);
}

static SSL_CTX *settings_new(const SSL_METHOD *method) {
    SSL_CTX *ssl = SSL_CTX_new(method);
    assert(ssl);
    SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION);
    SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
    return ssl;
}

/* Takes the settings over. */
static struct tls_context *context_new(SSL_CTX *ssl) {
    struct tls_context *t = xcalloc(1, sizeof *t);
    t->ssl = ssl;
    pthread_mutex_init(&t->lock, NULL);
    atomic_init(&t->refs, 1);
    return t;
}

/* We speak HTTP/1.1 only; a client that offers others but not it gets no protocol at all. */
static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_n,
                           const unsigned char *in, unsigned in_n, void *arg) {
    (void)ssl;
    (void)arg;
    static const unsigned char ours[] = "\x08http/1.1";
    unsigned char *chosen;
    if (SSL_select_next_proto(&chosen, out_n, ours, sizeof ours - 1, in, in_n) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_NOACK;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* Of the suites of TLS 1.3 the one that costs the least goes first; 128 bits are out of anybody's reach.
 * A client that puts ChaCha20 first has no AES in its processor, and gets what it asked for. */
static void prefer_short_keys(SSL_CTX *ssl) {
    int ok = SSL_CTX_set_ciphersuites(ssl, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:"
                                           "TLS_CHACHA20_POLY1305_SHA256");
    assert(ok == 1);
    SSL_CTX_set_options(ssl, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
}

static enum status read_server(const char *cert_file, const char *key_file, SSL_CTX **out,
                               struct problem *why) {
    SSL_CTX *ssl = settings_new(TLS_server_method());
    enum status st = ST_OK;
    prefer_short_keys(ssl);
    if (SSL_CTX_use_certificate_chain_file(ssl, cert_file) != 1)
        st = refuse(why, cert_file, "cannot use the certificate chain");
    else if (SSL_CTX_use_PrivateKey_file(ssl, key_file, SSL_FILETYPE_PEM) != 1)
        st = refuse(why, key_file, "cannot use the private key");
    else if (SSL_CTX_check_private_key(ssl) != 1)
        st = refuse(why, key_file, "the private key does not belong to the certificate");
    if (st != ST_OK) {
        SSL_CTX_free(ssl);
        return st;
    }
    SSL_CTX_set_alpn_select_cb(ssl, choose_protocol, NULL);
    *out = ssl;
    return ST_OK;
}

enum status tls_server_new(const char *cert_file, const char *key_file, struct tls_context **out,
                           struct problem *why) {
    SSL_CTX *ssl;
    TRY(read_server(cert_file, key_file, &ssl, why));
    *out = context_new(ssl);
    return ST_OK;
}

enum status tls_server_reload(struct tls_context *t, const char *cert_file, const char *key_file,
                              struct problem *why) {
    SSL_CTX *next, *before;
    TRY(read_server(cert_file, key_file, &next, why));
    pthread_mutex_lock(&t->lock);
    before = t->ssl;
    t->ssl = next;
    pthread_mutex_unlock(&t->lock);
    SSL_CTX_free(before); /* its sessions have references of their own */
    return ST_OK;
}

/* Of all trusted certificates, in whatever order they lie: the sum of their hashes, byte by byte. */
static void take_fingerprint(struct tls_context *t) {
    STACK_OF(X509_OBJECT) *all = X509_STORE_get0_objects(SSL_CTX_get_cert_store(t->ssl));
    for (int i = 0; i < sk_X509_OBJECT_num(all); i++) {
        X509 *certificate = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(all, i));
        unsigned char hash[EVP_MAX_MD_SIZE];
        unsigned n = 0;
        if (!certificate || X509_digest(certificate, EVP_sha256(), hash, &n) != 1)
            continue;
        for (unsigned k = 0; k < SHA256_DIGEST_LENGTH && k < n; k++)
            t->trust[k] = (unsigned char)(t->trust[k] + hash[k]);
    }
}

bool tls_trusts_same(const struct tls_context *a, const struct tls_context *b) {
    if (!a || !b)
        return a == b;
    return a == b || memcmp(a->trust, b->trust, sizeof a->trust) == 0;
}

enum status tls_client_new(const char *ca_file, bool verify, struct tls_context **out,
                           struct problem *why) {
    struct tls_context *t = context_new(settings_new(TLS_client_method()));
    SSL_CTX_set_verify(t->ssl, verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    int ok = ca_file ? SSL_CTX_load_verify_locations(t->ssl, ca_file, NULL)
                     : SSL_CTX_set_default_verify_paths(t->ssl);
    if (verify && ok != 1) {
        enum status st = refuse(why, ca_file, "cannot use the trusted certificates");
        tls_unref(t);
        return st;
    }
    if (verify)
        take_fingerprint(t);
    *out = t;
    return ST_OK;
}

struct tls_context *tls_ref(struct tls_context *t) {
    if (t)
        atomic_fetch_add(&t->refs, 1);
    return t;
}

void tls_unref(struct tls_context *t) {
    if (t && atomic_fetch_sub(&t->refs, 1) == 1) {
        SSL_CTX_free(t->ssl);
        pthread_mutex_destroy(&t->lock);
        free(t);
    }
}

/* --- sessions --- */

struct tls_session *tls_session_new(struct tls_context *t, const char *server_name,
                                    void (*emit)(void *arg, struct str bytes), void *arg) {
    struct tls_session *s = xcalloc(1, sizeof *s);
    s->emit = emit;
    s->arg = arg;
    pthread_mutex_lock(&t->lock);
    s->ssl = SSL_new(t->ssl);
    pthread_mutex_unlock(&t->lock);
    assert(s->ssl);
    BIO *b = BIO_new(bio_method());
    assert(b);
    BIO_set_data(b, s);
    BIO_set_init(b, 1);
    SSL_set_bio(s->ssl, b, b);
    if (!server_name) {
        SSL_set_accept_state(s->ssl);
    } else {
        SSL_set_connect_state(s->ssl);
        X509_VERIFY_PARAM *param = SSL_get0_param(s->ssl);
        /* What is no address is a name, even one of digits: "127.1", which resolvers understand. */
        if (X509_VERIFY_PARAM_set1_ip_asc(param, server_name) != 1) {
            int ok = X509_VERIFY_PARAM_set1_host(param, server_name, 0);
            assert(ok == 1);
            SSL_set_tlsext_host_name(s->ssl, server_name);
            ERR_clear_error();
        }
    }
    return s;
}

void tls_session_free(struct tls_session *s) {
    if (!s)
        return;
    SSL_free(s->ssl);
    free(s);
}

void tls_session_feed(struct tls_session *s, struct str bytes) {
    /* OpenSSL takes everything up to the last incomplete record before it asks for more, and keeps
     * that one itself. */
    assert(s->input.n == 0);
    s->input = bytes;
}

static enum tls_result result_of(struct tls_session *s, int rc) {
    int e = SSL_get_error(s->ssl, rc);
    if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE) {
        ERR_clear_error();
        return TLS_AGAIN;
    }
    if (e == SSL_ERROR_ZERO_RETURN)
        return TLS_CLOSED;
    unsigned long code = ERR_peek_last_error();
    long verify = SSL_get_verify_result(s->ssl);
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    if (verify != X509_V_OK)
        snprintf(s->error, sizeof s->error, "TLS: %s", X509_verify_cert_error_string(verify));
    else
        snprintf(s->error, sizeof s->error, "TLS: %s", reason ? reason : "the session failed");
    ERR_clear_error();
    return TLS_FAILED;
}

enum tls_result tls_session_handshake(struct tls_session *s) {
    int rc = SSL_do_handshake(s->ssl);
    if (rc != 1)
        return result_of(s, rc);
    s->is_open = true;
    return TLS_OK;
}

bool tls_session_is_open(const struct tls_session *s) {
    return s->is_open;
}

enum tls_result tls_session_read(struct tls_session *s, char *out, size_t size, size_t *n) {
    int rc = SSL_read_ex(s->ssl, out, size, n);
    return rc == 1 ? TLS_OK : result_of(s, rc);
}

enum tls_result tls_session_write(struct tls_session *s, const struct iovec *iov, int n) {
    for (int i = 0; i < n; i++) {
        size_t written;
        if (iov[i].iov_len == 0)
            continue;
        /* The BIO takes everything, so a write is never partial. */
        int rc = SSL_write_ex(s->ssl, iov[i].iov_base, iov[i].iov_len, &written);
        if (rc != 1)
            return result_of(s, rc);
    }
    return TLS_OK;
}

void tls_session_shutdown(struct tls_session *s) {
    if (s->is_open)
        SSL_shutdown(s->ssl);
    ERR_clear_error();
}

struct str tls_session_error(const struct tls_session *s) {
    return str_of(s->error);
}
