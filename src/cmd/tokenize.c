/* tokenize.c - `weir tokenize`: exact token counts and ids of texts, as the gateway counts them. */
#include "call/request.h"
#include "cmd/cmd.h"
#include "cmd/vocabularies.h"
#include "tokens/count.h"
#include "tokens/utf8.h"
#include "json/json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* A line or a whole input: what the JSON reader takes, less room for the quotes. */
enum { TEXT_MAX = JSON_TEXT_MAX - 64, OUT_MAX = 1 << 30 };

/* Of the texts of chats; its hashes need no secret, since who counts here only waits for himself. */
enum { MEMORY_TEXTS = 1 << 12, MEMORY_PLACES = 1 << 4 };

static const char usage[] =
    "usage: weir tokenize [OPTIONS] [TEXT...]\n\n"
    "Counts tokens as OpenAI's tokenizers do, or as a model's tokenizer.json says, and prints one\n"
    "line of JSON for each text: the number of tokens and their ids. Without TEXT, standard input\n"
    "is one text; bytes that are no UTF-8 count as U+FFFD.\n";

struct tokenizer {
    struct token_cache *cache;
    struct text_memory *memory;
    struct prompt_counters *counters; /* of chats */
    struct str model;                 /* by whose rules chats are framed */
    const struct vocabulary *own;     /* NULL: the model's */
    bool is_count_only;
    struct buf ids, valid, out;
};

static enum status put_text(struct tokenizer *t, struct str text) {
    struct json_writer w;
    buf_clear(&t->out);
    json_writer_init(&w, &t->out, 0);
    json_begin_object(&w);
    json_key(&w, STR("count"));
    if (t->is_count_only) {
        json_i64_value(&w, token_count(t->cache, text));
    } else {
        buf_clear(&t->ids);
        TRY(token_ids(t->cache, text, &t->ids));
        json_i64_value(&w, (int64_t)(t->ids.len / sizeof(uint32_t)));
        json_key(&w, STR("ids"));
        json_begin_array(&w);
        for (size_t at = 0; at < t->ids.len; at += sizeof(uint32_t)) {
            uint32_t id;
            memcpy(&id, t->ids.p + at, sizeof id);
            json_i64_value(&w, id);
        }
        json_end_array(&w);
    }
    json_end_object(&w);
    buf_char(&t->out, '\n');
    return buf_status(&t->out);
}

/* What the gateway counts for a chat with this body, without ids: the framing has none that are published. */
static enum status put_chat(struct tokenizer *t, struct json_doc *doc, struct str body,
                            struct problem *why) {
    struct request r;
    struct request_how how = {.counters = t->counters,
                              .prompt = {.budget = SIZE_MAX, .custom = t->own}};
    TRY(request_parse(doc, body.p, body.n, OP_CHAT, &r, why));
    TRY(request_count(&r, body.p, OP_CHAT, t->model, &how, why));
    buf_clear(&t->out);
    buf_printf(&t->out, "{\"count\":%lld}\n", (long long)r.prompt_tokens);
    return ST_OK;
}

static enum status put_line(struct tokenizer *t, struct json_doc *doc, struct str line,
                            struct problem *why) {
    struct json_value root, value;
    TRY(json_parse(doc, line.p, line.n, &root, why));
    if (json_get(root, STR("text"), &value) && json_type(value) == JSON_STRING)
        return put_text(t, json_str(value));
    if (json_get(root, STR("messages"), &value))
        return put_chat(t, doc, line, why);
    return problem_set(why, ST_BAD_REQUEST, STR(""),
                       "neither {\"text\": \"...\"} nor {\"messages\": [...]}");
}

static bool write_out(struct tokenizer *t) {
    return fwrite(t->out.p, 1, t->out.len, stdout) == t->out.len;
}

static int run_lines(struct tokenizer *t) {
    struct json_doc *doc = json_doc_new();
    struct buf line;
    int result = EXIT_OK;
    char *p = NULL;
    size_t room = 0;
    ssize_t n;
    buf_init(&line, JSON_TEXT_MAX);
    for (long long number = 1; result == EXIT_OK && (n = getline(&p, &room, stdin)) > 0; number++) {
        struct problem why = {0};
        struct str text = {p, (size_t)n};
        buf_clear(&line);
        if (str_trim(text).n == 0)
            continue;
        buf_put(&line, text.p, text.n);
        enum status st = buf_status(&line);
        if (st == ST_OK && buf_reserve_slack(&line, 0, JSON_PADDING))
            st = put_line(t, doc, buf_view(&line), &why);
        if (st != ST_OK) {
            /* Messages about a member often begin with its name. */
            bool is_named = str_starts(str_of(why.message), str_of(why.target));
            fprintf(stderr, "weir tokenize: line %lld: %s%s%s\n", number,
                    is_named ? "" : why.target, is_named ? "" : " ",
                    why.message[0] ? why.message : status_info(st)->text.p);
            result = EXIT_FAILED;
        } else if (!write_out(t)) {
            result = EXIT_FAILED;
        }
    }
    free(p);
    buf_destroy(&line);
    json_doc_free(doc);
    return result;
}

/*
 * For measuring: all lines are read first, then their texts are counted as often as `rounds` says; a
 * line of output for each round tells the tokens and the time that counting alone took.
 */
static int run_rounds(struct tokenizer *t, int64_t rounds) {
    struct json_doc *doc = json_doc_new();
    struct buf texts, ends;
    char *p = NULL;
    size_t room = 0;
    ssize_t n;
    buf_init(&texts, OUT_MAX);
    buf_init(&ends, OUT_MAX);
    while ((n = getline(&p, &room, stdin)) > 0) {
        struct json_value root, value;
        p = xrealloc(p, room += (size_t)n + JSON_PADDING);
        if (json_parse(doc, p, (size_t)n, &root, NULL) == ST_OK &&
            json_get(root, STR("text"), &value)) {
            buf_str(&texts, json_str(value));
            buf_put(&ends, &texts.len, sizeof texts.len);
        }
    }
    for (; rounds > 0; rounds--) {
        struct timespec from, to;
        int64_t tokens = 0;
        size_t begin = 0, end;
        clock_gettime(CLOCK_MONOTONIC, &from);
        for (size_t at = 0; at < ends.len; at += sizeof end, begin = end) {
            memcpy(&end, ends.p + at, sizeof end);
            tokens += token_count(t->cache, (struct str){texts.p + begin, end - begin});
        }
        clock_gettime(CLOCK_MONOTONIC, &to);
        printf("{\"bytes\":%zu,\"texts\":%zu,\"count\":%lld,\"us\":%lld}\n", texts.len,
               ends.len / sizeof end, (long long)tokens,
               (long long)(to.tv_sec - from.tv_sec) * 1000000 + (to.tv_nsec - from.tv_nsec) / 1000);
    }
    free(p);
    buf_destroy(&texts);
    buf_destroy(&ends);
    json_doc_free(doc);
    return EXIT_OK;
}

/* One text of bytes from outside. */
static int run_text(struct tokenizer *t, struct str text) {
    if (utf8_valid_prefix(text) < text.n) {
        buf_clear(&t->valid);
        if (utf8_repair(&t->valid, text) != ST_OK) {
            fprintf(stderr, "weir tokenize: the text is too long\n");
            return EXIT_FAILED;
        }
        text = buf_view(&t->valid);
    }
    if (put_text(t, text) != ST_OK) {
        fprintf(stderr, "weir tokenize: the text has too many tokens to print them\n");
        return EXIT_FAILED;
    }
    return write_out(t) ? EXIT_OK : EXIT_FAILED;
}

static int run_input(struct tokenizer *t) {
    struct buf text;
    char part[1 << 16];
    buf_init(&text, TEXT_MAX);
    for (size_t n; (n = fread(part, 1, sizeof part, stdin)) > 0;)
        buf_put(&text, part, n);
    int result = EXIT_FAILED;
    if (ferror(stdin))
        fprintf(stderr, "weir tokenize: standard input: %s\n", strerror(errno));
    else if (buf_status(&text) != ST_OK)
        fprintf(stderr, "weir tokenize: the text has more than %d bytes\n", TEXT_MAX);
    else
        result = run_text(t, buf_view(&text));
    buf_destroy(&text);
    return result;
}

/* By the name of an encoding, the path of a file, or what the model has. `block` is the file's. */
static int find_vocabulary(const char *name, const char *model, enum prompt_encoding of_model,
                           struct buf *block, struct vocabulary *v) {
    enum prompt_encoding encoding = of_model;
    struct problem why = {0};
    if (name) {
        encoding = ENCODING_CL100K;
        while (encoding < ENCODING_COUNT && !str_eq(prompt_encoding_names[encoding], str_of(name)))
            encoding++;
    }
    if (encoding == ENCODING_UNKNOWN) {
        fprintf(stderr, "weir tokenize: nobody knows the encoding of --model %s\n", model);
        return EXIT_USAGE;
    }
    if (!name || encoding < ENCODING_COUNT) {
        *v = encoding == ENCODING_O200K ? vocabulary_o200k() : vocabulary_cl100k();
        return EXIT_OK;
    }
    enum status st = vocabulary_file_read(name, block, v, &why);
    if (st == ST_IO_FAILED && !strchr(name, '/') && !strchr(name, '.')) {
        fprintf(stderr,
                "weir tokenize: --encoding must be o200k_base, cl100k_base or a file, not \"%s\"\n",
                name);
        return EXIT_USAGE;
    }
    if (st != ST_OK)
        fprintf(stderr, "weir tokenize: %s%s%s\n", why.target[0] ? why.target : name, ": ",
                why.message[0] ? why.message : status_info(st)->text.p);
    return st == ST_OK ? EXIT_OK : EXIT_FAILED;
}

int cmd_tokenize(int argc, char **argv) {
    const char *encoding_name = NULL, *model = NULL;
    bool is_lines = false;
    int64_t rounds = 0;
    struct tokenizer t = {0};
    const struct option_row table[] = {
        {"encoding", OPTION_TEXT, &encoding_name, 0, 0, "NAME|FILE",
         "o200k_base (default), cl100k_base or a tokenizer.json"},
        {"model", OPTION_TEXT, &model, 0, 0, "NAME", "the encoding and framing of this model"},
        {"jsonl", OPTION_FLAG, &is_lines, 0, 0, NULL,
         "read lines of {\"text\":...} or bodies of chats, {\"messages\":[...]}"},
        {"rounds", OPTION_NUMBER, &rounds, 0, 1000000, "N",
         "with --jsonl: count all texts N times, print only totals and times"},
        {"count", OPTION_FLAG, &t.is_count_only, 0, 0, NULL, "print no ids"},
        {NULL, OPTION_FLAG, NULL, 0, 0, NULL, NULL},
    };
    int n_words = options_parse(table, usage, argc, argv);
    if (n_words < 0)
        return options_exit(n_words);
    if (is_lines && n_words > 0) {
        fprintf(stderr, "weir tokenize: --jsonl reads standard input, and takes no texts\n");
        return EXIT_USAGE;
    }
    struct vocabulary v;
    struct buf block = {0};
    struct vocabulary o200k = vocabulary_o200k(), cl100k = vocabulary_cl100k();
    bool is_cl100k =
        encoding_name && str_eq(str_of(encoding_name), prompt_encoding_names[ENCODING_CL100K]);
    t.model = str_of(model ? model : is_cl100k ? "gpt-4" : "gpt-4o");
    enum prompt_encoding of_model = prompt_rules_find(t.model)->encoding;
    int result = find_vocabulary(encoding_name, model, of_model, &block, &v);
    if (result != EXIT_OK) {
        buf_destroy(&block);
        return result;
    }
    const struct vocabulary *models = of_model == ENCODING_CL100K ? &cl100k : &o200k;
    if (of_model == ENCODING_UNKNOWN || vocabulary_identity(&v) != vocabulary_identity(models))
        t.own = &v;
    if (!model && block.len > 0)
        t.model = STR(""); /* so that a file tells how chats are framed */
    t.cache = token_cache_new(&v);
    t.memory = text_memory_new(MEMORY_TEXTS, MEMORY_PLACES, (const unsigned char[16]){0});
    t.counters = prompt_counters_new(&o200k, &cl100k, t.memory);
    buf_init(&t.ids, OUT_MAX);
    buf_init(&t.valid, OUT_MAX);
    buf_init(&t.out, OUT_MAX);
    if (is_lines && rounds > 0)
        result = run_rounds(&t, rounds);
    else if (is_lines)
        result = run_lines(&t);
    else if (n_words == 0)
        result = run_input(&t);
    for (int i = 1; i <= n_words && result == EXIT_OK; i++)
        result = run_text(&t, str_of(argv[i]));
    if (fflush(stdout) != 0)
        result = EXIT_FAILED;
    token_cache_free(t.cache);
    prompt_counters_free(t.counters);
    text_memory_free(t.memory);
    buf_destroy(&block);
    buf_destroy(&t.ids);
    buf_destroy(&t.valid);
    buf_destroy(&t.out);
    return result;
}
