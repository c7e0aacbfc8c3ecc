/* faults.c - reads the words of faults and draws whom they strike. */
#include "sim/faults.h"

#include "sim/script.h"

enum { PPM = 1000000 };

/* clang-format off */
static const struct {
    struct str name;
    struct faults faults; /* with the defaults of its parameters */
} kinds[] = {
    {STR_INIT("429"),         {.kinds = FAULT_429, .retry_after_ms = 1000}},
    {STR_INIT("500"),         {.kinds = FAULT_500}},
    {STR_INIT("503"),         {.kinds = FAULT_503}},
    {STR_INIT("slow-start"),  {.kinds = FAULT_SLOW_START, .slow_ms = 2000}},
    {STR_INIT("stall"),       {.kinds = FAULT_STALL, .after = 3}},
    {STR_INIT("disconnect"),  {.kinds = FAULT_DISCONNECT, .after = 3}},
    {STR_INIT("error"),       {.kinds = FAULT_ERROR, .after = 3}},
    {STR_INIT("reset"),       {.kinds = FAULT_RESET}},
    {STR_INIT("garbage"),     {.kinds = FAULT_GARBAGE}},
    {STR_INIT("no-usage"),    {.kinds = FAULT_NO_USAGE}},
    {STR_INIT("usage-every"), {.kinds = FAULT_USAGE_EVERY}},
    {STR_INIT("burst"),       {.kinds = FAULT_BURST, .burst = 8}},
    {STR_INIT("split"),       {.kinds = FAULT_SPLIT}},
    {STR_INIT("crlf"),        {.kinds = FAULT_CRLF}},
};
/* clang-format on */

/* "0.25" in millionths; at most six decimals. */
static bool read_rate(struct str text, int64_t *ppm) {
    struct str whole = text, decimals = {NULL, 0};
    const char *dot = text.n ? memchr(text.p, '.', text.n) : NULL;
    if (dot) {
        whole.n = (size_t)(dot - text.p);
        decimals = str_skip(text, whole.n + 1);
    }
    int64_t w = 0, d = 0;
    if (memchr(text.p, '-', text.n) || decimals.n > 6 || !str_to_i64(whole, &w) ||
        (decimals.n && !str_to_i64(decimals, &d)))
        return false;
    for (size_t i = decimals.n; i < 6; i++)
        d *= 10;
    if (w > 1 || w * PPM + d > PPM)
        return false;
    *ppm = w * PPM + d;
    return true;
}

static bool read_parameter(struct str word, struct faults *f) {
    struct str value = word, name;
    (void)str_cut(&value, '=', &name);
    if (str_eq(word, STR("http")) && f->kinds == FAULT_GARBAGE) {
        f->kinds = FAULT_GARBAGE_HTTP;
        return true;
    }
    if (str_eq(word, STR("retry=none")) && f->kinds == FAULT_429) {
        f->retry_after_ms = 0;
        return true;
    }
    const struct {
        struct str name;
        unsigned kinds;
        int64_t *at, min;
    } numbers[] = {
        {STR("retry-after-ms"), FAULT_429, &f->retry_after_ms, 1},
        {STR("ms"), FAULT_SLOW_START, &f->slow_ms, 0},
        {STR("after"), FAULT_STALL | FAULT_DISCONNECT | FAULT_ERROR, &f->after, 0},
        {STR("n"), FAULT_BURST, &f->burst, 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        int64_t n;
        if (str_eq(name, numbers[i].name) && (numbers[i].kinds & f->kinds)) {
            if (!str_to_i64(value, &n) || n < numbers[i].min || n > INT32_MAX)
                return false;
            *numbers[i].at = n;
            return true;
        }
    }
    return false;
}

static bool read_rule(struct str text, struct fault_rule *rule) {
    struct str rest = text, name, parameter;
    const char *colon = memchr(text.p, ':', text.n);
    *rule = (struct fault_rule){.rate_ppm = PPM};
    if (colon) {
        rest.n = (size_t)(colon - text.p);
        if (!read_rate(str_skip(text, rest.n + 1), &rule->rate_ppm))
            return false;
    }
    if (!str_cut(&rest, ';', &name))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (str_eq(kinds[i].name, str_trim(name)))
            rule->faults = kinds[i].faults;
    }
    if (!rule->faults.kinds)
        return false;
    while (str_cut(&rest, ';', &parameter)) {
        if (!read_parameter(str_trim(parameter), &rule->faults))
            return false;
    }
    return true;
}

enum status faults_parse(struct str text, struct fault_rules *out, struct problem *why) {
    struct fault_rules found = {.count = 0};
    struct str word;
    while (str_cut(&text, ',', &word)) {
        word = str_trim(word);
        if (word.n == 0)
            continue;
        if (found.count == FAULT_RULES_MAX)
            return problem_set(why, ST_BAD_REQUEST, STR("fault"), "at most %d faults",
                               FAULT_RULES_MAX);
        if (!read_rule(word, &found.rules[found.count++]))
            return problem_set(why, ST_BAD_REQUEST, STR("fault"),
                               "\"%.*s\" is no fault of the simulator", STR_ARG(word));
    }
    *out = found;
    return ST_OK;
}

void faults_draw(const struct fault_rules *rules, uint64_t draw, struct faults *out) {
    for (size_t i = 0; i < rules->count; i++) {
        const struct fault_rule *r = &rules->rules[i];
        if (script_mix(draw + i + 1) % PPM >= (uint64_t)r->rate_ppm)
            continue;
        const struct faults *f = &r->faults;
        out->kinds |= f->kinds;
        if (f->kinds & FAULT_429)
            out->retry_after_ms = f->retry_after_ms;
        if (f->kinds & FAULT_SLOW_START)
            out->slow_ms = f->slow_ms;
        if (f->kinds & (FAULT_STALL | FAULT_DISCONNECT | FAULT_ERROR))
            out->after = f->after;
        if (f->kinds & FAULT_BURST)
            out->burst = f->burst;
    }
}
