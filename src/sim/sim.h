/* sim.h - the simulated model server: OpenAI's API, honest timing and usage, faults on demand. */
#ifndef SIM_SIM_H
#define SIM_SIM_H

#include "net/loop.h"
#include "sim/faults.h"
#include "sim/physics.h"

/*
 * Answers under /v1, /openai/v1, /openai and /openai/deployments/NAME, so it stands in for OpenAI,
 * for self-hosted servers and for an Azure resource: chat/completions, completions, embeddings,
 * responses, models. GET /healthz; GET /sim/stats and POST /sim/reset, for tests.
 *
 * Every answer carries `x-weir-simulated: true`. A request may carry
 *   x-sim-text: TEXT             answered exactly so; as is `[[echo:TEXT]]` in the last message
 *   x-sim-output-tokens: N       an answer of N tokens, unless its own limit is lower
 *   x-sim-fault: KIND[;P=V],...  see faults.h
 */
struct sim_options {
    struct physics_profile profile;
    int64_t output_tokens;     /* the mean of answers that nothing limits */
    int64_t context_tokens;    /* longer prompts are refused */
    int64_t cache_ttl_ns;      /* of beginnings of prompts; 0: no prompt cache */
    const char *models;        /* names, separated by commas */
    bool is_strict;            /* other models are unknown */
    const char *api_key;       /* NULL: everybody may call */
    struct fault_rules faults; /* for all calls */
};

/* Belongs to one loop. */
struct sim;

/* Copies the options; their texts are borrowed until sim_free. */
struct sim *sim_new(struct loop *l, const struct sim_options *options);

enum status sim_listen(struct sim *s, const char *host, int port, int *bound_port,
                       struct problem *why) MUST_USE;

/* Takes no more calls, finishes those in hand (it cuts off those that play dead), says when done. */
void sim_drain(struct sim *s, void (*on_idle)(void *arg), void *arg);

/* Ends everything at once. */
void sim_free(struct sim *s);

#endif
