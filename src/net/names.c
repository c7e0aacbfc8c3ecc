/* names.c - the addresses behind a host's name: looked up once for all who ask, kept for some seconds. */
#include "base/buf.h"
#include "net/net_private.h"

#include <netdb.h>
#include <stdlib.h>

enum {
    TTL_MS = 5000,
    UNUSED_MS = 600000, /* a name that nobody asked for is forgotten after this */
};

/* Belongs to its loop. Names are as many as the configuration has: those of backends. */
struct name {
    struct list in_names;
    struct loop *loop;
    char *host; /* owned */
    uv_getaddrinfo_t lookup;
    bool is_looking;
    int refused;         /* why the lookup could not begin: this can be no name */
    struct list waiting; /* of struct name_wait.link */
    struct name_addresses found;
    int64_t until_ms; /* the addresses are asked for anew from then on */
    int64_t used_ms;
};

void names_init(struct loop *l) {
    list_init(&l->names);
    l->name_ttl_ms = TTL_MS;
}

void loop_keep_names(struct loop *l, int64_t ttl_ms) {
    l->name_ttl_ms = ttl_ms;
}

static void forget(struct name *n) {
    list_remove(&n->in_names);
    free(n->host);
    free(n);
}

void names_destroy(struct loop *l) {
    LIST_EACH (&l->names, it)
        forget(CONTAINER_OF(it, struct name, in_names));
}

/* The addresses in the system's order, which is that of RFC 6724. */
static void take_addresses(struct name_addresses *out, const struct addrinfo *found) {
    *out = (struct name_addresses){0};
    for (const struct addrinfo *a = found; a && out->n < NAME_ADDRESSES_MAX; a = a->ai_next) {
        if (a->ai_addrlen <= sizeof out->at[0])
            memcpy(&out->at[out->n++], a->ai_addr, a->ai_addrlen);
    }
}

static void on_found(uv_getaddrinfo_t *r, int status, struct addrinfo *found) {
    struct name *n = r->data;
    n->is_looking = false;
    if (status == 0)
        take_addresses(&n->found, found);
    uv_freeaddrinfo(found);
    /* When nobody answers, addresses that were good so far are better than none. */
    n->until_ms = loop_now_ms(n->loop) + n->loop->name_ttl_ms;
    int error = status == 0 ? UV_EAI_NONAME : status;
    /* Whoever hears may ask again, or end others that wait. */
    struct list done;
    list_init(&done);
    LIST_EACH (&n->waiting, it) {
        list_remove(it);
        list_append(&done, it);
    }
    struct name_addresses copy = n->found;
    while (!list_is_empty(&done)) {
        struct name_wait *w = CONTAINER_OF(done.next, struct name_wait, link);
        list_remove(&w->link);
        w->fn(w->arg, &copy, copy.n ? 0 : error);
    }
}

static void on_refused(void *arg) {
    struct name *n = arg;
    on_found(&n->lookup, n->refused, NULL);
}

static struct name *find(struct loop *l, const char *host) {
    int64_t now = loop_now_ms(l);
    LIST_EACH (&l->names, it) {
        struct name *n = CONTAINER_OF(it, struct name, in_names);
        if (strcmp(n->host, host) == 0) {
            n->used_ms = now;
            return n;
        }
        if (!n->is_looking && now - n->used_ms > UNUSED_MS)
            forget(n);
    }
    struct name *n = xcalloc(1, sizeof *n);
    n->loop = l;
    n->host = str_dup(str_of(host));
    n->lookup.data = n;
    n->used_ms = now;
    list_init(&n->waiting);
    list_append(&l->names, &n->in_names);
    return n;
}

const struct name_addresses *names_find(struct loop *l, const char *host, struct name_wait *w) {
    struct name *n = find(l, host);
    if (n->found.n && loop_now_ms(l) < n->until_ms)
        return &n->found;
    list_append(&n->waiting, &w->link);
    if (n->is_looking)
        return NULL;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    n->is_looking = true;
    n->refused = uv_getaddrinfo(&l->uv, &n->lookup, on_found, host, NULL, &hints);
    if (n->refused)
        loop_post(l, on_refused, n);
    return NULL;
}

/* One that came about goes to the front: those before it would cost the next connection time again. */
void names_prefer(struct loop *l, const char *host, const struct sockaddr_in6 *address) {
    LIST_EACH (&l->names, it) {
        struct name *n = CONTAINER_OF(it, struct name, in_names);
        if (strcmp(n->host, host) != 0)
            continue;
        struct name_addresses *a = &n->found;
        for (int i = 1; i < a->n; i++) {
            if (memcmp(&a->at[i], address, sizeof *address) != 0)
                continue;
            struct sockaddr_in6 chosen = a->at[i];
            memmove(&a->at[1], &a->at[0], (size_t)i * sizeof a->at[0]);
            a->at[0] = chosen;
            break;
        }
        return;
    }
}
