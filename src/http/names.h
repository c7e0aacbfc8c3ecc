/* names.h - the field names that somebody here asks for, as numbers: compared once, when a head is read. */
#ifndef HTTP_NAMES_H
#define HTTP_NAMES_H

#include "base/str.h"

enum http_name {
    HTTP_OTHER, /* any name that is not below */
    HTTP_ACCEPT_ENCODING,
    HTTP_ALT_SVC,
    HTTP_API_KEY,
    HTTP_APIM_REQUEST_ID,
    HTTP_AUTHORIZATION,
    HTTP_CONNECTION,
    HTTP_CONTENT_LENGTH,
    HTTP_CONTENT_TYPE,
    HTTP_COOKIE,
    HTTP_DATE,
    HTTP_DEPLOYMENT_NAME,        /* x-ms-deployment-name */
    HTTP_DEPLOYMENT_UTILIZATION, /* azure-openai-deployment-utilization */
    HTTP_EXPECT,
    HTTP_HOST,
    HTTP_KEEP_ALIVE,
    HTTP_PROXY_AUTHENTICATE,
    HTTP_PROXY_AUTHORIZATION,
    HTTP_PROXY_CONNECTION,
    HTTP_REMAINING_TOKENS, /* x-ratelimit-remaining-tokens */
    HTTP_RESET_TOKENS,     /* x-ratelimit-reset-tokens */
    HTTP_RETRY_AFTER,
    HTTP_RETRY_AFTER_MS,
    HTTP_SERVER,
    HTTP_SET_COOKIE,
    HTTP_STRICT_TRANSPORT_SECURITY,
    HTTP_TE,
    HTTP_TRAILER,
    HTTP_TRANSFER_ENCODING,
    HTTP_UPGRADE,
    HTTP_X_CONTENT_TYPE_OPTIONS,
    HTTP_X_MS_CLIENT_REQUEST_ID,
    HTTP_X_MS_REGION,
    HTTP_X_REQUEST_ID,
    HTTP_NAME_COUNT,
};

/* Sets of names are numbers too. */
#define HTTP_SET(name) (UINT64_C(1) << (name))

/* Fields that concern one connection only and are never forwarded (RFC 9110 section 7.6.1), with
 * Content-Length and Host, since the forwarder writes its own. */
#define HTTP_HOP_BY_HOP                                                                            \
    (HTTP_SET(HTTP_CONNECTION) | HTTP_SET(HTTP_CONTENT_LENGTH) | HTTP_SET(HTTP_EXPECT) |           \
     HTTP_SET(HTTP_HOST) | HTTP_SET(HTTP_KEEP_ALIVE) | HTTP_SET(HTTP_PROXY_AUTHENTICATE) |         \
     HTTP_SET(HTTP_PROXY_AUTHORIZATION) | HTTP_SET(HTTP_PROXY_CONNECTION) | HTTP_SET(HTTP_TE) |    \
     HTTP_SET(HTTP_TRAILER) | HTTP_SET(HTTP_TRANSFER_ENCODING) | HTTP_SET(HTTP_UPGRADE))

static inline bool http_set_has(uint64_t set, enum http_name name) {
    return set >> name & 1;
}

/* The number of a name of token characters (RFC 9110, section 5.6.2), in whatever case. */
enum http_name http_name_of(struct str name);

#endif
