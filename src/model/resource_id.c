#include "model/resource_id.h"

/* {} stands for a name. */
static const struct {
    struct str name, path;
} types[RESOURCE_TYPE_COUNT] = {
    [RESOURCE_SUBSCRIPTION] = {STR_INIT("Microsoft.Resources/subscriptions"),
                               STR_INIT("/subscriptions/{}")},
    [RESOURCE_RESOURCE_GROUP] = {STR_INIT("Microsoft.Resources/resourceGroups"),
                                 STR_INIT("/subscriptions/{}/resourceGroups/{}")},
    [RESOURCE_MODEL] = {STR_INIT("Weir.Capacity/models"),
                        STR_INIT("/providers/Weir.Capacity/models/{}")},
    [RESOURCE_LOCATION] = {STR_INIT("Weir.Capacity/locations"),
                           STR_INIT("/providers/Weir.Capacity/locations/{}")},
    [RESOURCE_POOL] = {STR_INIT("Weir.Capacity/pools"),
                       STR_INIT("/providers/Weir.Capacity/pools/{}")},
    [RESOURCE_BACKEND] = {STR_INIT("Weir.Capacity/pools/backends"),
                          STR_INIT("/providers/Weir.Capacity/pools/{}/backends/{}")},
    [RESOURCE_ACCOUNT] = {STR_INIT("Microsoft.CognitiveServices/accounts"),
                          STR_INIT("/subscriptions/{}/resourceGroups/{}/providers/"
                                   "Microsoft.CognitiveServices/accounts/{}")},
    [RESOURCE_DEPLOYMENT] = {STR_INIT("Microsoft.CognitiveServices/accounts/deployments"),
                             STR_INIT("/subscriptions/{}/resourceGroups/{}/providers/"
                                      "Microsoft.CognitiveServices/accounts/{}/deployments/{}")},
};

struct str resource_type_name(enum resource_type type) {
    assert((unsigned)type < RESOURCE_TYPE_COUNT);
    return types[type].name;
}

bool resource_type_of(struct str name, enum resource_type *type) {
    for (int t = 0; t < RESOURCE_TYPE_COUNT; t++) {
        if (str_ieq(name, types[t].name)) {
            *type = (enum resource_type)t;
            return true;
        }
    }
    return false;
}

/* Takes the next segment off the path, passing over empty ones. */
static bool next_segment(struct str *rest, struct str *segment) {
    while (str_cut(rest, '/', segment)) {
        if (segment->n > 0)
            return true;
    }
    return false;
}

static bool matches(struct str text, enum resource_type type, struct resource_id *id) {
    struct str pattern = types[type].path, want, have;
    *id = (struct resource_id){.type = type};
    while (next_segment(&pattern, &want)) {
        if (!next_segment(&text, &have))
            return false;
        if (str_eq(want, STR("{}")))
            id->name[id->n_names++] = have;
        else if (!str_ieq(want, have))
            return false;
    }
    return !next_segment(&text, &have);
}

static bool is_name(struct str s) {
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool is_alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!is_alnum && (i == 0 || !memchr("_.-", c, 3)))
            return false;
    }
    return s.n >= 1;
}

enum status resource_id_parse(struct str text, struct resource_id *id, struct problem *why) {
    if (text.n > RESOURCE_ID_MAX)
        return problem_set(why, ST_BAD_REQUEST, STR(""), "the id is longer than %d bytes",
                           RESOURCE_ID_MAX);
    struct resource_id found;
    int t = 0;
    while (t < RESOURCE_TYPE_COUNT && !matches(text, (enum resource_type)t, &found))
        t++;
    if (t == RESOURCE_TYPE_COUNT || text.p[0] != '/')
        return problem_set(why, ST_BAD_REQUEST, STR(""),
                           "no resource has an id like \"%.*s\"; an account's, for one, is %s",
                           (int)size_min(text.n, 80), text.p ? text.p : "",
                           types[RESOURCE_ACCOUNT].path.p);
    for (int i = 0; i < found.n_names; i++) {
        /* A model's name is "format.name.version", and a version may be missing: "OpenAI.x.". */
        size_t longest = found.type == RESOURCE_MODEL ? 3 * RESOURCE_NAME_MAX : RESOURCE_NAME_MAX;
        if (!is_name(found.name[i]) || found.name[i].n > longest)
            return problem_set(why, ST_BAD_REQUEST, STR(""),
                               "\"%.*s\" is no name: 1 to 64 letters, digits, '_', '.', '-', the "
                               "first a letter or digit",
                               (int)size_min(found.name[i].n, 80), found.name[i].p);
    }
    *id = found;
    return ST_OK;
}

struct str resource_id_key(struct str text, char *out) {
    size_t n = 0;
    struct str segment;
    while (next_segment(&text, &segment)) {
        assert(n + 1 + segment.n <= RESOURCE_ID_MAX + 1);
        out[n++] = '/';
        for (size_t i = 0; i < segment.n; i++) {
            char c = segment.p[i];
            out[n++] = c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
        }
    }
    return (struct str){out, n};
}
