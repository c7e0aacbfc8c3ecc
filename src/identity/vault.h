/* vault.h - the keys of an installation, in files of its data folder that only its user may
 * read. */
#ifndef IDENTITY_VAULT_H
#define IDENTITY_VAULT_H

#include "base/status.h"
#include "base/str.h"
#include "crypto/rsa.h"
#include "crypto/seal.h"

/*
 * What is made at the first start and read at each later one, all of mode 0600:
 *
 *   seal.key           64 hexadecimal digits: the key under which secrets at rest are sealed
 *   token.pem          the RSA key that signs our tokens
 *   ca.pem, ca.key     the authority that clients are told to trust, and its key
 *   server.pem, server.key   the control listener's certificate, renewed before it ends
 *
 * Secrets at rest (decided here): the rows of accounts carry their keys sealed with `seal`; whoever
 * writes a row that holds a secret calls seal_close with the row's table, key and member as
 * context, whoever loads it seal_open. So a copy of weir.db (a backup, a support case) shows no
 * key, while one of the whole folder does: the two are backed up apart. Without seal.key the sealed
 * secrets are lost.
 */
struct vault {
    struct seal_key seal;
    struct rsa_key *token_key; /* owned */
    char *ca_cert_file;        /* owned: for "trust it like this" */
    char *ca_key_file;         /* owned */
    char *server_cert_file;    /* owned */
    char *server_key_file;     /* owned */
    bool made_ca, made_server; /* by this call: worth a line to the operator */
    int64_t server_ends_s;     /* when the certificate ends */
};

/*
 * Opens the vault of a folder, which is made when it is not there (mode 0700); makes what is
 * missing. `names`: DNS names and addresses for the server certificate. A file that is there but
 * cannot be understood is an error that names it, never overwritten, except for the server's
 * certificate, which is made anew when it is unreadable, of another authority, of other names, or
 * near its end. The first time takes up to a second. Zeroes on failure.
 */
enum status vault_open(const char *folder, const struct str *names, size_t n_names, int64_t now_s,
                       struct vault *out, struct problem *why) MUST_USE;

/* Makes the server's certificate anew if it is due, from once a day. *renewed says whether the
 * files changed, and the listener must read them again. */
enum status vault_renew(struct vault *v, const struct str *names, size_t n_names, int64_t now_s,
                        bool *renewed, struct problem *why) MUST_USE;

/* Wipes the keys. A zeroed vault is fine. */
void vault_close(struct vault *v);

#endif
