/* names_test.c - field names as numbers: each is known in any case, and nothing like it is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http/names.h"

#include <ctype.h>
#include <stdlib.h>

static const struct str names[HTTP_NAME_COUNT] = {
    [HTTP_ACCEPT_ENCODING] = STR_INIT("accept-encoding"),
    [HTTP_ALT_SVC] = STR_INIT("alt-svc"),
    [HTTP_API_KEY] = STR_INIT("api-key"),
    [HTTP_APIM_REQUEST_ID] = STR_INIT("apim-request-id"),
    [HTTP_AUTHORIZATION] = STR_INIT("authorization"),
    [HTTP_CONNECTION] = STR_INIT("connection"),
    [HTTP_CONTENT_LENGTH] = STR_INIT("content-length"),
    [HTTP_CONTENT_TYPE] = STR_INIT("content-type"),
    [HTTP_COOKIE] = STR_INIT("cookie"),
    [HTTP_DATE] = STR_INIT("date"),
    [HTTP_DEPLOYMENT_NAME] = STR_INIT("x-ms-deployment-name"),
    [HTTP_DEPLOYMENT_UTILIZATION] = STR_INIT("azure-openai-deployment-utilization"),
    [HTTP_EXPECT] = STR_INIT("expect"),
    [HTTP_HOST] = STR_INIT("host"),
    [HTTP_KEEP_ALIVE] = STR_INIT("keep-alive"),
    [HTTP_PROXY_AUTHENTICATE] = STR_INIT("proxy-authenticate"),
    [HTTP_PROXY_AUTHORIZATION] = STR_INIT("proxy-authorization"),
    [HTTP_PROXY_CONNECTION] = STR_INIT("proxy-connection"),
    [HTTP_REMAINING_TOKENS] = STR_INIT("x-ratelimit-remaining-tokens"),
    [HTTP_RESET_TOKENS] = STR_INIT("x-ratelimit-reset-tokens"),
    [HTTP_RETRY_AFTER] = STR_INIT("retry-after"),
    [HTTP_RETRY_AFTER_MS] = STR_INIT("retry-after-ms"),
    [HTTP_SERVER] = STR_INIT("server"),
    [HTTP_SET_COOKIE] = STR_INIT("set-cookie"),
    [HTTP_STRICT_TRANSPORT_SECURITY] = STR_INIT("strict-transport-security"),
    [HTTP_TE] = STR_INIT("te"),
    [HTTP_TRAILER] = STR_INIT("trailer"),
    [HTTP_TRANSFER_ENCODING] = STR_INIT("transfer-encoding"),
    [HTTP_UPGRADE] = STR_INIT("upgrade"),
    [HTTP_X_CONTENT_TYPE_OPTIONS] = STR_INIT("x-content-type-options"),
    [HTTP_X_MS_CLIENT_REQUEST_ID] = STR_INIT("x-ms-client-request-id"),
    [HTTP_X_MS_REGION] = STR_INIT("x-ms-region"),
    [HTTP_X_REQUEST_ID] = STR_INIT("x-request-id"),
};

/* Asks with a copy of exactly that many bytes, so that a sanitizer sees a step beyond them. */
static enum http_name ask(const char *p, size_t n) {
    char *copy = malloc(n ? n : 1);
    if (!copy)
        abort();
    memcpy(copy, p, n);
    enum http_name id = http_name_of((struct str){copy, n});
    free(copy);
    return id;
}

static void knows_each_name_in_any_case(void **state) {
    (void)state;
    for (int id = HTTP_OTHER + 1; id < HTTP_NAME_COUNT; id++) {
        char text[64];
        assert_true(names[id].n > 0);
        for (unsigned mask = 0; mask < 8; mask++) {
            for (size_t i = 0; i < names[id].n; i++)
                text[i] = (char)(mask >> i % 3 & 1 ? toupper(names[id].p[i]) : names[id].p[i]);
            assert_int_equal(ask(text, names[id].n), id);
        }
    }
}

/* What two names might be taken for each other by is one byte, or the length. */
static void knows_no_name_that_differs_in_one_token_character(void **state) {
    (void)state;
    static const char token[] = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz";
    for (int id = HTTP_OTHER + 1; id < HTTP_NAME_COUNT; id++) {
        char text[64];
        memcpy(text, names[id].p, names[id].n);
        for (size_t i = 0; i < names[id].n; i++) {
            for (const char *c = token; *c; c++) {
                text[i] = *c;
                if (*c != names[id].p[i])
                    assert_int_equal(ask(text, names[id].n), HTTP_OTHER);
            }
            text[i] = names[id].p[i];
        }
        text[names[id].n] = 'x';
        assert_int_equal(ask(text, names[id].n + 1), HTTP_OTHER);
        assert_int_equal(ask(text + 1, names[id].n - 1), HTTP_OTHER);
    }
    assert_int_equal(ask("", 0), HTTP_OTHER);
    for (size_t n = 0; n < 64; n++)
        assert_int_equal(ask("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", n),
                         HTTP_OTHER);
}

static void sets_hold_what_was_put_in(void **state) {
    (void)state;
    uint64_t set = HTTP_SET(HTTP_DATE) | HTTP_SET(HTTP_X_REQUEST_ID);
    for (int id = 0; id < HTTP_NAME_COUNT; id++)
        assert_int_equal(http_set_has(set, (enum http_name)id),
                         id == HTTP_DATE || id == HTTP_X_REQUEST_ID);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_each_name_in_any_case),
        cmocka_unit_test(knows_no_name_that_differs_in_one_token_character),
        cmocka_unit_test(sets_hold_what_was_put_in),
    };
    return cmocka_run_group_tests_name("names", tests, NULL, NULL);
}
