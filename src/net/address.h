/* address.h - which addresses are the public Internet's, and which are somebody's own. */
#ifndef NET_ADDRESS_H
#define NET_ADDRESS_H

#include "base/base.h"

#include <netinet/in.h>

/*
 * Whether an IPv4 or IPv6 address (sin6_family tells) is one that everybody may be expected to reach: not
 * of this machine, of a private network, of a link, for documentation, for tests, for many (multicast) or
 * reserved. Source: IANA's registries of special-purpose addresses (RFC 6890 with its updates, as of
 * November 2026). An IPv6 address that carries one of IPv4 (mapped, NAT64's 64:ff9b::/96) is judged by
 * that one. What stands in no list here and is not of 2000::/3 is not public.
 */
bool address_is_public(const struct sockaddr_in6 *address);

/* The address that a host is in itself, without asking for a name: also in the spellings that resolvers
 * take for one, such as "127.1" and "0x7f000001". False when it is none. An IPv4 address takes the front of
 * its place. */
bool address_read(const char *text, struct sockaddr_in6 *out);

#endif
