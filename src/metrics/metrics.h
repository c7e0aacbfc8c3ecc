/* metrics.h - every metric in one table, counters that cost one addition, and the text of /metrics. */
#ifndef METRICS_METRICS_H
#define METRICS_METRICS_H

#include "base/buf.h"
#include "base/status.h"

#include <stdatomic.h>

/*
 * id, kind, name, label names (for docs), help. Units are in the names, as Prometheus' naming rules
 * ask (prometheus.io, "Metric and label naming"). docs/metrics.md comes from this table.
 */
/* clang-format off */
#define METRIC_TABLE(X)                                                                            \
    X(CALLS,                 counter,   "weir_calls_total",                     "status",              "Inference calls answered, by outcome.")                              \
    X(REFUSED_REQUESTS,      counter,   "weir_refused_requests_total",          "status",              "Requests refused before they became a call: not HTTP, too large, too slow.") \
    X(TIME_TO_ADMISSION,     histogram, "weir_admission_seconds",               "",                    "From the first byte of a call to its admission or refusal.")         \
    X(TIME_TO_FIRST_BYTE,    histogram, "weir_time_to_first_byte_seconds",      "",                    "From the first byte of a call to the first byte of its answer.")     \
    X(CALL_DURATION,         histogram, "weir_call_duration_seconds",           "",                    "From the first byte of a call to the last byte of its answer.")      \
    X(RETRIES,               counter,   "weir_upstream_retries_total",          "",                    "Attempts on another backend before the first byte of an answer.")    \
    X(CANCELLED,             counter,   "weir_upstream_cancelled_total",        "",                    "Upstream requests given up because the caller left.")                \
    X(LOG_LINES,             counter,   "weir_access_log_lines_total",          "",                    "Lines handed to the access log.")                                    \
    X(LOG_LOST,              counter,   "weir_access_log_lost_lines_total",     "",                    "Lines that the access log lost: its disk is full, or its reader takes nothing.") \
    X(CONNECTIONS,           gauge,     "weir_client_connections",              "",                    "Open client connections.")                                           \
    X(BODY_BYTES,            gauge,     "weir_request_body_bytes",              "",                    "Memory that request bodies hold, up to body-memory.")                \
    X(PROMPT_LOOKUPS,        counter,   "weir_prompt_lookups_total",            "kind,outcome",        "Texts and places of prompts looked up before they are counted: hit or miss.") \
    X(PROMPTS_APART,         counter,   "weir_prompts_counted_apart_total",     "",                    "Prompts so long that they were counted on another thread.")          \
    X(CALLS_IN_FLIGHT,       gauge,     "weir_calls_in_flight",                 "",                    "Calls that are not settled yet.")                                    \
    X(START_TIME,            gauge,     "weir_start_time_seconds",              "",                    "When this process started, seconds since 1970.")                     \
    X(SNAPSHOT,              gauge,     "weir_configuration_generation",        "",                    "How often the configuration was loaded since the start.")            \
    X(UTILIZATION,           gauge,     "weir_deployment_utilization_ratio",    "account,deployment",  "Outstanding work over depth; calls are refused at 1.")               \
    X(CAPACITY,              gauge,     "weir_deployment_capacity_units",       "account,deployment,sku", "Size: PTUs, or units of tokens a minute.")                        \
    X(DEPLOYMENT_CALLS,      counter,   "weir_deployment_calls_total",          "account,deployment,outcome", "Calls by what admission said: admitted or refused.")          \
    X(PROMPT_TOKENS,         counter,   "weir_deployment_prompt_tokens_total",  "account,deployment",  "Prompt tokens of settled calls, as the backend counted them.")       \
    X(CACHED_TOKENS,         counter,   "weir_deployment_cached_tokens_total",  "account,deployment",  "Prompt tokens of settled calls that came from a cache.")             \
    X(CACHED_PREDICTED,      counter,   "weir_deployment_cached_predicted_tokens_total", "account,deployment", "Prompt tokens of settled calls that were taken off on arrival, as cached.") \
    X(PROMPT_RESIDUAL,       gauge,     "weir_deployment_prompt_residual_tokens", "account,deployment", "What our count of a prompt has over the backend's: the mean of the last few thousand calls.") \
    X(PROMPT_RESIDUAL_P99,   gauge,     "weir_deployment_prompt_residual_p99_tokens", "account,deployment", "How far apart both counts are in 99 of 100 of these calls, at most.") \
    X(PREFIX_TTL,            gauge,     "weir_deployment_prompt_cache_seconds", "account,deployment",  "For how long a prompt's beginning is believed to be cached; 0: the backends do not say.") \
    X(OUTPUT_TOKENS,         counter,   "weir_deployment_output_tokens_total",  "account,deployment",  "Generated tokens of settled calls.")                                 \
    X(CHARGED,               counter,   "weir_deployment_charged_tokens_total", "account,deployment",  "Input-equivalent tokens that settled calls cost.")                   \
    X(BACKEND_CALLS,         counter,   "weir_backend_calls_total",             "backend,outcome",     "Attempts on a backend by outcome: served, busy, failed, silent.")    \
    X(BACKEND_USAGE_CAPPED,  counter,   "weir_backend_usage_capped_total",      "backend",             "Answers whose usage claimed more tokens than the call can have cost.") \
    X(BACKEND_UP,            gauge,     "weir_backend_up",                      "backend",             "1 while the backend's breaker is closed.")
/* clang-format on */

enum metric {
#define METRIC_ENUM(id, kind, name, labels, help) M_##id,
    METRIC_TABLE(METRIC_ENUM)
#undef METRIC_ENUM
        METRIC_COUNT
};

enum metric_kind { METRIC_counter, METRIC_gauge, METRIC_histogram };

struct metric_info {
    enum metric_kind kind;
    struct str name, labels, help;
};
const struct metric_info *metric_info(enum metric m);

/* A counter or gauge; written by one thread or by several, read by any. */
typedef _Atomic(int64_t) metric_cell;

static inline void metric_add(metric_cell *cell, int64_t n) {
    atomic_fetch_add_explicit(cell, n, memory_order_relaxed);
}
/* Of a cell that this thread alone writes: without the lock on the bus that an addition takes, which costs as
 * much as twenty instructions. */
static inline void metric_add_own(metric_cell *cell, int64_t n) {
    int64_t before = atomic_load_explicit(cell, memory_order_relaxed);
    atomic_store_explicit(cell, before + n, memory_order_relaxed);
}
static inline int64_t metric_read(const metric_cell *cell) {
    return atomic_load_explicit(cell, memory_order_relaxed);
}

/* Bounds grow by about 2 from 50 us to 400 s: enough to see both admission and long answers. */
enum { HISTOGRAM_BUCKETS = 24 };

struct histogram {
    metric_cell count[HISTOGRAM_BUCKETS + 1]; /* the last has no upper bound */
    metric_cell sum_us;
};

/* By one thread alone. */
void histogram_observe(struct histogram *h, int64_t us);

/* What one loop counts, and nobody else (metric_add_own); a page is the sum over all loops. */
struct metrics_shard {
    metric_cell calls[ST_COUNT];   /* by outcome */
    metric_cell refused[ST_COUNT]; /* requests that never became a call */
    metric_cell retries, cancelled, log_lines, log_lost, connections, body_bytes, in_flight;
    metric_cell texts, texts_found, places, places_found, prompts_apart;
    struct histogram admission, first_byte, duration;
};

/* --- text exposition, version 0.0.4 --- */

/* "# HELP" and "# TYPE" lines of one metric; its samples follow. */
void metrics_put_header(struct buf *out, enum metric m);

struct metric_label {
    struct str name, value;
};

/* One sample. `denominator` > 1 prints a fraction, so that integers stay exact: 1500/1000 is 1.5. */
void metrics_put_sample(struct buf *out, enum metric m, const struct metric_label *labels,
                        size_t n_labels, int64_t value, int64_t denominator);

/* The buckets, sum and count of a histogram: the sum over several, one per loop. */
void metrics_put_histogram(struct buf *out, enum metric m, const struct histogram *const *parts,
                           size_t n_parts);

#endif
