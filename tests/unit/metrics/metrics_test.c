/* metrics_test.c - the text of /metrics, and that histograms add up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "metrics/metrics.h"

static void writes_samples_with_escaped_labels_and_exact_fractions(void **state) {
    (void)state;
    struct buf out;
    buf_init(&out, 4096);
    struct metric_label labels[] = {{STR("account"), STR("a\"b\\c\nd")},
                                    {STR("deployment"), STR("x")}};
    metrics_put_sample(&out, M_UTILIZATION, labels, 2, 425001, 1000000);
    assert_true(
        str_eq(buf_view(&out), STR("weir_deployment_utilization_ratio{account=\"a\\\"b\\\\c\\nd\","
                                   "deployment=\"x\"} 0.425001\n")));
    buf_clear(&out);
    metrics_put_sample(&out, M_CONNECTIONS, NULL, 0, -7, 1);
    assert_true(str_eq(buf_view(&out), STR("weir_client_connections -7\n")));
    buf_destroy(&out);
}

static void histograms_are_cumulative_over_all_parts(void **state) {
    (void)state;
    static struct histogram a, b;
    histogram_observe(&a, 50);
    histogram_observe(&a, 51);
    histogram_observe(&b, INT64_C(999999999));
    const struct histogram *parts[] = {&a, &b};
    struct buf out;
    buf_init(&out, 8192);
    metrics_put_histogram(&out, M_CALL_DURATION, parts, 2);
    struct str text = buf_view(&out);
    assert_true(str_find(text, STR("_bucket{le=\"0.00005\"} 1\n")) > 0);
    assert_true(str_find(text, STR("_bucket{le=\"0.0001\"} 2\n")) > 0);
    assert_true(str_find(text, STR("_bucket{le=\"400\"} 2\n")) > 0);
    assert_true(str_find(text, STR("_bucket{le=\"+Inf\"} 3\n")) > 0);
    assert_true(str_find(text, STR("_sum 1000.0001\n")) > 0);
    assert_true(str_find(text, STR("_count 3\n")) > 0);
    buf_destroy(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_samples_with_escaped_labels_and_exact_fractions),
        cmocka_unit_test(histograms_are_cumulative_over_all_parts),
    };
    return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
