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
 *   token-keys.json    since when it does, and the public halves of those before it while tokens by them
 *                      may still be shown
 *   ca.pem, ca.key     the authority that clients are told to trust, and its key
 *   server.pem, server.key   the control listener's certificate, renewed before it ends
 *
 * Secrets at rest (decided here): the rows of accounts carry their keys sealed with `seal`; whoever
 * writes a row that holds a secret calls seal_close with the row's table, key and member as
 * context, whoever loads it seal_open. So a copy of weir.db (a backup, a support case) shows no
 * key, while one of the whole folder does: the two are backed up apart. Without seal.key the sealed
 * secrets are lost.
 */
enum { VAULT_OLD_KEYS_MAX = 8 };

/* The keys of our token service. */
struct vault_tokens {
    struct rsa_key *key; /* owned: it signs */
    int64_t made_s;
    struct vault_old_key {
        struct rsa_key *key; /* owned; its public half is what counts */
        int64_t until_s;     /* no token by it is good from then on */
    } old[VAULT_OLD_KEYS_MAX];
    size_t n_old;
};

struct vault {
    struct seal_key seal;
    struct vault_tokens tokens;
    char *tokens_file, *tokens_list_file; /* owned */
    int64_t server_validity_s;            /* of certificates that are made from now on */
    char *ca_cert_file;                   /* owned: for "trust it like this" */
    char *ca_key_file;                    /* owned */
    char *server_cert_file;               /* owned */
    char *server_key_file;                /* owned */
    bool made_ca, made_server;            /* by this call: worth a line to the operator */
    int64_t server_renew_s,
        server_ends_s; /* when the certificate is to be made anew, when it ends */
};

/*
 * Opens the vault of a folder, which is made when it is not there (mode 0700); makes what is
 * missing. `names`: DNS names and addresses for the server certificate, which is good for `validity_s`. A file that is there but
 * cannot be understood is an error that names it, never overwritten, except for the server's
 * certificate, which is made anew when it is unreadable, of another authority, of other names, or
 * near its end. The first time takes up to a second. Zeroes on failure.
 */
enum status vault_open(const char *folder, const struct str *names, size_t n_names,
                       int64_t validity_s, int64_t now_s, struct vault *out,
                       struct problem *why) MUST_USE;

/* Makes the server's certificate anew if it is due (server_renew_s), or somebody has put other files in
 * its place that will not do. *renewed says whether the files changed, and the listener must read them
 * again. Any thread, as long as no other one renews. */
enum status vault_renew(struct vault *v, const struct str *names, size_t n_names, int64_t now_s,
                        bool *renewed, struct problem *why) MUST_USE;

/*
 * A new key that signs from now on; the old one's public half is kept for `keep_s`, the longest for which
 * tokens by it may be shown, and those whose time is over are left out. The files are written; `*next`
 * takes the place of v->tokens by vault_adopt_tokens, on the thread that uses them. ST_OVERLOADED when
 * VAULT_OLD_KEYS_MAX keys are still kept. Takes a tenth of a second. Any thread, as long as no other one
 * rotates.
 */
enum status vault_rotate_tokens(const struct vault *v, int64_t keep_s, int64_t now_s,
                                struct vault_tokens *next, struct problem *why) MUST_USE;
void vault_adopt_tokens(struct vault *v, struct vault_tokens *next);

/* Lets go of old keys whose time is over; true when there was one. Their entries in the file go with the
 * next rotation. */
bool vault_forget_tokens(struct vault *v, int64_t now_s);

/* Wipes the keys. A zeroed vault is fine. */
void vault_close(struct vault *v);

#endif
