/* reads.c - a table of answers by their question, and a list of them by their last use. */
#include "control/reads.h"

#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"

#include <stdlib.h>

enum { QUESTION_MAX = 32 << 10 };

/* One piece of memory: the texts stand behind it. */
struct kept {
    struct list by_use;
    uint64_t world;
    size_t size; /* all of it */
    struct str question;
    struct reads_answer answer;
};

struct reads {
    struct map by_question; /* of struct kept, which owns the key */
    struct list by_use;     /* the latest last */
    size_t bytes, ceiling;
    struct buf question; /* scratch */
};

struct reads *reads_new(size_t bytes, const struct siphash_key *secret) {
    struct reads *r = xcalloc(1, sizeof *r);
    r->ceiling = bytes;
    map_init(&r->by_question, secret);
    list_init(&r->by_use);
    buf_init(&r->question, QUESTION_MAX);
    return r;
}

static void forget(struct reads *r, struct kept *k) {
    map_remove(&r->by_question, k->question);
    list_remove(&k->by_use);
    r->bytes -= k->size;
    free(k);
}

void reads_free(struct reads *r) {
    if (!r)
        return;
    LIST_EACH (&r->by_use, it)
        forget(r, CONTAINER_OF(it, struct kept, by_use));
    map_destroy(&r->by_question);
    buf_destroy(&r->question);
    free(r);
}

/* As one text, in scratch: NUL stands in none of the parts. Empty when it is too long. */
static struct str write_question(struct reads *r, const struct reads_question *q) {
    const struct str parts[] = {q->target, q->base_url, q->object_id, q->app_id};
    buf_clear(&r->question);
    buf_char(&r->question, q->is_own ? 'o' : 'f');
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        buf_str(&r->question, parts[i]);
        buf_char(&r->question, '\0');
    }
    return buf_status(&r->question) == ST_OK ? buf_view(&r->question) : STR("");
}

bool reads_find(struct reads *r, uint64_t world, const struct reads_question *q,
                struct reads_answer *out) {
    struct str question = write_question(r, q);
    struct kept *k = question.n ? map_get(&r->by_question, question) : NULL;
    if (!k || k->world != world)
        return false;
    list_remove(&k->by_use);
    list_append(&r->by_use, &k->by_use);
    *out = k->answer;
    return true;
}

static struct str put_text(char **at, struct str s) {
    struct str copy = {*at, s.n};
    if (s.n)
        memcpy(*at, s.p, s.n);
    *at += s.n;
    return copy;
}

void reads_keep(struct reads *r, uint64_t world, const struct reads_question *q,
                const struct reads_answer *answer) {
    struct str question = write_question(r, q);
    size_t size = sizeof(struct kept) + question.n + answer->body.n + answer->etag.n;
    if (!question.n || answer->body.n > READS_BODY_MAX || answer->etag.n > READS_ETAG_MAX ||
        size > r->ceiling)
        return;
    struct kept *old = map_get(&r->by_question, question);
    if (old)
        forget(r, old);
    while (r->bytes + size > r->ceiling)
        forget(r, CONTAINER_OF(r->by_use.next, struct kept, by_use));
    struct kept *k = xcalloc(1, size);
    char *at = (char *)(k + 1);
    k->world = world;
    k->size = size;
    k->question = put_text(&at, question);
    k->answer.body = put_text(&at, answer->body);
    k->answer.etag = put_text(&at, answer->etag);
    map_put(&r->by_question, k->question, k);
    list_append(&r->by_use, &k->by_use);
    r->bytes += size;
}
