#include "model/catalog.h"

#include <stdlib.h>

#include "model/catalog_private.h"
#include "model/resource_id.h"

const struct str sku_names[SKU_COUNT] = {
    [SKU_STANDARD] = STR_INIT("Standard"),
    [SKU_DATA_ZONE_STANDARD] = STR_INIT("DataZoneStandard"),
    [SKU_GLOBAL_STANDARD] = STR_INIT("GlobalStandard"),
    [SKU_PROVISIONED] = STR_INIT("ProvisionedManaged"),
    [SKU_DATA_ZONE_PROVISIONED] = STR_INIT("DataZoneProvisionedManaged"),
    [SKU_GLOBAL_PROVISIONED] = STR_INIT("GlobalProvisionedManaged"),
};

const struct str model_kind_names[MODEL_KIND_COUNT] = {
    [MODEL_CHAT] = STR_INIT("chat"),
    [MODEL_COMPLETION] = STR_INIT("completion"),
    [MODEL_EMBEDDING] = STR_INIT("embedding"),
};

const struct str model_encoding_names[MODEL_ENCODING_COUNT] = {
    [MODEL_ENCODING_BY_NAME] = STR_INIT("by-name"),
    [MODEL_CL100K] = STR_INIT("cl100k_base"),
    [MODEL_O200K] = STR_INIT("o200k_base"),
};

enum {
    FRAMING_MAX = 1000, /* tokens; the largest of any template that is known is 7 */
    KEY_MAX = 3 * RESOURCE_NAME_MAX + 2,
    /* Ceilings that keep every product of admission below 2^63: 100,000 PTUs of a model with
     * 10 million tokens a minute are 10^15 mt a minute. */
    TPM_MAX = 10 * 1000 * 1000,
    WEIGHT_MAX_MILLI = 1000 * 1000,
    SIZE_MAX_UNITS = 100 * 1000,
    TOKENIZER_PATH_MAX = 4096,
};

bool sku_is_provisioned(enum sku sku) {
    return sku >= SKU_PROVISIONED;
}

enum reach sku_reach(enum sku sku) {
    return (enum reach)((int)sku % SKU_PROVISIONED);
}

static struct str lower_key(struct str format, struct str name, struct str version, char *out) {
    const struct str parts[] = {format, STR("."), name, STR("."), version};
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        for (size_t j = 0; j < parts[i].n; j++, n++) {
            char c = parts[i].p[j];
            out[n] = c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
        }
    }
    return (struct str){out, n};
}

static bool fits_key(struct str format, struct str name, struct str version) {
    return format.n <= RESOURCE_NAME_MAX && name.n <= RESOURCE_NAME_MAX &&
           version.n <= RESOURCE_NAME_MAX;
}

/*
 * The name in answers and in x-ms-deployment-model-name style headers: dated versions are appended,
 * mere counters ("1", "2" of the embedding models) are not, as OpenAI's own answers have it.
 */
static struct str full_name(struct arena *arena, struct str name, struct str version) {
    if (version.n < 4)
        return name;
    char text[2 * RESOURCE_NAME_MAX + 1];
    memcpy(text, name.p, name.n);
    text[name.n] = '-';
    memcpy(text + name.n + 1, version.p, version.n);
    return arena_str(arena, (struct str){text, name.n + 1 + version.n});
}

static struct model *new_model(struct catalog *c, struct str key, struct str format,
                               struct str name, struct str version) {
    struct model *m = arena_alloc(c->arena, sizeof *m);
    assert(m);
    *m = (struct model){
        .format = arena_str(c->arena, format),
        .name = arena_str(c->arena, name),
        .version = arena_str(c->arena, version),
        .standard_tpm = 1000, /* one unit of a standard SKU; ARM contract, section 4 */
        .standard_rpm = 6,    /* admission spec 3.1 */
        .framing = {-1, -1, -1},
    };
    m->full_name = full_name(c->arena, m->name, m->version);
    for (int s = 0; s < SKU_COUNT; s++)
        m->sizes[s] = (struct sku_sizes){!sku_is_provisioned((enum sku)s), 1, 1, 0};
    if (c->n == c->capacity) {
        c->capacity = c->capacity ? 2 * c->capacity : 64;
        c->all = xrealloc(c->all, c->capacity * sizeof(struct model *));
    }
    c->all[c->n++] = m;
    map_put(&c->by_key, arena_str(c->arena, key), m);
    return m;
}

/* "format.name.version": up to the first dot, and from the last one. */
static bool split_name(struct str text, struct str *format, struct str *name, struct str *version) {
    size_t first = 0, last = text.n;
    while (first < text.n && text.p[first] != '.')
        first++;
    while (last > 0 && text.p[last - 1] != '.')
        last--;
    if (first == 0 || last < first + 3)
        return false;
    *format = (struct str){text.p, first};
    *name = (struct str){text.p + first + 1, last - first - 2};
    *version = str_skip(text, last);
    return true;
}

static void read_skus(struct fields *f, struct model *m) {
    struct fields skus, one;
    if (!fields_object(f, "skus", &skus))
        return;
    for (int s = 0; s < SKU_COUNT; s++) {
        struct sku_sizes *sizes = &m->sizes[s];
        struct json_value v;
        /* An explicit null withdraws a SKU, which fields_value cannot tell from absence. */
        if (json_get(skus.object, sku_names[s], &v) && json_type(v) == JSON_NULL)
            sizes->is_offered = false;
        if (!fields_object(&skus, sku_names[s].p, &one))
            continue;
        sizes->is_offered = true;
        fields_i64(&one, "minimum", 1, SIZE_MAX_UNITS, &sizes->minimum);
        fields_i64(&one, "step", 1, SIZE_MAX_UNITS, &sizes->step);
        fields_i64(&one, "maximum", 1, SIZE_MAX_UNITS, &sizes->maximum);
        fields_end(&one);
    }
    fields_end(&skus);
}

static void read_tiers(struct fields *f, struct model *m) {
    struct json_iter it;
    struct json_value v;
    if (!fields_array(f, "inputTiers", &it))
        return;
    m->n_tiers = 0;
    while (f->r->status == ST_OK && json_next(&it, &v)) {
        if (m->n_tiers == MODEL_TIERS_MAX) {
            fields_refuse(f, "inputTiers", "has more than %d tiers", MODEL_TIERS_MAX);
            return;
        }
        struct fields one;
        struct input_tier *tier = &m->tiers[m->n_tiers];
        *tier = (struct input_tier){.from_tokens = -1, .weight_milli = -1};
        fields_begin(&one, f->r, v, f->path);
        fields_i64(&one, "fromTokens", 0, INT32_MAX, &tier->from_tokens);
        fields_milli(&one, "weight", 0, WEIGHT_MAX_MILLI, &tier->weight_milli);
        fields_end(&one);
        bool is_rising =
            m->n_tiers == 0 ? tier->from_tokens == 0 : tier->from_tokens > tier[-1].from_tokens;
        if (!is_rising || tier->weight_milli < 0)
            fields_refuse(f, "inputTiers",
                          "each tier needs fromTokens and weight; the first begins at 0, and "
                          "fromTokens rises from tier to tier");
        m->n_tiers++;
    }
}

static void read_standard_unit(struct fields *f, struct model *m) {
    struct fields unit;
    if (!fields_object(f, "standardUnit", &unit))
        return;
    fields_i64(&unit, "tpm", 1, 1000 * 1000, &m->standard_tpm);
    fields_i64(&unit, "rpm", 1, 1000, &m->standard_rpm);
    fields_end(&unit);
}

static void read_framing(struct fields *f, struct model *m) {
    struct fields framing;
    if (!fields_object(f, "framing", &framing))
        return;
    fields_i64(&framing, "tokensPerMessage", 0, FRAMING_MAX, &m->framing.per_message);
    fields_i64(&framing, "tokensPerName", 0, FRAMING_MAX, &m->framing.per_name);
    fields_i64(&framing, "tokensPerReply", 0, FRAMING_MAX, &m->framing.per_reply);
    fields_end(&framing);
}

/* The numbers of one entry into `m`, which holds what the entry does not mention. */
static void read_model(struct catalog *c, struct fields *f, struct model *m, bool is_new) {
    int kind = (int)m->kind;
    if (fields_enum(f, "kind", model_kind_names, MODEL_KIND_COUNT, &kind))
        m->kind = (enum model_kind)kind;
    bool has_capacity = fields_i64(f, "inputTpmPerPtu", 1, TPM_MAX, &m->input_tpm_per_ptu);
    bool has_weight = fields_milli(f, "outputWeight", 0, WEIGHT_MAX_MILLI, &m->output_weight_milli);
    fields_milli(f, "cachedWeight", 0, 1000, &m->cached_weight_milli);
    if (is_new && has_capacity) {
        fields_require(f, "outputWeight", has_weight || m->kind == MODEL_EMBEDDING,
                       "say how many input tokens one output token counts as");
        for (int s = SKU_PROVISIONED; s < SKU_COUNT; s++)
            m->sizes[s].is_offered = true;
    }
    read_tiers(f, m);
    read_skus(f, m);
    read_standard_unit(f, m);
    fields_i64(f, "latencyTargetTps", 0, 100000, &m->latency_target_tps);
    fields_i64(f, "maxContextTokens", 0, INT32_MAX, &m->max_context_tokens);
    fields_i64(f, "maxProvisionedPromptTokens", 0, INT32_MAX, &m->max_provisioned_prompt);
    if (fields_str(f, "tokenizer", 0, TOKENIZER_PATH_MAX, &m->tokenizer))
        m->tokenizer = arena_str(c->arena, m->tokenizer);
    int encoding = (int)m->encoding;
    if (fields_enum(f, "encoding", model_encoding_names, MODEL_ENCODING_COUNT, &encoding))
        m->encoding = (enum model_encoding)encoding;
    read_framing(f, m);
    if (fields_str(f, "source", 0, 200, &m->source))
        m->source = arena_str(c->arena, m->source);
    if (fields_str(f, "date", 0, 40, &m->date))
        m->date = arena_str(c->arena, m->date);
    for (int s = SKU_PROVISIONED; s < SKU_COUNT; s++) {
        if (m->sizes[s].is_offered && m->input_tpm_per_ptu == 0)
            fields_refuse(f, "inputTpmPerPtu", "is missing, and %s cannot be sold without it",
                          sku_names[s].p);
    }
}

void catalog_add(struct catalog *c, struct str resource_name, struct json_value value,
                 struct reader *r, bool is_own) {
    struct fields top, f, given;
    struct str format = {0}, name = {0}, version = {0};
    bool is_split = split_name(resource_name, &format, &name, &version);
    fields_begin(&top, r, value, "");
    static const char *const ignored[] = {"id", "name", "type", "etag", "tags", "systemData"};
    fields_ignore(&top, ignored, ARRAY_LEN(ignored));
    if (!fields_object(&top, "properties", &f)) {
        fields_require(&top, "properties", r->status != ST_OK, "it holds the model's numbers");
        return;
    }
    /* A version with dots cannot be told from the name, so it may be spelled out. */
    if (fields_object(&f, "model", &given)) {
        format = STR("OpenAI");
        version = STR("");
        fields_str(&given, "format", 1, RESOURCE_NAME_MAX, &format);
        is_split = fields_str(&given, "name", 1, RESOURCE_NAME_MAX, &name);
        fields_str(&given, "version", 0, RESOURCE_NAME_MAX, &version);
        fields_require(&given, "name", is_split, "name the model");
        fields_end(&given);
    }
    if (!is_split || !fits_key(format, name, version))
        reader_refuse(r, "/id",
                      "a model's id ends in \"format.name.version\", as in "
                      "\"OpenAI.gpt-4o.2024-08-06\"");
    if (r->status != ST_OK)
        return;
    char text[KEY_MAX];
    struct str key = lower_key(format, name, version, text);
    if (!str_ieq(key, resource_name))
        fields_refuse(&f, "model", "does not agree with the id, which ends in \"%.*s\"",
                      (int)size_min(resource_name.n, 80), resource_name.p);
    struct model *m = map_get(&c->by_key, key);
    bool is_new = !m;
    if (is_new)
        m = new_model(c, key, format, name, version);
    m->is_own = is_own;
    read_model(c, &f, m, is_new);
    fields_end(&f);
    fields_end(&top);
}

void catalog_init(struct catalog *c, struct arena *arena, const struct siphash_key *key) {
    *c = (struct catalog){.arena = arena};
    map_init(&c->by_key, key);
    struct json_doc *doc = json_doc_new();
    struct json_value root, list, item, id;
    struct json_iter it;
    struct problem why = {0};
    struct reader r;
    enum status st = json_parse(doc, catalog_json, catalog_json_len, &root, &why);
    assert(st == ST_OK);
    bool has_list = json_get(root, STR("value"), &list);
    assert(has_list);
    reader_init(&r, STR("catalog.json"), STR(""), &why, NULL);
    json_items(&it, list);
    while (json_next(&it, &item)) {
        struct resource_id parsed;
        bool has_id = json_get(item, STR("id"), &id);
        assert(has_id);
        st = resource_id_parse(json_str(id), &parsed, &why);
        assert(st == ST_OK);
        catalog_add(c, resource_id_name(&parsed), item, &r, false);
        assert(r.status == ST_OK);
    }
    json_doc_free(doc);
}

void catalog_destroy(struct catalog *c) {
    map_destroy(&c->by_key);
    free(c->all);
    *c = (struct catalog){0};
}

const struct model *catalog_find(const struct catalog *c, struct str format, struct str name,
                                 struct str version) {
    if (!fits_key(format, name, version))
        return NULL;
    char key[KEY_MAX];
    const struct model *m = map_get(&c->by_key, lower_key(format, name, version, key));
    if (m || version.n > 0)
        return m;
    for (size_t i = 0; i < c->n; i++) {
        const struct model *other = c->all[i];
        if (str_ieq(other->format, format) && str_ieq(other->name, name) &&
            (!m || str_cmp(other->version, m->version) > 0))
            m = other;
    }
    return m;
}
