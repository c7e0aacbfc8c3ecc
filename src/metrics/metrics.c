#include "metrics/metrics.h"

static const struct metric_info table[METRIC_COUNT] = {
#define METRIC_ROW(id, kind, name, labels, help)                                                   \
    [M_##id] = {METRIC_##kind, STR_INIT(name), STR_INIT(labels), STR_INIT(help)},
    METRIC_TABLE(METRIC_ROW)
#undef METRIC_ROW
};

const struct metric_info *metric_info(enum metric m) {
    assert((unsigned)m < METRIC_COUNT);
    return &table[m];
}

/* Upper bounds in microseconds: 50, 100, 200, 500 us, and so on by decades of 1-2-5. */
static int64_t bound_us(int i) {
    static const int64_t bounds[HISTOGRAM_BUCKETS] = {
        50,       100,      200,      500,       1000,      2000,      5000,      10000,
        20000,    50000,    100000,   200000,    500000,    1000000,   2000000,   5000000,
        10000000, 20000000, 50000000, 100000000, 150000000, 200000000, 300000000, 400000000};
    return bounds[i];
}

void histogram_observe(struct histogram *h, int64_t us) {
    int i = 0;
    while (i < HISTOGRAM_BUCKETS && us > bound_us(i))
        i++;
    metric_add_own(&h->count[i], 1);
    metric_add_own(&h->sum_us, us);
}

void metrics_put_header(struct buf *out, enum metric m) {
    static const struct str kinds[] = {STR_INIT("counter"), STR_INIT("gauge"),
                                       STR_INIT("histogram")};
    const struct metric_info *info = metric_info(m);
    buf_lit(out, "# HELP ");
    buf_str(out, info->name);
    buf_char(out, ' ');
    buf_str(out, info->help);
    buf_lit(out, "\n# TYPE ");
    buf_str(out, info->name);
    buf_char(out, ' ');
    buf_str(out, kinds[info->kind]);
    buf_char(out, '\n');
}

static void put_label_value(struct buf *out, struct str value) {
    for (size_t i = 0; i < value.n; i++) {
        char c = value.p[i];
        if (c == '\n') {
            buf_lit(out, "\\n");
            continue;
        }
        if (c == '"' || c == '\\')
            buf_char(out, '\\');
        buf_char(out, c);
    }
}

/* value / denominator with as many decimals as the denominator has zeros. */
static void put_fraction(struct buf *out, int64_t value, int64_t denominator) {
    if (value < 0) {
        buf_char(out, '-');
        value = -value;
    }
    buf_i64(out, value / denominator);
    value %= denominator;
    if (value == 0)
        return;
    buf_char(out, '.');
    while (value) {
        value *= 10;
        buf_i64(out, value / denominator);
        value %= denominator;
    }
}

void metrics_put_sample(struct buf *out, enum metric m, const struct metric_label *labels,
                        size_t n_labels, int64_t value, int64_t denominator) {
    buf_str(out, metric_info(m)->name);
    for (size_t i = 0; i < n_labels; i++) {
        buf_char(out, i ? ',' : '{');
        buf_str(out, labels[i].name);
        buf_lit(out, "=\"");
        put_label_value(out, labels[i].value);
        buf_char(out, '"');
    }
    if (n_labels)
        buf_char(out, '}');
    buf_char(out, ' ');
    put_fraction(out, value, denominator);
    buf_char(out, '\n');
}

void metrics_put_histogram(struct buf *out, enum metric m, const struct histogram *const *parts,
                           size_t n_parts) {
    struct str name = metric_info(m)->name;
    int64_t count = 0, sum_us = 0;
    for (int i = 0; i <= HISTOGRAM_BUCKETS; i++) {
        for (size_t k = 0; k < n_parts; k++)
            count += metric_read(&parts[k]->count[i]);
        buf_str(out, name);
        buf_lit(out, "_bucket{le=\"");
        if (i < HISTOGRAM_BUCKETS)
            put_fraction(out, bound_us(i), 1000000);
        else
            buf_lit(out, "+Inf");
        buf_lit(out, "\"} ");
        buf_i64(out, count);
        buf_char(out, '\n');
    }
    for (size_t k = 0; k < n_parts; k++)
        sum_us += metric_read(&parts[k]->sum_us);
    buf_str(out, name);
    buf_lit(out, "_sum ");
    put_fraction(out, sum_us, 1000000);
    buf_char(out, '\n');
    buf_str(out, name);
    buf_lit(out, "_count ");
    buf_i64(out, count);
    buf_char(out, '\n');
}
