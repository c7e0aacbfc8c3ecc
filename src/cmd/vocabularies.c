#include "cmd/vocabularies.h"

#include "os/os.h"
#include "vocab/tokenizer_json.h"
#include "json/json.h"

enum status vocabulary_file_read(const char *path, struct buf *block, struct vocabulary *out,
                                 struct problem *why) {
    struct buf text;
    buf_init(block, TOKENIZER_JSON_BLOCK_MAX);
    buf_init(&text, TOKENIZER_JSON_MAX);
    enum status st = os_read_file(path, &text, JSON_PADDING, why);
    if (st == ST_OK && text.len == 0)
        st = problem_set(why, ST_BAD_JSON, str_of(path), "the file is empty");
    if (st == ST_OK)
        st = tokenizer_json_compile(block, str_of(path), buf_view(&text), why);
    buf_destroy(&text);
    if (st == ST_OK)
        st = vocabulary_open(out, block->p, block->len, why);
    return st;
}
