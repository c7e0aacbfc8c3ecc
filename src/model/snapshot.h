/* snapshot.h - the compiled configuration that the data plane reads: immutable, swapped whole. */
#ifndef MODEL_SNAPSHOT_H
#define MODEL_SNAPSHOT_H

#include "model/catalog.h"
#include "model/resources.h"
#include "model/url.h"

/*
 * A snapshot is built in one go from a set of resources, or not at all. Afterwards nothing in it
 * changes, so any thread may read it while it holds a reference. All pointers and texts in the
 * structs below live as long as the snapshot; what must outlive it is kept by id (room live).
 *
 * It has two parts. What the operator has (models, locations, pools, backends) is compiled as one.
 * What is sold is compiled account by account: a snapshot that is made from another one by
 * snapshot_patch shares with it all accounts that did not change, each counted. So a change costs
 * what changes, and a pointer to an account that is the same in two snapshots says that nothing in
 * it differs.
 */
struct snapshot;

/* A place where accounts and pools are. */
struct location {
    size_t index;
    struct str id, name;
    struct str display_name;
    struct str data_zone; /* "" when the location belongs to none */
};

/* Real capacity in one location. */
struct pool {
    size_t index;
    struct str id, name;
    const struct location *location;
    int64_t ptus; /* that it is worth, whatever the model; 0: for standard deployments only */
    const struct pool_model *models;
    size_t n_models;
    const struct backend *backends; /* side by side */
    size_t n_backends;
};

/* One model that a pool serves. */
struct pool_model {
    struct str format, name;
    struct str version; /* "" serves all versions */
};

enum dialect {
    DIALECT_OPENAI, /* paths below /v1 */
    DIALECT_AZURE,  /* paths below /openai/deployments/{name}, with an api-version */
    DIALECT_COUNT
};

enum on_client_gone {
    CLIENT_GONE_CANCEL, /* close the connection: the server stops generating */
    CLIENT_GONE_DRAIN,  /* read to the end and throw it away: the server cannot stop anyway */
    CLIENT_GONE_COUNT
};

/* One base URL of a model server. */
struct backend {
    size_t index;
    struct str id, name;
    const struct pool *pool;
    struct str url_text;
    struct url url;
    enum dialect dialect;
    struct str auth_header; /* secret, ready to be sent: "authorization: Bearer ...\r\n", or "" */
    struct str model_name;  /* to send as `model`; "": the model's own name */
    struct str deployment_name; /* DIALECT_AZURE: for the path; "": the model's own name */
    struct str api_version;     /* DIALECT_AZURE */
    int64_t weight;             /* share of the load among backends of one priority, 1 .. 1000 */
    int64_t priority; /* the lowest number that has an eligible backend is used, 1 .. 100 */
    enum on_client_gone on_client_gone;
    struct str ca_file;         /* further trusted certificates; "": those of the system */
    bool is_insecure;           /* any certificate will do */
    int64_t max_connections;    /* of the whole process; 0: no limit of its own */
    int64_t connect_timeout_ms; /* until the connection stands, TLS included */
    int64_t
        first_byte_timeout_ms; /* from the last byte of the request to the end of the answer's head */
    int64_t idle_timeout_ms;   /* between two bytes of an answer */
};

/* An "Azure OpenAI resource": the unit that has keys. */
struct account {
    /* Its place in every snapshot that has it, below snapshot_n_slots; of two accounts that one
     * snapshot has, never the same. */
    size_t slot;
    struct str key; /* the id in lower case */
    struct str id, name, subscription, resource_group;
    struct str kind; /* "OpenAI" or "AIServices" */
    const struct location *location;
    struct str subdomain;                 /* lower case; "" when it has none */
    struct str keys[2];                   /* secret; "" when not given */
    const struct deployment *deployments; /* side by side, in order of their lower-case names */
    size_t n_deployments;
};

/* Of one deployment; with more the configuration is refused. As many as room balance chooses among. */
enum { DEPLOYMENT_BACKENDS_MAX = 64 };

/* A model under a name, with a size. */
struct deployment {
    size_t index; /* among those of its account */
    struct str id, name;
    const struct account *account;
    const struct model *model;
    enum sku sku;
    bool is_provisioned;
    int64_t capacity; /* PTUs, or standard units */

    /* Provisioned: capacity * input TPM per PTU * 1000, in mt a minute, and the time that 100 % of
     * utilization stands for (admission spec 0 and 1.7). Else 0. */
    int64_t rate_mt_per_min;
    int64_t depth_window_ms;

    /* Standard: calls and tokens a minute; strict refuses the call that would cross the line, where
     * the default refuses the first one after it (admission spec 3.2). Else 0. */
    int64_t tpm, rpm;
    bool is_strict;

    /* What a token costs, in mt (admission spec 1.2). */
    int64_t input_weight_milli, cached_weight_milli, output_weight_milli;

    /* All backends of all pools that may serve it, in order of index. None is a valid state: each
     * call is then answered with ST_NO_BACKEND. */
    const struct backend *const *backends;
    size_t n_backends;
};

/* Where a secret is when it is not in the resource itself. */
enum secret_source {
    SECRET_FILE, /* the file's whole text, but for blanks at its ends */
    SECRET_ENV,  /* the environment variable */
};

/*
 * Reads secrets for snapshot_build, which is pure. `from` is the file name that was given to
 * resources_add, for those who look for relative names beside it. A status other than ST_OK refuses
 * the configuration. `read` may be NULL: then such secrets are refused.
 */
struct secret_reader {
    enum status (*read)(void *arg, enum secret_source source, struct str name, struct str from,
                        struct buf *out);
    void *arg;
};

/*
 * Compiles the whole set; `hash` keys the tables that outsiders may probe. On success *out has one
 * reference and nothing in it points into `set`. ST_BAD_REQUEST otherwise, with the place
 * ("pools.json:/value/3/properties/ptus") and the cure in `why`. The outcome does not depend on the
 * order of files, resources or members.
 */
enum status snapshot_build(const struct resources *set, const struct secret_reader *secrets,
                           const struct siphash_key *hash, struct snapshot **out,
                           struct problem *why) MUST_USE;

/*
 * The snapshot in which some accounts are other than in `before`, at the cost of those. Gone from it
 * are the accounts whose keys (resource_id_key) are named; then those of `set` are added, each with
 * all its deployments, and take the place of the ones that had their ids. Any other resource in the
 * set is refused: what the operator has is compiled by snapshot_build alone. Else as there, and it
 * says the same as what snapshot_build would make of the whole; only slots may differ.
 */
enum status snapshot_patch(struct snapshot *before, const struct str *gone, size_t n_gone,
                           const struct resources *set, const struct secret_reader *secrets,
                           struct snapshot **out, struct problem *why) MUST_USE;

/* References may be taken and given back by any thread; the last one frees. Both accept NULL. */
struct snapshot *snapshot_ref(struct snapshot *s);
void snapshot_unref(struct snapshot *s);

/* Whether both were made from one state of what the operator has: then their locations, pools and
 * backends are the same structs. */
bool snapshot_is_patch_of(const struct snapshot *s, const struct snapshot *before);

/* Remarks about what was accepted: unknown fields, deployments without backends. After snapshot_patch
 * only about what it compiled. */
const struct warnings *snapshot_warnings(const struct snapshot *s);

const struct catalog *snapshot_catalog(const struct snapshot *s);

/* The arrays, whose positions are the indexes. They depend on nothing but the ids of the resources. */
const struct location *snapshot_locations(const struct snapshot *s, size_t *n);
const struct pool *snapshot_pools(const struct snapshot *s, size_t *n);
const struct backend *snapshot_backends(const struct snapshot *s, size_t *n);

/* The account in a slot, NULL when it is free. */
size_t snapshot_n_slots(const struct snapshot *s);
const struct account *snapshot_account_at(const struct snapshot *s, size_t slot);

/* The iterator over all accounts, in order of slots: *at starts at 0. False at the end. */
bool snapshot_next_account(const struct snapshot *s, size_t *at, const struct account **out);

size_t snapshot_n_accounts(const struct snapshot *s);
size_t snapshot_n_deployments(const struct snapshot *s);

/* Keeps an account of a snapshot, with its deployments, beyond it: but for location, model and
 * backends, which go with the snapshots. Any thread; the last one frees. */
const struct account *account_ref(const struct account *a);
void account_unref(const struct account *a); /* accepts NULL */

/*
 * Lookups; NULL when there is none. Both keys of an account find it, compared in a time that does
 * not depend on where they differ. A host has no port and is known by its first label, the account's
 * custom subdomain, whatever follows it: "demo.openai.azure.com" and "demo.localhost" are the same.
 * Names of deployments and hosts compare without regard to case, as in Azure.
 */
const struct account *snapshot_account_by_key(const struct snapshot *s, struct str key);
const struct account *snapshot_account_by_host(const struct snapshot *s, struct str host);
const struct deployment *account_deployment(const struct account *account, struct str name);

/* The effective configuration as a list of resources, defaults filled in, secrets as "***", and of
 * the models only those of the operator. For `weir config print`. */
void snapshot_print(const struct snapshot *s, struct json_writer *w);

#endif
