/* request_fuzz.c - arbitrary bytes as a request's body: refused with a reason, or read within bounds. */
/* rooms: call json base */
#include "call/request.h"

#include <stdlib.h>

#include "fuzz/fuzz.h"

static void check(const struct request *r, const char *text, size_t size) {
    assert(r->open_at > 0 && r->open_at <= r->close_at && r->close_at < size);
    assert(text[r->open_at - 1] == '{' && text[r->close_at] == '}');
    assert(r->model_at.begin <= r->model_at.end && r->model_at.end <= r->close_at);
    assert((r->model_at.end > 0) == (r->model.p != NULL));
    if (r->model_at.end)
        assert(text[r->model_at.begin] == '"' && text[r->model_at.end - 1] == '"');
    assert(r->ask_at.begin <= r->ask_at.end && r->ask_at.end <= r->close_at);
    assert(r->ask_at.begin >= r->open_at && r->ask_text.n > 0);
    assert(r->ask_at.end <= r->model_at.begin || r->ask_at.begin >= r->model_at.end);
    assert(r->prompt_tokens >= 0 && r->prompt_chars >= 0 && r->n_prompts >= 1);
    assert(r->output.n >= 1 && r->output.best_of >= 1);
    assert(output_cap(&r->output) >= -1 && output_estimate(&r->output, 512) >= 0);
}

/* The body with usage asked for must be JSON still, and ask for it. */
static void check_asking(struct json_doc *doc, const struct request *r, const char *text,
                         size_t size, enum operation op) {
    struct request again;
    struct problem why = {0};
    size_t n = size - (r->ask_at.end - r->ask_at.begin) + r->ask_text.n;
    char *body = malloc(n + JSON_PADDING);
    assert(body);
    memcpy(body, text, r->ask_at.begin);
    memcpy(body + r->ask_at.begin, r->ask_text.p, r->ask_text.n);
    memcpy(body + r->ask_at.begin + r->ask_text.n, text + r->ask_at.end, size - r->ask_at.end);
    memset(body + n, '}', JSON_PADDING);
    bool was_stream = r->is_stream;
    enum status st = request_read(doc, body, n, op, &again, &why);
    assert(st == ST_OK && again.wants_usage && again.is_stream == was_stream);
    free(body);
}

/* The first byte chooses the operation. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct json_doc *doc;
    if (size == 0)
        return 0;
    if (!doc)
        doc = json_doc_new();
    enum operation op = (enum operation)(data[0] & 3);
    size_t n = size - 1;
    char *text = malloc(n + JSON_PADDING);
    assert(text);
    memcpy(text, data + 1, n);
    memset(text + n, '"', JSON_PADDING);
    struct request r = {0};
    struct problem why = {0};
    enum status st = request_read(doc, text, n, op, &r, &why);
    if (st != ST_OK) {
        assert(st == ST_BAD_JSON || st == ST_BAD_REQUEST);
        assert(why.message[0]);
    } else {
        check(&r, text, n);
        if (r.is_stream && !r.wants_usage)
            check_asking(doc, &r, text, n, op);
    }
    free(text);
    return 0;
}
