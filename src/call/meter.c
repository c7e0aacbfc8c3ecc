#include "call/meter.h"

#include "tokens/utf8.h"

void meter_init(struct meter *m, enum operation op, bool is_stream, bool must_strip) {
    *m = (struct meter){.is_stream = is_stream, .must_strip = must_strip, .op = op};
    m->usage = (struct usage){-1, -1, -1, -1};
    sse_init(&m->sse, METER_EVENT_MAX);
    buf_init(&m->body, METER_WHOLE_MAX);
    buf_init(&m->like.around, METER_LIKE_MAX);
}

void meter_destroy(struct meter *m) {
    sse_destroy(&m->sse);
    buf_destroy(&m->body);
    buf_destroy(&m->like.around);
}

/* --- usage --- */

/* Of each number the last one that was said holds. */
static void keep_usage(struct meter *m, const struct usage *u) {
    if (u->prompt >= 0)
        m->usage.prompt = u->prompt;
    if (u->cached >= 0)
        m->usage.cached = u->cached;
    if (u->output >= 0) {
        m->usage.output = u->output;
        m->n_deltas_at_usage = m->n_deltas;
    }
    if (u->reasoning >= 0)
        m->usage.reasoning = u->reasoning;
    m->has_usage = true;
}

/* True when there is a usage object, even one without sense. */
static bool find_usage(struct meter *m, struct json_value object) {
    struct json_value v;
    struct usage u;
    if (!json_get(object, STR("usage"), &v))
        return false;
    if (usage_read(v, &u))
        keep_usage(m, &u);
    return json_type(v) == JSON_OBJECT;
}

/* --- one event of a stream --- */

/* Whether a delta (or a completion's choice) brings text of any kind. */
static bool has_text(struct json_value delta) {
    static const struct str names[] = {STR_INIT("content"), STR_INIT("reasoning_content"),
                                       STR_INIT("refusal"), STR_INIT("text"),
                                       STR_INIT("reasoning")};
    struct json_iter it;
    struct json_value v;
    struct str key;
    json_fields(&it, delta);
    while (json_next_field(&it, &key, &v)) {
        for (size_t i = 0; i < ARRAY_LEN(names); i++) {
            if (str_eq(key, names[i]) && json_str(v).n)
                return true;
        }
        if (str_eq(key, STR("tool_calls")) || str_eq(key, STR("function_call")))
            return true;
    }
    return false;
}

/* Deltas and finish reasons; true when the event has at least one choice. */
static bool read_choices(struct meter *m, struct json_value root) {
    struct json_value choices, choice, v;
    struct json_iter it;
    if (!json_get(root, STR("choices"), &choices))
        return false;
    bool has_choice = false;
    json_items(&it, choices);
    while (json_next(&it, &choice)) {
        has_choice = true;
        if (has_text(json_get(choice, STR("delta"), &v) ? v : choice)) {
            m->n_deltas++;
            m->has_text = true;
        }
        if (json_get(choice, STR("finish_reason"), &v) && json_type(v) == JSON_STRING) {
            m->has_finished = true;
            m->was_cut_short |= str_eq(json_str(v), STR("length"));
        }
    }
    return has_choice;
}

/* The events of /responses carry their kind in `type`. */
static void read_response_event(struct meter *m, struct json_value root) {
    struct json_value v, response, reason;
    struct str type = json_get_str(root, STR("type"));
    if (str_ends(type, STR(".delta"))) {
        m->n_deltas++;
        m->has_text = true;
    }
    if (!json_get(root, STR("response"), &response))
        return;
    find_usage(m, response);
    if (str_eq(type, STR("response.completed")) || str_eq(type, STR("response.incomplete")) ||
        str_eq(type, STR("response.failed")))
        m->has_finished = true;
    if (json_get(response, STR("incomplete_details"), &v) && json_get(v, STR("reason"), &reason))
        m->was_cut_short |= str_eq(json_str(reason), STR("max_output_tokens"));
}

/* --- chunks like the one before --- */

/* Whether the bytes may stand in a JSON string as they are: no quote, no backslash, no control byte, and
 * valid UTF-8. */
static bool is_plain(struct str s) {
    bool is_ascii = true;
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c < 0x20 || c == '"' || c == '\\')
            return false;
        is_ascii &= c < 0x80;
    }
    return is_ascii || utf8_valid_prefix(s) == s.n;
}

/*
 * Whether the chunk is the one that was learned, with other contents, not empty either, in its gaps. In
 * valid JSON the quote that learn_chunk takes for the beginning of a string value is one: before it
 * stand a colon and the end of a key. So that chunk and this one are valid alike, have the same members
 * in the same order, and values of the same types; they differ in the contents of strings that are
 * neither empty, nor a finish reason, nor a key.
 */
static bool is_like(const struct meter_like *like, struct str data) {
    if (like->n_deltas == 0 || data.n <= like->around.len)
        return false;
    const char *around = like->around.p;
    size_t at = 0;
    for (int i = 0; i < like->n_gaps; i++) {
        size_t same = like->gap_at[i] - at;
        if (data.n < same || memcmp(data.p, around + at, same) != 0)
            return false;
        data = str_skip(data, same);
        at = like->gap_at[i];
        struct str content = data;
        if (i == like->n_gaps - 1) {
            size_t after = like->around.len - at;
            content.n = data.n > after ? data.n - after : 0;
        } else {
            const char *quote = data.n ? memchr(data.p, '"', data.n) : NULL;
            content.n = quote ? (size_t)(quote - data.p) : 0;
        }
        if (content.n == 0 || !is_plain(content))
            return false;
        data = str_skip(data, content.n);
    }
    return data.n == like->around.len - at && memcmp(data.p, around + at, data.n) == 0;
}

/* Where the string value of the first member with this name stands, without its quotes. */
static bool find_string(struct str data, struct str quoted_name, struct json_span *at) {
    ptrdiff_t name = str_find(data, quoted_name);
    size_t i = (size_t)name + quoted_name.n;
    if (name < 0)
        return false;
    while (i < data.n && data.p[i] == ' ')
        i++;
    if (i == data.n || data.p[i++] != ':')
        return false;
    while (i < data.n && data.p[i] == ' ')
        i++;
    if (i == data.n || data.p[i++] != '"')
        return false;
    at->begin = i;
    while (i < data.n && data.p[i] != '"')
        i += data.p[i] == '\\' ? 2 : 1;
    at->end = i;
    return i < data.n && at->end > at->begin;
}

/* Adds a gap, in order. */
static void add_gap(struct json_span *gaps, int *n, struct json_span gap) {
    int i = (*n)++;
    for (; i > 0 && gaps[i - 1].begin > gap.begin; i--)
        gaps[i] = gaps[i - 1];
    gaps[i] = gap;
}

/* Keeps what stands around the text of a chunk that was parsed and brought n_deltas pieces of text, and
 * no usage. */
static void learn_chunk(struct meter_like *like, struct str data, int64_t n_deltas) {
    static const struct str texts[] = {STR_INIT("\"content\""), STR_INIT("\"text\""),
                                       STR_INIT("\"reasoning_content\"")};
    static const struct str others[] = {STR_INIT("\"id\""), STR_INIT("\"obfuscation\"")};
    struct json_span gaps[METER_LIKE_GAPS], at;
    int n = 0;
    if (like->is_forbidden || like->n_tries == METER_LIKE_TRIES)
        return;
    like->n_tries++;
    like->n_deltas = 0;
    for (size_t i = 0; i < ARRAY_LEN(texts) && n == 0; i++) {
        if (find_string(data, texts[i], &at))
            add_gap(gaps, &n, at);
    }
    if (n == 0)
        return;
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        if (find_string(data, others[i], &at))
            add_gap(gaps, &n, at);
    }
    buf_clear(&like->around);
    size_t done = 0;
    for (int i = 0; i < n; i++) {
        buf_put(&like->around, data.p + done, gaps[i].begin - done);
        like->gap_at[i] = like->around.len;
        done = gaps[i].end;
    }
    buf_put(&like->around, data.p + done, data.n - done);
    like->n_gaps = n;
    like->n_deltas = buf_status(&like->around) == ST_OK ? n_deltas : 0;
}

/* Reads one event; false when it is the usage chunk that the caller did not ask for. */
static bool pass_event(struct meter *m, struct json_doc *doc, const struct sse_event *e) {
    struct json_value root, v;
    if (!e->is_whole || e->data.n == 0)
        return true;
    if (is_like(&m->like, e->data)) {
        m->n_deltas += m->like.n_deltas;
        m->like.n_tries = 0;
        return true;
    }
    if (str_eq(e->data, STR("[DONE]"))) {
        m->has_finished = m->has_chunk = true;
        return true;
    }
    if (json_parse(doc, e->data.p, e->data.n, &root, NULL) != ST_OK)
        return true; /* garbage passes as it came: it is the caller's to judge */
    m->has_chunk = true;
    if (m->op == OP_RESPONSES) {
        read_response_event(m, root);
        return true;
    }
    int64_t n_before = m->n_deltas;
    bool has_choice = read_choices(m, root), has_usage = find_usage(m, root);
    if (json_get(root, STR("error"), &v) && json_type(v) == JSON_OBJECT)
        m->has_error = true;
    /* What else such a chunk says has been noted with this one, and is never taken back. */
    if (m->n_deltas > n_before && !has_usage)
        learn_chunk(&m->like, e->data, m->n_deltas - n_before);
    return !(has_usage && !has_choice && m->must_strip);
}

/* Adds a piece, or lengthens the last one when it follows it in memory. */
static void forward(struct meter_out *out, struct str s) {
    if (s.n == 0)
        return;
    struct str *last = out->n ? &out->piece[out->n - 1] : NULL;
    if (last && last->p + last->n == s.p)
        last->n += s.n;
    else
        out->piece[out->n++] = s;
}

static bool take_events(struct meter *m, struct json_doc *doc, struct str *in, bool is_last,
                        struct meter_out *out) {
    struct sse_event e;
    while (out->n < (int)ARRAY_LEN(out->piece) - 1) {
        /* What was gathered moves with the next event, so it goes out before. */
        bool was_gathered = m->sse.carry.len > 0;
        if (!sse_next(&m->sse, in, &e)) {
            if (is_last)
                forward(out, sse_rest(&m->sse));
            return false;
        }
        if (!e.is_rest)
            m->is_stripped = !pass_event(m, doc, &e);
        if (!m->is_stripped)
            forward(out, e.raw);
        if (was_gathered)
            return true;
    }
    return true;
}

/* --- an answer in one piece --- */

/*
 * How a valid JSON text goes on behind a value: the depth at its end, counted from the value's own
 * level, when no earlier byte lies lower; 1 otherwise. A member of the root object is followed by
 * what brings it to -1 at the very last byte.
 */
static int depth_at_end(struct str rest) {
    int depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < rest.n; i++) {
        char c = rest.p[i];
        if (in_string) {
            i += c == '\\';
            in_string = c != '"';
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            depth++;
        } else if (c == '}' || c == ']') {
            if (depth-- == 0)
                return i + 1 == rest.n ? -1 : 1;
        }
    }
    return depth;
}

/*
 * Finds the root's member `"usage": {...}` from the end of the text, where servers write it, without
 * reading the rest. A quote inside a string is escaped, so `"usage"` with both quotes is a string of
 * its own; with a colon behind it is a name; and what follows the object tells whether it belongs to
 * the root. Anything less certain is left to the full parse.
 */
static bool find_usage_at_end(struct meter *m, struct json_doc *doc, struct str text) {
    const char *found = NULL;
    while (text.n && (text.p[text.n - 1] == '\n' || text.p[text.n - 1] == '\r'))
        text.n--;
    for (size_t n = text.n; !found && n >= 7; n--) {
        const char *q = memrchr(text.p, '"', n - 6);
        if (!q)
            return false;
        n = (size_t)(q - text.p) + 7;
        bool is_escaped = q > text.p && q[-1] == '\\';
        if (!is_escaped && memcmp(q, "\"usage\"", 7) == 0)
            found = q;
    }
    if (!found)
        return false;
    struct str rest = str_trim(str_skip(text, (size_t)(found - text.p) + 7));
    if (rest.n < 2 || rest.p[0] != ':')
        return false;
    rest = str_trim(str_skip(rest, 1));
    struct json_value v;
    struct usage u;
    size_t n;
    if (!usage_scan(rest, &u, &n)) {
        n = usage_length(rest);
        if (n == 0 || json_parse(doc, rest.p, n, &v, NULL) != ST_OK || !usage_read(v, &u))
            return false;
    }
    if (depth_at_end(str_skip(rest, n)) != -1)
        return false;
    m->usage = u;
    m->has_usage = true;
    return true;
}

static void read_whole(struct meter *m, struct json_doc *doc, struct str text) {
    struct json_value root;
    m->has_finished = true;
    if (find_usage_at_end(m, doc, text) || m->is_tail_only)
        return;
    if (json_parse(doc, text.p, text.n, &root, NULL) != ST_OK)
        return;
    find_usage(m, root);
}

static void keep(struct meter *m, struct str in) {
    if (in.n > METER_WHOLE_MAX - m->body.len) {
        m->is_tail_only = true;
        if (m->body.len > METER_TAIL)
            buf_consume(&m->body, m->body.len - METER_TAIL);
        if (in.n > METER_TAIL) {
            buf_clear(&m->body);
            in = str_skip(in, in.n - METER_TAIL);
        }
    }
    char *at = buf_reserve_slack(&m->body, in.n, JSON_PADDING);
    memcpy(at, in.p, in.n);
    buf_commit(&m->body, in.n);
}

static void take_body(struct meter *m, struct json_doc *doc, struct str in, bool is_last) {
    if (is_last && m->body.len == 0 && in.n <= METER_WHOLE_MAX) {
        read_whole(m, doc, in); /* the common case: all in one read, nothing copied */
        return;
    }
    if (in.n)
        keep(m, in);
    if (!is_last || m->body.len == 0)
        return;
    read_whole(m, doc, buf_view(&m->body));
}

bool meter_take(struct meter *m, struct json_doc *doc, struct str *in, bool is_last,
                struct meter_out *out) {
    out->n = 0;
    m->has_ended = is_last;
    if (m->is_stream)
        return take_events(m, doc, in, is_last, out);
    forward(out, *in);
    take_body(m, doc, *in, is_last);
    *in = str_skip(*in, in->n);
    return false;
}
