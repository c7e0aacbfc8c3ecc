#include "arm/access.h"

#include "base/buf.h"
#include "base/list.h"
#include "model/resource_id.h"

#include <stdlib.h>

/*
 * The eight roles that clients know (ARM contract, section 8, has names and GUIDs). What they may do
 * is written after Azure's public descriptions, as far as Weir has the operation; the requests for
 * quota, which are our own, go to whoever may create deployments.
 */
static const struct str all[] = {STR_INIT("*")};
static const struct str all_reads[] = {STR_INIT("*/read")};
static const struct str contributor_not[] = {
    STR_INIT("Microsoft.Authorization/*/delete"),
    STR_INIT("Microsoft.Authorization/*/write"),
    STR_INIT("Microsoft.Authorization/elevateAccess/action"),
};
static const struct str service_contributor[] = {
    STR_INIT("Microsoft.CognitiveServices/*"),
    STR_INIT("Weir.Capacity/quotaRequests/*"),
    STR_INIT("Weir.Capacity/locations/quotas/read"),
    STR_INIT("Microsoft.Authorization/*/read"),
    STR_INIT("Microsoft.Insights/metrics/read"),
    STR_INIT("Microsoft.Insights/metricDefinitions/read"),
    STR_INIT("Microsoft.Resources/subscriptions/read"),
    STR_INIT("Microsoft.Resources/subscriptions/resourceGroups/read"),
    STR_INIT("Microsoft.Resources/subscriptions/providers/read"),
};
static const struct str service_user[] = {
    STR_INIT("Microsoft.CognitiveServices/*/read"),
    STR_INIT("Microsoft.CognitiveServices/accounts/listKeys/action"),
    STR_INIT("Microsoft.Insights/metrics/read"),
    STR_INIT("Microsoft.Insights/metricDefinitions/read"),
    STR_INIT("Microsoft.Resources/subscriptions/read"),
    STR_INIT("Microsoft.Resources/subscriptions/resourceGroups/read"),
};
static const struct str service_data[] = {STR_INIT("Microsoft.CognitiveServices/*")};
static const struct str openai_user[] = {
    STR_INIT("Microsoft.CognitiveServices/*/read"),
    STR_INIT("Microsoft.Authorization/roleAssignments/read"),
    STR_INIT("Microsoft.Authorization/roleDefinitions/read"),
};
static const struct str openai_user_data[] = {
    STR_INIT("Microsoft.CognitiveServices/accounts/OpenAI/*/read"),
    STR_INIT("Microsoft.CognitiveServices/accounts/OpenAI/deployments/*/action"),
    STR_INIT("Microsoft.CognitiveServices/accounts/OpenAI/engines/*/action"),
    STR_INIT("Microsoft.CognitiveServices/accounts/OpenAI/responses/*"),
};
static const struct str openai_contributor[] = {
    STR_INIT("Microsoft.CognitiveServices/*/read"),
    STR_INIT("Microsoft.CognitiveServices/accounts/deployments/write"),
    STR_INIT("Microsoft.CognitiveServices/accounts/deployments/delete"),
    STR_INIT("Weir.Capacity/quotaRequests/*"),
    STR_INIT("Weir.Capacity/locations/quotas/read"),
    STR_INIT("Microsoft.Authorization/roleAssignments/read"),
    STR_INIT("Microsoft.Authorization/roleDefinitions/read"),
};
static const struct str openai_data[] = {
    STR_INIT("Microsoft.CognitiveServices/accounts/OpenAI/*"),
};
static const struct str usages_reader[] = {
    STR_INIT("Microsoft.CognitiveServices/locations/usages/read"),
    STR_INIT("Weir.Capacity/locations/quotas/read"),
};

#define ACTIONS(list) .actions = (list), .n_actions = ARRAY_LEN(list)
#define NOT_ACTIONS(list) .not_actions = (list), .n_not_actions = ARRAY_LEN(list)
#define DATA_ACTIONS(list) .data_actions = (list), .n_data_actions = ARRAY_LEN(list)

/* clang-format off */
static const struct access_role roles[] = {
    {.id = STR_INIT("8e3af657-a8ff-443c-a75c-2fe8c4bcb635"), .name = STR_INIT("Owner"),
     .description = STR_INIT("Manages everything, and who else may."),
     ACTIONS(all)},
    {.id = STR_INIT("b24988ac-6180-42a0-ab88-20f7382dd24c"), .name = STR_INIT("Contributor"),
     .description = STR_INIT("Manages everything but who else may."),
     ACTIONS(all), NOT_ACTIONS(contributor_not)},
    {.id = STR_INIT("acdd72a7-3385-48ef-bd42-f606fba81ae7"), .name = STR_INIT("Reader"),
     .description = STR_INIT("Reads everything but keys, and changes nothing."),
     ACTIONS(all_reads)},
    {.id = STR_INIT("25fbc0a9-bd7c-42a3-aa1a-3b75d497ee68"), .name = STR_INIT("Cognitive Services Contributor"),
     .description = STR_INIT("Manages accounts, their keys and their deployments."),
     ACTIONS(service_contributor)},
    {.id = STR_INIT("a97b65f3-24c7-4388-baec-2e87135dc908"), .name = STR_INIT("Cognitive Services User"),
     .description = STR_INIT("Reads accounts and their keys, and calls every deployment."),
     ACTIONS(service_user), DATA_ACTIONS(service_data)},
    {.id = STR_INIT("5e0bd9bd-7b93-4f28-af87-19fc36ad61bd"), .name = STR_INIT("Cognitive Services OpenAI User"),
     .description = STR_INIT("Reads accounts but not their keys, and calls every deployment."),
     ACTIONS(openai_user), DATA_ACTIONS(openai_user_data)},
    {.id = STR_INIT("a001fd3d-188f-4b5d-821b-7da978bf7442"), .name = STR_INIT("Cognitive Services OpenAI Contributor"),
     .description = STR_INIT("Manages deployments and calls them; accounts and keys are for others."),
     ACTIONS(openai_contributor), DATA_ACTIONS(openai_data)},
    {.id = STR_INIT("bba48692-92b0-4667-a9ad-c31c7b334ac2"), .name = STR_INIT("Cognitive Services Usages Reader"),
     .description = STR_INIT("Reads quota and its use, and nothing else."),
     ACTIONS(usages_reader)},
};
/* clang-format on */

const struct access_role *access_role_at(size_t position) {
    return position < ARRAY_LEN(roles) ? &roles[position] : NULL;
}

const struct access_role *access_role_find(struct str id) {
    size_t from = id.n;
    while (from > 0 && id.p[from - 1] != '/')
        from--;
    struct str guid = str_skip(id, from);
    static const struct str parent = STR_INIT("/roleDefinitions/");
    if (from > 0 &&
        (from < parent.n || !str_ieq((struct str){id.p + from - parent.n, parent.n}, parent)))
        return NULL;
    for (size_t i = 0; i < ARRAY_LEN(roles); i++) {
        if (str_ieq(guid, roles[i].id))
            return &roles[i];
    }
    return NULL;
}

const struct access_role *access_role_named(struct str name) {
    for (size_t i = 0; i < ARRAY_LEN(roles); i++) {
        if (str_ieq(name, roles[i].name))
            return &roles[i];
    }
    return NULL;
}

static char lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

/* Whether `pattern`, in which each * stands for any text, is the whole of `s`. Goes back to the last
 * star only, so the time is at most the product of the lengths. */
static bool matches(struct str pattern, struct str s) {
    size_t p = 0, i = 0, star = SIZE_MAX, resume = 0;
    while (i < s.n) {
        if (p < pattern.n && pattern.p[p] == '*') {
            star = p++;
            resume = i;
        } else if (p < pattern.n && lower(pattern.p[p]) == lower(s.p[i])) {
            p++;
            i++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            i = ++resume;
        } else {
            return false;
        }
    }
    while (p < pattern.n && pattern.p[p] == '*')
        p++;
    return p == pattern.n;
}

static bool matches_any(const struct str *patterns, size_t n, struct str s) {
    for (size_t i = 0; i < n; i++) {
        if (matches(patterns[i], s))
            return true;
    }
    return false;
}

bool access_role_allows(const struct access_role *role, struct str action, bool is_data) {
    if (is_data)
        return matches_any(role->data_actions, role->n_data_actions, action) &&
               !matches_any(role->not_data_actions, role->n_not_data_actions, action);
    return matches_any(role->actions, role->n_actions, action) &&
           !matches_any(role->not_actions, role->n_not_actions, action);
}

bool access_is_within(struct str scope, struct str above) {
    if (above.n > 0 && above.p[above.n - 1] == '/')
        above.n--; /* "/" is above all */
    return str_istarts(scope, above) && (scope.n == above.n || scope.p[above.n] == '/');
}

/* ---- assignments ---- */

struct holder {
    char *id; /* owned, lower case */
    struct list assignments;
};

struct assignment {
    struct access_assignment a; /* first; its texts are owned */
    char *key;                  /* owned; the id in lower case */
    struct holder *holder;
    struct list of_holder;
};

struct access {
    struct map by_id, by_principal;
    struct assignment **sorted; /* owned; by key */
    size_t n, capacity;
};

static struct str lower_dup(struct str s) {
    char *copy = str_dup(s);
    for (size_t i = 0; i < s.n; i++)
        copy[i] = lower(copy[i]);
    return (struct str){copy, s.n};
}

/* Looks up by a text from outside, which may be of any length. */
static void *find_lower(const struct map *m, struct str s) {
    char low[RESOURCE_ID_MAX];
    if (s.n > sizeof low)
        return NULL;
    for (size_t i = 0; i < s.n; i++)
        low[i] = lower(s.p[i]);
    return map_get(m, (struct str){low, s.n});
}

struct access *access_new(const struct siphash_key *key) {
    struct access *a = xcalloc(1, sizeof *a);
    map_init(&a->by_id, key);
    map_init(&a->by_principal, key);
    return a;
}

static struct str kept(struct str s) {
    return (struct str){str_dup(s), s.n};
}

static void assignment_free(struct assignment *x) {
    free((char *)x->a.id.p);
    free((char *)x->a.principal.p);
    free((char *)x->a.scope.p);
    free(x->key);
    free(x);
}

void access_free(struct access *a) {
    if (!a)
        return;
    for (size_t i = 0; i < a->n; i++)
        assignment_free(a->sorted[i]);
    size_t at = 0;
    struct str key;
    void *value;
    while (map_next(&a->by_principal, &at, &key, &value)) {
        free(((struct holder *)value)->id);
        free(value);
    }
    map_destroy(&a->by_principal);
    map_destroy(&a->by_id);
    free(a->sorted);
    free(a);
}

static struct holder *holder_of(struct access *a, struct str principal) {
    struct holder *h = find_lower(&a->by_principal, principal);
    if (h)
        return h;
    h = xcalloc(1, sizeof *h);
    struct str key = lower_dup(principal);
    h->id = (char *)key.p;
    list_init(&h->assignments);
    map_put(&a->by_principal, key, h);
    return h;
}

static struct str trim_scope(struct str scope) {
    while (scope.n > 1 && scope.p[scope.n - 1] == '/')
        scope.n--;
    return scope;
}

static bool is_same(const struct access_assignment *a, const struct access_assignment *b) {
    return str_ieq(a->principal, b->principal) && a->role == b->role && str_ieq(a->scope, b->scope);
}

/* Where `key` stands in the sorted list, or belongs. */
static size_t position_of(const struct access *a, struct str key) {
    size_t lo = 0, hi = a->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (str_cmp(str_of(a->sorted[mid]->key), key) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

enum access_outcome access_assign(struct access *a, const struct access_assignment *what) {
    struct access_assignment w = *what;
    w.scope = trim_scope(w.scope);
    assert(w.id.n <= RESOURCE_ID_MAX && w.principal.n <= RESOURCE_ID_MAX && w.role);
    const struct assignment *old = find_lower(&a->by_id, w.id);
    if (old)
        return is_same(&old->a, &w) ? ACCESS_DONE : ACCESS_CHANGED;
    struct holder *h = holder_of(a, w.principal);
    LIST_EACH (&h->assignments, it) {
        if (is_same(&CONTAINER_OF(it, struct assignment, of_holder)->a, &w))
            return ACCESS_EXISTS;
    }
    struct assignment *x = xcalloc(1, sizeof *x);
    struct str key = lower_dup(w.id);
    x->a = (struct access_assignment){kept(w.id), kept(w.principal), w.role, kept(w.scope)};
    x->key = (char *)key.p;
    x->holder = h;
    list_append(&h->assignments, &x->of_holder);
    map_put(&a->by_id, key, x);
    if (a->n == a->capacity) {
        a->capacity = a->capacity ? 2 * a->capacity : 16;
        a->sorted = xrealloc(a->sorted, a->capacity * sizeof(struct assignment *));
    }
    size_t at = position_of(a, key);
    memmove(&a->sorted[at + 1], &a->sorted[at], (a->n - at) * sizeof(struct assignment *));
    a->sorted[at] = x;
    a->n++;
    return ACCESS_DONE;
}

static void remove_at(struct access *a, size_t at) {
    struct assignment *x = a->sorted[at];
    a->n--;
    memmove(&a->sorted[at], &a->sorted[at + 1], (a->n - at) * sizeof(struct assignment *));
    map_remove(&a->by_id, str_of(x->key));
    list_remove(&x->of_holder);
    if (list_is_empty(&x->holder->assignments)) {
        map_remove(&a->by_principal, str_of(x->holder->id));
        free(x->holder->id);
        free(x->holder);
    }
    assignment_free(x);
}

bool access_unassign(struct access *a, struct str id) {
    const struct assignment *x = find_lower(&a->by_id, id);
    if (!x)
        return false;
    remove_at(a, position_of(a, str_of(x->key)));
    return true;
}

static bool is_within(const struct assignment *x, struct str scope) {
    return access_is_within(x->a.scope, scope);
}

static bool is_of(const struct assignment *x, struct str principal) {
    return str_ieq(x->a.principal, principal);
}

/* Removes those of which `is_gone` is true, and says which. */
static size_t forget(struct access *a, bool (*is_gone)(const struct assignment *x, struct str of),
                     struct str of, void (*each)(void *arg, struct str id), void *arg) {
    size_t n = 0;
    for (size_t i = a->n; i-- > 0;) {
        if (!is_gone(a->sorted[i], of))
            continue;
        if (each)
            each(arg, a->sorted[i]->a.id);
        remove_at(a, i);
        n++;
    }
    return n;
}

size_t access_forget(struct access *a, struct str scope, void (*each)(void *arg, struct str id),
                     void *arg) {
    return forget(a, is_within, trim_scope(scope), each, arg);
}

size_t access_forget_principal(struct access *a, struct str principal,
                               void (*each)(void *arg, struct str id), void *arg) {
    return forget(a, is_of, principal, each, arg);
}

const struct access_assignment *access_find(const struct access *a, struct str id) {
    const struct assignment *x = find_lower(&a->by_id, id);
    return x ? &x->a : NULL;
}

const struct access_assignment *access_next(const struct access *a, size_t *at) {
    return *at < a->n ? &a->sorted[(*at)++]->a : NULL;
}

/* ---- judgement ---- */

struct access *access_copy(const struct access *a, const struct siphash_key *key) {
    struct access *copy = access_new(key);
    const struct access_assignment *x;
    for (size_t at = 0; (x = access_next(a, &at)) != NULL;) {
        enum access_outcome done = access_assign(copy, x);
        assert(done == ACCESS_DONE);
        (void)done;
    }
    return copy;
}

static bool allows(const struct access *a, struct str principal, struct str action,
                   struct str scope, bool is_data, bool or_below) {
    const struct holder *h = find_lower(&a->by_principal, principal);
    if (!h)
        return false;
    scope = trim_scope(scope);
    LIST_EACH (&h->assignments, it) {
        const struct access_assignment *x = &CONTAINER_OF(it, struct assignment, of_holder)->a;
        bool is_near =
            access_is_within(scope, x->scope) || (or_below && access_is_within(x->scope, scope));
        if (is_near && access_role_allows(x->role, action, is_data))
            return true;
    }
    return false;
}

bool access_allows(const struct access *a, struct str principal, struct str action,
                   struct str scope) {
    return allows(a, principal, action, scope, false, false);
}

bool access_allows_data(const struct access *a, struct str principal, struct str action,
                        struct str scope) {
    return allows(a, principal, action, scope, true, false);
}

bool access_allows_below(const struct access *a, struct str principal, struct str action,
                         struct str scope) {
    return allows(a, principal, action, scope, false, true);
}

bool access_is_member(const struct access *a, struct str principal, struct str scope) {
    const struct holder *h = find_lower(&a->by_principal, principal);
    if (!h)
        return false;
    scope = trim_scope(scope);
    LIST_EACH (&h->assignments, it) {
        const struct access_assignment *x = &CONTAINER_OF(it, struct assignment, of_holder)->a;
        if (access_is_within(scope, x->scope) || access_is_within(x->scope, scope))
            return true;
    }
    return false;
}
