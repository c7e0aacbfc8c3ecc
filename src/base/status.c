#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>

static const struct status_info table[ST_COUNT] = {
#define STATUS_ROW(id, http, code, type, label, text)                                              \
    [ST_##id] = {http, STR_INIT(code), STR_INIT(type), STR_INIT(label), STR_INIT(text)},
    STATUS_TABLE(STATUS_ROW)
#undef STATUS_ROW
};

const struct status_info *status_info(enum status st) {
    assert((unsigned)st < ST_COUNT);
    return &table[st];
}

struct str http_reason(int http) {
    /* RFC 9110 section 15 and RFC 6585; 499 is nginx's name for a client that left. */
    static const struct {
        int http;
        struct str reason;
    } reasons[] = {
        {100, STR_INIT("Continue")},
        {200, STR_INIT("OK")},
        {201, STR_INIT("Created")},
        {202, STR_INIT("Accepted")},
        {204, STR_INIT("No Content")},
        {400, STR_INIT("Bad Request")},
        {401, STR_INIT("Unauthorized")},
        {403, STR_INIT("Forbidden")},
        {404, STR_INIT("Not Found")},
        {405, STR_INIT("Method Not Allowed")},
        {408, STR_INIT("Request Timeout")},
        {409, STR_INIT("Conflict")},
        {413, STR_INIT("Content Too Large")},
        {414, STR_INIT("URI Too Long")},
        {415, STR_INIT("Unsupported Media Type")},
        {417, STR_INIT("Expectation Failed")},
        {422, STR_INIT("Unprocessable Content")},
        {429, STR_INIT("Too Many Requests")},
        {431, STR_INIT("Request Header Fields Too Large")},
        {499, STR_INIT("Client Closed Request")},
        {500, STR_INIT("Internal Server Error")},
        {502, STR_INIT("Bad Gateway")},
        {503, STR_INIT("Service Unavailable")},
        {504, STR_INIT("Gateway Timeout")},
        {505, STR_INIT("HTTP Version Not Supported")},
    };
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++) {
        if (reasons[i].http == http)
            return reasons[i].reason;
    }
    return STR("Status");
}

enum status problem_set(struct problem *why, enum status st, struct str target, const char *format,
                        ...) {
    if (!why)
        return st;
    snprintf(why->target, sizeof why->target, "%.*s", STR_ARG(target));
    va_list args;
    va_start(args, format);
    vsnprintf(why->message, sizeof why->message, format, args);
    va_end(args);
    return st;
}
