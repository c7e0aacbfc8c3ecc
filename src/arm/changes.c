/* changes.c - the list of rows to keep that a request leaves behind. */
#include "arm/arm_private.h"

#include <stdlib.h>

/* A batch of requests, each of whose bodies is bounded: a group's deletion is the largest, with every
 * account and deployment in it. */
enum { CHANGES_MAX = 1 << 30 };

void arm_changes_init(struct arm_changes *c) {
    *c = (struct arm_changes){0};
    arena_init(&c->texts, NULL, 0, CHANGES_MAX);
}

void arm_changes_clear(struct arm_changes *c) {
    c->n = c->n_audits = c->n_notices = 0;
    arena_reset(&c->texts);
}

void arm_changes_destroy(struct arm_changes *c) {
    free(c->items);
    free(c->audits);
    free(c->notices);
    arena_destroy(&c->texts);
    *c = (struct arm_changes){0};
}

void changes_put(struct arm_changes *c, enum arm_change_kind kind, struct str table, struct str key,
                 struct str body) {
    if (c->n == c->capacity) {
        c->capacity = c->capacity ? 2 * c->capacity : 16;
        c->items = xrealloc(c->items, c->capacity * sizeof *c->items);
    }
    c->items[c->n++] =
        (struct arm_change){kind, table, arena_str(&c->texts, key), arena_str(&c->texts, body)};
}

void changes_audit(struct arm_changes *c, const struct arm_audit *audit) {
    if (c->n_audits == c->audit_capacity) {
        c->audit_capacity = c->audit_capacity ? 2 * c->audit_capacity : 16;
        c->audits = xrealloc(c->audits, c->audit_capacity * sizeof *c->audits);
    }
    c->audits[c->n_audits++] = (struct arm_audit){
        .actor = arena_str(&c->texts, audit->actor),
        .action = arena_str(&c->texts, audit->action),
        .target = arena_str(&c->texts, audit->target),
        .before = arena_str(&c->texts, audit->before),
        .after = arena_str(&c->texts, audit->after),
        .at_ms = audit->at_ms,
    };
}

void changes_notice(struct arm_changes *c, struct str url, struct str body) {
    if (c->n_notices == c->notice_capacity) {
        c->notice_capacity = c->notice_capacity ? 2 * c->notice_capacity : 4;
        c->notices = xrealloc(c->notices, c->notice_capacity * sizeof *c->notices);
    }
    c->notices[c->n_notices++] =
        (struct arm_notice){arena_str(&c->texts, url), arena_str(&c->texts, body)};
}
