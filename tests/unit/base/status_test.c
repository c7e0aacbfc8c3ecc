/* status_test.c - the table of everything that can go wrong holds together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/status.h"

static void every_row_is_whole_and_every_label_its_own(void **state) {
    (void)state;
    for (int i = 0; i < ST_COUNT; i++) {
        const struct status_info *a = status_info((enum status)i);
        assert_true(a->http >= 200 && a->http <= 599);
        assert_true(a->code.n > 0 && a->label.n > 0);
        assert_true(i == ST_OK || a->text.n > 0);
        assert_false(str_eq(http_reason(a->http), STR("Status")));
        for (size_t k = 0; k < a->label.n; k++) {
            char c = a->label.p[k];
            assert_true((c >= 'a' && c <= 'z') || c == '_');
        }
        for (int j = 0; j < i; j++)
            assert_false(str_eq(a->label, status_info((enum status)j)->label));
    }
    assert_true(str_eq(http_reason(299), STR("Status")));
}

/* Clients read these (inference contract, section 6). */
static void known_codes_are_those_of_the_service(void **state) {
    (void)state;
    static const struct {
        enum status st;
        int http;
        const char *code;
    } cases[] = {
        {ST_UNAUTHORIZED, 401, "401"},
        {ST_NO_DEPLOYMENT, 404, "DeploymentNotFound"},
        {ST_NOT_FOUND, 404, "404"},
        {ST_DEPLOYMENT_FULL, 429, "429"},
        {ST_TOKEN_LIMIT, 429, "429"},
        {ST_CALL_LIMIT, 429, "429"},
        {ST_CONTEXT_LENGTH, 400, "context_length_exceeded"},
        {ST_OPERATION_NOT_SUPPORTED, 400, "OperationNotSupported"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(status_info(cases[i].st)->http, cases[i].http);
        assert_true(str_eq(status_info(cases[i].st)->code, str_of(cases[i].code)));
    }
    assert_true(str_eq(status_info(ST_NO_DEPLOYMENT)->text,
                       STR("The API deployment for this resource does not exist. If you created "
                           "the deployment within the last 5 minutes, please wait a moment and try "
                           "again.")));
    assert_true(str_eq(status_info(ST_NOT_FOUND)->text, STR("Resource not found")));
}

static void a_problem_is_cut_to_its_room_and_may_be_nobodys(void **state) {
    (void)state;
    struct problem why;
    char text[1000];
    memset(text, 'm', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    assert_int_equal(problem_set(&why, ST_BAD_JSON, str_of(text), "%s", text), ST_BAD_JSON);
    assert_int_equal(strlen(why.target), sizeof why.target - 1);
    assert_int_equal(strlen(why.message), sizeof why.message - 1);
    assert_int_equal(problem_set(NULL, ST_TOO_LARGE, STR("x"), "%d", 1), ST_TOO_LARGE);
    assert_int_equal(problem_set(&why, ST_BAD_REQUEST, STR("n"), "%s is %d", "n", 3),
                     ST_BAD_REQUEST);
    assert_string_equal(why.target, "n");
    assert_string_equal(why.message, "n is 3");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_is_whole_and_every_label_its_own),
        cmocka_unit_test(known_codes_are_those_of_the_service),
        cmocka_unit_test(a_problem_is_cut_to_its_room_and_may_be_nobodys),
    };
    return cmocka_run_group_tests_name("status", tests, NULL, NULL);
}
