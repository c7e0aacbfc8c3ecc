/* load.h - resource files from the disk into a snapshot. */
#ifndef CMD_LOAD_H
#define CMD_LOAD_H

#include "model/snapshot.h"

/*
 * Reads a file, or every *.json of a folder, and compiles it. Secrets in files are looked for beside
 * the resource file that names them. `why` names file, place and cure. Any thread.
 */
enum status load_snapshot(const char *path, const struct siphash_key *hash, struct snapshot **out,
                          struct problem *why) MUST_USE;

/* Prints the warnings of a snapshot to stderr. */
void load_print_warnings(const struct snapshot *s);

#endif
