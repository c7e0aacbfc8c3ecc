/* main.c - the command line: finds the command and runs it. */
#include "cmd/cmd.h"

#include <stdio.h>

static const struct command commands[] = {
    {"demo", "run a gateway with simulated model servers, to try it", cmd_demo},
    {"serve", "run the gateway on the resources of a file or folder", cmd_serve},
    {"config", "check or print a configuration without serving it", cmd_config},
    {"simulate", "run a model server that answers with simulated text and honest timing",
     cmd_simulate},
    {"bench", "measure a gateway: load generators and a cheap model server", cmd_bench},
    {"apply", "send resource files to a running server, after a look at what they change",
     cmd_apply},
    {"principal", "create, list or delete who may ask a running server for tokens", cmd_principal},
    {"tokenize", "count tokens as OpenAI's tokenizers do, exactly", cmd_tokenize},
    {"docs", "print the reference of errors, metrics or settings", cmd_docs},
    {"version", "print the version and what it was built with", cmd_version},
    {"help", "print this, or the help of a command", cmd_help},
};

int cmd_version(int argc, char **argv) {
    (void)argc;
    (void)argv;
    printf("weir %s\n", WEIR_VERSION);
    return EXIT_OK;
}

static const struct command *find(const char *name) {
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    }
    return NULL;
}

int cmd_help(int argc, char **argv) {
    const struct command *c = argc > 1 ? find(argv[1]) : NULL;
    if (c && c->run != cmd_help) {
        char help[] = "--help";
        char *words[] = {argv[1], help, NULL};
        return c->run(2, words);
    }
    printf("weir: a gateway that sells model capacity in provisioned throughput units\n\n"
           "usage: weir COMMAND [OPTIONS]\n\n");
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        printf("  %-10s %s\n", commands[i].name, commands[i].summary);
    printf("\nweir COMMAND --help tells the options of a command.\n");
    return EXIT_OK;
}

int main(int argc, char **argv) {
    if (argc < 2) {
        cmd_help(1, argv);
        return EXIT_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        name = "help";
    if (strcmp(name, "--version") == 0)
        name = "version";
    const struct command *c = find(name);
    if (!c) {
        fprintf(stderr, "weir: unknown command \"%s\"; weir help lists them\n", argv[1]);
        return EXIT_USAGE;
    }
    return c->run(argc - 1, argv + 1);
}
