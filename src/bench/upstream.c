#include "bench/upstream.h"

#include "http/message.h"
#include "net/conn.h"
#include "os/os.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    HEAD_CEILING = 32 << 10,
    BODY_CEILING = 32 << 20,
    ANSWER_BYTES = 1024,
    NUMBER_DIGITS = 6,
    TIME_DIGITS = 19,
    /* Streams that are due within this time of each other share one wake-up. They are served late, not
     * early, so the gap holds. */
    COALESCE_NS = 20000,
};

static const char mark[] = "\"id\":\"bench-";

struct upstream {
    struct loop *loop;
    struct upstream_options options;
    struct listener *listener;
    struct loop_alarm *alarm;
    struct list quiet; /* connections without a stream */
    struct list
        streams; /* the next due first: all wait equally long, so the order is that of time */
    char answer[2 * ANSWER_BYTES], chunk[512], end[512], end_with_usage[1024];
    size_t n_answer, n_chunk, n_end, n_end_with_usage, number_at;
    int64_t n_requests, n_streams, n_events, n_late;
};

struct peer {
    struct list in_upstream; /* in `quiet` or in `streams` */
    struct upstream *upstream;
    struct conn *conn;
    struct http_reader reader;
    struct buf body;
    int64_t due_ns, n_sent;
    bool is_streaming, wants_usage, is_parsing, is_dead;
};

/* --- what is sent, made once --- */

static size_t put_chunked(char *out, size_t size, const char *text) {
    return (size_t)snprintf(out, size, "%zx\r\n%s\r\n", strlen(text), text);
}

static void make_texts(struct upstream *u) {
    char body[ANSWER_BYTES + 128], text[512];
    int n = snprintf(body, sizeof body,
                     "{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion\",\"created\":"
                     "1700000000,\"model\":\"gpt-4o-mini\",\"choices\":[{\"index\":0,\"message\":"
                     "{\"role\":\"assistant\",\"content\":\"");
    static const char tail[] = "\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":200,"
                               "\"completion_tokens\":150,\"total_tokens\":350}}";
    while ((size_t)n + sizeof tail - 1 < ANSWER_BYTES)
        n += snprintf(body + n, 13, "%s", "lorem ipsum ");
    n += snprintf(body + n, sizeof tail, "%s", tail);
    u->n_answer = (size_t)snprintf(u->answer, sizeof u->answer,
                                   "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                                   "x-request-id: bench\r\nContent-Length: %d\r\n\r\n%s",
                                   n, body);

    snprintf(
        text, sizeof text,
        "data: {%s%0*d-%0*d\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,"
        "\"model\":\"gpt-4o-mini\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" token\"},"
        "\"finish_reason\":null}]}\n\n",
        mark, NUMBER_DIGITS, 0, TIME_DIGITS, 0);
    u->n_chunk = put_chunked(u->chunk, sizeof u->chunk, text);
    u->number_at = (size_t)str_find((struct str){u->chunk, u->n_chunk}, STR("bench-")) + 6;

    static const char done[] = "e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n";
    u->n_end = (size_t)snprintf(u->end, sizeof u->end, "%s", done);
    snprintf(text, sizeof text,
             "data: {\"id\":\"usage\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,"
             "\"model\":\"gpt-4o-mini\",\"choices\":[],\"usage\":{\"prompt_tokens\":200,"
             "\"completion_tokens\":%lld,\"total_tokens\":%lld}}\n\n",
             (long long)u->options.n_events, 200 + (long long)u->options.n_events);
    u->n_end_with_usage = put_chunked(u->end_with_usage, sizeof u->end_with_usage, text);
    memcpy(u->end_with_usage + u->n_end_with_usage, done, sizeof done);
    u->n_end_with_usage += sizeof done - 1;
}

static void put_digits(char *out, int n, int64_t value) {
    while (n--) {
        out[n] = (char)('0' + value % 10);
        value /= 10;
    }
}

bool upstream_stamp(struct str data, int64_t *number, int64_t *at_ns) {
    /* The id is the first member that the upstream writes. */
    size_t skip = 1 + sizeof mark - 1;
    if (data.n < skip + NUMBER_DIGITS + 1 + TIME_DIGITS ||
        memcmp(data.p + 1, mark, sizeof mark - 1) != 0)
        return false;
    const char *at = data.p + skip;
    return str_to_i64((struct str){at, NUMBER_DIGITS}, number) &&
           str_to_i64((struct str){at + NUMBER_DIGITS + 1, TIME_DIGITS}, at_ns);
}

/* --- connections --- */

static void move(struct peer *p, struct list *to) {
    list_remove(&p->in_upstream);
    list_append(to, &p->in_upstream);
}

static void close_peer(struct peer *p) {
    p->is_dead = true;
    list_remove(&p->in_upstream);
    conn_close(p->conn);
    http_reader_destroy(&p->reader);
    buf_destroy(&p->body);
    if (!p->is_parsing)
        free(p);
}

static void send_text(struct peer *p, const char *text, size_t n) {
    struct iovec iov = {(char *)(uintptr_t)text, n};
    (void)conn_write(p->conn, &iov, 1);
}

static void arm(struct upstream *u, int64_t now_ns) {
    if (list_is_empty(&u->streams))
        return;
    const struct peer *p = CONTAINER_OF(u->streams.next, struct peer, in_upstream);
    loop_alarm_set(u->alarm, i64_max(p->due_ns, now_ns + COALESCE_NS));
}

static void begin_stream(struct peer *p) {
    struct upstream *u = p->upstream;
    static const char head[] =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
        "x-request-id: bench\r\nTransfer-Encoding: chunked\r\n\r\n";
    send_text(p, head, sizeof head - 1);
    int64_t now = os_now_ns();
    p->is_streaming = true;
    p->n_sent = 0;
    p->due_ns = now + u->options.gap_ns;
    u->n_streams++;
    bool is_first = list_is_empty(&u->streams);
    move(p, &u->streams);
    if (is_first)
        arm(u, now);
}

static void reply_stats(struct peer *p) {
    const struct upstream *u = p->upstream;
    char body[200], text[400];
    int n = snprintf(body, sizeof body,
                     "{\"requests\":%lld,\"streams\":%lld,\"events\":%lld,\"late\":%lld}\n",
                     (long long)u->n_requests, (long long)u->n_streams, (long long)u->n_events,
                     (long long)u->n_late);
    n = snprintf(
        text, sizeof text,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", n,
        body);
    send_text(p, text, (size_t)n);
}

static bool says(struct str body, struct str what) {
    return str_find(body, what) >= 0;
}

static void on_request(struct peer *p) {
    struct upstream *u = p->upstream;
    struct str body = buf_view(&p->body);
    if (str_eq(p->reader.head.method, STR("GET"))) {
        reply_stats(p);
        return;
    }
    u->n_requests++;
    if (body.n && says(body, STR("\"stream\":true"))) {
        p->wants_usage = says(body, STR("\"include_usage\":true"));
        begin_stream(p);
    } else {
        send_text(p, u->answer, u->n_answer);
    }
    buf_clear(&p->body);
}

static void on_data(void *owner, struct str in) {
    struct peer *p = owner;
    p->is_parsing = true;
    while (!p->is_dead) {
        struct str piece;
        enum http_event event = http_read(&p->reader, &in, &piece);
        if (event == HTTP_EV_MORE)
            break;
        if (event == HTTP_EV_BODY)
            buf_str(&p->body, piece);
        else if (event == HTTP_EV_END)
            on_request(p);
        else if (event == HTTP_EV_ERROR)
            close_peer(p);
    }
    p->is_parsing = false;
    if (p->is_dead)
        free(p);
}

static void on_open(void *owner) {
    (void)owner;
}

static void on_drained(void *owner) {
    (void)owner;
}

static void on_end(void *owner, enum status st, struct str why) {
    (void)st;
    (void)why;
    close_peer(owner);
}

static const struct conn_handlers handlers = {on_open, on_data, on_drained, on_end};

static void on_accept(void *arg, struct conn *c) {
    struct upstream *u = arg;
    struct peer *p = xcalloc(1, sizeof *p);
    p->upstream = u;
    p->conn = c;
    http_reader_init(&p->reader, true, HEAD_CEILING);
    buf_init(&p->body, BODY_CEILING);
    list_append(&u->quiet, &p->in_upstream);
    conn_start(c, &handlers, p);
}

/* --- pacing --- */

static void send_chunk(struct peer *p, int64_t now_ns) {
    struct upstream *u = p->upstream;
    put_digits(u->chunk + u->number_at, NUMBER_DIGITS, p->n_sent);
    put_digits(u->chunk + u->number_at + NUMBER_DIGITS + 1, TIME_DIGITS, now_ns);
    struct iovec iov[2] = {{u->chunk, u->n_chunk}};
    int n = 1;
    p->n_sent++;
    u->n_events++;
    if (p->n_sent == u->options.n_events) {
        iov[n++] = p->wants_usage ? (struct iovec){u->end_with_usage, u->n_end_with_usage}
                                  : (struct iovec){u->end, u->n_end};
        p->is_streaming = false;
        move(p, &u->quiet);
    } else {
        p->due_ns = now_ns + u->options.gap_ns;
        move(p, &u->streams);
    }
    (void)conn_write(p->conn, iov, n);
    conn_push(p->conn); /* the stamp is that of the write */
}

static void on_alarm(void *arg) {
    struct upstream *u = arg;
    int64_t now = os_now_ns();
    while (!list_is_empty(&u->streams)) {
        struct peer *p = CONTAINER_OF(u->streams.next, struct peer, in_upstream);
        if (p->due_ns > now)
            break;
        /* Its stamp must be that of its own write, not of the batch. */
        now = os_now_ns();
        if (now - p->due_ns > u->options.gap_ns)
            u->n_late++;
        send_chunk(p, now);
    }
    arm(u, now);
}

/* --- the server --- */

struct upstream *upstream_new(struct loop *l, const struct upstream_options *options) {
    struct upstream *u = xcalloc(1, sizeof *u);
    u->loop = l;
    u->options = *options;
    list_init(&u->quiet);
    list_init(&u->streams);
    u->alarm = loop_alarm_new(l, on_alarm, u);
    make_texts(u);
    return u;
}

enum status upstream_listen(struct upstream *u, const char *host, int port, int *bound_port,
                            struct problem *why) {
    TRY(listener_open(u->loop, host, port, NULL, on_accept, u, &u->listener, why));
    *bound_port = listener_port(u->listener);
    return ST_OK;
}

void upstream_free(struct upstream *u) {
    if (!u)
        return;
    listener_close(u->listener);
    LIST_EACH (&u->quiet, it)
        close_peer(CONTAINER_OF(it, struct peer, in_upstream));
    LIST_EACH (&u->streams, it)
        close_peer(CONTAINER_OF(it, struct peer, in_upstream));
    loop_alarm_close(u->alarm);
    free(u);
}
