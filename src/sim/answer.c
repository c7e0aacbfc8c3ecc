/* answer.c - JSON written by hand where every token passes: an event costs a few copies. */
#include "sim/answer.h"

#include "sim/script.h"
#include "json/json.h"

#include <math.h>

static void put_hex(struct buf *out, uint64_t v) {
    static const char digits[] = "0123456789abcdef";
    char text[16];
    for (int i = 15; i >= 0; i--, v >>= 4)
        text[i] = digits[v & 15];
    buf_put(out, text, sizeof text);
}

void answer_put_id(struct buf *out, const struct answer *a) {
    static const struct str prefixes[] = {
        [ASK_CHAT] = STR_INIT("chatcmpl-"),
        [ASK_COMPLETIONS] = STR_INIT("cmpl-"),
        [ASK_EMBEDDINGS] = STR_INIT("embd-"),
        [ASK_RESPONSES] = STR_INIT("resp_"),
    };
    buf_str(out, prefixes[a->api]);
    put_hex(out, a->id);
}

static void put_text(struct buf *out, struct str text, bool is_plain) {
    if (!is_plain) {
        json_quote(out, text);
        return;
    }
    buf_char(out, '"');
    buf_str(out, text);
    buf_char(out, '"');
}

static void put_usage(struct buf *out, const struct answer *a) {
    const struct answer_usage *u = &a->usage;
    bool is_new = a->api == ASK_RESPONSES; /* the newest API has other names */
    buf_str(out, is_new ? STR("{\"input_tokens\":") : STR("{\"prompt_tokens\":"));
    buf_i64(out, u->prompt);
    if (a->api != ASK_EMBEDDINGS) {
        buf_str(out, is_new ? STR(",\"output_tokens\":") : STR(",\"completion_tokens\":"));
        buf_i64(out, u->output);
    }
    buf_lit(out, ",\"total_tokens\":");
    buf_i64(out, u->prompt + u->output);
    if (a->api != ASK_EMBEDDINGS) {
        buf_str(out, is_new ? STR(",\"input_tokens_details\":{\"cached_tokens\":")
                            : STR(",\"prompt_tokens_details\":{\"cached_tokens\":"));
        buf_i64(out, u->cached);
        buf_str(out, is_new ? STR("},\"output_tokens_details\":{\"reasoning_tokens\":0}")
                            : STR(",\"audio_tokens\":0},\"completion_tokens_details\":"
                                  "{\"reasoning_tokens\":0,\"audio_tokens\":0}"));
    }
    buf_char(out, '}');
}

static struct str finish_reason(const struct answer_choice *c) {
    return c->is_cut ? STR("\"length\"") : STR("\"stop\"");
}

static void put_head(struct buf *out, const struct answer *a, struct str object) {
    buf_lit(out, "{\"id\":\"");
    answer_put_id(out, a);
    buf_lit(out, "\",\"object\":\"");
    buf_str(out, object);
    buf_lit(out, "\",\"created\":");
    buf_i64(out, a->created_s);
    buf_lit(out, ",\"model\":");
    buf_str(out, a->model);
    buf_lit(out, ",\"system_fingerprint\":\"fp_simulated\"");
}

/* --- Responses --- */

static void put_item_id(struct buf *out, const struct answer *a) {
    buf_lit(out, "\"msg_");
    put_hex(out, a->id);
    buf_char(out, '"');
}

static void put_part(struct buf *out, const struct answer_choice *c) {
    buf_lit(out, "{\"type\":\"output_text\",\"annotations\":[],\"logprobs\":[],\"text\":");
    put_text(out, c ? c->text : STR(""), !c || c->is_plain);
    buf_char(out, '}');
}

/* `c` is NULL while nothing has been said. */
static void put_item(struct buf *out, const struct answer *a, const struct answer_choice *c) {
    buf_lit(out, "{\"id\":");
    put_item_id(out, a);
    buf_lit(out, ",\"type\":\"message\",\"status\":");
    buf_str(out, !c          ? STR("\"in_progress\"")
                 : c->is_cut ? STR("\"incomplete\"")
                             : STR("\"completed\""));
    buf_lit(out, ",\"role\":\"assistant\",\"content\":[");
    if (c)
        put_part(out, c);
    buf_lit(out, "]}");
}

static void put_response(struct buf *out, const struct answer *a, const struct answer_choice *c) {
    bool is_cut = c && c->is_cut;
    buf_lit(out, "{\"id\":\"");
    answer_put_id(out, a);
    buf_lit(out, "\",\"object\":\"response\",\"created_at\":");
    buf_i64(out, a->created_s);
    buf_lit(out, ",\"status\":");
    buf_str(out, !c       ? STR("\"in_progress\"")
                 : is_cut ? STR("\"incomplete\"")
                          : STR("\"completed\""));
    buf_lit(out, ",\"error\":null,\"incomplete_details\":");
    buf_str(out, is_cut ? STR("{\"reason\":\"max_output_tokens\"}") : STR("null"));
    buf_lit(out, ",\"instructions\":null,\"metadata\":{},\"model\":");
    buf_str(out, a->model);
    buf_lit(out, ",\"output\":[");
    if (c)
        put_item(out, a, c);
    buf_lit(out, "],\"parallel_tool_calls\":true,\"previous_response_id\":null,\"store\":false,"
                 "\"temperature\":1,\"text\":{\"format\":{\"type\":\"text\"}},"
                 "\"tool_choice\":\"auto\",\"tools\":[],\"top_p\":1,\"truncation\":\"disabled\","
                 "\"usage\":");
    if (c && a->says_usage)
        put_usage(out, a);
    else
        buf_lit(out, "null");
    buf_char(out, '}');
}

/* --- events --- */

void answer_put_frame(struct buf *out, const struct answer *a) {
    if (a->api == ASK_RESPONSES)
        return; /* there the type of the event comes first */
    buf_lit(out, "data: ");
    put_head(out, a, a->api == ASK_CHAT ? STR("chat.completion.chunk") : STR("text_completion"));
    buf_lit(out, ",\"choices\":[");
}

static void begin_event(struct buf *out, struct answer *a, struct str type) {
    if (a->api == ASK_RESPONSES) {
        buf_lit(out, "event: ");
        buf_str(out, type);
        buf_str(out, a->is_crlf ? STR("\r\n") : STR("\n"));
        buf_lit(out, "data: {\"type\":\"");
        buf_str(out, type);
        buf_lit(out, "\",\"sequence_number\":");
        buf_i64(out, a->sequence++);
        return;
    }
    if (a->frame.n)
        buf_str(out, a->frame);
    else
        answer_put_frame(out, a);
}

static void end_line(struct buf *out, const struct answer *a) {
    buf_str(out, a->is_crlf ? STR("\r\n\r\n") : STR("\n\n"));
}

/* Behind the choices of a chunk. */
static void end_chunk(struct buf *out, const struct answer *a) {
    buf_char(out, ']');
    if (a->usage_field == ANSWER_USAGE_NULL) {
        buf_lit(out, ",\"usage\":null");
    } else if (a->usage_field == ANSWER_USAGE_EVERY) {
        buf_lit(out, ",\"usage\":");
        put_usage(out, a);
    }
    buf_char(out, '}');
    end_line(out, a);
}

static void end_event(struct buf *out, const struct answer *a) {
    buf_char(out, '}');
    end_line(out, a);
}

static void put_place(struct buf *out, const struct answer *a) {
    buf_lit(out, ",\"item_id\":");
    put_item_id(out, a);
    buf_lit(out, ",\"output_index\":0,\"content_index\":0");
}

static bool put_response_opening(struct buf *out, struct answer *a, int i) {
    switch (i) {
    case 0:
    case 1:
        begin_event(out, a, i == 0 ? STR("response.created") : STR("response.in_progress"));
        buf_lit(out, ",\"response\":");
        put_response(out, a, NULL);
        break;
    case 2:
        begin_event(out, a, STR("response.output_item.added"));
        buf_lit(out, ",\"output_index\":0,\"item\":");
        put_item(out, a, NULL);
        break;
    case 3:
        begin_event(out, a, STR("response.content_part.added"));
        put_place(out, a);
        buf_lit(out, ",\"part\":");
        put_part(out, NULL);
        break;
    default:
        return false;
    }
    end_event(out, a);
    return true;
}

static bool put_response_closing(struct buf *out, struct answer *a, int i) {
    const struct answer_choice *c = &a->choices[0];
    switch (i) {
    case 0:
        begin_event(out, a, STR("response.output_text.done"));
        put_place(out, a);
        buf_lit(out, ",\"logprobs\":[],\"text\":");
        put_text(out, c->text, c->is_plain);
        break;
    case 1:
        begin_event(out, a, STR("response.content_part.done"));
        put_place(out, a);
        buf_lit(out, ",\"part\":");
        put_part(out, c);
        break;
    case 2:
        begin_event(out, a, STR("response.output_item.done"));
        buf_lit(out, ",\"output_index\":0,\"item\":");
        put_item(out, a, c);
        break;
    case 3:
        begin_event(out, a, c->is_cut ? STR("response.incomplete") : STR("response.completed"));
        buf_lit(out, ",\"response\":");
        put_response(out, a, c);
        break;
    default:
        return false;
    }
    end_event(out, a);
    return true;
}

bool answer_put_opening(struct buf *out, struct answer *a, int i) {
    if (a->api == ASK_RESPONSES)
        return put_response_opening(out, a, i);
    if (a->api != ASK_CHAT || i >= a->n_choices)
        return false;
    begin_event(out, a, STR(""));
    buf_lit(out, "{\"index\":");
    buf_i64(out, i);
    buf_lit(out, ",\"delta\":{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null},"
                 "\"logprobs\":null,\"finish_reason\":null}");
    end_chunk(out, a);
    return true;
}

void answer_put_delta(struct buf *out, struct answer *a, int choice, struct str text) {
    bool is_plain = a->choices[choice].is_plain;
    begin_event(out, a, STR("response.output_text.delta"));
    if (a->api == ASK_RESPONSES) {
        put_place(out, a);
        buf_lit(out, ",\"logprobs\":[],\"delta\":");
        put_text(out, text, is_plain);
        end_event(out, a);
        return;
    }
    buf_lit(out, "{\"index\":");
    buf_i64(out, choice);
    buf_str(out, a->api == ASK_CHAT ? STR(",\"delta\":{\"content\":") : STR(",\"text\":"));
    put_text(out, text, is_plain);
    buf_str(out, a->api == ASK_CHAT ? STR("},\"logprobs\":null,\"finish_reason\":null}")
                                    : STR(",\"logprobs\":null,\"finish_reason\":null}"));
    end_chunk(out, a);
}

void answer_put_finish(struct buf *out, struct answer *a, int choice) {
    if (a->api == ASK_RESPONSES)
        return;
    begin_event(out, a, STR(""));
    buf_lit(out, "{\"index\":");
    buf_i64(out, choice);
    buf_str(out, a->api == ASK_CHAT ? STR(",\"delta\":{}") : STR(",\"text\":\"\""));
    buf_lit(out, ",\"logprobs\":null,\"finish_reason\":");
    buf_str(out, finish_reason(&a->choices[choice]));
    buf_char(out, '}');
    end_chunk(out, a);
}

bool answer_put_closing(struct buf *out, struct answer *a, int i) {
    if (a->api == ASK_RESPONSES)
        return put_response_closing(out, a, i);
    bool has_usage = a->usage_field != ANSWER_USAGE_ABSENT && a->says_usage;
    if (has_usage && i == 0) {
        begin_event(out, a, STR(""));
        buf_lit(out, "],\"usage\":");
        put_usage(out, a);
        end_event(out, a);
        return true;
    }
    if (i > (has_usage ? 1 : 0))
        return false;
    buf_lit(out, "data: [DONE]");
    end_line(out, a);
    return true;
}

void answer_put_garbage(struct buf *out, const struct answer *a) {
    buf_lit(out, "data: {\"id\":\"");
    answer_put_id(out, a);
    buf_lit(out, "\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"brok");
    end_line(out, a);
}

void answer_put_error(struct buf *out, const struct answer *a) {
    if (a->api == ASK_RESPONSES)
        buf_str(out, a->is_crlf ? STR("event: error\r\n") : STR("event: error\n"));
    buf_lit(out, "data: {");
    if (a->api == ASK_RESPONSES)
        buf_lit(out, "\"type\":\"error\",");
    buf_lit(out, "\"error\":{\"message\":\"The simulated server failed midway.\","
                 "\"type\":\"server_error\",\"param\":null,\"code\":\"simulated_fault\"}}");
    end_line(out, a);
}

/* --- bodies --- */

void answer_put_body(struct buf *out, const struct answer *a) {
    if (a->api == ASK_RESPONSES) {
        put_response(out, a, &a->choices[0]);
        return;
    }
    put_head(out, a, a->api == ASK_CHAT ? STR("chat.completion") : STR("text_completion"));
    buf_lit(out, ",\"choices\":[");
    for (int i = 0; i < a->n_choices; i++) {
        const struct answer_choice *c = &a->choices[i];
        buf_str(out, i ? STR(",{\"index\":") : STR("{\"index\":"));
        buf_i64(out, i);
        buf_str(out, a->api == ASK_CHAT ? STR(",\"message\":{\"role\":\"assistant\",\"content\":")
                                        : STR(",\"text\":"));
        put_text(out, c->text, c->is_plain);
        if (a->api == ASK_CHAT)
            buf_lit(out, ",\"refusal\":null,\"annotations\":[]}");
        buf_lit(out, ",\"logprobs\":null,\"finish_reason\":");
        buf_str(out, finish_reason(c));
        buf_char(out, '}');
    }
    buf_char(out, ']');
    if (a->says_usage) {
        buf_lit(out, ",\"usage\":");
        put_usage(out, a);
    }
    buf_char(out, '}');
}

/* --- embeddings --- */

static void put_base64(struct buf *out, const unsigned char *p, size_t n) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        size_t left = n - i;
        /* NOLINTNEXTLINE(clang-analyzer-core.*): bytes of floats, which it takes for unwritten */
        uint32_t v = (uint32_t)p[i] << 16 | (left > 1 ? (uint32_t)p[i + 1] << 8 : 0) |
                     (left > 2 ? p[i + 2] : 0);
        char four[4] = {digits[v >> 18], digits[v >> 12 & 63], left > 1 ? digits[v >> 6 & 63] : '=',
                        left > 2 ? digits[v & 63] : '='};
        buf_put(out, four, sizeof four);
    }
}

static void make_vector(uint64_t hash, float *v, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        v[i] = (float)(int32_t)script_mix(hash + i) / (float)INT32_MAX;
        sum += (double)v[i] * (double)v[i];
    }
    double scale = sum > 0 ? 1 / sqrt(sum) : 0;
    for (size_t i = 0; i < n; i++)
        v[i] = (float)((double)v[i] * scale);
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "vectors go out as they lie in memory");

void answer_put_embeddings(struct buf *out, const struct answer *a, const struct ask_input *inputs,
                           size_t n, int64_t dimensions, bool is_floats) {
    float v[ASK_DIMENSIONS_MAX];
    assert(dimensions > 0 && dimensions <= ASK_DIMENSIONS_MAX);
    size_t n_floats = (size_t)dimensions;
    buf_lit(out, "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; i < n; i++) {
        make_vector(inputs[i].hash, v, n_floats);
        buf_str(out, i ? STR(",{\"object\":\"embedding\",\"index\":")
                       : STR("{\"object\":\"embedding\",\"index\":"));
        buf_i64(out, (int64_t)i);
        buf_lit(out, ",\"embedding\":");
        if (is_floats) {
            /* Nine digits bring every float back exactly. */
            for (size_t k = 0; k < n_floats; k++)
                buf_printf(out, "%c%.9g", k ? ',' : '[', (double)v[k]);
            buf_char(out, ']');
        } else {
            buf_char(out, '"');
            put_base64(out, (const unsigned char *)v, n_floats * sizeof *v);
            buf_char(out, '"');
        }
        buf_char(out, '}');
    }
    buf_lit(out, "],\"model\":");
    buf_str(out, a->model);
    if (a->says_usage) {
        buf_lit(out, ",\"usage\":");
        put_usage(out, a);
    }
    buf_char(out, '}');
}
