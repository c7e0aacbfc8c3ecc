/* url.h - the parts of a backend's base URL. */
#ifndef MODEL_URL_H
#define MODEL_URL_H

#include "base/status.h"
#include "base/str.h"

/* Views into the text. */
struct url {
    bool is_tls;          /* https */
    struct str host;      /* without the brackets of an IPv6 address */
    bool is_ipv6;         /* the host stood in brackets */
    int port;             /* 80 or 443 when none is given */
    struct str authority; /* host and port as written: the value of a Host header */
    struct str path;      /* without a slash at the end; "" when there is none */
};

/* Only what a base URL may have: http or https, host, port, path. ST_BAD_REQUEST with a message
 * whose target is left to the caller. */
enum status url_parse(struct str text, struct url *out, struct problem *why) MUST_USE;

#endif
