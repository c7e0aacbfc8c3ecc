/* service.h - the token service: its documents, its answers and its refusals, as pure text. */
#ifndef IDENTITY_SERVICE_H
#define IDENTITY_SERVICE_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"
#include "crypto/rsa.h"

/*
 * What az, MSAL and @azure/identity ask before and while they get a token (clients, sections 2 and
 * 5). Paths, all on the control listener:
 *
 *   GET  /metadata/endpoints?api-version=…                      service_put_metadata
 *   GET  /adfs/.well-known/openid-configuration                 service_put_discovery
 *   GET  /{tenant}/v2.0/.well-known/openid-configuration        (the same; also without /v2.0)
 *   GET  /adfs/discovery/keys, /{tenant}/discovery/v2.0/keys    service_put_jwks
 *   POST /adfs/oauth2/token, /{tenant}/oauth2/v2.0/token, /{tenant}/oauth2/token
 *        service_parse, then the principal, then service_put_token or service_put_refusal
 *   GET  /msi/token?api-version=2019-08-01&resource=…           service_put_msi_token
 *
 * A base URL has scheme, host and port, and no slash at the end: "https://localhost:18443", as the
 * client reached it, so that every URL in an answer works for whoever asked. All functions append.
 */

/* Which of the paths above this is; case of letters and slashes at the end do not matter. */
enum service_path {
    SERVICE_NOT_OURS,
    SERVICE_METADATA,
    SERVICE_DISCOVERY,
    SERVICE_JWKS,
    SERVICE_TOKEN,
    SERVICE_MSI,
};

/* `tenant` is the first segment as written ("adfs", a GUID, "common"), a view; empty for the two
 * paths without one. */
enum service_path service_route(struct str path, struct str *tenant);

/* The endpoints of this "cloud". api-version 2015-01-01 (az 2.45 registers a cloud with it) gets a few of
 * them; 2019-05-01 gets all, in an array of one cloud; 2022-09-01 (az 2.91) and later that cloud itself.
 * loginEndpoint ends in /adfs: then MSAL skips instance discovery. */
void service_put_metadata(struct str base_url, struct str api_version, struct buf *json);

/* The issuer of tokens asked for at this base URL and tenant segment: "{base}/adfs", else
 * "{base}/{tenant}/v2.0". MSAL refuses a discovery document whose issuer is of another origin
 * than the authority that it asked (seen, msal-common of @azure/identity 4.13.1), so one
 * installation has as many issuers as names. */
void service_put_issuer(struct str base_url, struct str tenant, struct buf *out);

/* The discovery document as seen from this tenant segment. */
void service_put_discovery(struct str base_url, struct str tenant, struct buf *json);

/* The JWK set of these keys, the one that signs first. */
void service_put_jwks(struct rsa_key *const *keys, size_t n, struct buf *json);

/* A token request, form encoded. Texts live in the arena or in the form. */
struct service_request {
    struct str client_id, client_secret, grant_type, scope, resource;
};

/* The refusals, with the numbers by which Entra's clients know them. */
#define SERVICE_REFUSAL_TABLE(X)                                                                   \
    X(NONE, 0, 200, "", "")                                                                        \
    X(MALFORMED, 900144, 400, "invalid_request", "The request body is no valid form.")             \
    X(NO_GRANT_TYPE, 900144, 400, "invalid_request",                                               \
      "The request body must contain the parameter 'grant_type'.")                                 \
    X(NO_CLIENT_ID, 900144, 400, "invalid_request",                                                \
      "The request body must contain the parameter 'client_id'.")                                  \
    X(NO_SCOPE, 900144, 400, "invalid_request",                                                    \
      "The request body must contain the parameter 'scope' or 'resource'.")                        \
    X(OTHER_GRANT_TYPE, 70003, 400, "unsupported_grant_type",                                      \
      "This token service knows only the grant type 'client_credentials'.")                        \
    X(BAD_SCOPE, 70011, 400, "invalid_scope",                                                      \
      "The scope names more than one resource, or is too long.")                                   \
    X(NO_TENANT, 90002, 400, "invalid_request", "There is no such tenant here.")                   \
    X(NO_SECRET, 7000216, 401, "invalid_client",                                                   \
      "The request body must contain the parameter 'client_secret'.")                              \
    X(UNKNOWN_CLIENT, 700016, 400, "unauthorized_client",                                          \
      "There is no application with this client_id in this directory.")                            \
    X(WRONG_SECRET, 7000215, 401, "invalid_client",                                                \
      "The client_secret is not a secret of this application.")                                    \
    X(EXPIRED_SECRET, 7000222, 401, "invalid_client",                                              \
      "The client_secret has expired; ask the operator for a new one.")                            \
    X(BUSY, 90033, 503, "temporarily_unavailable", "The token service is busy; try again.")

enum service_refusal {
#define SERVICE_REFUSAL_ENUM(id, number, http, error, text) SERVICE_##id,
    SERVICE_REFUSAL_TABLE(SERVICE_REFUSAL_ENUM)
#undef SERVICE_REFUSAL_ENUM
        SERVICE_N_REFUSALS
};

/*
 * Reads the form (client_id, client_secret, grant_type, scope, resource; all else is ignored), and
 * the credentials in an Authorization header of the Basic scheme when the form has none
 * (`authorization` may be empty). SERVICE_NONE, or the first thing that is wrong with it.
 */
enum service_refusal service_parse(struct str form, struct str authorization, struct arena *arena,
                                   struct service_request *out) MUST_USE;

/* The audience of a scope ("https://x/.default", "https://x//.default", a bare audience) or
 * resource: what stands before "/.default", as written. False when it names several resources. A
 * view. */
bool service_audience(const struct service_request *request, struct str *audience) MUST_USE;

/* The HTTP status of a refusal. */
int service_refusal_http(enum service_refusal why);

/* The body of a refusal. `client_id` may be empty; the ids are GUIDs for the log. */
void service_put_refusal(enum service_refusal why, struct str client_id, struct str trace_id,
                         struct str correlation_id, int64_t now_ms, struct buf *json);

/* The body of an answer: token_type, expires_in, ext_expires_in, access_token, and, for requests
 * that named a resource (v1), expires_on, not_before and resource. */
void service_put_token(struct str token, int64_t now_s, int64_t lifetime_s, struct str resource,
                       struct buf *json);

/* The body of a managed identity's answer: numbers as text (clients, section 2). */
void service_put_msi_token(struct str token, struct str client_id, struct str resource,
                           int64_t ends_s, struct buf *json);

/* The body of a managed identity's refusal: {"statusCode","message","correlationId"}. */
void service_put_msi_refusal(int http, struct str message, struct str correlation_id,
                             struct buf *json);

/* Appends the value of WWW-Authenticate for a 401 of ARM: where a token may be had. `error` may
 * be empty: the caller showed no token. */
void service_put_challenge(struct str base_url, struct str tenant, struct str error,
                           struct str description, struct buf *out);

#endif
