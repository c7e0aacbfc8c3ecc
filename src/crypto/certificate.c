/* certificate.c - X.509 by libcrypto: one authority, server certificates one step below it. */
#include "crypto/certificate.h"

#include "crypto/crypto_private.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <time.h>

enum {
    DAY_S = 86400,
    SERIAL_SIZE = 16,    /* bytes; CAs must use 64 bits of randomness at least */
    COMMON_NAME_MAX = 64 /* RFC 5280, ub-common-name */
};

static void free_key(EVP_PKEY **key) {
    EVP_PKEY_free(*key);
}

static void free_cert(X509 **cert) {
    X509_free(*cert);
}

static void free_names(GENERAL_NAMES **names) {
    GENERAL_NAMES_free(*names);
}

/* --- reading --- */

/* The first certificate in a PEM text, or NULL. */
static X509 *read_cert(struct str pem) {
    BIO *b = crypto_reader(pem);
    X509 *cert = PEM_read_bio_X509(b, NULL, NULL, NULL);
    BIO_free(b);
    return cert;
}

static bool read_time(const ASN1_TIME *t, int64_t *out) {
    struct tm tm;
    if (ASN1_TIME_to_tm(t, &tm) != 1)
        return false;
    *out = timegm(&tm);
    return true;
}

static bool read_validity(const X509 *cert, int64_t *begin_s, int64_t *end_s) {
    return read_time(X509_get0_notBefore(cert), begin_s) &&
           read_time(X509_get0_notAfter(cert), end_s);
}

/* --- names --- */

/* Letters, digits, hyphens and underscores between dots; perhaps "*." in front. The last label
 * is not all digits: that would be a broken address. */
static bool is_dns_name(struct str s) {
    if (str_starts(s, STR("*.")))
        s = str_skip(s, 2);
    if (s.n == 0 || s.n > 253 || s.p[s.n - 1] == '.')
        return false;
    bool all_digits = false;
    struct str label;
    while (str_cut(&s, '.', &label)) {
        if (label.n == 0 || label.n > 63 || label.p[0] == '-' || label.p[label.n - 1] == '-')
            return false;
        all_digits = true;
        for (size_t i = 0; i < label.n; i++) {
            char c = label.p[i];
            bool is_digit = c >= '0' && c <= '9';
            if (!is_digit && c != '-' && c != '_' && !(c >= 'a' && c <= 'z') &&
                !(c >= 'A' && c <= 'Z'))
                return false;
            all_digits = all_digits && is_digit;
        }
    }
    return !all_digits;
}

/* A DNS name or an address as a subjectAltName; NULL when it is neither. */
static GENERAL_NAME *general_name(struct str name) {
    char *text = str_dup(name); /* an embedded NUL ends it: then it differs from the name */
    ASN1_OCTET_STRING *address = strlen(text) == name.n ? a2i_IPADDRESS(text) : NULL;
    GENERAL_NAME *out = NULL;
    if (address) {
        out = GENERAL_NAME_new();
        crypto_must(out, "GENERAL_NAME_new");
        GENERAL_NAME_set0_value(out, GEN_IPADD, address);
    } else if (is_dns_name(name)) {
        ASN1_IA5STRING *dns = ASN1_IA5STRING_new();
        out = GENERAL_NAME_new();
        crypto_must(out && dns && ASN1_STRING_set(dns, name.p, (int)name.n) == 1,
                    "ASN1_STRING_set");
        GENERAL_NAME_set0_value(out, GEN_DNS, dns);
    }
    ERR_clear_error();
    free(text);
    return out;
}

static enum status general_names(const struct str *names, size_t n, GENERAL_NAMES **out,
                                 struct problem *why) {
    if (n == 0 || n > CERTIFICATE_NAMES_MAX)
        return problem_set(why, ST_BAD_REQUEST, STR("names"),
                           "A certificate needs 1 to %d names or addresses.",
                           CERTIFICATE_NAMES_MAX);
    CLEANUP(free_names) GENERAL_NAMES *list = GENERAL_NAMES_new();
    crypto_must(list, "GENERAL_NAMES_new");
    for (size_t i = 0; i < n; i++) {
        GENERAL_NAME *name = general_name(names[i]);
        if (!name)
            return problem_set(why, ST_BAD_REQUEST, STR("names"),
                               "'%.*s' is neither a DNS name nor an address.", STR_ARG(names[i]));
        crypto_must(sk_GENERAL_NAME_push(list, name) > 0, "sk_GENERAL_NAME_push");
    }
    *out = list;
    list = NULL;
    return ST_OK;
}

static bool same_name(const GENERAL_NAME *a, const GENERAL_NAME *b) {
    if (a->type != b->type)
        return false;
    if (a->type == GEN_IPADD)
        return ASN1_OCTET_STRING_cmp(a->d.iPAddress, b->d.iPAddress) == 0;
    struct str x = {(const char *)ASN1_STRING_get0_data(a->d.dNSName),
                    (size_t)ASN1_STRING_length(a->d.dNSName)};
    struct str y = {(const char *)ASN1_STRING_get0_data(b->d.dNSName),
                    (size_t)ASN1_STRING_length(b->d.dNSName)};
    return str_ieq(x, y);
}

static bool covers(const X509 *cert, const struct str *names, size_t n_names) {
    CLEANUP(free_names)
    GENERAL_NAMES *there = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    CLEANUP(free_names) GENERAL_NAMES *wanted = NULL;
    if (!there || general_names(names, n_names, &wanted, NULL) != ST_OK)
        return false;
    for (int i = 0; i < sk_GENERAL_NAME_num(wanted); i++) {
        const GENERAL_NAME *w = sk_GENERAL_NAME_value(wanted, i);
        bool found = false;
        for (int j = 0; j < sk_GENERAL_NAME_num(there) && !found; j++) {
            const GENERAL_NAME *t = sk_GENERAL_NAME_value(there, j);
            found = (t->type == GEN_DNS || t->type == GEN_IPADD) && same_name(w, t);
        }
        if (!found)
            return false;
    }
    return true;
}

/* --- making --- */

static EVP_PKEY *make_key(void) {
    EVP_PKEY *key = EVP_EC_gen("P-256");
    crypto_must(key, "EVP_EC_gen");
    return key;
}

/* A certificate with a random serial, a validity and a subject, not yet signed. */
static X509 *begin_cert(EVP_PKEY *key, struct str common_name, int64_t begin_s, int64_t end_s) {
    X509 *cert = X509_new();
    uint8_t serial[SERIAL_SIZE];
    crypto_random(serial, sizeof serial);
    serial[0] = (uint8_t)(serial[0] & 0x7f) | 0x40; /* positive, and always of the same length */
    BIGNUM *number = BN_bin2bn(serial, sizeof serial, NULL);
    crypto_must(cert && number && X509_set_version(cert, X509_VERSION_3) == 1 &&
                    BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert)) &&
                    ASN1_TIME_set(X509_getm_notBefore(cert), (time_t)begin_s) &&
                    ASN1_TIME_set(X509_getm_notAfter(cert), (time_t)end_s) &&
                    X509_set_pubkey(cert, key) == 1,
                "X509_new");
    BN_free(number);
    if (common_name.n > 0 && common_name.n <= COMMON_NAME_MAX)
        crypto_must(X509_NAME_add_entry_by_NID(X509_get_subject_name(cert), NID_commonName,
                                               MBSTRING_UTF8, (const uint8_t *)common_name.p,
                                               (int)common_name.n, -1, 0) == 1,
                    "X509_NAME_add_entry_by_NID");
    return cert;
}

/* Adds an extension in the notation of the library's configuration files. */
static void add_extension(X509 *cert, X509 *issuer, int nid, const char *value) {
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    crypto_must(ext && X509_add_ext(cert, ext, -1) == 1, value);
    X509_EXTENSION_free(ext);
}

static void write_cert(X509 *cert, struct buf *pem) {
    BIO *b = crypto_collector();
    crypto_must(PEM_write_bio_X509(b, cert) == 1, "PEM_write_bio_X509");
    crypto_take(b, pem);
}

void certificate_make_ca(struct str name, int64_t now_s, struct buf *cert_pem,
                         struct buf *key_pem) {
    CLEANUP(free_key) EVP_PKEY *key = make_key();
    CLEANUP(free_cert)
    X509 *cert = begin_cert(key, name, now_s - DAY_S, now_s + CERTIFICATE_CA_DAYS * DAY_S);
    crypto_must(X509_set_issuer_name(cert, X509_get_subject_name(cert)) == 1,
                "X509_set_issuer_name");
    add_extension(cert, cert, NID_basic_constraints, "critical,CA:TRUE,pathlen:0");
    add_extension(cert, cert, NID_key_usage, "critical,keyCertSign,cRLSign");
    add_extension(cert, cert, NID_subject_key_identifier, "hash");
    crypto_must(X509_sign(cert, key, EVP_sha256()) > 0, "X509_sign");
    write_cert(cert, cert_pem);
    crypto_write_key(key, key_pem);
}

static enum status make_server(X509 *ca, EVP_PKEY *ca_key, struct str first_name,
                               GENERAL_NAMES *names, int64_t validity_s, int64_t now_s,
                               struct buf *cert_pem, struct buf *key_pem, struct problem *why) {
    int64_t ca_begin_s, ca_end_s;
    if (!read_validity(ca, &ca_begin_s, &ca_end_s) || now_s >= ca_end_s)
        return problem_set(why, ST_BAD_REQUEST, STR("ca"), "The authority has ended.");
    CLEANUP(free_key) EVP_PKEY *key = make_key();
    CLEANUP(free_cert)
    X509 *cert = begin_cert(key, first_name, now_s - DAY_S, i64_min(now_s + validity_s, ca_end_s));
    crypto_must(X509_set_issuer_name(cert, X509_get_subject_name(ca)) == 1, "X509_set_issuer_name");
    add_extension(cert, ca, NID_basic_constraints, "critical,CA:FALSE");
    add_extension(cert, ca, NID_key_usage, "critical,digitalSignature");
    add_extension(cert, ca, NID_ext_key_usage, "serverAuth");
    add_extension(cert, ca, NID_subject_key_identifier, "hash");
    add_extension(cert, ca, NID_authority_key_identifier, "keyid:always");
    /* RFC 5280, 4.2.1.6: critical when the subject is empty. */
    bool is_nameless = X509_NAME_entry_count(X509_get_subject_name(cert)) == 0;
    crypto_must(X509_add1_ext_i2d(cert, NID_subject_alt_name, names, is_nameless, 0) == 1,
                "X509_add1_ext_i2d");
    crypto_must(X509_sign(cert, ca_key, EVP_sha256()) > 0, "X509_sign");
    write_cert(cert, cert_pem);
    crypto_write_key(key, key_pem);
    return ST_OK;
}

/* Both texts of an authority, belonging together and allowed to sign. NULL when not. */
static X509 *read_ca(struct str cert_pem, struct str key_pem, EVP_PKEY **key) {
    X509 *cert = read_cert(cert_pem);
    *key = crypto_read_key(key_pem);
    if (cert && *key && X509_check_private_key(cert, *key) == 1 && X509_check_ca(cert) == 1)
        return cert;
    X509_free(cert);
    EVP_PKEY_free(*key);
    *key = NULL;
    return NULL;
}

enum status certificate_make_server(struct str ca_cert_pem, struct str ca_key_pem,
                                    const struct str *names, size_t n_names, int64_t validity_s,
                                    int64_t now_s, struct buf *cert_pem, struct buf *key_pem,
                                    struct problem *why) {
    CLEANUP(free_names) GENERAL_NAMES *list = NULL;
    TRY(general_names(names, n_names, &list, why));
    CLEANUP(free_key) EVP_PKEY *ca_key = NULL;
    CLEANUP(free_cert) X509 *ca = read_ca(ca_cert_pem, ca_key_pem, &ca_key);
    if (!ca)
        return crypto_refuse(why, STR("ca"), "The authority's certificate and key are no pair");
    return make_server(ca, ca_key, names[0], list, validity_s, now_s, cert_pem, key_pem, why);
}

/* --- judging --- */

int64_t certificate_renew_s(int64_t begin_s, int64_t end_s) {
    int64_t validity_s = i64_max(end_s - begin_s - DAY_S, 0); /* it began a day early */
    return end_s - i64_min(CERTIFICATE_RENEW_DAYS * DAY_S, validity_s / 3);
}

static enum certificate_state judge(X509 *ca, X509 *cert, EVP_PKEY *key, const struct str *names,
                                    size_t n_names, int64_t now_s) {
    int64_t begin_s, end_s;
    if (!cert || !key || X509_check_private_key(cert, key) != 1 ||
        !read_validity(cert, &begin_s, &end_s))
        return CERTIFICATE_UNREADABLE;
    if (!ca || X509_check_issued(ca, cert) != X509_V_OK ||
        X509_verify(cert, X509_get0_pubkey(ca)) != 1)
        return CERTIFICATE_FOREIGN;
    if (!covers(cert, names, n_names))
        return CERTIFICATE_OTHER_NAMES;
    if (now_s < begin_s || now_s > certificate_renew_s(begin_s, end_s))
        return CERTIFICATE_OLD;
    return CERTIFICATE_GOOD;
}

enum certificate_state certificate_judge(struct str ca_cert_pem, struct str cert_pem,
                                         struct str key_pem, const struct str *names,
                                         size_t n_names, int64_t now_s) {
    CLEANUP(free_cert) X509 *ca = read_cert(ca_cert_pem);
    CLEANUP(free_cert) X509 *cert = read_cert(cert_pem);
    CLEANUP(free_key) EVP_PKEY *key = crypto_read_key(key_pem);
    enum certificate_state state = judge(ca, cert, key, names, n_names, now_s);
    ERR_clear_error();
    return state;
}

bool certificate_ca_is_good(struct str ca_cert_pem, struct str ca_key_pem, int64_t now_s) {
    CLEANUP(free_key) EVP_PKEY *key = NULL;
    CLEANUP(free_cert) X509 *ca = read_ca(ca_cert_pem, ca_key_pem, &key);
    int64_t begin_s, end_s;
    bool is_good = ca && read_validity(ca, &begin_s, &end_s) && begin_s <= now_s && now_s < end_s;
    ERR_clear_error();
    return is_good;
}

bool certificate_validity(struct str cert_pem, int64_t *begin_s, int64_t *end_s) {
    CLEANUP(free_cert) X509 *cert = read_cert(cert_pem);
    bool ok = cert && read_validity(cert, begin_s, end_s);
    ERR_clear_error();
    return ok;
}
