#include "call/meter.h"

void meter_init(struct meter *m, enum operation op, bool is_stream, bool must_strip) {
    *m = (struct meter){.is_stream = is_stream, .must_strip = must_strip, .op = op};
    m->usage = (struct usage){-1, -1, -1, -1};
    sse_init(&m->sse, METER_EVENT_MAX);
    buf_init(&m->body, METER_WHOLE_MAX);
}

void meter_destroy(struct meter *m) {
    sse_destroy(&m->sse);
    buf_destroy(&m->body);
}

/* --- usage --- */

static int64_t count_in(struct json_value object, struct str name) {
    struct json_value v;
    int64_t n;
    return json_get(object, name, &v) && json_i64(v, &n) && n >= 0 ? n : -1;
}

static int64_t detail_in(struct json_value object, struct str details, struct str name) {
    struct json_value v;
    return json_get(object, details, &v) ? count_in(v, name) : -1;
}

bool usage_read(struct json_value v, struct usage *out) {
    struct usage u;
    if (json_type(v) != JSON_OBJECT)
        return false;
    u.prompt = count_in(v, STR("prompt_tokens"));
    if (u.prompt >= 0) {
        u.output = count_in(v, STR("completion_tokens"));
        u.cached = detail_in(v, STR("prompt_tokens_details"), STR("cached_tokens"));
        u.reasoning = detail_in(v, STR("completion_tokens_details"), STR("reasoning_tokens"));
    } else {
        u.prompt = count_in(v, STR("input_tokens"));
        u.output = count_in(v, STR("output_tokens"));
        u.cached = detail_in(v, STR("input_tokens_details"), STR("cached_tokens"));
        u.reasoning = detail_in(v, STR("output_tokens_details"), STR("reasoning_tokens"));
    }
    if (u.prompt < 0 && u.output < 0)
        return false;
    *out = u;
    return true;
}

static void find_usage(struct meter *m, struct json_value object) {
    struct json_value v;
    struct usage u;
    if (json_get(object, STR("usage"), &v) && usage_read(v, &u)) {
        m->usage = u;
        m->has_usage = true;
    }
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
    struct str type = json_get(root, STR("type"), &v) ? json_str(v) : STR("");
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

/* Reads one event; false when it is the usage chunk that the caller did not ask for. */
static bool pass_event(struct meter *m, struct json_doc *doc, const struct sse_event *e) {
    struct json_value root, v;
    if (!e->is_whole || e->data.n == 0)
        return true;
    if (str_eq(e->data, STR("[DONE]"))) {
        m->has_finished = true;
        return true;
    }
    if (json_parse(doc, e->data.p, e->data.n, &root, NULL) != ST_OK)
        return true; /* garbage passes as it came: it is the caller's to judge */
    if (m->op == OP_RESPONSES) {
        read_response_event(m, root);
        return true;
    }
    bool had_usage = m->has_usage;
    m->has_usage = false;
    bool has_choice = read_choices(m, root);
    find_usage(m, root);
    bool is_usage_chunk = m->has_usage && !has_choice;
    m->has_usage |= had_usage;
    if (json_get(root, STR("error"), &v) && json_type(v) == JSON_OBJECT)
        m->has_error = true;
    return !(is_usage_chunk && m->must_strip);
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
        if (pass_event(m, doc, &e))
            forward(out, e.raw);
        if (was_gathered)
            return true;
    }
    return true;
}

/* --- an answer in one piece --- */

/* The last `"usage": {...}` in a text that lost its beginning. */
static void find_usage_in_tail(struct meter *m, struct json_doc *doc, struct str tail) {
    ptrdiff_t at, found = -1, from = 0;
    while ((at = str_find(str_skip(tail, (size_t)from), STR("\"usage\""))) >= 0) {
        found = from + at;
        from = found + 7;
    }
    if (found < 0)
        return;
    struct str rest = str_trim(str_skip(tail, (size_t)found + 7));
    if (rest.n < 2 || rest.p[0] != ':')
        return;
    rest = str_trim(str_skip(rest, 1));
    /* Usage holds numbers and objects of numbers: no braces in strings to be told apart. */
    int depth = 0;
    for (size_t i = 0; i < rest.n; i++) {
        depth += rest.p[i] == '{';
        depth -= rest.p[i] == '}';
        if (depth > 0)
            continue;
        struct json_value v;
        struct usage u;
        if (rest.p[i] == '}' && json_parse(doc, rest.p, i + 1, &v, NULL) == ST_OK &&
            usage_read(v, &u)) {
            m->usage = u;
            m->has_usage = true;
        }
        return;
    }
}

static void read_whole(struct meter *m, struct json_doc *doc, struct str text) {
    struct json_value root, v, reason;
    if (json_parse(doc, text.p, text.n, &root, NULL) != ST_OK)
        return;
    find_usage(m, root);
    m->has_finished = true;
    read_choices(m, root);
    if (json_get(root, STR("incomplete_details"), &v) && json_get(v, STR("reason"), &reason))
        m->was_cut_short |= str_eq(json_str(reason), STR("max_output_tokens"));
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
    if (m->is_tail_only)
        find_usage_in_tail(m, doc, buf_view(&m->body));
    else
        read_whole(m, doc, buf_view(&m->body));
}

bool meter_take(struct meter *m, struct json_doc *doc, struct str *in, bool is_last,
                struct meter_out *out) {
    out->n = 0;
    if (m->is_stream)
        return take_events(m, doc, in, is_last, out);
    forward(out, *in);
    take_body(m, doc, *in, is_last);
    *in = str_skip(*in, in->n);
    return false;
}
