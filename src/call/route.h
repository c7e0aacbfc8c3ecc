/* route.h - which operation on which deployment a request target means. */
#ifndef CALL_ROUTE_H
#define CALL_ROUTE_H

#include "base/status.h"

enum operation {
    OP_CHAT,
    OP_COMPLETIONS,
    OP_EMBEDDINGS,
    OP_RESPONSES,
    OP_MODELS,      /* the list of models, as AzureOpenAI's and OpenAI's models.list ask for it */
    OP_DEPLOYMENTS, /* the old list of deployments */
};

/* Inference contract, section 1. Each may stand behind /accounts/{name}, which names the account for
 * callers that have neither a host name nor a key of it. */
enum api_style {
    API_AZURE_CLASSIC, /* /openai/deployments/{d}/chat/completions?api-version=V */
    API_AZURE_V1,      /* /openai/v1/chat/completions */
    API_OPENAI,        /* /v1/chat/completions */
};

enum { ROUTE_NAME_MAX = 128 };

struct route {
    enum operation op;
    enum api_style style;
    struct str deployment; /* from the path, decoded into `name`; {NULL, 0}: the body's `model` */
    struct str
        account; /* from the prefix /accounts/{name}, a view into the target; {NULL, 0}: none */
    struct str api_version; /* a view into the target; {NULL, 0} when not given */
    char name[ROUTE_NAME_MAX];
};

/*
 * ST_NOT_FOUND for an unknown path and for a classic one without api-version, as the service
 * answers; ST_METHOD_NOT_ALLOWED. The views in `out` live as long as the target and `out`.
 */
enum status route_parse(struct str method, struct str target, struct route *out,
                        struct problem *why) MUST_USE;

bool operation_is_list(enum operation op);

/* "chat.completions", for logs. */
struct str operation_name(enum operation op);

/* "ChatCompletions_Create", as the texts of refusals name it. */
struct str operation_title(enum operation op);

/* "/chat/completions": the path's end, the same in every style. */
struct str operation_path(enum operation op);

#endif
