#include "gateway/counting.h"

#include "os/os.h"

#include <pthread.h>
#include <stdlib.h>

enum {
    TEXTS = 64 << 10,
    PLACES = 32 << 10,
    PREFIXES = 1 << 20,
    SPARE_MAX = 64,  /* threads that count at once */
    NICE_STEPS = 15, /* by which they give way */
};

struct counting {
    struct text_memory *memory;
    struct prefix_table prefixes;
    struct vocabulary o200k, cl100k;
    pthread_mutex_t lock;
    struct prompt_counters *spare[SPARE_MAX]; /* owned; under the lock, as n_spare */
    size_t n_spare;
};

struct counting *counting_new(void) {
    struct counting *c = xcalloc(1, sizeof *c);
    unsigned char secret[16];
    os_random(secret, sizeof secret);
    c->memory = text_memory_new(TEXTS, PLACES, secret);
    prefix_init(&c->prefixes, PREFIXES);
    c->o200k = vocabulary_o200k();
    c->cl100k = vocabulary_cl100k();
    int rc = pthread_mutex_init(&c->lock, NULL);
    assert(rc == 0);
    return c;
}

void counting_free(struct counting *c) {
    if (!c)
        return;
    for (size_t i = 0; i < c->n_spare; i++)
        prompt_counters_free(c->spare[i]);
    pthread_mutex_destroy(&c->lock);
    prefix_destroy(&c->prefixes);
    text_memory_free(c->memory);
    free(c);
}

struct prompt_counters *counting_counters(struct counting *c) {
    return prompt_counters_new(&c->o200k, &c->cl100k, c->memory);
}

struct prompt_counters *counting_borrow(struct counting *c) {
    struct prompt_counters *counters = NULL;
    os_thread_give_way(NICE_STEPS);
    pthread_mutex_lock(&c->lock);
    if (c->n_spare > 0)
        counters = c->spare[--c->n_spare];
    pthread_mutex_unlock(&c->lock);
    return counters ? counters : counting_counters(c);
}

void counting_give_back(struct counting *c, struct prompt_counters *counters) {
    prompt_end(counters);
    pthread_mutex_lock(&c->lock);
    if (c->n_spare < SPARE_MAX) {
        c->spare[c->n_spare++] = counters;
        counters = NULL;
    }
    pthread_mutex_unlock(&c->lock);
    prompt_counters_free(counters);
}

struct prefix_table *counting_prefixes(struct counting *c) {
    return &c->prefixes;
}
