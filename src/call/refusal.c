/* refusal.c - what a caller is told whose deployment has no room. */
#include "call/call_private.h"

static int64_t seconds_up(int64_t ms) {
    return i64_max(1, (ms + 999) / 1000);
}

/*
 * The texts of the standard limits are the service's own (inference contract, section 6, from real
 * samples), since scripts read the seconds out of them. The provisioned one could not be established
 * and is ours.
 */
void refusal_describe(const struct call *c, enum status st, struct problem *why) {
    const struct receipt *r = &c->receipt;
    int64_t seconds = seconds_up(r->retry_after_ms);
    if (st == ST_DEPLOYMENT_FULL) {
        (void)problem_set(
            why, st, STR(""),
            "The provisioned deployment '%.*s' is at %lld.%lld%% utilization. "
            "Please retry after %lld seconds; the header retry-after-ms has the exact "
            "time.",
            STR_ARG(c->deployment->name), (long long)(r->util_ppm / 10000),
            (long long)(r->util_ppm / 1000 % 10), (long long)seconds);
        return;
    }
    if (st == ST_TOKEN_LIMIT || st == ST_CALL_LIMIT) {
        const char *limit = st == ST_TOKEN_LIMIT ? "token" : "call";
        struct str kind =
            str_eq(c->account->kind, STR("AIServices")) ? STR("AIServices S0") : STR("OpenAI S0");
        bool is_classic = c->route.style == API_AZURE_CLASSIC;
        struct str api = is_classic ? STR("Azure OpenAI API version ")
                                    : STR("OpenAI Language Model Instance API");
        struct str version = is_classic ? c->route.api_version : STR("");
        version.n = size_min(version.n, 40);
        (void)problem_set(
            why, st, STR(""),
            "Requests to the %.*s Operation under %.*s%.*s have exceeded %s rate limit of "
            "your current %.*s pricing tier. Please retry after %lld seconds. Please "
            "go here: https://aka.ms/oai/quotaincrease if you would like to further "
            "increase the default rate limit.",
            STR_ARG(operation_title(c->route.op)), STR_ARG(api), STR_ARG(version), limit,
            STR_ARG(kind), (long long)seconds);
        return;
    }
    (void)problem_set(why, st, STR(""), "%s Please retry after %lld seconds.",
                      status_info(st)->text.p, (long long)seconds);
}
