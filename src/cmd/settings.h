/* settings.h - what must be known before anything runs: one table for file and command line. */
#ifndef CMD_SETTINGS_H
#define CMD_SETTINGS_H

#include "cmd/cmd.h"

/* Client connections, unless the operator says otherwise. */
enum { SETTINGS_CONNECTIONS = 20000 };

struct settings {
    const char *config, *listen, *tls_listen, *tls_cert, *tls_key, *ops_listen;
    const char *resources, *data_dir, *access_log;
    const char *control_listen, *control_names, *control_cert, *control_key, *data_url,
        *webhook_hosts;
    struct buf oidc_issuers; /* owned; with commas between them */
    int64_t control_cert_validity_ms, token_key_age_ms;
    int64_t accounts_per_location, standard_deployments_per_account;
    int64_t loops, drain_grace_ms;
    int64_t body_limit, body_memory, head_limit, max_connections;
    int64_t head_timeout_ms, body_timeout_ms, idle_timeout_ms, stall_timeout_ms, name_ttl_ms;
    char *file_text; /* owned: the texts of a file's values */
};

void settings_init(struct settings *s);
void settings_destroy(struct settings *s);

/*
 * Reads --config FILE first and the other options over it. Returns as options_parse; words that are
 * no options are an error.
 */
int settings_parse(struct settings *s, const char *usage, int argc, char **argv);

/* The file with every setting at its default: weir.conf.example. */
void settings_put_example(struct buf *out);

/* The same as a page of the reference: docs/settings.md. */
void settings_put_docs(struct buf *out);

/* "host:port" or "[address]:port" or "port"; the host goes to `host`, which holds 256 bytes. */
bool address_split(const char *text, char *host, int *port);

#endif
