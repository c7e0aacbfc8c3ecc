/* lists.h - the lists of quota and capacity that ARM's clients read, and the calculator's answer. */
#ifndef ARM_LISTS_H
#define ARM_LISTS_H

#include "arm/ledger.h"
#include "model/fields.h"

/* What the lists are made from; all borrowed. */
struct lists {
    const struct ledger *ledger;
    const struct offers *offers;
    const struct catalog *catalog;
};

/*
 * $filter of usages: "name.value eq 'A' or name.value eq 'B'", words in any case; "" lets all pass.
 * lists_filter_check is false for anything else, and lists_filter_passes then undefined.
 */
bool lists_filter_check(struct str filter) MUST_USE;
bool lists_filter_passes(struct str filter, struct str name);

/* One item: {"name": {"value", "localizedValue"}, "unit": "Count", "currentValue", "limit"}. */
void lists_usage(struct json_writer *w, struct str name, struct str title, int64_t used,
                 int64_t limit);

/*
 * The items of locations/{l}/usages into an array that the caller has begun: the three sums of PTUs,
 * then one a standard SKU and model name of the catalog, in its order. Quota that soft-deleted
 * accounts hold counts as used.
 */
void lists_usages(const struct lists *from, struct str subscription, struct str location,
                  struct str filter, struct json_writer *w);

/*
 * The items of modelCapacities, of one location or ("") of all, into an array that the caller has begun:
 * one a location and SKU that the model is sold under, with the largest size of a new deployment.
 */
void lists_capacities(const struct lists *from, struct str subscription, struct str location,
                      const struct model *m, struct json_writer *w);

/*
 * calculateModelCapacity: reads the request's body and writes the answer as one object. `value` is
 * what all workloads need together, in whole PTUs; `deployableValue` the smallest size that is enough. The
 * optional `avgCachedTokens` of a workload is ours. ST_BAD_REQUEST, with the field and the reason in
 * `why`, when the body is none, the model unknown or the SKU not a provisioned one that it is sold under.
 */
enum status lists_calculate(const struct lists *from, struct json_value body, struct json_writer *w,
                            struct problem *why) MUST_USE;

#endif
