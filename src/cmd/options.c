/* options.c - options as a table: parsing, help, and what to say when a word is unknown. */
#include "cmd/cmd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* A whole number with a unit of the table behind it. */
static bool read_scaled(const char *text, const char *const units[], const int64_t scales[],
                        size_t n_units, int64_t bare_scale, int64_t *out) {
    size_t digits = strspn(text, "0123456789");
    int64_t n, scale = bare_scale;
    if (!str_to_i64((struct str){text, digits}, &n))
        return false;
    if (text[digits]) {
        size_t i = 0;
        while (i < n_units && strcmp(units[i], text + digits) != 0)
            i++;
        if (i == n_units)
            return false;
        scale = scales[i];
    }
    return !__builtin_mul_overflow(n, scale, out);
}

static bool read_decimal(const char *text, double *out) {
    char *end;
    errno = 0;
    *out = strtod(text, &end);
    return errno == 0 && end != text && *end == '\0' && *out == *out;
}

bool option_read(const struct option_row *row, const char *text, struct problem *why) {
    static const char *const times[] = {"ms", "s", "m", "h"};
    static const int64_t ms[] = {1, 1000, 60000, 3600000};
    static const char *const sizes[] = {"k", "K", "M", "G"};
    static const int64_t bytes[] = {1 << 10, 1 << 10, 1 << 20, 1 << 30};
    struct str name = str_of(row->name);
    int64_t n = 0;
    double d;
    switch (row->kind) {
    case OPTION_FLAG:
        if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0) {
            (void)problem_set(why, ST_BAD_REQUEST, name, "expects true or false, not \"%s\"", text);
            return false;
        }
        *(bool *)row->value = text[0] == 't';
        return true;
    case OPTION_TEXT:
        *(const char **)row->value = text;
        return true;
    case OPTION_LIST: {
        struct buf *list = row->value;
        if (list->len)
            buf_char(list, ',');
        buf_str(list, str_of(text));
        if (buf_status(list) == ST_OK)
            return true;
        (void)problem_set(why, ST_TOO_LARGE, name, "takes at most %zu bytes", list->ceiling);
        return false;
    }
    case OPTION_DECIMAL:
        if (!read_decimal(text, &d) || d < (double)row->min || d > (double)row->max) {
            (void)problem_set(why, ST_BAD_REQUEST, name,
                              "expects a number from %lld to %lld, not \"%s\"", (long long)row->min,
                              (long long)row->max, text);
            return false;
        }
        *(double *)row->value = d;
        return true;
    case OPTION_NUMBER:
        if (!str_to_i64(str_of(text), &n)) {
            (void)problem_set(why, ST_BAD_REQUEST, name, "expects a whole number, not \"%s\"",
                              text);
            return false;
        }
        break;
    case OPTION_DURATION:
        if (!read_scaled(text, times, ms, ARRAY_LEN(ms), 1000, &n)) {
            (void)problem_set(why, ST_BAD_REQUEST, name,
                              "expects a duration such as 250ms, 10s or 5m, not \"%s\"", text);
            return false;
        }
        break;
    case OPTION_SIZE:
        if (!read_scaled(text, sizes, bytes, ARRAY_LEN(bytes), 1, &n)) {
            (void)problem_set(why, ST_BAD_REQUEST, name,
                              "expects a size such as 64k or 32M, not \"%s\"", text);
            return false;
        }
        break;
    }
    if (n < row->min || n > row->max) {
        (void)problem_set(why, ST_BAD_REQUEST, name, "must be from %lld to %lld, not %lld",
                          (long long)row->min, (long long)row->max, (long long)n);
        return false;
    }
    *(int64_t *)row->value = n;
    return true;
}

/* Edit distance between two short words, for "did you mean". */
static size_t distance(const char *a, const char *b) {
    size_t row[65];
    size_t n = size_min(strlen(b), 64);
    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t corner = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t change = corner + (a[i - 1] != b[j - 1]);
            corner = row[j];
            row[j] = size_min(size_min(row[j], row[j - 1]) + 1, change);
        }
    }
    return row[n];
}

static void print_help(const struct option_row *table, const char *usage) {
    printf("%s\n", usage);
    for (const struct option_row *row = table; row->name; row++) {
        char left[64];
        snprintf(left, sizeof left, "--%s%s%s", row->name, row->argument ? " " : "",
                 row->argument ? row->argument : "");
        printf("  %-30s %s\n", left, row->help);
    }
}

static const struct option_row *find_row(const struct option_row *table, struct str name) {
    for (const struct option_row *row = table; row->name; row++) {
        if (str_eq(str_of(row->name), name))
            return row;
    }
    return NULL;
}

static void complain_unknown(const struct option_row *table, const char *command,
                             const char *word) {
    const char *nearest = NULL;
    size_t best = 4;
    for (const struct option_row *row = table; row->name; row++) {
        size_t d = distance(word, row->name);
        if (d < best) {
            best = d;
            nearest = row->name;
        }
    }
    fprintf(stderr, "weir %s: unknown option --%s%s%s%s; weir %s --help lists them\n", command,
            word, nearest ? " (did you mean --" : "", nearest ? nearest : "", nearest ? "?)" : "",
            command);
}

int options_parse(const struct option_row *table, const char *usage, int argc, char **argv) {
    int n_words = 0;
    for (int i = 1; i < argc; i++) {
        char *word = argv[i];
        if (strncmp(word, "--", 2) != 0) {
            argv[++n_words] = word;
            continue;
        }
        if (word[2] == '\0') {
            while (++i < argc)
                argv[++n_words] = argv[i];
            break;
        }
        if (strcmp(word, "--help") == 0) {
            print_help(table, usage);
            return -2;
        }
        char *equals = strchr(word, '=');
        struct str name = {word + 2, equals ? (size_t)(equals - word - 2) : strlen(word + 2)};
        const struct option_row *row = find_row(table, name);
        if (!row) {
            if (equals)
                *equals = '\0';
            complain_unknown(table, argv[0], word + 2);
            return -1;
        }
        const char *value = equals ? equals + 1 : NULL;
        if (!value && row->kind == OPTION_FLAG)
            value = "true";
        if (!value && i + 1 < argc)
            value = argv[++i];
        struct problem why = {0};
        if (!value)
            (void)problem_set(&why, ST_BAD_REQUEST, name, "expects a value");
        if (!value || !option_read(row, value, &why)) {
            fprintf(stderr, "weir %s: --%s %s\n", argv[0], why.target, why.message);
            return -1;
        }
    }
    return n_words;
}

int options_exit(int parsed) {
    return parsed == -2 ? EXIT_OK : EXIT_USAGE;
}

int fail_with(const struct problem *why) {
    fprintf(stderr, "weir: %s%s%s\n", why->target, why->target[0] ? ": " : "", why->message);
    return EXIT_FAILED;
}
