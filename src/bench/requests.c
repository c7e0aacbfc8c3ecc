/* requests.c - the requests of a load: read from a file, or one made from words. */
#include "bench/load.h"
#include "http/message.h"
#include "os/os.h"

#include <stdlib.h>

enum { TEXT_CEILING = 1 << 30 };

static void add(struct requests *r, size_t *cap, struct str request) {
    if (r->n == *cap) {
        *cap = size_max(64, *cap * 2);
        r->at = xrealloc(r->at, *cap * sizeof *r->at);
    }
    r->at[r->n++] = request;
}

enum status requests_read(struct requests *r, const char *path, struct problem *why) {
    *r = (struct requests){0};
    size_t cap = 0;
    buf_init(&r->text, TEXT_CEILING);
    TRY(os_read_file(path, &r->text, 1, why));
    struct str rest = buf_view(&r->text), line;
    while (rest.n && str_cut(&rest, '\n', &line)) {
        int64_t n;
        if (!str_to_i64(line, &n) || n <= 0 || (uint64_t)n > rest.n)
            return problem_set(why, ST_BAD_REQUEST, str_of(path),
                               "expected the length of request %zu at byte %zu", r->n + 1,
                               (size_t)(line.p - r->text.p));
        add(r, &cap, (struct str){rest.p, (size_t)n});
        rest = str_skip(rest, (size_t)n);
    }
    if (r->n == 0)
        return problem_set(why, ST_BAD_REQUEST, str_of(path), "there is no request in it");
    return ST_OK;
}

static void put_body(struct buf *out, const struct requests_words *words) {
    struct json_writer w;
    struct buf prompt;
    buf_init(&prompt, TEXT_CEILING);
    for (int64_t i = 0; i < words->n_words; i++)
        buf_lit(&prompt, "water ");
    json_writer_init(&w, out, 0);
    json_begin_object(&w);
    json_key(&w, STR("model"));
    json_str_value(&w, words->model);
    json_key(&w, STR("messages"));
    json_begin_array(&w);
    json_begin_object(&w);
    json_key(&w, STR("role"));
    json_str_value(&w, STR("user"));
    json_key(&w, STR("content"));
    json_str_value(&w, buf_view(&prompt));
    json_end_object(&w);
    json_end_array(&w);
    json_key(&w, STR("max_tokens"));
    json_i64_value(&w, words->max_tokens);
    json_key(&w, STR("stream"));
    json_bool_value(&w, words->is_stream);
    json_end_object(&w);
    buf_destroy(&prompt);
}

void requests_make(struct requests *r, const struct requests_words *words) {
    struct buf body;
    size_t cap = 0;
    *r = (struct requests){0};
    buf_init(&r->text, TEXT_CEILING);
    buf_init(&body, TEXT_CEILING);
    put_body(&body, words);
    buf_lit(&r->text, "POST ");
    buf_str(&r->text, words->path);
    buf_lit(&r->text, " HTTP/1.1\r\n");
    http_put_field(&r->text, STR("Host"), words->authority);
    http_put_field(&r->text, STR("Content-Type"), STR("application/json"));
    if (words->api_key.n) {
        http_put_field(&r->text, STR("api-key"), words->api_key);
        buf_lit(&r->text, "Authorization: Bearer ");
        buf_str(&r->text, words->api_key);
        buf_lit(&r->text, "\r\n");
    }
    http_put_field_i64(&r->text, STR("Content-Length"), (int64_t)body.len);
    buf_lit(&r->text, "\r\n");
    buf_str(&r->text, buf_view(&body));
    buf_destroy(&body);
    add(r, &cap, buf_view(&r->text));
}

void requests_destroy(struct requests *r) {
    free(r->at);
    buf_destroy(&r->text);
    *r = (struct requests){0};
}
