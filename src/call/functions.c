#include "call/functions.h"

enum {
    STEP = 2,          /* blanks that the members of an inner object are moved to the right */
    REQUIRED_MAX = 100 /* names, each of which every member is compared with */
};

/* Where a type stands: blanks before the members around it, and how many levels it is inside. */
struct place {
    int blanks, level;
};

static bool put_type(struct buf *out, struct json_value schema, struct place at);

/* Whether what stands in a schema is known; some of it leaves no trace. */
static bool is_known(struct json_value schema) {
    static const struct str names[] = {
        STR_INIT("type"),
        STR_INIT("description"),
        STR_INIT("enum"),
        STR_INIT("items"),
        STR_INIT("properties"),
        STR_INIT("required"),
        STR_INIT("anyOf"),
        STR_INIT("minimum"),
        STR_INIT("maximum"),
        STR_INIT("title"),
        STR_INIT("additionalProperties"),
    };
    struct json_iter it;
    struct json_value value;
    struct str key;
    if (json_type(schema) != JSON_OBJECT)
        return false;
    json_fields(&it, schema);
    while (json_next_field(&it, &key, &value)) {
        size_t i = 0;
        while (i < ARRAY_LEN(names) && !str_eq(key, names[i]))
            i++;
        if (i == ARRAY_LEN(names))
            return false;
    }
    return true;
}

static void put_comment(struct buf *out, struct str text) {
    if (!text.n)
        return;
    buf_str(out, STR("// "));
    buf_str(out, text);
    buf_char(out, '\n');
}

/* Whether the list of required names is short enough to be looked through for every member. */
static bool has_few_required(struct json_value object) {
    struct json_iter it;
    struct json_value list, item;
    int n = 0;
    if (!json_get(object, STR("required"), &list))
        return true;
    json_items(&it, list);
    while (n <= REQUIRED_MAX && json_next(&it, &item))
        n++;
    return n <= REQUIRED_MAX;
}

static bool is_required(struct json_value object, struct str name) {
    struct json_iter it;
    struct json_value list, item;
    if (!json_get(object, STR("required"), &list))
        return false;
    json_items(&it, list);
    while (json_next(&it, &item)) {
        if (json_type(item) == JSON_STRING && str_eq(json_str(item), name))
            return true;
    }
    return false;
}

static void put_blanks(struct buf *out, int n) {
    for (int i = 0; i < n; i++)
        buf_char(out, ' ');
}

/* The members of an object, a line each. */
// NOLINTNEXTLINE(misc-no-recursion): no deeper than FUNCTIONS_DEPTH
static bool put_members(struct buf *out, struct json_value object, struct place at) {
    struct json_iter it;
    struct json_value members, schema;
    struct str name;
    if (!json_get(object, STR("properties"), &members))
        return true;
    if (!has_few_required(object))
        return false;
    json_fields(&it, members);
    while (json_next_field(&it, &name, &schema)) {
        if (buf_status(out) != ST_OK)
            return false;
        if (at.blanks == 0)
            put_comment(out, json_get_str(schema, STR("description")));
        put_blanks(out, at.blanks);
        buf_str(out, name);
        buf_str(out, is_required(object, name) ? STR(": ") : STR("?: "));
        if (!put_type(out, schema, at))
            return false;
        buf_str(out, STR(",\n"));
    }
    return true;
}

/* The values of an enumeration: texts in quotes, whole numbers as they are. */
static bool put_values(struct buf *out, struct json_value list) {
    struct json_iter it;
    struct json_value value;
    int64_t number;
    bool is_first = true;
    json_items(&it, list);
    for (; json_next(&it, &value); is_first = false) {
        if (!is_first)
            buf_str(out, STR(" | "));
        if (json_i64(value, &number)) {
            buf_printf(out, "%lld", (long long)number);
        } else if (json_type(value) == JSON_STRING) {
            buf_char(out, '"');
            buf_str(out, json_str(value));
            buf_char(out, '"');
        } else {
            return false;
        }
    }
    return !is_first;
}

/* One of several types. */
// NOLINTNEXTLINE(misc-no-recursion): no deeper than FUNCTIONS_DEPTH
static bool put_union(struct buf *out, struct json_value list, struct place at) {
    struct json_iter it;
    struct json_value schema;
    bool is_first = true;
    json_items(&it, list);
    for (; json_next(&it, &schema); is_first = false) {
        if (!is_first)
            buf_str(out, STR(" | "));
        if (!put_type(out, schema, at))
            return false;
    }
    return !is_first;
}

// NOLINTNEXTLINE(misc-no-recursion): no deeper than FUNCTIONS_DEPTH
static bool put_type(struct buf *out, struct json_value schema, struct place at) {
    struct json_value v;
    if (at.level++ == FUNCTIONS_DEPTH || !is_known(schema))
        return false;
    if (json_get(schema, STR("anyOf"), &v))
        return put_union(out, v, at);
    struct str type = json_get_str(schema, STR("type"));
    bool is_number = str_eq(type, STR("number")) || str_eq(type, STR("integer"));
    if (is_number || str_eq(type, STR("string"))) {
        if (json_get(schema, STR("enum"), &v))
            return put_values(out, v);
        buf_str(out, is_number ? STR("number") : type);
        return true;
    }
    if (str_eq(type, STR("boolean")) || str_eq(type, STR("null"))) {
        buf_str(out, type);
        return true;
    }
    if (str_eq(type, STR("array"))) {
        if (!json_get(schema, STR("items"), &v))
            buf_str(out, STR("any"));
        else if (!put_type(out, v, at))
            return false;
        buf_str(out, STR("[]"));
        return true;
    }
    if (!str_eq(type, STR("object")))
        return false;
    at.blanks += STEP;
    buf_str(out, STR("{\n"));
    if (!put_members(out, schema, at))
        return false;
    buf_char(out, '}');
    return true;
}

static bool put_function(struct buf *out, struct json_value function) {
    struct json_value parameters = {0}, members;
    struct json_iter it;
    struct str key, name = json_get_str(function, STR("name"));
    if (!name.n)
        return false;
    put_comment(out, json_get_str(function, STR("description")));
    buf_str(out, STR("type "));
    buf_str(out, name);
    buf_str(out, STR(" = ("));
    bool has_parameters = json_get(function, STR("parameters"), &parameters);
    if (has_parameters && !is_known(parameters))
        return false;
    if (has_parameters && json_get(parameters, STR("properties"), &members)) {
        json_fields(&it, members);
        has_parameters = json_next_field(&it, &key, &members);
    } else {
        has_parameters = false;
    }
    if (has_parameters) {
        buf_str(out, STR("_: {\n"));
        if (!put_members(out, parameters, (struct place){0, 0}))
            return false;
        buf_char(out, '}');
    }
    buf_str(out, STR(") => any;\n\n"));
    return true;
}

bool functions_put(struct buf *out, struct json_value list) {
    struct json_iter it;
    struct json_value item, function;
    buf_str(out, STR("namespace functions {\n\n"));
    json_items(&it, list);
    while (json_next(&it, &item)) {
        if (!json_get(item, STR("function"), &function))
            function = item;
        if (!put_function(out, function))
            return false;
    }
    buf_str(out, STR("} // namespace functions"));
    return true;
}
