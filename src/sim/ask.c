/* ask.c - reads the bodies, counts prompt tokens and hashes what was said. */
#include "sim/ask.h"

#include "sim/promptcache.h"
#include "sim/script.h"
#include "tokens/count.h"
#include "tokens/prompt.h"

enum {
    UNIT = 4, /* bytes of a prompt token */
    MESSAGE_TOKENS = 3,
    ROLE_TOKENS = 1,
    PART_TOKENS = 85,
    TEXT_MAX = 32 << 20,
};

/* --- counting --- */

/* Puts whole tokens into the chain of blocks; the last token is filled up with NULs. */
static void mark_bytes(struct ask *a, struct str text) {
    while (text.n) {
        size_t at = (size_t)(a->units % PROMPTCACHE_STEP) * UNIT;
        size_t n = size_min(text.n, sizeof a->block - at);
        memcpy(a->block + at, text.p, n);
        size_t padded = (n + UNIT - 1) / UNIT * UNIT;
        memset(a->block + at + n, 0, padded - n);
        a->units += (int64_t)(padded / UNIT);
        text = str_skip(text, n);
        if (a->units % PROMPTCACHE_STEP == 0) {
            a->chain = script_hash(a->chain, (struct str){a->block, sizeof a->block});
            if (a->units >= PROMPTCACHE_FIRST)
                buf_put(&a->marks, &a->chain, sizeof a->chain);
        }
    }
}

static void count_text(struct ask *a, struct str text) {
    a->hash = script_hash(a->hash, text);
    if (!a->encoding) {
        a->prompt_tokens += (int64_t)((text.n + UNIT - 1) / UNIT);
        if (a->wants_marks)
            mark_bytes(a, text);
    } else if (a->wants_marks) {
        buf_clear(&a->ids);
        if (token_ids(a->encoding, text, &a->ids) == ST_OK)
            mark_bytes(a, buf_view(&a->ids));
        a->prompt_tokens += (int64_t)(a->ids.len / UNIT);
    } else {
        a->prompt_tokens += token_count(a->encoding, text);
    }
}

static void choose_encoding(struct ask *a) {
    enum prompt_encoding e = prompt_rules_find(a->model)->encoding;
    a->encoding = NULL;
    if (e == ENCODING_UNKNOWN)
        return;
    struct token_cache **cache = &a->encodings[e == ENCODING_O200K];
    struct vocabulary v = e == ENCODING_O200K ? vocabulary_o200k() : vocabulary_cl100k();
    if (!*cache)
        *cache = token_cache_new(&v);
    a->encoding = *cache;
}

/* `n` tokens that are no text, as the frame of a message; `what` says which. */
static void count_frame(struct ask *a, int64_t n, struct str what) {
    a->prompt_tokens += n;
    a->hash = script_hash(a->hash, what);
    if (!a->wants_marks)
        return;
    char unit[UNIT] = {'\xff'}; /* no text has this byte */
    memcpy(unit + 1, what.p, size_min(what.n, UNIT - 1));
    for (int64_t i = 0; i < n; i++)
        mark_bytes(a, (struct str){unit, UNIT});
}

static void begin_input(struct ask *a) {
    a->hash = 0;
    a->chain = script_hash(0, a->model); /* models do not share what they worked out */
    a->units = 0;
    buf_clear(&a->marks);
}

static void end_input(struct ask *a, int64_t tokens_before) {
    struct ask_input in = {a->hash, a->prompt_tokens - tokens_before};
    buf_put(&a->inputs, &in, sizeof in);
}

/* --- messages --- */

/* The content of a message: a text, or parts of which some are texts. Gives the text, for
 * the echo. */
static enum status count_content(struct ask *a, struct json_value content, struct str *text,
                                 struct problem *why) {
    *text = STR("");
    if (json_type(content) == JSON_NULL)
        return ST_OK;
    if (json_type(content) == JSON_STRING) {
        *text = json_str(content);
        count_text(a, *text);
        return ST_OK;
    }
    if (json_type(content) != JSON_ARRAY)
        return problem_set(why, ST_BAD_REQUEST, STR("messages"),
                           "content must be a string or an array of parts");
    size_t n_texts = 0;
    struct json_iter it;
    struct json_value part, value;
    json_items(&it, content);
    while (json_next(&it, &part)) {
        if (json_type(part) != JSON_OBJECT)
            return problem_set(why, ST_BAD_REQUEST, STR("messages"),
                               "a part of a message must be an object");
        if (!json_get(part, STR("text"), &value) || json_type(value) != JSON_STRING) {
            count_frame(a, PART_TOKENS, json_get_str(part, STR("type")));
            continue;
        }
        struct str piece = json_str(value);
        count_text(a, piece);
        if (n_texts++ == 0) {
            *text = piece;
            continue;
        }
        if (n_texts == 2) {
            buf_clear(&a->text);
            buf_str(&a->text, *text);
        }
        buf_str(&a->text, piece);
        *text = buf_view(&a->text);
    }
    return ST_OK;
}

static void count_tool_calls(struct ask *a, struct json_value calls) {
    struct json_iter it;
    struct json_value call, function;
    json_items(&it, calls);
    while (json_next(&it, &call)) {
        if (!json_get(call, STR("function"), &function))
            continue;
        count_text(a, json_get_str(function, STR("name")));
        count_text(a, json_get_str(function, STR("arguments")));
    }
}

/* A message of a chat or an item of a Responses input. */
static enum status count_message(struct ask *a, struct json_value message, struct problem *why) {
    if (json_type(message) != JSON_OBJECT)
        return problem_set(why, ST_BAD_REQUEST, STR("messages"), "a message must be an object");
    struct str role = json_get_str(message, STR("role")), text;
    struct json_value v;
    count_frame(a, MESSAGE_TOKENS, STR(""));
    count_frame(a, ROLE_TOKENS, role);
    if (json_get(message, STR("content"), &v)) {
        TRY(count_content(a, v, &text, why));
        if (str_eq(role, STR("user")))
            a->last_user = text;
    }
    if (json_get(message, STR("name"), &v))
        count_text(a, json_str(v));
    if (json_get(message, STR("tool_calls"), &v))
        count_tool_calls(a, v);
    if (json_get(message, STR("arguments"), &v)) /* a function_call item of Responses */
        count_text(a, json_str(v));
    if (json_get(message, STR("output"), &v)) /* a function_call_output item */
        count_text(a, json_str(v));
    return ST_OK;
}

static enum status count_messages(struct ask *a, struct json_value messages, struct problem *why) {
    struct json_iter it;
    struct json_value message;
    json_items(&it, messages);
    while (json_next(&it, &message))
        TRY(count_message(a, message, why));
    return ST_OK;
}

/* --- prompts and inputs --- */

/* True when all items are whole numbers. */
static bool are_tokens(struct json_value array) {
    struct json_iter it;
    struct json_value item;
    json_items(&it, array);
    while (json_next(&it, &item)) {
        if (json_type(item) != JSON_INT)
            return false;
    }
    return true;
}

static void count_ids(struct ask *a, struct json_value ids) {
    struct json_iter it;
    struct json_value item;
    json_items(&it, ids);
    while (json_next(&it, &item)) {
        int64_t id;
        if (json_i64(item, &id)) {
            char unit[UNIT];
            memcpy(unit, &id, UNIT);
            count_text(a, (struct str){unit, UNIT});
        }
    }
}

static bool count_input(struct ask *a, struct json_value v) {
    int64_t before = a->prompt_tokens;
    begin_input(a);
    if (json_type(v) == JSON_STRING) {
        a->last_user = json_str(v);
        count_text(a, a->last_user);
    } else if (json_type(v) == JSON_ARRAY && are_tokens(v)) {
        count_ids(a, v);
    } else {
        return false;
    }
    end_input(a, before);
    return true;
}

/* A string, an array of token ids, or an array of such. */
static enum status count_inputs(struct ask *a, struct json_value v, struct str field,
                                struct problem *why) {
    struct json_iter it;
    struct json_value item;
    bool is_one = json_type(v) == JSON_STRING;
    if (json_type(v) == JSON_ARRAY) {
        json_items(&it, v);
        is_one = json_next(&it, &item) && json_type(item) == JSON_INT;
    }
    if (is_one && count_input(a, v))
        return ST_OK;
    if (!is_one && json_type(v) == JSON_ARRAY) {
        bool is_good = true;
        json_items(&it, v);
        while (is_good && json_next(&it, &item)) {
            is_good = count_input(a, item);
            if (ask_n_inputs(a) > ASK_INPUTS_MAX)
                return problem_set(why, ST_BAD_REQUEST, field, "at most %d inputs", ASK_INPUTS_MAX);
        }
        if (is_good && ask_n_inputs(a) > 0)
            return ST_OK;
    }
    return problem_set(why, ST_BAD_REQUEST, field,
                       "%.*s must be a string, an array of tokens, or a non-empty array of these",
                       STR_ARG(field));
}

/* --- fields --- */

static enum status read_count(struct json_value v, struct str field, int64_t min, int64_t max,
                              int64_t *out, struct problem *why) {
    int64_t n;
    if (json_type(v) == JSON_NULL)
        return ST_OK;
    if (!json_i64(v, &n) || n < min || n > max)
        return problem_set(why, ST_BAD_REQUEST, field,
                           "%.*s must be a whole number from %lld to %lld", STR_ARG(field),
                           (long long)min, (long long)max);
    *out = n;
    return ST_OK;
}

static enum status read_bool(struct json_value v, struct str field, bool *out,
                             struct problem *why) {
    if (json_type(v) != JSON_NULL && json_type(v) != JSON_BOOL)
        return problem_set(why, ST_BAD_REQUEST, field, "%.*s must be true or false",
                           STR_ARG(field));
    *out = json_bool(v);
    return ST_OK;
}

static enum status read_stop(struct ask *a, struct json_value v, struct problem *why) {
    if (json_type(v) == JSON_STRING) {
        a->stops[a->n_stops++] = json_str(v);
        return ST_OK;
    }
    struct json_iter it;
    struct json_value item;
    bool is_good = json_type(v) == JSON_NULL || json_type(v) == JSON_ARRAY;
    json_items(&it, v);
    while (is_good && json_next(&it, &item)) {
        is_good = json_type(item) == JSON_STRING && a->n_stops < ASK_STOPS_MAX;
        if (is_good)
            a->stops[a->n_stops++] = json_str(item);
    }
    return is_good ? ST_OK
                   : problem_set(why, ST_BAD_REQUEST, STR("stop"),
                                 "stop must be a string or an array of at most %d strings",
                                 ASK_STOPS_MAX);
}

/* The members that are read; what is not named here does not change what the simulator does. */
struct found {
    struct json_value prompt, instructions;
    bool has_prompt, has_instructions;
    struct str tools, format;
    int64_t seed;
};

static enum status read_member(struct ask *a, struct found *f, struct str key, struct json_value v,
                               struct str raw, struct problem *why) {
    static const struct str prompts[] = {
        [ASK_CHAT] = STR_INIT("messages"),
        [ASK_COMPLETIONS] = STR_INIT("prompt"),
        [ASK_EMBEDDINGS] = STR_INIT("input"),
        [ASK_RESPONSES] = STR_INIT("input"),
    };
    if (str_eq(key, prompts[a->api])) {
        f->prompt = v;
        f->has_prompt = true;
    } else if (str_eq(key, STR("model"))) {
        if (json_type(v) != JSON_STRING)
            return problem_set(why, ST_BAD_REQUEST, key, "model must be a string");
        a->model = json_str(v);
    } else if (str_eq(key, STR("stream"))) {
        return read_bool(v, key, &a->is_stream, why);
    } else if (str_eq(key, STR("stream_options"))) {
        struct json_value o;
        a->wants_usage = json_get(v, STR("include_usage"), &o) && json_bool(o);
        a->wants_usage_every = json_get(v, STR("continuous_usage_stats"), &o) && json_bool(o);
    } else if (str_eq(key, STR("max_tokens")) || str_eq(key, STR("max_completion_tokens")) ||
               str_eq(key, STR("max_output_tokens"))) {
        int64_t limit = -1;
        TRY(read_count(v, key, a->api == ASK_COMPLETIONS ? 0 : 1, INT32_MAX, &limit, why));
        if (limit >= 0 && (a->limit < 0 || limit < a->limit))
            a->limit = limit;
    } else if (str_eq(key, STR("n"))) {
        return read_count(v, key, 1, ASK_CHOICES_MAX, &a->n, why);
    } else if (str_eq(key, STR("seed"))) {
        return read_count(v, key, INT64_MIN, INT64_MAX, &f->seed, why);
    } else if (str_eq(key, STR("stop"))) {
        return read_stop(a, v, why);
    } else if (str_eq(key, STR("tools"))) {
        f->tools = raw;
    } else if (str_eq(key, STR("response_format")) || str_eq(key, STR("text"))) {
        f->format = raw;
    } else if (str_eq(key, STR("instructions"))) {
        f->instructions = v;
        f->has_instructions = json_type(v) == JSON_STRING;
    } else if (str_eq(key, STR("echo"))) {
        return read_bool(v, key, &a->wants_echo, why);
    } else if (str_eq(key, STR("dimensions"))) {
        return read_count(v, key, 1, ASK_DIMENSIONS_MAX, &a->dimensions, why);
    } else if (str_eq(key, STR("encoding_format"))) {
        struct str format = json_str(v);
        a->wants_floats = !str_eq(format, STR("base64"));
        if (a->wants_floats && !str_eq(format, STR("float")))
            return problem_set(why, ST_BAD_REQUEST, key,
                               "encoding_format is \"float\" or \"base64\"");
    }
    return ST_OK;
}

/* A chat, or what Responses makes of one: everything in one prompt. */
static enum status count_chat(struct ask *a, const struct found *f, struct problem *why) {
    begin_input(a);
    if (f->has_instructions) {
        count_frame(a, MESSAGE_TOKENS, STR(""));
        count_frame(a, ROLE_TOKENS, STR("system"));
        count_text(a, json_str(f->instructions));
    }
    count_text(a, f->tools);
    count_text(a, f->format);
    if (a->api == ASK_RESPONSES && json_type(f->prompt) == JSON_STRING) {
        count_frame(a, MESSAGE_TOKENS, STR(""));
        count_frame(a, ROLE_TOKENS, STR("user"));
        a->last_user = json_str(f->prompt);
        count_text(a, a->last_user);
    } else {
        struct str field = a->api == ASK_CHAT ? STR("messages") : STR("input");
        struct json_iter it;
        struct json_value first;
        json_items(&it, f->prompt);
        if (json_type(f->prompt) != JSON_ARRAY || !json_next(&it, &first))
            return problem_set(why, ST_BAD_REQUEST, field, "%.*s must be a non-empty array",
                               STR_ARG(field));
        TRY(count_messages(a, f->prompt, why));
    }
    count_frame(a, MESSAGE_TOKENS, STR(""));
    end_input(a, 0);
    return ST_OK;
}

/* --- the whole --- */

void ask_init(struct ask *a, bool wants_marks) {
    *a = (struct ask){.doc = json_doc_new(), .wants_marks = wants_marks};
    buf_init(&a->inputs, (ASK_INPUTS_MAX + 1) * sizeof(struct ask_input));
    buf_init(&a->marks, TEXT_MAX);
    buf_init(&a->text, TEXT_MAX);
    buf_init(&a->ids, UNIT * (size_t)TEXT_MAX);
}

void ask_destroy(struct ask *a) {
    json_doc_free(a->doc);
    buf_destroy(&a->inputs);
    buf_destroy(&a->marks);
    buf_destroy(&a->text);
    buf_destroy(&a->ids);
    token_cache_free(a->encodings[0]);
    token_cache_free(a->encodings[1]);
}

size_t ask_n_inputs(const struct ask *a) {
    return a->inputs.len / sizeof(struct ask_input);
}

const struct ask_input *ask_inputs(const struct ask *a) {
    return (const struct ask_input *)(const void *)a->inputs.p;
}

enum status ask_read(struct ask *a, enum ask_api api, struct str body, struct problem *why) {
    struct json_value root, v;
    TRY(json_parse(a->doc, body.p, body.n, &root, why));
    if (json_type(root) != JSON_OBJECT)
        return problem_set(why, ST_BAD_REQUEST, STR(""), "the body must be a JSON object");
    a->api = api;
    a->model = a->last_user = STR("");
    a->is_stream = a->wants_usage = a->wants_usage_every = a->wants_echo = false;
    a->wants_floats = true;
    a->limit = -1;
    a->n = 1;
    a->dimensions = a->prompt_tokens = 0;
    a->n_stops = 0;
    buf_clear(&a->inputs);

    struct found f = {.seed = 0};
    struct json_iter it;
    struct str key;
    struct json_span key_span, span;
    json_fields(&it, root);
    while (json_next_member(&it, &key, &v, &key_span, &span))
        TRY(read_member(a, &f, key, v, (struct str){body.p + span.begin, span.end - span.begin},
                        why));
    choose_encoding(a);
    struct str field = api == ASK_CHAT          ? STR("messages")
                       : api == ASK_COMPLETIONS ? STR("prompt")
                                                : STR("input");
    if (!f.has_prompt)
        return problem_set(why, ST_BAD_REQUEST, field, "%.*s is required", STR_ARG(field));
    if (api == ASK_CHAT || api == ASK_RESPONSES)
        TRY(count_chat(a, &f, why));
    else
        TRY(count_inputs(a, f.prompt, field, why));
    if (api == ASK_COMPLETIONS && a->limit < 0)
        a->limit = 16; /* OpenAI's default of this API alone */
    if (ask_n_inputs(a) > 1)
        buf_clear(&a->marks); /* several prompts at once are not cached */
    struct ask_input *inputs = (struct ask_input *)(void *)a->inputs.p;
    for (size_t i = 0; f.seed && i < ask_n_inputs(a); i++)
        inputs[i].hash = script_mix(inputs[i].hash + (uint64_t)f.seed);
    return ST_OK;
}
