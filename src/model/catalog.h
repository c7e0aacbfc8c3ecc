/* catalog.h - models: what a unit of capacity carries, and in which sizes it is sold. */
#ifndef MODEL_CATALOG_H
#define MODEL_CATALOG_H

#include "base/arena.h"
#include "base/map.h"
#include "model/fields.h"

enum sku {
    SKU_STANDARD,
    SKU_DATA_ZONE_STANDARD,
    SKU_GLOBAL_STANDARD,
    SKU_PROVISIONED,
    SKU_DATA_ZONE_PROVISIONED,
    SKU_GLOBAL_PROVISIONED,
    SKU_COUNT
};

/* How far from the account's location a call may be served. */
enum reach { REACH_LOCATION, REACH_DATA_ZONE, REACH_GLOBAL };

/* "Standard", "ProvisionedManaged" ...: the names on the wire (ARM contract, section 4). */
extern const struct str sku_names[SKU_COUNT];
bool sku_is_provisioned(enum sku sku);
enum reach sku_reach(enum sku sku);

enum model_kind { MODEL_CHAT, MODEL_COMPLETION, MODEL_EMBEDDING, MODEL_KIND_COUNT };
extern const struct str model_kind_names[MODEL_KIND_COUNT]; /* "chat", "completion", "embedding" */

/* A size is valid when it is minimum + k * step, and not above the maximum. */
struct sku_sizes {
    bool is_offered;
    int64_t minimum, step; /* PTUs, or units of standard_tpm tokens a minute */
    int64_t maximum;       /* of one deployment; 0: the control plane's own list says */
};

/* From `from_tokens` uncached prompt tokens on, a further one weighs `weight_milli`. */
struct input_tier {
    int64_t from_tokens, weight_milli;
};

enum { MODEL_TIERS_MAX = 4 };

/* The built-in vocabulary that counts a model's prompts. */
enum model_encoding { MODEL_ENCODING_BY_NAME, MODEL_CL100K, MODEL_O200K, MODEL_ENCODING_COUNT };
extern const struct str
    model_encoding_names[MODEL_ENCODING_COUNT]; /* "by-name", "cl100k_base" ... */

/* Tokens around a chat's texts, as the operator knows them; -1: what is known of the model. */
struct model_framing {
    int64_t per_message, per_name, per_reply;
};

/*
 * Weights are in thousandths of an input token: 3,000 means that one such token counts as three
 * (admission spec 1.2). Texts live as long as the catalog's arena.
 */
struct model {
    struct str format, name, version; /* "OpenAI", "gpt-4o", "2024-08-06"; the version may be "" */
    struct str full_name;             /* as answers name it: "gpt-4o-2024-08-06" */
    enum model_kind kind;
    int64_t
        input_tpm_per_ptu; /* input tokens a minute that one PTU carries; 0: never provisioned */
    int64_t output_weight_milli, cached_weight_milli;
    struct input_tier tiers[MODEL_TIERS_MAX]; /* rising; none: each token weighs 1,000 */
    int n_tiers;
    struct sku_sizes sizes[SKU_COUNT];
    int64_t standard_tpm, standard_rpm; /* that come with one unit of a standard SKU */
    int64_t latency_target_tps;         /* tokens a second and call; 0: no target is known */
    int64_t max_context_tokens;         /* prompt and answer together; 0: not known, not checked */
    int64_t max_provisioned_prompt;     /* tokens of a prompt to a provisioned deployment; 0: any */
    struct str tokenizer;         /* the path of the tokenizer.json to count prompts by; "": none */
    enum model_encoding encoding; /* for prompts that no tokenizer.json counts */
    struct model_framing framing;
    struct str source, date; /* where the numbers come from */
    bool is_own;             /* the operator added or changed it */
};

/* Owned by a snapshot. Later entries of one key change earlier ones. */
struct catalog {
    struct arena *arena; /* borrowed; holds the models and their texts */
    struct map by_key;   /* lower-case "format.name.version" to struct model */
    struct model **all;  /* owned; in the order in which they came */
    size_t n, capacity;
};

/* Reads the list that is built into the binary (data/catalog.json); a fault there is ours. */
void catalog_init(struct catalog *c, struct arena *arena, const struct siphash_key *key);
void catalog_destroy(struct catalog *c);

/*
 * Adds or changes one entry from the resource /providers/Weir.Capacity/models/{name}, whose `value`
 * is the whole resource. Faults go to the reader. A model that the catalog already has keeps what
 * the resource doesn't mention. A new one is sold under the three standard SKUs, and under the
 * provisioned ones in any whole number of PTUs, once it has inputTpmPerPtu.
 */
void catalog_add(struct catalog *c, struct str resource_name, struct json_value value,
                 struct reader *r, bool is_own);

/*
 * Names compare without regard to case. An empty version finds the newest one (by order of text,
 * which for dates is that of time). NULL when there is none.
 */
const struct model *catalog_find(const struct catalog *c, struct str format, struct str name,
                                 struct str version);

#endif
