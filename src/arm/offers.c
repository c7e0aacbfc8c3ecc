#include "arm/offers.h"

#include "arm/offers_private.h"
#include "base/wide.h"
#include "model/resource_id.h"

#include <stdlib.h>

enum {
    KEY_MAX = 2 + RESOURCE_NAME_MAX,
    QUOTA_MAX = 1000 * 1000 * 1000,
    SIZE_MAX_UNITS = 100 * 1000, /* as in the catalog */
};

struct entry {
    int64_t quota, maximum;
};

struct offers {
    struct arena memory;             /* owned; holds entries and keys */
    struct map by_model;             /* SKU and lower-case model name to struct entry */
    struct entry general[SKU_COUNT]; /* for models that have no entry */
};

static struct str model_key(enum sku sku, struct str model, char *out) {
    out[0] = (char)('0' + (int)sku);
    for (size_t i = 0; i < model.n; i++) {
        char c = model.p[i];
        out[1 + i] = c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
    }
    return (struct str){out, 1 + model.n};
}

static void read_entry(struct offers *o, struct reader *r, struct json_value item) {
    static const char *const ignored[] = {"source", "date"};
    struct fields f;
    struct str model = STR("");
    struct entry e = {-1, SIZE_MAX_UNITS};
    int sku = 0;
    char key[KEY_MAX];
    fields_begin(&f, r, item, "");
    fields_require(&f, "sku", fields_enum(&f, "sku", sku_names, SKU_COUNT, &sku), "name a SKU");
    fields_require(&f, "quota", fields_i64(&f, "quota", 0, QUOTA_MAX, &e.quota), "say how much");
    fields_i64(&f, "maximum", 1, SIZE_MAX_UNITS, &e.maximum);
    fields_ignore(&f, ignored, ARRAY_LEN(ignored));
    if (!fields_str(&f, "model", 1, RESOURCE_NAME_MAX, &model)) {
        o->general[sku] = e;
    } else {
        struct entry *kept = arena_alloc(&o->memory, sizeof *kept);
        assert(kept);
        *kept = e;
        map_put(&o->by_model, arena_str(&o->memory, model_key((enum sku)sku, model, key)), kept);
    }
    fields_end(&f);
}

struct offers *offers_new(const struct siphash_key *key) {
    struct offers *o = xcalloc(1, sizeof *o);
    struct json_doc *doc = json_doc_new();
    struct json_value root, list, item;
    struct json_iter it;
    struct problem why = {0};
    struct reader r;
    arena_init(&o->memory, NULL, 0, 1 << 20);
    map_init(&o->by_model, key);
    for (int s = 0; s < SKU_COUNT; s++)
        o->general[s].quota = -1;
    enum status st = json_parse(doc, quotas_json, quotas_json_len, &root, &why);
    assert(st == ST_OK);
    bool has_list = json_get(root, STR("value"), &list);
    assert(has_list);
    reader_init(&r, STR("quotas.json"), STR(""), &why, NULL);
    json_items(&it, list);
    while (json_next(&it, &item))
        read_entry(o, &r, item);
    assert(r.status == ST_OK);
    for (int s = 0; s < SKU_COUNT; s++)
        assert(o->general[s].quota >= 0);
    json_doc_free(doc);
    return o;
}

void offers_free(struct offers *o) {
    if (!o)
        return;
    map_destroy(&o->by_model);
    arena_destroy(&o->memory);
    free(o);
}

static const struct entry *find(const struct offers *o, struct str model, enum sku sku) {
    char key[KEY_MAX];
    const struct entry *e = NULL;
    if (!sku_is_provisioned(sku) && model.n <= RESOURCE_NAME_MAX)
        e = map_get(&o->by_model, model_key(sku, model, key));
    return e ? e : &o->general[sku];
}

struct offer_sizes offers_sizes(const struct offers *o, const struct model *m, enum sku sku) {
    const struct sku_sizes *own = &m->sizes[sku];
    if (!own->is_offered || own->minimum > SIZE_MAX_UNITS)
        return (struct offer_sizes){0};
    struct offer_sizes s = {.is_offered = true, .minimum = own->minimum, .step = own->step};
    int64_t top = own->maximum > 0 ? own->maximum : find(o, m->name, sku)->maximum;
    top = i64_max(top, own->minimum);
    s.maximum = s.minimum + (top - s.minimum) / s.step * s.step;
    return s;
}

bool offer_is_size(const struct offer_sizes *s, int64_t size) {
    return s->is_offered && size >= s->minimum && size <= s->maximum &&
           (size - s->minimum) % s->step == 0;
}

int64_t offer_size_below(const struct offer_sizes *s, int64_t size) {
    if (!s->is_offered || size < s->minimum)
        return 0;
    size = i64_min(size, s->maximum);
    return s->minimum + (size - s->minimum) / s->step * s->step;
}

int64_t offer_size_above(const struct offer_sizes *s, int64_t size) {
    if (!s->is_offered || size > s->maximum)
        return 0;
    if (size <= s->minimum)
        return s->minimum;
    /* The maximum is itself minimum + k * step, so rounding up cannot pass it. */
    return s->minimum + (size - s->minimum + s->step - 1) / s->step * s->step;
}

int64_t offers_quota_units(const struct model *m, enum sku sku, int64_t size) {
    if (sku_is_provisioned(sku))
        return size;
    return i128_to_i64(i128_div_ceil((i128)size * m->standard_tpm, 1000));
}

int64_t offers_size_for(const struct model *m, enum sku sku, int64_t units) {
    if (sku_is_provisioned(sku))
        return units;
    return i128_to_i64(i128_div_floor((i128)units * 1000, m->standard_tpm));
}

int64_t offers_default_quota(const struct offers *o, struct str format, struct str model,
                             enum sku sku) {
    /* The data has no two formats with a model of one name. */
    (void)format;
    return find(o, model, sku)->quota;
}

/* The parts one after the other, cut at OFFERS_NAME_MAX. By hand, since the list of usages has a
 * hundred and more names and printf took most of its time. */
static struct str join(char *out, const struct str *parts, size_t n_parts) {
    size_t n = 0;
    for (size_t i = 0; i < n_parts; i++) {
        size_t take = size_min(parts[i].n, OFFERS_NAME_MAX - n);
        if (take > 0)
            memcpy(out + n, parts[i].p, take);
        n += take;
    }
    return (struct str){out, n};
}

struct str offers_quota_name(struct str format, struct str model, enum sku sku, char *out) {
    bool is_shared = sku_is_provisioned(sku);
    bool is_openai = is_shared || str_ieq(format, STR("OpenAI"));
    const struct str parts[] = {is_openai ? STR("OpenAI.") : STR("AIServices."), sku_names[sku],
                                STR("."), model};
    return join(out, parts, is_shared ? 2 : 4);
}

struct str offers_quota_title(struct str model, enum sku sku, char *out) {
    /* The names that clients show since 2024; those of the other two standard SKUs are ours, in the
     * same words. */
    static const struct str titles[SKU_COUNT] = {
        [SKU_STANDARD] = STR_INIT("Tokens Per Minute (thousands) - "),
        [SKU_DATA_ZONE_STANDARD] =
            STR_INIT("Tokens Per Minute (thousands) - Data Zone Standard - "),
        [SKU_GLOBAL_STANDARD] = STR_INIT("Tokens Per Minute (thousands) - Global Standard - "),
        [SKU_PROVISIONED] = STR_INIT("Provisioned Managed Throughput Unit"),
        [SKU_DATA_ZONE_PROVISIONED] = STR_INIT("Data Zone Provisioned Managed Throughput Unit"),
        [SKU_GLOBAL_PROVISIONED] = STR_INIT("Global Provisioned Managed Throughput Unit"),
    };
    const struct str parts[] = {titles[sku], model};
    return join(out, parts, sku_is_provisioned(sku) ? 1 : 2);
}

bool offers_quota_of(const struct catalog *c, struct str name, enum sku *sku, struct str *format,
                     struct str *model) {
    char text[OFFERS_NAME_MAX];
    for (int s = 0; s < SKU_COUNT; s++) {
        for (size_t i = 0; i < c->n; i++) {
            const struct model *m = c->all[i];
            if (!m->sizes[s].is_offered ||
                !str_ieq(name, offers_quota_name(m->format, m->name, (enum sku)s, text)))
                continue;
            bool is_shared = sku_is_provisioned((enum sku)s);
            *sku = (enum sku)s;
            *format = is_shared ? STR("") : m->format;
            *model = is_shared ? STR("") : m->name;
            return true;
        }
    }
    return false;
}
