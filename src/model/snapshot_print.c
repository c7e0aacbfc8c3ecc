/* snapshot_print.c - a snapshot as the list of resources that would make it, without the secrets. */
#include "model/snapshot_private.h"

#include <stdio.h>
#include <stdlib.h>

static void put_str(struct json_writer *w, const char *key, struct str value) {
    json_key(w, str_of(key));
    json_str_value(w, value);
}

/* Nothing at all for "": what is not set is not shown. */
static void put_optional(struct json_writer *w, const char *key, struct str value) {
    if (value.n > 0)
        put_str(w, key, value);
}

static void put_i64(struct json_writer *w, const char *key, int64_t value) {
    json_key(w, str_of(key));
    json_i64_value(w, value);
}

/* Thousandths as a decimal number. */
static void put_milli(struct json_writer *w, const char *key, int64_t milli) {
    char text[32];
    int n = snprintf(text, sizeof text, "%lld.%03lld", (long long)(milli / 1000),
                     (long long)(milli % 1000));
    while (text[n - 1] == '0')
        n--;
    n -= text[n - 1] == '.';
    json_key(w, str_of(key));
    json_raw(w, (struct str){text, (size_t)n});
}

static void begin(struct json_writer *w, const char *key) {
    json_key(w, str_of(key));
    json_begin_object(w);
}

static void begin_resource(struct json_writer *w, struct str id) {
    json_begin_object(w);
    put_str(w, "id", id);
}

static void end_resource(struct json_writer *w) {
    json_end_object(w); /* properties */
    json_end_object(w);
}

static void put_framing(struct json_writer *w, const struct model_framing *f) {
    if (f->per_message < 0 && f->per_name < 0 && f->per_reply < 0)
        return;
    begin(w, "framing");
    if (f->per_message >= 0)
        put_i64(w, "tokensPerMessage", f->per_message);
    if (f->per_name >= 0)
        put_i64(w, "tokensPerName", f->per_name);
    if (f->per_reply >= 0)
        put_i64(w, "tokensPerReply", f->per_reply);
    json_end_object(w);
}

static void put_skus(struct json_writer *w, const struct model *m) {
    begin(w, "skus");
    for (int s = 0; s < SKU_COUNT; s++) {
        json_key(w, sku_names[s]);
        if (!m->sizes[s].is_offered) {
            json_null_value(w);
            continue;
        }
        json_begin_object(w);
        put_i64(w, "minimum", m->sizes[s].minimum);
        put_i64(w, "step", m->sizes[s].step);
        if (m->sizes[s].maximum > 0)
            put_i64(w, "maximum", m->sizes[s].maximum);
        json_end_object(w);
    }
    json_end_object(w);
}

static void print_model(struct json_writer *w, const struct model *m) {
    char id[256];
    int n = snprintf(id, sizeof id, "/providers/Weir.Capacity/models/%.*s.%.*s.%.*s",
                     STR_ARG(m->format), STR_ARG(m->name), STR_ARG(m->version));
    begin_resource(w, (struct str){id, (size_t)n});
    begin(w, "properties");
    begin(w, "model");
    put_str(w, "format", m->format);
    put_str(w, "name", m->name);
    put_str(w, "version", m->version);
    json_end_object(w);
    put_str(w, "kind", model_kind_names[m->kind]);
    if (m->input_tpm_per_ptu > 0)
        put_i64(w, "inputTpmPerPtu", m->input_tpm_per_ptu);
    put_milli(w, "outputWeight", m->output_weight_milli);
    put_milli(w, "cachedWeight", m->cached_weight_milli);
    json_key(w, STR("inputTiers"));
    json_begin_array(w);
    for (int i = 0; i < m->n_tiers; i++) {
        json_begin_object(w);
        put_i64(w, "fromTokens", m->tiers[i].from_tokens);
        put_milli(w, "weight", m->tiers[i].weight_milli);
        json_end_object(w);
    }
    json_end_array(w);
    put_skus(w, m);
    begin(w, "standardUnit");
    put_i64(w, "tpm", m->standard_tpm);
    put_i64(w, "rpm", m->standard_rpm);
    json_end_object(w);
    put_i64(w, "latencyTargetTps", m->latency_target_tps);
    put_i64(w, "maxContextTokens", m->max_context_tokens);
    put_i64(w, "maxProvisionedPromptTokens", m->max_provisioned_prompt);
    put_optional(w, "tokenizer", m->tokenizer);
    if (m->encoding != MODEL_ENCODING_BY_NAME)
        put_str(w, "encoding", model_encoding_names[m->encoding]);
    put_framing(w, &m->framing);
    put_optional(w, "source", m->source);
    put_optional(w, "date", m->date);
    end_resource(w);
}

static void print_location(struct json_writer *w, const struct location *l) {
    begin_resource(w, l->id);
    begin(w, "properties");
    put_str(w, "displayName", l->display_name);
    put_optional(w, "dataZone", l->data_zone);
    end_resource(w);
}

static void print_pool(struct json_writer *w, const struct pool *p) {
    begin_resource(w, p->id);
    put_str(w, "location", p->location->name);
    begin(w, "properties");
    put_i64(w, "ptus", p->ptus);
    json_key(w, STR("models"));
    json_begin_array(w);
    for (size_t i = 0; i < p->n_models; i++) {
        json_begin_object(w);
        put_str(w, "format", p->models[i].format);
        put_str(w, "name", p->models[i].name);
        put_optional(w, "version", p->models[i].version);
        json_end_object(w);
    }
    json_end_array(w);
    end_resource(w);
}

static void print_backend(struct json_writer *w, const struct backend *b) {
    begin_resource(w, b->id);
    begin(w, "properties");
    put_str(w, "url", b->url_text);
    put_str(w, "dialect", b->dialect == DIALECT_AZURE ? STR("azure") : STR("openai"));
    if (b->auth_header.n > 0) {
        bool is_bearer = str_starts(b->auth_header, STR("authorization"));
        put_str(w, "apiKeyHeader", is_bearer ? STR("authorization") : STR("api-key"));
        put_str(w, "apiKey", STR("***"));
    }
    put_optional(w, "modelName", b->model_name);
    put_optional(w, "deploymentName", b->deployment_name);
    put_optional(w, "apiVersion", b->api_version);
    put_i64(w, "weight", b->weight);
    put_i64(w, "priority", b->priority);
    put_str(w, "onClientGone",
            b->on_client_gone == CLIENT_GONE_DRAIN ? STR("drain") : STR("cancel"));
    put_optional(w, "caFile", b->ca_file);
    json_key(w, STR("insecureSkipVerify"));
    json_bool_value(w, b->is_insecure);
    put_i64(w, "maxConnections", b->max_connections);
    put_i64(w, "connectTimeoutMs", b->connect_timeout_ms);
    put_i64(w, "firstByteTimeoutMs", b->first_byte_timeout_ms);
    put_i64(w, "idleTimeoutMs", b->idle_timeout_ms);
    end_resource(w);
}

static void print_account(struct json_writer *w, const struct account *a) {
    begin_resource(w, a->id);
    put_str(w, "kind", a->kind);
    put_str(w, "location", a->location->name);
    begin(w, "properties");
    put_optional(w, "customSubDomainName", a->subdomain);
    begin(w, "keys");
    put_optional(w, "key1", a->keys[0].n ? STR("***") : STR(""));
    put_optional(w, "key2", a->keys[1].n ? STR("***") : STR(""));
    json_end_object(w);
    end_resource(w);
}

static void print_deployment(struct json_writer *w, const struct deployment *d) {
    begin_resource(w, d->id);
    begin(w, "sku");
    put_str(w, "name", sku_names[d->sku]);
    put_i64(w, "capacity", d->capacity);
    json_end_object(w);
    begin(w, "properties");
    begin(w, "model");
    put_str(w, "format", d->model->format);
    put_str(w, "name", d->model->name);
    put_str(w, "version", d->model->version);
    json_end_object(w);
    begin(w, "weir");
    if (d->is_provisioned)
        put_i64(w, "depthWindowMs", d->depth_window_ms);
    else
        put_str(w, "standardMode", d->is_strict ? STR("strict") : STR("reach"));
    json_end_object(w);
    end_resource(w);
}

static int by_id(const void *a, const void *b) {
    const struct account *x = *(const struct account *const *)a;
    const struct account *y = *(const struct account *const *)b;
    return str_cmp(x->key, y->key);
}

/* By their ids: slots tell in which order they came. */
static const struct account **sort_accounts(const struct snapshot *s) {
    const struct account **sorted = xcalloc(s->n_accounts, sizeof *sorted), *a;
    size_t n = 0;
    for (size_t at = 0; snapshot_next_account(s, &at, &a);)
        sorted[n++] = a;
    qsort(sorted, n, sizeof *sorted, by_id);
    return sorted;
}

void snapshot_print(const struct snapshot *s, struct json_writer *w) {
    const struct ground *g = s->ground;
    const struct account **accounts = sort_accounts(s);
    json_begin_object(w);
    json_key(w, STR("value"));
    json_begin_array(w);
    for (size_t i = 0; i < g->catalog.n; i++) {
        if (g->catalog.all[i]->is_own)
            print_model(w, g->catalog.all[i]);
    }
    for (size_t i = 0; i < g->n_locations; i++)
        print_location(w, &g->locations[i]);
    for (size_t i = 0; i < g->n_pools; i++)
        print_pool(w, &g->pools[i]);
    for (size_t i = 0; i < g->n_backends; i++)
        print_backend(w, &g->backends[i]);
    for (size_t i = 0; i < s->n_accounts; i++)
        print_account(w, accounts[i]);
    for (size_t i = 0; i < s->n_accounts; i++) {
        for (size_t j = 0; j < accounts[i]->n_deployments; j++)
            print_deployment(w, &accounts[i]->deployments[j]);
    }
    json_end_array(w);
    json_end_object(w);
    free(accounts);
}
