/* script.c - words from a list, lengths from a table. */
#include "sim/script.h"

/* 128 words with a river in the background; no word needs escaping. */
/* clang-format off */
static const char words[128][10] = {
    "the", "river", "a", "of", "and", "to", "in", "water", "is", "that", "level", "weir", "flows", "over", "with", "its",
    "holds", "every", "stream", "when", "rain", "comes", "from", "hills", "by", "stone", "gate", "it", "rises", "slowly", "then", "falls",
    "for", "each", "mill", "wheel", "turns", "as", "long", "channel", "carries", "what", "spring", "gave", "below", "dam", "deep", "pool",
    "keeps", "still", "while", "current", "runs", "past", "old", "bridge", "under", "trees", "light", "moves", "on", "surface", "like", "small",
    "waves", "at", "edge", "fish", "wait", "where", "quiet", "meets", "fast", "one", "or", "two", "boats", "pass", "through", "lock",
    "after", "morning", "mist", "lifts", "until", "evening", "no", "more", "than", "banks", "can", "bear", "so", "some", "goes", "around",
    "this", "measure", "shows", "how", "much", "there", "was", "before", "flood", "now", "only", "sand", "remains", "clear", "cold", "green",
    "down", "valley", "toward", "sea", "all", "rivers", "find", "their", "way", "without", "hurry", "never", "twice", "same", "again", "home",
};
/* clang-format on */

uint64_t script_mix(uint64_t x) {
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

uint64_t script_hash(uint64_t seed, struct str text) {
    const uint64_t odd = UINT64_C(0x9e3779b97f4a7c15); /* 2^64 / golden ratio */
    uint64_t h = seed ^ text.n * odd;
    while (text.n >= 8) {
        uint64_t word;
        memcpy(&word, text.p, 8);
        h = (h ^ word) * odd;
        h ^= h >> 29;
        text = str_skip(text, 8);
    }
    uint64_t tail = 0;
    if (text.n)
        memcpy(&tail, text.p, text.n);
    return script_mix((h ^ tail) * odd);
}

void script_put_words(struct buf *out, uint64_t hash, int64_t n, bool is_complete) {
    enum { WORD_MAX = 12 }; /* blank, word, full stop */
    if (n <= 0)
        return; /* an unused buffer has no place to point to */
    static unsigned char lengths[ARRAY_LEN(words)];
    if (!lengths[0]) {
        for (size_t i = 0; i < ARRAY_LEN(words); i++)
            lengths[i] = (unsigned char)strlen(words[i]);
    }
    char *at = buf_reserve(out, (size_t)n * WORD_MAX), *begin = at;
    if (!at)
        return;
    bool is_start = true;
    for (int64_t i = 0; i < n; i++) {
        uint64_t r = script_mix(hash + (uint64_t)i * UINT64_C(0x9e3779b97f4a7c15));
        bool is_end = r >> 60 == 0 || (is_complete && i == n - 1); /* sentences of 16 words or so */
        size_t k = r % ARRAY_LEN(words);
        if (i > 0)
            *at++ = ' ';
        memcpy(at, words[k], sizeof words[k]);
        if (is_start)
            *at = (char)(*at - 'a' + 'A');
        at += lengths[k];
        if (is_end)
            *at++ = '.';
        is_start = is_end;
    }
    buf_commit(out, (size_t)(at - begin));
}

int64_t script_length(uint64_t hash, int64_t mean) {
    /* exp(0.5 z - 0.125) at the middle of each 32nd, in percent; the mean is 100. */
    static const int16_t percent[32] = {30,  38,  44,  48,  52,  55,  59,  62,  65,  68,  71,
                                        74,  77,  80,  84,  87,  91,  94,  98,  102, 106, 111,
                                        116, 121, 128, 134, 142, 152, 164, 180, 205, 262};
    return i64_max(mean * percent[script_mix(hash) % ARRAY_LEN(percent)] / 100, 1);
}

bool script_token(struct str *rest, struct str *token) {
    if (rest->n == 0)
        return false;
    size_t n = 0;
    while (n < rest->n && rest->p[n] == ' ')
        n++;
    const char *end = n < rest->n ? memchr(rest->p + n, ' ', rest->n - n) : NULL;
    *token = (struct str){rest->p, end ? (size_t)(end - rest->p) : rest->n};
    *rest = str_skip(*rest, token->n);
    return true;
}

int64_t script_count(struct str text) {
    struct str token;
    int64_t n = 0;
    while (script_token(&text, &token))
        n++;
    return n;
}

struct str script_prefix(struct str text, int64_t n) {
    struct str rest = text, token;
    while (n > 0 && script_token(&rest, &token))
        n--;
    return (struct str){text.p, text.n - rest.n};
}

struct str script_stop(struct str text, const struct str *stops, size_t n) {
    size_t begin = text.n, end = SIZE_MAX;
    for (size_t i = 0; i < n; i++) {
        ptrdiff_t at = stops[i].n ? str_find(text, stops[i]) : -1;
        if (at < 0)
            continue;
        size_t its_end = (size_t)at + stops[i].n;
        if (its_end < end || (its_end == end && (size_t)at < begin)) {
            begin = (size_t)at;
            end = its_end;
        }
    }
    return (struct str){text.p, begin};
}

bool script_echo(struct str message, struct str *text) {
    struct str open = STR("[[echo:");
    ptrdiff_t at = str_find(message, open);
    if (at < 0)
        return false;
    struct str rest = str_skip(message, (size_t)at + open.n);
    for (size_t n = rest.n; n >= 2; n--) {
        if (rest.p[n - 1] == ']' && rest.p[n - 2] == ']') {
            *text = (struct str){rest.p, n - 2};
            return true;
        }
    }
    return false;
}
