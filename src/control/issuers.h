/* issuers.h - the outside issuers whose tokens are believed: their keys, kept up to date. */
#ifndef CONTROL_ISSUERS_H
#define CONTROL_ISSUERS_H

#include "base/list.h"
#include "base/status.h"
#include "base/str.h"
#include "identity/trust.h"
#include "net/loop.h"

/*
 * Each issuer is asked for its description and then for its key set (OpenID Connect Discovery 1.0), or
 * for the key set alone when the setting names its URL: at the start, every ten minutes, and when a token
 * names a key that it is not known to have, for that reason at most once a minute. When it does not answer, or
 * answers what cannot be used, the keys that are known stay; it is asked again after 2 s, 4 s, … 60 s. A
 * key that it no longer publishes is forgotten with its next answer. The last key set that was good is also
 * kept in the data folder (issuer-….json, public keys alone), for a start while the issuer is away and with
 * the same `jwks` and `ca`. Keys that nobody has vouched for in ISSUERS_KEYS_MS are dropped: what the issuer
 * took back meanwhile might be among them.
 *
 * Belongs to one loop, but for what says otherwise.
 */
struct issuers;

enum { ISSUERS_KEYS_MS = 24 * 3600 * 1000 };

/* `settings`: with commas between them, as identity/issuer.h reads them; may be empty. `folder` is where
 * key sets are kept. `on_change` is told on the loop that keys have changed. ST_BAD_REQUEST or ST_IO_FAILED
 * (a CA file) in words. */
enum status issuers_new(const char *settings, const char *folder, void (*on_change)(void *arg),
                        void *arg, struct issuers **out, struct problem *why) MUST_USE;

/* Begins to ask them. */
void issuers_start(struct issuers *all, struct loop *l);

/* Adds them with the keys that are known; not sealed. */
void issuers_add_to(const struct issuers *all, struct trust *t);

/*
 * A token names a key that this issuer is not known to have. True when its keys are being fetched now, and
 * no more than ISSUERS_WAITERS_MAX wait for them: `waiter` is then called on the loop when that is over,
 * unless it is taken out of its list before.
 */
enum { ISSUERS_WAITERS_MAX = 64 };
struct issuers_waiter {
    struct list link;
    void (*fn)(struct issuers_waiter *w);
};
bool issuers_ask(struct issuers *all, struct str issuer, struct issuers_waiter *waiter);

/* The same from any thread, for nobody who waits. */
void issuers_ask_later(struct issuers *all, struct str issuer);

/* Reads the CA files anew: any thread. *out is for issuers_adopt, which takes it over, on the loop, and
 * fetches all keys anew; or for issuers_drop. */
struct issuers_authorities;
enum status issuers_read(const struct issuers *all, struct issuers_authorities **out,
                         struct problem *why) MUST_USE;
void issuers_adopt(struct issuers *all, struct issuers_authorities *read);
void issuers_drop(struct issuers_authorities *read); /* NULL is fine */

/* Asks nobody any more; whoever waits is called. */
void issuers_end(struct issuers *all);

/* After issuers_end, or without issuers_start. NULL is fine. */
void issuers_free(struct issuers *all);

#endif
