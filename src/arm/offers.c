#include "arm/offers.h"

#include "arm/offers_private.h"
#include "base/wide.h"
#include "model/resource_id.h"

#include <stdio.h>
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

struct str offers_quota_name(struct str format, struct str model, enum sku sku, char *out) {
    int n = sku_is_provisioned(sku)
                ? snprintf(out, OFFERS_NAME_MAX, "OpenAI.%.*s", STR_ARG(sku_names[sku]))
                : snprintf(out, OFFERS_NAME_MAX, "%s.%.*s.%.*s",
                           str_ieq(format, STR("OpenAI")) ? "OpenAI" : "AIServices",
                           STR_ARG(sku_names[sku]), STR_ARG(model));
    return (struct str){out, size_min((size_t)n, OFFERS_NAME_MAX - 1)};
}

struct str offers_quota_title(struct str model, enum sku sku, char *out) {
    /* The names that clients show since 2024; those of the other two standard SKUs are ours, in the
     * same words. */
    static const char *const titles[SKU_COUNT] = {
        [SKU_STANDARD] = "Tokens Per Minute (thousands) - ",
        [SKU_DATA_ZONE_STANDARD] = "Tokens Per Minute (thousands) - Data Zone Standard - ",
        [SKU_GLOBAL_STANDARD] = "Tokens Per Minute (thousands) - Global Standard - ",
        [SKU_PROVISIONED] = "Provisioned Managed Throughput Unit",
        [SKU_DATA_ZONE_PROVISIONED] = "Data Zone Provisioned Managed Throughput Unit",
        [SKU_GLOBAL_PROVISIONED] = "Global Provisioned Managed Throughput Unit",
    };
    struct str of = sku_is_provisioned(sku) ? STR("") : model;
    int n = snprintf(out, OFFERS_NAME_MAX, "%s%.*s", titles[sku], STR_ARG(of));
    return (struct str){out, size_min((size_t)n, OFFERS_NAME_MAX - 1)};
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
