#include "control/issuers.h"

#include "control/fetch.h"
#include "crypto/hash.h"
#include "identity/issuer.h"
#include "identity/token.h"
#include "os/os.h"
#include "json/json.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    REFRESH_MS = 600000,
    PAUSE_MS = 60000, /* between two fetches that unknown keys ask for: anybody can name one */
    RETRY_MIN_MS = 2000,
    RETRY_MAX_MS = 60000,
    WHOLE_MS = 10000, /* for each of the two documents */
    URL_MAX = 2048,
    SOURCE_MAX = 64 << 10,                                      /* two words of the setting */
    KEPT_MAX = 6 * ISSUER_DOCUMENT_MAX + SOURCE_MAX * 6 + 1024, /* every byte escaped */
};

struct issuer {
    struct issuers *all;
    char *text;      /* owned; `setting` looks into it */
    char *kept_path; /* owned: the file of its last good key set */
    struct issuer_setting setting;
    struct tls_context *tls;
    struct buf url, jwks; /* of the key set; the last one that was good */
    int64_t fetched_ms;   /* wall clock: when it last published them */
    struct fetch *fetch;  /* NULL when none is under way */
    struct loop_timer *timer;
    struct list waiting; /* of struct issuers_waiter */
    int64_t asked_ms;    /* when an unknown key last made it fetch; it counts when was_asked */
    int n_failures;      /* in a row */
    bool was_asked;
    atomic_bool is_post_under_way; /* of issuers_ask_later */
};

struct issuers {
    struct issuer *items; /* owned; the same ones for life */
    size_t n;
    struct loop *loop; /* NULL until the start */
    void (*on_change)(void *arg);
    void *arg;
    bool has_ended;
    /* The owner's, and one for each message to the loop: those may be read after the owner let go. */
    atomic_int refs;
};

static void begin(struct issuer *i);

/* --- an answer, or none --- */

static void release_waiters(struct issuer *i) {
    struct list told;
    list_init(&told);
    LIST_EACH (&i->waiting, it) {
        list_remove(it);
        list_append(&told, it);
    }
    while (!list_is_empty(&told)) {
        struct issuers_waiter *w = CONTAINER_OF(told.next, struct issuers_waiter, link);
        list_remove(&w->link);
        w->fn(w);
    }
}

static void on_due(void *arg) {
    begin(arg);
}

static void end_round(struct issuer *i, int64_t next_ms) {
    loop_timer_close(i->timer);
    i->timer = loop_timer_new(i->all->loop, next_ms, 0, on_due, i);
    release_waiters(i);
}

static int64_t wall_ms(void) {
    return os_wall_us() / 1000;
}

/* Of a time to come is what a clock has noted that went wrong. */
static bool is_stale(int64_t fetched_ms, int64_t now_ms) {
    return fetched_ms > now_ms || now_ms - fetched_ms >= ISSUERS_KEYS_MS;
}

static void warn_stale(const struct issuer *i) {
    fprintf(
        stderr,
        "weir: issuer %.*s: its keys were last fetched more than 24 hours ago, and are believed "
        "no longer\n",
        STR_ARG(i->setting.issuer));
}

/* It has not answered again. */
static void drop_stale(struct issuer *i) {
    if (i->jwks.len == 0 || !is_stale(i->fetched_ms, wall_ms()))
        return;
    warn_stale(i);
    buf_clear(&i->jwks);
    i->all->on_change(i->all->arg);
}

static void fail(struct issuer *i, const char *what, struct str reason) {
    drop_stale(i);
    if (i->n_failures++ == 0)
        fprintf(stderr, "weir: issuer %.*s: %s: %.*s; %s\n", STR_ARG(i->setting.issuer), what,
                STR_ARG(reason),
                i->jwks.len ? "the keys that are known stay" : "none of its tokens is believed");
    int64_t pause_ms = RETRY_MIN_MS;
    for (int k = 1; k < i->n_failures && pause_ms < RETRY_MAX_MS; k++)
        pause_ms *= 2;
    end_round(i, i64_min(pause_ms, RETRY_MAX_MS));
}

static void fail_answer(struct issuer *i, const char *what, const struct fetch_answer *a) {
    char text[32];
    snprintf(text, sizeof text, "it answered %d", a->status);
    fail(i, what, a->status ? str_of(text) : a->why);
}

static struct trust_issuer as_trusted(const struct issuer *i) {
    return (struct trust_issuer){.issuer = i->setting.issuer,
                                 .audiences = i->setting.audiences,
                                 .n_audiences = i->setting.n_audiences,
                                 .has_own_ids = i->setting.ids == ISSUER_IDS_OWN};
}

/* Whether a set of trust would take these keys. */
static bool is_usable(const struct issuer *i, struct str jwks, struct problem *why) {
    struct trust *t = trust_new(TOKEN_SKEW_S);
    struct trust_issuer trusted = as_trusted(i);
    enum status st = trust_add_jwks(t, &trusted, jwks, why);
    trust_unref(t);
    return st == ST_OK;
}

/* --- the key set in the data folder --- */

struct keeping {
    char *path;
    struct buf text;
    enum status st;
    struct problem why;
};

static void keep_work(void *arg) {
    struct keeping *k = arg;
    k->st = os_replace_file(k->path, buf_view(&k->text), &k->why);
}

static void keep_done(void *arg) {
    struct keeping *k = arg;
    if (k->st != ST_OK)
        fprintf(stderr, "weir: warning: %s: %s\n", k->path, k->why.message);
    buf_destroy(&k->text);
    free(k->path);
    free(k);
}

/* What the keys were believed for: of another setting they are those of somebody else. */
static void put_source(const struct issuer *i, struct buf *out) {
    buf_printf(out, "jwks=%.*s ca=%.*s", STR_ARG(i->setting.jwks_url), STR_ARG(i->setting.ca_file));
}

/* Off the loop, with copies: it may outlive the issuer. */
static void keep(const struct issuer *i) {
    struct keeping *k = xcalloc(1, sizeof *k);
    struct buf source;
    struct json_writer w;
    k->path = str_dup(str_of(i->kept_path));
    buf_init(&source, SOURCE_MAX);
    buf_init(&k->text, KEPT_MAX);
    put_source(i, &source);
    json_writer_init(&w, &k->text, 0);
    json_begin_object(&w);
    json_key(&w, STR("fetchedMs"));
    json_i64_value(&w, i->fetched_ms);
    json_key(&w, STR("source"));
    json_str_value(&w, buf_view(&source));
    json_key(&w, STR("keySet"));
    json_str_value(&w, buf_view(&i->jwks));
    json_end_object(&w);
    buf_destroy(&source);
    loop_work(i->all->loop, keep_work, keep_done, k);
}

/* Takes the keys out of a file's text, when they are of this issuer as it is set. */
static void take_kept(struct issuer *i, struct json_doc *doc, const struct buf *text) {
    struct buf source;
    struct json_value root, fetched, from, keys;
    struct problem why;
    int64_t fetched_ms;
    if (json_parse(doc, text->p, text->len, &root, NULL) != ST_OK ||
        !json_get(root, STR("fetchedMs"), &fetched) || !json_i64(fetched, &fetched_ms) ||
        !json_get(root, STR("source"), &from) || !json_get(root, STR("keySet"), &keys))
        return;
    buf_init(&source, SOURCE_MAX);
    put_source(i, &source);
    bool is_same = str_eq(json_str(from), buf_view(&source));
    buf_destroy(&source);
    if (!is_same || !is_usable(i, json_str(keys), &why))
        return;
    if (is_stale(fetched_ms, wall_ms())) {
        warn_stale(i);
        return;
    }
    i->fetched_ms = fetched_ms;
    buf_str(&i->jwks, json_str(keys));
}

/* What cannot be read or used is as good as nothing: the issuer is about to be asked. */
static void recall(struct issuer *i) {
    struct problem why;
    struct buf text;
    buf_init(&text, KEPT_MAX);
    if (access(i->kept_path, F_OK) == 0 &&
        os_read_file(i->kept_path, &text, JSON_PADDING, &why) == ST_OK && text.len) {
        struct json_doc *doc = json_doc_new();
        take_kept(i, doc, &text);
        json_doc_free(doc);
    }
    buf_destroy(&text);
}

static char *kept_path(const char *folder, struct str issuer) {
    uint8_t hash[SHA256_SIZE];
    size_t n = strlen(folder) + 40;
    char *path = xmalloc(n);
    hash_sha256(issuer, hash);
    snprintf(path, n, "%s/issuer-%02x%02x%02x%02x%02x%02x%02x%02x.json", folder, hash[0], hash[1],
             hash[2], hash[3], hash[4], hash[5], hash[6], hash[7]);
    return path;
}

/* --- answers again --- */

static void on_keys(void *arg, const struct fetch_answer *a) {
    struct issuer *i = arg;
    struct problem why = {0};
    i->fetch = NULL;
    if (a->status != 200) {
        fail_answer(i, "its keys cannot be fetched", a);
        return;
    }
    if (a->body.n == 0 || !is_usable(i, a->body, &why)) {
        fail(i, "its keys cannot be used", a->body.n ? str_of(why.message) : STR("there are none"));
        return;
    }
    if (i->n_failures > 0)
        fprintf(stderr, "weir: issuer %.*s: its keys are there\n", STR_ARG(i->setting.issuer));
    i->n_failures = 0;
    i->fetched_ms = wall_ms();
    bool is_new = !str_eq(buf_view(&i->jwks), a->body);
    if (is_new) {
        buf_clear(&i->jwks);
        buf_str(&i->jwks, a->body);
    }
    keep(i); /* the time, if nothing else */
    if (is_new)
        i->all->on_change(i->all->arg);
    end_round(i, REFRESH_MS);
}

static void fetch(struct issuer *i, struct str url,
                  void (*done)(void *arg, const struct fetch_answer *answer)) {
    struct fetch_order order = {
        .url = url, .tls = i->tls, .answer_max = ISSUER_DOCUMENT_MAX, .whole_ms = WHOLE_MS};
    i->fetch = fetch_begin(i->all->loop, &order, done, i);
}

static void on_description(void *arg, const struct fetch_answer *a) {
    struct issuer *i = arg;
    struct problem why = {0};
    i->fetch = NULL;
    if (a->status != 200) {
        fail_answer(i, "its description cannot be fetched", a);
        return;
    }
    buf_clear(&i->url);
    if (issuer_read_discovery(a->body, i->setting.issuer, &i->url, &why) != ST_OK)
        fail(i, "its description cannot be used", str_of(why.message));
    else
        fetch(i, buf_view(&i->url), on_keys);
}

static void begin(struct issuer *i) {
    if (i->fetch || i->all->has_ended)
        return;
    loop_timer_close(i->timer);
    i->timer = NULL;
    buf_clear(&i->url);
    if (i->setting.jwks_url.n) {
        fetch(i, i->setting.jwks_url, on_keys);
        return;
    }
    issuer_put_discovery_url(i->setting.issuer, &i->url);
    fetch(i, buf_view(&i->url), on_description);
}

/* --- all of them --- */

static enum status new_tls(const struct issuer *i, struct tls_context **out, struct problem *why) {
    char *ca_file = i->setting.ca_file.n ? str_dup(i->setting.ca_file) : NULL;
    enum status st = tls_client_new(ca_file, true, out, why);
    free(ca_file);
    return st;
}

static enum status add(struct issuers *all, struct str text, const char *folder,
                       struct problem *why) {
    if (all->n == TRUST_ISSUERS_MAX - 1) /* one is our own */
        return problem_set(why, ST_BAD_REQUEST, STR("oidc-issuer"), "at most %d are trusted",
                           TRUST_ISSUERS_MAX - 1);
    struct issuer *i = &all->items[all->n++];
    struct problem inner = {0};
    i->all = all;
    i->text = str_dup(text);
    buf_init(&i->url, URL_MAX);
    buf_init(&i->jwks, ISSUER_DOCUMENT_MAX);
    list_init(&i->waiting);
    enum status st = issuer_read_setting(str_of(i->text), &i->setting, &inner);
    if (st != ST_OK)
        return problem_set(why, st, STR("oidc-issuer"), "%s", inner.message);
    for (size_t k = 0; k + 1 < all->n; k++) {
        if (str_eq(all->items[k].setting.issuer, i->setting.issuer))
            return problem_set(why, ST_BAD_REQUEST, STR("oidc-issuer"), "names %.*s twice",
                               STR_ARG(i->setting.issuer));
    }
    i->kept_path = kept_path(folder, i->setting.issuer);
    recall(i);
    return new_tls(i, &i->tls, why);
}

/* One issuer may be believed whatever GUIDs it says. Of several each could speak for the others' principals:
 * whether that is meant must be said. */
static enum status check_ids(const struct issuers *all, struct problem *why) {
    for (size_t i = 0; all->n > 1 && i < all->n; i++) {
        if (all->items[i].setting.ids == ISSUER_IDS_UNSAID)
            return problem_set(why, ST_BAD_REQUEST, STR("oidc-issuer"),
                               "of several issuers each says ids=own (its principals are nobody "
                               "else's) or ids=guid (subjects that are GUIDs mean the same "
                               "whichever of them says so); %.*s says neither",
                               STR_ARG(all->items[i].setting.issuer));
    }
    return ST_OK;
}

enum status issuers_new(const char *settings, const char *folder, void (*on_change)(void *arg),
                        void *arg, struct issuers **out, struct problem *why) {
    struct issuers *all = xcalloc(1, sizeof *all);
    struct str rest = str_of(settings), text;
    enum status st = ST_OK;
    all->on_change = on_change;
    all->arg = arg;
    all->items = xcalloc(TRUST_ISSUERS_MAX, sizeof *all->items);
    atomic_init(&all->refs, 1);
    while (st == ST_OK && str_cut(&rest, ',', &text)) {
        if (str_trim(text).n)
            st = add(all, text, folder, why);
    }
    if (st == ST_OK)
        st = check_ids(all, why);
    if (st != ST_OK) {
        issuers_free(all);
        return st;
    }
    *out = all;
    return ST_OK;
}

void issuers_start(struct issuers *all, struct loop *l) {
    all->loop = l;
    for (size_t i = 0; i < all->n; i++)
        begin(&all->items[i]);
}

void issuers_add_to(const struct issuers *all, struct trust *t) {
    for (size_t i = 0; i < all->n; i++) {
        struct trust_issuer trusted = as_trusted(&all->items[i]);
        enum status st = trust_add_jwks(t, &trusted, buf_view(&all->items[i].jwks), NULL);
        assert(st == ST_OK); /* is_usable said so, and add() counts */
    }
}

static struct issuer *find(struct issuers *all, struct str name) {
    for (size_t i = 0; i < all->n; i++) {
        if (str_eq(all->items[i].setting.issuer, name))
            return &all->items[i];
    }
    return NULL;
}

/* True when a fetch is under way then. */
static bool ask(struct issuer *i) {
    int64_t now_ms = loop_now_ms(i->all->loop);
    if (!i->fetch && (!i->was_asked || now_ms - i->asked_ms >= PAUSE_MS)) {
        i->was_asked = true;
        i->asked_ms = now_ms;
        begin(i);
    }
    return i->fetch != NULL;
}

static int count_waiters(const struct issuer *i) {
    int n = 0;
    LIST_EACH (&i->waiting, it)
        n++;
    return n;
}

bool issuers_ask(struct issuers *all, struct str issuer, struct issuers_waiter *waiter) {
    struct issuer *i = find(all, issuer);
    if (!i || all->has_ended || !ask(i) || count_waiters(i) >= ISSUERS_WAITERS_MAX)
        return false;
    list_append(&i->waiting, &waiter->link);
    return true;
}

static void unref(struct issuers *all) {
    if (atomic_fetch_sub(&all->refs, 1) != 1)
        return;
    for (size_t k = 0; k < all->n; k++) {
        struct issuer *i = &all->items[k];
        tls_unref(i->tls);
        buf_destroy(&i->url);
        buf_destroy(&i->jwks);
        free(i->text);
        free(i->kept_path);
    }
    free(all->items);
    free(all);
}

static void on_asked(void *arg) {
    struct issuer *i = arg;
    struct issuers *all = i->all;
    atomic_store(&i->is_post_under_way, false);
    if (!all->has_ended)
        (void)ask(i);
    unref(all);
}

void issuers_ask_later(struct issuers *all, struct str issuer) {
    struct issuer *i = find(all, issuer);
    if (!i || atomic_exchange(&i->is_post_under_way, true))
        return;
    atomic_fetch_add(&all->refs, 1);
    loop_post(all->loop, on_asked, i);
}

struct issuers_authorities {
    struct tls_context *of[TRUST_ISSUERS_MAX];
};

void issuers_drop(struct issuers_authorities *read) {
    for (size_t i = 0; read && i < ARRAY_LEN(read->of); i++)
        tls_unref(read->of[i]);
    free(read);
}

enum status issuers_read(const struct issuers *all, struct issuers_authorities **out,
                         struct problem *why) {
    struct issuers_authorities *read = xcalloc(1, sizeof *read);
    enum status st = ST_OK;
    for (size_t i = 0; i < all->n && st == ST_OK; i++)
        st = new_tls(&all->items[i], &read->of[i], why);
    if (st != ST_OK) {
        issuers_drop(read);
        return st;
    }
    *out = read;
    return ST_OK;
}

void issuers_adopt(struct issuers *all, struct issuers_authorities *read) {
    for (size_t i = 0; i < all->n; i++) {
        tls_unref(all->items[i].tls);
        all->items[i].tls = read->of[i];
        read->of[i] = NULL;
        begin(&all->items[i]);
    }
    issuers_drop(read);
}

void issuers_end(struct issuers *all) {
    all->has_ended = true;
    for (size_t i = 0; i < all->n; i++) {
        fetch_cancel(all->items[i].fetch);
        all->items[i].fetch = NULL;
        loop_timer_close(all->items[i].timer);
        all->items[i].timer = NULL;
        release_waiters(&all->items[i]);
    }
}

void issuers_free(struct issuers *all) {
    if (!all)
        return;
    issuers_end(all);
    unref(all);
}
