/* tokenizer_json_fuzz.c - arbitrary bytes as a tokenizer.json: refused with file and line, or counted with. */
/* rooms: base json tokens vocab */
#include "fuzz/fuzz.h"
#include "support/tokenizer_text.h"
#include "tokens/count.h"
#include "vocab/tokenizer_json.h"
#include "json/json.h"

#include <stdlib.h>

/* Seeds are short: they get what all must have, so that the fuzzer changes what matters. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct buf text, block, ids;
    struct problem why = {0};
    struct vocabulary v;
    buf_init(&text, 1 << 20);
    buf_init(&block, TOKENIZER_JSON_BLOCK_MAX);
    buf_init(&ids, 1 << 20);
    tokenizer_text(&text, (struct str){(const char *)data, size});
    if (!buf_reserve_slack(&text, 0, JSON_PADDING) || !text.p)
        abort();
    enum status st = tokenizer_json_compile(&block, STR("f.json"), buf_view(&text), &why);
    if (st != ST_OK) {
        assert(why.message[0] && strncmp(why.target, "f.json", 6) == 0);
    } else {
        st = vocabulary_open(&v, block.p, block.len, &why);
        assert(st == ST_OK);
        struct token_cache *c = token_cache_new(&v);
        struct str sample = {text.p, size_min(text.len, 300)};
        st = token_ids(c, sample, &ids);
        assert(st == ST_OK);
        assert(token_count(c, sample) == (int64_t)(ids.len / sizeof(uint32_t)));
        assert(token_count(c, sample) == (int64_t)(ids.len / sizeof(uint32_t)));
        token_cache_free(c);
    }
    buf_destroy(&text);
    buf_destroy(&block);
    buf_destroy(&ids);
    return 0;
}
