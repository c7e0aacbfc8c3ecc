/* meter_test.c - usage read out of answers as real servers send them, however they are cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "call/meter.h"
#include "support/random.h"

static struct json_doc *doc;

/* --- streams, event by event --- */

enum { EVENTS_MAX = 12 };

/* Events are written with ' for ". One that begins with ! is the usage chunk, which is stripped from
 * a stream whose caller did not ask for it. */
struct stream {
    const char *name;
    enum operation op;
    const char *events[EVENTS_MAX];
    struct usage usage; /* all -1: none found */
    int64_t n_deltas;
    bool has_finished, was_cut_short, has_error;
};

#define NO_USAGE                                                                                   \
    { -1, -1, -1, -1 }

/* The shapes of vLLM 0.6, llama.cpp's server, and Azure OpenAI's 2024-10-21, from their sources and
 * documentation; contents made up. */
static const struct stream streams[] = {
    {.name = "vLLM with continuous usage",
     .op = OP_CHAT,
     .events =
         {"data: {'id':'chatcmpl-1','object':'chat.completion.chunk','model':'m','choices':["
          "{'index':0,'delta':{'role':'assistant','content':''},'logprobs':null,'finish_reason':"
          "null}],'usage':{'prompt_tokens':9,'total_tokens':9,'completion_tokens':0}}\n\n",
          "data: {'choices':[{'index':0,'delta':{'content':'Hel'},'finish_reason':null}],'usage':{"
          "'prompt_tokens':9,'total_tokens':10,'completion_tokens':1}}\n\n",
          "data: {'choices':[{'index':0,'delta':{'content':'lo'},'finish_reason':null}],'usage':{"
          "'prompt_tokens':9,'total_tokens':12,'completion_tokens':3}}\n\n",
          "data: {'choices':[{'index':0,'delta':{'content':''},'finish_reason':'stop',"
          "'stop_reason':null}],'usage':{'prompt_tokens':9,'total_tokens':13,"
          "'completion_tokens':4}}\n\n",
          "!data: {'choices':[],'usage':{'prompt_tokens':9,'total_tokens':13,'completion_tokens':4,"
          "'prompt_tokens_details':{'cached_tokens':8}}}\n\n",
          "data: [DONE]\n\n"},
     .usage = {9, 8, 4, -1},
     .n_deltas = 2,
     .has_finished = true},
    {.name = "vLLM with usage at the end, cut by max_tokens",
     .op = OP_COMPLETIONS,
     .events = {"data: {'choices':[{'index':0,'text':'a','finish_reason':null}]}\n\n",
                "data: {'choices':[{'index':0,'text':' b','finish_reason':'length'}]}\n\n",
                "!data: {'choices':[],'usage':{'prompt_tokens':2,'completion_tokens':2,"
                "'total_tokens':4,'prompt_tokens_details':null}}\n\n",
                "data: [DONE]\n\n"},
     .usage = {2, -1, 2, -1},
     .n_deltas = 2,
     .has_finished = true,
     .was_cut_short = true},
    {.name = "llama.cpp with timings",
     .op = OP_CHAT,
     .events =
         {"data: {'choices':[{'finish_reason':null,'index':0,'delta':{'role':'assistant','content':"
          "null}}],'created':1,'id':'c','model':'m','object':'chat.completion.chunk'}\n\n",
          "data: {'choices':[{'finish_reason':null,'index':0,'delta':{'content':'Hi'}}]}\n\n",
          "data: {'choices':[{'finish_reason':null,'index':0,'delta':{'reasoning_content':'hm'}}]}"
          "\n\n",
          "data: {'choices':[{'finish_reason':'stop','index':0,'delta':{}}],'timings':{'prompt_n':7,"
          "'predicted_n':2,'predicted_per_second':99.5}}\n\n",
          "!data: {'choices':[],'usage':{'completion_tokens':2,'prompt_tokens':7,'total_tokens':9},"
          "'timings':{'prompt_n':7,'predicted_n':2}}\n\n",
          "data: [DONE]\n\n"},
     .usage = {7, -1, 2, -1},
     .n_deltas = 2,
     .has_finished = true},
    {.name = "llama.cpp without usage: deltas are counted, timings are none of ours",
     .op = OP_CHAT,
     .events = {"data: {'choices':[{'finish_reason':null,'index':0,'delta':{'content':'Hi'}}]}\n\n",
                "data: {'choices':[{'finish_reason':'stop','index':0,'delta':{}}],'timings':{"
                "'prompt_n':7,'predicted_n':2}}\n\n",
                "data: [DONE]\n\n"},
     .usage = NO_USAGE,
     .n_deltas = 1,
     .has_finished = true},
    {.name = "Azure with prompt filters first and usage null everywhere",
     .op = OP_CHAT,
     .events =
         {"data: {'choices':[],'created':0,'id':'','model':'','object':'','prompt_filter_results':["
          "{'prompt_index':0,'content_filter_results':{'hate':{'filtered':false}}}]}\n\n",
          "data: {'choices':[{'content_filter_results':{},'delta':{'content':'','refusal':null,"
          "'role':'assistant'},'finish_reason':null,'index':0,'logprobs':null}],'usage':null}\n\n",
          "data: {'choices':[{'delta':{'content':'Hi'},'finish_reason':null,'index':0}],"
          "'usage':null}\n\n",
          "data: {'choices':[{'delta':{'tool_calls':[{'index':0,'function':{'arguments':'{}'}}]},"
          "'finish_reason':null,'index':0}],'usage':null}\n\n",
          "data: {'choices':[{'delta':{},'finish_reason':'tool_calls','index':0}],'usage':null}\n\n",
          "!data: {'choices':[],'usage':{'completion_tokens':12,'completion_tokens_details':{"
          "'reasoning_tokens':5},'prompt_tokens':1500,'prompt_tokens_details':{'audio_tokens':0,"
          "'cached_tokens':1408},'total_tokens':1512}}\n\n",
          "data: [DONE]\n\n"},
     .usage = {1500, 1408, 12, 5},
     .n_deltas = 2,
     .has_finished = true},
    {.name = "two choices",
     .op = OP_CHAT,
     .events = {"data: {'choices':[{'index':0,'delta':{'content':'a'}},{'index':1,'delta':{"
                "'content':'b'}}]}\n\n",
                "data: {'choices':[{'index':1,'delta':{'content':'c'},'finish_reason':'length'}]}"
                "\n\n"},
     .usage = NO_USAGE,
     .n_deltas = 3,
     .has_finished = true,
     .was_cut_short = true},
    {.name = "responses",
     .op = OP_RESPONSES,
     .events =
         {"event: response.created\ndata: {'type':'response.created','response':{'id':'resp_1',"
          "'status':'in_progress','usage':null},'sequence_number':0}\n\n",
          "event: response.output_item.added\ndata: {'type':'response.output_item.added','item':{}}"
          "\n\n",
          "event: response.output_text.delta\ndata: {'type':'response.output_text.delta','delta':"
          "'Hi'}\n\n",
          "event: response.reasoning_summary_text.delta\ndata: {'type':"
          "'response.reasoning_summary_text.delta','delta':'x'}\n\n",
          "event: response.output_text.done\ndata: {'type':'response.output_text.done','text':'Hi'}"
          "\n\n",
          "event: response.completed\ndata: {'type':'response.completed','response':{'status':"
          "'completed','usage':{'input_tokens':10,'input_tokens_details':{'cached_tokens':4},"
          "'output_tokens':2,'output_tokens_details':{'reasoning_tokens':1},'total_tokens':12}}}"
          "\n\n"},
     .usage = {10, 4, 2, 1},
     .n_deltas = 2,
     .has_finished = true},
    {.name = "responses that ran out of tokens",
     .op = OP_RESPONSES,
     .events = {"event: response.output_text.delta\ndata: {'type':'response.output_text.delta',"
                "'delta':'Hi'}\n\n",
                "event: response.incomplete\ndata: {'type':'response.incomplete','response':{"
                "'incomplete_details':{'reason':'max_output_tokens'},'usage':{'input_tokens':3,"
                "'output_tokens':1}}}\n\n"},
     .usage = {3, -1, 1, -1},
     .n_deltas = 1,
     .has_finished = true,
     .was_cut_short = true},
    {.name = "CR LF, comments, other fields",
     .op = OP_CHAT,
     .events = {": ping\r\n\r\n",
                "id: 1\r\nevent: message\r\ndata:{'choices':[{'delta':{'content':'x'}}]}\r\n\r\n",
                "!data: {'choices':[],'usage':{'prompt_tokens':1,'completion_tokens':1}}\r\n\r\n",
                "data: [DONE]\r\n\r\n"},
     .usage = {1, -1, 1, -1},
     .n_deltas = 1,
     .has_finished = true},
    {.name = "data in several lines is one text",
     .op = OP_CHAT,
     .events = {"data: {'choices':\ndata: [{'delta':{'content':'x'}}]}\n\n",
                "data: {'choices':[{'delta':{'content':'y'}}]}\n\n",
                "data: {'choices':[{'delta':\nid: 3\ndata:{'content':'z'}}]\r\ndata:}\n\n",
                "!data: {'choices':[],\ndata:  'usage':{'prompt_tokens':4,\n"
                "data:  'completion_tokens':3}}\n\n",
                "data: [DONE]\n\n"},
     .usage = {4, -1, 3, -1},
     .n_deltas = 3,
     .has_finished = true},
    {.name = "data that is no text once it is joined passes as it came",
     .op = OP_CHAT,
     .events = {"data: {'choices':[{'delta':{'content':'x\ndata: y'}}]}\n\n",
                "data: [DONE]\ndata:\n\n"},
     .usage = NO_USAGE},
    {.name = "garbage passes as it came",
     .op = OP_CHAT,
     .events = {"data: {not json}\n\n", "\n", "data:\n\n", "data: [DONE] \n\n", "data: 5\n\n",
                "data: []\n\n", "data: {'choices':5,'usage':'much'}\n\n",
                "data: {'choices':[5,{'delta':7},{'delta':{'content':9}}],'usage':[]}\n\n",
                "!data: {'usage':{}}\n\n", "data: {'choices':[{'delta':{'content':'x'}}]}\n\n"},
     .usage = NO_USAGE,
     .n_deltas = 1},
    {.name = "no end: the last event is cut off",
     .op = OP_CHAT,
     .events = {"data: {'choices':[{'delta':{'content':'x'}}]}\n\n",
                "data: {'choices':[{'delta':{'content':'y'}}]}\n"},
     .usage = NO_USAGE,
     .n_deltas = 1},
    {.name = "an error in the stream",
     .op = OP_CHAT,
     .events = {"data: {'choices':[{'delta':{'content':'x'}}]}\n\n",
                "data: {'error':{'message':'out of memory','code':500}}\n\n"},
     .usage = NO_USAGE,
     .n_deltas = 1,
     .has_error = true},
    {.name = "lies about usage: what cannot be is as good as absent",
     .op = OP_CHAT,
     .events = {"data: {'choices':[{'delta':{'content':'x'}}],'usage':{'prompt_tokens':-5,"
                "'completion_tokens':-1}}\n\n",
                "!data: {'choices':[],'usage':{'prompt_tokens':'12','completion_tokens':1.5}}\n\n",
                "!data: {'choices':[],'usage':{'prompt_tokens':4611686018427387904,"
                "'completion_tokens':4611686018427387904}}\n\n",
                "!data: {'choices':[],'usage':{'prompt_tokens':18446744073709551615}}\n\n",
                "data: {'choices':[],'usage':7}\n\n",
                "!data: {'choices':[],'usage':{'prompt_tokens':3,'completion_tokens':1,"
                "'prompt_tokens_details':{'cached_tokens':-8}}}\n\n"},
     .usage = {3, -1, 1, -1},
     .n_deltas = 1},
};

static void put_quoted(struct buf *out, const char *s) {
    for (; *s; s++)
        buf_char(out, *s == '\'' ? '"' : *s);
}

/* The stream as it comes, and as it leaves. */
static void write_stream(const struct stream *s, bool must_strip, struct buf *in,
                         struct buf *want) {
    buf_clear(in);
    buf_clear(want);
    for (size_t i = 0; i < EVENTS_MAX && s->events[i]; i++) {
        bool is_usage = s->events[i][0] == '!';
        put_quoted(in, s->events[i] + is_usage);
        if (!is_usage || !must_strip)
            put_quoted(want, s->events[i] + is_usage);
    }
}

/* Gives one piece, in a block of its own whose padding would change the meaning of what it follows. */
static void feed(struct meter *m, struct str piece, bool is_last, struct buf *out) {
    char *copy = malloc(piece.n + JSON_PADDING);
    assert_non_null(copy);
    if (piece.n)
        memcpy(copy, piece.p, piece.n);
    memset(copy + piece.n, '\n', JSON_PADDING);
    struct str in = {copy, piece.n};
    struct meter_out o;
    bool has_more;
    do {
        has_more = meter_take(m, doc, &in, is_last, &o);
        assert_true(o.n <= (int)ARRAY_LEN(o.piece));
        for (int i = 0; i < o.n; i++) {
            assert_true(o.piece[i].n > 0);
            buf_str(out, o.piece[i]);
        }
    } while (has_more);
    assert_int_equal(in.n, 0);
    free(copy);
}

static void check(const struct stream *s, const struct meter *m, struct str got, struct str want,
                  size_t at) {
    if (!str_eq(got, want))
        fail_msg("%s, cut at %zu: %.*s", s->name, at, STR_ARG(got));
    bool has_usage = s->usage.prompt >= 0 || s->usage.output >= 0;
    if (m->has_usage != has_usage || m->usage.prompt != s->usage.prompt ||
        m->usage.cached != s->usage.cached || m->usage.output != s->usage.output ||
        m->usage.reasoning != s->usage.reasoning)
        fail_msg("%s, cut at %zu: usage %lld %lld %lld %lld", s->name, at,
                 (long long)m->usage.prompt, (long long)m->usage.cached, (long long)m->usage.output,
                 (long long)m->usage.reasoning);
    if (m->n_deltas != s->n_deltas)
        fail_msg("%s, cut at %zu: %lld deltas", s->name, at, (long long)m->n_deltas);
    assert_int_equal(m->has_text, s->n_deltas > 0);
    if (m->has_finished != s->has_finished || m->was_cut_short != s->was_cut_short ||
        m->has_error != s->has_error)
        fail_msg("%s, cut at %zu: finished %d, short %d, error %d", s->name, at, m->has_finished,
                 m->was_cut_short, m->has_error);
}

/* The pieces end at `a` and `b`; the end of the answer comes with the last byte, or alone. */
static void run(const struct stream *s, struct str in, struct str want, bool must_strip, size_t a,
                size_t b, bool ends_alone) {
    struct meter m;
    struct buf out;
    buf_init(&out, 1 << 20);
    meter_init(&m, s->op, true, must_strip);
    feed(&m, (struct str){in.p, a}, false, &out);
    feed(&m, (struct str){in.p + a, b - a}, false, &out);
    feed(&m, str_skip(in, b), !ends_alone, &out);
    if (ends_alone)
        feed(&m, STR(""), true, &out);
    check(s, &m, buf_view(&out), want, a);
    meter_destroy(&m);
    buf_destroy(&out);
}

static void every_cut_gives_the_same_bytes_and_numbers(void **state) {
    (void)state;
    struct buf in, want;
    struct random r = {3};
    buf_init(&in, 1 << 20);
    buf_init(&want, 1 << 20);
    for (size_t i = 0; i < ARRAY_LEN(streams); i++) {
        for (int must_strip = 0; must_strip < 2; must_strip++) {
            write_stream(&streams[i], must_strip, &in, &want);
            for (size_t at = 0; at <= in.len; at++) {
                run(&streams[i], buf_view(&in), buf_view(&want), must_strip, at, at, at % 2);
                size_t b = at + (size_t)random_below(&r, (int64_t)(in.len - at) + 1);
                run(&streams[i], buf_view(&in), buf_view(&want), must_strip, at, b, at % 3 == 0);
            }
        }
    }
    buf_destroy(&in);
    buf_destroy(&want);
}

static void byte_by_byte_and_in_any_steps_too(void **state) {
    (void)state;
    struct buf in, want, out;
    buf_init(&in, 1 << 20);
    buf_init(&want, 1 << 20);
    buf_init(&out, 1 << 20);
    for (size_t i = 0; i < ARRAY_LEN(streams); i++) {
        write_stream(&streams[i], true, &in, &want);
        for (size_t step = 1; step < 200; step += 1 + step / 8) {
            struct meter m;
            buf_clear(&out);
            meter_init(&m, streams[i].op, true, true);
            for (size_t at = 0; at < in.len; at += step)
                feed(&m, (struct str){in.p + at, size_min(step, in.len - at)}, at + step >= in.len,
                     &out);
            check(&streams[i], &m, buf_view(&out), buf_view(&want), step);
            meter_destroy(&m);
        }
    }
    buf_destroy(&in);
    buf_destroy(&want);
    buf_destroy(&out);
}

/* Many events in one read, more than there are pieces to hand out at once. */
static void many_events_in_one_read_all_pass(void **state) {
    (void)state;
    struct buf in, want, out;
    struct meter m;
    buf_init(&in, 1 << 20);
    buf_init(&want, 1 << 20);
    buf_init(&out, 1 << 20);
    for (int i = 0; i < 500; i++) {
        buf_lit(&in, "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n");
        buf_lit(&want, "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n");
        /* Each stripped event tears the bytes to be forwarded apart. */
        buf_printf(
            &in,
            "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":%d}}\n\n",
            i);
    }
    meter_init(&m, OP_CHAT, true, true);
    feed(&m, buf_view(&in), true, &out);
    assert_true(str_eq(buf_view(&out), buf_view(&want)));
    assert_int_equal(m.n_deltas, 500);
    assert_int_equal(m.usage.output, 499);
    meter_destroy(&m);
    buf_destroy(&in);
    buf_destroy(&want);
    buf_destroy(&out);
}

static void an_overlong_event_passes_unread_and_memory_stays_bounded(void **state) {
    (void)state;
    struct buf in, out;
    buf_init(&in, 8 << 20);
    buf_init(&out, 8 << 20);
    buf_lit(&in, "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n"
                 "id: 5\ndata: {\"choices\":[{\"delta\":{\"content\":\"");
    for (int i = 0; i < 3 * METER_EVENT_MAX; i++)
        buf_char(&in, 'x');
    buf_lit(&in,
            "\"}}]}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"b\"}}]}\n\n"
            "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\n"
            "data: [DONE]\n\n");
    ptrdiff_t chunk = str_find(buf_view(&in), STR("data: {\"choices\":[],"));
    static const size_t steps[] = {1, 7, 1000, 16384, 65536, 65535, 70000, 150000};
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        struct meter m;
        buf_clear(&out);
        meter_init(&m, OP_CHAT, true, true);
        for (size_t at = 0; at < in.len; at += steps[i]) {
            feed(&m, (struct str){in.p + at, size_min(steps[i], in.len - at)},
                 at + steps[i] >= in.len, &out);
            assert_true(m.sse.carry.len <= METER_EVENT_MAX);
        }
        assert_true(str_starts(buf_view(&in), (struct str){out.p, (size_t)chunk}));
        assert_true(str_eq(str_skip(buf_view(&out), (size_t)chunk), STR("data: [DONE]\n\n")));
        assert_int_equal(m.n_deltas, 2);
        assert_int_equal(m.usage.output, 2);
        assert_true(m.has_finished);
        meter_destroy(&m);
    }
    buf_destroy(&in);
    buf_destroy(&out);
}

/* --- answers in one piece --- */

/* --- chunks like the one before --- */

static int64_t pick(struct random *r, int64_t favourite, int64_t n) {
    return random_below(r, 2) ? favourite % n : random_below(r, n);
}

/* One event of a stream whose events are much alike: what varies is drawn, hostile things now and then. */
static void put_alike(struct buf *out, struct random *r, int64_t favourite) {
    static const char *const texts[] = {"a",
                                        " lorem",
                                        "",
                                        "\\n",
                                        "\\\"}",
                                        "\xc3\xa9",
                                        "\xc3",
                                        "\x01",
                                        "\\u00e9",
                                        "\\",
                                        "\"",
                                        "x\",\"content\":\"",
                                        "\xed\xa0\x80",
                                        "\\\\",
                                        "usage",
                                        "\"},\"usage\":{\"prompt_tokens\":1},\"y\":{\"z\":\""};
    static const char *const fronts[] = {
        "{\"choices\":[{\"delta\":{\"content\":\"",
        "{\"choices\":[{\"delta\":{\"content\": \"",
        "{\"choices\":[{\"text\":\"",
        "{\"choices\":[{\"delta\":{\"a\\\"content\":\"",
        "{\"choices\":[{\"delta\":{\"content\":\"\",\"content\":\"",
        "{\"choices\":[{\"delta\":{\"reasoning_content\":\"",
        "{\"content\":\"",
        "{\"choices\":[{\"finish_reason\":\"stop\",\"delta\":{\"content\":\"",
    };
    static const char *const backs[] = {
        "\"}}]}",
        "\"},\"finish_reason\":null}]}",
        "\"},\"finish_reason\":\"length\"}]}",
        "\"}}],\"usage\":null}",
        "\"}}],\"obfuscation\":\"q\"}",
        "\"}}],\"obfuscation\":\"Zx01\"}",
        "\"}}],\"obfuscation\":\"\"}",
        "\"}}],\"usage\":{\"completion_tokens\":3}}",
        "\"}}],\"usage\":{\"completion_tokens\":7}}",
        "\"}}],\"error\":{}}",
        "\"}},{\"delta\":{\"content\":\"x\"}}]}",
        "\"}}]",
    };
    /* Half of them are of two kinds, so that there are runs of chunks alike, with others in between. */
    const char *front = fronts[pick(r, favourite, ARRAY_LEN(fronts))];
    const char *back = backs[pick(r, favourite / 8 + random_below(r, 2), ARRAY_LEN(backs))];
    const char *text = texts[pick(r, random_below(r, 4), ARRAY_LEN(texts))];
    buf_lit(out, "data: {");
    if (favourite % 2)
        buf_printf(out, "\"id\":\"%s\",", texts[pick(r, random_below(r, 2), ARRAY_LEN(texts))]);
    buf_printf(out, "%s%s%s\n\n", front + 1, text, back);
}

static void chunks_that_are_not_parsed_say_what_parsing_them_says(void **state) {
    (void)state;
    struct random seed = {20261122};
    int64_t n_deltas = 0;
    for (int i = 0; i < 3000; i++) {
        struct meter parsed, quick;
        struct buf in, parsed_out, quick_out;
        bool must_strip = random_below(&seed, 2);
        enum operation op = random_below(&seed, 8) ? OP_CHAT : OP_RESPONSES;
        meter_init(&parsed, op, true, must_strip);
        meter_init(&quick, op, true, must_strip);
        parsed.like.is_forbidden = true;
        buf_init(&in, 1 << 16);
        buf_init(&parsed_out, 1 << 16);
        buf_init(&quick_out, 1 << 16);
        int64_t favourite = random_below(&seed, 72);
        for (int64_t n = random_between(&seed, 1, 16); n > 0; n--)
            put_alike(&in, &seed, favourite);
        feed(&parsed, buf_view(&in), true, &parsed_out);
        feed(&quick, buf_view(&in), true, &quick_out);
        bool is_same = str_eq(buf_view(&parsed_out), buf_view(&quick_out)) &&
                       memcmp(&parsed.usage, &quick.usage, sizeof parsed.usage) == 0 &&
                       parsed.n_deltas == quick.n_deltas && parsed.has_usage == quick.has_usage &&
                       parsed.has_text == quick.has_text && parsed.has_error == quick.has_error &&
                       parsed.has_finished == quick.has_finished &&
                       parsed.was_cut_short == quick.was_cut_short;
        if (!is_same)
            fail_msg("read otherwise: %.*s", STR_ARG(buf_view(&in)));
        n_deltas += quick.n_deltas;
        meter_destroy(&parsed);
        meter_destroy(&quick);
        buf_destroy(&in);
        buf_destroy(&parsed_out);
        buf_destroy(&quick_out);
    }
    assert_true(n_deltas > 3000);
}

/* The property above holds of a meter that never takes the short cut, too. */
static void a_chunk_like_the_one_before_is_not_parsed(void **state) {
    (void)state;
    static const struct {
        const char *event;
        int64_t n_tries, n_deltas; /* after it */
    } steps[] = {
        {"data: {\"choices\":[{\"delta\":{\"content\":\"Hello\"}}]}\n\n", 1, 1},
        {"data: {\"choices\":[{\"delta\":{\"content\":\" w\xc3\xb6rld\"}}]}\n\n", 0, 2},
        {"data: {\"choices\":[{\"delta\":{\"content\":\"\\n\"}}]}\n\n", 1, 3},
        {"data: {\"choices\":[{\"delta\":{\"content\":\"!\"}}]}\n\n", 0, 4},
        {"data: {\"choices\":[{\"delta\":{\"content\":\"\"}}]}\n\n", 0, 4},
        {"data: {\"choices\":[{\"delta\":{\"tool_calls\":[]}}]}\n\n", 1, 5},
        {"data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n", 2, 6},
        {"data: {\"id\":\"1\",\"a\":[{\"content\":\"x\"}],\"obfuscation\":\"y\"}\n\n", 2, 6},
        {"data: {\"id\":\"1\",\"choices\":[{\"text\":\"x\"}],\"obfuscation\":\"y\"}\n\n", 3, 7},
        {"data: {\"id\":\"23\",\"choices\":[{\"text\":\"z\"}],\"obfuscation\":\"\xc3\xb6\"}\n\n", 0,
         8},
        {"data: {\"id\":\"\",\"choices\":[{\"text\":\"z\"}],\"obfuscation\":\"y\"}\n\n", 1, 9},
        {"data: {\"id\":\"\",\"choices\":[{\"text\":\"q\"}],\"obfuscation\":\"uvw\"}\n\n", 0, 10},
        {"data: {\"id\":\"\",\"choices\":[{\"text\":\"q\"}],\"obfuscation\":\"\\n\"}\n\n", 1, 11},
        {"data: {\"id\":\"\",\"choices\":[{\"text\":\"\"}],\"obfuscation\":\"y\"}\n\n", 1, 11},
    };
    struct meter m;
    struct buf out;
    meter_init(&m, OP_CHAT, true, false);
    buf_init(&out, 1 << 16);
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        feed(&m, str_of(steps[i].event), false, &out);
        assert_int_equal(m.like.n_tries, steps[i].n_tries);
        assert_int_equal(m.n_deltas, steps[i].n_deltas);
    }
    meter_destroy(&m);
    buf_destroy(&out);
}

static void run_whole(enum operation op, struct str text, size_t step, struct meter *m) {
    struct buf out;
    buf_init(&out, 8 << 20);
    meter_init(m, op, false, true);
    for (size_t at = 0; at < text.n; at += step)
        feed(m, (struct str){text.p + at, size_min(step, text.n - at)}, at + step >= text.n, &out);
    if (text.n == 0)
        feed(m, text, true, &out);
    assert_true(str_eq(buf_view(&out), text)); /* never touched */
    buf_destroy(&out);
}

static void answers_in_one_piece_are_read_at_their_end(void **state) {
    (void)state;
    static const struct {
        enum operation op;
        const char *text;
        struct usage usage;
    } cases[] = {
        {OP_CHAT,
         "{'id':'c','choices':[{'index':0,'message':{'role':'assistant','content':'hi'},"
         "'finish_reason':'stop'}],'usage':{'prompt_tokens':5,'completion_tokens':2,"
         "'total_tokens':7,'prompt_tokens_details':{'cached_tokens':3},"
         "'completion_tokens_details':{'reasoning_tokens':1}}}",
         {5, 3, 2, 1}},
        {OP_CHAT,
         "{'usage':{'prompt_tokens':5,'completion_tokens':2},'choices':[{'x':'}'}]} \r\n",
         {5, -1, 2, -1}},
        {OP_EMBEDDINGS,
         "{'object':'list','data':[],'usage':{'prompt_tokens':3,'total_tokens':3}}",
         {3, -1, -1, -1}},
        {OP_EMBEDDINGS,
         "{ 'usage' : { 'prompt_tokens' : 3 } , 'data' : [ { 'embedding' : [ 0.5 ] } ] }",
         {3, -1, -1, -1}},
        {OP_RESPONSES,
         "{'id':'r','status':'incomplete','usage':{'input_tokens':10,'output_tokens':2}}",
         {10, -1, 2, -1}},
        /* The root's usage, not that of something inside it. */
        {OP_CHAT,
         "{'usage':{'prompt_tokens':5},'x':{'usage':{'prompt_tokens':6}}}",
         {5, -1, -1, -1}},
        {OP_CHAT,
         "{'usage':{'prompt_tokens':5},'x':[{'usage':{'prompt_tokens':6}}]}",
         {5, -1, -1, -1}},
        {OP_CHAT, "{'usage':{'prompt_tokens':5},'x':'usage','y':'\\'usage\\':{'}", {5, -1, -1, -1}},
        {OP_CHAT, "{'x':{'usage':{'prompt_tokens':6}}}", NO_USAGE},
        {OP_CHAT, "[{'usage':{'prompt_tokens':6}}]", NO_USAGE},
        {OP_CHAT, "{'x':'\\'usage\\':{\\'prompt_tokens\\':6}'}", NO_USAGE},
        {OP_CHAT, "{'choices':[]}", NO_USAGE},
        {OP_CHAT, "{'usage':null}", NO_USAGE},
        {OP_CHAT, "{'usage':{'prompt_tokens':'5'}}", NO_USAGE},
        {OP_CHAT, "{'usage':{'prompt_tokens':4611686018427387904}}", NO_USAGE},
        {OP_CHAT, "not json at all", NO_USAGE},
        {OP_CHAT, "'usage'", NO_USAGE},
        {OP_CHAT, "", NO_USAGE},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf text;
        buf_init(&text, 4096);
        put_quoted(&text, cases[i].text);
        for (size_t k = 0; k + 1 < text.len; k++) { /* \' was meant to be \" */
            if (text.p[k] == '\\' && text.p[k + 1] == '\'')
                text.p[k + 1] = '"';
        }
        for (size_t step = 1; step <= size_max(text.len, 1); step++) {
            struct meter m;
            run_whole(cases[i].op, buf_view(&text), step, &m);
            if (m.has_usage != (cases[i].usage.prompt >= 0) ||
                m.usage.prompt != cases[i].usage.prompt ||
                m.usage.cached != cases[i].usage.cached ||
                m.usage.output != cases[i].usage.output ||
                m.usage.reasoning != cases[i].usage.reasoning)
                fail_msg("case %zu in steps of %zu: usage %d %lld", i, step, m.has_usage,
                         (long long)m.usage.prompt);
            meter_destroy(&m);
        }
        buf_destroy(&text);
    }
}

static void of_a_long_answer_the_end_is_searched(void **state) {
    (void)state;
    /* Content that looks like usage must not be taken for it. */
    static const char *const ends[] = {
        "]}],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":9,\"prompt_tokens_details\":{\"cached_tokens\":2}}}",
        "]}], \"usage\" : { \"prompt_tokens\" : 5, \"completion_tokens\":9,\n\"prompt_tokens_details\":{\"cached_tokens\":2} } , \"x\":1 }\n",
        "]}],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":9,\"completion_tokens_details\":{\"reasoning_tokens\":0.0},\"input_tokens\":-1,\"prompt_tokens_details\":{\"cached_tokens\":2}}}",
        "]}],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":9,\"prompt_tokens_details\":{\"cached_tokens\":2}},\"x\\\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":1}}",
        "\\\"usage\\\":{\\\"prompt_tokens\\\":1}\"]}],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":9,\"prompt_tokens_details\":{\"cached_tokens\":2}}}",
    };
    static const char *const bad_ends[] = {
        "]}]}",         "\"usage\":null}", "\"usage\":{\"prompt_tokens\":5",
        "\"usage\"",    "\"usage\":",      "\"usage\":{}}",
        "\"usage\":5}",
    };
    struct buf text;
    buf_init(&text, 8 << 20);
    /* The first ends such that its usage is cut where the beginning of the answer is dropped. */
    static const size_t lengths[] = {METER_WHOLE_MAX - 60, METER_WHOLE_MAX, METER_WHOLE_MAX + 1,
                                     3 * METER_WHOLE_MAX};
    static const size_t steps[] = {1000, 16384, 65536, 300000, 8 << 20, 9};
    for (size_t l = 0; l < ARRAY_LEN(lengths); l++) {
        for (size_t e = 0; e < ARRAY_LEN(ends) + ARRAY_LEN(bad_ends); e++) {
            bool is_good = e < ARRAY_LEN(ends);
            buf_clear(&text);
            buf_lit(&text, "{\"choices\":[{\"x\":[");
            while (text.len < lengths[l])
                buf_lit(&text, "123456789,");
            buf_str(&text, str_of(is_good ? ends[e] : bad_ends[e - ARRAY_LEN(ends)]));
            for (size_t s = 0; s < ARRAY_LEN(steps); s++) {
                struct meter m;
                if (steps[s] < 1000 && l > 0)
                    continue;
                run_whole(OP_CHAT, buf_view(&text), steps[s], &m);
                assert_true(text.len <= METER_WHOLE_MAX || m.is_tail_only || m.body.len == 0 ||
                            steps[s] > METER_WHOLE_MAX);
                assert_true(m.body.len <= METER_WHOLE_MAX);
                assert_int_equal(m.has_usage, is_good);
                assert_int_equal(m.usage.prompt, is_good ? 5 : -1);
                assert_int_equal(m.usage.cached, is_good ? 2 : -1);
                assert_int_equal(m.usage.output, is_good ? 9 : -1);
                meter_destroy(&m);
            }
        }
    }
    buf_destroy(&text);
}

static int set_up(void **state) {
    (void)state;
    doc = json_doc_new();
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    json_doc_free(doc);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cut_gives_the_same_bytes_and_numbers),
        cmocka_unit_test(byte_by_byte_and_in_any_steps_too),
        cmocka_unit_test(many_events_in_one_read_all_pass),
        cmocka_unit_test(an_overlong_event_passes_unread_and_memory_stays_bounded),
        cmocka_unit_test(chunks_that_are_not_parsed_say_what_parsing_them_says),
        cmocka_unit_test(a_chunk_like_the_one_before_is_not_parsed),
        cmocka_unit_test(answers_in_one_piece_are_read_at_their_end),
        cmocka_unit_test(of_a_long_answer_the_end_is_searched),
    };
    return cmocka_run_group_tests_name("meter", tests, set_up, tear_down);
}
