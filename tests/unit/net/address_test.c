/* address_test.c - whose addresses are public, from both sides of every border. */
#include "net/address.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static bool is_public(const char *text) {
    struct sockaddr_in6 six = {.sin6_family = AF_INET6};
    struct sockaddr_in four = {.sin_family = AF_INET};
    if (inet_pton(AF_INET6, text, &six.sin6_addr) == 1)
        return address_is_public(&six);
    assert_int_equal(inet_pton(AF_INET, text, &four.sin_addr), 1);
    memset(&six, 0, sizeof six);
    memcpy(&six, &four, sizeof four);
    return address_is_public(&six);
}

static void what_is_private_or_special_is_not_public(void **state) {
    (void)state;
    static const char *const own[] = {
        "0.0.0.0",
        "0.255.255.255",
        "10.0.0.0",
        "10.255.255.255",
        "100.64.0.0",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.255",
        "168.63.129.16",
        "::ffff:168.63.129.16",
        "169.254.169.254",
        "172.16.0.0",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.0.0",
        "192.168.255.255",
        "198.18.0.0",
        "198.19.255.255",
        "198.51.100.7",
        "203.0.113.7",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:10.1.2.3",
        "64:ff9b::a00:1",
        "64:ff9b:1::1",
        "100::1",
        "fc00::1",
        "fdff::1",
        "fe80::1",
        "febf::1",
        "fec0::1",
        "ff02::1",
        "2001::1",
        "2001:1ff:ffff::1",
        "2001:db8::1",
        "2001:db8:ffff::",
        "2002:7f00:1::",
        "3fff::1",
        "3fff:fff::1",
        "4000::1",
        "1fff:ffff::1",
        "::2",
    };
    for (size_t i = 0; i < ARRAY_LEN(own); i++) {
        if (is_public(own[i]))
            fail_msg("%s counts as public", own[i]);
    }
}

static void their_neighbours_are_public(void **state) {
    (void)state;
    static const char *const others[] = {
        "1.0.0.0",         "9.255.255.255",    "11.0.0.0",      "100.63.255.255",
        "100.128.0.0",     "126.255.255.255",  "128.0.0.0",     "169.253.255.255",
        "169.255.0.0",     "172.15.255.255",   "172.32.0.0",    "192.0.1.0",
        "192.0.3.0",       "192.88.98.255",    "192.88.100.0",  "192.167.255.255",
        "192.169.0.0",     "198.17.255.255",   "198.20.0.0",    "198.51.99.255",
        "198.51.101.0",    "203.0.112.255",    "203.0.114.0",   "223.255.255.255",
        "::ffff:8.8.8.8",  "64:ff9b::808:808", "2000::1",       "2001:200::1",
        "2001:db7:ffff::", "2001:db9::",       "2003::1",       "2606:4700::1111",
        "3ffe:ffff::1",    "3fff:1000::1",     "168.63.129.15", "168.63.129.17",
    };
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        if (!is_public(others[i]))
            fail_msg("%s does not count as public", others[i]);
    }
}

static void what_is_no_internet_address_is_not_public(void **state) {
    (void)state;
    struct sockaddr_in6 none = {.sin6_family = AF_UNIX};
    assert_false(address_is_public(&none));
}

static void every_spelling_of_an_address_is_read_and_no_name_is_looked_up(void **state) {
    (void)state;
    static const char *const own[] = {
        "127.0.0.1", "127.1", "2130706433", "0x7f.0.0.1",  "0177.0.0.1", "::1",
        "::",        "0",     "10.1",       "169.254.0.1", "::7f00:1",   "::ffff:127.0.0.1"};
    static const char *const names[] = {"localhost", "a.b", "127.0.0.1.a", "1.2.3.4.5", "", "::g"};
    struct sockaddr_in6 address;
    for (size_t i = 0; i < ARRAY_LEN(own); i++) {
        assert_true(address_read(own[i], &address));
        assert_false(address_is_public(&address));
    }
    assert_true(address_read("134744072", &address)); /* 8.8.8.8 */
    assert_true(address_is_public(&address));
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        assert_false(address_read(names[i], &address));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_private_or_special_is_not_public),
        cmocka_unit_test(their_neighbours_are_public),
        cmocka_unit_test(what_is_no_internet_address_is_not_public),
        cmocka_unit_test(every_spelling_of_an_address_is_read_and_no_name_is_looked_up),
    };
    return cmocka_run_group_tests_name("address", tests, NULL, NULL);
}
