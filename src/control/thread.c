/* thread.c - the control thread: batches of requests, one wait for the disk
 * each, then the data plane. */
#include "control/control_private.h"

#include "os/os.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* KEEP_MS: how long what is true in memory, and would be found out again at the next start, may wait
 * for the next commit. */
enum { DOCUMENTS_MAX = 1 << 30, SEALED_MAX = 16 << 20, KEEP_MS = 1000 };

static int64_t now_ms(void) {
    return os_wall_us() / 1000;
}

/* --- rows --- */

/* What seals a secret to its place: no row opens under another's key. */
static void put_context(struct buf *out, struct str table, struct str key) {
    buf_str(out, table);
    buf_char(out, '/');
    buf_str(out, key);
}

static enum status put_row(struct control *c, const struct arm_change *row, struct problem *why) {
    if (row->kind == ARM_DELETE)
        return store_delete(c->store, row->table, row->key, why);
    if (!arm_table_is_secret(row->table))
        return store_put(c->store, row->table, row->key, row->body, why);
    struct buf context, sealed;
    buf_init(&context, STORE_KEY_MAX + STORE_TABLE_MAX + 1);
    buf_init(&sealed, SEALED_MAX);
    put_context(&context, row->table, row->key);
    seal_close(&c->vault.seal, buf_view(&context), row->body, &sealed);
    enum status st = store_put(c->store, row->table, row->key, buf_view(&sealed), why);
    buf_destroy(&context);
    buf_destroy(&sealed);
    return st;
}

enum status control_begin(struct control *c, struct problem *why) {
    if (c->is_store_open)
        return ST_OK;
    TRY(store_begin(c->store, why));
    c->is_store_open = true;
    return ST_OK;
}

static enum status put_rows(struct control *c, struct problem *why) {
    TRY(store_change_begin(c->store, why));
    for (size_t i = 0; i < c->changes.n; i++) {
        TRY(put_row(c, &c->changes.items[i], why));
        c->has_new_grants |= str_eq(c->changes.items[i].table, STR("roleAssignments"));
    }
    for (size_t i = 0; i < c->changes.n_audits; i++) {
        const struct arm_audit *a = &c->changes.audits[i];
        struct store_audit row = {.at_ms = a->at_ms,
                                  .actor = a->actor,
                                  .action = a->action,
                                  .target = a->target,
                                  .before = a->before,
                                  .after = a->after};
        TRY(store_audit_put(c->store, &row, why));
    }
    return store_change_keep(c->store, why);
}

enum status control_keep(struct control *c, struct problem *why) {
    if (c->changes.n == 0 && c->changes.n_audits == 0)
        return ST_OK;
    c->has_changed = true;
    enum status st = control_begin(c, why);
    if (st == ST_OK)
        st = put_rows(c, why);
    if (st == ST_OK)
        notices_hold(c->notices, &c->changes);
    arm_changes_clear(&c->changes);
    return st;
}

enum status control_put(struct control *c, struct str table, struct str key, struct str body,
                        struct problem *why) {
    TRY(control_begin(c, why));
    c->has_changed = true;
    if (str_eq(table, STR(PRINCIPAL_TABLE))) {
        c->has_new_grants = true;
        c->is_known = false;
    }
    return body.n ? store_put(c->store, table, key, body, why)
                  : store_delete(c->store, table, key, why);
}

enum status control_commit(struct control *c, struct problem *why) {
    if (!c->is_store_open)
        return ST_OK;
    c->is_store_open = false;
    enum status st = store_commit(c->store, why);
    if (st == ST_OK)
        notices_send(c->notices);
    else
        store_rollback(c->store);
    return st;
}

/* --- from the store into memory --- */

static enum status load_row(void *arg, struct str table, struct str key, struct str body,
                            struct problem *why) {
    struct control *c = arg;
    struct buf context, text;
    if (!arm_table_is_secret(table))
        return arm_load(c->arm, table, key, body, why);
    buf_init(&context, STORE_KEY_MAX + STORE_TABLE_MAX + 1);
    buf_init(&text, SEALED_MAX);
    put_context(&context, table, key);
    enum status st = seal_open(&c->vault.seal, buf_view(&context), body, &text)
                         ? arm_load(c->arm, table, key, buf_view(&text), why)
                         : problem_set(why, ST_STORE_CORRUPT, key,
                                       "the row's secret cannot be read with "
                                       "seal.key of this data folder; they "
                                       "belong together");
    buf_destroy(&context);
    buf_destroy(&text);
    return st;
}

enum status control_load_arm(struct control *c, struct problem *why) {
    struct arm_settings settings = {.tenant_id = str_of(c->tenant_id),
                                    .data_endpoint = str_of(c->data_url),
                                    .accounts_per_location = c->accounts_per_location,
                                    .standard_deployments_per_account =
                                        c->standard_deployments_per_account};
    arm_free(c->arm);
    c->arm = arm_new(&settings, &c->hash);
    for (const char *const *t = arm_tables(); *t; t++)
        TRY(store_each(c->store, str_of(*t), load_row, c, why));
    return arm_loaded(c->arm, why);
}

/* --- a batch --- */

/* Before anybody hears of a change: what was read before holds no longer. */
static void turn_world(struct control *c) {
    if (c->has_changed)
        atomic_fetch_add(&c->world, 1);
    c->has_changed = false;
}

static void answer_all(struct list *batch) {
    while (!list_is_empty(batch)) {
        struct errand *e = CONTAINER_OF(batch->next, struct errand, link);
        list_remove(&e->link);
        door_answer(e);
    }
}

static bool is_read(const struct errand *e) {
    return e->method == ARM_GET || e->method == ARM_HEAD;
}

static void refuse_busy(struct errand *e, const struct problem *why) {
    e->refusal = SERVICE_BUSY;
    arm_refuse(&e->answer, 503, STR("ServiceUnavailable"),
               "The change could not be stored, and nothing of it was done: %s", why->message);
    e->answer.retry_after_s = 1;
}

/* Puts memory in force. The rows that tell so are kept with the next change, or a second later: a
 * process that ends before finds out again when it starts (control_documents). */
static enum status obey(struct control *c, struct problem *why) {
    struct buf documents;
    struct arm_news news;
    buf_init(&documents, DOCUMENTS_MAX);
    uint64_t version = arm_news(c->arm, &documents, &news);
    enum status st = buf_status(&documents);
    if (st == ST_OK) {
        buf_reserve_slack(&documents, 0, JSON_PADDING);
        struct control_news told = {news.is_all, buf_view(&documents), news.accounts,
                                    news.n_accounts};
        st = c->host.obey(c->host.arg, &told, why);
    }
    buf_destroy(&documents);
    if (st != ST_OK)
        return st;
    arm_acting(c->arm, version, now_ms(), &c->changes);
    c->has_changed = true; /* what was on its way has arrived */
    c->keep_by_ms = now_ms() + KEEP_MS;
    return ST_OK;
}

/* What stays unpublished is tried again with the next batch. */
static enum status publish_grants(struct control *c, struct problem *why) {
    if (!c->has_new_grants)
        return ST_OK;
    TRY(guard_publish(c, why));
    c->has_new_grants = false;
    return ST_OK;
}

/* All of it is on the disk, and the data plane does not obey it yet: so it is said. */
static void refuse_unpublished(struct list *batch, const struct problem *why) {
    LIST_EACH (batch, it) {
        struct errand *e = CONTAINER_OF(it, struct errand, link);
        if (is_read(e) || e->answer.status >= 300)
            continue;
        arm_refuse(&e->answer, 503, STR("ServiceUnavailable"),
                   "The change is stored, but who may do what could not be put in force yet: %s. "
                   "That is tried again each second; ask for the resource to see it.",
                   why->message);
        e->answer.retry_after_s = 1;
    }
}

/* Memory is ahead of the disk: all go back to what the disk has. */
static void fall_back(struct control *c, struct list *batch, const struct problem *why) {
    struct problem again = {0};
    fprintf(stderr, "weir: control plane: a batch of changes was not stored: %s\n", why->message);
    c->has_changed = true;
    if (c->is_store_open) {
        store_rollback(c->store);
        c->is_store_open = false;
    }
    arm_changes_clear(&c->changes);
    notices_drop(c->notices);
    c->is_known = false;
    LIST_EACH (batch, it)
        refuse_busy(CONTAINER_OF(it, struct errand, link), why);
    arm_free(c->arm);
    c->arm = NULL;
    if (control_load_arm(c, &again) != ST_OK) {
        /* The next batch tries again. What is in force stays so. */
        fprintf(stderr, "weir: control plane: the database cannot be read: %s\n", again.message);
        arm_free(c->arm);
        c->arm = NULL;
    } else if (publish_grants(c, &again) != ST_OK || obey(c, &again) != ST_OK) {
        fprintf(stderr, "weir: control plane: what is stored is not in force: %s: %s\n",
                again.target, again.message);
    }
}

/* Whoever asks mostly has just asked: the row of the principal that asked last is not read again.
 * *out is NULL when there is none. */
static enum status find_caller(struct control *c, struct str app_id, const struct principal **out,
                               struct problem *why) {
    if (!c->is_known || !str_eq(str_of(c->known.app_id), app_id)) {
        bool found;
        c->is_known = false;
        TRY(principals_find(c, app_id, &c->known, &found, why));
        c->is_known = found;
    }
    *out = c->is_known ? &c->known : NULL;
    return ST_OK;
}

static void run_arm(struct control *c, struct errand *e) {
    const struct principal *p = NULL;
    struct problem why = {0};
    e->world = atomic_load(&c->world);
    if (e->is_own && find_caller(c, str_of(e->app_id), &p, &why) != ST_OK) {
        refuse_busy(e, &why);
        return;
    }
    if (e->is_own && !p) {
        arm_refuse(&e->answer, 401, STR("InvalidAuthenticationToken"),
                   "The application of this token has been deleted.");
        return;
    }
    if (!e->is_own && guard_is_ours(c, str_of(e->object_id))) {
        arm_refuse(&e->answer, 401, STR("InvalidAuthenticationToken"),
                   "The access token names a principal of another issuer.");
        return;
    }
    struct arm_request q = {
        .method = e->method,
        .target = buf_view(&e->target),
        .body = buf_view(&e->body),
        .if_match = buf_view(&e->if_match),
        .if_none_match = buf_view(&e->if_none_match),
        .caller = {.object_id = str_of(e->object_id),
                   .app_id = str_of(e->app_id),
                   .name = str_of(p ? p->name : e->name),
                   .is_operator = p && p->is_operator,
                   .is_user = !e->is_own && e->app_id[0] == '\0'},
        .now_ms = now_ms(),
        .base_url = buf_view(&e->base_url),
        .health = e->health,
        .n_health = e->n_health,
        .outside = control_outside(c),
    };
    if (!is_read(e)) /* nothing is made, so nothing is drawn */
        os_random(q.random, sizeof q.random);
    c->in_hand = e;
    arm_handle(c->arm, &q, &e->answer, &c->changes);
    c->in_hand = NULL;
}

static size_t count_rows(const struct control *c) {
    return c->changes.n + c->changes.n_audits;
}

static void run_batch(struct control *c, struct list *batch) {
    struct problem why = {0};
    enum status st = c->arm ? ST_OK : control_load_arm(c, &why);
    bool needs_snapshot = false;
    LIST_EACH (batch, it) {
        struct errand *e = CONTAINER_OF(it, struct errand, link);
        size_t n_rows = count_rows(c);
        if (st != ST_OK)
            break;
        if (e->kind == ERRAND_ARM)
            run_arm(c, e);
        else
            principals_answer(c, e);
        needs_snapshot |= e->answer.needs_snapshot;
        if (count_rows(c) > n_rows) /* else no reader waits for the disk */
            st = control_keep(c, &why);
    }
    if (st == ST_OK)
        st = control_commit(c, &why);
    if (st != ST_OK) {
        fall_back(c, batch, &why);
        needs_snapshot = false;
    } else if (publish_grants(c, &why) != ST_OK) {
        fprintf(stderr, "weir: control plane: stored roles are not in force: %s\n", why.message);
        refuse_unpublished(batch, &why);
    }
    if (needs_snapshot && obey(c, &why) != ST_OK)
        /* It is stored and will be tried again with the next change; until then
     * resources say that they are not in force. */
        fprintf(stderr, "weir: control plane: a stored change is not in force: %s: %s\n",
                why.target, why.message);
    turn_world(c);
    answer_all(batch);
}

/* --- the thread --- */

/* Waits for work until `due_ms` of the wall clock; true when there is some. */
static bool take_batch(struct control *c, int64_t due_ms, struct list *batch) {
    list_init(batch);
    pthread_mutex_lock(&c->lock);
    if (list_is_empty(&c->queue) && !c->must_end) {
        int64_t wait_ms = i64_min(i64_max(due_ms - now_ms(), 0), 60000);
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += wait_ms / 1000;
        until.tv_nsec += wait_ms % 1000 * 1000000;
        if (until.tv_nsec >= 1000000000) {
            until.tv_nsec -= 1000000000;
            until.tv_sec++;
        }
        pthread_cond_timedwait(&c->wake, &c->lock, &until);
    }
    while (!list_is_empty(&c->queue)) {
        struct list *first = c->queue.next;
        list_remove(first);
        list_append(batch, first);
    }
    bool must_end = c->must_end;
    pthread_mutex_unlock(&c->lock);
    return !must_end || !list_is_empty(batch);
}

void control_run(struct control *c) {
    struct list batch;
    struct problem why = {0};
    int64_t due_ms = 0;
    /* A change may wait a little, a call may not. */
    os_thread_give_way(OS_GIVES_WAY);
    while (take_batch(c, due_ms, &batch)) {
        if (!list_is_empty(&batch))
            run_batch(c, &batch);
        size_t n_rows = count_rows(c);
        due_ms = c->arm ? arm_tick(c->arm, now_ms(), &c->changes) : INT64_MAX;
        if (n_rows > 0 && count_rows(c) == n_rows && now_ms() < c->keep_by_ms)
            due_ms = i64_min(due_ms, c->keep_by_ms);
        else if (control_keep(c, &why) != ST_OK || control_commit(c, &why) != ST_OK)
            fall_back(c, &batch, &why);
        if (c->arm && publish_grants(c, &why) != ST_OK)
            due_ms = i64_min(due_ms, now_ms() + KEEP_MS);
        turn_world(c); /* of what fell due */
    }
    if (control_keep(c, &why) != ST_OK || control_commit(c, &why) != ST_OK)
        fprintf(stderr, "weir: control plane: %s\n", why.message);
}
