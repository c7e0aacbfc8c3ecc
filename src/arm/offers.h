/* offers.h - what is for sale: sizes, largest sizes, default quotas and the names of quotas. */
#ifndef ARM_OFFERS_H
#define ARM_OFFERS_H

#include "model/catalog.h"

/*
 * The default quotas and largest sizes of data/quotas.json, which is built into the binary, for
 * lookups by model and SKU. Immutable after offers_new; knows nothing of what is sold already.
 *
 * Units. A provisioned size is in PTUs, and so is its quota. A standard size is in units, each worth
 * the model's `standard_tpm` tokens a minute (1,000 for most), and its quota in thousands of tokens a
 * minute (ARM contract, section 5): one unit of a model with 10,000 takes ten.
 */
struct offers;

struct offers *offers_new(const struct siphash_key *key);
void offers_free(struct offers *o); /* accepts NULL */

/* The sizes of one model under one SKU: minimum + k * step, up to maximum. */
struct offer_sizes {
    bool is_offered; /* else the rest is 0 */
    int64_t minimum, step, maximum;
};

/* The model's own minimum and step; the maximum from the data, cut to minimum + k * step. */
struct offer_sizes offers_sizes(const struct offers *o, const struct model *m, enum sku sku);

bool offer_is_size(const struct offer_sizes *s, int64_t size);

/* The largest valid size that is not above `size`; 0 when even the minimum is. */
int64_t offer_size_below(const struct offer_sizes *s, int64_t size);

/* The smallest valid size that is not below `size`; 0 when that is above the maximum. */
int64_t offer_size_above(const struct offer_sizes *s, int64_t size);

/* What a deployment of that size takes of its quota, and the largest size that `units` of quota
 * allow, whether valid or not. Sizes are at most 100,000, so nothing overflows. */
int64_t offers_quota_units(const struct model *m, enum sku sku, int64_t size);
int64_t offers_size_for(const struct model *m, enum sku sku, int64_t units);

/* The quota that a subscription has in each location unless the operator says otherwise. `format`
 * and `model` are not looked at for provisioned SKUs, whose quota is one for all models. */
int64_t offers_default_quota(const struct offers *o, struct str format, struct str model,
                             enum sku sku);

/*
 * The two names of a quota (ARM contract, section 5): "OpenAI.Standard.gpt-4o" and "Tokens Per Minute
 * (thousands) - gpt-4o"; "OpenAI.ProvisionedManaged" and "Provisioned Managed Throughput Unit" for
 * provisioned SKUs, which need no model. The prefix is "AIServices" for formats other than OpenAI.
 * `out` holds OFFERS_NAME_MAX bytes.
 */
enum { OFFERS_NAME_MAX = 160 };
struct str offers_quota_name(struct str format, struct str model, enum sku sku, char *out);
struct str offers_quota_title(struct str model, enum sku sku, char *out);

/* Which quota a name of offers_quota_name means, in the catalog's spelling: views into it. Format and
 * model are "" for a provisioned SKU. False when no model of the catalog is sold so. */
bool offers_quota_of(const struct catalog *c, struct str name, enum sku *sku, struct str *format,
                     struct str *model) MUST_USE;

#endif
