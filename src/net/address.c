#include "net/address.h"

#include <netdb.h>
#include <string.h>

struct range4 {
    uint32_t first;
    int bits;
};

/* clang-format off */
static const struct range4 special4[] = {
    {0x00000000, 8},  /* 0.0.0.0/8: this network */
    {0x0a000000, 8},  /* 10.0.0.0/8: private */
    {0x64400000, 10}, /* 100.64.0.0/10: shared, behind a carrier's NAT */
    {0x7f000000, 8},  /* 127.0.0.0/8: this machine */
    {0xa9fe0000, 16}, /* 169.254.0.0/16: this link; clouds serve credentials there */
    {0xa83f8110, 32}, /* 168.63.129.16/32: Azure's platform, as each machine of its sees it */
    {0xac100000, 12}, /* 172.16.0.0/12: private */
    {0xc0000000, 24}, /* 192.0.0.0/24: protocols */
    {0xc0000200, 24}, /* 192.0.2.0/24: documentation */
    {0xc0586300, 24}, /* 192.88.99.0/24: relays of 6to4, given up */
    {0xc0a80000, 16}, /* 192.168.0.0/16: private */
    {0xc6120000, 15}, /* 198.18.0.0/15: benchmarks */
    {0xc6336400, 24}, /* 198.51.100.0/24: documentation */
    {0xcb007100, 24}, /* 203.0.113.0/24: documentation */
    {0xe0000000, 4},  /* 224.0.0.0/4: multicast */
    {0xf0000000, 4},  /* 240.0.0.0/4: reserved, and the broadcast */
};
/* clang-format on */

static bool is_public4(uint32_t address) {
    for (size_t i = 0; i < ARRAY_LEN(special4); i++) {
        if ((address ^ special4[i].first) >> (32 - special4[i].bits) == 0)
            return false;
    }
    return true;
}

static uint32_t word_at(const uint8_t *bytes) {
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static bool is_public6(const uint8_t b[16]) {
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};           /* ::ffff:0:0/96 */
    static const uint8_t nat64[12] = {0x00, 0x64, 0xff, 0x9b, [11] = 0x00}; /* 64:ff9b::/96 */
    if (memcmp(b, mapped, sizeof mapped) == 0 || memcmp(b, nat64, sizeof nat64) == 0)
        return is_public4(word_at(b + 12));
    uint32_t first = word_at(b);
    return first >> 29 == 1 &&       /* 2000::/3: what is given out at all */
           first >> 9 != 0x100080 && /* 2001::/23: protocols, Teredo among them */
           first != 0x20010db8 &&    /* 2001:db8::/32: documentation */
           first >> 16 != 0x2002 &&  /* 2002::/16: 6to4, which hides an IPv4 address */
           first >> 12 != 0x3fff0;   /* 3fff::/20: documentation */
}

bool address_is_public(const struct sockaddr_in6 *address) {
    if (address->sin6_family == AF_INET6)
        return is_public6(address->sin6_addr.s6_addr);
    struct sockaddr_in four;
    memcpy(&four, address, sizeof four);
    return four.sin_family == AF_INET && is_public4(ntohl(four.sin_addr.s_addr));
}

bool address_read(const char *text, struct sockaddr_in6 *out) {
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM}, *found;
    if (getaddrinfo(text, NULL, &hints, &found) != 0)
        return false;
    *out = (struct sockaddr_in6){0};
    memcpy(out, found->ai_addr, size_min(found->ai_addrlen, sizeof *out));
    freeaddrinfo(found);
    return true;
}
