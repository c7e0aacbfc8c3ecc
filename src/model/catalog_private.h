/* catalog_private.h - the text that tools/embed.py makes of data/catalog.json. */
#ifndef MODEL_CATALOG_PRIVATE_H
#define MODEL_CATALOG_PRIVATE_H

#include <stddef.h>

/* Followed by 64 zero bytes that the length doesn't count. */
extern const char catalog_json[];
extern const size_t catalog_json_len;

#endif
