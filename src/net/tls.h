/* tls.h - the settings of TLS: certificates of a server, trust of a client. */
#ifndef NET_TLS_H
#define NET_TLS_H

#include "base/status.h"

struct tls_context;

/* For accepted connections: TLS 1.2 and 1.3, certificate chain and key from PEM files. */
enum status tls_server_new(const char *cert_file, const char *key_file, struct tls_context **out,
                           struct problem *why) MUST_USE;

/* Reads both files again: connections from now on get the new certificate, those that stand keep theirs.
 * When the files will not do, all stays as it was. Any thread. */
enum status tls_server_reload(struct tls_context *t, const char *cert_file, const char *key_file,
                              struct problem *why) MUST_USE;

/*
 * For connections to backends: verifies the certificate chain and the name. `ca_file` is PEM;
 * NULL trusts the system's store. `verify` false accepts any certificate, for tests only.
 */
enum status tls_client_new(const char *ca_file, bool verify, struct tls_context **out,
                           struct problem *why) MUST_USE;

/* Whether two client contexts trust the same certificates, which were read when each was made: what was
 * verified by one need not be verified again by the other. Either may be NULL: no TLS. */
bool tls_trusts_same(const struct tls_context *a, const struct tls_context *b);

struct tls_context *tls_ref(struct tls_context *t);
/* Frees it with its last reference; NULL is fine. Any thread. */
void tls_unref(struct tls_context *t);

#endif
