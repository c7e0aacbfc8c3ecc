#include "call/request.h"

#include "call/functions.h"

/* The most choices that the service makes for one request (OpenAI API reference, `n`, 2026). */
enum { MAX_CHOICES = 128, MAX_BEST_OF = 20 };

/* The longest text that a function's name, parameters and their descriptions are put together to. */
enum { FUNCTION_TEXT_MAX = 1 << 16 };

/* Members that are read; the bit of each tells that it was there. */
enum member {
    MEMBER_MODEL,
    MEMBER_STREAM,
    MEMBER_STREAM_OPTIONS,
    MEMBER_MAX_TOKENS,
    MEMBER_MAX_COMPLETION_TOKENS,
    MEMBER_MAX_OUTPUT_TOKENS,
    MEMBER_N,
    MEMBER_BEST_OF,
    /* From here on the prompt's, in the order in which the model is given them: tools and schemas stand
     * before the messages (OpenAI, "Prompt caching", 2026). */
    MEMBER_INSTRUCTIONS,
    MEMBER_TOOLS,
    MEMBER_FUNCTIONS,
    MEMBER_RESPONSE_FORMAT,
    MEMBER_TEXT,
    MEMBER_MESSAGES,
    MEMBER_PROMPT,
    MEMBER_INPUT,
    N_MEMBERS,
    FIRST_PART = MEMBER_INSTRUCTIONS,
};

static_assert(N_MEMBERS - FIRST_PART == REQUEST_PARTS, "each member of the prompt is kept");

static const struct str member_names[N_MEMBERS] = {
    [MEMBER_MODEL] = STR_INIT("model"),
    [MEMBER_STREAM] = STR_INIT("stream"),
    [MEMBER_STREAM_OPTIONS] = STR_INIT("stream_options"),
    [MEMBER_MAX_TOKENS] = STR_INIT("max_tokens"),
    [MEMBER_MAX_COMPLETION_TOKENS] = STR_INIT("max_completion_tokens"),
    [MEMBER_MAX_OUTPUT_TOKENS] = STR_INIT("max_output_tokens"),
    [MEMBER_N] = STR_INIT("n"),
    [MEMBER_BEST_OF] = STR_INIT("best_of"),
    [MEMBER_MESSAGES] = STR_INIT("messages"),
    [MEMBER_PROMPT] = STR_INIT("prompt"),
    [MEMBER_INPUT] = STR_INIT("input"),
    [MEMBER_INSTRUCTIONS] = STR_INIT("instructions"),
    [MEMBER_TOOLS] = STR_INIT("tools"),
    [MEMBER_FUNCTIONS] = STR_INIT("functions"),
    [MEMBER_RESPONSE_FORMAT] = STR_INIT("response_format"),
    [MEMBER_TEXT] = STR_INIT("text"),
};

/* --- prompts --- */

static void add_text(struct request *r, struct str text) {
    prompt_add(&r->tally, text);
    if (r->how.with_chars)
        r->prompt_chars += (int64_t)str_utf8_length(text);
}

/* Tokens around texts, and that which makes them differ from others. */
static void add_frame(struct request *r, int64_t tokens, struct str what) {
    prompt_add_frame(&r->tally, tokens, what);
}

static void add_image(struct request *r, struct json_value part) {
    struct json_value image, detail, url;
    struct str identity = STR("");
    bool is_low = json_get(part, STR("detail"), &detail) && str_eq(json_str(detail), STR("low"));
    if (json_get(part, STR("image_url"), &image)) {
        identity = json_str(json_get(image, STR("url"), &url) ? url : image);
        is_low = is_low ||
                 (json_get(image, STR("detail"), &detail) && str_eq(json_str(detail), STR("low")));
    }
    /* Its size would only be known from the image itself. */
    r->is_guessed = true;
    prompt_begin_opaque(&r->tally);
    prompt_end_opaque(&r->tally,
                      prompt_image_tokens(&r->tally.rules, is_low ? IMAGE_LOW : IMAGE_AUTO, 0, 0),
                      identity);
}

/* Text, or an array of parts of which some are text. */
static void add_content(struct request *r, struct json_value content) {
    if (json_type(content) == JSON_STRING) {
        add_text(r, json_str(content));
        return;
    }
    struct json_iter it;
    struct json_value part, v;
    json_items(&it, content);
    while (json_next(&it, &part)) {
        struct str type = json_get_str(part, STR("type"));
        add_frame(r, 0, STR("part"));
        if (json_get(part, STR("text"), &v))
            add_text(r, json_str(v));
        else if (str_eq(type, STR("image_url")) || str_eq(type, STR("input_image")))
            add_image(r, part);
        else if (json_get(part, STR("refusal"), &v))
            add_text(r, json_str(v));
        else
            prompt_stop_marks(&r->tally); /* a file, a sound, or something that is not known yet */
    }
}

/* Name and arguments of a function call. */
static void add_function(struct request *r, struct json_value f) {
    struct json_value v;
    add_frame(r, 0, STR("call"));
    if (json_get(f, STR("name"), &v))
        add_text(r, json_str(v));
    add_frame(r, 0, STR("arguments"));
    if (json_get(f, STR("arguments"), &v))
        add_text(r, json_str(v));
}

/* What /responses makes a message of. */
static void add_plain_message(struct request *r, struct str role, struct str text) {
    add_frame(r, r->tally.rules.per_message, STR("message"));
    add_frame(r, 1, role);
    add_text(r, text);
}

static void add_message(struct request *r, struct json_value message) {
    struct json_iter it, calls;
    struct json_value v, call, f;
    struct str key;
    add_frame(r, r->tally.rules.per_message, STR("message"));
    json_fields(&it, message);
    while (json_next_field(&it, &key, &v)) {
        if (str_eq(key, STR("content"))) {
            add_content(r, v);
        } else if (str_eq(key, STR("output"))) {
            add_frame(r, 0, key);
            add_content(r, v);
        } else if (str_eq(key, STR("role"))) {
            add_frame(r, 1, json_str(v));
            r->prompt_chars += (int64_t)json_str(v).n;
        } else if (str_eq(key, STR("name"))) {
            if (r->tally.rules.per_name == 0)
                continue;
            add_frame(r, r->tally.rules.per_name, STR("name"));
            add_text(r, json_str(v));
        } else if (str_eq(key, STR("arguments"))) {
            add_frame(r, 0, key);
            add_text(r, json_str(v));
        } else if (str_eq(key, STR("function_call"))) {
            add_function(r, v);
        } else if (str_eq(key, STR("tool_calls"))) {
            json_items(&calls, v);
            while (json_next(&calls, &call)) {
                if (json_get(call, STR("function"), &f))
                    add_function(r, f);
            }
        }
    }
}

static enum status read_messages(struct request *r, struct json_value v, struct problem *why) {
    struct json_iter it;
    struct json_value message;
    if (json_type(v) != JSON_ARRAY)
        return problem_set(why, ST_BAD_REQUEST, STR("messages"), "messages must be an array.");
    json_items(&it, v);
    int64_t n = 0;
    while (json_next(&it, &message)) {
        if (json_type(message) != JSON_OBJECT)
            return problem_set(why, ST_BAD_REQUEST, STR("messages"),
                               "messages[%lld] must be an object.", (long long)n);
        add_message(r, message);
        n++;
    }
    if (n == 0)
        return problem_set(why, ST_BAD_REQUEST, STR("messages"),
                           "messages must have at least one message.");
    add_frame(r, r->tally.rules.per_reply, STR("message"));
    return ST_OK;
}

/* --- functions --- */

/* Counts name and description as the model is given them: "name:description", no stop at the end. */
static void add_line(struct request *r, struct buf *line) {
    struct str text = buf_view(line);
    if (str_ends(text, STR(".")))
        text.n--;
    prompt_add(&r->tally, text);
}

/* Whether the published recipe knows what a parameter with this schema costs: one of a plain type. */
static bool is_plain(struct json_value schema) {
    struct json_iter it;
    struct json_value v;
    struct str key;
    json_fields(&it, schema);
    while (json_next_field(&it, &key, &v)) {
        bool is_text = str_eq(key, STR("type")) || str_eq(key, STR("description"));
        if (is_text ? json_type(v) != JSON_STRING : !str_eq(key, STR("enum")))
            return false;
    }
    return json_get(schema, STR("type"), &v) && !str_eq(json_str(v), STR("object")) &&
           !str_eq(json_str(v), STR("array"));
}

static bool is_plain_function(struct json_value function, struct json_value *properties) {
    struct json_iter it;
    struct json_value parameters, v;
    struct str key;
    *properties = (struct json_value){0};
    if (!json_get(function, STR("name"), &v))
        return false;
    if (!json_get(function, STR("parameters"), &parameters) ||
        !json_get(parameters, STR("properties"), properties))
        return true;
    json_fields(&it, *properties);
    while (json_next_field(&it, &key, &v)) {
        if (!is_plain(v))
            return false;
    }
    return true;
}

/*
 * A function by OpenAI's published recipe (Cookbook, "How to count tokens with tiktoken", 2025): per
 * function its beginning and a line; 3 for having parameters and 3 and a line for each; 3 for each
 * value of an enumeration, less 3.
 */
static void add_plain_function(struct request *r, struct json_value function,
                               struct json_value properties, struct buf *line) {
    enum { PER_PARAMETERS = 3, PER_PARAMETER = 3, PER_ENUM = -3, PER_ENUM_VALUE = 3 };
    struct json_iter it, values;
    struct json_value schema, list, value;
    struct str key;
    bool is_first = true;
    r->tally.tokens += r->tally.rules.per_function;
    buf_clear(line);
    buf_str(line, json_get_str(function, STR("name")));
    buf_char(line, ':');
    buf_str(line, json_get_str(function, STR("description")));
    add_line(r, line);
    if (!properties.doc)
        return;
    json_fields(&it, properties);
    for (; json_next_field(&it, &key, &schema); is_first = false) {
        r->tally.tokens += is_first ? PER_PARAMETERS + PER_PARAMETER : PER_PARAMETER;
        if (json_get(schema, STR("enum"), &list)) {
            r->tally.tokens += PER_ENUM;
            json_items(&values, list);
            while (json_next(&values, &value)) {
                r->tally.tokens += PER_ENUM_VALUE;
                prompt_add(&r->tally, json_str(value));
            }
        }
        buf_clear(line);
        buf_str(line, key);
        buf_char(line, ':');
        buf_str(line, json_get_str(schema, STR("type")));
        buf_char(line, ':');
        buf_str(line, json_get_str(schema, STR("description")));
        add_line(r, line);
    }
}

/* Functions of which the recipe knows some parameter not, such as an object, in the form that OpenAI's
 * models are given; others are told them in ways of their own. False when that is not known either. */
static bool add_typed_functions(struct request *r, struct json_value list, struct str json) {
    struct buf text;
    if (!r->tally.is_exact || r->how.prompt.custom)
        return false;
    buf_init(&text, FUNCTION_TEXT_MAX);
    bool is_known = functions_put(&text, list) && buf_status(&text) == ST_OK;
    if (is_known) {
        prompt_begin_opaque(&r->tally);
        prompt_add(&r->tally, buf_view(&text));
        prompt_end_opaque(&r->tally, FUNCTIONS_FRAME, json);
        if (r->how.with_chars)
            r->prompt_chars += (int64_t)str_utf8_length(json);
    }
    buf_destroy(&text);
    return is_known;
}

/* Tools or functions: by the recipe, else by what is known of their form. Where that knows one of them
 * not, and where nothing is counted exactly anyway: their JSON, which has somewhat more tokens than what
 * the model is given. */
static void add_functions(struct request *r, struct json_value list, struct str json) {
    struct json_iter it;
    struct json_value item, function, properties;
    bool is_plain_list = r->tally.is_exact;
    json_items(&it, list);
    while (is_plain_list && json_next(&it, &item)) {
        function = item;
        if (json_get(item, STR("function"), &function) || json_get(item, STR("name"), &properties))
            is_plain_list = is_plain_function(function, &properties);
        else
            is_plain_list = false;
    }
    if (!is_plain_list) {
        if (!add_typed_functions(r, list, json))
            add_text(r, json);
        r->tally.is_exact = false;
        return;
    }
    struct buf line;
    int64_t n = 0;
    if (r->how.with_chars)
        r->prompt_chars += (int64_t)str_utf8_length(json);
    prompt_begin_opaque(&r->tally);
    buf_init(&line, FUNCTION_TEXT_MAX);
    json_items(&it, list);
    for (; json_next(&it, &item); n++) {
        if (!json_get(item, STR("function"), &function))
            function = item;
        (void)is_plain_function(function, &properties);
        add_plain_function(r, function, properties, &line);
    }
    prompt_end_opaque(&r->tally, n ? PROMPT_PER_FUNCTIONS : 0, json);
    /* A line that did not fit counts as what fitted. */
    r->tally.is_exact = r->tally.is_exact && buf_status(&line) == ST_OK;
    buf_destroy(&line);
}

/* --- prompts of other operations --- */

/* A prompt of /completions or an input of /embeddings: a text, texts, token ids, or lists of them. */
static enum status read_prompts(struct request *r, enum member m, struct json_value v,
                                struct str json, struct problem *why) {
    struct str name = member_names[m];
    struct json_iter it;
    struct json_value item;
    r->n_prompts = 1;
    if (json_type(v) == JSON_STRING) {
        add_text(r, json_str(v));
        return ST_OK;
    }
    if (json_type(v) != JSON_ARRAY)
        return problem_set(why, ST_BAD_REQUEST, name, "%s must be a string or an array.", name.p);
    int64_t n = 0, n_ids = 0, n_ids_inside = 0;
    json_items(&it, v);
    while (json_next(&it, &item)) {
        int64_t id;
        n++;
        if (json_type(item) == JSON_STRING) {
            add_text(r, json_str(item));
        } else if (json_i64(item, &id)) {
            n_ids++;
        } else if (json_type(item) == JSON_ARRAY) {
            struct json_iter ids;
            json_items(&ids, item);
            while (json_next(&ids, &item))
                n_ids_inside++;
        } else {
            return problem_set(why, ST_BAD_REQUEST, name,
                               "%s[%lld] must be a string, a token or an array of tokens.", name.p,
                               (long long)(n - 1));
        }
    }
    if (n == 0)
        return problem_set(why, ST_BAD_REQUEST, name, "%s must not be empty.", name.p);
    /* Token ids: each is one token, which the limits count as four characters. */
    prompt_begin_opaque(&r->tally);
    prompt_end_opaque(&r->tally, n_ids + n_ids_inside, n_ids + n_ids_inside ? json : STR(""));
    r->prompt_chars += 4 * (n_ids + n_ids_inside);
    r->n_prompts = n_ids == n ? 1 : n;
    return ST_OK;
}

/* The input of /responses: a text, or items of which messages are the most common. */
static enum status read_input(struct request *r, struct json_value v, struct problem *why) {
    if (json_type(v) == JSON_STRING) {
        add_plain_message(r, STR("user"), json_str(v));
        add_frame(r, r->tally.rules.per_reply, STR("message"));
        return ST_OK;
    }
    if (json_type(v) != JSON_ARRAY)
        return problem_set(why, ST_BAD_REQUEST, STR("input"),
                           "input must be a string or an array.");
    struct json_iter it;
    struct json_value item;
    json_items(&it, v);
    while (json_next(&it, &item)) {
        struct json_value type;
        struct str name = json_get(item, STR("type"), &type) ? json_str(type) : STR("message");
        if (!str_eq(name, STR("message")) && !str_eq(name, STR("function_call")) &&
            !str_eq(name, STR("function_call_output")))
            prompt_stop_marks(&r->tally); /* a reference, a result of a tool of the server's */
        add_message(r, item);
    }
    add_frame(r, r->tally.rules.per_reply, STR("message"));
    return ST_OK;
}

/* --- members --- */

static enum status read_count(enum member m, struct json_value v, int64_t min, int64_t max,
                              int64_t *out, struct problem *why) {
    int64_t n;
    if (json_type(v) == JSON_NULL)
        return ST_OK;
    if (!json_i64(v, &n))
        return problem_set(why, ST_BAD_REQUEST, member_names[m], "%s must be an integer.",
                           member_names[m].p);
    if (n < min || n > max)
        return problem_set(why, ST_BAD_REQUEST, member_names[m],
                           "%s must be from %lld to %lld, not %lld.", member_names[m].p,
                           (long long)min, (long long)max, (long long)n);
    *out = n;
    return ST_OK;
}

/*
 * Where the value of an object's `index`th member stands, in a text that is known to be valid and in
 * which that value is a single word. The parser tells places of the root's members only.
 */
static struct json_span word_at(const char *text, size_t begin, int index) {
    int depth = 0, n = -1;
    size_t i = begin + 1;
    for (; n < index; i++) {
        if (text[i] == '"') {
            while (text[++i] != '"')
                i += text[i] == '\\';
        } else if (text[i] == '{' || text[i] == '[') {
            depth++;
        } else if (text[i] == '}' || text[i] == ']') {
            depth--;
        } else if (text[i] == ':') {
            n += depth == 0;
        }
    }
    while (text[i] < 'a')
        i++;
    struct json_span at = {i, i};
    while (text[at.end] >= 'a' && text[at.end] <= 'z')
        at.end++;
    return at;
}

static enum status read_stream_options(struct request *r, const char *text, struct json_value v,
                                       struct json_span at, struct problem *why) {
    struct json_iter it;
    struct json_value value;
    struct str key;
    int n = 0, index = 0;
    r->ask_at = at;
    r->ask_text = STR("{\"include_usage\":true}");
    if (json_type(v) == JSON_NULL)
        return ST_OK;
    if (json_type(v) != JSON_OBJECT)
        return problem_set(why, ST_BAD_REQUEST, STR("stream_options"),
                           "stream_options must be an object.");
    json_fields(&it, v);
    for (; json_next_field(&it, &key, &value); index++) {
        if (!str_eq(key, STR("include_usage")))
            continue;
        if (n++ || (json_type(value) != JSON_BOOL && json_type(value) != JSON_NULL))
            return problem_set(why, ST_BAD_REQUEST, STR("stream_options.include_usage"),
                               "stream_options.include_usage must be true or false, once.");
        r->wants_usage = json_bool(value);
        r->ask_at = word_at(text, at.begin, index);
        r->ask_text = STR("true");
    }
    if (n == 0 && index > 0) {
        r->ask_at = (struct json_span){at.begin + 1, at.begin + 1};
        r->ask_text = STR("\"include_usage\":true,");
    }
    return ST_OK;
}

static enum status read_member(struct request *r, enum member m, const char *text,
                               struct json_value v, struct json_span at, struct problem *why) {
    switch (m) {
    case MEMBER_MODEL:
        if (json_type(v) != JSON_STRING)
            return problem_set(why, ST_BAD_REQUEST, STR("model"), "model must be a string.");
        r->model = json_str(v);
        r->model_at = at;
        return ST_OK;
    case MEMBER_STREAM:
        if (json_type(v) != JSON_BOOL && json_type(v) != JSON_NULL)
            return problem_set(why, ST_BAD_REQUEST, STR("stream"), "stream must be true or false.");
        r->is_stream = json_bool(v);
        return ST_OK;
    case MEMBER_STREAM_OPTIONS:
        return read_stream_options(r, text, v, at, why);
    case MEMBER_MAX_TOKENS:
        return read_count(m, v, 0, INT64_C(1) << 40, &r->output.max_tokens, why);
    case MEMBER_MAX_COMPLETION_TOKENS:
        return read_count(m, v, 0, INT64_C(1) << 40, &r->output.max_completion_tokens, why);
    case MEMBER_MAX_OUTPUT_TOKENS:
        return read_count(m, v, 0, INT64_C(1) << 40, &r->output.max_output_tokens, why);
    case MEMBER_N:
        return read_count(m, v, 1, MAX_CHOICES, &r->output.n, why);
    case MEMBER_BEST_OF:
        return read_count(m, v, 1, MAX_BEST_OF, &r->output.best_of, why);
    case MEMBER_MESSAGES:
    case MEMBER_PROMPT:
    case MEMBER_INPUT:
    case MEMBER_INSTRUCTIONS:
    case MEMBER_TOOLS:
    case MEMBER_FUNCTIONS:
    case MEMBER_RESPONSE_FORMAT:
    case MEMBER_TEXT:
        r->parts[m - FIRST_PART] = (struct request_part){v, at};
        r->has_part |= 1u << (m - FIRST_PART);
        return ST_OK;
    case N_MEMBERS:
        break;
    }
    return ST_OK;
}

static enum status read_part(struct request *r, enum member m, enum operation op, const char *text,
                             const struct request_part *part, struct problem *why) {
    struct str json = {text + part->at.begin, part->at.end - part->at.begin};
    if (m == MEMBER_MESSAGES)
        return op == OP_CHAT ? read_messages(r, part->value, why) : ST_OK;
    if (m == MEMBER_PROMPT)
        return op == OP_COMPLETIONS ? read_prompts(r, m, part->value, json, why) : ST_OK;
    if (m == MEMBER_INPUT && op == OP_EMBEDDINGS)
        return read_prompts(r, m, part->value, json, why);
    if (m == MEMBER_INPUT)
        return op == OP_RESPONSES ? read_input(r, part->value, why) : ST_OK;
    if (m == MEMBER_INSTRUCTIONS) {
        if (json_type(part->value) == JSON_STRING)
            add_plain_message(r, STR("system"), json_str(part->value));
    } else if (m == MEMBER_TOOLS || m == MEMBER_FUNCTIONS) {
        r->is_guessed = true; /* a `tool_choice` may leave them out */
        add_functions(r, part->value, json);
    } else {
        /* Schemas reach the model as text of about the length that they have here, or not at all: some
         * servers only guide the answer by them. */
        r->is_guessed = true;
        add_text(r, json);
    }
    return ST_OK;
}

/* Members that change what the model is given, or what may be taken from its cache, in ways that are not
 * looked into: prompts that have them are not compared with others (vLLM's API and OpenAI's, 2026). */
static bool alters_prompt(struct str key) {
    static const struct str names[] = {STR_INIT("cache_salt"),
                                       STR_INIT("documents"),
                                       STR_INIT("conversation"),
                                       STR_INIT("chat_template"),
                                       STR_INIT("suffix"),
                                       STR_INIT("previous_response_id"),
                                       STR_INIT("chat_template_kwargs"),
                                       STR_INIT("mm_processor_kwargs"),
                                       STR_INIT("prompt")};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (str_eq(key, names[i]))
            return true;
    }
    return false;
}

static enum member member_of(struct str key) {
    for (int m = 0; m < N_MEMBERS; m++) {
        if (str_eq(key, member_names[m]))
            return (enum member)m;
    }
    return N_MEMBERS;
}

/* /responses' `truncation`, and vLLM's truncate_prompt_tokens (API references, 2026). */
static bool allows_cut(struct str key, struct json_value v) {
    int64_t n;
    return (str_eq(key, STR("truncation")) && str_eq(json_str(v), STR("auto"))) ||
           (str_eq(key, STR("truncate_prompt_tokens")) && json_i64(v, &n));
}

enum status request_parse(struct json_doc *doc, const char *text, size_t len, enum operation op,
                          struct request *out, struct problem *why) {
    struct json_value root, v;
    struct request *r = out;
    *r = (struct request){.n_prompts = 1, .output = OUTPUT_REQUEST_NONE};
    r->output.api = op == OP_EMBEDDINGS    ? OUTPUT_EMBEDDINGS
                    : op == OP_COMPLETIONS ? OUTPUT_COMPLETIONS
                                           : OUTPUT_CHAT;
    TRY(json_parse(doc, text, len, &root, why));
    if (json_type(root) != JSON_OBJECT)
        return problem_set(why, ST_BAD_REQUEST, STR(""), "The request body must be a JSON object.");
    r->open_at = (size_t)((const char *)memchr(text, '{', len) - text) + 1;
    r->close_at = (size_t)((const char *)memrchr(text, '}', len) - text);
    r->is_empty_object = true;
    r->ask_at = (struct json_span){r->close_at, r->close_at};
    r->ask_text = STR(",\"stream_options\":{\"include_usage\":true}");
    struct json_iter it;
    struct str key;
    struct json_span key_at, at;
    uint32_t seen = 0;
    json_fields(&it, root);
    while (json_next_member(&it, &key, &v, &key_at, &at)) {
        r->is_empty_object = false;
        enum member m = member_of(key);
        /* A `prompt` is one of /completions' own, and names a stored one for /responses. */
        if (m == N_MEMBERS || (m == MEMBER_PROMPT && op != OP_COMPLETIONS))
            r->is_altered |= alters_prompt(key);
        if (m == N_MEMBERS) {
            r->may_be_cut |= allows_cut(key, v);
            continue;
        }
        if (seen & 1u << m)
            return problem_set(why, ST_BAD_REQUEST, member_names[m],
                               "%s is given twice; it is not clear which one counts.",
                               member_names[m].p);
        seen |= 1u << m;
        TRY(read_member(r, m, text, v, at, why));
    }
    static const enum member required[] = {[OP_CHAT] = MEMBER_MESSAGES,
                                           [OP_COMPLETIONS] = N_MEMBERS,
                                           [OP_EMBEDDINGS] = MEMBER_INPUT,
                                           [OP_RESPONSES] = N_MEMBERS};
    enum member must = required[op];
    if (must != N_MEMBERS && !(seen & 1u << must))
        return problem_set(why, ST_BAD_REQUEST, member_names[must],
                           "Missing required parameter: %s.", member_names[must].p);
    return ST_OK;
}

struct prompt_how request_how_of(const struct model *m, const struct shared_vocabulary *own,
                                 struct prompt_framing *framing) {
    static const enum prompt_encoding encodings[MODEL_ENCODING_COUNT] = {
        [MODEL_ENCODING_BY_NAME] = ENCODING_UNKNOWN,
        [MODEL_CL100K] = ENCODING_CL100K,
        [MODEL_O200K] = ENCODING_O200K,
    };
    *framing =
        (struct prompt_framing){m->framing.per_message, m->framing.per_name, m->framing.per_reply};
    return (struct prompt_how){
        .custom = own ? &own->v : NULL, .encoding = encodings[m->encoding], .framing = framing};
}

enum status request_count(struct request *r, const char *text, enum operation op, struct str model,
                          const struct request_how *how, struct problem *why) {
    r->how = *how;
    r->prompt_chars = 0;
    r->how.prompt.with_marks = how->prompt.with_marks && !r->is_altered;
    prompt_begin(&r->tally, how->counters, prompt_rules_find(model), &r->how.prompt);
    r->how.prompt.framing = NULL; /* the caller's, for as long as this takes */
    for (int i = 0; i < REQUEST_PARTS; i++) {
        if (r->has_part >> i & 1)
            TRY(read_part(r, (enum member)(FIRST_PART + i), op, text, &r->parts[i], why));
    }
    r->prompt_tokens = r->tally.tokens;
    return ST_OK;
}

void request_marks(struct request *r, const struct siphash_key *key, struct buf *out) {
    /* Several prompts are several requests to a model, each with a beginning of its own. */
    if (r->n_prompts == 1)
        prompt_marks(&r->tally, key, out);
}

enum status request_read(struct json_doc *doc, const char *text, size_t len, enum operation op,
                         struct request *out, struct problem *why) {
    struct request_how how = {.with_chars = true};
    TRY(request_parse(doc, text, len, op, out, why));
    return request_count(out, text, op, STR(""), &how, why);
}
