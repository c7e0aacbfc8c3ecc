#include "arm/rows.h"

#include "base/buf.h"

#include <stdlib.h>

enum { TEXTS_MAX = 16 };

/* Where each type has its texts, beside those of the head. */
static const struct {
    const char *table;
    size_t size;
    size_t texts[TEXTS_MAX]; /* offsets; 0 ends them */
} types[ROW_TYPE_COUNT] = {
#define AT(type, member) offsetof(struct type, member)
    [ROW_SUBSCRIPTION] = {"subscriptions",
                          sizeof(struct subscription),
                          {AT(subscription, name), AT(subscription, display_name)}},
    [ROW_GROUP] = {"groups", sizeof(struct group), {AT(group, name), AT(group, location)}},
    [ROW_LOCATION] = {"locations",
                      sizeof(struct capacity),
                      {AT(capacity, name), AT(capacity, location), AT(capacity, properties)}},
    [ROW_POOL] = {"pools",
                  sizeof(struct capacity),
                  {AT(capacity, name), AT(capacity, location), AT(capacity, properties)}},
    [ROW_BACKEND] = {"backends",
                     sizeof(struct capacity),
                     {AT(capacity, name), AT(capacity, location), AT(capacity, properties)}},
    [ROW_MODEL] = {"models",
                   sizeof(struct capacity),
                   {AT(capacity, name), AT(capacity, location), AT(capacity, properties)}},
    [ROW_QUOTA] = {"quotas",
                   sizeof(struct quota),
                   {AT(quota, subscription), AT(quota, location), AT(quota, name),
                    AT(quota, format), AT(quota, model)}},
    [ROW_ACCOUNT] = {"accounts",
                     sizeof(struct account_row),
                     {AT(account_row, name), AT(account_row, subscription), AT(account_row, group),
                      AT(account_row, location), AT(account_row, kind), AT(account_row, subdomain),
                      AT(account_row, internal_id), AT(account_row, identity),
                      AT(account_row, keys[0]), AT(account_row, keys[1])}},
    [ROW_DEPLOYMENT] = {"deployments",
                        sizeof(struct deployment_row),
                        {AT(deployment_row, name), AT(deployment_row, account),
                         AT(deployment_row, format), AT(deployment_row, model),
                         AT(deployment_row, version), AT(deployment_row, upgrade),
                         AT(deployment_row, policy), AT(deployment_row, grant)}},
    [ROW_ASSIGNMENT] = {"roleAssignments",
                        sizeof(struct assignment),
                        {AT(assignment, name), AT(assignment, scope), AT(assignment, role),
                         AT(assignment, principal), AT(assignment, principal_type)}},
    [ROW_OPERATION] = {"operations",
                       sizeof(struct operation),
                       {AT(operation, name), AT(operation, subscription), AT(operation, location),
                        AT(operation, target)}},
    [ROW_QUOTA_REQUEST] = {"quotaRequests",
                           sizeof(struct quota_request),
                           {AT(quota_request, name), AT(quota_request, subscription),
                            AT(quota_request, location), AT(quota_request, quota_name),
                            AT(quota_request, format), AT(quota_request, model),
                            AT(quota_request, reason), AT(quota_request, webhook),
                            AT(quota_request, answer), AT(quota_request, status)}},
#undef AT
};

static const size_t head_texts[] = {
    offsetof(struct row, key),  offsetof(struct row, id),         offsetof(struct row, etag),
    offsetof(struct row, tags), offsetof(struct row, created.by), offsetof(struct row, changed.by),
};

static struct str *text_at(struct row *r, size_t offset) {
    return (struct str *)(void *)((char *)r + offset);
}

/* Moves a text to *at, and *at behind it. */
static void move_text(struct str *s, char **at) {
    if (s->n)
        memcpy(*at, s->p, s->n);
    *s = (struct str){*at, s->n};
    *at += s->n;
}

struct row *row_new(const struct row *value) {
    assert((unsigned)value->type < ROW_TYPE_COUNT);
    size_t size = types[value->type].size, bytes = 1;
    struct row *r = xmalloc(size);
    memcpy(r, value, size);
    const size_t *texts = types[value->type].texts;
    for (size_t i = 0; i < ARRAY_LEN(head_texts); i++)
        bytes += text_at(r, head_texts[i])->n;
    for (size_t i = 0; i < TEXTS_MAX && texts[i]; i++)
        bytes += text_at(r, texts[i])->n;
    char *at = r->block = xmalloc(bytes);
    for (size_t i = 0; i < ARRAY_LEN(head_texts); i++)
        move_text(text_at(r, head_texts[i]), &at);
    for (size_t i = 0; i < TEXTS_MAX && texts[i]; i++)
        move_text(text_at(r, texts[i]), &at);
    return r;
}

void row_free(struct row *r) {
    if (!r)
        return;
    free(r->block);
    free(r);
}

const char *row_table_name(enum row_type type) {
    assert((unsigned)type < ROW_TYPE_COUNT);
    return types[type].table;
}

bool row_table_of(struct str name, enum row_type *type) {
    for (int t = 0; t < ROW_TYPE_COUNT; t++) {
        if (str_eq(name, str_of(types[t].table))) {
            *type = (enum row_type)t;
            return true;
        }
    }
    return false;
}

void table_destroy(struct table *t) {
    for (size_t i = 0; i < t->n; i++)
        row_free(t->rows[i]);
    free(t->rows);
    *t = (struct table){0};
}

size_t table_seek(const struct table *t, struct str key) {
    size_t low = 0, high = t->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (str_cmp(t->rows[middle]->key, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct row *table_find(const struct table *t, struct str key) {
    size_t at = table_seek(t, key);
    return at < t->n && str_eq(t->rows[at]->key, key) ? t->rows[at] : NULL;
}

struct row *table_put(struct table *t, struct row *r) {
    size_t at = table_seek(t, r->key);
    if (at < t->n && str_eq(t->rows[at]->key, r->key)) {
        struct row *old = t->rows[at];
        t->rows[at] = r;
        return old;
    }
    if (t->n == t->capacity) {
        t->capacity = t->capacity ? 2 * t->capacity : 16;
        t->rows = xrealloc(t->rows, t->capacity * sizeof(struct row *));
    }
    memmove(t->rows + at + 1, t->rows + at, (t->n - at) * sizeof(struct row *));
    t->rows[at] = r;
    t->n++;
    return NULL;
}

struct row *table_take(struct table *t, struct str key) {
    size_t at = table_seek(t, key);
    if (at == t->n || !str_eq(t->rows[at]->key, key))
        return NULL;
    struct row *r = t->rows[at];
    t->n--;
    memmove(t->rows + at, t->rows + at + 1, (t->n - at) * sizeof(struct row *));
    return r;
}

struct row *table_next(const struct table *t, struct str prefix, size_t *at) {
    if (*at >= t->n || !str_starts(t->rows[*at]->key, prefix))
        return NULL;
    return t->rows[(*at)++];
}

size_t table_count(const struct table *t, struct str prefix) {
    size_t from = table_seek(t, prefix), at = from;
    while (table_next(t, prefix, &at))
        continue;
    return at - from;
}
