/* serve.h - the gateway as a process: loops, listeners, signals, reload, levels. */
#ifndef CMD_SERVE_H
#define CMD_SERVE_H

#include "cmd/settings.h"
#include "control/control.h"

/* Where it listens once it is ready; 0 where it does not. */
struct serve_ports {
    int http, https, ops, control;
    char http_host[256], https_host[256], ops_host[256], control_host[256];
    struct control_facts facts; /* when there is a control plane */
};

/* Runs until SIGTERM or SIGINT. `on_ready` is called once calls are taken and signals are heard; a SIGHUP
 * or SIGUSR1 that came before waits for that. An exit status. */
int serve_run(const struct settings *s,
              void (*on_ready)(void *arg, const struct serve_ports *ports), void *arg);

#endif
