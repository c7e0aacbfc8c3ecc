/* status.h - everything that can go wrong because of the outside, in one table. */
#ifndef BASE_STATUS_H
#define BASE_STATUS_H

#include "base/base.h"
#include "base/str.h"

/*
 * id, HTTP status, `code` of the error body, `type` of the error body, metric label, text for a
 * person. Replies, metrics, the access log and docs/errors.md come from this table. Codes and texts
 * are those that Azure OpenAI's clients already know (inference contract, section 6, 2026-11-22)
 * where the service has them, else ours.
 */
/* clang-format off */
#define STATUS_TABLE(X)                                                                            \
    X(OK,                  200, "OK",                      "",                      "ok",                   "")                                                             \
    X(BAD_HTTP,            400, "BadRequest",              "invalid_request_error", "bad_http",             "The request is not valid HTTP/1.1.")                           \
    X(BAD_JSON,            400, "invalid_json",            "invalid_request_error", "bad_json",             "The request body is not valid JSON.")                          \
    X(BAD_REQUEST,         400, "invalid_request",         "invalid_request_error", "bad_request",          "The request is not valid.")                                    \
    X(CONTEXT_LENGTH,      400, "context_length_exceeded", "invalid_request_error", "context_length",       "The prompt is longer than this model accepts.")                \
    X(OPERATION_NOT_SUPPORTED, 400, "OperationNotSupported", "invalid_request_error", "operation_not_supported", "The operation does not work with the specified model. Please choose a different model and try again.") \
    X(UNAUTHORIZED,        401, "401",                     "authentication_error",  "unauthorized",         "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an active subscription and use a correct regional API endpoint for your resource.") \
    X(FORBIDDEN,           403, "Forbidden",               "permission_error",      "forbidden",            "The caller may not do this.")                                  \
    X(NO_DEPLOYMENT,       404, "DeploymentNotFound",      "not_found_error",       "no_deployment",        "The API deployment for this resource does not exist. If you created the deployment within the last 5 minutes, please wait a moment and try again.") \
    X(NOT_FOUND,           404, "404",                     "not_found_error",       "not_found",            "Resource not found")                                           \
    X(METHOD_NOT_ALLOWED,  405, "MethodNotAllowed",        "invalid_request_error", "method_not_allowed",   "This method is not allowed here.")                             \
    X(REQUEST_TIMEOUT,     408, "RequestTimeout",          "invalid_request_error", "request_timeout",      "The request did not arrive in time.")                          \
    X(TOO_LARGE,           413, "RequestTooLarge",         "invalid_request_error", "too_large",            "The request body is larger than this server accepts.")         \
    X(URI_TOO_LONG,        414, "UriTooLong",              "invalid_request_error", "uri_too_long",         "The request target is longer than this server accepts.")       \
    X(EXPECTATION_FAILED,  417, "ExpectationFailed",       "invalid_request_error", "expectation_failed",   "The only expectation that this server meets is 100-continue.")  \
    X(DEPLOYMENT_FULL,     429, "429",                     "too_many_requests",     "deployment_full",      "The provisioned deployment is at 100 % utilization.")          \
    X(TOKEN_LIMIT,         429, "429",                     "too_many_requests",     "token_limit",          "The token rate limit of the deployment is reached.")           \
    X(CALL_LIMIT,          429, "429",                     "too_many_requests",     "call_limit",           "The call rate limit of the deployment is reached.")            \
    X(UPSTREAM_BUSY,       429, "429",                     "too_many_requests",     "upstream_busy",        "The model servers behind this deployment are busy.")           \
    X(HEAD_TOO_LARGE,      431, "RequestHeaderFieldsTooLarge", "invalid_request_error", "head_too_large",   "The request header is larger than this server accepts.")       \
    X(CLIENT_GONE,         499, "ClientClosedRequest",     "",                      "client_gone",          "The caller left before the answer was complete.")              \
    X(INTERNAL,            500, "InternalServerError",     "server_error",          "internal",             "The server had an error. This is a defect; please report it.") \
    X(UPSTREAM_FAILED,     502, "UpstreamFailed",          "server_error",          "upstream_failed",      "No model server behind this deployment gave an answer.")       \
    X(UPSTREAM_GARBAGE,    502, "UpstreamInvalidResponse", "server_error",          "upstream_garbage",     "The model server's answer is not valid.")                      \
    X(NO_BACKEND,          503, "NoBackend",               "server_error",          "no_backend",           "No model server is configured or available for this deployment.") \
    X(SHUTTING_DOWN,       503, "ServiceUnavailable",      "server_error",          "shutting_down",        "The server is shutting down.")                                 \
    X(OVERLOADED,          503, "ServiceUnavailable",      "server_error",          "overloaded",           "The server has no room for another connection.")               \
    X(NO_ROOM,             503, "ServiceUnavailable",      "server_error",          "no_room",              "The server holds as many request bodies as it has room for. Please retry after a second.") \
    X(UPSTREAM_TIMEOUT,    504, "UpstreamTimeout",         "server_error",          "upstream_timeout",     "The model server did not answer in time.")                     \
    X(VERSION_NOT_SUPPORTED, 505, "HttpVersionNotSupported", "invalid_request_error", "version_not_supported", "This server speaks HTTP/1.1 and HTTP/1.0.")                 \
    X(IO_FAILED,           500, "IoFailed",                "server_error",          "io_failed",            "Reading or writing failed.")                                  \
    X(STORE_BUSY,          503, "ServiceUnavailable",      "server_error",          "store_busy",           "The database is locked by another process.")                   \
    X(STORE_FULL,          503, "ServiceUnavailable",      "server_error",          "store_full",           "The disk is full or the database may not be written.")         \
    X(STORE_CORRUPT,       500, "InternalServerError",     "server_error",          "store_corrupt",        "The database is damaged or another version's.")
/* clang-format on */

enum status {
#define STATUS_ENUM(id, http, code, type, label, text) ST_##id,
    STATUS_TABLE(STATUS_ENUM)
#undef STATUS_ENUM
        ST_COUNT
};

struct status_info {
    int http;
    struct str code, type, label, text;
};

/* The row of a status; static. */
const struct status_info *status_info(enum status st);

/* The reason phrase of an HTTP status code, as in "Not Found"; "Status" for one that we do not know. */
struct str http_reason(int http);

/*
 * What exactly is wrong, for a person: which field, and why. The deepest function that knows writes
 * it, once. Both texts are cut when they are too long. A zeroed one is empty.
 */
struct problem {
    char target[96];   /* the field, file or header: "max_tokens", "pools.json:12" */
    char message[512]; /* a sentence */
};

static inline void problem_clear(struct problem *why) {
    why->target[0] = why->message[0] = '\0';
}

/* Fills `why` and returns `st`, so that a failing check is one line. `why` may be NULL. */
enum status problem_set(struct problem *why, enum status st, struct str target, const char *format,
                        ...) PRINTF_LIKE(4, 5);

#endif
