#include "arm/lists.h"

#include "base/wide.h"
#include "model/resource_id.h"
#include "sizing/sizing.h"

#include <stdio.h>
#include <stdlib.h>

static void put_str(struct json_writer *w, const char *key, struct str value) {
    json_key(w, str_of(key));
    json_str_value(w, value);
}

static void put_i64(struct json_writer *w, const char *key, int64_t value) {
    json_key(w, str_of(key));
    json_i64_value(w, value);
}

static void put_model(struct json_writer *w, const struct model *m) {
    json_key(w, STR("model"));
    json_begin_object(w);
    put_str(w, "format", m->format);
    put_str(w, "name", m->name);
    put_str(w, "version", m->version);
    json_end_object(w);
}

/* ---- $filter ---- */

static bool cut_word(struct str *rest, struct str word) {
    *rest = str_trim(*rest);
    if (!str_istarts(*rest, word))
        return false;
    *rest = str_skip(*rest, word.n);
    return true;
}

/* Takes "name.value eq 'X'" and what joins it to the next one off `rest`. */
static bool cut_condition(struct str *rest, struct str *name) {
    if (!cut_word(rest, STR("name.value ")) || !cut_word(rest, STR("eq")) ||
        !cut_word(rest, STR("'")))
        return false;
    ptrdiff_t end = str_find(*rest, STR("'"));
    if (end < 0)
        return false;
    *name = (struct str){rest->p, (size_t)end};
    *rest = str_trim(str_skip(*rest, (size_t)end + 1));
    return rest->n == 0 || (cut_word(rest, STR("or ")) && str_trim(*rest).n > 0);
}

bool lists_filter_check(struct str filter) {
    struct str rest = str_trim(filter), name;
    while (rest.n > 0) {
        if (!cut_condition(&rest, &name))
            return false;
    }
    return true;
}

bool lists_filter_passes(struct str filter, struct str name) {
    struct str rest = str_trim(filter), one;
    if (rest.n == 0)
        return true;
    while (rest.n > 0 && cut_condition(&rest, &one)) {
        if (str_ieq(one, name))
            return true;
    }
    return false;
}

/* ---- usages ---- */

void lists_usage(struct json_writer *w, struct str name, struct str title, int64_t used,
                 int64_t limit) {
    json_begin_object(w);
    json_key(w, STR("name"));
    json_begin_object(w);
    put_str(w, "value", name);
    put_str(w, "localizedValue", title);
    json_end_object(w);
    put_str(w, "unit", STR("Count"));
    put_i64(w, "currentValue", used);
    put_i64(w, "limit", limit);
    json_end_object(w);
}

static void put_usage(const struct lists *from, const struct ledger_quota_key *key,
                      struct str filter, struct json_writer *w) {
    char name_text[OFFERS_NAME_MAX], title_text[OFFERS_NAME_MAX];
    struct str name = offers_quota_name(key->format, key->model, key->sku, name_text);
    if (!lists_filter_passes(filter, name))
        return;
    struct ledger_quota q = ledger_quota(from->ledger, key);
    lists_usage(w, name, offers_quota_title(key->model, key->sku, title_text), q.used, q.limit);
}

/* Versions of one model share their quota: it is listed with the first that is sold so. */
static bool is_first_sold(const struct catalog *c, size_t position, enum sku sku) {
    const struct model *m = c->all[position];
    if (!m->sizes[sku].is_offered)
        return false;
    for (size_t i = 0; i < position; i++) {
        const struct model *other = c->all[i];
        if (other->sizes[sku].is_offered && str_ieq(other->name, m->name) &&
            str_ieq(other->format, m->format))
            return false;
    }
    return true;
}

void lists_usages(const struct lists *from, struct str subscription, struct str location,
                  struct str filter, struct json_writer *w) {
    const struct catalog *c = from->catalog;
    for (int sku = SKU_PROVISIONED; sku < SKU_COUNT; sku++)
        put_usage(
            from,
            &(struct ledger_quota_key){subscription, location, (enum sku)sku, STR(""), STR("")},
            filter, w);
    for (size_t i = 0; i < c->n; i++) {
        for (int sku = 0; sku < SKU_PROVISIONED; sku++) {
            if (is_first_sold(c, i, (enum sku)sku))
                put_usage(from,
                          &(struct ledger_quota_key){subscription, location, (enum sku)sku,
                                                     c->all[i]->format, c->all[i]->name},
                          filter, w);
        }
    }
}

/* ---- modelCapacities ---- */

/* One item; its id is put together as ARM's examples have it. */
static void put_capacity(struct str subscription, const struct model *m,
                         const struct ledger_place *p, struct json_writer *w) {
    struct buf id;
    buf_init(&id, 4096);
    buf_printf(&id,
               "/subscriptions/%.*s/providers/Microsoft.CognitiveServices/locations/%.*s/models/"
               "%.*s.%.*s.%.*s/skuCapacities/%.*s",
               STR_ARG(subscription), STR_ARG(p->location), STR_ARG(m->format), STR_ARG(m->name),
               STR_ARG(m->version), STR_ARG(sku_names[p->sku]));
    json_begin_object(w);
    put_str(w, "id", buf_view(&id));
    put_str(w, "type", STR("Microsoft.CognitiveServices/locations/models/skuCapacities"));
    put_str(w, "name", sku_names[p->sku]);
    put_str(w, "location", p->location);
    json_key(w, STR("properties"));
    json_begin_object(w);
    put_model(w, m);
    put_str(w, "skuName", sku_names[p->sku]);
    put_i64(w, "availableCapacity", p->largest);
    put_i64(w, "availableFinetuneCapacity", 0);
    json_end_object(w);
    json_end_object(w);
    buf_destroy(&id);
}

void lists_capacities(const struct lists *from, struct str subscription, struct str location,
                      const struct model *m, struct json_writer *w) {
    size_t room = 64, n;
    struct ledger_place *places = xcalloc(room, sizeof *places);
    n = ledger_places(from->ledger, subscription, location, m, places, room);
    if (n > room) {
        room = n;
        places = xrealloc(places, room * sizeof *places);
        n = ledger_places(from->ledger, subscription, location, m, places, room);
    }
    for (size_t i = 0; i < n; i++)
        put_capacity(subscription, m, &places[i], w);
    free(places);
}

/* ---- calculateModelCapacity ---- */

/* What the prompt weighs when further tokens of a long one weigh more, in whole tokens, rounded up. */
static int64_t weighed_prompt(const struct model *m, int64_t tokens) {
    if (m->n_tiers == 0)
        return tokens;
    i128 milli = 0;
    for (int i = 0; i < m->n_tiers; i++) {
        int64_t to = i + 1 < m->n_tiers ? m->tiers[i + 1].from_tokens : INT64_MAX;
        int64_t in = i64_min(tokens, to) - m->tiers[i].from_tokens;
        milli += (i128)i64_max(in, 0) * m->tiers[i].weight_milli;
    }
    return i128_to_i64(i128_div_ceil(milli, 1000));
}

/* Input-equivalent tokens a minute of one workload, in thousandths. */
static int64_t read_workload(struct reader *r, struct json_value v, const struct model *m,
                             const struct sizing_model *costs, size_t position) {
    struct fields f, one;
    struct sizing_load load = {0};
    int64_t cached = 0;
    char path[32];
    snprintf(path, sizeof path, "/workloads/%zu", position);
    fields_begin(&f, r, v, path);
    bool has_rate = fields_milli(&f, "requestPerMinute", 0, SIZING_RPM_MAX * 1000, &load.rpm_milli);
    fields_require(&f, "requestPerMinute", has_rate, "say how many calls a minute");
    if (fields_object(&f, "requestParameters", &one)) {
        fields_i64(&one, "avgPromptTokens", 0, SIZING_TOKENS_MAX, &load.prompt_tokens);
        fields_i64(&one, "avgGeneratedTokens", 0, SIZING_TOKENS_MAX, &load.output_tokens);
        fields_i64(&one, "avgCachedTokens", 0, load.prompt_tokens, &cached);
        fields_end(&one);
    } else {
        fields_require(&f, "requestParameters", false,
                       "it holds avgPromptTokens and avgGeneratedTokens");
    }
    fields_end(&f);
    /* Cached tokens are whole ones here, so they are weighed apart instead of as a share. */
    struct sizing_load fresh = load, hits = {load.rpm_milli, cached, 0, SIZING_PPM};
    fresh.prompt_tokens = weighed_prompt(m, load.prompt_tokens - cached);
    return i128_to_i64((i128)sizing_tpm_milli(&fresh, costs) + sizing_tpm_milli(&hits, costs));
}

/* The model and the SKU that the body names; NULL after a fault. */
static const struct model *read_subject(const struct lists *from, struct fields *f, int *sku) {
    struct fields one;
    struct str format = STR("OpenAI"), name = STR(""), version = STR("");
    if (!fields_object(f, "model", &one)) {
        fields_require(f, "model", false, "it holds format, name and version");
        return NULL;
    }
    fields_str(&one, "format", 1, RESOURCE_NAME_MAX, &format);
    fields_require(&one, "name", fields_str(&one, "name", 1, RESOURCE_NAME_MAX, &name),
                   "name a model of the catalog");
    fields_str(&one, "version", 0, RESOURCE_NAME_MAX, &version);
    fields_end(&one);
    fields_require(f, "skuName", fields_enum(f, "skuName", sku_names, SKU_COUNT, sku),
                   "name a provisioned SKU");
    if (f->r->status != ST_OK)
        return NULL;
    const struct model *m = catalog_find(from->catalog, format, name, version);
    if (!m) {
        fields_refuse(f, "model", "the catalog has no model %.*s.%.*s.%.*s", STR_ARG(format),
                      STR_ARG(name), STR_ARG(version));
    } else if (!sku_is_provisioned((enum sku) * sku)) {
        fields_refuse(f, "skuName",
                      "the calculator counts PTUs: ProvisionedManaged, DataZoneProvisionedManaged "
                      "or GlobalProvisionedManaged");
    } else if (!m->sizes[*sku].is_offered) {
        fields_refuse(f, "skuName", "%.*s %.*s is not sold as %.*s", STR_ARG(m->name),
                      STR_ARG(m->version), STR_ARG(sku_names[*sku]));
    }
    return f->r->status == ST_OK ? m : NULL;
}

enum status lists_calculate(const struct lists *from, struct json_value body, struct json_writer *w,
                            struct problem *why) {
    struct reader r;
    struct fields f;
    struct json_iter it;
    struct json_value item;
    int sku = 0;
    reader_init(&r, STR(""), STR(""), why, NULL);
    fields_begin(&f, &r, body, "");
    const struct model *m = read_subject(from, &f, &sku);
    bool has_list = fields_array(&f, "workloads", &it);
    fields_require(&f, "workloads", has_list, "list what is to be carried");
    fields_end(&f);
    if (r.status != ST_OK)
        return r.status;
    assert(m);
    struct sizing_model costs = {.input_tpm_per_ptu = m->input_tpm_per_ptu,
                                 .output_weight_milli = m->output_weight_milli,
                                 .discount_ppm = SIZING_PPM - m->cached_weight_milli * 1000};
    i128 sum = 0;
    for (size_t i = 0; r.status == ST_OK && json_next(&it, &item); i++)
        sum += read_workload(&r, item, m, &costs, i);
    if (r.status != ST_OK)
        return r.status;
    /* Workloads share one deployment, so they are rounded up together, not one by one. */
    int64_t value = sizing_ptus(i128_to_i64(sum), &costs, SIZING_PPM);
    const struct sku_sizes *sizes = &m->sizes[sku];
    json_begin_object(w);
    put_model(w, m);
    put_str(w, "skuName", sku_names[sku]);
    json_key(w, STR("estimatedCapacity"));
    json_begin_object(w);
    put_i64(w, "value", value);
    put_i64(w, "deployableValue", sizing_deployable(value, sizes->minimum, sizes->step));
    json_end_object(w);
    json_end_object(w);
    return ST_OK;
}
