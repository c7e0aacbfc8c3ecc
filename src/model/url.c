#include "model/url.h"

static bool is_host_byte(char c, bool is_ipv6) {
    if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') || c == '.')
        return true;
    if (is_ipv6)
        return c == ':';
    return (c >= 'g' && c <= 'z') || (c >= 'G' && c <= 'Z') || c == '-' || c == '_';
}

/* "host", "host:port", "[::1]:port". */
static bool parse_authority(struct str text, struct url *u) {
    u->authority = text;
    u->is_ipv6 = text.n > 0 && text.p[0] == '[';
    if (u->is_ipv6)
        text = str_skip(text, 1);
    size_t n = 0;
    while (n < text.n && is_host_byte(text.p[n], u->is_ipv6))
        n++;
    u->host = (struct str){text.p, n};
    text = str_skip(text, n);
    if (n == 0 || n > 253 || (u->is_ipv6 && (text.n == 0 || text.p[0] != ']')))
        return false;
    if (u->is_ipv6)
        text = str_skip(text, 1);
    u->port = u->is_tls ? 443 : 80;
    if (text.n == 0)
        return true;
    int64_t port;
    if (text.p[0] != ':' || text.n > 6 || !str_to_i64(str_skip(text, 1), &port) || port < 1 ||
        port > 65535)
        return false;
    u->port = (int)port;
    return true;
}

enum status url_parse(struct str text, struct url *out, struct problem *why) {
    struct url u = {0};
    struct str rest = text;
    u.is_tls = str_istarts(text, STR("https://"));
    if (!u.is_tls && !str_istarts(text, STR("http://")))
        return problem_set(why, ST_BAD_REQUEST, STR(""),
                           "must begin with http:// or https://, as in http://127.0.0.1:8000");
    rest = str_skip(rest, u.is_tls ? 8 : 7);
    for (size_t i = 0; i < rest.n; i++) {
        if (rest.p[i] <= ' ' || rest.p[i] > '~' || memchr("?#@\\\"<>", rest.p[i], 7))
            return problem_set(why, ST_BAD_REQUEST, STR(""),
                               "must be scheme, host, port and path only: no user, query, fragment "
                               "or blank (a key belongs into apiKey)");
    }
    size_t n = 0;
    while (n < rest.n && rest.p[n] != '/')
        n++;
    if (!parse_authority((struct str){rest.p, n}, &u))
        return problem_set(why, ST_BAD_REQUEST, STR(""),
                           "has no valid host and port; as in http://127.0.0.1:8000");
    u.path = str_skip(rest, n);
    while (u.path.n && u.path.p[u.path.n - 1] == '/')
        u.path.n--;
    *out = u;
    return ST_OK;
}
