#include "http/names.h"

_Static_assert(HTTP_NAME_COUNT <= 64, "a set of names is one word");

enum { LONGEST = 35, WORD = 8 };

/* Eight bytes with the bit set that tells a small letter from a large one. Of token characters only a
 * letter can become a letter by that, and only '-' is and becomes '-'. */
static void put_folded(char *out, const char *in) {
    uint64_t word;
    memcpy(&word, in, WORD);
    word |= UINT64_C(0x2020202020202020);
    memcpy(out, &word, WORD);
}

enum http_name http_name_of(struct str name) {
    char s[LONGEST + WORD] UNINITIALIZED;
    if (name.n > LONGEST)
        return HTTP_OTHER;
    if (name.n < WORD) {
        for (size_t i = 0; i < name.n; i++)
            s[i] = (char)(name.p[i] | 0x20);
    } else {
        for (size_t i = 0; i + WORD < name.n; i += WORD)
            put_folded(s + i, name.p + i);
        put_folded(s + name.n - WORD, name.p + name.n - WORD);
    }
#define IS(id, text)                                                                               \
    if (memcmp(s, text, sizeof text - 1) == 0)                                                     \
    return id
    switch (name.n) {
    case sizeof "te" - 1:
        IS(HTTP_TE, "te");
        break;
    case sizeof "host" - 1:
        IS(HTTP_HOST, "host");
        IS(HTTP_DATE, "date");
        break;
    case sizeof "expect" - 1:
        IS(HTTP_EXPECT, "expect");
        IS(HTTP_SERVER, "server");
        IS(HTTP_COOKIE, "cookie");
        break;
    case sizeof "api-key" - 1:
        IS(HTTP_API_KEY, "api-key");
        IS(HTTP_TRAILER, "trailer");
        IS(HTTP_UPGRADE, "upgrade");
        IS(HTTP_ALT_SVC, "alt-svc");
        break;
    case sizeof "connection" - 1:
        IS(HTTP_CONNECTION, "connection");
        IS(HTTP_KEEP_ALIVE, "keep-alive");
        IS(HTTP_SET_COOKIE, "set-cookie");
        break;
    case sizeof "retry-after" - 1:
        IS(HTTP_RETRY_AFTER, "retry-after");
        IS(HTTP_X_MS_REGION, "x-ms-region");
        break;
    case sizeof "content-type" - 1:
        IS(HTTP_CONTENT_TYPE, "content-type");
        IS(HTTP_X_REQUEST_ID, "x-request-id");
        break;
    case sizeof "authorization" - 1:
        IS(HTTP_AUTHORIZATION, "authorization");
        break;
    case sizeof "content-length" - 1:
        IS(HTTP_CONTENT_LENGTH, "content-length");
        IS(HTTP_RETRY_AFTER_MS, "retry-after-ms");
        break;
    case sizeof "accept-encoding" - 1:
        IS(HTTP_ACCEPT_ENCODING, "accept-encoding");
        IS(HTTP_APIM_REQUEST_ID, "apim-request-id");
        break;
    case sizeof "proxy-connection" - 1:
        IS(HTTP_PROXY_CONNECTION, "proxy-connection");
        break;
    case sizeof "transfer-encoding" - 1:
        IS(HTTP_TRANSFER_ENCODING, "transfer-encoding");
        break;
    case sizeof "proxy-authenticate" - 1:
        IS(HTTP_PROXY_AUTHENTICATE, "proxy-authenticate");
        break;
    case sizeof "proxy-authorization" - 1:
        IS(HTTP_PROXY_AUTHORIZATION, "proxy-authorization");
        break;
    case sizeof "x-ms-deployment-name" - 1:
        IS(HTTP_DEPLOYMENT_NAME, "x-ms-deployment-name");
        break;
    case sizeof "x-content-type-options" - 1:
        IS(HTTP_X_CONTENT_TYPE_OPTIONS, "x-content-type-options");
        IS(HTTP_X_MS_CLIENT_REQUEST_ID, "x-ms-client-request-id");
        break;
    case sizeof "x-ratelimit-reset-tokens" - 1:
        IS(HTTP_RESET_TOKENS, "x-ratelimit-reset-tokens");
        break;
    case sizeof "strict-transport-security" - 1:
        IS(HTTP_STRICT_TRANSPORT_SECURITY, "strict-transport-security");
        break;
    case sizeof "x-ratelimit-remaining-tokens" - 1:
        IS(HTTP_REMAINING_TOKENS, "x-ratelimit-remaining-tokens");
        break;
    case sizeof "azure-openai-deployment-utilization" - 1:
        IS(HTTP_DEPLOYMENT_UTILIZATION, "azure-openai-deployment-utilization");
        break;
    default:
        break;
    }
#undef IS
    return HTTP_OTHER;
}
