/* target_fuzz.c - arbitrary bytes as a request target: views stay inside, routes hold what they say. */
/* rooms: call http base */
#include "call/route.h"
#include "http/target.h"

#include <stdlib.h>

#include "fuzz/fuzz.h"

static bool is_inside(struct str part, struct str whole) {
    return part.n == 0 || (part.p >= whole.p && part.p + part.n <= whole.p + whole.n);
}

static void check_decoded(struct str s, bool is_query) {
    struct str plain;
    char *out = malloc(size_max(s.n, 1));
    assert(out);
    if (target_decode(s, is_query, out, &plain)) {
        assert(plain.n <= s.n && (is_inside(plain, s) || plain.p == out));
        assert(plain.p == s.p || !memchr(plain.p, 0, plain.n) || memchr(s.p, 0, s.n));
    }
    free(out);
}

static void check_route(struct str method, struct str target) {
    struct route r = {0};
    struct problem why = {0};
    enum status st = route_parse(method, target, &r, &why);
    if (st != ST_OK) {
        assert(st == ST_NOT_FOUND || st == ST_NO_DEPLOYMENT || st == ST_METHOD_NOT_ALLOWED);
        assert(why.message[0]);
        return;
    }
    assert(r.op >= OP_CHAT && r.op <= OP_DEPLOYMENTS);
    assert(is_inside(r.api_version, target));
    assert(!r.deployment.p || (r.deployment.p == r.name && r.deployment.n <= sizeof r.name));
    if (r.style == API_AZURE_CLASSIC)
        assert(r.api_version.n > 0 &&
               (r.deployment.p || operation_is_list(r.op) || r.op == OP_RESPONSES));
    assert(operation_is_list(r.op) != str_eq(method, STR("POST")));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct str target = {(const char *)data, size}, path, query;
    if (target_split(target, &path, &query)) {
        assert(is_inside(path, target) && is_inside(query, target));
        assert(path.n > 0 && path.p[0] == '/' && !memchr(path.p, '?', path.n));
        check_decoded(path, false);
        check_decoded(query, true);
        struct str segment, value = query_get(query, STR("api-version"));
        assert(is_inside(value, query));
        while (target_segment(&path, &segment))
            assert(segment.n > 0 && is_inside(segment, target) &&
                   !memchr(segment.p, '/', segment.n));
    }
    check_route(STR("POST"), target);
    check_route(STR("GET"), target);
    return 0;
}
