/* certificate_test.c - an authority, its certificates, and every reason to make one anew. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "crypto/certificate.h"

#define DAY INT64_C(86400)

static const int64_t now = INT64_C(1795305600); /* 2026-11-22 */
static const struct str names[] = {STR_INIT("localhost"), STR_INIT("127.0.0.1"), STR_INIT("::1"),
                                   STR_INIT("*.weir.example")};

struct pair {
    struct buf cert, key;
};

static struct pair ca, other_ca, server;

static void make_ca(struct pair *p, const char *name, int64_t at) {
    buf_init(&p->cert, 8192);
    buf_init(&p->key, 8192);
    certificate_make_ca(str_of(name), at, &p->cert, &p->key);
    assert_int_equal(buf_status(&p->cert), ST_OK);
    assert_int_equal(buf_status(&p->key), ST_OK);
}

static enum status make_server(struct pair *p, const struct pair *by, const struct str *for_names,
                               size_t n, struct problem *why) {
    buf_init(&p->cert, 8192);
    buf_init(&p->key, 8192);
    return certificate_make_server(buf_view(&by->cert), buf_view(&by->key), for_names, n,
                                   CERTIFICATE_SERVER_DAYS * DAY, now, &p->cert, &p->key, why);
}

static void drop(struct pair *p) {
    buf_destroy(&p->cert);
    buf_destroy(&p->key);
}

static int make_all(void **state) {
    (void)state;
    make_ca(&ca, "Test CA", now);
    make_ca(&other_ca, "Test CA", now); /* the same name: only the key tells them apart */
    return make_server(&server, &ca, names, ARRAY_LEN(names), NULL) == ST_OK ? 0 : -1;
}

static int drop_all(void **state) {
    (void)state;
    drop(&ca);
    drop(&other_ca);
    drop(&server);
    return 0;
}

static enum certificate_state judge_at(int64_t at) {
    return certificate_judge(buf_view(&ca.cert), buf_view(&server.cert), buf_view(&server.key),
                             names, ARRAY_LEN(names), at);
}

static void a_certificate_is_good_until_it_is_to_be_renewed(void **state) {
    (void)state;
    const int64_t renew = now + (CERTIFICATE_SERVER_DAYS - CERTIFICATE_RENEW_DAYS) * DAY;
    assert_int_equal(judge_at(now), CERTIFICATE_GOOD);
    assert_int_equal(judge_at(now - DAY), CERTIFICATE_GOOD); /* for clocks that are late */
    assert_int_equal(judge_at(now - DAY - 1), CERTIFICATE_OLD);
    assert_int_equal(judge_at(renew), CERTIFICATE_GOOD);
    assert_int_equal(judge_at(renew + 1), CERTIFICATE_OLD);
    int64_t begin, end;
    assert_true(certificate_validity(buf_view(&server.cert), &begin, &end));
    assert_int_equal(begin, now - DAY);
    assert_int_equal(end, now + CERTIFICATE_SERVER_DAYS * DAY);
}

static void each_reason_against_a_certificate_is_told_apart(void **state) {
    (void)state;
    struct str cert = buf_view(&server.cert), key = buf_view(&server.key), nil = {NULL, 0};
    assert_int_equal(certificate_judge(buf_view(&ca.cert), nil, nil, names, 1, now),
                     CERTIFICATE_UNREADABLE);
    assert_int_equal(certificate_judge(buf_view(&ca.cert), cert, STR("x"), names, 1, now),
                     CERTIFICATE_UNREADABLE);
    assert_int_equal(certificate_judge(buf_view(&ca.cert), cert, buf_view(&ca.key), names, 1, now),
                     CERTIFICATE_UNREADABLE);
    assert_int_equal(certificate_judge(buf_view(&other_ca.cert), cert, key, names, 1, now),
                     CERTIFICATE_FOREIGN);
    assert_int_equal(certificate_judge(nil, cert, key, names, 1, now), CERTIFICATE_FOREIGN);
    static const struct str more[] = {STR_INIT("localhost"), STR_INIT("127.0.0.2")};
    assert_int_equal(certificate_judge(buf_view(&ca.cert), cert, key, more, 2, now),
                     CERTIFICATE_OTHER_NAMES);
    static const struct str fewer[] = {STR_INIT("LOCALHOST"), STR_INIT("0:0:0:0:0:0:0:1")};
    assert_int_equal(certificate_judge(buf_view(&ca.cert), cert, key, fewer, 2, now),
                     CERTIFICATE_GOOD);
    /* What the wildcard would match is not what was asked for. */
    static const struct str below[] = {STR_INIT("a.weir.example")};
    assert_int_equal(certificate_judge(buf_view(&ca.cert), cert, key, below, 1, now),
                     CERTIFICATE_OTHER_NAMES);
}

static void what_is_no_name_gets_no_certificate(void **state) {
    (void)state;
    static const struct str cases[] = {
        STR_INIT(""),      STR_INIT("a b"),   STR_INIT("-a.example"),     STR_INIT("a..b"),
        STR_INIT("a."),    STR_INIT(".a"),    STR_INIT("127.1"),          STR_INIT("256.0.0.1"),
        STR_INIT("a.*.b"), STR_INIT("*"),     STR_INIT("h\0.example"),    STR_INIT("127.0.0.1\0x"),
        STR_INIT("a:b"),   STR_INIT("[::1]"), STR_INIT("localhost:8443"), STR_INIT("DNS:a,IP:1"),
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str two[] = {STR_INIT("localhost"), cases[i]};
        struct pair p;
        struct problem why = {{0}, {0}};
        assert_int_equal(make_server(&p, &ca, two, 2, &why), ST_BAD_REQUEST);
        assert_string_equal(why.target, "names");
        assert_int_equal(p.cert.len + p.key.len, 0);
        drop(&p);
    }
    struct pair p;
    assert_int_equal(make_server(&p, &ca, names, 0, NULL), ST_BAD_REQUEST);
    drop(&p);
    static struct str many[CERTIFICATE_NAMES_MAX + 1];
    for (size_t i = 0; i < ARRAY_LEN(many); i++)
        many[i] = STR("localhost");
    assert_int_equal(make_server(&p, &ca, many, ARRAY_LEN(many), NULL), ST_BAD_REQUEST);
    drop(&p);
    assert_int_equal(make_server(&p, &ca, many, ARRAY_LEN(many) - 1, NULL), ST_OK);
    drop(&p);
}

/* A common name has at most 64 characters: a longer first name stands only where clients look. */
static void a_long_name_is_no_obstacle(void **state) {
    (void)state;
    static const struct str long_name[] = {
        STR_INIT("a-name-that-is-longer-than.the-sixty-four-characters-of-a-common-name.example")};
    struct pair p;
    assert_int_equal(make_server(&p, &ca, long_name, 1, NULL), ST_OK);
    assert_int_equal(certificate_judge(buf_view(&ca.cert), buf_view(&p.cert), buf_view(&p.key),
                                       long_name, 1, now),
                     CERTIFICATE_GOOD);
    drop(&p);
}

static void only_an_authority_with_its_own_key_signs(void **state) {
    (void)state;
    struct pair p, mixed = {ca.cert, other_ca.key}, broken = {ca.cert, ca.cert};
    struct problem why = {{0}, {0}};
    assert_int_equal(make_server(&p, &mixed, names, 1, &why), ST_BAD_REQUEST);
    assert_string_equal(why.target, "ca");
    drop(&p);
    assert_int_equal(make_server(&p, &broken, names, 1, NULL), ST_BAD_REQUEST);
    drop(&p);
    assert_int_equal(make_server(&p, &server, names, 1, NULL), ST_BAD_REQUEST); /* no authority */
    drop(&p);
    assert_true(certificate_ca_is_good(buf_view(&ca.cert), buf_view(&ca.key), now));
    assert_false(certificate_ca_is_good(buf_view(&ca.cert), buf_view(&other_ca.key), now));
    assert_false(certificate_ca_is_good(buf_view(&server.cert), buf_view(&server.key), now));
    assert_false(certificate_ca_is_good(buf_view(&ca.cert), buf_view(&ca.key), now - 2 * DAY));
    assert_false(certificate_ca_is_good(buf_view(&ca.cert), buf_view(&ca.key),
                                        now + CERTIFICATE_CA_DAYS * DAY));
}

static void no_certificate_outlives_its_authority(void **state) {
    (void)state;
    struct pair old_ca, p;
    make_ca(&old_ca, "Old CA", now - (CERTIFICATE_CA_DAYS - 100) * DAY);
    assert_int_equal(make_server(&p, &old_ca, names, 1, NULL), ST_OK);
    int64_t begin, end;
    assert_true(certificate_validity(buf_view(&p.cert), &begin, &end));
    assert_int_equal(end, now + 100 * DAY);
    drop(&p);
    drop(&old_ca);
    make_ca(&old_ca, "Old CA", now - CERTIFICATE_CA_DAYS * DAY);
    assert_int_equal(make_server(&p, &old_ca, names, 1, NULL), ST_BAD_REQUEST);
    drop(&p);
    drop(&old_ca);
    assert_false(certificate_validity(STR("no certificate"), &begin, &end));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_certificate_is_good_until_it_is_to_be_renewed),
        cmocka_unit_test(each_reason_against_a_certificate_is_told_apart),
        cmocka_unit_test(what_is_no_name_gets_no_certificate),
        cmocka_unit_test(a_long_name_is_no_obstacle),
        cmocka_unit_test(only_an_authority_with_its_own_key_signs),
        cmocka_unit_test(no_certificate_outlives_its_authority),
    };
    return cmocka_run_group_tests_name("certificate", tests, make_all, drop_all);
}
