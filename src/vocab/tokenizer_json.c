#include "vocab/tokenizer_json.h"

#include "base/map.h"
#include "tokens/nfc.h"
#include "tokens/vocabulary.h"
#include "vocab/place.h"
#include "json/json.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { STEPS_MAX = 4, ADDED_MAX = 1 << 16 };

/* What is read so far. */
struct reading {
    struct str file, text;           /* borrowed */
    struct problem *why;             /* borrowed, may be NULL */
    struct buf bytes;                /* of all tokens; as long as the text, so that nothing moves */
    struct map by_bytes;             /* token to its number, plus 1 */
    struct str *tokens;              /* owned */
    uint32_t *ids;                   /* owned */
    size_t *members;                 /* owned; by token: its place in the vocabulary */
    struct vocabulary_merge *merges; /* owned */
    struct vocabulary_added *added;  /* owned */
    struct vocabulary_source source;
};

/* --- what is wrong, and where --- */

/* `steps` lead to the value; their names make up what the message begins with. */
static PRINTF_LIKE(4, 5) enum status refuse(struct reading *r, const struct place_step *steps,
                                            size_t n_steps, const char *format, ...) {
    char path[200], message[300], place[96];
    size_t n = 0;
    path[0] = '\0';
    for (size_t i = 0; i < n_steps && n < sizeof path; i++) {
        int more = steps[i].name.n ? snprintf(path + n, sizeof path - n, "%s%.*s", i ? "." : "",
                                              STR_ARG(steps[i].name))
                                   : snprintf(path + n, sizeof path - n, "[%zu]", steps[i].number);
        n += (size_t)more;
    }
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    /* A long path keeps its end, which says more. */
    struct str file = r->file;
    if (file.n > sizeof place - 20)
        file = str_skip(file, file.n - (sizeof place - 20));
    snprintf(place, sizeof place, "%.*s:%zu", STR_ARG(file), place_line(r->text, steps, n_steps));
    return problem_set(r->why, ST_BAD_REQUEST, str_of(place), "%s%s%s", path, path[0] ? " " : "",
                       message);
}

#define STEPS(...)                                                                                 \
    (const struct place_step[]){__VA_ARGS__},                                                      \
        sizeof((const struct place_step[]){__VA_ARGS__}) / sizeof(struct place_step)
#define NAMED(NAME)                                                                                \
    { STR_INIT(NAME), 0 }
#define NUMBERED(N)                                                                                \
    { STR_INIT(""), (N) }

/* --- the alphabet of bytes --- */

/*
 * Tokens are written in an alphabet that has one printable character for each byte: itself for those of
 * Latin-1 that can be seen, and for the others U+0100 and on, in their order (GPT-2's encoder,
 * `bytes_to_unicode`). Its characters take two bytes at most.
 */
static bool is_seen(unsigned byte) {
    return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte != 0xad);
}

/* The byte that the character stands for, or -1. */
static int byte_of(unsigned code_point) {
    if (code_point < 256)
        return is_seen(code_point) ? (int)code_point : -1;
    unsigned rest = code_point - 256;
    for (unsigned byte = 0; byte < 256; byte++) {
        if (!is_seen(byte) && rest-- == 0)
            return (int)byte;
    }
    return -1;
}

struct alphabet {
    int16_t bytes[512];
};

static const struct alphabet *alphabet(struct alphabet *a) {
    for (unsigned i = 0; i < ARRAY_LEN(a->bytes); i++)
        a->bytes[i] = (int16_t)byte_of(i);
    return a;
}

/* Appends what the text means; false when it has other characters. */
static bool decode(const struct alphabet *a, struct str text, struct buf *out) {
    for (size_t i = 0; i < text.n; i++) {
        unsigned c = (unsigned char)text.p[i];
        if (c >= 0x80) {
            if (c >= 0xc8 || i + 1 == text.n)
                return false;
            c = (c & 0x1f) << 6 | ((unsigned char)text.p[++i] & 0x3f);
        }
        if (c >= ARRAY_LEN(a->bytes) || a->bytes[c] < 0)
            return false;
        buf_char(out, (char)a->bytes[c]);
    }
    return true;
}

/* --- how text is cut --- */

struct expression {
    struct str text;
    enum token_pattern pattern;
};

/* clang-format off */
#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define FIRST "[^\\r\\n\\p{L}\\p{N}]?"
#define BLANKS "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define OTHERS " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" BLANKS
#define OTHERS_SLASH " ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" BLANKS
static const struct expression expressions[] = {
    {STR_INIT(CONTRACTIONS "|" FIRST "\\p{L}+|\\p{N}{1,3}|" OTHERS), PATTERN_CL100K},
    /* tiktoken's newer spelling of the same */
    {STR_INIT("'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+"), PATTERN_CL100K},
    {STR_INIT(FIRST UPPER "*" LOWER "+" CONTRACTIONS "?|" FIRST UPPER "+" LOWER "*" CONTRACTIONS "?|\\p{N}{1,3}|" OTHERS_SLASH), PATTERN_O200K},
    {STR_INIT(FIRST UPPER "*" LOWER "+|" FIRST UPPER "+" LOWER "*|\\p{N}|" OTHERS_SLASH), PATTERN_TEKKEN},
    {STR_INIT(CONTRACTIONS "|" FIRST "\\p{L}+|\\p{N}|" OTHERS), PATTERN_QWEN2},
    {STR_INIT(CONTRACTIONS "|" FIRST "[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" BLANKS), PATTERN_QWEN35},
    {STR_INIT("'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"), PATTERN_GPT2},
};
/* clang-format on */

static const char understood[] =
    "understood are ByteLevel, and a Sequence of Split (Regex) or Digits (individual_digits) and "
    "ByteLevel, without add_prefix_space";

static bool has_type(struct json_value v, struct str type) {
    struct json_value t;
    return json_get(v, STR("type"), &t) && str_eq(json_str(t), type);
}

static bool is_true(struct json_value object, struct str name, bool when_absent) {
    struct json_value v;
    return json_get(object, name, &v) && json_type(v) == JSON_BOOL ? json_bool(v) : when_absent;
}

/* By the Split's expression. Text that no expression matches there is none, so what becomes of it
 * makes no difference. */
static enum status read_split(struct reading *r, struct json_value split,
                              enum token_pattern *pattern, bool *is_digits) {
    struct json_value v, regex;
    if (!json_get(split, STR("pattern"), &v) || !json_get(v, STR("Regex"), &regex) ||
        json_type(regex) != JSON_STRING)
        return refuse(r, STEPS(NAMED("pre_tokenizer"), NAMED("pretokenizers"), NUMBERED(0)),
                      "has no pattern.Regex");
    bool is_isolated = json_get(split, STR("behavior"), &v) && str_eq(json_str(v), STR("Isolated"));
    bool is_kept = json_get(split, STR("behavior"), &v) && str_eq(json_str(v), STR("Removed")) &&
                   is_true(split, STR("invert"), false);
    *is_digits = is_isolated && str_eq(json_str(regex), STR("\\p{N}"));
    if (*is_digits)
        return ST_OK;
    for (size_t i = 0; i < ARRAY_LEN(expressions) && (is_isolated || is_kept); i++) {
        if (str_eq(json_str(regex), expressions[i].text)) {
            *pattern = expressions[i].pattern;
            return ST_OK;
        }
    }
    return refuse(r, STEPS(NAMED("pre_tokenizer"), NAMED("pretokenizers"), NUMBERED(0)),
                  "cuts text by an expression that is not known here: known are those of GPT-2, "
                  "cl100k_base and o200k_base (OpenAI), Llama 3, Qwen 2 to 3.5 and Mistral Nemo, "
                  "Isolated");
}

static enum status read_byte_level(struct reading *r, struct json_value v, bool *uses_regex) {
    if (!has_type(v, STR("ByteLevel")) || is_true(v, STR("add_prefix_space"), true))
        return refuse(r, STEPS(NAMED("pre_tokenizer")), "is of another kind: %s", understood);
    *uses_regex = is_true(v, STR("use_regex"), true);
    return ST_OK;
}

static enum status read_pre_tokenizer(struct reading *r, struct json_value root) {
    struct json_value v, list, parts[3];
    struct json_iter it;
    size_t n = 0;
    bool uses_regex = false, is_digits = false;
    if (!json_get(root, STR("pre_tokenizer"), &v))
        return refuse(r, NULL, 0, "has no pre_tokenizer: %s", understood);
    enum token_pattern *pattern = &r->source.pattern;
    *pattern = PATTERN_GPT2;
    if (!has_type(v, STR("Sequence"))) {
        TRY(read_byte_level(r, v, &uses_regex));
        return uses_regex ? ST_OK
                          : refuse(r, STEPS(NAMED("pre_tokenizer")),
                                   "leaves text uncut, which is not supported");
    }
    if (json_get(v, STR("pretokenizers"), &list)) {
        json_items(&it, list);
        while (n < ARRAY_LEN(parts) && json_next(&it, &parts[n]))
            n++;
    }
    if (n != 2)
        return refuse(r, STEPS(NAMED("pre_tokenizer")), "is of another kind: %s", understood);
    TRY(read_byte_level(r, parts[1], &uses_regex));
    if (has_type(parts[0], STR("Digits")) && is_true(parts[0], STR("individual_digits"), false))
        is_digits = true;
    else if (has_type(parts[0], STR("Split")))
        TRY(read_split(r, parts[0], pattern, &is_digits));
    else
        return refuse(r, STEPS(NAMED("pre_tokenizer")), "is of another kind: %s", understood);
    if (is_digits)
        *pattern = PATTERN_GPT2_DIGITS;
    if (uses_regex != is_digits)
        return refuse(r, STEPS(NAMED("pre_tokenizer"), NAMED("pretokenizers"), NUMBERED(1)),
                      "must have \"use_regex\": %s here", is_digits ? "true" : "false");
    return ST_OK;
}

/* --- what else there may be --- */

// NOLINTNEXTLINE(misc-no-recursion)
static bool read_normalizer(struct json_value v, int depth, bool *is_nfc) {
    struct json_value list, one;
    struct json_iter it;
    if (json_type(v) == JSON_NULL)
        return true;
    if (has_type(v, STR("NFC")))
        return *is_nfc = true;
    if (depth == 0 || !has_type(v, STR("Sequence")) || !json_get(v, STR("normalizers"), &list))
        return false;
    json_items(&it, list);
    while (json_next(&it, &one)) {
        if (!read_normalizer(one, depth - 1, is_nfc))
            return false;
    }
    return json_type(list) == JSON_ARRAY;
}

static bool is_empty(struct json_value model, struct str name) {
    struct json_value v;
    if (!json_get(model, name, &v))
        return true;
    switch (json_type(v)) {
    case JSON_NULL:
        return true;
    case JSON_BOOL:
        return !json_bool(v);
    case JSON_STRING:
        return json_str(v).n == 0;
    case JSON_INT:
    case JSON_UINT:
    case JSON_DOUBLE:
        return json_f64(v) == 0;
    case JSON_ARRAY:
    case JSON_OBJECT:
        return false;
    }
    return false;
}

static enum status check_kind(struct reading *r, struct json_value root, struct json_value model) {
    static const struct str none[] = {STR_INIT("dropout"), STR_INIT("continuing_subword_prefix"),
                                      STR_INIT("end_of_word_suffix")};
    struct json_value v;
    if (json_get(root, STR("normalizer"), &v) && !read_normalizer(v, 2, &r->source.is_nfc))
        return refuse(r, STEPS(NAMED("normalizer")),
                      "changes the text before it is counted; only NFC is understood");
    if (json_get(model, STR("type"), &v) && !str_eq(json_str(v), STR("BPE")))
        return refuse(r, STEPS(NAMED("model"), NAMED("type")),
                      "is \"%.*s\"; only byte-level BPE is understood",
                      (int)size_min(json_str(v).n, 40), json_str(v).p);
    for (size_t i = 0; i < ARRAY_LEN(none); i++) {
        if (!is_empty(model, none[i]))
            return refuse(r, STEPS(NAMED("model"), {none[i], 0}), "is not supported; leave it out");
    }
    return ST_OK;
}

/* --- tokens and merges --- */

static size_t count_items(struct json_value v) {
    struct json_iter it;
    struct json_value item;
    size_t n = 0;
    json_items(&it, v);
    while (json_next(&it, &item))
        n++;
    return n;
}

static bool read_id(struct json_value v, uint32_t *id) {
    int64_t n;
    if (!json_i64(v, &n) || n < 0 || n > INT32_MAX)
        return false;
    *id = (uint32_t)n;
    return true;
}

static enum status read_vocabulary(struct reading *r, const struct alphabet *a,
                                   struct json_value model) {
    struct json_value vocab, v;
    struct json_iter it;
    struct str key;
    if (!json_get(model, STR("vocab"), &vocab) || json_type(vocab) != JSON_OBJECT)
        return refuse(r, STEPS(NAMED("model")), "has no object \"vocab\" of tokens and their ids");
    size_t room = 0, number = 0;
    json_fields(&it, vocab);
    while (json_next_field(&it, &key, &v))
        room++;
    r->tokens = xmalloc((room + 1) * sizeof *r->tokens);
    r->ids = xmalloc((room + 1) * sizeof *r->ids);
    r->members = xmalloc((room + 1) * sizeof *r->members);
    json_fields(&it, vocab);
    for (; json_next_field(&it, &key, &v); number++) {
        size_t begin = r->bytes.len, n = r->source.n_tokens;
        if (!read_id(v, &r->ids[n]))
            return refuse(r, STEPS(NAMED("model"), NAMED("vocab"), NUMBERED(number)),
                          "has no whole number for an id");
        if (!decode(a, key, &r->bytes) || r->bytes.len == begin) {
            r->bytes.len = begin; /* in no text that is written in the alphabet of bytes */
            continue;
        }
        struct str token = {r->bytes.p + begin, r->bytes.len - begin};
        if (map_get(&r->by_bytes, token))
            return refuse(r, STEPS(NAMED("model"), NAMED("vocab"), NUMBERED(number)),
                          "occurs twice");
        r->tokens[n] = token;
        r->members[n] = number;
        r->source.n_tokens = n + 1;
        map_put(&r->by_bytes, token, &r->tokens[n]);
    }
    return ST_OK;
}

/* The number of the token that the text means; decodes behind what is there, and takes it back. */
static bool find_token(struct reading *r, const struct alphabet *a, struct str text,
                       uint32_t *number) {
    size_t begin = r->bytes.len;
    const struct str *token = NULL;
    if (decode(a, text, &r->bytes))
        token = map_get(&r->by_bytes, (struct str){r->bytes.p + begin, r->bytes.len - begin});
    r->bytes.len = begin;
    if (token)
        *number = (uint32_t)(token - r->tokens);
    return token != NULL;
}

/* The two parts of "left right" or ["left", "right"]. */
static bool merge_parts(struct json_value v, struct str *left, struct str *right) {
    struct json_iter it;
    struct json_value a, b, more;
    if (json_type(v) == JSON_STRING) {
        *right = json_str(v);
        return str_cut(right, ' ', left) && left->n > 0 && right->n > 0 &&
               !memchr(right->p, ' ', right->n);
    }
    json_items(&it, v);
    if (json_type(v) != JSON_ARRAY || !json_next(&it, &a) || !json_next(&it, &b) ||
        json_next(&it, &more))
        return false;
    *left = json_str(a);
    *right = json_str(b);
    return left->n > 0 && right->n > 0;
}

static enum status read_merges(struct reading *r, const struct alphabet *a,
                               struct json_value model) {
    struct json_value list, v;
    struct json_iter it;
    if (!json_get(model, STR("merges"), &list) || json_type(list) != JSON_ARRAY)
        return refuse(r, STEPS(NAMED("model")), "has no array \"merges\"");
    r->merges = xmalloc((count_items(list) + 1) * sizeof *r->merges);
    json_items(&it, list);
    for (size_t n = 0; json_next(&it, &v); r->source.n_merges = ++n) {
        const struct place_step steps[] = {NAMED("model"), NAMED("merges"), NUMBERED(n)};
        struct vocabulary_merge *m = &r->merges[n];
        struct str left, right;
        if (!merge_parts(v, &left, &right))
            return refuse(r, steps, ARRAY_LEN(steps),
                          "is neither \"LEFT RIGHT\" nor [LEFT, RIGHT]");
        if (!find_token(r, a, left, &m->left) || !find_token(r, a, right, &m->right))
            return refuse(r, steps, ARRAY_LEN(steps), "names a token that model.vocab has not");
        struct str x = r->tokens[m->left], y = r->tokens[m->right];
        size_t begin = r->bytes.len;
        buf_str(&r->bytes, x);
        buf_str(&r->bytes, y);
        const struct str *joint =
            map_get(&r->by_bytes, (struct str){r->bytes.p + begin, r->bytes.len - begin});
        r->bytes.len = begin;
        if (!joint)
            return refuse(r, steps, ARRAY_LEN(steps), "makes a token that model.vocab has not");
        m->joint = (uint32_t)(joint - r->tokens);
    }
    return ST_OK;
}

/* Those that are looked for in normalized text are so themselves. */
static enum status normalize(struct reading *r, struct vocabulary_added *one) {
    size_t begin = r->bytes.len;
    enum status st = nfc_put(&r->bytes, one->text);
    if (st != ST_OK)
        return refuse(r, STEPS(NAMED("added_tokens")), "are too long");
    one->text = (struct str){r->bytes.p + begin, r->bytes.len - begin};
    return ST_OK;
}

static enum status read_added(struct reading *r, struct json_value root) {
    struct json_value list, v, content, id;
    struct json_iter it;
    if (!json_get(root, STR("added_tokens"), &list) || json_type(list) == JSON_NULL)
        return ST_OK;
    size_t room = count_items(list), number = 0;
    if (json_type(list) != JSON_ARRAY || room > ADDED_MAX)
        return refuse(r, STEPS(NAMED("added_tokens")), "must be an array of at most %d", ADDED_MAX);
    r->added = xmalloc((room + 1) * sizeof *r->added);
    json_items(&it, list);
    for (; json_next(&it, &v); number++) {
        const struct place_step steps[] = {NAMED("added_tokens"), NUMBERED(number)};
        struct vocabulary_added *one = &r->added[r->source.n_added];
        if (!json_get(v, STR("content"), &content) || json_type(content) != JSON_STRING ||
            !json_get(v, STR("id"), &id) || !read_id(id, &one->id))
            return refuse(r, steps, ARRAY_LEN(steps), "has no content (text) or no id (number)");
        if (is_true(v, STR("single_word"), false))
            return refuse(r, steps, ARRAY_LEN(steps),
                          "has \"single_word\", which is not supported");
        one->text = json_str(content);
        if (one->text.n == 0)
            continue;
        one->is_late = is_true(v, STR("normalized"), !is_true(v, STR("special"), false));
        if (one->is_late && r->source.is_nfc)
            TRY(normalize(r, one));
        one->takes_before = is_true(v, STR("lstrip"), false);
        one->takes_behind = is_true(v, STR("rstrip"), false);
        r->source.n_added++;
    }
    return ST_OK;
}

/* The fault of a merge or token in the file's own words. */
static enum status explain(struct reading *r, const struct vocabulary_fault *fault,
                           enum status st) {
    struct problem inner = *r->why;
    if (st != ST_BAD_REQUEST)
        return problem_set(r->why, st, r->file, "the vocabulary is too large");
    if (fault->part == FAULT_MERGE)
        return refuse(r, STEPS(NAMED("model"), NAMED("merges"), NUMBERED(fault->number)), "(%s)",
                      inner.message);
    if (fault->part == FAULT_TOKEN)
        return refuse(r, STEPS(NAMED("model"), NAMED("vocab"), NUMBERED(r->members[fault->number])),
                      "(%s)", inner.message);
    return refuse(r, STEPS(NAMED("model"), NAMED("vocab")), "cannot be used: %s", inner.message);
}

static enum status read_all(struct reading *r, struct json_doc *doc, struct buf *out) {
    struct json_value root, model;
    struct vocabulary_fault fault;
    struct alphabet bytes;
    enum status st = json_parse(doc, r->text.p, r->text.n, &root, r->why);
    if (st != ST_OK) {
        struct problem inner = *r->why;
        return problem_set(r->why, st, r->file, "%s", inner.message);
    }
    if (!json_get(root, STR("model"), &model) || json_type(model) != JSON_OBJECT)
        return refuse(r, NULL, 0, "has no object \"model\": this is no tokenizer.json");
    TRY(check_kind(r, root, model));
    TRY(read_pre_tokenizer(r, root));
    alphabet(&bytes);
    TRY(read_vocabulary(r, &bytes, model));
    TRY(read_merges(r, &bytes, model));
    TRY(read_added(r, root));
    r->source.tokens = r->tokens;
    r->source.ids = r->ids;
    r->source.merges = r->merges;
    r->source.added = r->added;
    r->source.is_whole_first = is_true(model, STR("ignore_merges"), false);
    st = vocabulary_compile(out, &r->source, &fault, r->why);
    return st == ST_OK ? ST_OK : explain(r, &fault, st);
}

enum status tokenizer_json_compile(struct buf *out, struct str file, struct str text,
                                   struct problem *why) {
    struct problem unwanted = {0};
    struct reading r = {.file = file, .text = text, .why = why ? why : &unwanted};
    if (text.n > TOKENIZER_JSON_MAX)
        return problem_set(r.why, ST_TOO_LARGE, file, "the file has more than %d bytes",
                           TOKENIZER_JSON_MAX);
    struct json_doc *doc = json_doc_new();
    /* Two tokens are put side by side behind all of them. */
    buf_init(&r.bytes, 3 * text.n + 1);
    map_init(&r.by_bytes, &(struct siphash_key){0, 0});
    (void)buf_reserve(&r.bytes, r.bytes.ceiling);
    enum status st = read_all(&r, doc, out);
    map_destroy(&r.by_bytes);
    buf_destroy(&r.bytes);
    free(r.tokens);
    free(r.ids);
    free(r.members);
    free(r.merges);
    free(r.added);
    json_doc_free(doc);
    return st;
}
