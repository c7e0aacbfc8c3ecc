/* issuer.h - an outside issuer of tokens: as the operator names it, and as it describes itself. */
#ifndef IDENTITY_ISSUER_H
#define IDENTITY_ISSUER_H

#include "base/buf.h"
#include "base/status.h"
#include "base/str.h"
#include "identity/principal.h"

enum {
    ISSUER_AUDIENCES_MAX = 16,
    ISSUER_NAME_MAX = 255,           /* bytes of its name: longer ones fit no token (token.h) */
    ISSUER_DOCUMENT_MAX = 256 << 10, /* bytes of its description, and of its key set */
};

/* Views into the text. */
struct issuer_setting {
    struct str issuer;   /* as "iss" says it, byte by byte */
    struct str jwks_url; /* empty: its own description names it */
    struct str ca_file;  /* empty: the system's authorities are trusted */
    struct str audiences[ISSUER_AUDIENCES_MAX];
    size_t n_audiences; /* at least 1 */
    enum issuer_ids {
        ISSUER_IDS_UNSAID,
        ISSUER_IDS_GUID, /* a subject that is a GUID is that object id, whoever else speaks of it */
        ISSUER_IDS_OWN,  /* all object ids are this issuer's alone */
    } ids;
};

/*
 * Reads "https://login.example/t/v2.0 audience=api://weir [audience=…] [jwks=https://…] [ca=FILE]
 * [ids=guid|own]", with blanks between the words. ST_BAD_REQUEST with what is wrong; `target` is left to the caller. An audience
 * is needed: without one a token that somebody was given for any other service would do here.
 */
enum status issuer_read_setting(struct str text, struct issuer_setting *out,
                                struct problem *why) MUST_USE;

/* Appends where the issuer describes itself (OpenID Connect Discovery 1.0, section 4). */
void issuer_put_discovery_url(struct str issuer, struct buf *out);

/*
 * Appends the "jwks_uri" of a description. ST_BAD_JSON when the text is none; ST_BAD_REQUEST when it is
 * another issuer's (Discovery 4.3) or names no https URL.
 */
enum status issuer_read_discovery(struct str text, struct str issuer, struct buf *jwks_url,
                                  struct problem *why) MUST_USE;

/*
 * The object id of whom a token of this issuer is about: roles are assigned to GUIDs, as in Azure. A
 * subject that is one (Entra's "oid", Keycloak's "sub") stays as it is, unless the issuer's ids are to be
 * its own (`is_own`); of another one it is the first
 * 128 bits of SHA-256 of issuer, line feed and subject, marked as version 8 (RFC 9562, section 5.8), so
 * that two issuers cannot mean the same by accident, and case matters where it does to the issuer.
 */
void issuer_principal_id(struct str issuer, struct str subject, bool is_own,
                         char out[PRINCIPAL_GUID_SIZE]);

#endif
