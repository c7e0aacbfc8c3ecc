/*
 * tokgen.c - makes a vocabulary's block from published ranks, while building.
 *
 *     tokgen NAME cl100k|o200k SHA256 RANKS BLOCK ASSEMBLY
 *
 * RANKS has a line a token, "base64 rank", ranks in order from 0. Its SHA-256 must be the one given,
 * which is the one that tiktoken expects. BLOCK becomes what src/tokens/vocabulary.h describes, and
 * ASSEMBLY a source that puts it into the binary as vocabulary_NAME_block and vocabulary_NAME_size.
 */
#include "tokens/vocabulary.h"

#include <errno.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_BLOCK = 32 << 20, MAX_TEXT = 16 << 20 };

static _Noreturn void stop(const char *file, const char *what) {
    fprintf(stderr, "tokgen: %s: %s\n", file, what);
    exit(1);
}

static struct buf read_all(const char *path) {
    struct buf text;
    buf_init(&text, MAX_TEXT);
    FILE *f = fopen(path, "rb");
    if (!f)
        stop(path, strerror(errno));
    char part[1 << 16];
    for (size_t n; (n = fread(part, 1, sizeof part, f)) > 0;)
        buf_put(&text, part, n);
    if (ferror(f) || buf_status(&text) != ST_OK)
        stop(path, "cannot be read");
    fclose(f);
    return text;
}

static void check_sum(const char *path, struct str text, const char *expected) {
    unsigned char sum[SHA256_DIGEST_LENGTH];
    char hex[2 * SHA256_DIGEST_LENGTH + 1];
    SHA256((const unsigned char *)text.p, text.n, sum);
    for (size_t i = 0; i < sizeof sum; i++)
        snprintf(hex + 2 * i, 3, "%02x", sum[i]);
    if (strcmp(hex, expected) == 0)
        return;
    fprintf(stderr, "tokgen: %s: its SHA-256 is %s, not %s: these are not the published ranks\n",
            path, hex, expected);
    exit(1);
}

/* The digits of one token, appended to `out`; false when there are others than those of base 64. */
static bool decode(struct str text, struct buf *out) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned bits = 0, n_bits = 0;
    while (text.n > 0 && text.p[text.n - 1] == '=')
        text.n--;
    for (size_t i = 0; i < text.n; i++) {
        const char *at = text.p[i] ? strchr(digits, text.p[i]) : NULL;
        if (!at)
            return false;
        bits = bits << 6 | (unsigned)(at - digits);
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            buf_char(out, (char)(bits >> n_bits & 0xff));
        }
    }
    return true;
}

/* The tokens of the text in tokens[], their bytes in `bytes`; how many there are. */
static size_t read_ranks(const char *path, struct str text, struct buf *bytes, struct str *tokens) {
    struct str line, digits;
    size_t n = 0;
    /* No token is longer than its digits, so the bytes stay where they are. */
    if (!buf_reserve(bytes, text.n))
        stop(path, "is too long");
    while (str_cut(&text, '\n', &line)) {
        int64_t rank;
        size_t begin = bytes->len;
        if (n == VOCABULARY_MAX_TOKENS)
            stop(path, "has too many tokens");
        if (!str_cut(&line, ' ', &digits) || !decode(digits, bytes) || !str_to_i64(line, &rank) ||
            rank != (int64_t)n) {
            fprintf(stderr, "tokgen: %s:%zu: not a token in base 64 and its rank, which is %zu\n",
                    path, n + 1, n);
            exit(1);
        }
        tokens[n++] = (struct str){bytes->p + begin, bytes->len - begin};
    }
    return n;
}

static void write_all(const char *path, struct str text) {
    FILE *f = fopen(path, "wb");
    if (!f)
        stop(path, strerror(errno));
    bool written = fwrite(text.p, 1, text.n, f) == text.n;
    if (fclose(f) != 0 || !written)
        stop(path, "cannot be written");
}

int main(int argc, char **argv) {
    if (argc != 7)
        stop("usage", "tokgen NAME cl100k|o200k SHA256 RANKS BLOCK ASSEMBLY");
    const char *name = argv[1], *path = argv[4];
    enum token_pattern pattern = strcmp(argv[2], "o200k") == 0 ? PATTERN_O200K : PATTERN_CL100K;
    struct buf text = read_all(path), bytes, block, assembly;
    check_sum(path, buf_view(&text), argv[3]);
    buf_init(&bytes, MAX_TEXT);
    struct str *tokens = xcalloc(VOCABULARY_MAX_TOKENS, sizeof *tokens);
    size_t n = read_ranks(path, buf_view(&text), &bytes, tokens);
    struct problem why;
    buf_init(&block, MAX_BLOCK);
    if (vocabulary_build(&block, pattern, tokens, n, &why) != ST_OK)
        stop(path, why.message);
    write_all(argv[5], buf_view(&block));

    char full[4096];
    if (!realpath(argv[5], full))
        stop(argv[5], strerror(errno));
    buf_init(&assembly, 1 << 16);
    buf_printf(&assembly,
               "/* Made by tools/tokgen.c. */\n"
               ".section .rodata\n"
               ".globl vocabulary_%s_block, vocabulary_%s_size\n"
               ".balign 64\n"
               "vocabulary_%s_block:\n"
               ".incbin \"%s\"\n"
               ".balign 8\n"
               "vocabulary_%s_size:\n"
               ".quad %zu\n"
               ".section .note.GNU-stack,\"\",%%progbits\n",
               name, name, name, full, name, block.len);
    write_all(argv[6], buf_view(&assembly));
    free(tokens);
    buf_destroy(&text);
    buf_destroy(&bytes);
    buf_destroy(&block);
    buf_destroy(&assembly);
    return 0;
}
