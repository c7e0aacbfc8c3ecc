/* output_test.c - what the limits of a request say about the length of its answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "admit/output.h"

static void takes_the_largest_limit_times_the_choices(void **state) {
    (void)state;
    static const struct {
        struct output_request request;
        int64_t cap, estimate; /* with 512 learned */
    } cases[] = {
        {{OUTPUT_CHAT, -1, -1, -1, 1, 1}, -1, 512},
        {{OUTPUT_CHAT, -1, -1, -1, 0, 0}, -1, 512},
        {{OUTPUT_CHAT, -1, -1, -1, 3, 1}, -1, 1536},
        {{OUTPUT_CHAT, 100, -1, -1, 1, 1}, 100, 100},
        {{OUTPUT_CHAT, -1, 200, -1, 1, 1}, 200, 200},
        {{OUTPUT_CHAT, -1, -1, 300, 1, 1}, 300, 300},
        {{OUTPUT_CHAT, 100, 300, 200, 1, 1}, 300, 300},
        {{OUTPUT_CHAT, 0, -1, -1, 1, 1}, 0, 0},
        {{OUTPUT_CHAT, 100, -1, -1, 2, 5}, 500, 500},
        {{OUTPUT_CHAT, 100, -1, -1, 5, 2}, 500, 500},
        {{OUTPUT_COMPLETIONS, -1, -1, -1, 1, 1}, -1, 16},
        {{OUTPUT_COMPLETIONS, -1, -1, -1, 1, 4}, -1, 64},
        {{OUTPUT_COMPLETIONS, 7, -1, -1, 1, 1}, 7, 7},
        {{OUTPUT_EMBEDDINGS, -1, -1, -1, 8, 1}, -1, 0},
        {{OUTPUT_CHAT, INT64_C(1) << 53, -1, -1, 128, 1}, INT64_C(1) << 60, INT64_C(1) << 60},
        {{OUTPUT_CHAT, INT64_MAX, -1, -1, 128, 1}, INT64_MAX, INT64_MAX},
        {{OUTPUT_CHAT, 2, -1, -1, INT64_MAX, 1}, INT64_MAX, INT64_MAX},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(output_cap(&cases[i].request), cases[i].cap);
        assert_int_equal(output_estimate(&cases[i].request, 512), cases[i].estimate);
    }
    struct output_request none = OUTPUT_REQUEST_NONE;
    assert_int_equal(output_cap(&none), -1);
    assert_int_equal(output_estimate(&none, 99), 99);
    assert_int_equal(output_estimate(&none, -1), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_the_largest_limit_times_the_choices),
    };
    return cmocka_run_group_tests_name("output", tests, NULL, NULL);
}
