/* quota_requests.c - a tenant asks for more quota, an operator approves or refuses. */
#include "arm/arm_private.h"

static const struct str queued = STR_INIT("Queued");

static bool read_request(struct ask *a, struct quota_request *q) {
    struct reader r;
    struct problem why;
    struct fields f, p;
    struct str location = STR(""), name = STR("");
    struct quota quota = {.limit = 0};
    if (!ask_needs_body(a, &f, &r, &why))
        return false;
    if (fields_object(&f, "properties", &p)) {
        bool has_location = fields_str(&p, "location", 1, RESOURCE_NAME_MAX, &location);
        fields_require(&p, "location", has_location, "say where");
        bool has_name = fields_str(&p, "quotaName", 1, OFFERS_NAME_MAX, &name);
        fields_require(&p, "quotaName", has_name, "as in \"OpenAI.ProvisionedManaged\"");
        bool has_limit = fields_i64(&p, "limit", 1, INT64_C(1000000000), &q->limit);
        fields_require(&p, "limit", has_limit, "the new limit that you wish");
        fields_str(&p, "reason", 0, 1000, &q->reason);
        fields_str(&p, "webhook", 0, 1000, &q->webhook);
        if (q->webhook.n && !str_istarts(q->webhook, STR("https://")) &&
            !str_istarts(q->webhook, STR("http://")))
            fields_refuse(&p, "webhook", "must be an http or https URL");
    } else {
        fields_require(&f, "properties", false, "it holds location, quotaName and limit");
    }
    if (!ask_reader_ok(a, &r, FAULT_INVALID_CONTENT))
        return false;
    const struct location *l = world_location(a->arm, location);
    if (!l)
        return ask_fault(a, FAULT_LOCATION_NOT_AVAILABLE, "properties.location",
                         "The provided location '%.*s' is not available.", STR_ARG(location));
    if (!quota_of_name(a, name, &quota))
        return false;
    q->location = arena_str(a->memory, l->name);
    q->quota_name = quota.name;
    q->sku = quota.sku;
    q->format = quota.format;
    q->model = quota.model;
    return true;
}

void quota_requests_create(struct ask *a) {
    char guid[GUID_TEXT];
    const struct subscription *s = world_subscription(a->arm, a->name[0]);
    struct quota_request q = {
        .row = {.type = ROW_QUOTA_REQUEST, .created = ask_stamp(a), .changed = ask_stamp(a)},
        .subscription = s->name,
        .status = queued};
    if (!read_request(a, &q))
        return;
    uint64_t high = ask_random(a), low = ask_random(a);
    q.name = guid_text(high, low, guid);
    q.row.etag = ask_etag(a);
    q.row.id = ask_format(a, "/subscriptions/%.*s/providers/Weir.Capacity/quotaRequests/%.*s",
                          STR_ARG(s->name), STR_ARG(q.name));
    q.row.key = ask_lower(a, q.row.id);
    ask_answer_row(a, 201, ask_put(a, &q.row));
}

void quota_requests_list(struct ask *a) {
    struct str prefix = ask_format(a, "/subscriptions/%.*s/providers/Weir.Capacity/quotaRequests/",
                                   STR_ARG(a->name[0]));
    ask_answer_rows(a, ROW_QUOTA_REQUEST, ask_lower(a, prefix), NULL);
}

static struct quota_request *find(struct ask *a) {
    struct str id = ask_format(a, "/subscriptions/%.*s/providers/Weir.Capacity/quotaRequests/%.*s",
                               STR_ARG(a->name[0]), STR_ARG(a->name[1]));
    struct row *r = table_find(&a->arm->tables[ROW_QUOTA_REQUEST], ask_lower(a, id));
    if (!r)
        ask_fault(a, FAULT_RESOURCE_NOT_FOUND, "", "The quota request '%.*s' was not found.",
                  STR_ARG(a->name[1]));
    return (struct quota_request *)(void *)r;
}

void quota_requests_get(struct ask *a) {
    const struct quota_request *q = find(a);
    if (q && ask_preconditions(a, &q->row))
        ask_answer_row(a, 200, &q->row);
}

/* In order of arrival, with the use of the quota that they ask more of beside them. */
void quota_requests_list_all(struct ask *a) {
    const struct table *t = &a->arm->tables[ROW_QUOTA_REQUEST];
    struct json_writer w = ask_answer(a, 200);
    const struct quota_request *last = NULL;
    json_begin_object(&w);
    json_key(&w, STR("value"));
    json_begin_array(&w);
    for (size_t n = 0; n < t->n; n++) {
        /* The next in time: few wait at once, so a search each is cheap enough. */
        const struct quota_request *next = NULL;
        for (size_t i = 0; i < t->n; i++) {
            const struct quota_request *q = (const struct quota_request *)(const void *)t->rows[i];
            if (!str_eq(q->status, queued))
                continue;
            bool is_after = !last || q->row.created.at_ms > last->row.created.at_ms ||
                            (q->row.created.at_ms == last->row.created.at_ms &&
                             str_cmp(q->row.key, last->row.key) > 0);
            bool is_nearer = !next || q->row.created.at_ms < next->row.created.at_ms;
            if (is_after && is_nearer)
                next = q;
        }
        if (!next)
            break;
        struct ledger_quota_key key = {next->subscription, next->location, next->sku, next->format,
                                       next->model};
        struct ledger_quota sum = ledger_quota(a->arm->ledger, &key);
        json_begin_object(&w);
        json_key(&w, STR("request"));
        shape_write(a->arm, &w, &next->row, FORM_WIRE);
        shape_key_i64(&w, "currentValue", sum.used);
        shape_key_i64(&w, "currentLimit", sum.limit);
        json_end_object(&w);
        last = next;
    }
    json_end_array(&w);
    json_end_object(&w);
}

static void decide(struct ask *a, bool is_approved) {
    const struct quota_request *old = find(a);
    struct reader r;
    struct problem why = {0};
    struct fields f;
    if (!old || !ask_preconditions(a, &old->row))
        return;
    if (!str_eq(old->status, queued)) {
        ask_fault(a, FAULT_CONFLICT, "", "The request was answered before: %.*s.",
                  STR_ARG(old->status));
        return;
    }
    struct quota_request q = *old;
    if (a->has_body) {
        reader_init(&r, STR(""), STR(""), &why, NULL);
        fields_begin(&f, &r, a->body, "");
        fields_str(&f, "answer", 0, 1000, &q.answer);
        if (is_approved)
            fields_i64(&f, "limit", 1, INT64_C(1000000000), &q.limit);
        if (!ask_reader_ok(a, &r, FAULT_INVALID_CONTENT))
            return;
    }
    q.status = is_approved ? STR("Approved") : STR("Refused");
    q.decided_ms = a->req->now_ms;
    q.row.etag = ask_etag(a);
    q.row.changed = ask_stamp(a);
    if (is_approved) {
        struct quota quota = {.row = {.type = ROW_QUOTA, .created = ask_stamp(a)},
                              .subscription = q.subscription,
                              .location = q.location,
                              .name = q.quota_name,
                              .format = q.format,
                              .model = q.model,
                              .sku = q.sku};
        quota_put(a, &quota, q.limit);
    }
    const struct row *now = ask_put(a, &q.row);
    if (q.webhook.n)
        changes_notice(a->changes, ((const struct quota_request *)(const void *)now)->webhook,
                       ask_shown(a, now));
    ask_answer_row(a, 200, now);
}

void quota_requests_approve(struct ask *a) {
    decide(a, true);
}

void quota_requests_refuse(struct ask *a) {
    decide(a, false);
}
