#include "call/route.h"

#include "http/target.h"

static const struct {
    struct str name, title, path;
} operations[] = {
    [OP_CHAT] = {STR_INIT("chat.completions"), STR_INIT("ChatCompletions_Create"),
                 STR_INIT("/chat/completions")},
    [OP_COMPLETIONS] = {STR_INIT("completions"), STR_INIT("Completions_Create"),
                        STR_INIT("/completions")},
    [OP_EMBEDDINGS] = {STR_INIT("embeddings"), STR_INIT("Embeddings_Create"),
                       STR_INIT("/embeddings")},
    [OP_RESPONSES] = {STR_INIT("responses"), STR_INIT("Responses_Create"), STR_INIT("/responses")},
    [OP_MODELS] = {STR_INIT("models"), STR_INIT("Models_List"), STR_INIT("/models")},
    [OP_DEPLOYMENTS] = {STR_INIT("deployments"), STR_INIT("Deployments_List"),
                        STR_INIT("/deployments")},
};

bool operation_is_list(enum operation op) {
    return op == OP_MODELS || op == OP_DEPLOYMENTS;
}

struct str operation_name(enum operation op) {
    return operations[op].name;
}

struct str operation_title(enum operation op) {
    return operations[op].title;
}

struct str operation_path(enum operation op) {
    return operations[op].path;
}

/* The segments of a path; no route of ours has more. */
struct segments {
    struct str at[8];
    int n;
};

static bool cut(struct str path, struct segments *s) {
    struct str segment;
    while (target_segment(&path, &segment)) {
        if (s->n == (int)ARRAY_LEN(s->at))
            return false;
        s->at[s->n++] = segment;
    }
    return true;
}

/* Whether the segments from `i` on are these words exactly. */
static bool rest_is(const struct segments *s, int i, struct str first, struct str second) {
    int n = s->n - i;
    return n == 1 + (second.n > 0) && str_eq(s->at[i], first) &&
           (second.n == 0 || str_eq(s->at[i + 1], second));
}

static bool operation_at(const struct segments *s, int i, enum operation *op) {
    struct str none = {NULL, 0};
    if (i < s->n && rest_is(s, i, STR("chat"), STR("completions")))
        *op = OP_CHAT;
    else if (i < s->n && rest_is(s, i, STR("completions"), none))
        *op = OP_COMPLETIONS;
    else if (i < s->n && rest_is(s, i, STR("embeddings"), none))
        *op = OP_EMBEDDINGS;
    else if (i < s->n && rest_is(s, i, STR("responses"), none))
        *op = OP_RESPONSES;
    else if (i < s->n && rest_is(s, i, STR("models"), none))
        *op = OP_MODELS;
    else
        return false;
    return true;
}

/* The tail after the style's prefix: an operation, or a deployment and then one. */
static bool find(const struct segments *s, int i, struct str *deployment, enum operation *op) {
    if (operation_at(s, i, op))
        return true;
    if (i >= s->n || !str_eq(s->at[i], STR("deployments")))
        return false;
    if (i + 1 == s->n) {
        *op = OP_DEPLOYMENTS;
        return true;
    }
    *deployment = s->at[i + 1];
    return operation_at(s, i + 2, op) && *op != OP_MODELS && *op != OP_RESPONSES;
}

enum status route_parse(struct str method, struct str target, struct route *out,
                        struct problem *why) {
    struct str path, query, deployment = {NULL, 0};
    struct segments s = {.n = 0};
    if (!target_split(target, &path, &query) || !cut(path, &s) || s.n == 0)
        return problem_set(why, ST_NOT_FOUND, STR(""), "Resource not found");
    int i = 0;
    out->account = (struct str){NULL, 0};
    if (str_eq(s.at[0], STR("accounts")) && s.n > 2) {
        out->account = s.at[1];
        i = 2;
    }
    if (str_eq(s.at[i], STR("v1"))) {
        out->style = API_OPENAI;
        i += 1;
    } else if (str_eq(s.at[i], STR("openai")) && s.n > i + 1 && str_eq(s.at[i + 1], STR("v1"))) {
        out->style = API_AZURE_V1;
        i += 2;
    } else if (str_eq(s.at[i], STR("openai"))) {
        out->style = API_AZURE_CLASSIC;
        i += 1;
    } else {
        return problem_set(why, ST_NOT_FOUND, STR(""), "Resource not found");
    }
    if (!find(&s, i, &deployment, &out->op))
        return problem_set(why, ST_NOT_FOUND, STR(""), "Resource not found");
    /* /openai/completions without a deployment is no path of the service; models and responses are. */
    if (out->style == API_AZURE_CLASSIC && !deployment.p && !operation_is_list(out->op) &&
        out->op != OP_RESPONSES)
        return problem_set(why, ST_NOT_FOUND, STR(""), "Resource not found");
    out->api_version = query_get(query, STR("api-version"));
    if (out->style == API_AZURE_CLASSIC && out->api_version.n == 0)
        return problem_set(why, ST_NOT_FOUND, STR("api-version"),
                           "Resource not found: this path needs the query parameter api-version");
    out->deployment = (struct str){NULL, 0};
    if (deployment.p) {
        if (deployment.n > sizeof out->name ||
            !target_decode(deployment, false, out->name, &out->deployment))
            return problem_set(why, ST_NO_DEPLOYMENT, STR(""), "%s",
                               status_info(ST_NO_DEPLOYMENT)->text.p);
        /* Not a view into the target: that may go before the call does. */
        if (out->deployment.p != out->name)
            memcpy(out->name, out->deployment.p, out->deployment.n);
        out->deployment.p = out->name;
    }
    bool is_get = str_eq(method, STR("GET")) || str_eq(method, STR("HEAD"));
    if (operation_is_list(out->op) ? !is_get : !str_eq(method, STR("POST")))
        return problem_set(why, ST_METHOD_NOT_ALLOWED, STR(""), "This path takes %s.",
                           operation_is_list(out->op) ? "GET" : "POST");
    return ST_OK;
}
