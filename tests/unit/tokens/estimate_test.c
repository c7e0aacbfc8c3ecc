/* estimate_test.c - the estimate of token counts: its error, its monotony, its time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "support/random.h"
#include "tokens/estimate.h"

static void comes_near_the_exact_count(void **state) {
    (void)state;
    /* Counted with o200k_base. */
    static const struct {
        struct str text;
        int64_t count;
    } samples[] =
        {
            {STR_INIT(
                 "A weir holds a river at a level and lets the excess over the side. It needs no operator, has no moving parts, and has been doing its work without complaint since the Middle Ages."),
             40},
            {STR_INIT(
                 "Please summarise the following report in three bullet points, each of at most twenty words, and mention every number that it contains: revenue rose by 12.5 % to 48,300,000 euros."),
             43},
            {STR_INIT(
                 "static int compare(const void *a, const void *b) {\n    const struct item *x = a, *y = b;\n    return x->rank != y->rank ? x->rank - y->rank : strcmp(x->name, y->name);\n}\n"),
             56},
            {STR_INIT(
                 "def read_rows(path):\n    with open(path, newline=\"\") as f:\n        for row in csv.DictReader(f):\n            yield {k: v.strip() for k, v in row.items() if v}\n"),
             44},
            {STR_INIT(
                 "{\"id\": 42, \"name\": \"pump-7\", \"readings\": [1.25, 1.5, 1.75, 2.0], \"unit\": \"m3/s\", \"ok\": true, \"note\": null}"),
             56},
            {STR_INIT(
                 "Das Wehr h\xc3\xa4lt den Fluss auf einer H\xc3\xb6he und l\xc3\xa4sst den \xc3\x9c"
                 "berschuss zur Seite ab; es braucht keinen W\xc3\xa4rter und arbeitet seit dem Mittelalter ohne Murren."),
             35},
            {STR_INIT(
                 "Le barrage maintient la rivi\xc3\xa8re \xc3\xa0 un certain niveau et laisse passer l'exc\xc3\xa9"
                 "dent sur le c\xc3\xb4t\xc3\xa9, sans surveillance ni pi\xc3\xa8"
                 "ces mobiles."),
             28},
            {STR_INIT(
                 "\xd0\x9f\xd0\xbb\xd0\xbe\xd1\x82\xd0\xb8\xd0\xbd\xd0\xb0 \xd1\x83\xd0\xb4\xd0\xb5\xd1\x80\xd0\xb6\xd0\xb8\xd0\xb2\xd0\xb0\xd0\xb5\xd1\x82 \xd1\x80\xd0\xb5\xd0\xba\xd1\x83 \xd0\xbd\xd0\xb0 \xd0\xbe\xd0\xb4\xd0\xbd\xd0\xbe\xd0\xbc \xd1\x83\xd1\x80\xd0\xbe\xd0\xb2\xd0\xbd\xd0\xb5 \xd0\xb8 \xd1\x81\xd0\xb1\xd1\x80\xd0\xb0\xd1\x81\xd1\x8b\xd0\xb2\xd0\xb0\xd0\xb5\xd1\x82 \xd0\xb8\xd0\xb7\xd0\xbb\xd0\xb8\xd1\x88\xd0\xb5\xd0\xba \xd0\xb2\xd0\xbe\xd0\xb4\xd1\x8b \xd0\xb2 \xd1\x81\xd1\x82\xd0\xbe\xd1\x80\xd0\xbe\xd0\xbd\xd1\x83."),
             21},
            {STR_INIT(
                 "\xe5\xa0\xb0\xe5\xb0\x86\xe6\xb2\xb3\xe6\xb5\x81\xe4\xbf\x9d\xe6\x8c\x81\xe5\x9c\xa8\xe4\xb8\x80\xe5\xae\x9a\xe7\x9a\x84\xe6\xb0\xb4\xe4\xbd\x8d\xef\xbc\x8c\xe5\xa4\x9a\xe4\xbd\x99\xe7\x9a\x84\xe6\xb0\xb4\xe4\xbb\x8e\xe4\xb8\x80\xe4\xbe\xa7\xe6\xba\xa2\xe5\x87\xba\xe3\x80\x82\xe5\xae\x83\xe4\xb8\x8d\xe9\x9c\x80\xe8\xa6\x81\xe4\xba\xba\xe7\x9c\x8b\xe5\xae\x88\xef\xbc\x8c\xe4\xb9\x9f\xe6\xb2\xa1\xe6\x9c\x89\xe6\xb4\xbb\xe5\x8a\xa8\xe9\x83\xa8\xe4\xbb\xb6\xe3\x80\x82"),
             34},
            {STR_INIT("\xe5\xa0\xb0\xe3\x81\xaf\xe5\xb7\x9d\xe3\x81\xae\xe6\xb0\xb4\xe4\xbd\x8d\xe3\x82\x92\xe4\xb8\x80\xe5\xae\x9a\xe3\x81\xab\xe4\xbf\x9d\xe3\x81\xa1\xe3\x80\x81\xe4\xbd\x99\xe3\x81\xa3\xe3\x81\x9f\xe6\xb0\xb4\xe3\x82\x92\xe6\xa8\xaa\xe3\x81\xab\xe9\x80\x83\xe3\x81\x8c\xe3\x81\x97\xe3\x81\xbe\xe3\x81\x99\xe3\x80\x82"),
             23},
            {STR_INIT(
                 "Deploy is green \xe2\x9c\x85 and the graph looks great \xf0\x9f\x9a\x80 thanks everyone \xf0\x9f\x99\x8f see you on Monday \xf0\x9f\x99\x82"),
             20},
            {STR_INIT(
                 "2024-08-06 12:30:45,1024,77.125\n2024-08-06 12:30:46,1025,77.250\n2024-08-06 12:30:47,1026,77.375\n"),
             60},
        };
    int64_t sum = 0, exact = 0;
    for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
        int64_t got = tokens_estimate(samples[i].text), count = samples[i].count;
        int64_t error = got > count ? got - count : count - got;
        /* One short text may be off by three tenths, where all together may not by a tenth. */
        if (error * 10 > count * 3)
            fail_msg("%.40s...: %d instead of %d", samples[i].text.p, (int)got, (int)count);
        sum += got;
        exact += count;
    }
    assert_true(sum * 10 > exact * 9 && sum * 10 < exact * 11);
}

static void knows_the_empty_text(void **state) {
    (void)state;
    assert_int_equal(tokens_estimate(STR("")), 0);
    assert_int_equal(tokens_estimate((struct str){NULL, 0}), 0);
    /* One byte of any kind is something, and not much. */
    for (int c = 0; c < 256; c++) {
        char byte = (char)c;
        int64_t got = tokens_estimate((struct str){&byte, 1});
        assert_true(got >= 1 && got <= 5);
    }
}

/* Bytes of any kind, with a liking for ASCII. */
static void fill(struct random *dice, char *p, size_t n) {
    for (size_t i = 0; i < n; i++)
        p[i] = (char)(random_once_in(dice, 4) ? random_below(dice, 256)
                                              : random_between(dice, ' ', '~'));
}

static void never_falls_when_the_text_grows(void **state) {
    (void)state;
    struct random dice = {1};
    char text[900];
    for (int round = 0; round < 200; round++) {
        fill(&dice, text, sizeof text);
        int64_t last = 0;
        for (size_t n = 0; n <= sizeof text; n++) {
            int64_t now = tokens_estimate((struct str){text, n});
            assert_true(now >= last);
            last = now;
        }
        assert_true(last > 30);
    }
}

/* Whatever the bytes, a token has no more than a dozen of them and a byte no more than a few tokens;
 * and a text that is read whole costs what its parts cost, but for the seam. */
static void adds_up(void **state) {
    (void)state;
    struct random dice = {2};
    char text[512];
    for (int round = 0; round < 1000; round++) {
        fill(&dice, text, sizeof text);
        size_t cut = (size_t)random_below(&dice, sizeof text);
        int64_t whole = tokens_estimate((struct str){text, sizeof text});
        int64_t parts = tokens_estimate((struct str){text, cut}) +
                        tokens_estimate((struct str){text + cut, sizeof text - cut});
        assert_true(llabs(whole - parts) <= 13);
        assert_true(whole > (int64_t)sizeof text / 12 && whole < (int64_t)sizeof text * 2);
    }
}

/* A long text is sampled: it costs about what its pieces cost that are read whole. */
static void samples_what_is_long(void **state) {
    (void)state;
    struct random dice = {3};
    char text[8192];
    for (int round = 0; round < 200; round++) {
        fill(&dice, text, sizeof text);
        int64_t pieces = 0;
        for (size_t at = 0; at < sizeof text; at += 512)
            pieces += tokens_estimate((struct str){text + at, 512});
        int64_t whole = tokens_estimate((struct str){text, sizeof text});
        assert_true(llabs(whole - pieces) < pieces / 10);
    }
}

static void takes_long_runs_of_one_byte(void **state) {
    (void)state;
    enum { N = 1 << 16 };
    char *text = malloc(N);
    assert_non_null(text);
    for (int c = 0; c < 256; c++) {
        memset(text, c, N);
        int64_t once = tokens_estimate((struct str){text, N / 2});
        int64_t twice = tokens_estimate((struct str){text, N});
        assert_true(llabs(twice - 2 * once) <= 24);
    }
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_near_the_exact_count),
        cmocka_unit_test(knows_the_empty_text),
        cmocka_unit_test(never_falls_when_the_text_grows),
        cmocka_unit_test(adds_up),
        cmocka_unit_test(samples_what_is_long),
        cmocka_unit_test(takes_long_runs_of_one_byte),
    };
    return cmocka_run_group_tests_name("estimate", tests, NULL, NULL);
}
