/* principal.h - service principals: who may ask for tokens, as records and as rows. */
#ifndef IDENTITY_PRINCIPAL_H
#define IDENTITY_PRINCIPAL_H

#include "base/buf.h"
#include "base/status.h"
#include "base/str.h"
#include "json/json.h"

/*
 * A principal is an application with secrets. Its application id (the client_id of OAuth) is what
 * it shows, its object id what roles are assigned to. Kept as a row: table PRINCIPAL_TABLE, key the
 * application id in lower case, body
 *
 *   {"appId": "…", "objectId": "…", "name": "…", "isOperator": false,
 *    "createdMs": 1795326000000,
 *    "secrets": [{"hash": "scrypt$…", "createdMs": 1795326000000, "expiresMs": 0}]}
 *
 * Open structs in the caller's memory; all texts inside.
 */
#define PRINCIPAL_TABLE "principals"

enum {
    PRINCIPAL_ID_SIZE =
        64, /* an id and its NUL: a GUID, or what an operator chose: letters, digits,
                                  - _ . */
    PRINCIPAL_NAME_SIZE = 128, /* a name and its NUL */
    PRINCIPAL_SECRETS_MAX = 8, /* so that secrets can be replaced without a gap */
    PRINCIPAL_HASH_SIZE = 128, /* SECRET_HASH_SIZE of crypto/secret.h */
};

struct principal_secret {
    char hash[PRINCIPAL_HASH_SIZE];
    int64_t created_ms, expires_ms; /* wall clock; expires_ms 0: never */
};

struct principal {
    char app_id[PRINCIPAL_ID_SIZE], object_id[PRINCIPAL_ID_SIZE], name[PRINCIPAL_NAME_SIZE];
    bool is_operator; /* may do everything, as the first principal does */
    int64_t created_ms;
    int n_secrets;
    struct principal_secret secrets[PRINCIPAL_SECRETS_MAX];
};

/* A GUID (RFC 9562, version 4) from 16 random bytes, lower case, 36 characters and a NUL. */
enum { PRINCIPAL_GUID_SIZE = 37 };
void principal_guid(const uint8_t random[16], char out[PRINCIPAL_GUID_SIZE]);

/*
 * A new principal without secrets. `app_id` may be empty: then a GUID is drawn; the object id
 * always is. `name` may be empty: then it is the application id. ST_BAD_REQUEST when one is too
 * long, the id holds other characters, or the name control characters or broken UTF-8.
 */
enum status principal_make(struct str app_id, struct str name, bool is_operator, int64_t now_ms,
                           struct principal *out, struct problem *why) MUST_USE;

/*
 * Adds a secret of at least 16 characters, hashed (50 ms: not on a loop's thread). ST_BAD_REQUEST
 * when it is shorter or longer than SECRET_MAX or there are PRINCIPAL_SECRETS_MAX already.
 */
enum status principal_add_secret(struct principal *p, struct str secret, int64_t now_ms,
                                 int64_t expires_ms, struct problem *why) MUST_USE;

enum principal_proof {
    PRINCIPAL_PROVED,
    PRINCIPAL_WRONG_SECRET,
    PRINCIPAL_EXPIRED_SECRET, /* it was the right one */
};

/* Tries each secret: 50 ms each. Any thread. */
enum principal_proof principal_prove(const struct principal *p, struct str secret,
                                     int64_t now_ms) MUST_USE;

/* The row's key of an application id, lower case, NUL-terminated. False when it cannot be an id. */
bool principal_key(struct str app_id, char out[PRINCIPAL_ID_SIZE]) MUST_USE;

/* Appends the row's body. */
void principal_print(const struct principal *p, struct buf *body);

/* Reads a row's body. ST_BAD_JSON or ST_BAD_REQUEST with the place. `doc` is used up. */
enum status principal_parse(struct json_doc *doc, struct str body, struct principal *out,
                            struct problem *why) MUST_USE;

#endif
