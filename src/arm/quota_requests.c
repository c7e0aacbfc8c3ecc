/* quota_requests.c - a tenant asks for more quota; an operator approves or refuses, the oldest first. */
#include "arm/arm_private.h"

#include "model/url.h"

#include <stdlib.h>

enum {
    LIMIT_MAX = 1000 * 1000 * 1000,
    REASON_MAX = 1000,
    WEBHOOK_MAX = 1024,
    /* Of one subscription. Those that wait need no limit of their own: there is at most one a quota. */
    DECIDED_MAX = 100,
    QUEUE_MAX = 1000, /* of the operator's list; the next ones come up when these are decided */
};

static const struct str queued = STR_INIT("Queued");

static const struct quota_request *request_of(const struct row *r) {
    return (const struct quota_request *)(const void *)r;
}

static bool is_queued(const struct row *r) {
    return str_eq(request_of(r)->status, queued);
}

static struct str prefix_of(struct ask *a) {
    return ask_lower(a, ask_format(a, "/subscriptions/%.*s/providers/Weir.Capacity/quotaRequests/",
                                   STR_ARG(a->name[0])));
}

static const struct quota_request *find(struct ask *a) {
    struct str key =
        ask_lower(a, ask_format(a, "%.*s%.*s", STR_ARG(prefix_of(a)), STR_ARG(a->name[1])));
    const struct row *r = table_find(&a->arm->tables[ROW_QUOTA_REQUEST], key);
    if (!r)
        ask_fault(a, FAULT_RESOURCE_NOT_FOUND, "", "The quota request '%.*s' was not found.",
                  STR_ARG(a->name[1]));
    return r ? request_of(r) : NULL;
}

/*
 * Asking
 */

/* The server itself calls the webhook, so a tenant may not name what only the server can reach: nothing
 * without TLS, whose certificate the server checks. */
static void check_webhook(const struct ask *a, struct fields *p, struct str text) {
    const struct arm_outside *o = &a->req->outside;
    struct url url;
    struct problem reason = {0};
    ptrdiff_t mark = str_find(text, STR("?"));
    struct str query = mark < 0 ? STR("") : str_skip(text, (size_t)mark);
    text.n -= query.n;
    for (size_t i = 0; i < query.n; i++) {
        if (query.p[i] <= ' ' || query.p[i] > '~' || query.p[i] == '#')
            fields_refuse(p, "webhook", "must have a query of printable ASCII without # in it");
    }
    if (url_parse(text, &url, &reason) != ST_OK)
        fields_refuse(p, "webhook", "%s", reason.message);
    else if (!url.is_tls)
        fields_refuse(p, "webhook", "must begin with https://");
    else if (o->webhook && !o->webhook(o->arg, url.host))
        fields_refuse(p, "webhook",
                      "names the host %.*s, which is not a public one; the operator can allow it "
                      "(webhook-hosts)",
                      (int)size_min(url.host.n, 200), url.host.p);
}

static bool read_wish(struct ask *a, struct quota_request *q) {
    struct reader r;
    struct problem why;
    struct fields f, p;
    struct str location = STR(""), name = STR("");
    struct quota quota = {.limit = 0};
    if (!ask_needs_body(a, &f, &r, &why))
        return false;
    if (fields_object(&f, "properties", &p)) {
        bool has_location = fields_str(&p, "location", 1, RESOURCE_NAME_MAX, &location);
        bool has_name = fields_str(&p, "quotaName", 1, OFFERS_NAME_MAX, &name);
        bool has_limit = fields_i64(&p, "limit", 1, LIMIT_MAX, &q->limit);
        fields_require(&p, "location", has_location, "name the location of the quota");
        fields_require(&p, "quotaName", has_name, "as usages names it: OpenAI.ProvisionedManaged");
        fields_require(&p, "limit", has_limit, "give the whole limit that is wanted");
        fields_str(&p, "reason", 0, REASON_MAX, &q->reason);
        if (fields_str(&p, "webhook", 1, WEBHOOK_MAX, &q->webhook))
            check_webhook(a, &p, q->webhook);
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
    q->location = l->name;
    q->quota_name = quota.name;
    q->sku = quota.sku;
    q->format = quota.format;
    q->model = quota.model;
    return true;
}

/* A wish must be for more than there is, and one for each quota at a time. */
static bool check_wish(struct ask *a, const struct quota_request *q) {
    struct ledger_quota_key key = {q->subscription, q->location, q->sku, q->format, q->model};
    struct ledger_quota now = ledger_quota(a->arm->ledger, &key);
    const struct table *t = &a->arm->tables[ROW_QUOTA_REQUEST];
    struct str prefix = prefix_of(a);
    const struct row *r;
    if (q->limit <= now.limit)
        return ask_fault(a, FAULT_INVALID_PROPERTIES, "properties.limit",
                         "The quota '%.*s' in location '%.*s' is %lld already, of which %lld are "
                         "used; ask for more.",
                         STR_ARG(q->quota_name), STR_ARG(q->location), (long long)now.limit,
                         (long long)now.used);
    for (size_t at = table_seek(t, prefix); (r = table_next(t, prefix, &at));) {
        if (is_queued(r) && str_ieq(request_of(r)->quota_name, q->quota_name) &&
            str_ieq(request_of(r)->location, q->location))
            return ask_fault(a, FAULT_CONFLICT, "properties.quotaName",
                             "The request '%.*s' for this quota is still waiting.",
                             STR_ARG(request_of(r)->name));
    }
    return true;
}

/* Decided requests are kept for the record, but not all for ever. */
static void forget_oldest(struct ask *a) {
    const struct table *t = &a->arm->tables[ROW_QUOTA_REQUEST];
    struct str prefix = prefix_of(a);
    const struct row *r, *oldest = NULL;
    int n = 0;
    for (size_t at = table_seek(t, prefix); (r = table_next(t, prefix, &at));) {
        if (is_queued(r))
            continue;
        n++;
        if (!oldest || r->created.at_ms < oldest->created.at_ms)
            oldest = r;
    }
    if (n >= DECIDED_MAX)
        ask_delete(a, ROW_QUOTA_REQUEST, ask_lower(a, oldest->key));
}

/* When it came. No two come in the same millisecond, so that the queue has one order. */
static int64_t arrival(const struct ask *a) {
    const struct table *t = &a->arm->tables[ROW_QUOTA_REQUEST];
    int64_t at = a->req->now_ms;
    for (size_t i = 0; i < t->n; i++)
        at = i64_max(at, t->rows[i]->created.at_ms + 1);
    return at;
}

/* A GUID that begins with the time (RFC 9562, version 7): the requests of one subscription are listed
 * in order of arrival. */
static struct str new_name(struct ask *a, int64_t at_ms) {
    uint64_t ms = (uint64_t)at_ms, high = ask_random(a), low = ask_random(a);
    return ask_format(a, "%08llx-%04llx-7%03llx-%04llx-%012llx",
                      (unsigned long long)(ms >> 16 & 0xffffffff),
                      (unsigned long long)(ms & 0xffff), (unsigned long long)(high & 0xfff),
                      (unsigned long long)(0x8000 | (high >> 16 & 0x3fff)),
                      (unsigned long long)(low & UINT64_C(0xffffffffffff)));
}

void quota_requests_create(struct ask *a) {
    struct quota_request q = {
        .row = {.type = ROW_QUOTA_REQUEST, .created = ask_stamp(a), .changed = ask_stamp(a)},
        .subscription = world_subscription(a->arm, a->name[0])->name,
        .status = queued,
    };
    if (!read_wish(a, &q) || !check_wish(a, &q))
        return;
    forget_oldest(a);
    q.row.created.at_ms = q.row.changed.at_ms = arrival(a);
    q.name = new_name(a, q.row.created.at_ms);
    q.row.id = ask_format(a, "/subscriptions/%.*s/providers/Weir.Capacity/quotaRequests/%.*s",
                          STR_ARG(q.subscription), STR_ARG(q.name));
    q.row.key = ask_lower(a, q.row.id);
    q.row.etag = ask_etag(a);
    ask_answer_row(a, 201, ask_put(a, &q.row));
}

/*
 * Looking
 */
void quota_requests_get(struct ask *a) {
    const struct quota_request *q = find(a);
    if (q && ask_preconditions(a, &q->row))
        ask_answer_row(a, 200, &q->row);
}

void quota_requests_list(struct ask *a) {
    ask_answer_rows(a, ROW_QUOTA_REQUEST, prefix_of(a), NULL);
}

static int by_arrival(const void *va, const void *vb) {
    const struct row *const *a = va, *const *b = vb;
    return (*a)->created.at_ms < (*b)->created.at_ms ? -1 : 1;
}

/* The queue: what waits in all subscriptions, the longest waiting first. */
void quota_requests_list_all(struct ask *a) {
    const struct table *t = &a->arm->tables[ROW_QUOTA_REQUEST];
    const struct row **list = xcalloc(size_max(t->n, 1), sizeof(struct row *));
    size_t n = 0;
    for (size_t i = 0; i < t->n; i++) {
        if (is_queued(t->rows[i]))
            list[n++] = t->rows[i];
    }
    qsort(list, n, sizeof(struct row *), by_arrival);
    struct json_writer w = ask_answer(a, 200);
    json_begin_object(&w);
    json_key(&w, STR("value"));
    json_begin_array(&w);
    for (size_t i = 0; i < size_min(n, QUEUE_MAX); i++)
        shape_write(a->arm, &w, list[i], FORM_WIRE);
    json_end_array(&w);
    json_end_object(&w);
    free(list);
}

/*
 * Deciding
 */

/* An operator may grant another limit than the one that was asked for, and say why. */
static bool read_decision(struct ask *a, struct quota_request *q, bool is_approved) {
    struct reader r;
    struct problem why;
    struct fields f, p;
    if (!a->has_body)
        return true;
    if (!ask_needs_body(a, &f, &r, &why))
        return false;
    if (fields_object(&f, "properties", &p)) {
        fields_str(&p, "answer", 0, REASON_MAX, &q->answer);
        if (is_approved)
            fields_i64(&p, "limit", 0, LIMIT_MAX, &q->limit);
    }
    return ask_reader_ok(a, &r, FAULT_INVALID_CONTENT);
}

static void decide(struct ask *a, bool is_approved) {
    const struct quota_request *old = find(a);
    if (!old || !ask_preconditions(a, &old->row))
        return;
    if (!is_queued(&old->row)) {
        ask_fault(a, FAULT_CONFLICT, "properties.status", "The request is %.*s already.",
                  STR_ARG(old->status));
        return;
    }
    struct quota_request q = *old;
    if (!read_decision(a, &q, is_approved))
        return;
    q.status = is_approved ? STR("Approved") : STR("Refused");
    q.decided_ms = a->req->now_ms;
    q.row.changed = ask_stamp(a);
    q.row.etag = ask_etag(a);
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
    if (request_of(now)->webhook.n > 0)
        changes_notice(a->changes, request_of(now)->webhook, ask_shown(a, now));
    ask_answer_row(a, 200, now);
}

void quota_requests_approve(struct ask *a) {
    decide(a, true);
}

void quota_requests_refuse(struct ask *a) {
    decide(a, false);
}
