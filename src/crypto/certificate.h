/* certificate.h - a certificate authority of our own and the server certificates that it signs. */
#ifndef CRYPTO_CERTIFICATE_H
#define CRYPTO_CERTIFICATE_H

#include "base/buf.h"
#include "base/status.h"
#include "base/str.h"

/*
 * ECDSA keys on P-256, signatures with SHA-256. All is text: PEM of a certificate, PEM of a private
 * key (PKCS #8). Time is handed in, seconds since 1970. Validity begins a day before `now_s`, so
 * that a client whose clock is late accepts a new certificate.
 */
enum {
    CERTIFICATE_CA_DAYS = 3650,
    /* Below the bounds that platforms set for private authorities (Apple: 825 days). */
    CERTIFICATE_SERVER_DAYS = 397,
    /* A server certificate is made anew this long before it ends, or a third of its validity when that
     * is shorter. */
    CERTIFICATE_RENEW_DAYS = 30,
    CERTIFICATE_NAMES_MAX = 64,
};

/* A new authority, allowed to sign server certificates only one step below it. `name` becomes its
 * common name. Appends to both. */
void certificate_make_ca(struct str name, int64_t now_s, struct buf *cert_pem, struct buf *key_pem);

/*
 * A new server certificate for these DNS names and IP addresses (subjectAltName), signed by the
 * authority; it ends after `validity_s`, and with the authority at the latest. `cert_pem` gets the certificate alone,
 * without the authority's. A name may begin with "*.". ST_BAD_REQUEST when there is no name, too
 * many, or one that is neither a name nor an address; or when the authority's texts are none, or
 * its key is another's. Appends to both, or nothing.
 */
enum status certificate_make_server(struct str ca_cert_pem, struct str ca_key_pem,
                                    const struct str *names, size_t n_names, int64_t validity_s,
                                    int64_t now_s, struct buf *cert_pem, struct buf *key_pem,
                                    struct problem *why) MUST_USE;

/* What may be wrong with a server certificate that is there already. */
enum certificate_state {
    CERTIFICATE_GOOD,
    CERTIFICATE_UNREADABLE,  /* no PEM, or the key is another's */
    CERTIFICATE_FOREIGN,     /* not signed by this authority */
    CERTIFICATE_OTHER_NAMES, /* does not cover all of these names */
    CERTIFICATE_OLD,         /* it is time to make it anew, or it is not valid yet */
};

/* Judges in the order above. */
enum certificate_state certificate_judge(struct str ca_cert_pem, struct str cert_pem,
                                         struct str key_pem, const struct str *names,
                                         size_t n_names, int64_t now_s) MUST_USE;

/* Whether an authority's two texts belong together, may sign, and are valid now. */
bool certificate_ca_is_good(struct str ca_cert_pem, struct str ca_key_pem, int64_t now_s) MUST_USE;

/* From when on a server certificate of this validity counts as CERTIFICATE_OLD. */
int64_t certificate_renew_s(int64_t begin_s, int64_t end_s);

/* The first and the last second of a certificate's validity. False when the text is none. */
bool certificate_validity(struct str cert_pem, int64_t *begin_s, int64_t *end_s) MUST_USE;

#endif
