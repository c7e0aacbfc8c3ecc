/* ask.c - what the answers to all requests share: texts, bodies, preconditions, lists, rows. */
#include "arm/arm_private.h"

#include "http/target.h"

#include <stdarg.h>
#include <stdio.h>

enum { TAGS_MAX = 50, TAG_NAME_MAX = 512, TAG_VALUE_MAX = 256, FORMAT_MAX = 4096 };

void arm_answer_init(struct arm_answer *a) {
    *a = (struct arm_answer){0};
    buf_init(&a->body, 64 << 20); /* the longest list of models or usages is below 1 MB */
}

void arm_answer_clear(struct arm_answer *a) {
    buf_clear(&a->body);
    a->status = 0;
    a->etag[0] = a->location[0] = a->async_operation[0] = '\0';
    a->retry_after_s = 0;
    a->needs_snapshot = false;
}

void arm_answer_destroy(struct arm_answer *a) {
    buf_destroy(&a->body);
}

/*
 * Texts
 */
struct str ask_format(struct ask *a, const char *format, ...) {
    char text[FORMAT_MAX];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    assert(n >= 0);
    return arena_str(a->memory, (struct str){text, size_min((size_t)n, sizeof text - 1)});
}

struct str ask_lower(struct ask *a, struct str s) {
    char *out = arena_alloc(a->memory, s.n);
    assert(out); /* requests are far smaller than the arena */
    return text_lower(s, out);
}

struct str ask_query(struct ask *a, struct str name) {
    struct str raw = query_get(a->query, name), value;
    char *out = arena_alloc(a->memory, raw.n);
    assert(out);
    return target_decode(raw, true, out, &value) ? value : STR("");
}

uint64_t ask_random(struct ask *a) {
    assert(a->n_random < ARM_RANDOM_WORDS);
    return a->req->random[a->n_random++];
}

struct stamp ask_stamp(const struct ask *a) {
    const struct arm_caller *c = &a->req->caller;
    struct str by = c->name.n ? c->name : c->app_id.n ? c->app_id : c->object_id;
    return (struct stamp){by, c->is_user, a->req->now_ms};
}

struct str ask_etag(struct ask *a) {
    return ask_format(a, "\"%016llx\"", (unsigned long long)ask_random(a));
}

bool ask_may(const struct ask *a, const char *action, struct str scope) {
    return arm_may(a->arm, &a->req->caller, str_of(action), false, scope);
}

/*
 * Refusals
 */
bool ask_fault(struct ask *a, enum fault f, const char *target, const char *format, ...) {
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    struct fault_extra extra = {.target = str_of(target)};
    return fault_set(a->out, f, &extra, "%s", text);
}

/* "request:/properties/sku" or ":/properties/sku" as clients write it: "properties.sku". */
static struct str dotted(struct ask *a, const char *target) {
    const char *colon = strchr(target, ':');
    struct str path = str_of(colon ? colon + 1 : target);
    while (path.n && path.p[0] == '/')
        path = str_skip(path, 1);
    path = arena_str(a->memory, path);
    char *p = arena_alloc(a->memory, path.n);
    assert(p);
    for (size_t i = 0; i < path.n; i++)
        p[i] = path.p[i] == '/' ? '.' : path.p[i];
    return (struct str){p, path.n};
}

bool ask_reader_ok(struct ask *a, const struct reader *r, enum fault f) {
    if (r->status == ST_OK)
        return true;
    struct str target = dotted(a, r->why->target);
    struct fault_extra extra = {.target = target};
    return fault_set(a->out, f, &extra, "%.*s%s%s", STR_ARG(target), target.n ? " " : "",
                     r->why->message);
}

bool ask_needs_body(struct ask *a, struct fields *f, struct reader *r, struct problem *why) {
    if (!a->has_body)
        return ask_fault(a, FAULT_INVALID_CONTENT, "",
                         "The request content was empty; this operation needs a JSON object.");
    problem_clear(why);
    reader_init(r, STR(""), STR(""), why, NULL);
    fields_begin(f, r, a->body, "");
    return ask_reader_ok(a, r, FAULT_INVALID_CONTENT);
}

bool ask_tags(struct ask *a, struct fields *top, struct str *out) {
    struct fields tags;
    struct json_iter it;
    struct str key;
    struct json_value v;
    int n = 0;
    if (!fields_object(top, "tags", &tags))
        return true;
    json_fields(&it, tags.object);
    while (json_next_field(&it, &key, &v)) {
        if (json_type(v) != JSON_STRING)
            fields_refuse(top, "tags", "must hold texts only");
        else if (key.n > TAG_NAME_MAX || json_str(v).n > TAG_VALUE_MAX || ++n > TAGS_MAX)
            fields_refuse(top, "tags", "may hold %d tags, with names of %d bytes and values of %d",
                          TAGS_MAX, TAG_NAME_MAX, TAG_VALUE_MAX);
    }
    if (top->r->status == ST_OK && !shape_copy(a->memory, tags.object, NULL, out))
        fields_refuse(top, "tags", "is nested too deeply");
    return top->r->status == ST_OK;
}

/*
 * Preconditions (RFC 9110, section 13)
 */
static bool is_listed(struct str list, const struct row *r) {
    struct str item;
    while (str_cut(&list, ',', &item)) {
        item = str_trim(item);
        if (str_starts(item, STR("W/")))
            item = str_skip(item, 2);
        if (r && (str_eq(item, STR("*")) || str_eq(item, r->etag)))
            return true;
    }
    return false;
}

bool ask_preconditions(struct ask *a, const struct row *r) {
    const struct arm_request *q = a->req;
    bool is_read = q->method == ARM_GET || q->method == ARM_HEAD;
    if (q->if_match.n && !is_listed(q->if_match, r))
        return ask_fault(a, FAULT_PRECONDITION_FAILED, "If-Match",
                         "The condition '%.*s' in the If-Match header was not satisfied. The "
                         "current etag is '%.*s'.",
                         (int)size_min(q->if_match.n, 100), q->if_match.p, r ? (int)r->etag.n : 0,
                         r ? r->etag.p : "");
    if (!q->if_none_match.n || !is_listed(q->if_none_match, r))
        return true;
    if (!is_read)
        return ask_fault(a, FAULT_PRECONDITION_FAILED, "If-None-Match",
                         "The condition '%.*s' in the If-None-Match header was not satisfied: the "
                         "resource exists.",
                         (int)size_min(q->if_none_match.n, 100), q->if_none_match.p);
    a->out->status = 304;
    snprintf(a->out->etag, sizeof a->out->etag, "%.*s", STR_ARG(r->etag));
    return false;
}

/*
 * Answers
 */
struct json_writer ask_answer(struct ask *a, int status) {
    struct json_writer w;
    a->out->status = status;
    buf_clear(&a->out->body);
    json_writer_init(&w, &a->out->body, 0);
    return w;
}

void ask_answer_row(struct ask *a, int status, const struct row *r) {
    struct json_writer w = ask_answer(a, status);
    shape_write(a->arm, &w, r, FORM_WIRE);
    snprintf(a->out->etag, sizeof a->out->etag, "%.*s", STR_ARG(r->etag));
}

static void write_next_link(struct ask *a, struct json_writer *w, struct str token) {
    struct buf url;
    struct str path = a->req->target;
    struct str filter = ask_query(a, STR("$filter"));
    const char *mark = path.n ? memchr(path.p, '?', path.n) : NULL;
    if (mark)
        path.n = (size_t)(mark - path.p);
    buf_init(&url, 2 * ARM_TARGET_MAX);
    buf_str(&url, a->req->base_url);
    buf_str(&url, path);
    buf_lit(&url, "?api-version=");
    text_put_escaped(&url, a->api_version);
    if (filter.n) {
        buf_lit(&url, "&%24filter=");
        text_put_escaped(&url, filter);
    }
    buf_lit(&url, "&%24skiptoken=");
    text_put_escaped(&url, token);
    shape_key_str(w, "nextLink", buf_view(&url));
    buf_destroy(&url);
}

void ask_answer_rows(struct ask *a, enum row_type type, struct str prefix,
                     bool (*is_shown)(struct ask *a, const struct row *r)) {
    const struct table *t = &a->arm->tables[type];
    struct str token = ask_query(a, STR("$skiptoken"));
    if (token.n > 2 * RESOURCE_ID_MAX) {
        ask_fault(a, FAULT_INVALID_SKIP_TOKEN, "$skiptoken", "The skip token is not one of ours.");
        return;
    }
    struct str after = ask_format(a, "%.*s%.*s", STR_ARG(prefix), STR_ARG(token));
    after = ask_lower(a, after);
    struct json_writer w = ask_answer(a, 200);
    json_begin_object(&w);
    json_key(&w, STR("value"));
    json_begin_array(&w);
    const struct row *r, *last = NULL;
    int64_t n = 0;
    bool has_more = false;
    for (size_t at = table_seek(t, after); (r = table_next(t, prefix, &at));) {
        if ((token.n && str_eq(r->key, after)) || (is_shown && !is_shown(a, r)))
            continue;
        if (n == a->arm->settings.page_size) {
            has_more = true;
            break;
        }
        shape_write(a->arm, &w, r, FORM_WIRE);
        last = r;
        n++;
    }
    json_end_array(&w);
    if (has_more && last)
        write_next_link(a, &w, str_skip(last->key, prefix.n));
    json_end_object(&w);
}

/*
 * Changes
 */
struct str ask_shown(struct ask *a, const struct row *r) {
    struct json_writer w;
    if (!r)
        return STR("");
    buf_clear(&a->arm->scratch);
    json_writer_init(&w, &a->arm->scratch, 0);
    shape_write(a->arm, &w, r, FORM_WIRE);
    return arena_str(a->memory, buf_view(&a->arm->scratch));
}

void ask_audit(struct ask *a, struct str target, struct str before, struct str after) {
    changes_audit(
        a->changes,
        &(struct arm_audit){
            .actor = a->req->caller.object_id.n ? a->req->caller.object_id : a->req->caller.name,
            .action = str_of(a->route && a->route->action ? a->route->action : "write"),
            .target = target,
            .before = before,
            .after = after,
            .at_ms = a->req->now_ms,
        });
}

struct row *ask_put(struct ask *a, const struct row *value) {
    struct table *t = &a->arm->tables[value->type];
    struct str before = ask_shown(a, table_find(t, value->key));
    struct row *r = row_new(value);
    row_free(table_put(t, r));
    world_write_row(a->arm, r, a->changes);
    ask_audit(a, r->id, before, ask_shown(a, r));
    return r;
}

void ask_delete(struct ask *a, enum row_type type, struct str key) {
    struct row *r = table_take(&a->arm->tables[type], key);
    assert(r);
    changes_put(a->changes, ARM_DELETE, str_of(row_table_name(type)), r->key, STR(""));
    ask_audit(a, r->id, ask_shown(a, r), STR(""));
    row_free(r);
}

static void forget_assignment(void *arg, struct str id) {
    struct ask *a = arg;
    struct str key = ask_lower(a, id);
    if (table_find(&a->arm->tables[ROW_ASSIGNMENT], key))
        ask_delete(a, ROW_ASSIGNMENT, key);
}

void ask_forget_assignments(struct ask *a, struct str scope) {
    access_forget(a->arm->access, scope, forget_assignment, a);
}

void ask_forget_principal(struct ask *a, struct str principal) {
    access_forget_principal(a->arm->access, principal, forget_assignment, a);
}

uint64_t ask_moves_account(struct ask *a, struct str key) {
    world_add_news(a->arm, key);
    a->out->needs_snapshot = true;
    return ++a->arm->version;
}

uint64_t ask_moves_all(struct ask *a) {
    a->arm->is_all_news = true;
    a->out->needs_snapshot = true;
    return ++a->arm->version;
}

void ask_begin_operation(struct ask *a, struct str subscription, struct str location,
                         struct str target_key, bool needs_snapshot) {
    char guid[GUID_TEXT];
    uint64_t high = ask_random(a), low = ask_random(a);
    struct str name = guid_text(high, low, guid);
    struct operation value = {
        .row = {.type = ROW_OPERATION,
                .created = ask_stamp(a),
                .changed = ask_stamp(a),
                .version = a->arm->version},
        .name = name,
        .subscription = subscription,
        .location = location,
        .target = target_key,
        .is_running = needs_snapshot,
        .ended_ms = needs_snapshot ? 0 : a->req->now_ms,
    };
    /* The caller's object id, so that he may ask how it went wherever his role is. */
    value.row.created.by = a->req->caller.object_id;
    value.row.id = ask_format(
        a, "/subscriptions/%.*s/providers/Microsoft.CognitiveServices/locations/%.*s/operations/%s",
        STR_ARG(subscription), STR_ARG(location), guid);
    value.row.key = ask_lower(a, value.row.id);
    struct operation *o = (struct operation *)(void *)row_new(&value.row);
    list_append(&a->arm->by_age, &o->by_age);
    a->arm->n_running += needs_snapshot;
    struct row *same = table_put(&a->arm->tables[ROW_OPERATION], &o->row);
    if (same) { /* only when the caller's random words repeat */
        struct operation *old = (struct operation *)(void *)same;
        list_remove(&old->by_age);
        a->arm->n_running -= old->is_running;
        row_free(same);
    }
    world_write_row(a->arm, &o->row, a->changes);
    snprintf(a->out->async_operation, sizeof a->out->async_operation, "%.*s%.*s?api-version=%.*s",
             STR_ARG(a->req->base_url), STR_ARG(o->row.id), STR_ARG(a->api_version));
    a->out->retry_after_s = 1;
    a->out->needs_snapshot = a->out->needs_snapshot || needs_snapshot;
}
