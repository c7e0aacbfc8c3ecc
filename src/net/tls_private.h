/* tls_private.h - a TLS session without a socket: encrypted bytes in and out, for conn.c. */
#ifndef NET_TLS_PRIVATE_H
#define NET_TLS_PRIVATE_H

#include "base/str.h"
#include "net/tls.h"

#include <sys/uio.h>

struct tls_session;

/* `emit(arg, bytes)` sends encrypted bytes to the peer; it may be called during any function below.
 * `server_name` for a client: the name to ask for and to verify; NULL for a server. */
struct tls_session *tls_session_new(struct tls_context *t, const char *server_name,
                                    void (*emit)(void *arg, struct str bytes), void *arg);
void tls_session_free(struct tls_session *s);

enum tls_result { TLS_AGAIN, TLS_OK, TLS_CLOSED, TLS_FAILED };

/* Hands in encrypted bytes; they are used by the calls that follow, all before the bytes go. */
void tls_session_feed(struct tls_session *s, struct str bytes);
/* Goes on with the handshake. TLS_OK when it is done. */
enum tls_result tls_session_handshake(struct tls_session *s);
bool tls_session_is_open(const struct tls_session *s);
/* Decrypts up to `size` bytes. TLS_AGAIN when more input is needed. */
enum tls_result tls_session_read(struct tls_session *s, char *out, size_t size, size_t *n);
/* Encrypts all of it. */
enum tls_result tls_session_write(struct tls_session *s, const struct iovec *iov, int n);
/* Says goodbye to the peer. */
void tls_session_shutdown(struct tls_session *s);
/* Why it failed, for a person. */
struct str tls_session_error(const struct tls_session *s);

#endif
