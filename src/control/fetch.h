/* fetch.h - one bounded HTTP request to somebody outside: an issuer's documents, a tenant's webhook. */
#ifndef CONTROL_FETCH_H
#define CONTROL_FETCH_H

#include "base/status.h"
#include "base/str.h"
#include "net/loop.h"
#include "net/tls.h"

/*
 * Over https alone, on a connection of its own, which ends with the answer. Redirects are not followed:
 * a 302 is an answer like any other, and the caller's to refuse. Belongs to its loop.
 */
struct fetch;

struct fetch_order {
    struct str url;          /* "https://host[:port]/path[?query]" */
    struct tls_context *tls; /* whom it trusts */
    struct str body;         /* JSON to POST; empty: GET */
    size_t answer_max;   /* bytes of the answer's body; 0: it is not kept, whatever its length */
    int64_t whole_ms;    /* from the beginning to the answer's last byte */
    bool is_public_only; /* a stranger has named the host: net/address.h */
};

struct fetch_answer {
    int status; /* of HTTP; 0 when there was none, or not a whole one in time */
    enum status
        st; /* then why: ST_FORBIDDEN (the address), ST_TOO_LARGE, ST_UPSTREAM_*, ST_BAD_REQUEST (the URL) */
    struct str body; /* with JSON_PADDING readable bytes behind it */
    struct str why;  /* of st, for the log */
};

/* `done` is called once, later, and the fetch is dead after it; all views die with the call. */
struct fetch *fetch_begin(struct loop *l, const struct fetch_order *order,
                          void (*done)(void *arg, const struct fetch_answer *answer), void *arg);

/* Ends it without `done`. NULL is fine. */
void fetch_cancel(struct fetch *f);

#endif
