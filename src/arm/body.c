/* body.c - the body of a request: parsed, and refused when it can be understood in two ways. */
#include "arm/arm_private.h"

/* So many members are compared each with each, which is less work than a table of them. */
enum { FEW = 8 };

static size_t count_members(struct json_value object) {
    struct json_iter it;
    struct str key;
    struct json_value item;
    size_t n = 0;
    for (json_fields(&it, object); json_next_field(&it, &key, &item);)
        n++;
    return n;
}

static struct str twice_among_few(struct json_value object) {
    struct str seen[FEW], key, none = {0};
    size_t n = 0;
    struct json_iter it;
    struct json_value item;
    for (json_fields(&it, object); json_next_field(&it, &key, &item);) {
        for (size_t i = 0; i < n; i++) {
            if (str_eq(seen[i], key))
                return key;
        }
        seen[n++] = key;
    }
    return none;
}

/* Open addressing, at most half full, taken at once and small, since what takes the time is memory that is
 * in no cache: a table of map.h, which grows and has four times the bytes, took as long as sorting. */
static struct str twice_among_many(struct ask *a, struct json_value object, size_t n) {
    struct slot {
        uint32_t tag; /* of the name's hash */
        uint32_t at;  /* in `names`, from 1 on; 0: free */
    };
    struct str key, none = {0};
    struct json_iter it;
    struct json_value item;
    uint32_t n_names = 0;
    size_t n_slots = 4 * FEW;
    while (n_slots < 2 * n)
        n_slots *= 2;
    struct str *names = arena_alloc(a->memory, n * sizeof *names);
    struct slot *slots = arena_alloc(a->memory, n_slots * sizeof *slots);
    assert(names && slots); /* bodies are far smaller than the arena */
    memset(slots, 0, n_slots * sizeof *slots);
    for (json_fields(&it, object); json_next_field(&it, &key, &item);) {
        uint64_t hash = siphash(&a->arm->hash, key.p, key.n);
        uint32_t tag = (uint32_t)(hash >> 32);
        size_t i = hash & (n_slots - 1);
        for (; slots[i].at; i = (i + 1) & (n_slots - 1)) {
            if (slots[i].tag == tag && str_eq(names[slots[i].at - 1], key))
                return key;
        }
        names[n_names++] = key;
        slots[i] = (struct slot){tag, n_names};
    }
    return none;
}

/*
 * The name that stands twice in one object somewhere in `v`; no bytes at NULL when there is none. Two
 * readers of such a text could take different members for the true one: who checks it, and who obeys it.
 * Linear in the number of members, of which a megabyte holds 200,000, and whose names nobody can choose to
 * collide. The depth is the parser's.
 */
static struct str given_twice(struct ask *a, struct json_value v) {
    struct json_iter it;
    struct json_value item;
    struct str key, twice = {0};
    if (json_type(v) == JSON_OBJECT) {
        size_t n = count_members(v);
        twice = n <= FEW ? twice_among_few(v) : twice_among_many(a, v, n);
        for (json_fields(&it, v); !twice.p && json_next_field(&it, &key, &item);)
            twice = given_twice(a, item);
    } else if (json_type(v) == JSON_ARRAY) {
        for (json_items(&it, v); !twice.p && json_next(&it, &item);)
            twice = given_twice(a, item);
    }
    return twice;
}

bool body_read(struct ask *a) {
    struct problem why = {0};
    struct buf *text = &a->arm->padded;
    if (a->req->body.n > ARM_BODY_MAX)
        return ask_fault(a, FAULT_CONTENT_TOO_LARGE, "",
                         "The request content has more than %d bytes.", ARM_BODY_MAX);
    bool takes_body = a->req->method == ARM_PUT_METHOD || a->req->method == ARM_PATCH ||
                      a->req->method == ARM_POST;
    if (!takes_body || str_trim(a->req->body).n == 0)
        return true;
    buf_clear(text);
    buf_str(text, a->req->body);
    char *padding = buf_reserve_slack(text, 0, JSON_PADDING);
    assert(padding); /* the ceiling is above ARM_BODY_MAX */
    if (json_parse(a->arm->doc, text->p, text->len, &a->body, &why) != ST_OK)
        return ask_fault(a, FAULT_INVALID_CONTENT, "",
                         "The request content was invalid and could not be deserialized: '%s'.",
                         why.message);
    if (json_type(a->body) != JSON_OBJECT)
        return ask_fault(a, FAULT_INVALID_CONTENT, "",
                         "The request content was invalid: it must be a JSON object.");
    struct str twice = given_twice(a, a->body);
    if (twice.p)
        return ask_fault(a, FAULT_INVALID_CONTENT, "",
                         "The request content was invalid: '%.*s' is given twice in one object; it "
                         "is not clear which one counts.",
                         (int)size_min(twice.n, 80), twice.p);
    a->has_body = true;
    return true;
}
