/* roles.c - role assignments and definitions, at whatever scope (Microsoft.Authorization). */
#include "arm/arm_private.h"

/* Role assignments of a subscription and of what is in it, as in Azure (from memory of its limits). */
enum { ASSIGNMENTS_MAX = 4000 };

static const struct str provider = STR_INIT("Microsoft.Authorization");

/* The path below ".../providers/Microsoft.Authorization", and the scope before it. */
struct where {
    struct str scope; /* without a slash at its end; "" is the root */
    struct str kind;  /* "roleAssignments" or "roleDefinitions" */
    struct str name;  /* "" for the list */
};

static bool find_where(struct ask *a, struct where *out) {
    struct buf scope;
    int at = a->n_segments - 2;
    while (at >= 0 &&
           !(str_ieq(a->segment[at], STR("providers")) && str_ieq(a->segment[at + 1], provider)))
        at--;
    if (at < 0 || a->n_segments - at < 3 || a->n_segments - at > 4)
        return false;
    *out = (struct where){.kind = a->segment[at + 2]};
    if (a->n_segments - at == 4)
        out->name = a->segment[at + 3];
    buf_init(&scope, ARM_TARGET_MAX);
    for (int i = 0; i < at; i++) {
        buf_char(&scope, '/');
        buf_str(&scope, a->segment[i]);
    }
    out->scope = arena_str(a->memory, buf_view(&scope));
    buf_destroy(&scope);
    return str_ieq(out->kind, STR("roleAssignments")) || str_ieq(out->kind, STR("roleDefinitions"));
}

/*
 * A scope where roles can be assigned: a subscription, a group, an account or a deployment that is
 * there. What is written into an id is the spelling that it has here.
 */
static bool check_scope(struct ask *a, struct where *at) {
    static const enum row_type types[] = {ROW_SUBSCRIPTION, ROW_GROUP, ROW_ACCOUNT, ROW_DEPLOYMENT};
    struct str key = ask_lower(a, at->scope);
    if (at->scope.n == 0)
        return true;
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        const struct row *r = table_find(&a->arm->tables[types[i]], key);
        if (!r)
            continue;
        at->scope = arena_str(a->memory, r->id);
        return true;
    }
    return ask_fault(a, FAULT_RESOURCE_NOT_FOUND, "scope", "The scope '%.*s' was not found.",
                     (int)size_min(at->scope.n, 300), at->scope.p);
}

static bool may(struct ask *a, const struct where *at, const char *action) {
    if (ask_may(a, action, at->scope))
        return true;
    return ask_fault(a, FAULT_AUTHORIZATION_FAILED, "",
                     "The client '%.*s' with object id '%.*s' does not have authorization to "
                     "perform action '%s' over scope '%.*s' or the scope is invalid.",
                     (int)size_min(a->req->caller.app_id.n, 80),
                     a->req->caller.app_id.n ? a->req->caller.app_id.p : "",
                     (int)size_min(a->req->caller.object_id.n, 80),
                     a->req->caller.object_id.n ? a->req->caller.object_id.p : "", action,
                     (int)size_min(at->scope.n, 300), at->scope.p);
}

/* "x eq 'value'"; false when the filter is another one. */
static bool read_equal(struct str filter, struct str field, struct str *value) {
    filter = str_trim(filter);
    if (!str_istarts(filter, field))
        return false;
    filter = str_trim(str_skip(filter, field.n));
    if (!str_istarts(filter, STR("eq ")))
        return false;
    filter = str_trim(str_skip(filter, 3));
    if (filter.n < 2 || filter.p[0] != '\'' || filter.p[filter.n - 1] != '\'')
        return false;
    *value = (struct str){filter.p + 1, filter.n - 2};
    return true;
}

static bool refuse_filter(struct ask *a, struct str filter) {
    return ask_fault(a, FAULT_INVALID_FILTER, "$filter", "The filter '%.*s' is not supported.",
                     (int)size_min(filter.n, 100), filter.p);
}

/*
 * Definitions
 */
static void write_texts(struct json_writer *w, const char *key, const struct str *texts, size_t n) {
    json_key(w, str_of(key));
    json_begin_array(w);
    for (size_t i = 0; i < n; i++)
        json_str_value(w, texts[i]);
    json_end_array(w);
}

static void write_definition(struct ask *a, struct json_writer *w, const struct where *at,
                             const struct access_role *role) {
    json_begin_object(w);
    shape_key_str(w, "id",
                  ask_format(a, "%.*s/providers/Microsoft.Authorization/roleDefinitions/%.*s",
                             STR_ARG(at->scope), STR_ARG(role->id)));
    shape_key_str(w, "name", role->id);
    shape_key_str(w, "type", STR("Microsoft.Authorization/roleDefinitions"));
    shape_begin(w, "properties");
    shape_key_str(w, "roleName", role->name);
    shape_key_str(w, "type", STR("BuiltInRole"));
    shape_key_str(w, "description", role->description);
    write_texts(w, "assignableScopes", &STR("/"), 1);
    json_key(w, STR("permissions"));
    json_begin_array(w);
    json_begin_object(w);
    write_texts(w, "actions", role->actions, role->n_actions);
    write_texts(w, "notActions", role->not_actions, role->n_not_actions);
    write_texts(w, "dataActions", role->data_actions, role->n_data_actions);
    write_texts(w, "notDataActions", role->not_data_actions, role->n_not_data_actions);
    json_end_object(w);
    json_end_array(w);
    json_end_object(w);
    json_end_object(w);
}

static bool answer_definitions(struct ask *a, const struct where *at) {
    struct str filter = ask_query(a, STR("$filter")), name = STR("");
    const struct access_role *role;
    if (at->name.n) {
        role = access_role_find(at->name);
        if (!role)
            return ask_fault(a, FAULT_ROLE_NOT_FOUND, "",
                             "The role definition with id '%.*s' was not found.",
                             (int)size_min(at->name.n, 80), at->name.p);
        struct json_writer w = ask_answer(a, 200);
        write_definition(a, &w, at, role);
        return true;
    }
    bool is_all = filter.n == 0 || str_ieq(str_trim(filter), STR("atScope()")) ||
                  str_ieq(str_trim(filter), STR("type eq 'BuiltInRole'"));
    if (!is_all && !read_equal(filter, STR("roleName"), &name))
        return refuse_filter(a, filter);
    struct json_writer w = ask_answer(a, 200);
    json_begin_object(&w);
    json_key(&w, STR("value"));
    json_begin_array(&w);
    for (size_t i = 0; (role = access_role_at(i)); i++) {
        if (is_all || str_ieq(role->name, name))
            write_definition(a, &w, at, role);
    }
    json_end_array(&w);
    json_end_object(&w);
    return true;
}

/*
 * Assignments
 */
static struct str assignment_id(struct ask *a, const struct where *at) {
    return ask_format(a, "%.*s/providers/Microsoft.Authorization/roleAssignments/%.*s",
                      STR_ARG(at->scope), STR_ARG(at->name));
}

static bool list_assignments(struct ask *a, const struct where *at) {
    struct str filter = ask_query(a, STR("$filter")), principal = STR("");
    bool at_scope = str_ieq(str_trim(filter), STR("atScope()"));
    if (filter.n && !at_scope && !read_equal(filter, STR("principalId"), &principal) &&
        !read_equal(filter, STR("assignedTo()"), &principal))
        return refuse_filter(a, filter);
    const struct table *t = &a->arm->tables[ROW_ASSIGNMENT];
    struct json_writer w = ask_answer(a, 200);
    json_begin_object(&w);
    json_key(&w, STR("value"));
    json_begin_array(&w);
    for (size_t i = 0; i < t->n; i++) {
        const struct assignment *s = (const struct assignment *)(const void *)t->rows[i];
        bool is_above = access_is_within(at->scope, s->scope);
        bool is_below = !at_scope && access_is_within(s->scope, at->scope);
        if ((is_above || is_below) && (!principal.n || str_ieq(principal, s->principal)))
            shape_write(a->arm, &w, t->rows[i], FORM_WIRE);
    }
    json_end_array(&w);
    json_end_object(&w);
    return true;
}

static bool read_assignment(struct ask *a, struct assignment *s) {
    static const struct str types[] = {STR_INIT("ServicePrincipal"), STR_INIT("User"),
                                       STR_INIT("Group"), STR_INIT("ForeignGroup"),
                                       STR_INIT("Device")};
    struct reader r;
    struct problem why;
    struct fields f, p;
    struct str role = STR("");
    struct json_value v;
    int type = 0;
    if (!ask_needs_body(a, &f, &r, &why))
        return false;
    if (!fields_object(&f, "properties", &p)) {
        fields_require(&f, "properties", false, "give roleDefinitionId and principalId");
        return ask_reader_ok(a, &r, FAULT_INVALID_CONTENT);
    }
    bool has_role = fields_str(&p, "roleDefinitionId", 1, RESOURCE_ID_MAX, &role);
    fields_require(&p, "roleDefinitionId", has_role, "give the id of a built-in role");
    bool has_principal = fields_str(&p, "principalId", 1, 64, &s->principal);
    fields_require(&p, "principalId", has_principal, "give the object id of the principal");
    if (has_principal && !guid_is_valid(s->principal))
        fields_refuse(&p, "principalId", "must be a GUID, the principal's object id");
    fields_enum(&p, "principalType", types, ARRAY_LEN(types), &type);
    s->principal_type = types[type];
    if (fields_value(&p, "condition", &v))
        fields_refuse(&p, "condition", "does not act here; leave it out");
    if (!ask_reader_ok(a, &r, FAULT_INVALID_CONTENT))
        return false;
    const struct access_role *found = access_role_find(role);
    if (!found)
        return ask_fault(a, FAULT_ROLE_NOT_FOUND, "properties.roleDefinitionId",
                         "The specified role definition with ID '%.*s' does not exist.",
                         STR_ARG(role));
    s->role = found->id;
    return true;
}

static bool put_assignment(struct ask *a, const struct where *at) {
    struct assignment s = {.row = {.type = ROW_ASSIGNMENT,
                                   .created = ask_stamp(a),
                                   .changed = ask_stamp(a),
                                   .id = assignment_id(a, at)},
                           .name = at->name,
                           .scope = at->scope.n ? at->scope : STR("/")};
    if (!guid_is_valid(at->name))
        return ask_fault(a, FAULT_INVALID_NAME, "name",
                         "The role assignment ID '%.*s' is not valid. The role assignment ID must "
                         "be a GUID.",
                         (int)size_min(at->name.n, 80), at->name.p);
    s.row.key = ask_lower(a, s.row.id);
    const struct row *old = table_find(&a->arm->tables[ROW_ASSIGNMENT], s.row.key);
    if (!ask_preconditions(a, old) || !read_assignment(a, &s))
        return true;
    struct str subscription =
        ask_format(a, "/%.*s/%.*s/", STR_ARG(a->segment[0]), STR_ARG(a->segment[1]));
    if (!old &&
        table_count(&a->arm->tables[ROW_ASSIGNMENT], ask_lower(a, subscription)) >= ASSIGNMENTS_MAX)
        return ask_fault(a, FAULT_TOO_MANY_ASSIGNMENTS, "",
                         "No more role assignments can be created: %d is the limit.",
                         ASSIGNMENTS_MAX);
    struct access_assignment wanted = {s.row.id, s.principal, access_role_find(s.role), s.scope};
    switch (access_assign(a->arm->access, &wanted)) {
    case ACCESS_EXISTS:
        return ask_fault(a, FAULT_ROLE_EXISTS, "", "The role assignment already exists.");
    case ACCESS_CHANGED:
        return ask_fault(a, FAULT_ROLE_UPDATE, "",
                         "Tenant ID, application ID, principal ID, and scope are not allowed to be "
                         "updated.");
    case ACCESS_DONE:
        break;
    }
    if (old) {
        ask_answer_row(a, 200, old);
        return true;
    }
    a->out->needs_snapshot = true; /* bearer tokens on the data plane obey roles too */
    ask_answer_row(a, 201, ask_put(a, &s.row));
    return true;
}

static bool delete_assignment(struct ask *a, const struct where *at) {
    struct str key = ask_lower(a, assignment_id(a, at));
    const struct row *old = table_find(&a->arm->tables[ROW_ASSIGNMENT], key);
    if (!ask_preconditions(a, old))
        return true;
    if (!old) {
        a->out->status = 204;
        return true;
    }
    ask_answer_row(a, 200, old);
    struct str id = arena_str(a->memory, old->id);
    bool was_there = access_unassign(a->arm->access, id);
    assert(was_there);
    ask_delete(a, ROW_ASSIGNMENT, key);
    a->out->needs_snapshot = true;
    return true;
}

static bool get_assignment(struct ask *a, const struct where *at) {
    struct str key = ask_lower(a, assignment_id(a, at));
    const struct row *r = table_find(&a->arm->tables[ROW_ASSIGNMENT], key);
    if (!r)
        return ask_fault(a, FAULT_NOT_FOUND, "", "The role assignment '%.*s' is not found.",
                         (int)size_min(at->name.n, 80), at->name.p);
    ask_answer_row(a, 200, r);
    return true;
}

static void answer(struct ask *a, struct where *at) {
    static const struct route read_one = {ARM_GET, GUARD_ROLE, "",
                                          "Microsoft.Authorization/roleAssignments/read", NULL};
    static const struct route write_one = {ARM_PUT_METHOD, GUARD_ROLE, "",
                                           "Microsoft.Authorization/roleAssignments/write", NULL};
    static const struct route delete_one = {ARM_DELETE_METHOD, GUARD_ROLE, "",
                                            "Microsoft.Authorization/roleAssignments/delete", NULL};
    static const struct route definitions = {ARM_GET, GUARD_ROLE, "",
                                             "Microsoft.Authorization/roleDefinitions/read", NULL};
    enum arm_method m = a->req->method;
    bool is_one = at->name.n > 0;
    bool is_assignment = str_ieq(at->kind, STR("roleAssignments"));
    a->route = !is_assignment        ? &definitions
               : m == ARM_GET        ? &read_one
               : m == ARM_PUT_METHOD ? &write_one
                                     : &delete_one;
    bool is_allowed = m == ARM_GET ||
                      (is_assignment && is_one && (m == ARM_PUT_METHOD || m == ARM_DELETE_METHOD));
    if (!is_allowed) {
        ask_fault(a, FAULT_METHOD_NOT_ALLOWED, "", "This method is not allowed here.");
        return;
    }
    /* Definitions are the same everywhere and no secret: whoever is known may read them. */
    if (is_assignment && !may(a, at, a->route->action))
        return;
    if (!body_read(a) || !check_scope(a, at))
        return;
    if (!is_assignment)
        answer_definitions(a, at);
    else if (m == ARM_GET)
        is_one ? get_assignment(a, at) : list_assignments(a, at);
    else if (m == ARM_PUT_METHOD)
        put_assignment(a, at);
    else
        delete_assignment(a, at);
}

bool roles_route(struct ask *a) {
    struct where at;
    if (!find_where(a, &at))
        return false;
    answer(a, &at);
    return true;
}

void arm_forget_principal(struct arm *arm, struct str object_id, const struct arm_caller *caller,
                          int64_t now_ms, struct arm_changes *changes) {
    static const struct route deletion = {ARM_DELETE_METHOD, GUARD_OPERATOR, "",
                                          "Microsoft.Authorization/roleAssignments/delete", NULL};
    struct arm_request request = {.method = ARM_DELETE_METHOD, .caller = *caller, .now_ms = now_ms};
    struct arena memory;
    struct ask a = {
        .arm = arm, .req = &request, .changes = changes, .route = &deletion, .memory = &memory};
    size_t n_changes = changes->n;
    arena_init(&memory, NULL, 0, (size_t)1 << 30);
    arm->request = &request;
    ask_forget_principal(&a, object_id);
    arm->n_changes += changes->n - n_changes;
    arm->request = NULL;
    arena_destroy(&memory);
}
