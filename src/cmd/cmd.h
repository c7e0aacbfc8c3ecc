/* cmd.h - what the commands of the binary share: the table of commands, and options as data. */
#ifndef CMD_CMD_H
#define CMD_CMD_H

#include "base/buf.h"
#include "base/status.h"

/* Exit statuses, as in sysexits where it has them. */
enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct command {
    const char *name, *summary;
    int (*run)(int argc, char **argv); /* argv[0] is the command's name */
};

enum option_kind {
    OPTION_FLAG,     /* bool: --name */
    OPTION_TEXT,     /* const char *: --name VALUE */
    OPTION_NUMBER,   /* int64_t, within min..max */
    OPTION_DURATION, /* int64_t milliseconds: 250ms, 10s, 5m, 1h; a bare number is seconds */
    OPTION_SIZE,     /* int64_t bytes: 64k, 32M, 1G; a bare number is bytes */
    OPTION_LIST,     /* struct buf: --name A --name B,C gives "A,B,C", up to its ceiling */
    OPTION_DECIMAL,  /* double, within min..max */
};

/* One row of an options table: parsing and help come from it. The last row has no name. */
struct option_row {
    const char *name; /* without dashes */
    enum option_kind kind;
    void *value; /* where it goes; holds the default before parsing */
    int64_t min, max;
    const char *argument; /* the word shown in the help, as FILE */
    const char *help;
};

/*
 * Parses argv by the table; `--name=value` and `--name value` both work, `--` ends the options.
 * Words that are no options are left in argv[1..]; their number is returned. Prints what is wrong
 * (with the nearest known option) and returns -1; prints the help for --help and returns -2.
 */
int options_parse(const struct option_row *table, const char *usage, int argc, char **argv);

/* EXIT_OK for the help, EXIT_USAGE for errors: what a command returns when options_parse was < 0. */
int options_exit(int parsed);

/* Parsers of one value, also for settings in files; false when it is not of that kind. */
bool option_read(const struct option_row *row, const char *text, struct problem *why);

/* Prints "weir: target: message" to stderr and returns EXIT_FAILED. */
int fail_with(const struct problem *why);

int cmd_serve(int argc, char **argv);
int cmd_demo(int argc, char **argv);
int cmd_config(int argc, char **argv);
int cmd_simulate(int argc, char **argv);
int cmd_bench(int argc, char **argv);
int cmd_apply(int argc, char **argv);
int cmd_principal(int argc, char **argv);
int cmd_tokenize(int argc, char **argv);
int cmd_docs(int argc, char **argv);
int cmd_version(int argc, char **argv);
int cmd_help(int argc, char **argv);

#endif
