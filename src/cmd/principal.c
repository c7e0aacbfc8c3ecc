/* principal.c - `weir principal`: who may ask a running server for tokens. */
#include "cmd/cmd.h"
#include "cmd/remote.h"
#include "json/json.h"

#include <stdio.h>
#include <stdlib.h>

#define PRINCIPALS "/providers/Weir.Capacity/principals"

/* --- create --- */

/* Prints what the caller needs: this is the only time that the secret can be
 * seen. */
static enum status print_created(const struct remote_answer *a, bool as_json, struct problem *why) {
    struct json_doc *doc = json_doc_new();
    struct json_value root, p;
    enum status st = json_parse(doc, a->body.p, a->body.len, &root, why);
    if (st == ST_OK && json_get(root, STR("properties"), &p)) {
        struct str id = json_get_str(p, STR("appId")), object = json_get_str(p, STR("objectId")),
                   secret = json_get_str(p, STR("secret"));
        if (as_json)
            printf("{\"appId\":\"%.*s\",\"objectId\":\"%.*s\",\"password\":\"%.*s\"}\n",
                   STR_ARG(id), STR_ARG(object), STR_ARG(secret));
        else
            printf("  application  %.*s\n  object       %.*s\n  secret       %.*s\n"
                   "The secret is shown once. Roles are assigned to the object.\n",
                   STR_ARG(id), STR_ARG(object), STR_ARG(secret));
    }
    json_doc_free(doc);
    return st;
}

/* One role at one scope for a new principal. */
static enum status assign(struct remote *r, const struct remote_answer *created, const char *role,
                          const char *scope, struct problem *why) {
    struct json_doc *doc = json_doc_new();
    struct json_value root, p, v;
    struct buf target, body;
    struct remote_answer roles = {0}, answer = {0};
    char object[64] = "", definition[512] = "";
    buf_init(&target, 8 << 10);
    buf_init(&body, 8 << 10);
    enum status st = json_parse(doc, created->body.p, created->body.len, &root, why);
    if (st == ST_OK && json_get(root, STR("properties"), &p))
        snprintf(object, sizeof object, "%.*s", STR_ARG(json_get_str(p, STR("objectId"))));
    buf_printf(&target,
               "%s/providers/Microsoft.Authorization/"
               "roleDefinitions?api-version=2022-04-01"
               "&$filter=roleName%%20eq%%20'",
               scope);
    for (const char *c = role; *c; c++)
        *c == ' ' ? buf_lit(&target, "%20") : buf_char(&target, *c);
    buf_char(&target, '\'');
    if (st == ST_OK)
        st = remote_call(r, "GET", buf_view(&target), STR(""), &roles, why);
    if (st == ST_OK && roles.status != 200)
        st = remote_refusal(&roles, str_of(role), why);
    if (st == ST_OK)
        st = json_parse(doc, roles.body.p, roles.body.len, &root, why);
    if (st == ST_OK && json_get(root, STR("value"), &v)) {
        struct json_iter it;
        json_items(&it, v);
        if (json_next(&it, &p))
            snprintf(definition, sizeof definition, "%.*s", STR_ARG(json_get_str(p, STR("id"))));
        else
            st = problem_set(why, ST_NOT_FOUND, str_of(role), "there is no role of this name");
    }
    if (st == ST_OK) {
        /* The assignment's own name is the principal's object id: one role at one
     * scope each. */
        buf_clear(&target);
        buf_printf(&target,
                   "%s/providers/Microsoft.Authorization/roleAssignments/"
                   "%s?api-version=2022-04-01",
                   scope, object);
        buf_printf(&body,
                   "{\"properties\":{\"roleDefinitionId\":\"%s\",\"principalId\":\"%s\","
                   "\"principalType\":\"ServicePrincipal\"}}",
                   definition, object);
        st = remote_call(r, "PUT", buf_view(&target), buf_view(&body), &answer, why);
        if (st == ST_OK && answer.status >= 300)
            st = remote_refusal(&answer, str_of(scope), why);
    }
    remote_answer_destroy(&roles);
    remote_answer_destroy(&answer);
    buf_destroy(&target);
    buf_destroy(&body);
    json_doc_free(doc);
    return st;
}

struct wish {
    const char *id, *name, *role, *scope;
    bool is_operator, as_json;
};

static enum status create(struct remote *r, const struct wish *w, struct problem *why) {
    struct buf target, body;
    struct json_writer json;
    struct remote_answer a = {0};
    buf_init(&target, 1 << 10);
    buf_init(&body, 8 << 10);
    buf_printf(&target, PRINCIPALS "/%s", w->id);
    json_writer_init(&json, &body, 0);
    json_begin_object(&json);
    json_key(&json, STR("properties"));
    json_begin_object(&json);
    json_key(&json, STR("displayName"));
    json_str_value(&json, str_of(w->name));
    json_key(&json, STR("isOperator"));
    json_bool_value(&json, w->is_operator);
    json_end_object(&json);
    json_end_object(&json);
    enum status st = remote_call(r, "PUT", buf_view(&target), buf_view(&body), &a, why);
    if (st == ST_OK && a.status >= 300)
        st = remote_refusal(&a, str_of(w->id), why);
    if (st == ST_OK && w->role[0])
        st = assign(r, &a, w->role, w->scope, why);
    if (st == ST_OK)
        st = print_created(&a, w->as_json, why);
    remote_answer_destroy(&a);
    buf_destroy(&target);
    buf_destroy(&body);
    return st;
}

/* --- list, delete --- */

static enum status list(struct remote *r, struct problem *why) {
    struct remote_answer a = {0};
    struct json_doc *doc = json_doc_new();
    struct json_value root, value, item, p, v;
    struct json_iter it;
    enum status st = remote_call(r, "GET", STR(PRINCIPALS), STR(""), &a, why);
    if (st == ST_OK && a.status != 200)
        st = remote_refusal(&a, STR("principals"), why);
    if (st == ST_OK)
        st = json_parse(doc, a.body.p, a.body.len, &root, why);
    if (st == ST_OK && json_get(root, STR("value"), &value)) {
        json_items(&it, value);
        while (json_next(&it, &item)) {
            if (json_get(item, STR("properties"), &p))
                printf("%-36.*s  %-36.*s  %-9s  %.*s\n", STR_ARG(json_get_str(p, STR("appId"))),
                       STR_ARG(json_get_str(p, STR("objectId"))),
                       json_get(p, STR("isOperator"), &v) && json_bool(v) ? "operator" : "",
                       STR_ARG(json_get_str(p, STR("displayName"))));
        }
    }
    json_doc_free(doc);
    remote_answer_destroy(&a);
    return st;
}

static enum status delete_one(struct remote *r, const char *id, struct problem *why) {
    struct buf target;
    struct remote_answer a = {0};
    buf_init(&target, 1 << 10);
    buf_printf(&target, PRINCIPALS "/%s", id);
    enum status st = remote_call(r, "DELETE", buf_view(&target), STR(""), &a, why);
    if (st == ST_OK && a.status >= 300)
        st = remote_refusal(&a, str_of(id), why);
    if (st == ST_OK && a.status == 204)
        st = problem_set(why, ST_NOT_FOUND, str_of(id), "there is no such principal");
    remote_answer_destroy(&a);
    buf_destroy(&target);
    return st;
}

static enum status rotate_keys(struct remote *r, struct problem *why) {
    struct remote_answer a = {0};
    struct json_doc *doc = json_doc_new();
    struct json_value root;
    enum status st = remote_call(r, "POST", STR("/providers/Weir.Capacity/tokenKeys/rotate"),
                                 STR("{}"), &a, why);
    if (st == ST_OK && a.status != 200)
        st = remote_refusal(&a, STR("tokenKeys"), why);
    if (st == ST_OK)
        st = json_parse(doc, a.body.p, a.body.len, &root, why);
    if (st == ST_OK)
        printf("tokens are signed by %.*s from now on; those by the key before it stay good until "
               "they end\n",
               STR_ARG(json_get_str(root, STR("keyId"))));
    json_doc_free(doc);
    remote_answer_destroy(&a);
    return st;
}

int cmd_principal(int argc, char **argv) {
    struct wish w = {.id = "", .name = "", .role = "", .scope = ""};
    const char *data_dir = "weir-data", *operator_file = "";
    char path[4096];
    struct problem why = {0};
    struct remote *r = NULL;
    const struct option_row rows[] = {
        {"name", OPTION_TEXT, &w.name, 0, 0, "TEXT", "create: a name for people [the id]"},
        {"operator-rights", OPTION_FLAG, &w.is_operator, 0, 0, NULL,
         "create: may do everything, as the first principal may"},
        {"role", OPTION_TEXT, &w.role, 0, 0, "ROLE",
         "create: assign this built-in role, as \"Cognitive Services "
         "Contributor\""},
        {"scope", OPTION_TEXT, &w.scope, 0, 0, "ID",
         "create: where the role holds: the id of a subscription, resource group "
         "or account"},
        {"json", OPTION_FLAG, &w.as_json, 0, 0, NULL, "create: print one JSON line"},
        {"data-dir", OPTION_TEXT, &data_dir, 0, 0, "FOLDER",
         "the server's data folder, which tells where it is [weir-data]"},
        {"operator", OPTION_TEXT, &operator_file, 0, 0, "FILE",
         "an operator.json from elsewhere than the data folder"},
        {.name = NULL},
    };
    int n = options_parse(rows,
                          "usage: weir principal create ID [OPTIONS]\n"
                          "       weir principal list [OPTIONS]\n"
                          "       weir principal delete ID [OPTIONS]\n"
                          "       weir principal rotate-keys [OPTIONS]\n\n"
                          "Service principals of a running server: an application's id, and "
                          "secrets "
                          "for tokens.\nTo create one that is there already gives it one more "
                          "secret. rotate-keys replaces the key that signs tokens.\n",
                          argc, argv);
    if (n < 0)
        return options_exit(n);
    bool is_create = n == 2 && strcmp(argv[1], "create") == 0;
    bool is_delete = n == 2 && strcmp(argv[1], "delete") == 0;
    bool is_list = n == 1 && strcmp(argv[1], "list") == 0;
    bool is_rotate = n == 1 && strcmp(argv[1], "rotate-keys") == 0;
    if (!is_create && !is_delete && !is_list && !is_rotate) {
        fprintf(stderr, "weir principal: expected create ID, list, delete ID or rotate-keys\n");
        return EXIT_USAGE;
    }
    if (is_create && w.role[0] && !w.scope[0]) {
        fprintf(stderr, "weir principal: --role needs --scope\n");
        return EXIT_USAGE;
    }
    w.id = n == 2 ? argv[2] : "";
    w.name = w.name[0] ? w.name : w.id;
    remote_operator_file(data_dir, operator_file, path, sizeof path);
    enum status st = remote_open(path, &r, &why);
    if (st == ST_OK)
        st = is_create   ? create(r, &w, &why)
             : is_list   ? list(r, &why)
             : is_rotate ? rotate_keys(r, &why)
                         : delete_one(r, w.id, &why);
    remote_close(r);
    return st == ST_OK ? EXIT_OK : fail_with(&why);
}
