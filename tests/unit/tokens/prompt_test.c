/* prompt_test.c - what prompts have by the rules of each model, and the tables of whole texts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "support/random.h"
#include "tokens/count.h"
#include "tokens/estimate.h"
#include "tokens/prompt.h"

static struct prompt_counters *counters;
static struct token_cache *o200k, *cl100k;

static int make_all(void **state) {
    (void)state;
    static const unsigned char secret[16] = "sixteen bytes...";
    struct vocabulary o = vocabulary_o200k(), c = vocabulary_cl100k();
    counters = prompt_counters_new(&o, &c, secret);
    o200k = token_cache_new(&o);
    cl100k = token_cache_new(&c);
    return 0;
}

static int free_all(void **state) {
    (void)state;
    prompt_counters_free(counters);
    token_cache_free(o200k);
    token_cache_free(cl100k);
    return 0;
}

static void knows_the_encodings_of_models(void **state) {
    (void)state;
    static const struct {
        const char *model;
        enum prompt_encoding encoding;
    } cases[] = {
        {"gpt-4o", ENCODING_O200K},
        {"gpt-4o-mini-2024-07-18", ENCODING_O200K},
        {"GPT-4.1-nano", ENCODING_O200K},
        {"gpt-5.4", ENCODING_O200K},
        {"o3-mini", ENCODING_O200K},
        {"gpt-4", ENCODING_CL100K},
        {"gpt-4-32k", ENCODING_CL100K},
        {"gpt-35-turbo", ENCODING_CL100K},
        {"text-embedding-3-small", ENCODING_CL100K},
        {"text-embedding-ada-002", ENCODING_CL100K},
        {"llama-3.1-70b", ENCODING_UNKNOWN},
        {"", ENCODING_UNKNOWN},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(prompt_rules_find(str_of(cases[i].model))->encoding, cases[i].encoding);
}

/* OpenAI's own examples, as their pages give them. */
static void counts_images_by_tiles_or_patches(void **state) {
    (void)state;
    const struct prompt_rules *gpt4o = prompt_rules_find(STR("gpt-4o")),
                              *mini = prompt_rules_find(STR("gpt-4o-mini")),
                              *patches = prompt_rules_find(STR("gpt-4.1-mini"));
    assert_int_equal(prompt_image_tokens(gpt4o, IMAGE_HIGH, 1024, 1024), 765);
    assert_int_equal(prompt_image_tokens(gpt4o, IMAGE_HIGH, 2048, 4096), 1105);
    assert_int_equal(prompt_image_tokens(gpt4o, IMAGE_LOW, 4096, 8192), 85);
    assert_int_equal(prompt_image_tokens(gpt4o, IMAGE_AUTO, 0, 0), 765);
    assert_int_equal(prompt_image_tokens(gpt4o, IMAGE_HIGH, 128, 64), 85 + 170);
    assert_int_equal(prompt_image_tokens(mini, IMAGE_HIGH, 128, 64), 2833 + 5667);
    assert_int_equal(prompt_image_tokens(mini, IMAGE_LOW, 128, 64), 2833);
    assert_int_equal(prompt_image_tokens(patches, IMAGE_HIGH, 32, 32), 2); /* 1.62 */
    assert_int_equal(prompt_image_tokens(patches, IMAGE_HIGH, 100000, 100000), 2489);
    assert_int_equal(prompt_image_tokens(gpt4o, IMAGE_HIGH, 1, INT64_MAX), 85 + 170 * 4);
}

static int64_t tally(struct prompt_counters *c, const char *model, struct str text,
                     bool *is_exact) {
    struct prompt_tally t;
    prompt_begin(&t, c, prompt_rules_find(str_of(model)));
    prompt_add(&t, text);
    *is_exact = t.is_exact;
    return t.tokens;
}

static void counts_by_the_model_and_estimates_without(void **state) {
    (void)state;
    struct str text = STR("Grundst\xc3\xbc"
                          "cksverkehrsgenehmigungszust\xc3\xa4ndigkeits\xc3\xbc"
                          "bertragungsverordnung, \xe6\xb0\xb4\xe4\xbd\x8d");
    bool is_exact;
    assert_int_equal(tally(counters, "gpt-4o", text, &is_exact), token_count(o200k, text));
    assert_true(is_exact);
    assert_int_equal(tally(counters, "gpt-4", text, &is_exact), token_count(cl100k, text));
    assert_true(is_exact);
    assert_int_not_equal(token_count(o200k, text), token_count(cl100k, text));
    assert_int_equal(tally(counters, "llama", text, &is_exact), tokens_estimate(text));
    assert_false(is_exact);
    assert_int_equal(tally(NULL, "gpt-4o", text, &is_exact), tokens_estimate(text));
    assert_false(is_exact);
    assert_int_equal(tally(counters, "gpt-4o", STR(""), &is_exact), 0);
}

static void draw(struct random *dice, struct buf *text, size_t n) {
    static const struct str words[] = {STR_INIT(" the"), STR_INIT(" weir"), STR_INIT(", holds"),
                                       STR_INIT("\n  x = y(1);"), STR_INIT(" \xe6\xb0\xb4")};
    buf_clear(text);
    while (text->len < n) {
        buf_str(text, words[random_below(dice, ARRAY_LEN(words))]);
        buf_char(text, (char)random_between(dice, 'a', 'z'));
    }
}

/* More texts than the table holds, each twice in a row and some again later: always the same count. */
static void knows_texts_again_and_never_wrongly(void **state) {
    (void)state;
    struct random dice = {1};
    struct buf text;
    bool is_exact;
    buf_init(&text, 1 << 10);
    struct prompt_lookups before = prompt_counters_lookups(counters);
    for (int i = 0; i < 12000; i++) {
        if (i == 11000)
            dice.state = 1; /* the first ones again */
        draw(&dice, &text, (size_t)random_between(&dice, 64, 200));
        int64_t count = token_count(o200k, buf_view(&text));
        assert_int_equal(tally(counters, "gpt-4o", buf_view(&text), &is_exact), count);
        assert_int_equal(tally(counters, "gpt-4o", buf_view(&text), &is_exact), count);
        assert_true(is_exact);
    }
    struct prompt_lookups after = prompt_counters_lookups(counters);
    assert_int_equal(after.asked - before.asked, 24000);
    assert_in_range(after.found - before.found, 12000, 12900);
    /* Short texts are not looked up. */
    assert_int_equal(tally(counters, "gpt-4o", STR("short"), &is_exact), 1);
    assert_int_equal(prompt_counters_lookups(counters).asked, after.asked);
    buf_destroy(&text);
}

/* What is not counted is estimated, and says so; what is known is not held against the limit. */
static void counts_a_part_of_what_is_too_long(void **state) {
    (void)state;
    struct random dice = {2};
    struct buf text;
    bool is_exact;
    buf_init(&text, 1 << 20);
    draw(&dice, &text, 5 * PROMPT_FRESH_MAX);
    int64_t exact = token_count(o200k, buf_view(&text));
    int64_t near = tally(counters, "gpt-4o", buf_view(&text), &is_exact);
    assert_false(is_exact);
    assert_true(llabs(near - exact) < exact / 50);

    /* In parts that fit, each prompt learns one more of them. */
    struct prompt_tally t;
    for (int turn = 0; turn < 10; turn++) {
        prompt_begin(&t, counters, prompt_rules_find(STR("gpt-4o")));
        exact = 0;
        for (size_t at = 0; at < text.len; at += 30000) {
            struct str part = {text.p + at, size_min(30000, text.len - at)};
            exact += token_count(o200k, part);
            prompt_add(&t, part);
        }
        if (turn == 0)
            assert_false(t.is_exact);
        assert_true(llabs(t.tokens - exact) < exact / 25);
    }
    assert_true(t.is_exact);
    assert_int_equal(t.tokens, exact);

    /* One word of a megabyte is not even begun. */
    buf_clear(&text);
    while (text.len < 1 << 20)
        buf_char(&text, (char)random_between(&dice, 'a', 'z'));
    assert_true(tally(counters, "gpt-4o", buf_view(&text), &is_exact) > 100000);
    assert_false(is_exact);
    buf_destroy(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_the_encodings_of_models),
        cmocka_unit_test(counts_images_by_tiles_or_patches),
        cmocka_unit_test(counts_by_the_model_and_estimates_without),
        cmocka_unit_test(knows_texts_again_and_never_wrongly),
        cmocka_unit_test(counts_a_part_of_what_is_too_long),
    };
    return cmocka_run_group_tests_name("prompt", tests, make_all, free_all);
}
