/* prompt_test.c - what prompts have by the rules of each model, and the tables of whole texts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <pthread.h>

#include <cmocka.h>

#include "support/random.h"
#include "support/slow_merges.h"
#include "tokens/count.h"
#include "tokens/estimate.h"
#include "tokens/prompt.h"

static struct text_memory *memory;
static struct prompt_counters *counters;
static struct token_cache *o200k, *cl100k;

static int make_all(void **state) {
    (void)state;
    static const unsigned char secret[16] = "sixteen bytes...";
    struct vocabulary o = vocabulary_o200k(), c = vocabulary_cl100k();
    memory = text_memory_new(8192, 1024, secret);
    counters = prompt_counters_new(&o, &c, memory);
    o200k = token_cache_new(&o);
    cl100k = token_cache_new(&c);
    return 0;
}

static int free_all(void **state) {
    (void)state;
    prompt_counters_free(counters);
    text_memory_free(memory);
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

static const struct prompt_how plain = {.budget = PROMPT_BUDGET};

static int64_t tally(struct prompt_counters *c, const char *model, struct str text,
                     bool *is_exact) {
    struct prompt_tally t;
    prompt_begin(&t, c, prompt_rules_find(str_of(model)), &plain);
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
    assert_int_equal(after.texts - before.texts, 24000);
    assert_in_range(after.texts_found - before.texts_found, 12000, 12900);
    /* Short texts are not looked up. */
    assert_int_equal(tally(counters, "gpt-4o", STR("short"), &is_exact), 1);
    assert_int_equal(prompt_counters_lookups(counters).texts, after.texts);
    buf_destroy(&text);
}

/* What is not counted is estimated, and says so; what is known is not held against the budget. */
static void counts_a_part_of_what_is_too_long(void **state) {
    (void)state;
    struct random dice = {2};
    struct buf text;
    bool is_exact;
    buf_init(&text, 1 << 20);
    draw(&dice, &text, 5 * PROMPT_BUDGET);
    int64_t exact = token_count(o200k, buf_view(&text));
    int64_t near = tally(counters, "gpt-4o", buf_view(&text), &is_exact);
    assert_false(is_exact);
    assert_true(llabs(near - exact) < exact / 3);

    /* In parts that fit, each prompt learns one more of them. */
    struct prompt_tally t;
    for (int turn = 0; turn < 10; turn++) {
        prompt_begin(&t, counters, prompt_rules_find(STR("gpt-4o")), &plain);
        exact = 0;
        for (size_t at = 0; at < text.len; at += 15000) {
            struct str part = {text.p + at, size_min(15000, text.len - at)};
            exact += token_count(o200k, part);
            prompt_add(&t, part);
        }
        assert_true(turn || !t.is_exact);
        assert_int_equal(t.is_exact, t.unknown == 0);
    }
    assert_true(t.is_exact);
    assert_int_equal(t.tokens, exact);

    /* One word of a megabyte is not even begun. */
    buf_clear(&text);
    while (text.len < 1 << 20)
        buf_char(&text, (char)random_between(&dice, 'a', 'z'));
    assert_true(tally(counters, "gpt-4o", buf_view(&text), &is_exact) > 100000);
    assert_false(is_exact);
    /* With time for it, it is counted. */
    struct prompt_how patient = {.budget = SIZE_MAX};
    prompt_begin(&t, counters, prompt_rules_find(STR("gpt-4o")), &patient);
    prompt_add(&t, buf_view(&text));
    assert_int_equal(t.tokens, token_count(o200k, buf_view(&text)));
    assert_true(t.is_exact);
    buf_destroy(&text);
}

/* --- models that bring their own vocabulary --- */

static struct slow_merges slow;

/* One with a single merge of an `a` and that byte. */
static void make_own(struct buf *block, unsigned char byte, struct vocabulary *v) {
    struct vocabulary_fault fault;
    struct problem why;
    buf_init(block, 64 << 20);
    merges_init(&slow);
    merges_add(&slow, 'a', byte);
    struct vocabulary_source source = {.pattern = PATTERN_GPT2,
                                       .tokens = slow.tokens,
                                       .ids = slow.ids,
                                       .n_tokens = slow.n_tokens,
                                       .merges = slow.merges,
                                       .n_merges = slow.n_merges};
    assert_int_equal(vocabulary_compile(block, &source, &fault, &why), ST_OK);
    assert_int_equal(vocabulary_open(v, block->p, block->len, &why), ST_OK);
}

static int64_t own_count(const struct vocabulary *v, struct str text, bool is_exact) {
    struct prompt_tally t;
    struct prompt_how how = {.budget = PROMPT_BUDGET, .custom = v};
    prompt_begin(&t, counters, prompt_rules_find(STR("llama")), &how);
    prompt_add(&t, text);
    assert_int_equal(t.is_exact, is_exact);
    return t.tokens;
}

static void counts_by_the_model_s_own_vocabulary(void **state) {
    (void)state;
    struct buf block;
    struct vocabulary v;
    char text[100];
    struct str whole = {text, sizeof text};
    memset(text, 'a', sizeof text);
    make_own(&block, 'a', &v);
    assert_int_equal(own_count(&v, STR("aaaa b"), true), 4);
    assert_int_equal(own_count(&v, whole, true), 50);
    assert_int_equal(own_count(&v, whole, true), 50);
    assert_int_equal(own_count(NULL, whole, false), tokens_estimate(whole));
    buf_destroy(&block);
}

/* The form of a text makes no difference, neither to its tokens nor to its marks; and one that is too long to be
 * brought into another form at once is estimated, even if it is known. */
static void counts_in_the_form_that_the_vocabulary_wants(void **state) {
    (void)state;
    struct vocabulary_fault fault;
    struct problem why;
    struct vocabulary v;
    struct buf block, texts[2], marks[2];
    merges_init(&slow);
    struct vocabulary_source source = {.pattern = PATTERN_QWEN2,
                                       .is_nfc = true,
                                       .tokens = slow.tokens,
                                       .ids = slow.ids,
                                       .n_tokens = slow.n_tokens};
    buf_init(&block, 64 << 20);
    assert_int_equal(vocabulary_compile(&block, &source, &fault, &why), ST_OK);
    assert_int_equal(vocabulary_open(&v, block.p, block.len, &why), ST_OK);
    for (int k = 0; k < 2; k++) {
        buf_init(&texts[k], 1 << 20);
        buf_init(&marks[k], 1 << 20);
        for (int i = 0; i < 1000; i++)
            buf_str(&texts[k], k ? STR("e\u0301 ") : STR("\u00e9 "));
    }
    for (int round = 0; round < 4; round++) {
        int k = round % 2;
        struct prompt_how how = {.budget = 20000, .custom = &v, .with_marks = true};
        struct prompt_tally t;
        const struct siphash_key under = {3, 4};
        prompt_begin(&t, counters, prompt_rules_find(STR("qwen")), &how);
        prompt_add(&t, buf_view(&texts[k]));
        assert_true(t.is_exact);
        assert_int_equal(t.tokens, 3000); /* bytes, since nothing merges */
        buf_clear(&marks[k]);
        prompt_marks(&t, &under, &marks[k]);
        prompt_end(counters);
    }
    assert_true(marks[0].len > 0);
    assert_true(str_eq(buf_view(&marks[0]), buf_view(&marks[1])));

    struct prompt_how hasty = {.budget = 1000, .custom = &v, .with_marks = true};
    struct prompt_tally t;
    prompt_begin(&t, counters, prompt_rules_find(STR("qwen")), &hasty);
    prompt_add(&t, buf_view(&texts[1]));
    assert_false(t.is_exact);
    assert_int_equal(t.tokens, tokens_estimate(buf_view(&texts[1])));
    assert_true(t.unknown >= (int64_t)texts[1].len);
    for (int k = 0; k < 2; k++) {
        buf_destroy(&texts[k]);
        buf_destroy(&marks[k]);
    }
    buf_destroy(&block);
}

/* More than are remembered at once, each at one place after the other: nothing of one is taken for
 * another's, or looked for where it was. */
static void tells_own_vocabularies_apart(void **state) {
    (void)state;
    enum { N = PROMPT_VOCABULARIES_MAX + 3 };
    char text[100];
    for (size_t i = 0; i < sizeof text; i += 2) {
        text[i] = 'a';
        text[i + 1] = 'c';
    }
    for (int round = 0; round < 3; round++) {
        for (unsigned char i = 0; i < N; i++) {
            struct buf block;
            struct vocabulary v;
            make_own(&block, (unsigned char)('b' + i), &v);
            assert_int_equal(own_count(&v, (struct str){text, sizeof text}, true),
                             i == 1 ? 50 : 100);
            buf_destroy(&block);
        }
    }
}

/* --- marks --- */

static const struct siphash_key key = {1, 2};

/* A prompt of some texts with frames between them, and one thing that is no text. */
struct prompt {
    struct str texts[40];
    size_t n;
};

static int64_t marks_of(struct prompt_counters *c, const struct prompt *p, const char *model,
                        struct buf *marks) {
    struct prompt_tally t;
    struct prompt_how how = {.budget = SIZE_MAX, .with_marks = true};
    buf_clear(marks);
    prompt_begin(&t, c, prompt_rules_find(str_of(model)), &how);
    for (size_t i = 0; i < p->n; i++) {
        prompt_add_frame(&t, 3, STR("message"));
        prompt_add(&t, p->texts[i]);
        if (i == 2) {
            prompt_begin_opaque(&t);
            prompt_add(&t, STR("is in it"));
            prompt_end_opaque(&t, 40, STR("an image"));
        }
    }
    prompt_marks(&t, &key, marks);
    return t.tokens;
}

/* The slow way: all ids in a row, cut by tokens' numbers. Equal beginnings have equal marks and
 * different ones do not; frames and what is no text are stood for by numbers that are no ids. */
static void slow_ids(const struct prompt *p, struct buf *ids) {
    buf_clear(ids);
    for (size_t i = 0; i < p->n; i++) {
        uint32_t frame = UINT32_MAX, image = UINT32_MAX - 1;
        for (int k = 0; k < 3; k++)
            buf_put(ids, &frame, sizeof frame);
        assert_int_equal(token_ids(o200k, p->texts[i], ids), ST_OK);
        for (size_t k = 0; i == 2 && k < 40 + (size_t)token_count(o200k, STR("is in it")); k++)
            buf_put(ids, &image, sizeof image);
    }
}

/* Two prompts that share a beginning and then differ: as many marks are equal as the ids that are
 * equal complete, or one less, where the last token's bytes are the same in another piece. */
static void marks_tell_how_long_beginnings_are_the_same(void **state) {
    (void)state;
    struct random dice = {5};
    static char bytes[2][40][1500];
    struct prompt p[2];
    struct buf text, marks[2], again, ids[2];
    size_t n_shared = 0;
    buf_init(&text, 1 << 12);
    buf_init(&again, 1 << 12);
    for (int k = 0; k < 2; k++) {
        buf_init(&marks[k], 1 << 12);
        buf_init(&ids[k], 1 << 18);
    }
    for (int round = 0; round < 150; round++) {
        size_t same = (size_t)random_below(&dice, 12);
        for (int k = 0; k < 2; k++) {
            p[k].n = (size_t)random_between(&dice, 1, 14);
            for (size_t i = 0; i < p[k].n; i++) {
                draw(&dice, &text, (size_t)random_below(&dice, 1400));
                memcpy(bytes[k][i], text.p, text.len);
                p[k].texts[i] = (struct str){bytes[k][i], text.len};
                if (k && i < same && i < p[0].n)
                    p[k].texts[i] = p[0].texts[i];
            }
            int64_t tokens = marks_of(counters, &p[k], "gpt-4o", &marks[k]);
            slow_ids(&p[k], &ids[k]);
            assert_int_equal(tokens, ids[k].len / sizeof(uint32_t));
            assert_int_equal(marks[k].len / 8, tokens < 1024 ? 0 : (tokens - 1024) / 128 + 1);
            /* From memory they are the same. */
            assert_int_equal(marks_of(counters, &p[k], "gpt-4o", &again), tokens);
            assert_int_equal(again.len, marks[k].len);
            if (again.len)
                assert_memory_equal(again.p, marks[k].p, again.len);
        }
        size_t equal = 0, n = size_min(marks[0].len, marks[1].len) / 8, same_ids = 0;
        while (equal < n && memcmp(marks[0].p + 8 * equal, marks[1].p + 8 * equal, 8) == 0)
            equal++;
        while (4 * same_ids < size_min(ids[0].len, ids[1].len) &&
               memcmp(ids[0].p + 4 * same_ids, ids[1].p + 4 * same_ids, 4) == 0)
            same_ids++;
        assert_int_equal(equal, same_ids < 1024 ? 0 : (same_ids - 1024) / 128 + 1);
        n_shared += equal;
    }
    assert_true(n_shared > 100);
    buf_destroy(&text);
    buf_destroy(&again);
    for (int k = 0; k < 2; k++) {
        buf_destroy(&marks[k]);
        buf_destroy(&ids[k]);
    }
}

/* What a prompt is made of, of which only the order is given: texts, frames, things that are no text. */
struct piece {
    enum { TEXT, FRAME, THING, STOP, END } kind;
    int64_t tokens;
    struct str text;
};

static size_t marks_of_pieces(const struct piece *p, struct buf *marks) {
    struct prompt_tally t;
    struct prompt_how how = {.budget = SIZE_MAX, .with_marks = true};
    buf_clear(marks);
    prompt_begin(&t, counters, prompt_rules_find(STR("gpt-4o")), &how);
    for (; p->kind != END; p++) {
        if (p->kind == TEXT)
            prompt_add(&t, p->text);
        else if (p->kind == FRAME)
            prompt_add_frame(&t, p->tokens, p->text);
        else if (p->kind == STOP)
            prompt_stop_marks(&t);
        else {
            prompt_begin_opaque(&t);
            prompt_end_opaque(&t, p->tokens, p->text);
        }
    }
    prompt_marks(&t, &key, marks);
    return marks->len / 8;
}

static void what_only_looks_alike_has_no_marks_in_common(void **state) {
    (void)state;
    struct random dice = {8};
    struct buf big, a, b;
    buf_init(&big, 1 << 14);
    buf_init(&a, 1 << 12);
    buf_init(&b, 1 << 12);
    draw(&dice, &big, 9000);
    struct str text = buf_view(&big), rest = str_skip(text, 5), five = {text.p, 5};
    const struct piece pairs[][2][5] = {
        /* a picture in low and in high detail */
        {{{THING, 85, STR("u")}, {TEXT, 0, text}, {.kind = END}},
         {{THING, 765, STR("u")}, {TEXT, 0, text}, {.kind = END}}},
        /* a frame, and a thing of the same name; roles that begin alike */
        {{{FRAME, 3, STR("u")}, {TEXT, 0, text}, {.kind = END}},
         {{THING, 3, STR("u")}, {TEXT, 0, text}, {.kind = END}}},
        {{{FRAME, 1, STR("assistant1")}, {TEXT, 0, text}, {.kind = END}},
         {{FRAME, 1, STR("assistant2")}, {TEXT, 0, text}, {.kind = END}}},
        /* one text, and two that something divides */
        {{{TEXT, 0, text}, {.kind = END}},
         {{TEXT, 0, five}, {FRAME, 0, STR("part")}, {TEXT, 0, rest}, {.kind = END}}},
    };
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        for (int again = 0; again < 2; again++) {
            assert_true(marks_of_pieces(pairs[i][0], &a) > 3);
            assert_true(marks_of_pieces(pairs[i][1], &b) > 3);
            for (size_t k = 0; k < size_min(a.len, b.len) / 8; k++)
                assert_memory_not_equal(a.p + 8 * k, b.p + 8 * k, 8);
        }
    }
    /* Marks end where something unknown begins. */
    const struct piece known[] = {{TEXT, 0, text}, {.kind = END}},
                       unknown[] = {
                           {TEXT, 0, text}, {.kind = STOP}, {TEXT, 0, text}, {.kind = END}};
    size_t n = marks_of_pieces(known, &a);
    assert_int_equal(marks_of_pieces(unknown, &b), n);
    assert_memory_equal(a.p, b.p, a.len);
    buf_destroy(&big);
    buf_destroy(&a);
    buf_destroy(&b);
}

static void marks_need_no_vocabulary(void **state) {
    (void)state;
    struct random dice = {6};
    struct buf text, a, b;
    buf_init(&text, 1 << 14);
    buf_init(&a, 1 << 12);
    buf_init(&b, 1 << 12);
    draw(&dice, &text, 9000);
    struct prompt p = {.texts = {buf_view(&text)}, .n = 1};
    marks_of(counters, &p, "llama", &a);
    assert_true(a.len >= 8 * 8);
    p.texts[0].n -= 2000;
    marks_of(counters, &p, "llama", &b);
    assert_true(b.len < a.len && b.len >= 8 * 4);
    assert_memory_equal(a.p, b.p, b.len);
    marks_of(NULL, &p, "llama", &b); /* and without counters there are none */
    assert_int_equal(b.len, 0);
    /* What the marks count is not what is estimated. */
    struct prompt_tally t = {.tokens = 2000, .units = 4000};
    assert_int_equal(prompt_cached(&t, 1024), 512);
    t.counter = (void *)&t;
    assert_int_equal(prompt_cached(&t, 1024), 1024);
    buf_destroy(&text);
    buf_destroy(&a);
    buf_destroy(&b);
}

/* Threads that share one memory: what one of them finds is what it would have counted. */
static void *count_with_others(void *arg) {
    struct vocabulary o = vocabulary_o200k(), cl = vocabulary_cl100k();
    struct prompt_counters *mine = prompt_counters_new(&o, &cl, memory);
    struct token_cache *alone = token_cache_new(&o);
    struct random dice = {100};
    struct buf text, marks, first;
    bool is_good = true;
    buf_init(&text, 1 << 14);
    buf_init(&marks, 1 << 12);
    buf_init(&first, 1 << 12);
    for (int i = 0; i < 400; i++) {
        if (i % 50 == 0)
            dice.state = 100 + (uint64_t)i / 100; /* all draw the same texts */
        draw(&dice, &text, 6000);
        struct prompt p = {.texts = {buf_view(&text)}, .n = 1};
        int64_t tokens = marks_of(mine, &p, "gpt-4o", &marks);
        is_good = is_good && tokens == 3 + token_count(alone, buf_view(&text));
        (void)marks_of(mine, &p, "gpt-4o", &first);
        is_good = is_good && first.len == marks.len && memcmp(first.p, marks.p, marks.len) == 0;
    }
    buf_destroy(&text);
    buf_destroy(&marks);
    buf_destroy(&first);
    token_cache_free(alone);
    prompt_counters_free(mine);
    return is_good ? NULL : arg;
}

static void threads_share_what_they_know(void **state) {
    (void)state;
    static char complaint[] = "not what it would have counted";
    pthread_t threads[3];
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_with_others, complaint), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        void *result;
        pthread_join(threads[i], &result);
        assert_null(result);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_the_encodings_of_models),
        cmocka_unit_test(counts_images_by_tiles_or_patches),
        cmocka_unit_test(counts_by_the_model_and_estimates_without),
        cmocka_unit_test(knows_texts_again_and_never_wrongly),
        cmocka_unit_test(counts_a_part_of_what_is_too_long),
        cmocka_unit_test(counts_by_the_model_s_own_vocabulary),
        cmocka_unit_test(counts_in_the_form_that_the_vocabulary_wants),
        cmocka_unit_test(tells_own_vocabularies_apart),
        cmocka_unit_test(marks_tell_how_long_beginnings_are_the_same),
        cmocka_unit_test(what_only_looks_alike_has_no_marks_in_common),
        cmocka_unit_test(marks_need_no_vocabulary),
        cmocka_unit_test(threads_share_what_they_know),
    };
    return cmocka_run_group_tests_name("prompt", tests, make_all, free_all);
}
