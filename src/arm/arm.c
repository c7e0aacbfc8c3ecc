/* arm.c - takes a request to the function that answers it: path, api-version, access, body. */
#include "arm/arm_private.h"

#include "http/target.h"

#include <stdio.h>
#include <stdlib.h>

#define SUBSCRIPTION "/subscriptions/{}"
#define GROUP SUBSCRIPTION "/resourceGroups/{}"
#define SERVICES "/providers/Microsoft.CognitiveServices"
#define ACCOUNT GROUP SERVICES "/accounts/{}"
#define DEPLOYMENT ACCOUNT "/deployments/{}"
#define LOCATION SUBSCRIPTION SERVICES "/locations/{l}"
#define OURS "/providers/Weir.Capacity"

/* docs/api.md lists these and those that the service has and we have not. */
/* clang-format off */
static const struct route routes[] = {
    {ARM_GET,           GUARD_ROLE, ACCOUNT, "Microsoft.CognitiveServices/accounts/read", accounts_get},
    {ARM_PUT_METHOD,    GUARD_ROLE, ACCOUNT, "Microsoft.CognitiveServices/accounts/write", accounts_put},
    {ARM_PATCH,         GUARD_ROLE, ACCOUNT, "Microsoft.CognitiveServices/accounts/write", accounts_patch},
    {ARM_DELETE_METHOD, GUARD_ROLE, ACCOUNT, "Microsoft.CognitiveServices/accounts/delete", accounts_delete},
    {ARM_GET,           GUARD_LIST, GROUP SERVICES "/accounts", "Microsoft.CognitiveServices/accounts/read", accounts_list_group},
    {ARM_GET,           GUARD_LIST, SUBSCRIPTION SERVICES "/accounts", "Microsoft.CognitiveServices/accounts/read", accounts_list_subscription},
    {ARM_POST,          GUARD_ROLE, ACCOUNT "/listKeys", "Microsoft.CognitiveServices/accounts/listKeys/action", accounts_list_keys},
    {ARM_POST,          GUARD_ROLE, ACCOUNT "/regenerateKey", "Microsoft.CognitiveServices/accounts/regenerateKey/action", accounts_regenerate_key},
    {ARM_GET,           GUARD_ROLE, ACCOUNT "/skus", "Microsoft.CognitiveServices/accounts/skus/read", accounts_skus},
    {ARM_GET,           GUARD_ROLE, ACCOUNT "/usages", "Microsoft.CognitiveServices/accounts/usages/read", accounts_usages},
    {ARM_GET,           GUARD_ROLE, ACCOUNT "/models", "Microsoft.CognitiveServices/accounts/models/read", accounts_models},

    {ARM_GET,           GUARD_ROLE, DEPLOYMENT, "Microsoft.CognitiveServices/accounts/deployments/read", deployments_get},
    {ARM_PUT_METHOD,    GUARD_ROLE, DEPLOYMENT, "Microsoft.CognitiveServices/accounts/deployments/write", deployments_put},
    {ARM_PATCH,         GUARD_ROLE, DEPLOYMENT, "Microsoft.CognitiveServices/accounts/deployments/write", deployments_patch},
    {ARM_DELETE_METHOD, GUARD_ROLE, DEPLOYMENT, "Microsoft.CognitiveServices/accounts/deployments/delete", deployments_delete},
    {ARM_GET,           GUARD_LIST, ACCOUNT "/deployments", "Microsoft.CognitiveServices/accounts/deployments/read", deployments_list},
    {ARM_GET,           GUARD_ROLE, DEPLOYMENT "/skus", "Microsoft.CognitiveServices/accounts/deployments/skus/read", deployments_skus},

    {ARM_GET,           GUARD_LIST, SUBSCRIPTION SERVICES "/deletedAccounts", "Microsoft.CognitiveServices/deletedAccounts/read", accounts_deleted_list},
    {ARM_GET,           GUARD_ROLE, LOCATION "/resourceGroups/{}/deletedAccounts/{}", "Microsoft.CognitiveServices/locations/resourceGroups/deletedAccounts/read", accounts_deleted_get},
    {ARM_DELETE_METHOD, GUARD_ROLE, LOCATION "/resourceGroups/{}/deletedAccounts/{}", "Microsoft.CognitiveServices/locations/resourceGroups/deletedAccounts/delete", accounts_purge},

    {ARM_GET,           GUARD_ROLE, LOCATION "/usages", "Microsoft.CognitiveServices/locations/usages/read", places_usages},
    {ARM_GET,           GUARD_ROLE, LOCATION "/models", "Microsoft.CognitiveServices/locations/models/read", places_models},
    {ARM_GET,           GUARD_ROLE, LOCATION "/modelCapacities", "Microsoft.CognitiveServices/locations/modelCapacities/read", places_model_capacities},
    {ARM_GET,           GUARD_ROLE, SUBSCRIPTION SERVICES "/modelCapacities", "Microsoft.CognitiveServices/modelCapacities/read", places_model_capacities_everywhere},
    {ARM_GET,           GUARD_OPEN, LOCATION "/operations/{}", "Microsoft.CognitiveServices/locations/operations/read", places_operation},
    {ARM_GET,           GUARD_ROLE, SUBSCRIPTION SERVICES "/skus", "Microsoft.CognitiveServices/skus/read", places_skus},
    {ARM_POST,          GUARD_ROLE, SUBSCRIPTION SERVICES "/calculateModelCapacity", "Microsoft.CognitiveServices/calculateModelCapacity/action", places_calculate},
    {ARM_POST,          GUARD_ROLE, SUBSCRIPTION SERVICES "/checkDomainAvailability", "Microsoft.CognitiveServices/checkDomainAvailability/action", accounts_check_domain},
    {ARM_POST,          GUARD_ROLE, LOCATION "/checkSkuAvailability", "Microsoft.CognitiveServices/locations/checkSkuAvailability/action", accounts_check_sku},
    {ARM_GET,           GUARD_OPEN, SERVICES "/operations", "Microsoft.CognitiveServices/operations/read", places_operations},

    {ARM_GET,           GUARD_OPEN, "/subscriptions", "Microsoft.Resources/subscriptions/read", scopes_subscriptions},
    {ARM_GET,           GUARD_LIST, SUBSCRIPTION, "Microsoft.Resources/subscriptions/read", scopes_subscription_get},
    {ARM_PUT_METHOD,    GUARD_OPERATOR, SUBSCRIPTION, "Microsoft.Resources/subscriptions/write", scopes_subscription_put},
    {ARM_DELETE_METHOD, GUARD_OPERATOR, SUBSCRIPTION, "Microsoft.Resources/subscriptions/delete", scopes_subscription_delete},
    {ARM_GET,           GUARD_LIST, SUBSCRIPTION "/locations", "Microsoft.Resources/subscriptions/locations/read", scopes_locations},
    {ARM_GET,           GUARD_OPEN, "/tenants", "Microsoft.Resources/tenants/read", scopes_tenants},
    {ARM_GET,           GUARD_LIST, SUBSCRIPTION "/resourceGroups", "Microsoft.Resources/subscriptions/resourceGroups/read", scopes_groups},
    {ARM_GET,           GUARD_ROLE, GROUP, "Microsoft.Resources/subscriptions/resourceGroups/read", scopes_group_get},
    {ARM_HEAD,          GUARD_ROLE, GROUP, "Microsoft.Resources/subscriptions/resourceGroups/read", scopes_group_get},
    {ARM_PUT_METHOD,    GUARD_ROLE, GROUP, "Microsoft.Resources/subscriptions/resourceGroups/write", scopes_group_put},
    {ARM_PATCH,         GUARD_ROLE, GROUP, "Microsoft.Resources/subscriptions/resourceGroups/write", scopes_group_patch},
    {ARM_DELETE_METHOD, GUARD_ROLE, GROUP, "Microsoft.Resources/subscriptions/resourceGroups/delete", scopes_group_delete},
    {ARM_GET,           GUARD_LIST, GROUP "/resources", "Microsoft.CognitiveServices/accounts/read", scopes_group_resources},
    {ARM_GET,           GUARD_LIST, SUBSCRIPTION "/resources", "Microsoft.CognitiveServices/accounts/read", scopes_resources},
    {ARM_GET,           GUARD_LIST, SUBSCRIPTION "/providers", "Microsoft.Resources/subscriptions/providers/read", scopes_providers},
    {ARM_GET,           GUARD_LIST, SUBSCRIPTION "/providers/{}", "Microsoft.Resources/subscriptions/providers/read", scopes_provider_get},
    {ARM_POST,          GUARD_ROLE, SUBSCRIPTION "/providers/{}/register", "Microsoft.Resources/subscriptions/providers/register/action", scopes_provider_get},

    {ARM_GET,           GUARD_OPERATOR, OURS "/locations", "Weir.Capacity/locations/read", operator_list},
    {ARM_GET,           GUARD_OPERATOR, OURS "/locations/{}", "Weir.Capacity/locations/read", operator_get},
    {ARM_PUT_METHOD,    GUARD_OPERATOR, OURS "/locations/{}", "Weir.Capacity/locations/write", operator_put},
    {ARM_DELETE_METHOD, GUARD_OPERATOR, OURS "/locations/{}", "Weir.Capacity/locations/delete", operator_delete},
    {ARM_GET,           GUARD_OPERATOR, OURS "/models", "Weir.Capacity/models/read", operator_list},
    {ARM_GET,           GUARD_OPERATOR, OURS "/models/{x}", "Weir.Capacity/models/read", operator_get},
    {ARM_PUT_METHOD,    GUARD_OPERATOR, OURS "/models/{x}", "Weir.Capacity/models/write", operator_put},
    {ARM_DELETE_METHOD, GUARD_OPERATOR, OURS "/models/{x}", "Weir.Capacity/models/delete", operator_delete},
    {ARM_GET,           GUARD_OPERATOR, OURS "/pools", "Weir.Capacity/pools/read", operator_list},
    {ARM_GET,           GUARD_OPERATOR, OURS "/pools/{}", "Weir.Capacity/pools/read", operator_get},
    {ARM_PUT_METHOD,    GUARD_OPERATOR, OURS "/pools/{}", "Weir.Capacity/pools/write", operator_put},
    {ARM_DELETE_METHOD, GUARD_OPERATOR, OURS "/pools/{}", "Weir.Capacity/pools/delete", operator_delete},
    {ARM_POST,          GUARD_OPERATOR, OURS "/pools/{}/drain", "Weir.Capacity/pools/drain/action", operator_drain},
    {ARM_POST,          GUARD_OPERATOR, OURS "/pools/{}/resume", "Weir.Capacity/pools/resume/action", operator_resume},
    {ARM_GET,           GUARD_OPERATOR, OURS "/pools/{}/backends", "Weir.Capacity/pools/backends/read", operator_list},
    {ARM_GET,           GUARD_OPERATOR, OURS "/pools/{}/backends/{}", "Weir.Capacity/pools/backends/read", operator_get},
    {ARM_PUT_METHOD,    GUARD_OPERATOR, OURS "/pools/{}/backends/{}", "Weir.Capacity/pools/backends/write", operator_put},
    {ARM_DELETE_METHOD, GUARD_OPERATOR, OURS "/pools/{}/backends/{}", "Weir.Capacity/pools/backends/delete", operator_delete},
    {ARM_POST,          GUARD_OPERATOR, OURS "/pools/{}/backends/{}/drain", "Weir.Capacity/pools/backends/drain/action", operator_drain},
    {ARM_POST,          GUARD_OPERATOR, OURS "/pools/{}/backends/{}/resume", "Weir.Capacity/pools/backends/resume/action", operator_resume},

    {ARM_GET,           GUARD_ROLE, SUBSCRIPTION OURS "/locations/{l}/quotas", "Weir.Capacity/locations/quotas/read", operator_quotas},
    {ARM_GET,           GUARD_ROLE, SUBSCRIPTION OURS "/locations/{l}/quotas/{x}", "Weir.Capacity/locations/quotas/read", operator_quota_get},
    {ARM_PUT_METHOD,    GUARD_OPERATOR, SUBSCRIPTION OURS "/locations/{l}/quotas/{x}", "Weir.Capacity/locations/quotas/write", operator_quota_put},
    {ARM_DELETE_METHOD, GUARD_OPERATOR, SUBSCRIPTION OURS "/locations/{l}/quotas/{x}", "Weir.Capacity/locations/quotas/delete", operator_quota_delete},
    {ARM_POST,          GUARD_ROLE, SUBSCRIPTION OURS "/quotaRequests", "Weir.Capacity/quotaRequests/write", quota_requests_create},
    {ARM_GET,           GUARD_ROLE, SUBSCRIPTION OURS "/quotaRequests", "Weir.Capacity/quotaRequests/read", quota_requests_list},
    {ARM_GET,           GUARD_ROLE, SUBSCRIPTION OURS "/quotaRequests/{}", "Weir.Capacity/quotaRequests/read", quota_requests_get},
    {ARM_POST,          GUARD_OPERATOR, SUBSCRIPTION OURS "/quotaRequests/{}/approve", "Weir.Capacity/quotaRequests/approve/action", quota_requests_approve},
    {ARM_POST,          GUARD_OPERATOR, SUBSCRIPTION OURS "/quotaRequests/{}/refuse", "Weir.Capacity/quotaRequests/refuse/action", quota_requests_refuse},
    {ARM_GET,           GUARD_OPERATOR, OURS "/quotaRequests", "Weir.Capacity/quotaRequests/read", quota_requests_list_all},
};
/* clang-format on */

/*
 * Path
 */
static bool read_target(struct ask *a) {
    struct str path, query, raw;
    if (a->req->target.n > ARM_TARGET_MAX)
        return ask_fault(a, FAULT_URI_TOO_LONG, "", "The request target is longer than %d bytes.",
                         ARM_TARGET_MAX);
    if (!target_split(a->req->target, &path, &query))
        return ask_fault(a, FAULT_BAD_REQUEST, "", "The request target is no path.");
    a->query = query;
    struct buf joined;
    buf_init(&joined, ARM_TARGET_MAX);
    bool ok = true;
    while (ok && target_segment(&path, &raw)) {
        char *out = arena_alloc(a->memory, raw.n);
        assert(out);
        ok = a->n_segments < SEGMENTS_MAX &&
             target_decode(raw, false, out, &a->segment[a->n_segments]);
        if (ok) {
            buf_char(&joined, '/');
            buf_str(&joined, a->segment[a->n_segments++]);
        }
    }
    a->path = arena_str(a->memory, buf_view(&joined));
    buf_destroy(&joined);
    return ok || ask_fault(a, FAULT_BAD_REQUEST, "",
                           "The path has a broken escape, or more than %d segments.", SEGMENTS_MAX);
}

/* The names of a path that has this pattern. */
static bool matches(struct ask *a, const char *pattern) {
    struct str rest = str_of(pattern), want;
    int i = 0;
    a->n_names = 0;
    while (target_segment(&rest, &want)) {
        if (i == a->n_segments)
            return false;
        struct str have = a->segment[i++];
        if (want.p[0] == '{') {
            assert(a->n_names < NAMES_MAX);
            a->name[a->n_names++] = have;
        } else if (!str_ieq(want, have)) {
            return false;
        }
    }
    return i == a->n_segments;
}

static bool is_location_name(struct str s) {
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool is_alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!is_alnum && !memchr(" _.-", c, 4))
            return false;
    }
    return s.n > 0 && s.n <= RESOURCE_NAME_MAX;
}

static bool check_names(struct ask *a) {
    struct str rest = str_of(a->route->pattern), want;
    for (int i = 0; target_segment(&rest, &want);) {
        if (want.p[0] != '{')
            continue;
        struct str name = a->name[i++];
        bool ok = str_eq(want, STR("{l}"))   ? is_location_name(name)
                  : str_eq(want, STR("{x}")) ? name_is_valid(name, 1, 3 * RESOURCE_NAME_MAX)
                                             : name_is_valid(name, 1, RESOURCE_NAME_MAX);
        if (!ok)
            return ask_fault(a, FAULT_INVALID_NAME, "name",
                             "The resource name '%.*s' is not valid: 1 to %d letters, digits, '_', "
                             "'.', '-', the first a letter or digit.",
                             (int)size_min(name.n, 80), name.p, RESOURCE_NAME_MAX);
    }
    return true;
}

static const char *method_name(enum arm_method m) {
    static const char *const names[] = {"GET", "HEAD", "PUT", "PATCH", "POST", "DELETE"};
    return names[m];
}

/* Which namespaces are here; for the sentence about a type that is not. */
static bool refuse_path(struct ask *a, bool is_known) {
    static const char *const spaces[] = {"Microsoft.CognitiveServices", "Microsoft.Authorization",
                                         "Microsoft.Resources", "Weir.Capacity"};
    if (is_known)
        return ask_fault(a, FAULT_METHOD_NOT_ALLOWED, "", "The method '%s' is not allowed here.",
                         method_name(a->req->method));
    for (int i = a->n_segments - 2; i >= 0; i--) {
        if (!str_ieq(a->segment[i], STR("providers")))
            continue;
        struct str space = a->segment[i + 1];
        for (size_t k = 0; k < ARRAY_LEN(spaces); k++) {
            if (str_ieq(space, str_of(spaces[k])))
                return ask_fault(a, FAULT_INVALID_RESOURCE_TYPE, "",
                                 "The resource type could not be found in the namespace '%s' for "
                                 "api version '%.*s'.",
                                 spaces[k], (int)size_min(a->api_version.n, 40), a->api_version.p);
        }
        return ask_fault(a, FAULT_INVALID_NAMESPACE, "",
                         "The resource namespace '%.*s' is invalid.", (int)size_min(space.n, 80),
                         space.p);
    }
    return ask_fault(a, FAULT_NOT_FOUND, "", "There is nothing at '%.*s'.",
                     (int)size_min(a->path.n, 200), a->path.p);
}

static bool find_route(struct ask *a) {
    bool is_known = false;
    for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
        if (!matches(a, routes[i].pattern))
            continue;
        is_known = true;
        if (routes[i].method != a->req->method)
            continue;
        a->route = &routes[i];
        return true;
    }
    return refuse_path(a, is_known);
}

static bool check_api_version(struct ask *a) {
    a->api_version = ask_query(a, STR("api-version"));
    if (a->api_version.n == 0)
        return ask_fault(a, FAULT_MISSING_API_VERSION, "api-version",
                         "The api-version query parameter (?api-version=) is required for all "
                         "requests.");
    if (!api_version_is_valid(a->api_version))
        return ask_fault(a, FAULT_INVALID_API_VERSION, "api-version",
                         "The api-version '%.*s' is invalid: a date such as '2024-10-01', with or "
                         "without '-preview'.",
                         (int)size_min(a->api_version.n, 80), a->api_version.p);
    return true;
}

/*
 * Access, before anything is told about what is there.
 */

/* What a list shows lies below its path, or somewhere below the subscription or the group. */
static struct str list_scope(struct ask *a) {
    bool is_in_group = a->n_segments > 3 && str_ieq(a->segment[2], STR("resourceGroups"));
    if (a->n_segments > 2 && !is_in_group)
        return ask_format(a, "/subscriptions/%.*s", STR_ARG(a->segment[1]));
    if (is_in_group && a->n_segments == 5) /* .../resources */
        return ask_format(a, "/subscriptions/%.*s/resourceGroups/%.*s", STR_ARG(a->segment[1]),
                          STR_ARG(a->segment[3]));
    return a->path;
}

static bool check_access(struct ask *a) {
    const struct arm_caller *c = &a->req->caller;
    bool ok = c->is_operator || a->route->guard == GUARD_OPEN;
    if (!ok && a->route->guard == GUARD_ROLE)
        ok = ask_may(a, a->route->action, a->path);
    if (!ok && a->route->guard == GUARD_LIST)
        ok = access_allows_below(a->arm->access, c->object_id, str_of(a->route->action),
                                 list_scope(a));
    if (ok)
        return true;
    return ask_fault(
        a, FAULT_AUTHORIZATION_FAILED, "",
        "The client '%.*s' with object id '%.*s' does not have authorization to perform action "
        "'%s' over scope '%.*s' or the scope is invalid. If access was recently granted, please "
        "refresh your credentials.",
        (int)size_min(c->app_id.n, 80), c->app_id.p ? c->app_id.p : "",
        (int)size_min(c->object_id.n, 80), c->object_id.p ? c->object_id.p : "", a->route->action,
        (int)size_min(a->path.n, 400), a->path.p);
}

/* The subscription and the group that the path goes through. Resource files need not name them. */
static bool check_parents(struct ask *a) {
    bool is_import =
        a->req->is_import && a->req->caller.is_operator && a->req->method == ARM_PUT_METHOD;
    if (a->n_segments < 2 || !str_ieq(a->segment[0], STR("subscriptions")) ||
        a->route->answer == scopes_subscription_put)
        return true;
    struct str s = a->segment[1];
    if (!world_subscription(a->arm, s) && is_import && name_is_valid(s, 1, RESOURCE_NAME_MAX))
        scopes_import_subscription(a, s);
    if (!world_subscription(a->arm, s))
        return ask_fault(a, FAULT_SUBSCRIPTION_NOT_FOUND, "",
                         "The subscription '%.*s' could not be found.", (int)size_min(s.n, 80),
                         s.p);
    if (a->n_segments <= 4 || !str_ieq(a->segment[2], STR("resourceGroups")))
        return true;
    if (!world_group(a->arm, s, a->segment[3]) && is_import)
        scopes_import_group(a, s, a->segment[3]);
    if (world_group(a->arm, s, a->segment[3]))
        return true;
    return ask_fault(a, FAULT_GROUP_NOT_FOUND, "", "Resource group '%.*s' could not be found.",
                     (int)size_min(a->segment[3].n, 80), a->segment[3].p);
}

/* Parents that were made for a resource file whose resource was then refused: as if never made. */
static void take_back(struct ask *a, size_t n_changes, size_t n_audits) {
    struct arm_changes *c = a->changes;
    for (size_t i = n_changes; i < c->n; i++) {
        enum row_type type;
        bool is_table = row_table_of(c->items[i].table, &type);
        assert(is_table && (type == ROW_SUBSCRIPTION || type == ROW_GROUP));
        row_free(table_take(&a->arm->tables[type], c->items[i].key));
    }
    c->n = n_changes;
    c->n_audits = n_audits;
}

void arm_handle(struct arm *arm, const struct arm_request *request, struct arm_answer *answer,
                struct arm_changes *changes) {
    struct arena memory;
    arm_answer_clear(answer);
    arena_init(&memory, NULL, 0, (size_t)1 << 30);
    struct ask a = {
        .arm = arm, .req = request, .out = answer, .changes = changes, .memory = &memory};
    size_t n_changes = changes->n, n_audits = changes->n_audits;
    arm->request = request;
    if (read_target(&a) && check_api_version(&a) && !roles_route(&a) && find_route(&a) &&
        check_names(&a) && check_access(&a) && body_read(&a) && check_parents(&a))
        a.route->answer(&a);
    if (answer->status >= 300)
        take_back(&a, n_changes, n_audits);
    arm->n_changes += changes->n - n_changes;
    arm->request = NULL;
    assert(answer->status >= 200 && answer->status < 500);
    assert(buf_status(&answer->body) == ST_OK);
    arena_destroy(&memory);
}
