/* offers_private.h - the text that tools/embed.py makes of data/quotas.json. */
#ifndef ARM_OFFERS_PRIVATE_H
#define ARM_OFFERS_PRIVATE_H

#include <stddef.h>

/* Followed by 64 zero bytes that the length doesn't count. */
extern const char quotas_json[];
extern const size_t quotas_json_len;

#endif
