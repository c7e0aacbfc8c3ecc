/* arm.h - the control plane as a function: an ARM request in, an answer and the rows to keep out. */
#ifndef ARM_ARM_H
#define ARM_ARM_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/siphash.h"
#include "base/status.h"

/*
 * One struct arm holds everything that operators and tenants manage: subscriptions, resource groups,
 * accounts, deployments, soft-deleted accounts, role assignments, locations, pools, backends, models,
 * quotas, and the ledgers of quota and capacity. It belongs to one thread. It knows no socket, file,
 * clock or random source: whatever it needs from outside stands in the request.
 *
 * A request is applied to memory at once and tells which rows of the store it changed. Whoever calls
 * makes those rows durable before he sends the answer. If that fails, memory and store disagree: free
 * this arm, load another one from the store, and answer 503.
 *
 * A change is obeyed later than it is stored: when every loop of the data plane holds a snapshot
 * built from arm_documents. Until arm_acting tells of it, the resource reads "Accepted", "Creating"
 * or "Deleting" and its operation "Running".
 *
 * Names and ids compare without regard to case and keep the spelling of their first writing.
 */
struct arm;

struct arm_settings {
    struct str tenant_id; /* a GUID */
    /* What users copy into clients: the reachable URL of the data plane. Each "{account}" in it stands
     * for the account's custom subdomain, or its name when it has none. */
    struct str data_endpoint;
    int64_t accounts_per_location; /* of a kind and subscription; 0: 30 (ARM contract 3) */
    int64_t standard_deployments_per_account; /* 0: 32 (ARM contract 3) */
    int64_t soft_delete_ms; /* how long a deleted account may be recovered; 0: 48 h (same) */
    int64_t page_size;      /* items a page of a list; 0: 100 */
};

/* Texts of the settings are copied. `hash` keys tables that outsiders may probe. */
struct arm *arm_new(const struct arm_settings *settings, const struct siphash_key *hash);
void arm_free(struct arm *arm); /* accepts NULL */

/* Changes the setting of that name: the data plane's port may be known late. */
void arm_set_data_endpoint(struct arm *arm, struct str url);

/*
 * Rows
 *
 * The store keeps them as they are and hands them back at the next start, in any order. `key` is
 * unique within its table. Bodies are JSON; those of the tables named by arm_table_is_secret hold
 * keys of accounts and backends, and are to be encrypted at rest.
 */
enum status arm_load(struct arm *arm, struct str table, struct str key, struct str body,
                     struct problem *why) MUST_USE;

/* After the last row: checks the whole, fills the ledgers. A fault means that the store is damaged or
 * was written by a newer version; the arm is then good for nothing but arm_free. */
enum status arm_loaded(struct arm *arm, struct problem *why) MUST_USE;

/* Names of all tables that rows may be put in; NULL behind the last one. */
const char *const *arm_tables(void);
bool arm_table_is_secret(struct str table);

enum arm_change_kind { ARM_PUT, ARM_DELETE };

struct arm_change {
    enum arm_change_kind kind;
    struct str table, key;
    struct str body; /* "" when it is deleted */
};

/* Who did what to what. Before and after are JSON without secrets, "" where there was or is none. */
struct arm_audit {
    struct str actor;  /* object id, or "system" */
    struct str action; /* "Microsoft.CognitiveServices/accounts/write" */
    struct str target; /* the resource's id */
    struct str before, after;
    int64_t at_ms;
};

/* Something to tell somebody outside, once the rows are kept: a POST of `body` to `url`. */
struct arm_notice {
    struct str url, body;
};

/* What one or several requests changed, in order; a later row of one key replaces an earlier one. */
struct arm_changes {
    struct arm_change *items; /* owned */
    size_t n, capacity;
    struct arm_audit *audits; /* owned */
    size_t n_audits, audit_capacity;
    struct arm_notice *notices; /* owned */
    size_t n_notices, notice_capacity;
    struct arena texts; /* owned; holds all texts above */
};

void arm_changes_init(struct arm_changes *c);
void arm_changes_clear(struct arm_changes *c);
void arm_changes_destroy(struct arm_changes *c);

/*
 * Requests
 */
enum arm_method { ARM_GET, ARM_HEAD, ARM_PUT_METHOD, ARM_PATCH, ARM_POST, ARM_DELETE_METHOD };

/* Who asks; authenticated by the shell. Operators may do everything, everywhere, and alone may touch
 * what is below /providers/Weir.Capacity. */
struct arm_caller {
    struct str object_id, app_id, name;
    bool is_operator;
    bool is_user; /* a person instead of an application */
};

enum {
    ARM_RANDOM_WORDS = 16,
    ARM_BODY_MAX = 1 << 20,   /* longer bodies are refused */
    ARM_TARGET_MAX = 8 << 10, /* longer targets are refused */
    ARM_URL_MAX = 2048,
};

/* How the data plane finds a backend, for whoever reads it or its pool. */
enum arm_backend_state {
    ARM_HEALTHY,
    ARM_EJECTED, /* it failed several times in a row, and is left alone until `until_ms` */
    ARM_PROBING, /* that time is over, and one call will see */
    ARM_BUSY,    /* it asked to be left alone until `until_ms` */
    ARM_LEAVING, /* it takes no new calls */
};

struct arm_health {
    struct str id; /* of the backend */
    enum arm_backend_state state;
    int64_t until_ms; /* wall clock; 0 when it does not matter */
    int64_t in_flight;
    int error_status; /* HTTP's, of its last answer that counted against it; 0: there was none */
    struct str error; /* what its last failure was, in words; "" for none */
    int64_t error_at_ms;
};

/* What the process alone can tell, asked while a request is judged. */
struct arm_outside {
    /* Whether prompts can be counted by the tokenizer.json of this path; else `why` names file, line and
     * cure. May take a second. NULL: any path will do. */
    enum status (*tokenizer)(void *arg, struct str path, struct problem *why);
    /* The same of a file of certificates that a backend's is to be checked by. NULL: any path will do. */
    enum status (*authorities)(void *arg, struct str path, struct problem *why);
    /* Whether a webhook may go to this host of a URL, as far as that can be told without asking for the
     * addresses of a name. NULL: any host will do. */
    bool (*webhook)(void *arg, struct str host);
    void *arg;
};

struct arm_request {
    enum arm_method method;
    struct str target; /* path and query, still encoded */
    struct str body;
    struct str if_match, if_none_match; /* values of the headers; "" when absent */
    struct arm_caller caller;
    int64_t now_ms;      /* wall clock, since 1970 */
    struct str base_url; /* "https://host:port" without a slash at the end, for links */
    uint64_t random[ARM_RANDOM_WORDS]; /* from the system's generator, fresh for each request */
    /* Applies a resource file of the operator, which tells what there is: a deployment larger than its
     * quota raises the quota to fit, with a row of audit; an account's subscription and group are made
     * when they are missing, and the account is brought back when it is soft-deleted. */
    bool is_import;
    /* Of all backends, for a request that reads some of them; a backend may be there twice. */
    const struct arm_health *health; /* NULL: not known */
    size_t n_health;
    struct arm_outside outside;
};

/* The shell adds the headers that hold for every answer (x-ms-request-id and so on). */
struct arm_answer {
    int status;                        /* HTTP */
    struct buf body;                   /* JSON; empty for HEAD, 204 and 202 of a DELETE */
    char etag[40];                     /* with its quotes; "" for none */
    char location[ARM_URL_MAX];        /* header Location; "" for none */
    char async_operation[ARM_URL_MAX]; /* header Azure-AsyncOperation; "" for none */
    int64_t retry_after_s;             /* header Retry-After; 0 for none */
    /* The data plane must obey something new: build a snapshot before this is answered. */
    bool needs_snapshot;
};

void arm_answer_init(struct arm_answer *a);
void arm_answer_clear(struct arm_answer *a);
void arm_answer_destroy(struct arm_answer *a);

/* Always gives an answer, of whatever is asked. `answer` is cleared first; changes are appended. */
void arm_handle(struct arm *arm, const struct arm_request *request, struct arm_answer *answer,
                struct arm_changes *changes);

/* The principal of this object id is deleted, and with it all its role assignments: who bears the id later
 * inherits none of them. `caller` deleted it. Changes are appended; there may be none. */
void arm_forget_principal(struct arm *arm, struct str object_id, const struct arm_caller *caller,
                          int64_t now_ms, struct arm_changes *changes);

/* The answer to a request that never came to arm_handle, in ARM's shape of errors: the shell's own
 * refusals (401, 413, 503). */
void arm_refuse(struct arm_answer *answer, int status, struct str code, const char *format, ...)
    PRINTF_LIKE(4, 5);

/*
 * The data plane
 */

/* Appends the JSON array of all resources as model/resources.h reads them, with secrets. Its outcome
 * is valid: snapshot_build accepts it. Returns the version that it shows, for arm_acting. */
uint64_t arm_documents(const struct arm *arm, struct buf *out);

/* What the data plane does not obey yet. */
struct arm_news {
    bool is_all; /* what the operator has is among it, or it obeys nothing so far */
    /* Else the accounts that changed themselves or in their deployments: the keys of their ids
     * (resource_id_key), each once. Borrowed until the next request. */
    const struct str *accounts;
    size_t n_accounts;
};

/* The same of no more than what changed since the version that arm_acting last told of: of each account
 * that is named in `news` and still there, itself and all its deployments, for snapshot_patch. */
uint64_t arm_news(const struct arm *arm, struct buf *out, struct arm_news *news);

/* Every loop obeys the documents of `version`: their operations have succeeded. */
void arm_acting(struct arm *arm, uint64_t version, int64_t now_ms, struct arm_changes *changes);

/* May the caller do `action` ("Microsoft.CognitiveServices/accounts/listKeys/action", or a data
 * action such as ".../accounts/OpenAI/deployments/chat/completions/action") on the scope, a
 * resource's id? */
bool arm_may(const struct arm *arm, const struct arm_caller *caller, struct str action,
             bool is_data_action, struct str scope);

/* Who has which role where, as it is now: for the data plane to read. The caller frees it
 * (access_free). */
struct access *arm_copy_access(const struct arm *arm);

/* What falls due by itself: soft-deleted accounts are purged, old operations forgotten. Returns when
 * to call again, INT64_MAX when nothing waits. */
int64_t arm_tick(struct arm *arm, int64_t now_ms, struct arm_changes *changes);

#endif
